/* The journal: group commit, replay, damage at every byte, poisoned segments, reserve, removal. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "qmgr/journal.h"
#include "tests/unit/remove_all.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SEGMENT = 64 * 1024, SMALL = 16 * 1024, RECORDS = 4096, TIMEOUT_MS = 20000 };

/* --- system calls that fail on demand ------------------------------------------------------------------- */
static atomic_int syncs, fail_sync_at, fail_sync_count, fail_write_at, writes, fail_fsync,
    sync_delay_us;

static int
counting_fdatasync(int fd)
{
	int n = atomic_fetch_add(&syncs, 1) + 1;

	int at = atomic_load(&fail_sync_at);

	if (at > 0 && n >= at && n < at + atomic_load(&fail_sync_count)) {
		errno = EIO;
		return -1;
	}
	usleep((useconds_t)atomic_load(&sync_delay_us));
	return fdatasync(fd);
}

static int
failing_fsync(int fd)
{
	if (atomic_load(&fail_fsync)) {
		errno = ENOSPC;
		return -1;
	}
	return fsync(fd);
}

/* Zeros that make a spare are not counted, but for the file's size nothing tells them apart. */
static ssize_t
counting_pwrite(int fd, const void *p, size_t len, off_t off)
{
	if (len >= SMALL)
		return pwrite(fd, p, len, off);
	if (atomic_fetch_add(&writes, 1) + 1 == atomic_load(&fail_write_at)) {
		errno = EIO;
		return -1;
	}
	/* a short write now and then is no failure */
	return pwrite(fd, p, len > 100 ? len / 2 : len, off);
}

static const struct journal_io test_io = { counting_pwrite, counting_fdatasync, failing_fsync };

/* --- a journal in a temporary directory ------------------------------------------------------------------ */
struct place {
	uint64_t us;
	uint64_t segment;
	uint32_t offset;
	enum qmgr_status status;
	bool is_done;
};

struct bench {
	char dir[48];
	int root_fd;
	struct loop *loop;
	struct journal *j;
	uint64_t next_us;
	/* what replay gave */
	struct record seen[RECORDS];
	char content[RECORDS][32];
	struct journal_segment *held[RECORDS];
	size_t nseen;
};

static void
reset_io(void)
{
	atomic_store(&syncs, 0);
	atomic_store(&writes, 0);
	atomic_store(&fail_sync_at, 0);
	atomic_store(&fail_sync_count, 1);
	atomic_store(&fail_write_at, 0);
	atomic_store(&sync_delay_us, 0);
	atomic_store(&fail_fsync, 0);
}

static int
setup(void **state)
{
	struct bench *b = x_calloc(1, sizeof *b);

	/* thousands of flushes: in memory where that is possible */
	snprintf(b->dir, sizeof b->dir, "/dev/shm/journal_test.XXXXXX");
	if (mkdtemp(b->dir) == NULL) {
		snprintf(b->dir, sizeof b->dir, "/tmp/journal_test.XXXXXX");
		assert_non_null(mkdtemp(b->dir));
	}
	b->root_fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->loop = loop_new();
	b->next_us = 1000;
	reset_io();
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct bench *b = *state;

	journal_close(b->j);
	loop_free(b->loop);
	close(b->root_fd);
	remove_all(b->dir);
	free(b);
	return 0;
}

static void
on_record(void *arg, const struct record *r, struct journal_segment *s)
{
	struct bench *b = arg;

	assert_true(b->nseen < RECORDS);
	b->seen[b->nseen] = *r;
	memset(b->content[b->nseen], 0, 32);
	memcpy(b->content[b->nseen], r->content.p, r->content.len < 31 ? r->content.len : 31);
	if (r->type == RECORD_MESSAGE)
		journal_hold(s);
	b->held[b->nseen++] = r->type == RECORD_MESSAGE ? s : NULL;
}

static void
open_only(struct bench *b, int root_fd, uint64_t size)
{
	struct journal_options o = {
		.loop = b->loop, .root_fd = root_fd, .segment_size = size, .io = &test_io
	};
	struct err err;

	b->nseen = 0;
	b->j = journal_open(&o, &err);
	if (b->j == NULL || journal_replay(b->j, on_record, b, &err) < 0)
		fail_msg("%s", err.text);
}

static void
start(struct bench *b, uint64_t size)
{
	struct err err;

	open_only(b, b->root_fd, size);
	if (journal_start(b->j, &err) < 0)
		fail_msg("%s", err.text);
}

static void
stop(struct bench *b)
{
	journal_close(b->j);
	b->j = NULL;
}

