#include "common/config/conf.h"
#include "common/config/master_cf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void
collect(void *arg, const char *name, const char *text)
{
	char *all = arg;
	size_t used = strlen(all);

	(void)name;
	snprintf(all + used, 2000 - used, "%s\n", text);
}

static unsigned
faults_of(const char *text, char all[2000])
{
	struct conf c;
	struct err e;
	unsigned n;

	conf_init(&c);
	all[0] = '\0';
	if (conf_parse(&c, view_of(text), "main.cf", &e) < 0) {
		snprintf(all, 2000, "%s\n", e.text);
		n = 1;
	} else
		n = conf_check(&c, collect, all);
	conf_clear(&c);
	return n;
}

static void
values_are_read_as_postfix_reads_them(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	conf_init(&c);
	assert_int_equal(conf_parse(&c,
			     view_of("# comment\n"
				     "myhostname = a.example\n"
				     "mynetworks = 127.0.0.0/8,\n"
				     "# in between\n"
				     "\n"
				     "   [::1]/128\n"
				     "message_size_limit=20m\r\n"
				     "maximal_queue_lifetime = 3d\n"
				     "myorigin = first\n"
				     "myorigin = $myhostname\n"),
			     "main.cf", &e),
	    0);
	assert_string_equal(conf_str(&c, "mynetworks"), "127.0.0.0/8, [::1]/128");
	assert_string_equal(conf_str(&c, "myorigin"), "a.example"); /* the last one wins */
	assert_int_equal(conf_size(&c, "message_size_limit"), 20 << 20);
	assert_int_equal(conf_seconds(&c, "maximal_queue_lifetime"), 3 * 86400);
	assert_int_equal(conf_int(&c, "hopcount_limit"), 50); /* default */
	assert_true(conf_bool(&c, "smtpd_delay_reject"));
	assert_string_equal(conf_str(&c, "smtpd_banner"), "a.example ESMTP Estafeta");
	conf_set(&c, "myhostname", "b.example", "test", 1, &e);
	assert_string_equal(conf_str(&c, "myorigin"), "b.example"); /* no stale value */
	conf_clear(&c);
}

