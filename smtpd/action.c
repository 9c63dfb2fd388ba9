#include "smtpd/action.h"
#include "common/proto/reply.h"

#include <stdio.h>

/* clang-format off */
static const struct {
	const char *word;
	enum action_kind kind;
} words[] = {
	{ "OK", ACTION_OK }, { "RELAY", ACTION_OK }, { "PERMIT", ACTION_OK },
	{ "DUNNO", ACTION_DUNNO },
	{ "REJECT", ACTION_REJECT }, { "DEFER", ACTION_DEFER },
	{ "DEFER_IF_PERMIT", ACTION_DEFER_IF_PERMIT }, { "DEFER_IF_REJECT", ACTION_DEFER_IF_REJECT },
	{ "HOLD", ACTION_HOLD }, { "DISCARD", ACTION_DISCARD },
	{ "REDIRECT", ACTION_REDIRECT }, { "FILTER", ACTION_FILTER },
	{ "PREPEND", ACTION_PREPEND }, { "BCC", ACTION_BCC },
	{ "INFO", ACTION_INFO }, { "WARN", ACTION_WARN },
};
/* clang-format on */

const char *
action_word(enum action_kind kind)
{
	size_t i = 0;

	while (i < sizeof words / sizeof words[0] && words[i].kind != kind)
		i++;
	return i < sizeof words / sizeof words[0] ? words[i].word : "";
}

const char *
action_log_word(enum action_kind kind, char out[ACTION_WORD_MAX])
{
	snprintf(out, ACTION_WORD_MAX, "%s", action_word(kind));
	ascii_lower_str(out);
	return out;
}

static bool
is_number(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!ascii_is_digit((unsigned char)v.p[i]))
			return false;
	return v.len > 0;
}

/* An enhanced status code at the start of a refusal's text (RFC 3463). */
static void
take_dsn(struct action *a)
{
	size_t len = enhanced_code_length(a->text);

	if (len == 0 || len >= sizeof a->dsn)
		return;
	snprintf(a->dsn, sizeof a->dsn, "%.*s", (int)len, a->text.p);
	a->text = view_trim(view_make(a->text.p + len, a->text.len - len));
}

static void
take_word(struct action *a, struct view word, struct view value)
{
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (view_case_eq_str(word, words[i].word)) {
			a->kind = words[i].kind;
			return;
		}
	a->kind = ACTION_RESTRICTIONS;
	a->text = value;
}

void
action_parse(struct view value, struct action *out)
{
	struct view word;
	size_t n = 0;

	value = view_trim(value);
	while (n < value.len && !ascii_is_space(value.p[n]))
		n++;
	word = view_make(value.p, n);
	*out = (struct action){ .text = view_trim(view_make(value.p + n, value.len - n)) };
	if (!is_number(word)) {
		take_word(out, word, value);
	} else if (word.len == 3 && (word.p[0] == '4' || word.p[0] == '5')) {
		out->kind = word.p[0] == '4' ? ACTION_DEFER : ACTION_REJECT;
		out->code = (word.p[0] - '0') * 100 + (word.p[1] - '0') * 10 + word.p[2] - '0';
	} else {
		out->kind = ACTION_OK; /* access(5): all other numbers, as pop-before-smtp makes them */
	}
	if (out->kind == ACTION_REJECT || out->kind == ACTION_DEFER ||
	    out->kind == ACTION_DEFER_IF_PERMIT || out->kind == ACTION_DEFER_IF_REJECT)
		take_dsn(out);
}
