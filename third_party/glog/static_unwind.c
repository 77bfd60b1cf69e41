// Debian's libunwind.a is not position-independent, so a static-pie binary cannot link it, and
// libglog.a asks it for the stack trace that a fatal log line prints. These stand-ins say "no frame",
// which glog accepts: the message is printed, the trace is empty. Only static binaries link this.

int _Ux86_64_getcontext(void* context);
int _ULx86_64_init_local(void* cursor, void* context);
int _ULx86_64_get_reg(void* cursor, int reg, void* value);
int _ULx86_64_step(void* cursor);

int _Ux86_64_getcontext(void* context) {
  (void)context;
  return -1;
}

int _ULx86_64_init_local(void* cursor, void* context) {
  (void)cursor;
  (void)context;
  return -1;
}

int _ULx86_64_get_reg(void* cursor, int reg, void* value) {
  (void)cursor;
  (void)reg;
  (void)value;
  return -1;
}

int _ULx86_64_step(void* cursor) {
  (void)cursor;
  return 0;
}
