/* cidr:, pcre:, regexp: (cidr_table(5), pcre_table(5), regexp_table(5)). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/table/table.h"
#include "common/table/table_rules.h"

#include <stdio.h>
#include <stdlib.h>

struct said {
	unsigned count;
	char last[512];
};

static void
on_warn(void *arg, const char *text)
{
	struct said *s = arg;

	s->count++;
	snprintf(s->last, sizeof s->last, "%s", text);
}

/* Value, "" when not found, "!" on error. */
static const char *
look(struct rules *rules, const char *key)
{
	static char out[4096];
	struct err e;
	struct buf v;
	int r;

	buf_init(&v, sizeof out - 1);
	r = rules_lookup(rules, view_of(key), &v, &e);
	snprintf(out, sizeof out, "%s", r == 0 ? buf_cstr(&v) : r == 1 ? "" : "!");
	buf_clear(&v);
	return out;
}

/* What a text gives for a key, without complaints. */
static void
expect(const struct rule_kind *kind, const char *text, const char *key, const char *value)
{
	struct said said = { 0 };
	struct rules *rules = rules_parse(kind, view_of(text), "map", on_warn, &said);
	const char *got = look(rules, key);

	if (said.count > 0)
		fail_msg("%s: %s", text, said.last);
	if (strcmp(got, value) != 0)
		fail_msg("%s: %s: \"%s\" instead of \"%s\"", text, key, got, value);
	rules_free(rules);
}

/* Exactly one complaint, with file and line; nothing found. */
static void
expect_complaint(const struct rule_kind *kind, const char *text, const char *complaint)
{
	struct said said = { 0 };
	struct rules *rules = rules_parse(kind, view_of(text), "map", on_warn, &said);

	if (said.count != 1 || strstr(said.last, complaint) == NULL)
		fail_msg("%s: %u, %s", text, said.count, said.last);
	rules_free(rules);
}

