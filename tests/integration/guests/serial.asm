; Prints a line, waiting for the transmitter as drivers do, and powers off.
%include "kernel.inc"
start:
  lea rsi, [rel text]
print:
  mov dx, SERIAL_PORT + 5
ready:
  in al, dx
  test al, 0x20
  jz ready
  mov al, [rsi]
  inc rsi
  test al, al
  jz done
  mov dx, SERIAL_PORT
  out dx, al
  jmp print
done:
  exit_with 1
text:
  db "hello from the guest", 10, 0
  kernel_end
