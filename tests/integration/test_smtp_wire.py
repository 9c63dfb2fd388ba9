"""SMTP as it stands on the wire: one row a case, each on a connection of its own to a running suite."""
import base64
import collections
import itertools

import pytest

import sample
from instance import Instance, auth_plain, wait_until
from smtp_wire import CLOSED, TLS, Wire

SERVICES = sample.MASTER_CF + """
{ip}:2540  inet n - y - 1 smtpd -o smtpd_lmtp=yes
{ip}:2541  inet n - y - 1 smtpd -o smtpd_upstream_proxy_protocol=haproxy
{ip}:2542  inet n - y - 1 smtpd -o smtpd_hard_error_limit=4 -o smtpd_recipient_limit=2
  -o smtpd_recipient_overshoot_limit=2 -o smtpd_junk_command_limit=3 -o message_size_limit=5000 -o hopcount_limit=3
  -o smtpd_data_line_limit=2000 -o header_size_limit=2000
  -o smtpd_recipient_restrictions=reject_unknown_recipient_domain
{ip}:2543  inet n - y - 1 smtpd -o smtpd_tls_security_level=encrypt -o smtpd_helo_required=yes
{ip}:2544  inet n - y - 1 smtpd -o smtpd_authorized_xclient_hosts=127.0.0.0/8
  -o smtpd_authorized_xforward_hosts=127.0.0.0/8
{ip}:2545  inet n - y - 1 smtpd -o smtpd_discard_ehlo_keywords=chunking,dsn,smtputf8,size,8bitmime,starttls,auth
  -o smtpd_sasl_auth_enable=yes
  -o strict_rfc821_envelopes=yes -o disable_vrfy_command=yes -o smtpd_helo_required=yes
{ip}:2547  inet n - y - 1 smtpd -o smtpd_lmtp=yes -o always_bcc=carol@example.test
{ip}:2548  inet n - y - 1 smtpd -o smtpd_lmtp=yes
  -o smtpd_sender_restrictions=check_sender_access,regexp:$config_directory/redirect
{ip}:2549  inet n - y - 1 smtpd -o smtpd_lmtp=yes -o smtpd_data_restrictions=reject
{ip}:2546  inet n - y - 1 smtpd -o smtpd_data_restrictions=reject_unauth_pipelining
"""
MAIN_CF = """
smtpd_peername_lookup = no
smtpd_error_sleep_time = 0s
smtpd_forbid_bare_newline_exclusions = $mynetworks
"""

Listener = collections.namedtuple("Listener", "port greeting source tls")


def listener(port, greeting="< 220 mail.example.test ESMTP", source=None, tls=False):
    return Listener(port, (greeting,) if greeting else (), source, tls)


SMTP = listener(2525)
TRUSTED = listener(2525, source="127.0.0.1")
SUBMISSION, SUBMISSIONS = listener(2587), listener(2465, tls=True)
LMTP, PROXY, TIGHT, ENCRYPT = listener(2540), listener(2541, None), listener(2542), listener(2543)
XCLIENT, PLAINEST, STEPWISE = listener(2544), listener(2545), listener(2546)

HELLO = ("> EHLO c.example", "< 250")
MAIL = ("> MAIL FROM:<a@sender.example>", "< 250 2.1.0")
RCPT = ("> RCPT TO:<bob@example.test>", "< 250 2.1.5")
NOBODY = ("> RCPT TO:<nobody@example.test>", "< 550 5.1.1")
DATA = ("> DATA", "< 354")
OPEN = HELLO + MAIL + RCPT
QUEUED = "< 250 2.0.0 queued as"
NOOP = ("> NOOP", "< 250 2.0.0")
QUIT = ("> QUIT", "< 221 2.0.0", CLOSED)
SECURED = HELLO + ("> STARTTLS", "< 220 2.0.0", TLS) + HELLO
GOOD, BAD = auth_plain("alice@example.test", "secret"), auth_plain("alice@example.test", "wrong")
LOGIN = HELLO + ("> AUTH PLAIN " + GOOD, "< 235 2.7.0")
BYE_TOO_MANY = ("< 421 4.7.0 too many errors", CLOSED)
ALWAYS = "PIPELINING,SIZE 52428800,ENHANCEDSTATUSCODES,DSN,CHUNKING,SMTPUTF8,8BITMIME,LIMITS RCPTMAX=1000"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
PROXIED = b"PROXY TCP4 192.0.2.77 198.51.100.1 4711 25\r\n"

ROWS = []


def b64(text):
    return base64.b64encode(text.encode()).decode()


def row(rfc, what, *script, on=SMTP, kept=None):
    """kept: how a message in bob's mailbox ends."""
    flat = itertools.chain.from_iterable(s if isinstance(s, tuple) else (s,) for s in script)
    ROWS.append(pytest.param(len(ROWS), on, tuple(flat), kept, id="RFC %s %s" % (rfc, what)))


def message(subject, content=b""):
    return b"Subject: %s\r\n\r\n%s" % (subject, content)


def bdat(data, last=" LAST"):
    return b"BDAT %d%s\r\n" % (len(data), last.encode()) + data


# --- the greeting, EHLO, HELO
row("5321 3.1", "greeting and QUIT")
row("5321 4.1.1.1", "EHLO in the clear", "> EHLO c.example", "< 250 =STARTTLS," + ALWAYS)
row("5321 4.1.1.1", "first line of EHLO's reply is the domain", "> EHLO c.example", "< 250 mail.example.test")
row("3207 4.2", "EHLO under TLS", HELLO, "> STARTTLS", "< 220", TLS, "> EHLO c.example", "< 250 =REQUIRETLS," + ALWAYS)
row("4954 3", "EHLO of submission in the clear hides AUTH", "> EHLO c.example", "< 250 =STARTTLS," + ALWAYS,
    on=SUBMISSION)
row("4954 3", "EHLO of submission under TLS shows AUTH", HELLO, "> STARTTLS", "< 220", TLS, "> EHLO c.example",
    "< 250 =AUTH PLAIN LOGIN SCRAM-SHA-256,REQUIRETLS," + ALWAYS, on=SUBMISSION)
row("8314 3.3", "implicit TLS shows AUTH at once", "> EHLO c.example",
    "< 250 =AUTH PLAIN LOGIN SCRAM-SHA-256,REQUIRETLS," + ALWAYS, on=SUBMISSIONS)
row("4954 4", "EHLO after AUTH no longer shows it", LOGIN, "> EHLO c.example", "< 250 =REQUIRETLS," + ALWAYS,
    on=SUBMISSIONS)
row("5321 4.1.1.1", "EHLO where extensions are switched off", "> EHLO c.example",
    "< 250 =PIPELINING,ENHANCEDSTATUSCODES,LIMITS RCPTMAX=1000", on=PLAINEST)
