/* contain_judge.h - does a login send as it does otherwise?  Counts of two spans of time, the present and the one before, are held
 * against fixed bounds and against what was usual so far.  Pure; an event costs the same however much there is. */
#ifndef QMGR_CONTAIN_JUDGE_H
#define QMGR_CONTAIN_JUDGE_H

#include "common/base/view.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	CONTAIN_LEARNED = 12, /* spans in which somebody sent before anything is unusual for him */
	CONTAIN_NETWORKS = 16,
	CONTAIN_SKETCH = 16, /* words of 64 domains each */
	CONTAIN_WHY = 160,
};

struct contain_limits {
	int64_t span_ms;
	/* of both spans: so many recipients failed, and so many of a hundred */
	unsigned failure_minimum, failure_percent;
	/* of the present span: so many recipients, domains, and so many times what is usual */
	unsigned rate_minimum, rate_factor;
	unsigned domain_minimum, domain_factor;
};

struct contain_span {
	uint32_t messages, recipients, failures;
	uint32_t domains; /* at least: two that share a bit are one */
	uint64_t seen[CONTAIN_SKETCH];
};

struct contain_habit {
	int64_t began_ms; /* monotonic, of the present span; 0: not yet */
	struct contain_span now, before;
	uint32_t recipients, domains; /* what is usual in a span: the most so far, which fades */
	uint32_t spans;               /* that this was learned from */
	uint64_t networks[CONTAIN_NETWORKS]; /* the last ones first; hashes of /24 and /48 */
	uint32_t nnetworks;
	bool
	    is_elsewhere; /* in the present span he came from a new one: it takes half as much to be unusual */
};

/* Each event: what came, and when (monotonic). */
void contain_note_message(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, const char *address);
void contain_note_recipient(struct contain_habit *h, struct view domain);
/* Recipients of messages that came in these two spans: contain_counts_since tells. */
void contain_note_failures(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, uint32_t n);
/* Refused before they were anybody's recipients. */
void contain_note_refused(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, uint32_t n);
bool contain_counts_since(
    const struct contain_habit *h, const struct contain_limits *l, int64_t ms);

bool contain_is_unusual(
    const struct contain_habit *h, const struct contain_limits *l, char why[CONTAIN_WHY]);
/* The admin says that it is all right: from now on it is usual. */
void contain_accept_habit(struct contain_habit *h);

#endif
