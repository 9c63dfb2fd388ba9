"""Hostile SMTP against the real daemons: the wire, MIME and TLS cases of our collection of attacks (numbers "case n"), and
the classes of bugs that other mail servers had.  Each test wants the safe outcome, bounded memory, and a good client
served meanwhile."""
import contextlib
import os
import re
import smtplib
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time

import pytest

from instance import Instance, LoopbackAddress, wait_until
from serving import serving

GOOD, EVIL = "127.70.0.1", "127.70.0.66"
MIB = 1024  # in kB, as /proc counts
SCALE = int(os.environ.get("TEST_SCALE", "1"))  # 10: make slow
SMTPD_GROWTH = 24 * MIB * (8 if os.environ.get("FLAVOUR") == "asan" else 1)

ROBUST = """\
smtpd_client_connection_count_limit = 0
smtpd_client_limit = 4000
smtpd_peername_lookup = no
smtpd_starttls_timeout = 2s
smtpd_error_sleep_time = 0s
smtpd_hard_error_limit = 50
smtpd_tls_security_level = may
message_size_limit = 60000000
authserv_id = mail.example.test
authserv_trusted_hosts = %s
""" % GOOD


@pytest.fixture(scope="module")
def mail():
    with Instance(main_cf=ROBUST) as i:
        text = (i.conf / "master.cf").read_text()
        (i.conf / "master.cf").write_text(text.replace("2       smtpd\n", "1       smtpd\n", 1))
        i.add_users("bob@example.test", "carol@example.test")
        yield i.start()


def connect(mail, source=EVIL, service="smtp"):
    return socket.create_connection((mail.ip, mail.port(service)), timeout=60, source_address=(source, 0))


class Talk:
    def __init__(self, s):
        self.s, self.f = s, s.makefile("rb")

    def reply(self):
        line = self.f.readline()
        while line[3:4] == b"-":
            line = self.f.readline()
        return line

    def say(self, *lines):
        for line in lines:
            self.s.sendall(line + b"\r\n")
            answer = self.reply()
        return answer

    def close(self):
        self.f.close()
        self.s.close()

    def reset(self):
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


@contextlib.contextmanager
def talk(mail, source=EVIL, hello=True):
    t = Talk(connect(mail, source))
    assert t.reply().startswith(b"220")
    if hello:
        t.say(b"EHLO evil.test")
    try:
        yield t
    finally:
        t.close()


def envelope(t, *rcpts):
    assert t.say(b"MAIL FROM:<evil@elsewhere.test>").startswith(b"250")
    for rcpt in rcpts or (b"bob@example.test",):
        assert t.say(b"RCPT TO:<%s>" % rcpt).startswith(b"250")


def serves(mail):
    """A good client's message goes through, and in good time."""
    begin = time.monotonic()
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=(GOOD, 0), timeout=30) as s:
        s.sendmail("a@elsewhere.test", "carol@example.test", "Subject: good\r\n\r\nbody\r\n")
    assert time.monotonic() - begin < 5 * float(os.environ.get("TEST_TIME_FACTOR", "1"))


def pss(mail, program):
    """kB of all its processes."""
    total = 0
    for _, pid in mail.processes(program):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            text = open("/proc/%d/smaps_rollup" % pid).read()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total


@contextlib.contextmanager
def bounded(mail, *programs, growth=None):
    """Memory does not grow beyond that, nobody dies, and others are served afterwards."""
    before = {p: (pss(mail, p), mail.processes(p)) for p in programs or ("smtpd",)}
    yield
    serves(mail)
    for p, (kb, pids) in before.items():
        assert pss(mail, p) - kb < (growth or SMTPD_GROWTH), p
        assert mail.processes(p) == pids, "%s died" % p


def with_marker(mail, marker, address="bob@example.test"):
    return [m for m in mail.messages(address) if marker in m]


# --- case 1: ends of data (CVE-2023-51764, -51765, -51766) -------------------------------------------------------------

ENDS = [a + b"." + b for a in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0") for b in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0")]


def test_case_1_no_end_of_data_but_one(mail):
    with bounded(mail):
        for n, end in enumerate(ENDS):
            with talk(mail) as t:
                envelope(t)
                t.say(b"DATA")
                t.s.sendall(b"Subject: outer-%d\r\n\r\ntext" % n + end +
                            b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
                            b"Subject: smuggled\r\n\r\n\r\n.\r\nNOOP\r\n")
                first = t.reply()
                if b"\r\n.\r\n" in end:  # the real one: what follows are commands
                    assert first.startswith(b"250" if end == b"\r\n.\r\n" else b"550")
                    assert [t.reply()[:3] for _ in range(5)] == [b"250", b"250", b"354", b"250", b"250"]
                else:
                    assert first[:1] == b"5", (end, first)
                    assert t.reply().startswith(b"250"), end  # NOOP: nothing in between was a command
    mail.wait_queue_empty()
    assert len(with_marker(mail, b"Subject: outer-")) == 1
    assert len(with_marker(mail, b"Subject: smuggled")) == sum(b"\r\n.\r\n" in end for end in ENDS)


def test_case_1_dots_cut_at_each_byte(mail):
    text = b"Subject: cut\r\n\r\n..\r\n...\r\n.x\r\n.\r\n"
    for cut in range(len(text)):
        with talk(mail) as t:
            envelope(t)
            t.say(b"DATA")
            t.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            t.s.sendall(text[:cut])
            t.s.sendall(text[cut:])
            assert t.reply().startswith(b"250")
    mail.wait_queue_empty()
    found = with_marker(mail, b"Subject: cut")
    assert len(found) == len(text) and all(m.endswith(b"\n\n.\n..\nx\n") for m in found)


