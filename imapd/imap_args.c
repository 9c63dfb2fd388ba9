#include "imapd/imap_args.h"
#include "common/store/store.h"
#include "imapd/imap_date.h"

const char imap_args_bad_name[] = "Mailbox name is not valid mUTF-7";

void
imap_args_init(struct imap_args *p, struct view text, struct arena *a)
{
	*p = (struct imap_args){ .rest = text.len ? text : view_of(""), .arena = a };
}

bool
imap_args_fail(struct imap_args *p, const char *problem)
{
	if (p->problem == NULL)
		p->problem = problem;
	return false;
}

static void
skip(struct imap_args *p, size_t len)
{
	p->rest = view_make(p->rest.p + len, p->rest.len - len);
}

bool
imap_args_end(struct imap_args *p)
{
	return p->rest.len == 0 || imap_args_fail(p, "Junk behind the arguments");
}

bool
imap_args_next_is(const struct imap_args *p, char c)
{
	return p->rest.len > 0 && p->rest.p[0] == c;
}

bool
imap_args_try(struct imap_args *p, char c)
{
	if (!imap_args_next_is(p, c))
		return false;
	skip(p, 1);
	return true;
}

bool
imap_args_char(struct imap_args *p, char c)
{
	return imap_args_try(p, c) || imap_args_fail(p, "Invalid arguments");
}

bool
imap_args_space(struct imap_args *p)
{
	return imap_args_try(p, ' ') || imap_args_fail(p, "Missing or malformed arguments");
}

bool
imap_args_open(struct imap_args *p)
{
	if (!imap_args_try(p, '('))
		return imap_args_fail(p, "Missing '('");
	if (++p->depth > IMAP_DEPTH_MAX)
		return imap_args_fail(p, "Too many '('");
	return true;
}

bool
imap_args_close(struct imap_args *p)
{
	if (!imap_args_try(p, ')'))
		return imap_args_fail(p, "Missing ')'");
	p->depth--;
	return true;
}

/* --- tokens ------------------------------------------------------------------------------------------ */
enum { IS_ATOM = 1, IS_ASTRING = 2, IS_LIST = 4, IS_TAG = 8 };

/* RFC 3501 9: ATOM-CHAR, ASTRING-CHAR, list-char and the characters of a tag. */
static unsigned
char_class(unsigned char c)
{
	if (c <= ' ' || c >= 0x7f || c == '(' || c == ')' || c == '{' || c == '"' || c == '\\')
		return 0;
	if (c == '%' || c == '*')
		return IS_LIST;
	if (c == ']')
		return IS_ASTRING | IS_LIST | IS_TAG;
	if (c == '+')
		return IS_ATOM | IS_ASTRING | IS_LIST;
	return IS_ATOM | IS_ASTRING | IS_LIST | IS_TAG;
}

static bool
take_class(struct imap_args *p, unsigned class, struct view *out, const char *problem)
{
	size_t n = 0;

	while (n < p->rest.len && (char_class((unsigned char)p->rest.p[n]) & class))
		n++;
	if (n == 0)
		return imap_args_fail(p, problem);
	*out = view_make(p->rest.p, n);
	skip(p, n);
	return true;
}

bool
imap_is_atom(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if (!(char_class((unsigned char)v.p[i]) & IS_ATOM))
			return false;
	return v.len > 0;
}

bool
imap_args_tag(struct imap_args *p, struct view *out)
{
	return take_class(p, IS_TAG, out, "Invalid tag");
}

bool
imap_args_atom(struct imap_args *p, struct view *out)
{
	return take_class(p, IS_ATOM, out, "Atom expected");
}

bool
imap_args_word(struct imap_args *p, struct view *out)
{
	size_t n = 0;

	while (
	    n < p->rest.len && (ascii_is_alnum((unsigned char)p->rest.p[n]) || p->rest.p[n] == '.'))
		n++;
	if (n == 0)
		return imap_args_fail(p, "Invalid arguments");
	*out = view_make(p->rest.p, n);
	skip(p, n);
	return true;
}

