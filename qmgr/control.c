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
	PAGE_LOOK = 256,           /* messages looked at without a pause */
	PAGE_ENTRIES = 64,         /* read at a time */
	PAGE_BYTES = 60 * 1024,    /* of one LIST answer */
	BULK_AT_ONCE = 256,        /* messages of one ALL request under way */
	SHOW_ENVELOPE = 48 * 1024, /* a longer envelope is shown with fewer recipients */
	LISTING_MS = 600000,       /* between two pages: somebody reads them */
	FLUSH_PAUSE_MS = 10000,    /* between two of users who are not root */
	WARN_PAUSE_MS = 60000,
	LOCKS_BYTES = 1 << 20,
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
	struct contain *contain;
	struct explainer *explainer;
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
	struct queue_id list_end; /* what comes after LIST began is not listed: it has an end */
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

static struct message *
find(struct ctl_conn *cc, const char *text)
{
	struct queue_id id;
	struct message *m = NULL;

	if (queue_id_parse(view_of(text), &id))
		m = queue_find(cc->ctl->q, id);
	return m != NULL && !m->is_deleted ? m : NULL;
}

/* --- requests about many messages ---------------------------------------------------------------------------- */
static bool
is_there(const struct message *m)
{
	return !m->is_deleted;
}

static bool
is_on_hold(const struct message *m)
{
	return !m->is_deleted && m->is_held;
}

static bool
is_not_on_hold(const struct message *m)
{
	return !m->is_deleted && !m->is_held;
}

static bool
is_not_expired(const struct message *m)
{
	return !m->is_deleted && !m->is_expired;
}

static bool
is_flushable(const struct message *m)
{
	return !m->is_deleted && !m->is_held && m->state == MESSAGE_WAITING;
}

/* Of messages that are held, hold makes no sense, and so on: they are passed over, as postsuper does. */
static const struct verb {
	unsigned wants;
	bool (*is_meant)(const struct message *m);
	const char *total; /* postsuper's word */
} verb_list = { 0, is_there, NULL }, verb_flush = { 0, is_flushable, NULL },
  verb_delete = { WANT_DELETE, is_there, "Deleted" },
  verb_hold = { WANT_HOLD, is_not_on_hold, "Placed on hold" },
  verb_release = { WANT_RELEASE, is_on_hold, "Released from hold" },
  verb_requeue = { WANT_REQUEUE, is_there, "Requeued" },
  verb_expire = { WANT_EXPIRE, is_not_expired, "Force-expired" };

/* Messages are looked at page by page in the order of their ids: what a walk has to remember of a million of
 * them is how far it has come. */
struct walk {
	struct ctl_conn *cc;
	const struct verb *verb;
	struct filter filter;
	struct queue_id next, last; /* to be looked at */
	bool is_over, is_cut_short, is_reading;
	size_t under_way, met, failed;
	/* the page */
	struct listing_source sources[PAGE_ENTRIES];
	bool is_known[PAGE_ENTRIES], is_meant[PAGE_ENTRIES];
	char *entries[PAGE_ENTRIES]; /* owned; LIST; NULL: not meant */
	size_t count;
};

static struct walk *
walk_new(struct ctl_conn *cc, const struct verb *verb)
{
	struct walk *w = x_calloc(1, sizeof *w);

	w->cc = cc;
	w->verb = verb;
	w->last = (struct queue_id){ cc->ctl->q->ids.last_us, UINT32_MAX };
	return w;
}

static void
walk_free(struct walk *w)
{
	for (size_t i = 0; i < w->count; i++)
		free(w->entries[i]);
	filter_clear(&w->filter);
	free(w);
}

/* What can be said without reading a file. */
static void
page_add(struct walk *w, const struct message *m)
{
	size_t i = w->count;
	struct listing_source *s = &w->sources[i];
	struct filter_facts facts;

	listing_source_of(m, s);
	facts = (struct filter_facts){ s->queue_name, clock_wall_ms() - s->arrival_ms, s->size };
	if (!filter_takes_facts(&w->filter, &facts))
		return;
	w->entries[i] = NULL;
	w->is_known[i] = w->is_meant[i] = false;
	if (w->verb == &verb_list && m->active != NULL) {
		w->entries[i] = listing_of_active(m, &w->filter);
		w->is_known[i] = true;
	} else if (w->verb != &verb_list && !filter_needs_envelope(&w->filter)) {
		w->is_known[i] = w->is_meant[i] = true;
	} else if (w->verb != &verb_list && m->active != NULL) {
		w->is_meant[i] = listing_active_is_meant(m, &w->filter);
		w->is_known[i] = true;
	}
	w->count++;
}

