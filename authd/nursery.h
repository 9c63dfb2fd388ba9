/* nursery.h - a process that does nothing but fork workers of one kind.
 *
 * authd's loop must not fork workers itself: a child would hold a copy of its tickets, its
 * connections and passwords in flight.  And after its cage is closed the loop has no file left
 * that a new database worker could open.  So each kind of worker has a nursery, forked before
 * the loop has met anybody, in the cage of its workers; it takes no input but "one more, here is
 * its socket".  When the loop ends, nursery and workers do. */
#ifndef AUTHD_NURSERY_H
#define AUTHD_NURSERY_H

#include "authd/authd_conf.h"
#include "common/sandbox/sandbox.h"

struct nursery_kind {
	const char *name; /* for messages */
	/* In the nursery, before its cage closes: loads what is loaded lazily, opens what the
	 * workers may not reach by its path.  May be NULL. */
	int (*prepare)(const struct authd_conf *conf, struct err *err);
	void (*run)(const struct authd_conf *conf, int fd); /* never returns */
};

/* Forks it; plan is its cage and its workers' (NULL: none, for unit tests).  The socket to it,
 * or -1: *err says what kept it from starting. */
int nursery_start(const struct nursery_kind *kind, const struct authd_conf *conf,
    const struct sandbox_plan *plan, struct err *err);
/* One more worker.  The socket to it, blocking, or -1.  Its first message is WORKER_HELLO. */
int nursery_spawn(int nursery, struct err *err);

#endif
