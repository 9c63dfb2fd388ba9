/* authd.h - authd's loop: peers on its edges, their requests, tickets.  It reads no file and no
 * password hash; what needs those is a message to a worker (workers.h).
 *
 * Ownership: authd -> peers -> exchanges and requests.  Closing a peer's connection frees its
 * exchanges; a request that a worker has not answered yet loses its peer and ends with the
 * answer. */
#ifndef AUTHD_AUTHD_H
#define AUTHD_AUTHD_H

#include "authd/authd_conf.h"
#include "authd/origins.h"
#include "authd/tickets.h"
#include "authd/workers.h"
#include "common/ipc/edges.h"

struct authd {
	struct loop *loop;
	struct authd_conf conf;
	struct workers *workers; /* owned */
	struct tickets tickets;
	struct origins origins;
	uint64_t next_exchange;
	size_t exchanges;              /* of all peers */
	struct exchange_list yielding; /* front.c: those that make room for others, oldest first */
	size_t requests;               /* waiting for a worker */
	size_t minted;                 /* edges open */
	int null_fd;                   /* goes where a descriptor is due and there is none */
	void (*on_idle)(void *arg);    /* told when exchanges and requests are 0; may be NULL */
	void *idle_arg;
};

struct request;
LIST_HEAD(request_list, request);

/* One connection to us. */
struct peer {
	struct authd *authd;
	enum role role; /* of the edge it came through */
	struct ipc_conn *conn;
	pid_t pid; /* kernel's word */
	uid_t uid;
	struct map exchanges; /* front's session id -> struct exchange (front.c) */
	struct exchange_list yielding;
	int64_t last_session; /* the highest id that was used; -1: none was */
	struct request_list requests;
	/* minted edges */
	struct ticket *ticket; /* owned: what may be redeemed here, once */
	uid_t mailbox_uid;     /* of a delivery process's edge */
};

/* What one peer waits for.  Every kind of request begins with this struct. */
struct request {
	LIST_ENTRY(request) link;
	struct authd *authd;
	struct peer *peer; /* NULL: it has gone; nobody wants the answer */
	uint32_t id;       /* of the message to be answered */
};

int authd_new(struct loop *l, const struct authd_conf *conf, const struct sandbox_plan *db_cage,
    const struct sandbox_plan *sasl_cage, struct authd **out, struct err *err);
void authd_free(struct authd **a);
bool authd_is_idle(const struct authd *a);
void authd_check_idle(struct authd *a);

/* For daemon_serve: a connection from role was accepted. */
const struct ipc_conn_ops *authd_ops(enum role role);
void authd_open(struct authd *a, enum role role, struct ipc_conn *c);

/* Messages by edge: front.c (smtpd, login fronts), recipients.c (smtpd, qmgr), handover.c
 * (master, minted edges), control.c (tool). */
extern const struct ipc_handler authd_from_smtpd[], authd_from_login[], authd_from_qmgr[],
    authd_from_relay[], authd_from_master[], authd_from_tool[], authd_from_session[],
    authd_from_delivery[];

/* size bytes, zeroed but for the request at their start, which is on peer's list. */
void *authd_request_new(size_t size, struct peer *p, uint32_t id);
void authd_request_free(struct request *r); /* NULL is allowed */
/* Sends *o (cleared) to the database worker; cb(r, in) gets the answer or NULL, at once when
 * there is no worker. */
void authd_request_ask_db(struct request *r, struct ipc_out *o, const char *signature,
    void (*cb)(void *arg, struct ipc_in *in));
/* Answers with the fields of in as they stand (no descriptors), and ends the request; in NULL:
 * ends it with an authd_status of AUTHD_TEMP and what else signature asks for empty. */
void authd_request_relay(struct request *r, struct ipc_in *in, const char *signature);

/* A peer over one end of a new pair; *fd gets the other end.  NULL: out of descriptors, or too
 * many. */
struct peer *authd_peer_mint(struct authd *a, enum role role, int *fd);
void authd_peer_free(struct peer *p);
/* front.c: ends the exchanges of a peer that goes. */
void front_drop_exchanges(struct peer *p);

#endif
