#include "smtpd/policy.h"
#include "common/base/mem.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "smtpd/anvil_client.h"
#include "smtpd/client_cert.h"
#include "smtpd/client_name.h"
#include "smtpd/dnsbl.h"
#include "smtpd/explain.h"
#include "smtpd/host_lookup.h"
#include "smtpd/policy_request.h"
#include "smtpd/policy_service.h"
#include "smtpd/rcpt_lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"
#include "smtpd/verdicts.h"

#include <stdio.h>
#include <stdlib.h>

struct smtpd_policy {
	struct restrict_ctx ctx;
	gate_then *then;
	bool is_waiting;
	bool has_fetched; /* a fact that the run asked for */
	/* the one question under way, by kind; owned */
	struct domain_lookup *domain;
	struct smtpd_lookup *lookup;
	struct dnsbl_lookup *dnsbl;
	struct host_lookup *hosts;
	struct policy_call *service;
	struct anvil_call *anvil;
	struct ipc_call *verify;
	struct loop_timer sleep;
};

enum {
	POLICY_REQUEST_MAX = 32768,
	TABLE_ANSWER_MAX = 8192,
	VERIFY_SLACK_MS = 10000, /* qmgr keeps the time itself */
};

#define BIT(list) (1u << (list))

/* Which lists a stage evaluates (Postfix: smtpd_delay_reject = yes puts everything before RCPT off until RCPT, so
 * that the log shows whom a refused message was for, and clients that mind early refusals are not confused). */
static unsigned
stage_lists(const struct smtpd_session *s, enum smtpd_stage stage)
{
	const struct smtpd_config *conf = s->server->conf;
	const unsigned client = BIT(RESTRICT_CLIENT), helo = client | BIT(RESTRICT_HELO),
		       sender = helo | BIT(RESTRICT_SENDER) | BIT(RESTRICT_UNLISTED_SENDER);
	const unsigned recipient =
	    BIT(RESTRICT_RELAY) | BIT(RESTRICT_RECIPIENT) | BIT(RESTRICT_UNLISTED);

	switch (stage) {
	case STAGE_HELO:
		return conf->delays_reject ? 0 : helo;
	case STAGE_MAIL:
		return conf->delays_reject ? 0 : sender;
	case STAGE_RCPT:
		return conf->delays_reject || s->defers_if_permit ? sender | recipient : recipient;
	case STAGE_DATA:
		return BIT(RESTRICT_DATA);
	case STAGE_END_OF_DATA:
		return BIT(RESTRICT_END_OF_DATA);
	default:
		return 0;
	}
}

static bool
has_items(const struct smtpd_config *conf, unsigned lists)
{
	for (size_t i = 0; i < RESTRICT_LISTS; i++)
		if ((lists & BIT(i)) && conf->restrictions[i].count > 0)
			return true;
	return false;
}

static void
on_warn(void *arg, const struct restrict_reply *r)
{
	struct smtpd_session *s = arg;

	smtpd_log_reject(s, "reject_warning", smtpd_session_where(s), r->code, r->dsn, r->text);
}

static void
on_verdict(void *arg, const char *verdict)
{
	struct smtpd_session *s = arg;

	smtpd_explain_verdict(s, &s->policy->ctx, verdict);
}

/* --- what access(5) actions do to the message ------------------------------------------------------- */

static void
on_action(void *arg, enum action_kind kind, const char *argument, const char *text)
{
	struct smtpd_session *s = arg;
	char word[ACTION_WORD_MAX];

	if (kind == ACTION_RESTRICTIONS) {
		log_warn("a table answered \"%s\": %s", lqs(argument), text);
		return;
	}
	smtpd_explain_step(s, "action", "action", action_word(kind), "value", argument);
	smtpd_log_action(s, action_log_word(kind, word), text);
	if (kind == ACTION_INFO || kind == ACTION_WARN)
		return;
	/* Postfix says the same of client and helo restrictions */
	if (s->tx == NULL)
		log_warn("with smtpd_delay_reject = no, action %s is skipped before MAIL", word);
	else if (!smtpd_verdict_apply(s->tx, kind, argument))
		log_warn("action %s %s is malformed, and ignored", word, lqs(argument));
}

/* --- what is known ------------------------------------------------------------------------------------ */

