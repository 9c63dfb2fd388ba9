"""MTA-STS (RFC 8461): policies from an HTTPS server with a certificate of a test's own authority, mail servers that satisfy them
or not, and what is remembered."""
import contextlib
import hashlib
import http.server
import re
import smtplib
import threading

import pytest

import dns_server
import instance
from instance import DEADLINE, LoopbackAddress, wait_until
from tls_sink import PORT, Cert, TlsSink

CA = Cert("", is_ca=True)
SELF_SIGNED = Cert("other.example")
MAIN_CF = ("smtp_tcp_port = %d\nsmtp_connect_timeout = 5s\nsmtp_tls_CAfile = $config_directory/ca.pem\n"
           "fetch_private_addresses = yes\n" % PORT)
WEEK = 604800


def policy(mode, *mx, max_age=WEEK):
    return "\r\n".join(["version: STSv1", "mode: " + mode] + ["mx: " + m for m in mx] + ["max_age: %d" % max_age, ""])


class Answer:
    """How https://mta-sts.DOMAIN/.well-known/mta-sts.txt is answered."""

    def __init__(self, body, status=200, media_type="text/plain; charset=utf-8", headers=(), name=None, issuer=CA,
                 is_slow=False):
        self.body, self.status, self.media_type, self.headers = body, status, media_type, headers
        self.name, self.issuer, self.is_slow = name, issuer, is_slow


class PolicyServer:
    def __init__(self, directory, answers):
        self.address = LoopbackAddress()
        self.ip, self.answers, self.asked, self.stop = self.address.ip, answers, [], threading.Event()
        self.contexts = {d: Cert(a.name or "mta-sts." + d, a.issuer).context(directory) for d, a in answers.items()}
        self.context = SELF_SIGNED.context(directory)
        self.context.sni_callback = self.on_sni
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((self.ip, 443), Handler, bind_and_activate=False)
        self.server.daemon_threads = True
        self.server.allow_reuse_address = True
        self.server.handle_error = lambda *_: None
        self.start()

    def on_sni(self, sock, name, _):
        domain = (name or "").partition("mta-sts.")[2]
        if domain in self.contexts:
            sock.context = self.contexts[domain]

    def start(self):
        self.server.server_bind()
        self.server.server_activate()
        # the handshake takes place in the thread of the connection
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True,
                                                      do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()

    def answer(self, request):
        domain = request.headers["Host"].partition("mta-sts.")[2]
        self.asked.append(domain)
        a = self.answers[domain]
        if request.path != "/.well-known/mta-sts.txt":
            request.send_error(404)
            return
        if a.is_slow:
            self.stop.wait(120)
            return
        with contextlib.suppress(OSError):
            request.send_response(a.status)
            request.send_header("Content-Type", a.media_type)
            for name, value in a.headers:
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(a.body.encode())

    def close(self):
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        self.address.release()


SENT, CLEAR = "sent under TLS", "sent in the clear"
NOT_TRUSTED, NOT_VERIFIED = "Server certificate not trusted", "Server certificate not verified"
NO_TLS, NOT_NAMED = "TLS is required, but was not offered", "MTA-STS policy does not name this host"
TESTING = "MTA-STS policy of %s (testing) would not allow mx.%s["
GOOD = "good"  # certificate of the mail server: of the authority, for its name

