#include "smtpd/rate.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/anvil_client.h"
#include "smtpd/session.h"
#include "smtpd/transaction.h"

#include <stdio.h>
#include <stdlib.h>

/* Whose events are counted. */
enum subject { BY_CLIENT, BY_LOGIN, BY_SENDER };

/* One limit, looked at when its stage comes. */
struct rule {
	enum smtpd_stage stage;
	enum anvil_event event;
	enum subject subject;
	int code;
	const char *dsn;
	const char *reply; /* BY_CLIENT: "Error: <reply> from name[ip]" */
	const char *log;   /* "<log> limit exceeded: 3 from name[ip] for service smtp" */
};

/* clang-format off */
static const struct rule rules[] = {
	{ STAGE_CONNECT,  ANVIL_NEW_TLS,       BY_CLIENT, 421, "4.7.0", "too many new TLS sessions", "New TLS session rate" }, /* wrapper mode */
	{ STAGE_STARTTLS, ANVIL_NEW_TLS,       BY_CLIENT, 454, "4.7.0", "too many new TLS sessions", "New TLS session rate" },
	{ STAGE_AUTH,     ANVIL_AUTH,          BY_CLIENT, 450, "4.7.1", "too many AUTH commands",    "AUTH command rate" },
	{ STAGE_MAIL,     ANVIL_MESSAGE,       BY_CLIENT, 450, "4.7.1", "too much mail",             "Message delivery request rate" },
	{ STAGE_MAIL,     ANVIL_LOGIN_MESSAGE, BY_LOGIN,  450, "4.7.1", "messages",                  "Message sending rate" },
	{ STAGE_MAIL,     ANVIL_SENDER_MESSAGE, BY_SENDER, 450, "4.7.1", "messages",                 "Message sending rate" },
	{ STAGE_RCPT,     ANVIL_RCPT,          BY_CLIENT, 450, "4.7.1", "too many recipients",       "Recipient address rate" },
	{ STAGE_RCPT,     ANVIL_LOGIN_RCPT,    BY_LOGIN,  450, "4.7.1", "recipients",                "Recipient sending rate" },
	{ STAGE_RCPT,     ANVIL_SENDER_RCPT,   BY_SENDER, 450, "4.7.1", "recipients",                "Recipient sending rate" },
};
/* clang-format on */
enum { RULES = sizeof rules / sizeof rules[0] };

/* Part of a session from its first question on. */
struct smtpd_rate {
	struct anvil_call *call; /* owned */
	size_t at;               /* the rule that waits for its answer */
	gate_then *then;
	uint32_t connections;      /* of this client, this one among them; 0: not known */
	char connected[ADDR_TEXT]; /* anvil was told of this client's connection; "" = of none */
};

void
smtpd_rate_config_read(struct rate_config *r, const struct conf *conf)
{
	/* clang-format off */
	static const char *const names[ANVIL_EVENTS] = {
		[ANVIL_MESSAGE]        = "smtpd_client_message_rate_limit",
		[ANVIL_RCPT]           = "smtpd_client_recipient_rate_limit",
		[ANVIL_AUTH]           = "smtpd_client_auth_rate_limit",
		[ANVIL_NEW_TLS]        = "smtpd_client_new_tls_session_rate_limit",
		[ANVIL_LOGIN_MESSAGE]  = "smtpd_login_message_rate_limit",
		[ANVIL_LOGIN_RCPT]     = "smtpd_login_recipient_rate_limit",
		[ANVIL_SENDER_MESSAGE] = "smtpd_sender_message_rate_limit",
		[ANVIL_SENDER_RCPT]    = "smtpd_sender_recipient_rate_limit",
	};
	/* clang-format on */

	for (size_t i = 0; i < ANVIL_EVENTS; i++)
		r->limits[i] = (uint32_t)conf_int(conf, names[i]);
	r->connections = (uint32_t)conf_int(conf, "smtpd_client_connection_count_limit");
	r->connection_rate = (uint32_t)conf_int(conf, "smtpd_client_connection_rate_limit");
	r->unit_s = conf_seconds(conf, "anvil_rate_time_unit");
	r->sending_unit_s = conf_seconds(conf, "smtpd_sending_rate_time_unit");
	r->client_bits[0] = (unsigned)conf_int(conf, "smtpd_client_ipv4_prefix_length");
	r->client_bits[1] = (unsigned)conf_int(conf, "smtpd_client_ipv6_prefix_length");
	r->greylist_bits[0] = (unsigned)conf_int(conf, "smtpd_greylist_ipv4_prefix_length");
	r->greylist_bits[1] = (unsigned)conf_int(conf, "smtpd_greylist_ipv6_prefix_length");
}

