/* Limits, the tests before and after the greeting, deadlines: a whole smtpd with a real anvil beside it. */
#include "smtpd/session.h"
#include "tests/unit/smtpd/anvil_world.h"

/* An address of 198.51.100/24 is nobody's in the zone of session_world.h; 203.0.113.0/24 is listed below. */
#define STRANGER "198.51.100.1"
#define OTHER "198.51.100.2"
#define TRUSTED "127.0.0.9"
#define HELLO "< 220\n> EHLO c.example\n< 250\n"
#define MAIL "> MAIL FROM:<a@sender.example>\n"
#define RCPT "> RCPT TO:<alice@example.test>\n"
#define SEND MAIL "< 250\n" RCPT "< 250\n> RSET\n< 250\n"
#define LOGIN "> AUTH PLAIN AGFsaWNlAHNlY3JldA==\n< 235\n"
#define NO_NAMES "smtpd_peername_lookup = no\n"

struct abuse_case {
	const char *name, *settings, *script;
};

static void
run_cases(const struct abuse_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct helper h;
		struct world w;
		char *settings = x_asprintf(NO_NAMES "%s", cases[i].settings);

		fakes = (struct fakes){ 0 };
		world_init(&w, cases[i].name, settings);
		helper_init(&h, &w);
		play(&w, cases[i].script);
		helper_clear(&h, &w);
		world_clear(&w);
		free(settings);
	}
}
#define RUN(cases) run_cases(cases, sizeof(cases) / sizeof(cases)[0])

static void
test_client_limits(void **state)
{
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "connection rate", "smtpd_client_connection_rate_limit = 2\n",
		  "C " STRANGER "\n" HELLO "> QUIT\n< 221\nC " STRANGER "\n< 220\nC " STRANGER "\n"
		  "< 421 4.7.0 mail.example.test Error: too many connections from unknown[" STRANGER "]\n! closed\n"
		  "L smtpd: Connection rate limit exceeded: 3 from unknown[" STRANGER "] for service smtp\n"
		  /* others are served */
		  "C " OTHER "\n" HELLO "C " TRUSTED "\n" HELLO "C " TRUSTED "\n" HELLO "C " TRUSTED "\n" HELLO },
		{ "one network is one client", "smtpd_client_connection_rate_limit = 2\nsmtpd_client_ipv4_prefix_length = 24\n",
		  "C " STRANGER "\n< 220\nC " STRANGER "\n< 220\nC " OTHER "\n< 421 4.7.0\n! closed\n" },
		{ "IPv6 networks", "smtpd_client_connection_rate_limit = 1\n",
		  "C 2001:db8::1\n< 220\nC 2001:db8::ffff\n< 421 4.7.0\n! closed\nC 2001:db8:1::1\n< 220\n" },
		{ "messages", "smtpd_client_message_rate_limit = 2\n",
		  "C " STRANGER "\n" HELLO SEND "C " STRANGER "\n" HELLO SEND MAIL
		  "< 450 4.7.1 Error: too much mail from unknown[" STRANGER "]\n"
		  "L Message delivery request rate limit exceeded: 3 from unknown[" STRANGER "] for service smtp\n"
		  "C " OTHER "\n" HELLO SEND "C " TRUSTED "\n" HELLO SEND SEND SEND },
		{ "recipients", "smtpd_client_recipient_rate_limit = 2\n",
		  "C " STRANGER "\n" HELLO MAIL "< 250\n" RCPT "< 250\n" RCPT "< 250\n" RCPT
		  "< 450 4.7.1 Error: too many recipients from unknown[" STRANGER "]\n"
		  "L Recipient address rate limit exceeded: 3 from unknown[" STRANGER "] for service smtp\n" },
		{ "AUTH", "smtpd_client_auth_rate_limit = 1\nsmtpd_sasl_auth_enable = yes\nsmtpd_tls_cert_file = /c\nsmtpd_tls_security_level = may\n",
		  "C " STRANGER "\n" HELLO "> STARTTLS\n< 220\nT\n> EHLO x\n< 250\n> AUTH PLAIN AGFsaWNlAHdyb25n\n< 535\n"
		  "> AUTH PLAIN AGFsaWNlAHNlY3JldA==\n< 450 4.7.1 Error: too many AUTH commands from unknown[" STRANGER "]\n"
		  "L AUTH command rate limit exceeded: 2 from unknown[" STRANGER "] for service smtp\n> NOOP\n< 250\n" },
		{ "new TLS sessions", "smtpd_client_new_tls_session_rate_limit = 1\nsmtpd_tls_cert_file = /c\nsmtpd_tls_security_level = may\n",
		  "C " STRANGER "\n" HELLO "> STARTTLS\n< 220\nT\n> EHLO x\n< 250\n> QUIT\n< 221\nC " STRANGER "\n" HELLO
		  "> STARTTLS\n< 454 4.7.0 Error: too many new TLS sessions from unknown[" STRANGER "]\n> NOOP\n< 250\n"
		  "L New TLS session rate limit exceeded\nC " OTHER "\n" HELLO "> STARTTLS\n< 220\nT\n> EHLO x\n< 250\n" },
		{ "new TLS sessions in wrapper mode", "smtpd_client_new_tls_session_rate_limit = 1\nsmtpd_tls_cert_file = /c\nsmtpd_tls_wrappermode = yes\n",
		  "C " STRANGER "\nT\n" HELLO "> QUIT\n< 221\nC " STRANGER "\nT\n"
		  "< 421 4.7.0 mail.example.test Error: too many new TLS sessions from unknown[" STRANGER "]\n! closed\nC " OTHER "\nT\n< 220\n" },
		{ "nothing is asked for without a limit", "smtpd_client_connection_count_limit = 0\n",
		  "C " STRANGER "\n" HELLO SEND SEND SEND },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

