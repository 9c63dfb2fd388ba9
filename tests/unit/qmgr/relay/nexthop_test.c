#include "qmgr/relay/nexthop.h"
#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct hop_case {
	const char *in;
	const char *host; /* NULL: refused */
	unsigned port;
	bool use_mx, is_address;
} cases[] = {
	{ "example.com", "example.com", 25, true, false },
	{ "Example.COM.", "example.com", 25, true, false },
	{ "example.com:587", "example.com", 587, true, false },
	{ "example.com:submission", "example.com", 587, true, false },
	{ "[mx.example.com]", "mx.example.com", 25, false, false },
	{ "[mx.example.com]:2525", "mx.example.com", 2525, false, false },
	{ "[192.0.2.1]", "192.0.2.1", 25, false, true },
	{ "[192.0.2.1]:26", "192.0.2.1", 26, false, true },
	{ "[IPv6:2001:db8::1]", "2001:db8::1", 25, false, true },
	{ "[ipv6:2001:db8::1]:26", "2001:db8::1", 26, false, true },
	{ "[2001:db8::1]:26", "2001:db8::1", 26, false, true },
	{ "_x.example.com", "_x.example.com", 25, true, false },
	{ "b\303\274cher.example", "xn--bcher-kva.example", 25, true, false },
	{ "", NULL, 0, false, false },
	{ "[]", NULL, 0, false, false },
	{ "[", NULL, 0, false, false },
	{ "[a", NULL, 0, false, false },
	{ "[a]b", NULL, 0, false, false },
	{ "[a]:", NULL, 0, false, false },
	{ "[a]:0", NULL, 0, false, false },
	{ "a:65536", NULL, 0, false, false },
	{ "a:b:25", NULL, 0, false, false },
	{ "2001:db8::1", NULL, 0, false, false },
	{ "192.0.2.1", NULL, 0, false, false }, /* no domain ends in digits */
	{ "a..b", NULL, 0, false, false },
	{ ".", NULL, 0, false, false },
	{ "a b", NULL, 0, false, false },
	{ "a\nb", NULL, 0, false, false },
	{ "a/b", NULL, 0, false, false },
	{ "\377\376", NULL, 0, false, false },
};

static void
test_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct hop_case *c = &cases[i];
		struct relay_nexthop hop;
		struct err e;
		int rc = relay_nexthop_parse(c->in, 25, &hop, &e);

		if (rc != (c->host == NULL ? -1 : 0))
			fail_msg("%s: %d", c->in, rc);
		if (rc < 0)
			continue;
		assert_string_equal(hop.host, c->host);
		assert_int_equal(hop.port, c->port);
		assert_int_equal(hop.use_mx, c->use_mx);
		assert_int_equal(hop.is_address, c->is_address);
		if (c->is_address)
			assert_int_equal(addr_port(&hop.address), c->port);
	}
}

static void
test_long_names(void **state)
{
	char text[400];
	struct relay_nexthop hop;
	struct err e;

	(void)state;
	memset(text, 'a', sizeof text);
	for (size_t i = 60; i < sizeof text; i += 61)
		text[i] = '.';
	text[sizeof text - 1] = '\0';
	assert_int_equal(relay_nexthop_parse(text, 25, &hop, &e), -1);
	text[253] = '\0';
	assert_int_equal(relay_nexthop_parse(text, 25, &hop, &e), -1 + (strlen(text) <= 252));
	text[64] = 'b';
	memset(text, 'a', 64);
	text[64] = '\0';
	assert_int_equal(relay_nexthop_parse(text, 25, &hop, &e), -1);
	text[63] = '\0';
	assert_int_equal(relay_nexthop_parse(text, 25, &hop, &e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms),
		cmocka_unit_test(test_long_names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
