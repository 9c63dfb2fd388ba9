/* user_db.h - the user database: "btree:PATH" is the Berkeley DB file PATH.db and the directory
 * PATH.env.
 *
 * Crash safety: PATH.env holds a transactional environment's log (and the lock file), private to
 * one process: regions live in its memory, so that no other process can hang or crash on them,
 * and recovery runs at every open.  A put or del that has returned is on disk.  What a kill or a
 * power cut interrupts is undone by the next open.  The rejected ways: updating a plain file in
 * place (a torn page split loses accounts), and writing the whole file anew for every change (a
 * provider adds a hundred thousand accounts in a loop). One process has it open at a time: the
 * lock in PATH.env is held from open to close. PATH.db and PATH.env belong to the authentication
 * user; root makes them and never opens them: a worker that was broken into could leave a trap
 * there (DB_CONFIG is refused).
 * A process opens it in its working directory (user_db_enter) and stays there: Berkeley DB opens
 * by name whatever it needs, and the authentication user may not be allowed to walk an absolute
 * path (a suite that lies in somebody's home). */
#ifndef COMMON_USER_USER_DB_H
#define COMMON_USER_USER_DB_H

#include "common/user/user_password.h"

#include <sys/types.h>

struct user_db;

/* Splits "btree:/dir/users" into the two paths; they must be absolute.  -1: ERR_SYNTAX,
 * ERR_LIMIT. */
int user_db_paths(const char *spec, char *file, char *env, size_t size, struct err *err);
/* Makes what is missing, also the directory of both, for this owner; needs to be root unless
 * owner is the caller.  0 or -1. */
int user_db_prepare(const char *spec, uid_t uid, gid_t gid, struct err *err);
/* Makes the directory of both the working directory, before root is dropped.  0 or -1. */
int user_db_enter(const char *spec, struct err *err);
/* Locks and recovers, where user_db_enter has led; the working directory must be the same
 * whenever the database is used, until it is closed.  -1: ERR_LIMIT when another process has it (wait_ms is over), ERR_GONE
 * when it was never made, ERR_TEMP. */
int user_db_open(const char *spec, int wait_ms, struct user_db **out, struct err *err);
void user_db_close(struct user_db *db); /* NULL is allowed */

/* In all that follows, db may be NULL: one that could not be opened (ERR_TEMP).
 *
 * address: folded (user_address_fold).  0 found, 1 no such user, -1 (ERR_TEMP, also of a record that is damaged). */
int user_db_get(struct user_db *db, const char *address, struct user_record *out, struct err *err);
enum user_db_put { USER_DB_NEW, USER_DB_REPLACE };
/* Durable when it returns 0.  1: NEW and it exists, REPLACE and it does not. */
int user_db_put(struct user_db *db, const char *address, const struct user_record *r,
    enum user_db_put how, struct err *err);
int user_db_del(struct user_db *db, const char *address, struct err *err); /* as put */
/* fn(arg, address) for each account behind `after` ("" = all) in order, until it returns false.
 * 0 or -1. */
int user_db_list(struct user_db *db, const char *after, bool (*fn)(void *arg, const char *address),
    void *arg, struct err *err);
/* A secret of this installation, made with the database: see user_scram_fake. */
int user_db_secret(struct user_db *db, uint8_t out[USER_SECRET_BYTES], struct err *err);
/* Brings PATH.db up to date with the log, so that readers of the file see it and the next
 * recovery is short. */
int user_db_checkpoint(struct user_db *db, struct err *err);
/* A failure (of the disk, for example) after which only closing and opening, with its recovery,
 * helps. */
bool user_db_is_broken(const struct user_db *db);

#endif
