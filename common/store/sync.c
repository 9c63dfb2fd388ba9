/* Bringing the index up to date with the directory.
 *
 * A directory is read only when its time differs from the one recorded, or when it was read so shortly after its
 * last change that a further change could hide behind the same time stamp.  A delivery changes new/ only, so only
 * new/ is read, which is short: no storm of readdir in a large mailbox.
 *
 * Order: files are renamed, then records of new UIDs are synced into dovecot-uidlist, then the index commits.
 * Whatever a crash leaves undone is found by the next pass; a UID never shown may be skipped, one that was shown
 * stands in the uidlist.
 */
#include "common/store/store_internal.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
enum { MAX_FILES = 20 * 1000 * 1000 };

/* One file, or one message that the index knows.  base_len bytes of name (and of found) are its identity. */
struct entry {
	const char *name;  /* arena: as the index has it, or as it was met first */
	const char *found; /* arena: its name on disk when that is another one */
	uint32_t uid;      /* 0: not in the index */
	uint8_t base_len, place, found_place;
	bool is_seen;
};
struct line { /* of dovecot-uidlist; views into sync.text */
	struct view fields, base;
	uint32_t uid;
};
struct fresh {
	const struct entry *entry;
	const struct line *line; /* NULL: it has none, or one that cannot count */
	struct arrival arrival;
	char name[MAILDIR_NAME_MAX + 1]; /* now, after claiming */
	uint8_t place;
	bool was_new;
	uint32_t uid;
	uint64_t disk_size, size;
	int64_t mtime_s, ctime_s;
};
/* Open addressing over an array; a slot holds index + 1. */
struct base_table {
	uint32_t *slots;
	size_t mask;
};

struct sync {
	struct folder *f;
	unsigned how;
	bool read_new, read_cur, reconcile, rewrite, is_first;
	int64_t new_mtime_ns, cur_mtime_ns, scan_ns; /* when this pass began */
	bool moved;                                  /* we renamed files ourselves */
	struct arena strings;
	struct entry *entries;
	size_t nentries, cap, nknown;
	struct base_table table;
	struct buf text;
	struct uidlist_header header;
	struct line *lines;
	size_t nlines, lines_cap, faults;
	struct base_table line_table;
	struct fresh *fresh;
	size_t nfresh;
	struct extra_set {
		uint32_t uid;
		size_t line;
		struct keyword_set set;
	} *extras; /* of the first import: keywords beyond the letters */
	size_t nextras, extras_cap;
};

/* --- tables by base name ------------------------------------------------------------------------------------ */

static size_t
slot_of(const struct base_table *t, struct view base)
{
	return crc32c(0, base.p, base.len) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & t->mask;
}

static void
table_init(struct base_table *t, size_t count)
{
	size_t size = 64;

	while (size < count * 2)
		size *= 2;
	free(t->slots);
	t->slots = x_calloc(size, sizeof *t->slots);
	t->mask = size - 1;
}

static struct view
entry_base(const struct entry *e)
{
	return view_make(e->name, e->base_len);
}

static struct entry *
find_entry(struct sync *s, struct view base)
{
	for (size_t i = slot_of(&s->table, base); s->table.slots[i] != 0; i = (i + 1) & s->table.mask) {
		struct entry *e = &s->entries[s->table.slots[i] - 1];

		if (view_eq(entry_base(e), base))
			return e;
	}
	return NULL;
}

static void
insert_entry(struct sync *s, size_t index)
{
	size_t i = slot_of(&s->table, entry_base(&s->entries[index]));

	while (s->table.slots[i] != 0)
		i = (i + 1) & s->table.mask;
	s->table.slots[i] = (uint32_t)index + 1;
}

static struct entry *
add_entry(struct sync *s, struct err *err)
{
	if (s->nentries == MAX_FILES) {
		err_set(err, ERR_LIMIT, "more than %d messages in %s", MAX_FILES, s->f->disk);
		return NULL;
	}
	if (s->nentries == s->cap) {
		s->cap = s->cap < 64 ? 64 : s->cap * 2;
		s->entries = x_realloc(s->entries, s->cap, sizeof *s->entries);
	}
	s->entries[s->nentries] = (struct entry){ 0 };
	return &s->entries[s->nentries++];
}

static void
index_entry(struct sync *s)
{
	if (s->nentries * 2 > s->table.mask) {
		table_init(&s->table, s->nentries * 2);
		for (size_t i = 0; i < s->nentries; i++)
			insert_entry(s, i);
	} else {
		insert_entry(s, s->nentries - 1);
	}
}

/* --- reading the directories ------------------------------------------------------------------------------------ */

