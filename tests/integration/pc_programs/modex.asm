; 320x200 in 256 colours, unchained: page 0 is x ^ y, page 1 is x + 2 y. Each key shows the other page.
%include "pc.inc"
main:
  mov ax, 0x13
  int 0x10
  vga SEQUENCER, 4, 0x06
  vga CRTC, 0x14, 0x00
  vga CRTC, 0x17, 0xe3
  call set_palette
  mov ax, 0xa000
  mov es, ax
  mov bp, 0  ; The plane: pixels x with x mod 4 = BP.
plane:
  mov cx, bp
  mov ax, 0x0102
  shl ah, cl
  mov dx, SEQUENCER
  out dx, ax
  xor di, di
  xor dx, dx
line:
  mov bx, bp
  mov cx, 80
pixel:
  mov al, bl
  xor al, dl
  mov [es:di], al
  mov al, bl
  add al, dl
  add al, dl
  mov [es:di + 16000], al
  inc di
  add bx, 4
  loop pixel
  inc dx
  cmp dx, 200
  jb line
  inc bp
  cmp bp, 4
  jb plane
  mov bp, 0
key:
  xor ax, ax
  int 0x16
  xor bp, 16000
  mov bx, bp
  mov dx, CRTC
  mov al, 0x0c
  mov ah, bh
  out dx, ax
  mov al, 0x0d
  mov ah, bl
  out dx, ax
  jmp key
  program_end
