#include "qmgr/relay/source.h"
#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *
text(const struct relay_source *s, int family)
{
	static char out[ADDR_TEXT];
	const struct sockaddr_storage *a = relay_source_for(s, family);

	return a != NULL ? addr_text(a, out) : "none";
}

static void
pick(struct relay_source *s, const char *value, int id, const char *nexthop)
{
	char queue_id[20];
	struct err e;

	snprintf(queue_id, sizeof queue_id, "4Z%d", id);
	if (relay_source_pick(value, queue_id, nexthop, s, &e) < 0)
		fail_msg("%s", e.text);
}

/* Messages take turns; the same one is not moved, whatever else happens. */
static void
test_turns(void **state)
{
	unsigned seen[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3000; i++) {
		struct relay_source s = { .has4 = false }, again = s;

		pick(&s, "192.0.2.0, 192.0.2.1 192.0.2.2,2001:db8::1", i, "one.test");
		pick(&again, "192.0.2.0, 192.0.2.1 192.0.2.2,2001:db8::1", i, "one.test");
		assert_memory_equal(&s.ip4, &again.ip4, sizeof s.ip4);
		assert_true(s.is_pool);
		seen[text(&s, AF_INET)[8] - '0']++;
		assert_string_equal(text(&s, AF_INET6), "2001:db8::1");
	}
	for (size_t i = 0; i < 3; i++)
		assert_in_range(seen[i], 900, 1100);
}

static void
test_families(void **state)
{
	struct relay_source s = { .has6 = true }, strict;

	(void)state;
	assert_true(addr_parse(view_of("2001:db8::9"), &s.ip6));
	strict = s;
	strict.must_bind = true;
	pick(&s, "192.0.2.7", 1, "x");
	assert_string_equal(text(&s, AF_INET), "192.0.2.7");
	assert_string_equal(text(&s, AF_INET6), "2001:db8::9");
	pick(&strict, "192.0.2.7", 1, "x");
	assert_string_equal(text(&strict, AF_INET6), "none");
	assert_string_equal(text(&s, AF_UNIX), "none");
}

static void
test_bad_values(void **state)
{
	static const char *const bad[] = { "", " , ", "192.0.2.1, host", "192.0.2.1/32", "[::1]" };
	struct relay_source s = { .has4 = false };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(relay_source_pick(bad[i], "id", "x", &s, &e), -1);
	assert_false(s.is_pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_bad_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
