/* journal_private.h - what journal.c, journal_writer.c and journal_replay.c share. */
#ifndef QMGR_JOURNAL_PRIVATE_H
#define QMGR_JOURNAL_PRIVATE_H

#include "common/event/work.h"
#include "qmgr/journal.h"

#include <pthread.h>
#include <stdatomic.h>

STAILQ_HEAD(journal_entries, journal_entry);
TAILQ_HEAD(journal_segments, journal_segment);

/* A segment that is ready for its first record. */
struct journal_spare {
	STAILQ_ENTRY(journal_spare) link;
	uint64_t number, salt;
	int fd; /* owned */
};
STAILQ_HEAD(journal_spares, journal_spare);

struct journal_void {
	uint64_t number, from;
};

/* What the writer has to tell the admin. */
enum { JOURNAL_NEWS_MAX = 8 };
struct journal_news {
	bool is_error;
	char text[240];
};

struct journal {
	struct journal_options o;
	struct journal_io io;
	int dir_fd; /* journal/ */

	/* loop's thread only */
	struct journal_segments segments; /* by number */
	struct work_pool *housekeeper;    /* one thread: makes spares, removes segments */
	bool is_preparing, is_removing, prepare_failed, is_closing;
	int64_t ledger_trim_ms; /* the housekeeper's own: when the ledger was trimmed */
	uint64_t next_number;
	uint64_t current_seen; /* every entry in an older segment has been handed back */
	uint32_t life;
	uint64_t last_us_found;
	int64_t reserve;
	size_t waiting_count;
	struct journal_entries lazy;
	struct loop_timer lazy_timer, retry_timer;
	struct loop_watch watch;
	int event_fd;

	_Atomic uint64_t last_us;

	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under lock */
	struct journal_entries waiting, finished;
	struct journal_spares spares;
	unsigned nspares, spares_wanted;
	bool spare_is_coming, no_more_spares, stopping, is_broken;
	uint64_t queued_bytes;  /* appended and not yet finished */
	uint64_t current, left; /* number of the segment being written, bytes free in it */
	struct journal_news news[JOURNAL_NEWS_MAX];
	unsigned nnews;

	/* the writer's own */
	struct journal_spare *cur;
	struct segment_header cur_header;
	uint64_t off, batch_at;           /* next record; first record not yet flushed */
	struct buf out;                   /* bytes from batch_at to off */
	struct journal_entries unflushed; /* the entries in them */
	struct journal_void *voids;       /* owned: to be written before anything is acknowledged */
	size_t nvoids;
	int64_t retry_ms; /* after a failure no new segment is tried before this */
};

/* journal_writer.c */
void *journal_writer(void *journal);
void journal_voids_add(struct journal *j, uint64_t number, uint64_t from);

#endif
