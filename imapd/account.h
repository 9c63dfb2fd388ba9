/* account.h - the process's one account: its store, its sessions, and the word between them (DESIGN 6).
 *
 * All sessions share the store; a change by one wakes those in IDLE.  Knows nothing of common/daemon, so that tests can
 * drive it over socketpairs.
 */
#ifndef IMAPD_ACCOUNT_H
#define IMAPD_ACCOUNT_H

#include "common/event/loop.h"
#include "common/store/store.h"

struct imapd_session;

struct imapd_config {
	const char *account;
	size_t line_max, literal_max;
	unsigned bad_commands_max, sessions_max;
	uint64_t message_size_max; /* 0 = none */
	int64_t timeout_ms, idle_poll_ms, idle_notify_ms, linger_ms;
};

struct imapd_account_ops {
	/* No session has been there for linger_ms. */
	void (*on_idle)(void *arg);
	/* The last session has ended (at once, before the lingering). */
	void (*on_empty)(void *arg);
};

struct imapd_account {
	struct loop *loop;   /* borrowed */
	struct store *store; /* borrowed */
	struct imapd_config config;
	struct imapd_account_ops ops;
	void *arg;
	struct imapd_session *sessions; /* owned */
	unsigned count;
	struct loop_timer linger;
};

struct imapd_account *imapd_account_new(struct loop *l, struct store *store,
    const struct imapd_config *config, const struct imapd_account_ops *ops, void *arg);
void imapd_account_free(struct imapd_account **a); /* its sessions end without a word */

/* Every session ends, with a word to its client; on_empty follows. */
void imapd_account_stop(struct imapd_account *a);

/* A client that master hands over (MASTER_LOGIN): the descriptors are owned from here on. */
void imapd_account_login(
    struct imapd_account *a, struct view ticket, int control_fd, int stream_fd, int authd_fd);
/* Something changed in this mailbox ("" = any); by is the session that did it, NULL: from outside. */
void imapd_account_changed(
    struct imapd_account *a, const char *mailbox, const struct imapd_session *by);

/* For sessions: in and out of the list. */
void imapd_account_enter(struct imapd_account *a, struct imapd_session *s);
void imapd_account_leave(struct imapd_account *a, struct imapd_session *s);

#endif
