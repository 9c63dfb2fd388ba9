/* What stands in texts beside the mail: UIDs and keywords that another server, or an index now lost, wrote down. */
#include "common/store/sync.h"
#include "common/base/codec.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/store/courier.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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
	base_table_init(&s->line_table, s->nlines);
	for (size_t n = s->nlines; n > 0;
	     n--) { /* backwards: of two with the same name the later counts */
		size_t i = base_table_slot(&s->line_table, s->lines[n - 1].base);

		while (s->line_table.slots[i] != 0)
			i = (i + 1) & s->line_table.mask;
		s->line_table.slots[i] = (uint32_t)n;
	}
}

const struct line *
sync_find_line(const struct sync *s, struct view base)
{
	if (s->line_table.slots == NULL)
		return NULL;
	for (size_t i = base_table_slot(&s->line_table, base); s->line_table.slots[i] != 0;
	     i = (i + 1) & s->line_table.mask)
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

	return s->header.uidvalidity != r->uidvalidity && s->faults == 0 &&
	       s->header.guid.len == 32 && hex_decode(guid, sizeof guid, s->header.guid) &&
	       memcmp(guid, r->guid, sizeof guid) != 0;
}

/* The index forgets all messages: their UIDs are void under the new UIDVALIDITY. */
static int
begin_anew(struct folder *f, uint32_t uidvalidity, struct err *err)
{
	struct index *x = &f->store->index;
	struct box *b = &f->box;
	MDB_txn *txn;
	int r;

	if (index_write(x, (uint64_t)b->r.messages * MESSAGE_ROOM, &txn, err) < 0)
		return -1;
	r = box_clear(x, txn, b, err);
	b->r.uidvalidity = uidvalidity;
	b->r.uidnext = b->r.recent_uid = 1;
	b->r.floor = b->r.modseq = (uint64_t)(wall_ns() / 1000);
	b->r.verified_ns = 0;
	if (r == 0)
		r = box_save(x, txn, b, err);
	if (r == 0)
		r = index_commit(x, &txn, err);
	index_abort(&txn);
	return r;
}

static int
become_other_mailbox(struct sync *s, struct err *err)
{
	log_warn("%s: has a new UIDVALIDITY %u, given by another server", s->f->disk,
	    s->header.uidvalidity);
	hex_decode(s->f->box.r.guid, sizeof s->f->box.r.guid, s->header.guid);
	s->is_first = true;
	return begin_anew(s->f, s->header.uidvalidity, err);
}

/* RFC 3501 2.3.1.1: where UIDs cannot go on rising, a greater UIDVALIDITY says that they begin anew. */
int
sync_renumber(struct sync *s, struct err *err)
{
	uint32_t uidvalidity, uidnext = s->f->box.r.uidnext;

	if (uidvalidity_next(s->f->store, &uidvalidity, err) < 0 ||
	    begin_anew(s->f, uidvalidity, err) < 0)
		return -1;
	unlinkat(s->f->dir_fd, KEYWORDS_EXTRA, 0); /* by UID: of other messages from now on */
	log_warn(
	    "%s: the UIDs are used up (the next would be %u): numbered anew under UIDVALIDITY %u",
	    s->f->disk, uidnext, uidvalidity);
	return err_set(err, ERR_TEMP, "%s: is being numbered anew", s->f->disk);
}

bool
sync_line_is_news(const struct sync *s, const struct line *l)
{
	return (size_t)(l->base.p - s->text.p) >= s->trusted_from;
}

/* Who changed the text, and what of it can be news to the index?  Dovecot appends, or writes a new file and renames it.
 * A change within what we know, in the same file, is damage: then the index is right in everything. */
static void
judge_uidlist(struct sync *s, const struct file_id *id)
{
	const struct file_id *known = &s->f->box.r.uidlist;

	s->trusted_from = 0;
	if (s->is_first || known->ino == 0 || id->ino != known->ino)
		return;
	if (id->size > known->size) {
		s->trusted_from = (size_t)known->size;
	} else {
		s->trusted_from = SIZE_MAX;
		s->rewrite = true;
	}
}

/* No UID of a line is ever given again: it may stand for a message whose rename was cut short. */
static void
raise_uidnext(struct sync *s)
{
	struct box_record *b = &s->f->box.r;

	/* The index knows what we gave, and nobody else can have given so many. */
	if (!s->is_first && s->header.uidnext > UIDS_USED_UP) {
		log_warn("%s: %s: the next UID %u makes no sense: it is %u", s->f->disk,
		    UIDLIST_FILE, s->header.uidnext, b->uidnext);
		s->header.uidnext = 0;
		s->rewrite = true;
	}
	if (s->trusted_from == 0 && s->header.uidnext > b->uidnext)
		b->uidnext = s->header.uidnext;
	for (size_t i = 0; i < s->nlines; i++)
		if (s->lines[i].uid >= b->uidnext && sync_line_is_news(s, &s->lines[i]))
			b->uidnext = s->lines[i].uid + 1;
}

static int
parse_uidlist(struct sync *s, const struct file_id *id, struct err *err)
{
	struct err ignored;

	s->nlines = 0;
	if (uidlist_parse(buf_view(&s->text), &s->header, take_line, s, &s->faults, &ignored) < 0) {
		s->nlines = 0;
		s->rewrite = true;
		return 0;
	}
	judge_uidlist(s, id);
	if (s->header.uidvalidity != s->f->box.r.uidvalidity) {
		if (s->trusted_from == 0 && is_other_mailbox(s))
			return become_other_mailbox(s, err);
		log_warn(
		    "%s: %s is of another UIDVALIDITY: written anew", s->f->disk, UIDLIST_FILE);
		s->nlines = 0;
		s->header.uidnext = 0;
		s->rewrite = true;
	}
	if (s->faults > 0 || s->header.version != 3)
		s->rewrite = true;
	return 0;
}

