#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/table/table_config.h"

static const char services[] =
    "smtp inet n - y - - smtpd\n"
    "587 inet n - y - - smtpd -o smtpd_client_restrictions=check_client_access,lmdb:/b\n"
    "authd unix y - y - - authd\nqmgr unix y - y - 1 qmgr\n"
    "delivery unix y - y - - delivery\nlog unix y - y - 1 log\n"
    "dnsd unix y - y - 1 dnsd\nkeyd unix y - y - 1 keyd\nrelay unix y - y - 1 relay\n";

static const char settings[] =
    "smtpd_client_restrictions = check_client_access cidr:/etc/clients, check_client_access hash:/a,\n"
    " check_policy_service inet:127.0.0.1:10023 check_policy_service { unix:x, timeout=3s }, strict permit\n"
    "smtpd_sender_restrictions = check_sender_access hash:/a check_sender_access proxy:btree:/c\n"
    " check_sender_access unionmap:{cidr:/d, hash:/e} check_sender_access pcre:{{/x$$/ y}}\n"
    "smtpd_restriction_classes = strict, nowhere, broken\n"
    "broken = check_sender_access hash:/$nothing\n"
    "strict = check_sender_access pipemap:{hash:/f$$, cidr:/g}\n";

/* What authd has to open, each once; resident tables are smtpd's own. */
static void
tables_of_all_services_are_collected(void **state)
{
	struct conf base, to;
	struct master_cf m;
	struct err e;

	(void)state;
	conf_init(&base);
	conf_init(&to);
	assert_int_equal(conf_parse(&base, view_of(settings), "main.cf", &e), 0);
	if (master_cf_parse(&m, view_of(services), "master.cf", &e) < 0)
		fail_msg("%s", e.text);
	/* as the checks of restriction classes will have it */
	conf_set(&base, "mail_name", "${nothing?$strict$broken$smtpd_restriction_classes}x",
	    "main.cf", 1, &e);
	assert_int_equal(table_config_collect(&m, &base, &to, &e), 0);
	assert_string_equal(conf_str(&to, TABLE_CONFIG_PARAM),
	    "hash:/a, proxy:btree:/c, unionmap:{cidr:/d, hash:/e}, pipemap:{hash:/f$, cidr:/g}, lmdb:/b");
	master_cf_clear(&m);
	conf_clear(&base);
	conf_clear(&to);
}

static void
faults_name_their_parameter(void **state)
{
	struct conf base, to;
	struct master_cf m;
	struct err e;

	(void)state;
	conf_init(&base);
	conf_init(&to);
	conf_set(&base, "smtpd_helo_restrictions", "check_helo_access unionmap:{nosuch:x}",
	    "main.cf", 1, &e);
	assert_int_equal(master_cf_parse(&m, view_of(services), "master.cf", &e), 0);
	assert_int_equal(table_config_collect(&m, &base, &to, &e), -1);
	assert_int_equal(e.kind, ERR_SYNTAX);
	assert_non_null(
	    strstr(e.text, "smtpd_helo_restrictions: unsupported table type: \"nosuch\""));
	master_cf_clear(&m);
	conf_clear(&base);
	conf_clear(&to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_of_all_services_are_collected),
		cmocka_unit_test(faults_name_their_parameter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
