/* account.h - the process's one account and its sessions.  Knows nothing of common/daemon, so that tests can drive it
 * over socketpairs. */
#ifndef POP3D_ACCOUNT_H
#define POP3D_ACCOUNT_H

#include "common/event/loop.h"
#include "common/store/store.h"

struct pop3d_session;

struct pop3d_config {
	const char *account;
	int64_t timeout_ms, linger_ms;
	unsigned sessions_max;
	bool mark_seen; /* RETR sets \Seen */
};
struct pop3d_account_ops {
	void (*on_idle)(void *arg);    /* no session has been there for linger_ms */
	void (*on_empty)(void *arg);   /* the last session has ended */
	void (*on_changed)(void *arg); /* INBOX was changed: others may want to know */
};

struct pop3d_account {
	struct loop *loop;   /* borrowed */
	struct store *store; /* borrowed */
	struct pop3d_config config;
	struct pop3d_account_ops ops;
	void *arg;
	struct pop3d_session *sessions; /* owned */
	unsigned count;
	struct loop_timer linger;
};

struct pop3d_account *pop3d_account_new(struct loop *l, struct store *store,
    const struct pop3d_config *config, const struct pop3d_account_ops *ops, void *arg);
void pop3d_account_free(struct pop3d_account **a);
/* A client that master hands over (MASTER_LOGIN): the descriptors are owned from here on. */
void pop3d_account_login(
    struct pop3d_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd);

/* For sessions: in and out of the list. */
void pop3d_account_enter(struct pop3d_account *a, struct pop3d_session *s);
void pop3d_account_leave(struct pop3d_account *a, struct pop3d_session *s);

#endif
