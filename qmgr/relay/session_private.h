/* session_private.h - what session.c, session_login.c, transaction.c and data.c share. */
#ifndef QMGR_RELAY_SESSION_PRIVATE_H
#define QMGR_RELAY_SESSION_PRIVATE_H

#include "common/net/addr.h"
#include "common/net/stream.h"
#include "qmgr/relay/sasl.h"
#include "qmgr/relay/session.h"

enum state {
	ST_CONNECT, /* done: its owner is told nothing before it has us */
	ST_GREETING,
	ST_EHLO,
	ST_HELO,
	ST_STARTTLS,
	ST_HANDSHAKE,
	ST_LOGIN, /* authd is asked for the password */
	ST_AUTH,
	ST_READY,
	ST_ENVELOPE,
	ST_CONTENT,
	ST_FINAL,
	ST_DEAD, /* told its owner, who frees it */
};

enum relay_step { STEP_RSET, STEP_CLIENT, STEP_MESSAGE, STEP_MAIL, STEP_RCPT, STEP_DATA };

enum rcpt_state { RCPT_OPEN, RCPT_ACCEPTED, RCPT_TOLD };

struct relay_session {
	struct loop *loop;
	const struct relay_conf *conf;
	struct relay_target target;
	struct relay_session_options options;
	char *domain, *identity;                             /* owned copies of those of options */
	char name[RELAY_PEER_MAX - 8], peer[RELAY_PEER_MAX]; /* host[ip], host[ip]:port */
	const struct relay_session_ops *ops;
	void *arg;
	struct stream *stream;
	bool *gone; /* set when freed inside a callback */
	enum state state;
	struct smtp_reply reply;
	struct relay_ehlo ehlo;
	enum relay_tls_level tls_level;
	bool has_tls, is_verified;
	struct relay_tls_fault fault;
	char local_ip[ADDR_TEXT];
	bool needs_rset; /* the last transaction ended without data */
	unsigned uses;
	int64_t opened_ms;
	struct relay_login *login;
	struct relay_sasl sasl;
	char *user, *password; /* owned, until the login is done */

	/* the transaction under way */
	const struct relay_transaction *txn; /* borrowed */
	unsigned char *rcpt_states;          /* owned, enum rcpt_state each */
	unsigned char before_mail[3];        /* enum relay_step each */
	size_t mail_at;                      /* how many these are: step number of MAIL */
	size_t next_send, next_recv;         /* step numbers */
	size_t nsteps;
	size_t naccepted;
	bool has_mail; /* MAIL was accepted */
	bool mail_failed;
	uint64_t content_at;
	size_t nchunks;  /* BDAT commands before the last one that are not answered yet */
	bool is_refused; /* one of them was: what follows counts no more */
	struct relay_downgrade downgrade;
	struct relay_filter filter;
};

/* session.c.  Those that end something tell the owner, who may free the session: nothing after them. */
void relay_session_fail(
    struct relay_session *s, const struct relay_verdict *v, enum relay_failure how);
/* The connection is lost, or lost its worth: everyone who is not told yet is told this. */
void relay_session_lose(struct relay_session *s, struct relay_verdict *v);
void relay_session_lose_protocol(struct relay_session *s, const char *why);
/* A reply that is already there when the next command goes out answers nothing: a server out of step could
 * make us take one answer for another's.  false: the session is over. */
bool relay_session_is_in_step(struct relay_session *s);
/* The present reply as a verdict. */
void relay_session_said(struct relay_session *s, struct relay_verdict *v, const char *request);
void relay_session_become_ready(struct relay_session *s);

/* session_login.c: greeted, and under TLS where it shall be. */
void relay_session_log_in(struct relay_session *s);
void relay_session_on_auth(struct relay_session *s);
void relay_session_forget_password(struct relay_session *s);

/* transaction.c */
void relay_session_tell_all(struct relay_session *s, const struct relay_verdict *v);
void relay_session_end(struct relay_session *s, enum relay_end end); /* of the transaction */
/* What the next reply answers, in Postfix's words: while doing what, and to which request. */
const char *relay_session_step_activity(const struct relay_session *s);
const char *relay_session_awaits(const struct relay_session *s);
void relay_session_on_envelope(struct relay_session *s);
void relay_session_on_final(struct relay_session *s);

/* data.c: DATA was answered, or the next piece may go, or the server speaks meanwhile. */
/* In place of DATA; all recipients are answered.  false: by DATA, which costs less, or is all there is. */
bool relay_session_send_chunks(struct relay_session *s);
void relay_session_send_content(struct relay_session *s);
void relay_session_send_piece(struct relay_session *s);
void relay_session_on_early(struct relay_session *s);

#endif
