#include "tools/submission.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ADDED                                                                                      \
	"Date: Mon, 23 Nov 2026 05:48:43 +0100\r\nFrom: me@origin.test\r\nMessage-ID: <id@host>\r\n"

static const struct {
	const char *name, *input;
	bool from_headers, ignore_dots;
	const char *full_name;
	const char *message, *recipients; /* recipients with | behind each */
} cases[] = {
	{ "body only", "hello\nworld\n", false, false, "", ADDED "\r\nhello\r\nworld\r\n", "" },
	{ "empty", "", false, false, "", ADDED "\r\n", "" },
	{ "header and body", "Subject: x\n\nhello\n", false, false, "",
	    "Subject: x\r\n" ADDED "\r\nhello\r\n", "" },
	{ "no empty line", "Subject: x\nhello\n", false, false, "",
	    "Subject: x\r\n" ADDED "\r\nhello\r\n", "" },
	{ "folded", "Subject: x\n y\n\tz\n\nb", false, false, "",
	    "Subject: x\r\n y\r\n\tz\r\n" ADDED "\r\nb\r\n", "" },
	{ "complete", "From: a@b\nDate: now\nMessage-Id: <x>\n\nb\n", false, false, "",
	    "From: a@b\r\nDate: now\r\nMessage-Id: <x>\r\n\r\nb\r\n", "" },
	{ "dot", "S: x\n\none\n.\ntwo\n", false, false, "", "S: x\r\n" ADDED "\r\none\r\n", "" },
	{ "dot kept", "S: x\n\none\n.\n..two\n", false, true, "",
	    "S: x\r\n" ADDED "\r\none\r\n.\r\n..two\r\n", "" },
	{ "crlf", "S: x\r\n\r\none\r\n", false, false, "", "S: x\r\n" ADDED "\r\none\r\n", "" },
	{ "from line", "From root Mon Nov 23\n>From x\nS: x\n\nFrom here\n", false, false, "",
	    "S: x\r\n" ADDED "\r\nFrom here\r\n", "" },
	{ "dropped", "Bcc: a@b\nS: x\nReturn-Path: <c@d>\nContent-Length: 5\n\nb\n", false, false,
	    "", "S: x\r\n" ADDED "\r\nb\r\n", "" },
	{ "full name", "S: x\n\n", false, false, "A. \"B\" C",
	    "S: x\r\nDate: Mon, 23 Nov 2026 05:48:43 +0100\r\nFrom: \"A. \\\"B\\\" C\" <me@origin.test>\r\nMessage-ID: "
	    "<id@host>\r\n\r\n",
	    "" },
	{ "plain full name", "S: x\n\n", false, false, "A B",
	    "S: x\r\nDate: Mon, 23 Nov 2026 05:48:43 +0100\r\nFrom: A B <me@origin.test>\r\nMessage-ID: <id@host>\r\n\r\n",
	    "" },
	{ "recipients", "To: A <a@b>, root\nCc: g: c@d, \"e f\"@g;\nBcc:\n h@i\n\n", true, false,
	    "", "To: A <a@b>, root\r\nCc: g: c@d, \"e f\"@g;\r\n" ADDED "\r\n",
	    "a@b|root@origin.test|c@d|\"e f\"@g|h@i|" },
	{ "resent", "To: a@b\nResent-To: c@d\nResent-Bcc: e@f\n\n", true, false, "",
	    "To: a@b\r\nResent-To: c@d\r\n" ADDED "\r\n", "c@d|e@f|" },
};

static struct submission_options
make_options(void)
{
	return (struct submission_options){ .origin = "origin.test",
		.sender = "me@origin.test",
		.full_name = "",
		.message_id = "id@host",
		.drop_headers = "bcc, content-length, resent-bcc, return-path",
		.now = 1795409323,
		.zone_minutes = 60 };
}

static void
assert_recipients(const struct submission *s, const char *want)
{
	struct buf got;

	buf_init(&got, 10000);
	for (size_t i = 0; i < s->recipients.len; i++)
		buf_append_byte(&got, s->recipients.p[i] == '\0' ? '|' : s->recipients.p[i]);
	assert_string_equal(buf_cstr(&got), want);
	buf_clear(&got);
}

static void
test_build(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct submission_options o = make_options();
		struct submission s;
		struct err err;

		o.recipients_from_headers = cases[i].from_headers;
		o.ignore_dots = cases[i].ignore_dots;
		o.full_name = cases[i].full_name;
		submission_init(&s, 10000);
		assert_int_equal(submission_build(&s, view_of(cases[i].input), &o, &err), 0);
		if (strcmp(buf_cstr(&s.message), cases[i].message) != 0)
			fail_msg("%s: got\n%s", cases[i].name, buf_cstr(&s.message));
		assert_recipients(&s, cases[i].recipients);
		submission_clear(&s);
	}
}

static void
test_arguments(void **state)
{
	struct submission s;
	struct err err;

	(void)state;
	submission_init(&s, 1000);
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("root"), "o", &err), 0);
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("a@b,c@d <e@f>"), "o", &err), 0);
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("-x@y"), "o", &err), 0);
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("a..b@c"), "o", &err), 0);
	assert_int_equal(s.nrecipients, 5);
	assert_recipients(&s, "root@o|a@b|e@f|-x@y|\"a..b\"@c|");
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("<>"), "o", &err), -1);
	assert_int_equal(submission_add_recipients(&s, VIEW_LIT("\"a\x01\"@b"), "o", &err), -1);
	submission_clear(&s);
}

static void
test_8bit_and_limit(void **state)
{
	struct submission_options o = make_options();
	struct submission s;
	struct err err;

	(void)state;
	submission_init(&s, 10000);
	assert_int_equal(submission_build(&s, VIEW_LIT("S: x\n\n\xc3\xa9\n"), &o, &err), 0);
	assert_true(s.has_8bit);
	submission_clear(&s);
	submission_init(&s, 20);
	assert_int_equal(submission_build(&s, VIEW_LIT("S: x\n\nhello hello\n"), &o, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	submission_clear(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_8bit_and_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
