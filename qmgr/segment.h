/* segment.h - reading journal segments, and the ledger's files, which are segments without content (ledger.h).
 *
 * Everything here blocks.  What is read may be written to by qmgr meanwhile: a batch that is under way
 * looks like the end, and a later scan can go on from there.
 */
#ifndef QMGR_SEGMENT_H
#define QMGR_SEGMENT_H

#include "qmgr/queue_file.h"

enum { SEGMENT_GROUP = 16 }; /* records of the largest group */

/* "0000000000000001" */
enum { SEGMENT_NAME = 32 };
void segment_name(uint64_t number, char out[SEGMENT_NAME]);

struct segment_numbers {
	uint64_t *list; /* owned; ascending */
	size_t count;
};
/* The segments of a directory.  -1: ERR_TEMP. */
int segment_list(int dir_fd, struct segment_numbers *out, struct err *err);

/* Either copy.  -1: ERR_SYNTAX when none is intact (*is_blank: both are nothing but zeros), ERR_TEMP. */
int segment_header_read(
    int fd, uint64_t number, struct segment_header *out, bool *is_blank, struct err *err);

/* The header of a segment of this directory.  -1: ERR_GONE, ERR_SYNTAX, ERR_TEMP. */
int segment_find(int dir_fd, uint64_t number, struct segment_header *out, struct err *err);

struct segment_bytes {
	char *p; /* owned */
	size_t len;
	size_t unreadable; /* bytes that the disk does not give: zeros */
};
/* All of it, as far as it goes.  -1: ERR_TEMP. */
int segment_load(
    int dir_fd, const struct segment_header *h, struct segment_bytes *out, struct err *err);
int segment_load_fd(
    int fd, const struct segment_header *h, struct segment_bytes *out, struct err *err);

/* From which offset on younger segments' voids, which stand at their beginnings, say that nothing of segment
 * number happened; UINT64_MAX: all did.  numbers: of dir_fd. */
uint64_t segment_void_limit(int dir_fd, const struct segment_numbers *numbers, uint64_t number);

/* A walk through a segment: on_record gets every intact record before limit that belongs to a whole group. */
struct segment_scan {
	const struct segment_header *header;
	struct view bytes;
	uint64_t from;  /* where to begin, 0 = with the first record */
	uint64_t limit; /* records from here on are void */
	void (*on_record)(void *arg, const struct record *r);
	void *arg;
	/* out */
	uint64_t end;        /* behind the last intact record */
	uint64_t settled;    /* behind the last whole group: where to go on */
	uint64_t hole_at;    /* first invalid place, 0 = none */
	bool is_damaged;     /* a hole that no interrupted batch explains */
	unsigned incomplete; /* groups given up */
	/* the scan's own */
	struct record held[SEGMENT_GROUP];
	unsigned nheld;
};
void segment_scan(struct segment_scan *s);

#endif