static void
names_expand_in_every_form(void **state)
{
	static const struct {
		const char *value, *expected;
	} cases[] = {
		{ "$mydomain", "d" },
		{ "${mydomain}", "d" },
		{ "$(mydomain)", "d" },
		{ "x$mydomain.y", "xd.y" },
		{ "$$mydomain", "$mydomain" },
		{ "${mydomain?yes}", "yes" },
		{ "${mydomain:no}", "" },
		{ "${relayhost?yes}", "" },
		{ "${relayhost:no}", "no" },
		{ "${mydomain?{yes}:{no}}", "yes" },
		{ "${relayhost?{yes}:{no $mydomain}}", "no d" },
		{ "${relayhost?{a}:{${mydomain?{b}:{c}}}}", "b" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct conf c;

		conf_init(&c);
		conf_set(&c, "mydomain", "d", "t", 1, &e);
		conf_set(&c, "login_greeting", cases[i].value, "t", 1, &e);
		assert_string_equal(conf_str(&c, "login_greeting"), cases[i].expected);
		conf_clear(&c);
	}
}

static void
faults_name_file_line_and_the_nearest_name(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "mydestinaton = x\n",
		    "main.cf:1: unknown parameter \"mydestinaton\"; did you mean \"mydestination\"?\n" },
		{ "\n\nxyzzy = 1\n", "main.cf:3: unknown parameter \"xyzzy\"\n" },
		{ "hopcount_limit = lots\n",
		    "main.cf:1: hopcount_limit: \"lots\" is not a number\n" },
		{ "hopcount_limit = 0\n",
		    "main.cf:1: hopcount_limit: 0 is not between 1 and 1000\n" },
		{ "smtpd_delay_reject = maybe\n",
		    "main.cf:1: smtpd_delay_reject: \"maybe\" is neither yes nor no\n" },
		{ "queue_directory = spool\n",
		    "main.cf:1: queue_directory: \"spool\" is not an absolute path\n" },
		{ "sandbox = off\n",
		    "main.cf:1: sandbox: \"off\" is not one of enforce|permissive\n" },
		{ "smtpd_sasl_mechanisms = PLAIN FOO\n",
		    "main.cf:1: smtpd_sasl_mechanisms: \"FOO\" is not one of PLAIN|LOGIN|SCRAM-SHA-256\n" },
		{ "inet_protocols =\n",
		    "main.cf:1: inet_protocols: \"\" is not one of all|ipv4|ipv6\n" },
		{ "mydestination = a.test b_c.test\n",
		    "main.cf:1: mydestination: \"b_c.test\" is not a domain name (RFC 1123 2.1)\n" },
		{ "virtual_mailbox_domains = a.test, hash:/x\n",
		    "main.cf:1: virtual_mailbox_domains: \"hash:/x\": lookup tables are not supported here yet; list the domains\n" },
		{ "\nmaximal_backoff_time = 10s\n",
		    "main.cf:2: maximal_backoff_time: 10s is less than minimal_backoff_time, which is 300s\n" },
		{ "minimal_backoff_time = 2h\nmaximal_backoff_time = 1h\n",
		    "main.cf:1: minimal_backoff_time: 2h is more than maximal_backoff_time, which is 1h\n" },
		{ "virtual_alias_maps = /etc/virtual\n",
		    "main.cf:1: virtual_alias_maps: \"/etc/virtual\" is not of the form type:name\n" },
		{ "just words\n", "main.cf:1: missing '=' after \"just words\"\n" },
		{ "  indented = 1\n", "main.cf:1: continuation of nothing\n" },
		{ "myorigin = $nothing_such\n",
		    "main.cf:1: myorigin: unknown parameter $nothing_such\n" },
		{ "bounce_queue_lifetime = 5y\n",
		    "main.cf:1: bounce_queue_lifetime: \"5y\" is not a time (number with s, m, h, d or w)\n" },
	};
	char all[2000];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(faults_of(cases[i].text, all), 1);
		assert_string_equal(all, cases[i].expected);
	}
	/* a loop ends, and every parameter that depends on it is named */
	assert_true(faults_of("mydomain = $myorigin\nmyorigin = $mydomain\n", all) >= 2);
	assert_int_equal(
	    faults_of("inet_protocols = ipv6, ipv4\nvirtual_mailbox_domains =\n", all), 0);
	/* an admin's own name, used by another value, is no fault (postconf(5)) */
	assert_int_equal(faults_of("our_nets = 10.0.0.0/8\nmynetworks = $our_nets\n", all), 0);
	assert_int_equal(faults_of("", all), 0);
}

static void
count_fault(void *arg, const char *name, const char *text)
{
	(void)name;
	snprintf(arg, 500, "%s", text);
}

/* What the machine is called stands at line 0, which nobody finds in the file. */
static void
a_default_at_fault_is_called_so(void **state)
{
	struct conf c;
	struct err e;
	char said[500] = "";

	(void)state;
	conf_init(&c);
	conf_set(&c, "mydomain", "a_b", "main.cf", 0, &e);
	assert_int_equal(
	    conf_check(&c, count_fault, said), 2); /* and mydestination, which mentions it */
	conf_set(&c, "mydestination", "", "main.cf", 1, &e);
	assert_int_equal(conf_check(&c, count_fault, said), 1);
	assert_string_equal(said, "mydomain (default): \"a_b\" is not a host name (RFC 1123 2.1)");
	err_set(&e, ERR_PERM, "why");
	assert_null(conf_place(&c, "mydomain"));
	conf_err_prefix(&e, &c, "mydestination");
	assert_string_equal(e.text, "main.cf:1: mydestination: why");
	conf_set(&c, "hopcount_limit", "0", "main.cf", 2, &e);
	assert_int_equal(conf_check_one(&c, "hopcount_limit", &e), -1);
	assert_int_equal(conf_check_one(&c, "mydestination", &e), 0);
	conf_clear(&c);
}

