/* The loss, truncation or damage of any one file beside the mail: same UIDVALIDITY, UIDs, UIDNEXT, flags, keywords. */
#include "tests/unit/common/store/store_fixture.h"

#include <signal.h>

static const char mail[] = "Subject: one\n\nbody\n";

static int
setup(void **state)
{
	const char *keywords[] = { "$Label1", "Work", NULL };
	struct fixture *f;
	struct mailbox *m;
	uint32_t *gone;
	size_t n;
	char name[32];

	fixture_setup(state);
	f = *state;
	for (int i = 0; i < 5; i++)
		fixture_append(
		    f, "INBOX", mail, i & 1 ? FLAG_SEEN : FLAG_FLAGGED, i == 2 ? keywords : NULL);
	fixture_deliver(f, "new", "1700000001.M1P1.h,S=19,W=22", mail);
	fixture_deliver(f, "new", "1700000002.M1P1.h", mail);
	m = fixture_mailbox(f, "INBOX", true);
	ok(f, mailbox_expunge(m, (uint32_t[]){ 2, 7 }, 2, false, &f->a, &gone, &n, &f->err));
	for (int i = 2; i < 30; i++) {
		snprintf(name, sizeof name, "k%d", i);
		assert_int_equal(mailbox_keyword_number(m, name, true, &f->err), i);
	}
	{
		struct keyword_set k = { { UINT64_C(1) << 28 | UINT64_C(1) << 3, 0 } };
		uint32_t *refused;

		ok(f, mailbox_store_flags(m, (uint32_t[]){ 1, 6 }, 2, STORE_ADD, 0, &k, 0, &f->a,
			  &refused, &n, &f->err));
	}
	mailbox_close(m);
	return 0;
}

static void
lose_index(struct fixture *f)
{
	fixture_close(f);
	remove_all(fixture_path(f, "estafeta.index"));
	fixture_open(f);
}

static void
test_index_lost(void **state)
{
	struct fixture *f = *state;
	char *before = fixture_describe(f, "INBOX", false);
	struct mailbox_status a, b;
	struct mailbox *m;

	ok(f, store_status(f->s, "INBOX", &a, &f->err));
	lose_index(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
	ok(f, store_status(f->s, "INBOX", &b, &f->err));
	assert_true(b.highest_modseq > a.highest_modseq);
	/* while a session has it open, too */
	m = fixture_mailbox(f, "INBOX", false);
	remove_all(fixture_path(f, "estafeta.index"));
	assert_int_equal(fixture_get(f, m, 3).flags, FLAG_FLAGGED);
	ok(f, mailbox_refresh(m, true, &f->err));
	assert_false(mailbox_is_gone(m));
	mailbox_close(m);
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
}

static void
test_modseq_never_goes_back(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status a, b;
	struct mailbox *m;

	lose_index(f);
	ok(f, store_status(f->s, "INBOX", &a, &f->err));
	fixture_append(f, "INBOX", mail, 0, NULL);
	ok(f, store_status(f->s, "INBOX", &a, &f->err));
	lose_index(f);
	ok(f, store_status(f->s, "INBOX", &b, &f->err));
	assert_true(b.highest_modseq > a.highest_modseq);
	m = fixture_mailbox(f, "INBOX", false);
	assert_int_equal(mailbox_changes(m, a.highest_modseq, NULL, NULL, &f->err), 1);
	mailbox_close(m);
}

static void
test_texts_lost(void **state)
{
	static const char *const names[] = { "dovecot-uidlist", "dovecot-keywords",
		"estafeta-keywords", "dovecot-uidvalidity", "estafeta.lock" };
	struct fixture *f = *state;
	char *before = fixture_describe(f, "INBOX", true);

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		unlink(fixture_path(f, names[i]));
		assert_string_equal(fixture_describe(f, "INBOX", true), before);
		fixture_reopen(f);
		assert_string_equal(fixture_describe(f, "INBOX", true), before);
		/* and it was written anew: now the index may go */
		lose_index(f);
		assert_true(strcmp(fixture_describe(f, "INBOX", false), "") != 0);
		fixture_reopen(f);
		before = fixture_describe(f, "INBOX", true);
	}
}

/* Cut to each length, the index intact. */
static void
test_texts_truncated(void **state)
{
	static const char *const names[] = { "dovecot-uidlist", "dovecot-keywords",
		"estafeta-keywords" };
	struct fixture *f = *state;
	char *before = fixture_describe(f, "INBOX", true), *plain;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t len = strlen(fixture_read(f, names[i]));

		for (size_t cut = 0; cut < len; cut += 1 + len / 100) {
			assert_int_equal(truncate(fixture_path(f, names[i]), (off_t)cut), 0);
			assert_string_equal(fixture_describe(f, "INBOX", true), before);
			len = strlen(fixture_read(f, names[i]));
		}
	}
	plain = fixture_describe(f, "INBOX", false);
	lose_index(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), plain);
}

