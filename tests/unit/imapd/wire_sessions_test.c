/* Two sessions of one account, and other programs beside them: the exact untagged traffic; see wire.h. */
#include "wire.h"

#define THREE "deliver one\ndeliver two\ndeliver three\n"
#define BOTH THREE "1> s SELECT INBOX\n1.. s OK ~\n2> s SELECT INBOX\n2.. s OK ~\n"
#define IDLE2 "2> i IDLE\n2< + idling\n"
#define DONE2 "2> DONE\n2< i OK ~\n"

static const struct
    wire_case
	cases
	    [] = {
		    /* --- flags --------------------------------------------------------------------------------------------- */
		    { "7.4.2 another's flags at the next command", BOTH
			"1> a STORE 1 +FLAGS (\\Flagged)\n1< * 1 FETCH (FLAGS (\\Flagged \\Recent))\n1< a OK ~\n2?\n2> a NOOP\n2< * 1 FETCH (FLAGS (\\Flagged))\n2< a OK ~\n2> b NOOP\n2< b OK ~\n" },
		    { "6.4.6 SILENT is for oneself only", BOTH
			"1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< a OK ~\n2> a NOOP\n2< * 1 FETCH (FLAGS (\\Flagged))\n2< a OK ~\n" },
		    { "6.4.6 SILENT does not hide what others did", BOTH
			"2> a STORE 1 +FLAGS.SILENT (\\Answered)\n2< a OK ~\n1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< * 1 FETCH (FLAGS (\\Answered \\Flagged \\Recent))\n1< a OK ~\n"
			"2> b NOOP\n2< * 1 FETCH (FLAGS (\\Answered \\Flagged))\n2< b OK ~\n" },
		    { "a message changed twice is told once, as it is", BOTH
			"1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< a OK ~\n1> b STORE 1 FLAGS.SILENT (\\Seen)\n1< b OK ~\n2> a NOOP\n2< * 1 FETCH (FLAGS (\\Seen))\n2< a OK ~\n" },
		    { "\\Seen by FETCH is news to the other", BOTH
			"1> a FETCH 2 BODY[TEXT]<0.1>\n1< * 2 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT]<0> {1}\n1< H)\n1< a OK ~\n2> a NOOP\n2< * 2 FETCH (FLAGS (\\Seen))\n2< a OK ~\n" },
		    { "UID commands tell news with the UID", BOTH
			"1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< a OK ~\n2> a UID SEARCH UID 3\n2< * SEARCH 3\n2< * 1 FETCH (UID 1 FLAGS (\\Flagged))\n2< a OK ~\n" },
		    { "7.2.6 another's new keyword", BOTH
			"1> a STORE 1 +FLAGS.SILENT (work)\n1.. a OK ~\n2> a NOOP\n2< * FLAGS (~ work)\n2< * OK [PERMANENTFLAGS (~ work \\*)] ~\n2< * 1 FETCH (FLAGS (work))\n2< a OK ~\n" },
		    { "flags of several messages in order", BOTH
			"1> a STORE 3 +FLAGS.SILENT (\\Seen)\n1< a OK ~\n1> b STORE 1 +FLAGS.SILENT (\\Seen)\n1< b OK ~\n2> a NOOP\n2< * 1 FETCH (FLAGS (\\Seen))\n2< * 3 FETCH (FLAGS (\\Seen))\n2< a OK ~\n" },
		    /* --- expunges (7.4.1) -------------------------------------------------------------------------------------- */
		    { "7.4.1 EXPUNGE at NOOP", BOTH
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1< * 2 EXPUNGE\n1< * 2 RECENT\n1< b OK ~\n2> a NOOP\n2< * 2 EXPUNGE\n2< a OK ~\n2> b FETCH 2 UID\n2< * 2 FETCH (UID 3)\n2< b OK ~\n" },
		    { "7.4.1 not during FETCH, STORE, SEARCH", BOTH
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n2> a FETCH 3 UID\n2< * 3 FETCH (UID 3)\n2< a OK ~\n2> b STORE 3 FLAGS.SILENT ()\n2< b OK ~\n"
			"2> c SEARCH ALL\n2< * SEARCH 1 3\n2< c OK ~\n2> d NOOP\n2< * 2 EXPUNGE\n2< d OK ~\n" },
		    { "7.4.1 but during their UID forms", BOTH
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n2> a UID FETCH 3 UID\n2< * 3 FETCH (UID 3)\n2< * 2 EXPUNGE\n2< a OK ~\n" },
		    { "FETCH of a message that is gone", BOTH
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n2> a FETCH 1:3 (UID FLAGS)\n2< * 1 FETCH (UID 1 FLAGS ())\n2< * 3 FETCH (UID 3 FLAGS ())\n2< a NO [EXPUNGEISSUED] ~\n2> b NOOP\n2< * 2 EXPUNGE\n2< b OK ~\n" },
		    { "STORE to a message that is gone", BOTH
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n2> a STORE 1:2 +FLAGS (\\Seen)\n2< * 1 FETCH (FLAGS (\\Seen))\n2< a OK ~\n2> b NOOP\n2< * 2 EXPUNGE\n2< b OK ~\n" },
		    { "COPY of a message that is gone", BOTH
			"1> c CREATE box\n1< c OK ~\n1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n2> a COPY 1:2 box\n2< * 2 EXPUNGE\n2< a OK [COPYUID ~ 1 1] ~\n" },
		    { "expunge and arrival at once", BOTH
			"1> a STORE 1 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n1> c APPEND INBOX {3+}\n1> abc\n1.. c OK ~\n2> a NOOP\n2< * 1 EXPUNGE\n2< * 3 EXISTS\n2< * 0 RECENT\n2< a OK ~\n2> b FETCH 3 UID\n2< * 3 FETCH (UID 4)\n2< b OK ~\n" },
		    { "arrival during a command that may not tell expunges", BOTH "1> a STORE 1 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n1> c APPEND INBOX {3+}\n1> abc\n1.. c OK ~\n2> a FETCH 2 UID\n2< * 2 FETCH (UID 2)\n2< * 4 EXISTS\n2< * 0 RECENT\n2< a OK ~\n"
										  "2> b FETCH 4 UID\n2< * 4 FETCH (UID 4)\n2< b OK ~\n2> c NOOP\n2< * 1 EXPUNGE\n2< c OK ~\n2> d FETCH 3 UID\n2< * 3 FETCH (UID 4)\n2< d OK ~\n" },
		    { "what came and went is never told", BOTH
			"1> c APPEND INBOX (\\Deleted) {3+}\n1> abc\n1.. c OK ~\n1> b EXPUNGE\n1< * 4 EXPUNGE\n1< * 3 RECENT\n1< b OK ~\n2> a NOOP\n2< a OK ~\n" },
		    { "CLOSE of another", BOTH
			"1> a STORE 1:3 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b CLOSE\n1< b OK ~\n2> a NOOP\n2< * 3 EXPUNGE\n2< * 2 EXPUNGE\n2< * 1 EXPUNGE\n2< a OK ~\n" },
		    { "MOVE of another", BOTH
			"1> a CREATE box\n1< a OK ~\n1> b MOVE 2 box\n1.. b OK ~\n2> a NOOP\n2< * 2 EXPUNGE\n2< a OK ~\n" },
		    /* --- arrivals ------------------------------------------------------------------------------------------------ */
		    { "5.2 EXISTS of another's APPEND, \\Recent goes to one", BOTH
			"1> a APPEND INBOX {3+}\n1> abc\n1< * 4 EXISTS\n1< * 4 RECENT\n1< a OK ~\n2> a NOOP\n2< * 4 EXISTS\n2< * 0 RECENT\n2< a OK ~\n" },
		    { "5.2 a foreign delivery at the next command",
			BOTH "deliver one\n1> a NOOP\n1< * 4 EXISTS\n1< * 4 RECENT\n1< a OK ~\n" },
		    { "5.2 while the mailbox is EXAMINEd", THREE
			"1> s EXAMINE INBOX\n1.. s OK ~\ndeliver one\n1> a NOOP\n1< * 4 EXISTS\n1< * 4 RECENT\n1< a OK ~\n" },
		    { "a set means the messages that the client knows of", BOTH
			"2> a APPEND INBOX {3+}\n2> abc\n2.. a OK ~\n1> a STORE 1:* +FLAGS.SILENT (\\Flagged)\n1< * 4 EXISTS\n1< * ~ RECENT\n1< a OK ~\n"
			"1> b FETCH 3:4 FLAGS\n1< * 3 FETCH (FLAGS (\\Flagged \\Recent))\n1< * 4 FETCH (FLAGS ())\n1< b OK ~\n2> c NOOP\n2.. c OK ~\n" },
		    /* --- other programs ----------------------------------------------------------------------------------------------- */
		    { "a foreign program removes a file", BOTH
			"remove\n1> a NOOP\n1< * 1 EXPUNGE\n1< * 2 RECENT\n1< a OK ~\n2> a NOOP\n2< * 1 EXPUNGE\n2< a OK ~\n" },
		    { "a foreign program marks all as seen", BOTH
			"seen\n1> a NOOP\n1< * 1 FETCH (FLAGS (\\Seen \\Recent))\n1< * 2 FETCH (FLAGS (\\Seen \\Recent))\n1< * 3 FETCH (FLAGS (\\Seen \\Recent))\n1< a OK ~\n" },
		    /* --- IDLE (RFC 2177) --------------------------------------------------------------------------------------------- */
		    { "IDLE: flags at once", BOTH IDLE2
			"1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< a OK ~\n2< * 1 FETCH (FLAGS (\\Flagged))\n" DONE2 },
		    { "IDLE: expunges at once", BOTH IDLE2
			"1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n2< * 2 FETCH (FLAGS (\\Deleted))\n1> b EXPUNGE\n1.. b OK ~\n2< * 2 EXPUNGE\n" DONE2 },
		    { "IDLE: APPEND at once", BOTH IDLE2
			"1> a APPEND INBOX {3+}\n1> abc\n1.. a OK ~\n2< * 4 EXISTS\n2< * 0 RECENT\n" DONE2 },
		    { "IDLE: COPY at once", BOTH IDLE2
			"1> a COPY 1 INBOX\n1.. a OK ~\n2< * 4 EXISTS\n2< * 0 RECENT\n" DONE2 },
		    { "IDLE: delivery's note",
			BOTH IDLE2 "deliver one\nnote INBOX\n2< * 4 EXISTS\n2< * ~ RECENT\n" DONE2
				   "1> a NOOP\n1.. a OK ~\n" },
		    { "IDLE: a note of another mailbox is none of ours",
			BOTH IDLE2 "note box\n2?\n" DONE2 },
		    { "IDLE: foreign changes by the poll", BOTH IDLE2
			"remove\npoll\n2< * 1 EXPUNGE\n" DONE2 "1> a NOOP\n1.. a OK ~\n" },
		    { "IDLE: what came before it is told at its start",
			BOTH "1> a STORE 1 +FLAGS.SILENT (\\Flagged)\n1< a OK ~\n" IDLE2
			     "2< * 1 FETCH (FLAGS (\\Flagged))\n" DONE2 },
		    { "IDLE: expunge and delivery at once (hostile 26)", BOTH IDLE2
			"1> a STORE 1 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n2< * 1 FETCH (FLAGS (\\Deleted))\ndeliver one\n1> b EXPUNGE\n1.. b OK ~\n2.. * 3 EXISTS\n2< * ~ RECENT\n" DONE2
			"2> b FETCH 1:* UID\n2< * 1 FETCH (UID 2)\n2< * 2 FETCH (UID 3)\n2< * 3 FETCH (UID 4)\n2< b OK ~\n" },
		    { "IDLE: both idle, a third changes", BOTH IDLE2
			"1> i IDLE\n1< + idling\n3> s SELECT INBOX\n3.. s OK ~\n3> a STORE 1 +FLAGS.SILENT (\\Seen)\n3< a OK ~\n1< * 1 FETCH (FLAGS (\\Seen \\Recent))\n2< * 1 FETCH (FLAGS (\\Seen))\n" DONE2
			"1> DONE\n1< i OK ~\n" },
		    { "IDLE: the connection just ends", BOTH IDLE2 "2-\n1> a NOOP\n1< a OK ~\n" },
		    /* --- the mailbox goes ------------------------------------------------------------------------------------------------- */
		    { "another deletes the selected mailbox",
			"1> a CREATE box\n1< a OK ~\n1> s SELECT box\n1.. s OK ~\n2> d DELETE box\n2< d OK ~\n1> b NOOP\n1< * BYE Selected mailbox was deleted, have to disconnect.\n1!\n" },
		    { "another deletes the selected mailbox, in IDLE",
			"1> a CREATE box\n1< a OK ~\n1> s SELECT box\n1.. s OK ~\n1> i IDLE\n1< + idling\n2> d DELETE box\n2< d OK ~\n1< * BYE ~\n1!\n" },
		    { "another renames the selected mailbox",
			"1> a CREATE box\n1< a OK ~\n1> s SELECT box\n1.. s OK ~\n2> d RENAME box new\n2< d OK ~\n1> b NOOP\n1< * BYE ~\n1!\n" },
		    { "sessions in different mailboxes", THREE
			"1> a CREATE box\n1< a OK ~\n1> s SELECT box\n1.. s OK ~\n2> s SELECT INBOX\n2.. s OK ~\n2> a COPY 1:2 box\n2< a OK [COPYUID ~ 1:2 1:2] ~\n1> b NOOP\n1< * 2 EXISTS\n1< * 2 RECENT\n1< b OK ~\n" },
	    };

static void
test_cases(void **state)
{
	(void)state;
	wire_run(cases, sizeof cases / sizeof cases[0]);
}

/* The same when every step of a command lets the other sessions run before the next one, as on a slow disk: who has changed
 * something still hears of it first, and gets its \Recent. */
static void
test_cases_in_slices(void **state)
{
	struct imapd_config config = wire_config;

	(void)state;
	config.slice_ms = 0;
	wire_run_with(&config, cases, sizeof cases / sizeof cases[0]);
}

/* IDLE's own poll finds what foreign programs did. */
static void
test_idle_polls(void **state)
{
	struct imapd_config config = wire_config;
	struct wire w;

	(void)state;
	config.idle_poll_ms = 20;
	wire_start(&w, "idle polls", &config);
	wire_script(&w,
	    "deliver one\n1> s SELECT INBOX\n1.. s OK ~\n1> i IDLE\n1< + idling\ndeliver two\n1< * 2 EXISTS\n1< * 2 RECENT\nremove\n1< * 1 EXPUNGE\n1< * 1 RECENT\n1> DONE\n1< i OK ~\n");
	wire_stop(&w);
}

/* The history of expunges is bounded: beyond it, everything is compared. */
static void
test_long_absence(void **state)
{
	struct wire w;

	(void)state;
	wire_start(&w, "long absence", &wire_config);
	for (int i = 0; i < 1500; i++)
		wire_deliver(&w, "one");
	wire_script(&w,
	    "1> s SELECT INBOX\n1.. s OK ~\n2> s SELECT INBOX\n2.. s OK ~\n2> f STORE 1499 FLAGS.SILENT (\\Seen)\n2< f OK ~\n1> a STORE 1:1400 +FLAGS.SILENT (\\Deleted)\n"
	    "1< * 1499 FETCH (FLAGS (\\Seen \\Recent))\n1< a OK ~\n1> b EXPUNGE\n1.. b OK ~\n"
	    "2> b NOOP\n2< * 1400 EXPUNGE\n2.. * 1 EXPUNGE\n2< b OK ~\n2> c FETCH 1,100 (UID FLAGS)\n2< * 1 FETCH (UID 1401 FLAGS ())\n2< * 100 FETCH (UID 1500 FLAGS ())\n2< c OK ~\n"
	    "2> d FETCH 99 FLAGS\n2< * 99 FETCH (FLAGS (\\Seen))\n2< d OK ~\n");
	wire_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_cases_in_slices),
		cmocka_unit_test(test_idle_polls),
		cmocka_unit_test(test_long_absence),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
