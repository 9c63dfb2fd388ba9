#include "qmgr/submit.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/daemon/counters.h"
#include "common/ipc/rewriting.h"
#include "common/log/log.h"
#include "common/mime/message.h"
#include "common/proto/address.h"
#include "qmgr/intake.h"
#include "qmgr/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

enum {
	RCPTS_BYTES_MAX = 4 << 20,
	RCPTS_MAX = 20000,
	ASKED_AT_ONCE = 16,
	HEADERS_SCAN =
	    1 << 20, /* of the header block looked through for missing fields, and for addresses */
	DATE = 64,
};

LIST_HEAD(submission_list, submission);

struct submit {
	struct queue *q;
	struct ipc_edge *authd;
	struct submit_conf conf;
	struct submission_list asking;
};

struct question {
	struct submission *x;
	struct ipc_call *call;
	const char *address; /* in the arena of the message */
};

struct submission {
	LIST_ENTRY(submission)
	link; /* while authd is asked about its recipients or its addresses */
	struct submit *s;
	uid_t uid;
	char *sender, *full_name; /* owned */
	uint32_t flags;
	int content_fd, rcpts_fd; /* owned */
	uint64_t content_len, rcpts_len;
	struct buf raw;              /* the message as it came in */
	struct rewriting *rewriting; /* owned */
	struct fresh *f;             /* owned until the commit */
	const char **addresses;      /* owned: asked for; strings in the arena */
	size_t naddresses, next, answered;
	struct question questions[ASKED_AT_ONCE];
	struct recipient *rcpts; /* owned */
	size_t nrcpts, cap;
	struct map seen; /* final addresses: an alias and a name may lead to the same mailbox */
	char message_id[256];
	enum qmgr_status status;
	char text[240];
	int64_t now_ms;
	struct loop_timer soon; /* for answers that must not come from within */
	void (*cb)(void *arg, enum qmgr_status status, const char *id, const char *text);
	void *arg;
};

struct submit *
submit_new(struct queue *q, struct ipc_edge *authd, const struct submit_conf *conf)
{
	struct submit *s = x_calloc(1, sizeof *s);

	s->q = q;
	s->authd = authd;
	s->conf = *conf;
	LIST_INIT(&s->asking);
	return s;
}

static void
submission_free(struct submission *x)
{
	fresh_free(x->f);
	fd_close(&x->content_fd);
	fd_close(&x->rcpts_fd);
	map_clear(&x->seen);
	buf_clear(&x->raw);
	rewriting_free(x->rewriting);
	loop_timer_stop(&x->soon);
	free(x->addresses);
	free(x->rcpts);
	free(x->sender);
	free(x->full_name);
	free(x);
}

void
submit_free(struct submit *s)
{
	struct submission *x;

	if (s == NULL)
		return;
	while ((x = LIST_FIRST(&s->asking)) != NULL) {
		LIST_REMOVE(x, link);
		for (int i = 0; i < ASKED_AT_ONCE; i++)
			ipc_call_cancel(x->questions[i].call);
		submission_free(x);
	}
	free(s);
}

void
submit_forget(struct submission *x)
{
	x->cb = NULL;
}

static void
fail(struct submission *x, enum qmgr_status status, const char *text)
{
	if (x->status != QMGR_OK)
		return; /* the first fault is the one to tell */
	x->status = status;
	snprintf(x->text, sizeof x->text, "%s", text);
}

/* Tells of a failure. */
static void
answer(struct submission *x)
{
	if (x->f != NULL && x->f->has_file)
		queue_forget_body(x->s->q, x->f->id);
	if (x->cb != NULL)
		x->cb(x->arg, x->status, "", x->text);
	submission_free(x);
}

/* --- in a thread: content and recipients ------------------------------------------------------------------- */
static bool
field_is_missing(struct view message, const char *name)
{
	struct header_field f;

	return !header_find(message, name, &f);
}

