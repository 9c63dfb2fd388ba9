#include "qmgr/queue.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/deferred.h"
#include "qmgr/queue_private.h"
#include "qmgr/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum {
	POOL_THREADS = 4,
	NEW_THREADS = 2,
	TOOL_THREADS = 2,
	DUE_AT_ONCE = 256, /* messages made ready without a pause: all may be due after a restart */
	LOADING_MAX = 64,  /* deferred ones read at a time */
	ENVELOPE_ARENA = 256 << 20,  /* decoded, an envelope is a few times its encoded size */
	SEGMENT_AGE_MS = 120 * 1000, /* messages in an older segment are moved out of it */
	RELOCATE_MS = 15 * 1000,
	RELOCATE_AT_ONCE = 256,
	RELOCATE_LOOK = 1000, /* messages looked at without a pause ... */
	RELOCATE_PAUSE_MS = 10,
	BUSY_MS = 1000, /* one that is due while an operation is under way is looked at again */
	INLINE_MAX = 1 << 20, /* a larger body does not go through the journal */
	RECORD_SLACK = 4096,  /* what a record has beside headers and body */
};

/* --- messages --------------------------------------------------------------------------------------- */
struct message *
queue_from(const struct queue *q, struct queue_id id)
{
	return message_tree_from(&q->messages, id);
}

static const struct queue_id before_all;

struct message *
queue_next(const struct queue *q, const struct message *m)
{
	return queue_from(q, m == NULL ? before_all : queue_id_after(m->id));
}

struct message *
queue_find(const struct queue *q, struct queue_id id)
{
	struct message *m = queue_from(q, id);

	return m != NULL && queue_id_compare(m->id, id) == 0 ? m : NULL;
}

size_t
queue_count(const struct queue *q)
{
	return q->messages.count;
}

struct queue_id
queue_new_id(struct queue *q)
{
	struct queue_id id = queue_id_next(&q->ids, clock_wall_us());

	journal_note_id(q->journal, id.us);
	return id;
}

struct message *
message_new(struct queue *q, struct queue_id id)
{
	struct message *m = x_calloc(1, sizeof *m);

	if (queue_find(q, id) != NULL)
		bug("queue: two messages with one id");
	m->id = id;
	message_tree_put(&q->messages, m);
	return m;
}

static bool
is_new(const struct message *m)
{
	return !m->is_from_past && m->attempts == 0;
}

struct work_pool *
queue_pool_of(const struct queue *q, const struct message *m)
{
	return is_new(m) ? q->new_pool : q->pool;
}

static enum tenant_line
line_of(const struct message *m)
{
	return is_new(m) ? LINE_NEW : LINE_OLD;
}

static bool
is_in_window(const struct message *m)
{
	return m->state == MESSAGE_ACTIVE || m->state == MESSAGE_LOADING;
}

/* What was deferred before summaries named the tenant is known when it is read. */
void
message_set_tenant(struct queue *q, struct message *m, uint64_t key)
{
	struct tenant *was = m->tenant;

	if (was != NULL && was->key == key)
		return;
	m->tenant = tenant_ref(&q->tenants, key);
	if (was == NULL)
		return;
	if (is_in_window(m)) {
		tenant_enter(m->tenant, line_of(m));
		tenant_leave(&q->tenants, was);
	}
	tenant_unref(&q->tenants, was);
}

/* What outcomes, `done` and `moved` of a message may need in the journal. */
int64_t
message_reserve_of(size_t nrcpts)
{
	return (int64_t)(4 * RECORD_HEADER + 64 + OUTCOME_BYTES * nrcpts);
}

void
message_leave_journal(struct queue *q, struct message *m)
{
	m->is_written = false;
	if (m->segment == NULL)
		return;
	journal_drop(q->journal, m->segment);
	journal_reserve(q->journal, -message_reserve_of(m->nrcpts));
	m->segment = NULL;
}

