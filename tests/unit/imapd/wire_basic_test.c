/* RFC 3501 on the wire: what every session does; see wire.h. */
#include "wire.h"

#define CAPS "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE"

static const struct wire_case cases[] = {
	/* --- any state ------------------------------------------------------------------------------------------ */
	{ "6.1.1 CAPABILITY",
	    "1> a CAPABILITY\n1< * CAPABILITY " CAPS "\n1< a OK CAPABILITY completed.\n" },
	{ "6.1.1 CAPABILITY takes no arguments",
	    "1> a CAPABILITY x\n1< a BAD Error in IMAP command CAPABILITY: ~\n" },
	{ "6.1.2 NOOP", "1> a NOOP\n1< a OK NOOP completed.\n" },
	{ "6.1.3 LOGOUT", "1> a LOGOUT\n1< * BYE Logging out\n1< a OK Logout completed.\n1!\n" },
	{ "6.1.3 commands behind LOGOUT are not run",
	    "1>> a LOGOUT\\r\\nb NOOP\\r\\n\n1< * BYE ~\n1< a OK ~\n1!\n" },
	{ "case of commands",
	    "1> a nOOp\n1< a OK ~\n1> b uid fetch 1 flags\n1< b BAD No mailbox selected.\n" },
	{ "bare LF ends a line", "1>> a NOOP\\nb NOOP\\n\n1< a OK ~\n1< b OK ~\n" },
	{ "pipelining",
	    "1>> a NOOP\\r\\nb CAPABILITY\\r\\nc NOOP\\r\\n\n1< a OK ~\n1< * CAPABILITY ~\n1< b OK ~\n1< c OK ~\n" },
	{ "commands come in pieces",
	    "1>> a N\n1>> OOP\\r\n1>> \\nb NO\n1< a OK ~\n1> OP\n1< b OK ~\n" },
	/* --- what is no command ----------------------------------------------------------------------------------- */
	{ "7.1.3 unknown command", "1> a FOO\n1< a BAD Unknown command.\n" },
	{ "7.1.3 empty line", "1> \n1< * BAD Null command.\n" },
	{ "7.1.3 no tag", "1> (NOOP)\n1< * BAD Invalid tag.\n" },
	{ "7.1.3 plus is no tag", "1> + NOOP\n1< * BAD Invalid tag.\n" },
	{ "7.1.3 tag alone",
	    "1> a\n1< a BAD Unknown command.\n1> a \n1< a BAD Unknown command.\n" },
	{ "7.1.3 two spaces", "1> a  NOOP\n1< a BAD Unknown command.\n" },
	{ "7.1.3 UID alone",
	    "1> a UID\n1< a BAD Unknown command.\n1> a UID FOO\n1< a BAD Unknown command.\n1> a UID UID\n1< a BAD Unknown command.\n" },
	{ "7.1.3 UID CLOSE is none", "1> a UID CLOSE\n1< a BAD Unknown command.\n" },
	{ "6.2 LOGIN again",
	    "1> a LOGIN x y\n1< a BAD Unknown command.\n1> b AUTHENTICATE PLAIN\n1< b BAD ~\n1> c STARTTLS\n1< c BAD ~\n" },
	{ "NUL in a command", "1> a NO\\0OP\n1< a BAD ~\n1> b NOOP\\0\n1< b BAD ~\n" },
	{ "8-bit atoms", "1> a SELECT \\xc3\\xa4\n1< a BAD ~\n" },
	{ "CR inside a line", "1> a NOOP\\r b NOOP\n1< a BAD ~\n" },
	{ "6.3 needs arguments",
	    "1> a SELECT\n1< a BAD ~\n1> b LIST\n1< b BAD ~\n1> c LIST \"\"\n1< c BAD ~\n1> d STATUS INBOX\n1< d BAD ~\n"
	    "1> e APPEND INBOX\n1< e BAD ~\n1> f RENAME a\n1< f BAD ~\n1> g SUBSCRIBE\n1< g BAD ~\n1> h CREATE\n1< h BAD ~\n" },
	{ "6.4 needs a mailbox",
	    "1> a CHECK\n1< a BAD No mailbox selected.\n1> a CLOSE\n1< a BAD ~\n1> a EXPUNGE\n1< a BAD ~\n1> a SEARCH ALL\n1< a BAD ~\n"
	    "1> a FETCH 1 FLAGS\n1< a BAD ~\n1> a STORE 1 FLAGS ()\n1< a BAD ~\n1> a COPY 1 x\n1< a BAD ~\n1> a MOVE 1 x\n1< a BAD ~\n"
	    "1> a UID SEARCH ALL\n1< a BAD ~\n1> a UID EXPUNGE 1\n1< a BAD ~\n1> a UNSELECT\n1< a BAD ~\n" },
	/* --- literals (4.3, RFC 7888) --------------------------------------------------------------------------- */
	{ "4.3 synchronizing literal",
	    "1> a SELECT {5}\n1< + OK\n1> INBOX\n1.. a OK [READ-WRITE] ~\n" },
	{ "4.3 two literals",
	    "1> a RENAME {1}\n1< + OK\n1> x {1}\n1< + OK\n1> y\n1< a NO [NONEXISTENT] ~\n" },
	{ "RFC 7888 LITERAL+", "1>> a EXAMINE {5+}\\r\\nINBOX\\r\\n\n1.. a OK [READ-ONLY] ~\n" },
	{ "RFC 7888 LITERAL+ with the next command behind it",
	    "1>> a EXAMINE {5+}\\r\\nINBOX\\r\\nb NOOP\\r\\n\n1.. a OK ~\n1< b OK ~\n" },
	{ "4.3 empty literal",
	    "1> a LIST {0}\n1< + OK\n1>  \"\"\n1< * LIST (\\Noselect) \"/\" \"\"\n1< a OK ~\n" },
	{ "4.3 literal to a command that takes none",
	    "1> a NOOP {3}\n1< + OK\n1> foo\n1< a BAD ~\n" },
	{ "4.3 literal to an unknown command",
	    "1> a FOO {3}\n1< a BAD Unknown command.\n1> b NOOP\n1< b OK ~\n" },
	{ "4.3 LITERAL+ to an unknown command is swallowed",
	    "1>> a FOO {5+}\\r\\nx LOGOUT\\r\\nb NOOP\\r\\n\n1< a BAD Unknown command.\n1< b OK ~\n" },
	{ "hostile 21: too large a literal is refused before it comes",
	    "1> a SELECT {4294967295}\n1< a BAD Literal too long\n1> b NOOP\n1< b OK ~\n" },
	{ "hostile 21: beyond 32 bits",
	    "1> a SELECT {18446744073709551616}\n1< a BAD Literal size too large\n1> b NOOP\n1< b OK ~\n" },
	{ "hostile 21: LITERAL+ that nobody can wait for",
	    "1> a SELECT {18446744073709551616+}\n1< * BYE Literal size too large\n1!\n" },
	{ "NUL in a literal", "1>> a SELECT {3+}\\r\\na\\0b\\r\\n\n1< a BAD ~\n" },
	{ "hostile 22: parentheses left open",
	    "1> a SELECT INBOX\n1.. a OK ~\n1> a SEARCH ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((\n1< a BAD ~\n" },
	/* --- quoted strings (4.3) -------------------------------------------------------------------------------- */
	{ "4.3 quoted",
	    "1> a SELECT \"INBOX\"\n1.. a OK ~\n1> b SELECT \"IN\\\\BOX\"\n1< b BAD ~\n1> c SELECT \"INBOX\n1< c BAD ~\n" },
	/* --- extensions of any state -------------------------------------------------------------------------------- */
	{ "RFC 2971 ID", "1> a ID NIL\n1< * ID (\"name\" \"Estafeta\")\n1< a OK ID completed.\n" },
	{ "RFC 2971 ID with fields",
	    "1> a ID (\"name\" \"sodr\" \"version\" NIL)\n1< * ID ~\n1< a OK ~\n1> b ID ()\n1< * ID ~\n1< b OK ~\n" },
	{ "RFC 2971 ID malformed",
	    "1> a ID\n1< a BAD ~\n1> b ID (\"name\")\n1< b BAD ~\n1> c ID foo\n1< c BAD ~\n1> d ID (name \"x\")\n1< d BAD ~\n" },
	{ "RFC 2971 ID: more than 30 fields",
	    "1> a ID (\"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" "
	    "\"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" "
	    "\"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\" \"a\" \"b\")\n1< a BAD ~\n" },
	{ "RFC 5161 ENABLE",
	    "1> a ENABLE FOO BAR\n1< * ENABLED\n1< a OK ENABLE completed.\n1> b ENABLE\n1< b BAD ~\n" },
	{ "RFC 5161 ENABLE not with a mailbox selected",
	    "1> a SELECT INBOX\n1.. a OK ~\n1> b ENABLE FOO\n1< b BAD ~\n" },
	{ "RFC 2342 NAMESPACE",
	    "1> a NAMESPACE\n1< * NAMESPACE ((\"\" \"/\")) NIL NIL\n1< a OK NAMESPACE completed.\n" },
	/* --- IDLE without a mailbox ---------------------------------------------------------------------------------- */
	{ "RFC 2177 IDLE in the authenticated state",
	    "1> a IDLE\n1< + idling\n1?\n1> DONE\n1< a OK Idle completed.\n" },
	{ "RFC 2177 IDLE takes no arguments", "1> a IDLE x\n1< a BAD ~\n" },
	{ "RFC 2177 DONE in any case", "1> a IDLE\n1< + idling\n1> done\n1< a OK ~\n" },
	{ "RFC 2177 anything but DONE",
	    "1> a IDLE\n1< + idling\n1> b NOOP\n1< a BAD Expected DONE.\n1> c NOOP\n1< c OK ~\n" },
	{ "RFC 2177 a literal in IDLE",
	    "1> a IDLE\n1< + idling\n1> b FOO {3}\n1< a BAD Expected DONE.\n1> c NOOP\n1< c OK ~\n" },
	{ "RFC 2177 DONE pipelined",
	    "1>> a IDLE\\r\\nDONE\\r\\nb NOOP\\r\\n\n1< + idling\n1< a OK ~\n1< b OK ~\n" },
	{ "DONE outside of IDLE", "1> DONE\n1< DONE BAD Unknown command.\n" },
};

