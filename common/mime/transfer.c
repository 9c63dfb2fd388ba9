#include "common/mime/message.h"

/* Base64 as it is met in mail (RFC 2045 6.8): what is no letter of the alphabet is skipped, padding ends
 * a quantum and another may follow, as in concatenated encodings. */
static int
base64_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static char *
flush_quantum(char *to, uint32_t bits, unsigned digits)
{
	if (digits >= 2)
		*to++ = (char)(bits >> (digits * 6 - 8));
	if (digits >= 3)
		*to++ = (char)(bits >> (digits * 6 - 16));
	if (digits == 4)
		*to++ = (char)bits;
	return to;
}

static int
base64_decode_body(struct view in, struct buf *out)
{
	char *to = buf_reserve(out, in.len / 4 * 3 + 3);
	uint32_t bits = 0;
	unsigned digits = 0;

	if (to == NULL)
		return -1;
	for (size_t i = 0; i < in.len; i++) {
		int v = base64_value((unsigned char)in.p[i]);

		if (v >= 0) {
			bits = bits << 6 | (uint32_t)v;
			digits++;
		}
		if (digits == 4 || in.p[i] == '=') {
			to = flush_quantum(to, bits, digits);
			bits = 0;
			digits = 0;
		}
	}
	to = flush_quantum(to, bits, digits);
	out->len = (size_t)(to - out->p);
	return 0;
}

static int
hex_value(unsigned char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Length of a line end at v[at], with the white space before it that transport may have added; 0 = none. */
static size_t
line_end_length(struct view v, size_t at, size_t *blanks)
{
	size_t i = at;

	while (i < v.len && ascii_is_space(v.p[i]))
		i++;
	*blanks = i - at;
	if (i < v.len && v.p[i] == '\n')
		return i - at + 1;
	if (v.len - i >= 2 && v.p[i] == '\r' && v.p[i + 1] == '\n')
		return i - at + 2;
	return 0;
}

/* Quoted-printable (RFC 2045 6.7): an '=' that starts nothing is kept as it stands. */
static int
qp_decode_body(struct view in, struct buf *out)
{
	char *to = buf_reserve(out, in.len); /* never longer than its source */
	size_t i = 0, blanks = 0, end;

	if (to == NULL)
		return -1;
	while (i < in.len) {
		char c = in.p[i];

		if (c == '=' && in.len - i > 2 && hex_value((unsigned char)in.p[i + 1]) >= 0 &&
		    hex_value((unsigned char)in.p[i + 2]) >= 0) {
			*to++ = (char)(hex_value((unsigned char)in.p[i + 1]) * 16 |
				       hex_value((unsigned char)in.p[i + 2]));
			i += 3;
		} else if (c == '=' && (end = line_end_length(in, i + 1, &blanks)) > 0) {
			i += 1 + end;
		} else if (c == '=' && i + 1 + blanks == in.len) {
			break; /* the line end belongs to the boundary behind */
		} else if (ascii_is_space(c)) {
			if (line_end_length(in, i, &blanks) == 0 && i + blanks < in.len) {
				memcpy(to, in.p + i, blanks);
				to += blanks;
			}
			i += blanks;
		} else {
			*to++ = c;
			i++;
		}
	}
	out->len = (size_t)(to - out->p);
	return 0;
}

int
transfer_decode(const char *encoding, struct view body, struct buf *out)
{
	struct view name = view_of(encoding);

	if (view_case_eq_str(name, "base64"))
		return base64_decode_body(body, out);
	if (view_case_eq_str(name, "quoted-printable"))
		return qp_decode_body(body, out);
	return buf_append_view(out, body);
}
