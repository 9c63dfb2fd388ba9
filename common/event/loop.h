/* loop.h - the one event loop of a process: libevent with our own words (DESIGN 2).
 *
 * Watches and timers are members of the caller's struct: init once, set/start as often as wanted, and
 * they must be stopped (set 0 / stop) before that struct goes.  A callback may free its own struct.
 * Nothing called from a callback may block; what blocks goes to a work pool (work.h) or another process.
 */
#ifndef COMMON_EVENT_LOOP_H
#define COMMON_EVENT_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOOP_READ = EV_READ, LOOP_WRITE = EV_WRITE };

struct loop;
struct loop *loop_new(void); /* dies if the kernel refuses */
void loop_free(struct loop *l);
void loop_run(struct loop *l);  /* returns after loop_stop */
void loop_stop(struct loop *l);
void loop_run_once(struct loop *l, bool block); /* tests and start-up only */
/* For dnsd only: libunbound wants the base. */
struct event_base *loop_base(struct loop *l);

struct loop_watch {
	struct event ev;
	struct loop *loop;
	int fd; /* borrowed */
	short what;
	void (*fn)(void *arg, short what);
	void *arg;
};
void loop_watch_init(struct loop_watch *w, struct loop *l, int fd, void (*fn)(void *arg, short what),
    void *arg);
void loop_watch_set(struct loop_watch *w, short what); /* LOOP_READ | LOOP_WRITE, level-triggered; 0 = off */

struct loop_timer {
	struct event ev;
	void (*fn)(void *arg);
	void *arg;
};
void loop_timer_init(struct loop_timer *t, struct loop *l, void (*fn)(void *arg), void *arg);
/* Once, never before after_ms have passed; restarts a running timer. */
void loop_timer_start(struct loop_timer *t, int64_t after_ms);
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_running(const struct loop_timer *t);

/* fn(arg) on the next turn of the loop, at most once until it ran; init/stop as timers. */
#define loop_timer_soon(t) loop_timer_start((t), 0)

struct loop_signal {
	struct event ev;
	void (*fn)(void *arg, int signo);
	void *arg;
};
void loop_signal_start(struct loop_signal *s, struct loop *l, int signo,
    void (*fn)(void *arg, int signo), void *arg);
void loop_signal_stop(struct loop_signal *s);

#endif
