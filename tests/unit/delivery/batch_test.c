#include "delivery/batch.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/mime/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARRIVAL_MS = 1795409323, HELD_MAX = 3 };

struct fixture {
	char dir[64];
	int base_fd;
	struct batch_config config;
	struct letter letter;
};

static int
memfd_of(const char *text)
{
	struct err err;
	int fd = memfd_sealed("test", text, strlen(text), &err);

	assert_true(fd >= 0);
	return fd;
}

static void
set_letter(struct fixture *f, const char *headers, const char *body)
{
	struct err err;

	assert_int_equal(
	    letter_init(&f->letter, memfd_of(headers), memfd_of(body), strlen(body), 0, &err), 0);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	snprintf(f->dir, sizeof f->dir, "/tmp/batch_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->base_fd = open(f->dir, O_RDONLY | O_DIRECTORY);
	f->config = (struct batch_config){ .boxes = box_cache_new(f->base_fd, HELD_MAX),
		.host = "mx.example",
		.sync_all_from = 4 };
	umask(066);
	*state = f;
	return 0;
}

static int
remove_tree(const char *dir)
{
	pid_t pid = fork();
	int status = 1;

	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	return waitpid(pid, &status, 0) == pid ? status : 1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	letter_clear(&f->letter);
	box_cache_free(f->config.boxes);
	close(f->base_fd);
	assert_int_equal(remove_tree(f->dir), 0);
	free(f);
	return 0;
}

static struct copy
make_copy(struct fixture *f, uint32_t number, const char *home)
{
	return (struct copy){ .letter = &f->letter,
		.envelope = { "sender@x.example", "alice@example.test", "" },
		.queue_id = "4kFzAb12Cdz9",
		.arrival_ms = ARRIVAL_MS * 1000LL,
		.number = number,
		.home = home,
		.fd = -1 };
}

static void
run_one(struct fixture *f, struct copy *c)
{
	struct copy *list[] = { c };

	batch_run(&f->config, list, 1);
	assert_true(c->outcome.is_known);
	assert_int_equal(c->fd, -1);
}

static unsigned
count_names(struct fixture *f, const char *path)
{
	int fd = openat(f->base_fd, path, O_RDONLY | O_DIRECTORY);
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	if (fd < 0)
		return 0;
	d = fdopendir(fd);
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static char *
read_at(struct fixture *f, const char *path)
{
	static char text[10000];
	int fd = openat(f->base_fd, path, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, text, sizeof text - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void
put_file(struct fixture *f, const char *path, const char *text)
{
	int fd = openat(f->base_fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void
assert_mode(struct fixture *f, const char *path, unsigned mode)
{
	struct stat st;

	assert_int_equal(fstatat(f->base_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void
assert_outcome(const struct copy *c, enum delivery_status status, const char *dsn, const char *text)
{
	if (c->outcome.status != status || strcmp(c->outcome.dsn, dsn) != 0 ||
	    strstr(c->outcome.text, text) == NULL)
		fail_msg("%d %s %s", c->outcome.status, c->outcome.dsn, c->outcome.text);
}

/* Everything is made, the file is what it should be, nothing is left in tmp/. */
static void
test_deliver(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 3, "example.test/alice");
	static const char want[] =
	    "Return-Path: <sender@x.example>\nDelivered-To: alice@example.test\n"
	    "Received: by us\nSubject: hi\n\nhello\r there\n.\nlast line";
	struct stat st;
	char path[400];

	set_letter(f, "Received: by us\r\nReturn-Path: <old@x>\r\n folded\r\nSubject: hi\r\n\r\n",
	    "hello\r there\r\n.\r\nlast line");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "delivered to maildir");
	assert_int_equal(count_names(f, "example.test/alice/Maildir/tmp"), 0);
	snprintf(path, sizeof path,
	    "example.test/alice/Maildir/new/%d.Q4kFzAb12Cdz9R3.mx.example,S=%zu,W=%zu", ARRIVAL_MS,
	    strlen(want), crlf_size(view_of(want)));
	assert_string_equal(read_at(f, path), want);
	assert_mode(f, path, 0600);
	assert_mode(f, "example.test", 0711);
	assert_mode(f, "example.test/alice", 0700);
	assert_mode(f, "example.test/alice/Maildir", 0700);
	assert_mode(f, "example.test/alice/Maildir/tmp", 0700);
	assert_mode(f, "example.test/alice/Maildir/new", 0700);
	assert_mode(f, "example.test/alice/Maildir/cur", 0700);
	assert_int_equal(fstatat(f->base_fd, path, &st, 0), 0);
	assert_int_equal(st.st_nlink, 1);
}

static void
test_original_address_and_offset(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "a");
	struct err err;

	assert_int_equal(letter_init(&f->letter, memfd_of("A: b\r\n\r\n"),
			     memfd_of("X: y\r\n\r\nbody\r\n"), 14, 8, &err),
	    0);
	c.envelope = (struct letter_envelope){ "", "alice@example.test", "a\n@example.test" };
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
	assert_string_equal(
	    read_at(f, "a/Maildir/new/1795409323.Q4kFzAb12Cdz9R1.mx.example,S=91,W=97"),
	    "Return-Path: <>\nX-Original-To: a?@example.test\nDelivered-To: alice@example.test\nA: b\n\nbody\n");
}

/* A batch over several mailboxes, one of them broken: one does not hurt the other. */
static void
test_batch(void **state)
{
	struct fixture *f = *state;
	struct copy copies[40], *list[40];
	char homes[40][20];

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	assert_int_equal(symlinkat("/etc", f->base_fd, "h3"), 0);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(homes[i], sizeof homes[i], "h%u", i % 10);
		copies[i] = make_copy(f, i, homes[i]);
		list[i] = &copies[i];
	}
	batch_run(&f->config, list, 40);
	for (unsigned i = 0; i < 40; i++) {
		if (i % 10 == 3)
			assert_outcome(&copies[i], DELIVERY_DEFERRED, "4.2.0", "open h3");
		else
			assert_outcome(&copies[i], DELIVERY_SENT, "2.0.0", "");
	}
	assert_true(copies[3].outcome.is_alarm);
	assert_int_equal(count_names(f, "h4/Maildir/new"), 4);
	assert_int_equal(count_names(f, "h4/Maildir/tmp"), 0);
}

/* hostile.md 58: what stands in the place of a directory leads nowhere. */
static void
test_links(void **state)
{
	static const char *const places[] = { "v", "v/Maildir", "v/Maildir/tmp", "v/Maildir/new",
		"v/Maildir/cur" };
	struct fixture *f = *state;

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	assert_int_equal(mkdirat(f->base_fd, "outside", 0700), 0);
	for (size_t i = 0; i < 5; i++) {
		struct copy c = make_copy(f, 1, "v");
		char path[200];

		snprintf(path, sizeof path, "%s/v", f->dir);
		assert_int_equal(remove_tree(path), 0);
		for (size_t k = 0; k < i; k++)
			assert_int_equal(mkdirat(f->base_fd, places[k < 2 ? k : 1], 0700) == 0 ||
					     errno == EEXIST,
			    1);
		snprintf(path, sizeof path, "%s/outside", f->dir);
		assert_int_equal(symlinkat(path, f->base_fd, places[i]), 0);
		run_one(f, &c);
		assert_outcome(&c, DELIVERY_DEFERRED, "4.2.0", "");
		assert_true(c.outcome.is_alarm);
		assert_int_equal(count_names(f, "outside"), 0);
		assert_int_equal(unlinkat(f->base_fd, places[i], 0), 0);
		assert_int_equal(mkfifoat(f->base_fd, places[i], 0700), 0);
		c = make_copy(f, 1, "v");
		run_one(f, &c);
		assert_outcome(&c, DELIVERY_DEFERRED, "4.2.0", "");
	}
}

static void
test_bad_homes(void **state)
{
	static const char *const homes[] = { "", "/etc", "..", "a/../../x", "a//b", "a/.", "./a" };
	struct fixture *f = *state;

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	for (size_t i = 0; i < sizeof homes / sizeof homes[0]; i++) {
		struct copy c = make_copy(f, 1, homes[i]);

		run_one(f, &c);
		assert_outcome(&c, DELIVERY_DEFERRED, "4.3.5", "not beneath");
	}
}

static void
test_foreign_owner(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v");

	if (geteuid() != 0)
		skip();
	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	assert_int_equal(mkdirat(f->base_fd, "v", 0700), 0);
	assert_int_equal(fchownat(f->base_fd, "v", 65534, 65534, 0), 0);
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_DEFERRED, "4.2.0", "v is not owned by uid 0");
}

static void
rename_at(struct fixture *f, const char *from, const char *to)
{
	assert_int_equal(renameat(f->base_fd, from, f->base_fd, to), 0);
}

/* A mailbox held open from the batch before is another one when its owner has put another in its place. */
static void
test_replaced_between_batches(void **state)
{
	static const char *const places[] = { "v", "v/Maildir", "v/Maildir/new", "v/Maildir/tmp" };
	struct fixture *f = *state;
	uint32_t number = 1;
	struct copy c = make_copy(f, number++, "v");

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	run_one(f, &c);
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		char path[300];

		rename_at(f, places[i], "aside");
		c = make_copy(f, number++, "v");
		run_one(f, &c);
		assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
		snprintf(path, sizeof path, "v/Maildir/new/%s", c.name);
		assert_int_equal(faccessat(f->base_fd, path, F_OK, 0), 0);
		snprintf(path, sizeof path, "%s/aside", f->dir);
		assert_int_equal(remove_tree(path), 0);
	}
	if (geteuid() != 0)
		skip();
	assert_int_equal(fchownat(f->base_fd, "v/Maildir/new", 65534, 65534, 0), 0);
	c = make_copy(f, number, "v");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_DEFERRED, "4.2.0", "new is not owned by uid 0");
}

/* No more are held than allowed, and none twice. */
static void
test_held_open(void **state)
{
	struct fixture *f = *state;
	unsigned before = count_names(f, "/proc/self/fd");

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	before += 2; /* the letter's */
	for (unsigned i = 0; i < 20; i++) {
		char home[32];
		struct copy c;

		snprintf(home, sizeof home, "v%u", i % 5);
		for (uint32_t number = 1; number <= 2; number++) {
			c = make_copy(f, 2 * i + number, home);
			run_one(f, &c);
			assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
		}
		assert_int_equal(count_names(f, "/proc/self/fd"),
		    before + 3 * (i + 1 < HELD_MAX ? i + 1 : HELD_MAX));
	}
	box_cache_clear(f->config.boxes);
	assert_int_equal(count_names(f, "/proc/self/fd"), before);
}

/* What may be there already is looked for, in all three places. */
static void
test_maybe_done(void **state)
{
	static const char *const places[] = {
		"v/Maildir/new/1795409323.Q4kFzAb12Cdz9R1.mx.example,S=1,W=2",
		"v/Maildir/cur/1795409323.Q4kFzAb12Cdz9R1.mx.example,S=1,W=2:2,S",
		"v/Maildir/cur/1795409323.Q4kFzAb12Cdz9R1.mx.example:2,S"
	};
	struct fixture *f = *state;
	struct copy c = make_copy(f, 7, "v");

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	run_one(f, &c);
	for (size_t i = 0; i < 3; i++) {
		put_file(f, places[i], "x");
		c = make_copy(f, 1, "v");
		c.maybe_done = true;
		run_one(f, &c);
		assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
		assert_int_equal(
		    count_names(f, "v/Maildir/new") + count_names(f, "v/Maildir/cur"), 2);
		assert_int_equal(unlinkat(f->base_fd, places[i], 0), 0);
	}
	/* half-written: done again; another's copy with a longer id is not this one */
	put_file(f, "v/Maildir/tmp/1795409323.Q4kFzAb12Cdz9R1.mx.example", "half");
	put_file(f, "v/Maildir/new/1795409323.Q4kFzAb12Cdz9R1.mx.example2,S=1", "x");
	c = make_copy(f, 1, "v");
	c.maybe_done = true;
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
	assert_int_equal(count_names(f, "v/Maildir/tmp"), 0);
	assert_int_equal(count_names(f, "v/Maildir/new"), 3);
}

/* The same copy again without the flag: nothing is replaced, nothing is doubled. */
static void
test_never_replaces(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v");
	char path[400];

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	run_one(f, &c);
	snprintf(path, sizeof path, "v/Maildir/new/%s", c.name);
	put_file(f, path, "untouched");
	c = make_copy(f, 1, "v");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
	assert_string_equal(read_at(f, path), "untouched");
	assert_int_equal(count_names(f, "v/Maildir/new"), 1);
	assert_int_equal(count_names(f, "v/Maildir/tmp"), 0);
}

static void
test_loop(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v");

	set_letter(f,
	    "Delivered-To: bob@example.test\r\ndelivered-to:  Alice@Example.test \r\n\r\n",
	    "x\r\n");
	run_one(f, &c);
	assert_outcome(
	    &c, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for alice@example.test");
	assert_int_equal(count_names(f, "v/Maildir/new"), 0);
	c = make_copy(f, 2, "v");
	c.envelope.address = "carol@example.test";
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
}

static void
test_maildirsize(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v"), d = make_copy(f, 2, "v"), *both[] = { &c, &d };
	char want[100];

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	run_one(f, &c);
	put_file(f, "v/Maildir/maildirsize", "250S\n100 1\n");
	c = make_copy(f, 1, "v");
	c.queue_id = "other";
	batch_run(&f->config, both, 2); /* 72 bytes each: both fit */
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
	assert_outcome(&d, DELIVERY_SENT, "2.0.0", "");
	snprintf(want, sizeof want, "250S\n100 1\n%llu 2\n",
	    (unsigned long long)(c.size.disk + d.size.disk));
	assert_string_equal(read_at(f, "v/Maildir/maildirsize"), want);
	c = make_copy(f, 3, "v");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_DEFERRED, "4.2.2", "mailbox is full");
	assert_int_equal(count_names(f, "v/Maildir/tmp"), 0);
	assert_string_equal(read_at(f, "v/Maildir/maildirsize"), want);
	/* what is no quota file is none */
	assert_int_equal(unlinkat(f->base_fd, "v/Maildir/maildirsize", 0), 0);
	assert_int_equal(mkfifoat(f->base_fd, "v/Maildir/maildirsize", 0600), 0);
	c = make_copy(f, 4, "v");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
}

/* A full disk: deferred with the right code, nothing half-written; with room again it is delivered. */
static void
test_full_disk(void **state)
{
	struct fixture *f = *state;
	char mail[200], *body = malloc(200001);
	struct copy c, d, *both[] = { &c, &d };
	struct err err;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdirat(f->base_fd, "small", 0700), 0);
	snprintf(mail, sizeof mail, "%s/small", f->dir);
	if (mount("none", mail, "tmpfs", 0, "size=128k,mode=0700") < 0)
		skip();
	memset(body, 'x', 200000);
	body[200000] = '\0';
	set_letter(f, "A: b\r\n\r\n", body);
	c = make_copy(f, 1, "small/v");
	d = make_copy(f, 2, "other");
	batch_run(&f->config, both, 2);
	assert_outcome(&c, DELIVERY_DEFERRED, "4.3.1", "No space left on device");
	assert_outcome(&d, DELIVERY_SENT, "2.0.0", "");
	assert_int_equal(count_names(f, "small/v/Maildir/tmp"), 0);
	assert_int_equal(count_names(f, "small/v/Maildir/new"), 0);
	letter_clear(&f->letter);
	assert_int_equal(
	    letter_init(&f->letter, memfd_of("A: b\r\n\r\n"), memfd_of("x\r\n"), 3, 0, &err), 0);
	c = make_copy(f, 1, "small/v");
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_SENT, "2.0.0", "");
	box_cache_clear(f->config.boxes); /* they keep it mounted */
	assert_int_equal(umount(mail), 0);
	free(body);
}