/* Behind the opening quote. */
static bool
take_quoted(struct imap_args *p, struct view *out)
{
	size_t end = 0, len = 0, escapes = 0;
	char *copy;

	for (; end < p->rest.len && p->rest.p[end] != '"'; end++) {
		char c = p->rest.p[end];

		if (c == '\r' || c == '\n' || c == '\0')
			return imap_args_fail(p, "Invalid character in a quoted string");
		if (c != '\\')
			continue;
		end++;
		escapes++;
		if (end == p->rest.len || (p->rest.p[end] != '"' && p->rest.p[end] != '\\'))
			return imap_args_fail(p, "Invalid escape in a quoted string");
	}
	if (end == p->rest.len)
		return imap_args_fail(p, "Missing '\"'");
	*out = view_make(p->rest.p, end);
	skip(p, end + 1);
	if (escapes == 0)
		return true;
	copy = arena_alloc(p->arena, end - escapes + 1);
	if (copy == NULL)
		return imap_args_fail(p, "Command too large");
	for (size_t i = 0; i < end; i++) {
		if (out->p[i] == '\\')
			i++;
		copy[len++] = out->p[i];
	}
	*out = view_make(copy, len);
	return true;
}

/* "{" number ["+"] "}" CRLF; the reader has let through only what it followed itself. */
static bool
take_announcement(struct imap_args *p, uint32_t *size)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < p->rest.len && ascii_is_digit(p->rest.p[i]) && n <= UINT32_MAX; i++)
		n = n * 10 + (uint64_t)(p->rest.p[i] - '0');
	if (i == 0 || n > UINT32_MAX)
		return imap_args_fail(p, "Invalid literal size");
	skip(p, i);
	imap_args_try(p, '+');
	if (!imap_args_char(p, '}') || !imap_args_char(p, '\r') || !imap_args_char(p, '\n'))
		return false;
	*size = (uint32_t)n;
	return true;
}

static bool
take_literal(struct imap_args *p, struct view *out)
{
	uint32_t size = 0;

	if (!take_announcement(p, &size))
		return false;
	if (size > p->rest.len)
		return imap_args_fail(p, "Invalid literal");
	*out = view_make(p->rest.p, size);
	skip(p, size);
	if (size > 0 && memchr(out->p, '\0', size) != NULL)
		return imap_args_fail(p, "NUL in a literal"); /* RFC 3501 9 note 3 */
	return true;
}

bool
imap_args_streamed_literal(struct imap_args *p, uint32_t *size)
{
	if (!imap_args_try(p, '{'))
		return imap_args_fail(p, "Literal expected");
	return take_announcement(p, size);
}

bool
imap_args_string(struct imap_args *p, struct view *out)
{
	if (imap_args_try(p, '"'))
		return take_quoted(p, out);
	if (imap_args_try(p, '{'))
		return take_literal(p, out);
	return imap_args_fail(p, "String expected");
}

bool
imap_args_astring(struct imap_args *p, struct view *out)
{
	if (imap_args_next_is(p, '"') || imap_args_next_is(p, '{'))
		return imap_args_string(p, out);
	return take_class(p, IS_ASTRING, out, "Invalid arguments");
}

bool
imap_args_nstring(struct imap_args *p, struct view *out, bool *is_nil)
{
	*is_nil = false;
	if (imap_args_next_is(p, '"') || imap_args_next_is(p, '{'))
		return imap_args_string(p, out);
	if (!take_class(p, IS_ATOM, out, "String or NIL expected"))
		return false;
	*is_nil = view_case_eq_str(*out, "NIL");
	return *is_nil || imap_args_fail(p, "String or NIL expected");
}

bool
imap_args_list_mailbox(struct imap_args *p, struct view *out)
{
	if (imap_args_next_is(p, '"') || imap_args_next_is(p, '{'))
		return imap_args_string(p, out);
	return take_class(p, IS_LIST, out, "Invalid arguments");
}

