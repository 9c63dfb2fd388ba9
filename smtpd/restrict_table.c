#include "smtpd/restrict_table.h"
#include "common/config/nearest.h"
#include "common/config/restrictions.h"
#include "common/proto/address.h"

/* Asks for a fact that is not there yet: "if (!have(c, FACT_X)) return RESULT_NEED;" */
static bool
have(struct restrict_ctx *c, enum restrict_fact_id id)
{
	c->need = id;
	return c->facts[id] != FACT_UNKNOWN;
}

static bool
is_empty(const char *s)
{
	return s == NULL || s[0] == '\0';
}

static const char *
domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : "";
}

/* Postfix: fully qualified is a name of at least two labels, or an address literal. */
static bool
is_fqdn(const char *name)
{
	return hostname_is_valid(view_of(name), true) &&
	       (name[0] == '[' || strchr(name, '.') != NULL);
}

static enum restrict_result
permit(struct restrict_ctx *c)
{
	(void)c;
	return RESULT_OK;
}

static enum restrict_result
reject(struct restrict_ctx *c)
{
	return restrict_refuse_list(c, 554, "5.7.1", "Access denied");
}

static enum restrict_result
defer(struct restrict_ctx *c)
{
	return restrict_refuse_list(c, 450, "4.3.2", "Try again later");
}

static enum restrict_result
defer_if_permit(struct restrict_ctx *c)
{
	return restrict_defer_if_permit(c, "4.7.0",
	    "<%s>: Recipient address rejected: defer_if_permit requested",
	    c->recipient != NULL ? c->recipient : "");
}

static enum restrict_result
defer_if_reject(struct restrict_ctx *c)
{
	c->defer_if_reject = true;
	return RESULT_DUNNO;
}

static enum restrict_result
permit_mynetworks(struct restrict_ctx *c)
{
	return c->in_mynetworks ? RESULT_OK : RESULT_DUNNO;
}

static enum restrict_result
permit_sasl_authenticated(struct restrict_ctx *c)
{
	return c->is_authenticated ? RESULT_OK : RESULT_DUNNO;
}

static enum restrict_result
temporary_lookup_failure(struct restrict_ctx *c)
{
	return restrict_refuse(c, 451, "4.3.0", "<%s>: Temporary lookup failure", c->recipient);
}

static enum restrict_result
permit_auth_destination(struct restrict_ctx *c)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->facts[FACT_RCPT] == FACT_TEMP)
		return temporary_lookup_failure(c);
	return c->rcpt_is_local ? RESULT_OK : RESULT_DUNNO;
}

/* The one that keeps us from being an open relay: not knowing is never a yes. */
static enum restrict_result
unauth_destination(struct restrict_ctx *c, int code, const char *dsn)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->facts[FACT_RCPT] == FACT_TEMP)
		return temporary_lookup_failure(c);
	if (c->rcpt_is_local)
		return RESULT_DUNNO;
	return restrict_refuse(c, code, dsn, "<%s>: Relay access denied", c->recipient);
}

static enum restrict_result
reject_unauth_destination(struct restrict_ctx *c)
{
	return unauth_destination(c, 554, "5.7.1");
}

static enum restrict_result
defer_unauth_destination(struct restrict_ctx *c)
{
	return unauth_destination(c, 454, "4.7.1");
}

static enum restrict_result
reject_unlisted_recipient(struct restrict_ctx *c)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!have(c, FACT_RCPT))
		return RESULT_NEED;
	switch (c->facts[FACT_RCPT]) {
	case FACT_TEMP:
		return temporary_lookup_failure(c);
	case FACT_NO:
		return restrict_refuse(c, 550, "5.1.1",
		    "<%s>: Recipient address rejected: User unknown in virtual mailbox table",
		    c->recipient);
	case FACT_FULL:
		/* temporary: the owner may make room before the sender's server gives up */
		return restrict_refuse(c, 452, "4.2.2",
		    "<%s>: Recipient address rejected: Mailbox is full", c->recipient);
	default:
		return RESULT_DUNNO;
	}
}

static enum restrict_result
reject_non_fqdn_sender(struct restrict_ctx *c)
{
	if (is_empty(c->sender) || is_fqdn(domain_of(c->sender)))
		return RESULT_DUNNO;
	return restrict_refuse(c, 504, "5.5.2",
	    "<%s>: Sender address rejected: need fully-qualified address", c->sender);
}

/* RFC 5321 4.5.1: "postmaster" alone is always an address */
static enum restrict_result
reject_non_fqdn_recipient(struct restrict_ctx *c)
{
	if (is_empty(c->recipient) || is_fqdn(domain_of(c->recipient)) ||
	    view_case_eq_str(view_of(c->recipient), "postmaster"))
		return RESULT_DUNNO;
	return restrict_refuse(c, 504, "5.5.2",
	    "<%s>: Recipient address rejected: need fully-qualified address", c->recipient);
}

static enum restrict_result
reject_unauth_pipelining(struct restrict_ctx *c)
{
	if (!c->has_pipelined)
		return RESULT_DUNNO;
	return restrict_refuse_list(c, 503, "5.5.0", "Improper use of SMTP command pipelining");
}

static enum restrict_result
reject_invalid_helo_hostname(struct restrict_ctx *c)
{
	if (is_empty(c->helo) || hostname_is_valid(view_of(c->helo), true))
		return RESULT_DUNNO;
	return restrict_refuse(
	    c, 501, "5.5.2", "<%s>: Helo command rejected: Invalid name", c->helo);
}