void
message_tell_waiters(struct message *m, bool ok)
{
	struct waiter *w;

	while ((w = m->waiters) != NULL) {
		m->waiters = w->next;
		w->fn(w->arg, ok);
		free(w);
	}
}

static void
content_drop(struct queue *q, struct active *a)
{
	if (content_is_open(&a->content))
		q->contents--;
	content_close(&a->content);
}

struct active *
active_new(void)
{
	struct active *a = x_calloc(1, sizeof *a);

	a->content = CONTENT_NONE;
	TAILQ_INIT(&a->jobs);
	return a;
}

static void
free_active(struct active *a)
{
	if (a == NULL)
		return;
	content_close(&a->content);
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		free(a->rcpts[i].reason);
		free(a->rcpts[i].remote);
	}
	for (int i = 0; i < NOTICE_KINDS; i++)
		fresh_free(a->notices[i]);
	free(a->rcpts);
	arena_clear(&a->arena);
	free(a);
}

void
message_free_active(struct queue *q, struct message *m)
{
	if (m->active == NULL)
		return;
	content_drop(q, m->active);
	for (int i = 0; i < NOTICE_KINDS; i++) {
		queue_refuse(q, m->active->notices[i]);
		m->active->notices[i] = NULL;
	}
	free_active(m->active);
	m->active = NULL;
}

void
queue_pump_soon(struct queue *q)
{
	if (!loop_timer_running(&q->pump_timer))
		loop_timer_soon(&q->pump_timer);
}

static void
leave_window(struct queue *q, struct message *m)
{
	if (!is_in_window(m))
		return;
	q->active--;
	q->active_old -= m->is_in_old_line;
	tenant_leave(&q->tenants, m->tenant);
}

/* Leaves the active ones; its memory goes with it. */
void
message_unload(struct queue *q, struct message *m)
{
	message_free_active(q, m);
	leave_window(q, m);
	m->state = MESSAGE_WAITING;
	queue_pump_soon(q);
}

static void
due_timer_set(struct queue *q)
{
	struct heap_node *n = heap_first(&q->due);

	if (n != NULL && !q->is_draining)
		loop_timer_start(&q->due_timer, n->key - clock_mono_ms());
}

/* WAITING for delay_ms; a held message waits without end.  What is still loaded stays so, but is no longer
 * counted as active. */
void
message_wait(struct queue *q, struct message *m, int64_t delay_ms)
{
	leave_window(q, m);
	if (m->state == MESSAGE_READY)
		message_unready(q, m);
	m->state = MESSAGE_WAITING;
	heap_remove(&q->due, &m->due);
	if (!m->is_held) {
		heap_insert(&q->due, &m->due, clock_mono_ms() + delay_ms);
		due_timer_set(q);
	}
	if (m->wants != 0) /* it came while the message was busy */
		message_settle_soon(q, m);
	queue_pump_soon(q);
}

struct body_op {
	struct queue *q;
	struct queue_id id;
	struct err err;
	int result;
};

static void
body_op_run(void *arg)
{
	struct body_op *op = arg;

	op->result = body_remove(op->q->root_fd, op->id, &op->err);
}

static void
body_op_done(void *arg)
{
	struct body_op *op = arg;

	if (op->result < 0)
		log_warn("%s", op->err.text); /* the next start removes it */
	op->q->operations--;
	free(op);
}

void
queue_forget_body(struct queue *q, struct queue_id id)
{
	struct body_op *op = x_calloc(1, sizeof *op);

	op->q = q;
	op->id = id;
	q->operations++;
	work_submit(q->pool, body_op_run, body_op_done, op);
}

void
message_gone(struct queue *q, struct message *m)
{
	if (m->state == MESSAGE_READY)
		message_unready(q, m);
	if (m->is_settling)
		TAILQ_REMOVE(&q->settling, m, settling);
	message_unload(q, m);
	heap_remove(&q->due, &m->due);
	message_tree_remove(&q->messages, m);
	message_leave_journal(q, m);
	message_tell_waiters(m, true);
	if (m->has_file && q->pool != NULL)
		queue_forget_body(q, m->id); /* at replay the sweep does it */
	tenant_unref(&q->tenants, m->tenant);
	free(m->finished);
	free(m);
}

