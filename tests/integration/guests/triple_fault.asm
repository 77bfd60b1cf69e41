; An undefined instruction without an interrupt table.
%include "kernel.inc"
start:
  ud2
  kernel_end
