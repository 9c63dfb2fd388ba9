#include "common/base/clock.h"
#include "common/ipc/conn.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	ECHO = 1,
	SILENT = 2,
	LATE = 4,
	CLOSE_ME = 5,
	WITH_FD = 6,
	UNKNOWN = 99,
	TIMEOUT_MS = 10000
};

struct side {
	struct loop *loop;
	struct ipc_conn *client, *server;
	int fds[2];
	unsigned handled, closed, replies, nulls;
	uint32_t last;
	struct err why;
	struct ipc_call *call;
	int got_fd;
};

static void
on_echo(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct side *s = arg;
	uint32_t v = ipc_get_u32(in);
	struct ipc_out o;

	s->handled++;
	ipc_reply_init(&o);
	ipc_put_u32(&o, v + 1);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_silent(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)c;
	(void)in;
	((struct side *)arg)->handled++;
}

static void
on_close_me(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct side *s = arg;

	(void)in;
	s->handled++;
	ipc_conn_close(c);
	s->server = NULL;
}

static void
on_with_fd(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct side *s = arg;
	struct ipc_out o;

	s->got_fd = ipc_get_fd(in);
	ipc_reply_init(&o);
	ipc_put_u32(&o, 0);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct side *s = arg;

	s->closed++;
	s->why = *why;
	if (c == s->server)
		s->server = NULL;
	if (c == s->client)
		s->client = NULL;
}

static const struct ipc_handler rows[] = {
	{ ECHO, "u", IPC_STATE_ANY, on_echo },
	{ SILENT, "", IPC_STATE_ANY, on_silent },
	{ LATE, "", 2, on_silent },
	{ CLOSE_ME, "", IPC_STATE_ANY, on_close_me },
	{ WITH_FD, "h", IPC_STATE_ANY, on_with_fd },
	{ 0, NULL, 0, NULL },
};
static const struct ipc_conn_ops server_ops = { rows, on_close };
static const struct ipc_conn_ops client_ops = { NULL, on_close };

static int
setup(void **state)
{
	struct side *s = calloc(1, sizeof *s);

	s->loop = loop_new();
	s->got_fd = -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->fds), 0);
	s->client = ipc_conn_new(s->loop, s->fds[0], &client_ops, s);
	s->server = ipc_conn_new(s->loop, s->fds[1], &server_ops, s);
	*state = s;
	return 0;
}

static int
teardown(void **state)
{
	struct side *s = *state;

	ipc_conn_close(s->client);
	ipc_conn_close(s->server);
	for (int i = 0; i < 10; i++)
		loop_run_once(s->loop, false);
	if (s->got_fd >= 0)
		close(s->got_fd);
	loop_free(s->loop);
	free(s);
	return 0;
}

#define RUN_UNTIL(s, cond)                                                                         \
	do {                                                                                       \
		int64_t deadline_ = clock_mono_ms() + TIMEOUT_MS;                                  \
		while (!(cond)) {                                                                  \
			if (clock_mono_ms() > deadline_)                                           \
				fail_msg("%s: not in time", #cond);                                \
			loop_run_once((s)->loop, false);                                           \
		}                                                                                  \
	} while (0)

static void
on_reply(void *arg, struct ipc_in *in)
{
	struct side *s = arg;

	s->call = NULL;
	if (in == NULL) {
		s->nulls++;
		return;
	}
	s->replies++;
	s->last = ipc_get_u32(in);
}

static void
call_echo(struct side *s, uint32_t v)
{
	struct ipc_out o;

	ipc_out_init(&o, ECHO);
	ipc_put_u32(&o, v);
	s->call = ipc_conn_call(s->client, &o, "u", TIMEOUT_MS, on_reply, s);
}

static void
send_plain(struct side *s, uint16_t type)
{
	struct ipc_out o;

	ipc_out_init(&o, type);
	assert_int_equal(ipc_conn_send(s->client, &o), 0);
}

static void
test_calls(void **state)
{
	struct side *s = *state;

	for (uint32_t i = 0; i < 1000; i++)
		call_echo(s, i);
	RUN_UNTIL(s, s->replies == 1000);
	assert_int_equal(s->last, 1000);
	assert_int_equal(s->nulls, 0);
}

static void
test_cancel_and_timeout(void **state)
{
	struct side *s = *state;
	struct ipc_out o;

	call_echo(s, 1);
	ipc_call_cancel(s->call);
	RUN_UNTIL(s, s->handled == 1);
	for (int i = 0; i < 20; i++)
		loop_run_once(s->loop, false);
	assert_int_equal(s->replies + s->nulls, 0); /* the late answer is dropped */
	ipc_out_init(&o, SILENT);
	ipc_conn_call(s->client, &o, "u", 20, on_reply, s);
	RUN_UNTIL(s, s->nulls == 1);
	call_echo(s, 5); /* and the connection goes on */
	RUN_UNTIL(s, s->replies == 1);
	assert_int_equal(s->last, 6);
}

/* Unknown, out of turn, wrong fields: the connection ends, pending calls get NULL. */
static void
test_hostile_types(void **state)
{
	static const uint16_t bad[] = { UNKNOWN, LATE, ECHO };
	struct side *s = *state;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct ipc_out o;

		if (i > 0) {
			ipc_conn_close(s->client);
			s->client = NULL;
			assert_int_equal(
			    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s->fds), 0);
			s->client = ipc_conn_new(s->loop, s->fds[0], &client_ops, s);
			s->server = ipc_conn_new(s->loop, s->fds[1], &server_ops, s);
		}
		s->closed = s->nulls = 0;
		ipc_out_init(&o, SILENT);
		ipc_conn_call(s->client, &o, "u", TIMEOUT_MS, on_reply, s);
		send_plain(s, bad[i]); /* ECHO without its field */
		RUN_UNTIL(s, s->server == NULL && s->nulls == 1 && s->client == NULL);
		assert_int_equal(s->closed, 2);
	}
}

