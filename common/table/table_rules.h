/* table_rules.h - what cidr:, pcre: and regexp: have in common: a text of rules, tried from the first on until one
 * matches (cidr_table(5), pcre_table(5), regexp_table(5)).
 *
 *	pattern value        !pattern value
 *	if pattern           if !pattern           endif
 *
 * A rule that is malformed is reported with its file and line and skipped, as Postfix does; of a malformed "if"
 * everything up to its "endif" is. */
#ifndef COMMON_TABLE_TABLE_RULES_H
#define COMMON_TABLE_TABLE_RULES_H

#include "common/table/table_driver.h"

#include <sys/socket.h>

enum { RULE_GROUPS_MAX = 100 };

struct rule_subject {
	struct view text;
	struct sockaddr_storage addr;
};
/* Where the groups of a pattern matched; 0 is the whole. */
struct rule_match {
	size_t count;
	struct view groups[RULE_GROUPS_MAX];
};

/* What tells one type of rules from the other. */
struct rule_kind {
	const char *type;
	bool wants_nul;  /* behind the subject */
	bool has_groups; /* $1 in a value stands for what the first group matched */
	/* Cuts the pattern, with its delimiters and flags, off the start of *rest. */
	int (*cut)(struct view *rest, struct view *pattern, struct err *err);
	/* ngroups: how many the value speaks of.  NULL and *err. */
	void *(*compile)(struct view pattern, unsigned ngroups, struct err *err);
	/* 0 and *m, 1 = no match, -1 *err */
	int (*match)(const void *pattern, const struct rule_subject *s, struct rule_match *m,
	    struct err *err);
	void (*free)(void *pattern);
	bool (*prepare)(struct rule_subject *s); /* may be NULL; false: nothing matches this key */
};

struct rules;
/* Pure.  warn (may be NULL) gets "TYPE map SOURCE, line N: ...: skipping this rule". */
struct rules *rules_parse(const struct rule_kind *kind, struct view text, const char *source,
    void (*warn)(void *arg, const char *text), void *arg);
int rules_lookup(void *rules, struct view key, struct buf *value, struct err *err);
void rules_each(void *rules, void (*fn)(void *arg, int line, struct view value), void *arg);
void rules_free(void *rules);
/* For drivers with rules: name is a file, or the rules in braces, a pair of them around each. */
int rules_open(const struct rule_kind *kind, const char *name, const struct table_file *file,
    void **state, struct err *err);

extern const struct rule_kind rules_cidr, rules_pcre, rules_regexp;

/* /pattern/flags, with any delimiter; a backslash keeps the next byte from being one. */
int rule_cut_delimited(struct view *rest, struct view *pattern, struct err *err);
/* The two halves of what rule_cut_delimited gave. */
void rule_split(struct view pattern, struct view *inner, struct view *flags);

#endif
