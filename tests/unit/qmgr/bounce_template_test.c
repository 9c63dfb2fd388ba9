/* Template files as bounce(5) has them, and in several languages. */
#include "qmgr/bounce_template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static bool
expand(void *arg, struct view name, struct buf *out)
{
	(void)arg;
	if (view_starts(name, "no"))
		return false;
	buf_printf(out, "[%.*s]", VIEW_ARG(name));
	return true;
}

struct parsed {
	struct bounce_templates t;
	struct buf faults;
	unsigned nfaults;
};

static void
parse(struct parsed *p, const char *text)
{
	bounce_templates_init(&p->t, expand, NULL);
	buf_init(&p->faults, 10000);
	p->nfaults = bounce_templates_parse(&p->t, view_of(text), "b.cf", expand, NULL, &p->faults);
}

static void
clear(struct parsed *p)
{
	bounce_templates_clear(&p->t);
	buf_clear(&p->faults);
}

static const struct bounce_template *
find(const struct parsed *p, enum template_kind kind, const char *language)
{
	return bounce_template_find(&p->t, kind, view_of(language));
}

static void
test_built_in(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "");
	assert_int_equal(p.nfaults, 0);
	for (int kind = 0; kind < TEMPLATE_KINDS; kind++) {
		const struct bounce_template *t = find(&p, (enum template_kind)kind, "de");

		assert_string_equal(t->language, "");
		assert_string_equal(t->from, "MAILER-DAEMON");
		assert_string_equal(t->from_name, "Mail Delivery System");
		assert_true(t->subject[0] != '\0' && t->postmaster_subject[0] != '\0');
		assert_non_null(strstr(t->text, "This is the mail system at host [myhostname].\n"));
	}
	assert_non_null(strstr(find(&p, TEMPLATE_DELAY, "")->text,
	    "for more than [delay_warning_time_hours] hour(s).\n"
	    "It will be retried until it is [maximal_queue_lifetime_days] day(s) old.\n"));
	assert_false(bounce_templates_have(&p.t, VIEW_LIT("de")));
	clear(&p);
}

/* Postfix's own example, a few liberties with spaces and case, and CRLF. */
static void
test_postfix(void **state)
{
	const struct bounce_template *t;
	struct parsed p;

	(void)state;
	parse(&p, "# The failure template\n\n  \nfailure_template = <<EOF\n"
		  "charset: US-ascii\n"
		  "From: MAILER-DAEMON (Mail System)\n"
		  "SUBJECT:  No $luck \n"
		  "Postmaster-Subject: Copy\n"
		  "\n"
		  "At $myhostname ${mail_name}$(x) $$y costs 5$ $ $.\n"
		  "# no comment\n"
		  "  EOF\n"
		  "EOF\n"
		  "delay_template=<<END OF IT\r\nFrom: x@y.test\r\n\r\none\r\nEOF\r\nEND OF IT\r\n"
		  "success_template = <<EOF\n\nonly text: here\nEOF\n"
		  "verify_template = <<EOF\nno header\n\nmore\nEOF");
	assert_string_equal(buf_cstr(&p.faults), "");
	assert_int_equal(p.nfaults, 0);
	t = find(&p, TEMPLATE_FAILURE, "");
	assert_string_equal(t->from_name, "Mail System");
	assert_string_equal(t->subject, "No $luck");
	assert_string_equal(t->postmaster_subject, "Copy");
	assert_string_equal(
	    t->text, "At [myhostname] [mail_name][x] $y costs 5$ $ $.\n# no comment\n  EOF\n");
	t = find(&p, TEMPLATE_DELAY, "");
	assert_string_equal(t->from, "x@y.test");
	assert_string_equal(t->from_name, "");
	assert_string_equal(t->subject, "Delayed Mail (still being retried)");
	assert_string_equal(t->text, "one\nEOF\n");
	assert_string_equal(find(&p, TEMPLATE_SUCCESS, "")->text, "only text: here\n");
	assert_string_equal(find(&p, TEMPLATE_VERIFY, "")->text, "no header\n\nmore\n");
	clear(&p);
}