static void
fill_ctx(struct smtpd_session *s, enum smtpd_stage stage, struct restrict_ctx *c)
{
	const struct smtpd_transaction *tx = s->tx;

	c->env = s->server->conf->restrict_env;
	c->lists = s->server->conf->restrictions;
	c->client = &s->client.address;
	c->client_ip = s->client.ip;
	c->helo = stage == STAGE_HELO ? s->args->text : s->helo;
	c->sender = tx != NULL            ? tx->sender.text
		    : stage == STAGE_MAIL ? s->args->address.text
					  : NULL;
	c->recipient = stage == STAGE_RCPT ? s->args->address.text : NULL;
	c->in_mynetworks = s->client.in_mynetworks;
	c->is_authenticated = s->login != NULL;
	c->login = s->login;
	c->has_tls = smtpd_session_has_tls(s);
	if (s->client.cert != NULL) {
		c->cert_fingerprint = s->client.cert->fingerprint;
		c->cert_key_fingerprint = s->client.cert->key_fingerprint;
		c->cert_is_trusted = s->client.cert->is_trusted;
	}
	c->has_pipelined = s->has_pipelined;
	c->nrcpts = tx != NULL ? tx->naccepted : 0;
	c->on_verdict = s->explain != NULL ? on_verdict : NULL;
	c->on_warn = on_warn;
	c->on_action = on_action;
	c->arg = s;
}

/* Facts of the session and the transaction; looked up again they would not change. */
static void
fill_facts(struct smtpd_session *s, struct restrict_ctx *c)
{
	c->client_name = smtpd_client_name(s);
	c->reverse_name = s->client.reverse;
	c->facts[FACT_CLIENT_NAME] = s->client.is_named ? s->client.name_fact : FACT_UNKNOWN;
	c->facts[FACT_CLIENT_REVERSE] = s->client.is_named ? s->client.reverse_fact : FACT_UNKNOWN;
	c->facts[FACT_HELO_HOST] = s->helo_fact;
	if (s->tx == NULL)
		return;
	c->facts[FACT_SENDER_DOMAIN] = s->tx->sender_domain;
	c->facts[FACT_SENDER_USER] = s->tx->sender_user;
	c->facts[FACT_RCPT] = s->tx->found.fact;
	c->rcpt_is_local = s->tx->found.destination != AUTHD_FOREIGN;
	c->rcpt_is_relayed = s->tx->found.destination == AUTHD_RELAYED;
	c->rcpt_why = s->tx->found.why;
	c->sender_why = s->tx->sender_why;
}

void
smtpd_policy_free(struct smtpd_session *s)
{
	struct smtpd_policy *p = s->policy;

	if (p == NULL)
		return;
	domain_lookup_cancel(p->domain);
	smtpd_lookup_cancel(p->lookup);
	dnsbl_lookup_cancel(p->dnsbl);
	host_lookup_cancel(p->hosts);
	policy_call_cancel(p->service);
	anvil_call_cancel(p->anvil);
	ipc_call_cancel(p->verify);
	loop_timer_stop(&p->sleep);
	restrict_clear(&p->ctx);
	x_free(&s->policy);
}

/* --- facts ---------------------------------------------------------------------------------------------- */

static void
on_domain(void *arg, enum restrict_fact fact)
{
	struct smtpd_session *s = arg;
	struct smtpd_policy *p = s->policy;

	p->domain = NULL;
	p->ctx.facts[p->ctx.question.fact] = fact;
	if (p->ctx.question.fact == FACT_HELO_HOST)
		s->helo_fact = fact;
	if (p->ctx.question.fact == FACT_SENDER_DOMAIN && s->tx != NULL)
		s->tx->sender_domain = fact;
	smtpd_policy_continue(s);
}

static void
fetch_domain(struct smtpd_session *s, const char *domain)
{
	struct smtpd_policy *p = s->policy;

	p->domain = domain_lookup_start(s->server->dnsd, s->server->loop, domain, on_domain, s);
}

