#include "qmgr/bounce.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/base/utf8.h"
#include "common/mime/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
	FOLD_WIDTH = 78,
	BOUNDARY = 320,
	DATE = 64,
	LINE_MAX_7BIT = 998, /* RFC 5322 2.1.1 */
	QP_LINE = 76,        /* RFC 2045 6.7 (5) */
	WORD_BYTES =
	    39, /* of an encoded word, before its encoding: with a field name before it, 76 (RFC 2047 2) */
	PART_MAX = 256 << 20,
};

static bool
has_8bit(struct view v)
{
	for (size_t i = 0; i < v.len; i++)
		if ((unsigned char)v.p[i] >= 0x80)
			return true;
	return false;
}

void
bounce_xtext_decode(const char *xtext, struct buf *out)
{
	for (const char *p = xtext; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '+' && hex_decode(&c, 1, view_make(p + 1, strnlen(p + 1, 2))))
			p += 2;
		buf_append_byte(out, c < ' ' || c >= 0x7f ? '?' : c);
	}
}

/* Breaks at spaces, so that no line gets longer than it must; the text is printable ASCII. */
static void
append_folded(struct buf *out, size_t column, const char *text)
{
	struct view rest = view_of(text), word;
	bool is_first = true;

	while (view_token(&rest, " ", &word)) {
		if (!is_first && column + 1 + word.len > FOLD_WIDTH) {
			buf_append_str(out, "\r\n    ");
			column = 4;
		} else if (!is_first) {
			buf_append_byte(out, ' ');
			column++;
		}
		buf_append_view(out, word);
		column += word.len;
		is_first = false;
	}
	buf_append_str(out, "\r\n");
}

static void
append_field(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, "%s ", name);
	append_folded(out, strlen(name) + 1, text);
}

/* --- encodings --------------------------------------------------------------------------------------------- */
/* How does a part travel?  QP: where nobody is known to take 8 bits (RFC 6533 4.5), or a line is too long. */
enum encoding { ENCODING_7BIT, ENCODING_8BIT, ENCODING_QP };

static enum encoding
encoding_of(struct view v, bool may_be_8bit)
{
	struct view rest = v, line;

	while (rest.len > 0) {
		view_cut(rest, '\n', &line, &rest);
		if (line.len > LINE_MAX_7BIT)
			return ENCODING_QP;
	}
	return !has_8bit(v) ? ENCODING_7BIT : may_be_8bit ? ENCODING_8BIT : ENCODING_QP;
}

/* RFC 2045 6.7; text with CRLF line ends. */
static void
qp_append(struct view in, struct buf *out)
{
	size_t column = 0;

	for (size_t i = 0; i < in.len; i++) {
		unsigned char c = (unsigned char)in.p[i];
		bool is_end = i + 1 == in.len || in.p[i + 1] == '\r';
		bool is_plain =
		    (c > ' ' && c < 0x7f && c != '=') || ((c == ' ' || c == '\t') && !is_end);

		if (c == '\r' && i + 1 < in.len && in.p[i + 1] == '\n') {
			buf_append_str(out, "\r\n");
			column = 0;
			i++;
			continue;
		}
		if (column + (is_plain ? 1 : 3) >= QP_LINE) {
			buf_append_str(out, "=\r\n");
			column = 0;
		}
		if (is_plain)
			buf_append_byte(out, c);
		else
			buf_printf(out, "=%02X", c);
		column += is_plain ? 1 : 3;
	}
}

/* The end of a part's headers, and the part; it ends with a line end. */
static void
append_part(struct view part, enum encoding encoding, struct buf *out)
{
	static const char *const labels[] = { "", "Content-Transfer-Encoding: 8bit\r\n",
		"Content-Transfer-Encoding: quoted-printable\r\n" };

	buf_printf(out, "%s\r\n", labels[encoding]);
	if (encoding == ENCODING_QP)
		qp_append(part, out);
	else
		buf_append_view(out, part);
	if (!view_ends(part, "\n"))
		buf_append_str(out, "\r\n");
}

/* Text in a header; words of RFC 2047 when it is not ASCII. */
static void
append_words(const char *text, struct buf *out)
{
	struct view rest = view_of(text);

	if (!has_8bit(rest)) {
		buf_append_view(out, rest);
		return;
	}
	while (rest.len > 0) {
		size_t len = 0, next;
		uint32_t c;

		/* no character is cut in two (RFC 2047 5) */
		while ((next = utf8_take(view_make(rest.p + len, rest.len - len), &c)) > 0 &&
		       len + next <= WORD_BYTES)
			len += next;
		if (len == 0)
			return;
		buf_append_str(out, "=?UTF-8?B?");
		base64_encode(out, rest.p, len);
		buf_append_str(out, "?=");
		rest = view_make(rest.p + len, rest.len - len);
		if (rest.len > 0)
			buf_append_str(out, "\r\n ");
	}
}

