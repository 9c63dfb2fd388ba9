#include "qmgr/deferred.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIRS = 256, DIR_PATH = 16, FILE_PATH = DIR_PATH + QUEUE_ID_TEXT + 8 };

static void
dir_path(unsigned n, char out[DIR_PATH])
{
	snprintf(out, DIR_PATH, "deferred/%02x", n % DIRS);
}

static unsigned
dir_of(struct queue_id id)
{
	return (unsigned)(id.us % DIRS);
}

static void
file_path(struct queue_id id, const char *suffix, char out[FILE_PATH])
{
	char text[QUEUE_ID_TEXT];

	queue_id_format(id, text);
	snprintf(out, FILE_PATH, "deferred/%02x/%s%s", dir_of(id), text, suffix);
}

int
deferred_prepare(int root_fd, struct err *err)
{
	char path[DIR_PATH];

	if (mkdirat(root_fd, "deferred", 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir deferred");
	for (unsigned i = 0; i < DIRS; i++) {
		dir_path(i, path);
		if (mkdirat(root_fd, path, 0700) < 0 && errno != EEXIST)
			return err_sys(err, ERR_TEMP, "mkdir %s", path);
	}
	if (dir_fsync(root_fd, "deferred", err) < 0 || dir_fsync(root_fd, ".", err) < 0)
		return -1;
	return 0;
}

/* --- writing ------------------------------------------------------------------------------------------ */
static int
write_slots(int fd, const struct deferred_summary *s, const struct deferred_slot *slots,
    uint32_t nslots, struct err *err)
{
	char pair[2 * DEFERRED_SLOT];

	for (uint32_t i = 0; i < nslots; i++) {
		struct deferred_slot slot = slots[i];

		slot.seq = 2;
		deferred_slot_encode(&slot, s->id, i, pair);
		slot.seq = 1; /* both copies are good from the beginning */
		deferred_slot_encode(&slot, s->id, i, pair + DEFERRED_SLOT);
		if (fd_write_all(fd, pair, sizeof pair, err) < 0)
			return -1;
	}
	return 0;
}

static int
write_file(int fd, const struct deferred_summary *s, const struct deferred_slot *slots,
    uint32_t nslots, const struct message_bytes *m, struct err *err)
{
	struct deferred_summary first = *s;
	struct deferred_head head = { .id = s->id,
		.nslots = nslots,
		.message = m->head,
		.envelope_crc = crc32c(0, m->envelope.p, m->envelope.len),
		.content_crc =
		    crc32c(crc32c(0, m->headers.p, m->headers.len), m->body.p, m->body.len) };
	char start[DEFERRED_SLOTS_AT] = { 0 };

	first.seq = 2;
	deferred_summary_encode(&first, start);
	first.seq = 1;
	deferred_summary_encode(&first, start + DEFERRED_SUMMARY);
	deferred_head_encode(&head, start + DEFERRED_HEAD_AT);
	if (fd_write_all(fd, start, sizeof start, err) < 0 ||
	    write_slots(fd, s, slots, nslots, err) < 0 ||
	    fd_write_all(fd, m->envelope.p, m->envelope.len, err) < 0 ||
	    fd_write_all(fd, m->headers.p, m->headers.len, err) < 0 ||
	    fd_write_all(fd, m->body.p, m->body.len, err) < 0)
		return -1;
	return fsync(fd) < 0 ? err_sys(err, ERR_TEMP, "fsync") : 0;
}

int
deferred_write(int root_fd, const struct deferred_summary *s, const struct deferred_slot *slots,
    uint32_t nslots, const struct message_bytes *m, struct err *err)
{
	char tmp[FILE_PATH], final[FILE_PATH], dir[DIR_PATH];
	int fd, r;

	file_path(s->id, ".tmp", tmp);
	file_path(s->id, "", final);
	dir_path(dir_of(s->id), dir);
	fd = open_beneath(root_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "create %s", tmp);
	r = write_file(fd, s, slots, nslots, m, err);
	if (close(fd) < 0 && r == 0)
		r = err_sys(err, ERR_TEMP, "close");
	if (r == 0 && renameat(root_fd, tmp, root_fd, final) < 0)
		r = err_sys(err, ERR_TEMP, "rename");
	if (r < 0) {
		unlinkat(root_fd, tmp, 0); /* a rest is removed at the next start */
		return err_prefix(err, "%s", final);
	}
	if (dir_fsync(root_fd, dir, err) < 0) {
		/* the journal's record stays in force; should the file be there after a crash all the same, its
		 * recipients' states are only older than the journal's, which is added to them */
		unlinkat(root_fd, final, 0);
		return -1;
	}
	return 0;
}

/* --- changing in place ---------------------------------------------------------------------------------- */
static int
update_summary(int fd, const struct deferred_summary *s, struct err *err)
{
	char bytes[2 * DEFERRED_SUMMARY], new[DEFERRED_SUMMARY];
	struct deferred_summary old, next = *s;
	unsigned copy = 1;

	if (fd_pread_all(fd, bytes, sizeof bytes, 0, err) < 0)
		return -1;
	next.seq = deferred_summary_decode(view_make(bytes, sizeof bytes), &old, &copy, NULL) == 0
		       ? old.seq + 1
		       : 1;
	deferred_summary_encode(&next, new);
	return fd_pwrite_all(fd, new, sizeof new, copy == 0 ? DEFERRED_SUMMARY : 0, err);
}

static int
update_slot(int fd, struct queue_id id, const struct deferred_change *c, struct err *err)
{
	char bytes[2 * DEFERRED_SLOT], new[DEFERRED_SLOT];
	off_t at = DEFERRED_SLOTS_AT + (off_t)c->index * 2 * DEFERRED_SLOT;
	struct deferred_slot old, next = c->slot;
	unsigned copy = 1;

	if (fd_pread_all(fd, bytes, sizeof bytes, at, err) < 0)
		return -1;
	next.seq = deferred_slot_decode(
		       view_make(bytes, sizeof bytes), id, c->index, &old, &copy, NULL) == 0
		       ? old.seq + 1
		       : 1;
	deferred_slot_encode(&next, id, c->index, new);
	return fd_pwrite_all(fd, new, sizeof new, copy == 0 ? at + DEFERRED_SLOT : at, err);
}

int
deferred_update(int root_fd, const struct deferred_summary *s,
    const struct deferred_change *changes, size_t count, struct err *err)
{
	char path[FILE_PATH];
	int fd, r = 0;

	file_path(s->id, "", path);
	fd = open_beneath(root_fd, path, O_RDWR, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "open %s", path);
	for (size_t i = 0; i < count && r == 0; i++)
		r = update_slot(fd, s->id, &changes[i], err);
	if (r == 0)
		r = update_summary(fd, s, err);
	if (r == 0 && fdatasync(fd) < 0)
		r = err_sys(err, ERR_TEMP, "fdatasync");
	fd_close(&fd);
	return r < 0 ? err_prefix(err, "%s", path) : 0;
}

int
deferred_remove(int root_fd, struct queue_id id, struct err *err)
{
	char path[FILE_PATH], dir[DIR_PATH];

	file_path(id, "", path);
	dir_path(dir_of(id), dir);
	if (unlinkat(root_fd, path, 0) < 0 && errno != ENOENT)
		return err_sys(err, ERR_TEMP, "unlink %s", path);
	return dir_fsync(root_fd, dir, err);
}

int
deferred_set_aside(int root_fd, struct queue_id id, struct err *err)
{
	char path[FILE_PATH], to[FILE_PATH], text[QUEUE_ID_TEXT], dir[DIR_PATH];

	file_path(id, "", path);
	dir_path(dir_of(id), dir);
	queue_id_format(id, text);
	snprintf(to, sizeof to, "corrupt/deferred-%s", text);
	if (renameat(root_fd, path, root_fd, to) < 0)
		return err_sys(err, ERR_TEMP, "rename %s", path);
	return dir_fsync(root_fd, dir, err);
}

/* --- reading ------------------------------------------------------------------------------------------- */
void
deferred_file_clear(struct deferred_file *f)
{
	free(f->slots);
	message_bytes_clear(&f->bytes);
	*f = (struct deferred_file){ 0 };
}

static int
read_start(int fd, struct queue_id id, struct deferred_file *f, struct err *err)
{
	char start[DEFERRED_SLOTS_AT];
	unsigned copy;

	if (fd_pread_all(fd, start, sizeof start, 0, err) < 0)
		return -1;
	if (deferred_head_decode(
		view_make(start + DEFERRED_HEAD_AT, DEFERRED_HEAD), &f->head, err) < 0)
		return -1;
	if (queue_id_compare(f->head.id, id) != 0)
		return err_set(err, ERR_SYNTAX, "deferred file: it belongs to another message");
	f->has_summary = deferred_summary_decode(
			     view_make(start, sizeof start), &f->summary, &copy, NULL) == 0 &&
			 queue_id_compare(f->summary.id, id) == 0;
	if (!f->has_summary)
		f->summary = (struct deferred_summary){
			.id = id, .state = DEFERRED_WAITING, .arrival_ms = (int64_t)(id.us / 1000)
		};
	return 0;
}

static int
read_slots(int fd, struct deferred_file *f, struct err *err)
{
	char pair[2 * DEFERRED_SLOT];
	unsigned copy;

	f->slots = calloc(f->head.nslots + 1, sizeof *f->slots);
	if (f->slots == NULL)
		return err_set(err, ERR_TEMP, "no memory for a deferred message");
	for (uint32_t i = 0; i < f->head.nslots; i++) {
		off_t at = DEFERRED_SLOTS_AT + (off_t)i * 2 * DEFERRED_SLOT;

		if (fd_pread_all(fd, pair, sizeof pair, at, err) < 0)
			return -1;
		if (deferred_slot_decode(view_make(pair, sizeof pair), f->head.id, i, &f->slots[i],
			&copy, NULL) == 0)
			continue;
		f->slots[i] = (struct deferred_slot){ .rcpt = UINT32_MAX };
		f->lost_slots++;
	}
	return 0;
}

static int
read_parts(int fd, struct deferred_file *f, bool with_content, struct err *err)
{
	const struct deferred_head *h = &f->head;
	struct message_bytes *m = &f->bytes;
	uint64_t body = h->message.has_file ? 0 : h->message.body_len;
	uint64_t total = with_content ? deferred_file_size(h) - deferred_envelope_at(h)
				      : h->message.envelope_len;
	char *p;

	m->raw = malloc(total + 1);
	if (m->raw == NULL)
		return err_set(err, ERR_TEMP, "no memory for a deferred message");
	if (fd_pread_all(fd, m->raw, total, (off_t)deferred_envelope_at(h), err) < 0)
		return -1;
	p = m->raw;
	m->head = h->message;
	m->envelope = view_make(p, h->message.envelope_len);
	if (crc32c(0, m->envelope.p, m->envelope.len) != h->envelope_crc)
		return err_set(err, ERR_SYNTAX, "deferred file: the envelope is damaged");
	if (!with_content)
		return 0;
	m->headers = view_make(p + m->envelope.len, h->message.headers_len);
	m->body = view_make(p + m->envelope.len + m->headers.len, body);
	if (crc32c(crc32c(0, m->headers.p, m->headers.len), m->body.p, m->body.len) !=
	    h->content_crc)
		return err_set(err, ERR_SYNTAX, "deferred file: the content is damaged");
	return 0;
}

static int
load(int root_fd, struct queue_id id, bool with_content, struct deferred_file *out, struct err *err)
{
	char path[FILE_PATH];
	struct stat st;
	int fd, r = -1;

	*out = (struct deferred_file){ 0 };
	file_path(id, "", path);
	fd = open_beneath(root_fd, path, O_RDONLY, 0);
	if (fd < 0)
		return err_sys(err, errno == ENOENT ? ERR_GONE : ERR_TEMP, "open %s", path);
	if (fstat(fd, &st) < 0)
		err_sys(err, ERR_TEMP, "fstat %s", path);
	else if (st.st_size < DEFERRED_SLOTS_AT)
		err_set(err, ERR_SYNTAX, "deferred file: it is cut short");
	else if (read_start(fd, id, out, err) < 0)
		r = -1;
	else if (deferred_file_size(&out->head) != (uint64_t)st.st_size)
		err_set(err, ERR_SYNTAX, "deferred file: it has the wrong size");
	else
		r = read_slots(fd, out, err) < 0 ? -1 : read_parts(fd, out, with_content, err);
	fd_close(&fd);
	if (r < 0)
		deferred_file_clear(out);
	return r;
}

int
deferred_load(int root_fd, struct queue_id id, struct deferred_file *out, struct err *err)
{
	return load(root_fd, id, true, out, err);
}

int
deferred_load_envelope(int root_fd, struct queue_id id, struct deferred_file *out, struct err *err)
{
	return load(root_fd, id, false, out, err);
}

/* --- scanning at start ----------------------------------------------------------------------------------- */
struct scan {
	int root_fd;
	atomic_uint next_dir;
	pthread_mutex_t lock;
	struct deferred_list *out; /* under lock */
	struct err err;            /* under lock: first failure */
	bool failed;
};

static void
scan_add(struct scan *s, const struct deferred_found *f)
{
	struct deferred_list *l = s->out;

	pthread_mutex_lock(&s->lock);
	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? 1024 : l->cap * 2;
		l->found = x_realloc(l->found, l->cap, sizeof *l->found);
	}
	l->found[l->count++] = *f;
	pthread_mutex_unlock(&s->lock);
}

static void
scan_file(struct scan *s, int dir_fd, struct queue_id id)
{
	char start[DEFERRED_SLOTS_AT], name[QUEUE_ID_TEXT];
	struct deferred_found f = { 0 };
	struct deferred_head head;
	unsigned copy;
	int fd;

	queue_id_format(id, name);
	fd = open_beneath(dir_fd, name, O_RDONLY | O_NONBLOCK, 0);

	if (fd < 0 || fd_pread_all(fd, start, 2 * DEFERRED_SUMMARY, 0, NULL) < 0)
		memset(start, 0, sizeof start);
	if (deferred_summary_decode(view_make(start, sizeof start), &f.summary, &copy, NULL) < 0 ||
	    queue_id_compare(f.summary.id, id) != 0) {
		f.summary = (struct deferred_summary){
			.id = id, .state = DEFERRED_WAITING, .arrival_ms = (int64_t)(id.us / 1000)
		};
		f.is_damaged =
		    fd < 0 ||
		    fd_pread_all(
			fd, start + DEFERRED_HEAD_AT, DEFERRED_HEAD, DEFERRED_HEAD_AT, NULL) < 0 ||
		    deferred_head_decode(
			view_make(start + DEFERRED_HEAD_AT, DEFERRED_HEAD), &head, NULL) < 0 ||
		    queue_id_compare(head.id, id) != 0;
	}
	fd_close(&fd);
	scan_add(s, &f);
}

/* What one directory has.  Files are read in the order of their inodes: in the directory's own, a disk that
 * knows none of them yet would have to seek for each. */
struct name {
	ino_t inode;
	struct queue_id id;
};
struct names {
	struct name *list; /* owned */
	size_t count, cap;
};

static int
compare_inodes(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return (x->inode > y->inode) - (x->inode < y->inode);
}

static void
names_add(struct names *names, ino_t inode, struct queue_id id)
{
	if (names->count == names->cap) {
		names->cap = names->cap == 0 ? 256 : names->cap * 2;
		names->list = x_realloc(names->list, names->cap, sizeof *names->list);
	}
	names->list[names->count++] = (struct name){ inode, id };
}

static int
scan_dir(struct scan *s, unsigned n, struct err *err)
{
	struct names names = { 0 };
	char path[DIR_PATH];
	struct dirent *de;
	struct queue_id id;
	int fd;
	DIR *d;

	dir_path(n, path);
	fd = open_beneath(s->root_fd, path, O_RDONLY | O_DIRECTORY, 0);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL) {
		err_sys(err, ERR_TEMP, "open %s", path);
		fd_close(&fd);
		return -1;
	}
	while ((de = readdir(d)) != NULL) {
		if (view_ends(view_of(de->d_name), ".tmp"))
			unlinkat(
			    fd, de->d_name, 0); /* never renamed: the journal has the message */
		else if (queue_id_parse(view_of(de->d_name), &id) && dir_of(id) == n)
			names_add(&names, de->d_ino, id);
	}
	if (names.count > 0)
		qsort(names.list, names.count, sizeof *names.list, compare_inodes);
	for (size_t i = 0; i < names.count; i++)
		scan_file(s, fd, names.list[i].id);
	free(names.list);
	closedir(d);
	return 0;
}

