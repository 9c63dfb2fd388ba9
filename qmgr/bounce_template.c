#include "qmgr/bounce_template.h"
#include "common/base/err.h"
#include "common/base/utf8.h"
#include "common/mime/message.h"

enum { ARENA_MAX = 8 << 20, TEXT_MAX = 256 * 1024, HEADER_MAX = 900 };

static const char *const kind_names[TEMPLATE_KINDS] = { "failure_template", "delay_template",
	"success_template", "verify_template" };

static const char built_in[] =
    "failure_template = <<EOF\n"
    "Subject: Undelivered Mail Returned to Sender\n"
    "Postmaster-Subject: Postmaster Copy: Undelivered Mail\n"
    "\n"
    "This is the mail system at host $myhostname.\n"
    "\n"
    "I'm sorry to have to inform you that your message could not\n"
    "be delivered to one or more recipients. It's attached below.\n"
    "\n"
    "For further assistance, please send mail to postmaster.\n"
    "\n"
    "If you do so, please include this problem report. You can\n"
    "delete your own text from the attached returned message.\n"
    "\n"
    "                   The mail system\n"
    "EOF\n"
    "delay_template = <<EOF\n"
    "Subject: Delayed Mail (still being retried)\n"
    "Postmaster-Subject: Postmaster Warning: Delayed Mail\n"
    "\n"
    "This is the mail system at host $myhostname.\n"
    "\n"
    "####################################################################\n"
    "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n"
    "####################################################################\n"
    "\n"
    "Your message could not be delivered for more than $delay_warning_time_hours hour(s).\n"
    "It will be retried until it is $maximal_queue_lifetime_days day(s) old.\n"
    "\n"
    "For further assistance, please send mail to postmaster.\n"
    "\n"
    "If you do so, please include this problem report. You can\n"
    "delete your own text from the attached returned message.\n"
    "\n"
    "                   The mail system\n"
    "EOF\n"
    "success_template = <<EOF\n"
    "Subject: Successful Mail Delivery Report\n"
    "\n"
    "This is the mail system at host $myhostname.\n"
    "\n"
    "Your message was successfully delivered to the destination(s)\n"
    "listed below. If the message was delivered to mailbox you will\n"
    "receive no further notifications. Otherwise you may still receive\n"
    "notifications of mail delivery errors from other systems.\n"
    "\n"
    "                   The mail system\n"
    "EOF\n"
    "verify_template = <<EOF\n"
    "Subject: Mail Delivery Status Report\n"
    "\n"
    "This is the mail system at host $myhostname.\n"
    "\n"
    "Enclosed is the mail delivery report that you requested.\n"
    "\n"
    "                   The mail system\n"
    "EOF\n";

enum header { CHARSET, FROM, SUBJECT, POSTMASTER_SUBJECT, HEADERS };
static const char *const header_names[HEADERS] = { "Charset", "From", "Subject",
	"Postmaster-Subject" };

/* A file being read. */
struct reader {
	struct bounce_templates *into;
	struct view rest;
	const char *file;
	unsigned line, nfaults;
	struct buf *faults;
	bounce_expand_fn *expand;
	void *arg;
};

/* One template as it stands in the file. */
struct raw {
	enum template_kind kind;
	struct view language, headers[HEADERS], text;
	unsigned text_line;
};

static bool
fault(struct reader *r, unsigned line, const char *why, struct view what)
{
	r->nfaults++;
	if (r->faults != NULL)
		buf_printf(r->faults, "%s:%u: %s%s%.*s%s\n", r->file, line, why,
		    what.len > 0 ? ": \"" : "",
		    VIEW_ARG(view_make(what.p, what.len > 80 ? 80 : what.len)),
		    what.len > 0 ? "\"" : "");
	return false;
}

static bool
next_line(struct reader *r, struct view *line)
{
	if (r->rest.len == 0)
		return false;
	r->line++;
	view_cut(r->rest, '\n', line, &r->rest);
	if (view_ends(*line, "\r"))
		line->len--;
	return true;
}

/* --- one template ---------------------------------------------------------------------------------------- */

static bool
is_clean(struct view v, bool is_text)
{
	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if (c == 0x7f || (c < ' ' && !(is_text && (c == '\t' || c == '\n'))))
			return false;
	}
	return true;
}

static bool
is_ascii(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return false;
	return true;
}

static bool
is_name_byte(int c)
{
	return ascii_is_alnum(c) || c == '_';
}

