/* session.h - one POP3 client from its hand-over to its end.
 *
 * A command's answer that may be long (RETR, TOP, LIST, UIDL) is a job: it is asked for more whenever the client has
 * taken most of what was there, so a session's memory does not depend on the size of a message or a mailbox, and
 * pipelined commands wait in the stream meanwhile. */
#ifndef POP3D_SESSION_H
#define POP3D_SESSION_H

#include "common/login/login_session.h"
#include "pop3d/maildrop.h"
#include "pop3d/stuff.h"

struct pop3d_account {
	struct login_account login;
	int64_t timeout_ms;
	bool mark_seen;                /* RETR sets \Seen */
	void (*on_changed)(void *arg); /* INBOX was changed: others may want to know; login.arg */
};

enum pop3d_state {
	POP3D_TRANSACTION, /* RFC 1939 5 */
	POP3D_ENDED,       /* QUIT, time-out, lost: to be freed */
};

/* In Dovecot's terms. */
struct pop3d_counts {
	uint64_t top, top_bytes, retr, retr_bytes, deleted;
};

struct pop3d_session;
struct pop3d_job {
	/* Appends to out; true when it was the last. */
	bool (*step)(struct pop3d_session *s, struct buf *out);
	size_t next; /* LIST, UIDL: message to go on with */
	int fd;      /* RETR, TOP: owned, -1 = none */
	uint64_t off;
	struct pop3d_stuff stuff;
	uint64_t *bytes; /* which counter the bytes sent go to */
};

struct pop3d_session {
	struct login_session login;
	struct pop3d_account *account; /* borrowed */
	enum pop3d_state state;
	const char *end_reason;
	struct loop_timer turn;
	struct pop3d_maildrop *drop;
	struct pop3d_job job;
	struct buf out;
	unsigned bad_commands;
	struct pop3d_counts counts;
};

extern const struct login_session_ops pop3d_session_ops;
/* The session is over; it is freed from the loop.  The first reason counts. */
void pop3d_session_end(struct pop3d_session *s, const char *reason);
void pop3d_reply(struct pop3d_session *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
