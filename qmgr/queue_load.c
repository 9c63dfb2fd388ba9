/* Reading messages back: one when its turn comes, and all that there are at start. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/deferred.h"
#include "qmgr/queue_private.h"

#include <stdio.h>
#include <stdlib.h>

enum {
	ENVELOPE_ARENA = 256 << 20,
	SCAN_THREADS = 4,
	RETRY_LOAD_MS = 30000, /* out of descriptors or memory, a disk that does not answer */
};

void
active_init_rcpts(const struct message *m, struct active *a)
{
	a->rcpts = x_calloc(a->env.nrcpts, sizeof *a->rcpts);
	for (uint32_t i = 0; i < a->env.nrcpts; i++) {
		struct rcpt_state *r = &a->rcpts[i];

		r->slot = -1;
		r->status = message_bit(m->finished, i) ? RCPT_SENT : RCPT_PENDING;
		r->maybe_done = m->is_from_past;
	}
}

/* --- one message --------------------------------------------------------------------------------------- */
struct load_op {
	struct queue *q;
	struct message *m; /* busy until this is done */
	bool in_journal, wants_content, is_old;
	struct segment_header seg;
	struct active *active; /* out */
	struct deferred_summary summary;
	bool has_file;
	struct err err;
	int result;
};

static int
load_envelope(struct load_op *op, const struct message_bytes *bytes)
{
	struct active *a = op->active;

	op->has_file = bytes->head.has_file;
	if (envelope_decode(bytes->envelope, &a->arena, &a->env, &op->err) < 0)
		return -1;
	if (!op->wants_content)
		return 0;
	return content_make(op->q->root_fd, op->m->id, bytes, &a->content, &op->err);
}

static int
load_from_journal(struct load_op *op)
{
	struct message_bytes bytes;
	int r = message_bytes_from_journal(
	    op->q->root_fd, &op->seg, op->m->offset, op->m->id, &bytes, &op->err);

	if (r == 0)
		r = load_envelope(op, &bytes);
	message_bytes_clear(&bytes);
	if (r == 0)
		active_init_rcpts(op->m, op->active);
	return r;
}

static void
slot_to_rcpt(const struct deferred_slot *s, uint32_t index, struct rcpt_state *r)
{
	r->slot = (int)index;
	r->status = s->status;
	r->is_delay_told = s->is_delay_told;
	r->is_relayed = s->is_relayed;
	r->is_repeated = s->is_repeated;
	r->attempts = s->attempts;
	r->last_ms = s->last_ms;
	memcpy(r->dsn, s->dsn, sizeof r->dsn);
	r->reason = s->reason[0] == '\0' ? NULL : x_strdup(s->reason);
}

/* Recipients without a slot were finished before the file was made, unless slots are lost: then nobody
 * knows whose they were, and a second copy is better than none. */
static int
rcpts_from_slots(struct load_op *op, const struct deferred_file *f)
{
	struct active *a = op->active;

	for (uint32_t i = 0; i < a->env.nrcpts; i++)
		a->rcpts[i].status = f->lost_slots > 0 ? RCPT_PENDING : RCPT_SENT;
	for (uint32_t i = 0; i < f->head.nslots; i++) {
		if (f->slots[i].rcpt == UINT32_MAX)
			continue;
		if (f->slots[i].rcpt >= a->env.nrcpts)
			return err_set(&op->err, ERR_SYNTAX, "deferred file: slot of no recipient");
		slot_to_rcpt(&f->slots[i], i, &a->rcpts[f->slots[i].rcpt]);
	}
	/* final outcomes that stand in the journal beside a notice, and had not reached the file */
	for (uint32_t i = 0; i < a->env.nrcpts && i < op->m->nrcpts; i++) {
		if (a->rcpts[i].status != RCPT_PENDING || !message_bit(op->m->finished, i))
			continue;
		a->rcpts[i].status = RCPT_FAILED;
		a->rcpts[i].is_dirty = true;
		a->rcpts[i].noticed = ~0u;
	}
	a->nslots = f->head.nslots;
	a->was_deferred = f->summary.attempts > 0;
	a->needs_rewrite = f->lost_slots > 0;
	op->summary = f->summary;
	return 0;
}

static int
load_from_file(struct load_op *op)
{
	struct deferred_file f;
	int r = deferred_load(op->q->root_fd, op->m->id, &f, &op->err);

	if (r == 0)
		r = load_envelope(op, &f.bytes);
	if (r == 0) {
		struct message none = { .is_from_past = op->m->is_from_past };

		active_init_rcpts(&none, op->active);
		r = rcpts_from_slots(op, &f);
	}
	deferred_file_clear(&f);
	return r;
}

