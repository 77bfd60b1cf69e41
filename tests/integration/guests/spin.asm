; Says that it runs, and then nothing more.
%include "kernel.inc"
start:
  mov dx, SERIAL_PORT
  mov al, 10
  out dx, al
forever:
  jmp forever
  kernel_end
