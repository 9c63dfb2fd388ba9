#include "authd/workers.h"
#include "authd/db_worker.h"
#include "authd/nursery.h"
#include "authd/sasl_exchange.h"
#include "authd/sasl_worker.h"
#include "authd/worker_msg.h"

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEADY_MS =
	    5000, /* whoever dies younger is started anew after a pause, each twice as long */
	RESPAWN_MS = 500,
	RESPAWN_DOUBLES = 6,
};

struct workers {
	struct loop *loop;
	const struct authd_conf *conf;
	int db_nursery, sasl_nursery;
	struct worker db;
	struct worker sasl[WORKERS_MAX];
	unsigned count;   /* SASL workers */
	struct heap jobs; /* that any of them can do */
	int64_t turn;     /* of the job that began last */
};

static const struct nursery_kind db_kind = {
	.name = "authd-db", .prepare = db_worker_prepare, .run = db_worker_run
};
static const struct nursery_kind sasl_kind = {
	.name = "authd-sasl", .prepare = sasl_library_open, .run = sasl_worker_run
};

/* --- the links between SASL workers and the database worker ----------------------------------- */

static void
send_link_end(struct ipc_conn *c, int fd)
{
	struct ipc_out o;

	ipc_out_init(&o, WORKER_LINK);
	ipc_put_fd(&o, fd);
	ipc_conn_send(c, &o);
}

static void
make_link(struct workers *ws, struct worker *w)
{
	int pair[2];

	if (ws->db.conn == NULL || w->conn == NULL)
		return; /* made when the missing one is there */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		log_warn("no link between workers: out of descriptors");
		return;
	}
	send_link_end(ws->db.conn, pair[0]);
	send_link_end(w->conn, pair[1]);
	close(pair[0]);
	close(pair[1]);
}

static void
on_want_link(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct worker *w = arg;

	(void)c, (void)in;
	make_link(w->workers, w);
}

/* --- jobs ------------------------------------------------------------------------------------- */

static struct heap *
heap_of(struct workers *ws, const struct job *j)
{
	return j->worker == NULL ? &ws->jobs : &j->worker->jobs;
}

static struct job *
next_job(const struct worker *w)
{
	struct heap_node *any = heap_first(&w->workers->jobs), *own = heap_first(&w->jobs);
	struct heap_node *n = any == NULL || (own != NULL && own->key <= any->key) ? own : any;

	return n == NULL ? NULL : HEAP_ENTRY(n, struct job, node);
}

static void on_job_answer(void *arg, struct ipc_in *in);

static void
worker_begin_next(struct worker *w)
{
	struct workers *ws = w->workers;
	struct job *j;

	if (w->conn == NULL || w->call != NULL || (j = next_job(w)) == NULL)
		return;
	if (j->node.key > ws->turn)
		ws->turn = j->node.key;
	heap_remove(heap_of(ws, j), &j->node);
	j->worker = w;
	j->generation = w->generation;
	w->job = j;
	w->call =
	    ipc_conn_call(w->conn, &j->message, j->signature, WORKER_CALL_MS, on_job_answer, w);
}

static void
on_job_answer(void *arg, struct ipc_in *in)
{
	struct worker *w = arg;
	struct job *j = w->job;

	w->call = NULL;
	w->job = NULL;
	if (j != NULL)
		j->done(j, in);
	worker_begin_next(w);
}

int64_t
workers_turn(const struct workers *w, int64_t last)
{
	return (w->turn > last ? w->turn : last) + 1;
}

void
workers_ask(
    struct workers *ws, struct job *j, struct ipc_out *o, const char *signature, int64_t turn)
{
	if (o != &j->message)
		j->message = *o;
	j->signature = signature;
	heap_insert(heap_of(ws, j), &j->node, turn);
	for (unsigned i = 0; i < ws->count && j->node.at != 0; i++)
		worker_begin_next(&ws->sasl[i]);
}

bool
job_cancel(struct workers *ws, struct job *j)
{
	if (j->node.at != 0) {
		heap_remove(heap_of(ws, j), &j->node);
		ipc_out_clear(&j->message);
		return true;
	}
	if (j->worker != NULL && j->worker->job == j)
		j->worker->job = NULL;
	return false;
}

struct ipc_conn *
job_worker(const struct job *j)
{
	return j->worker == NULL || j->worker->generation != j->generation ? NULL : j->worker->conn;
}

/* What only a dead worker could have done. */
static void
drop_jobs(struct worker *w)
{
	struct heap_node *n;

	while ((n = heap_first(&w->jobs)) != NULL) {
		struct job *j = HEAP_ENTRY(n, struct job, node);

		heap_remove(&w->jobs, n);
		ipc_out_clear(&j->message);
		j->done(j, NULL);
	}
}

/* --- life of a worker ------------------------------------------------------------------------- */

static void
on_hello(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct worker *w = arg;
	unsigned status = ipc_get_u32(in);

	(void)c;
	if (status != 0)
		log_error("%s worker: %s", w->is_db ? "database" : "sasl", lqs(ipc_get_str(in)));
}

static void worker_spawn(struct worker *w);

