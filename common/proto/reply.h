/* reply.h - SMTP replies (RFC 5321 4.2) and enhanced status codes (RFC 3463).  Pure. */
#ifndef COMMON_PROTO_REPLY_H
#define COMMON_PROTO_REPLY_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum { REPLY_LINE_MAX = 2048, REPLY_TEXT_MAX = 8192, REPLY_LINES_MAX = 100 };

/* Incremental reader of one (multi-line) reply. */
struct smtp_reply {
	int code;     /* 200..599 */
	char dsn[12]; /* "2.1.5", "" when the text does not start with one of the code's class */
	struct buf
	    text; /* lines joined by '\n', codes and enhanced codes dropped; cut at REPLY_TEXT_MAX */
	unsigned lines;
	struct buf line; /* the line being read */
};
void smtp_reply_init(struct smtp_reply *r);
void smtp_reply_clear(struct smtp_reply *r); /* frees; ready for the next reply */
/* Feeds bytes; *used says how many were taken.  0 = reply complete, 1 = more, -1 = ERR_SYNTAX or ERR_LIMIT: the
 * reader is of no more use.  The same result however the input is cut.  A line may end with LF alone; a bare CR, NUL,
 * different codes in one reply, and more than REPLY_LINES_MAX lines are errors. */
int smtp_reply_feed(struct smtp_reply *r, struct view input, size_t *used, struct err *err);
/* "d.d.d" with class 2, 4 or 5, at the start of text: its length, or 0. */
size_t enhanced_code_length(struct view text);

#endif
