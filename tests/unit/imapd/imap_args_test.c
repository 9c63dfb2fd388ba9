#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/store/store.h"
#include "imapd/imap_args.h"
#include "imapd/imap_date.h"
#include "imapd/imap_fetch.h"
#include "imapd/imap_write.h"

#include <stdio.h>
#include <stdlib.h>

static struct arena arena;

static struct imap_args
args_of(const char *text)
{
	struct imap_args p;

	imap_args_init(&p, view_of(text), &arena);
	return p;
}

/* --- strings --------------------------------------------------------------------------------------------- */
static void
test_astring(void **state)
{
	static const struct {
		const char *in, *want, *rest; /* want NULL: refused */
	} cases[] = {
		/* RFC 3501 9: astring */
		{ "abc", "abc", "" },
		{ "abc def", "abc", " def" },
		{ "a]b[c", "a]b[c", "" },
		{ "a(b", "a", "(b" },
		{ "a%b", "a", "%b" },
		{ "\"\"", "", "" },
		{ "\"a b\" x", "a b", " x" },
		{ "\"a\\\"b\\\\c\"", "a\"b\\c", "" },
		{ "\"a\\b\"", NULL, NULL },
		{ "\"a", NULL, NULL },
		{ "\"a\\\"", NULL, NULL },
		{ "\"a\rb\"", NULL, NULL },
		{ "\"\xc3\xa4\"", "\xc3\xa4", "" },
		{ "\xc3\xa4", NULL, NULL },
		{ "{3}\r\nfoo", "foo", "" },
		{ "{3+}\r\nfoo bar", "foo", " bar" },
		{ "{0}\r\n", "", "" },
		{ "{3}\r\nfo", NULL, NULL },
		{ "{3}foo", NULL, NULL },
		{ "{}\r\n", NULL, NULL },
		{ "{99999999999}\r\n", NULL, NULL },
		{ "", NULL, NULL },
		{ "(a)", NULL, NULL },
		{ "*", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		struct view out;
		bool ok = imap_args_astring(&p, &out);

		if (ok != (cases[i].want != NULL) ||
		    (ok &&
			(!view_eq_str(out, cases[i].want) || !view_eq_str(p.rest, cases[i].rest))))
			fail_msg("%s", cases[i].in);
		assert_true(ok || p.problem != NULL);
	}
}

static void
test_nul_in_literal(void **state)
{
	struct imap_args p;
	struct view out;

	(void)state;
	imap_args_init(&p, view_make("{3}\r\na\0b", 8), &arena);
	assert_false(imap_args_string(&p, &out));
	imap_args_init(&p, view_make("\"a\0b\"", 5), &arena);
	assert_false(imap_args_string(&p, &out));
}

static void
test_tag_and_numbers(void **state)
{
	static const char *const tags[] = { "a1", "A.1", "*x", "+a", "a+", "", "(a", "\"a\"",
		"a]" };
	static const bool is_tag[] = { true, true, false, false, true, false, false, false, true };
	struct imap_args p;
	struct view out;
	uint32_t n;

	(void)state;
	for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
		p = args_of(tags[i]);
		assert_int_equal(imap_args_tag(&p, &out), is_tag[i]);
	}
	p = args_of("4294967295 x");
	assert_true(imap_args_number(&p, &n));
	assert_int_equal(n, 4294967295u);
	p = args_of("4294967296");
	assert_false(imap_args_number(&p, &n));
	p = args_of("99999999999999999999999999");
	assert_false(imap_args_number(&p, &n));
	p = args_of("0");
	assert_false(imap_args_nz_number(&p, &n));
}

static void
test_depth(void **state)
{
	struct imap_args p;
	char open[IMAP_DEPTH_MAX + 2];

	(void)state;
	memset(open, '(', sizeof open);
	imap_args_init(&p, view_make(open, sizeof open), &arena);
	for (int i = 0; i < IMAP_DEPTH_MAX; i++)
		assert_true(imap_args_open(&p));
	assert_false(imap_args_open(&p));
}

