#include "imapd/imap_snapshot.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdlib.h>

void
imap_snapshot_init(struct imap_snapshot *s)
{
	*s = (struct imap_snapshot){ 0 };
}

void
imap_snapshot_clear(struct imap_snapshot *s)
{
	x_free(&s->uids);
	x_free(&s->states);
	*s = (struct imap_snapshot){ 0 };
}

void
imap_snapshot_add(struct imap_snapshot *s, uint32_t uid, bool is_recent)
{
	if (uid <= imap_snapshot_last_uid(s))
		bug("snapshot: uid %u behind %u", uid, imap_snapshot_last_uid(s));
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->uids = x_realloc(s->uids, s->cap, sizeof s->uids[0]);
		s->states = x_realloc(s->states, s->cap, sizeof s->states[0]);
	}
	s->uids[s->count] = uid;
	s->states[s->count] = is_recent ? SNAPSHOT_RECENT : 0;
	s->count++;
	s->recent += is_recent;
}

/* Index of the first UID that is not below uid. */
static size_t
lower_bound(const struct imap_snapshot *s, uint32_t uid)
{
	size_t low = 0, high = s->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->uids[mid] < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t
imap_snapshot_seq(const struct imap_snapshot *s, uint32_t uid)
{
	size_t i = lower_bound(s, uid);

	return i < s->count && s->uids[i] == uid ? (uint32_t)i + 1 : 0;
}

void
imap_snapshot_mark_recent(struct imap_snapshot *s, uint32_t seq)
{
	s->recent += !(s->states[seq - 1] & SNAPSHOT_RECENT);
	s->states[seq - 1] |= SNAPSHOT_RECENT;
}

void
imap_snapshot_mark_gone(struct imap_snapshot *s, uint32_t seq)
{
	if (s->states[seq - 1] & SNAPSHOT_GONE)
		return;
	s->states[seq - 1] |= SNAPSHOT_GONE;
	s->gone++;
}

uint32_t
imap_snapshot_next_gone(const struct imap_snapshot *s, uint32_t below)
{
	uint32_t seq = below;

	if (s->gone == 0)
		return 0;
	while (--seq > 0)
		if (s->states[seq - 1] & SNAPSHOT_GONE)
			return seq;
	return 0;
}

void
imap_snapshot_compact(struct imap_snapshot *s, uint32_t from)
{
	size_t to = from - 1;

	for (size_t i = from - 1; i < s->count; i++) {
		if (s->states[i] & SNAPSHOT_GONE) {
			s->gone--;
			s->recent -= (s->states[i] & SNAPSHOT_RECENT) != 0;
			continue;
		}
		s->uids[to] = s->uids[i];
		s->states[to++] = s->states[i];
	}
	s->count = to;
}

static size_t
count_selected(const struct imap_snapshot *s, const struct imap_seqset *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->count && n < s->count; i++)
		n += (size_t)(set->ranges[i].to - set->ranges[i].from) + 1;
	return n < s->count ? n : s->count;
}

uint32_t *
imap_snapshot_select(const struct imap_snapshot *s, struct imap_seqset *set, bool is_uid,
    struct arena *a, size_t *count)
{
	uint32_t *seqs;
	size_t n = 0;

	imap_seqset_resolve(set, is_uid ? imap_snapshot_last_uid(s) : (uint32_t)s->count);
	seqs = arena_alloc(a, (count_selected(s, set) + 1) * sizeof seqs[0]);
	if (seqs == NULL)
		return NULL;
	for (size_t r = 0; r < set->count; r++) {
		const struct imap_range *range = &set->ranges[r];
		size_t i = is_uid ? lower_bound(s, range->from) : range->from - 1;

		/* a range "0:n" comes of "*" in an empty mailbox */
		for (i = range->from == 0 ? 0 : i; i < s->count; i++) {
			if ((is_uid ? s->uids[i] : (uint32_t)i + 1) > range->to)
				break;
			seqs[n++] = (uint32_t)i + 1;
		}
	}
	*count = n;
	return seqs;
}
