/* Replies of a server: the same result in one piece and byte by byte, and within the bounds. */
#include "common/proto/reply.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
feed_bytes(struct smtp_reply *r, const char *p, size_t size, size_t *used)
{
	struct err e;
	int rc = 1;

	for (*used = 0; *used < size && rc == 1;) {
		size_t n;

		rc = smtp_reply_feed(r, view_make(p + *used, 1), &n, &e);
		*used += n;
	}
	return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_reply a, b;
	size_t used_a, used_b;
	struct err e;
	int rc;

	smtp_reply_init(&a);
	smtp_reply_init(&b);
	rc = smtp_reply_feed(&a, view_make(data, size), &used_a, &e);
	if (feed_bytes(&b, (const char *)data, size, &used_b) != rc)
		abort();
	if (rc == 0 && (used_a != used_b || a.code != b.code || strcmp(a.dsn, b.dsn) != 0 ||
			   !view_eq(buf_view(&a.text), buf_view(&b.text)) || a.lines != b.lines))
		abort();
	if (rc == 0 && (a.code < 200 || a.code > 599 || a.lines > REPLY_LINES_MAX))
		abort();
	if (a.text.len > REPLY_TEXT_MAX || a.line.len > REPLY_LINE_MAX)
		abort();
	smtp_reply_clear(&a);
	smtp_reply_clear(&b);
	return 0;
}
