"""aliases(5): alias_maps with lists, their owners and files; each recipient leaves with its own sender, and what a message
becomes is in the queue as a whole or not at all."""
import os
import re
import signal
import smtplib
import subprocess
import threading
import time
import uuid

import pytest

from instance import BUILD, DEADLINE, Instance, wait_until
from smtp_wire import Sink

MAIN = """\
smtpd_peername_lookup = no
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
mydestination = $myhostname
alias_maps = hash:$config_directory/aliases
recipient_delimiter = +
relayhost = [{}]:{}
"""
ALIASES = """\
# a comment
postmaster: alice
root: Alice
team: bob@example.test, far@team.test,
      "Far Away" <away@team.test>
Owner-team: alice
quiet: one@quiet.test, \\alice
news: :include:{conf}/news.list
owner-news: alice+news
wide: :include:{conf}/wide.list
outside: :include:/etc/hostname
missing: :include:{conf}/none.list
ghosts: ghost@example.test, one@ghosts.test
owner-ghosts: bob@example.test
mixed: alice, "|/usr/bin/vacation -a, b"
program: |/usr/bin/procmail
folder: /var/mail/folder
loop1: loop2
loop2: loop1
both: team, quiet, far@team.test
alice: \\alice
no colon
"""
LOCAL = "alice@mail.example.test"


@pytest.fixture(scope="module")
def mail():
    sink = Sink()
    with Instance(main_cf=MAIN.format(*sink.where[:2])) as m:
        m.sink = sink
        (m.conf / "aliases").write_text(ALIASES.format(conf=m.conf))
        (m.conf / "news.list").write_text("# readers\nr1@news.test, r2@news.test\n\nr3@news.test (third)\n")
        (m.conf / "wide.list").write_text("x@wide.test\n")
        os.chmod(m.conf / "wide.list", 0o666)
        m.build = m.estafeta("map", "build", "hash:%s/aliases" % m.conf)
        m.add_users(LOCAL, "bob@example.test")
        yield m.start()
    sink.close()


def send(mail, rcpts, sender="writer@elsewhere.test", **kwargs):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
        refused = s.sendmail(sender, rcpts, "Subject: %s\r\n\r\n.\r\n" % ident, **kwargs)
    assert not refused
    return ident


def rcpt(mail, address):
    with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
        s.ehlo()
        s.mail("writer@elsewhere.test")
        code, text = s.rcpt(address)
    return "%d %s" % (code, text.decode())


def sent(mail, ident):
    """{recipient: sender} of what the sink has got, each once."""
    found = {}
    for sender, rcpts, content in list(mail.sink.messages):
        if ident.encode() in content:
            for r in rcpts:
                r = r.decode().split(">")[0].strip("<")
                assert r not in found
                found[r] = sender.decode().split(">")[0].strip("<")
    return found


def received(mail, address, ident):
    return [m for m in mail.messages(address) if ident.encode() in m]


def test_the_text_is_that_of_aliases(mail):
    assert "line 22: expected format: name: value; ignoring this record" in mail.build.stderr
    assert mail.build.stderr.count("\n") == 1


def test_a_list_with_an_owner(mail):
    ident = send(mail, ["team@mail.example.test", "carol@else.test"])
    wait_until(lambda: len(sent(mail, ident)) == 3, what="the list")
    assert sent(mail, ident) == {"carol@else.test": "writer@elsewhere.test",
                                 "far@team.test": "owner-team@mail.example.test",
                                 "away@team.test": "owner-team@mail.example.test"}
    copy = wait_until(lambda: received(mail, "bob@example.test", ident))[0]
    assert b"Return-Path: <owner-team@mail.example.test>" in copy
    log = mail.log_text()
    first, other = re.search(r"qmgr\[\d+\]: (\w+): also queued as (\w+), for recipients with other senders", log).groups()
    assert re.search(other + r": from=<(\S+)>, size=\d+, nrcpt=(\d)", log).groups() in (
        ("owner-team@mail.example.test", "3"), ("writer@elsewhere.test", "1"))
    assert b"id " + first.encode() in copy  # the one that the client was told
    mail.wait_queue_empty()
    assert first + ": removed" in mail.log_text() and other + ": removed" in mail.log_text()