static void
test_sending_limits(void **state)
{
#define SUBMISSION                                                                                 \
	"smtpd_sasl_auth_enable = yes\nsmtpd_tls_cert_file = /c\nsmtpd_tls_security_level = may\n"
#define LOGGED_IN HELLO "> STARTTLS\n< 220\nT\n> EHLO x\n< 250\n" LOGIN
#define TO_AND_FRO "> XCLIENT ADDR=" OTHER "\n< 220\n> XCLIENT ADDR=" STRANGER "\n< 220\n"
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "messages of a login", SUBMISSION "smtpd_login_message_rate_limit = 2\n",
		  "C " STRANGER "\n" LOGGED_IN SEND SEND
		  MAIL "< 450 4.7.1 Error: alice@example.test has sent too much: at most 2 messages in 1 hour are allowed, please try again later\n"
		  "L Message sending rate limit exceeded: 3 in 1 hour, allowed are 2, for login <alice@example.test> from unknown[" STRANGER "] for service smtp\n"
		  /* from wherever it comes, as whoever it writes; who did not log in is not concerned */
		  "C " OTHER "\n" LOGGED_IN "> MAIL FROM:<b@sender.example>\n< 450 4.7.1\nC " OTHER "\n" HELLO SEND },
		{ "recipients of a login", SUBMISSION "smtpd_login_recipient_rate_limit = 2\nsmtpd_sending_rate_time_unit = 90s\n",
		  "C " STRANGER "\n" LOGGED_IN SEND SEND MAIL "< 250\n" RCPT
		  "< 450 4.7.1 Error: alice@example.test has sent too much: at most 2 recipients in 90 seconds are allowed\n" },
		{ "messages of a sender in mynetworks", "smtpd_sender_message_rate_limit = 1\n",
		  "C " TRUSTED "\n" HELLO SEND "> MAIL FROM:<A@Sender.Example>\n< 450 4.7.1 Error: a@sender.example has sent too much: at most 1 messages in 1 hour\n"
		  "> MAIL FROM:<other@sender.example>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 250\n"
		  /* a stranger's sender address may be forged */
		  "C " STRANGER "\n" HELLO SEND SEND },
		{ "a client that XCLIENT has replaced is connected no more", "smtpd_client_connection_count_limit = 2\nsmtpd_authorized_xclient_hosts = " STRANGER " " OTHER "\n",
		  "C " STRANGER "\n" HELLO TO_AND_FRO TO_AND_FRO TO_AND_FRO "C " OTHER "\n< 220\n" },
		{ "recipients of a sender", "smtpd_sender_recipient_rate_limit = 1\n",
		  "C " TRUSTED "\n" HELLO MAIL "< 250\n" RCPT "< 250\n" RCPT "< 450 4.7.1\n" },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

