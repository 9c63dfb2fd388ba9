#include "qmgr/verify.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/config/own_sender.h"
#include "common/proto/address.h"
#include "qmgr/queue_private.h"
#include "qmgr/resolve.h"
#include "qmgr/verify_store.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ENTRIES_MAX = 100000,
	CACHE_BYTES = 32 << 20,
	QUESTIONS_MAX = 20000,
	PATIENCE_MAX_MS = 60 * 1000,
	PART =
	    8, /* of the probes that are free, one client, and one domain, may have such a part */
	ARENA_BYTES = 1 << 20,
};

static const char in_progress[] = "Address verification in progress";
static const char too_many[] = "Too many address verification requests";

/* Somebody waits for a probe. */
struct question {
	LIST_ENTRY(question) of_all, of_probe;
	struct verify *v;
	struct ipc_conn *c;
	uint32_t id;
	struct loop_timer patience;
};
LIST_HEAD(question_list, question);

/* A client's, or a domain's. */
struct probe_share {
	size_t count;
	char key[];
};

struct probe {
	LIST_ENTRY(probe) link;
	struct verify *v;
	struct ipc_call *resolving;
	struct message m; /* m.active: NULL while it is being resolved */
	struct question_list questions;
	struct probe_share *shares[2];
	char address[];
};

struct verify {
	struct queue *q;
	struct schedule *schedule;
	struct ipc_edge *authd; /* borrowed */
	struct verify_conf conf;
	struct tenant tenant; /* of all probes: his key only */
	struct verify_cache cache;
	struct verify_store *store; /* NULL: in memory only */
	struct map by_address, shares;
	LIST_HEAD(, probe) probes;
	struct question_list questions;
	size_t nquestions;
	struct loop_timer cleanup;
	bool is_draining;
};

void
verify_conf_read(const struct conf *c, struct verify_conf *out)
{
	*out =
	    (struct verify_conf){ .times = { conf_seconds(c, "address_verify_positive_expire_time"),
				      conf_seconds(c, "address_verify_positive_refresh_time"),
				      conf_seconds(c, "address_verify_negative_expire_time"),
				      conf_seconds(c, "address_verify_negative_refresh_time"),
				      conf_bool(c, "address_verify_negative_cache") },
		    .sender =
			own_sender(c, "address_verify_sender"), /* for the life of the process */
		    .is_stored = conf_str(c, "address_verify_map")[0] != '\0',
		    .cleanup_ms = conf_seconds(c, "address_verify_cache_cleanup_interval") * 1000,
		    .probes_max = (size_t)conf_int(c, "address_verify_pending_request_limit") };
}

static int64_t
now_s(void)
{
	return clock_wall_ms() / 1000;
}

/* --- questions ------------------------------------------------------------------------------------------- */
static void
reply(struct ipc_conn *c, uint32_t id, enum qmgr_verified status, const char *text)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_conn_reply(c, id, &o);
}

static void
question_free(struct question *qn)
{
	loop_timer_stop(&qn->patience);
	LIST_REMOVE(qn, of_all);
	LIST_REMOVE(qn, of_probe);
	qn->v->nquestions--;
	free(qn);
}

static void
question_answer(struct question *qn, enum qmgr_verified status, const char *text)
{
	reply(qn->c, qn->id, status, text);
	question_free(qn);
}

static void
on_patience(void *arg)
{
	question_answer(arg, QMGR_VERIFYING, in_progress);
}

static void
question_new(struct probe *p, struct ipc_conn *c, uint32_t id, int64_t patience_ms)
{
	struct question *qn = x_calloc(1, sizeof *qn);

	qn->v = p->v;
	qn->c = c;
	qn->id = id;
	LIST_INSERT_HEAD(&p->v->questions, qn, of_all);
	LIST_INSERT_HEAD(&p->questions, qn, of_probe);
	p->v->nquestions++;
	loop_timer_init(&qn->patience, p->v->q->loop, on_patience, qn);
	loop_timer_start(
	    &qn->patience, patience_ms < PATIENCE_MAX_MS ? patience_ms : PATIENCE_MAX_MS);
}

