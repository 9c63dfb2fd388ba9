/* header_list.h - a message's header section as a list of fields that can be changed: what header_checks and milters
 * do.  Made only when somebody wants to; else the section stays as it was received and nothing is copied.  Pure.
 *
 * A field is a name and the bytes behind the colon, folds and all, without the last CRLF.  Serialized, a list that was not
 * changed is the section it came from, byte for byte. */
#ifndef SMTPD_HEADER_LIST_H
#define SMTPD_HEADER_LIST_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

struct listed_field {
	struct view
	    name; /* in the arena; with the white space before the colon, if there was any (RFC 5322 4.5) */
	struct view
	    value; /* behind ":", leading white space included, folds as CRLF + white space */
};

struct header_list {
	struct arena arena;
	struct listed_field *fields; /* owned */
	size_t count, cap;
	bool is_changed;
	bool has_empty_line; /* stood behind the section; one that was changed always gets it */
};

enum { HEADER_LIST_MAX_BYTES = 16 << 20, HEADER_LIST_MAX_FIELDS = 100000 };

void header_list_init(struct header_list *l);
void header_list_clear(struct header_list *l);
/* Takes the header section at the start of content; *body is the offset behind it and its empty line (what is no
 * field ends the section).  0 or -1: ERR_LIMIT, ERR_SYNTAX (it does not begin with a field: *body is 0, the list empty). */
int header_list_parse(struct header_list *l, struct view content, size_t *body, struct err *err);
/* Puts a field before the field of this number; >= count: at the end.  name and value are copied; value's line ends (LF or CRLF) become
 * CRLF, a line that would not be a continuation gets a tab.  -1: ERR_SYNTAX (not a field name; NUL, bare CR), ERR_LIMIT. */
int header_list_insert(
    struct header_list *l, size_t at, struct view name, struct view value, struct err *err);
/* The nth (from 1) field of this name, without regard to case; count when there is none. */
size_t header_list_find(const struct header_list *l, struct view name, size_t nth);
int header_list_replace(
    struct header_list *l, size_t at, struct view name, struct view value, struct err *err);
void header_list_remove(struct header_list *l, size_t at);
/* A value with its folds as LF and white space, as tables and milters see it. */
void header_value_append(struct view value, struct buf *out);
int header_field_write(const struct listed_field *f, struct buf *out);
/* The fields and the empty line behind them.  0, or -1 past the cap of out. */
int header_list_write(const struct header_list *l, struct buf *out);

#endif
