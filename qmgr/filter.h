/* filter.h - which messages an admin means: all conditions together (common/ipc/msg/qmgr.h, enum qmgr_filter). */
#ifndef QMGR_FILTER_H
#define QMGR_FILTER_H

#include "common/base/err.h"
#include "common/ipc/envelope.h"
#include "common/ipc/frame.h"
#include "common/ipc/msg/qmgr.h"

struct filter {
	char *texts[QMGR_FILTER_KINDS]; /* owned; NULL = no such condition */
	int64_t numbers[QMGR_FILTER_KINDS];
};
void filter_clear(struct filter *f);
/* Reads the pairs (us) up to the end of the message.  -1: ERR_SYNTAX, ERR_LIMIT. */
int filter_read(struct filter *f, struct ipc_in *in, struct err *err);

/* What is known of a message without its envelope. */
struct filter_facts {
	const char *queue_name;
	int64_t age_ms;
	uint64_t size;
};
bool filter_takes_facts(const struct filter *f, const struct filter_facts *m);
bool filter_needs_envelope(const struct filter *f);
/* reasons: by recipient, why it was deferred ("" = not yet tried), NULL = finished. */
bool filter_takes_envelope(
    const struct filter *f, const struct envelope *e, const char *const *reasons);

#endif
