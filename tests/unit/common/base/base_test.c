#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/codec.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/heap.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void
err_keeps_errno_and_prefix(void **state)
{
	struct err e;

	(void)state;
	errno = ENOSPC;
	assert_int_equal(err_sys(&e, ERR_TEMP, "write %s", "x"), -1);
	assert_int_equal(e.sys, ENOSPC);
	assert_string_equal(e.text, "write x: No space left on device");
	err_prefix(&e, "queue %d", 7);
	assert_string_equal(e.text, "queue 7: write x: No space left on device");
	assert_int_equal(e.kind, ERR_TEMP);
}

static void
buf_grows_to_its_cap_and_no_further(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_append_byte(&b, 'a' + i % 26), 0);
	assert_int_equal(buf_append_byte(&b, 'x'), -1);
	assert_true(b.failed);
	assert_int_equal(b.len, 100);
	assert_null(buf_cstr(&b));
	assert_int_equal(buf_append(&b, "", 0), -1); /* failure stays until reset */
	buf_reset(&b);
	assert_int_equal(buf_printf(&b, "%s-%d", "n", 42), 0);
	assert_string_equal(buf_cstr(&b), "n-42");
	buf_consume(&b, 2);
	assert_string_equal(buf_cstr(&b), "42");
	buf_clear(&b);
	assert_string_equal(buf_cstr(&b), "");
}

static void
buf_without_a_cap_does_not_wrap_round(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_append_str(&b, "abc"), 0);
	assert_string_equal(buf_cstr(&b), "abc");
	assert_null(buf_reserve(&b, SIZE_MAX));
	assert_true(b.failed);
	buf_reset(&b);
	assert_null(buf_reserve(&b, SIZE_MAX - 1));
	buf_clear(&b);
}

static void
empty_views_may_be_null(void **state)
{
	struct view none = { NULL, 0 }, head = none, tail = none, token;
	uint64_t n;

	(void)state;
	assert_false(view_cut(none, 'x', &head, &tail));
	assert_int_equal(head.len + tail.len, 0);
	assert_false(view_token(&none, " ", &token));
	assert_int_equal(token.len, 0);
	assert_null(view_find(none, view_of("x")));
	assert_non_null(view_find(none, none)); /* the empty string is in every string */
	assert_non_null(view_find(view_of("x"), none));
	assert_true(view_eq(none, view_of("")) && view_case_eq(none, view_of("")));
	assert_true(view_starts(none, "") && view_ends(none, ""));
	assert_false(view_starts(none, "x") || view_ends(none, "x") || view_u64(none, 1, &n));
	assert_int_equal(view_trim(none).len, 0);
}

static void
views_cut_and_compare(void **state)
{
	struct view head, tail, rest = view_of("  a, b ,c"), token;
	uint64_t n;

	(void)state;
	assert_true(view_cut(view_of("k=v=w"), '=', &head, &tail));
	assert_true(view_eq_str(head, "k"));
	assert_true(view_eq_str(tail, "v=w"));
	assert_false(view_cut(view_of("kv"), '=', &head, &tail));
	assert_true(view_eq_str(head, "kv"));
	assert_int_equal(tail.len, 0);
	assert_true(view_token(&rest, " ,", &token) && view_eq_str(token, "a"));
	assert_true(view_token(&rest, " ,", &token) && view_eq_str(token, "b"));
	assert_true(view_token(&rest, " ,", &token) && view_eq_str(token, "c"));
	assert_false(view_token(&rest, " ,", &token));
	assert_true(view_u64(view_of("18446744073709551615"), UINT64_MAX, &n));
	assert_false(view_u64(view_of("18446744073709551616"), UINT64_MAX, &n));
	assert_false(view_u64(view_of(""), 10, &n));
	assert_false(view_u64(view_of("11"), 10, &n));
	assert_false(view_u64(view_of("1x"), 10, &n));
	assert_true(view_case_starts(view_of("Mail FROM"), "mail "));
	assert_true(view_ends(view_of("a.txt"), ".txt"));
}

static void
arena_is_bounded_and_aligned(void **state)
{
	struct arena a;
	char *s;

	(void)state;
	arena_init(&a, 20000);
	s = arena_printf(&a, "%d", 12345);
	assert_string_equal(s, "12345");
	assert_int_equal((uintptr_t)arena_alloc(&a, 1) % 16, 0);
	assert_int_equal((uintptr_t)arena_alloc(&a, 8000) % 16, 0);
	assert_null(arena_alloc(&a, 20000));
	assert_string_equal(s, "12345");
	arena_clear(&a);
	assert_int_equal(a.used_bytes, 0);
}

