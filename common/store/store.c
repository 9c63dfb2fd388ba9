#include "common/store/store_internal.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

int64_t
wall_ns(void)
{
	return clock_wall_us() * 1000;
}

int64_t
mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
}

/* flock(2) has no time-out of its own, and a stopped process of the same account must not stop us for ever. */
int
lock_wait(int fd, const char *what, struct err *err)
{
	int64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;
	struct timespec pause = { .tv_nsec = 500000 };

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(err, ERR_TEMP, "lock %s", what);
		if (clock_mono_ms() > deadline)
			return err_set(err, ERR_TEMP, "lock %s: held by another process for %d s",
			    what, LOCK_WAIT_MS / 1000);
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 10000000)
			pause.tv_nsec *= 2;
	}
	return 0;
}

void
store_unique_name(struct store *s, char *out, size_t size)
{
	int64_t us = clock_wall_us();

	snprintf(out, size, "%lld.M%06lldP%ld_%llu.%s", (long long)(us / 1000000),
	    (long long)(us % 1000000), (long)getpid(), (unsigned long long)++s->name_counter,
	    s->host);
}

/* '/' and ':' have their own meaning in a Maildir name, ',' would begin a field. */
static char *
host_for_names(const char *host)
{
	char *out = x_strdup(host != NULL && *host != '\0' ? host : "localhost");

	out[strnlen(out, 64)] = '\0';
	for (char *p = out; *p != '\0'; p++)
		if (!ascii_is_alnum((unsigned char)*p) && *p != '.' && *p != '-')
			*p = '_';
	return out;
}

/* --- dovecot-uidvalidity: the counter of the account --------------------------------------------------------- */

#define UIDVALIDITY_FILE "dovecot-uidvalidity"

static uint32_t
uidvalidity_read(struct store *s)
{
	struct file_id id;
	struct buf text;
	uint32_t value = 0;
	uint8_t b[4];

	buf_init(&text, 64);
	if (text_load(s->root_fd, UIDVALIDITY_FILE, &text, &id, NULL) == 0 &&
	    hex_decode(b, 4, view_trim(view_make(text.p, text.len > 8 ? 8 : text.len))))
		value = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
	buf_clear(&text);
	return value;
}

/* A lock of its own: taken last of all, with a folder or the tree locked or not. */
static int
uidvalidity_lock(struct store *s, struct err *err)
{
	int fd = open_beneath(
	    s->root_fd, "estafeta.uidvalidity.lock", O_RDWR | O_CREAT | O_NONBLOCK, 0600);

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open estafeta.uidvalidity.lock");
	if (lock_wait(fd, "estafeta.uidvalidity.lock", err) < 0)
		fd_close(&fd);
	return fd;
}

/* Dovecot keeps the value twice: in the file, and in the name of an empty file beside it. */
static int
uidvalidity_write(struct store *s, uint32_t old, uint32_t value, struct err *err)
{
	char text[16], old_name[64], new_name[64];
	struct file_id id;
	int fd;

	snprintf(text, sizeof text, "%08x", value);
	snprintf(old_name, sizeof old_name, UIDVALIDITY_FILE ".%08x", old);
	snprintf(new_name, sizeof new_name, UIDVALIDITY_FILE ".%s", text);
	if (text_replace(s->root_fd, UIDVALIDITY_FILE, view_of(text), &id, err) < 0)
		return -1;
	if (renameat(s->root_fd, old_name, s->root_fd, new_name) < 0) {
		fd = open_beneath(s->root_fd, new_name, O_WRONLY | O_CREAT | O_NONBLOCK, 0600);
		if (fd < 0)
			return err_sys(err, ERR_TEMP, "create %s", new_name);
		fd_close(&fd);
	}
	return 0;
}

int
uidvalidity_next(struct store *s, uint32_t *out, struct err *err)
{
	uint32_t old, now = (uint32_t)time(NULL);
	int fd = uidvalidity_lock(s, err), r;

	if (fd < 0)
		return -1;
	old = uidvalidity_read(s);
	*out = old >= now && old < UINT32_MAX ? old + 1 : now;
	r = uidvalidity_write(s, old, *out, err);
	fd_close(&fd);
	return r;
}

