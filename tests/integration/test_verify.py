"""Address verification: reject_unverified_recipient and reject_unverified_sender ask the server that mail would go to, once."""
import concurrent.futures
import re
import signal
import os
import smtplib
import threading
import time

import pytest

from instance import DEADLINE, Instance, wait_until
from smtp_wire import Sink

STRANGER = "127.0.0.9"
MAIN = """\
smtpd_peername_lookup = no
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtp_connect_timeout = 5s
mydestination = $myhostname
relay_domains = far.test, dead.test, lmtp.test, err.test, wait.test
transport_maps = inline:{{ {{far.test = smtp:{far}}}, {{probe.test = smtp:{far}}}, {{dead.test = smtp:[127.0.0.1]:2998}},
  {{lmtp.test = lmtp:{lmtp}}}, {{err.test = error:5.1.2 nobody lives here}}, {{wait.test = retry:4.2.1 closed for today}} }}
virtual_alias_maps = inline:{{ {{there@example.test = good@far.test}}, {{ghost@example.test = nobody@far.test}},
  {{team@example.test = one@far.test, two@far.test}} }}
smtpd_recipient_restrictions = reject_unverified_recipient
unverified_recipient_reject_code = 550
address_verify_poll_delay = 2s
"""


class Mailboxes(Sink):
    """Answers RCPT TO by the local part: nobody, later (greylisted), slow; counts who was asked for."""

    def __init__(self, capabilities=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 0")):
        self.asked, self.commands, self.senders = [], [], []
        self.gate = threading.Event()
        self.gate.set()
        self.known = set()
        super().__init__(capabilities)

    def times(self, address):
        return self.asked.count(address)

    def reply(self, address):
        local = address.split("@")[0]
        if local in ("slow",) or local.startswith("slow."):
            self.gate.wait(DEADLINE)
        if local.startswith("nobody") and address not in self.known:
            return b"550 5.1.1 no such user here\r\n"
        if local == "later":
            return b"450 4.2.0 come again\r\n"
        if local == "hangup":
            return None
        return b"250 2.1.5 fine\r\n"

    def converse(self, c, raw, until):
        at = 0
        c.sendall(b"220 sink ESMTP\r\n")
        while True:
            end = until(b"\r\n", at)
            line, at = bytes(raw[at:end]).decode(), end + 2
            verb = line[:4].upper()
            self.commands.append(verb)
            answer = b"250 2.0.0 Ok\r\n"
            if verb in ("EHLO", "LHLO"):
                words = ("sink",) + self.capabilities
                answer = b"".join(b"250%s%s\r\n" % (b"-" if i < len(words) - 1 else b" ", w.encode())
                                  for i, w in enumerate(words))
            elif verb == "MAIL":
                self.senders.append(re.search("<(.*?)>", line).group(1))
            elif verb == "RCPT":
                address = re.search("<(.*?)>", line).group(1)
                self.asked.append(address)
                answer = self.reply(address)
            elif verb == "DATA":
                answer = b"554 5.0.0 no data here\r\n"
            elif verb == "QUIT":
                answer = b"221 2.0.0 Bye\r\n"
            if answer is None:
                return
            c.sendall(answer)
            if verb == "QUIT":
                return


def start(make_instance, extra="", sinks=None, **kwargs):
    far, lmtp = sinks or (Mailboxes(), Mailboxes())
    where = {"far": "[%s]:%d" % far.where[:2], "lmtp": "[%s]:%d" % lmtp.where[:2]}
    mail = make_instance(main_cf=MAIN.format(**where) + extra, **kwargs)
    mail.add_user("alice@example.test")
    mail.far, mail.lmtp = far, lmtp
    return mail.start()


def rcpt(mail, address, sender="x@elsewhere.test", source=STRANGER):
    with smtplib.SMTP(mail.ip, 2525, source_address=(source, 0), timeout=DEADLINE) as s:
        s.ehlo()
        code, text = s.mail(sender)
        if code == 250:
            code, text = s.rcpt(address)
    return "%d %s" % (code, text.decode())


@pytest.fixture(scope="module")
def mail():
    made = []

    def make(**kwargs):
        made.append(Instance(**kwargs))
        return made[-1]

    try:
        yield start(make)
    finally:
        for m in made:
            m.close()


HOST = r"host 127\S+\[127\S+\] said: "


@pytest.mark.parametrize("address, reply", [
    ("good@far.test", "250 2.1.5 Ok"),
    ("nobody@far.test", "550 5.1.1 <nobody@far.test>: Recipient address rejected: undeliverable address: " + HOST +
     r"550 5.1.1 no such user here \(in reply to RCPT TO command\)"),
    ("later@far.test", "450 4.1.1 <later@far.test>: Recipient address rejected: unverified address: " + HOST +
     r"450 4.2.0 come again \(in reply to RCPT TO command\)"),
    ("hangup@far.test", "450 4.1.1 <hangup@far.test>: Recipient address rejected: unverified address: "
     "lost connection with .* while sending RCPT TO"),
    ("x@dead.test", "450 4.1.1 <x@dead.test>: Recipient address rejected: unverified address: .*refused"),
    ("good@lmtp.test", "250 2.1.5 Ok"),
    ("nobody@lmtp.test", "550 5.1.1 <nobody@lmtp.test>: Recipient address rejected: undeliverable address: " + HOST + "550"),
    ("alice@example.test", "250 2.1.5 Ok"),
    ("there@example.test", "250 2.1.5 Ok"),
    ("ghost@example.test", "550 5.1.1 <ghost@example.test>: Recipient address rejected: undeliverable address: " + HOST + "550"),
    ("team@example.test", "250 2.1.5 Ok"),
    ("unknown@example.test", "550 5.1.1 <unknown@example.test>: Recipient address rejected: undeliverable address: .*[Uu]nknown"),
    ("x@err.test", "550 5.1.1 <x@err.test>: Recipient address rejected: undeliverable address: nobody lives here"),
    ("x@wait.test", "450 4.2.1 <x@wait.test>: Recipient address rejected: closed for today"),
    # the sender of our own probes is taken without a probe, or else two servers could ask each other for ever
    ("double-bounce@mail.example.test", "250 2.1.5 Ok"),
])
def test_the_answer(mail, address, reply):
    assert re.match(reply, rcpt(mail, address))
    assert "DATA" not in mail.far.commands and "BDAT" not in mail.far.commands
    assert not mail.queue()


def test_an_answer_is_remembered_and_no_mail_is_seen(mail):
    before = mail.far.times("again@far.test")
    for _ in range(3):
        assert rcpt(mail, "again@far.test").startswith("250")
        assert rcpt(mail, "nobody.again@far.test").startswith("550")
    assert mail.far.times("again@far.test") == before + 1
    assert mail.far.times("nobody.again@far.test") == 1
    assert set(mail.far.senders) == {"double-bounce@mail.example.test"}
    log = mail.log_text()
    assert re.search(r"/smtp\[\d+\]: \S+: to=<again@far.test>, relay=127\S+\[127\S+\]:\d+, (conn_use=\d+, )?delay=\S+, "
                     r"delays=\S+, dsn=2.1.5, status=deliverable \(250 2.1.5 fine\)", log)
    assert re.search(r"to=<nobody.again@far.test>, .*dsn=5.1.1, status=undeliverable \(host ", log)
    assert re.search(r"to=<good@far.test>, orig_to=<there@example.test>, .*status=deliverable", log)
    assert "status=bounced" not in log and "status=deferred" not in log and "queue active" not in log


def test_members_of_a_list_are_not_asked_for(mail):
    rcpt(mail, "team@example.test")
    assert mail.far.times("one@far.test") == 0 and mail.far.times("two@far.test") == 0


def test_what_is_sent_to_the_probes_sender_is_thrown_away(mail):
    with smtplib.SMTP(mail.ip, 2525, source_address=(STRANGER, 0)) as s:
        s.sendmail("x@elsewhere.test", "double-bounce@mail.example.test", "Subject: hello\r\n\r\nx\r\n")
    mail.wait_log("to=<double-bounce@mail.example.test>, relay=none")
    mail.wait_queue_empty()
    assert "status=bounced" not in mail.log_text()


def test_many_ask_for_one_address_and_one_probe_answers_all(mail):
    mail.far.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(rcpt, mail, "slow@far.test") for _ in range(20)]
        wait_until(lambda: mail.far.times("slow@far.test"))
        time.sleep(0.5)  # nobody else may ask meanwhile
        mail.far.gate.set()
        assert {r.result() for r in replies} == {"250 2.1.5 Ok"}
    assert mail.far.times("slow@far.test") == 1