/* --- appending ---------------------------------------------------------------------------------------------- */
struct append {
	struct journal_entry entry;
	struct bench *b;
	struct place *place;
	char text[32];
	bool hold;
};

static void
on_done(void *arg, struct journal_entry *e)
{
	struct append *a = arg;

	a->place->status = e->status;
	a->place->is_done = true;
	if (e->status == QMGR_OK) {
		a->place->segment = e->segment->header.number;
		a->place->offset = e->records[0].offset;
		if (a->hold)
			journal_hold(e->segment);
	}
	free(a);
}

static struct append *
prepare(struct bench *b, struct place *place, enum record_type type, size_t len)
{
	static const char filler[SEGMENT];
	struct append *a = x_calloc(1, sizeof *a);

	*place = (struct place){ .us = b->next_us++ };
	a->b = b;
	a->place = place;
	a->hold = type == RECORD_MESSAGE;
	snprintf(a->text, sizeof a->text, "message %llu", (unsigned long long)place->us);
	a->entry.nrecords = 1;
	a->entry.records[0] = (struct journal_record){ .type = type,
		.id = { place->us, 1 },
		.npieces = 2,
		.pieces = { { .p = a->text, .len = 20 }, { .p = filler, .len = len } } };
	a->entry.done = on_done;
	a->entry.arg = a;
	return a;
}

static void
append(struct bench *b, struct place *place, enum record_type type, size_t len, bool lazy)
{
	journal_append(b->j, &prepare(b, place, type, len)->entry, lazy);
}

static void
wait_for(struct bench *b, const struct place *places, size_t count)
{
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;

	for (size_t i = 0; i < count; i++)
		while (!places[i].is_done) {
			if (clock_mono_ms() > deadline)
				fail_msg("entry %zu is not answered", i);
			loop_run_once(b->loop, true);
		}
}

static bool
saw(const struct bench *b, uint64_t us)
{
	char text[32];

	snprintf(text, sizeof text, "message %llu", (unsigned long long)us);
	for (size_t i = 0; i < b->nseen; i++)
		if (b->seen[i].id.us == us)
			return strcmp(b->content[i], text) == 0;
	return false;
}

/* --- tests ---------------------------------------------------------------------------------------------------- */
static void
test_order(void **state)
{
	struct bench *b = *state;
	struct place p[500];

	start(b, SEGMENT);
	for (size_t i = 0; i < 500; i++)
		append(b, &p[i], RECORD_MESSAGE, i * 7 % 900, i % 5 == 0);
	wait_for(b, p, 500);
	for (size_t i = 0; i < 500; i++)
		assert_int_equal(p[i].status, QMGR_OK);
	assert_true(p[499].segment > p[0].segment);
	stop(b);
	start(b, SEGMENT);
	assert_int_equal(b->nseen, 500);
	for (size_t i = 0; i < 500; i++) {
		assert_int_equal(b->seen[i].id.us, p[i].us);
		assert_true(saw(b, p[i].us));
	}
}

