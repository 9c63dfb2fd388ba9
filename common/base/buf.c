#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>

void
buf_init(struct buf *b, size_t max_bytes)
{
	/* buf_reserve allocates up to max + 1; no object is larger than PTRDIFF_MAX anyway */
	*b = (struct buf){ .max = max_bytes < PTRDIFF_MAX ? max_bytes : PTRDIFF_MAX - 1 };
}

void
buf_clear(struct buf *b)
{
	x_free(&b->p);
	b->len = b->cap = 0;
	b->failed = false;
}

void
buf_wipe(struct buf *b)
{
	mem_wipe(b->p, b->cap);
	buf_clear(b);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

/* One byte more than asked is always allocated, so that buf_cstr never has to move the data. */
char *
buf_reserve(struct buf *b, size_t len)
{
	size_t want, cap;
	char *p;

	if (b->failed || len > b->max - b->len) {
		b->failed = true;
		return NULL;
	}
	want = b->len + len;
	if (b->p != NULL && want < b->cap)
		return b->p + b->len;
	cap = b->cap < 64 ? 64 : b->cap + b->cap / 2;
	if (cap < want + 1)
		cap = want + 1;
	if (cap > b->max + 1)
		cap = b->max + 1;
	p = realloc(b->p, cap);
	if (p == NULL) {
		b->failed = true;
		return NULL;
	}
	b->p = p;
	b->cap = cap;
	return b->p + b->len;
}

int
buf_append(struct buf *b, const void *p, size_t len)
{
	char *to = buf_reserve(b, len);

	if (to == NULL)
		return -1;
	if (len > 0)
		memcpy(to, p, len);
	b->len += len;
	return 0;
}

int
buf_append_view(struct buf *b, struct view v)
{
	return buf_append(b, v.p, v.len);
}

int
buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int
buf_append_byte(struct buf *b, int c)
{
	char byte = (char)c;

	return buf_append(b, &byte, 1);
}

int
buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0 || buf_reserve(b, (size_t)len) == NULL) {
		b->failed = true;
		return -1;
	}
	vsnprintf(b->p + b->len, (size_t)len + 1, fmt, ap);
	b->len += (size_t)len;
	return 0;
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void
buf_consume(struct buf *b, size_t len)
{
	if (len > b->len)
		bug("buf_consume %zu of %zu", len, b->len);
	b->len -= len;
	if (b->len > 0)
		memmove(b->p, b->p + len, b->len);
}

const char *
buf_cstr(struct buf *b)
{
	if (b->failed)
		return NULL;
	if (b->p == NULL)
		return "";
	b->p[b->len] = '\0';
	return b->p;
}
