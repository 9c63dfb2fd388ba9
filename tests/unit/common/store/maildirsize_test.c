#include "common/store/maildirsize.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static const struct {
	const char *text;
	bool is_known;
	int64_t limit_bytes, limit_count, used_bytes, used_count;
} cases[] = {
	{ "1000S,10C\n", true, 1000, 10, 0, 0 },
	{ "1000S\n100 1\n-50 -1\n", true, 1000, 0, 50, 0 },
	{ "10C,1000S\n          100    1\n", true, 1000, 10, 100, 1 },
	{ "0S\n\n5 1\n", true, 0, 0, 5, 1 },
	{ "1000S,5X\n", true, 1000, 0, 0, 0 },
	{ "1000S\n100 1", true, 1000, 0, 100, 1 },
	{ "", false, 0, 0, 0, 0 },
	{ "\n", false, 0, 0, 0, 0 },
	{ "S\n", false, 0, 0, 0, 0 },
	{ "-5S\n", false, 0, 0, 0, 0 },
	{ "1000S\n100\n", false, 0, 0, 0, 0 },
	{ "1000S\nx y\n", false, 0, 0, 0, 0 },
	{ "1000S\n99999999999999999999999 1\n", false, 0, 0, 0, 0 },
	{ "1000S\n100 1\n-101 -1\n", false, 0, 0, 0,
	    0 }, /* lines were lost: it must be counted anew */
	{ "1000S\n100 1\n-50 -2\n", false, 0, 0, 0, 0 },
};

static void
test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct maildirsize q;

		assert_int_equal(maildirsize_parse(view_of(cases[i].text), &q), cases[i].is_known);
		if (!cases[i].is_known)
			continue;
		assert_true(
		    q.limit_bytes == cases[i].limit_bytes && q.limit_count == cases[i].limit_count);
		assert_true(
		    q.used_bytes == cases[i].used_bytes && q.used_count == cases[i].used_count);
	}
}

/* Sums that would overflow make the file unusable, not the process. */
static void
test_overflow(void **state)
{
	struct maildirsize q;

	(void)state;
	assert_false(maildirsize_parse(
	    VIEW_LIT("1S\n2305843009213693951 1\n2305843009213693951 1\n"
		     "2305843009213693951 1\n2305843009213693951 1\n2305843009213693951 1\n"),
	    &q));
}

static void
test_room(void **state)
{
	struct maildirsize q = { .is_known = true,
		.limit_bytes = 100,
		.used_bytes = 90,
		.limit_count = 5,
		.used_count = 4 };

	(void)state;
	assert_true(maildirsize_has_room(&q, 10));
	assert_false(maildirsize_has_room(&q, 11));
	assert_false(maildirsize_has_room(&q, UINT64_MAX));
	q.used_count = 5;
	assert_false(maildirsize_has_room(&q, 1));
	q.limit_count = 0;
	q.used_bytes = 101;
	assert_false(maildirsize_has_room(&q, 0));
	q.limit_bytes = 0;
	assert_true(maildirsize_has_room(&q, UINT64_MAX));
	q.is_known = false;
	assert_true(maildirsize_has_room(&q, UINT64_MAX));
}

static void
test_files(void **state)
{
	char dir[] = "/tmp/maildirsize_test.XXXXXX", text[64] = "";
	struct maildirsize m = { .limit_bytes = 1000, .used_bytes = 50, .used_count = 2 };
	struct err err;
	int fd, file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	assert_int_equal(maildirsize_append(fd, 5, 1, &err), 1); /* no quota here */
	assert_int_equal(maildirsize_replace(fd, &m, &err), 0);
	assert_int_equal(maildirsize_append(fd, -5, -1, &err), 0);
	file = openat(fd, "maildirsize", O_RDONLY);
	assert_true(read(file, text, sizeof text - 1) > 0);
	close(file);
	assert_string_equal(text, "1000S\n50 2\n-5 -1\n");
	maildirsize_load(fd, &m);
	assert_true(m.is_known && m.used_bytes == 45 && m.used_count == 1 && m.lines == 2);
	assert_true(m.size == (int64_t)strlen(text) && m.mtime_s > 0);
	/* what its user can make of it blocks nobody */
	assert_int_equal(unlinkat(fd, "maildirsize", 0), 0);
	assert_int_equal(mkfifoat(fd, "maildirsize", 0600), 0);
	maildirsize_load(fd, &m);
	assert_false(m.is_known);
	assert_int_equal(maildirsize_append(fd, 5, 1, &err), 1);
	assert_int_equal(unlinkat(fd, "maildirsize", 0), 0);
	assert_int_equal(symlinkat("/dev/zero", fd, "maildirsize"), 0);
	maildirsize_load(fd, &m);
	assert_false(m.is_known);
	assert_int_equal(maildirsize_append(fd, 5, 1, &err), 1);
	assert_int_equal(unlinkat(fd, "maildirsize", 0), 0);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_overflow),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