/* What cleanup(8) adds to local mail. */
static void
add_missing_fields(struct submission *x, struct view message, struct buf *out)
{
	const struct submit_conf *c = &x->s->conf;
	char id[QUEUE_ID_TEXT], date[DATE], stamp[32];
	time_t now = (time_t)(x->now_ms / 1000);
	struct header_field f;
	struct tm tm;

	queue_id_format(x->f->id, id);
	date_format(x->now_ms / 1000, 0, date, sizeof date);
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &tm);
	buf_printf(out, "Received: by %s (%s, from userid %u)\r\n\tid %s; %s\r\n", c->myhostname,
	    c->mail_name, (unsigned)x->uid, id, date);
	if (field_is_missing(message, "Message-Id")) {
		snprintf(
		    x->message_id, sizeof x->message_id, "<%s.%s@%s>", stamp, id, c->myhostname);
		buf_printf(out, "Message-Id: %s\r\n", x->message_id);
	} else if (header_find(message, "Message-Id", &f)) {
		log_quote(x->message_id, sizeof x->message_id, view_trim(f.value));
	}
	if (field_is_missing(message, "Date"))
		buf_printf(out, "Date: %s\r\n", date);
	if (field_is_missing(message, "From")) {
		if (x->full_name[0] != '\0')
			buf_printf(out, "From: \"%s\" <%s>\r\n", x->full_name, x->sender);
		else
			buf_printf(out, "From: %s\r\n",
			    x->sender[0] != '\0' ? x->sender : "MAILER-DAEMON");
	}
}

/* A file that does not begin with a header is all body (RFC 5322 3.5): an empty line comes before it. */
static bool
begins_with_field(struct view message)
{
	struct view first;
	size_t name = 0;

	view_cut(message, '\n', &first, NULL);
	while (
	    name < first.len && first.p[name] > ' ' && first.p[name] < 0x7f && first.p[name] != ':')
		name++;
	return name > 0 && name < first.len && first.p[name] == ':';
}

/* What Unix programs print (progress bars) has CRs that end no line: blanks, as Postfix makes of them
 * (cleanup_replace_stray_cr_lf), since no server may be sent one (RFC 5321 2.3.8). */
static void
blank_stray_crs(struct buf *raw)
{
	char *p = raw->p, *end = raw->p + raw->len;

	for (; raw->len > 0 && (p = memchr(p, '\r', (size_t)(end - p))) != NULL; p++)
		if (p + 1 == end || p[1] != '\n')
			*p = ' ';
}

static struct view
header_part(const struct submission *x)
{
	return view_make(x->raw.p, x->raw.len < HEADERS_SCAN ? x->raw.len : HEADERS_SCAN);
}

static int
read_content(struct submission *x, struct err *err)
{
	buf_init(&x->raw, x->content_len);
	if (buf_reserve(&x->raw, x->content_len) == NULL)
		return err_set(err, ERR_TEMP, "no memory for the message");
	if (fd_pread_all(x->content_fd, x->raw.p, x->content_len, 0, err) < 0)
		return -1;
	x->raw.len = x->content_len;
	blank_stray_crs(&x->raw);
	if (memchr(x->raw.p, '\0', x->raw.len) != NULL)
		return err_set(err, ERR_PERM, "the message has NUL bytes");
	return 0;
}

static void
collect_addresses(struct submission *x)
{
	struct buf unused;

	rewriting_add(x->rewriting, REWRITE_ENVELOPE_SENDER, view_of(x->sender));
	if (x->s->conf.rewrites == 0)
		return;
	buf_init(&unused, 3 * HEADERS_SCAN + REWRITING_GROWTH);
	rewriting_fields(x->rewriting, &x->s->conf.completion, header_part(x),
	    x->raw.len <= HEADERS_SCAN, REWRITING_COLLECT, &unused);
	buf_clear(&unused);
}

