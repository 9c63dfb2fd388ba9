/* mime_tree_test.c - the tree of messages, plain and hostile.
 * "mime_tree_test --dump FILE" prints the tree of a file instead, for comparison with other parsers. */
#include "common/base/clock.h"
#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct {
	const char *name, *text; /* LF; each is parsed with CRLF too */
	const char *want;        /* a line a part: depth type lines "body" [params], LF as ~ */
} cases[] = {
	{ "plain", "A: b\n\nhello\nworld\n", "0 text/plain 2 \"hello~world~\"\n" },
	{ "no body", "A: b\n", "0 text/plain 0 \"\"\n" },
	{ "empty", "", "0 text/plain 0 \"\"\n" },
	{ "unterminated last line", "\na\nb", "0 text/plain 1 \"a~b\"\n" },
	{ "multipart",
	    "Content-Type: multipart/mixed; boundary=x\n\npreamble\n--x\n\none\n--x\n"
	    "Content-Type: text/HTML; charset=\"utf-8\"\n\ntwo\n\n--x--\nepilogue\n",
	    "0 multipart/mixed 11 \"preamble~--x~~one~--x~Content-Type: text/HTML; charset=\"utf-8\"~~two~~--x--~epilogue~\""
	    " boundary=x\n 1 text/plain 0 \"one\"\n 1 text/html 1 \"two~\" charset=utf-8\n" },
	{ "without final boundary",
	    "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\n\ntwo\n",
	    "0 multipart/mixed 6 \"--x~~one~--x~~two~\" boundary=x\n 1 text/plain 0 \"one\"\n"
	    " 1 text/plain 1 \"two~\"\n" },
	{ "without parts", "Content-Type: multipart/mixed; boundary=x\n\nnothing here\n",
	    "0 multipart/mixed 1 \"nothing here~\" boundary=x\n" },
	{ "without boundary", "Content-Type: multipart/mixed\n\n--\n\none\n",
	    "0 multipart/mixed 3 \"--~~one~\"\n" },
	{ "empty parts", "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x--\n",
	    "0 multipart/mixed 4 \"--x~--x~~--x--~\" boundary=x\n 1 text/plain 0 \"\"\n 1 text/plain 0 \"\"\n" },
	{ "header only part",
	    "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: a/b\n--x--",
	    "0 multipart/mixed 2 \"--x~Content-Type: a/b~--x--\" boundary=x\n 1 a/b 0 \"\"\n" },
	{ "prefix boundaries",
	    "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\n"
	    "one\n--ab--\n--abc\n--a\n\ntwo\n--a--\n",
	    "0 multipart/mixed 12 \"--a~Content-Type: multipart/mixed; boundary=ab~~--ab~~one~--ab--~--abc~--a~~two~--a--~\""
	    " boundary=a\n 1 multipart/mixed 4 \"--ab~~one~--ab--~--abc\" boundary=ab\n  2 text/plain 0 \"one\"\n"
	    " 1 text/plain 0 \"two\"\n" },
	{ "boundary that ends in dashes",
	    "Content-Type: multipart/mixed; boundary=\"a--\"\n\n--a--\n\none\n--a----\n",
	    "0 multipart/mixed 4 \"--a--~~one~--a----~\" boundary=a--\n 1 text/plain 0 \"one\"\n" },
	{ "inner cut by outer",
	    "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n"
	    "--o\n\ntwo\n--o--\n",
	    "0 multipart/mixed 10 \"--o~Content-Type: multipart/mixed; boundary=i~~--i~~one~--o~~two~--o--~\" boundary=o\n"
	    " 1 multipart/mixed 2 \"--i~~one\" boundary=i\n  2 text/plain 0 \"one\"\n 1 text/plain 0 \"two\"\n" },
	{ "embedded message",
	    "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/rfc822\n\nSubject: in\n\nbody\n--x--\n",
	    "0 multipart/mixed 7 \"--x~Content-Type: message/rfc822~~Subject: in~~body~--x--~\" boundary=x\n"
	    " 1 message/rfc822 2 \"Subject: in~~body\"\n  2 text/plain 0 \"body\"\n" },
	{ "embedded multipart",
	    "Content-Type: message/rfc822\n\nContent-Type: multipart/x; boundary=x\n\n--x\n\none\n--x--\n",
	    "0 message/rfc822 6 \"Content-Type: multipart/x; boundary=x~~--x~~one~--x--~\"\n"
	    " 1 multipart/x 4 \"--x~~one~--x--~\" boundary=x\n  2 text/plain 0 \"one\"\n" },
	{ "embedded without header end", "Content-Type: message/rfc822\n\nSubject: in\n",
	    "0 message/rfc822 1 \"Subject: in~\"\n 1 text/plain 0 \"\"\n" },
	{ "encoded embedded message",
	    "Content-Type: message/rfc822\nContent-Transfer-Encoding: Base64\n\nQQ==\n",
	    "0 message/rfc822 1 \"QQ==~\"\n" },
	{ "digest",
	    "Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\none\n--x\nContent-Type: text/plain\n\ntwo\n--x--\n",
	    "0 multipart/digest 10 \"--x~~Subject: a~~one~--x~Content-Type: text/plain~~two~--x--~\" boundary=x\n"
	    " 1 message/rfc822 2 \"Subject: a~~one\"\n  2 text/plain 0 \"one\"\n 1 text/plain 0 \"two\"\n" },
	{ "white space behind a boundary",
	    "Content-Type: multipart/mixed; boundary=\"x \"\n\n--x \t\n\none\n--x-- \n",
	    "0 multipart/mixed 4 \"--x \t~~one~--x-- ~\" boundary=x \n 1 text/plain 0 \"one\"\n" },
	{ "boundary of an ended multipart",
	    "Content-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x--\n--x\n\ntwo\n",
	    "0 multipart/mixed 7 \"--x~~one~--x--~--x~~two~\" boundary=x\n 1 text/plain 0 \"one\"\n" },
	{ "malformed type", "Content-Type: text; charset=koi8-r\n\nx",
	    "0 text/plain 0 \"x\" charset=koi8-r\n" },
	{ "type with comments",
	    "Content-Type: (c) text (d) / (e) html (f) ; (g) charset (h) = (i) utf-8 (j)\n\nx",
	    "0 text/html 0 \"x\" charset=utf-8\n" },
	{ "first of two types", "Content-Type: a/b\nContent-Type: c/d\n\nx", "0 a/b 0 \"x\"\n" },
};

