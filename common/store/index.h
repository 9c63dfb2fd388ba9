/* index.h - the LMDB environment of one account: opening, transactions, and what stands in it.
 *
 * A damaged environment never takes anything with it but time: is_damaged is set, the owner (store.c) sets the
 * directory aside and everything is built anew from the Maildir and the texts beside it.
 *
 * Durability: MDB_NOMETASYNC.  A power cut can undo the last transaction, never tear one.  What it undoes is
 * found again: UIDs stand in dovecot-uidlist, which is synced before a UID is shown; flags and keywords stand in
 * file names; the directory times recorded are then older than the directories, which makes them be read.
 *
 * One thread; one read transaction and one write transaction at a time.  Views into the map are valid until the
 * transaction ends or, in a write transaction, until the next put.
 */
#ifndef COMMON_STORE_INDEX_H
#define COMMON_STORE_INDEX_H

#include "common/base/buf.h"
#include "common/store/index_record.h"

#include <lmdb.h>
#include <sys/types.h>

#define INDEX_DIRECTORY "estafeta.index"

enum index_db {
	DB_META,     /* "format", "next-id", "rename", "undo" + box: see the users */
	DB_NAMES,    /* directory name -> box */
	DB_BOXES,    /* box -> struct box_record, directory name */
	DB_MESSAGES, /* box, uid -> struct message_record, file name */
	DB_BASES,    /* box, base name -> uid */
	DB_CHANGES, /* box, modseq, uid -> nothing: each living message once, by its present modseq */
	DB_VANISHED, /* box, modseq, uid -> nothing: the expunge history */
	DB_KEYWORDS, /* box -> names, each with its NUL, by number */
	DB_EXTRAS,   /* box, uid -> fields of its dovecot-uidlist record, as they stand there */
	DB_CACHE,    /* guid, key byte -> crc, blob */
	DB_COUNT
};

struct index {
	MDB_env *env;
	MDB_dbi dbi[DB_COUNT];
	MDB_txn *reader; /* reset between uses */
	bool is_reading;
	bool is_damaged;
	bool is_full; /* the last failure was a full map; index_write grows it */
	ino_t ino;    /* of data.mdb */
	int dir_fd;   /* the index directory */
	int run_fd;   /* our lock that says: a living process has it open */
	char run_name[48];
	char *path; /* owned */
};

/* Opens or creates; damaged: -1 and x->is_damaged.  maildir_fd is borrowed for the call. */
int index_open(
    int maildir_fd, const char *maildir, uint64_t map_bytes, struct index *x, struct err *err);
void index_close(struct index *x);
static inline bool
index_is_open(const struct index *x)
{
	return x->env != NULL;
}
/* Renames the directory out of the way; the one set aside before goes. */
int index_set_aside(int maildir_fd, struct err *err);
/* False when another process has set our environment aside. */
bool index_is_current(const struct index *x, int maildir_fd);

int index_read(struct index *x, MDB_txn **txn, struct err *err);
void index_read_end(struct index *x);
/* need_bytes: room for what is to come, made beforehand since a map cannot grow inside a transaction. */
int index_write(struct index *x, uint64_t need_bytes, MDB_txn **txn, struct err *err);
int index_commit(struct index *x, MDB_txn **txn, struct err *err);
void index_abort(MDB_txn **txn); /* *txn may be NULL */

/* 0 found, 1 not, -1. */
int index_get(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct view *value,
    struct err *err);
int index_put(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct view value,
    struct err *err);
int index_del(struct index *x, MDB_txn *txn, enum index_db db, struct view key, struct err *err);
/* Turns LMDB's word into ours, noting damage and fullness; always -1. */
int index_error(struct index *x, int rc, const char *what, struct err *err);

/* A cursor over the keys of one prefix. */
struct index_cursor {
	struct index *x;
	MDB_cursor *cursor;
	unsigned char prefix[16];
	size_t prefix_len;
};
int cursor_open(struct index *x, MDB_txn *txn, enum index_db db, struct view prefix,
    struct index_cursor *c, struct err *err);
/* The first entry with key >= from (which begins with the prefix), then each following one.  0, 1 end, -1. */
int cursor_seek(struct index_cursor *c, struct view from, struct view *key, struct view *value,
    struct err *err);
int cursor_next(struct index_cursor *c, struct view *key, struct view *value, struct err *err);
int cursor_delete(struct index_cursor *c, struct err *err);
void cursor_close(struct index_cursor *c);

/* --- index_box.c: mailboxes and messages, counters kept true -------------------------------------------- */
/* 0, 1 no such, -1. */
int box_find(struct index *x, MDB_txn *txn, const char *disk, uint32_t *id, struct err *err);
int box_load(struct index *x, MDB_txn *txn, uint32_t id, struct box *out, struct err *err);
int box_save(struct index *x, MDB_txn *txn, const struct box *b, struct err *err);
/* Gives b->id a number and enters its name. */
int box_add(struct index *x, MDB_txn *txn, struct box *b, struct err *err);
int box_rename(struct index *x, MDB_txn *txn, struct box *b, const char *disk, struct err *err);
int box_remove(struct index *x, MDB_txn *txn, uint32_t id, const char *disk, struct err *err);
/* Forgets all messages and history; counters become 0. */
int box_clear(struct index *x, MDB_txn *txn, struct box *b, struct err *err);
/* Forgets the oldest expunges beyond keep. */
int box_trim_vanished(struct index *x, MDB_txn *txn, struct box *b, uint32_t keep, struct err *err);

int index_message_load(struct index *x, MDB_txn *txn, uint32_t box, uint32_t uid,
    struct message *out, struct err *err);
int index_message_by_base(
    struct index *x, MDB_txn *txn, uint32_t box, struct view base, uint32_t *uid, struct err *err);
/* All three take m->r.modseq as set by the caller and change the counters of b (not saved). */
int index_message_add(struct index *x, MDB_txn *txn, struct box *b, const struct message *m,
    struct view extras, struct err *err);
int index_message_update(struct index *x, MDB_txn *txn, struct box *b, const struct message *old,
    const struct message *m, struct err *err);
int index_message_remove(struct index *x, MDB_txn *txn, struct box *b, const struct message *m,
    uint64_t modseq, struct err *err);

/* --- index_verify.c: trust, and what is done about crashes -------------------------------------------------- */
/* Walks everything and checks every record.  -1: damaged. */
int index_verify(struct index *x, struct err *err);
/* From now on a crash of this process (not a kill) leaves a file "crashed" there; -1: no more. */
void index_crash_watch(int dir_fd);
bool index_crash_noted(int dir_fd);
/* Runs fn so that a crash inside LMDB becomes "damaged": the environment is then abandoned, not closed. */
int index_guarded(struct index *x, int (*fn)(struct index *x, void *arg, struct err *err),
    void *arg, struct err *err);

#endif