static enum restrict_result
reject_non_fqdn_helo_hostname(struct restrict_ctx *c)
{
	if (is_empty(c->helo) || is_fqdn(c->helo))
		return RESULT_DUNNO;
	return restrict_refuse(
	    c, 504, "5.5.2", "<%s>: Helo command rejected: need fully-qualified hostname", c->helo);
}

static enum restrict_result
reject_unknown_helo_hostname(struct restrict_ctx *c)
{
	if (is_empty(c->helo))
		return RESULT_DUNNO;
	if (!have(c, FACT_HELO_HOST))
		return RESULT_NEED;
	if (c->facts[FACT_HELO_HOST] == FACT_TEMP)
		return restrict_defer_if_permit(
		    c, "4.7.1", "<%s>: Helo command rejected: Host not found", c->helo);
	if (c->facts[FACT_HELO_HOST] == FACT_YES)
		return RESULT_DUNNO;
	return restrict_refuse(
	    c, 450, "4.7.1", "<%s>: Helo command rejected: Host not found", c->helo);
}

static enum restrict_result
reject_unknown_sender_domain(struct restrict_ctx *c)
{
	if (is_empty(c->sender) || domain_of(c->sender)[0] == '\0')
		return RESULT_DUNNO;
	if (!have(c, FACT_SENDER_DOMAIN))
		return RESULT_NEED;
	switch (c->facts[FACT_SENDER_DOMAIN]) {
	case FACT_YES:
		return RESULT_DUNNO;
	case FACT_NULL_MX: /* RFC 7505 4.2 */
		return restrict_refuse(c, 550, "5.7.27",
		    "<%s>: Sender address rejected: Domain %s does not accept mail (nullMX)",
		    c->sender, domain_of(c->sender));
	case FACT_TEMP:
		return restrict_defer_if_permit(
		    c, "4.1.8", "<%s>: Sender address rejected: Domain not found", c->sender);
	default:
		return restrict_refuse(
		    c, 450, "4.1.8", "<%s>: Sender address rejected: Domain not found", c->sender);
	}
}

static enum restrict_result
reject_unknown_recipient_domain(struct restrict_ctx *c)
{
	if (is_empty(c->recipient) || domain_of(c->recipient)[0] == '\0')
		return RESULT_DUNNO;
	/* our own domains are right without a look into DNS */
	if (!have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->rcpt_is_local && c->facts[FACT_RCPT] != FACT_TEMP)
		return RESULT_DUNNO;
	if (!have(c, FACT_RCPT_DOMAIN))
		return RESULT_NEED;
	switch (c->facts[FACT_RCPT_DOMAIN]) {
	case FACT_YES:
		return RESULT_DUNNO;
	case FACT_NULL_MX: /* RFC 7505 4.1 */
		return restrict_refuse(c, 556, "5.1.10",
		    "<%s>: Recipient address rejected: Domain %s does not accept mail (nullMX)",
		    c->recipient, domain_of(c->recipient));
	case FACT_TEMP:
		return restrict_defer_if_permit(
		    c, "4.1.2", "<%s>: Recipient address rejected: Domain not found", c->recipient);
	default:
		return restrict_refuse(c, 450, "4.1.2",
		    "<%s>: Recipient address rejected: Domain not found", c->recipient);
	}
}

static enum restrict_result
unknown_client(struct restrict_ctx *c, enum restrict_fact_id id, const char *dsn, const char *what)
{
	if (!have(c, id))
		return RESULT_NEED;
	if (c->facts[id] == FACT_YES)
		return RESULT_DUNNO;
	if (c->facts[id] == FACT_TEMP)
		return restrict_defer_if_permit(
		    c, dsn, "Client host rejected: cannot find your %s, [%s]", what, c->client_ip);
	return restrict_refuse(
	    c, 450, dsn, "Client host rejected: cannot find your %s, [%s]", what, c->client_ip);
}

static enum restrict_result
reject_unknown_client_hostname(struct restrict_ctx *c)
{
	return unknown_client(c, FACT_CLIENT_NAME, "4.7.25", "hostname");
}

static enum restrict_result
reject_unknown_reverse_client_hostname(struct restrict_ctx *c)
{
	return unknown_client(c, FACT_CLIENT_REVERSE, "4.7.1", "reverse hostname");
}

static enum restrict_result
reject_plaintext_session(struct restrict_ctx *c)
{
	if (c->has_tls)
		return RESULT_DUNNO;
	return restrict_refuse(c, 450, "4.7.1", "Session encryption is required");
}

/* A bounce has one recipient; decided where all are known. */
static enum restrict_result
reject_multi_recipient_bounce(struct restrict_ctx *c)
{
	if (c->sender == NULL || c->sender[0] != '\0' || c->nrcpts <= 1)
		return RESULT_DUNNO;
	return restrict_refuse_list(c, 550, "5.5.3", "Multi-recipient bounce");
}

#define ROW(name, same_as, text) { #name, same_as },
static const struct restriction restrictions[] = { RESTRICTIONS(ROW) };
#undef ROW

const struct restriction *
restriction_find(const char *name)
{
	for (size_t i = 0; i < sizeof restrictions / sizeof restrictions[0]; i++)
		if (strcmp(restrictions[i].name, name) == 0)
			return &restrictions[i];
	return NULL;
}

const char *
restriction_nearest(const char *name)
{
	struct nearest n = { .word = name };

	for (size_t i = 0; i < sizeof restrictions / sizeof restrictions[0]; i++)
		nearest_offer(&n, restrictions[i].name);
	return n.found;
}
