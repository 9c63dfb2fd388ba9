#include "common/net/addr.h"
#include "common/ipc/msg/dns.h"
#include "smtpd/dnsbl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void
test_sites(void **state)
{
	static const struct {
		const char *text, *domain, *filter;
		int weight;
	} good[] = {
		{ "zen.example.org", "zen.example.org", "", 1 },
		{ "zen.example.org*3", "zen.example.org", "", 3 },
		{ "list.example*-5", "list.example", "", -5 },
		{ "zen.example.org=127.0.0.[2..11]*2", "zen.example.org", "127.0.0.[2..11]", 2 },
		{ "k3y_.dq.example=127.0.0.2", "k3y_.dq.example", "127.0.0.2", 1 },
		{ "x.example=127.[0;1].[0..255].[1;3;5..7]", "x.example",
		    "127.[0;1].[0..255].[1;3;5..7]", 1 },
	};
	static const char *const bad[] = { "", "a b", "-x-.", "x.example*", "x.example*y",
		"x.example*99999999", "x.example=", "x.example=127.0.0", "x.example=127.0.0.256",
		"x.example=127.0.0.2.3", "x.example=127.0.0.[2", "x.example=127.0.0.[]",
		"x.example=127.0.0.[4..2]", "x.example=127.0.0.[2;]", "[192.0.2.1]",
		"x.example=127.0.0.[2..]", "x.example=127.0.0.2]", "x.example=127.0.0.", "*2" };
	struct dnsbl_site site;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(dnsbl_site_parse(view_of(good[i].text), &site, &err), 0);
		assert_string_equal(site.domain, good[i].domain);
		assert_string_equal(site.filter, good[i].filter);
		assert_int_equal(site.weight, good[i].weight);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (dnsbl_site_parse(view_of(bad[i]), &site, &err) != -1 || err.kind != ERR_SYNTAX)
			fail_msg("%s", bad[i]);
}

static void
test_matches(void **state)
{
	static const struct {
		const char *site, *address;
		bool is_hit;
	} cases[] = {
		{ "x.example", "127.0.0.2", true },
		{ "x.example", "127.255.255.254", true },
		/* RFC 5782 2.1, a parked domain answers with some web server */
		{ "x.example", "203.0.113.7", false },
		{ "x.example", "::1", false },
		{ "x.example=127.0.0.2", "127.0.0.2", true },
		{ "x.example=127.0.0.2", "127.0.0.3", false },
		{ "x.example=127.0.0.[2;4..11]", "127.0.0.3", false },
		{ "x.example=127.0.0.[2;4..11]", "127.0.0.4", true },
		{ "x.example=127.0.0.[2;4..11]", "127.0.0.11", true },
		{ "x.example=127.0.0.[2;4..11]", "127.0.0.12", false },
		{ "x.example=127.[0..9].0.1", "127.10.0.1", false },
		{ "x.example=127.[0..9].0.1", "127.9.0.1", true },
		{ "x.example=10.0.0.1", "10.0.0.1", true },
	};
	struct sockaddr_storage a;
	struct dnsbl_site site;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(dnsbl_site_parse(view_of(cases[i].site), &site, &err), 0);
		assert_true(addr_parse(view_of(cases[i].address), &a));
		if (dnsbl_site_matches(&site, &a) != cases[i].is_hit)
			fail_msg("%s %s", cases[i].site, cases[i].address);
	}
}