row("9422 4", "LIMITS tells a smaller limit", "> EHLO c.example", "< 250 LIMITS RCPTMAX=2", on=TIGHT)
row("1870 3", "SIZE tells the limit", "> EHLO c.example", "< 250 SIZE 5000", on=TIGHT)
row("2033 4.1", "LHLO", "> LHLO c.example", "< 250 =STARTTLS," + ALWAYS, on=LMTP)
row("2033 4.1", "EHLO and HELO on LMTP", "> EHLO c.example", "< 500", "> HELO c.example", "< 500", on=LMTP)
row("2033 4.1", "LHLO on SMTP", "> LHLO c.example", "< 500 5.5.2")
row("5321 4.1.1.1", "HELO", "> HELO c.example", "< 250 mail.example.test")
row("5321 4.1.1.1", "HELO's reply is one line", "> HELO c.example", "< 250 =")
row("5321 4.1.1.1", "EHLO without a name", "> EHLO", "< 501")
row("5321 4.1.1.1", "HELO without a name", "> HELO ", "< 501")
row("5321 4.1.3", "EHLO with an address literal", "> EHLO [192.0.2.1]", "< 250")
row("5321 4.1.3", "EHLO with an IPv6 literal", "> EHLO [IPv6:2001:db8::1]", "< 250")
row("5321 2.4", "verbs in any case", "> eHlO c.example", "< 250", "> mAiL fRoM:<a@b.example>", "< 250 2.1.0",
    "> rCpT tO:<bob@example.test>", "< 250 2.1.5", "> rset", "< 250 2.0.0")
row("5321 4.1.4", "EHLO resets", OPEN, HELLO, "> DATA", "< 503 5.5.1")
row("5321 4.1.4", "HELO resets", OPEN, "> HELO c.example", "< 250", "> RCPT TO:<bob@example.test>", "< 503 5.5.1")
row("5321 4.1.4", "EHLO in bad form changes nothing", OPEN, "> EHLO", "< 501", DATA, "> x\r\n.", QUEUED)
row("5321 4.1.4", "MAIL without EHLO", MAIL)
row("5321 4.1.4", "MAIL without EHLO where it is asked for", "> MAIL FROM:<a@sender.example>", "< 503 5.5.1", HELLO,
    MAIL, on=PLAINEST)
row("6531 3.7.1", "EHLO with bytes beyond ASCII", b"EHLO b\xc3\xbccher.example\r\n", "< 250", MAIL)

# --- commands out of turn
row("5321 4.1.4", "RCPT without MAIL", HELLO, "> RCPT TO:<bob@example.test>", "< 503 5.5.1")
row("5321 4.1.4", "DATA without MAIL", HELLO, "> DATA", "< 503 5.5.1")
row("5321 4.1.4", "DATA before EHLO", "> DATA", "< 503 5.5.1")
row("5321 3.3", "DATA without RCPT", HELLO, MAIL, "> DATA", "< 503 5.5.1")
row("5321 3.3", "DATA without a recipient accepted", HELLO, MAIL, NOBODY, "> DATA", "< 554 5.5.1", RCPT, DATA,
    "> x\r\n.", QUEUED)
row("5321 4.1.4", "MAIL twice", OPEN, "> MAIL FROM:<b@sender.example>", "< 503 5.5.1", DATA, "> x\r\n.", QUEUED)
row("5321 4.1.4", "RCPT after a message", OPEN, DATA, "> x\r\n.", QUEUED, "> RCPT TO:<bob@example.test>", "< 503 5.5.1")
row("3207 4", "STARTTLS in a transaction", OPEN, "> STARTTLS", "< 503 5.5.1", DATA, "> x\r\n.", QUEUED)
row("4954 4", "AUTH in a transaction", LOGIN, MAIL, "> AUTH PLAIN " + GOOD, "< 503 5.5.1", on=SUBMISSIONS)
row("4954 4", "AUTH before EHLO", "> AUTH PLAIN " + GOOD, "< 503 5.5.1", on=SUBMISSIONS)
row("5321 4.1.1.5", "RSET ends a transaction", OPEN, "> RSET", "< 250 2.0.0", "> DATA", "< 503 5.5.1", MAIL, RCPT)
row("5321 4.1.1.5", "RSET before EHLO", "> RSET", "< 250 2.0.0", NOOP)
row("5321 4.1.1.5", "RSET leaves EHLO", HELLO, "> RSET", "< 250 2.0.0", MAIL, on=PLAINEST)
row("5321 4.1.1.5", "RSET with an argument", OPEN, "> RSET x", "< 501 5.5.4", DATA, "> x\r\n.", QUEUED)
row("5321 4.1.1.4", "DATA with an argument", OPEN, "> DATA x", "< 501 5.5.4", DATA, "> x\r\n.", QUEUED)
row("5321 4.1.1.10", "QUIT with an argument", "> QUIT now", "< 501 5.5.4")
row("5321 4.1.1.10", "QUIT in a transaction", OPEN)
row("5321 4.1.1.9", "NOOP with a string", "> NOOP anything at all", "< 250 2.0.0")
row("5321 4.1.1.9", "NOOP changes nothing", OPEN, NOOP, DATA, "> x\r\n.", QUEUED)
row("5321 3.5.3", "VRFY tells nothing", "> VRFY bob", "< 252 2.5.2", "> VRFY nobody", "< 252 2.5.2")
row("5321 4.1.1.6", "VRFY without an argument", "> VRFY", "< 501 5.5.4")
row("5321 4.2.4", "VRFY switched off", HELLO, "> VRFY bob", "< 502 5.5.1", on=PLAINEST)
row("5321 4.1.1.7", "EXPN", "> EXPN staff", "< 502 5.5.1")
row("5321 4.1.1.8", "HELP, and with an argument", "> HELP", "< 214 2.0.0 MAIL", "> HELP MAIL", "< 214 2.0.0")
row("1985 5", "ETRN", HELLO, "> ETRN example.test", "< 502 5.5.1")
row("5321 F.1", "TURN, SEND, SOML, SAML", "> TURN", "< 502", "> SEND FROM:<a@b.c>", "< 502", "> SOML FROM:<a@b.c>",
    "< 502",
    "> SAML FROM:<a@b.c>", "< 502")
row("5321 4.2.4", "unknown command", "> XYZZY", "< 500 5.5.2", "> XYZZY " + "x" * 300, "< 500 5.5.2")
row("5321 4.1.1", "empty line", b"\r\n", "< 500 5.5.2", NOOP)
row("5321 4.1.1.1", "white space behind a command", "> NOOP \t ", "< 250 2.0.0", "> QUIT  ", "< 221 2.0.0", CLOSED)

# --- command lines
row("5321 4.5.3.1.4", "command line of 512 bytes", b"NOOP " + b"x" * 505 + b"\r\n", "< 250 2.0.0")
row("5321 4.5.3.1.9", "command line of 5000 bytes", b"NOOP " + b"x" * 5000 + b"\r\n", "< 500 5.5.2", NOOP)
row("5321 4.5.3.1.9", "a long line hides no command", b"NOOP " + b"x" * 5000 + b"\nQUIT\rQUIT\n\r" + b"\r\n",
    "< 500 5.5.2", NOOP)
row("5321 4.5.3.1.9", "a long line hides no command, cut anywhere", [b"x" * 3000, b"\r", b"x\n", b"NOOP\r", b"\n"],
    "< 500 5.5.2", NOOP)
row("5321 2.3.8", "a command that ends in LF", b"NOOP\n", "< 521 5.5.2", CLOSED)
row("5321 2.3.8", "LF within a command", b"NOOP\nRSET\r\n", "< 521 5.5.2", CLOSED)
row("5321 2.3.8", "CR within a command", b"NOOP\rRSET\r\n", "< 521 5.5.2", CLOSED)
row("5321 2.3.8", "CR CR LF", b"NOOP\r\r\n", "< 521 5.5.2", CLOSED)
row("5321 4.1.1", "NUL within a command", b"NO\0OP\r\n", "< 521 5.5.2", CLOSED)
row("5321 2.3.8", "LF within an address", HELLO, b"MAIL FROM:<a\n@sender.example>\r\n", "< 521 5.5.2", CLOSED)
row("5321 2.3.8", "LF behind an envelope", HELLO, b"MAIL FROM:<a@sender.example>\nRCPT TO:<bob@example.test>\r\n",
    "< 521", CLOSED)
