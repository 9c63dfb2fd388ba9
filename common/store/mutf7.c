/* Modified UTF-7 (RFC 3501 5.1.3): printable ASCII as itself, '&' as "&-", runs of all else as '&', base64 of
 * UTF-16BE with ',' for '/' and without padding, '-'. */
#include "common/store/store.h"
#include "common/base/utf8.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int
digit_value(char c)
{
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

/* UTF-16 units arrive bit by bit; a pair of surrogates is one character. */
struct decoder {
	uint32_t bits;
	unsigned nbits;
	uint32_t high; /* a high surrogate that waits for its low one */
	bool any;
};

static int
decode_unit(struct decoder *d, uint32_t unit, struct buf *utf8)
{
	uint32_t c = unit;

	if (unit >= 0xd800 && unit < 0xdc00) {
		if (d->high != 0)
			return -1;
		d->high = unit;
		return 0;
	}
	if (unit >= 0xdc00 && unit < 0xe000) {
		if (d->high == 0)
			return -1;
		c = 0x10000 + ((d->high - 0xd800) << 10) + (unit - 0xdc00);
		d->high = 0;
	} else if (d->high != 0) {
		return -1;
	}
	if (c >= 0x20 && c < 0x7f) /* must stand as itself */
		return -1;
	d->any = true;
	return utf8_append(utf8, c);
}

/* The run behind '&'; returns the bytes used including the '-', 0 if it is malformed. */
static size_t
decode_run(struct view in, struct buf *utf8)
{
	struct decoder d = { 0 };
	size_t i;

	for (i = 0; i < in.len && in.p[i] != '-'; i++) {
		int v = digit_value(in.p[i]);

		if (v < 0)
			return 0;
		d.bits = d.bits << 6 | (uint32_t)v;
		d.nbits += 6;
		if (d.nbits >= 16) {
			d.nbits -= 16;
			if (decode_unit(&d, d.bits >> d.nbits & 0xffff, utf8) < 0)
				return 0;
		}
		d.bits &= (1u << d.nbits) - 1;
	}
	if (i == in.len || d.high != 0 || d.nbits >= 6 || d.bits != 0 || !d.any)
		return 0;
	return i + 1;
}

int
mutf7_decode(struct view in, struct buf *utf8)
{
	bool after_run = false;

	for (size_t i = 0; i < in.len;) {
		unsigned char c = (unsigned char)in.p[i];
		size_t used;

		if (c < 0x20 || c >= 0x7f)
			return -1;
		if (c != '&') {
			buf_append_byte(utf8, c);
			i++;
			after_run = false;
			continue;
		}
		if (i + 1 < in.len && in.p[i + 1] == '-') {
			buf_append_byte(utf8, '&');
			i += 2;
			after_run = false;
			continue;
		}
		/* "&AOQ-&AOQ-" has the one canonical form "&AOQA5A-" */
		if (after_run)
			return -1;
		used = decode_run(view_make(in.p + i + 1, in.len - i - 1), utf8);
		if (used == 0)
			return -1;
		i += 1 + used;
		after_run = true;
	}
	return utf8->failed ? -1 : 0;
}

static void
encode_unit(uint32_t unit, uint32_t *bits, unsigned *nbits, struct buf *out)
{
	*bits = *bits << 16 | unit;
	*nbits += 16;
	while (*nbits >= 6) {
		*nbits -= 6;
		buf_append_byte(out, digits[*bits >> *nbits & 63]);
	}
	*bits &= (1u << *nbits) - 1;
}

/* A run of characters outside printable ASCII; returns the bytes used, 0 if it is no UTF-8. */
static size_t
encode_run(struct view in, struct buf *out)
{
	uint32_t bits = 0, c;
	unsigned nbits = 0;
	size_t at = 0, n;

	buf_append_byte(out, '&');
	while (at < in.len) {
		n = utf8_take(view_make(in.p + at, in.len - at), &c);
		if (n == 0)
			return 0;
		if (c >= 0x20 && c < 0x7f)
			break;
		if (c >= 0x10000) {
			encode_unit(0xd800 + ((c - 0x10000) >> 10), &bits, &nbits, out);
			encode_unit(0xdc00 + ((c - 0x10000) & 0x3ff), &bits, &nbits, out);
		} else {
			encode_unit(c, &bits, &nbits, out);
		}
		at += n;
	}
	if (nbits > 0)
		buf_append_byte(out, digits[bits << (6 - nbits) & 63]);
	buf_append_byte(out, '-');
	return at;
}

int
mutf7_encode(struct view utf8, struct buf *out)
{
	for (size_t i = 0; i < utf8.len;) {
		unsigned char c = (unsigned char)utf8.p[i];
		size_t used = 1;

		if (c == '&')
			buf_append_str(out, "&-");
		else if (c >= 0x20 && c < 0x7f)
			buf_append_byte(out, c);
		else
			used = encode_run(view_make(utf8.p + i, utf8.len - i), out);
		if (used == 0)
			return -1;
		i += used;
	}
	return out->failed ? -1 : 0;
}
