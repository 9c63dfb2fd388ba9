#include "authd/aliases.h"

#include <string.h>

const char *
alias_refusal(char first)
{
	return first == '|'   ? "5.7.1 mail to command is restricted"
	       : first == '/' ? "5.7.1 mail to file is restricted"
			      : NULL;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Bytes up to the first of ends outside double quotes. */
static size_t
span(struct view v, const char *ends)
{
	bool is_quoted = false;
	size_t i;

	for (i = 0; i < v.len; i++) {
		if (v.p[i] == '\\' && i + 1 < v.len)
			i++;
		else if (v.p[i] == '"')
			is_quoted = !is_quoted;
		else if (!is_quoted && v.p[i] != '\0' && strchr(ends, v.p[i]) != NULL)
			break;
	}
	return i < v.len ? i : v.len;
}

static void
skip(struct view *v, size_t len)
{
	v->p += len;
	v->len -= len;
}

/* "(text (more))"; one that does not end takes all. */
static size_t
comment_length(struct view v)
{
	size_t depth = 0;

	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] == '\\')
			i++;
		else if (v.p[i] == '(')
			depth++;
		else if (v.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return v.len;
}

/* To where the next destination begins. */
static void
skip_between(struct view *v)
{
	for (;;) {
		if (v->len > 0 && v->p[0] == '(')
			skip(v, comment_length(*v));
		else if (v->len > 0 && (v->p[0] == ',' || v->p[0] == '\n' || is_blank(v->p[0])))
			skip(v, 1);
		else
			return;
	}
}

/* Quotes around the whole go, and what they quote is as it was meant. */
static int
unquote(struct view v, char *out, struct err *err)
{
	bool is_whole = v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"';
	size_t len = 0;

	for (size_t i = 1; is_whole && i + 1 < v.len; i++) {
		if (v.p[i] == '\\')
			i++;
		else if (v.p[i] == '"')
			is_whole = false; /* "a"b"c" */
	}
	for (size_t i = 0; i < v.len; i++) {
		if (is_whole && (i == 0 || i == v.len - 1))
			continue;
		if (is_whole && v.p[i] == '\\' && i + 2 < v.len)
			i++;
		if (len + 1 >= ALIAS_ITEM_MAX || (unsigned char)v.p[i] < ' ')
			return err_set(err, ERR_SYNTAX, "a destination too long, or no text");
		out[len++] = v.p[i];
	}
	out[len] = '\0';
	return 0;
}

static enum alias_kind
take_kind(char *text)
{
	static const char include[] = ":include:";
	size_t drop = 0;
	enum alias_kind kind = ALIAS_ADDRESS;

	if (text[0] == '|')
		kind = ALIAS_COMMAND, drop = 1;
	else if (text[0] == '/')
		kind = ALIAS_FILE;
	else if (text[0] == '\\')
		kind = ALIAS_USER, drop = 1;
	else if (view_case_starts(view_of(text), include))
		kind = ALIAS_INCLUDE, drop = strlen(include);
	memmove(text, text + drop, strlen(text) - drop + 1);
	return kind;
}

/* "Name <address>": what is in the brackets; else the first word, and the others are more of them. */
static struct view
cut_address(struct view *list, struct view whole)
{
	size_t open = span(whole, "<"), len;
	struct view v;

	if (open < whole.len) {
		v = view_make(whole.p + open + 1, whole.len - open - 1);
		v.len = span(v, ">");
		skip(list, whole.len);
		return view_trim(v);
	}
	len = span(whole, " \t\r(");
	skip(list, len);
	return view_make(whole.p, len);
}

int
alias_next(struct view *list, struct alias_item *out, struct err *err)
{
	struct view whole, v;

	skip_between(list);
	if (list->len == 0)
		return 1;
	whole = view_make(list->p, span(*list, ",\n"));
	while (whole.len > 0 && is_blank(whole.p[whole.len - 1]))
		whole.len--;
	v = whole;
	if (whole.p[0] == '|' || whole.p[0] == '/' || view_case_starts(whole, ":include:"))
		skip(list, whole.len);
	else
		v = cut_address(list, whole);
	if (unquote(v, out->text, err) < 0)
		return -1;
	out->kind = take_kind(out->text);
	if (out->text[0] == '\0' || (out->kind == ALIAS_ADDRESS && out->text[0] == ':'))
		return err_set(err, ERR_SYNTAX, "bad destination \"%.*s\"",
		    (int)(v.len < 80 ? v.len : 80), v.p);
	return 0;
}