static void
test_short_body(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v");
	struct err err;
	char path[100];
	int fd;

	snprintf(path, sizeof path, "%s/body", f->dir);
	put_file(f, "body", "a long enough body\r\n");
	fd = open(path, O_RDONLY);
	assert_int_equal(letter_init(&f->letter, memfd_of("A: b\r\n\r\n"), fd, 20, 0, &err), 0);
	put_file(f, "body", "cut\r\n"); /* behind our back */
	run_one(f, &c);
	assert_outcome(&c, DELIVERY_DEFERRED, "4.3.0", "No data available");
	assert_int_equal(count_names(f, "v/Maildir/tmp") + count_names(f, "v/Maildir/new"), 0);
}

static void
test_clean_tmp(void **state)
{
	struct fixture *f = *state;
	struct copy c = make_copy(f, 1, "v");
	struct outcome why;
	struct box box;

	set_letter(f, "A: b\r\n\r\n", "x\r\n");
	run_one(f, &c);
	put_file(f, "v/Maildir/tmp/left.over", "x");
	assert_int_equal(box_open(f->base_fd, "v", &box, &why), 0);
	box_clean_tmp(&box, clock_wall_ms() / 1000 + 35 * 3600);
	assert_int_equal(count_names(f, "v/Maildir/tmp"), 1);
	box_clean_tmp(&box, clock_wall_ms() / 1000 + 37 * 3600);
	assert_int_equal(count_names(f, "v/Maildir/tmp"), 0);
	box_close(&box);
}

