/* session.h - one connection to one SMTP or LMTP server: greeting, EHLO, STARTTLS, AUTH, transactions, QUIT (RFC 5321; RFC
 * 2033: LHLO, and behind the content one reply for each recipient that was taken).
 *
 * The peer is hostile: replies are bounded (reply.h), every step has its time-out, a reply that nobody waits for ends
 * the connection, and nothing that came before a TLS handshake counts after it (RFC 3207 4.2).
 * Ownership: the session belongs to who opened it; relay_session_free and relay_session_quit end it, also from
 * within on_ready, on_done and on_failed, not from within on_recipient.  Callbacks come from the loop. */
#ifndef QMGR_RELAY_SESSION_H
#define QMGR_RELAY_SESSION_H

#include "qmgr/relay/connect.h"
#include "qmgr/relay/content.h"
#include "qmgr/relay/downgrade.h"
#include "qmgr/relay/esmtp.h"
#include "qmgr/relay/login.h"

struct relay_session;

enum relay_failure {
	RELAY_FAIL_HOST,  /* this one does not serve: try the next */
	RELAY_FAIL_TLS,   /* the handshake failed: without TLS it might work */
	RELAY_FAIL_FINAL, /* no other address will do better (loop) */
};
enum relay_end {
	RELAY_END_USABLE, /* ready for another transaction */
	RELAY_END_CLOSED, /* the connection is gone, or must go */
	RELAY_END_STALE, /* a reused connection broke before it took anything; no recipient was told */
};

struct relay_session_ops {
	/* Greeted, and under TLS where it shall be: relay_session_send may be called. */
	void (*on_ready)(void *arg, struct relay_session *s);
	/* Once for each recipient (index within the transaction) before on_done. */
	void (*on_recipient)(
	    void *arg, struct relay_session *s, size_t index, const struct relay_verdict *v);
	void (*on_done)(void *arg, struct relay_session *s, enum relay_end end);
	/* Before on_ready, or while idle. */
	void (*on_failed)(void *arg, struct relay_session *s, const struct relay_verdict *v,
	    enum relay_failure how);
};

struct relay_rcpt {
	const char *address; /* safe */
	const char *orcpt;
	uint32_t notify;
};
/* Borrowed until on_done. */
struct relay_transaction {
	const char *sender, *envid;
	const char *xforward[XFORWARD_COUNT]; /* "": not known */
	uint32_t flags;                       /* enum envelope_flags */
	bool needs_utf8;
	bool is_probe; /* ends behind RCPT TO: who is accepted there is told so */
	const struct relay_plan *downgrade; /* NULL: the content goes as it is */
	const struct relay_rcpt **rcpts;
	size_t count;
	const struct relay_content *content;
};

struct relay_session_options {
	bool is_lmtp; /* in the clear, and without a login */
	bool no_tls;  /* this time in the clear */
	const struct relay_tls_policy
	    *tls;                      /* borrowed until on_ready or on_failed, and so is dane */
	const struct relay_dane *dane; /* at the level dane */
	const char *
	    domain; /* of the nexthop: its certificate's, and for the text when the server is ourselves */
	bool has_loop_check;          /* a server that bears our name is us */
	struct ipc_edge *authd;       /* NULL: no login */
	const char *sender, *nexthop; /* for the login; borrowed until on_ready or on_failed */
	const char *identity; /* what decides about the login and TLS, whatever they come to */
};

/* Takes the stream, which is connected to target. */
struct relay_session *relay_session_open(struct loop *l, const struct relay_conf *conf,
    struct stream *stream, const struct relay_target *target,
    const struct relay_session_options *options, const struct relay_session_ops *ops, void *arg);
/* A new owner: the pool, or the next job. */
void relay_session_give(struct relay_session *s, const struct relay_session_ops *ops, void *arg);
void relay_session_free(struct relay_session *s); /* NULL is allowed */
/* Says QUIT, waits for no answer (RFC 5321 4.1.1.10 notwithstanding, as Postfix), and frees. */
void relay_session_quit(struct relay_session *s);

/* Does the server take such a message?  Else *v: the same for all its recipients. */
bool relay_session_accepts(
    struct relay_session *s, const struct relay_transaction *t, struct relay_verdict *v);
/* What kept it from TLS as it was asked for (RFC 8460 4.3). */
struct relay_tls_fault {
	const char *type; /* static; NULL: nothing so far */
	char reason[200];
};
const struct relay_tls_fault *relay_session_tls_fault(const struct relay_session *s);
const char *relay_session_local_ip(const struct relay_session *s); /* "": no connection */
bool relay_session_has_tls(const struct relay_session *s);
/* Under TLS, with a certificate that is the one asked for. */
bool relay_session_is_verified(const struct relay_session *s);
/* RFC 8689 4.2.1: the host is the one it should be, under TLS, and does the same for the next hop.  Else *v. */
bool relay_session_can_require_tls(const struct relay_session *s, struct relay_verdict *v);
/* Only after on_ready or on_done (RELAY_END_USABLE).  on_done may come before it returns. */
void relay_session_send(struct relay_session *s, const struct relay_transaction *t);
bool relay_session_has_8bitmime(const struct relay_session *s);

const char *relay_session_peer(
    const struct relay_session *s); /* "host[ip]:port", shorter than RELAY_PEER_MAX */
bool relay_session_is_to(const struct relay_session *s, const struct relay_target *target);
/* That of its options: who shares a session shares its login, and its TLS. */
const char *relay_session_identity(const struct relay_session *s);
unsigned relay_session_uses(
    const struct relay_session *s); /* transactions, the present one included */
bool relay_session_is_reusable(const struct relay_session *s); /* not too old */

#endif
