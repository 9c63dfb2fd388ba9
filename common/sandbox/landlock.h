/* landlock.h - the file, network, signal walls of the cage (one step of sandbox.h). */
#ifndef COMMON_SANDBOX_LANDLOCK_H
#define COMMON_SANDBOX_LANDLOCK_H

#include "common/sandbox/sandbox.h"

/* Leaves this thread only the plan's paths (as they are named after the chroot), TCP only with CALLS_NET, no
 * signal and no abstract socket to the outside.  Relies on ABI 2, takes more where the kernel has it.
 * no_new_privs must be set.  0 or -1. */
int landlock_apply(const struct sandbox_plan *plan, struct err *err);

#endif
