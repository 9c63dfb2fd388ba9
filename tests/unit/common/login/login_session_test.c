/* The session side of a login, with a daemon of three words: "ok TAG", "no TAG", "bye".  The test is master, login front,
 * authd and client at the ends of socketpairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "common/login/login_session.h"
#include "tests/unit/common/login/log_capture.h"
#include "tests/unit/remove_all.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum { DEADLINE_MS = 20000, CLIENTS = 3 };

struct toy_session {
	struct login_session login;
	bool was_zero;
};

struct client {
	int control, stream, authd; /* our ends */
	char got[4096];
	size_t len;
	bool is_closed;
};

struct world {
	struct loop *loop;
	struct loop_timer tick;
	char base[64], dir[80];
	struct login_account account;
	struct client clients[CLIENTS];
	unsigned idle, drained, started;
};

/* --- the daemon ---------------------------------------------------------------------------------------------- */

static bool
toy_tag_is_valid(const char *tag)
{
	return strcmp(tag, "t") == 0;
}

static void
toy_start(struct login_session *s, const char *tag)
{
	struct world *w = s->account->arg;

	assert_non_null(s->account->store);
	assert_false(((struct toy_session *)s)->was_zero);
	((struct toy_session *)s)->was_zero = true;
	w->started++;
	stream_printf(s->stream, "ok %s\n", tag);
}

static void
toy_refuse(struct stream *to, const char *tag, enum login_refusal why)
{
	stream_printf(to, "no %s %s\n", tag, why == LOGIN_REFUSED_LIMIT ? "limit" : "unavailable");
}

static void
toy_stop(struct login_session *s)
{
	stream_printf(s->stream, "bye\n");
	login_session_end(s, "Server shutting down");
}

static void
toy_free(struct login_session *s)
{
	login_session_end(s, "Freed");
}

/* "big" is answered with more than a socket takes, "quit" ends. */
static void
toy_on_input(void *arg, struct stream *stream)
{
	struct login_session *s = arg;
	static char big[1 << 20];
	struct view in = stream_input(stream);

	if (view_find(in, VIEW_LIT("big")) != NULL)
		assert_int_equal(stream_write(stream, big, sizeof big), 0);
	if (view_find(in, VIEW_LIT("quit")) != NULL)
		login_session_end(s, "Logged out");
	else
		stream_consume(stream, in.len);
}

static void
toy_on_close(void *arg, struct stream *stream, const struct err *why)
{
	struct login_session *s = arg;

	(void)stream;
	s->is_broken = why->kind != ERR_GONE;
	login_session_end(s, "Connection closed");
}

static const struct login_session_ops toy_ops = {
	.service = "toy",
	.size = sizeof(struct toy_session),
	.limits = { 4096, 2 << 20 },
	.stream = { .on_input = toy_on_input, .on_close = toy_on_close },
	.tag_is_valid = toy_tag_is_valid,
	.start = toy_start,
	.refuse = toy_refuse,
	.stop = toy_stop,
	.free = toy_free,
};

/* --- life ------------------------------------------------------------------------------------------------------ */

static void
on_tick(void *arg)
{
	(void)arg;
}

static void
count_idle(void *arg)
{
	((struct world *)arg)->idle++;
}

static void
count_drained(void *arg)
{
	((struct world *)arg)->drained++;
}

static void
start_account(struct world *w, int64_t linger_ms)
{
	static const struct login_account_events events = { count_idle, count_drained };
	/* in its jail a process has no other name for its home than this */
	struct login_account_config config = {
		.account = "bob@example.test",
		.home = ".",
		.store = { .maildir = "Maildir",
		    .host = "test",
		    .index_map_bytes = 1 << 20,
		    .changes_kept = 10 },
		.sessions_max = 2,
		.linger_ms = linger_ms,
	};

	login_account_init(&w->account, w->loop, &config, &toy_ops, &events, w);
	login_account_start(&w->account);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	snprintf(w->base, sizeof w->base, "/tmp/login-session-XXXXXX");
	assert_non_null(mkdtemp(w->base));
	snprintf(w->dir, sizeof w->dir, "%s/home", w->base);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	assert_int_equal(chdir(w->dir), 0);
	w->loop = loop_new();
	loop_timer_init(&w->tick, w->loop, on_tick, w);
	for (int i = 0; i < CLIENTS; i++)
		w->clients[i] = (struct client){ .control = -1, .stream = -1, .authd = -1 };
	log_capture_start();
	start_account(w, 30);
	*state = w;
	return 0;
}

