"""A copy of the installed QEMU without the error that makes nested guests hang under the instruction clock.

QEMU 7.2, target/i386/tcg/sysemu/svm_helper.c, helper_vmrun(): where the hypervisor injects an interrupt
(SVM_EVTINJ_TYPE_INTR), it is delivered at once by do_interrupt_x86_hardirq(), but its number is also left
in cs->exception_index, as if it still had to be delivered. cpu_exec() looks there each time that it is
asked to stop: if that comes before the guest's next exit, the guest takes the interrupt a second time,
inside the handler of the first and with interrupts disabled. With -icount it is asked to stop at each
deadline of a timer, so that a guest with many interrupts meets it sooner or later. Without, what asks it
to stop is nearly always an interrupt of the hypervisor's own, and that overwrites the number.

The repair takes out the one store to exception_index; nobody reads it before it is next written.
"""

import pathlib
import re

# helper_vmrun's case SVM_EVTINJ_TYPE_INTR as GCC compiles it; `store` is the instruction to take out.
_INJECT = re.compile(
    rb"\x41\x0f\xb6."                          # movzbl vector, %esi
    rb"\x44\x89.{5}"                           # env->error_code = event_inj_err
    rb"(?P<store>\x89[\xb0-\xb7].{4})"         # cs->exception_index = %esi
    rb"\xc7.{5}\0\0\0\0"                       # env->exception_is_int = 0
    rb"\x48\xc7.{5}\xff\xff\xff\xff"           # env->exception_next_eip = -1
    rb"\xf6\x05.{4}\x02\x0f\x85.{4}"           # the debug log
    rb"\xba\x01\0\0\0\x48\x89.\xe8", re.DOTALL)  # do_interrupt_x86_hardirq(env, vector, 1)
_NOP6 = b"\x66\x0f\x1f\x44\0\0"


def repair(program):
    """The program with the store taken out. ValueError where it does not hold the code above exactly once:
    a QEMU that is compiled otherwise, or in which this is no longer wrong."""
    found = list(_INJECT.finditer(program))
    if len(found) != 1:
        raise ValueError(f"the injection of interrupts was found {len(found)} times in it")
    start, end = found[0].span("store")
    return program[:start] + _NOP6 + program[end:]


def install(qemu, prefix):
    """Puts the repaired copy of `qemu` (/usr/bin/X, say) to prefix/bin/X and returns its directory.

    QEMU looks for its modules and firmware beside its own directory.
    """
    qemu = pathlib.Path(qemu)
    repaired = repair(qemu.read_bytes())
    directory = prefix / "bin"
    directory.mkdir(parents=True)
    for shared in ["lib", "share"]:
        (prefix / shared).symlink_to(qemu.parent.parent / shared)
    copy = directory / qemu.name
    copy.write_bytes(repaired)
    copy.chmod(0o755)
    return directory
