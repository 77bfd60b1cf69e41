; Firmware of two pages for a pc machine: writes random values to every register of every device, by
; bytes, words and double words, and all over the video memory, reads them, and powers off.
bits 16
cpu 386
org 0xe000

ROUNDS equ 6000
POWER_OFF equ 1

; The lower page, as segment 0xf000 below 1 MiB, which is RAM.
low_page:
  cli
  mov ax, cs
  mov ds, ax
  mov ss, ax
  mov sp, 0xdf00
  mov ebp, ROUNDS
round:
  call random
  ; One of the ranges of ports.
  movzx bx, al
  and bx, 15
  shl bx, 2
  mov dx, [ranges + bx]
  mov di, [ranges + bx + 2]
  call random
  mov si, dx
  xor dx, dx
  div di
  add dx, si
  call random
  ; What resets the machine is left out: pulses and the output port, bit 0 of port 0x92, port 0xcf9.
  cmp dx, 0x64
  jne not_command
  cmp al, 0xd1
  jae read_it
  jmp write_byte
not_command:
  cmp dx, 0x60
  jne not_data
  jmp write_byte
not_data:
  cmp dx, 0x92
  jne write_any
  and al, 0xfe
write_byte:
  out dx, al
  jmp read_it
write_any:
  mov ecx, [state]
  test cl, 3
  jz write_word
  test cl, 4
  jz write_byte
  out dx, eax
  jmp read_it
write_word:
  out dx, ax
read_it:
  in al, dx
  in ax, dx
  in eax, dx
  ; A place in the video memory.
  call random
  mov bx, ax
  and ax, 0x1000
  add ax, 0xa000
  mov es, ax
  call random
  and bx, 0xfff8
  mov [es:bx], eax
  mov ax, [es:bx]
  xor [es:bx + 1], al
  dec ebp
  jnz round
  mov al, POWER_OFF
  mov dx, 0x501
  out dx, al
  jmp $

; Gives EAX the next number of a sequence (xorshift).
random:
  mov eax, [state]
  mov ecx, eax
  shl ecx, 13
  xor eax, ecx
  mov ecx, eax
  shr ecx, 17
  xor eax, ecx
  mov ecx, eax
  shl ecx, 5
  xor eax, ecx
  mov [state], eax
  ret

state:
  dd 0x12345678
; The first port and how many there are.
ranges:
  dw 0x00, 0x10
  dw 0x60, 0x01
  dw 0x64, 0x01
  dw 0x70, 0x02
  dw 0x80, 0x10
  dw 0x92, 0x01
  dw 0xc0, 0x20
  dw 0x3b0, 0x30
  dw 0x3c0, 0x10
  dw 0x3c4, 0x02
  dw 0x3ce, 0x02
  dw 0x3d4, 0x02
  dw 0x3f0, 0x06
  dw 0x3f5, 0x01
  dw 0x3f7, 0x01
  dw 0x510, 0x0c

  times 0x1000 - ($ - $$) db 0
; The upper page, at the end of 4 GiB.
high_page:
  jmp 0xf000:low_page
  times 0x1ff0 - ($ - $$) db 0
; Where the CPU starts.
  jmp high_page
  times 0x2000 - ($ - $$) db 0
