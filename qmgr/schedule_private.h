/* schedule_private.h - what schedule.c and peer.c share. */
#ifndef QMGR_SCHEDULE_PRIVATE_H
#define QMGR_SCHEDULE_PRIVATE_H

#include "common/base/map.h"
#include "qmgr/schedule.h"

enum job_state {
	JOB_QUEUED,
	JOB_OPENING, /* its content is being read */
	JOB_FLYING,
	JOB_LOOSE, /* between two of these, in no list but its message's */
};

/* Recipients of one message for one destination. */
struct job {
	TAILQ_ENTRY(job) of_message;
	TAILQ_ENTRY(job) of_holder; /* the flow's jobs while QUEUED, the peer's while FLYING */
	struct message *m;
	struct dest *d;
	struct flow *f;   /* while QUEUED */
	struct peer *via; /* while FLYING */
	enum job_state state;
	uint32_t number;
	unsigned losses; /* peers that died with it */
	int64_t sent_ms;
	size_t nrcpts, cap, answered, bytes;
	bool saw_dead_destination;
	uint32_t *rcpts; /* owned: places in the envelope */
};

/* What one sender has for one destination. */
struct flow {
	TAILQ_ENTRY(flow) link;
	struct job_list jobs;
	char key[]; /* the login, or the sender's address */
};
TAILQ_HEAD(flow_list, flow);

struct dest {
	TAILQ_ENTRY(dest) link; /* in a ready list */
	bool is_ready, is_local;
	struct flow_list flows; /* with jobs; served in turn */
	struct map flows_by_key;
	struct job *building; /* for the message being started */
	size_t queued, flying;
	unsigned window;
	double failed_cohorts; /* failures since the last success, in windows */
	int64_t dead_until_ms, backoff_ms;
	char *why; /* owned: the last failure of the destination itself */
	uint32_t uid, gid;
	struct peer *peer; /* local: its delivery process; owned */
	char key[];
};
TAILQ_HEAD(dest_list, dest);

enum peer_state { PEER_NONE, PEER_ASKED, PEER_OPEN };

/* A process that delivers: one delivery process, or one connection to a relay worker. */
struct peer {
	TAILQ_ENTRY(peer) link; /* relay: all connections */
	struct schedule *s;
	struct dest *d; /* local only */
	enum peer_state state;
	struct ipc_conn *conn; /* local: owned; relay: the edge's */
	struct ipc_edge *edge; /* relay: borrowed */
	struct job_list jobs;  /* flying, oldest first */
	size_t flying;
	bool has_answered; /* somebody has accepted this connection */
	unsigned failures; /* in a row: it could not be had, or went away without an answer */
	int64_t retry_ms;
};
TAILQ_HEAD(peer_list, peer);

struct schedule {
	struct loop *loop;
	struct queue *q;
	struct schedule_conf conf;
	void (*want_delivery)(void *arg, uint32_t uid, uint32_t gid);
	void *arg;
	struct map dests; /* "v:uid", "r:nexthop" by SMTP, "l:nexthop" by LMTP */
	struct dest_list ready_local, ready_relay;
	struct peer_list relays;
	struct map jobs; /* FLYING, by number */
	uint32_t last_number;
	size_t flying, opening;
	struct loop_timer run_timer, watch_timer;
	bool is_draining;
};

/* schedule.c */
void schedule_run_soon(struct schedule *s, int64_t after_ms);
void schedule_dest_update(struct schedule *s, struct dest *d);
void schedule_job_requeue(struct schedule *s, struct job *j); /* first in its flow again */
void schedule_job_answer(
    struct schedule *s, struct job *j, const struct attempt *a); /* all that are open */
void schedule_job_done(struct schedule *s, struct job *j);       /* all are answered */
void schedule_dest_defer_all(struct schedule *s, struct dest *d, const char *why);

/* peer.c */
struct peer *peer_new(struct schedule *s, struct dest *d);
void peer_free(struct peer *p);
/* A peer that can take a job for d now, or NULL. */
struct peer *peer_for(struct schedule *s, struct dest *d);
/* Hands the job, whose content is open, to the peer.  -1: it could not be sent. */
int peer_send(struct peer *p, struct job *j);
/* One that has kept a job for hours has lost it. */
void peer_watch(struct peer *p, int64_t now_ms);

#endif
