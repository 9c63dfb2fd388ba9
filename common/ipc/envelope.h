/* envelope.h - a message's envelope, as smtpd commits it and as qmgr keeps it on disk.
 * Encoded form, versioned: u8 version, fields as in frame.h's letters, then the recipients; pure functions
 * on (buffer, length).  All strings are UTF-8 or ASCII without NUL, CR or LF: decode refuses the rest. */
#ifndef COMMON_IPC_ENVELOPE_H
#define COMMON_IPC_ENVELOPE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

enum transport {
	TRANSPORT_VIRTUAL = 1,
	TRANSPORT_SMTP = 2,
	TRANSPORT_LMTP = 3, /* over TCP */
	/* qmgr's own: nexthop is a text, "5.1.1 User unknown" */
	TRANSPORT_ERROR = 4,
	TRANSPORT_RETRY = 5,
	TRANSPORT_DISCARD = 6,
	TRANSPORT_COUNT
};
/* Of the agent in Postfix that would do it: for the log, and for milters. */
const char *transport_name(uint32_t transport);

enum envelope_flags {
	ENVELOPE_8BIT = 1,     /* BODY=8BITMIME (RFC 6152) */
	ENVELOPE_SMTPUTF8 = 2, /* RFC 6531 */
	ENVELOPE_RET_FULL = 4, /* RFC 3461 4.3 */
	ENVELOPE_RET_HDRS = 8,
	ENVELOPE_BOUNCE = 16, /* made by qmgr itself */
	ENVELOPE_TLS = 32,    /* came in over TLS */
	ENVELOPE_REQUIRETLS =
	    64, /* RFC 8689: goes on only under verified TLS to servers that offer REQUIRETLS */
	ENVELOPE_TLS_OPTIONAL =
	    256, /* RFC 8689 4.2.2: goes on, if need be, without the TLS that policy asks for */
	ENVELOPE_HOLD = 128, /* starts on hold: HOLD action, milter's quarantine */
};
enum notify_flags { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4, NOTIFY_DELAY = 8 };

struct recipient {
	const char *address; /* final, after expansion */
	const char *orig;    /* as given in RCPT TO; "" when the same */
	const char *orcpt;   /* RFC 3461 4.2, "" = none */
	const char *
	    nexthop; /* as it was when accepted, "" = the address's domain; qmgr finds it anew (qmgr/route.h) */
	uint32_t notify;    /* 0 = default (FAILURE and DELAY) */
	uint32_t transport; /* enum transport */
	uint32_t uid, gid;  /* mailbox owner, TRANSPORT_VIRTUAL only */
	const char *
	    sender; /* what it leaves with instead of the envelope's; "" or NULL = that.  Only on the way to the queue */
	bool
	    is_of_list; /* that is the list's: RFC 3461 5.2.7.3, its DSN parameters are not the sender's.  Not encoded */
};

struct envelope {
	const char *sender; /* "" = <> */
	uint32_t flags;     /* enum envelope_flags */
	int64_t arrival_ms; /* wall clock */
	uint64_t size;      /* bytes of the whole message, headers and body */
	const char *envid;  /* RFC 3461 4.4, "" = none */
	const char *client_name, *client_address, *helo,
	    *protocol;           /* "" = unknown: local submission */
	const char *client_port; /* "" = unknown */
	const char *sasl_method, *sasl_username;
	const char *
	    filter; /* "transport:nexthop" for every recipient (FILTER, content_filter), "" or NULL = by the recipient */
	struct recipient *rcpts;
	size_t nrcpts;
};

enum { ENVELOPE_MAX_BYTES = 64 << 20, ENVELOPE_MAX_RCPTS = 100000, ENVELOPE_MAX_STRING = 4096 };
/* Different ones in a message, the envelope's own included: each becomes a message of its own, all in one journal group. */
enum { ENVELOPE_MAX_SENDERS = 16 };
/* The recipient's own sender, or the envelope's. */
const char *envelope_sender_of(const struct envelope *e, const struct recipient *r);
/* How many different ones there are among the recipients; counting ends behind the maximum. */
size_t envelope_count_senders(const struct envelope *e);

/* 0, or -1 when it passes the cap of out. */
int envelope_encode(const struct envelope *e, struct buf *out);
/* Everything is copied into the arena.  -1: ERR_SYNTAX, ERR_LIMIT. */
int envelope_decode(struct view bytes, struct arena *arena, struct envelope *out, struct err *err);

#endif
