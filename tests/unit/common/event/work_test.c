#include "common/base/clock.h"
#include "common/event/work.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum { ITEMS = 1000, TIMEOUT_MS = 10000 };

struct item {
	size_t number;
	bool has_run, is_done;
	pthread_t ran_in;
};

static struct item items[ITEMS];
static size_t order[ITEMS], ndone;
static atomic_uint running, most;

static void
run(void *arg)
{
	struct item *it = arg;
	unsigned now = atomic_fetch_add(&running, 1) + 1, seen = atomic_load(&most);

	while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
		continue;
	it->has_run = true;
	it->ran_in = pthread_self();
	atomic_fetch_sub(&running, 1);
}

static void
done(void *arg)
{
	struct item *it = arg;

	assert_true(it->has_run);
	assert_false(it->is_done);
	assert_false(pthread_equal(it->ran_in, pthread_self()));
	it->is_done = true;
	order[ndone++] = it->number;
}

static void
go(unsigned threads, bool through_free)
{
	struct loop *l = loop_new();
	struct work_pool *p = work_pool_new(l, threads);
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;

	ndone = 0;
	for (size_t i = 0; i < ITEMS; i++) {
		items[i] = (struct item){ .number = i };
		work_submit(p, run, done, &items[i]);
	}
	assert_int_equal(work_pending(p), ITEMS);
	while (!through_free && work_pending(p) > 0) {
		assert_true(clock_mono_ms() < deadline);
		loop_run_once(l, true);
	}
	work_pool_free(p); /* what is queued is still run and done */
	assert_int_equal(ndone, ITEMS);
	loop_free(l);
}

static void
test_one_thread_keeps_order(void **state)
{
	(void)state;
	go(1, false);
	for (size_t i = 0; i < ITEMS; i++)
		assert_int_equal(order[i], i);
	assert_int_equal(atomic_load(&most), 1);
}

static void
test_many_threads(void **state)
{
	(void)state;
	go(8, false);
	assert_in_range(atomic_load(&most), 1, 8);
}

static void
test_free_finishes(void **state)
{
	(void)state;
	go(3, true);
	go(1, true);
}

static void
submit_again(void *arg)
{
	struct item *it = arg;

	it->is_done = true;
}

static struct work_pool *pool;

static void
done_and_submit(void *arg)
{
	(void)arg;
	work_submit(pool, run, submit_again, &items[1]);
}

static void
test_submit_from_done(void **state)
{
	struct loop *l = loop_new();
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;

	(void)state;
	pool = work_pool_new(l, 2);
	items[0] = items[1] = (struct item){ 0 };
	work_submit(pool, run, done_and_submit, &items[0]);
	while (!items[1].is_done) {
		assert_true(clock_mono_ms() < deadline);
		loop_run_once(l, true);
	}
	work_pool_free(pool);
	work_pool_free(NULL);
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_thread_keeps_order),
		cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_free_finishes),
		cmocka_unit_test(test_submit_from_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
