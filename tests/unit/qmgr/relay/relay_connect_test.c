/* A host's addresses side by side (RFC 8305), and the address that we come from. */
#include "tests/unit/qmgr/relay/relay_world.h"

#define SESSION PLAIN_HELLO ENVELOPE DATA "C QUIT\n"

/* The server is up, its address answers nothing: the queue of its listener is full. */
static int
black_hole(size_t index)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(listen(t.servers[index].listener, 0), 0);
	assert_int_equal(getsockname(t.servers[index].listener, (struct sockaddr *)&a, &len), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, len), 0);
	return fd;
}

static void
two_addresses(void)
{
	record("fast.test", DNS_A, DNS_OK, 0, "127.0.0.2");
	record("fast.test", DNS_A, DNS_OK, 0, "127.0.0.3");
	record("fast.test", DNS_A, DNS_OK, 0, "127.0.0.4");
	record("race.test", DNS_MX, DNS_OK, 10, "fast.test");
}

static void
test_the_one_that_answers(void **state)
{
	struct message m = to("race.test");
	int64_t begun = clock_mono_ms();
	int full[2];

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	two_addresses();
	start_relay();
	full[0] = black_hole(0);
	full[1] = black_hole(2);
	serve(1, SESSION, SESSION, SESSION);
	for (size_t i = 0; i < 3; i++) {
		deliver(&m, "u@race.test");
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "fast.test[127.0.0.3]");
	}
	join(1);
	assert_int_equal(t.servers[1].sessions, 3);
	assert_true(clock_mono_ms() - begun < 15000); /* smtp_connect_timeout is 30 s */
	close(full[0]);
	close(full[1]);
}

