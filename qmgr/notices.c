#include "qmgr/notices.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/mime/message.h"
#include "qmgr/bounce.h"
#include "qmgr/deferred.h"
#include "qmgr/report.h"
#include "qmgr/resolve.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	HEADERS_MAX = 256 * 1024, /* of what is returned, when only headers are */
	NOTICE_MAX = 256 << 20,   /* of one notice, with very many recipients */
};

LIST_HEAD(notice_list, notice);

struct notices {
	struct notice_list asking; /* authd has not answered yet */
	struct queue *q;
	struct ipc_edge *authd; /* borrowed */
	struct notices_conf conf;
};

/* One notice in the making.  The message is busy meanwhile, so that its active stands still. */
struct notice {
	LIST_ENTRY(notice) link; /* while asking */
	struct notices *n;
	struct message *m;
	enum notice_kind kind;
	bool is_double; /* a notice, or one that has nobody to go to, goes to the postmaster */
	const char *to; /* borrowed, from the message or the configuration */
	struct ipc_call *call;
	struct fresh *f;           /* owned */
	struct bounce_rcpt *rcpts; /* owned */
	size_t nrcpts;
	const struct bounce_template *text;
	int64_t now_ms, expires_ms;
	bool in_journal;
	struct segment_header seg;
	struct err err;
	int result;
};

struct notices *
notices_new(struct queue *q, struct ipc_edge *authd, const struct notices_conf *conf)
{
	struct notices *n = x_calloc(1, sizeof *n);

	n->q = q;
	n->authd = authd;
	n->conf = *conf;
	return n;
}

void
notices_free(struct notices *n)
{
	struct notice *x;

	if (n == NULL)
		return;
	while ((x = LIST_FIRST(&n->asking)) != NULL) {
		LIST_REMOVE(x, link);
		ipc_call_cancel(x->call);
		fresh_free(x->f);
		free(x->rcpts);
		free(x);
	}
	free(n);
}

static void
notice_end(struct notice *x, bool retry)
{
	struct fresh *f = retry ? NULL : x->f;

	if (retry)
		fresh_free(x->f);
	queue_noticed(x->n->q, x->m, x->kind, f, retry);
	free(x->rcpts);
	free(x);
}

/* --- in a thread: reading the message and rendering -------------------------------------------------------- */
static int
read_original(struct notice *x, struct message_bytes *bytes)
{
	struct deferred_file file;
	int root = x->n->q->root_fd;

	if (x->in_journal)
		return message_bytes_from_journal(
		    root, &x->seg, x->m->offset, x->m->id, bytes, &x->err);
	if (deferred_load(root, x->m->id, &file, &x->err) < 0)
		return -1;
	*bytes = file.bytes;
	file.bytes = (struct message_bytes){ 0 };
	deferred_file_clear(&file);
	return 0;
}

static bool
is_copy(const struct notice *x)
{
	return x->kind == NOTICE_FAILURE_COPY || x->kind == NOTICE_DELAY_COPY;
}

/* RFC 3461 4.3: the sender's wish, failures only (RFC 8689 5: headers only, where TLS is required); and not more than we are willing to send back.
 * The postmaster reads whole only what nobody else does. */
static bool
returns_all(const struct notice *x)
{
	const struct envelope *e = &x->m->active->env;

	return (x->kind == NOTICE_FAILURE || x->is_double) &&
	       (e->flags & (ENVELOPE_RET_HDRS | ENVELOPE_REQUIRETLS)) == 0 &&
	       e->size <= x->n->conf.bounce_size_limit;
}

static enum template_kind
template_of(const struct notice *x)
{
	static const enum template_kind kinds[NOTICE_KINDS] = { TEMPLATE_FAILURE, TEMPLATE_DELAY,
		TEMPLATE_SUCCESS, TEMPLATE_FAILURE, TEMPLATE_DELAY };

	return kinds[x->kind];
}

static int
collect_returned(
    struct notice *x, const struct message_bytes *bytes, struct buf *out, bool *is_full)
{
	struct content c;
	uint64_t max = *is_full ? x->n->conf.bounce_size_limit : HEADERS_MAX;
	int r;

