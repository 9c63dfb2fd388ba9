/* Messages on the wire (RFC 3501 6.4 and its extensions); see wire.h. */
#include "wire.h"

#define THREE "deliver one\ndeliver two\ndeliver three\n"
#define SELECT "1> s SELECT INBOX\n1.. s OK ~\n"
#define SELECT3 THREE SELECT
#define MIXED "deliver mixed\n" SELECT
#define OK(tag, command) "1> " tag " " command "\n1< " tag " OK ~\n"
#define BAD(tag, command) "1> " tag " " command "\n1< " tag " BAD ~\n"

static const struct
    wire_case
	cases
	    [] = {
		    /* --- FETCH ---------------------------------------------------------------------------------------------- */
		    { "6.4.5 FLAGS", SELECT3
			"1> a FETCH 1:2 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent))\n1< * 2 FETCH (FLAGS (\\Recent))\n1< a OK ~\n" },
		    { "6.4.5 UID", SELECT3 "1> a FETCH 2 UID\n1< * 2 FETCH (UID 2)\n1< a OK ~\n" },
		    { "6.4.5 INTERNALDATE", SELECT3
			"1> a FETCH 2 INTERNALDATE\n1< * 2 FETCH (INTERNALDATE \"~-~-20~ ~:~:~ +0000\")\n1< a OK ~\n" },
		    { "6.4.5 RFC822.SIZE counts CRLF", SELECT3
			"1> a FETCH 1 RFC822.SIZE\n1< * 1 FETCH (RFC822.SIZE 149)\n1< a OK ~\n" },
		    { "6.4.5 FAST", SELECT3
			"1> a FETCH 1 FAST\n1< * 1 FETCH (FLAGS (\\Recent) INTERNALDATE \"~\" RFC822.SIZE 149)\n1< a OK ~\n" },
		    { "6.4.5 ALL", SELECT3
			"1> a FETCH 1 ALL\n1< * 1 FETCH (FLAGS (\\Recent) INTERNALDATE \"~\" RFC822.SIZE 149 ENVELOPE (~))\n1< a OK ~\n" },
		    { "6.4.5 FULL", SELECT3
			"1> a FETCH 1 FULL\n1< * 1 FETCH (FLAGS (\\Recent) INTERNALDATE \"~\" RFC822.SIZE 149 ENVELOPE (~) BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 11 1))\n1< a OK ~\n" },
		    { "7.4.2 ENVELOPE", SELECT3
			"1> a FETCH 2 ENVELOPE\n1< * 2 FETCH (ENVELOPE (\"Tue, 8 Feb 1994 01:00:00 +0000\" \"two\" ((\"Carl\" NIL \"carl\" \"example.test\")) "
			"((\"Carl\" NIL \"carl\" \"example.test\")) ((\"Carl\" NIL \"carl\" \"example.test\")) ((NIL NIL \"bob\" \"example.test\")) "
			"((NIL NIL \"dora\" \"example.test\")) NIL NIL \"<2@example.test>\"))\n1< a OK ~\n"
			"1> b FETCH 2 ENVELOPE\n1< * 2 FETCH (ENVELOPE (\"Tue, 8 Feb 1994 01:00:00 +0000\" \"two\" ~ \"<2@example.test>\"))\n1< b OK ~\n" },
		    { "7.4.2 BODYSTRUCTURE, cached and not", MIXED
			"1> a FETCH 1 BODYSTRUCTURE\n1< * 1 FETCH (BODYSTRUCTURE ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL)"
			"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 187 (NIL \"inner\" ((NIL NIL \"in\" \"example.test\")) ~) "
			"((\"text\" \"plain\" ~)(\"text\" \"html\" ~) \"alternative\" (\"boundary\" \"c\") NIL NIL NIL) 12 NIL NIL NIL NIL)"
			"(\"image\" \"png\" (\"name\" \"x.png\") NIL NIL \"base64\" 12 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL))\n1< a OK ~\n"
			"1> b FETCH 1 BODYSTRUCTURE\n1< * 1 FETCH (BODYSTRUCTURE ((\"text\" \"plain\" ~ \"mixed\" (\"boundary\" \"b\") NIL NIL NIL))\n1< b OK ~\n"
			"1> c FETCH 1 BODY\n1< * 1 FETCH (BODY ((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0)~ \"mixed\"))\n1< c OK ~\n" },
		    { "6.4.5 BODY[] sets \\Seen", SELECT3
			"1> a FETCH 1 BODY[TEXT]\n1< * 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {11}\n1< Hello one\n1< )\n1< a OK ~\n"
			"1> b FETCH 1 BODY[TEXT]\n1< * 1 FETCH (BODY[TEXT] {11}\n1< Hello one\n1< )\n1< b OK ~\n" },
		    { "6.4.5 BODY[] and FLAGS in one", SELECT3
			"1> a FETCH 1 (FLAGS BODY[TEXT])\n1< * 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {11}\n1< Hello one\n1< )\n1< a OK ~\n" },
		    { "6.4.5 PEEK does not", SELECT3
			"1> a FETCH 1 (BODY.PEEK[TEXT] FLAGS)\n1< * 1 FETCH (BODY[TEXT] {11}\n1< Hello one\n1<  FLAGS (\\Recent))\n1< a OK ~\n" },
		    { "6.4.5 RFC822 does, RFC822.HEADER does not", SELECT3
			"1> a FETCH 1 RFC822.HEADER\n1< * 1 FETCH (RFC822.HEADER {138}\n1.. )\n1< a OK ~\n1> b FETCH 1 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent))\n1< b OK ~\n"
			"1> c FETCH 1 RFC822.TEXT\n1< * 1 FETCH (FLAGS (\\Seen \\Recent) RFC822.TEXT {11}\n1< Hello one\n1< )\n1< c OK ~\n"
			"1> d FETCH 1 RFC822\n1< * 1 FETCH (RFC822 {149}\n1.. )\n1< d OK ~\n" },
		    { "6.4.5 HEADER", SELECT3
			"1> a FETCH 3 BODY.PEEK[HEADER]\n1< * 3 FETCH (BODY[HEADER] {~}\n1< From: Anna <anna@example.test>\n1.. \n1< )\n1< a OK ~\n" },
		    { "6.4.5 HEADER.FIELDS", SELECT3
			"1> a FETCH 1 BODY.PEEK[HEADER.FIELDS (subject \"To\")]\n1< * 1 FETCH (BODY[HEADER.FIELDS (subject To)] {38}\n"
			"1< To: bob@example.test\n1< Subject: one\n1< \n1< )\n1< a OK ~\n" },
		    { "6.4.5 HEADER.FIELDS.NOT", SELECT3
			"1> a FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (From To Date Message-ID)]\n1< * 1 FETCH (BODY[HEADER.FIELDS.NOT (From To Date Message-ID)] {16}\n1< Subject: one\n1< \n1< )\n1< a OK ~\n" },
		    { "6.4.5 parts", MIXED
			"1> a FETCH 1 (BODY.PEEK[1] BODY.PEEK[2.HEADER.FIELDS (Subject)] BODY.PEEK[2.1] BODY.PEEK[2.2.MIME] BODY.PEEK[3])\n"
			"1< * 1 FETCH (BODY[1] {5}\n1< first BODY[2.HEADER.FIELDS (Subject)] {18}\n1< Subject: inner\n1< \n1<  BODY[2.1] {11}\n1< inner plain BODY[2.2.MIME] {27}\n"
			"1< Content-Type: text/html\n1< \n1<  BODY[3] {12}\n1< iVBORw0KGgo=)\n1< a OK ~\n" },
		    { "6.4.5 parts that are not there", MIXED
			"1> a FETCH 1 (BODY.PEEK[4] BODY.PEEK[1.1] BODY.PEEK[1.HEADER] BODY.PEEK[9.9.9])\n"
			"1< * 1 FETCH (BODY[4] NIL BODY[1.1] NIL BODY[1.HEADER] NIL BODY[9.9.9] NIL)\n1< a OK ~\n" },
		    { "6.4.5 partial", SELECT3
			"1> a FETCH 1 (BODY.PEEK[TEXT]<0.5> BODY.PEEK[TEXT]<6.100> BODY.PEEK[TEXT]<11.1> BODY.PEEK[TEXT]<4294967295.4294967295>)\n"
			"1< * 1 FETCH (BODY[TEXT]<0> {5}\n1< Hello BODY[TEXT]<6> {5}\n1< one\n1<  BODY[TEXT]<11> {0}\n1<  BODY[TEXT]<4294967295> {0}\n1< )\n1< a OK ~\n" },
		    { "6.4.5 partial of a header",
			SELECT3 "1> a FETCH 1 BODY.PEEK[HEADER]<0.4>\n1< * 1 FETCH (BODY[HEADER]<0> {4}\n1< From)\n1< a OK ~\n" },
		    { "6.4.5 the same item twice",
			SELECT3 "1> a FETCH 1 (BODY.PEEK[TEXT] BODY.PEEK[TEXT])\n1< * 1 FETCH (BODY[TEXT] {11}\n1< Hello one\n1<  BODY[TEXT] {11}\n1< Hello one\n1< )\n1< a OK ~\n" },
		    { "6.4.5 malformed", SELECT3
					     BAD("a", "FETCH 1")
						 BAD("b", "FETCH 1 FOO")
						     BAD("c", "FETCH 1 (FLAGS")
							 BAD("d", "FETCH 1 BODY[")
							     BAD("e", "FETCH 1 (ALL)")
								 BAD("f", "FETCH 1 BODY[MIME]")
								     BAD("g", "FETCH x FLAGS") BAD("h", "FETCH 1 FLAGS UID") BAD("i", "FETCH 1,,2 FLAGS") BAD("j", "FETCH 0 FLAGS") },
		    { "9 numbers beyond the mailbox",
			SELECT3 BAD("a", "FETCH 4 FLAGS")
			    BAD("b", "FETCH 1:4 FLAGS")
				BAD("c", "STORE 4 FLAGS ()")
				    BAD("d", "COPY 4 INBOX") BAD("e", "FETCH 4:* FLAGS") },
		    { "9 numbers in an empty mailbox",
			SELECT
			    BAD("a", "FETCH 1 FLAGS")
				BAD("b", "FETCH * FLAGS")
				    BAD("c", "FETCH 1:* FLAGS")
					OK("d", "UID FETCH 1:* FLAGS")
					    OK("e", "UID FETCH * FLAGS") },
		    { "9 sets in any order",
			SELECT3 "1> a FETCH 3,1:2,2 UID\n1< * 1 FETCH (UID 1)\n1< * 2 FETCH (UID 2)\n1< * 3 FETCH (UID 3)\n1< a OK ~\n1> b FETCH *:2 UID\n1< * 2 FETCH (UID 2)\n1< * 3 FETCH (UID 3)\n1< b OK ~\n" },
		    { "6.4.8 UID FETCH says the UID",
			SELECT3 "1> a UID FETCH 2:3 FLAGS\n1< * 2 FETCH (UID 2 FLAGS (\\Recent))\n1< * 3 FETCH (UID 3 FLAGS (\\Recent))\n1< a OK ~\n"
				"1> b UID FETCH 3 (UID FLAGS)\n1< * 3 FETCH (UID 3 FLAGS (\\Recent))\n1< b OK ~\n" },
		    { "6.4.8 UID FETCH of what is not there",
			SELECT3 OK("a",
			    "UID FETCH 7 FLAGS") "1> b UID FETCH 7:* UID\n1< * 3 FETCH (UID 3)\n1< b OK ~\n" },
		    { "6.4.8 UID FETCH sets \\Seen with the UID",
			SELECT3 "1> a UID FETCH 1 BODY[TEXT]<0.1>\n1< * 1 FETCH (FLAGS (\\Seen \\Recent) UID 1 BODY[TEXT]<0> {1}\n1< H)\n1< a OK ~\n" },
		    /* --- STORE ---------------------------------------------------------------------------------------------------- */
		    { "6.4.6 FLAGS",
			SELECT3 "1> a STORE 1:2 FLAGS (\\Deleted \\Flagged)\n1< * 1 FETCH (FLAGS (\\Flagged \\Deleted \\Recent))\n1< * 2 FETCH (FLAGS (\\Flagged \\Deleted \\Recent))\n1< a OK ~\n"
				"1> b STORE 1 FLAGS ()\n1< * 1 FETCH (FLAGS (\\Recent))\n1< b OK ~\n" },
		    { "6.4.6 +FLAGS -FLAGS",
			SELECT3 "1> a STORE 1 +FLAGS (\\Seen)\n1< * 1 FETCH (FLAGS (\\Seen \\Recent))\n1< a OK ~\n1> b STORE 1 +FLAGS \\Draft \\Answered\n"
				"1< * 1 FETCH (FLAGS (\\Answered \\Seen \\Draft \\Recent))\n1< b OK ~\n1> c STORE 1 -FLAGS (\\Seen \\Flagged)\n1< * 1 FETCH (FLAGS (\\Answered \\Draft \\Recent))\n1< c OK ~\n" },
		    { "6.4.6 what is set already is told all the same",
			SELECT3 "1> a STORE 1 +FLAGS (\\Seen)\n1.. a OK ~\n1> b STORE 1 +FLAGS (\\Seen)\n1< * 1 FETCH (FLAGS (\\Seen \\Recent))\n1< b OK ~\n" },
		    { "6.4.6 .SILENT",
			SELECT3 OK("a", "STORE 1:3 +FLAGS.SILENT (\\Seen)")
			    OK("b", "STORE 1 FLAGS.silent ()")
				OK("c", "NOOP") "1> d FETCH 1:2 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent))\n1< * 2 FETCH (FLAGS (\\Seen \\Recent))\n1< d OK ~\n" },
		    { "6.4.6 keywords",
			SELECT3 "1> a STORE 1 +FLAGS ($Label1 work)\n1< * FLAGS (~ $Label1 work)\n1< * OK [PERMANENTFLAGS (~ $Label1 work \\*)] ~\n1< * 1 FETCH (FLAGS (\\Recent $Label1 work))\n1< a OK ~\n"
				"1> b STORE 1 -FLAGS ($Label1)\n1< * 1 FETCH (FLAGS (\\Recent work))\n1< b OK ~\n1> c STORE 1 FLAGS (WORK)\n1< * 1 FETCH (FLAGS (\\Recent work))\n1< c OK ~\n" },
		    { "6.4.6 removing what never was makes no keyword",
			SELECT3 "1> a STORE 1 -FLAGS (never)\n1< * 1 FETCH (FLAGS (\\Recent))\n1< a OK ~\n" },
		    { "RFC 5788 $Forwarded",
			SELECT3 "1> a STORE 1 +FLAGS ($forwarded)\n1< * 1 FETCH (FLAGS ($Forwarded \\Recent))\n1< a OK ~\n1> b SEARCH KEYWORD $Forwarded\n1< * SEARCH 1\n1< b OK ~\n"
				"1> c STORE 1 -FLAGS ($Forwarded)\n1< * 1 FETCH (FLAGS (\\Recent))\n1< c OK ~\n" },
		    { "6.4.6 malformed",
			SELECT3 BAD("a", "STORE 1 FLAGS")
			    BAD("b", "STORE 1 FLAGS (\\Recent)")
				BAD("c", "STORE 1 FLAGS (\\Foo)")
				    BAD("d", "STORE 1 +-FLAGS ()")
					BAD("e", "STORE 1 FOO ()")
					    BAD("f", "STORE 1 FLAGS (\\Seen")
						BAD("g", "STORE 1 FLAGS.LOUD ()")
						    BAD("h",
							"STORE 1 FLAGS (a) b") BAD("i", "STORE FLAGS ()") },
		    { "6.4.8 UID STORE says the UID", SELECT3
			"1> a UID STORE 3 +FLAGS (\\Seen)\n1< * 3 FETCH (UID 3 FLAGS (\\Seen \\Recent))\n1< a OK ~\n" OK(
			    "b", "UID STORE 9 +FLAGS (\\Seen)") },
		    { "flags survive",
			SELECT3 OK("a", "STORE 1 +FLAGS.SILENT (\\Seen \\Answered)") "1> b SELECT INBOX\n1.. b OK ~\n1> c FETCH 1 FLAGS\n1< * 1 FETCH (FLAGS (\\Answered \\Seen))\n1< c OK ~\n" },
		    /* --- EXPUNGE ---------------------------------------------------------------------------------------------------- */
		    { "6.4.3 EXPUNGE", SELECT3
					   OK("a", "STORE 1,3 +FLAGS.SILENT (\\Deleted)") "1> b EXPUNGE\n1< * 3 EXPUNGE\n1< * 1 EXPUNGE\n1< * 1 RECENT\n1< b OK ~\n1> c FETCH 1:* UID\n1< * 1 FETCH (UID 2)\n1< c OK ~\n" BAD(
					       "d", "FETCH 2 UID") },
		    { "6.4.3 nothing to expunge", SELECT3 OK("a", "EXPUNGE") },
		    { "6.4.3 UIDs are not used again",
			SELECT3 OK("a", "STORE 1:3 +FLAGS.SILENT (\\Deleted)") "1> b EXPUNGE\n1.. b OK ~\n1> c APPEND INBOX {3+}\n1> abc\n1< * 1 EXISTS\n1< * 1 RECENT\n1< c OK [APPENDUID ~ 4] ~\n" },
		    { "RFC 4315 2.1 UID EXPUNGE",
			SELECT3 OK("a", "STORE 1:3 +FLAGS.SILENT (\\Deleted)") "1> b UID EXPUNGE 2,7\n1< * 2 EXPUNGE\n1< * 2 RECENT\n1< b OK ~\n1> c FETCH 1:* UID\n1< * 1 FETCH (UID 1)\n1< * 2 FETCH (UID 3)\n1< c OK ~\n" },
		    { "RFC 4315 2.1 UID EXPUNGE takes only what is deleted",
			SELECT3 OK("a", "UID EXPUNGE 1:*") BAD("b", "UID EXPUNGE") BAD("c", "UID EXPUNGE x") },
		    /* --- COPY, MOVE ---------------------------------------------------------------------------------------------------- */
		    { "6.4.7 COPY, RFC 4315 COPYUID", SELECT3
							  OK("a", "CREATE box")
							      OK(
								  "b", "STORE 2 +FLAGS.SILENT (\\Flagged)") "1> c COPY 2:3 box\n1< c OK [COPYUID ~ 2:3 1:2] ~\n"
													    "1> d SELECT box\n1.. * 2 EXISTS\n1.. d OK ~\n1> e FETCH 1:2 (FLAGS BODY.PEEK[HEADER.FIELDS (Message-ID)])\n1< * 1 FETCH (FLAGS (\\Flagged \\Recent) BODY~\n1< Message-ID: <2@example.test>\n1< \n1< )\n"
													    "1< * 2 FETCH (FLAGS (\\Recent) BODY~\n1< Message-ID: <3@example.test>\n1< \n1< )\n1< e OK ~\n" },
		    { "6.4.7 COPY keeps the internal date", SELECT
			"1> a APPEND INBOX \"17-Jul-1996 02:44:25 -0700\" {3+}\n1> abc\n1.. a OK ~\n1> b COPY 1 INBOX\n1< * 2 EXISTS\n1< * 2 RECENT\n1< b OK [COPYUID ~ 1 2] ~\n"
			"1> c FETCH 2 INTERNALDATE\n1< * 2 FETCH (INTERNALDATE \"17-Jul-1996 09:44:25 +0000\")\n1< c OK ~\n" },
		    { "6.4.7 COPY keeps keywords",
			SELECT3 OK("a", "CREATE box") "1> b STORE 1 +FLAGS.SILENT (zeta work)\n1.. b OK ~\n1> c COPY 1 box\n1< c OK ~\n1> d SELECT box\n1.. d OK ~\n1> e FETCH 1 FLAGS\n1< * 1 FETCH (FLAGS (\\Recent ~work~))\n1< e OK ~\n" },
		    { "6.4.7 COPY to what is not there", SELECT3
			"1> a COPY 1 nowhere\n1< a NO [TRYCREATE] ~\n1> b UID COPY 1 nowhere\n1< b NO [TRYCREATE] ~\n1> c MOVE 1 nowhere\n1< c NO [TRYCREATE] ~\n" },
		    { "6.4.8 UID COPY of nothing",
			SELECT3 OK("a", "CREATE box") "1> b UID COPY 9 box\n1< b OK No messages found.\n" },
		    { "6.4.7 COPY malformed",
			SELECT3 BAD("a", "COPY 1") BAD("b", "COPY box 1") BAD("c", "COPY 1 a b") },
		    { "6.4.7 COPY into the mailbox itself", SELECT3
			"1> a COPY 1 INBOX\n1< * 4 EXISTS\n1< * 4 RECENT\n1< a OK [COPYUID ~ 1 4] ~\n" },
		    { "RFC 6851 MOVE", SELECT3
					   OK(
					       "a", "CREATE box") "1> b MOVE 1:2 box\n1< * OK [COPYUID ~ 1:2 1:2] ~\n1< * 2 EXPUNGE\n1< * 1 EXPUNGE\n1< * 1 RECENT\n1< b OK ~\n"
								  "1> c STATUS box (MESSAGES)\n1< * STATUS box (MESSAGES 2)\n1< c OK ~\n1> d FETCH 1:* UID\n1< * 1 FETCH (UID 3)\n1< d OK ~\n" },
		    { "RFC 6851 UID MOVE",
			SELECT3 OK("a", "CREATE box") "1> b UID MOVE 2 box\n1< * OK [COPYUID ~ 2 1] ~\n1< * 2 EXPUNGE\n1< * 2 RECENT\n1< b OK ~\n" },
		    /* --- SEARCH --------------------------------------------------------------------------------------------------------- */
		    { "6.4.4 SEARCH", SELECT3
			"1> a SEARCH ALL\n1< * SEARCH 1 2 3\n1< a OK ~\n1> b SEARCH FROM anna\n1< * SEARCH 1 3\n1< b OK ~\n1> c SEARCH DELETED\n1< * SEARCH\n1< c OK ~\n" },
		    { "6.4.4 flags",
			SELECT3 OK("a", "STORE 2 +FLAGS.SILENT (\\Seen \\Flagged)") "1> b SEARCH SEEN\n1< * SEARCH 2\n1< b OK ~\n1> c SEARCH UNSEEN\n1< * SEARCH 1 3\n1< c OK ~\n1> d SEARCH NEW\n1< * SEARCH 1 3\n1< d OK ~\n"
										    "1> e SEARCH OR FLAGGED 1\n1< * SEARCH 1 2\n1< e OK ~\n1> f SEARCH OLD\n1< * SEARCH\n1< f OK ~\n1> g SEARCH NOT FLAGGED\n1< * SEARCH 1 3\n1< g OK ~\n" },
		    { "6.4.4 keywords", SELECT3
			"1> a STORE 2 +FLAGS.SILENT (work)\n1.. a OK ~\n1> b SEARCH KEYWORD WORK\n1< * SEARCH 2\n1< b OK ~\n1> c SEARCH UNKEYWORD work\n1< * SEARCH 1 3\n1< c OK ~\n1> d SEARCH KEYWORD never\n1< * SEARCH\n1< d OK ~\n1> e SEARCH UNKEYWORD never\n1< * SEARCH 1 2 3\n1< e OK ~\n" },
		    { "6.4.4 sets", SELECT3
			"1> a SEARCH 2:*\n1< * SEARCH 2 3\n1< a OK ~\n1> b SEARCH *\n1< * SEARCH 3\n1< b OK ~\n1> c SEARCH UID 2\n1< * SEARCH 2\n1< c OK ~\n1> d SEARCH 1:100\n1< * SEARCH 1 2 3\n1< d OK ~\n1> e SEARCH NOT 2\n1< * SEARCH 1 3\n1< e OK ~\n" },
		    { "6.4.4 text", SELECT3
			"1> a SEARCH BODY \"second LINE\"\n1< * SEARCH 2\n1< a OK ~\n1> b SEARCH TEXT hello\n1< * SEARCH 1 2\n1< b OK ~\n1> c SEARCH SUBJECT ONE\n1< * SEARCH 1\n1< c OK ~\n"
			"1> d SEARCH HEADER Message-ID 2@\n1< * SEARCH 2\n1< d OK ~\n1> e SEARCH HEADER Cc \"\"\n1< * SEARCH 2\n1< e OK ~\n1> f SEARCH CC dora TO bob\n1< * SEARCH 2\n1< f OK ~\n" },
		    { "6.4.4 decoded text", SELECT3
			"1> a SEARCH CHARSET UTF-8 SUBJECT {5+}\n1> dr\\xc3\\x89i\n1< * SEARCH 3\n1< a OK ~\n1> b SEARCH CHARSET UTF-8 BODY {7}\n1< + OK\n1> gr\\xc3\\xbc\\xc3\\x9fe\n1< * SEARCH 3\n1< b OK ~\n" },
		    { "6.4.4 dates", SELECT3
			"1> a SEARCH SENTON 7-Feb-1994\n1< * SEARCH 1\n1< a OK ~\n1> b SEARCH SENTSINCE 8-Feb-1994\n1< * SEARCH 2\n1< b OK ~\n1> c SEARCH SENTBEFORE 1-Jan-2000\n1< * SEARCH 1 2\n1< c OK ~\n1> d SEARCH SINCE 1-Jan-2000\n1< * SEARCH 1 2 3\n1< d OK ~\n1> e SEARCH BEFORE 1-Jan-2000\n1< * SEARCH\n1< e OK ~\n" },
		    { "6.4.4 sizes", SELECT3
			"1> a SEARCH SMALLER 150\n1< * SEARCH 1\n1< a OK ~\n1> b SEARCH LARGER 149\n1< * SEARCH 2 3\n1< b OK ~\n" },
		    { "6.4.4 charset",
			SELECT3 "1> a SEARCH CHARSET KOI8-R ALL\n1< a NO [BADCHARSET (US-ASCII UTF-8)] ~\n1> b SEARCH CHARSET \"us-ascii\" ALL\n1< * SEARCH 1 2 3\n1< b OK ~\n" },
		    { "6.4.4 malformed",
			SELECT3 BAD("a", "SEARCH") BAD("b", "SEARCH FOO") BAD("c", "SEARCH OR ALL")
			    BAD("d", "SEARCH (ALL") BAD("e", "SEARCH ON 1-Foo-1994")
				BAD("f", "SEARCH UID x") BAD("g", "SEARCH CHARSET UTF-8")
				    BAD("h", "SEARCH ALL  ALL") },
		    { "6.4.8 UID SEARCH",
			SELECT3 OK("a",
			    "STORE 1 +FLAGS.SILENT (\\Deleted)") "1> b EXPUNGE\n1.. b OK ~\n1> c UID SEARCH ALL\n1< * SEARCH 2 3\n1< c OK ~\n1> d SEARCH ALL\n1< * SEARCH 1 2\n1< d OK ~\n1> e UID SEARCH 1\n1< * SEARCH 2\n1< e OK ~\n" },
		    { "6.4.4 in an empty mailbox", SELECT
			"1> a SEARCH ALL\n1< * SEARCH\n1< a OK ~\n1> b UID SEARCH UID 1:*\n1< * SEARCH\n1< b OK ~\n1> c SEARCH 1:*\n1< * SEARCH\n1< c OK ~\n" },
		    /* --- pipelining (5.5) ------------------------------------------------------------------------------------------------- */
		    { "5.5 commands answer in order", SELECT3
			"1>> a FETCH 1 UID\\r\\nb STORE 1 +FLAGS.SILENT (\\Deleted)\\r\\nc EXPUNGE\\r\\nd FETCH 1 UID\\r\\n\n1< * 1 FETCH (UID 1)\n1< a OK ~\n1< b OK ~\n1< * 1 EXPUNGE\n1< * 2 RECENT\n1< c OK ~\n1< * 1 FETCH (UID 2)\n1< d OK ~\n" },
	    };

