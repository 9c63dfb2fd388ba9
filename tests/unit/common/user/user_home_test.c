#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/mem.h"
#include "common/user/user_home.h"
#include "tests/unit/remove_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], base[96];
static struct user_home home;

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/user_home_test.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(base, sizeof base, "%s/mail", dir);
	/* ownership can be given away by root only */
	home = (struct user_home){ .base = base,
		.base_uid = getuid(),
		.base_gid = getgid(),
		.uid = getuid(),
		.gid = getgid() };
	if (getuid() == 0) {
		home.base_uid = 4001;
		home.uid = 4002;
		home.gid = 4003;
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	remove_all(dir);
	return 0;
}

static int
make(const char *below, struct err *e)
{
	char *path = x_asprintf("%s/%s", base, below);
	int fd = user_home_open(&home, path, e);

	free(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static struct stat
look(const char *below)
{
	char *path = x_asprintf("%s/%s", base, below);
	struct stat st = { 0 };

	assert_int_equal(lstat(path, &st), 0);
	free(path);
	return st;
}

static void
homes_have_owner_and_mode(void **state)
{
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(make("example.test/alice", &e), 0);
	assert_int_equal(make("example.test/alice", &e), 0); /* it may be there already */
	st = look("");
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(st.st_uid, home.base_uid);
	st = look("example.test");
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(st.st_uid, home.base_uid);
	st = look("example.test/alice");
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_uid, home.uid);
	assert_int_equal(st.st_gid, home.gid);
	home.uid++;
	assert_int_equal(make("example.test/alice", &e), -1);
}

static void
nothing_leads_out(void **state)
{
	char *victim = x_asprintf("%s/victim", dir), *link = x_asprintf("%s/example.test", base);
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(mkdir(victim, 0755), 0);
	assert_int_equal(make("x/y", &e), 0);
	assert_int_equal(symlink(victim, link), 0);
	assert_int_equal(make("example.test/alice", &e), -1);
	assert_int_equal(unlink(link), 0);
	assert_int_equal(mkdir(link, 0755), 0);
	free(link);
	link = x_asprintf("%s/example.test/alice", base);
	assert_int_equal(symlink(victim, link), 0);
	assert_int_equal(make("example.test/alice", &e), -1);
	assert_int_equal(make("../victim/alice", &e), -1);
	assert_int_equal(make("example.test/../../victim", &e), -1);
	assert_int_equal(make("", &e), -1);
	assert_int_equal(user_home_open(&home, victim, &e), -1);
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_uid, getuid());
	assert_int_equal(rmdir(victim), 0); /* and so it is empty */
	free(victim);
	free(link);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(homes_have_owner_and_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_leads_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
