/* What notices say, letter by letter. */
#include "qmgr/bounce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct bounce_rcpt failed[] = {
	{ "bob@remote.test", "", "rfc822;b+2Bo+2Bb@remote.test", "5.1.1",
	    "host mx.remote.test[192.0.2.1] said: 550 5.1.1 <bob@remote.test>: Recipient address rejected: "
	    "User unknown (in reply to RCPT TO command)",
	    "mx.remote.test[192.0.2.1]:25", false },
	{ "carol@example.test", "friends@example.test", "", "5.2.2", "mailbox is full", NULL,
	    false },
};

static struct bounce_input
sample(void)
{
	return (struct bounce_input){ .kind = NOTICE_FAILURE,
		.myhostname = "mail.example.test",
		.mail_name = "Estafeta",
		.id = { 1795419943000001, 2 },
		.now_s = 1795419943,
		.original = { 1795419940000000, 2 },
		.sender = "alice@example.test",
		.envid = "Q+2B1",
		.arrival_s = 1795419940,
		.expires_s = 1795851940,
		.rcpts = failed,
		.nrcpts = 2,
		.returned = VIEW_LIT("Subject: hi\r\n\r\nhello\r\n"),
		.is_full = true };
}

static const char golden_headers[] =
    "Received: by mail.example.test (Estafeta)\r\n"
    "\tid 4jXyfb0001z2; Mon, 23 Nov 2026 07:45:43 +0000\r\n"
    "Date: Mon, 23 Nov 2026 07:45:43 +0000\r\n"
    "From: MAILER-DAEMON@mail.example.test (Mail Delivery System)\r\n"
    "Subject: Undelivered Mail Returned to Sender\r\n"
    "To: alice@example.test\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"4jXyfb0001z2.1795419943/mail.example.test\"\r\n"
    "Message-Id: <20261123074543.4jXyfb0001z2@mail.example.test>\r\n"
    "\r\n";
static const char golden_body[] =
    "This is a MIME-encapsulated message.\r\n"
    "\r\n"
    "--4jXyfb0001z2.1795419943/mail.example.test\r\n"
    "Content-Description: Notification\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "\r\n"
    "This is the mail system at host mail.example.test.\r\n"
    "\r\n"
    "I'm sorry to have to inform you that your message could not\r\n"
    "be delivered to one or more recipients. It's attached below.\r\n"
    "\r\n"
    "For further assistance, please send mail to postmaster.\r\n"
    "\r\n"
    "If you do so, please include this problem report. You can\r\n"
    "delete your own text from the attached returned message.\r\n"
    "\r\n"
    "                   The mail system\r\n"
    "\r\n"
    "<bob@remote.test>: host mx.remote.test[192.0.2.1] said: 550 5.1.1\r\n"
    "    <bob@remote.test>: Recipient address rejected: User unknown (in reply to\r\n"
    "    RCPT TO command)\r\n"
    "\r\n"
    "<carol@example.test> (expanded from <friends@example.test>): mailbox is full\r\n"
    "\r\n"
    "--4jXyfb0001z2.1795419943/mail.example.test\r\n"
    "Content-Description: Delivery report\r\n"
    "Content-Type: message/delivery-status\r\n"
    "\r\n"
    "Reporting-MTA: dns; mail.example.test\r\n"
    "Original-Envelope-Id: Q+1\r\n"
    "X-Estafeta-Queue-ID: 4jXyfX0000z2\r\n"
    "X-Estafeta-Sender: rfc822; alice@example.test\r\n"
    "Arrival-Date: Mon, 23 Nov 2026 07:45:40 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; bob@remote.test\r\n"
    "Original-Recipient: rfc822;b+o+b@remote.test\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.remote.test\r\n"
    "Diagnostic-Code: smtp; host mx.remote.test[192.0.2.1] said: 550 5.1.1\r\n"
    "    <bob@remote.test>: Recipient address rejected: User unknown (in reply to\r\n"
    "    RCPT TO command)\r\n"
    "\r\n"
    "Final-Recipient: rfc822; carol@example.test\r\n"
    "Original-Recipient: rfc822; friends@example.test\r\n"
    "Action: failed\r\n"
    "Status: 5.2.2\r\n"
    "Diagnostic-Code: X-Estafeta; mailbox is full\r\n"
    "\r\n"
    "--4jXyfb0001z2.1795419943/mail.example.test\r\n"
    "Content-Description: Undelivered Message\r\n"
    "Content-Type: message/rfc822\r\n"
    "\r\n"
    "Subject: hi\r\n"
    "\r\n"
    "hello\r\n"
    "\r\n"
    "--4jXyfb0001z2.1795419943/mail.example.test--\r\n";

