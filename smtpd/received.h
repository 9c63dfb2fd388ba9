/* received.h - the header fields that smtpd puts before a message.  Pure. */
#ifndef SMTPD_RECEIVED_H
#define SMTPD_RECEIVED_H

#include "common/base/buf.h"

struct received {
	const char *helo;           /* as the client gave it; NULL: none */
	const char *client_name;    /* "unknown" when it has none */
	const char *client_literal; /* without brackets: "192.0.2.1", "IPv6:2001:db8::1" */
	const char *tls;            /* tls_describe; NULL: no TLS */
	const char *tls_client;     /* client_cert_comment; NULL: no line of its own */
	const char *login;          /* to be named as authenticated sender; NULL: not to be */
	const char *myhostname, *mail_name;
	const char *protocol; /* RFC 3848: ESMTPSA ... */
	const char *queue_id;
	const char *recipient; /* the only one, so that no other's address is told; NULL: several */
	int64_t time;          /* seconds since 1970 */
};

/* RFC 5321 4.4 in Postfix's layout.  Nothing that a client chose can end a line or a comment: other bytes than
 * those of host names and addresses become '?'.  0, or -1 past the cap of out. */
int received_format(const struct received *r, struct buf *out);

/* "Mon, 23 Nov 2026 04:48:43 +0100 (CET)", local time. */
int mail_date_format(int64_t time, struct buf *out);

#endif