static void
host_names_are_checked(void **state)
{
	static const char *const good[] = { "a", "a.test", "1a.test", "xn--bcher-kva.example", "127.0.0.1a" };
	static const char *const bad[] = { "", "a b", "a_b.test", "-a.test", "a-.test", ".a", "a.", "a..b",
		"127.0.0.1", "1", "[127.0.0.1]", "b\303\274cher.example", "/etc/mailname" };
	char all[2000], text[400], label[64];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(text, sizeof text, "myhostname = %s\n", good[i]);
		assert_int_equal(faults_of(text, all), 0);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(text, sizeof text, "myhostname = %s\n", bad[i]);
		/* once: myorigin = $myhostname by default has the same fault */
		assert_int_equal(faults_of(text, all), 1);
		assert_non_null(strstr(all, "main.cf:1: myhostname: "));
	}
	memset(label, 'a', 63);
	label[63] = '\0';
	snprintf(text, sizeof text, "myhostname = %s.%s.%s.%s\n", label, label, label, label);
	assert_int_equal(faults_of(text, all), 0); /* 255 */
	snprintf(text, sizeof text, "myhostname = %s.%s.%s.%s.a\n", label, label, label, label);
	assert_int_equal(faults_of(text, all), 1);
	assert_non_null(strstr(all, "longer than 255"));
	snprintf(text, sizeof text, "myhostname = %sa.test\n", label);
	assert_int_equal(faults_of(text, all), 1);
}

static void
the_origin_of_a_value_is_found(void **state)
{
	struct conf c;
	struct err e;

	(void)state;
	conf_init(&c);
	assert_string_equal(conf_origin(&c, "smtpd_tls_key_file"), "tls_cert_file");
	assert_string_equal(conf_origin(&c, "myorigin"), "myhostname");
	assert_string_equal(conf_origin(&c, "smtpd_banner"), "smtpd_banner"); /* more than a name */
	conf_set(&c, "tls_key_file", "/k", "main.cf", 1, &e);
	assert_string_equal(conf_origin(&c, "smtpd_tls_key_file"), "tls_key_file");
	conf_set(&c, "smtpd_tls_key_file", "$tls_key_file", "main.cf", 2, &e);
	assert_string_equal(conf_origin(&c, "smtpd_tls_key_file"), "smtpd_tls_key_file");
	conf_clear(&c);
}

static void
dump_is_read_back_unchanged(void **state)
{
	struct conf a, b;
	struct buf text, again;
	struct err e;

	(void)state;
	conf_init(&a);
	conf_init(&b);
	conf_set(&a, "login_greeting", "costs $$5 $mydomain", "t", 1, &e);
	buf_init(&text, 1 << 20);
	buf_init(&again, 1 << 20);
	assert_int_equal(conf_dump(&a, &text), 0);
	assert_int_equal(conf_parse(&b, buf_view(&text), "dump", &e), 0);
	assert_string_equal(conf_str(&b, "login_greeting"), "costs $5 localdomain");
	assert_int_equal(conf_dump(&b, &again), 0);
	assert_true(view_eq(buf_view(&text), buf_view(&again)));
	buf_clear(&text);
	buf_clear(&again);
	conf_clear(&a);
	conf_clear(&b);
}

static void
lists_keep_braces_together(void **state)
{
	struct view rest = view_of("a, b\tc,{ d e } inline:{x=1, y=2} static:z"), item;
	static const char *const expected[] = { "a", "b", "c", "d e", "inline:{x=1, y=2}", "static:z" };

	(void)state;
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		assert_true(conf_next(&rest, &item));
		assert_true(view_eq_str(item, expected[i]));
	}
	assert_false(conf_next(&rest, &item));
}

#define REQUIRED                                                                                          \
	"log unix y - y - 1 log\nkeyd unix y - y - 1 keyd\ndnsd unix y - y - 1 dnsd\n"                    \
	"authd unix y - y - - authd\nqmgr unix y - y - 1 qmgr\nrelay unix y - y - 2 relay\n"              \
	"delivery unix y - y - - delivery\n"

static void
on_fault_ignored(void *arg, const char *name, const char *text)
{
	(void)arg, (void)name;
	(void)text;
}

