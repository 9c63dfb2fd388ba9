/* pcre:FILE - Perl-compatible regular expressions (pcre_table(5)).  Subjects come from the network: the library stops a
 * match that takes too many steps, and the lookup fails for now.  No just-in-time compiler: it needs memory that is
 * writable and executable. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/table/table_rules.h"

#include <pcre2.h>

/* some milliseconds; a subject may be a header of 100 kB */
enum { MATCH_STEPS = 300000, MATCH_KIB = 16384 };

/* One of each for all patterns: the library keeps the most memory that a match ever took.  Lookups come from one thread. */
static pcre2_match_data *match_data;
static pcre2_match_context *match_context;

static bool
prepare_matching(void)
{
	if (match_data == NULL)
		match_data = pcre2_match_data_create(RULE_GROUPS_MAX, NULL);
	if (match_context == NULL && (match_context = pcre2_match_context_create(NULL)) != NULL) {
		pcre2_set_match_limit(match_context, MATCH_STEPS);
		pcre2_set_heap_limit(match_context, MATCH_KIB);
	}
	return match_data != NULL && match_context != NULL;
}

static int
take_flags(struct view flags, uint32_t *options, struct err *err)
{
	static const struct {
		char letter;
		uint32_t option;
	} rows[] = {
		{ 'i', PCRE2_CASELESS }, { 'm', PCRE2_MULTILINE }, { 's', PCRE2_DOTALL },
		{ 'x', PCRE2_EXTENDED }, { 'A', PCRE2_ANCHORED }, { 'E', PCRE2_DOLLAR_ENDONLY },
		{ 'U', PCRE2_UNGREEDY }, { 'X', 0 }, /* PCRE_EXTRA: PCRE2 is always so */
	};
	size_t row;

	for (size_t i = 0; i < flags.len; i++) {
		for (row = 0; row < sizeof rows / sizeof rows[0]; row++)
			if (rows[row].letter == flags.p[i])
				break;
		if (row == sizeof rows / sizeof rows[0])
			return err_set(err, ERR_SYNTAX, "unknown pcre option \"%c\"", flags.p[i]);
		*options ^= rows[row].option;
	}
	return 0;
}

static void
pcre_free(void *pattern)
{
	pcre2_code_free(pattern);
}

static pcre2_code *
code_of(struct view inner, uint32_t options, struct err *err)
{
	PCRE2_SIZE at;
	PCRE2_UCHAR why[120];
	int number;
	pcre2_code *code = pcre2_compile(
	    (PCRE2_SPTR)inner.p, inner.len, options | PCRE2_NEVER_UTF, &number, &at, NULL);

	if (code == NULL) {
		pcre2_get_error_message(number, why, sizeof why);
		err_set(err, ERR_SYNTAX, "error in regexp at offset %zu: %s", at, (char *)why);
	}
	return code;
}

static void *
pcre_compile(struct view pattern, unsigned ngroups, struct err *err)
{
	uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_NEVER_BACKSLASH_C, have = 0;
	struct view inner, flags;
	pcre2_code *code;

	rule_split(pattern, &inner, &flags);
	if (take_flags(flags, &options, err) < 0 || (code = code_of(inner, options, err)) == NULL)
		return NULL;
	pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &have);
	if (!prepare_matching())
		err_set(err, ERR_TEMP, "no memory");
	else if (ngroups > have)
		err_set(err, ERR_SYNTAX, "out of range replacement index \"%u\"", ngroups);
	else
		return code;
	pcre2_code_free(code);
	return NULL;
}

static int
pcre_match(const void *pattern, const struct rule_subject *s, struct rule_match *m, struct err *err)
{
	PCRE2_UCHAR why[120];
	const PCRE2_SIZE *at;
	int code = pcre2_match(
	    pattern, (PCRE2_SPTR)s->text.p, s->text.len, 0, 0, match_data, match_context);

	if (code == PCRE2_ERROR_NOMATCH)
		return 1;
	if (code < 0) {
		pcre2_get_error_message(code, why, sizeof why);
		return err_set(err, ERR_TEMP, "pcre: %s", (char *)why);
	}
	at = pcre2_get_ovector_pointer(match_data);
	m->count = code == 0 ? pcre2_get_ovector_count(match_data) : (size_t)code;
	for (size_t i = 0; i < m->count; i++)
		m->groups[i] = at[2 * i] == PCRE2_UNSET || at[2 * i] > at[2 * i + 1]
				   ? VIEW_LIT("")
				   : view_make(s->text.p + at[2 * i], at[2 * i + 1] - at[2 * i]);
	return 0;
}

const struct rule_kind rules_pcre = {
	.type = "pcre",
	.has_groups = true,
	.cut = rule_cut_delimited,
	.compile = pcre_compile,
	.match = pcre_match,
	.free = pcre_free,
};

const struct table_driver table_pcre = {
	.type = "pcre",
	.text = "Perl-compatible regular expressions in the text FILE: `/pattern/flags value`.",
	.suffix = "",
	.is_resident = true,
	.rules = &rules_pcre,
	.close = rules_free,
	.lookup = rules_lookup,
	.each = rules_each,
};
