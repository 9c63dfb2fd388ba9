/* relay as a whole, in one process: a qmgr that sends jobs, a dnsd with a table, and SMTP servers that follow a script,
 * each on a loopback address of its own in a thread. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/delivery.h"
#include "common/ipc/msg/dns.h"
#include "common/ipc/msg/relay.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "qmgr/relay/relay.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000, SERVERS = 3, SESSIONS = 4, RESULTS = 400, RECORDS = 40 };

/* A script is lines of one letter and text:
 *   S text    send the line         R bytes   send as it stands (\r \n \0 as escapes)
 *   C prefix  a line must come that starts so
 *   D         data up to the dot    T         TLS handshake      N  nothing may come: wait for the end
 *   X         close                 Z         close with a reset  B  a megabyte of reply without end */
struct server {
	int listener;
	pthread_t thread;
	bool has_thread;
	const char *scripts[SESSIONS];
	unsigned sessions; /* served */
	int fd;
	SSL *ssl;
	char line[4096];
	struct buf commands; /* all lines that came */
	struct buf data;
	char error[400];
};

struct result {
	uint32_t job, number, status, code, setup, transmit, uses, unreachable;
	char dsn[16], text[1200], relay[400];
};

static struct {
	struct loop *loop;
	struct conf conf;
	struct relay_conf rc;
	struct relay *relay;
	struct ipc_conn *qmgr, *dnsd;
	struct ipc_edge *edge;
	unsigned port;
	struct server servers[SERVERS];
	struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		unsigned preference;
		const char *value;
	} records[RECORDS];
	size_t nrecords;
	struct result results[RESULTS];
	size_t nresults;
	uint32_t next_job;
	SSL_CTX *server_tls;
} t;

/* ---------------------------------------------------------------- scripted servers (threads) */

static ssize_t
server_read(struct server *s, void *p, size_t len)
{
	struct pollfd pfd = { s->fd, POLLIN, 0 };

	if (s->ssl != NULL)
		return SSL_read(s->ssl, p, (int)len);
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return -1;
	return read(s->fd, p, len);
}

static void
server_write(struct server *s, const void *p, size_t len)
{
	const char *at = p;

	while (len > 0) {
		ssize_t n = s->ssl != NULL ? SSL_write(s->ssl, at, (int)len)
					   : send(s->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

static bool
server_line(struct server *s)
{
	size_t n = 0;
	char c;

	while (n < sizeof s->line - 1 && server_read(s, &c, 1) == 1) {
		if (c == '\n') {
			s->line[n > 0 && s->line[n - 1] == '\r' ? n - 1 : n] = '\0';
			buf_printf(&s->commands, "%s\n", s->line);
			return true;
		}
		s->line[n++] = c;
	}
	s->line[n] = '\0';
	return false;
}

static bool
server_data(struct server *s)
{
	static _Thread_local char block[65536]; /* nothing is pipelined behind the dot */
	ssize_t n;

	while ((n = server_read(s, block, sizeof block)) > 0) {
		buf_append(&s->data, block, (size_t)n);
		if (s->data.len >= 5 && memcmp(s->data.p + s->data.len - 5, "\r\n.\r\n", 5) == 0)
			return true;
		if (s->data.len == 3 && memcmp(s->data.p, ".\r\n", 3) == 0)
			return true;
	}
	return false;
}

static void
server_raw(struct server *s, const char *text)
{
	char out[2000];
	size_t n = 0;

	for (; *text != '\0' && *text != '\n'; text++) {
		if (*text == '\\') {
			text++;
			out[n++] = *text == 'r' ? '\r' : *text == 'n' ? '\n' : '\0';
		} else {
			out[n++] = *text;
		}
	}
	server_write(s, out, n);
}

static bool
server_tls(struct server *s)
{
	s->ssl = SSL_new(t.server_tls);
	SSL_set_fd(s->ssl, s->fd);
	return SSL_accept(s->ssl) == 1;
}

static void
server_bomb(struct server *s)
{
	static char line[1024];

	memset(line, 'x', sizeof line);
	memcpy(line, "250-", 4);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	for (int i = 0; i < 1024; i++)
		server_write(s, line, sizeof line);
}

/* false: the session is over. */
static bool
server_step(struct server *s, const char *step, size_t len)
{
	char text[2000], c;

	snprintf(text, sizeof text - 2, "%.*s", (int)(len > 2 ? len - 2 : 0), step + 2);
	switch (step[0]) {
	case 'S':
		snprintf(text + strlen(text), sizeof text - strlen(text), "\r\n");
		server_write(s, text, strlen(text));
		return true;
	case 'R':
		server_raw(s, text);
		return true;
	case 'C':
		if (server_line(s) && strncasecmp(s->line, text, strlen(text)) == 0)
			return true;
		snprintf(s->error, sizeof s->error, "expected %.150s, got %.150s", text, s->line);
		return false;
	case 'D':
		if (server_data(s))
			return true;
		snprintf(s->error, sizeof s->error, "data does not end");
		return false;
	case 'T':
		return server_tls(s);
	case 'B':
		server_bomb(s);
		return true;
	case 'N':
		while (server_read(s, &c, 1) == 1)
			;
		return false;
	case 'Z':
		setsockopt(
		    s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		return false;
	default:
		return false;
	}
}

static void
server_session(struct server *s, const char *script)
{
	while (*script != '\0') {
		size_t len = strcspn(script, "\n");

		if (!server_step(s, script, len))
			return;
		script += len + (script[len] == '\n');
	}
}

static void *
server_main(void *arg)
{
	struct server *s = arg;

	for (size_t i = 0; i < SESSIONS && s->scripts[i] != NULL; i++) {
		struct pollfd pfd = { s->listener, POLLIN, 0 };

		if (poll(&pfd, 1, WAIT_MS) != 1 || (s->fd = accept(s->listener, NULL, NULL)) < 0) {
			snprintf(s->error, sizeof s->error, "session %zu: nobody came", i);
			break;
		}
		s->sessions++;
		server_session(s, s->scripts[i]);
		SSL_free(s->ssl);
		s->ssl = NULL;
		close(s->fd);
	}
	return NULL;
}

static int
listen_on(size_t index)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)t.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)index) };
	socklen_t len = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&in, sizeof in) < 0 || listen(fd, 5) < 0 ||
	    getsockname(fd, (struct sockaddr *)&in, &len) < 0) {
		close(fd);
		return -1;
	}
	t.port = ntohs(in.sin_port);
	return fd;
}

