/* maildir_name.h - what a Maildir file name says: base, flags, keyword letters, sizes (pure).
 *
 * <base>[,S=<bytes on disk>][,W=<bytes with CRLF>]:2,<flags>[,<opaque>].  The base, up to the first ':', is
 * the message's identity and never changes; flags stand behind the last ':' in ASCII order.
 */
#ifndef COMMON_STORE_MAILDIR_NAME_H
#define COMMON_STORE_MAILDIR_NAME_H

#include "common/base/buf.h"

enum { MAILDIR_NAME_MAX = 255, MAILDIR_LETTERS = 26 };

struct maildir_name {
	struct view base;
	struct view rest; /* from the second comma of the flags on: opaque, kept */
	uint16_t flags;   /* enum message_flags of store.h */
	uint32_t letters; /* bit n: keyword letter 'a' + n */
	char others[16];  /* flags we do not know: kept */
};

void maildir_name_parse(struct view name, struct maildir_name *out);
/* base ":2," flags; for cur/.  -1: longer than a file name can be. */
int maildir_name_format(const struct maildir_name *n, char out[MAILDIR_NAME_MAX + 1]);
/* Bytes that must not get into a text of lines, a log or a terminal. */
bool maildir_name_has_control(struct view name);
/* The number behind ",<letter>=" of a base name; false: none. */
bool maildir_name_number(struct view base, char letter, uint64_t *out);

/* Order of arrival as names tell it: seconds, then microseconds (M) where both have them, then mtime. */
struct arrival {
	uint64_t seconds, microseconds;
	int64_t mtime_ns;
	const char *name; /* borrowed; decides between equals */
};
void arrival_parse(const char *name, int64_t mtime_ns, struct arrival *out);
int arrival_compare(const struct arrival *a, const struct arrival *b);

/* The identity of a message as 128 bits: of its base name, or of another server's GUID text. */
void maildir_guid(struct view identity, uint8_t guid[16]);

#endif
