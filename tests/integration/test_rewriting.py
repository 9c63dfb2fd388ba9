"""Addresses that become others: canonical_maps and its kin, masquerade_domains; in envelope and header."""
import contextlib
import smtplib
import subprocess
import uuid

import pytest

from instance import BUILD, DEADLINE, Instance, wait_until
from smtp_wire import Sink

MAIN = """\
smtpd_peername_lookup = no
myorigin = origin.test
recipient_delimiter = +
relayhost = {gw}
local_header_rewrite_clients = permit_mynetworks
mynetworks = 127.0.0.2/32
canonical_maps = hash:$config_directory/canonical
sender_canonical_maps = inline:{{ {{anna@example.test=anna.smith@example.test}}, {{root@host.example.test=admin}} }}
recipient_canonical_maps = inline:{{ {{old@example.test=bob@example.test}}, {{far@example.test=x@elsewhere.test}} }}
masquerade_domains = !open.mask.test mask.test
masquerade_exceptions = root
smtp_generic_maps = inline:{{ {{in@here.test=out@world.test}}, {{@lan.test=@world.test}}, {{to@here.test=there@world.test}} }}
"""
CANONICAL = "@internal.test @public.test\nuser@c.test name.of.user@c.test\nloop@c.test pool@c.test\npool@c.test loop@c.test\n"
# 2525: local are mynetworks (127.0.0.2); 2526: everybody's header is rewritten
LISTENERS = "{ip}:2526 inet n - y - 1 smtpd -o local_header_rewrite_clients= -o remote_header_rewrite_domain=domain.invalid\n"
HEADER = (
    "From: \"Anna (at home)\" <Anna@Example.test>,\r\n\tJos\u00e9 <x@Host.mask.test> (on leave)\r\n"
    "Sender: bob\r\n"
    "To: friends: user+x@c.test , root@host.mask.test;, old@example.test\r\n"
    "Cc: anna@example.test, me@open.mask.test, a@internal.test\r\n"
    "Reply-To: \"unfinished, a@internal.test\r\n"
    "X-To: a@internal.test\r\n"
    "Message-Id: <a@internal.test>\r\n")
LOCAL = (
    "From: \"Anna (at home)\" <anna.smith@example.test>,\r\n\tJos\u00e9 <x@mask.test> (on leave)\r\n"
    "Sender: bob@origin.test\r\n"
    "To: friends: name.of.user+x@c.test , root@host.mask.test;, bob@example.test\r\n"
    "Cc: anna@example.test, me@open.mask.test, a@public.test\r\n"
    "Reply-To: \"unfinished, a@internal.test\r\n"
    "X-To: a@internal.test\r\n"
    "Message-Id: <a@internal.test>\r\n")
REMOTE = LOCAL.replace("bob@origin.test", "bob@domain.invalid")


@contextlib.contextmanager
def instance(main_cf, listeners=""):
    sink = Sink()
    try:
        with Instance(main_cf=main_cf.format(gw="[%s]:%d" % sink.where[:2])) as mail:
            mail.sink = sink
            (mail.conf / "canonical").write_text(CANONICAL)
            mail.estafeta("map", "build", "hash:%s/canonical" % mail.conf)
            with open(mail.conf / "master.cf", "a") as f:
                f.write(listeners.format(ip=mail.ip))
            mail.add_users("bob@example.test", "anna@example.test")
            yield mail
    finally:
        sink.close()


@pytest.fixture(scope="module")
def mail():
    with instance(MAIN, LISTENERS) as m:
        yield m.start()


def send(mail, rcpt, sender="x@elsewhere.test", header="", port=2525, source="127.0.0.2"):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, port, source_address=(source, 0), timeout=DEADLINE) as s:
        s.ehlo()
        s.sendmail(sender, rcpt, (header + "Subject: %s\r\n\r\nFrom: a@internal.test\r\n" % ident).encode(),
                   ["BODY=8BITMIME"])
    return ident


