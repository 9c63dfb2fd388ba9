/* Attacks on the screen: clients that go in each of its states, XCLIENT over it, lists that fail. */
#include "smtpd/session.h"
#include "tests/unit/smtpd/anvil_world.h"

#define STRANGER "198.51.100.1"
#define OTHER "198.51.100.2"
#define THIRD "198.51.100.3"
#define HELLO "< 220\n> EHLO c.example\n< 250\n"
#define MAIL "> MAIL FROM:<a@sender.example>\n"
#define RCPT "> RCPT TO:<alice@example.test>\n"
#define SCREEN "postscreen_enable = yes\npostscreen_greet_wait = 1s\nsmtpd_peername_lookup = no\n"

struct attack {
	const char *name, *settings, *script;
};

static void
run(const struct attack *a)
{
	struct helper h;
	struct world w;

	fakes = (struct fakes){ 0 };
	world_init(&w, a->name, a->settings);
	helper_init(&h, &w);
	play(&w, a->script);
	helper_clear(&h, &w);
	world_clear(&w);
}

static void
test_xclient(void **state)
{
#define XC                                                                                         \
	SCREEN "smtpd_authorized_xclient_hosts = " STRANGER " " OTHER " " THIRD                    \
	       "\npostscreen_access_list = inline:{ " OTHER "=reject, " THIRD                      \
	       "=permit }\npostscreen_pipelining_enable = yes\n"
	static const struct attack cases[] = {
		{ "tests that are open go with the client", XC,
		    "C " STRANGER "\n" HELLO
		    "> XCLIENT ADDR=198.51.100.77\n< 220\n> EHLO x\n< 250\n" },
		{ "a verdict goes with the client", XC "postscreen_denylist_action = enforce\n",
		    "C " OTHER "\n" HELLO MAIL "< 250\n" RCPT
		    "< 550 5.3.2\n> RSET\n< 250\n> XCLIENT ADDR=" THIRD
		    "\n< 220\n> EHLO x\n< 250\n" MAIL "< 250\n" RCPT "< 250\n" },
		{ "dropped behind XCLIENT", XC "postscreen_denylist_action = drop\n",
		    "C " STRANGER "\n" HELLO "> XCLIENT ADDR=" OTHER "\n< 521 5.3.2\n! closed\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		run(&cases[i]);
}

static void
test_xclient_unavailable(void **state)
{
	static const struct attack a = {
		"nobody",
		SCREEN
		"postscreen_dnsbl_sites = bad.example\nsmtpd_authorized_xclient_hosts = " STRANGER
		"\n",
		"C " STRANGER "\n" HELLO
		"> XCLIENT ADDR=[UNAVAILABLE]\n< 220\n> EHLO x\n< 250\n> QUIT\n< 221\nC " STRANGER
		"\n" HELLO
		"> XCLIENT ADDR=[UNAVAILABLE]\n< 220\nL PASS NEW [unknown]\nL! PASS OLD [unknown]\n"
	};

	(void)state;
	run(&a);
}

static void
test_failing_list(void **state)
{
	static const struct attack a = { "a list that fails",
		SCREEN "postscreen_greet_wait = 0s\npostscreen_dnsbl_sites = failing.example\n",
		"C 203.0.113.4\n" HELLO "> QUIT\n< 221\nC 203.0.113.4\n" HELLO "L! PASS OLD\n" };

	(void)state;
	run(&a);
}

static int64_t remembered;

static void
on_until(void *arg, const struct anvil_answer *a)
{
	(void)arg;
	remembered = a->is_known ? a->until[0] : -1;
}

/* An smtpd that was taken over cannot let a client in for ever. */
static void
test_for_ever(void **state)
{
	static const int64_t ever[ANVIL_SCREEN_TESTS] = { INT64_MAX, INT64_MAX };
	struct helper h;
	struct world w;

	(void)state;
	world_init(&w, "for ever", SCREEN);
	helper_init(&h, &w);
	anvil_screen_put(&w.server, STRANGER, ever);
	remembered = 0;
	assert_non_null(anvil_screen_get(&w.server, STRANGER, on_until, NULL));
	while (remembered == 0)
		turn(&w);
	assert_in_range(remembered, clock_wall_ms() / 1000, clock_wall_ms() / 1000 + 367 * 86400);
	helper_clear(&h, &w);
	world_clear(&w);
}

static unsigned seed = 1;
static unsigned
rnd(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* Clients come, say something or nothing at any moment, and go in any way. */
static void
test_disconnects(void **state)
{
	static const char *const settings[] = {
		SCREEN
		"postscreen_dnsbl_sites = silent.example*2 bad.example=127.0.0.2*2 worse.example*2 good.example*-4\npostscreen_dnsbl_timeout = 1s\npostscreen_greet_action = drop\npostscreen_dnsbl_action = drop\npostscreen_dnsbl_threshold = 2\npostscreen_dnsbl_allowlist_threshold = -1\n"
		"postscreen_pipelining_enable = yes\npostscreen_pipelining_action = drop\npostscreen_non_smtp_command_enable = yes\npostscreen_bare_newline_enable = yes\nsmtpd_authorized_xclient_hosts = 0.0.0.0/0\npostscreen_greet_ttl = 1s\n",
		SCREEN
		"postscreen_dnsbl_sites = silent.example*2 bad.example=127.0.0.2*2 worse.example*2\npostscreen_dnsbl_timeout = 1s\npostscreen_greet_action = enforce\npostscreen_dnsbl_action = enforce\n"
		"postscreen_pipelining_enable = yes\npostscreen_non_smtp_command_enable = yes\npostscreen_bare_newline_enable = yes\nsmtpd_authorized_xclient_hosts = 0.0.0.0/0\npostscreen_greet_ttl = 1s\nsmtpd_tls_cert_file = /c\nsmtpd_tls_security_level = may\nsmtpd_client_connection_rate_limit = 1000\n",
	};
	static const char *const ips[] = { "203.0.113.1", "203.0.113.2", "203.0.113.4",
		"203.0.113.9", STRANGER, OTHER, "2001:db8::7" };
	static const char *const says[] = { "", "EHLO x\\r\\n",
		"EHLO x\\r\\nMAIL FROM:<a@sender.example>\\r\\nRCPT TO:<alice@example.test>\\r\\nRCPT TO:<alice@example.test>\\r\\n",
		"EHLO x\\n", "GET / HTTP/1.0\\r\\n", "\\x16\\x03\\x01",
		"EHLO x\\r\\nSTARTTLS\\r\\n", "EHLO x\\r\\nXCLIENT ADDR=203.0.113.4\\r\\n",
		"XCLIENT ADDR=203.0.113.2\\r\\nEHLO y\\r\\n",
		"HELO x\\r\\nMAIL FROM:<>\\r\\nRCPT TO:<alice@example.test>\\r\\nQUIT\\r\\n" };

	(void)state;
	for (size_t set = 0; set < 2; set++) {
		struct helper h;
		struct world w;
		int extra[40];
		size_t nextra = 0;

		fakes = (struct fakes){ 0 };
		world_init(&w, "disconnects", settings[set]);
		helper_init(&h, &w);
		for (int i = 0; i < 150; i++) {
			unsigned turns = rnd(8) == 0 ? rnd(260) : rnd(8), way = rnd(5);

			client_connect(&w, ips[rnd(7)]);
			for (unsigned j = 0; j < turns && j < 3; j++)
				turn(&w);
			send_escaped(&w, says[rnd(10)], 1);
			for (unsigned j = 0; j < turns; j++)
				turn(&w);
			if (way == 0 && nextra < 40) {
				extra[nextra++] = w.fd; /* stays */
				w.fd = -1;
			} else if (way == 1) {
				shutdown(w.fd, SHUT_WR);
				for (unsigned j = 0; j < turns; j++)
					turn(&w);
			} else if (way == 2) {
				send_escaped(&w, says[rnd(10)], 1);
			}
			drop_client(&w);
		}
		while (nextra > 0)
			close(extra[--nextra]);
		wait_sessions(&w, 0);
		helper_clear(&h, &w);
		world_clear(&w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_xclient),
		cmocka_unit_test(test_xclient_unavailable), cmocka_unit_test(test_failing_list),
		cmocka_unit_test(test_for_ever), cmocka_unit_test(test_disconnects) };

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