# --- case 2: STARTTLS injection (CVE-2011-0411, CVE-2021-33515) ----------------------------------------------------------

def test_case_2_nothing_behind_starttls_survives(mail):
    for injected in (b"RSET\r\n", b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n", b"XY" * 20000):
        with talk(mail) as t:
            t.s.sendall(b"STARTTLS\r\n" + injected)
            assert t.reply().startswith(b"220")
            context = mail.tls()
            # what still arrives behind the reply is no TLS, and ends the connection; what came with the command is gone
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                s = context.wrap_socket(t.s, server_hostname=None)
                secure = Talk(s)
                assert secure.say(b"DATA").startswith(b"503")
                assert secure.say(b"VRFY x").startswith(b"252")
                secure.close()
    serves(mail)


# --- case 3: command lines (Exim CVE-2019-16928, CVE-2018-6789; qmail CVE-2005-1513) ----------------------------------------

@pytest.mark.parametrize("size", [511, 512, 513, 2047, 2048, 2049, 65535, 65536, 65537, 10 << 20])
def test_case_3_command_lines(mail, size):
    with bounded(mail):
        with talk(mail) as t:
            t.s.sendall(b"NOOP " + b"x" * (size - 5))
            serves(mail)
            t.s.sendall(b"\r\n")
            assert t.reply()[:3] in ((b"250",) if size <= 512 else (b"250", b"500"))
            assert size <= 2049 or t.say(b"NOOP").startswith(b"250")


# --- case 4: lines and octets of the body ----------------------------------------------------------------------------

@pytest.mark.parametrize("body, codes", [
    (b"x" * 999 + b"\r\n", (b"250",)),
    (b"x" * (10 << 20) + b"\r\n", (b"554", b"552", b"500")),
    (b"a\0b\r\n", (b"550",)),
    (b"a\rb\r\n", (b"550",)),
    (b"\xff" * 900 + b"\r\n", (b"250",)),
], ids=["999", "10 MB", "NUL", "bare CR", "8-bit"])
def test_case_4_bodies(mail, body, codes):
    marker = b"case-4-%d-%d" % (len(body), body[1])
    with bounded(mail), talk(mail) as t:
        envelope(t)
        t.say(b"DATA")
        t.s.sendall(b"Subject: " + marker + b"\r\n\r\n" + body + b".\r\n")
        reply = t.reply()
        assert reply[:3] in codes
        assert t.say(b"NOOP").startswith(b"250")
    mail.wait_queue_empty()
    found = with_marker(mail, marker)
    assert len(found) == (reply[:3] == b"250")
    assert all(m.endswith(b"\n\n" + body.replace(b"\r\n", b"\n")) for m in found)  # lossless


# --- case 5 ----------------------------------------------------------------------------------------------------------------

def test_case_5_content_before_354(mail):
    with talk(mail) as t:
        t.s.sendall(b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<nobody-here@example.test>\r\nDATA\r\n"
                    b"Subject: case-5\r\n\r\nRSET\r\n.\r\nNOOP\r\n")
        codes = [t.reply()[:3] for _ in range(8)]
    assert codes[:3] == [b"250", b"550", b"554"] and b"354" not in codes
    with talk(mail) as t:
        t.s.sendall(b"MAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
                    b"Subject: case-5\r\n\r\nRSET\r\n.\r\nNOOP\r\n")
        assert [t.reply()[:3] for _ in range(5)] == [b"250", b"250", b"354", b"250", b"250"]


# --- case 6: BDAT (Exim CVE-2017-16943) ----------------------------------------------------------------------------------------

BDAT_DIALOGUE = [b"MAIL FROM:<evil@elsewhere.test>\r\n", b"RCPT TO:<bob@example.test>\r\n", b"BDAT 14\r\nSubject: bdat",
                 b"BDAT 4\r\n\r\n\r\n", b"BDAT 100000\r\n", b"x" * 50000, b"x" * 50000, b"BDAT 300000\r\n", b"y" * 300000]
BDAT_ENDINGS = [b"", b"DATA\r\n.\r\n", b"RSET\r\n", b"QUIT\r\n", b"BDAT 3\r\n\0\r\n", b"BDAT 0 LAST\r\n", b"BDAT 1 LAST x\r\n",
                b"BDAT 9223372036854775807 LAST\r\nx", b"EHLO x\r\n", b"STARTTLS\r\n"]


def test_case_6_chunks_given_up_at_each_step(mail):
    mail.wait_queue_empty()
    begun = len(with_marker(mail, b"Subject: bdat"))
    full = 0
    with bounded(mail):
        for steps in range(len(BDAT_DIALOGUE) + 1):
            for ending in BDAT_ENDINGS:
                t = Talk(connect(mail))
                t.s.sendall(b"EHLO x\r\n" + b"".join(BDAT_DIALOGUE[:steps]) + ending)
                if ending and steps % 2:
                    t.s.shutdown(socket.SHUT_WR)
                    text = t.f.read()
                    full += b"queued as" in text
                    t.close()
                else:
                    t.reset()
    mail.wait_queue_empty()
    assert full <= len(with_marker(mail, b"Subject: bdat")) - begun <= full + len(BDAT_DIALOGUE)


# --- case 7 -----------------------------------------------------------------------------------------------------------------------

def test_case_7_a_hundred_thousand_recipients(mail):
    with bounded(mail, "smtpd", "authd", "qmgr"):
        for address in (b"bob@example.test", b"nobody%d@example.test"):
            with talk(mail) as t:
                t.say(b"MAIL FROM:<evil@elsewhere.test>")

                def flood(s=t.s, address=address):
                    with contextlib.suppress(OSError):
                        for n in range(1000):
                            s.sendall(b"".join(b"RCPT TO:<%s>\r\n" % (address.replace(b"%d", b"%d" % (n * 100 + k)))
                                               for k in range(100)))

                sender = threading.Thread(target=flood)
                sender.start()
                codes = {}
                with contextlib.suppress(OSError):
                    while (line := t.f.readline()):
                        codes[line[:3]] = codes.get(line[:3], 0) + 1
                        if sum(codes.values()) == 500:
                            serves(mail)
                sender.join()
                assert codes.get(b"250", 0) == (1000 if address == b"bob@example.test" else 0)
                assert codes[b"421"] == 1


def test_case_7_commands_that_do_nothing(mail):
    with bounded(mail), talk(mail) as t:
        with contextlib.suppress(OSError):
            for _ in range(20000):
                t.s.sendall(b"VRFY bob\r\nEXPN list\r\nETRN example.test\r\nHELP\r\nNOOP\r\nRSET\r\n")
        with contextlib.suppress(OSError):
            seen = t.f.read()
            assert b"421 4.7.0" in seen and b"bob@example.test" not in seen


# --- case 8: addresses (OpenSMTPD CVE-2020-7247, Exim CVE-2019-10149) -----------------------------------------------------------------

RELAY = ["x@foreign.test", "x%foreign.test@example.test", "foreign.test!x@example.test", '"x@foreign.test"@example.test',
         "@example.test:x@foreign.test", "x@foreign.test@example.test", '"x"@foreign.test', "x%foreign.test", "x@[127.0.0.1]",
         "x@foreign.test.", "x@EXAMPLE.TEST.foreign.test", "postmaster@foreign.test", "x@ex\u00e4mple.test",
         "x@\uff45xample.test", '"x%foreign.test"@example.test', "x@foreign.test\u3002example.test", "x@[IPv6:::1]"]


@pytest.mark.parametrize("address", RELAY)
def test_case_8_no_relay_by_any_spelling(mail, address):
    with talk(mail) as t:
        t.say(b"MAIL FROM:<evil@elsewhere.test> SMTPUTF8")
        assert t.say(b"RCPT TO:<%s>" % address.encode())[:1] == b"5"


HOSTILE_LOCALS = [b"|touch /tmp/estafeta-pwned", b"`touch${IFS}/tmp/estafeta-pwned`", b"/etc/passwd", b"-oQ/tmp", b"../../../etc/cron.d/x",
                  b"$(touch /tmp/estafeta-pwned)", b"${run{/bin/touch /tmp/estafeta-pwned}}", b":include:/etc/shadow", b"a\\\"b", b"~root", b"."]


def test_case_8_addresses_run_nothing(mail):
    replies = []
    with bounded(mail):
        for local in HOSTILE_LOCALS:
            quoted = b'"%s"' % local.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            for sender, rcpt in ((b"evil@elsewhere.test", quoted + b"@example.test"), (quoted + b"@elsewhere.test", b"bob@example.test")):
                with talk(mail) as t:
                    t.say(b"MAIL FROM:<%s>" % sender)
                    replies.append(t.say(b"RCPT TO:<%s>" % rcpt))
                    assert replies[-1].endswith(b"\r\n") and replies[-1].count(b"\n") == 1
    assert not os.path.exists("/tmp/estafeta-pwned")
    # known ones only: none of these is a mailbox, or a file beside one
    assert [r[:3] for r in replies[::2]] == [b"550"] * len(HOSTILE_LOCALS) or all(r[:1] == b"5" for r in replies[::2])


def test_case_8_what_names_bring_stays_in_its_line(mail):
    """Log and reply injection through HELO, addresses, unknown commands."""
    with bounded(mail):
        with talk(mail) as t:
            for line in (b"EHLO a\x1b[2Jb\x7f", b"EHLO <x> proto=SMTP helo=<y", b"HELO \xc2\x85x", b"MAIL FROM:<a\x0bb@c.test>",
                         b"MAIL FROM:<a@b> X=\x01", b"FOO \x1b]0;x\x07", b"VRFY %n%n%s%s"):
                reply = t.say(line)
                assert reply.endswith(b"\r\n") and not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", reply), (line, reply)
    raw = (mail.dir / "log").read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", raw)


# --- case 9 ----------------------------------------------------------------------------------------------------------------------------

def test_case_9_reset_after_each_step(mail):
    steps = [b"EHLO x\r\n", b"MAIL FROM:<evil@elsewhere.test>\r\n", b"RCPT TO:<bob@example.test>\r\n", b"DATA\r\n",
             b"Subject: case-9\r\n", b"\r\n", b"body\r\n", b".", b"\r\n"]
    with bounded(mail, "smtpd", "qmgr"):
        for n in range(len(steps) + 1):
            for _ in range(3):
                t = Talk(connect(mail))
                for step in steps[:n]:
                    t.s.sendall(step)
                    if step[-3:] == b"x\r\n" or step[:4] in (b"MAIL", b"RCPT", b"DATA"):
                        t.reply()
                t.reset()
        mail.wait_queue_empty()
    # without the final dot there is no message; with it there may be one that nobody was promised
    assert len(with_marker(mail, b"Subject: case-9")) <= 3


# --- case 10: a server that attacks our client (OpenSMTPD CVE-2020-8794) --------------------------------------------------------------------

class EvilServer(socketserver.BaseRequestHandler):
    def handle(self):
        s, how = self.request, self.server.how
        f = s.makefile("rb")
        with contextlib.suppress(OSError):
            if how == "endless":
                self.flood(b"220-" + b"x" * 60000 + b"\r\n")
            elif how == "no line":
                self.flood(b"2" * 65536)
            s.sendall({"bare": b"220 x\r250 y\r\n", "nul": b"220 \0\r\n", "odd": b"999 x\r\n"}.get(how, b"220 evil\r\n"))
            while (line := f.readline()):
                verb = line[:4].upper()
                if how == "close":
                    return
                if how == "inject" and verb == b"RCPT":
                    s.sendall(b"550-5.1.1 a\x1b[2J\n\r550-5.1.1 id: x\r\n550 5.1.1 z\xff\0\r\n")
                elif how == "early" and verb == b"DATA":
                    s.sendall(b"250 taken\r\n250 taken\r\n250 taken\r\n")
                elif how == "million" and verb == b"MAIL":
                    self.flood(b"250-x\r\n" * 10000)
                else:
                    s.sendall(b"354 go\r\n" if verb == b"DATA" else b"250 evil\r\n")

    def flood(self, piece):
        while True:
            self.request.sendall(piece)


@pytest.mark.parametrize("how", ["endless", "no line", "bare", "nul", "odd", "close", "early", "million"])
def test_case_10_a_server_that_attacks_our_client(make_instance, how):
    with serving(EvilServer, how=None) as server:
        server.how = how
        mail = make_instance(main_cf=ROBUST + "relayhost = [127.0.0.1]:%d\nsmtp_helo_timeout = 10s\n" % server.server_address[1])
        mail.add_users("bob@example.test", "carol@example.test")
        mail.start()
        with bounded(mail, "qmgr", growth=64 * MIB), smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0)) as s:
            s.sendmail("bob@example.test", "x@foreign.test", "Subject: out\r\n\r\nbody\r\n")
            before = pss(mail, "relay")
            mail.wait_log("status=deferred")
            assert pss(mail, "relay") - before < SMTPD_GROWTH + 32 * MIB
        assert [q for q in mail.queue() if q["sender"] == "bob@example.test"]


