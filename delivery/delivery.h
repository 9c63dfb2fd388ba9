/* delivery.h - the delivery process of one mailbox uid: takes jobs from qmgr, finds the mailboxes, delivers in
 * batches, reports each recipient once (DESIGN 5.7).
 *
 * The loop never touches a file: that is done by one flush thread (batch.h).  While it works, what comes in
 * gathers to the next batch; alone, a message is a batch of its own, at once. */
#ifndef DELIVERY_DELIVERY_H
#define DELIVERY_DELIVERY_H

#include "common/event/loop.h"
#include "common/ipc/conn.h"

#include <sys/types.h>

struct delivery_config {
	int base_fd;      /* directory of all mailboxes; owned by struct delivery from here on */
	uid_t uid;        /* whose mailboxes */
	const char *host; /* for file names */
	unsigned batch_limit; /* copies that share one flush */
	int64_t max_idle_ms;
};
struct delivery_ops {
	void (*on_changed)(void *arg, const char *account); /* mail came into its INBOX */
	void (*on_want_authd)(void *arg);                   /* the edge to authd was lost */
	void (*on_idle)(void *arg);                         /* nothing to do for max_idle_ms */
	void (*on_drained)(void *arg); /* after delivery_drain: all is done and told */
};

struct delivery;
struct delivery *delivery_new(struct loop *l, const struct delivery_config *config,
    const struct delivery_ops *ops, void *arg);
void delivery_free(struct delivery *d);
/* Starts the flush thread: inside the cage, before the first job. */
void delivery_start(struct delivery *d);
void delivery_add_qmgr(struct delivery *d, int fd); /* takes the descriptor */
void delivery_set_authd(struct delivery *d, int fd);
/* Finishes what it has, takes nothing new, calls on_drained. */
void delivery_drain(struct delivery *d);

#endif
