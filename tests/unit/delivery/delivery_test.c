/* delivery_test.c - the whole of delivery but for its cage: a qmgr and an authd of our own at the other ends. */
#include "delivery/delivery.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/delivery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RESULTS_MAX = 5000, DEADLINE_MS = 20000 };

struct result {
	uint32_t job, number, status;
	char dsn[10], text[300];
};

struct fixture {
	struct loop *loop;
	char dir[64];
	struct delivery *delivery;
	struct ipc_conn *qmgr, *authd; /* our ends */
	struct result results[RESULTS_MAX];
	unsigned nresults, notes, want_authd, idle, drained, asked;
	bool authd_is_silent, qmgr_lost;
	uint32_t status, uid;
};

static void
on_result(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	struct result *r = &f->results[f->nresults++];

	(void)c;
	assert_true(f->nresults < RESULTS_MAX);
	r->job = ipc_get_u32(in);
	r->number = ipc_get_u32(in);
	r->status = ipc_get_u32(in);
	snprintf(r->dsn, sizeof r->dsn, "%s", ipc_get_str(in));
	snprintf(r->text, sizeof r->text, "%s", ipc_get_str(in));
}

static const struct ipc_handler qmgr_rows[] = {
	{ DELIVERY_RESULT, DELIVERY_RESULT_SIG, IPC_STATE_ANY, on_result },
	{ .fn = NULL },
};

static void
on_question(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fixture *f = arg;
	const char *address = ipc_get_str(in);
	struct ipc_out o;
	char home[300];

	f->asked++;
	if (f->authd_is_silent)
		return;
	snprintf(home, sizeof home, "example.test/%.*s", (int)strcspn(address, "@"), address);
	ipc_reply_init(&o);
	ipc_put_u32(&o, strncmp(address, "nobody", 6) == 0 ? AUTHD_NO : f->status);
	ipc_put_str(&o, address);
	ipc_put_u32(&o, f->uid);
	ipc_put_u32(&o, getegid());
	ipc_put_str(&o, home);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler authd_rows[] = {
	{ AUTHD_MAILBOX, "s", IPC_STATE_ANY, on_question },
	{ .fn = NULL },
};

static void
on_authd_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct fixture *f = arg;

	(void)why;
	if (f->authd == c)
		f->authd = NULL;
}

static void
on_qmgr_gone(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct fixture *f = arg;

	(void)why;
	if (f->qmgr == c)
		f->qmgr = NULL;
	f->qmgr_lost = true;
}

static void
connect_qmgr(struct fixture *f)
{
	static const struct ipc_conn_ops ops = { .handlers = qmgr_rows, .on_close = on_qmgr_gone };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->qmgr = ipc_conn_new(f->loop, pair[0], &ops, f);
	delivery_add_qmgr(f->delivery, pair[1]);
}

static void
connect_authd(struct fixture *f)
{
	static const struct ipc_conn_ops ops = { .handlers = authd_rows,
		.on_close = on_authd_gone };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->authd = ipc_conn_new(f->loop, pair[0], &ops, f);
	delivery_set_authd(f->delivery, pair[1]);
}

static void
on_changed(void *arg, const char *account)
{
	struct fixture *f = arg;

	assert_true(strlen(account) > 0);
	f->notes++;
}

static void
on_want_authd(void *arg)
{
	((struct fixture *)arg)->want_authd++;
}

static void
on_idle(void *arg)
{
	((struct fixture *)arg)->idle++;
}

static void
on_drained(void *arg)
{
	((struct fixture *)arg)->drained++;
}

