/* The pure parts: file names, uidlist, keywords, subscriptions, modified UTF-7, index records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/store/index_record.h"
#include "common/store/keyword_file.h"
#include "common/store/maildir_name.h"
#include "common/store/store.h"
#include "common/store/subscription_file.h"
#include "common/store/uidlist.h"
#include "common/base/utf8.h"

/* --- file names -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *base;
	uint16_t flags;
	uint32_t letters;
	const char *others, *rest, *formatted;
} names[] = {
	{ "a", "a", 0, 0, "", "", "a:2," },
	{ "a:2,", "a", 0, 0, "", "", "a:2," },
	{ "a:2,S", "a", FLAG_SEEN, 0, "", "", "a:2,S" },
	{ "a:2,TSRPFD", "a",
	    FLAG_SEEN | FLAG_DELETED | FLAG_ANSWERED | FLAG_PASSED | FLAG_FLAGGED | FLAG_DRAFT, 0,
	    "", "", "a:2,DFPRST" },
	{ "a:2,Szac", "a", FLAG_SEEN, 1u << 25 | 5, "", "", "a:2,Sacz" },
	{ "a:2,SZX!", "a", FLAG_SEEN, 0, "ZX!", "", "a:2,!SXZ" },
	{ "a:2,SS", "a", FLAG_SEEN, 0, "", "", "a:2,S" },
	{ "a:2,S,opaque,S", "a", FLAG_SEEN, 0, "", ",opaque,S", "a:2,S,opaque,S" },
	{ "a:1,S", "a", 0, 0, "", "", "a:2," },
	{ "a:x:2,F", "a", FLAG_FLAGGED, 0, "", "", "a:2,F" },
	{ "1.M2P3.h,S=5,W=6:2,", "1.M2P3.h,S=5,W=6", 0, 0, "", "", "1.M2P3.h,S=5,W=6:2," },
};

static void
test_names(void **state)
{
	char out[MAILDIR_NAME_MAX + 1];
	struct maildir_name n;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		maildir_name_parse(view_of(names[i].name), &n);
		assert_true(view_eq_str(n.base, names[i].base));
		assert_int_equal(n.flags, names[i].flags);
		assert_int_equal(n.letters, names[i].letters);
		assert_string_equal(n.others, names[i].others);
		assert_true(view_eq_str(n.rest, names[i].rest));
		assert_int_equal(maildir_name_format(&n, out), 0);
		assert_string_equal(out, names[i].formatted);
	}
}

static void
test_name_limits(void **state)
{
	char name[MAILDIR_NAME_MAX + 1], out[MAILDIR_NAME_MAX + 1];
	struct maildir_name n;
	uint64_t v;

	(void)state;
	memset(name, 'x', MAILDIR_NAME_MAX);
	name[MAILDIR_NAME_MAX] = '\0';
	maildir_name_parse(view_of(name), &n);
	assert_int_equal(maildir_name_format(&n, out), -1);
	maildir_name_parse(view_make(name, 252), &n);
	assert_int_equal(maildir_name_format(&n, out), 0);
	assert_true(maildir_name_number(VIEW_LIT("a,S=12,W=34"), 'S', &v) && v == 12);
	assert_true(maildir_name_number(VIEW_LIT("a,S=12,W=34"), 'W', &v) && v == 34);
	assert_false(maildir_name_number(VIEW_LIT("a,S=1x,W="), 'S', &v));
	assert_false(maildir_name_number(VIEW_LIT("a,S=1x,W="), 'W', &v));
	assert_false(maildir_name_number(VIEW_LIT("S=1"), 'S', &v));
	assert_false(maildir_name_number(VIEW_LIT("a,S=99999999999999999999"), 'S', &v));
}

static void
test_arrival(void **state)
{
	static const char *const in_order[] = { "999.a", "1000.M9.a", "1000.M10.a", "1000.M10.b",
		"99999999999999999999999.x" };
	struct arrival a, b;

	(void)state;
	for (size_t i = 0; i + 1 < sizeof in_order / sizeof in_order[0]; i++) {
		arrival_parse(in_order[i], 5, &a);
		arrival_parse(in_order[i + 1], 5, &b);
		assert_true(arrival_compare(&a, &b) < 0);
		assert_true(arrival_compare(&b, &a) > 0);
	}
	arrival_parse("no-number", INT64_C(1500) * 1000000000, &a);
	arrival_parse("1499.x", 0, &b);
	assert_true(arrival_compare(&a, &b) > 0);
}

/* --- uidlist ------------------------------------------------------------------------------------------------------- */