static const struct rate_config *
config_of(const struct smtpd_session *s)
{
	return &s->server->conf->rate;
}

static bool
is_excepted(const struct smtpd_session *s)
{
	return net_list_has(&s->server->conf->limit_exceptions, &s->client.address);
}

static void
client_key(const struct smtpd_session *s, char out[ADDR_TEXT])
{
	const unsigned *bits = config_of(s)->client_bits;

	anvil_network(&s->client.address, bits[0], bits[1], out);
}

static struct smtpd_rate *
rate_of(struct smtpd_session *s)
{
	if (s->rate == NULL)
		s->rate = x_calloc(1, sizeof *s->rate);
	return s->rate;
}

void
smtpd_rate_free(struct smtpd_session *s)
{
	if (s->rate == NULL)
		return;
	anvil_call_cancel(s->rate->call);
	if (s->rate->connected[0] != '\0')
		anvil_disconnect(s->server, s->rate->connected);
	x_free(&s->rate);
}

/* --- refusals, in Postfix's words --------------------------------------------------------------------------- */

static void
log_excess(struct smtpd_session *s, const char *what, uint32_t n)
{
	log_warn("%s limit exceeded: %u from %s for service %s", what, n, smtpd_client_label(s),
	    s->server->service);
}

/* RFC 5321 4.2.3: 421 is followed by our name. */
static void
refuse_client(struct smtpd_session *s, int code, const char *dsn, const char *what)
{
	bool is_end = code == 421;

	smtpd_reply(s, code, dsn, "%s%sError: %s from %s",
	    is_end ? s->server->conf->myhostname : "", is_end ? " " : "", what,
	    smtpd_client_label(s));
}

/* "1 hour", "90 seconds" */
static void
describe_time(int64_t seconds, char *out, size_t size)
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	size_t i = 0;

	while (seconds % units[i].seconds != 0)
		i++;
	seconds /= units[i].seconds;
	snprintf(
	    out, size, "%lld %s%s", (long long)seconds, units[i].name, seconds == 1 ? "" : "s");
}

/* The person at the other end reads this in a mail program. */
static void
refuse_sending(struct smtpd_session *s, const struct rule *r, const char *who, uint32_t n)
{
	uint32_t limit = config_of(s)->limits[r->event];
	char unit[40];

	describe_time(config_of(s)->sending_unit_s, unit, sizeof unit);
	log_warn("%s limit exceeded: %u in %s, allowed are %u, for %s <%s> from %s for service %s",
	    r->log, n, unit, limit, r->subject == BY_LOGIN ? "login" : "sender", lqs(who),
	    smtpd_client_label(s), s->server->service);
	smtpd_reply(s, r->code, r->dsn,
	    "Error: %s has sent too much: at most %u %s in %s are allowed, please try again later",
	    lqs(who), limit, r->reply, unit);
}

/* --- who is counted --------------------------------------------------------------------------------------------- */

enum { KEY_MAX = 600 }; /* room for any address */

/* Whose events the rule counts; false: it does not apply.  Senders count where they are ours: a stranger's sender address
 * is anybody's. */
static bool
rule_key(struct smtpd_session *s, const struct rule *r, char key[KEY_MAX])
{
	const char *who = s->login;

	if (config_of(s)->limits[r->event] == 0)
		return false;
	if (r->subject == BY_CLIENT) {
		client_key(s, key);
		return !is_excepted(s) && (r->stage != STAGE_CONNECT || smtpd_session_has_tls(s));
	}
	if (r->subject == BY_SENDER && smtpd_client_is_ours(s))
		who = s->tx != NULL ? s->tx->sender.text : s->args->address.text;
	else if (r->subject == BY_SENDER)
		who = NULL;
	snprintf(key, KEY_MAX, "%s", who != NULL ? who : "");
	ascii_lower_str(key);
	return key[0] != '\0';
}

/* --- the walk through the rules ------------------------------------------------------------------------------------ */

static enum cmd_result walk(struct smtpd_session *s);

