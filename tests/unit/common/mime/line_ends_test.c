#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *in, *crlf, *lf;
} cases[] = {
	{ "", "", "" },
	{ "a\nb\r\nc", "a\r\nb\r\nc", "a\nb\nc" },
	{ "\n", "\r\n", "\n" },
	{ "\r\n", "\r\n", "\n" },
	{ "\n\n\r\n\n", "\r\n\r\n\r\n\r\n", "\n\n\n\n" },
	{ "a\rb", "a\rb", "a\rb" },
	{ "a\r", "a\r", "a\r" },
	{ "a\r\r\n", "a\r\r\n", "a\r\n" },
	{ "\r", "\r", "\r" },
};

static void
test_line_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view in = view_of(cases[i].in);
		struct buf out;

		buf_init(&out, 100);
		assert_int_equal(crlf_append(in, &out), 0);
		assert_string_equal(buf_cstr(&out), cases[i].crlf);
		assert_int_equal(crlf_size(in), out.len);
		buf_reset(&out);
		assert_int_equal(lf_append(in, &out), 0);
		assert_string_equal(buf_cstr(&out), cases[i].lf);
		buf_clear(&out);
	}
}

static void
test_full(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 3);
	assert_int_equal(crlf_append(VIEW_LIT("a\nb"), &out), -1);
	buf_reset(&out);
	assert_int_equal(lf_append(VIEW_LIT("a\r\nb\rc"), &out), -1);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line_ends),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
