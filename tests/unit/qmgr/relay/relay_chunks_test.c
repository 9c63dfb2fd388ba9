/* CHUNKING (RFC 3030): when BDAT is used, and what its answers mean. */
#include "tests/unit/qmgr/relay/relay_world.h"

#define PIPED "C MAIL\nC RCPT\nS 250 ok\nS 250 ok\n"
#define CHUNK "K LAST\nS 250 2.0.0 Ok: queued as X\n"

static const char *const two[] = { "a@one.test", "b@one.test" };

/* `count` pieces of 128 KB, in lines. */
static char *
large_body(struct message *m, size_t count)
{
	char *body = x_malloc(count << 17);

	for (size_t i = 0; i < count << 17; i++)
		body[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : (char)('a' + i / 64 % 26);
	m->body = body;
	m->body_len = count << 17;
	return body;
}

static void
test_one_chunk(void **state)
{
	(void)state;
	start_relay();
	serve(0, CHUNK_HELLO PIPED CHUNK PIPED CHUNK "C QUIT\n", NULL, NULL);
	deliver(&plain, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	relay_free(t.relay);
	t.relay = NULL;
	turn_a_little();
	join(0);
	assert_string_equal(buf_cstr(&t.servers[0].data),
	    "Subject: x\r\n\r\nhello\r\n.dot\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n");
}

/* RFC 3030 2: behind all answers; nothing is sent for nobody. */
static void
test_not_before_the_recipients_are_known(void **state)
{
	(void)state;
	start_relay();
	serve(0,
	    CHUNK_HELLO
	    "C MAIL\nC RCPT\nC RCPT\nS 250 ok\nS 550 5.1.1 no\nS 550 5.1.1 no\n"
	    "C RSET\nC MAIL\nC RCPT\nC RCPT\nS 250 ok\nS 250 ok\nS 550 5.1.1 no\nS 250 ok\n" CHUNK
	    "X\n",
	    NULL, NULL);
	send_job(&plain, two, 2);
	turn_until_results(2);
	send_job(&plain, two, 2);
	turn_until_results(4);
	assert_int_equal(t.results[0].status, DELIVERY_BOUNCED);
	assert_int_equal(t.results[1].status, DELIVERY_BOUNCED);
	expect(2, DELIVERY_BOUNCED, "5.1.1",
	    "host mx0.test[127.0.0.2] said: 550 5.1.1 no (in reply to RCPT TO command)",
	    "mx0.test[127.0.0.2]");
	expect(3, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
}

static void
test_several_chunks(void **state)
{
	struct message m = plain;
	char *body = large_body(&m, 3);
	const struct buf *data = &t.servers[0].data;

	(void)state;
	start_relay();
	serve(0, CHUNK_HELLO PIPED "K \nS 250 a\nK \nS 250 b\nK \nK LAST\nS 250 c\nS 250 done\nX\n",
	    NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 done", "mx0.test[127.0.0.2]");
	join(0);
	assert_int_equal(data->len, 14 + (3 << 17));
	assert_memory_equal(data->p + 14, body, 3 << 17);
	free(body);
}

/* Each of several chunks would be waited for: DATA is quicker.  One chunk saves its answer. */
static void
test_without_pipelining(void **state)
{
	struct message m = plain;
	char *body = large_body(&m, 3);

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, HELLO "S 250 CHUNKING\n" ENVELOPE DATA "C QUIT\n",
	    HELLO "S 250 CHUNKING\n" ENVELOPE CHUNK "C QUIT\n", NULL);
	deliver(&m, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	free(body);
}

/* No more chunks then; the connection goes on behind RSET. */
static void
test_refused_chunk(void **state)
{
	struct message m = plain;
	char *body = large_body(&m, 200);

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0, CHUNK_HELLO PIPED "K \nS 552 5.3.4 too big\nL\nX\n",
	    CHUNK_HELLO PIPED "K \nS 421 4.3.2 shutting down\nX\n", NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.3.4",
	    "host mx0.test[127.0.0.2] said: 552 5.3.4 too big (in reply to BDAT command)",
	    "mx0.test[127.0.0.2]");
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_DEFERRED, "4.3.2",
	    "host mx0.test[127.0.0.2] said: 421 4.3.2 shutting down (in reply to BDAT command)",
	    "mx0.test[127.0.0.2]");
	join(0);
	assert_true(t.servers[0].data.len < 25 << 20); /* not all of it */
	assert_non_null(strstr(buf_cstr(&t.servers[0].commands), "QUIT\n"));
	free(body);
}

/* What was on its way is discarded by the server, and counts for nothing whatever it says of it. */
static void
test_refused_and_used_again(void **state)
{
	struct message m = plain;
	char *body = large_body(&m, 1);

	(void)state;
	start_relay();
	serve(0,
	    CHUNK_HELLO PIPED "K \nK LAST\nR 452 4.3.1 disk full\\r\\n503 5.5.1 no\\r\\n\n"
			      "C RSET\nC MAIL\nC RCPT\nS 250 ok\nS 250 ok\nS 250 ok\n" CHUNK "X\n",
	    NULL, NULL);
	deliver(&m, "u@one.test");
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.3.1",
	    "host mx0.test[127.0.0.2] said: 452 4.3.1 disk full (in reply to BDAT command)",
	    "mx0.test[127.0.0.2]");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	assert_int_equal(t.results[1].uses, 2);
	join(0);
	free(body);
}

static void
test_replies_out_of_step(void **state)
{
	struct message m = plain;
	char *body = large_body(&m, 200);
	struct buf script;

	(void)state;
	start_relay();
	buf_init(&script, 1 << 16);
	buf_append_str(&script, CHUNK_HELLO PIPED "K \n");
	for (size_t i = 0; i < 190; i++) /* not all of these can have been sent */
		buf_append_str(&script, "S 250 got it\n");
	buf_append_str(&script, "N\n");
	serve(0, buf_cstr(&script), CHUNK_HELLO PIPED "K LAST\nS 551 5.6.0 virus\nX\n", NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_DEFERRED, "4.5.0",
	    "protocol error of mx0.test[127.0.0.2] while sending message body: a reply before the end of the message",
	    "mx0.test[127.0.0.2]");
	deliver(&plain, "u@one.test");
	expect(1, DELIVERY_BOUNCED, "5.6.0",
	    "host mx0.test[127.0.0.2] said: 551 5.6.0 virus (in reply to BDAT command)",
	    "mx0.test[127.0.0.2]");
	join(0);
	buf_clear(&script);
	free(body);
}

static void
test_downgraded(void **state)
{
	struct message m = plain;

	(void)state;
	start_relay();
	serve(0, CHUNK_HELLO PIPED CHUNK "X\n", NULL, NULL);
	m.body = ".caf\xc3\xa9\n";
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_true(view_ends(buf_view(&t.servers[0].data), "\r\n\r\n.caf=C3=A9\r\n"));
}

static void
test_content_that_cannot_be_sent(void **state)
{
	struct message m = plain;

	(void)state;
	start_relay();
	serve(0, CHUNK_HELLO PIPED "N\n", NULL, NULL);
	m.body = "a\rb\r\n";
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.6.0", "bare carriage return in the message",
	    "mx0.test[127.0.0.2]");
	join(0);
	assert_int_equal(t.servers[0].data.len, 0);
}