void
uidvalidity_seen(struct store *s, uint32_t seen)
{
	struct err err;
	uint32_t old;
	int fd = uidvalidity_lock(s, &err);

	if (fd < 0)
		return;
	old = uidvalidity_read(s);
	if (seen > old && uidvalidity_write(s, old, seen, &err) < 0)
		log_warn("%s", err.text);
	fd_close(&fd);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

int
store_lock_tree(struct store *s, struct err *err)
{
	if (s->tree_locked++ > 0)
		return 0;
	if (s->tree_fd < 0)
		s->tree_fd = open_beneath(
		    s->root_fd, "estafeta.tree.lock", O_RDWR | O_CREAT | O_NONBLOCK, 0600);
	if (s->tree_fd < 0)
		err_sys(err, ERR_TEMP, "open estafeta.tree.lock");
	else if (lock_wait(s->tree_fd, "estafeta.tree.lock", err) == 0)
		return 0;
	s->tree_locked--;
	return -1;
}

void
store_unlock_tree(struct store *s)
{
	if (--s->tree_locked == 0)
		flock(s->tree_fd, LOCK_UN);
}

/* An absolute path (tools) is the admin's word; a relative one lies in the process's root, which its user can
 * write, so no link is followed. */
static int
open_root(struct store *s, struct err *err)
{
	if (mkdir(s->maildir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", s->maildir);
	if (s->maildir[0] == '/')
		s->root_fd = open(s->maildir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	else
		s->root_fd = open_beneath(AT_FDCWD, s->maildir, O_RDONLY | O_DIRECTORY, 0);
	if (s->root_fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", s->maildir);
	return 0;
}

static int
open_index(struct store *s, struct err *err)
{
	for (int i = 0; i < 2; i++) {
		bool damaged;

		if (index_open(s->root_fd, s->maildir, s->map_bytes, &s->index, err) == 0) {
			s->generation++;
			return 0;
		}
		damaged = s->index.is_damaged;
		s->index.is_damaged = true;
		index_close(&s->index);
		if (!damaged)
			return -1;
		log_warn("%s: %s: setting the index aside and building a new one", s->maildir,
		    err != NULL ? err->text : "damaged");
		if (index_set_aside(s->root_fd, err) < 0)
			return -1;
	}
	return -1;
}

int
store_ready(struct store *s, struct err *err)
{
	if (s->index.is_damaged) {
		bool is_ours = index_is_current(&s->index, s->root_fd);

		log_warn("%s: the index is damaged: setting it aside and building a new one",
		    s->maildir);
		index_close(&s->index);
		if (is_ours && index_set_aside(s->root_fd, err) < 0) {
			s->index.is_damaged = true;
			return -1;
		}
		return open_index(s, err);
	}
	if (!index_is_current(&s->index, s->root_fd)) {
		index_close(&s->index);
		return open_index(s, err);
	}
	return 0;
}

int
store_open(const struct store_config *config, struct store **out, struct err *err)
{
	struct store *s = x_calloc(1, sizeof *s);
	struct folder *inbox;

	s->root_fd = s->pop3_fd = s->tree_fd = -1;
	s->maildir = x_strdup(config->maildir);
	s->host = host_for_names(config->host);
	s->quota_bytes = config->quota_bytes;
	s->map_bytes = config->index_map_bytes;
	s->changes_kept = config->changes_kept;
	s->index.dir_fd = s->index.run_fd = -1;
	map_init(&s->cache);
	map_init(&s->oddities);
	if (open_root(s, err) < 0 || open_index(s, err) < 0 || store_repair_tree(s, err) < 0 ||
	    folder_open_disk(s, ".", &inbox, err) < 0) {
		store_close(s);
		return -1;
	}
	folder_close(inbox);
	*out = s;
	return 0;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	if (s->folders != NULL)
		bug("store: closed with open mailboxes");
	cache_forget(s); /* each mailbox_close has flushed */
	map_clear(&s->cache);
	map_clear(&s->oddities);
	index_close(&s->index);
	fd_close(&s->pop3_fd);
	fd_close(&s->tree_fd);
	fd_close(&s->root_fd);
	free(s->maildir);
	free(s->host);
	free(s);
}

/* --- POP3 --------------------------------------------------------------------------------------------------------- */

int
store_pop3_lock(struct store *s, struct err *err)
{
	int fd;

	if (s->pop3_fd >= 0)
		return 1;
	fd = open_beneath(s->root_fd, "estafeta.pop3.lock", O_RDWR | O_CREAT | O_NONBLOCK, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open estafeta.pop3.lock");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		bool is_held = errno == EWOULDBLOCK;

		err_sys(err, ERR_TEMP, "lock estafeta.pop3.lock");
		fd_close(&fd);
		return is_held ? 1 : -1;
	}
	s->pop3_fd = fd;
	return 0;
}

void
store_pop3_unlock(struct store *s)
{
	fd_close(&s->pop3_fd);
}
