"""Restrictions with tables, DNS lists, policy servers and access(5) actions, through real processes."""
import contextlib
import os
import shutil
import signal
import smtplib
import socket
import socketserver
import subprocess
import tempfile
import threading
import time

import pytest

from instance import LoopbackAddress, wait_until
from serving import serving

MESSAGE = "From: a@b.test\r\nSubject: %s\r\n\r\ntext\r\n"


def tables(mail, **texts):
    """Writes and builds hash: tables below the configuration's directory."""
    for name, text in texts.items():
        (mail.conf / name).write_text(text)
        mail.estafeta("map", "build", "hash:%s/%s" % (mail.conf, name))


def stranger(mail, source="127.0.0.9"):
    return smtplib.SMTP(mail.ip, 2525, local_hostname="client.test", source_address=(source, 0))


def try_mail(mail, sender="x@b.test", rcpt="bob@example.test", source="127.0.0.9"):
    """The reply to RCPT TO, as (code, text)."""
    with stranger(mail, source) as s:
        s.ehlo()
        s.mail(sender)
        code, text = s.rcpt(rcpt)
        return code, text.decode()


def send(mail, subject, sender="x@b.test", rcpt="bob@example.test"):
    with stranger(mail) as s:
        s.sendmail(sender, rcpt, MESSAGE % subject)


def subjects(mail, address="bob@example.test"):
    return [l.split(b": ", 1)[1].decode() for m in mail.messages(address) for l in m.splitlines() if l.startswith(b"Subject: ")]


# --- tables --------------------------------------------------------------------------------------------------

ACCESS = """\
smtpd_restriction_classes = strict
strict = check_sender_access inline:{good@c.test=OK}, reject
smtpd_client_restrictions = check_client_access cidr:$config_directory/clients
smtpd_helo_restrictions = check_helo_access pcre:$config_directory/helo
smtpd_sender_restrictions = check_sender_access hash:$config_directory/senders
smtpd_recipient_restrictions = check_recipient_access hash:$config_directory/recipients
"""

SENDERS = """\
bad@b.test      REJECT not you
c.test          strict
d.test          550 5.7.9 nobody of d.test
later@b.test    DEFER_IF_PERMIT come again
x@b.test        DUNNO
held@b.test     HOLD for a look
gone@b.test     DISCARD
moved@b.test    REDIRECT carol@example.test
marked@b.test   PREPEND X-Seen: by restrictions
copied@b.test   BCC carol@example.test
noted@b.test    WARN look at this
"""


@pytest.fixture(scope="module")
def access():
    import instance
    with instance.Instance(main_cf=ACCESS) as mail:
        (mail.conf / "clients").write_text("127.0.0.66 REJECT not from there\n")
        (mail.conf / "helo").write_text("/^(evil)\\./ REJECT your name is $1\n")
        tables(mail, senders=SENDERS, recipients="info@example.test 451 4.2.0 closed for today\n")
        mail.add_users("bob@example.test", "carol@example.test", "info@example.test")
        mail.start()
        yield mail


@pytest.mark.parametrize("sender, rcpt, source, reply", [
    ("x@b.test", "bob@example.test", "127.0.0.9", (250, "2.1.5 Ok")),
    ("x@b.test", "bob@example.test", "127.0.0.66", (554, "5.7.1 <unknown[127.0.0.66]>: Client host rejected: not from there")),
    ("bad@b.test", "bob@example.test", "127.0.0.9", (554, "5.7.1 <bad@b.test>: Sender address rejected: not you")),
    ("good@c.test", "bob@example.test", "127.0.0.9", (250, "2.1.5 Ok")),
    ("x@c.test", "bob@example.test", "127.0.0.9", (554, "5.7.1 <x@c.test>: Sender address rejected: Access denied")),
    ("x@sub.d.test", "bob@example.test", "127.0.0.9", (550, "5.7.9 <x@sub.d.test>: Sender address rejected: nobody of d.test")),
    ("later@b.test", "bob@example.test", "127.0.0.9", (450, "4.7.1 <later@b.test>: Sender address rejected: come again")),
    ("x@b.test", "info@example.test", "127.0.0.9", (451, "4.2.0 <info@example.test>: Recipient address rejected: closed for today")),
])
def test_access_tables(access, sender, rcpt, source, reply):
    assert try_mail(access, sender, rcpt, source) == reply


