/* schedule.h - who is tried when: destinations, their concurrency, and the processes that deliver.
 *
 * A destination is a mailbox uid (its delivery process) or a transport and nexthop (any relay worker).  Remote ones have
 * a window of concurrent jobs that grows with success and shrinks when the destination itself cannot be
 * reached; one that fails a whole window's worth is left alone for a while, and what is queued for it is
 * deferred unattempted (Postfix's scheduler).  Domains with the same mail exchangers have a window of those, too, which
 * learns from what their provider says (site.c).  Destinations take turns, and within one the tenants do (tenant.h), of a
 * tenant his senders, of a sender his messages.
 */
#ifndef QMGR_SCHEDULE_H
#define QMGR_SCHEDULE_H

#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "qmgr/queue.h"
#include "qmgr/throttle.h"

/* TRANSPORT_destination_... of postconf(5). */
struct dest_conf {
	unsigned concurrency_limit, initial_concurrency; /* limit 0 = none */
	unsigned recipient_limit;     /* 1: each recipient is a destination of his own; 0 = none */
	unsigned failed_cohort_limit; /* 0 = never dead */
	struct feedback positive, negative;
	int64_t rate_delay_ms; /* between two deliveries, which then go one by one */
	bool wants_client;     /* is told who gave us the message (XFORWARD) */
};
struct schedule_conf {
	struct dest_conf local, smtp, lmtp;
	unsigned relay_jobs;           /* at a time on one connection to a relay worker */
	unsigned mx_concurrency_limit; /* at one set of mail exchangers; 0 = none */
	bool has_limits;               /* destination_limit_maps */
	int64_t min_backoff_ms, max_backoff_ms;
};
/* -1: *err names the parameter. */
int schedule_conf_read(const struct conf *c, struct schedule_conf *out, struct err *err);

struct schedule;
/* want_delivery(arg, uid, gid): somebody is to call schedule_delivery with the process's connection. */
/* authd: for destination_limit_maps; NULL when there is none. */
struct schedule *schedule_new(struct loop *l, struct queue *q, const struct schedule_conf *conf,
    struct ipc_edge *authd, void (*want_delivery)(void *arg, uint32_t uid, uint32_t gid),
    void *arg);
void schedule_free(struct schedule *s);
/* fd: SEQPACKET to the delivery process of uid, owned from here on; -1: it cannot be had. */
void schedule_delivery(struct schedule *s, uint32_t uid, int fd);

/* What is known of the destination of a recipient, whose route is set. */
struct schedule_view {
	const struct dest_conf *conf;
	bool is_known;      /* something is, or was lately, on its way there */
	unsigned window;    /* of concurrent jobs, now; 0: not known */
	const char *why;    /* it is left alone, since; NULL: it is not */
	bool has_limits;    /* destination_limit_maps are asked for it */
	char nexthop[1100]; /* as it is known to them */
};
void schedule_look(const struct schedule *s, const struct recipient *r, struct schedule_view *out);
/* NULL: there is none. */
struct ipc_edge *schedule_any_relay(const struct schedule *s);

/* One relay connection: make the edge with these ops and this argument, then attach it. */
struct peer;
extern const struct ipc_conn_ops schedule_relay_ops;
struct peer *schedule_relay_new(struct schedule *s);
void schedule_relay_attach(
    struct peer *p, struct ipc_edge *edge); /* borrowed for the schedule's life */

/* The queue's wishes (struct queue_ops). */
void schedule_start(struct schedule *s, struct message *m);
void schedule_stop(struct schedule *s, struct message *m);
void schedule_content(struct schedule *s, struct message *m);
/* Its jobs go, those that are out, too: only before schedule_free. */
void schedule_forget(struct message *m);
/* Nothing more is handed out. */
void schedule_drain(struct schedule *s);
size_t schedule_flying(const struct schedule *s); /* jobs handed out and not answered */
/* Forgets that destinations failed (estafeta queue flush). */
void schedule_forgive(struct schedule *s);

#endif
