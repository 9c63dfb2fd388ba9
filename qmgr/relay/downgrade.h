/* downgrade.h - an 8-bit message for a server without 8BITMIME: parts of it as quoted-printable or base64 (RFC 6152 3,
 * RFC 2045 6).  Made while it is sent, from a survey of the whole message, for how a part is encoded stands before it.
 *
 * Both passes are pure and give the same however their input is cut.  Each part that holds text beyond ASCII is encoded by
 * itself and its Content-Transfer-Encoding rewritten; multiparts and attached messages are gone into, and their 8bit and
 * binary become 7bit.  Text without MIME fields becomes text/plain of charset unknown-8bit (RFC 1428 3).  As in Postfix,
 * signatures break (RFC 1847 2.1 wants such parts made in 7 bits), and what has no other form stays as it is: header
 * fields, text around the parts of a multipart, parts in an encoding already, message/partial and its like. */
#ifndef QMGR_RELAY_DOWNGRADE_H
#define QMGR_RELAY_DOWNGRADE_H

#include "common/base/err.h"
#include "common/mime/mime_lines.h"

enum { RELAY_PLAN_PARTS = 100000, RELAY_LINE_HELD = 16 << 10 };

/* What becomes of each header section's part, in their order. */
struct relay_plan {
	struct buf modes;
	bool has_8bit; /* something is to be encoded */
};
void relay_plan_init(struct relay_plan *plan);
void relay_plan_clear(struct relay_plan *plan);

enum relay_encoding { RELAY_ENC_7BIT, RELAY_ENC_8BIT, RELAY_ENC_OTHER };
enum relay_part_type { RELAY_PART_TEXT, RELAY_PART_LEAF, RELAY_PART_MESSAGE, RELAY_PART_MULTIPART };

/* Zeroed, it may be cleared. */
struct relay_downgrade {
	struct mime_lines lines;
	struct relay_plan *survey;     /* borrowed: filled by the first pass; NULL in the second */
	const struct relay_plan *plan; /* borrowed: followed by the second */
	struct buf *out;               /* borrowed for a call */

	struct buf line; /* the start of the present line, until it is known what it is */
	bool is_placed;  /* it is known; the rest of the line goes where its start went */
	bool has_cr;     /* a CR waits for its LF */
	int place;       /* enum place */
	bool is_boundary;

	size_t parts; /* that have begun */
	bool is_open; /* the last of them: its text may follow */
	bool is_in_fields, is_whole_message, has_version, has_type;
	bool drops_field; /* the present field is left out */
	enum relay_part_type type;
	enum relay_encoding encoding;
	int mode; /* enum mode */
	uint64_t bytes, bytes_8bit, bytes_quoted;

	size_t column;           /* quoted-printable */
	char blank;              /* a blank that may be the last of its line; 0: none */
	unsigned char block[57]; /* base64: of the present line */
	size_t nblock;
	bool
	    has_line_end; /* base64: belongs to the part unless a boundary follows (RFC 2046 5.1.1) */
};

/* The first pass: fills *survey. */
void relay_downgrade_survey(struct relay_downgrade *d, unsigned nesting, struct relay_plan *survey);
/* The second one, with what the first one found. */
void relay_downgrade_start(
    struct relay_downgrade *d, unsigned nesting, const struct relay_plan *plan);
void relay_downgrade_clear(struct relay_downgrade *d);
/* Appends to *out, which a survey has no use for (NULL): at most 4 bytes for one, 120 more for each header section, and what
 * RELAY_LINE_HELD bytes of before become.  ERR_LIMIT: nested too deep, too many parts, or no room. */
int relay_downgrade_feed(
    struct relay_downgrade *d, const char *p, size_t len, struct buf *out, struct err *err);
int relay_downgrade_end(struct relay_downgrade *d, struct buf *out, struct err *err);

#endif