/* RFC 2033 4.3: one reply for each who was accepted. */
static void
test_lmtp(void **state)
{
	static char nexthop[40];
	struct message m = plain;

	(void)state;
	start_relay();
	snprintf(nexthop, sizeof nexthop, "[127.0.0.2]:%u", t.port);
	m.nexthop = nexthop;
	m.protocol = RELAY_LMTP;
	serve(0,
	    "S 220 mx\nC LHLO me.test\nS 250-mx\nS 250-PIPELINING\nS 250 CHUNKING\n"
	    "C MAIL\nC RCPT\nC RCPT\nS 250 ok\nS 250 ok\nS 250 ok\nK LAST\nS 250 one\nS 452 4.2.2 full\nX\n",
	    NULL, NULL);
	send_job(&m, two, 2);
	turn_until_results(2);
	assert_int_equal(t.results[0].status, DELIVERY_SENT);
	assert_int_equal(t.results[1].status, DELIVERY_DEFERRED);
	join(0);
}

static void
test_discarded_keyword(void **state)
{
	(void)state;
	set("smtp_discard_ehlo_keywords", "dsn, chunking");
	start_relay();
	serve(0,
	    CHUNK_HELLO "C MAIL\nC RCPT\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nD\nS 250 ok\nX\n",
	    NULL, NULL);
	deliver(&plain, "u@one.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 ok", "mx0.test[127.0.0.2]");
	join(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_chunk),
		TEST(test_not_before_the_recipients_are_known),
		TEST(test_several_chunks),
		TEST(test_without_pipelining),
		TEST(test_refused_chunk),
		TEST(test_refused_and_used_again),
		TEST(test_replies_out_of_step),
		TEST(test_downgraded),
		TEST(test_content_that_cannot_be_sent),
		TEST(test_lmtp),
		TEST(test_discarded_keyword),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
