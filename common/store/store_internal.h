/* store_internal.h - what the files of the store share; nobody else includes it.
 *
 * struct store: one account.  struct folder: one Maildir directory in use, shared by all sessions that have it open.
 * struct mailbox: one session's view of a folder.
 *
 * Writing: folder_lock (flock on "estafeta.lock" in the folder; excludes this suite's other processes), files
 * first, then one index transaction, folder_unlock.  A crash in between leaves the directory ahead of the index,
 * which the next folder_sync notices by the directory's time.  Readers take no lock.
 */
#ifndef COMMON_STORE_STORE_INTERNAL_H
#define COMMON_STORE_STORE_INTERNAL_H

#include "common/base/map.h"
#include "common/store/index.h"
#include "common/store/keyword_file.h"
#include "common/store/maildir_name.h"
#include "common/store/store.h"
#include "common/store/uidlist.h"

#include <sys/stat.h>

#define FOLDER_LOCK "estafeta.lock"
#define UIDLIST_FILE "dovecot-uidlist"
#define UIDLIST_LOCK "dovecot-uidlist.lock"
#define UIDLIST_DOTLOCK "estafeta.dotlock" /* the file behind UIDLIST_LOCK while we hold it */
#define KEYWORDS_FILE "dovecot-keywords"
#define KEYWORDS_EXTRA "estafeta-keywords"

enum {
	TEXT_MAX = 256 << 20, /* the largest text beside the mail that we read */
	MEASURE_MAX =
	    256
	    << 20, /* of a message larger than that, which no IMAP client is given whole, nobody counts the lines */
	LOCK_WAIT_MS = 30000,      /* for another process of the account */
	DOTLOCK_STALE_MS = 120000, /* as Dovecot has it */
	MESSAGE_ROOM = 1024, /* room in the index for one message in all databases, with splits */
};

struct store {
	char *maildir, *host; /* owned */
	uint64_t quota_bytes, map_bytes;
	uint32_t changes_kept;
	int root_fd; /* the Maildir */
	struct index index;
	unsigned generation; /* grows with every index opened: box numbers of older ones are void */
	struct folder *folders; /* in use */
	unsigned locks;         /* folders locked now */
	int pop3_fd;            /* >= 0: we hold the POP3 lock */
	int tree_fd;
	unsigned tree_locked;
	bool has_utf8_names; /* Courier 5 wrote here: new folders get UTF-8 names too */
	uint64_t name_counter;
	struct map oddities; /* files that were complained of */
	struct map cache;    /* entries not yet in the index; owned */
	size_t cache_bytes;
};

struct folder {
	struct folder *next;
	struct store *store; /* borrowed */
	unsigned refs;
	char disk[MAILDIR_NAME_MAX + 1]; /* directory below the Maildir, "." for INBOX */
	int dir_fd, lock_fd;
	unsigned locked;
	unsigned generation; /* of the index that box.id belongs to; 0 = none */
	bool is_gone;
	bool must_scan;                     /* an operation failed half-way: cur/ must be read */
	struct box box;                     /* true while locked; else what it was last */
	char *keywords[STORE_MAX_KEYWORDS]; /* owned */
	unsigned nkeywords;
	struct file_id keywords_seen,
	    extra_seen; /* state of the texts that the table above stands for */
};

struct uid_range {
	uint32_t from, to;
};
struct mailbox {
	struct folder *folder; /* shared */
	uint32_t uidvalidity;  /* when it was opened */
	bool claims;
	struct uid_range *recent; /* owned; rising */
	size_t nrecent;
};

/* --- store.c ------------------------------------------------------------------------------------------- */
/* The index is open, undamaged and the one that others use. */
int store_ready(struct store *s, struct err *err);
/* One process at a time changes the tree of folders. */
int store_lock_tree(struct store *s, struct err *err);
void store_unlock_tree(struct store *s);
/* A file name's beginning that nobody else makes: "<seconds>.M<us>P<pid>_<n>.<host>". */
void store_unique_name(struct store *s, char *out, size_t size);
/* flock with patience. */
int lock_wait(int fd, const char *what, struct err *err);
int64_t wall_ns(void);
int64_t mtime_ns(const struct stat *st);
/* The next UIDVALIDITY of this account (dovecot-uidvalidity), and the news that one is in use. */
int uidvalidity_next(struct store *s, uint32_t *out, struct err *err);
void uidvalidity_seen(struct store *s, uint32_t seen);

/* --- tree.c: also sees what Courier left, finishes a rename that was cut short, removes deleted folders. */
int store_repair_tree(struct store *s, struct err *err);

/* --- list.c: fn for each directory that is a mailbox, INBOX not among them; it stops when fn returns non-zero. */
int store_each_folder(struct store *s,
    int (*fn)(void *arg, const char *disk, const char *name, struct err *err), void *arg,
    struct err *err);

/* --- names.c --------------------------------------------------------------------------------------------- */
/* Directory of a mailbox: the one that exists, else the one to make.  ERR_PERM: no valid name. */
int name_to_disk(struct store *s, const char *name, char disk[MAILDIR_NAME_MAX + 1], bool *exists,
    struct err *err);
/* UTF-8 name of a directory, in out; false: this directory is no mailbox. */
bool name_from_disk(const char *disk, struct buf *out);