static void
on_count(void *arg, const struct anvil_answer *a)
{
	struct smtpd_session *s = arg;
	struct smtpd_rate *w = s->rate;
	const struct rule *r = &rules[w->at++];
	char key[KEY_MAX];

	w->call = NULL;
	/* the handshake that comes behind STARTTLS is not in it yet */
	if ((uint64_t)a->rate + (r->stage == STAGE_STARTTLS) <= config_of(s)->limits[r->event]) {
		smtpd_gate_settled(s, walk(s));
		return;
	}
	if (r->subject == BY_CLIENT) {
		log_excess(s, r->log, a->rate);
		refuse_client(s, r->code, r->dsn, r->reply);
	} else {
		rule_key(s, r, key);
		refuse_sending(s, r, key, a->rate);
	}
	smtpd_gate_settled(s, w->then(s, false));
}

/* From w->at on: asks for the next rule that applies, or the gate is passed. */
static enum cmd_result
walk(struct smtpd_session *s)
{
	struct smtpd_rate *w = s->rate;
	const struct rate_config *conf = config_of(s);

	for (; w->at < RULES; w->at++) {
		const struct rule *r = &rules[w->at];
		char key[KEY_MAX];

		if (r->stage != s->gate.stage || !rule_key(s, r, key))
			continue;
		/* a handshake that will resume a session is not counted: it is known afterwards only */
		w->call = anvil_count(s->server, r->event,
		    r->subject == BY_CLIENT ? conf->unit_s : conf->sending_unit_s, key,
		    r->event == ANVIL_NEW_TLS ? 0 : 1, on_count, s);
		if (w->call != NULL)
			return CMD_WAIT;
	}
	return w->then(s, true);
}

/* --- connections ------------------------------------------------------------------------------------------------------ */

static void
on_connected(void *arg, const struct anvil_answer *a)
{
	struct smtpd_session *s = arg;
	const struct rate_config *conf = config_of(s);
	bool is_crowd = conf->connections > 0 && a->connections > conf->connections;
	bool is_flood = conf->connection_rate > 0 && a->rate > conf->connection_rate;

	s->rate->call = NULL;
	s->rate->connections = a->connections;
	if (is_crowd)
		log_excess(s, "Connection concurrency", a->connections);
	else if (is_flood)
		log_excess(s, "Connection rate", a->rate);
	if (!is_crowd && !is_flood) {
		smtpd_gate_settled(s, walk(s));
		return;
	}
	refuse_client(s, 421, "4.7.0", "too many connections");
	smtpd_gate_settled(s, s->rate->then(s, false));
}

/* True: the answer will come. */
static bool
count_connection(struct smtpd_session *s)
{
	const struct rate_config *conf = config_of(s);
	char client[ADDR_TEXT];
	struct anvil_call *call;

	if ((conf->connections == 0 && conf->connection_rate == 0) || is_excepted(s))
		return false;
	client_key(s, client);
	call = anvil_connect(s->server, client, on_connected, s);
	if (call == NULL)
		return false;
	if (rate_of(s)->connected[0] != '\0')
		anvil_disconnect(s->server, s->rate->connected); /* whom XCLIENT has replaced */
	memcpy(s->rate->connected, client, sizeof client);
	s->rate->call = call;
	return true;
}

bool
smtpd_rate_is_limited(const struct smtpd_config *c, enum smtpd_stage stage)
{
	bool is =
	    stage == STAGE_CONNECT && (c->rate.connections > 0 || c->rate.connection_rate > 0);

	for (size_t i = 0; i < RULES; i++)
		is |= rules[i].stage == stage && c->rate.limits[rules[i].event] > 0;
	return is;
}

enum cmd_result
smtpd_rate_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	bool waits = stage == STAGE_CONNECT && count_connection(s), applies = waits;
	char key[KEY_MAX];

	for (size_t i = 0; i < RULES && !applies; i++)
		applies = rules[i].stage == stage && rule_key(s, &rules[i], key);
	if (!applies)
		return then(s, true);
	rate_of(s)->then = then;
	s->rate->at = 0;
	return waits ? CMD_WAIT : walk(s);
}

uint32_t
smtpd_rate_connections(const struct smtpd_session *s)
{
	return s->rate != NULL ? s->rate->connections : 0;
}

void
smtpd_rate_tls_up(struct smtpd_session *s)
{
	char client[ADDR_TEXT];

	if (config_of(s)->limits[ANVIL_NEW_TLS] == 0 || is_excepted(s) ||
	    SSL_session_reused(stream_ssl(s->stream)))
		return;
	client_key(s, client);
	anvil_note(s->server, ANVIL_NEW_TLS, config_of(s)->unit_s, client, 1);
}
