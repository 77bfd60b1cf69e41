#!/usr/bin/env python3
"""A copy of the installed QEMU without the error that makes nested guests hang.

  repair_qemu.py DIRECTORY [QEMU]    DIRECTORY/bin/qemu-system-x86_64, of the one in PATH without QEMU

Does nothing where the copy is current: DIRECTORY/of names what it was made of, and QEMU is only replaced as a
whole. Where the installed QEMU is not one that this file knows, no copy is left and the status is 1.

QEMU 7.2, target/i386/tcg/sysemu/svm_helper.c, helper_vmrun(): where the hypervisor injects an interrupt
(SVM_EVTINJ_TYPE_INTR), it is delivered at once by do_interrupt_x86_hardirq(), but its number is also left
in cs->exception_index, as if it still had to be delivered. cpu_exec() looks there each time that it is
asked to stop: if that comes before the guest's next exit, the guest takes the interrupt a second time,
inside the handler of the first and with interrupts disabled. With -icount it is asked to stop at each
deadline of a timer, so that a guest with many interrupts meets it sooner or later. Without, what asks it
to stop is nearly always an interrupt of the hypervisor's own, and that overwrites the number: a guest meets it
now and then.

The repair takes out the one store to exception_index; nobody reads it before it is next written.
"""

import os
import pathlib
import re
import shutil
import sys

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


def identity(qemu):
    """What tells one installed QEMU from another, as the supervisor (repaired_qemu.cc) reads it."""
    status = os.stat(qemu)
    return f"{status.st_size} {int(status.st_mtime)} {qemu}\n"


def install(qemu, prefix):
    """Puts the repaired copy of `qemu` (/usr/bin/X, say) to prefix/bin/X and returns its directory. ValueError if
    it cannot be repaired; prefix is then gone.

    QEMU looks for its modules and firmware beside its own directory.
    """
    qemu = pathlib.Path(qemu)
    prefix = pathlib.Path(prefix)
    made_of = prefix / "of"
    directory = prefix / "bin"
    wanted = identity(qemu)
    if made_of.is_file() and made_of.read_text(encoding="utf-8") == wanted:
        return directory
    shutil.rmtree(prefix, ignore_errors=True)
    repaired = repair(qemu.read_bytes())
    unfinished = prefix.with_name(prefix.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "bin").mkdir(parents=True)
    for shared in ["lib", "share"]:
        (unfinished / shared).symlink_to(qemu.parent.parent / shared)
    copy = unfinished / "bin" / qemu.name
    copy.write_bytes(repaired)
    copy.chmod(0o755)
    (unfinished / "of").write_text(wanted, encoding="utf-8")
    unfinished.rename(prefix)
    return directory


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    qemu = arguments[1] if len(arguments) == 2 else shutil.which("qemu-system-x86_64")
    if qemu is None:
        print("repair_qemu: there is no qemu-system-x86_64: install the package qemu-system-x86", file=sys.stderr)
        return 1
    try:
        install(qemu, arguments[0])
    except (OSError, ValueError) as error:
        print(f"repair_qemu: {qemu} is used as it is, and guests may hang: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
