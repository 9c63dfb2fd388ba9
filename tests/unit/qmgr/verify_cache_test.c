/* What is remembered of addresses, for how long, in how much room, and what comes back from a file. */
#include "common/base/codec.h"
#include "qmgr/verify_cache.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NOW = 2000000000 };
static const struct verify_times times = { 1000000, 500000, 100000, 10000, true };
static struct verify_cache c;

static int
setup(void **state)
{
	(void)state;
	verify_cache_init(&c, &times, 100, 1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	verify_cache_clear(&c);
	assert_int_equal(c.bytes, 0);
	return 0;
}

static enum qmgr_verified
status_of(const char *address, int64_t now)
{
	const struct verify_entry *e = verify_cache_get(&c, address, now);

	return e != NULL ? e->status : QMGR_VERIFYING;
}

static void
test_expiry(void **state)
{
	(void)state;
	assert_int_equal(status_of("a@x.test", NOW), QMGR_VERIFYING);
	verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "250 fine", NOW);
	verify_cache_put(&c, "b@x.test", QMGR_UNDELIVERABLE, "550 no", NOW);
	verify_cache_put(&c, "c@x.test", QMGR_UNVERIFIED, "450 later", NOW);
	assert_int_equal(status_of("a@x.test", NOW + 1000000), QMGR_DELIVERABLE);
	assert_int_equal(status_of("a@x.test", NOW + 1000001), QMGR_VERIFYING);
	assert_int_equal(status_of("a@x.test", NOW), QMGR_VERIFYING); /* it is gone */
	assert_int_equal(status_of("b@x.test", NOW + 100000), QMGR_UNDELIVERABLE);
	assert_int_equal(status_of("c@x.test", NOW + 100000), QMGR_UNVERIFIED);
	verify_cache_sweep(&c, NOW + 100000);
	assert_int_equal(c.by_address.count, 2);
	verify_cache_sweep(&c, NOW + 100001);
	assert_int_equal(c.by_address.count, 0);
}

static void
test_refresh(void **state)
{
	const struct verify_entry *e =
	    verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "250 fine", NOW);

	(void)state;
	assert_false(verify_cache_is_stale(&c, e, NOW + 500000));
	assert_true(verify_cache_is_stale(&c, e, NOW + 500001));
	/* a probe that fails changes nothing, but nobody asks again at once */
	e = verify_cache_put(&c, "a@x.test", QMGR_UNDELIVERABLE, "550 no", NOW + 500001);
	assert_int_equal(e->status, QMGR_DELIVERABLE);
	assert_string_equal(e->text, "250 fine");
	assert_false(verify_cache_is_stale(&c, e, NOW + 500001 + VERIFY_PROBE_PAUSE_S));
	assert_true(verify_cache_is_stale(&c, e, NOW + 500002 + VERIFY_PROBE_PAUSE_S));
	e = verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "250 still", NOW + 600000);
	assert_string_equal(e->text, "250 still");
	assert_false(verify_cache_is_stale(&c, e, NOW + 1100000));
	/* what has expired is as good as nothing */
	e = verify_cache_put(&c, "a@x.test", QMGR_UNDELIVERABLE, "550 no", NOW + 1600001);
	assert_int_equal(e->status, QMGR_UNDELIVERABLE);
	assert_false(verify_cache_is_stale(&c, e, NOW + 1610001));
	assert_true(verify_cache_is_stale(&c, e, NOW + 1610002));
	/* nobody was there to say anything */
	e = verify_cache_probed(&c, "a@x.test", NOW + 1610002);
	assert_int_equal(e->status, QMGR_UNDELIVERABLE);
	assert_false(verify_cache_is_stale(&c, e, NOW + 1610003));
	assert_null(verify_cache_probed(&c, "b@x.test", NOW));
	e = verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "250 now", NOW + 1610003);
	assert_int_equal(e->status, QMGR_DELIVERABLE);
	assert_int_equal(c.by_address.count, 1);
}

static void
test_without_negatives(void **state)
{
	(void)state;
	c.times.negative_cache = false;
	verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "", NOW);
	assert_null(verify_cache_put(&c, "b@x.test", QMGR_UNDELIVERABLE, "", NOW));
	assert_non_null(verify_cache_put(&c, "a@x.test", QMGR_UNDELIVERABLE, "", NOW));
	assert_int_equal(status_of("a@x.test", NOW), QMGR_DELIVERABLE);
	assert_int_equal(c.by_address.count, 1);
}

static void
test_bounds(void **state)
{
	char address[40], text[1000];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(address, sizeof address, "u%d@x.test", i);
		verify_cache_put(&c, address, QMGR_DELIVERABLE, "", NOW);
		if (i >= 50)
			assert_int_equal(status_of("u0@x.test", NOW), QMGR_DELIVERABLE);
	}
	assert_int_equal(c.by_address.count, 100);
	assert_int_equal(status_of("u200@x.test", NOW), QMGR_VERIFYING); /* u0 was asked for */
	assert_int_equal(status_of("u299@x.test", NOW), QMGR_DELIVERABLE);
	memset(text, 't', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	c.max_bytes = 20000;
	for (int i = 0; i < 100; i++) {
		snprintf(address, sizeof address, "v%d@x.test", i);
		assert_int_equal(
		    strlen(verify_cache_put(&c, address, QMGR_DELIVERABLE, text, NOW)->text),
		    VERIFY_TEXT_MAX);
		assert_true(c.bytes <= 20000);
	}
}