/* What a process of ours has open ends with it, and what ends is taken back. */
static void
test_connection_count(void **state)
{
	struct helper h;
	struct world w;
	int first, fds[2];
	struct ipc_edge *second;
	struct ipc_conn *side;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "count", NO_NAMES "smtpd_client_connection_count_limit = 2\n");
	helper_init(&h, &w);
	client_connect(&w, "2001:db8::1");
	play(&w, "< 220\n");
	first = w.fd;
	w.fd = -1;
	/* addresses of one network, so that the process's own count is not what refuses; the other smtpd process: a second connection to the same anvil */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	side = ipc_conn_new(w.loop, fds[1], &anvil_caller_ops, NULL);
	anvil_caller_open(h.anvil, side);
	second = ipc_edge_new_fd(w.loop, fds[0], NULL, NULL);
	w.server.anvil = second;
	client_connect(&w, "2001:db8::2");
	play(&w, "< 220\n");
	w.server.anvil = h.edge;
	fds[0] = w.fd;
	w.fd = -1;
	client_connect(&w, "2001:db8::3");
	play(&w,
	    "< 421 4.7.0\n! closed\nL Connection concurrency limit exceeded: 3 from unknown[2001:db8::3] "
	    "for service smtp\n");
	client_connect(&w, OTHER);
	play(&w, "< 220\n");
	/* that process dies: what it had counted is free again */
	w.server.anvil = NULL;
	ipc_edge_free(second);
	for (int i = 0; i < 20; i++)
		loop_run_once(w.loop, false);
	w.server.anvil = h.edge;
	client_connect(&w, "2001:db8::4");
	play(&w, "< 220\n> QUIT\n< 221\n! closed\n");
	close(first);
	close(fds[0]);
	wait_sessions(&w, 0);
	client_connect(&w, "2001:db8::5");
	play(&w, "< 220\n");
	helper_clear(&h, &w);
	world_clear(&w);
}

/* Nobody is limited, and one line says so. */
static void
test_anvil_is_gone(void **state)
{
	struct world w;
	struct ipc_edge *edge;
	int fds[2];

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "gone", NO_NAMES "smtpd_client_connection_rate_limit = 1\n");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	edge = ipc_edge_new_fd(w.loop, fds[0], NULL, NULL);
	close(fds[1]);
	w.server.anvil = edge;
	for (int i = 0; i < 3; i++) {
		client_connect(&w, STRANGER);
		play(&w, HELLO);
	}
	play(&w, "L anvil does not answer: clients are not limited\n");
	assert_null(strstr(strstr(buf_cstr(&w.log), "anvil does not") + 1, "anvil does not"));
	smtpd_server_clear(&w.server);
	smtpd_server_start(&w.server);
	ipc_edge_free(edge);
	world_clear(&w);
}

/* A client that goes while anvil is asked. */
static void
test_lost_while_asked(void **state)
{
	struct helper h;
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "lost", NO_NAMES "smtpd_client_connection_count_limit = 1\n");
	helper_init(&h, &w);
	for (int i = 0; i < 5; i++) {
		client_connect(&w, STRANGER);
		smtpd_session_free(LIST_FIRST(&w.server.sessions));
		drop_client(&w);
	}
	client_connect(&w, STRANGER);
	play(&w, "< 220\n");
	helper_clear(&h, &w);
	world_clear(&w);
}

