/* Mailboxes on the wire (RFC 3501 6.3 and its extensions); see wire.h. */
#include "wire.h"

#define THREE "deliver one\ndeliver two\ndeliver three\n"
#define SELECT3 THREE "1> s SELECT INBOX\n1.. s OK ~\n"
#define OK(tag, command) "1> " tag " " command "\n1< " tag " OK ~\n"
#define FLAGS_LINE "1< * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)\n"

static const struct wire_case
    cases
	[] = {
		/* --- SELECT, EXAMINE ------------------------------------------------------------------------------------ */
		{ "6.3.1 SELECT of an empty mailbox",
		    "1> a SELECT INBOX\n" FLAGS_LINE
		    "1< * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded \\*)] ~\n"
		    "1< * 0 EXISTS\n1< * 0 RECENT\n1< * OK [UIDVALIDITY ~] ~\n1< * OK [UIDNEXT 1] ~\n1< a OK [READ-WRITE] ~\n" },
		{ "6.3.1 SELECT of three messages", THREE
		    "1> a SELECT INBOX\n" FLAGS_LINE
		    "1< * OK [PERMANENTFLAGS ~\n1< * 3 EXISTS\n1< * 3 RECENT\n"
		    "1< * OK [UNSEEN 1] ~\n1< * OK [UIDVALIDITY ~] ~\n1< * OK [UIDNEXT 4] ~\n1< a OK [READ-WRITE] ~\n" },
		{ "6.3.1 UNSEEN is the first one's number", SELECT3
		    "1> a STORE 1 +FLAGS.SILENT (\\Seen)\n1< a OK ~\n1> b SELECT INBOX\n1.. * OK [UNSEEN 2] ~\n1.. b OK ~\n" },
		{ "6.3.1 without unseen ones no UNSEEN", SELECT3
		    "1> a STORE 1:3 +FLAGS.SILENT (\\Seen)\n1< a OK ~\n1> b SELECT INBOX\n1< * OK [CLOSED] ~\n1< * FLAGS ~\n"
		    "1< * OK [PERMANENTFLAGS ~\n1< * 3 EXISTS\n1< * 0 RECENT\n1< * OK [UIDVALIDITY ~\n1< * OK [UIDNEXT 4] ~\n1< b OK ~\n" },
		{ "6.3.1 INBOX in any case", "1> a SELECT inBOX\n1.. a OK [READ-WRITE] ~\n" },
		{ "6.3.1 no such mailbox", "1> a SELECT nowhere\n1< a NO [NONEXISTENT] ~\n" },
		{ "6.3.1 a failed SELECT leaves none selected",
		    "1> a SELECT INBOX\n1.. a OK ~\n1> b SELECT nowhere\n1< * OK [CLOSED] ~\n1< b NO [NONEXISTENT] ~\n1> c CHECK\n1< c BAD No mailbox selected.\n" },
		{ "6.3.1 a malformed SELECT changes nothing",
		    "1> a SELECT INBOX\n1.. a OK ~\n1> b SELECT\n1< b BAD ~\n1> c CHECK\n1< c OK ~\n" },
		{ "6.3.1 SELECT keeps keywords", SELECT3
		    "1> a STORE 1 FLAGS.SILENT (work $Label1)\n1< * FLAGS (~ work $Label1)\n1< * OK [PERMANENTFLAGS ~\n1.. a OK ~\n"
		    "1> b SELECT INBOX\n1.. * FLAGS (~$Forwarded~work~)\n1.. b OK ~\n" },
		{ "6.3.2 EXAMINE", THREE
		    "1> a EXAMINE INBOX\n" FLAGS_LINE
		    "1< * OK [PERMANENTFLAGS ()] ~\n1< * 3 EXISTS\n1< * 3 RECENT\n1.. a OK [READ-ONLY] ~\n" },
		{ "6.3.2 EXAMINE leaves \\Recent to the next", THREE
		    "1> a EXAMINE INBOX\n1.. * 3 RECENT\n1.. a OK ~\n1> b SELECT INBOX\n1.. * 3 RECENT\n1.. b OK ~\n" },
		{ "2.3.2 \\Recent in one session only", SELECT3
		    "2> a SELECT INBOX\n2.. * 0 RECENT\n2.. a OK ~\n1> f FETCH 1 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent))\n1< f OK ~\n"
		    "2> f FETCH 1 FLAGS\n2< * 1 FETCH (FLAGS ())\n2< f OK ~\n" },
		{ "6.3.2 nothing can be changed in EXAMINE", THREE
		    "1> e EXAMINE INBOX\n1.. e OK ~\n1> a STORE 1 +FLAGS (\\Seen)\n1< a NO [READ-ONLY] ~\n1> b EXPUNGE\n1< b NO [READ-ONLY] ~\n"
		    "1> c FETCH 1 BODY[TEXT]\n1< * 1 FETCH (BODY[TEXT] {11}\n1< Hello one\n1< )\n1< c OK ~\n1> d FETCH 1 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent))\n"
		    "1< d OK ~\n1> g UID EXPUNGE 1\n1< g NO [READ-ONLY] ~\n1> h MOVE 1 INBOX\n1< h NO [READ-ONLY] ~\n" },
		/* --- CREATE, DELETE ----------------------------------------------------------------------------------------- */
		{ "6.3.3 CREATE",
		    OK("a",
			"CREATE box") "1> b LIST \"\" *\n1< * LIST (\\HasNoChildren) \"/\" INBOX\n1< * LIST (\\HasNoChildren) \"/\" box\n1< b OK ~\n" },
		{ "6.3.3 CREATE below what is not there",
		    OK("a",
			"CREATE a/b/c") "1> b LIST \"\" *\n1.. * LIST (~\\HasChildren) \"/\" a\n"
					"1< * LIST (~\\HasChildren) \"/\" a/b\n1< * LIST (\\HasNoChildren) \"/\" a/b/c\n1< b OK ~\n" },
		{ "6.3.3 CREATE with a trailing separator",
		    OK("a",
			"CREATE box/") "1> b STATUS box (MESSAGES)\n1< * STATUS box (MESSAGES 0)\n1< b OK ~\n" },
		{ "6.3.3 CREATE of what is there",
		    OK("a",
			"CREATE box") "1> b CREATE box\n1< b NO [ALREADYEXISTS] ~\n1> c CREATE INBOX\n1< c NO [ALREADYEXISTS] ~\n1> d CREATE inbox\n1< d NO ~\n" },
		{ "6.3.3 CREATE in modified UTF-7",
		    OK("a",
			"CREATE &ZeVnLIqe-") "1> b LIST \"\" %\n1< * LIST ~ INBOX\n1< * LIST (\\HasNoChildren) \"/\" &ZeVnLIqe-\n1< b OK ~\n"
					     "1> c SELECT &ZeVnLIqe-\n1.. c OK ~\n" },
		{ "5.1.3 an ampersand",
		    OK("a",
			"CREATE a&-b") "1> b LIST \"\" a*\n1< * LIST (\\HasNoChildren) \"/\" a&-b\n1< b OK ~\n" },
		{ "6.3.3 CREATE with spaces and quotes",
		    OK("a",
			"CREATE \"my \\\\\"box\\\\\"\"") "1> b LIST \"\" my*\n1< * LIST (\\HasNoChildren) \"/\" \"my \\\"box\\\"\"\n1< b OK ~\n" },
		/* hostile 25 */
		{ "hostile 25: names that would leave home",
		    "1> a CREATE ../x\n1< a NO [CANNOT] ~\n1> b CREATE a/../../x\n1< b NO [CANNOT] ~\n1> c CREATE /etc/x\n1< c NO [CANNOT] ~\n"
		    "1> d CREATE a//b\n1< d NO [CANNOT] ~\n1> e SELECT ../../etc\n1< e NO ~\n1> f SELECT \"\"\n1< f NO ~\n1> g CREATE .\n1< g NO ~\n"
		    "1> h CREATE ..\n1< h NO ~\n1> i RENAME INBOX ../y\n1< i NO ~\n1> j SUBSCRIBE ../y\n1< j NO ~\n1> k DELETE ..\n1< k NO ~\n" },
		{ "hostile 25: bad modified UTF-7",
		    "1> a CREATE &Jjo\n1< a NO [CANNOT] Mailbox name is not valid mUTF-7\n1> b CREATE &AGE-\n1< b NO [CANNOT] ~\n1> c SELECT &&\n1< c NO [CANNOT] ~\n"
		    "1> d CREATE \"\\xc3\\xa4\"\n1< d NO [CANNOT] ~\n1> e CREATE &AAA-\n1< e NO ~\n" },
		{ "6.3.4 DELETE",
		    OK("a", "CREATE box") OK("b",
			"DELETE box") "1> c SELECT box\n1< c NO [NONEXISTENT] ~\n1> d DELETE box\n1< d NO [NONEXISTENT] ~\n" },
		{ "6.3.4 DELETE INBOX",
		    "1> a DELETE INBOX\n1< a NO [CANNOT] ~\n1> b DELETE inbox\n1< b NO ~\n" },
		{ "6.3.4 DELETE of one with children keeps them",
		    OK("a", "CREATE a/b") OK("b",
			"CREATE a/c") "1> c SELECT a/b\n1.. c OK ~\n1> d CLOSE\n1< d OK ~\n1> e LIST \"\" a/*\n1< * LIST ~ a/b\n1< * LIST ~ a/c\n1< e OK ~\n" },
		{ "6.3.4 DELETE of the selected one",
		    OK("a",
			"CREATE box") "1> b SELECT box\n1.. b OK ~\n1> c DELETE box\n1< * OK [CLOSED] ~\n1< c OK ~\n1> d CHECK\n1< d BAD ~\n" },
		{ "6.3.4 a new mailbox of the same name has other UIDs",
		    OK("a", "CREATE box") "1> b APPEND box {1+}\n1> x\n1< b OK [APPENDUID ~ 1] ~\n" OK(
			"c", "DELETE box") OK("d",
			"CREATE box") "1> e STATUS box (MESSAGES UIDNEXT)\n1< * STATUS box (MESSAGES 0 UIDNEXT 1)\n1< e OK ~\n" },
		/* --- RENAME --------------------------------------------------------------------------------------------------- */
		{ "6.3.5 RENAME",
		    OK("a", "CREATE x") OK("b",
			"RENAME x y") "1> c LIST \"\" %\n1.. * LIST ~ y\n1< c OK ~\n1> d SELECT x\n1< d NO [NONEXISTENT] ~\n" },
		{ "6.3.5 RENAME takes the children along",
		    OK("a", "CREATE x/1/2") OK("b",
			"RENAME x y") "1> c LIST \"\" y*\n1< * LIST ~ y\n1< * LIST ~ y/1\n1< * LIST ~ y/1/2\n1< c OK ~\n" },
		{ "6.3.5 RENAME keeps the mail and its UIDs",
		    OK("a", "CREATE x") "1> b APPEND x (\\Flagged) {5+}\n1> A: b\\r\\n\n1< b OK ~\n1< * BAD Null command.\n" OK(
			"c",
			"RENAME x y") "1> d SELECT y\n1.. d OK ~\n1> e UID FETCH 1 FLAGS\n1< * 1 FETCH (UID 1 FLAGS (\\Flagged \\Recent))\n1< e OK ~\n" },
		{ "6.3.5 RENAME to what is there",
		    OK("a", "CREATE x") OK("b",
			"CREATE y") "1> c RENAME x y\n1< c NO [ALREADYEXISTS] ~\n1> d RENAME x INBOX\n1< d NO [ALREADYEXISTS] ~\n" },
		{ "6.3.5 RENAME of what is not there",
		    "1> a RENAME x y\n1< a NO [NONEXISTENT] ~\n" },
		{ "6.3.5 RENAME below itself",
		    OK("a", "CREATE x") "1> b RENAME x x/y\n1< b NO ~\n" },
		{ "6.3.5 RENAME INBOX moves its mail and leaves it",
		    THREE OK("a",
			"RENAME INBOX old") "1> b STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< b OK ~\n1> c STATUS old (MESSAGES)\n1< * STATUS old (MESSAGES 3)\n1< c OK ~\n" },
		{ "6.3.5 RENAME of the selected one",
		    OK("a",
			"CREATE x/y") "1> b SELECT x/y\n1.. b OK ~\n1> c RENAME x z\n1< * OK [CLOSED] ~\n1< c OK ~\n1> d SELECT z/y\n1.. d OK ~\n" },
		/* --- SUBSCRIBE, LSUB ---------------------------------------------------------------------------------------------- */
		{ "6.3.6 SUBSCRIBE, 6.3.9 LSUB",
		    OK("a", "CREATE x") OK("b",
			"SUBSCRIBE x") "1> c LSUB \"\" *\n1< * LSUB () \"/\" x\n1< c OK ~\n" OK("d",
			"UNSUBSCRIBE x") "1> e LSUB \"\" *\n1< e OK ~\n" },
		{ "6.3.6 SUBSCRIBE to what is not there",
		    "1> a SUBSCRIBE x\n1< a NO [NONEXISTENT] ~\n" },
		{ "6.3.6 a subscription outlives its mailbox",
		    OK("a", "CREATE x") OK("b", "SUBSCRIBE x")
			OK("c", "DELETE x") "1> d LSUB \"\" *\n1< * LSUB () \"/\" x\n1< d OK ~\n" },
		{ "6.3.7 UNSUBSCRIBE of what never was", OK("a", "UNSUBSCRIBE x") },
		{ "6.3.9 LSUB shows the parent of a subscribed one for %",
		    OK("a", "CREATE foo/bar") OK("b",
			"SUBSCRIBE foo/bar") "1> c LSUB \"\" %\n1< * LSUB (\\Noselect) \"/\" foo\n1< c OK ~\n"
					     "1> d LSUB \"\" *\n1< * LSUB () \"/\" foo/bar\n1< d OK ~\n1> e LSUB \"foo/\" %\n1< * LSUB () \"/\" foo/bar\n1< e OK ~\n" },
		{ "6.3.9 LSUB: the parent once, and not if it is subscribed itself",
		    OK("a", "CREATE foo/bar") OK("b", "CREATE foo/baz") OK("c", "SUBSCRIBE foo/bar")
			OK("d", "SUBSCRIBE foo/baz") "1> e LSUB \"\" %\n1< * LSUB (\\Noselect) \"/\" foo\n1< e OK ~\n" OK(
			    "f", "CREATE foo") OK("g",
			    "SUBSCRIBE foo") "1> h LSUB \"\" %\n1< * LSUB () \"/\" foo\n1< h OK ~\n" },
		/* --- LIST ------------------------------------------------------------------------------------------------------- */
		{ "6.3.8 LIST asks for separator and root",
		    "1> a LIST \"\" \"\"\n1< * LIST (\\Noselect) \"/\" \"\"\n1< a OK ~\n1> b LIST \"foo/bar\" \"\"\n1< * LIST (\\Noselect) \"/\" \"\"\n1< b OK ~\n" },
		{ "6.3.8 LIST with reference",
		    OK("a",
			"CREATE x/y") "1> b LIST x/ %\n1< * LIST (\\HasNoChildren) \"/\" x/y\n1< b OK ~\n1> c LIST x /y\n1< * LIST ~ x/y\n1< c OK ~\n" },
		{ "6.3.8 LIST by %", OK("a",
					 "CREATE x/y/z") "1> b LIST \"\" %\n1< * LIST (\\HasNoChildren) \"/\" INBOX\n1< * LIST (~\\HasChildren) \"/\" x\n1< b OK ~\n"
							 "1> c LIST \"\" %/%\n1< * LIST (~\\HasChildren) \"/\" x/y\n1< c OK ~\n1> d LIST \"\" \"%/%/%\"\n1< * LIST (\\HasNoChildren) \"/\" x/y/z\n1< d OK ~\n" },
		{ "6.3.8 LIST of inbox in any case",
		    "1> a LIST \"\" inbox\n1< * LIST (\\HasNoChildren) \"/\" INBOX\n1< a OK ~\n1> b LIST \"\" InB%\n1< * LIST ~ INBOX\n1< b OK ~\n" },
		{ "6.3.8 LIST of nothing",
		    "1> a LIST \"\" nowhere\n1< a OK ~\n1> b LIST \"\" &Jjo\n1< b OK ~\n1> c LIST \"\\xff\" *\n1< c OK ~\n" },
		{ "RFC 3348 children",
		    OK("a", "CREATE x")
			OK("b", "CREATE x/y") "1> c LIST \"\" x*\n1< * LIST (\\HasChildren) \"/\" x\n1< * LIST (\\HasNoChildren) \"/\" x/y\n1< c OK ~\n" OK(
			    "d",
			    "DELETE x/y") "1> e LIST \"\" x*\n1< * LIST (\\HasNoChildren) \"/\" x\n1< e OK ~\n" },
		/* --- STATUS ---------------------------------------------------------------------------------------------------------- */
		{ "6.3.10 STATUS", THREE
		    "1> a STATUS INBOX (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)\n"
		    "1< * STATUS INBOX (MESSAGES 3 RECENT 3 UIDNEXT 4 UIDVALIDITY ~ UNSEEN 3)\n1< a OK ~\n" },
		{ "6.3.10 STATUS in the order asked",
		    "1> a STATUS inbox (unseen MESSAGES)\n1< * STATUS INBOX (UNSEEN 0 MESSAGES 0)\n1< a OK ~\n" },
		{ "6.3.10 STATUS: an item twice",
		    "1> a STATUS INBOX (MESSAGES MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< a OK ~\n" },
		{ "6.3.10 STATUS of the selected one", SELECT3
		    "1> a STATUS INBOX (MESSAGES UNSEEN)\n1< * STATUS INBOX (MESSAGES 3 UNSEEN 3)\n1< a OK ~\n" },
		{ "6.3.10 STATUS leaves \\Recent alone", THREE
		    "1> a STATUS INBOX (RECENT)\n1< * STATUS INBOX (RECENT 3)\n1< a OK ~\n1> b SELECT INBOX\n1.. * 3 RECENT\n1.. b OK ~\n" },
		{ "6.3.10 STATUS malformed",
		    "1> a STATUS INBOX ()\n1< a BAD ~\n1> b STATUS INBOX (FOO)\n1< b BAD ~\n1> c STATUS INBOX MESSAGES\n1< c BAD ~\n1> d STATUS nowhere (MESSAGES)\n1< d NO [NONEXISTENT] ~\n" },
		/* --- APPEND ------------------------------------------------------------------------------------------------------------ */
		{ "6.3.11 APPEND, RFC 4315 APPENDUID",
		    "1> a APPEND INBOX (\\Seen $Work) \"17-Jul-1996 02:44:25 -0700\" {15}\n1< + OK\n1> Subject: x\\r\\n\\r\\nb\n1< a OK [APPENDUID ~ 1] Append completed.\n"
		    "1> b SELECT INBOX\n1.. b OK ~\n1> c FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])\n"
		    "1< * 1 FETCH (FLAGS (\\Seen \\Recent $Work) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE 15 BODY[] {15}\n1< Subject: x\n1< \n1< b)\n1< c OK ~\n" },
		{ "6.3.11 APPEND with LITERAL+",
		    "1> a APPEND INBOX {3+}\n1> abc\n1< a OK [APPENDUID ~ 1] ~\n1> b NOOP\n1< b OK ~\n" },
		{ "6.3.11 APPEND with the mailbox as literal",
		    "1> a APPEND {5+}\n1> INBOX {3+}\n1> abc\n1< a OK ~\n1> b APPEND {5}\n1< + OK\n1> INBOX (\\Seen) {3}\n1< + OK\n1> abc\n1< b OK ~\n" },
		{ "6.3.11 APPEND to the selected one",
		    "1> s SELECT INBOX\n1.. s OK ~\n1> a APPEND INBOX {3+}\n1> abc\n1< * 1 EXISTS\n1< * 1 RECENT\n1< a OK [APPENDUID ~ 1] ~\n" },
		{ "6.3.11 TRYCREATE before the bytes",
		    "1> a APPEND nowhere {3}\n1< a NO [TRYCREATE] ~\n1> b NOOP\n1< b OK ~\n" },
		{ "6.3.11 TRYCREATE with LITERAL+",
		    "1>> a APPEND nowhere {10+}\\r\\nx LOGOUT\\r\\n\\r\\nb NOOP\\r\\n\n1< a NO [TRYCREATE] ~\n1< b OK ~\n" },
		{ "6.3.11 too large",
		    "1> a APPEND INBOX {6000000}\n1< a NO [TOOBIG] ~\n1> b APPEND INBOX {4294967295}\n1< b NO [TOOBIG] ~\n1> c STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< c OK ~\n" },
		{ "6.3.11 too large beyond 32 bits",
		    "1> a APPEND INBOX {4294967296}\n1< a BAD ~\n1> b NOOP\n1< b OK ~\n" },
		{ "6.3.11 nothing at all",
		    "1> a APPEND INBOX {0}\n1< a NO ~\n1> b APPEND INBOX {0+}\n1> \n1< b NO ~\n" },
		{ "6.3.11 a NUL in the message",
		    "1> a APPEND INBOX {3+}\n1> a\\0b\n1< a NO [CANNOT] ~\n1> b STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< b OK ~\n" },
		{ "6.3.11 junk behind the message",
		    "1> a APPEND INBOX {3+}\n1> abc junk\n1< a BAD ~\n1> b STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< b OK ~\n" },
		{ "6.3.11 a second message (MULTIAPPEND is not announced)",
		    "1> a APPEND INBOX {3+}\n1> abc {3+}\n1> def\n1< a BAD ~\n1> b STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 0)\n1< b OK ~\n" },
		{ "6.3.11 malformed",
		    "1> a APPEND INBOX abc\n1< a BAD ~\n1> b APPEND INBOX (\\Foo) {3+}\n1> abc\n1< b BAD ~\n1> c APPEND INBOX \"17-Foo-1996 02:44:25 -0700\" {3+}\n1> abc\n1< c BAD ~\n"
		    "1> d APPEND INBOX (\\Recent) {3+}\n1> abc\n1< d BAD ~\n1> e APPEND &Jjo {3}\n1< e NO [CANNOT] ~\n" },
		{ "6.3.11 lines with LF only become CRLF",
		    "1> a APPEND INBOX {8+}\n1> A: b\\n\\nc\\n\n1< a OK ~\n1> s SELECT INBOX\n1.. s OK ~\n1> b FETCH 1 BODY.PEEK[]\n1< * 1 FETCH (BODY[] {11}\n1< A: b\n1< \n1< c\n1< )\n1< b OK ~\n" },
		/* --- CLOSE, UNSELECT, CHECK ---------------------------------------------------------------------------------------------- */
		{ "6.4.1 CHECK", SELECT3 "1> a CHECK\n1< a OK ~\n" },
		{ "6.4.2 CLOSE removes what is deleted, silently", SELECT3
		    "1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b CLOSE\n1< b OK ~\n1> c CHECK\n1< c BAD ~\n1> d STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 2)\n1< d OK ~\n" },
		{ "6.4.2 CLOSE after EXAMINE removes nothing", SELECT3
		    "1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b EXAMINE INBOX\n1.. b OK ~\n1> c CLOSE\n1< c OK ~\n1> d STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 3)\n1< d OK ~\n" },
		{ "RFC 3691 UNSELECT removes nothing", SELECT3
		    "1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b UNSELECT\n1< b OK ~\n1> c CHECK\n1< c BAD ~\n1> d STATUS INBOX (MESSAGES)\n1< * STATUS INBOX (MESSAGES 3)\n1< d OK ~\n" },
		{ "6.3.1 SELECT of another removes nothing", SELECT3
		    "1> a STORE 2 +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b SELECT INBOX\n1< * OK [CLOSED] ~\n1.. * 3 EXISTS\n1.. b OK ~\n" },
	};