static void
test_refused_ones_are_passed_at_once(void **state)
{
	struct message m = to("race.test");

	(void)state;
	two_addresses();
	start_relay();
	down(0);
	down(2);
	serve(1, SESSION, NULL, NULL);
	deliver(&m, "u@race.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "fast.test[127.0.0.3]");
	assert_true(t.results[0].setup < 250);
}

static void
test_none_answers(void **state)
{
	struct message m = to("race.test");
	int64_t begun = clock_mono_ms();
	int full;

	(void)state;
	set("smtp_connect_timeout", "1s");
	set("smtp_mx_address_limit", "2");
	record("fast.test", DNS_A, DNS_OK, 0, "127.0.0.2");
	record("race.test", DNS_MX, DNS_OK, 10, "fast.test");
	start_relay();
	full = black_hole(0);
	deliver(&m, "u@race.test");
	expect(0, DELIVERY_DEFERRED, "4.4.1",
	    "connect to fast.test[127.0.0.2]:@: Connection timed out", "none");
	assert_true(clock_mono_ms() - begun >= 1000);
	assert_int_equal(t.results[0].unreachable, 1);
	close(full);
}

/* The host that has failed is not asked again; the one of the next preference is. */
static void
test_the_next_host(void **state)
{
	struct message m = to("race.test");

	(void)state;
	two_addresses();
	t.nrecords -= 2; /* 127.0.0.2 and 3 are left to it */
	record("race.test", DNS_MX, DNS_OK, 10, "fast.test");
	record("race.test", DNS_MX, DNS_OK, 20, "mx2.test");
	start_relay();
	down(0);
	serve(1, "S 421 go away\nX\n", NULL, NULL);
	serve(2, SESSION, NULL, NULL);
	deliver(&m, "u@race.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx2.test[127.0.0.4]");
	join(1);
}

/* ---------------------------------------------------------------- where we come from */

static void
test_bind_address(void **state)
{
	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	set("smtp_bind_address", "127.0.0.9");
	start_relay();
	serve(0, SESSION, SESSION, SESSION);
	deliver(&plain, "u@one.test");
	t.rc.source.must_bind = true;
	deliver(&plain, "u@one.test");
	/* documentation's (RFC 5737): nobody has it */
	assert_true(addr_parse(view_of("192.0.2.1"), &t.rc.source.ip4));
	deliver(&plain, "u@one.test");
	t.rc.source.must_bind = false;
	deliver(&plain, "u@one.test");
	expect(2, DELIVERY_DEFERRED, "4.4.0",
	    "connect to mx0.test[127.0.0.2]:@: server configuration error", "none");
	expect(3, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_string_equal(t.servers[0].from[0], "127.0.0.9");
	assert_string_equal(t.servers[0].from[1], "127.0.0.9");
	assert_string_equal(t.servers[0].from[2], "127.0.0.1");
}

#define SENDER(text) "C MAIL FROM:<" text ">\nS 250 ok\nC RCPT\nS 250 ok\n"

/* A connection is used again only by who comes from the same address. */
static void
test_pools(void **state)
{
	struct message a = plain, b = plain, c = plain;

	(void)state;
	set("smtp_bind_address_maps", "static:x");
	t.sources[0][0] = "a@home.test", t.sources[0][1] = "127.0.0.10";
	t.sources[1][0] = "tenant", t.sources[1][1] = "127.0.0.11, ::1";
	start_relay();
	b.sender = "b@home.test";
	b.login = "tenant";
	c.sender = "";
	serve(
	    0, PLAIN_HELLO SENDER("a@home.test") DATA SENDER("a@home.test") DATA "X\n", NULL, NULL);
	deliver(&a, "u@one.test");
	deliver(&a, "u@one.test");
	turn_a_little();
	join(0);
	serve(0, PLAIN_HELLO SENDER("b@home.test") DATA "X\n", PLAIN_HELLO SENDER("") DATA "X\n",
	    NULL);
	deliver(&b, "u@one.test");
	assert_string_equal(t.servers[0].from[0], "127.0.0.11");
	deliver(&c, "u@one.test");
	for (size_t i = 0; i < 4; i++)
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_int_equal(t.results[1].uses, 2);
	assert_string_equal(t.servers[0].from[1], "127.0.0.1");
	assert_string_equal(buf_cstr(&t.asked),
	    "a@home.test ~@home.test \na@home.test ~@home.test \nb@home.test ~@home.test tenant \n<> \n");
}

static void
test_connections_of_another_address_are_not_used(void **state)
{
	struct message b = plain;

	(void)state;
	set("smtp_bind_address_maps", "static:x");
	t.sources[0][0] = "a@home.test", t.sources[0][1] = "127.0.0.10";
	start_relay();
	b.sender = "b@home.test";
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	join(0);
	/* that the server has closed it is not known yet: who reused it would be told */
	serve(0, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	deliver(&b, "u@one.test");
	assert_int_equal(t.results[1].uses, 1);
	join(0);
	assert_string_equal(t.servers[0].from[0], "127.0.0.1");
}

static void
test_pools_that_cannot_be_used(void **state)
{
	struct message b = plain, c = plain;

	(void)state;
	set("smtp_bind_address_maps", "static:x");
	set("smtp_bind_address_enforce", "yes");
	t.sources[0][0] = "a@home.test", t.sources[0][1] = "somewhere";
	t.sources[1][0] = "@b.test", t.sources[1][1] = NULL;
	t.sources[2][0] = "@c.test", t.sources[2][1] = "::1";
	start_relay();
	b.sender = "x@b.test";
	c.sender = "x@c.test";
	deliver(&plain, "u@one.test");
	deliver(&b, "u@one.test");
	deliver(&c, "u@one.test");
	for (size_t i = 0; i < 2; i++)
		expect(i, DELIVERY_DEFERRED, "4.3.5",
		    "mail system configuration error: source address", "none");
	expect(2, DELIVERY_DEFERRED, "4.4.0",
	    "connect to mx0.test[127.0.0.2]:@: server configuration error", "none");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_one_that_answers),
		TEST(test_refused_ones_are_passed_at_once),
		TEST(test_none_answers),
		TEST(test_the_next_host),
		TEST(test_bind_address),
		TEST(test_pools),
		TEST(test_connections_of_another_address_are_not_used),
		TEST(test_pools_that_cannot_be_used),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
