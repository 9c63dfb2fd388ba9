#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "imapd/imap_reader.h"

#include <stdio.h>
#include <stdlib.h>

static const struct imap_reader_limits limits = { 100, 50, 4 };

/* What came of an input, as text: C[command] L[size sync] B[bytes] D[problem] F[problem]. */
struct trace {
	char text[8192];
	size_t len;
	bool in_bytes;
	const char
	    *policy; /* one letter a literal: c collect, s stream, r refuse; the last goes on */
};

static void
add(struct trace *t, const char *p, size_t len)
{
	if (len > sizeof t->text - t->len - 1)
		len = sizeof t->text - t->len - 1;
	memcpy(t->text + t->len, p, len);
	t->len += len;
	t->text[t->len] = '\0';
}

static void
add_str(struct trace *t, const char *s)
{
	add(t, s, strlen(s));
}

static void
add_event(struct trace *t, struct imap_reader *r, enum imap_reader_event event, struct view chunk)
{
	char line[100];

	if (event != READER_BYTES && t->in_bytes)
		add_str(t, "]");
	if (event == READER_BYTES && !t->in_bytes)
		add_str(t, "B[");
	t->in_bytes = event == READER_BYTES;
	switch (event) {
	case READER_BYTES:
		add(t, chunk.p, chunk.len);
		break;
	case READER_COMMAND:
		add_str(t, "C[");
		add(t, r->text.p ? r->text.p : "", r->text.len);
		add_str(t, "]");
		break;
	case READER_LITERAL:
		snprintf(line, sizeof line, "L[%llu %s]", (unsigned long long)r->literal_size,
		    r->is_sync ? "sync" : "non");
		add_str(t, line);
		break;
	case READER_DROPPED:
	case READER_FATAL:
		add_str(t, event == READER_DROPPED ? "D[" : "F[");
		add_str(t, r->problem ? r->problem : "refused");
		add_str(t, "|");
		add(t, r->text.p ? r->text.p : "", r->text.len < 8 ? r->text.len : 8);
		add_str(t, "]");
		break;
	case READER_MORE:
		break;
	}
}

/* Feeds the pieces before and behind the cut. */
static void
run(struct trace *t, const char *input, size_t len, size_t cut, const char *policy)
{
	struct imap_reader r;
	size_t from = 0, ends[2] = { cut, len };

	*t = (struct trace){ .policy = policy };
	imap_reader_init(&r, &limits);
	for (int piece = 0; piece < 2; piece++) {
		for (;;) {
			struct view chunk;
			size_t used;
			enum imap_reader_event event = imap_reader_next(
			    &r, view_make(input + from, ends[piece] - from), &used, &chunk);

			from += used;
			if (event == READER_MORE)
				break;
			add_event(t, &r, event, chunk);
			if (event == READER_FATAL)
				goto out;
			if (event != READER_LITERAL)
				continue;
			if (*t->policy == 's')
				imap_reader_stream(&r);
			else if (*t->policy == 'r')
				imap_reader_refuse(&r);
			else
				(void)imap_reader_collect(&r);
			if (t->policy[1] != '\0')
				t->policy++;
		}
		assert_int_equal(from, ends[piece]);
	}
out:
	if (t->in_bytes)
		add_str(t, "]");
	imap_reader_clear(&r);
}