static void
page_fill(struct walk *w)
{
	const struct queue *q = w->cc->ctl->q;
	struct message *m = queue_from(q, w->next);
	unsigned looked = 0;

	w->count = 0;
	for (; m != NULL && queue_id_compare(m->id, w->last) <= 0; m = queue_next(q, m)) {
		if (w->count == PAGE_ENTRIES || looked++ == PAGE_LOOK)
			return;
		if (w->verb->is_meant(m))
			page_add(w, m);
		w->next = queue_id_after(m->id);
	}
	w->is_over = true;
}

static void
page_run(void *arg)
{
	struct walk *w = arg;
	int root = w->cc->ctl->q->root_fd;

	for (size_t i = 0; i < w->count; i++) {
		if (w->is_known[i])
			continue;
		if (w->verb == &verb_list)
			w->entries[i] = listing_of_source(root, &w->sources[i], &w->filter);
		else
			w->is_meant[i] = listing_source_is_meant(root, &w->sources[i], &w->filter);
	}
}

/* Through the threads even if nothing is to be read, so that others have their turn in between. */
static void
page_start(struct walk *w, void (*done)(void *arg))
{
	page_fill(w);
	w->is_reading = true;
	w->cc->ctl->q->operations++;
	work_submit(w->cc->ctl->q->tool_pool, page_run, done, w);
}

/* --- LIST --------------------------------------------------------------------------------------------------- */
static void
list_reply(struct ctl_conn *cc, enum qmgr_list what, struct queue_id at, const struct walk *w,
    size_t count)
{
	char id[QUEUE_ID_TEXT] = "";
	struct ipc_out o;

	if (at.us != 0)
		queue_id_format(at, id);
	ipc_reply_init(&o);
	ipc_put_u32(&o, what);
	ipc_put_str(&o, id);
	for (size_t i = 0; i < count; i++)
		if (w->entries[i] != NULL)
			ipc_put_bytes(&o, w->entries[i], strlen(w->entries[i]));
	if (cc->c != NULL)
		ipc_conn_reply(cc->c, cc->request, &o);
	else
		ipc_out_clear(&o);
	conn_unref(cc);
}

static void
list_done(void *arg)
{
	struct walk *w = arg;
	struct ctl_conn *cc = w->cc;
	struct queue_id next = w->next;
	size_t bytes = 0, i;

	cc->ctl->q->operations--;
	for (i = 0; i < w->count; i++) {
		bytes += w->entries[i] != NULL ? strlen(w->entries[i]) + 16 : 0;
		if (bytes > PAGE_BYTES && i > 0) {
			next = w->sources[i].id; /* does not fit any more */
			break;
		}
	}
	cc->is_listing = !w->is_over || i < w->count;
	list_reply(cc, cc->is_listing ? QMGR_LIST_MORE : QMGR_LIST_END, next, w, i);
	walk_free(w);
}

static void
on_list(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	struct view from = view_of(ipc_get_str(in));
	struct walk *w;
	struct err err;

	(void)c;
	if (!begin(cc, in))
		return;
	w = walk_new(cc, &verb_list);
	if (!user_acl_allows(&cc->ctl->conf->mailq_users, cc->uid) ||
	    filter_read(&w->filter, in, &err) < 0) {
		list_reply(cc, QMGR_LIST_DENIED, (struct queue_id){ 0 }, w, 0);
		walk_free(w);
		return;
	}
	if (queue_id_parse(from, &w->next))
		w->last = cc->list_end;
	else
		cc->list_end = w->last;
	page_start(w, list_done);
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
	work_submit(cc->ctl->q->tool_pool, show_run, show_done, x);
}

/* --- DELETE, HOLD, RELEASE, REQUEUE, EXPIRE, FLUSH ---------------------------------------------------------------- */
static void bulk_go(struct walk *w);

