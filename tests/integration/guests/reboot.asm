%include "kernel.inc"
start:
  exit_with 2
  kernel_end
