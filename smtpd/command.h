/* command.h - the grammar of SMTP command lines: verb, arguments, path, ESMTP parameters.  Pure. */
#ifndef SMTPD_COMMAND_H
#define SMTPD_COMMAND_H

#include "common/base/err.h"
#include "common/base/view.h"
#include "common/proto/address.h"

struct command_line {
	struct view verb; /* "" when the line has none */
	struct view
	    args; /* white space at both ends dropped (RFC 5321 4.1.1: trailing space is tolerated) */
};

void command_split(struct view line, struct command_line *out);

/* "FROM:<path> params" or "TO:<path> params"; prefix is "FROM:" or "TO:".  options as address.h.
 * -1: ERR_SYNTAX without the prefix, ERR_PERM for a bad address. */
int command_parse_path(struct view args, const char *prefix, unsigned options, struct address *out,
    struct view *params, struct err *err);

/* The next esmtp-param of RFC 5321 4.1.2.  0, 1 = no more, -1 = ERR_SYNTAX.  Without "=", value.p is NULL. */
int esmtp_param_next(struct view *rest, struct view *keyword, struct view *value, struct err *err);

/* xtext of RFC 3461 4: printable ASCII, "+" and "=" only as "+XX". */
bool xtext_is_valid(struct view v);

#endif
