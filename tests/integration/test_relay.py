"""Two instances and a name server: mail goes by MX preference, waits when nobody answers, comes back as a DSN."""
import email
import smtplib
import uuid

import pytest

from instance import wait_until

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
