#include "tools/submission.h"
#include "common/ipc/envelope.h"
#include "common/mime/message.h"

#include <stdio.h>

enum { ADDRESS_ARENA_MAX = 256 << 20, RECIPIENTS_BYTES_MAX = 64 << 20 };

void
submission_init(struct submission *s, size_t max_bytes)
{
	*s = (struct submission){ .nrecipients = 0 };
	buf_init(&s->message, max_bytes);
	buf_init(&s->recipients, RECIPIENTS_BYTES_MAX);
}

void
submission_clear(struct submission *s)
{
	buf_clear(&s->message);
	buf_clear(&s->recipients);
}

/* --- addresses ------------------------------------------------------------------------------------------ */

/* RFC 5321 4.1.2: Dot-string, with 8-bit bytes as RFC 6531 has them. */
static bool
is_dot_string(const char *local)
{
	bool after_dot = true;

	for (const char *p = local; *p != '\0'; p++) {
		if (*p == '.' && after_dot)
			return false;
		if (*p != '.' && !ascii_is_alnum((unsigned char)*p) && (unsigned char)*p < 0x80 &&
		    strchr("!#$%&'*+-/=?^_`{|}~", *p) == NULL)
			return false;
		after_dot = *p == '.';
	}
	return !after_dot;
}

int
submission_put_address(struct buf *out, const char *local, const char *domain, const char *origin)
{
	if (is_dot_string(local)) {
		buf_append_str(out, local);
	} else {
		buf_append_byte(out, '"');
		for (const char *p = local; *p != '\0'; p++) {
			if (*p == '"' || *p == '\\')
				buf_append_byte(out, '\\');
			buf_append_byte(out, *p);
		}
		buf_append_byte(out, '"');
	}
	if (*domain == '\0')
		domain = origin;
	if (*domain != '\0') {
		buf_append_byte(out, '@');
		buf_append_str(out, domain);
	}
	return out->failed ? -1 : 0;
}

static int
add_recipient(
    struct submission *s, const struct mail_address *a, const char *origin, struct err *err)
{
	size_t from = s->recipients.len;

	if (s->nrecipients == ENVELOPE_MAX_RCPTS)
		return err_set(err, ERR_LIMIT, "too many recipients");
	if (a->local[0] == '\0')
		return err_set(err, ERR_SYNTAX, "recipient without a name");
	submission_put_address(&s->recipients, a->local, a->domain, origin);
	if (buf_append_byte(&s->recipients, '\0') < 0)
		return err_set(err, ERR_LIMIT, "too many recipients");
	for (size_t i = from; i < s->recipients.len - 1; i++)
		if ((unsigned char)s->recipients.p[i] < ' ' || s->recipients.p[i] == 0x7f)
			return err_set(err, ERR_SYNTAX, "control character in a recipient");
	s->nrecipients++;
	return 0;
}

int
submission_add_recipients(
    struct submission *s, struct view addresses, const char *origin, struct err *err)
{
	struct mail_address *list;
	struct arena a;
	size_t n;
	int r = 0;

	arena_init(&a, ADDRESS_ARENA_MAX);
	list = address_list_parse(addresses, &a, ENVELOPE_MAX_RCPTS + 1, &n);
	if (list == NULL)
		r = err_set(err, ERR_LIMIT, "address list too long");
	for (size_t i = 0; list != NULL && i < n && r == 0; i++)
		if (list[i].kind == MAIL_ADDRESS)
			r = add_recipient(s, &list[i], origin, err);
	arena_clear(&a);
	return r;
}

/* --- the message ------------------------------------------------------------------------------------------ */

/* Takes the next line off *rest, without its line end. */
static struct view
take_line(struct view *rest)
{
	struct view line;

	view_cut(*rest, '\n', &line, rest);
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	return line;
}