struct rendered {
	struct buf headers, body;
	bool is_8bit, is_utf8;
};

static int
render(const struct bounce_input *in, struct rendered *r)
{
	buf_init(&r->headers, 65536);
	buf_init(&r->body, 1 << 20);
	return bounce_render(in, &r->headers, &r->body, &r->is_8bit, &r->is_utf8);
}

static void
clear(struct rendered *r)
{
	buf_clear(&r->headers);
	buf_clear(&r->body);
}

static void
test_failure(void **state)
{
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	assert_int_equal(render(&in, &r), 0);
	assert_string_equal(buf_cstr(&r.headers), golden_headers);
	assert_string_equal(buf_cstr(&r.body), golden_body);
	assert_false(r.is_8bit || r.is_utf8);
	clear(&r);
}

static void
test_delay(void **state)
{
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	in.kind = NOTICE_DELAY;
	in.now_s = in.arrival_s + 4 * 3600 + 60;
	in.nrcpts = 1;
	in.is_full = false;
	in.returned = VIEW_LIT("Subject: hi\r\n\r\n");
	assert_int_equal(render(&in, &r), 0);
	assert_non_null(
	    strstr(buf_cstr(&r.headers), "Subject: Delayed Mail (still being retried)\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body),
	    "Your message could not be delivered for more than 4 hour(s).\r\n"
	    "It will be retried until Sat, 28 Nov 2026 07:45:40 +0000.\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body), "Action: delayed\r\n"));
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Will-Retry-Until: Sat, 28 Nov 2026 07:45:40 +0000\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body), "Content-Description: Delayed Message Headers\r\n"
						  "Content-Type: text/rfc822-headers\r\n"));
	clear(&r);
}

static void
test_success(void **state)
{
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	in.kind = NOTICE_SUCCESS;
	assert_int_equal(render(&in, &r), 0);
	assert_non_null(
	    strstr(buf_cstr(&r.headers), "Subject: Successful Mail Delivery Report\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body), "Action: delivered\r\n"));
	assert_null(strstr(buf_cstr(&r.body), "Diagnostic-Code"));
	clear(&r);
}

/* RFC 6533: addresses beyond ASCII; RFC 6152: 8-bit originals. */
static void
test_beyond_ascii(void **state)
{
	struct bounce_rcpt to = failed[0];
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	in.rcpts = &to;
	in.nrcpts = 1;
	in.returned = VIEW_LIT("Subject: gr\xc3\xbc\xc3\x9f\n\nx");
	assert_int_equal(render(&in, &r), 0);
	assert_true(r.is_8bit);
	assert_false(r.is_utf8);
	assert_non_null(strstr(buf_cstr(&r.headers), "Content-Transfer-Encoding: 8bit\r\n"));
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Content-Type: message/rfc822\r\n"
				      "Content-Transfer-Encoding: 8bit\r\n\r\n"
				      "Subject: gr\xc3\xbc\xc3\x9f\r\n\r\nx\r\n\r\n--"));
	clear(&r);
	to.address = "b\xc3\xbc@remote.test";
	assert_int_equal(render(&in, &r), 0);
	assert_true(r.is_utf8);
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Content-Type: message/global-delivery-status\r\n"));
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Final-Recipient: utf-8; b\xc3\xbc@remote.test\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body), "Content-Type: message/global\r\n"));
	clear(&r);
}

/* No line is longer than it must be, and every line end is CRLF, whatever the reason looks like. */
static void
test_lines(void **state)
{
	struct bounce_rcpt to = failed[0];
	struct bounce_input in = sample();
	struct rendered r;
	char reason[460];
	struct view rest, line;

	(void)state;
	for (size_t i = 0; i < sizeof reason - 1; i++)
		reason[i] = i % 7 == 6 ? ' ' : 'x';
	reason[sizeof reason - 1] = '\0';
	to.reason = reason;
	in.rcpts = &to;
	in.nrcpts = 1;
	assert_int_equal(render(&in, &r), 0);
	rest = buf_view(&r.body);
	while (view_cut(rest, '\n', &line, &rest)) {
		assert_true(view_ends(line, "\r"));
		assert_true(line.len <= 79);
	}
	clear(&r);
}

static void
test_xtext(void **state)
{
	static const char *const cases[][2] = { { "plain", "plain" }, { "a+2Bb", "a+b" },
		{ "+", "+" }, { "+2", "+2" }, { "+zz", "+zz" }, { "+0D+0Ax", "??x" },
		{ "a+3Db", "a=b" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf b;

		buf_init(&b, 100);
		bounce_xtext_decode(cases[i][0], &b);
		assert_string_equal(buf_cstr(&b), cases[i][1]);
		buf_clear(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failure),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_success),
		cmocka_unit_test(test_beyond_ascii),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
