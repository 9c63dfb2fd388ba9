/* landlock.h - the file, network, signal walls of the cage (one step of sandbox.h). */
#ifndef COMMON_SANDBOX_LANDLOCK_H
#define COMMON_SANDBOX_LANDLOCK_H

#include "common/sandbox/sandbox.h"

/* Rules that leave a thread only the plan's paths (opened now, as they are named after the chroot), TCP only with
 * CALLS_NET, no signal and no abstract socket to the outside.  Relies on ABI 2, takes more where the kernel has
 * it.  0 and the descriptor of the rules, or -1. */
int landlock_build(const struct sandbox_plan *plan, int *out, struct err *err);
/* Puts this thread under them and closes them; no_new_privs must be set.  0 or -1. */
int landlock_restrict(int ruleset, struct err *err);

#endif
