#include "qmgr/relay/downgrade.h"
#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OUT_MAX = 1 << 20 };

static int
run(struct relay_downgrade *d, struct view in, size_t step, struct buf *out, struct err *err)
{
	int rc = 0;

	for (size_t at = 0; at < in.len && rc == 0; at += step)
		rc = relay_downgrade_feed(
		    d, in.p + at, in.len - at < step ? in.len - at : step, out, err);
	if (rc == 0)
		rc = relay_downgrade_end(d, out, err);
	relay_downgrade_clear(d);
	return rc;
}

/* Both passes, the input in pieces of step bytes. */
static int
downgrade(
    struct view in, unsigned nesting, size_t step, struct buf *out, bool *has_8bit, struct err *err)
{
	struct relay_downgrade d;
	struct relay_plan plan;
	int rc;

	relay_plan_init(&plan);
	relay_downgrade_survey(&d, nesting, &plan);
	rc = run(&d, in, step, NULL, err);
	*has_8bit = plan.has_8bit;
	if (rc == 0) {
		relay_downgrade_start(&d, nesting, &plan);
		rc = run(&d, in, step, out, err);
	}
	relay_plan_clear(&plan);
	return rc;
}

#define E "\xc3\xa9"
#define MULTI "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"

/* clang-format off */
static const struct {
	const char *in, *out; /* out NULL: as it was, nothing is to be encoded */
} cases[] = {
	{ "", NULL },
	{ "Subject: x\r\n\r\nhello\r\n", NULL },
	/* no MIME fields (RFC 1428 3); a line end is CRLF whatever it was */
	{ "Subject: x\r\n\r\nh" E "\r\n",
	  "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\nh=C3=A9\r\n" },
	{ "Subject: x\n\nh" E "\n",
	  "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\nh=C3=A9\r\n" },
	{ "Subject: x\r\n\r\nh" E,
	  "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\nh=C3=A9\r\n" },
	/* text before any empty line ends the fields */
	{ "Subject: x\r\n" E "\r\n",
	  "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\n=C3=A9\r\n" },
	/* the label is rewritten, folds and obsolete blanks and all; fields behind it stay */
	{ "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\ncontent-transfer-encoding :\r\n 8bit (x)\r\nX: " E "\r\n\r\n" E " = \r\n\r\nx\t\r\n",
	  "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nX: " E "\r\n" QP "\r\n=C3=A9 =3D=20\r\n\r\nx=09\r\n" },
	/* 7bit that is not */
	{ "MIME-Version: 1.0\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" E "\r\n",
	  "MIME-Version: 1.0\r\nContent-Type: text/html\r\n" QP "\r\n=C3=A9\r\n" },
	/* each part for itself; what is 7-bit stays, its label is put right, as the multipart's is */
	{ MULTI "Content-Transfer-Encoding: 8bit\r\n\r\npre" E "\r\n--b\r\n\r\nplain\r\n--b\r\n\r\n" E "\r\n--b\r\nContent-Transfer-Encoding: 8BIT\r\n\r\n7\r\n--b--\r\nepi" E "\r\n",
	  MULTI "Content-Transfer-Encoding: 7bit\r\n\r\npre" E "\r\n--b\r\n\r\nplain\r\n--b\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\n=C3=A9\r\n--b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n7\r\n--b--\r\nepi" E "\r\n" },
	/* few bytes to be quoted: quoted-printable; many: base64, without the line end that is the boundary's */
	{ MULTI "\r\n--b\r\nContent-Type: application/x\r\n\r\nabcdefghijklmnopqrstuvwxyz" E "\r\n--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\n" E E E "\r\n" E E "\r\n--b--\r\n",
	  MULTI "\r\n--b\r\nContent-Type: application/x\r\n" QP "\r\nabcdefghijklmnopqrstuvwxyz=C3=A9\r\n--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\nw6nDqcOpDQrDqcOp\r\n--b--\r\n" },
	/* a message that is nothing but that: its last line end is part of it */
	{ "Content-Type: image/x\r\n\r\n" E E "\r\n",
	  "Content-Type: image/x\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nw6nDqQ0K\r\n" },
	/* attached messages are gone into (RFC 2046 5.2.1: they cannot be encoded), also those of a digest */
	{ MULTI "\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: y\r\n\r\n" E "\r\n--b--\r\n",
	  MULTI "\r\n--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: y\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\n=C3=A9\r\n--b--\r\n" },
	{ "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: y\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" E "\r\n--b--\r\n",
	  "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: y\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n" QP "\r\n=C3=A9\r\n--b--\r\n" },
	/* RFC 6532 3.7: this one can */
	{ MULTI "\r\n--b\r\nContent-Type: message/global\r\n\r\nSubject: a long ASCII subject with one letter " E "\r\n\r\nx\r\n--b--\r\n",
	  MULTI "\r\n--b\r\nContent-Type: message/global\r\n" QP "\r\nSubject: a long ASCII subject with one letter =C3=A9\r\n\r\nx\r\n--b--\r\n" },
	/* multiparts in multiparts; a signature is no reason, as in Postfix */
	{ MULTI "\r\n--b\r\nContent-Type: multipart/signed; boundary=\"c d\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--c d\r\nContent-Type: text/plain\r\n\r\n" E "\r\n--c d--\r\n--b--\r\n",
	  MULTI "\r\n--b\r\nContent-Type: multipart/signed; boundary=\"c d\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n--c d\r\nContent-Type: text/plain\r\n" QP "\r\n=C3=A9\r\n--c d--\r\n--b--\r\n" },
	/* a part that is fields only */
	{ MULTI "\r\n--b\r\nContent-Transfer-Encoding: 8bit\r\n--b\r\n\r\n" E "\r\n--b--\r\n",
	  MULTI "\r\n--b\r\nContent-Transfer-Encoding: 7bit\r\n\r\n--b\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" QP "\r\n=C3=A9\r\n--b--\r\n" },
	/* what has no other form */
	{ "Subject: " E "\r\n\r\nx\r\n", NULL },
	{ "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" E "\r\n", NULL },
	{ "Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n" E "\r\n", NULL },
	{ "Content-Type: message/partial\r\n\r\n" E "\r\n", NULL },
	{ "Content-Type: multipart/mixed\r\n\r\n" E "\r\n", NULL },
	/* a CR of its own is text like other */
	{ "Content-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\n" E "\rx\r\r\n",
	  "Content-Type: text/plain\r\nMIME-Version: 1.0\r\n" QP "\r\n=C3=A9=0Dx=0D\r\n" },
	/* nothing that is made looks like a boundary */
	{ "Content-Type: multipart/mixed; boundary=\"a=E9\"\r\n\r\n--a=E9\r\nContent-Type: text/plain\r\n\r\n--a\xe9\r\n--a=E9--\r\n",
	  "Content-Type: multipart/mixed; boundary=\"a=E9\"\r\n\r\n--a=E9\r\nContent-Type: text/plain\r\n" QP "\r\n=2D-a=E9\r\n--a=E9--\r\n" },
	/* at most 76 to a line (RFC 2045 6.7) */
	{ "Content-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\n"
	  "012345678901234567890123456789012345678901234567890123456789012345678901234-\r\n012345678901234567890123456789012345678901234567890123456789012345678901\xff\xff\r\n",
	  "Content-Type: text/plain\r\nMIME-Version: 1.0\r\n" QP "\r\n"
	  "012345678901234567890123456789012345678901234567890123456789012345678901234=\r\n=2D\r\n012345678901234567890123456789012345678901234567890123456789012345678901=FF=\r\n=FF\r\n" },
};
/* clang-format on */

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view in = view_of(cases[i].in);

		for (size_t step = 1; step <= in.len + 1; step++) {
			bool has_8bit;
			struct buf out;
			struct err e;

			buf_init(&out, OUT_MAX);
			assert_int_equal(downgrade(in, 100, step, &out, &has_8bit, &e), 0);
			assert_int_equal(has_8bit, cases[i].out != NULL);
			if (has_8bit)
				assert_string_equal(buf_cstr(&out), cases[i].out);
			else
				assert_string_equal(buf_cstr(&out), cases[i].in);
			buf_clear(&out);
		}
	}
}

