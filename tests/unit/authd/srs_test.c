/* SRS addresses, there and back. */
#include "authd/srs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

enum { NOW = 1700000000, DAY = 86400 };

static struct srs srs;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	srs = (struct srs){ .domain = "ours.test", .max_days = 21 };
	return srs_read_secrets(&srs, VIEW_LIT("tops3cr1t\n\n  older secret \r\n"), &e);
}

static int
teardown(void **state)
{
	(void)state;
	srs_clear(&srs);
	return 0;
}

static const char *
forward(const char *sender)
{
	static char out[ADDRESS_MAX + 1];

	return srs_forward(&srs, sender, NOW, out) == 0 ? out : "-";
}

static const char *
reverse(const char *address, int64_t now)
{
	static char out[ADDRESS_MAX + 1];
	int r = srs_reverse(&srs, address, now, out);

	return r == 0 ? out : r == 1 ? "-" : "forged";
}

/* The hashes were computed apart from srs.c, by what postsrsd says it signs. */
static void
test_format(void **state)
{
	(void)state;
	assert_string_equal(forward("Alice@far.test"), "SRS0=3hP1=G3=far.test=Alice@ours.test");
	assert_string_equal(forward("SRS0=abcd=ND=far.test=alice@hop.test"),
	    "SRS1=VC9T=hop.test==abcd=ND=far.test=alice@ours.test");
	assert_string_equal(forward("SRS1=xxxx=hop.test==abcd=ND=far.test=alice@second.test"),
	    "SRS1=VC9T=hop.test==abcd=ND=far.test=alice@ours.test");
	assert_string_equal(forward(""), "-");
	assert_string_equal(forward("bare"), "-");
	assert_string_equal(forward("us@OURS.test"), "-");
	assert_string_equal(forward("\"a b\"@far.test"), "-");
	/* what only looks like one is an address as any other */
	assert_memory_equal(forward("SRS1=abcd@far.test"), "SRS0=", 5);
	assert_memory_equal(forward("srs0@far.test"), "SRS0=", 5);
	assert_memory_equal(forward("SRS1=abcd=h*p.test==x=y=z@far.test"), "SRS0=", 5);
}

static void
test_back(void **state)
{
	static const char *const senders[] = { "alice@far.test", "a=b=c@far.test",
		"Some.One+x@Far.Test", "SRS0=abcd=ND=far.test=alice@hop.test",
		"SRS0+abcd=ND=far.test=alice@hop.test", "=@far.test", "SRS0=@far.test",
		"j\xc3\xb6rg@far.test" };

	(void)state;
	for (size_t i = 0; i < sizeof senders / sizeof senders[0]; i++) {
		char there[ADDRESS_MAX + 1], *p;

		snprintf(there, sizeof there, "%s", forward(senders[i]));
		assert_true(strcasecmp(reverse(there, NOW), senders[i]) == 0);
		for (p = there; *p != '\0'; p++)
			*p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
		assert_true(strcasecmp(reverse(there, NOW), senders[i]) == 0);
	}
	/* of another hop's SRS1 address the first hop is told, not that one */
	assert_string_equal(
	    reverse(forward("SRS1=xxxx=hop.test==abcd=ND=far.test=alice@second.test"), NOW),
	    "SRS0=abcd=ND=far.test=alice@hop.test");
}

static void
test_age(void **state)
{
	char there[ADDRESS_MAX + 1];

	(void)state;
	snprintf(there, sizeof there, "%s", forward("alice@far.test"));
	assert_string_equal(reverse(there, NOW + 21 * DAY), "alice@far.test");
	assert_string_equal(reverse(there, NOW + 22 * DAY), "forged");
	assert_string_equal(reverse(there, NOW - DAY), "forged"); /* not yet */
	assert_string_equal(
	    reverse(there, NOW + 1024 * DAY), "alice@far.test"); /* days modulo 1024 */
}

static void
test_forged(void **state)
{
	static const char *const rows[] = { "SRS0=@ours.test", "SRS0=x@ours.test",
		"SRS0=abcd=ND=far.test=alice@ours.test", "SRS0=abcd=ND=far.test@ours.test",
		"SRS0=abcd=N=far.test=alice@ours.test", "SRS0=====@ours.test", "SRS1=@ours.test",
		"SRS1=abcd=hop.test==x=y=z@ours.test", "SRS1=abcd=hop.test=@ours.test",
		"SRS1=abcd==far.test==x@ours.test" };
	char there[ADDRESS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(reverse(rows[i], NOW), "forged");
	assert_string_equal(reverse("alice@ours.test", NOW), "-");
	assert_string_equal(reverse("SRS0@ours.test", NOW), "-");
	assert_string_equal(reverse("SRS0=abcd=ND=far.test=alice@other.test", NOW), "-");
	snprintf(there, sizeof there, "%s", forward("alice@far.test"));
	for (size_t i = 5; there[i] != '@'; i++) {
		char was = there[i];

		there[i] = was == 'q' ? 'r' : 'q';
		if (was != 'Q')
			assert_string_equal(reverse(there, NOW), "forged");
		there[i] = was;
	}
}

/* What the secret of yesterday has signed is good until that is gone. */
static void
test_rotation(void **state)
{
	struct srs old = { .domain = "ours.test", .max_days = 21 };
	char there[ADDRESS_MAX + 1];
	struct err e;

	(void)state;
	assert_int_equal(srs_read_secrets(&old, VIEW_LIT("older secret"), &e), 0);
	assert_int_equal(srs_forward(&old, "alice@far.test", NOW, there), 0);
	assert_string_not_equal(there, forward("alice@far.test"));
	assert_string_equal(reverse(there, NOW), "alice@far.test");
	srs_clear(&old);
	assert_int_equal(srs_read_secrets(&old, VIEW_LIT("another secret"), &e), 0);
	old.domain = "ours.test";
	assert_int_equal(srs_reverse(&old, there, NOW, there), -1);
	srs_clear(&old);
	assert_int_equal(srs_read_secrets(&old, VIEW_LIT("short\n"), &e), -1);
	srs_clear(&old);
	assert_int_equal(srs_read_secrets(&old, VIEW_LIT(" \n\n"), &e), -1);
	srs_clear(&old);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_format, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_age, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rotation, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
