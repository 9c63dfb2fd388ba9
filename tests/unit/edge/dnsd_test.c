/* dnsd against a real name server: NSD on a loopback port with an unsigned, a signed and a broken zone. */
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/config/conf.h"
#include "common/net/dns.h"
#include "edge/dnsd.h"

#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 20000 };

static const char zone[] = "$ORIGIN %1$s.\n$TTL 300\n"
			   "@ IN SOA ns.%1$s. host.%1$s. 1 3600 600 86400 60\n"
			   "@ IN NS ns.%1$s.\n"
			   "ns IN A 127.0.0.1\n"
			   "@ IN MX 20 mx2.%1$s.\n"
			   "@ IN MX 10 MX1.%1$s.\n"
			   "mx1 IN A 192.0.2.1\n"
			   "mx1 IN AAAA 2001:db8::1\n"
			   "mx2 IN A 192.0.2.2\n"
			   "null IN MX 0 .\n"
			   "alias IN CNAME alias2.%1$s.\n"
			   "alias2 IN CNAME mx1.%1$s.\n"
			   "loop1 IN CNAME loop2.%1$s.\n"
			   "loop2 IN CNAME loop1.%1$s.\n"
			   "txt IN TXT \"one \" \"two\"\n"
			   "_25._tcp.mx1 IN TLSA 3 1 1 "
			   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
			   "ctl IN PTR a\\000b\\;c\\010d.%1$s.\n";

static struct {
	char dir[64];
	unsigned port;
	pid_t nsd;
	struct loop *loop;
	struct conf conf;
	struct dnsd *dnsd;
	struct ipc_edge *edge;
	bool has_signed;
} t;

struct result {
	bool done;
	struct dns_answer answer;
	char canonical[DNS_NAME_MAX];
	char first[256], all[4096];
	struct view rdata[DNS_MAX_RECORDS];
	unsigned char bytes[DNS_MAX_RECORDS][300];
};

static void
path_of(char out[200], const char *name)
{
	snprintf(out, 200, "%s/%s", t.dir, name);
}

static void
write_file(const char *name, const char *text)
{
	char path[200];
	int fd;

	path_of(path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text), NULL), 0);
	close(fd);
}

static pid_t
spawn(char *const argv[])
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	setpgid(0, 0); /* NSD's children go with it */
	if (chdir(t.dir) == 0) {
		int fd = open("out", O_WRONLY | O_CREAT | O_APPEND, 0644);

		dup2(fd, 1);
		dup2(fd, 2);
		execv(argv[0], argv);
	}
	_exit(127);
}

static bool
run(char *const argv[])
{
	int status;

	return waitpid(spawn(argv), &status, 0) > 0 && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

static void
rename_glob(const char *pattern, const char *to)
{
	char path[200], target[200];
	glob_t g;

	path_of(path, pattern);
	path_of(target, to);
	assert_int_equal(glob(path, 0, NULL, &g), 0);
	assert_int_equal(rename(g.gl_pathv[0], target), 0);
	globfree(&g);
}

/* A free port for TCP and UDP: nobody else takes it in the moment before NSD does, or the test says so. */
static unsigned
free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof in;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

static void
make_zone(const char *name)
{
	char *text = x_asprintf(zone, name);
	char file[64];

	snprintf(file, sizeof file, "%s.zone", name);
	write_file(file, text);
	free(text);
}

/* The large zone: more records than an answer may have, and a TXT answer of 60 KB over TCP. */
static void
make_big_zone(void)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_append_str(
	    &b, "$TTL 300\n@ IN SOA ns host 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n");
	for (int i = 0; i < 250; i++)
		buf_printf(&b, "many IN A 10.0.%d.%d\n", i / 250, i % 250);
	for (int i = 0; i < 230; i++) {
		buf_printf(&b, "long IN TXT \"%03d", i);
		for (int n = 0; n < 240; n++)
			buf_append_byte(&b, 'x');
		buf_append_str(&b, "\"\n");
	}
	write_file("big.test.zone", buf_cstr(&b));
	buf_clear(&b);
}

