#include "qmgr/journal.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/log/log.h"
#include "qmgr/journal_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
	LAZY_MS = 100,   /* how long an outcome waits for company */
	RETRY_MS = 2000, /* until a spare is tried again after there was no room */
	LEDGER_TRIM_MS = 60000,
	ZEROS = 1 << 20,
	VOID_RESERVE =
	    65536, /* room that is never counted: voids, what is lost at the end of a segment */
};

/* --- segments --------------------------------------------------------------------------------------- */
/* Keeps the list in order; new segments nearly always belong at its end. */
static struct journal_segment *
segment_add(struct journal *j, const struct segment_header *h)
{
	struct journal_segment *s = x_calloc(1, sizeof *s), *after;

	s->header = *h;
	s->since_ms = clock_mono_ms();
	after = TAILQ_LAST(&j->segments, journal_segments);
	while (after != NULL && after->header.number > h->number)
		after = TAILQ_PREV(after, journal_segments, link);
	if (after == NULL)
		TAILQ_INSERT_HEAD(&j->segments, s, link);
	else
		TAILQ_INSERT_AFTER(&j->segments, after, s, link);
	if (h->number >= j->next_number)
		j->next_number = h->number + 1;
	return s;
}

static struct journal_segment *
journal_segment_find(struct journal *j, uint64_t number)
{
	struct journal_segment *s;

	TAILQ_FOREACH_REVERSE(s, &j->segments, journal_segments, link)
	if (s->header.number == number)
		return s;
	bug("journal: no segment %llu", (unsigned long long)number);
}

