/* imap_reader.h - cuts the client's bytes into commands (RFC 3501 2.2, 4.3; RFC 7888).  Pure, incremental.
 *
 * A command is one line, or several joined by literals.  The reader collects it in `text` as it stood on the
 * wire, without the last line end: "a1 LOGIN {3}\r\nfoo {3}\r\nbar".  A literal that its owner streams leaves only its
 * announcement ("{1234}\r\n") there.
 *
 * The same events come however the input is cut (but for how READER_BYTES is divided).  Memory is bounded by the
 * limits: what breaks one is dropped up to the end of the command, its non-synchronizing literals included, and
 * then reported once.
 */
#ifndef IMAPD_IMAP_READER_H
#define IMAPD_IMAP_READER_H

#include "common/base/buf.h"

enum imap_reader_event {
	READER_MORE,    /* the input is used up, the command goes on */
	READER_COMMAND, /* text is a whole command; valid until the next call */
	READER_LITERAL, /* one is announced: collect, stream or refuse before the next call */
	READER_BYTES,   /* *chunk: the next bytes of a streamed literal */
	READER_DROPPED, /* a command is given up; text has its beginning, problem the reason (NULL: refused) */
	READER_FATAL, /* the client cannot be followed any more: problem */
};

struct imap_reader_limits {
	size_t line_max;    /* bytes of a command outside of literals */
	size_t literal_max; /* bytes of all collected literals of a command */
	unsigned literals;  /* literals in a command */
};

enum { IMAP_READER_TAIL = 32 };
struct imap_reader {
	struct imap_reader_limits limits;
	struct buf text;
	const char *problem;
	uint64_t literal_size; /* of the literal announced last */
	bool is_sync;          /* it waits for our "+" */

	int state;
	size_t line_start; /* where the present line begins in text */
	size_t line_bytes, literal_bytes;
	unsigned nliterals;
	uint64_t left;               /* of the literal at hand */
	char tail[IMAP_READER_TAIL]; /* end of a line that is being dropped */
	size_t tail_len;
};

void imap_reader_init(struct imap_reader *r, const struct imap_reader_limits *limits);
void imap_reader_clear(struct imap_reader *r);
/* Call until it says READER_MORE; *used bytes of input are done with. */
enum imap_reader_event imap_reader_next(
    struct imap_reader *r, struct view input, size_t *used, struct view *chunk);
/* The three answers to READER_LITERAL.  collect: -1 when it breaks a limit (READER_DROPPED follows). */
int imap_reader_collect(struct imap_reader *r);
void imap_reader_stream(struct imap_reader *r);
void imap_reader_refuse(struct imap_reader *r);

#endif