static void *
scan_main(void *arg)
{
	struct scan *s = arg;
	struct err err;
	unsigned n;

	while ((n = atomic_fetch_add(&s->next_dir, 1)) < DIRS) {
		if (scan_dir(s, n, &err) == 0)
			continue;
		pthread_mutex_lock(&s->lock);
		s->failed = true;
		s->err = err;
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

static int
compare_found(const void *a, const void *b)
{
	const struct deferred_found *x = a, *y = b;

	return queue_id_compare(x->summary.id, y->summary.id);
}

int
deferred_scan(int root_fd, unsigned threads, struct deferred_list *out, struct err *err)
{
	enum { THREADS_MAX = 16 };
	struct scan s = { .root_fd = root_fd, .lock = PTHREAD_MUTEX_INITIALIZER, .out = out };
	pthread_t ids[THREADS_MAX];
	unsigned started = 0;
	sigset_t all, old;

	*out = (struct deferred_list){ 0 };
	sigfillset(&all); /* signals belong to the loop's thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (started < threads && started < THREADS_MAX &&
	       pthread_create(&ids[started], NULL, scan_main, &s) == 0)
		started++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (started == 0)
		scan_main(&s);
	for (unsigned i = 0; i < started; i++)
		pthread_join(ids[i], NULL);
	pthread_mutex_destroy(&s.lock);
	if (out->count > 0)
		qsort(out->found, out->count, sizeof *out->found, compare_found);
	if (s.failed)
		*err = s.err;
	return s.failed ? -1 : 0;
}
