/* notices.h - makes notices to senders: finds out where they go, reads what they return, renders them. */
#ifndef QMGR_NOTICES_H
#define QMGR_NOTICES_H

#include "common/ipc/conn.h"
#include "qmgr/queue.h"

struct notices_conf {
	const char *myhostname, *mail_name; /* borrowed */
	uint64_t bounce_size_limit;
};

struct notices;
/* authd: borrowed. */
struct notices *notices_new(
    struct queue *q, struct ipc_edge *authd, const struct notices_conf *conf);
void notices_free(struct notices *n);
/* The queue's wish (struct queue_ops): ends with queue_noticed. */
void notices_notify(struct notices *n, struct message *m, enum notice_kind kind);

#endif