def relayed(mail, ident):
    """Envelope and content of what the other server got."""
    sender, rcpts, text = wait_until(lambda: [m for m in list(mail.sink.messages) if ident.encode() in m[2]] or None)[0]
    return sender.decode(), [r.decode() for r in rcpts], text.decode()


def stored(mail, user, ident):
    return wait_until(lambda: [m for m in mail.messages(user) if ident.encode() in m] or None)[0].decode()


@pytest.mark.parametrize("port, source, want", [
    (2525, "127.0.0.2", LOCAL),
    (2525, "127.0.0.1", HEADER),
    (2526, "127.0.0.1", REMOTE),
], ids=["local", "remote", "remote_header_rewrite_domain"])
def test_header(mail, port, source, want):
    ident = send(mail, "bob@example.test", header=HEADER, port=port, source=source)
    text = stored(mail, "bob@example.test", ident)
    assert want.replace("\r\n", "\n") + "Subject: %s\n\nFrom: a@internal.test\n" % ident in text


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("sender, want", [
    ("anna@example.test", "anna.smith@example.test"),
    ("anna+x@example.test", "anna.smith+x@example.test"),
    ("user@c.test", "name.of.user@c.test"),
    ("x@host.mask.test", "x@mask.test"),
    ("root@host.mask.test", "root@host.mask.test"),
    ("root@host.example.test", "admin@origin.test"),
    ("a@internal.test", "a@public.test"),
    ("Nobody.Special@elsewhere.test", "Nobody.Special@elsewhere.test"),
    ("", ""),
])
def test_sender(mail, sender, want, source):
    """Whoever sends it; what is rewritten is what a bounce goes to."""
    got = relayed(mail, send(mail, "far@example.test", sender, source=source))
    assert got[0].split(" ")[0] == "<%s>" % want


def test_recipients(mail):
    stored(mail, "bob@example.test", send(mail, "old@example.test"))
    stored(mail, "bob@example.test", send(mail, "Old@Example.Test", source="127.0.0.9"))
    rcpts = relayed(mail, send(mail, "far@example.test"))[1]
    assert len(rcpts) == 1 and "x@elsewhere.test" in rcpts[0]
    # elsewhere is where the address says, whatever it becomes
    with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.9", 0), timeout=DEADLINE) as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        assert s.rcpt("a@internal.test")[0] == 554
        assert s.rcpt("nobody@example.test")[0] == 550
    # masquerade_classes: not recipients of the envelope
    rcpts = relayed(mail, send(mail, "x@host.mask.test"))[1]
    assert "x@host.mask.test" in rcpts[0]


def test_generic(mail):
    """generic(5): what leaves by SMTP; mail that stays is as it was."""
    header = ("From: \"I, me\" <In@Here.test>\r\nTo: a@lan.test,\r\n b@c.test\r\nX-From: in@here.test\r\n")
    ident = send(mail, "to@here.test", "in@here.test", header, source="127.0.0.2")
    sender, rcpts, text = relayed(mail, ident)
    assert sender.split(" ")[0] == "<out@world.test>" and "<there@world.test>" in rcpts[0]
    assert "From: \"I, me\" <out@world.test>\r\nTo: a@world.test,\r\n b@c.test\r\nX-From: in@here.test\r\n" in text
    assert text.endswith("\r\n\r\nFrom: a@internal.test\r\n")
    # the log speaks of the message as it was accepted
    mail.wait_log("to=<to@here.test>, relay=")
    text = stored(mail, "bob@example.test", send(mail, "bob@example.test", "in@here.test", header, source="127.0.0.2"))
    assert "<In@Here.test>" in text and "Return-Path: <in@here.test>" in text
    # the null sender is nobody's, and a large message's body stays where it is
    body = "in@here.test\r\n" * 50000
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.2", 0), timeout=DEADLINE) as s:
        s.sendmail("", "x@lan.test", "From: in@here.test\r\nSubject: %s\r\n\r\n%s" % (ident, body))
    sender, rcpts, text = relayed(mail, ident)
    assert sender.split(" ")[0] == "<>" and "<x@world.test>" in rcpts[0]
    assert text.endswith("From: out@world.test\r\nSubject: %s\r\n\r\n%s" % (ident, body))