static void
load_run(void *arg)
{
	struct load_op *op = arg;

	op->result = op->in_journal ? load_from_journal(op) : load_from_file(op);
}

struct aside_op {
	struct queue *q;
	struct queue_id id;
	struct err err;
	int result;
};

static void
aside_run(void *arg)
{
	struct aside_op *op = arg;

	op->result = deferred_set_aside(op->q->root_fd, op->id, &op->err);
}

static void
aside_done(void *arg)
{
	struct aside_op *op = arg;

	if (op->result < 0)
		log_error("%s", op->err.text);
	op->q->operations--;
	free(op);
}

/* What is damaged is kept for the admin and must not stop the others. */
static void
quarantine(struct queue *q, struct message *m, const struct err *why)
{
	char text[QUEUE_ID_TEXT];

	queue_id_format(m->id, text);
	m->has_file = false; /* the body stays, too, until the next start */
	if (m->segment != NULL) {
		m->segment->is_corrupt = true;
		log_error("%s: %s: its journal segment is kept in corrupt/", text, why->text);
	} else {
		struct aside_op *op = x_calloc(1, sizeof *op);

		op->q = q;
		op->id = m->id;
		q->operations++;
		log_error("%s: %s: kept as corrupt/deferred-%s", text, why->text, text);
		work_submit(q->pool, aside_run, aside_done, op);
	}
	message_gone(q, m);
}

static void
load_adopt(struct message *m, struct load_op *op)
{
	struct active *a = op->active;

	m->active = a;
	message_set_tenant(op->q, m, tenant_key(&a->env));
	tenant_meet(m->tenant, &a->env);
	m->has_file = op->has_file;
	m->size = a->env.size;
	m->is_bounce = (a->env.flags & ENVELOPE_BOUNCE) != 0;
	m->nrcpts = (uint32_t)a->env.nrcpts;
	m->left = 0;
	for (uint32_t i = 0; i < m->nrcpts; i++)
		m->left += a->rcpts[i].status == RCPT_PENDING;
	if (m->segment == NULL && op->summary.attempts > m->attempts)
		m->attempts = op->summary.attempts;
}

static void
load_failed(struct queue *q, struct message *m, struct load_op *op)
{
	content_close(&op->active->content);
	arena_clear(&op->active->arena);
	free(op->active->rcpts);
	free(op->active);
	if (op->err.kind == ERR_TEMP) {
		char text[QUEUE_ID_TEXT];

		queue_id_format(m->id, text);
		log_error("%s: cannot be read now: %s", text, op->err.text);
		message_wait(q, m, RETRY_LOAD_MS);
	} else {
		quarantine(q, m, &op->err);
	}
}

static void
load_done(void *arg)
{
	struct load_op *op = arg;
	struct queue *q = op->q;
	struct message *m = op->m;

	q->operations--;
	q->loading -= op->is_old;
	m->is_busy = false;
	if (op->result < 0) {
		load_failed(q, m, op);
	} else {
		load_adopt(m, op);
		if (content_is_open(&m->active->content))
			q->contents++;
		message_start_round(q, m);
	}
	queue_pump_soon(q);
	free(op);
}

void
message_load_active(struct queue *q, struct message *m)
{
	struct load_op *op = x_calloc(1, sizeof *op);

	op->q = q;
	op->m = m;
	op->in_journal = m->segment != NULL;
	op->is_old = queue_pool_of(q, m) == q->pool;
	/* half of them is for new mail alone */
	op->wants_content = q->contents < q->conf.content_limit / (op->is_old ? 2 : 1);
	if (m->segment != NULL)
		op->seg = m->segment->header;
	op->active = active_new();
	arena_init(&op->active->arena, ENVELOPE_ARENA);
	m->is_busy = true;
	q->operations++;
	q->loading += op->is_old;
	work_submit(queue_pool_of(q, m), load_run, load_done, op);
}

/* --- all messages at start ------------------------------------------------------------------------------- */
/* Damaged deferred files whose messages the journal may still have. */
struct damaged {
	struct queue_id id;
	bool in_journal; /* a record that can be used was found */
};
struct recovery {
	struct queue *q;
	struct damaged *damaged; /* owned */
	size_t ndamaged;
	unsigned files, records;
};

