/* dialer: endpoints as they stand in main.cf, and connections to listeners of this test. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/ipc/msg/dialer.h"
#include "common/ipc/msg/dns.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "edge/dialer.h"
#include "edge/endpoint.h"
#include "tests/unit/remove_all.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 10000, TICK_MS = 5 };

static struct loop *loop;
static char dir[] = "/tmp/dialer-test-XXXXXX";

/* --- endpoints ------------------------------------------------------------------------------------------ */

static void
test_parse(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		const char *directory, *name;
	} cases[] = {
		{ "inet:127.0.0.1:8891", "127.0.0.1", 8891, NULL, NULL },
		{ "inet:[2001:db8::1]:8891", "2001:db8::1", 8891, NULL, NULL },
		{ "mail.example:10023", "mail.example", 10023, NULL, NULL },
		{ "inet:localhost:smtp", "localhost", 25, NULL, NULL },
		{ "unix:/run/x/socket", NULL, 0, "/run/x", "socket" },
		{ "local:/socket", NULL, 0, "/", "socket" },
		{ "unix:private/policy", NULL, 0, "/queue/private", "policy" },
		{ "unix:policy", NULL, 0, "/queue", "policy" },
	};
	static const char *const bad[] = { "", "inet:", "inet:host", "inet:host:", "inet::1",
		"inet:host:0", "inet:host:65536", "inet:host:no-such-port", "inet:[::1]8891",
		"inet:[::1", "unix:", "unix:/x/", "unix:/" };
	struct endpoint e;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(endpoint_parse(view_of(cases[i].text), "/queue", &e, &err), 0);
		assert_int_equal(e.port, cases[i].port);
		if (cases[i].host != NULL) {
			assert_string_equal(e.host, cases[i].host);
		} else {
			assert_string_equal(e.directory, cases[i].directory);
			assert_string_equal(e.name, cases[i].name);
		}
		endpoint_clear(&e);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(endpoint_parse(view_of(bad[i]), "/queue", &e, &err), -1);
}