struct collect {
	char text[2000];
};
static void
collect_record(void *arg, const struct uidlist_record *r)
{
	struct collect *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof c->text - len, "%u[%.*s]%.*s ", r->uid, VIEW_ARG(r->fields),
	    VIEW_ARG(r->base));
}

static const struct {
	const char *text, *records;
	uint32_t validity, next;
	size_t faults;
	bool fails;
} uidlists[] = {
	{ "3 V5 N7 G00112233445566778899aabbccddeeff\n1 :a\n2 S1 W2 :b:2,S\n", "1[]a 2[S1 W2]b ", 5,
	    7, 0, false },
	{ "3 N7 V5\n1 P :a\n", "1[P]a ", 5, 7, 0, false },
	{ "1 5 7\n1 a\n3 b:2,S\n", "1[]a 3[]b ", 5, 7, 0, false },
	{ "3 V5 N7\n", "", 5, 7, 0, false },
	{ "3 V5 N7\n2 :b\n1 :a\n2 :c\n3 :d\n", "2[]b 3[]d ", 5, 7, 2, false },
	{ "3 V5 N7\nx\n0 :a\n4294967295 :b\n1 a\n1 :\n1 :a/b\n1 :ok\n2 :torn", "1[]ok ", 5, 7, 7,
	    false },
	{ "", "", 0, 0, 0, true },
	{ "3 V5 N7", "", 0, 0, 0, true },
	{ "3 V0 N7\n", "", 0, 0, 0, true },
	{ "3 V5 N0\n", "", 0, 0, 0, true },
	{ "3 V5\n", "", 0, 0, 0, true },
	{ "2 V5 N7\n", "", 0, 0, 0, true },
	{ "3 V99999999999 N7\n", "", 0, 0, 0, true },
	{ "1 5\n", "", 0, 0, 0, true },
};

static void
test_uidlist(void **state)
{
	struct uidlist_header h;
	struct view value;
	struct err err;
	size_t faults;

	(void)state;
	for (size_t i = 0; i < sizeof uidlists / sizeof uidlists[0]; i++) {
		struct collect c = { "" };
		int r =
		    uidlist_parse(view_of(uidlists[i].text), &h, collect_record, &c, &faults, &err);

		assert_int_equal(r, uidlists[i].fails ? -1 : 0);
		if (r < 0)
			continue;
		assert_string_equal(c.text, uidlists[i].records);
		assert_int_equal(h.uidvalidity, uidlists[i].validity);
		assert_int_equal(h.uidnext, uidlists[i].next);
		assert_int_equal(faults, uidlists[i].faults);
	}
	assert_true(uidlist_field(VIEW_LIT("S1 Pabc"), 'P', &value) && view_eq_str(value, "abc"));
	assert_false(uidlist_field(VIEW_LIT("S1 Pabc"), 'G', &value));
}

/* --- keywords -------------------------------------------------------------------------------------------------------- */

static void
collect_keyword(void *arg, unsigned number, struct view name)
{
	struct collect *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof c->text - len, "%u=%.*s ", number, VIEW_ARG(name));
}
static void
collect_set(void *arg, uint32_t uid, const struct keyword_set *set)
{
	struct collect *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof c->text - len, "%u:%llx,%llx ", uid,
	    (unsigned long long)set->bits[0], (unsigned long long)set->bits[1]);
}
static void
collect_base(void *arg, struct view base, const struct keyword_set *set)
{
	struct collect *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof c->text - len, "%.*s:%llx ", VIEW_ARG(base),
	    (unsigned long long)set->bits[0]);
}

