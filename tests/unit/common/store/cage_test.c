/* The store inside the cage that imapd and pop3d have: root = the account's home, its uid, Landlock, seccomp.  Needs root. */
#include "tests/unit/common/store/store_fixture.h"

#include "common/log/log.h"
#include "common/sandbox/sandbox.h"

enum { OWNER = 64321 };

static void
work(struct fixture *f)
{
	struct copy_result r;
	struct mailbox *m;
	uint32_t *gone;
	struct buf b;
	size_t n;

	snprintf(f->maildir, sizeof f->maildir, "Maildir");
	fixture_open(f);
	ok(f, store_create(f->s, "Target", &f->err));
	ok(f, store_subscribe(f->s, "Target", true, &f->err));
	fixture_append(
	    f, "INBOX", "Subject: a\n\nb\n", FLAG_SEEN, (const char *const[]){ "K", NULL });
	fixture_append(f, "INBOX", "Subject: a\n\nb\n", 0, NULL);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_copy(m, (uint32_t[]){ 1, 2 }, 2, "Target", false, &f->a, &r, &f->err));
	ok(f, mailbox_copy(m, (uint32_t[]){ 1 }, 1, "Target", true, &f->a, &r, &f->err));
	ok(f, mailbox_expunge(m, (uint32_t[]){ 2 }, 1, false, &f->a, &gone, &n, &f->err));
	mailbox_close(m);
	ok(f, store_rename(f->s, "Target", "Other", &f->err));
	m = fixture_mailbox(f, "Other", true);
	buf_init(&b, 1 << 20);
	ok(f, mailbox_read(m, 1, &b, &f->err));
	buf_clear(&b);
	ok(f, mailbox_cache_put(m, 1, 'e', VIEW_LIT("x"), &f->err));
	mailbox_close(m);
	ok(f, store_delete(f->s, "Other", &f->err));
	ok(f, store_pop3_lock(f->s, &f->err));
	/* an index that is damaged, and one whose last user was killed */
	fixture_close(f);
	fixture_write(f, "estafeta.index/data.mdb", "rubbish");
	unlink("Maildir/estafeta.index/clean");
	fixture_open(f);
	assert_int_equal(fixture_append(f, "INBOX", "Subject: a\n\nb\n", 0, NULL), 3);
	fixture_close(f);
	unlink("Maildir/estafeta.index/clean");
	fixture_open(f);
	assert_int_equal(fixture_append(f, "INBOX", "Subject: a\n\nb\n", 0, NULL), 4);
	fixture_close(f);
}

static void
test_cage(void **state)
{
	struct sandbox_plan plan = { .role = "test",
		.uid = OWNER,
		.gid = OWNER,
		.max_files = 256,
		.calls = CALLS_BASE | CALLS_LOOP | CALLS_IPC | CALLS_READ | CALLS_WRITE |
			 CALLS_LOCK | CALLS_MMAP_FILE,
		.paths = { { "/", true } } };
	struct fixture fixture, *f = &fixture;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	fixture_init(f);
	assert_int_equal(chown(f->dir, OWNER, OWNER), 0);
	plan.root = f->dir;
	pid = fork();
	if (pid == 0) {
		if (sandbox_enter(&plan, &f->err) < 0) {
			log_error("%s", f->err.text);
			_exit(2);
		}
		work(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("status %x", (unsigned)status);
	arena_clear(&f->a);
	remove_all(f->dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cage) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
