"""The delivery program in its real cage, with a master, a qmgr and an authd that this test plays.

Shows what unit tests cannot: that the system calls it needs are allowed inside, that flushes are shared,
and that a disk that fails at a sync never makes it claim a delivery.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from frames import REPLY, parse, roles, sealed, send
from instance import BUILD

UID = 54321
MASTER_START, MASTER_DRAIN, MASTER_EDGE, MASTER_READY, MASTER_NOTE, MASTER_WANT_EDGE, MASTER_IDLE = 2, 3, 4, 20, 23, 24, 25
JOB, RESULT, AUTHD_MAILBOX = 1, 2, 31
SENT, DEFERRED, BOUNCED = 0, 1, 2
ARRIVAL_MS = 1795409323000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give up root")


def program():
    path = BUILD / "libexec" / "delivery"
    if not path.exists():
        pytest.skip("delivery is not built")
    return path


def pair():
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Process:
    """One delivery process and all its neighbours."""

    def __init__(self, base):
        self.base, self.notes, self.results = base, [], {}
        self.master, theirs = pair()
        self.log, log_theirs = pair()
        self.qmgr = self.authd = None
        keep = [theirs.fileno(), log_theirs.fileno()]
        conf = sealed(f"virtual_mailbox_base = {base}\nmyhostname = mx.test\nmax_idle = 100s\n".encode())
        self.child = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {program()} 3<&{keep[0]}"], pass_fds=keep, stdin=subprocess.DEVNULL,
            env={"ASAN_OPTIONS": "detect_leaks=0"},  # the leak checker needs ptrace, which kills in the cage
        )
        send(self.master, MASTER_START, 0, ("s", "delivery"), ("s", ""), ("s", str(base)), ("u", UID), ("u", UID),
             ("u", 0), ("s", "/nowhere"), ("h", conf), ("h", log_theirs.fileno()))
        theirs.close()
        log_theirs.close()
        os.close(conf)
        self.master.settimeout(20)
        assert parse(self.master.recv(65536))[0] == MASTER_READY
        self.connect()

    def connect(self):
        for name, role in (("qmgr", "ROLE_QMGR"), ("authd", "ROLE_AUTHD")):
            mine, theirs = pair()
            send(self.master, MASTER_EDGE, 0, ("u", roles()[role]), ("h", theirs.fileno()))
            theirs.close()
            mine.settimeout(0.02)
            setattr(self, name, mine)

    def job(self, number, queue_id, addresses, body=b"hello\r\n", flags=0):
        headers, content = sealed(b"Subject: x\r\n\r\n"), sealed(body)
        rcpts = []
        for i, address in enumerate(addresses):
            rcpts += [("u", i), ("s", address), ("s", ""), ("u", flags)]
        deadline = time.monotonic() + 60
        while True:
            try:
                send(self.qmgr, JOB, 0, ("u", number), ("s", queue_id), ("s", "from@x.test"), ("q", ARRIVAL_MS),
                     ("q", len(body)), ("q", 0), ("h", headers), ("h", content), *rcpts)
                break
            except (TimeoutError, BlockingIOError):
                # it reads no more jobs until its questions are answered and its results taken
                assert time.monotonic() < deadline
                self.turn()
        os.close(headers)
        os.close(content)

    def turn(self):
        """Answers authd's questions, collects results and notes."""
        for sock in (self.authd, self.qmgr, self.master, self.log):
            sock.setblocking(False)
            try:
                while packet := sock.recv(65536):
                    if sock is self.log:
                        continue
                    kind, ident, fields = parse(packet)
                    if sock is self.authd:
                        assert kind == AUTHD_MAILBOX
                        user = fields[0].split("@")[0]
                        send(self.authd, REPLY, ident, ("u", 0), ("s", fields[0]), ("u", UID), ("u", UID),
                             ("s", f"example.test/{user}"))
                    elif sock is self.qmgr:
                        assert kind == RESULT
                        assert (fields[0], fields[1]) not in self.results, "answered twice"
                        self.results[fields[0], fields[1]] = fields[2:]
                    elif kind == MASTER_NOTE:
                        self.notes.append(fields)
            except BlockingIOError:
                pass
        time.sleep(0.001)

    def wait(self, count, seconds=60):
        deadline = time.monotonic() + seconds
        while len(self.results) < count:
            assert time.monotonic() < deadline, self.results
            assert self.child.poll() is None
            self.turn()

    def drain(self):
        send(self.master, MASTER_DRAIN, 0, ("u", 0))
        assert self.child.wait(timeout=20) == 0

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for sock in (self.master, self.log, self.qmgr, self.authd):
            sock.close()

    def files(self, user, where):
        path = self.base / "example.test" / user / "Maildir" / where
        return sorted(path.iterdir()) if path.exists() else []


@pytest.fixture
def base():
    path = pathlib.Path(tempfile.mkdtemp(prefix="estafeta-delivery.", dir="/var/tmp"))
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def process(base):
    p = Process(base)
    yield p
    p.close()


