/* mem.h - allocation of small, fixed things: dies on failure (STYLE 3.5).  A length that a peer chose
 * goes through struct buf with a cap instead. */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

void *x_malloc(size_t size);
void *x_calloc(size_t count, size_t size);              /* zeroed; checks the product */
void *x_realloc(void *p, size_t count, size_t size);    /* checks the product */
char *x_strdup(const char *s);                          /* NULL gives NULL */
char *x_strndup(const char *s, size_t len);             /* always NUL-terminated */
char *x_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Overwrites secrets before they are freed; not optimised away. */
void mem_wipe(void *p, size_t len);
/* Equal or not in a time that depends only on len. */
int mem_equal_secret(const void *a, const void *b, size_t len);

/* Frees what *(p) points to and leaves NULL there. */
#define x_free(p)          \
	do {               \
		free(*(p)); \
		*(p) = NULL; \
	} while (0)

#endif
