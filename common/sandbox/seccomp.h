/* seccomp.h - the system call wall of the cage (one step of sandbox.h). */
#ifndef COMMON_SANDBOX_SECCOMP_H
#define COMMON_SANDBOX_SECCOMP_H

#include "common/sandbox/sandbox.h"

/* Allow-list of plan->calls for this thread.  What no role ever needs kills the process; the rest that is not
 * listed fails with EPERM, or ENOSYS where libc then falls back.  no_new_privs must be set.  0 or -1. */
int seccomp_apply(const struct sandbox_plan *plan, struct err *err);

#endif
