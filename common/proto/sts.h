/* sts.h - MTA-STS (RFC 8461): what a domain says of TLS with its mail servers.  Pure. */
#ifndef COMMON_PROTO_STS_H
#define COMMON_PROTO_STS_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
	STS_ID_MAX = 32,
	STS_POLICY_BYTES = 64 << 10, /* RFC 8461 3.3: more is not looked at */
	STS_MX_BYTES = 32 << 10,     /* all patterns together */
	STS_MAX_AGE = 31557600,      /* seconds; what asks for more gets this (RFC 8461 3.2) */
};

/* The text of one TXT record of _mta-sts.DOMAIN.  false: it begins with another version, so that it is not counted (RFC
 * 8461 3.1); id "": it is one, and not well-formed. */
bool sts_record_read(struct view txt, char id[STS_ID_MAX + 1]);
bool sts_id_is_valid(struct view id);

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
struct sts_policy {
	enum sts_mode mode;
	uint32_t max_age;
	struct buf mx; /* patterns, lower case, a line each */
};
/* RFC 8461 3.2.  *out is to be cleared in any case.  -1: ERR_SYNTAX or ERR_LIMIT, there is no policy. */
int sts_policy_read(struct view text, struct sts_policy *out, struct err *err);
void sts_policy_clear(struct sts_policy *p); /* zeroed is allowed */
void sts_policy_write(const struct sts_policy *p, struct buf *out);
const char *sts_mode_name(enum sts_mode mode);
/* RFC 8461 4.1: is one of the patterns, a line each, for this host? */
bool sts_mx_match(struct view patterns, const char *host);

#endif