static void
on_respawn(void *arg)
{
	worker_spawn(arg);
}

static void
on_worker_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct worker *w = arg;
	unsigned pauses;

	(void)c;
	w->conn = NULL;
	w->generation++;
	log_warn("%s worker died: %s", w->is_db ? "database" : "sasl", why->text);
	drop_jobs(w);
	w->deaths = clock_mono_ms() - w->spawned_ms >= STEADY_MS ? 0 : w->deaths + 1;
	/* what the others do goes on meanwhile */
	pauses = w->deaths < 3 ? 0 : w->deaths - 3;
	loop_timer_start(&w->respawn,
	    w->deaths < 3 ? 0
			  : RESPAWN_MS << (pauses < RESPAWN_DOUBLES ? pauses : RESPAWN_DOUBLES));
}

static const struct ipc_handler from_worker[] = {
	{ WORKER_HELLO, "us", IPC_STATE_ANY, on_hello },
	{ WORKER_WANT_LINK, "", IPC_STATE_ANY, on_want_link },
	{ 0 },
};
static const struct ipc_conn_ops worker_ops = { .handlers = from_worker,
	.on_close = on_worker_gone };

static void
worker_adopt(struct worker *w, int fd)
{
	struct workers *ws = w->workers;

	w->conn = ipc_conn_new(ws->loop, fd, &worker_ops, w);
	w->spawned_ms = clock_mono_ms();
	if (!w->is_db)
		make_link(ws, w);
	for (unsigned i = 0; w->is_db && i < ws->count; i++)
		make_link(ws, &ws->sasl[i]);
	if (!w->is_db)
		worker_begin_next(w);
}

static void
worker_spawn(struct worker *w)
{
	struct workers *ws = w->workers;
	struct err e;
	int fd = nursery_spawn(w->is_db ? ws->db_nursery : ws->sasl_nursery, &e);

	if (fd < 0)
		log_fatal("%s worker: %s", w->is_db ? "database" : "sasl", e.text);
	worker_adopt(w, fd);
}

/* The first of its kind: waits for its first message and takes its word on what is wrong. */
static int
worker_first(struct worker *w, int nursery, struct err *err)
{
	char packet[IPC_MAX_PACKET];
	struct ipc_in in = { 0 };
	int fd = nursery_spawn(nursery, err);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = ipc_recv_packet(fd, packet, sizeof packet, in.fds, &in.nfds);
	if (n <= 0)
		err_set(
		    err, ERR_TEMP, "%s worker: died at its start", w->is_db ? "database" : "sasl");
	else if (ipc_in_parse(&in, packet, (size_t)n, err) == 0 &&
		 ipc_in_check(&in, "us", err) == 0) {
		if (ipc_get_u32(&in) == 0) {
			worker_adopt(w, fd);
			return 0;
		}
		err_set(err, ERR_PERM, "%s", ipc_get_str(&in));
	}
	ipc_in_close_fds(&in);
	fd_close(&fd);
	return -1;
}

static void
worker_init(struct workers *ws, struct worker *w, bool is_db)
{
	w->workers = ws;
	w->is_db = is_db;
	heap_init(&w->jobs);
	loop_timer_init(&w->respawn, ws->loop, on_respawn, w);
}

int
workers_start(struct loop *l, const struct authd_conf *conf, const struct sandbox_plan *db_cage,
    const struct sandbox_plan *sasl_cage, struct workers **out, struct err *err)
{
	struct workers *ws = x_calloc(1, sizeof *ws);

	*ws = (struct workers){ .loop = l, .conf = conf, .db_nursery = -1, .sasl_nursery = -1 };
	worker_init(ws, &ws->db, true);
	ws->db_nursery = nursery_start(&db_kind, conf, db_cage, err);
	if (ws->db_nursery >= 0)
		ws->sasl_nursery = nursery_start(&sasl_kind, conf, sasl_cage, err);
	if (ws->sasl_nursery < 0 || worker_first(&ws->db, ws->db_nursery, err) < 0) {
		workers_free(&ws);
		return -1;
	}
	for (; ws->count < conf->workers; ws->count++) {
		worker_init(ws, &ws->sasl[ws->count], false);
		if (worker_first(&ws->sasl[ws->count], ws->sasl_nursery, err) < 0) {
			workers_free(&ws);
			return -1;
		}
	}
	*out = ws;
	return 0;
}

void
workers_free(struct workers **w)
{
	struct workers *ws = *w;

	*w = NULL;
	if (ws == NULL)
		return;
	for (unsigned i = 0; i < ws->count; i++) {
		loop_timer_stop(&ws->sasl[i].respawn);
		ipc_call_cancel(ws->sasl[i].call);
		ipc_conn_close(ws->sasl[i].conn);
		heap_clear(&ws->sasl[i].jobs);
	}
	heap_clear(&ws->jobs);
	loop_timer_stop(&ws->db.respawn);
	ipc_conn_close(ws->db.conn);
	fd_close(&ws->db_nursery);
	fd_close(&ws->sasl_nursery);
	free(ws);
}

struct ipc_conn *
workers_db(struct workers *w)
{
	return w->db.conn;
}
