#include "qmgr/queue_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
test_shape(void **state)
{
	struct queue_id id = { 1795419943123456ULL, 7 }, back;
	char text[QUEUE_ID_TEXT];

	(void)state;
	queue_id_format(id, text);
	assert_int_equal(strlen(text), 12);
	assert_int_equal(text[10], 'z');
	assert_true(queue_id_parse(view_of(text), &back));
	assert_int_equal(queue_id_compare(id, back), 0);
	/* what Postfix prints for the same moment (mail_queue.h MAIL_QUEUE_ID) */
	queue_id_format((struct queue_id){ 1000000ULL * 52 + 53, 51 }, text);
	assert_string_equal(text, "0000100011z10");
}

static void
test_round_trip(void **state)
{
	uint64_t x = 88172645463325252ULL;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct queue_id id, back;
		char text[QUEUE_ID_TEXT];

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		id =
		    (struct queue_id){ x >> (x % 40) % 1000000000000000000ULL, (uint32_t)(x >> 3) };
		if (id.us == 0 || id.us / 1000000 > 1028071702527ULL)
			continue;
		queue_id_format(id, text);
		assert_true(strlen(text) < QUEUE_ID_TEXT);
		assert_true(queue_id_parse(view_of(text), &back));
		assert_int_equal(queue_id_compare(id, back), 0);
	}
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "", "z", "abc", "0000100011", "0000100011z",
		"000100011z1", "0000100011za", "00001A0011z1", "00000100011z1", "0000100011z01",
		"0000100011z1 ", "../../etc/passwd", "0000100011z10000000000000000",
		"0000000000z1" };
	struct queue_id id;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (queue_id_parse(view_of(bad[i]), &id))
			fail_msg("%s", bad[i]);
	assert_false(queue_id_parse(view_make("0000100011\0z1", 13), &id));
}

/* Clock steps, restarts, many in one microsecond: always later, never twice. */
static void
test_monotonic(void **state)
{
	struct queue_id_source s = { .life = 1 };
	struct queue_id last = { 0 }, id;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT];
	int64_t now = 1795419943000000;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		if (i == 3000)
			now -= 3600LL * 1000000;
		if (i == 6000)
			now = -5;
		if (i == 8000) { /* a new life, which has seen what is on disk */
			s = (struct queue_id_source){ .life = 2 };
			queue_id_seen(&s, last.us);
			queue_id_seen(&s, 5);
		}
		now += i % 3;
		id = queue_id_next(&s, now);
		assert_true(id.us > last.us);
		queue_id_format(last, a);
		queue_id_format(id, b);
		if (i > 0 && last.us / 1000000 == id.us / 1000000)
			assert_true(strcmp(a, b) < 0); /* sorted as text, too */
		last = id;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shape),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_monotonic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
