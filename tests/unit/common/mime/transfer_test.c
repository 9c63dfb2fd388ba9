#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	const char *encoding, *in, *want;
} cases[] = {
	{ "base64", "aGVsbG8gd29ybGQ=", "hello world" },
	{ "BASE64", "aGVs\r\nbG8g\r\nd29ybGQ=\r\n", "hello world" },
	{ "base64", "aGVsbG8=aGVsbG8=", "hellohello" },
	{ "base64", "aGVsbG8", "hello" },
	{ "base64", "a", "" },
	{ "base64", "!a!G!V!s!", "hel" },
	{ "base64", "====", "" },
	{ "base64", "", "" },
	{ "quoted-printable", "a=3Db=\r\nc", "a=bc" },
	{ "quoted-printable", "a=\nb", "ab" },
	{ "quoted-printable", "a= \t\r\nb", "ab" },
	{ "quoted-printable", "a=zzb=", "a=zzb" },
	{ "quoted-printable", "a=e9=E9", "a\xe9\xe9" },
	{ "quoted-printable", "a  \r\nb \t\nc  ", "a\r\nb\nc" },
	{ "quoted-printable", "a  b", "a  b" },
	{ "quoted-printable", "a=4", "a=4" },
	{ "quoted-printable", "=", "" },
	{ "7bit", "a=3D", "a=3D" },
	{ "x-unknown", "aGVs", "aGVs" },
};

static void
test_transfer(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out;

		buf_init(&out, 1000);
		buf_append_str(&out, ">");
		assert_int_equal(transfer_decode(cases[i].encoding, view_of(cases[i].in), &out), 0);
		if (strcmp(buf_cstr(&out) + 1, cases[i].want) != 0)
			fail_msg("%s %s: %s", cases[i].encoding, cases[i].in, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void
test_full(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 4);
	assert_int_equal(transfer_decode("base64", VIEW_LIT("aGVsbG8gd29ybGQ="), &out), -1);
	buf_reset(&out);
	assert_int_equal(transfer_decode("quoted-printable", VIEW_LIT("hello"), &out), -1);
	buf_reset(&out);
	assert_int_equal(transfer_decode("8bit", VIEW_LIT("hello"), &out), -1);
	buf_clear(&out);
}

static void
test_large(void **state)
{
	static const char *const units[] = { " ", "=", "= ", "=\n", "=4", "A" };
	struct buf in, out;

	(void)state;
	buf_init(&in, 32 << 20);
	buf_init(&out, 32 << 20);
	for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
		buf_reset(&in);
		buf_reset(&out);
		for (int i = 0; i < 3000000; i++)
			buf_append_str(&in, units[u]);
		assert_int_equal(transfer_decode("quoted-printable", buf_view(&in), &out), 0);
		assert_int_equal(transfer_decode("base64", buf_view(&in), &out), 0);
	}
	buf_clear(&in);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