/* A segment that was never written: its salt is chosen now, so that the loop knows it, too. */
static void
spare_add(struct journal *j, uint64_t number, int fd)
{
	struct segment_header h = { .number = number, .size = j->o.segment_size };
	struct journal_spare *s = x_calloc(1, sizeof *s);

	random_bytes(&h.salt, sizeof h.salt);
	segment_add(j, &h)->is_spare = true;
	s->number = number;
	s->salt = h.salt;
	s->fd = fd;
	pthread_mutex_lock(&j->lock);
	STAILQ_INSERT_TAIL(&j->spares, s, link);
	j->nspares++;
	j->spare_is_coming = false;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

/* --- opening ---------------------------------------------------------------------------------------- */
static ssize_t
system_pwrite(int fd, const void *p, size_t len, off_t off)
{
	return pwrite(fd, p, len, off);
}

static int
make_dir(int root, const char *name, struct err *err)
{
	if (mkdirat(root, name, 0700) < 0 && errno != EEXIST)
		return err_sys(err, ERR_TEMP, "mkdir %s", name);
	return 0;
}

static bool
all_zero(const char *p, size_t len)
{
	return len == 0 || (p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0);
}

/* A spare that the last life left behind is as good as a new one if it is whole and was never written. */
static bool
is_clean_spare(const struct journal *j, int fd, uint64_t size)
{
	char *p = x_malloc(ZEROS);
	bool clean = size == j->o.segment_size;

	for (uint64_t off = 0; clean && off < size; off += ZEROS) {
		size_t n = size - off < ZEROS ? (size_t)(size - off) : ZEROS;

		clean = fd_pread_all(fd, p, n, (off_t)off, NULL) == 0 && all_zero(p, n);
	}
	free(p);
	return clean;
}

static void
set_aside(struct journal *j, const char *name)
{
	char to[64];

	snprintf(to, sizeof to, "corrupt/journal-%s", name);
	if (renameat(j->dir_fd, name, j->o.root_fd, to) < 0)
		log_error("journal: segment %s cannot be moved to %s", name, to);
	else
		log_error("journal: segment %s has no intact header: kept as %s", name, to);
}

static int
open_segment(struct journal *j, const char *name, uint64_t number, struct err *err)
{
	struct segment_header h = { .number = number };
	struct err why = { 0 };
	struct stat st;
	bool is_blank = false;
	int fd = open_beneath(j->dir_fd, name, O_RDWR, 0);

	if (fd < 0)
		return err_sys(err, ERR_TEMP, "journal: open %s", name);
	if (fstat(fd, &st) < 0) {
		err_sys(err, ERR_TEMP, "journal: fstat %s", name);
		goto fail;
	}
	if (segment_header_read(fd, number, &h, &is_blank, &why) == 0) {
		segment_add(j, &h);
		if (h.last_us > j->last_us_found)
			j->last_us_found = h.last_us;
	} else if (why.kind != ERR_SYNTAX) {
		*err = why;
		goto fail;
	} else if (is_clean_spare(j, fd, (uint64_t)st.st_size)) {
		spare_add(j, number, fd);
		return 0;
	} else if (is_blank) {
		/* a spare that was not finished, or of another size */
		if (unlinkat(j->dir_fd, name, 0) < 0)
			log_warn("journal: unused segment %s cannot be removed", name);
	} else {
		set_aside(j, name);
	}
	if (number >= j->next_number)
		j->next_number = number + 1;
	fd_close(&fd);
	return 0;
fail:
	fd_close(&fd);
	return -1;
}

static int
open_segments(struct journal *j, struct err *err)
{
	struct segment_numbers numbers;
	int r = segment_list(j->dir_fd, &numbers, err);

	for (size_t i = 0; i < numbers.count && r == 0; i++) {
		char name[SEGMENT_NAME];

		segment_name(numbers.list[i], name);
		r = open_segment(j, name, numbers.list[i], err);
	}
	free(numbers.list);
	return r;
}

static void journal_free(struct journal *j);

struct journal *
journal_open(const struct journal_options *o, struct err *err)
{
	struct journal *j = x_calloc(1, sizeof *j);

	j->o = *o;
	j->o.segment_size &= ~(uint64_t)(SEGMENT_RECORDS_AT - 1);
	j->io = o->io != NULL ? *o->io : (struct journal_io){ 0 };
	if (j->io.pwrite == NULL)
		j->io.pwrite = system_pwrite;
	if (j->io.fdatasync == NULL)
		j->io.fdatasync = fdatasync;
	if (j->io.fsync == NULL)
		j->io.fsync = fsync;
	TAILQ_INIT(&j->segments);
	STAILQ_INIT(&j->lazy);
	STAILQ_INIT(&j->waiting);
	STAILQ_INIT(&j->finished);
	STAILQ_INIT(&j->spares);
	STAILQ_INIT(&j->unflushed);
	buf_init(&j->out, j->o.segment_size + (8 << 20));
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->wake, NULL);
	j->spares_wanted = 1;
	j->next_number = 1;
	j->event_fd = j->dir_fd = -1;
	if (make_dir(o->root_fd, "journal", err) < 0 || make_dir(o->root_fd, "corrupt", err) < 0 ||
	    ledger_prepare(o->root_fd, err) < 0 || dir_fsync(o->root_fd, ".", err) < 0)
		goto fail;
	j->dir_fd = open_beneath(o->root_fd, "journal", O_RDONLY | O_DIRECTORY, 0);
	if (j->dir_fd < 0) {
		err_sys(err, ERR_TEMP, "journal: open directory");
		goto fail;
	}
	if (open_segments(j, err) < 0)
		goto fail;
	j->life = (uint32_t)j->next_number;
	atomic_store(&j->last_us, j->last_us_found);
	return j;
fail:
	journal_free(j);
	return NULL;
}

