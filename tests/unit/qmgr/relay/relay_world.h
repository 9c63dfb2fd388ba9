/* relay_world.h - relay as a whole, in one process: a qmgr that sends jobs, a dnsd with a table, and SMTP servers that follow a
 * script, each on a loopback address of its own in a thread. */
#ifndef TESTS_UNIT_QMGR_RELAY_RELAY_WORLD_H
#define TESTS_UNIT_QMGR_RELAY_RELAY_WORLD_H

#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/authd.h"
#include "common/ipc/msg/delivery.h"
#include "common/ipc/msg/dns.h"
#include "common/ipc/msg/fetch.h"
#include "common/ipc/msg/relay.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "common/proto/sts.h"
#include "qmgr/relay/relay.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
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
 *   K words   BDAT n words, with its n bytes of data
 *   L         chunks that are still on their way are refused, up to another command
 *   D         data up to the dot    T         TLS handshake      N  nothing may come: wait for the end
 *   X         close                 Z         close with a reset  B  a megabyte of reply without end */
struct server {
	int listener;
	pthread_t thread;
	bool has_thread;
	const char *scripts[SESSIONS];
	unsigned sessions; /* served */
	char from[SESSIONS][ADDR_TEXT];
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
	struct ipc_conn *qmgr, *dnsd, *authd, *fetchd;
	struct ipc_edge *edge, *authd_edge;
	struct ipc_edge *fetchd_edge;
	enum sts_mode sts_mode;
	const char *sts_mx; /* of every domain's policy; NULL: relay has no fetchd */
	const char
	    *passwords[4]
		      [2]; /* key, user:password; in place of the latter NULL: no answer for now */
	struct buf asked;  /* keys, a line for each question */
	const char *policies[4][2]; /* the same for TLS */
	const char *sources[4][2];  /* the same for source addresses */
	unsigned port;
	struct server servers[SERVERS];
	struct {
		const char *name;
		enum dns_type type;
		enum dns_status status;
		unsigned preference;
		const char *value;
		const char *alias_of; /* what its owner is an alias of; NULL: nothing */
		bool is_secure;
	} records[RECORDS];
	size_t nrecords;
	struct result results[RESULTS];
	size_t nresults;
	uint32_t next_job;
	SSL_CTX *server_tls;
} t;

/* ---------------------------------------------------------------- scripted servers (threads) */

static inline ssize_t
server_read(struct server *s, void *p, size_t len)
{
	struct pollfd pfd = { s->fd, POLLIN, 0 };

	if (s->ssl != NULL)
		return SSL_read(s->ssl, p, (int)len);
	if (poll(&pfd, 1, WAIT_MS) != 1)
		return -1;
	return read(s->fd, p, len);
}

static inline void
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

static inline bool
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

static inline bool
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

/* "BDAT n" or "BDAT n LAST", and n bytes. */
static inline bool
server_chunk(struct server *s, const char *words)
{
	static _Thread_local char block[65536];
	unsigned long long left;
	int at = 0;

	if (!server_line(s) || sscanf(s->line, "BDAT %llu%n", &left, &at) != 1 ||
	    strcmp(s->line + at + strspn(s->line + at, " "), words) != 0)
		return false;
	while (left > 0) {
		ssize_t n = server_read(s, block, left < sizeof block ? left : sizeof block);

		if (n <= 0)
			return false;
		buf_append(&s->data, block, (size_t)n);
		left -= (unsigned long long)n;
	}
	return true;
}

static inline void
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

static inline bool
server_tls(struct server *s)
{
	s->ssl = SSL_new(t.server_tls);
	SSL_set_fd(s->ssl, s->fd);
	return SSL_accept(s->ssl) == 1;
}

