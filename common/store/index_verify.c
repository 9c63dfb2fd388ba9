/* LMDB trusts its file: a wrong page number makes it read outside the map.
 *
 * So an index whose last user did not end well is walked before use, under handlers that turn a crash into "damaged";
 * the environment is then abandoned, not closed, since its state is unknown.  What the walk cannot see (a page that
 * is listed as free and is not) may still crash the process later.  That is noted beside the index, and the next
 * process builds a new one instead of crashing again. */
#include "common/store/index.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define CRASH_NOTE "crashed"

static sigjmp_buf crash_point;
static const int crash_signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE };
enum { NSIGNALS = sizeof crash_signals / sizeof crash_signals[0] };

static void
on_crash(int signo)
{
	siglongjmp(crash_point, signo);
}

static void
on_assert(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	abort();
}

/* --- the note --------------------------------------------------------------------------------------------------- */

static int watched_dir = -1;

/* Only calls that are safe in a handler.  The default action follows: the fault comes again, abort() goes on. */
static void
note_crash(int signo)
{
	(void)signo;
	if (watched_dir >= 0)
		close(openat(
		    watched_dir, CRASH_NOTE, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
}

void
index_crash_watch(int dir_fd)
{
	struct sigaction now, sa = { .sa_handler = note_crash, .sa_flags = (int)SA_RESETHAND };

	watched_dir = dir_fd;
	sigemptyset(&sa.sa_mask);
	for (int i = 0; i < NSIGNALS && dir_fd >= 0; i++)
		/* a sanitizer's handler, or a test's, stays */
		if (sigaction(crash_signals[i], NULL, &now) == 0 && now.sa_handler == SIG_DFL)
			sigaction(crash_signals[i], &sa, NULL);
}

bool
index_crash_noted(int dir_fd)
{
	struct stat st;

	return fstatat(dir_fd, CRASH_NOTE, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- the walk ---------------------------------------------------------------------------------------------------- */

struct walk {
	struct index *x;
	MDB_txn *txn;
	uint64_t limit; /* entries that fit into the file at most */
};

static int
check_messages(struct walk *w, const struct box *b, struct err *err)
{
	unsigned char prefix[BOX_KEY];
	struct index_cursor c;
	struct message m;
	struct view key = { 0 }, value = { 0 };
	uint32_t n = 0, last = 0, uid;
	int r;

	key_u32(prefix, b->id);
	if (cursor_open(w->x, w->txn, DB_MESSAGES, view_make(prefix, sizeof prefix), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make(prefix, sizeof prefix), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err), n++) {
		uid = key.len == MESSAGE_KEY ? key_get_u32((const unsigned char *)key.p + 4) : 0;
		if (uid <= last || uid >= b->r.uidnext || n >= b->r.messages)
			r = err_set(
			    err, ERR_TEMP, "index: messages of mailbox %u are damaged", b->id);
		if (r < 0 || (r = index_message_decode(b->id, uid, value, &m, err)) < 0)
			break;
		last = uid;
		if (index_message_by_base(w->x, w->txn, b->id, message_base(&m), &uid, err) != 0 ||
		    uid != last) {
			r = err_set(
			    err, ERR_TEMP, "index: base names of mailbox %u are damaged", b->id);
			break;
		}
	}
	cursor_close(&c);
	if (r >= 0 && n != b->r.messages)
		r = err_set(err, ERR_TEMP, "index: mailbox %u has %u messages, %u counted", b->id,
		    n, b->r.messages);
	return r < 0 ? -1 : 0;
}

static int
check_boxes(struct walk *w, struct err *err)
{
	struct index_cursor c;
	struct view key, value;
	struct box b;
	int r;

	if (cursor_open(w->x, w->txn, DB_BOXES, view_make("", 0), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make("\0", 1), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err)) {
		if (key.len != BOX_KEY)
			r = err_set(err, ERR_TEMP, "index: damaged mailbox key");
		else
			r = box_decode(key_get_u32((const unsigned char *)key.p), value, &b, err);
		if (r == 0)
			r = check_messages(w, &b, err);
		if (r < 0)
			break;
	}
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

/* Entries of the other databases are only read: their pages must be there and in order. */
static int
check_pages(struct walk *w, enum index_db db, struct err *err)
{
	struct index_cursor c;
	struct view key, value;
	unsigned char last[512];
	size_t last_len = 0;
	uint64_t n = 0;
	int r;

	if (cursor_open(w->x, w->txn, db, view_make("", 0), &c, err) < 0)
		return -1;
	for (r = cursor_seek(&c, view_make("\0", 1), &key, &value, err); r == 0;
	     r = cursor_next(&c, &key, &value, err)) {
		size_t least = key.len < last_len ? key.len : last_len;
		int order = memcmp(last, key.p, least);

		if (key.len > sizeof last || ++n > w->limit || order > 0 ||
		    (order == 0 && n > 1 && key.len <= last_len)) {
			r = err_set(err, ERR_TEMP, "index: database %d is out of order", (int)db);
			break;
		}
		memcpy(last, key.p, key.len);
		last_len = key.len;
	}
	cursor_close(&c);
	return r < 0 ? -1 : 0;
}

/* LMDB's list of free pages: for each transaction a count and that many page numbers, falling. */
static int
check_free_list(struct walk *w, struct err *err)
{
	enum { FREE_DBI = 0 };
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_envinfo info;
	int rc, r = 0;

	mdb_env_info(w->x->env, &info);
	rc = mdb_cursor_open(w->txn, FREE_DBI, &cursor);
	if (rc != 0)
		return index_error(w->x, rc, "free list", err);
	while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
		const size_t *ids = value.mv_data;
		size_t n = value.mv_size / sizeof *ids;

		if (key.mv_size != sizeof(size_t) || n == 0 || ids[0] >= n)
			r = -1;
		for (size_t i = 1; r == 0 && i <= ids[0]; i++)
			if (ids[i] < 2 || ids[i] > info.me_last_pgno ||
			    (i > 1 && ids[i] >= ids[i - 1]))
				r = -1;
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return index_error(w->x, rc, "free list", err);
	return r < 0 ? err_set(err, ERR_TEMP, "index: the list of free pages is damaged") : 0;
}

static int
walk_all(struct index *x, struct err *err)
{
	struct walk w = { .x = x };
	MDB_envinfo info;
	int r = 0;

	mdb_env_info(x->env, &info);
	w.limit = info.me_mapsize / 8;
	if (index_read(x, &w.txn, err) < 0)
		return -1;
	r = check_free_list(&w, err);
	for (int db = 0; db < DB_COUNT && r == 0; db++)
		r = check_pages(&w, (enum index_db)db, err);
	if (r == 0)
		r = check_boxes(&w, err);
	index_read_end(x);
	return r;
}

int
index_guarded(struct index *x, int (*fn)(struct index *x, void *arg, struct err *err), void *arg,
    struct err *err)
{
	struct sigaction old[NSIGNALS], sa = { .sa_handler = on_crash };
	int r, signo;

	sigemptyset(&sa.sa_mask);
	for (int i = 0; i < NSIGNALS; i++)
		sigaction(crash_signals[i], &sa, &old[i]);
	signo = sigsetjmp(crash_point, 1);
	if (signo == 0) {
		r = fn(x, arg, err);
	} else {
		x->env = NULL;
		x->reader = NULL;
		x->is_reading = false;
		x->is_damaged = true;
		r = err_set(err, ERR_TEMP, "index: reading it ends in signal %d", signo);
	}
	for (int i = 0; i < NSIGNALS; i++)
		sigaction(crash_signals[i], &old[i], NULL);
	return r;
}

int
index_verify(struct index *x, struct err *err)
{
	int r;

	/* LMDB's own checks abort: caught as any crash */
	mdb_env_set_assert(x->env, on_assert);
	r = walk_all(x, err);
	if (r < 0)
		x->is_damaged = true;
	return r;
}
