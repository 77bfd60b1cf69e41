; Every attribute, in mode 3: cell n has the attribute n mod 256 and is full or blank by turns.
%include "pc.inc"
main:
  mov ax, 3
  int 0x10
  mov ah, 1
  mov cx, 0x2000  ; No cursor.
  int 0x10
  mov ax, 0xb800
  mov es, ax
  xor di, di
  xor bx, bx
next:
  mov ah, bl
  mov al, 0xdb
  test bl, 1
  jz put
  mov al, ' '
put:
  stosw
  inc bx
  cmp bx, 80 * 25
  jb next
  jmp halt
  program_end