static void
test_cases(void **state)
{
	(void)state;
	wire_run(cases, sizeof cases / sizeof cases[0]);
}

/* --- what a script cannot say --------------------------------------------------------------------------------- */
/* A front that would write our lines. */
static void
test_bad_tags(void **state)
{
	static const char *const tags[] = { "", "L OK\r\nx", "*" };

	(void)state;
	for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
		struct wire w;

		wire_start(&w, "bad tag", &wire_config);
		w.hello_tag = tags[i];
		wire_connect(&w, 1);
		wire_expect_eof(&w, 1);
		wire_stop(&w);
	}
}

/* Maildir is a file: RFC 5530 has a word for it. */
static void
test_unavailable(void **state)
{
	struct wire w;

	(void)state;
	wire_start(&w, "unavailable", &wire_config);
	remove_all(w.maildir);
	assert_int_equal(mknod(w.maildir, S_IFREG | 0600, 0), 0);
	wire_connect(&w, 1);
	wire_script(&w,
	    "1< L NO [UNAVAILABLE] Mailbox is not available\n1< * BYE Mailbox is not available\n1!\n1-\n");
	assert_int_equal(unlink(w.maildir), 0);
	wire_script(&w, "1> a NOOP\n1< a OK ~\n");
	wire_stop(&w);
}

