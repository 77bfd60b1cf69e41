; A driver that attacks, on the second and third vCPU, and one that works, on the first: it writes a
; counter to the second disk, which tells that the machine and that disk go on. Never ends by itself; a
; failed or lost request of the working driver ends the machine as a panic.
;
; What is attacked: the registers of the first, third and fourth device and of slots without one, their
; queues, and all I/O ports but those that end the machine. The attackers aim what a device can write
; into memory at 16 MiB and above, at their own rings, beyond memory or around the end of the address
; space, so that it is the VMM that is tried and not this program.
%include "kernel.inc"
VICTIMS equ 3
WORKING equ VIRTIO_BASE + 0x1000
DISK equ 0x310000               ; the working driver's: descriptors, rings, a request
HEADER equ DISK + 0x3000
DATA equ HEADER + 0x100
STATUS equ HEADER + 0x400
RINGS equ 0x400000              ; of each attacker 64 KiB: descriptors, 0x2000, 0x3000: its rings
TRAMPOLINE equ 0x8000

start:
  map_devices
  mov rsp, 0x2f0000
  lea rsi, [rel trampoline]
  mov edi, TRAMPOLINE
  mov ecx, trampoline_end - trampoline
  rep movsb
  mov rax, cr3
  mov [TRAMPOLINE + page_table - trampoline], eax
  mov ebx, LAPIC_BASE
  mov dword [rbx + 0xf0], 0x1ff         ; enable the local APIC
  mov dword [rbx + 0x300], 0xc4500      ; INIT to all but this one
  mov dword [rbx + 0x300], 0xc4608      ; SIPI, vector 8: 0x8000

  mov ebx, WORKING
  mov dword [rbx + 0x70], 0
  mov dword [rbx + 0x70], 1     ; ACKNOWLEDGE
  mov dword [rbx + 0x70], 3     ; DRIVER
  mov dword [rbx + 0x24], 1
  mov dword [rbx + 0x20], 1     ; VERSION_1
  mov dword [rbx + 0x24], 0
  mov dword [rbx + 0x20], 0
  mov dword [rbx + 0x70], 0xb   ; FEATURES_OK
  mov dword [rbx + 0x30], 0
  mov dword [rbx + 0x38], 8
  mov dword [rbx + 0x80], DISK
  mov dword [rbx + 0x90], DISK + 0x1000
  mov dword [rbx + 0xa0], DISK + 0x2000
  mov dword [rbx + 0x44], 1     ; ready
  mov dword [rbx + 0x70], 0xf   ; DRIVER_OK
  mov dword [HEADER], 1         ; VIRTIO_BLK_T_OUT to sector 0
  mov esi, DISK                 ; header, data, status
  mov qword [rsi], HEADER
  mov rax, 0x0001000100000010
  mov [rsi + 8], rax
  mov qword [rsi + 16], DATA
  mov rax, 0x0002000100000200
  mov [rsi + 24], rax
  mov qword [rsi + 32], STATUS
  mov rax, 0x0000000200000001
  mov [rsi + 40], rax
beat:
  inc qword [DATA]
  mov byte [STATUS], 0xff
  inc word [DISK + 0x1000 + 2]  ; the available ring is all zeroes: descriptor 0 each time
  mov dword [rbx + 0x50], 0
  mov ax, [DISK + 0x1000 + 2]
wait_for_disk:
  pause
  cmp [DISK + 0x2000 + 2], ax
  jne wait_for_disk
  cmp byte [STATUS], 0
  je beat
  exit_with 3

attacker:
  mov eax, 1
  lock xadd [rel attackers], eax
  inc eax
  mov r15d, eax
  shl eax, 14
  mov esp, 0x2f0000
  sub esp, eax
  mov r12, 0x9e3779b97f4a7c15
  imul r12, r15
  shl r15d, 16
  add r15d, RINGS               ; r15: its rings
attack:
  call random
  and eax, 7
  cmp eax, 3
  jb storm_registers
  je storm_ports
  call session
  jmp attack

; 64 accesses to random registers.
storm_registers:
  mov r13d, 64
register:
  call victim
  call random
  mov edi, eax
  and edi, 0x1fc
  choose_register_value
  test r14d, 2
  jz wide
  test r14d, 4
  jz store
  mov ecx, [rbx + rdi]
  jmp next_register
store:
  lea ecx, [edi - 0x80]
  cmp ecx, 0x28
  jae store_it
  ; Where a queue is: half of it at 16 MiB and above, half beyond memory.
  test r14d, 8
  jz beyond
  and eax, 0x00fffff0
  or eax, 0x01000000
  jmp store_it
beyond:
  or eax, 0x80000000
store_it:
  mov [rbx + rdi], eax
  jmp next_register
wide:
  shr r14d, 3
  and r14d, 3
  jz bytes
  dec r14d
  jz words
  mov [rbx + rdi], rax
  mov rax, [rbx + rdi]
  jmp next_register
bytes:
  mov [rbx + rdi + 1], al
  mov al, [rbx + rdi + 3]
  jmp next_register
words:
  mov [rbx + rdi + 2], ax
  mov ax, [rbx + rdi]
