; Starts the second vCPU with INIT and SIPI, in real mode at 0x8000. That one sets a flag and powers
; off itself; a third that answers, or none, is seen as a panic or a timeout.
%include "kernel.inc"
start:
  map_devices
  lea rsi, [rel second]
  mov edi, 0x8000
  mov ecx, second_end - second
  rep movsb
  mov ebx, LAPIC_BASE
  mov dword [rbx + 0xf0], 0x1ff         ; enable the local APIC
  mov dword [rbx + 0x310], 1 << 24      ; to APIC id 1
  mov dword [rbx + 0x300], 0x4500       ; INIT
  mov dword [rbx + 0x310], 1 << 24
  mov dword [rbx + 0x300], 0x4608       ; SIPI, vector 8: 0x8000
forever:
  jmp forever

bits 16
second:
  mov dx, EXIT_PORT
  mov al, 1
  out dx, al
second_wait:
  jmp second_wait
second_end:
bits 64
  kernel_end