static int
make_content(struct submission *x, struct err *err)
{
	struct content *c = &x->f->content;
	struct view scan = header_part(x);
	struct buf headers, body;
	size_t fields;
	int r = -1;

	buf_init(&headers, 3 * HEADERS_SCAN + REWRITING_GROWTH);
	buf_init(&body, 2 * x->content_len + 2);
	add_missing_fields(x, scan, &headers);
	if (!begins_with_field(scan))
		buf_append_str(&headers, "\r\n");
	fields = rewriting_fields(x->rewriting, &x->s->conf.completion, scan,
	    scan.len == x->raw.len, REWRITING_APPLY, &headers);
	if (headers.failed ||
	    crlf_append(view_make(x->raw.p + fields, x->raw.len - fields), &body) < 0) {
		err_set(err, ERR_TEMP, "no memory for the message");
		goto out;
	}
	c->headers_len = headers.len;
	c->body_len = body.len;
	c->headers_fd = memfd_sealed("headers", headers.p, headers.len, err);
	if (c->headers_fd >= 0)
		c->body_fd = memfd_sealed("body", body.p, body.len, err);
	r = c->headers_fd < 0 || c->body_fd < 0 ? -1 : fresh_fit(x->s->q, x->f, 1, err);
out:
	buf_clear(&x->raw);
	buf_clear(&headers);
	buf_clear(&body);
	return r;
}

static const char *
complete_address(struct submission *x, const char *text, struct arena *arena, struct err *err)
{
	struct address a;
	char *with_origin = NULL;

	if (strchr(text, '@') == NULL)
		text = with_origin = x_asprintf("%s@%s", text, x->s->conf.myorigin);
	if (address_parse(view_of(text), ADDRESS_ALLOW_UTF8, &a, err) < 0) {
		err_prefix(err, "\"%.80s\"", text);
		free(with_origin);
		return NULL;
	}
	free(with_origin);
	return arena_strdup(arena, a.text);
}

static int
read_rcpts(struct submission *x, struct err *err)
{
	char *bytes = x_malloc(RCPTS_BYTES_MAX + 1);
	int r = fd_pread_all(x->rcpts_fd, bytes, x->rcpts_len, 0, err);

	bytes[x->rcpts_len] = '\0';
	x->addresses = x_calloc(RCPTS_MAX, sizeof *x->addresses);
	for (size_t at = 0; r == 0 && at < x->rcpts_len; at += strlen(bytes + at) + 1) {
		const char *a;

		if (bytes[at] == '\0')
			continue;
		if (x->naddresses == RCPTS_MAX) {
			r = err_set(err, ERR_PERM, "too many recipients");
			break;
		}
		a = complete_address(x, bytes + at, &x->f->arena, err);
		if (a == NULL)
			r = -1;
		else
			x->addresses[x->naddresses++] = a;
	}
	free(bytes);
	if (r == 0 && x->naddresses == 0)
		r = err_set(err, ERR_PERM, "no recipient");
	return r;
}

static int
read_sender(struct submission *x, struct err *err)
{
	const char *a = "";

	if (x->sender[0] != '\0')
		a = complete_address(x, x->sender, &x->f->arena, err);
	if (a == NULL)
		return -1;
	free(x->sender);
	x->sender = x_strdup(a);
	/* it goes into a quoted string */
	for (char *p = x->full_name; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == '"' || *p == '\\' || *p == 0x7f)
			*p = ' ';
	return 0;
}

static void
fail_for(struct submission *x, const struct err *err)
{
	fail(x, err->kind == ERR_TEMP ? QMGR_TEMP : QMGR_BAD, err->text);
}

static void
submission_read(void *arg)
{
	struct submission *x = arg;
	struct err err = { 0 };

	if (read_sender(x, &err) == 0 && read_rcpts(x, &err) == 0 && read_content(x, &err) == 0)
		collect_addresses(x);
	else
		fail_for(x, &err);
}

static void
submission_write(void *arg)
{
	struct submission *x = arg;
	struct err err = { 0 };

	if (make_content(x, &err) < 0)
		fail_for(x, &err);
}

/* --- the commit ------------------------------------------------------------------------------------------------- */
struct submitted {
	struct submission *x;
	char id[QUEUE_ID_TEXT];
};

