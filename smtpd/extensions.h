/* extensions.h - the ESMTP extensions that are done here: when each is offered, and its line in EHLO's answer.
 * What is not offered is not taken either: its parameters get 555, its command 502.
 *
 * Not here: BINARYMIME (RFC 3030 3: mail is lines that end in CRLF from end to end), MT-PRIORITY (RFC 6710), DELIVERBY
 * (RFC 2852: the queue makes no promise of time), ETRN. */
#ifndef SMTPD_EXTENSIONS_H
#define SMTPD_EXTENSIONS_H

#include "common/base/buf.h"
#include "common/config/conf.h"

struct smtpd_session;

enum smtpd_extension {
	EXT_PIPELINING,          /* RFC 2920 */
	EXT_SIZE,                /* RFC 1870 */
	EXT_STARTTLS,            /* RFC 3207 */
	EXT_AUTH,                /* RFC 4954 */
	EXT_ENHANCEDSTATUSCODES, /* RFC 2034 */
	EXT_DSN,                 /* RFC 3461 */
	EXT_CHUNKING,            /* RFC 3030 */
	EXT_SMTPUTF8,            /* RFC 6531 */
	EXT_REQUIRETLS,          /* RFC 8689 */
	EXT_LIMITS,              /* RFC 9422 */
	EXT_XCLIENT,             /* to smtpd_authorized_xclient_hosts */
	EXT_XFORWARD,            /* to smtpd_authorized_xforward_hosts */
	EXT_8BITMIME,            /* RFC 6152 */
	EXT_COUNT
};

/* The value of smtpd_discard_ehlo_keywords as a mask of 1 << enum smtpd_extension.  A word that names none of them is
 * logged and otherwise ignored, as by Postfix: "etrn" is in many a main.cf. */
unsigned smtpd_extensions_parse(const char *words);

/* Named in smtpd_discard_ehlo_keywords. */
bool smtpd_discards(const struct smtpd_session *s, enum smtpd_extension e);
/* Here and now, to this client. */
bool smtpd_offers(const struct smtpd_session *s, enum smtpd_extension e);

/* The lines of EHLO's answer, the first with the greeting's name. */
void smtpd_extensions_put(const struct smtpd_session *s, struct buf *out);

#endif
