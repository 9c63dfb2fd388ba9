#include "smtpd/config.h"
#include "smtpd/restrict.h"
#include "smtpd/dnsbl.h"
#include "smtpd/restrict_table.h"

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
	enum {
		NETWORK = 1,
		LOGIN = 2,
		TLS = 4,
		PIPELINED = 8,
		LOCAL = 16,
		CERT = 32,
		RELAYED = 64,
		CODED = 128
	} flags;
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
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", RELAYED, FACT_RCPT, FACT_NO, 550, "5.1.1", "<d@e.f>: Recipient address rejected: authd's words" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", RELAYED, FACT_RCPT, FACT_REFUSED, 550, "5.1.1", "<d@e.f>: Recipient address rejected: authd's words" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", CODED, FACT_RCPT, FACT_REFUSED, 550, "5.1.2", "<d@e.f>: Recipient address rejected: gone away" },
	{ RESTRICT_UNLISTED, "reject_unlisted_recipient", "h", "a@b.c", "d@e.f", RELAYED, FACT_RCPT, FACT_LATER, 450, "4.1.1", "<d@e.f>: Recipient address rejected: authd's words" },
	{ RESTRICT_UNLISTED_SENDER, "reject_unlisted_sender", "h", "a@b.c", "d@e.f", CODED, FACT_SENDER_USER, FACT_NO, 550, "5.1.2", "<a@b.c>: Sender address rejected: gone away" },
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

static struct conf conf;
static struct restrict_env env;
static struct sockaddr_storage client;

static int
set_up(void **state)
{
	static const char text[] = "smtpd_restriction_classes = strict, endless\n"
				   "strict = reject_non_fqdn_sender, check_recipient_access inline:{a=b}\n"
				   "endless = endless\n"
				   "recipient_delimiter = +\n"
				   "smtpd_sender_login_maps = inline:{a=b}\n"
				   "relay_clientcerts = inline:{a=b}\n";
	struct err err;

	(void)state;
	conf_init(&conf);
	assert_int_equal(conf_parse(&conf, view_of(text), "main.cf", &err), 0);
	assert_int_equal(restrict_env_init(&env, &conf, &err), 0);
	assert_true(addr_parse(view_of("192.0.2.1"), &client));
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	restrict_env_clear(&env);
	conf_clear(&conf);
	return 0;
}

static void
parse(struct restrict_list *l, enum restrict_list_id id, const char *names)
{
	struct err err;

	if (restrict_list_parse(l, id, names, &env, &err) < 0)
		fail_msg("%s: %s", names, err.text);
}

