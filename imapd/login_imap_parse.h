/* login_imap_parse.h - one IMAP command of a client that has not logged in (RFC 9051 9, RFC 7888).
 * The same bytes give the same result however they arrive: parsing starts anew with each arrival, and says
 * how many literals have been asked for so far. */
#ifndef IMAPD_LOGIN_IMAP_PARSE_H
#define IMAPD_LOGIN_IMAP_PARSE_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
	IMAP_LOGIN_LINE = 8192,     /* a command without its literals */
	IMAP_LOGIN_LITERAL = 4096,  /* one literal */
	IMAP_LOGIN_COMMAND = 16384, /* all of it */
	IMAP_LOGIN_TAG = 63,
	IMAP_LOGIN_ARGS = 80, /* ID: 30 pairs (RFC 2971 3.3) and parentheses */
};

enum imap_arg_kind { IMAP_ARG_ATOM, IMAP_ARG_STRING, IMAP_ARG_OPEN, IMAP_ARG_CLOSE };
struct imap_arg {
	enum imap_arg_kind kind;
	struct view
	    text; /* into the input, or into text of the command for a quoted string with escapes */
};

struct imap_login_command {
	struct view tag; /* empty: it could not be read */
	struct view name;
	struct imap_arg args[IMAP_LOGIN_ARGS];
	unsigned nargs;
	unsigned literals; /* that the client waits to be asked for */
	struct buf text;   /* unescaped strings */
};
void imap_login_command_init(struct imap_login_command *cmd);
void imap_login_command_clear(struct imap_login_command *cmd); /* wipes */

/* 0: a command, *used bytes.  1: more input needed; cmd->literals says how many "+" the client should have had.
 * -1: ERR_SYNTAX with *used > 0: answer BAD and go on behind it, cmd->tag as far as read; with *used = 0, and
 * ERR_LIMIT: the border of the command is lost, the connection ends. */
int imap_login_parse(struct imap_login_command *cmd, struct view in, size_t *used, struct err *err);

#endif
