/* What became of a message's recipients, and what admins want, on the way to disk.
 *
 * message_settle looks at a message, does the next thing that is to be done and returns; the end of every
 * operation calls it again.  At most one operation on disk is under way for a message (is_busy).
 * An outcome is durable before its consequence: notice, removal, waiting for the next attempt. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/deferred.h"
#include "qmgr/queue_private.h"
#include "qmgr/report.h"

#include <stdio.h>
#include <stdlib.h>

enum { RETRY_MS = 5000, RETRY_NOTICE_MS = 30000 };

/* Nothing could be written now: the message stays as it is, and is looked at again. */
static void
settle_later(struct queue *q, struct message *m, int64_t delay_ms)
{
	heap_remove(&q->due, &m->due);
	heap_insert(&q->due, &m->due, clock_mono_ms() + delay_ms);
	loop_timer_start(&q->due_timer, heap_first(&q->due)->key - clock_mono_ms());
}

static bool
is_unsaved(const struct rcpt_state *r, bool sent_only, const struct recipient *to)
{
	if (!r->is_dirty)
		return false;
	/* one whose success is to be told waits for the end of the round, and its notice */
	return !sent_only ||
	       (r->status == RCPT_SENT && (to->notify & NOTIFY_SUCCESS) == 0 && !r->is_delay_told);
}

static size_t
count_unsaved(const struct active *a, bool sent_only)
{
	size_t n = 0;

	for (size_t i = 0; i < a->env.nrcpts; i++)
		n += is_unsaved(&a->rcpts[i], sent_only, &a->env.rcpts[i]);
	return n;
}

/* --- operations in the journal ------------------------------------------------------------------------------ */
struct log_op {
	struct journal_entry entry;
	struct queue *q;
	struct message *m;
	struct buf outcomes;
	uint32_t *rcpts; /* owned: whose outcomes they are */
	size_t nrcpts;
	struct fresh *notices[NOTICE_KINDS]; /* borrowed from the message's active */
	unsigned notice_at[NOTICE_KINDS];    /* their records */
	unsigned wants;                      /* that it meets */
	void (*then)(struct queue *q, struct message *m, struct log_op *op);
};

static struct log_op *
log_op_new(struct queue *q, struct message *m,
    void (*then)(struct queue *q, struct message *m, struct log_op *op))
{
	struct log_op *op = x_calloc(1, sizeof *op);

	op->q = q;
	op->m = m;
	op->then = then;
	buf_init(&op->outcomes, 4 + (size_t)OUTCOME_BYTES * ENVELOPE_MAX_RCPTS);
	return op;
}

static struct journal_record *
log_op_add(struct log_op *op, enum record_type type)
{
	struct journal_record *r = &op->entry.records[op->entry.nrecords++];

	*r = (struct journal_record){ .type = type, .id = op->m->id };
	return r;
}

static void
put_outcome(struct log_op *op, const struct outcome *o)
{
	if (outcomes_put(&op->outcomes, o) < 0)
		bug("settle: outcomes do not fit");
}

static void
put_rcpt(struct log_op *op, uint32_t rcpt)
{
	const struct rcpt_state *r = &op->m->active->rcpts[rcpt];
	struct outcome o = { .rcpt = rcpt,
		.status = r->status,
		.is_relayed = r->is_relayed,
		.is_repeated = r->is_repeated };

	memcpy(o.dsn, r->dsn, sizeof o.dsn);
	put_outcome(op, &o);
	op->rcpts[op->nrcpts++] = rcpt;
}

static void
log_op_end_outcomes(struct log_op *op, enum record_type type)
{
	struct journal_record *r = log_op_add(op, type);

	r->pieces[0] = (struct journal_piece){ .p = op->outcomes.p, .len = op->outcomes.len };
	r->npieces = 1;
}

static void
log_op_add_outcomes(struct log_op *op, bool sent_only)
{
	const struct active *a = op->m->active;
	size_t count = count_unsaved(a, sent_only);

	if (count == 0)
		return;
	op->rcpts = x_calloc(count, sizeof *op->rcpts);
	outcomes_begin(&op->outcomes, (uint32_t)count);
	for (uint32_t i = 0; i < a->env.nrcpts; i++)
		if (is_unsaved(&a->rcpts[i], sent_only, &a->env.rcpts[i]))
			put_rcpt(op, i);
	log_op_end_outcomes(op, RECORD_OUTCOME);
}

/* What only the file of a message says of it. */
static bool
is_of_file(const struct rcpt_state *r)
{
	return r->is_dirty || r->slot >= 0;
}

static void
put_deleted(struct log_op *op, uint32_t rcpt)
{
	put_outcome(op, &(struct outcome){ .rcpt = rcpt, .status = RCPT_DELETED });
}

