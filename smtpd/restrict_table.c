#include "smtpd/restrict_table.h"
#include "common/config/nearest.h"
#include "common/config/restrictions.h"
#include "common/proto/address.h"
#include "common/proto/reply.h"

#include <stdio.h>

static bool
is_empty(const char *s)
{
	return s == NULL || s[0] == '\0';
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
	return restrict_refuse_list(c, c->env->codes.reject, "5.7.1", "Access denied");
}

static enum restrict_result
defer(struct restrict_ctx *c)
{
	return restrict_refuse_list(c, c->env->codes.defer, "4.3.2", "Try again later");
}

static enum restrict_result
defer_if_permit(struct restrict_ctx *c)
{
	return restrict_defer_if_permit(c, 450, "4.7.0",
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
permit_tls_all_clientcerts(struct restrict_ctx *c)
{
	return c->cert_is_trusted ? RESULT_OK : RESULT_DUNNO;
}

static enum restrict_result
permit_auth_destination(struct restrict_ctx *c)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->facts[FACT_RCPT] == FACT_TEMP)
		return restrict_temporary(c, c->recipient);
	return c->rcpt_is_local ? RESULT_OK : RESULT_DUNNO;
}

/* The one that keeps us from being an open relay: not knowing is never a yes. */
static enum restrict_result
unauth_destination(struct restrict_ctx *c, int code, const char *dsn)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->facts[FACT_RCPT] == FACT_TEMP)
		return restrict_temporary(c, c->recipient);
	if (c->rcpt_is_local)
		return RESULT_DUNNO;
	return restrict_refuse(c, code, dsn, "<%s>: Relay access denied", c->recipient);
}

static enum restrict_result
reject_unauth_destination(struct restrict_ctx *c)
{
	return unauth_destination(c, c->env->codes.relay, "5.7.1");
}

static enum restrict_result
defer_unauth_destination(struct restrict_ctx *c)
{
	return unauth_destination(c, 454, "4.7.1");
}

/* why: "5.1.1 User unknown"; NULL: the usual. */
static enum restrict_result
refuse_address(struct restrict_ctx *c, int code, const char *dsn, const char *address,
    const char *whose, const char *why)
{
	struct view text = view_of(is_empty(why) ? "User unknown in virtual mailbox table" : why);
	size_t len = enhanced_code_length(text);
	char own[12] = "";

	if (len > 0 && len < sizeof own) {
		snprintf(own, sizeof own, "%.*s", (int)len, text.p);
		text = view_trim(view_make(text.p + len, text.len - len));
	}
	return restrict_refuse(c, code, own[0] != '\0' ? own : dsn,
	    "<%s>: %s address rejected: %.*s", address, whose, VIEW_ARG(text));
}

static enum restrict_result
reject_unlisted_recipient(struct restrict_ctx *c)
{
	if (is_empty(c->recipient))
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_RCPT))
		return RESULT_NEED;
	switch (c->facts[FACT_RCPT]) {
	case FACT_TEMP:
		return restrict_temporary(c, c->recipient);
	case FACT_NO:
		return refuse_address(c, c->rcpt_is_relayed ? 550 : c->env->codes.unknown_user,
		    "5.1.1", c->recipient, "Recipient", c->rcpt_why);
	case FACT_REFUSED:
		return refuse_address(c, 550, "5.1.1", c->recipient, "Recipient", c->rcpt_why);
	case FACT_LATER:
		return refuse_address(c, 450, "4.1.1", c->recipient, "Recipient", c->rcpt_why);
	case FACT_FULL:
		/* temporary: the owner may make room before the sender's server gives up */
		return restrict_refuse(c, 452, "4.2.2",
		    "<%s>: Recipient address rejected: Mailbox is full", c->recipient);
	default:
		return RESULT_DUNNO;
	}
}

static enum restrict_result
reject_unlisted_sender(struct restrict_ctx *c)
{
	if (is_empty(c->sender))
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_SENDER_USER))
		return RESULT_NEED;
	if (c->facts[FACT_SENDER_USER] == FACT_TEMP)
		return restrict_temporary(c, c->sender);
	if (c->facts[FACT_SENDER_USER] != FACT_NO)
		return RESULT_DUNNO;
	return refuse_address(
	    c, c->env->codes.unknown_user, "5.1.0", c->sender, "Sender", c->sender_why);
}

