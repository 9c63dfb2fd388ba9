#include "smtpd/content.h"
#include "common/base/mem.h"
#include "smtpd/cmd_data.h"

#include <errno.h>
#include <stdlib.h>

struct smtpd_content *
smtpd_content_new(uint64_t limit, size_t line_max, unsigned modes)
{
	struct smtpd_content *c = x_calloc(1, sizeof *c);

	data_stream_init(&c->data, line_max, modes);
	header_scan_init(&c->headers);
	body_init(&c->body);
	c->limit = limit;
	return c;
}

void
smtpd_content_free(struct smtpd_content *c)
{
	if (c == NULL)
		return;
	body_clear(&c->body);
	if (c->has_list)
		header_list_clear(&c->list);
	free(c);
}

/* --- the headers as a list ---------------------------------------------------------------------------- */

/* Parses from the first bytes of the content.  0: done, 1: the section may go on behind them. */
static int
parse_head(struct smtpd_content *c, struct view head, bool is_all, struct err *err)
{
	size_t body;

	/* a line that is cut would look like the end of the section */
	while (!is_all && head.len > 0 && head.p[head.len - 1] != '\n')
		head.len--;
	if (header_list_parse(&c->list, head, &body, err) < 0)
		return err->kind != ERR_SYNTAX ? -1 : is_all || head.len > 0 ? 0 : 1;
	/* a last field may be continued in the next line */
	if (!is_all && body == head.len && !c->list.has_empty_line)
		return 1;
	c->has_section = true;
	c->body_at = body;
	return 0;
}

static int
load_headers(struct smtpd_content *c, struct buf *head, struct err *err)
{
	uint64_t all = body_size(&c->body), want = BODY_CHUNK;
	int r;

	do {
		uint64_t more;

		want = want < all ? want : all;
		more = want - head->len;
		if (buf_reserve(head, (size_t)more) == NULL)
			return err_set(err, ERR_LIMIT, "header section of more than %d bytes",
			    HEADER_LIST_MAX_BYTES);
		if (body_read(&c->body, head->len, head->p + head->len, (size_t)more, err) < 0)
			return -1;
		head->len = (size_t)want;
		header_list_clear(&c->list);
		header_list_init(&c->list);
		r = parse_head(c, buf_view(head), want == all, err);
		want *= 4;
	} while (r == 1);
	return r;
}

int
smtpd_content_headers(struct smtpd_content *c, struct err *err)
{
	struct buf head;
	int r;

	if (c->has_list)
		return 0;
	c->has_list = true;
	header_list_init(&c->list);
	buf_init(&head, 2UL * HEADER_LIST_MAX_BYTES);
	r = load_headers(c, &head, err);
	buf_clear(&head);
	return r;
}

/* --- the content as it comes in ------------------------------------------------------------------------- */

/* What was stored is of no use any more: memory and disk are given back while the rest is read. */
static void
drop_body(struct smtpd_content *c)
{
	body_clear(&c->body);
}

void
smtpd_content_fail(struct smtpd_content *c, const struct err *why)
{
	c->has_failed = true;
	c->why = *why;
	drop_body(c);
}

/* The bytes of pending from `before` on are new; only within the header section they are looked at. */
static void
leave_out_fields(struct smtpd_content *c, size_t before, bool is_end)
{
	struct buf *out = &c->body.pending, kept;
	uint64_t dropped = c->drop.dropped;
	struct err err;

	buf_init(&kept, out->len - before + HEADER_DROP_HELD);
	header_drop_feed(&c->drop, view_make(out->p + before, out->len - before), &kept);
	if (is_end)
		header_drop_end(&c->drop, &kept);
	out->len = before;
	c->data.size -= c->drop.dropped - dropped;
	if (kept.failed || buf_append_view(out, buf_view(&kept)) < 0) {
		err_set(&err, ERR_TEMP, "out of memory");
		smtpd_content_fail(c, &err);
	}
	buf_clear(&kept);
}

