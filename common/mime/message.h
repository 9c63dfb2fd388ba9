/* message.h - RFC 5322 messages and MIME trees as pure functions on (buffer, length).
 *
 * The buffer is a whole message, line ends CRLF or LF (both are understood, also mixed).  Cost is linear
 * in the size of the input; depth and parts are bounded, and what lies beyond the bound is one opaque part:
 * a parse never fails.  Offsets are bytes from the start of the buffer.
 */
#ifndef COMMON_MIME_MESSAGE_H
#define COMMON_MIME_MESSAGE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/view.h"

/* --- header fields ------------------------------------------------------------------------------ */
struct header_field {
	struct view name;  /* without colon and white space before it */
	struct view value; /* raw, folded, without the last line end; leading white space dropped */
	struct view raw;   /* the whole field with its line end */
};
/* Takes the next field off *rest.  false at the empty line (which is consumed) or at the end.  A line that is no
 * field is skipped. */
bool header_next(struct view *rest, struct header_field *out);
/* Bytes before the colon of a field's first line: name, and white space of the obsolete kind (RFC 5322 4.5).  0: no field. */
size_t header_name_length(struct view line);
/* First field of this name in a header block; false: none. */
bool header_find(struct view headers, const char *name, struct header_field *out);
/* Length of the header block including the empty line; the whole length if there is no empty line. */
size_t header_block_length(struct view message);
/* Value unfolded (RFC 5322 2.2.3): line ends dropped, white space kept. */
int header_unfold(struct view value, struct buf *out);

/* --- addresses (RFC 5322 3.4, obsolete forms too) ------------------------------------------------ */
enum mail_address_kind { MAIL_ADDRESS, MAIL_GROUP_START, MAIL_GROUP_END };
struct mail_address {
	enum mail_address_kind kind;
	const char *name;   /* display name, raw RFC 2047; group name for GROUP_START; NULL: none */
	const char *route;  /* obsolete source route; NULL: none */
	const char *local;  /* unquoted */
	const char *domain; /* "" when missing */
};
/* Parses an address list field; everything lives in the arena.  At most max entries; *count gets their
 * number.  NULL only when the arena is full. */
struct mail_address *address_list_parse(struct view value, struct arena *a, size_t max, size_t *count);

/* --- dates ------------------------------------------------------------------------------------------ */
/* RFC 5322 3.3 with obsolete zones; false: no date.  *utc seconds since 1970, *zone minutes east. */
bool date_parse(struct view value, int64_t *utc, int *zone_minutes);
/* "Mon, 23 Nov 2026 04:48:43 +0000" (RFC 5322 3.3) */
void date_format(int64_t utc, int zone_minutes, char *out, size_t size);

/* --- MIME tree -------------------------------------------------------------------------------------- */
struct mime_param {
	const char *name, *value; /* name lower case; RFC 2231 continuations joined, decoded to UTF-8 where they say so */
	const char *extended;     /* charset'language'%XX form of the joined value, for "name*" of BODYSTRUCTURE; NULL: plain */
	struct mime_param *next;
};
struct mime_part {
	size_t header_off, header_len; /* header block with its empty line */
	size_t body_off, body_len;
	uint32_t body_lines;
	const char *type, *subtype;    /* lower case; default text/plain (message/rfc822 inside digest) */
	struct mime_param *params;
	const char *encoding;          /* lower case; "7bit" by default */
	const char *id, *description, *md5, *location; /* NULL: none */
	const char *disposition;       /* NULL: none */
	struct mime_param *disposition_params;
	const char *const *languages;  /* NULL or NULL-terminated */
	struct mime_part *parent, *first_child, *next; /* message/rfc822: first_child is the embedded message */
	bool is_truncated;             /* bounds reached inside this part */
};
enum { MIME_MAX_DEPTH = 100, MIME_MAX_PARTS = 10000 };
/* Root part of the message; everything in the arena.  NULL only when the arena is full.  A container beyond the
 * bounds is shown as application/octet-stream; a multipart without boundary or parts has no first_child. */
struct mime_part *mime_parse(struct view message, struct arena *a, unsigned max_depth, unsigned max_parts);

/* --- decoding ---------------------------------------------------------------------------------------- */
/* Content-Transfer-Encoding of a body, tolerant; unknown encodings are copied.  -1: out is full. */
int transfer_decode(const char *encoding, struct view body, struct buf *out);
/* RFC 2047 encoded words of an unfolded or raw header value to UTF-8; bad ones are kept as they stand. */
int encoded_words_decode(struct view value, struct buf *out);
/* charset to UTF-8 by iconv; invalid bytes become U+FFFD; unknown charset: as Latin-1.  -1: out is full. */
int charset_to_utf8(const char *charset, struct view in, struct buf *out);
/* To be called before the cage closes: opens the common converters, so that iconv loads its modules. */
void charset_preload(void);

/* --- line ends ----------------------------------------------------------------------------------------- */
/* Size with every line end as CRLF. */
size_t crlf_size(struct view in);
/* Appends with every bare LF turned into CRLF. */
int crlf_append(struct view in, struct buf *out);
/* Appends with every CRLF turned into LF; other CRs stay. */
int lf_append(struct view in, struct buf *out);

#endif