/* All servers on one port, each on its own address. */
static void
open_listeners(void)
{
	for (int try = 0; try < 50; try++) {
		size_t i;

		t.port = 0;
		for (i = 0; i < SERVERS; i++)
			if ((t.servers[i].listener = listen_on(i)) < 0)
				break;
		if (i == SERVERS)
			return;
		while (i-- > 0)
			fd_close(&t.servers[i].listener);
	}
	fail_msg("no port is free");
}

/* Up to four sessions, one after the other; without a script the server is down. */
static void
serve(size_t index, const char *a, const char *b, const char *c)
{
	struct server *s = &t.servers[index];

	s->scripts[0] = a;
	s->scripts[1] = b;
	s->scripts[2] = c;
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
	s->has_thread = true;
}

static void
down(size_t index)
{
	fd_close(&t.servers[index].listener);
}

static void
join(size_t index)
{
	struct server *s = &t.servers[index];

	if (s->has_thread)
		pthread_join(s->thread, NULL);
	s->has_thread = false;
	if (s->error[0] != '\0')
		fail_msg("server %zu: %s\n%s", index, s->error, buf_cstr(&s->commands));
}

/* ---------------------------------------------------------------- a dnsd with a table */

static void
record(const char *name, enum dns_type type, enum dns_status status, unsigned preference,
    const char *value)
{
	assert_true(t.nrecords < RECORDS);
	t.records[t.nrecords].name = name;
	t.records[t.nrecords].type = type;
	t.records[t.nrecords].status = status;
	t.records[t.nrecords].preference = preference;
	t.records[t.nrecords++].value = value;
}

static void
put_name(struct buf *b, const char *name)
{
	struct view rest = view_of(name), label;

	while (view_token(&rest, ".", &label)) {
		buf_append_byte(b, (int)label.len);
		buf_append_view(b, label);
	}
	buf_append_byte(b, 0);
}

static void
put_rdata(struct ipc_out *o, enum dns_type type, unsigned preference, const char *value)
{
	struct sockaddr_storage a;
	struct buf b;

	buf_init(&b, 300);
	if (type == DNS_MX) {
		buf_append_byte(&b, (int)(preference >> 8));
		buf_append_byte(&b, (int)(preference & 255));
		put_name(&b, value);
	} else {
		assert_true(addr_parse(view_of(value), &a));
		if (type == DNS_A)
			buf_append(&b, &((struct sockaddr_in *)&a)->sin_addr, 4);
		else
			buf_append(&b, &((struct sockaddr_in6 *)&a)->sin6_addr, 16);
	}
	ipc_put_bytes(o, b.p, b.len);
	buf_clear(&b);
}

static void
on_query(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *name = ipc_get_str(in);
	enum dns_type type = ipc_get_u32(in);
	enum dns_status status = DNS_NXDOMAIN;
	struct ipc_out o;

	(void)arg;
	for (size_t i = 0; i < t.nrecords; i++)
		if (strcmp(t.records[i].name, name) == 0 && status != DNS_OK)
			status = t.records[i].type == type ? t.records[i].status : DNS_NODATA;
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "test");
	for (size_t i = 0; i < t.nrecords && status == DNS_OK; i++)
		if (strcmp(t.records[i].name, name) == 0 && t.records[i].type == type)
			put_rdata(&o, type, t.records[i].preference, t.records[i].value);
	ipc_conn_reply(c, in->id, &o);
}

/* The usual: one.test has server 0, two.test has 0 before 1. */
static void
usual_records(void)
{
	record("one.test", DNS_MX, DNS_OK, 10, "mx0.test");
	record("two.test", DNS_MX, DNS_OK, 20, "mx1.test");
	record("two.test", DNS_MX, DNS_OK, 10, "mx0.test");
	record("mx0.test", DNS_A, DNS_OK, 0, "127.0.0.2");
	record("mx1.test", DNS_A, DNS_OK, 0, "127.0.0.3");
	record("mx2.test", DNS_A, DNS_OK, 0, "127.0.0.4");
}

/* ---------------------------------------------------------------- a qmgr */

static void
on_result(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct result *r = &t.results[t.nresults++];

	(void)arg, (void)c;
	assert_true(t.nresults < RESULTS);
	r->job = ipc_get_u32(in);
	r->number = ipc_get_u32(in);
	r->status = ipc_get_u32(in);
	snprintf(r->dsn, sizeof r->dsn, "%s", ipc_get_str(in));
	snprintf(r->text, sizeof r->text, "%s", ipc_get_str(in));
	snprintf(r->relay, sizeof r->relay, "%s", ipc_get_str(in));
	r->code = ipc_get_u32(in);
	r->setup = ipc_get_u32(in);
	r->transmit = ipc_get_u32(in);
	r->uses = ipc_get_u32(in);
	r->unreachable = ipc_get_u32(in);
}

static void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)why;
	if (arg != NULL && *(struct ipc_conn **)arg == c)
		*(struct ipc_conn **)arg = NULL;
}

static const struct ipc_handler dnsd_handlers[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_query },
	{ 0, NULL, 0, NULL } };
static const struct ipc_handler qmgr_handlers[] = {
	{ RELAY_RESULT, RELAY_RESULT_SIG, IPC_STATE_ANY, on_result }, { 0, NULL, 0, NULL }
};
static const struct ipc_conn_ops dnsd_ops = { dnsd_handlers, on_close },
				 qmgr_ops = { qmgr_handlers, on_close };

struct message {
	const char *sender, *nexthop, *headers, *body, *envid;
	size_t body_len; /* 0: strlen */
	uint32_t flags;
};

