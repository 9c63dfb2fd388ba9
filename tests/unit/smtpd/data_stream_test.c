#include "smtpd/data_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LINE_MAX_DEFAULT = 1000, OUT_MAX = 1 << 20 };

struct outcome {
	bool is_over;
	size_t used; /* of all input */
	unsigned faults;
	uint64_t size;
	struct buf out;
};

static unsigned modes; /* enum data_mode of the streams made */

/* Feeds input in pieces: up to `first` bytes, then `step` at a time. */
static void
feed(struct view in, size_t first, size_t step, size_t line_max, struct outcome *o)
{
	struct data_stream d;
	size_t at = 0, piece = first;

	*o = (struct outcome){ 0 };
	buf_init(&o->out, OUT_MAX);
	data_stream_init(&d, line_max, modes);
	while (at < in.len && !o->is_over) {
		size_t len = piece < in.len - at ? piece : in.len - at, used;

		o->is_over = data_stream_feed(&d, view_make(in.p + at, len), &used, &o->out) == 0;
		at += used;
		piece = step;
	}
	o->used = at;
	o->faults = d.faults;
	o->size = d.size;
}

static void
assert_same(const struct outcome *a, const struct outcome *b)
{
	assert_int_equal(a->is_over, b->is_over);
	assert_int_equal(a->used, b->used);
	assert_int_equal(a->faults, b->faults);
	assert_int_equal(a->size, b->size);
	assert_int_equal(a->out.len, b->out.len);
	assert_memory_equal(a->out.p ? a->out.p : "", b->out.p ? b->out.p : "", a->out.len);
}

/* The same result in one piece, cut in two at every byte, and byte by byte. */
static void
feed_every_way(struct view in, size_t line_max, struct outcome *whole)
{
	struct outcome o;

	feed(in, in.len, in.len, line_max, whole);
	for (size_t cut = 1; cut < in.len; cut++) {
		feed(in, cut, in.len, line_max, &o);
		assert_same(whole, &o);
		buf_clear(&o.out);
	}
	feed(in, 1, 1, line_max, &o);
	assert_same(whole, &o);
	buf_clear(&o.out);
}

struct content_case {
	const char *wire, *content; /* content NULL: not over yet */
	unsigned faults;
	size_t left; /* bytes behind the end */
};

/* RFC 5321 4.1.1.4, 4.5.2 */
static const struct content_case content_cases[] = {
	{ ".\r\n", "", 0, 0 },
	{ "a\r\n.\r\n", "a\r\n", 0, 0 },
	{ "a\r\n.\r\nRSET\r\n", "a\r\n", 0, 6 },
	{ "\r\n.\r\n", "\r\n", 0, 0 },
	{ "..\r\n.\r\n", ".\r\n", 0, 0 },
	{ "...\r\n.\r\n", "..\r\n", 0, 0 },
	{ ".a\r\n.\r\n", "a\r\n", 0, 0 },
	{ "a.\r\n.\r\n", "a.\r\n", 0, 0 },
	{ "a\r\n..b\r\n.\r\n", "a\r\n.b\r\n", 0, 0 },
	{ ".. \r\n.\r\n", ". \r\n", 0, 0 },
	{ ". \r\n.\r\n", " \r\n", 0, 0 },
	{ "a\r\n. \r\n.\r\n", "a\r\n \r\n", 0, 0 },
	{ "\x80\xff\r\n.\r\n", "\x80\xff\r\n", 0, 0 },
	{ "a\r\n", NULL, 0, 0 },
	{ "a.\r\n", NULL, 0, 0 },
	{ ".", NULL, 0, 0 },
	{ ".\r", NULL, 0, 0 },
	{ "a\r\n.", NULL, 0, 0 },
	{ "a\n.\r\n", NULL, DATA_BARE_LF, 0 },
	{ "a\n.\n\r\n.\r\n", "", DATA_BARE_LF, 0 },
	{ "a\r.\r\n.\r\n", "", DATA_BARE_CR, 0 },
	{ "a\r\r\n.\r\n", "", DATA_BARE_CR, 0 },
	{ ".\r\r\n.\r\n", "", DATA_BARE_CR, 0 },
	{ ".\n\r\n.\r\n", "", DATA_BARE_LF, 0 },
	{ "a\r\n.\n\r\n.\r\n", "", DATA_BARE_LF, 0 },
	{ "a\r\n.\ra\r\n.\r\n", "", DATA_BARE_CR, 0 },
};

