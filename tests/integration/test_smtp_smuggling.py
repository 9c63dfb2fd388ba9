"""SMTP smuggling: whatever looks like an end of data and is none ends nothing, injects nothing, and is not passed on.

RFC 5321 2.3.8 and 4.1.1.4 know one end, CRLF "." CRLF.  Each look-alike is followed by a whole transaction: at most one
message may be accepted, what was hidden in it never, and relay's next hop - a sink that splits at CRLF and
nothing else - must find not one bare CR, bare LF or NUL in all that it is sent."""
import itertools
import re
import subprocess

import pytest

import sample
from instance import BUILD, Instance, wait_until
from smtp_wire import TLS, Sink, Wire, bare_bytes

MODES = {"reject": 2525, "normalize": 2540}
SERVICES = sample.MASTER_CF + "{ip}:2540  inet n - y - 2 smtpd -o smtpd_forbid_bare_newline=normalize\n"
MAIN_CF = """
smtpd_peername_lookup = no
smtpd_forbid_bare_newline_exclusions =
relayhost = [%s]:%d
smtp_tls_security_level = none
"""

LOOK_ALIKES = [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r.\n", b"\n.\r", b"\r.\r\n",
    b"\r\r\n.\r\r\n", b"\r\n.\r\r\n",
               b"\n\n.\n\n", b"\n\r.\n\r", b"\r\n.\0\r\n", b"\r\n\0.\r\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\0.\0",
               b"\r\n.\0\n",
               b"\r\n..\r\n", b"\r\n. \r\n", b"\r\n .\r\n", b"\r\n.\x0b\r\n", b"\r\n.\xc2\x85",
               b"\xe2\x80\xa8.\xe2\x80\xa8"]
END = b"\r\n.\r\n"
HIDDEN = b"MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nsecond"
TRANSPORTS = ["DATA", "BDAT", "BDAT BDAT"]
rows = itertools.count()


def shown(data):
    names = {b"\r": "CR", b"\n": "LF", b"\0": "NUL", b" ": "SP", b"\x0b": "VT"}
    return " ".join(names.get(b"%c" % c) or (chr(c) if c < 127 else "%02X" % c) for c in data)


class Net:
    def __init__(self, mail, sink):
        self.mail, self.sink, self.accepted = mail, sink, []

    def send(self, port, tls, pieces):
        """One transaction of the pieces, each a write; what comes must be one reply, and the session in step."""
        with Wire((self.mail.ip, port), "127.0.0.1", self.mail.tls()) as w:
            w.play(("< 220", "> EHLO c.example", "< 250"))
            if tls:
                w.play(("> STARTTLS", "< 220", TLS, "> EHLO c.example", "< 250"))
            w.play(("> MAIL FROM:<first@sender.example> BODY=8BITMIME", "< 250", "> RCPT TO:<alice@example.test>",
                "< 250",
                    "> RCPT TO:<x@remote.example>", "< 250"))
            for piece in pieces:
                if isinstance(piece, str):
                    w.play((piece,))
                else:
                    w.send(piece)
            code = w.reply()[0]
            w.play(("> VRFY x", "< 252 2.5.2", "> QUIT", "< 221"))
            w.expect_closed()
        return code

    def verify(self, token):
        """The message is there once, in the mailbox as at the next hop, and it is the same."""
        self.accepted.append(token)
        [stored] = wait_until(lambda: self.stored(token))
        [(sender, rcpts, content)] = wait_until(lambda: self.relayed(token))
        assert sender.startswith(b"<first@sender.example>") and rcpts == [b"<x@remote.example>"]
        assert self.sink.faults == []
        plain = re.sub(rb"(?m)^\.", b"", content.replace(b"\r\n", b"\n"))
        at = b"Subject: " + token
        assert plain[plain.index(at):].rstrip(b"\n") == stored[stored.index(at):].replace(b"\r\n", b"\n").rstrip(b"\n")

    def stored(self, token=b""):
        return [m for m in self.mail.messages("alice@example.test") if token in m]

    def relayed(self, token=b""):
        return [m for m in list(self.sink.messages) if token in m[2]]


