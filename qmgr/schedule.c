#include "qmgr/schedule.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/schedule_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	LOCAL_WINDOW = 200,    /* jobs of one delivery process: what it makes one batch of */
	JOB_BYTES = 32 * 1024, /* recipients of one job; the packet has 64 KB */
	OPENING_MAX = 32,      /* contents read ahead */
	WATCH_MS = 60 * 1000,
	LOSSES_MAX = 2, /* after so many dead peers a job is deferred: it may be the cause */
};

void
schedule_run_soon(struct schedule *s, int64_t after_ms)
{
	if (after_ms == 0 || !loop_timer_running(&s->run_timer))
		loop_timer_start(&s->run_timer, after_ms);
}

/* --- destinations ------------------------------------------------------------------------------------- */
static struct dest *
dest_get(struct schedule *s, const struct recipient *r, const char *key)
{
	struct dest *d = map_get(&s->dests, view_of(key));
	size_t len = strlen(key) + 1;

	if (d != NULL)
		return d;
	d = x_calloc(1, sizeof *d + len);
	memcpy(d->key, key, len);
	d->is_local = r->transport == TRANSPORT_VIRTUAL;
	d->window = d->is_local ? LOCAL_WINDOW : s->conf.initial_concurrency;
	TAILQ_INIT(&d->flows);
	map_init(&d->flows_by_key);
	if (d->is_local) {
		d->uid = r->uid;
		d->gid = r->gid;
		d->peer = peer_new(s, d);
	}
	map_put(&s->dests, view_of(key), d);
	return d;
}

static void
dest_free(struct schedule *s, struct dest *d)
{
	struct flow *f;

	while ((f = TAILQ_FIRST(&d->flows)) != NULL) {
		TAILQ_REMOVE(&d->flows, f, link);
		free(f);
	}
	map_clear(&d->flows_by_key);
	if (d->is_ready)
		TAILQ_REMOVE(d->is_local ? &s->ready_local : &s->ready_relay, d, link);
	peer_free(d->peer);
	free(d->why);
	free(d);
}

static void
dest_key(const struct recipient *r, char *out, size_t size)
{
	const char *at = strrchr(r->address, '@');
	const char *nexthop = r->nexthop;

	if (r->transport == TRANSPORT_VIRTUAL) {
		snprintf(out, size, "v:%u", r->uid);
		return;
	}
	if (nexthop[0] == '\0')
		nexthop = at != NULL ? at + 1 : r->address;
	snprintf(out, size, "%c:%s", r->transport == TRANSPORT_LMTP ? 'l' : 'r', nexthop);
	ascii_lower_str(out);
}

/* In its ready list exactly while a job of it could be handed out. */
void
schedule_dest_update(struct schedule *s, struct dest *d)
{
	struct dest_list *list = d->is_local ? &s->ready_local : &s->ready_relay;
	bool is_ready = d->queued > 0 && d->flying < d->window;

	if (is_ready && !d->is_ready)
		TAILQ_INSERT_TAIL(list, d, link);
	if (!is_ready && d->is_ready)
		TAILQ_REMOVE(list, d, link);
	d->is_ready = is_ready;
	if (is_ready)
		schedule_run_soon(s, 0);
}

/* --- flows and jobs -------------------------------------------------------------------------------------- */
static struct flow *
flow_get(struct dest *d, const struct envelope *e)
{
	const char *key = e->sasl_username[0] != '\0' ? e->sasl_username : e->sender;
	struct flow *f = map_get(&d->flows_by_key, view_of(key));
	size_t len = strlen(key) + 1;

	if (f != NULL)
		return f;
	f = x_calloc(1, sizeof *f + len);
	memcpy(f->key, key, len);
	TAILQ_INIT(&f->jobs);
	TAILQ_INSERT_TAIL(&d->flows, f, link);
	map_put(&d->flows_by_key, view_of(key), f);
	return f;
}

static void
flow_drop_if_empty(struct dest *d, struct flow *f)
{
	if (!TAILQ_EMPTY(&f->jobs))
		return;
	TAILQ_REMOVE(&d->flows, f, link);
	map_remove(&d->flows_by_key, view_of(f->key));
	free(f);
}

