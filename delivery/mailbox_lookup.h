/* mailbox_lookup.h - where is the mailbox of this address?  Asks authd over the minted edge (AUTHD_MAILBOX), one
 * question an address at a time, and remembers positive answers for a few seconds: a message to many comes as many
 * recipients, and mail comes in bursts.
 *
 * The edge may be lost (authd was restarted): questions then wait for the new one that on_edge_lost asks for,
 * until LOOKUP_TIMEOUT_MS have passed. */
#ifndef DELIVERY_MAILBOX_LOOKUP_H
#define DELIVERY_MAILBOX_LOOKUP_H

#include "common/event/loop.h"
#include "common/ipc/msg/authd.h"

#include <sys/queue.h>
#include <sys/types.h>

enum { LOOKUP_TIMEOUT_MS = 30000, LOOKUP_CACHE_MS = 5000, LOOKUP_CACHE_MAX = 10000 };

struct mailbox_answer {
	enum authd_status
	    status; /* AUTHD_OK, AUTHD_NO, AUTHD_FULL; anything else: try again later */
	const char *account, *home; /* valid during the callback */
};

/* One who waits; member of the caller's struct, which stays until the callback came. */
struct mailbox_waiter {
	TAILQ_ENTRY(mailbox_waiter) link;
	void (*cb)(void *arg, const struct mailbox_answer *answer);
	void *arg;
};

struct mailbox_lookup;
/* uid: mailboxes of another owner are refused. */
struct mailbox_lookup *mailbox_lookup_new(
    struct loop *l, uid_t uid, void (*on_edge_lost)(void *arg), void *arg);
void mailbox_lookup_free(struct mailbox_lookup *m); /* no callback comes any more */
/* Takes a new edge to authd. */
void mailbox_lookup_set_edge(struct mailbox_lookup *m, int fd);
/* The callback may come before this returns. */
void mailbox_lookup_start(struct mailbox_lookup *m, const char *address, struct mailbox_waiter *w,
    void (*cb)(void *arg, const struct mailbox_answer *answer), void *arg);

#endif