static enum restrict_result
reject_non_fqdn_sender(struct restrict_ctx *c)
{
	if (is_empty(c->sender) || is_fqdn(address_domain(c->sender)))
		return RESULT_DUNNO;
	return restrict_refuse(c, c->env->codes.non_fqdn, "5.5.2",
	    "<%s>: Sender address rejected: need fully-qualified address", c->sender);
}

/* RFC 5321 4.5.1: "postmaster" alone is always an address */
static enum restrict_result
reject_non_fqdn_recipient(struct restrict_ctx *c)
{
	if (is_empty(c->recipient) || is_fqdn(address_domain(c->recipient)) ||
	    view_case_eq_str(view_of(c->recipient), "postmaster"))
		return RESULT_DUNNO;
	return restrict_refuse(c, c->env->codes.non_fqdn, "5.5.2",
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
	return restrict_refuse(c, c->env->codes.invalid_hostname, "5.5.2",
	    "<%s>: Helo command rejected: Invalid name", c->helo);
}

static enum restrict_result
reject_non_fqdn_helo_hostname(struct restrict_ctx *c)
{
	if (is_empty(c->helo) || is_fqdn(c->helo))
		return RESULT_DUNNO;
	return restrict_refuse(c, c->env->codes.non_fqdn, "5.5.2",
	    "<%s>: Helo command rejected: need fully-qualified hostname", c->helo);
}

static enum restrict_result
reject_unknown_helo_hostname(struct restrict_ctx *c)
{
	if (is_empty(c->helo))
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_HELO_HOST))
		return RESULT_NEED;
	if (c->facts[FACT_HELO_HOST] == FACT_YES)
		return RESULT_DUNNO;
	if (c->facts[FACT_HELO_HOST] == FACT_TEMP && !c->env->codes.helo_defers)
		return restrict_defer_if_permit(
		    c, 450, "4.7.1", "<%s>: Helo command rejected: Host not found", c->helo);
	return restrict_refuse(c,
	    c->facts[FACT_HELO_HOST] == FACT_TEMP ? 450 : c->env->codes.unknown_hostname, "4.7.1",
	    "<%s>: Helo command rejected: Host not found", c->helo);
}

/* What the DNS says of a sender's or recipient's domain. */
static enum restrict_result
judge_domain(struct restrict_ctx *c, enum restrict_fact fact, const char *address, const char *class,
    const char *dsn)
{
	if (fact == FACT_YES)
		return RESULT_DUNNO;
	if (fact == FACT_TEMP && !c->env->codes.address_defers)
		return restrict_defer_if_permit(
		    c, 450, dsn, "<%s>: %s rejected: Domain not found", address, class);
	return restrict_refuse(c, fact == FACT_TEMP ? 450 : c->env->codes.unknown_address, dsn,
	    "<%s>: %s rejected: Domain not found", address, class);
}

static enum restrict_result
reject_unknown_sender_domain(struct restrict_ctx *c)
{
	if (is_empty(c->sender) || address_domain(c->sender)[0] == '\0')
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_SENDER_DOMAIN))
		return RESULT_NEED;
	if (c->facts[FACT_SENDER_DOMAIN] == FACT_NULL_MX) /* RFC 7505 4.2 */
		return restrict_refuse(c, 550, "5.7.27",
		    "<%s>: Sender address rejected: Domain %s does not accept mail (nullMX)",
		    c->sender, address_domain(c->sender));
	return judge_domain(c, c->facts[FACT_SENDER_DOMAIN], c->sender, "Sender address", "4.1.8");
}

