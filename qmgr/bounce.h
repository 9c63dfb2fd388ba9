/* bounce.h - the text of delivery status notifications (RFC 3461, 3464, 6522, 6533), in Postfix's words.  Pure. */
#ifndef QMGR_BOUNCE_H
#define QMGR_BOUNCE_H

#include "common/base/buf.h"
#include "qmgr/bounce_template.h"
#include "qmgr/message.h"

struct bounce_rcpt {
	const char *address, *orig, *orcpt; /* as in struct recipient */
	const char *dsn, *reason;
	const char *remote; /* "host[ip]:port", NULL = no remote server spoke */
	int64_t last_s;     /* when it was tried, 0 = unknown */
	bool
	    is_relayed; /* NOTICE_SUCCESS: to a system that sends no such notices (RFC 3461 5.2.2) */
};

struct bounce_input {
	enum notice_kind
	    kind; /* a copy for the postmaster has no text for people, and another subject */
	const struct bounce_template *text;
	const char *myhostname, *mail_name;
	struct queue_id id;       /* of the notice */
	int64_t now_s;            /* wall clock */
	struct queue_id original; /* the message it is about */
	const char *to;           /* who gets the notice */
	const char *sender;       /* of that message, "" = nobody */
	const char *envid;        /* RFC 3461 4.4, as given (xtext) */
	int64_t arrival_s;
	int64_t expires_s; /* NOTICE_DELAY: when it will be given up */
	const struct bounce_rcpt *rcpts;
	size_t nrcpts;
	struct view returned; /* what is attached: the message, or its header block */
	bool is_full;         /* the whole message */
	bool is_smtputf8;     /* it came by SMTPUTF8: its headers are UTF-8 */
};

/* Header block (with its empty line) and body, with CRLF line ends.  *is_8bit and *is_utf8 say what the
 * envelope must be flagged with: only an addressee beyond ASCII makes it a message for SMTPUTF8, for nobody else is known
 * to take one (RFC 6533 4.5).  -1: a buffer is full. */
int bounce_render(const struct bounce_input *in, struct buf *headers, struct buf *body,
    bool *is_8bit, bool *is_utf8);

/* RFC 3461 4: +XX becomes that byte; what is not xtext stays as it is.  xtext stands for printable ASCII (4.2, 4.4): any
 * other byte becomes '?'. */
void bounce_xtext_decode(const char *xtext, struct buf *out);

#endif
