#include "imapd/login_imap.h"
#include "tests/unit/common/login/login_harness.h"

#define PLAIN_OK "disable_plaintext_auth = no\nlogin_failure_delay = 0\n"

static struct harness *
start(const char *settings, bool has_tls)
{
	struct harness *h = harness_new(&login_imap_protocol, settings, has_tls);

	client_connect(h, 0);
	return h;
}

static void
capabilities_follow_tls(void **state)
{
	struct harness *h = start("", true);

	(void)state;
	client_expect(h,
	    "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED AUTH=SCRAM-SHA-256] ");
	client_send(h, "a LOGIN bob secret\r\n");
	client_expect(h, "a NO [PRIVACYREQUIRED] ");
	client_send(h, "b AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
	client_expect(h, "b NO [PRIVACYREQUIRED] ");
	assert_int_equal(h->starts, 0);
	client_send(h, "c STARTTLS\r\nd NOOP\r\n");
	client_expect(h, "c OK Begin TLS");
	client_tls(h);
	client_send(h, "e CAPABILITY\r\n");
	client_expect(h,
	    "* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN AUTH=SCRAM-SHA-256\r\ne OK ");
	client_send(h, "f STARTTLS\r\ng LOGIN bob secret\r\n");
	client_expect(h, "f BAD ");
	RUN_UNTIL(h, h->handovers == 1);
	assert_int_equal(h->flags, AUTHD_HAS_TLS | AUTHD_HAS_INITIAL | AUTHD_WANT_TICKET);
	RUN_UNTIL(h,
	    log_has(h,
		"Login: user=<bob@example.test>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=4711, TLS, session=<"));
	harness_free(h);
}

static void
commands_sent_before_tls_are_dropped(void **state)
{
	struct harness *h = start("", true);

	(void)state;
	client_expect(h, "STARTTLS");
	client_send(h, "c STARTTLS\r\nevil NOOP\r\nevil LOGOUT\r\n");
	client_expect(h, "c OK ");
	client_tls(h);
	client_send(h, "x NOOP\r\n");
	RUN_UNTIL(h, client_has(h, 0, "x OK "));
	assert_false(client_has(h, 0, "evil"));
	harness_free(h);
}

static void
login_and_proxy(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_expect(h, "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN");
	client_send(h, "a LOGIN {3}\r\n");
	client_expect(h, "+ OK\r\n");
	client_send(h, "bob {6+}\r\nsecret\r\nb SELECT INBOX\r\nc ");
	RUN_UNTIL(h, h->handovers == 1);
	assert_string_equal(h->service, "imap");
	assert_string_equal(h->mech, "PLAIN");
	session_expect(h, "b SELECT INBOX\r\nc ");
	session_send(h, "a OK Logged in\r\n");
	client_expect(h, "a OK Logged in\r\n");
	client_send(h, "NOOP\r\n");
	session_expect(h, "NOOP\r\n");
	session_send(h, "* BYE\r\n");
	fd_close(&h->bytes);
	client_expect(h, "* BYE\r\n");
	RUN_UNTIL(h, h->clients[0].is_closed);
	RUN_UNTIL(h, login_front_clients(h->front) == 0);
	/* of the session's end its own process speaks */
	assert_true(log_has(h, "Login: user=<bob@example.test>, method=PLAIN"));
	assert_false(log_has(h, "Disconnected"));
	harness_free(h);
}

static void
hello_tells_the_session(void **state)
{
	struct harness *h = start(PLAIN_OK, false);
	unsigned char packet[4096];
	struct ipc_in in = { 0 };
	struct err e;
	ssize_t n;

	(void)state;
	client_send(h, "tag1 LOGIN bob secret\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	n = ipc_recv_packet(h->control, packet, sizeof packet, in.fds, &in.nfds);
	assert_true(n > 0);
	assert_int_equal(ipc_in_parse(&in, packet, (size_t)n, &e), 0);
	assert_int_equal(in.type, LOGIN_HELLO);
	assert_int_equal(ipc_in_check(&in, LOGIN_HELLO_SIG, &e), 0);
	assert_string_equal(ipc_get_str(&in), "tag1");
	assert_string_equal(ipc_get_str(&in), "127.0.0.1");
	assert_string_equal(ipc_get_str(&in), "127.0.0.1");
	assert_int_equal(strlen(ipc_get_str(&in)), 16);
	harness_free(h);
}

static void
wrong_passwords_end_it(void **state)
{
	struct harness *h =
	    start("disable_plaintext_auth = no\nlogin_failure_delay = 1\nlogin_max_attempts = 2\n",
		false);
	int64_t before = clock_mono_ms();

	(void)state;
	client_expect(h, "* OK");
	client_send(h, "a LOGIN \"bo<b>, rip=9.9.9.9\" wrong\r\n");
	client_expect(h, "a NO [AUTHENTICATIONFAILED] ");
	assert_true(clock_mono_ms() - before >= 800);
	client_send(h, "b LOGIN bob wrong\r\n");
	client_expect(h, "b NO [AUTHENTICATIONFAILED] ");
	RUN_UNTIL(h, h->clients[0].is_closed);
	assert_true(log_has(
	    h, "Disconnected: Too many authentication failures (auth failed, 2 attempts in "));
	assert_true(log_has(
	    h, " secs): user=<bob>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, session=<"));
	harness_free(h);
}

static void
user_names_cannot_forge_fields(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "a LOGIN \"x>, rip=9.9.9.9, lip=<\" wrong\r\n");
	client_expect(h, "a NO [AUTHENTICATIONFAILED] ");
	client_send(h, "b LOGOUT\r\n");
	client_expect(h, "* BYE");
	RUN_UNTIL(
	    h, log_has(h, " secs): user=<x?, rip=9.9.9.9, lip=?>, method=PLAIN, rip=127.0.0.1,"));
	harness_free(h);
}

static void
authenticate_in_its_forms(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_expect(h, "* OK");
	/* cancelled, malformed, unknown: the connection stays */
	client_send(h, "a AUTHENTICATE PLAIN\r\n");
	client_expect(h, "+ \r\n");
	client_send(h, "*\r\n");
	client_expect(h, "a BAD Authentication aborted by client.");
	RUN_UNTIL(h, h->aborted == h->session);
	client_send(h, "b AUTHENTICATE PLAIN\r\n");
	client_expect(h, "+ \r\n");
	client_send(h, "!!!\r\n");
	client_expect(h, "b BAD ");
	client_send(h, "c AUTHENTICATE PLAIN !!!\r\n");
	client_expect(h, "c BAD ");
	client_send(h, "d AUTHENTICATE CRAM-MD5\r\n");
	client_expect(h, "d NO [CANNOT] ");
	client_send(h, "e AUTHENTICATE login\r\n");
	client_expect(h, "+ VXNlcm5hbWU6\r\n");
	client_send(h, "Ym9i\r\n");
	client_expect(h, "+ UGFzc3dvcmQ6\r\n");
	client_send(h, "c2VjcmV0\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	RUN_UNTIL(h, log_has(h, "method=LOGIN"));
	harness_free(h);
}

static void
initial_response_may_be_empty(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "a AUTHENTICATE PLAIN =\r\n");
	client_expect(h, "a NO [AUTHENTICATIONFAILED]");
	assert_int_equal(h->flags & AUTHD_HAS_INITIAL, AUTHD_HAS_INITIAL);
	assert_string_equal(h->message, "");
	client_send(h, "b AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	harness_free(h);
}

static void
scram_with_its_last_words(void **state)
{
	struct harness *h =
	    start("", false); /* no password goes over the wire: allowed without TLS */

	(void)state;
	client_expect(h, "LOGINDISABLED AUTH=SCRAM-SHA-256]");
	client_send(
	    h, "a AUTHENTICATE SCRAM-SHA-256 biwsbj1ib2Iscj1meWtv\r\n"); /* n,,n=bob,r=fyko */
	client_expect(h, "+ cj14eXoscz1hYmMsaT00MDk2\r\n");
	client_send(h, "Yz1iaXdzLHI9eHl6LHA9YWJj\r\n"); /* c=biws,r=xyz,p=abc */
	client_expect(h, "+ dj1maW5hbA==\r\n");
	assert_int_equal(h->handovers, 0);
	client_send(h, "\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	RUN_UNTIL(h, log_has(h, "method=SCRAM-SHA-256"));
	harness_free(h);
}

static void
without_plain_there_is_no_login(void **state)
{
	struct harness *h = start(PLAIN_OK "smtpd_sasl_mechanisms = SCRAM-SHA-256\n", false);

	(void)state;
	client_expect(h, "IDLE LOGINDISABLED AUTH=SCRAM-SHA-256]");
	client_send(h, "a LOGIN bob secret\r\n");
	client_expect(h, "a NO [CANNOT]");
	assert_int_equal(h->starts, 0);
	harness_free(h);
}

static void
unavailable_is_not_wrong(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "a LOGIN down x\r\n");
	client_expect(h, "a NO [UNAVAILABLE] ");
	h->handover_status = ERR_TEMP;
	client_send(h, "b LOGIN bob secret\r\n");
	client_expect(h, "b NO [UNAVAILABLE] ");
	h->handover_status = 0;
	client_send(h, "c LOGIN bob secret\r\n");
	RUN_UNTIL(h, h->handovers == 2);
	session_send(h, "c OK\r\n");
	client_expect(h, "c OK\r\n");
	harness_free(h);
}

static void
client_leaves_while_authd_thinks(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	h->authd_is_silent = true;
	client_send(h, "a LOGIN bob secret\r\n");
	RUN_UNTIL(h, h->pending_id != 0);
	stream_free(h->clients[0].s);
	h->clients[0].s = NULL;
	RUN_UNTIL(h, login_front_clients(h->front) == 0);
	RUN_UNTIL(h, h->aborted == h->session);
	authd_answer(h, h->pending_id, AUTHD_STEP_DONE, "", "bob@example.test");
	for (int i = 0; i < 3; i++)
		harness_turn(h);
	assert_int_equal(h->handovers, 0);
	harness_free(h);
}

static void
bad_commands_are_counted(void **state)
{
	struct harness *h = start("login_max_bad_commands = 3\n", false);

	(void)state;
	client_expect(h, "* OK");
	client_send(h, "a SELECT INBOX\r\nb NOOP x\r\nc NOOP\r\nd \"\r\ne NOOP\r\n");
	client_expect(h, "a BAD ");
	RUN_UNTIL(h, h->clients[0].is_closed);
	assert_true(client_has(h, 0, "* BYE Too many invalid commands.") ||
		    log_has(h, "Too many invalid commands (no auth attempts"));
	harness_free(h);
}

static void
id_is_answered_and_logged_once(void **state)
{
	struct harness *h = start("", false);

	(void)state;
	client_expect(h, "* OK");
	client_send(h, "a ID (\"name\" \"Thunder<bird>\" \"version\" \"1\\\\0\")\r\n");
	client_expect(h, "* ID (\"name\" \"Estafeta\")\r\na OK ");
	client_send(h, "b ID NIL\r\nc ID (\"name\")\r\nd ID (\"a\" \"b\"\r\n");
	client_expect(h, "d BAD ");
	assert_true(log_has(h, "ID sent: name=Thunder<bird>, version=1\\1340"));
	harness_free(h);
}

static void
endless_line_is_cut(void **state)
{
	struct harness *h = start("", false);
	static char line[20000];

	(void)state;
	client_expect(h, "* OK");
	memset(line, 'a', sizeof line - 1);
	client_send(h, line);
	client_expect(h, "* BYE Command line too long.");
	RUN_UNTIL(h, h->clients[0].is_closed);
	harness_free(h);
}

static void
time_to_log_in_is_bounded(void **state)
{
	struct harness *h = start("login_timeout = 1\n", false);

	(void)state;
	client_expect(h, "* OK");
	client_expect(h, "* BYE Disconnected for inactivity.");
	RUN_UNTIL(h, log_has(h, "Disconnected: Inactivity (no auth attempts in "));
	RUN_UNTIL(h, log_has(h, " secs): user=<>, rip=127.0.0.1, lip=127.0.0.1, session=<"));
	harness_free(h);
}

static void
tls_handshake_time_is_bounded(void **state)
{
	struct harness *h = start("login_timeout = 1\ntls_wrappermode = yes\n", true);

	(void)state;
	RUN_UNTIL(h, h->clients[0].is_closed);
	assert_true(log_has(h, "TLS handshaking, session=<"));
	harness_free(h);
}

static void
implicit_tls_greets_after_the_handshake(void **state)
{
	struct harness *h = start("tls_wrappermode = yes\n", true);

	(void)state;
	for (int i = 0; i < 3; i++)
		harness_turn(h);
	assert_int_equal(h->clients[0].got.len, 0);
	client_tls(h);
	client_expect(h, "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN");
	harness_free(h);
}

static void
one_address_has_a_limit(void **state)
{
	struct harness *h = start("mail_max_userip_connections = 2\n", false);

	(void)state;
	client_connect(h, 1);
	client_connect(h, 2);
	client_expect_n(h, 2, "* BYE [LIMIT] Too many connections from your address.\r\n");
	RUN_UNTIL(h, h->clients[2].is_closed);
	assert_true(log_has(h, "Maximum number of connections from user+IP exceeded"));
	assert_int_equal(login_front_clients(h->front), 2);
	client_expect_n(h, 1, "* OK");
	stream_free(h->clients[1].s);
	h->clients[1].s = NULL;
	RUN_UNTIL(h, login_front_clients(h->front) == 1);
	client_connect(h, 2);
	client_expect_n(h, 2, "* OK");
	harness_free(h);
}

static void
full_front_sends_the_oldest_away(void **state)
{
	struct harness *h = start(PLAIN_OK "login_client_limit = 2\n", false);

	(void)state;
	client_connect(h, 1);
	client_connect(h, 2);
	client_expect(h, "* BYE Too many connections");
	RUN_UNTIL(h, h->clients[0].is_closed);
	assert_int_equal(login_front_clients(h->front), 2);
	assert_false(h->is_paused);
	/* when all have logged in, nobody is sent away: the listener waits */
	for (unsigned i = 1; i < 3; i++) {
		stream_printf(h->clients[i].s, "a LOGIN bob secret\r\n");
		RUN_UNTIL(h, h->handovers == (int)i);
		close(h->control);
		if (i == 1)
			close(h->bytes);
	}
	h->control = -1;
	RUN_UNTIL(h, h->is_paused || login_front_clients(h->front) < 2);
	fd_close(&h->bytes);
	RUN_UNTIL(h, !h->is_paused);
	harness_free(h);
}

static void
half_closed_client_gets_its_answers(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "a LOGIN bob secret\r\nb LOGOUT\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	RUN_UNTIL(h, stream_output_pending(h->clients[0].s) == 0);
	shutdown(stream_fd(h->clients[0].s), SHUT_WR);
	session_expect(h, "b LOGOUT\r\n");
	{
		char end;
		ssize_t n = -1;

		while (n < 0) {
			n = recv(h->bytes, &end, 1, MSG_DONTWAIT);
			harness_turn(h);
		}
		assert_int_equal(n, 0);
	}
	session_send(h, "b OK done\r\n");
	fd_close(&h->bytes);
	client_expect(h, "b OK done\r\n");
	harness_free(h);
}

static void
bulk_goes_through_with_back_pressure(void **state)
{
	struct harness *h = start(PLAIN_OK, false);
	static char block[65536];
	size_t sent = 0, total = 0, got = 0;

	(void)state;
	client_expect(h, "* OK");
	client_send(h, "a LOGIN bob secret\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	/* the client does not read: the front's buffers fill and the session has to wait */
	stream_pause(h->clients[0].s, true);
	for (int idle = 0; idle < 5;) {
		ssize_t n = send(h->bytes, block, sizeof block, MSG_DONTWAIT | MSG_NOSIGNAL);

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		harness_turn(h);
	}
	assert_true(sent < 16 << 20);
	stream_pause(h->clients[0].s, false);
	RUN_UNTIL(h, h->clients[0].got.len == sent);
	/* and the other way */
	while (total < 3 << 20 || got < total) {
		ssize_t n;

		if (total < 3 << 20 && stream_output_pending(h->clients[0].s) < 1 << 20) {
			stream_write(h->clients[0].s, block, sizeof block);
			total += sizeof block;
		}
		n = recv(h->bytes, block, sizeof block, MSG_DONTWAIT);
		got += n > 0 ? (size_t)n : 0;
		harness_turn(h);
	}
	assert_int_equal(got, total);
	harness_free(h);
}

static void
draining_lets_sessions_end(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_expect(h, "* OK");
	client_connect(h, 1);
	client_expect_n(h, 1, "* OK");
	client_send(h, "a LOGIN bob secret\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	RUN_UNTIL(h, log_has(h, "Login: "));
	login_front_drain(h->front);
	client_expect_n(h, 1, "* BYE Server shutting down.");
	assert_false(h->is_idle);
	fd_close(&h->bytes);
	fd_close(&h->control);
	RUN_UNTIL(h, h->is_idle);
	harness_free(h);
}

/* The limit costs nothing: no handshake is made for saying so. */
static void
one_address_has_a_limit_with_tls(void **state)
{
	struct harness *h = start("mail_max_userip_connections = 1\ntls_wrappermode = yes\n", true);

	(void)state;
	client_connect(h, 1);
	RUN_UNTIL(h, h->clients[1].is_closed);
	assert_int_equal(h->clients[1].got.len, 0);
	harness_free(h);
}

/* The session's goodbye comes after the stop. */
static void
stopping_passes_on_the_last_words(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_expect(h, "* OK");
	client_connect(h, 1);
	client_expect_n(h, 1, "* OK");
	stream_printf(h->clients[1].s, "a AUTHENTICATE PLAIN\r\n");
	client_expect_n(h, 1, "+ \r\n");
	client_send(h, "a LOGIN bob secret\r\n");
	RUN_UNTIL(h, log_has(h, "Login: "));
	login_front_stop(h->front);
	client_expect_n(h, 1, "* BYE Server shutting down.");
	assert_false(h->is_idle);
	session_send(h, "a OK\r\n* BYE Server shutting down.\r\n");
	fd_close(&h->bytes);
	client_expect(h, "a OK\r\n* BYE Server shutting down.\r\n");
	RUN_UNTIL(h, h->clients[0].is_closed && h->is_idle);
	harness_free(h);
}

/* A session that does not end keeps nobody. */
static void
stopping_is_bounded(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "a LOGIN bob secret\r\n");
	RUN_UNTIL(h, log_has(h, "Login: "));
	login_front_stop(h->front);
	RUN_UNTIL(h, h->is_idle);
	assert_int_equal(login_front_clients(h->front), 1);
	harness_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capabilities_follow_tls),
		cmocka_unit_test(commands_sent_before_tls_are_dropped),
		cmocka_unit_test(login_and_proxy),
		cmocka_unit_test(hello_tells_the_session),
		cmocka_unit_test(wrong_passwords_end_it),
		cmocka_unit_test(user_names_cannot_forge_fields),
		cmocka_unit_test(authenticate_in_its_forms),
		cmocka_unit_test(initial_response_may_be_empty),
		cmocka_unit_test(scram_with_its_last_words),
		cmocka_unit_test(without_plain_there_is_no_login),
		cmocka_unit_test(unavailable_is_not_wrong),
		cmocka_unit_test(client_leaves_while_authd_thinks),
		cmocka_unit_test(bad_commands_are_counted),
		cmocka_unit_test(id_is_answered_and_logged_once),
		cmocka_unit_test(endless_line_is_cut),
		cmocka_unit_test(time_to_log_in_is_bounded),
		cmocka_unit_test(tls_handshake_time_is_bounded),
		cmocka_unit_test(implicit_tls_greets_after_the_handshake),
		cmocka_unit_test(one_address_has_a_limit),
		cmocka_unit_test(full_front_sends_the_oldest_away),
		cmocka_unit_test(half_closed_client_gets_its_answers),
		cmocka_unit_test(bulk_goes_through_with_back_pressure),
		cmocka_unit_test(draining_lets_sessions_end),
		cmocka_unit_test(one_address_has_a_limit_with_tls),
		cmocka_unit_test(stopping_passes_on_the_last_words),
		cmocka_unit_test(stopping_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
