"""Bad input answers with the right code and harms nobody; a full disk loses nothing that was promised."""
import contextlib
import imaplib
import os
import pwd
import smtplib
import socket
import subprocess

import pytest

from instance import wait_until
from ledger import Ledger, make_message


def dialogue(mail, *lines, port="smtp", greeting=True):
    """Sends the lines one by one; the replies."""
    with socket.create_connection((mail.ip, mail.port(port)), timeout=30, source_address=("127.0.0.1", 0)) as s:
        f = s.makefile("rb")
        replies = []

        def reply():
            while True:
                line = f.readline()
                if line[3:4] != b"-":
                    return line

        if greeting:
            assert reply().startswith(b"220")
        for line in lines:
            s.sendall(line)
            replies.append(reply())
        return replies


def works(mail):
    """A message still goes through."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0)) as s:
        s.sendmail("a@elsewhere.test", "bob@example.test", "Subject: still there\r\n\r\nbody\r\n")


@pytest.mark.parametrize("lines, code", [
    ([b"EHLO " + b"x" * 5000 + b"\r\n"], b"5"),                                # RFC 5321 4.5.3.1.4
    ([b"NOOP\n"], b"5"),                                                       # RFC 5321 2.3.8: bare LF
    ([b"NOOP \0\r\n"], b"5"),
    ([b"EHLO x\r\n", b"MAIL FROM:<a@b.test\r\n"], b"501"),                     # RFC 5321 4.1.2
    ([b"EHLO x\r\n", b"RCPT TO:<bob@example.test>\r\n"], b"503"),              # RFC 5321 4.1.4
    ([b"EHLO x\r\n", b"DATA\r\n"], b"503"),
    ([b"EHLO x\r\n", b"MAIL FROM:<a@b.test> SIZE=99999999999\r\n"], b"552"),   # RFC 1870 6.1
    ([b"EHLO x\r\n", b"MAIL FROM:<a@b.test> NONSENSE=1\r\n"], b"555"),         # RFC 5321 4.1.1.11
    ([b"FROBNICATE\r\n"], b"5"),                                               # RFC 5321 4.2.4
    ([b"EHLO x\r\n", b"AUTH PLAIN *\r\n"], b"5"),                              # no AUTH in the clear
])
def test_smtp_input_that_is_wrong(mail, lines, code):
    assert dialogue(mail, *lines)[-1].startswith(code)
    works(mail)


def test_ten_thousand_recipients(mail):
    """RFC 5321 4.5.3.1.10: 452 past the limit, and what was accepted stays accepted."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        s.ehlo()
        s.mail("a@elsewhere.test")
        s.sock.sendall(b"RCPT TO:<bob@example.test>\r\n" * 10000)
        codes = [s.getreply()[0] for _ in range(1100)]
        assert codes[:1000] == [250] * 1000 and codes[1000] == 452
        s.close()
    works(mail)


def test_a_literal_of_a_gigabyte_is_refused_before_it_is_sent(mail):
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    m.login("bob@example.test", "secret")
    m.send(b"a1 APPEND INBOX {1073741824}\r\n")
    assert m.readline().startswith((b"a1 NO", b"a1 BAD"))
    m.send(b"a2 LOGIN {4294967295}\r\n")
    assert m.readline().startswith((b"a2 BAD", b"a2 NO", b"* BYE"))
    before = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    before.send(b"a LOGIN {1073741824+}\r\n")
    assert before.readline().startswith((b"a BAD", b"a NO", b"* BYE"))
    works(mail)


MALFORMED = {
    "unclosed boundary": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n",
    "nested 500 deep": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(500)) + b"\r\nx\r\n",
    "header soup": b"Content-Type: ;;;=\"\r\nDate: yes\r\nFrom: <<>@,\r\n\r\nx\r\n",
    "8-bit headers": b"Subject: \xff\xfe\xfd\r\nFrom: \x80@\x81\r\n\r\nx\r\n",
    "encoded words": b"Subject: " + b"=?utf-8?q?=41?= " * 500 + b"\r\n\r\nx\r\n",
    "no header": b"\r\nx\r\n",
    "2231": b"Content-Type: text/plain; " + b"; ".join(b"n*%d*=utf-8''x" % n for n in range(500)) + b"\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_mime_is_kept_and_shown(mail, name):
    message = b"Message-ID: <%s@m.test>\r\n" % name.replace(" ", "-").encode() + MALFORMED[name]
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0)) as s:
        s.sendmail("a@elsewhere.test", "bob@example.test", message)
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    m.login("bob@example.test", "secret")

    def found():
        m.select("INBOX")
        return m.search(None, "HEADER", "Message-ID", '"%s@m.test"' % name.replace(" ", "-"))[1][0].split()

    n = wait_until(found)[0]
    assert m.fetch(n, "(ENVELOPE BODYSTRUCTURE BODY.PEEK[1])")[0] == "OK"
    assert m.fetch(n, "(BODY.PEEK[])")[1][0][1].endswith(MALFORMED[name])
    m.logout()


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%s,mode=755" % size, "none", path], check=True)
    try:
        yield path
    finally:
        wait_until(lambda: subprocess.run(["umount", path], capture_output=True).returncode == 0, what="umount")