/* The end of a message: whoever is still waiting is deleted by the admin.  What only its file says of the others goes with
 * the file, so that `finished` says it, too; in the journal it stands before. */
static void
log_op_add_end(struct log_op *op, enum record_type type)
{
	const struct message *m = op->m;
	const struct active *a = m->active;

	op->rcpts = x_calloc(m->nrcpts + 1, sizeof *op->rcpts);
	outcomes_begin(&op->outcomes, 0);
	for (uint32_t i = 0; i < m->nrcpts; i++) {
		const struct rcpt_state *r = a != NULL ? &a->rcpts[i] : NULL;

		if (r == NULL ? !message_bit(m->finished, i) : r->status == RCPT_PENDING)
			put_deleted(op, i);
		else if (r != NULL && (type == RECORD_FINISHED ? is_of_file(r) : r->is_dirty))
			put_rcpt(op, i);
	}
	outcomes_end(&op->outcomes);
	log_op_end_outcomes(op, type);
}

static void
log_op_add_notices(struct log_op *op)
{
	for (int i = 0; i < NOTICE_KINDS; i++) {
		struct fresh *f = op->m->active->notices[i];

		if (f == NULL)
			continue;
		op->notices[i] = f;
		op->notice_at[i] = op->entry.nrecords++;
		fresh_record(f, &op->entry.records[op->notice_at[i]]);
	}
}

static void
log_op_free(struct log_op *op)
{
	buf_clear(&op->outcomes);
	free(op->rcpts);
	free(op);
}

static void
log_op_done(void *arg, struct journal_entry *e)
{
	struct log_op *op = arg;
	struct message *m = op->m;

	(void)e;
	op->q->operations--;
	m->is_busy = false;
	if (op->entry.status == QMGR_OK)
		for (size_t i = 0; i < op->nrcpts; i++)
			m->active->rcpts[op->rcpts[i]].is_dirty = false;
	op->then(op->q, m, op);
	log_op_free(op);
}

static void
log_op_start(struct log_op *op, bool lazy)
{
	op->entry.done = log_op_done;
	op->entry.arg = op;
	op->m->is_busy = true;
	op->q->operations++;
	journal_append(op->q->journal, &op->entry, lazy);
}

/* The notices that an entry made durable become messages. */
static void
adopt_notices(struct queue *q, struct log_op *op, struct message *adopted[NOTICE_KINDS])
{
	struct active *a = op->m->active;

	for (int i = 0; i < NOTICE_KINDS; i++) {
		adopted[i] = NULL;
		if (op->notices[i] == NULL)
			continue;
		a->notices[i] = NULL;
		report_notice(op->m->id, (enum notice_kind)i, op->notices[i]->id);
		adopted[i] = queue_adopt(q, op->notices[i], op->entry.segment,
		    op->entry.records[op->notice_at[i]].offset);
	}
}

/* --- operations on the deferred file ------------------------------------------------------------------------- */
enum disk_kind { DISK_WRITE, DISK_READ, DISK_UPDATE, DISK_REWRITE, DISK_REMOVE };

struct disk_op {
	struct queue *q;
	struct message *m;
	enum disk_kind kind;
	struct segment_header seg; /* DISK_WRITE: where the message is now */
	uint32_t offset;
	struct deferred_summary summary;
	struct deferred_change *changes; /* owned; DISK_READ: what stands there */
	size_t nchanges;
	struct journal_segment
	    *finished_in; /* DISK_REMOVE: held, as long as the file is there; NULL = none */
	unsigned wants;   /* that it meets */
	struct err err;
	int result;
	void (*then)(struct queue *q, struct message *m, struct disk_op *op);
};

static int
disk_write(struct disk_op *op, const struct message_bytes *bytes)
{
	struct deferred_slot *slots = x_calloc(op->nchanges + 1, sizeof *slots);
	int r;

	for (size_t i = 0; i < op->nchanges; i++)
		slots[i] = op->changes[i].slot;
	r = deferred_write(
	    op->q->root_fd, &op->summary, slots, (uint32_t)op->nchanges, bytes, &op->err);
	free(slots);
	return r;
}

static int
disk_write_from_journal(struct disk_op *op)
{
	struct message_bytes bytes;
	int r = message_bytes_from_journal(
	    op->q->root_fd, &op->seg, op->offset, op->summary.id, &bytes, &op->err);

	if (r == 0)
		r = disk_write(op, &bytes);
	message_bytes_clear(&bytes);
	return r;
}

static int
disk_rewrite(struct disk_op *op)
{
	struct deferred_file f;
	int r = deferred_load(op->q->root_fd, op->summary.id, &f, &op->err);

	if (r == 0)
		r = disk_write(op, &f.bytes);
	deferred_file_clear(&f);
	return r;
}

