/* contain.h - a login whose mail suddenly changes: its mail goes on hold, it hands in no more, the admin is told, until he releases it.
 *
 * Logins only: the domain of a sender is what a stranger writes, and to lock it would be his to do.  What was on hold before is the
 * admin's, and stays so at release. */
#ifndef QMGR_CONTAIN_H
#define QMGR_CONTAIN_H

#include "qmgr/contain_judge.h"
#include "qmgr/queue.h"
#include "qmgr/submit.h"

enum contain_action { CONTAIN_NONE, CONTAIN_WARN, CONTAIN_HOLD };
struct contain_conf {
	enum contain_action action;
	struct contain_limits limits;
	const char *exceptions;                /* logins that nothing is unusual of; borrowed */
	const char *notice_sender, *recipient; /* whole addresses; borrowed */
};

struct contain;
/* Reads what is on disk; blocks.  Inside the cage, when the pools of q run. */
struct contain *contain_new(
    struct queue *q, struct submit *submit, const struct contain_conf *conf);
/* What was learned, now: the process ends.  Blocks. */
void contain_save(struct contain *c);
void contain_free(struct contain *c); /* when the queue is quiet */

bool contain_is_locked(const struct contain *c, const char *login);
/* A message of a login was taken, a recipient of one failed; recipients of a login's were refused. */
void contain_accepted(struct contain *c, struct message *m);
void contain_failed(struct contain *c, const struct message *m);
void contain_refused(struct contain *c, const char *login, uint32_t n);

/* The admin's.  JSON lines: login, since (wall seconds), state, reason. */
void contain_list(const struct contain *c, struct buf *out);
/* fn(arg, ok) when it is durable, from the loop.  -1: *err (already so, not so, no such name), and fn does not come.  keep: its
 * mail stays on hold, and is the admin's from now on. */
int contain_hold(struct contain *c, const char *login, const char *reason,
    void (*fn)(void *arg, bool ok), void *arg, struct err *err);
int contain_release(struct contain *c, const char *login, bool keep, void (*fn)(void *arg, bool ok),
    void *arg, struct err *err);

#endif