row("5321 2.3.8", "a command in single bytes", [b"%c" % c for c in b"NOOP\r\n"], "< 250 2.0.0")
row("5321 2.3.8", "CR and LF in two writes", [b"NOOP\r", b"\nNOOP\r", b"\n"], "< 250", "< 250")
row("5321 7", "HTTP", b"POST / HTTP/1.1\r\nHost: x\r\n\r\nMAIL FROM:<a@b.c>\r\n", "< 221 2.7.0", CLOSED)
row("8446 5.1", "a TLS record in the clear", b"\x16\x03\x01\x02\0\x01\0\x01\xfc", "< 221 2.7.0", CLOSED)

# --- addresses
for ok in ["<>", "<a@b.example>", "<\"a b\"@b.example>", "<\"a@c\"@b.example>", "<\"a\\\"b\\\\\"@b.example>",
           "<a.b.c+d@b.example>", "<!#$%&'*+-/=?^_`{|}~@b.example>", "<a@[192.0.2.1]>", "<a@[IPv6:2001:db8::1]>",
           "<a@[IPv6:::ffff:192.0.2.1]>", "<@relay.example,@r2.example:a@b.example>", "<" + "x" * 64 + "@b.example>",
           "<a@" + ".".join(["x" * 49] * 5) + ">", "<A@B.EXAMPLE>", "<a@xn--bcher-kva.example>", "<root>",
           "<postmaster@b.example>"]:
    row("5321 4.1.2", "MAIL FROM:" + ok[:40], HELLO, "> MAIL FROM:" + ok, "< 250 2.1.0")
for bad in ["<a@b.example", "a@b.example>", "<a@b.example>x", "<a b@b.example>", "<a@@b.example>", "<@b.example>",
    "<a@>",
            "<.a@b.example>", "<a.@b.example>", "<a..b@b.example>", "<a@b..example>", "<a@.b.example>",
            "<a@b.example.>",
            "<a@-b.example>", "<a@b-.example>", "<a@[192.0.2]>", "<a@[192.0.2.256]>", "<a@[IPv6:192.0.2.1]>",
            "<a@[2001:db8::1]>", "<a@[IPv6:1::2::3]>", "<a@[192.0.2.1>", "<a@192.0.2.1>", "<\"a@b.example>",
            "<\"\"@b.example>",
            "<\"a\"b@b.example>", "<@r.example a@b.example>", "<@r.example:>", "<a@b.example>>", "<<a@b.example>>",
            "<a@b.example,>",
            "<" + "x" * 300 + "@b.example>", "<a@" + "x" * 64 + ".example>", "<a@" + "x." * 130 + "example>",
            "<a\x01@b.example>",
            "<\"a\x7f\"@b.example>", "<a(comment)@b.example>", "<a@b!c>"]:
    row("5321 4.1.2", "MAIL FROM:" + repr(bad)[1:40], HELLO, "> MAIL FROM:" + bad, "< 501 5.1.7", MAIL)
for bad in ["", " ", " <a@b.example>", " FROM", " FROM:", " TO:<a@b.example>", " FROM<a@b.example>"]:
    row("5321 4.1.1.2", "MAIL" + (bad or " alone"), HELLO, "> MAIL" + bad, "< 501 5.5.4", MAIL)
row("5321 3.3", "space behind the colon", HELLO, "> MAIL FROM: <a@b.example>", "< 250",
    "> RCPT TO: <bob@example.test>", "< 250")
row("5321 3.3", "space behind the colon, by the letter", HELLO, "> MAIL FROM: <a@b.example>", "< 501 5.1.7",
    on=PLAINEST)
row("5321 4.1.2", "no brackets", HELLO, "> MAIL FROM:a@b.example", "< 250")
row("5321 4.1.2", "no brackets, by the letter", HELLO, "> MAIL FROM:a@b.example", "< 501 5.1.7", on=PLAINEST)
for ok in ["<bob@example.test>", "<BOB@EXAMPLE.TEST>", "<\"bob\"@example.test>", "<\"b\\ob\"@example.test>",
           "<@r.example:bob@example.test>", "<postmaster@example.test>", "<postmaster>", "<Postmaster>"]:
    row("5321 4.1.1.3", "RCPT TO:" + ok, HELLO, MAIL, "> RCPT TO:" + ok, "< 250 2.1.5")
for bad in ["<>", "<bob@example.test", "<bob@example.test>;", "<bob@>", "<\"\"@example.test>",
    "<bob@example.test bob@example.test>",
            "<" + "x" * 300 + "@example.test>", "<|/bin/sh@example.test", "<bob@[127.0.0.1>"]:
    row("5321 4.1.1.3", "RCPT TO:" + bad[:40], HELLO, MAIL, "> RCPT TO:" + bad, "< 501 5.1.3", "> DATA",
        "< 554 5.5.1", RCPT)
for bad in ["", " TO", " TO:", " FROM:<bob@example.test>"]:
    row("5321 4.1.1.3", "RCPT" + (bad or " alone"), HELLO, MAIL, "> RCPT" + bad, "< 501 5.5.4", RCPT)
for foreign in ["<x@foreign.example>", "<x%foreign.example@other.example>", "<@example.test:x@foreign.example>",
                "<\"bob@example.test\"@foreign.example>", "<foreign.example!x@other.example>", "<x@[192.0.2.1]>",
                "<bob@example.test.foreign.example>", "<bob@sub.example.test>"]:
    row("5321 3.6.2", "no relaying to " + foreign, HELLO, MAIL, "> RCPT TO:" + foreign,
        "< 554 5.7.1 Relay access denied")
row("5321 3.6.2", "relaying for our network", HELLO, MAIL, "> RCPT TO:<x@foreign.example>", "< 250 2.1.5", on=TRUSTED)
for unknown in ["nobody", "bobx", "bob/alice", "bob%example.test", "\"bob@example.test\"", "\"../alice\"", "\"|cat\""]:
    row("5321 3.3", "unknown recipient " + unknown, HELLO, MAIL, "> RCPT TO:<%s@example.test>" % unknown, "< 550 5.1.1")
row("7505 4.2", "a recipient's domain with a null MX", HELLO, MAIL, "> RCPT TO:<x@null.test>", "< 556 5.1.10",
    on=listener(2542, source="127.0.0.1"))

# --- SMTPUTF8
UTF8_MAIL = (b"MAIL FROM:<\xc3\xa4@sender.example> SMTPUTF8\r\n", "< 250 2.1.0")
row("6531 3.5", "UTF-8 sender without SMTPUTF8", HELLO, b"MAIL FROM:<\xc3\xa4@sender.example>\r\n", "< 553 5.6.7")
row("6531 3.5", "UTF-8 domain without SMTPUTF8", HELLO, b"MAIL FROM:<a@b\xc3\xbccher.example>\r\n", "< 553 5.6.7")
row("6531 3.4", "UTF-8 sender", HELLO, UTF8_MAIL)
row("6531 3.3", "UTF-8 in quotes", HELLO, b"MAIL FROM:<\"\xc3\xa4 b\"@sender.example> SMTPUTF8\r\n", "< 250 2.1.0")
row("6531 3.5", "UTF-8 recipient without SMTPUTF8", HELLO, MAIL, b"RCPT TO:<\xc3\xa4@example.test>\r\n", "< 553 5.6.7")
row("6531 3.4", "UTF-8 recipient that is unknown", HELLO, UTF8_MAIL, b"RCPT TO:<\xc3\xa4@example.test>\r\n",
    "< 550 5.1.1")