int
sync_load_uidlist(struct sync *s, struct err *err)
{
	struct file_id id, theirs;
	int r;

	buf_reset(&s->text);
	r = text_load(s->f->dir_fd, UIDLIST_FILE, &s->text, &id, err);
	if (r > 0) {
		s->rewrite = true;
		if (s->is_first) /* a Courier Maildir: the same text under another name */
			r = text_load(s->f->dir_fd, COURIER_UIDDB, &s->text, &theirs, err);
	}
	if (r < 0 || (r == 0 && parse_uidlist(s, &id, err) < 0))
		return -1;
	index_lines(s);
	raise_uidnext(s);
	s->f->box.r.uidlist = id;
	s->f->box.r.uidlist_lines = (uint32_t)(s->nlines + s->faults);
	return 0;
}

void
sync_compare_uidlist(struct sync *s)
{
	for (size_t i = 0; i < s->nknown && !s->rewrite; i++) {
		const struct entry *e = &s->entries[i];
		const struct line *l = sync_find_line(s, entry_base(e));

		if (e->is_seen && (l == NULL || l->uid != e->uid))
			s->rewrite = true;
	}
	if (s->rewrite && s->nlines > 0 && !s->is_first)
		log_warn("%s: %s is damaged or incomplete: written anew from the index", s->f->disk,
		    UIDLIST_FILE);
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

/* The last line of a UID counts: the one before the first of a higher UID. */
static void
add_extra_keywords(const struct sync *s, struct fresh *n)
{
	size_t low = 0, high = s->nextras;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->extras[mid].uid <= n->uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low > 0 && s->extras[low - 1].uid == n->uid) {
		n->keywords.bits[0] |= s->extras[low - 1].set.bits[0];
		n->keywords.bits[1] |= s->extras[low - 1].set.bits[1];
	}
}

static int
load_extras(struct sync *s, struct err *err)
{
	if (keywords_each_extra(s->f, take_extra, s, err) < 0)
		return -1;
	if (s->nextras > 0)
		qsort(s->extras, s->nextras, sizeof *s->extras, compare_extra);
	for (size_t i = 0; i < s->nfresh; i++)
		add_extra_keywords(s, &s->fresh[i]);
	return 0;
}

/* --- keywords of a Courier Maildir: into our table, and the letters into the file names ------------------------- */

static int
map_courier_names(
    struct folder *f, const struct courier_keywords *c, int map[COURIER_MAX_NAMES], struct err *err)
{
	for (unsigned i = 0; i < c->nnames; i++) {
		map[i] = keywords_number(f, c->names[i], true, err);
		if (map[i] == -1)
			return -1;
	}
	return 0;
}

static void
take_courier_keywords(
    struct sync *s, struct fresh *n, const struct courier_keywords *c, const int *map)
{
	const struct courier_message *m = map_get(&c->by_base, entry_base(n->entry));
	char from[MAILDIR_NAME_MAX + 8], to[MAILDIR_NAME_MAX + 8], full[MAILDIR_NAME_MAX + 1];
	struct maildir_name name;
	struct err err;

	for (unsigned i = 0; m != NULL && i < c->nnames; i++)
		if (m->bits[i / 64] >> (i % 64) & 1 && map[i] >= 0)
			keyword_add(&n->keywords, (unsigned)map[i]);
	maildir_name_parse(view_of(n->name), &name);
	name.letters |= (uint32_t)n->keywords.bits[0] & ((1u << KEYWORD_LETTERS) - 1);
	if (name.letters == 0 || maildir_name_format(&name, full) < 0)
		return;
	snprintf(from, sizeof from, "%s/%s", sub_of(n->place), n->name);
	snprintf(to, sizeof to, "cur/%s", full);
	if (strcmp(from, to) == 0 ||
	    rename_exclusive(s->f->dir_fd, from, s->f->dir_fd, to, &err) < 0)
		return;
	s->moved = true;
	memcpy(n->name, full, sizeof full);
	n->place = PLACE_CUR;
}

static int
import_courier(struct sync *s, struct err *err)
{
	struct courier_keywords c;
	int map[COURIER_MAX_NAMES], r;

	r = courier_load(s->f->dir_fd, &c, err);
	if (r == 0 && c.count > 0)
		r = map_courier_names(s->f, &c, map, err);
	for (size_t i = 0; i < s->nfresh && r == 0 && c.count > 0; i++)
		take_courier_keywords(s, &s->fresh[i], &c, map);
	courier_clear(&c);
	return r;
}

static int
append_extra_keywords(struct sync *s, struct err *err)
{
	struct buf lines;
	int r = 0;

	buf_init(&lines, TEXT_MAX);
	for (size_t i = 0; i < s->nfresh; i++) {
		struct keyword_set set = keyword_extras(&s->fresh[i].keywords);

		if (set.bits[0] != 0 || set.bits[1] != 0)
			keyword_extra_format(&lines, s->fresh[i].uid, &set);
	}
	if (lines.len > 0)
		r = keywords_append_extra(s->f, buf_view(&lines), err);
	buf_clear(&lines);
	return r;
}

int
sync_import_keywords(struct sync *s, struct err *err)
{
	if (load_extras(s, err) < 0)
		return -1;
	if (s->f->box.r.keywords.ino == 0 && import_courier(s, err) < 0)
		return -1;
	return append_extra_keywords(s, err);
}
