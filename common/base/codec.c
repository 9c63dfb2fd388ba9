#include "common/base/codec.h"

#include <stdatomic.h>

static const char b64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
base64_encode(struct buf *out, const void *data, size_t len)
{
	const unsigned char *p = data;
	char *to = buf_reserve(out, (len + 2) / 3 * 4);
	size_t left = len;

	if (to == NULL)
		return -1;
	for (; left > 0; p += 3) {
		size_t n = left < 3 ? left : 3;
		uint32_t x = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) |
		    (n > 2 ? (uint32_t)p[2] : 0);

		*to++ = b64_alphabet[x >> 18];
		*to++ = b64_alphabet[x >> 12 & 63];
		*to++ = n > 1 ? b64_alphabet[x >> 6 & 63] : '=';
		*to++ = n > 2 ? b64_alphabet[x & 63] : '=';
		left -= n;
	}
	out->len += (len + 2) / 3 * 4;
	return 0;
}

static int
b64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int
base64_decode(struct buf *out, const char *p, size_t len)
{
	size_t start = out->len;

	if (len % 4 != 0)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		size_t pad = i + 4 < len || p[i + 3] != '=' ? 0 : p[i + 2] == '=' ? 2 : 1;
		uint32_t x = 0;
		char bytes[3];

		for (size_t k = 0; k < 4; k++) {
			int v = k >= 4 - pad ? 0 : b64_value(p[i + k]);

			if (v < 0)
				goto bad;
			x = x << 6 | (uint32_t)v;
		}
		if ((pad == 1 && (x & 0xff) != 0) || (pad == 2 && (x & 0xffff) != 0))
			goto bad;
		bytes[0] = (char)(x >> 16);
		bytes[1] = (char)(x >> 8);
		bytes[2] = (char)x;
		if (buf_append(out, bytes, 3 - pad) < 0)
			goto bad;
	}
	return 0;
bad:
	out->len = start;
	return -1;
}

void
hex_encode(char *out, const void *data, size_t len)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = "0123456789abcdef"[p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int
hex_value(char c)
{
	int l = ascii_lower((unsigned char)c);

	return ascii_is_digit(c) ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

bool
hex_decode(void *out, size_t len, struct view hex)
{
	unsigned char *to = out;

	if (hex.len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int hi = hex_value(hex.p[2 * i]), lo = hex_value(hex.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		to[i] = (unsigned char)(hi << 4 | lo);
	}
	return true;
}

static uint32_t
crc32c_table(uint32_t crc, const unsigned char *p, size_t len)
{
	static _Atomic uint32_t table[256];
	static atomic_bool ready;

	if (!atomic_load(&ready)) {
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t x = i;

			for (int k = 0; k < 8; k++)
				x = x & 1 ? x >> 1 ^ 0x82f63b78 : x >> 1;
			atomic_store_explicit(&table[i], x, memory_order_relaxed);
		}
		atomic_store(&ready, true);
	}
	for (size_t i = 0; i < len; i++)
		crc = atomic_load_explicit(&table[(crc ^ p[i]) & 0xff], memory_order_relaxed) ^ crc >> 8;
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
crc32c_sse42(uint32_t crc, const unsigned char *p, size_t len)
{
	uint64_t c = crc, word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		c = __builtin_ia32_crc32di(c, word);
	}
	for (; len > 0; p++, len--)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return (uint32_t)c;
}
#endif

uint32_t
crc32c(uint32_t crc, const void *p, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(~crc, p, len);
#endif
	return ~crc32c_table(~crc, p, len);
}