def test_without_owner_or_sender_it_stays(mail):
    ident = send(mail, "quiet@mail.example.test")
    wait_until(lambda: sent(mail, ident))
    assert sent(mail, ident) == {"one@quiet.test": "writer@elsewhere.test"}
    assert wait_until(lambda: received(mail, LOCAL, ident))
    ident = send(mail, "team@mail.example.test", sender="")
    wait_until(lambda: len(sent(mail, ident)) == 2)
    assert set(sent(mail, ident).values()) == {""}


def test_one_copy_for_each(mail):
    ident = send(mail, ["both@mail.example.test", "team@mail.example.test", "far@team.test"])
    wait_until(lambda: len(sent(mail, ident)) == 3 and received(mail, LOCAL, ident) and
               received(mail, "bob@example.test", ident))
    mail.wait_queue_empty()
    assert len(sent(mail, ident)) == 3 and len(received(mail, "bob@example.test", ident)) == 1


def test_names_of_other_domains_are_no_aliases(mail):
    assert rcpt(mail, "team@example.test").startswith("550 ")
    assert rcpt(mail, "TEAM+x@Mail.Example.test").startswith("250 ")


def test_files_of_recipients(mail):
    ident = send(mail, "news@mail.example.test")
    wait_until(lambda: len(sent(mail, ident)) == 3)
    assert sent(mail, ident) == {"r%d@news.test" % n: "owner-news@mail.example.test" for n in (1, 2, 3)}
    (mail.conf / "news.list").write_text("new@news.test\n")
    ident = send(mail, "news@mail.example.test")
    wait_until(lambda: sent(mail, ident))
    assert list(sent(mail, ident)) == ["new@news.test"]


@pytest.mark.parametrize("name, why", [
    ("wide", "wide.list is world writable"), ("outside", "/etc/hostname is not in config_directory"),
    ("missing", "none.list: No such file"), ("loop1", "unreasonable alias_maps map nesting for loop1@mail.example.test")])
def test_what_makes_mail_wait(mail, name, why):
    assert rcpt(mail, name + "@mail.example.test").startswith("451 ")
    mail.wait_log(why)


def test_a_symbolic_link_leads_nowhere(mail):
    (mail.conf / "news.list").rename(mail.conf / "kept.list")
    (mail.conf / "news.list").symlink_to("/etc/hostname")
    try:
        assert rcpt(mail, "news@mail.example.test").startswith("451 ")
    finally:
        (mail.conf / "news.list").unlink()
        (mail.conf / "kept.list").rename(mail.conf / "news.list")


def test_returned_mail_goes_to_the_owner(mail):
    ident = send(mail, "ghosts@mail.example.test")
    notice = wait_until(lambda: received(mail, "bob@example.test", ident))[0]
    assert b"Return-Path: <>" in notice and b"To: owner-ghosts@mail.example.test" in notice
    assert b"ghost@example.test" in notice and b"5.1.1" in notice
    assert sent(mail, ident) == {"one@ghosts.test": "owner-ghosts@mail.example.test"}


def test_dsn_parameters_end_at_a_list(mail):
    with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
        ident = uuid.uuid4().hex
        s.ehlo()
        s.mail("bob@example.test", ["RET=HDRS"])
        for to in "team@mail.example.test", "quiet@mail.example.test":
            assert s.rcpt(to, ["NOTIFY=SUCCESS", "ORCPT=rfc822;" + to])[0] == 250
        s.data("Subject: %s\r\n\r\n.\r\n" % ident)
    wait_until(lambda: len(sent(mail, ident)) == 3)
    lines = [line for raw in mail.sink.raw for line in bytes(raw).split(b"\r\n") if line.startswith(b"RCPT")]
    assert [x for x in lines if b"<one@quiet.test>" in x and b"NOTIFY=SUCCESS" in x]
    assert not [x for x in lines if b"@team.test>" in x and b"NOTIFY" in x]


