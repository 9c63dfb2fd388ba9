#include "edge/dnsd.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dns.h"
#include "common/log/log.h"
#include "common/net/dns.h"
#include "edge/dns_packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

enum {
	CLASS_IN = 1,
	CALLER_ASKS_MAX = 4096, /* of one connection at a time; its peer gets DNS_FAIL beyond */
	SECURITY_BOGUS = 1,     /* of libunbound's event callback */
	SECURITY_SECURE = 2,
	WHY_MAX = 200,
	KEY_MAX = DNS_NAME_MAX + 8,
	FAILURE_LOG_MS = 10000, /* between lines about questions without an answer */
};

struct question;

/* Somebody who waits for an answer. */
struct ask {
	TAILQ_ENTRY(ask) in_question;
	TAILQ_ENTRY(ask) in_caller;
	struct question *question; /* borrowed */
	struct caller *caller;     /* borrowed */
	uint32_t id;               /* of the request */
	struct loop_timer timer;
};
TAILQ_HEAD(ask_list, ask);

struct caller {
	TAILQ_ENTRY(caller) link;
	struct dnsd *dnsd;
	struct ipc_conn *conn;
	struct ask_list asks;
	unsigned nasks;
};

/* Known to libunbound until its callback comes, even when nobody waits any more (ub_cancel would only
 * drop the callback: the work goes on), so that dns_max_queries bounds the real work. */
struct question {
	struct dnsd *dnsd;
	char key[KEY_MAX]; /* "type name" */
	unsigned type;
	struct ask_list asks;
	bool *answered; /* set when the callback came inside of ub_resolve_event */
};

struct dnsd {
	struct loop *loop;
	struct ub_ctx *ub;
	struct map questions; /* key -> struct question */
	TAILQ_HEAD(, caller) callers;
	struct dns_packet packet;
	int64_t timeout_ms;
	size_t max_questions;
	size_t nasks;
	bool is_draining;
	void (*idle)(void *arg);
	void *idle_arg;
	struct loop_timer idle_timer;
	int64_t failure_logged_ms; /* monotonic; 0 = never */
	unsigned failures_unlogged;
};

/* What an answer says, before it is written out. */
struct outcome {
	enum dns_status status;
	bool is_secure;
	const char *why;
	const struct dns_packet *packet; /* NULL: no records */
};

static void
reply_send(struct ipc_conn *conn, uint32_t id, const struct outcome *oc)
{
	const struct dns_packet *p = oc->packet;
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, oc->status);
	ipc_put_u32(&o, oc->is_secure ? 1 : 0);
	ipc_put_u32(&o, p != NULL ? p->ttl : 0);
	ipc_put_str(&o, p != NULL ? p->canonical : "");
	ipc_put_str(&o, oc->why);
	for (size_t i = 0; p != NULL && i < p->count; i++) {
		struct view rdata = dns_packet_rdata(p, i);

		ipc_put_bytes(&o, rdata.p, rdata.len);
	}
	ipc_conn_reply(conn, id, &o);
}

static void
reply_fail(struct ipc_conn *conn, uint32_t id, const char *why)
{
	reply_send(conn, id, &(struct outcome){ .status = DNS_FAIL, .why = why });
}

static void
ask_free(struct ask *a)
{
	struct dnsd *d = a->caller->dnsd;

	TAILQ_REMOVE(&a->question->asks, a, in_question);
	TAILQ_REMOVE(&a->caller->asks, a, in_caller);
	a->caller->nasks--;
	loop_timer_stop(&a->timer);
	free(a);
	if (--d->nasks == 0 && d->is_draining)
		loop_timer_soon(&d->idle_timer);
}

static void
ask_answer(struct ask *a, const struct outcome *oc)
{
	struct ipc_conn *conn = a->caller->conn;
	uint32_t id = a->id;

	ask_free(a);
	reply_send(conn, id, oc);
}

/* What callers make of it (Postfix: "Domain not found", try again) does not tell a dead server from a name that is not
 * there.  Names are strangers' choice: they are not given a line each. */
