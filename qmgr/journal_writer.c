/* The thread that writes the journal.  It owns the segment being written; everything it shares with the
 * loop's thread is under journal.lock. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "qmgr/journal_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	BATCH_BYTES = 4 << 20, /* a batch takes no further entry beyond this */
	SPARES_MAX = 4,
	RETRY_MS = 1000,
};

static void
tell_loop(struct journal *j)
{
	const uint64_t one = 1;

	/* an eventfd only refuses when its counter is full, and then it is readable anyway */
	while (write(j->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		continue;
}

static void __attribute__((format(printf, 3, 4)))
add_news(struct journal *j, bool is_error, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&j->lock);
	if (j->nnews < JOURNAL_NEWS_MAX) {
		struct journal_news *n = &j->news[j->nnews++];

		n->is_error = is_error;
		va_start(ap, fmt);
		vsnprintf(n->text, sizeof n->text, fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&j->lock);
	tell_loop(j);
}

static void
set_broken(struct journal *j, bool is_broken)
{
	bool was;

	pthread_mutex_lock(&j->lock);
	was = j->is_broken;
	j->is_broken = is_broken;
	pthread_mutex_unlock(&j->lock);
	if (is_broken && !was)
		add_news(j, true, "journal: no segment can be written: no mail is accepted");
	if (!is_broken && was)
		add_news(j, false, "journal: written again");
}

void
journal_voids_add(struct journal *j, uint64_t number, uint64_t from)
{
	j->voids = x_realloc(j->voids, j->nvoids + 1, sizeof *j->voids);
	j->voids[j->nvoids++] = (struct journal_void){ number, from };
}

/* Hands entries back to the loop.  What is free is published in the same step, so that the loop never sees
 * the room of an entry twice. */
static void
finish(struct journal *j, struct journal_entries *list, enum qmgr_status status)
{
	struct journal_entry *e;

	if (STAILQ_EMPTY(list))
		return;
	pthread_mutex_lock(&j->lock);
	STAILQ_FOREACH (e, list, link) {
		e->status = status;
		j->queued_bytes -= e->bytes;
	}
	STAILQ_CONCAT(&j->finished, list);
	j->current = j->cur != NULL ? j->cur->number : j->current;
	j->left = j->cur != NULL ? j->cur_header.size - j->off : 0;
	pthread_mutex_unlock(&j->lock);
	tell_loop(j);
}

static void
finish_one(struct journal *j, struct journal_entry *e, enum qmgr_status status)
{
	struct journal_entries list = STAILQ_HEAD_INITIALIZER(list);

	STAILQ_INSERT_TAIL(&list, e, link);
	finish(j, &list, status);
}

static int
write_all(struct journal *j, int fd, const char *p, size_t len, uint64_t off, struct err *err)
{
	while (len > 0) {
		ssize_t n = j->io.pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, ERR_TEMP, "pwrite");
		if (n == 0)
			return err_set(err, ERR_TEMP, "pwrite: nothing written");
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static void
close_current(struct journal *j)
{
	if (j->cur == NULL)
		return;
	close(j->cur->fd);
	x_free(&j->cur);
	buf_reset(&j->out);
}

/* The page cache of a segment that failed says nothing about the disk any more, and a later fsync would
 * report success all the same: the file is left alone from here on. */
static void
poison(struct journal *j, uint64_t from, const struct err *why)
{
	add_news(j, true, "journal: segment %016llx is poisoned from offset %llu: %s",
	    (unsigned long long)j->cur->number, (unsigned long long)from, why->text);
	journal_voids_add(j, j->cur->number, from);
	close_current(j);
}

/* Takes a spare, waiting for one that is being made.  NULL: there will be none. */
static struct journal_spare *
take_spare(struct journal *j)
{
	struct journal_spare *s;

	pthread_mutex_lock(&j->lock);
	if (STAILQ_EMPTY(&j->spares) && j->spare_is_coming && j->spares_wanted < SPARES_MAX)
		j->spares_wanted++; /* we use them up faster than one can be made */
	while (STAILQ_EMPTY(&j->spares) && j->spare_is_coming)
		pthread_cond_wait(&j->wake, &j->lock);
	s = STAILQ_FIRST(&j->spares);
	if (s != NULL) {
		STAILQ_REMOVE_HEAD(&j->spares, link);
		/* the loop is told below and makes another one: who needs it meanwhile waits for that */
		j->spare_is_coming = --j->nspares < j->spares_wanted && !j->no_more_spares;
		j->current = s->number;
		j->left = j->o.segment_size - SEGMENT_RECORDS_AT;
	}
	pthread_mutex_unlock(&j->lock);
	tell_loop(j); /* to make the next one */
	return s;
}

static void
render_voids(struct journal *j)
{
	for (size_t i = 0; i < j->nvoids; i++) {
		size_t size = record_size(VOID_BYTES);
		char *p = buf_reserve(&j->out, size);
		struct record r = { .type = RECORD_VOID,
			.offset = (uint32_t)j->off,
			.batch = (uint32_t)j->batch_at };

		if (p == NULL)
			bug("journal: %zu voids", j->nvoids);
		void_encode(j->voids[i].number, j->voids[i].from, p + RECORD_HEADER);
		record_seal(p, &j->cur_header, &r, VOID_BYTES);
		j->out.len += size;
		j->off += size;
	}
}

/* Header and voids of a new segment.  Without voids the first batch's flush makes the header durable. */
static int
start_segment(struct journal *j, struct err *err)
{
	char head[SEGMENT_HEADER];

	j->cur_header = (struct segment_header){ .number = j->cur->number,
		.salt = j->cur->salt,
		.size = j->o.segment_size,
		.last_us = atomic_load(&j->last_us),
		.made_ms = (uint64_t)clock_wall_ms() };
	j->off = j->batch_at = SEGMENT_RECORDS_AT;
	buf_reset(&j->out);
	segment_header_encode(&j->cur_header, head);
	if (write_all(j, j->cur->fd, head, sizeof head, 0, err) < 0 ||
	    write_all(j, j->cur->fd, head, sizeof head, SEGMENT_COPY_AT, err) < 0)
		return -1;
	if (j->nvoids == 0)
		return 0;
	render_voids(j);
	if (write_all(j, j->cur->fd, j->out.p, j->out.len, j->batch_at, err) < 0)
		return -1;
	if (j->io.fdatasync(j->cur->fd) < 0)
		return err_sys(err, ERR_TEMP, "fdatasync");
	j->nvoids = 0;
	j->batch_at = j->off;
	buf_reset(&j->out);
	return 0;
}

/* Makes cur a fresh segment; nothing is unflushed.  false: there is none to be had, and what is current
 * stays so, because small entries may still fit into it. */
static bool
next_segment(struct journal *j)
{
	struct journal_spare *s = clock_mono_ms() < j->retry_ms ? NULL : take_spare(j);
	struct err e;

	if (s == NULL) {
		if (j->nvoids > 0)
			set_broken(j, true);
		return false;
	}
	close_current(j);
	j->cur = s;
	if (start_segment(j, &e) < 0) {
		poison(j, SEGMENT_RECORDS_AT, &e);
		j->retry_ms = clock_mono_ms() + RETRY_MS;
		set_broken(j, true);
		return false;
	}
	pthread_mutex_lock(&j->lock);
	j->left = j->cur_header.size - j->off;
	pthread_mutex_unlock(&j->lock);
	set_broken(j, false);
	return true;
}

static void
flush(struct journal *j)
{
	struct err e;

	if (STAILQ_EMPTY(&j->unflushed))
		return;
	if (write_all(j, j->cur->fd, j->out.p, j->out.len, j->batch_at, &e) == 0) {
		if (j->io.fdatasync(j->cur->fd) == 0) {
			j->batch_at = j->off;
			buf_reset(&j->out);
			finish(j, &j->unflushed, QMGR_OK);
			return;
		}
		err_sys(&e, ERR_TEMP, "fdatasync");
	}
	poison(j, j->batch_at, &e);
	finish(j, &j->unflushed, QMGR_TEMP);
	/* at once, not with the next append: until the void is durable a crash would bring back what was
	 * just refused */
	next_segment(j);
}

static int
render_piece(char *to, const struct journal_piece *piece, struct err *err)
{
	if (piece->len == 0)
		return 0;
	if (piece->p != NULL) {
		memcpy(to, piece->p, piece->len);
		return 0;
	}
	return fd_pread_all(piece->fd, to, piece->len, (off_t)piece->off, err);
}

static uint64_t
content_bytes(const struct journal_record *r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->npieces; i++)
		sum += r->pieces[i].len;
	return sum;
}

uint64_t
journal_entry_bytes(const struct journal_entry *e)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < e->nrecords; i++)
		sum += record_size(content_bytes(&e->records[i]));
	return sum;
}

