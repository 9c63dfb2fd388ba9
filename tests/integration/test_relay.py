"""Two instances and a name server: mail goes by MX preference, waits when nobody answers, comes back as a DSN."""
import email
import smtplib
import uuid

import pytest

from instance import DEADLINE, wait_until
from smtp_wire import Sink

FAST = ("minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\nsmtp_tcp_port = 2525\n"
        "smtp_connect_timeout = 5s\n")


class Net:
    """mail.a.test (sender) and b.test with two MXs: mx1.b.test (preferred) and mx2.b.test."""


@pytest.fixture
def net(make_instance, name_server):
    n = Net()
    # instances have their addresses before the zone names them; main.cf learns the server afterwards
    n.sender = make_instance(hostname="mail.a.test", domain="a.test", main_cf=FAST)
    n.mx1 = make_instance(hostname="mx1.b.test", domain="b.test nomx.test")
    n.mx2 = make_instance(hostname="mx2.b.test", domain="b.test")
    n.dns = name_server({
        "a.test": "mail IN A %s\n@ IN MX 10 mail" % n.sender.ip,
        "b.test": "@ IN MX 10 mx1\n@ IN MX 20 mx2\nmx1 IN A %s\nmx2 IN A %s" % (n.mx1.ip, n.mx2.ip),
        "null.test": "@ IN MX 0 .",
        "nomx.test": "@ IN A %s" % n.mx1.ip,
        "loop.test": "@ IN MX 10 mail.a.test.",
    })
    for i in (n.sender, n.mx1, n.mx2):
        i.estafeta("config", "-e", "dns_forwarders=" + n.dns.forwarder)
    n.sender.add_user("alice@a.test")
    n.mx1.add_users("bob@b.test", "bob@nomx.test")
    n.mx2.add_user("bob@b.test")
    n.sender.start()
    return n


def send(net, rcpt, sender="alice@a.test"):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(net.sender.ip, 2587) as s:
        s.starttls(context=net.sender.tls())
        s.login("alice@a.test", "secret")
        s.sendmail(sender, rcpt, "From: %s\r\nSubject: %s\r\n\r\nID: %s\r\n.dot\r\n" % (sender, ident, ident))
    return ident


def has(instance, address, ident):
    return any(ident.encode() in m for m in instance.messages(address))


def test_mx_preference_fallback_and_waiting(net):
    net.mx1.start()
    net.mx2.start()
    first = send(net, "bob@b.test")
    wait_until(lambda: has(net.mx1, "bob@b.test", first))
    assert not has(net.mx2, "bob@b.test", first)
    net.mx1.stop()
    second = send(net, "bob@b.test")
    wait_until(lambda: has(net.mx2, "bob@b.test", second))
    net.mx2.stop()
    third = send(net, "bob@b.test")
    entry = wait_until(lambda: [q for q in net.sender.queue() if q["recipients"][0].get("delay_reason")])[0]
    assert entry["sender"] == "alice@a.test"
    assert entry["recipients"][0]["address"] == "bob@b.test"
    assert "refused" in entry["recipients"][0]["delay_reason"]
    assert entry["queue_id"] in net.sender.estafeta("queue", "list").stdout
    net.mx1.start()
    wait_until(lambda: has(net.mx1, "bob@b.test", third))
    net.sender.wait_queue_empty()


def dsn(net):
    found = [email.message_from_bytes(m) for m in net.sender.messages("alice@a.test")]
    return [m for m in found if m.get_content_type() == "multipart/report"]


@pytest.mark.parametrize("rcpt, status, text", [
    ("nobody@b.test", "5.1.1", "User unknown"),
    ("bob@null.test", "5.1.10", "null"),
    ("bob@nowhere.b.test", "5.4.4", "not found"),
    ("bob@loop.test", "5.4.6", "loops back to myself"),
])
def test_failures_come_back_as_a_dsn(net, rcpt, status, text):
    net.mx1.start()
    ident = send(net, rcpt)
    report = wait_until(lambda: dsn(net))[0]
    assert report.get_param("report-type") == "delivery-status"
    assert "MAILER-DAEMON" in report["From"] and report["Return-Path"] == "<>"
    human, machine, original = report.get_payload()
    fields = machine.get_payload()[1]
    assert fields["Final-Recipient"].split(";")[1].strip() == rcpt
    assert fields["Action"] == "failed" and fields["Status"] == status
    assert text.lower() in human.get_payload().lower()
    assert ident in original.as_string()
    net.sender.wait_queue_empty()


def test_a_domain_without_mx_is_reached_by_its_address(net):
    net.mx1.start()
    ident = send(net, "bob@nomx.test")
    wait_until(lambda: has(net.mx1, "bob@nomx.test", ident))


