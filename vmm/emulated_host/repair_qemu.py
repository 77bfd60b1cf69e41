#!/usr/bin/env python3
"""A copy of the installed QEMU without two errors that make nested guests hang.

  repair_qemu.py DIRECTORY [QEMU]    DIRECTORY/bin/qemu-system-x86_64, of the one in PATH without QEMU

Does nothing where the copy is current: DIRECTORY/of names what it was made of, DIRECTORY/repairs this file, and
QEMU is only replaced as a whole. Where the installed QEMU is not one that this file knows, no copy is left and the
status is 1.

The errors are in QEMU 7.2, target/i386/tcg/sysemu/svm_helper.c.

An interrupt that the guest takes twice. Where the hypervisor injects one (helper_vmrun(),
SVM_EVTINJ_TYPE_INTR), it is delivered at once by do_interrupt_x86_hardirq(), but its number is also left
in cs->exception_index, as if it still had to be delivered. cpu_exec() looks there each time that it is
asked to stop: if that comes before the guest's next exit, the guest takes the interrupt a second time,
inside the handler of the first and with interrupts disabled. With -icount it is asked to stop at each
deadline of a timer, so that a guest with many interrupts meets it sooner or later. Without, what asks it
to stop is nearly always an interrupt of the hypervisor's own, and that overwrites the number: a guest meets it
now and then. The repair takes out the one store to exception_index; nobody reads it before it is next written.

An interrupt that the hypervisor never takes. helper_vmrun() sets the bit CPU_INTERRUPT_VIRQ of
cs->interrupt_request and do_vmexit() clears it, both by a read, a change and a write in the CPU's thread, without the
lock under which the threads of the devices and timers set theirs (tcg_handle_interrupt()) or clear them
(cpu_reset_interrupt()). What such a thread sets between the read and the write is lost: if it was the announcement of the
local APIC's timer, the hypervisor's clock stands still while the guest runs, until some other device interrupts. A guest
that makes an exit each few microseconds (a game on the pc machine, say) meets it within minutes. The repair makes
all four changes atomic.
"""

import hashlib
import os
import pathlib
import re
import shutil
import struct
import sys

# Where QEMU 7.2 has tcg_handle_interrupt(): a module, below the directory of libraries.
_ACCELERATOR = "*/qemu/accel-tcg-x86_64.so"

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

# do_vmexit's cs->interrupt_request &= ~CPU_INTERRUPT_VIRQ: andl $0xfffffeff, offset(register). interrupt_request lies
# before `env`, from which the compiler counts, so that the offset is negative.
_CLEAR = re.compile(rb"\x81(?P<register>[\xa0-\xa3\xa5-\xa7])(?P<offset>..\xff\xff)\xff\xfe\xff\xff", re.DOTALL)
# helper_vmrun's cs->interrupt_request |= CPU_INTERRUPT_VIRQ: orl $0x100, offset(register).
_SET = rb"\x81(?P<register>[\x88-\x8b\x8d-\x8f])(?P<offset>%s)\0\x01\0\0"

# The end of cpu_reset_interrupt's way for a caller that has the lock. A longer instruction finds room
# in what fills up to the next.
_RESET = re.compile(
    rb"(?P<jump>\x74\x12)"                      # to the way for a caller without the lock
    rb"(?P<change>\x21\x9d..\0\0)"             # cpu->interrupt_request &= %ebx
    rb"(?P<rest>\x48\x83\xc4\x08\x5b\x5d\xc3)"  # return
    rb"\x0f\x1f\x44\0\0", re.DOTALL)

# tcg_handle_interrupt. The prefix takes the last byte of what fills up before the change, and the jump that leads to
# the change now leads there.
_HANDLE = re.compile(
    rb"\x75\x24(?P<between>.{33})"              # if the lock is held; else a failed assertion
    rb"\x0f\x1f\0"
    rb"(?P<change>\x09\xab..\0\0)", re.DOTALL)  # cpu->interrupt_request |= %ebp

_LOCK = b"\xf0"


def _replace(code, pattern, what, replacement):
    """The code with the one match of the pattern replaced by as many bytes. ValueError if there is not exactly one."""
    found = list(pattern.finditer(code))
    if len(found) != 1:
        raise ValueError(f"{what} was found {len(found)} times in it")
    start, end = found[0].span()
    bytes_instead = replacement(found[0])
    assert len(bytes_instead) == end - start
    return code[:start] + bytes_instead + code[end:]


def _without_store(match):
    start, end = (at - match.start() for at in match.span("store"))
    return match[0][:start] + _NOP6 + match[0][end:]


def _atomic_on_second_byte(match, operand):
    """CPU_INTERRUPT_VIRQ is the lowest bit of the second byte, and an operation on a byte is short enough for the prefix."""
    offset = struct.pack("<i", struct.unpack("<i", match["offset"])[0] + 1)
    return _LOCK + b"\x80" + match["register"] + offset + operand + b"\x66\x90"


def repair(program):
    """QEMU's program without the errors above. ValueError where it does not hold the code above exactly once:
    a QEMU that is compiled otherwise, or in which this is no longer wrong."""
    program = _replace(program, _INJECT, "the injection of interrupts", _without_store)
    clear = _CLEAR.search(program)
    program = _replace(program, _CLEAR, "the virtual interrupt's end",
                       lambda match: _atomic_on_second_byte(match, b"\xfe"))
    same_word = re.compile(_SET % re.escape(clear["offset"]), re.DOTALL)
    program = _replace(program, same_word, "the virtual interrupt's start",
                       lambda match: _atomic_on_second_byte(match, b"\x01"))
    return _replace(program, _RESET, "the withdrawal of interrupts",
                    lambda match: match["jump"] + _LOCK + match["change"] + match["rest"] + b"\x0f\x1f\x40\0")


def repair_accelerator(module):
    """The same of the module with tcg_handle_interrupt()."""
    return _replace(module, _HANDLE, "the announcement of interrupts",
                    lambda match: b"\x75\x23" + match["between"] + b"\x90\x90" + _LOCK + match["change"])


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
    directory = prefix / "bin"
    made = {"of": identity(qemu), "repairs": hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest() + "\n"}
    if all((prefix / name).is_file() and (prefix / name).read_text(encoding="utf-8") == text
           for name, text in made.items()):
        return directory
    shutil.rmtree(prefix, ignore_errors=True)
    installed = qemu.parent.parent
    accelerators = list((installed / "lib").glob(_ACCELERATOR))
    if len(accelerators) != 1:
        raise ValueError(f"{len(accelerators)} modules {_ACCELERATOR} belong to it")
    repaired = repair(qemu.read_bytes())
    accelerator = repair_accelerator(accelerators[0].read_bytes())
    unfinished = prefix.with_name(prefix.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    (unfinished / "bin").mkdir(parents=True)
    (unfinished / "share").symlink_to(installed / "share")
    modules = unfinished / accelerators[0].parent.relative_to(installed)
    modules.mkdir(parents=True)
    for module in accelerators[0].parent.iterdir():
        if module != accelerators[0]:
            (modules / module.name).symlink_to(module)
    (modules / accelerators[0].name).write_bytes(accelerator)
    copy = unfinished / "bin" / qemu.name
    copy.write_bytes(repaired)
    copy.chmod(0o755)
    for name, text in made.items():
        (unfinished / name).write_text(text, encoding="utf-8")
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