/* The parameter at the start of v, behind the '$': "name", "{name}", "(name)".  Bytes of v that it takes, 0: there is none. */
static size_t
take_name(struct view v, struct view *name)
{
	char close = v.len > 0 && v.p[0] == '{' ? '}' : v.len > 0 && v.p[0] == '(' ? ')' : '\0';
	size_t from = close != '\0', end = from;

	while (end < v.len && is_name_byte((unsigned char)v.p[end]))
		end++;
	*name = view_make(v.p + from, end - from);
	if (close == '\0')
		return end;
	return end < v.len && v.p[end] == close && end > from ? end + 1 : 0;
}

/* "$$" is a dollar, and so is one that no name follows. */
static bool
expand(struct reader *r, struct view in, unsigned line, struct buf *out)
{
	struct view name;

	for (size_t i = 0; i < in.len; i++) {
		size_t used;

		line += in.p[i] == '\n';
		if (in.p[i] != '$') {
			buf_append_byte(out, in.p[i]);
			continue;
		}
		if (i + 1 < in.len && in.p[i + 1] == '$') {
			buf_append_byte(out, '$');
			i++;
			continue;
		}
		used = take_name(view_make(in.p + i + 1, in.len - i - 1), &name);
		if (used == 0)
			buf_append_byte(out, '$');
		else if (!r->expand(r->arg, name, out))
			return fault(r, line, "unknown parameter", name);
		i += used;
	}
	return true;
}

/* Into the arena, as UTF-8; NULL: it does not fit, or is not clean. */
static char *
keep(struct reader *r, const char *charset, struct view v, bool is_text)
{
	char *kept = NULL;
	struct buf b;

	buf_init(&b, 4 * TEXT_MAX);
	if (is_ascii(v))
		buf_append_view(&b, v);
	else
		charset_to_utf8(charset, v, &b);
	if (!b.failed && is_clean(buf_view(&b), is_text) && utf8_is_valid(buf_view(&b)))
		kept = arena_strndup(&r->into->arena, b.len > 0 ? b.p : "", b.len);
	buf_clear(&b);
	return kept;
}

/* "ADDRESS", "ADDRESS (NAME)" or "NAME <ADDRESS>". */
static bool
split_from(struct view v, struct view *address, struct view *name)
{
	bool has_angle = memchr(v.p, '<', v.len) != NULL;
	struct view tail;

	*name = VIEW_LIT("");
	if (has_angle && view_cut(v, '<', name, &tail)) {
		if (!view_cut(tail, '>', address, &tail) || view_trim(tail).len > 0)
			return false;
	} else if (view_cut(v, '(', address, &tail)) {
		if (!view_cut(tail, ')', name, &tail) || view_trim(tail).len > 0)
			return false;
	}
	*address = view_trim(*address);
	*name = view_trim(*name);
	if (name->len > 1 && name->p[0] == '"' && name->p[name->len - 1] == '"')
		*name = view_make(name->p + 1, name->len - 2);
	for (size_t i = 0; i < name->len; i++)
		if (strchr("()<>\"\\", name->p[i]) != NULL)
			return false;
	for (size_t i = 0; i < address->len; i++)
		if (strchr(" \t()<>\",;:\\", address->p[i]) != NULL)
			return false;
	return address->len > 0 && is_ascii(*address);
}

static bool
set_headers(struct reader *r, const struct raw *raw, const char *charset, struct bounce_template *t)
{
	struct view address = VIEW_LIT(""), name = VIEW_LIT("");

	if (raw->headers[FROM].len > 0 && !split_from(raw->headers[FROM], &address, &name))
		return fault(
		    r, raw->text_line, "From is no \"ADDRESS (NAME)\"", raw->headers[FROM]);
	if (address.len > 0) {
		t->from = keep(r, charset, address, false);
		t->from_name = keep(r, charset, name, false);
	}
	if (raw->headers[SUBJECT].len > 0)
		t->subject = keep(r, charset, raw->headers[SUBJECT], false);
	if (raw->headers[POSTMASTER_SUBJECT].len > 0)
		t->postmaster_subject = keep(r, charset, raw->headers[POSTMASTER_SUBJECT], false);
	if (t->from == NULL || t->from_name == NULL || t->subject == NULL ||
	    t->postmaster_subject == NULL)
		return fault(r, raw->text_line, "a header holds control characters", VIEW_LIT(""));
	return true;
}

