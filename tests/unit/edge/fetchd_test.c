/* fetchd: what it answers from what is kept, when it asks anew, and what is on the disk.  No name of this test has an address,
 * so that every fetch fails. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dns.h"
#include "common/ipc/msg/fetch.h"
#include "common/net/dns.h"
#include "edge/fetchd.h"
#include "edge/sts_files.h"
#include "tests/unit/remove_all.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 10000, TICK_MS = 5 };

static struct {
	struct loop *loop;
	struct conf conf;
	char dir[64], files[80];
	struct fetchd *fetchd;
	struct ipc_conn *dnsd, *side;
	struct ipc_edge *dns_edge, *edge;
	struct loop_timer tick;
	unsigned lookups;
	bool is_done;
	uint32_t mode;
	char id[64], mx[200];
} t;

static void
on_dns(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	(void)arg;
	(void)ipc_get_str(in);
	t.lookups += ipc_get_u32(in) == DNS_A;
	ipc_reply_init(&o);
	ipc_put_u32(&o, DNS_NXDOMAIN);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "");
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler dns_rows[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_dns },
	{ 0, NULL, 0, NULL } };
static const struct ipc_conn_ops dns_ops = { dns_rows, NULL };

static void
on_tick(void *arg)
{
	(void)arg;
	loop_timer_start(&t.tick, TICK_MS);
}

static void
start(void)
{
	struct err err;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.dns_edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	t.dnsd = ipc_conn_new(t.loop, fds[1], &dns_ops, NULL);
	t.fetchd = fetchd_new(t.loop, t.dns_edge, NULL, &t.conf, t.dir, &err);
	if (t.fetchd == NULL)
		fail_msg("%s", err.text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	t.side = ipc_conn_new(t.loop, fds[1], &fetchd_caller_ops, NULL);
	fetchd_caller_open(t.fetchd, t.side);
	fetchd_start(t.fetchd);
}

static void
stop(void)
{
	ipc_edge_free(t.edge);
	ipc_conn_close(t.side);
	fetchd_free(t.fetchd);
	ipc_edge_free(t.dns_edge);
	ipc_conn_close(t.dnsd);
}

static int
setup(void **state)
{
	struct err err;

	(void)state;
	memset(&t, 0, sizeof t);
	snprintf(t.dir, sizeof t.dir, "/tmp/fetchd-test-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.files, sizeof t.files, "%s/sts", t.dir);
	assert_int_equal(mkdir(t.files, 0700), 0);
	t.loop = loop_new();
	loop_timer_init(&t.tick, t.loop, on_tick, NULL);
	on_tick(NULL);
	conf_init(&t.conf);
	assert_int_equal(conf_set(&t.conf, "smtp_tls_CAfile", "", "test", 1, &err), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	stop();
	loop_timer_stop(&t.tick);
	conf_clear(&t.conf);
	loop_free(t.loop);
	remove_all(t.dir);
	return 0;
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	(void)arg;
	assert_non_null(in);
	t.mode = ipc_get_u32(in);
	snprintf(t.id, sizeof t.id, "%s", ipc_get_str(in));
	snprintf(t.mx, sizeof t.mx, "%s", ipc_get_str(in));
	t.is_done = true;
}

static void
ask(const char *domain, const char *id)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	struct ipc_out o;

	t.is_done = false;
	ipc_out_init(&o, FETCH_STS_POLICY);
	ipc_put_str(&o, domain);
	ipc_put_str(&o, id);
	ipc_edge_ask(t.edge, &o, FETCH_STS_SIG, DEADLINE_MS, on_answer, NULL);
	while (!t.is_done && clock_mono_ms() < end)
		loop_run_once(t.loop, true);
	assert_true(t.is_done);
}

static void
write_file(const char *domain, const char *id, int64_t fetched, const char *policy)
{
	char path[300], text[1000];
	int fd;

	snprintf(path, sizeof path, "%s/%s", t.files, domain);
	snprintf(text, sizeof text, "%s %lld\n%s", id, (long long)fetched, policy);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static bool
has_file(const char *domain)
{
	char path[300];

	snprintf(path, sizeof path, "%s/%s", t.files, domain);
	return access(path, F_OK) == 0;
}

#define POLICY "version: STSv1\nmode: enforce\nmx: mx.one.test\nmax_age: 1000\n"

static void
what_is_kept_is_answered(void **state)
{
	int64_t now = clock_wall_ms() / 1000;

	(void)state;
	write_file("one.test", "a1", now - 10, POLICY);
	write_file("old.test", "a1", now - 1000, POLICY);
	start();
	ask("one.test", "");
	assert_int_equal(t.mode, STS_ENFORCE);
	assert_string_equal(t.id, "a1");
	assert_string_equal(t.mx, "mx.one.test\n");
	ask("ONE.test", "a1");
	assert_int_equal(t.mode, STS_ENFORCE);
	ask("old.test", "");
	assert_int_equal(t.mode, STS_NONE);
	ask("other.test", "");
	assert_int_equal(t.mode, STS_NONE);
	assert_int_equal(t.lookups, 0);
}

static void
a_failure_is_not_repeated_at_once(void **state)
{
	(void)state;
	write_file("one.test", "a1", clock_wall_ms() / 1000, POLICY);
	start();
	for (int i = 0; i < 3; i++) {
		ask("one.test", "b2");
		assert_int_equal(t.mode, STS_ENFORCE); /* the one that is known */
		assert_string_equal(t.id, "a1");
		ask("new.test", "1");
		assert_int_equal(t.mode, STS_NONE);
		assert_string_equal(t.id, "");
	}
	assert_int_equal(t.lookups, 2);
	ask("new.test", "2"); /* the pause is of one id */
	assert_int_equal(t.lookups, 3);
}