static void
test_texts_flipped(void **state)
{
	static const char *const names[] = { "dovecot-uidlist", "dovecot-keywords",
		"estafeta-keywords" };
	struct fixture *f = *state;
	char *before = fixture_describe(f, "INBOX", true),
	     *plain = fixture_describe(f, "INBOX", false);

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		size_t len = strlen(fixture_read(f, names[i]));

		for (size_t at = 0; at < len; at += 1 + len / 150) {
			int fd = open(fixture_path(f, names[i]), O_RDWR);
			struct timespec now[2] = { { 0, UTIME_OMIT }, { 0, UTIME_NOW } };
			char c;

			assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
			c ^= (char)(1 << (at % 7));
			assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
			futimens(fd, now);
			close(fd);
			assert_string_equal(fixture_describe(f, "INBOX", true), before);
			len = strlen(fixture_read(f, names[i])); /* dead lines may have gone */
		}
	}
	lose_index(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), plain);
}

/* The index lost and the uidlist cut as well: whatever UIDs are left stay, none is given to another message. */
static void
test_uidlist_cut_and_index_lost(void **state)
{
	struct fixture *f = *state;
	char *whole = fixture_read(f, "dovecot-uidlist"), *cut;
	struct mailbox_status st;
	size_t lines = 0;

	for (const char *p = whole; *p != '\0'; p++) {
		if (*p != '\n')
			continue;
		lines++;
		cut = arena_strndup(&f->a, whole, (size_t)(p - whole) + 1 + (lines % 2) * 5);
		fixture_write(f, "dovecot-uidlist", cut);
		lose_index(f);
		ok(f, store_status(f->s, "INBOX", &st, &f->err));
		assert_int_equal(st.messages, 5);
	}
	assert_true(lines > 3);
}

/* Any byte of the index: the mailbox is the same afterwards.  Each case runs in a process of its own: damage may cost
 * that process, but not the next one. */
static int
describe_in_child(struct fixture *f, const char *want)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 4; i++)
			signal(signals[i], SIG_DFL);
		struct store_config c = { .maildir = f->maildir,
			.host = "h",
			.index_map_bytes = 1 << 20,
			.changes_kept = 1000 };
		struct mailbox *m;
		const char *got;
		if (store_open(&c, &f->s, &f->err) != 0)
			_exit(10);
		if (mailbox_open(f->s, "INBOX", false, &m, &f->err) != 0)
			_exit(12);
		mailbox_close(m);
		got = fixture_describe(f, "INBOX", false);
		if (strcmp(got, want) != 0)
			_exit(11);
		store_close(f->s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
test_index_flipped(void **state)
{
	struct fixture *f = *state;
	char *before = fixture_describe(f, "INBOX", false), *image,
	     *path = fixture_path(f, "estafeta.index/data.mdb");
	unsigned seed = 7, crashes = 0;
	struct stat st;
	int fd;

	fixture_close(f);
	fd = open(path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	image = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, image, (size_t)st.st_size), st.st_size);
	close(fd);
	for (int i = 0; i < 120; i++) {
		off_t at = i < 40
			       ? i * 3
			       : (off_t)((seed = seed * 1103515245 + 12345) % (unsigned)st.st_size);
		int status;
		char c = image[at] ^ (char)(1 << (i % 8));

		fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
		assert_int_equal(write(fd, image, (size_t)st.st_size), st.st_size);
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
		close(fd);
		status = describe_in_child(f, before);
		if (status != 0) {
			crashes++;
			status = describe_in_child(f, before);
		}
		if (status != 0)
			fail_msg("byte %lld: status %x", (long long)at, (unsigned)status);
	}
	for (int i = 1; i < 20; i++) {
		fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
		assert_int_equal(
		    write(fd, image, (size_t)(st.st_size * i / 20)), st.st_size * i / 20);
		close(fd);
		if (describe_in_child(f, before) != 0)
			assert_int_equal(describe_in_child(f, before), 0);
	}
	assert_true(crashes < 5);
	free(image);
	fixture_open(f);
	assert_string_equal(fixture_describe(f, "INBOX", false), before);
}

