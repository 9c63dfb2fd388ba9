/* store.h - one account's mail: mailboxes, messages, flags, changes (DESIGN 6).
 *
 * imapd, pop3d and the tools know only this interface; maildir.c and index.c stand behind it, and
 * a later driver may replace them.  One process (jailed to the account) opens the index; all of a user's
 * sessions share one struct store.  Calls block for file I/O of this one account.
 *
 * UIDs, UIDVALIDITY, keywords and modseqs: RFC 3501 2.3.1.1, RFC 7162.  The index (LMDB) is a cache with
 * memory: UIDs, UIDVALIDITY and keywords stand in dovecot-uidlist and dovecot-keywords beside the mail as
 * well, and a store whose index is missing or damaged is rebuilt from them.
 *
 * Errors: ERR_GONE no such mailbox or message; ERR_PERM exists already, forbidden name; ERR_LIMIT quota, name
 * too long; ERR_TEMP the disk.
 */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/view.h"

struct store;
struct mailbox;

enum message_flags {
	FLAG_SEEN = 1, FLAG_ANSWERED = 2, FLAG_FLAGGED = 4, FLAG_DELETED = 8, FLAG_DRAFT = 16,
	FLAG_PASSED = 32, /* Maildir P: kept, shown as $Forwarded */
	FLAG_RECENT = 256, /* never stored: see mailbox_open */
};
enum { STORE_MAX_KEYWORDS = 128, STORE_NAME_MAX = 1000 };
struct keyword_set {
	uint64_t bits[STORE_MAX_KEYWORDS / 64]; /* by number in the mailbox's keyword table */
};

struct store_config {
	const char *maildir;      /* "Maildir" under the process's root, or an absolute path in tools */
	const char *host;         /* for file names */
	uint64_t quota_bytes;     /* 0 = none */
	uint64_t index_map_bytes; /* LMDB map size */
	uint32_t changes_kept;    /* bound of the VANISHED history a mailbox */
};
/* Creates what is missing (Maildir, index).  A damaged index is set aside and rebuilt; said in the log. */
int store_open(const struct store_config *config, struct store **out, struct err *err);
void store_close(struct store *s);

/* --- the mailbox tree: names are UTF-8 with '/' as separator; "INBOX" is case-insensitive -------------- */
struct mailbox_info {
	const char *name;
	bool exists;        /* false: only a parent of one that does */
	bool has_children;
	bool is_subscribed;
	const char *special_use; /* "\\Sent" or NULL */
};
/* All mailboxes and parents, sorted by name; in the arena.  With subscribed: also names subscribed but gone. */
int store_list(struct store *s, bool subscribed, struct arena *a, struct mailbox_info **out, size_t *count,
    struct err *err);
bool store_name_is_valid(const char *name);
int store_create(struct store *s, const char *name, struct err *err);
int store_delete(struct store *s, const char *name, struct err *err);    /* RFC 3501 6.3.4 */
int store_rename(struct store *s, const char *from, const char *to, struct err *err); /* with its children; INBOX special, 6.3.5 */
int store_subscribe(struct store *s, const char *name, bool on, struct err *err);

struct mailbox_status {
	uint32_t messages, recent, unseen, deleted;
	uint32_t uidnext, uidvalidity;
	uint64_t highest_modseq;
	uint64_t size; /* sum of message sizes with CRLF, of those whose size is known ... */
	uint32_t unsized; /* ... this many are not: their names say nothing (no W=); see mailbox_measure_all */
	char guid[33]; /* 32 hex digits */
};
int store_status(struct store *s, const char *name, struct mailbox_status *out, struct err *err);

/* --- an open mailbox: one a session ------------------------------------------------------------------- */
struct message_info {
	uint32_t uid;
	uint16_t flags;
	struct keyword_set keywords;
	uint64_t modseq;
	uint64_t size;         /* with CRLF line ends: RFC822.SIZE ... */
	bool is_measured;      /* ... false: of the file as it stands, see mailbox_measure */
	int64_t internal_date; /* seconds since 1970 UTC */
	int64_t save_date;     /* seconds since 1970 UTC; when it came into this mailbox */
	char guid[33];         /* never reused, same for a copy by hard link */
};

/* Opens and brings the index up to date with the directory.  claim_recent: messages that arrived since the
 * last claiming session are \Recent in this session, and in no other (RFC 3501 2.3.2). */
int mailbox_open(struct store *s, const char *name, bool claim_recent, struct mailbox **out, struct err *err);
void mailbox_close(struct mailbox *m);
int mailbox_get_status(struct mailbox *m, struct mailbox_status *out, struct err *err);
bool mailbox_is_gone(struct mailbox *m); /* deleted or renamed under us by another session */
/* Looks for mail added, renamed or removed by others (cheap when nothing changed).  force: a note said so. */
int mailbox_refresh(struct mailbox *m, bool force, struct err *err);

/* All UIDs in order, newest state; array in the arena. */
int mailbox_uids(struct mailbox *m, struct arena *a, uint32_t **uids, size_t *count, struct err *err);
int mailbox_get(struct mailbox *m, uint32_t uid, struct message_info *out, struct err *err);
/* In UID order from..to inclusive; stops when fn returns false. */
int mailbox_each(struct mailbox *m, uint32_t from, uint32_t to,
    bool (*fn)(void *arg, const struct message_info *info), void *arg, struct err *err);
/* What changed since modseq, in modseq order: flags (info non-NULL) and expunges (info NULL).  Returns 1 when the
 * history does not reach back that far: the caller compares everything. */
