#include "common/mime/address_complete.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* want NULL: stays as it is */
static const struct {
	const char *text, *want;
} cases[] = {
	{ "", NULL },
	{ " , ,, ", NULL },
	{ "alice", "alice@o.test" },
	{ " alice ", " alice@o.test " },
	{ " alice, bob@x.test,carol", " alice@o.test, bob@x.test,carol@o.test" },
	{ " alice,\r\n\tbob ,\r\n carol\r\n ",
	    " alice@o.test,\r\n\tbob@o.test ,\r\n carol@o.test\r\n " },
	{ "a.b", "a.b@o.test" },
	{ "a . b", "a . b@o.test" },
	{ "alice@host", "alice@host.d.test" },
	{ "alice@ host (there)", "alice@ host.d.test (there)" },
	{ "alice@host.test", NULL },
	{ "alice@host.", NULL },
	{ "alice@localhost", "alice@localhost.d.test" },
	{ "alice@[192.0.2.1]", NULL },
	{ "alice@[IPv6:2001:db8::1], bob", "alice@[IPv6:2001:db8::1], bob@o.test" },
	{ "Alice Smith <alice>", "Alice Smith <alice@o.test>" },
	{ "Alice Smith <alice@host>, <bob>", "Alice Smith <alice@host.d.test>, <bob@o.test>" },
	{ "\"Smith, Alice; <a@b>\" <alice>", "\"Smith, Alice; <a@b>\" <alice@o.test>" },
	{ "\"alice smith\"", "\"alice smith\"@o.test" },
	{ "\"a \\\" b\" <\"x y\".z>", "\"a \\\" b\" <\"x y\".z@o.test>" },
	{ "Joe Q. Public <joe>", "Joe Q. Public <joe@o.test>" },
	{ "alice@work <alice>", "alice@work <alice@o.test>" },
	{ "alice (Alice, of (course) :", NULL },
	{ "alice (Alice, of (course) :\\))", "alice@o.test (Alice, of (course) :\\))" },
	{ "(x) alice (y), bob(z)@host", "(x) alice@o.test (y), bob(z)@host.d.test" },
	{ "friends: alice, bob@host;", "friends: alice@o.test, bob@host.d.test;" },
	{ "friends: alice;, \"g\":;, carol", "friends: alice@o.test;, \"g\":;, carol@o.test" },
	{ "undisclosed-recipients:;", NULL },
	{ "undisclosed recipients: ;", NULL },
	{ "<>", NULL },
	{ "MAILER-DAEMON <>, alice", "MAILER-DAEMON <>, alice@o.test" },
	{ "<@a,@b:alice>, bob", "<@a,@b:alice>, bob@o.test" },
	{ "@host, bob", "@host, bob@o.test" },
	/* a name is no address */
	{ "alice smith, bob", "alice smith, bob@o.test" },
	{ "=?utf-8?Q?J=C3=B6rg?=, bob", "=?utf-8?Q?J=C3=B6rg?=, bob@o.test" },
	{ "=?utf-8?Q?J=C3=B6rg?= <j\xc3\xb6rg>", "=?utf-8?Q?J=C3=B6rg?= <j\xc3\xb6rg@o.test>" },
	{ "J\xf6rg <x>", "J\xf6rg <x@o.test>" },
	{ "a..b, a., .a", NULL },
	{ "a@b@c, a@\"b\", a@b c", NULL },
	/* who can tell */
	{ "alice, \"bob", NULL },
	{ "alice, (bob", NULL },
	{ "alice, <bob", NULL },
	{ "alice, bob>", NULL },
	{ "alice, <bob> x", NULL },
	{ "alice, <<bob>>", NULL },
	{ "alice, <bob, carol>", NULL },
	{ "alice, friends: bob", NULL },
	{ "alice; bob", NULL },
	{ "a: b: c;;", NULL },
	{ "alice, x@y: bob;", NULL },
	{ "alice, :;", NULL },
	{ "friends: bob; carol", NULL },
	{ "alice, bob\\", NULL },
	{ "alice, [bob]", NULL },
	{ "alice, bo\x01"
	  "b",
	    NULL },
	{ "alice, bob)", NULL },
};

static const struct address_completion both = { .origin = { "o.test", 6 },
	.domain = { "d.test", 6 } };

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *want = cases[i].want;
		struct buf out;

		buf_init(&out, 1000);
		buf_append_str(&out, "before:");
		assert_int_equal(
		    address_complete(view_of(cases[i].text), &both, &out), want != NULL);
		if (strcmp(buf_cstr(&out) + 7, want != NULL ? want : "") != 0)
			fail_msg("%s -> %s", cases[i].text, out.p + 7);
		buf_clear(&out);
	}
}

static void
test_each_can_be_off(void **state)
{
	static const struct address_completion origin = { .origin = { "o.test", 6 } };
	static const struct address_completion domain = { .domain = { "d.test", 6 } };
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	assert_int_equal(address_complete(VIEW_LIT("a, b@h"), &origin, &out), 1);
	assert_string_equal(buf_cstr(&out), "a@o.test, b@h");
	buf_reset(&out);
	assert_int_equal(address_complete(VIEW_LIT("a, b@h"), &domain, &out), 1);
	assert_string_equal(buf_cstr(&out), "a, b@h.d.test");
	buf_clear(&out);
}

