#include "qmgr/relay/esmtp.h"
#include "common/ipc/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
test_ehlo(void **state)
{
	struct relay_ehlo e;

	(void)state;
	relay_ehlo_parse(
	    VIEW_LIT(
		"mx.example greets you\nPIPELINING\nsize 1000\n8bitmime\nSTARTTLS\nDSN\nSMTPUTF8\nX-Y z"),
	    &e);
	assert_int_equal(e.capabilities, 63);
	assert_int_equal(e.size_limit, 1000);
	assert_string_equal(e.name, "mx.example");
	relay_ehlo_parse(VIEW_LIT("PIPELINING\nSIZE"), &e); /* the first line is the greeting */
	assert_int_equal(e.capabilities, RELAY_CAP_SIZE);
	assert_int_equal(e.size_limit, 0);
	relay_ehlo_parse(VIEW_LIT("a\nSIZE 99999999999999999999999\nPIPELININGX\n\n\n"), &e);
	assert_int_equal(e.capabilities, RELAY_CAP_SIZE);
	assert_int_equal(e.size_limit, 0);
	relay_ehlo_parse(VIEW_LIT(""), &e);
	assert_string_equal(e.name, "");
}

static void
test_safe_paths(void **state)
{
	static const char *const good[] = { "", "a@b.test", "\"a b\"@c", "\"a\\\"b\"@c", "\"<>\"@c",
		"a@[192.0.2.1]", "|cmd@x", "-opt@x" };
	static const char *const bad[] = { "a b@c", "a>@c", "<a@c", "a\r\nRSET@c", "a\n", "\"a@c",
		"\"a\\", "a\\b@c", "\"a\\\r\"@c", "a\177@c", "a@b> SIZE=1" };
	char long_one[2000];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(relay_path_is_safe(good[i], false));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(relay_path_is_safe(bad[i], true));
	assert_false(relay_path_is_safe("\303\251@c", false));
	assert_true(relay_path_is_safe("\303\251@c", true));
	memset(long_one, 'a', sizeof long_one);
	long_one[sizeof long_one - 1] = '\0';
	assert_false(relay_path_is_safe(long_one, true));
}

static const char *
mail(struct buf *b, const struct relay_mail *m, unsigned capabilities)
{
	buf_reset(b);
	assert_int_equal(relay_mail_command(b, m, capabilities), 0);
	return buf_cstr(b);
}

static void
test_mail(void **state)
{
	struct relay_mail m = { .sender = "a@b",
		.envid = "QQ+2B1",
		.size = 42,
		.flags = ENVELOPE_8BIT | ENVELOPE_RET_HDRS,
		.needs_utf8 = true };
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_string_equal(mail(&b, &m, 0), "MAIL FROM:<a@b>\r\n");
	assert_string_equal(mail(&b, &m, 63),
	    "MAIL FROM:<a@b> SIZE=42 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1\r\n");
	m = (struct relay_mail){ .sender = "", .envid = "a b", .flags = ENVELOPE_RET_FULL };
	assert_string_equal(
	    mail(&b, &m, RELAY_CAP_DSN | RELAY_CAP_8BITMIME), "MAIL FROM:<> RET=FULL\r\n");
	m.envid = "a+2";
	m.flags = 0;
	assert_string_equal(mail(&b, &m, RELAY_CAP_DSN), "MAIL FROM:<>\r\n");
	buf_clear(&b);
}

static const char *
rcpt(struct buf *b, uint32_t notify, const char *orcpt, unsigned capabilities)
{
	buf_reset(b);
	assert_int_equal(relay_rcpt_command(b, "a@b", notify, orcpt, false, capabilities), 0);
	return buf_cstr(b);
}

static void
test_rcpt(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_string_equal(rcpt(&b, NOTIFY_SUCCESS, "rfc822;x@y", 0), "RCPT TO:<a@b>\r\n");
	assert_string_equal(rcpt(&b, NOTIFY_SUCCESS | NOTIFY_DELAY, "rfc822;x@y", RELAY_CAP_DSN),
	    "RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y\r\n");
	assert_string_equal(rcpt(&b, NOTIFY_NEVER | NOTIFY_DELAY, "", RELAY_CAP_DSN),
	    "RCPT TO:<a@b> NOTIFY=NEVER\r\n");
	assert_string_equal(rcpt(&b, 0, "rfc822;x y", RELAY_CAP_DSN), "RCPT TO:<a@b>\r\n");
	assert_string_equal(rcpt(&b, 0, "noseparator", RELAY_CAP_DSN), "RCPT TO:<a@b>\r\n");
	/* RFC 6533 3 */
	assert_string_equal(rcpt(&b, 0, "utf-8;\xc3\xa4@y", RELAY_CAP_DSN),
	    "RCPT TO:<a@b> ORCPT=utf-8;\\x{E4}@y\r\n");
	assert_string_equal(rcpt(&b, 0, "utf-8;\\x{E4}@y", RELAY_CAP_DSN),
	    "RCPT TO:<a@b> ORCPT=utf-8;\\x{E4}@y\r\n");
	assert_string_equal(rcpt(&b, 0, "utf-8;\xc3 y", RELAY_CAP_DSN), "RCPT TO:<a@b>\r\n");
	assert_string_equal(rcpt(&b, 0, "a b;x", RELAY_CAP_DSN), "RCPT TO:<a@b>\r\n");
	assert_string_equal(rcpt(&b, 0, "rfc822;x\r\nDATA", RELAY_CAP_DSN), "RCPT TO:<a@b>\r\n");
	buf_clear(&b);
}

static void
test_xforward(void **state)
{
	static const char *const values[XFORWARD_COUNT] = { "c.test", "IPv6:::1", "", "ESMTP",
		"a+b c=\303\251", "4Z", "LOCAL" };
	struct relay_ehlo e;
	char long_name[300];
	const char *others[XFORWARD_COUNT] = { long_name };
	struct buf b;

	(void)state;
	relay_ehlo_parse(VIEW_LIT("mx\nCHUNKING\nxforward NAME helo  X SOURCE"), &e);
	assert_int_equal(e.capabilities, RELAY_CAP_CHUNKING | RELAY_CAP_XFORWARD);
	assert_int_equal(
	    e.xforward, 1 << XFORWARD_NAME | 1 << XFORWARD_HELO | 1 << XFORWARD_SOURCE);
	buf_init(&b, 4096);
	relay_xforward_command(&b, values, e.xforward);
	assert_string_equal(
	    buf_cstr(&b), "XFORWARD NAME=c.test HELO=a+2Bb+20c+3D+C3+A9 SOURCE=LOCAL\r\n");
	b.len = 0;
	relay_xforward_command(&b, values, 1 << XFORWARD_ADDR | 1 << XFORWARD_PORT);
	assert_string_equal(buf_cstr(&b), "XFORWARD ADDR=IPv6:::1 PORT=[UNAVAILABLE]\r\n");
	memset(long_name, 'x', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	b.len = 0;
	relay_xforward_command(&b, others, 1 << XFORWARD_NAME);
	assert_string_equal(buf_cstr(&b), "XFORWARD NAME=[UNAVAILABLE]\r\n");
	buf_clear(&b);
	assert_int_equal(relay_capability(VIEW_LIT("chunking")), RELAY_CAP_CHUNKING);
	assert_int_equal(relay_capability(VIEW_LIT("etrn")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_safe_paths), cmocka_unit_test(test_mail),
		cmocka_unit_test(test_rcpt), cmocka_unit_test(test_xforward) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
