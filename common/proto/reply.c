#include "common/proto/reply.h"

#include <stdio.h>

void
smtp_reply_init(struct smtp_reply *r)
{
	*r = (struct smtp_reply){ 0 };
	buf_init(&r->text, REPLY_TEXT_MAX);
	buf_init(&r->line, REPLY_LINE_MAX);
}

void
smtp_reply_clear(struct smtp_reply *r)
{
	buf_clear(&r->text);
	buf_clear(&r->line);
	smtp_reply_init(r);
}

static size_t
digits_length(struct view v, size_t from, size_t max)
{
	size_t n = 0;

	while (n < max && from + n < v.len && ascii_is_digit(v.p[from + n]))
		n++;
	return n;
}

/* RFC 3463 2: class "." subject "." detail, the latter two of 1 to 3 digits. */
size_t
enhanced_code_length(struct view text)
{
	size_t subject, detail;

	if (text.len < 5 || (text.p[0] != '2' && text.p[0] != '4' && text.p[0] != '5') ||
	    text.p[1] != '.')
		return 0;
	subject = digits_length(text, 2, 3);
	if (subject == 0 || 2 + subject >= text.len || text.p[2 + subject] != '.')
		return 0;
	detail = digits_length(text, 3 + subject, 3);
	if (detail == 0)
		return 0;
	text.p += 3 + subject + detail;
	text.len -= 3 + subject + detail;
	if (text.len > 0 && text.p[0] != ' ')
		return 0;
	return 3 + subject + detail;
}

/* Takes "d.d.d " off *text when its class is that of the code (RFC 2034 4); the first one is kept. */
static void
take_enhanced_code(struct smtp_reply *r, struct view *text)
{
	size_t len = enhanced_code_length(*text);

	if (len == 0 || text->p[0] - '0' != r->code / 100)
		return;
	if (r->lines == 0)
		snprintf(r->dsn, sizeof r->dsn, "%.*s", (int)len, text->p);
	text->p += len;
	text->len -= len;
	while (text->len > 0 && text->p[0] == ' ') {
		text->p++;
		text->len--;
	}
}

static void
keep_text(struct smtp_reply *r, struct view text)
{
	size_t room = REPLY_TEXT_MAX - r->text.len;

	if (r->lines > 0 && room > 0) {
		buf_append_byte(&r->text, '\n');
		room--;
	}
	if (text.len > room)
		text.len = room;
	buf_append_view(&r->text, text);
}

/* One line without its end: 0 it was the last, 1 more follow, -1. */
static int
reply_line(struct smtp_reply *r, struct view line, struct err *err)
{
	struct view text = line.len > 4 ? view_make(line.p + 4, line.len - 4) : VIEW_LIT("");
	int code;
	char sep;

	if (digits_length(line, 0, 3) != 3 || line.p[0] < '2' || line.p[0] > '5')
		return err_set(err, ERR_SYNTAX, "no reply code");
	code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
	sep = line.len > 3 ? line.p[3] : ' '; /* RFC 5321 4.2: the text may be missing altogether */
	if (sep != ' ' && sep != '-')
		return err_set(err, ERR_SYNTAX, "no space behind the reply code");
	if (r->lines > 0 && code != r->code)
		return err_set(
		    err, ERR_SYNTAX, "reply codes %d and %d in one reply", r->code, code);
	if (r->lines >= REPLY_LINES_MAX)
		return err_set(err, ERR_LIMIT, "reply of more than %d lines", REPLY_LINES_MAX);
	r->code = code;
	take_enhanced_code(r, &text);
	keep_text(r, text);
	r->lines++;
	return sep == '-';
}

static int
line_end(struct smtp_reply *r, struct err *err)
{
	struct view line = buf_view(&r->line);
	int rc;

	/* servers that end lines with LF alone exist; for a reply that is harmless */
	if (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	if (memchr(line.len > 0 ? line.p : "", '\r', line.len) != NULL)
		return err_set(err, ERR_SYNTAX, "bare CR in a reply");
	if (memchr(line.len > 0 ? line.p : "", '\0', line.len) != NULL)
		return err_set(err, ERR_SYNTAX, "NUL in a reply");
	rc = reply_line(r, line, err);
	buf_reset(&r->line);
	return rc;
}

int
smtp_reply_feed(struct smtp_reply *r, struct view input, size_t *used, struct err *err)
{
	int rc = 1;

	*used = 0;
	while (rc == 1 && *used < input.len) {
		const char *p = input.p + *used;
		size_t left = input.len - *used;
		const char *lf = memchr(p, '\n', left);
		size_t len = lf != NULL ? (size_t)(lf - p) : left;

		if (buf_append(&r->line, p, len) < 0)
			return err_set(
			    err, ERR_LIMIT, "reply line of more than %d bytes", REPLY_LINE_MAX);
		*used += len;
		if (lf == NULL)
			break;
		++*used;
		rc = line_end(r, err);
	}
	return rc;
}