static void
fetch_fact(struct smtpd_session *s)
{
	struct restrict_ctx *c = &s->policy->ctx;

	s->policy->has_fetched = true;
	switch (c->question.fact) {
	case FACT_CLIENT_NAME:
	case FACT_CLIENT_REVERSE:
		smtpd_client_await_name(s);
		break;
	case FACT_HELO_HOST:
		fetch_domain(s, c->helo);
		break;
	case FACT_SENDER_DOMAIN:
		fetch_domain(s, address_domain(c->sender));
		break;
	case FACT_SENDER_USER:
		smtpd_sender_lookup(s, c->sender);
		break;
	case FACT_RCPT_DOMAIN:
		fetch_domain(s, address_domain(c->recipient));
		break;
	default:
		smtpd_rcpt_lookup(s, c->recipient);
	}
}

/* --- questions -------------------------------------------------------------------------------------------- */

/* which: of a table's keys */
static void
answer_for(struct smtpd_session *s, const struct restrict_answer *a, size_t which)
{
	restrict_answer(&s->policy->ctx, a);
	smtpd_explain_answer(s, &s->policy->ctx, which);
	smtpd_policy_continue(s);
}

static void
answer(struct smtpd_session *s, const struct restrict_answer *a)
{
	answer_for(s, a, 0);
}

static void
on_lookup(void *arg, enum lookup_result r, size_t which, const char *value)
{
	struct smtpd_session *s = arg;

	s->policy->lookup = NULL;
	answer_for(s, &(struct restrict_answer){ .result = r, .value = value }, which);
}

static void
on_dnsbl(void *arg, const struct dnsbl_answer *a)
{
	struct smtpd_session *s = arg;
	struct restrict_answer r = { .value = a->text, .address = a->address };

	s->policy->dnsbl = NULL;
	r.result = a->fact == FACT_YES  ? LOOKUP_FOUND
		   : a->fact == FACT_NO ? LOOKUP_NONE
					: LOOKUP_TEMP;
	answer(s, &r);
}

static void
on_hosts(void *arg, const char *const *hosts, size_t count)
{
	struct smtpd_session *s = arg;

	s->policy->hosts = NULL;
	answer(s,
	    &(struct restrict_answer){ .result = LOOKUP_FOUND, .hosts = hosts, .nhosts = count });
}

static void
on_service(void *arg, const char *action)
{
	struct smtpd_session *s = arg;

	s->policy->service = NULL;
	answer(s, &(struct restrict_answer){ .result = LOOKUP_FOUND, .value = action });
}

static void
on_sleep(void *arg)
{
	answer(arg, &(struct restrict_answer){ .result = LOOKUP_FOUND });
}

static void
ask_service(struct smtpd_session *s)
{
	struct smtpd_policy *p = s->policy;
	struct buf request;

	buf_init(&request, POLICY_REQUEST_MAX);
	smtpd_policy_request(s, &p->ctx, policy_service_context(p->ctx.question.service), &request);
	p->service = policy_call_start(p->ctx.question.service, s->server->loop, s->server->dialer,
	    buf_view(&request), on_service, s);
	buf_clear(&request);
}

static const struct restrict_answer permitted_answer = { .result = LOOKUP_FOUND, .value = "DUNNO" };

/* Postgrey's words. */
static void
on_greylist(void *arg, const struct anvil_answer *a)
{
	struct smtpd_session *s = arg;
	char action[100];

	s->policy->anvil = NULL;
	snprintf(
	    action, sizeof action, "450 4.2.0 Greylisted, see you again in %u seconds", a->seconds);
	if (a->is_known && a->greylist == ANVIL_GREY_WAIT)
		answer(s, &(struct restrict_answer){ .result = LOOKUP_FOUND, .value = action });
	else
		answer(s, &permitted_answer);
}

/* False: there is nobody to ask, and the recipient is permitted. */
static bool
ask_greylist(struct smtpd_session *s)
{
	const unsigned *bits = s->server->conf->rate.greylist_bits;
	struct smtpd_policy *p = s->policy;
	char network[ADDR_TEXT];

	anvil_network(&s->client.address, bits[0], bits[1], network);
	p->anvil = anvil_ask_greylist(
	    s->server, network, p->ctx.sender, p->ctx.recipient, s->client.name, on_greylist, s);
	if (p->anvil == NULL)
		restrict_answer(&p->ctx, &permitted_answer);
	return p->anvil != NULL;
}

