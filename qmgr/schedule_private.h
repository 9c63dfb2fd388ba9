/* schedule_private.h - what schedule.c and peer.c share. */
#ifndef QMGR_SCHEDULE_PRIVATE_H
#define QMGR_SCHEDULE_PRIVATE_H

#include "common/base/heap.h"
#include "common/base/map.h"
#include "qmgr/limits.h"
#include "qmgr/schedule.h"

enum job_state {
	JOB_QUEUED,
	JOB_OPENING, /* its content is being read */
	JOB_FLYING,
	JOB_LOOSE, /* between two of these, in no list but its message's */
};

/* Some recipients of one message for one destination. */
struct job {
	TAILQ_ENTRY(job) of_message;
	TAILQ_ENTRY(job) of_holder; /* the batch's jobs while QUEUED, the peer's while FLYING */
	struct message *m;
	struct dest *d;
	struct batch *batch; /* while QUEUED */
	struct peer *via;    /* while FLYING */
	enum job_state state;
	uint32_t number;
	unsigned losses; /* peers that died with it */
	int64_t sent_ms;
	size_t nrcpts, cap, answered, bytes;
	bool saw_dead_destination, saw_throttling;
	uint32_t *rcpts; /* owned: places in the envelope */
};

/* What waits for a destination: its tenants take turns, of a tenant its senders (flows), of a sender his messages
 * (batches).  Those that have not had a turn and those that have go alternately, so that a single mail is not behind a
 * mailing of thousands, nor a mailing behind any number of single mails. */
struct batch {
	TAILQ_ENTRY(batch) link;
	struct flow *f;
	struct job_list jobs; /* not empty */
	bool is_rest;         /* has had a turn */
};
TAILQ_HEAD(batch_list, batch);

struct flow {
	TAILQ_ENTRY(flow) link;
	struct share *share;
	struct batch_list batches[2]; /* by is_rest; not both empty */
	bool rest_is_next;
	size_t key_len;
	char key[]; /* the tenant's, and the sender's address */
};
TAILQ_HEAD(flow_list, flow);

struct share {
	TAILQ_ENTRY(share) link;
	uint64_t tenant;
	struct flow_list flows; /* not empty */
};
TAILQ_HEAD(share_list, share);

/* Remote destinations by how they are known.  One that has answered keeps room that the others, who may never
 * answer, cannot take. */
enum dest_class {
	DEST_LOCAL,
	DEST_PROVEN,  /* the last it did was to take mail */
	DEST_UNTRIED, /* has not answered yet, or not since it could not be reached */
	DEST_SLOW,    /* nothing has come of what it was given some seconds ago */
	DEST_CLASSES
};

/* Lets deliveries through to a destination, or to a site. */
struct gate {
	struct schedule *s;
	struct window window;
	size_t flying;
	struct rate rate;
	struct heap_node paused; /* until then nothing is handed out */
	unsigned recipients;     /* of one delivery at most; 0 = no limit */
	struct limits_query *query;
	struct loop_timer ask; /* again */
	bool is_unknown;       /* the admin's limits are asked for */
	bool is_site;
};

TAILQ_HEAD(dest_list, dest);

/* The mail exchangers that several destinations share, by the names of those of best preference.  Its window and pause
 * are what their provider's 421 and 4.7.x have taught. */
struct site {
	struct gate gate;
	size_t ndests;
	struct dest_list blocked; /* could have a job, were there room here */
	double refused;           /* such replies since it was last narrowed, in windows */
	int64_t delay_ms;         /* between two deliveries; 0 = none */
	int64_t learned_ms;       /* when it was last narrowed; 0 = never */
	char name[];
};

struct dest {
	struct gate gate;
	TAILQ_ENTRY(dest) link; /* in a ready list, or its site's blocked */
	struct site *site;      /* NULL: not known (yet) */
	bool is_ready, is_blocked, is_local;
	enum dest_class class;
	const struct dest_conf *conf;
	struct share_list shares;
	struct map shares_by_tenant, flows_by_key;
	struct job *building; /* for the message being started */
	size_t queued;
	double failed_cohorts;  /* failures since the last success, in windows */
	bool has_answered;      /* since it last could not be reached */
	int64_t quiet_since_ms; /* its last answer, or when it was first given something after it */
	int64_t dead_until_ms, backoff_ms;
	char *why; /* owned: the last failure of the destination itself */
	uint32_t uid, gid;
	struct peer *peer;       /* local: its delivery process; owned */
	struct peer *last_relay; /* remote: where its last job went; NULL = nowhere yet */
	char *nexthop;           /* owned */
	char key[];
};

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
	bool has_answered; /* somebody has accepted this connection, and said so */
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
	struct map
	    dests; /* "v:uid", "r:nexthop" by SMTP, "l:nexthop" by LMTP; "r:nexthop recipient" if each is one */
	struct dest_list ready[DEST_CLASSES];
	size_t busy[DEST_CLASSES]; /* jobs flying, by the present class of their destination */
	unsigned next_class;
	struct map sites;
	struct ipc_edge *authd;
	struct heap paused; /* gates */
	struct peer_list relays;
	size_t nrelays;
	struct map jobs; /* FLYING, by number */
	uint32_t last_number;
	size_t flying, opening;
	struct loop_timer run_timer, watch_timer, pause_timer;
	bool is_draining;
};

/* schedule.c */
void schedule_run_soon(struct schedule *s, int64_t after_ms);
void schedule_dest_update(struct schedule *s, struct dest *d);
void schedule_job_requeue(struct schedule *s, struct job *j); /* first of its sender's again */
void schedule_job_answer(
    struct schedule *s, struct job *j, const struct attempt *a); /* all that are open */
void schedule_job_done(struct schedule *s, struct job *j);       /* all are answered */
/* One job more, or one fewer, is with a peer. */
void schedule_dest_took_off(struct schedule *s, struct dest *d);
void schedule_dest_landed(struct schedule *s, struct dest *d);
void schedule_dest_defer_all(struct schedule *s, struct dest *d, const char *why);

/* gate.c */
void gate_init(struct gate *g, struct schedule *s, unsigned window, unsigned limit,
    unsigned recipients, bool is_site);
/* What destination_limit_maps says of its owner's name, and of that name's parents. */
void gate_ask(struct gate *g);
void gate_clear(struct gate *g);
bool gate_is_open(const struct gate *g);
/* It may be forgotten: nothing is known of it that would be lost. */
bool gate_is_idle(const struct gate *g, int64_t now_ms);
void gate_took_off(struct gate *g);
void gate_landed(struct gate *g);
void gate_pause(struct gate *g, int64_t ms);
void gate_pauses_over(void *arg); /* of the schedule's pause_timer */

/* site.c */
/* A reply has told whose mail exchangers these are. */
void site_join(struct schedule *s, struct dest *d, const char *name);
void site_leave(struct dest *d);
/* What came of a delivery: was it told to come more slowly? */
void site_learn(struct site *st, bool was_throttled, const char *why);
/* Those that wait for room here look again, as many as there is room for. */
void site_wake(struct site *st);
void sites_sweep(struct schedule *s, int64_t now_ms);
void sites_clear(struct schedule *s);

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