# domain -> (policy or Answer, certificate of mx.DOMAIN: GOOD, a name, SELF_SIGNED, None: no TLS; what becomes of mail,
# what the log says of it)
OWN = "mx.%s"
CASES = {
    "enforce": ([policy("enforce", OWN)], GOOD, SENT, "MTA-STS policy of %s: mode enforce, id 1, max_age 604800"),
    "upper": ([policy("enforce", "MX.Upper.P.Test")], GOOD, SENT, None),
    "wildcard": ([policy("enforce", "other.example", "*.%s")], GOOD, SENT, None),
    "cert-wildcard": ([policy("enforce", OWN)], "*.cert-wildcard.p.test", SENT, None),
    "deep.cert-wildcard": ([policy("enforce", OWN)], "*.cert-wildcard.p.test", NOT_VERIFIED, None),
    "no-authority": ([policy("enforce", OWN)], SELF_SIGNED, NOT_TRUSTED, None),
    "mismatch": ([policy("enforce", OWN)], "other.example", NOT_VERIFIED, None),
    "expired": ([policy("enforce", OWN)], "mx.expired.p.test expired", NOT_TRUSTED, None),
    "clear": ([policy("enforce", OWN)], None, NO_TLS, None),
    "unnamed": ([policy("enforce", "mx.elsewhere.test", "*.mx.%s")], GOOD, NOT_NAMED, None),
    "testing": ([policy("testing", OWN)], GOOD, SENT, None),
    "testing-unnamed": ([policy("testing", "mx.elsewhere.test")], GOOD, SENT, TESTING + ".*: the policy does not name it"),
    "testing-mismatch": ([policy("testing", OWN)], "other.example", SENT, TESTING + ".*: no TLS with a certificate"),
    "testing-clear": ([policy("testing", OWN)], None, CLEAR, TESTING + ".*: no TLS with a certificate"),
    "none": ([policy("none")], None, CLEAR, "MTA-STS policy of %s: mode none"),
    "no-record": ([policy("enforce", OWN)], None, CLEAR, None),
    "two-records": ([policy("enforce", OWN)], None, CLEAR, None),
    "bad-record": ([policy("enforce", OWN)], None, CLEAR, None),
}
# what goes wrong with HTTPS -> its answer, and the reason in the log
FAILURES = {
    "http-404": (dict(status=404), "HTTP status 404"),
    "http-500": (dict(status=500), "HTTP status 500"),
    "redirect": (dict(status=301, headers=[("Location", "https://mta-sts.enforce.p.test/.well-known/mta-sts.txt")]),
                 "HTTP status 301"),
    "html": (dict(media_type="text/html"), "the media type is not text/plain"),
    "no-type": (dict(media_type=""), "the media type is not text/plain"),
    "too-large": (dict(body=policy("enforce", OWN) + "x: y\r\n" * 20000), "the answer is too long"),
    "not-a-policy": (dict(body="<html>Welcome</html>"), "line \".*\" is not valid"),
    "wrong-name": (dict(name="mta-sts.other.example"), "no alternative certificate subject name matches"),
    "self-signed": (dict(issuer=None), "self.signed certificate"),
}
OTHERS = ("roll", "keep", "retry", "slow", "second", "fresh", "mine")


def full(name):
    return name + ".p.test"


def answers():
    found = {full(n): Answer(text[0].replace("%s", full(n))) for n, (text, _, _, _) in CASES.items()}
    for n, (how, _) in FAILURES.items():
        found[full(n)] = Answer(**{"body": policy("enforce", OWN % full(n)), **how})
    for n in OTHERS:
        found[full(n)] = Answer(policy("enforce", OWN % full(n)), is_slow=n == "slow")
    found[full("retry")].status = 503
    found[full("second")].body = policy("enforce", "mx.enforce.p.test")
    found[full("fresh")].body = policy("enforce", OWN % full("fresh"), max_age=12)
    for n in ("tlsa-good", "tlsa-bad", "tlsa-none"):
        found[n + ".s.test"] = Answer(policy("enforce", "mx.%s.s.test" % n))
    return found


