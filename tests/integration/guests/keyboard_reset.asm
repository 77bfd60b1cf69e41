; The PC's way to restart: waits until the keyboard controller takes commands, then pulses reset.
%include "kernel.inc"
start:
  in al, 0x64
  test al, 2
  jnz start
  mov al, 0xfe
  out 0x64, al
wait_for_it:
  jmp wait_for_it
  kernel_end
