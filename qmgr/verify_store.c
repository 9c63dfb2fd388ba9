#include "qmgr/verify_store.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPORARY_NAME VERIFY_STORE_NAME ".new"

enum {
	FILE_MAX = 64 << 20, /* more is not read, and not written */
	WAIT_MS = 1000,      /* entries are collected */
	SLACK = 1 << 20,     /* the file may have twice what is in the cache, and this */
};

struct verify_store {
	struct loop *loop;
	struct work_pool *pool;
	struct verify_cache *cache;
	int root_fd;
	struct buf waiting; /* lines */
	struct loop_timer timer;
	bool is_busy, wants_rewrite;
	size_t file_bytes;
	/* of the write under way: the thread's */
	struct buf writing;
	bool rewrites;
	size_t written;
	struct err err;
	int result;
};

static int
write_lines(struct verify_store *s, const char *name, int flags, const struct buf *lines)
{
	int fd = open_beneath(s->root_fd, name, O_WRONLY | O_CREAT | flags, 0600), r;

	if (fd < 0)
		return err_sys(&s->err, ERR_TEMP, "%s", name);
	r = fd_write_all(fd, lines->p, lines->len, &s->err);
	if (close(fd) < 0 && r == 0)
		r = err_sys(&s->err, ERR_TEMP, "%s: close", name);
	return r;
}

/* 0, and what there is in *out; -1. */
static int
read_lines(int root_fd, struct buf *out, struct err *err)
{
	int fd = open_beneath(root_fd, VERIFY_STORE_NAME, O_RDONLY | O_NONBLOCK, 0), r = -1;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, ERR_TEMP, VERIFY_STORE_NAME);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err_set(err, ERR_PERM, "%s: not a regular file", VERIFY_STORE_NAME);
	else
		r = fd_read_rest(fd, out, err);
	fd_close(&fd);
	return r;
}

/* From the file itself, so that the loop has nothing to do with it: what counts of it is written anew. */
static int
rewrite_file(struct verify_store *s)
{
	struct verify_cache c;
	struct verify_entry *e;
	struct buf lines;
	int r;

	buf_init(&lines, FILE_MAX);
	verify_cache_init(&c, &s->cache->times, s->cache->max_entries, s->cache->max_bytes);
	r = read_lines(s->root_fd, &lines, &s->err);
	if (r < 0 && s->err.kind == ERR_LIMIT)
		r = 0; /* as much of it as may be */
	if (r == 0) {
		verify_cache_load(&c, buf_view(&lines), clock_wall_ms() / 1000);
		buf_reset(&lines);
		/* in the order that they are read in: who was told of last stands last */
		TAILQ_FOREACH_REVERSE(e, &c.entries, verify_entries, link)
		verify_entry_format(e, &lines);
		s->written = lines.len;
		r = write_lines(s, TEMPORARY_NAME, O_TRUNC, &lines);
	}
	if (r == 0 && renameat(s->root_fd, TEMPORARY_NAME, s->root_fd, VERIFY_STORE_NAME) < 0)
		r = err_sys(&s->err, ERR_TEMP, "%s: rename", TEMPORARY_NAME);
	if (r < 0)
		unlinkat(s->root_fd, TEMPORARY_NAME, 0);
	verify_cache_clear(&c);
	buf_clear(&lines);
	return r;
}

static void
run(void *arg)
{
	struct verify_store *s = arg;

	s->written = s->file_bytes + s->writing.len;
	s->result = write_lines(s, VERIFY_STORE_NAME, O_APPEND, &s->writing);
	if (s->result == 0 && s->rewrites)
		s->result = rewrite_file(s);
}

static void
done(void *arg)
{
	struct verify_store *s = arg;

	s->is_busy = false;
	if (s->result < 0)
		log_warn("address_verify_map: %s", s->err.text);
	s->file_bytes = s->written;
	buf_clear(&s->writing);
	if (s->waiting.len > 0 || s->wants_rewrite)
		loop_timer_start(&s->timer, WAIT_MS);
}

static void
start(struct verify_store *s)
{
	struct buf lines = s->waiting;

	if (s->is_busy || (s->waiting.len == 0 && !s->wants_rewrite))
		return;
	s->waiting = s->writing;
	s->writing = lines;
	s->rewrites = s->wants_rewrite || s->file_bytes > 2 * s->cache->bytes + SLACK;
	s->wants_rewrite = false;
	s->is_busy = true;
	work_submit(s->pool, run, done, s);
}

static void
on_timer(void *arg)
{
	start(arg);
}

void
verify_store_flush(struct verify_store *s)
{
	start(s);
}

bool
verify_store_is_quiet(const struct verify_store *s)
{
	return !s->is_busy && s->waiting.len == 0 && !s->wants_rewrite;
}

void
verify_store_add(struct verify_store *s, const struct verify_entry *e)
{
	verify_entry_format(e, &s->waiting);
	if (!s->is_busy && !loop_timer_running(&s->timer))
		loop_timer_start(&s->timer, WAIT_MS);
}

void
verify_store_rewrite(struct verify_store *s)
{
	s->wants_rewrite = true;
	start(s);
}

static void
load(struct verify_store *s)
{
	struct err err;
	struct buf b;
	size_t bad;

	buf_init(&b, FILE_MAX);
	if (read_lines(s->root_fd, &b, &err) < 0) {
		log_warn("address_verify_map: %s", err.text);
		s->wants_rewrite = err.kind == ERR_LIMIT;
	}
	bad = verify_cache_load(s->cache, buf_view(&b), clock_wall_ms() / 1000);
	if (bad > 0) {
		log_warn("address_verify_map: %s: %zu damaged lines are passed over",
		    VERIFY_STORE_NAME, bad);
		s->wants_rewrite = true;
	}
	s->file_bytes = b.len;
	buf_clear(&b);
}

struct verify_store *
verify_store_open(struct loop *l, struct work_pool *pool, int root_fd, struct verify_cache *c)
{
	struct verify_store *s = x_calloc(1, sizeof *s);

	s->loop = l;
	s->pool = pool;
	s->root_fd = root_fd;
	s->cache = c;
	buf_init(&s->waiting, FILE_MAX);
	buf_init(&s->writing, FILE_MAX);
	loop_timer_init(&s->timer, l, on_timer, s);
	if (mkdirat(root_fd, "verify", 0700) < 0 && errno != EEXIST)
		log_warn("address_verify_map: mkdir verify: %s", strerrordesc_np(errno));
	load(s);
	start(s);
	return s;
}

void
verify_store_close(struct verify_store *s)
{
	if (s == NULL)
		return;
	while (!verify_store_is_quiet(s)) {
		start(s);
		loop_run_once(s->loop, true);
	}
	loop_timer_stop(&s->timer);
	buf_clear(&s->waiting);
	buf_clear(&s->writing);
	free(s);
}