static char *
keep_name(struct sync *s, const char *name, struct err *err)
{
	char *copy = arena_strdup(&s->strings, name);

	if (copy == NULL)
		err_set(err, ERR_LIMIT, "too many names in %s", s->f->disk);
	return copy;
}

static int
add_fresh_entry(struct sync *s, uint8_t place, const char *name, size_t base_len, struct err *err)
{
	char *copy = keep_name(s, name, err);
	struct entry *e = copy == NULL ? NULL : add_entry(s, err);

	if (e == NULL)
		return -1;
	*e = (struct entry){ .name = copy, .base_len = (uint8_t)base_len, .place = place, .is_seen = true };
	index_entry(s);
	return 0;
}

static const char *
sub_of(uint8_t place)
{
	return place == PLACE_NEW ? "new" : "cur";
}

static bool
stat_file(struct folder *f, uint8_t place, const char *name, struct stat *st)
{
	char path[MAILDIR_NAME_MAX + 8];

	snprintf(path, sizeof path, "%s/%s", sub_of(place), name);
	return fstatat(f->dir_fd, path, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

/* A second file with the base name of another gets a name of its own: one base is one message. */
static int
give_own_name(struct sync *s, uint8_t place, const char *name, struct err *err)
{
	char base[MAILDIR_NAME_MAX + 1], from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	char full[MAILDIR_NAME_MAX + 1];
	struct maildir_name n;

	maildir_name_parse(view_of(name), &n);
	store_unique_name(s->f->store, base, sizeof base);
	n.base = view_of(base);
	if (place == PLACE_NEW)
		memcpy(full, base, strlen(base) + 1);
	else if (maildir_name_format(&n, full) < 0)
		return 0;
	snprintf(from, sizeof from, "%s/%s", sub_of(place), name);
	snprintf(to, sizeof to, "%s/%s", sub_of(place), full);
	if (rename_exclusive(s->f->dir_fd, from, s->f->dir_fd, to, err) < 0)
		return 0; /* it went, or is in the way again at the next pass */
	log_warn("%s: two files with the same base name: %s is now %s", s->f->disk, lqs(name), full);
	s->moved = true;
	return add_fresh_entry(s, place, full, strlen(base), err);
}

/* The base was met before in this pass: another program renamed the file while we read, or there are two. */
static int
meet_again(struct sync *s, struct entry *e, uint8_t place, const char *name, struct err *err)
{
	uint8_t first_place = e->found != NULL ? e->found_place : e->place;
	const char *first = e->found != NULL ? e->found : e->name;
	struct stat a, b;
	char path[MAILDIR_NAME_MAX + 8];

	if (first_place == place && strcmp(first, name) == 0)
		return 0;
	if (!stat_file(s->f, place, name, &b))
		return 0;
	if (!stat_file(s->f, first_place, first, &a)) {
		e->found_place = place;
		e->found = keep_name(s, name, err);
		return e->found == NULL ? -1 : 0;
	}
	if (a.st_ino != b.st_ino)
		return give_own_name(s, place, name, err);
	snprintf(path, sizeof path, "%s/%s", sub_of(place), name);
	unlinkat(s->f->dir_fd, path, 0);
	s->moved = true;
	return 0;
}

static int
meet_file(struct sync *s, uint8_t place, const char *name, struct err *err)
{
	const char *colon = strchr(name, ':');
	size_t base_len = colon == NULL ? strlen(name) : (size_t)(colon - name);
	struct entry *e;

	if (base_len == 0)
		return 0;
	e = find_entry(s, view_make(name, base_len));
	if (e == NULL)
		return add_fresh_entry(s, place, name, base_len, err);
	if (e->is_seen)
		return meet_again(s, e, place, name, err);
	e->is_seen = true;
	if (e->place == place && strcmp(e->name, name) == 0)
		return 0;
	e->found_place = place;
	e->found = keep_name(s, name, err);
	return e->found == NULL ? -1 : 0;
}

static int
read_directory(struct sync *s, uint8_t place, struct err *err)
{
	const char *sub = sub_of(place);
	int fd = open_beneath(s->f->dir_fd, sub, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int r = 0;

	if (d == NULL) {
		err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s/%s", s->f->disk, sub);
		fd_close(&fd);
		return -1;
	}
	while (r == 0 && (errno = 0, e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || (e->d_type != DT_REG && e->d_type != DT_UNKNOWN))
			continue;
		if (e->d_type == DT_UNKNOWN && !stat_file(s->f, place, e->d_name, &st))
			continue;
		r = meet_file(s, place, e->d_name, err);
	}
	if (r == 0 && errno != 0)
		r = err_sys(err, ERR_TEMP, "read %s/%s", s->f->disk, sub);
	closedir(d);
	return r;
}

static int
load_known(struct sync *s, MDB_txn *txn, struct err *err)
{
	struct index *x = &s->f->store->index;
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct message m;
	struct view key, value;
	int r;

	key_u32(prefix, s->f->box.id);
	if (cursor_open(x, txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err)) {
		uint32_t uid = key.len == MESSAGE_KEY ? key_get_u32((const unsigned char *)key.p + 4) : 0;
		struct entry *e;
		char *name;

		if (message_decode(s->f->box.id, uid, value, &m, err) < 0 || uid >= s->f->box.r.uidnext) {
			x->is_damaged = true;
			r = err_set(err, ERR_TEMP, "index: damaged record %u in %s", uid, s->f->disk);
			break;
		}
		name = arena_alloc(&s->strings, (size_t)m.name_len + 1);
		e = name == NULL ? NULL : add_entry(s, err);
		if (e == NULL) {
			r = err_set(err, ERR_LIMIT, "too many messages in %s", s->f->disk);
			break;
		}
		memcpy(name, m.name, m.name_len);
		*e = (struct entry){ .name = name, .uid = uid, .base_len = m.r.base_len, .place = m.r.place };
	}
	cursor_close(&c);
	if (r >= 0 && s->nentries != s->f->box.r.messages) {
		x->is_damaged = true;
		r = err_set(err, ERR_TEMP, "index: %s has %zu messages, %u counted", s->f->disk, s->nentries,
		    s->f->box.r.messages);
	}
	return r < 0 ? -1 : 0;
}

static bool
any_unseen(const struct sync *s)
{
	for (size_t i = 0; i < s->nknown; i++)
		if (!s->entries[i].is_seen)
			return true;
	return false;
}

/* new/ before cur/: a file that another program moves between the two is met in one of them.  A file renamed
 * within a directory that is being read may not be met at all (readdir(3)), so nobody is declared gone before a
 * second reading. */
static int
read_all(struct sync *s, struct err *err)
{
	struct index *x = &s->f->store->index;
	MDB_txn *txn;
	int r;

	if (index_read(x, &txn, err) < 0)
		return -1;
	r = load_known(s, txn, err);
	index_read_end(x);
	if (r < 0)
		return -1;
	s->nknown = s->nentries;
	table_init(&s->table, s->nentries + 64);
	for (size_t i = 0; i < s->nentries; i++)
		insert_entry(s, i);
	for (int pass = 0; pass < 2; pass++) {
		if (read_directory(s, PLACE_NEW, err) < 0 || read_directory(s, PLACE_CUR, err) < 0)
			return -1;
		if (!any_unseen(s))
			break;
	}
	return 0;
}

/* Only new/: what is there is known to be there, or it has just arrived.  1: something else is going on, read
 * everything. */
static int
read_arrivals(struct sync *s, struct err *err)
{
	struct index *x = &s->f->store->index;
	struct message m;
	MDB_txn *txn;
	int r = 0;

	table_init(&s->table, 64);
	if (read_directory(s, PLACE_NEW, err) < 0 || index_read(x, &txn, err) < 0)
		return -1;
	for (size_t i = 0; i < s->nentries && r == 0; i++) {
		struct entry *e = &s->entries[i];
		uint32_t uid;

		r = message_by_base(x, txn, s->f->box.id, entry_base(e), &uid, err);
		if (r != 0) {
			r = r > 0 ? 0 : -1;
			continue;
		}
		r = message_load(x, txn, s->f->box.id, uid, &m, err);
		if (r > 0) {
			x->is_damaged = true;
			r = err_set(err, ERR_TEMP, "index: base name of no message in %s", s->f->disk);
		} else if (r == 0 && (m.r.place != PLACE_NEW || strcmp(m.name, e->name) != 0)) {
			r = 1;
		}
		e->uid = uid;
		s->nknown++;
	}
	index_read_end(x);
	if (r == 0 && s->nknown != s->f->box.r.in_new)
		r = 1;
	return r;
}

static void
forget_entries(struct sync *s)
{
	s->nentries = s->nknown = 0;
	arena_clear(&s->strings);
	arena_init(&s->strings, (size_t)8 << 30);
}

/* --- dovecot-uidlist ------------------------------------------------------------------------------------------------ */

static void
take_line(void *arg, const struct uidlist_record *r)
{
	struct sync *s = arg;

	if (s->nlines == s->lines_cap) {
		s->lines_cap = s->lines_cap < 64 ? 64 : s->lines_cap * 2;
		s->lines = x_realloc(s->lines, s->lines_cap, sizeof *s->lines);
	}
	s->lines[s->nlines++] = (struct line){ r->fields, r->base, r->uid };
}

static void
index_lines(struct sync *s)
{
	table_init(&s->line_table, s->nlines);
	for (size_t n = s->nlines; n > 0; n--) { /* backwards: of two with the same name the later counts */
		size_t i = slot_of(&s->line_table, s->lines[n - 1].base);

		while (s->line_table.slots[i] != 0)
			i = (i + 1) & s->line_table.mask;
		s->line_table.slots[i] = (uint32_t)n;
	}
}

static const struct line *
find_line(const struct sync *s, struct view base)
{
	if (s->line_table.slots == NULL)
		return NULL;
	for (size_t i = slot_of(&s->line_table, base); s->line_table.slots[i] != 0; i = (i + 1) & s->line_table.mask)
		if (view_eq(s->lines[s->line_table.slots[i] - 1].base, base))
			return &s->lines[s->line_table.slots[i] - 1];
	return NULL;
}

/* Another server was here for good and gave the mailbox a new identity: both the UIDVALIDITY and the GUID are
 * others, and the file is in order.  A damaged header would hardly do that. */
static bool
is_other_mailbox(const struct sync *s)
{
	uint8_t guid[16];
	const struct box_record *r = &s->f->box.r;

	return s->header.uidvalidity != r->uidvalidity && s->faults == 0 && s->header.guid.len == 32 &&
	       hex_decode(guid, sizeof guid, s->header.guid) && memcmp(guid, r->guid, sizeof guid) != 0;
}

static int
become_other_mailbox(struct sync *s, struct err *err)
{
	struct index *x = &s->f->store->index;
	struct box *b = &s->f->box;
	MDB_txn *txn;
	int r;

	log_warn("%s: has a new UIDVALIDITY %u, given by another server", s->f->disk, s->header.uidvalidity);
	if (index_write(x, (uint64_t)b->r.messages * MESSAGE_ROOM, &txn, err) < 0)
		return -1;
	r = box_clear(x, txn, b, err);
	b->r.uidvalidity = s->header.uidvalidity;
	hex_decode(b->r.guid, sizeof b->r.guid, s->header.guid);
	b->r.uidnext = b->r.recent_uid = 1;
	b->r.floor = b->r.modseq = (uint64_t)(wall_ns() / 1000);
	b->r.verified_ns = 0;
	if (r == 0)
		r = box_save(x, txn, b, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	s->is_first = true;
	return r;
}

static int
load_uidlist(struct sync *s, struct err *err)
{
	struct box_record *b = &s->f->box.r;
	struct file_id id;
	struct err ignored;
	int r;

	buf_reset(&s->text);
	s->nlines = 0;
	r = text_load(s->f->dir_fd, UIDLIST_FILE, &s->text, &id, err);
	if (r < 0)
		return -1;
	if (r > 0 || uidlist_parse(buf_view(&s->text), &s->header, take_line, s, &s->faults, &ignored) < 0) {
		s->nlines = 0;
		s->rewrite = true;
	} else if (is_other_mailbox(s)) {
		if (become_other_mailbox(s, err) < 0)
			return -1;
	} else if (s->header.uidvalidity != b->uidvalidity) {
		log_warn("%s: %s is of another UIDVALIDITY: written anew", s->f->disk, UIDLIST_FILE);
		s->nlines = 0;
		s->rewrite = true;
	}
	if (s->faults > 0 || s->header.version != 3)
		s->rewrite = true;
	index_lines(s);
	if (s->nlines > 0) {
		uint32_t last = s->lines[s->nlines - 1].uid;

		if (s->header.uidnext > b->uidnext)
			b->uidnext = s->header.uidnext;
		if (last >= b->uidnext)
			/* never give it again: the line may stand for a message whose rename was cut short */
			b->uidnext = last + 1;
	} else if (!s->rewrite && s->header.uidnext > b->uidnext) {
		b->uidnext = s->header.uidnext;
	}
	b->uidlist = id;
	b->uidlist_lines = (uint32_t)(s->nlines + s->faults);
	return 0;
}

/* Does the text say of each message what the index says? */
static void
compare_uidlist(struct sync *s)
{
	for (size_t i = 0; i < s->nknown && !s->rewrite; i++) {
		const struct entry *e = &s->entries[i];
		const struct line *l = find_line(s, entry_base(e));

		if (e->is_seen && (l == NULL || l->uid != e->uid))
			s->rewrite = true;
	}
	if (s->rewrite && s->nlines > 0)
		log_warn("%s: %s is damaged or incomplete: written anew from the index", s->f->disk, UIDLIST_FILE);
}

/* --- messages that the index does not know ------------------------------------------------------------------------------ */

static bool
measure(struct sync *s, struct fresh *n)
{
	struct view value, base = entry_base(n->entry);
	struct stat st;
	uint64_t v;

	if (!stat_file(s->f, n->place, n->name, &st))
		return false;
	n->disk_size = (uint64_t)st.st_size;
	n->size = SIZE_UNKNOWN;
	n->mtime_s = st.st_mtim.tv_sec;
	n->ctime_s = st.st_ctim.tv_sec;
	arrival_parse(n->name, mtime_ns(&st), &n->arrival);
	if (maildir_name_number(base, 'S', &v))
		n->disk_size = v;
	if (maildir_name_number(base, 'W', &v))
		n->size = v;
	else if (n->line != NULL && uidlist_field(n->line->fields, 'W', &value) && view_u64(value, INT64_MAX, &v))
		n->size = v;
	return true;
}

static int
compare_fresh(const void *pa, const void *pb)
{
	const struct fresh *a = pa, *b = pb;

	if (a->uid != 0 && b->uid != 0)
		return a->uid < b->uid ? -1 : 1;
	if (a->uid != 0 || b->uid != 0)
		return a->uid != 0 ? -1 : 1;
	return arrival_compare(&a->arrival, &b->arrival);
}

/* old_uidnext: UIDs from there on can still be given; a line with a lower one tells of a message that was
 * expunged and came back, which is a new message then. */
static int
collect_fresh(struct sync *s, uint32_t old_uidnext, struct err *err)
{
	size_t count = 0;

	for (size_t i = 0; i < s->nentries; i++)
		count += s->entries[i].uid == 0;
	s->fresh = x_calloc(count, sizeof *s->fresh);
	for (size_t i = 0; i < s->nentries; i++) {
		const struct entry *e = &s->entries[i];
		struct fresh *n = &s->fresh[s->nfresh];

		if (e->uid != 0)
			continue;
		n->entry = e;
		n->place = e->found != NULL ? e->found_place : e->place;
		snprintf(n->name, sizeof n->name, "%s", e->found != NULL ? e->found : e->name);
		n->was_new = n->place == PLACE_NEW;
		n->line = find_line(s, entry_base(e));
		if (n->line != NULL && n->line->uid < old_uidnext)
			n->line = NULL;
		if (!measure(s, n))
			continue;
		n->uid = n->line != NULL ? n->line->uid : 0;
		s->nfresh++;
	}
	qsort(s->fresh, s->nfresh, sizeof *s->fresh, compare_fresh);
	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i].uid == 0) {
			if (s->f->box.r.uidnext > UIDLIST_MAX_UID)
				return err_set(err, ERR_LIMIT, "%s: UIDs are used up", s->f->disk);
			s->fresh[i].uid = s->f->box.r.uidnext++;
		}
	return 0;
}

/* new/X to cur/X:2, -- as the Maildir rules want a message that a client has been told of.  A failure leaves it
 * where it is, which harms nobody. */
static bool
claim_file(struct sync *s, const char *name, char claimed[MAILDIR_NAME_MAX + 1])
{
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	struct maildir_name n;
	struct err err;

	maildir_name_parse(view_of(name), &n);
	if (maildir_name_format(&n, claimed) < 0)
		return false;
	snprintf(from, sizeof from, "new/%s", name);
	snprintf(to, sizeof to, "cur/%s", claimed);
	if (rename_exclusive(s->f->dir_fd, from, s->f->dir_fd, to, &err) < 0) {
		s->f->must_scan = true;
		return false;
	}
	s->moved = true;
	return true;
}

static int
claim_all(struct sync *s, struct err *err)
{
	char claimed[MAILDIR_NAME_MAX + 1];

	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i].place == PLACE_NEW && claim_file(s, s->fresh[i].name, claimed)) {
			memcpy(s->fresh[i].name, claimed, sizeof claimed);
			s->fresh[i].place = PLACE_CUR;
		}
	for (size_t i = 0; i < s->nknown; i++) {
		struct entry *e = &s->entries[i];
		uint8_t place = e->found != NULL ? e->found_place : e->place;

		if (!e->is_seen || place != PLACE_NEW || !claim_file(s, e->found != NULL ? e->found : e->name, claimed))
			continue;
		e->found_place = PLACE_CUR;
		e->found = keep_name(s, claimed, err);
		if (e->found == NULL)
			return -1;
	}
	return 0;
}

