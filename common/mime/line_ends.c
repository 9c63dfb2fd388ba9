#include "common/mime/message.h"

/* The next bare LF of v from offset `from`; v.len if there is none. */
static size_t
next_bare_lf(struct view v, size_t from)
{
	while (from < v.len) {
		const char *lf = memchr(v.p + from, '\n', v.len - from);

		if (lf == NULL)
			break;
		if (lf == v.p || lf[-1] != '\r')
			return (size_t)(lf - v.p);
		from = (size_t)(lf - v.p) + 1;
	}
	return v.len;
}

size_t
crlf_size(struct view in)
{
	size_t size = in.len;

	for (size_t at = next_bare_lf(in, 0); at < in.len; at = next_bare_lf(in, at + 1))
		size++;
	return size;
}

int
crlf_append(struct view in, struct buf *out)
{
	size_t from = 0;

	if (buf_reserve(out, in.len) == NULL)
		return -1;
	while (from < in.len) {
		size_t at = next_bare_lf(in, from);

		buf_append(out, in.p + from, at - from);
		if (at == in.len)
			break;
		if (buf_append(out, "\r\n", 2) < 0)
			return -1;
		from = at + 1;
	}
	return out->failed ? -1 : 0;
}

int
lf_append(struct view in, struct buf *out)
{
	while (in.len > 0) {
		const char *cr = memchr(in.p, '\r', in.len);
		size_t at = cr == NULL ? in.len : (size_t)(cr - in.p);

		if (buf_append(out, in.p, at) < 0)
			return -1;
		if (cr == NULL)
			break;
		if ((in.len - at < 2 || cr[1] != '\n') && buf_append(out, "\r", 1) < 0)
			return -1;
		in = view_make(cr + 1, in.len - at - 1);
	}
	return 0;
}
