#include "smtpd/policy.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/client_name.h"
#include "smtpd/rcpt_lookup.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdlib.h>

struct smtpd_policy {
	struct restrict_ctx ctx;
	gate_then *then;
	struct domain_lookup *domain; /* owned */
	bool is_waiting;
};

#define BIT(list) (1u << (list))

/* Which lists a stage evaluates (Postfix: smtpd_delay_reject = yes puts everything before RCPT off until RCPT, so
 * that the log shows whom a refused message was for, and clients that mind early refusals are not confused). */
static unsigned
stage_lists(const struct smtpd_config *conf, enum smtpd_stage stage)
{
	const unsigned client = BIT(RESTRICT_CLIENT), helo = client | BIT(RESTRICT_HELO),
		       sender = helo | BIT(RESTRICT_SENDER);
	const unsigned recipient =
	    BIT(RESTRICT_RELAY) | BIT(RESTRICT_RECIPIENT) | BIT(RESTRICT_UNLISTED);

	switch (stage) {
	case STAGE_HELO:
		return conf->delays_reject ? 0 : helo;
	case STAGE_MAIL:
		return conf->delays_reject ? 0 : sender;
	case STAGE_RCPT:
		return conf->delays_reject ? sender | recipient : recipient;
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
fill_ctx(struct smtpd_session *s, enum smtpd_stage stage, struct restrict_ctx *c)
{
	const struct smtpd_transaction *tx = s->tx;

	c->lists = s->server->conf->restrictions;
	c->client_ip = s->client.ip;
	c->helo = stage == STAGE_HELO ? s->args->text : s->helo;
	c->sender = tx != NULL            ? tx->sender.text
		    : stage == STAGE_MAIL ? s->args->address.text
					  : NULL;
	c->recipient = stage == STAGE_RCPT ? s->args->address.text : NULL;
	c->in_mynetworks = s->client.in_mynetworks;
	c->is_authenticated = s->login != NULL;
	c->has_tls = smtpd_session_has_tls(s);
	c->has_pipelined = s->has_pipelined;
	c->nrcpts = tx != NULL ? tx->naccepted : 0;
	c->on_warn = on_warn;
	c->on_warn_arg = s;
}

/* Facts of the session and the transaction; looked up again they would not change. */
static void
fill_facts(struct smtpd_session *s, struct restrict_ctx *c)
{
	c->client_name = s->client.name != NULL ? s->client.name : "unknown";
	c->facts[FACT_CLIENT_NAME] = s->client.is_named ? s->client.name_fact : FACT_UNKNOWN;
	c->facts[FACT_CLIENT_REVERSE] = s->client.is_named ? s->client.reverse_fact : FACT_UNKNOWN;
	c->facts[FACT_HELO_HOST] = s->helo_fact;
	if (s->tx == NULL)
		return;
	c->facts[FACT_SENDER_DOMAIN] = s->tx->sender_domain;
	c->facts[FACT_RCPT] = s->tx->found.fact;
	c->rcpt_is_local = s->tx->found.is_local;
}

void
smtpd_policy_free(struct smtpd_session *s)
{
	if (s->policy == NULL)
		return;
	domain_lookup_cancel(s->policy->domain);
	x_free(&s->policy);
}

static void
on_domain(void *arg, enum restrict_fact fact)
{
	struct smtpd_session *s = arg;
	struct smtpd_policy *p = s->policy;

	p->domain = NULL;
	p->ctx.facts[p->ctx.need] = fact;
	if (p->ctx.need == FACT_HELO_HOST)
		s->helo_fact = fact;
	if (p->ctx.need == FACT_SENDER_DOMAIN && s->tx != NULL)
		s->tx->sender_domain = fact;
	smtpd_policy_continue(s);
}

static const char *
domain_part(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : address;
}

static void
fetch_domain(struct smtpd_session *s, const char *domain)
{
	struct smtpd_policy *p = s->policy;

	p->domain = domain_lookup_start(s->server->dnsd, s->server->loop, domain, on_domain, s);
}

static void
fetch(struct smtpd_session *s)
{
	struct restrict_ctx *c = &s->policy->ctx;

	s->policy->is_waiting = true;
	switch (c->need) {
	case FACT_CLIENT_NAME:
	case FACT_CLIENT_REVERSE:
		smtpd_client_await_name(s);
		break;
	case FACT_HELO_HOST:
		fetch_domain(s, c->helo);
		break;
	case FACT_SENDER_DOMAIN:
		fetch_domain(s, domain_part(c->sender));
		break;
	case FACT_RCPT_DOMAIN:
		fetch_domain(s, domain_part(c->recipient));
		break;
	default:
		smtpd_rcpt_lookup(s, c->recipient);
	}
}

/* Without dnsd there is nobody to ask: not knowing is "try again", never "no". */
static bool
is_answerable(const struct smtpd_session *s, enum restrict_fact_id need)
{
	return s->server->dnsd != NULL || need == FACT_RCPT || need == FACT_CLIENT_NAME ||
	       need == FACT_CLIENT_REVERSE;
}

static void
refuse(struct smtpd_session *s, const struct restrict_reply *r)
{
	smtpd_log_reject(s, "reject", smtpd_session_where(s), r->code, r->dsn, r->text);
	smtpd_reply(s, r->code, r->dsn, "%s", r->text);
}

/* Runs as far as the facts reach. */
static enum cmd_result
policy_step(struct smtpd_session *s)
{
	struct smtpd_policy *p = s->policy;
	gate_then *then = p->then;
	enum restrict_verdict v;

	fill_facts(s, &p->ctx);
	while ((v = restrict_run(&p->ctx)) == RESTRICT_NEED && !is_answerable(s, p->ctx.need))
		p->ctx.facts[p->ctx.need] = FACT_TEMP;
	if (v == RESTRICT_NEED) {
		fetch(s);
		return CMD_WAIT;
	}
	if (v == RESTRICT_REJECT)
		refuse(s, &p->ctx.reply);
	smtpd_policy_free(s);
	return then(s, v == RESTRICT_PERMIT);
}

enum cmd_result
smtpd_policy_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	unsigned lists = stage_lists(s->server->conf, stage);

	if (!has_items(s->server->conf, lists))
		return then(s, true);
	s->policy = x_calloc(1, sizeof *s->policy);
	s->policy->then = then;
	fill_ctx(s, stage, &s->policy->ctx);
	restrict_start(&s->policy->ctx, lists);
	return policy_step(s);
}

bool
smtpd_policy_needs_name(const struct smtpd_session *s)
{
	return s->policy->is_waiting && (s->policy->ctx.need == FACT_CLIENT_NAME ||
					    s->policy->ctx.need == FACT_CLIENT_REVERSE);
}

void
smtpd_policy_continue(struct smtpd_session *s)
{
	s->policy->is_waiting = false;
	smtpd_gate_settled(s, policy_step(s));
}
