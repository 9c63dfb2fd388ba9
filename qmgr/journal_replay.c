/* Reading the journal back at start.
 *
 * The rules of DESIGN 5: what an incomplete batch left at the very end was never acknowledged; an invalid
 * place with a valid record or a later segment behind it is damage, which is logged and costs nothing but
 * itself; a void record says where a poisoned segment, or the one an earlier life ended in, stops counting. */
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "qmgr/journal_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- first pass: voids ------------------------------------------------------------------------------- */
struct voids {
	struct journal_void *list; /* owned */
	size_t count;
	uint64_t number; /* of the segment being read */
};

static uint64_t
void_limit(const struct voids *v, uint64_t number)
{
	uint64_t limit = UINT64_MAX;

	for (size_t i = 0; i < v->count; i++)
		if (v->list[i].number == number && v->list[i].from < limit)
			limit = v->list[i].from;
	return limit;
}

static void
collect_void(void *arg, const struct record *r)
{
	struct voids *v = arg;
	struct journal_void new;

	if (r->type != RECORD_VOID || void_decode(r->content, &new.number, &new.from) < 0 ||
	    new.number >= v->number)
		return; /* only an older segment can be void */
	v->list = x_realloc(v->list, v->count + 1, sizeof *v->list);
	v->list[v->count++] = new;
}

/* From the youngest segment to the oldest, so that a void that is itself void does not count. */
static int
collect_voids(struct journal *j, struct voids *v, struct err *err)
{
	struct journal_segment *seg;

	TAILQ_FOREACH_REVERSE(seg, &j->segments, journal_segments, link)
	{
		struct segment_scan s = { .header = &seg->header,
			.limit = void_limit(v, seg->header.number),
			.on_record = collect_void,
			.arg = v };
		struct segment_bytes bytes;

		if (seg->is_spare)
			continue;
		if (segment_load(j->dir_fd, &seg->header, &bytes, err) < 0)
			return -1;
		if (bytes.unreadable > 0)
			log_error("journal: %zu bytes of segment %016llx cannot be read",
			    bytes.unreadable, (unsigned long long)seg->header.number);
		v->number = seg->header.number;
		s.bytes = view_make(bytes.p, bytes.len);
		segment_scan(&s);
		free(bytes.p);
	}
	return 0;
}

/* --- second pass: the records ------------------------------------------------------------------------- */
struct replay {
	void (*on_record)(void *arg, const struct record *r, struct journal_segment *s);
	void *arg;
	struct journal_segment *seg;
};

static void
replay_record(void *arg, const struct record *r)
{
	const struct replay *p = arg;

	p->on_record(p->arg, r, p->seg);
}

static void
report(struct journal_segment *seg, const struct segment_scan *s, bool is_last)
{
	unsigned long long number = seg->header.number, at = s->hole_at;

	/* Without a void, a segment that another one follows had been closed after its last flush. */
	if (s->hole_at != 0 && (s->is_damaged || (!is_last && s->limit == UINT64_MAX))) {
		seg->is_corrupt = true;
		log_error(
		    "journal: segment %016llx is corrupt at offset %llu: everything else in it "
		    "is used, and the file is kept in corrupt/",
		    number, at);
	} else if (s->hole_at != 0 || s->incomplete > 0) {
		log_warn(
		    "journal: segment %016llx ends in an incomplete batch at offset %llu, which "
		    "was never acknowledged",
		    number, at != 0 ? at : (unsigned long long)s->end);
	}
}

static struct journal_segment *
last_used(struct journal *j)
{
	struct journal_segment *seg = TAILQ_LAST(&j->segments, journal_segments);

	while (seg != NULL && seg->is_spare)
		seg = TAILQ_PREV(seg, journal_segments, link);
	return seg;
}

static int
replay_segment(struct journal *j, struct replay *p, uint64_t limit, struct err *err)
{
	struct journal_segment *seg = p->seg;
	struct segment_scan s = {
		.header = &seg->header, .limit = limit, .on_record = replay_record, .arg = p
	};
	bool is_last = seg == last_used(j);
	struct segment_bytes bytes;

	if (segment_load(j->dir_fd, &seg->header, &bytes, err) < 0)
		return -1;
	s.bytes = view_make(bytes.p, bytes.len);
	segment_scan(&s);
	free(bytes.p);
	if (bytes.len < seg->header.size && !is_last)
		s.is_damaged = s.hole_at != 0;
	report(seg, &s, is_last);
	/* Whatever the last life left behind this point never counts, now and at later starts. */
	if (is_last)
		journal_voids_add(j, seg->header.number, s.end);
	return 0;
}

int
journal_replay(struct journal *j,
    void (*on_record)(void *arg, const struct record *r, struct journal_segment *s), void *arg,
    struct err *err)
{
	struct replay p = { .on_record = on_record, .arg = arg };
	struct voids v = { 0 };
	struct journal_segment *seg;
	int r = collect_voids(j, &v, err);

	TAILQ_FOREACH (seg, &j->segments, link) {
		if (r < 0 || seg->is_spare)
			continue;
		p.seg = seg;
		r = replay_segment(j, &p, void_limit(&v, seg->header.number), err);
	}
	free(v.list);
	return r;
}
