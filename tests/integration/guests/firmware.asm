; Firmware of two pages: the machine powers off if it is where it should be, below 4 GiB and below
; 1 MiB, and reboots if not.
bits 16
org 0xe000

POWER_OFF equ 1
REBOOT equ 2

; The lower page, as segment 0xf000 below 1 MiB.
low_page:
  mov al, REBOOT
  ; CS is now the segment proper, and no longer what the reset gave it.
  mov bx, cs
  cmp bx, 0xf000
  jne finish
  ; What is below 1 MiB is RAM.
  mov word [cs:scratch], 0x1234
  cmp word [cs:scratch], 0x1234
  jne finish
  mov al, POWER_OFF
finish:
  mov dx, 0x501
  out dx, al
  jmp $
scratch:
  dw 0

  times 0x1000 - ($ - $$) db 0
; The upper page, at the end of 4 GiB: until the first far jump, CS is based at 0xffff0000.
high_page:
  ; What is written there changes nothing.
  mov word [cs:kept], 0x1234
  cmp word [cs:kept], 0x5678
  jne wrong
  jmp 0xf000:low_page
wrong:
  mov al, REBOOT
  jmp finish
kept:
  dw 0x5678

  times 0x1ff0 - ($ - $$) db 0
reset:
  jmp near high_page
  times 0x2000 - ($ - $$) db 0
