/* imap_list.h - mailbox patterns of LIST and LSUB (RFC 3501 6.3.8, 6.3.9); pure. */
#ifndef IMAPD_IMAP_LIST_H
#define IMAPD_IMAP_LIST_H

#include "common/base/view.h"

/* "*" matches anything, "%" anything but "/".  INBOX as first level matches in any case.  Time is bounded by
 * the product of the lengths, whatever the pattern. */
bool imap_list_match(struct view pattern, struct view name);

#endif
