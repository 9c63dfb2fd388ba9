#include "smtpd/header_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct scan_case {
	const char *content;
	enum header_scan_start start;
	unsigned received;
	bool date, from;
	const char *id; /* NULL: no such field */
};

static const struct scan_case cases[] = {
	{ "", HEADER_START_NONE, 0, false, false, NULL },
	{ "\r\n", HEADER_START_EMPTY, 0, false, false, NULL },
	{ "\r\nDate: x\r\n", HEADER_START_EMPTY, 0, false, false, NULL },
	{ "Date: x\r\n\r\nFrom: y\r\n", HEADER_START_FIELD, 0, true, false, NULL },
	{ "DATE : x\r\nFrOm:y\r\n", HEADER_START_FIELD, 0, true, true, NULL },
	{ "Subject: a\r\n Date: folded\r\n\r\n", HEADER_START_FIELD, 0, false, false, NULL },
	{ "Received: a\r\n\tb\r\nReceived: c\r\nX-Received: d\r\n\r\n", HEADER_START_FIELD, 2,
	    false, false, NULL },
	{ "Message-ID: <a@b>\r\n\r\n", HEADER_START_FIELD, 0, false, false, "<a@b>" },
	{ "message-id:<a@b>  \r\n\r\n", HEADER_START_FIELD, 0, false, false, "<a@b>" },
	{ "Message-ID:\r\n <a@b>\r\n\r\n", HEADER_START_FIELD, 0, false, false, "<a@b>" },
	{ "Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n", HEADER_START_FIELD, 0, false, false,
	    "<a@b>" },
	{ "Message-ID:\r\n\r\n", HEADER_START_FIELD, 0, false, false, "" },
	{ "hello\r\n", HEADER_START_BODY, 0, false, false, NULL },
	{ "hello", HEADER_START_BODY, 0, false, false, NULL },
	{ "hello world: x\r\n", HEADER_START_BODY, 0, false, false, NULL },
	{ " Date: x\r\n", HEADER_START_BODY, 0, false, false, NULL },
	{ ": x\r\nDate: x\r\n", HEADER_START_BODY, 0, false, false, NULL },
	{ "D\xc3\xa4te: x\r\n", HEADER_START_BODY, 0, false, false, NULL },
	{ "From a@b Mon Nov 23\r\nDate: x\r\n\r\n", HEADER_START_FROM, 0, true, false, NULL },
	{ "From : x\r\n\r\n", HEADER_START_FIELD, 0, false, true, NULL },
	{ "Date: x\r\nbody without an empty line\r\nFrom: y\r\n", HEADER_START_FIELD, 0, true,
	    false, NULL },
	{ "A-name-of-more-than-thirty-two-bytes-which-no-one-uses: x\r\nDate: x\r\n",
	    HEADER_START_FIELD, 0, true, false, NULL },
	{ "Date: x", HEADER_START_FIELD, 0, true, false, NULL },
};

static void
check(const struct header_scan *h, const struct scan_case *c)
{
	assert_int_equal(h->start, c->start);
	assert_int_equal(h->received, c->received);
	assert_int_equal(h->has_date, c->date);
	assert_int_equal(h->has_from, c->from);
	assert_int_equal(h->has_message_id, c->id != NULL);
	assert_true(view_eq_str(header_scan_message_id(h), c->id != NULL ? c->id : ""));
}

static void
test_scan(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view in = view_of(cases[i].content);

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct header_scan h;

			header_scan_init(&h);
			header_scan_feed(&h, view_make(in.p, cut));
			header_scan_feed(&h, view_make(in.p + cut, in.len - cut));
			header_scan_finish(&h);
			check(&h, &cases[i]);
		}
	}
}

static void
test_limits(void **state)
{
	static struct header_scan h;
	static char big[5000];

	(void)state;
	memset(big, 'x', sizeof big);
	header_scan_init(&h);
	header_scan_feed(&h, view_of("Message-ID: "));
	for (int i = 0; i < 40; i++)
		header_scan_feed(&h, view_make(big, sizeof big));
	header_scan_feed(&h, view_of("\r\nDate: y\r\n\r\n"));
	assert_true(h.is_over);
	assert_int_equal(header_scan_message_id(&h).len, HEADER_SCAN_ID_MAX);
	assert_true(h.has_date);
	assert_in_range(h.longest_field, 200000, 200020);
}

static void
test_compound(void **state)
{
	static const struct {
		const char *content;
		bool is_compound;
	} types[] = {
		{ "Content-Type:\r\n Multipart/mixed; boundary=x\r\n\r\n", true },
		{ "Content-Type: message/rfc822\r\n\r\n", true },
		{ "Content-Type: text/plain; x=multipart/mixed\r\n\r\n", false },
		{ "Content-Type: message\r\nDate: x\r\n\r\n", false },
		{ "\r\nContent-Type: multipart/mixed\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct header_scan h;

		header_scan_init(&h);
		for (const char *p = types[i].content; *p; p++)
			header_scan_feed(&h, view_make(p, 1));
		header_scan_finish(&h);
		assert_int_equal(h.is_compound, types[i].is_compound);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan), cmocka_unit_test(test_compound),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
