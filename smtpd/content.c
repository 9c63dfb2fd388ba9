#include "smtpd/content.h"
#include "common/base/mem.h"
#include "smtpd/cmd_data.h"

#include <errno.h>
#include <stdlib.h>

struct smtpd_content *
smtpd_content_new(uint64_t limit, size_t line_max)
{
	struct smtpd_content *c = x_calloc(1, sizeof *c);

	data_stream_init(&c->data, line_max);
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
	free(c);
}

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

int
smtpd_content_feed(struct smtpd_content *c, struct view in, size_t *used)
{
	struct buf *out = &c->body.pending;
	size_t before = out->len, len = in.len < BODY_CHUNK ? in.len : BODY_CHUNK;
	struct err err;
	int r;

	*used = 0;
	if (buf_reserve(out, len + 1) == NULL) {
		err_set(&err, ERR_TEMP, "out of memory");
		smtpd_content_fail(c, &err);
		before = 0;
		if (buf_reserve(out, len + 1) == NULL)
			return 1; /* nothing is taken: the caller's next turn may have memory */
	}
	r = data_stream_feed(&c->data, view_make(in.p, len), used, out);
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
