#include "smtpd/header_drop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* P: Return-Path: and Bcc:, A: Authentication-Results: of mail.example.test or of nobody is left out */
static const struct {
	const char *what, *in, *out;
} cases[] = {
	{ "P", "A: b\r\n\r\nReturn-Path: x\r\n", "A: b\r\n\r\nReturn-Path: x\r\n" },
	{ "P", "Return-Path: <x>\r\nA: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n" },
	{ "P", "A: b\r\nRETURN-path:\r\n <x>\r\n\t(y)\r\nC: d\r\n\r\n", "A: b\r\nC: d\r\n\r\n" },
	{ "P", "Return-Path: a\r\nReturn-Path: b\r\n\r\n", "\r\n" },
	{ "P", "Return-Path \t: a\r\nB: c\r\n", "B: c\r\n" }, /* RFC 5322 4.5.8 */
	{ "P", "Return-Paths: a\r\nReturn-Pat: b\r\nX-Return-Path: c\r\n",
	    "Return-Paths: a\r\nReturn-Pat: b\r\nX-Return-Path: c\r\n" },
	{ "P", "A: b\r\n Return-Path: c\r\n", "A: b\r\n Return-Path: c\r\n" },
	{ "P", "Bcc: a@b\r\n c@d\r\nBcc\r\nB cc: e\r\nBCC:\r\n\r\n", "Bcc\r\nB cc: e\r\n\r\n" },
	{ "P",
	    ": a\r\n:Bcc: b\r\n\x7f"
	    "Bcc: c\r\n",
	    ": a\r\n:Bcc: b\r\n\x7f"
	    "Bcc: c\r\n" },
	{ "P", "Return-", "Return-" },
	{ "P", "r\r\nReturn-Path:", "r\r\n" },
	{ "P", "Authentication-Results: mail.example.test; x\r\n",
	    "Authentication-Results: mail.example.test; x\r\n" },
	{ "P", "", "" },
	{ "P", "\r\n", "\r\n" },
	/* RFC 8601 2.2 and 5 */
	{ "A", "Return-Path: a\r\nAuthentication-Results: mail.example.test; none\r\nB: c\r\n\r\n",
	    "Return-Path: a\r\nB: c\r\n\r\n" },
	{ "A",
	    "AUTHENTICATION-RESULTS : Mail.Example.TEST.\r\n ; dkim=pass\r\n\tx\r\nB: c\r\n\r\nAuthentication-Results: mail.example.test\r\n",
	    "B: c\r\n\r\nAuthentication-Results: mail.example.test\r\n" },
	{ "A", "Authentication-Results: \"mail\\.example.test\" 1; spf=pass\r\n", "" },
	{ "A", "Authentication-Results: (a (b) \\) c)\r\n (d) mail.example.test/1; x\r\n", "" },
	{ "A", "Authentication-Results: mail.example.test=x\r\n\r\n", "\r\n" },
	{ "A",
	    "Authentication-Results:\r\nAuthentication-Results: ; dkim=pass\r\nAuthentication-Results: (open mail.other.test\r\nA: b\r\n",
	    "A: b\r\n" },
	{ "A", "Authentication-Results: =?utf-8?q?mail.example.test?=; x\r\n", "" },
	{ "A", "Authentication-Results: mail.other.test; dkim=pass\r\n x\r\nA: b\r\n\r\n",
	    "Authentication-Results: mail.other.test; dkim=pass\r\n x\r\nA: b\r\n\r\n" },
	{ "A", "Authentication-Results: x.mail.example.test",
	    "Authentication-Results: x.mail.example.test" },
	{ "A", "Authentication-Results: mail.example.test", "" },
	{ "A",
	    "Authentication-Result: mail.example.test\r\nX-Authentication-Results: mail.example.test\r\n",
	    "Authentication-Result: mail.example.test\r\nX-Authentication-Results: mail.example.test\r\n" },
	{ "PA", "Authentication-Results: mail.example.test\r\nReturn-Path: x\r\nA: b\r\n",
	    "A: b\r\n" },
	{ "", "Authentication-Results: mail.example.test\r\nReturn-Path: x\r\n",
	    "Authentication-Results: mail.example.test\r\nReturn-Path: x\r\n" },
};

static struct header_drop
dropper(const char *what)
{
	static const struct view names[] = { { "Bcc", 3 }, { "return-path", 11 } };

	return (struct header_drop){ .names = names,
		.nnames = strchr(what, 'P') != NULL ? 2 : 0,
		.authserv_id = strchr(what, 'A') != NULL ? "mail.example.test" : NULL };
}

static void
check_cut(const char *what, struct view in, size_t cut, const char *expected)
{
	struct header_drop d = dropper(what);
	struct buf out;

	buf_init(&out, in.len + HEADER_DROP_HELD);
	header_drop_feed(&d, view_make(in.p, cut), &out);
	header_drop_feed(&d, view_make(in.p + cut, in.len - cut), &out);
	header_drop_end(&d, &out);
	assert_string_equal(buf_cstr(&out), expected);
	assert_int_equal(d.dropped, in.len - out.len);
	buf_clear(&out);
}

static void
test_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t cut = 0; cut <= strlen(cases[i].in); cut++)
			check_cut(cases[i].what, view_of(cases[i].in), cut, cases[i].out);
}

/* Who hides his name behind more than is held back is not believed, wherever the bound falls; whose name was seen may go on. */
static void
test_long_fields(void **state)
{
	char in[HEADER_DROP_HELD * 2 + 100], out[sizeof in];

	(void)state;
	for (int pad = HEADER_DROP_HELD - 60; pad < HEADER_DROP_HELD + 20; pad++) {
		snprintf(in, sizeof in,
		    "Authentication-Results: (%*s) mail.example.test; x\r\n y\r\nA: b\r\n\r\n", pad,
		    "");
		check_cut("A", view_of(in), strlen(in), "A: b\r\n\r\n");
		snprintf(in, sizeof in,
		    "Authentication-Results: mail.other.test; %*s\r\n x\r\nA: b\r\n\r\n", pad, "");
		snprintf(out, sizeof out, "%s", in);
		check_cut("A", view_of(in), strlen(in), out);
	}
}

/* White space behind the name takes the room that the field needs (RFC 5322 4.5.8). */
static void
test_much_space_behind_the_name(void **state)
{
	char in[HEADER_DROP_HELD * 3];

	(void)state;
	for (int pad = HEADER_DROP_HELD - 60; pad < HEADER_DROP_HELD + 20; pad++) {
		snprintf(in, sizeof in, "%-*s: mail.other.test; %*s\r\n x\r\nA: b\r\n\r\n", pad,
		    "Authentication-Results", HEADER_DROP_HELD, "y");
		check_cut("A", view_of(in), strlen(in),
		    pad < HEADER_DROP_HELD - 17 ? in : "A: b\r\n\r\n");
		snprintf(in, sizeof in, "%-*s: x\r\nA: b\r\n\r\n", pad, "Bcc");
		check_cut("P", view_of(in), strlen(in), "A: b\r\n\r\n");
		snprintf(in, sizeof in, "%-*s: x\r\nA: b\r\n\r\n", pad, "Bcd");
		check_cut("PA", view_of(in), strlen(in), in);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_long_fields),
		cmocka_unit_test(test_much_space_behind_the_name) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
