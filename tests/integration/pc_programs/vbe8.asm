; 640x480 in 256 colours by the window at 0xa0000 and its banks: the pixel (x, y) is x + y.
%include "pc.inc"
main:
  mov ax, 0x4f02
  mov bx, 0x101
  int 0x10
  mov si, no_mode
  cmp ax, 0x004f
  jne fail
  call set_palette
  mov ax, 0xa000
  mov es, ax
  xor di, di
  xor bp, bp  ; y
line:
  mov dx, bp
  mov cx, 320
pixel:
  mov al, dl
  inc dx
  mov ah, dl
  inc dx
  stosw
  or di, di
  jnz same_bank
  push dx
  inc word [bank]
  mov ax, 0x4f05
  xor bx, bx
  mov dx, [bank]
  int 0x10
  pop dx
same_bank:
  loop pixel
  inc bp
  cmp bp, 480
  jb line
  jmp halt
bank:
  dw 0
no_mode:
  db "FAILED: there is no such mode", 0
  program_end
