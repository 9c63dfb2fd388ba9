#include "common/config/master_cf.h"
#include "common/config/postfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void
load(struct conf *c, const char *main_cf, const char *master_cf)
{
	struct err e;

	conf_init(c);
	assert_int_equal(conf_parse(c, view_of(main_cf), "main.cf", &e), 0);
	conf_learn(c, view_of(master_cf));
}

static void
collect(void *arg, const char *name, const char *text)
{
	char *all = arg;
	size_t used = strlen(all);

	(void)name;
	snprintf(all + used, 2000 - used, "%s\n", text);
}

/* --- the table ---------------------------------------------------------------------------------- */

static void
count_twice(void *arg, struct view name, struct view values)
{
	unsigned *twice = arg;
	char text[100];

	(void)values;
	snprintf(text, sizeof text, "%.*s", VIEW_ARG(name));
	if (conf_param_find(text) != NULL) {
		print_message(
		    "%s stands in param_table.c too: take it out of postfix_table.c\n", text);
		++*twice;
	}
}

static void
no_parameter_is_ours_and_not_ours(void **state)
{
	size_t count;
	const struct postfix_group *g = postfix_groups(&count);
	unsigned twice = 0;

	(void)state;
	for (size_t i = 0; i < count; i++)
		postfix_each(&g[i], count_twice, &twice);
	assert_int_equal(twice, 0);
}

static void
each_value_has_its_fate(void **state)
{
	static const struct {
		const char *name, *value;
		enum postfix_fate fate;
	} rows[] = {
		{ "biff", "no", POSTFIX_MOOT },
		{ "strict_8bitmime", "no", POSTFIX_SAME },
		{ "strict_8bitmime", "yes", POSTFIX_IGNORED },
		{ "mailbox_size_limit", "0", POSTFIX_SAME },
		{ "mailbox_size_limit", "100000000", POSTFIX_IGNORED },
		{ "fallback_transport_maps", "", POSTFIX_SAME },
		{ "fallback_transport_maps", "hash:/etc/postfix/transport", POSTFIX_NEEDED },
		{ "luser_relay", "anna", POSTFIX_IGNORED }, /* allowed */
		{ "virtual_alias_domains", "$virtual_alias_maps", POSTFIX_SAME },
		{ "virtual_alias_domains", "b.example", POSTFIX_NEEDED },
		{ "mailbox_transport", "$empty", POSTFIX_SAME },
		/* lists, with commas or without */
		{ "error_notice_recipient", "admin", POSTFIX_IGNORED },
		/* of transports */
		{ "smtp_destination_rate_delay", "0s", POSTFIX_SAME },
		{ "smtp_destination_rate_delay", "1s", POSTFIX_IGNORED },
		{ "relay_delivery_slot_cost", "4", POSTFIX_MOOT },
		{ "policyd-spf_time_limit", "3600", POSTFIX_IGNORED },
	};
	struct postfix_verdict v;
	struct conf c;

	(void)state;
	load(&c, "allow_ignored_parameters = luser_relay\nempty =\n",
	    "policyd-spf unix - n n - 0 spawn user=x argv=/y\n");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_true(postfix_judge(&c, rows[i].name, rows[i].value, &v));
		if (v.fate != rows[i].fate)
			fail_msg("%s = %s: %d", rows[i].name, rows[i].value, (int)v.fate);
	}
	assert_false(postfix_judge(&c, "transprt_maps", "", &v));
	assert_false(postfix_judge(&c, "slow_destination_rate_delay", "1s", &v));
	assert_false(postfix_knows(NULL, "policyd-spf_time_limit"));
	assert_false(postfix_knows(NULL, "_time_limit"));
	conf_clear(&c);
}

static void
collect_unmet(void *arg, const struct conf_setting *s, enum postfix_fate fate, const char *text)
{
	(void)s;
	(void)fate;
	collect(arg, "", text);
}

static void
unmet_lines_come_in_their_order(void **state)
{
	char said[2000] = "";
	struct conf c;

	(void)state;
	load(&c,
	    "fallback_transport_maps = hash:/x\nmyhostname = a.example\nbiff = no\nstrict_8bitmime = no\n"
	    "mua_helo_restrictions = reject\ndefer_transports = smtp\nfallback_relay = b.example\n",
	    "submission inet n - y - - smtpd\n  -o smtpd_helo_restrictions=$mua_helo_restrictions\n");
	postfix_each_unmet(&c, collect_unmet, said);
	assert_non_null(strstr(said,
	    "main.cf:1: fallback_transport_maps: not honoured: without it mail goes to its MX"));
	assert_non_null(strstr(said,
	    "; take it out, or list its name in allow_ignored_parameters\nmain.cf:3: biff: means nothing here: "));
	assert_non_null(strstr(said, "\nmain.cf:6: defer_transports: not honoured: "));
	assert_non_null(strstr(
	    said, "\nmain.cf:7: fallback_relay: not honoured: the SMTP client does not do it\n"));
	assert_null(strstr(said, "strict_8bitmime"));
	assert_null(strstr(said, "mua_helo_restrictions"));
	conf_clear(&c);
}

