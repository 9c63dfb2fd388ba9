/* A POP3 session over socketpairs: the test is the login front, authd, and the client. */
#include "tests/unit/common/store/store_fixture.h"

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "pop3d/session.h"
#include "tests/unit/common/login/log_capture.h"

#include <errno.h>
#include <sys/socket.h>

enum { DEADLINE_MS = 20000 };

struct client {
	int control, stream, authd; /* our ends */
	struct buf got;
	bool is_closed;
};
struct world {
	struct fixture f;
	struct loop *loop;
	struct pop3d_account account;
	struct client c, d;
	unsigned changed;
	struct loop_timer tick;
};

static void
count_changed(void *arg)
{
	((struct world *)arg)->changed++;
}
static void
on_tick(void *arg)
{
	(void)arg;
}

static void
on_event(void *arg)
{
	(void)arg;
}

static void
start_account(struct world *w, int64_t timeout_ms, bool mark_seen)
{
	static const struct login_account_events events = { on_event, on_event };
	struct login_account_config config = { .account = "alice@example.test",
		.home = w->f.dir,
		.store = { .maildir = w->f.maildir,
		    .host = "test.host",
		    .index_map_bytes = 1 << 20,
		    .changes_kept = 1000 },
		.linger_ms = 20,
		.sessions_max = 4 };

	w->account = (struct pop3d_account){
		.timeout_ms = timeout_ms, .mark_seen = mark_seen, .on_changed = count_changed
	};
	login_account_init(&w->account.login, w->loop, &config, &pop3d_session_ops, &events, w);
	login_account_start(&w->account.login);
	/* an index is opened once in a process */
	w->account.login.store = w->f.s;
	assert_int_equal(stat(w->f.maildir, &w->account.login.maildir), 0);
}

static void
stop_account(struct world *w)
{
	if (w->f.s != NULL)
		w->account.login.store = NULL;
	login_account_clear(&w->account.login);
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	fixture_init(&w->f);
	fixture_open(&w->f);
	w->loop = loop_new();
	loop_timer_init(&w->tick, w->loop, on_tick, w);
	log_capture_start();
	start_account(w, 60000, false);
	buf_init(&w->c.got, 256 << 20);
	buf_init(&w->d.got, 256 << 20);
	w->c.control = w->c.stream = w->c.authd = w->d.control = w->d.stream = w->d.authd = -1;
	*state = w;
	return 0;
}

static void
client_clear(struct client *c)
{
	fd_close(&c->control);
	fd_close(&c->stream);
	fd_close(&c->authd);
	buf_clear(&c->got);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	stop_account(w);
	client_clear(&w->c);
	client_clear(&w->d);
	for (int i = 0; i < 50; i++) /* what is being finished sees that its peer has gone */
		loop_run_once(w->loop, false);
	loop_timer_stop(&w->tick);
	loop_free(w->loop);
	store_close(w->f.s);
	arena_clear(&w->f.a);
	remove_all(w->f.dir);
	log_capture_show();
	log_capture_end();
	free(w);
	return 0;
}

/* One turn of the loop, at most 10 ms long, then what came for the client. */
static void
turn_and_read(struct world *w, struct client *c)
{
	char piece[65536];
	ssize_t n;

	loop_timer_start(&w->tick, 10);
	loop_run_once(w->loop, true);
	while (c->stream >= 0 && (n = recv(c->stream, piece, sizeof piece, MSG_DONTWAIT)) >= 0) {
		if (n == 0) {
			c->is_closed = true;
			break;
		}
		assert_int_equal(buf_append(&c->got, piece, (size_t)n), 0);
	}
}

static void
wait_for(struct world *w, struct client *c, const char *text)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	while (strstr(buf_cstr(&c->got), text) == NULL) {
		if (c->is_closed || clock_mono_ms() > deadline)
			fail_msg("waited for \"%s\", got \"%s\"", text, buf_cstr(&c->got));
		turn_and_read(w, c);
	}
}

