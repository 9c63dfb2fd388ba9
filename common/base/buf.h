/* buf.h - owned bytes that grow up to a cap given at birth.
 * Ownership: buf_init/buf_clear on the caller's struct; views into p are valid until the next append.
 * Errors: an append past the cap, or without memory, returns -1 and sets `failed`, which stays set
 *         until buf_reset: a chain of appends may be checked once at its end. */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include "common/base/view.h"

#include <stdarg.h>

struct buf {
	char *p;     /* owned; NULL while nothing was ever stored */
	size_t len;  /* bytes in use */
	size_t cap;  /* bytes allocated */
	size_t max;  /* never grows past this */
	bool failed; /* an append did not fit */
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_clear(struct buf *b);  /* frees the memory; the cap stays */
void buf_wipe(struct buf *b);   /* buf_clear for secrets */
void buf_reset(struct buf *b);  /* length 0, memory kept */
int buf_append(struct buf *b, const void *p, size_t len);
int buf_append_view(struct buf *b, struct view v);
int buf_append_str(struct buf *b, const char *s);
int buf_append_byte(struct buf *b, int c);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap);
/* Room for at least len more bytes at p + len; NULL (and failed) if that passes the cap. */
char *buf_reserve(struct buf *b, size_t len);
/* Drops the first len bytes. */
void buf_consume(struct buf *b, size_t len);
/* p as a C string (a NUL behind the last byte, not counted); "" while empty; NULL when failed. */
const char *buf_cstr(struct buf *b);
static inline struct view
buf_view(const struct buf *b)
{
	return (struct view){ b->p, b->len };
}

#endif
