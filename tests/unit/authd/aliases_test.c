/* Values of aliases(5). */
#include "authd/aliases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const char *
parse(const char *text)
{
	static const char kinds[] = "aui|/";
	static char out[8192];
	struct view list = view_of(text);
	struct alias_item item;
	struct err e;
	size_t at = 0;
	int r;

	out[0] = '\0';
	while ((r = alias_next(&list, &item, &e)) == 0)
		at += (size_t)snprintf(
		    out + at, sizeof out - at, "%c[%s]", kinds[item.kind], item.text);
	if (r < 0)
		snprintf(out + at, sizeof out - at, "bad");
	return out;
}

static void
test_values(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "", "" },
		{ " , ,\n", "" },
		{ "a", "a[a]" },
		{ "a,b@c.test , d", "a[a]a[b@c.test]a[d]" },
		{ "a b\tc", "a[a]a[b]a[c]" },
		{ "a\nb", "a[a]a[b]" },
		{ "\\a", "u[a]" },
		{ "\"\\\\a\"", "u[a]" },
		{ "\"a b\"@c.test", "a[\"a b\"@c.test]" },
		{ "\"a, b\"@c.test, d", "a[\"a, b\"@c.test]a[d]" },
		{ "\"a\"", "a[a]" },
		{ "Some One <a@b.test>, c", "a[a@b.test]a[c]" },
		{ "\"One, Some\" <a@b.test>", "a[a@b.test]" },
		{ "a@b.test (Some (old) one), c", "a[a@b.test]a[c]" },
		{ "(all of it", "" },
		{ "|cmd", "|[cmd]" },
		{ "|cmd -x y, a", "|[cmd -x y]a[a]" },
		{ "\"|cmd -x, y\", a", "|[cmd -x, y]a[a]" },
		{ "|\"cmd -x, y\"", "|[\"cmd -x, y\"]" },
		{ "/var/mail/x", "/[/var/mail/x]" },
		{ "\"/var/my mail\"", "/[/var/my mail]" },
		{ ":include:/x", "i[/x]" },
		{ "\":Include:/x y\"", "i[/x y]" },
		{ "#a", "a[#a]" },
		/* nothing is left out silently */
		{ "a, \"\"", "a[a]bad" },
		{ ":other:x", "bad" },
		{ ":include:", "bad" },
		{ "|", "bad" },
		{ "\\", "bad" },
		{ "<>", "bad" },
		{ "a\001b", "bad" },
		{ "\"a\nb", "bad" },
	};
	static char longer[ALIAS_ITEM_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strcmp(parse(rows[i].text), rows[i].want) != 0)
			fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].text, parse(rows[i].text),
			    rows[i].want);
	memset(longer, 'a', sizeof longer - 1);
	assert_string_equal(parse(longer), "bad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_values) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
