/* imap_fetch.h - what a FETCH asks for (RFC 3501 6.4.5), parsed; pure. */
#ifndef IMAPD_IMAP_FETCH_H
#define IMAPD_IMAP_FETCH_H

#include "imapd/imap_section.h"

enum imap_fetch_kind {
	FETCH_UID,
	FETCH_FLAGS,
	FETCH_INTERNALDATE,
	FETCH_SIZE,
	FETCH_ENVELOPE,
	FETCH_BODY, /* without extension data */
	FETCH_BODYSTRUCTURE,
	FETCH_SECTION, /* BODY[...], RFC822, RFC822.HEADER, RFC822.TEXT */
};

struct imap_fetch_item {
	enum imap_fetch_kind kind;
	struct imap_section section;
	const char *label; /* RFC822 and its kin; NULL: the section's own */
	bool is_peek;
	bool is_partial;
	uint32_t partial_from, partial_count;
};

enum { IMAP_FETCH_ITEMS_MAX = 200 };
struct imap_fetch {
	struct imap_fetch_item *items; /* in the arena */
	size_t count;
	bool sets_seen; /* RFC 3501 6.4.5: BODY[...] without PEEK, RFC822, RFC822.TEXT */
	bool has_uid, has_flags;
};

/* The last argument: a macro, one item or a list of them. */
bool imap_fetch_parse(struct imap_args *p, struct imap_fetch *out);
/* Adds an item of a kind without arguments, if it is not in yet: UID FETCH always answers with the UID. */
bool imap_fetch_add(struct imap_args *p, struct imap_fetch *out, enum imap_fetch_kind kind);

#endif