static void
wait_closed(struct world *w, struct client *c)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;

	while (!c->is_closed) {
		assert_true(clock_mono_ms() < deadline);
		turn_and_read(w, c);
	}
}

static void
say(struct client *c, const char *text)
{
	assert_int_equal(send(c->stream, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* Sends, waits for exactly this answer, forgets it. */
static void
talk(struct world *w, struct client *c, const char *command, const char *answer)
{
	say(c, command);
	wait_for(w, c, answer);
	assert_string_equal(buf_cstr(&c->got), answer);
	buf_reset(&c->got);
}

static void
send_packet(int fd, struct ipc_out *o, uint32_t id)
{
	unsigned char packet[4096];

	assert_true(o->body.len + IPC_HEADER <= sizeof packet);
	memset(packet, 0, IPC_HEADER);
	packet[0] = (unsigned char)o->type;
	packet[1] = (unsigned char)(o->type >> 8);
	for (int i = 0; i < 4; i++) {
		packet[4 + i] = (unsigned char)(id >> (8 * i));
		packet[8 + i] = (unsigned char)(o->body.len >> (8 * i));
	}
	memcpy(packet + IPC_HEADER, o->body.p, o->body.len);
	assert_true(send(fd, packet, IPC_HEADER + o->body.len, 0) > 0);
	ipc_out_clear(o);
}

static void
connect_client(struct world *w, struct client *c)
{
	int control[2], stream[2], authd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, authd), 0);
	c->control = control[0];
	c->stream = stream[0];
	c->authd = authd[0];
	c->is_closed = false;
	login_account_login(
	    &w->account.login, VIEW_LIT("0123456789abcdef"), control[1], stream[1], authd[1]);
}

static void
answer_redeem(struct world *w, struct client *c, uint32_t status, const char *account)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	unsigned char packet[4096];
	struct ipc_in in = { 0 };
	struct ipc_out o;
	struct err err;
	ssize_t n;

	while ((n = recv(c->authd, packet, sizeof packet, MSG_DONTWAIT)) < 0) {
		assert_true(clock_mono_ms() < deadline);
		turn_and_read(w, c);
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
say_hello(struct client *c)
{
	struct ipc_out o;

	ipc_out_init(&o, LOGIN_HELLO);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "127.0.0.1");
	ipc_put_str(&o, "127.0.0.2");
	ipc_put_str(&o, "abc");
	ipc_put_u32(&o, 1234);
	ipc_put_u32(&o, 110);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "");
	send_packet(c->control, &o, 0);
}

static void
begin_login(struct world *w, struct client *c)
{
	connect_client(w, c);
	answer_redeem(w, c, AUTHD_OK, "alice@example.test");
	say_hello(c);
}

static void
login(struct world *w, struct client *c)
{
	begin_login(w, c);
	talk(w, c, "", "+OK Logged in.\r\n");
}

/* The one line of the session's end. */
static void
read_end(struct world *w, const char *text)
{
	int64_t deadline = clock_mono_ms() + DEADLINE_MS;
	char line[400];

	snprintf(line, sizeof line, "pop3(alice@example.test)<%d><abc>: Disconnected: %s",
	    (int)getpid(), text);
	while (!log_capture_has(line)) {
		if (clock_mono_ms() > deadline)
			fail_msg("no \"%s\" in \"%s\"", line, log_capture_text());
		turn_and_read(w, &w->c);
	}
	assert_int_equal(log_capture_count(line), 1);
	log_capture_start();
}

static const char one[] = "Subject: one\n\n.dot\nline\n"; /* 25 + 4 = with CRLF 28 */
static const char two[] = "Subject: two\r\n\r\nno end";

static void
fill(struct world *w)
{
	fixture_append(&w->f, "INBOX", one, 0, NULL);
	fixture_append(&w->f, "INBOX", two, 0, NULL);
	fixture_append(&w->f, "INBOX", "\n", 0, NULL);
}