/* --- headers ------------------------------------------------------------------------------------------- */
static bool
is_copy(const struct bounce_input *in)
{
	return in->kind == NOTICE_FAILURE_COPY || in->kind == NOTICE_DELAY_COPY;
}

static void
append_from(const struct bounce_input *in, struct buf *out)
{
	const struct bounce_template *t = in->text;
	const char *at = strchr(t->from, '@') != NULL ? "" : "@";
	const char *domain = at[0] != '\0' ? in->myhostname : "";

	buf_append_str(out, "From: ");
	if (has_8bit(view_of(t->from_name))) {
		append_words(t->from_name, out);
		buf_printf(out, "\r\n <%s%s%s>", t->from, at, domain);
	} else if (t->from_name[0] != '\0') {
		buf_printf(out, "%s%s%s (%s)", t->from, at, domain, t->from_name);
	} else {
		buf_printf(out, "%s%s%s", t->from, at, domain);
	}
	buf_append_str(out, "\r\nSubject: ");
	append_words(is_copy(in) ? t->postmaster_subject : t->subject, out);
	buf_append_str(out, "\r\n");
}

static void
render_headers(const struct bounce_input *in, const char *boundary, bool is_8bit, struct buf *out)
{
	char id[QUEUE_ID_TEXT], date[DATE], stamp[32];
	time_t now = (time_t)in->now_s;
	struct tm tm;

	queue_id_format(in->id, id);
	date_format(in->now_s, 0, date, sizeof date);
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y%m%d%H%M%S", &tm);
	buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\n", in->myhostname, in->mail_name,
	    id, date);
	buf_printf(out, "Date: %s\r\n", date);
	append_from(in, out);
	buf_printf(out, "To: %s\r\n", in->to);
	/* RFC 3834 5: no machine should answer this; what the postmaster gets answers nothing of his */
	buf_printf(out, "Auto-Submitted: %s\r\nMIME-Version: 1.0\r\n",
	    is_copy(in) ? "auto-generated" : "auto-replied");
	buf_printf(out,
	    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"%s\"\r\n",
	    boundary);
	if (is_8bit)
		buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "Message-Id: <%s.%s@%s>\r\n\r\n", stamp, id, in->myhostname);
}

/* --- first part: for people ------------------------------------------------------------------------------ */
static void
render_rcpt_text(const struct bounce_rcpt *r, struct buf *out)
{
	size_t from;

	buf_append_str(out, "\r\n");
	from = out->len;
	buf_printf(out, "<%s>", r->address);
	if (r->orig[0] != '\0' && strcmp(r->orig, r->address) != 0)
		buf_printf(out, " (expanded from <%s>)", r->orig);
	buf_append_str(out, ": ");
	append_folded(out, out->len - from, r->reason);
}

static void
render_notification(const struct bounce_input *in, bool may_be_8bit, struct buf *out)
{
	struct buf text;

	buf_init(&text, PART_MAX);
	if (!is_copy(in))
		crlf_append(view_of(in->text->text), &text);
	for (size_t i = 0; i < in->nrcpts && !text.failed; i++)
		render_rcpt_text(&in->rcpts[i], &text);
	buf_append_str(&text, "\r\n");
	buf_printf(out,
	    "Content-Description: Notification\r\nContent-Type: text/plain; charset=%s\r\n",
	    has_8bit(buf_view(&text)) ? "utf-8" : "us-ascii");
	if (!is_copy(in) && in->text->language[0] != '\0')
		buf_printf(out, "Content-Language: %s\r\n", in->text->language);
	append_part(buf_view(&text), encoding_of(buf_view(&text), may_be_8bit), out);
	out->failed = out->failed || text.failed;
	buf_clear(&text);
}

/* --- second part: for machines (RFC 3464 2, RFC 6533 3) --------------------------------------------------------- */
/* The 7-bit form of an address beyond ASCII, utf-8-addr-xtext: every character that is not QCHAR as \\x{HEX}. */
static void
append_unitext(struct buf *out, struct view address)
{
	uint32_t c;

	for (size_t n; (n = utf8_take(address, &c)) > 0;
	     address = view_make(address.p + n, address.len - n))
		if (c > ' ' && c < 0x7f && strchr("\\+=", (int)c) == NULL)
			buf_append_byte(out, (int)c);
		else
			buf_printf(out, "\\x{%02X}", (unsigned)c);
}

/* An address typed by RFC 3464 2.1.2; one beyond ASCII by RFC 6533 3. */
static void
append_address(struct buf *out, const char *field, const char *address, bool is_global)
{
	buf_printf(out, "%s ", field);
	if (!has_8bit(view_of(address))) {
		buf_printf(out, "rfc822; %s\r\n", address);
		return;
	}
	buf_append_str(out, "utf-8; ");
	if (is_global)
		buf_append_str(out, address);
	else
		append_unitext(out, view_of(address));
	buf_append_str(out, "\r\n");
}

