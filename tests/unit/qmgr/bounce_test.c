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
	    "mx.remote.test[192.0.2.1]:25", 1795419942, false },
	{ "carol@example.test", "friends@example.test", "", "5.2.2", "mailbox is full", NULL, 0,
	    false },
};
static const struct bounce_template text = { "", "MAILER-DAEMON", "Mail Delivery System",
	"Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail",
	"This is the mail system at host mail.example.test.\n\nIt could not be delivered.\n",
	NULL };

static struct bounce_input
sample(void)
{
	return (struct bounce_input){ .kind = NOTICE_FAILURE,
		.text = &text,
		.myhostname = "mail.example.test",
		.mail_name = "Estafeta",
		.id = { 1795419943000001, 2 },
		.now_s = 1795419943,
		.original = { 1795419940000000, 2 },
		.to = "alice@example.test",
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
    "It could not be delivered.\r\n"
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
    "Original-Envelope-Id: Q+1\r\n"
    "Reporting-MTA: dns; mail.example.test\r\n"
    "Arrival-Date: Mon, 23 Nov 2026 07:45:40 +0000\r\n"
    "X-Estafeta-Queue-ID: 4jXyfX0000z2\r\n"
    "X-Estafeta-Sender: rfc822; alice@example.test\r\n"
    "\r\n"
    "Original-Recipient: rfc822;b+o+b@remote.test\r\n"
    "Final-Recipient: rfc822; bob@remote.test\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.remote.test\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <bob@remote.test>: Recipient address\r\n"
    "    rejected: User unknown\r\n"
    "Last-Attempt-Date: Mon, 23 Nov 2026 07:45:42 +0000\r\n"
    "\r\n"
    "Final-Recipient: rfc822; carol@example.test\r\n"
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
	assert_non_null(strstr(buf_cstr(&r.body), "Action: delivered\r\n"));
	assert_null(strstr(buf_cstr(&r.body), "Diagnostic-Code"));
	clear(&r);
}

/* What the postmaster gets: no text for people, another subject, and nothing to answer (RFC 3834 5). */
static void
test_copy(void **state)
{
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	in.kind = NOTICE_FAILURE_COPY;
	in.to = "postmaster@example.test";
	assert_int_equal(render(&in, &r), 0);
	assert_non_null(
	    strstr(buf_cstr(&r.headers), "Subject: Postmaster Copy: Undelivered Mail\r\n"
					 "To: postmaster@example.test\r\n"
					 "Auto-Submitted: auto-generated\r\n"));
	assert_null(strstr(buf_cstr(&r.body), "It could not be delivered"));
	assert_non_null(strstr(buf_cstr(&r.body), "<bob@remote.test>: host mx.remote.test"));
	assert_non_null(
	    strstr(buf_cstr(&r.body), "X-Estafeta-Sender: rfc822; alice@example.test\r\n"));
	assert_non_null(strstr(buf_cstr(&r.body), "Action: failed\r\n"));
	clear(&r);
	in.sender = "";
	assert_int_equal(render(&in, &r), 0);
	assert_null(strstr(buf_cstr(&r.body), "X-Estafeta-Sender"));
	clear(&r);
}

/* RFC 2047, RFC 2045 6.7: texts in other languages need nothing of the servers on their way. */
static void
test_language(void **state)
{
	static const struct bounce_template russian = { "ru", "MAILER-DAEMON",
		"Система доставки почты", "Недоставленное сообщение возвращено отправителю", "",
		"Это почтовая система. = \n", NULL };
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
	in.text = &russian;
	assert_int_equal(render(&in, &r), 0);
	assert_false(r.is_8bit || r.is_utf8);
	assert_non_null(strstr(buf_cstr(&r.headers),
	    "From: =?UTF-8?B?0KHQuNGB0YLQtdC80LAg0LTQvtGB0YLQsNCy0LrQuCDQv9C+0Yc=?=\r\n"
	    " =?UTF-8?B?0YLRiw==?=\r\n"
	    " <MAILER-DAEMON@mail.example.test>\r\n"));
	assert_non_null(strstr(buf_cstr(&r.headers), "Subject: =?UTF-8?B?"));
	for (const char *p = buf_cstr(&r.headers); p != NULL && *p != '\0';
	     p = strchr(p, '\n'), p += p != NULL)
		assert_true(strcspn(p, "\r") <= 76);
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Content-Type: text/plain; charset=utf-8\r\n"
				      "Content-Language: ru\r\n"
				      "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
				      "=D0=AD=D1=82=D0=BE "));
	assert_non_null(strstr(buf_cstr(&r.body), ". =3D=20\r\n\r\n<bob@remote.test>: "));
	clear(&r);
}

