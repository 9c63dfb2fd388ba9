/* What relay sends: envelope, recipients, content. */
#include "tests/unit/qmgr/relay/relay_world.h"

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
	serve(0, HELLO "S 250 SIZE 20\nC QUIT\n", NULL, NULL);
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.3.4",
	    "message size 27 exceeds size limit 20 of server mx0.test[127.0.0.2]",
	    "mx0.test[127.0.0.2]");
	join(0);
}

#define SIZE_HELLO HELLO "S 250 SIZE 10000000\n"
#define NEW_FIELDS                                                                                 \
	"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"    \
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n"

/* RFC 6152 3: made 7-bit for who takes no other; its size is not what was measured. */
static void
test_8bit_to_a_server_without_8bitmime(void **state)
{
	struct message m = plain;

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	start_relay();
	serve(0,
	    SIZE_HELLO "C MAIL FROM:<a@home.test>\nS 250 ok\nC RCPT\nS 250 ok\n" DATA "C QUIT\n",
	    SIZE_HELLO "C MAIL FROM:<a@home.test> SIZE=20\nS 250 ok\nC RCPT\nS 250 ok\n" DATA
		       "C QUIT\n",
	    PIPE_HELLO "C MAIL FROM:<a@home.test> SIZE=21 BODY=8BITMIME\nC RCPT\nC DATA\n"
		       "S 250 ok\nS 250 ok\nS 354 go\nD\nS 250 2.0.0 Ok: queued as X\nC QUIT\n");
	m.body = "caf\xc3\xa9\r\n";
	deliver(&m, "u@one.test");
	m.body = "cafe\r\n";
	m.flags = ENVELOPE_8BIT; /* only announced as such */
	deliver(&m, "u@one.test");
	m.body = "caf\xc3\xa9\r\n";
	deliver(&m, "u@one.test");
	for (size_t i = 0; i < 3; i++)
		expect(
		    i, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_null(strstr(buf_cstr(&t.servers[0].commands), "MAIL FROM:<a@home.test> SIZE=21\n"));
	assert_string_equal(buf_cstr(&t.servers[0].data),
	    NEW_FIELDS "caf=C3=A9\r\n.\r\n"
		       "Subject: x\r\n\r\ncafe\r\n.\r\n"
		       "Subject: x\r\n\r\ncaf\xc3\xa9\r\n.\r\n");
}

/* The next host gets it from the start, each as it needs it. */
static void
test_8bit_at_the_second_host(void **state)
{
	struct message m = to("two.test");
	struct buf body;

	(void)state;
	start_relay();
	serve(0, PLAIN_HELLO ENVELOPE "C DATA\nS 354 go\nD\nS 451 4.3.0 not now\nX\n", NULL, NULL);
	serve(1, PLAIN_HELLO ENVELOPE DATA "X\n", NULL, NULL);
	buf_init(&body, 8 << 20);
	while (body.len < 1 << 20) /* more than one turn looks at, or one piece holds */
		buf_append_str(
		    &body, ".text text text text text text text text text text text text\r\n");
	buf_append_str(&body, "\xc3\xa9 \r\n");
	m.body = body.p;
	m.body_len = body.len;
	deliver(&m, "u@two.test");
	expect(0, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx1.test[127.0.0.3]");
	join(0);
	join(1);
	assert_true(view_eq(buf_view(&t.servers[0].data), buf_view(&t.servers[1].data)));
	assert_true(view_starts(buf_view(&t.servers[1].data), NEW_FIELDS "..text"));
	assert_true(view_ends(buf_view(&t.servers[1].data),
	    "..text text text text text text text "
	    "text text text text text\r\n=C3=A9=20\r\n.\r\n"));
	buf_clear(&body);
}

static void
test_8bit_that_cannot_or_shall_not_be_made_7bit(void **state)
{
	struct message m = plain;

	(void)state;
	set("smtp_connection_cache_time_limit", "0");
	set("mime_nesting_limit", "1");
	start_relay();
	serve(0, PLAIN_HELLO "N\n", PLAIN_HELLO ENVELOPE DATA "C QUIT\n", NULL);
	m.headers = "Content-Type: multipart/mixed; boundary=a\r\n\r\n";
	m.body = "--a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n";
	deliver(&m, "u@one.test");
	expect(0, DELIVERY_BOUNCED, "5.6.0", "MIME nesting exceeds safety limit",
	    "mx0.test[127.0.0.2]");
	t.rc.sends_8bit_anyway = true;
	deliver(&m, "u@one.test");
	expect(1, DELIVERY_SENT, "2.0.0", "250 2.0.0 Ok: queued as X", "mx0.test[127.0.0.2]");
	join(0);
	assert_non_null(strstr(buf_cstr(&t.servers[0].data), "\xc3\xa9"));
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
test_unsealed_content_is_refused(void **state)
{
	struct ipc_out o;
	int pipes[2];

	(void)state;
	start_relay();
	assert_int_equal(pipe(pipes), 0);
	ipc_out_init(&o, RELAY_JOB);
	ipc_put_u32(&o, 1);
	ipc_put_u32(&o, RELAY_SMTP);
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
	for (int i = 0; i < 6; i++)
		ipc_put_str(&o, "");
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_message),
		TEST(test_without_pipelining_and_ehlo),
		TEST(test_each_recipient_its_own),
		TEST(test_permanent_failures),
		TEST(test_reply_while_sending),
		TEST(test_large_message),
		TEST(test_too_many_recipients),
		TEST(test_recipients_are_split),
		TEST(test_split_and_lost),
		TEST(test_many_pipelined_recipients),
		TEST(test_what_the_server_cannot_take),
		TEST(test_8bit_to_a_server_without_8bitmime),
		TEST(test_8bit_at_the_second_host),
		TEST(test_8bit_that_cannot_or_shall_not_be_made_7bit),
		TEST(test_utf8),
		TEST(test_bare_cr_is_not_sent),
		TEST(test_unsealed_content_is_refused),
	};

	return cmocka_run_group_tests(tests, open_world, close_world);
}
