; The date, from the clock.
%include "pc.inc"
main:
  mov ah, 4
  int 0x1a
  jc halt
  push dx
  push cx
  mov al, ch
  call print_byte
  pop cx
  mov al, cl
  call print_byte
  mov si, dash
  call print
  pop dx
  push dx
  mov al, dh
  call print_byte
  mov si, dash
  call print
  pop dx
  mov al, dl
  call print_byte
  mov si, end
  call print
  jmp halt
dash:
  db "-", 0
end:
  db " is the date", 0
  program_end
