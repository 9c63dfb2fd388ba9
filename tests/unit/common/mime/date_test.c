#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *text;
	int64_t utc;
	int zone;
} good[] = {
	{ "Mon, 23 Nov 2026 04:48:43 +0000", 1795409323, 0 },
	{ "Mon, 23 Nov 2026 05:48:43 +0100", 1795409323, 60 },
	{ "22 Nov 2026 23:18:43 -0530", 1795409323, -330 },
	{ "Thu, 1 Jan 1970 00:00:00 GMT", 0, 0 },
	{ "1 jan 70 00:00 UT", 0, 0 },
	{ "31 Dec 1969 19:00:00 EST", 0, -300 },
	{ "Fri, 21 Nov 97 09(comment):   55  :  06 -0600", 880127706, -360 },
	{ " Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n"
	  "               -0330 (Newfoundland Time)",
	    -27723480, -210 },
	{ "29 Feb 2000 12:00:00 +0000", 951825600, 0 },
	{ "Sun, 06 Nov 1994 08:49:37 A", 784111777, 0 },
	{ "Sunday, 06-Nov-94 08:49:37 GMT", 784111777, 0 },
	{ "Tue, 1 Sept 2026 10.11.12 +0200", 1788250272, 120 },
	{ "31 Dec 2016 23:59:60 +0000", 1483228800, 0 },
	{ "1 Jan 102 00:00:00 +0000", 1009843200, 0 },
	{ "23 Nov 2026 04:48:43", 1795409323, 0 },
	{ "23 Nov 2026 04:48:43 Nowhere", 1795409323, 0 },
	{ "23 Nov 2026 04:48:43 +99", 1795409323, 0 },
};
static const char *const bad[] = { "", "Mon", "Mon, 32 Nov 2026 04:48:43 +0000",
	"30 Feb 2026 00:00:00 +0000", "29 Feb 2100 00:00:00 +0000", "0 Jan 2000 00:00:00",
	"1 Foo 2000 00:00:00", "1 Jan 2000", "1 Jan 2000 24:00:00", "1 Jan 2000 00:60:00",
	"1 Jan 2000 00:00:61", "1 Jan 2000 10", "1 Jan 9999999999 00:00:00",
	"111 Jan 2000 00:00:00", "(((((((((" };

static void
test_parse(void **state)
{
	int64_t utc;
	int zone;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(date_parse(view_of(good[i].text), &utc, &zone));
		if (utc != good[i].utc || zone != good[i].zone)
			fail_msg("%s: %lld %d", good[i].text, (long long)utc, zone);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (date_parse(view_of(bad[i]), &utc, &zone))
			fail_msg("accepted %s", bad[i]);
}

static void
test_format(void **state)
{
	char out[64];

	(void)state;
	date_format(1795409323, 0, out, sizeof out);
	assert_string_equal(out, "Mon, 23 Nov 2026 04:48:43 +0000");
	date_format(1795409323, -330, out, sizeof out);
	assert_string_equal(out, "Sun, 22 Nov 2026 23:18:43 -0530");
	date_format(-1, 60, out, sizeof out);
	assert_string_equal(out, "Thu, 01 Jan 1970 00:59:59 +0100");
	date_format(INT64_MAX, 5999, out, sizeof out);
	date_format(INT64_MIN, -5999, out, sizeof out);
	date_format(0, INT32_MIN, out, 10);
	assert_string_equal(out, "Thu, 01 J");
}

/* What is printed is read back: every day over 300 years, every zone hour. */
static void
test_round_trip(void **state)
{
	(void)state;
	for (int64_t day = -60000; day < 60000; day++) {
		int64_t utc = day * 86400 + (day * 7919 % 86400), back;
		int zone = (int)(day % 25) * 30, zone_back;
		char out[64];

		date_format(utc, zone, out, sizeof out);
		assert_true(date_parse(view_of(out), &back, &zone_back));
		assert_true(back == utc && zone_back == zone);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
