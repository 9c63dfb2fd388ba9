"""SRS: what an alias forwards for another domain leaves with a sender of ours, and what comes back to that goes on to the sender."""
import base64
import hashlib
import hmac
import os
import re
import smtplib
import time
import uuid

import pytest

from instance import DEADLINE, Instance, wait_until
from smtp_wire import Sink

MAIN = """\
smtpd_peername_lookup = no
srs_domain = srs.example.test
srs_secret_file = {directory}/secrets
relayhost = [{host}]:{port}
"""
VIRTUAL = """\
postmaster@mail.example.test alice@example.test
forward@example.test  friend@away.test
both@example.test     friend@away.test, alice@example.test
"""
SECRET, OLD = "the secret of today", "the secret of yesterday"
STRANGER = "127.0.0.9"


@pytest.fixture(scope="module")
def mail(tmp_path_factory):
    sink, directory = Sink(), tmp_path_factory.mktemp("srs")
    (directory / "secrets").write_text(SECRET + "\n" + OLD + "\n")
    os.chmod(directory / "secrets", 0o600)
    host, port = sink.where[:2]
    with Instance(main_cf=MAIN.format(directory=directory, host=host, port=port), virtual=VIRTUAL) as m:
        m.sink, m.secrets = sink, directory / "secrets"
        m.add_users("alice@example.test")
        yield m.start()
    sink.close()


def stamp(days_ago=0):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    day = int(time.time() // 86400 - days_ago) % 1024
    return letters[day // 32] + letters[day % 32]


def sign(secret, *parts):
    mac = hmac.new(secret.encode(), "".join(parts).lower().encode(), hashlib.sha1).digest()
    return base64.b64encode(mac).decode()[:4]


def srs0(sender, secret=SECRET, days_ago=0):
    local, domain = sender.split("@")
    when = stamp(days_ago)
    return "SRS0=%s=%s=%s=%s@srs.example.test" % (sign(secret, when, domain, local), when, domain, local)


def send(mail, rcpt, sender, source="127.0.0.1"):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, 2525, source_address=(source, 0), timeout=DEADLINE) as s:
        s.sendmail(sender, rcpt, "Subject: %s\r\n\r\n.\r\n" % ident)
    return ident


def reply(mail, rcpt):
    """What a stranger hears who returns mail."""
    with smtplib.SMTP(mail.ip, 2525, source_address=(STRANGER, 0), timeout=DEADLINE) as s:
        s.ehlo()
        s.mail("")
        return s.rcpt(rcpt)[0]


def passed(mail, ident):
    """(sender, recipient) as the sink has got it."""
    sender, rcpts, _ = wait_until(lambda: [m for m in list(mail.sink.messages) if ident.encode() in m[2]])[0]
    return [re.search(rb"<(.*?)>", x.replace(b"TO:", b"").replace(b"FROM:", b"") if b"<" in x else b"<" + x).group(1).decode()
            for x in (b"<" + sender.lstrip(b"<"), b"<" + rcpts[0].lstrip(b"<"))]


def test_there_and_back(mail):
    ident = send(mail, "forward@example.test", "Some.One@far.test", STRANGER)
    sender, to = passed(mail, ident)
    assert (sender, to) == (srs0("Some.One@far.test"), "friend@away.test")
    back = send(mail, sender, "", STRANGER)
    assert passed(mail, back) == ["", "Some.One@far.test"]
    back = send(mail, sender.lower(), "", STRANGER)
    assert passed(mail, back) == ["", "some.one@far.test"]


def test_what_stays(mail):
    for sender, to in (("", "forward@example.test"), ("alice@example.test", "forward@example.test"),
                       ("some.one@far.test", "direct@away.test")):
        assert passed(mail, send(mail, to, sender))[0] == sender
    ident = send(mail, "both@example.test", "some.one@far.test")
    assert passed(mail, ident)[0] == srs0("some.one@far.test")
    copy = wait_until(lambda: [m for m in mail.messages("alice@example.test") if ident.encode() in m])[0]
    assert b"Return-Path: <some.one@far.test>" in copy


def test_a_second_hop(mail):
    """Who forwards what was forwarded to him names the first hop, which knows the way on."""
    first = "SRS0=abcd=XY=far.test=some.one@hop.test"
    sender, _ = passed(mail, send(mail, "forward@example.test", first, STRANGER))
    rest = "=abcd=XY=far.test=some.one"
    assert sender == "SRS1=%s=hop.test=%s@srs.example.test" % (sign(SECRET, "hop.test", rest), rest)
    assert passed(mail, send(mail, sender, "", STRANGER)) == ["", first]
    sender, _ = passed(mail, send(mail, "forward@example.test", "SRS1=wxyz=hop.test=%s@second.test" % rest, STRANGER))
    assert passed(mail, send(mail, sender, "", STRANGER)) == ["", first]


def test_expired_or_forged(mail):
    assert reply(mail, srs0("x@far.test", days_ago=20)) == 250
    assert reply(mail, srs0("x@far.test", days_ago=23)) == 550
    assert reply(mail, srs0("x@far.test", days_ago=-2)) == 550
    assert reply(mail, srs0("x@far.test", "another's secret")) == 550
    assert reply(mail, srs0("x@far.test").replace("far.test", "other.test")) == 550
    assert reply(mail, "SRS1=abcd=hop.test==a=b=c=d@srs.example.test") == 550
    assert reply(mail, "SRS0@srs.example.test") == 550
    assert reply(mail, "somebody@srs.example.test") == 550
    assert reply(mail, "x@far.test") in (550, 554)  # nothing else is relayed


def test_rotation(mail):
    assert reply(mail, srs0("x@far.test", OLD)) == 250
    mail.secrets.write_text("the secret of tomorrow\n" + SECRET + "\n")
    mail.estafeta("reload")
    wait_until(lambda: reply(mail, srs0("x@far.test", OLD)) == 550)
    assert reply(mail, srs0("x@far.test")) == 250
    assert passed(mail, send(mail, "forward@example.test", "x@far.test"))[0] == srs0("x@far.test", "the secret of tomorrow")


@pytest.mark.parametrize("text, mode, why", [
    ("long enough\n", 0o644, "one that others may read"), ("short\n", 0o600, "a secret of less than 8 characters"),
    ("", 0o600, "no secret"), (None, 0, "No such file")])
def test_check_names_what_is_wrong(mail, text, mode, why):
    kept = mail.secrets.read_text()
    mail.secrets.unlink()
    try:
        if text is not None:
            mail.secrets.write_text(text)
            os.chmod(mail.secrets, mode)
        r = mail.estafeta("check", check=False)
        assert r.returncode != 0 and "srs_secret_file" in r.stderr and why in r.stderr
    finally:
        mail.secrets.write_text(kept)
        os.chmod(mail.secrets, 0o600)
