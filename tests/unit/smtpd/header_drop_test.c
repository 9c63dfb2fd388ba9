#include "smtpd/header_drop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *in, *out;
} cases[] = {
	{ "A: b\r\n\r\nReturn-Path: x\r\n", "A: b\r\n\r\nReturn-Path: x\r\n" },
	{ "Return-Path: <x>\r\nA: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n" },
	{ "A: b\r\nRETURN-path:\r\n <x>\r\n\t(y)\r\nC: d\r\n\r\n", "A: b\r\nC: d\r\n\r\n" },
	{ "Return-Path: a\r\nReturn-Path: b\r\n\r\n", "\r\n" },
	{ "Return-Paths: a\r\nReturn-Pat: b\r\nX-Return-Path: c\r\n", "Return-Paths: a\r\nReturn-Pat: b\r\nX-Return-Path: c\r\n" },
	{ "A: b\r\n Return-Path: c\r\n", "A: b\r\n Return-Path: c\r\n" },
	{ "Return-", "Return-" },
	{ "r\r\nReturn-Path:", "r\r\n" },
	{ "", "" },
	{ "\r\n", "\r\n" },
};

static void
test_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].in);

		for (size_t cut = 0; cut <= len; cut++) {
			struct header_drop d = { 0 };
			struct buf out;

			buf_init(&out, 1000);
			header_drop_feed(&d, view_make(cases[i].in, cut), &out);
			header_drop_feed(&d, view_make(cases[i].in + cut, len - cut), &out);
			header_drop_end(&d, &out);
			assert_string_equal(buf_cstr(&out), cases[i].out);
			assert_int_equal(d.dropped, len - out.len);
			buf_clear(&out);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_cut) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
