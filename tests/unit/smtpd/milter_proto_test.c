/* The milter codec: packets, negotiation, replies, texts. */
#include "common/net/addr.h"
#include "smtpd/milter_proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES(s) VIEW_LIT(s)
/* in tables */
#define ROW(s)                                                                                     \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

static void
assert_bytes(struct buf *b, struct view want)
{
	assert_false(b->failed);
	assert_int_equal(b->len, want.len);
	assert_memory_equal(b->p, want.p, want.len);
	buf_reset(b);
}

static void
test_writing(void **state)
{
	struct sockaddr_storage a;
	struct view value = BYTES(" v");
	struct buf b;
	size_t at;

	(void)state;
	buf_init(&b, 1000);
	milter_put_optneg(&b, 6);
	assert_bytes(&b, BYTES("\0\0\0\x0dO\0\0\0\6\0\0\1\xff\0\x1f\xf7\xff"));
	milter_put_optneg(&b, 2);
	assert_bytes(&b, BYTES("\0\0\0\x0dO\0\0\0\2\0\0\0\x3f\0\0\0\x7f"));
	milter_put_strings(&b, MILTER_HEADER, BYTES("A"), &value);
	assert_bytes(&b, BYTES("\0\0\0\6LA\0 v\0"));
	milter_put(&b, MILTER_EOM, "", 0);
	assert_bytes(&b, BYTES("\0\0\0\1E"));
	assert_true(addr_parse(BYTES("192.0.2.1"), &a));
	addr_set_port(&a, 0x1234);
	milter_put_connect(&b, "h", &a);
	assert_bytes(&b, BYTES("\0\0\0\020Ch\0004\x12\x34"
			       "192.0.2.1\0"));
	assert_true(addr_parse(BYTES("2001:db8::1"), &a));
	milter_put_connect(&b, "h", &a);
	assert_bytes(&b, BYTES("\0\0\0\022Ch\0006\0\0"
			       "2001:db8::1\0"));
	at = milter_macros_begin(&b, MILTER_MAIL);
	milter_macros_end(&b, at);
	assert_int_equal(b.len, 0);
	at = milter_macros_begin(&b, MILTER_MAIL);
	milter_put_macro(&b, BYTES("i"), "Q");
	milter_macros_end(&b, at);
	assert_bytes(&b, BYTES("\0\0\0\6DMi\0Q\0"));
	buf_clear(&b);
}

/* Cut at every byte: more is needed until all is there. */
static void
test_packets(void **state)
{
	struct view in = BYTES("\0\0\0\4yab\0rest");
	struct milter_packet p;
	struct err err;
	size_t used;

	(void)state;
	for (size_t n = 0; n < 8; n++)
		assert_int_equal(milter_packet_read(view_make(in.p, n), &p, &used, &err), 1);
	assert_int_equal(milter_packet_read(in, &p, &used, &err), 0);
	assert_int_equal(used, 8);
	assert_int_equal(p.command, 'y');
	assert_int_equal(p.data.len, 3);
	assert_int_equal(milter_packet_read(BYTES("\0\0\0\0"), &p, &used, &err), -1);
	assert_int_equal(milter_packet_read(BYTES("\0\x10\0\1"), &p, &used, &err), -1);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_int_equal(milter_packet_read(BYTES("\xff\xff\xff\xff"), &p, &used, &err), -1);
}

static void
test_options(void **state)
{
	static const struct {
		struct view data;
		unsigned offered;
		int result;
	} cases[] = {
		{ ROW("\0\0\0\6\0\0\1\xff\0\x1f\xf7\xff"), 6, 0 },
		{ ROW("\0\0\0\2\0\0\0\x3f\0\0\0\x7f"), 6, 0 },
		{ ROW("\0\0\0\2\0\0\0\x3f\0\0\0\x7f"), 2, 0 },
		{ ROW("\0\0\0\7\0\0\0\0\0\0\0\0"), 6, -1 },
		{ ROW("\0\0\0\1\0\0\0\0\0\0\0\0"), 6, -1 },
		{ ROW("\0\0\0\6\0\0\0\0\0\0\0\0"), 4, -1 },
		{ ROW("\0\0\0\2\0\0\0\x40\0\0\0\0"), 2, -1 }, /* CHGFROM in version 2 */
		{ ROW("\0\0\0\6\0\0\2\0\0\0\0\0"), 6, -1 },
		{ ROW("\0\0\0\6\0\0\0\0\0\0\x8\0"), 6, -1 }, /* RCPT_REJ was not offered */
		{ ROW("\0\0\0\6\0\0\0\0\0\0\0"), 6, -1 },
		{ ROW("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\1{a} b\0"), 6, 0 },
		{ ROW("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\7a\0"), 6, -1 },
		{ ROW("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\1a"), 6, -1 },
		{ ROW("\0\0\0\6\0\0\1\0\0\0\0\0\0\0"), 6, -1 },
	};
	struct milter_options o;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(milter_options_read(cases[i].data, cases[i].offered, &o, &err),
		    cases[i].result);
	assert_int_equal(milter_options_read(cases[10].data, 6, &o, &err), 0);
	assert_true(view_eq_str(o.macros[1], "{a} b"));
	assert_null(o.macros[0].p);
}

