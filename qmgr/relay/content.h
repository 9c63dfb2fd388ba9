/* content.h - a message's bytes on their way out: line ends, dots, long lines (RFC 5321 4.5.2).
 *
 * What leaves here consists of CR LF lines and nothing else, so that no peer can see an end of data where we
 * did not put one (SMTP smuggling).  The filter is pure and gives the same output however its input is cut. */
#ifndef QMGR_RELAY_CONTENT_H
#define QMGR_RELAY_CONTENT_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct relay_filter {
	size_t line_max; /* 0 = lines are never broken */
	size_t column;   /* bytes of the present line, dots that were put in not counted */
	bool has_cr;     /* a CR waits for its LF */
	bool is_counted; /* set behind init: for BDAT, without dots (RFC 3030 2) */
};
/* line_max below 2 would leave no room behind the blank of a broken line: taken as 2. */
void relay_filter_init(struct relay_filter *f, size_t line_max);
/* Appends to *out.  A bare LF becomes CR LF; a bare CR or NUL is an error (ERR_SYNTAX).  Longer lines are broken by CR LF and
 * a blank, as Postfix does.  At most 5 bytes come out for one that went in. */
int relay_filter_feed(
    struct relay_filter *f, const char *p, size_t len, struct buf *out, struct err *err);
/* Ends the last line if it is open, and the data, unless they are counted: CR LF . CR LF. */
int relay_filter_end(struct relay_filter *f, struct buf *out, struct err *err);

/* Headers and body behind them: two descriptors, read with pread only. */
struct relay_content {
	int header_fd, body_fd; /* owned */
	uint64_t header_size;
	uint64_t body_offset, body_size; /* the message goes on from offset up to size */
};
void relay_content_init(struct relay_content *c);
void relay_content_close(struct relay_content *c);
uint64_t relay_content_size(const struct relay_content *c);
/* Checks what came over IPC: the headers a sealed memfd, the body one too or a regular file, sizes right. */
int relay_content_check(struct relay_content *c, struct err *err);
/* Up to cap bytes from offset `at` of the whole: how many, 0 at the end, -1 (ERR_TEMP). */
int64_t relay_content_read(
    const struct relay_content *c, uint64_t at, char *p, size_t cap, struct err *err);
bool relay_bytes_have_8bit(const char *p, size_t len);

#endif
