/* imap_write.h - strings, names and flags as RFC 3501 9 has them on the wire; pure.
 * All append to *out and leave a failure in out->failed. */
#ifndef IMAPD_IMAP_WRITE_H
#define IMAPD_IMAP_WRITE_H

#include "common/base/buf.h"

/* Quoted where it can be, else a literal; NUL bytes, which neither may hold, are left out. */
void imap_write_string(struct buf *out, struct view v);
void imap_write_nstring(struct buf *out, const char *s); /* NULL: NIL */
/* Atom where it can be, else as imap_write_string. */
void imap_write_astring(struct buf *out, struct view v);
/* A mailbox name from UTF-8 to the modified UTF-7 of the wire (RFC 3501 5.1.3). */
void imap_write_mailbox(struct buf *out, const char *utf8);

#endif
