/* checks.h - header_checks(5), mime_header_checks, nested_header_checks, body_checks, and the limit of MIME nesting:
 * the gate that reads a complete message line by line, before the milters see it.
 *
 * Tables are looked at in memory only (pcre:, regexp:, texthash: ...): a question for each line is no way to ask
 * somebody else.  The content is read in pieces, one a turn of the loop. */
#ifndef SMTPD_CHECKS_H
#define SMTPD_CHECKS_H

#include "common/config/conf.h"
#include "smtpd/gates.h"

struct smtpd_tables;

struct checks_config {
	struct smtpd_tables *header, *mime, *nested, *body; /* owned; NULL: none */
	uint64_t body_limit;                                /* bytes of a part's text that body_checks looks at */
	unsigned nesting;
	size_t field_max;
	bool is_wanted, is_strict;
};
/* -1: ERR_SYNTAX and the like, naming the parameter. */
int checks_config_read(struct checks_config *c, const struct conf *conf, struct err *err);
void checks_config_clear(struct checks_config *c);

smtpd_gate smtpd_checks_gate;
struct smtpd_checks;
void smtpd_checks_free(struct smtpd_checks *k); /* the transaction ends; NULL is allowed */

/* The actions of header_checks(5).  Pure. */
enum check_action { CHECK_NONE, CHECK_REJECT, CHECK_IGNORE, CHECK_STRIP, CHECK_REPLACE, CHECK_PREPEND,
	CHECK_PASS, CHECK_VERDICT /* one of access(5)'s: HOLD, DISCARD, FILTER, REDIRECT, BCC, INFO, WARN */,
	CHECK_UNKNOWN };
enum check_action check_action_parse(struct view value, struct view *argument);

#endif
