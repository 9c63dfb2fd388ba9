/* user_home.h - opens the home directory of an account, and makes a new one, as root, in a tree where users can
 * write: openat2 beneath the base, no symbolic link followed, ownership given through descriptors. */
#ifndef COMMON_USER_USER_HOME_H
#define COMMON_USER_USER_HOME_H

#include "common/base/err.h"

#include <sys/types.h>

struct user_home {
	const char
	    *base; /* virtual_mailbox_base: made, 0755 and the mail owner's, when it is missing */
	uid_t base_uid; /* the mail owner: of directories between base and home, mode 0755 */
	gid_t base_gid;
	uid_t uid; /* of the home itself, mode 0700 */
	gid_t gid;
};

/* path: absolute and beneath base.  What exists already stays as it is, but a home that is another's is an error.
 * Descriptor of the home, or -1: ERR_PERM, ERR_TEMP. */
int user_home_open(const struct user_home *h, const char *path, struct err *err);

#endif