static void
client_clear(struct client *c)
{
	fd_close(&c->control);
	fd_close(&c->stream);
	fd_close(&c->authd);
	*c = (struct client){ .control = -1, .stream = -1, .authd = -1 };
}

static int
teardown(void **state)
{
	struct world *w = *state;

	login_account_clear(&w->account);
	for (int i = 0; i < CLIENTS; i++)
		client_clear(&w->clients[i]);
	for (int i = 0; i < 50; i++) /* streams that are being finished see their peer go */
		loop_run_once(w->loop, false);
	loop_timer_stop(&w->tick);
	loop_free(w->loop);
	assert_int_equal(chdir("/"), 0);
	remove_all(w->base);
	log_capture_show();
	log_capture_end();
	free(w);
	return 0;
}

static void
turn(struct world *w)
{
	loop_timer_start(&w->tick, 5);
	loop_run_once(w->loop, true);
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &w->clients[i];
		ssize_t n;

		while (c->stream >= 0 && !c->is_closed && c->len < sizeof c->got - 1 &&
		       (n = recv(c->stream, c->got + c->len, sizeof c->got - 1 - c->len,
			    MSG_DONTWAIT)) >= 0) {
			c->is_closed = n == 0;
			c->len += (size_t)n;
		}
	}
}

#define RUN_UNTIL(w, what)                                                                         \
	do {                                                                                       \
		int64_t until_ = clock_mono_ms() + DEADLINE_MS;                                    \
		while (!(what) && clock_mono_ms() < until_)                                        \
			turn(w);                                                                   \
		assert_true(what);                                                                 \
	} while (0)

/* --- the peers ---------------------------------------------------------------------------------------------------- */

static void
send_packet(int fd, struct ipc_out *o, uint32_t id)
{
	unsigned char packet[8192] = { (unsigned char)o->type, (unsigned char)(o->type >> 8) };

	assert_true(o->body.len + IPC_HEADER <= sizeof packet);
	for (int i = 0; i < 4; i++) {
		packet[4 + i] = (unsigned char)(id >> (8 * i));
		packet[8 + i] = (unsigned char)(o->body.len >> (8 * i));
	}
	if (o->body.len > 0)
		memcpy(packet + IPC_HEADER, o->body.p, o->body.len);
	assert_true(send(fd, packet, IPC_HEADER + o->body.len, MSG_NOSIGNAL) > 0);
	ipc_out_clear(o);
}

static struct client *
connect_client(struct world *w, int n)
{
	struct client *c = &w->clients[n];
	int control[2], stream[2], authd[2];

	client_clear(c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, authd), 0);
	c->control = control[0];
	c->stream = stream[0];
	c->authd = authd[0];
	login_account_login(
	    &w->account, VIEW_LIT("0123456789abcdef"), control[1], stream[1], authd[1]);
	return c;
}

/* What authd is asked, and its answer. */
static void
redeem(struct world *w, struct client *c, uint32_t status, const char *account)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	unsigned char packet[4096];
	struct ipc_in in = { 0 };
	struct ipc_out o;
	struct err err;
	ssize_t n;

	while ((n = recv(c->authd, packet, sizeof packet, MSG_DONTWAIT)) < 0) {
		assert_true(clock_mono_ms() < until);
		turn(w);
	}
	assert_int_equal(ipc_in_parse(&in, packet, (size_t)n, &err), 0);
	assert_int_equal(in.type, AUTHD_REDEEM);
	assert_int_equal(ipc_in_check(&in, "b", &err), 0);
	assert_true(view_eq_str(ipc_get_bytes(&in), "0123456789abcdef"));
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_str(&o, account);
	send_packet(c->authd, &o, in.id);
}

