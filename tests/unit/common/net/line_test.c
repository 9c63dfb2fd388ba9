#include "common/net/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct line_case {
	const char *in;
	size_t len, max;
	int strict, loose; /* results */
	enum err_kind kind;
	size_t line_len, used;
};
#define IN(s) s, sizeof(s) - 1

static const struct line_case cases[] = {
	{ IN("NOOP\r\nX"), 100, 0, 0, ERR_NONE, 4, 6 },
	{ IN("\r\n"), 100, 0, 0, ERR_NONE, 0, 2 },
	{ IN(""), 100, 1, 1, ERR_NONE, 0, 0 },
	{ IN("NOOP"), 100, 1, 1, ERR_NONE, 0, 0 },
	{ IN("NOOP\r"), 100, 1, 1, ERR_NONE, 0, 0 },
	{ IN("NO\rOP\r\n"), 100, -1, -1, ERR_SYNTAX, 0, 0 },
	{ IN("NO\0OP\r\n"), 100, -1, -1, ERR_SYNTAX, 0, 0 },
	{ IN("NOOP\nX"), 100, -1, 0, ERR_SYNTAX, 4, 5 },
	{ IN("12345\r\n"), 5, 0, 0, ERR_NONE, 5, 7 },
	{ IN("123456\r\n"), 5, -1, -1, ERR_LIMIT, 0, 0 },
	{ IN("12345\r"), 5, 1, 1, ERR_NONE, 0, 0 },
	{ IN("123456"), 5, -1, -1, ERR_LIMIT, 0, 0 },
};

static void
check(const struct line_case *c, bool is_strict, size_t len)
{
	int want = is_strict ? c->strict : c->loose, r;
	struct view line = { 0 };
	size_t used = 0;
	struct err e = { 0 };

	r = is_strict ? line_cut_strict(view_make(c->in, len), c->max, &line, &used, &e)
		      : line_cut(view_make(c->in, len), c->max, &line, &used, &e);
	if (len < c->len && r == 1)
		return; /* cut before the verdict */
	assert_int_equal(r, want);
	if (r == 0) {
		assert_int_equal(line.len, c->line_len);
		assert_int_equal(used, c->used);
	}
	if (r < 0)
		assert_int_equal(e.kind, c->kind);
}

/* However the input is cut, the verdict is the same or "more". */
static void
lines_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t len = 0; len <= cases[i].len; len++) {
			check(&cases[i], true, len);
			check(&cases[i], false, len);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(lines_are_cut) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