static bool
set_text(struct reader *r, const struct raw *raw, const char *charset, struct bounce_template *t)
{
	struct buf crlf, text;
	bool ok;

	buf_init(&crlf, TEXT_MAX);
	buf_init(&text, TEXT_MAX);
	lf_append(raw->text, &crlf);
	ok = expand(r, buf_view(&crlf), raw->text_line, &text);
	if (ok && (crlf.failed || text.failed))
		ok = fault(r, raw->text_line, "the text is too long", VIEW_LIT(""));
	if (ok && (t->text = keep(r, charset, buf_view(&text), true)) == NULL)
		ok = fault(r, raw->text_line, "the text holds control characters", VIEW_LIT(""));
	buf_clear(&crlf);
	buf_clear(&text);
	return ok;
}

static void
add(struct reader *r, const struct raw *raw)
{
	static const struct bounce_template fresh = { "", "MAILER-DAEMON", "Mail Delivery System",
		"", "", "", NULL };
	struct bounce_templates *into = r->into;
	const struct bounce_template *like = into->first[raw->kind];
	struct bounce_template *t = arena_alloc(&into->arena, sizeof *t);
	bool is_8bit = !is_ascii(raw->text);
	char charset[64] = "us-ascii";

	while (like != NULL && like->next != NULL)
		like = like->next; /* the one built in */
	for (int i = FROM; i < HEADERS; i++)
		is_8bit = is_8bit || !is_ascii(raw->headers[i]);
	if (raw->headers[CHARSET].len >= sizeof charset ||
	    !is_clean(raw->headers[CHARSET], false)) {
		fault(r, raw->text_line, "no charset", raw->headers[CHARSET]);
		return;
	}
	if (raw->headers[CHARSET].len > 0) {
		memcpy(charset, raw->headers[CHARSET].p, raw->headers[CHARSET].len);
		charset[raw->headers[CHARSET].len] = '\0';
	}
	if (is_8bit && strcasecmp(charset, "us-ascii") == 0) {
		fault(r, raw->text_line, "what is not ASCII needs a Charset header", VIEW_LIT(""));
		return;
	}
	if (t == NULL) {
		fault(r, raw->text_line, "too many templates", VIEW_LIT(""));
		return;
	}
	*t = like != NULL ? *like : fresh;
	t->language = arena_strndup(
	    &into->arena, raw->language.len > 0 ? raw->language.p : "", raw->language.len);
	if (t->language == NULL || !set_headers(r, raw, charset, t) ||
	    !set_text(r, raw, charset, t))
		return;
	if (like == NULL && raw->headers[POSTMASTER_SUBJECT].len == 0)
		t->postmaster_subject = t->subject;
	t->next = into->first[raw->kind];
	into->first[raw->kind] = t;
}

/* --- the file ---------------------------------------------------------------------------------------------- */

static bool
is_language(struct view v)
{
	if (v.len == 0 || v.len > TEMPLATE_LANGUAGE_MAX || !ascii_is_alpha((unsigned char)v.p[0]))
		return false;
	for (size_t i = 0; i < v.len; i++)
		if (!ascii_is_alnum((unsigned char)v.p[i]) && v.p[i] != '-')
			return false;
	return true;
}

/* "NAME = <<WORD", "NAME[LANGUAGE] = <<WORD".  false: it is no such line, and *word is empty, or it is one of no template
 * that there is, to be skipped until *word. */
static bool
parse_opening(struct reader *r, struct view line, struct raw *raw, struct view *word)
{
	struct view name, value, bracket;

	*word = VIEW_LIT("");
	if (!view_cut(line, '=', &name, &value) || !view_starts(value = view_trim(value), "<<"))
		return fault(r, r->line, "expected \"NAME_template = <<WORD\"", line);
	*word = view_trim(view_make(value.p + 2, value.len - 2));
	if (word->len == 0)
		return fault(r, r->line, "no word behind <<", VIEW_LIT(""));
	name = view_trim(name);
	if (view_cut(name, '[', &name, &bracket)) {
		if (!view_ends(bracket, "]") ||
		    !is_language(raw->language = view_make(bracket.p, bracket.len - 1)))
			return fault(r, r->line, "no language tag", bracket);
		name = view_trim(name);
	}
	for (int kind = 0; kind < TEMPLATE_KINDS; kind++) {
		raw->kind = (enum template_kind)kind;
		if (view_eq_str(name, kind_names[kind]))
			return true;
	}
	return fault(r, r->line, "there is no such template", name);
}

