#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define FFFD "\xef\xbf\xbd"

static const struct {
	const char *in, *want;
} words[] = {
	{ "", "" },
	{ "plain text", "plain text" },
	{ "=?iso-8859-1?Q?caf=E9?=", "caf\xc3\xa9" },
	{ "=?ISO-8859-1?q?a_b?= c", "a b c" },
	{ "=?utf-8?B?w7ZsICE=?= x", "\xc3\xb6l ! x" },
	{ "=?utf-8*en?B?w7Y=?=", "\xc3\xb6" },
	{ "a =?utf-8?Q?b?= =?utf-8?Q?c?= d", "a bc d" },
	{ "=?utf-8?Q?b?=\r\n =?utf-8?Q?c?=", "bc" },
	{ "=?utf-8?Q?b?= x =?utf-8?Q?c?=", "b x c" },
	{ "=?utf-8?Q?=C3?= =?utf-8?Q?=B6?=", "\xc3\xb6" },
	{ "=?utf-8?Q?=C3?= =?iso-8859-1?Q?=F6?=", FFFD "\xc3\xb6" },
	{ "=?utf-8?B?w7Y=?==?utf-8?B?w7Y=?=", "\xc3\xb6\xc3\xb6" },
	{ "=?koi8-r?B?8NLJ18XU?=", "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82" },
	{ "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
	{ "=?gb2312?B?1tDOxA==?=", "\xe4\xb8\xad\xe6\x96\x87" },
	{ "=?no-such-charset?Q?=E9?=", "\xc3\xa9" },
	{ "=?utf-8?X?abc?=", "=?utf-8?X?abc?=" },
	{ "=?utf-8?Q?abc", "=?utf-8?Q?abc" },
	{ "=?utf-8?Q?abc?", "=?utf-8?Q?abc?" },
	{ "=??Q?abc?=", "=??Q?abc?=" },
	{ "=?=?=?=", "=?=?=?=" },
	{ "=?utf-8?Q?a=0D=0AX-Bad:_y=00?=", "a  X-Bad: y " },
	{ "raw \xe9 bytes \xc3\xa9", "raw " FFFD " bytes \xc3\xa9" },
	{ "folded\r\n text", "folded text" },
	{ "a=b", "a=b" },
};

static const struct {
	const char *charset, *in, *want;
} conversions[] = {
	{ "utf-8", "a\xc3\xa9\xe2\x82", "a\xc3\xa9" FFFD FFFD },
	{ "UTF-8", "\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf",
	    FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD },
	{ "us-ascii", "a\xe9", "a" FFFD },
	{ "", "a", "a" },
	{ "iso-8859-1", "\xe9\xa4", "\xc3\xa9\xc2\xa4" },
	{ "iso-8859-15", "\xa4", "\xe2\x82\xac" },
	{ "Windows-1252", "\x80\x93", "\xe2\x82\xac\xe2\x80\x9c" },
	{ " windows-1251 ", "\xcf", "\xd0\x9f" },
	{ "shift_jis", "\x93\xfa\x96\x7b", "\xe6\x97\xa5\xe6\x9c\xac" },
	{ "shift_jis", "a\x93", "a" FFFD },
	{ "euc-kr", "\xc7\xd1", "\xed\x95\x9c" },
	{ "big5", "\xa4\xa4", "\xe4\xb8\xad" },
	{ "utf-7", "+AOk-x", "\xc3\xa9x" },
	{ "utf-16be", "\x4e\x2d", "\xe4\xb8\xad" },
	{ "../../../tmp/evil", "\xe9", "\xc3\xa9" },
};

static void
test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct buf out;

		buf_init(&out, 1000);
		assert_int_equal(encoded_words_decode(view_of(words[i].in), &out), 0);
		if (strcmp(buf_cstr(&out), words[i].want) != 0)
			fail_msg("%s: %s", words[i].in, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void
test_charsets(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++) {
		struct buf out;

		buf_init(&out, 1000);
		assert_int_equal(
		    charset_to_utf8(conversions[i].charset, view_of(conversions[i].in), &out), 0);
		if (strcmp(buf_cstr(&out), conversions[i].want) != 0)
			fail_msg("%s #%zu: %s", conversions[i].charset, i, buf_cstr(&out));
		buf_clear(&out);
	}
}

static void
test_full(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 2);
	assert_int_equal(charset_to_utf8("utf-8", VIEW_LIT("abc"), &out), -1);
	buf_reset(&out);
	assert_int_equal(charset_to_utf8("iso-8859-1", VIEW_LIT("\xe9\xe9"), &out), -1);
	buf_reset(&out);
	assert_int_equal(charset_to_utf8("koi8-r", VIEW_LIT("\xf0\xf0"), &out), -1);
	buf_reset(&out);
	assert_int_equal(encoded_words_decode(VIEW_LIT("=?utf-8?Q?abc?="), &out), -1);
	buf_clear(&out);
}

/* hostile.md 18: each of these is quadratic for a reader that looks for the end of every "=?". */
static void
test_bombs(void **state)
{
	static const char *const units[] = { "=?", "=?a?Q?",
		"=?utf-8?Q?a?= ", "=?koi8-r?B?8A==?=\r\n ", "=", "=?utf-8?B?AAAA" };
	struct buf in, out;

	(void)state;
	buf_init(&in, 32 << 20);
	buf_init(&out, 64 << 20);
	for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
		buf_reset(&in);
		buf_reset(&out);
		for (int i = 0; i < 200000; i++)
			buf_append_str(&in, units[u]);
		assert_int_equal(encoded_words_decode(buf_view(&in), &out), 0);
	}
	buf_clear(&in);
	buf_clear(&out);
}

/* After charset_preload nothing is read from the file system any more: that is how imapd works in its cage. */
static void
test_preload_in_empty_root(void **state)
{
	char dir[] = "/tmp/charset_test.XXXXXX";
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	pid = fork();
	if (pid == 0) {
		struct buf out;
		bool ok;

		charset_preload();
		ok = chroot(dir) == 0 && chdir("/") == 0;
		for (size_t i = 0; ok && i < sizeof conversions / sizeof conversions[0]; i++) {
			buf_init(&out, 1000);
			charset_to_utf8(conversions[i].charset, view_of(conversions[i].in), &out);
			ok = strcmp(buf_cstr(&out), conversions[i].want) == 0;
			buf_clear(&out);
		}
		_exit(ok ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(status, 0);
}

static void
test_nothing(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 10);
	assert_int_equal(encoded_words_decode((struct view){ NULL, 0 }, &out), 0);
	assert_int_equal(encoded_words_decode(view_of(""), &out), 0);
	assert_string_equal(buf_cstr(&out), "");
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preload_in_empty_root),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_charsets),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_bombs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
