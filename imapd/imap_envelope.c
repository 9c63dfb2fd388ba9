#include "imapd/imap_envelope.h"
#include "imapd/imap_write.h"

const char imap_envelope_empty[] = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

/* In the order of RFC 3501 7.4.2. */
enum envelope_field {
	E_DATE,
	E_SUBJECT,
	E_FROM,
	E_SENDER,
	E_REPLY_TO,
	E_TO,
	E_CC,
	E_BCC,
	E_IN_REPLY_TO,
	E_MESSAGE_ID,
	E_COUNT
};
static const char *const field_names[E_COUNT] = { "Date", "Subject", "From", "Sender", "Reply-To",
	"To", "Cc", "Bcc", "In-Reply-To", "Message-ID" };

/* The first field of each name, in one pass: linear however many headers there are. */
static void
find_fields(struct view header, struct view values[E_COUNT], bool found[E_COUNT])
{
	struct header_field field;

	memset(found, 0, E_COUNT * sizeof found[0]);
	while (header_next(&header, &field)) {
		for (int i = 0; i < E_COUNT; i++) {
			if (found[i] || !view_case_eq_str(field.name, field_names[i]))
				continue;
			values[i] = field.value;
			found[i] = true;
		}
	}
}

static void
write_text(struct view value, bool found, struct buf *out)
{
	struct buf line;

	if (!found) {
		buf_append_str(out, "NIL");
		return;
	}
	buf_init(&line, value.len + 1);
	if (header_unfold(value, &line) == 0)
		imap_write_string(out, view_trim(buf_view(&line)));
	else
		out->failed = true;
	buf_clear(&line);
}

static void
write_address(const struct mail_address *a, struct buf *out)
{
	if (a->kind == MAIL_GROUP_START) {
		buf_append_str(out, "(NIL NIL ");
		imap_write_string(out, view_of(a->name ? a->name : ""));
		buf_append_str(out, " NIL)");
		return;
	}
	if (a->kind == MAIL_GROUP_END) {
		buf_append_str(out, "(NIL NIL NIL NIL)");
		return;
	}
	/* NIL as mailbox or host would mean a group: Dovecot's words stand for what is missing */
	buf_append_byte(out, '(');
	imap_write_nstring(out, a->name);
	buf_append_byte(out, ' ');
	imap_write_nstring(out, a->route);
	buf_append_byte(out, ' ');
	imap_write_nstring(out, a->local != NULL && a->local[0] ? a->local : "MISSING_MAILBOX");
	buf_append_byte(out, ' ');
	imap_write_nstring(out, a->domain != NULL && a->domain[0] ? a->domain : "MISSING_DOMAIN");
	buf_append_byte(out, ')');
}

/* Appends the list; false: there is no address in it. */
static bool
write_addresses(struct view value, struct arena *scratch, struct buf *out)
{
	size_t count = 0;
	struct mail_address *list =
	    address_list_parse(value, scratch, IMAP_ENVELOPE_ADDRESSES_MAX, &count);

	if (list == NULL) {
		out->failed = true;
		return false;
	}
	if (count == 0)
		return false;
	buf_append_byte(out, '(');
	for (size_t i = 0; i < count; i++)
		write_address(&list[i], out);
	buf_append_byte(out, ')');
	return true;
}

int
imap_envelope_write(struct view header, struct arena *scratch, struct buf *out)
{
	struct view values[E_COUNT];
	bool found[E_COUNT];

	find_fields(header, values, found);
	for (int i = 0; i < E_COUNT; i++) {
		bool has_addresses = i >= E_FROM && i <= E_BCC;

		buf_append_byte(out, i ? ' ' : '(');
		if (!has_addresses) {
			write_text(values[i], found[i], out);
			continue;
		}
		if (found[i] && write_addresses(values[i], scratch, out))
			continue;
		/* RFC 3501 7.4.2: without Sender or Reply-To, From stands for them */
		if ((i == E_SENDER || i == E_REPLY_TO) && found[E_FROM] &&
		    write_addresses(values[E_FROM], scratch, out))
			continue;
		buf_append_str(out, "NIL");
	}
	buf_append_byte(out, ')');
	return out->failed ? -1 : 0;
}

/* --- BODY and BODYSTRUCTURE ---------------------------------------------------------------------------- */
struct body_writer {
	struct view message;
	struct arena *scratch;
	struct buf *out;
	bool extended;
};

/* What RFC 2231 spells in UTF-8 keeps that form: name*=utf-8''%C3%A4.  Raw 8-bit bytes go out as they are. */
static void
write_param(const struct mime_param *param, struct buf *out)
{
	struct buf name;

	buf_init(&name, strlen(param->name) + 2);
	buf_printf(&name, "%s%s", param->name, param->extended ? "*" : "");
	imap_write_string(out, buf_view(&name));
	buf_append_byte(out, ' ');
	imap_write_string(out, view_of(param->extended ? param->extended : param->value));
	out->failed |= name.failed;
	buf_clear(&name);
}

