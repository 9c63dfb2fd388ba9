#include "common/login/login_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MESSAGE(s) s, sizeof(s) - 1

static void
user_names_are_found(void **state)
{
	static const struct {
		const char *mech;
		unsigned nth;
		const char *message;
		size_t len;
		const char *user; /* NULL: none in this message */
	} cases[] = {
		{ "PLAIN", 0, MESSAGE("\0bob\0secret"), "bob" },
		{ "PLAIN", 0, MESSAGE("admin\0bob\0secret"), "bob" },
		{ "PLAIN", 0, MESSAGE("\0bob"), NULL },
		{ "PLAIN", 0, MESSAGE("bob secret"), NULL },
		{ "PLAIN", 0, MESSAGE(""), NULL },
		{ "PLAIN", 1, MESSAGE("\0bob\0secret"), NULL },
		{ "LOGIN", 0, MESSAGE("bob"), "bob" },
		{ "LOGIN", 1, MESSAGE("secret"), NULL },
		{ "LOGIN", 0, MESSAGE("b\r\n<o>\xff"), "b\\015\\012?o?\\377" },
		{ "SCRAM-SHA-256", 0, MESSAGE("n,,n=bob,r=fyko"), "bob" },
		{ "SCRAM-SHA-256-PLUS", 0, MESSAGE("p=tls-exporter,a=x,n=b=2Cob,r=fyko"),
		    "b=2Cob" },
		{ "SCRAM-SHA-256", 0, MESSAGE("n,,r=fyko"), NULL },
		{ "SCRAM-SHA-256", 0, MESSAGE("n"), NULL },
		{ "EXTERNAL", 0, MESSAGE("bob"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char user[64] = "";
		bool found = login_sasl_user(cases[i].mech, cases[i].nth,
		    view_make(cases[i].message, cases[i].len), user, sizeof user);

		assert_int_equal(found, cases[i].user != NULL);
		assert_string_equal(user, found ? cases[i].user : "");
	}
}

static void
long_names_are_cut(void **state)
{
	char name[1000], user[32];

	(void)state;
	memset(name, '\1', sizeof name);
	assert_true(login_sasl_user("LOGIN", 0, view_make(name, sizeof name), user, sizeof user));
	assert_int_equal(strlen(user), 28);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_names_are_found),
		cmocka_unit_test(long_names_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
