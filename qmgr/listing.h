/* listing.h - queued messages as postqueue -j prints them, read from memory or from disk. */
#ifndef QMGR_LISTING_H
#define QMGR_LISTING_H

#include "qmgr/filter.h"
#include "qmgr/queue.h"

enum { LISTING_MAX = 48 * 1024 /* bytes of one entry: it has to fit a packet */ };

/* Where a message's envelope is to be read, taken in the loop for use in a thread. */
struct listing_source {
	struct queue_id id;
	const char *queue_name; /* "active", "deferred", "hold" */
	bool in_journal, is_expired;
	struct segment_header seg;
	uint32_t offset;
	int64_t arrival_ms;
	uint64_t size;
};
void listing_source_of(const struct message *m, struct listing_source *out);
/* The entry of a loaded message; malloc'ed.  NULL: the filter does not take it. */
char *listing_of_active(const struct message *m, const struct filter *f);
bool listing_active_is_meant(const struct message *m, const struct filter *f);
/* The same from disk.  Block.  NULL and false, too: it cannot be read (any more). */
char *listing_of_source(int root_fd, const struct listing_source *s, const struct filter *f);
bool listing_source_is_meant(int root_fd, const struct listing_source *s, const struct filter *f);

#endif