def fill(mail, ledger, rounds=400, size=60000):
    """Sends until the disk is full; the codes that were seen."""
    codes = set()
    for n in range(rounds):
        ident = "full-%d" % n
        with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
            s.ehlo()
            for step in (lambda: s.mail("a@elsewhere.test"), lambda: s.rcpt("bob@example.test"),
                         lambda: s.data(make_message(ident, size))):
                code = step()[0]
                if code != 250:
                    break
        codes.add(code)
        if code == 250:
            ledger.note(ident)
        else:
            break
    return codes


def test_a_full_queue_answers_452_and_loses_nothing(make_instance):
    mail = make_instance()
    with small_disk(mail.dir / "small", "40m") as disk:
        # delivery cannot write either, so that the queue fills
        (mail.dir / "m").mkdir()
        (mail.dir / "m").chmod(0o500)
        mail.estafeta("config", "-e", "queue_directory=%s/q" % disk, "queue_minfree=4m", "queue_segment_size=4m",
                      "virtual_mailbox_base=%s/m" % mail.dir, "minimal_backoff_time=1s", "maximal_backoff_time=1s",
                      "queue_run_delay=1s")
        mail.maildir = lambda a: mail.dir / "m" / "example.test" / a.split("@")[0] / "Maildir"
        mail.estafeta("user", "add", "bob@example.test", input="secret\n")
        subprocess.run(["rm", "-rf", mail.dir / "m" / "example.test"], check=True)
        mail.start()
        ledger = Ledger()
        codes = fill(mail, ledger, size=150000)
        assert codes == {250, 452}
        assert len(ledger.acknowledged) > 50
        vmail = pwd.getpwnam("vmail")
        os.chown(mail.dir / "m", vmail.pw_uid, vmail.pw_gid)
        (mail.dir / "m").chmod(0o755)
        mail.estafeta("queue", "flush")
        mail.wait_queue_empty(120)
        lost, torn, duplicates = ledger.account(mail.messages("bob@example.test"))
        assert lost == [] and torn == [] and duplicates == 0
        works(mail)
        mail.stop()


def test_a_full_mail_disk_defers_and_leaves_nothing_half_written(make_instance):
    mail = make_instance(main_cf="minimal_backoff_time=1s\nmaximal_backoff_time=1s\nqueue_run_delay=1s\n")
    with small_disk(mail.dir / "small", "3m") as disk:
        mail.estafeta("config", "-e", "virtual_mailbox_base=%s/m" % disk)
        mail.maildir = lambda a: disk / "m" / "example.test" / a.split("@")[0] / "Maildir"
        mail.add_user("bob@example.test")
        mail.start()
        ledger = Ledger()
        assert fill(mail, ledger, rounds=80) == {250}
        mail.wait_log("status=deferred")
        waiting = wait_until(lambda: [q for q in mail.queue() if q["recipients"][0].get("delay_reason")])
        assert "space" in waiting[0]["recipients"][0]["delay_reason"].lower()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        mail.estafeta("queue", "flush")
        mail.wait_queue_empty(120)
        lost, torn, duplicates = ledger.account(mail.messages("bob@example.test"))
        assert lost == [] and torn == [] and duplicates == 0
        assert list((mail.maildir("bob@example.test") / "tmp").iterdir()) == []
        mail.stop()


def test_too_many_open_files_are_survived(make_instance):
    """More clients than descriptors: those inside are served, the others when there is room again."""
    mail = make_instance(main_cf="smtpd_client_connection_count_limit = 0\n").add_users("bob@example.test")
    mail.start(prefix=["prlimit", "--nofile=256:256"])
    clients = []
    for _ in range(600):
        s = socket.create_connection((mail.ip, mail.port("smtp")), timeout=5, source_address=("127.0.0.1", 0))
        clients.append(s)
    for s in clients:
        s.close()
    wait_until(lambda: not works(mail))
    wait_until(lambda: any(b"still there" in m for m in mail.messages("bob@example.test")))
