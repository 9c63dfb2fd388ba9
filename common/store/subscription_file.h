/* subscription_file.h - the texts that list subscribed mailboxes (pure).
 *
 * Dovecot's `subscriptions`: plain, one name a line with '.' between its parts; or version 2: "V\t2", an empty
 * line, then names whose parts are separated by tabs.  Names are modified UTF-7 or UTF-8 (8-bit bytes tell).
 * Courier's `courierimapsubscribed`: "INBOX.A.B".
 */
#ifndef COMMON_STORE_SUBSCRIPTION_FILE_H
#define COMMON_STORE_SUBSCRIPTION_FILE_H

#include "common/base/buf.h"

enum { SUBSCRIPTIONS_MAX = 100000 };

/* Calls fn with each name in UTF-8, '/' between its parts.  Lines that are no name are skipped. */
void subscription_file_parse(
    struct view text, bool is_courier, void (*fn)(void *arg, const char *name), void *arg);
int subscription_format_header(struct buf *out);
int subscription_format_name(struct buf *out, const char *name); /* -1 also: not encodable */

/* A mailbox name as it stands on disk or in a file, to UTF-8, sep replaced by '/'.  -1: no name.  */
int mailbox_name_from_disk(struct view disk, char sep, struct buf *utf8);

#endif
