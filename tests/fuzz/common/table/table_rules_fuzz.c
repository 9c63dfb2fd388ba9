/* The first byte chooses the type, then a text of rules up to a NUL, then keys, one a line. */
#include "common/base/err.h"
#include "common/table/table_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_greedy(struct view text)
{
	unsigned repeats = 0;

	for (size_t i = 0; i < text.len; i++)
		repeats += strchr("+*?{\\", text.p[i]) != NULL;
	return repeats > 6 || memchr(text.p, '{', text.len) != NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct rule_kind *const kinds[] = { &rules_cidr, &rules_pcre, &rules_regexp };
	struct view rest, text, key;
	struct rules *rules;
	struct buf value;
	struct err e = { 0 };

	if (size == 0)
		return 0;
	view_cut(view_make(data + 1, size - 1), '\0', &text, &rest);
	/* the C library's compiler of expressions takes as much memory as it is asked for, and patterns are the admin's */
	if (data[0] % 3 == 2 && is_greedy(text))
		return 0;
	rules = rules_parse(kinds[data[0] % 3], text, "fuzz", NULL, NULL);
	buf_init(&value, 1000);
	for (int i = 0; i < 10 && rest.len > 0; i++) {
		view_cut(rest, '\n', &key, &rest);
		buf_reset(&value);
		if (key.len <= 300 && rules_lookup(rules, key, &value, &e) < 0 && e.kind == ERR_BUG)
			bug("%s", e.text);
	}
	buf_clear(&value);
	rules_free(rules);
	return 0;
}