int
smtpd_content_feed(struct smtpd_content *c, struct view in, size_t *used)
{
	struct buf *out = &c->body.pending;
	unsigned growth = c->data.modes & DATA_NORMALIZE ? 2 : 1;
	size_t before = out->len, most = BODY_CHUNK / growth;
	size_t len = in.len < most ? in.len : most;
	struct err err;
	int r;

	*used = 0;
	if (buf_reserve(out, growth * (len + 1)) == NULL) {
		err_set(&err, ERR_TEMP, "out of memory");
		smtpd_content_fail(c, &err);
		before = 0;
		if (buf_reserve(out, growth * (len + 1)) == NULL)
			return 1; /* nothing is taken: the caller's next turn may have memory */
	}
	r = data_stream_feed(&c->data, view_make(in.p, len), used, out);
	if (header_drop_is_wanted(&c->drop) && !smtpd_content_is_spoilt(c)) {
		leave_out_fields(c, before, r == 0);
		before = before < out->len ? before : out->len;
	}
	if (!c->headers.is_over)
		header_scan_feed(&c->headers, view_make(out->p + before, out->len - before));
	if (c->limit > 0 && c->data.size > c->limit)
		c->is_too_big = true;
	if (smtpd_content_is_spoilt(c))
		drop_body(c);
	else if (body_appended(&c->body, &err) < 0)
		smtpd_content_fail(c, &err);
	if (r == 0)
		header_scan_finish(&c->headers);
	return r;
}

void
smtpd_content_end(struct smtpd_content *c)
{
	data_stream_end(&c->data);
	if (header_drop_is_wanted(&c->drop) && !smtpd_content_is_spoilt(c))
		leave_out_fields(c, c->body.pending.len, true);
	header_scan_finish(&c->headers);
}

/* Postfix (smtpd_forbid_bare_newline = reject) answers 550 and keeps the session; so do we.  The message was
 * read to the only end that RFC 5321 knows, so that both sides agree on where the next command begins; whoever
 * smuggled sees one refusal and none of the hidden commands done. */
static bool
is_malformed(const struct smtpd_content *c, struct content_verdict *v)
{
	if (c->data.faults & DATA_BARE_LF)
		*v = (struct content_verdict){ 550, "5.5.2", "Error: bare <LF> received" };
	else if (c->data.faults & DATA_BARE_CR)
		*v = (struct content_verdict){ 550, "5.5.2", "Error: bare <CR> received" };
	else if (c->data.faults & DATA_NUL)
		*v = (struct content_verdict){ 550, "5.6.0", "Error: NUL byte received" };
	else if (c->data.faults & DATA_LONG_LINE)
		*v = (struct content_verdict){ 554, "5.6.0", "Error: message line too long" };
	else
		return false;
	return true;
}

struct content_verdict
smtpd_content_unreadable(const struct err *why)
{
	if (why->kind == ERR_LIMIT) /* no later attempt would be better */
		return (struct content_verdict){ 552, "5.3.4", "Error: message header too large" };
	return (struct content_verdict){ 451, "4.3.0", "Error: queue file write error" };
}

bool
smtpd_content_is_refused(const struct smtpd_content *c, unsigned hop_limit, size_t header_limit,
    struct content_verdict *v)
{
	if (is_malformed(c, v))
		return true;
	if (c->is_too_big) /* RFC 1870 6.3 */
		*v = (struct content_verdict){ 552, "5.3.4", "Error: message file too big" };
	else if (c->has_failed &&
		 (c->why.sys == ENOSPC || c->why.sys == EDQUOT || c->why.sys == EFBIG))
		*v = (struct content_verdict){ 452, "4.3.1", "Insufficient system storage" };
	else if (c->has_failed)
		*v = (struct content_verdict){ 451, "4.3.0", "Error: queue file write error" };
	else if (c->headers.received > hop_limit) /* RFC 5321 6.3 */
		*v = (struct content_verdict){ 554, "5.4.6", "Error: too many hops" };
	else if (c->headers.longest_field > header_limit)
		*v = (struct content_verdict){ 552, "5.3.4",
			"Error: message header field too long" };
	else
		return false;
	return true;
}
