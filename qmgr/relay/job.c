#include "qmgr/relay/job.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/relay.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "qmgr/relay/esmtp.h"
#include "qmgr/relay/generic.h"
#include "qmgr/relay/policy_lookup.h"
#include "qmgr/relay/source.h"
#include "qmgr/relay/sts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ARENA_MAX = 1 << 20, /* a job came in one IPC packet of 64 KB */
	SCAN_CHUNK = 256 << 10,
	HEADERS_MAX = 4 << 20,   /* looked at for UTF-8 */
	REPORT_BYTES = 32 << 10, /* of TLSA records in a report */
};

/* Why it did not work so far, and with whom. */
struct note {
	struct relay_verdict verdict;
	char relay[RELAY_PEER_MAX];
};

struct rcpt {
	uint32_t number;
	struct relay_rcpt wire;
	bool is_told;
	unsigned tried_in; /* serial number of the session that had it last */
	struct note *soft; /* owned; NULL: no host has refused it yet */
};

struct relay_job {
	struct relay_env env;
	struct arena arena;
	struct relay_job_spec spec; /* strings in the arena */
	const char *identity;       /* in the arena: sessions of others are not for this job */
	const char *tls_entry;      /* in the arena: of smtp_tls_policy_maps; NULL: none */
	struct relay_content content;
	const struct relay_job_ops *ops;
	void *arg;
	struct rcpt *rcpts; /* owned */
	size_t nrcpts, ntold;

	struct relay_generic *generic;
	const char *sender; /* as it goes out */
	struct relay_nexthop hop;
	struct relay_policy_lookup *policy_lookup;
	struct relay_tls_policy tls;
	struct relay_source_lookup *source_lookup;
	struct relay_source source;
	struct relay_sts_query *sts_query;
	struct relay_sts_policy sts;     /* strings in the arena */
	struct relay_tls_policy sts_tls; /* in place of tls, where sts is enforced */
	struct relay_resolve *resolve;
	struct relay_target *targets; /* owned */
	size_t ntargets, at;
	char site[RELAY_SITE_MAX];
	struct note failure;     /* the last host's, for those who got none of their own */
	size_t nsessions;        /* that came as far as EHLO */
	unsigned session_serial; /* of the present one; from 1 */
	struct relay_connect *connect;
	struct relay_session *session;
	bool in_the_clear;                   /* this target once more, without TLS */
	bool no_reuse;                       /* a kept connection was stale */
	struct relay_dane_query *dane_query; /* for the present target */
	bool knows_dane;
	struct relay_dane dane;
	struct relay_tls_policy lowered; /* what is left of tls without records */
	bool is_lowered;

	struct relay_transaction txn;
	char client_address[ADDR_TEXT];      /* as XFORWARD has it */
	const struct relay_rcpt **txn_rcpts; /* owned */
	struct rcpt **txn_owners;            /* owned */
	bool needs_utf8;
	bool is_scanned, is_surveying; /* for what is not 7-bit: first whether, then where */
	uint64_t scanned;
	struct relay_downgrade survey;
	struct relay_plan plan;
	int64_t started_ms, ready_ms;
	uint32_t setup_ms;
	struct loop_timer soon;  /* the next piece of the scan, or the start's failure */
	struct loop_timer limit; /* of the transaction */
};

static void try_next_target(struct relay_job *job);
static void send_batch(struct relay_job *job);
static void on_scan(void *arg);

/* ---------------------------------------------------------------- outcomes */

static uint32_t
ms_since(int64_t since)
{
	int64_t ms = clock_mono_ms() - since;

	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static void
note_set(struct note *n, const struct relay_verdict *v, const char *relay)
{
	n->verdict = *v;
	snprintf(n->relay, sizeof n->relay, "%s", relay);
}

static void
tell(struct relay_job *job, struct rcpt *r, const struct relay_verdict *v, const char *relay)
{
	struct relay_outcome o = {
		.recipient = r->number, .verdict = v, .relay = relay, .site = job->site
	};

	if (r->is_told)
		return;
	if (v->dsn[0] == '\0')
		bug("an outcome without a status"); /* zeroed memory would read as "sent" */
	r->is_told = true;
	job->ntold++;
	if (job->session != NULL)
		o.uses = relay_session_uses(job->session);
	o.setup_ms = job->ready_ms != 0 ? job->setup_ms : ms_since(job->started_ms);
	o.transmit_ms = job->ready_ms != 0 ? ms_since(job->ready_ms) : 0;
	job->ops->on_outcome(job->arg, job, &o);
}

/* All who are left: each what its last host said of it, or else this. */
static void
tell_rest(struct relay_job *job, const struct relay_verdict *v, const char *relay)
{
	for (size_t i = 0; i < job->nrcpts; i++) {
		struct rcpt *r = &job->rcpts[i];

		if (r->soft != NULL)
			tell(job, r, &r->soft->verdict, r->soft->relay);
		else
			tell(job, r, v, relay);
	}
}

static void
end(struct relay_job *job)
{
	job->ops->on_end(job->arg, job);
}

static void
give_up(struct relay_job *job, const struct relay_verdict *v)
{
	tell_rest(job, v, "none");
	end(job);
}

/* ---------------------------------------------------------------- transactions */

static bool
has_another_host(const struct relay_job *job)
{
	return job->at + 1 < job->ntargets && job->nsessions < job->env.conf->session_limit;
}

static void
on_recipient(void *arg, struct relay_session *s, size_t index, const struct relay_verdict *v)
{
	struct relay_job *job = arg;
	struct rcpt *r = job->txn_owners[index];

	if (v->is_unreachable || v->is_ambiguous) /* for those whose turn has not come */
		note_set(&job->failure, v, relay_session_peer(s));
	if (v->is_too_many) {
		r->tried_in = 0; /* once more, in this session: others of the batch were taken */
		return;
	}
	if (v->status == DELIVERY_DEFERRED && !v->is_ambiguous && has_another_host(job)) {
		log_info("%s: %s", job->spec.queue_id, v->text);
		if (r->soft == NULL)
			r->soft = x_malloc(sizeof *r->soft);
		note_set(r->soft, v, relay_session_peer(s));
		return;
	}
	tell(job, r, v, relay_session_peer(s));
}

static void
next_target(struct relay_job *job)
{
	job->at++;
	job->in_the_clear = job->knows_dane = job->is_lowered = false;
	relay_dane_clear(&job->dane);
	relay_tls_policy_clear(&job->lowered);
}

static void
drop_session(struct relay_job *job)
{
	relay_session_free(job->session);
	job->session = NULL;
	loop_timer_stop(&job->soon); /* a scan for it */
}

static void
on_done(void *arg, struct relay_session *s, enum relay_end how)
{
	struct relay_job *job = arg;

	(void)s;
	loop_timer_stop(&job->limit);
	if (how == RELAY_END_USABLE) {
		send_batch(job);
		return;
	}
	drop_session(job);
	if (how == RELAY_END_STALE) {
		job->no_reuse = true;
		job->nsessions--;
	} else {
		next_target(job);
	}
	try_next_target(job);
}

static void
on_limit(void *arg)
{
	struct relay_job *job = arg;
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.4.2", "conversation with %s takes too long",
	    relay_session_peer(job->session));
	v.is_unreachable = true;
	tell_rest(job, &v, relay_session_peer(job->session));
	drop_session(job);
	end(job);
}

