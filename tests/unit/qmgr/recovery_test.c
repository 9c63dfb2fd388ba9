/* What is on disk after crashes and damage, and what becomes of it: DESIGN 5's rules about the journal and
 * the deferred files, and nothing lost when a disk fails. */
#include "qmgr/queue_private.h"
#include "tests/unit/qmgr/fixture.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

static const struct fix_mail plain = { .sender = "alice@example.test",
	.headers = "Received: x\r\n",
	.body = "Subject: hi\r\n\r\nhello\r\n",
	.rcpts = { "bob@example.test", "carol@example.test" } };

static struct message *
message_of(struct fixture *f, const char *id)
{
	struct queue_id q;

	assert_true(queue_id_parse(view_of(id), &q));
	return queue_find(f->queue, q);
}

static bool
all_wait_in_files(struct fixture *f)
{
	struct message *m = NULL;

	while ((m = queue_next(f->queue, m)) != NULL) {
		if (m->state != MESSAGE_WAITING || m->segment != NULL || m->is_busy)
			return false;
	}
	return queue_is_quiet(f->queue);
}

static void
defer_one(struct fixture *f, char id[QUEUE_ID_TEXT], char path[64])
{
	struct fix_job *j;

	fix_send(f, &plain, id);
	j = fix_next_job(f);
	for (size_t i = 0; i < j->nrcpts; i++)
		fix_answer(j, i, DELIVERY_DEFERRED, "4.2.2", "over quota");
	fix_run(f, all_wait_in_files);
	fix_deferred_path(id, path);
	assert_true(fix_exists(f, path));
}

static void
run(const char *program, const char *flag, const char *from, const char *to)
{
	char *argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)flag,
		(char *)(uintptr_t)from, (char *)(uintptr_t)to, NULL };
	int status;
	pid_t pid;

	assert_int_equal(posix_spawnp(&pid, program, NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A part of the directory, kept aside as it is at this moment. */
struct kept {
	char path[160], now[160];
};

static void
keep(struct fixture *f, const char *part, struct kept *k)
{
	snprintf(k->now, sizeof k->now, "%s/%s", f->dir, part);
	snprintf(k->path, sizeof k->path, "%s/kept", f->dir);
	run("cp", "-a", k->now, k->path);
}

static void
bring_back(const struct kept *k)
{
	run("rm", "-rf", k->now, NULL);
	run("mv", "-f", k->path, k->now);
}

static void
flip(struct fixture *f, const char *path, off_t at)
{
	int fd = openat(f->root_fd, path, O_RDWR);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 4;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static off_t
size_of(struct fixture *f, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(f->root_fd, path, &st, 0), 0);
	return st.st_size;
}

/* The journal says nothing of `moved` yet, and the file is there: the file wins, and the message is there once. */
static void
test_file_wins(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct kept journal;

	fix_start(f);
	fix_send(f, &plain, id);
	fix_next_job(f);
	keep(f, "journal", &journal);
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(&f->jobs[0], 1, DELIVERY_DEFERRED, "4.2.2", "over quota");
	fix_run(f, all_wait_in_files);
	fix_stop(f);
	bring_back(&journal); /* the old journal beside the new file */
	fix_start(f);
	fix_deferred_path(id, path);
	assert_true(fix_exists(f, path));
	assert_int_equal(queue_count(f->queue), 1);
	assert_null(message_of(f, id)->segment);
	assert_int_equal(message_of(f, id)->left, 1);
}

/* `moved` is there and no file: it was finished from the file. */
static void
test_moved_and_gone(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];

	fix_start(f);
	defer_one(f, id, path);
	fix_stop(f);
	unlinkat(f->root_fd, path, 0);
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 0);
}

/* Each part of a deferred file damaged: summary and slots have two copies; head, envelope and content are
 * taken from the journal while it has them. */
