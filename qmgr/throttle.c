#include "qmgr/throttle.h"
#include "common/base/mem.h"
#include "common/base/view.h"
#include "common/config/conf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- windows ------------------------------------------------------------------------------------------ */
int
feedback_parse(const char *text, struct feedback *out)
{
	char word[20] = "";
	int used = 0, n = sscanf(text, "%lf %n/ %19[a-z_] %n", &out->number, &used, word, &used);

	if (n < 1 || text[used] != '\0' || !(out->number >= 0 && out->number <= 1))
		return -1;
	out->by = FEEDBACK_FIXED;
	if (n == 2)
		out->by = strcmp(word, "concurrency") == 0 ? FEEDBACK_WINDOW : FEEDBACK_SQRT;
	return out->by != FEEDBACK_SQRT || strcmp(word, "sqrt_concurrency") == 0 ? 0 : -1;
}

static double
feedback_of(const struct feedback *f, unsigned window)
{
	return f->by == FEEDBACK_WINDOW ? f->number / window
	       : f->by == FEEDBACK_SQRT ? f->number / sqrt(window)
					: f->number;
}

/* At once, then at the end of each step: what is wrong shall not grow. */
void
window_shrink(struct window *w, const struct feedback *by)
{
	double feedback = feedback_of(by, w->size);

	w->failure -= feedback;
	while (w->failure - feedback / 2 < 0 && feedback > 0) {
		if (w->size > 1)
			w->size--;
		w->success = 0;
		w->failure += 1;
	}
}

/* Only a window that is in use shows that a larger one would do. */
void
window_grow(struct window *w, const struct feedback *by, size_t in_use, unsigned initial)
{
	double feedback = feedback_of(by, w->size);

	if ((w->limit > 0 && w->size >= w->limit) || w->size >= in_use + 1 + initial)
		return;
	w->success += feedback;
	while (w->success + feedback / 2 >= 1 && (w->limit == 0 || w->size < w->limit)) {
		w->size++;
		w->success -= 1;
		w->failure = 0;
	}
}

/* --- rates -------------------------------------------------------------------------------------------- */
int64_t
rate_wait(const struct rate *r, int64_t now_ms)
{
	int64_t next;

	if (r->count == 0 || r->times == NULL || r->times[r->at] == 0)
		return 0;
	next = r->times[r->at] + r->span_ms; /* the oldest of them leaves the span */
	return next > now_ms ? next - now_ms : 0;
}

void
rate_take(struct rate *r, int64_t now_ms)
{
	if (r->count == 0)
		return;
	if (r->times == NULL)
		r->times = x_calloc(r->count, sizeof *r->times);
	r->times[r->at] = now_ms > 0 ? now_ms : 1;
	r->at = (r->at + 1) % r->count;
}

bool
rate_is_idle(const struct rate *r, int64_t now_ms)
{
	return r->times == NULL ||
	       r->times[(r->at + r->count - 1) % r->count] + r->span_ms <= now_ms;
}

void
rate_clear(struct rate *r)
{
	free(r->times);
	*r = (struct rate){ 0 };
}

/* --- what the admin sets -------------------------------------------------------------------------------- */
static int
read_rate(struct view value, struct limits *out)
{
	struct view count, span;
	uint64_t n;
	int64_t s;

	if (!view_cut(value, '/', &count, &span) || !view_u64(count, RATE_COUNT_MAX, &n) ||
	    n == 0 || !conf_time_parse(span, &s) || s <= 0)
		return -1;
	out->rate_count = (unsigned)n;
	out->rate_ms = s * 1000;
	return 0;
}

static int
read_count(struct view value, unsigned *out)
{
	uint64_t n;

	if (!view_u64(value, INT32_MAX, &n) || n == 0)
		return -1;
	*out = (unsigned)n;
	return 0;
}

int
limits_parse(const char *text, struct limits *out, struct err *err)
{
	struct view rest = view_of(text), word, name, value;
	int r = 0;

	*out = (struct limits){ 0 };
	while (view_token(&rest, ", \t\r\n", &word)) {
		if (!view_cut(word, '=', &name, &value))
			r = -1;
		else if (view_eq_str(name, "concurrency"))
			r = read_count(value, &out->concurrency);
		else if (view_eq_str(name, "recipients"))
			r = read_count(value, &out->recipients);
		else if (view_eq_str(name, "rate"))
			r = read_rate(value, out);
		else
			r = -1;
		if (r < 0)
			return err_set(err, ERR_SYNTAX,
			    "\"%.*s\" is none of concurrency=NUMBER, recipients=NUMBER, "
			    "rate=NUMBER/TIME",
			    VIEW_ARG(word));
	}
	return 0;
}