/* --- into the texts and the index -------------------------------------------------------------------------------------------- */

static int
append_uidlist(struct sync *s, struct err *err)
{
	struct buf records;
	uint32_t lines = 0;
	int r = 0;

	if (s->rewrite)
		return 0;
	buf_init(&records, TEXT_MAX);
	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i].line == NULL) {
			uidlist_format_record(&records, s->fresh[i].uid, view_make("", 0), entry_base(s->fresh[i].entry));
			lines++;
		}
	if (records.failed)
		r = err_set(err, ERR_LIMIT, "too many new messages in %s", s->f->disk);
	else if (lines > 0)
		r = uidlist_append(s->f, buf_view(&records), lines, err);
	buf_clear(&records);
	return r;
}

static void
take_extra(void *arg, uint32_t uid, const struct keyword_set *set)
{
	struct sync *s = arg;

	if (s->nextras == s->extras_cap) {
		s->extras_cap = s->extras_cap < 64 ? 64 : s->extras_cap * 2;
		s->extras = x_realloc(s->extras, s->extras_cap, sizeof *s->extras);
	}
	s->extras[s->nextras] = (struct extra_set){ uid, s->nextras, *set };
	s->nextras++;
}

static int
compare_extra(const void *pa, const void *pb)
{
	const struct extra_set *a = pa, *b = pb;

	if (a->uid != b->uid)
		return a->uid < b->uid ? -1 : 1;
	return a->line < b->line ? -1 : 1;
}

