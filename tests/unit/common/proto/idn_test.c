#include "common/proto/idn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* RFC 5891 5 */
static void
test_to_ascii(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = { { "Example.TEST", "example.test" }, { "", "" },
		{ "b\xc3\xbc"
		  "cher.test",
		    "xn--bcher-kva.test" },
		{ "B\xc3\x9c"
		  "CHER.test",
		    "xn--bcher-kva.test" },
		{ "bu\xcc\x88"
		  "cher.test",
		    "xn--bcher-kva.test" }, /* decomposed */
		{ "XN--BCHER-KVA.test", "xn--bcher-kva.test" },
		{ "stra\xc3\x9f"
		  "e.test",
		    "xn--strae-oqa.test" }, /* IDNA 2008, not "strasse" */
		{ "\xe4\xbe\x8b.test", "xn--fsq.test" }, { "a\xc3", NULL },
		{ "\xe2\x80\xae.test", NULL } };
	char out[IDN_DOMAIN_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(idn_to_ascii(view_of(rows[i].in), out), rows[i].out != NULL);
		assert_string_equal(out, rows[i].out != NULL ? rows[i].out : "");
	}
}

static void
test_lengths(void **state)
{
	char name[400], out[IDN_DOMAIN_MAX];

	(void)state;
	memset(name, 'a', sizeof name);
	assert_true(idn_to_ascii(view_make(name, IDN_DOMAIN_MAX - 1), out));
	assert_false(idn_to_ascii(view_make(name, IDN_DOMAIN_MAX), out));
	assert_false(idn_to_ascii(view_make("a\0b", 3), out));
}

static void
test_to_unicode(void **state)
{
	char out[IDN_DOMAIN_MAX];

	(void)state;
	assert_true(idn_to_unicode(view_of("a.xn--bcher-kva.test"), out));
	assert_string_equal(out, "a.b\xc3\xbc"
				 "cher.test");
	assert_false(idn_to_unicode(view_of("example.test"), out));
	assert_false(idn_to_unicode(view_of("xn--\xff.test"), out));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_ascii),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_to_unicode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