/* --- from READY to ACTIVE ------------------------------------------------------------------------------ */
void
message_unready(struct queue *q, struct message *m)
{
	tenant_unready(&q->tenants, m, line_of(m));
	m->state = MESSAGE_WAITING;
}

void
message_start_round(struct queue *q, struct message *m)
{
	struct active *a = m->active;

	m->state = MESSAGE_ACTIVE;
	a->begun_ms = clock_mono_ms();
	a->delay_ms = 0;
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		a->rcpts[i].phase = PHASE_IDLE;
		if (a->rcpts[i].status == RCPT_PENDING)
			a->rcpts[i].noticed = 0;
	}
	if (m->is_held || m->wants != 0 || q->is_draining) {
		message_settle_soon(q, m);
		return;
	}
	report_active(m);
	m->is_busy = true;
	q->ops.route(q->ops_arg, m);
}

void
queue_routed(struct queue *q, struct message *m)
{
	m->is_busy = false;
	if (m->wants == 0 && !q->is_draining)
		q->ops.start(q->ops_arg, m);
	if (m->wants != 0 || m->active->open == 0)
		message_settle_soon(q, m);
}

void
message_make_ready(struct queue *q, struct message *m)
{
	heap_remove(&q->due, &m->due);
	m->state = MESSAGE_READY;
	tenant_ready(&q->tenants, m, line_of(m));
	queue_pump_soon(q);
}

/* A quarter of the window is for new mail alone: it never waits for a million old ones to time out. */
static size_t
room_for(const struct queue *q, enum tenant_line line)
{
	size_t limit = q->conf.active_limit, old_limit = limit - limit / 4;
	size_t room = q->active < limit ? limit - q->active : 0;
	size_t old_room = q->active_old < old_limit ? old_limit - q->active_old : 0;

	return line == LINE_OLD && old_room < room ? old_room : room;
}

/* New mail and mail that waited take turns: neither a flood nor a backlog starves the other. */
static struct message *
next_ready(struct queue *q)
{
	struct message *m = NULL;

	for (int i = 0; i < LINES && m == NULL; i++) {
		enum tenant_line line = q->next_line ^= 1;

		if (line == LINE_NEW || q->loading < LOADING_MAX)
			m = tenant_next(&q->tenants, line, room_for(q, line));
	}
	return m;
}

static void
on_pump(void *arg)
{
	struct queue *q = arg;
	struct message *m;

	while (!q->is_draining && q->active < q->conf.active_limit && (m = next_ready(q)) != NULL) {
		m->is_in_old_line = !is_new(m);
		q->active++;
		q->active_old += m->is_in_old_line;
		tenant_enter(m->tenant, line_of(m));
		m->state = MESSAGE_LOADING;
		if (m->active != NULL)
			message_start_round(q, m);
		else
			message_load_active(q, m);
	}
}

static void
on_due(void *arg)
{
	struct queue *q = arg;
	int64_t now = clock_mono_ms();
	struct heap_node *n;
	unsigned count = 0;

	while ((n = heap_first(&q->due)) != NULL && n->key <= now && !q->is_draining &&
	       count++ < DUE_AT_ONCE) {
		struct message *m = HEAP_ENTRY(n, struct message, due);

		heap_remove(&q->due, n);
		if (m->state == MESSAGE_WAITING && m->is_busy)
			heap_insert(&q->due, n, now + BUSY_MS);
		else if (m->state == MESSAGE_WAITING)
			message_make_ready(q, m);
		else /* its outcomes could not be written, or its notice not made */
			message_settle_soon(q, m);
	}
	due_timer_set(q);
}