static void
test_commands(void **state)
{
	struct world *w = *state;
	struct mailbox_status st;
	char text[200];

	fill(w);
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	login(w, &w->c);
	talk(w, &w->c, "STAT\r\n", "+OK 3 52\r\n");
	talk(w, &w->c, "list\r\n", "+OK 3 messages:\r\n1 28\r\n2 22\r\n3 2\r\n.\r\n");
	talk(w, &w->c, "LIST 2\r\n", "+OK 2 22\r\n");
	talk(w, &w->c, "LIST 4\r\n", "-ERR There's no message 4.\r\n");
	talk(w, &w->c, "LIST 0\r\n", "-ERR There's no message 0.\r\n");
	talk(w, &w->c, "LIST -1\r\n", "-ERR Invalid message number: not a number.\r\n");
	talk(w, &w->c, "LIST 99999999999999999999999\r\n",
	    "-ERR Invalid message number: not a number.\r\n");
	snprintf(text, sizeof text,
	    "+OK\r\n1 00000001%08x\r\n2 00000002%08x\r\n3 00000003%08x\r\n.\r\n", st.uidvalidity,
	    st.uidvalidity, st.uidvalidity);
	talk(w, &w->c, "UIDL\r\n", text);
	snprintf(text, sizeof text, "+OK 2 00000002%08x\r\n", st.uidvalidity);
	talk(w, &w->c, "UIDL 2\r\n", text);
	talk(w, &w->c, "RETR 1\r\n", "+OK 28 octets\r\nSubject: one\r\n\r\n..dot\r\nline\r\n.\r\n");
	talk(w, &w->c, "RETR 2\r\n", "+OK 22 octets\r\nSubject: two\r\n\r\nno end\r\n.\r\n");
	talk(w, &w->c, "RETR 3\r\n", "+OK 2 octets\r\n\r\n.\r\n");
	talk(w, &w->c, "TOP 1 0\r\n", "+OK\r\nSubject: one\r\n\r\n.\r\n");
	talk(w, &w->c, "TOP 1 1\r\n", "+OK\r\nSubject: one\r\n\r\n..dot\r\n.\r\n");
	talk(w, &w->c, "TOP 1 18446744073709551615\r\n",
	    "+OK\r\nSubject: one\r\n\r\n..dot\r\nline\r\n.\r\n");
	talk(w, &w->c, "TOP 1 x\r\n", "-ERR Invalid line count: not a number.\r\n");
	talk(w, &w->c, "TOP 1\r\n", "-ERR Invalid arguments.\r\n");
	talk(w, &w->c, "NOOP\r\n", "+OK\r\n");
	talk(w, &w->c, "NOOP 1\r\n", "-ERR Invalid arguments.\r\n");
	talk(w, &w->c, "LAST\r\n", "-ERR Unknown command.\r\n");
	talk(w, &w->c, "STLS\r\n", "-ERR Unknown command.\r\n");
	talk(w, &w->c, "\r\n", "-ERR Unknown command.\r\n");
	talk(w, &w->c, "CAPA\r\n",
	    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nEXPIRE NEVER\r\n.\r\n");
	talk(w, &w->c, "DELE 2\r\n", "+OK Marked to be deleted.\r\n");
	talk(w, &w->c, "DELE 2\r\n", "-ERR Message is deleted.\r\n");
	talk(w, &w->c, "RETR 2\r\n", "-ERR Message is deleted.\r\n");
	talk(w, &w->c, "TOP 2 1\r\n", "-ERR Message is deleted.\r\n");
	talk(w, &w->c, "STAT\r\n", "+OK 2 30\r\n");
	talk(w, &w->c, "LIST\r\n", "+OK 2 messages:\r\n1 28\r\n3 2\r\n.\r\n");
	talk(w, &w->c, "RSET\r\n", "+OK\r\n");
	talk(w, &w->c, "STAT\n", "+OK 3 52\r\n");
	talk(w, &w->c, "QUIT\r\n", "+OK Logging out.\r\n");
	read_end(w, "Logged out top=3/77, retr=3/64, del=0/3, size=52\n");
	wait_closed(w, &w->c);
	assert_int_equal(w->changed, 0);
}

static void
test_delete_on_quit_only(void **state)
{
	struct world *w = *state;
	struct mailbox_status st;

	fill(w);
	login(w, &w->c);
	talk(w, &w->c, "DELE 1\r\n", "+OK Marked to be deleted.\r\n");
	shutdown(w->c.stream, SHUT_RDWR);
	read_end(w, "Connection closed top=0/0, retr=0/0, del=0/3, size=52\n");
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.messages, 3);
	client_clear(&w->c);
	login(w, &w->c);
	talk(w, &w->c, "DELE 1\r\nDELE 3\r\nQUIT\r\n",
	    "+OK Marked to be deleted.\r\n+OK Marked to be deleted.\r\n+OK Logging out, messages deleted.\r\n");
	read_end(w, "Logged out top=0/0, retr=0/0, del=2/3, size=52\n");
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.messages, 1);
	assert_int_equal(w->changed, 1);
}