static void
log_failure(struct question *q, const char *why)
{
	struct dnsd *d = q->dnsd;
	int64_t now = clock_mono_ms();
	char more[64] = "";

	if (d->failure_logged_ms != 0 && now - d->failure_logged_ms < FAILURE_LOG_MS) {
		d->failures_unlogged++;
		return;
	}
	if (d->failures_unlogged > 0)
		snprintf(
		    more, sizeof more, " (%u more since the last such line)", d->failures_unlogged);
	log_warn("%s: dns lookup failed: %s%s", strchr(q->key, ' ') + 1, why, more);
	d->failure_logged_ms = now;
	d->failures_unlogged = 0;
}

static void
on_ask_timeout(void *arg)
{
	log_failure(((struct ask *)arg)->question, "no answer in time");
	ask_answer(arg, &(struct outcome){ .status = DNS_FAIL, .why = "no answer in time" });
}

static void
question_free(struct question *q)
{
	map_remove(&q->dnsd->questions, view_of(q->key));
	free(q);
}

static void
question_answer(struct question *q, const struct outcome *oc)
{
	struct ask *a;

	if (q->answered != NULL)
		*q->answered = true;
	if (oc->status == DNS_FAIL || oc->status == DNS_BOGUS)
		log_failure(q, oc->why);
	while ((a = TAILQ_FIRST(&q->asks)) != NULL)
		ask_answer(a, oc);
	question_free(q);
}

/* libunbound's reasons quote names of strangers; one line of printable ASCII goes on. */
static const char *
why_copy(char *out, size_t size, const char *why)
{
	size_t n = 0;

	for (; why != NULL && *why != '\0' && n + 1 < size; why++)
		out[n++] = *why >= ' ' && *why < 127 ? *why : '?';
	out[n] = '\0';
	return out;
}

static void
on_resolved(void *arg, int rcode, void *packet, int packet_len, int security, char *why_bogus,
    int was_ratelimited)
{
	struct question *q = arg;
	struct dns_packet *p = &q->dnsd->packet;
	struct outcome oc = { .status = DNS_FAIL, .why = "server failure" };
	char why[WHY_MAX];
	struct err e;

	if (was_ratelimited) {
		oc.why = "rate limit";
	} else if (rcode == 0 && security == SECURITY_BOGUS) {
		oc.status = DNS_BOGUS;
		oc.why =
		    why_copy(why, sizeof why, why_bogus != NULL ? why_bogus : "validation failed");
	} else if (rcode == 0 && packet != NULL && packet_len > 0) {
		if (dns_packet_parse(p, view_make(packet, (size_t)packet_len), q->type, &e) < 0) {
			oc.why = e.text;
		} else if (p->status != DNS_FAIL) {
			oc = (struct outcome){ .status = p->status, .why = "", .packet = p };
			oc.is_secure = security == SECURITY_SECURE;
		}
	}
	question_answer(q, &oc);
}

static struct question *
question_new(struct dnsd *d, const char *key, unsigned type)
{
	struct question *q = x_calloc(1, sizeof *q);

	q->dnsd = d;
	q->type = type;
	snprintf(q->key, sizeof q->key, "%s", key);
	TAILQ_INIT(&q->asks);
	map_put(&d->questions, view_of(q->key), q);
	return q;
}

static void
ask_new(struct caller *c, struct question *q, uint32_t id)
{
	struct ask *a = x_calloc(1, sizeof *a);

	a->question = q;
	a->caller = c;
	a->id = id;
	loop_timer_init(&a->timer, c->dnsd->loop, on_ask_timeout, a);
	loop_timer_start(&a->timer, c->dnsd->timeout_ms);
	TAILQ_INSERT_TAIL(&q->asks, a, in_question);
	TAILQ_INSERT_TAIL(&c->asks, a, in_caller);
	c->nasks++;
	c->dnsd->nasks++;
}

