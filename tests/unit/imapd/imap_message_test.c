/* Sections, ENVELOPE, BODYSTRUCTURE of whole messages, and SEARCH upon them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "imapd/imap_envelope.h"
#include "imapd/imap_fetch.h"
#include "imapd/imap_search.h"

#include <stdio.h>
#include <stdlib.h>

static struct arena arena;

/* The structure that RFC 3501 6.4.5 numbers its parts by, with text in every leaf. */
static const char nested[] =
    "Subject: outer\r\nContent-Type: multipart/mixed; boundary=B0\r\n\r\n"
    "--B0\r\nContent-Type: text/plain\r\n\r\none\r\n"
    "--B0\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n"
    "--B0\r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: three\r\nContent-Type: multipart/mixed; boundary=B3\r\n\r\n"
    "--B3\r\n\r\n3.1\r\n--B3\r\nContent-Type: application/octet-stream\r\n\r\n3.2\r\n--B3--\r\n"
    "--B0\r\nContent-Type: multipart/mixed; boundary=B4\r\n\r\n"
    "--B4\r\nContent-Type: image/gif\r\nContent-ID: <gif>\r\n\r\n4.1\r\n"
    "--B4\r\nContent-Type: message/rfc822\r\n\r\n"
    "Subject: four two\r\nFrom: x@y.example\r\nContent-Type: multipart/mixed; boundary=B42\r\n\r\n"
    "--B42\r\nContent-Type: text/plain\r\n\r\n4.2.1\r\n"
    "--B42\r\nContent-Type: multipart/alternative; boundary=B422\r\n\r\n"
    "--B422\r\nContent-Type: text/plain\r\n\r\n4.2.2.1\r\n"
    "--B422\r\nContent-Type: text/richtext\r\n\r\n4.2.2.2\r\n--B422--\r\n"
    "--B42--\r\n--B4--\r\n--B0--\r\n";
static const char plain[] = "Subject: plain\r\nX-A: 1\r\nx-a: 2\r\n folded\r\n\r\nbody text\r\n";
static const char forwarded[] =
    "Content-Type: message/rfc822\r\nSubject: out\r\n\r\nSubject: in\r\n\r\ninner\r\n";
static const char no_body[] = "Subject: alone";