static void
test_states(void **state)
{
	struct side *s = *state;

	ipc_conn_set_state(s->server, 2);
	send_plain(s, LATE);
	RUN_UNTIL(s, s->handled == 1);
	assert_non_null(s->server);
}

static void
test_raw_garbage(void **state)
{
	static const char *const bad[] = { "", "x", "\1\0\0\0\0\0\0\0\1\0\0\0",
		"\1\0\1\0\0\0\0\0\0\0\0\0" };
	static const size_t lens[] = { 0, 1, 12, 12 };
	struct side *s = *state;

	for (size_t i = 1; i < 4; i++) {
		int sv[2];
		struct ipc_conn *c;

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
		c = ipc_conn_new(s->loop, sv[1], &server_ops, s);
		(void)c;
		s->closed = 0;
		assert_int_equal(send(sv[0], bad[i], lens[i], 0), lens[i]);
		RUN_UNTIL(s, s->closed == 1);
		close(sv[0]);
	}
}

static void
test_closed_in_handler(void **state)
{
	struct side *s = *state;

	send_plain(s, CLOSE_ME);
	send_plain(s, SILENT); /* never handled */
	RUN_UNTIL(s, s->client == NULL);
	assert_int_equal(s->handled, 1);
	assert_int_equal(s->closed, 1); /* ours; ipc_conn_close tells nobody */
}

