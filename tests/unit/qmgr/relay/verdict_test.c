#include "qmgr/relay/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
verdict(struct relay_verdict *v, const char *reply, const char *request)
{
	struct smtp_reply r;
	size_t used;

	smtp_reply_init(&r);
	assert_int_equal(smtp_reply_feed(&r, view_of(reply), &used, NULL), 0);
	relay_verdict_reply(v, &r, "host h[1.2.3.4] said", request);
	smtp_reply_clear(&r);
}

static const struct verdict_case {
	const char *reply;
	enum delivery_status status;
	const char *dsn, *text;
} cases[] = {
	{ "250 2.6.0 ok\r\n", DELIVERY_SENT, "2.6.0", "250 2.6.0 ok" },
	{ "250 ok\r\n", DELIVERY_SENT, "2.0.0", "250 ok" },
	{ "550 5.1.1 <x>: no\r\n", DELIVERY_BOUNCED, "5.1.1",
	    "host h[1.2.3.4] said: 550 5.1.1 <x>: no (in reply to C)" },
	{ "550-5.1.1 a\r\n550 5.1.1 b\r\n", DELIVERY_BOUNCED, "5.1.1",
	    "host h[1.2.3.4] said: 550 5.1.1 a b (in reply to C)" },
	{ "450\r\n", DELIVERY_DEFERRED, "4.0.0", "host h[1.2.3.4] said: 450  (in reply to C)" },
	{ "354 go\r\n", DELIVERY_DEFERRED, "4.5.0",
	    "host h[1.2.3.4] said: 354 go (in reply to C)" },
	{ "550 a\tb\033[2Jc\303\251\177\r\n", DELIVERY_BOUNCED, "5.0.0",
	    "host h[1.2.3.4] said: 550 a b?[2Jc??? (in reply to C)" },
};

static void
test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct relay_verdict v;

		verdict(&v, cases[i].reply, "C");
		assert_int_equal(v.status, cases[i].status);
		assert_string_equal(v.dsn, cases[i].dsn);
		assert_string_equal(v.text, cases[i].text);
		assert_int_equal(v.code, atoi(cases[i].reply));
	}
}

static void
test_long_reply_keeps_what_was_asked(void **state)
{
	struct relay_verdict v;
	char reply[2000];

	(void)state;
	snprintf(reply, sizeof reply, "550 %01900d\r\n", 0);
	verdict(&v, reply, "RCPT TO command");
	assert_non_null(strstr(v.text, "000 (in reply to RCPT TO command)"));
	verdict(&v, reply, NULL);
	assert_true(strlen(v.text) < RELAY_TEXT_MAX);
}

static void
test_soften(void **state)
{
	struct relay_verdict v;

	(void)state;
	verdict(&v, "554 5.7.1 no\r\n", NULL);
	relay_verdict_soften(&v);
	assert_int_equal(v.status, DELIVERY_DEFERRED);
	assert_string_equal(v.dsn, "4.7.1");
	verdict(&v, "250 2.0.0 ok\r\n", NULL);
	relay_verdict_soften(&v);
	assert_int_equal(v.status, DELIVERY_SENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_replies),
		cmocka_unit_test(test_long_reply_keeps_what_was_asked),
		cmocka_unit_test(test_soften) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