static void
test_flags(void **state)
{
	static const struct {
		const char *in;
		int flags; /* -1: refused */
		size_t nkeywords;
	} cases[] = {
		{ "()", 0, 0 },
		{ "(\\Seen)", FLAG_SEEN, 0 },
		{ "(\\seen \\DELETED \\Answered \\Flagged \\Draft)", 31, 0 },
		{ "(Work $Label1 work)", 0, 2 },
		{ "($Forwarded)", FLAG_PASSED, 0 },
		{ "(\\Recent)", -1, 0 },
		{ "(\\Foo)", -1, 0 },
		{ "(\\Seen", -1, 0 },
		{ "(\\Seen  \\Draft)", -1, 0 },
		{ "(\\)", -1, 0 },
		{ "(\"a\")", -1, 0 },
		{ "((a))", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		struct imap_flags f = { 0 };
		bool ok = imap_args_flag_list(&p, &f) && imap_args_end(&p);

		if (ok != (cases[i].flags >= 0) ||
		    (ok && (f.flags != cases[i].flags || f.nkeywords != cases[i].nkeywords)))
			fail_msg("%s: %d %d %zu", cases[i].in, ok, f.flags, f.nkeywords);
	}
}

static void
test_mailbox(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		/* RFC 3501 5.1, 5.1.3 */
		{ "inbox", "INBOX" },
		{ "\"InBox\"", "INBOX" },
		{ "INBOXES", "INBOXES" },
		{ "a/b", "a/b" },
		{ "&ZeVnLIqe-", "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
		{ "&-", "&" },
		{ "\"a b\"", "a b" },
		{ "&Jjo", NULL },
		{ "&AGE-", NULL }, /* a plain letter encoded: not the canonical form */
		{ "\"\xc3\xa4\"", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		const char *out = NULL;
		bool ok = imap_args_mailbox(&p, &out);

		if (ok != (cases[i].want != NULL) || (ok && strcmp(out, cases[i].want) != 0))
			fail_msg("%s -> %s", cases[i].in, ok ? out : "refused");
		if (!ok)
			assert_ptr_equal(p.problem, imap_args_bad_name);
	}
}

/* --- sets -------------------------------------------------------------------------------------------------- */
static void
test_seqset(void **state)
{
	static const struct {
		const char *in;
		uint32_t last;
		const char *want; /* NULL: refused */
	} cases[] = {
		/* RFC 3501 9: sequence-set */
		{ "1", 10, "1:1" },
		{ "2,4:7,9,12:*", 15, "2:2 4:7 9:9 12:15" },
		{ "*:4,5:7", 10, "4:10" },
		{ "4:2", 10, "2:4" },
		{ "3291:*", 5, "5:3291" },
		{ "*", 7, "7:7" },
		{ "*:*", 7, "7:7" },
		{ "1,2,3,5", 9, "1:3 5:5" },
		{ "5,1:9,3", 9, "1:9" },
		{ "1:4294967295,7", 9, "1:4294967295" },
		{ "", 1, NULL },
		{ "0", 1, NULL },
		{ "1:", 1, NULL },
		{ ":1", 1, NULL },
		{ "1,,2", 1, NULL },
		{ "1,", 1, NULL },
		{ "4294967296", 1, NULL },
		{ "1:2:3", 1, NULL },
		{ "a", 1, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		struct imap_seqset set;
		char got[200] = "";
		bool ok = imap_args_seqset(&p, &set) && imap_args_end(&p);

		if (ok)
			imap_seqset_resolve(&set, cases[i].last);
		for (size_t k = 0; ok && k < set.count; k++)
			snprintf(got + strlen(got), sizeof got - strlen(got), "%s%u:%u",
			    k ? " " : "", set.ranges[k].from, set.ranges[k].to);
		if (ok != (cases[i].want != NULL) || (ok && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: %s", cases[i].in, ok ? got : "refused");
	}
}

static void
test_seqset_has_and_write(void **state)
{
	static const uint32_t numbers[] = { 5, 6, 7, 9, 1, 2, 4294967295u };
	struct imap_args p = args_of("2,4:7,9,12:15");
	struct imap_seqset set;
	struct buf out;

	(void)state;
	assert_true(imap_args_seqset(&p, &set));
	assert_int_equal(imap_seqset_max_number(&set), 15);
	imap_seqset_resolve(&set, 0);
	for (uint32_t n = 0; n < 20; n++)
		assert_int_equal(imap_seqset_has(&set, n),
		    n == 2 || (n >= 4 && n <= 7) || n == 9 || (n >= 12 && n <= 15));
	buf_init(&out, 1000);
	assert_int_equal(imap_seqset_write(&out, numbers, 7), 0);
	assert_string_equal(buf_cstr(&out), "5:7,9,1:2,4294967295");
	buf_clear(&out);
}

/* Hostile case 24: a set of ten thousand ranges is one range in the end. */
static void
test_seqset_bomb(void **state)
{
	static char text[65536];
	struct imap_args p;
	struct imap_seqset set;
	size_t len = 0;

	(void)state;
	while (len + 5 < sizeof text)
		len += (size_t)snprintf(text + len, sizeof text - len, "%s1:*", len ? "," : "");
	p = args_of(text);
	assert_true(imap_args_seqset(&p, &set));
	imap_seqset_resolve(&set, 100);
	assert_int_equal(set.count, 1);
}

/* --- dates --------------------------------------------------------------------------------------------------- */
static void
test_dates(void **state)
{
	static const struct {
		const char *in;
		int64_t want; /* -999999: refused */
	} cases[] = {
		{ "1-Jan-1970", 0 },
		{ "01-jan-1970", 0 },
		{ "\"1-Feb-1994\"", 8797 },
		{ "29-Feb-2000", 11016 },
		{ "31-Dec-1969", -1 },
		{ "29-Feb-1900", -999999 },
		{ "0-Jan-1970", -999999 },
		{ "32-Jan-1970", -999999 },
		{ "1-Foo-1970", -999999 },
		{ "1-Jan-70", -999999 },
		{ "1-Jan-19700", -999999 },
		{ "1 Jan 1970", -999999 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		int64_t days = -999999;
		bool ok = imap_args_date(&p, &days) && imap_args_end(&p);

		if ((ok ? days : -999999) != cases[i].want)
			fail_msg("%s: %lld", cases[i].in, (long long)days);
	}
}

static void
test_date_times(void **state)
{
	static const struct {
		const char *in;
		int64_t want;
		int zone;
	} cases[] = {
		{ "17-Jul-1996 02:44:25 -0700", 837596665, -420 },
		{ " 1-Jan-1970 00:00:00 +0000", 0, 0 },
		{ "31-Dec-1969 23:59:59 +0000", -1, 0 },
		{ "29-Feb-2024 12:00:00 +0530", 1709188200, 330 },
	};
	static const char *const bad[] = { "1-Jan-1970 00:00:00 +0000", "01-Jan-1970 00:00:00",
		"01-Jan-1970 24:00:00 +0000", "01-Jan-1970 00:60:00 +0000",
		"01-Jan-1970 00:00:00 0000", "01-Jan-1970 00:00:00 +00000", "",
		"01-Jan-1970 00:00:00 GMT" };
	char text[32];
	int64_t utc;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(imap_date_time_parse(view_of(cases[i].in), &utc));
		assert_int_equal(utc, cases[i].want);
		imap_date_time_format(utc, cases[i].zone, text);
		assert_string_equal(text, cases[i].in);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(imap_date_time_parse(view_of(bad[i]), &utc));
	/* whatever the disk says, the form keeps */
	imap_date_time_format(INT64_MIN, 0, text);
	assert_string_equal(text, " 2-Jan-0001 00:00:00 +0000");
	imap_date_time_format(INT64_MAX, -720, text);
	assert_int_equal(strlen(text), 26);
}

/* --- FETCH --------------------------------------------------------------------------------------------------- */
/* The request, written back: kinds by letter, sections as the response would name them. */
static void
describe(const struct imap_fetch *f, struct buf *out)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct imap_fetch_item *it = &f->items[i];

		buf_append_str(out, i ? " " : "");
		buf_append_byte(out, "UFDZEbBS"[it->kind]);
		if (it->kind != FETCH_SECTION)
			continue;
		buf_append_str(out, it->label ? it->label : "");
		imap_section_write(&it->section, out);
		buf_append_str(out, it->is_peek ? "p" : "");
		if (it->is_partial)
			buf_printf(out, "<%u.%u>", it->partial_from, it->partial_count);
	}
	buf_append_str(out, f->sets_seen ? " seen" : "");
}

static void
test_fetch(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
	} cases[] = {
		/* RFC 3501 6.4.5 */
		{ "ALL", "F D Z E" },
		{ "fast", "F D Z" },
		{ "FULL", "F D Z E b" },
		{ "(FLAGS UID)", "F U" },
		{ "(UID UID)", "U" },
		{ "BODY", "b" },
		{ "BODYSTRUCTURE", "B" },
		{ "BODY[]", "S[] seen" },
		{ "BODY.PEEK[]", "S[]p" },
		{ "RFC822", "SRFC822[] seen" },
		{ "RFC822.HEADER", "SRFC822.HEADER[HEADER]p" },
		{ "RFC822.TEXT", "SRFC822.TEXT[TEXT] seen" },
		{ "rfc822.size", "Z" },
		{ "BODY[header]", "S[HEADER] seen" },
		{ "BODY[HEADER.FIELDS (DATE FROM)]", "S[HEADER.FIELDS (DATE FROM)] seen" },
		{ "BODY[HEADER.FIELDS.NOT (\"x y\")]", "S[HEADER.FIELDS.NOT (\"x y\")] seen" },
		{ "BODY.PEEK[1.2.HEADER.FIELDS ({2}\r\nTo)]<0.10>",
		    "S[1.2.HEADER.FIELDS (To)]p<0.10>" },
		{ "BODY[1.2.3]", "S[1.2.3] seen" },
		{ "BODY[4.2.2.1.MIME]", "S[4.2.2.1.MIME] seen" },
		{ "BODY[TEXT]<100.1>", "S[TEXT]<100.1> seen" },
		{ "(BODY[] BODY.PEEK[1] FLAGS)", "S[] S[1]p F seen" },
		{ "BODY[MIME]", NULL },
		{ "BODY[1.]", NULL },
		{ "BODY[.1]", NULL },
		{ "BODY[1TEXT]", NULL },
		{ "BODY[0]", NULL },
		{ "BODY[1..2]", NULL },
		{ "BODY[FOO]", NULL },
		{ "BODY[", NULL },
		{ "BODY[]<0.0>", NULL },
		{ "BODY[]<1>", NULL },
		{ "BODY[]<1.2", NULL },
		{ "BODY[HEADER.FIELDS]", NULL },
		{ "BODY[HEADER.FIELDS ()]", NULL },
		{ "BODY[HEADER.FIELDS (\"\")]", NULL },
		{ "BODY.PEEK", NULL },
		{ "(ALL)", NULL },
		{ "(FLAGS ALL)", NULL },
		{ "()", NULL },
		{ "(FLAGS", NULL },
		{ "FLAGS UID", NULL },
		{ "(FLAGS  UID)", NULL },
		{ "FOO", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct imap_args p = args_of(cases[i].in);
		struct imap_fetch f = { 0 };
		bool ok = imap_fetch_parse(&p, &f) && imap_args_end(&p);
		struct buf out;

		buf_init(&out, 4096);
		describe(&f, &out);
		if (ok != (cases[i].want != NULL) ||
		    (ok && strcmp(buf_cstr(&out), cases[i].want) != 0))
			fail_msg("%s: %s", cases[i].in, ok ? buf_cstr(&out) : "refused");
		buf_clear(&out);
	}
}

/* --- writing --------------------------------------------------------------------------------------------------- */
static void
test_write(void **state)
{
	static const struct {
		const char *in, *string, *astring;
	} cases[] = {
		{ "abc", "\"abc\"", "abc" },
		{ "", "\"\"", "\"\"" },
		{ "a b", "\"a b\"", "\"a b\"" },
		{ "a\"b\\", "\"a\\\"b\\\\\"", "\"a\\\"b\\\\\"" },
		{ "\xc3\xa4", "{2}\r\n\xc3\xa4", "{2}\r\n\xc3\xa4" },
		{ "a\r\nb", "{4}\r\na\r\nb", "{4}\r\na\r\nb" },
		{ "nil", "\"nil\"", "\"nil\"" },
		{ "a*", "\"a*\"", "\"a*\"" },
	};
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		buf_reset(&out);
		imap_write_string(&out, view_of(cases[i].in));
		assert_string_equal(buf_cstr(&out), cases[i].string);
		buf_reset(&out);
		imap_write_astring(&out, view_of(cases[i].in));
		assert_string_equal(buf_cstr(&out), cases[i].astring);
	}
	buf_reset(&out);
	imap_write_string(&out, view_make("a\0b", 3));
	assert_string_equal(buf_cstr(&out), "{2}\r\nab");
	buf_reset(&out);
	imap_write_nstring(&out, NULL);
	imap_write_mailbox(&out, "\xe6\x97\xa5/x");
	assert_string_equal(buf_cstr(&out), "NIL&ZeU-/x");
	buf_clear(&out);
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, 64 << 20);
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
		cmocka_unit_test_setup_teardown(test_astring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nul_in_literal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tag_and_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mailbox, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seqset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seqset_has_and_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seqset_bomb, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_date_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fetch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
