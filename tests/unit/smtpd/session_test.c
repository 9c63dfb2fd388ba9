/* Dialogues with a whole smtpd session: each case cites the rule it holds the server to. */
#include "tests/unit/smtpd/session_world.h"
#include "smtpd/session.h"

struct session_case {
	const char *rule, *settings, *peer, *script;
	struct fakes fakes;
};

#define STRANGER "192.0.2.1" /* client.example, forward confirmed */
#define HELLO "< 220 mail.example.test\n> EHLO c.example\n< 250 8BITMIME\n"
#define ENVELOPE                                                                                   \
	"> MAIL FROM:<a@sender.example>\n< 250 2.1.0\n> RCPT TO:<bob@example.test>\n< 250 2.1.5\n"
#define DATA "> DATA\n< 354\n"
#define WITH_TLS "tls_cert_file = /cert.pem\n"
#define SUBMISSION WITH_TLS "smtpd_submission = yes\n"
#define SECURED HELLO "<~ STARTTLS\n> STARTTLS\n< 220 2.0.0\nT\n> EHLO c.example\n< 250 8BITMIME\n"
#define PLAIN_GOOD "AGFsaWNlAHNlY3JldA==" /* NUL alice NUL secret */
#define PLAIN_BAD "AGFsaWNlAHdyb25n"