static int
load_extras(struct sync *s, struct err *err)
{
	if (keywords_each_extra(s->f, take_extra, s, err) < 0)
		return -1;
	if (s->nextras > 0)
		qsort(s->extras, s->nextras, sizeof *s->extras, compare_extra);
	return 0;
}

/* The last line of a UID counts: the one before the first of a higher UID. */
static void
add_extra_keywords(const struct sync *s, struct message *m)
{
	size_t low = 0, high = s->nextras;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->extras[mid].uid <= m->uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low > 0 && s->extras[low - 1].uid == m->uid) {
		m->r.keywords.bits[0] |= s->extras[low - 1].set.bits[0];
		m->r.keywords.bits[1] |= s->extras[low - 1].set.bits[1];
	}
}

static int
highest_letter(const struct sync *s)
{
	uint32_t letters = 0;
	struct maildir_name n;

	for (size_t i = 0; i < s->nfresh; i++) {
		maildir_name_parse(view_of(s->fresh[i].name), &n);
		letters |= n.letters;
	}
	for (size_t i = 0; i < s->nknown; i++)
		if (s->entries[i].found != NULL) {
			maildir_name_parse(view_of(s->entries[i].found), &n);
			letters |= n.letters;
		}
	return letters == 0 ? -1 : 31 - __builtin_clz(letters);
}