/* DESIGN 9: what is easy to fake. */
static void
test_group_commit(void **state)
{
	struct bench *b = *state;
	struct place p[1000];

	start(b, 1 << 20);
	append(b, &p[0], RECORD_MESSAGE, 100, false);
	wait_for(b, p, 1);
	reset_io();
	atomic_store(&sync_delay_us, 1000);
	for (size_t i = 0; i < 1000; i++)
		append(b, &p[i], RECORD_MESSAGE, 200, false);
	wait_for(b, p, 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(p[i].status, QMGR_OK);
	assert_in_range(atomic_load(&syncs), 1, 100);
}

static void
test_lazy_waits_for_company(void **state)
{
	struct bench *b = *state;
	struct place p[2];

	start(b, SEGMENT);
	append(b, &p[0], RECORD_MESSAGE, 1, false);
	wait_for(b, p, 1);
	reset_io();
	append(b, &p[0], RECORD_OUTCOME, 1, true);
	loop_run_once(b->loop, false);
	assert_false(p[0].is_done);
	append(b, &p[1], RECORD_MESSAGE, 1, false);
	wait_for(b, p, 2);
	assert_int_equal(atomic_load(&syncs), 1);
	append(b, &p[0], RECORD_OUTCOME, 1, true); /* and alone not for ever */
	wait_for(b, p, 1);
}

static void
test_removal(void **state)
{
	struct bench *b = *state;
	struct place p[300];
	struct journal_segment *first = NULL;
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;

	start(b, SMALL);
	for (size_t i = 0; i < 300; i++)
		append(b, &p[i], i == 0 ? RECORD_MESSAGE : RECORD_OUTCOME, 300, false);
	wait_for(b, p, 300);
	first = (struct journal_segment *)(uintptr_t)journal_first(b->j);
	/* one message holds its segment, and so all younger ones */
	assert_int_equal(first->header.number, p[0].segment);
	assert_int_equal(first->holders, 1);
	journal_drop(b->j, first);
	while (journal_first(b->j)->header.number < p[299].segment && clock_mono_ms() < deadline)
		loop_run_once(b->loop, true);
	assert_int_equal(journal_first(b->j)->header.number, p[299].segment);
}

static void
test_group_is_atomic(void **state)
{
	struct bench *b = *state;
	struct place p[2];
	struct append *a;
	char name[128];
	int fd;

	start(b, SEGMENT);
	append(b, &p[0], RECORD_MESSAGE, 10, false);
	wait_for(b, p, 1);
	a = prepare(b, &p[1], RECORD_OUTCOME, 10);
	a->entry.nrecords = 3;
	a->entry.records[1] = a->entry.records[2] = a->entry.records[0];
	journal_append(b->j, &a->entry, false);
	wait_for(b, p, 2);
	stop(b);
	open_only(b, b->root_fd, SEGMENT);
	assert_int_equal(b->nseen, 4);
	stop(b);
	/* the last of the group is torn: none of it happened */
	snprintf(name, sizeof name, "%s/journal/%016llx", b->dir, (unsigned long long)p[1].segment);
	fd = open(name, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, p[1].offset + 2 * (off_t)record_size(30) + 40), 1);
	close(fd);
	open_only(b, b->root_fd, SEGMENT);
	assert_int_equal(b->nseen, 1);
}

/* A failed flush: the batch fails, nothing of it comes back, what follows is in a new segment that voids it. */
static void
poison(struct bench *b, bool write_fails)
{
	struct place before, batch[20], after;

	start(b, SEGMENT);
	append(b, &before, RECORD_MESSAGE, 10, false);
	wait_for(b, &before, 1);
	reset_io();
	if (write_fails)
		atomic_store(&fail_write_at, 2);
	else
		atomic_store(&fail_sync_at, 1);
	/* the loop does not turn meanwhile; the first may be a batch of its own */
	for (size_t i = 0; i < 20; i++)
		append(b, &batch[i], RECORD_MESSAGE, 200, true);
	append(b, &after, RECORD_MESSAGE, 10, false);
	wait_for(b, batch, 20);
	wait_for(b, &after, 1);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(batch[i].status, QMGR_TEMP);
	assert_int_equal(after.status, QMGR_TEMP);
	append(b, &after, RECORD_MESSAGE, 10, false);
	wait_for(b, &after, 1);
	assert_int_equal(after.status, QMGR_OK);
	assert_true(after.segment > before.segment);
	stop(b);
	start(b, SEGMENT);
	assert_true(saw(b, before.us));
	assert_true(saw(b, after.us));
	for (size_t i = 0; i < 20; i++)
		assert_false(saw(b, batch[i].us));
}

static void
test_poison_sync(void **state)
{
	poison(*state, false);
}

static void
test_poison_write(void **state)
{
	poison(*state, true);
}

/* Each flush fails in turn, and with count 2 that of the void as well: what was acknowledged is there, what
 * was refused is not. */
static void
poison_anywhere(struct bench *b, int fail_count)
{
	for (int at = 1; at <= 12; at++) {
		struct place p[40];
		size_t refused = 0;

		start(b, SMALL);
		reset_io();
		atomic_store(&fail_sync_at, at);
		atomic_store(&fail_sync_count, fail_count);
		for (size_t i = 0; i < 40; i++) {
			append(b, &p[i], RECORD_MESSAGE, 900, false);
			wait_for(b, &p[i], 1);
			refused += p[i].status != QMGR_OK;
		}
		/* a failure while the void was written costs more, but not for ever */
		assert_in_range(refused, at == 1 ? 0 : 1, 40);
		stop(b);
		reset_io();
		start(b, SMALL);
		for (size_t i = 0; i < 40; i++)
			assert_int_equal(saw(b, p[i].us), p[i].status == QMGR_OK);
		for (size_t i = 0; i < b->nseen; i++)
			if (b->held[i] != NULL)
				journal_drop(b->j, b->held[i]);
		stop(b);
	}
}

static void
test_poison_anywhere(void **state)
{
	poison_anywhere(*state, 1);
	poison_anywhere(*state, 2);
}

