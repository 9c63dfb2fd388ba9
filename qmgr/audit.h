/* audit.h - every recipient that was acknowledged with 250 against its one outcome.
 *
 * Reads ledger, journal and deferred files (docs/queue-format.md), whether or not qmgr is at work on them:
 * a segment is copied before it is removed, and what ends a deferred message is in the journal before its file goes,
 * so that whatever is not where it was a moment ago has left its trace further on.
 * In memory is what is not finished, 40 bytes for each message.
 */
#ifndef QMGR_AUDIT_H
#define QMGR_AUDIT_H

#include "qmgr/ledger.h"

enum audit_kind {
	AUDIT_MISSING,  /* no outcome, and it is not in the queue */
	AUDIT_DOUBLE,   /* two outcomes */
	AUDIT_POSSIBLE, /* sent, and maybe once before: no fault */
	AUDIT_HOLE,     /* part of the record is lost */
};
struct audit_finding {
	enum audit_kind kind;
	char id[QUEUE_ID_TEXT]; /* "" for a hole */
	const char *recipient;  /* foreign; "" = cannot be told */
	const char *text;
};
struct audit_totals {
	int64_t begins_ms; /* wall clock: from when on there is a record; 0 = nothing */
	uint64_t messages, notices, recipients;
	uint64_t delivered, relayed, returned, expired, dropped, deleted, queued;
	uint64_t missing, doubled, possible, holes;
};
struct audit_options {
	int root_fd;       /* of the queue directory */
	uint64_t since_us; /* only messages accepted from then on */
	void (*on_finding)(void *arg, const struct audit_finding *f);
	void *arg;
};
/* -1: the queue directory cannot be read. */
int audit_run(const struct audit_options *o, struct audit_totals *out, struct err *err);

#endif
