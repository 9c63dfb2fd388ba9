#include "common/base/view.h"

bool
view_eq(struct view a, struct view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool
view_eq_str(struct view a, const char *s)
{
	return view_eq(a, view_of(s));
}

bool
view_case_eq(struct view a, struct view b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++)
		if (ascii_lower((unsigned char)a.p[i]) != ascii_lower((unsigned char)b.p[i]))
			return false;
	return true;
}

bool
view_case_eq_str(struct view a, const char *s)
{
	return view_case_eq(a, view_of(s));
}

bool
view_starts(struct view a, const char *prefix)
{
	struct view p = view_of(prefix);

	return a.len >= p.len && view_eq(view_make(a.p, p.len), p);
}

bool
view_case_starts(struct view a, const char *prefix)
{
	struct view p = view_of(prefix);

	return a.len >= p.len && view_case_eq(view_make(a.p, p.len), p);
}

bool
view_ends(struct view a, const char *suffix)
{
	struct view s = view_of(suffix);

	return a.len >= s.len && view_eq(view_make(a.p + a.len - s.len, s.len), s);
}

struct view
view_trim(struct view v)
{
	while (v.len > 0 && ascii_is_space(v.p[0]))
		v.p++, v.len--;
	while (v.len > 0 && ascii_is_space(v.p[v.len - 1]))
		v.len--;
	return v;
}

bool
view_cut(struct view v, char c, struct view *head, struct view *tail)
{
	const char *hit = v.len ? memchr(v.p, c, v.len) : NULL;
	size_t at = hit ? (size_t)(hit - v.p) : v.len;

	if (head)
		*head = view_make(v.p, at);
	if (tail) /* an empty view may be NULL, to which nothing may be added */
		*tail = hit ? view_make(hit + 1, v.len - at - 1)
			    : view_make(v.len ? v.p + v.len : v.p, 0);
	return hit != NULL;
}

bool
view_token(struct view *rest, const char *seps, struct view *token)
{
	size_t i = 0, start;

	*token = *rest;
	if (rest->len == 0)
		return false;
	while (i < rest->len && rest->p[i] != '\0' && strchr(seps, rest->p[i]))
		i++;
	start = i;
	while (i < rest->len && (rest->p[i] == '\0' || !strchr(seps, rest->p[i])))
		i++;
	*token = view_make(rest->p + start, i - start);
	*rest = view_make(rest->p + i, rest->len - i);
	return token->len > 0;
}

bool
view_u64(struct view v, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (v.len == 0)
		return false;
	for (size_t i = 0; i < v.len; i++) {
		uint64_t digit = (uint64_t)(v.p[i] - '0');

		if (!ascii_is_digit(v.p[i]) || n > (UINT64_MAX - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	if (n > max)
		return false;
	*out = n;
	return true;
}

const char *
view_find(struct view haystack, struct view needle)
{
	if (needle.len == 0) /* it is in all, in what is NULL as well */
		return haystack.p == NULL ? "" : haystack.p;
	return haystack.len < needle.len ? NULL
					 : memmem(haystack.p, haystack.len, needle.p, needle.len);
}

void
ascii_lower_str(char *s)
{
	for (; *s; s++)
		*s = (char)ascii_lower((unsigned char)*s);
}