# --- case 11 -----------------------------------------------------------------------------------------------------------------------------------

def test_case_11_loops_end(mail):
    with talk(mail) as t:
        for hops, code in ((50, b"250"), (51, b"554"), (5000, b"554")):
            envelope(t)
            t.say(b"DATA")
            t.s.sendall(b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\n" * hops + b"Subject: case-11\r\n\r\n.\r\n")
            assert t.reply().startswith(code), hops


# --- case 12 -----------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("first", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nEHLO x\r\nMAIL FROM:<evil@x.test>\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500, b"SSH-2.0-x\r\n", b"\0" * 1000,
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x19",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n"], ids=["GET", "POST", "TLS", "SSH", "NUL", "PROXY v2", "PROXY v1"])
def test_case_12_foreign_protocols(mail, first):
    with bounded(mail), talk(mail, hello=False) as t:
        with contextlib.suppress(OSError):
            t.s.sendall(first + b"EHLO x\r\nMAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<x@foreign.test>\r\nQUIT\r\n")
            seen = t.f.read()
            assert b"\n354" not in seen
            if b"RCPT" in seen or seen.count(b"\r\n250 ") > 2:
                assert b"Relay access denied" in seen  # not one of mynetworks


# --- cases 13 to 19: content; time and memory grow as the message does (Dovecot CVE-2024-23184) ------------------------------------------------------