row("6531 3.4", "SMTPUTF8 with a value", HELLO, "> MAIL FROM:<a@b.example> SMTPUTF8=1", "< 501 5.5.4")
row("6531 3.4", "SMTPUTF8 twice", HELLO, "> MAIL FROM:<a@b.example> SMTPUTF8 SMTPUTF8", "< 501 5.5.4")
row("6531 3.1", "SMTPUTF8 where it is not offered", HELLO, "> MAIL FROM:<a@b.example> SMTPUTF8", "< 555 5.5.4",
    on=PLAINEST)
row("6531 3.1", "UTF-8 where it is not offered", HELLO, b"MAIL FROM:<\xc3\xa4@b.example>\r\n", "< 501 5.1.7",
    on=PLAINEST)
row("3629 3", "UTF-8 that is none", HELLO, b"MAIL FROM:<\xff@b.example> SMTPUTF8\r\n", "< 501 5.1.7",
    b"MAIL FROM:<\xc0\xaf@b.example> SMTPUTF8\r\n",
    "< 501 5.1.7", b"MAIL FROM:<\xed\xa0\x80@b.example> SMTPUTF8\r\n", "< 501 5.1.7")
row("6532 3.2", "UTF-8 headers", HELLO, UTF8_MAIL, RCPT, DATA, message("gr\u00fc\u00df".encode(),
    b"utf8-headers\r\n") + b".\r\n", QUEUED, kept=b"utf8-headers\n")

# --- SIZE, BODY, AUTH=, REQUIRETLS and what is unknown
row("1870 6.1", "SIZE within the limit", HELLO, "> MAIL FROM:<a@b.example> SIZE=5000", "< 250", on=TIGHT)
row("1870 6.1", "SIZE above the limit", HELLO, "> MAIL FROM:<a@b.example> SIZE=5001", "< 552 5.3.4", MAIL, on=TIGHT)
for bad in ["SIZE", "SIZE=", "SIZE=x", "SIZE=-1", "SIZE=1x", "SIZE=+1", "SIZE=0x10", "SIZE=123456789012345678901",
    "SIZE=1 SIZE=1", "SIZE==1"]:
    row("1870 4", bad, HELLO, "> MAIL FROM:<a@b.example> " + bad, "< 501 5.5.4", MAIL)
row("1870 4", "SIZE beyond 64 bits", HELLO, "> MAIL FROM:<a@b.example> SIZE=99999999999999999999", "< 552 5.3.4")
row("1870 4", "SIZE=0", HELLO, "> MAIL FROM:<a@b.example> SIZE=0", "< 250")
row("1870 6.3", "more in fact than the limit", OPEN, DATA,
    b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * 5 + b".\r\n", "< 552 5.3.4", MAIL, on=TIGHT)
row("6152 2", "BODY=8BITMIME and BODY=7BIT", HELLO, "> MAIL FROM:<a@b.example> BODY=8BITMIME", "< 250", "> RSET",
    "< 250",
    "> MAIL FROM:<a@b.example> body=7bit", "< 250")
for bad in ["BODY", "BODY=", "BODY=x", "BODY=7BIT BODY=7BIT"]:
    row("6152 2", bad, HELLO, "> MAIL FROM:<a@b.example> " + bad, "< 501 5.5.4", MAIL)
row("3030 3", "BODY=BINARYMIME is not offered", HELLO, "> MAIL FROM:<a@b.example> BODY=BINARYMIME", "< 501 5.5.4")
row("6152 3", "8-bit content", HELLO, "> MAIL FROM:<a@b.example> BODY=8BITMIME", "< 250", RCPT, DATA,
    message(b"8bit", b"eight \x80\xff bits\r\n") + b".\r\n", QUEUED, kept=b"eight \x80\xff bits\n")
row("4954 5", "AUTH= of a user", LOGIN, "> MAIL FROM:<alice@example.test> AUTH=alice@example.test", "< 250",
    on=SUBMISSIONS)
row("4954 5", "AUTH=<>", LOGIN, "> MAIL FROM:<alice@example.test> AUTH=<>", "< 250", on=SUBMISSIONS)
row("4954 5", "AUTH= in bad xtext", LOGIN, "> MAIL FROM:<a@b.example> AUTH=a+zz", "< 501 5.5.4",
    "> MAIL FROM:<a@b.example> AUTH=", "< 501 5.5.4", on=SUBMISSIONS)
row("4954 5", "AUTH= where AUTH is not offered", HELLO, "> MAIL FROM:<a@b.example> AUTH=<>", "< 555 5.5.4")
row("8689 2", "REQUIRETLS under TLS", SECURED, "> MAIL FROM:<a@b.example> REQUIRETLS", "< 250")
row("8689 2", "REQUIRETLS in the clear", HELLO, "> MAIL FROM:<a@b.example> REQUIRETLS", "< 555 5.5.4")
row("8689 2", "REQUIRETLS with a value", SECURED, "> MAIL FROM:<a@b.example> REQUIRETLS=yes", "< 501 5.5.4")
row("5321 4.1.1.11", "unknown parameters", HELLO, "> MAIL FROM:<a@b.example> FOO", "< 555 5.5.4",
    "> MAIL FROM:<a@b.example> FOO=1", "< 555 5.5.4",
    MAIL, "> RCPT TO:<bob@example.test> FOO=1", "< 555 5.5.4", "> RCPT TO:<bob@example.test> SIZE=1", "< 555 5.5.4",
        RCPT)
row("5321 4.1.2", "malformed parameters", HELLO, "> MAIL FROM:<a@b.example> =", "< 501 5.5.4",
    "> MAIL FROM:<a@b.example> -A=1", "< 501 5.5.4",
    "> MAIL FROM:<a@b.example> A_B=1", "< 501 5.5.4", "> MAIL FROM:<a@b.example> A=b=c", "< 501 5.5.4")
row("5321 4.1.1.11", "a reply line is never too long", HELLO, "> MAIL FROM:<a@b.example> " + "X" * 600, "< 555 5.5.4")

# --- DSN
row("3461 4", "all of DSN", HELLO, "> MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ314159", "< 250",
    "> RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;bob+2Bx@example.test", "< 250")
row("3461 4.3", "RET=FULL in any case", HELLO, "> MAIL FROM:<a@b.example> ret=full", "< 250")
for bad in ["RET", "RET=", "RET=SOME", "RET=FULL,HDRS", "RET=FULL RET=FULL"]:
    row("3461 4.3", bad, HELLO, "> MAIL FROM:<a@b.example> " + bad, "< 501 5.5.4", MAIL)
row("3461 4.4", "ENVID of 100 characters", HELLO, "> MAIL FROM:<a@b.example> ENVID=" + "x" * 100, "< 250")
for bad in ["ENVID", "ENVID=", "ENVID=a+b", "ENVID=a+2", "ENVID=a+2b", "ENVID=a=b", "ENVID=a ENVID=b",
    "ENVID=" + "x" * 101, "ENVID=a+0D+0Ab", "ENVID=a+00"]:
    row("3461 4.4", bad[:20], HELLO, "> MAIL FROM:<a@b.example> " + bad, "< 501 5.5.4", MAIL)