void
queue_flush(struct queue *q, struct message *m)
{
	if (m->state == MESSAGE_WAITING && !m->is_held && !m->is_busy && !m->is_deleted)
		message_wait(q, m, 0);
}

/* --- old segments ----------------------------------------------------------------------------------------- */
static void
on_relocate(void *arg)
{
	struct queue *q = arg;
	const struct journal_segment *old = journal_overdue(q->journal, SEGMENT_AGE_MS);
	struct message *m = old == NULL ? NULL : queue_from(q, q->relocated);
	unsigned moved = 0, looked = 0;

	while (m != NULL && moved < RELOCATE_AT_ONCE && looked++ < RELOCATE_LOOK) {
		struct message *next = queue_next(q, m);

		if (m->segment == old)
			moved += message_relocate(q, m);
		m = next;
	}
	q->relocated = m == NULL ? before_all : m->id;
	if (!q->is_draining)
		loop_timer_start(&q->relocate_timer, moved == RELOCATE_AT_ONCE ? 1000
						     : m != NULL               ? RELOCATE_PAUSE_MS
									       : RELOCATE_MS);
}

/* --- settling: from the loop, so that nobody's message goes away under his feet ------------------------- */
void
message_settle_soon(struct queue *q, struct message *m)
{
	if (m->is_settling || m->state == MESSAGE_READY)
		return; /* READY: it is settled after it was loaded */
	m->is_settling = true;
	TAILQ_INSERT_TAIL(&q->settling, m, settling);
	if (!loop_timer_running(&q->settle_timer))
		loop_timer_soon(&q->settle_timer);
}

static void
on_settle(void *arg)
{
	struct queue *q = arg;
	struct message *m;

	while ((m = TAILQ_FIRST(&q->settling)) != NULL) {
		TAILQ_REMOVE(&q->settling, m, settling);
		m->is_settling = false;
		message_settle(q, m);
	}
}

void
queue_want(
    struct queue *q, struct message *m, unsigned wants, void (*fn)(void *arg, bool ok), void *arg)
{
	if (fn != NULL) {
		struct waiter *w = x_calloc(1, sizeof *w);

		*w = (struct waiter){ .next = m->waiters, .fn = fn, .arg = arg };
		m->waiters = w;
	}
	if (wants & WANT_HOLD)
		m->wants &= (uint8_t) ~(WANT_RELEASE | WANT_REQUEUE);
	if (wants & (WANT_RELEASE | WANT_REQUEUE))
		m->wants &= (uint8_t)~WANT_HOLD;
	m->wants |= (uint8_t)wants;
	if (m->state == MESSAGE_READY)
		message_wait(q, m, 0);
	message_settle_soon(q, m);
}

/* --- fresh messages ---------------------------------------------------------------------------------------- */
struct fresh *
fresh_new(struct queue_id id)
{
	struct fresh *f = x_calloc(1, sizeof *f);

	f->id = id;
	f->content = CONTENT_NONE;
	arena_init(&f->arena, ENVELOPE_ARENA);
	buf_init(&f->encoded, ENVELOPE_MAX_BYTES);
	return f;
}

void
fresh_free(struct fresh *f)
{
	if (f == NULL)
		return;
	content_close(&f->content);
	buf_clear(&f->encoded);
	arena_clear(&f->arena);
	free(f);
}

void
fresh_record(struct fresh *f, struct journal_record *r)
{
	struct message_head h = { .has_file = f->has_file,
		.envelope_len = f->encoded.len,
		.headers_len = f->content.headers_len };
	uint64_t rest = f->content.body_len - f->content.body_off;

	/* of a body that goes into the record, what its headers were is left out */
	h.body_len = f->has_file ? f->content.body_len : rest;
	h.body_off = f->has_file ? f->content.body_off : 0;
	message_head_encode(&h, f->head);
	*r = (struct journal_record){ .type = RECORD_MESSAGE,
		.id = f->id,
		.npieces = 3,
		.pieces = { { .p = f->head, .len = MESSAGE_HEAD },
		    { .p = f->encoded.p, .len = f->encoded.len },
		    { .fd = f->content.headers_fd, .len = f->content.headers_len } } };
	if (!f->has_file)
		r->pieces[r->npieces++] = (struct journal_piece){
			.fd = f->content.body_fd, .off = f->content.body_off, .len = rest
		};
}

