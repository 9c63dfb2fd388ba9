/* wire.h - IMAP dialogues against real sessions on a real store, in one process: master, login front and authd are
 * played by the test over socketpairs.
 *
 * A case is a script, a line a step:
 *	N> text         client N sends text and CRLF; \r \n \0 \xHH and \\ are escapes
 *	N>> text        the same without CRLF
 *	N< pattern      the next line that client N reads; "~" stands for any text
 *	N.. pattern     lines are skipped up to and with this one
 *	N! 		the server has closed the connection
 *	N-              client N closes
 *	N?              nothing more is to be read
 *	deliver NAME    another program puts the message NAME of wire_messages into INBOX, without a note
 *	deliver NAME BOX
 *	note BOX        what delivery sends after that
 *	remove          another program removes the first message file of INBOX
 *	seen            another program sets S on all of INBOX
 *	poll            idle sessions look at their mailbox
 * Clients log in when they are first named.  At the end nothing may be left unread.
 */
#ifndef TESTS_UNIT_IMAPD_WIRE_H
#define TESTS_UNIT_IMAPD_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/login.h"
#include "imapd/imap_search.h"
#include "imapd/session.h"
#include "tests/unit/common/login/log_capture.h"
#include "tests/unit/remove_all.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WIRE_CLIENTS = 4, WIRE_DEADLINE_MS = 10000 };

struct wire_message {
	const char *name, *text;
};
static const struct wire_message wire_messages[] = {
	{ "one",
	    "From: Anna <anna@example.test>\nTo: bob@example.test\nSubject: one\n"
	    "Date: Mon, 7 Feb 1994 21:52:25 -0800\nMessage-ID: <1@example.test>\n\nHello one\n" },
	{ "two",
	    "From: Carl <carl@example.test>\nTo: bob@example.test\nCc: dora@example.test\nSubject: two\n"
	    "Date: Tue, 8 Feb 1994 01:00:00 +0000\nMessage-ID: <2@example.test>\n\nHello two\nsecond line\n" },
	{ "three",
	    "From: Anna <anna@example.test>\nTo: bob@example.test\nSubject: =?utf-8?Q?dr=C3=A9i?=\n"
	    "Message-ID: <3@example.test>\nContent-Type: text/plain; charset=iso-8859-1\n"
	    "Content-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe an alle\n" },
	{ "mixed",
	    "From: a@example.test\nSubject: mixed\nMIME-Version: 1.0\n"
	    "Content-Type: multipart/mixed; boundary=\"b\"\n\npreamble\n--b\n\nfirst\n--b\n"
	    "Content-Type: message/rfc822\n\nFrom: in@example.test\nSubject: inner\n"
	    "Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\ninner plain\n--c\n"
	    "Content-Type: text/html\n\n<b>inner</b>\n--c--\n--b\nContent-Type: image/png; name=x.png\n"
	    "Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--\n" },
};

struct wire_client {
	int fd; /* -1: not connected */
	struct ipc_conn *control, *authd;
	struct buf in;
	bool is_eof;
};

struct wire {
	char dir[64], maildir[80];
	struct loop *loop;
	struct imapd_account account;
	struct wire_client clients[WIRE_CLIENTS + 1];
	unsigned delivered;
	const char *hello_tag;
	jmp_buf *failed;  /* the other cases go on */
	const char *name; /* of the case */
	const char *step;
};

