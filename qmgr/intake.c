#include "qmgr/intake.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/queue.h>

enum {
	BEGUN_MAX = 20000,    /* ids of one connection that are neither committed nor aborted */
	ADOPTED_MAX = 100000, /* ids of former lives taken over; each once */
	COMMITS_MAX = 1000,   /* under way; beyond it smtpd waits */
	HEADERS_MAX = 64 << 20,
	INLINE_AT_ONCE = 256 << 10, /* a larger memfd is looked at in a thread */
	SIZE_SLACK = 1 << 20,       /* what smtpd may add to a message of the largest size */
};

struct intake {
	struct queue *q;
	struct intake_conf conf;
	LIST_HEAD(, intake_conn) conns;
	size_t bodies, commits; /* of the begun ones those with a file; under way */
	struct map adopted;     /* keys of ids */
};

struct intake_conn {
	LIST_ENTRY(intake_conn) link;
	struct intake *in;
	struct ipc_conn *c;
	struct map begun; /* id's key -> struct begun */
	LIST_HEAD(, commit) commits;
};

/* An id that was given out. */
struct begun {
	struct queue_id id;
	bool has_file;
};

/* A COMMIT under way. */
struct commit {
	LIST_ENTRY(commit) link; /* while the connection lives */
	struct intake *in;
	struct intake_conn *conn; /* NULL: it has gone */
	uint32_t request;
	struct fresh *f; /* owned until it is handed to the journal */
	bool
	    has_leftover; /* bodies/ID, which smtpd had asked for and did not need: nobody else removes it */
	int envelope_fd; /* owned; -1: it came inline */
	uint64_t envelope_len;
	struct err err;
	int result;
};

static void
reply_us(struct ipc_conn *c, uint32_t request, enum qmgr_status status, const char *text)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_conn_reply(c, request, &o);
}

/* --- the last step: through the journal --------------------------------------------------------------------- */

/* A message whose recipients have several senders becomes a message for each of these, in one group of records: all of
 * them are in the queue, or none. */
_Static_assert((int)ENVELOPE_MAX_SENDERS <= (int)JOURNAL_RECORDS, "a message fits a group");

struct commit_op {
	struct journal_entry entry;
	struct queue *q;
	struct fresh *
	    parts[ENVELOPE_MAX_SENDERS]; /* owned; the first bears the id that the client is told */
	size_t nparts;
	struct err err;
	int result;
	void (*fn)(void *arg, enum qmgr_status status);
	void *arg;
};

static void
log_parts(const struct commit_op *op)
{
	char first[QUEUE_ID_TEXT], id[QUEUE_ID_TEXT];
	struct buf others;

	if (op->nparts == 1)
		return;
	buf_init(&others, ENVELOPE_MAX_SENDERS * (QUEUE_ID_TEXT + 2));
	queue_id_format(op->parts[0]->id, first);
	for (size_t i = 1; i < op->nparts; i++) {
		queue_id_format(op->parts[i]->id, id);
		buf_printf(&others, "%s%s", i > 1 ? ", " : "", id);
	}
	log_info(
	    "%s: also queued as %s, for recipients with other senders", first, buf_cstr(&others));
	buf_clear(&others);
}

static void
commit_refuse(struct commit_op *op, enum qmgr_status status)
{
	for (size_t i = 0; i < op->nparts; i++)
		queue_refuse(op->q, op->parts[i]);
	op->fn(op->arg, status);
	free(op);
}

static void
on_commit_logged(void *arg, struct journal_entry *e)
{
	struct message *made[ENVELOPE_MAX_SENDERS];
	struct commit_op *op = arg;
	struct queue *q = op->q;

	q->operations--;
	if (e->status != QMGR_OK) {
		commit_refuse(op, e->status);
		return;
	}
	counter_add(COUNTER_ACCEPTED, 1);
	counter_add(COUNTER_ACCEPTED_BYTES, op->parts[0]->env.size);
	log_parts(op);
	for (size_t i = 0; i < op->nparts; i++)
		made[i] = queue_adopt(q, op->parts[i], e->segment, e->records[i].offset);
	op->fn(op->arg, e->status); /* the answer first: the client is waiting */
	for (size_t i = 0; i < op->nparts; i++) {
		if (q->ops.accepted != NULL)
			q->ops.accepted(q->ops_arg, made[i]);
		queue_begin(q, made[i]);
	}
	free(op);
}

