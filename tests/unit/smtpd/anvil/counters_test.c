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

/* Whatever an smtpd that was taken over sends, a key has little room. */
static void
test_long_keys(void **state)
{
	char key[COUNTERS_KEY_BYTES * 2] = "";
	struct counters c;

	(void)state;
	counters_init(&c, 100);
	memset(key, 'a', sizeof key - 1);
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, key, UNIT, 1, 1000), 1);
	key[COUNTERS_KEY_BYTES] = '\0';
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, key, UNIT, 1, 1000), 2);
	key[COUNTERS_KEY_BYTES - 1] = '\0';
	assert_int_equal(counters_add(&c, ANVIL_MESSAGE, key, UNIT, 1, 1000), 1);
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

/* A reload: hours go on where they were, what is over is forgotten, and nonsense is passed over. */
static void
test_hand_over(void **state)
{
	struct counters a, b;
	struct buf text;

	(void)state;
	counters_init(&a, 10);
	counters_add(&a, ANVIL_LOGIN_MESSAGE, "anna@example.test", 3600000, 4, 1000);
	counters_add(&a, ANVIL_SENDER_RCPT, "\"a b\"@example.test", 3600000, 7, 2000);
	counters_add(&a, ANVIL_LOGIN_RCPT, "over", 1000, 9, 1000);
	counters_add(&a, ANVIL_MESSAGE, "192.0.2.1", 3600000, 5, 1000);
	buf_init(&text, 10000);
	counters_save(&a, ANVIL_LOGIN_MESSAGE, 601000, 1700000600000, &text);
	counters_clear(&a);
	buf_append_str(&text, "99 1 1 1 x\n4 x\n\n4 1 1700000600000 3600000 \n");
	counters_init(&b, 10);
	counters_load(&b, buf_view(&text), 50, 1700000660000);
	assert_int_equal(counters_add(&b, ANVIL_LOGIN_MESSAGE, "anna@example.test", 3600000, 1, 60), 5);
	assert_int_equal(counters_add(&b, ANVIL_SENDER_RCPT, "\"a b\"@example.test", 3600000, 1, 60), 8);
	assert_int_equal(counters_add(&b, ANVIL_LOGIN_RCPT, "over", 1000, 1, 60), 1);
	assert_int_equal(counters_add(&b, ANVIL_MESSAGE, "192.0.2.1", 3600000, 1, 60), 1);
	/* 600 + 60 seconds of the hour are over */
	assert_int_equal(counters_add(&b, ANVIL_LOGIN_MESSAGE, "anna@example.test", 3600000, 1, 2939000), 6);
	assert_int_equal(counters_add(&b, ANVIL_LOGIN_MESSAGE, "anna@example.test", 3600000, 1, 2941000), 1);
	counters_clear(&b);
	buf_clear(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_long_keys), cmocka_unit_test(test_connections),
		cmocka_unit_test(test_hand_over),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
