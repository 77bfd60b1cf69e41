"""What an ELF file says about its hardening, read with binutils."""

import re
import subprocess

# Functions of Hull's own that the compiler emitted under their own name: namespace hull, mangled.
OWN_FUNCTION = re.compile(r"^([0-9a-f]+) [TtW] (_ZN(?:K)?4hull\S+)$")
ENDBR64 = bytes.fromhex("f30f1efa")


def _output(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=True, timeout=60).stdout


def _program_headers(path):
    """(type, file offset, address, file size, flags) of each program header."""
    headers = []
    for line in _output("readelf", "-lW", path).splitlines():
        match = re.match(
            r"\s+(\S+)\s+0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x([0-9a-f]+) 0x[0-9a-f]+ "
            r"([R ][W ][E ])", line)
        if match:
            kind, offset, address, size, flags = match.groups()
            headers.append((kind, int(offset, 16), int(address, 16), int(size, 16), flags))
    return headers


def _starts_of_own_functions(path, headers):
    """(name, first four bytes) of every function of namespace hull that has a symbol."""
    with open(path, "rb") as file:
        content = file.read()
    loads = [h for h in headers if h[0] == "LOAD"]
    for line in _output("nm", path).splitlines():
        match = OWN_FUNCTION.match(line)
        # A part that the compiler split off is only jumped to directly.
        if not match or re.search(r"\.(cold|part|constprop|isra)\b", match[2]):
            continue
        address = int(match[1], 16)
        for _, offset, start, size, _ in loads:
            if start <= address < start + size:
                yield match[2], content[offset + address - start:][:4]


def findings(path, static=True, fortified=True):
    """What is missing in the executable `path`, a list of sentences; empty if nothing is."""
    found = []
    headers = _program_headers(path)
    kinds = {h[0] for h in headers}
    if "DYN (" not in _output("readelf", "-hW", path):
        found.append("it is not position-independent")
    if static and "INTERP" in kinds:
        found.append("it is linked dynamically")
    if "GNU_RELRO" not in kinds:
        found.append("it has no RELRO segment")
    dynamic = _output("readelf", "-dW", path)
    if not re.search(r"\((FLAGS|FLAGS_1)\).*\b(BIND_NOW|NOW)\b", dynamic):
        found.append("its symbols are bound lazily, so RELRO is not full")
    if "(TEXTREL)" in dynamic:
        found.append("its code is relocated, so written to")
    stacks = [h for h in headers if h[0] == "GNU_STACK"]
    if not stacks or "E" in stacks[0][4]:
        found.append("its stack is executable")
    if any("W" in h[4] and "E" in h[4] for h in headers):
        found.append("a segment is both writable and executable")

    symbols = _output("nm", path) + _output("nm", "-D", path)
    if not re.search(r"\b__stack_chk_fail(_local)?\b", symbols):
        found.append("it has no stack protector")
    if fortified and not re.search(r"\b__\w+_chk\b(?<!__stack_chk)", symbols):
        found.append("no call is fortified (_FORTIFY_SOURCE)")
    functions = list(_starts_of_own_functions(path, headers))
    if not functions:
        found.append("it has no symbols of Hull to look at")
    bare = [name for name, code in functions
            if code != ENDBR64 and f" t {name}\n" not in symbols]
    if bare:
        found.append(f"{len(bare)} of {len(functions)} functions lack control-flow protection, "
                     f"such as {bare[0]}")
    return found
