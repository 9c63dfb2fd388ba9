#include "delivery/delivery.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/event/work.h"
#include "common/log/log.h"
#include "delivery/batch.h"
#include "delivery/mailbox_lookup.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	ITEMS_MAX =
	    2000, /* recipients held: beyond it qmgr is not listened to, until half of them are done */
	JOBS_MAX = 1000, /* messages held, two descriptors each */
	QUEUE_ID_MAX = 40,
	BOXES_HELD_MAX = 1000, /* between batches, three descriptors each */
	DRAIN_POLL_MS = 20,
	DRAIN_POLLS_MAX = 250,
};

/* A connection to qmgr.  It outlives its end until its jobs are done: their thread cannot be stopped. */
struct peer {
	LIST_ENTRY(peer) link;
	struct delivery *d;
	struct ipc_conn *conn; /* NULL: lost */
	unsigned jobs;
};

struct job {
	struct peer *peer;
	uint32_t number;
	char *queue_id, *sender; /* owned */
	struct letter letter;
	unsigned open; /* recipients without a result */
};

/* One recipient of a job. */
struct item {
	TAILQ_ENTRY(item) link; /* in ready */
	struct job *job;
	struct mailbox_waiter waiter;
	char *address, *original, *account, *home; /* owned */
	struct copy copy;
};
TAILQ_HEAD(item_list, item);

struct delivery {
	struct loop *loop;
	struct delivery_config config;
	struct delivery_ops ops;
	void *arg;
	LIST_HEAD(, peer) peers;
	struct mailbox_lookup *lookup;
	struct item_list ready; /* mailbox known, waiting for the flush thread */
	unsigned items, jobs;
	bool paused, draining;
	struct work_pool *pool;
	struct batch_config batch_config; /* the thread's while a batch runs */
	struct copy **batch; /* room for batch_limit; the thread's while a batch runs */
	struct item **batch_items;
	size_t batch_count; /* 0: no batch runs */
	struct loop_timer soon, idle, drain;
	unsigned drain_polls;
};

/* --- ends ---------------------------------------------------------------------------------------------- */

static void
peer_release(struct peer *p)
{
	if (p->conn != NULL || p->jobs > 0)
		return;
	LIST_REMOVE(p, link);
	free(p);
}

static void
update_pause(struct delivery *d)
{
	bool full = d->items >= ITEMS_MAX || d->jobs >= JOBS_MAX;
	bool roomy = d->items < ITEMS_MAX / 2 && d->jobs < JOBS_MAX / 2;
	struct peer *p;

	d->paused = d->draining || full || (d->paused && !roomy);
	LIST_FOREACH (p, &d->peers, link)
		if (p->conn != NULL)
			ipc_conn_pause(p->conn, d->paused);
}

static void
update_idle(struct delivery *d)
{
	if (d->items > 0)
		loop_timer_stop(&d->idle);
	else if (!loop_timer_running(&d->idle))
		loop_timer_start(&d->idle, d->config.max_idle_ms);
	if (d->draining)
		loop_timer_soon(&d->drain);
}

static void
job_release(struct job *j)
{
	struct peer *p = j->peer;

	if (j->open > 0)
		return;
	p->d->jobs--;
	p->jobs--;
	peer_release(p);
	letter_clear(&j->letter);
	free(j->queue_id);
	free(j->sender);
	free(j);
}

static void
item_free(struct item *it)
{
	free(it->address);
	free(it->original);
	free(it->account);
	free(it->home);
	free(it);
}

static void
send_result(const struct job *j, uint32_t number, const struct outcome *o)
{
	struct ipc_out out;

	if (o->is_alarm)
		log_warn("%s: %s", lqs(j->queue_id), o->text);
	if (j->peer->conn == NULL)
		return; /* qmgr was restarted: it will ask again, and look first */
	ipc_out_init(&out, DELIVERY_RESULT);
	ipc_put_u32(&out, j->number);
	ipc_put_u32(&out, number);
	ipc_put_u32(&out, o->status);
	ipc_put_str(&out, o->dsn);
	ipc_put_str(&out, o->text);
	ipc_conn_send(j->peer->conn, &out); /* a failure ends the connection */
}

/* The one place where a recipient ends. */
static void
item_finish(struct item *it)
{
	struct job *j = it->job;
	struct delivery *d = j->peer->d;

	send_result(j, it->copy.number, &it->copy.outcome);
	item_free(it);
	d->items--;
	j->open--;
	job_release(j);
}

/* --- batches ------------------------------------------------------------------------------------------- */

static void batch_start(void *arg);

static void
batch_in_thread(void *arg)
{
	struct delivery *d = arg;

	batch_run(&d->batch_config, d->batch, d->batch_count);
}

/* One note for an account, however many messages came. */
static void
note_accounts(struct delivery *d)
{
	struct map noted;

	map_init(&noted);
	for (size_t i = 0; i < d->batch_count; i++) {
		struct item *it = d->batch_items[i];
		struct view account = view_of(it->account);

		if (it->copy.outcome.status != DELIVERY_SENT || map_get(&noted, account) != NULL)
			continue;
		map_put(&noted, account, it);
		d->ops.on_changed(d->arg, it->account);
	}
	map_clear(&noted);
}

