#include "pop3d/login_pop3.h"
#include "tests/unit/common/login/login_harness.h"

#define PLAIN_OK "disable_plaintext_auth = no\nlogin_failure_delay = 0\n"

static struct harness *
start(const char *settings, bool has_tls)
{
	struct harness *h = harness_new(&login_pop3_protocol, settings, has_tls);

	client_connect(h, 0);
	client_expect(h, "+OK ");
	return h;
}

static void
capa_follows_tls(void **state)
{
	struct harness *h = start("", true);

	(void)state;
	client_send(h, "CAPA\r\n");
	client_expect(h,
	    "+OK\r\nCAPA\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\nAUTH-RESP-CODE\r\nSTLS\r\nSASL SCRAM-SHA-256\r\n.\r\n");
	client_send(h, "USER bob\r\nPASS secret\r\nAUTH PLAIN AGJvYgBzZWNyZXQ=\r\n");
	client_expect(h, "-ERR [AUTH] Plaintext authentication disallowed");
	client_send(h, "STLS\r\nUSER evil\r\nPASS evil\r\n");
	client_expect(h, "+OK Begin TLS");
	client_tls(h);
	client_send(h, "CAPA\r\n");
	client_expect(h, "AUTH-RESP-CODE\r\nUSER\r\nSASL PLAIN LOGIN SCRAM-SHA-256\r\n.\r\n");
	assert_int_equal(h->starts, 0);
	client_send(h, "PASS secret\r\n");
	client_expect(h, "-ERR No username given.");
	harness_free(h);
}

static void
user_pass_and_session(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "USER bob\r\nPASS wrong one \r\n");
	client_expect(h, "-ERR [AUTH] ");
	assert_string_equal(h->message, "|bob|wrong one ");
	client_send(h, "user bob\r\npass secret\r\nSTAT\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	assert_string_equal(h->service, "pop3");
	session_expect(h, "STAT\r\n");
	session_send(h, "+OK Logged in.\r\n");
	client_expect(h, "+OK Logged in.\r\n");
	RUN_UNTIL(h, log_has(h, "Login: user=<bob@example.test>, method=PLAIN, rip="));
	harness_free(h);
}

static void
auth_in_its_forms(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	client_send(h, "AUTH\r\n");
	client_expect(h, "+OK\r\nPLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\n.\r\n");
	client_send(h, "AUTH PLAIN\r\n");
	client_expect(h, "+ \r\n");
	client_send(h, "*\r\n");
	client_expect(h, "-ERR Authentication aborted");
	client_send(h, "AUTH CRAM-MD5\r\n");
	client_expect(h, "-ERR Unsupported");
	client_send(h, "AUTH PLAIN x\r\n");
	client_expect(h, "-ERR Invalid base64");
	client_send(h, "AUTH SCRAM-SHA-256\r\n");
	client_expect(h, "+ ");
	client_send(h, "cD14\r\n");
	client_expect(h, "+ dj1maW5hbA==\r\n");
	client_send(h, "\r\n");
	RUN_UNTIL(h, h->handovers == 1);
	harness_free(h);
}

static void
other_commands_are_refused(void **state)
{
	struct harness *h = start("login_max_bad_commands = 4\n", false);
	static char line[1000];

	(void)state;
	client_send(h, "APOP bob 0123\r\n");
	client_expect(h, "-ERR Unknown command");
	client_send(h, "NOOP\r\n");
	client_expect(h, "-ERR Unknown command");
	memset(line, 'x', sizeof line - 3);
	memcpy(line, "USER ", 5);
	memcpy(line + sizeof line - 3, "\r\n", 3);
	client_send(h, line);
	client_expect(h, "-ERR Command line too long.");
	client_send(h, "PASS\r\n");
	client_expect(h, "-ERR Too many invalid commands.");
	RUN_UNTIL(h, h->clients[0].is_closed);
	harness_free(h);
}

static void
quit_is_answered(void **state)
{
	struct harness *h = start("", false);

	(void)state;
	client_send(h, "QUIT\r\n");
	client_expect(h, "+OK Logging out\r\n");
	RUN_UNTIL(h, h->clients[0].is_closed);
	RUN_UNTIL(h, log_has(h, "Disconnected: Logged out (no auth attempts in "));
	harness_free(h);
}

static void
failed_hand_over_is_temporary(void **state)
{
	struct harness *h = start(PLAIN_OK, false);

	(void)state;
	h->handover_status = ERR_TEMP;
	client_send(h, "USER bob\r\nPASS secret\r\n");
	client_expect(h, "-ERR [SYS/TEMP] ");
	h->handover_status = 0;
	client_send(h, "USER bob\r\nPASS secret\r\n");
	RUN_UNTIL(h, h->handovers == 2 && h->bytes >= 0);
	harness_free(h);
}

static void
refused_plaintext_is_logged_for_fail2ban(void **state)
{
	struct harness *h = start("", true);

	(void)state;
	client_send(h, "USER bob\r\nQUIT\r\n");
	client_expect(h, "+OK Logging out");
	RUN_UNTIL(h,
	    log_has(h,
		"Disconnected: Logged out (tried to use disallowed plaintext auth): user=<>, rip=127.0.0.1, lip=127.0.0.1, session=<"));
	harness_free(h);
}

static void
one_address_has_a_limit(void **state)
{
	struct harness *h = start("mail_max_userip_connections = 1\n", false);

	(void)state;
	client_connect(h, 1);
	client_expect_n(h, 1, "-ERR [IN-USE] Too many connections from your address.\r\n");
	RUN_UNTIL(h, h->clients[1].is_closed);
	harness_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capa_follows_tls),
		cmocka_unit_test(user_pass_and_session),
		cmocka_unit_test(auth_in_its_forms),
		cmocka_unit_test(other_commands_are_refused),
		cmocka_unit_test(quit_is_answered),
		cmocka_unit_test(failed_hand_over_is_temporary),
		cmocka_unit_test(refused_plaintext_is_logged_for_fail2ban),
		cmocka_unit_test(one_address_has_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