static enum restrict_result
reject_unknown_recipient_domain(struct restrict_ctx *c)
{
	if (is_empty(c->recipient) || address_domain(c->recipient)[0] == '\0')
		return RESULT_DUNNO;
	/* our own domains are right without a look into DNS */
	if (!restrict_have(c, FACT_RCPT))
		return RESULT_NEED;
	if (c->rcpt_is_local && c->facts[FACT_RCPT] != FACT_TEMP)
		return RESULT_DUNNO;
	if (!restrict_have(c, FACT_RCPT_DOMAIN))
		return RESULT_NEED;
	if (c->facts[FACT_RCPT_DOMAIN] == FACT_NULL_MX) /* RFC 7505 4.1 */
		return restrict_refuse(c, 556, "5.1.10",
		    "<%s>: Recipient address rejected: Domain %s does not accept mail (nullMX)",
		    c->recipient, address_domain(c->recipient));
	return judge_domain(
	    c, c->facts[FACT_RCPT_DOMAIN], c->recipient, "Recipient address", "4.1.2");
}

static enum restrict_result
unknown_client(struct restrict_ctx *c, enum restrict_fact_id id, const char *dsn, const char *what)
{
	if (!restrict_have(c, id))
		return RESULT_NEED;
	if (c->facts[id] == FACT_YES)
		return RESULT_DUNNO;
	if (c->facts[id] == FACT_TEMP)
		return restrict_defer_if_permit(c, 450, dsn,
		    "Client host rejected: cannot find your %s, [%s]", what, c->client_ip);
	return restrict_refuse(c, c->env->codes.unknown_client, dsn,
	    "Client host rejected: cannot find your %s, [%s]", what, c->client_ip);
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
	return restrict_refuse(c, c->env->codes.plaintext, "4.7.1", "Session encryption is required");
}

/* Postfix's words: "unverified" while it may yet be verified, "undeliverable" where the admin wants that to be final. */
static enum restrict_result
judge_verified(struct restrict_ctx *c, const char *address, const char *class, const char *dsn,
    const struct restrict_unverified *u)
{
	const struct restrict_answer *a = &c->answer;
	bool is_problem = a->result == LOOKUP_TEMP && a->value[0] == '\0';
	int code = is_problem                  ? 450
		   : a->result == LOOKUP_FOUND ? 250
		   : a->result == LOOKUP_NONE  ? u->reject
					       : u->defer;
	const char *why = u->reason[0] != '\0' && !is_problem ? u->reason : a->value;
	const char *how = is_problem    ? "address verification problem"
			  : code >= 500 ? "undeliverable address: "
					: "unverified address: ";

	if (code < 400)
		return RESULT_DUNNO;
	if (code >= 500 || u->defers)
		return restrict_refuse(
		    c, code, dsn, "<%s>: %s rejected: %s%.250s", address, class, how, why);
	return restrict_defer_if_permit(
	    c, code, dsn, "<%s>: %s rejected: %s%.250s", address, class, how, why);
}

static enum restrict_result
verify_address(struct restrict_ctx *c, const char *address, const char *class, const char *dsn,
    const struct restrict_unverified *u)
{
	if (is_empty(address))
		return RESULT_DUNNO;
	if (c->is_answered)
		return judge_verified(c, address, class, dsn, u);
	c->question.kind = ASK_VERIFY;
	c->question.address = address;
	return RESULT_NEED;
}

static enum restrict_result
reject_unverified_recipient(struct restrict_ctx *c)
{
	return verify_address(
	    c, c->recipient, "Recipient address", "4.1.1", &c->env->codes.unverified_recipient);
}

static enum restrict_result
reject_unverified_sender(struct restrict_ctx *c)
{
	return verify_address(
	    c, c->sender, "Sender address", "4.1.7", &c->env->codes.unverified_sender);
}

/* A bounce has one recipient; decided where all are known. */
static enum restrict_result
reject_multi_recipient_bounce(struct restrict_ctx *c)
{
	if (c->sender == NULL || c->sender[0] != '\0' || c->nrcpts <= 1)
		return RESULT_DUNNO;
	return restrict_refuse_list(c, c->env->codes.multi_bounce, "5.5.3", "Multi-recipient bounce");
}

/* --- what asks others than the DNS ------------------------------------------------------------------ */

static enum restrict_result
check_policy_service(struct restrict_ctx *c)
{
	if (c->is_answered)
		return restrict_act_list(c, c->answer.value);
	c->question.kind = ASK_POLICY;
	c->question.service = c->item->service;
	return RESULT_NEED;
}