void
verify_leave(struct verify *v, struct ipc_conn *c)
{
	struct question *qn, *next;

	for (qn = v != NULL ? LIST_FIRST(&v->questions) : NULL; qn != NULL; qn = next) {
		next = LIST_NEXT(qn, of_all);
		if (qn->c == c)
			question_free(qn);
	}
}

/* --- shares ---------------------------------------------------------------------------------------------- */
static struct probe_share *
share_get(struct verify *v, char kind, const char *name)
{
	char key[VERIFY_ADDRESS_MAX + 2];
	struct probe_share *sh;
	size_t len;

	snprintf(key, sizeof key, "%c%s", kind, name);
	sh = map_get(&v->shares, view_of(key));
	if (sh != NULL)
		return sh;
	len = strlen(key) + 1;
	sh = x_calloc(1, sizeof *sh + len);
	memcpy(sh->key, key, len);
	map_put(&v->shares, view_of(key), sh);
	return sh;
}

static void
share_drop(struct verify *v, struct probe_share *sh)
{
	if (sh->count > 0)
		return;
	map_remove(&v->shares, view_of(sh->key));
	free(sh);
}

static bool
has_room(const struct verify *v, const struct probe_share *sh)
{
	size_t all = v->conf.probes_max, taken = v->by_address.count;

	return taken < all && sh->count * PART <= all - taken;
}

/* --- probes ---------------------------------------------------------------------------------------------- */
static void
probe_free(struct probe *p)
{
	struct verify *v = p->v;

	map_remove(&v->by_address, view_of(p->address));
	LIST_REMOVE(p, link);
	ipc_call_cancel(p->resolving);
	message_free_active(v->q, &p->m);
	for (int i = 0; i < 2; i++) {
		p->shares[i]->count--;
		share_drop(v, p->shares[i]);
	}
	free(p);
}

/* Whoever waits is told. */
static void
probe_end(struct probe *p, enum qmgr_verified status, const char *text)
{
	struct question *qn;

	while ((qn = LIST_FIRST(&p->questions)) != NULL)
		question_answer(qn, status, text);
	probe_free(p);
}

/* What a server has said is kept, and what the configuration says of an address elsewhere.  That nobody could be reached is
 * not: the destination itself is left alone for a while then (schedule.h), and while it is, that is known at once. */
static void
keep(struct probe *p, enum qmgr_verified status, const char *text)
{
	bool is_told = status != QMGR_UNVERIFIED || p->m.active->rcpts[0].code != 0;
	struct verify_cache *c = &p->v->cache;
	const struct verify_entry *e = is_told
					   ? verify_cache_put(c, p->address, status, text, now_s())
					   : verify_cache_probed(c, p->address, now_s());

	if (e != NULL && p->v->store != NULL)
		verify_store_add(p->v->store, e);
}

void
verify_probed(struct verify *v, struct message *m)
{
	struct probe *p = m->active->probe;
	const struct rcpt_state *r = &m->active->rcpts[0];
	enum qmgr_verified status = r->status == RCPT_SENT     ? QMGR_DELIVERABLE
				    : r->status == RCPT_FAILED ? QMGR_UNDELIVERABLE
							       : QMGR_UNVERIFIED;
	const char *text = r->reason != NULL ? r->reason : in_progress;

	(void)v;
	if (r->reason != NULL)
		keep(p, status, text);
	probe_end(p, status, text);
}

/* A mailbox here is known to authd: nobody need be asked, and what changes there counts at once. */
void
verify_routed(struct verify *v, struct message *m)
{
	struct attempt a = {
		.status = DELIVERY_SENT, .relay = "virtual", .text = "delivers to maildir"
	};
	struct active *act = m->active;

	if (act->rcpts[0].phase != PHASE_IDLE)
		return;
	if (act->env.rcpts[0].transport != TRANSPORT_VIRTUAL) {
		schedule_start(v->schedule, m);
		return;
	}
	queue_rcpt_queued(m, 0);
	queue_rcpt_answered(v->q, m, 0, &a);
}