static void
master_cf_is_read(void **state)
{
	struct master_cf m;
	struct conf base, c;
	struct err e;
	size_t implied = 0;

	(void)state;
	assert_int_equal(
	    master_cf_parse(&m,
		view_of("# comment\n"
			"127.0.0.1:25 inet n - y - 3 smtpd -o smtpd_submission=yes\n"
			"   -o { login_greeting = two words } -o mynetworks=10.0.0.0/8,192.168.0.0/16\n"
			"[::1]:993 inet n - y - - imapd-login -o tls_wrappermode=yes\n"
			"imapd unix y - y - - imapd\n" REQUIRED),
		"master.cf", &e),
	    0);
	for (int r = 0; r < ROLE_COUNT; r++)
		implied += role_row((enum role)r)->implied_by != ROLE_MASTER;
	assert_int_equal(m.count, 10 + implied);
	assert_string_equal(m.services[0].host, "127.0.0.1");
	assert_string_equal(m.services[0].port, "25");
	assert_int_equal(m.services[0].maxproc, 3);
	assert_string_equal(m.services[1].host, "::1");
	assert_int_equal(m.services[1].role, ROLE_IMAPD_LOGIN);
	conf_init(&base);
	assert_int_equal(service_conf(&m.services[0], &base, &c, &e), 0);
	assert_true(conf_bool(&c, "smtpd_submission"));
	assert_false(conf_bool(&base, "smtpd_submission"));
	assert_string_equal(conf_str(&c, "login_greeting"), "two words");
	assert_string_equal(conf_str(&c, "mynetworks"), "10.0.0.0/8,192.168.0.0/16");
	conf_clear(&base);
	conf_clear(&c);
	master_cf_clear(&m);
}

/* A Postfix with postscreen in front: the other processes that this takes there are smtpd here. */
static void
master_cf_of_postscreen_is_read(void **state)
{
	struct master_cf m;
	struct conf base, c;
	struct err e;

	(void)state;
	assert_int_equal(
	    master_cf_parse(&m,
		view_of("smtp inet n - y - 1 postscreen -o smtpd_timeout=100s\n"
			"smtpd pass - - y - - smtpd\n"
			"dnsblog unix - - y - 0 dnsblog\n"
			"tlsproxy unix - - y - 0 tlsproxy\n"
			"anvil unix - - y - 1 anvil\n" REQUIRED),
		"master.cf", &e),
	    0);
	assert_int_equal(m.services[0].role, ROLE_SMTPD);
	assert_int_equal(m.services[1].role, ROLE_ANVIL);
	assert_int_equal(m.nnotes, 0);
	conf_init(&base);
	assert_int_equal(service_conf(&m.services[0], &base, &c, &e), 0);
	assert_true(conf_bool(&c, "postscreen_enable"));
	assert_int_equal(conf_seconds(&c, "smtpd_timeout"), 100);
	conf_clear(&base);
	conf_clear(&c);
	master_cf_clear(&m);
}

/* The values of a worker depend on $stress as those of main.cf do. */
static void
stress_is_passed_on(void **state)
{
	struct conf a, b;
	struct buf text;
	struct err e;
	unsigned faults = 0;

	(void)state;
	conf_init(&a);
	conf_init(&b);
	buf_init(&text, 1 << 20);
	assert_int_equal(
	    conf_parse(&a,
		view_of("normal = 30\nsmtpd_hard_error_limit = ${stress?{3}:{$normal}}\nsmtpd_junk_command_limit = "
			"$smtpd_hard_error_limit\n"),
		"main.cf", &e),
	    0);
	assert_int_equal(conf_dump(&a, &text), 0);
	assert_int_equal(conf_parse(&b, buf_view(&text), "dump", &e), 0);
	assert_int_equal(conf_int(&b, "smtpd_hard_error_limit"), 30);
	assert_int_equal(conf_seconds(&b, "smtpd_timeout"), 300);
	conf_clear(&b);
	conf_init(&b);
	assert_int_equal(conf_parse(&b, buf_view(&text), "dump", &e), 0);
	assert_int_equal(conf_set(&b, "stress", "yes", "", 0, &e), 0);
	assert_int_equal(conf_int(&b, "smtpd_hard_error_limit"), 3);
	assert_int_equal(conf_int(&b, "smtpd_junk_command_limit"), 3);
	assert_int_equal(conf_seconds(&b, "smtpd_timeout"), 10);
	assert_int_equal(conf_set(&a, "smtpd_timeout", "${stress?x}", "main.cf", 3, &e), 0);
	faults = conf_check(&a, on_fault_ignored, NULL);
	assert_true(faults > 0);
	conf_clear(&a);
	conf_clear(&b);
	buf_clear(&text);
}

