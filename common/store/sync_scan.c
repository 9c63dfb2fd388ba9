/* Reading new/ and cur/, and matching what is there with what the index knows. */
#include "common/store/sync.h"
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

/* --- tables by base name ------------------------------------------------------------------------------------ */

size_t
base_table_slot(const struct base_table *t, struct view base)
{
	return crc32c(0, base.p, base.len) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & t->mask;
}

void
base_table_init(struct base_table *t, size_t count)
{
	size_t size = 64;

	while (size < count * 2)
		size *= 2;
	free(t->slots);
	t->slots = x_calloc(size, sizeof *t->slots);
	t->mask = size - 1;
}

static struct entry *
find_entry(struct sync *s, struct view base)
{
	for (size_t i = base_table_slot(&s->table, base); s->table.slots[i] != 0;
	     i = (i + 1) & s->table.mask) {
		struct entry *e = &s->entries[s->table.slots[i] - 1];

		if (view_eq(entry_base(e), base))
			return e;
	}
	return NULL;
}

static void
insert_entry(struct sync *s, size_t index)
{
	size_t i = base_table_slot(&s->table, entry_base(&s->entries[index]));

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
		base_table_init(&s->table, s->nentries * 2);
		for (size_t i = 0; i < s->nentries; i++)
			insert_entry(s, i);
	} else {
		insert_entry(s, s->nentries - 1);
	}
}

/* --- reading the directories ------------------------------------------------------------------------------------ */

char *
sync_keep_name(struct sync *s, const char *name, struct err *err)
{
	char *copy = arena_strdup(&s->strings, name);

	if (copy == NULL)
		err_set(err, ERR_LIMIT, "too many names in %s", s->f->disk);
	return copy;
}

static int
add_fresh_entry(struct sync *s, uint8_t place, const char *name, size_t base_len, struct err *err)
{
	char *copy = sync_keep_name(s, name, err);
	struct entry *e = copy == NULL ? NULL : add_entry(s, err);

	if (e == NULL)
		return -1;
	*e = (struct entry){
		.name = copy, .base_len = (uint8_t)base_len, .place = place, .is_seen = true
	};
	index_entry(s);
	return 0;
}

