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

enum { SECTOR = 4096 };

/* One segment in memory and what a walk through it found. */
struct scan {
	const struct segment_header *header;
	struct view bytes;
	uint64_t limit;    /* records from here on are void */
	uint64_t end;      /* behind the last intact record */
	uint64_t hole_at;  /* first invalid place, 0 = none */
	bool hole_is_tail; /* nothing intact follows any hole */
	bool is_damaged;   /* a hole that no interrupted batch explains */
	uint64_t last_batch;
	void (*on_record)(void *arg, const struct record *r, const struct scan *s);
	void *arg;
};

static bool
rest_is_blank(struct view bytes, uint64_t from)
{
	const char *p = bytes.p + from;
	size_t len = bytes.len - from;

	return len == 0 || (p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0);
}

static void
note_hole(struct scan *s, uint64_t at, const struct record *next)
{
	if (s->hole_at == 0)
		s->hole_at = at;
	if (next == NULL)
		s->hole_is_tail = true;
	else if (next->batch > at)
		s->is_damaged = true; /* a later batch was begun: this one had been flushed */
}

static void
scan_walk(struct scan *s)
{
	uint64_t off = SEGMENT_RECORDS_AT;
	struct record r;

	s->end = off;
	while (off < s->limit && off < s->bytes.len) {
		if (!record_read(s->bytes, s->header, off, &r)) {
			if (rest_is_blank(s->bytes, off))
				return;
			if (!record_search(s->bytes, s->header, off + RECORD_ALIGN, &r) ||
			    r.offset >= s->limit) {
				note_hole(s, off, NULL);
				return;
			}
			note_hole(s, off, &r);
		}
		s->last_batch = r.batch;
		s->on_record(s->arg, &r, s);
		off = r.offset + record_size(r.content.len);
		s->end = off;
	}
}

/* A sector that cannot be read costs its own records: it is taken for zeros, and the walk finds the damage. */
static void
read_around_faults(int fd, char *p, size_t len, const char *name)
{
	size_t lost = 0;

	for (size_t at = 0; at < len; at += SECTOR) {
		size_t n = len - at < SECTOR ? len - at : SECTOR;

		if (fd_pread_all(fd, p + at, n, (off_t)at, NULL) == 0)
			continue;
		memset(p + at, 0, n);
		lost += n;
	}
	log_error("journal: %zu bytes of segment %s cannot be read", lost, name);
}

static int
load_segment(struct journal *j, const struct journal_segment *seg, char **bytes, size_t *len,
    struct err *err)
{
	char name[JOURNAL_NAME];
	struct stat st;
	int fd, r = -1;

	*bytes = NULL;
	journal_name(seg->header.number, name);
	fd = open_beneath(j->dir_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "journal: open %s", name);
	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "journal: fstat %s", name);
		goto out;
	}
	/* what is missing of a file that was cut short is damage for the walk to find */
	*len = (size_t)((uint64_t)st.st_size < seg->header.size ? (uint64_t)st.st_size
								: seg->header.size);
	*bytes = x_malloc(*len + 1);
	if (fd_pread_all(fd, *bytes, *len, 0, err) < 0)
		read_around_faults(fd, *bytes, *len, name);
	r = 0;
out:
	fd_close(&fd);
	return r;
}

/* --- first pass: voids ------------------------------------------------------------------------------- */
struct voids {
	struct journal_void *list; /* owned */
	size_t count;
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
collect_void(void *arg, const struct record *r, const struct scan *s)
{
	struct voids *v = arg;
	struct journal_void new;

	if (r->type != RECORD_VOID || void_decode(r->content, &new.number, &new.from) < 0 ||
	    new.number >= s->header->number)
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
		struct scan s = { .header = &seg->header,
			.limit = void_limit(v, seg->header.number),
			.on_record = collect_void,
			.arg = v };
		char *bytes;

		if (seg->is_spare)
			continue;
		if (load_segment(j, seg, &bytes, &s.bytes.len, err) < 0)
			return -1;
		s.bytes.p = bytes;
		scan_walk(&s);
		free(bytes);
	}
	return 0;
}

/* --- second pass: the records, whole groups only --------------------------------------------------------- */
struct groups {
	void (*on_record)(void *arg, const struct record *r, struct journal_segment *s);
	void *arg;
	struct journal_segment *seg;
	struct record held[JOURNAL_RECORDS]; /* of a group that has not ended */
	unsigned nheld;
	unsigned incomplete; /* groups given up */
};

static bool
continues(const struct groups *g, const struct record *r)
{
	const struct record *last = &g->held[g->nheld - 1];

	return r->batch == last->batch && g->nheld < JOURNAL_RECORDS &&
	       r->offset == last->offset + record_size(last->content.len);
}

static void
group_drop(struct groups *g)
{
	if (g->nheld > 0)
		g->incomplete++;
	g->nheld = 0;
}

static void
collect_group(void *arg, const struct record *r, const struct scan *s)
{
	struct groups *g = arg;

	(void)s;
	if (g->nheld > 0 && !continues(g, r))
		group_drop(g);
	g->held[g->nheld++] = *r;
	if (r->flags & RECORD_MORE)
		return;
	for (unsigned i = 0; i < g->nheld; i++)
		g->on_record(g->arg, &g->held[i], g->seg);
	g->nheld = 0;
}

static void
report(struct journal_segment *seg, const struct scan *s, bool is_last, unsigned incomplete)
{
	unsigned long long number = seg->header.number, at = s->hole_at;

	/* Without a void, a segment that another one follows had been closed after its last flush. */
	if (s->hole_at != 0 && (s->is_damaged || (!is_last && s->limit == UINT64_MAX))) {
		seg->is_corrupt = true;
		log_error(
		    "journal: segment %016llx is corrupt at offset %llu: everything else in it "
		    "is used, and the file is kept in corrupt/",
		    number, at);
	} else if (s->hole_at != 0 || incomplete > 0) {
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
replay_segment(struct journal *j, struct journal_segment *seg, struct groups *g, uint64_t limit,
    struct err *err)
{
	struct scan s = {
		.header = &seg->header, .limit = limit, .on_record = collect_group, .arg = g
	};
	bool is_last = seg == last_used(j);
	char *bytes;

	if (load_segment(j, seg, &bytes, &s.bytes.len, err) < 0)
		return -1;
	s.bytes.p = bytes;
	g->seg = seg;
	g->incomplete = 0;
	scan_walk(&s);
	group_drop(g);
	free(bytes);
	if (s.bytes.len < seg->header.size && !is_last)
		s.is_damaged = s.hole_at != 0;
	report(seg, &s, is_last, g->incomplete);
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
	struct groups g = { .on_record = on_record, .arg = arg };
	struct voids v = { 0 };
	struct journal_segment *seg;
	int r = collect_voids(j, &v, err);

	TAILQ_FOREACH (seg, &j->segments, link) {
		if (r < 0 || seg->is_spare)
			continue;
		r = replay_segment(j, seg, &g, void_limit(&v, seg->header.number), err);
	}
	free(v.list);
	return r;
}
