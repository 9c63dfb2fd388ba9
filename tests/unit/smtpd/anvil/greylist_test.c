#include "smtpd/anvil/greylist.h"
#include "tests/unit/remove_all.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Berkeley DB 5.3 does not free all of an environment that it could not recover. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:__os_malloc";
}

static char directory[64];
static const struct greylist_conf conf = {
	.delay = 300, .retry_window = 172800, .max_age = 3024000, .auto_allow = 2
};

static int
setup(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/greylist-test-XXXXXX");
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	remove_all(directory);
	return 0;
}

static enum anvil_greylist
check(struct store *s, const char *network, const char *sender, const char *rcpt, int64_t now,
    unsigned seconds)
{
	struct greylist_answer a;
	struct err err;

	if (greylist_check(s, &conf, network, sender, rcpt, now, &a, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(a.seconds, seconds);
	return a.verdict;
}

#define NET "192.0.2.0/24"
enum { T0 = 1000000 };

static void
test_triplets(void **state)
{
	struct store *s = store_new(directory);

	(void)state;
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0, 300), ANVIL_GREY_WAIT);
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0 + 100, 200), ANVIL_GREY_WAIT);
	/* too early does not begin anew */
	assert_int_equal(check(s, NET, "A@X.test", "b@Y.test", T0 + 299, 1), ANVIL_GREY_WAIT);
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0 + 300, 300), ANVIL_GREY_PASS);
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0 + 301, 0), ANVIL_GREY_PASS);
	/* another recipient, sender or network is another triplet */
	assert_int_equal(check(s, NET, "a@x.test", "c@y.test", T0 + 301, 300), ANVIL_GREY_WAIT);
	assert_int_equal(check(s, NET, "", "b@y.test", T0 + 301, 300), ANVIL_GREY_WAIT);
	assert_int_equal(
	    check(s, "198.51.100.0/24", "a@x.test", "b@y.test", T0 + 301, 300), ANVIL_GREY_WAIT);
	/* where one string ends matters */
	assert_int_equal(check(s, NET, "a@x.testb", "@y.test", T0 + 301, 300), ANVIL_GREY_WAIT);
	/* came again too late */
	assert_int_equal(
	    check(s, NET, "a@x.test", "c@y.test", T0 + 301 + 172801, 300), ANVIL_GREY_WAIT);
	/* not seen for too long */
	assert_int_equal(
	    check(s, NET, "a@x.test", "b@y.test", T0 + 301 + 3024001, 300), ANVIL_GREY_WAIT);
	store_free(s);
}

static void
test_network_is_let_through(void **state)
{
	struct store *s = store_new(directory);

	(void)state;
	for (int i = 0; i < 2; i++) {
		char sender[32];

		snprintf(sender, sizeof sender, "a%d@x.test", i);
		assert_int_equal(check(s, NET, sender, "b@y.test", T0, 300), ANVIL_GREY_WAIT);
	}
	assert_int_equal(check(s, NET, "a0@x.test", "b@y.test", T0 + 400, 400), ANVIL_GREY_PASS);
	/* the same one again does not count twice */
	assert_int_equal(check(s, NET, "a0@x.test", "b@y.test", T0 + 401, 0), ANVIL_GREY_PASS);
	assert_int_equal(check(s, NET, "new@x.test", "b@y.test", T0 + 402, 300), ANVIL_GREY_WAIT);
	assert_int_equal(check(s, NET, "a1@x.test", "b@y.test", T0 + 500, 500), ANVIL_GREY_PASS);
	assert_int_equal(check(s, NET, "more@x.test", "b@y.test", T0 + 501, 0), ANVIL_GREY_PASS);
	assert_int_equal(
	    check(s, NET, "much@x.test", "b@y.test", T0 + 3000000, 0), ANVIL_GREY_PASS);
	/* being seen keeps it known; not being seen does not */
	assert_int_equal(
	    check(s, NET, "more@x.test", "b@y.test", T0 + 6000000, 0), ANVIL_GREY_PASS);
	assert_int_equal(
	    check(s, NET, "more@x.test", "b@y.test", T0 + 9100000, 300), ANVIL_GREY_WAIT);
	store_free(s);
}

