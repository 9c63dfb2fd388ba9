#include "qmgr/schedule.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/schedule_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	JOB_BYTES = 32 * 1024, /* recipients of one job; the packet has 64 KB */
	OPENING_MAX = 32,      /* contents read ahead */
	WATCH_MS = 60 * 1000,
	LOSSES_MAX = 2, /* after so many dead peers a job is deferred: it may be the cause */
	SLOW_MS = 5000, /* without any answer */
	PART =
	    8, /* of what is free for destinations that have not answered, one of them gets a part */
};

void
schedule_run_soon(struct schedule *s, int64_t after_ms)
{
	if (after_ms == 0 || !loop_timer_running(&s->run_timer))
		loop_timer_start(&s->run_timer, after_ms);
}

/* --- destinations ------------------------------------------------------------------------------------- */
static const struct dest_conf *
conf_of(const struct schedule *s, const struct recipient *r)
{
	return r->transport == TRANSPORT_VIRTUAL ? &s->conf.local
	       : r->transport == TRANSPORT_LMTP  ? &s->conf.lmtp
						 : &s->conf.smtp;
}

/* postconf(5): with a recipient limit of 1 the destination is the recipient. */
static bool
is_by_recipient(const struct dest_conf *c)
{
	return c->recipient_limit == 1;
}

static struct dest *
dest_get(struct schedule *s, const struct recipient *r, const char *key)
{
	struct dest *d = map_get(&s->dests, view_of(key));
	size_t len = strlen(key) + 1;

	if (d != NULL)
		return d;
	d = x_calloc(1, sizeof *d + len);
	memcpy(d->key, key, len);
	d->conf = conf_of(s, r);
	d->nexthop = x_asprintf(
	    "%.*s", (int)strcspn(d->key + 2, is_by_recipient(d->conf) ? " " : ""), d->key + 2);
	d->is_local = r->transport == TRANSPORT_VIRTUAL;
	d->class = d->is_local ? DEST_LOCAL : DEST_UNTRIED;
	gate_init(&d->gate, s, d->conf->initial_concurrency, d->conf->concurrency_limit,
	    d->conf->recipient_limit, false);
	TAILQ_INIT(&d->shares);
	map_init(&d->shares_by_tenant);
	map_init(&d->flows_by_key);
	if (d->is_local) {
		d->uid = r->uid;
		d->gid = r->gid;
		d->peer = peer_new(s, d);
	} else {
		gate_ask(&d->gate);
	}
	map_put(&s->dests, view_of(key), d);
	return d;
}

static void
dest_unlist(struct schedule *s, struct dest *d)
{
	if (d->is_ready)
		TAILQ_REMOVE(&s->ready[d->class], d, link);
	if (d->is_blocked)
		TAILQ_REMOVE(&d->site->blocked, d, link);
	d->is_ready = d->is_blocked = false;
}

/* Its jobs are gone. */
static void
dest_free(struct schedule *s, struct dest *d)
{
	map_clear(&d->flows_by_key);
	map_clear(&d->shares_by_tenant);
	dest_unlist(s, d);
	site_leave(d);
	gate_clear(&d->gate);
	peer_free(d->peer);
	free(d->nexthop);
	free(d->why);
	free(d);
}

static void
dest_key(const struct schedule *s, const struct recipient *r, char *out, size_t size)
{
	const char *at = strrchr(r->address, '@');
	const char *nexthop = r->nexthop;

	if (r->transport == TRANSPORT_VIRTUAL) {
		snprintf(out, size, "v:%u", r->uid);
		return;
	}
	if (nexthop[0] == '\0')
		nexthop = at != NULL ? at + 1 : r->address;
	if (is_by_recipient(conf_of(s, r)))
		snprintf(out, size, "%c:%s %s", r->transport == TRANSPORT_LMTP ? 'l' : 'r', nexthop,
		    r->address);
	else
		snprintf(out, size, "%c:%s", r->transport == TRANSPORT_LMTP ? 'l' : 'r', nexthop);
	ascii_lower_str(out);
}

