#include "qmgr/control.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/deferred.h"
#include "qmgr/listing.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/queue.h>

enum {
	PAGE_ENTRIES = 64,         /* read at a time */
	PAGE_BYTES = 60 * 1024,    /* of one LIST answer */
	BULK_AT_ONCE = 256,        /* messages of one ALL request under way */
	SHOW_ENVELOPE = 48 * 1024, /* a longer envelope is shown with fewer recipients */
	LISTING_MS = 600000,       /* between two pages: somebody reads them */
	FLUSH_PAUSE_MS = 10000,    /* between two of users who are not root */
	WARN_PAUSE_MS = 60000,
};

TAILQ_HEAD(ctl_conns, ctl_conn);
struct control {
	struct ctl_conns conns; /* as they came */
	unsigned others;        /* of them, not root's */
	int64_t flushed_ms, warned_ms;
	const struct control_conf *conf;
	struct queue *q;
	struct schedule *s;
	struct submit *submit;
};

/* One tool.  It has at most one request under way: a request while another is answered ends it. */
struct ctl_conn {
	TAILQ_ENTRY(ctl_conn) link;
	struct control *ctl;
	struct ipc_conn *c; /* NULL: it has gone, and this goes when its request has ended */
	uid_t uid;
	bool is_waiting; /* nothing is read from it before others of this user have gone */
	bool is_busy, is_listing;
	struct loop_timer idle;
	uint32_t request;
	struct queue_id *ids; /* owned: all messages, as they were when LIST began */
	size_t nids;
	struct submission *submission;
};

static void
start_idle(struct ctl_conn *cc)
{
	loop_timer_start(&cc->idle, cc->is_listing ? LISTING_MS : cc->ctl->conf->idle_ms);
}

static void
serve_next(struct control *ctl, uid_t uid)
{
	struct ctl_conn *cc;

	TAILQ_FOREACH (cc, &ctl->conns, link) {
		if (cc->uid != uid || !cc->is_waiting)
			continue;
		cc->is_waiting = false;
		ipc_conn_pause(cc->c, false);
		start_idle(cc);
		return;
	}
}

static void
conn_unref(struct ctl_conn *cc)
{
	struct control *ctl = cc->ctl;
	bool was_served = !cc->is_waiting;
	uid_t uid = cc->uid;

	cc->is_busy = false;
	if (cc->c != NULL) {
		start_idle(cc);
		return;
	}
	loop_timer_stop(&cc->idle);
	TAILQ_REMOVE(&ctl->conns, cc, link);
	ctl->others -= uid != 0;
	free(cc->ids);
	free(cc);
	if (was_served)
		serve_next(ctl, uid);
}

/* Its connection has ended; a request under way keeps the struct, but for a submission, which needs none. */
static void
conn_end(struct ctl_conn *cc)
{
	bool is_free = !cc->is_busy || cc->submission != NULL;

	cc->c = NULL;
	if (cc->submission != NULL)
		submit_forget(cc->submission);
	if (is_free)
		conn_unref(cc);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)c;
	(void)why;
	conn_end(arg);
}

static void
on_idle(void *arg)
{
	struct ctl_conn *cc = arg;

	ipc_conn_close(cc->c);
	conn_end(cc);
}

/* false: it was told off. */
static bool
begin(struct ctl_conn *cc, const struct ipc_in *in)
{
	if (cc->is_busy) {
		ipc_conn_close(cc->c);
		conn_end(cc);
		return false;
	}
	loop_timer_stop(&cc->idle);
	cc->is_listing = false;
	cc->is_busy = true;
	cc->request = in->id;
	return true;
}

static void
reply_uus(struct ctl_conn *cc, enum qmgr_status status, size_t count, const char *text)
{
	struct ipc_out o;

	if (cc->c != NULL) {
		ipc_reply_init(&o);
		ipc_put_u32(&o, status);
		ipc_put_u32(&o, (uint32_t)count);
		ipc_put_str(&o, text);
		ipc_conn_reply(cc->c, cc->request, &o);
	}
	conn_unref(cc);
}