static void
test_lock(void **state)
{
	struct world *w = *state;
	struct mailbox_status st;

	fill(w);
	login(w, &w->c);
	begin_login(w, &w->d);
	wait_for(w, &w->d, "-ERR [IN-USE] Mailbox is locked by another POP3 session.\r\n");
	wait_closed(w, &w->d);
	client_clear(&w->d);
	talk(w, &w->c, "QUIT\r\n", "+OK Logging out.\r\n");
	wait_closed(w, &w->c);
	login(w, &w->d);
	talk(w, &w->d, "QUIT\r\n", "+OK Logging out.\r\n");
	wait_closed(w, &w->d);
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.recent, 3); /* left for IMAP */
}

static void
test_expunged_meanwhile(void **state)
{
	struct world *w = *state;
	struct mailbox *m;
	uint32_t *gone;
	size_t n;

	fill(w);
	login(w, &w->c);
	m = fixture_mailbox(&w->f, "INBOX", false);
	ok(&w->f, mailbox_expunge(m, (uint32_t[]){ 2 }, 1, false, &w->f.a, &gone, &n, &w->f.err));
	mailbox_close(m);
	talk(w, &w->c, "STAT\r\n", "+OK 3 52\r\n"); /* as it was at login */
	talk(w, &w->c, "RETR 2\r\n", "-ERR [SYS/TEMP] message gone\r\n");
	talk(w, &w->c, "TOP 2 0\r\n", "-ERR [SYS/TEMP] message gone\r\n");
	talk(w, &w->c, "UIDL 2\r\n", "-ERR [SYS/TEMP] message gone\r\n");
	talk(w, &w->c, "RETR 3\r\n", "+OK 2 octets\r\n\r\n.\r\n");
	talk(w, &w->c, "DELE 2\r\n", "+OK Marked to be deleted.\r\n");
	talk(w, &w->c, "DELE 3\r\n", "+OK Marked to be deleted.\r\n");
	talk(w, &w->c, "QUIT\r\n", "+OK Logging out, messages deleted.\r\n");
	read_end(w, "Logged out top=0/0, retr=1/5, del=1/3, size=52\n");
}