/* A body of any bytes in lines of any length, past what is held of one too, is there again when it is decoded. */
static void
decode_again(const char *type, const char *encoding, unsigned seed, size_t size, int low, int range)
{
	struct buf in, out, back, body;
	bool has_8bit;
	size_t headers;
	struct err e;

	srand(seed);
	buf_init(&in, OUT_MAX);
	buf_init(&out, OUT_MAX);
	buf_init(&back, OUT_MAX);
	buf_init(&body, OUT_MAX);
	buf_append_str(&body, "\xff");
	for (size_t i = 0; i < size; i++) {
		int c = low + rand() % range;

		if (c > 255)
			c = 128 + c % 128;
		if (c == '\r' || c == '\0')
			c = '\t';
		buf_append_str(&body, c == '\n' ? "\r" : "");
		buf_append_byte(&body, c);
	}
	buf_append_str(&body, "\r\n");
	buf_printf(&in, "MIME-Version: 1.0\r\nContent-Type: %s\r\n\r\n", type);
	buf_append_view(&in, buf_view(&body));
	assert_int_equal(downgrade(buf_view(&in), 100, 777, &out, &has_8bit, &e), 0);
	assert_true(has_8bit);
	assert_non_null(view_find(buf_view(&out), view_of(encoding)));
	headers = header_block_length(buf_view(&out));
	assert_int_equal(
	    transfer_decode(encoding, view_make(out.p + headers, out.len - headers), &back), 0);
	assert_true(view_eq(buf_view(&back), buf_view(&body)));
	for (size_t i = 0, column = 0; i < out.len; i++) {
		assert_true((unsigned char)out.p[i] < 128);
		column = out.p[i] == '\n' ? 0 : column + 1;
		assert_true(column <= 77); /* the CR */
	}
	buf_clear(&in);
	buf_clear(&out);
	buf_clear(&back);
	buf_clear(&body);
}

