#include "smtpd/config.h"
#include "smtpd/restrict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* One run over one list.  Facts not listed are looked up as `otherwise`. */
struct restrict_case {
	enum restrict_list_id list;
	const char *names;
	const char *helo, *sender, *recipient;
	enum { NETWORK = 1, LOGIN = 2, TLS = 4, PIPELINED = 8, LOCAL = 16 } flags;
	enum restrict_fact_id id;
	enum restrict_fact fact;
	int code; /* 0: permitted */
	const char *dsn, *text;
};

#define RELAY_DEFAULT "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination"

/* clang-format off */
static const struct restrict_case cases[] = {
	/* never an open relay */
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Relay access denied" },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Relay access denied" },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_TEMP, 451, "4.3.0", "<d@e.f>: Temporary lookup failure" },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_TEMP, 451, "4.3.0", "<d@e.f>: Temporary lookup failure" },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", NETWORK, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RELAY, RELAY_DEFAULT, "h", "a@b.c", "d@e.f", LOGIN, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RELAY, "defer_unauth_destination", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 454, "4.7.1", "<d@e.f>: Relay access denied" },
	{ RESTRICT_RELAY, "permit_auth_destination, reject", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RELAY, "permit_auth_destination, reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied" },
	/* order: the first decisive verdict wins */
	{ RESTRICT_RECIPIENT, "permit, reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RECIPIENT, "reject, permit", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied" },
	{ RESTRICT_CLIENT, "reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<client.example[192.0.2.1]>: Client host rejected: Access denied" },
	{ RESTRICT_HELO, "reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<h>: Helo command rejected: Access denied" },
	{ RESTRICT_SENDER, "reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<a@b.c>: Sender address rejected: Access denied" },
	{ RESTRICT_DATA, "reject", "h", "a@b.c", NULL, 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<DATA>: Data command rejected: Access denied" },
	{ RESTRICT_END_OF_DATA, "reject", "h", "a@b.c", NULL, 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<END-OF-MESSAGE>: End-of-data command rejected: Access denied" },
	{ RESTRICT_RECIPIENT, "defer", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 450, "4.3.2", "<d@e.f>: Recipient address rejected: Try again later" },
	/* defer_if_permit, defer_if_reject, warn_if_reject */
	{ RESTRICT_RECIPIENT, "defer_if_permit, permit", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 450, "4.7.0", "<d@e.f>: Recipient address rejected: defer_if_permit requested" },
	{ RESTRICT_RECIPIENT, "defer_if_permit, reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied" },
	{ RESTRICT_RECIPIENT, "defer_if_reject, reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 450, "4.7.1", "<d@e.f>: Recipient address rejected: Access denied" },
	{ RESTRICT_RECIPIENT, "warn_if_reject reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RECIPIENT, "warn_if_reject reject reject", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied" },
	/* recipients */
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_NO, 550, "5.1.1", "<d@e.f>: Recipient address rejected: User unknown in virtual mailbox table" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_FULL, 452, "4.2.2", "<d@e.f>: Recipient address rejected: Mailbox is full" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_TEMP, 451, "4.3.0", "<d@e.f>: Temporary lookup failure" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RECIPIENT, "reject_non_fqdn_recipient", "h", "a@b.c", "d@e", 0, FACT_RCPT, FACT_YES, 504, "5.5.2", "<d@e>: Recipient address rejected: need fully-qualified address" },
	{ RESTRICT_RECIPIENT, "reject_non_fqdn_recipient", "h", "a@b.c", "d", 0, FACT_RCPT, FACT_YES, 504, "5.5.2", "<d>: Recipient address rejected: need fully-qualified address" },
	{ RESTRICT_RECIPIENT, "reject_non_fqdn_recipient", "h", "a@b.c", "Postmaster", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RECIPIENT, "reject_non_fqdn_recipient", "h", "a@b.c", "d@[192.0.2.1]", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_RECIPIENT, "reject_unknown_recipient_domain", "h", "a@b.c", "d@e.f", 0, FACT_RCPT_DOMAIN, FACT_NO, 450, "4.1.2", "<d@e.f>: Recipient address rejected: Domain not found" },
	{ RESTRICT_RECIPIENT, "reject_unknown_recipient_domain", "h", "a@b.c", "d@e.f", 0, FACT_RCPT_DOMAIN, FACT_NULL_MX, 556, "5.1.10", "<d@e.f>: Recipient address rejected: Domain e.f does not accept mail (nullMX)" },
	{ RESTRICT_RECIPIENT, "reject_unknown_recipient_domain", "h", "a@b.c", "d@e.f", 0, FACT_RCPT_DOMAIN, FACT_TEMP, 450, "4.1.2", "<d@e.f>: Recipient address rejected: Domain not found" },
	{ RESTRICT_RECIPIENT, "reject_unknown_recipient_domain", "h", "a@b.c", "d@e.f", LOCAL, FACT_RCPT_DOMAIN, FACT_NO, 0, NULL, NULL },
	/* senders */
	{ RESTRICT_SENDER, "reject_non_fqdn_sender", "h", "a@b", "d@e.f", 0, FACT_RCPT, FACT_YES, 504, "5.5.2", "<a@b>: Sender address rejected: need fully-qualified address" },
	{ RESTRICT_SENDER, "reject_non_fqdn_sender", "h", "", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_SENDER, "reject_unknown_sender_domain", "h", "a@b.c", "d@e.f", 0, FACT_SENDER_DOMAIN, FACT_NO, 450, "4.1.8", "<a@b.c>: Sender address rejected: Domain not found" },
	{ RESTRICT_SENDER, "reject_unknown_sender_domain", "h", "a@b.c", "d@e.f", 0, FACT_SENDER_DOMAIN, FACT_TEMP, 450, "4.1.8", "<a@b.c>: Sender address rejected: Domain not found" },
	{ RESTRICT_SENDER, "reject_unknown_sender_domain", "h", "a@b.c", "d@e.f", 0, FACT_SENDER_DOMAIN, FACT_NULL_MX, 550, "5.7.27", "<a@b.c>: Sender address rejected: Domain b.c does not accept mail (nullMX)" },
	{ RESTRICT_SENDER, "reject_unknown_sender_domain", "h", "a@b.c", "d@e.f", 0, FACT_SENDER_DOMAIN, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_SENDER, "reject_unknown_sender_domain", "h", "", "d@e.f", 0, FACT_SENDER_DOMAIN, FACT_NO, 0, NULL, NULL },
	/* clients and their names */
	{ RESTRICT_HELO, "reject_invalid_helo_hostname", "a..b", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 501, "5.5.2", "<a..b>: Helo command rejected: Invalid name" },
	{ RESTRICT_HELO, "reject_invalid_helo_hostname", "192.0.2.1", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 501, "5.5.2", "<192.0.2.1>: Helo command rejected: Invalid name" },
	{ RESTRICT_HELO, "reject_invalid_helo_hostname", "[192.0.2.1]", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_HELO, "reject_non_fqdn_helo_hostname", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 504, "5.5.2", "<h>: Helo command rejected: need fully-qualified hostname" },
	{ RESTRICT_HELO, "reject_non_fqdn_helo_hostname", "h.i", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_HELO, "reject_non_fqdn_helo_hostname", NULL, "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_HELO, "reject_unknown_helo_hostname", "h.i", "a@b.c", "d@e.f", 0, FACT_HELO_HOST, FACT_NO, 450, "4.7.1", "<h.i>: Helo command rejected: Host not found" },
	{ RESTRICT_HELO, "reject_unknown_helo_hostname", "h.i", "a@b.c", "d@e.f", 0, FACT_HELO_HOST, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_CLIENT, "reject_unknown_client_hostname", "h", "a@b.c", "d@e.f", 0, FACT_CLIENT_NAME, FACT_NO, 450, "4.7.25", "Client host rejected: cannot find your hostname, [192.0.2.1]" },
	{ RESTRICT_CLIENT, "reject_unknown_reverse_client_hostname", "h", "a@b.c", "d@e.f", 0, FACT_CLIENT_REVERSE, FACT_NO, 450, "4.7.1", "Client host rejected: cannot find your reverse hostname, [192.0.2.1]" },
	{ RESTRICT_CLIENT, "reject_unknown_reverse_client_hostname", "h", "a@b.c", "d@e.f", 0, FACT_CLIENT_REVERSE, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_CLIENT, "reject_plaintext_session", "h", "a@b.c", "d@e.f", 0, FACT_RCPT, FACT_YES, 450, "4.7.1", "Session encryption is required" },
	{ RESTRICT_CLIENT, "reject_plaintext_session", "h", "a@b.c", "d@e.f", TLS, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_DATA, "reject_unauth_pipelining", "h", "a@b.c", NULL, PIPELINED, FACT_RCPT, FACT_YES, 503, "5.5.0", "<DATA>: Data command rejected: Improper use of SMTP command pipelining" },
	{ RESTRICT_DATA, "reject_unauth_pipelining", "h", "a@b.c", NULL, 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
	{ RESTRICT_DATA, "reject_multi_recipient_bounce", "h", "", NULL, 0, FACT_RCPT, FACT_YES, 550, "5.5.3", "<DATA>: Data command rejected: Multi-recipient bounce" },
	{ RESTRICT_DATA, "reject_multi_recipient_bounce", "h", "a@b.c", NULL, 0, FACT_RCPT, FACT_YES, 0, NULL, NULL },
};
/* clang-format on */

static void
fill(struct restrict_ctx *c, const struct restrict_case *t, const struct restrict_list *lists)
{
	*c = (struct restrict_ctx){
		.lists = lists, .client_name = "client.example", .client_ip = "192.0.2.1"
	};
	c->helo = t->helo;
	c->sender = t->sender;
	c->recipient = t->recipient;
	c->in_mynetworks = t->flags & NETWORK;
	c->is_authenticated = t->flags & LOGIN;
	c->has_tls = t->flags & TLS;
	c->has_pipelined = t->flags & PIPELINED;
	c->nrcpts = 2;
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct restrict_case *t = &cases[i];
		struct restrict_list lists[RESTRICT_LISTS] = { 0 };
		struct restrict_ctx c;
		enum restrict_verdict v;
		int rounds = 0;

		restrict_list_parse(&lists[t->list], t->names, NULL);
		fill(&c, t, lists);
		restrict_start(&c, 1u << t->list);
		while ((v = restrict_run(&c)) == RESTRICT_NEED) {
			/* the fake lookup: a fact is asked for once */
			assert_int_equal(c.facts[c.need], FACT_UNKNOWN);
			assert_in_range(++rounds, 1, FACT_COUNT);
			c.facts[c.need] = c.need == t->id ? t->fact : FACT_YES;
			c.rcpt_is_local = t->flags & LOCAL;
		}
		if (v != (t->code ? RESTRICT_REJECT : RESTRICT_PERMIT))
			fail_msg("%s: verdict %d", t->names, v);
		if (t->code != 0) {
			assert_int_equal(c.reply.code, t->code);
			assert_string_equal(c.reply.dsn, t->dsn);
			assert_string_equal(c.reply.text, t->text);
		}
		restrict_list_clear(&lists[t->list]);
	}
}

/* OK ends its own list only; the lists of the mask are run, and no other. */
static void
test_lists(void **state)
{
	struct restrict_list lists[RESTRICT_LISTS] = { 0 };
	struct restrict_ctx c;

	(void)state;
	restrict_list_parse(&lists[RESTRICT_CLIENT], "permit", NULL);
	restrict_list_parse(&lists[RESTRICT_RELAY], "permit_sasl_authenticated", NULL);
	restrict_list_parse(&lists[RESTRICT_RECIPIENT], "reject", NULL);
	fill(&c, &cases[0], lists);
	restrict_start(&c, (1u << RESTRICT_CLIENT) | (1u << RESTRICT_RELAY));
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	restrict_start(&c, (1u << RESTRICT_CLIENT) | (1u << RESTRICT_RECIPIENT));
	assert_int_equal(restrict_run(&c), RESTRICT_REJECT);
	for (size_t i = 0; i < RESTRICT_LISTS; i++)
		restrict_list_clear(&lists[i]);
}

static unsigned warnings;

static void
on_warning(void *arg, const struct restrict_reply *r)
{
	(void)arg;
	assert_int_equal(r->code, warnings == 0 ? 554 : 450);
	warnings++;
}

static void
test_reports(void **state)
{
	struct restrict_list lists[RESTRICT_LISTS] = { 0 };
	struct restrict_ctx c;

	(void)state;
	restrict_list_parse(&lists[RESTRICT_RELAY], "warn_if_reject reject, permit", NULL);
	fill(&c, &cases[0], lists);
	c.on_warn = on_warning;
	restrict_start(&c, 1u << RESTRICT_RELAY);
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	assert_int_equal(warnings, 1);
	restrict_list_clear(&lists[RESTRICT_RELAY]);
	/* not knowing is a refusal, too, and only warned of; what stands behind it counts as ever */
	restrict_list_parse(&lists[RESTRICT_RELAY],
	    "warn_if_reject reject_unknown_sender_domain, warn_if_reject defer_if_permit", NULL);
	c.facts[FACT_SENDER_DOMAIN] = FACT_TEMP;
	restrict_start(&c, 1u << RESTRICT_RELAY);
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	assert_int_equal(warnings, 3);
	restrict_list_clear(&lists[RESTRICT_RELAY]);
	restrict_list_parse(&lists[RESTRICT_RELAY],
	    "warn_if_reject reject_unknown_sender_domain, reject_unknown_sender_domain", NULL);
	restrict_start(&c, 1u << RESTRICT_RELAY);
	assert_int_equal(restrict_run(&c), RESTRICT_REJECT);
	assert_int_equal(c.reply.code, 450);
	assert_int_equal(warnings, 4);
	restrict_list_clear(&lists[RESTRICT_RELAY]);
}

/* A slip of the pen: nothing starts with it. */
static void
test_unknown_names(void **state)
{
	static const struct {
		const char *names, *expected;
	} unknown[] = {
		{ "permit_mynetworks reject_unauth_destinatoin",
		    "unknown restriction \"reject_unauth_destinatoin\"; did you mean \"reject_unauth_destination\"?" },
		{ "check_client_access hash:/etc/access, reject",
		    "unknown restriction \"check_client_access\"" },
	};
	struct restrict_list l;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		assert_int_equal(restrict_list_parse(&l, unknown[i].names, &e), -1);
		assert_int_equal(e.kind, ERR_SYNTAX);
		assert_string_equal(e.text, unknown[i].expected);
		assert_int_equal(l.count, 0);
	}
}

/* What a test of the configuration says before smtpd ever starts: the parameter comes first. */
static void
test_faults_name_their_parameter(void **state)
{
	static const struct {
		const char *setting, *expected;
	} faults[] = {
		{ "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destnation, reject\n",
		    "smtpd_relay_restrictions: unknown restriction \"reject_unauth_destnation\"; did you mean "
		    "\"reject_unauth_destination\"?" },
		{ "smtpd_relay_restrictions = permit_mynetworks\n",
		    "smtpd_relay_restrictions: here or in smtpd_recipient_restrictions one of "
		    "reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit is needed" },
		{ "smtpd_tls_wrappermode = yes\n",
		    "smtpd_tls_wrappermode: needs a certificate, but smtpd_tls_cert_file is empty" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		static struct smtpd_config c;
		struct conf conf;
		struct err e;

		conf_init(&conf);
		assert_int_equal(conf_parse(&conf, view_of(faults[i].setting), "main.cf", &e), 0);
		assert_int_equal(smtpd_config_read(&c, &conf, &e), -1);
		assert_string_equal(e.text, faults[i].expected);
		smtpd_config_clear(&c);
		conf_clear(&conf);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_faults_name_their_parameter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