static void
test_cases(void **state)
{
	(void)state;
	wire_run(cases, sizeof cases / sizeof cases[0]);
}

/* A client that asks for much and takes nothing: memory is bounded, the other sessions are served meanwhile; and when it reads
 * at last, all is there. */
static void
test_slow_reader(void **state)
{
	enum { N = 60, SIZE = 200000 };
	struct wire w;
	char *text = x_malloc(SIZE + 1);
	size_t header = (size_t)snprintf(text, SIZE, "Subject: big\n\n");

	(void)state;
	memset(text + header, 'x', SIZE - header);
	for (size_t i = header + 70; i < SIZE; i += 71)
		text[i] = '\n';
	text[SIZE] = '\0';
	wire_start(&w, "slow reader", &wire_config);
	for (int i = 0; i < N; i++)
		wire_deliver_text(&w, text, ".");
	wire_script(&w, "1> s SELECT INBOX\n1.. s OK ~\n2> s SELECT INBOX\n2.. s OK ~\n");
	assert_int_equal(send(w.clients[1].fd, "a FETCH 1:* BODY.PEEK[]\r\n", 25, 0), 25);
	/* the harness reads for client 1 only when it is its turn: here nobody does */
	{
		int fd = w.clients[1].fd;

		w.clients[1].fd = -1;
		for (int i = 0; i < 100; i++)
			loop_run_once(w.loop, false);
		struct login_session *l;

		LIST_FOREACH (l, &w.account.login.running, link)
			assert_true(stream_output_pending(l->stream) +
					((struct imapd_session *)l)->out.len <
				    1 << 20);
		wire_script(&w, "2> b FETCH 1 UID\n2< * 1 FETCH (UID 1)\n2< b OK ~\n");
		w.clients[1].fd = fd;
	}
	wire_script(&w, "1.. a OK ~\n");
	assert_true(w.clients[1].in.len == 0);
	free(text);
	wire_stop(&w);
}

