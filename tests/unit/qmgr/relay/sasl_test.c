#include "qmgr/relay/sasl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *
chosen(const char *offered, const char *filter, const char *security)
{
	const struct relay_mechanism *m =
	    relay_sasl_choose(view_of(offered), filter, relay_sasl_security_read(security));

	return m == NULL ? "none" : relay_mechanism_name(m);
}

static void
test_choice(void **state)
{
	(void)state;
	assert_string_equal(chosen(" LOGIN  plain CRAM-MD5", "", "noanonymous"), "CRAM-MD5");
	assert_string_equal(chosen("LOGIN PLAIN", "", "noanonymous"), "PLAIN");
	assert_string_equal(chosen("LOGIN PLAIN", "", "noplaintext, noanonymous"), "none");
	assert_string_equal(chosen("CRAM-MD5 PLAIN", "", "noplaintext noanonymous"), "CRAM-MD5");
	assert_string_equal(chosen("CRAM-MD5 PLAIN", "", "nodictionary"), "none");
	assert_string_equal(chosen("CRAM-MD5 PLAIN", "", "mutual_auth"), "none");
	assert_string_equal(chosen("GSSAPI ANONYMOUS", "", ""), "none");
	assert_string_equal(chosen("", "", ""), "none");
	assert_string_equal(chosen("CRAM-MD5 PLAIN LOGIN", "login, plain", ""), "PLAIN");
	assert_string_equal(chosen("CRAM-MD5 PLAIN LOGIN", "!cram-md5, static:rest", ""), "PLAIN");
	assert_string_equal(chosen("CRAM-MD5 PLAIN", "digest-md5", ""), "none");
	assert_true(relay_sasl_filter_passes("digest-md5", view_of("PLAIN DIGEST-MD5")));
	assert_false(relay_sasl_filter_passes("!plain", view_of("PLAIN")));
	assert_false(relay_sasl_filter_passes("", view_of(" ")));
	assert_int_equal(relay_sasl_filter_check("!x plain static:all", NULL), 0);
	assert_int_equal(relay_sasl_filter_check("hash:/x", NULL), -1);
	assert_int_equal(relay_sasl_filter_check("!/etc/x", NULL), -1);
}

static struct relay_sasl
start(const char *mechanism, const char *user, const char *password)
{
	return (
	    struct relay_sasl){ relay_sasl_choose(view_of(mechanism), "", 0), user, password, 0 };
}

static void
respond(struct relay_sasl *x, const char *challenge, const char *expected)
{
	struct buf out;
	struct err e;

	buf_init(&out, 4096);
	if (expected == NULL) {
		assert_int_equal(relay_sasl_respond(x, view_of(challenge), &out, &e), -1);
		assert_int_not_equal(e.text[0], '\0');
	} else {
		assert_int_equal(relay_sasl_respond(x, view_of(challenge), &out, &e), 0);
		assert_string_equal(buf_cstr(&out), expected);
	}
	buf_clear(&out);
}

static void
test_exchanges(void **state)
{
	struct relay_sasl x = start("CRAM-MD5", "tim", "tanstaaftanstaaf");
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	/* RFC 2195 2 */
	assert_false(relay_sasl_initial(&x, &out));
	respond(&x, "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+",
	    "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
	respond(&x, "PDE4OTYu", NULL);
	/* RFC 4616 4 */
	x = start("PLAIN", "tim", "tanstaaftanstaaf");
	assert_true(relay_sasl_initial(&x, &out));
	assert_string_equal(buf_cstr(&out), "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	respond(&x, "", NULL);
	x = start("LOGIN", "tim", "pw");
	assert_false(relay_sasl_initial(&x, &out));
	respond(&x, "VXNlcm5hbWU6 ", "dGlt");
	respond(&x, "", "cHc=");
	respond(&x, "", NULL);
	x = start("LOGIN", "", "");
	respond(&x, "", "");
	x = start("CRAM-MD5", "tim", "");
	respond(&x, "no base64", NULL);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_exchanges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
