"""sendmail, mailq and estafeta queue against a queue manager that this test plays."""

import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

from frames import REPLY, receive, sealed, send
from instance import BUILD

LIST, SHOW, DELETE, HOLD, RELEASE, REQUEUE, FLUSH, SUBMIT = range(40, 48)
EXPIRE = 48
OK, TEMP, FULL, BAD = range(4)
BY_SENDER, BY_DOMAIN, BY_QUEUE, OLDER, LARGER = 1, 3, 5, 6, 8


def entry(ident, queue="deferred", sender="alice@example.test", recipients=("bob@far.example",), reason="", size=1000):
    return {
        "queue_name": queue, "queue_id": ident, "arrival_time": 1795409323, "message_size": size,
        "forced_expire": False, "sender": sender,
        "recipients": [{"address": r, **({"delay_reason": reason} if reason else {})} for r in recipients],
    }


class Qmgr(threading.Thread):
    """Answers one connection after the other; a page of its queue holds two messages."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.queue, self.asked, self.answer = [], [], (OK, "")
        self.message = self.recipients = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(5)
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            with conn:
                while request := receive(conn):
                    self.serve(conn, *request)

    def serve(self, conn, kind, ident, fields):
        self.asked.append((kind, *fields))
        if kind == LIST:
            rest = [e for e in self.queue if e["queue_id"] >= fields[0]]
            page = [("b", json.dumps(e).encode()) for e in rest[:2]]
            send(conn, REPLY, ident, ("u", len(rest) > 2), ("s", rest[2]["queue_id"] if len(rest) > 2 else ""), *page)
        elif kind == SHOW:
            fd = sealed(b"Subject: x\r\n\r\nbody\r\n")
            status = OK if fields[0] in [e["queue_id"] for e in self.queue] else BAD
            send(conn, REPLY, ident, ("u", status), ("s", "no such message" if status else ""), ("b", b""), ("h", fd))
            os.close(fd)
        elif kind == SUBMIT:
            self.message, self.recipients = (os.pread(fd, 1 << 24, 0) for fd in fields[3:5])
            for fd in fields[3:5]:
                os.close(fd)
            send(conn, REPLY, ident, ("u", self.answer[0]), ("s", "4kFzAb12Cdz9"), ("s", self.answer[1]))
        else:
            known = [e["queue_id"] for e in self.queue]
            count = len(known) if fields[0] in ("ALL", "") else known.count(fields[0])
            send(conn, REPLY, ident, ("u", self.answer[0]), ("u", count), ("s", self.answer[1]))


class Box:
    def __init__(self, directory):
        self.directory = directory
        (directory / "data" / "control").mkdir(parents=True)
        (directory / "main.cf").write_text(
            f"data_directory = {directory}/data\nmyhostname = mx.test\nmyorigin = origin.test\nmessage_size_limit = 1m\n"
        )
        self.qmgr = Qmgr(directory / "data" / "control" / "qmgr")

    def run(self, name, *args, **kwargs):
        program = BUILD / ("estafeta" if name == "estafeta" else "sendmail")
        if not program.exists():
            pytest.skip(f"{program} is not built")
        if name == "estafeta":
            args = ("-c", str(self.directory), *args)
        env = {"MAIL_CONFIG": str(self.directory), "PATH": os.environ["PATH"], "TZ": "UTC0"}
        env["ASAN_OPTIONS"] = "detect_leaks=0"  # a command may end with memory in its hands
        return subprocess.run([name, *args], executable=program, env=env, capture_output=True, timeout=30, **kwargs)


@pytest.fixture
def box():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="estafeta-tools."))
    b = Box(directory)
    yield b
    b.qmgr.listener.close()
    shutil.rmtree(directory)


def test_sendmail_hands_over(box):
    done = box.run("sendmail", "-i", "-f", "me@x.test", "-F", "Me", "-oem", "-odb", "bob", "carol@y.test, Dave <dave@z.test>",
                   input=b"Subject: hi\nBcc: secret@s.test\n\none\n.\n\xc3\xa9\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    kind, sender, flags, name, *_ = box.qmgr.asked[0]
    assert (kind, sender, flags, name) == (SUBMIT, "me@x.test", 1, "Me")
    assert box.qmgr.recipients == b"bob@origin.test\0carol@y.test\0dave@z.test\0"
    header, body = box.qmgr.message.split(b"\r\n\r\n", 1)
    fields = dict(line.split(b": ", 1) for line in header.split(b"\r\n"))
    assert list(fields) == [b"Subject", b"Date", b"From", b"Message-ID"]
    assert fields[b"From"] == b"Me <me@x.test>" and fields[b"Message-ID"].endswith(b"@mx.test>")
    assert body == b"one\r\n.\r\n\xc3\xa9\r\n"


def test_sendmail_from_headers(box):
    done = box.run("sendmail", "-t", "-f", "", input=b"To: a@b.test\nCc: g: c@d.test;\nBcc: e@f.test\n\nx\n.\nnot this\n")
    assert done.returncode == 0, done.stderr
    assert box.qmgr.asked[0][1] == ""
    assert box.qmgr.recipients == b"a@b.test\0c@d.test\0e@f.test\0"
    assert b"Bcc" not in box.qmgr.message and box.qmgr.message.endswith(b"\r\n\r\nx\r\n")


def test_sendmail_default_sender(box):
    assert box.run("sendmail", "a@b.test", input=b"x\n").returncode == 0
    import pwd
    assert box.qmgr.asked[0][1] == pwd.getpwuid(os.getuid()).pw_name + "@origin.test"


@pytest.mark.parametrize("args, status, text", [
    ([], 64, b"Recipient addresses must be specified"),
    (["-t"], 64, b"No recipient addresses found in message header"),
    (["-bs"], 64, b"unsupported: -bs"),
    (["-bd"], 64, b"unsupported: -bd"),
    (["-Z", "a@b"], 64, b"usage"),
    (["-f", "a@b, c@d", "a@b"], 64, b"malformed sender"),
    (["-B", "9BIT", "a@b"], 64, b"bad -B"),
    (["<>"], 64, b"recipient without a name"),
])
def test_sendmail_usage(box, args, status, text):
    done = box.run("sendmail", *args, input=b"x\n")
    assert done.returncode == status and text in done.stderr, done
    assert box.qmgr.asked == []


@pytest.mark.parametrize("answer, status", [(TEMP, 75), (FULL, 75), (BAD, 65)])
def test_sendmail_refused(box, answer, status):
    box.qmgr.answer = (answer, "because")
    done = box.run("sendmail", "a@b.test", input=b"x\n")
    assert (done.returncode, done.stderr) == (status, b"sendmail: fatal: because\n")


def test_sendmail_limits_and_no_server(box):
    done = box.run("sendmail", "a@b.test", input=b"x" * (1 << 20) + b"y")
    assert done.returncode == 65 and b"message file too big" in done.stderr
    box.qmgr.listener.close()
    os.unlink(box.directory / "data" / "control" / "qmgr")
    done = box.run("sendmail", "a@b.test", input=b"x")
    assert done.returncode == 75 and b"not running" in done.stderr
    (box.directory / "main.cf").write_text("no equals sign\n")
    assert box.run("sendmail", "a@b.test", input=b"x").returncode == 78


def test_mailq(box):
    assert box.run("mailq").stdout == b"Mail queue is empty\n"
    box.qmgr.queue = [entry(f"4kFzAb{i}2Cdz9", queue="active" if i == 1 else "deferred", reason="it is down") for i in range(5)]
    for command in (["mailq"], ["sendmail", "-bp"], ["estafeta", "queue", "list"]):
        lines = box.run(*command).stdout.decode().splitlines()
        assert lines[0] == "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
        assert lines[1] == "4kFzAb02Cdz9          1000 Mon Nov 23 04:48:43 alice@example.test"
        assert lines[2] == "(it is down)".rjust(78)
        assert lines[3] == " " * 47 + "bob@far.example"
        assert lines[5].startswith("4kFzAb12Cdz9* ")
        assert lines[-1] == "-- 4 Kbytes in 5 Requests."


def test_queue_json(box):
    box.qmgr.queue = [entry(f"Q{i}") for i in range(5)]
    done = box.run("estafeta", "queue", "list", "-j")
    assert [json.loads(line) for line in done.stdout.splitlines()] == box.qmgr.queue


def test_queue_actions(box):
    box.qmgr.queue = [entry("Q1", sender="a@x.test"), entry("Q2", recipients=("c@y.test", "d@z.test")),
                      entry("Q3", queue="hold", sender="a@x.test")]
    cases = [
        (["hold", "Q1"], b"Placed on hold: 1 message\n", [(HOLD, "Q1")], 0),
        (["release", "ALL"], b"Released from hold: 3 messages\n", [(RELEASE, "ALL")], 0),
        (["requeue", "Q1", "Q2"], b"Requeued: 2 messages\n", [(REQUEUE, "Q1"), (REQUEUE, "Q2")], 0),
        (["delete", "Q9"], b"", [(DELETE, "Q9")], 1),
        (["delete", "Q9", "Q1"], b"Deleted: 1 message\n", [(DELETE, "Q9"), (DELETE, "Q1")], 1),
        (["expire", "Q1"], b"Force-expired: 1 message\n", [(EXPIRE, "Q1")], 0),
        (["delete", "--sender", "A@x.test", "queue=hold"], b"Deleted: 3 messages\n",
         [(DELETE, "ALL", BY_SENDER, "A@x.test", BY_QUEUE, "hold")], 0),
        (["delete", "Q2", "--domain=z.test"], b"Deleted: 1 message\n", [(DELETE, "Q2", BY_DOMAIN, "z.test")], 0),
        (["hold", "--older", "2h", "--larger=1m"], b"Placed on hold: 3 messages\n",
         [(HOLD, "ALL", OLDER, "7200", LARGER, "1048576")], 0),
        (["flush"], b"", [(FLUSH, "")], 0),
        (["flush", "far.example"], b"", [(FLUSH, "far.example")], 0),
    ]
    for args, out, asked, status in cases:
        box.qmgr.asked.clear()
        done = box.run("estafeta", "queue", *args)
        assert (done.stdout, done.returncode) == (out, status), (args, done)
        assert box.qmgr.asked == asked
    done = box.run("estafeta", "queue", "delete", "-", input=b"Q1\nQ2\n")
    assert done.stdout == b"Deleted: 2 messages\n"


def test_queue_histogram(box):
    box.qmgr.queue = [entry(f"Q{i}", recipients=("a@x.test", f"b@y{i}.test")) for i in range(3)]
    rows = [line.split() for line in box.run("estafeta", "queue", "histogram").stdout.decode().splitlines()]
    assert [row[:2] for row in rows[1:]] == [["TOTAL", "6"], ["x.test", "3"], ["y0.test", "1"], ["y1.test", "1"], ["y2.test", "1"]]
    done = box.run("estafeta", "queue", "histogram", "--sender", "--queue", "hold")
    assert done.stdout.decode().splitlines()[2].split()[:2] == ["example.test", "3"]
    assert box.qmgr.asked[-1][2:] == (BY_QUEUE, "hold")


def test_queue_show_and_errors(box):
    box.qmgr.queue = [entry("Q1")]
    done = box.run("estafeta", "queue", "show", "Q1")
    assert b"*** MESSAGE CONTENTS Q1 ***\nSubject: x\n\nbody\n*** MESSAGE FILE END Q1 ***\n" in done.stdout
    assert box.run("estafeta", "queue", "show", "Q2").returncode == 1
    for args in ([], ["list", "-x"], ["delete"], ["nonsense"], ["show"], ["show", "Q1", "--queue=hold"], ["list", "Q1"],
                 ["delete", "--older"], ["delete", "--older", "soon"], ["delete", "--oldr", "2h"], ["flush", "--sender=a"],
                 ["hold", "--domain=a", "--domain=b"]):
        assert box.run("estafeta", "queue", *args).returncode == 64
    box.qmgr.answer = (BAD, "only root may")
    done = box.run("estafeta", "queue", "delete", "Q1")
    assert done.returncode == 1 and b"only root may" in done.stderr


def test_flush_by_sendmail(box):
    box.qmgr.queue = [entry("Q1")]
    assert box.run("sendmail", "-q").returncode == 0
    assert box.run("sendmail", "-qRfar.example").returncode == 0
    assert box.run("sendmail", "-qIQ1").returncode == 0
    assert box.qmgr.asked == [(FLUSH, ""), (FLUSH, "far.example"), (REQUEUE, "Q1")]


def test_authorized_users(make_instance):
    """Postfix's authorized_*_users, by the kernel's word on who asks; root is always allowed."""
    nobody = pwd.getpwnam("nobody")
    mail = make_instance(main_cf="authorized_mailq_users = root\nauthorized_flush_users = !nobody, static:anyone\n"
                                 "authorized_submit_users = !nobody, static:anyone\n")
    mail.start()
    programs = mail.dir / "bin"  # the checkout may lie where nobody else may go
    programs.mkdir()
    for name in ("sendmail", "estafeta"):
        shutil.copy2(BUILD / name, programs / name)

    def run(program, *args, **options):
        return subprocess.run([programs / program, *args], capture_output=True, text=True, timeout=60, **options)

    other = dict(user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
    cases = [
        ("sendmail", ["-C", mail.conf, "-bp"], "User nobody is not allowed to view the mail queue"),
        ("sendmail", ["-C", mail.conf, "-q"], "User nobody is not allowed to flush the mail queue"),
        ("sendmail", ["-C", mail.conf, "x@far.example"], "User nobody is not allowed to submit mail"),
        ("estafeta", ["-c", mail.conf, "queue", "list"], "User nobody is not allowed to view the mail queue"),
        ("estafeta", ["-c", mail.conf, "queue", "flush"], "User nobody is not allowed to flush the mail queue"),
    ]
    for program, args, words in cases:
        done = run(program, *args, input="Subject: x\n\nx\n", **other)
        assert done.returncode == 77 and words in done.stderr, (args, done)
    assert run("sendmail", "-C", mail.conf, "-bp").stdout == "Mail queue is empty\n"
    assert run("estafeta", "-c", mail.conf, "queue", "flush").returncode == 0
