; Reads and writes all registers of all devices, and of slots without one, at random: any value, any
; width, any order. Powers off at the end.
%include "kernel.inc"
ROUNDS equ 4000
start:
  map_devices
  mov rsp, 0x2f0000
  mov r12, 0x9e3779b97f4a7c15
  mov r13d, ROUNDS
next:
  call random
  mov edi, eax
  and edi, 0x31fc               ; slot 0 to 3, register below 0x200
  add rdi, [rel base]
  choose_register_value
  test r14d, 2
  jz wide
  test r14d, 4
  jz store
  mov ecx, [rdi]
  jmp done
store:
  mov [rdi], eax
  jmp done
wide:
  shr r14d, 3
  and r14d, 3
  jz bytes
  dec r14d
  jz words
  dec r14d
  jz quads
  mov dword [rdi], eax
  jmp done
bytes:
  mov [rdi + 1], al
  mov al, [rdi + 3]
  jmp done
words:
  mov [rdi + 2], ax
  mov ax, [rdi]
  jmp done
quads:
  mov [rdi], rax
  mov rax, [rdi]
done:
  dec r13d
  jnz next
  exit_with 1
define_random
align 8
base: dq VIRTIO_BASE
  kernel_end
