#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/mem.h"
#include "common/user/user_db.h"

#include "common/user/saslprep.h"
#include "tests/unit/remove_all.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], spec[96];
static const struct password_policy cheap = { PASSWORD_SHA512_CRYPT, 1000, 4096 };

static int
make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/user_test.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(spec, sizeof spec, "btree:%s/users", dir);
	return 0;
}

static int
remove_dir(void **state)
{
	(void)state;
	remove_all(dir);
	return 0;
}

static struct user_db *
open_ok(void)
{
	struct user_db *db = NULL;
	struct err e;

	if (user_db_prepare(spec, getuid(), getgid(), &e) < 0 || user_db_enter(spec, &e) < 0 ||
	    user_db_open(spec, 0, &db, &e) < 0)
		fail_msg("%s", e.text);
	return db;
}

static void
records_survive_encoding(void **state)
{
	struct user_record in = { .uid = 5000,
		.gid = 4294967295U,
		.crypt = "$y$j9T$x$y",
		.scram = "SCRAM-SHA-256$1:a$b:c",
		.home = "a home/with spaces" };
	struct user_record out;
	struct err e;
	struct buf b;

	(void)state;
	buf_init(&b, USER_RECORD_MAX);
	assert_int_equal(user_record_encode(&in, &b, &e), 0);
	assert_int_equal(user_record_decode(buf_view(&b), &out, &e), 0);
	assert_int_equal(out.uid, in.uid);
	assert_int_equal(out.gid, in.gid);
	assert_string_equal(out.crypt, in.crypt);
	assert_string_equal(out.scram, in.scram);
	assert_string_equal(out.home, in.home);
	for (size_t cut = 0; cut < 10; cut++)
		assert_int_equal(user_record_decode(view_make(b.p, cut), &out, &e), -1);
	buf_clear(&b);
	snprintf(in.home, sizeof in.home, "a\tb");
	assert_int_equal(user_record_encode(&in, &b, &e), -1);
	buf_clear(&b);
}

static void
damaged_records_are_refused(void **state)
{
	static const char *const cases[] = { "", "1", "2\t0\t0\t\t\t", "1\t0\t0\ta\tb",
		"1\t0\t0\ta\tb\tc\td", "1\t-1\t0\ta\tb\tc", "1\t4294967296\t0\ta\tb\tc",
		"1\tx\t0\ta\tb\tc", "1\t0\t0\ta\rb\t\t" };
	struct user_record r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(user_record_decode(view_of(cases[i]), &r, &e), -1);
		assert_int_equal(e.kind, ERR_SYNTAX);
	}
	assert_int_equal(user_record_decode(view_make("1\t0\t0\ta\0b\t\t", 12), &r, &e), -1);
}

static void
addresses_are_folded_or_refused(void **state)
{
	static const char *const bad[] = { "", "a", "@example.test", "a@", "a b@example.test",
		"a/b@example.test", ".a@example.test", "..@example.test", "a@.test", "a@b..c",
		"a@b.", "a@b/c", "a\n@b.test", "a\"@b.test", "a,b@c.test", "a@b@c.test",
		"\xff@b.test", "a@\xc0\xaf.test", "a\t@b.test" };
	char out[USER_ADDRESS_MAX + 1], lng[USER_ADDRESS_MAX + 10];
	struct err e;

	(void)state;
	assert_int_equal(user_address_fold(view_of("Alice.X+y@Example.TEST"), out, &e), 0);
	assert_string_equal(out, "alice.x+y@example.test");
	assert_int_equal(user_address_fold(view_of("jos\xc3\xa9@example.test"), out, &e), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (user_address_fold(view_of(bad[i]), out, &e) != -1)
			fail_msg("accepted \"%s\"", bad[i]);
	memset(lng, 'a', sizeof lng);
	assert_int_equal(user_address_fold(view_make(lng, sizeof lng), out, &e), -1);
}

/* RFC 4013 3, and what may not come out of a harmless looking name. */
static void
names_are_prepared(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: forbidden */
	} cases[] = {
		{ "I\xc2\xadX", "IX" },
		{ "user", "user" },
		{ "USER", "USER" },
		{ "\xc2\xaa", "a" },
		{ "\xe2\x85\xa8", "IX" },
		{ "\a", NULL },
		{ "\xd8\xa7\x31", NULL },
		{ "", "" },
		{ " ~!\"\\", " ~!\"\\" },
		{ "a\xc2\xa0z", "a z" },         /* C.1.2 is a space */
		{ "e\xcc\x81", "\xc3\xa9" },    /* composed */
		{ "\xc2\xad", "" },             /* B.1 is nothing */
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" }, /* unknown to Unicode 3.2 */
		{ "\xee\x80\x80", NULL },       /* private use */
		{ "\x7f", NULL },
		{ "\xc2\x85", NULL },
		{ "\xef\xbf\xbd", NULL },
		{ "\xff", NULL },
		{ "a\xcc", NULL },
	}, addresses[] = {
		{ "Jos\x65\xcc\x81@Example.test", "jos\xc3\xa9@example.test" },
		{ "T\xcc\x88@example.test", "\xe1\xba\x97@example.test" },
		{ "\xef\xbc\xb4\xcc\x88@example.test", "\xe1\xba\x97@example.test" },
		{ "\xe2\x85\xa8@example.test", "ix@example.test" },
		{ "alice\xef\xbc\xa0" "example.test", "alice@example.test" },
		{ "a\xef\xbc\x8f" "b@example.test", NULL },          /* a slash */
		{ "\xe2\x80\xa4\xe2\x80\xa4@example.test", NULL }, /* dots */
		{ "a\xc2\xa8@example.test", NULL },                  /* a space */
		{ "a\xef\xbc\xa0" "b@example.test", NULL },          /* two @ */
		{ "\xc2\xad@example.test", NULL },                   /* nothing */
	};
	char out[USER_ADDRESS_MAX + 1], grown[3 * 20 + 1] = "", small[20];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		bool ok = saslprep(cases[i].in, out, sizeof out);

		if (ok != (cases[i].out != NULL) || (ok && strcmp(out, cases[i].out) != 0))
			fail_msg("case %zu", i);
	}
	for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
		bool ok = user_address_fold(view_of(addresses[i].in), out, &e) == 0;

		if (ok != (addresses[i].out != NULL) || (ok && strcmp(out, addresses[i].out) != 0))
			fail_msg("address %zu", i);
	}
	for (int i = 0; i < 20; i++)
		memcpy(grown + 3 * i, "\xef\xb7\xba", 3); /* each becomes eighteen characters */
	assert_false(saslprep(grown, out, sizeof out));
	assert_true(saslprep("0123456789012345678", small, sizeof small));
	assert_false(saslprep("01234567890123456789", small, sizeof small));
	assert_int_equal(user_address_fold(view_make("a\0b@c.test", 10), out, &e), -1);
}