static void
test_keywords(void **state)
{
	struct collect c = { "" };
	struct buf out;

	(void)state;
	assert_int_equal(keyword_file_parse(VIEW_LIT("0 $A\n25 b\n26 c\nx d\n3\n4 a b\n5 torn"),
			     collect_keyword, &c),
	    5);
	assert_string_equal(c.text, "0=$A 25=b ");
	c.text[0] = '\0';
	assert_int_equal(
	    keyword_extra_parse(
		VIEW_LIT("k 26 x\nm 7 26 127\nm 8\nk 25 y\nm 0 26\nm 9 3\nm 10 128\nq\n"),
		collect_keyword, collect_set, &c),
	    5);
	assert_string_equal(c.text, "26=x 7:4000000,8000000000000000 8:0,0 ");
	c.text[0] = '\0';
	assert_int_equal(keyword_courier_parse(VIEW_LIT("A\nB\n\nbase1:0 1\nbase2:\nbad\n:1\n"),
			     collect_keyword, collect_base, &c),
	    2);
	assert_string_equal(c.text, "0=A 1=B base1:3 base2:0 ");
	buf_init(&out, 1000);
	keyword_extra_format(&out, 7, &(struct keyword_set){ { 1u << 26 | 1, UINT64_C(1) << 63 } });
	assert_string_equal(buf_cstr(&out), "m 7 26 127\n");
	buf_clear(&out);
	assert_true(keyword_is_valid(VIEW_LIT("$Forwarded")));
	assert_false(keyword_is_valid(VIEW_LIT("\\Seen")));
	assert_false(keyword_is_valid(VIEW_LIT("a b")));
	assert_false(keyword_is_valid(VIEW_LIT("a)")));
	assert_false(keyword_is_valid(VIEW_LIT("")));
	assert_false(keyword_is_valid(VIEW_LIT("\xc3\xa4")));
}

/* --- subscriptions, names ------------------------------------------------------------------------------------------------ */

static void
collect_name(void *arg, const char *name)
{
	struct collect *c = arg;
	size_t len = strlen(c->text);

	snprintf(c->text + len, sizeof c->text - len, "%s|", name);
}

static void
test_subscriptions(void **state)
{
	static const struct {
		const char *text;
		bool is_courier;
		const char *names;
	} cases[] = {
		{ "", false, "" },
		{ "INBOX\nA.B\nEntw&APw-rfe\n", false, "INBOX|A/B|Entw\xc3\xbcrfe|" },
		{ "V\t2\n\nA\tB\n\n&bad\nC", false, "A/B|&bad|C|" },
		{ "A..B\n.x\n../y\nok\n", false, "ok|" },
		{ "INBOX\nINBOX.Sent\nINBOX.Entw\xc3\xbcrfe.x\n", true,
		    "INBOX|Sent|Entw\xc3\xbcrfe/x|" },
		{ "\xff\xfe\nok\n", false, "ok|" },
	};
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct collect c = { "" };

		subscription_file_parse(
		    view_of(cases[i].text), cases[i].is_courier, collect_name, &c);
		assert_string_equal(c.text, cases[i].names);
	}
	buf_init(&out, 1000);
	assert_int_equal(subscription_format_name(&out, "A/\xc3\xbc/C & D"), 0);
	assert_string_equal(buf_cstr(&out), "A\t&APw-\tC &- D\n");
	buf_clear(&out);
}