static void
commit_log(struct commit_op *op)
{
	op->entry.nrecords = (unsigned)op->nparts;
	op->entry.done = on_commit_logged;
	op->entry.arg = op;
	for (size_t i = 0; i < op->nparts; i++)
		fresh_record(op->parts[i], &op->entry.records[i]);
	if (op->nparts > 1 && journal_entry_bytes(&op->entry) > journal_max_entry(op->q->journal)) {
		commit_refuse(op, QMGR_FULL);
		return;
	}
	op->q->operations++;
	journal_append(op->q->journal, &op->entry, false);
}

/* The recipients of whole that have this sender, in to, which may be where they stand. */
static size_t
pick(const struct envelope *whole, const char *sender, struct recipient *to)
{
	size_t n = 0;

	for (size_t i = 0; i < whole->nrcpts; i++) {
		if (strcmp(envelope_sender_of(whole, &whole->rcpts[i]), sender) != 0)
			continue;
		to[n] = whole->rcpts[i];
		to[n++].sender = "";
	}
	return n;
}

static int
encode_part(struct fresh *f, const struct envelope *e, struct err *err)
{
	buf_reset(&f->encoded);
	return envelope_encode(e, &f->encoded) < 0
		   ? err_set(err, ERR_LIMIT, "the envelope is too large")
		   : 0;
}

static int
make_part(struct fresh *f, const struct envelope *whole, const char *sender, struct err *err)
{
	struct envelope e = *whole;
	int r;

	e.sender = sender;
	e.rcpts = x_calloc(whole->nrcpts, sizeof *e.rcpts);
	e.nrcpts = pick(whole, sender, e.rcpts);
	r = encode_part(f, &e, err);
	free(e.rcpts);
	return r < 0 ? -1 : envelope_decode(buf_view(&f->encoded), &f->arena, &f->env, err);
}

/* The same bytes under another id. */
static int
share_content(const struct queue *q, const struct fresh *from, struct fresh *to, struct err *err)
{
	to->content = from->content;
	to->content.headers_fd = fcntl(from->content.headers_fd, F_DUPFD_CLOEXEC, 0);
	to->content.body_fd = fcntl(from->content.body_fd, F_DUPFD_CLOEXEC, 0);
	if (to->content.headers_fd < 0 || to->content.body_fd < 0)
		return err_sys(err, ERR_TEMP, "dup");
	if (from->has_file && body_link(q->root_fd, from->id, to->id, err) < 0)
		return -1;
	to->has_file = from->has_file;
	return 0;
}

/* The first recipient of each sender that is no part's yet, in their order; NULL: that was the last. */
static const char *
next_sender(const struct envelope *whole, const char *const *senders, size_t n)
{
	for (size_t i = 0; i < whole->nrcpts; i++) {
		const char *sender = envelope_sender_of(whole, &whole->rcpts[i]);
		size_t at = 0;

		while (at < n && strcmp(senders[at], sender) != 0)
			at++;
		if (at == n)
			return sender;
	}
	return NULL;
}

static int
split(struct commit_op *op, struct err *err)
{
	const char *senders[ENVELOPE_MAX_SENDERS];
	struct fresh *first = op->parts[0];
	struct envelope *whole = &first->env;

	if (fresh_fit(op->q, first, op->nparts, err) < 0)
		return -1;
	for (size_t i = 0; i < op->nparts; i++)
		senders[i] = next_sender(whole, senders, i);
	for (size_t i = 1; i < op->nparts; i++)
		if (make_part(op->parts[i], whole, senders[i], err) < 0 ||
		    share_content(op->q, first, op->parts[i], err) < 0)
			return -1;
	whole->nrcpts = pick(whole, senders[0], whole->rcpts);
	whole->sender = senders[0];
	if (encode_part(first, whole, err) < 0)
		return -1;
	return op->nparts > 1 && first->has_file ? bodies_flush(op->q->root_fd, err) : 0;
}

static void
split_run(void *arg)
{
	struct commit_op *op = arg;

	op->result = split(op, &op->err);
}

static void
split_ready(void *arg)
{
	struct commit_op *op = arg;
	struct queue *q = op->q;
	enum qmgr_status status = op->result < 0 ? QMGR_TEMP : QMGR_OK;
	char id[QUEUE_ID_TEXT];

	q->operations--;
	if (op->result < 0) {
		queue_id_format(op->parts[0]->id, id);
		log_error("%s: commit refused: %s", id, op->err.text);
	}
	/* what was reserved was for all of the recipients */
	journal_reserve(q->journal, -op->parts[0]->reserved);
	op->parts[0]->reserved = 0;
	for (size_t i = 0; i < op->nparts && status == QMGR_OK; i++)
		status = queue_admit(q, op->parts[i]);
	if (status == QMGR_OK)
		commit_log(op);
	else
		commit_refuse(op, status);
}

