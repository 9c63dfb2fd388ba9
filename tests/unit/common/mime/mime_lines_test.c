#include "common/mime/mime_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* Each event is a letter: h header, m MIME header, n nested header, t text, f frame; then the text. */
static int
note(void *arg, enum mime_line_kind kind, struct view text, unsigned lines)
{
	buf_printf(arg, "%c%u%.*s|", "hmntf"[kind], lines, VIEW_ARG(text));
	return view_eq_str(text, "stop") ? 7 : 0;
}

static int
run(const char *message, unsigned depth, struct buf *out, bool *is_too_deep)
{
	struct view rest = view_of(message), line;
	struct mime_lines m;
	int r = 0;

	mime_lines_init(&m, 100, depth, note, out);
	while (r == 0 && view_cut(rest, '\n', &line, &rest))
		r = mime_lines_feed(&m, line);
	if (r == 0)
		r = mime_lines_finish(&m);
	*is_too_deep = m.is_too_deep;
	mime_lines_clear(&m);
	return r;
}

/* clang-format off */
static const struct {
	const char *message, *events;
} cases[] = {
	{ "A: b\nC: d\n e\n\ntext\n\nmore\n", "h1A: b|h2C: d\n e|f1|t1text|t1|t1more|" },
	{ "MIME-Version: 1.0\nContent-type: text/plain\n\nx\n", "m1MIME-Version: 1.0|m1Content-type: text/plain|f1|t1x|" },
	{ "no header\nA: b\n", "t1no header|t1A: b|" },
	{ "", "" },
	{ "A: b\n", "h1A: b|" },
	{ "\nx\n", "f1|t1x|" },
	/* RFC 2046 5.1.1: preamble, parts, epilogue */
	{ "Content-Type: multipart/mixed; boundary=\"x y\"\n\npre\n--x y\nContent-Type: text/plain\nX: y\n\na\n--x y\n\nb\n--x y--\nepi\n",
	    "m1Content-Type: multipart/mixed; boundary=\"x y\"|f1|t1pre|f1--x y|m1Content-Type: text/plain|m1X: y|f1|t1a|f1--x y|f1|t1b|f1--x y--|t1epi|" },
	{ "Content-Type: multipart/mixed; name=\"a;boundary=z\"; boundary=x\n\n--z\n--x\nA: b\n\n--x--\n",
	    "m1Content-Type: multipart/mixed; name=\"a;boundary=z\"; boundary=x|f1|t1--z|f1--x|m1A: b|f1|f1--x--|" },
	{ "Content-Type: multipart/mixed;\n boundary=x\n\n--x\n--x\n", "m2Content-Type: multipart/mixed;\n boundary=x|f1|f1--x|f1--x|" },
	{ "Content-Type: multipart/mixed\n\n--\ntext\n", "m1Content-Type: multipart/mixed|f1|t1--|t1text|" },
	/* an attached message */
	{ "A: b\nContent-Type: message/rfc822\n\nN: o\nContent-Type: text/html\n\ntext\n",
	    "h1A: b|m1Content-Type: message/rfc822|f1|n1N: o|m1Content-Type: text/html|f1|t1text|" },
	/* RFC 2046 5.1.5: parts of a digest are messages unless they say otherwise */
	{ "Content-Type: multipart/digest; boundary=x\n\n--x\n\nN: o\n\na\n--x\nContent-Type: text/plain\n\nN: o\n--x--\n",
	    "m1Content-Type: multipart/digest; boundary=x|f1|f1--x|f1|n1N: o|f1|t1a|f1--x|m1Content-Type: text/plain|f1|t1N: o|f1--x--|" },
	/* the outer boundary closes what is open within */
	{ "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n--a\nZ: z\n\nt\n--b\n--a--\n",
	    "m1Content-Type: multipart/mixed; boundary=a|f1|f1--a|m1Content-Type: multipart/mixed; boundary=b|f1|f1--b|m1X: y|f1--a|m1Z: z|f1|t1t|t1--b|f1--a--|" },
	/* a field that is too long is cut */
	{ "A: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n\n", "h1|f1|" },
};
/* clang-format on */

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf out;
		bool deep;

		buf_init(&out, 10000);
		assert_int_equal(run(cases[i].message, 100, &out, &deep), 0);
		assert_string_equal(buf_cstr(&out), cases[i].events);
		assert_false(deep);
		buf_clear(&out);
	}
}

static void
test_depth(void **state)
{
	static const char message[] =
	    "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n";
	struct buf out;
	bool deep;

	(void)state;
	buf_init(&out, 10000);
	assert_int_equal(run(message, 1, &out, &deep), 0);
	assert_true(deep);
	assert_non_null(strstr(buf_cstr(&out), "t1--b|"));
	buf_clear(&out);
}

static void
test_stop(void **state)
{
	struct buf out;
	bool deep;

	(void)state;
	buf_init(&out, 10000);
	assert_int_equal(run("A: b\n\nstop\nmore\n", 100, &out, &deep), 7);
	assert_string_equal(buf_cstr(&out), "h1A: b|f1|t1stop|");
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