static void
test_names(void **state)
{
	struct sockaddr_storage a;
	char name[DNS_NAME_MAX], long_domain[DNS_NAME_MAX];

	(void)state;
	assert_true(addr_parse(view_of("192.0.2.1"), &a));
	assert_true(dnsbl_address_name(&a, "zen.example", name));
	assert_string_equal(name, "1.2.0.192.zen.example");
	assert_true(addr_parse(view_of("2001:db8::1"), &a));
	assert_true(dnsbl_address_name(&a, "zen.example", name));
	assert_string_equal(
	    name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.example");
	memset(long_domain, 'a', sizeof long_domain - 1);
	long_domain[sizeof long_domain - 1] = '\0';
	assert_false(dnsbl_address_name(&a, long_domain, name));
	a.ss_family = AF_UNIX;
	assert_false(dnsbl_address_name(&a, "zen.example", name));
	assert_true(dnsbl_domain_name("mail.example.com", "dbl.example", name));
	assert_string_equal(name, "mail.example.com.dbl.example");
	assert_true(dnsbl_domain_name("example.com.", "dbl.example", name));
	assert_string_equal(name, "example.com.dbl.example");
	assert_false(dnsbl_domain_name("192.0.2.1", "dbl.example", name));
	assert_false(dnsbl_domain_name("[192.0.2.1]", "dbl.example", name));
	assert_false(dnsbl_domain_name("", "dbl.example", name));
	assert_false(dnsbl_domain_name("a b", "dbl.example", name));
	assert_false(dnsbl_domain_name(long_domain, "dbl.example", name));
}

/* --- questions ------------------------------------------------------------------------------------------- */

struct fake {
	struct loop *loop;
	struct ipc_edge *edge;
	struct ipc_conn *side;
	unsigned asked, answers;
	enum restrict_fact fact;
	char address[64], text[600];
};

#define BYTES(s) (s), sizeof(s) - 1
static void
on_query(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	static const struct {
		const char *name;
		unsigned type, status;
		const char *rdata;
		size_t len;
	} zone[] = {
		{ "2.0.0.127.bl.example", DNS_A, DNS_OK, BYTES("\x7f\0\0\2") },
		{ "2.0.0.127.bl.example", DNS_TXT, DNS_OK,
		    BYTES("\5see\r\n"
			  "\1!") },
		{ "notext.bl.example", DNS_A, DNS_OK, BYTES("\x7f\0\0\2") },
		{ "other.bl.example", DNS_A, DNS_OK, BYTES("\x7f\0\0\x63") },
		{ "fail.bl.example", DNS_A, DNS_FAIL, BYTES("") },
	};
	const char *name = ipc_get_str(in);
	unsigned type = ipc_get_u32(in);
	struct fake *f = arg;
	struct ipc_out o;
	int hit = -1;

	f->asked++;
	for (size_t i = 0; i < sizeof zone / sizeof zone[0]; i++)
		if (strcmp(zone[i].name, name) == 0 && zone[i].type == type)
			hit = (int)i;
	ipc_reply_init(&o);
	ipc_put_u32(&o, hit >= 0 ? zone[hit].status : DNS_NXDOMAIN);
	ipc_put_u32(&o, 0);
	ipc_put_u32(&o, 60);
	ipc_put_str(&o, "");
	ipc_put_str(&o, "");
	if (hit >= 0 && zone[hit].status == DNS_OK)
		ipc_put_bytes(&o, zone[hit].rdata, zone[hit].len);
	ipc_conn_reply(c, in->id, &o);
}

static void
on_answer(void *arg, const struct dnsbl_answer *a)
{
	struct fake *f = arg;

	f->answers++;
	f->fact = a->fact;
	snprintf(f->address, sizeof f->address, "%s", a->address);
	snprintf(f->text, sizeof f->text, "%s", a->text);
}

static void
ask(struct fake *f, const char *name, bool wants_text)
{
	struct dnsbl_site site;
	struct err err;

	f->answers = f->asked = 0;
	assert_int_equal(dnsbl_site_parse(view_of("bl.example=127.0.0.[2..9]"), &site, &err), 0);
	dnsbl_lookup_start(f->edge, name, &site, wants_text, on_answer, f);
	memset(&site, 0, sizeof site); /* it was copied */
	assert_int_equal(f->answers, 0);
	while (f->answers == 0)
		loop_run_once(f->loop, true);
}

static void
test_lookups(void **state)
{
	static const struct ipc_handler rows[] = { { DNS_QUERY, "su", IPC_STATE_ANY, on_query },
		{ 0, NULL, 0, NULL } };
	static const struct ipc_conn_ops ops = { .handlers = rows };
	struct fake f = { .loop = loop_new() };
	struct dnsbl_site site = { .domain = "bl.example" };
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	f.side = ipc_conn_new(f.loop, fds[1], &ops, &f);
	f.edge = ipc_edge_new_fd(f.loop, fds[0], NULL, NULL);
	ask(&f, "2.0.0.127.bl.example", true);
	assert_int_equal(f.fact, FACT_YES);
	assert_string_equal(f.address, "127.0.0.2");
	assert_string_equal(f.text, "see?"
				    "?!");
	ask(&f, "2.0.0.127.bl.example", false);
	assert_int_equal(f.asked, 1);
	assert_string_equal(f.text, "");
	ask(&f, "notext.bl.example", true);
	assert_int_equal(f.fact, FACT_YES);
	assert_string_equal(f.text, "");
	ask(&f, "other.bl.example", true);
	assert_int_equal(f.fact, FACT_NO);
	ask(&f, "unknown.bl.example", true);
	assert_int_equal(f.fact, FACT_NO);
	assert_string_equal(f.address, "");
	ask(&f, "fail.bl.example", true);
	assert_int_equal(f.fact, FACT_TEMP);
	f.answers = 0;
	dnsbl_lookup_cancel(
	    dnsbl_lookup_start(f.edge, "2.0.0.127.bl.example", &site, true, on_answer, &f));
	dnsbl_lookup_cancel(NULL);
	for (int i = 0; i < 10; i++)
		loop_run_once(f.loop, false);
	assert_int_equal(f.answers, 0);
	ipc_edge_free(f.edge);
	ipc_conn_close(f.side);
	loop_free(f.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sites),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_lookups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
