/* stuff.h - a message's bytes as RETR and TOP send them (RFC 1939 3, 7): every line end as CRLF, lines that begin
 * with a dot get a second one, a last line without end gets one, and for TOP only the first lines of the body.
 * Pure and resumable: the result is the same however the input is cut. */
#ifndef POP3D_STUFF_H
#define POP3D_STUFF_H

#include "common/base/buf.h"

struct pop3d_stuff {
	bool in_line;        /* the last byte was not a line end */
	bool after_cr;       /* the last byte was a CR */
	bool line_has_bytes; /* of the present line, the CR before its LF not counted */
	bool in_body;
	bool is_limited;     /* TOP */
	uint64_t lines_left; /* of the body, for TOP */
	bool is_done;        /* TOP has enough */
};

void pop3d_stuff_init(struct pop3d_stuff *s); /* RETR */
void pop3d_stuff_init_top(struct pop3d_stuff *s, uint64_t lines);
/* Appends at most 3 bytes for each of in. */
int pop3d_stuff_add(struct pop3d_stuff *s, struct view in, struct buf *out);
/* The end: the missing line end and ".\r\n". */
int pop3d_stuff_end(struct pop3d_stuff *s, struct buf *out);

#endif