static uint64_t
inline_max(const struct queue *q)
{
	return q->conf.segment_size / 8 < INLINE_MAX ? q->conf.segment_size / 8 : INLINE_MAX;
}

/* Bodies that become files need room in the file system; the rest goes to segments, which have theirs. */
enum qmgr_status
queue_has_room(struct queue *q, uint64_t size)
{
	struct statvfs v;

	if (journal_admits(q->journal, size < inline_max(q) ? size : RECORD_SLACK) != QMGR_OK)
		return QMGR_FULL;
	if (size <= inline_max(q))
		return QMGR_OK;
	if (fstatvfs(q->root_fd, &v) < 0)
		return QMGR_FULL;
	return (uint64_t)v.f_bavail * v.f_frsize < size + q->conf.minfree ? QMGR_FULL : QMGR_OK;
}

const char *
queue_full_text(const struct queue *q, uint64_t size, char out[QUEUE_FULL_TEXT])
{
	uint64_t needed = (size <= inline_max(q) ? q->conf.segment_size : size) + q->conf.minfree;
	struct statvfs v;

	if (fstatvfs(q->root_fd, &v) < 0)
		snprintf(out, QUEUE_FULL_TEXT, "insufficient queue space: statvfs: %s",
		    strerrordesc_np(errno));
	else if (journal_is_broken(q->journal))
		snprintf(out, QUEUE_FULL_TEXT,
		    "insufficient queue space: the journal cannot be written");
	else
		snprintf(out, QUEUE_FULL_TEXT,
		    "insufficient queue space: %llu bytes free, %llu bytes needed",
		    (unsigned long long)v.f_bavail * v.f_frsize, (unsigned long long)needed);
	return out;
}

int
fresh_fit(const struct queue *q, struct fresh *f, size_t copies, struct err *err)
{
	int fd;

	if (f->has_file || f->content.body_len <= inline_max(q) / copies)
		return 0;
	if (body_copy_in(q->root_fd, f->id, f->content.body_fd, f->content.body_len, &fd, err) < 0)
		return -1;
	fd_close(&f->content.body_fd);
	f->content.body_fd = fd;
	f->has_file = true;
	return 0;
}

enum qmgr_status
queue_admit(struct queue *q, struct fresh *f)
{
	uint64_t bytes = f->encoded.len + f->content.headers_len + RECORD_SLACK;

	if (!f->has_file)
		bytes += f->content.body_len - f->content.body_off;
	if (bytes > journal_max_entry(q->journal))
		return QMGR_FULL;
	f->reserved = message_reserve_of(f->env.nrcpts);
	if (journal_admits(q->journal, bytes + (uint64_t)f->reserved) != QMGR_OK) {
		f->reserved = 0;
		return QMGR_FULL;
	}
	journal_reserve(q->journal, f->reserved);
	return QMGR_OK;
}

void
queue_refuse(struct queue *q, struct fresh *f)
{
	if (f == NULL)
		return;
	journal_reserve(q->journal, -f->reserved);
	if (f->has_file)
		queue_forget_body(q, f->id);
	fresh_free(f);
}