static bool
is_allowed(struct ctl_conn *cc)
{
	if (cc->uid == 0)
		return true;
	log_warn("queue request by uid %u refused", (unsigned)cc->uid);
	return false;
}

static int
compare_ids(const void *a, const void *b)
{
	return queue_id_compare(*(const struct queue_id *)a, *(const struct queue_id *)b);
}

static struct queue_id *
all_ids(struct queue *q, size_t *count)
{
	struct queue_id *ids = x_calloc(queue_count(q) + 1, sizeof *ids);
	struct map_walk w = { 0 };
	struct map_entry *e;

	*count = 0;
	while ((e = map_next(&q->messages, &w)) != NULL)
		ids[(*count)++] = ((const struct message *)e->value)->id;
	qsort(ids, *count, sizeof *ids, compare_ids);
	return ids;
}

/* --- LIST --------------------------------------------------------------------------------------------------- */
struct page {
	struct ctl_conn *cc;
	struct listing_source sources[PAGE_ENTRIES];
	char *entries[PAGE_ENTRIES]; /* owned; NULL: to be read */
	size_t count;
	bool has_more;
};

static void
page_run(void *arg)
{
	struct page *p = arg;

	for (size_t i = 0; i < p->count; i++)
		if (p->entries[i] == NULL)
			p->entries[i] = listing_of_source(p->cc->ctl->q->root_fd, &p->sources[i]);
}

static void
page_done(void *arg)
{
	struct page *p = arg;
	struct ctl_conn *cc = p->cc;
	struct ipc_out o;
	size_t bytes = 0, i;

	cc->ctl->q->operations--;
	for (i = 0; i < p->count; i++) {
		bytes += p->entries[i] != NULL ? strlen(p->entries[i]) + 16 : 0;
		if (bytes > PAGE_BYTES && i > 0)
			break;
	}
	cc->is_listing = p->has_more || i < p->count;
	ipc_reply_init(&o);
	ipc_put_u32(&o, cc->is_listing ? QMGR_LIST_MORE : QMGR_LIST_END);
	for (size_t k = 0; k < i; k++)
		if (p->entries[k] != NULL)
			ipc_put_bytes(&o, p->entries[k], strlen(p->entries[k]));
	if (cc->c != NULL)
		ipc_conn_reply(cc->c, cc->request, &o);
	else
		ipc_out_clear(&o);
	for (i = 0; i < p->count; i++)
		free(p->entries[i]);
	free(p);
	conn_unref(cc);
}

/* First of the sorted ids behind this one. */
static size_t
find_after(const struct ctl_conn *cc, struct queue_id id)
{
	size_t low = 0, high = cc->nids;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (queue_id_compare(cc->ids[mid], id) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void
refuse_list(struct ctl_conn *cc)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, QMGR_LIST_DENIED);
	ipc_conn_reply(cc->c, cc->request, &o);
	conn_unref(cc);
}

static void
on_list(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	struct queue *q = cc->ctl->q;
	struct view after = view_of(ipc_get_str(in));
	struct queue_id id = { 0 };
	struct page *p;
	size_t at;

	(void)c;
	if (!begin(cc, in))
		return;
	if (!user_acl_allows(&cc->ctl->conf->mailq_users, cc->uid)) {
		refuse_list(cc);
		return;
	}
	/* a snapshot: whatever comes and goes meanwhile, a message is listed once */
	if (cc->ids == NULL || !queue_id_parse(after, &id)) {
		free(cc->ids);
		cc->ids = all_ids(q, &cc->nids);
	}
	p = x_calloc(1, sizeof *p);
	p->cc = cc;
	for (at = find_after(cc, id); at < cc->nids && p->count < PAGE_ENTRIES; at++) {
		struct message *m = queue_find(q, cc->ids[at]);

		if (m == NULL || m->is_deleted)
			continue;
		listing_source_of(m, &p->sources[p->count]);
		if (m->active != NULL)
			p->entries[p->count] = listing_of_active(m);
		p->count++;
	}
	p->has_more = at < cc->nids;
	q->operations++;
	work_submit(q->pool, page_run, page_done, p);
}