static void
write_file(const char *name, const char *text)
{
	char path[200];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static const char master_cf[] =
    "25 inet n - y - - smtpd\n"
    "587 inet n - y - - smtpd -o smtpd_milters=unix:/tmp/m2,inet:127.0.0.1:1\n"
    " -o { smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:4, timeout=5s }, permit }\n"
    "authd unix y - y - - authd\nqmgr unix y - y - 1 qmgr\nrelay unix y - y - - relay\n"
    "delivery unix y - y - - delivery\nkeyd unix y - y - 1 keyd\ndnsd unix y - y - 1 dnsd\n"
    "log unix y - y - 1 log\n";

static void
test_collect(void **state)
{
	static const char *const named[] = { "inet:127.0.0.1:1", "unix:/tmp/m2", "inet:127.0.0.1:3",
		"inet:127.0.0.1:4", "unix:private/policy" };
	struct map m;
	struct err err = { 0 };

	(void)state;
	write_file("main.cf",
	    "smtpd_milters = { inet:127.0.0.1:1, default_action=accept }\n"
	    "smtpd_client_restrictions = check_policy_service inet:127.0.0.1:3 permit\n"
	    "smtpd_data_restrictions = check_policy_service unix:private/policy\n");
	write_file("master.cf", master_cf);
	if (endpoints_collect(&m, dir, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(m.count, sizeof named / sizeof named[0]);
	for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
		assert_non_null(map_get(&m, view_of(named[i])));
	endpoints_clear(&m);
	write_file("main.cf", "\nsmtpd_milters = nonsense\n");
	assert_int_equal(endpoints_collect(&m, dir, &err), -1);
	assert_non_null(strstr(err.text, "/main.cf:2: smtpd_milters: \"nonsense\""));
	endpoints_clear(&m);
	/* a class is the admin's own parameter */
	write_file(
	    "main.cf", "smtpd_restriction_classes = strict\nstrict = check_policy_service worse\n");
	assert_int_equal(endpoints_collect(&m, dir, &err), -1);
	assert_non_null(strstr(err.text, "/main.cf:2: strict: \"worse\""));
	endpoints_clear(&m);
}

/* --- connections ------------------------------------------------------------------------------------------ */

struct world {
	struct dialer *dialer;
	struct ipc_edge *edge, *dns_edge;
	struct ipc_conn *side, *dns_side;
	struct loop_timer tick;
	bool is_stale, is_idle, is_done;
	uint32_t status;
	char why[300];
	int fd;
};

static void
on_dns(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	const char *name = ipc_get_str(in);
	bool is_known = strcmp(name, "milter.example") == 0;
	bool is_a = ipc_get_u32(in) == DNS_A;
	struct ipc_out o;

	(void)arg;
	if (strcmp(name, "silent.example") == 0)
		return;
	ipc_reply_init(&o);
	ipc_put_u32(&o, is_known && is_a ? DNS_OK : DNS_NXDOMAIN);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "");
	if (is_known && is_a)
		ipc_put_bytes(&o, "\x7f\0\0\1", 4);
	ipc_conn_reply(c, in->id, &o);
}

static const struct ipc_handler dns_rows[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_dns },
	{ 0, NULL, 0, NULL } };

static void
on_tick(void *arg)
{
	loop_timer_start(arg, TICK_MS);
}

static void
on_stale(void *arg)
{
	((struct world *)arg)->is_stale = true;
}

static void
add_endpoint(struct map *m, const char *text)
{
	struct endpoint *e = x_malloc(sizeof *e);
	struct err err;

	assert_int_equal(endpoint_parse(view_of(text), dir, e, &err), 0);
	if (e->host == NULL)
		e->dirfd = open(e->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	map_put(m, view_of(text), e);
}

static struct ipc_edge *
make_edge(const struct ipc_conn_ops *ops, void *arg, struct ipc_conn **side)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	*side = ipc_conn_new(loop, fds[1], ops, arg);
	return ipc_edge_new_fd(loop, fds[0], NULL, NULL);
}

static void
world_init(struct world *w, const char *const *endpoints)
{
	struct ipc_conn_ops dns_ops = { .handlers = dns_rows };
	struct map m;

	memset(w, 0, sizeof *w);
	map_init(&m);
	for (; *endpoints != NULL; endpoints++)
		add_endpoint(&m, *endpoints);
	w->dns_edge = make_edge(&dns_ops, w, &w->dns_side);
	w->dialer = dialer_new(loop, w->dns_edge, &m, on_stale, w);
	w->edge = make_edge(&dialer_caller_ops, NULL, &w->side);
	dialer_caller_open(w->dialer, w->side);
	loop_timer_init(&w->tick, loop, on_tick, &w->tick);
	loop_timer_start(&w->tick, TICK_MS);
}

static void
world_clear(struct world *w)
{
	loop_timer_stop(&w->tick);
	dialer_free(w->dialer);
	ipc_edge_free(w->edge);
	ipc_edge_free(w->dns_edge);
	ipc_conn_close(w->side);
	ipc_conn_close(w->dns_side);
}

static void
on_answer(void *arg, struct ipc_in *in)
{
	struct world *w = arg;

	assert_non_null(in);
	w->is_done = true;
	w->status = ipc_get_u32(in);
	snprintf(w->why, sizeof w->why, "%s", ipc_get_str(in));
	w->fd = ipc_get_fd(in);
}

static void
ask(struct world *w, const char *endpoint)
{
	int64_t until = clock_mono_ms() + DEADLINE_MS;
	struct ipc_out o;

	w->is_done = false;
	ipc_out_init(&o, DIALER_CONNECT);
	ipc_put_str(&o, endpoint);
	ipc_edge_call(w->edge, &o, DIALER_ANSWER_SIG, DEADLINE_MS, on_answer, w);
	while (!w->is_done && clock_mono_ms() < until)
		loop_run_once(loop, true);
	assert_true(w->is_done);
}

static int
listen_inet(unsigned *port)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(addr_parse(view_of("127.0.0.1"), &a));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, addr_len(&a)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = addr_port(&a);
	return fd;
}