static void wire_fail(struct wire *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static void
wire_fail(struct wire *w, const char *fmt, ...)
{
	char text[4000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	print_error("%s: at \"%.*s\": %s\n", w->name, (int)strcspn(w->step, "\n"), w->step, text);
	if (w->failed != NULL)
		longjmp(*w->failed, 1);
	fail();
	abort(); /* it does not come back */
}

/* --- the other processes ------------------------------------------------------------------------------- */
static void
wire_on_redeem(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const struct wire *w = arg;
	struct ipc_out out;

	assert_int_equal(ipc_get_bytes(in).len, TICKET_BYTES);
	ipc_reply_init(&out);
	ipc_put_u32(&out, AUTHD_OK);
	ipc_put_str(&out, w->account.login.config.account);
	ipc_conn_reply(c, in->id, &out);
}

static void
wire_on_conn_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct wire *w = arg;

	(void)why;
	for (int i = 1; i <= WIRE_CLIENTS; i++) {
		if (w->clients[i].control == c)
			w->clients[i].control = NULL;
		if (w->clients[i].authd == c)
			w->clients[i].authd = NULL;
	}
}

static const struct ipc_handler wire_authd_rows[] = {
	{ AUTHD_REDEEM, "b", IPC_STATE_ANY, wire_on_redeem }, { 0, NULL, 0, NULL }
};

static void
wire_hello(struct wire *w, struct wire_client *c)
{
	struct ipc_out out;

	ipc_out_init(&out, LOGIN_HELLO);
	ipc_put_str(&out, w->hello_tag);
	ipc_put_str(&out, "192.0.2.1");
	ipc_put_str(&out, "192.0.2.2");
	ipc_put_str(&out, "sEsSiOn");
	ipc_put_u32(&out, 40000);
	ipc_put_u32(&out, 993);
	ipc_put_u32(&out, LOGIN_HAS_TLS);
	ipc_put_str(&out, "TLSv1.3");
	ipc_conn_send(c->control, &out);
}

static void
wire_connect(struct wire *w, int n)
{
	static const struct ipc_conn_ops authd_ops = { wire_authd_rows, wire_on_conn_close },
					 front_ops = { NULL, wire_on_conn_close };
	struct wire_client *c = &w->clients[n];
	int control[2], authd[2], stream[2];
	static const char ticket[TICKET_BYTES] = "0123456789abcde";

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, authd), 0);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, stream), 0);
	c->fd = stream[0];
	c->is_eof = false;
	buf_init(&c->in, (size_t)1 << 30);
	c->control = ipc_conn_new(w->loop, control[0], &front_ops, w);
	c->authd = ipc_conn_new(w->loop, authd[0], &authd_ops, w);
	login_account_login(
	    &w->account.login, view_make(ticket, sizeof ticket), control[1], stream[1], authd[1]);
	wire_hello(w, c);
}

/* --- reading ----------------------------------------------------------------------------------------------- */
static void
wire_turn(struct wire *w, int wait_ms)
{
	struct pollfd fds[WIRE_CLIENTS];

	for (int i = 1; i <= WIRE_CLIENTS; i++) {
		struct wire_client *c = &w->clients[i];
		char bytes[65536];
		ssize_t n;

		while (c->fd >= 0 && !c->is_eof && (n = read(c->fd, bytes, sizeof bytes)) != -1) {
			c->is_eof = n == 0;
			buf_append(&c->in, bytes, (size_t)n);
		}
		fds[i - 1] = (struct pollfd){ .fd = c->is_eof ? -1 : c->fd, .events = POLLIN };
	}
	loop_run_once(w->loop, false);
	if (wait_ms > 0)
		poll(fds, WIRE_CLIENTS, wait_ms);
}

/* The next line without its CRLF; false: there is none (now, or ever). */
static bool
wire_line(struct wire *w, int n, bool wait, char *line, size_t size)
{
	struct wire_client *c = &w->clients[n];
	int64_t deadline = clock_mono_ms() + WIRE_DEADLINE_MS;
	size_t len;

	for (;;) {
		char *lf = c->in.len ? memchr(c->in.p, '\n', c->in.len) : NULL;

		if (lf != NULL) {
			len = (size_t)(lf - c->in.p);
			snprintf(line, size, "%.*s", (int)(len && lf[-1] == '\r' ? len - 1 : len),
			    c->in.p);
			if (len == 0 || lf[-1] != '\r')
				wire_fail(w, "line without CR: %s", line);
			buf_consume(&c->in, len + 1);
			return true;
		}
		if (c->is_eof || !wait || clock_mono_ms() > deadline)
			return false;
		wire_turn(w, 1);
	}
}