static enum restrict_result
check_greylist(struct restrict_ctx *c)
{
	if (c->recipient == NULL || c->sender == NULL)
		return RESULT_DUNNO;
	if (c->is_answered)
		return restrict_act_list(c, c->answer.value);
	c->question.kind = ASK_GREYLIST;
	return RESULT_NEED;
}

static enum restrict_result
sleep_for(struct restrict_ctx *c)
{
	if (c->is_answered)
		return RESULT_DUNNO;
	c->question.kind = ASK_SLEEP;
	c->question.seconds = c->item->seconds;
	return RESULT_NEED;
}

/* --- subjects ------------------------------------------------------------------------------------------ */

const char *
restrict_class_name(enum restrict_subject subject)
{
	switch (subject) {
	case SUBJECT_CLIENT:
		return "Client host";
	case SUBJECT_REVERSE_CLIENT:
		return "Unverified Client host";
	case SUBJECT_HELO:
		return "Helo command";
	case SUBJECT_SENDER:
		return "Sender address";
	case SUBJECT_SASL:
		return "SASL login name";
	case SUBJECT_CCERT:
		return "Client certificate";
	default:
		return "Recipient address";
	}
}

const char *
restrict_subject_text(struct restrict_ctx *c, enum restrict_subject subject)
{
	switch (subject) {
	case SUBJECT_CLIENT:
		return arena_printf(&c->arena, "%s[%s]", c->client_name, c->client_ip);
	case SUBJECT_REVERSE_CLIENT:
		return c->reverse_name;
	case SUBJECT_HELO:
		return c->helo;
	case SUBJECT_SENDER:
		return c->sender;
	case SUBJECT_SASL:
		return c->login;
	case SUBJECT_CCERT:
		return c->cert_fingerprint;
	default:
		return c->recipient;
	}
}

const char *
restrict_subject_domain(
    struct restrict_ctx *c, enum restrict_subject subject, enum restrict_result *r)
{
	enum restrict_fact_id fact =
	    subject == SUBJECT_CLIENT ? FACT_CLIENT_NAME : FACT_CLIENT_REVERSE;
	const char *name = NULL;

	*r = RESULT_DUNNO;
	switch (subject) {
	case SUBJECT_CLIENT:
	case SUBJECT_REVERSE_CLIENT:
		if (!restrict_have(c, fact)) {
			*r = RESULT_NEED;
			return NULL;
		}
		name = subject == SUBJECT_CLIENT ? c->client_name : c->reverse_name;
		if (name != NULL && strcmp(name, "unknown") == 0)
			name = NULL;
		break;
	case SUBJECT_HELO:
		name = c->helo;
		break;
	case SUBJECT_SENDER:
	case SUBJECT_RECIPIENT:
		name = subject == SUBJECT_SENDER ? c->sender : c->recipient;
		name = name != NULL ? address_domain(name) : NULL;
		break;
	default:
		break;
	}
	/* an address literal has no hosts behind it, and is in no list of domains */
	return name != NULL && name[0] != '[' && hostname_is_valid(view_of(name), true) ? name : NULL;
}

/* --- the rows -------------------------------------------------------------------------------------------- */

#define ROW(name, same_as, text) { #name, same_as, ARGUMENT_NONE, SUBJECT_NONE, HOSTS_NONE },
#define ROW_ARG(name, same_as, argument, subject, hosts, text) \
	{ #name, same_as, ARGUMENT_##argument, SUBJECT_##subject, HOSTS_##hosts },
static const struct restriction restrictions[] = { RESTRICTIONS(ROW) RESTRICTIONS_ARG(ROW_ARG) };
#undef ROW
#undef ROW_ARG

#define ROW(name, why) { #name, why },
static const struct {
	const char *name, *why;
} ignored[] = { RESTRICTIONS_IGNORED(ROW) };
#undef ROW

const char *
restriction_ignored(const char *name)
{
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		if (strcmp(ignored[i].name, name) == 0)
			return ignored[i].why;
	return NULL;
}

bool
restriction_guards_relay(const struct restriction *r)
{
	static enum restrict_result (*const guards[])(struct restrict_ctx *) = {
		reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit
	};

	for (size_t i = 0; r != NULL && i < sizeof guards / sizeof guards[0]; i++)
		if (r->fn == guards[i])
			return true;
	return false;
}

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