def test_pattern_in_memory(access):
    with stranger(access) as s:
        s.ehlo("evil.test")
        s.mail("x@b.test")
        assert s.rcpt("bob@example.test") == (554, b"5.7.1 <evil.test>: Helo command rejected: your name is evil")


def test_a_table_is_read_anew(access):
    tables(access, senders=SENDERS + "new@b.test REJECT since today\n")
    wait_until(lambda: try_mail(access, "new@b.test")[0] == 554)


def test_prepend_and_warn(access):
    send(access, "marked", "marked@b.test")
    wait_until(lambda: "marked" in subjects(access))
    (message,) = [m for m in access.messages("bob@example.test") if b"Subject: marked" in m]
    assert message.index(b"X-Seen: by restrictions") < message.index(b"Received: from client.test")
    send(access, "noted", "noted@b.test")
    access.wait_log("warn: RCPT from unknown[127.0.0.9]: <noted@b.test>: Sender address look at this; from=<noted@b.test>")


def test_redirect_bcc_discard(access):
    send(access, "moved", "moved@b.test")
    send(access, "copied", "copied@b.test")
    send(access, "gone", "gone@b.test")
    send(access, "last")
    wait_until(lambda: "last" in subjects(access) and {"moved", "copied"} <= set(subjects(access, "carol@example.test")))
    access.wait_queue_empty()
    assert "copied" in subjects(access) and "moved" not in subjects(access)
    assert "gone" not in subjects(access) + subjects(access, "carol@example.test")
    access.wait_log("discard: RCPT from unknown[127.0.0.9]: <gone@b.test>: Sender address triggers DISCARD action;")


def test_hold_survives_a_restart(access):
    send(access, "held", "held@b.test")
    access.wait_log("hold: RCPT from unknown[127.0.0.9]: <held@b.test>: Sender address for a look;")
    held = [m for m in access.queue() if m["sender"] == "held@b.test"]
    assert [m["queue_name"] for m in held] == ["hold"]
    access.stop()
    access.start()
    held = [m for m in access.queue() if m["sender"] == "held@b.test"]
    assert [m["queue_name"] for m in held] == ["hold"] and "held" not in subjects(access)
    access.estafeta("queue", "release", held[0]["queue_id"])
    wait_until(lambda: "held" in subjects(access))


# --- content_filter, FILTER --------------------------------------------------------------------------------------

class Sink(socketserver.BaseRequestHandler):
    """A filter: takes SMTP mail and gives nothing back."""

    def handle(self):
        f = self.request.makefile("rwb")

        def say(text):
            f.write(text.encode() + b"\r\n")
            f.flush()

        say("220 filter ESMTP")
        while line := f.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                say("250 filter")
            elif verb == b"DATA":
                say("354 go")
                text = b""
                while (line := f.readline()) not in (b".\r\n", b""):
                    text += line
                self.server.messages.append(text)
                say("250 2.0.0 filtered")
            elif verb == b"QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


def test_filter(make_instance):
    with serving(Sink, messages=[]) as sink:
        place = "[127.0.0.1]:%d" % sink.server_address[1]
        mail = make_instance(main_cf="smtpd_sender_restrictions = check_sender_access inline:{ { f@b.test = FILTER smtp:%s } }\n" % place)
        mail.add_user("bob@example.test")
        mail.start()
        send(mail, "filtered", "f@b.test")
        send(mail, "direct")
        wait_until(lambda: sink.messages and "direct" in subjects(mail))
        mail.wait_queue_empty()
        assert b"Subject: filtered" in sink.messages[0] and "filtered" not in subjects(mail)
        mail.estafeta("config", "-e", "content_filter=smtp:" + place)
        mail.estafeta("reload")
        send(mail, "all of it")
        wait_until(lambda: len(sink.messages) == 2)


