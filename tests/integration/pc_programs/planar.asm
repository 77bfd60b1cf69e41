; 640x350 in 16 colours: bars, and on them bands of every write mode and logical operation.
%include "pc.inc"

; Fills a band of 50 lines from line %1 on; the byte that is written is %2, after a read for the latches.
%macro band 2
  mov di, %1 * 80
  mov cx, 50 * 80
%%next:
  mov al, [es:di]
  mov byte [es:di], %2
  inc di
  loop %%next
%endmacro

main:
  mov ax, 0x10
  int 0x10
  mov ax, 0xa000
  mov es, ax
  ; Write mode 2: bars, a colour for each byte of a line.
  vga GRAPHICS, 5, 0x02
  xor di, di
  mov dx, 350
line:
  mov cx, 80
  xor al, al
bar:
  stosb
  inc al
  loop bar
  dec dx
  jnz line
  ; Write mode 0: exclusive or with the colour 5, from set and reset.
  vga GRAPHICS, 5, 0x00
  vga GRAPHICS, 0, 0x05
  vga GRAPHICS, 1, 0x0f
  vga GRAPHICS, 3, 0x18
  band 50, 0x00
  ; Write mode 2 and a bit mask: every other pixel is 15.
  vga GRAPHICS, 3, 0x00
  vga GRAPHICS, 1, 0x00
  vga GRAPHICS, 5, 0x02
  vga GRAPHICS, 8, 0xaa
  band 100, 0x0f
  ; Write mode 1: a copy of the lines 50 to 99.
  vga GRAPHICS, 8, 0xff
  vga GRAPHICS, 5, 0x01
  push ds
  push es
  pop ds
  mov si, 50 * 80
  mov di, 150 * 80
  mov cx, 50 * 80
  rep movsb
  pop ds
  ; Write mode 3: the colour 9 in the right half of each byte.
  vga GRAPHICS, 5, 0x03
  vga GRAPHICS, 0, 0x09
  band 200, 0x0f
  ; Write mode 0: and with the colour 3.
  vga GRAPHICS, 5, 0x00
  vga GRAPHICS, 0, 0x03
  vga GRAPHICS, 1, 0x0f
  vga GRAPHICS, 3, 0x08
  band 250, 0x00
  ; Write mode 0, or, planes 0 and 2 alone, rotated: 0x81 becomes 0x18.
  vga GRAPHICS, 1, 0x00
  vga GRAPHICS, 3, 0x14
  vga SEQUENCER, 2, 0x05
  band 300, 0x81
  jmp halt
  program_end
