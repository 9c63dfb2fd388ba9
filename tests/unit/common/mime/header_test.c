#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct field_case {
	const char *text;
	const char *want; /* "name=value|" for each field, line ends as ~ */
	size_t rest;      /* bytes left behind the block */
};

static const struct field_case field_cases[] = {
	{ "A: b\r\nC: d\r\n\r\nbody", "A=b|C=d|", 4 },
	{ "A: b\nC:d\n\nbody", "A=b|C=d|", 4 },
	{ "A: b\r\n c\r\n\td\r\nE: f", "A=b~ c~\td|E=f|", 0 },
	{ "A :b\n", "A=b|", 0 },
	{ "A:\r\n b\r\n\r\n", "A=b|", 0 },
	{ "A:\r\nB:\r\n", "A=|B=|", 0 },
	{ " leading\r\nA: b\r\n\r\n", "A=b|", 0 },
	{ "From x@y Mon Nov 23 04:48:43 2026\nA: b\n\n", "A=b|", 0 },
	{ "no field\n of mine\nA: b\n\nx", "A=b|", 1 },
	{ ": b\nA: c\n", "A=c|", 0 },
	{ "A: b\r\n \r\nC: d\r\n\r\nx", "A=b~ |C=d|", 1 },
	{ "\r\nA: b\r\n", "", 6 },
	{ "", "", 0 },
	{ "A: b\rC: d\r\n", "A=b^C: d|", 0 },
	{ "A\xc3\xa9: b\r\nC: d", "C=d|", 0 },
};

static void
test_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof field_cases / sizeof field_cases[0]; i++) {
		const struct field_case *c = &field_cases[i];
		struct view rest = view_of(c->text);
		struct header_field f;
		struct buf got;

		buf_init(&got, 1000);
		while (header_next(&rest, &f)) {
			buf_printf(&got, "%.*s=", VIEW_ARG(f.name));
			for (size_t k = 0; k < f.value.len; k++) {
				if (f.value.p[k] == '\r' && k + 1 < f.value.len &&
				    f.value.p[k + 1] == '\n')
					continue;
				buf_append_byte(&got, f.value.p[k] == '\n'   ? '~'
						      : f.value.p[k] == '\r' ? '^'
									     : f.value.p[k]);
			}
			buf_append_str(&got, "|");
			assert_true(f.raw.len > f.name.len + f.value.len);
		}
		assert_string_equal(buf_cstr(&got), c->want);
		assert_int_equal(rest.len, c->rest);
		buf_clear(&got);
	}
}

static void
test_block_length(void **state)
{
	(void)state;
	assert_int_equal(header_block_length(VIEW_LIT("A: b\r\n\r\nbody")), 8);
	assert_int_equal(header_block_length(VIEW_LIT("A: b\n\nbody")), 6);
	assert_int_equal(header_block_length(VIEW_LIT("\nbody")), 1);
	assert_int_equal(header_block_length(VIEW_LIT("A: b\r\nC: d\r\n")), 12);
	assert_int_equal(header_block_length(VIEW_LIT("A: b\r\r\n\r\nx")), 9);
	assert_int_equal(header_block_length(VIEW_LIT("")), 0);
}

static void
test_find_and_unfold(void **state)
{
	struct header_field f;
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	assert_true(header_find(
	    VIEW_LIT("X: 1\r\nsubject: a\r\n  b\r\nSubject: c\r\n\r\nTo: d"), "Subject", &f));
	assert_int_equal(header_unfold(f.value, &out), 0);
	assert_string_equal(buf_cstr(&out), "a  b");
	assert_false(header_find(VIEW_LIT("X: 1\r\n\r\nTo: d"), "To", &f));
	buf_clear(&out);
}

/* Half a million fields, and one field of ten megabytes: hostile.md 13 and 14; a quadratic reader does not
 * come back from it. */
static void
test_large(void **state)
{
	struct header_field f;
	struct buf big;
	struct view rest;
	size_t n = 0;

	(void)state;
	buf_init(&big, 64 << 20);
	for (int i = 0; i < 500000; i++)
		buf_append_str(&big, "To: a@b\r\n");
	for (rest = buf_view(&big); header_next(&rest, &f);)
		n++;
	assert_int_equal(n, 500000);
	buf_reset(&big);
	buf_append_str(&big, "Subject: x\r\n");
	for (int i = 0; i < 5000000; i++)
		buf_append_str(&big, " \n");
	rest = buf_view(&big);
	assert_true(header_next(&rest, &f));
	assert_int_equal(f.raw.len, 10000012);
	assert_false(header_next(&rest, &f));
	buf_clear(&big);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_block_length),
		cmocka_unit_test(test_find_and_unfold),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
