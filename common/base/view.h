/* view.h - borrowed bytes: a pointer and a length, no terminator promised. */
#ifndef COMMON_BASE_VIEW_H
#define COMMON_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct view {
	const char *p;
	size_t len;
};

/* printf("%.*s", VIEW_ARG(v)) */
#define VIEW_ARG(v) (int)((v).len > 0x7fffffff ? 0x7fffffff : (v).len), (v).p
#define VIEW_LIT(s) ((struct view){ (s), sizeof(s) - 1 })

static inline struct view
view_of(const char *s)
{
	return (struct view){ s, s == NULL ? 0 : strlen(s) };
}
static inline struct view
view_make(const void *p, size_t len)
{
	return (struct view){ p, len };
}
bool view_eq(struct view a, struct view b);
bool view_eq_str(struct view a, const char *s);
bool view_case_eq(struct view a, struct view b);        /* ASCII case only */
bool view_case_eq_str(struct view a, const char *s);
bool view_case_starts(struct view a, const char *prefix);
bool view_starts(struct view a, const char *prefix);
bool view_ends(struct view a, const char *suffix);
struct view view_trim(struct view v);                   /* drops SP and TAB at both ends */
/* Cuts v at the first byte c: *head gets what is before it, *tail what follows it.  Without c: *head
 * is all of v, *tail is empty and false is returned.  head and tail may be NULL or point to v. */
bool view_cut(struct view v, char c, struct view *head, struct view *tail);
/* The next token of *rest between bytes of seps; false at the end. */
bool view_token(struct view *rest, const char *seps, struct view *token);
/* Whole view is a decimal number <= max. */
bool view_u64(struct view v, uint64_t max, uint64_t *out);
const char *view_find(struct view haystack, struct view needle); /* NULL: not in it */

/* ASCII-only ctype: the locale never decides what the wire means. */
static inline bool
ascii_is_digit(int c)
{
	return c >= '0' && c <= '9';
}
static inline bool
ascii_is_alpha(int c)
{
	return (c | 32) >= 'a' && (c | 32) <= 'z';
}
static inline bool
ascii_is_alnum(int c)
{
	return ascii_is_digit(c) || ascii_is_alpha(c);
}
static inline bool
ascii_is_space(int c)
{
	return c == ' ' || c == '\t';
}
static inline int
ascii_lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}
static inline int
ascii_upper(int c)
{
	return c >= 'a' && c <= 'z' ? c - 32 : c;
}
void ascii_lower_str(char *s);

#endif