for ok in ["NEVER", "SUCCESS", "FAILURE", "delay", "FAILURE,DELAY"]:
    row("3461 4.1", "NOTIFY=" + ok, HELLO, MAIL, "> RCPT TO:<bob@example.test> NOTIFY=" + ok, "< 250 2.1.5")
for bad in ["NOTIFY", "NOTIFY=", "NOTIFY=NEVER,FAILURE", "NOTIFY=FAILURE,FAILURE", "NOTIFY=FAILURE,", "NOTIFY=,",
    "NOTIFY=MAYBE",
            "NOTIFY=NEVER NOTIFY=NEVER", "ORCPT", "ORCPT=", "ORCPT=bob@example.test", "ORCPT=;bob@example.test",
            "ORCPT=rfc822;",
            "ORCPT=rfc 822;bob", "ORCPT=rfc822;b+ob", "ORCPT=rfc822;a ORCPT=rfc822;a", "ORCPT=rfc822;" + "x" * 500,
            "ORCPT=rfc822;b+0Aob"]:
    row("3461 4", bad[:30], HELLO, MAIL, "> RCPT TO:<bob@example.test> " + bad, "< 501 5.5.4", RCPT)
row("6533 3", "ORCPT=utf-8", HELLO, UTF8_MAIL, "> RCPT TO:<bob@example.test> ORCPT=utf-8;b\u00fcb@example.test",
    "< 250")
row("6533 3", "ORCPT=utf-8 in its 7-bit form", HELLO, MAIL,
    "> RCPT TO:<bob@example.test> ORCPT=utf-8;b\\x{FC}b@example.test", "< 250")
row("6533 3", "ORCPT=utf-8 with 8 bits without SMTPUTF8", HELLO, MAIL,
    "> RCPT TO:<bob@example.test> ORCPT=utf-8;b\u00fcb@example.test", "< 501 5.5.4")
row("3461 4", "DSN where it is not offered", HELLO, "> MAIL FROM:<a@b.example> RET=FULL", "< 555 5.5.4",
    "> MAIL FROM:<a@b.example> ENVID=x", "< 555 5.5.4",
    MAIL, "> RCPT TO:<bob@example.test> NOTIFY=NEVER", "< 555 5.5.4", "> RCPT TO:<bob@example.test> ORCPT=rfc822;x",
        "< 555 5.5.4", on=PLAINEST)
row("3461 4.1", "a refused NOTIFY adds nobody", HELLO, MAIL, "> RCPT TO:<bob@example.test> NOTIFY=x", "< 501",
    "> DATA", "< 554 5.5.1")

# --- DATA
row("5321 3.3", "a message", OPEN, DATA, message(b"data", b"plain message\r\n") + b".\r\n", QUEUED,
    kept=b"plain message\n")
row("5321 3.3", "two messages", OPEN, DATA, message(b"1", b"first of two\r\n") + b".\r\n", QUEUED, MAIL, RCPT, DATA,
    b"x\r\n.\r\n", QUEUED, kept=b"first of two\n")
row("5321 4.5.2", "dots", OPEN, DATA, message(b"dots", b"\r\n..\r\n...\r\n..a\r\n.b\r\na.\r\n..dots\r\n") + b".\r\n",
    QUEUED, kept=b"\n\n.\n..\n.a\nb\na.\n.dots\n")
row("5321 4.5.2", "dots in single bytes", OPEN, DATA, [b"%c" % c for c in message(b"x", b"..\r\n..single\r\n.\r\n")],
    QUEUED, kept=b"\n.\n.single\n")
row("5321 4.1.1.4", "empty message", OPEN, DATA, b".\r\n", QUEUED)
row("5321 4.1.1.4", "empty message, its end in pieces", OPEN, DATA, [b".", b"\r", b"\n"], QUEUED)
row("5321 4.1.1.4", "header only", OPEN, DATA, b"Subject: only\r\n.\r\n", QUEUED)
row("5321 4.1.1.4", "body only", OPEN, DATA, b"\r\nbody only\r\n.\r\n", QUEUED, kept=b"\n\nbody only\n")
row("5321 4.5.3.1.6", "line of 998", OPEN, DATA, message(b"998", b"x" * 995 + b"998\r\n") + b".\r\n", QUEUED,
    kept=b"x" * 995 + b"998\n")
row("5321 4.5.3.1.6", "line of 100000", OPEN, DATA, message(b"long", b"x" * 100000 + b"long\r\n") + b".\r\n", QUEUED,
    kept=b"x" * 1000 + b"long\n")
row("5321 4.5.3.1.6", "line above smtpd_data_line_limit", OPEN, DATA, b"x" * 2001 + b"\r\n.\r\n", "< 554 5.6.0", MAIL,
    on=TIGHT)
row("5321 6.3", "hops", OPEN, DATA, b"Received: x\r\n" * 4 + b"\r\n.\r\n", "< 554 5.4.6", MAIL, on=TIGHT)
row("5322 2.1.1", "header field above header_size_limit", OPEN, DATA,
    b"X: y\r\n" + b" folded\r\n" * 300 + b"\r\n.\r\n", "< 552 5.3.4", MAIL, on=TIGHT)
row("5321 2.3.8", "bare LF in content", OPEN, DATA, b"a\nb\r\n.\r\n", "< 550 5.5.2", MAIL)
row("5321 2.3.8", "bare CR in content", OPEN, DATA, b"a\rb\r\n.\r\n", "< 550 5.5.2", MAIL)
row("5321 2.3.7", "NUL in content", OPEN, DATA, b"a\0b\r\n.\r\n", "< 550 5.6.0", MAIL)
row("5321 2.3.8", "bare LF of an excepted client becomes CRLF", OPEN, DATA, b"Subject: x\n\nof an excepted client\n\r\n.\r\n",
    QUEUED, kept=b"\nof an excepted client\n\n", on=TRUSTED)
row("5321 3.3", "commands in the content are content", OPEN, DATA, message(b"c",
    b"QUIT\r\nRSET\r\nMAIL FROM:<x@y.z>\r\n") + b".\r\n", QUEUED, kept=b"\n\nQUIT\nRSET\nMAIL FROM:<x@y.z>\n")

# --- PIPELINING
row("2920 3.1", "an envelope in one write", HELLO,
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n",
    "< 250 2.1.0", "< 250 2.1.5", "< 550 5.1.1", "< 354", "> x\r\n.", QUEUED)
row("2920 3.1", "RSET begins a group", OPEN,
    b"RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", "< 250", "< 250", "< 250", "< 354",
    "> x\r\n.", QUEUED)