static void
test_sections(void **state)
{
	static const struct {
		const char *message, *section, *want; /* NULL: NIL */
	} cases[] = {
		{ plain, "[]", plain },
		{ plain, "[HEADER]", "Subject: plain\r\nX-A: 1\r\nx-a: 2\r\n folded\r\n\r\n" },
		{ plain, "[TEXT]", "body text\r\n" },
		{ plain, "[1]", "body text\r\n" },
		{ plain, "[1.MIME]", "Subject: plain\r\nX-A: 1\r\nx-a: 2\r\n folded\r\n\r\n" },
		{ plain, "[2]", NULL },
		{ plain, "[1.1]", NULL },
		{ plain, "[1.TEXT]", NULL },
		{ plain, "[1.HEADER]", NULL },
		{ plain, "[HEADER.FIELDS (x-A)]", "X-A: 1\r\nx-a: 2\r\n folded\r\n\r\n" },
		{ plain, "[HEADER.FIELDS (none)]", "\r\n" },
		{ plain, "[HEADER.FIELDS.NOT (X-A)]", "Subject: plain\r\n\r\n" },
		{ no_body, "[HEADER.FIELDS (subject)]", "Subject: alone\r\n\r\n" },
		{ no_body, "[TEXT]", "" },
		{ no_body, "[HEADER]", "Subject: alone" },
		{ nested, "[1]", "one" },
		{ nested, "[1.MIME]", "Content-Type: text/plain\r\n\r\n" },
		{ nested, "[2]", "two" },
		{ nested, "[3.HEADER]",
		    "Subject: three\r\nContent-Type: multipart/mixed; boundary=B3\r\n\r\n" },
		{ nested, "[3.HEADER.FIELDS (Subject)]", "Subject: three\r\n\r\n" },
		{ nested, "[3.MIME]", "Content-Type: message/rfc822\r\n\r\n" },
		{ nested, "[3.TEXT]",
		    "--B3\r\n\r\n3.1\r\n--B3\r\nContent-Type: application/octet-stream\r\n\r\n3.2\r\n--B3--" },
		{ nested, "[3.1]", "3.1" },
		{ nested, "[3.2]", "3.2" },
		{ nested, "[3.3]", NULL },
		{ nested, "[3.1.1]", NULL },
		{ nested, "[4.1]", "4.1" },
		{ nested, "[4.1.MIME]", "Content-Type: image/gif\r\nContent-ID: <gif>\r\n\r\n" },
		{ nested, "[4.1.HEADER]", NULL },
		{ nested, "[4.2.HEADER.FIELDS (From)]", "From: x@y.example\r\n\r\n" },
		{ nested, "[4.2.1]", "4.2.1" },
		{ nested, "[4.2.2.1]", "4.2.2.1" },
		{ nested, "[4.2.2.2]", "4.2.2.2" },
		{ nested, "[4.2.2.2.MIME]", "Content-Type: text/richtext\r\n\r\n" },
		{ nested, "[4.2.2.3]", NULL },
		{ nested, "[5]", NULL },
		{ nested, "[4294967295]", NULL },
		{ forwarded, "[1]", "Subject: in\r\n\r\ninner\r\n" },
		{ forwarded, "[1.HEADER]", "Subject: in\r\n\r\n" },
		{ forwarded, "[1.TEXT]", "inner\r\n" },
		{ forwarded, "[1.1]", "inner\r\n" },
		{ forwarded, "[1.1.1]", NULL },
	};
	struct buf scratch;

	(void)state;
	buf_init(&scratch, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view message = view_of(cases[i].message), out = { 0 };
		struct mime_part *root =
		    mime_parse(message, &arena, MIME_MAX_DEPTH, MIME_MAX_PARTS);
		struct imap_args p;
		struct imap_section s;
		int r;

		imap_args_init(&p, view_of(cases[i].section + 1), &arena);
		assert_true(imap_section_parse(&p, &s));
		r = imap_section_find(&s, message, root, &scratch, &out);
		if ((r == 0) != (cases[i].want != NULL) ||
		    (r == 0 && !view_eq_str(out, cases[i].want)))
			fail_msg("case %zu %s: %d \"%.*s\"", i, cases[i].section, r, VIEW_ARG(out));
	}
	buf_clear(&scratch);
}

static void
test_envelopes(void **state)
{
	static const struct {
		const char *header, *want;
	} cases[] = {
		/* RFC 3501 8 */
		{ "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n"
		  "Subject: IMAP4rev1 WG mtg summary and minutes\r\n"
		  "From: Terry Gray <gray@cac.washington.edu>\r\n"
		  "To: imap@cac.washington.edu\r\n"
		  "cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
		  "Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n",
		    "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" "
		    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		    "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) "
		    "((NIL NIL \"imap\" \"cac.washington.edu\")) "
		    "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) "
		    "NIL NIL \"<B27397-0100000@cac.washington.edu>\")" },
		{ "\r\n", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
		/* groups (7.4.2), an empty one too */
		{ "To: A Group:Ed <a@b>, c@d;\r\nCc: undisclosed-recipients:;\r\n\r\n",
		    "(NIL NIL NIL NIL NIL ((NIL NIL \"A Group\" NIL)(\"Ed\" NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")(NIL NIL NIL NIL)) "
		    "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL)" },
		/* empty Sender and Reply-To: From stands for them */
		{ "From: a@b\r\nSender: \r\nReply-To: r@s\r\n\r\n",
		    "(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"r\" \"s\")) NIL NIL NIL NIL NIL)" },
		/* folded, quoted, raw 8-bit, the first of two */
		{ "Subject: a\r\n b\r\nSubject: no\r\nFrom: \"x \\\"y\\\"\" <\"odd local\"@d>\r\n\r\n",
		    "(NIL \"a b\" ((\"x \\\"y\\\"\" NIL \"odd local\" \"d\")) ((\"x \\\"y\\\"\" NIL \"odd local\" \"d\")) "
		    "((\"x \\\"y\\\"\" NIL \"odd local\" \"d\")) NIL NIL NIL NIL NIL)" },
		{ "Subject: gr\xc3\xbc\r\nIn-Reply-To: <x@y>\r\n\r\n",
		    "(NIL {4}\r\ngr\xc3\xbc NIL NIL NIL NIL NIL NIL \"<x@y>\" NIL)" },
		{ "To: bare\r\n\r\n",
		    "(NIL NIL NIL NIL NIL ((NIL NIL \"bare\" \"MISSING_DOMAIN\")) NIL NIL NIL NIL)" },
		{ "Subject:\r\n\r\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
		{ "From: <@r1,@r2:a@b>\r\n\r\n",
		    "(NIL NIL ((NIL \"@r1,@r2\" \"a\" \"b\")) ((NIL \"@r1,@r2\" \"a\" \"b\")) ((NIL \"@r1,@r2\" \"a\" \"b\")) NIL NIL NIL NIL NIL)" },
	};
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_reset(&out);
		assert_int_equal(imap_envelope_write(view_of(cases[i].header), &arena, &out), 0);
		if (strcmp(buf_cstr(&out), cases[i].want) != 0)
			fail_msg(
			    "case %zu:\n  want %s\n  got  %s", i, cases[i].want, buf_cstr(&out));
	}
	buf_clear(&out);
}

