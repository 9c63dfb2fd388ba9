/* sync.h - one pass over a folder, in three files: sync_scan.c reads the directories, sync_import.c the texts that
 * others wrote, sync.c decides, numbers what is new and tells the index.  Private to them. */
#ifndef COMMON_STORE_SYNC_H
#define COMMON_STORE_SYNC_H

#include "common/base/arena.h"
#include "common/store/store_internal.h"

#define NS_PER_S INT64_C(1000000000)
enum { MAX_FILES = 20 * 1000 * 1000, SYNC_STRINGS_SHIFT = 33 /* 8 GB of names at most */ };

/* From there on one pass could run out of UIDs.  Nobody gets so far by receiving mail. */
#define UIDS_USED_UP (UIDLIST_MAX_UID - MAX_FILES)

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
	struct keyword_set keywords; /* beside those of the name: of the first import */
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
	size_t trusted_from; /* offset in text: UIDs of lines before it are no news to the index */
	struct base_table line_table;
	struct fresh *fresh;
	size_t nfresh;
	struct extra_set {
		uint32_t uid;
		size_t line;
		struct keyword_set set;
	} * extras; /* of the first import: keywords beyond the letters */
	size_t nextras, extras_cap;
};

static inline struct view
entry_base(const struct entry *e)
{
	return view_make(e->name, e->base_len);
}
static inline const char *
sub_of(uint8_t place)
{
	return place == PLACE_NEW ? "new" : "cur";
}

/* --- sync_scan.c --- */
/* Room for count names. */
void base_table_init(struct base_table *t, size_t count);
size_t base_table_slot(const struct base_table *t, struct view base);
char *sync_keep_name(struct sync *s, const char *name, struct err *err);
/* A regular file of this name; false: there is none. */
bool sync_stat(struct folder *f, uint8_t place, const char *name, struct stat *st);
/* Fills entries: first what the index knows (nknown), then what it does not. */
int sync_scan(struct sync *s, struct err *err);

/* --- sync_import.c --- */
/* dovecot-uidlist into lines (raises UIDNEXT); decides whether it must be written anew. */
int sync_load_uidlist(struct sync *s, struct err *err);
const struct line *sync_find_line(const struct sync *s, struct view base);
/* The UIDs are used up: the mailbox begins anew.  Always -1: the next pass fills it. */
int sync_renumber(struct sync *s, struct err *err);
/* May this line give a UID to a message that the index does not know? */
bool sync_line_is_news(const struct sync *s, const struct line *l);
/* Does the text say of each message what the index says? */
void sync_compare_uidlist(struct sync *s);
/* The first look at a folder: keywords that other servers, or a lost index, left in texts. */
int sync_import_keywords(struct sync *s, struct err *err);

#endif