/* Those who were not tried in this session, as many as one transaction may have. */
static size_t
fill_batch(struct relay_job *job)
{
	size_t n = 0;

	for (size_t i = 0; i < job->nrcpts && n < job->env.conf->recipient_limit; i++) {
		struct rcpt *r = &job->rcpts[i];

		if (r->is_told || r->tried_in == job->session_serial)
			continue;
		r->tried_in = job->session_serial;
		job->txn_rcpts[n] = &r->wire;
		job->txn_owners[n++] = r;
	}
	return n;
}

/* The session has done what it could for this job. */
static void
leave_session(struct relay_job *job)
{
	relay_pool_put(job->env.pool, job->session, job->spec.nexthop);
	job->session = NULL;
	if (job->ntold == job->nrcpts) {
		end(job);
		return;
	}
	next_target(job);
	try_next_target(job);
}

/* One turn's worth of looking at the message: 1 = that was all, 0 = there is more, -1. */
static int
scan(struct relay_job *job, struct err *err)
{
	static char chunk[SCAN_CHUNK];
	size_t left = sizeof chunk;

	while (left > 0) {
		int64_t n = relay_content_read(&job->content, job->scanned, chunk, left, err);

		if (n < 0)
			return -1;
		if (n == 0)
			return !job->is_surveying ||
				       relay_downgrade_end(&job->survey, NULL, err) == 0
				   ? 1
				   : -1;
		left -= (size_t)n;
		job->scanned += (uint64_t)n;
		if (job->is_surveying) {
			if (relay_downgrade_feed(&job->survey, chunk, (size_t)n, NULL, err) < 0)
				return -1;
		} else if (relay_bytes_have_8bit(chunk, (size_t)n)) {
			job->is_surveying = true;
			job->scanned = 0;
			relay_downgrade_survey(
			    &job->survey, job->env.conf->mime_nesting, &job->plan);
		}
	}
	return 0;
}

/* A server that takes no 8-bit content: now it matters what it really is, whatever was announced.  Looked at in pieces, so
 * that a large message does not hold up the loop.  false: not yet, or the job is over. */
static bool
knows_content(struct relay_job *job)
{
	struct relay_verdict v;
	struct err e;
	int rc;

	if (job->is_scanned || job->spec.is_probe || job->env.conf->sends_8bit_anyway ||
	    relay_session_has_8bitmime(job->session))
		return true;
	rc = scan(job, &e);
	if (rc == 1) {
		job->is_scanned = true;
		return true;
	}
	if (rc == 0) {
		loop_timer_init(&job->soon, job->env.loop, on_scan, job);
		loop_timer_soon(&job->soon);
		return false;
	}
	if (e.kind == ERR_LIMIT)
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.6.0", "%s", e.text);
	else
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0", "%s", e.text);
	tell_rest(job, &v, relay_session_peer(job->session));
	drop_session(job);
	end(job);
	return false;
}

static void
on_scan(void *arg)
{
	send_batch(arg);
}

/* A bounce goes on even where it cannot be protected (RFC 8689 5). */
static bool
requires_tls(const struct relay_job *job)
{
	return (job->spec.flags & ENVELOPE_REQUIRETLS) && job->spec.sender[0] != '\0';
}

static bool
is_tls_optional(const struct relay_job *job)
{
	return (job->spec.flags & ENVELOPE_TLS_OPTIONAL) != 0;
}

static const struct relay_plan *
downgrade_for(const struct relay_job *job)
{
	return job->plan.has_8bit && !relay_session_has_8bitmime(job->session) ? &job->plan : NULL;
}

static const char *
known(const char *value)
{
	return strcmp(value, "unknown") == 0 ? "" : value;
}