/* Two thousand commands in one write, against thousands of messages. */
static void
test_many(void **state)
{
	enum { N = 500 };
	struct wire w;
	struct buf text;

	(void)state;
	wire_start(&w, "many", &wire_config);
	for (int i = 0; i < N; i++)
		wire_deliver(&w, i % 2 ? "one" : "two");
	wire_script(&w, "1> s SELECT INBOX\n1.. * 500 EXISTS\n1.. s OK ~\n");
	buf_init(&text, 1 << 20);
	for (int i = 0; i < 200; i++)
		buf_printf(&text, "t%d UID FETCH %d (FLAGS ENVELOPE)\r\n", i, i + 1);
	wire_write(&w, 1, text.p, text.len);
	for (int i = 0; i < 200; i++) {
		char want[200];

		snprintf(want, sizeof want,
		    "1< * %d FETCH (UID %d FLAGS (~) ENVELOPE (~))\n1< t%d OK ~\n", i + 1, i + 1,
		    i);
		wire_script(&w, want);
	}
	wire_script(&w,
	    "1> a STORE 1:* +FLAGS.SILENT (\\Deleted)\n1< a OK ~\n1> b SEARCH DELETED FROM anna\n1< * SEARCH 2 4 6 ~ 498 500\n1< b OK ~\n"
	    "1> c UID EXPUNGE 2:400\n1.. * 2 EXPUNGE\n1< * 101 RECENT\n1< c OK ~\n1> d FETCH 2 UID\n1< * 2 FETCH (UID 401)\n1< d OK ~\n"
	    "1> e EXPUNGE\n1< * 101 EXPUNGE\n1.. * 1 EXPUNGE\n1< * 0 RECENT\n1< e OK ~\n");
	buf_clear(&text);
	wire_stop(&w);
}

/* Pieces of one large message: it is read from disk once. */
static void
test_pieces(void **state)
{
	enum { SIZE = 1 << 20 };
	char *text = x_malloc(SIZE + 1);
	struct wire w;

	(void)state;
	memset(text, 'y', SIZE);
	memcpy(text, "A: b\n\n", 6);
	text[SIZE] = '\0';
	wire_start(&w, "pieces", &wire_config);
	wire_deliver_text(&w, text, ".");
	wire_script(&w,
	    "1> s SELECT INBOX\n1.. s OK ~\n1> a UID FETCH 1 BODY.PEEK[]<0.9>\n1< * 1 FETCH (UID 1 BODY[]<0> {9}\n1< A: b\n1< \n1< y)\n1< a OK ~\n"
	    "1> b UID FETCH 1 BODY.PEEK[]<1000000.3>\n1< * 1 FETCH (UID 1 BODY[]<1000000> {3}\n1< yyy)\n1< b OK ~\n");
	assert_int_equal(wire_first(&w)->counts.body_count, 1);
	wire_script(&w, "1> c NOOP\n1< c OK ~\n");
	assert_int_equal(wire_first(&w)->content.cap, 0);
	free(text);
	wire_stop(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_pieces),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
