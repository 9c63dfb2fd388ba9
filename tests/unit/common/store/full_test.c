/* A full disk: what was acknowledged stays, what was not leaves nothing behind, and it goes on when there is room again.
 * Needs root (a tmpfs of its own in a private mount namespace). */
#include "tests/unit/common/store/store_fixture.h"

#include <sched.h>
#include <sys/mount.h>

static char text[4000];

static bool
try_append(struct fixture *f, const char *mailbox)
{
	struct save_options o = { .internal_date = -1 };
	uint32_t uid, validity;
	struct save *v;

	if (save_begin(f->s, mailbox, &v, &f->err) < 0)
		return false;
	if (save_write(v, text, sizeof text - 1, &f->err) < 0) {
		save_abort(v);
		return false;
	}
	return save_finish(v, &o, &validity, &uid, &f->err) == 0;
}

static void
check(struct fixture *f, unsigned want)
{
	struct mailbox_status st;

	ok(f, store_status(f->s, "INBOX", &st, &f->err));
	assert_int_equal(st.messages, want);
	assert_int_equal(fixture_count_files(f, "cur"), want);
	assert_int_equal(fixture_count_files(f, "tmp"), 0);
}

static void
fill_up(struct fixture *f, const char *name, int pieces)
{
	int fd = open(fixture_path(f, name), O_WRONLY | O_CREAT | O_APPEND, 0600);

	while (pieces-- > 0 && write(fd, text, sizeof text) > 0)
		continue;
	close(fd);
}

static void
test_full(void **state)
{
	struct fixture *f = *state;
	uint32_t *uids, *out;
	struct copy_result r;
	struct mailbox *m;
	unsigned good = 0;
	size_t n, nout;

	memset(text, 'x', sizeof text - 1);
	fixture_open(f);
	ok(f, store_create(f->s, "T", &f->err));
	fill_up(f, "ballast", 100);
	for (int failures = 0; failures < 5;) {
		if (try_append(f, "INBOX"))
			good++;
		else
			failures++;
		assert_true(good < 10000);
	}
	assert_true(good > 10);
	fill_up(f, "ballast", 1000);
	for (int i = 0; i < 5; i++)
		assert_false(try_append(f, "INBOX"));
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	assert_int_equal(mailbox_copy(m, uids, n, "T", false, &f->a, &r, &f->err), -1);
	assert_int_equal(fixture_count_files(f, ".T/cur"), 0);
	/* what can be done without room may be refused, but not torn */
	(void)mailbox_store_flags(
	    m, uids, n, STORE_ADD, FLAG_SEEN, NULL, 0, &f->a, &out, &nout, &f->err);
	mailbox_close(m);
	unlink(fixture_path(f, "ballast"));
	check(f, good);
	/* room again */
	m = fixture_mailbox(f, "INBOX", false);
	ok(f, mailbox_expunge(m, uids, n / 2, false, &f->a, &out, &nout, &f->err));
	mailbox_close(m);
	check(f, good - (unsigned)nout);
	assert_true(try_append(f, "INBOX"));
	check(f, good - (unsigned)nout + 1);
	/* starting on a full disk fails cleanly or works, and later works */
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fill_up(f, "ballast", 1000);
	{
		struct store_config c = { .maildir = f->maildir,
			.host = "h",
			.index_map_bytes = 1 << 20,
			.changes_kept = 10 };

		if (store_open(&c, &f->s, &f->err) == 0)
			store_close(f->s);
		f->s = NULL;
	}
	unlink(fixture_path(f, "ballast"));
	fixture_open(f);
	check(f, good - (unsigned)nout + 1);
}

static int
setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f);
	*state = f;
	return mount("tmpfs", f->dir, "tmpfs", 0, "size=3m");
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->s != NULL)
		store_close(f->s);
	arena_clear(&f->a);
	umount(f->dir);
	rmdir(f->dir);
	free(f);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(
	    test_full, setup, teardown) };

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0) {
		print_message("skipped: needs root and a mount namespace\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