# --- DNS lists -------------------------------------------------------------------------------------------------------

def test_dns_lists(make_instance, name_server):
    dns = name_server({
        "bl.test": '9.0.0.127 IN A 127.0.0.2\n9.0.0.127 IN TXT "listed; see https://bl.test/?9"\n10.0.0.127 IN A 127.0.0.4',
        "wl.test": "10.0.0.127 IN A 127.0.1.1",
        "rhsbl.test": "spam.test IN A 127.0.0.2",
    })
    mail = make_instance(main_cf="smtpd_recipient_restrictions = permit_dnswl_client wl.test, "
                         "reject_rbl_client bl.test=127.0.0.[2..4], reject_rhsbl_sender rhsbl.test\n")
    mail.estafeta("config", "-e", "dns_forwarders=" + dns.forwarder)
    mail.add_user("bob@example.test")
    mail.start()
    assert try_mail(mail) == (554, "5.7.1 Service unavailable; Client host [127.0.0.9] blocked using bl.test; "
                              "listed; see https://bl.test/?9")
    assert try_mail(mail, source="127.0.0.10")[0] == 250  # the other list speaks for it
    assert try_mail(mail, source="127.0.0.11")[0] == 250
    assert try_mail(mail, "a@spam.test", source="127.0.0.11") == (
        554, "5.7.1 Service unavailable; Sender address [spam.test] blocked using rhsbl.test")


# --- who may send as whom --------------------------------------------------------------------------------------------

def test_sender_login_maps(make_instance):
    mail = make_instance(main_cf="smtpd_sender_login_maps = hash:$config_directory/logins\n"
                         "smtpd_sender_restrictions = reject_sender_login_mismatch\nrecipient_delimiter = +\n")
    tables(mail, logins="alice@example.test alice@example.test\nsales@example.test alice@example.test, bob@example.test\n"
           "@example.test nobody\n")
    mail.add_users("alice@example.test", "bob@example.test")
    mail.start()
    with smtplib.SMTP(mail.ip, 2587) as s:
        s.starttls(context=mail.tls())
        s.login("bob@example.test", "secret")
        for sender, code in (("sales@example.test", 250), ("alice@example.test", 553), ("other@example.test", 553),
                             ("sales+x@example.test", 250)):
            s.rset()
            s.mail(sender)
            assert s.rcpt("alice@example.test")[0] == code, sender
    assert try_mail(mail, "alice@example.test") == (553, "5.7.1 <alice@example.test>: Sender address rejected: not logged in")
    assert try_mail(mail, "alice@b.test")[0] == 250


# --- policy servers -----------------------------------------------------------------------------------------------------

class Policy(socketserver.BaseRequestHandler):
    """Answers by the recipient's local part; keeps what it was asked."""

    def handle(self):
        f = self.request.makefile("rwb")
        while True:
            attributes = {}
            while (line := f.readline().decode()) not in ("\n", ""):
                name, value = line.rstrip("\n").split("=", 1)
                attributes[name] = value
            if not attributes:
                return
            self.server.asked.append(attributes)
            who = attributes["recipient"].split("@")[0]
            if who == "slow":
                time.sleep(5)
            action = {"bob": "DUNNO", "carol": "REJECT policy says no", "info": "PREPEND X-Policy: seen",
                      "slow": "DUNNO", "odd": "\x00\x01"}[who]
            f.write(b"action=%s\n\n" % action.encode() if who != "odd" else b"nonsense\n\n")
            with contextlib.suppress(OSError):
                f.flush()


USERS = ["%s@example.test" % n for n in ("bob", "carol", "info", "slow", "odd")]