static int
setup(void **state)
{
	static const struct delivery_ops ops = { on_changed, on_want_authd, on_idle, on_drained };
	struct fixture *f = x_calloc(1, sizeof *f);
	struct delivery_config config = {
		.uid = geteuid(), .host = "mx", .batch_limit = 20, .max_idle_ms = 50
	};

	snprintf(f->dir, sizeof f->dir, "/tmp/delivery_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	umask(066);
	config.base_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->loop = loop_new();
	f->uid = geteuid();
	f->delivery = delivery_new(f->loop, &config, &ops, f);
	delivery_start(f->delivery);
	connect_qmgr(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	pid_t pid;

	delivery_free(f->delivery);
	ipc_conn_close(f->qmgr);
	ipc_conn_close(f->authd);
	loop_free(f->loop);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", f->dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	free(f);
	return 0;
}

/* Turns the loop until *count >= want. */
static void
wait_for(struct fixture *f, const unsigned *count, unsigned want)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	while (*count < want && clock_mono_ms() < deadline) {
		loop_run_once(f->loop, false);
		usleep(200);
	}
	assert_true(*count >= want);
}

static void
send_job(struct fixture *f, uint32_t job, const char *queue_id, const char *const *addresses,
    uint32_t flags)
{
	static const char headers[] = "Subject: hi\r\n\r\n", body[] = "hello\r\n";
	struct ipc_out o;
	struct err err;
	int hfd = memfd_sealed("h", headers, sizeof headers - 1, &err);
	int bfd = memfd_sealed("b", body, sizeof body - 1, &err);

	ipc_out_init(&o, DELIVERY_JOB);
	ipc_put_u32(&o, job);
	ipc_put_str(&o, queue_id);
	ipc_put_str(&o, "sender@x.example");
	ipc_put_u64(&o, 1795409323000);
	ipc_put_u64(&o, sizeof body - 1);
	ipc_put_u64(&o, 0);
	ipc_put_fd(&o, hfd);
	ipc_put_fd(&o, bfd);
	for (uint32_t i = 0; addresses[i] != NULL; i++) {
		ipc_put_u32(&o, i);
		ipc_put_str(&o, addresses[i]);
		ipc_put_str(&o, "");
		ipc_put_u32(&o, flags);
	}
	assert_int_equal(ipc_conn_send(f->qmgr, &o), 0);
	fd_close(&hfd);
	fd_close(&bfd);
}

static unsigned
count_new(struct fixture *f, const char *user)
{
	char path[200];
	unsigned n = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "%s/example.test/%s/Maildir/new", f->dir, user);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	if (d != NULL)
		closedir(d);
	return n;
}

static const struct result *
result_of(const struct fixture *f, uint32_t job, uint32_t number)
{
	const struct result *r = NULL;

	for (unsigned i = 0; i < f->nresults; i++) {
		if (f->results[i].job != job || f->results[i].number != number)
			continue;
		assert_null(r); /* answered once only */
		r = &f->results[i];
	}
	assert_non_null(r);
	return r;
}

static void
test_one_job(void **state)
{
	static const char *const to[] = { "alice@example.test", "nobody@example.test",
		"bob@example.test", NULL };
	struct fixture *f = *state;

	connect_authd(f);
	send_job(f, 7, "4kFzAb12Cdz9", to, 0);
	wait_for(f, &f->nresults, 3);
	assert_int_equal(result_of(f, 7, 0)->status, DELIVERY_SENT);
	assert_string_equal(result_of(f, 7, 0)->text, "delivered to maildir");
	assert_int_equal(result_of(f, 7, 1)->status, DELIVERY_BOUNCED);
	assert_string_equal(result_of(f, 7, 1)->dsn, "5.1.1");
	assert_string_equal(result_of(f, 7, 1)->text, "unknown user: \"nobody@example.test\"");
	assert_int_equal(result_of(f, 7, 2)->status, DELIVERY_SENT);
	assert_int_equal(count_new(f, "alice"), 1);
	assert_int_equal(count_new(f, "bob"), 1);
	assert_int_equal(f->notes, 2);
}

/* Many jobs for a few mailboxes: each recipient answered once, few questions, few notes, all delivered. */
static void
test_many_jobs(void **state)
{
	static const char *const to[] = { "alice@example.test", "bob@example.test", NULL };
	struct fixture *f = *state;
	char id[30];

	connect_authd(f);
	for (unsigned i = 0; i < 600; i++) {
		snprintf(id, sizeof id, "Q%u", i);
		send_job(f, i, id, to, 0);
		loop_run_once(f->loop, false);
	}
	wait_for(f, &f->nresults, 1200);
	for (unsigned i = 0; i < 600; i++) {
		assert_int_equal(result_of(f, i, 0)->status, DELIVERY_SENT);
		assert_int_equal(result_of(f, i, 1)->status, DELIVERY_SENT);
	}
	assert_int_equal(count_new(f, "alice"), 600);
	assert_int_equal(count_new(f, "bob"), 600);
	assert_true(f->asked < 20);
	assert_true(f->notes <= 600);
}

static void
test_wrong_uid_and_status(void **state)
{
	static const char *const to[] = { "alice@example.test", NULL };
	struct fixture *f = *state;

	connect_authd(f);
	f->uid = geteuid() + 1;
	send_job(f, 1, "Q1", to, 0);
	wait_for(f, &f->nresults, 1);
	assert_int_equal(f->results[0].status, DELIVERY_DEFERRED);
	f->uid = geteuid();
	f->status = AUTHD_FULL;
	send_job(f, 2, "Q2", to, 0);
	wait_for(f, &f->nresults, 2);
	assert_string_equal(f->results[1].dsn, "4.2.2");
	f->status = AUTHD_TEMP;
	send_job(f, 3, "Q3", to, 0);
	wait_for(f, &f->nresults, 3);
	assert_int_equal(f->results[2].status, DELIVERY_DEFERRED);
	assert_int_equal(count_new(f, "alice"), 0);
}