/* An answer from the cache comes from within the call. */
static void
question_start(struct question *q, const char *name)
{
	bool answered = false;
	int rc;

	q->answered = &answered;
	rc = ub_resolve_event(q->dnsd->ub, name, (int)q->type, CLASS_IN, q, on_resolved, NULL);
	if (answered)
		return;
	q->answered = NULL;
	if (rc != 0)
		question_answer(q, &(struct outcome){ .status = DNS_FAIL, .why = ub_strerror(rc) });
}

/* Lower case and without the last dot; false when no such name can be in the DNS as we use it.  Only bytes
 * that mean nothing to anyone who logs or compares the name. */
static bool
name_normalize(const char *name, char out[DNS_NAME_MAX])
{
	size_t n = 0, label = 0;

	for (; *name != '\0'; name++) {
		unsigned char c = (unsigned char)*name;

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
			if (name[1] == '\0')
				break;
		} else if (!(ascii_is_alnum(c) || c == '-' || c == '_' || c == '/') ||
			   ++label > 63) {
			return false;
		}
		if (n + 1 >= DNS_NAME_MAX)
			return false;
		out[n++] = (char)ascii_lower(c);
	}
	out[n] = '\0';
	return n > 0;
}

static void
handle_query(void *arg, struct ipc_conn *conn, struct ipc_in *in)
{
	struct caller *c = arg;
	struct dnsd *d = c->dnsd;
	const char *asked = ipc_get_str(in);
	unsigned type = ipc_get_u32(in);
	char name[DNS_NAME_MAX], key[KEY_MAX];
	struct question *q;

	if (in->id == 0)
		return;
	if (!name_normalize(asked, name)) {
		reply_send(conn, in->id,
		    &(struct outcome){ .status = DNS_NXDOMAIN, .why = "malformed name" });
		return;
	}
	if (!dns_type_is_served(type) || c->nasks >= CALLER_ASKS_MAX) {
		reply_fail(conn, in->id,
		    c->nasks >= CALLER_ASKS_MAX ? "too many queries" : "unknown type");
		return;
	}
	snprintf(key, sizeof key, "%u %s", type, name);
	q = map_get(&d->questions, view_of(key));
	if (q != NULL) {
		ask_new(c, q, in->id);
		return;
	}
	if (d->questions.count >= d->max_questions) {
		reply_fail(conn, in->id, "too many queries");
		return;
	}
	q = question_new(d, key, type);
	ask_new(c, q, in->id);
	question_start(q, name);
}

static void
caller_free(struct caller *c)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&c->asks)) != NULL)
		ask_free(a);
	TAILQ_REMOVE(&c->dnsd->callers, c, link);
	free(c);
}

static void
on_caller_close(void *arg, struct ipc_conn *conn, const struct err *why)
{
	(void)conn;
	if (why->kind != ERR_GONE)
		log_warn("caller dropped: %s", lqs(why->text));
	caller_free(arg);
}

/* clang-format off */
static const struct ipc_handler caller_handlers[] = {
	{ DNS_QUERY, "su", IPC_STATE_ANY, handle_query },
	{ 0, NULL, 0, NULL },
};
/* clang-format on */
const struct ipc_conn_ops dnsd_caller_ops = { caller_handlers, on_caller_close };

void
dnsd_caller_open(void *arg, struct ipc_conn *conn)
{
	struct dnsd *d = arg;
	struct caller *c = x_calloc(1, sizeof *c);

	c->dnsd = d;
	c->conn = conn;
	TAILQ_INIT(&c->asks);
	TAILQ_INSERT_TAIL(&d->callers, c, link);
	ipc_conn_set_arg(conn, c);
	if (d->is_draining)
		ipc_conn_pause(conn, true);
}