static void
batch_done(void *arg)
{
	struct delivery *d = arg;
	size_t n = d->batch_count;

	note_accounts(d);
	for (size_t i = 0; i < n; i++)
		item_finish(d->batch_items[i]);
	d->batch_count = 0;
	update_pause(d);
	update_idle(d);
	batch_start(d);
}

static void
batch_start(void *arg)
{
	struct delivery *d = arg;
	struct item *it;

	if (d->batch_count > 0)
		return;
	while (d->batch_count < d->config.batch_limit && (it = TAILQ_FIRST(&d->ready)) != NULL) {
		TAILQ_REMOVE(&d->ready, it, link);
		if (it->job->peer->conn == NULL) {
			item_finish(
			    it); /* nobody waits for it any more, and who asks again starts anew */
			continue;
		}
		d->batch_items[d->batch_count] = it;
		d->batch[d->batch_count++] = &it->copy;
	}
	if (d->batch_count > 0)
		work_submit(d->pool, batch_in_thread, batch_done, d);
	else
		update_idle(d);
}

/* --- mailboxes ------------------------------------------------------------------------------------------ */

static void
refuse_by_status(struct item *it, enum authd_status status)
{
	struct outcome *o = &it->copy.outcome;

	switch (status) {
	case AUTHD_NO:
		outcome_set(o, DELIVERY_BOUNCED, "5.1.1", "unknown user: \"%s\"", lqs(it->address));
		break;
	case AUTHD_FULL:
		outcome_set(o, DELIVERY_DEFERRED, "4.2.2", "mailbox is full");
		break;
	default:
		outcome_set(o, DELIVERY_DEFERRED, "4.3.0", "mailbox lookup failed for %s",
		    lqs(it->address));
	}
}

static void
on_mailbox(void *arg, const struct mailbox_answer *answer)
{
	struct item *it = arg;
	struct delivery *d = it->job->peer->d;

	if (answer->status != AUTHD_OK) {
		refuse_by_status(it, answer->status);
		item_finish(it);
		update_pause(d);
		update_idle(d);
		return;
	}
	it->account = x_strdup(answer->account);
	it->home = x_strdup(answer->home);
	it->copy.home = it->home;
	TAILQ_INSERT_TAIL(&d->ready, it, link);
	/* on the next turn: what else has come in by then shares the flush */
	if (d->batch_count == 0)
		loop_timer_soon(&d->soon);
}

/* --- jobs ------------------------------------------------------------------------------------------------ */

static bool
queue_id_is_valid(const char *id)
{
	size_t n = 0;

	while (ascii_is_alnum(id[n]))
		n++;
	return n > 0 && n <= QUEUE_ID_MAX && id[n] == '\0';
}

static struct item *
item_new(struct job *j, struct ipc_in *in, int64_t arrival_ms)
{
	struct item *it = x_calloc(1, sizeof *it);

	it->job = j;
	it->copy.number = ipc_get_u32(in);
	it->address = x_strdup(ipc_get_str(in));
	it->original = x_strdup(ipc_get_str(in));
	it->copy.maybe_done = (ipc_get_u32(in) & DELIVERY_MAYBE_DONE) != 0;
	it->copy.letter = &j->letter;
	it->copy.queue_id = j->queue_id;
	it->copy.arrival_ms = arrival_ms;
	it->copy.envelope = (struct letter_envelope){ j->sender, it->address, it->original };
	it->copy.fd = -1;
	return it;
}

/* The recipients of a job; broken: why none of them can be served. */
static void
read_recipients(struct job *j, struct ipc_in *in, int64_t arrival_ms, const struct outcome *broken)
{
	struct delivery *d = j->peer->d;

	j->open++; /* the job itself, until all are read: a lookup may answer at once */
	while (ipc_in_more(in)) {
		struct item *it = item_new(j, in, arrival_ms);

		j->open++;
		d->items++;
		if (broken->is_known) {
			it->copy.outcome = *broken;
			item_finish(it);
		} else {
			mailbox_lookup_start(d->lookup, it->address, &it->waiter, on_mailbox, it);
		}
	}
	j->open--;
	job_release(j);
}

