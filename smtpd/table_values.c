#include "smtpd/table_values.h"
#include "common/base/mem.h"
#include "common/config/restrictions.h"
#include "common/log/log.h"
#include "common/table/table.h"
#include "smtpd/action.h"

#include <stdlib.h>

enum { SAID_MAX = 20 };

/* A table being looked through. */
struct values {
	const struct smtpd_config *config;
	/* Fills *err: what is wrong with a value. */
	int (*judge)(const struct smtpd_config *c, struct view value, struct err *err);
	size_t said;
};

/* --- what is an action ---------------------------------------------------------------------------------------- */

static struct view
first_word(struct view v)
{
	struct view word;

	return view_token(&v, " \t", &word) ? word : VIEW_LIT("");
}

static int
judge_access(const struct smtpd_config *c, struct view value, struct err *err)
{
	struct restrict_list l;
	struct action a;
	char *text;
	int r;

	action_parse(value, &a);
	if (a.kind != ACTION_RESTRICTIONS)
		return 0;
	text = x_strndup(a.text.p, a.text.len);
	r = restrict_list_parse(&l, RESTRICT_RECIPIENT, text, c->restrict_env, err);
	free(text);
	if (r < 0)
		return err_prefix(err, "no action of access(5)");
	restrict_list_clear(&l);
	return 0;
}

static int
judge_check(const struct smtpd_config *c, struct view value, struct err *err)
{
	struct view argument;

	(void)c;
	if (check_action_parse(value, &argument) != CHECK_UNKNOWN)
		return 0;
	return err_set(err, ERR_SYNTAX, "no action of header_checks(5): \"%.*s\"",
	    VIEW_ARG(first_word(value)));
}

static int
judge_header(const struct smtpd_config *c, struct view value, struct err *err)
{
	struct view argument;
	enum check_action action = check_action_parse(value, &argument);

	if ((action == CHECK_REPLACE || action == CHECK_PREPEND) &&
	    memchr(argument.p, ':', argument.len) == NULL)
		return err_set(err, ERR_SYNTAX, "%.*s: \"%.*s\" is no header field",
		    VIEW_ARG(first_word(value)), VIEW_ARG(argument));
	return judge_check(c, value, err);
}

static int
judge_screen(const struct smtpd_config *c, struct view value, struct err *err)
{
	(void)c;
	if (view_case_eq_str(value, "permit") || view_case_eq_str(value, "reject") ||
	    view_case_eq_str(value, "dunno"))
		return 0;
	return err_set(
	    err, ERR_SYNTAX, "\"%.*s\": permit, reject or dunno expected", VIEW_ARG(value));
}

/* --- where they stand ----------------------------------------------------------------------------------------- */

static void
on_value(void *arg, const char *where, struct view value)
{
	struct values *v = arg;
	struct err err;

	/* what a match is to fill in is not known */
	if (v->said == SAID_MAX ||
	    memchr(first_word(value).p, '$', first_word(value).len) != NULL ||
	    v->judge(v->config, value, &err) == 0)
		return;
	log_warn("%s: %s%s", where, err.text,
	    ++v->said == SAID_MAX ? "; further ones of this table are not named" : "");
}

static void
test_table(struct values v, struct view spec)
{
	char *text = x_strndup(spec.p, spec.len);
	struct err err;

	if (table_each_value(text, TABLE_FORM_MAP, on_value, &v, &err) < 0)
		log_warn("%s: values not tested: %s", text, err.text);
	free(text);
}

static void
test_tables(const struct smtpd_config *c, const char *param,
    int (*judge)(const struct smtpd_config *c, struct view value, struct err *err))
{
	struct view rest = view_of(conf_str(c->conf, param)), spec;

	while (table_spec_next(&rest, &spec))
		if (table_spec_is_known(spec))
			test_table((struct values){ c, judge, 0 }, spec);
}

static void
on_restriction(void *arg, const char *param, struct view before, struct view word)
{
	(void)param, (void)before;
	if (table_spec_is_known(word))
		test_table((struct values){ arg, judge_access, 0 }, word);
}

void
smtpd_table_values_test(const struct smtpd_config *c)
{
	restrictions_each(c->conf, on_restriction, (void *)(uintptr_t)c);
	test_tables(c, "header_checks", judge_header);
	test_tables(c, "mime_header_checks", judge_header);
	test_tables(c, "nested_header_checks", judge_header);
	test_tables(c, "body_checks", judge_check);
	test_tables(c, "postscreen_access_list", judge_screen);
}