static void
fill(struct restrict_ctx *c, const struct restrict_case *t, const struct restrict_list *lists)
{
	*c = (struct restrict_ctx){ .env = &env,
		.lists = lists,
		.client = &client,
		.client_name = "client.example",
		.client_ip = "192.0.2.1" };
	c->helo = t->helo;
	c->sender = t->sender;
	c->recipient = t->recipient;
	c->in_mynetworks = t->flags & NETWORK;
	c->is_authenticated = t->flags & LOGIN;
	c->login = t->flags & LOGIN ? "alice" : NULL;
	c->has_tls = t->flags & TLS;
	c->has_pipelined = t->flags & PIPELINED;
	c->nrcpts = 2;
	c->cert_fingerprint = t->flags & CERT ? "AB:CD" : NULL;
	c->cert_key_fingerprint = t->flags & CERT ? "EF:01" : NULL;
	c->cert_is_trusted = t->flags & CERT;
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

		parse(&lists[t->list], t->list, t->names);
		fill(&c, t, lists);
		restrict_start(&c, 1u << t->list);
		while ((v = restrict_run(&c)) == RESTRICT_NEED) {
			/* the fake lookup: a fact is asked for once */
			enum restrict_fact_id need = c.question.fact;

			assert_int_equal(c.question.kind, ASK_FACT);
			assert_int_equal(c.facts[need], FACT_UNKNOWN);
			assert_in_range(++rounds, 1, FACT_COUNT);
			c.facts[need] = need == t->id ? t->fact : FACT_YES;
			c.rcpt_is_local = t->flags & (LOCAL | RELAYED);
			c.rcpt_is_relayed = t->flags & RELAYED;
			c.rcpt_why = t->flags & RELAYED ? "authd's words"
				     : t->flags & CODED ? "5.1.2 gone away"
							: "";
			c.sender_why = c.rcpt_why;
		}
		if (v != (t->code ? RESTRICT_REJECT : RESTRICT_PERMIT))
			fail_msg("%s: verdict %d", t->names, v);
		if (t->code != 0) {
			assert_int_equal(c.reply.code, t->code);
			assert_string_equal(c.reply.dsn, t->dsn);
			assert_string_equal(c.reply.text, t->text);
		}
		restrict_clear(&c);
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
	parse(&lists[RESTRICT_CLIENT], RESTRICT_CLIENT, "permit");
	parse(&lists[RESTRICT_RELAY], RESTRICT_RELAY, "permit_sasl_authenticated");
	parse(&lists[RESTRICT_RECIPIENT], RESTRICT_RECIPIENT, "reject");
	fill(&c, &cases[0], lists);
	restrict_start(&c, (1u << RESTRICT_CLIENT) | (1u << RESTRICT_RELAY));
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	restrict_clear(&c);
	restrict_start(&c, (1u << RESTRICT_CLIENT) | (1u << RESTRICT_RECIPIENT));
	assert_int_equal(restrict_run(&c), RESTRICT_REJECT);
	restrict_clear(&c);
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
	parse(&lists[RESTRICT_RELAY], RESTRICT_RELAY, "warn_if_reject reject, permit");
	fill(&c, &cases[0], lists);
	c.on_warn = on_warning;
	restrict_start(&c, 1u << RESTRICT_RELAY);
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	assert_int_equal(warnings, 1);
	restrict_list_clear(&lists[RESTRICT_RELAY]);
	/* not knowing is a refusal, too, and only warned of; what stands behind it counts as ever */
	parse(&lists[RESTRICT_RELAY], RESTRICT_RELAY,
	    "warn_if_reject reject_unknown_sender_domain, warn_if_reject defer_if_permit");
	c.facts[FACT_SENDER_DOMAIN] = FACT_TEMP;
	restrict_start(&c, 1u << RESTRICT_RELAY);
	assert_int_equal(restrict_run(&c), RESTRICT_PERMIT);
	assert_int_equal(warnings, 3);
	restrict_list_clear(&lists[RESTRICT_RELAY]);
	parse(&lists[RESTRICT_RELAY], RESTRICT_RELAY,
	    "warn_if_reject reject_unknown_sender_domain, reject_unknown_sender_domain");
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
		{ "check_client_access", "check_client_access: nothing stands behind it" },
		{ "check_client_accss hash:/etc/access, reject",
		    "unknown restriction \"check_client_accss\"; did you mean \"check_client_access\"?" },
	};
	struct restrict_list l;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
		assert_int_equal(restrict_list_parse(&l, RESTRICT_CLIENT, unknown[i].names, &env, &e), -1);
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
		struct conf faulty;
		struct err e;

		conf_init(&faulty);
		assert_int_equal(conf_parse(&faulty, view_of(faults[i].setting), "main.cf", &e), 0);
		assert_int_equal(smtpd_config_read(&c, &faulty, &e), -1);
		assert_string_equal(e.text, faults[i].expected);
		smtpd_config_clear(&c);
		conf_clear(&faulty);
	}
}

/* --- questions to others --------------------------------------------------------------------------------- */

/* One run over the recipient's list.  What is asked is written down, "kind:what", each answered with the next of
 * `answers` ("-": not found, "?": no answer for now). */
struct asking_case {
	const char *names, *sender, *recipient;
	unsigned flags; /* LOGIN */
	const char *asked;
	const char *answers[4];
	int code; /* 0: permitted */
	const char *dsn, *text;
	const char *actions; /* reported */
};

