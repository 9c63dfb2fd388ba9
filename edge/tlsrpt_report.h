/* tlsrpt_report.h - TLSRPT (RFC 8460): where a domain wants its reports, and what one looks like.  Pure. */
#ifndef EDGE_TLSRPT_REPORT_H
#define EDGE_TLSRPT_REPORT_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <jansson.h>

enum { TLSRPT_RUA_BYTES = 2000, TLSRPT_MESSAGE_BYTES = 40 << 20 };

/* RFC 8460 3, of one TXT record of _smtp._tls.DOMAIN: mail addresses of rua=, a line each, into *addresses; reports by HTTPS are
 * not made.  false: it begins with another version, or is not well-formed. */
bool tlsrpt_record_read(struct view txt, struct buf *addresses);

struct tlsrpt_report {
	const char *domain, *organization, *contact, *from, *addresses;
	const char *id;         /* of RFC 5322's msg-id, without brackets */
	int64_t start, end;     /* seconds since 1970 */
	const json_t *policies; /* array, as RFC 8460 4.4 has it */
};
/* RFC 8460 5.3: header and body, lines end with LF.  0 or -1 *err. */
int tlsrpt_message_write(const struct tlsrpt_report *r, struct buf *out, struct err *err);

#endif
