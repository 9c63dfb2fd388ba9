#include "smtpd/command.h"
#include "smtpd/command_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void
test_split(void **state)
{
	static const struct {
		const char *line, *verb, *args;
	} cases[] = { { "NOOP", "NOOP", "" }, { "noop ", "noop", "" },
		{ "EHLO a.b", "EHLO", "a.b" },
		{ "MAIL FROM:<a@b>  SIZE=1 ", "MAIL", "FROM:<a@b>  SIZE=1" }, { "", "", "" },
		{ "   ", "", "" }, { "\tNOOP\tx\t", "NOOP", "x" } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct command_line c;

		command_split(view_of(cases[i].line), &c);
		assert_true(view_eq_str(c.verb, cases[i].verb));
		assert_true(view_eq_str(c.args, cases[i].args));
	}
}

static void
test_path(void **state)
{
	static const struct {
		const char *args;
		unsigned options;
		const char *address, *params; /* address NULL: refused as kind */
		enum err_kind kind;
	} cases[] = {
		{ "FROM:<a@b>", ADDRESS_STRICT, "a@b", "", ERR_NONE },
		{ "from:<a@b> SIZE=1", ADDRESS_STRICT, "a@b", " SIZE=1", ERR_NONE },
		{ "FROM: <a@b>", 0, "a@b", "", ERR_NONE },
		{ "FROM: <a@b>", ADDRESS_STRICT, NULL, NULL, ERR_PERM },
		{ "FROM:a@b BODY=7BIT", 0, "a@b", " BODY=7BIT", ERR_NONE },
		{ "FROM:", 0, NULL, NULL, ERR_SYNTAX },
		{ "FROM", 0, NULL, NULL, ERR_SYNTAX },
		{ "FROM <a@b>", 0, NULL, NULL, ERR_SYNTAX },
		{ "TO:<a@b>", 0, NULL, NULL, ERR_SYNTAX },
		{ "", 0, NULL, NULL, ERR_SYNTAX },
		{ "FROM:<a@b>x", 0, NULL, NULL, ERR_PERM },
		{ "FROM:<a@b>SIZE=1", ADDRESS_STRICT, NULL, NULL, ERR_PERM },
		{ "FROM:<a@b", 0, NULL, NULL, ERR_PERM },
		{ "FROM:<a@b c>", 0, NULL, NULL, ERR_PERM },
		{ "FROM:<>", ADDRESS_ALLOW_NULL, "", "", ERR_NONE },
		{ "FROM:<>", 0, NULL, NULL, ERR_PERM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct address a;
		struct view params;
		struct err err;
		int r = command_parse_path(
		    view_of(cases[i].args), "FROM:", cases[i].options, &a, &params, &err);

		if ((r == 0) != (cases[i].address != NULL))
			fail_msg("%s", cases[i].args);
		if (r < 0) {
			assert_int_equal(err.kind, cases[i].kind);
			continue;
		}
		assert_string_equal(a.text, cases[i].address);
		assert_true(view_eq_str(params, cases[i].params));
	}
}

/* RFC 5321 4.1.2 esmtp-param */
static void
test_params(void **state)
{
	static const struct {
		const char *text, *keyword, *value;
		int result;
	} cases[] = { { "SIZE=1", "SIZE", "1", 0 }, { " a-b=x=y", "a-b", NULL, -1 },
		{ " SMTPUTF8 ", "SMTPUTF8", NULL, 0 }, { "", NULL, NULL, 1 },
		{ "  ", NULL, NULL, 1 }, { "=x", NULL, NULL, -1 }, { "-a=1", NULL, NULL, -1 },
		{ "a=", NULL, NULL, -1 }, { "a=\x7f", NULL, NULL, -1 }, { "a_b=1", NULL, NULL, -1 },
		{ "a=\xc3\xa4", "a", "\xc3\xa4", 0 }, { "A=!~", "A", "!~", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view rest = view_of(cases[i].text), keyword, value;
		struct err err;

		assert_int_equal(esmtp_param_next(&rest, &keyword, &value, &err), cases[i].result);
		if (cases[i].result != 0)
			continue;
		assert_true(view_eq_str(keyword, cases[i].keyword));
		if (cases[i].value == NULL)
			assert_null(value.p);
		else
			assert_true(view_eq_str(value, cases[i].value));
	}
}

static void
test_xtext(void **state)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = { { "a@b", true }, { "a+2Bb@c", true }, { "a+2bb", false }, { "a+2", false },
		{ "a+", false }, { "", false }, { "a=b", false }, { "a b", false }, { "+00", true },
		{ "\x80", false } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(xtext_is_valid(view_of(cases[i].text)), cases[i].ok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_xtext),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
