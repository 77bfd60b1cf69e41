; 1024x768 with 32 bits a pixel: red is x, green is y, blue is x + y, written to the frame buffer.
%include "pc.inc"
MODE equ 0x144
main:
  mov ax, 0x4f01
  mov cx, MODE
  mov di, info
  int 0x10
  mov si, no_mode
  cmp ax, 0x004f
  jne fail
  mov ax, 0x4f02
  mov bx, MODE | 0x4000
  int 0x10
  cmp ax, 0x004f
  jne fail
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
  mov edi, [info + 0x28]  ; Where the frame buffer is.
  xor edx, edx            ; y
line:
  xor ecx, ecx  ; x
pixel:
  mov eax, ecx
  shl eax, 8
  mov al, dl
  shl eax, 8
  mov al, cl
  add al, dl
  mov [fs:edi], eax
  add edi, 4
  inc cx
  cmp cx, 1024
  jb pixel
  inc dx
  cmp dx, 768
  jb line
  jmp halt
align 8
gdt:
  dq 0
  dq 0x00cf92000000ffff
gdt_pointer:
  dw $ - gdt - 1
  dd gdt
no_mode:
  db "FAILED: there is no such mode", 0
  program_end
info equ 0x9000
