"""estafeta audit: what was acknowledged against what came of it, from qmgr's own record."""
import json
import os
import signal
import smtplib
import subprocess
import sys

import pytest

from conftest import ROOT
from instance import wait_until

FAST = """\
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
queue_segment_size = 1m
queue_minfree = 1m
smtp_tls_security_level = none
smtp_connect_timeout = 5s
transport_maps = inline:{{ {{gone.test = smtp:[127.0.0.1]:2998}}, {{sink.test = smtp:[{ip}]:{port}}} }}
"""
BOB, CAROL = "bob@example.test", "carol@example.test"


@pytest.fixture
def mail(make_instance, tmp_path):
    i = make_instance().add_users("alice@example.test", BOB, CAROL)
    sink = subprocess.Popen([sys.executable, ROOT / "tests" / "crash" / "sink.py", i.ip, tmp_path / "taken"],
                            stdout=subprocess.PIPE, text=True)
    with open(i.conf / "main.cf", "a") as f:
        f.write(FAST.format(ip=i.ip, port=int(sink.stdout.readline())))
    yield i.start()
    sink.terminate()
    sink.wait()


def submit(mail, *rcpts, size=0, sender="alice@example.test"):
    """The queue id."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0)) as s:
        s.mail(sender)
        for r in rcpts:
            assert s.rcpt(r)[0] == 250
        code, reply = s.data("Subject: hi\r\n\r\nID: x\r\n" + ("x" * 70 + "\r\n") * (size // 72) + "hi\r\n")
        assert code == 250
        return reply.decode().split()[-1]


def audit(mail, *args):
    """(totals, findings, exit status)"""
    r = mail.estafeta("audit", "-j", *args, check=False)
    rows = [json.loads(line) for line in r.stdout.splitlines()]
    assert rows, r.stderr
    return rows[-1], rows[:-1], r.returncode


def pick(totals, *names):
    return [totals[n] for n in names]


def test_each_end_of_a_recipient_is_told(mail):
    submit(mail, BOB, CAROL)
    submit(mail, BOB, "bad@sink.test", "good@sink.test")
    waiting = submit(mail, "a@gone.test", BOB)
    deleted = submit(mail, "b@gone.test", CAROL)
    held = submit(mail, "c@gone.test")
    # the three wait for another try, and nothing else waits: the notice is delivered, too
    wait_until(lambda: {q["queue_id"]: all(r.get("delay_reason") for r in q["recipients"]) for q in mail.queue()}
               == dict.fromkeys((waiting, deleted, held), True), what="deferral")
    mail.estafeta("queue", "delete", deleted)
    mail.estafeta("queue", "hold", held)
    totals, findings, status = audit(mail)
    assert (findings, status) == ([], 0)
    # five messages and the notice of the failure
    assert pick(totals, "messages", "notices", "recipients") == [6, 1, 11]
    assert pick(totals, "delivered", "relayed", "returned", "deleted", "queued") == [6, 1, 1, 1, 2]
    mail.estafeta("queue", "expire", "ALL")
    wait_until(lambda: audit(mail)[0]["queued"] <= 1, what="expiry")
    mail.estafeta("queue", "release", "ALL")
    mail.wait_queue_empty()
    totals, findings, status = audit(mail)
    assert (findings, status) == ([], 0)
    assert pick(totals, "notices", "returned", "expired", "deleted", "queued") == [3, 1, 2, 1, 0]
    assert totals["recipients"] == totals["delivered"] + 5


def test_the_record_outlives_segments_and_the_suite(mail):
    def ledger():
        return os.listdir(mail.dir / "queue" / "ledger")

    waiting = submit(mail, "a@gone.test")
    count = 0
    while len(ledger()) < 3:
        submit(mail, BOB, size=200000)
        count += 1
        assert count < 100
    wait_until(lambda: [q["queue_id"] for q in mail.queue()] == [waiting], what="deliveries")
    running = audit(mail)
    mail.stop()
    assert audit(mail) == running
    totals, findings, status = running
    assert (findings, status) == ([], 0)
    assert pick(totals, "messages", "delivered", "queued") == [count + 1, count, 1]
    assert sum((mail.dir / "queue" / "ledger" / n).stat().st_size for n in ledger()) < 40000
    assert audit(mail, "--since", "2099-01-01")[0]["messages"] == 0
    assert audit(mail, "--since=1d")[0]["messages"] == count + 1


def test_what_is_missing_or_cannot_be_known_is_told(mail):
    lost = submit(mail, "a@gone.test")
    submit(mail, "b@gone.test")
    wait_until(lambda: len([q for q in mail.queue() if q["recipients"][0].get("delay_reason")]) == 2, what="deferral")
    while not os.listdir(mail.dir / "queue" / "ledger"):
        submit(mail, BOB, size=300000)
    wait_until(lambda: len(mail.queue()) == 2, what="deliveries")
    mail.kill()
    path, = (mail.dir / "queue" / "deferred").glob("*/" + lost)
    path.unlink()
    totals, findings, status = audit(mail)
    assert status == 1
    assert [(f["finding"], f["queue_id"], f["recipient"]) for f in findings] == [("missing", lost, "a@gone.test")]
    assert pick(totals, "missing", "queued") == [1, 1]
    text = mail.estafeta("audit", check=False).stdout
    assert "missing: %s: <a@gone.test>: its deferred file has gone\n" % lost in text
    first = sorted(os.listdir(mail.dir / "queue" / "ledger"))[0]
    os.truncate(mail.dir / "queue" / "ledger" / first, 0)
    totals, findings, status = audit(mail)
    assert status == 1 and totals["holes"] == 1
    assert [f["finding"] for f in findings] == ["hole"]


def test_after_a_kill_nothing_is_missing_or_double(mail):
    for n in range(3):
        for _ in range(5):
            submit(mail, BOB, CAROL)
            submit(mail, "x@gone.test", BOB)
        for _, pid in mail.processes("qmgr"):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: mail.estafeta("queue", "list", check=False).returncode == 0, what="qmgr")
    wait_until(lambda: len(mail.queue()) == 15, what="deliveries")
    totals, findings, status = audit(mail)
    assert (findings, status) == ([], 0)
    assert pick(totals, "messages", "recipients", "delivered", "queued") == [30, 60, 45, 15]


def test_audit_while_mail_flows(mail):
    rows = []
    for n in range(15):
        for _ in range(4):
            submit(mail, BOB, size=100000)
            submit(mail, CAROL, "bad@sink.test")
        rows.append(audit(mail))
    assert [(f, s) for _, f, s in rows if f or s] == []
    mail.wait_queue_empty()
    totals, findings, status = audit(mail)
    assert (findings, status, totals["queued"]) == ([], 0, 0)
    assert pick(totals, "recipients", "returned") == [180 + 60, 60]