static void
hello(struct client *c, const char *tag, const char *id)
{
	struct ipc_out o;

	ipc_out_init(&o, LOGIN_HELLO);
	ipc_put_str(&o, tag);
	ipc_put_str(&o, "192.0.2.1");
	ipc_put_str(&o, "192.0.2.2");
	ipc_put_str(&o, id);
	ipc_put_u32(&o, 40000);
	ipc_put_u32(&o, 993);
	ipc_put_u32(&o, LOGIN_HAS_TLS);
	ipc_put_str(&o, "TLSv1.3");
	send_packet(c->control, &o, 0);
}

static struct client *
hand_over(struct world *w, int n)
{
	struct client *c = connect_client(w, n);

	redeem(w, c, AUTHD_OK, "bob@example.test");
	hello(c, "t", "sEsSiOn");
	return c;
}

static struct client *
login(struct world *w, int n)
{
	struct client *c = hand_over(w, n);

	RUN_UNTIL(w, strcmp(c->got, "ok t\n") == 0);
	return c;
}

static void
expect_refusal(struct world *w, int n, const char *text)
{
	struct client *c = hand_over(w, n);

	RUN_UNTIL(w, c->is_closed);
	assert_string_equal(c->got, text);
}

/* The hand-over ends without a word to the client, the process stays. */
static void
expect_silent_end(struct world *w, struct client *c, const char *line)
{
	RUN_UNTIL(w, c->is_closed);
	assert_int_equal(c->len, 0);
	assert_true(log_capture_has(line));
	assert_int_equal(w->account.nstarting + w->account.nrunning, 0);
	assert_int_equal(w->started, 0);
	login(w, 1);
}

/* --- logins --------------------------------------------------------------------------------------------------------- */

static void
login_and_logout(void **state)
{
	struct world *w = *state;
	struct client *c = login(w, 0);
	char line[100];

	assert_int_equal(send(c->stream, "quit\n", 5, 0), 5);
	RUN_UNTIL(w, c->is_closed);
	snprintf(line, sizeof line,
	    "toy(bob@example.test)<%d><sEsSiOn>: Disconnected: Logged out\n", (int)getpid());
	assert_int_equal(log_capture_count(line), 1);
	assert_int_equal(w->account.nrunning, 0);
	RUN_UNTIL(w, w->idle == 1);
	assert_int_equal(w->drained, 0); /* that is for master to say */
}

static void
hello_may_come_first(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	hello(c, "t", "id");
	fd_close(&c->control);
	redeem(w, c, AUTHD_OK, "bob@example.test");
	RUN_UNTIL(w, strcmp(c->got, "ok t\n") == 0);
}

/* What the client pipelined behind its login is the session's, and nobody reads it before. */
static void
client_bytes_wait_for_the_session(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	assert_int_equal(send(c->stream, "quit\n", 5, 0), 5);
	for (int i = 0; i < 5; i++)
		turn(w);
	assert_false(c->is_closed);
	redeem(w, c, AUTHD_OK, "bob@example.test");
	hello(c, "t", "id");
	RUN_UNTIL(w, c->is_closed);
	assert_string_equal(c->got, "ok t\n");
}

static void
login_that_never_comes(void **state)
{
	struct world *w = *state;

	RUN_UNTIL(w, w->idle == 1);
}

static void
too_many_sessions(void **state)
{
	struct world *w = *state;

	login(w, 0);
	login(w, 1);
	expect_refusal(w, 2, "no t limit\n");
	assert_true(log_capture_has("login refused: maximum number of sessions exceeded"));
	assert_int_equal(w->account.nrunning, 2);
	client_clear(&w->clients[0]);
	RUN_UNTIL(w, w->account.nrunning == 1);
	login(w, 2);
}

/* --- hand-overs that go wrong ------------------------------------------------------------------------------------------ */