static void
fill_xforward(struct relay_job *job)
{
	const struct relay_client *c = &job->spec.client;
	const char **out = job->txn.xforward;
	struct sockaddr_storage a;

	out[XFORWARD_NAME] = known(c->name);
	/* "IPv6:" stands before one of these, as in a literal */
	out[XFORWARD_ADDR] =
	    addr_parse(view_of(c->address), &a) ? addr_literal(&a, job->client_address) : "";
	out[XFORWARD_PORT] = c->port;
	if (c->protocol[0] == '\0' || strcmp(c->protocol, "SMTP") == 0)
		out[XFORWARD_PROTO] = c->protocol;
	else
		out[XFORWARD_PROTO] = "ESMTP"; /* all that XFORWARD has, of ESMTPSA and the like */
	out[XFORWARD_HELO] = c->helo;
	out[XFORWARD_IDENT] = job->spec.queue_id;
	out[XFORWARD_SOURCE] = c->address[0] == '\0' ? "LOCAL" : "REMOTE";
}

static void
send_batch(struct relay_job *job)
{
	struct relay_verdict v;
	size_t n;

	if (!knows_content(job))
		return;
	if (requires_tls(job) && !relay_session_can_require_tls(job->session, &v)) {
		note_set(&job->failure, &v, relay_session_peer(job->session));
		leave_session(job); /* RFC 8689 4.2.1: the next host may do */
		return;
	}
	n = fill_batch(job);
	if (n == 0) {
		leave_session(job);
		return;
	}
	job->txn = (struct relay_transaction){ .sender = job->sender,
		.envid = job->spec.envid,
		.flags = job->spec.flags,
		.needs_utf8 = job->needs_utf8,
		.is_probe = job->spec.is_probe,
		.downgrade = downgrade_for(job),
		.rcpts = job->txn_rcpts,
		.count = n,
		.content = &job->content };
	fill_xforward(job);
	if (!relay_session_accepts(job->session, &job->txn, &v)) {
		for (size_t i = 0; i < job->nrcpts; i++)
			tell(job, &job->rcpts[i], &v, relay_session_peer(job->session));
		leave_session(job);
		return;
	}
	loop_timer_start(&job->limit, job->env.conf->transaction_ms);
	relay_session_send(job->session, &job->txn);
}

/* ---------------------------------------------------------------- hosts */

static void
session_is_ready(struct relay_job *job)
{
	job->nsessions++;
	job->session_serial++;
	job->ready_ms = clock_mono_ms();
	job->setup_ms = ms_since(job->started_ms);
	send_batch(job);
}

/* RFC 8461 2: where there are TLSA records to go by, these decide and nothing else. */
static bool
has_sts(const struct relay_job *job, enum sts_mode mode)
{
	return job->sts.mode == mode && job->dane.count == 0;
}

static bool
sts_names_host(const struct relay_job *job)
{
	return sts_mx_match(view_of(job->sts.mx), job->targets[job->at].host);
}

/* ---------------------------------------------------------------- TLS reports (RFC 8460) */

/* Presentation format (RFC 8460 4.5); "": too long. */
static void
tlsa_text(const struct relay_dane *d, struct buf *out)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct relay_tlsa *r = &d->records[i];
		char *hex;

		buf_printf(out, "%u %u %u ", r->usage, r->selector, r->matching);
		hex = buf_reserve(out, 2 * r->len + 1);
		if (hex == NULL)
			break;
		hex_encode(hex, r->data, r->len);
		out->len += 2 * r->len;
		buf_append_byte(out, '\n');
	}
}

/* fault "": TLS as the policy has it.  s NULL: there was no session. */
static void
report(const struct relay_job *job, const struct relay_session *s, enum fetch_tls_policy type,
    const char *fault, const char *reason)
{
	const struct relay_target *t = &job->targets[job->at];
	char ip[ADDR_TEXT];
	struct buf records;
	struct ipc_out o;

	buf_init(&records, REPORT_BYTES);
	tlsa_text(&job->dane, &records);
	ipc_out_init(&o, FETCH_TLS_RESULT);
	ipc_put_str(&o, job->hop.host);
	ipc_put_u32(&o, type);
	ipc_put_str(&o, records.failed ? "" : buf_cstr(&records));
	ipc_put_str(&o, fault);
	ipc_put_str(&o, reason);
	ipc_put_str(&o, s != NULL ? relay_session_local_ip(s) : "");
	ipc_put_str(&o, t->host);
	ipc_put_str(&o, addr_text(&t->addr, ip));
	(void)ipc_edge_send(job->env.fetchd, &o); /* a count less is no harm */
	buf_clear(&records);
}

/* Mail that is to go without the TLS that policies ask for says nothing about them; reports are such mail, so that none
 * is about reports.  The same session once more in the clear is none of its own. */
static bool
is_reported(const struct relay_job *job)
{
	return job->env.fetchd != NULL && job->env.conf->tlsrpt && !job->spec.is_lmtp &&
	       job->hop.use_mx && !is_tls_optional(job) && !job->in_the_clear &&
	       job->tls.level > RELAY_TLS_NONE;
}

static const char *
sts_fault(const struct relay_job *job)
{
	static const char *const names[] = { NULL, "sts-policy-fetch-error", "sts-policy-invalid",
		"sts-webpki-invalid" };

	return names[job->sts.fault];
}

static enum fetch_tls_policy
reported_policy(const struct relay_job *job)
{
	if (job->dane.count > 0)
		return FETCH_TLSA;
	return job->sts.mode != STS_NONE || job->sts.fault != FETCH_STS_GOOD ? FETCH_STS
									     : FETCH_NO_POLICY;
}