static void
job_enqueue(struct job *j, bool first)
{
	struct flow *f = flow_get(j->d, &j->m->active->env);

	j->state = JOB_QUEUED;
	j->f = f;
	if (first)
		TAILQ_INSERT_HEAD(&f->jobs, j, of_holder);
	else
		TAILQ_INSERT_TAIL(&f->jobs, j, of_holder);
	j->d->queued++;
}

static void
job_dequeue(struct job *j)
{
	TAILQ_REMOVE(&j->f->jobs, j, of_holder);
	flow_drop_if_empty(j->d, j->f);
	j->f = NULL;
	j->d->queued--;
	if (j->d->building == j)
		j->d->building = NULL;
}

static struct job *
job_new(struct dest *d, struct message *m)
{
	struct job *j = x_calloc(1, sizeof *j);

	j->m = m;
	j->d = d;
	TAILQ_INSERT_TAIL(&m->active->jobs, j, of_message);
	job_enqueue(j, false);
	d->building = j;
	return j;
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
job_add(struct schedule *s, struct dest *d, struct message *m, uint32_t rcpt)
{
	const struct recipient *r = &m->active->env.rcpts[rcpt];
	size_t bytes = strlen(r->address) + strlen(r->orig) + strlen(r->orcpt) + 64;
	struct job *j = d->building;

	if (j == NULL || j->m != m || j->nrcpts >= s->conf.recipient_limit ||
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
	struct flow *f;

	while ((f = TAILQ_FIRST(&d->flows)) != NULL)
		job_suspend(s, TAILQ_FIRST(&f->jobs), why);
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
	job_enqueue(j, true);
	schedule_dest_update(s, j->d);
}

/* --- feedback ------------------------------------------------------------------------------------------------ */
static void
dest_failed(struct schedule *s, struct dest *d)
{
	char why[600];

	d->failed_cohorts += 1.0 / d->window;
	if (d->window > 1)
		d->window--;
	if (d->failed_cohorts < 1.0)
		return;
	/* as often as it fails again, twice as long */
	d->backoff_ms = d->backoff_ms == 0 ? s->conf.min_backoff_ms : d->backoff_ms * 2;
	if (d->backoff_ms > s->conf.max_backoff_ms)
		d->backoff_ms = s->conf.max_backoff_ms;
	d->dead_until_ms = clock_mono_ms() + d->backoff_ms;
	d->window = 1;
	d->failed_cohorts = 0;
	snprintf(why, sizeof why, "delivery temporarily suspended: %s",
	    d->why != NULL ? d->why : "destination unreachable");
	schedule_dest_defer_all(s, d, why);
}

static void
dest_worked(struct schedule *s, struct dest *d)
{
	d->failed_cohorts = 0;
	d->backoff_ms = 0;
	d->dead_until_ms = 0;
	/* only a window that is in use shows that a larger one would do */
	if (d->flying + 1 >= d->window && d->window < s->conf.concurrency_limit)
		d->window++;
	if (d->window < s->conf.initial_concurrency && d->queued > 0)
		d->window++;
}

void
schedule_job_done(struct schedule *s, struct job *j)
{
	struct dest *d = j->d;

	if (!d->is_local && j->saw_dead_destination)
		dest_failed(s, d);
	else if (!d->is_local)
		dest_worked(s, d);
	job_free(s, j);
	schedule_run_soon(s, 0);
}

/* --- handing out ----------------------------------------------------------------------------------------------- */
/* The next job by turns of the senders. */
static struct job *
dest_next_job(struct dest *d)
{
	struct flow *f = TAILQ_FIRST(&d->flows);
	struct job *j = TAILQ_FIRST(&f->jobs);

	TAILQ_REMOVE(&d->flows, f, link);
	TAILQ_INSERT_TAIL(&d->flows, f, link);
	return j;
}

/* true: something was done for this destination. */
static bool
dest_serve(struct schedule *s, struct dest *d)
{
	struct peer *p = peer_for(s, d);
	struct job *j;

	if (p == NULL)
		return false;
	j = dest_next_job(d);
	if (content_is_open(&j->m->active->content)) {
		job_dequeue(j);
		j->state = JOB_LOOSE;
		if (peer_send(p, j) < 0)
			schedule_job_requeue(s, j);
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

/* One job for each in turn, until one that was refused comes round again.  What refuses one remote
 * destination (no relay worker has room) refuses them all. */
static void
serve_list(struct schedule *s, struct dest_list *list)
{
	struct dest *d, *refused = NULL;

	while ((d = TAILQ_FIRST(list)) != NULL && d != refused) {
		bool served = dest_serve(s, d);

		if (!served && !d->is_local)
			return;
		if (!d->is_ready)
			continue; /* that was its last job, or its window is full */
		TAILQ_REMOVE(list, d, link);
		TAILQ_INSERT_TAIL(list, d, link);
		if (served)
			refused = NULL;
		else if (refused == NULL)
			refused = d;
	}
}

static void
on_run(void *arg)
{
	struct schedule *s = arg;

	if (s->is_draining)
		return;
	serve_list(s, &s->ready_local);
	serve_list(s, &s->ready_relay);
}

void
schedule_start(struct schedule *s, struct message *m)
{
	struct active *a = m->active;
	int64_t now = clock_mono_ms();
	char key[ENVELOPE_MAX_STRING + 8];

	for (uint32_t i = 0; i < a->env.nrcpts; i++) {
		struct dest *d;

		if (a->rcpts[i].status != RCPT_PENDING || a->rcpts[i].phase != PHASE_IDLE)
			continue;
		dest_key(&a->env.rcpts[i], key, sizeof key);
		d = dest_get(s, &a->env.rcpts[i], key);
		job_add(s, d, m, i);
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
		/* a remote destination without work is forgotten, once nothing bad is known of it */
		if (d->is_local || d->queued > 0 || d->flying > 0 || d->dead_until_ms > now ||
		    !TAILQ_EMPTY(&d->flows))
			continue;
		if (s->opening > 0)
			continue; /* a job being opened belongs to it, perhaps */
		map_remove(&s->dests, view_make(e->key, e->key_len));
		dest_free(s, d);
	}
	loop_timer_start(&s->watch_timer, WATCH_MS);
}

struct schedule *
schedule_new(struct loop *l, struct queue *q, const struct schedule_conf *conf,
    void (*want_delivery)(void *arg, uint32_t uid, uint32_t gid), void *arg)
{
	struct schedule *s = x_calloc(1, sizeof *s);

	s->loop = l;
	s->q = q;
	s->conf = *conf;
	if (s->conf.initial_concurrency > s->conf.concurrency_limit)
		s->conf.initial_concurrency = s->conf.concurrency_limit;
	s->want_delivery = want_delivery;
	s->arg = arg;
	map_init(&s->dests);
	map_init(&s->jobs);
	TAILQ_INIT(&s->ready_local);
	TAILQ_INIT(&s->ready_relay);
	TAILQ_INIT(&s->relays);
	loop_timer_init(&s->run_timer, l, on_run, s);
	loop_timer_init(&s->watch_timer, l, on_watch, s);
	loop_timer_start(&s->watch_timer, WATCH_MS);
	return s;
}

static void
jobs_free(struct job_list *jobs)
{
	struct job *j;

	while ((j = TAILQ_FIRST(jobs)) != NULL) {
		TAILQ_REMOVE(jobs, j, of_message);
		free(j->rcpts);
		free(j);
	}
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
	while ((e = map_next(&s->dests, &w)) != NULL) {
		struct dest *d = e->value;

		d->is_ready = false;
		dest_free(s, d);
	}
	while ((p = TAILQ_FIRST(&s->relays)) != NULL) {
		TAILQ_REMOVE(&s->relays, p, link);
		peer_free(p);
	}
	map_clear(&s->dests);
	map_clear(&s->jobs);
	loop_timer_stop(&s->run_timer);
	loop_timer_stop(&s->watch_timer);
	free(s);
}