bool
imap_args_number(struct imap_args *p, uint32_t *out)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < p->rest.len && ascii_is_digit(p->rest.p[i]) && n <= UINT32_MAX; i++)
		n = n * 10 + (uint64_t)(p->rest.p[i] - '0');
	if (i == 0 || n > UINT32_MAX)
		return imap_args_fail(p, "Invalid number");
	skip(p, i);
	*out = (uint32_t)n;
	return true;
}

bool
imap_args_nz_number(struct imap_args *p, uint32_t *out)
{
	return imap_args_number(p, out) && (*out != 0 || imap_args_fail(p, "Invalid number"));
}

bool
imap_args_seqset(struct imap_args *p, struct imap_seqset *out)
{
	return imap_seqset_parse(&p->rest, p->arena, out) == 0 ||
	       imap_args_fail(p, "Invalid messageset");
}

bool
imap_args_date(struct imap_args *p, int64_t *days)
{
	struct view text;

	if (!imap_args_astring(p, &text))
		return false;
	return imap_date_parse(text, days) || imap_args_fail(p, "Invalid date");
}

/* --- names and flags ----------------------------------------------------------------------------------- */
bool
imap_args_mailbox(struct imap_args *p, const char **out)
{
	struct view wire;
	struct buf utf8;

	if (!imap_args_astring(p, &wire))
		return false;
	if (view_case_eq_str(wire, "INBOX")) {
		*out = "INBOX";
		return true;
	}
	buf_init(&utf8, STORE_NAME_MAX * 2);
	*out = NULL;
	if (mutf7_decode(wire, &utf8) == 0 && !utf8.failed)
		*out = arena_strndup(p->arena, utf8.len ? utf8.p : "", utf8.len);
	buf_clear(&utf8);
	return *out != NULL || imap_args_fail(p, imap_args_bad_name);
}

static bool
add_keyword(struct imap_args *p, struct view name, struct imap_flags *out)
{
	/* RFC 5788: what Maildir has a letter for is kept as that */
	if (view_case_eq_str(name, "$Forwarded")) {
		out->flags |= FLAG_PASSED;
		return true;
	}
	if (name.len > IMAP_KEYWORD_LEN_MAX)
		return imap_args_fail(p, "Keyword too long");
	for (size_t i = 0; i < out->nkeywords; i++)
		if (view_case_eq_str(name, out->keywords[i]))
			return true;
	if (out->nkeywords == IMAP_FLAGS_MAX)
		return imap_args_fail(p, "Too many flags");
	if (out->keywords == NULL)
		out->keywords = arena_alloc(p->arena, IMAP_FLAGS_MAX * sizeof out->keywords[0]);
	if (out->keywords == NULL ||
	    (out->keywords[out->nkeywords] = arena_strndup(p->arena, name.p, name.len)) == NULL)
		return imap_args_fail(p, "Command too large");
	out->nkeywords++;
	return true;
}

bool
imap_args_flag(struct imap_args *p, struct imap_flags *out)
{
	static const struct {
		const char *name;
		uint16_t flag;
	} system_flags[] = { { "Seen", FLAG_SEEN }, { "Answered", FLAG_ANSWERED },
		{ "Flagged", FLAG_FLAGGED }, { "Deleted", FLAG_DELETED }, { "Draft", FLAG_DRAFT } };
	bool is_system = imap_args_try(p, '\\');
	struct view name;

	if (!imap_args_atom(p, &name))
		return false;
	if (!is_system)
		return add_keyword(p, name, out);
	for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++) {
		if (view_case_eq_str(name, system_flags[i].name)) {
			out->flags |= system_flags[i].flag;
			return true;
		}
	}
	return imap_args_fail(p, "Invalid system flag");
}

bool
imap_args_flag_list(struct imap_args *p, struct imap_flags *out)
{
	if (!imap_args_open(p))
		return false;
	if (imap_args_next_is(p, ')'))
		return imap_args_close(p);
	do {
		if (!imap_args_flag(p, out))
			return false;
	} while (imap_args_try(p, ' '));
	return imap_args_close(p);
}