#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
static const struct {
	const char *policy, *input, *want;
} cases[] = {
	{ "c", "a NOOP\r\n", "C[a NOOP]" },
	{ "c", "a NOOP\n", "C[a NOOP]" }, /* clients in the wild */
	{ "c", "a NOOP\r\nb NOOP\r\nc", "C[a NOOP]C[b NOOP]" },
	{ "c", "\r\n\r\n", "C[]C[]" },
	{ "c", "a \rb\r\n", "C[a \rb]" },
	{ "c", "a L {3}\r\nfoo bar\r\n", "L[3 sync]C[a L {3}\r\nfoo bar]" },
	{ "c", "a L {3+}\r\nfoo {2+}\r\nhi\r\nb\r\n",
	    "L[3 non]L[2 non]C[a L {3+}\r\nfoo {2+}\r\nhi]C[b]" },
	{ "c", "a L {0}\r\n x\r\n", "L[0 sync]C[a L {0}\r\n x]" },
	/* the literal's own CR and LF are no line end */
	{ "c", "a {4}\r\n\r\n\r\n\r\n", "L[4 sync]C[a {4}\r\n\r\n\r\n]" },
	{ "c", "a {1}\r\n\r\nb\r\n", "L[1 sync]C[a {1}\r\n\r]C[b]" },
	{ "c", "a {2+}\n{}\r\n", "L[2 non]C[a {2+}\r\n{}]" },
	/* no announcements */
	{ "c", "a {}\r\na {x}\r\na {1}x\r\na 1}\r\n{1} a\r\n}\r\n+}\r\n",
	    "C[a {}]C[a {x}]C[a {1}x]C[a 1}]C[{1} a]C[}]C[+}]" },
	{ "s", "a APPEND {5}\r\nhello\r\nb\r\n", "L[5 sync]B[hello]C[a APPEND {5}\r\n]C[b]" },
	{ "s", "a APPEND {5+}\r\nhello {3+}\r\nfoo)\r\n",
	    "L[5 non]B[hello]L[3 non]B[foo]C[a APPEND {5+}\r\n {3+}\r\n)]" },
	{ "cs", "a APPEND {3+}\r\nbox {3+}\r\nfoo\r\n",
	    "L[3 non]L[3 non]B[foo]C[a APPEND {3+}\r\nbox {3+}\r\n]" },
	{ "s", "a {0+}\r\n\r\n", "L[0 non]C[a {0+}\r\n]" },
	/* a streamed literal may be longer than any that is collected */
	{ "s", "a {100+}\r\n" HUNDRED "\r\n", "L[100 non]B[" HUNDRED "]C[a {100+}\r\n]" },
	{ "r", "a X {5}\r\nb NOOP\r\n", "L[5 sync]D[refused|a X {5}]C[b NOOP]" },
	{ "r", "a X {5+}\r\nhello y\r\nb NOOP\r\n", "L[5 non]D[refused|a X {5+}]C[b NOOP]" },
	{ "r", "a X {5+}\r\nhello y {3+}\r\nfoo z\r\nb NOOP\r\n",
	    "L[5 non]D[refused|a X {5+}]C[b NOOP]" },
	{ "r", "a X {5+}\r\nhello y {3}\r\nb NOOP\r\n", "L[5 non]D[refused|a X {5+}]C[b NOOP]" },
	{ "c", "a X {51}\r\nb\r\n", "L[51 sync]D[Literal too long|a X {51}]C[b]" },
	{ "c", "a X {51+}\r\n" TEN TEN TEN TEN TEN "1 z\r\nb\r\n",
	    "L[51 non]D[Literal too long|a X {51+]C[b]" },
	{ "c", "a {30+}\r\n" TEN TEN TEN "{30+}\r\n" TEN TEN TEN "\r\nb\r\n",
	    "L[30 non]L[30 non]D[Literal too long|a {30+}\r]C[b]" },
	{ "c", "a {1+}\r\n1{1+}\r\n1{1+}\r\n1{1+}\r\n1{1+}\r\n1\r\nb\r\n",
	    "L[1 non]L[1 non]L[1 non]L[1 non]D[Too many literals in the command|a {1+}\r\n]C[b]" },
	{ "c", "a {4294967295}\r\nb\r\n", "L[4294967295 sync]D[Literal too long|a {42949]C[b]" },
	{ "c", "a {4294967296}\r\nb\r\n", "D[Literal size too large|a {42949]C[b]" },
	{ "c", "a {18446744073709551616}\r\nb\r\n", "D[Literal size too large|a {18446]C[b]" },
	{ "c", "a {4294967296+}\r\nb\r\n", "F[Literal size too large|a {42949]" },
	{ "c", "a {18446744073709551616+}\r\nb\r\n", "F[Literal size too large|a {18446]" },
	/* lines: 100 bytes pass, 101 do not */
	{ "c", HUNDRED "\nb\r\n", "C[" HUNDRED "]C[b]" },
	{ "c", HUNDRED "x\nb\r\n", "D[Too long command line|01234567]C[b]" },
	{ "c", HUNDRED HUNDRED "\r\nb\r\n", "D[Too long command line|01234567]C[b]" },
	{ "c", HUNDRED HUNDRED "{3+}\r\nfoo x\r\nb\r\n", "D[Too long command line|01234567]C[b]" },
	{ "c", HUNDRED "{3+}\r\nfoo x\r\nb\r\n", "D[Too long command line|01234567]C[b]" },
	{ "c", HUNDRED "{3}\r\nb\r\n", "D[Too long command line|01234567]C[b]" },
	{ "c", HUNDRED "{99999999999+}\r\nb\r\n", "F[Literal size too large|01234567]" },
	{ "c", HUNDRED "{000000000000000000000000000000000000000003+}\r\nb\r\n",
	    "F[Literal size too large|01234567]" },
	/* literals do not count as line, what stands around them does */
	{ "c", TEN TEN TEN TEN TEN "{50+}\r\n" TEN TEN TEN TEN TEN TEN TEN TEN TEN "\r\nb\r\n",
	    "L[50 non]C[" TEN TEN TEN TEN TEN "{50+}\r\n" TEN TEN TEN TEN TEN TEN TEN TEN TEN
	    "]C[b]" },
	{ "c", TEN TEN TEN TEN TEN "{5+}\r\n01234" TEN TEN TEN TEN TEN "\r\nb\r\n",
	    "L[5 non]D[Too long command line|01234567]C[b]" },
};

static void
test_same_however_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].input);

		for (size_t cut = 0; cut <= len; cut++) {
			struct trace t;

			run(&t, cases[i].input, len, cut, cases[i].policy);
			if (strcmp(t.text, cases[i].want) != 0)
				fail_msg("case %zu cut at %zu:\n  want %s\n  got  %s", i, cut,
				    cases[i].want, t.text);
		}
	}
}

static void
test_idle_keeps_nothing(void **state)
{
	static char big[20000];
	struct imap_reader_limits wide = { 65536, 65536, 10 };
	struct imap_reader r;
	struct view chunk;
	size_t used;

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\n';
	imap_reader_init(&r, &wide);
	assert_int_equal(
	    imap_reader_next(&r, view_make(big, sizeof big), &used, &chunk), READER_COMMAND);
	assert_int_equal(imap_reader_next(&r, view_make(NULL, 0), &used, &chunk), READER_MORE);
	assert_int_equal(r.text.cap, 0);
	imap_reader_clear(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_however_cut),
		cmocka_unit_test(test_idle_keeps_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
