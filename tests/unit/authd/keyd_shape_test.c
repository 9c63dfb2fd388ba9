#include "authd/keyd_shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct text {
	char p[512];
	size_t len;
};

static void
add(struct text *t, const void *p, size_t len)
{
	memcpy(t->p + t->len, p, len);
	t->len += len;
}

static struct text
verify(const char *context, size_t hash)
{
	struct text t = { .len = 64 };

	memset(t.p, ' ', 64);
	add(&t, context, strlen(context) + 1);
	memset(t.p + t.len, 0xaa, hash);
	t.len += hash;
	return t;
}

static struct text
exchange(unsigned curve, size_t point, int first)
{
	struct text t = { .len = 64 };
	char header[4] = { 3, (char)(curve >> 8), (char)curve, (char)point };

	memset(t.p, 0x5a, 64);
	add(&t, header, 4);
	memset(t.p + t.len, first, point);
	t.len += point;
	return t;
}

static unsigned
shape(struct text t)
{
	return keyd_shape_of(view_make(t.p, t.len));
}

static void
handshakes_are_recognized(void **state)
{
	(void)state;
	assert_int_equal(
	    shape(verify("TLS 1.3, server CertificateVerify", 32)), KEYD_SHAPE_SERVER_VERIFY);
	assert_int_equal(
	    shape(verify("TLS 1.3, server CertificateVerify", 48)), KEYD_SHAPE_SERVER_VERIFY);
	assert_int_equal(
	    shape(verify("TLS 1.3, client CertificateVerify", 32)), KEYD_SHAPE_CLIENT_VERIFY);
	assert_int_equal(shape(exchange(23, 65, 4)), KEYD_SHAPE_KEY_EXCHANGE);
	assert_int_equal(shape(exchange(24, 97, 4)), KEYD_SHAPE_KEY_EXCHANGE);
	assert_int_equal(shape(exchange(25, 133, 4)), KEYD_SHAPE_KEY_EXCHANGE);
	assert_int_equal(shape(exchange(29, 32, 0x77)), KEYD_SHAPE_KEY_EXCHANGE);
	assert_int_equal(shape(exchange(30, 56, 0x77)), KEYD_SHAPE_KEY_EXCHANGE);
}

static void
all_else_is_refused(void **state)
{
	struct text t;

	(void)state;
	assert_int_equal(keyd_shape_of(VIEW_LIT("")), 0);
	assert_int_equal(shape(verify("TLS 1.3, server CertificateVerify", 31)), 0);
	assert_int_equal(shape(verify("TLS 1.3, server CertificateVerify", 33)), 0);
	assert_int_equal(shape(verify("TLS 1.3, Server CertificateVerify", 32)), 0);
	assert_int_equal(shape(verify("TLS 1.3, server CertificateVerif", 32)), 0);
	t = verify("TLS 1.3, server CertificateVerify", 32);
	t.p[63] = 'x';
	assert_int_equal(shape(t), 0);
	t = verify("TLS 1.3, server CertificateVerify", 32);
	t.p[64 + 33] = 1;
	assert_int_equal(shape(t), 0);
	assert_int_equal(shape(exchange(23, 64, 4)), 0);
	assert_int_equal(shape(exchange(23, 65, 2)), 0);
	assert_int_equal(shape(exchange(23, 33, 2)), 0);
	assert_int_equal(shape(exchange(22, 65, 4)), 0);
	assert_int_equal(shape(exchange(29, 33, 4)), 0);
	t = exchange(29, 32, 1);
	t.len++;
	assert_int_equal(shape(t), 0);
	t = exchange(29, 32, 1);
	t.p[64] = 1; /* explicit curve */
	assert_int_equal(shape(t), 0);
}

/* Every prefix of a good text, read with nothing behind it, is refused. */
static void
no_prefix_passes(void **state)
{
	struct text whole[2] = { verify("TLS 1.3, server CertificateVerify", 32),
		exchange(23, 65, 4) };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t len = 0; len < whole[i].len; len++)
			assert_int_equal(keyd_shape_of(view_make(whole[i].p, len)), 0);
}

static void
schemes_fit_shapes(void **state)
{
	(void)state;
	assert_true(keyd_shape_allows(KEYD_SHAPE_KEY_EXCHANGE, 0x0401));
	assert_false(keyd_shape_allows(KEYD_SHAPE_SERVER_VERIFY, 0x0401));
	assert_true(keyd_shape_allows(KEYD_SHAPE_SERVER_VERIFY, 0x0804));
	assert_true(keyd_shape_allows(KEYD_SHAPE_CLIENT_VERIFY, 0x0807));
	assert_false(keyd_shape_allows(KEYD_SHAPE_KEY_EXCHANGE, 0x0201)); /* SHA-1 */
	assert_false(keyd_shape_allows(0, 0x0804));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes_are_recognized),
		cmocka_unit_test(all_else_is_refused),
		cmocka_unit_test(no_prefix_passes),
		cmocka_unit_test(schemes_fit_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