void
schedule_look(const struct schedule *s, const struct recipient *r, struct schedule_view *out)
{
	char key[sizeof out->nexthop + 2];
	const struct dest *d;

	dest_key(s, r, key, sizeof key);
	d = map_get(&s->dests, view_of(key));
	*out = (struct schedule_view){ .conf = conf_of(s, r),
		.is_known = d != NULL,
		.window = d != NULL ? d->gate.window.size : 0,
		.has_limits = s->conf.has_limits };
	if (d != NULL && d->dead_until_ms > clock_mono_ms())
		out->why = d->why;
	snprintf(out->nexthop, sizeof out->nexthop, "%.*s",
	    (int)strcspn(key + 2, is_by_recipient(out->conf) ? " " : ""), key + 2);
}

struct ipc_edge *
schedule_any_relay(const struct schedule *s)
{
	const struct peer *p;

	TAILQ_FOREACH (p, &s->relays, link) {
		if (p->edge != NULL && p->state == PEER_OPEN)
			return p->edge;
	}
	p = TAILQ_FIRST(&s->relays);
	return p != NULL ? p->edge : NULL;
}

static enum dest_class
class_of(const struct dest *d, int64_t now)
{
	if (d->is_local)
		return DEST_LOCAL;
	if (d->gate.flying > 0 && now - d->quiet_since_ms > SLOW_MS)
		return DEST_SLOW;
	return d->has_answered ? DEST_PROVEN : DEST_UNTRIED;
}

static void
dest_set_class(struct schedule *s, struct dest *d, enum dest_class class)
{
	s->busy[d->class] -= d->gate.flying;
	s->busy[class] += d->gate.flying;
	d->class = class;
}

/* In the ready list of its class exactly while a job of it could be handed out; among its site's blocked while that alone
 * has no room. */
void
schedule_dest_update(struct schedule *s, struct dest *d)
{
	enum dest_class class = class_of(d, clock_mono_ms());
	bool could = d->queued > 0 && gate_is_open(&d->gate);
	bool may = could && (d->site == NULL || gate_is_open(&d->site->gate));

	if (may != d->is_ready || (could && !may) != d->is_blocked || class != d->class) {
		dest_unlist(s, d);
		dest_set_class(s, d, class);
		d->is_ready = may;
		d->is_blocked = could && !may;
		if (may)
			TAILQ_INSERT_TAIL(&s->ready[class], d, link);
		else if (could)
			TAILQ_INSERT_TAIL(&d->site->blocked, d, link);
	}
	if (may)
		schedule_run_soon(s, 0);
	else if (!could && d->site != NULL)
		site_wake(d->site); /* the room that this one does not take */
}

void
schedule_dest_took_off(struct schedule *s, struct dest *d)
{
	if (d->gate.flying == 0)
		d->quiet_since_ms = clock_mono_ms();
	gate_took_off(&d->gate);
	if (d->site != NULL)
		gate_took_off(&d->site->gate);
	s->busy[d->class]++;
	s->flying++;
}

void
schedule_dest_landed(struct schedule *s, struct dest *d)
{
	gate_landed(&d->gate);
	d->quiet_since_ms = clock_mono_ms();
	s->busy[d->class]--;
	s->flying--;
	if (d->site == NULL)
		return;
	gate_landed(&d->site->gate);
	site_wake(d->site);
}

/* --- what waits for a destination ------------------------------------------------------------------------- */
static struct share *
share_get(struct dest *d, uint64_t tenant)
{
	struct view key = view_make(&tenant, sizeof tenant);
	struct share *sh = map_get(&d->shares_by_tenant, key);

	if (sh != NULL)
		return sh;
	sh = x_calloc(1, sizeof *sh);
	sh->tenant = tenant;
	TAILQ_INIT(&sh->flows);
	if (tenant == TENANT_PROBES) /* a client waits for it, for seconds */
		TAILQ_INSERT_HEAD(&d->shares, sh, link);
	else
		TAILQ_INSERT_TAIL(&d->shares, sh, link);
	map_put(&d->shares_by_tenant, key, sh);
	return sh;
}