static void
test_languages(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p,
	    "failure_template[de] = <<EOF\nCharset: utf-8\nFrom: MAILER-DAEMON (Postdienst für alle)\n"
	    "Subject: Zurück\n\nDie Straße\nEOF\n"
	    "failure_template[de-AT] = <<EOF\nCharset: iso-8859-1\n\nZur\xfc"
	    "ck\nEOF\n"
	    "delay_template [fr] = <<EOF\n\nBonjour\nEOF\n");
	assert_string_equal(buf_cstr(&p.faults), "");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "DE")->text, "Die Straße\n");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "de-CH-1996")->subject, "Zurück");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "de-ch")->from_name, "Postdienst für alle");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "de-at")->text, "Zurück\n");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "de-at")->language, "de-AT");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "fr")->language, "");
	assert_string_equal(find(&p, TEMPLATE_DELAY, "fr")->text, "Bonjour\n");
	assert_string_equal(find(&p, TEMPLATE_DELAY, "de")->language, "");
	assert_string_equal(find(&p, TEMPLATE_DELAY, "f")->language, "");
	assert_true(bounce_templates_have(&p.t, VIEW_LIT("fr-CA")));
	assert_false(bounce_templates_have(&p.t, VIEW_LIT("es")));
	clear(&p);
}

static void
test_faults(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "failure_template\n",
		    "b.cf:1: expected \"NAME_template = <<WORD\": \"failure_template\"\n" },
		{ "\nfailure_template = EOF\n", "b.cf:2: expected" },
		{ "failure_template = <<\n", "b.cf:1: no word behind <<\n" },
		{ "failure_template = <<EOF\nx\n",
		    "b.cf:1: the template does not end: there is no line with its word only: \"EOF\"\n" },
		{ "fail_template = <<EOF\nfailure_template = <<E\nEOF\n",
		    "b.cf:1: there is no such template: \"fail_template\"\n" },
		{ "failure_template[d e] = <<EOF\nEOF\n", "b.cf:1: no language tag: \"d e]\"\n" },
		{ "failure_template[] = <<EOF\nEOF\n", "b.cf:1: no language tag" },
		{ "failure_template = <<EOF\nSubject: x\nSubjekt: y\n\nEOF\n",
		    "b.cf:3: there is no such template header: \"Subjekt\"\n" },
		{ "failure_template = <<EOF\nFrom: <a\n\nEOF\n",
		    "From is no \"ADDRESS (NAME)\": \"<a\"\n" },
		{ "failure_template = <<EOF\nFrom: a b c\n\nEOF\n", "From is no" },
		{ "failure_template = <<EOF\n\nStra\xc3\x9f"
		  "e\nEOF\n",
		    "b.cf:3: what is not ASCII needs a Charset header\n" },
		{ "failure_template = <<EOF\nSubject: x\n\none\n\n$none\nEOF\n",
		    "b.cf:6: unknown parameter: \"none\"\n" },
		{ "failure_template = <<EOF\n\na\033b\nEOF\n",
		    "the text holds control characters\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct parsed p;

		parse(&p, cases[i].text);
		assert_int_equal(p.nfaults, 1);
		if (strstr(buf_cstr(&p.faults), cases[i].want) == NULL)
			fail_msg("%s: %s", cases[i].text, buf_cstr(&p.faults));
		assert_string_equal(
		    find(&p, TEMPLATE_FAILURE, "")->subject, "Undelivered Mail Returned to Sender");
		clear(&p);
	}
}

/* A faulty template does not take those behind it with it. */
static void
test_the_rest_counts(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "what = <<EOF\ndelay_template = <<X\nEOF\nnonsense\n"
		  "failure_template = <<EOF\nSubject: good\n\nEOF\n");
	assert_int_equal(p.nfaults, 2);
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "")->subject, "good");
	assert_string_equal(find(&p, TEMPLATE_FAILURE, "")->text, "");
	clear(&p);
}

/* The file that we ship is right, and complete. */
static void
test_example(void **state)
{
	static char text[TEMPLATE_FILE_MAX];
	static const char *const languages[] = { "", "de", "es", "fr", "ru" };
	FILE *f = fopen("conf/bounce.cf.example", "r");
	struct parsed p;

	(void)state;
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = '\0';
	fclose(f);
	parse(&p, text);
	assert_string_equal(buf_cstr(&p.faults), "");
	for (int kind = 0; kind < TEMPLATE_KINDS; kind++)
		for (size_t i = 0; i < sizeof languages / sizeof languages[0]; i++)
			assert_string_equal(
			    find(&p, (enum template_kind)kind, languages[i])->language,
			    languages[i]);
	clear(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_in),
		cmocka_unit_test(test_postfix),
		cmocka_unit_test(test_languages),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_the_rest_counts),
		cmocka_unit_test(test_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