static void
sign_zone(const char *name)
{
	char *sign[] = { "/usr/bin/ldns-signzone", (char[64]){ 0 }, "key", NULL };
	char *keygen[] = { "/usr/bin/ldns-keygen", "-k", "-a", "ECDSAP256SHA256", "-r",
		"/dev/urandom", (char *)(uintptr_t)name, NULL };

	snprintf(sign[1], 64, "%s.zone", name);
	t.has_signed = access(keygen[0], X_OK) == 0 && run(keygen);
	if (!t.has_signed)
		return;
	rename_glob("K*.key", "key.key");
	rename_glob("K*.private", "key.private");
	assert_true(run(sign));
}

/* The signed zone with one address changed after signing. */
static void
break_zone(void)
{
	char *sed[] = { "/bin/sed", "-e", "s/192\\.0\\.2\\.2/192.0.2.99/", "-i",
		"signed.test.zone.signed", NULL };

	assert_true(run(sed));
}

static void
write_nsd_conf(void)
{
	struct buf b;
	const char *zones[] = { "plain.test", "big.test", "signed.test" };

	buf_init(&b, 1 << 16);
	buf_printf(&b,
	    "server:\n ip-address: 127.0.0.1@%u\n server-count: 1\n username: \"\"\n zonesdir: \"%s\"\n"
	    " database: \"\"\n logfile: \"%s/nsd.log\"\n pidfile: \"%s/nsd.pid\"\n xfrdfile: \"%s/xfrd\"\n"
	    " zonelistfile: \"%s/zonelist\"\n chroot: \"\"\nremote-control:\n control-enable: no\n",
	    t.port, t.dir, t.dir, t.dir, t.dir, t.dir);
	for (size_t i = 0; i < 3; i++)
		buf_printf(&b, "zone:\n name: \"%s\"\n zonefile: \"%s.zone%s\"\n", zones[i],
		    zones[i], t.has_signed && i == 2 ? ".signed" : "");
	write_file("nsd.conf", buf_cstr(&b));
	buf_clear(&b);
}

static void
wait_for_nsd(void)
{
	int64_t deadline = clock_mono_ms() + WAIT_MS;
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)t.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	for (;;) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int rc = connect(fd, (struct sockaddr *)&in, sizeof in);

		close(fd);
		if (rc == 0)
			return;
		assert_true(clock_mono_ms() < deadline);
		poll(NULL, 0, 20);
	}
}

static void
set(const char *name, const char *value)
{
	struct err e;

	if (conf_set(&t.conf, name, value, "test", 1, &e) < 0)
		fail_msg("%s", e.text);
}

static void
start_dnsd(void)
{
	char value[64], path[200];
	struct err e;
	int fds[2];

	t.loop = loop_new();
	conf_init(&t.conf);
	snprintf(value, sizeof value, "127.0.0.1@%u", t.port);
	set("dns_forwarders", value);
	path_of(path, "key.key");
	set("dns_trust_anchor_file", t.has_signed ? path : "");
	set("dns_timeout", "2s");
	t.dnsd = dnsd_new(t.loop, &t.conf, &e);
	if (t.dnsd == NULL)
		fail_msg("%s", e.text);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	t.edge = ipc_edge_new_fd(t.loop, fds[0], NULL, NULL);
	dnsd_caller_open(t.dnsd, ipc_conn_new(t.loop, fds[1], &dnsd_caller_ops, NULL));
}

