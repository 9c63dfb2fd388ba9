"""DANE (RFC 7672): signed zones of a real name server, servers with the certificates that their TLSA records name, or not."""
import hashlib
import re
import smtplib

import pytest

import dns_server
import instance
from instance import DEADLINE, wait_until
from tls_sink import PORT, Cert, TlsSink

FAST = ("smtp_tcp_port = %d\nsmtp_connect_timeout = 5s\nsmtp_tls_security_level = dane\n"
        "smtp_tls_policy_maps = inline:{.only.s.test=dane-only, .only.plain.test=dane-only}\n" % PORT)


def tlsa(usage, selector, matching, cert):
    data = cert.spki() if selector else cert.der()
    if matching:
        data = hashlib.new({1: "sha256", 2: "sha512"}[matching], data).digest()
    return "%d %d %d %s" % (usage, selector, matching, data.hex())


EE = Cert("other.example", is_expired=True)  # RFC 7672 3.1.1: neither name nor expiry matter
WRONG = Cert("other.example")
CA = Cert("", is_ca=True)
GOOD, BAD = tlsa(3, 1, 1, EE), tlsa(3, 1, 1, WRONG)
CERT_OF_CA = tlsa(2, 0, 1, CA)

# domain -> (records of its server, or None: no signed one; leaf certificate, None: EE; what becomes of its mail)
VERIFIED, UNTRUSTED, CLEAR = "Verified", "Untrusted", "clear"
NOT_TRUSTED, NOT_VERIFIED = "Server certificate not trusted", "Server certificate not verified"
CASES = {}
for m in range(3):
    for s in range(2):
        CASES["ee-%d-%d.s.test" % (s, m)] = ([tlsa(3, s, m, EE)], None, VERIFIED)
        CASES["ta-%d-%d.s.test" % (s, m)] = ([tlsa(2, s, m, CA)], "mx.ta-%d-%d.s.test" % (s, m), VERIFIED)
CASES.update({
    "roll.s.test": ([BAD, GOOD], None, VERIFIED),
    "mixed.s.test": ([tlsa(1, 1, 1, WRONG), "9 1 1 00", GOOD], None, VERIFIED),
    "ta-nexthop.s.test": ([CERT_OF_CA], "ta-nexthop.s.test", VERIFIED),
    "ta-wildcard.s.test": ([CERT_OF_CA], "*.ta-wildcard.s.test", VERIFIED),
    "ta-other.s.test": ([CERT_OF_CA], "other.s.test", NOT_VERIFIED),
    "ta-expired.s.test": ([CERT_OF_CA], "mx.ta-expired.s.test expired", NOT_TRUSTED),
    "wrong.s.test": ([BAD], None, NOT_TRUSTED),
    # RFC 7671 9: the stronger digest counts alone
    "agility.s.test": ([GOOD, tlsa(3, 1, 2, WRONG)], None, NOT_TRUSTED),
    "pkix.s.test": ([tlsa(0, 0, 1, CA), tlsa(1, 1, 1, EE), "3 1 1 00", "3 1 7 00"], None, UNTRUSTED),
    "pkix.clear.s.test": ([tlsa(1, 1, 1, EE)], None, "TLS is required, but was not offered"),
    "good.clear.s.test": ([GOOD], None, "TLS is required, but was not offered"),
    "bogus.s.test": ([GOOD], None, "TLSA lookup error for mx.bogus.s.test:%d" % PORT),
    "none.s.test": ([], None, UNTRUSTED),
    "none.clear.s.test": ([], None, CLEAR),
    "a.plain.test": ([BAD], None, UNTRUSTED),
    "a.clear.plain.test": ([GOOD], None, CLEAR),
    "good.only.s.test": ([GOOD], None, VERIFIED),
    "wrong.only.s.test": ([BAD], None, NOT_TRUSTED),
    "none.only.s.test": ([], None, "no TLSA records found"),
    "pkix.only.s.test": ([tlsa(1, 1, 1, EE)], None, "TLSA records unusable"),
    "a.only.plain.test": ([GOOD], None, "non DNSSEC destination"),
})
# mail goes to a host that has another name, or is not the first
ALIASES = """
tlsa-alias MX 10 mx.tlsa-alias
mx.tlsa-alias A {sink}
_2525._tcp.mx.tlsa-alias CNAME _dane
_dane TLSA {good}
host-alias MX 10 mx.host-alias
mx.host-alias CNAME real.host-alias
real.host-alias A {sink}
_2525._tcp.real.host-alias TLSA {good}
_2525._tcp.mx.host-alias TLSA {bad}
first-name MX 10 mx.first-name
mx.first-name CNAME real.first-name
real.first-name A {sink}
_2525._tcp.mx.first-name TLSA {good}
outside MX 10 mx.outside
mx.outside CNAME host.plain.test.
_2525._tcp.mx.outside TLSA {good}
second MX 10 mx.wrong
second MX 20 mx.roll
no-mx A {sink}
_2525._tcp.no-mx TLSA {good}
domain-alias CNAME roll
"""
WAYS = {  # domain -> host that is reached, SNI
    "tlsa-alias.s.test": ("mx.tlsa-alias.s.test", "mx.tlsa-alias.s.test"),
    "host-alias.s.test": ("mx.host-alias.s.test", "real.host-alias.s.test"),
    "first-name.s.test": ("mx.first-name.s.test", "mx.first-name.s.test"),
    "outside.s.test": ("mx.outside.s.test", "mx.outside.s.test"),
    "second.s.test": ("mx.roll.s.test", "mx.roll.s.test"),
    "no-mx.s.test": ("no-mx.s.test", "no-mx.s.test"),
    "domain-alias.s.test": ("mx.roll.s.test", "mx.roll.s.test"),
}