static int
disk_read(struct disk_op *op)
{
	struct deferred_file f;

	if (deferred_load_envelope(op->q->root_fd, op->summary.id, &f, &op->err) < 0)
		return -1;
	op->changes = x_calloc(f.head.nslots + 1, sizeof *op->changes);
	for (uint32_t i = 0; i < f.head.nslots; i++)
		if (f.slots[i].rcpt != UINT32_MAX)
			op->changes[op->nchanges++].slot = f.slots[i];
	deferred_file_clear(&f);
	return 0;
}

static void
disk_op_run(void *arg)
{
	struct disk_op *op = arg;

	switch (op->kind) {
	case DISK_READ:
		op->result = disk_read(op);
		break;
	case DISK_WRITE:
		op->result = disk_write_from_journal(op);
		break;
	case DISK_REWRITE:
		op->result = disk_rewrite(op);
		break;
	case DISK_UPDATE:
		op->result = deferred_update(
		    op->q->root_fd, &op->summary, op->changes, op->nchanges, &op->err);
		break;
	case DISK_REMOVE:
		op->result = deferred_remove(op->q->root_fd, op->summary.id, &op->err);
		break;
	}
}

static void
disk_op_done(void *arg)
{
	struct disk_op *op = arg;

	op->q->operations--;
	op->m->is_busy = false;
	if (op->finished_in != NULL)
		journal_drop(op->q->journal, op->finished_in);
	op->then(op->q, op->m, op);
	free(op->changes);
	free(op);
}

static struct disk_op *
disk_op_new(struct queue *q, struct message *m, enum disk_kind kind, int64_t delay_ms,
    void (*then)(struct queue *q, struct message *m, struct disk_op *op))
{
	struct disk_op *op = x_calloc(1, sizeof *op);

	op->q = q;
	op->m = m;
	op->kind = kind;
	op->then = then;
	if (m->segment != NULL)
		op->seg = m->segment->header;
	op->offset = m->offset;
	op->summary = (struct deferred_summary){ .id = m->id,
		.state = m->is_held ? DEFERRED_HELD : DEFERRED_WAITING,
		.next_ms = clock_wall_ms() + delay_ms,
		.arrival_ms = m->arrival_ms,
		.size = m->size,
		.nrcpts = m->nrcpts,
		.left = m->left,
		.attempts = m->attempts,
		.tenant = m->tenant->key,
		.is_expired = m->is_expired };
	return op;
}

static void
disk_op_start(struct disk_op *op)
{
	op->m->is_busy = true;
	op->q->operations++;
	work_submit(op->q->write_pool, disk_op_run, disk_op_done, op);
}

static void
fill_slot(const struct rcpt_state *r, uint32_t rcpt, struct deferred_slot *s)
{
	*s = (struct deferred_slot){ .rcpt = rcpt,
		.status = r->status,
		.is_delay_told = r->is_delay_told,
		.is_relayed = r->is_relayed,
		.is_repeated = r->is_repeated,
		.attempts = r->attempts,
		.last_ms = r->last_ms };
	memcpy(s->dsn, r->dsn, sizeof s->dsn);
	if (r->reason != NULL)
		snprintf(s->reason, sizeof s->reason, "%s", r->reason);
}

/* A new file gets a slot for everyone who is not finished, or of whom nothing else on disk says it.  Before the end of a
 * round a failure counts as none yet: its notice is still to be made, and a crash would forget that. */
static void
disk_op_add_all(struct disk_op *op)
{
	struct active *a = op->m->active;

	op->changes = x_calloc(a->env.nrcpts, sizeof *op->changes);
	for (uint32_t i = 0; i < a->env.nrcpts; i++) {
		struct rcpt_state *r = &a->rcpts[i];
		bool is_needed = r->status == RCPT_PENDING || is_of_file(r);
		struct deferred_slot *s = &op->changes[op->nchanges].slot;

		r->slot = -1;
		if (!is_needed)
			continue;
		r->slot = (int)op->nchanges++;
		fill_slot(r, i, s);
		if (r->status == RCPT_FAILED && r->is_dirty && a->open > 0)
			s->status = RCPT_PENDING;
	}
	a->nslots = (uint32_t)op->nchanges;
}

static void
disk_op_add_changes(struct disk_op *op, bool sent_only)
{
	struct active *a = op->m->active;

	op->changes = x_calloc(a->env.nrcpts, sizeof *op->changes);
	for (uint32_t i = 0; i < a->env.nrcpts; i++) {
		const struct rcpt_state *r = &a->rcpts[i];
		bool is_changed = is_unsaved(r, sent_only, &a->env.rcpts[i]) ||
				  (!sent_only && r->phase == PHASE_ANSWERED);

		if (!is_changed || r->slot < 0)
			continue;
		op->changes[op->nchanges].index = (uint32_t)r->slot;
		fill_slot(r, i, &op->changes[op->nchanges++].slot);
	}
}