static void
test_damaged_file(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct fix_job *j;

	fix_start(f);
	defer_one(f, id, path);
	fix_stop(f);
	flip(f, path, 20);                     /* newer summary */
	flip(f, path, DEFERRED_SLOTS_AT + 60); /* newer copy of slot 0 */
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 1);
	queue_flush(f->queue, message_of(f, id));
	assert_int_equal(fix_next_job(f)->nrcpts, 2);
	fix_restart(f);
	fix_stop(f);
	flip(f, path, DEFERRED_SUMMARY + 20); /* both summaries */
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 1);
	queue_flush(f->queue, message_of(f, id));
	assert_int_equal(fix_next_job(f)->nrcpts, 2);
	/* both copies of slot 0: nobody knows whose it was, so nobody is left out */
	fix_stop(f);
	flip(f, path, DEFERRED_SLOTS_AT + DEFERRED_SLOT + 60);
	fix_start(f);
	queue_flush(f->queue, message_of(f, id));
	j = fix_next_job(f);
	assert_int_equal(j->nrcpts, 2);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(j, 1, DELIVERY_DEFERRED, "4.0.0", "again");
	fix_run(f, all_wait_in_files);
	fix_restart(f); /* the file was written anew */
	assert_int_equal(message_of(f, id)->left, 1);
	queue_flush(f->queue, message_of(f, id));
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

static void
test_damaged_head(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64], aside[64];

	fix_start(f);
	defer_one(f, id, path);
	fix_stop(f);
	flip(f, path, 20);
	flip(f, path, DEFERRED_SUMMARY + 20);
	flip(f, path, DEFERRED_HEAD_AT + 20);
	snprintf(aside, sizeof aside, "corrupt/deferred-%s", id);
	/* the journal still has the message: nothing is lost, now and at later starts */
	for (int i = 0; i < 3; i++) {
		fix_start(f);
		assert_true(fix_exists(f, aside));
		assert_true(fix_exists(f, path));
		assert_int_equal(queue_count(f->queue), 1);
		assert_null(message_of(f, id)->segment);
		fix_stop(f);
	}
	fix_start(f);
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(&f->jobs[0], 1, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* Content that does not check out is never delivered, and stops nobody else. */
static void
test_damaged_content(void **state)
{
	struct fixture *f = *state;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT], path_a[64], path_b[64], aside[64];

	fix_start(f);
	defer_one(f, a, path_a);
	defer_one(f, b, path_b);
	fix_stop(f);
	flip(f, path_a, size_of(f, path_a) - 3);
	fix_start(f);
	queue_flush(f->queue, message_of(f, a));
	queue_flush(f->queue, message_of(f, b));
	assert_string_equal(fix_next_job(f)->id, b);
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(&f->jobs[0], 1, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_int_equal(f->njobs, 1);
	snprintf(aside, sizeof aside, "corrupt/deferred-%s", a);
	assert_true(fix_exists(f, aside));
	assert_false(fix_exists(f, path_a));
}

static void
test_strange_files(void **state)
{
	static const char *const names[] = { "deferred/00/README", "deferred/07/0000100011z1",
		"deferred/05/x.tmp", "journal/lost+found", "bodies/0000100011z1", "bodies/README" };
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];

	fix_start(f);
	defer_one(f, id, path);
	fix_stop(f);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		close(openat(f->root_fd, names[i], O_WRONLY | O_CREAT, 0600));
	assert_int_equal(symlinkat("/etc/passwd", f->root_fd, "deferred/01/000010001dz1"), 0);
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 1);
	assert_false(fix_exists(f, "deferred/05/x.tmp"));
	assert_false(fix_exists(f, "bodies/0000100011z1"));
	assert_true(fix_exists(f, "bodies/README"));
}

/* --- failing disks --------------------------------------------------------------------------------------- */
static atomic_int fail_syncs;

static int
failing_fdatasync(int fd)
{
	if (atomic_load(&fail_syncs) > 0) {
		atomic_fetch_sub(&fail_syncs, 1);
		errno = EIO;
		return -1;
	}
	return fdatasync(fd);
}