/* Set in one form, typed in another. */
static void
passwords_are_prepared(void **state)
{
	struct password_policy p = { PASSWORD_SHA512_CRYPT, 1000, 4096 };
	struct user_record r = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(user_password_set(&r, "caf\x65\xcc\x81 I\xc2\xadX", &p, &e), 0);
	assert_true(user_password_fits(r.crypt, "caf\x65\xcc\x81 I\xc2\xadX"));
	assert_true(user_password_fits(r.crypt, "caf\xc3\xa9 IX"));
	assert_true(user_password_fits(r.crypt, "caf\xc3\xa9\xc2\xa0\xe2\x85\xa8"));
	assert_false(user_password_fits(r.crypt, "cafe IX"));
	assert_int_equal(user_password_set(&r, "\xf0\x9f\x98\x80", &p, &e), 0);
	assert_true(user_password_fits(r.crypt, "\xf0\x9f\x98\x80"));
	assert_int_equal(user_password_set(&r, "\xc2\xad", &p, &e), -1); /* nothing is left */
	assert_int_equal(user_password_set(&r, "\xd8\xa7\x31", &p, &e), -1);
	/* a hash that another program made of a Latin-1 password */
	snprintf(r.crypt, sizeof r.crypt, "%s", crypt("caf\xe9", "$6$salt"));
	assert_true(user_password_fits(r.crypt, "caf\xe9"));
}

static void
homes_lie_where_the_record_says(void **state)
{
	struct user_record r = { 0 };
	char out[USER_HOME_MAX];
	struct err e;

	(void)state;
	assert_int_equal(user_home_path(&r, "/srv/mail", "a@b.test", out, &e), 0);
	assert_string_equal(out, "/srv/mail/b.test/a");
	assert_string_equal(user_home_beneath(out, "/srv/mail/"), "b.test/a");
	assert_null(user_home_beneath("/srv/mailbox/a", "/srv/mail"));
	assert_null(user_home_beneath("/srv/mail", "/srv/mail"));
	snprintf(r.home, sizeof r.home, "x/y");
	assert_int_equal(user_home_path(&r, "/srv/mail", "a@b.test", out, &e), 0);
	assert_string_equal(out, "/srv/mail/x/y");
	snprintf(r.home, sizeof r.home, "/other/y");
	assert_int_equal(user_home_path(&r, "/srv/mail", "a@b.test", out, &e), 0);
	assert_string_equal(out, "/other/y");
	snprintf(r.home, sizeof r.home, "x/../../y");
	assert_int_equal(user_home_path(&r, "/srv/mail", "a@b.test", out, &e), -1);
}

