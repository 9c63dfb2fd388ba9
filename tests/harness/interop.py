"""What mail to and from another server has to show, whichever server it is: test_interop_*.py say which."""
import email
import email.policy
import smtplib
import types
import uuid

import pytest

import tls_sink
from dns_server import NameServer
from instance import DEADLINE, Instance, wait_until

USERS = ["bob", *("u%d" % n for n in range(40))]
MAIN_CF = """\
mynetworks = 127.0.0.0/8
relayhost = [mx.b.test]:2525
message_size_limit = 50000000
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtp_tls_secure_cert_match = hostname
smtp_tls_CAfile = $config_directory/ca.pem
smtpd_greylist_delay = 1s
smtpd_recipient_restrictions = check_recipient_access inline:{ {grey@a.test=check_greylist} }
"""
# each byte beyond ASCII, dots where lines begin, the longest line, what a mailbox in one file would quote, blanks and empty lines at
# the end
BODY = (b".\r\n..\r\n.x\r\n" + bytes(range(0x80, 0x100)) + b"\r\nFrom here on\r\n>From there\r\n" + b"l" * 998 +
        b"\r\n \t \r\n\r\n\x01\x7f\t=20=\r\n\r\n\r\n")


def message(sender, body=BODY, subject=b"interop"):
    ident = uuid.uuid4().hex.encode()
    return ident.decode(), (b"X-Id: %s\r\nFrom: <%s>\r\nTo: someone:;\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@x.test>\r\n"
                            b"Subject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                            b"Content-Transfer-Encoding: 8bit\r\n\r\n%s" % (ident, sender.encode(), ident, subject, body))


def notice(raw):
    """The parts of a delivery status notice, or None."""
    m = email.message_from_bytes(raw.replace(b"message/global-delivery-status", b"message/delivery-status"),
                                 policy=email.policy.default)
    machine = [p for p in m.walk() if p.get_content_type() == "message/delivery-status"]
    if not machine:
        return None
    blocks = machine[0].get_payload()
    return types.SimpleNamespace(message=m, raw=raw, fields=blocks[0], rcpts=[b for b in blocks[1:] if len(b)])


class Pair:
    """here: mail.a.test, Estafeta, everything for other domains to mx.b.test; there: the peer, mx.b.test, a.test to mail.a.test."""

    def __init__(self, peer_class):
        ca = tls_sink.Cert("CA", is_ca=True)
        self.here = Instance(hostname="mail.a.test", domain="a.test", main_cf=MAIN_CF + (
            "smtp_tls_security_level = %s\n" % ("secure" if peer_class.tls else "may")))
        self.there = peer_class(USERS + (["j\u00f6rg"] if peer_class.utf8 else []), tls_sink.Cert("mx.b.test", ca, is_rsa=True), ca)
        self.dns = NameServer({"b.test": "mx IN A %s" % self.there.ip})
        cert = tls_sink.Cert("mail.a.test", ca)
        (self.here.conf / "ca.pem").write_bytes(ca.pem())
        (self.here.conf / "cert.pem").write_bytes(cert.pem())
        (self.here.conf / "key.pem").write_bytes(cert.key_pem())

    def __enter__(self):
        self.dns.start()
        self.here.estafeta("config", "-e", "dns_forwarders=" + self.dns.forwarder)
        self.here.add_users("alice@a.test", "grey@a.test", "j\u00f6rg@a.test", *("v%d@a.test" % n for n in range(6)))
        self.here.start()
        self.there.start(self.here.ip)
        return self

    def __exit__(self, *exc):
        if exc[0] is not None:
            print(self.there.log_text()[-4000:])
        self.there.close()
        self.here.close()
        self.dns.close()

    def send(self, ip, sender, rcpts, content, mail=(), rcpt=(), utf8=False):
        with smtplib.SMTP(ip, 2525, timeout=DEADLINE) as s:
            s.ehlo()
            if utf8:
                s.command_encoding = "utf-8"
            options = ["BODY=8BITMIME", *(["SMTPUTF8"] if utf8 else []), *mail]
            code, text = s.mail(sender, options)
            assert code == 250, text
            refused = [r for r in rcpts if s.rcpt(r, list(rcpt))[0] != 250]
            code, text = s.data(content)
            assert code == 250, text
        return refused

    def out(self, rcpts, content, sender="alice@a.test", **kwargs):
        return self.send(self.here.ip, sender, rcpts, content, **kwargs)

    def back(self, rcpts, content, sender="bob@b.test", **kwargs):
        return self.send(self.there.ip, sender, rcpts, content, **kwargs)

    def arrived(self, place, user, ident, timeout=None):
        """The message with its own header field in front, as it has to be: what came before was added on the way."""
        def look():
            found = place.messages(user + "@a.test" if place is self.here else user)
            return [m for m in found if b"X-Id: " + ident.encode() in m and b"delivery-status" not in m]
        raw = wait_until(look, timeout, "message %s of %s" % (ident, user))
        assert len(raw) == 1
        raw = raw[0].replace(b"\r\n", b"\n")
        at = raw.index(b"X-Id: ")
        return raw[:at], raw[at:]

    def notices(self, place, user, ident):
        found = map(notice, place.messages(user + "@a.test" if place is self.here else user))
        return [n for n in found if n and ident.encode() in n.raw]

    def wait_notice(self, place, user, ident):
        return wait_until(lambda: self.notices(place, user, ident), what="notice of %s" % ident)[0]


class Interop:
    """Test cases; a subclass names the peer."""
    Peer = None

    @pytest.fixture(scope="class")
    def pair(self):
        with Pair(self.Peer) as p:
            yield p

    @pytest.fixture(autouse=True)
    def show(self, pair):
        at = len(pair.there.log_text()), len(pair.here.log_text())
        yield
        print("---- there\n%s\n---- here\n%s" % (pair.there.log_text()[at[0]:][-6000:], pair.here.log_text()[at[1]:][-6000:]))

    def test_every_byte_over_verified_tls(self, pair):
        ident, content = message("alice@a.test")
        pair.out(["bob@b.test"], content)
        _, got = pair.arrived(pair.there, "bob", ident)
        assert got == content.replace(b"\r\n", b"\n")
        if self.Peer.tls:
            pair.here.wait_log("Verified TLS connection established to mx.b.test[%s]:2525" % pair.there.ip)
        ident, content = message("bob@b.test")
        pair.back(["alice@a.test"], content)
        added, got = pair.arrived(pair.here, "alice", ident)
        assert got == content.replace(b"\r\n", b"\n")
        assert b"using TLSv1.3" in added
        wait_until(lambda: self.Peer.verified in pair.there.log_text(), what="verified certificate at the peer")

    def test_twenty_megabytes(self, pair):
        body = b"".join(b"%068d 20 MB\r\n" % n for n in range(265000))
        ident, content = message("alice@a.test", body)
        pair.out(["bob@b.test"], content)
        _, got = pair.arrived(pair.there, "bob", ident)
        assert got == content.replace(b"\r\n", b"\n")
        ident, content = message("bob@b.test", body)
        pair.back(["alice@a.test"], content)
        _, got = pair.arrived(pair.here, "alice", ident)
        assert got == content.replace(b"\r\n", b"\n")

    def test_larger_than_the_peer_takes(self, pair):
        """RFC 1870 6.1: it is not sent at all."""
        ident, content = message("alice@a.test", b"x" * 70 + b"\r\n", b"large")
        pair.out(["bob@b.test"], content + (b"y" * 998 + b"\r\n") * 27000)
        n = pair.wait_notice(pair.here, "alice", ident)
        assert n.rcpts[0]["Status"] == "5.3.4" and n.rcpts[0]["Action"] == "failed"

    def test_many_recipients_some_refused(self, pair):
        ident, content = message("alice@a.test", b"to many\r\n")
        good, bad = ["u%d" % n for n in range(40)], ["x%d@b.test" % n for n in range(8)]
        mixed = ["u%d@b.test" % n for n in range(20)] + bad + ["u%d@b.test" % n for n in range(20, 40)]
        assert pair.out(mixed, content) == []
        for user in good:
            pair.arrived(pair.there, user, ident)
        n = pair.wait_notice(pair.here, "alice", ident)
        assert sorted(r["Final-Recipient"].split(";")[1].strip() for r in n.rcpts) == sorted(bad)
        assert all(r["Status"] in ("5.1.1", "5.0.0", "5.5.0") and "mx.b.test" in r["Remote-MTA"] for r in n.rcpts)
        ident, content = message("bob@b.test", b"to many\r\n")
        good, bad = ["v%d" % n for n in range(6)], ["x1@a.test", "x2@a.test"]
        assert pair.back([good[0] + "@a.test", *bad, *(g + "@a.test" for g in good[1:])], content) == []
        for user in good:
            pair.arrived(pair.here, user, ident)
        told = wait_until(lambda: (lambda found: len({r["Final-Recipient"] for r in found}) == 2 and found)(
            [r for n in pair.notices(pair.there, "bob", ident) for r in n.rcpts]))
        assert {r["Final-Recipient"].split(";")[1].strip() for r in told} == set(bad)
        assert all(r["Status"].startswith("5.") for r in told)

    def test_greylisted_then_taken(self, pair):
        ident, content = message("alice@a.test", b"grey\r\n")
        pair.out(["grey@b.test"], content)
        entry = wait_until(lambda: [q for q in pair.here.queue() if q["recipients"][0].get("delay_reason")])[0]
        assert "come again" in entry["recipients"][0]["delay_reason"]
        pair.there.open_greylist()
        pair.arrived(pair.there, "grey", ident)
        pair.here.wait_queue_empty()
        ident, content = message("bob@b.test", b"grey\r\n")
        pair.back(["grey@a.test"], content)
        wait_until(lambda: "grey@a.test" in pair.here.log_text())

        def look():
            pair.there.retry()
            return [m for m in pair.here.messages("grey@a.test") if ident.encode() in m]
        wait_until(look, what="the second attempt")
        assert "450 4" in pair.here.log_text() or "451 4" in pair.here.log_text()

    def test_notices_of_success(self, pair):
        """RFC 3461: what the sender wrote comes back in the notice of the last server."""
        wish = dict(mail=["RET=HDRS", "ENVID=out+2B1"], rcpt=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;first+2Bout@x.test"])
        ident, content = message("alice@a.test", b"the body\r\n")
        pair.out(["bob@b.test"], content, **wish)
        pair.arrived(pair.there, "bob", ident)
        n = pair.wait_notice(pair.here, "alice", ident)
        self.check_success(n, "mx.b.test", "bob@b.test")
        ident, content = message("bob@b.test", b"the body\r\n")
        pair.back(["alice@a.test"], content, **wish)
        pair.arrived(pair.here, "alice", ident)
        n = pair.wait_notice(pair.there, "bob", ident)
        self.check_success(n, "mail.a.test", "alice@a.test")

    def check_origin(self, n, mta):
        ours = mta == "mail.a.test"
        assert n.fields["Original-Envelope-Id"] == ("out+1" if ours else self.Peer.envid)
        orcpt = n.rcpts[0]["Original-Recipient"]
        assert (orcpt and orcpt.replace(" ", "")) == ("rfc822;first+out@x.test" if ours else self.Peer.orcpt)
        assert n.raw.count(b"\nthe body") == 0 or mta == "mx.b.test" and self.Peer.orcpt is None

    def check_success(self, n, mta, rcpt):
        assert n.fields["Reporting-MTA"].replace(" ", "") == "dns;" + mta
        self.check_origin(n, mta)
        assert n.rcpts[0]["Final-Recipient"].replace(" ", "") == "rfc822;" + rcpt
        assert n.rcpts[0]["Action"] == "delivered" and n.rcpts[0]["Status"].startswith("2.")

    def test_notices_of_failure(self, pair):
        """The server that is refused writes the notice, and the one that fails behind its 250."""
        wish = dict(mail=["RET=HDRS", "ENVID=out+2B1"], rcpt=["NOTIFY=FAILURE", "ORCPT=rfc822;first+2Bout@x.test"])
        for rcpt, mta in (("nobody@b.test", "mail.a.test"), ("full@b.test", "mx.b.test")):
            ident, content = message("alice@a.test", b"the body\r\n")
            pair.out([rcpt], content, **wish)
            n = pair.wait_notice(pair.here, "alice", ident)
            self.check_failure(n, mta, rcpt)
        ident, content = message("bob@b.test", b"the body\r\n")
        pair.back(["nobody@a.test"], content, **wish)
        self.check_failure(pair.wait_notice(pair.there, "bob", ident), "mx.b.test", "nobody@a.test")

    def check_failure(self, n, mta, rcpt):
        assert n.fields["Reporting-MTA"].replace(" ", "") == "dns;" + mta
        assert n.rcpts[0]["Final-Recipient"].replace(" ", "").lower() == "rfc822;" + rcpt
        assert n.rcpts[0]["Action"] == "failed" and n.rcpts[0]["Status"].startswith("5.")
        self.check_origin(n, mta)

    def test_no_notice_where_none_is_wanted(self, pair):
        ident, content = message("alice@a.test", b"never\r\n")
        pair.out(["nobody@b.test", "full@b.test", "bob@b.test"], content, rcpt=["NOTIFY=NEVER"])
        pair.arrived(pair.there, "bob", ident)
        pair.here.wait_queue_empty()
        later, content = message("alice@a.test", b"later\r\n")
        pair.out(["full@b.test"], content)
        pair.wait_notice(pair.here, "alice", later)
        assert not pair.notices(pair.here, "alice", ident)

    def test_addresses_beyond_ascii(self, pair):
        """RFC 6531 3.2: goes to a server with SMTPUTF8 as it is, and to no other."""
        ident, content = message("alice@a.test", "gr\u00fcn\r\n".encode(), "gr\u00fc\u00dfe".encode())
        pair.out(["j\u00f6rg@b.test"], content, sender="j\u00f6rg@a.test", utf8=True)
        if not self.Peer.utf8:
            n = pair.wait_notice(pair.here, "j\u00f6rg", ident)
            assert n.rcpts[0]["Status"] == "5.6.7" and n.rcpts[0]["Action"] == "failed"
            pair.here.wait_queue_empty()
            return
        _, got = pair.arrived(pair.there, "j\u00f6rg", ident)
        assert got == content.replace(b"\r\n", b"\n")
        ident, content = message("bob@b.test", "gr\u00fcn\r\n".encode(), "gr\u00fc\u00dfe".encode())
        pair.back(["j\u00f6rg@a.test"], content, sender="j\u00f6rg@b.test", utf8=True)
        added, got = pair.arrived(pair.here, "j\u00f6rg", ident)
        assert got == content.replace(b"\r\n", b"\n") and b"with UTF8SMTPS" in added
        ident, content = message("alice@a.test", b"nobody\r\n")
        pair.out(["f\u00fcr@b.test"], content, sender="j\u00f6rg@a.test", utf8=True)
        n = pair.wait_notice(pair.here, "j\u00f6rg", ident)
        assert "f\u00fcr@b.test" in n.raw.decode()

    def test_requiretls_goes_to_no_server_without_it(self, pair):
        """RFC 8689 4.2.1"""
        ident, content = message("alice@a.test")
        with smtplib.SMTP(pair.here.ip, 2587, timeout=DEADLINE) as s:
            s.starttls(context=pair.here.tls())
            s.login("alice@a.test", "secret")
            s.sendmail("alice@a.test", "bob@b.test", content, ["REQUIRETLS", "BODY=8BITMIME"])
        n = wait_until(lambda: [n for n in pair.notices(pair.here, "alice", ident)])[0]
        assert n.rcpts[0]["Status"] == ("5.7.30" if self.Peer.tls else "5.7.10"), n.rcpts[0]

    def test_a_connection_takes_several_messages(self, pair):
        idents = []
        for _ in range(6):
            ident, content = message("alice@a.test", b"one of six\r\n")
            idents.append(ident)
            pair.out(["bob@b.test"], content)
        for ident in idents:
            pair.arrived(pair.there, "bob", ident)
        wait_until(lambda: ", conn_use=" in pair.here.log_text())
