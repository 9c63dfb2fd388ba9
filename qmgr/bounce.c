#include "qmgr/bounce.h"
#include "common/base/codec.h"
#include "common/mime/message.h"

#include <stdio.h>
#include <time.h>

enum { FOLD_WIDTH = 78, BOUNDARY = 320, DATE = 64 };

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
		buf_append_byte(out, c < ' ' || c == 0x7f ? '?' : c);
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

/* --- headers ------------------------------------------------------------------------------------------- */
static void
render_headers(const struct bounce_input *in, const char *boundary, bool is_8bit, struct buf *out)
{
	static const char *const subjects[NOTICE_KINDS] = { "Undelivered Mail Returned to Sender",
		"Delayed Mail (still being retried)", "Successful Mail Delivery Report" };
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
	buf_printf(out, "From: MAILER-DAEMON@%s (Mail Delivery System)\r\n", in->myhostname);
	buf_printf(out, "Subject: %s\r\n", subjects[in->kind]);
	buf_printf(out, "To: %s\r\n", in->sender);
	/* RFC 3834 5: no machine should answer this */
	buf_append_str(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
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
explain_failure(const struct bounce_input *in, struct buf *out)
{
	(void)in;
	buf_append_str(out, "I'm sorry to have to inform you that your message could not\r\n"
			    "be delivered to one or more recipients. It's attached below.\r\n"
			    "\r\n"
			    "For further assistance, please send mail to postmaster.\r\n"
			    "\r\n"
			    "If you do so, please include this problem report. You can\r\n"
			    "delete your own text from the attached returned message.\r\n");
}

static void
explain_delay(const struct bounce_input *in, struct buf *out)
{
	long long hours = (in->now_s - in->arrival_s) / 3600;
	char until[DATE];

	date_format(in->expires_s, 0, until, sizeof until);
	buf_append_str(out,
	    "####################################################################\r\n"
	    "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\r\n"
	    "####################################################################\r\n"
	    "\r\n");
	if (hours > 0)
		buf_printf(out,
		    "Your message could not be delivered for more than %lld hour(s).\r\n", hours);
	else
		buf_append_str(out, "Your message could not be delivered yet.\r\n");
	buf_printf(out, "It will be retried until %s.\r\n", until);
	buf_append_str(out, "\r\n"
			    "For further assistance, please send mail to postmaster.\r\n"
			    "\r\n"
			    "If you do so, please include this problem report. You can\r\n"
			    "delete your own text from the attached returned message.\r\n");
}

static void
explain_success(const struct bounce_input *in, struct buf *out)
{
	(void)in;
	buf_append_str(out, "Your message was successfully delivered to the destination(s)\r\n"
			    "listed below. If the message was delivered to mailbox you will\r\n"
			    "receive no further notifications. Otherwise you may still receive\r\n"
			    "notifications of mail delivery errors from other systems.\r\n");
}

static void
render_notification(const struct bounce_input *in, bool is_utf8, struct buf *out)
{
	static void (*const explain[NOTICE_KINDS])(const struct bounce_input *in,
	    struct buf *out) = { explain_failure, explain_delay, explain_success };

	buf_printf(out,
	    "Content-Description: Notification\r\nContent-Type: text/plain; charset=%s\r\n",
	    is_utf8 ? "utf-8" : "us-ascii");
	if (is_utf8)
		buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "\r\nThis is the mail system at host %s.\r\n\r\n", in->myhostname);
	explain[in->kind](in, out);
	buf_append_str(out, "\r\n                   The mail system\r\n");
	for (size_t i = 0; i < in->nrcpts; i++) {
		const struct bounce_rcpt *r = &in->rcpts[i];
		size_t from;

		buf_append_str(out, "\r\n");
		from = out->len;
		buf_printf(out, "<%s>", r->address);
		if (r->orig[0] != '\0' && strcmp(r->orig, r->address) != 0)
			buf_printf(out, " (expanded from <%s>)", r->orig);
		buf_append_str(out, ": ");
		append_folded(out, out->len - from, r->reason);
	}
	buf_append_str(out, "\r\n");
}

/* --- second part: for machines (RFC 3464 2) ---------------------------------------------------------------- */
/* An address typed by RFC 3464 2.1.2; one beyond ASCII by RFC 6533 3. */
static void
append_address(struct buf *out, const char *field, const char *address)
{
	buf_printf(
	    out, "%s %s; %s\r\n", field, has_8bit(view_of(address)) ? "utf-8" : "rfc822", address);
}

static void
append_original(struct buf *out, const struct bounce_rcpt *r)
{
	const char *semicolon = strchr(r->orcpt, ';');

	if (semicolon != NULL) {
		buf_printf(out, "Original-Recipient: %.*s;", (int)(semicolon - r->orcpt), r->orcpt);
		bounce_xtext_decode(semicolon + 1, out);
		buf_append_str(out, "\r\n");
	} else {
		append_address(
		    out, "Original-Recipient:", r->orig[0] != '\0' ? r->orig : r->address);
	}
}

static void
render_rcpt_status(const struct bounce_input *in, const struct bounce_rcpt *r, struct buf *out)
{
	static const char *const actions[NOTICE_KINDS] = { "failed", "delayed", "delivered" };
	char until[DATE], diagnostic[32];

	buf_append_str(out, "\r\n");
	append_address(out, "Final-Recipient:", r->address);
	append_original(out, r);
	buf_printf(out, "Action: %s\r\nStatus: %s\r\n",
	    r->is_relayed ? "relayed" : actions[in->kind], r->dsn);
	if (r->remote != NULL)
		buf_printf(
		    out, "Remote-MTA: dns; %.*s\r\n", (int)strcspn(r->remote, "["), r->remote);
	if (in->kind != NOTICE_SUCCESS) {
		snprintf(diagnostic, sizeof diagnostic, "Diagnostic-Code: %s;",
		    r->remote != NULL ? "smtp" : "X-Estafeta");
		append_field(out, diagnostic, r->reason);
	}
	if (in->kind == NOTICE_DELAY) {
		date_format(in->expires_s, 0, until, sizeof until);
		buf_printf(out, "Will-Retry-Until: %s\r\n", until);
	}
}

static void
render_status(const struct bounce_input *in, bool is_utf8, struct buf *out)
{
	char id[QUEUE_ID_TEXT], date[DATE];

	queue_id_format(in->original, id);
	date_format(in->arrival_s, 0, date, sizeof date);
	buf_printf(out,
	    "Content-Description: Delivery report\r\n"
	    "Content-Type: message/%sdelivery-status\r\n",
	    is_utf8 ? "global-" : "");
	if (is_utf8)
		buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_printf(out, "\r\nReporting-MTA: dns; %s\r\n", in->myhostname);
	if (in->envid[0] != '\0') {
		buf_append_str(out, "Original-Envelope-Id: ");
		bounce_xtext_decode(in->envid, out);
		buf_append_str(out, "\r\n");
	}
	buf_printf(out, "X-Estafeta-Queue-ID: %s\r\n", id);
	append_address(out, "X-Estafeta-Sender:", in->sender);
	buf_printf(out, "Arrival-Date: %s\r\n", date);
	for (size_t i = 0; i < in->nrcpts && !out->failed; i++)
		render_rcpt_status(in, &in->rcpts[i], out);
	buf_append_str(out, "\r\n");
}

/* --- third part: the message, or its headers ----------------------------------------------------------------- */
static void
render_returned(const struct bounce_input *in, bool is_utf8, struct buf *out)
{
	static const char *const what[NOTICE_KINDS] = { "Undelivered", "Delayed", "Delivered" };
	bool is_8bit = has_8bit(in->returned);
	bool is_global = is_utf8 && is_8bit;

	buf_printf(out, "Content-Description: %s Message%s\r\n", what[in->kind],
	    in->is_full ? "" : " Headers");
	buf_printf(out, "Content-Type: %s\r\n",
	    in->is_full ? (is_global ? "message/global" : "message/rfc822")
			: (is_global ? "message/global-headers" : "text/rfc822-headers"));
	if (is_8bit)
		buf_append_str(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_append_str(out, "\r\n");
	crlf_append(in->returned, out);
	if (!view_ends(in->returned, "\n"))
		buf_append_str(out, "\r\n");
}

int
bounce_render(const struct bounce_input *in, struct buf *headers, struct buf *body, bool *is_8bit,
    bool *is_utf8)
{
	char id[QUEUE_ID_TEXT], boundary[BOUNDARY];

	*is_utf8 = has_8bit(view_of(in->sender));
	for (size_t i = 0; i < in->nrcpts; i++)
		*is_utf8 = *is_utf8 || has_8bit(view_of(in->rcpts[i].address)) ||
			   has_8bit(view_of(in->rcpts[i].orig)) ||
			   has_8bit(view_of(in->rcpts[i].orcpt));
	*is_8bit = *is_utf8 || has_8bit(in->returned);
	/* nobody could know this when the original was written */
	queue_id_format(in->id, id);
	snprintf(
	    boundary, sizeof boundary, "%s.%lld/%.255s", id, (long long)in->now_s, in->myhostname);
	render_headers(in, boundary, *is_8bit, headers);
	buf_printf(body, "This is a MIME-encapsulated message.\r\n\r\n--%s\r\n", boundary);
	render_notification(in, *is_utf8, body);
	buf_printf(body, "--%s\r\n", boundary);
	render_status(in, *is_utf8, body);
	buf_printf(body, "--%s\r\n", boundary);
	render_returned(in, *is_utf8, body);
	buf_printf(body, "\r\n--%s--\r\n", boundary);
	return headers->failed || body->failed ? -1 : 0;
}