static bool
is_field(struct view line)
{
	struct view name;

	if (!view_cut(line, ':', &name, NULL))
		return false;
	name = view_trim(name);
	for (size_t i = 0; i < name.len; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return false;
	return name.len > 0;
}

/* mbox separators that programs leave before the header, as Postfix's sendmail skips them. */
static struct view
skip_from_lines(struct view input)
{
	for (;;) {
		struct view rest = input, line = take_line(&rest);

		if (!view_starts(line, "From ") && !view_starts(line, ">From "))
			return input;
		input = rest;
	}
}

/* Length of what is header: up to the empty line, or to a line that is no field. */
static size_t
header_length(struct view input)
{
	struct view rest = input;
	bool is_first = true;

	while (rest.len > 0) {
		struct view before = rest, line = take_line(&rest);

		if (line.len == 0 || (!is_field(line) && (is_first || !ascii_is_space(line.p[0]))))
			return input.len - before.len;
		is_first = false;
	}
	return input.len;
}

static bool
is_dropped(const char *names, struct view name)
{
	struct view rest = view_of(names), dropped;

	while (view_token(&rest, ", \t\n", &dropped))
		if (view_case_eq(name, dropped))
			return true;
	return false;
}

struct header_facts {
	bool has_from, has_date, has_message_id, is_resent;
};

static void
note_field(struct header_facts *facts, struct view name)
{
	facts->has_from |= view_case_eq_str(name, "From");
	facts->has_date |= view_case_eq_str(name, "Date");
	facts->has_message_id |= view_case_eq_str(name, "Message-ID");
	facts->is_resent |= view_case_eq_str(name, "Resent-To") ||
			    view_case_eq_str(name, "Resent-Cc") ||
			    view_case_eq_str(name, "Resent-Bcc");
}

static int
copy_header(struct submission *s, struct view header, const char *dropped,
    struct header_facts *facts, struct err *err)
{
	struct header_field f;

	while (header_next(&header, &f)) {
		note_field(facts, f.name);
		if (is_dropped(dropped, f.name))
			continue;
		crlf_append(f.raw, &s->message);
		if (f.raw.p[f.raw.len - 1] != '\n')
			buf_append_str(&s->message, "\r\n");
	}
	return s->message.failed ? err_set(err, ERR_LIMIT, "message file too big") : 0;
}

/* RFC 5322 3.6.6: a message that is sent on goes to those whom the Resent- fields name. */
static int
recipients_from_headers(
    struct submission *s, struct view header, bool is_resent, const char *origin, struct err *err)
{
	static const char *const names[2][3] = { { "To", "Cc", "Bcc" },
		{ "Resent-To", "Resent-Cc", "Resent-Bcc" } };
	struct header_field f;

	while (header_next(&header, &f))
		for (size_t i = 0; i < 3; i++)
			if (view_case_eq_str(f.name, names[is_resent][i]) &&
			    submission_add_recipients(s, f.value, origin, err) < 0)
				return -1;
	return 0;
}

/* A display name as a quoted string if it must be one (RFC 5322 3.2.5), 8-bit text as it is. */
static void
put_phrase(struct buf *out, const char *name)
{
	bool needs_quotes = false;

	for (const char *p = name; *p != '\0'; p++)
		needs_quotes |= strchr("()<>[]:;@\\,.\"", *p) != NULL;
	if (needs_quotes)
		buf_append_byte(out, '"');
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '"' || *p == '\\')
			buf_append_byte(out, '\\');
		buf_append_byte(out, (unsigned char)*p < ' ' ? ' ' : *p);
	}
	if (needs_quotes)
		buf_append_byte(out, '"');
}

static void
put_missing_fields(
    struct submission *s, const struct header_facts *facts, const struct submission_options *o)
{
	const char *sender = o->sender[0] != '\0' ? o->sender : "MAILER-DAEMON";
	char date[64];

	if (!facts->has_date) {
		date_format(o->now, o->zone_minutes, date, sizeof date);
		buf_printf(&s->message, "Date: %s\r\n", date);
	}
	if (!facts->has_from && o->full_name[0] != '\0') {
		buf_append_str(&s->message, "From: ");
		put_phrase(&s->message, o->full_name);
		buf_printf(&s->message, " <%s>\r\n", sender);
	} else if (!facts->has_from) {
		buf_printf(&s->message, "From: %s\r\n", sender);
	}
	if (!facts->has_message_id)
		buf_printf(&s->message, "Message-ID: <%s>\r\n", o->message_id);
}

/* Up to the end, or to a line with nothing but a dot. */
static struct view
cut_at_dot(struct view input)
{
	struct view rest = input;

	while (rest.len > 0) {
		struct view before = rest, line = take_line(&rest);

		if (view_eq_str(line, "."))
			return view_make(input.p, input.len - before.len);
	}
	return input;
}

static bool
has_8bit(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return true;
	return false;
}

int
submission_build(
    struct submission *s, struct view input, const struct submission_options *o, struct err *err)
{
	struct header_facts facts = { .has_from = false };
	struct view header, body;

	if (!o->ignore_dots)
		input = cut_at_dot(input);
	input = skip_from_lines(input);
	header = view_make(input.p, header_length(input));
	body = view_make(input.p + header.len, input.len - header.len);
	if (body.len > 0 &&
	    (body.p[0] == '\n' || (body.p[0] == '\r' && body.len > 1 && body.p[1] == '\n')))
		take_line(&body);
	if (copy_header(s, header, o->drop_headers, &facts, err) < 0)
		return -1;
	if (o->recipients_from_headers &&
	    recipients_from_headers(s, header, facts.is_resent, o->origin, err) < 0)
		return -1;
	put_missing_fields(s, &facts, o);
	buf_append_str(&s->message, "\r\n");
	crlf_append(body, &s->message);
	if (body.len > 0 && body.p[body.len - 1] != '\n')
		buf_append_str(&s->message, "\r\n");
	s->has_8bit = has_8bit(buf_view(&s->message));
	return s->message.failed ? err_set(err, ERR_LIMIT, "message file too big") : 0;
}