/* --- main.cf ------------------------------------------------------------------------------------- */

static void
names_of_postfix_and_of_master_cf_are_known(void **state)
{
	static const char main_cf[] =
	    "fallback_transport_maps = hash:/x\n"
	    "scalemail-backend_destination_recipient_limit = 1\n"
	    "from_master = permit_sasl_authenticated\n"
	    "smtpd_banner = ESMTP $mailbox_transport\n"
	    "transprt_maps = hash:/x\n"
	    "allow_ignored_parameters = fallback_transport_maps, no_such_name\n";
	char said[2000] = "";
	struct conf c, copy;

	(void)state;
	load(&c, main_cf,
	    "#x inet n $in_comment\nscalemail-backend unix - n n - - pipe\n"
	    "submission inet n - y - - smtpd -o smtpd_client_restrictions=${from_master}\n");
	conf_copy(&copy, &c);
	assert_int_equal(conf_check(&copy, collect, said), 2);
	assert_string_equal(said,
	    "main.cf:5: unknown parameter \"transprt_maps\"; did you mean \"transport_maps\"?\n"
	    "main.cf:6: allow_ignored_parameters: \"no_such_name\" is no parameter\n");
	assert_int_equal(conf_set(&copy, "transprt_maps", "$from_master", "main.cf", 5, NULL), 0);
	conf_clear(&copy);
	conf_clear(&c);

	load(&c, "allow_ignored_parameters = fallback_transport_maps, no_such_name\n", "");
	said[0] = '\0';
	assert_int_equal(conf_check(&c, collect, said), 1);
	assert_string_equal(
	    said, "main.cf:1: allow_ignored_parameters: \"no_such_name\" is no parameter\n");
	conf_clear(&c);
}

static void
a_time_without_unit_is_in_that_of_its_default(void **state)
{
	struct conf c;

	(void)state;
	load(&c,
	    "maximal_queue_lifetime = 5\ndelay_warning_time = 4\nqueue_run_delay = 300\nbounce_queue_lifetime = 90m\n",
	    "");
	assert_int_equal(conf_seconds(&c, "maximal_queue_lifetime"), 5 * 86400);
	assert_int_equal(conf_seconds(&c, "delay_warning_time"), 4 * 3600);
	assert_int_equal(conf_seconds(&c, "queue_run_delay"), 300);
	assert_int_equal(conf_seconds(&c, "bounce_queue_lifetime"), 5400);
	conf_clear(&c);
}

static void
tls_is_offered_where_smtpd_has_a_certificate(void **state)
{
	struct conf c;

	(void)state;
	load(&c, "smtpd_tls_cert_file = /x.pem\n", "");
	assert_string_equal(conf_str(&c, "smtpd_tls_security_level"), "may");
	conf_clear(&c);
	load(&c, "tls_cert_file = /x.pem\n", "");
	assert_string_equal(conf_str(&c, "smtpd_tls_security_level"), "may");
	conf_clear(&c);
	load(&c, "", "");
	assert_string_equal(conf_str(&c, "smtpd_tls_security_level"), "none");
	conf_clear(&c);
}

/* --- master.cf ------------------------------------------------------------------------------------ */

static const struct service *
service_of(const struct master_cf *m, enum role r)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->services[i].role == r)
			return &m->services[i];
	return NULL;
}

static const char postfix_cf[] =
    "smtp inet n - y - 300 smtpd\n"
    "smtpd pass - - y - - smtpd\n"
    "cleanup unix n - y - 0 cleanup -o header_checks=regexp:/x\n"
    "qmgr unix n - n 300 1 qmgr\n"
    "pickup fifo n - y 60 1 pickup\n"
    "smtp unix - - y - - smtp -o smtp_bind_address=192.0.2.1\n"
    "relay unix - - y - - smtp\n  -o syslog_name=postfix/$service_name\n"
    "slow unix - - y - 5 smtp -o smtp_connect_timeout=5\n"
    "postlog unix-dgram n - n - 1 postlogd\n"
    "spf unix - n n - 0 spawn user=nobody argv=/usr/bin/spf\n"
    "maildrop unix - n n - - pipe\n  flags=DRhu user=vmail argv=/usr/bin/maildrop -d ${recipient}\n";