static void
nonsense_asks_nobody(void **state)
{
	static const char *const domains[] = { "", "[192.0.2.1]", "a..b", "../x", "a/b",
		"192.0.2.1", ".new" };

	(void)state;
	start();
	for (size_t i = 0; i < sizeof domains / sizeof domains[0]; i++) {
		ask(domains[i], "1");
		assert_int_equal(t.mode, STS_NONE);
	}
	ask("one.test", "../1");
	ask("one.test", "123456789012345678901234567890123");
	assert_int_equal(t.lookups, 0);
}

static void
damaged_files_are_deleted(void **state)
{
	int64_t now = clock_wall_ms() / 1000;

	(void)state;
	write_file("one.test", "a1", now, POLICY);
	write_file("id.test", "a-1", now, POLICY);
	write_file("cut.test", "a1", now, "version: STSv1\nmode: enf");
	write_file("empty.test", "", 0, "");
	write_file("b@d", "a1", now, POLICY);
	write_file(".new", "a1", now, POLICY);
	start();
	assert_true(has_file("one.test"));
	assert_false(has_file("id.test"));
	assert_false(has_file("cut.test"));
	assert_false(has_file("empty.test"));
	ask("one.test", "a1");
	assert_int_equal(t.mode, STS_ENFORCE);
}

static void
take_one(void *arg, const char *domain, struct sts_kept *kept)
{
	unsigned *count = arg;

	assert_string_equal(domain, "new.test");
	assert_string_equal(kept->id, "z9");
	assert_int_equal(kept->fetched, 1234567);
	assert_int_equal(kept->policy.mode, STS_TESTING);
	assert_int_equal(kept->policy.max_age, 77);
	assert_true(view_eq_str(buf_view(&kept->policy.mx), "*.new.test\n"));
	sts_policy_clear(&kept->policy);
	++*count;
}

static void
files_are_written_and_read(void **state)
{
	struct sts_kept kept = { .id = "z9", .fetched = 1234567 };
	struct work_pool *pool;
	unsigned count = 0;
	struct err err;

	(void)state;
	start();
	pool = work_pool_new(t.loop, 1);
	assert_int_equal(sts_policy_read(view_of("version: STSv1\nmode: testing\nmx: *.new.test\n"
						 "max_age: 77\n"),
			     &kept.policy, &err),
	    0);
	sts_files_write(pool, t.files, "new.test", &kept);
	sts_files_write(pool, t.files, "gone.test", &kept);
	sts_files_remove(pool, t.files, "gone.test");
	sts_files_remove(pool, t.files, "never.test");
	work_pool_free(pool);
	sts_policy_clear(&kept.policy);
	assert_int_equal(sts_files_load(t.files, take_one, &count, &err), 0);
	assert_int_equal(count, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_kept_is_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_is_not_repeated_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_asks_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_files_are_deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(files_are_written_and_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
