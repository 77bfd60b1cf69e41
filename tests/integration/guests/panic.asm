%include "kernel.inc"
start:
  exit_with 3
  kernel_end
