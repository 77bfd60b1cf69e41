; Negotiates with each of three devices as a driver does, then offers queues whose rings and
; descriptors are random, and goes on changing them while the device reads. Powers off at the end.
%include "kernel.inc"
ROUNDS equ 24
RINGS equ 0x400000              ; descriptors; 0x2000 on: available ring; 0x3000 on: used ring
start:
  map_devices
  mov rsp, 0x2f0000
  mov r12, 0x2545f4914f6cdd1d
  mov r13d, ROUNDS
round:
  mov r15d, 3                   ; device r15 - 1
device:
  lea ebx, [r15d - 1]
  shl ebx, 12
  add rbx, [rel base]
  mov dword [rbx + 0x70], 0     ; reset
  mov dword [rbx + 0x70], 1     ; ACKNOWLEDGE
  mov dword [rbx + 0x70], 3     ; DRIVER
  mov dword [rbx + 0x24], 1
  mov dword [rbx + 0x20], 1     ; VERSION_1
  mov dword [rbx + 0x24], 0
  call random
  and eax, 0x30000000           ; indirect descriptors, event index: sometimes
  mov [rbx + 0x20], eax
  mov dword [rbx + 0x70], 0xb   ; FEATURES_OK
  xor r14d, r14d
queue:
  mov [rbx + 0x30], r14d        ; select
  mov eax, [rbx + 0x34]         ; largest size
  mov [rbx + 0x38], eax
  mov dword [rbx + 0x80], RINGS
  mov dword [rbx + 0x84], 0
  mov dword [rbx + 0x90], RINGS + 0x2000
  mov dword [rbx + 0x94], 0
  mov dword [rbx + 0xa0], RINGS + 0x3000
  mov dword [rbx + 0xa4], 0
  mov dword [rbx + 0x44], 1     ; ready
  inc r14d
  cmp r14d, 3
  jne queue
  call scribble
  mov dword [rbx + 0x70], 0xf   ; DRIVER_OK
  mov r14d, 4
notify:
  mov dword [rbx + 0x50], 0
  mov dword [rbx + 0x50], 1
  mov dword [rbx + 0x50], 2
  call scribble
  dec r14d
  jnz notify
  dec r15d
  jnz device
  dec r13d
  jnz round
  exit_with 1

; Fills 32 descriptors, half of them plausible, and the heads of both rings.
scribble:
  mov edi, RINGS
  mov ecx, 32
descriptor:
  call random
  test r12d, 0x10000
  jz any_address
  and eax, 0x1ffffff            ; inside guest memory
any_address:
  mov [rdi], rax
  scribble_descriptor_rest
  add edi, 16
  dec ecx
  jnz descriptor
  mov edi, RINGS + 0x2000
  scribble_available_ring
  ret
define_random
align 8
base: dq VIRTIO_BASE
  kernel_end