static void
passwords_fit_their_hash_only(void **state)
{
	static const char *const names[] = { "yescrypt", "bcrypt", "sha512-crypt" };
	static const unsigned long costs[] = { 1, 4, 1000 };
	struct err e;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct password_policy p = {
			(enum password_scheme)password_scheme_by_name(names[i]), costs[i], 4096
		};
		struct user_record r = { 0 }, again = { 0 };
		char dummy[USER_CRYPT_MAX];

		assert_int_equal(user_password_set(&r, "s3cret \xc3\xa9", &p, &e), 0);
		assert_true(user_password_fits(r.crypt, "s3cret \xc3\xa9"));
		assert_false(user_password_fits(r.crypt, "s3cret"));
		assert_false(user_password_fits(r.crypt, ""));
		assert_int_equal(user_password_set(&again, "s3cret \xc3\xa9", &p, &e), 0);
		assert_string_not_equal(r.crypt, again.crypt);
		assert_string_not_equal(r.scram, again.scram);
		assert_int_equal(user_password_dummy(dummy, &p, &e), 0);
		assert_false(user_password_fits(dummy, "s3cret"));
		assert_memory_equal(dummy, r.crypt, 3);
	}
	assert_int_equal(password_scheme_by_name("md5"), -1);
	assert_false(user_password_fits("", ""));
	assert_false(user_password_fits("*0", "x"));
	assert_false(user_password_fits("$6$broken", "x"));
}

static void
bad_passwords_are_refused(void **state)
{
	struct password_policy bcrypt = { PASSWORD_BCRYPT, 4, 4096 };
	char lng[USER_PASSWORD_MAX + 2];
	struct user_record r;
	struct err e;

	(void)state;
	memset(lng, 'x', sizeof lng);
	lng[sizeof lng - 1] = '\0';
	assert_int_equal(user_password_set(&r, "", &cheap, &e), -1);
	assert_int_equal(user_password_set(&r, lng, &cheap, &e), -1);
	assert_int_equal(user_password_set(&r, "\xff\xfe", &cheap, &e), -1);
	assert_int_equal(user_password_set(&r, "a\nb", &cheap, &e), -1);
	lng[73] = '\0';
	assert_int_equal(user_password_set(&r, lng, &bcrypt, &e), -1);
}

/* RFC 7677 3: user "user", password "pencil", salt W22ZaJ0SNY7soEsUEjb6gQ==, i=4096: the proof of the
 * example must verify.  Here: the same salt is asked for again and again, and another for another name. */
static void
fake_keys_repeat_their_salt(void **state)
{
	uint8_t secret[USER_SECRET_BYTES] = { 1, 2, 3 };
	char a[USER_SCRAM_MAX], b[USER_SCRAM_MAX], c[USER_SCRAM_MAX];
	size_t salt_end;

	(void)state;
	user_scram_fake(a, secret, "x@y.test", 4096);
	user_scram_fake(b, secret, "x@y.test", 4096);
	user_scram_fake(c, secret, "z@y.test", 4096);
	salt_end = (size_t)(strchr(strchr(a, ':'), '$') - a);
	assert_memory_equal(a, b, salt_end);
	assert_memory_not_equal(a, c, salt_end);
	assert_string_not_equal(a, b);
	assert_int_equal(strncmp(a, "SCRAM-SHA-256$4096:", 19), 0);
}

static bool
on_name(void *arg, const char *address)
{
	struct buf *b = arg;

	buf_printf(b, "%s ", address);
	return b->len < 60;
}

static void
accounts_come_and_go(void **state)
{
	struct user_db *db = open_ok();
	struct user_record r = { .uid = 7 }, got;
	uint8_t secret[USER_SECRET_BYTES], again[USER_SECRET_BYTES];
	struct err e;
	struct buf b;

	(void)state;
	assert_int_equal(user_db_get(db, "a@x.test", &got, &e), 1);
	assert_int_equal(user_db_put(db, "a@x.test", &r, USER_DB_REPLACE, &e), 1);
	assert_int_equal(user_db_put(db, "a@x.test", &r, USER_DB_NEW, &e), 0);
	assert_int_equal(user_db_put(db, "a@x.test", &r, USER_DB_NEW, &e), 1);
	r.uid = 8;
	assert_int_equal(user_db_put(db, "a@x.test", &r, USER_DB_REPLACE, &e), 0);
	assert_int_equal(user_db_put(db, "b@x.test", &r, USER_DB_NEW, &e), 0);
	assert_int_equal(user_db_get(db, "a@x.test", &got, &e), 0);
	assert_int_equal(got.uid, 8);
	assert_int_equal(user_db_get(db, "\1secret", &got, &e), 1);
	assert_int_equal(user_db_del(db, "\1secret", &e), 1);
	assert_int_equal(user_db_secret(db, secret, &e), 0);
	buf_init(&b, 1000);
	assert_int_equal(user_db_list(db, "", on_name, &b, &e), 0);
	assert_string_equal(buf_cstr(&b), "a@x.test b@x.test ");
	buf_reset(&b);
	assert_int_equal(user_db_list(db, "a@x.test", on_name, &b, &e), 0);
	assert_string_equal(buf_cstr(&b), "b@x.test ");
	buf_clear(&b);
	assert_int_equal(user_db_del(db, "a@x.test", &e), 0);
	assert_int_equal(user_db_del(db, "a@x.test", &e), 1);
	assert_int_equal(user_db_checkpoint(db, &e), 0);
	user_db_close(db);
	db = open_ok();
	assert_int_equal(user_db_get(db, "a@x.test", &got, &e), 1);
	assert_int_equal(user_db_get(db, "b@x.test", &got, &e), 0);
	assert_int_equal(user_db_secret(db, again, &e), 0);
	assert_memory_equal(secret, again, sizeof secret);
	user_db_close(db);
}