def test_relay_uses_tls_and_reuses_its_connection(net):
    net.mx1.start()
    idents = [send(net, "bob@b.test") for _ in range(5)]
    for i in idents:
        wait_until(lambda i=i: has(net.mx1, "bob@b.test", i))
    received = [m for m in net.mx1.messages("bob@b.test") if idents[0].encode() in m][0]
    assert b"with ESMTPS" in received and b"using TLSv1." in received
    assert "TLS connection established to" in net.sender.log_text()


# --- a server without 8BITMIME
LONG = "Grüße an alle, die längere Zeilen schätzen, als sie in Briefen üblich sind, und das ohne Umbruch.\r\n"
PARTS = {
    "plain": ("text/plain; charset=utf-8", "8bit", (LONG + ".\r\n--= \r\n" + "7-bit = \t\r\n").encode()),
    "latin": ("text/plain; charset=iso-8859-1", "8bit", "Grüße\r\n".encode("latin-1")),
    "ascii": ("text/plain", "7bit", b"plain = plain\r\n"),
    "bytes": ("application/octet-stream", "binary", bytes(c for c in range(1, 256) if c not in b"\r\n") * 3 + b"\r\n\r\n"),
    "coded": ("application/octet-stream", "base64", b"w6nDqQ==\r\n"),
}


def part(name):
    kind, coding, body = PARTS[name]
    return b"Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s" % (kind.encode(), coding.encode(), body)


def eight_bit_message():
    inner = b"Subject: inner\r\nMIME-Version: 1.0\r\n" + part("latin")
    bodies = [part(n) for n in PARTS] + [b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + inner]
    return (b"Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b b\"\r\n"
            b"Content-Transfer-Encoding: 8bit\r\n\r\n" + b"".join(b"--b b\r\n%s\r\n" % b for b in bodies) + b"--b b--\r\n")


def leaves(content):
    return [(p.get_content_type(), p.get_payload(decode=True)) for p in email.message_from_bytes(content).walk()
            if not p.is_multipart()]


@pytest.mark.parametrize("options", [["BODY=8BITMIME"], []])
def test_8bit_parts_are_encoded_for_a_server_without_8bitmime(make_instance, options):
    """RFC 6152 3: what arrives is 7-bit, has the same parts, and is no larger than was announced."""
    sink = Sink(("PIPELINING", "SIZE 100000000"))
    try:
        sender = make_instance(main_cf=FAST + "relayhost = [%s]:%d\n" % sink.where)
        sender.start()
        message = eight_bit_message()
        with smtplib.SMTP(sender.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("a@a.test", "b@b.test", message, mail_options=options)
        wait_until(lambda: sink.messages, what="the message")
        mail, _, content = sink.messages[0]
        content = content.replace(b"\r\n..", b"\r\n.")
        assert not sink.faults and b"BODY" not in mail and b"SIZE" not in mail
        assert max(content) < 128 and b"8bit" not in content and b"binary" not in content
        assert all(len(line) <= 998 for line in content.split(b"\r\n"))
        assert leaves(content) == leaves(message)
        sender.wait_queue_empty()
    finally:
        sink.close()


# --- a login at the other server
def test_login_at_the_relayhost(make_instance):
    """smtp_sasl_password_maps, asked of authd: with a right password mail goes, with a wrong one it waits, and the password is
    in no log."""
    there = make_instance(hostname="mx.b.test", domain="b.test")
    there.add_users("bob@b.test", "client@b.test")
    there.start()
    here = make_instance(hostname="mail.a.test", domain="a.test", main_cf=FAST + (
        "relayhost = [%s]:2587\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = hash:$config_directory/passwords\n"
        "smtp_sasl_tls_security_options = noanonymous\n" % there.ip))

    def password(p):
        (here.conf / "passwords").write_text("[%s]:2587 client@b.test:%s\n" % (there.ip, p))
        here.estafeta("map", "build", "hash:%s/passwords" % here.conf)

    def submit(ident):
        with smtplib.SMTP(here.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("client@b.test", "bob@b.test", "Subject: %s\r\n\r\n.\r\n" % ident)

    password("wrong-password")
    here.start()
    submit("first")
    here.wait_log("SASL authentication failed; server %s[%s] said: 535" % (there.ip, there.ip))
    assert "status=deferred (SASL authentication failed" in here.log_text()
    password("secret")
    wait_until(lambda: has(there, "bob@b.test", "first"))
    assert "sasl_username=client@b.test" in there.log_text()
    assert "wrong-password" not in here.log_text() and "secret" not in here.log_text()
    here.wait_queue_empty()
