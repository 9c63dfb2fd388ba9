/* batch.h - a batch of deliveries: write all to tmp/, sync, rename all to new/, sync the directories
 * (DESIGN 5.7).  Runs in the flush thread: it blocks, it does not log, and it touches nothing but the batch.
 *
 * Alone, a file and its directory are fsynced; from a handful in one file system on, one syncfs serves all.  Measured on
 * ext4: 8 files in 8 mailboxes take 7.4 ms with fsyncs and 4.7 ms with two syncfs, 100 take 93 and 21 ms; a single one
 * 1.2 and 1.8 ms. */
#ifndef DELIVERY_BATCH_H
#define DELIVERY_BATCH_H

#include "delivery/box_cache.h"
#include "delivery/letter.h"

/* One copy for one recipient. */
struct copy {
	/* what is asked */
	struct letter *letter; /* shared with the other recipients of the message */
	struct letter_envelope envelope;
	const char *queue_id;
	int64_t arrival_ms;
	uint32_t number;  /* of the recipient within the message */
	bool maybe_done;  /* in flight at a crash: may be in the mailbox already */
	const char *home; /* below the base */
	/* the answer */
	struct outcome outcome;
	/* the batch's own */
	struct batch_box *box;
	char base[BOX_NAME_MAX], name[BOX_NAME_MAX + 50]; /* in tmp/ and in new/ */
	int fd;                                           /* of the file in tmp/, -1 = not open */
	struct letter_size size;
	bool is_published; /* in new/, and may be taken back */
};

struct batch_config {
	struct box_cache *boxes; /* borrowed */
	const char *host; /* for file names */
	unsigned
	    sync_all_from; /* so many files or directories of one file system are synced by syncfs */
	unsigned clean_every; /* tmp/ of every n-th mailbox asked for is cleaned; 0 = never */
	unsigned boxes_asked; /* counts for clean_every */
};
enum { BATCH_SYNC_ALL_FROM = 4, BATCH_CLEAN_EVERY = 64 };

/* Decides the outcome of every copy.  Each copy is synced, name and all, before it is called sent. */
void batch_run(struct batch_config *config, struct copy **copies, size_t count);

#endif