/* "\\x{HEX}" at the start of v: its bytes, 0: it is none. */
static size_t
take_embedded(struct view v, uint32_t *c)
{
	size_t i = 3;

	*c = 0;
	if (!view_starts(v, "\\x{"))
		return 0;
	for (; i < v.len && i < 9 && v.p[i] != '}'; i++) {
		const char *digits = "0123456789ABCDEF";
		const char *d =
		    v.p[i] != '\0' ? strchr(digits, ascii_upper((unsigned char)v.p[i])) : NULL;

		if (d == NULL)
			return 0;
		*c = *c * 16 + (uint32_t)(d - digits);
	}
	/* no character that would end the field, or is none */
	if (i == 3 || i == v.len || v.p[i] != '}' || *c < ' ' || *c == 0x7f || *c > 0x10ffff ||
	    (*c >= 0xd800 && *c < 0xe000))
		return 0;
	return i + 1;
}

/* An ORCPT of type utf-8: as it is in the status of old, in the new one with its embedded characters for what they are
 * (RFC 6533 3, 4.1). */
static void
append_utf8_orcpt(struct buf *out, struct view v, bool is_global)
{
	if (!is_global) {
		/* what is beyond ASCII came by SMTPUTF8; the rest is 7-bit form already */
		if (has_8bit(v))
			append_unitext(out, v);
		else
			buf_append_view(out, v);
		return;
	}
	while (v.len > 0) {
		uint32_t c;
		size_t n = take_embedded(v, &c);

		if (n > 0)
			utf8_append(out, c);
		else
			buf_append_byte(out, v.p[0]);
		v = view_make(v.p + (n > 0 ? n : 1), v.len - (n > 0 ? n : 1));
	}
}

/* RFC 3461 6.3 (d): as the sender gave it, or not at all. */
static void
append_original(struct buf *out, const struct bounce_rcpt *r, bool is_global)
{
	struct view type, value;

	if (!view_cut(view_of(r->orcpt), ';', &type, &value))
		return;
	buf_printf(out, "Original-Recipient: %.*s;", VIEW_ARG(type));
	if (view_case_eq_str(type, "utf-8"))
		append_utf8_orcpt(out, value, is_global);
	else
		bounce_xtext_decode(value.p, out);
	buf_append_str(out, "\r\n");
}

/* RFC 3461 9.2, 6.3 (i): of what a remote server said, its reply; our own words have a type of our own. */
static void
append_diagnostic(struct buf *out, const struct bounce_rcpt *r)
{
	static const struct view said = VIEW_LIT(" said: "), in_reply = VIEW_LIT(" (in reply to ");
	struct view text = view_of(r->reason);
	const char *at = r->remote != NULL ? view_find(text, said) : NULL;
	char *reply;

	if (at == NULL) {
		append_field(out,
		    r->remote != NULL ? "Diagnostic-Code: smtp;" : "Diagnostic-Code: X-Estafeta;",
		    r->reason);
		return;
	}
	text = view_make(at + said.len, text.len - (size_t)(at + said.len - text.p));
	if ((at = view_find(text, in_reply)) != NULL)
		text.len = (size_t)(at - text.p);
	reply = x_strndup(text.p, text.len);
	append_field(out, "Diagnostic-Code: smtp;", reply);
	free(reply);
}

/* In the order of the grammar (RFC 3464 2.3). */
static void
render_rcpt_status(
    const struct bounce_input *in, const struct bounce_rcpt *r, bool is_global, struct buf *out)
{
	static const char *const actions[NOTICE_KINDS] = { "failed", "delayed", "delivered",
		"failed", "delayed" };
	char date[DATE];

	buf_append_str(out, "\r\n");
	append_original(out, r, is_global);
	append_address(out, "Final-Recipient:", r->address, is_global);
	buf_printf(out, "Action: %s\r\nStatus: %s\r\n",
	    r->is_relayed ? "relayed" : actions[in->kind], r->dsn);
	if (r->remote != NULL)
		buf_printf(
		    out, "Remote-MTA: dns; %.*s\r\n", (int)strcspn(r->remote, "["), r->remote);
	if (in->kind != NOTICE_SUCCESS)
		append_diagnostic(out, r);
	if (r->last_s > 0) {
		date_format(r->last_s, 0, date, sizeof date);
		buf_printf(out, "Last-Attempt-Date: %s\r\n", date);
	}
	if (in->kind == NOTICE_DELAY || in->kind == NOTICE_DELAY_COPY) {
		date_format(in->expires_s, 0, date, sizeof date);
		buf_printf(out, "Will-Retry-Until: %s\r\n", date);
	}
}