/* clang-format off */
static const struct session_case cases[] = {
	/* --- greeting, EHLO, HELO ------------------------------------------------------------------ */
	{ "RFC 5321 3.1 greeting", "", STRANGER, "< 220 mail.example.test ESMTP\nL connect from client.example[192.0.2.1]\n> QUIT\n< 221 2.0.0 Bye\n! closed\nE 0\n"
	    "L disconnect from client.example[192.0.2.1] quit=1 commands=1\n", { 0 } },
	{ "RFC 5321 4.1.1.1 EHLO", "", STRANGER, HELLO "<~ 250-mail.example.test\n<~ 250-PIPELINING\n<~ 250-SIZE 52428800\n"
	    "<~ 250-ENHANCEDSTATUSCODES\n<! STARTTLS\n<! AUTH\n<~ 250-DSN\n<! BINARYMIME\n", { 0 } },
	{ "RFC 5321 4.1.1.1 HELO", "", STRANGER, "< 220\n> HELO c.example\n< 250 mail.example.test\n", { 0 } },
	{ "RFC 5321 4.1.1.1 EHLO without a name", "", STRANGER, "< 220\n> EHLO\n< 501 Syntax: EHLO hostname\n> HELO \n< 501\n", { 0 } },
	{ "RFC 5321 2.4 verbs in any case", "", STRANGER, "< 220\n> eHlO c.example\n< 250\n> nOoP\n< 250 2.0.0\n", { 0 } },
	{ "RFC 5321 4.1.1.1 EHLO with an address literal", "", STRANGER, "< 220\n> EHLO [192.0.2.1]\n< 250\n", { 0 } },
	{ "RFC 5321 4.1.4 EHLO resets the transaction", "", STRANGER, HELLO ENVELOPE "> EHLO d.example\n< 250\n> DATA\n< 503 5.5.1\n", { 0 } },
	{ "RFC 5321 4.1.4 second EHLO", "", STRANGER, HELLO "> EHLO e.example\n< 250\n" ENVELOPE, { 0 } },
	{ "RFC 2034 4 no enhanced code in EHLO's answer", "", STRANGER, "< 220\n> EHLO c.example\n< 250 8BITMIME\n<! 2.0.0\n", { 0 } },
	{ "RFC 1870 3 SIZE without a limit", "message_size_limit = 0\n", STRANGER, HELLO "<~ 250-SIZE\r\n", { 0 } },
	{ "control bytes in the HELO name", "", STRANGER, "< 220\n>> EHLO a\\x01<b>(c)\\xff\\r\\n\n< 250\n> MAIL FROM:<x@y.z>\n< 250\n"
	    "> RCPT TO:<nobody@example.test>\n< 550\nL helo=<a?\?b?\?c?\?>\n", { 0 } },
	/* --- order of commands ------------------------------------------------------------------------ */
	{ "RFC 5321 4.1.4 MAIL without HELO is taken", "", STRANGER, "< 220\n" ENVELOPE, { 0 } },
	{ "smtpd_helo_required", "smtpd_helo_required = yes\n", STRANGER, "< 220\n> MAIL FROM:<a@b.c>\n< 503 5.5.1 Error: send HELO/EHLO first\n", { 0 } },
	{ "RFC 5321 4.1.4 RCPT without MAIL", "", STRANGER, HELLO "> RCPT TO:<bob@example.test>\n< 503 5.5.1 Error: need MAIL command\n", { 0 } },
	{ "RFC 5321 4.1.4 DATA without MAIL", "", STRANGER, HELLO "> DATA\n< 503 5.5.1 Error: need MAIL command\n", { 0 } },
	{ "RFC 5321 3.3 DATA without RCPT", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> DATA\n< 503 5.5.1 Error: need RCPT command\n", { 0 } },
	{ "RFC 5321 3.3 DATA with no recipient accepted", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<nobody@example.test>\n< 550\n"
	    "> DATA\n< 554 5.5.1 Error: no valid recipients\n", { 0 } },
	{ "RFC 5321 4.1.4 nested MAIL", "", STRANGER, HELLO ENVELOPE "> MAIL FROM:<a@b.c>\n< 503 5.5.1 Error: nested MAIL command\n" DATA, { 0 } },
	{ "RFC 5321 4.1.1.5 RSET", "", STRANGER, HELLO ENVELOPE "> RSET\n< 250 2.0.0\n> DATA\n< 503 5.5.1\n" ENVELOPE, { 0 } },
	{ "RFC 5321 4.1.1.5 RSET takes no argument", "", STRANGER, HELLO "> RSET x\n< 501 5.5.4 Syntax: RSET\n", { 0 } },
	{ "RFC 5321 4.1.1.4 DATA takes no argument", "", STRANGER, HELLO ENVELOPE "> DATA x\n< 501 5.5.4\n" DATA, { 0 } },
	{ "RFC 5321 4.1.1.9 NOOP with a string", "", STRANGER, HELLO "> NOOP whatever\n< 250 2.0.0\n", { 0 } },
	{ "soft_bounce", "soft_bounce = yes\n", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<nobody@example.test>\n< 450 4.1.1 <nobody@example.test>\n"
	    "L NOQUEUE: reject: RCPT from client.example[192.0.2.1]: 450 4.1.1 <nobody@\n> RSET x\n< 401 4.5.4 Syntax\n", { 0 } },
	{ "RFC 5321 4.1.1.10 QUIT takes no argument", "", STRANGER, HELLO "> QUIT x\n< 501 5.5.4\n> QUIT\n< 221\n! closed\n", { 0 } },
	{ "RFC 5321 3.5.3 VRFY confirms nobody", "", STRANGER, HELLO "> VRFY bob\n< 252 2.5.2\n> VRFY nobody\n< 252 2.5.2\n> VRFY\n< 501 5.5.4\n", { 0 } },
	{ "disable_vrfy_command", "disable_vrfy_command = yes\n", STRANGER, HELLO "> VRFY bob\n< 502 5.5.1\n", { 0 } },
	{ "RFC 5321 4.1.1.8 HELP", "", STRANGER, HELLO "> HELP\n< 214 2.0.0\n<~ MAIL\n", { 0 } },
	{ "RFC 5321 4.2.4 502 for what is not done here", "", STRANGER, HELLO "> EXPN x\n< 502 5.5.1\n> ETRN x\n< 502 5.5.1\n> TURN\n< 502\n", { 0 } },
	{ "RFC 5321 4.2.4 500 for what is not known", "", STRANGER, HELLO "> XYZZY\n< 500 5.5.2\n> XYZZY\n< 500\n> QUIT\n< 221\nL unknown=0/2 commands=2/4\n", { 0 } },
	{ "RFC 5321 4.1.1 an empty line", "", STRANGER, HELLO ">> \\r\\n\n< 500 5.5.2\n", { 0 } },
	{ "RFC 5321 4.1.1 trailing white space", "", STRANGER, HELLO "> NOOP  \n< 250\n> RSET \n< 250\n", { 0 } },
	/* --- MAIL ---------------------------------------------------------------------------------------- */
	{ "RFC 5321 4.1.1.2 the null sender", "", STRANGER, HELLO "> MAIL FROM:<>\n< 250 2.1.0\n", { 0 } },
	{ "RFC 5321 4.1.1.2 syntax", "", STRANGER, HELLO "> MAIL\n< 501 5.5.4 Syntax: MAIL FROM:<address>\n> MAIL FROM\n< 501 5.5.4\n"
	    "> MAIL TO:<a@b>\n< 501 5.5.4\n> MAIL FROM:<a@>\n< 501 5.1.7\n> MAIL FROM:<a@b\n< 501 5.1.7\n> MAIL FROM:<a@b>x\n< 501 5.1.7\n", { 0 } },
	{ "RFC 5321 4.1.2 space behind the colon is let pass", "", STRANGER, HELLO "> MAIL FROM: <a@b.c>\n< 250\n", { 0 } },
	{ "strict_rfc821_envelopes", "strict_rfc821_envelopes = yes\n", STRANGER, HELLO "> MAIL FROM: <a@b.c>\n< 501 5.1.7\n> MAIL FROM:a@b.c\n< 501 5.1.7\n", { 0 } },
	{ "RFC 5321 C source route", "", STRANGER, HELLO "> MAIL FROM:<@x.y,@z:a@b.c>\n< 250\n> RCPT TO:<@relay.example:bob@example.test>\n< 250\n", { 0 } },
	{ "RFC 1870 6.1 SIZE too large", "message_size_limit = 1000\n", STRANGER, HELLO "> MAIL FROM:<a@b.c> SIZE=1001\n< 552 5.3.4\n> MAIL FROM:<a@b.c> SIZE=1000\n< 250\n", { 0 } },
	{ "RFC 1870 4 SIZE syntax", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> SIZE=x\n< 501 5.5.4\n> MAIL FROM:<a@b.c> SIZE\n< 501\n"
	    "> MAIL FROM:<a@b.c> SIZE=99999999999999999999\n< 552\n> MAIL FROM:<a@b.c> SIZE=18446744073709551615\n< 552\n> MAIL FROM:<a@b.c> SIZE=-1\n< 501\n", { 0 } },
	{ "RFC 6152 3 BODY", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> BODY=8BITMIME\n< 250\n> RSET\n< 250\n> MAIL FROM:<a@b.c> BODY=7bit SIZE=5\n< 250\n> RSET\n< 250\n"
	    "> MAIL FROM:<a@b.c> BODY=BINARYMIME\n< 501 5.5.4\n", { 0 } },
	{ "RFC 5321 4.1.1.11 unknown parameter", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> FOO=1\n< 555 5.5.4 Unsupported option: FOO\n> MAIL FROM:<a@b.c> AUTH=<>\n< 555\n> MAIL FROM:<a@b.c> =\n< 501 5.5.4\n", { 0 } },
	{ "RFC 6531 3.4 UTF-8 without SMTPUTF8", "", STRANGER, HELLO ">> MAIL FROM:<\\xc3\\xa4@b.c>\\r\\n\n< 553 5.6.7\n", { 0 } },
	{ "a sender without a domain gets ours", "", STRANGER, HELLO "> MAIL FROM:<root>\n< 250\n> RCPT TO:<nobody@example.test>\n< 550\nL from=<root@mail.example.test>\n", { 0 } },
	/* --- RCPT ---------------------------------------------------------------------------------------- */
	{ "RFC 5321 4.1.1.3 syntax", "", STRANGER, HELLO "> MAIL FROM:<>\n< 250\n> RCPT\n< 501 5.5.4\n> RCPT TO:\n< 501 5.5.4\n> RCPT TO:<>\n< 501 5.1.3\n"
	    "> RCPT TO:<\"\"@example.test>\n< 501 5.1.3\n> RCPT TO:<a b@example.test>\n< 501\n> RCPT TO:<bob@example.test> FOO=NEVER\n< 555 5.5.4\n", { 0 } },
	{ "RFC 5321 3.3 unknown recipient", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<nobody@example.test>\n"
	    "< 550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in virtual mailbox table\n"
	    "L NOQUEUE: reject: RCPT from client.example[192.0.2.1]: 550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in virtual mailbox table; from=<a@b.c> to=<nobody@example.test> proto=ESMTP helo=<c.example>\n", { 0 } },
	{ "RFC 5321 3.6.2 relaying is refused", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<x@foreign.example>\n< 554 5.7.1 <x@foreign.example>: Relay access denied\n"
	    "> RCPT TO:<x%foreign.example@other.example>\n< 554 5.7.1\n> RCPT TO:<@example.test:x@foreign.example>\n< 554 5.7.1\n> RCPT TO:<\"x@example.test\"@foreign.example>\n< 554 5.7.1\n", { 0 } },
	{ "mynetworks may relay", "", "127.0.0.9", HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<x@foreign.example>\n< 250 2.1.5\n", { 0 } },
	{ "RFC 5321 4.2.3 authd in trouble", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<temp@example.test>\n< 451 4.3.0\n> RCPT TO:<empty@example.test>\n< 451 4.3.0\n> RCPT TO:<bob@example.test>\n< 250\n", { 0 } },
	{ "authd breaks the protocol", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<broken@example.test>\n< 451 4.3.0\n> RCPT TO:<bob@example.test>\n< 451 4.3.0\n", { 0 } },
	{ "RFC 5321 4.2.2 mailbox full", "", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<full@example.test>\n< 452 4.2.2\n", { 0 } },
	{ "RFC 5321 4.5.1 postmaster without a domain", "", STRANGER, HELLO "> MAIL FROM:<>\n< 250\n> RCPT TO:<postmaster>\n< 250\n", { 0 } },
	{ "RFC 5321 4.5.3.1.10 too many recipients", "smtpd_recipient_limit = 2\nsmtpd_recipient_overshoot_limit = 2\nsmtpd_hard_error_limit = 2\n", STRANGER,
	    HELLO ENVELOPE "> RCPT TO:<b@example.test>\n< 250\n> RCPT TO:<c@example.test>\n< 452 4.5.3\n> RCPT TO:<d@example.test>\n< 452\n> RCPT TO:<e@example.test>\n< 452\n> RCPT TO:<f@example.test>\n< 452\n< 421 4.7.0\n! closed\n", { 0 } },
	{ "aliases expand, each mailbox once", "", STRANGER, HELLO ENVELOPE "> RCPT TO:<list@example.test>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n" DATA "> x\n> .\n< 250\n"
	    "R bob@example.test alice@example.test\nN 1\n", { 0 } },
	/* --- DATA ---------------------------------------------------------------------------------------- */
	{ "RFC 5321 3.3 a message", "", STRANGER, HELLO ENVELOPE DATA "> Subject: x\n> \n> Hello\n> .\n< 250 2.0.0 Ok: queued as 4ZfakeId1\nN 1\nQ= Subject: x\\r\\n\\r\\nHello\\r\\n\n"
	    "Q Received: from c.example (client.example [192.0.2.1])\\r\\n\\tby mail.example.test (Estafeta) with ESMTP id 4ZfakeId1\\r\\n\\tfor <bob@example.test>;\\r\\n\\t\n"
	    "L smtpd: 4ZfakeId1: client=client.example[192.0.2.1]\nL cleanup: 4ZfakeId1: message-id=<>\n"
	    "> QUIT\n< 221\nL disconnect from client.example[192.0.2.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5\n", { 0 } },
	{ "RFC 5321 4.5.2 transparency", "", STRANGER, HELLO ENVELOPE DATA "> X: y\n> \n> ..\n> ..a\n> a.\n> .\n< 250\nQ= X: y\\r\\n\\r\\n.\\r\\n.a\\r\\na.\\r\\n\n", { 0 } },
	{ "RFC 5321 4.1.1.4 an empty message", "", STRANGER, HELLO ENVELOPE DATA "> .\n< 250\nQ= \nN 1\n", { 0 } },
	{ "RFC 5321 3.3 two messages in one session", "", STRANGER, HELLO ENVELOPE DATA "> A: b\n> .\n< 250\n" ENVELOPE DATA "> C: d\n> .\n< 250\nN 2\nQ= C: d\\r\\n\n", { 0 } },
	{ "RFC 6152 8-bit content", "", STRANGER, HELLO "> MAIL FROM:<> BODY=8BITMIME\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n" DATA ">> A: b\\r\\n\\r\\n\\x80\\xff\\r\\n.\\r\\n\n< 250\nQ= A: b\\r\\n\\r\\n\\x80\\xff\\r\\n\n", { 0 } },
	{ "RFC 5321 4.5.3.1.6 long lines", "", STRANGER, HELLO ENVELOPE DATA ">> A: b\\r\\n\\r\\n\nZ 100000 x\n>> \\r\\n.\\r\\n\n< 250 2.0.0\nN 1\n", { 0 } },
	{ "smtpd_data_line_limit", "smtpd_data_line_limit = 2000\n", STRANGER, HELLO ENVELOPE DATA "Z 2001 x\n>> \\r\\n.\\r\\n\n< 554 5.6.0\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "RFC 1870 6.3 too large in fact", "message_size_limit = 1000\n", STRANGER, HELLO ENVELOPE DATA "Z 1000 0123456789\n>> \\r\\n.\\r\\n\n< 552 5.3.4\nN 0\n" ENVELOPE DATA "> small\n> .\n< 250\nN 1\n", { 0 } },
	{ "a body larger than a memfd", "", STRANGER, HELLO ENVELOPE DATA ">> A: b\\r\\n\\r\\n\nZ 100000 0123456789\\r\\n\n>> .\\r\\n\n< 250\nN 1\nQ 0123456789\\r\\n0123456789\\r\\n\n", { 0 } },
	{ "no file for a large body", "", STRANGER, HELLO ENVELOPE DATA "Z 100000 0123456789\\r\\n\n>> .\\r\\n\n< 452 4.3.1\nN 0\n> NOOP\n< 250\n", { .body = QMGR_FULL } },
	{ "RFC 5321 6.3 loops", "hopcount_limit = 3\n", STRANGER, HELLO ENVELOPE DATA "> Received: 1\n> Received: 2\n> Received: 3\n> \n> .\n< 250\n" ENVELOPE DATA "> Received: 1\n> Received: 2\n> Received: 3\n> Received: 4\n> .\n< 554 5.4.6\nN 1\n", { 0 } },
	{ "header_size_limit", "header_size_limit = 2000\n", STRANGER, HELLO ENVELOPE DATA ">> A: b\\r\\n\nZ 300 \\x20folded\\r\\n\n>> \\r\\n.\\r\\n\n< 552 5.3.4\nN 0\n", { 0 } },
	{ "RFC 5322 2.2 content that is no header stays apart from ours", "", STRANGER, HELLO ENVELOPE DATA "> hello world\n> .\n< 250\nQ= hello world\\r\\n\nQ )\\r\\n\\r\\nhello\n", { 0 } },
	{ "a folded line at the start cannot extend our field", "", STRANGER, HELLO ENVELOPE DATA ">> \\x20injected\\r\\n.\\r\\n\n< 250\nQ )\\r\\n\\r\\n injected\\r\\n\n", { 0 } },
	{ "an mbox From line", "", STRANGER, HELLO ENVELOPE DATA "> From a@b Mon\n> A: b\n> \n> .\n< 250\nQ X-Mailbox-Line: From a@b Mon\\r\\nA: b\\r\\n\n", { 0 } },
	/* --- smuggling: RFC 5321 2.3.8 ------------------------------------------------------------------ */
	{ "smuggling <LF>.<LF>", "", STRANGER, HELLO ENVELOPE DATA ">> a\\n.\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2 Error: bare <LF> received\nN 0\n> NOOP\n< 250\nL reject: END-OF-MESSAGE from client.example[192.0.2.1]: 550 5.5.2\n", { 0 } },
	{ "smuggling <LF>.<CRLF>", "", STRANGER, HELLO ENVELOPE DATA ">> a\\n.\\r\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "smuggling <CRLF>.<LF>", "", STRANGER, HELLO ENVELOPE DATA ">> a\\r\\n.\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "smuggling <CR>.<CR>", "", STRANGER, HELLO ENVELOPE DATA ">> a\\r.\\rMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2 Error: bare <CR> received\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "smuggling <CRLF>.<CR>", "", STRANGER, HELLO ENVELOPE DATA ">> a\\r\\n.\\rMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "smuggling <CR><CRLF>.", "", STRANGER, HELLO ENVELOPE DATA ">> a\\r\\r\\n.\\r\\r\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.5.2\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "smuggling NUL", "", STRANGER, HELLO ENVELOPE DATA ">> a\\r\\n\\0.\\r\\nMAIL FROM:<evil@x>\\r\\n.\\r\\n\n< 550 5.6.0\nN 0\n> NOOP\n< 250\n", { 0 } },
	{ "bare LF in a command", "", STRANGER, HELLO ">> NOOP\\nMAIL FROM:<a@b>\\r\\n\n< 521 5.5.2\n! closed\n", { 0 } },
	{ "bare CR in a command", "", STRANGER, HELLO ">> NOOP\\rMAIL FROM:<a@b>\\r\\n\n< 521 5.5.2\n! closed\n", { 0 } },
	{ "NUL in a command", "", STRANGER, HELLO ">> NO\\0OP\\r\\n\n< 521 5.5.2\n! closed\n", { 0 } },
	/* --- lines and foreign protocols ----------------------------------------------------------------- */
	{ "RFC 5321 4.5.3.1.4 a line of 512 bytes", "", STRANGER, HELLO ">> NOOP \nZ 505 x\n>> \\r\\n\n< 250\n", { 0 } },
	{ "RFC 5321 4.5.3.1.9 a line too long", "", STRANGER, HELLO ">> NOOP \nZ 5000 x\n>> \\r\\n\n< 500 5.5.2\n> NOOP\n< 250\n", { 0 } },
	{ "a line without end", "", STRANGER, HELLO "Z 1000000 NOOP\n< 500 5.5.2\n>> \\r\\n\n> NOOP\n< 250\n", { 0 } },
	{ "HTTP", "", STRANGER, "< 220\nL connect from client.example\n>> POST / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nEHLO x\\r\\nMAIL FROM:<a@b>\\r\\n\n< 221 2.7.0\n! closed\nL non-SMTP command from client.example[192.0.2.1]: POST / HTTP/1.1\n", { 0 } },
	{ "TLS on a plain port", "", STRANGER, "< 220\n>> \\x16\\x03\\x01\\x02\\0\\x01\n< 221 2.7.0\n! closed\n", { 0 } },
	/* --- pipelining: RFC 2920 -------------------------------------------------------------------------- */
	{ "RFC 2920 3.1 a whole envelope in one write", "", STRANGER, HELLO ">> MAIL FROM:<a@b.c>\\r\\nRCPT TO:<bob@example.test>\\r\\nRCPT TO:<nobody@example.test>\\r\\nDATA\\r\\n\n"
	    "< 250 2.1.0\n< 250 2.1.5\n< 550 5.1.1\n< 354\n> x\n> .\n< 250\n", { 0 } },
	{ "RFC 2920 3.1 content before 354 is read as content", "", STRANGER, HELLO ENVELOPE ">> DATA\\r\\nA: b\\r\\n\\r\\nMAIL FROM:<x@y>\\r\\n.\\r\\nNOOP\\r\\n\n< 354\n< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok\nN 1\nQ MAIL FROM:<x@y>\n", { 0 } },
	{ "reject_unauth_pipelining", "smtpd_data_restrictions = reject_unauth_pipelining\n", STRANGER, HELLO ENVELOPE ">> DATA\\r\\nNOOP\\r\\n\n< 503 5.5.0\n< 250\n", { 0 } },
	{ "RFC 2920 3.1 content after DATA was refused is read as commands", "", STRANGER, HELLO ">> MAIL FROM:<a@b.c>\\r\\nRCPT TO:<nobody@example.test>\\r\\nDATA\\r\\n.\\r\\nRSET\\r\\n\n< 250\n< 550\n< 554\n< 500\n< 250 2.0.0\n", { 0 } },
	{ "a client that closes its sending side gets its answers", "", STRANGER, "< 220\n>> EHLO c\\r\\nMAIL FROM:<a@b.c>\\r\\nRCPT TO:<bob@example.test>\\r\\nDATA\\r\\nx\\r\\n.\\r\\nQUIT\\r\\n\nX shut\n< 250\n< 250\n< 250\n< 354\n< 250 2.0.0 Ok: queued\n< 221\n! closed\nN 1\nE 0\n", { 0 } },
	/* --- limits ------------------------------------------------------------------------------------------ */
	{ "smtpd_hard_error_limit", "smtpd_hard_error_limit = 3\n", STRANGER, HELLO "> X\n< 500\n> Y\n< 500\n> Z\n< 500\n< 421 4.7.0 mail.example.test Error: too many errors\n! closed\nL too many errors after unknown from client.example[192.0.2.1]\n", { 0 } },
	{ "smtpd_soft_error_limit", "smtpd_soft_error_limit = 1\nsmtpd_error_sleep_time = 1s\n", STRANGER, HELLO "> X\n< 500\n> NOOP\n< 250\n", { 0 } },
	{ "smtpd_junk_command_limit", "smtpd_junk_command_limit = 5\nsmtpd_hard_error_limit = 2\n", STRANGER, HELLO "Z 10 NOOP\\r\\n\n< 250\n< 250\n< 250\n< 250\n< 250\n< 250\n< 250\n< 421 4.7.0\n! closed\n", { 0 } },
	{ "RFC 5321 4.5.3.2.7 time-out", "smtpd_timeout = 1s\n", STRANGER, HELLO "< 421 4.4.2 mail.example.test Error: timeout exceeded\n! closed\nL timeout after EHLO from client.example[192.0.2.1]\n", { 0 } },
	{ "time-out in DATA", "smtpd_timeout = 1s\n", STRANGER, HELLO ENVELOPE DATA "> abc\n< 421 4.4.2\n! closed\nL timeout after DATA (5 bytes) from\nN 0\nE 0\n", { 0 } },
	{ "lost connection", "", STRANGER, HELLO ENVELOPE "X close\nE 0\nL lost connection after RCPT from client.example[192.0.2.1]\nN 0\n", { 0 } },
	{ "lost connection in DATA", "", STRANGER, HELLO ENVELOPE DATA "> abc\nX close\nE 0\nL lost connection after DATA (5 bytes) from client.example[192.0.2.1]\nN 0\n", { 0 } },
	{ "smtpd_client_connection_count_limit", "smtpd_client_connection_count_limit = 1\nsmtpd_peername_lookup = no\n", STRANGER, HELLO, { 0 } },
	/* --- the queue's answers -------------------------------------------------------------------------------- */
	{ "RFC 5321 4.2.2 no room at DATA", "", STRANGER, HELLO ENVELOPE "> DATA\n< 452 4.3.1\nN 0\n> NOOP\n< 250\n", { .begin = QMGR_FULL } },
	{ "queue in trouble at DATA", "", STRANGER, HELLO ENVELOPE "> DATA\n< 451 4.3.0\nN 0\n", { .begin = QMGR_TEMP } },
	{ "queue lost at DATA", "", STRANGER, HELLO ENVELOPE "> DATA\n< 451 4.3.0\nN 0\n", { .begin_lost = true } },
	{ "no room at the end", "", STRANGER, HELLO ENVELOPE DATA "> x\n> .\n< 452 4.3.1\nN 0\n> NOOP\n< 250\n", { .commit = QMGR_FULL } },
	{ "queue in trouble at the end", "", STRANGER, HELLO ENVELOPE DATA "> x\n> .\n< 451 4.3.0\nN 0\n", { .commit = QMGR_TEMP } },
	{ "the queue's answer is lost: never 250", "", STRANGER, HELLO ENVELOPE DATA "> x\n> .\n< 451 4.3.0\nN 0\n> NOOP\n< 250\n", { .commit_lost = true } },
	{ "the client goes before the queue answers", "", STRANGER, HELLO ENVELOPE DATA "> x\n> .\nW 50\nX close\nW 50\n", { .commit_silent = true } },
	/* --- STARTTLS: RFC 3207 ------------------------------------------------------------------------------------ */
	{ "RFC 3207 4 no certificate, no STARTTLS", "", STRANGER, HELLO "<! STARTTLS\n> STARTTLS\n< 502 5.5.1\n", { 0 } },
	{ "RFC 3207 4 STARTTLS", WITH_TLS, STRANGER, SECURED "<! STARTTLS\n" ENVELOPE DATA "> x\n> .\n< 250\nQ with ESMTPS id\nQ (using TLSv1.3 with cipher\nL Anonymous TLS connection established from client.example[192.0.2.1]: TLSv1.3 with cipher\n", { 0 } },
	{ "RFC 3207 4 STARTTLS takes no argument", WITH_TLS, STRANGER, HELLO "> STARTTLS x\n< 501 5.5.4\n", { 0 } },
	{ "RFC 3207 4 not twice", WITH_TLS, STRANGER, SECURED "> STARTTLS\n< 554 5.5.1\n", { 0 } },
	{ "RFC 3207 4.2 what was learnt is forgotten", WITH_TLS "smtpd_helo_required = yes\n", STRANGER, HELLO "> STARTTLS\n< 220\nT\n> MAIL FROM:<a@b.c>\n< 503 5.5.1 Error: send HELO/EHLO first\n", { 0 } },
	{ "a client gone before its STARTTLS is read", WITH_TLS "smtpd_delay_reject = no\nsmtpd_helo_restrictions = sleep 1\n", STRANGER, "< 220\n>> EHLO c\\r\\nSTARTTLS\\r\\n\nX shut\nE 0\n", { 0 } },
	{ "CVE-2011-0411 commands injected behind STARTTLS", WITH_TLS, STRANGER, HELLO ">> STARTTLS\\r\\nNOOP\\r\\nRSET\\r\\n\n< 220 2.0.0\nT\n> VRFY x\n< 252 2.5.2\nL bytes behind STARTTLS from\n", { 0 } },
	{ "RFC 3207 4 smtpd_tls_security_level = encrypt", WITH_TLS "smtpd_tls_security_level = encrypt\n", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 530 5.7.0 Must issue a STARTTLS command first\n> NOOP\n< 250\n> STARTTLS\n< 220\nT\n> EHLO c\n< 250\n> MAIL FROM:<a@b.c>\n< 250\n> QUIT\n< 221\n", { 0 } },
	{ "smtpd_enforce_tls = yes", WITH_TLS "smtpd_enforce_tls = yes\n", STRANGER, HELLO "> MAIL FROM:<a@b.c>\n< 530 5.7.0 Must issue a STARTTLS command first\n", { 0 } },
	{ "smtpd_use_tls = yes", WITH_TLS "smtpd_tls_security_level = none\nsmtpd_use_tls = yes\n", STRANGER, SECURED, { 0 } },
	{ "smtpd_tls_received_header = yes", WITH_TLS, STRANGER, SECURED ENVELOPE DATA "> x\n> .\n< 250\nQ (No client certificate requested)\n", { 0 } },
	{ "smtpd_tls_received_header = no", WITH_TLS "smtpd_tls_received_header = no\nsmtpd_tls_loglevel = 0\n", STRANGER, SECURED ENVELOPE DATA "> x\n> .\n< 250\nQ with ESMTPS id\nL! TLS connection established\n", { 0 } },
	{ "RFC 8314 3.3 implicit TLS", WITH_TLS "smtpd_tls_wrappermode = yes\n", STRANGER, "T\n< 220 mail.example.test\n> EHLO c\n< 250\n<! STARTTLS\n> QUIT\n< 221\n! closed\n", { 0 } },
	{ "a handshake that never comes", WITH_TLS "smtpd_tls_wrappermode = yes\nsmtpd_starttls_timeout = 1s\n", STRANGER, "! closed\nE 0\nL SSL_accept error from\n", { 0 } },
	{ "no TLS on an implicit TLS port", WITH_TLS "smtpd_tls_wrappermode = yes\n", STRANGER, "> EHLO c\n! closed\nE 0\nL SSL_accept error from\n", { 0 } },
	/* --- AUTH: RFC 4954 ---------------------------------------------------------------------------------------- */
	{ "RFC 4954 3 AUTH is offered under TLS only", SUBMISSION, STRANGER, HELLO "<! AUTH\n> AUTH PLAIN " PLAIN_GOOD "\n< 538 5.7.11\n> MAIL FROM:<a@b.c>\n< 530 5.7.0 Must issue a STARTTLS\n> STARTTLS\n< 220\nT\n> EHLO c\n< 250\n<~ 250-AUTH PLAIN LOGIN SCRAM-SHA-256\n", { 0 } },
	{ "RFC 6409 4.3 submission needs AUTH", SUBMISSION, "127.0.0.9", SECURED "> MAIL FROM:<a@b.c>\n< 530 5.7.0 Authentication required\n", { 0 } },
	{ "RFC 4954 4 AUTH PLAIN with an initial response", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN " PLAIN_GOOD "\n< 235 2.7.0\n> MAIL FROM:<a@b.c> AUTH=<>\n< 250\n> RCPT TO:<x@foreign.example>\n< 250\n" DATA "> Subject: x\n> \n> .\n< 250\n"
	    "Q with ESMTPSA id\nQ Message-Id: <\nQ Date: \nL client=client.example[192.0.2.1], sasl_method=PLAIN, sasl_username=alice@example.test\nL cleanup: 4ZfakeId1: message-id=<20\n", { 0 } },
	{ "RFC 4954 4 AUTH PLAIN without", SUBMISSION, STRANGER, SECURED "> AUTH plain\n< 334 \n> " PLAIN_GOOD "\n< 235 2.7.0\n", { 0 } },
	{ "RFC 4954 4 the wrong password", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN " PLAIN_BAD "\n< 535 5.7.8\nL client.example[192.0.2.1]: SASL PLAIN authentication failed: authentication failure\n> MAIL FROM:<a@b.c>\n< 530\n", { 0 } },
	{ "a failed login ends three times", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN " PLAIN_BAD "\n< 535\n> AUTH PLAIN " PLAIN_BAD "\n< 535\n> AUTH PLAIN " PLAIN_BAD "\n< 535\n> AUTH PLAIN " PLAIN_GOOD "\n< 421 4.7.0\n! closed\n", { 0 } },
	{ "AUTH LOGIN", SUBMISSION, STRANGER, SECURED "> AUTH LOGIN\n< 334 VXNlcm5hbWU6\n> YWxpY2U=\n< 334 UGFzc3dvcmQ6\n> c2VjcmV0\n< 235\n> AUTH LOGIN\n< 503 5.5.1 Error: already authenticated\n", { 0 } },
	{ "RFC 5802 SCRAM, its proof sent as a last challenge", SUBMISSION, STRANGER, SECURED "> AUTH SCRAM-SHA-256 bixhLG49YQ==\n< 334 cj1ub25jZQ==\n> Yz1iaXdz\n< 334 dj1wcm9vZg==\n>> \\r\\n\n< 235\n", { 0 } },
	{ "RFC 4954 4 an answer to the last challenge that is not empty", SUBMISSION, STRANGER, SECURED "> AUTH SCRAM-SHA-256 bixhLG49YQ==\n< 334\n> Yz1iaXdz\n< 334\n> eA==\n< 501 5.5.2\n> MAIL FROM:<a@b.c>\n< 530\n", { 0 } },
	{ "RFC 4954 4 cancel", SUBMISSION, STRANGER, SECURED "> AUTH LOGIN\n< 334\n> *\n< 501 5.7.0 Authentication aborted\n> AUTH PLAIN " PLAIN_GOOD "\n< 235\n", { 0 } },
	{ "RFC 4954 4 bad base64", SUBMISSION, STRANGER, SECURED "> AUTH LOGIN\n< 334\n> !!!\n< 501 5.5.2\n> AUTH PLAIN =x\n< 501 5.5.2\n> AUTH PLAIN AA\n< 501\n> AUTH PLAIN A A\n< 501 5.5.4\n> AUTH PLAIN " PLAIN_GOOD "\n< 235\n", { 0 } },
	{ "RFC 4954 4 '=' is an initial response of no bytes", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN =\n< 535\n", { 0 } },
	{ "RFC 4954 4 a response too long", SUBMISSION, STRANGER, SECURED "> AUTH LOGIN\n< 334\nZ 13000 A\n>> \\r\\n\n< 500 5.5.6\n> NOOP\n< 250\n", { 0 } },
	{ "RFC 4954 4 an initial response of 12 KB", SUBMISSION, STRANGER, SECURED ">> AUTH PLAIN \nZ 3000 AAAA\n>> \\r\\n\n< 535\n> NOOP\n< 250\n", { 0 } },
	{ "RFC 4954 4 unknown mechanism", SUBMISSION, STRANGER, SECURED "> AUTH CRAM-MD5\n< 504 5.5.4\n> AUTH\n< 501 5.5.4\n> AUTH %n%n%s\n< 504\n", { 0 } },
	{ "RFC 4954 4 not in a transaction", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN " PLAIN_GOOD "\n< 235\n> MAIL FROM:<a@b.c>\n< 250\n> AUTH PLAIN " PLAIN_GOOD "\n< 503 5.5.1\n", { 0 } },
	{ "RFC 4954 6 authd lost", SUBMISSION, STRANGER, SECURED "> AUTH PLAIN bG9zdA==\n< 454 4.7.0\n> NOOP\n< 250\n", { 0 } },
	{ "CVE-2011-1720 connection lost in the exchange", SUBMISSION, STRANGER, SECURED "> AUTH LOGIN\n< 334\nX close\nE 0\nL lost connection after AUTH from\n", { 0 } },
	{ "no AUTH on port 25", WITH_TLS, STRANGER, SECURED "<! AUTH\n> AUTH PLAIN " PLAIN_GOOD "\n< 503 5.5.1 Error: authentication not enabled\n", { 0 } },
	{ "no password without TLS even if allowed", "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = no\n", STRANGER, HELLO "<~ 250-AUTH SCRAM-SHA-256\r\n> AUTH PLAIN " PLAIN_GOOD "\n< 538 5.7.11\n> AUTH LOGIN\n< 538\n> AUTH SCRAM-SHA-256 bixhLG49YQ==\n< 334\n> Yz1iaXdz\n< 334\n>> \\r\\n\n< 235\n", { 0 } },
	/* --- restrictions, through DNS --------------------------------------------------------------------------------- */
	{ "reject_unknown_sender_domain", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", STRANGER, HELLO "> MAIL FROM:<a@gone.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 450 4.1.8\n> RSET\n< 250\n"
	    "> MAIL FROM:<a@sender.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n> RSET\n< 250\n> MAIL FROM:<a@onlya.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n> RSET\n< 250\n"
	    "> MAIL FROM:<a@nomail.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 550 5.7.27\n> RSET\n< 250\n> MAIL FROM:<a@servfail.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 450 4.1.8\n> RSET\n< 250\n"
	    "> MAIL FROM:<a@bogus.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 450\n> RSET\n< 250\n> MAIL FROM:<a@[192.0.2.1]>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n> RSET\n< 250\n> MAIL FROM:<>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n", { 0 } },
	{ "smtpd_delay_reject = no", "smtpd_delay_reject = no\nsmtpd_sender_restrictions = reject_unknown_sender_domain\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n", STRANGER,
	    "< 220\nL connect from client.example\n> EHLO a..b\n< 501 5.5.2\n> EHLO c.example\n< 250\n> MAIL FROM:<a@gone.example>\n< 450 4.1.8\nL reject: MAIL from client.example[192.0.2.1]: 450 4.1.8\n> MAIL FROM:<a@sender.example>\n< 250\n", { 0 } },
	{ "smtpd_delay_reject = no: defer_if_permit waits for RCPT", "smtpd_delay_reject = no\nsmtpd_sender_restrictions = reject_unknown_sender_domain\n", STRANGER,
	    HELLO "> MAIL FROM:<a@servfail.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 450 4.1.8\n> RCPT TO:<x@elsewhere.example>\n< 554 5.7.1\n> RSET\n< 250\n"
	    "> MAIL FROM:<a@sender.example>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n", { 0 } },
	{ "reject_unknown_client_hostname", "smtpd_client_restrictions = permit_mynetworks reject_unknown_client_hostname\n", "192.0.2.2", HELLO "> MAIL FROM:<>\n< 250\n> RCPT TO:<bob@example.test>\n< 450 4.7.25\nL connect from unknown[192.0.2.2]\n", { 0 } },
	{ "reject_unknown_reverse_client_hostname", "smtpd_client_restrictions = reject_unknown_reverse_client_hostname\n", "192.0.2.2", HELLO ENVELOPE, { 0 } },
	{ "a PTR record that would forge the log", "smtpd_client_restrictions = reject_unknown_reverse_client_hostname\n", "192.0.2.3", HELLO "> MAIL FROM:<>\n< 250\n> RCPT TO:<bob@example.test>\n< 450 4.7.1\nL connect from unknown[192.0.2.3]\n", { 0 } },
	{ "no answer from DNS: MAIL waits a little", "", "192.0.2.5", HELLO ENVELOPE "L connect from unknown[192.0.2.5]\n", { 0 } },
	{ "an IPv6 client", "smtpd_peername_lookup = no\n", "2001:db8::1", HELLO ENVELOPE DATA "> x\n> .\n< 250\nQ (unknown [IPv6:2001:db8::1])\nL client=unknown[2001:db8::1]\n", { 0 } },
	{ "end of data restrictions", "smtpd_end_of_data_restrictions = reject\n", STRANGER, HELLO ENVELOPE DATA "> x\n> .\n< 554 5.7.1\nN 0\n> NOOP\n< 250\n", { 0 } },
	/* --- draining ------------------------------------------------------------------------------------------------------ */
	{ "RFC 5321 3.8 the server ends: one more transaction", "", STRANGER, HELLO "D\n> NOOP\n< 250\n" ENVELOPE DATA "> x\n> .\n< 250\nN 1\n> NOOP\n< 421 4.3.2\n! closed\nE 0\n", { 0 } },
	{ "the server ends: a transaction is finished", "", STRANGER, HELLO ENVELOPE "D\n" DATA "> x\n> .\n< 250\nN 1\n> MAIL FROM:<>\n< 421 4.3.2\n! closed\nE 0\n", { 0 } },
	{ "the server ends: QUIT is answered", "", STRANGER, HELLO "D\n> QUIT\n< 221\n! closed\nE 0\n", { 0 } },
};
/* clang-format on */

static void
test_dialogues(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct world w;

		fakes = cases[i].fakes;
		sasl_aborts = 0;
		world_init(&w, cases[i].rule, cases[i].settings);
		client_connect(&w, cases[i].peer);
		play(&w, cases[i].script);
		world_clear(&w);
	}
	print_message("%zu dialogues\n", sizeof cases / sizeof cases[0]);
}

/* Hostile case 9: the client goes after every byte of a dialogue.  Nothing leaks, nothing is committed without
 * its final dot, and the server is left with no session. */
static void
test_lost_at_every_byte(void **state)
{
	static const char dialogue[] =
	    "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nA: b\r\n\r\n.\r\n";
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "lost at every byte", "");
	for (size_t cut = 0; cut < sizeof dialogue; cut++) {
		client_connect(&w, STRANGER);
		send_bytes(&w, dialogue, cut);
		turn(&w);
		drop_client(&w);
		wait_sessions(&w, 0);
		assert_int_equal(w.commits, cut + 1 == sizeof dialogue ? w.commits : 0);
	}
	world_clear(&w);
}

/* The same dialogue however the client's writes are cut: the same replies, the same message. */
static void
test_cut_at_every_byte(void **state)
{
	static const char dialogue[] =
	    "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.\r\nQUIT\r\n";
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "cut at every byte", "");
	for (size_t cut = 0; cut < sizeof dialogue - 1; cut++) {
		client_connect(&w, STRANGER);
		send_bytes(&w, dialogue, cut);
		turn(&w);
		turn(&w);
		send_bytes(&w, dialogue + cut, sizeof dialogue - 1 - cut);
		play(&w,
		    "< 220\n< 250 8BITMIME\n< 250 2.1.0\n< 250 2.1.5\n< 354\n< 250 2.0.0 Ok: queued\n< 221\n! closed\nE 0\n"
		    "Q= A: b\\r\\n\\r\\n.x\\r\\n\n");
		assert_int_equal(w.commits, cut + 1);
	}
	world_clear(&w);
}

static void
test_connection_limits(void **state)
{
	struct world w, *p = &w;
	struct sockaddr_storage peer;
	int first, fds[2];

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(p, "limits",
	    "smtpd_client_connection_count_limit = 1\nsmtpd_client_limit = 2\nsmtpd_peername_lookup = no\n");
	client_connect(p, STRANGER);
	play(p, "< 220\n");
	first = p->fd;
	p->fd = -1;
	client_connect(p, STRANGER);
	play(p,
	    "< 421 4.7.0 mail.example.test Error: too many connections from 192.0.2.1\n! closed\nE 1\n");
	assert_false(p->is_full);
	client_connect(p, "192.0.2.9");
	play(p, "< 220\nE 2\n");
	assert_true(p->is_full);
	drop_client(p);
	wait_sessions(p, 1);
	assert_false(p->is_full);
	/* trusted clients have no such limit */
	for (int i = 0; i < 2; i++) {
		assert_true(addr_parse(view_of("127.0.0.9"), &peer));
		assert_int_equal(
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
		smtpd_server_accept(&p->server, fds[1], &peer);
		close(fds[0]);
	}
	assert_int_equal(p->server.nsessions, 3);
	close(first);
	wait_sessions(p, 0);
	world_clear(p);
}

/* A client that sends commands and never reads: the server stops reading it, holds little, and goes on when it reads. */
static void
test_client_that_does_not_read(void **state)
{
	struct world w;
	size_t sent = 0;
	int small = 4096;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "never reads", "smtpd_junk_command_limit = 1000000\n");
	client_connect(&w, STRANGER);
	setsockopt(w.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	for (int idle = 0; idle < 20;) {
		ssize_t n = send(w.fd, "HELP\r\n", 6, MSG_DONTWAIT | MSG_NOSIGNAL);

		idle = n == 6 ? 0 : idle + 1;
		sent += n == 6;
		loop_run_once(w.loop, n != 6);
	}
	assert_in_range(sent, 1, 1000000);
	assert_int_equal(w.server.nsessions, 1);
	play(&w, "< 220\n");
	for (size_t i = 0; i < sent; i++)
		expect_reply(&w, "214");
	world_clear(&w);
}

static void
test_empty_after_drain(void **state)
{
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "drain", "");
	client_connect(&w, STRANGER);
	play(&w, "< 220\nD\n");
	assert_false(w.is_empty);
	play(&w, "> QUIT\n< 221\nE 0\n");
	assert_true(w.is_empty);
	world_clear(&w);
}

static void
test_size_of_an_idle_session(void **state)
{
	(void)state;
	print_message("struct smtpd_session: %zu bytes\n", sizeof(struct smtpd_session));
	assert_in_range(sizeof(struct smtpd_session), 1, 1023);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_lost_at_every_byte),
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_connection_limits),
		cmocka_unit_test(test_client_that_does_not_read),
		cmocka_unit_test(test_empty_after_drain),
		cmocka_unit_test(test_size_of_an_idle_session),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