static bool
has_senders(const struct envelope *e)
{
	for (size_t i = 0; i < e->nrcpts; i++)
		if (envelope_sender_of(e, &e->rcpts[i]) != e->sender)
			return true;
	return false;
}

void
intake_commit(
    struct queue *q, struct fresh *f, void (*fn)(void *arg, enum qmgr_status status), void *arg)
{
	struct commit_op *op = x_calloc(1, sizeof *op);

	op->q = q;
	op->fn = fn;
	op->arg = arg;
	op->parts[op->nparts++] = f;
	if (!has_senders(&f->env)) {
		commit_log(op);
		return;
	}
	for (size_t n = envelope_count_senders(&f->env); op->nparts < n;)
		op->parts[op->nparts++] = fresh_new(queue_new_id(q));
	q->operations++;
	work_submit(q->pool, split_run, split_ready, op);
}

/* --- COMMIT --------------------------------------------------------------------------------------------------- */
static const char *
status_text(
    const struct queue *q, enum qmgr_status status, uint64_t size, char out[QUEUE_FULL_TEXT])
{
	switch (status) {
	case QMGR_OK:
		return "queued";
	case QMGR_FULL:
		return queue_full_text(q, size, out);
	case QMGR_TEMP:
		return "queue file write error";
	case QMGR_LOCKED:
		return "the login is on hold";
	case QMGR_BAD:
	case QMGR_DENIED:
		break;
	}
	return "malformed message";
}

static void
update_pause(struct intake *in)
{
	struct intake_conn *ic;

	LIST_FOREACH (ic, &in->conns, link)
		ipc_conn_pause(ic->c, in->commits >= COMMITS_MAX);
}

static void
commit_end(struct commit *x, enum qmgr_status status, const char *text)
{
	struct intake *in = x->in;

	if (x->conn != NULL) {
		LIST_REMOVE(x, link);
		reply_us(x->conn->c, x->request, status, text);
	}
	if (x->has_leftover)
		queue_forget_body(in->q, x->f->id);
	queue_refuse(in->q, x->f);
	fd_close(&x->envelope_fd);
	if (in->commits-- >= COMMITS_MAX)
		update_pause(in);
	free(x);
}

static void
on_committed(void *arg, enum qmgr_status status)
{
	struct commit *x = arg;
	char text[QUEUE_FULL_TEXT];

	commit_end(x, status, status_text(x->in->q, status, 0, text));
}

static void
commit_bad(struct commit *x, const struct err *err)
{
	char id[QUEUE_ID_TEXT];

	queue_id_format(x->f->id, id);
	log_error("%s: commit refused: %s", id, err->text);
	commit_end(x, err->kind == ERR_TEMP ? QMGR_TEMP : QMGR_BAD, err->text);
}

static bool
is_locked(const struct intake *in, const char *login)
{
	return in->conf.contain != NULL && contain_is_locked(in->conf.contain, login);
}

/* Everything is checked and at hand. */
static void
commit_append(struct commit *x)
{
	struct fresh *f = x->f;
	uint64_t size = f->content.headers_len + f->content.body_len - f->content.body_off;
	char text[QUEUE_FULL_TEXT];
	struct err err;

	if (f->env.size != size || (f->env.flags & ENVELOPE_BOUNCE) != 0) {
		err_set(&err, ERR_PERM, "the envelope does not belong to this content");
		commit_bad(x, &err);
		return;
	}
	if (is_locked(x->in, f->env.sasl_username)) {
		commit_end(x, QMGR_LOCKED, status_text(x->in->q, QMGR_LOCKED, 0, text));
		return;
	}
	if (queue_admit(x->in->q, f) != QMGR_OK) {
		commit_end(x, QMGR_FULL, queue_full_text(x->in->q, 0, text));
		return;
	}
	x->f = NULL;
	intake_commit(x->in->q, f, on_committed, x);
}