/* A line of an original that no server need take (RFC 5321 4.5.3.1.6) is the reason for an encoding too. */
static void
test_long_line(void **state)
{
	struct bounce_input in = sample();
	char returned[1200] = "Subject: ";
	struct rendered r;
	struct view rest, line;

	(void)state;
	memset(returned + 9, 's', 1100);
	in.is_full = false;
	in.returned = view_of(returned);
	assert_int_equal(render(&in, &r), 0);
	for (rest = buf_view(&r.body); rest.len > 0;) {
		view_cut(rest, '\n', &line, &rest);
		assert_true(line.len <= 100);
	}
	clear(&r);
}

static void
utf8_case(const char *to, const char *rcpt, const char *orcpt, const char *want[6])
{
	struct bounce_rcpt r1 = failed[0];
	struct bounce_input in = sample();
	struct rendered r;

	r1.address = rcpt;
	r1.orcpt = orcpt;
	in.rcpts = &r1;
	in.nrcpts = 1;
	in.to = in.sender = to;
	in.returned = VIEW_LIT("Subject: gr\xc3\xbc\xc3\x9f\n\nx");
	in.is_smtputf8 = true;
	assert_int_equal(render(&in, &r), 0);
	assert_int_equal(r.is_utf8, want[0] != NULL);
	assert_int_equal(r.is_8bit, want[0] != NULL);
	for (int i = 1; i < 6; i++)
		if (strstr(buf_cstr(&r.body), want[i]) == NULL)
			fail_msg("%s is not in %s", want[i], buf_cstr(&r.body));
	clear(&r);
}

/* RFC 6533 3, 4: where the notice's addressee shows that SMTPUTF8 is spoken, UTF-8 as it is; else nothing but ASCII. */
static void
test_beyond_ascii(void **state)
{
	struct bounce_input in = sample();
	struct rendered r;

	(void)state;
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
	in.is_full = false;
	assert_int_equal(render(&in, &r), 0);
	assert_false(r.is_8bit);
	assert_non_null(
	    strstr(buf_cstr(&r.body), "Content-Type: text/rfc822-headers\r\n"
				      "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
				      "Subject: gr=C3=BC=C3=9F\r\n"));
	clear(&r);
	utf8_case("\xc3\xa4@example.test", "b\xc3\xbc@remote.test",
	    "utf-8;b\\x{FC}\\x{2B}x@remote.test",
	    (const char *[6]){ "utf8",
		"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n",
		"Final-Recipient: utf-8; b\xc3\xbc@remote.test\r\n",
		"Original-Recipient: utf-8;b\xc3\xbc+x@remote.test\r\n",
		"X-Estafeta-Sender: utf-8; \xc3\xa4@example.test\r\n",
		"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: gr\xc3\xbc" });
	utf8_case("alice@example.test", "b\xc3\xbc@remote.test", "utf-8;b\xc3\xbc@remote.test",
	    (const char *[6]){ NULL, "Content-Type: message/delivery-status\r\n\r\n",
		"Final-Recipient: utf-8; b\\x{FC}@remote.test\r\n",
		"Original-Recipient: utf-8;b\\x{FC}@remote.test\r\n", "<b=C3=BC@remote.test>: host",
		"Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: gr=C3=BC" });
}

/* What a client gives as ORCPT or ENVID cannot make another field, or 8 bits where none are announced. */
static void
test_hostile_parameters(void **state)
{
	static const char *const orcpts[] = { "rfc822;+0D+0AX-Evil:+20y+C3+BC",
		"utf-8;\\x{0D}\\x{0A}X-Evil:", "utf-8;\\x{110000}\\x{D800}\\x{}\\x{41", "utf-8",
		"x;", ";", "" };
	struct bounce_rcpt r1 = failed[0];
	struct bounce_input in = sample();

	(void)state;
	in.rcpts = &r1;
	in.nrcpts = 1;
	in.envid = "+0D+0AX-Evil:+FF";
	for (size_t i = 0; i < sizeof orcpts / sizeof orcpts[0]; i++)
		for (int k = 0; k < 2; k++) {
			struct rendered r;

			r1.orcpt = orcpts[i];
			in.to = k == 0 ? "alice@example.test" : "\xc3\xa4@example.test";
			assert_int_equal(render(&in, &r), 0);
			assert_null(strstr(buf_cstr(&r.body), "\nX-Evil"));
			for (size_t b = 0; k == 0 && b < r.body.len; b++)
				assert_true((unsigned char)r.body.p[b] < 0x80);
			clear(&r);
		}
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
		{ "+C3+BC", "??" }, { "a+3Db", "a=b" } };

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
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_language),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_beyond_ascii),
		cmocka_unit_test(test_hostile_parameters),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