static void
test_host_in_names(void **state)
{
	char name[BOX_NAME_MAX], host[300];

	(void)state;
	box_base_name(name, 5000, "Q", 1, "a/b:c,d e");
	assert_string_equal(name, "5.QQR1.a\\057b\\072c\\054d\\040e");
	memset(host, '/', sizeof host - 1);
	host[sizeof host - 1] = '\0';
	box_base_name(
	    name, INT64_MAX, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeee", UINT32_MAX, host);
	assert_true(strlen(name) < BOX_NAME_MAX - 1);
	assert_int_equal(box_base_length("a.b.c,S=1:2,S"), 5);
	assert_int_equal(box_base_length("a.b.c:2,S"), 5);
	assert_int_equal(box_base_length("a.b.c"), 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_deliver),
		TEST(test_original_address_and_offset),
		TEST(test_batch),
		TEST(test_links),
		TEST(test_bad_homes),
		TEST(test_foreign_owner),
		TEST(test_replaced_between_batches),
		TEST(test_held_open),
		TEST(test_maybe_done),
		TEST(test_never_replaces),
		TEST(test_loop),
		TEST(test_maildirsize),
		TEST(test_full_disk),
		TEST(test_short_body),
		TEST(test_clean_tmp),
		cmocka_unit_test(test_host_in_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
