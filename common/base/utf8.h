/* utf8.h - strict UTF-8 (RFC 3629): no overlong forms, no surrogates, at most U+10FFFF (pure). */
#ifndef COMMON_BASE_UTF8_H
#define COMMON_BASE_UTF8_H

#include "common/base/buf.h"

/* Length of the character at the start of v and its number; 0: malformed or empty. */
size_t utf8_take(struct view v, uint32_t *c);
bool utf8_is_valid(struct view v);
int utf8_append(struct buf *out, uint32_t c);

#endif