static const struct journal_io failing_io = { .fdatasync = failing_fdatasync };

/* The outcome cannot be written at first: no consequence before it is, and no second delivery after it is. */
static void
test_outcome_fails(void **state)
{
	struct fixture *f = *state;
	struct fix_mail one = plain;
	char id[QUEUE_ID_TEXT];

	one.rcpts[1] = NULL;
	f->io = &failing_io;
	fix_start(f);
	fix_send(f, &one, id);
	atomic_store(&fail_syncs, 1);
	fix_answer(fix_next_job(f), 0, DELIVERY_BOUNCED, "5.1.1", "unknown user");
	while (atomic_load(&fail_syncs) > 0)
		fix_turn(f, 1);
	fix_turn(f, 50);
	assert_int_equal(f->njobs, 1); /* no notice yet */
	assert_int_equal(queue_count(f->queue), 1);
	assert_string_equal(fix_next_job(f)->sender, ""); /* some seconds later */
	assert_int_equal(queue_count(f->queue), 1);
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_int_equal(f->njobs, 2);
}

static void
test_commit_fails(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct fix_reply r;

	f->io = &failing_io;
	fix_start(f);
	fix_send(f, &plain, id);
	atomic_store(&fail_syncs, 1);
	fix_commit(f, &plain, id, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_TEMP);
	assert_int_equal(queue_count(f->queue), 1);
	fix_send(f, &plain, id);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 2);
}

/* Of a message that is to become several, none is left behind, nor a body. */
static void
test_group_commit_fails(void **state)
{
	struct fixture *f = *state;
	struct fix_mail m = plain;
	char id[QUEUE_ID_TEXT];
	char *body = x_calloc(1, 900001);
	struct fix_reply r;

	memset(body, 'x', 900000);
	m.body = body;
	m.rcpts[1] = "smtp:far@far.test";
	m.rcpts[2] = NULL;
	m.senders[1] = "owner@d.test";
	f->io = &failing_io;
	fix_start(f);
	atomic_store(&fail_syncs, 1);
	fix_commit(f, &m, id, &r);
	fix_wait(f, &r);
	assert_int_equal(r.status, QMGR_TEMP);
	assert_int_equal(queue_count(f->queue), 0);
	fix_run(f, fix_is_quiet);
	assert_int_equal(fix_files(f, "bodies", false), 0);
	fix_restart(f);
	assert_int_equal(queue_count(f->queue), 0);
	free(body);
}