static int
setup(void **state)
{
	char *nsd[] = { "/usr/sbin/nsd", "-d", "-c", (char[200]){ 0 }, NULL };

	(void)state;
	snprintf(t.dir, sizeof t.dir, "/tmp/dnsd-test.XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	t.port = free_port();
	make_zone("plain.test");
	make_zone("signed.test");
	make_big_zone();
	sign_zone("signed.test");
	if (t.has_signed)
		break_zone();
	write_nsd_conf();
	path_of(nsd[3], "nsd.conf");
	t.nsd = spawn(nsd);
	wait_for_nsd();
	start_dnsd();
	return 0;
}

static void
stop_nsd(void)
{
	if (t.nsd > 0) {
		kill(-t.nsd, SIGCONT);
		kill(-t.nsd, SIGTERM);
		waitpid(t.nsd, NULL, 0);
	}
	t.nsd = 0;
}

static int
teardown(void **state)
{
	char *rm[] = { "/bin/rm", "-rf", t.dir, NULL };

	(void)state;
	stop_nsd();
	ipc_edge_free(t.edge);
	dnsd_free(t.dnsd);
	conf_clear(&t.conf);
	loop_free(t.loop);
	return run(rm) ? 0 : -1;
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct result *r = arg;

	r->done = true;
	r->answer = *a;
	snprintf(r->canonical, sizeof r->canonical, "%s", a->canonical);
	for (size_t i = 0; i < a->count; i++) {
		assert_true(a->rdata[i].len <= sizeof r->bytes[i]);
		memcpy(r->bytes[i], a->rdata[i].p, a->rdata[i].len);
		r->rdata[i] = view_make(r->bytes[i], a->rdata[i].len);
	}
	r->answer.why = NULL;
}

static void
wait_for(struct result *r)
{
	int64_t deadline = clock_mono_ms() + WAIT_MS;

	while (!r->done) {
		assert_true(clock_mono_ms() < deadline);
		loop_run_once(t.loop, true);
	}
}

static struct result *
ask(const char *name, enum dns_type type)
{
	static struct result r;

	memset(&r, 0, sizeof r);
	dns_lookup(t.edge, name, type, on_answer, &r);
	assert_false(r.done);
	wait_for(&r);
	return &r;
}

static void
test_records(void **state)
{
	struct result *r = ask("plain.test", DNS_MX);
	struct sockaddr_storage addr;
	char host[DNS_NAME_MAX];
	unsigned preference, seen = 0;
	struct buf b;

	(void)state;
	assert_int_equal(r->answer.status, DNS_OK);
	assert_int_equal(r->answer.count, 2);
	assert_false(r->answer.is_secure);
	assert_in_range(r->answer.ttl, 1, 300);
	for (size_t i = 0; i < 2; i++) {
		assert_true(dns_rdata_mx(r->rdata[i], &preference, host));
		assert_string_equal(host, preference == 10 ? "mx1.plain.test" : "mx2.plain.test");
		seen += preference;
	}
	assert_int_equal(seen, 30);

	r = ask("mx1.PLAIN.test.", DNS_AAAA);
	assert_int_equal(r->answer.count, 1);
	assert_true(dns_rdata_addr(r->rdata[0], &addr));
	assert_int_equal(addr.ss_family, AF_INET6);

	r = ask("null.plain.test", DNS_MX);
	assert_true(dns_rdata_mx(r->rdata[0], &preference, host));
	assert_string_equal(host, "");

	r = ask("txt.plain.test", DNS_TXT);
	buf_init(&b, 100);
	assert_int_equal(dns_rdata_txt(r->rdata[0], &b), 0);
	assert_string_equal(buf_cstr(&b), "one two");
	buf_clear(&b);

	r = ask("_25._tcp.mx1.plain.test", DNS_TLSA);
	assert_int_equal(r->answer.count, 1);
	assert_int_equal(r->rdata[0].len, 35);
	r = ask("plain.test", DNS_SOA);
	assert_int_equal(r->answer.count, 1);
}

static void
test_cname_chain(void **state)
{
	struct result *r = ask("alias.plain.test", DNS_A);

	(void)state;
	assert_int_equal(r->answer.status, DNS_OK);
	assert_int_equal(r->answer.count, 1);
	assert_string_equal(r->canonical, "mx1.plain.test");
	r = ask("loop1.plain.test", DNS_A);
	assert_int_equal(r->answer.status, DNS_FAIL);
}

static void
test_negative(void **state)
{
	struct result *r = ask("mx2.plain.test", DNS_AAAA);

	(void)state;
	assert_int_equal(r->answer.status, DNS_NODATA);
	assert_in_range(r->answer.ttl, 1, 60);
	assert_int_equal(ask("nowhere.plain.test", DNS_A)->answer.status, DNS_NXDOMAIN);
	assert_int_equal(ask("elsewhere.example", DNS_A)->answer.status, DNS_FAIL); /* REFUSED */
}

static void
test_bad_names(void **state)
{
	static const char *const names[] = { "", ".", "a..b", ".a", "a b.test", "a;b.test",
		"a\nb.test", "a\\.test", "\xc3\xa9.test",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test" };
	char longest[400];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(ask(names[i], DNS_A)->answer.status, DNS_NXDOMAIN);
	for (size_t i = 0; i < sizeof longest - 1; i++)
		longest[i] = i % 10 == 9 ? '.' : 'a';
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(ask(longest, DNS_A)->answer.status, DNS_NXDOMAIN);
	assert_int_equal(ask("plain.test", 255)->answer.status, DNS_FAIL);
	assert_int_equal(ask("plain.test", 65536 + 1)->answer.status, DNS_FAIL);
}

static void
test_name_with_control_bytes(void **state)
{
	struct result *r = ask("ctl.plain.test", DNS_PTR);
	char name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(r->answer.count, 1);
	assert_false(dns_rdata_name(r->rdata[0], name));
}

static void
test_large_answers(void **state)
{
	struct result *r = ask("many.big.test", DNS_A);

	(void)state;
	assert_int_equal(r->answer.status, DNS_OK);
	assert_int_equal(r->answer.count, DNS_MAX_RECORDS);
	r = ask("long.big.test", DNS_TXT);
	assert_int_equal(r->answer.status, DNS_OK);
	assert_int_equal(r->answer.count, DNS_MAX_RECORDS);
}

static void
test_validation(void **state)
{
	(void)state;
	if (!t.has_signed)
		skip();
	assert_true(ask("signed.test", DNS_MX)->answer.is_secure);
	assert_true(ask("mx1.signed.test", DNS_A)->answer.is_secure);
	assert_true(ask("nowhere.signed.test", DNS_A)->answer.is_secure);
	assert_int_equal(ask("nowhere.signed.test", DNS_A)->answer.status, DNS_NXDOMAIN);
	assert_int_equal(ask("mx2.signed.test", DNS_A)->answer.status, DNS_BOGUS);
	assert_int_equal(ask("mx2.signed.test", DNS_A)->answer.count, 0);
}

/* Many at once, half of them cancelled: every other one is answered, none of the cancelled. */
static void
test_many_and_cancel(void **state)
{
	enum { N = 400 };
	static struct result r[N];
	struct dns_query *q[N];
	char name[64];

	(void)state;
	memset(r, 0, sizeof r);
	for (size_t i = 0; i < N; i++) {
		snprintf(name, sizeof name, "n%zu.plain.test", i / 4);
		q[i] = dns_lookup(t.edge, name, DNS_A, on_answer, &r[i]);
	}
	for (size_t i = 1; i < N; i += 2)
		dns_cancel(q[i]);
	for (size_t i = 0; i < N; i += 2) {
		wait_for(&r[i]);
		assert_int_equal(r[i].answer.status, DNS_NXDOMAIN);
	}
	for (size_t i = 1; i < N; i += 2)
		assert_false(r[i].done);
}

static void
on_idle(void *arg)
{
	*(bool *)arg = true;
}

/* Last: the name server goes, the question ends in time as "try again", what is cached stays; then drain. */
static void
test_timeout_and_drain(void **state)
{
	int64_t start;
	bool idle = false;
	struct result late = { 0 };

	(void)state;
	assert_int_equal(ask("plain.test", DNS_MX)->answer.status, DNS_OK);
	kill(-t.nsd, SIGSTOP);
	start = clock_mono_ms();
	assert_int_equal(ask("slow.plain.test", DNS_A)->answer.status, DNS_FAIL);
	assert_in_range(clock_mono_ms() - start, 0, 4000);
	assert_int_equal(ask("plain.test", DNS_MX)->answer.status, DNS_OK);
	dns_lookup(t.edge, "late.plain.test", DNS_A, on_answer, &late);
	loop_run_once(t.loop, true); /* dnsd reads the question */
	dnsd_drain(t.dnsd, on_idle, &idle);
	wait_for(&late);
	assert_int_equal(late.answer.status, DNS_FAIL);
	start = clock_mono_ms();
	while (!idle) {
		assert_true(clock_mono_ms() < start + WAIT_MS);
		loop_run_once(t.loop, true);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_cname_chain),
		cmocka_unit_test(test_negative),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_name_with_control_bytes),
		cmocka_unit_test(test_large_answers),
		cmocka_unit_test(test_validation),
		cmocka_unit_test(test_many_and_cancel),
		cmocka_unit_test(test_timeout_and_drain),
	};

	if (access("/usr/sbin/nsd", X_OK) != 0) {
		puts("skipped: no nsd");
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