static void
fresh_message(struct sync *s, const struct fresh *n, uint64_t modseq, struct message *m)
{
	struct view guid;
	struct maildir_name name;

	*m = (struct message){ .uid = n->uid };
	m->name_len = (uint8_t)strlen(n->name);
	memcpy(m->name, n->name, (size_t)m->name_len + 1);
	maildir_name_parse(view_of(m->name), &name);
	m->r.flags = name.flags;
	m->r.keywords.bits[0] = name.letters;
	m->r.place = n->place;
	m->r.base_len = (uint8_t)name.base.len;
	m->r.size = n->size;
	m->r.disk_size = n->disk_size;
	m->r.internal_date = n->mtime_s;
	m->r.save_date = n->ctime_s;
	m->r.modseq = modseq;
	if (n->line == NULL || !uidlist_field(n->line->fields, 'G', &guid) || guid.len == 0)
		maildir_guid(name.base, m->r.guid);
	else if (!hex_decode(m->r.guid, sizeof m->r.guid, guid))
		maildir_guid(guid, m->r.guid);
	add_extra_keywords(s, m);
}

static int
apply_known(struct sync *s, MDB_txn *txn, uint64_t modseq, bool *changed, struct err *err)
{
	struct index *x = &s->f->store->index;
	struct box *b = &s->f->box;
	struct message old, m;
	struct maildir_name name;

	for (size_t i = 0; i < s->nknown; i++) {
		const struct entry *e = &s->entries[i];
		int r;

		if (e->is_seen && e->found == NULL)
			continue;
		r = message_load(x, txn, b->id, e->uid, &old, err);
		if (r > 0) {
			x->is_damaged = true;
			return err_set(err, ERR_TEMP, "index: message %u vanished", e->uid);
		}
		if (r < 0)
			return -1;
		if (!e->is_seen) {
			*changed = true;
			if (message_remove(x, txn, b, &old, modseq, err) < 0)
				return -1;
			continue;
		}
		m = old;
		m.name_len = (uint8_t)strlen(e->found);
		memcpy(m.name, e->found, (size_t)m.name_len + 1);
		maildir_name_parse(view_of(m.name), &name);
		m.r.place = e->found_place;
		m.r.flags = name.flags;
		m.r.keywords = keyword_extras(&old.r.keywords);
		m.r.keywords.bits[0] |= name.letters;
		if (m.r.flags != old.r.flags || m.r.keywords.bits[0] != old.r.keywords.bits[0]) {
			m.r.modseq = modseq;
			*changed = true;
		}
		if (message_update(x, txn, b, &old, &m, err) < 0)
			return -1;
	}
	return 0;
}