static int
render_record(struct journal *j, struct journal_record *from, bool more, struct err *err)
{
	size_t content = content_bytes(from), at = RECORD_HEADER, size = record_size(content);
	char *p = buf_reserve(&j->out, size);
	struct record r = { .type = from->type,
		.flags = more ? RECORD_MORE : 0,
		.id = from->id,
		.offset = (uint32_t)j->off,
		.batch = (uint32_t)j->batch_at };

	if (p == NULL)
		return err_set(err, ERR_LIMIT, "no memory for a batch");
	for (unsigned i = 0; i < from->npieces; i++) {
		if (render_piece(p + at, &from->pieces[i], err) < 0)
			return -1;
		at += from->pieces[i].len;
	}
	record_seal(p, &j->cur_header, &r, content);
	from->offset = (uint32_t)j->off;
	j->out.len += size;
	j->off += size;
	return 0;
}

/* Content comes from other processes' memfds: one that cannot be read fails its own entry only. */
static void
render(struct journal *j, struct journal_entry *e)
{
	uint64_t off = j->off;
	size_t len = j->out.len;
	struct err err;

	for (unsigned i = 0; i < e->nrecords; i++) {
		if (render_record(j, &e->records[i], i + 1 < e->nrecords, &err) == 0)
			continue;
		j->off = off;
		j->out.len = len;
		j->out.failed = false;
		add_news(j, true, "journal: an entry cannot be written: %s", err.text);
		finish_one(j, e, QMGR_TEMP);
		return;
	}
	e->number = j->cur->number;
	STAILQ_INSERT_TAIL(&j->unflushed, e, link);
}