static void
tickets_that_are_not_ours(void **state)
{
	static const struct {
		uint32_t status;
		const char *account, *line;
	} cases[] = {
		{ AUTHD_NO, "", "login refused: the ticket is not good" },
		{ AUTHD_TEMP, "bob@example.test", "login refused: the ticket is not good" },
		{ AUTHD_OK, "eve@example.test", "login refused: the ticket is another account's" },
		{ AUTHD_OK, "", "login refused: the ticket is another account's" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct client *c = connect_client(w, 0);

		hello(c, "t", "id");
		redeem(w, c, cases[i].status, cases[i].account);
		expect_silent_end(w, c, cases[i].line);
		client_clear(&w->clients[1]);
		RUN_UNTIL(w, w->account.nrunning == 0);
		w->started = 0;
	}
}

static void
authd_goes_away(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	hello(c, "t", "id");
	fd_close(&c->authd);
	expect_silent_end(w, c, "login refused: authd did not answer");
}

static void
authd_answers_nonsense(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_str(&o, "bob@example.test");
	send_packet(c->authd, &o, 1);
	expect_silent_end(w, c, "login refused: authd did not answer");
}

static void
front_dies_before_the_ticket_is_redeemed(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	fd_close(&c->control);
	redeem(w, c, AUTHD_OK, "bob@example.test");
	expect_silent_end(w, c, "login refused: the login front went away");
}

static void
front_dies_after_it(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	redeem(w, c, AUTHD_OK, "bob@example.test");
	for (int i = 0; i < 5; i++)
		turn(w);
	fd_close(&c->control);
	expect_silent_end(w, c, "login refused: the login front went away");
}

static void
nonsense_for_a_hello(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 4; i++) {
		struct client *c = connect_client(w, 0);
		struct ipc_out o;

		redeem(w, c, AUTHD_OK, "bob@example.test");
		switch (i) {
		case 0: /* a tag that would write the client's lines */
			hello(c, "t ok\r\n* evil", "id");
			break;
		case 1: /* another message */
			ipc_out_init(&o, 77);
			send_packet(c->control, &o, 0);
			break;
		case 2: /* too short */
			ipc_out_init(&o, LOGIN_HELLO);
			ipc_put_str(&o, "t");
			send_packet(c->control, &o, 0);
			break;
		case 3: /* no frame at all */
			assert_int_equal(send(c->control, "x", 1, 0), 1);
			break;
		}
		expect_silent_end(w, c, "login refused: ");
		assert_int_equal(log_capture_count("login refused: "), i + 1);
		client_clear(&w->clients[1]);
		RUN_UNTIL(w, w->account.nrunning == 0);
		w->started = 0;
	}
}

/* It ends its own channel; the client's stream is the client's. */
static void
second_hello(void **state)
{
	struct world *w = *state;
	struct client *c = hand_over(w, 0);
	struct ipc_out o;

	ipc_out_init(&o, LOGIN_HELLO);
	(void)send(c->control, "junk", 4, MSG_NOSIGNAL);
	ipc_out_clear(&o);
	RUN_UNTIL(w, strcmp(c->got, "ok t\n") == 0);
	assert_int_equal(send(c->stream, "quit\n", 5, 0), 5);
	RUN_UNTIL(w, c->is_closed);
	assert_true(log_capture_has("Disconnected: Logged out"));
}

static void
id_is_quoted(void **state)
{
	struct world *w = *state;
	struct client *c = connect_client(w, 0);

	redeem(w, c, AUTHD_OK, "bob@example.test");
	hello(c, "t", "x>\nimap(eve)<1><2>: forged");
	RUN_UNTIL(w, strcmp(c->got, "ok t\n") == 0);
	client_clear(c);
	RUN_UNTIL(w, log_capture_has("Disconnected: Connection closed"));
	assert_false(log_capture_has("\nimap(eve)"));
}