static void
on_job(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct peer *p = arg;
	struct delivery *d = p->d;
	struct job *j = x_calloc(1, sizeof *j);
	struct outcome broken = { .is_known = false };
	int64_t arrival_ms;
	uint64_t body_size, body_off;
	int headers_fd, body_fd;
	struct err err;

	(void)c;
	j->peer = p;
	j->number = ipc_get_u32(in);
	j->queue_id = x_strdup(ipc_get_str(in));
	j->sender = x_strdup(ipc_get_str(in));
	arrival_ms = (int64_t)ipc_get_u64(in);
	body_size = ipc_get_u64(in);
	body_off = ipc_get_u64(in);
	headers_fd = ipc_get_fd(in);
	body_fd = ipc_get_fd(in);
	p->jobs++;
	d->jobs++;
	if (letter_init(&j->letter, headers_fd, body_fd, body_size, body_off, &err) < 0)
		outcome_set(
		    &broken, DELIVERY_DEFERRED, "4.3.0", "cannot read the message: %s", err.text);
	else if (!queue_id_is_valid(j->queue_id))
		outcome_set(&broken, DELIVERY_DEFERRED, "4.3.0", "malformed queue id");
	broken.is_alarm = broken.is_known;
	read_recipients(j, in, arrival_ms, &broken);
	update_pause(d);
	update_idle(d);
}

static const struct ipc_handler qmgr_rows[] = {
	{ DELIVERY_JOB, DELIVERY_JOB_SIG, IPC_STATE_ANY, on_job },
	{ .fn = NULL },
};

static void
on_qmgr_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct peer *p = arg;
	struct delivery *d = p->d;

	(void)c;
	(void)why;
	p->conn = NULL;
	peer_release(p);
	if (d->batch_count == 0)
		loop_timer_soon(&d->soon); /* lets go of what was waiting */
}

void
delivery_add_qmgr(struct delivery *d, int fd)
{
	static const struct ipc_conn_ops ops = { .handlers = qmgr_rows, .on_close = on_qmgr_close };
	struct peer *p = x_calloc(1, sizeof *p);

	p->d = d;
	p->conn = ipc_conn_new(d->loop, fd, &ops, p);
	LIST_INSERT_HEAD(&d->peers, p, link);
	update_pause(d);
}

void
delivery_set_authd(struct delivery *d, int fd)
{
	mailbox_lookup_set_edge(d->lookup, fd);
}

/* --- life -------------------------------------------------------------------------------------------------- */

static void
on_edge_lost(void *arg)
{
	struct delivery *d = arg;

	d->ops.on_want_authd(d->arg);
}

static void
on_idle(void *arg)
{
	struct delivery *d = arg;

	if (d->items > 0)
		return;
	d->ops.on_idle(d->arg);
	loop_timer_start(
	    &d->idle, d->config.max_idle_ms); /* unless we are told to end, ask again */
}

/* Results that qmgr has not taken yet would be lost with the process. */
static bool
has_backlog(const struct delivery *d)
{
	const struct peer *p;

	LIST_FOREACH (p, &d->peers, link)
		if (p->conn != NULL && ipc_conn_backlog(p->conn) > 0)
			return true;
	return false;
}

static void
on_drain_timer(void *arg)
{
	struct delivery *d = arg;

	if (d->items > 0)
		return;
	if (has_backlog(d) && d->drain_polls++ < DRAIN_POLLS_MAX)
		loop_timer_start(&d->drain, DRAIN_POLL_MS);
	else
		d->ops.on_drained(d->arg);
}

void
delivery_drain(struct delivery *d)
{
	d->draining = true;
	update_pause(d);
	update_idle(d);
}

struct delivery *
delivery_new(
    struct loop *l, const struct delivery_config *config, const struct delivery_ops *ops, void *arg)
{
	struct delivery *d = x_calloc(1, sizeof *d);

	d->loop = l;
	d->config = *config;
	d->ops = *ops;
	d->arg = arg;
	LIST_INIT(&d->peers);
	TAILQ_INIT(&d->ready);
	d->lookup = mailbox_lookup_new(l, config->uid, on_edge_lost, d);
	d->batch = x_calloc(config->batch_limit, sizeof *d->batch);
	d->batch_items = x_calloc(config->batch_limit, sizeof *d->batch_items);
	d->batch_config = (struct batch_config){
		.boxes = box_cache_new(config->base_fd, BOXES_HELD_MAX),
		.host = config->host,
		.sync_all_from = BATCH_SYNC_ALL_FROM,
		.clean_every = BATCH_CLEAN_EVERY };
	loop_timer_init(&d->soon, l, batch_start, d);
	loop_timer_init(&d->idle, l, on_idle, d);
	loop_timer_init(&d->drain, l, on_drain_timer, d);
	return d;
}

void
delivery_start(struct delivery *d)
{
	d->pool = work_pool_new(d->loop, 1);
	update_idle(d);
}

/* Only after on_drained, or when nothing was ever taken. */
void
delivery_free(struct delivery *d)
{
	struct peer *p;

	if (d == NULL)
		return;
	work_pool_free(d->pool);
	mailbox_lookup_free(d->lookup);
	while ((p = LIST_FIRST(&d->peers)) != NULL) {
		ipc_conn_close(p->conn);
		LIST_REMOVE(p, link);
		free(p);
	}
	loop_timer_stop(&d->soon);
	loop_timer_stop(&d->idle);
	loop_timer_stop(&d->drain);
	box_cache_free(d->batch_config.boxes);
	fd_close(&d->config.base_fd);
	free(d->batch);
	free(d->batch_items);
	free(d);
}