@pytest.fixture(scope="module")
def net():
    sink = Sink()
    try:
        with Instance(main_cf=MAIN_CF % sink.where, master_cf=SERVICES) as mail:
            mail.add_users("alice@example.test")
            mail.start()
            n = Net(mail, sink)
            yield n
            mail.wait_queue_empty()
            assert len(n.stored()) == len(n.relayed()) == len(n.accepted)
            assert sink.faults == [] and not any(m[0].startswith(b"<smug") for m in sink.messages)
    finally:
        sink.close()


def pieces_of(transport, head, look, tail):
    """Each byte of the look-alike in a write of its own; with two chunks, their border in its midst."""
    alone = [b"%c" % c for c in look]
    if transport == "DATA":
        return ["> DATA", "< 354", head, *alone, tail + END]
    data = head + look + tail
    cut = len(data) if transport == "BDAT" else len(head) + (len(look) + 1) // 2
    if cut == len(data):
        return [b"BDAT %d LAST\r\n" % len(data) + head, *alone, tail]
    return [b"BDAT %d\r\n" % cut + data[:cut], "< 250", b"BDAT %d LAST\r\n" % (len(data) - cut) + data[cut:]]


def is_clean(mode, data):
    return not (set(bare_bytes(data)) - ({"bare LF"} if mode == "normalize" else set()))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("look, transport", [(x, t) for x in [*LOOK_ALIKES, END] for t in TRANSPORTS if (x,
    t) != (END, "DATA")],
                         ids=lambda x: x if isinstance(x, str) else shown(x))
def test_look_alike(net, look, transport, mode, tls):
    token = b"t%d-%s-" % (next(rows), re.sub(r"\W", "", str((look, transport, mode, tls))).encode())
    code = net.send(MODES[mode], tls, pieces_of(transport, b"Subject: " + token + b"\r\n\r\nbody", look, HIDDEN))
    clean = is_clean(mode, look)
    assert code == ("250" if clean else "550")
    if clean:
        net.verify(token)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cut", range(1, len(END)))
def test_the_end_cut_anywhere(net, cut, mode, tls):
    token = b"cut-%d-%s-%d" % (cut, mode.encode(), tls)
    assert net.send(MODES[mode], tls, ["> DATA", "< 354", b"Subject: " + token + b"\r\n\r\nbody" + END[:cut],
        END[cut:]]) == "250"
    net.verify(token)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("look", filter(bare_bytes, LOOK_ALIKES), ids=shown)
def test_look_alike_behind_a_command(net, look, tls):
    """Content sent before 354, and DATA was refused: what follows are commands, cut at CRLF only, up to the fault."""
    with Wire((net.mail.ip, MODES["normalize"]), "127.0.0.1", net.mail.tls()) as w:
        w.play(("< 220", "> EHLO c.example", "< 250"))
        if tls:
            w.play(("> STARTTLS", "< 220", TLS, "> EHLO c.example", "< 250"))
        w.send(b"DATA\r\nNOOP" + look + HIDDEN + END)
        w.play(("< 503 5.5.1",))
        replies = [w.reply()]
        while replies[-1][0] not in ("521", "221"):
            replies.append(w.reply())
        assert not any(code == "354" or dsn.startswith("2.1.") for code, dsn, _ in replies)
        w.expect_closed()


@pytest.mark.parametrize("look", LOOK_ALIKES, ids=shown)
def test_sendmail_passes_none_on(net, look):
    """The local door: line ends of any kind there are Unix's, a bare CR and NUL are nobody's."""
    token = b"local-%d-" % next(rows) + re.sub(r"\W", "", str(look)).encode()
    r = subprocess.run([BUILD / "sendmail", "-C", net.mail.conf, "-i", "-f", "first@sender.example",
        "x@remote.example", "alice@example.test"],
                       input=b"Subject: " + token + b"\n\nbody" + look + HIDDEN.replace(b"\r", b"") + b"\n",
                           capture_output=True, timeout=60)
    assert (r.returncode == 0) == (b"\0" not in look), r.stderr
    if r.returncode == 0:
        net.verify(token)