/* Dovecot took over for a while: it honours our UIDs, and we honour those it gave. */
static void
test_foreign_uidlist(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status a, b;
	struct mailbox *m;

	ok(f, store_status(f->s, "INBOX", &a, &f->err));
	fixture_close(f);
	fixture_deliver(f, "cur", "1700000100.x.h:2,S", mail);
	fixture_deliver(f, "cur", "1700000101.x.h:2,S", mail);
	{
		char *text = fixture_read(f, "dovecot-uidlist"), *header_end = strchr(text, '\n');

		fixture_write(f, "dovecot-uidlist.new",
		    arena_printf(&f->a,
			"3 V%u N100 G%s Xfuture\n%s%u :1700000101.x.h\n%u G0123456789abcdef0123456789abcdef Y :1700000100.x.h\n",
			a.uidvalidity, a.guid, header_end + 1, a.uidnext + 5, a.uidnext + 7));
		assert_int_equal(rename(fixture_path(f, "dovecot-uidlist.new"),
				     fixture_path(f, "dovecot-uidlist")),
		    0);
	}
	fixture_open(f);
	ok(f, store_status(f->s, "INBOX", &b, &f->err));
	assert_int_equal(b.uidvalidity, a.uidvalidity);
	assert_int_equal(b.uidnext, 100);
	assert_int_equal(b.messages, a.messages + 2);
	m = fixture_mailbox(f, "INBOX", false);
	assert_string_equal(
	    fixture_get(f, m, a.uidnext + 7).guid, "0123456789abcdef0123456789abcdef");
	fixture_get(f, m, a.uidnext + 5);
	mailbox_close(m);
	assert_int_equal(fixture_append(f, "INBOX", mail, 0, NULL), 100);
	/* rewritten by us: what we do not know is kept */
	assert_int_equal(truncate(fixture_path(f, "dovecot-uidlist"),
			     (off_t)strlen(fixture_read(f, "dovecot-uidlist")) - 3),
	    0);
	m = fixture_mailbox(f, "INBOX", false);
	mailbox_close(m);
	assert_non_null(strstr(fixture_read(f, "dovecot-uidlist"), " Xfuture\n"));
	assert_non_null(
	    strstr(fixture_read(f, "dovecot-uidlist"), "G0123456789abcdef0123456789abcdef Y :"));
}

/* It made the mailbox anew: another UIDVALIDITY and GUID, and all is in order. */
static void
test_foreign_new_mailbox(void **state)
{
	struct fixture *f = *state;
	struct mailbox_status st;
	struct mailbox *m;

	fixture_close(f);
	fixture_deliver(f, "cur", "1700000100.x.h:2,S", mail);
	fixture_write(f, "uidlist.new",
	    "3 V1999999999 N9 G00000000000000000000000000000001\n8 :1700000100.x.h\n");
	assert_int_equal(
	    rename(fixture_path(f, "uidlist.new"), fixture_path(f, "dovecot-uidlist")), 0);
	fixture_open(f);
	ok(f, store_status(f->s, "INBOX", &st, &f->err));
	assert_int_equal(st.uidvalidity, 1999999999);
	assert_string_equal(st.guid, "00000000000000000000000000000001");
	m = fixture_mailbox(f, "INBOX", false);
	fixture_get(f, m, 8);
	mailbox_close(m);
	assert_int_equal(st.uidnext, 9 + 5);
}

/* --- a uidlist that makes no sense --------------------------------------------------------------------------- */

static uint32_t
uid_of(struct fixture *f, struct mailbox *m, const char *text)
{
	uint32_t *uids, found = 0;
	struct buf b;
	size_t n;

	buf_init(&b, 1000);
	ok(f, mailbox_uids(m, &f->a, &uids, &n, &f->err));
	for (size_t i = 0; i < n; i++) {
		ok(f, mailbox_read(m, uids[i], &b, &f->err));
		if (strcmp(buf_cstr(&b), text) == 0) {
			assert_int_equal(found, 0);
			found = uids[i];
		}
	}
	buf_clear(&b);
	assert_true(found > 0);
	return found;
}

static void
put_uidlist(struct fixture *f, const char *text)
{
	fixture_write(f, "uidlist.new", text);
	assert_int_equal(
	    rename(fixture_path(f, "uidlist.new"), fixture_path(f, "dovecot-uidlist")), 0);
}

/* What an admin, a broken disk or the user himself can write: UIDs of a, b, c in a mailbox without an index, and the next
 * one; validity 0: another than before, for no UID may come again under the old one. */