static int64_t
born_ms(int64_t arrival_ms)
{
	int64_t age = clock_wall_ms() - arrival_ms;

	return clock_mono_ms() - (age > 0 ? age : 0);
}

static void
recover_file(struct recovery *rec, const struct deferred_found *f)
{
	struct queue *q = rec->q;
	const struct deferred_summary *s = &f->summary;
	int64_t delay = s->next_ms - clock_wall_ms();
	struct message *m;

	queue_id_seen(&q->ids, s->id.us);
	if (f->is_damaged) {
		rec->damaged = x_realloc(rec->damaged, rec->ndamaged + 1, sizeof *rec->damaged);
		rec->damaged[rec->ndamaged++] = (struct damaged){ .id = s->id };
		return;
	}
	m = message_new(q, s->id);
	message_set_tenant(q, m, s->tenant);
	m->is_from_past = true;
	m->arrival_ms = s->arrival_ms;
	m->born_ms = born_ms(s->arrival_ms);
	m->size = s->size;
	m->nrcpts = s->nrcpts;
	m->left = s->left;
	m->attempts = s->attempts;
	m->is_held = s->state == DEFERRED_HELD;
	m->is_expired = s->is_expired;
	/* a clock that was wrong when the time was written makes nobody wait for years */
	if (delay > q->conf.max_backoff_ms)
		delay = q->conf.max_backoff_ms;
	if (!m->is_held) /* as message_wait, but that nobody has to be woken yet */
		heap_insert(&q->due, &m->due, clock_mono_ms() + (delay > 0 ? delay : 0));
	rec->files++;
}

static struct damaged *
find_damaged(struct recovery *rec, struct queue_id id)
{
	for (size_t i = 0; i < rec->ndamaged; i++)
		if (queue_id_compare(rec->damaged[i].id, id) == 0)
			return &rec->damaged[i];
	return NULL;
}

static void
recover_message(struct recovery *rec, const struct record *r, struct journal_segment *seg)
{
	struct queue *q = rec->q;
	struct damaged *d = find_damaged(rec, r->id);
	struct message_head head;
	struct view envelope, headers, body;
	struct envelope env;
	struct arena arena;
	struct message *m;
	struct err err;

	if (queue_find(q, r->id) != NULL)
		return; /* the deferred file wins */
	arena_init(&arena, ENVELOPE_ARENA);
	if (message_record_decode(r->content, &head, &envelope, &headers, &body, &err) < 0 ||
	    envelope_decode(envelope, &arena, &env, &err) < 0) {
		log_error("journal: a message cannot be used: %s", err.text);
		seg->is_corrupt = true;
		arena_clear(&arena);
		return;
	}
	m = message_new(q, r->id);
	message_set_tenant(q, m, tenant_key(&env));
	tenant_meet(m->tenant, &env);
	journal_hold(seg);
	m->segment = seg;
	m->offset = r->offset;
	m->is_from_past = true;
	m->has_file = head.has_file;
	m->is_bounce = (env.flags & ENVELOPE_BOUNCE) != 0;
	m->is_held = (env.flags & ENVELOPE_HOLD) != 0; /* until a later record releases it */
	m->nrcpts = m->left = (uint32_t)env.nrcpts;
	m->size = env.size;
	m->arrival_ms = env.arrival_ms;
	m->born_ms = born_ms(env.arrival_ms);
	journal_reserve(q->journal, message_reserve_of(env.nrcpts));
	message_make_ready(q, m);
	arena_clear(&arena);
	if (d != NULL)
		d->in_journal = true;
}

static void
recover_outcomes(struct message *m, struct view content)
{
	struct outcome o;
	size_t at = 0;

	while (outcomes_next(content, &at, &o) > 0) {
		if (o.rcpt >= m->nrcpts || message_bit(m->finished, o.rcpt))
			continue;
		if (m->finished == NULL)
			m->finished = x_calloc(1, m->nrcpts / 8 + 1);
		m->finished[o.rcpt / 8] |= (uint8_t)(1u << (o.rcpt % 8));
	}
}

static void
recover_hold(struct queue *q, struct message *m, bool hold)
{
	if (m->segment == NULL)
		return; /* the deferred file wins */
	m->is_held = hold;
	if (hold && m->state == MESSAGE_READY)
		message_wait(q, m, 0);
	else if (!hold && m->state == MESSAGE_WAITING)
		message_make_ready(q, m);
}