/* 200 RETRs of 1 MB in one write: memory stays bounded, every byte comes, in order. */
static void
test_backpressure(void **state)
{
	enum { SIZE = 1 << 20, TIMES = 20 };
	struct world *w = *state;
	char *text = malloc(SIZE + 1), want[100];
	struct view rest;
	int64_t deadline;

	memset(text, 'x', SIZE);
	for (size_t i = 77; i < SIZE; i += 78)
		text[i] = '\n';
	memcpy(text, "A: b\n\n", 6);
	text[SIZE] = '\0';
	fixture_append(&w->f, "INBOX", text, 0, NULL);
	login(w, &w->c);
	for (int i = 0; i < TIMES; i++)
		say(&w->c, "RETR 1\r\n");
	say(&w->c, "QUIT\r\n");
	/* the client does not read: the session stops at its bound */
	for (int i = 0; i < 50; i++) {
		loop_timer_start(&w->tick, 1);
		loop_run_once(w->loop, true);
	}
	assert_int_equal(w->account.login.nrunning, 1);
	assert_true(((struct pop3d_session *)LIST_FIRST(&w->account.login.running))->out.cap +
			stream_output_pending(LIST_FIRST(&w->account.login.running)->stream) <
		    2 << 20);
	deadline = clock_mono_ms() + DEADLINE_MS;
	while (!w->c.is_closed) {
		assert_true(clock_mono_ms() < deadline);
		turn_and_read(w, &w->c);
	}
	rest = buf_view(&w->c.got);
	snprintf(want, sizeof want, "+OK %zu octets\r\n", (size_t)SIZE + 2 + (SIZE - 6) / 78 + 1);
	for (int i = 0; i < TIMES; i++) {
		const char *at = view_find(rest, VIEW_LIT("\r\n.\r\n"));

		assert_true(view_starts(rest, "+OK "));
		assert_non_null(at);
		rest = view_make(at + 5, rest.len - (size_t)(at + 5 - rest.p));
	}
	assert_true(view_eq_str(rest, "+OK Logging out.\r\n"));
	free(text);
}

static void
test_long_lists(void **state)
{
	enum { COUNT = 3000 };
	struct world *w = *state;
	char name[64], last[64];

	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof name, "17000%05d.M1P1.h", i);
		fixture_deliver(&w->f, "new", name, one);
	}
	login(w, &w->c);
	say(&w->c, "UIDL\r\nLIST\r\nSTAT\r\n");
	snprintf(last, sizeof last, "\r\n%d 28\r\n.\r\n+OK %d %d\r\n", COUNT, COUNT, COUNT * 28);
	wait_for(w, &w->c, last);
}

static void
test_bad_input(void **state)
{
	struct world *w = *state;
	char longline[3000];

	fill(w);
	login(w, &w->c);
	memset(longline, 'a', sizeof longline);
	longline[sizeof longline - 1] = '\0';
	say(&w->c, longline);
	wait_for(w, &w->c, "-ERR Input line too long.\r\n");
	wait_closed(w, &w->c);
	client_clear(&w->c);
	login(w, &w->c);
	assert_int_equal(send(w->c.stream, "NO\0OP\r\n", 7, 0), 7);
	wait_for(w, &w->c, "-ERR Malformed input.\r\n");
	wait_closed(w, &w->c);
	client_clear(&w->c);
	login(w, &w->c);
	for (int i = 0; i < 10; i++)
		say(&w->c, "BOGUS\r\n");
	wait_closed(w, &w->c);
	read_end(w, "Too many bad commands");
}

static void
test_cut_commands(void **state)
{
	static const char dialogue[] = "STAT\r\nLIST 1\r\nRETR 3\r\nQUIT\r\n";
	static const char answers[] =
	    "+OK 3 52\r\n+OK 1 28\r\n+OK 2 octets\r\n\r\n.\r\n+OK Logging out.\r\n";
	struct world *w = *state;

	fill(w);
	for (size_t cut = 1; cut < sizeof dialogue - 1; cut += 3) {
		login(w, &w->c);
		assert_int_equal(send(w->c.stream, dialogue, cut, 0), (ssize_t)cut);
		turn_and_read(w, &w->c);
		assert_int_equal(send(w->c.stream, dialogue + cut, sizeof dialogue - 1 - cut, 0),
		    (ssize_t)(sizeof dialogue - 1 - cut));
		wait_closed(w, &w->c);
		assert_string_equal(buf_cstr(&w->c.got), answers);
		client_clear(&w->c);
	}
}