static void
map_finds_what_was_put(void **state)
{
	struct map m;
	struct map_walk w = { 0 };
	static int values[5000];
	char key[20];
	size_t seen = 0;

	(void)state;
	map_init(&m);
	assert_null(map_get(&m, view_of("x")));
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof key, "key%d", i);
		assert_null(map_put(&m, view_of(key), &values[i]));
	}
	assert_int_equal(m.count, 5000);
	assert_ptr_equal(map_put(&m, view_of("key7"), &values[8]), &values[7]);
	assert_ptr_equal(map_get(&m, view_of("key7")), &values[8]);
	for (int i = 0; i < 5000; i += 2) {
		snprintf(key, sizeof key, "key%d", i);
		assert_ptr_equal(map_remove(&m, view_of(key)), &values[i]);
	}
	assert_null(map_remove(&m, view_of("key0")));
	while (map_next(&m, &w) != NULL)
		seen++;
	assert_int_equal(seen, 2500);
	map_clear(&m);
}

/* The reference vector of the SipHash paper, appendix A. */
static void
siphash_matches_the_paper(void **state)
{
	uint8_t key[16], in[15];

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		key[i] = i;
	for (uint8_t i = 0; i < 15; i++)
		in[i] = i;
	assert_true(siphash24(key, in, sizeof in) == 0xa129ca6149be45e5);
}

struct item {
	int value;
	struct heap_node node;
};

static void
heap_gives_the_least_first(void **state)
{
	enum { N = 2000 };
	struct item *items = calloc(N, sizeof *items);
	struct heap h;
	int64_t last = -1;

	(void)state;
	heap_init(&h);
	for (int i = 0; i < N; i++)
		heap_insert(&h, &items[i].node, (int64_t)random_below(500));
	for (int i = 0; i < N; i += 3)
		heap_remove(&h, &items[i].node);
	heap_remove(&h, &items[0].node); /* not in it any more: nothing happens */
	for (size_t left = h.count; left > 0; left--) {
		struct heap_node *n = heap_first(&h);

		assert_true(n->key >= last);
		last = n->key;
		heap_remove(&h, n);
	}
	assert_null(heap_first(&h));
	heap_clear(&h);
	free(items);
}

/* RFC 4648 10 */
static void
base64_is_strict(void **state)
{
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" },
		{ "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" } };
	static const char *const bad[] = { "Z", "Zg",
		"Zg=", "Zg= =", "=g==", "Zh==", "Zm9=", "Zm 9v", "Zg==Zg==", "Zm9v\n", "Zm9*" };
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		buf_reset(&b);
		base64_encode(&b, pairs[i][0], strlen(pairs[i][0]));
		assert_string_equal(buf_cstr(&b), pairs[i][1]);
		buf_reset(&b);
		assert_int_equal(base64_decode(&b, pairs[i][1], strlen(pairs[i][1])), 0);
		assert_string_equal(buf_cstr(&b), pairs[i][0]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		buf_reset(&b);
		assert_int_equal(base64_decode(&b, bad[i], strlen(bad[i])), -1);
		assert_int_equal(b.len, 0);
	}
	buf_clear(&b);
}

/* RFC 3720 B.4 */
static void
crc32c_matches_the_rfc(void **state)
{
	unsigned char zero[32] = { 0 }, up[32];
	char hex[65];

	(void)state;
	for (unsigned char i = 0; i < 32; i++)
		up[i] = i;
	assert_int_equal(crc32c(0, zero, 32), 0x8a9136aa);
	assert_int_equal(crc32c(0, up, 32), 0x46dd794e);
	assert_int_equal(crc32c(crc32c(0, up, 5), up + 5, 27), 0x46dd794e);
	hex_encode(hex, up, 32);
	assert_true(hex_decode(zero, 32, view_of(hex)));
	assert_memory_equal(zero, up, 32);
	assert_false(hex_decode(zero, 32, view_of("zz")));
}