/* authd goes away with a question in its hands: a new edge is asked for, the question put again. */
static void
test_authd_lost(void **state)
{
	static const char *const to[] = { "alice@example.test", NULL };
	struct fixture *f = *state;

	connect_authd(f);
	f->authd_is_silent = true;
	send_job(f, 1, "Q1", to, 0);
	wait_for(f, &f->asked, 1);
	ipc_conn_close(f->authd);
	f->authd = NULL;
	wait_for(f, &f->want_authd, 1);
	f->authd_is_silent = false;
	connect_authd(f);
	wait_for(f, &f->nresults, 1);
	assert_int_equal(f->results[0].status, DELIVERY_SENT);
	assert_int_equal(f->asked, 2);
}

/* qmgr dies; its successor asks again, and there is one copy in the end. */
static void
test_qmgr_lost(void **state)
{
	static const char *const to[] = { "alice@example.test", NULL };
	struct fixture *f = *state;
	char id[30];

	connect_authd(f);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof id, "Q%u", i);
		send_job(f, i, id, to, 0);
	}
	wait_for(f, &f->notes, 1); /* some are delivered, some are under way, some wait */
	ipc_conn_close(f->qmgr);
	f->nresults = 0;
	connect_qmgr(f);
	for (unsigned i = 0; i < 50; i++) {
		snprintf(id, sizeof id, "Q%u", i);
		send_job(f, i, id, to, DELIVERY_MAYBE_DONE);
	}
	wait_for(f, &f->nresults, 50);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(result_of(f, i, 0)->status, DELIVERY_SENT);
	assert_int_equal(count_new(f, "alice"), 50);
}

static void
test_bad_jobs(void **state)
{
	static const char *const to[] = { "alice@example.test", NULL };
	struct fixture *f = *state;
	struct ipc_out o;
	int fd;

	connect_authd(f);
	send_job(f, 1, "../../x", to, 0);
	wait_for(f, &f->nresults, 1);
	assert_int_equal(f->results[0].status, DELIVERY_DEFERRED);
	/* headers that are not sealed */
	fd = memfd_create("h", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ipc_out_init(&o, DELIVERY_JOB);
	ipc_put_u32(&o, 2);
	ipc_put_str(&o, "Q2");
	ipc_put_str(&o, "");
	for (int i = 0; i < 3; i++)
		ipc_put_u64(&o, 0);
	ipc_put_fd(&o, fd);
	ipc_put_fd(&o, fd);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "alice@example.test");
	ipc_put_str(&o, "");
	ipc_put_u32(&o, 0);
	assert_int_equal(ipc_conn_send(f->qmgr, &o), 0);
	fd_close(&fd);
	wait_for(f, &f->nresults, 2);
	assert_int_equal(f->results[1].status, DELIVERY_DEFERRED);
	assert_string_equal(f->results[1].dsn, "4.3.0");
	/* a message that is none ends the connection, not the process */
	ipc_out_init(&o, 77);
	assert_int_equal(ipc_conn_send(f->qmgr, &o), 0);
	for (int64_t end = clock_mono_ms() + DEADLINE_MS; !f->qmgr_lost && clock_mono_ms() < end;)
		loop_run_once(f->loop, false);
	assert_true(f->qmgr_lost);
	connect_qmgr(f);
	send_job(f, 3, "Q3", to, 0);
	wait_for(f, &f->nresults, 3);
	assert_int_equal(f->results[2].status, DELIVERY_SENT);
}

static void
test_idle_and_drain(void **state)
{
	static const char *const to[] = { "alice@example.test", NULL };
	struct fixture *f = *state;

	connect_authd(f);
	wait_for(f, &f->idle, 2);
	send_job(f, 1, "Q1", to, 0);
	wait_for(f, &f->asked, 1);
	assert_int_equal(f->nresults, 0);
	delivery_drain(f->delivery);
	wait_for(f, &f->drained, 1);
	wait_for(f, &f->nresults, 1); /* what was begun was finished and told */
	assert_int_equal(f->results[0].status, DELIVERY_SENT);
	send_job(f, 2, "Q2", to, 0);
	for (int i = 0; i < 100; i++)
		loop_run_once(f->loop, false);
	assert_int_equal(f->nresults, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_job),
		TEST(test_many_jobs),
		TEST(test_wrong_uid_and_status),
		TEST(test_authd_lost),
		TEST(test_qmgr_lost),
		TEST(test_bad_jobs),
		TEST(test_idle_and_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