static void
what_postfix_does_not_know_of_is_implied(void **state)
{
	static const char *const notes[] = {
		"m:3: cleanup: -o header_checks: not honoured: its work is done by services without options of their own",
		"m:9: slow: not honoured: the only SMTP client is relay",
		"m:11: spf: not honoured: no commands are run",
		"m:12: maildrop: not honoured: mail is not handed to commands",
		"m:1: maxproc: not honoured: ",
	};
	struct master_cf m;
	struct err e;

	(void)state;
	assert_int_equal(master_cf_parse(&m, view_of(postfix_cf), "m", &e), 0);
	assert_true(m.is_postfix);
	assert_int_equal(service_of(&m, ROLE_SMTPD)->maxproc, 0);
	assert_string_equal(service_of(&m, ROLE_RELAY)->options[0].name, "smtp_bind_address");
	for (int r = ROLE_LOG; r <= ROLE_DELIVERY; r++)
		assert_non_null(service_of(&m, (enum role)r));
	assert_null(service_of(&m, ROLE_IMAPD));
	assert_int_equal(m.nnotes, sizeof notes / sizeof notes[0]);
	for (size_t i = 0; i < m.nnotes; i++)
		assert_memory_equal(m.notes[i], notes[i], strlen(notes[i]));
	master_cf_clear(&m);
}

static void
without_cleanup_nothing_required_is_implied(void **state)
{
	struct master_cf m;
	struct err e;

	(void)state;
	assert_int_equal(
	    master_cf_parse(
		&m, view_of("2525 inet n - y - - smtpd\npickup unix n - y 60 1 pickup\n"), "m", &e),
	    -1);
	assert_string_equal(e.text, "m: no service runs log");
	master_cf_clear(&m);
}

static void
faults_in_postfixs_lines_are_named(void **state)
{
	static const struct {
		const char *line, *fault;
	} rows[] = {
		{ "smtp inet n - y - - smtp\n", "m:1: unknown command \"smtp\"; known are " },
		{ "x unix n - y - - cleanpu\n", "m:1: unknown command \"cleanpu\"" },
		{ "x unix n - y - - smtp -o smtp_helo_tiemout=5\n",
		    "m:1: unknown parameter \"smtp_helo_tiemout\"; did you mean" },
		{ "x unix n - y - - cleanup flags=x\n", "m:1: unknown argument \"flags=x\"" },
		{ "x what n - y - - cleanup\n", "m:1: bad type \"what\"" },
		{ "smtp unix - - y - - smtp\nrelay unix y - y - - relay\n",
		    "m:2: relay stands already in line 1" },
	};
	struct master_cf m;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(master_cf_parse(&m, view_of(rows[i].line), "m", &e), -1);
		if (strncmp(e.text, rows[i].fault, strlen(rows[i].fault)) != 0)
			fail_msg("%s", e.text);
		master_cf_clear(&m);
	}
}

static void
an_option_may_use_the_service_name(void **state)
{
	struct master_cf m;
	struct conf c, of_service;
	struct err e;

	(void)state;
	load(&c, "", "");
	assert_int_equal(master_cf_parse(&m,
			     view_of("smtp inet n - y - - smtpd -o syslog_name=x/$service_name\n"
				     "cleanup unix n - y - 0 cleanup\n"),
			     "m", &e),
	    0);
	assert_int_equal(service_conf(&m.services[0], &c, &of_service, &e), 0);
	assert_string_equal(conf_str(&of_service, "syslog_name"), "x/smtp");
	conf_clear(&of_service);
	conf_clear(&c);
	master_cf_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_parameter_is_ours_and_not_ours),
		cmocka_unit_test(each_value_has_its_fate),
		cmocka_unit_test(unmet_lines_come_in_their_order),
		cmocka_unit_test(names_of_postfix_and_of_master_cf_are_known),
		cmocka_unit_test(a_time_without_unit_is_in_that_of_its_default),
		cmocka_unit_test(tls_is_offered_where_smtpd_has_a_certificate),
		cmocka_unit_test(what_postfix_does_not_know_of_is_implied),
		cmocka_unit_test(without_cleanup_nothing_required_is_implied),
		cmocka_unit_test(faults_in_postfixs_lines_are_named),
		cmocka_unit_test(an_option_may_use_the_service_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