static void
dump_params(const struct mime_param *p, struct buf *out)
{
	for (; p != NULL; p = p->next) {
		buf_printf(out, " %s=%s", p->name, p->value);
		if (p->extended != NULL)
			buf_printf(out, "(%s)", p->extended);
	}
}

static void
dump_text(struct view v, struct buf *out)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.p[i] != '\r')
			buf_append_byte(out, v.p[i] == '\n' ? '~' : v.p[i]);
}

static void
dump(struct view msg, const struct mime_part *part, int depth, struct buf *out)
{
	for (; part != NULL; part = part->next) {
		assert_true(part->header_off + part->header_len == part->body_off);
		assert_true(part->body_off + part->body_len <= msg.len);
		buf_printf(out, "%*s%d %s/%s %u \"", depth, "", depth, part->type, part->subtype,
		    (unsigned)part->body_lines);
		dump_text(view_make(msg.p + part->body_off, part->body_len), out);
		buf_append_str(out, "\"");
		dump_params(part->params, out);
		buf_append_str(out, part->is_truncated ? " truncated\n" : "\n");
		dump(msg, part->first_child, depth + 1, out);
	}
}

static void
check_tree(const char *name, struct view msg, const char *want)
{
	struct arena a;
	struct buf got;
	struct mime_part *root;

	arena_init(&a, 1 << 20);
	buf_init(&got, 1 << 20);
	root = mime_parse(msg, &a, MIME_MAX_DEPTH, MIME_MAX_PARTS);
	assert_non_null(root);
	dump(msg, root, 0, &got);
	if (strcmp(buf_cstr(&got), want) != 0)
		fail_msg("%s\n got %s\nwant %s", name, buf_cstr(&got), want);
	buf_clear(&got);
	arena_clear(&a);
}

static void
test_trees(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf crlf;

		check_tree(cases[i].name, view_of(cases[i].text), cases[i].want);
		buf_init(&crlf, 10000);
		crlf_append(view_of(cases[i].text), &crlf);
		check_tree(cases[i].name, buf_view(&crlf), cases[i].want);
		buf_clear(&crlf);
	}
}

