/* deferred.h - messages that wait as files of their own: deferred/XX/ID (docs/queue-format.md).
 *
 * XX is two hexadecimal digits from the id's microseconds.  Everything here blocks: it is for the threads
 * of the work pool and for start-up.  At most one of these calls is under way for one message.
 */
#ifndef QMGR_DEFERRED_H
#define QMGR_DEFERRED_H

#include "qmgr/content.h"

/* Makes the directories; at start. */
int deferred_prepare(int root_fd, struct err *err);

/* Writes and flushes the file, renames it, flushes the directory.  envelope is the encoded one. */
int deferred_write(int root_fd, const struct deferred_summary *s, const struct deferred_slot *slots,
    uint32_t nslots, const struct message_bytes *m, struct err *err);

/* Slots with their index in the file. */
struct deferred_change {
	uint32_t index;
	struct deferred_slot slot;
};
/* Writes summary and slots over their older copies, with one fdatasync.  The seq members are set here. */
int deferred_update(int root_fd, const struct deferred_summary *s,
    const struct deferred_change *changes, size_t count, struct err *err);
/* Unlinks and flushes the directory.  A file that is not there is no error. */
int deferred_remove(int root_fd, struct queue_id id, struct err *err);
/* Keeps a damaged file as corrupt/deferred-ID. */
int deferred_set_aside(int root_fd, struct queue_id id, struct err *err);

struct deferred_file {
	struct deferred_summary summary;
	struct deferred_head head;
	struct deferred_slot *slots; /* owned: head.nslots */
	struct message_bytes bytes;
	bool has_summary;    /* false: both copies are damaged, and summary is made up */
	unsigned lost_slots; /* recipients whose slots are damaged; they are pending again */
};
void deferred_file_clear(struct deferred_file *f);
/* Reads and checks everything.  -1: ERR_SYNTAX when it is damaged, ERR_GONE, ERR_TEMP. */
int deferred_load(int root_fd, struct queue_id id, struct deferred_file *out, struct err *err);
/* The same without headers and body, which are not looked at. */
int deferred_load_envelope(
    int root_fd, struct queue_id id, struct deferred_file *out, struct err *err);

/* Start-up: all summaries in the order of their ids, read by several threads; temporary files are removed. */
struct deferred_found {
	struct deferred_summary summary;
	bool is_damaged; /* neither summary nor head can be read */
};
struct deferred_list {
	struct deferred_found *found; /* owned */
	size_t count, cap;
};
int deferred_scan(int root_fd, unsigned threads, struct deferred_list *out, struct err *err);

#endif