def test_a_client_waits_for_a_while_only(mail):
    mail.far.gate.clear()
    try:
        start_s = time.monotonic()
        assert re.match("450 4.1.1 <slow.one@far.test>: Recipient address rejected: unverified address: "
                        "Address verification in progress", rcpt(mail, "slow.one@far.test"))
        assert 3 < time.monotonic() - start_s < 15  # address_verify_poll_count - 1 times 2 s
    finally:
        mail.far.gate.set()
    wait_until(lambda: rcpt(mail, "slow.one@far.test").startswith("250"))
    assert mail.far.times("slow.one@far.test") == 1


def test_who_goes_away_is_forgotten(mail):
    mail.far.gate.clear()
    with smtplib.SMTP(mail.ip, 2525, source_address=(STRANGER, 0)) as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        s.putcmd("RCPT TO:<slow.gone@far.test>")
        wait_until(lambda: mail.far.times("slow.gone@far.test"))
        s.sock.close()
        s.sock = None
    mail.far.gate.set()
    wait_until(lambda: rcpt(mail, "slow.gone@far.test").startswith("250"))
    assert rcpt(mail, "good@far.test").startswith("250")


def test_the_cache_outlives_a_restart_and_what_is_torn_is_no_harm(make_instance):
    mail = start(make_instance)
    assert rcpt(mail, "kept@far.test").startswith("250")
    assert rcpt(mail, "nobody@far.test").startswith("550")
    cache = mail.dir / "queue" / "verify" / "cache"
    wait_until(lambda: cache.exists() and cache.read_text().count("\n") == 2)
    mail.estafeta("reload")
    assert rcpt(mail, "kept@far.test").startswith("250")
    mail.stop()
    mail.start()
    assert rcpt(mail, "kept@far.test").startswith("250")
    assert rcpt(mail, "nobody@far.test").startswith("550")
    assert mail.far.times("kept@far.test") == 1 and mail.far.times("nobody@far.test") == 1
    mail.stop()
    text = cache.read_bytes()
    cache.write_bytes(b"\0\xff rubbish\n" + text.replace(b"nobody", b"somebd") + text[:20])
    mail.start()
    assert rcpt(mail, "kept@far.test").startswith("250")
    assert rcpt(mail, "nobody@far.test").startswith("550")
    assert mail.far.times("kept@far.test") == 1 and mail.far.times("nobody@far.test") == 2
    mail.wait_log("damaged lines are passed over")


