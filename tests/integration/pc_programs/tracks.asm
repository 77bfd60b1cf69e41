; Reads every track of the diskette and looks whether each sector (but the program's own) begins with
; its number.
%include "pc.inc"
main:
  mov dword [number], 0
track:
  mov ah, 2
  mov al, [sectors]
  mov ch, [cylinder]
  mov cl, 1
  mov dh, [head]
  mov dl, [drive]
  mov bx, 0x1000
  mov es, bx
  xor bx, bx
  int 0x13
  mov si, unreadable
  jc fail
  mov cl, [sectors]
  mov ch, 0
  xor di, di
sector:
  mov eax, [number]
  cmp eax, 8
  jb own
  mov si, wrong
  cmp [es:di], eax
  jne fail
own:
  inc dword [number]
  add di, 512
  loop sector
  inc byte [head]
  mov al, [head]
  cmp al, [heads]
  jb track
  mov byte [head], 0
  inc byte [cylinder]
  mov al, [cylinder]
  cmp al, [cylinders]
  jb track
  mov si, right
  jmp fail
number:
  dd 0
cylinder:
  db 0
head:
  db 0
unreadable:
  db "FAILED: a track cannot be read", 0
wrong:
  db "FAILED: a sector is another one", 0
right:
  db "every sector is right", 0
  program_end