/* No room for deferred/: the message waits in its segment, with all that is known, and is retried from there. */
static void
test_no_room_for_file(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], dir[32];
	struct message *m;
	struct queue_id q;

	fix_start(f);
	fix_send(f, &plain, id);
	assert_true(queue_id_parse(view_of(id), &q));
	snprintf(dir, sizeof dir, "deferred/%02x", (unsigned)(q.us % 256));
	assert_int_equal(unlinkat(f->root_fd, dir, AT_REMOVEDIR), 0);
	fix_answer(fix_next_job(f), 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(&f->jobs[0], 1, DELIVERY_DEFERRED, "4.2.2", "over quota");
	m = message_of(f, id);
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	     m->state != MESSAGE_WAITING || m->is_busy;) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
	}
	assert_non_null(m->segment);
	assert_int_equal(m->left, 1);
	queue_flush(f->queue, m);
	assert_int_equal(fix_next_job(f)->nrcpts, 1); /* carol only */
	fix_restart(f);                               /* and bob's outcome is in the journal */
	assert_int_equal(fix_next_job(f)->nrcpts, 1);
	assert_string_equal(f->jobs[0].rcpts[0].address, "carol@example.test");
	fix_answer(&f->jobs[0], 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* --- a notice and the failure it tells are one ----------------------------------------------------------------- */
/* The crash comes when the group is in the journal and the deferred file does not know yet. */
static void
test_notice_before_file(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct kept file;
	struct fix_job *j;

	fix_start(f);
	defer_one(f, id, path);
	keep(f, path, &file);
	fix_forget_jobs(f);
	queue_flush(f->queue, message_of(f, id));
	j = fix_next_job(f);
	fix_answer(j, 0, DELIVERY_BOUNCED, "5.1.1", "gone");
	fix_answer(j, 1, DELIVERY_DEFERRED, "4.2.2", "over quota");
	assert_string_equal(fix_next_job(f)->sender, "");
	fix_stop(f);
	bring_back(&file); /* the new journal beside the old file */
	fix_start(f);
	assert_int_equal(queue_count(f->queue), 2);
	j = fix_next_job(f);
	assert_string_equal(j->sender, ""); /* the notice, once */
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	queue_flush(f->queue, message_of(f, id));
	j = fix_next_job(f);
	assert_int_equal(j->nrcpts, 1); /* bob is not tried again */
	assert_string_equal(j->rcpts[0].address, "carol@example.test");
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_int_equal(f->njobs, 2);
}

/* --- old segments ------------------------------------------------------------------------------------------ */
/* A message gets its file while it is being delivered: what came of it meanwhile is in the file at the end. */
static void
test_relocated_in_flight(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT], path[64];
	struct message *m;
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	j = fix_next_job(f);
	m = message_of(f, id);
	assert_true(message_relocate(f->queue, m));
	assert_false(message_relocate(f->queue, m)); /* once is enough */
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; m->segment != NULL;) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
	}
	fix_deferred_path(id, path);
	assert_true(fix_exists(f, path));
	fix_turn(f, 50);
	fix_restart(f); /* bob has it, carol may have */
	assert_int_equal(queue_count(f->queue), 1);
	j = fix_next_job(f);
	assert_int_equal(j->nrcpts, 1);
	assert_string_equal(j->rcpts[0].address, "carol@example.test");
	assert_int_equal(j->rcpts[0].flags, DELIVERY_MAYBE_DONE);
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
	assert_false(fix_exists(f, path));
}

/* A failure that was not told yet when the file was made is told at the end, and what ends the message says of both. */
static void
test_relocated_after_a_failure(void **state)
{
	struct fixture *f = *state;
	char id[QUEUE_ID_TEXT];
	struct message *m;
	struct fix_job *j;

	fix_start(f);
	fix_send(f, &plain, id);
	j = fix_next_job(f);
	m = message_of(f, id);
	fix_answer(j, 0, DELIVERY_BOUNCED, "5.1.1", "no");
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS;
	     m->active->rcpts[0].status != RCPT_FAILED &&
	     m->active->rcpts[1].status != RCPT_FAILED;) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
	}
	assert_true(message_relocate(f->queue, m));
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; m->segment != NULL;) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
	}
	fix_answer(j, 1, DELIVERY_SENT, "2.0.0", "ok");
	j = fix_next_job(f);
	assert_string_equal(j->sender, "");
	assert_string_equal(j->rcpts[0].address, "alice@example.test");
	assert_non_null(strstr(j->text, "Status: 5.1.1"));
	fix_answer(j, 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_run(f, fix_is_empty);
}

/* One that waits for its turn is moved without being read into memory. */
static void
test_relocated_while_waiting(void **state)
{
	struct fixture *f = *state;
	char a[QUEUE_ID_TEXT], b[QUEUE_ID_TEXT];
	struct message *m;

	f->qc.active_limit = 1;
	fix_start(f);
	fix_send(f, &plain, a);
	fix_next_job(f);
	fix_send(f, &plain, b);
	m = message_of(f, b);
	assert_int_equal(m->state, MESSAGE_READY);
	assert_true(message_relocate(f->queue, m));
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; m->segment != NULL || m->is_busy;) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
	}
	assert_int_equal(f->njobs, 1);
	fix_answer(&f->jobs[0], 0, DELIVERY_SENT, "2.0.0", "ok");
	fix_answer(&f->jobs[0], 1, DELIVERY_BOUNCED, "5.1.1", "no");
	for (int64_t end = clock_mono_ms() + FIX_TIMEOUT_MS; !fix_is_empty(f);) {
		assert_true(clock_mono_ms() < end);
		fix_turn(f, 1);
		fix_answer_all(f, DELIVERY_SENT, "2.0.0", "ok");
	}
	assert_int_equal(f->njobs, 3);
}

