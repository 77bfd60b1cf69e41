; Timer and keyboard interrupts by handlers of its own.
%include "pc.inc"
main:
  cli
  mov word [0x20], timer
  mov word [0x22], 0
  mov word [0x24], keyboard
  mov word [0x26], 0
  sti
wait_timer:
  hlt
  cmp word [ticks], 10
  jb wait_timer
  mov si, timer_text
  call print
wait_key:
  hlt
  cmp byte [code], 0x1e
  jne wait_key
  mov si, keyboard_text
  call print
wait_release:
  hlt
  cmp byte [code], 0x9e
  jne wait_release
  mov si, release_text
  call print
  jmp halt
timer:
  push ax
  inc word [cs:ticks]
  mov al, 0x20
  out 0x20, al
  pop ax
  iret
keyboard:
  push ax
  in al, 0x60
  mov [cs:code], al
  mov al, 0x20
  out 0x20, al
  pop ax
  iret
ticks:
  dw 0
code:
  db 0
timer_text:
  db "ten ticks ", 0
keyboard_text:
  db "key down ", 0
release_text:
  db "key up", 0
  program_end