bool
sync_stat(struct folder *f, uint8_t place, const char *name, struct stat *st)
{
	char path[MAILDIR_NAME_MAX + 8];

	snprintf(path, sizeof path, "%s/%s", sub_of(place), name);
	return fstatat(f->dir_fd, path, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

/* What is no mail is left out.  That is said once in a process's life, and of so many files at most: the directory is
 * its user's. */
static void
note_oddity(struct sync *s, uint8_t place, const char *name, const char *what)
{
	enum { MAX_ODDITIES = 100 };
	char key[2 * MAILDIR_NAME_MAX + 8];
	struct map *told = &s->f->store->oddities;

	snprintf(key, sizeof key, "%s/%s/%s", s->f->disk, sub_of(place), name);
	if (told->count >= MAX_ODDITIES || map_get(told, view_of(key)) != NULL)
		return;
	map_put(told, view_of(key), s->f->store);
	log_warn("%s: ignoring %s/%s: %s", s->f->disk, sub_of(place), lqs(name), what);
}

/* A second file with the base name of another (one base is one message), or one whose name must not get into a text of
 * lines: it gets a name of its own, and stays in reach. */
static int
give_own_name(struct sync *s, uint8_t place, const char *name, const char *why, struct err *err)
{
	char base[MAILDIR_NAME_MAX + 1], from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8];
	char full[MAILDIR_NAME_MAX + 1];
	struct maildir_name n;

	maildir_name_parse(view_of(name), &n);
	store_unique_name(s->f->store, base, sizeof base);
	n.base = view_of(base);
	if (maildir_name_has_control(view_of(name))) { /* of the flags, those that we know */
		n.others[0] = '\0';
		n.rest = view_make("", 0);
	}
	if (place == PLACE_NEW)
		memcpy(full, base, strlen(base) + 1);
	else if (maildir_name_format(&n, full) < 0)
		return 0;
	snprintf(from, sizeof from, "%s/%s", sub_of(place), name);
	snprintf(to, sizeof to, "%s/%s", sub_of(place), full);
	if (rename_exclusive(s->f->dir_fd, from, s->f->dir_fd, to, err) < 0) {
		if (err->kind != ERR_GONE)
			note_oddity(s, place, name, why);
		return 0; /* it went, or is in the way again at the next pass */
	}
	log_warn("%s: %s: %s is now %s", s->f->disk, why, lqs(name), full);
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
	if (!sync_stat(s->f, place, name, &b))
		return 0;
	if (!sync_stat(s->f, first_place, first, &a)) {
		e->found_place = place;
		e->found = sync_keep_name(s, name, err);
		return e->found == NULL ? -1 : 0;
	}
	if (a.st_ino != b.st_ino)
		return give_own_name(s, place, name, "two files with the same base name", err);
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
	if (maildir_name_has_control(view_of(name)))
		return give_own_name(s, place, name, "control characters in a file name", err);
	e = find_entry(s, view_make(name, base_len));
	if (e == NULL)
		return add_fresh_entry(s, place, name, base_len, err);
	if (e->is_seen)
		return meet_again(s, e, place, name, err);
	e->is_seen = true;
	if (e->place == place && strcmp(e->name, name) == 0)
		return 0;
	e->found_place = place;
	e->found = sync_keep_name(s, name, err);
	return e->found == NULL ? -1 : 0;
}

/* No directory, link, FIFO or device. */
static bool
is_file(struct sync *s, uint8_t place, const struct dirent *e)
{
	struct stat st;

	if (e->d_type == DT_REG)
		return true;
	if (e->d_type == DT_UNKNOWN)
		return sync_stat(s->f, place, e->d_name, &st);
	note_oddity(s, place, e->d_name, "not a regular file");
	return false;
}

static int
read_directory(struct sync *s, uint8_t place, struct err *err)
{
	const char *sub = sub_of(place);
	int fd = open_beneath(s->f->dir_fd, sub, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (d == NULL) {
		err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s/%s", s->f->disk, sub);
		fd_close(&fd);
		return -1;
	}
	while (r == 0 && (errno = 0, e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && is_file(s, place, e))
			r = meet_file(s, place, e->d_name, err);
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
		uint32_t uid =
		    key.len == MESSAGE_KEY ? key_get_u32((const unsigned char *)key.p + 4) : 0;
		struct entry *e;
		char *name;

		if (index_message_decode(s->f->box.id, uid, value, &m, err) < 0 ||
		    uid >= s->f->box.r.uidnext) {
			x->is_damaged = true;
			r = err_set(
			    err, ERR_TEMP, "index: damaged record %u in %s", uid, s->f->disk);
			break;
		}
		name = arena_alloc(&s->strings, (size_t)m.name_len + 1);
		e = name == NULL ? NULL : add_entry(s, err);
		if (e == NULL) {
			r = err_set(err, ERR_LIMIT, "too many messages in %s", s->f->disk);
			break;
		}
		memcpy(name, m.name, m.name_len);
		*e = (struct entry){
			.name = name, .uid = uid, .base_len = m.r.base_len, .place = m.r.place
		};
	}
	cursor_close(&c);
	if (r >= 0 && s->nentries != s->f->box.r.messages) {
		x->is_damaged = true;
		r = err_set(err, ERR_TEMP, "index: %s has %zu messages, %u counted", s->f->disk,
		    s->nentries, s->f->box.r.messages);
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
	base_table_init(&s->table, s->nentries + 64);
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

	base_table_init(&s->table, 64);
	if (read_directory(s, PLACE_NEW, err) < 0 || index_read(x, &txn, err) < 0)
		return -1;
	for (size_t i = 0; i < s->nentries && r == 0; i++) {
		struct entry *e = &s->entries[i];
		uint32_t uid;

		r = index_message_by_base(x, txn, s->f->box.id, entry_base(e), &uid, err);
		if (r != 0) {
			r = r > 0 ? 0 : -1;
			continue;
		}
		r = index_message_load(x, txn, s->f->box.id, uid, &m, err);
		if (r > 0) {
			x->is_damaged = true;
			r = err_set(
			    err, ERR_TEMP, "index: base name of no message in %s", s->f->disk);
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
	arena_init(&s->strings, (size_t)1 << SYNC_STRINGS_SHIFT);
}

int
sync_scan(struct sync *s, struct err *err)
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
