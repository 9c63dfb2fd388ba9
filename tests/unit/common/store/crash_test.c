/* Processes killed in the middle of what they do: nothing lost, nothing half done, no UID given twice; and two processes
 * of one account at work at the same time. */
#include "tests/unit/common/store/store_fixture.h"

#include "common/base/clock.h"

#include <signal.h>
#include <sys/mman.h>

enum { ROUNDS = 25 };

static char text[300];

/* What the workers have been told is done, visible to the test after their death. */
struct shared {
	_Atomic uint32_t appended; /* the highest number whose save_finish returned */
	_Atomic uint32_t copies_begun, copies_done;
};

static uint32_t
append_numbered(struct fixture *f, const char *mailbox, uint32_t number)
{
	snprintf(text, sizeof text, "Subject: %u\n\nmessage %u\n", number, number);
	return fixture_append(f, mailbox, text, 0, NULL);
}

/* Runs work in a process of its own and kills it a while after it got going. */
static void
run_and_kill(struct fixture *f, void (*work)(struct fixture *f, struct shared *s), struct shared *s,
    int64_t us)
{
	struct timespec t = { .tv_nsec = us * 1000 }, moment = { .tv_nsec = 500000 };
	int64_t deadline = clock_mono_ms() + 20000;
	uint32_t before = s->appended + s->copies_done;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		fixture_open(f);
		work(f, s);
		_exit(1);
	}
	while (s->appended + s->copies_done == before && clock_mono_ms() < deadline)
		nanosleep(&moment, NULL);
	nanosleep(&t, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct shared *
share(void)
{
	struct shared *s =
	    mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	return s;
}

static int
setup_closed(void **state)
{
	fixture_setup(state);
	fixture_close(*state);
	return 0;
}

struct census {
	struct fixture *f;
	struct mailbox *m;
	uint32_t number_of[100000]; /* by UID, plus one */
	unsigned seen[100000];      /* by number */
	uint32_t last_uid;
};
static bool
take_census(void *arg, const struct message_info *i)
{
	struct census *c = arg;
	struct buf b;
	unsigned long n;

	assert_true(i->uid > c->last_uid);
	c->last_uid = i->uid;
	buf_init(&b, 1 << 20);
	ok(c->f, mailbox_read(c->m, i->uid, &b, &c->f->err));
	assert_int_equal(b.len, i->size);
	n = strtoul(strstr(buf_cstr(&b), "Subject: ") + 9, NULL, 10);
	assert_true(n < 100000);
	c->seen[n]++;
	/* a UID stands for one message for ever */
	assert_true(i->uid < 100000);
	if (c->number_of[i->uid] != 0)
		assert_int_equal(c->number_of[i->uid], n + 1);
	c->number_of[i->uid] = (uint32_t)n + 1;
	buf_clear(&b);
	return true;
}

static void
append_forever(struct fixture *f, struct shared *s)
{
	for (;;) {
		append_numbered(f, "INBOX", s->appended + 1);
		s->appended++;
	}
}

static void
test_append(void **state)
{
	struct fixture *f = *state;
	struct census *c = calloc(1, sizeof *c);
	struct shared *s = share();
	struct mailbox_status st;
	uint32_t uidnext = 1, validity = 0;

	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, append_forever, s, 500 + round * 777);
		fixture_open(f);
		c->f = f;
		c->m = fixture_mailbox(f, "INBOX", round & 1);
		c->last_uid = 0;
		memset(c->seen, 0, sizeof c->seen);
		ok(f, mailbox_each(c->m, 1, UINT32_MAX, take_census, c, &f->err));
		ok(f, mailbox_get_status(c->m, &st, &f->err));
		/* all that was acknowledged is there; the one under way perhaps, but whole */
		for (uint32_t n = 1; n <= s->appended; n++)
			assert_true(c->seen[n] >= 1);
		assert_true(c->last_uid < st.uidnext);
		assert_true(st.uidnext >= uidnext);
		assert_true(validity == 0 || validity == st.uidvalidity);
		uidnext = st.uidnext;
		validity = st.uidvalidity;
		mailbox_close(c->m);
		if (round % 5 == 4) /* and without the index the same */
			remove_all(fixture_path(f, "estafeta.index"));
		fixture_close(f);
	}
	assert_true(s->appended > 0);
	munmap(s, sizeof *s);
	free(c);
}

enum { BATCH = 7 };

static void
copy_forever(struct fixture *f, struct shared *s)
{
	struct mailbox *m = fixture_mailbox(f, "INBOX", false);
	uint32_t *uids;
	struct copy_result r;
	size_t n;

	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	for (;;) {
		s->copies_begun++;
		ok(f, mailbox_copy(m, uids, n, "Target", false, &f->a, &r, &f->err));
		assert_int_equal(r.count, BATCH);
		s->copies_done++;
	}
}