def test_generic_that_cannot_be_asked_waits():
    with instance("relayhost = {gw}\nmynetworks = 127.0.0.2/32\nsmtp_generic_maps = fail:x\n") as mail:
        mail.start()
        ident = send(mail, "x@elsewhere.test")
        mail.wait_log("dsn=4.3.0, status=deferred (smtp_generic_maps: table lookup problem)")
        assert not [m for m in mail.sink.messages if ident.encode() in m[2]]


def test_what_leads_in_circles_waits(mail):
    for sender, header in (("loop@c.test", ""), ("x@elsewhere.test", "From: loop@c.test\r\n")):
        with pytest.raises(smtplib.SMTPDataError) as e:
            send(mail, "bob@example.test", sender, header)
        assert e.value.smtp_code == 451
    with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
        send(mail, "loop@c.test")
    assert list(e.value.recipients.values())[0][0] == 451
    mail.wait_log("warning: unreasonable canonical_maps map nesting for loop@c.test -- message not accepted, try again later")


def test_sendmail(mail):
    ident = uuid.uuid4().hex
    header = HEADER.replace("\r\n", "\n").replace("From: ", "Resent-From: ")
    text = header + "From: anna@example.test\nSubject: %s\n\nFrom: a@internal.test\n" % ident
    subprocess.run([BUILD / "sendmail", "-C", mail.conf, "-f", "anna@example.test", "old@example.test", "far@example.test"],
                   check=True, input=text.encode())
    want = LOCAL.replace("\r\n", "\n").replace("From: ", "Resent-From: ") + "From: anna.smith@example.test\n"
    got = stored(mail, "bob@example.test", ident)
    assert want + "Subject: %s\n" % ident in got and got.endswith("\n\nFrom: a@internal.test\n"), got
    got = relayed(mail, ident)
    assert "anna.smith@example.test" in got[0] and "x@elsewhere.test" in got[1][0]
    # circles: the sender is told
    r = subprocess.run([BUILD / "sendmail", "-C", mail.conf, "-f", "loop@c.test", "bob@example.test"], input=b"x\n",
                       capture_output=True)
    assert r.returncode == 75, r


def test_a_long_list_is_asked_for_in_pieces(mail):
    names = ["u%d@%s.test" % (i, "internal" if i % 2 else "other") for i in range(350)]
    ident = send(mail, "bob@example.test", header="To: %s\r\n" % ",\r\n ".join(names))
    text = stored(mail, "bob@example.test", ident)
    assert "To: " + ",\n ".join(n.replace("@internal", "@public") for n in names) + "\n" in text


def test_classes():
    """Each map only where its classes say."""
    with instance("relayhost = {gw}\nsmtpd_peername_lookup = no\nmynetworks = 127.0.0.2/32\n"
                  "local_header_rewrite_clients = permit_mynetworks\n"
                  "canonical_maps = hash:$config_directory/canonical\ncanonical_classes = header_recipient\n"
                  "masquerade_domains = mask.test\nmasquerade_classes = envelope_sender envelope_recipient\n"
                  "propagate_unmatched_extensions = virtual\nrecipient_delimiter = +\n") as mail:
        mail.start()
        ident = send(mail, "x@h.mask.test", "a@h.mask.test",
                     "From: a@internal.test\r\nTo: user+x@c.test, b@h.mask.test\r\n")
        sender, rcpts, text = relayed(mail, ident)
        assert "a@mask.test" in sender and "x@mask.test" in rcpts[0]
        assert "From: a@internal.test\r\nTo: name.of.user@c.test, b@h.mask.test\r\n" in text
