"""header_checks, mime_header_checks, nested_header_checks, body_checks (header_checks(5)), blind copies, MIME nesting."""
import smtplib

import pytest

import instance
from instance import wait_until

MAIN_CF = """\
header_checks = pcre:$config_directory/header
mime_header_checks = pcre:$config_directory/mime
nested_header_checks = pcre:$config_directory/nested
body_checks = regexp:$config_directory/body
mime_nesting_limit = 5
strict_mime_nesting = yes
always_bcc = archive@example.test
sender_bcc_maps = inline:{ { boss@b.test = carol@example.test } }
recipient_bcc_maps = texthash:$config_directory/bcc
"""
TABLES = {
    "header": r"""
/^Subject: .*viagra/        REJECT no such goods
/^Subject: .*later/         REJECT 4.7.1 not today
/^X-Gone:/                  IGNORE
/^X-Strip:/                 STRIP
/^X-Old: (.*)/              REPLACE X-New: was $1
/^X-Mark:/                  PREPEND X-Marked: yes
/^X-Bad: /                  REPLACE this is no header
/^Subject: hold/            HOLD
/^X-Folded: a\n b/          PREPEND X-Unfolded: seen
""",
    "mime": r"""
/^Content-(Type|Disposition): .*name="?[^"]*\.exe/  REJECT no programs
/^Content-Note:/            IGNORE
""",
    "nested": r"""
/^Subject: .*inner/         REJECT nor inside
""",
    "body": r"""
/^click here/               REJECT no links
/^secret: (.*)$/            REPLACE public: $1
/^drop this/                IGNORE
/^warn me/                  WARN look
/^before me/                PREPEND put before
""",
    "bcc": "dave@example.test carol@example.test\n",
}


@pytest.fixture(scope="module")
def mail():
    with instance.Instance(main_cf=MAIN_CF) as i:
        for name, text in TABLES.items():
            (i.conf / name).write_text(text)
        i.add_users(*["%s@example.test" % n for n in ("bob", "carol", "dave", "archive")])
        i.start()
        yield i


def send(mail, message, sender="x@b.test", rcpt="bob@example.test"):
    with smtplib.SMTP(mail.ip, 2525, local_hostname="client.test") as s:
        s.ehlo()
        s.mail(sender)
        s.rcpt(rcpt)
        return s.data(message.replace("\n", "\r\n"))


def arrived(mail, token, who="bob@example.test"):
    def look():
        return [m.replace(b"\r\n", b"\n").decode() for m in mail.messages(who) if token.encode() in m]
    return wait_until(look)


@pytest.mark.parametrize("message, reply", [
    ("Subject: cheap viagra\n\nx\n", (550, b"5.7.1 no such goods")),
    ("Subject: cheap\n viagra\n\nx\n", (550, b"5.7.1 no such goods")),
    ("Subject: later\n\nx\n", (450, b"4.7.1 not today")),
    ("Subject: x\n\nclick here now\n", (550, b"5.7.1 no links")),
    ("Subject: x\nContent-Type: application/x; name=\"a.exe\"\n\nx\n", (550, b"5.7.1 no programs")),
    ("Subject: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b\n"
     "Content-Type: application/octet-stream;\n name=\"a.exe\"\n\nMZ\n--b--\n", (550, b"5.7.1 no programs")),
    ("Subject: x\nContent-Type: message/rfc822\n\nSubject: the inner one\n\nx\n", (550, b"5.7.1 nor inside")),
    ("Subject: x\n\nSubject: cheap viagra\n", (250, None)),
    ("no header at all, click here\n", (250, None)),
])
def test_reject(mail, message, reply):
    code, text = send(mail, message)
    assert code == reply[0] and (reply[1] is None or text == reply[1])


def test_headers_are_changed(mail):
    assert send(mail, "X-Gone: 1\nX-Strip: 2\nX-Old: 3\nX-Bad: 4\nSubject: changed-1\nX-Mark: 5\nX-Folded: a\n b\n"
                      "X-Last: 6\nX-Gone: 7\n\nbody stays\n")[0] == 250
    (text,) = arrived(mail, "changed-1")
    headers, body = text.split("\n\n", 1)
    assert headers.endswith("X-New: was 3\nX-Bad: 4\nSubject: changed-1\nX-Marked: yes\nX-Mark: 5\nX-Unfolded: seen\n"
                            "X-Folded: a\n b\nX-Last: 6") and body == "body stays\n"
    mail.wait_log("this is no header")


def test_body_is_changed(mail):
    parts = ("--b\nContent-Note: no\nContent-Type: text/plain\n\nsecret: word\nkept\ndrop this\nbefore me\n--b\n"
             "Content-Type: text/plain;\n charset=utf-8\n\nsecond\nwarn me\n--b--\n")
    assert send(mail, "Subject: changed-2\nContent-Type: multipart/mixed; boundary=b\n\n" + parts)[0] == 250
    (text,) = arrived(mail, "changed-2")
    assert text.split("\n\n", 1)[1] == ("--b\nContent-Type: text/plain\n\npublic: word\nkept\nput before\nbefore me\n--b\n"
                                        "Content-Type: text/plain;\n charset=utf-8\n\nsecond\nwarn me\n--b--\n")
    mail.wait_log("warning: body warn me from")


def test_a_large_message_is_changed_and_nothing_else_waits(mail):
    lines = "".join("line %06d of a long message\n" % n for n in range(100000))
    assert send(mail, "Subject: changed-3\n\nsecret: x\n" + lines + "end\n")[0] == 250
    (text,) = arrived(mail, "changed-3")
    assert text.split("\n\n", 1)[1] == "public: x\n" + lines + "end\n"


def test_nothing_to_change(mail):
    assert send(mail, "Subject: plain-1\nX-Other: y\n\ntext\n.dot\n\n")[0] == 250
    (text,) = arrived(mail, "plain-1")
    assert text.endswith("\nSubject: plain-1\nX-Other: y\n\ntext\n.dot\n\n")


def test_hold(mail):
    assert send(mail, "Subject: hold it\n\nx\n", sender="holder@b.test")[0] == 250
    (held,) = [m for m in mail.queue() if m["sender"] == "holder@b.test"]
    assert held["queue_name"] == "hold"


def test_nesting(mail):
    def nested(depth):
        head = tail = ""
        for n in range(depth):
            head += "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n)
            tail = "--b%d--\n" % n + tail
        return "Subject: nested-%d\n" % depth + head + "\ntext\n" + tail
    assert send(mail, nested(5))[0] == 250
    code, text = send(mail, nested(6))
    assert (code, text) == (554, b"5.6.0 Error: MIME nesting exceeds safety limit")


def test_blind_copies(mail):
    assert send(mail, "Subject: copied-1\n\nx\n", sender="boss@b.test")[0] == 250
    assert send(mail, "Subject: copied-2\n\nx\n", rcpt="dave@example.test")[0] == 250
    for token, who in (("copied-1", "bob"), ("copied-1", "carol"), ("copied-1", "archive"), ("copied-2", "dave"),
                       ("copied-2", "carol"), ("copied-2", "archive")):
        (text,) = arrived(mail, token, who + "@example.test")
        assert "carol" not in text.split("\n\n")[0].replace("Delivered-To: carol@example.test", "")
