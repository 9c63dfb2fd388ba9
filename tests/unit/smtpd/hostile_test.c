/* Hostile clients, and states that only they bring about: verdicts and facts that must stay with their transaction, sessions
 * that end while somebody is asked.  Run under the address sanitizer, where the second kind shows. */
#include "smtpd/params.h"
#include "smtpd/session.h"
#include "tests/unit/smtpd/session_world.h"

struct hostile_case {
	const char *name, *settings, *peer, *script;
};

#define STRANGER "192.0.2.1" /* client.example, forward confirmed */
#define HELLO "< 220\n> EHLO c.example\n< 250\n"
#define LHLO "< 220\n> LHLO c.example\n< 250\n"
#define MAIL "> MAIL FROM:<a@sender.example>\n< 250\n"
#define RCPT "> RCPT TO:<bob@example.test>\n< 250\n"
#define DATA "> DATA\n< 354\n> A: b\n> \n> .\n"
#define SENDERS(rows) "smtpd_sender_restrictions = check_sender_access inline:{ " rows " }\n"
/* a transaction of a sender that gets this action, given up in some way; then one of another */
#define ACTION(action, script)                                                                     \
	{                                                                                          \
		action, SENDERS("{ marked@sender.example = " action " }"), STRANGER, HELLO script  \
	}
#define MARKED "> MAIL FROM:<marked@sender.example>\n< 250\n" RCPT
#define CLEAN                                                                                      \
	MAIL RCPT DATA                                                                             \
	    "< 250\nN 1\nR bob@example.test\nV flags=0x0 envid= filter= \nQ= A: b\\r\\n\\r\\n\n"
#define L8 "a.a.a.a.a.a.a.a."
#define L80 L8 L8 L8 L8 L8 L8 L8 L8 L8 L8

