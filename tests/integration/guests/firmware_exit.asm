; Firmware of three instructions, in real mode at the reset vector: ends the machine.
bits 16
org 0xf000

  times 0xff0 db 0
reset:
  mov dx, 0x501
  mov al, 1
  out dx, al
  times 0x1000 - ($ - $$) db 0
