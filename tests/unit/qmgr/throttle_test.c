/* What keeps deliveries back: feedback's words, rates, the admin's limits. */
#include "qmgr/throttle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
test_feedback(void **state)
{
	static const struct {
		const char *text;
		double number;
		int by; /* -1: refused */
	} cases[] = {
		{ "1", 1, FEEDBACK_FIXED },
		{ " 0.5 ", 0.5, FEEDBACK_FIXED },
		{ "1/concurrency", 1, FEEDBACK_WINDOW },
		{ "0.25 / sqrt_concurrency", 0.25, FEEDBACK_SQRT },
		{ "2", 0, -1 },
		{ "-1", 0, -1 },
		{ "nan", 0, -1 },
		{ "", 0, -1 },
		{ "1/", 0, -1 },
		{ "1/window", 0, -1 },
		{ "1 concurrency", 0, -1 },
		{ "1/concurrency x", 0, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct feedback f;
		int r = feedback_parse(cases[i].text, &f);

		assert_int_equal(r, cases[i].by < 0 ? -1 : 0);
		if (r < 0)
			continue;
		assert_true(f.number == cases[i].number);
		assert_int_equal(f.by, cases[i].by);
	}
}

/* At most three in any 100 ms: also across the border of two spans. */
static void
test_rate(void **state)
{
	struct rate r = { .count = 3, .span_ms = 100 }, none = { 0 };

	(void)state;
	assert_int_equal(rate_wait(&none, 5), 0);
	rate_take(&none, 5);
	assert_true(rate_is_idle(&none, 5));
	assert_true(rate_is_idle(&r, 5));
	rate_take(&r, 1000);
	rate_take(&r, 1090);
	assert_int_equal(rate_wait(&r, 1090), 0);
	rate_take(&r, 1095);
	assert_int_equal(rate_wait(&r, 1095), 5);
	assert_int_equal(rate_wait(&r, 1100), 0);
	rate_take(&r, 1100);
	assert_int_equal(rate_wait(&r, 1100), 90);
	assert_false(rate_is_idle(&r, 1199));
	assert_true(rate_is_idle(&r, 1200));
	rate_clear(&r);
}

static void
test_limits(void **state)
{
	static const char *const bad[] = { "rate", "rate=", "rate=5", "rate=5/", "rate=0/1s",
		"rate=5/0s", "rate=100001/1s", "rate=5/1x", "concurrency=0", "concurrency=-1",
		"concurrency=x", "recipients=99999999999", "speed=5", "rate=5/1s junk" };
	struct limits l;
	struct err err;

	(void)state;
	assert_int_equal(limits_parse("", &l, &err), 0);
	assert_int_equal(l.concurrency + l.recipients + l.rate_count, 0);
	assert_int_equal(limits_parse("concurrency=5, rate=100/1h recipients=20", &l, &err), 0);
	assert_int_equal(l.concurrency, 5);
	assert_int_equal(l.recipients, 20);
	assert_int_equal(l.rate_count, 100);
	assert_int_equal(l.rate_ms, 3600 * 1000);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(limits_parse(bad[i], &l, &err), -1);
		assert_int_equal(err.kind, ERR_SYNTAX);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_feedback),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
