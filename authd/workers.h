/* workers.h - the loop's side of the worker processes: spawning, links between them, respawning,
 * and the queue of what the SASL workers have to do.
 *
 * A SASL worker has one job at a time, so that what its asker has lost interest in costs nothing
 * if it has not begun.  Jobs wait for their turn, a number: each next job of one asker has a
 * higher one, and a new asker begins behind the job that began last (start-time fair queueing).
 * So an asker with a thousand jobs delays another's by one, and k askers by k.
 *
 * A worker that dies fails the calls that were waiting for it and is replaced by its nursery;
 * one that dies again and again is replaced after growing pauses, and the others work on. */
#ifndef AUTHD_WORKERS_H
#define AUTHD_WORKERS_H

#include "authd/authd_conf.h"
#include "common/base/heap.h"
#include "common/ipc/conn.h"
#include "common/sandbox/sandbox.h"

enum { WORKERS_MAX = 64, WORKER_CALL_MS = 40000 };

/* A message to a SASL worker and its answer.  A member of the asker's struct, zeroed at first;
 * the same struct asks again, then the same worker. */
struct job {
	struct heap_node node; /* while it waits for its turn */
	struct worker *worker; /* who has to do it; NULL: whoever is free first */
	unsigned generation;   /* of that worker */
	struct ipc_out message;
	const char *signature;
	/* in NULL: the worker died or does not answer */
	void (*done)(struct job *j, struct ipc_in *in);
};

struct workers;
struct worker {
	struct workers *workers;
	bool is_db;
	struct ipc_conn *conn; /* NULL while it is being replaced */
	unsigned generation;   /* counts up with every replacement */
	struct ipc_call *call; /* the SASL worker owes its answer; NULL: it is free */
	struct job *job;       /* which the call is for; NULL: nobody wants the answer any more */
	struct heap jobs;      /* that only it can do */
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

/* The turn of an asker's next job, the last of which had this (0: none). */
int64_t workers_turn(const struct workers *w, int64_t last);
/* Takes *o over.  done is called once, from the loop, unless the job is cancelled before.  A job
 * whose worker has died since (job_worker NULL) must not be asked. */
void workers_ask(
    struct workers *w, struct job *j, struct ipc_out *o, const char *signature, int64_t turn);
/* true: it had not begun. */
bool job_cancel(struct workers *w, struct job *j);
/* Connection to the worker that did the job's last message; NULL: none did, or it is no more. */
struct ipc_conn *job_worker(const struct job *j);

#endif