static void
test_copy_is_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct shared *s = share();
	struct mailbox_status st;

	fixture_open(f);
	ok(f, store_create(f->s, "Target", &f->err));
	for (uint32_t i = 0; i < BATCH; i++)
		append_numbered(f, "INBOX", i);
	fixture_close(f);
	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, copy_forever, s, 500 + round * 731);
		fixture_open(f);
		ok(f, store_status(f->s, "Target", &st, &f->err));
		assert_int_equal(st.messages % BATCH, 0);
		assert_int_equal(fixture_count_files(f, ".Target/cur"), st.messages);
		assert_true(st.messages >= s->copies_done * BATCH &&
			    st.messages <= s->copies_begun * BATCH);
		fixture_close(f);
	}
	munmap(s, sizeof *s);
}

static void
multi_append_forever(struct fixture *f, struct shared *s)
{
	struct save_options o[BATCH] = { 0 };
	uint32_t uids[BATCH], validity;
	struct save *v[BATCH];

	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			ok(f, save_begin(f->s, "INBOX", &v[i], &f->err));
			ok(f, save_write(v[i], "Subject: 1\n\n", 12, &f->err));
		}
		s->copies_begun++;
		ok(f, save_finish_many(v, o, BATCH, &validity, uids, &f->err));
		s->copies_done++;
	}
}

static void
test_multi_append_is_all_or_nothing(void **state)
{
	struct fixture *f = *state;
	struct shared *s = share();
	struct mailbox_status st;

	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, multi_append_forever, s, 500 + round * 731);
		fixture_open(f);
		ok(f, store_status(f->s, "INBOX", &st, &f->err));
		assert_int_equal(st.messages % BATCH, 0);
		assert_true(st.messages >= s->copies_done * BATCH &&
			    st.messages <= s->copies_begun * BATCH);
		fixture_close(f);
	}
	munmap(s, sizeof *s);
}

/* To and fro: each message is in exactly one of the two, at any time. */
static void
move_forever(struct fixture *f, struct shared *s)
{
	struct mailbox *a = fixture_mailbox(f, "INBOX", false),
		       *b = fixture_mailbox(f, "Target", false);
	struct copy_result r;
	uint32_t *uids;
	size_t n;

	for (;;) {
		ok(f, mailbox_uids(a, &f->a, &uids, &n, &f->err));
		ok(f, mailbox_copy(a, uids, n, "Target", true, &f->a, &r, &f->err));
		ok(f, mailbox_uids(b, &f->a, &uids, &n, &f->err));
		ok(f, mailbox_copy(b, uids, n, "INBOX", true, &f->a, &r, &f->err));
		s->copies_done++;
	}
}

static void
test_move_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct shared *s = share();
	struct mailbox_status a, b;
	uint32_t next_a = 0, next_b = 0;

	fixture_open(f);
	ok(f, store_create(f->s, "Target", &f->err));
	for (uint32_t i = 0; i < 12; i++)
		append_numbered(f, "INBOX", i);
	fixture_close(f);
	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, move_forever, s, 500 + round * 721);
		fixture_open(f);
		ok(f, store_status(f->s, "INBOX", &a, &f->err));
		ok(f, store_status(f->s, "Target", &b, &f->err));
		assert_int_equal(a.messages + b.messages, 12);
		assert_true(a.uidnext >= next_a && b.uidnext >= next_b);
		next_a = a.uidnext;
		next_b = b.uidnext;
		fixture_close(f);
	}
	munmap(s, sizeof *s);
}

static void
change_forever(struct fixture *f, struct shared *s)
{
	struct mailbox *m = fixture_mailbox(f, "INBOX", false);
	uint32_t *uids, *out;
	size_t n, nout;

	for (int i = 0;; i++) {
		arena_clear(&f->a);
		arena_init(&f->a, (size_t)1 << 30);
		ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
		ok(f, mailbox_store_flags(m, uids, n, i & 1 ? STORE_ADD : STORE_REMOVE,
			  FLAG_SEEN | FLAG_FLAGGED, NULL, 0, &f->a, &out, &nout, &f->err));
		ok(f, mailbox_expunge(m, uids, 1, false, &f->a, &out, &nout, &f->err));
		append_numbered(f, "INBOX", 1);
		s->copies_done++;
	}
}