static void
test_content(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof content_cases / sizeof content_cases[0]; i++) {
		const struct content_case *c = &content_cases[i];
		struct view in = view_of(c->wire);
		struct outcome o;

		feed_every_way(in, LINE_MAX_DEFAULT, &o);
		assert_int_equal(o.is_over, c->content != NULL);
		assert_int_equal(o.faults, c->faults);
		assert_int_equal(in.len - o.used, c->left);
		if (c->faults == 0 && c->content != NULL) {
			assert_int_equal(o.size, strlen(c->content));
			assert_int_equal(o.out.len, strlen(c->content));
			assert_memory_equal(o.out.p ? o.out.p : "", c->content, o.out.len);
		}
		buf_clear(&o.out);
	}
}

/* Everything somebody may take for the end of a line. */
static const struct view line_ends[] = { VIEW_LIT("\r\n"), VIEW_LIT("\n"), VIEW_LIT("\r"),
	VIEW_LIT("\r\r\n"), VIEW_LIT("\n\r"), VIEW_LIT("\r\n\0"), VIEW_LIT("\0\r\n"),
	VIEW_LIT("\0\n"), VIEW_LIT("\0"), VIEW_LIT("\n\0"), VIEW_LIT("\r\0\n"), VIEW_LIT("\n\n"),
	VIEW_LIT("\x0b"), VIEW_LIT("\x0c"), VIEW_LIT("\x85"), VIEW_LIT("\xe2\x80\xa8"),
	VIEW_LIT(" \r\n"), VIEW_LIT("\t\r\n") };
enum { LINE_ENDS = sizeof line_ends / sizeof line_ends[0] };

/* The smuggling matrix: BEFORE "." AFTER, with mail commands behind it and the true end behind those.  Only
 * CRLF.CRLF may end the message there; in every other case it ends at the true end, and whoever would have taken
 * it for the end sees the message refused, or the line as what it is: text. */
static void
test_smuggling_matrix(void **state)
{
	static const char hidden[] =
	    "MAIL FROM:<evil@x>\r\nRCPT TO:<b@c>\r\nDATA\r\nsmuggled\r\n.\r\n";

	(void)state;
	for (size_t b = 0; b < LINE_ENDS; b++) {
		for (size_t a = 0; a < LINE_ENDS; a++) {
			struct outcome o;
			struct buf in;
			bool is_end =
			    view_ends(line_ends[b], "\r\n") && view_starts(line_ends[a], "\r\n");

			buf_init(&in, 1000);
			buf_append_str(&in, "text");
			buf_append_view(&in, line_ends[b]);
			buf_append_byte(&in, '.');
			buf_append_view(&in, line_ends[a]);
			buf_append_str(&in, hidden);
			feed_every_way(buf_view(&in), LINE_MAX_DEFAULT, &o);
			assert_true(o.is_over);
			assert_int_equal(o.used < in.len, is_end);
			if (memchr(line_ends[b].p, '\0', line_ends[b].len) != NULL ||
			    (!is_end && memchr(line_ends[a].p, '\0', line_ends[a].len) != NULL))
				assert_int_not_equal(o.faults, 0);
			/* what is let through holds no line end but CRLF, and no NUL */
			for (size_t i = 0; o.faults == 0 && i < o.out.len; i++) {
				assert_int_not_equal(o.out.p[i], '\0');
				if (o.out.p[i] == '\n')
					assert_true(i > 0 && o.out.p[i - 1] == '\r');
				if (o.out.p[i] == '\r')
					assert_true(i + 1 < o.out.len && o.out.p[i + 1] == '\n');
			}
			buf_clear(&o.out);
			buf_clear(&in);
		}
	}
}

static void
test_line_limit(void **state)
{
	(void)state;
	for (int len = 8; len <= 12; len++) {
		char wire[64];
		struct outcome o;

		snprintf(wire, sizeof wire, "ok\r\n%0*d\r\nok\r\n.\r\n", len, 0);
		feed_every_way(view_of(wire), 10, &o);
		assert_true(o.is_over);
		assert_int_equal(o.faults, len <= 10 ? 0 : DATA_LONG_LINE);
		buf_clear(&o.out);
	}
}

