/* listing.h - queued messages as postqueue -j prints them, read from memory or from disk. */
#ifndef QMGR_LISTING_H
#define QMGR_LISTING_H

#include "qmgr/queue.h"

enum { LISTING_MAX = 48 * 1024 /* bytes of one entry: it has to fit a packet */ };

/* Where a message's envelope is to be read, taken in the loop for use in a thread. */
struct listing_source {
	struct queue_id id;
	const char *queue_name; /* "active", "deferred", "hold" */
	bool in_journal;
	struct segment_header seg;
	uint32_t offset;
	int64_t arrival_ms;
	uint64_t size;
};
void listing_source_of(const struct message *m, struct listing_source *out);
/* The entry of a loaded message; malloc'ed. */
char *listing_of_active(const struct message *m);
/* The same from disk.  Blocks.  NULL: it cannot be read (any more). */
char *listing_of_source(int root_fd, const struct listing_source *s);
/* Does it have an unfinished recipient in this domain?  Blocks. */
bool listing_has_domain(int root_fd, const struct listing_source *s, const char *domain);

#endif