static void
test_cases(void **state)
{
	(void)state;
	wire_run(cases, sizeof cases / sizeof cases[0]);
}

/* APPEND of five megabytes in one go, with commands behind it; and read back the same. */
static void
test_large_append(void **state)
{
	enum { SIZE = 5 << 20 };
	char *body = x_malloc(SIZE);
	struct wire w;
	struct buf got;
	int64_t deadline = clock_mono_ms() + 30000;

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		body[i] = i % 80 == 78 ? '\r' : i % 80 == 79 ? '\n' : (char)('!' + i % 90);
	wire_start(&w, "large append", &wire_config);
	wire_script(&w, "1> a APPEND INBOX {5242880+}\n");
	wire_write(&w, 1, body, SIZE);
	wire_script(&w,
	    "1> \n1> b NOOP\n1< a OK [APPENDUID ~ 1] ~\n1< b OK ~\n1> s SELECT INBOX\n1.. s OK ~\n"
	    "1> f FETCH 1 BODY.PEEK[]\n1< * 1 FETCH (BODY[] {5242880}\n");
	buf_init(&got, SIZE + 100);
	while (w.clients[1].in.len < SIZE && clock_mono_ms() < deadline)
		wire_turn(&w, 1);
	assert_true(w.clients[1].in.len >= SIZE);
	assert_memory_equal(w.clients[1].in.p, body, SIZE);
	buf_consume(&w.clients[1].in, SIZE);
	wire_script(&w, "1< )\n1< f OK ~\n");
	buf_clear(&got);
	free(body);
	wire_stop(&w);
}

/* The client goes in the middle of an APPEND: nothing stays of it. */
static void
test_append_cut_short(void **state)
{
	static char names[10][256];
	struct wire w;

	(void)state;
	wire_start(&w, "append cut short", &wire_config);
	wire_script(&w,
	    "1> a APPEND INBOX {100+}\n1> Subject: half\n1-\n2> a STATUS INBOX (MESSAGES)\n2< * STATUS INBOX (MESSAGES 0)\n2< a OK ~\n");
	assert_int_equal(wire_files(&w, "tmp", names, 10), 0);
	wire_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_large_append),
		cmocka_unit_test(test_append_cut_short),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