static bool
fits(const struct journal *j, const struct journal_entry *e)
{
	return j->cur != NULL && e->bytes <= j->cur_header.size - j->off;
}

static void
write_batch(struct journal *j, struct journal_entries *batch)
{
	struct journal_entry *e;

	while ((e = STAILQ_FIRST(batch)) != NULL) {
		STAILQ_REMOVE_HEAD(batch, link);
		if (!fits(j, e))
			flush(j);
		if (!fits(j, e) && (!next_segment(j) || !fits(j, e))) {
			finish_one(j, e, QMGR_FULL);
			continue;
		}
		render(j, e);
	}
	flush(j);
}

/* Under lock: is there a reason to open a segment although nothing waits to be written? */
static bool
wants_repair(const struct journal *j)
{
	return j->cur == NULL && j->nvoids > 0 && !STAILQ_EMPTY(&j->spares) &&
	       clock_mono_ms() >= j->retry_ms;
}

static void
take_batch(struct journal *j, struct journal_entries *batch)
{
	struct journal_entry *e;
	uint64_t bytes = 0;

	while ((e = STAILQ_FIRST(&j->waiting)) != NULL &&
	       (bytes == 0 || bytes + e->bytes <= BATCH_BYTES)) {
		STAILQ_REMOVE_HEAD(&j->waiting, link);
		STAILQ_INSERT_TAIL(batch, e, link);
		bytes += e->bytes;
	}
}

void *
journal_writer(void *arg)
{
	struct journal *j = arg;

	pthread_mutex_lock(&j->lock);
	for (;;) {
		struct journal_entries batch = STAILQ_HEAD_INITIALIZER(batch);
		bool repair = wants_repair(j);

		take_batch(j, &batch);
		if (STAILQ_EMPTY(&batch) && !repair) {
			if (j->stopping)
				break;
			pthread_cond_wait(&j->wake, &j->lock);
			continue;
		}
		pthread_mutex_unlock(&j->lock);
		if (repair)
			next_segment(j);
		write_batch(j, &batch);
		pthread_mutex_lock(&j->lock);
	}
	pthread_mutex_unlock(&j->lock);
	return NULL;
}