static struct flow *
flow_get(struct dest *d, const struct message *m)
{
	char key[sizeof m->tenant->key + ENVELOPE_MAX_STRING];
	size_t len = strlen(m->active->env.sender);
	struct flow *f;

	if (len > ENVELOPE_MAX_STRING)
		len = ENVELOPE_MAX_STRING;
	memcpy(key, &m->tenant->key, sizeof m->tenant->key);
	memcpy(key + sizeof m->tenant->key, m->active->env.sender, len);
	len += sizeof m->tenant->key;
	f = map_get(&d->flows_by_key, view_make(key, len));
	if (f != NULL)
		return f;
	f = x_calloc(1, sizeof *f + len);
	f->key_len = len;
	memcpy(f->key, key, len);
	TAILQ_INIT(&f->batches[false]);
	TAILQ_INIT(&f->batches[true]);
	f->share = share_get(d, m->tenant->key);
	TAILQ_INSERT_TAIL(&f->share->flows, f, link);
	map_put(&d->flows_by_key, view_make(key, len), f);
	return f;
}

static void
batch_drop(struct dest *d, struct batch *b)
{
	struct flow *f = b->f;
	struct share *sh = f->share;

	TAILQ_REMOVE(&f->batches[b->is_rest], b, link);
	free(b);
	if (!TAILQ_EMPTY(&f->batches[false]) || !TAILQ_EMPTY(&f->batches[true]))
		return;
	TAILQ_REMOVE(&sh->flows, f, link);
	map_remove(&d->flows_by_key, view_make(f->key, f->key_len));
	free(f);
	if (!TAILQ_EMPTY(&sh->flows))
		return;
	TAILQ_REMOVE(&d->shares, sh, link);
	map_remove(&d->shares_by_tenant, view_make(&sh->tenant, sizeof sh->tenant));
	free(sh);
}

static struct batch *
batch_new(struct dest *d, const struct message *m, bool first)
{
	struct batch *b = x_calloc(1, sizeof *b);

	b->f = flow_get(d, m);
	TAILQ_INIT(&b->jobs);
	if (first)
		TAILQ_INSERT_HEAD(&b->f->batches[false], b, link);
	else
		TAILQ_INSERT_TAIL(&b->f->batches[false], b, link);
	return b;
}

/* --- jobs -------------------------------------------------------------------------------------------------- */
static void
job_enqueue(struct job *j, struct batch *b)
{
	j->state = JOB_QUEUED;
	j->batch = b;
	TAILQ_INSERT_TAIL(&b->jobs, j, of_holder);
	j->d->queued++;
}

static void
job_dequeue(struct job *j)
{
	struct batch *b = j->batch;

	TAILQ_REMOVE(&b->jobs, j, of_holder);
	if (TAILQ_EMPTY(&b->jobs))
		batch_drop(j->d, b);
	j->batch = NULL;
	j->d->queued--;
	if (j->d->building == j)
		j->d->building = NULL;
}

static struct job *
job_new(struct dest *d, struct message *m)
{
	struct job *j = x_calloc(1, sizeof *j), *before = d->building;

	j->m = m;
	j->d = d;
	TAILQ_INSERT_TAIL(&m->active->jobs, j, of_message);
	job_enqueue(j, before != NULL && before->m == m ? before->batch : batch_new(d, m, false));
	d->building = j;
	return j;
}

/* The admin's limit came after it was made: what is too much follows in a job of its own. */
static void
job_split(struct job *j, size_t keep)
{
	struct job *rest;

	if (keep == 0 || j->nrcpts <= keep)
		return;
	rest = x_calloc(1, sizeof *rest);
	rest->m = j->m;
	rest->d = j->d;
	rest->nrcpts = rest->cap = j->nrcpts - keep;
	rest->rcpts = x_calloc(rest->cap, sizeof *rest->rcpts);
	memcpy(rest->rcpts, j->rcpts + keep, rest->nrcpts * sizeof *rest->rcpts);
	j->nrcpts = keep;
	TAILQ_INSERT_TAIL(&j->m->active->jobs, rest, of_message);
	job_enqueue(rest, j->batch);
}