/* DESIGN 4: what was sealed can no longer change; what was not sealed is refused. */
static void
memfd_is_trusted_only_when_sealed(void **state)
{
	struct err e;
	uint64_t size;
	char back[5];
	int fd = memfd_sealed("t", "hello", 5, &e), open_fd = memfd_create("u", MFD_ALLOW_SEALING);
	char path[64];

	(void)state;
	assert_true(fd >= 0 && open_fd >= 0);
	assert_int_equal(memfd_check(fd, 5, &size, &e), 0);
	assert_int_equal(size, 5);
	assert_int_equal(memfd_check(fd, 4, &size, &e), -1);
	assert_int_equal(fd_pread_all(fd, back, 5, 0, &e), 0);
	assert_memory_equal(back, "hello", 5);
	assert_int_equal(fd_pread_all(fd, back, 5, 1, &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int again = open(path, O_RDWR);
	assert_true(again < 0 || pwrite(again, "x", 1, 0) == -1);
	fd_close(&again);
	assert_int_equal(memfd_check(open_fd, 100, &size, &e), -1);
	fd_close(&open_fd);
	open_fd = open("/etc/hostname", O_RDONLY);
	assert_int_equal(memfd_check(open_fd, 100000, &size, &e), -1);
	fd_close(&open_fd);
	fd_close(&fd);
	assert_int_equal(fd, -1);
}

static void
open_beneath_never_leaves(void **state)
{
	char dir[] = "/tmp/base_test.XXXXXX", path[100];
	struct buf text;
	struct err e;
	int d;

	(void)state;
	assert_non_null(mkdtemp(dir));
	d = open(dir, O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof path, "%s/link", dir);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(open_beneath(d, "link", O_RDONLY, 0), -1);
	assert_int_equal(open_beneath(d, "../etc/passwd", O_RDONLY, 0), -1);
	assert_int_equal(open_beneath(d, "/etc/passwd", O_RDONLY, 0), -1);
	int fd = open_beneath(d, "file", O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, "abc", 3, &e), 0);
	fd_close(&fd);
	assert_int_equal(dir_fsync(d, ".", &e), 0);
	buf_init(&text, 3);
	snprintf(path, sizeof path, "%s/file", dir);
	/* a file that fills the cap to the last byte cannot be told from a longer one */
	assert_int_equal(file_read(path, &text, &e), -1);
	buf_clear(&text);
	buf_init(&text, 100000);
	assert_int_equal(file_read(path, &text, &e), 0);
	assert_string_equal(buf_cstr(&text), "abc");
	buf_clear(&text);
	assert_int_equal(file_read("/nonexistent", &text, &e), -1);
	assert_int_equal(e.kind, ERR_GONE);
	unlink(path);
	snprintf(path, sizeof path, "%s/link", dir);
	unlink(path);
	close(d);
	rmdir(dir);
}

static void
directories_are_made_with_their_parents(void **state)
{
	char dir[] = "/tmp/base_test.XXXXXX", path[100];
	mode_t mask = umask(077);
	struct stat st;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/a/b/c", dir);
	assert_int_equal(fd_make_directory(path, 0750, getuid(), getgid(), false, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	snprintf(path, sizeof path, "%s/a/b", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	snprintf(path, sizeof path, "%s/a/b/c", dir);
	/* an existing one is left as it is, unless it is to be put right */
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(fd_make_directory(path, 0755, getuid(), getgid(), false, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fd_make_directory(path, 0755, getuid(), getgid(), true, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	/* a link or a file is none, neither as the last nor on the way */
	snprintf(path, sizeof path, "%s/link", dir);
	assert_int_equal(symlink("a", path), 0);
	assert_int_equal(fd_make_directory(path, 0755, getuid(), getgid(), true, &e), -1);
	assert_int_equal(e.kind, ERR_PERM);
	assert_int_equal(unlink(path), 0);
	snprintf(path, sizeof path, "%s/file", dir);
	close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
	assert_int_equal(fd_make_directory(path, 0755, getuid(), getgid(), false, &e), -1);
	snprintf(path, sizeof path, "%s/file/below", dir);
	assert_int_equal(fd_make_directory(path, 0755, getuid(), getgid(), false, &e), -1);
	assert_int_equal(e.sys, ENOTDIR);
	snprintf(path, sizeof path, "%s/file", dir);
	assert_int_equal(unlink(path), 0);
	static const char *const made[] = { "/a/b/c", "/a/b", "/a" };
	for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
		snprintf(path, sizeof path, "%s%s", dir, made[i]);
		assert_int_equal(rmdir(path), 0);
	}
	assert_int_equal(rmdir(dir), 0);
	umask(mask);
}

/* Whoever holds the lock is named, and his end is waited for. */
static void
fd_lock_names_its_holder(void **state)
{
	FILE *file = tmpfile();
	int ready[2], end[2], fd = fileno(file);
	pid_t child, holder = -1;
	char c;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(end), 0);
	child = fork();
	if (child == 0) {
		close(end[1]);
		if (fd_lock(fd, true, 0, &holder) == 0 && write(ready[1], "", 1) == 1)
			(void)!read(end[0], &c, 1);
		usleep(100 * 1000);
		_exit(0);
	}
	close(end[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(fd_lock(fd, true, 0, &holder), -1);
	assert_int_equal(holder, child);
	holder = -1;
	assert_int_equal(fd_lock(fd, false, 40, &holder), -1);
	assert_int_equal(holder, child);
	close(end[1]); /* it ends in a moment */
	assert_int_equal(fd_lock(fd, true, 10000, &holder), 0);
	assert_int_equal(fd_lock(fd, false, 0, &holder), 0);
	waitpid(child, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	fclose(file);
	assert_int_equal(fd_lock(fd, true, 0, &holder), -1); /* no such descriptor */
	assert_int_equal(holder, -1);
	assert_int_equal(errno, EBADF);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(err_keeps_errno_and_prefix),
		cmocka_unit_test(buf_grows_to_its_cap_and_no_further),
		cmocka_unit_test(buf_without_a_cap_does_not_wrap_round),
		cmocka_unit_test(empty_views_may_be_null),
		cmocka_unit_test(views_cut_and_compare),
		cmocka_unit_test(arena_is_bounded_and_aligned),
		cmocka_unit_test(map_finds_what_was_put),
		cmocka_unit_test(siphash_matches_the_paper),
		cmocka_unit_test(heap_gives_the_least_first),
		cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(crc32c_matches_the_rfc),
		cmocka_unit_test(memfd_is_trusted_only_when_sealed),
		cmocka_unit_test(open_beneath_never_leaves),
		cmocka_unit_test(directories_are_made_with_their_parents),
		cmocka_unit_test(fd_lock_names_its_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
