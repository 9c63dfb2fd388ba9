/* Only what is pure; the rest is in tests/integration/test_checks.py. */
#include "smtpd/checks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
test_actions(void **state)
{
	static const struct {
		const char *value;
		enum check_action action;
		const char *argument;
	} cases[] = {
		{ "REJECT", CHECK_REJECT, "" },
		{ " reject  5.7.1 no spam ", CHECK_REJECT, "5.7.1 no spam" },
		{ "IGNORE", CHECK_IGNORE, "" },
		{ "STRIP because", CHECK_STRIP, "because" },
		{ "REPLACE X-Old: $1", CHECK_REPLACE, "X-Old: $1" },
		{ "PREPEND X-A: b", CHECK_PREPEND, "X-A: b" },
		{ "PASS", CHECK_PASS, "" },
		{ "DUNNO", CHECK_NONE, "" },
		{ "OK", CHECK_NONE, "" },
		{ "HOLD x", CHECK_VERDICT, "x" },
		{ "FILTER smtp:[127.0.0.1]:1", CHECK_VERDICT, "smtp:[127.0.0.1]:1" },
		{ "REJECTED", CHECK_UNKNOWN, "" },
		{ "", CHECK_UNKNOWN, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view argument;

		assert_int_equal(check_action_parse(view_of(cases[i].value), &argument), cases[i].action);
		assert_true(view_eq_str(argument, cases[i].argument));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_actions) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
