; Segments that reach all of memory in real mode, as DOS extenders and games use them.
%include "pc.inc"
main:
  in al, 0x92
  or al, 2
  out 0x92, al
  cli
  lgdt [gdt_pointer]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp short $ + 2
  mov bx, 8
  mov fs, bx
  and al, 0xfe
  mov cr0, eax
  jmp short $ + 2
  xor ax, ax
  mov fs, ax
  sti
  ; The BIOS takes interrupts meanwhile.
  mov edi, 0x00a00000
  mov ecx, 0x1000
next:
  mov [fs:edi + ecx * 4], ecx
  loop next, ecx
  mov ecx, 0x1000
check:
  mov si, wrong
  cmp [fs:edi + ecx * 4], ecx
  jne fail
  loop check, ecx
  mov si, right
  jmp fail
align 8
gdt:
  dq 0
  dq 0x00cf92000000ffff
gdt_pointer:
  dw $ - gdt - 1
  dd gdt
wrong:
  db "FAILED: memory above 1 MiB", 0
right:
  db "unreal mode reaches it", 0
  program_end
