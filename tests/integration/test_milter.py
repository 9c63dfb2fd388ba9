"""Milters before the queue: rspamd refuses, marks and greylists; what opendkim signs, opendkim verifies; clamav finds the test
virus; one with a script keeps what it is told."""
import base64
import email
import os
import shutil
import signal
import smtplib
import struct
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


def test_clamav(make_instance, place, running):
    mail = make_instance()
    d = place()
    running(milters.clamd(d))
    running(milters.clamav_milter(d, d / "clamd", OnInfected="Reject", RejectMsg="Not with %v in it", AddHeader="Replace"))
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_milters = unix:%s/socket\n" % d)
    mail.add_users("bob@example.test")
    mail.start()

    attached = ("From: x@elsewhere.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                "--b\r\n\r\nsee there\r\n--b\r\nContent-Type: application/octet-stream\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n")
    for infected in HAM % ("virus", milters.EICAR), attached % base64.b64encode(milters.EICAR.encode()).decode():
        with pytest.raises(smtplib.SMTPDataError) as refused:
            send(mail, infected)
        assert refused.value.smtp_code == 550 and b"Not with Test.Eicar.UNOFFICIAL in it" in refused.value.smtp_error
    mail.wait_log("milter-reject: END-OF-MESSAGE from unknown[127.0.0.2]: 5.7.1 Not with Test.Eicar.UNOFFICIAL in it; "
                  "from=<x@elsewhere.test> to=<bob@example.test>")

    # what it says of a clean message stands alone, whatever the sender has put there
    send(mail, "X-Virus-Status: Clean, believe me\r\n" + HAM % ("ham", "all clean"))
    message = email.message_from_bytes(the_message(mail, b"all clean"))
    assert message.get_all("X-Virus-Status") == ["Clean"] and "clamav-milter" in message["X-Virus-Scanned"]
    large = "large\r\n" + 20000 * "0123456789012345678901234567890123456789\r\n"
    send(mail, HAM % ("ham", large))
    raw = the_message(mail, b"large\n")
    assert email.message_from_bytes(raw)["X-Virus-Status"] == "Clean"
    assert body_of(raw) == (large + "\r\n").replace("\r\n", "\n")
    with pytest.raises(smtplib.SMTPDataError):
        send(mail, HAM % ("virus", large + milters.EICAR))
    assert len(mail.messages("bob@example.test")) == 2


@pytest.fixture
def scripted(make_instance, running):
    """An instance whose port 2525 may be told of the client by XCLIENT, 2526 by PROXY, with a milter for both."""
    def make(**script):
        mail = make_instance()
        mail.milter = running(milters.Script(mail.ip, **script))
        with open(mail.conf / "main.cf", "a") as f:
            f.write("smtpd_milters = %s\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8\n"
                    "milter_connect_macros = j {client_addr} {client_name} {client_port} {client_connections} _\n"
                    "milter_mail_macros = i {auth_authen} {auth_ssf}\n" % mail.milter.endpoint)
        with open(mail.conf / "master.cf", "a") as f:
            f.write("%s:2526 inet n - y - 1 smtpd -o smtpd_upstream_proxy_protocol=haproxy\n" % mail.ip)
        mail.add_users("bob@example.test", "carol@example.test")
        return mail.start()

    return make


def connected_as(script):
    """(host name, family, port, address) of the last CONNECT, and its macros."""
    data, macros = script.seen("C")[-1]
    name, rest = data.split(b"\0", 1)
    return (name.decode(), rest[:1].decode(), int.from_bytes(rest[1:3], "big"), rest[3:-1].decode()), macros


def test_a_milter_is_told_of_the_client_that_a_proxy_names(scripted):
    mail = scripted()
    with smtplib.SMTP() as s:
        s.source_address = ("127.0.0.2", 0)
        s.sock = s._get_socket(mail.ip, 2526, 20)
        s.file = None
        s.send("PROXY TCP4 192.0.2.77 198.51.100.1 4711 25\r\n")
        assert s.getreply()[0] == 220
        s.sendmail("x@elsewhere.test", "bob@example.test", HAM % ("proxy", "by proxy"))
    told, macros = connected_as(mail.milter)
    assert told == ("[192.0.2.77]", "4", 4711, "192.0.2.77")
    assert macros == {"j": "mail.example.test", "client_addr": "192.0.2.77", "client_name": "unknown", "client_port": "4711",
                      "client_connections": "1", "_": "unknown [192.0.2.77]"}


def test_a_milter_is_told_of_the_client_that_xclient_names(scripted):
    mail = scripted()
    with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.2", 0)) as s:
        s.ehlo("first.test")
        assert connected_as(mail.milter)[0][3] == "127.0.0.2"
        assert s.docmd("XCLIENT", "NAME=spike.example.test ADDR=IPv6:2001:db8::7 PORT=4712 LOGIN=carol@example.test")[0] == 220
        s.ehlo("second.test")
        s.sendmail("x@elsewhere.test", "bob@example.test", HAM % ("xclient", "by xclient"))
    told, macros = connected_as(mail.milter)
    assert told == ("spike.example.test", "6", 4712, "2001:db8::7")
    assert macros == {"j": "mail.example.test", "client_addr": "2001:db8::7", "client_name": "spike.example.test",
                      "client_port": "4712", "client_connections": "1", "_": "spike.example.test [2001:db8::7]"}
    assert [data for data, _ in mail.milter.seen("H")] == [b"first.test\0", b"second.test\0"]
    macros = mail.milter.seen("M")[-1][1]
    assert (macros["auth_authen"], macros["auth_ssf"]) == ("carol@example.test", "0")


def test_a_milter_sees_a_message_that_came_in_chunks(scripted):
    mail = scripted(answers=[b"m" + struct.pack(">I", 1) + b"Subject\0chunky\0", b"hX-Seen\0yes\0"])
    body = b"one\r\n..two\r\n.\r\n" + b"three\r\n" * 60000  # no dot is special, and it is too much for memory
    text = b"From: x@elsewhere.test\r\nSubject: plain\r\nX-Long: a\r\n\tb\r\n\r\n" + body
    with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.2", 0)) as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        s.rcpt("bob@example.test")
        for chunk, last in (text[:20], ""), (text[20:57], ""), (text[57:], ""), (b"", " LAST"):
            s.send(b"BDAT %d%s\r\n" % (len(chunk), last.encode()) + chunk)
            code, reply = s.getreply()
            assert code == 250, reply
    [raw] = wait_until(lambda: mail.messages("bob@example.test"))
    message = email.message_from_bytes(raw)
    assert message["Subject"] == "chunky" and message["X-Seen"] == "yes" and raw.endswith(body.replace(b"\r\n", b"\n"))
    assert [data for data, _ in mail.milter.seen("L")] == [
        b"From\0x@elsewhere.test\0", b"Subject\0plain\0", b"X-Long\0a\n\tb\0"]
    assert b"".join(data for data, _ in mail.milter.seen("B")) == body
    assert len(mail.milter.seen("T")) == 1 and len(mail.milter.seen("E")) == 1
