#include "qmgr/user_acl.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "common/log/log.h"

#include <pwd.h>
#include <stdlib.h>

static bool
parse_item(struct view word, struct user_acl_item *out)
{
	char *name = x_strndup(word.p, word.len), *at = name;
	const struct passwd *pw = NULL;

	*out = (struct user_acl_item){ 0 };
	for (; *at == '!'; at++)
		out->is_negated = !out->is_negated;
	out->is_anyone = strncmp(at, "static:", 7) == 0;
	if (!out->is_anyone && (pw = getpwnam(at)) != NULL)
		out->uid = pw->pw_uid;
	x_free(&name);
	return out->is_anyone || pw != NULL;
}

void
user_acl_init(struct user_acl *a, const char *parameter, const char *value)
{
	struct view rest = view_of(value), word;

	*a = (struct user_acl){ 0 };
	while (conf_next(&rest, &word)) {
		struct user_acl_item item;

		if (!parse_item(word, &item)) {
			log_warn("%s: unknown user %s", parameter, lq(word));
			continue;
		}
		a->items = x_realloc(a->items, a->count + 1, sizeof *a->items);
		a->items[a->count++] = item;
	}
}

void
user_acl_clear(struct user_acl *a)
{
	x_free(&a->items);
	a->count = 0;
}

bool
user_acl_allows(const struct user_acl *a, uid_t uid)
{
	if (uid == 0)
		return true;
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].is_anyone || a->items[i].uid == uid)
			return !a->items[i].is_negated;
	return false;
}