struct ub_setting {
	const char *name, *value;
};
/* clang-format off */
static const struct ub_setting settings[] = {
	{ "verbosity:", "0" },
	{ "module-config:", "validator iterator" },   /* no RPZ, no subnet, no scripts */
	{ "do-not-query-localhost:", "no" },          /* a forwarder on this machine is common */
	{ "edns-buffer-size:", "1232" },              /* no fragments (DNS flag day 2020); larger ones come over TCP */
	{ "do-tcp:", "yes" },
	{ "qname-minimisation:", "yes" },
	{ "harden-glue:", "yes" },
	{ "harden-dnssec-stripped:", "yes" },
	{ "harden-below-nxdomain:", "yes" },
	{ "harden-short-bufsize:", "yes" },
	{ "harden-large-queries:", "yes" },
	{ "aggressive-nsec:", "yes" },
	{ "val-clean-additional:", "yes" },
	{ "val-log-level:", "0" },
	{ "rrset-roundrobin:", "yes" },
	{ "cache-max-ttl:", "86400" },
	{ "cache-max-negative-ttl:", "900" },
	{ "serve-expired:", "no" },
	{ "unblock-lan-zones:", "yes" },              /* reverse zones of private networks: the forwarder knows them */
	{ "insecure-lan-zones:", "yes" },
	{ "outgoing-range:", "512" },
	{ "outgoing-num-tcp:", "32" },
	{ "num-queries-per-thread:", "4096" },
	{ "infra-cache-numhosts:", "10000" },
	{ "infra-host-ttl:", "60" },                  /* a name server that was down is asked again soon */
	{ "infra-keep-probing:", "yes" },
	{ "use-syslog:", "no" },
	{ "username:", "" }, { "chroot:", "" }, { "directory:", "" }, { "pidfile:", "" }, /* the cage is ours */
};
/* clang-format on */

/* KeyTrap and NSEC3 (CVE-2023-50387, -50868), the work that one hostile zone can cause: Debian's 1.17.1
 * carries the budgets of 1.19.1 as constants in the code, they need no setting. */
static int
set_options(struct dnsd *d, const struct conf *conf, struct err *err)
{
	char size[32];

	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		int rc = ub_ctx_set_option(d->ub, settings[i].name, settings[i].value);

		if (rc != 0)
			return err_set(err, ERR_BUG, "libunbound: %s %s: %s", settings[i].name,
			    settings[i].value, ub_strerror(rc));
	}
	snprintf(size, sizeof size, "%lld", (long long)conf_size(conf, "dns_cache_size"));
	ub_ctx_set_option(d->ub, "rrset-cache-size:", size);
	snprintf(size, sizeof size, "%lld", (long long)conf_size(conf, "dns_cache_size") / 2);
	ub_ctx_set_option(d->ub, "msg-cache-size:", size);
	ub_ctx_set_option(d->ub, "key-cache-size:", size);
	return 0;
}

/* libunbound answers some zones itself.  With a forwarder that is its business: "test" and the loopback
 * networks hold real hosts where this suite is tried out. */
static void
unblock_zones(struct dnsd *d)
{
	static const char *const zones[] = { "test.", "home.arpa.", "127.in-addr.arpa.", "invalid.",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa." };

	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
		ub_ctx_zone_remove(d->ub, zones[i]);
}

/* 1: there are forwarders, 0: none, -1. */
static int
set_forwarders(struct dnsd *d, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "dns_forwarders")), item;
	int found = 0, rc;

	while (conf_next(&rest, &item)) {
		char *text = x_strndup(item.p, item.len);

		rc = ub_ctx_set_fwd(d->ub, text);
		if (rc != 0)
			err_set(err, ERR_PERM, "dns_forwarders: %s: %s (ADDRESS or ADDRESS@PORT)",
			    text, ub_strerror(rc));
		free(text);
		if (rc != 0)
			return -1;
		found = 1;
	}
	return found;
}

/* Name servers of the system; without any, the root servers are asked. */
static int
set_system_servers(struct dnsd *d)
{
	int rc = ub_ctx_resolvconf(d->ub, "/etc/resolv.conf");

	if (rc != 0)
		log_warn("/etc/resolv.conf: %s: asking the root servers", ub_strerror(rc));
	return rc == 0;
}

/* Debian: dns-root-data, then what unbound-anchor keeps; other systems behind them. */
static const char *
system_root_key(void)
{
	static const char *const places[] = { "/var/lib/unbound/root.key",
		"/usr/share/dns/root.key", "/etc/unbound/root.key" };

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (access(places[i], R_OK) == 0)
			return places[i];
	return NULL;
}