/* --- SHOW ----------------------------------------------------------------------------------------------------- */
struct show {
	struct ctl_conn *cc;
	struct listing_source source;
	struct buf envelope;
	int fd; /* the content; -1: not made */
	struct err err;
};

static int
show_envelope(struct show *x, struct view encoded)
{
	struct arena arena;
	struct envelope e;
	int r;

	arena_init(&arena, 256 << 20);
	r = envelope_decode(encoded, &arena, &e, &x->err);
	while (r == 0) {
		buf_reset(&x->envelope);
		if (envelope_encode(&e, &x->envelope) == 0 || e.nrcpts <= 1)
			break;
		e.nrcpts = e.nrcpts / 2;
	}
	arena_clear(&arena);
	return r;
}

static int
copy_piece(int from, uint64_t off, uint64_t end, int to, struct err *err)
{
	enum { CHUNK = 256 * 1024 };
	char *chunk = x_malloc(CHUNK);
	int r = 0;

	for (; r == 0 && off < end; off += CHUNK) {
		size_t n = end - off < CHUNK ? (size_t)(end - off) : CHUNK;

		r = fd_pread_all(from, chunk, n, (off_t)off, err);
		if (r == 0)
			r = fd_write_all(to, chunk, n, err);
	}
	free(chunk);
	return r;
}

static int
show_content(struct show *x, const struct message_bytes *m)
{
	struct content c;
	int r;

	if (content_make(x->cc->ctl->q->root_fd, x->source.id, m, &c, &x->err) < 0)
		return -1;
	x->fd = memfd_create("message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r = x->fd < 0 ? err_sys(&x->err, ERR_TEMP, "memfd_create") : 0;
	if (r == 0)
		r = copy_piece(c.headers_fd, 0, c.headers_len, x->fd, &x->err);
	if (r == 0)
		r = copy_piece(c.body_fd, c.body_off, c.body_len, x->fd, &x->err);
	if (r == 0)
		r = memfd_seal(x->fd, &x->err);
	if (r < 0)
		fd_close(&x->fd);
	content_close(&c);
	return r;
}

static void
show_run(void *arg)
{
	struct show *x = arg;
	struct message_bytes bytes = { 0 };
	struct deferred_file file = { 0 };
	int root = x->cc->ctl->q->root_fd, r;

	if (x->source.in_journal)
		r = message_bytes_from_journal(
		    root, &x->source.seg, x->source.offset, x->source.id, &bytes, &x->err);
	else
		r = deferred_load(root, x->source.id, &file, &x->err);
	if (r == 0) {
		const struct message_bytes *m = x->source.in_journal ? &bytes : &file.bytes;

		if (show_envelope(x, m->envelope) == 0)
			show_content(x, m);
	}
	message_bytes_clear(&bytes);
	deferred_file_clear(&file);
}

static void
show_reply(
    struct ctl_conn *cc, enum qmgr_status status, const char *text, struct view envelope, int fd)
{
	struct ipc_out o;

	if (fd < 0)
		fd = memfd_sealed(
		    "nothing", "", 0, NULL); /* the answer has a descriptor in any case */
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, text);
	ipc_put_bytes(&o, envelope.p, envelope.len);
	ipc_put_fd(&o, fd);
	if (cc->c != NULL)
		ipc_conn_reply(cc->c, cc->request, &o);
	else
		ipc_out_clear(&o);
	fd_close(&fd);
	conn_unref(cc);
}

static void
show_done(void *arg)
{
	struct show *x = arg;
	bool ok = x->fd >= 0;

	x->cc->ctl->q->operations--;
	show_reply(x->cc, ok ? QMGR_OK : QMGR_TEMP, ok ? x->source.queue_name : x->err.text,
	    ok ? buf_view(&x->envelope) : view_of(""), x->fd);
	buf_clear(&x->envelope);
	free(x);
}

static struct message *
find(struct ctl_conn *cc, const char *text)
{
	struct queue_id id;
	struct message *m = NULL;

	if (queue_id_parse(view_of(text), &id))
		m = queue_find(cc->ctl->q, id);
	return m != NULL && !m->is_deleted ? m : NULL;
}

