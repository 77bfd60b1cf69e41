; Mode 13h: pixel (x, y) is x + y, in a palette of its own.
%include "pc.inc"
main:
  mov ax, 0x13
  int 0x10
  call set_palette
  mov ax, 0xa000
  mov es, ax
  xor di, di
  xor dx, dx
line:
  mov al, dl
  mov cx, 320
pixel:
  stosb
  inc al
  loop pixel
  inc dx
  cmp dx, 200
  jb line
  jmp halt
  program_end