static void
changes_are_saved(struct message *m, const struct disk_op *op)
{
	for (size_t i = 0; i < op->nchanges; i++)
		m->active->rcpts[op->changes[i].slot.rcpt].is_dirty = false;
}

/* --- while recipients are still being tried ---------------------------------------------------------------------- */
static void
sent_logged(struct queue *q, struct message *m, struct log_op *op)
{
	(void)op; /* if it failed they are still unsaved, and the end of the round tries again */
	message_settle_soon(q, m);
}

static void
sent_saved(struct queue *q, struct message *m, struct disk_op *op)
{
	if (op->result == 0)
		changes_are_saved(m, op);
	message_settle_soon(q, m);
}

/* What was sent is made durable as it comes, so that a crash repeats little of a long list. */
static void
save_sent(struct queue *q, struct message *m)
{
	if (count_unsaved(m->active, true) == 0 || m->active->needs_rewrite)
		return;
	if (m->segment != NULL) {
		struct log_op *op = log_op_new(q, m, sent_logged);

		log_op_add_outcomes(op, true);
		log_op_start(op, true);
	} else {
		struct disk_op *op = disk_op_new(q, m, DISK_UPDATE, 0, sent_saved);

		disk_op_add_changes(op, true);
		disk_op_start(op);
	}
}

/* --- the end of a round -------------------------------------------------------------------------------------------- */
static int64_t
next_delay(const struct queue *q, const struct message *m)
{
	int64_t age = clock_mono_ms() - m->born_ms;

	/* as Postfix: the time between attempts doubles with the age, between two bounds */
	if (age < q->conf.min_backoff_ms)
		age = q->conf.min_backoff_ms;
	return age > q->conf.max_backoff_ms ? q->conf.max_backoff_ms : age;
}

static void
rest(struct queue *q, struct message *m)
{
	int64_t delay = m->active->delay_ms;

	message_unload(q, m);
	message_wait(q, m, delay);
}

static void
release_notices(struct queue *q, struct message *m)
{
	for (int i = 0; i < NOTICE_KINDS; i++) {
		struct message *notice = m->active->held[i];

		if (notice == NULL)
			continue;
		m->active->held[i] = NULL;
		notice->is_busy = false;
		queue_begin(q, notice);
	}
}

static void
finished(struct queue *q, struct message *m)
{
	report_removed(m);
	message_gone(q, m);
}

static void
journal_settled(struct queue *q, struct message *m, struct log_op *op)
{
	struct message *adopted[NOTICE_KINDS];

	if (op->entry.status != QMGR_OK) {
		settle_later(q, m, RETRY_MS);
		return;
	}
	adopt_notices(q, op, adopted);
	for (int i = 0; i < NOTICE_KINDS; i++)
		if (adopted[i] != NULL)
			queue_begin(q, adopted[i]);
	if (m->left == 0)
		finished(q, m);
	else
		message_settle_soon(q, m);
}

static void
moved(struct queue *q, struct message *m, struct log_op *op)
{
	if (op->entry.status != QMGR_OK) {
		settle_later(q, m, RETRY_MS);
		return;
	}
	message_leave_journal(q, m);
	if (!m->is_relocated) {
		rest(q, m);
		return;
	}
	m->is_relocated = false;
	message_settle_soon(q, m); /* the file does not know what came of the attempt */
}

static void
append_moved(struct queue *q, struct message *m)
{
	struct log_op *op = log_op_new(q, m, moved);

	log_op_add(op, RECORD_MOVED);
	log_op_start(op, true);
}

/* Without room for a file of its own it waits in its segment.  What it has in memory stays there: the
 * journal knows of final outcomes only. */
static void
stay_in_journal(struct queue *q, struct message *m)
{
	if (count_unsaved(m->active, false) > 0) {
		struct log_op *op = log_op_new(q, m, sent_logged);

		log_op_add_outcomes(op, false);
		log_op_start(op, true);
	}
	message_wait(q, m, m->active->delay_ms);
}

static void
file_written(struct queue *q, struct message *m, struct disk_op *op)
{
	if (op->result == 0) {
		changes_are_saved(m, op);
		m->is_written = true;
		append_moved(q, m);
		return;
	}
	log_error("%s: the message stays in the journal", op->err.text);
	stay_in_journal(q, m);
}