/* Fronts that hand over and say nothing hold a bounded number of descriptors, and nobody else up. */
static void
flood_that_never_says_hello(void **state)
{
	enum { FLOOD = 120, KEPT = 100 };
	struct world *w = *state;
	int streams[FLOOD], others[FLOOD][2], closed = 0;

	for (int i = 0; i < FLOOD; i++) {
		struct client *c = connect_client(w, 0);

		streams[i] = c->stream;
		others[i][0] = c->control;
		others[i][1] = c->authd;
		c->stream = c->control = c->authd = -1;
	}
	assert_int_equal(w->account.nstarting, KEPT);
	for (int i = 0; i < FLOOD; i++) {
		char byte;

		closed += recv(streams[i], &byte, 1, MSG_DONTWAIT) == 0;
	}
	assert_int_equal(closed, FLOOD - KEPT);
	assert_true(log_capture_has("login refused: too many hand-overs under way"));
	assert_int_equal(w->idle, 0);
	/* one of them goes, another may come */
	close(others[0][0]);
	close(others[0][1]);
	RUN_UNTIL(w, w->account.nstarting == KEPT - 1);
	login(w, 1);
	/* and none of them outlives a stop */
	login_account_drain(&w->account, true);
	RUN_UNTIL(w, w->drained == 1);
	for (int i = 0; i < FLOOD; i++) {
		close(streams[i]);
		if (i > 0) {
			close(others[i][0]);
			close(others[i][1]);
		}
	}
}

/* --- a home that its user has broken, or that has gone -------------------------------------------------------------------- */

static void
broken_mailbox_is_unavailable(void **state)
{
	struct world *w = *state;

	assert_int_equal(mknod("Maildir", S_IFREG | 0600, 0), 0);
	expect_refusal(w, 0, "no t unavailable\n");
	assert_int_equal(log_capture_count("bob@example.test"), 1); /* one line */
	assert_true(log_capture_has("login refused: open Maildir: "));
	assert_int_equal(w->account.nrunning, 0);
	/* the next login tries again */
	assert_int_equal(unlink("Maildir"), 0);
	login(w, 0);
	client_clear(&w->clients[0]);
	RUN_UNTIL(w, w->idle == 1);
}

static void
expect_gone(struct world *w)
{
	unsigned idle = w->idle;

	expect_refusal(w, 2, "no t unavailable\n");
	assert_int_equal(
	    w->idle, idle + 1); /* so that master sends the next one to another process */
	/* which drains this one: it ends with its last session */
	login_account_drain(&w->account, false);
	if (w->account.nrunning > 0) {
		for (int i = 0; i < 5; i++)
			turn(w);
		assert_int_equal(w->drained, 0);
		assert_int_equal(send(w->clients[0].stream, "quit\n", 5, 0), 5);
	}
	RUN_UNTIL(w, w->drained == 1);
}

static void
home_is_removed(void **state)
{
	struct world *w = *state;

	login(w, 0);
	remove_all(w->dir);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	expect_gone(w);
	assert_true(log_capture_has("login refused: the home was removed"));
}

static void
home_is_renamed(void **state)
{
	struct world *w = *state;
	char old[100];

	login(w, 0);
	snprintf(old, sizeof old, "%s/old", w->base);
	assert_int_equal(rename(w->dir, old), 0);
	assert_int_equal(mkdir(w->dir, 0700), 0);
	expect_gone(w);
}

static void
home_is_renamed_before_the_mailbox_is_open(void **state)
{
	struct world *w = *state;
	char old[100];

	snprintf(old, sizeof old, "%s/old", w->base);
	assert_int_equal(rename(w->dir, old), 0);
	expect_gone(w);
}

static void
maildir_is_another(void **state)
{
	struct world *w = *state;

	login(w, 0);
	assert_int_equal(rename("Maildir", "Old"), 0);
	assert_int_equal(mkdir("Maildir", 0700), 0);
	expect_gone(w);
	assert_true(log_capture_has("login refused: Maildir is another one now"));
}

static void
maildir_has_gone(void **state)
{
	struct world *w = *state;

	login(w, 0);
	assert_int_equal(rename("Maildir", "Old"), 0);
	expect_gone(w);
}

