/* Timers of the event loop. */
#include "common/base/clock.h"
#include "common/event/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct alarm {
	struct loop_timer timer;
	int64_t rang_ms;
};

static void
on_alarm(void *arg)
{
	struct alarm *a = arg;

	a->rang_ms = clock_mono_ms();
}

/* A turn of the loop that takes its time before it starts the alarm. */
struct slow_turn {
	struct loop_timer timer;
	struct alarm alarm;
	int64_t began_ms;
};

static void
on_slow_turn(void *arg)
{
	struct slow_turn *t = arg;
	int64_t begin = clock_mono_ms();

	while ((t->began_ms = clock_mono_ms()) < begin + 40)
		;
	loop_timer_start(&t->alarm.timer, 50);
}

static void
a_timer_never_fires_before_its_time(void **state)
{
	struct loop *l = loop_new();
	struct slow_turn t = { 0 };

	(void)state;
	loop_timer_init(&t.timer, l, on_slow_turn, &t);
	loop_timer_init(&t.alarm.timer, l, on_alarm, &t.alarm);
	for (int i = 0; i < 5; i++) {
		t.alarm.rang_ms = 0;
		loop_timer_soon(&t.timer);
		while (t.alarm.rang_ms == 0)
			loop_run_once(l, true);
		assert_true(t.alarm.rang_ms - t.began_ms >= 50);
	}
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_never_fires_before_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
