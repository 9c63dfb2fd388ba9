/* The readers of RDATA, and the client against a dnsd that answers as the test says. */
#include "common/net/dns.h"
#include "common/ipc/msg/dns.h"
#include "common/net/addr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/socket.h>

static struct view
raw(const char *bytes, size_t len)
{
	return view_make(bytes, len);
}
#define RAW(s) raw(s, sizeof(s) - 1)

static void
test_names(void **state)
{
	char name[DNS_NAME_MAX], wire[400];
	size_t n = 0;

	(void)state;
	assert_true(dns_rdata_name(RAW("\2Mx\7EXAMPLE\3com\0"), name));
	assert_string_equal(name, "mx.example.com");
	assert_true(dns_rdata_name(RAW("\0"), name));
	assert_string_equal(name, "");
	assert_true(dns_rdata_name(RAW("\4_dmx\0"), name));
	assert_false(dns_rdata_name(RAW(""), name));
	assert_false(dns_rdata_name(RAW("\2ab"), name));
	assert_false(dns_rdata_name(RAW("\2ab\0x"), name));
	assert_false(dns_rdata_name(RAW("\3a\0b\0"), name));
	assert_false(dns_rdata_name(RAW("\3a;b\0"), name));
	assert_false(dns_rdata_name(RAW("\3a\nb\0"), name));
	assert_false(dns_rdata_name(RAW("\3a.b\0"), name));
	assert_false(dns_rdata_name(RAW("\3a b\0"), name));
	assert_false(dns_rdata_name(RAW("\3a\\b\0"), name));
	assert_false(dns_rdata_name(RAW("\300\0"), name)); /* a pointer */
	/* the longest name: 3 * 63 + 61 letters, 253 with dots (RFC 1035 2.3.4), and one more */
	for (int i = 0; i < 4; i++) {
		size_t len = i < 3 ? 63 : 61;

		wire[n++] = (char)len;
		memset(wire + n, 'a', len);
		n += len;
	}
	wire[n++] = 0;
	assert_int_equal(n, 255);
	assert_true(dns_rdata_name(raw(wire, n), name));
	assert_int_equal(strlen(name), 253);
	wire[192] = 62;
	wire[n - 1] = 'a';
	wire[n++] = 0;
	assert_false(dns_rdata_name(raw(wire, n), name));
}

static void
test_mx(void **state)
{
	char host[DNS_NAME_MAX];
	unsigned preference;

	(void)state;
	assert_true(dns_rdata_mx(RAW("\1\12\2mx\0"), &preference, host));
	assert_int_equal(preference, 266);
	assert_string_equal(host, "mx");
	assert_true(dns_rdata_mx(RAW("\0\0\0"), &preference, host));
	assert_string_equal(host, "");
	assert_false(dns_rdata_mx(RAW("\0\0"), &preference, host));
	assert_false(dns_rdata_mx(RAW(""), &preference, host));
}

static void
test_addresses(void **state)
{
	struct sockaddr_storage a;
	char text[ADDR_TEXT], name[DNS_NAME_MAX];

	(void)state;
	assert_true(dns_rdata_addr(RAW("\300\0\2\1"), &a));
	assert_string_equal(addr_text(&a, text), "192.0.2.1");
	dns_reverse_name(&a, name);
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	assert_true(dns_rdata_addr(RAW("\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1"), &a));
	assert_string_equal(addr_text(&a, text), "2001:db8::1");
	dns_reverse_name(&a, name);
	assert_string_equal(
	    name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_true(dns_rdata_addr(RAW("\0\0\0\0\0\0\0\0\0\0\377\377\177\0\0\1"), &a));
	assert_int_equal(a.ss_family, AF_INET);
	assert_string_equal(addr_text(&a, text), "127.0.0.1");
	assert_false(dns_rdata_addr(RAW("\1\2\3"), &a));
	assert_false(dns_rdata_addr(RAW(""), &a));
	memset(&a, 0, sizeof a);
	dns_reverse_name(&a, name);
	assert_string_equal(name, "");
}

static void
test_txt(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	assert_int_equal(dns_rdata_txt(RAW("\3abc\0\2de"), &b), 0);
	assert_string_equal(buf_cstr(&b), "abcde");
	buf_reset(&b);
	assert_int_equal(dns_rdata_txt(RAW(""), &b), -1);
	assert_int_equal(dns_rdata_txt(RAW("\4abc"), &b), -1);
	buf_reset(&b);
	assert_int_equal(
	    dns_rdata_txt(RAW("\13abcdefghijk"), &b), -1); /* more than the caller wants */
	buf_clear(&b);
}

/* ---- the client */

static struct {
	struct loop *loop;
	struct ipc_edge *edge;
	struct ipc_conn *server;
	unsigned asked;
	uint32_t status, flags, records;
	size_t record_size;
	bool silent;
} t;

static void
on_query(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	static char record[60000];
	struct ipc_out o;

	(void)arg;
	t.asked++;
	if (t.silent)
		return;
	ipc_reply_init(&o);
	ipc_put_u32(&o, t.status);
	ipc_put_u32(&o, t.flags);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "canonical.test");
	ipc_put_str(&o, "why");
	for (uint32_t i = 0; i < t.records; i++)
		ipc_put_bytes(&o, record, t.record_size);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_server_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	(void)arg, (void)c, (void)why;
	t.server = NULL;
}