static bool
has_unusable_tlsa(const struct relay_job *job)
{
	return job->tls.level == RELAY_TLS_DANE && job->is_lowered &&
	       job->lowered.level == RELAY_TLS_ENCRYPT;
}

/* A session that came to its end, or to its first message: as the policy has it if nothing speaks against that. */
static void
report_session(const struct relay_job *job, const struct relay_session *s, bool is_ready)
{
	const struct relay_tls_fault *f = relay_session_tls_fault(s);
	enum fetch_tls_policy type = reported_policy(job);
	bool counts = type != FETCH_NO_POLICY || !relay_session_has_tls(s);

	if (!is_reported(job))
		return;
	if (has_unusable_tlsa(job))
		report(job, s, FETCH_TLSA, "tlsa-invalid", "");
	else if (type == FETCH_STS && sts_fault(job) != NULL)
		report(job, s, type, sts_fault(job), "");
	else if (type == FETCH_STS && !sts_names_host(job))
		report(job, s, type, "validation-failure", "MX host not in MTA-STS policy");
	else if (counts && f->type != NULL)
		report(job, s, type, f->type, f->reason);
	else if (is_ready && relay_session_has_tls(s))
		report(job, s, type, "", "");
}

/* RFC 8461 5: mail goes on, and who reads the log knows what would become of it. */
static void
note_sts_test(const struct relay_job *job, const struct relay_session *s)
{
	const char *why = !sts_names_host(job)            ? "the policy does not name it"
			  : !relay_session_is_verified(s) ? "no TLS with a certificate of this name"
							  : NULL;

	if (why != NULL)
		log_info("%s: MTA-STS policy of %s (testing) would not allow %s: %s",
		    job->spec.queue_id, job->hop.host, relay_session_peer(s), why);
}

static void
on_ready(void *arg, struct relay_session *s)
{
	struct relay_job *job = arg;

	if (has_sts(job, STS_TESTING))
		note_sts_test(job, s);
	report_session(job, s, true);
	session_is_ready(job);
}

static const struct relay_tls_policy *
present_policy(const struct relay_job *job)
{
	if (has_sts(job, STS_ENFORCE))
		return &job->sts_tls;
	return job->is_lowered ? &job->lowered : &job->tls;
}

static bool
may_go_in_the_clear(const struct relay_job *job)
{
	return present_policy(job)->level == RELAY_TLS_MAY && !job->in_the_clear &&
	       !job->env.conf->tls_defaults.is_wrapped;
}

static void
on_failed(void *arg, struct relay_session *s, const struct relay_verdict *v, enum relay_failure how)
{
	struct relay_job *job = arg;

	note_set(&job->failure, v, relay_session_peer(s));
	if (how == RELAY_FAIL_FINAL) {
		for (size_t i = 0; i < job->nrcpts; i++)
			tell(job, &job->rcpts[i], v, relay_session_peer(s));
		drop_session(job);
		end(job);
		return;
	}
	log_debug("%s: %s", job->spec.queue_id, v->text);
	report_session(job, s, false);
	drop_session(job);
	if (how == RELAY_FAIL_TLS && may_go_in_the_clear(job))
		job->in_the_clear = true;
	else
		next_target(job);
	try_next_target(job);
}

static const struct relay_session_ops session_ops = { on_ready, on_recipient, on_done, on_failed };

static bool
reuse(struct relay_job *job, struct relay_session *s)
{
	if (s == NULL)
		return false;
	job->session = s;
	relay_session_give(s, &session_ops, job);
	return true;
}

/* Brings the present host's other addresses of the same preference, which is all it has, behind its first: how many it has.  What is
 * asked of the host, DANE too, is asked once for all of them. */
static size_t
gather_addresses(struct relay_job *job)
{
	struct relay_target *first = &job->targets[job->at], found;
	size_t n = 1;

	for (size_t i = 1; i < job->ntargets - job->at; i++) {
		if (strcmp(first[i].host, first->host) != 0)
			continue;
		found = first[i];
		memmove(&first[n + 1], &first[n], (i - n) * sizeof *first);
		first[n++] = found;
	}
	return n;
}

/* One that is kept, to any address of the present host. */
static bool
reuse_peer(struct relay_job *job)
{
	struct relay_target *first = &job->targets[job->at], found;
	size_t n = gather_addresses(job);

	for (size_t i = 0; i < n; i++) {
		if (!reuse(job, relay_pool_take_peer(job->env.pool, &first[i], job->identity)))
			continue;
		found = first[i];
		memmove(&first[1], first, i * sizeof *first);
		*first = found;
		return true;
	}
	return false;
}

static void
open_session(struct relay_job *job, struct stream *stream)
{
	struct relay_target t = job->targets[job->at];
	struct relay_session_options o = { .is_lmtp = job->spec.is_lmtp,
		.no_tls = job->in_the_clear,
		.tls = present_policy(job),
		.dane = job->dane.count > 0 ? &job->dane : NULL,
		.domain = job->hop.host,
		.authd = job->env.conf->sasl_enable && !job->spec.is_lmtp ? job->env.authd : NULL,
		.sender = job->spec.sender,
		.nexthop = job->spec.nexthop,
		.identity = job->identity };

	o.has_loop_check = job->hop.use_mx && job->hop.port == job->env.conf->port;
	if (has_sts(job, STS_ENFORCE)) /* RFC 8689 4.2.1: as good as a signed MX record */
		t.is_named_safely = true;
	job->session =
	    relay_session_open(job->env.loop, job->env.conf, stream, &t, &o, &session_ops, job);
}

static void
on_address_failed(void *arg, const struct relay_verdict *v)
{
	struct relay_job *job = arg;

	note_set(&job->failure, v, "none");
}

