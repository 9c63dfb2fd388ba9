#include "common/net/stream.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/net/addr.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { PATIENCE_MS = 5000 };

struct fixture {
	struct loop *loop;
	int peer; /* the other end, blocking is off */
	struct stream *s;
	struct buf got;
	int inputs, drained, closed;
	struct err why;
	bool keeps_input, frees_in_input, finishes_in_input, frees_in_close;
};

static void
on_input(void *arg, struct stream *s)
{
	struct fixture *f = arg;
	struct view in = stream_input(s);

	f->inputs++;
	if (f->frees_in_input) {
		stream_free(s);
		f->s = NULL;
		return;
	}
	if (f->keeps_input)
		return;
	assert_int_equal(buf_append_view(&f->got, in), 0);
	stream_consume(s, in.len);
	if (f->finishes_in_input) {
		stream_printf(s, "bye %d\r\n", 1);
		stream_finish(s, PATIENCE_MS);
		f->s = NULL;
	}
}

static void
on_drained(void *arg, struct stream *s)
{
	(void)s;
	((struct fixture *)arg)->drained++;
}

static void
on_close(void *arg, struct stream *s, const struct err *why)
{
	struct fixture *f = arg;

	f->closed++;
	f->why = *why;
	if (f->frees_in_close) {
		stream_free(s);
		f->s = NULL;
	}
}