static void
test_flags_and_expunge(void **state)
{
	struct fixture *f = *state;
	struct shared *s = share();
	struct mailbox_status st;
	uint32_t next = 0, before = 60;
	char *described;

	fixture_open(f);
	for (uint32_t i = 0; i < before; i++)
		append_numbered(f, "INBOX", i);
	fixture_close(f);
	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, change_forever, s, 500 + round * 721);
		fixture_open(f);
		ok(f, store_status(f->s, "INBOX", &st, &f->err));
		/* killed between the one expunge and the one append of a turn, or not */
		assert_true(st.messages == before || st.messages == before - 1);
		before = st.messages;
		assert_int_equal(fixture_count_files(f, "cur"), st.messages);
		assert_true(st.uidnext >= next);
		next = st.uidnext;
		described = fixture_describe(f, "INBOX", false);
		fixture_close(f);
		if (round % 5 == 4) {
			remove_all(fixture_path(f, "estafeta.index"));
			fixture_open(f);
			assert_string_equal(fixture_describe(f, "INBOX", false), described);
			fixture_close(f);
		}
	}
	munmap(s, sizeof *s);
}

static void
rename_forever(struct fixture *f, struct shared *s)
{
	for (;;) {
		struct mailbox_status st;
		bool first = store_status(f->s, "A/x", &st, &f->err) == 0;

		ok(f, store_rename(f->s, first ? "A" : "B", first ? "B" : "A", &f->err));
		s->copies_done++;
	}
}

static void
test_rename_is_finished(void **state)
{
	struct fixture *f = *state;
	struct shared *s = share();
	struct mailbox_info *infos;
	size_t n, a, b;

	fixture_open(f);
	ok(f, store_create(f->s, "A/x", &f->err));
	ok(f, store_create(f->s, "A/y", &f->err));
	ok(f, store_create(f->s, "A/z/w", &f->err));
	append_numbered(f, "A/y", 1);
	fixture_close(f);
	for (int round = 0; round < ROUNDS; round++) {
		run_and_kill(f, rename_forever, s, 500 + round * 721);
		fixture_open(f);
		ok(f, store_list(f->s, false, &f->a, &infos, &n, &f->err));
		a = b = 0;
		for (size_t i = 0; i < n; i++) {
			a += infos[i].exists && infos[i].name[0] == 'A';
			b += infos[i].exists && infos[i].name[0] == 'B';
		}
		assert_true((a == 3 && b == 0) || (a == 0 && b == 3));
		fixture_close(f);
	}
	munmap(s, sizeof *s);
}

/* --- two processes at once ------------------------------------------------------------------------------------ */

static void
test_two_processes(void **state)
{
	enum { EACH = 150 };
	struct fixture *f = *state;
	struct mailbox *m;
	uint32_t *uids, *out;
	size_t n, nout;
	int status;
	pid_t pid = fork();

	fixture_open(f);
	if (pid == 0) {
		for (uint32_t i = 0; i < EACH; i++)
			append_numbered(f, "INBOX", i);
		store_close(f->s);
		_exit(0);
	}
	m = fixture_mailbox(f, "INBOX", true);
	for (uint32_t i = 0; i < EACH; i++) {
		append_numbered(f, "INBOX", 1000 + i);
		ok(f, mailbox_refresh(m, false, &f->err));
		ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
		ok(f, mailbox_store_flags(
			  m, uids, n, STORE_ADD, FLAG_SEEN, NULL, 0, &f->a, &out, &nout, &f->err));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ok(f, mailbox_refresh(m, false, &f->err));
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(n, 2 * EACH);
	assert_int_equal(uids[n - 1], 2 * EACH);
	assert_true(mailbox_is_recent(m, 1) && mailbox_is_recent(m, 2 * EACH));
	mailbox_close(m);
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_open(f);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(n, 2 * EACH);
	mailbox_close(m);
}

/* The other process sets the index aside under us. */
static void
test_index_replaced(void **state)
{
	struct fixture *f = *state;
	struct mailbox *m;
	int status;
	pid_t pid;

	fixture_open(f);
	append_numbered(f, "INBOX", 1);
	m = fixture_mailbox(f, "INBOX", false);
	pid = fork();
	if (pid == 0) {
		remove_all(fixture_path(f, "estafeta.index"));
		f->s = NULL;
		fixture_open(f);
		append_numbered(f, "INBOX", 2);
		store_close(f->s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ok(f, mailbox_refresh(m, false, &f->err));
	assert_int_equal(fixture_get(f, m, 2).uid, 2);
	assert_int_equal(append_numbered(f, "INBOX", 3), 3);
	mailbox_close(m);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_closed, fixture_teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_append),
		T(test_copy_is_all_or_nothing),
		T(test_multi_append_is_all_or_nothing),
		T(test_move_loses_nothing),
		T(test_flags_and_expunge),
		T(test_rename_is_finished),
		T(test_two_processes),
		T(test_index_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