static void
on_verified(void *arg, struct ipc_in *in)
{
	static const enum lookup_result results[] = { LOOKUP_FOUND, LOOKUP_TEMP, LOOKUP_NONE,
		LOOKUP_TEMP };
	struct smtpd_session *s = arg;
	struct restrict_answer a = { .result = LOOKUP_TEMP, .value = "" };
	uint32_t status = in != NULL ? ipc_get_u32(in) : UINT32_MAX;

	s->policy->verify = NULL;
	if (status < sizeof results / sizeof results[0]) {
		a.result = results[status];
		a.value = ipc_get_str(in);
	} else {
		log_warn(
		    "no answer from qmgr about address <%s>", lqs(s->policy->ctx.question.address));
	}
	answer(s, &a);
}

static void
ask_verify(struct smtpd_session *s)
{
	int64_t wait_ms = smtpd_server_patience(s->server)->verify_wait_ms;
	struct smtpd_policy *p = s->policy;
	char client[ADDR_TEXT];
	struct ipc_out o;

	anvil_network(&s->client.address, 32, 64, client);
	ipc_out_init(&o, QMGR_VERIFY);
	ipc_put_str(&o, p->ctx.question.address);
	ipc_put_str(&o, client);
	ipc_put_u32(&o, (uint32_t)wait_ms);
	p->verify = ipc_edge_ask(
	    s->server->qmgr, &o, QMGR_VERIFIED_SIG, wait_ms + VERIFY_SLACK_MS, on_verified, s);
}

/* From memory where the tables are there.  True: answered. */
static bool
is_looked_up(struct smtpd_session *s, struct restrict_ctx *c)
{
	struct restrict_question *q = &c->question;
	struct restrict_answer a = { 0 };
	struct buf value;
	struct err err;
	size_t which = 0;

	buf_init(&value, TABLE_ANSWER_MAX);
	a.result = smtpd_lookup_now(q->tables, q->keys, q->nkeys, &value, &which, &err);
	a.value = buf_cstr(&value);
	if (a.result == LOOKUP_TEMP)
		log_warn("%s: table lookup problem: %s", smtpd_tables_name(q->tables), err.text);
	if (a.result != LOOKUP_ASK) {
		restrict_answer(c, &a);
		smtpd_explain_answer(s, c, which);
	}
	buf_clear(&value);
	return a.result != LOOKUP_ASK;
}

static void
fetch(struct smtpd_session *s)
{
	struct smtpd_policy *p = s->policy;
	struct restrict_question *q = &p->ctx.question;

	p->is_waiting = true;
	switch (q->kind) {
	case ASK_FACT:
		fetch_fact(s);
		break;
	case ASK_TABLE:
		p->lookup =
		    smtpd_lookup_start(s->server, q->tables, q->keys, q->nkeys, on_lookup, s);
		break;
	case ASK_DNSBL:
		p->dnsbl = dnsbl_lookup_start(s->server->dnsd, q->name, q->site, true, on_dnsbl, s);
		break;
	case ASK_HOSTS:
		p->hosts = host_lookup_start(s->server->dnsd, q->name, q->hosts, on_hosts, s);
		break;
	case ASK_POLICY:
		ask_service(s);
		break;
	case ASK_GREYLIST: /* was asked by is_settled */
		break;
	case ASK_VERIFY:
		ask_verify(s);
		break;
	case ASK_SLEEP:
		loop_timer_start(&p->sleep, (int64_t)q->seconds * 1000);
		break;
	}
}

/* Who remembers that he was asked is not asked for a client that is only claimed. */
static bool
skip(struct smtpd_session *s, struct restrict_ctx *c, const char *what)
{
	smtpd_explain_step(s, "not_asked", "name", what);
	restrict_answer(c, &permitted_answer);
	return true;
}

/* What needs nobody: a table in memory; and with nobody to ask, not knowing is "try again", never "no". */
static bool
is_settled(struct smtpd_session *s, struct restrict_ctx *c)
{
	struct restrict_question *q = &c->question;
	bool has_dns = s->server->dnsd != NULL;

	switch (q->kind) {
	case ASK_FACT:
		if (has_dns || q->fact == FACT_RCPT || q->fact == FACT_SENDER_USER ||
		    q->fact == FACT_CLIENT_NAME || q->fact == FACT_CLIENT_REVERSE)
			return false;
		c->facts[q->fact] = FACT_TEMP;
		return true;
	case ASK_TABLE:
		return is_looked_up(s, c);
	case ASK_DNSBL:
	case ASK_HOSTS:
		if (!has_dns)
			restrict_answer(c, &(struct restrict_answer){ .result = LOOKUP_TEMP });
		return !has_dns;
	case ASK_POLICY:
		return !smtpd_explain_asks_policy(s) && skip(s, c, "policy_service");
	case ASK_GREYLIST:
		return s->explain != NULL ? skip(s, c, "greylist") : !ask_greylist(s);
	case ASK_VERIFY:
		return s->explain != NULL && skip(s, c, "address_verification");
	case ASK_SLEEP:
		return s->explain != NULL && skip(s, c, "sleep");
	default:
		return false;
	}
}

