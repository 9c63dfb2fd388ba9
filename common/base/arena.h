/* arena.h - memory with one lifetime (a command, a request), freed in one call.
 * Pointers are valid until arena_clear; a pointer is never freed singly. */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include "common/base/view.h"

struct arena_block;
struct arena {
	struct arena_block *blocks; /* owned, newest first */
	size_t used_bytes;          /* handed out */
	size_t max_bytes;           /* beyond it arena_alloc gives NULL */
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_clear(struct arena *a);
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned for any type; NULL past the cap */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