next_register:
  dec r13d
  jnz register
  jmp attack

; 64 accesses to random ports, of any width; those that end the machine are spared.
storm_ports:
  mov r13d, 64
port:
  call random
  mov edx, eax
  test eax, 0x10000
  jz any_port
  and edx, 7
  or edx, SERIAL_PORT
any_port:
  movzx edx, dx
  lea ecx, [edx - (EXIT_PORT - 3)]
  cmp ecx, 4
  jb next_port
  lea ecx, [edx - (0x64 - 3)]
  cmp ecx, 4
  jb next_port
  mov r14, rax
  shr r14, 32
  test r14d, 1
  jz write_port
  in al, dx
  in ax, dx
  in eax, dx
  jmp next_port
write_port:
  out dx, al
  test r14d, 2
  jz next_port
  out dx, ax
  out dx, eax
next_port:
  dec r13d
  jnz port
  jmp attack

; Negotiates with a device as a driver does, offers random queues, and changes them as it reads.
session:
  call victim
  mov dword [rbx + 0x70], 0     ; reset
  mov dword [rbx + 0x70], 1
  mov dword [rbx + 0x70], 3
  mov dword [rbx + 0x24], 1
  mov dword [rbx + 0x20], 1
  mov dword [rbx + 0x24], 0
  call random
  and eax, 0x30000000           ; indirect descriptors, event index: sometimes
  mov [rbx + 0x20], eax
  mov dword [rbx + 0x70], 0xb
  xor r14d, r14d
queue:
  mov [rbx + 0x30], r14d        ; select
  mov eax, [rbx + 0x34]         ; largest size
  mov [rbx + 0x38], eax
  mov eax, r15d
  mov ebp, 0x80
area:
  mov [rbx + rbp], eax
  mov dword [rbx + rbp + 4], 0
  call random
  test eax, 0x70000
  jnz area_at_rings
  call address                  ; one area in eight is anywhere
  and eax, ~0xf
  mov [rbx + rbp], eax
  shr rax, 32
  mov [rbx + rbp + 4], eax
area_at_rings:
  lea eax, [r15d + 0x2000]
  cmp ebp, 0x80
  je next_area
  lea eax, [r15d + 0x3000]
next_area:
  add ebp, 0x10
  cmp ebp, 0xb0
  jne area
  mov dword [rbx + 0x44], 1     ; ready
  inc r14d
  cmp r14d, 3
  jne queue
  call scribble
  mov dword [rbx + 0x70], 0xf
  mov r14d, 6
notify:
  mov dword [rbx + 0x50], 0
  mov dword [rbx + 0x50], 1
  mov dword [rbx + 0x50], 2
  call scribble
  dec r14d
  jnz notify
  ret

; rbx: the registers of a random victim. Slot 1 is the working disk; 4 and 5 are empty.
victim:
  call random
  mov ebx, eax
  and ebx, 7
  cmp ebx, 5
  ja victim
  cmp ebx, 1
  je victim
  shl ebx, 12
  add ebx, VIRTIO_BASE
  ret

; rax: a guest-physical address that a device is to be tricked with; see the top.
address:
  call random
  mov rdx, rax
  shr rdx, 40
  and edx, 7
  cmp edx, 4
  ja around_the_end
  je beyond_memory
  cmp edx, 3
  je in_the_rings
  and eax, 0x00ffffff
  or eax, 0x01000000            ; 16 to 32 MiB, the end of memory
  ret
in_the_rings:
  and eax, 0xffff
  add eax, r15d
  ret
around_the_end:
  and eax, 0xffff
  neg rax
  ret
beyond_memory:
  mov rdx, 1 << 40
  or rax, rdx
  ret

; Fills 32 descriptors, half of them plausible, and the heads of both rings.
scribble:
  mov edi, r15d
  mov ecx, 32
descriptor:
  call address
  mov [rdi], rax
  scribble_descriptor_rest
  add edi, 16
  dec ecx
  jnz descriptor
  lea edi, [r15d + 0x2000]
  scribble_available_ring
  ret
define_random

; Where the other vCPUs begin, in real mode: to long mode on the first one's page tables.
bits 16
trampoline:
  cli
  xor ax, ax
  mov ds, ax
  o32 lgdt [TRAMPOLINE + table_pointer - trampoline]
  mov eax, cr4
  or eax, 0x20                  ; PAE
  mov cr4, eax
  mov eax, [TRAMPOLINE + page_table - trampoline]
  mov cr3, eax
  mov ecx, 0xc0000080           ; EFER
  rdmsr
  or eax, 0x100                 ; LME
  wrmsr
  mov eax, cr0
  or eax, 0x80000001            ; PG, PE
  mov cr0, eax
  jmp dword 8:TRAMPOLINE + long_mode - trampoline
align 8
table:
  dq 0
  dq 0x00af9b000000ffff         ; code, 64 bits
table_pointer:
  dw 15
  dd TRAMPOLINE + table - trampoline
page_table:
  dd 0
bits 64
long_mode:
  mov eax, attacker
  jmp rax
trampoline_end:

align 8
attackers: dd 0
  kernel_end
