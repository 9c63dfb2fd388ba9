#include "smtpd/anvil/counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { UNIT = 60000 };

static void
test_rates(void **state)
{
	struct counters c;

	(void)state;
	counters_init(&c, 100);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, 1, 1000), 1);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, 1, 2000), 2);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "b", UNIT, 1, 2000), 1);
	assert_int_equal(counters_add(&c, ANVIL_RCPT, "a", UNIT, 10, 2000), 10);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, 0, 60999), 2);
	/* the unit began with the first event */
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, 0, 61000), 0);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, 1, 70000), 1);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "a", UNIT, UINT32_MAX, 70000), UINT32_MAX);
	assert_int_equal(c.tables[ANVIL_RCPT].rate.value, 10);
	assert_string_equal(c.tables[ANVIL_RCPT].rate.key, "a");
	counters_clear(&c);
}

static void
test_connections(void **state)
{
	struct counters c;
	struct counter *one, *two;
	uint32_t open, rate;

	(void)state;
	counters_init(&c, 2);
	one = counters_connect(&c, "smtp:192.0.2.1", UNIT, 0, &open, &rate);
	two = counters_connect(&c, "smtp:192.0.2.1", UNIT, 0, &open, &rate);
	assert_ptr_equal(one, two);
	assert_int_equal(open, 2);
	assert_int_equal(rate, 2);
	counters_disconnect(&c, one);
	counters_connect(&c, "smtp:192.0.2.1", UNIT, UNIT, &open, &rate);
	assert_int_equal(open, 2);
	assert_int_equal(rate, 1);
	two = counters_connect(&c, "smtp:192.0.2.2", UNIT, 0, &open, &rate);
	/* both keys have connections: nothing can be forgotten, the third is not counted */
	assert_null(counters_connect(&c, "smtp:192.0.2.3", UNIT, 0, &open, &rate));
	assert_int_equal(open, 1);
	assert_int_equal(counters_expire(&c, 10 * UNIT), 2);
	counters_disconnect(&c, two);
	assert_non_null(counters_connect(&c, "smtp:192.0.2.3", UNIT, 0, &open, &rate));
	assert_int_equal(c.connections.value, 2);
	counters_clear(&c);
}

/* However many keys come: the memory is bounded, the idle ones go, and other tables keep theirs. */
static void
test_flood(void **state)
{
	struct counters c;
	char key[32];

	(void)state;
	counters_init(&c, 1000);
	counters_add(&c, ANVIL_LOGIN_MESSAGE, "alice", UNIT, 7, 0);
	for (int i = 0; i < 100000; i++) {
		snprintf(key, sizeof key, "smtp:%d", i);
		counters_add(&c, ANVIL_MESSAGE, key, UNIT, 1, i / 100);
		if (i % 500 == 0)
			counters_add(&c, ANVIL_MESSAGE, "busy", UNIT, 1, i / 100);
	}
	assert_int_equal(c.tables[ANVIL_MESSAGE].keys.count, 1000);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "busy", UNIT, 0, 1000), 200);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, "smtp:1", UNIT, 0, 1000), 0);
	assert_int_equal(counters_add(&c, ANVIL_LOGIN_MESSAGE, "alice", UNIT, 1, 1000), 8);
	assert_int_equal(counters_expire(&c, 1000 + UNIT), 0);
	counters_clear(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