static void
on_show(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	struct message *m = find(cc, ipc_get_str(in));
	struct show *x;

	(void)c;
	if (!begin(cc, in))
		return;
	if (!is_allowed(cc) || m == NULL) {
		show_reply(cc, QMGR_BAD, m == NULL ? "no such message" : "only root may do this",
		    view_of(""), -1);
		return;
	}
	x = x_calloc(1, sizeof *x);
	x->cc = cc;
	x->fd = -1;
	buf_init(&x->envelope, SHOW_ENVELOPE);
	listing_source_of(m, &x->source);
	cc->ctl->q->operations++;
	work_submit(cc->ctl->q->pool, show_run, show_done, x);
}

/* --- DELETE, HOLD, RELEASE, REQUEUE --------------------------------------------------------------------------- */
struct bulk {
	struct ctl_conn *cc;
	unsigned wants;
	struct queue_id *ids; /* owned */
	size_t count, next, under_way, met, failed;
};

static void bulk_go(struct bulk *b);

static void
on_met(void *arg, bool ok)
{
	struct bulk *b = arg;

	b->under_way--;
	if (ok)
		b->met++;
	else
		b->failed++;
	bulk_go(b);
}

static const char *
bulk_text(const struct bulk *b)
{
	switch (b->wants) {
	case WANT_DELETE:
		return "Deleted";
	case WANT_HOLD:
		return "Placed on hold";
	case WANT_RELEASE:
		return "Released from hold";
	default:
		return "Requeued";
	}
}

/* Of messages that are held, hold makes no sense, and so on: they are passed over, as postsuper does. */
static bool
is_meant(const struct message *m, unsigned wants)
{
	if (m == NULL || m->is_deleted)
		return false;
	return wants == WANT_HOLD ? !m->is_held : wants == WANT_RELEASE ? m->is_held : true;
}

static void
bulk_go(struct bulk *b)
{
	char text[80];

	while (b->under_way < BULK_AT_ONCE && b->next < b->count) {
		struct message *m = queue_find(b->cc->ctl->q, b->ids[b->next++]);

		if (!is_meant(m, b->wants))
			continue;
		b->under_way++;
		queue_want(b->cc->ctl->q, m, b->wants, on_met, b);
	}
	if (b->under_way > 0 || b->next < b->count)
		return;
	snprintf(
	    text, sizeof text, "%s: %zu message%s", bulk_text(b), b->met, b->met == 1 ? "" : "s");
	if (b->met > 0)
		log_as("postsuper", LOG_LEVEL_INFO, "%s", text);
	reply_uus(b->cc, b->failed > 0 ? QMGR_TEMP : QMGR_OK, b->met,
	    b->failed > 0 ? "some could not be written to disk" : text);
	free(b->ids);
	free(b);
}

static void
bulk_start(struct ctl_conn *cc, struct ipc_in *in, unsigned wants)
{
	const char *which = ipc_get_str(in);
	struct message *m = find(cc, which);
	struct bulk *b;

	if (!begin(cc, in))
		return;
	if (!is_allowed(cc)) {
		reply_uus(cc, QMGR_BAD, 0, "only root may do this");
		return;
	}
	if (m == NULL && strcmp(which, "ALL") != 0) {
		reply_uus(cc, QMGR_BAD, 0, "no such message");
		return;
	}
	b = x_calloc(1, sizeof *b);
	b->cc = cc;
	b->wants = wants;
	if (m != NULL) {
		b->ids = x_calloc(1, sizeof *b->ids);
		b->ids[0] = m->id;
		b->count = 1;
	} else {
		b->ids = all_ids(cc->ctl->q, &b->count);
	}
	bulk_go(b);
}

static void
on_delete(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, WANT_DELETE);
}

static void
on_hold(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, WANT_HOLD);
}

static void
on_release(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, WANT_RELEASE);
}

static void
on_requeue(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, WANT_REQUEUE);
}