/* Stuffed as a client would, any content comes back as it was. */
static void
test_round_trip(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 2000; round++) {
		static const char alphabet[] = "...ab\r\n";
		struct buf content, wire;
		struct outcome o;

		buf_init(&content, 1000);
		buf_init(&wire, 1000);
		for (int i = rand() % 20; i > 0; i--) {
			char c = alphabet[rand() % 5];

			if (c == '.' && (content.len == 0 || content.p[content.len - 1] == '\n'))
				buf_append_byte(&wire, '.');
			buf_append_byte(&content, c);
			buf_append_byte(&wire, c);
			if (rand() % 4 == 0) {
				buf_append_str(&content, "\r\n");
				buf_append_str(&wire, "\r\n");
			}
		}
		if (content.len > 0 && content.p[content.len - 1] != '\n') {
			buf_append_str(&content, "\r\n");
			buf_append_str(&wire, "\r\n");
		}
		buf_append_str(&wire, ".\r\n");
		feed_every_way(buf_view(&wire), LINE_MAX_DEFAULT, &o);
		assert_true(o.is_over);
		assert_int_equal(o.faults, 0);
		assert_int_equal(o.out.len, content.len);
		assert_memory_equal(
		    o.out.p ? o.out.p : "", content.p ? content.p : "", content.len);
		buf_clear(&o.out);
		buf_clear(&content);
		buf_clear(&wire);
	}
}

/* RFC 3030 2: no dots, no end; the same discipline for line ends. */
static void
test_chunked(void **state)
{
	static const struct {
		struct view in, out;
		unsigned faults;
	} rows[] = { { VIEW_LIT("..a\r\n.\r\n.b\r\n"), VIEW_LIT("..a\r\n.\r\n.b\r\n"), 0 },
		{ VIEW_LIT("no end"), VIEW_LIT("no end"), 0 },
		{ VIEW_LIT("a\nb\r\n"), VIEW_LIT("a"), DATA_BARE_LF },
		{ VIEW_LIT("a\rb\r\n"), VIEW_LIT("a\r"), DATA_BARE_CR },
		{ VIEW_LIT("a\0b"), VIEW_LIT("a"), DATA_NUL } };
	struct outcome o;

	(void)state;
	modes = DATA_CHUNKED;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		feed_every_way(rows[i].in, LINE_MAX_DEFAULT, &o);
		assert_false(o.is_over);
		assert_int_equal(o.used, rows[i].in.len);
		assert_int_equal(o.faults, rows[i].faults);
		assert_true(view_eq(buf_view(&o.out), rows[i].out));
		buf_clear(&o.out);
	}
	modes = 0;
}

static void
test_normalized(void **state)
{
	static const struct {
		struct view in, out;
		unsigned faults;
	} rows[] = { { VIEW_LIT("a\nb\r\n.\r\n"), VIEW_LIT("a\r\nb\r\n"), 0 },
		{ VIEW_LIT("\n\n\r\n.\r\n"), VIEW_LIT("\r\n\r\n\r\n"), 0 },
		/* a bare LF on either side of the dot does not end it */
		{ VIEW_LIT("a\n.\r\nb\r\n.\r\n"), VIEW_LIT("a\r\n.\r\nb\r\n"), 0 },
		{ VIEW_LIT("a\n.\nb\r\n.\r\n"), VIEW_LIT("a\r\n.\r\nb\r\n"), 0 },
		{ VIEW_LIT("a\r\n.\nb\r\n.\r\n"), VIEW_LIT("a\r\n\r\nb\r\n"), 0 },
		/* RFC 5321 4.5.2 */
		{ VIEW_LIT("a\n..b\r\n.\r\n"), VIEW_LIT("a\r\n.b\r\n"), 0 },
		{ VIEW_LIT("a\rb\n\r\n.\r\n"), VIEW_LIT("a\r"), DATA_BARE_CR },
		{ VIEW_LIT("a\n\0\r\n.\r\n"), VIEW_LIT("a\r\n"), DATA_NUL } };
	struct outcome o;

	(void)state;
	modes = DATA_NORMALIZE;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		feed_every_way(rows[i].in, LINE_MAX_DEFAULT, &o);
		assert_true(o.is_over);
		assert_int_equal(o.used, rows[i].in.len);
		assert_int_equal(o.faults, rows[i].faults);
		assert_true(view_eq(buf_view(&o.out), rows[i].out));
		buf_clear(&o.out);
	}
	modes = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_normalized),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_smuggling_matrix),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