static void
set_recent(struct sync *s)
{
	struct box_record *b = &s->f->box.r;

	b->recent_uid = b->uidnext;
	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i].was_new && s->fresh[i].uid < b->recent_uid)
			b->recent_uid = s->fresh[i].uid;
}

/* What this pass saw of the directories, at the time it began.  Renames of our own changed them after that: for
 * new/ it does not matter, it is soon read again; for cur/ see folder_own_change. */
static int
record_times(struct sync *s, struct err *err)
{
	struct box_record *b = &s->f->box.r;

	if (s->read_new) {
		b->new_mtime_ns = s->new_mtime_ns;
		b->new_scan_ns = s->scan_ns;
	}
	if (s->read_cur) {
		b->cur_mtime_ns = s->cur_mtime_ns;
		b->cur_scan_ns = b->verified_ns = s->scan_ns;
		b->is_unverified = 0;
	}
	return s->moved ? folder_own_change(s->f, err) : 0;
}

static int
apply(struct sync *s, struct err *err)
{
	struct index *x = &s->f->store->index;
	struct box *b = &s->f->box;
	uint64_t modseq = b->r.modseq + 1;
	bool changed = s->nfresh > 0;
	struct message m;
	MDB_txn *txn;
	int r;

	if (index_write(x, (uint64_t)(s->nentries + s->nfresh) * MESSAGE_ROOM, &txn, err) < 0)
		return -1;
	r = apply_known(s, txn, modseq, &changed, err);
	for (size_t i = 0; i < s->nfresh && r == 0; i++) {
		fresh_message(s, &s->fresh[i], modseq, &m);
		r = message_add(x, txn, b, &m, s->fresh[i].line == NULL ? view_make("", 0) : s->fresh[i].line->fields, err);
	}
	if (r == 0 && s->is_first)
		set_recent(s);
	if (r == 0 && changed)
		b->r.modseq = modseq;
	if (r == 0)
		r = box_trim_vanished(x, txn, b, s->f->store->changes_kept, err);
	if (r == 0)
		r = record_times(s, err);
	if (r == 0)
		r = box_save(x, txn, b, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

/* --- deciding ---------------------------------------------------------------------------------------------------------------- */

/* Could the directory have changed without its time telling?  File systems stamp with the time of their last clock
 * tick (10 ms at most), some only with whole seconds. */
static bool
is_stale(int64_t mtime, int64_t seen_mtime, int64_t scan)
{
	int64_t grain = mtime % NS_PER_S == 0 ? 2 * NS_PER_S : NS_PER_S / 20;

	return mtime != seen_mtime || (scan != INT64_MAX && scan - mtime < grain);
}

/* Reading cur/ for verification may cost a thousandth of our time. */
static bool
should_verify(const struct box_record *b, int64_t now)
{
	return b->is_unverified && (now < b->verified_ns || now - b->verified_ns > b->messages * INT64_C(1000000));
}

static int
look(struct sync *s, struct err *err)
{
	struct folder *f = s->f;
	struct box_record *b = &f->box.r;
	struct file_id uidlist, keywords, extra;
	struct stat st_new, st_cur;

	s->scan_ns = wall_ns();
	if (fstatat(f->dir_fd, "new", &st_new, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(f->dir_fd, "cur", &st_cur, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "stat %s", f->disk);
	if (text_identify(f->dir_fd, UIDLIST_FILE, &uidlist, err) < 0 ||
	    text_identify(f->dir_fd, KEYWORDS_FILE, &keywords, err) < 0 ||
	    text_identify(f->dir_fd, KEYWORDS_EXTRA, &extra, err) < 0)
		return -1;
	s->new_mtime_ns = mtime_ns(&st_new);
	s->cur_mtime_ns = mtime_ns(&st_cur);
	s->is_first = b->verified_ns == 0;
	s->reconcile = s->is_first || uidlist.ino == 0 || !file_id_equal(&uidlist, &b->uidlist);
	s->read_cur = s->is_first || s->reconcile || f->must_scan || (s->how & SYNC_FORCE) ||
		      is_stale(s->cur_mtime_ns, b->cur_mtime_ns, b->cur_scan_ns) ||
		      ((s->how & SYNC_VERIFY) && should_verify(b, s->scan_ns)) ||
		      !file_id_equal(&keywords, &b->keywords) || !file_id_equal(&extra, &b->extra);
	s->read_new = s->read_cur || (s->how & SYNC_NEW) || ((s->how & SYNC_CLAIM) && b->in_new > 0) ||
		      is_stale(s->new_mtime_ns, b->new_mtime_ns, b->new_scan_ns);
	return 0;
}

int
folder_is_stale(struct folder *f, unsigned how, struct err *err)
{
	struct sync s = { .f = f, .how = how };

	if (folder_peek(f, err) < 0 || look(&s, err) < 0)
		return -1;
	return s.read_new || s.read_cur;
}

/* --- tmp/ ---------------------------------------------------------------------------------------------------------------------- */

/* What nobody has touched for 36 hours was left by a program that died (maildir(5)). */
static void
clean_tmp(struct folder *f)
{
	const int64_t every = 8 * 3600 * NS_PER_S, limit_s = 36 * 3600;
	int64_t now = wall_ns();
	struct dirent *e;
	struct stat st;
	DIR *d;
	int fd;

	if (now >= f->box.r.tmp_clean_ns && now - f->box.r.tmp_clean_ns < every)
		return;
	f->box.r.tmp_clean_ns = now;
	fd = open_beneath(f->dir_fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		fd_close(&fd);
		return;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (now / NS_PER_S - st.st_mtim.tv_sec > limit_s && now / NS_PER_S - st.st_atim.tv_sec > limit_s &&
		    now / NS_PER_S - st.st_ctim.tv_sec > limit_s)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
}

/* --- the whole ------------------------------------------------------------------------------------------------------------------- */

static void
sync_clear(struct sync *s)
{
	arena_clear(&s->strings);
	buf_clear(&s->text);
	free(s->entries);
	free(s->table.slots);
	free(s->line_table.slots);
	free(s->lines);
	free(s->fresh);
	free(s->extras);
}

static int
gather(struct sync *s, struct err *err)
{
	int r = 1;

	if (!s->read_cur) {
		r = read_arrivals(s, err);
		if (r > 0)
			forget_entries(s);
	}
	if (r > 0) {
		s->read_cur = s->read_new = true;
		r = read_all(s, err);
	}
	return r;
}

static int
run(struct sync *s, struct err *err)
{
	struct folder *f = s->f;
	uint32_t old_uidnext = f->box.r.uidnext;
	int letter;

	if (keywords_reconcile_if_changed(f, err) < 0 || (s->reconcile && load_uidlist(s, err) < 0))
		return -1;
	if (s->is_first)
		old_uidnext = 1;
	if (gather(s, err) < 0)
		return -1;
	if (s->reconcile)
		compare_uidlist(s);
	if (s->is_first && load_extras(s, err) < 0)
		return -1;
	if (collect_fresh(s, old_uidnext, err) < 0 || ((s->how & SYNC_CLAIM) && claim_all(s, err) < 0) ||
	    append_uidlist(s, err) < 0)
		return -1;
	letter = highest_letter(s);
	if (letter >= 0 && keywords_fill(f, (unsigned)letter, err) < 0)
		return -1;
	clean_tmp(f);
	f->must_scan = false;
	if (apply(s, err) < 0) {
		f->must_scan = true;
		return -1;
	}
	if (s->rewrite)
		return uidlist_rewrite(f, err);
	return uidlist_tidy(f, err);
}

int
folder_sync(struct folder *f, unsigned how, struct err *err)
{
	int r = -1;

	if (f->locked == 0)
		bug("folder_sync without the lock");
	for (int i = 0; i < 3 && r < 0; i++) {
		struct sync s = { .f = f, .how = how };

		if (look(&s, err) < 0)
			return -1;
		if (!s.read_new && !s.read_cur)
			return 0;
		arena_init(&s.strings, (size_t)8 << 30);
		buf_init(&s.text, TEXT_MAX);
		r = run(&s, err);
		sync_clear(&s);
		/* A second try sees what another program changed meanwhile. */
		if (r < 0 && (f->store->index.is_damaged || folder_reload(f, err) < 0))
			return -1;
	}
	return r;
}
