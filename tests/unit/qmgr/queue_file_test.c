#include "qmgr/queue_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct segment_header seg = { 7, 0x1122334455667788ULL, 65536, 1795419943000000ULL,
	5 };

static void
test_segment_header(void **state)
{
	char bytes[SEGMENT_HEADER];
	struct segment_header out;

	(void)state;
	segment_header_encode(&seg, bytes);
	assert_memory_equal(bytes, "ESTFJRNL", 8);
	assert_int_equal(segment_header_decode(view_make(bytes, sizeof bytes), &out, NULL), 0);
	assert_memory_equal(&out, &seg, sizeof seg);
	for (size_t i = 0; i < sizeof bytes * 8; i++) {
		bytes[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(
		    segment_header_decode(view_make(bytes, sizeof bytes), &out, NULL), -1);
		bytes[i / 8] ^= (char)(1 << i % 8);
	}
	assert_int_equal(segment_header_decode(view_make(bytes, 63), &out, NULL), -1);
}

static size_t
make_record(char *segment, size_t offset, const char *content)
{
	struct record r = { .type = RECORD_OUTCOME,
		.flags = RECORD_MORE,
		.id = { 99, 3 },
		.offset = (uint32_t)offset,
		.batch = 4096 };

	memcpy(segment + offset + RECORD_HEADER, content, strlen(content));
	record_seal(segment + offset, &seg, &r, strlen(content));
	return record_size(strlen(content));
}

static void
test_record(void **state)
{
	char bytes[8192] = { 0 };
	struct segment_header other = seg;
	struct record r;
	size_t len = make_record(bytes, 4096, "hello");
	struct view v = view_make(bytes, sizeof bytes);

	(void)state;
	assert_int_equal(len, 40);
	assert_true(record_read(v, &seg, 4096, &r));
	assert_int_equal(r.type, RECORD_OUTCOME);
	assert_int_equal(r.flags, RECORD_MORE);
	assert_int_equal(r.id.us, 99);
	assert_int_equal(r.id.life, 3);
	assert_int_equal(r.batch, 4096);
	assert_true(view_eq_str(r.content, "hello"));
	/* elsewhere, in another segment, under another salt, cut short: no record */
	memmove(bytes + 4200, bytes + 4096, 40);
	assert_false(record_read(v, &seg, 4200, &r));
	other.salt++;
	assert_false(record_read(v, &other, 4096, &r));
	other = seg;
	other.number++;
	assert_false(record_read(v, &other, 4096, &r));
	assert_false(record_read(view_make(bytes, 4096 + 36), &seg, 4096, &r));
	assert_false(record_read(v, &seg, 8192, &r));
	assert_false(record_read(v, &seg, 8180, &r));
	for (size_t i = 4096 * 8; i < (4096 + 37) * 8; i++) {
		bytes[i / 8] ^= (char)(1 << i % 8);
		assert_false(record_read(v, &seg, 4096, &r));
		bytes[i / 8] ^= (char)(1 << i % 8);
	}
}

static void
test_search(void **state)
{
	char bytes[16384] = { 0 };
	struct record r;

	(void)state;
	/* imitations in front of it */
	for (size_t i = 4096; i < 12000; i += 8)
		memcpy(bytes + i, "\0\0\0\0REC1", 8);
	make_record(bytes, 12000, "found");
	assert_true(record_search(view_make(bytes, sizeof bytes), &seg, 4099, &r));
	assert_int_equal(r.offset, 12000);
	assert_false(record_search(view_make(bytes, sizeof bytes), &seg, 12001, &r));
}

static void
test_message(void **state)
{
	struct message_head h = { .envelope_len = 3, .headers_len = 4, .body_len = 5 }, back;
	struct view e, hd, b;
	char bytes[MESSAGE_HEAD + 12], again[MESSAGE_HEAD];

	(void)state;
	memcpy(bytes + MESSAGE_HEAD, "envheadbodyX", 12);
	message_head_encode(&h, bytes);
	assert_int_equal(
	    message_record_decode(view_make(bytes, sizeof bytes), &back, &e, &hd, &b, NULL), 0);
	assert_true(view_eq_str(e, "env") && view_eq_str(hd, "head") && view_eq_str(b, "bodyX"));
	for (size_t len = 0; len < sizeof bytes; len++)
		assert_int_equal(
		    message_record_decode(view_make(bytes, len), &back, &e, &hd, &b, NULL), -1);
	h.body_off = 1; /* inline bodies have none */
	message_head_encode(&h, bytes);
	assert_int_equal(
	    message_record_decode(view_make(bytes, sizeof bytes), &back, &e, &hd, &b, NULL), -1);
	h = (struct message_head){ .has_file = true,
		.envelope_len = 3,
		.headers_len = 9,
		.body_len = 1000000,
		.body_off = 10 };
	message_head_encode(&h, bytes);
	assert_int_equal(
	    message_record_decode(view_make(bytes, sizeof bytes), &back, &e, &hd, &b, NULL), 0);
	message_head_encode(&back, again);
	assert_memory_equal(bytes, again, MESSAGE_HEAD);
	assert_int_equal(b.len, 0);
	h.headers_len = UINT64_MAX;
	message_head_encode(&h, bytes);
	assert_int_equal(
	    message_record_decode(view_make(bytes, sizeof bytes), &back, &e, &hd, &b, NULL), -1);
}

static void
test_outcomes(void **state)
{
	const struct outcome in[] = { { .status = RCPT_SENT, .dsn = "2.0.0", .is_relayed = true },
		{ .rcpt = 7, .status = RCPT_FAILED, .dsn = "5.1.1", .is_repeated = true },
		{ .rcpt = 99999, .status = RCPT_DELETED, .dsn = "4.123.999" },
		{ .rcpt = 3, .status = RCPT_FAILED, .dsn = "nonsense" } };
	struct outcome o;
	struct buf b;
	size_t at = 0;

	(void)state;
	buf_init(&b, 1000);
	outcomes_begin(&b, 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(outcomes_put(&b, &in[i]), 0);
	outcomes_end(&b);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(outcomes_next(buf_view(&b), &at, &o), 1);
		assert_int_equal(o.rcpt, in[i].rcpt);
		assert_int_equal(o.status, in[i].status);
		assert_int_equal(o.is_relayed, in[i].is_relayed);
		assert_int_equal(o.is_repeated, in[i].is_repeated);
		assert_string_equal(o.dsn, i == 3 ? "0.0.0" : in[i].dsn);
	}
	assert_int_equal(outcomes_next(buf_view(&b), &at, &o), 0);
	at = 0;
	assert_int_equal(outcomes_next(view_make(b.p, b.len - 1), &at, &o), -1);
	b.p[8] = 9; /* no such status */
	assert_int_equal(outcomes_next(buf_view(&b), &at, &o), -1);
	buf_clear(&b);
}

static void
test_summary(void **state)
{
	struct deferred_summary s = { .id = { 5, 1 },
		.state = DEFERRED_HELD,
		.next_ms = -1,
		.arrival_ms = 77,
		.size = 1ULL << 40,
		.nrcpts = 9,
		.left = 8,
		.attempts = 3,
		.seq = 4 };
	struct deferred_summary out;
	char both[2 * DEFERRED_SUMMARY], again[DEFERRED_SUMMARY];
	unsigned copy = 9;

	(void)state;
	deferred_summary_encode(&s, both);
	s.seq = 5;
	s.attempts = 4;
	deferred_summary_encode(&s, both + DEFERRED_SUMMARY);
	assert_int_equal(
	    deferred_summary_decode(view_make(both, sizeof both), &out, &copy, NULL), 0);
	assert_int_equal(copy, 1);
	deferred_summary_encode(&out, again);
	assert_memory_equal(both + DEFERRED_SUMMARY, again, sizeof again);
	for (size_t i = 0; i < DEFERRED_SUMMARY * 8;
	     i++) { /* the newer is torn: the older counts */
		both[DEFERRED_SUMMARY + i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(
		    deferred_summary_decode(view_make(both, sizeof both), &out, &copy, NULL), 0);
		assert_int_equal(copy, 0);
		assert_int_equal(out.attempts, 3);
		both[DEFERRED_SUMMARY + i / 8] ^= (char)(1 << i % 8);
	}
	memset(both, 0, sizeof both);
	assert_int_equal(
	    deferred_summary_decode(view_make(both, sizeof both), &out, &copy, NULL), -1);
}

static void
test_slot(void **state)
{
	struct deferred_slot s = { .rcpt = 3,
		.status = RCPT_PENDING,
		.is_delay_told = true,
		.attempts = 2,
		.last_ms = 1234567890123,
		.dsn = "4.4.1",
		.seq = 8 };
	struct queue_id id = { 5, 1 }, other = { 6, 1 };
	struct deferred_slot out;
	char pair[2 * DEFERRED_SLOT] = { 0 };
	unsigned copy = 9;

	(void)state;
	memset(s.reason, 'r', sizeof s.reason - 1);
	deferred_slot_encode(&s, id, 11, pair);
	assert_int_equal(
	    deferred_slot_decode(view_make(pair, sizeof pair), id, 11, &out, &copy, NULL), 0);
	assert_int_equal(copy, 0);
	assert_int_equal(out.rcpt, 3);
	assert_true(out.is_delay_told);
	assert_int_equal(out.last_ms, s.last_ms);
	assert_string_equal(out.reason, s.reason);
	assert_string_equal(out.dsn, "4.4.1");
	assert_int_equal(
	    deferred_slot_decode(view_make(pair, sizeof pair), id, 12, &out, &copy, NULL), -1);
	assert_int_equal(
	    deferred_slot_decode(view_make(pair, sizeof pair), other, 11, &out, &copy, NULL), -1);
	for (size_t i = 0; i < DEFERRED_SLOT * 8; i++) {
		pair[i / 8] ^= (char)(1 << i % 8);
		assert_int_equal(
		    deferred_slot_decode(view_make(pair, sizeof pair), id, 11, &out, &copy, NULL),
		    -1);
		pair[i / 8] ^= (char)(1 << i % 8);
	}
}

static void
test_head(void **state)
{
	struct deferred_head h = { .id = { 5, 1 },
		.nslots = 3,
		.message = { .envelope_len = 10, .headers_len = 20, .body_len = 30 },
		.envelope_crc = 1,
		.content_crc = 2 };
	struct deferred_head out;
	char bytes[DEFERRED_HEAD], again[DEFERRED_HEAD];

	(void)state;
	deferred_head_encode(&h, bytes);
	assert_int_equal(deferred_head_decode(view_make(bytes, sizeof bytes), &out, NULL), 0);
	deferred_head_encode(&out, again);
	assert_memory_equal(bytes, again, sizeof again);
	assert_int_equal(deferred_file_size(&h), 1024 + 3 * 1024 + 60);
	h.message.has_file = true;
	assert_int_equal(deferred_file_size(&h), 1024 + 3 * 1024 + 30);
	bytes[100] ^= 1;
	assert_int_equal(deferred_head_decode(view_make(bytes, sizeof bytes), &out, NULL), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment_header),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_summary),
		cmocka_unit_test(test_slot),
		cmocka_unit_test(test_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
