; Prints 200,000 bytes with string instructions, more than any buffer holds, and powers off.
%include "kernel.inc"
start:
  mov r8d, 200
  mov dx, SERIAL_PORT
again:
  mov esi, 0x200000
  mov ecx, 1000
  rep outsb
  dec r8d
  jnz again
  exit_with 1
  kernel_end