static void
on_connected(void *arg, struct stream *stream, size_t index)
{
	struct relay_job *job = arg;

	job->connect = NULL;
	job->at += index;
	if (stream != NULL) {
		open_session(job, stream);
		return;
	}
	job->at--;
	next_target(job);
	try_next_target(job);
}

static const struct relay_connect_ops connect_ops = { on_address_failed, on_connected };

static void
connect_to_host(struct relay_job *job)
{
	/* without TLS it is this address that shall be tried once more */
	size_t n = job->in_the_clear ? 1 : gather_addresses(job);

	job->connect = relay_connect_start(job->env.loop, job->env.conf->connect_ms,
	    &job->targets[job->at], n, &job->source, &connect_ops, job);
}

/* ---------------------------------------------------------------- DANE (RFC 7672) */

/* This host is not to be used. */
static void
shun(struct relay_job *job, const char *why)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5", "%s", why);
	v.is_unreachable = true;
	log_info("%s: TLS policy for %s/%s: %s", job->spec.queue_id, job->spec.nexthop,
	    job->targets[job->at].host, why);
	note_set(&job->failure, &v, "none");
	next_target(job);
}

/* Without records to go by: what "dane" makes of it, where "dane-only" gives up (RFC 7672 2.2, 6). */
static void
do_without_dane(struct relay_job *job, enum relay_tls_level level, const char *why)
{
	struct err e;

	if (job->tls.level == RELAY_TLS_DANE_ONLY) {
		if (is_reported(job))
			report(job, NULL, FETCH_TLSA, "dane-required", why);
		shun(job, why);
		return;
	}
	if (relay_tls_policy_read(
		&job->env.conf->tls_defaults, job->tls_entry, level, &job->lowered, &e) < 0)
		bug("a TLS policy that was read cannot be read again: %s", e.text);
	job->is_lowered = true;
}

static void
on_dane(void *arg, enum relay_dane_result r, struct relay_dane *d)
{
	struct relay_job *job = arg;
	const struct relay_target *t = &job->targets[job->at];
	char failed[DNS_NAME_MAX + 40];

	job->dane_query = NULL;
	job->knows_dane = true;
	relay_dane_clear(&job->dane);
	job->dane = *d;
	snprintf(
	    failed, sizeof failed, "TLSA lookup error for %s:%u", t->host, addr_port(&t->addr));
	if (r == RELAY_DANE_FAILED && is_reported(job))
		report(job, NULL, FETCH_TLSA, "dnssec-invalid", "");
	if (r == RELAY_DANE_FAILED)
		shun(job, failed);
	else if (r == RELAY_DANE_NONE)
		do_without_dane(job, RELAY_TLS_MAY, "no TLSA records found");
	else if (r == RELAY_DANE_UNUSABLE)
		do_without_dane(job, RELAY_TLS_ENCRYPT, "TLSA records unusable");
	try_next_target(job);
}

/* true: the answer comes, or this host is left out. */
static bool
ask_dane(struct relay_job *job)
{
	const struct relay_target *t = &job->targets[job->at];
	struct relay_dane_host host = { t->host, t->canonical, t->is_secure, addr_port(&t->addr) };

	if (job->knows_dane ||
	    (job->tls.level != RELAY_TLS_DANE && job->tls.level != RELAY_TLS_DANE_ONLY))
		return false;
	job->knows_dane = true;
	if (!t->is_named_safely) {
		do_without_dane(job, RELAY_TLS_MAY, "non DNSSEC destination");
		return !job->is_lowered;
	}
	if (job->hop.is_address) {
		do_without_dane(job, RELAY_TLS_MAY, "no TLSA records found");
		return !job->is_lowered;
	}
	job->dane_query = relay_dane_start(job->env.loop, job->env.dnsd, &host, on_dane, job);
	return true;
}

/* ---------------------------------------------------------------- the next host */

