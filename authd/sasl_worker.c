#include "authd/sasl_worker.h"
#include "authd/sasl_exchange.h"
#include "authd/worker_msg.h"

#include "common/base/fd.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/conn.h"
#include "common/log/log.h"

#include <stdlib.h>
#include <unistd.h>

enum {
	LINK_TIMEOUT_MS = 10000,
	STEP_SECONDS = 30, /* no hash takes that long: something is broken */
	EXCHANGES_MAX = 20000,
};

struct sasl_worker {
	const struct authd_conf *conf;
	struct loop *loop;
	struct ipc_conn *parent;
	int link_fd;          /* blocking, to the database worker; -1 = none */
	struct map exchanges; /* u64 -> owned struct sasl_exchange */
	unsigned char packet[IPC_MAX_PACKET];
};

/* --- questions to the database worker --------------------------------------------------------- */

/* A link that failed once could give the answer to another question: it is never used again. */
static int
link_lost(struct sasl_worker *w)
{
	struct ipc_out o;

	fd_close(&w->link_fd);
	ipc_out_init(&o, WORKER_WANT_LINK);
	ipc_conn_send(w->parent, &o);
	return -1;
}

static int
link_call(struct sasl_worker *w, struct ipc_out *o, const char *signature, struct ipc_in *in,
    struct err *err)
{
	if (w->link_fd < 0) {
		ipc_out_clear(o);
		return err_set(err, ERR_TEMP, "no link to the database worker");
	}
	if (ipc_call_blocking(w->link_fd, o, signature, LINK_TIMEOUT_MS, w->packet, in, err) < 0)
		return link_lost(w);
	return 0;
}

static int
source_keys(void *arg, const char *address, struct sasl_keys *out, struct err *err)
{
	struct sasl_worker *w = arg;
	struct ipc_out o;
	struct ipc_in in;
	unsigned status;

	ipc_out_init(&o, DB_KEYS);
	ipc_put_str(&o, address);
	if (link_call(w, &o, "uss", &in, err) < 0)
		return -1;
	status = ipc_get_u32(&in);
	snprintf(out->crypt, sizeof out->crypt, "%s", ipc_get_str(&in));
	snprintf(out->scram, sizeof out->scram, "%s", ipc_get_str(&in));
	out->is_known = status == AUTHD_OK;
	mem_wipe(w->packet, sizeof w->packet);
	return status == AUTHD_OK || status == AUTHD_NO ? 0 : err_set(err, ERR_TEMP, "database");
}

static int
source_secret(void *arg, uint8_t out[USER_SECRET_BYTES], struct err *err)
{
	struct sasl_worker *w = arg;
	struct ipc_out o;
	struct ipc_in in;
	struct view secret;
	unsigned status;

	ipc_out_init(&o, DB_SECRET);
	if (link_call(w, &o, "ub", &in, err) < 0)
		return -1;
	status = ipc_get_u32(&in);
	secret = ipc_get_bytes(&in);
	if (status != AUTHD_OK || secret.len != USER_SECRET_BYTES)
		return err_set(err, ERR_TEMP, "database");
	memcpy(out, secret.p, USER_SECRET_BYTES);
	mem_wipe(w->packet, sizeof w->packet);
	return 0;
}

static void
on_link(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct sasl_worker *w = arg;

	(void)c;
	fd_close(&w->link_fd);
	w->link_fd = ipc_get_fd(in);
}

/* --- exchanges -------------------------------------------------------------------------------- */

static void
reply_answer(struct ipc_conn *c, struct ipc_in *in, const struct sasl_answer *a)
{
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, a->step);
	ipc_put_bytes(&o, a->challenge, a->challenge_len);
	ipc_put_str(&o, a->account);
	ipc_put_str(&o, a->reason);
	ipc_conn_reply(c, in->id, &o);
}

static struct view
key_view(const uint64_t *key)
{
	return view_make(key, sizeof *key);
}

