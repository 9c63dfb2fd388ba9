/* aliases.h - what stands behind a name in aliases(5), and in files that :include: names.  Pure. */
#ifndef AUTHD_ALIASES_H
#define AUTHD_ALIASES_H

#include "common/base/err.h"
#include "common/base/view.h"

enum alias_kind {
	ALIAS_ADDRESS, /* looked up again */
	ALIAS_USER,    /* \user: final */
	ALIAS_INCLUDE, /* :include:/file */
	ALIAS_COMMAND, /* |command */
	ALIAS_FILE,    /* /file */
};
enum { ALIAS_ITEM_MAX = 2048 };
struct alias_item {
	enum alias_kind kind;
	char text
	    [ALIAS_ITEM_MAX]; /* without "\", ":include:" and "|"; the quotes around the whole are gone */
};

/* The next destination of a list that commas and line ends separate; comments in parentheses do not count.  0, 1 = end,
 * -1 (ERR_SYNTAX). */
int alias_next(struct view *list, struct alias_item *out, struct err *err);
/* What Postfix says of a command or a file. */
const char *alias_refusal(char first);

#endif