static void
test_structures(void **state)
{
	static const struct {
		const char *message, *body, *structure;
	} cases[] = {
		{ plain, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 11 1)",
		    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 11 1 NIL NIL NIL NIL)" },
		{ forwarded,
		    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 22 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1) 3)",
		    "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 22 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		    "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 7 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)" },
		{ "Content-Type: multipart/alternative; boundary=x; type=\"a b\"\r\nContent-Language: en, de\r\n\r\n"
		  "--x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: QUOTED-PRINTABLE\r\n"
		  "Content-ID: <i@d>\r\nContent-Description: a desc\r\nContent-MD5: abc\r\n"
		  "Content-Disposition: inline; filename=\"f.html\"\r\nContent-Language: fr\r\nContent-Location: http://l\r\n\r\n"
		  "a\r\nb\r\n--x--\r\n",
		    "((\"text\" \"html\" (\"charset\" \"utf-8\") \"<i@d>\" \"a desc\" \"quoted-printable\" 4 1) \"alternative\")",
		    "((\"text\" \"html\" (\"charset\" \"utf-8\") \"<i@d>\" \"a desc\" \"quoted-printable\" 4 1 \"abc\" "
		    "(\"inline\" (\"filename\" \"f.html\")) (\"fr\") \"http://l\") \"alternative\" "
		    "(\"boundary\" \"x\" \"type\" \"a b\") NIL (\"en\" \"de\") NIL)" },
		/* nothing inside: the grammar wants a body */
		{ "Content-Type: multipart/mixed; boundary=x\r\n\r\nno boundary here\r\n",
		    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")",
		    "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)" },
		{ "Content-Type: application/pdf;\r\n filename*=utf-8''%c3%a4.pdf\r\n\r\nx",
		    "(\"application\" \"pdf\" (\"filename*\" \"utf-8''%c3%a4.pdf\") NIL NIL \"7bit\" 1)",
		    "(\"application\" \"pdf\" (\"filename*\" \"utf-8''%c3%a4.pdf\") NIL NIL \"7bit\" 1 NIL NIL NIL NIL)" },
	};
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct view message = view_of(cases[i].message);
		struct mime_part *root =
		    mime_parse(message, &arena, MIME_MAX_DEPTH, MIME_MAX_PARTS);

		for (int extended = 0; extended < 2; extended++) {
			const char *want = extended ? cases[i].structure : cases[i].body;

			buf_reset(&out);
			assert_int_equal(imap_body_write(message, root, extended, &arena, &out), 0);
			if (strcmp(buf_cstr(&out), want) != 0)
				fail_msg(
				    "case %zu:\n  want %s\n  got  %s", i, want, buf_cstr(&out));
		}
	}
	buf_clear(&out);
}