static void
test_uidlist_extremes(void **state)
{
#define HEAD(n) "3 V5 N" n " G0123456789abcdef0123456789abcdef\n"
	static const struct {
		const char *text;
		uint32_t validity, a, b, c, next;
	} cases[] = {
		{ HEAD("10") "1 :a\n2 :b\n3 :c\n", 5, 1, 2, 3, 10 },
		{ HEAD("4294967295") "1 :a\n2 :b\n3 :c\n", 0, 1, 2, 3, 4 },
		{ HEAD("4294967290") "1 :a\n2 :b\n", 0, 1, 2, 3, 4 },
		{ HEAD("4294967296") "1 :a\n2 :b\n3 :c\n", 0, 1, 2, 3, 4 },
		{ HEAD("99999999999999999999") "1 :a\n", 0, 1, 2, 3, 4 },
		{ HEAD("0") "1 :a\n2 :b\n3 :c\n", 0, 1, 2, 3, 4 },
		{ HEAD("-1") "1 :a\n2 :b\n3 :c\n", 0, 1, 2, 3, 4 },
		{ HEAD("2") "1 :a\n7 :b\n", 5, 1, 7, 8, 9 },
		{ HEAD("10") "3 :a\n2 :b\n1 :c\n", 5, 3, 10, 11, 12 },
		{ HEAD("10") "1 :a\n1 :b\n3 :c\n", 5, 1, 10, 3, 11 },
		{ HEAD("10") "1 :a\n2 :a\n3 :b\n", 5, 2, 3, 10, 11 },
		{ HEAD("10") "0 :a\n4294967295 :b\n4294967296 :c\n", 5, 10, 11, 12, 13 },
		{ HEAD("10") "1 :a\n4294967294 :b\n", 0, 1, 2, 3, 4 },
		{ "3 V4294967296 N10\n1 :a\n", 0, 1, 2, 3, 4 },
		{ "1 5 4294967295\n1 a\n", 0, 1, 2, 3, 4 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct mailbox_status st;
		struct mailbox *m;

		fixture_close(f);
		remove_all(f->maildir);
		fixture_open(f);
		fixture_deliver(f, "cur", "a:2,", "a: \r\n");
		fixture_deliver(f, "cur", "b:2,", "b: \r\n");
		fixture_deliver(f, "cur", "c:2,", "c: \r\n");
		put_uidlist(f, cases[i].text);
		for (int again = 0; again < 2; again++) { /* and it stays so */
			m = fixture_mailbox(f, "INBOX", true);
			ok(f, mailbox_get_status(m, &st, &f->err));
			assert_int_equal(st.messages, 3);
			assert_true(cases[i].validity == 0 ? st.uidvalidity > 5
							   : st.uidvalidity == cases[i].validity);
			assert_int_equal(uid_of(f, m, "a: \r\n"), cases[i].a);
			assert_int_equal(uid_of(f, m, "b: \r\n"), cases[i].b);
			assert_int_equal(uid_of(f, m, "c: \r\n"), cases[i].c);
			assert_int_equal(st.uidnext, cases[i].next);
			mailbox_close(m);
			fixture_reopen(f);
		}
		assert_int_equal(fixture_append(f, "INBOX", mail, 0, NULL), cases[i].next);
	}
#undef HEAD
}

/* The same beside an index: it knows better, and clients see nothing of it. */
static void
test_uidlist_forged(void **state)
{
	static const char *const next[] = { "4294967295", "4294967296", "0", "1", "x", "" };
	struct fixture *f = *state;
	struct mailbox_status st;
	char *before = fixture_describe(f, "INBOX", true), *lines;

	ok(f, store_status(f->s, "INBOX", &st, &f->err));
	for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
		lines = strchr(fixture_read(f, "dovecot-uidlist"), '\n') + 1;
		put_uidlist(f, arena_printf(&f->a, "3 V%u N%s G%s\n%s", st.uidvalidity, next[i],
				   st.guid, lines));
		assert_string_equal(fixture_describe(f, "INBOX", true), before);
		fixture_reopen(f);
		assert_string_equal(fixture_describe(f, "INBOX", true), before);
	}
}

static void
test_stale_locks(void **state)
{
	struct fixture *f = *state;
	struct timespec old[2] = { { time(NULL) - 200, 0 }, { time(NULL) - 200, 0 } };

	fixture_write(f, "dovecot-uidlist.lock", "");
	assert_int_equal(utimensat(AT_FDCWD, fixture_path(f, "dovecot-uidlist.lock"), old, 0), 0);
	fixture_append(f, "INBOX", mail, 0, NULL);
	assert_int_equal(access(fixture_path(f, "dovecot-uidlist.lock"), F_OK), -1);
}

static void
test_old_tmp_files(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, "tmp/young", "x");
	fixture_append(f, "INBOX", mail, 0, NULL);
	assert_int_equal(fixture_count_files(f, "tmp"), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_index_lost),
		T(test_modseq_never_goes_back),
		T(test_texts_lost),
		T(test_texts_truncated),
		T(test_texts_flipped),
		T(test_uidlist_cut_and_index_lost),
		T(test_index_flipped),
		T(test_foreign_uidlist),
		T(test_foreign_new_mailbox),
		T(test_uidlist_extremes),
		T(test_uidlist_forged),
		T(test_stale_locks),
		T(test_old_tmp_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
