"""Byte-exact through SMTP to IMAP and POP3 where the standards allow, refused clearly where they do not."""
import imaplib
import poplib
import smtplib

import pytest

from instance import wait_until

HEAD = b"From: alice@example.test\r\nSubject: %s\r\nMessage-ID: <%s@x.test>\r\n\r\n"
LONG = b"x" * 998
BODIES = {
    "plain": b"hello\r\n",
    "8bit": "Gr\u00fc\u00dfe, \u65e5\u672c\r\n".encode() + bytes(range(128, 256)) + b"\r\n",
    "line of 998": LONG + b"\r\n",
    "line of 100000": b"y" * 100000 + b"\r\n",
    "dots": b".\r\n..\r\n.a\r\n...\r\n\r\n.\r\n",
    "no body": b"",
    "empty lines": b"\r\n\r\n\r\n",
    "trailing white space": b"a \t\r\n \r\n\t\r\n",
    "from lines": b"From me\r\n>From you\r\n",
    "30 MB": b"".join(b"%07d " % n + b"z" * 60 + b"\r\n" for n in range(30 * 1024 * 1024 // 70)),
}


@pytest.fixture(scope="module")
def imap(mail):
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    m.login("bob@example.test", "secret")
    yield m
    m.logout()


def send_raw(mail, data):
    """DATA with exactly these bytes; the final reply."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        s.ehlo()
        assert s.mail("alice@elsewhere.test", ["BODY=8BITMIME"])[0] == 250
        assert s.rcpt("bob@example.test")[0] == 250
        assert s.docmd("DATA")[0] == 354
        s.sock.sendall(data)
        return s.getreply()


@pytest.mark.parametrize("name", BODIES)
def test_what_was_sent_comes_back(mail, imap, name):
    ident = name.replace(" ", "-").encode()
    message = HEAD % (ident, ident) + BODIES[name]
    wire = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    code, text = send_raw(mail, wire)
    assert code == 250, text

    def found():
        imap.select("INBOX")
        return imap.search(None, "HEADER", "Message-ID", '"%s@x.test"' % ident.decode())[1][0].split()

    n = wait_until(found)[0]
    data = imap.fetch(n, "(RFC822.SIZE BODY.PEEK[])")[1]
    whole = data[0][1]
    text = imap.fetch(n, "(BODY.PEEK[TEXT])")[1][0]
    # an empty body comes as a quoted string, which imaplib leaves in the line
    assert text[1] == BODIES[name] if isinstance(text, tuple) else (text.endswith(b'"")') and not BODIES[name])
    assert whole.endswith(message)
    assert b"RFC822.SIZE %d" % len(whole) in data[0][0]
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls(), timeout=60)
    p.user("bob@example.test")
    p.pass_("secret")
    poplib._MAXLINE = 1 << 20
    sizes = {int(n): int(s) for n, s in (e.split() for e in p.list()[1])}
    number = [n for n, s in sizes.items() if s == len(whole)]
    assert any(b"\r\n".join(p.retr(n)[1]) + b"\r\n" == whole for n in number)
    p.quit()


@pytest.mark.parametrize("data, codes", [
    (b"Subject: x\r\n\r\nbare\nlf\r\n.\r\n", (521, 550, 554)),
    (b"Subject: x\r\n\r\nbare\rcr\r\n.\r\n", (521, 550, 554)),
    (b"Subject: x\r\n\r\nnul\0byte\r\n.\r\n", (550, 554)),
    (b"Subject: x\r\n\r\n" + b"w" * 3000000 + b"\r\n.\r\n", (500, 550, 552, 554)),
])
def test_what_cannot_be_kept_exact_is_refused(mail, data, codes):
    assert send_raw(mail, data)[0] in codes


def test_too_large_is_refused_early_and_late(mail):
    limit = 50 * 1024 * 1024
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        s.ehlo()
        assert s.docmd("MAIL FROM:<a@elsewhere.test> SIZE=%d" % (limit + 1))[0] == 552
    block = b"v" * 998 + b"\r\n"
    code, _ = send_raw(mail, b"Subject: x\r\n\r\n" + block * (limit // 1000 + 10) + b".\r\n")
    assert code == 552


def test_append_keeps_bytes_without_a_final_newline(mail, imap):
    message = b"Subject: appended\r\n\r\nno newline at the end"
    assert imap.append("INBOX", None, None, message)[0] == "OK"
    imap.select("INBOX")
    n = imap.search(None, "SUBJECT", "appended")[1][0].split()[-1]
    assert imap.fetch(n, "(BODY.PEEK[])")[1][0][1] == message
