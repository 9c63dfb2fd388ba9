/* esmtp.h - what a server's EHLO offers, and the commands written for it.  Pure. */
#ifndef QMGR_RELAY_ESMTP_H
#define QMGR_RELAY_ESMTP_H

#include "common/base/buf.h"
#include "common/net/dns.h"

enum relay_capability {
	RELAY_CAP_PIPELINING = 1,  /* RFC 2920 */
	RELAY_CAP_8BITMIME = 2,    /* RFC 6152 */
	RELAY_CAP_SIZE = 4,        /* RFC 1870 */
	RELAY_CAP_STARTTLS = 8,    /* RFC 3207 */
	RELAY_CAP_DSN = 16,        /* RFC 3461 */
	RELAY_CAP_SMTPUTF8 = 32,   /* RFC 6531 */
	RELAY_CAP_REQUIRETLS = 64, /* RFC 8689 */
	RELAY_CAP_AUTH = 128,      /* RFC 4954 */
	RELAY_CAP_CHUNKING = 256,  /* RFC 3030 */
	RELAY_CAP_XFORWARD = 512,  /* Postfix's XFORWARD_README */
};

enum relay_xforward {
	XFORWARD_NAME,
	XFORWARD_ADDR,
	XFORWARD_PORT,
	XFORWARD_PROTO,
	XFORWARD_HELO,
	XFORWARD_IDENT,
	XFORWARD_SOURCE,
	XFORWARD_COUNT
};

struct relay_ehlo {
	unsigned capabilities;
	uint64_t size_limit;     /* 0: none, or not told */
	unsigned xforward;       /* mask of 1 << enum relay_xforward */
	char name[DNS_NAME_MAX]; /* first word: how the server calls itself */
	char mechanisms
	    [512]; /* of all AUTH lines, with blanks between them; those that do not fit are left out */
};

/* 0: none that we know. */
unsigned relay_capability(struct view keyword);
/* text: lines joined by '\n' as smtp_reply leaves them, the first one the greeting. */
void relay_ehlo_parse(struct view text, struct relay_ehlo *out);

/* May this stand between < and > as it is?  Nothing that could end the path, the command or the line. */
bool relay_path_is_safe(const char *address, bool allow_utf8);

struct relay_mail {
	const char *sender; /* safe; "" = <> */
	const char *envid;  /* as it came over the wire (xtext); "" = none */
	uint64_t size;      /* 0: not known */
	uint32_t flags;     /* enum envelope_flags */
	bool needs_utf8;
};
/* "MAIL FROM:<...> ...\r\n" with those parameters that the server offers.  Malformed ENVID and ORCPT are left out. */
int relay_mail_command(struct buf *out, const struct relay_mail *m, unsigned capabilities);
/* "XFORWARD NAME=... ...\r\n" with those attributes whose bits are in mask; a value that is "", or too long, is
 * [UNAVAILABLE]. */
int relay_xforward_command(
    struct buf *out, const char *const values[XFORWARD_COUNT], unsigned mask);
int relay_rcpt_command(struct buf *out, const char *address, uint32_t notify, const char *orcpt,
    bool allow_utf8, unsigned capabilities);

#endif
