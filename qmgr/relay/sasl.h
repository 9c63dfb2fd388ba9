/* sasl.h - the client's side of a SASL exchange: CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN.  Pure.
 *
 * Not libsasl2's: for each connection its client resolves the machine's own name with getaddrinfo, which blocks, and for
 * which the cage has neither files nor a name server. */
#ifndef QMGR_RELAY_SASL_H
#define QMGR_RELAY_SASL_H

#include "common/base/buf.h"
#include "common/base/err.h"

/* smtp_sasl_security_options: what a mechanism must not do, or must. */
enum relay_sasl_security {
	RELAY_SASL_NOPLAINTEXT = 1,
	RELAY_SASL_NOACTIVE = 2,
	RELAY_SASL_NODICTIONARY = 4,
	RELAY_SASL_NOANONYMOUS = 8,
	RELAY_SASL_FORWARD_SECRECY = 16,
	RELAY_SASL_MUTUAL_AUTH = 32,
};
unsigned relay_sasl_security_read(const char *words);

/* smtp_sasl_mechanism_filter: NAME, !NAME, static:all; the first that fits decides.  Empty: all pass. */
int relay_sasl_filter_check(const char *filter, struct err *err);
/* Is one of the words offered, whatever it is, let through? */
bool relay_sasl_filter_passes(const char *filter, struct view offered);

struct relay_mechanism;
/* The best one that is offered (words of the EHLO line), let through, and as secure as it shall be; NULL: none. */
const struct relay_mechanism *relay_sasl_choose(
    struct view offered, const char *filter, unsigned security);
const char *relay_mechanism_name(const struct relay_mechanism *m);

struct relay_sasl {
	const struct relay_mechanism *mechanism;
	const char *user, *password; /* borrowed */
	unsigned steps;
};
/* The initial response in base64; false: there is none. */
bool relay_sasl_initial(struct relay_sasl *x, struct buf *out);
/* The response to a challenge, both in base64.  -1: ERR_SYNTAX, not base64 or not in this mechanism. */
int relay_sasl_respond(
    struct relay_sasl *x, struct view challenge, struct buf *out, struct err *err);

#endif