static bool
wire_match(const char *pattern, size_t plen, const char *text)
{
	const char *end = pattern + plen, *retry = NULL, *at = NULL;

	for (;;) {
		if (pattern < end && *pattern == '~') {
			retry = ++pattern;
			at = text;
		} else if (pattern == end && *text == '\0') {
			return true;
		} else if (pattern < end && *text != '\0' && *pattern == *text) {
			pattern++, text++;
		} else if (retry != NULL && *at != '\0') {
			text = ++at;
			pattern = retry;
		} else {
			return false;
		}
	}
}

static void
wire_expect(struct wire *w, int n, const char *pattern, size_t len, bool skip)
{
	static char line[1 << 20];

	do {
		if (!wire_line(w, n, true, line, sizeof line))
			wire_fail(w, "no line%s", w->clients[n].is_eof ? " (closed)" : "");
		if (wire_match(pattern, len, line))
			return;
	} while (skip);
	wire_fail(w, "got \"%s\"", line);
}

static void
wire_expect_eof(struct wire *w, int n)
{
	int64_t deadline = clock_mono_ms() + WIRE_DEADLINE_MS;
	struct wire_client *c = &w->clients[n];

	while (!c->is_eof && c->in.len == 0 && clock_mono_ms() < deadline)
		wire_turn(w, 1);
	if (c->in.len > 0)
		wire_fail(w, "unread: %.200s", buf_cstr(&c->in));
	if (!c->is_eof)
		wire_fail(w, "still open");
}

static void
wire_expect_silence(struct wire *w, int n)
{
	for (int i = 0; i < 20; i++)
		wire_turn(w, 1);
	if (w->clients[n].in.len > 0)
		wire_fail(w, "unread: %.200s", buf_cstr(&w->clients[n].in));
}

/* --- writing ------------------------------------------------------------------------------------------------ */
static void
wire_write(struct wire *w, int n, const char *p, size_t len)
{
	int64_t deadline = clock_mono_ms() + WIRE_DEADLINE_MS;

	while (len > 0 && clock_mono_ms() < deadline) {
		ssize_t k = send(w->clients[n].fd, p, len, MSG_NOSIGNAL);

		if (k < 0 && errno != EAGAIN)
			return; /* the server has closed: what it said is still to be read */
		if (k > 0) {
			p += k;
			len -= (size_t)k;
		}
		wire_turn(w, k > 0 ? 0 : 1);
	}
}

static void
wire_send(struct wire *w, int n, const char *text, size_t len, bool crlf)
{
	struct buf out;

	buf_init(&out, (size_t)1 << 30);
	for (size_t i = 0; i < len; i++) {
		unsigned hex;

		if (text[i] != '\\' || i + 1 == len) {
			buf_append_byte(&out, text[i]);
			continue;
		}
		switch (text[++i]) {
		case 'r':
			buf_append_byte(&out, '\r');
			break;
		case 'n':
			buf_append_byte(&out, '\n');
			break;
		case '0':
			buf_append_byte(&out, '\0');
			break;
		case 'x':
			assert_int_equal(sscanf(text + i + 1, "%2x", &hex), 1);
			buf_append_byte(&out, (int)hex);
			i += 2;
			break;
		case '\\':
			buf_append_byte(&out, '\\');
			break;
		default: /* a flag */
			buf_append_byte(&out, '\\');
			buf_append_byte(&out, text[i]);
		}
	}
	if (crlf)
		buf_append_str(&out, "\r\n");
	wire_write(w, n, out.p, out.len);
	buf_clear(&out);
}

/* --- other programs ------------------------------------------------------------------------------------------- */
static void
wire_deliver_text(struct wire *w, const char *text, const char *box)
{
	char tmp[300], new[300];
	int fd;

	w->delivered++;
	snprintf(tmp, sizeof tmp, "%s/Maildir/%s/tmp/%u.M%uP1.test", w->dir, box,
	    800000000 + w->delivered, w->delivered);
	snprintf(new, sizeof new, "%s/Maildir/%s/new/%u.M%uP1.test", w->dir, box,
	    800000000 + w->delivered, w->delivered);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	assert_int_equal(rename(tmp, new), 0);
}