/* Is there an address beyond ASCII in it?  If so, and it may be sent as 8 bits, the status is of RFC 6533's kind; else
 * of the kind that every reader knows, such addresses in their 7-bit form. */
static bool
has_utf8_address(const struct bounce_input *in)
{
	bool found = has_8bit(view_of(in->sender));

	for (size_t i = 0; i < in->nrcpts && !found; i++)
		found = has_8bit(view_of(in->rcpts[i].address)) ||
			has_8bit(view_of(in->rcpts[i].orcpt));
	return found;
}

static void
render_status(const struct bounce_input *in, bool is_utf8, struct buf *out)
{
	bool is_global = is_utf8 && has_utf8_address(in);
	char id[QUEUE_ID_TEXT], date[DATE];

	queue_id_format(in->original, id);
	date_format(in->arrival_s, 0, date, sizeof date);
	buf_printf(out,
	    "Content-Description: Delivery report\r\n"
	    "Content-Type: message/%sdelivery-status\r\n%s\r\n",
	    is_global ? "global-" : "", is_global ? "Content-Transfer-Encoding: 8bit\r\n" : "");
	if (in->envid[0] != '\0') {
		buf_append_str(out, "Original-Envelope-Id: ");
		bounce_xtext_decode(in->envid, out);
		buf_append_str(out, "\r\n");
	}
	/* RFC 3461 6.3 (b): "dns" promises a name that the DNS knows */
	buf_printf(out, "Reporting-MTA: %s; %s\r\nArrival-Date: %s\r\n",
	    strchr(in->myhostname, '.') != NULL ? "dns" : "x-local-hostname", in->myhostname, date);
	buf_printf(out, "X-Estafeta-Queue-ID: %s\r\n", id);
	if (in->sender[0] != '\0')
		append_address(out, "X-Estafeta-Sender:", in->sender, is_global);
	for (size_t i = 0; i < in->nrcpts && !out->failed; i++)
		render_rcpt_status(in, &in->rcpts[i], is_global, out);
	buf_append_str(out, "\r\n");
}

/* --- third part: the message, or its headers ----------------------------------------------------------------- */
/* Only message/rfc822 cannot be encoded (RFC 2046 5.2.1): 8 bits in it make the notice a message of 8 bits. */
static void
render_returned(const struct bounce_input *in, bool is_utf8, bool *is_8bit, struct buf *out)
{
	static const char *const what[NOTICE_KINDS] = { "Undelivered", "Delayed", "Delivered",
		"Undelivered", "Delayed" };
	bool is_global = in->is_smtputf8 &&
			 has_8bit(view_make(in->returned.p, header_block_length(in->returned)));
	bool may_be_8bit = is_utf8 || (in->is_full && !is_global);
	enum encoding encoding;
	struct buf crlf;

	buf_init(&crlf, PART_MAX);
	crlf_append(in->returned, &crlf);
	encoding = encoding_of(buf_view(&crlf), may_be_8bit);
	if (in->is_full && !is_global && encoding == ENCODING_QP)
		encoding = has_8bit(buf_view(&crlf)) ? ENCODING_8BIT : ENCODING_7BIT;
	*is_8bit = *is_8bit || encoding == ENCODING_8BIT;
	buf_printf(out, "Content-Description: %s Message%s\r\n", what[in->kind],
	    in->is_full ? "" : " Headers");
	buf_printf(out, "Content-Type: %s\r\n",
	    in->is_full ? (is_global ? "message/global" : "message/rfc822")
			: (is_global ? "message/global-headers" : "text/rfc822-headers"));
	append_part(buf_view(&crlf), encoding, out);
	out->failed = out->failed || crlf.failed;
	buf_clear(&crlf);
}

int
bounce_render(const struct bounce_input *in, struct buf *headers, struct buf *body, bool *is_8bit,
    bool *is_utf8)
{
	char id[QUEUE_ID_TEXT], boundary[BOUNDARY];

	*is_8bit = *is_utf8 = has_8bit(view_of(in->to));
	/* nobody could know this when the original was written */
	queue_id_format(in->id, id);
	snprintf(
	    boundary, sizeof boundary, "%s.%lld/%.255s", id, (long long)in->now_s, in->myhostname);
	buf_printf(body, "This is a MIME-encapsulated message.\r\n\r\n--%s\r\n", boundary);
	render_notification(in, *is_utf8, body);
	buf_printf(body, "--%s\r\n", boundary);
	render_status(in, *is_utf8, body);
	buf_printf(body, "--%s\r\n", boundary);
	render_returned(in, *is_utf8, is_8bit, body);
	buf_printf(body, "\r\n--%s--\r\n", boundary);
	render_headers(in, boundary, *is_8bit, headers);
	return headers->failed || body->failed ? -1 : 0;
}