static uint32_t
send_job(const struct message *m, const char *const *rcpts, size_t count)
{
	size_t body_len = m->body_len != 0 ? m->body_len : strlen(m->body);
	int headers = memfd_sealed("headers", m->headers, strlen(m->headers), NULL);
	int body = memfd_sealed("body", m->body, body_len, NULL);
	struct ipc_out o;

	ipc_out_init(&o, RELAY_JOB);
	ipc_put_u32(&o, ++t.next_job);
	ipc_put_str(&o, "4ABCDE0000zABC");
	ipc_put_str(&o, m->nexthop);
	ipc_put_str(&o, m->sender);
	ipc_put_u32(&o, m->flags);
	ipc_put_str(&o, m->envid);
	ipc_put_u64(&o, body_len);
	ipc_put_u64(&o, 0);
	ipc_put_u64(&o, 1);
	ipc_put_fd(&o, headers);
	ipc_put_fd(&o, body);
	for (size_t i = 0; i < count; i++) {
		ipc_put_u32(&o, (uint32_t)i);
		ipc_put_str(&o, rcpts[i]);
		ipc_put_u32(&o, 0);
		ipc_put_str(&o, "");
	}
	assert_int_equal(ipc_conn_send(t.qmgr, &o), 0);
	close(headers);
	close(body);
	return t.next_job;
}

static const struct message plain = { .sender = "a@home.test",
	.nexthop = "one.test",
	.headers = "Subject: x\r\n\r\n",
	.body = "hello\r\n.dot\r\n",
	.envid = "" };

static struct message
to(const char *nexthop)
{
	struct message m = plain;

	m.nexthop = nexthop;
	return m;
}

static void
turn_until_results(size_t count)
{
	int64_t deadline = clock_mono_ms() + WAIT_MS;

	while (t.nresults < count) {
		if (clock_mono_ms() > deadline)
			fail_msg("only %zu results", t.nresults);
		loop_run_once(t.loop, false);
		poll(NULL, 0, 1);
	}
}

/* Nothing more comes. */
static void
turn_a_little(void)
{
	for (int i = 0; i < 20; i++) {
		loop_run_once(t.loop, false);
		poll(NULL, 0, 1);
	}
}

static void
deliver(const struct message *m, const char *rcpt)
{
	send_job(m, &rcpt, 1);
	turn_until_results(t.nresults + 1);
}

static void
expect(
    size_t index, enum delivery_status status, const char *dsn, const char *text, const char *relay)
{
	const struct result *r = &t.results[index];
	char *want_text = x_strdup(text), *p;
	char relay_text[100];

	/* "@" stands for the port, for no text of a server has one here */
	while ((p = strchr(want_text, '@')) != NULL) {
		char *longer =
		    x_asprintf("%.*s%u%s", (int)(p - want_text), want_text, t.port, p + 1);

		free(want_text);
		want_text = longer;
	}
	snprintf(relay_text, sizeof relay_text, "%s%s", relay, "");
	if (strcmp(relay, "none") != 0)
		snprintf(relay_text, sizeof relay_text, "%s:%u", relay, t.port);
	if (r->status != status || strcmp(r->dsn, dsn) != 0 || strcmp(r->text, want_text) != 0 ||
	    strcmp(r->relay, relay_text) != 0)
		fail_msg("result %zu: %u %s \"%s\" %s\nexpected: %d %s \"%s\" %s", index, r->status,
		    r->dsn, r->text, r->relay, status, dsn, want_text, relay_text);
	free(want_text);
}

/* ---------------------------------------------------------------- set-up */

static void
set(const char *name, const char *value)
{
	struct err e;

	if (conf_set(&t.conf, name, value, "test", 1, &e) < 0)
		fail_msg("%s", e.text);
}