/* Its recipients have been answered or taken back. */
static void
job_free(struct schedule *s, struct job *j)
{
	struct dest *d = j->d;

	if (j->state == JOB_QUEUED)
		job_dequeue(j);
	if (j->state == JOB_OPENING)
		s->opening--;
	TAILQ_REMOVE(&j->m->active->jobs, j, of_message);
	free(j->rcpts);
	free(j);
	schedule_dest_update(s, d);
}

static void
job_add(struct dest *d, struct message *m, uint32_t rcpt)
{
	const struct recipient *r = &m->active->env.rcpts[rcpt];
	size_t bytes = strlen(r->address) + strlen(r->orig) + strlen(r->orcpt) + 64;
	struct job *j = d->building;

	if (j == NULL || j->m != m || (d->gate.recipients > 0 && j->nrcpts >= d->gate.recipients) ||
	    j->bytes + bytes > JOB_BYTES)
		j = job_new(d, m);
	if (j->nrcpts == j->cap) {
		j->cap = j->cap == 0 ? 1 : j->cap * 2;
		j->rcpts = x_realloc(j->rcpts, j->cap, sizeof *j->rcpts);
	}
	j->rcpts[j->nrcpts++] = rcpt;
	j->bytes += bytes;
	queue_rcpt_queued(m, rcpt);
}

static bool
rcpt_is_open(const struct job *j, size_t i)
{
	return j->m->active->rcpts[j->rcpts[i]].phase != PHASE_ANSWERED;
}

/* By turns of tenants, senders and messages. */
static struct job *
dest_next_job(struct dest *d)
{
	struct share *sh = TAILQ_FIRST(&d->shares);
	struct flow *f = TAILQ_FIRST(&sh->flows);
	struct batch *b;

	TAILQ_REMOVE(&d->shares, sh, link);
	TAILQ_INSERT_TAIL(&d->shares, sh, link);
	TAILQ_REMOVE(&sh->flows, f, link);
	TAILQ_INSERT_TAIL(&sh->flows, f, link);
	f->rest_is_next ^= true;
	b = TAILQ_FIRST(&f->batches[!f->rest_is_next]);
	if (b == NULL)
		b = TAILQ_FIRST(&f->batches[f->rest_is_next]);
	TAILQ_REMOVE(&f->batches[b->is_rest], b, link);
	b->is_rest = true;
	TAILQ_INSERT_TAIL(&f->batches[true], b, link);
	return TAILQ_FIRST(&b->jobs);
}

/* Gives one answer for all recipients that have none, and ends the job. */
void
schedule_job_answer(struct schedule *s, struct job *j, const struct attempt *a)
{
	for (size_t i = 0; i < j->nrcpts; i++)
		if (rcpt_is_open(j, i))
			queue_rcpt_answered(s->q, j->m, j->rcpts[i], a);
	job_free(s, j);
}

static void
job_suspend(struct schedule *s, struct job *j, const char *why)
{
	struct attempt a = {
		.status = DELIVERY_DEFERRED, .dsn = "4.4.1", .relay = "none", .text = why
	};

	schedule_job_answer(s, j, &a);
}

void
schedule_dest_defer_all(struct schedule *s, struct dest *d, const char *why)
{
	while (d->queued > 0)
		job_suspend(s, dest_next_job(d), why);
}

/* The message is not to be delivered any more, or not now. */
static void
job_take_back(struct schedule *s, struct job *j)
{
	for (size_t i = 0; i < j->nrcpts; i++)
		if (rcpt_is_open(j, i))
			queue_rcpt_taken_back(s->q, j->m, j->rcpts[i]);
	job_free(s, j);
}

