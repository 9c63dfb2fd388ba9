"""smtp_tls_policy_maps: each destination gets the TLS that its entry asks for, or its mail waits."""
import hashlib
import re
import smtplib

import pytest

import instance
from instance import DEADLINE, wait_until
from tls_sink import Cert, TlsSink

FAST = ("minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\nsmtp_connect_timeout = 5s\n"
        "smtp_tls_policy_maps = hash:$config_directory/tls_policy\nsmtp_tls_CAfile = $config_directory/ca.pem\n"
        "transport_maps = hash:$config_directory/transport\n")
CA = Cert("", is_ca=True)
LEAF = Cert("*.example.org", CA)
STRANGER = Cert("mx.example.org")


def fingerprint(der):
    return ":".join("%02X" % b for b in hashlib.sha256(der).digest())


# entry, certificate of the server (None: no STARTTLS), what is logged: "LEVEL TLS connection", or why mail waits
CASES = [
    ("none", LEAF, None),
    ("may", None, None),
    ("may", STRANGER, "Untrusted"),
    ("encrypt", None, "TLS is required, but was not offered by host"),
    ("encrypt", STRANGER, "Untrusted"),
    ("encrypt", LEAF, "Trusted"),  # the host is known by its address: no name of the certificate
    ("encrypt protocols=TLSv1.2 ciphers=high", LEAF, "Trusted"),
    ("fingerprint match=%s" % fingerprint(STRANGER.der()), STRANGER, "Verified"),
    ("fingerprint match=00:01|%s" % fingerprint(STRANGER.spki()), STRANGER, "Verified"),
    ("fingerprint match=%s" % fingerprint(LEAF.der()), STRANGER, "Server certificate not verified"),
    ("verify match=.example.org", LEAF, "Verified"),
    ("secure match=nexthop:mail.example.org", LEAF, "Verified"),
    ("secure", LEAF, "Server certificate not verified"),
    ("secure match=mx.example.org", STRANGER, "Server certificate not trusted"),
    ("secure tafile=/etc/ta.pem", LEAF, "client TLS configuration problem"),
]


class World:
    def __init__(self, directory):
        contexts = {LEAF: LEAF.context(directory), STRANGER: STRANGER.context(directory)}
        self.sinks = [TlsSink(contexts.get(cert), port=0) for _, cert, _ in CASES]
        self.mail = instance.Instance(main_cf=FAST)
        (self.mail.conf / "ca.pem").write_bytes(CA.pem())
        hops = ["[%s]:%d" % s.listener.getsockname() for s in self.sinks]
        self.table("tls_policy", (hops[i] + " " + CASES[i][0] for i in range(len(CASES))))
        self.table("transport", ("d%d.test smtp:%s" % (i, h) for i, h in enumerate(hops)))
        self.hops = hops
        self.mail.start()

    def table(self, name, lines):
        (self.mail.conf / name).write_text("\n".join(lines) + "\n")
        self.mail.estafeta("map", "build", "hash:%s/%s" % (self.mail.conf, name))

    def send(self, domain):
        with smtplib.SMTP(self.mail.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("a@example.test", "u@" + domain, "Subject: x\r\n\r\nx\r\n")

    def outcome(self, domain):
        pattern = re.compile(r"to=<u@%s>, .* status=(\w+) \((.*)\)" % re.escape(domain))
        m = wait_until(lambda: pattern.search(self.mail.log_text()), what="the outcome of " + domain)
        return m[1], m[2]

    def close(self):
        self.mail.close()
        for s in self.sinks:
            s.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("certs"))
    yield w
    w.close()


@pytest.mark.parametrize("number", range(len(CASES)))
def test_entry(world, number):
    entry, cert, want = CASES[number]
    sink, domain = world.sinks[number], "d%d.test" % number
    world.send(domain)
    status, text = world.outcome(domain)
    established = "TLS connection established to %s[%s]:%d: TLSv1" % (sink.ip, sink.ip, sink.listener.getsockname()[1])
    if want in (None, "Untrusted", "Trusted", "Verified"):
        assert status == "sent", text
        assert (want is not None) == (sink.messages[0][1] is not None)
        assert (want or "") + " " + established in world.mail.log_text() if want else established not in world.mail.log_text()
        assert "TLSv1.2" not in entry or sink.messages[0][1] == "TLSv1.2"
    else:
        assert status == "deferred" and text.startswith(want), text
        assert not sink.messages


def test_an_entry_that_is_mended_lets_mail_go(world):
    """The last one of the cases, whose mail waits: the table is asked at each attempt."""
    sink = world.sinks[-1]
    world.send("d%d.test" % (len(CASES) - 1))
    wait_until(lambda: "client TLS configuration problem" in world.mail.log_text())
    assert not sink.messages
    world.table("tls_policy", [world.hops[-1] + " secure match=mx.example.org"])
    wait_until(lambda: sink.messages)
    assert sink.messages[0][1]


def test_tls_from_the_first_byte(make_instance, tmp_path):
    """smtp_tls_wrappermode, as for a provider's port 465."""
    sink = TlsSink(LEAF.context(tmp_path), port=0, wrapped=True)
    try:
        mail = make_instance(main_cf=FAST.replace("smtp_tls_policy_maps", "#").replace("transport_maps", "#") + (
            "relayhost = [%s]:%d\nsmtp_tls_wrappermode = yes\nsmtp_tls_security_level = secure\n"
            "smtp_tls_secure_cert_match = mail.example.org\n" % sink.listener.getsockname()))
        (mail.conf / "ca.pem").write_bytes(CA.pem())
        mail.start()
        with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("a@example.test", "u@b.test", "Subject: x\r\n\r\nx\r\n")
        wait_until(lambda: sink.messages)
        assert "Verified TLS connection established to %s[" % sink.ip in mail.log_text()
        mail.wait_queue_empty()
    finally:
        sink.close()
