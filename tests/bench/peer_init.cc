// PID 1 of the QEMU peer: the guest has booted, and that is all.

#include <sys/reboot.h>

int main() {
  // microvm has no power button; its machine ends on a reset (-no-reboot).
  return reboot(RB_AUTOBOOT);
}