static void
networks_match(void **state)
{
	static const char text[] = "# a comment\n"
				   "192.0.2.128/25 upper\n"
				   "192.0.2.0/24   REJECT go\n   away $1\n"
				   "198.51.100.7 one\n"
				   "2001:db8::/32 six\n"
				   "[2001:db9::1] bracketed\n"
				   "[2001:db9::]/32 rest\n"
				   "[2001:dba::/32] inside\n"
				   "!10.0.0.0/8 not ten\n"
				   "0.0.0.0/0 ten\n";
	static const struct {
		const char *key, *value;
	} cases[] = {
		{ "192.0.2.200", "upper" },
		{ "192.0.2.1", "REJECT go   away $1" },
		{ "198.51.100.7", "one" },
		{ "198.51.100.8", "not ten" },
		{ "10.1.2.3", "ten" },
		{ "2001:db8::25", "six" },
		{ "2001:DB8:0::25", "six" },
		{ "2001:db9::1", "bracketed" },
		{ "2001:db9::2", "rest" },
		{ "2001:db9:ffff::2", "rest" },
		{ "2001:dba::2", "inside" },
		{ "::1", "not ten" },
		{ "mail.example.test", "" },
		{ "10.1.2", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect(&rules_cidr, text, cases[i].key, cases[i].value);
}

static void
conditions_nest(void **state)
{
	static const char cidr[] = "if 10.0.0.0/8\n"
				   "10.1.0.0/16 a\n"
				   "if !10.2.0.0/16\n"
				   "0.0.0.0/0 b\n"
				   "endif\n"
				   "10.2.0.1 c\n"
				   "ENDIF\n"
				   "0.0.0.0/0 d\n";
	static const char text[] = "IF /@example\\.test$/\n"
				   "/^alice@/ a\n"
				   "if !/^bob@/\n"
				   "/./ b\n"
				   "endif\n"
				   "/^bob/ c\n"
				   "endif\n"
				   "/./ d\n";

	(void)state;
	expect(&rules_cidr, cidr, "10.1.0.1", "a");
	expect(&rules_cidr, cidr, "10.3.0.1", "b");
	expect(&rules_cidr, cidr, "10.2.0.1", "c");
	expect(&rules_cidr, cidr, "10.2.0.2", "d");
	expect(&rules_cidr, cidr, "192.0.2.1", "d");
	for (int i = 0; i < 2; i++) {
		const struct rule_kind *kind = i == 0 ? &rules_pcre : &rules_regexp;

		expect(kind, text, "alice@example.test", "a");
		expect(kind, text, "carol@example.test", "b");
		expect(kind, text, "bob@example.test", "c");
		expect(kind, text, "bob@example.net", "d");
	}
}

static void
expressions_match_and_substitute(void **state)
{
	static const struct {
		const char *text, *key, *value;
	} cases[] = {
		{ "/^Alice@/ yes", "aLICE@example.test", "yes" },
		{ "/^Alice@/i yes", "alice@example.test", "" },
		{ "/^Alice@/i yes", "Alice@example.test", "yes" },
		{ "/^(.*)\\+(.*)@(.*)$/ $1@$3 (${2})$(2)", "Al+Ext@x.test", "Al@x.test (Ext)Ext" },
		{ "/^(a)|(b)$/ <$1$2>", "b", "<b>" },
		{ "/x/ costs $$1", "x", "costs $1" },
		{ "/^(.)/ ${1}0", "7", "70" },
		{ "!/example/ other", "a@example.test", "" },
		{ "!/example/ other", "a@b", "other" },
		{ "! /example/ other", "a@b", "other" },
		{ "|a/b| pipes", "a/b", "pipes" },
		{ "/a\\/b/ slash", "a/b", "slash" },
		{ "/a/ one\n/b/ two", "b", "two" },
		{ "/a b/ spaced", "a b", "spaced" },
		{ "# no\n\n/a/\n  later", "a", "later" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		expect(&rules_pcre, cases[i].text, cases[i].key, cases[i].value);
		expect(&rules_regexp, cases[i].text, cases[i].key, cases[i].value);
	}
}

static void
each_kind_has_its_flags(void **state)
{
	(void)state;
	expect(&rules_pcre, "/a.b/ dot", "a\nb", "dot");
	expect(&rules_pcre, "/a.b/s dot", "a\nb", "");
	expect(&rules_pcre, "/^b/ line", "a\nb", "");
	expect(&rules_pcre, "/^b/m line", "a\nb", "line");
	expect(&rules_pcre, "/a b # c/x ext", "ab", "ext");
	expect(&rules_pcre, "/b/A anchored", "ab", "");
	expect(&rules_pcre, "/a$/E end", "a\n", "");
	expect(&rules_pcre, "/(a+)/U $1", "aaa", "a");
	expect(&rules_pcre, "/\\d{2}/X perl", "12", "perl");
	expect(&rules_regexp, "/^b/ line", "a\nb", "");
	expect(&rules_regexp, "/^b/m line", "a\nb", "line");
	expect(&rules_regexp, "/a+/x basic", "a+", "basic");
	expect(&rules_regexp, "/a+$/x basic", "aa", "");
}

static void
faults_are_named_and_skipped(void **state)
{
	static const struct {
		const struct rule_kind *kind;
		const char *text, *complaint;
	} cases[] = {
		{ &rules_cidr, "192.0.2.1/24 x", "cidr map map, line 1: host bits are not zero" },
		{ &rules_cidr, "\n\n192.0.2.0/33 x", "line 3: bad prefix length" },
		{ &rules_cidr, "example.test x", "line 1: not a network" },
		{ &rules_cidr, "192.0.2.1", "line 1: no replacement text" },
		{ &rules_cidr, "endif", "ENDIF without matching IF" },
		{ &rules_cidr, "if 192.0.2.1", "line 1: IF has no matching ENDIF" },
		{ &rules_cidr, "if 192.0.2.1 x\n0.0.0.0/0 y\nendif", "skipping this block" },
		{ &rules_pcre, "/a x", "line 1: no closing regexp delimiter" },
		{ &rules_pcre, "/a\\/ x", "no closing regexp delimiter" },
		{ &rules_pcre, "/a/Q x", "unknown pcre option \"Q\"" },
		{ &rules_pcre, "/a(/ x", "error in regexp at offset" },
		{ &rules_pcre, "/(a)/ $2", "out of range replacement index \"2\"" },
		{ &rules_pcre, "!/(a)/ $1", "$number found in negative match" },
		{ &rules_pcre, "/a/ $x", "'$' without a number" },
		{ &rules_pcre, "/a/ $0", "'$' without a number" },
		{ &rules_pcre, "/a/ ${1", "'$' without a number" },
		{ &rules_pcre, "example x", "expected /pattern/flags text" },
		{ &rules_pcre, "/a/", "no replacement text" },
		{ &rules_pcre, "/\\C/ x", "error in regexp" },
		{ &rules_regexp, "/a(/ x", "error in regular expression" },
		{ &rules_regexp, "/a/s x", "unknown regexp option \"s\"" },
		{ &rules_regexp, "/(a)/ $2", "out of range replacement index" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		expect_complaint(cases[i].kind, cases[i].text, cases[i].complaint);
}

static void
a_bad_condition_hides_its_block(void **state)
{
	struct said said = { 0 };
	struct rules *rules = rules_parse(
	    &rules_pcre, view_of("if /(/\n/./ OK\nendif\n/./ REJECT"), "map", on_warn, &said);

	(void)state;
	assert_int_equal(said.count, 1);
	assert_string_equal(look(rules, "x"), "REJECT");
	rules_free(rules);
}

/* Ever more steps for each byte more: the library is stopped, and the answer is "try again". */
static void
hostile_subjects_cost_little(void **state)
{
	char subject[4000];
	struct rules *rules =
	    rules_parse(&rules_pcre, view_of("/^(a+)+$/ x\n/./ y"), "map", NULL, NULL);
	int64_t start = clock_mono_ms();

	(void)state;
	memset(subject, 'a', sizeof subject - 2);
	subject[sizeof subject - 2] = 'b';
	subject[sizeof subject - 1] = '\0';
	assert_string_equal(look(rules, subject), "!");
	assert_in_range(clock_mono_ms() - start, 0, 2000);
	rules_free(rules);
}

static void
tables_take_rules_in_braces(void **state)
{
	static const struct {
		const char *spec, *key, *value;
	} cases[] = {
		{ "pcre:{ {/^(A)b$/ $1}, {/./ no} }", "Ab", "A" },
		{ "regexp:{ {/a{2}/ two} }", "aa", "two" },
		{ "cidr:{{192.0.2.0/24 REJECT}, {0.0.0.0/0 OK}}", "192.0.2.1", "REJECT" },
		{ "proxy:cidr:{{192.0.2.0/24 REJECT}}", "192.0.2.1", "REJECT" },
		{ "unionmap:{inline:{a=1}, static:2, inline:{b=3}}", "A", "1,2" },
		{ "unionmap:{inline:{a=1}, inline:{b=3}}", "c", "" },
		{ "unionmap:{inline:{b=1}, inline:{a=3}}", "a", "3" },
		{ "unionmap:{inline:{a=1}, fail:x}", "a", "!" },
		{ "pipemap:{inline:{a=b}, inline:{b=c}}", "a", "c" },
		{ "pipemap:{inline:{a=b}, pcre:{{/^(.)$/ <$1>}}}", "A", "<b>" },
		{ "pipemap:{inline:{a=b}, inline:{a=c}}", "a", "" },
		{ "randmap:{same, same}", "x", "same" },
		{ "fail:always", "x", "!" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct table *t = NULL;
		struct buf v;
		int r;

		if (table_open(cases[i].spec, &t, &e) < 0)
			fail_msg("%s: %s", cases[i].spec, e.text);
		assert_true(table_is_resident(t));
		buf_init(&v, 1000);
		r = table_lookup(t, view_of(cases[i].key), &v, &e);
		if (strcmp(r == 0 ? buf_cstr(&v) : r == 1 ? "" : "!", cases[i].value) != 0)
			fail_msg("%s: \"%s\"", cases[i].spec, r < 0 ? e.text : buf_cstr(&v));
		buf_clear(&v);
		table_close(t);
	}
}

static void
malformed_names_are_refused(void **state)
{
	static const char *const specs[] = { "pcre:{ {/a/ b}", "unionmap:{}", "unionmap:x",
		"unionmap:{inline:{a=b}, nosuch:x}", "pipemap:{hash:}", "randmap:{}", "randmap:x",
		"fail:",
		("unionmap:{unionmap:{unionmap:{unionmap:{unionmap:{unionmap:"
		 "{unionmap:{unionmap:{unionmap:{static:a}}}}}}}}}") };
	struct table *t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
		assert_int_equal(table_open(specs[i], &t, &e), -1);
		assert_int_equal(e.kind, ERR_SYNTAX);
	}
}

/* access(5): tables of patterns see whole keys only, and these as they came. */
static void
partial_keys_skip_patterns(void **state)
{
	static const struct lookup_key keys[] = { { { "User@Host.Test", 14 }, false },
		{ { "host.test", 9 }, true }, { { "test", 4 }, true } };
	struct table_list *l;
	struct buf v;
	size_t which = 9;
	struct err e;

	(void)state;
	buf_init(&v, 100);
	assert_int_equal(
	    table_list_open("pcre:{{/^host/ pattern}}, inline:{host.test=fixed}", &l, &e), 0);
	assert_true(table_list_is_resident(l));
	assert_int_equal(table_list_find(l, keys, 3, &v, &which, &e), 0);
	assert_string_equal(buf_cstr(&v), "fixed");
	assert_int_equal(which, 1);
	table_list_close(l);
	buf_reset(&v);
	assert_int_equal(table_list_open("pcre:{{/^(User)@/i $1}}", &l, &e), 0);
	assert_int_equal(table_list_find(l, keys, 3, &v, &which, &e), 0);
	assert_string_equal(buf_cstr(&v), "User");
	assert_int_equal(which, 0);
	table_list_close(l);
	assert_int_equal(table_list_new("hash:/nowhere, cidr:/nowhere", &l, &e), 0);
	assert_false(table_list_is_resident(l));
	table_list_close(l);
	buf_clear(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(networks_match),
		cmocka_unit_test(conditions_nest),
		cmocka_unit_test(expressions_match_and_substitute),
		cmocka_unit_test(each_kind_has_its_flags),
		cmocka_unit_test(faults_are_named_and_skipped),
		cmocka_unit_test(a_bad_condition_hides_its_block),
		cmocka_unit_test(hostile_subjects_cost_little),
		cmocka_unit_test(tables_take_rules_in_braces),
		cmocka_unit_test(malformed_names_are_refused),
		cmocka_unit_test(partial_keys_skip_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
