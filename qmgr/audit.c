#include "qmgr/audit.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "qmgr/deferred.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW = 8, DEAD_MAX = 65536, ARENA_MAX = 256 << 20 };

/* One recipient in a byte. */
enum {
	STATUS = 3, /* enum rcpt_status */
	RELAYED = 4,
	REPEATED = 8,
	EXPIRED = 16, /* failed for now, and then time was up */
	SILENT = 32,  /* nobody is to be told of a failure */
	DOUBLED = 64,
};

enum item_state {
	ITEM_IN_JOURNAL,
	ITEM_MOVED, /* to a deferred file */
	ITEM_LOST,  /* which is not there; the record's end must say why */
	ITEM_GONE,  /* finished, and counted */
};

/* A message; in the order of ids, which is nearly that of the record. */
struct item {
	uint64_t us, segment;
	uint32_t life, nrcpts;
	union {
		uint8_t few[FEW];
		uint8_t *many; /* owned */
	} rcpts;
	uint32_t offset; /* of its record in the segment, as it was when it was read */
	uint8_t state;   /* enum item_state */
};

struct audit {
	struct audit_options o;
	struct audit_totals *t;
	int journal_fd, ledger_fd; /* -1: there is none yet */
	struct item *items;        /* owned */
	size_t count, cap, dead;
	uint64_t segment; /* the one being read */
	uint64_t oldest;  /* of the journal, when it was listed */
	uint64_t read_to; /* segments up to this one were read */
	int tail_fd;      /* owned: the last one of them, -1 = none */
	struct segment_header tail;
	uint64_t tail_at; /* and how far */
	bool tail_is_ledger;
	/* the last segment in which an address was looked for */
	struct segment_header known;
	struct segment_bytes known_bytes;
};

/* --- findings ------------------------------------------------------------------------------------------- */
struct address {
	struct queue_id id;
	uint32_t rcpt;
	char *found; /* owned */
};

static void
address_of(void *arg, const struct record *r)
{
	struct address *a = arg;
	struct message_head head;
	struct view envelope, headers, body;
	struct envelope env;
	struct arena arena;

	if (r->type != RECORD_MESSAGE || a->found != NULL || queue_id_compare(r->id, a->id) != 0)
		return;
	arena_init(&arena, ARENA_MAX);
	if (message_record_decode(r->content, &head, &envelope, &headers, &body, NULL) == 0 &&
	    envelope_decode(envelope, &arena, &env, NULL) == 0 && a->rcpt < env.nrcpts)
		a->found = x_strdup(env.rcpts[a->rcpt].address);
	arena_clear(&arena);
}

static bool
load_known(struct audit *a, uint64_t number)
{
	const int dirs[] = { a->journal_fd, a->ledger_fd };
	struct err e;

	if (a->known_bytes.p != NULL && a->known.number == number)
		return true;
	x_free(&a->known_bytes.p);
	for (size_t i = 0; i < 2; i++)
		if (dirs[i] >= 0 && segment_find(dirs[i], number, &a->known, &e) == 0 &&
		    segment_load(dirs[i], &a->known, &a->known_bytes, &e) == 0)
			return true;
	return false;
}

static void
find_address(struct audit *a, const struct item *m, struct address *who)
{
	struct segment_scan s = {
		.header = &a->known, .limit = UINT64_MAX, .on_record = address_of, .arg = who
	};
	struct record r;

	if (!load_known(a, m->segment))
		return;
	s.bytes = view_make(a->known_bytes.p, a->known_bytes.len);
	if (record_read(s.bytes, s.header, m->offset, &r))
		address_of(who, &r);
	if (who->found == NULL) /* what was read there was the segment, and this is its copy */
		segment_scan(&s);
}

static void
find(struct audit *a, enum audit_kind kind, const struct item *m, uint32_t rcpt, const char *text)
{
	struct audit_finding f = { .kind = kind, .text = text, .recipient = "" };
	struct address who = { .rcpt = rcpt };

	if (m != NULL) {
		who.id = (struct queue_id){ m->us, m->life };
		queue_id_format(who.id, f.id);
		find_address(a, m, &who);
	}
	if (who.found != NULL)
		f.recipient = who.found;
	a->o.on_finding(a->o.arg, &f);
	free(who.found);
}