static void
numbers_may_be_negative(void **state)
{
	static const struct {
		const char *value;
		bool is_good;
	} cases[] = { { "-5", true }, { "0", true }, { "-", false }, { "--5", false },
		{ "5", false }, { "-9999999999", false } };
	struct conf c;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *name = "postscreen_dnsbl_allowlist_threshold";

		conf_init(&c);
		assert_int_equal(conf_set(&c, name, cases[i].value, "main.cf", 1, &e), 0);
		assert_int_equal(conf_check_one(&c, name, &e), cases[i].is_good ? 0 : -1);
		if (i == 0)
			assert_int_equal(conf_int(&c, name), -5);
		conf_clear(&c);
	}
}

static void
master_cf_faults_are_named(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "x inet n - y - -\n", "master.cf:1: 7 columns instead of at least 8" },
		{ "x inet n - y - - smtp\n",
		    "master.cf:1: unknown command \"smtp\"; known are log, dnsd, keyd, authd, qmgr, "
		    "relay, delivery, smtpd, imapd-login, imapd, pop3d-login, pop3d, anvil, dialer, fetchd" },
		{ "127.0.0.1:65536 inet n - y - - smtpd\n",
		    "master.cf:1: bad port \"65536\": 1 to 65535, or a name of services(5)" },
		{ "0 inet n - y - - smtpd\n",
		    "master.cf:1: bad port \"0\": 1 to 65535, or a name of services(5)" },
		{ "25x inet n - y - - smtpd\n",
		    "master.cf:1: bad port \"25x\": 1 to 65535, or a name of services(5)" },
		{ "x pipe n - y - - smtpd\n",
		    "master.cf:1: bad type \"pipe\": inet or unix expected" },
		{ "x inet n - y - 1x smtpd\n", "master.cf:1: bad maxproc \"1x\"" },
		{ "qmgr unix n - y - 2 qmgr\n",
		    "master.cf:1: qmgr: there can be only one: maxproc must be 1" },
		{ "\nx inet n - y - - smtpd -o smtpd_submision=yes\n",
		    "master.cf:2: unknown parameter \"smtpd_submision\"; did you mean \"smtpd_submission\"?" },
		{ "x inet n - y - - smtpd -x\n", "master.cf:1: unknown argument \"-x\"" },
		{ "[::1 inet n - y - - smtpd\n", "master.cf:1: bad address \"[::1\"" },
		{ "qmgr inet n - y - - qmgr\n", "master.cf:1: qmgr is not a service of type inet" },
		{ "a/b unix n - y - - smtpd\n", "master.cf:1: bad service name \"a/b\"" },
		{ ".. unix n - y - - smtpd\n", "master.cf:1: bad service name \"..\"" },
		{ "imap unix n - y - - imapd-login\n", "master.cf:1: imapd-login is not a service of type unix" },
		{ "25 inet n - y - - smtpd\n25 inet n - y - - smtpd\n" REQUIRED,
		    "master.cf:2: service 25 stands already in line 1" },
		{ "25 inet n - y - - smtpd\n", "master.cf: no service runs log" },
		{ "143 inet n - y - - imapd-login\n" REQUIRED, "master.cf: no service runs imapd" },
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct master_cf m;

		assert_int_equal(master_cf_parse(&m, view_of(cases[i].text), "master.cf", &e), -1);
		assert_string_equal(e.text, cases[i].expected);
		master_cf_clear(&m);
	}
}

static void
times_stand_inside_values(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: none */
	} rows[] = {
		{ "90", 90 },
		{ "0", 0 },
		{ "5s", 5 },
		{ "5m", 300 },
		{ "2H", 7200 },
		{ "365d", 365 * 86400 },
		{ "1w", 604800 },
		{ "", -1 },
		{ "m", -1 },
		{ "5y", -1 },
		{ "-1", -1 },
		{ "366d", -1 },
		{ "99999999999999999999", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int64_t seconds = -1;
		bool ok = conf_time_parse(view_of(rows[i].text), &seconds);

		assert_int_equal(ok, rows[i].seconds >= 0);
		if (ok)
			assert_int_equal(seconds, rows[i].seconds);
	}
}