static void
wire_deliver(struct wire *w, const char *args)
{
	char name[64], box[64] = ".";

	sscanf(args, "%62[a-z]%*[ ]%62[^ \n]", name, box + 1);
	if (box[1] == '\0')
		box[0] = '\0';
	for (size_t i = 0; i < sizeof wire_messages / sizeof wire_messages[0]; i++) {
		if (strcmp(name, wire_messages[i].name) == 0) {
			wire_deliver_text(w, wire_messages[i].text, box[0] ? box : ".");
			return;
		}
	}
	wire_fail(w, "no such message");
}

static int
wire_files(struct wire *w, const char *sub, char names[][256], int max)
{
	char dir[200];
	struct dirent *e;
	int n = 0;
	DIR *d;

	snprintf(dir, sizeof dir, "%s/Maildir/%s", w->dir, sub);
	d = opendir(dir);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL && n < max)
		if (e->d_name[0] != '.')
			snprintf(names[n++], 256, "%s", e->d_name);
	closedir(d);
	qsort(names, (size_t)n, 256, (int (*)(const void *, const void *))strcmp);
	return n;
}

static void
wire_remove_first(struct wire *w)
{
	static char names[1000][256];
	char path[600];
	const char *sub = "cur";

	if (wire_files(w, sub, names, 1000) == 0 && wire_files(w, sub = "new", names, 1000) == 0)
		wire_fail(w, "nothing to remove");
	snprintf(path, sizeof path, "%s/Maildir/%s/%s", w->dir, sub, names[0]);
	assert_int_equal(unlink(path), 0);
}

static void
wire_set_seen(struct wire *w)
{
	static char names[1000][256];

	for (int k = 0; k < 2; k++) {
		const char *sub = k ? "new" : "cur";
		int n = wire_files(w, sub, names, 1000);

		for (int i = 0; i < n; i++) {
			char *from = x_asprintf("%s/Maildir/%s/%s", w->dir, sub, names[i]);
			char *to = x_asprintf("%s/Maildir/cur/%s%sS", w->dir, names[i],
			    strstr(names[i], ":2,") ? "" : ":2,");

			assert_int_equal(rename(from, to), 0);
			free(from);
			free(to);
		}
	}
}

/* --- scripts --------------------------------------------------------------------------------------------------- */
static void
wire_client_step(struct wire *w, const char *p, size_t len)
{
	int n = p[0] - '0';
	const char *op = p + 1;
	size_t skip = len > 1 && (op[0] == op[1] || (op[0] == '.')) ? 2 : 1;
	const char *text;
	size_t textlen;

	assert_in_range(n, 1, WIRE_CLIENTS);
	if (w->clients[n].fd < 0) {
		char login[100];

		wire_connect(w, n);
		snprintf(login, sizeof login, "%s OK [CAPABILITY ~] Logged in", w->hello_tag);
		wire_expect(w, n, login, strlen(login), false);
	}
	skip += 1 + skip < len && op[skip] == ' ';
	text = op + skip;
	textlen = len - 1 > skip ? len - 1 - skip : 0;
	if (op[0] == '>')
		wire_send(w, n, text, textlen, op[1] != '>');
	else if (op[0] == '<')
		wire_expect(w, n, text, textlen, false);
	else if (op[0] == '.')
		wire_expect(w, n, text, textlen, true);
	else if (op[0] == '!')
		wire_expect_eof(w, n);
	else if (op[0] == '?')
		wire_expect_silence(w, n);
	else if (op[0] == '-') {
		close(w->clients[n].fd);
		w->clients[n].fd = -1;
		buf_clear(&w->clients[n].in);
	} else
		wire_fail(w, "unknown step");
}

static void
wire_script(struct wire *w, const char *script)
{
	for (const char *p = script; p != NULL && *p; p += strcspn(p, "\n") + 1) {
		size_t len = strcspn(p, "\n");
		char box[100];

		w->step = p;
		if (p[0] >= '0' && p[0] <= '9')
			wire_client_step(w, p, len);
		else if (strncmp(p, "deliver ", 8) == 0)
			wire_deliver(w, p + 8);
		else if (sscanf(p, "note %99[^\n]", box) == 1)
			imapd_account_changed(&w->account, box, NULL);
		else if (strncmp(p, "remove", 6) == 0)
			wire_remove_first(w);
		else if (strncmp(p, "seen", 4) == 0)
			wire_set_seen(w);
		else if (strncmp(p, "poll", 4) == 0)
			imapd_account_changed(&w->account, "", NULL);
		else if (len > 0)
			wire_fail(w, "unknown step");
		if (p[len] == '\0')
			break;
	}
}

