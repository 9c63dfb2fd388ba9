/* What is unusual, at its bounds; and what is on disk, well or badly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/contain_state.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct contain_limits limits = { .span_ms = 1000,
	.failure_minimum = 20,
	.failure_percent = 30,
	.rate_minimum = 100,
	.rate_factor = 10,
	.domain_minimum = 50,
	.domain_factor = 10 };
static struct contain_habit h;
static char why[CONTAIN_WHY];

static void
send(int64_t now, unsigned recipients, unsigned domains, const char *address)
{
	char domain[32];

	contain_note_message(&h, &limits, now, address);
	for (unsigned i = 0; i < recipients; i++) {
		snprintf(domain, sizeof domain, "d%u.test", i % domains);
		contain_note_recipient(&h, view_of(domain));
	}
}

static bool
is_unusual(void)
{
	return contain_is_unusual(&h, &limits, why);
}

/* Ten recipients a span, two domains, one network: he is known then. */
static void
get_known(void)
{
	h = (struct contain_habit){ 0 };
	for (int i = 0; i <= CONTAIN_LEARNED; i++)
		send(1 + i * limits.span_ms, 10, 2, "192.0.2.1");
	assert_int_equal(h.spans, CONTAIN_LEARNED);
	assert_false(is_unusual());
}

static void
failures(void **state)
{
	(void)state;
	h = (struct contain_habit){ 0 };
	send(1, 60, 1, "192.0.2.1");
	contain_note_failures(&h, &limits, 2, 19);
	assert_false(is_unusual()); /* 31 %, but too few */
	contain_note_failures(&h, &limits, 3, 1);
	assert_true(is_unusual());
	assert_string_equal(why, "20 of 60 recipients failed");
	send(4, 7, 1, "192.0.2.1");
	assert_false(is_unusual());              /* 29 % */
	contain_note_refused(&h, &limits, 5, 1); /* 21 of 68 */
	assert_true(is_unusual());
	/* the next span knows them, the one behind does not */
	send(1 + limits.span_ms, 1, 1, "192.0.2.1");
	assert_true(is_unusual());
	send(1 + 2 * limits.span_ms, 1, 1, "192.0.2.1");
	assert_false(is_unusual());
	/* failures of older messages say nothing of him now */
	assert_true(contain_counts_since(&h, &limits, 1 + limits.span_ms));
	assert_false(contain_counts_since(&h, &limits, limits.span_ms));
	/* nothing but refusals, from the beginning */
	h = (struct contain_habit){ 0 };
	assert_false(contain_counts_since(&h, &limits, 1));
	contain_note_refused(&h, &limits, 1, 20);
	assert_true(is_unusual());
}

static void
rates(void **state)
{
	int64_t now = 1 + CONTAIN_LEARNED * limits.span_ms;

	(void)state;
	h = (struct contain_habit){ 0 };
	send(1, 100000, 1, "192.0.2.1");
	assert_false(is_unusual()); /* nobody knows him */
	get_known();
	send(now, 90, 1, "192.0.2.1"); /* ten times as many */
	assert_int_equal(h.now.recipients, 100);
	assert_false(is_unusual());
	send(now, 1, 1, "192.0.2.1");
	assert_true(is_unusual());
	contain_accept_habit(&h);
	assert_false(is_unusual());
	send(now, 1000, 2, "192.0.2.1");
	assert_false(is_unusual()); /* that is usual now */
	get_known();
	send(now, 80, 80, "192.0.2.1"); /* fewer recipients than unusual, but many domains */
	assert_true(h.now.domains >= 50 && h.now.domains <= 80);
	assert_true(is_unusual());
	assert_non_null(strstr(why, "domains"));
	/* what is usual fades */
	get_known();
	for (int i = 0; i < 100; i++)
		send(now + i * limits.span_ms, 1, 1, "192.0.2.1");
	assert_true(h.recipients < 10);
}

/* From elsewhere half is enough; a mobile network's addresses are one place. */
static void
networks(void **state)
{
	int64_t now = 1 + CONTAIN_LEARNED * limits.span_ms;

	(void)state;
	get_known();
	send(now, 41, 1, "192.0.2.77");
	assert_false(is_unusual());
	send(now, 1, 1, "198.51.100.1");
	assert_true(is_unusual()); /* 52 of 10, from a new one */
	assert_non_null(strstr(why, "new network"));
	for (int i = 0; i < 40; i++) {
		char address[32];

		snprintf(address, sizeof address, "2001:db8:%x::1", i);
		contain_note_message(&h, &limits, now, address);
	}
	assert_int_equal(h.nnetworks, CONTAIN_NETWORKS);
	contain_note_message(&h, &limits, now, "no address");
	contain_note_message(&h, &limits, now + limits.span_ms, "2001:db8:27::5:6");
	assert_false(h.is_elsewhere);
}