static void
test_mutf7(void **state)
{
	static const struct {
		const char *utf8, *mutf7;
	} good[] = {
		{ "", "" },
		{ "INBOX", "INBOX" },
		{ "a&b", "a&-b" },
		{ "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e",
		    "~peter/mail/&U,BTFw-/&ZeVnLIqe-" }, /* RFC 3501 5.1.3 */
		{ "Entw\xc3\xbcrfe", "Entw&APw-rfe" },
		{ "\xf0\x9f\x98\x80", "&2D3eAA-" },
		{ "\xc3\xa4\xc3\xb6", "&AOQA9g-" },
		{ "\xc3\xa4&\xc3\xb6", "&AOQ-&-&APY-" },
		{ "\t", "&AAk-" },
	};
	static const char *const bad[] = { "&", "&A", "&AOQ", "&AOR-", "&AOQA-", "&AGE-",
		"&AOQ-&APY-", "&2D0-", "&3gA-", "&A!Q-", "&ACY-", "\xc3\xa4", "a\tb", "&AAAAAAAA" };
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		buf_reset(&out);
		assert_int_equal(mutf7_encode(view_of(good[i].utf8), &out), 0);
		assert_string_equal(buf_cstr(&out), good[i].mutf7);
		buf_reset(&out);
		assert_int_equal(mutf7_decode(view_of(good[i].mutf7), &out), 0);
		assert_string_equal(buf_cstr(&out), good[i].utf8);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&out);
		if (mutf7_decode(view_of(bad[i]), &out) != -1)
			fail_msg("%s decoded to %s", bad[i], buf_cstr(&out));
	}
	assert_int_equal(mutf7_encode(VIEW_LIT("\xff"), &out), -1);
	buf_clear(&out);
}

static void
test_utf8(void **state)
{
	static const char *const bad[] = { "\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xe2\x82", "a\xff" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(utf8_is_valid(view_of(bad[i])));
	assert_true(utf8_is_valid(
	    VIEW_LIT("a\xc2\x80\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf")));
}

/* --- index records ---------------------------------------------------------------------------------------------------- */

static void
test_records(void **state)
{
	unsigned char value[MESSAGE_VALUE_MAX],
	    box_value[sizeof(struct box_record) + MAILDIR_NAME_MAX];
	struct message m = { .uid = 7,
		.r = { .flags = FLAG_SEEN, .place = PLACE_CUR, .base_len = 3, .size = 5 },
		.name_len = 6,
		.name = "abc:2," },
		       out;
	struct box b = { .id = 3, .r = { .uidvalidity = 1, .uidnext = 2 }, .disk = ".A" }, box_out;
	size_t len = index_message_encode(3, &m, value), box_len = box_encode(&b, box_value);

	(void)state;
	assert_int_equal(index_message_decode(3, 7, view_make(value, len), &out, NULL), 0);
	assert_string_equal(out.name, "abc:2,");
	assert_int_equal(index_message_decode(3, 8, view_make(value, len), &out, NULL), -1);
	assert_int_equal(index_message_decode(4, 7, view_make(value, len), &out, NULL), -1);
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(index_message_decode(3, 7, view_make(value, i), &out, NULL), -1);
		for (int bit = 0; bit < 8; bit++) {
			value[i] ^= (unsigned char)(1 << bit);
			assert_int_equal(
			    index_message_decode(3, 7, view_make(value, len), &out, NULL), -1);
			value[i] ^= (unsigned char)(1 << bit);
		}
	}
	assert_int_equal(box_decode(3, view_make(box_value, box_len), &box_out, NULL), 0);
	assert_string_equal(box_out.disk, ".A");
	for (size_t i = 0; i < box_len; i++) {
		assert_int_equal(box_decode(3, view_make(box_value, i), &box_out, NULL), -1);
		box_value[i] ^= 4;
		assert_int_equal(box_decode(3, view_make(box_value, box_len), &box_out, NULL), -1);
		box_value[i] ^= 4;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_name_limits),
		cmocka_unit_test(test_arrival),
		cmocka_unit_test(test_uidlist),
		cmocka_unit_test(test_keywords),
		cmocka_unit_test(test_subscriptions),
		cmocka_unit_test(test_mutf7),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