/* Offsets by hand, for IMAP's sake: the CRLF before a boundary is nobody's. */
static void
test_offsets(void **state)
{
	static const char msg[] = "Content-Type: multipart/mixed; boundary=x\r\n\r\n" /* 45 */
				  "--x\r\n"                                           /* 50 */
				  "Content-Type: text/plain\r\n\r\n"                  /* 78 */
				  "one\r\n"                                           /* 83 */
				  "--x\r\n"                                           /* 88 */
				  "\r\n"                                              /* 90 */
				  "two\r\n\r\n"                                       /* 97 */
				  "--x--\r\n";                                        /* 104 */
	struct arena a;
	struct mime_part *root, *p;

	(void)state;
	arena_init(&a, 100000);
	root = mime_parse(view_of(msg), &a, 10, 10);
	assert_int_equal(root->header_len, 45);
	assert_int_equal(root->body_off, 45);
	assert_int_equal(root->body_len, 59);
	assert_int_equal(root->body_lines, 9);
	p = root->first_child;
	assert_int_equal(p->header_off, 50);
	assert_int_equal(p->header_len, 28);
	assert_int_equal(p->body_off, 78);
	assert_int_equal(p->body_len, 3);
	assert_int_equal(p->body_lines, 0);
	assert_ptr_equal(p->parent, root);
	p = p->next;
	assert_int_equal(p->header_off, 88);
	assert_int_equal(p->header_len, 2);
	assert_int_equal(p->body_off, 90);
	assert_int_equal(p->body_len, 5);
	assert_int_equal(p->body_lines, 1);
	assert_null(p->next);
	arena_clear(&a);
}

static void
test_fields(void **state)
{
	static const char msg[] =
	    "content-id: <a@b>\nContent-Description: some\n thing\nContent-MD5: Q2hlY2s=\n"
	    "Content-Location: http://x/\nContent-Language: en, de (German)\n"
	    "Content-Transfer-Encoding: Quoted-Printable (really)\n"
	    "Content-Disposition: Attachment; filename=\"a b.txt\"; size=3\nContent-ID: <c@d>\n\n";
	struct arena a;
	struct mime_part *p;

	(void)state;
	arena_init(&a, 100000);
	p = mime_parse(view_of(msg), &a, 10, 10);
	assert_string_equal(p->id, "<a@b>");
	assert_string_equal(p->description, "some thing");
	assert_string_equal(p->md5, "Q2hlY2s=");
	assert_string_equal(p->location, "http://x/");
	assert_string_equal(p->languages[0], "en");
	assert_string_equal(p->languages[1], "de");
	assert_null(p->languages[2]);
	assert_string_equal(p->encoding, "quoted-printable");
	assert_string_equal(p->disposition, "attachment");
	assert_string_equal(p->disposition_params->name, "filename");
	assert_string_equal(p->disposition_params->value, "a b.txt");
	assert_string_equal(p->disposition_params->next->value, "3");
	p = mime_parse(VIEW_LIT("Content-ID: \nContent-Language: ,\n\n"), &a, 10, 10);
	assert_null(p->id);
	assert_null(p->languages);
	assert_null(p->disposition);
	assert_string_equal(p->encoding, "7bit");
	arena_clear(&a);
}