static void
what_is_faulty_is_taken_out_until_the_rest_can_be_used(void **state)
{
	char said[2000] = "";
	struct conf c;
	struct err e;

	(void)state;
	conf_init(&c);
	assert_int_equal(conf_parse(&c,
			     view_of("hopcount_limit = many\nmyhostname = a..b\nno_such_name = $my_own\nmy_own = x\n"
				     "maximal_backoff_time = 1m\nallow_ignored_parameters = nothing\nmydomain = a.test\n"),
			     "m", &e),
	    0);
	assert_true(conf_settle(&c, collect, said));
	/* three rounds: what is told in the second would not be seen for the first's faults */
	assert_string_equal(said, "m:3: unknown parameter \"no_such_name\"\nm:2: myhostname: \"a..b\" is not a host name (RFC 1123 2.1)\n"
				  "m:1: hopcount_limit: \"many\" is not a number\n"
				  "m:6: allow_ignored_parameters: \"nothing\" is no parameter\n"
				  "m:5: maximal_backoff_time: 1m is less than minimal_backoff_time, which is 300s\n");
	assert_int_equal(conf_int(&c, "hopcount_limit"), 50);
	assert_string_equal(conf_str(&c, "mydomain"), "a.test");
	assert_int_equal(conf_check(&c, collect, said), 0);
	conf_clear(&c);
}

static void
every_bad_line_is_named_and_the_others_count(void **state)
{
	struct master_cf m;
	struct conf c;
	struct err e;

	(void)state;
	conf_init(&c);
	assert_int_equal(conf_parse(&c,
			     view_of(" continued\nmydomain = a.test\nnonsense\n# x\n\n= y\nmyhostname = b\n .test\nx y = z"),
			     "main.cf", &e),
	    -1);
	assert_string_equal(e.text, "main.cf:1: continuation of nothing");
	assert_string_equal(buf_cstr(&c.faults),
	    "main.cf:1: continuation of nothing\nmain.cf:3: missing '=' after \"nonsense\"\n"
	    "main.cf:6: missing parameter name\nmain.cf:9: bad parameter name \"x y\"\n");
	assert_string_equal(conf_str(&c, "mydomain"), "a.test");
	assert_string_equal(conf_str(&c, "myhostname"), "b .test");
	assert_true(conf_unset(&c, "mydomain"));
	assert_string_equal(conf_str(&c, "mydomain"), "localdomain");
	conf_clear(&c);

	assert_int_equal(master_cf_parse(&m,
			     view_of("25 inet n - y - - smtpx\n587 inet n - y - - smtpd\n"
				     "588 inet n - y - - smtpd -o nix=1 -o nax=2 -o mydomain=x\n"
				     "589 inet n - y - - smtpd -o smtpd_milters=a, b -o mydomain=x\n" REQUIRED),
			     "m", &e),
	    -1);
	assert_memory_equal(buf_cstr(&m.faults), "m:1: unknown command \"smtpx\"", 28);
	assert_non_null(strstr(buf_cstr(&m.faults),
	    "\nm:3: unknown parameter \"nix\"\nm:3: unknown parameter \"nax\"\n"
	    "m:4: unknown argument \"b\": white space ends a value; write -o { smtpd_milters = a, b ... }\n"));
	assert_string_equal(m.services[0].name, "587");
	master_cf_clear(&m);

	assert_int_equal(master_cf_parse(&m, view_of("143 inet n - y - - imapd-login\n"), "m", &e), -1);
	assert_string_equal(e.text, "m: no service runs log");
	assert_non_null(strstr(buf_cstr(&m.faults), "m: no service runs imapd\n"));
	master_cf_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bad_line_is_named_and_the_others_count),
		cmocka_unit_test(what_is_faulty_is_taken_out_until_the_rest_can_be_used),
		cmocka_unit_test(values_are_read_as_postfix_reads_them),
		cmocka_unit_test(names_expand_in_every_form),
		cmocka_unit_test(faults_name_file_line_and_the_nearest_name),
		cmocka_unit_test(host_names_are_checked),
		cmocka_unit_test(a_default_at_fault_is_called_so),
		cmocka_unit_test(the_origin_of_a_value_is_found),
		cmocka_unit_test(dump_is_read_back_unchanged),
		cmocka_unit_test(lists_keep_braces_together),
		cmocka_unit_test(master_cf_is_read),
		cmocka_unit_test(master_cf_of_postscreen_is_read),
		cmocka_unit_test(stress_is_passed_on),
		cmocka_unit_test(times_stand_inside_values),
		cmocka_unit_test(numbers_may_be_negative),
		cmocka_unit_test(master_cf_faults_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