static int
listen_unix(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s/%s", dir, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
	assert_int_equal(listen(fd, 5), 0);
	return fd;
}

/* What was handed over is the connection: a byte goes through. */
static void
assert_talks(struct world *w, int listener)
{
	int peer = accept(listener, NULL, NULL);
	char c = 0;

	assert_int_equal(w->status, DIALER_OK);
	assert_true(fcntl(w->fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(write(w->fd, "x", 1), 1);
	assert_int_equal(read(peer, &c, 1), 1);
	assert_int_equal(c, 'x');
	close(peer);
	fd_close(&w->fd);
}

static void
assert_fails(struct world *w, uint32_t status, const char *why)
{
	char c;

	assert_int_equal(w->status, status);
	assert_non_null(strstr(w->why, why));
	assert_int_equal(read(w->fd, &c, 1), 0);
	fd_close(&w->fd);
}

static void
on_idle(void *arg)
{
	((struct world *)arg)->is_idle = true;
}

static void
test_connect(void **state)
{
	char good[64], by_name[64], local[64], unknown[64];
	const char *endpoints[] = { good, by_name, local, unknown, "inet:127.0.0.1:1",
		"unix:socket", "unix:none", "unix:/no/such/directory", NULL };
	unsigned port;
	int tcp = listen_inet(&port), un = listen_unix("socket");
	struct world w;

	(void)state;
	snprintf(good, sizeof good, "inet:127.0.0.1:%u", port);
	snprintf(by_name, sizeof by_name, "milter.example:%u", port);
	snprintf(local, sizeof local, "inet:localhost:%u", port);
	snprintf(unknown, sizeof unknown, "inet:nowhere.example:%u", port);
	world_init(&w, endpoints);
	ask(&w, good);
	assert_talks(&w, tcp);
	ask(&w, by_name);
	assert_talks(&w, tcp);
	ask(&w, local);
	assert_talks(&w, tcp);
	ask(&w, "unix:socket");
	assert_talks(&w, un);
	ask(&w, unknown);
	assert_fails(&w, DIALER_TEMP, "no address found");
	ask(&w, "inet:127.0.0.1:1");
	assert_fails(&w, DIALER_TEMP, "Connection refused");
	ask(&w, "unix:none");
	assert_fails(&w, DIALER_TEMP, "No such file");
	ask(&w, "unix:/no/such/directory");
	assert_fails(&w, DIALER_TEMP, "no directory /no/such");
	assert_false(w.is_stale); /* too young to be restarted */
	ask(&w, "inet:127.0.0.1:22");
	assert_fails(&w, DIALER_DENIED, "not in the configuration");
	dialer_drain(w.dialer, on_idle, &w);
	while (!w.is_idle)
		loop_run_once(loop, true);
	world_clear(&w);
	close(tcp);
	close(un);
}

/* A caller that goes takes its requests with it. */
static void
test_caller_goes(void **state)
{
	const char *endpoints[] = { "inet:silent.example:9", NULL };
	struct ipc_out o;
	struct world w;

	(void)state;
	world_init(&w, endpoints);
	ipc_out_init(&o, DIALER_CONNECT);
	ipc_put_str(&o, endpoints[0]);
	ipc_edge_send(w.edge, &o);
	for (int i = 0; i < 5; i++)
		loop_run_once(loop, true);
	ipc_edge_free(w.edge);
	w.edge = NULL;
	w.side = NULL;
	dialer_drain(w.dialer, on_idle, &w);
	while (!w.is_idle)
		loop_run_once(loop, true);
	w.edge = make_edge(&dialer_caller_ops, NULL, &w.side);
	world_clear(&w);
}

static int
setup(void **state)
{
	(void)state;
	loop = loop_new();
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	remove_all(dir);
	loop_free(loop);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse),
		cmocka_unit_test(test_collect), cmocka_unit_test(test_connect),
		cmocka_unit_test(test_caller_goes) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