static void
on_met(void *arg, bool ok)
{
	struct walk *w = arg;

	w->under_way--;
	if (ok)
		w->met++;
	else
		w->failed++;
	bulk_go(w);
}

static void
bulk_page_done(void *arg)
{
	struct walk *w = arg;
	struct queue *q = w->cc->ctl->q;

	q->operations--;
	w->is_reading = false;
	for (size_t i = 0; i < w->count; i++) {
		struct message *m = w->is_meant[i] ? queue_find(q, w->sources[i].id) : NULL;

		if (m == NULL || !w->verb->is_meant(m))
			continue;
		if (w->verb == &verb_flush) {
			queue_flush(q, m);
			w->met++;
		} else {
			w->under_way++;
			queue_want(q, m, w->verb->wants, on_met, w);
		}
	}
	bulk_go(w);
}

static void
bulk_end(struct walk *w)
{
	bool ok = w->failed == 0 && !w->is_cut_short;
	char text[80] = "";

	if (w->verb->total != NULL)
		snprintf(text, sizeof text, "%s: %zu message%s", w->verb->total, w->met,
		    w->met == 1 ? "" : "s");
	if (w->verb->total != NULL && w->met > 0)
		log_as("postsuper", LOG_LEVEL_INFO, "%s", text);
	reply_uus(w->cc, ok ? QMGR_OK : QMGR_TEMP, w->met,
	    ok                ? text
	    : w->is_cut_short ? "the queue manager ends: not all of the queue was looked at"
			      : "some could not be written to disk");
	walk_free(w);
}

static void
bulk_go(struct walk *w)
{
	/* who asked has gone, or we are about to */
	w->is_cut_short =
	    w->is_cut_short || (!w->is_over && (w->cc->c == NULL || w->cc->ctl->q->is_draining));
	w->is_over = w->is_over || w->is_cut_short;
	if (w->is_reading || w->under_way > BULK_AT_ONCE)
		return;
	if (!w->is_over)
		page_start(w, bulk_page_done);
	else if (w->under_way == 0)
		bulk_end(w);
}

static void
bulk_start(struct ctl_conn *cc, struct ipc_in *in, const struct verb *verb)
{
	const char *which = ipc_get_str(in), *wrong = NULL;
	struct message *m = find(cc, which);
	struct walk *w;
	struct err err;

	if (!begin(cc, in))
		return;
	w = walk_new(cc, verb);
	if (!is_allowed(cc))
		wrong = "only root may do this";
	else if (m == NULL && strcmp(which, "ALL") != 0)
		wrong = "no such message";
	else if (filter_read(&w->filter, in, &err) < 0)
		wrong = err.text;
	if (wrong != NULL) {
		reply_uus(cc, QMGR_BAD, 0, wrong);
		walk_free(w);
		return;
	}
	if (m != NULL)
		w->next = w->last = m->id;
	bulk_go(w);
}

static void
on_delete(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, &verb_delete);
}

static void
on_hold(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, &verb_hold);
}

static void
on_release(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, &verb_release);
}

static void
on_requeue(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, &verb_requeue);
}

