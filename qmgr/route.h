/* route.h - where a recipient's mail goes, found anew for every attempt.
 *
 * What was accepted is an address, expanded once.  Transport and next hop are the configuration's: a corrected
 * table, and a domain that has come here or gone away, count for mail that waits too (as Postfix's qmgr asks
 * trivial-rewrite each time).  authd, who has the tables, is asked for many recipients at once; not at all where the
 * configuration has nothing but relayhost and our domains, but for a mailbox's owner when its domain has become ours.
 *
 * The transports error, retry and discard have their answer here. */
#ifndef QMGR_ROUTE_H
#define QMGR_ROUTE_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "qmgr/queue.h"

/* Borrowed. */
struct route_conf {
	const char *relayhost; /* "" = by the address's domain */
	const char *mailbox_domains, *destination;
	bool has_rules; /* authd knows more: tables, or transports other than these */
};
void route_conf_read(const struct conf *from, struct route_conf *out);

/* Where one recipient's mail goes now. */
struct route {
	uint32_t transport;  /* enum transport; 0: nobody knows */
	const char *nexthop; /* "" = by the domain */
	uint32_t uid, gid;
	bool
	    is_answered; /* by us: error, retry, discard, unknown users, and what cannot be found out now */
	enum delivery_status status;
	char dsn[12];
	const char *text;
	char unknown[ENVELOPE_MAX_STRING + 32]; /* of text, maybe */
};

struct routes;
/* What can be said without authd: true.  filter: of the message, "" or NULL = none. */
bool route_now(
    const struct routes *r, const char *filter, const struct recipient *to, struct route *out);
/* The next group of AUTHD_ROUTE_SIG, about this address; strings are in the packet. */
void route_take(struct ipc_in *in, const char *address, struct route *out);
struct routes *routes_new(struct queue *q, struct ipc_edge *authd, const struct route_conf *conf);
void routes_free(struct routes *r);
/* Sets transport and nexthop of the recipients of m that are to be tried; ends with queue_routed. */
void routes_find(struct routes *r, struct message *m);

#endif