static void
test_networks(void **state)
{
	static const struct {
		const char *address;
		unsigned v4, v6;
		const char *expected;
	} cases[] = {
		{ "192.0.2.129", 32, 84, "192.0.2.129" },
		{ "192.0.2.129", 24, 84, "192.0.2.0/24" },
		{ "192.0.2.129", 25, 84, "192.0.2.128/25" },
		{ "192.0.2.129", 0, 84, "0.0.0.0/0" },
		{ "::ffff:192.0.2.129", 24, 84, "192.0.2.0/24" },
		{ "2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64" },
		{ "2001:db8:1:2:3fff::6", 32, 68, "2001:db8:1:2:3000::/68" },
		{ "2001:db8::1", 32, 128, "2001:db8::1" },
	};
	struct sockaddr_storage a;
	char out[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_true(addr_parse(view_of(cases[i].address), &a));
		anvil_network(&a, cases[i].v4, cases[i].v6, out);
		assert_string_equal(out, cases[i].expected);
	}
}

static void
test_slow_clients(void **state)
{
#define SLOW "smtpd_timeout = 1s\nsmtpd_per_request_deadline = yes\nsmtpd_min_data_rate = 1000\n"
#define DATA MAIL "< 250\n" RCPT "< 250\n> DATA\n< 354\n"
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "a command line in drops", SLOW,
		  "C " STRANGER "\n" HELLO ">> N\nW 300\n>> O\nW 300\n>> O\nW 300\n>> P\n< 421 4.4.2\n! closed\n" },
		{ "content in drops", SLOW,
		  "C " STRANGER "\n" HELLO DATA ">> a\nW 300\n>> b\nW 300\n>> c\nW 300\n>> d\n< 421 4.4.2\n! closed\nN 0\n" },
		{ "without a deadline drops are enough", "smtpd_timeout = 1s\n",
		  "C " STRANGER "\n" HELLO DATA ">> a\nW 400\n>> b\nW 400\n>> c\nW 400\n>> d\\r\\n.\\r\\n\n< 250\nN 1\n" },
		{ "content that comes fast enough", SLOW,
		  "C " STRANGER "\n" HELLO DATA "Z 50 0123456789\\r\\n\nW 500\nZ 50 0123456789\\r\\n\nW 500\n"
		  "Z 50 0123456789\\r\\n\nW 500\n>> .\\r\\n\n< 250\nN 1\n" },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

/* Near smtpd_client_limit everybody gets less. */
static void
test_stress(void **state)
{
	static const char settings[] =
	    NO_NAMES "smtpd_client_limit = 10\nsmtpd_hard_error_limit = ${stress?{1}:{3}}\n";
	struct world w;
	int fds[9];

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "stress", settings);
	assert_int_equal(w.smtpd_conf.patience.timeout_ms, 300000);
	assert_int_equal(w.smtpd_conf.stressed.timeout_ms, 10000);
	assert_int_equal(w.smtpd_conf.stressed.junk_limit, 1);
	for (int i = 0; i < 9; i++) {
		client_connect(&w, i % 2 ? STRANGER : OTHER);
		play(&w, HELLO);
		fds[i] = w.fd;
		w.fd = -1;
	}
	play(&w, "L 9 sessions: stress-dependent settings are in effect\n");
	client_connect(&w, STRANGER);
	play(&w, HELLO "> X\n< 500\n< 421 4.7.0\n! closed\n");
	for (int i = 0; i < 9; i++)
		close(fds[i]);
	wait_sessions(&w, 0);
	play(&w, "L 7 sessions: stress-dependent settings are over\nC " STRANGER "\n" HELLO
		 "> X\n< 500\n> X\n< 500\n> X\n< 500\n< 421 4.7.0\n");
	world_clear(&w);
}

/* Those who were idle before have to go too. */
static void
test_stress_ends_idle_sessions(void **state)
{
	struct world w;
	int fds[9];

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "idle",
	    NO_NAMES "smtpd_client_limit = 10\nsmtpd_timeout = ${stress?{1}:{300}}s\n");
	for (int i = 0; i < 9; i++) {
		client_connect(&w, i % 2 ? STRANGER : OTHER);
		play(&w, HELLO);
		fds[i] = w.fd;
		w.fd = -1;
	}
	w.fd = fds[0];
	play(&w, "< 421 4.4.2\n! closed\nL stress-dependent settings are over\n");
	for (int i = 1; i < 9; i++)
		close(fds[i]);
	world_clear(&w);
}

/* --- the screen -------------------------------------------------------------------------------------------------- */

#define SCREEN "postscreen_enable = yes\npostscreen_greet_wait = 1s\n"