static int
set_trust_anchors(struct dnsd *d, const struct conf *conf, struct err *err)
{
	const char *file = conf_str(conf, "dns_trust_anchor_file");
	int rc;

	if (strcmp(file, "system") == 0) {
		file = system_root_key();
		if (file == NULL)
			log_warn("no root key found on this system: DNSSEC is not validated");
	}
	if (file == NULL || *file == '\0')
		return 0;
	rc = access(file, R_OK) == 0 ? ub_ctx_add_ta_file(d->ub, file) : UB_READFILE;
	if (rc != 0)
		return err_set(
		    err, ERR_PERM, "dns_trust_anchor_file: %s: %s", file, ub_strerror(rc));
	return 0;
}

static void
on_warmed_up(void *arg, int rcode, void *packet, int packet_len, int security, char *why_bogus,
    int was_ratelimited)
{
	bool *done = arg;

	(void)rcode, (void)packet, (void)packet_len, (void)security, (void)why_bogus,
	    (void)was_ratelimited;
	*done = true;
}

/* The first question makes libunbound read its trust anchors and set up its sockets; "localhost" is
 * answered from within. */
static int
warm_up(struct dnsd *d, struct err *err)
{
	bool done = false;
	int rc = ub_resolve_event(d->ub, "localhost", DNS_A, CLASS_IN, &done, on_warmed_up, NULL);

	if (rc != 0 || !done)
		return err_set(err, ERR_PERM, "libunbound does not start: %s", ub_strerror(rc));
	return 0;
}

static int
resolver_open(struct dnsd *d, const struct conf *conf, struct err *err)
{
	int has_forwarders;

	d->ub = ub_ctx_create_event(loop_base(d->loop));
	if (d->ub == NULL)
		return err_set(err, ERR_TEMP, "libunbound gives no context");
	if (set_options(d, conf, err) < 0 || set_trust_anchors(d, conf, err) < 0)
		return -1;
	has_forwarders = set_forwarders(d, conf, err);
	if (has_forwarders < 0)
		return -1;
	if (has_forwarders == 0)
		has_forwarders = set_system_servers(d);
	if (warm_up(d, err) < 0)
		return -1;
	if (has_forwarders)
		unblock_zones(d);
	return 0;
}

static void
on_idle(void *arg)
{
	struct dnsd *d = arg;

	d->idle(d->idle_arg);
}

struct dnsd *
dnsd_new(struct loop *l, const struct conf *conf, struct err *err)
{
	struct dnsd *d = x_calloc(1, sizeof *d);

	d->loop = l;
	d->timeout_ms = conf_seconds(conf, "dns_timeout") * 1000;
	d->max_questions = (size_t)conf_int(conf, "dns_max_queries");
	map_init(&d->questions);
	TAILQ_INIT(&d->callers);
	dns_packet_init(&d->packet);
	loop_timer_init(&d->idle_timer, l, on_idle, d);
	if (resolver_open(d, conf, err) < 0)
		dnsd_free(d), d = NULL;
	return d;
}

void
dnsd_free(struct dnsd *d)
{
	struct map_walk w = { 0 };
	struct map_entry *e;
	struct caller *c;

	if (d == NULL)
		return;
	while ((c = TAILQ_FIRST(&d->callers)) != NULL) {
		struct ipc_conn *conn = c->conn;

		caller_free(c);
		ipc_conn_close(conn);
	}
	ub_ctx_delete(d->ub); /* no callback comes after it */
	while ((e = map_next(&d->questions, &w)) != NULL)
		free(e->value);
	map_clear(&d->questions);
	loop_timer_stop(&d->idle_timer);
	dns_packet_clear(&d->packet);
	free(d);
}

void
dnsd_drain(struct dnsd *d, void (*idle)(void *arg), void *arg)
{
	struct caller *c;

	d->is_draining = true;
	d->idle = idle;
	d->idle_arg = arg;
	TAILQ_FOREACH (c, &d->callers, link)
		ipc_conn_pause(c->conn, true);
	if (d->nasks == 0)
		loop_timer_soon(&d->idle_timer);
}