	if (content_make(x->n->q->root_fd, x->m->id, bytes, &c, &x->err) < 0)
		return -1;
	r = content_read(&c, max, out, &x->err);
	content_close(&c);
	if (r == 0 && !*is_full)
		out->len = header_block_length(buf_view(out));
	return r;
}

static int
make_content(struct notice *x, struct buf *headers, struct buf *body)
{
	struct fresh *f = x->f;

	f->content.headers_len = headers->len;
	f->content.body_len = body->len;
	f->content.headers_fd = memfd_sealed("headers", headers->p, headers->len, &x->err);
	if (f->content.headers_fd < 0)
		return -1;
	f->content.body_fd = memfd_sealed("body", body->p, body->len, &x->err);
	if (f->content.body_fd < 0)
		return -1;
	return fresh_fit(x->n->q, f, 1, &x->err);
}

static int
render(struct notice *x, struct view returned, bool is_full)
{
	const struct envelope *e = &x->m->active->env;
	struct fresh *f = x->f;
	struct bounce_input in = { .kind = x->is_double ? NOTICE_FAILURE_COPY : x->kind,
		.text = x->text,
		.myhostname = x->n->conf.myhostname,
		.mail_name = x->n->conf.mail_name,
		.id = f->id,
		.now_s = x->now_ms / 1000,
		.original = x->m->id,
		.to = strchr(x->to, '@') != NULL ? x->to : f->env.rcpts[0].address,
		.sender = e->sender,
		.envid = e->envid,
		.arrival_s = x->m->arrival_ms / 1000,
		.expires_s = x->expires_ms / 1000,
		.rcpts = x->rcpts,
		.nrcpts = x->nrcpts,
		.returned = returned,
		.is_full = is_full,
		.is_smtputf8 = (e->flags & ENVELOPE_SMTPUTF8) != 0 };
	struct buf headers, body;
	bool is_8bit, is_utf8;
	int r = -1;

	buf_init(&headers, 64 * 1024);
	buf_init(&body, NOTICE_MAX);
	if (bounce_render(&in, &headers, &body, &is_8bit, &is_utf8) < 0) {
		err_set(&x->err, ERR_LIMIT, "the notice is too large");
	} else {
		f->env.flags = ENVELOPE_BOUNCE | (is_8bit ? ENVELOPE_8BIT : 0) |
			       (is_utf8 ? ENVELOPE_SMTPUTF8 : 0) |
			       (e->flags & (ENVELOPE_REQUIRETLS | ENVELOPE_TLS_OPTIONAL));
		f->env.size = headers.len + body.len;
		r = envelope_encode(&f->env, &f->encoded);
		if (r == 0)
			r = make_content(x, &headers, &body);
	}
	buf_clear(&headers);
	buf_clear(&body);
	return r;
}

static void
notice_run(void *arg)
{
	struct notice *x = arg;
	struct message_bytes bytes = { 0 };
	bool is_full = returns_all(x);
	struct buf returned;

	buf_init(&returned, x->n->conf.bounce_size_limit + HEADERS_MAX);
	x->result = read_original(x, &bytes);
	if (x->result == 0)
		x->result = collect_returned(x, &bytes, &returned, &is_full);
	if (x->result == 0)
		x->result = render(x, buf_view(&returned), is_full);
	buf_clear(&returned);
	message_bytes_clear(&bytes);
}

static void
notice_done(void *arg)
{
	struct notice *x = arg;
	char id[QUEUE_ID_TEXT];

	x->n->q->operations--;
	if (x->result < 0) {
		queue_id_format(x->m->id, id);
		log_error("%s: no notice to the sender can be made now: %s", id, x->err.text);
	}
	notice_end(x, x->result < 0);
}