void
schedule_job_requeue(struct schedule *s, struct job *j)
{
	struct attempt a = { .status = DELIVERY_DEFERRED,
		.dsn = "4.3.0",
		.relay = "none",
		.text = "mail system: the delivering process ended unexpectedly" };
	size_t open = 0;

	if (j->state == JOB_OPENING)
		s->opening--;
	j->state = JOB_LOOSE;
	if (j->m->is_deleted || j->m->is_held || j->m->wants != 0) {
		job_take_back(s, j);
		return;
	}
	if (j->losses > LOSSES_MAX) {
		schedule_job_answer(s, j, &a);
		return;
	}
	for (size_t i = 0; i < j->nrcpts; i++)
		if (rcpt_is_open(j, i))
			j->rcpts[open++] = j->rcpts[i];
	j->nrcpts = open;
	j->answered = 0;
	job_enqueue(j, batch_new(j->d, j->m, true));
	schedule_dest_update(s, j->d);
}

/* --- feedback: as Postfix's qmgr_queue.c ------------------------------------------------------------------- */
static void
dest_failed(struct schedule *s, struct dest *d)
{
	char why[600];

	d->has_answered = false;
	d->failed_cohorts += 1.0 / d->gate.window.size;
	if (d->conf->failed_cohort_limit == 0 || d->failed_cohorts < d->conf->failed_cohort_limit) {
		window_shrink(&d->gate.window, &d->conf->negative);
		return;
	}
	/* as often as it fails again, twice as long */
	d->backoff_ms = d->backoff_ms == 0 ? s->conf.min_backoff_ms : d->backoff_ms * 2;
	if (d->backoff_ms > s->conf.max_backoff_ms)
		d->backoff_ms = s->conf.max_backoff_ms;
	d->dead_until_ms = clock_mono_ms() + d->backoff_ms;
	d->gate.window = (struct window){ .size = 1, .limit = d->gate.window.limit };
	d->failed_cohorts = 0;
	snprintf(why, sizeof why, "delivery temporarily suspended: %s",
	    d->why != NULL ? d->why : "destination unreachable");
	schedule_dest_defer_all(s, d, why);
}

static void
dest_worked(struct dest *d)
{
	d->has_answered = true;
	d->failed_cohorts = 0;
	d->backoff_ms = 0;
	d->dead_until_ms = 0;
	window_grow(
	    &d->gate.window, &d->conf->positive, d->gate.flying, d->conf->initial_concurrency);
}

void
schedule_job_done(struct schedule *s, struct job *j)
{
	struct dest *d = j->d;

	if (!d->is_local && j->saw_dead_destination)
		dest_failed(s, d);
	else if (!d->is_local)
		dest_worked(d);
	if (d->site != NULL)
		site_learn(d->site, j->saw_throttling, d->why);
	if (d->conf->rate_delay_ms > 0)
		gate_pause(&d->gate, d->conf->rate_delay_ms);
	job_free(s, j);
	schedule_run_soon(s, 0);
}

/* --- handing out ----------------------------------------------------------------------------------------------- */
/* May it have one job more, for all that the other remote ones need?  A quarter of all jobs is for those that have
 * answered, another for them and those that have not been tried; and of what is left for it, one that has not answered
 * gets a part: there is something for the next. */
static bool
dest_has_room(const struct schedule *s, const struct dest *d)
{
	size_t all = s->nrelays * s->conf.relay_jobs;
	size_t limit = all - all / (d->class == DEST_SLOW ? 2 : 4);
	size_t taken = s->busy[DEST_UNTRIED] + s->busy[DEST_SLOW];

	if (d->class != DEST_UNTRIED && d->class != DEST_SLOW)
		return true;
	return taken < limit && d->gate.flying * PART <= limit - taken;
}

/* true: something was done for this destination. */
static bool
dest_serve(struct schedule *s, struct dest *d)
{
	struct peer *p;
	struct job *j;

	if (d->site != NULL && !gate_is_open(&d->site->gate)) {
		schedule_dest_update(s, d); /* others of its site took the room */
		return false;
	}
	p = dest_has_room(s, d) ? peer_for(s, d) : NULL;
	if (p == NULL || !d->is_ready)
		return false;
	j = dest_next_job(d);
	job_split(j, d->gate.recipients);
	if (j->m->active->probe != NULL || content_is_open(&j->m->active->content)) {
		job_dequeue(j);
		j->state = JOB_LOOSE;
		if (peer_send(p, j) < 0) {
			j->losses++; /* by then the peer has gone, or no peer can be told of it */
			schedule_job_requeue(s, j);
		}
		schedule_dest_update(s, d);
		return true;
	}
	if (s->opening >= OPENING_MAX)
		return false;
	job_dequeue(j);
	j->state = JOB_OPENING;
	s->opening++;
	queue_content_open(s->q, j->m);
	schedule_dest_update(s, d);
	return true;
}