def zone_text(zone, sink, clear):
    lines = []
    for domain, (records, _, _) in CASES.items():
        if domain.endswith("." + zone):
            name = domain[:-len(zone) - 1]
            lines += ["%s MX 10 mx.%s" % (name, name),
                      "mx.%s A %s" % (name, clear.ip if ".clear." in domain else sink.ip)]
            lines += ["_%d._tcp.mx.%s TLSA %s" % (PORT, name, r) for r in records]
    return "\n".join(lines)


def break_signature(text):
    bogus = re.compile(r"(_%d\._tcp\.mx\.bogus\.s\.test\.?\s.*TLSA\s+3 1 1 )(..)" % PORT)
    assert bogus.search(text)
    return bogus.sub(lambda m: m[1] + ("00" if m[2] != "00" else "01"), text)


def leaf_contexts(directory):
    found = {}
    for domain, (_, leaf, _) in CASES.items():
        if leaf is not None:
            name, expired = leaf.split()[0], leaf.endswith(" expired")
            found["mx." + domain] = Cert(name, CA, is_expired=expired).context(directory)
    return found


class World:
    def __init__(self, directory):
        self.sink = TlsSink(EE.context(directory), leaf_contexts(directory))
        self.clear = TlsSink()
        aliases = ALIASES.format(sink=self.sink.ip, good=GOOD, bad=BAD)
        self.dns = dns_server.NameServer({
            "s.test": zone_text("s.test", self.sink, self.clear) + aliases,
            "plain.test": zone_text("plain.test", self.sink, self.clear) + "\nhost A %s\nto-signed MX 10 mx.wrong.s.test." %
            self.sink.ip})
        anchor = self.dns.sign("s.test", break_signature)
        self.dns.start()
        self.mail = instance.Instance(main_cf=FAST, dns=self.dns.forwarder)
        (self.mail.conf / "anchor").write_text(anchor)
        self.mail.estafeta("config", "-e", "dns_trust_anchor_file=%s/anchor" % self.mail.conf)
        self.mail.start()

    def close(self):
        for thing in (self.mail, self.dns, self.sink, self.clear):
            thing.close()

    def send(self, domain):
        with smtplib.SMTP(self.mail.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("a@example.test", "u@" + domain, "Subject: x\r\n\r\nx\r\n")

    def outcome(self, domain):
        """(status, text, relay) that was logged."""
        pattern = re.compile(r"to=<u@%s>, relay=([^,]*),.* status=(\w+) \((.*)\)" % re.escape(domain))
        m = wait_until(lambda: pattern.search(self.mail.log_text()), what="the outcome of " + domain)
        return m[2], m[3], m[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("certs"))
    yield w
    w.close()


def arrived(sink, domain):
    return [m for m in sink.messages if m[0] == "u@" + domain]


@pytest.mark.parametrize("domain", CASES)
def test_outcome(world, domain):
    want = CASES[domain][2]
    world.send(domain)
    status, text, relay = world.outcome(domain)
    there = arrived(world.clear if ".clear." in domain else world.sink, domain)
    host = "mx." + domain
    if want in (VERIFIED, UNTRUSTED, CLEAR):
        assert status == "sent", text
        assert relay.startswith(host + "[")
        (_, version, sni, _, _), = there
        assert (version is None) == (want == CLEAR)
        assert want == CLEAR or sni == host
        assert want == CLEAR or "%s TLS connection established to %s[" % (want, host) in world.mail.log_text()
    else:
        assert status == "deferred" and text.startswith(want), text
        assert not there


@pytest.mark.parametrize("domain", WAYS)
def test_names(world, domain):
    """RFC 7672 2.2.2 and 2.2.3: which name the records belong to, and who is tried next."""
    world.send(domain)
    status, text, relay = world.outcome(domain)
    assert status == "sent", text
    host, name = WAYS[domain]
    assert relay.startswith(host + "[")
    (_, version, sni, _, _), = arrived(world.sink, domain)
    assert version and sni == name
    assert "Verified TLS connection established to %s[" % host in world.mail.log_text()


def test_an_unsigned_mx_takes_no_promise_from_the_host_that_it_names(world):
    world.send("to-signed.plain.test")
    status, text, relay = world.outcome("to-signed.plain.test")
    assert status == "sent", text
    assert "Untrusted TLS connection established to mx.wrong.s.test[" in world.mail.log_text()


def test_sessions_are_resumed_and_still_proved(world):
    """More mail to the same place, over other connections: the handshake is short, and its peer the same."""
    domain = "good.only.s.test"
    world.mail.estafeta("config", "-e", "smtp_connection_cache_time_limit=0")
    world.mail.estafeta("reload")
    before = len(arrived(world.sink, domain))
    for n in range(1, 5):
        world.send(domain)
        wait_until(lambda n=n: len(arrived(world.sink, domain)) == before + n)
    assert any(resumed for _, _, _, resumed, _ in arrived(world.sink, domain))
    assert "Untrusted TLS connection established to mx.%s[" % domain not in world.mail.log_text()
