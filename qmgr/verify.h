/* verify.h - would mail for this address be taken where it goes (Postfix's verify(8))?
 *
 * What is known is answered at once; else a probe goes the way of mail - resolved, routed, scheduled, to relay, which ends the
 * transaction behind RCPT TO.  A probe is a message without content that is in nobody's list: nothing of it is stored, nobody
 * is told of it, and it has one recipient.  Addresses of mailboxes here are known by what authd says.
 *
 * All who ask for an address wait for the same probe.  Bounded are the probes under way, and of these the share that one client,
 * and one domain, may have, so that nobody makes us press others; and a probe waits its turn at its destination like
 * mail, before which it comes. */
#ifndef QMGR_VERIFY_H
#define QMGR_VERIFY_H

#include "qmgr/schedule.h"
#include "qmgr/verify_cache.h"

/* Strings are borrowed. */
struct verify_conf {
	struct verify_times times;
	const char *sender; /* whole; "" = <> */
	bool is_stored;     /* address_verify_map */
	int64_t cleanup_ms; /* 0 = never */
	size_t probes_max;
};
void verify_conf_read(const struct conf *c, struct verify_conf *out);

struct verify;
struct verify *verify_new(
    struct queue *q, struct schedule *s, struct ipc_edge *authd, const struct verify_conf *conf);
void verify_free(struct verify *v); /* before the schedule; NULL is allowed */
/* No new probes; what is known is stored. */
void verify_drain(struct verify *v);
bool verify_is_quiet(const struct verify *v);

/* QMGR_VERIFY.  v may be NULL. */
void verify_ask(struct verify *v, struct ipc_conn *c, struct ipc_in *in);
/* Who asked over this connection has gone. */
void verify_leave(struct verify *v, struct ipc_conn *c);

/* The queue's: where a probe goes is known; its recipient is answered. */
void verify_routed(struct verify *v, struct message *m);
void verify_probed(struct verify *v, struct message *m);

#endif