static const struct {
	const char *params, *want;
} param_cases[] = {
	{ "", "" },
	{ ";", "" },
	{ "; a=b", " a=b" },
	{ "; a = b ; C=\"d\\\"e;f\" ;g=h", " a=b c=d\"e;f g=h" },
	{ "; a=\"x\"y; b=c", " a=x b=c" },
	{ "; a=b; a=c", " a=b" },
	{ "; a; =b; c=d", " c=d" },
	{ "; name=My File.pdf; x=y", " name=My File.pdf x=y" },
	{ "; charset=us-ascii (Plain text)", " charset=us-ascii" },
	{ "; name=foo(1).txt", " name=foo(1).txt" },
	{ "; boundary==_x=y", " boundary==_x=y" },
	{ "; a=\"folded\r\n value\"", " a=folded value" },
	{ "; name=\"=?utf-8?Q?a=3Bb?=\"", " name==?utf-8?Q?a=3Bb?=" },
	{ "; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/\"", " url=ftp://cs.utk.edu/" },
	{ "; t*=us-ascii'en-us'This%20is%20%2A%2A%2Afun",
	    " t=This is ***fun(us-ascii'en-us'This%20is%20%2A%2A%2Afun)" },
	{ "; t*0*=us-ascii'en'This%20is; t*1*=%20fun; t*2=\" isn't it!\"",
	    " t=This is fun isn't it!(us-ascii'en'This%20is%20fun%20isn%27t%20it!)" },
	{ "; f*=iso-8859-1''%e4", " f=\xc3\xa4(iso-8859-1''%e4)" },
	{ "; f=plain; f*=utf-8''%c3%a4; g=h", " f=\xc3\xa4(utf-8''%c3%a4) g=h" },
	{ "; f*1=b; f*0=a; f*3=d", " f=ab" },
	{ "; f*1=b; f=plain", " f=plain" },
	{ "; f*0=a; f*0=x; f*1=b", " f=ab" },
	{ "; f*1*=b", " f=b(b)" },
	{ "; f*=noquotes%20x", " f=noquotes x(noquotes%20x)" },
	{ "; f*=utf-8''%zz%", " f=%zz%(utf-8''%zz%)" },
	{ "; f*=utf-8''a%00%0d%0ab", " f=a   b(utf-8''a%00%0d%0ab)" },
	{ "; f*99999999999=x", " f*99999999999=x" },
	{ "; *=x; **=y", " *=y(y)" },
	{ "; a=\"unterminated; b=c", " a=unterminated; b=c" },
	{ "; (c) a (c) = (c) \"b\" (c) ; (c)", " a=b" },
};

static void
test_params(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof param_cases / sizeof param_cases[0]; i++) {
		struct arena a;
		struct buf b;
		struct mime_part *p;

		arena_init(&a, 100000);
		buf_init(&b, 10000);
		buf_printf(&b, "Content-Type: a/b%s\n\n", param_cases[i].params);
		p = mime_parse(buf_view(&b), &a, 10, 10);
		buf_reset(&b);
		dump_params(p->params, &b);
		if (strcmp(buf_cstr(&b), param_cases[i].want) != 0)
			fail_msg("%s\n got %s\nwant %s", param_cases[i].params, buf_cstr(&b),
			    param_cases[i].want);
		buf_clear(&b);
		arena_clear(&a);
	}
}

static void
test_bounds(void **state)
{
	static const char parts[] =
	    "Content-Type: multipart/x; boundary=x\n\n--x\n\n1\n--x\n\n2\n--x\n\n3\n--x--\n";
	static const char deep[] =
	    "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nA: b\n\nc";
	struct arena a;
	struct buf got;

	(void)state;
	arena_init(&a, 100000);
	buf_init(&got, 10000);
	dump(view_of(parts), mime_parse(view_of(parts), &a, 10, 3)->first_child, 1, &got);
	assert_string_equal(buf_cstr(&got),
	    " 1 text/plain 0 \"1\"\n 1 application/octet-stream 6 \"~2~--x~~3~--x--~\" truncated\n");
	buf_reset(&got);
	dump(view_of(deep), mime_parse(view_of(deep), &a, 1, 10)->first_child, 1, &got);
	assert_string_equal(
	    buf_cstr(&got), " 1 application/octet-stream 2 \"A: b~~c\" truncated\n");
	assert_true(mime_parse(view_of(deep), &a, 0, 10)->is_truncated);
	assert_null(mime_parse(view_of(deep), &a, 10, 1)->first_child);
	buf_clear(&got);
	arena_clear(&a);
	arena_init(&a, 300);
	assert_null(mime_parse(view_of(parts), &a, 1, 10));
	arena_clear(&a);
}

