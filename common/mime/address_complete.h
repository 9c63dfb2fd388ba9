/* address_complete.h - rewrites the addresses of a header field: "alice" gets @origin, "alice@host" gets .domain, as Postfix's
 * append_at_myorigin and append_dot_mydomain do; what then has a domain may become another address.  Everything else of the
 * field stays as it is, byte for byte: names, comments, quoting, folds, 8-bit text.  Pure; one pass. */
#ifndef COMMON_MIME_ADDRESS_COMPLETE_H
#define COMMON_MIME_ADDRESS_COMPLETE_H

#include "common/base/buf.h"
#include "common/base/view.h"

struct address_completion {
	struct view origin,
	    domain; /* without "@" and "."; empty: such addresses stay as they are */
	/* What a whole address becomes: it takes the place of the address and of white space and comments between its words;
	 * NULL: it stays.  May be NULL. */
	const char *(*map)(void *arg, struct view address);
	void *arg;
};

/* Is this a field of addresses, and whose? */
enum address_field { ADDRESS_FIELD_NONE, ADDRESS_FIELD_SENDER, ADDRESS_FIELD_RECIPIENT };
enum address_field address_field_kind(struct view name);
/* 1: the completed value was appended.  0: there is nothing to complete, or the field is not what RFC 5322 3.4 allows, so that nobody
 * can tell what is an address; out is as before.  -1: out is full, and as before.  A line that becomes long is folded
 * behind a comma. */
int address_complete(struct view value, const struct address_completion *how, struct buf *out);

#endif