static void
test_pregreet(void **state)
{
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "who is silent passes, and is remembered", SCREEN,
		  "C " STRANGER "\n< 220 mail\n<~ 220-mail\n> EHLO x\n< 250\nL postscreen: CONNECT from [" STRANGER "]:0 to [\n"
		  "L postscreen: PASS NEW [" STRANGER "]:0\n> QUIT\n< 221\n! closed\n"
		  "C " STRANGER "\n< 220 mail\n<! 220-\nL postscreen: PASS OLD [" STRANGER "]:0\n> EHLO x\n< 250\n" SEND },
		{ "ignore", SCREEN,
		  "C " STRANGER "\n> EHLO early\n< 220\n< 250\nL postscreen: PREGREET 12 after 0\nL from [" STRANGER "]:0: EHLO early\\015\\012\n"
		  "L! PASS NEW\n> QUIT\n< 221\n! closed\nC " STRANGER "\n< 220\n<~ 220-\n" },
		{ "enforce", SCREEN "postscreen_greet_action = enforce\n",
		  "C " STRANGER "\n> EHLO early\n< 220\n< 250\n" MAIL "< 250\n" RCPT "< 550 5.5.1 Protocol error\n"
		  "L NOQUEUE: reject: RCPT from unknown[" STRANGER "]: 550 5.5.1 Protocol error; from=<a@sender.example> to=<alice@example.test>\n"
		  RCPT "< 550 5.5.1\nL! PASS\n" },
		{ "drop", SCREEN "postscreen_greet_action = drop\n",
		  "C " STRANGER "\n> EHLO early\n< 521 5.5.1 Protocol error\n! closed\n"
		  "L NOQUEUE: reject: CONNECT from unknown[" STRANGER "]: 521 5.5.1 Protocol error\nE 0\n" },
		{ "hangs up", SCREEN, "C " STRANGER "\nW 30\nX close\nE 0\nL postscreen: HANGUP after 0\nL in tests before SMTP handshake\n" },
		{ "hangs up half", SCREEN, "C " STRANGER "\nW 30\nX shut\nE 0\nL HANGUP after 0\n" },
		{ "mynetworks", SCREEN, "C " TRUSTED "\n< 220 mail\n<! 220-\nL postscreen: ALLOWLISTED [" TRUSTED "]:0\n" },
		{ "no teaser, no wait", "postscreen_enable = yes\npostscreen_greet_wait = 0s\n", "C " STRANGER "\n< 220\n<! 220-\n" },
		{ "no teaser", SCREEN "postscreen_greet_banner =\n", "C " STRANGER "\n< 220\n<! 220-\n" },
		{ "the server goes meanwhile", SCREEN, "C " STRANGER "\nW 10\n" },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

static void
test_screen_lists(void **state)
{
#define SITES                                                                                      \
	"postscreen_dnsbl_sites = good.example*-4 bad.example=127.0.0.[2..3]*2 worse.example*2\n"
#define QUICK "postscreen_enable = yes\npostscreen_greet_wait = 0s\n" SITES
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "not listed", QUICK, "C " STRANGER "\n" HELLO "L PASS NEW [" STRANGER "]\nL! DNSBL\n" },
		{ "ignore", QUICK "postscreen_dnsbl_threshold = 4\n", "C 203.0.113.4\n" HELLO SEND "L postscreen: DNSBL rank 4 for [203.0.113.4]:0\nL! PASS\n" },
		{ "threshold", QUICK "postscreen_dnsbl_threshold = 4\npostscreen_dnsbl_action = drop\n", "C 203.0.113.2\n" HELLO SEND "L! DNSBL\n" },
		{ "enforce", QUICK "postscreen_dnsbl_threshold = 4\npostscreen_dnsbl_action = enforce\n",
		  "C 203.0.113.4\n" HELLO MAIL "< 250\n" RCPT "< 550 5.7.1 Service unavailable; client [203.0.113.4] blocked using \n" },
		{ "drop", QUICK "postscreen_dnsbl_threshold = 2\npostscreen_dnsbl_action = drop\n",
		  "C 203.0.113.2\n< 521 5.7.1 Service unavailable; client [203.0.113.2] blocked using bad.example\n! closed\n"
		  "L postscreen: DNSBL rank 2 for [203.0.113.2]:0\n" },
		{ "the filter", QUICK "postscreen_dnsbl_action = drop\n", "C 203.0.113.9\n" HELLO },
		{ "the allow-list spares the wait", SCREEN SITES "postscreen_greet_wait = 100s\npostscreen_dnsbl_allowlist_threshold = -1\n",
		  "C 203.0.113.1\n" HELLO "L PASS NEW\n" },
		{ "a list does not answer", QUICK "postscreen_dnsbl_sites = silent.example\npostscreen_dnsbl_timeout = 1s\n",
		  "C 203.0.113.4\n" HELLO "C 203.0.113.4\n" HELLO "L! PASS OLD\n" },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