class World:
    def __init__(self, directory, main_cf="", tls_reports=lambda name: None):
        self.tls_reports = tls_reports
        self.policies = PolicyServer(directory, answers())
        contexts = {}
        for n, (_, cert, _, _) in CASES.items():
            if isinstance(cert, str):
                name, expired = (OWN % full(n) if cert == GOOD else cert.split()[0]), cert.endswith(" expired")
                contexts[OWN % full(n)] = Cert(name, CA, is_expired=expired).context(directory)
        contexts["mx.tlsa-bad.s.test"] = Cert("mx.tlsa-bad.s.test", CA).context(directory)
        for n in ("roll", "fresh"):
            contexts[OWN % full(n)] = Cert(OWN % full(n), CA).context(directory)
        self.sink = TlsSink(SELF_SIGNED.context(directory), contexts)
        self.clear = TlsSink()
        self.ids = {}
        self.serial = 0
        self.dns = dns_server.NameServer({"p.test": self.zone(), "s.test": self.signed_zone()})
        anchor = self.dns.sign("s.test")
        self.dns.start()
        self.mail = instance.Instance(main_cf=MAIN_CF + main_cf, dns=self.dns.forwarder)
        (self.mail.conf / "anchor").write_text(anchor)
        (self.mail.conf / "ca.pem").write_bytes(CA.pem())
        self.mail.estafeta("config", "-e", "dns_trust_anchor_file=%s/anchor" % self.mail.conf)
        self.mail.start()

    def records(self, n):
        txt = {"no-record": [], "two-records": ["v=STSv1; id=1;", "v=STSv1; id=2;"], "bad-record": ["v=STSv1; id=1-1;"]}
        return txt.get(n, ["v=STSv1; id=%s;" % self.ids.get(n, "1"), "v=spf1 -all"] if self.ids.get(n) != "" else [])

    def reports_to(self, n):
        rua = self.tls_reports(n)
        return ["_smtp._tls.%s TXT \"v=TLSRPTv1; rua=%s\"" % (n, rua)] if rua else []

    def zone(self):
        lines = ["second MX 10 mx.mismatch", "second MX 20 mx.enforce"]
        for n in [*CASES, *FAILURES, *OTHERS]:
            ip = self.clear.ip if n in CASES and CASES[n][1] is None or n in FAILURES else self.sink.ip
            lines += ["mx.%s A %s" % (n, ip), "mta-sts.%s A %s" % (n, self.policies.ip)]
            lines += ["%s MX 10 mx.%s" % (n, n)] if n != "second" else []
            lines += ["_mta-sts.%s 1 TXT \"%s\"" % (n, t) for t in self.records(n)] + self.reports_to(n)
        return "\n".join(lines)

    def signed_zone(self):
        lines = []
        for n in ("tlsa-good", "tlsa-bad", "tlsa-none"):
            lines += ["%s MX 10 mx.%s" % (n, n), "mx.%s A %s" % (n, self.sink.ip),
                      "mta-sts.%s A %s" % (n, self.policies.ip), "_mta-sts.%s TXT \"v=STSv1; id=1\"" % n] + self.reports_to(n)
        spki = hashlib.sha256(SELF_SIGNED.spki()).hexdigest()
        lines += ["_%d._tcp.mx.%s TLSA 3 1 1 %s" % (PORT, n, spki) for n in ("tlsa-good", "tlsa-bad")]
        return "\n".join(lines)

    def set_id(self, n, text):
        """Of the TXT record; "": it goes."""
        self.ids[n] = text
        self.serial += 1
        self.dns.write_zone("p.test", self.zone(), serial=1 + self.serial)
        self.dns.reload()

    def close(self):
        for thing in (self.mail, self.dns, self.sink, self.clear, self.policies):
            thing.close()

    def send(self, domain):
        """The number of outcomes of this domain so far."""
        before = len(self.outcomes(domain))
        with smtplib.SMTP(self.mail.ip, 2525, timeout=DEADLINE) as s:
            s.sendmail("a@example.test", "u@" + domain, "Subject: x\r\n\r\nx\r\n")
        return before

    def outcomes(self, domain):
        """(relay, status, text)"""
        return re.findall(r"to=<u@%s>, relay=([^,]*),.* status=(\w+) \((.*)\)" % re.escape(domain), self.mail.log_text())

    def outcome(self, domain, timeout=None):
        before = self.send(domain)
        return wait_until(lambda: self.outcomes(domain)[before:], timeout, "the outcome of " + domain)[0]

    def asked(self, domain):
        return self.policies.asked.count(domain)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("certs"))
    w.send(full("slow"))
    yield w
    w.close()


def arrived(sink, domain):
    return [m for m in sink.messages if m[0] == "u@" + domain]


@pytest.mark.parametrize("name", CASES)
def test_outcome(world, name):
    _, _, want, says = CASES[name]
    domain = full(name)
    relay, status, text = world.outcome(domain)
    if want in (SENT, CLEAR):
        assert status == "sent", text
        assert relay.startswith("mx.%s[" % domain)
        (_, version, _, _, _), = arrived(world.clear if want == CLEAR else world.sink, domain)
        assert (version is None) == (want == CLEAR)
    else:
        assert status == "deferred" and text.startswith(want), text
        assert not arrived(world.sink, domain) + arrived(world.clear, domain)
    log = world.mail.log_text()
    if says:
        assert re.search(says.replace("[", r"\[").replace("(", r"\(").replace(")", r"\)").replace("%s", re.escape(domain)),
                         log)
    else:
        assert "MTA-STS policy of %s (testing)" % domain not in log
    assert world.asked(domain) == (0 if name.endswith("-record") or name == "two-records" else 1)


@pytest.mark.parametrize("name", FAILURES)
def test_a_policy_that_cannot_be_had_is_none(world, name):
    """RFC 8461 3.3; and it is not asked for again at once."""
    domain = full(name)
    for _ in range(2):
        relay, status, text = world.outcome(domain)
        assert status == "sent", text
    lines = re.findall("MTA-STS policy of %s cannot be fetched: (.*)" % re.escape(domain), world.mail.log_text())
    assert len(lines) == 1 and re.search(FAILURES[name][1], lines[0]), lines
    assert world.asked(domain) == (0 if name in ("wrong-name", "self-signed") else 1)
    assert world.asked("enforce.p.test") <= 1


