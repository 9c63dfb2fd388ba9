#include "smtpd/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static const struct received plain = {
	.helo = "client.example",
	.client_name = "mail.client.example",
	.client_literal = "192.0.2.1",
	.myhostname = "mail.example.test",
	.mail_name = "Estafeta",
	.protocol = "ESMTP",
	.queue_id = "4ZxYw0abcdz1",
	.recipient = "bob@example.test",
	.time = 1795409323,
};

static int
use_utc(void **state)
{
	(void)state;
	setenv("TZ", "UTC0", 1);
	tzset();
	return 0;
}

static void
check(const struct received *r, const char *expected)
{
	struct buf out;

	buf_init(&out, 16384);
	assert_int_equal(received_format(r, &out), 0);
	assert_string_equal(buf_cstr(&out), expected);
	/* RFC 5322 2.1.1, 2.2: no line is too long, none ends but by CRLF, all but the first are folded */
	for (size_t i = 0, line = 0; i < out.len; i++, line++) {
		assert_in_range(line, 0, 998);
		if (out.p[i] != '\n')
			continue;
		assert_int_equal(out.p[i - 1], '\r');
		assert_true(i + 1 == out.len || out.p[i + 1] == '\t');
		line = 0;
	}
	buf_clear(&out);
}

static void
test_plain(void **state)
{
	(void)state;
	check(&plain, "Received: from client.example (mail.client.example [192.0.2.1])\r\n"
		      "\tby mail.example.test (Estafeta) with ESMTP id 4ZxYw0abcdz1\r\n"
		      "\tfor <bob@example.test>;\r\n"
		      "\tMon, 23 Nov 2026 04:48:43 +0000 (UTC)\r\n");
}

static void
test_everything(void **state)
{
	struct received r = plain;

	(void)state;
	r.client_name = "unknown";
	r.client_literal = "IPv6:2001:db8::1";
	r.tls = "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)";
	r.login = "alice@example.test";
	r.protocol = "ESMTPSA";
	r.recipient = NULL;
	check(&r, "Received: from client.example (unknown [IPv6:2001:db8::1])\r\n"
		  "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
		  "\t(Authenticated sender: alice@example.test)\r\n"
		  "\tby mail.example.test (Estafeta) with ESMTPSA id 4ZxYw0abcdz1;\r\n"
		  "\tMon, 23 Nov 2026 04:48:43 +0000 (UTC)\r\n");
}

static void
test_hostile_words(void **state)
{
	struct received r = plain;

	(void)state;
	r.helo = "a\r\nX-Evil: 1 (\x80\"\\)";
	r.client_name = "b)\r\n\r\nbody";
	r.login = "c)(\n";
	check(&r, "Received: from a?"
		  "?X-Evil:?1?"
		  "?"
		  "?"
		  "?"
		  "?"
		  "? (b?"
		  "?"
		  "?"
		  "?"
		  "?body [192.0.2.1])\r\n"
		  "\t(Authenticated sender: c?"
		  "?"
		  "?)\r\n"
		  "\tby mail.example.test (Estafeta) with ESMTP id 4ZxYw0abcdz1\r\n"
		  "\tfor <bob@example.test>;\r\n"
		  "\tMon, 23 Nov 2026 04:48:43 +0000 (UTC)\r\n");
}

static void
test_long_words(void **state)
{
	static char big[5000];
	struct received r = plain;
	struct buf out;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	r.helo = r.client_name = r.login = big;
	buf_init(&out, 16384);
	assert_int_equal(received_format(&r, &out), 0);
	assert_in_range(out.len, 1, 1200);
	buf_clear(&out);
	buf_init(&out, 100);
	assert_int_equal(received_format(&r, &out), -1);
	buf_clear(&out);
}

static void
test_no_helo(void **state)
{
	struct received r = plain;

	(void)state;
	r.helo = NULL;
	r.protocol = "SMTP";
	check(&r, "Received: from mail.client.example (mail.client.example [192.0.2.1])\r\n"
		  "\tby mail.example.test (Estafeta) with SMTP id 4ZxYw0abcdz1\r\n"
		  "\tfor <bob@example.test>;\r\n"
		  "\tMon, 23 Nov 2026 04:48:43 +0000 (UTC)\r\n");
}

static void
test_date(void **state)
{
	static const struct {
		const char *zone;
		int64_t time;
		const char *text;
	} cases[] = { { "UTC0", 0, "Thu, 1 Jan 1970 00:00:00 +0000 (UTC)" },
		{ "CET-1", 1795409323, "Mon, 23 Nov 2026 05:48:43 +0100 (CET)" },
		{ "NST3:30", 1795409323, "Mon, 23 Nov 2026 01:18:43 -0330 (NST)" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out;

		setenv("TZ", cases[i].zone, 1);
		tzset();
		buf_init(&out, 100);
		assert_int_equal(mail_date_format(cases[i].time, &out), 0);
		assert_string_equal(buf_cstr(&out), cases[i].text);
		buf_clear(&out);
	}
	use_utc(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_hostile_words),
		cmocka_unit_test(test_long_words),
		cmocka_unit_test(test_no_helo),
		cmocka_unit_test(test_date),
	};

	return cmocka_run_group_tests(tests, use_utc, NULL);
}