row("2920 3.1", "no recipient, no 354", HELLO,
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.test>\r\nDATA\r\n", "< 250", "< 550", "< 554 5.5.1", RCPT)
row("2920 3.1", "MAIL fails, the rest with it", HELLO,
    b"MAIL FROM:<a@b..example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", "< 501", "< 503", "< 503")
row("2920 3.1", "message, QUIT behind it", OPEN, DATA, b"x\r\n.\r\nQUIT\r\n", QUEUED, "< 221 2.0.0", CLOSED)
row("2920 3.1", "message, next envelope behind it", OPEN, DATA,
    b"x\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", QUEUED, "< 250", "< 250", "< 354",
    "> x\r\n.", QUEUED)
row("2920 3.1", "nothing is read behind QUIT", b"NOOP\r\nQUIT\r\nNOOP\r\nMAIL FROM:<a@b.example>\r\n", "< 250",
    "< 221 2.0.0", CLOSED)
row("2920 3.1", "content sent before 354 is content", OPEN, b"DATA\r\nMAIL FROM:<x@y.z>\r\n.\r\nNOOP\r\n", "< 354",
    QUEUED, "< 250 2.0.0")
row("2920 3.1", "content sent before 354 is refused where asked for", OPEN, b"DATA\r\nNOOP\r\n", "< 503 5.5.0",
    "< 250 2.0.0", on=STEPWISE)
row("2920 3.1", "a hundred commands in one write", HELLO, b"NOOP\r\n" * 100, *["< 250 2.0.0"] * 100)
row("2920 3.2", "EHLO and an envelope in one write", b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n", "< 250",
    "< 250 2.1.0")

# --- BDAT
FIRST, SECOND = message(b"bdat", b"in two "), b"chunks, no end of line"
row("3030 2", "one chunk", OPEN, bdat(message(b"b", b"one chunk\r\n")), QUEUED, kept=b"\n\none chunk\n")
row("3030 2", "one chunk, no end of line", OPEN, bdat(message(b"b", b"open end")), QUEUED, NOOP)
row("3030 2", "two chunks", OPEN, bdat(FIRST, ""), "< 250 2.0.0 %d" % len(FIRST), bdat(SECOND + b"\r\n"), QUEUED,
    kept=b"\n\nin two chunks, no end of line\n")
row("3030 2", "a CRLF between two chunks", OPEN, bdat(b"Subject: x\r\n\r\ncut\r", ""), "< 250", bdat(b"\nhere\r\n"),
    QUEUED, kept=b"\n\ncut\nhere\n")
row("3030 2", "an empty last chunk", OPEN, bdat(message(b"b", b"empty last\r\n"), ""), "< 250", "> BDAT 0 LAST",
    QUEUED, kept=b"\n\nempty last\n")
row("3030 2", "empty chunks", OPEN, "> BDAT 0", "< 250 2.0.0", "> BDAT 0", "< 250", bdat(b"x\r\n"), QUEUED)
row("3030 2", "an empty message", OPEN, "> BDAT 0 LAST", QUEUED, "> BDAT 0 LAST", "< 503 5.5.1")
row("3030 2", "in any case", OPEN, b"bdat 3 last\r\nx\r\n", QUEUED)
row("3030 2", "dots are octets", OPEN, bdat(message(b"b", b".\r\n..\r\n.dots\r\n")), QUEUED, kept=b"\n\n.\n..\n.dots\n")
row("3030 2", "an end of DATA is octets", OPEN, bdat(message(b"b", b"x\r\n.\r\nQUIT\r\n")), QUEUED, NOOP,
    kept=b"\n\nx\n.\nQUIT\n")
row("3030 2", "before MAIL: its octets are no commands", HELLO, bdat(b"QUIT\r\n"), "< 503 5.5.1", MAIL)
row("3030 2", "before EHLO", bdat(b"QUIT\r\n"), "< 503 5.5.1", NOOP)
row("3030 2", "before RCPT", HELLO, MAIL, bdat(b"QUIT\r\n"), "< 503 5.5.1", MAIL)
row("3030 2", "no recipient accepted", HELLO, MAIL, NOBODY, bdat(b"QUIT\r\n"), "< 554 5.5.1", NOOP)
row("3030 2", "after LAST", OPEN, bdat(b"x\r\n"), QUEUED, bdat(b"QUIT\r\n"), "< 503 5.5.1", MAIL)
row("3030 3", "DATA after a chunk", OPEN, bdat(b"x\r\n", ""), "< 250", "> DATA", "< 503 5.5.1", "> RSET", "< 250", MAIL)
row("3030 2", "MAIL, RCPT, STARTTLS, AUTH between chunks", OPEN, bdat(b"x\r\n", ""), "< 250",
    "> MAIL FROM:<a@b.example>", "< 503 5.5.1", "> RCPT TO:<bob@example.test>", "< 503 5.5.1",
    "> STARTTLS", "< 503 5.5.1", "> AUTH PLAIN x", "< 503 5.5.1", NOOP, bdat(b"y\r\n"), QUEUED)
row("3030 2", "RSET between chunks", OPEN, bdat(b"x\r\n", ""), "< 250", "> RSET", "< 250", bdat(b"QUIT\r\n"),
    "< 503 5.5.1", MAIL, RCPT, bdat(b"y\r\n"), QUEUED)
row("3030 2", "EHLO between chunks", OPEN, bdat(b"x\r\n", ""), "< 250", HELLO, bdat(b"QUIT\r\n"), "< 503 5.5.1", NOOP)
row("3030 2", "QUIT between chunks", OPEN, bdat(b"x\r\n", ""), "< 250")
row("3030 2", "all in one write", HELLO,
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\n" + bdat(b"Subject: x\r\n\r\none",
    "") + bdat(b" write\r\n") + b"NOOP\r\n",
    "< 250", "< 250", "< 250", QUEUED, "< 250 2.0.0", kept=b"\n\none write\n")
row("3030 2", "RCPT refused, chunks behind it in the same write", HELLO,
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@example.test>\r\n" + bdat(b"QUIT\r\n", "") + bdat(b"RSET\r\n"),
    "< 250", "< 550", "< 554", "< 503", NOOP)
row("3030 2", "octets in single bytes", OPEN, [b"%c" % c for c in bdat(message(b"b", b"byte by byte\r\n"))], QUEUED,
    kept=b"\n\nbyte by byte\n")
row("3030 2", "more than the limit", OPEN, bdat(b"x\r\n" * 1667), "< 552 5.3.4", bdat(b"QUIT\r\n"), "< 503", on=TIGHT)
row("3030 2", "more than the limit in two", OPEN, bdat((b"x" * 998 + b"\r\n") * 4, ""), "< 250",
    bdat((b"x" * 998 + b"\r\n") * 2, ""), "< 552 5.3.4", bdat(b"QUIT\r\n"), "< 503", on=TIGHT)
row("3030 2", "a bare LF in octets", OPEN, bdat(b"a\nb\r\n"), "< 550 5.5.2", MAIL)
row("3030 2", "a bare CR at the end of the last chunk", OPEN, bdat(b"a\r"), "< 550 5.5.2", MAIL)
for bad in ["", " ", " x", " -1", " 1x", " 18446744073709551616", " 5 FIRST", " 5 LAST LAST", " 0x5", " LAST"]:
    row("3030 2", "BDAT%s: no telling where its octets end" % bad, OPEN, "> BDAT%s" % bad, "< 521 5.5.4", CLOSED)
row("3030 2", "not offered: its octets are no commands", OPEN, bdat(b"QUIT\r\n"), "< 502 5.5.1", NOOP, on=PLAINEST)
row("3207 4", "BDAT in the clear where TLS is required", HELLO, bdat(b"QUIT\r\n"), "< 530 5.7.0", NOOP, on=ENCRYPT)

# --- STARTTLS
row("3207 4", "STARTTLS", SECURED, MAIL, RCPT, DATA, "> x\r\n.", QUEUED)
row("3207 4", "before EHLO", "> STARTTLS", "< 220 2.0.0", TLS, HELLO)
row("3207 4", "with an argument", HELLO, "> STARTTLS now", "< 501 5.5.4", MAIL)
row("3207 4", "twice", SECURED, "> STARTTLS", "< 554 5.5.1", MAIL)
row("3207 4.2", "EHLO is forgotten", HELLO, "> STARTTLS", "< 220", TLS, "> MAIL FROM:<a@b.example>", "< 503 5.5.1",
    on=ENCRYPT)
