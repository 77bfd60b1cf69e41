; Every undocumented value on the exit port, ports and addresses where nothing is: none of it matters.
; Reads of nothing give all ones. Powers off if so, else reports a panic.
%include "kernel.inc"
start:
  map_devices
  mov dx, EXIT_PORT
  mov al, 4
next:
  out dx, al
  inc al
  jnz next
  out dx, al                    ; 0
  mov dx, 0x1234
  mov eax, 0xdeadbeef
  out dx, eax
  in eax, dx
  cmp eax, 0xffffffff
  jne wrong
  mov edi, 0xc8000000
  mov qword [rdi], 5
  mov rax, [rdi]
  inc rax
  jnz wrong
  in al, dx
  cmp al, 0xff
  jne wrong
  exit_with 1
wrong:
  exit_with 3
  kernel_end