static void
test_after_greeting(void **state)
{
#define DEEP                                                                                       \
	"postscreen_enable = yes\npostscreen_greet_wait = 0s\npostscreen_pipelining_enable = yes\n"
#define PIPELINED                                                                                  \
	"C " STRANGER                                                                              \
	"\n< 220\n>> EHLO x\\r\\nMAIL FROM:<a@sender.example>\\r\\n\n< 250\n< 250\n" RCPT
	/* clang-format off */
	static const struct abuse_case cases[] = {
		{ "enforce", DEEP, PIPELINED "< 550 5.5.1 Protocol error\n"
		  "L postscreen: COMMAND PIPELINING from [" STRANGER "]:0 after EHLO: MAIL FROM:\n" RCPT "< 550\n" },
		{ "drop", DEEP "postscreen_pipelining_action = drop\n", PIPELINED "< 521 5.5.1 Protocol error\n! closed\n" },
		{ "ignore", DEEP "postscreen_pipelining_action = ignore\n", PIPELINED "< 250\nL COMMAND PIPELINING\n" },
		{ "passed is remembered", DEEP, "C " STRANGER "\n" HELLO SEND "L PASS NEW\n> QUIT\n< 221\n! closed\n" PIPELINED "< 250\nL PASS OLD\nL! COMMAND\n" },
		{ "HELO offers no pipelining", DEEP, "C " STRANGER "\n< 220\n> HELO x\n< 250\n>> MAIL FROM:<a@sender.example>\\r\\nRCPT TO:<alice@example.test>\\r\\n\n< 250\n< 550 5.5.1 Protocol error\n"
		  "L postscreen: COMMAND PIPELINING from [" STRANGER "]:0 after MAIL: RCPT TO:\n" },
		{ "nor does EHLO if told so", DEEP "smtpd_discard_ehlo_keywords = pipelining\n", "C " STRANGER "\n" HELLO ">> MAIL FROM:<a@sender.example>\\r\\nRCPT TO:<alice@example.test>\\r\\n\n< 250\n< 550 5.5.1\n" },
		{ "foreign protocol", DEEP "postscreen_non_smtp_command_enable = yes\n",
		  "C " STRANGER "\n< 220\n> GET / HTTP/1.0\n< 221 2.7.0\n! closed\nL postscreen: NON-SMTP COMMAND from [" STRANGER "]:0 after CONNECT: GET / HTTP/1.0\n" },
		{ "bare newline", DEEP "postscreen_bare_newline_enable = yes\n",
		  "C " STRANGER "\n< 220\n>> EHLO x\\n\n< 521 5.5.2\n! closed\nL postscreen: BARE NEWLINE from [" STRANGER "]:0 after CONNECT: EHLO x\n" },
	};
	/* clang-format on */

	(void)state;
	RUN(cases);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_limits),
		cmocka_unit_test(test_sending_limits),
		cmocka_unit_test(test_connection_count),
		cmocka_unit_test(test_anvil_is_gone),
		cmocka_unit_test(test_lost_while_asked),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_slow_clients),
		cmocka_unit_test(test_stress),
		cmocka_unit_test(test_stress_ends_idle_sessions),
		cmocka_unit_test(test_pregreet),
		cmocka_unit_test(test_screen_lists),
		cmocka_unit_test(test_after_greeting),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
