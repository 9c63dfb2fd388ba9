/* regexp:FILE - POSIX extended regular expressions (regexp_table(5)). */
#include "common/base/mem.h"
#include "common/table/table_rules.h"

#include <regex.h>
#include <stdlib.h>

struct regexp {
	regex_t re;
	bool has_groups; /* the value speaks of some: else the library need not look for them */
};

static int
take_flags(struct view flags, int *options, struct err *err)
{
	for (size_t i = 0; i < flags.len; i++)
		switch (flags.p[i]) {
		case 'i':
			*options ^= REG_ICASE;
			break;
		case 'm':
			*options ^= REG_NEWLINE;
			break;
		case 'x':
			*options ^= REG_EXTENDED;
			break;
		default:
			return err_set(err, ERR_SYNTAX, "unknown regexp option \"%c\"", flags.p[i]);
		}
	return 0;
}

static void
regexp_free(void *pattern)
{
	struct regexp *r = pattern;

	regfree(&r->re);
	free(r);
}

static void *
regexp_compile(struct view pattern, unsigned ngroups, struct err *err)
{
	struct regexp *r = x_calloc(1, sizeof *r);
	int options = REG_EXTENDED | REG_ICASE, code;
	struct view inner, flags;
	char *text, why[100];

	rule_split(pattern, &inner, &flags);
	if (take_flags(flags, &options, err) < 0) {
		free(r);
		return NULL;
	}
	r->has_groups = ngroups > 0;
	text = x_strndup(inner.p, inner.len);
	code = regcomp(&r->re, text, options | (r->has_groups ? 0 : REG_NOSUB));
	free(text);
	if (code != 0) {
		regerror(code, &r->re, why, sizeof why);
		err_set(err, ERR_SYNTAX, "error in regular expression: %s", why);
		free(r);
		return NULL;
	}
	if (ngroups > r->re.re_nsub) {
		err_set(err, ERR_SYNTAX, "out of range replacement index \"%u\"", ngroups);
		regexp_free(r);
		return NULL;
	}
	return r;
}

static int
regexp_match(
    const void *pattern, const struct rule_subject *s, struct rule_match *m, struct err *err)
{
	const struct regexp *r = pattern;
	regmatch_t found[RULE_GROUPS_MAX];
	int code;

	found[0] = (regmatch_t){ 0, (regoff_t)s->text.len };
	code = regexec(&r->re, s->text.p, r->has_groups ? RULE_GROUPS_MAX : 0, found, REG_STARTEND);
	if (code == REG_NOMATCH)
		return 1;
	if (code != 0)
		return err_set(err, ERR_TEMP, "no memory for the regular expression");
	if (!r->has_groups)
		return 0;
	m->count = r->re.re_nsub + 1 < RULE_GROUPS_MAX ? r->re.re_nsub + 1 : RULE_GROUPS_MAX;
	for (size_t i = 0; i < m->count; i++)
		m->groups[i] = found[i].rm_so < 0 ? VIEW_LIT("")
						  : view_make(s->text.p + found[i].rm_so,
							(size_t)(found[i].rm_eo - found[i].rm_so));
	return 0;
}

const struct rule_kind rules_regexp = {
	.type = "regexp",
	.wants_nul = true, /* a sanitizer's regexec looks for it, REG_STARTEND or not */
	.has_groups = true,
	.cut = rule_cut_delimited,
	.compile = regexp_compile,
	.match = regexp_match,
	.free = regexp_free,
};

const struct table_driver table_regexp = {
	.type = "regexp",
	.text =
	    "POSIX regular expressions in the text FILE: `/pattern/flags value`; pcre: is bounded in time, prefer it.",
	.suffix = "",
	.is_resident = true,
	.rules = &rules_regexp,
	.close = rules_free,
	.lookup = rules_lookup,
	.each = rules_each,
};