static inline void
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
static inline bool
server_step(struct server *s, const char *step, size_t len)
{
	static _Thread_local char waste[65536];
	char text[2000];

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
	case 'K':
		if (server_chunk(s, text))
			return true;
		snprintf(
		    s->error, sizeof s->error, "no chunk \"%.20s\", got %.150s", text, s->line);
		return false;
	case 'L':
		while (server_chunk(s, ""))
			server_write(s, "503 5.5.1 no\r\n", 14);
		return s->line[0] != '\0';
	case 'T':
		return server_tls(s);
	case 'B':
		server_bomb(s);
		return true;
	case 'N':
		while (server_read(s, waste, sizeof waste) > 0)
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

static inline void
server_session(struct server *s, const char *script)
{
	while (*script != '\0') {
		size_t len = strcspn(script, "\n");

		if (!server_step(s, script, len))
			return;
		script += len + (script[len] == '\n');
	}
}

static inline void *
server_main(void *arg)
{
	struct server *s = arg;

	for (size_t i = 0; i < SESSIONS && s->scripts[i] != NULL; i++) {
		struct pollfd pfd = { s->listener, POLLIN, 0 };

		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;

		if (poll(&pfd, 1, WAIT_MS) != 1 ||
		    (s->fd = accept(s->listener, (struct sockaddr *)&peer, &len)) < 0) {
			snprintf(s->error, sizeof s->error, "session %zu: nobody came", i);
			break;
		}
		addr_text(&peer, s->from[i]);
		s->sessions++;
		server_session(s, s->scripts[i]);
		SSL_free(s->ssl);
		s->ssl = NULL;
		close(s->fd);
	}
	return NULL;
}

static inline int
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
static inline void
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
static inline void
serve(size_t index, const char *a, const char *b, const char *c)
{
	struct server *s = &t.servers[index];

	s->scripts[0] = a;
	s->scripts[1] = b;
	s->scripts[2] = c;
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
	s->has_thread = true;
}

static inline void
down(size_t index)
{
	fd_close(&t.servers[index].listener);
}

static inline void
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

static inline void
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

static inline void
put_name(struct buf *b, const char *name)
{
	struct view rest = view_of(name), label;

	while (view_token(&rest, ".", &label)) {
		buf_append_byte(b, (int)label.len);
		buf_append_view(b, label);
	}
	buf_append_byte(b, 0);
}

static inline void
put_rdata(struct ipc_out *o, enum dns_type type, unsigned preference, const char *value)
{
	struct sockaddr_storage a;
	struct buf b;

	buf_init(&b, 2000);
	if (type == DNS_MX) {
		buf_append_byte(&b, (int)(preference >> 8));
		buf_append_byte(&b, (int)(preference & 255));
		put_name(&b, value);
	} else if (type == DNS_TLSA) {
		size_t len = strlen(value) / 2;

		assert_true(hex_decode(buf_reserve(&b, len), len, view_of(value)));
		b.len += len;
	} else if (type == DNS_CNAME) {
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

static inline void
on_query(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *name = ipc_get_str(in);
	enum dns_type type = ipc_get_u32(in);
	enum dns_status status = DNS_NXDOMAIN;
	const char *alias_of = "";
	bool is_secure = false;
	struct ipc_out o;

	(void)arg;
	for (size_t i = 0; i < t.nrecords; i++)
		if (strcmp(t.records[i].name, name) == 0 && status != DNS_OK) {
			status = t.records[i].type == type ? t.records[i].status : DNS_NODATA;
			is_secure = t.records[i].is_secure;
			if (t.records[i].alias_of != NULL)
				alias_of = t.records[i].alias_of;
		}
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_u32(&o, is_secure ? 1 : 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, type == DNS_CNAME ? "" : alias_of);
	ipc_put_str(&o, "test");
	for (size_t i = 0; i < t.nrecords && status == DNS_OK; i++)
		if (strcmp(t.records[i].name, name) == 0 && t.records[i].type == type)
			put_rdata(&o, type, t.records[i].preference, t.records[i].value);
	ipc_conn_reply(c, in->id, &o);
}

/* What was recorded under the name is signed. */
static inline void
sign_records(const char *name)
{
	for (size_t i = 0; i < t.nrecords; i++)
		if (strcmp(t.records[i].name, name) == 0)
			t.records[i].is_secure = true;
}

/* The usual: one.test has server 0, two.test has 0 before 1. */
static inline void
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

static inline void
on_ready(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	(void)arg;
	(void)c;
	(void)in;
}

static inline void
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

static inline void
on_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)why;
	if (arg != NULL && *(struct ipc_conn **)arg == c)
		*(struct ipc_conn **)arg = NULL;
}

/* An authd with passwords and policies. */
static inline void
on_password(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *(*table)[2] = in->type == AUTHD_PASSWORD     ? t.passwords
				  : in->type == AUTHD_TLS_POLICY ? t.policies
								 : t.sources;
	enum authd_status status = AUTHD_NO;
	const char *value = "";
	struct ipc_out o;

	(void)arg;
	while (ipc_in_more(in)) {
		bool is_partial = ipc_get_u32(in) != 0;
		const char *key = ipc_get_str(in);

		buf_printf(&t.asked, "%s%s ", is_partial ? "~" : "", key);
		for (size_t i = 0; i < 4 && status == AUTHD_NO; i++)
			if (table[i][0] != NULL && strcmp(table[i][0], key) == 0) {
				value = table[i][1];
				status = value != NULL ? AUTHD_OK : AUTHD_TEMP;
			}
	}
	buf_append_byte(&t.asked, '\n');
	ipc_reply_init(&o);
	ipc_put_u32(&o, status);
	ipc_put_u32(&o, 0);
	ipc_put_str(&o, value != NULL ? value : "no answer");
	ipc_conn_reply(c, in->id, &o);
}

static inline void
on_sts_policy(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct ipc_out o;

	(void)arg;
	(void)ipc_get_str(in);
	(void)ipc_get_str(in);
	ipc_reply_init(&o);
	ipc_put_u32(&o, t.sts_mode);
	ipc_put_str(&o, "1");
	ipc_put_str(&o, t.sts_mx);
	ipc_put_u32(&o, FETCH_STS_GOOD);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler fetchd_handlers[] = {
	{ FETCH_STS_POLICY, "ss", IPC_STATE_ANY, on_sts_policy }, { 0, NULL, 0, NULL }
};
static const struct ipc_handler authd_handlers[] = { { AUTHD_PASSWORD, "(us)", IPC_STATE_ANY,
							 on_password },
	{ AUTHD_TLS_POLICY, "(us)", IPC_STATE_ANY, on_password },
	{ AUTHD_BIND_ADDRESS, "(us)", IPC_STATE_ANY, on_password }, { 0, NULL, 0, NULL } };
static const struct ipc_handler dnsd_handlers[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_query },
	{ 0, NULL, 0, NULL } };
static const struct ipc_handler qmgr_handlers[] = { { RELAY_RESULT, RELAY_RESULT_SIG, IPC_STATE_ANY,
							on_result },
	{ RELAY_READY, RELAY_READY_SIG, IPC_STATE_ANY, on_ready }, { 0, NULL, 0, NULL } };
static const struct ipc_conn_ops dnsd_ops = { dnsd_handlers, on_close },
				 authd_ops = { authd_handlers, on_close },
				 fetchd_ops = { fetchd_handlers, on_close },
				 qmgr_ops = { qmgr_handlers, on_close };

struct message {
	const char *sender, *nexthop, *headers, *body, *envid;
	size_t body_len; /* 0: strlen */
	uint32_t flags;
	enum relay_protocol protocol;
	const char *login;
	const char *client[5]; /* name, address, port, HELO, protocol */
};

static inline uint32_t
send_job(const struct message *m, const char *const *rcpts, size_t count)
{
	size_t body_len = m->body_len != 0 ? m->body_len : strlen(m->body);
	int headers = memfd_sealed("headers", m->headers, strlen(m->headers), NULL);
	int body = memfd_sealed("body", m->body, body_len, NULL);
	struct ipc_out o;

	ipc_out_init(&o, RELAY_JOB);
	ipc_put_u32(&o, ++t.next_job);
	ipc_put_u32(&o, m->protocol);
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
	ipc_put_str(&o, m->login != NULL ? m->login : "");
	for (size_t i = 0; i < 5; i++)
		ipc_put_str(&o, m->client[i] != NULL ? m->client[i] : "");
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

static inline struct message
to(const char *nexthop)
{
	struct message m = plain;

	m.nexthop = nexthop;
	return m;
}

static inline void
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
static inline void
turn_a_little(void)
{
	for (int i = 0; i < 20; i++) {
		loop_run_once(t.loop, false);
		poll(NULL, 0, 1);
	}
}

static inline void
deliver(const struct message *m, const char *rcpt)
{
	send_job(m, &rcpt, 1);
	turn_until_results(t.nresults + 1);
}

static inline void
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

static inline void
set(const char *name, const char *value)
{
	struct err e;

	if (conf_set(&t.conf, name, value, "test", 1, &e) < 0)
		fail_msg("%s", e.text);
}

static inline void
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
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.authd_edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	t.authd = ipc_conn_new(t.loop, fds[1], &authd_ops, &t.authd);
	if (t.sts_mx != NULL) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
		t.fetchd_edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
		t.fetchd = ipc_conn_new(t.loop, fds[1], &fetchd_ops, &t.fetchd);
	}
	t.relay = relay_new(t.loop, &t.rc, t.edge, t.authd_edge, t.fetchd_edge);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.qmgr = ipc_conn_new(t.loop, fds[0], &qmgr_ops, &t.qmgr);
	relay_qmgr_open(t.relay, ipc_conn_new(t.loop, fds[1], &relay_qmgr_ops, NULL));
}

