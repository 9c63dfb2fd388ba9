#include "common/base/utf8.h"

size_t
utf8_take(struct view v, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len;
	unsigned char b;

	if (v.len == 0)
		return 0;
	b = (unsigned char)v.p[0];
	len = b < 0x80 ? 1 : b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 : b >= 0xf0 && b < 0xf5 ? 4 : 0;
	if (len == 0 || v.len < len)
		return 0;
	*c = len == 1 ? b : b & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		b = (unsigned char)v.p[i];
		if ((b & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (b & 0x3f);
	}
	if (*c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000))
		return 0;
	return len;
}

bool
utf8_is_valid(struct view v)
{
	uint32_t c;

	while (v.len > 0) {
		size_t n = utf8_take(v, &c);

		if (n == 0)
			return false;
		v = view_make(v.p + n, v.len - n);
	}
	return true;
}

int
utf8_append(struct buf *out, uint32_t c)
{
	if (c < 0x80)
		return buf_append_byte(out, (int)c);
	if (c < 0x800) {
		buf_append_byte(out, (int)(0xc0 | c >> 6));
	} else if (c < 0x10000) {
		buf_append_byte(out, (int)(0xe0 | c >> 12));
		buf_append_byte(out, (int)(0x80 | (c >> 6 & 0x3f)));
	} else {
		buf_append_byte(out, (int)(0xf0 | c >> 18));
		buf_append_byte(out, (int)(0x80 | (c >> 12 & 0x3f)));
		buf_append_byte(out, (int)(0x80 | (c >> 6 & 0x3f)));
	}
	return buf_append_byte(out, (int)(0x80 | (c & 0x3f)));
}