/* What users do in their homes is no reason. */
static void
home_in_use_is_the_same(void **state)
{
	struct world *w = *state;

	login(w, 0);
	assert_int_equal(mkdir("sieve", 0700), 0);
	client_clear(&w->clients[0]);
	login(w, 0);
	assert_int_equal(chmod(".", 0750), 0);
	client_clear(&w->clients[0]);
	login(w, 0);
	assert_int_equal(mknod("file", S_IFREG | 0600, 0), 0);
	assert_int_equal(unlink("file"), 0);
	assert_int_equal(rename("sieve", "Sieve"), 0);
	client_clear(&w->clients[0]);
	login(w, 0);
	assert_int_equal(log_capture_count("refused"), 0);
}

/* --- the end ---------------------------------------------------------------------------------------------------------- */

static void
draining_waits_for_sessions(void **state)
{
	struct world *w = *state;
	struct client *c = login(w, 0);

	login_account_drain(&w->account, false);
	for (int i = 0; i < 5; i++)
		turn(w);
	assert_false(c->is_closed);
	assert_int_equal(w->drained, 0);
	assert_int_equal(send(c->stream, "quit\n", 5, 0), 5);
	RUN_UNTIL(w, w->drained == 1);
}

/* What a slow client has yet to get is not lost with the process. */
static void
draining_waits_for_output(void **state)
{
	struct world *w = *state;
	struct client *c = login(w, 0);
	static char rest[1 << 16];
	size_t got = 0;
	ssize_t n;

	login_account_drain(&w->account, false);
	assert_int_equal(send(c->stream, "big quit\n", 9, 0), 9);
	c->is_closed = true; /* it does not read */
	RUN_UNTIL(w, w->account.nrunning == 0);
	for (int i = 0; i < 20; i++)
		turn(w);
	assert_int_equal(w->drained, 0);
	while ((n = recv(c->stream, rest, sizeof rest, MSG_DONTWAIT)) != 0) {
		got += n > 0 ? (size_t)n : 0;
		turn(w);
	}
	assert_int_equal(got, 1 << 20);
}

static void
stop_ends_sessions_with_a_word(void **state)
{
	struct world *w = *state;
	struct client *c = login(w, 0), *d = connect_client(w, 1);

	login_account_drain(&w->account, true);
	assert_int_equal(w->account.nrunning + w->account.nstarting, 0);
	RUN_UNTIL(w, w->drained == 1);
	RUN_UNTIL(w, c->is_closed && d->is_closed);
	assert_string_equal(c->got, "ok t\nbye\n");
	assert_int_equal(d->len, 0);
	/* who comes now is too late */
	d = connect_client(w, 1);
	RUN_UNTIL(w, d->is_closed);
}

static void
stop_follows_reload(void **state)
{
	struct world *w = *state;
	struct client *c = login(w, 0);

	login_account_drain(&w->account, false);
	login_account_drain(&w->account, true);
	RUN_UNTIL(w, w->drained == 1);
	RUN_UNTIL(w, c->is_closed);
	assert_string_equal(c->got, "ok t\nbye\n");
}

static void
empty_process_drains_at_once(void **state)
{
	struct world *w = *state;

	login_account_drain(&w->account, false);
	RUN_UNTIL(w, w->drained == 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(login_and_logout),
		T(hello_may_come_first),
		T(client_bytes_wait_for_the_session),
		T(login_that_never_comes),
		T(too_many_sessions),
		T(tickets_that_are_not_ours),
		T(authd_goes_away),
		T(authd_answers_nonsense),
		T(front_dies_before_the_ticket_is_redeemed),
		T(front_dies_after_it),
		T(nonsense_for_a_hello),
		T(second_hello),
		T(id_is_quoted),
		T(flood_that_never_says_hello),
		T(broken_mailbox_is_unavailable),
		T(home_is_removed),
		T(home_is_renamed),
		T(home_is_renamed_before_the_mailbox_is_open),
		T(maildir_is_another),
		T(maildir_has_gone),
		T(home_in_use_is_the_same),
		T(draining_waits_for_sessions),
		T(draining_waits_for_output),
		T(stop_ends_sessions_with_a_word),
		T(stop_follows_reload),
		T(empty_process_drains_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