static void
test_survives_a_restart_and_a_crash(void **state)
{
	struct store *s = store_new(directory);
	pid_t pid;
	int status;

	(void)state;
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0, 300), ANVIL_GREY_WAIT);
	store_free(s);
	fflush(NULL);
	pid = fork();
	if (pid == 0) { /* dies without closing anything */
		s = store_new(directory);
		check(s, NET, "a@x.test", "crash@y.test", T0, 300);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	s = store_new(directory);
	assert_int_equal(check(s, NET, "a@x.test", "b@y.test", T0 + 300, 300), ANVIL_GREY_PASS);
	assert_int_equal(check(s, NET, "a@x.test", "crash@y.test", T0 + 300, 300), ANVIL_GREY_PASS);
	store_free(s);
}

static void
test_sweep(void **state)
{
	struct store *s = store_new(directory);
	struct greylist_answer a;
	struct err err;
	char sender[32];
	uint64_t record[3];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(sender, sizeof sender, "a%d@x.test", i);
		check(s, NET, sender, "b@y.test", i < 500 ? T0 : T0 + 100000, 300);
	}
	/* in steps, round and round */
	for (int i = 0; i < 12; i++)
		assert_int_equal(greylist_sweep(s, &conf, 100, T0 + 172900, &err), 0);
	assert_int_equal(store_get(s, STORE_GREYLIST, VIEW_LIT("T" NET "\0a499@x.test\0b@y.test\0"),
			     record, sizeof record, &err),
	    1);
	assert_int_equal(store_get(s, STORE_GREYLIST, VIEW_LIT("T" NET "\0a500@x.test\0b@y.test\0"),
			     record, sizeof record, &err),
	    0);
	assert_int_equal(
	    greylist_check(s, &conf, NET, "a999@x.test", "b@y.test", T0 + 172900, &a, &err), 0);
	assert_int_equal(a.verdict, ANVIL_GREY_PASS);
	store_free(s);
}

static void
spoil(const char *name, off_t from, const char *with)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	for (off_t at = from; at < from + 16384; at += (off_t)strlen(with))
		assert_true(pwrite(fd, with, strlen(with), at) > 0);
	close(fd);
}

/* The file is moved aside, one call fails, and the next finds a new and empty one. */
static void
test_damage(void **state)
{
	static const struct {
		const char *name;
		off_t from;
	} cases[] = { { "greylist.db", 0 }, { "greylist.db", 4096 }, { "log.0000000001", 0 } };
	char path[128];
	struct stat st;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct store *s = store_new(directory);
		struct greylist_answer a;
		struct err err;
		int r = 0;

		for (int k = 0; k < 200; k++) {
			snprintf(path, sizeof path, "a%d@x.test", k);
			check(s, NET, path, "b@y.test", T0, 300);
		}
		store_free(s);
		spoil(cases[i].name, cases[i].from, "damaged ");
		s = store_new(directory);
		for (int k = 0; k < 200 && r == 0; k++) {
			snprintf(path, sizeof path, "a%d@x.test", k);
			r = greylist_check(s, &conf, NET, path, "b@y.test", T0 + 1, &a, &err);
		}
		assert_int_equal(r, -1);
		assert_int_equal(a.verdict, ANVIL_GREY_TEMP);
		assert_non_null(strstr(err.text, "\"damaged\""));
		snprintf(path, sizeof path, "%s/damaged/%s", directory, cases[i].name);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(
		    check(s, NET, "a1@x.test", "b@y.test", T0 + 2, 300), ANVIL_GREY_WAIT);
		store_free(s);
	}
}

/* No room is no reason to throw anything away: it is tried again, later. */
static void
test_no_directory(void **state)
{
	struct store *s = store_new("/proc/nowhere");
	struct greylist_answer a;
	struct err err;

	(void)state;
	assert_int_equal(greylist_check(s, &conf, NET, "a", "b", T0, &a, &err), -1);
	assert_int_equal(a.verdict, ANVIL_GREY_TEMP);
	assert_string_not_equal(err.text, "");
	assert_int_equal(greylist_check(s, &conf, NET, "a", "b", T0, &a, &err), -1);
	assert_string_equal(err.text, "");
	store_free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_triplets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_network_is_let_through, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_survives_a_restart_and_a_crash, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_directory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