#define KEYS_OF_SENDER "table:a+x@b.example,(a@b.example),(b.example),(example),(a+x@),(a@)"

/* clang-format off */
static const struct asking_case askings[] = {
	/* access(5): the keys, best first, partial ones in brackets */
	{ "check_client_access hash:/x", "a@b.c", "d@e.f", 0, "table:client.example,(example),192.0.2.1,(192.0.2),(192.0),(192)", { "-" }, 0, NULL, NULL, NULL },
	{ "check_helo_access hash:/x", "a@b.c", "d@e.f", 0, "table:h.i,(i)", { "-" }, 0, NULL, NULL, NULL },
	{ "check_sender_access hash:/x", "a+x@b.example", "d@e.f", 0, KEYS_OF_SENDER, { "-" }, 0, NULL, NULL, NULL },
	{ "check_sender_access hash:/x", "", "d@e.f", 0, "table:<>", { "REJECT" }, 554, "5.7.1", "<>: Sender address rejected: Access denied", NULL },
	{ "check_sender_access hash:/x", "a@b.c", "d@e.f", 0, "table:a@b.c,(b.c),(c),(a@)", { "?" }, 451, "4.3.0", "<a@b.c>: Temporary lookup failure", NULL },
	{ "check_sasl_access hash:/x", "a@b.c", "d@e.f", LOGIN, "table:alice", { "REJECT no mail today" }, 554, "5.7.1", "<alice>: SASL login name rejected: no mail today", NULL },
	{ "check_sasl_access hash:/x", "a@b.c", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
	{ "hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "DEFER" }, 450, "4.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	/* its actions */
	{ "check_recipient_access hash:/x, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "OK" }, 0, NULL, NULL, NULL },
	{ "check_recipient_access hash:/x, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "1234567890" }, 0, NULL, NULL, NULL },
	{ "check_recipient_access hash:/x, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "DUNNO" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "550 5.1.1 gone" }, 550, "5.1.1", "<d@e.f>: Recipient address rejected: gone", NULL },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "421 go away" }, 421, "4.7.1", "<d@e.f>: Recipient address rejected: go away", NULL },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "REJECT 4.2.1 not so fast" }, 554, "5.2.1", "<d@e.f>: Recipient address rejected: not so fast", NULL },
	{ "check_recipient_access hash:/x, permit", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "DEFER_IF_PERMIT later" }, 450, "4.7.1", "<d@e.f>: Recipient address rejected: later", NULL },
	{ "check_recipient_access hash:/x, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "DEFER_IF_REJECT" }, 450, "4.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "HOLD" }, 0, NULL, NULL, "HOLD() <d@e.f>: Recipient address triggers HOLD action;" },
	{ "check_recipient_access hash:/x, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "DISCARD spam" }, 0, NULL, NULL, "DISCARD(spam) <d@e.f>: Recipient address spam;" },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "REDIRECT q@e.f" }, 0, NULL, NULL, "REDIRECT(q@e.f) <d@e.f>: Recipient address triggers REDIRECT q@e.f;" },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "PREPEND X-A: b c" }, 0, NULL, NULL, "PREPEND(X-A: b c) <d@e.f>: Recipient address triggers PREPEND X-A: b c;" },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "WARN" }, 0, NULL, NULL, "WARN() <d@e.f>: Recipient address triggers WARN action;" },
	{ "warn_if_reject check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "REJECT" }, 0, NULL, NULL, NULL },
	/* its answer is a list, or a class */
	{ "check_recipient_access hash:/x, permit", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "permit_mynetworks, reject" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "check_client_access hash:/x, permit", "a@b", "d@e.f", 0, "table:client.example,(example),192.0.2.1,(192.0.2),(192.0),(192)", { "reject" }, 554, "5.7.1", "<client.example[192.0.2.1]>: Client host rejected: Access denied", NULL },
	{ "check_recipient_access hash:/x, permit", "a@b", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "strict" }, 504, "5.5.2", "<a@b>: Sender address rejected: need fully-qualified address", NULL },
	{ "strict, permit", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "REJECT" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "strict, reject", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "OK" }, 0, NULL, NULL, NULL },
	{ "warn_if_reject strict, reject", "a@b", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "OK" }, 0, NULL, NULL, NULL },
	{ "endless", "a@b.c", "d@e.f", 0, "", { NULL }, 451, "4.3.5", "Server configuration error", NULL },
	{ "check_recipient_access hash:/x", "a@b.c", "d@e.f", 0, "table:d@e.f,(e.f),(f),(d@)", { "rejekt" }, 451, "4.3.5", "Server configuration error", "list(rejekt) unknown restriction \"rejekt\"; did you mean \"reject\"?;" },
	/* hosts: whoever runs them opens nothing */
	{ "check_sender_mx_access hash:/x, reject", "a@b.example", "d@e.f", 0, "mx:b.example table:mx.b.example,(b.example),(example),192.0.2.9,(192.0.2),(192.0),(192)", { "mx.b.example 192.0.2.9", "OK" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "check_sender_mx_access hash:/x", "a@b.example", "d@e.f", 0, "mx:b.example table:mx.b.example,(b.example),(example),192.0.2.9,(192.0.2),(192.0),(192)", { "mx.b.example 192.0.2.9", "REJECT" }, 554, "5.7.1", "<a@b.example>: Sender address rejected: Access denied", NULL },
	{ "check_sender_mx_access hash:/x, permit", "a@b.example", "d@e.f", 0, "mx:b.example table:a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b),a.b,(b) table:a.b,(b),192.0.2.9,(192.0.2),(192.0),(192)", { "a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b a.b 192.0.2.9", "-", "REJECT" }, 554, "5.7.1", "<a@b.example>: Sender address rejected: Access denied", NULL },
	{ "check_helo_ns_access hash:/x", "a@b.example", "d@e.f", 0, "ns:h.i", { "-" }, 0, NULL, NULL, NULL },
	{ "check_sender_a_access hash:/x", "a@[192.0.2.9]", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
	/* DNS lists (RFC 5782) */
	{ "reject_rbl_client bl.example", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.bl.example", { "see https://bl.example/" }, 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using bl.example; see https://bl.example/", NULL },
	{ "reject_rbl_client bl.example", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.bl.example", { "" }, 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using bl.example", NULL },
	{ "reject_rbl_client bl.example", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.bl.example", { "-" }, 0, NULL, NULL, NULL },
	{ "reject_rbl_client bl.example", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.bl.example", { "?" }, 0, NULL, NULL, NULL },
	{ "permit_dnswl_client wl.example, reject", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.wl.example", { "" }, 0, NULL, NULL, NULL },
	{ "permit_dnswl_client wl.example, reject", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.wl.example", { "?" }, 450, "4.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "reject_rhsbl_sender bl.example", "a@b.example", "d@e.f", 0, "dnsbl:b.example.bl.example", { "" }, 554, "5.7.1", "Service unavailable; Sender address [b.example] blocked using bl.example", NULL },
	{ "reject_rhsbl_helo bl.example", "a@b.example", "d@e.f", 0, "dnsbl:h.i.bl.example", { "" }, 554, "5.7.1", "Service unavailable; Helo command [h.i] blocked using bl.example", NULL },
	{ "reject_rhsbl_sender bl.example", "", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
	/* weights: an allow-list speaks for a client */
	{ "reject_rbl_client wl.example*-1, reject_rbl_client bl.example", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.wl.example dnsbl:1.2.0.192.bl.example", { "", "" }, 0, NULL, NULL, NULL },
	{ "reject_rbl_client wl.example*-1, reject_rbl_client bl.example*2", "a@b.c", "d@e.f", 0, "dnsbl:1.2.0.192.wl.example dnsbl:1.2.0.192.bl.example", { "", "" }, 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using bl.example", NULL },
	/* policy servers */
	{ "check_policy_service inet:127.0.0.1:10023", "a@b.c", "d@e.f", 0, "policy:", { "DEFER_IF_PERMIT Greylisted" }, 450, "4.7.1", "<d@e.f>: Recipient address rejected: Greylisted", NULL },
	{ "check_policy_service { inet:127.0.0.1:10023, timeout=1s }, permit", "a@b.c", "d@e.f", 0, "policy:", { "REJECT no" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: no", NULL },
	{ "check_policy_service inet:127.0.0.1:10023, permit", "a@b.c", "d@e.f", 0, "policy:", { "DUNNO" }, 0, NULL, NULL, NULL },
	{ "sleep 1, permit", "a@b.c", "d@e.f", 0, "sleep:1", { "" }, 0, NULL, NULL, NULL },
	/* who may send as whom */
	{ "reject_sender_login_mismatch", "a+x@b.c", "d@e.f", LOGIN, "table:a+x@b.c,(a@b.c),(@b.c)", { "bob, alice" }, 0, NULL, NULL, NULL },
	{ "reject_sender_login_mismatch", "a@b.c", "d@e.f", LOGIN, "table:a@b.c,(@b.c)", { "bob" }, 553, "5.7.1", "<a@b.c>: Sender address rejected: not owned by user alice", NULL },
	{ "reject_sender_login_mismatch", "a@b.c", "d@e.f", LOGIN, "table:a@b.c,(@b.c)", { "-" }, 553, "5.7.1", "<a@b.c>: Sender address rejected: not owned by user alice", NULL },
	{ "reject_known_sender_login_mismatch", "a@b.c", "d@e.f", LOGIN, "table:a@b.c,(@b.c)", { "-" }, 0, NULL, NULL, NULL },
	{ "reject_sender_login_mismatch", "a@b.c", "d@e.f", 0, "table:a@b.c,(@b.c)", { "alice" }, 553, "5.7.1", "<a@b.c>: Sender address rejected: not logged in", NULL },
	{ "reject_unauthenticated_sender_login_mismatch", "a@b.c", "d@e.f", LOGIN, "", { NULL }, 0, NULL, NULL, NULL },
	{ "reject_authenticated_sender_login_mismatch", "a@b.c", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
	{ "reject_sender_login_mismatch", "a@b.c", "d@e.f", LOGIN, "table:a@b.c,(@b.c)", { "?" }, 451, "4.3.0", "<a@b.c>: Temporary lookup failure", NULL },
	/* client certificates */
	{ "permit_tls_clientcerts, reject", "a@b.c", "d@e.f", CERT, "table:AB:CD,EF:01", { "x" }, 0, NULL, NULL, NULL },
	{ "permit_tls_clientcerts, reject", "a@b.c", "d@e.f", CERT, "table:AB:CD,EF:01", { "-" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "permit_tls_clientcerts, reject", "a@b.c", "d@e.f", CERT, "table:AB:CD,EF:01", { "?" }, 451, "4.3.0", "<AB:CD>: Temporary lookup failure", NULL },
	{ "permit_tls_clientcerts, reject", "a@b.c", "d@e.f", 0, "", { NULL }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "permit_tls_all_clientcerts, reject", "a@b.c", "d@e.f", CERT, "", { NULL }, 0, NULL, NULL, NULL },
	{ "permit_tls_all_clientcerts, reject", "a@b.c", "d@e.f", 0, "", { NULL }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "check_ccert_access hash:/x", "a@b.c", "d@e.f", CERT, "table:AB:CD,EF:01", { "REJECT" }, 554, "5.7.1", "<AB:CD>: Client certificate rejected: Access denied", NULL },
	/* would they be taken where they are? */
	{ "reject_unverified_recipient, reject", "a@b.c", "d@e.f", 0, "verify:d@e.f", { "250 fine" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "reject_unverified_recipient", "a@b.c", "d@e.f", 0, "verify:d@e.f", { "-" }, 450, "4.1.1", "<d@e.f>: Recipient address rejected: unverified address: -", NULL },
	{ "reject_unverified_sender", "a@b.c", "d@e.f", 0, "verify:a@b.c", { "?" }, 450, "4.1.7", "<a@b.c>: Sender address rejected: unverified address: ?", NULL },
	{ "reject_unverified_sender, reject", "a@b.c", "d@e.f", 0, "verify:a@b.c", { "?" }, 554, "5.7.1", "<d@e.f>: Recipient address rejected: Access denied", NULL },
	{ "warn_if_reject reject_unverified_sender", "a@b.c", "d@e.f", 0, "verify:a@b.c", { "-" }, 0, NULL, NULL, NULL },
	{ "reject_unverified_sender", "", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
	{ "reject_unverified_sender, reject_unverified_recipient", "a@b.c", "d@e.f", 0, "verify:a@b.c verify:d@e.f", { "", "-" }, 450, "4.1.1", "<d@e.f>: Recipient address rejected: unverified address: -", NULL },
	/* without effect, but taken */
	{ "permit_mx_backup, permit", "a@b.c", "d@e.f", 0, "", { NULL }, 0, NULL, NULL, NULL },
};
/* clang-format on */

static void
note_action(void *arg, enum action_kind kind, const char *argument, const char *text)
{
	static const char *const names[] = { [ACTION_HOLD] = "HOLD",
		[ACTION_DISCARD] = "DISCARD",
		[ACTION_REDIRECT] = "REDIRECT",
		[ACTION_PREPEND] = "PREPEND",
		[ACTION_WARN] = "WARN",
		[ACTION_RESTRICTIONS] = "list" };

	buf_printf(arg, "%s(%s) %s;", names[kind], argument, text);
}

static void
note_question(const struct restrict_question *q, struct buf *asked)
{
	if (asked->len > 0)
		buf_append_byte(asked, ' ');
	switch (q->kind) {
	case ASK_TABLE:
		buf_append_str(asked, "table:");
		for (size_t i = 0; i < q->nkeys; i++)
			buf_printf(asked, "%s%s%.*s%s", i > 0 ? "," : "", q->keys[i].is_partial ? "(" : "",
			    VIEW_ARG(q->keys[i].text), q->keys[i].is_partial ? ")" : "");
		break;
	case ASK_DNSBL:
		buf_printf(asked, "dnsbl:%s", q->name);
		break;
	case ASK_HOSTS:
		buf_printf(asked, "%s:%s", q->hosts == HOSTS_MX ? "mx" : q->hosts == HOSTS_NS ? "ns" : "a", q->name);
		break;
	case ASK_POLICY:
		buf_append_str(asked, "policy:");
		break;
	case ASK_SLEEP:
		buf_printf(asked, "sleep:%u", q->seconds);
		break;
	case ASK_VERIFY:
		buf_printf(asked, "verify:%s", q->address);
		break;
	default:
		fail_msg("a fact is asked for");
	}
}

static void
give_answer(struct restrict_ctx *c, const char *text)
{
	char words[200], *hosts[RESTRICT_HOSTS_MAX], *rest = words;
	struct restrict_answer a = { .result = LOOKUP_FOUND, .value = text };

	snprintf(words, sizeof words, "%s", text);
	if (strcmp(text, "-") == 0)
		a.result = LOOKUP_NONE;
	else if (strcmp(text, "?") == 0)
		a.result = LOOKUP_TEMP;
	else if (c->question.kind == ASK_HOSTS)
		while ((hosts[a.nhosts] = strtok_r(rest, " ", &rest)) != NULL)
			a.nhosts++;
	a.hosts = (const char *const *)hosts;
	restrict_answer(c, &a);
}

static void
test_questions(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof askings / sizeof askings[0]; i++) {
		const struct asking_case *t = &askings[i];
		const struct restrict_case known = { RESTRICT_RECIPIENT, t->names, "h.i", t->sender,
			t->recipient, t->flags, FACT_RCPT, FACT_YES, 0, NULL, NULL };
		struct restrict_list lists[RESTRICT_LISTS] = { 0 };
		struct buf asked, actions;
		struct restrict_ctx c;
		enum restrict_verdict v;
		size_t n = 0;

		buf_init(&asked, 2000);
		buf_init(&actions, 2000);
		parse(&lists[RESTRICT_RECIPIENT], RESTRICT_RECIPIENT, t->names);
		fill(&c, &known, lists);
		for (size_t f = 0; f < FACT_COUNT; f++)
			c.facts[f] = FACT_YES;
		c.on_action = note_action;
		c.arg = &actions;
		restrict_start(&c, 1u << RESTRICT_RECIPIENT);
		while ((v = restrict_run(&c)) == RESTRICT_NEED) {
			note_question(&c.question, &asked);
			assert_non_null(t->answers[n]);
			give_answer(&c, t->answers[n++]);
		}
		assert_string_equal(buf_cstr(&asked), t->asked);
		assert_string_equal(buf_cstr(&actions), t->actions != NULL ? t->actions : "");
		if (v != (t->code ? RESTRICT_REJECT : RESTRICT_PERMIT))
			fail_msg("%s: verdict %d", t->names, v);
		if (t->code != 0) {
			assert_int_equal(c.reply.code, t->code);
			assert_string_equal(c.reply.text, t->text);
			assert_string_equal(c.reply.dsn, t->dsn);
		}
		restrict_clear(&c);
		restrict_list_clear(&lists[RESTRICT_RECIPIENT]);
		buf_clear(&asked);
		buf_clear(&actions);
	}
}

static struct buf verdicts;

static void
on_verdict(void *arg, const char *verdict)
{
	const struct restrict_ctx *c = arg;

	buf_printf(&verdicts, "%s:%s ",
	    c->item->what != NULL ? c->item->what->name
				  : restrict_class_param(c->env, c->item->class),
	    verdict);
}

/* Each restriction that is looked at comes to one verdict. */
static void
test_verdicts(void **state)
{
	static const struct {
		const char *names, *wanted;
	} rows[] = {
		{ "permit_mynetworks, reject, permit", "permit_mynetworks:DUNNO reject:REJECT " },
		{ "warn_if_reject reject, permit", "reject:WARN permit:OK " },
		{ "defer_if_permit, defer_if_permit, permit",
		    "defer_if_permit:DEFER_IF_PERMIT defer_if_permit:DUNNO permit:OK " },
		{ "strict, permit",
		    "strict:LIST reject_non_fqdn_sender:DUNNO check_recipient_access:DUNNO permit:OK " },
		{ "check_sender_access inline:{a@b.c=reject_non_fqdn_recipient}, permit",
		    "check_sender_access:LIST reject_non_fqdn_recipient:DUNNO permit:OK " },
		{ "reject_unknown_recipient_domain", "reject_unknown_recipient_domain:DUNNO " },
	};
	const struct restrict_case t = { .helo = "h.i", .sender = "a@b.c", .recipient = "d@e.f" };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct restrict_list lists[RESTRICT_LISTS] = { 0 };
		struct restrict_ctx c;

		parse(&lists[RESTRICT_RECIPIENT], RESTRICT_RECIPIENT, rows[i].names);
		fill(&c, &t, lists);
		c.on_verdict = on_verdict;
		c.arg = &c;
		buf_init(&verdicts, 1000);
		restrict_start(&c, 1u << RESTRICT_RECIPIENT);
		while (restrict_run(&c) == RESTRICT_NEED) {
			if (c.question.kind == ASK_FACT)
				c.facts[c.question.fact] = FACT_YES;
			else
				restrict_answer(
				    &c, &(struct restrict_answer){
					    .result = view_eq_str(c.question.keys[0].text, "a@b.c")
							  ? LOOKUP_FOUND
							  : LOOKUP_NONE,
					    .value = "reject_non_fqdn_recipient" });
		}
		assert_string_equal(buf_cstr(&verdicts), rows[i].wanted);
		buf_clear(&verdicts);
		restrict_clear(&c);
		restrict_list_clear(&lists[RESTRICT_RECIPIENT]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_faults_name_their_parameter),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
