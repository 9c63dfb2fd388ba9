/* A folder of 20,000 messages (or $ESTAFETA_LARGE): the structure holds, and nothing is quadratic.  The limits are far above
 * what it takes, so that a busy machine does not fail them; the times are printed. */
#include "tests/unit/common/store/store_fixture.h"

#include "common/base/clock.h"

static unsigned count;

static int64_t
lap(const char *what, int64_t since, int64_t limit_ms)
{
	int64_t now = clock_wall_us();

	print_message("%8.1f ms  %s\n", (double)(now - since) / 1000, what);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(now - since < limit_ms * 1000);
#else
	(void)limit_ms;
#endif
	return clock_wall_us();
}

static bool
count_message(void *arg, const struct message_info *i)
{
	(void)i;
	++*(unsigned *)arg;
	return true;
}

static void
make_folder(struct fixture *f)
{
	char name[100];
	int dir;

	fixture_open(f);
	dir = open(fixture_path(f, "cur"), O_RDONLY | O_DIRECTORY);
	for (unsigned i = 0; i < count; i++) {
		int fd;

		snprintf(name, sizeof name, "%u.M%06uP77.host,S=30,W=34:2,S", 1500000000 + i / 3,
		    i % 1000000);
		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, "Subject: x\n\nbody\nbody\n", 22), 22);
		close(fd);
	}
	close(dir);
}

static void
test_large(void **state)
{
	struct fixture *f = *state;
	const char *setting = getenv("ESTAFETA_LARGE");
	struct mailbox_status st;
	struct mailbox *m, *t;
	struct copy_result r;
	uint32_t *uids, *out;
	size_t n, nout;
	unsigned seen = 0;
	int64_t at;

	count = setting != NULL ? (unsigned)atoi(setting) : 20000;
	make_folder(f);
	at = clock_wall_us();
	m = fixture_mailbox(f, "INBOX", true);
	at = lap("first open", at, 10000);
	mailbox_close(m);
	m = fixture_mailbox(f, "INBOX", true);
	at = lap("open again", at, 1000);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(n, count);
	at = lap("UIDs", at, 1000);
	ok(f, mailbox_each(m, 1, UINT32_MAX, count_message, &seen, &f->err));
	assert_int_equal(seen, count);
	at = lap("each", at, 2000);
	mailbox_close(m);
	fixture_reopen(f);
	at = clock_wall_us();
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_get_status(m, &st, &f->err));
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	at = lap("open, status, UIDs in a new process's place", at, 1000);
	ok(f, mailbox_store_flags(
		  m, uids, n, STORE_ADD, FLAG_FLAGGED, NULL, 0, &f->a, &out, &nout, &f->err));
	at = lap("STORE on all", at, 20000);
	ok(f, mailbox_refresh(m, false, &f->err));
	at = lap("refresh after it", at, 1000);
	ok(f, store_create(f->s, "T", &f->err));
	ok(f, mailbox_copy(m, uids, n, "T", false, &f->a, &r, &f->err));
	at = lap("COPY of all", at, 30000);
	t = fixture_mailbox(f, "T", true);
	ok(f, mailbox_copy(m, uids, n / 2, "T", true, &f->a, &r, &f->err));
	at = lap("MOVE of half", at, 30000);
	ok(f, mailbox_uids(t, &f->a, &uids, &n, &f->err));
	ok(f, mailbox_expunge(t, uids, n, false, &f->a, &out, &nout, &f->err));
	assert_int_equal(nout, count + count / 2);
	at = lap("EXPUNGE of all", at, 30000);
	mailbox_close(t);
	for (int i = 0; i < 100; i++)
		fixture_append(f, "INBOX", "Subject: x\n\n", 0, NULL);
	at = lap("100 APPENDs", at, 30000);
	mailbox_close(m);
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_open(f);
	at = clock_wall_us();
	m = fixture_mailbox(f, "INBOX", true);
	lap("open with the index lost", at, 10000);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(n, count - count / 2 + 100);
	assert_int_equal(uids[n - 1], count + 100);
	mailbox_close(m);
}

static int
setup_unopened(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f);
	*state = f;
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_large, setup_unopened, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
