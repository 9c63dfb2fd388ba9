/* uidlist.h - the text of dovecot-uidlist, versions 1 (also Courier's) and 3 (pure).
 *
 *   3 V<uidvalidity> N<next uid> G<guid, 32 hex> [other fields]
 *   <uid> [<letter><value> ...] :<base name>
 * Fields in use: S size on disk, W size with CRLF, G GUID, P POP3 UIDL, O POP3 order; others are kept.
 */
#ifndef COMMON_STORE_UIDLIST_H
#define COMMON_STORE_UIDLIST_H

#include "common/base/buf.h"
#include "common/base/err.h"

#define UIDLIST_MAX_UID UINT32_C(0xfffffffe)

struct uidlist_header {
	unsigned version;
	uint32_t uidvalidity;
	uint32_t uidnext; /* as written; records may go on past it */
	struct view guid; /* 32 hex digits, or empty */
	struct view line; /* all of it without the line end */
};
struct uidlist_record {
	uint32_t uid;
	struct view fields; /* "S123 P0001", may be empty */
	struct view base;   /* without the flags that older files have */
};
/* Calls fn for each well-formed record whose UID rises; *faults gets the number of lines that are not (a torn
 * last line among them).  -1 (ERR_SYNTAX): the header makes no sense. */
int uidlist_parse(struct view text, struct uidlist_header *header,
    void (*fn)(void *arg, const struct uidlist_record *r), void *arg, size_t *faults,
    struct err *err);
/* Value of a field; false: it has none. */
bool uidlist_field(struct view fields, char letter, struct view *value);
/* Header fields other than V, N, G, each with a space before it. */
int uidlist_other_fields(struct view header_line, struct buf *out);
int uidlist_format_header(
    struct buf *out, uint32_t uidvalidity, uint32_t uidnext, const char *guid, struct view others);
int uidlist_format_record(struct buf *out, uint32_t uid, struct view fields, struct view base);

#endif
