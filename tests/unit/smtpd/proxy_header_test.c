#include "smtpd/proxy_header.h"
#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* haproxy's proxy-protocol.txt 2.1, 2.2 */
static const struct {
	struct view in;
	int result;
	size_t used;
	const char *client, *server; /* "" = none */
} cases[] = {
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\r\nEHLO"), 0, 44, "192.0.2.1:56324",
	    "198.51.100.2:25" },
	{ VIEW_LIT("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"), 0, 44, "2001:db8::1:1",
	    "2001:db8::2:65535" },
	{ VIEW_LIT("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 25\r\n"), 0, 46, "192.0.2.1:1",
	    "2001:db8::2:25" },
	{ VIEW_LIT("PROXY UNKNOWN\r\n"), 0, 15, "", "" },
	{ VIEW_LIT("PROXY UNKNOWN whatever it says here, too\r\n"), 0, 42, "", "" },
	{ VIEW_LIT("PROXY TCP4 2001:db8::1 192.0.2.1 1 2\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n"), -1, 0, "", "" },
	{ VIEW_LIT("PROXY \n"), -1, 0, "", "" },
	{ VIEW_LIT("EHLO x\r\n"), -1, 0, "", "" },
	{ VIEW_LIT(""), 1, 0, "", "" },
	{ VIEW_LIT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r"), 1, 0, "", "" },
	{ VIEW_LIT("\r\n\r\n"), 1, 0, "", "" },
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\14"
			     "\xc0\0\2\1"
			     "\xc6\x33\x64\2"
			     "\1\0\0\31"),
	    0, 28, "192.0.2.1:256", "198.51.100.2:25" },
	{ VIEW_LIT(SIGNATURE "\x21\x21\0\44"
			     "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
			     "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\2"
			     "\0\1\0\31"),
	    0, 52, "2001:db8::1:1", "2001:db8::2:25" },
	/* with additional values: one whole, one that says more than there is */
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\22"
			     "\xc0\0\2\1"
			     "\xc6\x33\x64\2"
			     "\1\0\0\31"
			     "\4\0\3abc"),
	    0, 34, "192.0.2.1:256", "198.51.100.2:25" },
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\22"
			     "\xc0\0\2\1"
			     "\xc6\x33\x64\2"
			     "\1\0\0\31"
			     "\4\0\4abc"),
	    -1, 0, "", "" },
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\16"
			     "\xc0\0\2\1"
			     "\xc6\x33\x64\2"
			     "\1\0\0\31"
			     "\4\0"),
	    -1, 0, "", "" },
	{ VIEW_LIT(SIGNATURE "\x20\0\0\0"), 0, 16, "", "" }, /* LOCAL */
	{ VIEW_LIT(SIGNATURE "\x20\x11\0\2ab"), 0, 18, "",
	    "" },                                            /* LOCAL: the rest is not looked at */
	{ VIEW_LIT(SIGNATURE "\x21\0\0\0"), 0, 16, "", "" }, /* UNSPEC */
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\4"
			     "\xc0\0\2\1"),
	    -1, 0, "", "" },
	{ VIEW_LIT(SIGNATURE "\x21\x12\0\14"
			     "\xc0\0\2\1"
			     "\xc6\x33\x64\2"
			     "\1\0\0\31"),
	    -1, 0, "", "" },                                       /* UDP */
	{ VIEW_LIT(SIGNATURE "\x21\x31\0\0"), -1, 0, "", "" },     /* Unix */
	{ VIEW_LIT(SIGNATURE "\x22\x11\0\0"), -1, 0, "", "" },     /* no such command */
	{ VIEW_LIT(SIGNATURE "\x11\x11\0\0"), -1, 0, "", "" },     /* no such version */
	{ VIEW_LIT(SIGNATURE "\x21\x11\xff\xff"), -1, 0, "", "" }, /* too long */
	{ VIEW_LIT(SIGNATURE "\x21\x11\0\14"
			     "\xc0\0"),
	    1, 0, "", "" },
};

static void
assert_address(const struct sockaddr_storage *a, const char *want)
{
	char text[100], ip[ADDR_TEXT];

	snprintf(text, sizeof text, "%s:%u", addr_text(a, ip), addr_port(a));
	assert_string_equal(text, want);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct proxy_header h;
		struct err err;
		size_t used;
		int r = proxy_header_parse(cases[i].in, &used, &h, &err);

		if (r != cases[i].result)
			fail_msg("case %zu: %d", i, r);
		if (r != 0)
			continue;
		assert_int_equal(used, cases[i].used);
		assert_int_equal(h.has_addresses, cases[i].client[0] != '\0');
		if (!h.has_addresses)
			continue;
		assert_address(&h.client, cases[i].client);
		assert_address(&h.server, cases[i].server);
	}
}

/* Every beginning of a good header asks for more. */
static void
test_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t len = 0; cases[i].result == 0 && len < cases[i].used; len++) {
			struct proxy_header h;
			size_t used;
			struct err err;

			assert_int_equal(
			    proxy_header_parse(view_make(cases[i].in.p, len), &used, &h, &err), 1);
		}
}

static void
test_long_line(void **state)
{
	char line[200];
	struct proxy_header h;
	size_t used;
	struct err err;

	(void)state;
	memset(line, 'x', sizeof line);
	memcpy(line, "PROXY UNKNOWN ", 14);
	assert_int_equal(proxy_header_parse(view_make(line, 106), &used, &h, &err), 1);
	assert_int_equal(proxy_header_parse(view_make(line, 107), &used, &h, &err), -1);
	line[105] = '\r';
	line[106] = '\n';
	assert_int_equal(proxy_header_parse(view_make(line, sizeof line), &used, &h, &err), 0);
	assert_int_equal(used, 107);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_long_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