/* As mail it would go to to->address. */
static bool
fill_envelope(struct probe *p, const struct recipient *to, struct active *a)
{
	const char *none = "";

	arena_init(&a->arena, ARENA_BYTES);
	a->env = (struct envelope){ .sender = p->v->conf.sender,
		.arrival_ms = clock_wall_ms(),
		.envid = none,
		.client_name = none,
		.client_address = none,
		.client_port = none,
		.helo = none,
		.protocol = none,
		.sasl_method = none,
		.sasl_username = none,
		.filter = none,
		.rcpts = arena_alloc(&a->arena, sizeof *a->env.rcpts) };
	if (a->env.rcpts == NULL)
		return false;
	*a->env.rcpts = *to;
	a->env.rcpts->address = arena_strdup(&a->arena, to->address);
	a->env.rcpts->orig = strcmp(to->address, p->address) == 0 ? none : p->address;
	a->env.rcpts->orcpt = none;
	a->env.rcpts->nexthop = none;
	a->env.rcpts->sender = none;
	a->env.nrcpts = 1;
	return a->env.rcpts->address != NULL;
}

static void
probe_send(struct probe *p, const struct recipient *to)
{
	struct queue *q = p->v->q;
	struct message *m = &p->m;
	struct active *a = active_new();

	*m = (struct message){ .id = queue_new_id(q),
		.tenant = &p->v->tenant,
		.active = a,
		.state = MESSAGE_ACTIVE,
		.arrival_ms = clock_wall_ms(),
		.born_ms = clock_mono_ms(),
		.nrcpts = 1,
		.left = 1,
		.is_busy = true };
	a->begun_ms = m->born_ms;
	a->probe = p;
	if (!fill_envelope(p, to, a)) {
		a->env.nrcpts = 0;
		probe_end(p, QMGR_UNVERIFIED, "mail system: out of memory");
		return;
	}
	active_init_rcpts(m, a);
	q->ops.route(q->ops_arg, m);
}

static void
probe_resolved(struct probe *p, const struct resolved *r)
{
	char text[VERIFY_TEXT_MAX];

	if (r->status == AUTHD_TEMP) {
		probe_end(p, QMGR_UNVERIFIED, "mail system: address lookup failed");
	} else if (r->status == AUTHD_FULL) {
		probe_end(p, QMGR_UNVERIFIED, "mailbox is full");
	} else if (r->status == AUTHD_NO || r->status == AUTHD_RELAY_DENIED) {
		snprintf(text, sizeof text, "%s", r->text);
		if (text[0] == '\0')
			snprintf(text, sizeof text, "unknown user: \"%s\"", p->address);
		probe_end(p, QMGR_UNDELIVERABLE, text);
	} else if (r->count != 1) {
		/* a list is ours; its members are not to be pressed on behalf of one address */
		snprintf(text, sizeof text, "expands to %zu recipients", r->count);
		probe_end(p, QMGR_DELIVERABLE, text);
	} else if (r->rcpts[0].transport == TRANSPORT_VIRTUAL) {
		probe_end(p, QMGR_DELIVERABLE, "delivers to maildir");
	} else {
		probe_send(p, &r->rcpts[0]);
	}
}

static void
on_resolved(void *arg, struct ipc_in *in)
{
	struct probe *p = arg;
	struct resolved r;
	struct arena arena;

	p->resolving = NULL;
	arena_init(&arena, ARENA_BYTES);
	resolve_read(in, p->address, &arena, &r);
	probe_resolved(p, &r);
	arena_clear(&arena);
}

/* The one under way, or a new one; NULL: there may be none. */
static struct probe *
probe_get(struct verify *v, const char *address, const char *client)
{
	struct probe *p = map_get(&v->by_address, view_of(address));
	struct probe_share *shares[2];
	size_t len = strlen(address) + 1;

	if (p != NULL || v->is_draining)
		return p;
	shares[0] = share_get(v, 'c', client);
	shares[1] = share_get(v, 'd', address_domain(address));
	if (!has_room(v, shares[0]) || !has_room(v, shares[1])) {
		share_drop(v, shares[0]);
		share_drop(v, shares[1]);
		return NULL;
	}
	p = x_calloc(1, sizeof *p + len);
	p->v = v;
	memcpy(p->address, address, len);
	LIST_INIT(&p->questions);
	for (int i = 0; i < 2; i++) {
		p->shares[i] = shares[i];
		shares[i]->count++;
	}
	LIST_INSERT_HEAD(&v->probes, p, link);
	map_put(&v->by_address, view_of(address), p);
	p->resolving = resolve_ask(v->authd, address, v->conf.sender, on_resolved, p);
	return p;
}

