%include "kernel.inc"
start:
  exit_with 1
  kernel_end