static void
on_expire(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	bulk_start(arg, in, &verb_expire);
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
	struct walk *w;

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
	w = walk_new(cc, &verb_flush);
	if (domain[0] != '\0')
		w->filter.texts[QMGR_FILTER_DOMAIN] = x_strdup(domain);
	bulk_go(w);
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

/* --- EXPLAIN -------------------------------------------------------------------------------------------------------- */
static void
on_explained(void *arg, struct ipc_out *answer)
{
	struct ctl_conn *cc = arg;

	cc->ctl->q->operations--;
	if (cc->c != NULL)
		ipc_conn_reply(cc->c, cc->request, answer);
	else
		ipc_out_clear(answer);
	conn_unref(cc);
}

static void
on_explain(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	struct ipc_out o;

	(void)c;
	if (!begin(cc, in))
		return;
	cc->ctl->q->operations++;
	if (is_allowed(cc) && cc->ctl->explainer != NULL) {
		explain_start(cc->ctl->explainer, in, on_explained, cc);
		return;
	}
	ipc_reply_init(&o);
	ipc_put_u32(&o, QMGR_DENIED);
	ipc_put_str(&o, "only root may do this");
	on_explained(cc, &o);
}

void
control_set_explainer(struct control *ctl, struct explainer *e)
{
	ctl->explainer = e;
}

/* --- logins on hold --------------------------------------------------------------------------------------------------- */
static void
on_contain_list(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	bool is_root = cc->uid == 0;
	struct ipc_out o;
	struct buf text;
	int fd;

	if (!begin(cc, in))
		return;
	buf_init(&text, LOCKS_BYTES);
	if (is_root)
		contain_list(cc->ctl->contain, &text);
	fd = memfd_sealed("list", text.p, text.len, NULL);
	buf_clear(&text);
	ipc_reply_init(&o);
	ipc_put_u32(&o, is_root ? QMGR_OK : QMGR_DENIED);
	ipc_put_fd(&o, fd);
	ipc_conn_reply(c, cc->request, &o);
	fd_close(&fd);
	conn_unref(cc);
}

static void
on_contained(void *arg, bool ok)
{
	reply_uus(arg, ok ? QMGR_OK : QMGR_TEMP, ok, ok ? "" : "it could not be written to disk");
}

static void
on_contain_hold(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	const char *login = ipc_get_str(in), *reason = ipc_get_str(in);
	struct err err;

	(void)c;
	if (!begin(cc, in))
		return;
	if (!is_allowed(cc))
		reply_uus(cc, QMGR_DENIED, 0, "only root may do this");
	else if (contain_hold(cc->ctl->contain, login, reason, on_contained, cc, &err) < 0)
		reply_uus(cc, QMGR_BAD, 0, err.text);
}

static void
on_contain_release(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ctl_conn *cc = arg;
	const char *login = ipc_get_str(in);
	bool keeps = ipc_get_u32(in) != 0;
	struct err err;

	(void)c;
	if (!begin(cc, in))
		return;
	if (!is_allowed(cc))
		reply_uus(cc, QMGR_DENIED, 0, "only root may do this");
	else if (contain_release(cc->ctl->contain, login, keeps, on_contained, cc, &err) < 0)
		reply_uus(cc, QMGR_BAD, 0, err.text);
}

/* --- connections -------------------------------------------------------------------------------------------------------- */
/* clang-format off */
static const struct ipc_handler rows[] = {
	{ QMGR_CTL_LIST,    QMGR_SELECT_SIG, IPC_STATE_ANY, on_list },
	{ QMGR_CTL_SHOW,    "s",             IPC_STATE_ANY, on_show },
	{ QMGR_CTL_DELETE,  QMGR_SELECT_SIG, IPC_STATE_ANY, on_delete },
	{ QMGR_CTL_HOLD,    QMGR_SELECT_SIG, IPC_STATE_ANY, on_hold },
	{ QMGR_CTL_RELEASE, QMGR_SELECT_SIG, IPC_STATE_ANY, on_release },
	{ QMGR_CTL_REQUEUE, QMGR_SELECT_SIG, IPC_STATE_ANY, on_requeue },
	{ QMGR_CTL_EXPIRE,  QMGR_SELECT_SIG, IPC_STATE_ANY, on_expire },
	{ QMGR_CTL_FLUSH,   "s",             IPC_STATE_ANY, on_flush },
	{ QMGR_CTL_SUBMIT,  QMGR_SUBMIT_SIG, IPC_STATE_ANY, on_submit },
	{ QMGR_CTL_EXPLAIN, "sssu(ssu)", IPC_STATE_ANY, on_explain },
	{ QMGR_CTL_CONTAIN_LIST,    "",   IPC_STATE_ANY, on_contain_list },
	{ QMGR_CTL_CONTAIN_HOLD,    "ss", IPC_STATE_ANY, on_contain_hold },
	{ QMGR_CTL_CONTAIN_RELEASE, "su", IPC_STATE_ANY, on_contain_release },
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
control_new(struct queue *q, struct schedule *s, struct submit *submit, struct contain *contain,
    const struct control_conf *conf)
{
	struct control *ctl = x_calloc(1, sizeof *ctl);

	ctl->conf = conf;
	ctl->q = q;
	ctl->s = s;
	ctl->submit = submit;
	ctl->contain = contain;
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
