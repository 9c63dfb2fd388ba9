#include "qmgr/relay/mx.h"
#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t seed;

static uint32_t
pick(uint32_t bound)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % bound;
}

static struct relay_mx
mx(unsigned preference, const char *host)
{
	struct relay_mx m = { .preference = preference };

	snprintf(m.host, sizeof m.host, "%s", host);
	return m;
}

static struct relay_address
address(unsigned preference, const char *ip)
{
	struct relay_address a = { .preference = preference };

	assert_true(addr_parse(view_of(ip), &a.addr));
	return a;
}

static void
test_read(void **state)
{
	struct view rdata[] = { view_make("\0\5\1a\0", 5), view_make("\0\5\0", 3),
		view_make("x", 1), view_make("\0\1\1b\0", 5) };
	struct relay_mx out[4];
	bool is_null;

	(void)state;
	assert_int_equal(relay_mx_read(rdata, 4, out, 4, &is_null), 2);
	assert_false(is_null); /* RFC 7505 3: only when it is the only one */
	assert_string_equal(out[1].host, "b");
	assert_int_equal(relay_mx_read(rdata, 4, out, 1, &is_null), 1);
	assert_int_equal(relay_mx_read(rdata + 1, 1, out, 4, &is_null), 0);
	assert_true(is_null);
	assert_int_equal(relay_mx_read(rdata, 0, out, 4, &is_null), 0);
	assert_false(is_null);
}

static void
test_order_and_chance(void **state)
{
	unsigned first_b = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct relay_mx list[] = { mx(20, "c"), mx(10, "a"), mx(30, "d"), mx(10, "b") };

		relay_mx_sort(list, 4, pick);
		assert_int_equal(list[0].preference + list[1].preference, 20);
		assert_string_equal(list[2].host, "c");
		assert_string_equal(list[3].host, "d");
		assert_string_not_equal(list[0].host, list[1].host);
		first_b += list[0].host[0] == 'b';
	}
	assert_in_range(first_b, 400, 600);
	relay_mx_sort(NULL, 0, pick);
}

static void
test_own_name(void **state)
{
	struct relay_mx list[] = { mx(10, "a"), mx(20, "b"), mx(20, "me.test"), mx(30, "d") };

	(void)state;
	assert_int_equal(relay_mx_cut_own_name(list, 4, "ME.test"), 1);
	assert_int_equal(relay_mx_cut_own_name(list, 4, "a"), 0);
	assert_int_equal(relay_mx_cut_own_name(list, 4, "d"), 3);
	assert_int_equal(relay_mx_cut_own_name(list, 4, "other"), 4);
	assert_int_equal(relay_mx_cut_own_name(list, 0, "other"), 0);
}

static void
test_own_address(void **state)
{
	struct sockaddr_storage mine[2];
	struct own_addresses own = { mine, 2 };
	struct relay_address a[] = { address(30, "192.0.2.3"), address(10, "192.0.2.1"),
		address(20, "2001:db8::2"), address(20, "192.0.2.2") };

	(void)state;
	addr_parse(VIEW_LIT("2001:db8::2"), &mine[0]);
	addr_parse(VIEW_LIT("198.51.100.1"), &mine[1]);
	assert_int_equal(relay_addresses_cut_own(a, 4, &own), 1);
	assert_int_equal(a[0].preference, 10);
	a[0] = address(10, "0.0.0.0"); /* "this host" */
	assert_int_equal(relay_addresses_cut_own(a, 1, &own), 0);
	a[0] = address(10, "::");
	assert_int_equal(relay_addresses_cut_own(a, 1, &own), 0);
	a[0] = address(10, "198.51.100.2");
	assert_int_equal(relay_addresses_cut_own(a, 1, &own), 1);
	a[0] = address(10, "::ffff:198.51.100.1");
	assert_int_equal(relay_addresses_cut_own(a, 1, &own), 0);
}

static void
test_address_order(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct relay_address a[] = { address(20, "192.0.2.9"), address(10, "192.0.2.1"),
			address(10, "192.0.2.2"), address(10, "2001:db8::1"),
			address(10, "2001:db8::2") };

		assert_int_equal(relay_addresses_order(a, 5, 10, RELAY_FAMILY_ANY, pick), 5);
		assert_int_equal(a[4].preference, 20);
		for (size_t n = 1; n < 4; n++) /* by turns */
			assert_int_not_equal(a[n].addr.ss_family, a[n - 1].addr.ss_family);
		assert_int_equal(relay_addresses_order(a, 5, 10, RELAY_FAMILY_IPV4, pick), 5);
		assert_int_equal(a[0].addr.ss_family, AF_INET);
		assert_int_equal(a[1].addr.ss_family, AF_INET);
		assert_int_equal(relay_addresses_order(a, 5, 2, RELAY_FAMILY_IPV6, pick), 2);
		assert_int_equal(a[0].addr.ss_family, AF_INET6);
		assert_int_equal(a[1].addr.ss_family, AF_INET); /* one of the other kind */
		assert_int_equal(relay_addresses_order(a, 5, 1, RELAY_FAMILY_ANY, pick), 1);
		assert_int_equal(a[0].preference, 10);
	}
	assert_int_equal(relay_addresses_order(NULL, 0, 5, RELAY_FAMILY_ANY, pick), 0);
}

static void
test_usable(void **state)
{
	struct relay_address a = address(0, "224.0.0.1");

	(void)state;
	assert_false(relay_address_is_usable(&a.addr));
	a = address(0, "255.255.255.255");
	assert_false(relay_address_is_usable(&a.addr));
	a = address(0, "ff02::1");
	assert_false(relay_address_is_usable(&a.addr));
	a = address(0, "127.0.0.1");
	assert_true(relay_address_is_usable(&a.addr));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_order_and_chance),
		cmocka_unit_test(test_own_name),
		cmocka_unit_test(test_own_address),
		cmocka_unit_test(test_address_order),
		cmocka_unit_test(test_usable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