int mailbox_changes(struct mailbox *m, uint64_t since_modseq,
    bool (*fn)(void *arg, uint32_t uid, const struct message_info *info), void *arg, struct err *err);
/* Makes the sizes of these messages exact by reading those that nobody has measured: once in a message's life.  What
 * cannot be read keeps the size of its file.  Stops after so many bytes as are a turn's work: the number of infos that
 * are done, at least one.  mailbox_measure_all: to the end, for the status's size and for POP3. */
size_t mailbox_measure(struct mailbox *m, struct message_info *infos, size_t count);
int mailbox_measure_all(struct mailbox *m, struct err *err);
bool mailbox_is_recent(struct mailbox *m, uint32_t uid);

/* Keyword table of the mailbox: number to name; NULL beyond the last. */
const char *mailbox_keyword(struct mailbox *m, unsigned number);
/* Number of this keyword, made if create; -1 unknown, -2 table full. */
int mailbox_keyword_number(struct mailbox *m, const char *name, bool create, struct err *err);

enum store_mode { STORE_REPLACE, STORE_ADD, STORE_REMOVE };
/* For each uid that exists (thousands take several transactions, each with its modseq).  unchanged_since: 0 = none; UIDs refused for it go to
 * refused (arena), RFC 7162 3.1.3.  FLAG_RECENT is ignored. */
int mailbox_store_flags(struct mailbox *m, const uint32_t *uids, size_t count, enum store_mode mode,
    uint16_t flags, const struct keyword_set *keywords, uint64_t unchanged_since, struct arena *a,
    uint32_t **refused, size_t *nrefused, struct err *err);
/* Removes those of uids that have \Deleted (only_deleted) or all of them; gone gets the ones removed. */
int mailbox_expunge(struct mailbox *m, const uint32_t *uids, size_t count, bool only_deleted, struct arena *a,
    uint32_t **gone, size_t *ngone, struct err *err);
/* All or nothing.  new_uids (arena) parallel to the uids that still existed, which come back in old_uids. */
struct copy_result {
	uint32_t uidvalidity;
	uint32_t *old_uids, *new_uids;
	size_t count;
};
int mailbox_copy(struct mailbox *m, const uint32_t *uids, size_t count, const char *to, bool move,
    struct arena *a, struct copy_result *out, struct err *err);

/* --- content --------------------------------------------------------------------------------------------- */
/* The message with CRLF line ends, whole; *content is cleared and filled (cap: its own max).  ERR_GONE when another
 * program has removed the file. */
int mailbox_read(struct mailbox *m, uint32_t uid, struct buf *content, struct err *err);
/* The message's file, open for reading: any line ends, as it stands on disk; for streaming what is large.  *size: with
 * CRLF line ends, of a message too large to be measured the size of the file.  Descriptor (the caller's) or -1. */
int mailbox_open_file(struct mailbox *m, uint32_t uid, uint64_t *size, struct err *err);
/* The header block only (up to and with the empty line), CRLF. */
int mailbox_read_header(struct mailbox *m, uint32_t uid, struct buf *content, struct err *err);
/* A small cache for what is derived from the content: envelope, bodystructure.  Belongs to the GUID; key: one byte.
 * get: 0 and appended, 1 = not cached. */
int mailbox_cache_get(struct mailbox *m, uint32_t uid, char key, struct buf *out, struct err *err);
int mailbox_cache_put(struct mailbox *m, uint32_t uid, char key, struct view value, struct err *err);
/* Many in one transaction; messages that are gone are passed over. */
struct cache_value {
	uint32_t uid;
	char key;
	struct view value;
};
int mailbox_cache_put_many(struct mailbox *m, const struct cache_value *values, size_t count, struct err *err);

/* --- saving (APPEND): streamed to tmp/, durable when finished ----------------------------------------------- */
struct save;
int save_begin(struct store *s, const char *mailbox, struct save **out, struct err *err);
int save_write(struct save *v, const void *p, size_t len, struct err *err); /* CRLF or LF, in any pieces */
struct save_options {
	uint16_t flags;
	const char *const *keywords; /* NULL-terminated, or NULL */
	int64_t internal_date;       /* seconds; < 0: now */
};
/* File and directory synced, index written: then it is 0.  Frees v either way. */
int save_finish(struct save *v, const struct save_options *o, uint32_t *uidvalidity, uint32_t *uid, struct err *err);
void save_abort(struct save *v);
/* Several saves as one (MULTIAPPEND, batches): all or nothing, one flush. */
int save_finish_many(struct save **v, const struct save_options *o, size_t count, uint32_t *uidvalidity,
    uint32_t *uids, struct err *err);

/* --- POP3 ------------------------------------------------------------------------------------------------------- */
/* One POP3 session at a time (RFC 1939 8): 0 locked, 1 another has it. */
int store_pop3_lock(struct store *s, struct err *err);
void store_pop3_unlock(struct store *s);
/* UIDs in POP3 order: those with an order number of another server (O of dovecot-uidlist) first, by it, then the rest by
 * UID. */
int mailbox_pop3_uids(struct mailbox *m, struct arena *a, uint32_t **uids, size_t *count, struct err *err);
/* The message's UIDL, stable for its life (P of dovecot-uidlist, else UIDVALIDITY and UID as Dovecot has it). */
int mailbox_uidl(struct mailbox *m, uint32_t uid, char out[71], struct err *err);

/* --- names on the wire ---------------------------------------------------------------------------------------------- */
/* Modified UTF-7 (RFC 3501 5.1.3).  -1: malformed, or not in the one canonical form. */
int mutf7_decode(struct view in, struct buf *utf8);
int mutf7_encode(struct view utf8, struct buf *out);

#endif
