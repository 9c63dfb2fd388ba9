/* What is counted is seen by master, and no process can harm it by the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/daemon/counters.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void
shared_with_master(void **state)
{
	struct counters *c;
	struct err e;
	int fd, status;
	pid_t pid;

	(void)state;
	counter_add(COUNTER_HELD, 7); /* nobody looks yet */
	c = counters_new(&fd, &e);
	assert_non_null(c);
	assert_int_equal(c->values[COUNTER_HELD], 0);
	for (int i = 0; i < 2; i++) {
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			if (counters_use(dup(fd), &e) < 0)
				_exit(1);
			counter_add(COUNTER_HELD, 1);
			counter_add(COUNTER_DELIVERED_BYTES, 1000);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	assert_int_equal(c->values[COUNTER_HELD], 2);
	assert_int_equal(c->values[COUNTER_DELIVERED_BYTES], 2000);
	assert_int_equal(c->values[COUNTER_RECEIVED], 0);
	/* one that got shorter would kill who reads it */
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 1 << 20), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(munmap(c, sizeof *c), 0);
	close(fd);
}

static void
no_page(void **state)
{
	struct err e;
	int fd = memfd_create("loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, sizeof(struct counters)), 0);
	assert_int_equal(counters_use(fd, &e), -1);
	fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(counters_use(fd, &e), -1);
	counter_add(COUNTER_HELD, 1);
}

static void
names(void **state)
{
	(void)state;
	for (int i = 0; i < COUNTERS; i++)
		assert_non_null(counter_names[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_with_master),
		cmocka_unit_test(no_page),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