static void
settle_in_journal(struct queue *q, struct message *m)
{
	struct active *a = m->active;
	bool has_notice = false;

	for (int i = 0; i < NOTICE_KINDS; i++)
		has_notice = has_notice || a->notices[i] != NULL;
	if (m->is_written) {
		append_moved(q, m);
	} else if (m->left == 0 || has_notice) {
		struct log_op *op = log_op_new(q, m, journal_settled);

		log_op_add_outcomes(op, false);
		if (m->left == 0)
			log_op_add(op, RECORD_DONE);
		log_op_add_notices(op);
		log_op_start(op, !has_notice);
	} else {
		struct disk_op *op = disk_op_new(q, m, DISK_WRITE, a->delay_ms, file_written);

		disk_op_add_all(op);
		disk_op_start(op);
	}
}

static void want_saved(struct queue *q, struct message *m, struct disk_op *op);

/* The segment that says `finished` stays until the file has gone: a crash between both must not try it again. */
static void
remove_file(struct queue *q, struct message *m, struct journal_segment *finished_in, unsigned wants,
    void (*then)(struct queue *q, struct message *m, struct disk_op *op))
{
	struct disk_op *op = disk_op_new(q, m, DISK_REMOVE, 0, then);

	op->wants = wants;
	if (finished_in != NULL)
		journal_hold(finished_in);
	op->finished_in = finished_in;
	disk_op_start(op);
}

static void
file_removed(struct queue *q, struct message *m, struct disk_op *op)
{
	if (op->result < 0) {
		log_error("%s", op->err.text);
		settle_later(q, m, RETRY_MS);
		return;
	}
	release_notices(q, m);
	finished(q, m);
}

static void want_met(struct queue *q, struct message *m, unsigned wants, bool ok);

static void
file_finished(struct queue *q, struct message *m, struct log_op *op)
{
	if (op->entry.status == QMGR_TEMP && op->wants != 0) {
		want_met(q, m, op->wants, false);
	} else if (op->entry.status == QMGR_TEMP) {
		settle_later(q, m, RETRY_MS);
	} else {
		if (op->entry.status == QMGR_FULL)
			report_event(m->id, "no room in the journal: its end is not on record");
		remove_file(q, m, op->entry.status == QMGR_OK ? op->entry.segment : NULL, op->wants,
		    op->wants != 0 ? want_saved : file_removed);
	}
}

/* `finished` has no room of its own in the journal's reserve: without any it is left out, for the sake of the mail
 * that has. */
static void
log_finished(struct log_op *op)
{
	if (journal_admits(op->q->journal, journal_entry_bytes(&op->entry)) == QMGR_OK) {
		log_op_start(op, true);
		return;
	}
	op->entry.status = QMGR_FULL;
	file_finished(op->q, op->m, op);
	log_op_free(op);
}

/* The notices are durable, and in one group with them what they tell: a crash now carries it from the
 * journal into the file.  They are held until the file says it, too. */
static void
file_noticed(struct queue *q, struct message *m, struct log_op *op)
{
	struct message *adopted[NOTICE_KINDS];

	if (op->entry.status != QMGR_OK) {
		settle_later(q, m, RETRY_MS);
		return;
	}
	adopt_notices(q, op, adopted);
	for (int i = 0; i < NOTICE_KINDS; i++)
		if (adopted[i] != NULL) {
			adopted[i]->is_busy =
			    true; /* with m's file: neither a flush nor a deletion may touch it */
			m->active->held[i] = adopted[i];
		}
	if (m->left == 0) {
		remove_file(q, m, op->entry.segment, 0, file_removed);
		return;
	}
	for (size_t i = 0; i < op->nrcpts; i++)
		m->active->rcpts[op->rcpts[i]].is_dirty = true; /* the file is still to follow */
	message_settle_soon(q, m);
}

static void
file_updated(struct queue *q, struct message *m, struct disk_op *op)
{
	if (op->result < 0) {
		log_error("%s", op->err.text);
		settle_later(q, m, RETRY_MS);
		return;
	}
	changes_are_saved(m, op);
	m->active->needs_rewrite = false;
	release_notices(q, m);
	rest(q, m);
}

static void
settle_in_file(struct queue *q, struct message *m)
{
	struct active *a = m->active;
	bool has_notice = false;

	for (int i = 0; i < NOTICE_KINDS; i++)
		has_notice = has_notice || a->notices[i] != NULL;
	if (has_notice) {
		struct log_op *op = log_op_new(q, m, file_noticed);

		if (m->left == 0)
			log_op_add_end(op, RECORD_FINISHED);
		else
			log_op_add_outcomes(op, false);
		log_op_add_notices(op);
		log_op_start(op, false);
	} else if (m->left == 0) {
		struct log_op *op = log_op_new(q, m, file_finished);

		log_op_add_end(op, RECORD_FINISHED);
		log_finished(op);
	} else {
		struct disk_op *op = disk_op_new(
		    q, m, a->needs_rewrite ? DISK_REWRITE : DISK_UPDATE, a->delay_ms, file_updated);

		if (a->needs_rewrite)
			disk_op_add_all(op);
		else
			disk_op_add_changes(op, false);
		disk_op_start(op);
	}
}

