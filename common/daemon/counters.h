/* counters.h - what the processes of a role have done since master started: one page of memory that all of them share with master.
 * Counting costs an addition, and what was counted outlives the process.  Before a page is mapped (tests, tools, `-t`)
 * numbers go nowhere. */
#ifndef COMMON_DAEMON_COUNTERS_H
#define COMMON_DAEMON_COUNTERS_H

#include "common/base/err.h"

#include <stdint.h>

/* What pflogsumm calls received, delivered, deferred, bounced, rejected, held and discarded is counted where the line is logged that it
 * counts. */
enum counter {
	COUNTER_RECEIVED, /* messages begun: client=, or by sendmail */
	COUNTER_ACCEPTED, /* messages acknowledged */
	COUNTER_ACCEPTED_BYTES,
	COUNTER_DELIVERED,       /* recipients: status=sent */
	COUNTER_DELIVERED_BYTES, /* the message's size for each of them */
	COUNTER_DEFERRALS,       /* attempts: status=deferred */
	COUNTER_DEFERRED,        /* messages that were deferred at all */
	COUNTER_BOUNCED,         /* recipients: status=bounced */
	COUNTER_REJECTED,        /* commands and messages */
	COUNTER_REJECT_WARNINGS, /* what warn_if_reject let pass */
	COUNTER_HELD,
	COUNTER_DISCARDED,
	COUNTERS
};
extern const char *const counter_names[COUNTERS];

void counter_add(enum counter c, uint64_t n);

struct counters {
	_Atomic uint64_t values[COUNTERS];
};
/* Master: a new page, and a descriptor of it, the caller's, that can neither grow nor shrink.  NULL: *err. */
struct counters *counters_new(int *fd, struct err *err);
/* A process: from now on counts there; fd is taken.  0, or -1: it is no such page. */
int counters_use(int fd, struct err *err);

#endif