/* --- FLUSH -------------------------------------------------------------------------------------------------------- */
struct flush {
	struct ctl_conn *cc;
	char *domain;         /* owned */
	struct queue_id *ids; /* owned */
	size_t count, next, flushed;
	struct listing_source sources[PAGE_ENTRIES];
	bool matches[PAGE_ENTRIES];
	size_t npage;
};

static void
flush_run(void *arg)
{
	struct flush *f = arg;

	for (size_t i = 0; i < f->npage; i++)
		f->matches[i] =
		    listing_has_domain(f->cc->ctl->q->root_fd, &f->sources[i], f->domain);
}

static void flush_page(struct flush *f);

static void
flush_done(void *arg)
{
	struct flush *f = arg;
	struct queue *q = f->cc->ctl->q;

	q->operations--;
	for (size_t i = 0; i < f->npage; i++) {
		struct message *m = queue_find(q, f->sources[i].id);

		if (!f->matches[i] || m == NULL)
			continue;
		queue_flush(q, m);
		f->flushed++;
	}
	flush_page(f);
}

static void
flush_page(struct flush *f)
{
	struct queue *q = f->cc->ctl->q;

	for (f->npage = 0; f->next < f->count && f->npage < PAGE_ENTRIES; f->next++) {
		struct message *m = queue_find(q, f->ids[f->next]);

		if (m != NULL && m->state == MESSAGE_WAITING && !m->is_held)
			listing_source_of(m, &f->sources[f->npage++]);
	}
	if (f->npage > 0) {
		q->operations++;
		work_submit(q->pool, flush_run, flush_done, f);
		return;
	}
	reply_uus(f->cc, QMGR_OK, f->flushed, "");
	free(f->ids);
	free(f->domain);
	free(f);
}

static size_t
flush_all(struct queue *q)
{
	size_t count, flushed = 0;
	struct queue_id *ids = all_ids(q, &count);

	for (size_t i = 0; i < count; i++) {
		struct message *m = queue_find(q, ids[i]);

		if (m == NULL || m->state != MESSAGE_WAITING || m->is_held)
			continue;
		queue_flush(q, m);
		flushed++;
	}
	free(ids);
	return flushed;
}

/* Each flush looks at every message and forgives every dead destination. */
static bool
may_flush_again(struct control *ctl)
{
	int64_t now = clock_mono_ms();

	if (ctl->flushed_ms != 0 && now - ctl->flushed_ms < FLUSH_PAUSE_MS)
		return false;
	ctl->flushed_ms = now;
	return true;
}

static void
on_flush(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	const char *domain = ipc_get_str(in);
	struct flush *f;

	(void)c;
	if (!begin(cc, in))
		return;
	if (!user_acl_allows(&cc->ctl->conf->flush_users, cc->uid)) {
		reply_uus(cc, QMGR_DENIED, 0, "not allowed to flush the mail queue");
		return;
	}
	if (cc->uid != 0 && !may_flush_again(cc->ctl)) {
		reply_uus(cc, QMGR_TEMP, 0, "the queue was flushed a moment ago");
		return;
	}
	schedule_forgive(cc->ctl->s);
	if (domain[0] == '\0') {
		reply_uus(cc, QMGR_OK, flush_all(cc->ctl->q), "");
		return;
	}
	f = x_calloc(1, sizeof *f);
	f->cc = cc;
	f->domain = x_strdup(domain);
	f->ids = all_ids(cc->ctl->q, &f->count);
	flush_page(f);
}

/* --- SUBMIT ----------------------------------------------------------------------------------------------------------- */
static void
on_submitted(void *arg, enum qmgr_status status, const char *id, const char *text)
{
	struct ctl_conn *cc = arg;
	struct ipc_out o;

	cc->submission = NULL;
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, id);
	ipc_put_str(&o, text);
	ipc_conn_reply(cc->c, cc->request, &o);
	conn_unref(cc);
}