static void
find_hole(struct audit *a, uint64_t number, const char *why)
{
	char *text = x_asprintf("segment %016llx: %s", (unsigned long long)number, why);

	a->t->holes++;
	find(a, AUDIT_HOLE, NULL, 0, text);
	free(text);
}

/* --- messages -------------------------------------------------------------------------------------------- */
static uint8_t *
rcpts_of(struct item *m)
{
	return m->nrcpts > FEW ? m->rcpts.many : m->rcpts.few;
}

/* First item whose id is not less. */
static size_t
place_of(const struct audit *a, struct queue_id id)
{
	size_t low = 0, high = a->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct item *m = &a->items[mid];

		if (queue_id_compare((struct queue_id){ m->us, m->life }, id) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct item *
item_find(struct audit *a, struct queue_id id)
{
	size_t at = place_of(a, id);

	return at < a->count && a->items[at].us == id.us && a->items[at].life == id.life
		   ? &a->items[at]
		   : NULL;
}

static void
drop_dead(struct audit *a)
{
	size_t kept = 0;

	for (size_t i = 0; i < a->count; i++) {
		struct item *m = &a->items[i];

		if (m->state != ITEM_GONE)
			a->items[kept++] = *m;
		else if (m->nrcpts > FEW)
			free(m->rcpts.many);
	}
	a->count = kept;
	a->dead = 0;
}

static struct item *
item_add(struct audit *a, const struct record *r, uint32_t nrcpts)
{
	struct item *m;
	size_t at;

	if (a->dead > DEAD_MAX && a->dead > a->count / 2)
		drop_dead(a);
	if (a->count == a->cap) {
		a->cap = a->cap == 0 ? 1024 : a->cap + a->cap / 2;
		a->items = x_realloc(a->items, a->cap, sizeof *a->items);
	}
	at = place_of(a, r->id);
	m = &a->items[at];
	memmove(m + 1, m, (a->count - at) * sizeof *m);
	a->count++;
	*m = (struct item){ .us = r->id.us,
		.life = r->id.life,
		.offset = r->offset,
		.segment = a->segment,
		.nrcpts = nrcpts };
	if (nrcpts > FEW)
		m->rcpts.many = x_calloc(nrcpts, 1);
	return m;
}

/* Counts a recipient for good. */
static void
count_rcpt(struct audit *a, struct item *m, uint32_t i, bool is_queued, const char *why_missing)
{
	uint8_t r = rcpts_of(m)[i];

	switch ((enum rcpt_status)(r & STATUS)) {
	case RCPT_PENDING:
		a->t->queued += is_queued;
		a->t->missing += !is_queued;
		if (!is_queued)
			find(a, AUDIT_MISSING, m, i, why_missing);
		break;
	case RCPT_SENT:
		a->t->relayed += (r & RELAYED) != 0;
		a->t->delivered += (r & RELAYED) == 0;
		break;
	case RCPT_FAILED:
		if (r & SILENT)
			a->t->dropped++;
		else if (r & EXPIRED)
			a->t->expired++;
		else
			a->t->returned++;
		break;
	case RCPT_DELETED:
		a->t->deleted++;
		break;
	}
	if (r & REPEATED) {
		a->t->possible++;
		find(a, AUDIT_POSSIBLE, m, i, "sent again after a crash");
	}
}

static void
item_end(struct audit *a, struct item *m, bool is_queued, const char *why_missing)
{
	for (uint32_t i = 0; i < m->nrcpts; i++)
		count_rcpt(a, m, i, is_queued, why_missing);
	m->state = ITEM_GONE;
	a->dead++;
}

/* again: what the record may say a second time, at the end of a file. */
static void
take_outcome(struct audit *a, struct item *m, const struct outcome *o, bool again)
{
	enum rcpt_status old;
	uint8_t *r;

	if (o->rcpt >= m->nrcpts)
		return;
	r = &rcpts_of(m)[o->rcpt];
	old = (enum rcpt_status)(*r & STATUS);
	if (old == RCPT_PENDING) {
		*r |= (uint8_t)(o->status | (o->is_relayed ? RELAYED : 0) |
				(o->is_repeated ? REPEATED : 0) |
				(o->status == RCPT_FAILED && o->dsn[0] == '4' ? EXPIRED : 0));
		return;
	}
	if ((*r & DOUBLED) != 0 || (old == o->status ? old != RCPT_SENT || again
						     : old != RCPT_SENT && o->status != RCPT_SENT))
		return;
	*r |= DOUBLED;
	a->t->doubled++;
	find(a, AUDIT_DOUBLE, m, o->rcpt,
	    old == o->status ? "sent twice" : "sent, and another outcome");
}

static void
take_message(struct audit *a, const struct record *r)
{
	struct message_head head;
	struct view envelope, headers, body;
	struct envelope env;
	struct arena arena;
	struct item *m;

	if (r->id.us < a->o.since_us || item_find(a, r->id) != NULL)
		return;
	arena_init(&arena, ARENA_MAX);
	if (message_record_decode(r->content, &head, &envelope, &headers, &body, NULL) == 0 &&
	    envelope_decode(envelope, &arena, &env, NULL) == 0) {
		m = item_add(a, r, (uint32_t)env.nrcpts);
		for (size_t i = 0; i < env.nrcpts; i++)
			if (env.sender[0] == '\0' || (env.rcpts[i].notify & NOTIFY_NEVER) != 0)
				rcpts_of(m)[i] |= SILENT;
		a->t->messages++;
		a->t->notices += (env.flags & ENVELOPE_BOUNCE) != 0;
		a->t->recipients += env.nrcpts;
	} else {
		find_hole(a, a->segment, "a message cannot be read");
	}
	arena_clear(&arena);
}

static void
take_record(void *arg, const struct record *r)
{
	struct audit *a = arg;
	struct item *m;
	struct outcome o;
	size_t at = 0;

	if (r->type == RECORD_MESSAGE) {
		take_message(a, r);
		return;
	}
	if ((m = item_find(a, r->id)) == NULL)
		return; /* accepted before the record begins, or of no interest */
	if (r->type == RECORD_OUTCOME || r->type == RECORD_FINISHED)
		while (outcomes_next(r->content, &at, &o) > 0)
			take_outcome(a, m, &o, r->type == RECORD_FINISHED);
	if (m->state == ITEM_GONE)
		return;
	if (r->type == RECORD_DONE || r->type == RECORD_FINISHED)
		item_end(a, m, false, "the record ends it without an outcome");
	else if (r->type == RECORD_MOVED)
		m->state = ITEM_MOVED;
}

/* --- the record ------------------------------------------------------------------------------------------- */
/* Reads tail, from where it was left; false: there is a hole in it. */
static bool
read_tail(struct audit *a, uint64_t limit, bool is_last)
{
	const struct segment_header *h = &a->tail;
	struct segment_scan s = {
		.header = h, .from = a->tail_at, .limit = limit, .on_record = take_record, .arg = a
	};
	struct segment_bytes bytes;

	a->segment = h->number;
	if (segment_load_fd(a->tail_fd, h, &bytes, NULL) < 0)
		return false;
	s.bytes = view_make(bytes.p, bytes.len);
	segment_scan(&s);
	free(bytes.p);
	a->tail_at = s.settled;
	if (a->tail_is_ledger)
		return ledger_is_complete(h, &s);
	return s.hole_at == 0 || (!s.is_damaged && (is_last || limit != UINT64_MAX));
}

/* The file stays open, so that what came to it later can be read even when it has no name any more. */
static int
open_tail(struct audit *a, int dir, uint64_t number, bool *is_blank)
{
	struct segment_header h;
	char name[SEGMENT_NAME];
	struct err e;
	int fd;

	*is_blank = false;
	segment_name(number, name);
	fd = open_beneath(dir, name, O_RDONLY, 0);
	if (fd < 0)
		return -1;
	if (segment_header_read(fd, number, &h, is_blank, &e) < 0) {
		fd_close(&fd);
		return -1;
	}
	fd_close(&a->tail_fd);
	a->tail_fd = fd;
	a->tail = h;
	a->tail_at = 0;
	a->tail_is_ledger = dir == a->ledger_fd;
	if (a->t->begins_ms == 0)
		a->t->begins_ms = (int64_t)h.made_ms;
	return 0;
}

/* Its messages are older than since: the next segment knows the latest id given out before it. */
static bool
is_too_old(const struct audit *a, const struct segment_numbers *l, size_t i)
{
	struct segment_header next;
	struct err e;

	return a->o.since_us > 0 && i + 1 < l->count &&
	       segment_find(a->ledger_fd, l->list[i + 1], &next, &e) == 0 &&
	       next.last_us < a->o.since_us;
}

static bool
is_last_used(const struct audit *a, const struct segment_numbers *j, uint64_t number)
{
	struct segment_header h;
	struct err e;

	for (size_t i = j->count; i-- > 0 && j->list[i] > number;)
		if (segment_find(a->journal_fd, j->list[i], &h, &e) == 0)
			return false;
	return true;
}

static void
read_ledger_file(struct audit *a, uint64_t number)
{
	bool is_blank;

	if (open_tail(a, a->ledger_fd, number, &is_blank) < 0 || !read_tail(a, UINT64_MAX, false))
		find_hole(a, number, "its copy is not whole");
	a->read_to = number;
}

static void
read_journal_file(struct audit *a, const struct segment_numbers *j, uint64_t number)
{
	bool is_blank, is_last = is_last_used(a, j, number);

	if (open_tail(a, a->journal_fd, number, &is_blank) < 0) {
		struct segment_header h;
		struct err e;

		if (segment_find(a->ledger_fd, number, &h, &e) ==
		    0) /* it was moved there just now */
			read_ledger_file(a, number);
		else if (!is_blank && !is_last)
			find_hole(a, number, "it has no header");
		return;
	}
	if (!read_tail(a, segment_void_limit(a->journal_fd, j, number), is_last))
		find_hole(a, number, "damaged");
	a->read_to = number;
}

/* The journal is listed first: what is moved meanwhile is seen in one of both. */
static int
read_record(struct audit *a, struct err *err)
{
	struct segment_numbers j = { 0 }, l = { 0 };
	size_t i = 0, k = 0;
	int r = -1;

	if (segment_list(a->journal_fd, &j, err) < 0 ||
	    (a->ledger_fd >= 0 && segment_list(a->ledger_fd, &l, err) < 0))
		goto out;
	a->oldest = j.count > 0 ? j.list[0] : UINT64_MAX;
	if (a->tail_fd >= 0 && !a->tail_is_ledger)
		read_tail(a, segment_void_limit(a->journal_fd, &j, a->tail.number), true);
	while (i < j.count || k < l.count) {
		bool in_journal = k == l.count || (i < j.count && j.list[i] <= l.list[k]);
		uint64_t number = in_journal ? j.list[i] : l.list[k];

		if (number > a->read_to && in_journal)
			read_journal_file(a, &j, number);
		else if (number > a->read_to && !is_too_old(a, &l, k))
			read_ledger_file(a, number);
		i += in_journal;
		k += k < l.count && l.list[k] == number;
	}
	r = 0;
out:
	free(j.list);
	free(l.list);
	return r;
}

/* What qmgr found damaged, and kept. */
static void
look_for_damage(struct audit *a)
{
	int fd = open_beneath(a->o.root_fd, "corrupt", O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (d == NULL) {
		fd_close(&fd);
		return;
	}
	while ((de = readdir(d)) != NULL) {
		struct view rest = view_of(de->d_name);
		struct stat st;

		if (!view_starts(rest, "journal-") ||
		    fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if ((int64_t)st.st_mtim.tv_sec * 1000 >= a->t->begins_ms &&
		    (uint64_t)st.st_mtim.tv_sec * 1000000 >= a->o.since_us)
			find_hole(a, strtoull(de->d_name + strlen("journal-"), NULL, 16),
			    "damaged, and kept in corrupt/");
	}
	closedir(d);
}

/* --- what is not finished ----------------------------------------------------------------------------------- */
static bool
is_set_aside(const struct audit *a, struct queue_id id)
{
	char text[QUEUE_ID_TEXT], path[64];
	struct stat st;

	queue_id_format(id, text);
	snprintf(path, sizeof path, "corrupt/deferred-%s", text);
	return fstatat(a->o.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A crash between the file and `moved` leaves the file as the truth all the same.  A file says what came of those that have a slot, and who is still waiting. */
static void
look_at_file(struct audit *a, struct item *m)
{
	struct deferred_file f;
	struct err e;
	bool *waits;

	if (deferred_load_envelope(a->o.root_fd, (struct queue_id){ m->us, m->life }, &f, &e) < 0) {
		if (e.kind != ERR_GONE)
			item_end(a, m, false, e.text);
		else if (m->state == ITEM_MOVED || m->segment < a->oldest)
			m->state = ITEM_LOST;
		return;
	}
	waits = x_calloc(m->nrcpts, sizeof *waits);
	for (uint32_t i = 0; i < f.head.nslots; i++) {
		const struct deferred_slot *s = &f.slots[i];
		struct outcome o = { .rcpt = s->rcpt,
			.status = s->status,
			.is_relayed = s->is_relayed,
			.is_repeated = s->is_repeated };

		memcpy(o.dsn, s->dsn, sizeof o.dsn);
		if (s->rcpt < m->nrcpts && s->status == RCPT_PENDING)
			waits[s->rcpt] = true;
		else
			take_outcome(a, m, &o, true);
	}
	for (uint32_t i = 0; i < m->nrcpts; i++)
		count_rcpt(a, m, i, waits[i] || f.lost_slots > 0,
		    "neither the record nor its deferred file says what came of it");
	m->state = ITEM_GONE;
	a->dead++;
	free(waits);
	deferred_file_clear(&f);
}

/* Files that are not there have been removed since the record was read, which says so further on - or never. */
static bool
look_at_files(struct audit *a)
{
	bool any_lost = false;

	for (size_t i = 0; i < a->count; i++) {
		struct item *m = &a->items[i];

		if (m->state == ITEM_LOST)
			item_end(a, m, false,
			    is_set_aside(a, (struct queue_id){ m->us, m->life })
				? "its deferred file is damaged and kept in corrupt/"
				: "its deferred file has gone");
		else if (m->state != ITEM_GONE)
			look_at_file(a, m);
		any_lost = any_lost || m->state == ITEM_LOST;
	}
	return any_lost;
}

/* What its segment still holds is in the queue. */
static void
end_rest(struct audit *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->items[i].state != ITEM_GONE)
			item_end(a, &a->items[i], true, "");
}

int
audit_run(const struct audit_options *o, struct audit_totals *out, struct err *err)
{
	struct audit a = { .o = *o, .t = out, .tail_fd = -1 };
	bool any_lost = true;
	int r = -1;

	*out = (struct audit_totals){ 0 };
	a.journal_fd = open_beneath(o->root_fd, "journal", O_RDONLY | O_DIRECTORY, 0);
	a.ledger_fd = open_beneath(o->root_fd, "ledger", O_RDONLY | O_DIRECTORY, 0);
	if (a.journal_fd < 0) {
		err_sys(err, ERR_TEMP, "open journal");
		goto out;
	}
	while (any_lost) {
		if (read_record(&a, err) < 0)
			goto out;
		any_lost = look_at_files(&a);
	}
	end_rest(&a);
	look_for_damage(&a);
	r = 0;
out:
	for (size_t i = 0; i < a.count; i++)
		a.items[i].state = ITEM_GONE;
	drop_dead(&a);
	free(a.items);
	free(a.known_bytes.p);
	fd_close(&a.tail_fd);
	fd_close(&a.journal_fd);
	fd_close(&a.ledger_fd);
	return r;
}