@pytest.fixture
def policy(make_instance):
    with serving(Policy, asked=[]) as server:
        place = "inet:127.0.0.1:%d" % server.server_address[1]
        mail = make_instance(main_cf="smtpd_peername_lookup = no\n"
                             "smtpd_recipient_restrictions = check_policy_service { %s, timeout=2s, try_limit=1, "
                             "{ default_action = 451 4.3.5 policy is away }, policy_context=test }\n" % place)
        mail.add_users(*USERS)
        mail.start()
        mail.policy = server
        yield mail


def test_policy_server(policy):
    assert try_mail(policy)[0] == 250
    assert try_mail(policy, rcpt="carol@example.test") == (
        554, "5.7.1 <carol@example.test>: Recipient address rejected: policy says no")
    asked = policy.policy.asked[0]
    assert {k: asked[k] for k in ("request", "protocol_state", "protocol_name", "helo_name", "sender", "recipient",
                                  "client_address", "client_name", "reverse_client_name", "sasl_username",
                                  "policy_context", "server_address", "server_port", "recipient_count")} == {
        "request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP", "helo_name": "client.test",
        "sender": "x@b.test", "recipient": "bob@example.test", "client_address": "127.0.0.9", "client_name": "unknown",
        "reverse_client_name": "unknown", "sasl_username": "", "policy_context": "test", "server_address": policy.ip,
        "server_port": "2525", "recipient_count": "0"}
    send(policy, "seen", rcpt="info@example.test")
    wait_until(lambda: any(b"X-Policy: seen" in m for m in policy.messages("info@example.test")))


def test_a_policy_server_that_fails_harms_its_own_mail_only(policy):
    begun = time.monotonic()
    results = {}

    def ask(name):
        results[name] = try_mail(policy, rcpt=name + "@example.test")

    slow = threading.Thread(target=ask, args=("slow",))
    slow.start()
    ask("bob")
    assert results["bob"][0] == 250 and time.monotonic() - begun < 2
    ask("odd")
    slow.join()
    away = (451, "4.3.5 <%s@example.test>: Recipient address rejected: policy is away")
    for name in ("slow", "odd"):
        assert results[name] == (away[0], away[1] % name)
    policy.wait_log("problem talking to server inet:127.0.0.1:%d: timeout" % policy.policy.server_address[1])


def test_a_policy_server_that_is_not_there(make_instance):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = "inet:127.0.0.1:%d" % free.getsockname()[1]
        mail = make_instance(main_cf="smtpd_recipient_restrictions = check_policy_service { %s, try_limit=1 }, permit\n" % place)
        mail.add_user("bob@example.test")
        mail.start()
        assert try_mail(mail) == (451, "4.3.5 <bob@example.test>: Recipient address rejected: Server configuration problem")


def test_postgrey_unmodified(make_instance):
    """Debian's postgrey, as an admin of Postfix has it running."""
    address = LoopbackAddress()
    state = tempfile.mkdtemp(prefix="estafeta-postgrey-")
    os.chmod(state, 0o777)
    server = subprocess.Popen(["postgrey", "--inet=%s:10023" % address.ip, "--dbdir=" + state, "--delay=2", "--user=nobody",
                               "--group=nogroup", "--auto-whitelist-clients=0"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        with contextlib.closing(socket.socket()) as s:
            wait_until(lambda: s.connect_ex((address.ip, 10023)) == 0, what="postgrey")
        mail = make_instance(main_cf="smtpd_recipient_restrictions = check_policy_service inet:%s:10023\n" % address.ip)
        mail.add_user("bob@example.test")
        mail.start()
        code, text = try_mail(mail)
        assert code == 450 and "Greylisted" in text

        def comes_again():
            with contextlib.suppress(smtplib.SMTPRecipientsRefused):
                send(mail, "patient")
                return True

        wait_until(comes_again)
        wait_until(lambda: "patient" in subjects(mail))
        (message,) = mail.messages("bob@example.test")
        assert b"X-Greylist: delayed " in message
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
        shutil.rmtree(state)
        address.release()