static void
on_start(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct sasl_worker *w = arg;
	uint64_t key = ipc_get_u64(in);
	const char *service = ipc_get_str(in), *mech = ipc_get_str(in), *server_name;
	unsigned flags = ipc_get_u32(in);
	struct sasl_exchange *x = NULL;
	struct sasl_answer answer = { .step = AUTHD_STEP_TEMP,
		.challenge = "",
		.account = "",
		.reason = "too many exchanges" };

	ipc_get_str(in); /* client and server address: for the log of the loop */
	ipc_get_str(in);
	server_name = ipc_get_str(in);
	alarm(STEP_SECONDS);
	if (w->exchanges.count < EXCHANGES_MAX)
		sasl_exchange_start(
		    service, mech, flags, server_name, ipc_get_bytes(in), &x, &answer);
	reply_answer(c, in, &answer);
	if (x != NULL && answer.step == AUTHD_STEP_MORE)
		x = map_put(
		    &w->exchanges, key_view(&key), x); /* the loop never uses a number twice */
	sasl_exchange_free(&x);
	alarm(0);
}

static void
on_step(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct sasl_worker *w = arg;
	uint64_t key = ipc_get_u64(in);
	struct sasl_exchange *x = map_get(&w->exchanges, key_view(&key));
	struct sasl_answer answer = { .step = AUTHD_STEP_FAILED,
		.challenge = "",
		.account = "",
		.reason = "no such exchange" };

	alarm(STEP_SECONDS);
	if (x != NULL)
		sasl_exchange_step(x, ipc_get_bytes(in), &answer);
	reply_answer(c, in, &answer);
	if (x != NULL && answer.step != AUTHD_STEP_MORE) {
		map_remove(&w->exchanges, key_view(&key));
		sasl_exchange_free(&x);
	}
	alarm(0);
}

static void
on_abort(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct sasl_worker *w = arg;
	uint64_t key = ipc_get_u64(in);
	struct sasl_exchange *x = map_remove(&w->exchanges, key_view(&key));

	(void)c;
	sasl_exchange_free(&x);
}

static void
on_hash(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct sasl_worker *w = arg;
	struct user_record user = { 0 };
	struct ipc_out o;
	struct err e = { 0 };
	int r;

	alarm(STEP_SECONDS);
	r = user_password_set(&user, ipc_get_str(in), &w->conf->policy, &e);
	ipc_reply_init(&o);
	ipc_put_u32(&o, r == 0 ? AUTHD_OK : e.kind == ERR_TEMP ? AUTHD_TEMP : AUTHD_BAD);
	ipc_put_str(&o, r == 0 ? user.crypt : "");
	ipc_put_str(&o, r == 0 ? user.scram : "");
	ipc_put_str(&o, r == 0 ? "" : e.text);
	ipc_conn_reply(c, in->id, &o);
	mem_wipe(&user, sizeof user);
	alarm(0);
}

static const struct ipc_handler from_loop[] = {
	{ WORKER_LINK, "h", IPC_STATE_ANY, on_link },
	{ SASL_START, "qssusssb", IPC_STATE_ANY, on_start },
	{ SASL_STEP, "qb", IPC_STATE_ANY, on_step },
	{ SASL_ABORT, "q", IPC_STATE_ANY, on_abort },
	{ SASL_HASH, "s", IPC_STATE_ANY, on_hash },
	{ 0 },
};

static void
on_loop_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)arg, (void)c, (void)why;
	_exit(0);
}

_Noreturn void
sasl_worker_run(const struct authd_conf *conf, int fd)
{
	static const struct ipc_conn_ops ops = { .handlers = from_loop, .on_close = on_loop_gone };
	static struct sasl_worker w = { .link_fd = -1 };
	struct sasl_source source = { source_keys, source_secret, &w };
	struct ipc_out hello;

	w.conf = conf;
	w.loop = loop_new();
	map_init(&w.exchanges);
	sasl_library_set_source(&source);
	w.parent = ipc_conn_new(w.loop, fd, &ops, &w);
	ipc_out_init(&hello, WORKER_HELLO);
	ipc_put_u32(&hello, 0);
	ipc_put_str(&hello, "");
	ipc_conn_send(w.parent, &hello);
	loop_run(w.loop);
	_exit(1);
}