/* The void itself cannot be written: nothing is accepted until it can, and then everything is in order. */
static void
test_broken_and_repaired(void **state)
{
	struct bench *b = *state;
	struct place p;
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;

	start(b, SEGMENT);
	append(b, &p, RECORD_MESSAGE, 10, false);
	wait_for(b, &p, 1);
	while (journal_admits(b->j, SEGMENT - SEGMENT / 4) != QMGR_OK && clock_mono_ms() < deadline)
		loop_run_once(b->loop, true); /* the spare is made */
	reset_io();
	atomic_store(&fail_fsync, 1); /* no new spare */
	atomic_store(&fail_sync_at, 1);
	append(b, &p, RECORD_MESSAGE, 10, false);
	wait_for(b, &p, 1);
	assert_int_equal(p.status, QMGR_TEMP);
	/* the void went to the one spare; now that is poisoned, too */
	while (atomic_load(&syncs) < 2 && clock_mono_ms() < deadline)
		loop_run_once(b->loop, false);
	reset_io();
	atomic_store(&fail_fsync, 1);
	atomic_store(&fail_sync_at, 1);
	append(b, &p, RECORD_MESSAGE, 10, false);
	wait_for(b, &p, 1);
	assert_int_equal(p.status, QMGR_TEMP);
	append(b, &p, RECORD_MESSAGE, 10, false);
	wait_for(b, &p, 1);
	assert_int_equal(p.status, QMGR_FULL);
	assert_true(journal_is_broken(b->j));
	assert_int_equal(journal_admits(b->j, 1), QMGR_FULL);
	reset_io();
	deadline = clock_mono_ms() + TIMEOUT_MS;
	while (journal_is_broken(b->j) && clock_mono_ms() < deadline)
		loop_run_once(b->loop, true);
	append(b, &p, RECORD_MESSAGE, 10, false);
	wait_for(b, &p, 1);
	assert_int_equal(p.status, QMGR_OK);
	stop(b);
	start(b, SEGMENT);
	assert_int_equal(b->nseen, 4); /* two messages, two voids */
}

static void
test_reserve(void **state)
{
	struct bench *b = *state;
	struct place p[64];
	int64_t deadline = clock_mono_ms() + TIMEOUT_MS;
	size_t n = 0;

	start(b, 512 * 1024);
	append(b, &p[0], RECORD_MESSAGE, 10, false);
	wait_for(b, p, 1);
	while (journal_admits(b->j, 400 * 1024) != QMGR_OK && clock_mono_ms() < deadline)
		loop_run_once(b->loop, true);
	atomic_store(&fail_fsync, 1); /* the disk is full: no further spare */
	journal_reserve(b->j, 200 * 1024);
	while (n < 64 && journal_admits(b->j, 60 * 1024) == QMGR_OK) {
		append(b, &p[n], RECORD_MESSAGE, 60 * 1024 - 100, false);
		wait_for(b, &p[n], 1);
		assert_int_equal(p[n++].status, QMGR_OK);
	}
	assert_in_range(n, 4, 16);
	/* what was reserved is there */
	for (size_t i = 0; i < 20; i++) {
		append(b, &p[i], RECORD_OUTCOME, 9000, false);
		wait_for(b, &p[i], 1);
		assert_int_equal(p[i].status, QMGR_OK);
	}
	/* a new one that does not fit is refused without spoiling the rest */
	append(b, &p[0], RECORD_MESSAGE, 60 * 1024 - 100, false);
	wait_for(b, p, 1);
	append(b, &p[1], RECORD_OUTCOME, 100, false);
	wait_for(b, &p[1], 1);
	assert_int_equal(p[1].status, QMGR_OK);
}

/* A full disk at start: the end of the last segment is used. */
static void
test_reopen(void **state)
{
	struct bench *b = *state;
	struct journal_options o;
	struct place p[3];
	char path[128];
	struct err err;

	start(b, SEGMENT);
	append(b, &p[0], RECORD_MESSAGE, 10, false);
	wait_for(b, p, 1);
	stop(b);
	for (uint64_t n = p[0].segment + 1; n < p[0].segment + 9; n++) {
		snprintf(path, sizeof path, "%s/journal/%016llx", b->dir, (unsigned long long)n);
		unlink(path);
	}
	o = (struct journal_options){ .loop = b->loop,
		.root_fd = b->root_fd,
		.segment_size = SEGMENT,
		.minfree = UINT64_MAX / 4,
		.io = &test_io };
	for (int i = 1; i < 3; i++) {
		b->nseen = 0;
		b->j = journal_open(&o, &err);
		assert_non_null(b->j);
		assert_int_equal(journal_replay(b->j, on_record, b, &err), 0);
		assert_int_equal(b->nseen, i);
		assert_int_equal(journal_start(b->j, &err), 0);
		append(b, &p[i], RECORD_MESSAGE, 10, false);
		wait_for(b, &p[i], 1);
		assert_int_equal(p[i].status, QMGR_OK);
		assert_int_equal(p[i].segment, p[0].segment);
		stop(b);
	}
	start(b, SEGMENT);
	for (int i = 0; i < 3; i++)
		assert_true(saw(b, p[i].us));
}

