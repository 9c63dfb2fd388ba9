/* The SMTP extensions in dialogues with a whole smtpd session: each case cites the rule it holds the server to. */
#include "tests/unit/smtpd/session_world.h"
#include "smtpd/params.h"
#include "smtpd/session.h"

struct ext_case {
	const char *rule, *settings, *peer, *script;
};

#define STRANGER "192.0.2.1" /* client.example, forward confirmed */
#define FRIEND "127.0.0.9"
#define HELLO "< 220 mail.example.test\n> EHLO c.example\n< 250 8BITMIME\n"
#define MAIL "> MAIL FROM:<a@sender.example>\n< 250 2.1.0\n"
#define RCPT "> RCPT TO:<bob@example.test>\n< 250 2.1.5\n"
#define ENVELOPE MAIL RCPT
#define SEND "> DATA\n< 354\n> A: b\n> \n> .\n< 250 2.0.0\n"

/* clang-format off */
static const struct ext_case dsn_cases[] = {
	{ "RFC 3461 2 EHLO", "", STRANGER, HELLO "<~ 250-DSN\r\n" },
	{ "RFC 3461 4.3, 4.4 RET and ENVID", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> RET=HDRS ENVID=QQ+2B1+20x\n< 250\n" RCPT SEND "V flags=0x8 envid=QQ+2B1+20x\n" },
	{ "RFC 3461 4.3 RET=FULL", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> ret=full\n< 250\n" RCPT SEND "V flags=0x4 envid= \n" },
	{ "RFC 3461 4.3 RET syntax", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> RET=BODY\n< 501 5.5.4\n> MAIL FROM:<a@b.c> RET\n< 501\n> MAIL FROM:<a@b.c> RET=FULL RET=FULL\n< 501 5.5.4 Duplicate\n" },
	{ "RFC 3461 4.4 ENVID syntax", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> ENVID\n< 501\n> MAIL FROM:<a@b.c> ENVID=a+2\n< 501\n> MAIL FROM:<a@b.c> ENVID=a+0A\n< 501\n"
	    "> MAIL FROM:<a@b.c> ENVID=+2b\n< 501\n> MAIL FROM:<a@b.c> ENVID=+C3\n< 501\n> MAIL FROM:<a@b.c> ENVID=x ENVID=x\n< 501\n" },
	{ "RFC 3461 5.4 ENVID of 100 characters, not of 101", "", STRANGER, HELLO
	    "> MAIL FROM:<a@b.c> ENVID=1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890x\n< 501\n"
	    "> MAIL FROM:<a@b.c> ENVID=1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\n< 250\n" },
	{ "RFC 3461 4.1 NOTIFY", "", STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test> NOTIFY=SUCCESS,delay,FAILURE ORCPT=rfc822;Bob+2B1@example.test\n< 250\n"
	    "> RCPT TO:<carol@example.test> NOTIFY=NEVER\n< 250\n> RCPT TO:<dave@example.test>\n< 250\n" SEND
	    "V to=<bob@example.test> orig=<> notify=14 orcpt=rfc822;Bob+2B1@example.test to=<carol@example.test> orig=<> notify=1 orcpt= to=<dave@example.test> orig=<> notify=0 orcpt=\n" },
	{ "RFC 3461 4.1 NOTIFY syntax", "", STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test> NOTIFY=NEVER,SUCCESS\n< 501 5.5.4\n> RCPT TO:<bob@example.test> NOTIFY=\n< 501\n"
	    "> RCPT TO:<bob@example.test> NOTIFY=SUCCESS,SUCCESS\n< 501\n> RCPT TO:<bob@example.test> NOTIFY=SUCCESS,\n< 501\n> RCPT TO:<bob@example.test> NOTIFY=MAYBE\n< 501\n"
	    "> RCPT TO:<bob@example.test> NOTIFY\n< 501\n> RCPT TO:<bob@example.test> NOTIFY=DELAY NOTIFY=DELAY\n< 501\n" RCPT },
	{ "RFC 3461 4.2 ORCPT syntax", "", STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test> ORCPT=bob\n< 501 5.5.4\n> RCPT TO:<bob@example.test> ORCPT=;bob\n< 501\n"
	    "> RCPT TO:<bob@example.test> ORCPT=rfc822;\n< 501\n> RCPT TO:<bob@example.test> ORCPT=rfc822;+0D+0A\n< 501\n> RCPT TO:<bob@example.test> ORCPT=rf_c;x\n< 501\n"
	    "> RCPT TO:<bob@example.test> ORCPT=utf-8;\\x{E4}@x\n< 250\n" },
	{ "RFC 3461 5.2.7 an alias hands on ORCPT and NOTIFY, SUCCESS once", "", STRANGER, HELLO MAIL "> RCPT TO:<list@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;l@x\n< 250\n" SEND
	    "V to=<alice@example.test> orig=<list@example.test> notify=6 orcpt=rfc822;l@x to=<bob@example.test> orig=<list@example.test> notify=4 orcpt=rfc822;l@x\n" },
	{ "RFC 3461 5.2.7 SUCCESS alone leaves the others silent", "", STRANGER, HELLO MAIL "> RCPT TO:<list@example.test> NOTIFY=SUCCESS\n< 250\n" SEND
	    "V to=<alice@example.test> orig=<list@example.test> notify=2 orcpt= to=<bob@example.test> orig=<list@example.test> notify=1 orcpt=\n" },
	{ "smtpd_discard_ehlo_keywords", "smtpd_discard_ehlo_keywords = silent-discard, DSN etrn\n", STRANGER, HELLO "<! DSN\n> MAIL FROM:<a@b.c> RET=FULL\n< 555 5.5.4 Unsupported option: RET\n" MAIL
	    "> RCPT TO:<bob@example.test> NOTIFY=NEVER\n< 555 5.5.4\n" RCPT },
	{ "smtpd_discard_ehlo_keywords takes the last line", "smtpd_discard_ehlo_keywords = 8bitmime\n", STRANGER, "< 220\n> EHLO c\n< 250 LIMITS\n> MAIL FROM:<a@b.c> BODY=8BITMIME\n< 555\n" },
	{ "RFC 1870 6 SIZE twice", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> SIZE=1 SIZE=2\n< 501 5.5.4\n" },
};

static const struct ext_case bdat_cases[] = {
	{ "RFC 3030 2 EHLO", "", STRANGER, HELLO "<~ 250-CHUNKING\r\n" },
	{ "RFC 3030 4.1 one chunk", "", STRANGER, HELLO ENVELOPE ">> BDAT 8 LAST\\r\\nA: b\\r\\n\\r\\n\n< 250 2.0.0 Ok: queued\nQ= A: b\\r\\n\\r\\n\nN 1\n" },
	{ "RFC 3030 4.2 pipelined chunks", "", STRANGER, HELLO ENVELOPE ">> BDAT 4\\r\\nA: bbdat 2\\r\\n\\r\\nBDAT 2\\r\\n\\r\\nBDAT 5\\r\\n..\\r\\n.BDAT 2 last\\r\\n\\r\\nNOOP\\r\\n\n"
	    "< 250 2.0.0 Ok: 4 bytes\n< 250 2.0.0 Ok: 2 bytes\n< 250\n< 250\n< 250 2.0.0 Ok: queued\n< 250\nQ= A: b\\r\\n\\r\\n..\\r\\n.\\r\\n\nN 1\n" },
	{ "RFC 3030 2 BDAT 0 LAST", "", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nA: b\\r\\n\n< 250\n> BDAT 0\n< 250\n> BDAT 0 LAST\n< 250 2.0.0 Ok: queued\nQ= A: b\\r\\n\n" },
	{ "an empty message", "", STRANGER, HELLO ENVELOPE "> BDAT 0 LAST\n< 250 2.0.0\nQ= \nN 1\n" },
	{ "RFC 3030 the last line stays as it is", "", STRANGER, HELLO ENVELOPE ">> BDAT 10 LAST\\r\\nA: b\\r\\n\\r\\nxx\n< 250 2.0.0\nQ= A: b\\r\\n\\r\\nxx\n" },
	{ "RFC 3030 2 not without MAIL; the octets are consumed", "", STRANGER, HELLO ">> BDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 503 5.5.1 Error: need RCPT\n< 250 2.0.0\nN 0\n" },
	{ "RFC 3030 2 not without RCPT", "", STRANGER, HELLO MAIL ">> BDAT 6\\r\\nQUIT\\r\\nBDAT 6 LAST\\r\\nQUIT\\r\\n\n< 503\n< 503\n" ENVELOPE SEND },
	{ "RFC 3030 2 no recipient accepted", "", STRANGER, HELLO MAIL "> RCPT TO:<nobody@example.test>\n< 550\n>> BDAT 6 LAST\\r\\nQUIT\\r\\n\n< 554 5.5.1 Error: no valid\n> NOOP\n< 250\n" },
	{ "RFC 3030 2 not mixed with DATA", "", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nA: b\\r\\n\n< 250\n> DATA\n< 503 5.5.1\n> MAIL FROM:<x@y.z>\n< 503\n> RCPT TO:<carol@example.test>\n< 503 5.5.1 Error: need BDAT or RSET\n>> BDAT 2 LAST\\r\\n\\r\\n\n< 250 2.0.0 Ok: queued\n" },
	{ "RFC 3030 2 RSET between chunks", "", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nA: b\\r\\n\n< 250\n> RSET\n< 250\n>> BDAT 6 LAST\\r\\nC: d\\r\\n\n< 503\n" ENVELOPE ">> BDAT 6 LAST\\r\\nE: f\\r\\n\n< 250 2.0.0 Ok\nQ= E: f\\r\\n\nN 1\n" },
	{ "EHLO and NOOP between chunks", "", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nA: b\\r\\n\n< 250\n> NOOP\n< 250\n> EHLO c\n< 250\n> BDAT 0 LAST\n< 503\nN 0\n" },
	{ "a count that cannot be read", "", STRANGER, HELLO ENVELOPE "> BDAT\n< 521 5.5.4 Syntax: BDAT count [LAST]\n! closed\n" },
	{ "a negative count", "", STRANGER, HELLO ENVELOPE "> BDAT -1\n< 521\n! closed\n" },
	{ "a count of 2^64", "", STRANGER, HELLO ENVELOPE "> BDAT 18446744073709551616\n< 521\n! closed\n" },
	{ "a count of 2^63", "", STRANGER, HELLO ENVELOPE "> BDAT 9223372036854775808 LAST\n< 521\n! closed\n" },
	{ "a count of 2^63 - 1", "", STRANGER, HELLO ENVELOPE ">> BDAT 9223372036854775807 LAST\\r\\nQUIT\\r\\n\nX shut\n! closed\nL lost connection after BDAT (\n" },
	{ "a count of 2^31", "", STRANGER, HELLO ENVELOPE ">> BDAT 2147483648 LAST\\r\\nQUIT\\r\\n\nX shut\n! closed\nN 0\n" },
	{ "a word that is not LAST", "", STRANGER, HELLO ENVELOPE "> BDAT 1 LASTLY\n< 521\n! closed\n" },
	{ "LAST and more", "", STRANGER, HELLO ENVELOPE "> BDAT 1 LAST x\n< 521\n! closed\n" },
	{ "RFC 1870 6.3 too large mid-way", "message_size_limit = 10\n", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nA: b\\r\\nBDAT 6\\r\\nQUIT\\r\\nBDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 250\n< 552 5.3.4\n< 503\n< 250\nN 0\n" },
	{ "RFC 5321 2.3.8 bare LF: refused at the last chunk", "", STRANGER, HELLO ENVELOPE ">> BDAT 10\\r\\nA: b\\n\\r\\n.\\r\\n\n< 250\n>> BDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 550 5.5.2 Error: bare <LF>\n< 250\nN 0\n" },
	{ "RFC 5321 2.3.8 bare CR at the very end", "", STRANGER, HELLO ENVELOPE ">> BDAT 7 LAST\\r\\nA: b\\r\\n\\r\n< 550 5.5.2 Error: bare <CR>\n> NOOP\n< 250\n" },
	{ "a CRLF cut by chunks is one", "", STRANGER, HELLO ENVELOPE ">> BDAT 5\\r\\nA: b\\rBDAT 1 LAST\\r\\n\\n\n< 250\n< 250 2.0.0 Ok: queued\nQ= A: b\\r\\n\n" },
	{ "RFC 5321 2.3.7 NUL", "", STRANGER, HELLO ENVELOPE ">> BDAT 7 LAST\\r\\nA: b\\0\\r\\n\n< 550 5.6.0\n> NOOP\n< 250\n" },
	{ "a large message", "", STRANGER, HELLO ENVELOPE "> BDAT 600000\nZ 60000 12345678\\r\\n\n< 250 2.0.0 Ok: 600000\n> BDAT 600000 LAST\nZ 60000 abcdefgh\\r\\n\n< 250 2.0.0 Ok: queued\nQ 12345678\\r\\nabcdefgh\\r\\n\n" },
	{ "data restrictions refuse: the octets are consumed", "smtpd_data_restrictions = reject\n", STRANGER, HELLO ENVELOPE ">> BDAT 6\\r\\nQUIT\\r\\nBDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 554\n< 503\n< 250\nN 0\n" },
	{ "not offered: the octets are consumed all the same", "smtpd_discard_ehlo_keywords = chunking\n", STRANGER, HELLO "<! CHUNKING\n" ENVELOPE ">> BDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 502\n< 250\n" },
	{ "RFC 3207 4 TLS is required", "tls_cert_file = /cert.pem\nsmtpd_tls_security_level = encrypt\n", STRANGER, HELLO ">> BDAT 6 LAST\\r\\nQUIT\\r\\nNOOP\\r\\n\n< 530\n< 250\n" },
	{ "RFC 3030 3 BINARYMIME is not offered", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> BODY=BINARYMIME\n< 501\n" },
};

static const struct ext_case utf8_cases[] = {
	{ "RFC 6531 3.1 EHLO", "", STRANGER, HELLO "<~ 250-SMTPUTF8\r\n<~ 8BITMIME\n" },
	{ "smtputf8_enable = no", "smtputf8_enable = no\n", STRANGER, HELLO "<! SMTPUTF8\n>> MAIL FROM:<\\xc3\\xa4@b.c>\\r\\n\n< 501 5.1.7\n> MAIL FROM:<a@b.c> SMTPUTF8\n< 555\n" },
	{ "RFC 6531 3.1 not without 8BITMIME", "smtpd_discard_ehlo_keywords = 8bitmime\n", STRANGER, "< 220\n> EHLO c\n< 250\n<! SMTPUTF8\n" },
	{ "RFC 6531 3.4 MAIL and RCPT; 3.7.3 Received:", "", STRANGER, HELLO ">> MAIL FROM:<\\xc3\\xa4@b\\xc3\\xbc.example> SMTPUTF8 BODY=8BITMIME\\r\\n\n< 250\n>> RCPT TO:<b\\xc3\\xb6@example.test> ORCPT=utf-8;b\\xc3\\xb6@x\\r\\n\n< 250\n"
	    "> DATA\n< 354\n>> Subject: \\xc3\\xbc\\r\\n\\r\\n.\\r\\n\n< 250 2.0.0\nV from=<\xc3\xa4@b\xc3\xbc.example> flags=0x3 \nV orcpt=utf-8;b\xc3\xb6@x\nQ with UTF8SMTP id\nQ for <b\\xc3\\xb6@example.test>\n" },
	{ "Postfix 3.7: xtext of 8 bits, rfc822 for what is utf-8", "", STRANGER, HELLO ">> MAIL FROM:<a@b.c> SMTPUTF8\\r\\n\n< 250\n> RCPT TO:<bob@example.test> ORCPT=rfc822;b+C3\n< 501 5.5.4\n"
	    "> RCPT TO:<bob@example.test> ORCPT=rfc822;b+C3+B6+0A@x\n< 501\n> RCPT TO:<bob@example.test> ORCPT=x400;b+C3+B6@x\n< 501\n> RCPT TO:<bob@example.test> ORCPT=rfc822;b+C3+B6+2B1@x\n< 250\n" SEND "V orcpt=utf-8;b\xc3\xb6\\x{2B}1@x\n" },
	{ "Postfix 3.7: and not without SMTPUTF8", "", STRANGER, HELLO MAIL "> RCPT TO:<bob@example.test> ORCPT=rfc822;b+C3+B6@x\n< 501 5.5.4\n" },
	{ "RFC 6531 3.7.3 UTF8SMTPS", "tls_cert_file = /cert.pem\n", STRANGER, HELLO "> STARTTLS\n< 220\nT\n> EHLO c\n< 250\n> MAIL FROM:<a@b.c> SMTPUTF8\n< 250\n" RCPT SEND "Q with UTF8SMTPS id\n" },
	{ "RFC 6531 3.5 a recipient without the keyword", "", STRANGER, HELLO MAIL ">> RCPT TO:<b\\xc3\\xb6@example.test>\\r\\n\n< 553 5.6.7\n>> RCPT TO:<bob@example.test> ORCPT=utf-8;b\\xc3\\xb6@x\\r\\n\n< 501\n" RCPT },
	{ "RFC 6531 3.4 the keyword has no value", "", STRANGER, HELLO "> MAIL FROM:<a@b.c> SMTPUTF8=1\n< 501\n> MAIL FROM:<a@b.c> SMTPUTF8 SMTPUTF8\n< 501\n" },
	{ "RFC 3629 malformed UTF-8", "", STRANGER, HELLO ">> MAIL FROM:<\\xc3@b.c> SMTPUTF8\\r\\n\n< 501 5.1.7\n>> MAIL FROM:<\\xc0\\x80@b.c> SMTPUTF8\\r\\n\n< 501 5.1.7\n>> MAIL FROM:<a@\\xed\\xa0\\x80.c> SMTPUTF8\\r\\n\n< 501\n" },
	{ "reject_unknown_sender_domain asks for A-labels", "smtpd_sender_restrictions = reject_unknown_sender_domain\n", STRANGER, HELLO ">> MAIL FROM:<a@b\\xc3\\xbccher.example> SMTPUTF8\\r\\n\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n" },
	{ "RFC 6531 3.7.4.2 VRFY", "", STRANGER, HELLO ">> VRFY b\\xc3\\xb6 SMTPUTF8\\r\\n\n< 252\n" },
};

#define WITH_TLS "tls_cert_file = /cert.pem\n"
#define SECURED HELLO "> STARTTLS\n< 220\nT\n> EHLO c\n< 250 8BITMIME\n"
static const struct ext_case tls_cases[] = {
	{ "RFC 8689 2 not offered in the clear", WITH_TLS, STRANGER, HELLO "<! REQUIRETLS\n> MAIL FROM:<a@b.c> REQUIRETLS\n< 555\n" },
	{ "RFC 8689 2 under TLS", WITH_TLS, STRANGER, SECURED "<~ 250-REQUIRETLS\r\n> MAIL FROM:<a@b.c> REQUIRETLS=1\n< 501\n> MAIL FROM:<a@b.c> REQUIRETLS\n< 250\n" RCPT SEND "V flags=0x60 \n" },
	{ "RFC 8689 3 TLS-Required: No", "", STRANGER, HELLO ENVELOPE "> DATA\n< 354\n> Tls-Required:  nO \n> A: b\n> \n> .\n< 250\nV flags=0x100 \n" },
	{ "RFC 8689 3 TLS-Required: Nothing", "", STRANGER, HELLO ENVELOPE "> DATA\n< 354\n> TLS-Required: Nothing\n> \n> TLS-Required: No\n> .\n< 250\nV flags=0x0 \n" },
	{ "RFC 8689 4.1 REQUIRETLS counts more", WITH_TLS, STRANGER, SECURED "> MAIL FROM:<a@b.c> REQUIRETLS\n< 250\n" RCPT "> DATA\n< 354\n> TLS-Required: No\n> \n> .\n< 250\nV flags=0x60 \n" },
	{ "RFC 9422 LIMITS", "smtpd_recipient_limit = 7\n", STRANGER, HELLO "<~ 250-LIMITS RCPTMAX=7\r\n" },
	{ "LIMITS is discarded", "smtpd_discard_ehlo_keywords = limits\n", STRANGER, HELLO "<! LIMITS\n" },
	{ "what is not done is not offered", "", STRANGER, HELLO "<! MT-PRIORITY\n<! DELIVERBY\n<! ETRN\n> MAIL FROM:<a@b.c> BY=120;R\n< 555\n> MAIL FROM:<a@b.c> MT-PRIORITY=3\n< 555\n" },
};

#define PROXIED "smtpd_upstream_proxy_protocol = haproxy\n"
static const struct ext_case proxy_cases[] = {
	{ "PROXY version 1", PROXIED, FRIEND, ">> PROXY TCP4 192.0.2.1 198.51.100.2 56324 25\\r\\n\n" HELLO "L connect from client.example[192.0.2.1]\n> MAIL FROM:<a@b.c>\n< 250\n> RCPT TO:<x@foreign.example>\n< 554 5.7.1\n"
	    RCPT SEND "V client=client.example[192.0.2.1]:56324 \n" },
	{ "PROXY version 2, and mynetworks by the client's address", PROXIED, STRANGER, ">> \\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x21\\x11\\x00\\x0c\\x7f\\x00\\x00\\x09\\xc6\\x33\\x64\\x02\\x01\\x00\\x00\\x19\n" HELLO
	    MAIL "> RCPT TO:<x@foreign.example>\n< 250\n" },
	{ "PROXY UNKNOWN: the proxy's own address", PROXIED, STRANGER, ">> PROXY UNKNOWN\\r\\n\n" HELLO "L connect from client.example[192.0.2.1]\n" },
	{ "PROXY in pieces", PROXIED, FRIEND, ">> PROXY TCP4 192.0\nW 60\n>> .2.1 198.51.100.2 1 25\\r\nW 60\n>> \\n\n" HELLO },
	{ "PROXY and the client's TLS handshake in one piece", PROXIED "smtpd_tls_wrappermode = yes\ntls_cert_file = /cert.pem\n", FRIEND, ">> PROXY TCP4 192.0.2.1 198.51.100.2 1 25\\r\\n\nT\n" HELLO "L connect from client.example[192.0.2.1]\n" },
	{ "no PROXY header", PROXIED, STRANGER, "> EHLO x\n! closed\nL haproxy read: no PROXY header, client 192.0.2.1\nE 0\n" },
	{ "the proxy goes", PROXIED, STRANGER, ">> PROXY \nX shut\n! closed\nE 0\n" },
	{ "smtpd_upstream_proxy_timeout", PROXIED "smtpd_upstream_proxy_timeout = 1s\n", STRANGER, ">> PROXY \n! closed\nL haproxy read: timeout, client 192.0.2.1\n" },
	{ "smtpd_upstream_proxy_timeout, and not a byte", PROXIED "smtpd_upstream_proxy_timeout = 1s\n", STRANGER, "! closed\nL haproxy read: timeout, client 192.0.2.1\n" },
	{ "the server ends meanwhile", PROXIED, STRANGER, ">> PROXY \nW 10\nD\n! closed\n" },
};

#define TRUSTED "smtpd_authorized_xclient_hosts = 192.0.2.1 127.0.0.9\nsmtpd_authorized_xforward_hosts = 192.0.2.1\n"
static const struct ext_case xclient_cases[] = {
	{ "XCLIENT is for those who may", "", STRANGER, HELLO "<! XCLIENT\n<! XFORWARD\n> XCLIENT ADDR=127.0.0.1\n< 550 5.7.0\n> XFORWARD NAME=x\n< 550 5.7.0\n" },
	{ "XCLIENT: EHLO", TRUSTED, STRANGER, HELLO "<~ 250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n<~ 250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n" },
	{ "XCLIENT: another client, greeted again", TRUSTED, FRIEND, HELLO "> XCLIENT NAME=spike.example ADDR=198.51.100.7 PORT=4711\n< 220 mail.example.test\n> EHLO x\n< 250\n<! XCLIENT\n"
	    MAIL "> RCPT TO:<x@foreign.example>\n< 554 5.7.1\nL from spike.example[198.51.100.7]\n" RCPT SEND "V client=spike.example[198.51.100.7]:4711 helo=x proto=ESMTP\nE 1\nX close\nE 0\n" },
	{ "XCLIENT: IPv6, name looked up, not for ever trusted", TRUSTED, STRANGER, HELLO "> XCLIENT ADDR=IPV6:::1\n< 220\n> XCLIENT ADDR=192.0.2.2\n< 550\n> EHLO x\n< 250\n" MAIL "> RCPT TO:<x@foreign.example>\n< 250\n" },
	{ "XCLIENT: name looked up", TRUSTED, FRIEND, HELLO "> XCLIENT ADDR=192.0.2.1\n< 220\n> EHLO x\n< 250\n" ENVELOPE SEND "V client=client.example[192.0.2.1]\n" },
	{ "XCLIENT: HELO, PROTO, LOGIN", TRUSTED, STRANGER, HELLO "> xclient helo=spike+2Eexample proto=ESMTP login=alice@example.test\n< 220\n" MAIL "> RCPT TO:<x@foreign.example>\n< 250\n" SEND
	    "V helo=spike.example proto=ESMTP login=alice@example.test\nL sasl_method=XCLIENT, sasl_username=alice@example.test\n" },
	{ "XCLIENT: what was said before is forgotten", TRUSTED, STRANGER, HELLO "> XCLIENT HELO=x LOGIN=a@b\n< 220\n> XCLIENT PROTO=SMTP\n< 220\n" MAIL "> RCPT TO:<x@foreign.example>\n< 554 5.7.1\n" },
	{ "XCLIENT: [UNAVAILABLE], [TEMPUNAVAIL]", TRUSTED "smtpd_client_restrictions = reject_unknown_client_hostname\n", STRANGER, HELLO "> XCLIENT NAME=[TEMPUNAVAIL] ADDR=192.0.2.1\n< 220\n" MAIL "> RCPT TO:<bob@example.test>\n< 450 4.7.25\n> RSET\n< 250\n"
	    "> XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]\n< 220\n" MAIL "> RCPT TO:<bob@example.test>\n< 450 4.7.\nL from unknown[unknown]\n" },
	{ "XCLIENT: syntax", TRUSTED, STRANGER, HELLO "> XCLIENT\n< 501\n> XCLIENT FOO=1\n< 501 5.5.4 Bad XCLIENT attribute: FOO=1\n> XCLIENT ADDR\n< 501\n> XCLIENT ADDR=x\n< 501\n> XCLIENT PORT=65536\n< 501\n> XCLIENT NAME=a+0Ab\n< 501\n"
	    "> XCLIENT PROTO=X\n< 501\n> XCLIENT HELO=+4\n< 501\n> XCLIENT IDENT=x\n< 501\n> XCLIENT DESTADDR=1.2.3\n< 501\n> XCLIENT NAME=-x-\n< 501\n" },
	{ "XCLIENT: not within a transaction", TRUSTED, STRANGER, HELLO MAIL "> XCLIENT ADDR=127.0.0.1\n< 503 5.5.1\n" },
	{ "XFORWARD: the log and the envelope, for one message", TRUSTED, STRANGER, HELLO "> XFORWARD NAME=spike.example ADDR=198.51.100.7 PORT=99\n< 250 2.0.0\n> XFORWARD PROTO=SMTP HELO=x+3Cy IDENT=4ZabcQ SOURCE=REMOTE\n< 250\n" MAIL "> RCPT TO:<x@foreign.example>\n< 554\n" RCPT SEND
	    "L client=client.example[192.0.2.1], orig_queue_id=4ZabcQ, orig_client=spike.example[198.51.100.7]\nV client=spike.example[198.51.100.7]:99 helo=x?y proto=SMTP\n" ENVELOPE SEND "V client=client.example[192.0.2.1]\n" },
	{ "XFORWARD: unknown values", TRUSTED, STRANGER, HELLO "> XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]\n< 250\n" ENVELOPE SEND "V client=unknown[unknown]: helo= proto=ESMTP\n" },
	{ "XFORWARD: syntax", TRUSTED, STRANGER, HELLO "> XFORWARD LOGIN=x\n< 501\n> XFORWARD SOURCE=x\n< 501\n> XFORWARD\n< 501\n" MAIL "> XFORWARD NAME=x\n< 503\n" },
};

#define SUBMITTED "smtpd_submission = yes\n" WITH_TLS
#define LOGIN SECURED "> AUTH PLAIN AGFsaWNlAHNlY3JldA==\n< 235\n"
static const struct ext_case return_path_cases[] = {
	{ "RFC 5321 4.4 submission sends no Return-Path", SUBMITTED, STRANGER, LOGIN ENVELOPE "> DATA\n< 354\n> Return-Path: <x@y>\n>  folded\n> Date: x\n> Message-Id: <m@x>\n> \n> Return-Path: b\n> .\n< 250\nQ= Date: x\\r\\nMessage-Id: <m@x>\\r\\n\\r\\nReturn-Path: b\\r\\n\n" },
	{ "BDAT, cut within the name", SUBMITTED, STRANGER, LOGIN ENVELOPE ">> BDAT 9\\r\\nA: b\\r\\nRetBDAT 17 LAST\\r\\nurn-Path: x\\r\\n\\r\\nRe\n< 250\n< 250 2.0.0 Ok: queued\nQ= A: b\\r\\n\\r\\nRe\n" },
	{ "BDAT, an end that is still held", SUBMITTED, STRANGER, LOGIN ENVELOPE ">> BDAT 12 LAST\\r\\nA: b\\r\\nReturn\n< 250\nQ= A: b\\r\\nReturn\n" },
	{ "message_drop_headers: of every message, as Postfix's cleanup", "", STRANGER, HELLO ENVELOPE "> DATA\n< 354\n> Return-Path: x\n> BCC: y@z\n> A: b\n> \n> .\n< 250\nQ= A: b\\r\\n\\r\\n\n" },
	{ "message_drop_headers: none", "message_drop_headers =\n", STRANGER, HELLO ENVELOPE "> DATA\n< 354\n> Return-Path: x\n> \n> .\n< 250\nQ= Return-Path: x\\r\\n\\r\\n\n" },
	{ "a large header is cut nowhere", SUBMITTED, STRANGER, LOGIN ENVELOPE "> DATA\n< 354\n> Return-Path: x\nZ 9000 A: 12345678\\r\\n\n> Return-Path: y\n> Z: z\n> \n> .\n< 250\nQ A: 12345678\\r\\nZ: z\\r\\n\n" },
};

#define LMTP "smtpd_lmtp = yes\n"
#define LHLO "< 220\n> LHLO c.example\n< 250 8BITMIME\n"
static const struct ext_case lmtp_cases[] = {
	{ "RFC 2033 4.1 LHLO is not SMTP's", "", STRANGER, "< 220\n> LHLO c\n< 500 5.5.2\n> EHLO c\n< 250 8BITMIME\n" },
	{ "RFC 2033 4.1 HELO and EHLO are not LMTP's", LMTP, STRANGER, "< 220\n> EHLO c\n< 500 5.5.2\n> HELO c\n< 500\n> LHLO\n< 501 Syntax: LHLO\n> LHLO c\n< 250 8BITMIME\n<~ 250-PIPELINING\n<~ 250-ENHANCEDSTATUSCODES\n" },
	{ "RFC 2033 4.2 one reply for each recipient", LMTP, STRANGER, LHLO MAIL RCPT "> RCPT TO:<nobody@example.test>\n< 550\n> RCPT TO:<carol@example.test>\n< 250\n> RCPT TO:<bob@example.test>\n< 250\n"
	    "> DATA\n< 354\n> A: b\n> \n> .\n< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok: queued\n> NOOP\n< 250 2.0.0 Ok\nR bob@example.test carol@example.test\nQ with LMTP id\nV proto=LMTP\n" },
	{ "RFC 2033 4.2 refused for each", LMTP, STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n> DATA\n< 354\n>> a\\rb\\r\\n.\\r\\n\n< 550 5.5.2\n< 550 5.5.2\n> NOOP\n< 250 2.0.0 Ok\n" },
	{ "RFC 2033 4.2 refused by a restriction", LMTP "smtpd_end_of_data_restrictions = reject\n", STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n> DATA\n< 354\n> .\n< 554\n< 554\n> NOOP\n< 250\n" },
	{ "RFC 2033 4.2 DATA without recipients", LMTP, STRANGER, LHLO MAIL "> DATA\n< 503\n> RCPT TO:<nobody@example.test>\n< 550\n> DATA\n< 554\n" },
	{ "BDAT LAST: one reply for each", LMTP, STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n>> BDAT 2\\r\\n\\r\\nBDAT 2 LAST\\r\\n\\r\\n\n< 250 2.0.0 Ok: 2\n< 250 2.0.0 Ok: queued\n< 250 2.0.0 Ok: queued\n> NOOP\n< 250\n" },
	{ "BDAT LAST behind a chunk that was refused: one reply for each", LMTP "message_size_limit = 10\n", STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n"
	    ">> BDAT 20\\r\\n012345678901234567\\r\\nBDAT 2\\r\\n\\r\\nBDAT 2 LAST\\r\\n\\r\\n\n< 552\n< 503\n< 503\n< 503\n> NOOP\n< 250\n>> BDAT 0 LAST\\r\\n\n< 503\n> NOOP\n< 250\n" },
	{ "BDAT LAST that a restriction refuses: one reply for each", LMTP "smtpd_data_restrictions = reject\n", STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n"
	    ">> BDAT 2 LAST\\r\\n\\r\\n\n< 554\n< 554\n>> BDAT 0 LAST\\r\\n\n< 503\n> NOOP\n< 250\n" },
	{ "BDAT LAST behind one that was taken", LMTP, STRANGER, LHLO MAIL RCPT "> RCPT TO:<carol@example.test>\n< 250\n>> BDAT 2 LAST\\r\\n\\r\\nBDAT 0 LAST\\r\\n\n< 250\n< 250\n< 503\n> NOOP\n< 250\n" },
	{ "relaying is refused as elsewhere", LMTP, STRANGER, LHLO MAIL "> RCPT TO:<x@foreign.example>\n< 554 5.7.1\n" },
	{ "a client on a Unix socket is one of mynetworks", LMTP, "unix", LHLO "L connect from local[local]\n" MAIL "> RCPT TO:<x@foreign.example>\n< 250\n" SEND "V client=local[local]: \n" },
};

static const struct ext_case recipient_cases[] = {
	{ "recipients are found though no restriction asks", "smtpd_reject_unlisted_recipient = no\nsmtpd_relay_restrictions = permit_mynetworks, reject\n", FRIEND, HELLO ENVELOPE SEND "N 1\nR bob@example.test\n" },
	{ "smtpd_reject_unlisted_recipient = no", "smtpd_reject_unlisted_recipient = no\nsmtpd_relay_restrictions = permit_mynetworks, reject\n", FRIEND, HELLO MAIL "> RCPT TO:<nobody@example.test>\n< 250\n" SEND "N 1\nR nobody@example.test\n" },
};

/* smtpd_forbid_bare_newline */
#define BARE "> DATA\n< 354\n>> A: b\\n\\r\\nx\\n.\\r\\ny\\r\\n.\\nz\\r\\n.\\r\\n\n"
#define MADE_CRLF "< 250 2.0.0\nQ= A: b\\r\\n\\r\\nx\\r\\n.\\r\\ny\\r\\n\\r\\nz\\r\\n\nN 1\n"
static const struct ext_case newline_cases[] = {
	{ "smtpd_forbid_bare_newline by default", "", STRANGER, HELLO ENVELOPE BARE "< 550 5.5.2\nN 0\n> NOOP\n< 250\n" },
	{ "smtpd_forbid_bare_newline_exclusions", "smtpd_forbid_bare_newline_exclusions = $mynetworks\n", FRIEND, HELLO ENVELOPE BARE MADE_CRLF },
	{ "no exclusions by default", "", FRIEND, HELLO ENVELOPE BARE "< 550 5.5.2\n" },
	{ "smtpd_forbid_bare_newline = normalize", "smtpd_forbid_bare_newline = normalize\n", STRANGER, HELLO ENVELOPE BARE MADE_CRLF },
	{ "smtpd_forbid_bare_newline = yes", "smtpd_forbid_bare_newline = yes\n", STRANGER, HELLO ENVELOPE BARE MADE_CRLF },
	{ "smtpd_forbid_bare_newline = no", "smtpd_forbid_bare_newline = no\n", STRANGER, HELLO ENVELOPE BARE MADE_CRLF },
	{ "a bare CR is always refused", "", FRIEND, HELLO ENVELOPE "> DATA\n< 354\n>> A: b\\rc\\r\\n.\\r\\n\n< 550 5.5.2 Error: bare <CR>\n" },
	{ "BDAT too", "smtpd_forbid_bare_newline = normalize\n", FRIEND, HELLO ENVELOPE ">> BDAT 10 LAST\\r\\nA: b\\n\\n.\\r\\n.\n< 250 2.0.0\nQ= A: b\\r\\n\\r\\n.\\r\\n.\n" },
	{ "a message of nothing but LF", "smtpd_forbid_bare_newline = normalize\n", STRANGER, HELLO ENVELOPE "> DATA\n< 354\nZ 400000 \\n\n>> \\r\\n.\\r\\n\n< 250 2.0.0\n" },
};
/* clang-format on */

static void
play_cases(const struct ext_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct world w;

		fakes = (struct fakes){ 0 };
		world_init(&w, cases[i].rule, cases[i].settings);
		client_connect(&w, cases[i].peer);
		play(&w, cases[i].script);
		world_clear(&w);
	}
}
#define PLAY(cases) play_cases(cases, sizeof cases / sizeof cases[0])

static void
test_dsn(void **state)
{
	(void)state;
	PLAY(dsn_cases);
}

static void
test_bdat(void **state)
{
	(void)state;
	PLAY(bdat_cases);
}

static void
test_smtputf8(void **state)
{
	(void)state;
	PLAY(utf8_cases);
}

static void
test_requiretls_limits(void **state)
{
	(void)state;
	PLAY(tls_cases);
}

static void
test_proxy(void **state)
{
	(void)state;
	PLAY(proxy_cases);
}

static void
test_xclient(void **state)
{
	(void)state;
	PLAY(xclient_cases);
}

static void
test_lmtp(void **state)
{
	(void)state;
	PLAY(lmtp_cases);
}

static void
test_return_path(void **state)
{
	(void)state;
	PLAY(return_path_cases);
}

static void
test_recipients(void **state)
{
	(void)state;
	PLAY(recipient_cases);
}

static void
test_bare_newline(void **state)
{
	(void)state;
	PLAY(newline_cases);
}

/* The same dialogue however the client's writes are cut: the same replies, the same message. */
static void
test_bdat_cut_at_every_byte(void **state)
{
	static const char dialogue[] =
	    "EHLO c\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<bob@example.test>\r\nBDAT 7\r\nA: b\r\n\rBDAT 5 LAST\r\n\n..\r\nQUIT\r\n";
	struct world w;

	(void)state;
	fakes = (struct fakes){ 0 };
	world_init(&w, "BDAT cut at every byte", "");
	for (size_t cut = 0; cut < sizeof dialogue - 1; cut++) {
		client_connect(&w, STRANGER);
		send_bytes(&w, dialogue, cut);
		turn(&w);
		turn(&w);
		send_bytes(&w, dialogue + cut, sizeof dialogue - 1 - cut);
		play(&w,
		    "< 220\n< 250\n< 250\n< 250\n< 250 2.0.0 Ok: 7\n< 250 2.0.0 Ok: queued\n< 221\n! closed\n"
		    "Q= A: b\\r\\n\\r\\n..\\r\\n\n");
	}
	world_clear(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dsn),
		cmocka_unit_test(test_bdat),
		cmocka_unit_test(test_bdat_cut_at_every_byte),
		cmocka_unit_test(test_smtputf8),
		cmocka_unit_test(test_requiretls_limits),
		cmocka_unit_test(test_proxy),
		cmocka_unit_test(test_xclient),
		cmocka_unit_test(test_lmtp),
		cmocka_unit_test(test_return_path),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_bare_newline),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
