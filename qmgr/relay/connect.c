#include "qmgr/relay/connect.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <stdio.h>
#include <stdlib.h>

enum { ATTEMPT_DELAY_MS = 250 /* RFC 8305 8 */ };

struct attempt {
	struct relay_connect *connect;
	struct stream *stream; /* owned; NULL: not begun, or failed */
	bool has_failed;
};

struct relay_connect {
	struct loop *loop;
	int64_t timeout_ms;
	struct relay_target *targets; /* borrowed */
	const struct relay_source *source;
	const struct relay_connect_ops *ops;
	void *arg;
	struct attempt *attempts; /* owned, one for each target */
	size_t count, nstarted, nfailed;
	struct loop_timer next;
};

static const struct stream_limits limits = { .input_max = 16 << 10, .output_max = 2 << 20 };

void
relay_target_peer(const struct relay_target *t, char *out, size_t size)
{
	char ip[ADDR_TEXT];

	snprintf(out, size, "%s[%s]:%u", t->host, addr_text(&t->addr, ip), addr_port(&t->addr));
}

void
relay_connect_cancel(struct relay_connect *c)
{
	if (c == NULL)
		return;
	loop_timer_stop(&c->next);
	for (size_t i = 0; i < c->count; i++)
		stream_free(c->attempts[i].stream);
	free(c->attempts);
	free(c);
}

static struct relay_target *
target_of(const struct attempt *a)
{
	return &a->connect->targets[a - a->connect->attempts];
}

/* Those that have failed come first, then the winner: its index then. */
static size_t
sort_targets(struct relay_connect *c, size_t winner)
{
	struct relay_target *old = x_calloc(c->count, sizeof *old), *out = c->targets;

	memcpy(old, c->targets, c->count * sizeof *old);
	for (size_t i = 0; i < c->count; i++)
		if (c->attempts[i].has_failed)
			*out++ = old[i];
	*out++ = old[winner];
	for (size_t i = 0; i < c->count; i++)
		if (!c->attempts[i].has_failed && i != winner)
			*out++ = old[i];
	free(old);
	return c->nfailed;
}

static void
end(struct relay_connect *c, struct stream *stream, size_t index)
{
	const struct relay_connect_ops *ops = c->ops;
	void *arg = c->arg;

	relay_connect_cancel(c);
	ops->on_end(arg, stream, index);
}

static void
fail(struct attempt *a, const char *dsn, const char *peer, const char *why)
{
	struct relay_connect *c = a->connect;
	struct relay_verdict v;

	a->has_failed = true;
	c->nfailed++;
	log_info("connect to %s: %s", peer, lqs(why));
	relay_verdict_set(&v, DELIVERY_DEFERRED, dsn, "connect to %s: %s", peer, why);
	v.is_unreachable = true;
	c->ops->on_failed(c->arg, &v);
	loop_timer_soon(&c->next);
}

static void
win(struct attempt *a)
{
	struct relay_connect *c = a->connect;
	struct stream *stream = a->stream;
	char peer[RELAY_PEER_MAX], slower[RELAY_PEER_MAX];

	relay_target_peer(target_of(a), peer, sizeof peer);
	for (size_t i = 0; i < c->nstarted; i++) {
		if (&c->attempts[i] == a || c->attempts[i].stream == NULL)
			continue;
		relay_target_peer(&c->targets[i], slower, sizeof slower);
		log_info("connect to %s: no answer yet, %s was faster", slower, peer);
	}
	a->stream = NULL;
	end(c, stream, sort_targets(c, (size_t)(a - c->attempts)));
}

static void
on_connected(void *arg, struct stream *stream)
{
	(void)stream;
	win(arg);
}

static void
on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct attempt *a = arg;
	char peer[RELAY_PEER_MAX];

	(void)stream;
	stream_free(a->stream);
	a->stream = NULL;
	relay_target_peer(target_of(a), peer, sizeof peer);
	fail(a, "4.4.1", peer, why->sys != 0 ? strerror(why->sys) : why->text);
}

/* The greeting can come in the same turn. */
static const struct stream_ops stream_ops = {
	.on_input = on_connected, .on_drained = on_connected, .on_close = on_close
};

static struct stream *
open_stream(struct attempt *a, struct err *err)
{
	const struct relay_source *src = a->connect->source;
	const struct sockaddr_storage *to = &target_of(a)->addr;
	const struct sockaddr_storage *local = relay_source_for(src, to->ss_family);
	struct loop *l = a->connect->loop;
	struct stream *s;

	if (local == NULL && src->must_bind && src->is_pool) {
		err_set(err, ERR_PERM, "no address of its family to connect from");
		return NULL;
	}
	s = stream_connect(l, to, local, &limits, &stream_ops, a, err);
	if (s != NULL || err->kind != ERR_PERM)
		return s;
	log_warn("smtp_bind_address: %s", lqs(err->text));
	return src->must_bind ? NULL : stream_connect(l, to, NULL, &limits, &stream_ops, a, err);
}

static void
start_attempt(struct attempt *a)
{
	char peer[RELAY_PEER_MAX];
	struct err e;

	a->stream = open_stream(a, &e);
	if (a->stream != NULL) {
		stream_want_drained(a->stream);
		stream_set_deadline(a->stream, a->connect->timeout_ms);
		loop_timer_start(&a->connect->next, ATTEMPT_DELAY_MS);
		return;
	}
	relay_target_peer(target_of(a), peer, sizeof peer);
	if (e.kind == ERR_PERM) /* Postfix's words for smtp_bind_address_enforce */
		fail(a, "4.4.0", peer, "server configuration error");
	else
		fail(a, "4.4.1", peer, e.sys != 0 ? strerror(e.sys) : e.text);
}

static void
on_next(void *arg)
{
	struct relay_connect *c = arg;

	if (c->nstarted < c->count)
		start_attempt(&c->attempts[c->nstarted++]);
	else if (c->nfailed == c->count)
		end(c, NULL, c->count);
}

struct relay_connect *
relay_connect_start(struct loop *l, int64_t timeout_ms, struct relay_target *targets, size_t count,
    const struct relay_source *source, const struct relay_connect_ops *ops, void *arg)
{
	struct relay_connect *c = x_calloc(1, sizeof *c);

	c->loop = l;
	c->timeout_ms = timeout_ms;
	c->targets = targets;
	c->count = count;
	c->source = source;
	c->ops = ops;
	c->arg = arg;
	c->attempts = x_calloc(count, sizeof *c->attempts);
	for (size_t i = 0; i < count; i++)
		c->attempts[i].connect = c;
	loop_timer_init(&c->next, l, on_next, c);
	loop_timer_soon(&c->next);
	return c;
}