/* In a thread: what would block the loop. */
static int
read_envelope(struct commit *x)
{
	struct fresh *f = x->f;
	char *p = buf_reserve(&f->encoded, x->envelope_len);

	if (p == NULL)
		return err_set(&x->err, ERR_LIMIT, "the envelope is too large");
	if (fd_pread_all(x->envelope_fd, p, x->envelope_len, 0, &x->err) < 0)
		return -1;
	f->encoded.len = x->envelope_len;
	return envelope_decode(buf_view(&f->encoded), &f->arena, &f->env, &x->err);
}

static void
commit_run(void *arg)
{
	struct commit *x = arg;
	struct fresh *f = x->f;

	x->result = x->envelope_fd >= 0 ? read_envelope(x) : 0;
	/* before another file of this name is made */
	if (x->result == 0 && x->has_leftover) {
		x->result = body_remove(x->in->q->root_fd, f->id, &x->err);
		x->has_leftover = x->result < 0;
	}
	if (x->result == 0 && f->has_file)
		x->result = body_settle(
		    x->in->q->root_fd, f->id, f->content.body_len, &f->content.body_fd, &x->err);
	else if (x->result == 0)
		x->result = fresh_fit(x->in->q, f, 1, &x->err);
}

static void
commit_ready(void *arg)
{
	struct commit *x = arg;

	x->in->q->operations--;
	if (x->result < 0)
		commit_bad(x, &x->err);
	else
		commit_append(x);
}

/* Checks what can be checked without blocking.  -1: *err. */
static int
commit_check(
    struct commit *x, uint64_t headers_len, uint64_t body_len, uint64_t body_off, struct err *err)
{
	const struct intake *in = x->in;
	struct content *c = &x->f->content;
	uint64_t size, limit = in->conf.message_size_limit;

	c->headers_len = headers_len;
	c->body_len = body_len;
	c->body_off = body_off;
	if (body_off > body_len)
		return err_set(err, ERR_PERM, "body offset beyond its end");
	if (limit != 0 && (body_len > limit + SIZE_SLACK || headers_len > limit + SIZE_SLACK))
		return err_set(err, ERR_PERM, "message larger than the limit");
	if (memfd_check(c->headers_fd, HEADERS_MAX, &size, err) < 0 || size != headers_len)
		return err_set(err, ERR_PERM, "headers: no sealed memfd of this size");
	if (!x->f->has_file &&
	    (memfd_check(c->body_fd, INT64_MAX, &size, err) < 0 || size != body_len))
		return err_set(err, ERR_PERM, "body: no sealed memfd of this size");
	if (x->envelope_fd >= 0 &&
	    memfd_check(x->envelope_fd, ENVELOPE_MAX_BYTES, &x->envelope_len, err) < 0)
		return err_set(err, ERR_PERM, "envelope: no sealed memfd");
	return 0;
}

static struct begun *
begun_add(struct intake_conn *ic, struct queue_id id)
{
	struct begun *b = x_calloc(1, sizeof *b);
	char key[QUEUE_ID_KEY];

	b->id = id;
	queue_id_key(id, key);
	map_put(&ic->begun, view_make(key, sizeof key), b);
	return b;
}

/* An id that a former life of ours gave to an smtpd that has outlived it: a reload, or our death, in the middle of a message
 * is nothing that its client should notice.  Each is taken once, so that none is in the queue twice, whoever asks. */
static struct begun *
begun_adopt(struct intake_conn *ic, struct queue_id id, struct view key)
{
	struct intake *in = ic->in;

	if (id.life >= in->q->ids.life || ic->begun.count >= BEGUN_MAX ||
	    in->adopted.count >= ADOPTED_MAX || map_get(&in->adopted, key) != NULL ||
	    queue_find(in->q, id) != NULL)
		return NULL;
	map_put(&in->adopted, key, in);
	return begun_add(ic, id);
}

static struct begun *
begun_find(struct intake_conn *ic, const char *text)
{
	char key[QUEUE_ID_KEY];
	struct queue_id id;
	struct begun *b;

	if (!queue_id_parse(view_of(text), &id))
		return NULL;
	queue_id_key(id, key);
	b = map_get(&ic->begun, view_make(key, sizeof key));
	return b != NULL ? b : begun_adopt(ic, id, view_make(key, sizeof key));
}

/* The caller's to free. */
static struct begun *
begun_take(struct intake_conn *ic, const char *text)
{
	struct begun *b = begun_find(ic, text);
	char key[QUEUE_ID_KEY];

	if (b == NULL)
		return NULL;
	queue_id_key(b->id, key);
	map_remove(&ic->begun, view_make(key, sizeof key));
	ic->in->bodies -= b->has_file;
	return b;
}