static void
test_addresses(void **state)
{
	char longest[VERIFY_ADDRESS_MAX + 2];

	(void)state;
	memset(longest, 'a', sizeof longest);
	longest[VERIFY_ADDRESS_MAX] = '\0';
	assert_true(verify_address_is_safe(longest));
	longest[VERIFY_ADDRESS_MAX] = 'a';
	longest[VERIFY_ADDRESS_MAX + 1] = '\0';
	assert_false(verify_address_is_safe(longest));
	assert_true(verify_address_is_safe("\"a b\"@x.test"));
	assert_true(verify_address_is_safe("m\xc3\xbcller@x.test"));
	assert_false(verify_address_is_safe(""));
	assert_false(verify_address_is_safe("a\tb@x.test"));
	assert_false(verify_address_is_safe("a\nb@x.test"));
	assert_false(verify_address_is_safe("a\x7f@x.test"));
}

/* Every cut of a file, and every byte of it changed: what is left is whole. */
static void
test_torn(void **state)
{
	struct buf file;
	char *copy;

	(void)state;
	buf_init(&file, 1 << 20);
	verify_entry_format(
	    verify_cache_put(&c, "a@x.test", QMGR_DELIVERABLE, "250 2.1.5 fine", NOW - 5), &file);
	verify_entry_format(
	    verify_cache_put(&c, "\"b b\"@x.test", QMGR_UNDELIVERABLE, "", NOW - 4), &file);
	verify_cache_clear(&c);
	assert_int_equal(verify_cache_load(&c, buf_view(&file), NOW), 0);
	assert_int_equal(status_of("\"b b\"@x.test", NOW), QMGR_UNDELIVERABLE);
	assert_string_equal(verify_cache_get(&c, "a@x.test", NOW)->text, "250 2.1.5 fine");
	assert_int_equal(verify_cache_get(&c, "a@x.test", NOW)->updated, NOW - 5);
	copy = malloc(file.len);
	for (size_t i = 0; i < file.len; i++) {
		size_t n;

		verify_cache_clear(&c);
		memcpy(copy, file.p, i); /* exactly so long: a sanitizer sees what reads beyond */
		n = verify_cache_load(&c, view_make(copy, i), NOW);
		assert_true(n <= 1 && c.by_address.count <= 1 + (i == file.len));
		memcpy(copy, file.p, file.len);
		copy[i] ^= 0x55;
		verify_cache_clear(&c);
		assert_true(verify_cache_load(&c, view_make(copy, file.len), NOW) >= 1);
		assert_true(c.by_address.count <= 1);
	}
	free(copy);
	buf_clear(&file);
}

/* Lines with a right checksum that are wrong all the same. */
static void
test_hostile_lines(void **state)
{
	static const char *const bad[] = { "", " ", "0", "0 1 2", "0 1 2 a@x.test",
		"3 1 2 a@x.test\tx", "-1 1 2 a@x.test\tx", "0 x 2 a@x.test\tx",
		"0 1 99999999999999999999 a@x.test\tx", "0 1 2 \tx", "0 1 2 a\x01@x.test\tx" };
	struct buf file;
	char line[900];

	(void)state;
	buf_init(&file, 1 << 20);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, bad[i], strlen(bad[i])), bad[i]);
	memset(line, 'a', sizeof line);
	memcpy(line, "0 1 2 ", 6);
	line[400] = '\t';
	line[410] = '\0'; /* the address too long */
	buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, line, 410), line);
	line[400] = 'a';
	line[20] = '\t';
	line[410] = 'a';
	line[899] = '\0'; /* the text */
	buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, line, 899), line);
	buf_append_str(&file, "\n\n");
	assert_int_equal(
	    verify_cache_load(&c, buf_view(&file), NOW), sizeof bad / sizeof bad[0] + 4);
	assert_int_equal(c.by_address.count, 0);
	/* from the future: as of now; of the past: as good as nothing; the later line counts */
	buf_reset(&file);
	snprintf(line, sizeof line, "0 %d 0 f@x.test\tx", NOW + 5000);
	buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, line, strlen(line)), line);
	snprintf(line, sizeof line, "0 1 2 p@x.test\tx");
	buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, line, strlen(line)), line);
	snprintf(line, sizeof line, "2 %d 0 f@x.test\ty", NOW);
	buf_printf(&file, "%08" PRIx32 " %s\n", crc32c(0, line, strlen(line)), line);
	assert_int_equal(verify_cache_load(&c, buf_view(&file), NOW), 0);
	assert_int_equal(c.by_address.count, 1);
	assert_int_equal(status_of("f@x.test", NOW), QMGR_UNDELIVERABLE);
	buf_clear(&file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_negatives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_lines, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