struct message *
queue_adopt(struct queue *q, struct fresh *f, struct journal_segment *s, uint32_t offset)
{
	struct message *m = message_new(q, f->id);
	struct active *a = active_new();
	int64_t age = clock_wall_ms() - f->env.arrival_ms;

	journal_hold(s);
	m->segment = s;
	m->offset = offset;
	m->nrcpts = m->left = (uint32_t)f->env.nrcpts;
	m->size = f->env.size;
	m->arrival_ms = f->env.arrival_ms;
	/* smtpd's word on the time before the commit, as far as that can be */
	m->born_ms = clock_mono_ms() - (age > 0 && age < 3600 * 1000 ? age : 0);
	m->is_bounce = (f->env.flags & ENVELOPE_BOUNCE) != 0;
	m->is_held = (f->env.flags & ENVELOPE_HOLD) != 0;
	m->has_file = f->has_file;
	message_set_tenant(q, m, tenant_key(&f->env));
	tenant_meet(m->tenant, &f->env);
	a->arena = f->arena;
	a->env = f->env;
	a->content = f->content;
	q->contents++;
	m->active = a;
	active_init_rcpts(m, a);
	buf_clear(&f->encoded);
	free(f);
	return m;
}

void
queue_begin(struct queue *q, struct message *m)
{
	if (q->contents > q->conf.content_limit)
		content_drop(q, m->active);
	if (!tenant_may_enter(m->tenant, LINE_NEW, room_for(q, LINE_NEW)) || q->is_draining)
		message_free_active(q, m); /* read again when its turn comes */
	message_make_ready(q, m);
}

/* --- recipients' states -------------------------------------------------------------------------------------- */
void
queue_rcpt_queued(struct message *m, size_t rcpt)
{
	m->active->rcpts[rcpt].phase = PHASE_QUEUED;
	m->active->open++;
}

void
queue_rcpt_taken_back(struct queue *q, struct message *m, size_t rcpt)
{
	m->active->rcpts[rcpt].phase = PHASE_IDLE;
	if (--m->active->open == 0)
		message_settle_soon(q, m);
}

void
queue_rcpt_flying(struct message *m, size_t rcpt)
{
	m->active->rcpts[rcpt].phase = PHASE_FLYING;
	m->active->flying++;
}

void
queue_rcpt_returned(struct message *m, size_t rcpt)
{
	m->active->rcpts[rcpt].phase = PHASE_QUEUED;
	m->active->rcpts[rcpt].maybe_done = true;
	m->active->flying--;
}

/* A peer's code counts only if it is one, and of the class its verdict is (RFC 3463 2). */
static void
set_dsn(struct rcpt_state *r, const struct attempt *a)
{
	static const char *const by_status[] = { "2.0.0", "4.0.0", "5.0.0" };
	const char *def = by_status[a->status];
	unsigned x, y, z;
	int used = 0;

	if (a->dsn != NULL && sscanf(a->dsn, "%1u.%3u.%3u%n", &x, &y, &z, &used) == 3 &&
	    a->dsn[used] == '\0' && x == (unsigned)(def[0] - '0'))
		snprintf(r->dsn, sizeof r->dsn, "%u.%u.%u", x % 10, y % 1000, z % 1000);
	else
		snprintf(r->dsn, sizeof r->dsn, "%s", def);
}

/* soft_bounce (postconf(5)): a failure becomes a delay, and its code one of class 4. */
static void
soften(struct attempt *a, char dsn[sizeof((struct rcpt_state *)NULL)->dsn])
{
	snprintf(dsn, sizeof((struct rcpt_state *)NULL)->dsn, "%s", a->dsn != NULL ? a->dsn : "");
	if (dsn[0] == '5')
		dsn[0] = '4';
	a->dsn = dsn;
	a->status = DELIVERY_DEFERRED;
}