static void
test_replies(void **state)
{
	static const struct {
		char command;
		struct view data;
		int result; /* enum milter_answer, -1: refused */
	} cases[] = {
		{ 'c', ROW(""), MILTER_CONTINUE },
		{ 'a', ROW(""), MILTER_ACCEPT },
		{ 'r', ROW(""), MILTER_REJECT },
		{ 't', ROW(""), MILTER_TEMPFAIL },
		{ 'd', ROW(""), MILTER_DISCARD },
		{ 'y', ROW("550 x\0"), MILTER_REPLY },
		{ '4', ROW(""), MILTER_SHUTDOWN },
		{ 'f', ROW(""), MILTER_CONN_FAIL },
		{ 's', ROW(""), MILTER_SKIP },
		{ 'p', ROW(""), MILTER_PROGRESS },
		{ '+', ROW("<a@b>\0"), MILTER_ADDRCPT },
		{ '2', ROW("<a@b>\0"), MILTER_ADDRCPT },
		{ '2', ROW("<a@b>\0NOTIFY=NEVER\0"), MILTER_ADDRCPT },
		{ '-', ROW("<a@b>\0"), MILTER_DELRCPT },
		{ 'e', ROW("<a@b>\0"), MILTER_CHGFROM },
		{ 'h', ROW("A\0b\0"), MILTER_ADDHEADER },
		{ 'i', ROW("\0\0\0\1A\0b\0"), MILTER_INSHEADER },
		{ 'm', ROW("\0\0\0\1A\0\0"), MILTER_CHGHEADER },
		{ 'b', ROW("any\0thing"), MILTER_REPLBODY },
		{ 'q', ROW("why\0"), MILTER_QUARANTINE },
		{ 'z', ROW(""), -1 },
		{ 'c', ROW("x"), -1 },
		{ 'y', ROW("550 x"), -1 },
		{ 'y', ROW("550 x\0y"), -1 },
		{ '+', ROW("<a@b>"), -1 },
		{ '2', ROW("<a@b>\0x"), -1 },
		{ 'h', ROW("A\0"), -1 },
		{ 'h', ROW("A\0b\0c\0"), -1 },
		{ 'i', ROW("\0\0\1"), -1 },
		{ 'i', ROW("\0\0\0\1A\0"), -1 },
	};
	struct milter_reply r;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct milter_packet p = { cases[i].command, cases[i].data };

		if (cases[i].result < 0) {
			assert_int_equal(milter_reply_read(&p, MILTER_ACTIONS, &r, &err), -1);
			continue;
		}
		assert_int_equal(milter_reply_read(&p, MILTER_ACTIONS, &r, &err), 0);
		assert_int_equal(r.answer, cases[i].result);
		/* a change that was not negotiated is none */
		assert_int_equal(
		    milter_reply_read(&p, 0, &r, &err), cases[i].result >= MILTER_ADDRCPT ? -1 : 0);
	}
}

static void
test_texts(void **state)
{
	static const struct {
		const char *reply;
		int code; /* -1: refused */
		const char *dsn, *text;
	} cases[] = {
		{ "550 5.7.1 no", 550, "5.7.1", "no" },
		{ "451 try later", 451, "", "try later" },
		{ "550", 550, "", "" },
		{ "550 5.7.1", 550, "5.7.1", "" },
		{ "550 4.7.1 wrong class", 550, "", "4.7.1 wrong class" },
		{ "550 5.7.1x no", 550, "", "5.7.1x no" },
		{ "550 5.1234.1 no", 550, "", "5.1234.1 no" },
		{ "550-5.7.1 one\r\n550 5.7.1 two", 550, "5.7.1", "one\ntwo" },
		{ "550-one\r\n550-two\r\n550 three", 550, "", "one\ntwo\nthree" },
		{ "550 100%% sure", 550, "", "100% sure" },
		{ "550 a\tb\x80", 550, "", "a?b?" },
		{ "250 ok", -1, "", "" },
		{ "99 x", -1, "", "" },
		{ "5500 x", -1, "", "" },
		{ "600 x", -1, "", "" },
		{ "", -1, "", "" },
		{ "550-one\r\n551 two", -1, "", "" },
		{ "550 one\r\ntwo", -1, "", "" },
	};
	struct milter_text t;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int r = milter_text_read(view_of(cases[i].reply), &t, &err);

		assert_int_equal(r, cases[i].code < 0 ? -1 : 0);
		if (r < 0)
			continue;
		assert_int_equal(t.code, cases[i].code);
		assert_string_equal(t.dsn, cases[i].dsn);
		assert_string_equal(t.text, cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_writing),
		cmocka_unit_test(test_packets), cmocka_unit_test(test_options),
		cmocka_unit_test(test_replies), cmocka_unit_test(test_texts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
