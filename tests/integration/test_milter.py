"""Milters from Debian before the queue: rspamd refuses, marks and greylists; what opendkim signs, opendkim verifies."""
import email
import os
import shutil
import signal
import smtplib
import subprocess
import tempfile
import pathlib

import pytest

import milters
import sample
from instance import wait_until

GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
HAM = "From: x@elsewhere.test\r\nTo: bob@example.test\r\nSubject: lunch\r\nX-Test: %s\r\n\r\n%s\r\n"


@pytest.fixture
def place():
    """Directories of milters, which other users may enter."""
    made = []

    def make():
        made.append(pathlib.Path(tempfile.mkdtemp(prefix="estafeta-milter-")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for d in made:
        shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def running():
    """Milters that end with the test."""
    made = []

    def add(m):
        made.append(m)
        return m

    yield add
    for m in made:
        m.close()


def send(mail, text, port="smtp", source="127.0.0.2"):
    with smtplib.SMTP(mail.ip, sample.PORTS.get(port, port), source_address=(source, 0)) as s:
        s.sendmail("x@elsewhere.test", "bob@example.test", text)


def the_message(mail, marker):
    return wait_until(lambda: [m for m in mail.messages("bob@example.test") if marker in m] or None)[0]


def body_of(message):
    """Maildir keeps lines with LF."""
    return message.split(b"\n\n", 1)[1].decode()


def test_rspamd(make_instance, place, running):
    mail = make_instance()
    endpoint = "inet:%s:2600" % mail.ip
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_milters = %s\n" % endpoint)
    running(milters.rspamd(place(), mail.ip, 2600))
    mail.add_users("bob@example.test")
    mail.start()

    with pytest.raises(smtplib.SMTPDataError) as refused:
        send(mail, HAM % ("spam", GTUBE))
    assert refused.value.smtp_code == 554 and b"Gtube pattern" in refused.value.smtp_error
    mail.wait_log("milter-reject: END-OF-MESSAGE from unknown[127.0.0.2]: 5.7.1 Gtube pattern; "
                  "from=<x@elsewhere.test> to=<bob@example.test> proto=ESMTP helo=<")

    with pytest.raises(smtplib.SMTPDataError) as deferred:
        send(mail, HAM % ("grey", "later"))
    assert deferred.value.smtp_code == 451 and b"Greylisted, please try again later" in deferred.value.smtp_error

    send(mail, HAM % ("ham", "good food"))
    raw = the_message(mail, b"good food")
    message = email.message_from_bytes(raw)
    assert "TEST_HAM" in message["X-Spamd-Result"] and message["X-Spam-Status"].startswith("No, score=1.50")
    assert message["Subject"] == "lunch" and body_of(raw) == "good food\n"
    mail.wait_queue_empty()

    # a message that has its own file, from the offset behind its old headers
    big = "large\r\n" + 20000 * "0123456789012345678901234567890123456789\r\n"
    send(mail, HAM % ("ham", big))
    raw = the_message(mail, b"large\n")
    assert "TEST_HAM" in email.message_from_bytes(raw)["X-Spamd-Result"]
    assert body_of(raw) == (big + "\r\n").replace("\r\n", "\n")
    assert raw.count(b"Subject: lunch") == 1

    # a dialer that dies is replaced, and nobody notices
    [(_, dialer)] = mail.processes("dialer")
    os.kill(dialer, signal.SIGKILL)
    send(mail, HAM % ("ham", "after the dialer"))
    the_message(mail, b"after the dialer")


def test_a_milter_that_dies_or_is_not_there(make_instance, place, running):
    mail = make_instance()
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_milters = inet:%s:2600\n" % mail.ip)
    with open(mail.conf / "master.cf", "a") as f:
        f.write("%s:2526 inet n - y - 1 smtpd -o milter_default_action=accept\n" % mail.ip)
    mail.add_users("bob@example.test")
    mail.start()
    with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
        assert s.ehlo("x")[0] == 451
    mail.wait_log("warning: connect to Milter service inet:%s:2600: connect: Connection refused" % mail.ip)
    send(mail, HAM % ("ham", "without a milter"), 2526)
    assert b"X-Spamd-Result" not in the_message(mail, b"without a milter")

    # what is there later is used by the next session
    rspamd = milters.rspamd(place(), mail.ip, 2600)
    send(mail, HAM % ("ham", "with a milter"))
    assert b"X-Spamd-Result" in the_message(mail, b"with a milter")
    with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
        assert s.ehlo("x")[0] == 250
        rspamd.close()
        # rspamd does not reply to MAIL: that it has gone is seen as soon as the kernel tells
        wait_until(lambda: s.rset()[0] == 250 and s.mail("x@elsewhere.test")[0] == 451)
    send(mail, HAM % ("ham", "gone again"), 2526)
    the_message(mail, b"gone again")


def test_what_opendkim_signs_opendkim_verifies(make_instance, place, running):
    mail = make_instance()
    signer, verifier = place(), place()
    subprocess.run(["opendkim-genkey", "-b", "2048", "-d", "elsewhere.test", "-s", "sel", "-D", signer], check=True)
    text = (signer / "sel.txt").read_text()
    key = "".join(part for part in text.split('"')[1::2])
    (verifier / "keys").write_text("sel._domainkey.elsewhere.test %s\n" % key)
    running(milters.opendkim(signer, "Mode s", "Domain elsewhere.test", "Selector sel",
                             "KeyFile %s/sel.private" % signer, "InternalHosts 127.0.0.0/8", "Canonicalization simple/simple"))
    running(milters.opendkim(verifier, "Mode v", "TestPublicKeys %s/keys" % verifier, "AuthservID mail.example.test",
                             "InternalHosts 192.0.2.1"))
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_milters = { unix:%s/socket, default_action=tempfail }\n" % verifier)
    with open(mail.conf / "master.cf", "a") as f:
        f.write("%s:2526 inet n - y - 1 smtpd -o smtpd_milters=unix:%s/socket\n" % (mail.ip, signer))
    mail.add_users("bob@example.test")
    mail.start()

    send(mail, HAM % ("folded\r\n\tname", "sign me"), 2526)
    signed = the_message(mail, b"sign me")
    assert b"DKIM-Signature:" in signed.split(b"Received:", 1)[0], signed
    # without what the delivery put at the top: it would be a loop
    signed = signed[signed.index(b"DKIM-Signature:"):]
    send(mail, signed.replace(b"\n", b"\r\n").replace(b"X-Test", b"X-Second: 1\r\nX-Test"))
    verified = the_message(mail, b"X-Second")
    assert b"dkim=pass" in verified and b"dkim=fail" not in verified, verified
    send(mail, signed.replace(b"\n", b"\r\n").replace(b"sign me", b"changed"))
    assert b"dkim=fail" in the_message(mail, b"changed")


def test_a_socket_whose_directory_was_made_anew(make_instance, place, running):
    """As systemd does with the RuntimeDirectory of a service that is restarted."""
    mail = make_instance()
    above = place()
    directory = above / "run"
    directory.mkdir()
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_milters = unix:%s/socket\n" % directory)
    mail.start()
    options = ["Mode v", "InternalHosts 192.0.2.1"]
    first = milters.opendkim(directory, *options)

    def greets():
        with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
            return s.ehlo("x")[0] == 250

    assert greets()
    first.close()
    shutil.rmtree(directory)
    directory.mkdir()
    running(milters.opendkim(directory, *options))
    wait_until(greets, timeout=90)


def test_only_what_is_configured_is_named(make_instance):
    mail = make_instance(main_cf="smtpd_milters = { inet:127.0.0.1:1, colour=red }\n")
    r = mail.estafeta("check", check=False)
    assert r.returncode != 0 and "colour=red" in r.stdout + r.stderr