void
queue_rcpt_answered(struct queue *q, struct message *m, size_t rcpt, const struct attempt *answer)
{
	struct rcpt_state *r = &m->active->rcpts[rcpt];
	char reason[DEFERRED_REASON], dsn[sizeof r->dsn];
	struct attempt soft = *answer;
	const struct attempt *a = &soft;

	if (q->conf.soft_bounce && answer->status == DELIVERY_BOUNCED)
		soften(&soft, dsn);
	if (r->phase == PHASE_FLYING)
		m->active->flying--;
	m->active->open--;
	r->phase = PHASE_ANSWERED;
	r->is_repeated = r->maybe_done && a->status == DELIVERY_SENT;
	r->maybe_done = false;
	r->attempts++;
	r->last_ms = clock_wall_ms();
	r->code = a->code;
	r->is_relayed = a->is_relayed;
	r->took_dsn = a->took_dsn;
	set_dsn(r, a);
	log_quote(reason, sizeof reason, view_of(a->text));
	free(r->reason);
	r->reason = x_strdup(reason);
	free(r->remote);
	r->remote = a->code != 0 ? x_strdup(a->relay) : NULL;
	if (m->is_deleted) {
		message_settle_soon(q, m);
		return;
	}
	report_attempt(m, rcpt, a, clock_mono_ms());
	if (a->status == DELIVERY_BOUNCED && q->ops.failed != NULL)
		q->ops.failed(q->ops_arg, m);
	if (a->status != DELIVERY_DEFERRED) {
		r->status = a->status == DELIVERY_SENT ? RCPT_SENT : RCPT_FAILED;
		r->is_dirty = true;
		m->left--;
	}
	if (m->active->open == 0 || a->status == DELIVERY_SENT)
		message_settle_soon(q, m);
}

/* --- content -------------------------------------------------------------------------------------------------- */
struct content_op {
	struct queue *q;
	struct queue_id id;
	bool in_journal;
	struct segment_header seg;
	uint32_t offset;
	struct content content;
	struct err err;
	int result;
};

static void
content_op_run(void *arg)
{
	struct content_op *op = arg;
	struct message_bytes bytes;
	struct deferred_file f;
	int root = op->q->root_fd;

	op->content = CONTENT_NONE;
	if (op->in_journal) {
		op->result = message_bytes_from_journal(
		    root, &op->seg, op->offset, op->id, &bytes, &op->err);
		if (op->result == 0)
			op->result = content_make(root, op->id, &bytes, &op->content, &op->err);
		message_bytes_clear(&bytes);
	} else {
		op->result = deferred_load(root, op->id, &f, &op->err);
		if (op->result == 0)
			op->result = content_make(root, op->id, &f.bytes, &op->content, &op->err);
		deferred_file_clear(&f);
	}
}

static void
content_op_done(void *arg)
{
	struct content_op *op = arg;
	struct queue *q = op->q;
	struct message *m = queue_find(q, op->id); /* it may have been deleted meanwhile */
	char text[QUEUE_ID_TEXT];

	q->operations--;
	if (m != NULL && m->active != NULL && m->active->is_opening) {
		m->active->is_opening = false;
		m->active->is_unreadable = op->result < 0;
		if (op->result == 0) {
			m->active->content = op->content;
			op->content = CONTENT_NONE;
			q->contents++;
		} else {
			queue_id_format(op->id, text);
			log_error("%s: its content cannot be read: %s", text, op->err.text);
		}
		q->ops.content(q->ops_arg, m);
	}
	content_close(&op->content);
	free(op);
}

void
queue_content_open(struct queue *q, struct message *m)
{
	struct content_op *op;

	if (m->active->is_opening)
		return;
	op = x_calloc(1, sizeof *op);
	op->q = q;
	op->id = m->id;
	op->in_journal = m->segment != NULL;
	if (m->segment != NULL)
		op->seg = m->segment->header;
	op->offset = m->offset;
	m->active->is_opening = true;
	q->operations++;
	work_submit(queue_pool_of(q, m), content_op_run, content_op_done, op);
}

void
queue_content_use(struct message *m)
{
	m->active->content_users++;
}

void
queue_content_unuse(struct queue *q, struct message *m)
{
	if (--m->active->content_users == 0 && q->contents > q->conf.content_limit)
		content_drop(q, m->active);
}

