; 32-bit protected mode with the timer's interrupt.
%include "pc.inc"
main:
  cli
  lgdt [gdt_pointer]
  lidt [idt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp 8:protected
bits 32
protected:
  mov ax, 16
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov esp, 0x7c00
  ; The gate of vector 8, where the BIOS left the timer.
  mov eax, timer
  mov [idt + 8 * 8], ax
  shr eax, 16
  mov [idt + 8 * 8 + 6], ax
  mov dword [ticks], 0
  ; Only the timer.
  mov al, 0xfe
  out 0x21, al
  sti
wait_ticks:
  hlt
  cmp dword [ticks], 10
  jb wait_ticks
  cli
  mov esi, text
  mov edi, 0xb8000 + 160 * 10
copy:
  lodsb
  or al, al
  jz end
  mov ah, 7
  stosw
  jmp copy
end:
  hlt
  jmp end
timer:
  push eax
  inc dword [ticks]
  mov al, 0x20
  out 0x20, al
  pop eax
  iret
bits 16
align 8
gdt:
  dq 0
  dq 0x00cf9a000000ffff
  dq 0x00cf92000000ffff
gdt_pointer:
  dw $ - gdt - 1
  dd gdt
idt:
  times 8 dq 0
  dq 0x00008e0000080000
idt_pointer:
  dw $ - idt - 1
  dd idt
ticks:
  dd 0
text:
  db "ten ticks in protected mode", 0
  program_end