def test_qmgr_dies_while_a_client_waits(make_instance):
    mail = start(make_instance)
    mail.far.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reply = pool.submit(rcpt, mail, "slow@far.test")
        wait_until(lambda: mail.far.times("slow@far.test"))
        for name, pid in mail.processes("qmgr"):
            os.kill(pid, signal.SIGKILL)
        mail.far.gate.set()
        assert reply.result()[:3] in ("250", "450")
    wait_until(lambda: rcpt(mail, "slow@far.test").startswith("250"))


def test_refresh_and_expiry(make_instance):
    """An old answer counts until the new one is there; a probe that fails does not take "deliverable" back."""
    mail = start(make_instance, "address_verify_negative_refresh_time = 1s\naddress_verify_positive_refresh_time = 1s\n"
                 "address_verify_positive_expire_time = 6s\n")
    assert rcpt(mail, "nobody@far.test").startswith("550")
    assert rcpt(mail, "fine@far.test").startswith("250")
    mail.far.known.add("nobody@far.test")
    time.sleep(2.5)  # both want their refresh
    assert rcpt(mail, "nobody@far.test").startswith("550")
    wait_until(lambda: rcpt(mail, "nobody@far.test").startswith("250"))
    mail.far.known.discard("nobody@far.test")
    time.sleep(2.5)
    assert rcpt(mail, "nobody@far.test").startswith("250")
    wait_until(lambda: mail.far.times("nobody@far.test") == 3)
    assert rcpt(mail, "nobody@far.test").startswith("250")
    wait_until(lambda: rcpt(mail, "nobody@far.test").startswith("550"))


def test_without_negative_cache_and_without_a_file(make_instance):
    mail = start(make_instance, "address_verify_negative_cache = no\naddress_verify_map =\n")
    for _ in range(2):
        assert rcpt(mail, "nobody@far.test").startswith("550")
        assert rcpt(mail, "fine@far.test").startswith("250")
    assert mail.far.times("nobody@far.test") == 2 and mail.far.times("fine@far.test") == 1
    mail.stop()
    assert not (mail.dir / "queue" / "verify" / "cache").exists()