static struct commit *
commit_new(struct intake_conn *ic, uint32_t request, const struct begun *b, bool has_file)
{
	struct commit *x = x_calloc(1, sizeof *x);

	x->in = ic->in;
	x->conn = ic;
	x->request = request;
	x->envelope_fd = -1;
	x->f = fresh_new(b->id);
	x->f->has_file = has_file;
	LIST_INSERT_HEAD(&ic->commits, x, link);
	if (++ic->in->commits == COMMITS_MAX)
		update_pause(ic->in);
	return x;
}

static void
commit_go(struct commit *x)
{
	struct queue *q = x->in->q;
	bool blocks = x->envelope_fd >= 0 || x->has_leftover || x->f->has_file ||
		      x->f->content.body_len > INLINE_AT_ONCE;

	if (blocks) {
		q->operations++;
		work_submit(q->pool, commit_run, commit_ready, x);
	} else {
		commit_append(x);
	}
}

static void
on_commit(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct intake_conn *ic = arg;
	const char *id = ipc_get_str(in);
	bool envelope_is_fd = ipc_get_u32(in) != 0;
	struct view envelope = ipc_get_bytes(in);
	uint64_t headers_len = ipc_get_u64(in), body_len = ipc_get_u64(in),
		 body_off = ipc_get_u64(in);
	bool has_file = ipc_get_u32(in) != 0;
	unsigned want_fds = 1u + envelope_is_fd + !has_file;
	struct begun *b = begun_take(ic, id);
	struct commit *x;
	struct err err;

	if (b == NULL || in->nfds != want_fds || (has_file && !b->has_file)) {
		log_error("%s: commit refused: %s", lqs(id),
		    b == NULL ? "unknown id" : "wrong descriptors");
		reply_us(c, in->id, QMGR_BAD, "malformed commit");
		if (b != NULL && b->has_file)
			queue_forget_body(ic->in->q, b->id);
		free(b);
		return;
	}
	x = commit_new(ic, in->id, b, has_file);
	x->has_leftover = b->has_file && !has_file;
	free(b);
	if (envelope_is_fd)
		x->envelope_fd = ipc_get_fd(in);
	x->f->content.headers_fd = ipc_get_fd(in);
	if (!has_file)
		x->f->content.body_fd = ipc_get_fd(in);
	if (commit_check(x, headers_len, body_len, body_off, &err) < 0) {
		commit_bad(x, &err);
		return;
	}
	if (!envelope_is_fd &&
	    (buf_append_view(&x->f->encoded, envelope) < 0 ||
		envelope_decode(buf_view(&x->f->encoded), &x->f->arena, &x->f->env, &err) < 0)) {
		commit_bad(x, &err);
		return;
	}
	commit_go(x);
}

/* --- BEGIN, BODY, ABORT ------------------------------------------------------------------------------------------ */
static void
on_begin(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct intake_conn *ic = arg;
	struct intake *t = ic->in;
	uint64_t announced = ipc_get_u64(in);
	const char *login = ipc_get_str(in);
	char text[QUEUE_ID_TEXT] = "", why[QUEUE_FULL_TEXT];
	enum qmgr_status status = QMGR_OK;
	struct ipc_out o;

	if (ic->begun.count >= BEGUN_MAX)
		status = QMGR_BAD;
	else if (is_locked(t, login))
		status = QMGR_LOCKED;
	else
		status = queue_has_room(t->q, announced);
	if (status == QMGR_OK)
		queue_id_format(begun_add(ic, queue_new_id(t->q))->id, text);
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_put_str(&o, status == QMGR_OK ? "" : status_text(t->q, status, announced, why));
	ipc_conn_reply(c, in->id, &o);
}