/* --- on disk --------------------------------------------------------------------------------------------------- */

static void
locks(void **state)
{
	static const char *const bad[] = { "", "H", "H 1", "H 1 a", "X 1 a - r", "H x a - r",
		"H 1 %0 - r", "H 1 %00 - r", "H 1 a x,y r", "H 1 a , r", "H -1 a - r",
		"H 99999999999999999999 a - r" };
	struct queue_id kept[2] = { { .us = 1795478400000001, .life = 7 },
		{ .us = 1795478400000002, .life = 7 } };
	struct contain_lock_line l = { .is_releasing = true,
		.since_ms = 1795478400123,
		.kept = kept,
		.nkept = 2,
		.reason = "200 of 500 recipients failed" },
				 back;
	struct buf text;

	(void)state;
	snprintf(l.login, sizeof l.login, "an%%na b\t\xc3\xb6@x");
	buf_init(&text, 4096);
	contain_lock_write(&l, &text);
	assert_int_equal(contain_lock_read(view_make(text.p, text.len - 1), &back), 0);
	assert_true(back.is_releasing);
	assert_int_equal(back.since_ms, l.since_ms);
	assert_string_equal(back.login, l.login);
	assert_string_equal(back.reason, l.reason);
	assert_int_equal(back.nkept, 2);
	assert_int_equal(queue_id_compare(back.kept[1], kept[1]), 0);
	free(back.kept);
	/* torn at any byte: nothing is read beyond, nothing is left to free when it is refused */
	for (size_t n = 0; n < text.len; n++)
		if (contain_lock_read(view_make(text.p, n), &back) == 0)
			free(back.kept);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(contain_lock_read(view_of(bad[i]), &back), -1);
	assert_int_equal(contain_lock_read(VIEW_LIT("H 1 a - "), &back), 0);
	assert_string_equal(back.reason, "");
	buf_clear(&text);
}

static void
habits(void **state)
{
	static const char *const bad[] = { "", "a", "a 1 2 3", "a 1 2 3 x", "a 1 2 3 - more",
		"a 1 2 -3 -", "a 1 2 4294967296 -", "a 1 2 3 0123456789abcde", "% 1 2 3 -" };
	char login[CONTAIN_LOGIN_MAX], long_login[CONTAIN_LOGIN_MAX + 40];
	struct contain_habit back;
	struct buf text;

	(void)state;
	get_known();
	send(1 + CONTAIN_LEARNED * limits.span_ms, 1, 1, "198.51.100.1");
	buf_init(&text, 4096);
	contain_habit_write("a b@x", &h, &text);
	assert_int_equal(contain_habit_read(view_make(text.p, text.len - 1), login, &back), 0);
	assert_string_equal(login, "a b@x");
	assert_int_equal(back.recipients, h.recipients);
	assert_int_equal(back.domains, h.domains);
	assert_int_equal(back.spans, h.spans);
	assert_int_equal(back.nnetworks, 2);
	assert_memory_equal(back.networks, h.networks, 2 * sizeof h.networks[0]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(contain_habit_read(view_of(bad[i]), login, &back), -1);
	memset(long_login, 'a', sizeof long_login);
	snprintf(long_login + CONTAIN_LOGIN_MAX, 40, " 1 2 3 -");
	assert_int_equal(contain_habit_read(view_of(long_login), login, &back), -1);
	buf_clear(&text);
}

static void
files(void **state)
{
	char dir[] = "/tmp/contain_test.XXXXXX", path[64];
	struct buf text;
	struct err e;
	int root;

	(void)state;
	assert_non_null(mkdtemp(dir));
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	buf_init(&text, 4096);
	assert_int_equal(contain_file_load(root, "locks", &text, &e), 0);
	assert_int_equal(text.len, 0);
	assert_int_equal(contain_file_save(root, "locks", VIEW_LIT("one\n"), true, &e), 0);
	assert_int_equal(contain_file_save(root, "locks", VIEW_LIT("two\n"), false, &e), 0);
	assert_int_equal(contain_file_load(root, "locks", &text, &e), 0);
	assert_true(view_eq_str(buf_view(&text), "two\n"));
	/* a link does not lead anywhere */
	assert_int_equal(unlinkat(root, "contain/locks", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", root, "contain/locks"), 0);
	assert_int_equal(contain_file_load(root, "locks", &text, &e), -1);
	snprintf(path, sizeof path, "%s/contain/locks", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unlinkat(root, "contain", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(dir), 0);
	buf_clear(&text);
	close(root);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(failures),
		cmocka_unit_test(rates),
		cmocka_unit_test(networks),
		cmocka_unit_test(locks),
		cmocka_unit_test(habits),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