row("3207 4.2", "commands sent behind it in the clear are lost", HELLO,
    b"STARTTLS\r\nNOOP\r\nMAIL FROM:<evil@x.example>\r\n", "< 220", TLS, "> VRFY x", "< 252 2.5.2", MAIL)
row("3207 4.2", "half a command sent behind it is lost", HELLO, b"STARTTLS\r\nRSE", "< 220", TLS, "> VRFY x",
    "< 252 2.5.2")
row("3207 4", "not offered", HELLO, "> STARTTLS", "< 502 5.5.1", on=PLAINEST)
row("4954 3", "AUTH switched off by its keyword", HELLO, "> AUTH PLAIN " + GOOD, "< 503 5.5.1",
    "> MAIL FROM:<a@b.example> AUTH=<>", "< 555 5.5.4", on=PLAINEST)
row("3207 4", "implicit TLS offers none", HELLO, "> STARTTLS", "< 554 5.5.1", on=SUBMISSIONS)
for command in ["HELO c.example", "MAIL FROM:<a@b.example>", "RSET", "VRFY x", "EXPN x", "AUTH PLAIN x", "XYZZY"]:
    row("3207 4", "TLS required: " + command, HELLO, "> " + command, "< 530 5.7.0", on=ENCRYPT)
row("3207 4", "TLS required: what needs none", HELLO, NOOP, "> STARTTLS", "< 220", TLS, HELLO, MAIL, on=ENCRYPT)

# --- AUTH
row("4954 4", "not offered on port 25", SECURED, "> AUTH PLAIN " + GOOD, "< 503 5.5.1")
row("4954 4", "in the clear", HELLO, "> AUTH PLAIN " + GOOD, "< 538 5.7.11", "> AUTH LOGIN", "< 538 5.7.11",
    on=SUBMISSION)
row("4954 4", "PLAIN", LOGIN, "> MAIL FROM:<alice@example.test>", "< 250", "> RCPT TO:<x@foreign.example>",
    "< 250 2.1.5", on=SUBMISSIONS)
row("4954 4", "PLAIN behind STARTTLS", SECURED, "> AUTH PLAIN " + GOOD, "< 235 2.7.0", on=SUBMISSION)
row("4954 4", "PLAIN without an initial response", HELLO, "> auth plain", "< 334 ", "> " + GOOD, "< 235 2.7.0",
    on=SUBMISSIONS)
row("4954 4", "LOGIN", HELLO, "> AUTH LOGIN", "< 334 VXNlcm5hbWU6", "> " + b64("alice@example.test"),
    "< 334 UGFzc3dvcmQ6", "> " + b64("secret"), "< 235 2.7.0", on=SUBMISSIONS)
row("4954 4", "LOGIN with an initial response", HELLO, "> AUTH LOGIN " + b64("alice@example.test"),
    "< 334 UGFzc3dvcmQ6", "> " + b64("secret"), "< 235 2.7.0", on=SUBMISSIONS)
row("4954 4", "twice", LOGIN, "> AUTH PLAIN " + GOOD, "< 503 5.5.1", on=SUBMISSIONS)
row("4954 4", "RSET and EHLO leave the login", LOGIN, "> RSET", "< 250", HELLO, "> MAIL FROM:<alice@example.test>",
    "< 250", on=SUBMISSIONS)
row("4954 4", "wrong password", HELLO, "> AUTH PLAIN " + BAD, "< 535 5.7.8", "> MAIL FROM:<a@b.example>",
    "< 530 5.7.0", on=SUBMISSIONS)
row("4954 4", "unknown user", HELLO, "> AUTH PLAIN " + auth_plain("nobody@example.test", "x"), "< 535 5.7.8",
    on=SUBMISSIONS)
row("4954 4", "cancelled", HELLO, "> AUTH PLAIN", "< 334", "> *", "< 501 5.7.0", "> AUTH PLAIN " + GOOD, "< 235",
    on=SUBMISSIONS)
row("4954 4", "LOGIN cancelled half way", HELLO, "> AUTH LOGIN", "< 334", "> " + b64("alice@example.test"), "< 334",
    "> *", "< 501 5.7.0", NOOP, on=SUBMISSIONS)
row("4954 4", "SCRAM cancelled", HELLO, "> AUTH SCRAM-SHA-256", "< 334", "> *", "< 501 5.7.0", on=SUBMISSIONS)
for bad in ["*", "A", "AA", "AA=A", "!!!!", "====", "AAAA=AAAA"]:
    row("4954 4", "initial response %s is no base64" % bad, HELLO, "> AUTH PLAIN " + bad, "< 501 5.5.2", NOOP,
        on=SUBMISSIONS)
row("4954 4", "response that is no base64", HELLO, "> AUTH PLAIN", "< 334", "> !!!", "< 501 5.5.2", NOOP,
    on=SUBMISSIONS)
row("4954 4", "empty initial response", HELLO, "> AUTH PLAIN =", "< 535 5.7.8", on=SUBMISSIONS)
row("4954 4", "two initial responses", HELLO, "> AUTH PLAIN AAAA AAAA", "< 501 5.5.4", on=SUBMISSIONS)
row("4954 4", "no mechanism", HELLO, "> AUTH", "< 501 5.5.4", on=SUBMISSIONS)
row("4954 4", "unknown mechanism", HELLO, "> AUTH CRAM-MD5", "< 504 5.5.4", "> AUTH " + "X" * 100, "< 504 5.5.4",
    on=SUBMISSIONS)
row("4954 4", "response of 13000 bytes", HELLO, "> AUTH PLAIN", "< 334", b"A" * 13000 + b"\r\n", "< 500 5.5.6", NOOP,
    on=SUBMISSIONS)
row("4954 4", "bare LF in a response", HELLO, "> AUTH PLAIN", "< 334", b"AAAA\nQUIT\r\n", "< 521 5.5.2", CLOSED,
    on=SUBMISSIONS)
row("4954 4", "failures end the session", HELLO, *["> AUTH PLAIN " + BAD, "< 535 5.7.8"] * 3, "> AUTH PLAIN " + GOOD,
    "< 421 4.7.0", CLOSED, on=SUBMISSIONS)
row("4616 2", "PLAIN with too few NULs", HELLO, "> AUTH PLAIN " + b64("alice@example.test"), "< 535 5.7.8",
    on=SUBMISSIONS)
row("6409 4.3", "submission in the clear", HELLO, "> MAIL FROM:<a@b.example>", "< 530 5.7.0 STARTTLS", on=SUBMISSION)
row("6409 4.3", "submission without a login", HELLO, "> MAIL FROM:<a@b.example>", "< 530 5.7.0 Authentication",
    on=SUBMISSIONS)
row("6409 4.3", "submission without a login, all in one write", HELLO,
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", "< 530 5.7.0", "< 503 5.5.1", "< 503 5.5.1",
    on=SUBMISSIONS)

# --- limits
row("5321 4.5.3.1.10", "too many recipients", HELLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>", "< 250",
    "> RCPT TO:<carol@example.test>", "< 452 4.5.3",
    "> RCPT TO:<carol@example.test>", "< 452 4.5.3", DATA, "> x\r\n.", QUEUED, on=listener(2542, source="127.0.0.1"))
row("5321 4.3.2", "too many errors", *["> X", "< 500"] * 4, BYE_TOO_MANY, on=TIGHT)
row("5321 4.3.2", "too many errors in one write", b"X\r\n" * 9, *["< 500"] * 4, BYE_TOO_MANY, on=TIGHT)
row("5321 4.3.2", "too many unknown recipients", HELLO, MAIL, NOBODY * 4, BYE_TOO_MANY, on=TIGHT)
row("5321 7.8", "too much that furthers no delivery", b"NOOP\r\n" * 20, *["< 250"] * 8, BYE_TOO_MANY, on=TIGHT)

