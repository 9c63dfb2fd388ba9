#include "tools/queue_words.h"

#include <stdio.h>
#include <string.h>

enum value { VALUE_TEXT, VALUE_TIME, VALUE_BYTES };

static const struct name {
	const char *name;
	enum qmgr_filter kind;
	enum value value;
} names[] = {
	{ "sender", QMGR_FILTER_SENDER, VALUE_TEXT },
	{ "recipient", QMGR_FILTER_RECIPIENT, VALUE_TEXT },
	{ "domain", QMGR_FILTER_DOMAIN, VALUE_TEXT },
	{ "reason", QMGR_FILTER_REASON, VALUE_TEXT },
	{ "queue", QMGR_FILTER_QUEUE, VALUE_TEXT },
	{ "older", QMGR_FILTER_OLDER, VALUE_TIME },
	{ "younger", QMGR_FILTER_YOUNGER, VALUE_TIME },
	{ "larger", QMGR_FILTER_LARGER, VALUE_BYTES },
	{ "smaller", QMGR_FILTER_SMALLER, VALUE_BYTES },
};

/* The name at the start of a word; *rest is what follows it: "=VALUE" or "". */
static const struct name *
find_name(const char *word, const char **rest)
{
	bool is_option = strncmp(word, "--", 2) == 0;

	word += is_option ? 2 : 0;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t len = strlen(names[i].name);

		if (strncmp(word, names[i].name, len) != 0)
			continue;
		*rest = word + len;
		if (**rest == '=' || (is_option && **rest == '\0'))
			return &names[i];
	}
	return NULL;
}

/* "90", "90m", "10k": the factor behind the number. */
static unsigned long long
factor_of(enum value v, char unit)
{
	static const struct {
		enum value value;
		char unit;
		unsigned long long factor;
	} units[] = { { VALUE_TIME, 's', 1 }, { VALUE_TIME, 'm', 60 }, { VALUE_TIME, 'h', 3600 },
		{ VALUE_TIME, 'd', 86400 }, { VALUE_TIME, 'w', 7 * 86400 },
		{ VALUE_BYTES, 'k', 1 << 10 }, { VALUE_BYTES, 'm', 1 << 20 },
		{ VALUE_BYTES, 'g', 1 << 30 } };

	if (unit == '\0')
		return 1;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (units[i].value == v && units[i].unit == (unit | 0x20))
			return units[i].factor;
	return 0;
}

static int
put_value(const struct name *n, const char *text, char out[QUEUE_VALUE], struct err *err)
{
	enum { DIGITS_MAX = 8 }; /* with its factor it has at most the 18 digits that qmgr takes */
	size_t digits = strspn(text, "0123456789");
	unsigned long long number = 0, factor;

	if (n->value == VALUE_TEXT) {
		if (strlen(text) >= QUEUE_VALUE)
			return err_set(err, ERR_SYNTAX, "--%s: the value is too long", n->name);
		snprintf(out, QUEUE_VALUE, "%s", text);
		return 0;
	}
	factor = digits == 0 || digits > DIGITS_MAX ? 0 : factor_of(n->value, text[digits]);
	if (factor == 0 || (text[digits] != '\0' && text[digits + 1] != '\0'))
		return err_set(err, ERR_SYNTAX, "--%s: \"%s\" is no %s", n->name, text,
		    n->value == VALUE_TIME ? "time (90, 15m, 2h, 3d, 1w)" : "size (900, 10k, 2m)");
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + (unsigned)(text[i] - '0');
	snprintf(out, QUEUE_VALUE, "%llu", number * factor);
	return 0;
}

static int
add_condition(struct queue_filter *f, const struct name *n, const char *text, struct err *err)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->conditions[i].kind == n->kind)
			return err_set(err, ERR_SYNTAX, "--%s is there twice", n->name);
	f->conditions[f->count].kind = n->kind;
	return put_value(n, text, f->conditions[f->count++].value, err);
}

int
queue_words_read(int *argc, char **argv, struct queue_filter *out, struct err *err)
{
	int kept = 0;

	out->count = 0;
	for (int i = 0; i < *argc; i++) {
		const char *rest = "";
		const struct name *n = find_name(argv[i], &rest);

		if (n == NULL) {
			argv[kept++] = argv[i];
			continue;
		}
		if (*rest == '=')
			rest++;
		else if (++i == *argc)
			return err_set(err, ERR_SYNTAX, "--%s wants a value", n->name);
		else
			rest = argv[i];
		if (add_condition(out, n, rest, err) < 0)
			return -1;
	}
	*argc = kept;
	return 0;
}
