#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void
parses_and_prints(void **state)
{
	static const struct {
		const char *in, *text, *literal; /* text NULL: not an address */
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1", "192.0.2.1" },
		{ "::1", "::1", "IPv6:::1" },
		{ "2001:DB8::0:1", "2001:db8::1", "IPv6:2001:db8::1" },
		{ "::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7" },
		{ "[::1]", NULL, NULL },
		{ "fe80::1%eth0", NULL, NULL },
		{ "192.0.2", NULL, NULL },
		{ "192.0.2.256", NULL, NULL },
		{ "", NULL, NULL },
		{ " 192.0.2.1", NULL, NULL },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sockaddr_storage a;
		char text[ADDR_TEXT];

		assert_int_equal(addr_parse(view_of(cases[i].in), &a), cases[i].text != NULL);
		if (cases[i].text == NULL)
			continue;
		assert_string_equal(addr_text(&a, text), cases[i].text);
		assert_string_equal(addr_literal(&a, text), cases[i].literal);
		addr_set_port(&a, 2525);
		assert_int_equal(addr_port(&a), 2525);
	}
}

static void
nul_is_no_address(void **state)
{
	struct sockaddr_storage a;

	(void)state;
	assert_false(addr_parse(view_make("192.0.2.1\0x", 11), &a));
}

static void
other_families_are_unknown(void **state)
{
	struct sockaddr_storage a = { .ss_family = AF_UNIX };
	char text[ADDR_TEXT];

	(void)state;
	assert_string_equal(addr_text(&a, text), "unknown");
	assert_int_equal(addr_port(&a), 0);
}

static void
prefixes_parse(void **state)
{
	static const struct {
		const char *in;
		bool ok;
	} cases[] = {
		{ "127.0.0.0/8", true },
		{ "192.0.2.1", true },
		{ "[::1]/128", true },
		{ "[2001:db8::]/32", true },
		{ "2001:db8::/32", true },
		{ "!10.0.0.0/8", true },
		{ "0.0.0.0/0", true },
		{ "[::1]", true },
		{ "127.0.0.1/8", false },
		{ "127.0.0.0/33", false },
		{ "127.0.0.0/", false },
		{ "[::1/128", false },
		{ "[::1]x", false },
		{ "[::1]/129", false },
		{ "host.example", false },
		{ "", false },
		{ "!", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct net_prefix p;
		struct err e;

		assert_int_equal(net_prefix_parse(view_of(cases[i].in), &p, &e) == 0, cases[i].ok);
	}
}

static void
first_match_decides(void **state)
{
	static const char *const nets[] = { "!10.1.0.0/16", "10.0.0.0/8", "[2001:db8::]/33",
		"192.0.2.128/25" };
	static const struct {
		const char *addr;
		bool match;
	} cases[] = {
		{ "10.1.2.3", false },
		{ "10.2.2.3", true },
		{ "::ffff:10.2.2.3", true },
		{ "2001:db8:7fff::1", true },
		{ "2001:db8:8000::1", false },
		{ "192.0.2.127", false },
		{ "192.0.2.129", true },
		{ "11.0.0.1", false },
	};
	struct net_prefix list[4];
	struct err e;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(net_prefix_parse(view_of(nets[i]), &list[i], &e), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct sockaddr_storage a;

		assert_true(addr_parse(view_of(cases[i].addr), &a));
		assert_int_equal(net_list_match(list, 4, &a), cases[i].match);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_and_prints),
		cmocka_unit_test(nul_is_no_address),
		cmocka_unit_test(other_families_are_unknown),
		cmocka_unit_test(prefixes_parse),
		cmocka_unit_test(first_match_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
