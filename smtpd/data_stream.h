/* data_stream.h - the content of DATA: finds its end, takes the dot stuffing off; or that of BDAT, which has neither.  Pure and incremental: the
 * same result however the input is cut.
 *
 * RFC 5321 4.1.1.4 and 2.3.8: only <CRLF>.<CRLF> ends a message, and a line ends in CRLF only.  Whatever else
 * looks like a line end - a bare CR, a bare LF - is a fault, and so is NUL (RFC 5321 2.3.7 leaves it no place in
 * mail).  Two parties that read such bytes differently disagree about where a message ends; that is how mail
 * is smuggled.  A faulty message is read to its one true end, so that the session stays in step with every
 * sender that keeps to the standard, and is then refused: nothing that followed the fault can be taken for a
 * command, and nothing of it is kept.
 *
 * DATA_NORMALIZE is for clients that are known to send bare LFs: each becomes CRLF, in the content and nowhere else.  A
 * line that begins or ends with one never ends the message.
 */
#ifndef SMTPD_DATA_STREAM_H
#define SMTPD_DATA_STREAM_H

#include "common/base/buf.h"

enum data_fault { DATA_BARE_CR = 1, DATA_BARE_LF = 2, DATA_NUL = 4, DATA_LONG_LINE = 8 };

enum data_mode {
	DATA_CHUNKED = 1,   /* RFC 3030: no end, no dots */
	DATA_NORMALIZE = 2, /* a bare LF is no fault */
};

struct data_stream {
	int state;       /* private */
	unsigned modes;  /* enum data_mode */
	unsigned faults; /* enum data_fault; the first one ends the output */
	uint64_t size; /* bytes of content so far, the dots taken off; stops counting at a fault */
	size_t line_len, line_max;
};

/* line_max: bytes of a line without its CRLF. */
void data_stream_init(struct data_stream *d, size_t line_max, unsigned modes);
/* Feeds input; *used says how much of it belonged to the message.  Appends at most in.len + 1 bytes to *out, with
 * DATA_NORMALIZE twice as many; *out must have that room.  0 = the end was found, 1 = needs more input. */
int data_stream_feed(struct data_stream *d, struct view in, size_t *used, struct buf *out);
/* DATA_CHUNKED: that was all.  A last line without CRLF is left as it is (RFC 3030 asks for none). */
void data_stream_end(struct data_stream *d);

#endif