def test_delivers_in_its_cage(process):
    status = dict(l.split(":\t", 1) for l in pathlib.Path(f"/proc/{process.child.pid}/status").read_text().splitlines() if ":\t" in l)
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["Gid"].split() == [str(UID)] * 4
    assert status["Groups"].strip() == ""
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert all(int(status[c], 16) == 0 for c in ("CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert os.readlink(f"/proc/{process.child.pid}/root") == str(process.base)
    process.job(1, "4kFzAb12Cdz9", ["alice@example.test", "bob@example.test"], body=b"one\r\ntwo")
    process.wait(2)
    assert process.results[1, 0] == [SENT, "2.0.0", "delivered to maildir"]
    (copy,) = process.files("alice", "new")
    assert copy.read_bytes() == (
        b"Return-Path: <from@x.test>\nDelivered-To: alice@example.test\nSubject: x\n\none\ntwo"
    )
    info = copy.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (UID, UID, 0o600)
    assert process.files("alice", "tmp") == []
    while len(process.notes) < 2:
        process.turn()
    assert sorted(process.notes) == [["alice@example.test", "INBOX"], ["bob@example.test", "INBOX"]]
    process.drain()


def test_large_message(process):
    body = b"".join(b"%08d x\r\n" % i for i in range(3_000_000))
    process.job(1, "Q1", ["alice@example.test"], body=body)
    process.wait(1)
    (copy,) = process.files("alice", "new")
    text = copy.read_bytes()
    assert text.split(b"\n\n", 1)[1] == body.replace(b"\r\n", b"\n")
    assert f",S={len(text)},W={len(text) + text.count(bytes([10]))}" in copy.name


def test_killed_and_asked_again(process, base):
    """SIGKILL in the middle of many jobs; the successor is asked for all of them again: one copy each."""
    users = [f"u{i % 7}" for i in range(200)]
    for i, user in enumerate(users):
        process.job(i, f"Q{i}", [f"{user}@example.test"])
    process.wait(20)
    process.child.send_signal(signal.SIGKILL)
    process.child.wait()
    again = Process(base)
    for i, user in enumerate(users):
        again.job(i, f"Q{i}", [f"{user}@example.test"], flags=1)
    again.wait(200)
    assert {r[0] for r in again.results.values()} == {SENT}
    assert sum(len(again.files(f"u{i}", "new")) for i in range(7)) == 200
    assert sum(len(again.files(f"u{i}", "tmp")) for i in range(7)) == 0
    again.drain()
    again.close()


def strace(pid, *args):
    tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), *args], stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    return tracer


def stop(tracer):
    tracer.send_signal(signal.SIGINT)
    return tracer.communicate(timeout=30)[1]


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["fsync", "syncfs", "write", "openat2", "renameat2"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_calls(process, call, error):
    """Whatever fails once: each recipient is answered once, what is called sent is there, nothing else is, and what was
    deferred is delivered at the next attempt."""
    users = [f"u{i}" for i in range(12)]
    process.job(0, "Q0", ["u0@example.test"])
    process.wait(1)
    # of the thread's writes the first is to a file; the last of a batch wakes the loop, and no eventfd fails
    for when in range(1, 2 if call == "write" else 14, 3):
        numbers = range(100 * when, 100 * when + len(users))
        # only the flush thread's calls count: the loop writes to eventfds and sockets
        thread = max(int(t.name) for t in pathlib.Path(f"/proc/{process.child.pid}/task").iterdir())
        tracer = subprocess.Popen(
            ["strace", "-p", str(thread), "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"],
            stderr=subprocess.PIPE, text=True)
        assert "attached" in tracer.stderr.readline()
        for number, user in zip(numbers, users):
            process.job(number, f"Q{number}", [f"{user}@example.test"])
        before = len(process.results)
        process.wait(before + len(users))
        stop(tracer)
        deferred = []
        for number, user in zip(numbers, users):
            status, dsn, text = process.results[number, 0]
            there = [f for f in process.files(user, "new") if f".QQ{number}R0." in f.name]
            assert status in (SENT, DEFERRED), (status, dsn, text)
            assert len(there) == (1 if status == SENT else 0), (text, there)
            if status == DEFERRED:
                assert dsn in ("4.3.1" if error == "ENOSPC" else "4.3.0", "4.2.0"), (dsn, text)
                deferred.append((number, user))
        for number, user in deferred:
            process.job(number + 50000, f"Q{number}", [f"{user}@example.test"])
        process.wait(before + len(users) + len(deferred))
        for number, user in deferred:
            assert process.results[number + 50000, 0][0] == SENT
            assert len([f for f in process.files(user, "new") if f".QQ{number}R0." in f.name]) == 1
    assert not any(process.files(u, "tmp") for u in users)
    process.drain()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_flushes_are_shared(process):
    """300 messages that wait together cost a fraction of 600 syncs."""
    process.job(0, "Q0", ["u0@example.test"])
    process.wait(1)
    tracer = strace(process.child.pid, "-c", "-e", "trace=fsync,fdatasync,syncfs")
    for i in range(300):
        process.job(1000 + i, f"Q{1000 + i}", [f"u{i % 20}@example.test"])
    process.wait(301)
    table = stop(tracer)
    calls = sum(int(l.split()[3]) for l in table.splitlines() if l.endswith(("sync", "syncfs")))
    assert 0 < calls < 150, table
