/* postfix.h - Postfix's parameters that this suite does not have, so that an existing main.cf loads as it is and an admin
 * hears what becomes of each line of it. */
#ifndef COMMON_CONFIG_POSTFIX_H
#define COMMON_CONFIG_POSTFIX_H

#include "common/config/conf.h"

enum postfix_fate {
	POSTFIX_SAME,    /* asks for nothing that is not so anyway */
	POSTFIX_MOOT,    /* what it tunes does not exist here: nothing is lost */
	POSTFIX_IGNORED, /* would change something: worth a warning */
	POSTFIX_NEEDED, /* without it mail is lost or a door open: a fault, but for those in allow_ignored_parameters */
};

/* The table.  A line of params is "name = value | value ...", Postfix's default first, the values at which nothing is lost by
 * ignoring it; or names, separated by blanks, whose default is empty. */
struct postfix_group {
	enum postfix_fate fate;
	const char *why; /* what is so instead */
	const char *params;
};
const struct postfix_group *postfix_groups(size_t *count);
/* The same, of what Postfix has for each transport; the names are what stands behind the transport's. */
const struct postfix_group *postfix_families(size_t *count);
/* Calls fn for each parameter of a group. */
void postfix_each(const struct postfix_group *g,
    void (*fn)(void *arg, struct view name, struct view values), void *arg);

/* Postfix's default, NULL: it knows no such parameter. */
const char *postfix_default(const char *name);

/* c tells which transports there are; NULL: only those that Postfix always has. */
bool postfix_knows(const struct conf *c, const char *name);
/* What becomes of a value.  false: Postfix knows no such parameter. */
struct postfix_verdict {
	enum postfix_fate fate;
	const char *why;
};
bool postfix_judge(
    const struct conf *c, const char *name, const char *value, struct postfix_verdict *v);

/* What is set and not SAME, in the order of lines; text: "main.cf:12: name: ...". */
void postfix_each_unmet(const struct conf *c,
    void (*fn)(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text),
    void *arg);

#endif
