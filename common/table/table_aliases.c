#include "common/table/table.h"

#include <stdio.h>
#include <string.h>

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static size_t
skip_blanks(const char *line, size_t len, size_t at)
{
	while (at < len && is_blank(line[at]))
		at++;
	return at;
}

/* What tables of the other form can have as a key. */
static bool
is_name(struct view name)
{
	if (name.len == 0 || name.p[0] == '#')
		return false;
	for (size_t i = 0; i < name.len; i++)
		if ((unsigned char)name.p[i] <= ' ' || name.p[i] == '"' || name.p[i] == '\\')
			return false;
	return true;
}

/* "name:" becomes "name ", and so does the name in quotes.  false: the line is no alias. */
static bool
convert(char *line, size_t len)
{
	bool is_quoted = line[0] == '"';
	size_t from = is_quoted ? 1 : 0, end = from, colon;

	while (
	    end < len && (is_quoted ? line[end] != '"' : !is_blank(line[end]) && line[end] != ':'))
		end++;
	colon = skip_blanks(line, len, is_quoted && end < len ? end + 1 : end);
	if (colon >= len || line[colon] != ':' || !is_name(view_make(line + from, end - from)) ||
	    (!is_quoted && memchr(line, '@', end) != NULL))
		return false;
	memmove(line, line + from, end - from);
	memset(line + end - from, ' ', colon + 1 - (end - from));
	return true;
}

void
table_aliases_to_map(char *text, size_t len, const char *source,
    void (*warn)(void *arg, const char *text), void *arg)
{
	bool is_left_out = false; /* the line, and those that go on from it */
	unsigned line = 0;

	for (size_t at = 0, n; at < len; at += n + 1) {
		char *p = text + at, *end = memchr(p, '\n', len - at);
		char said[512];
		size_t begin;

		line++;
		n = end != NULL ? (size_t)(end - p) : len - at;
		begin = skip_blanks(p, n, 0);
		if (begin == n || p[begin] == '#')
			continue;
		if (begin == 0) {
			is_left_out = !convert(p, n);
			snprintf(said, sizeof said,
			    "%s, line %u: expected format: name: value; ignoring this record",
			    source, line);
			if (is_left_out && warn != NULL)
				warn(arg, said);
		}
		if (is_left_out)
			memset(p, ' ', n);
	}
}
