/* tls_policy.h - what TLS with a destination must be: the parameters smtp_tls_*, and what an entry of smtp_tls_policy_maps
 * changes of them.  Pure. */
#ifndef QMGR_RELAY_TLS_POLICY_H
#define QMGR_RELAY_TLS_POLICY_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/net/dns.h"

/* Postfix's, the weakest first.  From ENCRYPT on nothing is sent in the clear, above it nothing to who is not known. */
enum relay_tls_level {
	RELAY_TLS_NONE,
	RELAY_TLS_MAY,
	RELAY_TLS_ENCRYPT,
	RELAY_TLS_FINGERPRINT,
	RELAY_TLS_DANE,
	RELAY_TLS_DANE_ONLY,
	RELAY_TLS_VERIFY,
	RELAY_TLS_SECURE,
};
/* false: there is no such level. */
bool relay_tls_level_read(struct view word, enum relay_tls_level *out);

const char *relay_tls_level_name(enum relay_tls_level level);

/* What main.cf says; borrowed.  [0]: where TLS is opportunistic, [1]: where it is mandatory. */
struct relay_tls_defaults {
	enum relay_tls_level level;
	const char *protocols[2], *grade[2];
	const char *exclude[2]; /* the second one: besides the first */
	const char *
	    high_cipherlist; /* OpenSSL's list for the grade high; below it: OpenSSL's own default */
	const char *fingerprint_match, *verify_match, *secure_match;
	const char *servername;
	bool is_wrapped; /* TLS from the first byte on */
};

enum { RELAY_TLS_MATCH_BYTES = 16 << 10 };

struct relay_tls_policy {
	enum relay_tls_level level;
	int min_version, max_version; /* OpenSSL's */
	struct buf ciphers;           /* OpenSSL's list, up to TLS 1.2 */
	/* names ("nexthop", "dot-nexthop", "hostname", a name, .domain) or fingerprints (hex digits, lower case), a line each */
	struct buf match;
	char servername[DNS_NAME_MAX]; /* "" = the host's */
	bool is_sts; /* the asterisk in a certificate's name stands for one label (RFC 8461 4.1) */
};
/* The policy of an entry (NULL: there is none), lowered to at_most: RELAY_TLS_MAY or _ENCRYPT; _SECURE: as it is.
 * -1: ERR_SYNTAX or ERR_PERM, and no mail may go by it.  *out is to be cleared in any case. */
int relay_tls_policy_read(const struct relay_tls_defaults *d, const char *entry,
    enum relay_tls_level at_most, struct relay_tls_policy *out, struct err *err);
void relay_tls_policy_clear(struct relay_tls_policy *p); /* zeroed is allowed */

#endif
