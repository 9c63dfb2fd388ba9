/* workers.h - the loop's side of the worker processes: spawning, links between them, respawning.
 *
 * A worker that dies fails the calls that were waiting for it and is replaced by its nursery;
 * one that dies again and again is replaced after growing pauses, and the others work on. */
#ifndef AUTHD_WORKERS_H
#define AUTHD_WORKERS_H

#include "authd/authd_conf.h"
#include "common/ipc/conn.h"
#include "common/sandbox/sandbox.h"

enum { WORKERS_MAX = 64, WORKER_CALL_MS = 40000, WORKER_CALLS_MAX = 2048 };

struct workers;
struct worker {
	struct workers *workers;
	bool is_db;
	struct ipc_conn *conn; /* NULL while it is being replaced */
	unsigned generation;   /* counts up with every replacement */
	unsigned waiting;      /* calls under way: the users of SASL workers keep count */
	struct loop_timer respawn;
	unsigned deaths; /* in a row, none of them after a steady life */
	int64_t spawned_ms;
};

/* db_cage, sasl_cage: NULL in unit tests only.  Blocks until the database is open, so that a
 * start that fails says why. */
int workers_start(struct loop *l, const struct authd_conf *conf, const struct sandbox_plan *db_cage,
    const struct sandbox_plan *sasl_cage, struct workers **out, struct err *err);
void workers_free(struct workers **w);
/* Connection to the database worker, NULL while there is none. */
struct ipc_conn *workers_db(struct workers *w);
/* The SASL worker with the least to do; NULL when all are overloaded or being replaced. */
struct worker *workers_pick(struct workers *w);

#endif
