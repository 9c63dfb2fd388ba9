#include "imapd/login_imap_parse.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct parse_case {
	const char *in;
	const char *out;   /* "tag name arg|arg" or NULL */
	enum err_kind err; /* when out is NULL */
	bool goes_on;      /* used > 0 in spite of the error */
	unsigned literals; /* asked for, when it is complete */
};

static const struct parse_case cases[] = {
	{ "a1 NOOP\r\n", "a1 NOOP", 0, false, 0 },
	{ "a1 noop\n", "a1 noop", 0, false, 0 },
	{ "A1 LOGIN bob secret\r\n", "A1 LOGIN bob|secret", 0, false, 0 },
	{ "A1 LOGIN \"b\\\"o\\\\b\" \"\"\r\n", "A1 LOGIN b\"o\\b|", 0, false, 0 },
	{ "A1 LOGIN {3}\r\nbob {6}\r\nsecret\r\n", "A1 LOGIN bob|secret", 0, false, 2 },
	{ "A1 LOGIN {3+}\r\nb{b {0+}\r\n\r\n", "A1 LOGIN b{b|", 0, false, 0 },
	{ "A1 LOGIN {5+}\r\na\r\nbc \"d\"\r\n", "A1 LOGIN a\r\nbc|d", 0, false, 0 },
	{ "A1 AUTHENTICATE PLAIN AGJvYgBz==\r\n", "A1 AUTHENTICATE PLAIN|AGJvYgBz==", 0, false, 0 },
	{ "a ID (\"name\" \"x\" \"v\" NIL)\r\n", "a ID (|name|x|v|NIL|)", 0, false, 0 },
	{ "a ID ()\r\n", "a ID (|)", 0, false, 0 },
	{ "a ID NIL \r\n", "a ID NIL", 0, false, 0 },
	{ "a\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a+b NOOP\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a  NOOP\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN  b c\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN \"b c\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN \"b\\c\" d\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN \"b\"c d\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN b\x80 d\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN b{3}\r\nabc d\r\n", NULL, ERR_SYNTAX, true, 1 },
	{ "a LOGIN {5000}\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN {5000+}\r\n", NULL, ERR_LIMIT, false, 0 },
	{ "a LOGIN {4096+}\r\n", NULL, 0, false, 0 }, /* more */
	{ "a LOGIN {99999999999}\r\n", NULL, ERR_SYNTAX, true, 0 },
	{ "a LOGIN \rb c\r\n", NULL, ERR_SYNTAX, false, 0 },
	{ "1234567890123456789012345678901234567890123456789012345678901234 NOOP\r\n", NULL,
	    ERR_SYNTAX, true, 0 },
};

static void
describe(const struct imap_login_command *cmd, char *out, size_t size)
{
	int n = snprintf(out, size, "%.*s %.*s", VIEW_ARG(cmd->tag), VIEW_ARG(cmd->name));

	for (unsigned i = 0; i < cmd->nargs; i++)
		n += snprintf(out + n, size - (size_t)n, "%s%.*s", i == 0 ? " " : "|",
		    VIEW_ARG(cmd->args[i].text));
}

/* The result on every prefix is "more" or that on the whole. */
static void
check(const struct parse_case *c, size_t len)
{
	struct imap_login_command cmd;
	struct err e = { 0 };
	char text[512];
	size_t used = 0;
	char *copy = malloc(len + 1);
	int r;

	memcpy(copy, c->in, len);
	imap_login_command_init(&cmd);
	r = imap_login_parse(&cmd, view_make(copy, len), &used, &e);
	if (r == 1) {
		assert_true(len < strlen(c->in) || (c->out == NULL && c->err == 0));
	} else if (r == 0) {
		assert_non_null(c->out);
		describe(&cmd, text, sizeof text);
		assert_string_equal(text, c->out);
		assert_int_equal(used, strlen(c->in));
		assert_int_equal(cmd.literals, c->literals);
	} else {
		if (c->out != NULL || e.kind != c->err)
			fail_msg("\"%s\" cut at %zu: %s", c->in, len, e.text);
		assert_int_equal(used > 0, c->goes_on);
	}
	imap_login_command_clear(&cmd);
	free(copy);
}

static void
commands_are_parsed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t len = 0; len <= strlen(cases[i].in); len++)
			check(&cases[i], len);
}

static int
parse_long(char *in, size_t len, size_t *used, struct err *e)
{
	struct imap_login_command cmd;
	int r;

	imap_login_command_init(&cmd);
	r = imap_login_parse(&cmd, view_make(in, len), used, e);
	imap_login_command_clear(&cmd);
	return r;
}

static void
long_commands_are_bounded(void **state)
{
	static char in[IMAP_LOGIN_COMMAND + 100];
	struct err e = { 0 };
	size_t used, at;

	(void)state;
	memset(in, 'a', sizeof in);
	assert_int_equal(parse_long(in, IMAP_LOGIN_LINE, &used, &e), 1);
	assert_int_equal(parse_long(in, IMAP_LOGIN_LINE + 1, &used, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_int_equal(used, 0);
	/* literals that are each allowed, but too many */
	at = (size_t)snprintf(in, sizeof in, "a ID (");
	for (int i = 0; i < 2; i++) {
		at += (size_t)snprintf(in + at, sizeof in - at, "{4000+}\r\n");
		memset(in + at, 'x', 4000);
		at += 4000;
		in[at++] = ' ';
	}
	at += (size_t)snprintf(in + at, sizeof in - at, "{4000+}\r\n");
	assert_int_equal(parse_long(in, at, &used, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
}

static void
arguments_are_counted(void **state)
{
	char in[1000];
	struct err e;
	size_t used, at = (size_t)snprintf(in, sizeof in, "a ID");

	(void)state;
	for (int i = 0; i < IMAP_LOGIN_ARGS + 1; i++)
		at += (size_t)snprintf(in + at, sizeof in - at, " x");
	at += (size_t)snprintf(in + at, sizeof in - at, "\r\n");
	assert_int_equal(parse_long(in, at, &used, &e), -1);
	assert_int_equal(e.kind, ERR_SYNTAX);
	assert_int_equal(used, at);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_parsed),
		cmocka_unit_test(long_commands_are_bounded),
		cmocka_unit_test(arguments_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