static const struct stream_ops ops = { on_input, on_drained, NULL, on_close };
static const struct stream_limits limits = { 4096, 65536 };

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int fds[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	f->loop = loop_new();
	f->peer = fds[1];
	buf_init(&f->got, 1 << 22);
	f->s = stream_new(f->loop, fds[0], &limits, &ops, f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	stream_free(f->s);
	fd_close(&f->peer);
	buf_clear(&f->got);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* A loop that has nothing to wait for would return at once: the timer bounds it. */
static void
on_nothing(void *arg)
{
	(void)arg;
}

#define RUN_UNTIL(f, what)                                                                         \
	do {                                                                                       \
		int64_t until = clock_mono_ms() + PATIENCE_MS;                                     \
		while (!(what) && clock_mono_ms() < until)                                         \
			turn(f);                                                                   \
		assert_true(what);                                                                 \
	} while (0)

static void
turn(struct fixture *f)
{
	struct loop_timer t;

	loop_timer_init(&t, f->loop, on_nothing, NULL);
	loop_timer_start(&t, 10);
	loop_run_once(f->loop, true);
	loop_timer_stop(&t);
}

static void
turns(struct fixture *f, int n)
{
	while (n-- > 0)
		turn(f);
}

static void
bytes_go_both_ways(void **state)
{
	struct fixture *f = *state;
	char text[16] = "";

	assert_int_equal(send(f->peer, "hello", 5, 0), 5);
	RUN_UNTIL(f, f->got.len == 5);
	stream_want_drained(f->s);
	assert_int_equal(stream_printf(f->s, "%s!", "there"), 0);
	assert_int_equal(stream_output_pending(f->s), 6);
	RUN_UNTIL(f, f->drained == 1);
	assert_int_equal(recv(f->peer, text, sizeof text, 0), 6);
	assert_memory_equal(text, "there!", 6);
	assert_int_equal(stream_output_pending(f->s), 0);
}

static void
full_input_stops_the_peer(void **state)
{
	struct fixture *f = *state;
	static char block[1 << 20];
	ssize_t sent = 0, n;
	size_t total;

	f->keeps_input = true;
	for (int i = 0; i < 20; i++) {
		while ((n = send(f->peer, block, sizeof block, MSG_DONTWAIT)) > 0)
			sent += n;
		turn(f);
	}
	assert_int_equal(stream_input(f->s).len, limits.input_max);
	assert_true(sent < (ssize_t)sizeof block);
	f->keeps_input = false;
	stream_poke(f->s);
	total = (size_t)sent;
	RUN_UNTIL(f, f->got.len == total);
}

static void
paused_stream_reads_nothing(void **state)
{
	struct fixture *f = *state;

	stream_pause(f->s, true);
	assert_int_equal(send(f->peer, "x", 1, 0), 1);
	turns(f, 3);
	assert_int_equal(f->inputs, 0);
	stream_pause(f->s, false);
	RUN_UNTIL(f, f->inputs == 1);
}

static void
too_much_output_ends_it(void **state)
{
	struct fixture *f = *state;
	static char block[60000];

	assert_int_equal(stream_write(f->s, block, sizeof block), 0);
	assert_int_equal(stream_write(f->s, block, sizeof block), -1);
	assert_int_equal(f->closed, 0); /* never from inside a call */
	RUN_UNTIL(f, f->closed == 1);
	assert_int_equal(f->why.kind, ERR_LIMIT);
	assert_int_equal(stream_write(f->s, "x", 1), -1);
	turns(f, 3);
	assert_int_equal(f->closed, 1);
}

static void
deadline_passes(void **state)
{
	struct fixture *f = *state;

	stream_set_deadline(f->s, 30);
	RUN_UNTIL(f, f->closed == 1);
	assert_int_equal(f->why.kind, ERR_TEMP);
	assert_int_equal(f->why.sys, ETIMEDOUT);
}

static void
deadline_can_be_moved(void **state)
{
	struct fixture *f = *state;

	stream_set_deadline(f->s, 20);
	stream_set_deadline(f->s, 0);
	turns(f, 5);
	assert_int_equal(f->closed, 0);
}

static void
end_comes_after_the_last_input(void **state)
{
	struct fixture *f = *state;

	f->frees_in_close = true;
	assert_int_equal(send(f->peer, "QUIT", 4, 0), 4);
	shutdown(f->peer, SHUT_WR);
	RUN_UNTIL(f, f->closed == 1);
	assert_int_equal(f->got.len, 4);
	assert_int_equal(f->why.kind, ERR_GONE);
	assert_null(f->s);
}

static void
end_waits_for_a_paused_owner(void **state)
{
	struct fixture *f = *state;

	f->keeps_input = true;
	assert_int_equal(send(f->peer, "A", 1, 0), 1);
	RUN_UNTIL(f, f->inputs == 1);
	stream_pause(f->s, true);
	shutdown(f->peer, SHUT_WR);
	turns(f, 3);
	assert_int_equal(f->closed, 0);
	stream_pause(f->s, false);
	RUN_UNTIL(f, f->closed == 1);
	assert_int_equal(stream_input(f->s).len, 1);
}

static void
finish_sends_the_last_words(void **state)
{
	struct fixture *f = *state;
	char text[64];
	size_t len = 0;
	ssize_t n = -1;

	f->finishes_in_input = true;
	assert_int_equal(send(f->peer, "QUIT and more", 13, 0), 13);
	RUN_UNTIL(f, f->s == NULL);
	assert_int_equal(send(f->peer, "unread", 6, MSG_NOSIGNAL), 6);
	while (n != 0) {
		turn(f);
		n = recv(f->peer, text + len, sizeof text - len, 0);
		if (n > 0)
			len += (size_t)n;
	}
	assert_int_equal(len, 7);
	assert_memory_equal(text, "bye 1\r\n", 7);
	fd_close(&f->peer);
	turns(f, 3); /* it sees our end and goes */
	assert_int_equal(f->closed, 0);
}

/* Without a turn of the loop: the process may end now. */
static void
finish_sends_at_once(void **state)
{
	struct fixture *f = *state;
	char text[64];

	assert_int_equal(stream_printf(f->s, "bye\r\n"), 0);
	assert_false(stream_finish(f->s, PATIENCE_MS));
	f->s = NULL;
	assert_int_equal(recv(f->peer, text, sizeof text, 0), 5);
	assert_int_equal(recv(f->peer, text, sizeof text, 0), 0);
	fd_close(&f->peer);
	turns(f, 3);
}

static void
finish_gives_up_on_a_peer_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	static char block[60000];
	char waste[4096];
	ssize_t n;

	for (int i = 0; i < 20; i++) {
		if (stream_output_pending(f->s) == 0)
			assert_int_equal(stream_write(f->s, block, sizeof block), 0);
		turn(f);
	}
	assert_true(stream_finish(f->s, 30));
	f->s = NULL;
	turns(f, 10);
	do
		n = recv(f->peer, waste, sizeof waste, 0);
	while (n > 0);
	assert_int_equal(n, 0);
}

static void
freed_in_its_callback(void **state)
{
	struct fixture *f = *state;

	f->frees_in_input = true;
	assert_int_equal(send(f->peer, "x", 1, 0), 1);
	RUN_UNTIL(f, f->s == NULL);
	turns(f, 2);
}

static void
broken_peer_is_told_once(void **state)
{
	struct fixture *f = *state;

	fd_close(&f->peer);
	stream_write(f->s, "x", 1);
	RUN_UNTIL(f, f->closed == 1);
	assert_int_equal(f->why.kind, ERR_GONE);
	turns(f, 3);
	assert_int_equal(f->closed, 1);
}

static int
listen_local(struct sockaddr_storage *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *at;

	assert_true(addr_parse(VIEW_LIT("127.0.0.1"), at));
	assert_int_equal(bind(fd, (struct sockaddr *)at, addr_len(at)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static void
connects(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage at, local;
	struct err e;
	int listener = listen_local(&at), fd;
	char text[8];

	assert_true(addr_parse(VIEW_LIT("127.0.0.9"), &local));
	stream_free(f->s);
	f->s = stream_connect(f->loop, &at, &local, &limits, &ops, f, &e);
	assert_non_null(f->s);
	stream_want_drained(f->s);
	RUN_UNTIL(f, f->drained == 1);
	stream_write(f->s, "hi", 2);
	turns(f, 2);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(recv(fd, text, sizeof text, 0), 2);
	close(fd);
	close(listener);
	RUN_UNTIL(f, f->closed == 1);
}

static void
connection_refused(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_storage at;
	struct err e = { 0 };
	int listener = listen_local(&at);

	close(listener);
	stream_free(f->s);
	f->s = stream_connect(f->loop, &at, NULL, &limits, &ops, f, &e);
	if (f->s != NULL) {
		RUN_UNTIL(f, f->closed == 1);
		e = f->why;
	}
	assert_int_equal(e.kind, ERR_TEMP);
	assert_int_equal(e.sys, ECONNREFUSED);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_go_both_ways),
		T(full_input_stops_the_peer),
		T(paused_stream_reads_nothing),
		T(too_much_output_ends_it),
		T(deadline_passes),
		T(deadline_can_be_moved),
		T(end_comes_after_the_last_input),
		T(end_waits_for_a_paused_owner),
		T(finish_sends_the_last_words),
		T(finish_sends_at_once),
		T(finish_gives_up_on_a_peer_that_does_not_read),
		T(freed_in_its_callback),
		T(broken_peer_is_told_once),
		T(connects),
		T(connection_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
