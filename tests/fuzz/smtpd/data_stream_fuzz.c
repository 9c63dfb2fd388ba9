#include "common/base/err.h"
#include "smtpd/data_stream.h"

enum { LINE_MAX_BYTES = 64 };

struct outcome {
	bool is_over;
	size_t used;
	struct data_stream d;
	struct buf out;
};

static void
feed(const char *p, size_t len, size_t step, unsigned modes, struct outcome *o)
{
	*o = (struct outcome){ 0 };
	buf_init(&o->out, 2 * len + 16);
	data_stream_init(&o->d, LINE_MAX_BYTES, modes);
	while (o->used < len && !o->is_over) {
		size_t n = step < len - o->used ? step : len - o->used, used;

		o->is_over =
		    data_stream_feed(&o->d, view_make(p + o->used, n), &used, &o->out) == 0;
		if (used > n || (!o->is_over && used != n))
			bug("used %zu of %zu", used, n);
		o->used += used;
	}
	if (modes & DATA_CHUNKED)
		data_stream_end(&o->d);
}

/* What got through without a fault has CRLF line ends and no other. */
static void
check_clean(const struct outcome *o)
{
	if (o->d.size != o->out.len)
		bug("size %llu, %zu bytes", (unsigned long long)o->d.size, o->out.len);
	for (size_t i = 0;
	     o->d.faults == 0 && (o->is_over || (o->d.modes & DATA_CHUNKED)) && i < o->out.len;
	     i++) {
		char c = o->out.p[i];

		if (c == '\0' || (c == '\n' && (i == 0 || o->out.p[i - 1] != '\r')) ||
		    (c == '\r' && (i + 1 == o->out.len || o->out.p[i + 1] != '\n')))
			bug("byte %d at %zu", c, i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	size_t step = size > 0 ? 1 + data[0] % 7 : 1;
	unsigned modes = size > 0 ? data[0] / 7 % 4 : 0;
	struct outcome a, b;

	feed(p, size, size + 1, modes, &a);
	feed(p, size, step, modes, &b);
	check_clean(&a);
	/* the one end: the first CRLF.CRLF, or .CRLF at the very start */
	if (a.is_over && (modes & DATA_CHUNKED))
		bug("an end inside a chunk");
	if (a.is_over) {
		const char *end = size >= 3 && memcmp(p, ".\r\n", 3) == 0
				      ? p - 2
				      : memmem(p, size, "\r\n.\r\n", 5);

		if (end == NULL || a.used != (size_t)(end - p) + 5)
			bug("end at %zu", a.used);
	}
	if (a.is_over != b.is_over || a.used != b.used || a.d.faults != b.d.faults ||
	    a.d.size != b.d.size || a.out.len != b.out.len ||
	    (a.out.len > 0 && memcmp(a.out.p, b.out.p, a.out.len) != 0))
		bug("differs when cut every %zu bytes", step);
	buf_clear(&a.out);
	buf_clear(&b.out);
	return 0;
}