/* One job for the first destination of this class that can have one.  false: none can. */
static bool
serve_class(struct schedule *s, enum dest_class class)
{
	struct dest_list *list = &s->ready[class];
	struct dest *d, *refused = NULL;
	int64_t now = clock_mono_ms();

	while ((d = TAILQ_FIRST(list)) != NULL && d != refused) {
		if (class_of(d, now) != class) {
			schedule_dest_update(s, d); /* time has passed, and it is slow now */
			continue;
		}
		TAILQ_REMOVE(list, d, link);
		TAILQ_INSERT_TAIL(list, d, link);
		if (dest_serve(s, d))
			return true;
		if (refused == NULL && d->is_ready)
			refused = d;
	}
	return false;
}

/* The classes take turns, until one that was refused comes round again: while this runs, no room comes back. */
static void
on_run(void *arg)
{
	struct schedule *s = arg;
	unsigned open = s->is_draining ? 0 : (1u << DEST_CLASSES) - 1;

	while (open != 0) {
		enum dest_class class = s->next_class++ % DEST_CLASSES;

		if ((open >> class & 1) != 0 && !serve_class(s, class))
			open &= ~(1u << class);
	}
}

void
schedule_start(struct schedule *s, struct message *m)
{
	struct active *a = m->active;
	int64_t now = clock_mono_ms();
	char key[2 * ENVELOPE_MAX_STRING + 8];

	for (uint32_t i = 0; i < a->env.nrcpts; i++) {
		struct dest *d;

		if (a->rcpts[i].status != RCPT_PENDING || a->rcpts[i].phase != PHASE_IDLE)
			continue;
		dest_key(s, &a->env.rcpts[i], key, sizeof key);
		d = dest_get(s, &a->env.rcpts[i], key);
		job_add(d, m, i);
		if (d->dead_until_ms > now) {
			char why[600];

			snprintf(why, sizeof why, "delivery temporarily suspended: %s",
			    d->why != NULL ? d->why : "destination unreachable");
			job_suspend(s, d->building, why);
			continue;
		}
		schedule_dest_update(s, d);
	}
}

void
schedule_stop(struct schedule *s, struct message *m)
{
	struct job *j, *next;

	for (j = TAILQ_FIRST(&m->active->jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, of_message);
		if (j->state == JOB_FLYING)
			continue;
		job_take_back(s, j);
	}
}

static void
jobs_free(struct job_list *jobs)
{
	struct job *j;

	while ((j = TAILQ_FIRST(jobs)) != NULL) {
		if (j->state == JOB_QUEUED)
			job_dequeue(j);
		TAILQ_REMOVE(jobs, j, of_message);
		free(j->rcpts);
		free(j);
	}
}

void
schedule_forget(struct message *m)
{
	jobs_free(&m->active->jobs);
}

void
schedule_content(struct schedule *s, struct message *m)
{
	struct attempt a = { .status = DELIVERY_DEFERRED,
		.dsn = "4.3.0",
		.relay = "none",
		.text = "mail system: queue file read error" };
	struct job *j, *next;

	for (j = TAILQ_FIRST(&m->active->jobs); j != NULL; j = next) {
		next = TAILQ_NEXT(j, of_message);
		if (j->state != JOB_OPENING)
			continue;
		if (m->active->is_unreadable)
			schedule_job_answer(s, j, &a);
		else
			schedule_job_requeue(s, j);
	}
}

void
schedule_drain(struct schedule *s)
{
	s->is_draining = true;
}

