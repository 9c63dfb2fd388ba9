/* imap_seqset.h - sets of message numbers or UIDs (RFC 3501 9, sequence-set). */
#ifndef IMAPD_IMAP_SEQSET_H
#define IMAPD_IMAP_SEQSET_H

#include "common/base/arena.h"
#include "common/base/buf.h"

struct imap_range {
	uint32_t from,
	    to; /* as parsed, 0 stands for "*"; once resolved from <= to and neither is 0 */
};
struct imap_seqset {
	struct imap_range *ranges; /* in the arena */
	size_t count;
	bool is_resolved;
};

/* Takes a sequence set off the front of *in, as far as its characters go.  -1: malformed, or the arena is full. */
int imap_seqset_parse(struct view *in, struct arena *a, struct imap_seqset *out);
/* Puts `last` for every "*", sorts, joins what touches. */
void imap_seqset_resolve(struct imap_seqset *set, uint32_t last);
/* Only on resolved sets: */
bool imap_seqset_has(const struct imap_seqset *set, uint32_t n);
/* Largest number that was written out (0: only "*"); before it is resolved. */
uint32_t imap_seqset_max_number(const struct imap_seqset *set);

/* Writes numbers as a set, runs as ranges, in the order given ("3,5:7"): COPYUID and its kin (RFC 4315 3). */
int imap_seqset_write(struct buf *out, const uint32_t *numbers, size_t count);

#endif