static void
journal_free(struct journal *j)
{
	struct journal_segment *s;
	struct journal_spare *spare;

	while ((s = TAILQ_FIRST(&j->segments)) != NULL) {
		TAILQ_REMOVE(&j->segments, s, link);
		free(s);
	}
	while ((spare = STAILQ_FIRST(&j->spares)) != NULL) {
		STAILQ_REMOVE_HEAD(&j->spares, link);
		fd_close(&spare->fd);
		free(spare);
	}
	if (j->cur != NULL)
		fd_close(&j->cur->fd);
	free(j->cur);
	free(j->voids);
	buf_clear(&j->out);
	fd_close(&j->dir_fd);
	fd_close(&j->event_fd);
	pthread_cond_destroy(&j->wake);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

/* --- spares ----------------------------------------------------------------------------------------- */
struct spare_job {
	struct journal *j;
	uint64_t number;
	int fd;
	struct err err;
};

static int
write_zeros(struct journal *j, int fd, uint64_t from, uint64_t to, struct err *err)
{
	char *zeros = x_calloc(1, ZEROS);
	int r = 0;

	while (from < to && r == 0) {
		size_t len = to - from < ZEROS ? (size_t)(to - from) : ZEROS;
		ssize_t n = j->io.pwrite(fd, zeros, len, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			r = err_sys(err, ERR_TEMP, "journal: write zeros");
		else
			from += (uint64_t)n;
	}
	free(zeros);
	return r;
}

static int
check_room(const struct journal *j, struct err *err)
{
	struct statvfs v;

	if (fstatvfs(j->dir_fd, &v) < 0)
		return err_sys(err, ERR_TEMP, "journal: statvfs");
	if ((uint64_t)v.f_bavail * v.f_frsize < j->o.segment_size + j->o.minfree)
		return err_set(err, ERR_LIMIT,
		    "journal: no room for a spare segment: %llu bytes free, %llu needed",
		    (unsigned long long)v.f_bavail * v.f_frsize,
		    (unsigned long long)(j->o.segment_size + j->o.minfree));
	return 0;
}

/* Blocks are allocated and every byte written now: what is left for the writer is to overwrite them, so
 * that its fdatasync has no metadata to write and no ENOSPC to meet. */
static int
spare_make(struct journal *j, uint64_t number, struct err *err)
{
	char name[SEGMENT_NAME];
	int fd;

	if (check_room(j, err) < 0)
		return -1;
	segment_name(number, name);
	fd = open_beneath(j->dir_fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "journal: create %s", name);
	if (fallocate(fd, 0, 0, (off_t)j->o.segment_size) < 0 && errno != EOPNOTSUPP) {
		err_sys(err, ERR_TEMP, "journal: fallocate %s", name);
		goto fail;
	}
	if (write_zeros(j, fd, 0, j->o.segment_size, err) < 0)
		goto fail;
	if (j->io.fsync(fd) < 0 || j->io.fsync(j->dir_fd) < 0) {
		err_sys(err, ERR_TEMP, "journal: fsync %s", name);
		goto fail;
	}
	return fd;
fail:
	unlinkat(j->dir_fd, name, 0); /* a blank rest is removed at the next start */
	fd_close(&fd);
	return -1;
}

static void
spare_run(void *arg)
{
	struct spare_job *job = arg;

	job->fd = spare_make(job->j, job->number, &job->err);
}

static void
spare_done(void *arg)
{
	struct spare_job *job = arg;
	struct journal *j = job->j;

	j->is_preparing = false;
	if (job->fd >= 0) {
		if (j->prepare_failed)
			log_info("journal: a spare segment could be made again");
		j->prepare_failed = false;
		spare_add(j, job->number, job->fd);
	} else {
		if (!j->prepare_failed)
			log_error("journal: no spare segment: %s", job->err.text);
		j->prepare_failed = true;
		pthread_mutex_lock(&j->lock);
		j->spare_is_coming = false;
		pthread_cond_signal(&j->wake);
		pthread_mutex_unlock(&j->lock);
	}
	free(job);
	if (!j->is_closing)
		loop_timer_start(&j->retry_timer, j->prepare_failed ? RETRY_MS : 0);
}

static void
prepare_if_needed(struct journal *j)
{
	struct spare_job *job;
	bool wanted;

	if (j->is_preparing || j->is_closing)
		return;
	pthread_mutex_lock(&j->lock);
	wanted = j->nspares < j->spares_wanted;
	if (wanted)
		j->spare_is_coming = true;
	pthread_mutex_unlock(&j->lock);
	if (!wanted)
		return;
	job = x_calloc(1, sizeof *job);
	job->j = j;
	job->number = j->next_number++;
	j->is_preparing = true;
	work_submit(j->housekeeper, spare_run, spare_done, job);
}

/* --- removal ---------------------------------------------------------------------------------------- */
enum { REMOVE_AT_ONCE = 16 };
struct remove_job {
	struct journal *j;
	struct journal_segment *segs[REMOVE_AT_ONCE];
	unsigned count, done;
	struct err err, ledger_err;
};

/* Mail does not stop for the ledger: what cannot be copied is lost to it, and said. */
static void
remove_run_ledger(struct remove_job *job)
{
	struct journal *j = job->j;

	for (unsigned i = 0; i < job->count; i++)
		ledger_copy(
		    j->o.root_fd, job->segs[i]->header.number, j->io.fsync, &job->ledger_err);
	if (clock_mono_ms() < j->ledger_trim_ms)
		return;
	j->ledger_trim_ms = clock_mono_ms() + LEDGER_TRIM_MS;
	ledger_trim(j->o.root_fd, &j->o.ledger, clock_wall_ms());
}

static int
remove_one(struct journal *j, const struct journal_segment *s, struct err *err)
{
	char name[SEGMENT_NAME], to[64];

	segment_name(s->header.number, name);
	snprintf(to, sizeof to, "corrupt/journal-%s", name);
	if (s->is_corrupt ? renameat(j->dir_fd, name, j->o.root_fd, to) < 0
			  : unlinkat(j->dir_fd, name, 0) < 0)
		return err_sys(err, ERR_TEMP, "journal: remove %s", name);
	if (j->io.fsync(j->dir_fd) < 0)
		return err_sys(err, ERR_TEMP, "journal: fsync directory");
	return 0;
}

static void
remove_run(void *arg)
{
	struct remove_job *job = arg;

	if (job->j->o.ledger.keep_ms > 0)
		remove_run_ledger(job);
	while (job->done < job->count && remove_one(job->j, job->segs[job->done], &job->err) == 0)
		job->done++;
}

static void release_if_possible(struct journal *j);

static void
remove_done(void *arg)
{
	struct remove_job *job = arg;
	struct journal *j = job->j;
	bool failed = job->done < job->count;

	j->is_removing = false;
	for (unsigned i = 0; i < job->count; i++) {
		job->segs[i]->is_removing = false;
		if (i >= job->done)
			continue;
		TAILQ_REMOVE(&j->segments, job->segs[i], link);
		free(job->segs[i]);
	}
	if (job->ledger_err.kind != ERR_NONE)
		log_error("ledger: a segment is not on record: %s", job->ledger_err.text);
	if (failed)
		log_error("%s", job->err.text);
	free(job);
	if (failed || j->is_closing)
		return; /* the next finished message tries again */
	release_if_possible(j);
	if (j->prepare_failed)
		prepare_if_needed(j); /* there is room now */
}

static void
release_if_possible(struct journal *j)
{
	struct remove_job *job;
	struct journal_segment *s;
	uint64_t current = j->current_seen;

	if (j->is_removing || j->is_closing || j->housekeeper == NULL)
		return;
	s = TAILQ_FIRST(&j->segments);
	if (s == NULL || s->holders > 0 || s->header.number >= current)
		return;
	job = x_calloc(1, sizeof *job);
	job->j = j;
	for (; s != NULL && s->holders == 0 && s->header.number < current &&
	       job->count < REMOVE_AT_ONCE;
	     s = TAILQ_NEXT(s, link)) {
		s->is_removing = true;
		job->segs[job->count++] = s;
	}
	j->is_removing = true;
	work_submit(j->housekeeper, remove_run, remove_done, job);
}

void
journal_hold(struct journal_segment *s)
{
	if (s->is_removing)
		bug("journal: segment %llu is held while it is removed",
		    (unsigned long long)s->header.number);
	s->holders++;
}

void
journal_drop(struct journal *j, struct journal_segment *s)
{
	if (s->holders == 0)
		bug("journal: segment %llu is dropped too often",
		    (unsigned long long)s->header.number);
	if (--s->holders == 0)
		release_if_possible(j);
}

/* --- the loop's side of the writer ------------------------------------------------------------------- */
static void
on_finished(void *arg, short what)
{
	struct journal *j = arg;
	struct journal_entries list = STAILQ_HEAD_INITIALIZER(list);
	struct journal_news news[JOURNAL_NEWS_MAX];
	struct journal_entry *e;
	unsigned nnews;
	uint64_t count, current;

	(void)what;
	if (read(j->event_fd, &count, sizeof count) < 0)
		count = 0; /* nothing new; the lists are looked at all the same */
	pthread_mutex_lock(&j->lock);
	STAILQ_CONCAT(&list, &j->finished);
	nnews = j->nnews;
	memcpy(news, j->news, sizeof news);
	j->nnews = 0;
	current = j->current;
	pthread_mutex_unlock(&j->lock);
	for (unsigned i = 0; i < nnews; i++)
		log_line(news[i].is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "%s", news[i].text);
	while ((e = STAILQ_FIRST(&list)) != NULL) {
		STAILQ_REMOVE_HEAD(&list, link);
		j->waiting_count--;
		e->segment = e->status == QMGR_OK ? journal_segment_find(j, e->number) : NULL;
		if (e->segment != NULL && e->segment->is_spare) {
			e->segment->is_spare = false;
			e->segment->since_ms = clock_mono_ms();
		}
		e->done(e->arg, e);
	}
	j->current_seen = current;
	prepare_if_needed(j);
	release_if_possible(j);
}

static void
on_retry(void *arg)
{
	struct journal *j = arg;
	bool is_broken;

	prepare_if_needed(j);
	pthread_mutex_lock(&j->lock);
	is_broken = j->is_broken;
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
	if (is_broken || j->prepare_failed)
		loop_timer_start(&j->retry_timer, RETRY_MS);
}

static void
submit(struct journal *j, struct journal_entries *list)
{
	struct journal_entry *e;

	if (STAILQ_EMPTY(list))
		return;
	pthread_mutex_lock(&j->lock);
	STAILQ_FOREACH (e, list, link)
		j->queued_bytes += e->bytes;
	STAILQ_CONCAT(&j->waiting, list);
	pthread_cond_signal(&j->wake);
	pthread_mutex_unlock(&j->lock);
}

static void
on_lazy(void *arg)
{
	struct journal *j = arg;

	submit(j, &j->lazy);
}

void
journal_append(struct journal *j, struct journal_entry *e, bool lazy)
{
	if (j->is_closing)
		lazy = false;
	e->bytes = journal_entry_bytes(e);
	j->waiting_count++;
	STAILQ_INSERT_TAIL(&j->lazy, e, link);
	if (lazy) {
		if (!loop_timer_running(&j->lazy_timer))
			loop_timer_start(&j->lazy_timer, LAZY_MS);
		return;
	}
	loop_timer_stop(&j->lazy_timer);
	submit(j, &j->lazy);
}

size_t
journal_waiting(const struct journal *j)
{
	return j->waiting_count;
}

uint64_t
journal_max_entry(const struct journal *j)
{
	return j->o.segment_size - SEGMENT_RECORDS_AT - VOID_RESERVE;
}

void
journal_reserve(struct journal *j, int64_t bytes)
{
	j->reserve += bytes;
}

enum qmgr_status
journal_admits(struct journal *j, uint64_t bytes)
{
	uint64_t room, taken;
	bool is_broken;

	pthread_mutex_lock(&j->lock);
	room = j->nspares * (j->o.segment_size - SEGMENT_RECORDS_AT);
	if (bytes <= j->left)
		room += j->left; /* else the rest of this segment is lost to it */
	/* Without a segment to write to, what is taken now goes to the one that is being made: it waits a
	 * moment, and is refused if that fails.  As long as there is a segment only room that exists counts, for
	 * the reserve is in it. */
	if (room == 0 && j->left == 0 && j->spare_is_coming)
		room = j->o.segment_size - SEGMENT_RECORDS_AT;
	taken = j->queued_bytes;
	is_broken = j->is_broken;
	pthread_mutex_unlock(&j->lock);
	taken += bytes + (uint64_t)j->reserve + VOID_RESERVE;
	return is_broken || taken > room ? QMGR_FULL : QMGR_OK;
}

bool
journal_is_broken(struct journal *j)
{
	bool r;

	pthread_mutex_lock(&j->lock);
	r = j->is_broken;
	pthread_mutex_unlock(&j->lock);
	return r;
}

void
journal_note_id(struct journal *j, uint64_t us)
{
	atomic_store(&j->last_us, us);
}

uint64_t
journal_last_id(const struct journal *j)
{
	return j->last_us_found;
}

uint32_t
journal_life(const struct journal *j)
{
	return j->life;
}

const struct journal_segment *
journal_first(const struct journal *j)
{
	return TAILQ_FIRST(&j->segments);
}

const struct journal_segment *
journal_overdue(const struct journal *j, int64_t age_ms)
{
	const struct journal_segment *s = TAILQ_FIRST(&j->segments);

	if (s == NULL || s->is_removing || s->header.number >= j->current_seen)
		return NULL;
	return clock_mono_ms() - s->since_ms >= age_ms ? s : NULL;
}

/* --- start and end ------------------------------------------------------------------------------------ */
/* With a full disk and no spare, the rest of the last segment is what there is.  It is made blank again
 * first, so that nothing behind the last record can ever be taken for one. */
static int
reopen_last(struct journal *j, struct err *err)
{
	struct journal_segment *s = TAILQ_LAST(&j->segments, journal_segments);
	char name[SEGMENT_NAME];
	int fd;

	if (s == NULL || s->is_corrupt || j->nvoids != 1 ||
	    j->voids[0].number != s->header.number || s->header.size != j->o.segment_size)
		return -1;
	segment_name(s->header.number, name);
	fd = open_beneath(j->dir_fd, name, O_RDWR, 0);
	if (fd < 0)
		return err_sys(err, ERR_TEMP, "journal: open %s", name);
	if (write_zeros(j, fd, j->voids[0].from, s->header.size, err) < 0 ||
	    j->io.fdatasync(fd) < 0) {
		fd_close(&fd);
		return -1;
	}
	j->cur = x_calloc(1, sizeof *j->cur);
	j->cur->number = s->header.number;
	j->cur->fd = fd;
	j->cur_header = s->header;
	j->off = j->batch_at = j->voids[0].from;
	j->nvoids = 0;
	j->current = s->header.number;
	j->left = s->header.size - j->off;
	log_warn("journal: no room for a segment: going on with %s, %llu bytes are left", name,
	    (unsigned long long)j->left);
	return 0;
}

static int
first_spare(struct journal *j, struct err *err)
{
	uint64_t number = j->next_number++;
	struct err ignored;
	int fd = spare_make(j, number, err);

	if (fd < 0)
		return reopen_last(j, &ignored);
	spare_add(j, number, fd);
	return 0;
}

int
journal_start(struct journal *j, struct err *err)
{
	sigset_t all, old;
	int r;

	if (j->nspares == 0 && first_spare(j, err) < 0) {
		/* deliveries go on being listed and messages can be deleted, which makes room */
		log_error("%s: no mail is accepted", err->text);
		j->prepare_failed = true;
		j->is_broken = j->nvoids > 0;
	}
	j->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (j->event_fd < 0)
		return err_sys(err, ERR_TEMP, "journal: eventfd");
	loop_watch_init(&j->watch, j->o.loop, j->event_fd, on_finished, j);
	loop_watch_set(&j->watch, LOOP_READ);
	loop_timer_init(&j->lazy_timer, j->o.loop, on_lazy, j);
	loop_timer_init(&j->retry_timer, j->o.loop, on_retry, j);
	j->housekeeper = work_pool_new(j->o.loop, 1);
	sigfillset(&all); /* signals belong to the loop's thread */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&j->thread, NULL, journal_writer, j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_set(err, ERR_TEMP, "journal: pthread_create failed");
	j->has_thread = true;
	loop_timer_soon(&j->retry_timer);
	return 0;
}

void
journal_close(struct journal *j)
{
	if (j == NULL)
		return;
	j->is_closing = true;
	if (j->has_thread) {
		loop_timer_stop(&j->lazy_timer);
		loop_timer_stop(&j->retry_timer);
		submit(j, &j->lazy);
		work_pool_free(j->housekeeper); /* first: the writer may be waiting for its spare */
		j->housekeeper = NULL;
		pthread_mutex_lock(&j->lock);
		j->spare_is_coming = false;
		j->no_more_spares = j->stopping = true;
		pthread_cond_signal(&j->wake);
		pthread_mutex_unlock(&j->lock);
		pthread_join(j->thread, NULL);
		on_finished(j, LOOP_READ);
		loop_watch_set(&j->watch, 0);
	}
	journal_free(j);
}
