/* MTA-STS: records and policies as RFC 8461 3 and 4.1 have them. */
#include "common/proto/sts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void
records_are_read(void **state)
{
	static const struct {
		const char *text, *id; /* NULL: no such record */
	} cases[] = {
		{ "v=STSv1; id=20160831085700Z;", "20160831085700Z" },
		{ "v=STSv1;id=a", "a" },
		{ "v=STSv1 ; id=a ; x.y=z", "a" },
		{ "v=STSv1; id=one; id=two", "one" },
		{ "v=STSv1; ext=1; id=12345678901234567890123456789012",
		    "12345678901234567890123456789012" },
		{ "v=STSv1; id=123456789012345678901234567890123", "" },
		{ "v=STSv1;", "" },
		{ "v=STSv1; ", "" },
		{ "v=STSv1; id=", "" },
		{ "v=STSv1; id=a-b", "" },
		{ "v=STSv1; id=a;; x=y", "" },
		{ "v=STSv1; id=a; nonsense", "" },
		{ "v=STSv1; id=a; x=y z", "" },
		{ "v=STSv1; ID=a", "" },
		{ "v=STSv1", NULL },
		{ "v=STSv10; id=a", NULL },
		{ "v=STSv2; id=a", NULL },
		{ "v=spf1 -all", NULL },
		{ " v=STSv1; id=a", NULL },
		{ "", NULL },
	};
	char id[STS_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool is_one = sts_record_read(view_of(cases[i].text), id);

		if (is_one != (cases[i].id != NULL))
			fail_msg("%s", cases[i].text);
		if (is_one)
			assert_string_equal(id, cases[i].id);
	}
}

#define HEAD "version: STSv1\n"

static void
policies_are_read(void **state)
{
	static const struct {
		const char *text;
		int mode; /* -1: not taken */
		uint32_t max_age;
		const char *mx;
	} cases[] = {
		{ HEAD "mode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n",
		    STS_ENFORCE, 604800, "mail.example.com\n*.example.net\n" },
		{ "version: STSv1\r\nmode: testing\r\nmx: MX.Example.Com.\r\nmax_age: 0\r\n",
		    STS_TESTING, 0, "mx.example.com\n" },
		{ "max_age:1\nmx:a.b  \nmode:enforce\nversion:STSv1", STS_ENFORCE, 1, "a.b\n" },
		{ HEAD "mode: none\nmax_age: 86400", STS_NONE, 86400, "" },
		{ HEAD "mode: none\nmode: enforce\nmax_age: 5\nmax_age: x\nversion: STSv2\n\n",
		    STS_NONE, 5, "" },
		{ HEAD "mode: enforce\nmx: a.b\nmax_age: 9999999999\nnew-field: what ever\n",
		    STS_ENFORCE, STS_MAX_AGE, "a.b\n" },
		{ HEAD "mode: enforce\nmx: a.b\nmax_age: 99999999999\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: a.b\nmax_age: -1\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: a.b\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: Enforce\nmx: a.b\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mx: a.b\nmax_age: 5\n", -1, 0, "" },
		{ "mode: enforce\nmx: a.b\nmax_age: 5\n", -1, 0, "" },
		{ "version: STSv2\nmode: enforce\nmx: a.b\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: *\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: a.*.b\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: \nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: [192.0.2.1]\nmax_age: 5\n", -1, 0, "" },
		{ HEAD "mode: enforce\nmx: a.b\nmax_age: 5\nnonsense\n", -1, 0, "" },
		{ "<html>no such page</html>", -1, 0, "" },
		{ "", -1, 0, "" },
	};
	struct sts_policy p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int r = sts_policy_read(view_of(cases[i].text), &p, &err);

		if ((r == 0) != (cases[i].mode >= 0))
			fail_msg("%s: %s", cases[i].text, r < 0 ? err.text : "taken");
		if (r == 0) {
			assert_int_equal(p.mode, cases[i].mode);
			assert_int_equal(p.max_age, cases[i].max_age);
			assert_true(view_eq_str(buf_view(&p.mx), cases[i].mx));
		}
		sts_policy_clear(&p);
	}
}

static void
policies_are_bounded(void **state)
{
	struct sts_policy p;
	struct buf text;
	struct err err;

	(void)state;
	buf_init(&text, 4 * STS_POLICY_BYTES);
	buf_append_str(&text, HEAD "mode: enforce\nmax_age: 5\n");
	while (text.len < STS_MX_BYTES + STS_MX_BYTES / 4)
		buf_append_str(&text, "mx: *.a-rather-long-name-of-a-host.example\n");
	assert_int_equal(sts_policy_read(buf_view(&text), &p, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	sts_policy_clear(&p);
	while (text.len <= STS_POLICY_BYTES)
		buf_append_str(&text, "x: y\n");
	assert_int_equal(sts_policy_read(buf_view(&text), &p, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	sts_policy_clear(&p);
	buf_clear(&text);
}

static void
hosts_are_matched(void **state)
{
	static const char patterns[] = "mail.example.com\n*.example.net\n";
	static const char *const yes[] = { "mail.example.com", "MAIL.example.com.",
		"a.example.net" };
	static const char *const no[] = { "example.com", "a.mail.example.com", "example.net",
		"a.b.example.net", "", "example.net.", "aexample.net", "*.example.com" };

	(void)state;
	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
		if (!sts_mx_match(view_of(patterns), yes[i]))
			fail_msg("%s", yes[i]);
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		if (sts_mx_match(view_of(patterns), no[i]))
			fail_msg("%s", no[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_read),
		cmocka_unit_test(policies_are_read),
		cmocka_unit_test(policies_are_bounded),
		cmocka_unit_test(hosts_are_matched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