/* A bomb ends at the cap, with valid syntax for a stand-in. */
static void
test_structure_cap(void **state)
{
	struct view message = view_of(nested);
	struct mime_part *root = mime_parse(message, &arena, MIME_MAX_DEPTH, MIME_MAX_PARTS);
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	assert_int_equal(imap_body_write(message, root, true, &arena, &out), -1);
	buf_reset(&out);
	imap_body_write_opaque(message.len, false, &out);
	assert_int_equal(strncmp(buf_cstr(&out),
			     "(\"application\" \"octet-stream\" NIL NIL NIL \"binary\" ", 48),
	    0);
	buf_clear(&out);
}

/* --- SEARCH ------------------------------------------------------------------------------------------------------ */
static const char letter[] =
    "From: =?utf-8?Q?J=C3=BCrgen?= <juergen@example.test>\r\nTo: List: a@b, c@d;\r\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\r\n"
    " aus K=?utf-8?B?w7ZsbiE=?=\r\nDate: Mon, 7 Feb 1994 21:52:25 -0800\r\nX-Empty:\r\n"
    "Content-Type: multipart/mixed; boundary=x\r\n\r\n"
    "--x\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Stra=DFe und =C4ger und ein lang=\r\nes Wort\r\n"
    "--x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    "PGI+0J/RgNC40LLQtdGCPC9iPg==\r\n"
    "--x\r\nContent-Type: application/octet-stream\r\nContent-Description: attached thing\r\n\r\nbinarytext\r\n--x--\r\n";

static int
read_letter(void *arg, struct buf *out)
{
	(void)arg;
	return buf_append(out, letter, sizeof letter - 1);
}

static int
read_letter_header(void *arg, struct buf *out)
{
	(void)arg;
	return buf_append(out, letter, header_block_length(view_of(letter)));
}

static int
read_never(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	fail_msg("read without need");
	return -1;
}

static int
read_gone(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	return -1;
}

static const struct message_info letter_info = { .uid = 42,
	.flags = FLAG_SEEN | FLAG_FLAGGED,
	.size = 1000,
	.internal_date = 760686745 /* 8 Feb 1994 05:52:25 UTC */ };

static int
search(const char *program, int (*header)(void *, struct buf *), int (*whole)(void *, struct buf *))
{
	struct imap_search_source src = { header, whole, NULL, 3, true, &letter_info };
	struct imap_search_work work;
	struct imap_search s;
	struct imap_args p;
	int r;

	imap_args_init(&p, view_of(program), &arena);
	if (!imap_search_parse(&p, &s) || !imap_args_end(&p))
		return s.has_bad_charset ? -3 : -2;
	imap_search_resolve(s.root, 10, 100, NULL);
	imap_search_work_init(&work);
	r = imap_search_match(s.root, &src, &work);
	imap_search_work_clear(&work);
	return r;
}