# --- LMTP
LHLO = ("> LHLO c.example", "< 250")
row("2033 4.2", "one reply a recipient", LHLO, MAIL, RCPT, NOBODY, "> RCPT TO:<alice@example.test>", "< 250", DATA,
    message(b"l", b"by lmtp\r\n") + b".\r\n", QUEUED, QUEUED, NOOP, on=LMTP, kept=b"\n\nby lmtp\n")
row("2033 4.2", "one reply a recipient for BDAT", LHLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>", "< 250",
    bdat(b"Subject: x\r\n", ""), "< 250 2.0.0", bdat(b"\r\nx\r\n"), QUEUED, QUEUED, on=LMTP)
row("2033 4.2", "a recipient twice has two replies", LHLO, MAIL, RCPT, RCPT, DATA, "> x\r\n.", QUEUED, QUEUED, on=LMTP)
row("2033 4.2", "content refused for each", LHLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>", "< 250", DATA,
    b"a\nb\r\n.\r\n", "< 550 5.5.2", "< 550 5.5.2", NOOP, on=LMTP)
row("2033 4.2", "no recipient", LHLO, MAIL, NOBODY, "> DATA", "< 554 5.5.1", NOOP, on=LMTP)
row("2033 4.2", "DATA out of turn has one reply", LHLO, "> DATA", "< 503 5.5.1", NOOP, on=LMTP)
row("2033 4.2", "a BCC has no reply", LHLO, MAIL, RCPT, DATA, message(b"bcc", b"x\r\n") + b".\r\n", QUEUED, NOOP,
    on=listener(2547))
row("2033 4.2", "REDIRECT leaves the number of replies", LHLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>", "< 250",
    DATA, "> x\r\n.", QUEUED, QUEUED, NOOP, on=listener(2548))
row("2033 4.3", "BDAT LAST with a bare LF is refused for each", LHLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>",
    "< 250", bdat(b"a\nb\r\n"), "< 550", "< 550", NOOP, on=LMTP)
row("2033 4.3", "BDAT LAST refused unread is refused for each", LHLO, MAIL, RCPT, "> RCPT TO:<alice@example.test>",
    "< 250", bdat(b"QUIT\r\n"), "< 554 5.7.1", "< 554 5.7.1", NOOP, on=listener(2549))
row("2033 4.3", "BDAT refused unread has one reply", LHLO, MAIL, RCPT, RCPT, bdat(b"QUIT\r\n", ""), "< 554 5.7.1",
    NOOP, on=listener(2549))
row("2033 4.2", "DATA refused has one reply", LHLO, MAIL, RCPT, RCPT, "> DATA", "< 554 5.7.1", NOOP, on=listener(2549))

# --- proxies
row("5321 4.5.1", "XCLIENT and XFORWARD of a stranger", HELLO, "> XCLIENT ADDR=192.0.2.1", "< 550 5.7.0",
    "> XFORWARD ADDR=192.0.2.1", "< 550 5.7.0", MAIL)
row("5321 3.1", "XCLIENT begins anew", HELLO, "> XCLIENT ADDR=192.0.2.1 NAME=x.example", "< 220 mail.example.test",
    HELLO, MAIL, RCPT, on=XCLIENT)
row("5321 4.1.4", "XCLIENT in a transaction", OPEN, "> XCLIENT ADDR=192.0.2.1", "< 503 5.5.1", on=XCLIENT)
row("3461 4", "XCLIENT in bad form", HELLO, "> XCLIENT", "< 501 5.5.4", "> XCLIENT ADDR=300.0.0.1", "< 501 5.5.4",
    "> XCLIENT NAME=a+0Ab", "< 501 5.5.4", "> XCLIENT FOO=x", "< 501 5.5.4", MAIL, on=XCLIENT)
row("5321 4.1.1", "XFORWARD", HELLO, "> XFORWARD NAME=x.example ADDR=192.0.2.1 PROTO=ESMTP", "< 250 2.0.0", MAIL,
    on=XCLIENT)
row("5321 4.1.1", "PROXY line on a plain port", "> PROXY TCP4 192.0.2.77 198.51.100.1 4711 25", "< 500 5.5.2")
row("5321 3.1", "PROXY v1", PROXIED, "< 220", HELLO, on=PROXY)
row("5321 3.1", "PROXY v1 in single bytes", [b"%c" % c for c in PROXIED], "< 220", HELLO, on=PROXY)
row("5321 3.1", "PROXY v1, commands behind it", PROXIED + b"NOOP\r\nQUIT\r\n", "< 220", "< 250", "< 221", CLOSED,
    on=PROXY)
row("5321 3.1", "PROXY v1 UNKNOWN", b"PROXY UNKNOWN\r\n", "< 220", on=PROXY)
row("5321 3.1", "PROXY v1 for IPv6", b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", "< 220", on=PROXY)
row("5321 3.1", "PROXY v2", V2 + b"\x21\x11\0\x0c\xc0\0\2\x4d\xc6\x33\x64\1\x12\x67\0\x19", "< 220", HELLO, on=PROXY)
row("5321 3.1", "PROXY v2 LOCAL", V2 + b"\x20\0\0\0", "< 220", HELLO, on=PROXY)
for what, bad in [("none", b"EHLO c.example\r\n"), ("TCP5", b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"),
    ("bad address", b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"),
                  ("bad port", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"), ("bare LF",
                      b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"), ("too long", b"PROXY UNKNOWN " + b"x" * 200),
                  ("v2 of another version", V2 + b"\x31\x11\0\x0c" + b"\0" * 12), ("v2 too short",
                      V2 + b"\x21\x11\0\x04\0\0\0\0"), ("v2 of UDP", V2 + b"\x21\x12\0\x0c" + b"\0" * 12)]:
    row("5321 7.1", "PROXY header: " + what, bad, CLOSED, on=PROXY)


@pytest.fixture(scope="module")
def suite():
    import dns_server
    dns = dns_server.NameServer({"null.test": "@ IN MX 0 .", "example.test": "@ IN A 192.0.2.1"}).start()
    try:
        with Instance(main_cf=MAIN_CF, master_cf=SERVICES, dns=dns.forwarder,
            virtual="postmaster bob@example.test\npostmaster@example.test bob@example.test\n") as i:
            i.add_users("alice@example.test", "bob@example.test", "carol@example.test")
            (i.conf / "redirect").write_text("/./ REDIRECT carol@example.test\n")
            i.start()
            yield i
    finally:
        dns.close()


@pytest.mark.parametrize("number, on, script, kept", ROWS)
def test_wire(suite, number, on, script, kept):
    source = on.source or "127.9.%d.%d" % (number // 250 + 1, number % 250 + 1)
    script = on.greeting + script + (() if script[-1:] == (CLOSED,) else QUIT)
    with Wire((suite.ip, on.port), source, suite.tls()) as w:
        if on.tls:
            w.handshake()
        w.play(script)
    if kept is not None:
        wait_until(lambda: any(m.replace(b"\r\n", b"\n").endswith(kept) for m in suite.messages("bob@example.test")),
            10, repr(kept))


def test_there_are_enough():
    assert len(ROWS) >= 150 and len({p.id for p in ROWS}) == len(ROWS)