static void
test_what_is_made_decodes_to_what_was(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed < 30; seed++) {
		decode_again("text/plain", "quoted-printable", seed, seed * 113, 0, 256);
		decode_again("application/octet-stream", "base64", seed, seed * 57 + 19, 0, 256);
		decode_again("application/octet-stream", "quoted-printable", seed, 4000, 32, 94);
	}
	/* few line ends, or none */
	decode_again("text/plain", "quoted-printable", 1, 5 * RELAY_LINE_HELD, 0, 60000);
	decode_again("image/png", "base64", 2, 5 * RELAY_LINE_HELD, 0, 60000);
}

static void
test_bounds(void **state)
{
	struct view deep =
	    view_of("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
		    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" E "\r\n");
	bool has_8bit;
	struct buf in, out;
	struct err e;

	(void)state;
	buf_init(&in, OUT_MAX);
	buf_init(&out, OUT_MAX);
	assert_int_equal(downgrade(deep, 2, 1, &out, &has_8bit, &e), 0);
	assert_int_equal(downgrade(deep, 1, 1, &out, &has_8bit, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	assert_string_equal(e.text, "MIME nesting exceeds safety limit");
	buf_append_str(&in, MULTI "\r\n");
	for (size_t i = 0; i <= RELAY_PLAN_PARTS; i++)
		buf_append_str(&in, "--b\r\n");
	assert_int_equal(downgrade(buf_view(&in), 100, 65536, &out, &has_8bit, &e), -1);
	assert_string_equal(e.text, "too many MIME parts");
	/* of a message of nothing but small parts comes as much as session.c has room for */
	buf_reset(&in);
	buf_reset(&out);
	buf_append_str(&in, MULTI "\r\n");
	while (in.len < 8192)
		buf_append_str(&in, "--b\n\n\xff\n");
	assert_int_equal(downgrade(buf_view(&in), 100, in.len, &out, &has_8bit, &e), 0);
	assert_true(out.len < 4 * in.len + 120 * (in.len / 7));
	buf_clear(&in);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_what_is_made_decodes_to_what_was),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