/* clang-format off */
static const struct hostile_case cases[] = {
	/* --- what a stage does not have yet --- */
	{ "an unlisted sender before there is a transaction", "smtpd_delay_reject = no\nsmtpd_sender_restrictions = reject_unlisted_sender\n", STRANGER,
	    HELLO "> MAIL FROM:<nobody@example.test>\n< 550 5.1.0\n> MAIL FROM:<temp@example.test>\n< 451\n> MAIL FROM:<full@example.test>\n< 250\n> RSET\n< 250\n> MAIL FROM:<nobody@sender.example>\n< 250\n" },
	{ "an unlisted sender while RCPT is decided", "smtpd_sender_restrictions = reject_unlisted_sender\n", STRANGER,
	    HELLO "> MAIL FROM:<bob@example.test>\n< 250\n> RCPT TO:<nobody@example.test>\n< 550 5.1.1\n" RCPT "> RSET\n< 250\n> MAIL FROM:<nobody@example.test>\n< 250\n> RCPT TO:<bob@example.test>\n< 550 5.1.0\n> RCPT TO:<x@foreign.example>\n< 550 5.1.0\n" },
	/* --- verdicts of one transaction are not the next one's --- */
	ACTION("HOLD", MARKED "> RSET\n< 250\n" CLEAN),
	ACTION("DISCARD", MARKED DATA "< 250\nN 0\n" CLEAN),
	ACTION("REDIRECT carol@example.test", MARKED "> EHLO x\n< 250\n" CLEAN),
	ACTION("BCC carol@example.test", MARKED "> RSET\n< 250\n" CLEAN),
	ACTION("FILTER smtp:evil", MARKED ">> BDAT 2\\r\\nA:\n< 250\n> RSET\n< 250\n" CLEAN),
	ACTION("PREPEND X-Leak: y", MARKED ">> BDAT 6 LAST\\r\\n\\0: b\\r\\n\n< 550\n" CLEAN),
	/* --- promises --- */
	{ "REDIRECT to nobody is returned, not lost", SENDERS("{ a@sender.example = REDIRECT nobody@example.test }"), STRANGER, HELLO MAIL RCPT DATA "< 250\nN 1\nR nobody@example.test\n" },
	{ "REDIRECT to a full mailbox", SENDERS("{ a@sender.example = REDIRECT full@example.test }"), STRANGER, HELLO MAIL RCPT DATA "< 451\nN 0\n> NOOP\n< 250\n" },
	{ "RFC 2033 4.2 replies count RCPT, not BCC", "smtpd_lmtp = yes\nalways_bcc = carol@example.test\n", STRANGER, LHLO MAIL RCPT DATA "< 250 2.0.0 Ok: queued\n> NOOP\n< 250 2.0.0 Ok\n> VRFY x\n< 252\nR bob@example.test carol@example.test\n" },
	{ "RFC 2033 4.2 replies count RCPT, not REDIRECT", "smtpd_lmtp = yes\n" SENDERS("{ a@sender.example = REDIRECT carol@example.test }"), STRANGER,
	    LHLO MAIL RCPT "> RCPT TO:<dave@example.test>\n< 250\n" DATA "< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok: queued\n> VRFY x\n< 252\nR carol@example.test\n" },
	{ "RFC 2033 4.2 the same recipient twice", "smtpd_lmtp = yes\n", STRANGER, LHLO MAIL RCPT RCPT DATA "< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok: queued\n> VRFY x\n< 252\n" },
	/* --- tables --- */
	{ "a domain of more labels than a table is asked for", SENDERS("{ evil.example = REJECT }"), STRANGER, HELLO "> MAIL FROM:<x@" L80 "evil.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 554 5.7.1\n" },
	{ "a HELO name of as many", "smtpd_helo_restrictions = check_helo_access inline:{ { evil.example = REJECT } }\n", STRANGER, "< 220\n> EHLO " L80 "evil.example\n< 250\n" MAIL "> RCPT TO:<bob@example.test>\n< 554 5.7.1\n" },
	{ "an action in odd case, with spaces", SENDERS("{ a@sender.example =   rEjEcT   no  }"), STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test>\n< 554 5.7.1 <a@sender.example>: Sender address rejected: no\n" },
	{ "an action that is none permits nothing", SENDERS("{ a@sender.example = okay }"), STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test>\n< 451 4.3.5\n" },
	{ "OK for a sender opens no relay", SENDERS("{ a@sender.example = OK }"), STRANGER, HELLO MAIL "> RCPT TO:<x@foreign.example>\n< 554 5.7.1\n" },
	{ "a table's text ends no reply", SENDERS("{ a@sender.example = REJECT x\r250\x01y\x7f }"), STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test>\n< 554 5.7.1 <a@sender.example>: Sender address rejected: x?250?y?\n" },
	{ "RSET while the queue's id is waited for", "", STRANGER, HELLO ">> MAIL FROM:<a@sender.example>\\r\\nRCPT TO:<bob@example.test>\\r\\nRSET\\r\\nMAIL FROM:<a@sender.example>\\r\\nRCPT TO:<bob@example.test>\\r\\nQUIT\\r\\n\n< 250\n< 250\n< 250\n< 250\n< 250\n< 221\n! closed\nE 0\n" },
	/* --- BDAT: CVE-2017-16943 --- */
	{ "CVE-2017-16943 a chunk refused, then DATA", "message_size_limit = 4\n", STRANGER, HELLO MAIL RCPT ">> BDAT 6\\r\\nA: b\\r\\nBDAT 1\\r\\nxDATA\\r\\n.\\r\\nRSET\\r\\n\n< 552\n< 503\n< 503\n< 500\n< 250\nN 0\n" },
	{ "CVE-2017-16943 a chunk refused, then a transaction", "message_size_limit = 6\n", STRANGER, HELLO MAIL RCPT ">> BDAT 7\\r\\nA: bb\\r\\n\n< 552\n" MAIL RCPT ">> BDAT 6 LAST\\r\\nA: b\\r\\n\n< 250\nQ= A: b\\r\\n\nN 1\n" },
	{ "CVE-2017-16943 a count that cannot be read, between chunks", "", STRANGER, HELLO MAIL RCPT ">> BDAT 6\\r\\nA: b\\r\\nBDAT x\\r\\nDATA\\r\\n\n< 250\n< 521\n! closed\nE 0\nN 0\n" },
	{ "a refused chunk does not buy time for ever", "smtpd_timeout = 1s\nsmtpd_per_request_deadline = yes\n", STRANGER, HELLO ">> BDAT 1000\\r\\n\n" "W 400\n>> x\nW 400\n>> x\nW 400\n>> x\nW 400\n>> x\n< 421 4.4.2\n! closed\n" },
	/* --- XCLIENT, XFORWARD, PROXY from strangers --- */
	{ "case 12 a PROXY header where none is wanted", "", STRANGER, "< 220\n> PROXY TCP4 127.0.0.1 127.0.0.1 1 25\n< 500\n> EHLO x\n< 250\n" MAIL "> RCPT TO:<x@foreign.example>\n< 554 5.7.1\n" },
	{ "case 12 a binary PROXY header where none is wanted", "", STRANGER, "< 220\n>> \\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x21\\x11\\x00\\x0c\\x7f\\x00\\x00\\x01\\x7f\\x00\\x00\\x01\\x00\\x01\\x00\\x19\n< 500\n< 500\n< 221\n! closed\n" },
	{ "xtext that decodes to line ends", "smtpd_authorized_xclient_hosts = 192.0.2.1\nsmtpd_authorized_xforward_hosts = 192.0.2.1\n", STRANGER, HELLO "> XCLIENT HELO=a+0D+0Ab\n< 501\n> XCLIENT LOGIN=a+00b\n< 501\n> XFORWARD IDENT=a+0D+0A\n< 501\n> XFORWARD HELO=+7F\n< 501\n" MAIL "> RCPT TO:<x@foreign.example>\n< 554\n" },
	/* --- case 3, CVE-2019-16928, CVE-2018-6789: lengths around powers of two --- */
	{ "case 8, CVE-2020-7247: what a shell would like", "", STRANGER, HELLO "> MAIL FROM:<;id;>\n< 501 5.1.7\n> MAIL FROM:<`id`@b.c>\n< 250\n> RCPT TO:<|id@example.test>\n< 250\n> RCPT TO:<\"|/bin/sh -c id\"@example.test>\n< 250\n> RCPT TO:<-froot@example.test>\n< 250\n> RCPT TO:</etc/passwd@example.test>\n< 250\n> RCPT TO:<\"\"@example.test>\n< 501\n> RCPT TO:<$(id)@example.test>\n< 501 5.1.3\n> RCPT TO:<${run{/bin/id}}@example.test>\n< 250\n" },
	{ "case 2, CVE-2011-0411: an envelope in front of STARTTLS is forgotten", "tls_cert_file = /cert.pem\n", STRANGER, HELLO ">> STARTTLS\\r\\nMAIL FROM:<evil@b.c>\\r\\nRCPT TO:<bob@example.test>\\r\\n\n< 220\nT\n> DATA\n< 503\n> EHLO x\n< 250\n" MAIL RCPT "> DATA\n< 354\n> .\n< 250\nV from=<a@sender.example>\n" },
};
/* clang-format on */

/* A reset: the replies that the client has not read make it one. */
static void
reset_after(struct world *w, const char *text, size_t len, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;

	send_bytes(w, text, len);
	while (clock_mono_ms() < until)
		loop_run_once(w->loop, false);
	client_away(w, "rst");
	wait_sessions(w, 0);
}

/* The session ends while somebody is asked for it; the answer comes later, to nobody. */
static void
test_lost_while_asked(void **state)
{
	static const struct {
		const char *settings, *peer, *more;
	} rows[] = {
		{ "smtpd_client_restrictions = reject_rbl_client silent.example\nsmtpd_peername_lookup = no\n",
		    "203.0.113.4",
		    "MAIL FROM:<a@b.c>\r\nRCPT TO:<bob@example.test>\r\nRSET\r\nQUIT\r\n" },
		{ "smtpd_client_restrictions = sleep 3600\nsmtpd_delay_reject = no\n", STRANGER,
		    "EHLO x\r\nMAIL FROM:<a@b.c>\r\n" },
		{ "smtpd_peername_timeout = 60s\n", "192.0.2.5", "MAIL FROM:<a@b.c>\r\nQUIT\r\n" },
		{ "smtpd_client_restrictions = reject_unknown_client_hostname\nsmtpd_peername_timeout = 60s\nsmtpd_delay_reject = no\n",
		    "192.0.2.5", "EHLO x\r\n" },
		{ "smtpd_error_sleep_time = 60s\nsmtpd_soft_error_limit = 1\n", STRANGER,
		    "X\r\nX\r\nX\r\n" },
		{ "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = no\n", STRANGER,
		    "EHLO x\r\nAUTH SCRAM-SHA-256 bixhLG49YQ==\r\nYz1iaXdz\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world w;

		fakes = (struct fakes){ 0 };
		world_init(&w, rows[i].more, rows[i].settings);
		client_connect(&w, rows[i].peer);
		send_bytes(&w, "NOOP\r\n", 6);
		reset_after(&w, rows[i].more, strlen(rows[i].more), 50);
		client_connect(&w, "127.0.0.9");
		play(&w, "< 220\n> NOOP\n< 250\n");
		world_clear(&w);
	}
}

static void
play_case(const struct hostile_case *c)
{
	struct world w;

	fakes = (struct fakes){ 0 };
	world_init(&w, c->name, c->settings);
	client_connect(&w, c->peer);
	play(&w, c->script);
	if (view_find(buf_view(&w.message), VIEW_LIT("X-Leak")) != NULL)
		fail_msg("%s: the message has X-Leak", c->name);
	world_clear(&w);
}

static void
test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		play_case(&cases[i]);
	print_message("%zu dialogues\n", sizeof cases / sizeof cases[0]);
}

/* CVE-2011-1720, CVE-2020-35679, CVE-2017-16943: the client goes behind every byte, at once or a little later. */
static void
test_lost_everywhere(void **state)
{
	static const struct {
		const char *settings, *dialogue;
	} rows[] = {
		{ "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = no\n",
		    "EHLO c\r\nAUTH SCRAM-SHA-256 bixhLG49YQ==\r\nYz1iaXdz\r\n*\r\nAUTH SCRAM-SHA-256\r\n!\r\nAUTH X\r\nAUTH SCRAM-SHA-256 =\r\n" },
		{ "message_size_limit = 8\n",
		    "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<bob@example.test>\r\nBDAT 6\r\nA: b\r\nBDAT 9\r\nQUIT\r\nQUIBDAT 2 LAST\r\n\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<list@example.test>\r\nBDAT 2\r\n\r\nRSET\r\nBDAT x\r\n" },
		{ "always_bcc = list@example.test\nsmtpd_delay_reject = no\nsmtpd_sender_restrictions = reject_unlisted_sender reject_unknown_sender_domain\nsmtpd_data_restrictions = sleep 0\n",
		    "EHLO c\r\nMAIL FROM:<bob@example.test>\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<list@example.test>\r\nDATA\r\nA: b\r\n\r\n.\r\nMAIL FROM:<>\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
		const char *dialogue = rows[i / 2].dialogue;
		struct world w;

		fakes = (struct fakes){ 0 };
		world_init(&w, dialogue, rows[i / 2].settings);
		for (size_t cut = 0; cut <= strlen(dialogue); cut++) {
			client_connect(&w, STRANGER);
			reset_after(&w, dialogue, cut, i % 2 == 0 ? 0 : 3);
		}
		assert_true(w.begun >= w.commits);
		world_clear(&w);
	}
}

/* Case 3, CVE-2019-16928, CVE-2018-6789, CVE-2005-1513: every command with arguments of 2^n - 1, 2^n and 2^n + 1 bytes. */
static void
test_lengths(void **state)
{
	static const char *const commands[] = { "EHLO ", "HELO ", "MAIL FROM:<", "MAIL FROM:<a@",
		"MAIL FROM:<a@b.c> SIZE=", "MAIL FROM:<a@b.c> ENVID=", "RCPT TO:<", "VRFY ",
		"AUTH PLAIN ", "AUTH ", "BDAT ", "XCLIENT NAME=", "NOOP ", "" };
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "lengths",
	    "smtpd_hard_error_limit = 1000\nsmtpd_sasl_auth_enable = yes\nsmtpd_authorized_xclient_hosts = 192.0.2.1\n");
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		for (int bits = 3; bits <= 17; bits++)
			for (int more = -1; more <= 1; more++) {
				char fill[40];

				client_connect(&w, STRANGER);
				play(&w, "< 220\n> EHLO x\n< 250\n");
				send_bytes(&w, commands[i], strlen(commands[i]));
				snprintf(fill, sizeof fill, "Z %d 1", (1 << bits) + more);
				play(&w, fill);
				play(&w, ">> \\r\\n\n");
				/* a count is followed by octets; or by the end, when it is none */
				if (strcmp(commands[i], "BDAT ") != 0)
					play(&w, "< \n> QUIT\n< 221");
				client_away(&w, "rst");
				wait_sessions(&w, 0);
			}
	world_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_lost_while_asked), cmocka_unit_test(test_lost_everywhere),
		cmocka_unit_test(test_lengths) };

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
