/* throttle.h - what keeps deliveries back: a window of concurrent ones that grows and shrinks with what comes of them,
 * a rate, and pauses.  Destinations, the mail exchangers behind them and tenants each have one.  Pure: the time, in
 * monotonic ms, comes from the caller. */
#ifndef QMGR_THROTTLE_H
#define QMGR_THROTTLE_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One step's part that a delivery is worth: number, number/window or number/sqrt(window) (postconf(5),
 * default_destination_concurrency_positive_feedback). */
struct feedback {
	double number;
	enum { FEEDBACK_FIXED, FEEDBACK_WINDOW, FEEDBACK_SQRT } by;
};
/* "0.5", "1/concurrency", "0.5 / sqrt_concurrency": 0, or -1. */
int feedback_parse(const char *text, struct feedback *out);

/* Postfix's qmgr_queue.c */
struct window {
	unsigned size, limit;    /* limit 0 = none */
	double success, failure; /* feedback that does not make a whole step yet */
};
/* in_use: deliveries that run; initial: the window at first contact. */
void window_grow(struct window *w, const struct feedback *by, size_t in_use, unsigned initial);
void window_shrink(struct window *w, const struct feedback *by);

/* At most count in any span of span_ms. */
struct rate {
	unsigned count; /* 0 = no limit */
	int64_t span_ms;
	int64_t *times; /* owned: of the last count, a ring; NULL until the first */
	unsigned at;
};
enum { RATE_COUNT_MAX = 100000 };
/* How long until the next may go: 0 = now. */
int64_t rate_wait(const struct rate *r, int64_t now_ms);
void rate_take(struct rate *r, int64_t now_ms);
/* Nothing of the past counts any more. */
bool rate_is_idle(const struct rate *r, int64_t now_ms);
void rate_clear(struct rate *r);

/* What an admin sets in destination_limit_maps and tenant_limit_maps: "concurrency=5 rate=100/1h recipients=20", each
 * optional. */
struct limits {
	unsigned concurrency, recipients; /* 0 = nothing said */
	unsigned rate_count;              /* 0 = nothing said */
	int64_t rate_ms;
};
int limits_parse(const char *text, struct limits *out, struct err *err);

#endif