def test_senders(make_instance):
    mail = start(make_instance, "smtpd_recipient_restrictions =\nsmtpd_sender_restrictions = reject_unverified_sender\n"
                 "unverified_sender_reject_code = 550\naddress_verify_sender = <>\n"
                 "unverified_sender_reject_reason = go away\n")
    assert rcpt(mail, "alice@example.test", "good@probe.test") == "250 2.1.5 Ok"
    assert rcpt(mail, "alice@example.test", "nobody@probe.test") == (
        "550 5.1.7 <nobody@probe.test>: Sender address rejected: undeliverable address: go away")
    assert rcpt(mail, "alice@example.test", "later@probe.test") == (
        "450 4.1.7 <later@probe.test>: Sender address rejected: unverified address: go away")
    assert rcpt(mail, "alice@example.test", "") == "250 2.1.5 Ok"
    assert rcpt(mail, "alice@example.test", "alice@example.test") == "250 2.1.5 Ok"
    assert set(mail.far.senders) == {""}


def test_codes_and_actions(make_instance):
    mail = start(make_instance, "smtpd_recipient_restrictions = reject_unverified_recipient, "
                 "check_recipient_access inline:{ {later@far.test=554 no} }\n"
                 "unverified_recipient_reject_code = 250\nunverified_recipient_defer_code = 451\naddress_verify_poll_count = 1\n")
    assert rcpt(mail, "fine@far.test").startswith("451 4.1.1 <fine@far.test>: Recipient address rejected: "
                                                  "unverified address: Address verification in progress")
    wait_until(lambda: rcpt(mail, "fine@far.test").startswith("250"))
    rcpt(mail, "nobody@far.test")
    wait_until(lambda: rcpt(mail, "nobody@far.test").startswith("250"))  # only the cache learns of it
    assert rcpt(mail, "later@far.test").startswith("554")  # defer_if_permit: there is no permission
    mail.estafeta("config", "-e", "unverified_recipient_tempfail_action=defer")
    mail.estafeta("reload")
    assert rcpt(mail, "later@far.test").startswith("451")


def test_two_servers_that_ask_each_other(make_instance, name_server):
    """Each verifies senders and recipients: a probe of the one is no reason for a probe of the other."""
    both = ("smtpd_peername_lookup = no\nsmtp_tcp_port = 2525\nsmtpd_sender_restrictions = reject_unverified_sender\n"
            "smtpd_recipient_restrictions = reject_unverified_recipient\nmydestination = $myhostname\n")
    a = make_instance(hostname="mail.a.test", domain="a.test", main_cf=both)
    b = make_instance(hostname="mail.b.test", domain="b.test", main_cf=both)
    dns = name_server({"a.test": "@ IN MX 10 mail\nmail IN A %s" % a.ip, "b.test": "@ IN MX 10 mail\nmail IN A %s" % b.ip})
    for i, user in ((a, "anna@a.test"), (b, "ben@b.test")):
        i.estafeta("config", "-e", "dns_forwarders=" + dns.forwarder)
        i.add_user(user)
        i.start()
    assert rcpt(a, "anna@a.test", "ben@b.test") == "250 2.1.5 Ok"
    assert rcpt(b, "ben@b.test", "anna@a.test") == "250 2.1.5 Ok"
    assert rcpt(a, "anna@a.test", "none@b.test").startswith("450 4.1.7 <none@b.test>: Sender address rejected: unverified address: host")
    assert not a.queue() and not b.queue()


def test_a_dead_destination_is_known_at_once(make_instance):
    mail = start(make_instance, "minimal_backoff_time = 300s\nmaximal_backoff_time = 300s\n"
                 "smtp_destination_concurrency_failed_cohort_limit = 1\ndefault_destination_concurrency_limit = 1\n")
    assert "refused" in rcpt(mail, "one@dead.test")
    began = time.monotonic()
    assert "delivery temporarily suspended" in rcpt(mail, "two@dead.test")
    assert time.monotonic() - began < 2


def test_verification_does_not_press_third_parties(make_instance):
    """Of the probes that may be under way, one client and one domain have a part."""
    mail = start(make_instance, "address_verify_pending_request_limit = 16\naddress_verify_poll_count = 1\n")
    mail.far.gate.clear()
    try:
        replies = [rcpt(mail, "slow.%d@far.test" % i) for i in range(5)]
        assert sum("in progress" in r for r in replies) == 2
        assert sum("Too many address verification requests" in r for r in replies) == 3
        assert "in progress" in rcpt(mail, "good@lmtp.test", source="127.0.0.10")
    finally:
        mail.far.gate.set()