/* Until the line that holds the word only.  *body: what stands before it.  false: there is no such line. */
static bool
take_body(struct reader *r, struct view word, struct view *body)
{
	struct view line;
	const char *from = r->rest.p;

	while (next_line(r, &line)) {
		if (!view_eq(line, word))
			continue;
		*body = view_make(from, (size_t)(line.p - from));
		return true;
	}
	return false;
}

/* The name before the colon; 0: the line is no header. */
static size_t
template_header_length(struct view line)
{
	size_t n = 0;

	while (n < line.len && (ascii_is_alnum((unsigned char)line.p[n]) || line.p[n] == '-'))
		n++;
	return n < line.len && line.p[n] == ':' ? n : 0;
}

/* What follows the first line that is no header is text; an empty line between them is not part of it. */
static bool
parse_body(struct reader *r, struct view body, unsigned line_no, struct raw *raw)
{
	struct view line, rest = body;

	for (; body.len > 0; body = rest, line_no++) {
		size_t n, i = 0;

		view_cut(body, '\n', &line, &rest);
		if (view_ends(line, "\r"))
			line.len--;
		n = template_header_length(line);
		if (n == 0) {
			if (line.len == 0) {
				body = rest;
				line_no++;
			}
			break;
		}
		while (i < HEADERS && !view_case_eq_str(view_make(line.p, n), header_names[i]))
			i++;
		if (i == HEADERS)
			return fault(
			    r, line_no, "there is no such template header", view_make(line.p, n));
		raw->headers[i] = view_trim(view_make(line.p + n + 1, line.len - n - 1));
		if (raw->headers[i].len > HEADER_MAX)
			return fault(r, line_no, "the header is too long", VIEW_LIT(""));
	}
	raw->text = body;
	raw->text_line = line_no;
	return true;
}

static void
take_template(struct reader *r, struct view opening)
{
	struct raw raw = { 0 };
	struct view word, body;
	unsigned line = r->line;
	bool ok = parse_opening(r, opening, &raw, &word);

	if (word.len == 0)
		return;
	if (!take_body(r, word, &body))
		fault(r, line, "the template does not end: there is no line with its word only",
		    word);
	else if (ok && parse_body(r, body, line + 1, &raw))
		add(r, &raw);
}

unsigned
bounce_templates_parse(struct bounce_templates *t, struct view text, const char *file,
    bounce_expand_fn *expand_fn, void *arg, struct buf *faults)
{
	struct reader r = { .into = t,
		.rest = text,
		.file = file,
		.faults = faults,
		.expand = expand_fn,
		.arg = arg };
	struct view line;

	while (next_line(&r, &line)) {
		struct view word = view_trim(line);

		if (word.len > 0 && line.p[0] != '#')
			take_template(&r, word);
	}
	return r.nfaults;
}

void
bounce_templates_init(struct bounce_templates *t, bounce_expand_fn *expand_fn, void *arg)
{
	*t = (struct bounce_templates){ 0 };
	arena_init(&t->arena, ARENA_MAX);
	if (bounce_templates_parse(t, VIEW_LIT(built_in), "built-in", expand_fn, arg, NULL) > 0)
		bug("the built-in templates are faulty");
}

void
bounce_templates_clear(struct bounce_templates *t)
{
	arena_clear(&t->arena);
}

/* --- finding ------------------------------------------------------------------------------------------------ */

static const struct bounce_template *
find_exactly(const struct bounce_templates *t, enum template_kind kind, struct view language)
{
	const struct bounce_template *b = t->first[kind];

	while (b != NULL && !view_case_eq_str(language, b->language))
		b = b->next;
	return b;
}

const struct bounce_template *
bounce_template_find(
    const struct bounce_templates *t, enum template_kind kind, struct view language)
{
	const struct bounce_template *b;

	/* "zh-Hant-TW", "zh-Hant", "zh": as RFC 4647 3.4 looks up */
	while ((b = find_exactly(t, kind, language)) == NULL && language.len > 0)
		do
			language.len--;
		while (language.len > 0 && language.p[language.len] != '-');
	return b;
}

bool
bounce_templates_have(const struct bounce_templates *t, struct view language)
{
	for (int kind = 0; kind < TEMPLATE_KINDS; kind++) {
		const struct bounce_template *b =
		    bounce_template_find(t, (enum template_kind)kind, language);

		if (b != NULL && b->language[0] != '\0')
			return true;
	}
	return false;
}
