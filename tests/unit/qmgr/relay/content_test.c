/* What leaves for a peer: the filter, cut at every byte, and read back by a second, strict reader. */
#include "qmgr/relay/content.h"
#include "common/base/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

static const struct filter_case {
	const char *in, *out; /* NULL: refused */
	size_t line_max;
} cases[] = {
	{ "", ".\r\n", 998 },
	{ "a\r\n", "a\r\n.\r\n", 998 },
	{ "a", "a\r\n.\r\n", 998 },
	{ "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n.\r\n", 998 },
	{ ".\r\n", "..\r\n.\r\n", 998 },
	{ "..\r\n.a\r\na.\r\n", "...\r\n..a\r\na.\r\n.\r\n", 998 },
	{ "a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n", 998 },
	{ "a\n.\r\nb\n", "a\r\n..\r\nb\r\n.\r\n", 998 },
	{ "\n", "\r\n.\r\n", 998 },
	{ "a\r.\r\n", NULL, 998 },
	{ "a\r\r\n", NULL, 998 },
	{ "a\r", NULL, 998 },
	{ "\r", NULL, 998 },
	{ "12345\r\n", "12345\r\n.\r\n", 5 },
	{ "123456\r\n", "12345\r\n 6\r\n.\r\n", 5 },
	{ "12345.789\r\n", "12345\r\n .789\r\n.\r\n", 5 },
	{ "1234567890\r\n", "12345\r\n 6789\r\n 0\r\n.\r\n", 5 },
	{ ".2345\r\n", "..2345\r\n.\r\n", 5 },
	{ "abcd", "ab\r\n c\r\n d\r\n.\r\n", 1 },
	{ "12345678901234567890", "12345678901234567890\r\n.\r\n", 0 },
};

static int
filter_cut(const char *in, size_t len, size_t cut, size_t line_max, struct buf *out)
{
	struct relay_filter f;
	struct err e;

	relay_filter_init(&f, line_max);
	if (relay_filter_feed(&f, in, cut, out, &e) < 0 ||
	    relay_filter_feed(&f, in + cut, len - cut, out, &e) < 0)
		return -1;
	return relay_filter_end(&f, out, &e);
}

static void
test_cases_cut_at_every_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct filter_case *c = &cases[i];

		for (size_t cut = 0; cut <= strlen(c->in); cut++) {
			struct buf out;
			int rc;

			buf_init(&out, 5 * strlen(c->in) + 5);
			rc = filter_cut(c->in, strlen(c->in), cut, c->line_max, &out);
			assert_int_equal(rc, c->out == NULL ? -1 : 0);
			if (rc == 0)
				assert_string_equal(buf_cstr(&out), c->out);
			buf_clear(&out);
		}
	}
}

/* BDAT: neither dots nor an end, but the same lines. */
static void
test_counted(void **state)
{
	static const char in[] = ".a\n..\n12345.789\n.",
			  out[] = ".a\r\n..\r\n12345\r\n .789\r\n.\r\n";

	(void)state;
	for (size_t cut = 0; cut <= strlen(in); cut++) {
		struct relay_filter f;
		struct buf b;
		struct err e;

		buf_init(&b, 1000);
		relay_filter_init(&f, 5);
		f.is_counted = true;
		assert_int_equal(relay_filter_feed(&f, in, cut, &b, &e), 0);
		assert_int_equal(relay_filter_feed(&f, in + cut, strlen(in) - cut, &b, &e), 0);
		assert_int_equal(relay_filter_end(&f, &b, &e), 0);
		assert_string_equal(buf_cstr(&b), out);
		buf_clear(&b);
	}
}

/* A receiver that ends at CR LF . CR LF only must come to the end exactly at our end, and must have seen no bare CR,
 * no bare LF and no NUL: all inputs of length 6 over the bytes that matter. */
static void
check_output(const struct buf *out)
{
	size_t column = 0;

	for (size_t i = 0; i < out->len; i++) {
		assert_int_not_equal(out->p[i], '\0');
		if (out->p[i] == '\r')
			assert_true(i + 1 < out->len && out->p[i + 1] == '\n');
		if (out->p[i] == '\n') {
			assert_true(i > 0 && out->p[i - 1] == '\r');
			if (column == 2 && out->p[i - 2] == '.')
				assert_int_equal(i + 1, out->len);
			column = 0;
		} else {
			column++;
		}
	}
	assert_memory_equal(out->p + out->len - 3, ".\r\n", 3);
}

static void
test_no_smuggling(void **state)
{
	static const char alphabet[] = { '\r', '\n', '.', 'a', '\0' };
	enum { LEN = 6, ALL = 5 * 5 * 5 * 5 * 5 * 5 };

	(void)state;
	for (int n = 0; n < ALL; n++) {
		char in[LEN];
		int rest = n;
		struct buf out;

		for (size_t i = 0; i < LEN; i++, rest /= 5)
			in[i] = alphabet[rest % 5];
		buf_init(&out, 100);
		if (filter_cut(in, LEN, (size_t)n % LEN, 4, &out) == 0)
			check_output(&out);
		buf_clear(&out);
	}
}

static void
test_exact_up_to_998(void **state)
{
	char line[1001];
	struct buf out;

	(void)state;
	memset(line, 'x', 1000);
	line[998] = '\r';
	line[999] = '\n';
	buf_init(&out, 5000);
	assert_int_equal(filter_cut(line, 1000, 500, 998, &out), 0);
	assert_int_equal(out.len, 1003);
	assert_memory_equal(out.p, line, 1000);
	buf_clear(&out);
}

static void
test_content_of_two_descriptors(void **state)
{
	struct relay_content c;
	struct err e;
	char all[64];
	size_t at = 0;
	int fds[2];

	(void)state;
	relay_content_init(&c);
	c.header_fd = memfd_sealed("headers", "H: 1\r\n\r\n", 8, &e);
	c.body_fd = memfd_sealed("body", "old\r\n\r\nbody\r\n", 13, &e);
	c.body_offset = 7;
	c.body_size = 13;
	assert_int_equal(relay_content_check(&c, &e), 0);
	assert_int_equal(relay_content_size(&c), 14);
	for (int64_t n; (n = relay_content_read(&c, at, all + at, 3, &e)) > 0;)
		at += (size_t)n;
	assert_int_equal(at, 14);
	assert_memory_equal(all, "H: 1\r\n\r\nbody\r\n", 14);
	c.body_size = 14;
	assert_int_equal(relay_content_check(&c, &e), -1);
	c.body_size = 6;
	assert_int_equal(relay_content_check(&c, &e), -1);
	c.body_size = 13;
	assert_int_equal(pipe(fds), 0);
	close(fds[1]);
	fd_close(&c.header_fd);
	c.header_fd = fds[0]; /* not a sealed memfd */
	assert_int_equal(relay_content_check(&c, &e), -1);
	relay_content_close(&c);
}

static void
test_8bit(void **state)
{
	char text[40];

	(void)state;
	for (size_t i = 0; i < sizeof text; i++) {
		memset(text, 'a', sizeof text);
		assert_false(relay_bytes_have_8bit(text, sizeof text));
		text[i] = (char)0x80;
		assert_true(relay_bytes_have_8bit(text, sizeof text));
		assert_false(relay_bytes_have_8bit(text, i));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases_cut_at_every_byte),
		cmocka_unit_test(test_counted),
		cmocka_unit_test(test_no_smuggling),
		cmocka_unit_test(test_exact_up_to_998),
		cmocka_unit_test(test_content_of_two_descriptors),
		cmocka_unit_test(test_8bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