/* --- folder.c ---------------------------------------------------------------------------------------------- */
int folder_open(struct store *s, const char *name, struct folder **out, struct err *err);
int folder_open_disk(struct store *s, const char *disk, struct folder **out, struct err *err);
void folder_close(struct folder *f);
/* Locks and loads f->box (made if there is none). */
int folder_lock(struct folder *f, struct err *err);
/* Locks, and brings the index up to date: before every operation that touches messages. */
int folder_begin(struct folder *f, struct err *err);
void folder_unlock(struct folder *f);
/* f->box as it is now, without a lock; binds it to the index first if need be. */
int folder_peek(struct folder *f, struct err *err);
/* f->box as the index has it, dropping changes not saved. */
int folder_reload(struct folder *f, struct err *err);
/* The folder is bound to the present index: for calls that only read messages. */
int folder_ready(struct folder *f, struct err *err);
/* Saves f->box in a transaction of its own. */
int folder_save_box(struct folder *f, struct err *err);
/* After a failure: of f->box only the raised UIDNEXT and the state of the texts count; the rest is as the index has
 * it. */
int folder_save_uidnext(struct folder *f, struct err *err);
/* Records the state of cur/ after we changed it ourselves (f->box, not saved). */
int folder_own_change(struct folder *f, struct err *err);
int folder_fsync(struct folder *f, const char *subdir, struct err *err);
/* "cur/NAME" or "new/NAME" of a message. */
void message_path(const struct message *m, char path[MAILDIR_NAME_MAX + 8]);
/* Renames, never over another file: ERR_PERM with sys EEXIST, ERR_GONE, ERR_TEMP. */
int rename_exclusive(int from_fd, const char *from, int to_fd, const char *to, struct err *err);

/* --- texts.c: files beside the mail ------------------------------------------------------------------------- */
/* 0 read, 1 missing, -1. */
int text_load(int dir_fd, const char *name, struct buf *out, struct file_id *id, struct err *err);
int text_identify(
    int dir_fd, const char *name, struct file_id *id, struct err *err); /* missing: all zero */
/* New content under the old name, durable. */
int text_replace(
    int dir_fd, const char *name, struct view content, struct file_id *id, struct err *err);
/* A torn last line is closed first.  sync: durable. */
int text_append(int dir_fd, const char *name, struct view content, bool sync, struct file_id *id,
    struct err *err);
bool file_id_equal(const struct file_id *a, const struct file_id *b);

/* Dovecot's lock of a folder's uidlist and keywords. */
int uidlist_lock(struct folder *f, struct err *err);
void uidlist_unlock(struct folder *f);
/* Records of new messages, durable before anyone sees their UIDs; lines records long (f->box is changed, not saved). */
int uidlist_append(struct folder *f, struct view records, uint32_t lines, struct err *err);
/* All of it anew from the index; takes its own transactions.  Saves f->box. */
int uidlist_rewrite(struct folder *f, struct err *err);
/* When a quarter of it is dead. */
int uidlist_tidy(struct folder *f, struct err *err);

/* --- keywords.c --------------------------------------------------------------------------------------------- */
int keywords_load(struct folder *f, MDB_txn *txn, struct err *err);
/* Reads the texts when others changed them, and repairs them from the index (f->box is changed, not saved). */
int keywords_reconcile_if_changed(struct folder *f, struct err *err);
/* Makes numbers up to n exist, with names like "unknown-3" where none is known. */
int keywords_fill(struct folder *f, unsigned n, struct err *err);
/* Number, made if need be; the texts are written, f->box changed and saved.  -1 failed, -2 full. */
int keywords_number(struct folder *f, const char *name, bool create, struct err *err);
/* Lines for estafeta-keywords (f->box is changed, not saved). */
int keywords_append_extra(struct folder *f, struct view lines, struct err *err);
/* Keywords from 26 on of each UID, as the text says; fn may be called several times for a UID, the last counts. */
int keywords_each_extra(struct folder *f,
    void (*fn)(void *arg, uint32_t uid, const struct keyword_set *set), void *arg, struct err *err);
void keywords_forget(struct folder *f);

/* --- sync.c --------------------------------------------------------------------------------------------------- */
enum sync_how {
	SYNC_QUICK = 0,
	SYNC_NEW = 1, /* look into new/ even if its time is the same */
	SYNC_VERIFY =
	    2, /* read cur/ if we have only our own word for what is in it, and it is time again */
	SYNC_FORCE = 4, /* read everything */
	SYNC_CLAIM = 8, /* move new/ to cur/ */
};
/* With the folder locked.  f->box is saved if it changed. */
int folder_sync(struct folder *f, unsigned how, struct err *err);
/* Would folder_sync find anything to do?  Without a lock; 1 yes, 0 no, -1. */
int folder_is_stale(struct folder *f, unsigned how, struct err *err);

/* --- quota.c ------------------------------------------------------------------------------------------------------ */
int quota_check(struct store *s, uint64_t bytes, uint32_t messages, struct err *err);
void quota_add(struct store *s, int64_t bytes, int64_t messages);

/* --- undo.c: names of files to be removed if we die before the index knows them ---------------------------------- */
int undo_write(
    struct folder *f, struct view names, struct err *err); /* each with its NUL; durable */
int undo_forget(struct folder *f, MDB_txn *txn, struct err *err);
/* With the lock held: removes what a dead process left. */
int undo_run(struct folder *f, struct err *err);

/* --- cache.c ----------------------------------------------------------------------------------------------------------- */
int cache_flush(struct store *s, struct err *err);
void cache_forget(struct store *s);

/* --- content.c ------------------------------------------------------------------------------------------------------ */
/* The message's record; ERR_GONE. */
int message_find(struct folder *f, uint32_t uid, struct message *m, struct err *err);
/* Opens the message's file, looking again when another program renamed it.  Descriptor or -1; *m is as found. */
int message_open(struct folder *f, uint32_t uid, struct message *m, struct err *err);
/* The file's size with CRLF line ends. */
int measure_fd(int fd, uint64_t *size, struct err *err);

/* The name a message of these flags has in cur/: old is its present name. */
int message_rename_plan(const struct message *old, uint16_t flags,
    const struct keyword_set *keywords, struct message *out);

#endif