def addresses(n):
    return b"To: " + b",\r\n ".join(b"a%d@b.test" % k for k in range(n)) + b"\r\n\r\nx\r\n"


def nested(n):
    return b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (k, k) for k in range(n)) + b"\r\nx\r\n"


CONTENT = {
    "case-13 address headers": lambda n: b"To: a@b.test\r\n" * n + b"\r\nx\r\n",
    "case-13 addresses in one header": addresses,
    "case-14 one folded header": lambda n: b"X: " + b"y" * 60 + b"\r\n " * 1 + (b"z" * 60 + b"\r\n ") * (n // 4) + b"z\r\n\r\nx\r\n",
    "case-15 parameters": lambda n: b"Content-Type: text/plain;\r\n" + b"".join(b" n*%d*=utf-8''x;\r\n" % (2 * k) for k in range(n // 10)) + b" z=1\r\n\r\nx\r\n",
    "case-16 depth": lambda n: nested(n // 10),
    "case-16 messages in messages": lambda n: b"Content-Type: message/rfc822\r\n\r\n" * (n // 4) + b"\r\nx\r\n",
    "case-17 empty parts": lambda n: b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * n + b"--b--\r\n",
    "case-18 comments": lambda n: b"From: " + (b"(" * 500 + b"\r\n ") * (n // 500) + b" a@b.test\r\n\r\nx\r\n",
    "case-18 groups": lambda n: b"To: g:;,\r\n " + b"g:a@b.test;,\r\n " * (n // 4) + b"a@b.test\r\n\r\nx\r\n",
    "case-18 encoded words": lambda n: b"Subject: " + b"=?utf-8?q?=C3?=\r\n " * (n // 4) + b"\r\n\r\nx\r\n",
    "case-19 two senders": lambda n: b"From: a@b.test\r\nFrom: <c@d.test\r\nFrom: e(@f.test\r\nSender: =?utf-8?b?AA==?=\r\n\r\nx\r\n",
}


def offer(mail, content):
    with talk(mail) as t:
        envelope(t)
        t.say(b"DATA")
        begin = time.monotonic()
        t.s.sendall(content + b".\r\n")
        return t.reply()[:3], time.monotonic() - begin


@pytest.mark.parametrize("name", CONTENT)
def test_cases_13_to_19_content(mail, name):
    # 100,000 lines take milliseconds; what is quadratic in them takes minutes
    with bounded(mail, "smtpd", "qmgr", growth=64 * MIB):
        for n in (50000 * SCALE, 100000 * SCALE):
            code, seconds = offer(mail, CONTENT[name](n))
            assert code in (b"250", b"552", b"554")
            assert seconds < 10 * float(os.environ.get("TEST_TIME_FACTOR", "1"))
    mail.wait_queue_empty()


# --- case 20: results that others claim in our name (RFC 8601 section 5) -------------------------------------------------------------------------

FORGED = [b"mail.example.test; dkim=pass header.d=bank.test", b"MAIL.Example.Test.; spf=pass", b"\"mail.example.test\" 1; dmarc=pass",
          b"(comment) mail.example.test; dkim=pass", b"\r\n mail.example.test;\r\n\tdkim=pass", b"(" + b"c" * 2000 + b") mail.example.test; dkim=pass",
          b"; dkim=pass", b"", b"=?utf-8?q?mail.example.test?=; dkim=pass", b"(((( mail.example.test; dkim=pass"]


@pytest.mark.parametrize("source", [EVIL, GOOD])
def test_case_20_forged_results_are_left_out(mail, source):
    """A stranger's go, twenty of them, in all spellings; others' names stay, and so does what our own filters say."""
    marker = b"results-%s" % source.encode()
    names = [b"Authentication-Results", b"AUTHENTICATION-results "]
    content = b"Subject: " + marker + b"\r\n" + b"".join(b"%s: %s\r\n" % (names[n % 2], f) for n, f in enumerate(2 * FORGED))
    content += b"Authentication-Results: mail.other.test; dkim=fail\r\n\r\nAuthentication-Results: mail.example.test; in the text\r\n.\r\n"
    with talk(mail, source) as t:
        envelope(t)
        t.say(b"DATA")
        assert t.say(content[:-2]).startswith(b"250")
    mail.wait_queue_empty()
    (message,) = with_marker(mail, marker)
    head, text = message.split(b"\n\n", 1)
    results = [line for line in head.split(b"\n") if line.lower().startswith(b"authentication-results")]
    assert b"mail.example.test; in the text" in text
    assert results[-1] == b"Authentication-Results: mail.other.test; dkim=fail"
    assert len(results) == (1 if source == EVIL else 21)
    assert source == GOOD or b"pass" not in head


# --- milters and policy servers that have gone mad ------------------------------------------------------------------------------------------------

def packet(data):
    return struct.pack(">I", len(data)) + data


class EvilMilter(socketserver.BaseRequestHandler):
    """Behaves until the command that server.at names, then does what server.how says."""

    def handle(self):
        f = self.request.makefile("rb")
        with contextlib.suppress(OSError, struct.error):
            while True:
                (size,) = struct.unpack(">I", f.read(4))
                data = f.read(size)
                if data[:1] == b"D" or data[:1] in b"AQ":
                    continue
                if data[:1] == self.server.at:
                    self.misbehave(self.server.how)
                elif data[:1] == b"O":
                    self.request.sendall(packet(b"O" + struct.pack(">III", 6, 0x1ff, 0)))
                else:
                    self.request.sendall(packet(b"c"))

    def misbehave(self, how):
        s = self.request
        if how == "garbage":
            s.sendall(os.urandom(100000))
        elif how == "huge":
            s.sendall(struct.pack(">I", 0xffffffff))
            while True:
                s.sendall(b"y" * 65536)
        elif how == "never":
            time.sleep(30)
        elif how == "bytes":
            for b in packet(b"c"):
                s.sendall(bytes([b]))
                time.sleep(0.05)
        elif how == "progress":
            while True:
                s.sendall(packet(b"p") * 1000)
        elif how == "reply":
            s.sendall(packet(b"y550 5.7.1 no\x1b[2J\r\n550-5.7.1 a\x01\x02\xff\r\n550 5.7.1 " + b"z" * 5000 + b"\0"))
        elif how == "inject":
            s.sendall(packet(b"y550 5.7.1 no\r\n250 2.0.0 yes\0"))
        elif how == "headers":
            while True:
                s.sendall(packet(b"hX-Bomb\0" + b"b" * 60000 + b"\0"))
        elif how == "many headers":
            for _ in range(120):
                s.sendall(packet(b"i" + struct.pack(">I", 0) + b"X-Bomb\0b\0") * 1000)
            s.sendall(packet(b"c"))
        elif how == "changes":
            s.sendall(packet(b"m" + struct.pack(">I", 1) + b"nope\0\0") * 50000 + packet(b"c"))
        elif how == "recipients":
            s.sendall(packet(b"+<bob@example.test>\0") * 100000 + packet(b"c"))
        elif how == "body":
            while True:
                s.sendall(packet(b"b" + b"b" * 65000))


MAD = [(at, how) for at in (b"O", b"C", b"M", b"E") for how in ("garbage", "huge", "never", "bytes")] + [
    (b"R", "reply"), (b"R", "inject"), (b"E", "headers"), (b"E", "many headers"), (b"E", "recipients"), (b"E", "body"), (b"L", "reply")]


@contextlib.contextmanager
def served_by(handler, option):
    """One listener whose option names the server, one without."""
    with serving(handler, how=None) as server, Instance(main_cf=ROBUST) as i:
        with open(i.conf / "master.cf", "a") as f:
            f.write("%s:2526 inet n - y - 1 smtpd -o %s\n" % (i.ip, option % server.server_address[1]))
        i.add_users("bob@example.test", "carol@example.test")
        i.evil = server
        yield i.start()


@pytest.fixture(scope="module")
def mad():
    with served_by(EvilMilter, "smtpd_milters={inet:127.0.0.1:%d,command_timeout=2s,content_timeout=4s,connect_timeout=2s}") as i:
        yield i


def milter_talk(mail):
    t = Talk(socket.create_connection((mail.ip, 2526), timeout=240, source_address=(EVIL, 0)))
    replies = [t.reply()]
    for line in (b"EHLO x", b"MAIL FROM:<evil@elsewhere.test>", b"RCPT TO:<bob@example.test>", b"DATA",
                 b"Subject: mad\r\n\r\nx\r\n."):
        if not replies[-1] or (line[:4] == b"Subj" and replies[-1][:3] != b"354"):
            break
        t.s.sendall(line + b"\r\n")
        replies.append(t.reply())
    t.close()
    return replies


@pytest.mark.parametrize("at, how", MAD, ids=["%s %s" % (at.decode(), how) for at, how in MAD])
def test_a_mad_milter(mad, at, how):
    mad.evil.at, mad.evil.how = at, how
    with bounded(mad, "smtpd", "qmgr", growth=(SMTPD_GROWTH + 64 * MIB) * (4 if os.environ.get("FLAVOUR") == "asan" else 1)):
        replies = []
        t = threading.Thread(target=lambda: replies.extend(milter_talk(mad)))
        t.start()
        serves(mad)
        t.join(60 * float(os.environ.get("TEST_TIME_FACTOR", "1")))
        assert not t.is_alive()
    for r in replies:
        assert re.fullmatch(rb"[2-5]\d\d[ -][\x20-\x7e]*\r\n", r), r
    if how == "bytes" and at != b"O":
        assert replies[-1].startswith(b"250")
    elif how != "recipients" and how != "many headers":
        assert not replies[-1].startswith(b"250") or len(replies) < 6, replies
    mad.evil.at = None
    assert milter_talk(mad)[-1].startswith(b"250")  # the next session has a milter in its right mind


@pytest.mark.parametrize("fields", [100001, 100000, 99990, 1000])
def test_header_bombs_through_the_milters_list(mad, fields):
    mad.evil.at = None
    with bounded(mad, "smtpd", growth=SMTPD_GROWTH + 128 * MIB):
        with contextlib.closing(Talk(socket.create_connection((mad.ip, 2526), timeout=120, source_address=(EVIL, 0)))) as t:
            t.reply()
            t.say(b"EHLO x", b"MAIL FROM:<evil@elsewhere.test>", b"RCPT TO:<bob@example.test>", b"DATA")
            t.s.sendall(b"a:b\r\n" * fields + b"\r\nx\r\n.\r\n")
            serves(mad)
            reply = t.reply()
            assert reply[:1] in b"245" if fields <= 100000 else reply.startswith(b"552 5.3.4 "), reply


def test_case_20_changes_of_many_headers_cost_the_others_nothing(mad):
    """A message of 99,000 headers, and a milter that removes some 50,000 times, as one that strips forged
    Authentication-Results would: whoever is served by the same process does not notice."""
    mad.evil.at = None
    with contextlib.closing(Talk(socket.create_connection((mad.ip, 2526), timeout=60, source_address=(GOOD, 0)))) as other, \
            contextlib.closing(Talk(socket.create_connection((mad.ip, 2526), timeout=60, source_address=(EVIL, 0)))) as t:
        for one in (other, t):
            one.reply()
            one.say(b"EHLO x")
        mad.evil.at, mad.evil.how = b"E", "changes"
        t.say(b"MAIL FROM:<evil@elsewhere.test>", b"RCPT TO:<bob@example.test>", b"DATA")
        t.s.sendall(b"a:b\r\n" * 99000 + b"\r\nx\r\n.\r\n")
        replies = []
        w = threading.Thread(target=lambda: replies.append(t.reply()))
        w.start()
        while w.is_alive():
            begin = time.monotonic()
            assert other.say(b"VRFY x").startswith((b"252", b"421"))
            assert time.monotonic() - begin < 2 * float(os.environ.get("TEST_TIME_FACTOR", "1"))
            w.join(1)
        assert replies[0].startswith(b"451")


class EvilPolicy(socketserver.BaseRequestHandler):
    def handle(self):
        f = self.request.makefile("rb")
        with contextlib.suppress(OSError):
            while (line := f.readline()):
                if line != b"\n":
                    continue
                how = self.server.how
                if how == "never":
                    time.sleep(30)
                elif how == "bytes":
                    for b in b"action=DUNNO\n\n":
                        self.request.sendall(bytes([b]))
                        time.sleep(0.02)
                elif how == "huge":
                    while True:
                        self.request.sendall(b"action=" + b"x" * 65536)
                elif how == "garbage":
                    self.request.sendall(os.urandom(5000) + b"\n\n")
                else:
                    self.request.sendall(how)


@pytest.fixture(scope="module")
def policed():
    with served_by(EvilPolicy, "{ smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:%d, timeout=2s, "
                   "try_limit=1 } }") as i:
        yield i


def policy_rcpt(mail, rcpt=b"bob@example.test"):
    with contextlib.closing(Talk(socket.create_connection((mail.ip, 2526), timeout=60, source_address=(EVIL, 0)))) as t:
        t.reply()
        t.say(b"EHLO x", b"MAIL FROM:<evil@elsewhere.test>")
        return t.say(b"RCPT TO:<%s>" % rcpt)


@pytest.mark.parametrize("how, code", [
    ("never", b"451"), ("bytes", b"250"), ("huge", b"451"), ("garbage", b"451"),
    (b"\n", b"451"), (b"action=\n\n", b"451"), (b"action=permit_everything\n\n", b"451"),
    (b"action=REJECT a\r250 2.1.5 Ok\x1b[2J\x00b\n\n", b"554"), (b"action=REJECT " + b"x" * 8000 + b"\n\n", b"554"),
    (b"action=OK\n\naction=OK\n\n", b"250"), (b"action=PREPEND a\n\n", b"250"), (b"action=550 %s%n\n\n", b"550"),
    (b"action=REDIRECT |sh\n\n", b"250"),
], ids=lambda v: repr(v[:30]) if isinstance(v, bytes) else v)
def test_a_mad_policy_server(policed, how, code):
    policed.evil.how = how
    with bounded(policed, "smtpd"):
        replies = []
        t = threading.Thread(target=lambda: replies.append(policy_rcpt(policed)))
        t.start()
        serves(policed)
        t.join(60)
    assert replies[0].startswith(code) and re.fullmatch(rb"[\x20-\x7e]*\r\n", replies[0])
    # no answer of this is left over for the next
    policed.evil.how = b"action=REJECT mine\n\n"
    assert policy_rcpt(policed).endswith(b"mine\r\n")
    # and OK of a policy server opens no relay
    policed.evil.how = b"action=OK\n\n"
    assert b"Relay access denied" in policy_rcpt(policed, b"x@foreign.test")


# --- case 41: what name servers say ------------------------------------------------------------------------------------------------------------------

def test_case_41_texts_of_a_dns_list(make_instance, name_server):
    rows = {"127.70.0.2": r'"a\013\010250 2.1.5 Ok\000\027[2J\255b"', "127.70.0.3": " ".join('"%s"' % ("x" * 255) for _ in range(250)),
            "127.70.0.4": '"%s%n$rbl_code ${client_name}"', "127.70.0.5": '""'}
    zone = "".join("%s IN A 127.0.0.2\n%s IN TXT %s\n" % (n, n, text) for n, text in
                   ((".".join(reversed(ip.split("."))), text) for ip, text in rows.items()))
    dns = name_server({"bl.test": zone})
    mail = make_instance(main_cf=ROBUST + "smtpd_client_restrictions = reject_rbl_client bl.test\n", dns=dns.forwarder)
    mail.add_users("bob@example.test", "carol@example.test")
    mail.start()
    with bounded(mail, "smtpd", "dnsd"):
        for ip in rows:
            with talk(mail, source=ip) as t:
                t.say(b"MAIL FROM:<evil@elsewhere.test>")
                reply = t.say(b"RCPT TO:<bob@example.test>")
                assert reply.startswith(b"554 5.7.1 Service unavailable; Client host [%s] blocked using bl.test" % ip.encode())
                assert re.fullmatch(rb"[\x20-\x7e]{,1020}\r\n", reply)
                assert t.say(b"NOOP").startswith(b"250")  # no second reply was in it
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", (mail.dir / "log").read_bytes())


# --- strangers who say who they are; keys of anvil and the greylist -------------------------------------------------------------------------------------

def test_strangers_may_not_say_who_they_are(mail):
    with talk(mail) as t:
        for line in (b"XCLIENT ADDR=127.0.0.1", b"XCLIENT LOGIN=bob@example.test", b"XFORWARD ADDR=127.0.0.1 IDENT=a+0D+0A",
                     b"XCLIENT NAME=a+0D+0Ab ADDR=[UNAVAILABLE]"):
            assert t.say(line)[:1] == b"5"
        t.say(b"MAIL FROM:<evil@elsewhere.test>")
        assert b"Relay access denied" in t.say(b"RCPT TO:<x@foreign.test>")


def test_keys_of_anvil_and_the_greylist(make_instance):
    mail = make_instance(main_cf=ROBUST + "smtpd_recipient_restrictions = check_greylist\nsmtpd_greylist_delay = 1s\n"
                         "smtpd_client_message_rate_limit = 1000000\nsmtpd_client_connection_count_limit = 100000\n")
    mail.add_users("bob@example.test", "carol@example.test")
    mail.start()
    before = pss(mail, "anvil")
    for n in range(3000):  # clients from as many addresses
        with socket.create_connection((mail.ip, 2525), timeout=60, source_address=("127.71.%d.%d" % (n // 250, n % 250 + 1), 0)) as s:
            assert s.recv(4).startswith(b"220")
    with talk(mail) as t:
        t.s.sendall(b"".join(b"RSET\r\nMAIL FROM:<%s@%s.test> SMTPUTF8\r\nRCPT TO:<bob@example.test>\r\n" % (local, b"d" * 60)
                             for local in (b"\xc3\xa9" * 30, b'"' + b"\\\"" * 30 + b'"', b"x" * 64, b'"a b"', b"%00%n")))
        codes = [(t.reply(), t.reply(), t.reply()) for _ in range(5)]
        assert all(c[2][:1] in b"45" for c in codes), codes
    assert pss(mail, "anvil") - before < 16 * MIB * (4 if os.environ.get("FLAVOUR") == "asan" else 1)
    assert len(mail.processes("anvil")) == 1
    with talk(mail) as t:
        t.say(b"MAIL FROM:<a@elsewhere.test>")
        assert t.say(b"RCPT TO:<bob@example.test>").startswith(b"450")


# --- case 35: TLS ------------------------------------------------------------------------------------------------------------------------------------------

def secured(mail, context, source=EVIL):
    t = Talk(connect(mail, source))
    t.reply()
    t.say(b"EHLO x")
    assert t.say(b"STARTTLS").startswith(b"220")
    return Talk(context.wrap_socket(t.s))


def test_case_35_renegotiation_is_refused(mail):
    """CVE-2021-3449, CVE-2011-1473: a client of TLS 1.2 that asks for it gets nothing."""
    r = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % (mail.ip, 2525), "-starttls", "smtp", "-tls1_2", "-crlf",
                        "-bind", EVIL + ":0"], input=b"R\n", capture_output=True, timeout=60)
    assert b"RENEGOTIATING" in r.stderr + r.stdout
    assert re.search(rb"no renegotiation|handshake failure|unexpected", r.stderr + r.stdout), r.stderr
    serves(mail)


def test_case_35_records_of_one_byte(mail):
    with bounded(mail):
        t = secured(mail, mail.tls())
        for b in b"EHLO x\r\nMAIL FROM:<evil@elsewhere.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: records\r\n\r\n" + b"y" * 900 + b"\r\n.\r\n":
            t.s.send(bytes([b]))
        assert [t.reply()[:3] for _ in range(5)] == [b"250", b"250", b"250", b"354", b"250"]
        t.close()


def test_case_35_handshakes_that_never_finish(mail):
    with bounded(mail, growth=SMTPD_GROWTH + 64 * MIB), contextlib.ExitStack() as stack:
        for n in range(500):
            t = Talk(connect(mail))
            stack.callback(t.close)
            t.reply()
            t.say(b"EHLO x")
            t.say(b"STARTTLS")
            t.s.sendall(b"\x16\x03\x01\x02\x00\x01" if n % 2 else b"")
            if n == 250:
                serves(mail)
        begin = time.monotonic()
        assert t.f.read() == b""  # cut by smtpd_starttls_timeout
        assert time.monotonic() - begin < 10 * float(os.environ.get("TEST_TIME_FACTOR", "1"))


def test_case_35_many_handshakes(mail):
    """CVE-2022-1473, CVE-2024-2511: memory does not grow with them."""
    context = mail.tls()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def shake(count):
        for _ in range(count):
            t = secured(mail, context)
            t.close()

    shake(100)
    count = 10000 * SCALE if os.environ.get("FLAVOUR", "release") == "release" else 500
    with bounded(mail, "smtpd", "keyd", growth=16 * MIB if count >= 10000 else SMTPD_GROWTH):
        workers = [threading.Thread(target=shake, args=(count // 4,)) for _ in range(4)]
        for w in workers:
            w.start()
        while any(w.is_alive() for w in workers):
            serves(mail)
            time.sleep(1)


def test_case_35_a_chain_of_100_kilobytes(mail, tmp_path):
    """Nobody asked for it: a certificate message that is too large, or out of turn, ends the handshake."""
    with bounded(mail), talk(mail) as t:
        assert t.say(b"STARTTLS").startswith(b"220")
        body = b"\x0b" + struct.pack(">I", 100000)[1:] + b"c" * 100000
        with contextlib.suppress(OSError):
            for at in range(0, len(body), 16000):
                t.s.sendall(b"\x16\x03\x03" + struct.pack(">H", len(body[at:at + 16000])) + body[at:at + 16000])
            t.f.read()


# --- SASL (Postfix CVE-2011-1720, Dovecot CVE-2019-11494, -11499, CVE-2025-59028) --------------------------------------------------------------------------------

def test_sasl_given_up_at_each_byte(mail):
    import base64
    exchange = (b"AUTH PLAIN\r\n" + base64.b64encode(b"\0bob@example.test\0wrong") + b"\r\n" + b"AUTH LOGIN\r\n*\r\n"
                b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=bob@example.test,r=abc") + b"\r\n" + b"!\r\n"
                b"AUTH " + b"X" * 30 + b"\r\nAUTH PLAIN =\r\n")
    context = mail.tls()
    with bounded(mail, "smtpd", "authd"):
        for cut in range(0, len(exchange), 1 if os.environ.get("FLAVOUR") != "asan" else 7):
            s = socket.create_connection((mail.ip, mail.port("submissions")), timeout=60, source_address=(EVIL, 0))
            s = context.wrap_socket(s)
            s.sendall(b"EHLO x\r\n" + exchange[:cut])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        # the others' logins are as good as before
        with smtplib.SMTP_SSL(mail.ip, mail.port("submissions"), context=context, source_address=(GOOD, 0)) as s:
            s.login("bob@example.test", "secret")