void
verify_ask(struct verify *v, struct ipc_conn *c, struct ipc_in *in)
{
	const char *address = ipc_get_str(in), *client = ipc_get_str(in);
	int64_t patience_ms = ipc_get_u32(in);
	const struct verify_entry *e;
	struct probe *p;

	if (v == NULL || !verify_address_is_safe(address)) {
		reply(c, in->id, QMGR_UNVERIFIED, "address verification problem");
		return;
	}
	if (strcasecmp(address, v->conf.sender) ==
	    0) { /* two servers that ask each other would never end */
		reply(c, in->id, QMGR_DELIVERABLE, "the sender of our own probes");
		return;
	}
	e = verify_cache_get(&v->cache, address, now_s());
	if (e != NULL) {
		reply(c, in->id, e->status, e->text);
		if (verify_cache_is_stale(&v->cache, e, now_s()))
			probe_get(v, address, client);
		return;
	}
	p = probe_get(v, address, client);
	if (p == NULL)
		reply(c, in->id, QMGR_UNVERIFIED, too_many);
	else if (patience_ms == 0 || v->nquestions >= QUESTIONS_MAX)
		reply(c, in->id, QMGR_VERIFYING, in_progress);
	else
		question_new(p, c, in->id, patience_ms);
}

/* --- life ------------------------------------------------------------------------------------------------ */
static void
on_cleanup(void *arg)
{
	struct verify *v = arg;

	verify_cache_sweep(&v->cache, now_s());
	if (v->store != NULL)
		verify_store_rewrite(v->store);
	loop_timer_start(&v->cleanup, v->conf.cleanup_ms);
}

struct verify *
verify_new(
    struct queue *q, struct schedule *s, struct ipc_edge *authd, const struct verify_conf *conf)
{
	struct verify *v = x_calloc(1, sizeof *v);

	v->q = q;
	v->schedule = s;
	v->authd = authd;
	v->conf = *conf;
	v->tenant.key = TENANT_PROBES;
	map_init(&v->by_address);
	map_init(&v->shares);
	LIST_INIT(&v->probes);
	LIST_INIT(&v->questions);
	verify_cache_init(&v->cache, &conf->times, ENTRIES_MAX, CACHE_BYTES);
	if (conf->is_stored)
		v->store = verify_store_open(q->loop, q->write_pool, q->root_fd, &v->cache);
	loop_timer_init(&v->cleanup, q->loop, on_cleanup, v);
	if (conf->cleanup_ms > 0)
		loop_timer_start(&v->cleanup, conf->cleanup_ms);
	return v;
}

void
verify_drain(struct verify *v)
{
	v->is_draining = true;
	if (v->store != NULL)
		verify_store_flush(v->store);
}

bool
verify_is_quiet(const struct verify *v)
{
	return v->store == NULL || verify_store_is_quiet(v->store);
}

void
verify_free(struct verify *v)
{
	struct probe *p;

	if (v == NULL)
		return;
	while (!LIST_EMPTY(&v->questions))
		question_free(LIST_FIRST(&v->questions));
	while ((p = LIST_FIRST(&v->probes)) != NULL) {
		if (p->m.active != NULL)
			schedule_forget(&p->m);
		if (p->m.is_settling)
			TAILQ_REMOVE(&v->q->settling, &p->m, settling);
		probe_free(p);
	}
	loop_timer_stop(&v->cleanup);
	verify_store_close(v->store);
	verify_cache_clear(&v->cache);
	map_clear(&v->by_address);
	map_clear(&v->shares);
	free(v);
}