static void
test_search(void **state)
{
	static const struct {
		const char *program;
		int want; /* -2 BAD, -3 BADCHARSET */
	} cases[] = {
		/* RFC 3501 6.4.4 */
		{ "ALL", 1 },
		{ "NOT ALL", 0 },
		{ "SEEN FLAGGED", 1 },
		{ "SEEN ANSWERED", 0 },
		{ "UNSEEN", 0 },
		{ "UNANSWERED UNDELETED UNDRAFT", 1 },
		{ "UNFLAGGED", 0 },
		{ "RECENT", 1 },
		{ "OLD", 0 },
		{ "NEW", 0 },
		{ "OR UNSEEN FLAGGED", 1 },
		{ "OR UNSEEN OR DELETED DRAFT", 0 },
		{ "NOT (SEEN DELETED)", 1 },
		{ "NOT NOT SEEN", 1 },
		{ "(SEEN) (FLAGGED)", 1 },
		{ "3", 1 },
		{ "1:2,4:10", 0 },
		{ "*", 0 },
		{ "UID 42", 1 },
		{ "UID 100:*", 0 },
		{ "UID 1:41,43:*", 0 },
		{ "LARGER 999 SMALLER 1001", 1 },
		{ "LARGER 1000", 0 },
		{ "SMALLER 1000", 0 },
		{ "ON 8-Feb-1994", 1 },
		{ "SINCE 8-Feb-1994", 1 },
		{ "BEFORE 8-Feb-1994", 0 },
		{ "BEFORE \"9-Feb-1994\"", 1 },
		/* the header's own day, not that of UTC */
		{ "SENTON 7-Feb-1994", 1 },
		{ "SENTON 8-Feb-1994", 0 },
		{ "SENTBEFORE 8-Feb-1994 SENTSINCE 7-Feb-1994", 1 },
		{ "FROM j\xc3\xbcrgen", -2 },
		{ "FROM \"j\xc3\xbcrgen\"", 1 },
		{ "CHARSET UTF-8 FROM {7}\r\nJ\xc3\x9cRGEN", 1 },
		{ "FROM example.test", 1 },
		{ "TO list", 1 },
		{ "CC x", 0 },
		{ "SUBJECT \"gr\xc3\xbc\xc3\x9f"
		  "e aus k\"",
		    1 },
		{ "SUBJECT \"\xc3\x96"
		  "ln!\"",
		    1 },
		{ "HEADER Subject iso", 0 },
		{ "HEADER X-EMPTY \"\"", 1 },
		{ "HEADER X-None \"\"", 0 },
		{ "BODY \"stra\xc3\x9f"
		  "e\"",
		    1 },
		{ "BODY \"\xc3\xa4GER\"", 1 },
		{ "BODY \"langes wort\"", 1 },
		{ "BODY \"\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82\"", 1 },
		{ "BODY binarytext", 0 },
		{ "BODY juergen", 0 },
		{ "TEXT juergen", 1 },
		{ "TEXT \"attached thing\"", 1 },
		{ "TEXT \"\xd0\x9f\xd0\xa0\xd0\x98\"", 1 },
		{ "TEXT nowhere", 0 },
		{ "BODY \"\"", 1 },
		{ "CHARSET us-ascii ALL", 1 },
		{ "CHARSET koi8-r ALL", -3 },
		{ "", -2 },
		{ "FOO", -2 },
		{ "NOT", -2 },
		{ "OR SEEN", -2 },
		{ "(SEEN", -2 },
		{ "()", -2 },
		{ "SEEN  FLAGGED", -2 },
		{ "LARGER x", -2 },
		{ "ON 1-Foo-1994", -2 },
		{ "UID", -2 },
		{ "CHARSET UTF-8", -2 },
		{ "0", -2 },
		{ "HEADER X", -2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int r = search(cases[i].program, read_letter_header, read_letter);

		if (r != cases[i].want)
			fail_msg("%s: %d, not %d", cases[i].program, r, cases[i].want);
	}
}

static void
test_search_is_lazy(void **state)
{
	(void)state;
	assert_int_equal(search("BODY x UNSEEN", read_never, read_never), 0);
	assert_int_equal(search("TEXT x FROM y UID 7", read_never, read_never), 0);
	assert_int_equal(search("OR BODY x SEEN", read_never, read_never), 1);
	assert_int_equal(search("BODY x FROM nobody", read_letter_header, read_never), 0);
	assert_int_equal(search("BODY x", read_gone, read_gone), -1);
	assert_int_equal(search("NOT BODY x", read_gone, read_gone), -1);
}

static void
test_search_depth(void **state)
{
	static char program[20000];

	(void)state;
	for (int i = 0; i < 4000; i++)
		memcpy(program + i * 4, "NOT ", 4);
	memcpy(program + 16000, "ALL", 4);
	assert_int_equal(search(program, read_never, read_never), -2);
	memset(program, '(', 4000);
	program[4000] = '\0';
	assert_int_equal(search(program, read_never, read_never), -2);
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 256 << 20);
	imap_search_preload();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_clear(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sections, setup, teardown),
		cmocka_unit_test_setup_teardown(test_envelopes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_structures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_structure_cap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_search, setup, teardown),
		cmocka_unit_test_setup_teardown(test_search_is_lazy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_search_depth, setup, teardown),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
