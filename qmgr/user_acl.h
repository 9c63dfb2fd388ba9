/* user_acl.h - which local users may do a thing: Postfix's authorized_*_users.
 *
 * static:anyone (anything behind the colon will do), a user's name, '!' before either excludes; the first that matches
 * decides, nobody is allowed by default.  Root is always allowed.  Names become uids when the list is read, before the
 * cage closes: inside there is no user database. */
#ifndef QMGR_USER_ACL_H
#define QMGR_USER_ACL_H

#include "common/base/view.h"

#include <sys/types.h>

struct user_acl_item {
	uid_t uid;
	bool is_anyone, is_negated;
};
struct user_acl {
	struct user_acl_item *items; /* owned */
	size_t count;
};

/* Of what it does not understand, or does not know, the log hears (parameter: for it), and nobody is meant by it. */
void user_acl_init(struct user_acl *a, const char *parameter, const char *value);
void user_acl_clear(struct user_acl *a);
bool user_acl_allows(const struct user_acl *a, uid_t uid);

#endif