/* hostile.md 13 to 17: linear time, less than 64 MiB beside the message. */
static size_t
parse_repeated(const char *head, const char *unit, int times, bool count_depth)
{
	struct arena a;
	struct buf big;
	struct mime_part *root, *p;
	size_t n = 0;
	int64_t start = clock_mono_ms();

	arena_init(&a, 64 << 20);
	buf_init(&big, 128 << 20);
	buf_append_str(&big, head);
	for (int i = 0; i < times; i++)
		buf_printf(&big, unit, i);
	root = mime_parse(buf_view(&big), &a, MIME_MAX_DEPTH, MIME_MAX_PARTS);
	assert_non_null(root);
	for (p = count_depth ? root : root->first_child; p != NULL;
	     p = count_depth ? p->first_child : p->next)
		n++;
	assert_true(clock_mono_ms() - start < 20000); /* a quadratic one needs hours */
	buf_clear(&big);
	arena_clear(&a);
	return n;
}

static void
test_bombs(void **state)
{
	(void)state;
	assert_int_equal(
	    parse_repeated("Content-Type: multipart/x; boundary=x\n\n", "--x\n", 1000000, false),
	    MIME_MAX_PARTS - 1);
	assert_int_equal(parse_repeated("", "Content-Type: message/rfc822\n\n", 10000, true),
	    MIME_MAX_DEPTH + 1);
	assert_int_equal(parse_repeated("",
			     "Content-Type: multipart/x; boundary=x%1$d\n\n--x%1$d\n", 10000, true),
	    MIME_MAX_DEPTH + 1);
	/* one boundary for all levels, closed never */
	assert_int_equal(parse_repeated("Content-Type: multipart/x; boundary=x\n\n--x\n",
			     "Content-Type: multipart/x; boundary=x\n\n--x\n", 200000, true),
	    MIME_MAX_DEPTH + 1);
	assert_int_equal(parse_repeated("Content-Type: a/b", ";f*%d=x", 10000, true), 1);
	assert_int_equal(parse_repeated("Content-Type: a/b", ";f*%d*=%%41", 1000000, true), 1);
	assert_int_equal(parse_repeated("Content-Type: a/b", ";a%d=", 1000000, true), 1);
	assert_int_equal(parse_repeated("Content-Type: a/b", "; \"(", 1000000, true), 1);
	assert_int_equal(parse_repeated("", "Content-Type: a/b; a=b\n", 500000, true), 1);
	assert_int_equal(parse_repeated("Content-Language: x", ",x", 1000000, true), 1);
	assert_int_equal(parse_repeated("Content-Type: multipart/x; boundary=x\n\n",
			     "--x\nContent-Type:a/b;c=d;e=f;g=h\n\n", 500000, false),
	    MIME_MAX_PARTS - 1);
}

/* A hundred open boundaries of one length, and lines that are like all of them. */
static void
test_many_boundaries(void **state)
{
	struct arena a;
	struct buf big;
	int64_t start = clock_mono_ms();

	(void)state;
	arena_init(&a, 64 << 20);
	buf_init(&big, 64 << 20);
	for (int i = 0; i < 100; i++)
		buf_printf(&big, "Content-Type: multipart/x; boundary=%1$064d\n\n--%1$064d\n", i);
	for (int i = 0; i < 200000; i++)
		buf_printf(&big, "--%064d\n", 1000 + i);
	assert_non_null(mime_parse(buf_view(&big), &a, MIME_MAX_DEPTH, MIME_MAX_PARTS));
	assert_true(clock_mono_ms() - start < 20000);
	buf_clear(&big);
	arena_clear(&a);
}

static void
dump_structure(const struct mime_part *part, int depth)
{
	for (; part != NULL; part = part->next) {
		printf("%d %s/%s %zu %zu %zu %zu\n", depth, part->type, part->subtype,
		    part->header_off, part->header_len, part->body_off, part->body_len);
		dump_structure(part->first_child, depth + 1);
	}
}

static int
dump_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct buf in;
	struct arena a;
	char *to;
	size_t n;

	if (f == NULL)
		return 1;
	buf_init(&in, 64 << 20);
	while ((to = buf_reserve(&in, 65536)) != NULL && (n = fread(to, 1, 65536, f)) > 0)
		in.len += n;
	fclose(f);
	arena_init(&a, 256 << 20);
	dump_structure(mime_parse(buf_view(&in), &a, MIME_MAX_DEPTH, MIME_MAX_PARTS), 0);
	arena_clear(&a);
	buf_clear(&in);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_many_boundaries),
	};

	if (argc == 3 && strcmp(argv[1], "--dump") == 0)
		return dump_file(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
