/* xclient.h - XCLIENT and XFORWARD (Postfix's XCLIENT_README and XFORWARD_README): a trusted proxy or content filter says
 * who the client behind it is.  XCLIENT puts that client in the place of the proxy in everything that is decided; XFORWARD
 * only in what is logged and kept with the message. */
#ifndef SMTPD_XCLIENT_H
#define SMTPD_XCLIENT_H

#include "common/ipc/envelope.h"
#include "smtpd/command_table.h"
#include "smtpd/extensions.h"

/* In the order of the attributes' names in EHLO. */
enum smtpd_attribute {
	ATTR_NAME,
	ATTR_ADDR,
	ATTR_PORT,
	ATTR_PROTO,
	ATTR_HELO,
	ATTR_LOGIN,
	ATTR_DESTADDR,
	ATTR_DESTPORT,
	ATTR_IDENT,
	ATTR_SOURCE,
	ATTR_COUNT
};

/* Values as given: NULL where there is none, "" where the proxy does not know. */
struct smtpd_attributes {
	char *value[ATTR_COUNT];       /* owned */
	bool is_temporary[ATTR_COUNT]; /* [TEMPUNAVAIL] */
};
/* " NAME ADDR ..." of EXT_XCLIENT or EXT_XFORWARD. */
void smtpd_attributes_put(enum smtpd_extension e, struct buf *out);
void smtpd_attributes_free(struct smtpd_attributes *a); /* NULL is allowed */

/* What XFORWARD said takes the client's place in the envelope, and is added to the "client=" line. */
void smtpd_xforward_envelope(const struct smtpd_session *s, struct envelope *e);
void smtpd_xforward_log(const struct smtpd_session *s, struct buf *line);

#endif
