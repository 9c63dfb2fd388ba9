/* header_drop.h - leaves header fields out of a message as it passes by: those of certain names (message_drop_headers), and
 * Authentication-Results: of strangers that bear our name, or none that could be read (RFC 8601 section 5).
 * Pure and incremental: the same result however the input is cut.  Input is what data_stream gives: lines end in CRLF. */
#ifndef SMTPD_HEADER_DROP_H
#define SMTPD_HEADER_DROP_H

#include "common/base/buf.h"

/* So much of a field is held back until it is known whose it is; if that is not enough, it is left out. */
enum { HEADER_DROP_HELD = 512, HEADER_DROP_NAME_MAX = 100 };

struct header_drop {
	const struct view
	    *names; /* of those to leave out, HEADER_DROP_NAME_MAX bytes each at most; borrowed */
	size_t nnames;
	const char *
	    authserv_id; /* borrowed; A-labels in lower case; NULL or "": Authentication-Results: may pass */
	/* private */
	int state;
	bool is_over; /* the header section has ended: everything passes */
	size_t nheld;
	char held[HEADER_DROP_HELD];
	uint64_t dropped; /* bytes left out so far */
};

/* Is there anything to do? */
static inline bool
header_drop_is_wanted(const struct header_drop *d)
{
	return !d->is_over &&
	       (d->nnames > 0 || (d->authserv_id != NULL && *d->authserv_id != '\0'));
}
/* Appends at most in.len + HEADER_DROP_HELD bytes. */
void header_drop_feed(struct header_drop *d, struct view in, struct buf *out);
/* The content has ended: what is held is judged as it stands. */
void header_drop_end(struct header_drop *d, struct buf *out);

#endif
