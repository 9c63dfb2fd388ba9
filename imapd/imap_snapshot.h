/* imap_snapshot.h - what a session believes to be in its mailbox: sequence numbers to UIDs (RFC 3501 2.3.1.2).
 *
 * The client's sequence numbers change only when it is told; a message that is gone from the store keeps its place here,
 * marked, until its EXPUNGE may be sent.  Pure.
 */
#ifndef IMAPD_IMAP_SNAPSHOT_H
#define IMAPD_IMAP_SNAPSHOT_H

#include "common/base/arena.h"
#include "imapd/imap_seqset.h"

enum { SNAPSHOT_GONE = 1, SNAPSHOT_RECENT = 2 };
struct imap_snapshot {
	uint32_t *uids;  /* owned, ascending; index + 1 is the sequence number */
	uint8_t *states; /* owned */
	size_t count, cap;
	size_t recent, gone; /* how many have the mark */
};

void imap_snapshot_init(struct imap_snapshot *s);
void imap_snapshot_clear(struct imap_snapshot *s);
/* uid must be larger than all before. */
void imap_snapshot_add(struct imap_snapshot *s, uint32_t uid, bool is_recent);
/* Sequence number, 0: not in it. */
uint32_t imap_snapshot_seq(const struct imap_snapshot *s, uint32_t uid);
void imap_snapshot_mark_recent(struct imap_snapshot *s, uint32_t seq);
void imap_snapshot_mark_gone(struct imap_snapshot *s, uint32_t seq);
static inline uint32_t
imap_snapshot_last_uid(const struct imap_snapshot *s)
{
	return s->count ? s->uids[s->count - 1] : 0;
}
/* The highest sequence number of a marked message below this one; 0: there is none.  Expunges are told going down, so
 * that every number is right as it stands; imap_snapshot_compact follows. */
uint32_t imap_snapshot_next_gone(const struct imap_snapshot *s, uint32_t below);
/* Drops all marked messages with a sequence number of at least `from`. */
void imap_snapshot_compact(struct imap_snapshot *s, uint32_t from);

/* The sequence numbers that a set names, ascending, in the arena; NULL when that is full.  With is_uid the set holds
 * UIDs, and those that do not exist are passed over (RFC 3501 6.4.8). */
uint32_t *imap_snapshot_select(const struct imap_snapshot *s, struct imap_seqset *set, bool is_uid,
    struct arena *a, size_t *count);

#endif