static int
compare_names(const void *a, const void *b)
{
	return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* Who takes this domain's mail, whichever other domains' he takes, too. */
static void
name_site(struct relay_job *job)
{
	const char *names[RELAY_MX_HOSTS_MAX];
	unsigned best = UINT32_MAX;
	size_t n = 0, len = 0;

	if (!job->hop.use_mx || job->hop.is_address)
		return;
	for (size_t i = 0; i < job->ntargets; i++)
		if (job->targets[i].preference < best)
			best = job->targets[i].preference;
	for (size_t i = 0; i < job->ntargets && n < RELAY_MX_HOSTS_MAX; i++)
		if (job->targets[i].preference == best)
			names[n++] = job->targets[i].host;
	qsort(names, n, sizeof *names, compare_names);
	for (size_t i = 0; i < n; i++) {
		bool is_new = i == 0 || strcasecmp(names[i], names[i - 1]) != 0;

		if (is_new && len + strlen(names[i]) + 2 <= sizeof job->site)
			len += (size_t)snprintf(job->site + len, sizeof job->site - len, "%s%s",
			    len > 0 ? "," : "", names[i]);
	}
	ascii_lower_str(job->site);
}

static void
on_resolved(void *arg, const struct relay_target *targets, size_t count,
    const struct relay_verdict *failure)
{
	struct relay_job *job = arg;

	job->resolve = NULL;
	if (failure != NULL) {
		give_up(job, failure);
		return;
	}
	job->targets = x_calloc(count, sizeof *targets);
	memcpy(job->targets, targets, count * sizeof *targets);
	job->ntargets = count;
	name_site(job);
	try_next_target(job);
}

static void
try_next_target(struct relay_job *job)
{
	if (job->ntold == job->nrcpts) {
		end(job);
		return;
	}
	job->ready_ms = 0;
	if (job->targets == NULL) {
		job->at = 0;
		job->resolve = relay_resolve_start(
		    job->env.loop, job->env.dnsd, job->env.conf, &job->hop, on_resolved, job);
		return;
	}
	while (job->at < job->ntargets && job->nsessions < job->env.conf->session_limit) {
		if (!job->no_reuse && !job->in_the_clear && reuse_peer(job)) {
			session_is_ready(job);
			return;
		}
		if (ask_dane(job)) {
			if (job->dane_query != NULL)
				return;
			continue;
		}
		if (has_sts(job, STS_ENFORCE) && !sts_names_host(job)) {
			if (is_reported(job))
				report(job, NULL, FETCH_STS, "validation-failure",
				    "MX host not in MTA-STS policy");
			shun(job, "MTA-STS policy does not name this host");
			continue;
		}
		connect_to_host(job);
		return;
	}
	tell_rest(job, &job->failure.verdict, job->failure.relay);
	end(job);
}

/* ---------------------------------------------------------------- start and end */

static bool
is_ascii(const char *s)
{
	return !relay_bytes_have_8bit(s, strlen(s));
}

/* Looks through the header section, of which the first part is ours and the rest stands at the start of the body. */
static bool
headers_have_8bit(struct relay_job *job)
{
	static char chunk[SCAN_CHUNK];
	uint64_t at = 0;
	int64_t n;

	while (at < HEADERS_MAX &&
	       (n = relay_content_read(&job->content, at, chunk, sizeof chunk, NULL)) > 0) {
		struct view v = view_make(chunk, (size_t)n);
		const char *end = view_find(v, VIEW_LIT("\n\r\n"));

		if (relay_bytes_have_8bit(chunk, end != NULL ? (size_t)(end - chunk) : v.len))
			return true;
		if (end != NULL || v.len < sizeof chunk)
			break;
		at += v.len - 2; /* the empty line may be cut in two */
	}
	return false;
}

/* RFC 6531 3.2: only what really holds UTF-8 in addresses or headers needs the extension. */
static bool
find_needs_utf8(struct relay_job *job)
{
	bool found = !is_ascii(job->sender);

	for (size_t i = 0; i < job->nrcpts && !found; i++)
		found = !is_ascii(job->rcpts[i].wire.address);
	return found || ((job->spec.flags & ENVELOPE_SMTPUTF8) && headers_have_8bit(job));
}

/* Of the domain of an address that cannot be a domain the sender must hear; a wrong relayhost is our own
 * fault, and mail waits until it is mended. */
static void
bad_nexthop(struct relay_job *job, const struct err *why)
{
	const char *at = strrchr(job->rcpts[0].wire.address, '@');
	struct relay_verdict v;

	if (at != NULL && strcasecmp(at + 1, job->spec.nexthop) == 0)
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.1.2", "invalid domain name: %s: %s",
		    job->spec.nexthop, why->text);
	else
		relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.5",
		    "mail system configuration error: nexthop %s: %s", job->spec.nexthop,
		    why->text);
	if (v.status == DELIVERY_DEFERRED)
		log_error("%s: %s", job->spec.queue_id, v.text);
	give_up(job, &v);
}

static void
refuse_bad_addresses(struct relay_job *job)
{
	bool sender_is_safe = relay_path_is_safe(job->sender, true);
	struct relay_verdict v;

	if (!sender_is_safe)
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.1.7", "bad sender address syntax");
	else
		relay_verdict_set(&v, DELIVERY_BOUNCED, "5.1.3", "bad recipient address syntax");
	for (size_t i = 0; i < job->nrcpts; i++)
		if (!sender_is_safe || !relay_path_is_safe(job->rcpts[i].wire.address, true) ||
		    *job->rcpts[i].wire.address == '\0')
			tell(job, &job->rcpts[i], &v, "none");
}

/* Of a pool; what stands in main.cf is the same for all. */
static const char *
source_text(const struct relay_source *s, int family, char out[ADDR_TEXT])
{
	const struct sockaddr_storage *a = s->is_pool ? relay_source_for(s, family) : NULL;

	return a != NULL ? addr_text(a, out) : "";
}

/* The protocol; and with which password we log in, what TLS we ask for, and where we come from, follow from this, and the
 * host. */
static const char *
identity_of(struct relay_job *job)
{
	char ip4[ADDR_TEXT], ip6[ADDR_TEXT];
	const struct relay_conf *conf = job->env.conf;
	enum relay_tls_level level = job->tls.level;
	bool is_sts = job->sts.mode == STS_ENFORCE;
	char *text;
	const char *copy;

	if (job->spec.is_lmtp)
		return "lmtp";
	text = x_asprintf("smtp\n%s\n%s\n%d %s\n%s\n%s\n%s %s",
	    conf->sasl_enable && conf->sasl_by_sender ? job->spec.sender : "",
	    conf->sasl_enable ? job->spec.nexthop : "", level,
	    level > RELAY_TLS_NONE && job->tls_entry != NULL ? job->tls_entry : "",
	    level > RELAY_TLS_ENCRYPT || is_sts ? job->hop.host : "", is_sts ? job->sts.id : "",
	    source_text(&job->source, AF_INET, ip4), source_text(&job->source, AF_INET6, ip6));
	copy = arena_strdup(&job->arena, text);
	free(text);
	return copy;
}

static void
bad_policy(struct relay_job *job)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.7.5", "client TLS configuration problem");
	give_up(job, &v);
}

