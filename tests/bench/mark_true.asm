; A static `true` that shows the benchmark when it runs.
;
; CPUID always leaves the guest, even in user mode, so a tracepoint of the host's KVM sees this one: a
; mark of the guest that needs nothing of the guest's kernel, of Hull's agent or of the VMM. This
; program's first instruction is also all that it does, so the mark is its start and its end.

bits 64
; Above what Linux's first steps run at, which are at physical addresses: inside.sh's filter tells them
; apart by this.
org 0x40000000

; tests/bench/trace.py looks for this leaf. No CPU has it.
MARK_LEAF equ 0x48554c4c

file_start:
    db 0x7f, "ELF", 2, 1, 1, 0
    dq 0
    dw 2, 62                    ; ET_EXEC, EM_X86_64
    dd 1
    dq start
    dq program_header - file_start
    dq 0
    dd 0
    dw 64, 56, 1, 0, 0, 0
program_header:
    dd 1, 5                     ; PT_LOAD, readable and executable
    dq 0, file_start, file_start
    dq file_end - file_start, file_end - file_start
    dq 0x1000

start:
    mov eax, MARK_LEAF
    xor ecx, ecx
    cpuid
    mov eax, 231                ; exit_group(0)
    xor edi, edi
    syscall
file_end:
