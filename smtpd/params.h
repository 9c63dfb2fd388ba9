/* params.h - the ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2): a table of keywords for each command. */
#ifndef SMTPD_PARAMS_H
#define SMTPD_PARAMS_H

#include "common/base/view.h"
#include "smtpd/extensions.h"

struct esmtp_param {
	const char *keyword;
	enum smtpd_extension extension; /* taken where this one is offered; EXT_COUNT: always */
	/* value.p is NULL without "=".  false: it has replied. */
	bool (*take)(struct smtpd_session *s, struct view value);
};

enum { ESMTP_PARAMS_MAX = 32 };

/* Takes all of rest; each keyword once (RFC 3461 4).  false: it has replied. */
bool smtpd_params_take(
    struct smtpd_session *s, struct view rest, const struct esmtp_param *table, size_t count);
/* UTF-8 in the address of the command needs SMTPUTF8 (RFC 6531 3.5).  false: it has replied 553. */
bool smtpd_address_is_allowed(struct smtpd_session *s, unsigned flags);
/* The 555 of RFC 5321 4.1.1.11; returns false. */
bool smtpd_param_unsupported(struct smtpd_session *s, struct view keyword);

/* envelope.h's enum notify_flags of "NEVER" or "SUCCESS,FAILURE,DELAY" in any order, each once.  0: malformed.  Pure. */
unsigned dsn_notify_parse(struct view value);
/* ENVELOPE_RET_FULL or _HDRS (RFC 3461 4.3).  0: malformed.  Pure. */
uint32_t dsn_ret_parse(struct view value);
/* An ORCPT value (RFC 3461 4.2, RFC 6533 3) as it goes on, the caller's to free.  NULL: it is none. */
char *dsn_orcpt_take(struct view value, bool allow_utf8);
/* Is this an ENVID value (RFC 3461 4.4)?  Pure. */
bool dsn_envid_is_valid(struct view value);
/* xtext of printable characters only, as RFC 3461 4.2 and 4.4 want what was encoded.  Pure. */
bool dsn_xtext_is_valid(struct view value);

#endif