def test_commands_and_files_are_refused(mail):
    assert rcpt(mail, "program@mail.example.test").startswith("55")
    mail.wait_log("mail to command is restricted")
    assert "mail to file is restricted" in rcpt(mail, "folder@mail.example.test")
    ident = send(mail, "mixed@mail.example.test", sender="bob@example.test")
    notice = wait_until(lambda: received(mail, "bob@example.test", ident))[0]
    assert b"Status: 5.7.1" in notice and b"mail to command is restricted" in notice and b"|/usr/bin/vacation" in notice
    assert wait_until(lambda: received(mail, LOCAL, ident))
    said = mail.estafeta("check", check=False).stderr
    for what in "/usr/bin/vacation", "/usr/bin/procmail", "/var/mail/folder":
        assert re.search(r"aliases:\d+: \"%s.*: mail to commands and files is not there" % what, said), said


def test_newaliases(mail):
    with open(mail.conf / "aliases", "a") as f:
        f.write("later: late@later.test\n")
    done = subprocess.run([BUILD / "newaliases"], env={**os.environ, "MAIL_CONFIG": str(mail.conf)}, capture_output=True,
                          text=True)
    assert done.returncode == 0 and "line 22" in done.stderr, done.stderr
    wait_until(lambda: rcpt(mail, "later@mail.example.test").startswith("250 "))


def test_local_submission(mail):
    ident = uuid.uuid4().hex
    done = subprocess.run([BUILD / "sendmail", "-f", "writer@elsewhere.test", "team@mail.example.test", "root", "x@plain.test"],
                          env={**os.environ, "MAIL_CONFIG": str(mail.conf)}, input="Subject: %s\n\n.\n" % ident,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(sent(mail, ident)) == 3 and received(mail, LOCAL, ident))
    assert sent(mail, ident) == {"x@plain.test": "writer@elsewhere.test", "far@team.test": "owner-team@mail.example.test",
                                 "away@team.test": "owner-team@mail.example.test"}


def test_a_large_message(mail):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
        s.sendmail("writer@elsewhere.test", ["team@mail.example.test", "x@large.test"],
                   "Subject: %s\r\n\r\n%s" % (ident, ("x" * 70 + "\r\n") * 60000))
    wait_until(lambda: len(sent(mail, ident)) == 3)
    assert {len(c) > 4300000 for _, _, c in mail.sink.messages if ident.encode() in c} == {True}
    mail.wait_queue_empty()
    wait_until(lambda: not os.listdir(mail.dir / "queue" / "bodies"), what="the bodies to go")


def test_crash_at_the_commit(mail):
    """qmgr dies while messages become several: each of them is there as a whole, or not at all, and what was acknowledged is."""
    (mail.conf / "news.list").write_text("new@news.test\n")
    acknowledged, tried, done = set(), [], threading.Event()

    def client():
        while not done.is_set():
            ident = uuid.uuid4().hex
            tried.append(ident)
            try:
                with smtplib.SMTP(mail.ip, 2525, timeout=DEADLINE) as s:
                    s.sendmail("writer@elsewhere.test", ["team@mail.example.test", "news@mail.example.test", "c@crash.test"],
                               "Subject: %s\r\n\r\n.\r\n" % ident)
                acknowledged.add(ident)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.01)

    threads = [threading.Thread(target=client) for _ in range(3)]
    for t in threads:
        t.start()
    for n in range(8):
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 3, what="mail to flow")
        for _, pid in mail.processes("qmgr"):
            os.kill(pid, signal.SIGKILL)
    done.set()
    for t in threads:
        t.join()
    mail.wait_queue_empty(2 * DEADLINE)
    whole = {"far@team.test", "away@team.test", "new@news.test", "c@crash.test"}
    for ident in tried:
        got = {r.decode().split(">")[0].strip("<") for _, rcpts, c in mail.sink.messages if ident.encode() in c for r in rcpts}
        assert got == whole or (not got and ident not in acknowledged), (ident, got)
        assert bool(received(mail, "bob@example.test", ident)) == bool(got)
    assert len(acknowledged) > 20