static void
test_timeout(void **state)
{
	struct world *w = *state;
	struct mailbox_status st;

	fill(w);
	stop_account(w);
	start_account(w, 50, false);
	login(w, &w->c);
	talk(w, &w->c, "DELE 1\r\n", "+OK Marked to be deleted.\r\n");
	wait_closed(w, &w->c);
	read_end(w, "Inactivity ");
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.messages, 3);
}

static void
test_mark_seen(void **state)
{
	struct world *w = *state;
	struct mailbox_status st;

	fill(w);
	login(w, &w->c);
	talk(w, &w->c, "RETR 3\r\nQUIT\r\n", "+OK 2 octets\r\n\r\n.\r\n+OK Logging out.\r\n");
	wait_closed(w, &w->c);
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.unseen, 3);
	client_clear(&w->c);
	stop_account(w);
	start_account(w, 60000, true);
	login(w, &w->c);
	talk(w, &w->c, "RETR 3\r\nQUIT\r\n", "+OK 2 octets\r\n\r\n.\r\n+OK Logging out.\r\n");
	wait_closed(w, &w->c);
	ok(&w->f, store_status(w->f.s, "INBOX", &st, &w->f.err));
	assert_int_equal(st.unseen, 2);
}

static void
test_refusals(void **state)
{
	struct world *w = *state;

	/* Maildir is a file */
	w->account.login.store = NULL;
	fixture_close(&w->f);
	remove_all(w->f.maildir);
	assert_int_equal(mknod(w->f.maildir, S_IFREG | 0600, 0), 0);
	begin_login(w, &w->c);
	wait_for(w, &w->c, "-ERR [SYS/TEMP] Mailbox is not available.\r\n");
	wait_closed(w, &w->c);
	client_clear(&w->c);
	assert_int_equal(unlink(w->f.maildir), 0);
	login(w, &w->c);
	/* one session is enough */
	w->account.login.config.sessions_max = 1;
	begin_login(w, &w->d);
	wait_for(w, &w->d, "-ERR [IN-USE] Too many sessions of this account.\r\n");
	wait_closed(w, &w->d);
	talk(w, &w->c, "NOOP\r\n", "+OK\r\n");
}

/* RFC 1939 has no word for it: what was asked is answered, then the connection closes. */
static void
test_stop(void **state)
{
	struct world *w = *state;

	fill(w);
	login(w, &w->c);
	talk(w, &w->c, "DELE 1\r\n", "+OK Marked to be deleted.\r\n");
	login_account_drain(&w->account.login, true);
	wait_closed(w, &w->c);
	read_end(w, "Server shutting down top=0/0, retr=0/0, del=0/3, size=52\n");
}

static void
test_uidl_of_dovecot(void **state)
{
	struct world *w = *state;

	fixture_deliver(&w->f, "cur", "1700000001.a:2,S", one);
	fixture_deliver(&w->f, "cur", "1700000002.b:2,S", one);
	fixture_deliver(&w->f, "cur", "1700000003.c:2,S", one);
	fixture_write(&w->f, "dovecot-uidlist",
	    "3 V1700000000 N4 G00112233445566778899aabbccddeeff\n1 O3 Pold-one :1700000001.a\n2 P :1700000002.b\n3 O1 :1700000003.c\n");
	login(w, &w->c);
	talk(w, &w->c, "UIDL\r\n",
	    "+OK\r\n1 000000036553f100\r\n2 old-one\r\n3 1700000002.b\r\n.\r\n");
	/* and our rewriting keeps what it does not understand */
	assert_non_null(strstr(fixture_read(&w->f, "dovecot-uidlist"), "O3 Pold-one"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_commands),
		T(test_delete_on_quit_only),
		T(test_lock),
		T(test_expunged_meanwhile),
		T(test_backpressure),
		T(test_long_lists),
		T(test_bad_input),
		T(test_cut_commands),
		T(test_timeout),
		T(test_mark_seen),
		T(test_refusals),
		T(test_stop),
		T(test_uidl_of_dovecot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