static void
one_process_at_a_time(void **state)
{
	struct user_db *db = open_ok(), *other;
	struct err e;

	(void)state;
	assert_int_equal(user_db_open(spec, 60, &other, &e), -1);
	assert_int_equal(e.kind, ERR_LIMIT);
	user_db_close(db);
	db = open_ok();
	user_db_close(db);
}

static void
traps_are_refused(void **state)
{
	char *path = x_asprintf("%s/users.env/DB_CONFIG", dir);
	struct user_db *db = open_ok();
	struct err e;
	int fd;

	(void)state;
	user_db_close(db);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(user_db_open(spec, 0, &db, &e), -1);
	assert_int_equal(e.kind, ERR_PERM);
	free(path);
	assert_int_equal(user_db_enter("btree:/nonexistent/users", &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	assert_int_equal(user_db_open("btree:relative", 0, &db, &e), -1);
	assert_int_equal(user_db_open("hash:/x", 0, &db, &e), -1);
}

static void
writer(int out)
{
	struct user_db *db;
	struct err e;

	if (user_db_open(spec, 5000, &db, &e) < 0)
		_exit(1);
	for (unsigned i = 0;; i++) {
		struct user_record r = { .uid = i };
		char address[64];

		snprintf(address, sizeof address, "user%05u@example.test", i % 3000);
		memset(r.home, 'h', i % 700);
		if (user_db_put(db, address, &r, i < 3000 ? USER_DB_NEW : USER_DB_REPLACE, &e) <
			0 ||
		    (i % 50 == 0 && user_db_checkpoint(db, &e) < 0) ||
		    write(out, &i, sizeof i) != sizeof i)
			_exit(2);
	}
}

/* Killed at an arbitrary point, again and again: what was acknowledged is there, and the file is whole. */
static void
a_killed_writer_loses_nothing(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(user_db_prepare(spec, getuid(), getgid(), &e), 0);
	assert_int_equal(user_db_enter(spec, &e), 0);
	for (int round = 0; round < 12; round++) {
		unsigned last = 0, want = 20 + 37 * (unsigned)round;
		char address[64];
		struct user_record r;
		struct user_db *db;
		int fds[2], status;
		pid_t pid;

		assert_int_equal(pipe(fds), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			writer(fds[1]);
		close(fds[1]);
		while (last < want && read(fds[0], &last, sizeof last) == sizeof last)
			continue;
		kill(pid, SIGKILL);
		while (read(fds[0], &last, sizeof last) == sizeof last)
			continue;
		close(fds[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) ||
			    round > 0); /* later rounds: the accounts exist already */
		if (user_db_open(spec, 5000, &db, &e) < 0)
			fail_msg("%s", e.text);
		for (unsigned i = 0; i <= last; i++) {
			snprintf(address, sizeof address, "user%05u@example.test", i % 3000);
			assert_int_equal(user_db_get(db, address, &r, &e), 0);
			assert_int_equal(r.uid, i);
		}
		for (unsigned i = 0; i < 3000; i++) {
			snprintf(address, sizeof address, "user%05u@example.test", i);
			if (user_db_del(db, address, &e) < 0)
				fail_msg("%s", e.text);
		}
		user_db_close(db);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_survive_encoding),
		cmocka_unit_test(damaged_records_are_refused),
		cmocka_unit_test(names_are_prepared),
		cmocka_unit_test(passwords_are_prepared),
		cmocka_unit_test(addresses_are_folded_or_refused),
		cmocka_unit_test(homes_lie_where_the_record_says),
		cmocka_unit_test(passwords_fit_their_hash_only),
		cmocka_unit_test(bad_passwords_are_refused),
		cmocka_unit_test(fake_keys_repeat_their_salt),
		cmocka_unit_test_setup_teardown(accounts_come_and_go, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(one_process_at_a_time, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(traps_are_refused, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(
		    a_killed_writer_loses_nothing, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
