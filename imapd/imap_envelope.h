/* imap_envelope.h - ENVELOPE and BODY/BODYSTRUCTURE (RFC 3501 7.4.2) of a message; pure.
 * Both append; -1: *out is full (bounded by its cap), or the arena. */
#ifndef IMAPD_IMAP_ENVELOPE_H
#define IMAPD_IMAP_ENVELOPE_H

#include "common/mime/message.h"

enum { IMAP_ENVELOPE_ADDRESSES_MAX = 20000 }; /* in one field */

int imap_envelope_write(struct view header, struct arena *scratch, struct buf *out);
/* What stands for an envelope that passed its bounds: valid syntax, nothing in it. */
extern const char imap_envelope_empty[];

/* extended: BODYSTRUCTURE, else BODY. */
int imap_body_write(struct view message, const struct mime_part *root, bool extended,
    struct arena *scratch, struct buf *out);
/* The same for a tree that passed its bounds: one opaque part of this size. */
void imap_body_write_opaque(size_t size, bool extended, struct buf *out);

#endif
