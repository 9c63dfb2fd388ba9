/* intake.h - smtpd's edge: BEGIN, BODY, COMMIT, ABORT (common/ipc/msg/qmgr.h).
 *
 * What comes over it is hostile: descriptors are checked for seals, type and size, the envelope is decoded
 * before it is stored, and a body file is believed only when nobody can write it any more.  QMGR_OK means
 * durable. */
#ifndef QMGR_INTAKE_H
#define QMGR_INTAKE_H

#include "common/ipc/conn.h"
#include "qmgr/contain.h"
#include "qmgr/queue.h"
#include "qmgr/verify.h"

struct intake_conf {
	uint64_t message_size_limit; /* 0 = none */
	struct contain *contain;     /* borrowed; NULL: nobody's mail is held */
	struct verify *verify;       /* borrowed; NULL: QMGR_VERIFY is answered by "not now" */
};

struct intake;
struct intake *intake_new(struct queue *q, const struct intake_conf *conf);
void intake_free(struct intake
	*in); /* connections must have gone; commits under way are waited for by the queue */
extern const struct ipc_conn_ops intake_ops;
/* A connection of smtpd: made with intake_ops. */
void intake_open(struct intake *in, struct ipc_conn *c);
/* Messages that would fail if this process ended now: commits under way, and bodies that are files.  Others can be committed
 * to the next life, under the ids that this one gave. */
size_t intake_pending(const struct intake *in);

/* Commits f, which is complete and, if it has a file, settled; f is consumed.  fn(arg, status) when it is
 * durable or refused, never from within.  Where recipients have senders of their own (ENVELOPE_MAX_SENDERS at most) f keeps
 * those of the first recipient's sender, and the others are messages of their own, of the same group of records. */
void intake_commit(
    struct queue *q, struct fresh *f, void (*fn)(void *arg, enum qmgr_status status), void *arg);

#endif