/* --- damage ------------------------------------------------------------------------------------------------------ */
struct image {
	char *bytes;
	size_t len;
	uint64_t number;
};

/* One segment of small records, each flushed by itself; the place of every one is known. */
static void
make_image(struct bench *b, struct place *p, size_t count, struct image *im)
{
	char path[128];
	int fd;

	start(b, SMALL);
	for (size_t i = 0; i < count; i++) {
		append(b, &p[i], RECORD_MESSAGE, 10, false);
		wait_for(b, &p[i], 1);
		assert_int_equal(p[i].segment, p[0].segment);
	}
	stop(b);
	im->number = p[0].segment;
	im->len = SMALL;
	im->bytes = x_malloc(SMALL);
	snprintf(path, sizeof path, "%s/journal/%016llx", b->dir, (unsigned long long)im->number);
	fd = open(path, O_RDONLY);
	assert_int_equal(fd_pread_all(fd, im->bytes, SMALL, 0, NULL), 0);
	close(fd);
}

static void
replay_image(struct bench *b, const struct image *im, size_t len)
{
	char dir[96], path[160];
	int fd, root;

	snprintf(dir, sizeof dir, "%s/copy", b->dir);
	mkdir(dir, 0700);
	snprintf(path, sizeof path, "%s/journal", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/journal/%016llx", dir, (unsigned long long)im->number);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(fd_write_all(fd, im->bytes, len, NULL), 0);
	close(fd);
	root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	open_only(b, root, SMALL);
	stop(b);
	close(root);
	remove_all(dir);
}

static void
quiet_stderr(void)
{
	int fd = open("/dev/null", O_WRONLY);

	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void
test_truncation(void **state)
{
	struct bench *b = *state;
	struct place p[12];
	struct image im;

	make_image(b, p, 12, &im);
	quiet_stderr();
	for (size_t len = 0; len < p[11].offset + 200;
	     len += len < SEGMENT_RECORDS_AT - 100 ? 61 : 1) {
		replay_image(b, &im, len);
		for (size_t i = 0; i < 12; i++)
			assert_int_equal(saw(b, p[i].us), p[i].offset + RECORD_HEADER + 30 <= len);
	}
	free(im.bytes);
}

/* One bit anywhere costs the record it is in and no other. */
static void
test_bit_flips(void **state)
{
	struct bench *b = *state;
	struct place p[6];
	struct image im;

	make_image(b, p, 6, &im);
	quiet_stderr();
	for (size_t at = 0; at < p[5].offset + 100u; at++) {
		if (at > SEGMENT_HEADER && at < SEGMENT_RECORDS_AT && at % 64 != 0)
			continue;
		im.bytes[at] ^= (char)(1 << at % 8);
		replay_image(b, &im, im.len);
		im.bytes[at] ^= (char)(1 << at % 8);
		for (size_t i = 0; i < 6; i++) {
			bool is_hit = at >= p[i].offset && at < p[i].offset + RECORD_HEADER + 30u;

			assert_int_equal(saw(b, p[i].us), !is_hit);
		}
	}
	free(im.bytes);
}

/* Zeroed sectors, swapped records, records of another segment. */
static void
test_strange_segments(void **state)
{
	struct bench *b = *state;
	struct place p[6];
	struct image im;
	char one[64], *at;

	make_image(b, p, 6, &im);
	quiet_stderr();
	at = im.bytes + p[2].offset;
	memcpy(one, at, sizeof one);
	memset(at, 0, sizeof one);
	replay_image(b, &im, im.len);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(saw(b, p[i].us), i != 2);
	memcpy(at, im.bytes + p[3].offset, sizeof one); /* a copy of 3 in the place of 2 */
	replay_image(b, &im, im.len);
	assert_int_equal(b->nseen, 5);
	memcpy(at, one, sizeof one);
	im.number++; /* the whole segment under another name */
	replay_image(b, &im, im.len);
	assert_int_equal(b->nseen, 0);
	free(im.bytes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group_commit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lazy_waits_for_company, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_group_is_atomic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poison_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poison_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_poison_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_and_repaired, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_truncation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bit_flips, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_segments, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