static void
on_body(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct intake_conn *ic = arg;
	struct begun *b = begun_find(ic, ipc_get_str(in));
	uint64_t limit = ipc_get_u64(in);
	char id[QUEUE_ID_TEXT], why[QUEUE_FULL_TEXT];
	enum qmgr_status status = QMGR_BAD;
	struct ipc_out o;
	struct err err;
	int fd = -1;

	if (limit == INT64_MAX)
		limit = 0; /* messages have no limit: nobody knows how much room this one needs */
	if (b != NULL && !b->has_file && queue_has_room(ic->in->q, limit) != QMGR_OK) {
		status = QMGR_FULL;
		queue_id_format(b->id, id);
		log_warn("%s: %s", id, queue_full_text(ic->in->q, limit, why));
	} else if (b != NULL && !b->has_file) {
		fd = body_create(ic->in->q->root_fd, b->id, &err);
		status = fd >= 0                                  ? QMGR_OK
			 : err.sys == ENOSPC || err.sys == EDQUOT ? QMGR_FULL
								  : QMGR_TEMP;
		if (fd < 0)
			log_error("%s", err.text);
		b->has_file = fd >= 0;
		ic->in->bodies += b->has_file;
	}
	if (fd < 0)
		fd = memfd_sealed(
		    "nothing", "", 0, NULL); /* the answer has a descriptor in any case */
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_fd(&o, fd);
	ipc_conn_reply(c, in->id, &o);
	fd_close(&fd);
}

static void
on_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct intake_conn *ic = arg;
	struct begun *b = begun_take(ic, ipc_get_str(in));

	(void)c;
	if (b != NULL && b->has_file)
		queue_forget_body(ic->in->q, b->id);
	free(b);
}

static void
on_refused(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const struct intake *t = ((struct intake_conn *)arg)->in;
	const char *login = ipc_get_str(in);

	(void)c;
	if (t->conf.contain != NULL)
		contain_refused(t->conf.contain, login, ipc_get_u32(in));
}

static void
on_verify(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct intake_conn *ic = arg;

	verify_ask(ic->in->conf.verify, c, in);
}

/* --- connections ---------------------------------------------------------------------------------------------------- */
static void
conn_end(struct intake_conn *ic)
{
	struct map_walk w = { 0 };
	struct map_entry *e;
	struct commit *x;

	while ((x = LIST_FIRST(&ic->commits)) != NULL) {
		LIST_REMOVE(x, link);
		x->conn = NULL;
	}
	while ((e = map_next(&ic->begun, &w)) != NULL) {
		struct begun *b = e->value;

		if (b->has_file)
			queue_forget_body(ic->in->q, b->id);
		ic->in->bodies -= b->has_file;
		free(b);
	}
	map_clear(&ic->begun);
	LIST_REMOVE(ic, link);
	free(ic);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct intake_conn *ic = arg;

	if (why->kind != ERR_GONE)
		log_warn("connection of smtpd ended: %s", why->text);
	verify_leave(ic->in->conf.verify, c);
	conn_end(ic);
}

/* clang-format off */
static const struct ipc_handler rows[] = {
	{ QMGR_BEGIN,  "qs",            IPC_STATE_ANY, on_begin },
	{ QMGR_REFUSED, "su",           IPC_STATE_ANY, on_refused },
	{ QMGR_BODY,   "sq",            IPC_STATE_ANY, on_body },
	{ QMGR_COMMIT, QMGR_COMMIT_SIG, IPC_STATE_ANY, on_commit },
	{ QMGR_ABORT,  "s",             IPC_STATE_ANY, on_abort },
	{ QMGR_VERIFY, QMGR_VERIFY_SIG, IPC_STATE_ANY, on_verify },
	{ 0, NULL, 0, NULL },
};
/* clang-format on */
const struct ipc_conn_ops intake_ops = { rows, on_close };

void
intake_open(struct intake *in, struct ipc_conn *c)
{
	struct intake_conn *ic = x_calloc(1, sizeof *ic);

	ic->in = in;
	ic->c = c;
	map_init(&ic->begun);
	LIST_INIT(&ic->commits);
	LIST_INSERT_HEAD(&in->conns, ic, link);
	ipc_conn_set_arg(c, ic);
	ipc_conn_pause(c, in->commits >= COMMITS_MAX);
}

struct intake *
intake_new(struct queue *q, const struct intake_conf *conf)
{
	struct intake *in = x_calloc(1, sizeof *in);

	in->q = q;
	in->conf = *conf;
	LIST_INIT(&in->conns);
	map_init(&in->adopted);
	return in;
}

void
intake_free(struct intake *in)
{
	struct intake_conn *ic;

	if (in == NULL)
		return;
	while ((ic = LIST_FIRST(&in->conns)) != NULL) {
		ipc_conn_close(ic->c);
		conn_end(ic);
	}
	map_clear(&in->adopted);
	free(in);
}

size_t
intake_pending(const struct intake *in)
{
	return in->bodies + in->commits;
}