static void
test_end_in_the_log(void **state)
{
	struct wire w;
	char text[300];

	(void)state;
	log_capture_start();
	wire_start(&w, "end in the log", &wire_config);
	wire_script(&w, "1> a NOOP\n1< a OK ~\n1> b LOGOUT\n1< * BYE ~\n1< b OK ~\n1!\n");
	snprintf(text, sizeof text,
	    "imap(bob@example.test)<%d><sEsSiOn>: Disconnected: Logged out in=18 out=",
	    (int)getpid());
	assert_true(log_capture_has(text));
	assert_true(log_capture_has(
	    " deleted=0 expunged=0 trashed=0 hdr_count=0 hdr_bytes=0 body_count=0 body_bytes=0\n"));
	assert_int_equal(log_capture_count("Disconnected"), 1);
	wire_stop(&w);
	log_capture_end();
}

static void
test_too_many_sessions(void **state)
{
	struct wire w;

	(void)state;
	wire_start(&w, "too many sessions", &wire_config);
	wire_script(&w, "1> a NOOP\n1< a OK ~\n2> a NOOP\n2< a OK ~\n3> a NOOP\n3< a OK ~\n");
	wire_connect(&w, 4);
	wire_script(&w, "4< L NO [LIMIT] ~\n4< * BYE [LIMIT] ~\n4!\n1> b NOOP\n1< b OK ~\n");
	wire_stop(&w);
}