static void
on_committed(void *arg, enum qmgr_status status)
{
	struct submitted *d = arg;
	char text[QUEUE_FULL_TEXT];

	if (status != QMGR_OK)
		fail(d->x, status,
		    status == QMGR_FULL ? queue_full_text(d->x->s->q, 0, text)
					: "queue file write error");
	if (d->x->cb != NULL)
		d->x->cb(d->x->arg, d->x->status, status == QMGR_OK ? d->id : "", d->x->text);
	submission_free(d->x);
	free(d);
}

static void
commit(struct submission *x)
{
	struct fresh *f = x->f;
	char text[QUEUE_FULL_TEXT];
	struct submitted *d;

	f->env = (struct envelope){ .sender = arena_strdup(&f->arena, x->sender),
		.flags = x->flags,
		.arrival_ms = x->now_ms,
		.size = f->content.headers_len + f->content.body_len,
		.envid = "",
		.client_name = "",
		.client_address = "",
		.helo = "",
		.protocol = "",
		.sasl_method = "",
		.sasl_username = "",
		.nrcpts = x->nrcpts,
		.rcpts = arena_alloc(&f->arena, x->nrcpts * sizeof *x->rcpts) };
	if (f->env.sender != NULL && f->env.rcpts != NULL)
		memcpy(f->env.rcpts, x->rcpts, x->nrcpts * sizeof *x->rcpts);
	if (f->env.rcpts != NULL && envelope_count_senders(&f->env) > ENVELOPE_MAX_SENDERS) {
		fail(x, QMGR_BAD, "too many mailing lists for one message");
		answer(x);
		return;
	}
	if (f->env.sender == NULL || f->env.rcpts == NULL ||
	    envelope_encode(&f->env, &f->encoded) < 0 || queue_admit(x->s->q, f) != QMGR_OK) {
		fail(x, QMGR_FULL, queue_full_text(x->s->q, 0, text));
		answer(x);
		return;
	}
	d = x_calloc(1, sizeof *d);
	d->x = x;
	queue_id_format(f->id, d->id);
	counter_add(COUNTER_RECEIVED, 1);
	log_as("pickup", LOG_LEVEL_INFO, "%s: uid=%u from=<%s>", d->id, (unsigned)x->uid,
	    lqs(x->sender));
	log_as("cleanup", LOG_LEVEL_INFO, "%s: message-id=%s", d->id, x->message_id);
	x->f = NULL;
	intake_commit(x->s->q, f, on_committed, d);
}

/* --- recipients ---------------------------------------------------------------------------------------------------- */
static void ask_more(struct submission *x);

static void
take_recipients(struct submission *x, const struct resolved *to)
{
	for (size_t i = 0; i < to->count; i++) {
		if (map_put(&x->seen, view_of(to->rcpts[i].address), x) != NULL)
			continue;
		if (x->nrcpts == x->cap) {
			x->cap = x->cap == 0 ? 16 : x->cap * 2;
			x->rcpts = x_realloc(x->rcpts, x->cap, sizeof *x->rcpts);
		}
		x->rcpts[x->nrcpts++] = to->rcpts[i];
	}
}

static void
on_resolved(void *arg, struct ipc_in *in)
{
	struct question *qu = arg;
	struct submission *x = qu->x;
	struct resolved to;

	qu->call = NULL;
	x->answered++;
	resolve_read(in, qu->address, &x->f->arena, &to);
	if (to.status == AUTHD_TEMP || (to.count == 0 && to.status == AUTHD_FULL)) {
		fail(x, QMGR_TEMP, to.text);
	} else if (to.count == 0) {
		char text[240];

		snprintf(text, sizeof text, "<%s>: %s", qu->address, lqs(to.text));
		fail(x, QMGR_BAD, text);
	} else {
		take_recipients(x, &to);
	}
	ask_more(x);
}