/* Only after an attempt, so that neither a long stop nor a wrong clock at start returns mail untried. */
static void
expire(struct queue *q, struct message *m)
{
	struct active *a = m->active;
	int64_t lifetime = m->is_bounce || a->env.sender[0] == '\0' ? q->conf.bounce_lifetime_ms
								    : q->conf.lifetime_ms;
	bool any = false;

	if (!m->is_expired && clock_mono_ms() - m->born_ms < lifetime)
		return;
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		struct rcpt_state *r = &a->rcpts[i];

		if (r->status != RCPT_PENDING || r->phase != PHASE_ANSWERED)
			continue;
		r->status = RCPT_FAILED;
		r->is_dirty = any = true;
		m->left--;
	}
	if (any)
		report_expired(m);
}

/* Nobody is told of what became of that: it was told to the last one there is (RFC 5321 6.1). */
static bool
is_for_postmaster(const struct queue *q, const struct message *m)
{
	const char *sender = m->active->env.sender;

	return sender[0] != '\0' &&
	       (m->is_bounce || (q->conf.double_bounce != NULL &&
				    strcasecmp(sender, q->conf.double_bounce) == 0));
}

static bool
is_failed(const struct rcpt_state *r)
{
	return r->status == RCPT_FAILED && r->is_dirty;
}

/* Told once; but in the round in which one of both is told, the other still is. */
static bool
is_delayed(const struct rcpt_state *r)
{
	unsigned now = r->noticed & (1u << NOTICE_DELAY | 1u << NOTICE_DELAY_COPY);

	return r->status == RCPT_PENDING && r->phase == PHASE_ANSWERED &&
	       (!r->is_delay_told || now != 0);
}

/* A peer that does DSN was told of NOTIFY (RFC 3461 5.2.1); of any other the sender hears "relayed" (5.2.2). */
static bool
is_success_wanted(const struct queue *q, const struct rcpt_state *r, uint32_t notify)
{
	if ((notify & NOTIFY_SUCCESS) != 0)
		return !r->took_dsn;
	return q->conf.confirm_delay_cleared && r->is_delay_told &&
	       (notify == 0 || (notify & NOTIFY_DELAY) != 0);
}

bool
queue_wants_notice(
    const struct queue *q, const struct message *m, size_t rcpt, enum notice_kind kind)
{
	const struct active *a = m->active;
	const struct rcpt_state *r = &a->rcpts[rcpt];
	uint32_t notify = a->env.rcpts[rcpt].notify;
	bool has_sender = a->env.sender[0] != '\0'; /* RFC 5321 4.5.5: nobody else is told */

	if ((r->noticed >> kind & 1) != 0 || is_for_postmaster(q, m))
		return false;
	switch (kind) {
	case NOTICE_FAILURE:
		return has_sender && is_failed(r) &&
		       (notify == 0 || (notify & NOTIFY_FAILURE) != 0);
	case NOTICE_DELAY:
		return has_sender && is_delayed(r) && (notify == 0 || (notify & NOTIFY_DELAY) != 0);
	case NOTICE_SUCCESS:
		return has_sender && r->status == RCPT_SENT && r->is_dirty &&
		       is_success_wanted(q, r, notify);
	case NOTICE_FAILURE_COPY: /* whatever NOTIFY says, as Postfix does: it speaks for the sender */
		return is_failed(r) &&
		       (has_sender ? q->conf.has_bounce_copies : q->conf.has_double_bounces);
	case NOTICE_DELAY_COPY:
		return q->conf.has_delay_copies && is_delayed(r);
	case NOTICE_KINDS:
		break;
	}
	return false;
}

/* Asks for the next notice that is wanted; false: there is none. */
static bool
ask_for_notice(struct queue *q, struct message *m)
{
	bool is_late = q->conf.delay_warning_ms > 0 && !m->is_held &&
		       clock_mono_ms() - m->born_ms >= q->conf.delay_warning_ms;

	for (int kind = 0; kind < NOTICE_KINDS; kind++) {
		bool is_of_delay = kind == NOTICE_DELAY || kind == NOTICE_DELAY_COPY;

		if (m->active->notices[kind] != NULL || (is_of_delay && !is_late))
			continue;
		for (size_t i = 0; i < m->active->env.nrcpts; i++) {
			if (!queue_wants_notice(q, m, i, (enum notice_kind)kind))
				continue;
			m->is_busy = true;
			q->ops.notify(q->ops_arg, m, (enum notice_kind)kind);
			return true;
		}
	}
	return false;
}

void
queue_noticed(
    struct queue *q, struct message *m, enum notice_kind kind, struct fresh *f, bool retry)
{
	struct active *a = m->active;

