/* verdict.h - what became of a recipient, in Postfix's words.  Pure. */
#ifndef QMGR_RELAY_VERDICT_H
#define QMGR_RELAY_VERDICT_H

#include "common/ipc/msg/delivery.h"
#include "common/proto/reply.h"

enum { RELAY_TEXT_MAX = 1000 };

struct relay_verdict {
	enum delivery_status status;
	int code;            /* of the peer's reply, 0: none */
	bool is_unreachable; /* the destination as a whole, not this message or recipient */
	bool is_too_many;    /* RFC 5321 4.5.3.1.10: this recipient, in a transaction of its own */
	bool took_dsn;       /* RFC 3461: NOTIFY went on with it */
	bool is_ambiguous;   /* the message may have arrived: not to be sent elsewhere at once */
	char dsn[12];
	char text[RELAY_TEXT_MAX]; /* one line of printable ASCII */
};

/* The text may quote strangers: what is not printable becomes '?', a line break a blank. */
void relay_verdict_set(struct relay_verdict *v, enum delivery_status status, const char *dsn,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* From a reply.  2xx: sent, the text is the reply.  Else "SUBJECT: REPLY (in reply to REQUEST)", without the
 * parenthesis when request is NULL; what is neither 4xx nor 5xx counts as 4.5.0. */
void relay_verdict_reply(
    struct relay_verdict *v, const struct smtp_reply *r, const char *subject, const char *request);
/* A permanent failure becomes a temporary one: of a host, not of a recipient. */
void relay_verdict_soften(struct relay_verdict *v);

#endif