static void
ask_more(struct submission *x)
{
	for (int i = 0; i < ASKED_AT_ONCE && x->next < x->naddresses && x->status == QMGR_OK; i++) {
		struct question *qu = &x->questions[i];

		if (qu->call != NULL)
			continue;
		qu->x = x;
		qu->address = x->addresses[x->next++];
		qu->call = resolve_ask(x->s->authd, qu->address, x->sender, on_resolved, qu);
	}
	if (x->answered < x->next)
		return;
	LIST_REMOVE(x, link);
	if (x->status == QMGR_OK)
		commit(x);
	else
		answer(x);
}

static void
submission_written(void *arg)
{
	struct submission *x = arg;

	x->s->q->operations--;
	if (x->status != QMGR_OK) {
		answer(x);
		return;
	}
	LIST_INSERT_HEAD(&x->s->asking, x, link);
	ask_more(x);
}

static void
start_work(struct submission *x, void (*run)(void *arg), void (*ready)(void *arg))
{
	x->s->q->operations++;
	work_submit(x->s->q->pool, run, ready, x);
}

static void
write_content(struct submission *x)
{
	const char *sender =
	    rewriting_find(x->rewriting, REWRITE_ENVELOPE_SENDER, view_of(x->sender));

	if (sender != NULL) {
		free(x->sender);
		x->sender = x_strdup(sender);
	}
	start_work(x, submission_write, submission_written);
}

static void
on_rewritten(void *arg, bool ok)
{
	struct submission *x = arg;

	LIST_REMOVE(x, link);
	if (ok) {
		write_content(x);
		return;
	}
	fail(x, QMGR_TEMP, "addresses cannot be rewritten for now");
	answer(x);
}

static void
submission_was_read(void *arg)
{
	struct submission *x = arg;

	x->s->q->operations--;
	if (x->status != QMGR_OK)
		answer(x);
	else if (rewriting_ask(x->rewriting, x->s->authd, on_rewritten, x))
		LIST_INSERT_HEAD(&x->s->asking, x, link);
	else
		write_content(x);
}

static void
on_refused(void *arg)
{
	answer(arg);
}

struct submission *
submit_start(struct submit *s, uid_t uid, const char *sender, uint32_t flags, const char *full_name,
    int content_fd, int rcpts_fd,
    void (*cb)(void *arg, enum qmgr_status status, const char *id, const char *text), void *arg)
{
	struct submission *x = x_calloc(1, sizeof *x);
	uint64_t limit = s->conf.message_size_limit;
	char text[QUEUE_FULL_TEXT];
	struct err err;

	x->s = s;
	x->uid = uid;
	x->sender = x_strdup(sender);
	x->full_name = x_strndup(full_name, 200);
	x->flags = flags & (ENVELOPE_8BIT | ENVELOPE_SMTPUTF8 | ENVELOPE_RET_FULL |
			       ENVELOPE_RET_HDRS | ENVELOPE_TLS_OPTIONAL);
	x->content_fd = content_fd;
	x->rcpts_fd = rcpts_fd;
	x->now_ms = clock_wall_ms();
	x->cb = cb;
	x->arg = arg;
	map_init(&x->seen);
	loop_timer_init(&x->soon, s->q->loop, on_refused, x);
	x->f = fresh_new(queue_new_id(s->q));
	if (memfd_check(content_fd, limit != 0 ? limit : INT64_MAX, &x->content_len, &err) < 0 ||
	    memfd_check(rcpts_fd, RCPTS_BYTES_MAX, &x->rcpts_len, &err) < 0)
		fail(x, QMGR_BAD, "message or recipients too large, or not sealed");
	else if (s->q->is_draining)
		fail(x, QMGR_TEMP, "mail system is going down");
	else if (queue_has_room(s->q, x->content_len) != QMGR_OK)
		fail(x, QMGR_FULL, queue_full_text(s->q, x->content_len, text));
	if (x->status != QMGR_OK) {
		loop_timer_soon(&x->soon);
		return x;
	}
	x->rewriting = rewriting_new(s->conf.rewrites);
	start_work(x, submission_read, submission_was_read);
	return x;
}
