/* mime_lines.h - what each line of a message is: a header field of the message, of a MIME part, of an attached message,
 * or text (RFC 2045, RFC 2046 5.1).  Incremental: lines in, events out; nothing is stored but the field under way and
 * the boundaries of the open parts.  For header_checks(5) and body_checks, and for what is encoded anew. */
#ifndef COMMON_MIME_MIME_LINES_H
#define COMMON_MIME_MIME_LINES_H

#include "common/base/buf.h"

enum mime_line_kind {
	LINE_HEADER,        /* of the message itself, but for the next */
	LINE_MIME_HEADER,   /* Content-*, MIME-Version; all fields of a part */
	LINE_NESTED_HEADER, /* of an attached message, but for its Content-* */
	LINE_TEXT,          /* a line of a body */
	LINE_FRAME,         /* a boundary, the empty line behind a header section */
};

enum { MIME_LINES_DEPTH = 100, MIME_LINES_BOUNDARY = 2048 };

struct mime_lines {
	/* text: a field with its folded lines joined by LF, or a line, without its end; lines: how many lines it was made of.
	 * Not 0 ends the feed with that value. */
	int (*fn)(void *arg, enum mime_line_kind kind, struct view text, unsigned lines);
	void *arg;
	bool is_too_deep; /* parts beyond the depth are looked at as text */
	/* to be set behind the init: message/global is one part, for it may be encoded (RFC 6532 3.7) */
	bool global_is_text;

	/* private */
	struct buf field; /* the header field under way */
	unsigned field_lines;
	bool is_in_headers;
	enum mime_line_kind section; /* what the present header section is of */
	bool is_message;             /* message/rfc822 or message/global: another section follows */
	bool is_digest; /* multipart/digest: its parts are messages unless they say otherwise */
	char *boundary; /* owned: of the present entity, if it is a multipart */
	unsigned depth, depth_max;
	char *boundaries[MIME_LINES_DEPTH]; /* owned: of the open multiparts, outermost first */
	bool digests[MIME_LINES_DEPTH];
};

/* Is the field of this name one for mime_header_checks, wherever it stands? */
bool mime_lines_is_mime_field(struct view name);
/* Starts at the message's first line.  field_max: longer fields are cut; depth_max <= MIME_LINES_DEPTH. */
void mime_lines_init(struct mime_lines *m, size_t field_max, unsigned depth_max,
    int (*fn)(void *arg, enum mime_line_kind kind, struct view text, unsigned lines), void *arg);
void mime_lines_clear(struct mime_lines *m);
/* One line without its CRLF.  0, or what fn gave. */
int mime_lines_feed(struct mime_lines *m, struct view line);
/* The message has ended.  0, or what fn gave. */
int mime_lines_finish(struct mime_lines *m);

#endif