/* All is known that decides which connection will do. */
static void
find_session(struct relay_job *job)
{
	job->identity = identity_of(job);
	if (reuse(job, relay_pool_take(job->env.pool, job->spec.nexthop, job->identity)))
		session_is_ready(job);
	else
		try_next_target(job);
}

static void
on_sts(void *arg, const struct relay_sts_policy *p)
{
	struct relay_job *job = arg;
	struct err e;

	job->sts_query = NULL;
	job->sts = (struct relay_sts_policy){ p->mode, arena_strdup(&job->arena, p->id),
		arena_strdup(&job->arena, p->mx), p->fault };
	if (job->sts.id == NULL || job->sts.mx == NULL ||
	    relay_tls_policy_read(&job->env.conf->tls_defaults, "secure match=hostname",
		RELAY_TLS_SECURE, &job->sts_tls, &e) < 0) {
		bad_policy(job);
		return;
	}
	job->sts_tls.is_sts = true;
	find_session(job);
}

/* MTA-STS makes more of TLS that is asked for where it can be had; what the admin, or the sender (RFC 8689 4.2.2), wants of
 * this destination stands above it. */
bool
relay_job_may_have_sts(const struct relay_env *env, const struct relay_nexthop *hop, bool is_lmtp,
    bool has_entry, bool is_tls_optional, enum relay_tls_level level)
{
	return env->fetchd != NULL && env->conf->mta_sts && !is_lmtp && !has_entry && hop->use_mx &&
	       !is_tls_optional &&
	       (level == RELAY_TLS_MAY || level == RELAY_TLS_ENCRYPT || level == RELAY_TLS_DANE);
}

static void
begin(struct relay_job *job)
{
	/* RFC 8689 4.2.2: no policy of ours stands above what the sender wants */
	enum relay_tls_level at_most = is_tls_optional(job) ? RELAY_TLS_MAY : RELAY_TLS_SECURE;
	struct err e;

	if (!job->spec.is_lmtp && relay_tls_policy_read(&job->env.conf->tls_defaults,
				      job->tls_entry, at_most, &job->tls, &e) < 0) {
		log_warn("smtp_tls_policy_maps, next-hop destination \"%s\": %s", job->spec.nexthop,
		    lqs(e.text));
		bad_policy(job);
		return;
	}
	if (relay_job_may_have_sts(&job->env, &job->hop, job->spec.is_lmtp, job->tls_entry != NULL,
		is_tls_optional(job), job->tls.level))
		job->sts_query =
		    relay_sts_start(job->env.dnsd, job->env.fetchd, job->hop.host, on_sts, job);
	else
		find_session(job);
}

static void
bad_source(struct relay_job *job)
{
	struct relay_verdict v;

	relay_verdict_set(
	    &v, DELIVERY_DEFERRED, "4.3.5", "mail system configuration error: source address");
	give_up(job, &v);
}

static void
on_source(void *arg, bool is_known, const char *value)
{
	struct relay_job *job = arg;
	struct err e;

	job->source_lookup = NULL;
	if (!is_known) {
		bad_source(job);
	} else if (value != NULL && relay_source_pick(value, job->spec.queue_id, job->spec.nexthop,
					&job->source, &e) < 0) {
		log_warn(
		    "smtp_bind_address_maps, sender <%s>: %s", lqs(job->spec.sender), lqs(e.text));
		bad_source(job);
	} else {
		begin(job);
	}
}

static void
find_source(struct relay_job *job)
{
	const struct relay_conf *conf = job->env.conf;

	job->source = job->spec.is_lmtp ? conf->lmtp_source : conf->source;
	if (conf->has_source_maps && !job->spec.is_lmtp)
		job->source_lookup = relay_source_lookup_start(
		    job->env.authd, job->spec.sender, job->spec.login, on_source, job);
	else
		begin(job);
}

static void
on_policy(void *arg, bool is_known, const char *entry)
{
	struct relay_job *job = arg;

	job->policy_lookup = NULL;
	if (entry != NULL)
		job->tls_entry = arena_strdup(&job->arena, entry);
	if (!is_known || (entry != NULL && job->tls_entry == NULL))
		bad_policy(job);
	else
		find_source(job);
}

static void
find_policy(struct relay_job *job)
{
	job->needs_utf8 = find_needs_utf8(job);
	if (job->env.conf->has_tls_policies && !job->spec.is_lmtp)
		job->policy_lookup =
		    relay_policy_lookup_start(job->env.authd, job->spec.nexthop, on_policy, job);
	else
		find_source(job);
}

static void
cannot_rewrite(struct relay_job *job, const char *why)
{
	struct relay_verdict v;

	relay_verdict_set(&v, DELIVERY_DEFERRED, "4.3.0", "%s_generic_maps: %s",
	    job->spec.is_lmtp ? "lmtp" : "smtp", why);
	give_up(job, &v);
}

static void
on_generic(void *arg, bool ok)
{
	struct relay_job *job = arg;
	struct err e;

	if (!ok) {
		cannot_rewrite(job, "table lookup problem");
		return;
	}
	if (!job->spec.is_probe && relay_generic_apply(job->generic, &job->content, &e) < 0) {
		cannot_rewrite(job, e.text);
		return;
	}
	job->sender = relay_generic_find(job->generic, job->spec.sender);
	for (size_t i = 0; i < job->nrcpts; i++)
		job->rcpts[i].wire.address =
		    relay_generic_find(job->generic, job->rcpts[i].wire.address);
	refuse_bad_addresses(job);
	if (job->ntold == job->nrcpts)
		end(job);
	else
		find_policy(job);
}