static void
start_relay(void)
{
	char port[16];
	struct err e;
	int fds[2];

	snprintf(port, sizeof port, "%u", t.port);
	set("smtp_tcp_port", port);
	if (relay_conf_read(&t.rc, &t.conf, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	t.dnsd = ipc_conn_new(t.loop, fds[1], &dnsd_ops, &t.dnsd);
	t.relay = relay_new(t.loop, &t.rc, t.edge);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.qmgr = ipc_conn_new(t.loop, fds[0], &qmgr_ops, &t.qmgr);
	relay_qmgr_open(t.relay, ipc_conn_new(t.loop, fds[1], &relay_qmgr_ops, NULL));
}

static int
setup(void **state)
{
	(void)state;
	memset(&t.records, 0, sizeof t.records);
	t.nrecords = t.nresults = 0;
	memset(&t.results, 0, sizeof t.results);
	memset(&t.servers, 0, sizeof t.servers);
	for (size_t i = 0; i < SERVERS; i++) {
		buf_init(&t.servers[i].commands, 1 << 20);
		buf_init(&t.servers[i].data, 64 << 20);
		t.servers[i].listener = -1;
	}
	open_listeners();
	conf_init(&t.conf);
	set("myhostname", "me.test");
	set("inet_interfaces", "127.0.0.1");
	set("smtp_tls_security_level", "none");
	usual_records();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little(); /* QUIT of kept connections */
	ipc_conn_close(t.qmgr);
	ipc_edge_free(t.edge);
	turn_a_little();
	ipc_conn_close(t.dnsd);
	t.qmgr = t.dnsd = NULL;
	t.edge = NULL;
	for (size_t i = 0; i < SERVERS; i++) {
		fd_close(&t.servers[i].listener);
		if (t.servers[i].has_thread)
			pthread_join(t.servers[i].thread, NULL);
		buf_clear(&t.servers[i].commands);
		buf_clear(&t.servers[i].data);
	}
	relay_conf_clear(&t.rc);
	conf_clear(&t.conf);
	return 0;
}

#define HELLO "S 220 mx ESMTP\nC EHLO me.test\nS 250-mx\n"
#define PLAIN_HELLO HELLO "S 250 HELP\n"
#define PIPE_HELLO HELLO "S 250-SIZE 1000000\nS 250-8BITMIME\nS 250 PIPELINING\n"
#define ENVELOPE "C MAIL\nS 250 2.1.0 ok\nC RCPT\nS 250 2.1.5 ok\n"
#define DATA "C DATA\nS 354 go\nD\nS 250 2.0.0 Ok: queued as X\n"

/* ---------------------------------------------------------------- tests */

static void
test_one_message(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    PIPE_HELLO
	    "C MAIL FROM:<a@home.test> SIZE=27\nC RCPT TO:<u@one.test>\nC DATA\nS 250 ok\nS 250 ok\n"
	    "S 354 go\nD\nS 250 2.0.0 Ok: queued as X\nC QUIT\n",
	    NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[0].code, 250);
	assert_int_equal(t.results[0].uses, 1);
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	join(0);
	assert_string_equal(
	    buf_cstr(&t.servers[0].data), "Subject: x\r\n\r\nhello\r\n..dot\r\n.\r\n");
}

static void
test_without_pipelining_and_ehlo(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    "S 220 old\nC EHLO\nS 502 what\nC HELO me.test\nS 250 old\nC MAIL FROM:<a@home.test>\nS 250 ok\n"
	    "C RCPT TO:<u@one.test>\nS 250 ok\n" DATA "X\n",
	    NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static const char *const three[] = { "a@one.test", "b@one.test", "c@one.test" };

static void
test_each_recipient_its_own(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    PIPE_HELLO
	    "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 550-5.1.1 no\nS 550 5.1.1 such user\n"
	    "S 451 later\nS 354 go\nD\nS 250 done\nX\n",
	    NULL, NULL);
	send_job(&plain, three, 3);
	turn_until_results(3);
	expect(0, DELIVERY_BOUNCED, "5.1.1",
	    "host mx0.test[127.0.0.2] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[0].number, 1);
	expect(1, DELIVERY_DEFERRED, "4.0.0",
	    "host mx0.test[127.0.0.2] said: 451 later (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	expect(2, DELIVERY_SENT, "2.0.0", "250 done", "mx0.test[127.0.0.2]");
	turn_a_little();
	assert_int_equal(t.nresults, 3);
	join(0);
}

static void
test_second_mx(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	down(0);
	serve(1, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	join(1);
}

static void
test_second_mx_after_refusals(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	serve(0, "S 554 go away\nX\n",
	    PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nS 450 4.7.1 grey\nC QUIT\n", NULL);
	serve(1, PLAIN_HELLO ENVELOPE DATA "X\n", PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	turn_a_little(); /* the connection to mx1 is gone */
	deliver(&m, "u@two.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	join(1);
}

static void
test_all_hosts_down(void **state)
{
	struct message m = to("two.test");

	(void)state;
	start_relay();
	down(0);
	down(1);
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_DEFERRED, "4.4.1",
	    "connect to mx1.test[127.0.0.3]:@: Connection refused", "none");
	assert_int_equal(t.results[0].unreachable, 1);
}

static void
test_refused_greeting(void **state)
{
	(void)state;
	start_relay();
	serve(0, "S 554 5.7.1 go away\nX\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.1",
	    "host mx0.test[127.0.0.2] refused to talk to me: 554 5.7.1 go away",
	    "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[0].unreachable, 1);
	join(0);
}

static void
test_dns_outcomes(void **state)
{
	static const struct {
		const char *domain;
		enum delivery_status status;
		const char *dsn, *text;
	} cases[] = {
		{ "null.test", DELIVERY_BOUNCED, "5.1.10",
		    "Domain null.test does not accept mail (nullMX)" },
		{ "nowhere.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=nowhere.test type=MX: Host not found" },
		{ "fail.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=fail.test type=MX: Host not found, try again" },
		{ "bogus.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=bogus.test type=MX: Host not found, try again" },
		{ "noaddr.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=gone.test type=A: Host not found" },
		{ "softaddr.test", DELIVERY_DEFERRED, "4.4.3",
		    "Host or domain name not found. Name service error for name=soft.test type=A: Host not found, try again" },
		{ "mxip.test", DELIVERY_BOUNCED, "5.4.4",
		    "Host or domain name not found. Name service error for name=192.0.2.1 type=A: Host not found" },
		{ "loop.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for loop.test loops back to myself" },
		{ "loopaddr.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for loopaddr.test loops back to myself" },
		{ "zero.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for zero.test loops back to myself" },
		{ "self.test", DELIVERY_BOUNCED, "5.4.6",
		    "mail for self.test loops back to myself" },
	};

	(void)state;
	start_relay();
	record("null.test", DNS_MX, DNS_OK, 0, "");
	record("fail.test", DNS_MX, DNS_FAIL, 0, "");
	record("bogus.test", DNS_MX, DNS_BOGUS, 0, "");
	record("noaddr.test", DNS_MX, DNS_OK, 10, "gone.test");
	record("softaddr.test", DNS_MX, DNS_OK, 10, "soft.test");
	record("softaddr.test", DNS_MX, DNS_OK, 20, "gone.test");
	record("soft.test", DNS_A, DNS_FAIL, 0, "");
	record("mxip.test", DNS_MX, DNS_OK, 10, "192.0.2.1");
	record("loop.test", DNS_MX, DNS_OK, 10, "me.test");
	record("loop.test", DNS_MX, DNS_OK, 10, "mx0.test"); /* equal to us: not tried */
	record("loop.test", DNS_MX, DNS_OK, 20, "mx1.test");
	record("loopaddr.test", DNS_MX, DNS_OK, 10, "alias.test");
	record("alias.test", DNS_A, DNS_OK, 0, "127.0.0.1");
	record("zero.test", DNS_MX, DNS_OK, 10, "zeroaddr.test");
	record("zeroaddr.test", DNS_A, DNS_OK, 0, "0.0.0.0");
	record("self.test", DNS_A, DNS_OK, 0, "127.0.0.1"); /* no MX */
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct message m = to(cases[i].domain);

		deliver(&m, "u@x.test");
		expect(i, cases[i].status, cases[i].dsn, cases[i].text, "none");
	}
	turn_a_little();
	assert_int_equal(t.nresults, sizeof cases / sizeof cases[0]);
	assert_int_equal(t.servers[0].sessions, 0);
}

static void
test_better_mx_than_ourselves(void **state)
{
	struct message m = to("backup.test");

	(void)state;
	start_relay();
	record("backup.test", DNS_MX, DNS_OK, 10, "mx1.test");
	record("backup.test", DNS_MX, DNS_OK, 20, "me.test");
	record("backup.test", DNS_MX, DNS_OK, 30, "mx0.test");
	down(1);
	deliver(&m, "u@backup.test"); /* mx0 is worse than we are: waits for mx1 */
	expect(0, DELIVERY_DEFERRED, "4.4.1",
	    "connect to mx1.test[127.0.0.3]:@: Connection refused", "none");
}

static void
test_nexthop_forms(void **state)
{
	char hop[64];
	struct message m;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	snprintf(hop, sizeof hop, "[127.0.0.2]:%u", t.port);
	m = to(hop);
	deliver(&m, "u@x.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "127.0.0.2[127.0.0.2]");
	turn_a_little();
	snprintf(hop, sizeof hop, "[mx0.test]:%u", t.port);
	deliver(&m, "u@x.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	m = to("[mx0.test]:x");
	deliver(&m, "u@x.test");
	expect(2, DELIVERY_DEFERRED, "4.3.5",
	    "mail system configuration error: nexthop [mx0.test]:x: bad port", "none");
	m = to("a..b");
	deliver(&m, "u@a..b");
	expect(3, DELIVERY_BOUNCED, "5.1.2", "invalid domain name: a..b: not a host or domain name",
	    "none");
	m = to("one.test");
	deliver(&m, "u@one.test> NOTIFY=NEVER");
	expect(4, DELIVERY_BOUNCED, "5.1.3", "bad recipient address syntax", "none");
	m.sender = "a\"@home.test";
	deliver(&m, "u@one.test");
	expect(5, DELIVERY_BOUNCED, "5.1.7", "bad sender address syntax", "none");
	join(0);
}

static void
test_lost_connections(void **state)
{
	static const struct {
		const char *script, *dsn, *text;
	} cases[] = {
		{ "X\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while receiving the initial server greeting" },
		{ "S 220 a\nC EHLO\nZ\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while performing the EHLO handshake" },
		{ PLAIN_HELLO "C MAIL\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending MAIL FROM" },
		{ PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending RCPT TO" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending DATA command" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nX\n", "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending end of data -- message may be sent more than once" },
		{ PLAIN_HELLO "C MAIL\nS 421 4.3.2 bye\nX\n", "4.3.2",
		    "host mx0.test[127.0.0.2] said: 421 4.3.2 bye (in reply to MAIL FROM command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 421 4.3.2 bye\nX\n", "4.3.2",
		    "host mx0.test[127.0.0.2] said: 421 4.3.2 bye (in reply to end of DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 452 4.3.1 full\nX\n", "4.3.1",
		    "host mx0.test[127.0.0.2] said: 452 4.3.1 full (in reply to end of DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 451 4.3.1 full\nX\n", "4.3.1",
		    "host mx0.test[127.0.0.2] said: 451 4.3.1 full (in reply to DATA command)" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nS 250 surprise\nX\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending DATA command: message accepted before it was sent" },
		{ "S 220 a\nC EHLO\nB\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while performing the EHLO handshake: reply of more than 100 lines" },
		{ "R 220 a\\rb\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: bare CR in a reply" },
		{ "S SSH-2.0-x\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: no reply code" },
		{ "R 220 a\\r\\n250 b\\r\\n250 c\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while receiving the initial server greeting: a reply before the command" },
		{ PLAIN_HELLO ENVELOPE "C DATA\nR 354 go\\r\\n250 done\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending DATA command: a reply before the command" },
		{ PLAIN_HELLO "C MAIL\nR 250 ok\\r\\n250 ok\\r\\n\nN\n", "4.5.0",
		    "protocol error of mx0.test[127.0.0.2] while sending RCPT TO: a reply before the command" },
	};

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		serve(0, cases[i].script, NULL, NULL);
		deliver(&plain, "u@one.test");
		expect(i, DELIVERY_DEFERRED, cases[i].dsn, cases[i].text, "mx0.test[127.0.0.2]");
		turn_a_little();
		assert_int_equal(t.nresults, i + 1);
		join(0);
		buf_reset(&t.servers[0].data);
	}
}

static void
test_permanent_failures(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, PLAIN_HELLO "C MAIL\nS 550 5.7.1 spammer\nX\n",
	    PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 554 5.6.0 virus\nX\n",
	    PIPE_HELLO "C MAIL\nC RCPT\nC DATA\nS 550 no\nS 503 x\nS 503 x\nX\n");
	deliver(&plain, "u@one.test");
	deliver(&plain, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.1",
	    "host mx0.test[127.0.0.2] said: 550 5.7.1 spammer (in reply to MAIL FROM command)",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_BOUNCED, "5.6.0",
	    "host mx0.test[127.0.0.2] said: 554 5.6.0 virus (in reply to end of DATA command)",
	    "mx0.test[127.0.0.2]");
	expect(2, DELIVERY_BOUNCED, "5.0.0",
	    "host mx0.test[127.0.0.2] said: 550 no (in reply to MAIL FROM command)",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_timeouts(void **state)
{
	(void)state;
	set("smtp_helo_timeout", "1s");
	set("smtp_data_done_timeout", "1s");
	set("smtp_data_xfer_timeout", "1s");
	start_relay();
	serve(0, "N\n", PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nN\n", NULL);
	deliver(&plain, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.4.2",
	    "conversation with mx0.test[127.0.0.2] timed out while receiving the initial server greeting",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_DEFERRED, "4.4.2",
	    "conversation with mx0.test[127.0.0.2] timed out while sending end of data -- message may be sent more than once",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_reply_while_sending(void **state)
{
	struct message m = plain;
	char *body = x_malloc(32 << 20);

	(void)state;
	for (size_t i = 0; i < 32 << 20; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
	m.body = body;
	m.body_len = 32 << 20;
	start_relay();
	/* the peer does not read, so that most of the message waits, and claims that it has it */
	serve(0, PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nC Subject\nS 250 2.0.0 got it\nN\n",
	    PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nC Subject\nS 552 5.3.4 too big\nN\n", NULL);
	deliver(&m, "u@one.test");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.5.0",
	    "protocol error of mx0.test[127.0.0.2] while sending message body: a reply before the end of the message",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_BOUNCED, "5.3.4",
	    "host mx0.test[127.0.0.2] said: 552 5.3.4 too big (in reply to message content)",
	    "mx0.test[127.0.0.2]");
	free(body);
	join(0);
}

static void
test_large_message(void **state)
{
	struct message m = plain;
	char *body = x_malloc(8 << 20);
	struct server *s = &t.servers[0];

	(void)state;
	for (size_t i = 0; i < 8 << 20; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
	m.body = body;
	m.body_len = 8 << 20;
	start_relay();
	serve(0, HELLO "S 250 SIZE 0\n" ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_int_equal(s->data.len, 14 + (8 << 20) + 3);
	assert_memory_equal(s->data.p + 14, body, 8 << 20);
	free(body);
}

static void
test_reuse(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    PIPE_HELLO
	    "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 first\n"
	    "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 550 no\nS 354 go\nD\nS 554 nobody\n"
	    "C RSET\nC MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 third\nX\n",
	    PLAIN_HELLO ENVELOPE DATA "X\n", NULL);
	deliver(&plain, "u@one.test");
	deliver(&plain, "v@one.test");
	turn_a_little(); /* told at RCPT; the connection is free after the dot */
	deliver(&plain, "w@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 first", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_BOUNCED, "5.0.0",
	    "host mx0.test[127.0.0.2] said: 550 no (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	expect(2, DELIVERY_SENT, "2.0.0", "250 third", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[2].uses, 3);
	deliver(&plain, "x@one.test"); /* the server closed: a new connection, nobody notices */
	expect(3, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[3].uses, 1);
	join(0);
	assert_int_equal(t.servers[0].sessions, 2);
}

static void
test_stale_reuse(void **state)
{
	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C MAIL\nS 421 4.4.2 idle too long\nX\n",
	    PLAIN_HELLO ENVELOPE DATA "C MAIL\nX\n", PLAIN_HELLO ENVELOPE DATA "X\n");
	for (size_t i = 0; i < 3; i++) {
		deliver(&plain, "u@one.test");
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
		assert_int_equal(t.results[i].uses, 1);
	}
	join(0);
}

static void
test_connection_is_kept_for_a_moment_only(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "1s");
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C QUIT\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	for (int64_t until = clock_mono_ms() + 1500; clock_mono_ms() < until;)
		turn_a_little();
	join(0);
}

static void
test_too_many_recipients(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    PIPE_HELLO
	    "C MAIL\nC RCPT\nC RCPT\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 452 4.5.3 too many\nS 552 too many\n"
	    "S 354 go\nD\nS 250 one\n"
	    "C MAIL\nC RCPT TO:<b\nC RCPT TO:<c\nC DATA\nS 250 ok\nS 250 ok\nS 552 5.2.2 mailbox full\nS 354 go\nD\nS 250 two\nX\n",
	    NULL, NULL);
	send_job(&plain, three, 3);
	turn_until_results(3);
	expect(0, DELIVERY_SENT, "2.0.0", "250 one", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_BOUNCED, "5.2.2",
	    "host mx0.test[127.0.0.2] said: 552 5.2.2 mailbox full (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	expect(2, DELIVERY_SENT, "2.0.0", "250 two", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[2].number, 1);
	join(0);
}

static void
test_recipients_are_split(void **state)
{
	(void)state;
	set("smtp_destination_recipient_limit", "2");
	start_relay();
	serve(0,
	    PLAIN_HELLO "C MAIL\nS 250 ok\nC RCPT TO:<a\nS 250 ok\nC RCPT TO:<b\nS 250 ok\n" DATA
			"C MAIL\nS 250 ok\nC RCPT TO:<c\nS 250 ok\n" DATA "X\n",
	    NULL, NULL);
	send_job(&plain, three, 3);
	turn_until_results(3);
	for (size_t i = 0; i < 3; i++)
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

/* Those of a later transaction, when the connection ends in an earlier one: never "sent". */
static void
test_split_and_lost(void **state)
{
	struct message m = plain;

	(void)state;
	set("smtp_destination_recipient_limit", "1");
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nX\n",
	    PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nN\n", NULL);
	send_job(&plain, three, 3);
	turn_until_results(3);
	for (size_t i = 0; i < 3; i++)
		expect(i, DELIVERY_DEFERRED, "4.4.2",
		    "lost connection with mx0.test[127.0.0.2] while sending end of data -- message may be sent more than once",
		    "mx0.test[127.0.0.2]");

	m.body = "bare\rCR\r\n";
	t.nresults = 0;
	send_job(&m, three, 2);
	turn_until_results(2);
	expect(0, DELIVERY_BOUNCED, "5.6.0", "bare carriage return in the message",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_DEFERRED, "4.4.2",
	    "the connection was closed before the message was sent", "none");
	join(0);
}

static void
test_many_pipelined_recipients(void **state)
{
	enum { N = 300 };
	static char names[N][40];
	const char *list[N];
	struct buf script;

	(void)state;
	set("smtp_destination_recipient_limit", "1000");
	start_relay();
	buf_init(&script, 1 << 16);
	buf_append_str(&script, PIPE_HELLO "C MAIL\nS 250 ok\n");
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof names[i], "u%d@one.test", i);
		list[i] = names[i];
		buf_printf(&script, "C RCPT TO:<u%d@\nS %s\n", i, i % 3 == 0 ? "550 no" : "250 ok");
	}
	buf_append_str(&script, DATA "X\n");
	serve(0, buf_cstr(&script), NULL, NULL);
	send_job(&plain, list, N);
	turn_until_results(N);
	for (int i = 0; i < N; i++)
		assert_int_equal(t.results[i].status,
		    t.results[i].number % 3 == 0 ? DELIVERY_BOUNCED : DELIVERY_SENT);
	join(0);
	buf_clear(&script);
}

static void
test_what_the_server_cannot_take(void **state)
{
	struct message m = plain;

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, HELLO "S 250 SIZE 20\nC QUIT\n", PLAIN_HELLO "C QUIT\n",
	    PLAIN_HELLO ENVELOPE DATA "X\n");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.3.4",
	    "message size 27 exceeds size limit 20 of server mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	m.flags = ENVELOPE_8BIT;
	m.body = "caf\xc3\xa9\r\n";
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.6.3",
	    "message has 8-bit content, and 8BITMIME was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	m.body = "cafe\r\n"; /* only announced as such */
	deliver(&m, "u@one.test");
	expect(2, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

/* The server goes while we still look at what the message holds. */
static void
test_server_goes_during_the_scan(void **state)
{
	struct message m = plain;
	char *body = x_malloc(32 << 20);

	(void)state;
	memset(body, 'x', 32 << 20);
	m.body = body;
	m.body_len = 32 << 20;
	m.flags = ENVELOPE_8BIT;
	start_relay();
	serve(0, PLAIN_HELLO "Z\n", NULL, NULL);
	deliver(&m, "u@one.test");
	assert_int_equal(t.results[0].status, DELIVERY_DEFERRED);
	assert_string_equal(t.results[0].dsn, "4.4.2");
	turn_a_little();
	free(body);
	join(0);
}

static void
test_utf8(void **state)
{
	struct message m = plain;

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, PLAIN_HELLO "C QUIT\n",
	    HELLO
	    "S 250 SMTPUTF8\nC MAIL FROM:<a@home.test> SMTPUTF8\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    PLAIN_HELLO ENVELOPE DATA "X\n");
	m.flags = ENVELOPE_SMTPUTF8;
	m.headers = "Subject: caf\xc3\xa9\r\n\r\n";
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.6.7",
	    "SMTPUTF8 is required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	m.headers = "Subject: cafe\r\n\r\n"; /* asked for, not needed */
	deliver(&m, "u@one.test");
	expect(2, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_bare_cr_is_not_sent(void **state)
{
	struct message m = plain;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nN\n", NULL, NULL);
	m.body = "a\r.\r\nMAIL FROM:<b>\r\n";
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.6.0", "bare carriage return in the message",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_server_bears_our_name(void **state)
{
	(void)state;
	start_relay();
	serve(0, "S 220 x\nC EHLO\nS 250 me.test\nN\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.4.6", "mail for one.test loops back to myself",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_tls(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	/* what the man in the middle puts behind 220 counts for nothing */
	serve(0,
	    HELLO
	    "S 250 STARTTLS\nC STARTTLS\nR 220 go\\r\\n250 evil\\r\\n250 SIZE 1\\r\\n\nT\nC EHLO\nS 250 mx\n" ENVELOPE
		DATA "X\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 454 not now\n" ENVELOPE DATA "X\n", NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_tls_fails(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nS this is no TLS\nX\n",
	    HELLO "S 250 STARTTLS\n" ENVELOPE DATA "X\n", NULL); /* the same host, in the clear */
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_tls_required(void **state)
{
	(void)state;
	set("smtp_tls_security_level", "encrypt");
	start_relay();
	serve(0, PLAIN_HELLO "N\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nS this is no TLS\nX\n",
	    HELLO "S 250 STARTTLS\nC STARTTLS\nS 454 4.7.0 not now\nN\n");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.7.4",
	    "TLS is required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.7.5",
	    "Cannot start TLS: handshake failure with mx0.test[127.0.0.2]", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.7.0",
	    "host mx0.test[127.0.0.2] refused to start TLS, which is required: 454 4.7.0 not now",
	    "mx0.test[127.0.0.2]");
	join(0);
}

#define TLS_HELLO HELLO "S 250 STARTTLS\nC STARTTLS\nS 220 go\nT\nC EHLO\n"
#define CERTIFICATE "/tmp/relay_test.XXXXXX"

/* The server's certificate becomes one of an authority that is trusted. */
static void
trust_server(char path[sizeof CERTIFICATE])
{
	FILE *f;

	snprintf(path, sizeof CERTIFICATE, CERTIFICATE);
	f = fdopen(mkstemp(path), "w");
	assert_non_null(f);
	PEM_write_X509(f, SSL_CTX_get0_certificate(t.server_tls));
	fclose(f);
	set("smtp_tls_CAfile", path);
}

/* RFC 8689 4.2.1 */
static void
test_requiretls(void **state)
{
	struct message m = plain;
	char path[sizeof CERTIFICATE];

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	m.nexthop =
	    "[mx0.test]"; /* named by the admin, not by an MX record that anybody could forge */
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	trust_server(path);
	start_relay();
	unlink(path);
	serve(0,
	    TLS_HELLO
	    "S 250-mx\nS 250 REQUIRETLS\nC MAIL FROM:<a@home.test> REQUIRETLS\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    TLS_HELLO "S 250-mx\nS 250 HELP\nC QUIT\nX\n", HELLO "S 250 REQUIRETLS\nC QUIT\nX\n");
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.7.30",
	    "REQUIRETLS support required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(2, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but there is no TLS with host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_requiretls_needs_proof(void **state)
{
	struct message m = plain;
	char path[sizeof CERTIFICATE];

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	set("smtp_tls_security_level", "may");
	set("smtp_connection_cache_time_limit", "0");
	trust_server(path);
	start_relay();
	unlink(path);
	serve(0, TLS_HELLO "S 250-mx\nS 250 REQUIRETLS\nC QUIT\nX\n",
	    TLS_HELLO
	    "S 250-mx\nS 250 REQUIRETLS\nC MAIL FROM:<> REQUIRETLS\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
	    "X\n",
	    NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but the MX record that names host mx0.test[127.0.0.2] is not signed",
	    "mx0.test[127.0.0.2]");
	/* RFC 8689 5: a bounce goes on all the same */
	m.sender = "";
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_requiretls_needs_a_known_certificate(void **state)
{
	struct message m = plain;

	(void)state;
	m.flags = ENVELOPE_REQUIRETLS;
	m.nexthop = "[mx0.test]";
	set("smtp_tls_security_level", "may");
	start_relay();
	serve(0, TLS_HELLO "S 250-mx\nS 250 REQUIRETLS\nC QUIT\nX\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.7.10",
	    "Encryption needed, but the certificate of host mx0.test[127.0.0.2] is not trusted",
	    "mx0.test[127.0.0.2]");
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	join(0);
}

/* RFC 8689 4.2.2 */
static void
test_tls_optional(void **state)
{
	struct message m = plain;

	(void)state;
	m.flags = ENVELOPE_TLS_OPTIONAL;
	set("smtp_tls_security_level", "encrypt");
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "C QUIT\nX\n", PLAIN_HELLO "N\n", NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test"); /* not over the connection that was kept */
	expect(1, DELIVERY_DEFERRED, "4.7.4",
	    "TLS is required, but was not offered by host mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	join(0);
}

/* More jobs than connections: all are done, one after the other. */
static void
test_connection_limit(void **state)
{
	enum { N = 6 };
	const char *rcpt = "u@one.test";

	(void)state;
	set("smtp_connection_limit", "1");
	start_relay();
	serve(0,
	    PLAIN_HELLO ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA ENVELOPE DATA
		ENVELOPE DATA "X\n",
	    NULL, NULL);
	for (int i = 0; i < N; i++)
		send_job(&plain, &rcpt, 1);
	turn_until_results(N);
	for (size_t i = 0; i < N; i++) {
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
		assert_int_equal(t.results[i].uses, i + 1);
	}
	join(0);
}

static void
test_unsealed_content_is_refused(void **state)
{
	struct ipc_out o;
	int pipes[2];

	(void)state;
	start_relay();
	assert_int_equal(pipe(pipes), 0);
	ipc_out_init(&o, RELAY_JOB);
	ipc_put_u32(&o, 1);
	ipc_put_str(&o, "id");
	ipc_put_str(&o, "one.test");
	ipc_put_str(&o, "");
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "");
	ipc_put_u64(&o, 1);
	ipc_put_u64(&o, 0);
	ipc_put_u64(&o, 1);
	ipc_put_fd(&o, pipes[0]);
	ipc_put_fd(&o, pipes[0]);
	ipc_put_u32(&o, 7);
	ipc_put_str(&o, "u@one.test");
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, "");
	assert_int_equal(ipc_conn_send(t.qmgr, &o), 0);
	turn_until_results(1);
	assert_int_equal(t.results[0].number, 7);
	assert_int_equal(t.results[0].status, DELIVERY_DEFERRED);
	assert_string_equal(t.results[0].dsn, "4.3.0");
	close(pipes[0]);
	close(pipes[1]);
}

/* qmgr goes at every stage: nothing is left behind, the worker lives on. */
static void
test_qmgr_lost(void **state)
{
	static const char *const scripts[] = { "N\n", "S 220 a\nC EHLO\nN\n",
		PLAIN_HELLO "C MAIL\nN\n", PLAIN_HELLO ENVELOPE "C DATA\nN\n",
		PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nN\n" };
	const char *rcpt = "u@one.test";

	(void)state;
	set("smtp_connection_limit", "1"); /* the second job waits */
	start_relay();
	for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
		int fds[2];

		serve(0, scripts[i], NULL, NULL);
		send_job(&plain, &rcpt, 1);
		send_job(&plain, &rcpt, 1);
		for (int n = 0; n < 3; n++)
			turn_a_little();
		ipc_conn_close(t.qmgr);
		t.qmgr = NULL;
		turn_a_little();
		join(0);
		buf_reset(&t.servers[0].data);
		assert_int_equal(t.nresults, 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
		t.qmgr = ipc_conn_new(t.loop, fds[0], &qmgr_ops, &t.qmgr);
		relay_qmgr_open(t.relay, ipc_conn_new(t.loop, fds[1], &relay_qmgr_ops, NULL));
	}
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&plain, rcpt);
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
on_idle(void *arg)
{
	*(bool *)arg = true;
}

static void
test_drain(void **state)
{
	const char *rcpt = "u@one.test";
	bool idle = false;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	send_job(&plain, &rcpt, 1);
	turn_a_little();
	relay_drain(t.relay, on_idle, &idle);
	turn_until_results(1);
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	turn_a_little();
	assert_true(idle);
	join(0);
}

/* ---------------------------------------------------------------- */

static SSL_CTX *
make_server_tls(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)"mx0.test", -1, -1, 0);
	X509_set_issuer_name(cert, name);
	X509_sign(cert, key, EVP_sha256());
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, key);
	X509_free(cert);
	EVP_PKEY_free(key);
	return ctx;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_message),
		TEST(test_without_pipelining_and_ehlo),
		TEST(test_each_recipient_its_own),
		TEST(test_second_mx),
		TEST(test_second_mx_after_refusals),
		TEST(test_all_hosts_down),
		TEST(test_refused_greeting),
		TEST(test_dns_outcomes),
		TEST(test_better_mx_than_ourselves),
		TEST(test_nexthop_forms),
		TEST(test_lost_connections),
		TEST(test_permanent_failures),
		TEST(test_timeouts),
		TEST(test_reply_while_sending),
		TEST(test_large_message),
		TEST(test_reuse),
		TEST(test_stale_reuse),
		TEST(test_connection_is_kept_for_a_moment_only),
		TEST(test_too_many_recipients),
		TEST(test_recipients_are_split),
		TEST(test_split_and_lost),
		TEST(test_many_pipelined_recipients),
		TEST(test_what_the_server_cannot_take),
		TEST(test_server_goes_during_the_scan),
		TEST(test_utf8),
		TEST(test_bare_cr_is_not_sent),
		TEST(test_server_bears_our_name),
		TEST(test_tls),
		TEST(test_tls_fails),
		TEST(test_tls_required),
		TEST(test_requiretls),
		TEST(test_requiretls_needs_proof),
		TEST(test_requiretls_needs_a_known_certificate),
		TEST(test_tls_optional),
		TEST(test_connection_limit),
		TEST(test_unsealed_content_is_refused),
		TEST(test_qmgr_lost),
		TEST(test_drain),
	};
	struct err e;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	t.loop = loop_new();
	t.server_tls = make_server_tls();
	if (tls_init(t.loop, NULL, &e) < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	SSL_CTX_free(t.server_tls);
	loop_free(t.loop);
	return rc;
}
