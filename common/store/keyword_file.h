/* keyword_file.h - the texts that keep keywords beside the mail (pure).
 *
 * dovecot-keywords:   "<n> <keyword>", n 0..25 = letter a..z in the file name.
 * estafeta-keywords:  what the letters cannot say: "k <n> <keyword>" for n from 26 on and "m <uid> <n> ...",
 *                     the numbers from 26 on that a message has (none: it lost them); the last line of a UID counts.
 * courierimapkeywords/:list: names one a line, an empty line, then "<base>:<n> <n> ...".
 */
#ifndef COMMON_STORE_KEYWORD_FILE_H
#define COMMON_STORE_KEYWORD_FILE_H

#include "common/base/buf.h"
#include "common/store/store.h"

enum { KEYWORD_MAX_LENGTH = 200, KEYWORD_LETTERS = 26 };

/* An IMAP flag-keyword: an atom (RFC 3501 9), not beginning with a backslash, of bounded length. */
bool keyword_is_valid(struct view name);
/* Each returns the number of lines that make no sense; those are skipped. */
size_t keyword_file_parse(
    struct view text, void (*fn)(void *arg, unsigned number, struct view name), void *arg);
size_t keyword_extra_parse(struct view text,
    void (*name)(void *arg, unsigned number, struct view name),
    void (*message)(void *arg, uint32_t uid, const struct keyword_set *set), void *arg);
int keyword_extra_format(struct buf *out, uint32_t uid, const struct keyword_set *set);
size_t keyword_courier_parse(struct view text,
    void (*name)(void *arg, unsigned number, struct view name),
    void (*message)(void *arg, struct view base, const struct keyword_set *set), void *arg);

static inline bool
keyword_has(const struct keyword_set *s, unsigned n)
{
	return n < STORE_MAX_KEYWORDS && (s->bits[n / 64] >> (n % 64) & 1);
}
static inline void
keyword_add(struct keyword_set *s, unsigned n)
{
	if (n < STORE_MAX_KEYWORDS)
		s->bits[n / 64] |= UINT64_C(1) << (n % 64);
}
/* The part that does not fit into letters. */
static inline struct keyword_set
keyword_extras(const struct keyword_set *s)
{
	struct keyword_set e = *s;

	e.bits[0] &= ~UINT64_C(0) << KEYWORD_LETTERS;
	return e;
}

#endif