size_t
schedule_flying(const struct schedule *s)
{
	return s->flying;
}

void
schedule_forgive(struct schedule *s)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&s->dests, &w)) != NULL) {
		struct dest *d = e->value;

		d->dead_until_ms = d->backoff_ms = 0;
	}
}

/* --- life --------------------------------------------------------------------------------------------------------- */
static void
on_watch(void *arg)
{
	struct schedule *s = arg;
	int64_t now = clock_mono_ms();
	struct map_walk w = { 0 };
	struct map_entry *e;
	struct peer *p;

	TAILQ_FOREACH (p, &s->relays, link)
		peer_watch(p, now);
	while ((e = map_next(&s->dests, &w)) != NULL) {
		struct dest *d = e->value;

		if (d->peer != NULL)
			peer_watch(d->peer, now);
		else
			schedule_dest_update(s, d); /* one whose window is full may be slow now */
		/* a remote destination without work is forgotten, once nothing bad is known of it */
		if (d->is_local || d->queued > 0 || d->dead_until_ms > now ||
		    !gate_is_idle(&d->gate, now))
			continue;
		if (s->opening > 0)
			continue; /* a job being opened belongs to it, perhaps */
		map_remove(&s->dests, view_make(e->key, e->key_len));
		dest_free(s, d);
	}
	sites_sweep(s, now);
	loop_timer_start(&s->watch_timer, WATCH_MS);
}

/* postconf(5), default_destination_rate_delay: with a pause between deliveries there is one at a time. */
static void
dest_conf_fit(struct dest_conf *c)
{
	if (c->rate_delay_ms > 0)
		c->concurrency_limit = 1;
	if (c->concurrency_limit > 0 && c->initial_concurrency > c->concurrency_limit)
		c->initial_concurrency = c->concurrency_limit;
}

struct schedule *
schedule_new(struct loop *l, struct queue *q, const struct schedule_conf *conf,
    struct ipc_edge *authd, void (*want_delivery)(void *arg, uint32_t uid, uint32_t gid), void *arg)
{
	struct schedule *s = x_calloc(1, sizeof *s);

	s->loop = l;
	s->q = q;
	s->conf = *conf;
	dest_conf_fit(&s->conf.local);
	dest_conf_fit(&s->conf.smtp);
	dest_conf_fit(&s->conf.lmtp);
	s->want_delivery = want_delivery;
	s->arg = arg;
	s->authd = authd;
	map_init(&s->dests);
	map_init(&s->sites);
	map_init(&s->jobs);
	heap_init(&s->paused);
	for (int i = 0; i < DEST_CLASSES; i++)
		TAILQ_INIT(&s->ready[i]);
	TAILQ_INIT(&s->relays);
	loop_timer_init(&s->run_timer, l, on_run, s);
	loop_timer_init(&s->pause_timer, l, gate_pauses_over, s);
	loop_timer_init(&s->watch_timer, l, on_watch, s);
	loop_timer_start(&s->watch_timer, WATCH_MS);
	return s;
}

void
schedule_free(struct schedule *s)
{
	struct message *m = NULL;
	struct map_walk w = { 0 };
	struct map_entry *e;
	struct peer *p;

	if (s == NULL)
		return;
	while ((m = queue_next(s->q, m)) != NULL)
		if (m->active != NULL)
			jobs_free(&m->active->jobs);
	while ((e = map_next(&s->dests, &w)) != NULL)
		dest_unlist(s, e->value); /* first all: a site wakes those that it has left */
	w = (struct map_walk){ 0 };
	while ((e = map_next(&s->dests, &w)) != NULL)
		dest_free(s, e->value);
	sites_clear(s);
	while ((p = TAILQ_FIRST(&s->relays)) != NULL) {
		TAILQ_REMOVE(&s->relays, p, link);
		peer_free(p);
	}
	map_clear(&s->dests);
	map_clear(&s->jobs);
	heap_clear(&s->paused);
	loop_timer_stop(&s->run_timer);
	loop_timer_stop(&s->pause_timer);
	loop_timer_stop(&s->watch_timer);
	free(s);
}