static void
recover_record(void *arg, const struct record *r, struct journal_segment *seg)
{
	struct recovery *rec = arg;
	struct queue *q = rec->q;
	struct message *m = queue_find(q, r->id);
	struct err err;

	rec->records++;
	queue_id_seen(&q->ids, r->id.us);
	if (r->type == RECORD_MESSAGE)
		recover_message(rec, r, seg);
	if (m == NULL)
		return;
	switch (r->type) {
	case RECORD_OUTCOME:
		/* Final states only grow, so that of a deferred file is added to without harm. */
		recover_outcomes(m, r->content);
		break;
	case RECORD_HOLD:
	case RECORD_RELEASE:
		recover_hold(q, m, r->type == RECORD_HOLD);
		break;
	case RECORD_EXPIRE:
		m->is_expired = m->is_expired || m->segment != NULL;
		break;
	case RECORD_DONE:
	case RECORD_FINISHED:
		/* a file beside `done` was written, never became the truth, and would be one when `done` has gone;
		 * one beside `finished` was about to be removed */
		if (m->segment == NULL && deferred_remove(q->root_fd, m->id, &err) < 0)
			log_error("%s", err.text);
		else
			message_gone(q, m);
		break;
	case RECORD_MOVED:
		/* no such file: it was finished there; a damaged file is another matter */
		if (m->segment != NULL && find_damaged(rec, r->id) == NULL)
			message_gone(q, m);
		break;
	case RECORD_MESSAGE:
	case RECORD_VOID:
		break;
	}
}

/* The journal says `moved`, and the file is damaged: a good file is made of the journal's copy at once,
 * because at the next start `moved` without a file would mean that it was finished. */
static int
remake_file(struct queue *q, struct message *m, struct err *err)
{
	struct deferred_summary s = { .id = m->id,
		.state = m->is_held ? DEFERRED_HELD : DEFERRED_WAITING,
		.arrival_ms = m->arrival_ms,
		.size = m->size,
		.nrcpts = m->nrcpts,
		.left = m->left,
		.tenant = m->tenant->key,
		.is_expired = m->is_expired };
	struct deferred_slot *slots = x_calloc(m->nrcpts, sizeof *slots);
	struct message_bytes bytes;
	uint32_t n = 0;
	int r;

	for (uint32_t i = 0; i < m->nrcpts; i++)
		if (!message_bit(m->finished, i))
			slots[n++].rcpt = i;
	s.left = n;
	r = message_bytes_from_journal(
	    q->root_fd, &m->segment->header, m->offset, m->id, &bytes, err);
	if (r == 0) {
		r = deferred_write(q->root_fd, &s, slots, n, &bytes, err);
		message_bytes_clear(&bytes);
	}
	free(slots);
	return r;
}

static int
recover_damaged(struct recovery *rec, struct err *err)
{
	for (size_t i = 0; i < rec->ndamaged; i++) {
		const struct damaged *d = &rec->damaged[i];
		struct message *m = queue_find(rec->q, d->id);
		char text[QUEUE_ID_TEXT];

		queue_id_format(d->id, text);
		if (deferred_set_aside(rec->q->root_fd, d->id, err) < 0)
			return -1;
		log_error("%s: its deferred file is damaged and kept as corrupt/deferred-%s%s",
		    text, text, m != NULL ? "; the journal has the message" : "");
		if (m == NULL || !d->in_journal)
			continue;
		if (remake_file(rec->q, m, err) < 0)
			return -1;
		message_leave_journal(rec->q, m);
	}
	return 0;
}

static bool
body_is_wanted(void *arg, struct queue_id id)
{
	return queue_find(arg, id) != NULL;
}

int
queue_recover(struct queue *q, struct err *err)
{
	struct recovery rec = { .q = q };
	struct deferred_list list;
	unsigned orphans = 0;
	int r = deferred_scan(q->root_fd, SCAN_THREADS, &list, err);

	for (size_t i = 0; r == 0 && i < list.count; i++)
		recover_file(&rec, &list.found[i]);
	free(list.found);
	if (r == 0)
		r = journal_replay(q->journal, recover_record, &rec, err);
	if (r == 0)
		r = recover_damaged(&rec, err);
	if (r == 0)
		r = bodies_sweep(q->root_fd, body_is_wanted, q, &orphans, err);
	free(rec.damaged);
	if (r == 0)
		log_info(
		    "queue: %zu messages, %u of them deferred; %u journal records read, %u unused "
		    "bodies removed",
		    queue_count(q), rec.files, rec.records, orphans);
	return r;
}