static void
rewrite(struct relay_job *job)
{
	struct err e;

	job->generic =
	    relay_generic_new(job->spec.is_lmtp ? REWRITE_LMTP_GENERIC : REWRITE_GENERIC);
	relay_generic_add(job->generic, job->spec.sender);
	for (size_t i = 0; i < job->nrcpts; i++)
		relay_generic_add(job->generic, job->rcpts[i].wire.address);
	if (!job->spec.is_probe && relay_generic_read(job->generic, &job->content, &e) < 0)
		cannot_rewrite(job, e.text);
	else if (!relay_generic_ask(job->generic, job->env.authd, on_generic, job))
		find_policy(job);
}

static void
on_start(void *arg)
{
	struct relay_job *job = arg;
	const struct relay_conf *conf = job->env.conf;
	struct err e;

	refuse_bad_addresses(job);
	if (job->ntold == job->nrcpts) {
		end(job);
		return;
	}
	if (relay_nexthop_parse(job->spec.nexthop, job->spec.is_lmtp ? conf->lmtp_port : conf->port,
		&job->hop, &e) < 0) {
		bad_nexthop(job, &e);
		return;
	}
	if (job->spec.is_lmtp) /* a server that was named, not found by a domain */
		job->hop.use_mx = false;
	if (job->spec.is_lmtp ? conf->lmtp_has_generic : conf->has_generic)
		rewrite(job);
	else
		find_policy(job);
}

void
relay_job_start(struct relay_job *job)
{
	job->started_ms = clock_mono_ms();
	job->txn_rcpts = x_calloc(job->nrcpts, sizeof *job->txn_rcpts);
	job->txn_owners = x_calloc(job->nrcpts, sizeof *job->txn_owners);
	loop_timer_soon(&job->soon);
}

void
relay_job_refuse(struct relay_job *job, const struct relay_verdict *v)
{
	job->started_ms = clock_mono_ms();
	give_up(job, v);
}

struct relay_job *
relay_job_new(const struct relay_env *env, const struct relay_job_spec *spec,
    const struct relay_content *content, const struct relay_job_ops *ops, void *arg)
{
	struct relay_job *job = x_calloc(1, sizeof *job);

	job->env = *env;
	job->ops = ops;
	job->arg = arg;
	job->content = *content;
	relay_plan_init(&job->plan);
	arena_init(&job->arena, ARENA_MAX);
	job->spec = *spec;
	job->spec.queue_id = arena_strdup(&job->arena, spec->queue_id);
	job->spec.nexthop = arena_strdup(&job->arena, spec->nexthop);
	job->sender = job->spec.sender = arena_strdup(&job->arena, spec->sender);
	job->spec.envid = arena_strdup(&job->arena, spec->envid);
	job->spec.login = arena_strdup(&job->arena, spec->login);
	job->spec.client = (struct relay_client){
		.name = arena_strdup(&job->arena, spec->client.name),
		.address = arena_strdup(&job->arena, spec->client.address),
		.port = arena_strdup(&job->arena, spec->client.port),
		.helo = arena_strdup(&job->arena, spec->client.helo),
		.protocol = arena_strdup(&job->arena, spec->client.protocol),
	};
	relay_verdict_set(&job->failure.verdict, DELIVERY_DEFERRED, "4.4.2",
	    "the connection was closed before the message was sent");
	snprintf(job->failure.relay, sizeof job->failure.relay, "none");
	loop_timer_init(&job->soon, env->loop, on_start, job);
	loop_timer_init(&job->limit, env->loop, on_limit, job);
	return job;
}

int
relay_job_add(struct relay_job *job, const struct relay_job_rcpt_spec *rcpt)
{
	const char *address = arena_strdup(&job->arena, rcpt->address);
	const char *orcpt = arena_strdup(&job->arena, rcpt->orcpt);

	if (address == NULL || orcpt == NULL)
		return -1;
	job->rcpts = x_realloc(job->rcpts, job->nrcpts + 1, sizeof *job->rcpts);
	job->rcpts[job->nrcpts++] = (struct rcpt){ .number = rcpt->number,
		.wire = { .address = address, .orcpt = orcpt, .notify = rcpt->notify } };
	return 0;
}

int
relay_job_check(struct relay_job *job, struct err *err)
{
	if (job->nrcpts == 0)
		return err_set(err, ERR_PERM, "no recipients");
	return job->spec.is_probe ? 0 : relay_content_check(&job->content, err);
}

void
relay_job_free(struct relay_job *job)
{
	if (job == NULL)
		return;
	relay_generic_free(job->generic);
	relay_policy_lookup_cancel(job->policy_lookup);
	relay_source_lookup_cancel(job->source_lookup);
	relay_sts_cancel(job->sts_query);
	relay_resolve_cancel(job->resolve);
	relay_connect_cancel(job->connect);
	relay_dane_cancel(job->dane_query);
	relay_session_free(job->session);
	relay_dane_clear(&job->dane);
	relay_tls_policy_clear(&job->tls);
	relay_tls_policy_clear(&job->sts_tls);
	relay_tls_policy_clear(&job->lowered);
	loop_timer_stop(&job->soon);
	loop_timer_stop(&job->limit);
	relay_content_close(&job->content);
	relay_downgrade_clear(&job->survey);
	relay_plan_clear(&job->plan);
	for (size_t i = 0; i < job->nrcpts; i++)
		free(job->rcpts[i].soft);
	free(job->rcpts);
	free(job->targets);
	free(job->txn_rcpts);
	free(job->txn_owners);
	arena_clear(&job->arena);
	free(job);
}

uint32_t
relay_job_number(const struct relay_job *job)
{
	return job->spec.number;
}