def test_a_host_that_is_not_named_is_passed_over(world):
    relay, status, text = world.outcome(full("second"))
    assert status == "sent" and relay.startswith("mx.enforce.p.test["), (relay, text)


def test_another_id_brings_another_policy(world):
    domain = full("roll")
    assert world.outcome(domain)[1] == "sent"
    assert world.outcome(domain)[1] == "sent"
    assert world.asked(domain) == 1
    world.policies.answers[domain].body = policy("testing", "mx.elsewhere.test")
    world.set_id("roll", "2")
    wait_until(lambda: world.outcome(domain) and world.asked(domain) == 2)
    assert "MTA-STS policy of %s: mode testing, id 2" % domain in world.mail.log_text()
    # a newer one that cannot be had leaves the one that is known, and is not asked for time and again
    world.policies.answers[domain].status = 500
    world.set_id("roll", "3")
    wait_until(lambda: world.outcome(domain) and world.asked(domain) == 3)
    assert "MTA-STS policy of %s cannot be fetched: HTTP status 500; the one that is known goes on" % domain in \
        world.mail.log_text()
    assert world.outcome(domain)[1] == "sent"
    assert world.asked(domain) == 3
    # that pause is for this id
    world.policies.answers[domain] = Answer(policy("enforce", "mx.elsewhere.test"))
    world.set_id("roll", "4")
    wait_until(lambda: world.outcome(domain)[2].startswith(NOT_NAMED))
    assert world.asked(domain) == 4


def test_a_policy_outlives_restart_record_and_server(world):
    domain = full("keep")
    assert world.outcome(domain)[2].startswith(NOT_TRUSTED)
    kept = world.mail.dir / "data" / "fetchd" / "sts" / domain
    wait_until(kept.exists)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "mode: enforce\nmx: mx.%s\n" % domain in kept.read_text()
    world.policies.answers[domain].status = 500
    world.set_id("keep", "")
    world.mail.estafeta("stop")
    (kept.parent / "damaged.p.test").write_text("1 nonsense\n")
    world.mail.start()
    assert world.outcome(domain)[2].startswith(NOT_TRUSTED)
    assert world.asked(domain) == 1
    assert not (kept.parent / "damaged.p.test").exists()


def test_a_policy_is_fetched_again_before_it_expires(world):
    domain = full("fresh")
    for _ in range(2):
        assert world.outcome(domain)[1] == "sent"
    wait_until(lambda: world.asked(domain) == 2)
    world.set_id("fresh", "")
    # nobody asks for it: it expires
    kept = world.mail.dir / "data" / "fetchd" / "sts" / domain
    wait_until(lambda: not kept.exists())
    wait_until(lambda: world.outcome(domain)[1] == "sent")
    assert world.asked(domain) == 2


def test_dane_stands_above_it(world):
    """RFC 8461 2."""
    world.mail.estafeta("config", "-e", "smtp_tls_security_level=dane")
    world.mail.estafeta("reload")
    assert world.outcome("tlsa-good.s.test")[1] == "sent"
    assert world.outcome("tlsa-bad.s.test")[2].startswith(NOT_TRUSTED)
    assert world.outcome("tlsa-none.s.test")[2].startswith(NOT_TRUSTED)
    assert world.outcome(full("enforce"))[1] == "sent"
    assert world.outcome(full("mismatch"))[2].startswith(NOT_VERIFIED)


def test_the_admin_stands_above_it(world):
    world.mail.estafeta("config", "-e", "smtp_tls_security_level=may",
                        "smtp_tls_policy_maps=inline:{mismatch.p.test=may}")
    world.mail.estafeta("reload")
    assert world.outcome(full("mismatch"))[1] == "sent"
    world.mail.estafeta("config", "-e", "smtp_mta_sts=no")
    world.mail.estafeta("reload")
    assert world.outcome(full("no-authority"))[1] == "sent"
    world.mail.estafeta("config", "-e", "smtp_mta_sts=yes", "fetch_private_addresses=no")
    world.mail.estafeta("reload")
    assert world.outcome(full("mine"))[1] == "sent"
    assert "MTA-STS policy of mine.p.test cannot be fetched: mta-sts.mine.p.test has no public address" in \
        world.mail.log_text()


def test_a_slow_server_delays_mail_for_a_minute_at_most(world):
    domain = full("slow")
    (relay, status, text), *_ = wait_until(lambda: world.outcomes(domain), 100)
    assert status == "sent", text
