#include "authd/keyd_shape.h"

enum { PADDING = 64, RANDOMS = 64, ECDH_HEADER = 4, CURVE_TYPE_NAMED = 3 };

/* clang-format off */
static const struct curve {
	unsigned id;         /* RFC 8422 5.1.1 */
	size_t point_len;
	int first_byte;      /* uncompressed point (RFC 8422 5.4.1); -1: any */
} curves[] = {
	{ 23, 65,  4  }, /* secp256r1 */
	{ 24, 97,  4  }, /* secp384r1 */
	{ 25, 133, 4  }, /* secp521r1 */
	{ 29, 32,  -1 }, /* x25519 */
	{ 30, 56,  -1 }, /* x448 */
};
/* clang-format on */

/* RFC 8446 4.4.3: 64 spaces, the context string, a zero byte, the transcript hash. */
static bool
is_certificate_verify(struct view tbs, const char *context)
{
	size_t len = strlen(context), hash;

	if (tbs.len < PADDING + len + 1)
		return false;
	hash = tbs.len - PADDING - len - 1;
	if (hash != 32 && hash != 48 && hash != 64)
		return false;
	for (size_t i = 0; i < PADDING; i++)
		if (tbs.p[i] != ' ')
			return false;
	return memcmp(tbs.p + PADDING, context, len) == 0 && tbs.p[PADDING + len] == '\0';
}

/* RFC 8422 5.4: client random, server random, curve type, curve, length of the point, the point. */
static bool
is_ecdh_exchange(struct view tbs)
{
	const unsigned char *p = (const unsigned char *)tbs.p + RANDOMS;

	if (tbs.len < RANDOMS + ECDH_HEADER || p[0] != CURVE_TYPE_NAMED)
		return false;
	for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
		if ((unsigned)(p[1] << 8 | p[2]) == curves[i].id)
			return p[3] == curves[i].point_len &&
			       tbs.len == RANDOMS + ECDH_HEADER + curves[i].point_len &&
			       (curves[i].first_byte < 0 || p[4] == curves[i].first_byte);
	return false;
}

unsigned
keyd_shape_of(struct view tbs)
{
	if (is_certificate_verify(tbs, "TLS 1.3, server CertificateVerify"))
		return KEYD_SHAPE_SERVER_VERIFY;
	if (is_certificate_verify(tbs, "TLS 1.3, client CertificateVerify"))
		return KEYD_SHAPE_CLIENT_VERIFY;
	return is_ecdh_exchange(tbs) ? KEYD_SHAPE_KEY_EXCHANGE : 0;
}

bool
keyd_shape_allows(unsigned shape, unsigned scheme)
{
	switch (scheme) {
	case 0x0401: /* rsa_pkcs1_sha256, _sha384, _sha512 */
	case 0x0501:
	case 0x0601:
		return shape == KEYD_SHAPE_KEY_EXCHANGE;
	case 0x0403: /* ecdsa with SHA-256, -384, -512 */
	case 0x0503:
	case 0x0603:
	case 0x0804: /* rsa_pss_rsae_sha256, _sha384, _sha512 */
	case 0x0805:
	case 0x0806:
	case 0x0807: /* ed25519 */
		return shape != 0;
	default:
		return false;
	}
}
