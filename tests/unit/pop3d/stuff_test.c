#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "pop3d/stuff.h"

static void
run(struct pop3d_stuff *s, const char *in, size_t len, size_t cut, struct buf *out)
{
	assert_int_equal(pop3d_stuff_add(s, view_make(in, cut), out), 0);
	assert_int_equal(pop3d_stuff_add(s, view_make(in + cut, len - cut), out), 0);
	assert_int_equal(pop3d_stuff_end(s, out), 0);
}

static const struct {
	const char *in;
	int64_t lines; /* < 0: RETR */
	const char *out;
} cases[] = {
	{ "", -1, ".\r\n" },
	{ "a: b\n\nx\n", -1, "a: b\r\n\r\nx\r\n.\r\n" },
	{ "a: b\r\n\r\nx\r\n", -1, "a: b\r\n\r\nx\r\n.\r\n" },
	{ "a\nlast", -1, "a\r\nlast\r\n.\r\n" },
	{ "a\r\nlast\r", -1, "a\r\nlast\r\n.\r\n" },
	{ ".\n..\n.x\nx.\n", -1, "..\r\n...\r\n..x\r\nx.\r\n.\r\n" },
	{ "\r\n.\r\n", -1, "\r\n..\r\n.\r\n" },
	{ ".", -1, "..\r\n.\r\n" },
	{ "a\rb\r\r\nc\n", -1, "a\rb\r\r\nc\r\n.\r\n" },
	{ "A: 1\nB: 2\n\none\ntwo\nthree\n", 0, "A: 1\r\nB: 2\r\n\r\n.\r\n" },
	{ "A: 1\nB: 2\n\none\ntwo\nthree\n", 1, "A: 1\r\nB: 2\r\n\r\none\r\n.\r\n" },
	{ "A: 1\r\nB: 2\r\n\r\none\r\n.two\r\nthree\r\n", 2,
	    "A: 1\r\nB: 2\r\n\r\none\r\n..two\r\n.\r\n" },
	{ "A: 1\n\none\ntwo", 9, "A: 1\r\n\r\none\r\ntwo\r\n.\r\n" },
	{ "A: 1\n", 5, "A: 1\r\n.\r\n" },
	{ "\nbody\nmore\n", 1, "\r\nbody\r\n.\r\n" },
	{ "A: 1\n\n\n\nx\n", 2, "A: 1\r\n\r\n\r\n\r\n.\r\n" },
	{ "A: 1\r\r\n\r\nx\r\ny\r\n", 1, "A: 1\r\r\n\r\nx\r\n.\r\n" },
	{ "\r\r\n\r\nx\r\ny\r\n", 1, "\r\r\n\r\nx\r\n.\r\n" },
};

static void
test_cases(void **state)
{
	struct pop3d_stuff s;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].in);

		for (size_t cut = 0; cut <= len; cut++) {
			if (cases[i].lines < 0)
				pop3d_stuff_init(&s);
			else
				pop3d_stuff_init_top(&s, (uint64_t)cases[i].lines);
			buf_reset(&out);
			run(&s, cases[i].in, len, cut, &out);
			assert_string_equal(buf_cstr(&out), cases[i].out);
		}
	}
	buf_clear(&out);
}

static void
test_full(void **state)
{
	struct pop3d_stuff s;
	struct buf out;

	(void)state;
	buf_init(&out, 4);
	pop3d_stuff_init(&s);
	assert_int_equal(pop3d_stuff_add(&s, VIEW_LIT("12345\n"), &out), -1);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cases),
		cmocka_unit_test(test_full) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