static const struct ipc_handler handlers[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_query },
	{ 0, NULL, 0, NULL } };
static const struct ipc_conn_ops ops = { handlers, on_server_close };

static int
setup(void **state)
{
	int fds[2];

	(void)state;
	memset(&t, 0, sizeof t);
	t.loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	t.server = ipc_conn_new(t.loop, fds[1], &ops, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ipc_edge_free(t.edge);
	ipc_conn_close(t.server);
	loop_free(t.loop);
	return 0;
}

struct answer {
	bool done, is_secure;
	enum dns_status status;
	size_t count;
	char canonical[DNS_NAME_MAX];
};

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct answer *out = arg;

	assert_false(out->done);
	*out = (struct answer){ true, a->is_secure, a->status, a->count, "" };
	snprintf(out->canonical, sizeof out->canonical, "%s", a->canonical);
	assert_non_null(a->why);
}

static struct answer
ask(const char *name)
{
	struct answer a = { 0 };

	dns_lookup(t.edge, name, DNS_A, on_answer, &a);
	assert_false(a.done); /* never from within the call */
	for (int i = 0; i < 1000 && !a.done; i++)
		loop_run_once(t.loop, true);
	assert_true(a.done);
	return a;
}

static void
test_answers(void **state)
{
	struct answer a;

	(void)state;
	t.records = 3;
	t.record_size = 4;
	t.flags = 1;
	a = ask("a.test");
	assert_int_equal(a.status, DNS_OK);
	assert_int_equal(a.count, 3);
	assert_true(a.is_secure);
	assert_string_equal(a.canonical, "canonical.test");
	t.records = 300; /* more than a dnsd of ours sends */
	t.record_size = 0;
	assert_int_equal(ask("a.test").count, DNS_MAX_RECORDS);
	t.status = DNS_NXDOMAIN;
	assert_int_equal(ask("a.test").count, 0);
	t.status = DNS_BOGUS;
	a = ask("a.test");
	assert_int_equal(a.count, 0);
	assert_false(a.is_secure);
	t.status = 77;
	assert_int_equal(ask("a.test").status, DNS_FAIL);
	t.status = DNS_OK;
	t.records = 0;
	assert_int_equal(ask("a.test").status, DNS_FAIL);
}

static void
test_bad_names_are_not_asked(void **state)
{
	static const char *const names[] = { "", ".", "a b", "a\nb", "a..b", "\"a\"", "a;b",
		"\303\251.test" };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(ask(names[i]).status, DNS_NXDOMAIN);
	assert_int_equal(t.asked, 0);
}

static void
test_cancel_and_loss(void **state)
{
	struct answer a = { 0 };
	struct dns_query *q = dns_lookup(t.edge, "a.test", DNS_A, on_answer, &a);

	(void)state;
	dns_cancel(q);
	dns_cancel(NULL);
	t.silent = true;
	dns_lookup(t.edge, "b.test", DNS_A, on_answer, &a);
	while (t.asked < 2)
		loop_run_once(t.loop, true);
	assert_false(a.done);
	ipc_conn_close(t.server);
	t.server = NULL;
	for (int i = 0; i < 1000 && !a.done; i++)
		loop_run_once(t.loop, true);
	assert_true(a.done);
	assert_int_equal(a.status, DNS_FAIL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_mx),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_txt),
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_names_are_not_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_and_loss, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