static void
refuse(struct smtpd_session *s, const struct restrict_reply *r)
{
	smtpd_log_reject(s, "reject", smtpd_session_where(s), r->code, r->dsn, r->text);
	smtpd_reply(s, r->code, r->dsn, "%s", r->text);
	if (s->gate.stage == STAGE_RCPT && s->tx != NULL && strncmp(r->dsn, "5.1.", 4) == 0)
		s->tx->unknown_rcpts++;
	/* RFC 5321 3.8, RFC 7504 3: these two say that the connection ends */
	if (r->code == 421 || r->code == 521)
		smtpd_session_end(s);
}

/* defer_if_permit waits for the last chance of a refusal: the lists are looked at once more at RCPT. */
static bool
is_put_off(struct smtpd_session *s)
{
	bool is_early = s->gate.stage < STAGE_RCPT;

	if (is_early)
		s->defers_if_permit = s->policy->ctx.is_deferral;
	return is_early && s->defers_if_permit;
}

/* Runs as far as the facts reach. */
static enum cmd_result
policy_step(struct smtpd_session *s)
{
	struct smtpd_policy *p = s->policy;
	gate_then *then = p->then;
	enum restrict_verdict v;
	bool permitted;

	fill_facts(s, &p->ctx);
	if (p->has_fetched)
		smtpd_explain_answer(s, &p->ctx, 0);
	p->has_fetched = false;
	while ((v = restrict_run(&p->ctx)) == RESTRICT_NEED && is_settled(s, &p->ctx))
		;
	if (v == RESTRICT_NEED) {
		fetch(s);
		return CMD_WAIT;
	}
	permitted = is_put_off(s) || v == RESTRICT_PERMIT;
	if (!permitted)
		refuse(s, &p->ctx.reply);
	smtpd_policy_free(s);
	return then(s, permitted);
}

enum cmd_result
smtpd_policy_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	const char *own = s->server->conf->probe_sender;
	unsigned lists = stage_lists(s, stage);

	/* postconf(5), address_verify_sender: else a probe in answer to a probe could ask for one in turn; but mail for others
	 * than us stays nobody's */
	if (stage == STAGE_RCPT && own[0] != '\0' && strcasecmp(s->args->address.text, own) == 0)
		lists = BIT(RESTRICT_RELAY);
	if (!has_items(s->server->conf, lists))
		return then(s, true);
	s->policy = x_calloc(1, sizeof *s->policy);
	s->policy->then = then;
	loop_timer_init(&s->policy->sleep, s->server->loop, on_sleep, s);
	fill_ctx(s, stage, &s->policy->ctx);
	restrict_start(&s->policy->ctx, lists);
	return policy_step(s);
}

void
smtpd_policy_sender_found(struct smtpd_session *s, enum restrict_fact fact, const char *why)
{
	struct restrict_ctx *c = &s->policy->ctx;

	c->facts[FACT_SENDER_USER] = fact;
	c->sender_why = arena_strdup(&c->arena, why);
	if (s->tx != NULL) {
		s->tx->sender_user = fact;
		s->tx->sender_why = arena_strdup(&s->tx->arena, why);
	}
	smtpd_policy_continue(s);
}

bool
smtpd_policy_needs_name(const struct smtpd_session *s)
{
	const struct restrict_question *q = &s->policy->ctx.question;

	return s->policy->is_waiting && q->kind == ASK_FACT &&
	       (q->fact == FACT_CLIENT_NAME || q->fact == FACT_CLIENT_REVERSE);
}

void
smtpd_policy_continue(struct smtpd_session *s)
{
	s->policy->is_waiting = false;
	smtpd_gate_settled(s, policy_step(s));
}
