/* Which text a notice has: parameters filled in, the file's over those built in, languages by addressee. */
#include "qmgr/notice_texts.h"
#include "common/base/err.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct notice_texts *
load(const char *main_cf)
{
	struct notice_texts *t;
	struct conf conf;
	struct err err;

	conf_init(&conf);
	assert_int_equal(conf_parse(&conf, view_of(main_cf), "main.cf", &err), 0);
	t = notice_texts_new(&conf);
	conf_clear(&conf);
	return t;
}

static void
test_parameters(void **state)
{
	char path[] = "/tmp/bounce.cf.XXXXXX", main_cf[400];
	static const char file[] =
	    "failure_template = <<EOF\nSubject: mine\n\n"
	    "$myhostname ${mail_name} $own $maximal_queue_lifetime_seconds $maximal_queue_lifetime_minutes "
	    "$maximal_queue_lifetime_hours $maximal_queue_lifetime_days $maximal_queue_lifetime_weeks\nEOF\n"
	    "success_template = <<EOF\n\n$nothing_like_it\nEOF\n";
	int fd = mkstemp(path);
	const struct bounce_template *b;
	struct notice_texts *t;

	(void)state;
	assert_int_equal(write(fd, file, sizeof file - 1), (ssize_t)sizeof file - 1);
	close(fd);
	snprintf(main_cf, sizeof main_cf,
	    "myhostname = mx.a.test\nmail_name = Post\nown = $mail_name!\nmaximal_queue_lifetime = 15d\n"
	    "delay_warning_time = 4h\nbounce_template_file = %s\n",
	    path);
	t = load(main_cf);
	b = notice_texts_find(t, TEMPLATE_FAILURE, "a@b.test");
	assert_string_equal(b->subject, "mine");
	assert_string_equal(b->text, "mx.a.test Post Post! 1296000 21600 360 15 2\n");
	b = notice_texts_find(t, TEMPLATE_SUCCESS, "a@b.test");
	assert_non_null(strstr(b->text, "successfully delivered"));
	b = notice_texts_find(t, TEMPLATE_DELAY, "a@b.test");
	assert_non_null(strstr(
	    b->text, "for more than 4 hour(s).\nIt will be retried until it is 15 day(s) old.\n"));
	notice_texts_free(t);
	unlink(path);
}

static void
test_languages(void **state)
{
	static const struct {
		const char *address, *language;
	} cases[] = { { "a@x.test", "de" }, { "A@French.Test", "fr" }, { "boss@french.test", "ru" },
		{ "a@sub.french.test", "de" }, { "a@wrong.test", "" }, { "", "de" } };
	char dir[4096], main_cf[5000];
	struct notice_texts *t;

	(void)state;
	assert_non_null(getcwd(dir, sizeof dir));
	snprintf(main_cf, sizeof main_cf,
	    "bounce_template_file = %s/conf/bounce.cf.example\nbounce_language = de\n"
	    "bounce_language_maps = inline:{ {@french.test=fr} {boss@french.test=ru} {wrong.test=xx} }\n",
	    dir);
	t = load(main_cf);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(
		    notice_texts_find(t, TEMPLATE_FAILURE, cases[i].address)->language,
		    cases[i].language);
	notice_texts_free(t);
}

/* Faults are told, and mail flows with the texts built in. */
static void
test_faults(void **state)
{
	static const char *const cases[] = { "bounce_template_file = /nonexistent/bounce.cf\n",
		"bounce_template_file = /tmp\n", "bounce_template_file = /dev/null\n",
		"bounce_language = de\n", "bounce_language_maps = hash:/nonexistent\n",
		"bounce_language_maps = what:ever\n",
		"bounce_language_maps = texthash:/nonexistent\n" };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct notice_texts *t = load(cases[i]);

		assert_string_equal(notice_texts_find(t, TEMPLATE_FAILURE, "a@b.test")->subject,
		    "Undelivered Mail Returned to Sender");
		notice_texts_free(t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_languages),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