	m->is_busy = false;
	if (f != NULL && queue_admit(q, f) != QMGR_OK) {
		queue_refuse(q, f);
		retry = true;
	} else {
		a->notices[kind] = f;
	}
	if (retry) {
		settle_later(q, m, RETRY_NOTICE_MS);
		return;
	}
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		if (!queue_wants_notice(q, m, i, kind))
			continue;
		a->rcpts[i].noticed |= 1u << kind;
		if (kind == NOTICE_DELAY || kind == NOTICE_DELAY_COPY)
			a->rcpts[i].is_delay_told = true;
	}
	message_settle_soon(q, m);
}

static void
log_discarded(const struct queue *q, const struct message *m)
{
	const struct active *a = m->active;
	bool is_last = is_for_postmaster(q, m);

	if (!is_last && (a->env.sender[0] != '\0' || q->conf.has_double_bounces))
		return;
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		if (!is_failed(&a->rcpts[i]))
			continue;
		report_event(m->id, is_last
					? "undeliverable postmaster notification discarded"
					: "undeliverable notification discarded: it has no sender");
		return;
	}
}

static void
round_over(struct queue *q, struct message *m)
{
	struct active *a = m->active;
	bool was_tried = false;

	for (size_t i = 0; i < a->env.nrcpts; i++)
		was_tried = was_tried || a->rcpts[i].phase == PHASE_ANSWERED;
	if (a->delay_ms ==
	    0) { /* once a round: outcomes that could not be written bring us here again */
		m->attempts += was_tried;
		a->delay_ms = was_tried || m->is_held ? next_delay(q, m) : 1;
		if (was_tried)
			m->is_from_past = false;
		expire(q, m);
		log_discarded(q, m);
	}
	if (ask_for_notice(q, m))
		return;
	if (m->segment != NULL)
		settle_in_journal(q, m);
	else
		settle_in_file(q, m);
}

/* --- out of the way of old segments ----------------------------------------------------------------------- */
static void
relocation_ended(struct queue *q, struct message *m)
{
	if (m->state == MESSAGE_WAITING && !m->is_held && m->due.at == 0)
		message_make_ready(q, m); /* it was taken from the ready ones */
	message_settle_soon(q, m);
}

static void
relocation_logged(struct queue *q, struct message *m, struct log_op *op)
{
	/* if `moved` could not be written, the end of the round tries again */
	if (op->entry.status == QMGR_OK) {
		message_leave_journal(q, m);
		m->is_relocated = false;
	}
	relocation_ended(q, m);
}

static void
relocation_written(struct queue *q, struct message *m, struct disk_op *op)
{
	struct log_op *next;

	if (op->result < 0) {
		log_warn("%s: the message stays in the journal", op->err.text);
		relocation_ended(q, m);
		return;
	}
	m->is_written = m->is_relocated = true;
	next = log_op_new(q, m, relocation_logged);
	log_op_add(next, RECORD_MOVED);
	log_op_start(next, true);
}

static void
disk_op_add_unfinished(struct disk_op *op)
{
	const struct message *m = op->m;

	op->changes = x_calloc(m->nrcpts, sizeof *op->changes);
	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!message_bit(m->finished, i))
			op->changes[op->nchanges++].slot.rcpt = i;
}

/* A message whose first attempt takes long - a slow server, a long queue for its destination - gets its file
 * before that has ended, so that it does not keep its segment and all younger ones. */
bool
message_relocate(struct queue *q, struct message *m)
{
	struct active *a = m->active;
	struct disk_op *op;

	if (m->is_busy || m->is_deleted || m->wants != 0 || m->left == 0 || m->is_written)
		return false;
	if (m->state != MESSAGE_READY && (m->state != MESSAGE_ACTIVE || a->open == 0))
		return false;
	if (m->state == MESSAGE_READY)
		message_unready(q, m);
	op = disk_op_new(q, m, DISK_WRITE, 0, relocation_written);
	if (a != NULL)
		disk_op_add_all(op);
	else
		disk_op_add_unfinished(op);
	disk_op_start(op);
	return true;
}