/* --- kill -9 ------------------------------------------------------------------------------------------------------ */
/* A child takes mail, acknowledges it on a pipe, delivers some, defers some, and is killed; the parent
 * accounts for every acknowledged message. */
static void
child(struct fixture *f, int ledger)
{
	char id[QUEUE_ID_TEXT];

	fix_start(f);
	for (unsigned i = 0;; i++) {
		fix_send(f, &plain, id);
		if (write(ledger, id, QUEUE_ID_TEXT) != QUEUE_ID_TEXT)
			_exit(1);
		fix_turn(f, 1);
		for (size_t k = 0; k < f->njobs; k++) {
			struct fix_job *j = &f->jobs[k];

			if (j->is_answered)
				continue;
			for (size_t r = 0; r < j->nrcpts; r++) {
				bool sent = (i + r) % 3 != 0;
				char line[QUEUE_ID_TEXT] = "";

				/* as delivery would: first the mailbox, then the answer */
				snprintf(line, sizeof line, "+%u%.20s", j->rcpts[r].number, j->id);
				if (sent && write(ledger, line, sizeof line) != sizeof line)
					_exit(1);
				fix_answer(j, r, sent ? DELIVERY_SENT : DELIVERY_DEFERRED,
				    sent ? "2.0.0" : "4.0.0", "x");
			}
		}
		if (f->njobs > FIX_JOBS - 100)
			fix_forget_jobs(f);
	}
}

struct ledger {
	char id[QUEUE_ID_TEXT];
	unsigned delivered[2];
};

static size_t
read_ledger(int fd, struct ledger *l, size_t max)
{
	char line[QUEUE_ID_TEXT];
	size_t n = 0;

	while (read(fd, line, sizeof line) == sizeof line) {
		if (line[0] != '+') {
			assert_true(n < max);
			l[n] = (struct ledger){ 0 };
			memcpy(l[n++].id, line, sizeof line);
			continue;
		}
		for (size_t i = 0; i < n; i++)
			if (strcmp(l[i].id, line + 2) == 0)
				l[i].delivered[line[1] - '0']++;
	}
	return n;
}

static void
test_kill(void **state)
{
	static struct ledger l[20000];
	struct fixture *f = *state;
	size_t total = 0, held = 0;

	for (int round = 0; round < 5; round++) {
		int p[2];
		pid_t pid;
		size_t n;

		assert_int_equal(pipe(p), 0);
		assert_true(fcntl(p[1], F_SETPIPE_SZ, 1 << 20) > 0);
		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			close(p[0]);
			child(f, p[1]);
		}
		close(p[1]);
		usleep(150000 + (useconds_t)round * 70000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		n = read_ledger(p[0], l, 20000);
		close(p[0]);
		total += n;
		fix_start(f);
		for (size_t i = 0; i < n; i++) {
			bool is_queued = message_of(f, l[i].id) != NULL;

			held += is_queued;
			if (!is_queued && (l[i].delivered[0] == 0 || l[i].delivered[1] == 0))
				fail_msg("round %d: %s is lost", round, l[i].id);
		}
		fix_turn(f, 50);
		fix_stop(f);
	}
	assert_true(total > 5 && held > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_file_wins, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_moved_and_gone, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_head, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_content, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_strange_files, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_outcome_fails, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_commit_fails, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_group_commit_fails, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_no_room_for_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_notice_before_file, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_relocated_in_flight, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_relocated_after_a_failure, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(
		    test_relocated_while_waiting, fix_setup, fix_teardown),
		cmocka_unit_test_setup_teardown(test_kill, fix_setup, fix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
