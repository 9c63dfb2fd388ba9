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
#include "common/store/sync.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- messages that the index does not know ------------------------------------------------------------------------------ */

/* The size with CRLF, as names and texts tell it: believed if it can be true of a file of this size. */
static uint64_t
told_size(const struct fresh *n)
{
	struct view value, base = entry_base(n->entry);
	uint64_t v;

	if (maildir_name_number(base, 'S', &v) && v != n->disk_size)
		return SIZE_UNKNOWN;
	if (!maildir_name_number(base, 'W', &v) &&
	    !(n->line != NULL && uidlist_field(n->line->fields, 'W', &value) &&
		view_u64(value, INT64_MAX, &v)))
		return SIZE_UNKNOWN;
	return v >= n->disk_size && v - n->disk_size <= n->disk_size ? v : SIZE_UNKNOWN;
}

static bool
measure(struct sync *s, struct fresh *n)
{
	struct stat st;

	if (!sync_stat(s->f, n->place, n->name, &st))
		return false;
	n->disk_size = (uint64_t)st.st_size;
	n->size = told_size(n);
	if (n->size == SIZE_UNKNOWN && n->disk_size > MEASURE_MAX)
		n->size = n->disk_size;
	n->mtime_s = st.st_mtim.tv_sec;
	n->ctime_s = st.st_ctim.tv_sec;
	arrival_parse(n->name, mtime_ns(&st), &n->arrival);
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
static void
collect_fresh(struct sync *s, uint32_t old_uidnext)
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
		n->line = sync_find_line(s, entry_base(e));
		if (n->line != NULL &&
		    (n->line->uid < old_uidnext || !sync_line_is_news(s, n->line)))
			n->line = NULL;
		if (!measure(s, n))
			continue;
		n->uid = n->line != NULL ? n->line->uid : 0;
		s->nfresh++;
	}
	qsort(s->fresh, s->nfresh, sizeof *s->fresh, compare_fresh);
	for (size_t i = 0; i < s->nfresh; i++)
		if (s->fresh[i].uid == 0)
			s->fresh[i].uid = s->f->box.r.uidnext++;
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

		if (!e->is_seen || place != PLACE_NEW ||
		    !claim_file(s, e->found != NULL ? e->found : e->name, claimed))
			continue;
		e->found_place = PLACE_CUR;
		e->found = sync_keep_name(s, claimed, err);
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
			uidlist_format_record(&records, s->fresh[i].uid, view_make("", 0),
			    entry_base(s->fresh[i].entry));
			lines++;
		}
	if (records.failed)
		r = err_set(err, ERR_LIMIT, "too many new messages in %s", s->f->disk);
	else if (lines > 0)
		r = uidlist_append(s->f, buf_view(&records), lines, err);
	buf_clear(&records);
	return r;
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
fresh_message(const struct fresh *n, uint64_t modseq, struct message *m)
{
	struct view guid;
	struct maildir_name name;

	*m = (struct message){ .uid = n->uid, .r = { .keywords = n->keywords } };
	m->name_len = (uint8_t)strlen(n->name);
	memcpy(m->name, n->name, (size_t)m->name_len + 1);
	maildir_name_parse(view_of(m->name), &name);
	m->r.flags = name.flags;
	m->r.keywords.bits[0] |= name.letters;
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
		r = index_message_load(x, txn, b->id, e->uid, &old, err);
		if (r > 0) {
			x->is_damaged = true;
			return err_set(err, ERR_TEMP, "index: message %u vanished", e->uid);
		}
		if (r < 0)
			return -1;
		if (!e->is_seen) {
			*changed = true;
			if (index_message_remove(x, txn, b, &old, modseq, err) < 0)
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
		if (index_message_update(x, txn, b, &old, &m, err) < 0)
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
		fresh_message(&s->fresh[i], modseq, &m);
		r = index_message_add(x, txn, b, &m,
		    s->fresh[i].line == NULL ? view_make("", 0) : s->fresh[i].line->fields, err);
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
	return b->is_unverified &&
	       (now < b->verified_ns || now - b->verified_ns > b->messages * INT64_C(1000000));
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
	s->read_cur = s->is_first || s->reconcile || b->uidnext > UIDS_USED_UP || f->must_scan ||
		      (s->how & SYNC_FORCE) ||
		      is_stale(s->cur_mtime_ns, b->cur_mtime_ns, b->cur_scan_ns) ||
		      ((s->how & SYNC_VERIFY) && should_verify(b, s->scan_ns)) ||
		      !file_id_equal(&keywords, &b->keywords) || !file_id_equal(&extra, &b->extra);
	s->read_new = s->read_cur || (s->how & SYNC_NEW) ||
		      ((s->how & SYNC_CLAIM) && b->in_new > 0) ||
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
		if (e->d_name[0] == '.' ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (now / NS_PER_S - st.st_mtim.tv_sec > limit_s &&
		    now / NS_PER_S - st.st_atim.tv_sec > limit_s &&
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
run(struct sync *s, struct err *err)
{
	struct folder *f = s->f;
	uint32_t old_uidnext = f->box.r.uidnext;
	int letter;

	if (keywords_reconcile_if_changed(f, err) < 0 ||
	    (s->reconcile && sync_load_uidlist(s, err) < 0))
		return -1;
	if (f->box.r.uidnext > UIDS_USED_UP)
		return sync_renumber(s, err);
	if (s->is_first)
		old_uidnext = 1;
	if (sync_scan(s, err) < 0)
		return -1;
	if (s->reconcile)
		sync_compare_uidlist(s);
	collect_fresh(s, old_uidnext);
	if ((s->is_first && sync_import_keywords(s, err) < 0) ||
	    ((s->how & SYNC_CLAIM) && claim_all(s, err) < 0) || append_uidlist(s, err) < 0)
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
		arena_init(&s.strings, (size_t)1 << SYNC_STRINGS_SHIFT);
		buf_init(&s.text, TEXT_MAX);
		r = run(&s, err);
		sync_clear(&s);
		/* A second try sees what another program changed meanwhile. */
		if (r < 0 && (f->store->index.is_damaged || folder_reload(f, err) < 0))
			return -1;
	}
	return r;
}