/* --- in the loop ---------------------------------------------------------------------------------------------- */
static void
fill_rcpts(struct notice *x)
{
	const struct active *a = x->m->active;

	x->rcpts = x_calloc(a->env.nrcpts, sizeof *x->rcpts);
	for (size_t i = 0; i < a->env.nrcpts; i++) {
		const struct recipient *r = &a->env.rcpts[i];
		const struct rcpt_state *s = &a->rcpts[i];

		if (!queue_wants_notice(x->n->q, x->m, i, x->kind))
			continue;
		x->rcpts[x->nrcpts++] = (struct bounce_rcpt){ .address = r->address,
			.orig = r->orig,
			.orcpt = r->orcpt,
			.dsn = s->dsn,
			.reason = s->reason != NULL ? s->reason : "mail system error",
			.remote = s->remote,
			.last_s = s->last_ms / 1000,
			.is_relayed = x->kind == NOTICE_SUCCESS && s->is_relayed };
	}
}

static void on_resolved(void *arg, struct ipc_in *in);

static void
ask_where_to(struct notice *x, const char *to)
{
	x->to = to;
	LIST_INSERT_HEAD(&x->n->asking, x, link);
	x->call = resolve_ask(x->n->authd, to, "", on_resolved, x);
}

/* No mailbox of ours is called so.  A failure that its sender cannot hear of is the postmaster's, if he wants it. */
static void
end_unreachable(struct notice *x, const char *why)
{
	char id[QUEUE_ID_TEXT];

	queue_id_format(x->m->id, id);
	if (x->kind == NOTICE_FAILURE && !x->is_double && x->n->q->conf.has_double_bounces) {
		x->is_double = true;
		ask_where_to(x, x->n->conf.double_bounce_recipient);
		return;
	}
	log_info("%s: %s notification discarded: <%s>: %s", id,
	    is_copy(x) || x->is_double ? "postmaster" : "sender", lqs(x->to), lqs(why));
	fresh_free(x->f);
	x->f = NULL;
	notice_end(x, false);
}

static void
on_resolved(void *arg, struct ipc_in *in)
{
	struct notice *x = arg;
	struct fresh *f = x->f;
	struct resolved to;

	LIST_REMOVE(x, link);
	resolve_read(in, x->to, &f->arena, &to);
	if (to.status == AUTHD_TEMP) {
		notice_end(x, true);
		return;
	}
	if (to.count == 0) {
		end_unreachable(x, to.text);
		return;
	}
	f->env =
	    (struct envelope){ .sender = is_copy(x) || x->is_double ? x->n->conf.double_bounce : "",
		    .arrival_ms = x->now_ms,
		    .envid = "",
		    .client_name = "",
		    .client_address = "",
		    .helo = "",
		    .protocol = "",
		    .client_port = "",
		    .sasl_method = "",
		    .sasl_username = "",
		    .rcpts = to.rcpts,
		    .nrcpts = to.count };
	/* RFC 3461 6.2: no notice about this one is ever wanted */
	for (size_t i = 0; i < to.count; i++)
		to.rcpts[i].notify = NOTIFY_NEVER;
	x->text = notice_texts_find(x->n->conf.texts, template_of(x), x->to);
	x->n->q->operations++;
	work_submit(x->n->q->pool, notice_run, notice_done, x);
}

void
notices_notify(struct notices *n, struct message *m, enum notice_kind kind)
{
	struct notice *x = x_calloc(1, sizeof *x);
	int64_t age = clock_mono_ms() - m->born_ms;
	int64_t life = m->is_bounce || m->active->env.sender[0] == '\0'
			   ? n->q->conf.bounce_lifetime_ms
			   : n->q->conf.lifetime_ms;

	x->n = n;
	x->m = m;
	x->kind = kind;
	x->now_ms = clock_wall_ms();
	x->expires_ms = x->now_ms + (life > age ? life - age : 0);
	x->in_journal = m->segment != NULL;
	if (m->segment != NULL)
		x->seg = m->segment->header;
	x->f = fresh_new(queue_new_id(n->q));
	fill_rcpts(x);
	x->is_double = kind == NOTICE_FAILURE_COPY && m->active->env.sender[0] == '\0';
	ask_where_to(x, x->is_double                  ? n->conf.double_bounce_recipient
			: kind == NOTICE_FAILURE_COPY ? n->conf.bounce_recipient
			: kind == NOTICE_DELAY_COPY   ? n->conf.delay_recipient
						      : m->active->env.sender);
}
