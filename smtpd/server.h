/* server.h - one smtpd process: its sessions, its edges, its limits.  Knows nothing of the daemon's life, so that
 * a test can run it. */
#ifndef SMTPD_SERVER_H
#define SMTPD_SERVER_H

#include "common/base/map.h"
#include "common/ipc/conn.h"
#include "common/net/tls.h"
#include "smtpd/config.h"

#include <sys/queue.h>

struct smtpd_session;
LIST_HEAD(smtpd_session_list, smtpd_session);
struct smtpd_claim;
struct smtpd_explain;
LIST_HEAD(smtpd_explain_list, smtpd_explain);
struct smtpd_proxy;
LIST_HEAD(smtpd_proxy_list, smtpd_proxy);

struct smtpd_server {
	struct loop *loop; /* borrowed, as are the edges and the configuration */
	const struct smtpd_config *conf;
	struct ipc_edge *authd, *qmgr, *dnsd, *dialer;
	struct ipc_edge *anvil; /* NULL: nobody is limited, the screen forgets */
	const char *service;    /* name in master.cf, for the log and anvil */
	/* Called when connections should not be accepted, and when they should again. */
	void (*on_full)(void *arg, bool is_full);
	/* Draining, and the last session has ended. */
	void (*on_empty)(void *arg);
	void *arg;

	struct tls_context *tls; /* owned; NULL while there is none */
	struct loop_timer tls_retry;
	bool tls_was_tried, is_draining, is_full;
	struct smtpd_session_list sessions;
	size_t nsessions;
	bool is_stressed;   /* so many sessions that each gets less patience */
	struct smtpd_proxy_list proxied; /* connections whose client is not known yet */
	size_t nproxied;
	struct smtpd_explain_list explained; /* see explain.h */
	size_t nexplained;
	struct map clients; /* address -> struct client_count, owned */
	int64_t
	    name_patience_ms; /* how long a command waits for its client's name, see client_name.h */
	uint32_t next_id;
	int64_t anvil_pause_until_ms; /* see anvil_client.h */
	bool anvil_is_lost;
};

/* Fills the private part; the fields above `tls` are set by the caller.  Asks for the TLS context; until the answer
 * is there the server counts as full. */
void smtpd_server_start(struct smtpd_server *v);
/* Ends every session and frees what is owned. */
void smtpd_server_clear(struct smtpd_server *v);
/* A new client; fd is owned from here on. */
void smtpd_server_accept(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer);
/* Each session may finish its transaction, or the next one, and gets 421 after it (RFC 5321 3.8); on_empty follows,
 * maybe at once. */
void smtpd_server_drain(struct smtpd_server *v);
/* For proxy_wait.c: the client is known; local NULL: the socket's own address. */
void smtpd_server_enter(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer,
    const struct sockaddr_storage *local);
/* For explain.c: such a client, which counts for no limit. */
void smtpd_server_enter_claimed(struct smtpd_server *v, int fd, const struct smtpd_claim *claim);
/* For proxy_wait.c: one went that brought nobody. */
void smtpd_server_proxy_left(struct smtpd_server *v);
/* The suite stops: every session that is not waiting for an answer of ours ends with 421 now. */
void smtpd_server_stop(struct smtpd_server *v);

/* What a client is granted now. */
const struct smtpd_patience *smtpd_server_patience(const struct smtpd_server *v);
/* For sessions: a number that tells this server's SASL exchanges apart. */
uint32_t smtpd_server_next_id(struct smtpd_server *v);
/* For sessions: one has ended and is off the list; client_ip NULL: it was not counted. */
void smtpd_server_left(struct smtpd_server *v, const char *client_ip);

#endif
