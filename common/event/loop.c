#include "common/event/loop.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <time.h>

struct loop {
	struct event_base *base;
};

/* libevent's clock stands still for so long at a time, and may be that much late. */
static int64_t clock_tick_us;

static void
read_clock_tick(void)
{
	struct timespec tick;

	if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) < 0)
		bug("there is no monotonic clock");
	clock_tick_us = (int64_t)tick.tv_sec * 1000000 + tick.tv_nsec / 1000 + 1;
}

struct loop *
loop_new(void)
{
	struct loop *l = x_calloc(1, sizeof *l);
	struct event_config *cfg = event_config_new();

	read_clock_tick();
	/* No environment variable may choose the back end of a privileged process.  A timer counts
	 * from when it is started, however long the turn of the loop has already taken. */
	if (cfg == NULL || event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV) < 0 ||
	    event_config_set_flag(cfg, EVENT_BASE_FLAG_NO_CACHE_TIME) < 0 ||
	    (l->base = event_base_new_with_config(cfg)) == NULL)
		bug("libevent gives no event base");
	event_config_free(cfg);
	return l;
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	event_base_free(l->base);
	free(l);
}

struct event_base *
loop_base(struct loop *l)
{
	return l->base;
}

void
loop_run(struct loop *l)
{
	if (event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY) < 0)
		bug("event_base_loop failed");
}

void
loop_run_once(struct loop *l, bool block)
{
	if (event_base_loop(l->base, EVLOOP_ONCE | (block ? 0 : EVLOOP_NONBLOCK)) < 0)
		bug("event_base_loop failed");
}

void
loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	(void)fd;
	w->fn(w->arg, what);
}

void
loop_watch_init(struct loop_watch *w, struct loop *l, int fd, void (*fn)(void *arg, short what),
    void *arg)
{
	*w = (struct loop_watch){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
}

void
loop_watch_set(struct loop_watch *w, short what)
{
	if (w->what == what)
		return;
	if (w->what != 0)
		event_del(&w->ev);
	w->what = what;
	if (what == 0)
		return;
	event_assign(&w->ev, w->loop->base, w->fd, (short)(what | EV_PERSIST), on_watch, w);
	if (event_add(&w->ev, NULL) < 0)
		bug("event_add failed");
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

void
loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	t->fn = fn;
	t->arg = arg;
	event_assign(&t->ev, l->base, -1, 0, on_timer, t);
}

void
loop_timer_start(struct loop_timer *t, int64_t after_ms)
{
	int64_t after_us = after_ms <= 0 ? 0 : after_ms * 1000 + clock_tick_us;
	struct timeval tv = { after_us / 1000000, after_us % 1000000 };

	if (event_add(&t->ev, &tv) < 0)
		bug("event_add failed");
}

void
loop_timer_stop(struct loop_timer *t)
{
	event_del(&t->ev);
}

bool
loop_timer_running(const struct loop_timer *t)
{
	return event_pending(&t->ev, EV_TIMEOUT, NULL) != 0;
}

static void
on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)what;
	s->fn(s->arg, signo);
}

void
loop_signal_start(struct loop_signal *s, struct loop *l, int signo,
    void (*fn)(void *arg, int signo), void *arg)
{
	s->fn = fn;
	s->arg = arg;
	event_assign(&s->ev, l->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, s);
	if (event_add(&s->ev, NULL) < 0)
		bug("event_add failed");
}

void
loop_signal_stop(struct loop_signal *s)
{
	event_del(&s->ev);
}
