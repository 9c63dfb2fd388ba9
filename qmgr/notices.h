/* notices.h - makes notices to senders and to the postmaster: finds out where they go, reads what they return, renders
 * them.  A failure whose sender cannot exist, one of our own domains says so, goes to the postmaster as a double bounce. */
#ifndef QMGR_NOTICES_H
#define QMGR_NOTICES_H

#include "common/ipc/conn.h"
#include "qmgr/notice_texts.h"
#include "qmgr/queue.h"

struct notices_conf {
	const char *myhostname, *mail_name; /* borrowed */
	uint64_t bounce_size_limit;
	/* whole addresses; borrowed */
	const char *bounce_recipient, *delay_recipient, *double_bounce_recipient;
	const char *double_bounce; /* sender of what goes to the postmaster */
	struct notice_texts *texts;
};

struct notices;
/* authd: borrowed. */
struct notices *notices_new(
    struct queue *q, struct ipc_edge *authd, const struct notices_conf *conf);
void notices_free(struct notices *n);
/* The queue's wish (struct queue_ops): ends with queue_noticed. */
void notices_notify(struct notices *n, struct message *m, enum notice_kind kind);

#endif