static inline int
setup(void **state)
{
	(void)state;
	memset(&t.records, 0, sizeof t.records);
	t.nrecords = t.nresults = 0;
	memset(&t.results, 0, sizeof t.results);
	memset(&t.passwords, 0, sizeof t.passwords);
	memset(&t.policies, 0, sizeof t.policies);
	memset(&t.sources, 0, sizeof t.sources);
	buf_init(&t.asked, 1 << 16);
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

static inline int
teardown(void **state)
{
	(void)state;
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little(); /* QUIT of kept connections */
	ipc_conn_close(t.qmgr);
	ipc_edge_free(t.edge);
	ipc_edge_free(t.authd_edge);
	ipc_edge_free(t.fetchd_edge);
	turn_a_little();
	ipc_conn_close(t.dnsd);
	ipc_conn_close(t.authd);
	ipc_conn_close(t.fetchd);
	t.qmgr = t.dnsd = t.authd = t.fetchd = NULL;
	t.edge = t.authd_edge = t.fetchd_edge = NULL;
	t.sts_mx = NULL;
	buf_clear(&t.asked);
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

static inline SSL_CTX *
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

static inline int
open_world(void **state)
{
	struct err e;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	t.loop = loop_new();
	t.server_tls = make_server_tls();
	if (tls_init(t.loop, NULL, &e) == 0)
		return 0;
	fprintf(stderr, "%s\n", e.text);
	return -1;
}

static inline int
close_world(void **state)
{
	(void)state;
	SSL_CTX_free(t.server_tls);
	loop_free(t.loop);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#define HELLO "S 220 mx ESMTP\nC EHLO me.test\nS 250-mx\n"
#define PLAIN_HELLO HELLO "S 250 HELP\n"
#define PIPE_HELLO HELLO "S 250-SIZE 1000000\nS 250-8BITMIME\nS 250 PIPELINING\n"
#define CHUNK_HELLO HELLO "S 250-PIPELINING\nS 250 CHUNKING\n"
#define ENVELOPE "C MAIL\nS 250 2.1.0 ok\nC RCPT\nS 250 2.1.5 ok\n"
#define DATA "C DATA\nS 354 go\nD\nS 250 2.0.0 Ok: queued as X\n"

#endif