static void
write_params(const struct mime_param *list, bool is_text, struct buf *out)
{
	bool has_charset = false, any = false;

	for (const struct mime_param *p = list; p != NULL; p = p->next) {
		buf_append_byte(out, any ? ' ' : '(');
		any = true;
		write_param(p, out);
		has_charset |= view_case_eq_str(view_of(p->name), "charset");
	}
	if (is_text && !has_charset) { /* RFC 2045 5.2: that is what its absence means */
		buf_append_str(out, any ? " " : "(");
		buf_append_str(out, "\"charset\" \"us-ascii\"");
		any = true;
	}
	buf_append_str(out, any ? ")" : "NIL");
}

static void
write_disposition(const struct mime_part *part, struct buf *out)
{
	if (part->disposition == NULL) {
		buf_append_str(out, "NIL");
		return;
	}
	buf_append_byte(out, '(');
	imap_write_string(out, view_of(part->disposition));
	buf_append_byte(out, ' ');
	write_params(part->disposition_params, false, out);
	buf_append_byte(out, ')');
}

/* [md5] dsp lang loc, each with a space before it */
static void
write_extension(const struct mime_part *part, struct buf *out)
{
	buf_append_byte(out, ' ');
	write_disposition(part, out);
	buf_append_byte(out, ' ');
	if (part->languages == NULL || part->languages[0] == NULL) {
		buf_append_str(out, "NIL");
	} else {
		for (size_t i = 0; part->languages[i] != NULL; i++) {
			buf_append_byte(out, i ? ' ' : '(');
			imap_write_string(out, view_of(part->languages[i]));
		}
		buf_append_byte(out, ')');
	}
	buf_append_byte(out, ' ');
	imap_write_nstring(out, part->location);
}

static void write_part(struct body_writer *w, const struct mime_part *part);

static void
write_multipart(struct body_writer *w, const struct mime_part *part)
{
	struct buf *out = w->out;

	buf_append_byte(out, '(');
	for (const struct mime_part *c = part->first_child; c != NULL && !out->failed; c = c->next)
		write_part(w, c);
	if (part->first_child == NULL) /* the grammar wants one: 1*body */
		buf_printf(out,
		    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0%s)",
		    w->extended ? " NIL NIL NIL NIL" : "");
	buf_append_byte(out, ' ');
	imap_write_string(out, view_of(part->subtype));
	if (w->extended) {
		buf_append_byte(out, ' ');
		write_params(part->params, false, out);
		write_extension(part, out);
	}
	buf_append_byte(out, ')');
}

static bool
is_embedded_message(const struct mime_part *part)
{
	return strcmp(part->type, "message") == 0 && strcmp(part->subtype, "rfc822") == 0;
}

static void
write_embedded(struct body_writer *w, const struct mime_part *part)
{
	const struct mime_part *inner = part->first_child;

	buf_append_byte(w->out, ' ');
	imap_envelope_write(
	    view_make(w->message.p + inner->header_off, inner->header_len), w->scratch, w->out);
	buf_append_byte(w->out, ' ');
	write_part(w, inner);
}

static void
write_part(struct body_writer *w, const struct mime_part *part)
{
	struct buf *out = w->out;
	bool is_text = strcmp(part->type, "text") == 0;
	bool is_message = is_embedded_message(part) && part->first_child != NULL;
	/* a message that was not looked into (bounds, encoding) has no envelope to show: it is just bytes */
	bool is_opaque = is_embedded_message(part) && !is_message;

	if (strcmp(part->type, "multipart") == 0) {
		write_multipart(w, part);
		return;
	}
	buf_append_byte(out, '(');
	imap_write_string(out, view_of(is_opaque ? "application" : part->type));
	buf_append_byte(out, ' ');
	imap_write_string(out, view_of(is_opaque ? "octet-stream" : part->subtype));
	buf_append_byte(out, ' ');
	write_params(part->params, is_text, out);
	buf_append_byte(out, ' ');
	imap_write_nstring(out, part->id);
	buf_append_byte(out, ' ');
	imap_write_nstring(out, part->description);
	buf_append_byte(out, ' ');
	imap_write_string(out, view_of(part->encoding));
	buf_printf(out, " %zu", part->body_len);
	if (is_message)
		write_embedded(w, part);
	if (is_text || is_message)
		buf_printf(out, " %u", part->body_lines);
	if (w->extended) {
		buf_append_byte(out, ' ');
		imap_write_nstring(out, part->md5);
		write_extension(part, out);
	}
	buf_append_byte(out, ')');
}

int
imap_body_write(struct view message, const struct mime_part *root, bool extended,
    struct arena *scratch, struct buf *out)
{
	struct body_writer w = { message, scratch, out, extended };

	write_part(&w, root);
	return out->failed ? -1 : 0;
}

void
imap_body_write_opaque(size_t size, bool extended, struct buf *out)
{
	buf_printf(out, "(\"application\" \"octet-stream\" NIL NIL NIL \"binary\" %zu%s)", size,
	    extended ? " NIL NIL NIL NIL" : "");
}
