/* login.h - the login front that imapd and pop3d share: clients before they have logged in, and behind that
 * the bytes between them and their session process (DESIGN 3, Login).
 *
 * The front holds the client's connection and its TLS for its whole life.  It speaks just enough of the
 * protocol to offer TLS and to authenticate; authd decides and gives a ticket, master finds the session
 * process, which redeems the ticket itself.  So a front can never say who logged in.
 *
 * A protocol is a struct login_protocol of pure parsing and wording; all state that matters is here.
 */
#ifndef COMMON_LOGIN_LOGIN_H
#define COMMON_LOGIN_LOGIN_H

#include "common/base/err.h"
#include "common/config/conf.h"
#include "common/ipc/conn.h"
#include "common/ipc/edges.h"

#include <sys/socket.h>

struct daemon;
struct login_front;
struct login_client;

enum login_failure {
	LOGIN_WRONG,       /* user or password */
	LOGIN_UNAVAILABLE, /* authd, master or the session process: try later */
	LOGIN_NO_MECH,
	LOGIN_CANCELLED, /* by the client's "*" */
	LOGIN_MALFORMED, /* not base64, or not what the mechanism expects */
};

enum { LOGIN_LINE_MAX = 8192 }; /* a SASL response, and the longest command line */

struct login_protocol {
	const char *service; /* "imap", "pop3": towards authd and master */
	enum role role;      /* says which parameters name the certificates */
	size_t state_size;   /* of login_state(), zeroed at birth */
	size_t input_max;    /* bytes of one command at most */
	void (*greet)(struct login_client *c);
	/* The input starts with a command: acts on it.  0 and *used; 1 = more input needed; -1 = cannot go on:
	 * *err is told to the client by bye. */
	int (*input)(struct login_client *c, struct view in, size_t *used, struct err *err);
	void (*challenge)(struct login_client *c, const char *base64);
	void (*failed)(struct login_client *c, enum login_failure why);
	void (*bye)(struct login_client *c, const char *text); /* the connection ends: untagged */
	const char *too_many; /* in place of the greeting, to who has too many connections */
	const char *(*tag)(
	    struct login_client *c);           /* of the command that logs in; "" without tags */
	void (*clear)(struct login_client *c); /* frees what login_state holds; may be NULL */
};

/* What a front needs of its process. */
struct login_setup {
	struct loop *loop;
	const struct conf *conf; /* borrowed for the front's life, as are the others */
	struct ipc_edge *authd;
	struct ipc_conn *master;
	void (*pause_accept)(void *arg, bool paused);
	void (*on_idle)(
	    void *arg); /* draining, and the last client has gone (or has to, at a stop) */
	void *arg;
};
struct login_front *login_front_new(
    const struct login_setup *setup, const struct login_protocol *p);
void login_front_free(struct login_front *f); /* and its clients */
/* The setup of a worker: edges, TLS, listeners, drain. */
struct login_front *login_front_of_daemon(struct daemon *d, const struct login_protocol *p);
/* Inside the cage: asks for the TLS context; clients are accepted when it is there.  arg: the front. */
void login_front_start(void *arg);
void login_front_accept(void *arg, int fd, const struct sockaddr_storage *peer);
void login_front_drain(struct login_front *f);
/* The suite stops: whoever has not logged in goes, the others when their session has said its last words, or soon. */
void login_front_stop(struct login_front *f);
size_t login_front_clients(const struct login_front *f);

/* For protocols, about one client. */
void *login_state(struct login_client *c);
const struct conf *login_conf(const struct login_client *c);
void login_reply(struct login_client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
bool login_has_tls(const struct login_client *c);
bool login_can_start_tls(const struct login_client *c); /* configured, and not up yet */
bool login_can_plaintext(const struct login_client *c); /* passwords may come as they are */
bool login_can_login(
    const struct login_client *c); /* and PLAIN is offered: IMAP's LOGIN, POP3's USER and PASS */
/* The SASL mechanisms offered now: each with prefix before it, separated by spaces; NULL: too long. */
const char *login_mechanisms(struct login_client *c, const char *prefix, struct buf *out);
void login_start_tls(struct login_client *c); /* after this command; input behind it is dropped */
/* Begins an exchange; has_initial: response (decoded) came with the command. */
void login_auth_start(
    struct login_client *c, struct view mech, bool has_initial, struct view response);
/* The same with the initial response still in base64, "=" for an empty one (RFC 4959 3, RFC 5034 4). */
void login_auth_start_base64(
    struct login_client *c, struct view mech, bool has_initial, struct view base64);
/* A user name and password, as SASL PLAIN. */
void login_auth_plain(struct login_client *c, struct view user, struct view password);
void login_refused_plaintext(
    struct login_client *c); /* for the log: it tried to log in without TLS */
/* Counts an unknown or malformed command; true: too many, bye is said and the client goes. */
bool login_bad_command(struct login_client *c);
void login_quit(struct login_client *c); /* the client said goodbye and was answered */
void login_log_id(struct login_client *c, const char *text); /* what it said about itself, quoted */

#endif