/* --- life of a case ---------------------------------------------------------------------------------------------- */
static void
wire_on_event(void *arg)
{
	(void)arg;
}

static const struct imapd_config wire_config = {
	.line_max = 65536,
	.literal_max = 1 << 20,
	.bad_commands_max = 20,
	.message_size_max = 5 << 20,
	.timeout_ms = 1800000,
	.idle_poll_ms = 30000,
	.idle_notify_ms = 120000,
	.slice_ms = 10,
};

static void
wire_start(struct wire *w, const char *name, const struct imapd_config *config)
{
	static const struct login_account_events events = { wire_on_event, wire_on_event };
	struct login_account_config login = {
		.account = "bob@example.test",
		.store = { .host = "test", .index_map_bytes = 64 << 20, .changes_kept = 1000 },
		.sessions_max = 3,
		.linger_ms = 20,
	};
	struct store *store;
	struct err err;

	*w = (struct wire){ .name = name, .step = "start", .hello_tag = "L" };
	/* what survives a power cut is tested elsewhere: memory is quicker */
	snprintf(w->dir, sizeof w->dir, "%s/imapd-wire-XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->maildir, sizeof w->maildir, "%s/Maildir", w->dir);
	login.home = w->dir;
	login.store.maildir = w->maildir;
	/* what is delivered before the first login needs its directories */
	if (store_open(&login.store, &store, &err) != 0)
		wire_fail(w, "store_open: %s", err.text);
	store_close(store);
	w->loop = loop_new();
	w->account.config = *config;
	login_account_init(&w->account.login, w->loop, &login, &imapd_session_ops, &events, w);
	login_account_start(&w->account.login);
	for (int i = 0; i <= WIRE_CLIENTS; i++)
		w->clients[i].fd = -1;
}

static void
wire_stop(struct wire *w)
{
	for (int i = 1; i <= WIRE_CLIENTS; i++) {
		struct wire_client *c = &w->clients[i];

		if (c->in.len > 0)
			wire_fail(w, "client %d: unread: %.300s", i, buf_cstr(&c->in));
		if (c->fd >= 0)
			close(c->fd);
		ipc_conn_close(c->control);
		ipc_conn_close(c->authd);
		buf_clear(&c->in);
	}
	login_account_clear(&w->account.login);
	/* streams that finish sending free themselves from the loop */
	for (int i = 0; i < 50; i++)
		loop_run_once(w->loop, false);
	loop_free(w->loop);
	remove_all(w->dir);
}

static inline struct imapd_session *
wire_first(struct wire *w)
{
	return (struct imapd_session *)LIST_FIRST(&w->account.login.running);
}

struct wire_case {
	const char *name, *script;
};

static inline void
wire_run_with(const struct imapd_config *config, const struct wire_case *cases, size_t count)
{
	const char *only = getenv("WIRE_CASE");
	volatile unsigned failures = 0;
	static struct wire w;
	jmp_buf failed;

	imap_search_preload();
	for (volatile size_t i = 0; i < count; i++) {
		if (only != NULL && strstr(cases[i].name, only) == NULL)
			continue;
		if (setjmp(failed) != 0) {
			failures++; /* what it had open stays open: the test has failed anyway */
			continue;
		}
		wire_start(&w, cases[i].name, config);
		w.failed = &failed;
		wire_script(&w, cases[i].script);
		for (int k = 0; k < 5; k++)
			wire_turn(&w, 0);
		w.step = "end";
		wire_stop(&w);
	}
	assert_int_equal(failures, 0);
}

static inline void
wire_run(const struct wire_case *cases, size_t count)
{
	wire_run_with(&wire_config, cases, count);
}

#endif
