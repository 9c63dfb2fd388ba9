#include "delivery/box_quota.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *text;
	bool is_known;
	int64_t limit_bytes, limit_count, used_bytes, used_count;
} cases[] = {
	{ "1000S,10C\n", true, 1000, 10, 0, 0 },
	{ "1000S\n100 1\n-50 -1\n", true, 1000, 0, 50, 0 },
	{ "10C,1000S\n          100    1\n", true, 1000, 10, 100, 1 },
	{ "0S\n\n5 1\n", true, 0, 0, 5, 1 },
	{ "1000S,5X\n", true, 1000, 0, 0, 0 },
	{ "1000S\n100 1", true, 1000, 0, 100, 1 },
	{ "", false, 0, 0, 0, 0 },
	{ "\n", false, 0, 0, 0, 0 },
	{ "S\n", false, 0, 0, 0, 0 },
	{ "-5S\n", false, 0, 0, 0, 0 },
	{ "1000S\n100\n", false, 0, 0, 0, 0 },
	{ "1000S\nx y\n", false, 0, 0, 0, 0 },
	{ "1000S\n99999999999999999999999 1\n", false, 0, 0, 0, 0 },
};

static void
test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct box_quota q;

		assert_int_equal(box_quota_parse(view_of(cases[i].text), &q), cases[i].is_known);
		if (!cases[i].is_known)
			continue;
		assert_true(
		    q.limit_bytes == cases[i].limit_bytes && q.limit_count == cases[i].limit_count);
		assert_true(
		    q.used_bytes == cases[i].used_bytes && q.used_count == cases[i].used_count);
	}
}

/* Sums that would overflow make the file unusable, not the process. */
static void
test_overflow(void **state)
{
	struct box_quota q;

	(void)state;
	assert_false(box_quota_parse(
	    VIEW_LIT("1S\n2305843009213693951 1\n2305843009213693951 1\n"
		     "2305843009213693951 1\n2305843009213693951 1\n2305843009213693951 1\n"),
	    &q));
}

static void
test_room(void **state)
{
	struct box_quota q = { .is_known = true,
		.limit_bytes = 100,
		.used_bytes = 90,
		.limit_count = 5,
		.used_count = 4 };

	(void)state;
	assert_true(box_quota_has_room(&q, 10));
	assert_false(box_quota_has_room(&q, 11));
	assert_false(box_quota_has_room(&q, UINT64_MAX));
	q.used_count = 5;
	assert_false(box_quota_has_room(&q, 1));
	q.limit_count = 0;
	q.used_bytes = 101;
	assert_false(box_quota_has_room(&q, 0));
	q.limit_bytes = 0;
	assert_true(box_quota_has_room(&q, UINT64_MAX));
	q.is_known = false;
	assert_true(box_quota_has_room(&q, UINT64_MAX));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