static void
test_a_nul_and_no_room(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 12);
	assert_int_equal(address_complete(view_make("a\0b, c", 6), &both, &out), 0);
	assert_int_equal(address_complete(VIEW_LIT("alice"), &both, &out), 1);
	assert_int_equal(address_complete(VIEW_LIT("alice"), &both, &out), -1);
	assert_int_equal(out.len, 12);
	buf_clear(&out);
}

/* RFC 5322 2.1.1: lines of at most 998, whatever was added to them */
static void
test_long_lines_are_folded(void **state)
{
	struct buf in, out;
	size_t line = 0;

	(void)state;
	buf_init(&in, 200000);
	buf_init(&out, 2000000);
	for (int i = 0; i < 50000; i++)
		buf_append_str(&in, "a,");
	buf_append_str(&in, "b");
	assert_int_equal(address_complete(buf_view(&in), &both, &out), 1);
	for (size_t i = 0; i < out.len; i++) {
		line = out.p[i] == '\n' ? 0 : line + 1;
		assert_in_range(line, 0, 998);
		if (out.p[i] == '\n')
			assert_int_equal(out.p[i + 1], '\t');
	}
	buf_clear(&in);
	buf_clear(&out);
}

/* --- what has a domain may become something else --------------------------------------------------------------- */

static const char *
map(void *arg, struct view address)
{
	struct buf *seen = arg;

	buf_printf(seen, "[%.*s]", VIEW_ARG(address));
	if (view_starts(address, "stay"))
		return NULL;
	return view_starts(address, "long") ? "a-name-that-is-longer@new.test" : "n@x";
}

static const struct {
	const char *text, *want, *seen;
} mapped[] = {
	{ "a@b.test", "n@x", "[a@b.test]" },
	{ "stay@b.test", NULL, "[stay@b.test]" },
	{ "stay@b", "stay@b.d.test", "[stay@b.d.test]" },
	{ "a@b", "n@x", "[a@b.d.test]" },
	{ " a ,stay", " n@x ,stay@o.test", "[a@o.test][stay@o.test]" },
	{ "\"Q, Q\" <long@b.test> (c), stay@b.test\r\n",
	    "\"Q, Q\" <a-name-that-is-longer@new.test> (c), stay@b.test\r\n",
	    "[long@b.test][stay@b.test]" },
	{ "a(x) . \"b c\"\r\n @ d . test (y)", "n@x (y)", "[a.\"b c\"@d.test]" },
	{ "a@[192.0.2.1]", "n@x", "[a@[192.0.2.1]]" },
	{ "name@x.test <a@b.test>", "name@x.test <n@x>", "[a@b.test]" },
	{ "g: a@b.test, <c>;, stay@z.test", "g: n@x, <n@x>;, stay@z.test",
	    "[a@b.test][c@o.test][stay@z.test]" },
	{ "<>, <@r:a@b.test>, a b@c.test", NULL, "" },
	{ "a@b.test, <c", NULL, "[a@b.test]" },
};

static void
test_mapped(void **state)
{
	struct address_completion how = both;
	struct buf out, seen;

	(void)state;
	buf_init(&out, 1000);
	buf_init(&seen, 1000);
	how.map = map;
	how.arg = &seen;
	for (size_t i = 0; i < sizeof mapped / sizeof mapped[0]; i++) {
		const char *want = mapped[i].want;

		buf_reset(&out);
		buf_reset(&seen);
		assert_int_equal(
		    address_complete(view_of(mapped[i].text), &how, &out), want != NULL);
		assert_string_equal(buf_cstr(&out), want != NULL ? want : "");
		assert_string_equal(buf_cstr(&seen), mapped[i].seen);
	}
	buf_clear(&out);
	buf_clear(&seen);
}

/* What is longer than any address is nobody's, whatever stands behind it. */
static void
test_too_long_to_map(void **state)
{
	struct address_completion how = both;
	struct buf in, out, seen;

	(void)state;
	buf_init(&in, 1000);
	buf_init(&out, 1000);
	buf_init(&seen, 1000);
	how.map = map;
	how.arg = &seen;
	for (int i = 0; i < 400; i++)
		buf_append_byte(&in, 'x');
	buf_append_str(&in, "@b.test, c@d.test");
	assert_int_equal(address_complete(buf_view(&in), &how, &out), 1);
	assert_string_equal(buf_cstr(&seen), "[c@d.test]");
	assert_string_equal(buf_cstr(&out) + 400, "@b.test, n@x");
	buf_clear(&in);
	buf_clear(&out);
	buf_clear(&seen);
}

static void
test_fields(void **state)
{
	(void)state;
	assert_int_equal(address_field_kind(VIEW_LIT("from")), ADDRESS_FIELD_SENDER);
	assert_int_equal(address_field_kind(VIEW_LIT("RESENT-CC")), ADDRESS_FIELD_RECIPIENT);
	assert_int_equal(address_field_kind(VIEW_LIT("Subject")), ADDRESS_FIELD_NONE);
	assert_int_equal(address_field_kind(VIEW_LIT("Fro")), ADDRESS_FIELD_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_each_can_be_off),
		cmocka_unit_test(test_a_nul_and_no_room),
		cmocka_unit_test(test_long_lines_are_folded),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_too_long_to_map),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
