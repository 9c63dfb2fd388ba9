/* What leaves for a peer: however the message is cut, the same bytes; CR LF lines only; one end of data, at the end.
 * First byte: line limit, second: where to cut. */
#include "qmgr/relay/content.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
filter(const char *p, size_t size, size_t cut, size_t line_max, struct buf *out)
{
	struct relay_filter f;

	relay_filter_init(&f, line_max);
	if (relay_filter_feed(&f, p, cut, out, NULL) < 0 ||
	    relay_filter_feed(&f, p + cut, size - cut, out, NULL) < 0)
		return -1;
	return relay_filter_end(&f, out, NULL);
}

static void
check(const struct buf *out, size_t line_max)
{
	size_t column = 0;

	for (size_t i = 0; i < out->len; i++) {
		if (out->p[i] == '\0')
			abort();
		if (out->p[i] == '\r' && (i + 1 == out->len || out->p[i + 1] != '\n'))
			abort();
		if (out->p[i] != '\n') {
			column++;
			continue;
		}
		if (i == 0 || out->p[i - 1] != '\r')
			abort();
		if (column == 2 && out->p[i - 2] == '.' && i + 1 != out->len)
			abort();
		if (line_max > 1 && column > line_max + 2) /* the CR and a dot that was put in */
			abort();
		column = 0;
	}
	if (out->len < 3 || memcmp(out->p + out->len - 3, ".\r\n", 3) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a, b;
	size_t cut, line_max;
	int rc;

	if (size < 2)
		return 0;
	line_max = data[0];
	cut = data[1] <= size - 2 ? data[1] : size - 2;
	buf_init(&a, 5 * size + 5);
	buf_init(&b, 5 * size + 5);
	rc = filter((const char *)data + 2, size - 2, 0, line_max, &a);
	if (filter((const char *)data + 2, size - 2, cut, line_max, &b) != rc)
		abort();
	if (rc == 0) {
		if (!view_eq(buf_view(&a), buf_view(&b)))
			abort();
		check(&a, line_max);
	}
	buf_clear(&a);
	buf_clear(&b);
	return 0;
}