static void
on_submit(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	const char *sender = ipc_get_str(in), *full_name;
	uint32_t flags = ipc_get_u32(in);
	int content_fd, rcpts_fd;

	(void)c;
	if (!begin(cc, in))
		return;
	full_name = ipc_get_str(in);
	content_fd = ipc_get_fd(in);
	rcpts_fd = ipc_get_fd(in);
	if (!user_acl_allows(&cc->ctl->conf->submit_users, cc->uid)) {
		fd_close(&content_fd);
		fd_close(&rcpts_fd);
		on_submitted(cc, QMGR_DENIED, "", "not allowed to submit mail");
		return;
	}
	cc->submission = submit_start(cc->ctl->submit, cc->uid, sender, flags, full_name,
	    content_fd, rcpts_fd, on_submitted, cc);
}

/* --- connections -------------------------------------------------------------------------------------------------------- */
/* clang-format off */
static const struct ipc_handler rows[] = {
	{ QMGR_CTL_LIST,    "s",             IPC_STATE_ANY, on_list },
	{ QMGR_CTL_SHOW,    "s",             IPC_STATE_ANY, on_show },
	{ QMGR_CTL_DELETE,  "s",             IPC_STATE_ANY, on_delete },
	{ QMGR_CTL_HOLD,    "s",             IPC_STATE_ANY, on_hold },
	{ QMGR_CTL_RELEASE, "s",             IPC_STATE_ANY, on_release },
	{ QMGR_CTL_REQUEUE, "s",             IPC_STATE_ANY, on_requeue },
	{ QMGR_CTL_FLUSH,   "s",             IPC_STATE_ANY, on_flush },
	{ QMGR_CTL_SUBMIT,  QMGR_SUBMIT_SIG, IPC_STATE_ANY, on_submit },
	{ 0, NULL, 0, NULL },
};
/* clang-format on */
const struct ipc_conn_ops control_ops = { rows, on_close };

static void
warn_of(struct control *ctl, uid_t uid)
{
	int64_t now = clock_mono_ms();

	if (ctl->warned_ms != 0 && now - ctl->warned_ms < WARN_PAUSE_MS)
		return;
	ctl->warned_ms = now;
	log_warn("too many connections of tools: one by uid %u refused", (unsigned)uid);
}

void
control_open(struct control *ctl, struct ipc_conn *c)
{
	unsigned served = 0, same = 0;
	struct ctl_conn *cc;
	uid_t uid;

	ipc_conn_peer(c, NULL, &uid, NULL);
	TAILQ_FOREACH (cc, &ctl->conns, link) {
		same += cc->uid == uid;
		served += cc->uid == uid && !cc->is_waiting;
	}
	if (uid != 0 && (ctl->others >= CONTROL_CONNS - CONTROL_ROOT || same >= CONTROL_USER)) {
		warn_of(ctl, uid);
		ipc_conn_close(c);
		return;
	}
	cc = x_calloc(1, sizeof *cc);
	cc->ctl = ctl;
	cc->c = c;
	cc->uid = uid;
	cc->is_waiting = uid != 0 && served >= CONTROL_SERVED;
	ctl->others += uid != 0;
	ipc_conn_set_arg(c, cc);
	loop_timer_init(&cc->idle, ctl->q->loop, on_idle, cc);
	TAILQ_INSERT_TAIL(&ctl->conns, cc, link);
	if (cc->is_waiting)
		ipc_conn_pause(c, true);
	else
		start_idle(cc);
}

struct control *
control_new(
    struct queue *q, struct schedule *s, struct submit *submit, const struct control_conf *conf)
{
	struct control *ctl = x_calloc(1, sizeof *ctl);

	ctl->conf = conf;
	ctl->q = q;
	ctl->s = s;
	ctl->submit = submit;
	TAILQ_INIT(&ctl->conns);
	return ctl;
}

void
control_free(struct control *ctl)
{
	struct ctl_conn *cc;

	if (ctl == NULL)
		return;
	while ((cc = TAILQ_FIRST(&ctl->conns)) != NULL) {
		if (cc->is_busy)
			bug("control: freed while a request is under way");
		ipc_conn_close(cc->c);
		conn_end(cc);
	}
	free(ctl);
}
