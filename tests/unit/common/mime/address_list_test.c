#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Each entry as "[name|route|local|domain]", "-" for NULL; groups as "{name" and "}". */
static const struct {
	const char *text, *want;
} cases[] = {
	{ "", "" },
	{ " , ,, ", "" },
	{ "user@example.com", "[-|-|user|example.com]" },
	{ "<user@example.com>", "[-|-|user|example.com]" },
	{ "John Doe <jdoe@machine.example>", "[John Doe|-|jdoe|machine.example]" },
	{ "\"Joe Q. Public\" <john.q.public@example.com>",
	    "[Joe Q. Public|-|john.q.public|example.com]" },
	{ "Joe Q. Public <a@b>", "[Joe Q. Public|-|a|b]" },
	{ "a@b, c@d,e@f", "[-|-|a|b][-|-|c|d][-|-|e|f]" },
	{ "A Group:Ed Jones <joe@where.test>,joe@b,John <jdoe@one.test>;",
	    "{A Group[Ed Jones|-|joe|where.test][-|-|joe|b][John|-|jdoe|one.test]}" },
	{ "Undisclosed recipients:;", "{Undisclosed recipients}" },
	{ "g: a@b", "{g[-|-|a|b]}" },
	{ "g:a@b;, x@y", "{g[-|-|a|b]}[-|-|x|y]" },
	{ "g:h:a@b;;", "{g[-|-|ha|b]}" },
	{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
	    "[Pete|-|pete|silly.test]" },
	{ "user@host (Full Name)", "[Full Name|-|user|host]" },
	{ "user@host (a (nested) name), x@y", "[a (nested) name|-|user|host][-|-|x|y]" },
	{ "(before) user@host", "[-|-|user|host]" },
	{ "\"quoted \\\"local\\\"\"@example.com", "[-|-|quoted \"local\"|example.com]" },
	{ "\"\"@example.com", "[-|-||example.com]" },
	{ "john . q . public @ example . com", "[-|-|john.q.public|example.com]" },
	{ "\"a . b\".c@d", "[-|-|a . b.c|d]" },
	{ "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
	    "[Mary Smith|@node.test|mary|example.net][-|-|jdoe|test.example]" },
	{ "<@a,@b:c@d>", "[-|@a,@b|c|d]" },
	{ "user@[192.0.2.1]", "[-|-|user|[192.0.2.1]]" },
	{ "user@[IPv6:2001:db8::1], a@b", "[-|-|user|[IPv6:2001:db8::1]][-|-|a|b]" },
	{ "<>", "[-|-||]" },
	{ "MAILER-DAEMON <>", "[MAILER-DAEMON|-||]" },
	{ "root", "[-|-|root|]" },
	{ "root, a@b", "[-|-|root|][-|-|a|b]" },
	{ "foo bar", "[-|-|foo bar|]" },
	{ "a@b <c@d>", "[a@b|-|c|d]" },
	{ "a@b c@d, e@f", "[-|-|a|b][-|-|e|f]" },
	{ "<a@b> trailing, <c@d>", "[-|-|a|b][-|-|c|d]" },
	{ "<a@b, c@d", "[-|-|a|b][-|-|c|d]" },
	{ "=?utf-8?Q?J=C3=B6rg?= <a@b>", "[=?utf-8?Q?J=C3=B6rg?=|-|a|b]" },
	{ "J\xc3\xb6rg <j\xc3\xb6rg@b\xc3\xbc\x63her.example>",
	    "[J\xc3\xb6rg|-|j\xc3\xb6rg|b\xc3\xbc\x63her.example]" },
	{ "a\r\n b <c@d>,\r\n\te@f", "[a b|-|c|d][-|-|e|f]" },
	{ "\"unterminated <a@b>, c", "[-|-|unterminated <a@b>, c|]" },
	{ "(unterminated <a@b>, c", "" },
	{ "a (unterminated", "[unterminated|-|a|]" },
	{ "@", "[-|-||]" },
	{ "@example.com", "[-|-||example.com]" },
	{ ")>,a@b", "[-|-|a|b]" },
	{ "\\", "[-|-|\\|]" },
	{ "a@", "[-|-|a|]" },
	{ "a@.b", "[-|-|a|.b]" },
	{ "<<a@b>>", "[-|-||]" },
};

static void
print_list(const struct mail_address *list, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].kind == MAIL_GROUP_START)
			buf_printf(out, "{%s", list[i].name);
		else if (list[i].kind == MAIL_GROUP_END)
			buf_append_str(out, "}");
		else
			buf_printf(out, "[%s|%s|%s|%s]", list[i].name ? list[i].name : "-",
			    list[i].route ? list[i].route : "-", list[i].local, list[i].domain);
	}
}

static void
test_lists(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mail_address *list;
		struct arena a;
		struct buf got;
		size_t n;

		arena_init(&a, 100000);
		buf_init(&got, 10000);
		list = address_list_parse(view_of(cases[i].text), &a, 100, &n);
		assert_non_null(list);
		print_list(list, n, &got);
		if (strcmp(buf_cstr(&got), cases[i].want) != 0)
			fail_msg(
			    "%s\n got %s\nwant %s", cases[i].text, buf_cstr(&got), cases[i].want);
		buf_clear(&got);
		arena_clear(&a);
	}
}

static void
test_limits(void **state)
{
	struct mail_address *list;
	struct arena a;
	size_t n;

	(void)state;
	arena_init(&a, 100000);
	list = address_list_parse(VIEW_LIT("g:a@b,c@d,e@f,g@h;"), &a, 4, &n);
	assert_non_null(list);
	assert_int_equal(n, 4); /* a group that was begun is ended */
	assert_int_equal(list[3].kind, MAIL_GROUP_END);
	assert_non_null(address_list_parse(VIEW_LIT("g:a@b;"), &a, 1, &n));
	assert_int_equal(n, 1);
	assert_non_null(address_list_parse(VIEW_LIT("a@b"), &a, 0, &n));
	assert_int_equal(n, 0);
	arena_clear(&a);
	arena_init(&a, 50);
	assert_null(address_list_parse(VIEW_LIT("abcdefghijklmnopqrst@b,c@d"), &a, 100, &n));
	assert_int_equal(n, 0);
	arena_clear(&a);
}

static void
parse_repeated(const char *head, const char *unit, size_t times, size_t want)
{
	struct arena a;
	struct buf big;
	size_t n;

	arena_init(&a, 128 << 20);
	buf_init(&big, 64 << 20);
	buf_append_str(&big, head);
	for (size_t i = 0; i < times; i++)
		buf_append_str(&big, unit);
	assert_non_null(address_list_parse(buf_view(&big), &a, 600000, &n));
	assert_int_equal(n, want);
	buf_clear(&big);
	arena_clear(&a);
}

static void
test_large(void **state)
{
	(void)state;
	parse_repeated("", "a@b,", 500000, 500000);
	parse_repeated("", "(", 5000000, 0);
	parse_repeated("a@b", "(c)", 2000000, 1);
	parse_repeated("", "\"", 5000001, 1);
	parse_repeated("", "g:", 500000, 3);
	parse_repeated("", "<", 5000000, 1);
	parse_repeated("<", "@", 5000000, 1);
	parse_repeated("", "a b.", 1000000, 1);
	parse_repeated("a@", "[", 5000000, 1);
	parse_repeated("", ",", 5000000, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
