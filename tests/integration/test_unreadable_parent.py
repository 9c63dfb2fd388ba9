"""The suite lies where its own users may not walk: a checkout in /root, a home of mode 0700."""
import os
import pathlib
import shutil
import signal
import smtplib
import tempfile

import pytest

from instance import wait_until
from procs import children
from test_end_to_end import BODY, find, imap


@pytest.fixture
def hidden():
    """A directory below one that only root may enter."""
    parent = pathlib.Path(tempfile.mkdtemp(prefix="estafeta-test-hidden-"))
    assert parent.stat().st_mode & 0o777 == 0o700
    inner = parent / "home" / "estafeta"
    inner.mkdir(parents=True)
    yield inner
    shutil.rmtree(parent, ignore_errors=True)


def login(mail, user, password):
    """The reply's code; 4xx while authd's database worker is not there."""
    with smtplib.SMTP(mail.ip, mail.port("submission")) as s:
        s.starttls(context=mail.tls())
        try:
            return s.login(user, password)[0]
        except smtplib.SMTPAuthenticationError as e:
            return e.smtp_code


def rcpt(mail, address):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        return s.rcpt(address)[0]


def rebuild(mail, name, text):
    (mail.conf / name).write_text(text)
    mail.estafeta("map", "build", "hash:%s/%s" % (mail.conf, name))


def database_workers(mail):
    """Of the processes of that name one is the nursery, which has forked the other."""
    named = [p for p in children(mail.processes("authd")[0][1])
             if pathlib.Path("/proc/%d/comm" % p).read_text().strip() == "authd-db"]
    return [p for p in named if any(p in children(other)[1:] for other in named)]


def test_accounts_aliases_and_mail(hidden, make_instance):  # in this order: the suite ends before its directory
    mail = make_instance(
        directory=hidden, virtual="info@example.test bob@example.test\n",
        main_cf="virtual_alias_maps = hash:$config_directory/virtual, texthash:$config_directory/plain\n")
    (mail.conf / "plain").write_text("plain@example.test bob@example.test\n")

    # while the suite is down
    mail.add_users("alice@example.test", "bob@example.test", "gone@example.test")
    mail.estafeta("user", "del", "gone@example.test")
    mail.estafeta("user", "passwd", "alice@example.test", input="changed\n")
    assert mail.estafeta("user", "list").stdout.split() == ["alice@example.test", "bob@example.test"]

    mail.start()
    assert login(mail, "alice@example.test", "changed") == 235
    assert login(mail, "alice@example.test", "secret") == 535
    assert rcpt(mail, "info@example.test") == 250
    assert rcpt(mail, "plain@example.test") == 250
    assert rcpt(mail, "late@example.test") == 550

    # maps that change while it runs
    rebuild(mail, "virtual", "info@example.test bob@example.test\nlate@example.test bob@example.test\n")
    wait_until(lambda: rcpt(mail, "late@example.test") == 250, what="the new version of hash:")
    (mail.conf / "plain.new").write_text("later@example.test bob@example.test\n")
    os.rename(mail.conf / "plain.new", mail.conf / "plain")
    wait_until(lambda: rcpt(mail, "later@example.test") == 250, what="the new version of texthash:")

    # accounts while it runs: written where they were before
    mail.add_user("carol@example.test", "secret")
    mail.estafeta("user", "passwd", "alice@example.test", input="again\n")
    assert login(mail, "carol@example.test", "secret") == 235
    assert login(mail, "alice@example.test", "again") == 235

    # the database worker's successor finds everything again
    killed = database_workers(mail)
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    wait_until(lambda: database_workers(mail) not in ([], killed), what="a new database worker")
    wait_until(lambda: login(mail, "alice@example.test", "again") == 235, what="AUTH with the new worker")
    rebuild(mail, "virtual", "info@example.test bob@example.test\nlast@example.test bob@example.test\n")
    wait_until(lambda: rcpt(mail, "last@example.test") == 250, what="a new map with the new worker")

    with smtplib.SMTP(mail.ip, mail.port("submission")) as s:
        s.starttls(context=mail.tls())
        s.login("alice@example.test", "again")
        s.sendmail("alice@example.test", "info@example.test", BODY % "hidden but delivered")
    m = imap(mail)
    number = wait_until(lambda: find(m, "hidden but delivered"))[0]
    assert m.fetch(number, "(BODY.PEEK[])")[1][0][1].endswith((BODY % "hidden but delivered").encode())
    m.logout()

    mail.stop()
    assert mail.estafeta("user", "list").stdout.split() == [
        "alice@example.test", "bob@example.test", "carol@example.test"]
    mail.start()
    assert login(mail, "carol@example.test", "secret") == 235
    assert "ermission denied" not in mail.log_text()
