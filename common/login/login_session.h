/* login_session.h - the session side of a login: the sessions of one account, in their process (DESIGN 3, Login).
 *
 * Master sends every client as MASTER_LOGIN.  Its ticket is redeemed over the edge that authd bound to the account; only
 * then is the front listened to, and only what its HELLO says about tag and addresses is believed.  Then the daemon's
 * session starts on the client's stream, or the client is refused.  Not a byte of a client's is read here.
 *
 * A user can break the own home.  That is no reason to die: the mailbox is opened at a login, and if that fails, the client
 * hears that it is unavailable, and the next login tries again.
 *
 * Ownership: a daemon's account begins with a struct login_account, its session with a struct login_session; sessions are
 * born here and go by login_session_end.
 */
#ifndef COMMON_LOGIN_LOGIN_SESSION_H
#define COMMON_LOGIN_LOGIN_SESSION_H

#include "common/ipc/conn.h"
#include "common/net/stream.h"
#include "common/store/store.h"

#include <sys/queue.h>
#include <sys/stat.h>

struct daemon;
struct login_account;

struct login_session {
	struct login_account *account; /* borrowed: outlives its sessions */
	LIST_ENTRY(login_session) link;
	char *log_tag;         /* owned: "imap(user)<pid><id>" */
	struct stream *stream; /* owned; NULL: the hand-over is under way */
	bool is_running;       /* has started */
	bool is_broken;        /* nothing more can be sent */

	/* the hand-over */
	int stream_fd, control_fd; /* owned until stream and control are made */
	struct ipc_edge *authd;    /* owned */
	struct ipc_call *redeem;
	struct ipc_conn *control; /* owned: the login front */
	struct loop_timer timer;
};
LIST_HEAD(login_session_list, login_session);

enum login_refusal {
	LOGIN_REFUSED_LIMIT,       /* the account has too many sessions */
	LOGIN_REFUSED_UNAVAILABLE, /* its mailbox cannot be opened; the log says why */
};

struct login_session_ops {
	const char *service; /* "imap", "pop3": for the log */
	size_t
	    size; /* of the daemon's session; all behind the login_session is zero at its start */
	struct stream_limits limits;
	struct stream_ops stream; /* arg: the session */
	bool (*tag_is_valid)(const char *tag);
	/* Greets the client, the mailbox is open.  From here on the session ends by itself; it may do so at once. */
	void (*start)(struct login_session *s, const char *tag);
	/* Tells the client, in place of start. */
	void (*refuse)(struct stream *to, const char *tag, enum login_refusal why);
	/* The suite stops: what runs is broken off; the session ends soon, or now. */
	void (*stop)(struct login_session *s);
	void (*free)(struct login_session *s); /* ends it now */
};

struct login_account_config {
	const char *account;       /* borrowed, as all that is pointed to */
	const char *home;          /* "/" */
	struct store_config store; /* its maildir lies in home */
	unsigned sessions_max;
	int64_t linger_ms;
};

struct login_account_events {
	/* No more logins are wanted: no session was there for linger_ms, or the home is not the account's any more (then sessions
	 * may still be there). */
	void (*on_idle)(void *arg);
	/* Draining, and no session is left. */
	void (*on_drained)(void *arg);
};

struct login_account {
	struct loop *loop; /* borrowed */
	const struct login_session_ops *ops;
	struct login_account_config config;
	struct login_account_events events;
	void *arg;
	struct store *store;                         /* owned; NULL: not opened yet */
	struct login_session_list starting, running; /* owned */
	unsigned nstarting, nrunning;
	struct loop_timer linger, drained;
	int64_t unsent_until; /* output of sessions that have ended may still be on its way */
	bool is_draining, is_stopping;
	struct stat home, maildir; /* as they were at the start, and when the store was opened */
};

void login_account_init(struct login_account *a, struct loop *l,
    const struct login_account_config *config, const struct login_session_ops *ops,
    const struct login_account_events *events, void *arg);
/* Inside the jail: a struct login_account. */
void login_account_start(void *arg);
void login_account_clear(struct login_account *a); /* its sessions end now */

/* A client that master hands over: the descriptors are owned from here on. */
void login_account_login(
    struct login_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd);
/* on_drained follows when the sessions have ended; with is_stopping they are ended, each with a word to its client. */
void login_account_drain(struct login_account *a, bool is_stopping);

/* For daemons: the session is over and all of it but its login_session is freed.  What was written is sent, unless it
 * is_broken; logs "Disconnected: " and the text; frees s. */
void login_session_end(struct login_session *s, const char *text);

/* --- as a worker of master (login_service.c) ------------------------------------------------------------------ */

/* MASTER_LOGIN in a daemon's table of messages, whose arg is the login_account. */
void login_service_on_login(void *arg, struct ipc_conn *c, struct ipc_in *in);
/* Runs the account with its configuration, in its cage; the exit status.  memory_bytes: beside the index. */
int login_service_run(struct login_account *a, struct daemon *d,
    const struct login_session_ops *ops, uint64_t max_files, uint64_t memory_bytes);

#endif
