#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "authd/origins.h"

#include <stdio.h>

static const int64_t T = 1000000;

static void
one_network_is_one_origin(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "192.0.2.1", "::ffff:192.0.2.1", true },
		{ "2001:db8::1", "2001:db8::ffff:1:2:3", true },
		{ "2001:db8::1", "2001:db8:0:1::1", false },
		{ "unknown", "", true },
		{ "", "0.0.0.0", false },
	};
	struct origins o;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct origin *a, *b;

		origins_init(&o);
		a = origin_take(&o, cases[i].a, T);
		b = origin_take(&o, cases[i].b, T);
		if ((a == b) != cases[i].is_same)
			fail_msg("%s and %s", cases[i].a, cases[i].b);
		origin_release(&o, a, T);
		origin_release(&o, b, T);
		assert_int_equal(o.by_key.count, 0);
		origins_clear(&o);
	}
}

static void
failures_delay_longer_and_longer(void **state)
{
	static const int64_t delays[] = { 2000, 4000, 8000, 15000, 15000 };
	struct origins o;
	struct origin *from;
	int64_t now = T;

	(void)state;
	origins_init(&o);
	from = origin_take(&o, "192.0.2.1", now);
	assert_int_equal(origin_wait_ms(from, now), 0);
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		for (int devices = 0; devices < 5; devices++) /* with the same stale password */
			origin_failed(from, now);
		assert_int_equal(origin_wait_ms(from, now), delays[i]);
		now += delays[i];
		assert_int_equal(origin_wait_ms(from, now), 0);
	}
	assert_int_equal(origin_level(from, now), ORIGIN_LEVELS);
	origin_succeeded(from);
	assert_int_equal(origin_level(from, now), ORIGIN_LEVELS - 1);
	origin_failed(from, now);
	assert_int_equal(origin_wait_ms(from, now), 15000);
	origin_release(&o, from, now);
	assert_ptr_equal(origin_take(&o, "192.0.2.1", now), from); /* it is remembered */
	origins_clear(&o);
}

static void
a_login_makes_good_a_failure(void **state)
{
	struct origins o;
	struct origin *from;

	(void)state;
	origins_init(&o);
	from = origin_take(&o, "192.0.2.1", T);
	origin_failed(from, T);
	origin_succeeded(from);
	assert_int_equal(origin_wait_ms(from, T), 0);
	origin_failed(from, T); /* and the next counts anew */
	assert_int_equal(origin_wait_ms(from, T), 2000);
	origins_clear(&o);
}

static void
failures_are_forgotten(void **state)
{
	struct origins o;
	struct origin *from;
	int64_t now = T;

	(void)state;
	origins_init(&o);
	from = origin_take(&o, "192.0.2.1", now);
	for (int i = 0; i < ORIGIN_LEVELS; i++, now += 20000)
		origin_failed(from, now);
	now += ORIGIN_FORGET_MS;
	assert_int_equal(origin_level(from, now), 0);
	origin_failed(from, now);
	assert_int_equal(origin_wait_ms(from, now), 2000);
	origin_release(&o, from, now);
	assert_int_equal(o.by_key.count, 1);
	now += 2 * ORIGIN_FORGET_MS;
	origin_release(&o, origin_take(&o, "192.0.2.2", now), now);
	from = origin_take(&o, "192.0.2.3", now);
	origin_failed(from, now);
	origin_release(&o, from, now);
	assert_int_equal(o.by_key.count, 1);
	origins_clear(&o);
}

static void
the_table_is_bounded(void **state)
{
	struct origins o;
	struct origin *first = NULL;
	char client[32];

	(void)state;
	origins_init(&o);
	for (unsigned i = 0; i < ORIGINS_MAX + 100; i++) {
		struct origin *from;

		snprintf(client, sizeof client, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		from = origin_take(&o, client, T);
		origin_failed(from, T);
		if (i == 0)
			first = from; /* has an exchange: it stays */
		else
			origin_release(&o, from, T);
	}
	assert_int_equal(o.by_key.count, ORIGINS_MAX + 1);
	assert_ptr_equal(origin_take(&o, "10.0.0.0", T), first);
	origins_clear(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_network_is_one_origin),
		cmocka_unit_test(failures_delay_longer_and_longer),
		cmocka_unit_test(a_login_makes_good_a_failure),
		cmocka_unit_test(failures_are_forgotten),
		cmocka_unit_test(the_table_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