/* --- life ------------------------------------------------------------------------------------------------------- */
static int
prepare_dirs(int root_fd, struct err *err)
{
	if (mkdirat(root_fd, "bodies", 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir bodies");
	return deferred_prepare(root_fd, err);
}

static void
on_tenant_room(void *arg)
{
	queue_pump_soon(arg);
}

struct queue *
queue_open(struct loop *l, int root_fd, const struct queue_conf *conf, const struct journal_io *io,
    struct err *err)
{
	struct journal_options jo = { .loop = l,
		.root_fd = root_fd,
		.segment_size = conf->segment_size,
		.minfree = conf->minfree,
		.ledger = conf->ledger,
		.io = io };
	struct queue *q = x_calloc(1, sizeof *q);

	q->loop = l;
	q->root_fd = root_fd;
	q->conf = *conf;
	heap_init(&q->due);
	tenants_init(&q->tenants, l, conf->has_tenant_limits, on_tenant_room, q);
	TAILQ_INIT(&q->settling);
	loop_timer_init(&q->due_timer, l, on_due, q);
	loop_timer_init(&q->settle_timer, l, on_settle, q);
	loop_timer_init(&q->pump_timer, l, on_pump, q);
	loop_timer_init(&q->relocate_timer, l, on_relocate, q);
	if (prepare_dirs(root_fd, err) < 0 || (q->journal = journal_open(&jo, err)) == NULL)
		goto fail;
	q->ids.life = journal_life(q->journal);
	queue_id_seen(&q->ids, journal_last_id(q->journal));
	if (queue_recover(q, err) < 0)
		goto fail;
	journal_note_id(q->journal, q->ids.last_us);
	if (journal_start(q->journal, err) < 0)
		goto fail;
	q->pool = work_pool_new(l, POOL_THREADS);
	q->write_pool = work_pool_new(l, POOL_THREADS);
	q->new_pool = work_pool_new(l, NEW_THREADS);
	q->tool_pool = work_pool_new(l, TOOL_THREADS);
	return q;
fail:
	queue_close(q);
	return NULL;
}

void
queue_set_ops(struct queue *q, const struct queue_ops *ops, void *arg)
{
	q->ops = *ops;
	q->ops_arg = arg;
	due_timer_set(q);
	queue_pump_soon(q);
	loop_timer_start(&q->relocate_timer, RELOCATE_MS);
}

void
queue_drain(struct queue *q)
{
	q->is_draining = true;
	loop_timer_stop(&q->due_timer);
	loop_timer_stop(&q->relocate_timer);
}

bool
queue_is_quiet(const struct queue *q)
{
	return q->operations == 0 && TAILQ_EMPTY(&q->settling) &&
	       (q->journal == NULL || journal_waiting(q->journal) == 0);
}

static void
op_nothing(void *arg, struct message *m)
{
	(void)arg;
	(void)m;
}

static void
op_no_notice(void *arg, struct message *m, enum notice_kind kind)
{
	(void)arg;
	(void)m;
	(void)kind;
}

void
queue_close(struct queue *q)
{
	struct message *m;

	if (q == NULL)
		return;
	queue_drain(q);
	q->ops = (struct queue_ops){ op_nothing, op_nothing, op_nothing, op_nothing, op_no_notice,
		op_nothing, NULL, NULL };
	while (!queue_is_quiet(q))
		loop_run_once(q->loop, true);
	work_pool_free(q->pool);
	work_pool_free(q->write_pool);
	work_pool_free(q->new_pool);
	work_pool_free(q->tool_pool);
	journal_close(q->journal);
	heap_clear(&q->due);
	while ((m = q->messages.root) != NULL) {
		message_tree_remove(&q->messages, m);
		free_active(m->active);
		message_tell_waiters(m, false);
		free(m->finished);
		free(m);
	}
	tenants_clear(&q->tenants);
	loop_timer_stop(&q->due_timer);
	loop_timer_stop(&q->settle_timer);
	loop_timer_stop(&q->pump_timer);
	loop_timer_stop(&q->relocate_timer);
	free(q);
}