static void
test_bad_commands(void **state)
{
	struct wire w;

	(void)state;
	wire_start(&w, "bad commands", &wire_config);
	for (int i = 0; i < 19; i++)
		wire_script(&w, "1> a FOO\n1< a BAD ~\n");
	wire_script(&w, "1> a NOOP\n1< a OK ~\n"); /* in a row, or not at all */
	for (int i = 0; i < 19; i++)
		wire_script(&w, "1> a FOO\n1< a BAD ~\n");
	wire_script(&w, "1> a FOO\n1< a BAD ~\n1< * BYE Too many invalid IMAP commands.\n1!\n");
	wire_stop(&w);
}

static void
test_inactivity(void **state)
{
	struct imapd_config config = wire_config;
	struct wire w;

	(void)state;
	config.timeout_ms = 30;
	wire_start(&w, "inactivity", &config);
	wire_script(&w, "1> a NOOP\n1< a OK ~\n1< * BYE Disconnected for inactivity.\n1!\n");
	wire_stop(&w);
}

static void
test_still_here(void **state)
{
	struct imapd_config config = wire_config;
	struct wire w;

	(void)state;
	config.timeout_ms = 100;
	config.idle_notify_ms = 20;
	wire_start(&w, "still here", &config);
	wire_script(&w,
	    "1> a IDLE\n1< + idling\n1< * OK Still here\n1< * OK Still here\n1< * OK Still here\n"
	    "1< * OK Still here\n1< * OK Still here\n1< * OK Still here\n1< * OK Still here\n1> DONE\n1.. a OK ~\n");
	wire_stop(&w);
}

/* The suite stops: whoever can understand a word gets one; in the midst of a literal there is none. */
static void
test_stop(void **state)
{
	struct wire w;

	(void)state;
	wire_start(&w, "stop", &wire_config);
	wire_script(&w,
	    "deliver one\n1> s SELECT INBOX\n1.. s OK ~\n2> i IDLE\n2< + idling\n3>> a APPEND INBOX {10+}\\r\\nhalf\n");
	wire_turn(&w, 1);
	wire_turn(&w, 1);
	login_account_drain(&w.account.login, true);
	wire_script(&w,
	    "1< * BYE Server shutting down.\n1!\n2< * BYE Server shutting down.\n2!\n3< * BYE Server shutting down.\n3!\n");
	assert_int_equal(w.account.login.nrunning, 0);
	wire_stop(&w);
}

/* Every command cut at every byte into two writes gives the same answers. */
static void
test_cut_anywhere(void **state)
{
	static const char text[] = "a LIST {2+}\r\n\"\" \"\"\r\nb FOO {3+}\r\nabc\r\nc NOOP\r\n";
	static const char want[] = "1< * LIST ~\n1< a OK ~\n1< b BAD ~\n1< c OK ~\n";
	struct wire w;

	(void)state;
	wire_start(&w, "cut anywhere", &wire_config);
	wire_script(&w, "1> x NOOP\n1< x OK ~\n");
	for (size_t cut = 1; cut < sizeof text - 1; cut++) {
		wire_write(&w, 1, text, cut);
		wire_turn(&w, 0);
		wire_turn(&w, 0);
		wire_write(&w, 1, text + cut, sizeof text - 1 - cut);
		wire_script(&w, want);
	}
	wire_stop(&w);
}

/* Hostile 3, 23: a line without end costs no memory, and is answered once. */
static void
test_long_line(void **state)
{
	static char line[1 << 20];
	struct wire w;

	(void)state;
	memset(line, 'x', sizeof line);
	wire_start(&w, "long line", &wire_config);
	wire_script(&w, "1>> a SELECT \n");
	for (int i = 0; i < 10; i++)
		wire_write(&w, 1, line, sizeof line);
	wire_script(&w, "1> \n1< a BAD Too long command line\n1> b NOOP\n1< b OK ~\n");
	assert_true(wire_first(&w)->reader.text.cap <= 2 << 20);
	wire_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_bad_tags),
		cmocka_unit_test(test_unavailable),
		cmocka_unit_test(test_end_in_the_log),
		cmocka_unit_test(test_too_many_sessions),
		cmocka_unit_test(test_bad_commands),
		cmocka_unit_test(test_inactivity),
		cmocka_unit_test(test_still_here),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_cut_anywhere),
		cmocka_unit_test(test_long_line),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