static void
test_descriptor(void **state)
{
	struct side *s = *state;
	struct stat a, b;
	struct ipc_out o;
	int fd = open("/dev/null", O_RDONLY);

	ipc_out_init(&o, WITH_FD);
	ipc_put_fd(&o, fd);
	ipc_conn_call(s->client, &o, "u", TIMEOUT_MS, on_reply, s);
	RUN_UNTIL(s, s->replies == 1);
	assert_int_equal(fstat(fd, &a), 0);
	assert_int_equal(fstat(s->got_fd, &b), 0);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_int_equal(fcntl(s->got_fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

/* A peer that does not read: what is sent waits, with its descriptors, and then it is dropped. */
static void
test_backlog(void **state)
{
	struct side *s = *state;
	static char big[30000];
	int failed = 0;

	ipc_conn_pause(s->server, true);
	for (int i = 0; i < 1000 && !failed; i++) {
		struct ipc_out o;

		ipc_out_init(&o, SILENT);
		ipc_put_bytes(&o, big, sizeof big);
		failed = ipc_conn_send(s->client, &o) < 0;
		if (i == 50)
			assert_true(ipc_conn_backlog(s->client) > 0);
	}
	assert_true(failed);
	RUN_UNTIL(s, s->client == NULL);
	assert_int_equal(s->why.kind, ERR_LIMIT);
}

static void
test_pause(void **state)
{
	struct side *s = *state;

	ipc_conn_pause(s->server, true);
	for (int i = 0; i < 500; i++)
		send_plain(s, SILENT);
	for (int i = 0; i < 20; i++)
		loop_run_once(s->loop, false);
	assert_int_equal(s->handled, 0);
	ipc_conn_pause(s->server, false);
	RUN_UNTIL(s, s->handled == 500);
}

/* --- edges ------------------------------------------------------------------------------------------------- */
static int
listen_at(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
	assert_int_equal(listen(fd, 10), 0);
	return fd;
}

/* The listener outlives its server: a call made in between waits for the next one. */
static void
test_edge_reconnects(void **state)
{
	struct side *s = *state;
	char dir[] = "/tmp/conn_test.XXXXXX", path[64];
	struct ipc_edge *e;
	struct ipc_out o;
	uid_t uid;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/edge", dir);
	e = ipc_edge_new(s->loop, path, &client_ops, s);
	ipc_out_init(&o, ECHO);
	ipc_put_u32(&o, 1);
	ipc_edge_call(e, &o, "u", TIMEOUT_MS, on_reply, s);
	RUN_UNTIL(s, s->nulls == 1); /* nobody listens */
	fd = listen_at(path);
	for (uint32_t round = 1; round <= 2; round++) {
		struct ipc_conn *c;

		ipc_out_init(&o, ECHO);
		ipc_put_u32(&o, round);
		ipc_edge_call(e, &o, "u", TIMEOUT_MS, on_reply, s);
		loop_run_once(s->loop, false);
		assert_int_equal(s->replies, round - 1);
		c = ipc_conn_new(s->loop, accept4(fd, NULL, NULL, SOCK_CLOEXEC), &server_ops, s);
		ipc_conn_peer(c, NULL, &uid, NULL);
		assert_int_equal(uid, getuid());
		RUN_UNTIL(s, s->replies == round);
		s->closed = 0;
		ipc_conn_close(c);
		RUN_UNTIL(s, s->closed == 1 && ipc_edge_conn(e) == NULL);
	}
	ipc_edge_free(e);
	close(fd);
	unlink(path);
	rmdir(dir);
}

/* A question outlives two servers that end before they answer; who ends three times is not asked a fourth time. */
static void
test_question_is_asked_again(void **state)
{
	struct side *s = *state;
	char dir[] = "/tmp/conn_test.XXXXXX", path[64];
	struct ipc_edge *e;
	struct ipc_conn *c;
	struct ipc_out o;
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/edge", dir);
	fd = listen_at(path);
	e = ipc_edge_new(s->loop, path, NULL, NULL);
	for (unsigned deaths = 1; deaths <= 3; deaths++) {
		s->replies = s->nulls = 0;
		ipc_out_init(
		    &o, deaths == 2 ? ECHO : SILENT); /* the second dies with the question unread */
		if (deaths == 2)
			ipc_put_u32(&o, 7);
		ipc_edge_ask(e, &o, "u", TIMEOUT_MS, on_reply, s);
		for (unsigned i = 0; i < deaths; i++) {
			struct pollfd ready = { .fd = fd, .events = POLLIN };

			s->handled = 0;
			while (poll(&ready, 1, 0) == 0)
				loop_run_once(s->loop, false);
			c = ipc_conn_new(
			    s->loop, accept4(fd, NULL, NULL, SOCK_CLOEXEC), &server_ops, s);
			if (deaths != 2)
				RUN_UNTIL(s, s->handled == 1);
			ipc_conn_close(c);
			RUN_UNTIL(s, ipc_edge_conn(e) == NULL);
		}
		if (deaths == 3) {
			RUN_UNTIL(s, s->nulls == 1);
			break;
		}
		RUN_UNTIL(s, ipc_edge_conn(e) != NULL);
		if (deaths == 1) { /* lost for good: asked again of an edge that is freed */
			ipc_edge_free(e);
			RUN_UNTIL(s, s->nulls == 1);
			close(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
			e = ipc_edge_new(s->loop, path, NULL, NULL);
			continue;
		}
		c = ipc_conn_new(s->loop, accept4(fd, NULL, NULL, SOCK_CLOEXEC), &server_ops, s);
		RUN_UNTIL(s, s->replies == 1);
		assert_int_equal(s->last, 8);
		ipc_conn_close(c);
		RUN_UNTIL(s, ipc_edge_conn(e) == NULL);
	}
	ipc_edge_free(e);
	close(fd);
	unlink(path);
	rmdir(dir);
}

static void
test_edge_of_descriptor(void **state)
{
	struct side *s = *state;
	struct ipc_edge *e;
	struct ipc_conn *c;
	struct ipc_out o;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	e = ipc_edge_new_fd(s->loop, sv[0], NULL, NULL);
	c = ipc_conn_new(s->loop, sv[1], &server_ops, s);
	ipc_out_init(&o, ECHO);
	ipc_put_u32(&o, 41);
	ipc_edge_call(e, &o, "u", TIMEOUT_MS, on_reply, s);
	RUN_UNTIL(s, s->replies == 1);
	assert_int_equal(s->last, 42);
	ipc_conn_close(c);
	RUN_UNTIL(s, ipc_edge_conn(e) == NULL);
	ipc_out_init(&o, ECHO);
	ipc_put_u32(&o, 1);
	ipc_edge_call(e, &o, "u", TIMEOUT_MS, on_reply, s);
	assert_int_equal(s->nulls, 0); /* never from within */
	RUN_UNTIL(s, s->nulls == 1);
	ipc_edge_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_and_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_types, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_raw_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_in_handler, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backlog, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edge_reconnects, setup, teardown),
		cmocka_unit_test_setup_teardown(test_question_is_asked_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_edge_of_descriptor, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