/* --- what admins want ------------------------------------------------------------------------------------------------ */
static void
want_met(struct queue *q, struct message *m, unsigned wants, bool ok)
{
	m->wants &= (uint8_t)~wants; /* others may have come meanwhile */
	if (!ok) {
		message_tell_waiters(m, false);
		message_settle_soon(q, m);
		return;
	}
	if ((wants & (WANT_EXPIRE | WANT_DELETE)) == WANT_EXPIRE)
		report_event(m->id, "expired");
	if (wants & WANT_DELETE) {
		m->is_deleted = true;
		report_removed(m);
	} else if (wants & WANT_HOLD) {
		report_event(m->id, "placed on hold");
	} else if (wants & (WANT_REQUEUE | WANT_RELEASE)) {
		report_event(m->id, wants & WANT_REQUEUE ? "requeued" : "released from hold");
	}
	if (m->wants == 0 || m->is_deleted)
		message_tell_waiters(m, true);
	if (m->state == MESSAGE_WAITING && !m->is_deleted) {
		/* held in the journal it is loaded once more, to be moved to a file of its own */
		if (!m->is_held)
			message_wait(q, m, 0);
		else if (m->segment != NULL)
			message_make_ready(q, m);
		else
			heap_remove(&q->due, &m->due);
	}
	message_settle_soon(q, m);
}

static void
want_logged(struct queue *q, struct message *m, struct log_op *op)
{
	want_met(q, m, op->wants, op->entry.status == QMGR_OK);
}

static void
want_saved(struct queue *q, struct message *m, struct disk_op *op)
{
	if (op->result < 0)
		log_error("%s", op->err.text);
	want_met(q, m, op->wants, op->result == 0);
}

/* Nobody has loaded it: what its file says of its recipients. */
static void
deleted_read(struct queue *q, struct message *m, struct disk_op *op)
{
	struct log_op *next;

	if (op->result < 0) {
		log_error("%s: its end is not on record", op->err.text);
		remove_file(q, m, NULL, op->wants, want_saved);
		return;
	}
	next = log_op_new(q, m, file_finished);
	next->wants = op->wants;
	outcomes_begin(&next->outcomes, (uint32_t)op->nchanges);
	for (size_t i = 0; i < op->nchanges; i++) {
		const struct deferred_slot *s = &op->changes[i].slot;
		struct outcome o = { .rcpt = s->rcpt,
			.status = s->status != RCPT_PENDING ? s->status : RCPT_DELETED,
			.is_relayed = s->is_relayed,
			.is_repeated = s->is_repeated };

		memcpy(o.dsn, s->dsn, sizeof o.dsn);
		put_outcome(next, &o);
	}
	log_op_end_outcomes(next, RECORD_FINISHED);
	log_finished(next);
}

static void
delete_file(struct queue *q, struct message *m)
{
	if (m->active == NULL) {
		struct disk_op *op = disk_op_new(q, m, DISK_READ, 0, deleted_read);

		op->wants = m->wants;
		disk_op_start(op);
	} else {
		struct log_op *op = log_op_new(q, m, file_finished);

		op->wants = m->wants;
		log_op_add_end(op, RECORD_FINISHED);
		log_finished(op);
	}
}

static void
meet_wants(struct queue *q, struct message *m)
{
	const unsigned moves = WANT_HOLD | WANT_RELEASE | WANT_REQUEUE;
	bool to_delete = (m->wants & WANT_DELETE) != 0;

	if (!to_delete && (m->wants & moves) != 0)
		m->is_held = (m->wants & WANT_HOLD) != 0;
	m->is_expired = m->is_expired || (m->wants & WANT_EXPIRE) != 0;
	if (m->active != NULL && (to_delete || m->is_held))
		q->ops.stop(q->ops_arg, m);
	if (m->segment != NULL) {
		struct log_op *op = log_op_new(q, m, want_logged);

		if (to_delete)
			log_op_add_end(op, RECORD_OUTCOME);
		if (to_delete || (m->wants & moves) != 0)
			log_op_add(op, to_delete    ? RECORD_DONE
				       : m->is_held ? RECORD_HOLD
						    : RECORD_RELEASE);
		if (!to_delete && (m->wants & WANT_EXPIRE) != 0)
			log_op_add(op, RECORD_EXPIRE);
		op->wants = m->wants;
		log_op_start(op, false);
	} else if (to_delete) {
		delete_file(q, m);
	} else {
		struct disk_op *op = disk_op_new(q, m, DISK_UPDATE, 0, want_saved);

		op->wants = m->wants;
		disk_op_start(op);
	}
}

void
message_settle(struct queue *q, struct message *m)
{
	struct active *a = m->active;

	if (m->is_busy || m->state == MESSAGE_READY || m->state == MESSAGE_LOADING)
		return;
	if (a != NULL && a->probe != NULL) {
		if (a->open == 0)
			q->ops.probed(q->ops_arg, m);
		return;
	}
	if (m->wants != 0 && !m->is_deleted && !m->is_written) {
		meet_wants(q, m);
		return;
	}
	if (m->is_deleted) {
		if (a != NULL && a->open > 0)
			return;
		if (a != NULL)
			release_notices(q, m);
		message_gone(q, m);
		return;
	}
	if (a == NULL || m->state != MESSAGE_ACTIVE)
		return;
	if (a->open > 0)
		save_sent(q, m);
	else
		round_over(q, m);
}
