#include "common/proto/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct reply_case {
	const char *in;
	int rc, code;
	const char *dsn, *text;
} cases[] = {
	{ "250 ok\r\n", 0, 250, "", "ok" },
	{ "250\r\n", 0, 250, "", "" },
	{ "250 \r\n", 0, 250, "", "" },
	{ "250 2.1.5 ok\r\n", 0, 250, "2.1.5", "ok" },
	{ "250 2.1.5\r\n", 0, 250, "2.1.5", "" },
	{ "250 5.1.5 ok\r\n", 0, 250, "", "5.1.5 ok" }, /* another class */
	{ "250 2.1.5x ok\r\n", 0, 250, "", "2.1.5x ok" },
	{ "250 2.1234.5 ok\r\n", 0, 250, "", "2.1234.5 ok" },
	{ "250 ok\n", 0, 250, "", "ok" },
	{ "250-a\r\n250-SIZE 5\r\n250 b\r\n", 0, 250, "", "a\nSIZE 5\nb" },
	{ "550-5.1.1 a\r\n550 5.1.1 b\r\n", 0, 550, "5.1.1", "a\nb" },
	{ "550-a\r\n550 5.1.1 b\r\n", 0, 550, "", "a\nb" },
	{ "250-\r\n250\r\n", 0, 250, "", "\n" },
	{ "250-a\r\n", 1, 0, NULL, NULL },
	{ "250 a", 1, 0, NULL, NULL },
	{ "", 1, 0, NULL, NULL },
	{ "250-a\r\n251 b\r\n", -1, 0, NULL, NULL },
	{ "150 a\r\n", -1, 0, NULL, NULL },
	{ "650 a\r\n", -1, 0, NULL, NULL },
	{ "25 a\r\n", -1, 0, NULL, NULL },
	{ "\r\n", -1, 0, NULL, NULL },
	{ "250a\r\n", -1, 0, NULL, NULL },
	{ "250 a\rb\r\n", -1, 0, NULL, NULL },
	{ "250 a\r\r\n", -1, 0, NULL, NULL },
	{ "SSH-2.0-OpenSSH\r\n", -1, 0, NULL, NULL },
	{ "HTTP/1.1 400 Bad Request\r\n", -1, 0, NULL, NULL },
};

static int
feed_cut(struct smtp_reply *r, const char *in, size_t len, size_t cut, size_t *used)
{
	struct err e;
	size_t first, second = 0;
	int rc = smtp_reply_feed(r, view_make(in, cut), &first, &e);

	if (rc == 1)
		rc = smtp_reply_feed(r, view_make(in + first, len - first), &second, &e);
	*used = first + second;
	return rc;
}

static void
check(const struct reply_case *c, const struct smtp_reply *r, int rc)
{
	assert_int_equal(rc, c->rc);
	if (rc != 0)
		return;
	assert_int_equal(r->code, c->code);
	assert_string_equal(r->dsn, c->dsn);
	assert_int_equal(r->text.len, strlen(c->text));
	assert_memory_equal(r->text.len > 0 ? r->text.p : "", c->text, r->text.len);
}

static void
test_cases_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct reply_case *c = &cases[i];

		for (size_t cut = 0; cut <= strlen(c->in); cut++) {
			struct smtp_reply r;
			size_t used;

			smtp_reply_init(&r);
			check(c, &r, feed_cut(&r, c->in, strlen(c->in), cut, &used));
			smtp_reply_clear(&r);
		}
	}
}

static void
test_stops_behind_the_reply(void **state)
{
	static const char in[] = "250-a\r\n250 b\r\n354 go\r\n";

	(void)state;
	for (size_t cut = 0; cut < sizeof in; cut++) {
		struct smtp_reply r;
		size_t used;

		smtp_reply_init(&r);
		assert_int_equal(feed_cut(&r, in, sizeof in - 1, cut, &used), 0);
		assert_int_equal(used, 14);
		smtp_reply_clear(&r);
	}
}

static void
test_limits(void **state)
{
	struct smtp_reply r;
	struct err e;
	size_t used;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < REPLY_LINES_MAX; i++)
		buf_printf(&b, "250-%0*d\r\n", 500, i);
	buf_append_str(&b, "250 end\r\n");
	smtp_reply_init(&r);
	assert_int_equal(smtp_reply_feed(&r, buf_view(&b), &used, &e), -1); /* 101 lines */
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_true(r.text.len <= REPLY_TEXT_MAX);
	smtp_reply_clear(&r);
	/* one line less: the text is cut, the reply is good */
	assert_int_equal(smtp_reply_feed(&r, view_make(b.p + 506, b.len - 506), &used, &e), 0);
	assert_int_equal(r.text.len, REPLY_TEXT_MAX);
	smtp_reply_clear(&r);
	buf_reset(&b);
	buf_printf(&b, "250 %0*d", REPLY_LINE_MAX, 0);
	assert_int_equal(smtp_reply_feed(&r, buf_view(&b), &used, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	smtp_reply_clear(&r);
	assert_int_equal(smtp_reply_feed(&r, view_make("250 a\0b\r\n", 9), &used, &e), -1);
	smtp_reply_clear(&r);
	buf_clear(&b);
}

static void
test_enhanced_codes(void **state)
{
	(void)state;
	assert_int_equal(enhanced_code_length(VIEW_LIT("2.0.0")), 5);
	assert_int_equal(enhanced_code_length(VIEW_LIT("5.123.456 x")), 9);
	assert_int_equal(enhanced_code_length(VIEW_LIT("3.0.0")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("2.0")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("2.0.")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("2..0")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("2.0.0.0")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("2.0.1234")), 0);
	assert_int_equal(enhanced_code_length(VIEW_LIT("")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases_cut_at_every_byte),
		cmocka_unit_test(test_stops_behind_the_reply),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_enhanced_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
