"""Thousands of slow clients cost kilobytes each, and nobody else a second (`make slow`: 19,000 in one process, 30,000 over
two).  The share of it that runs with every check is small; the figures are printed."""
import contextlib
import os
import pathlib
import smtplib
import subprocess
import sys
import time
import uuid

import pytest

from instance import ROOT, wait_until

COUNT = int(os.environ.get("SLOW_CLIENTS", "1500"))
PROCESSES = int(os.environ.get("SLOW_PROCESSES", "1"))
TLS_COUNT = int(os.environ.get("SLOW_TLS_CLIENTS", "400"))

MAIN_CF = "smtpd_client_connection_count_limit = 0\nsmtpd_client_limit = 19100\nsmtpd_peername_lookup = no\n"
MASTER_CF = "{ip}:%s inet n - y - %d smtpd%s\n"


def pss(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


@contextlib.contextmanager
def slow_clients(ip, port, count, *more):
    share = 9000  # sockets of one process: its limit is 20,000, and Python's speed is what it is
    counts = [share] * (count // share) + ([count % share] if count % share else [])
    drivers = [subprocess.Popen([sys.executable, ROOT / "tests" / "harness" / "slow_clients.py", ip, str(port), str(n), *more],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for n in counts]
    try:
        for d in drivers:
            assert d.stdout.readline() == "ready\n"
        yield drivers
    finally:
        for d in drivers:
            d.stdin.close()
            d.wait()


def delivery_time(mail):
    """Seconds from connecting to the message in the mailbox."""
    ident = uuid.uuid4().hex
    begun = time.monotonic()
    with smtplib.SMTP(mail.ip, 2525) as s:
        s.sendmail("alice@example.test", "bob@example.test", "Subject: x\r\n\r\n%s\r\n" % ident)
    wait_until(lambda: any(ident.encode() in m for m in mail.messages("bob@example.test")))
    return time.monotonic() - begun


def smtpd_of(mail, port):
    """The processes of the listener at this port."""
    import json
    for line in mail.estafeta("status", "-j").stdout.splitlines():
        s = json.loads(line)
        if s["program"] == "smtpd" and s["service"].endswith(":%d" % port):
            return [p["pid"] for p in s["processes"]]
    raise AssertionError("no smtpd at port %d" % port)


@pytest.mark.parametrize("port, count, goal, more", [(2525, COUNT, 12, ()), (2465, TLS_COUNT, 40, ("tls",))], ids=["plain", "tls"])
def test_slow_clients(make_instance, port, count, goal, more, capsys):
    mail = make_instance(main_cf=MAIN_CF)
    text = (mail.conf / "master.cf").read_text()
    for p in (2525, 2465):
        text = "\n".join(line.replace("      2       smtpd", "      %d       smtpd" % (PROCESSES if p == 2525 else 1))
                         if ":%d" % p in line else line for line in text.splitlines()) + "\n"
    (mail.conf / "master.cf").write_text(text)
    mail.add_user("bob@example.test")
    mail.start()
    pids = smtpd_of(mail, port)
    assert len(pids) == (PROCESSES if port == 2525 else 1)
    delivery_time(mail)
    before = pss(pids)
    with slow_clients(mail.ip, port, count, *more) as drivers:
        # what a burst of handshakes leaves is given back two seconds after its end, which a busy machine puts off
        if os.environ.get("FLAVOUR") != "asan":
            wait_until(lambda: (pss(pids) - before) / count < goal, what="memory per client below %d KiB" % goal)
        each = (pss(pids) - before) / count
        times = [delivery_time(mail) for _ in range(20)]
        for d in drivers:
            still = int(d.stdout.readline().split()[1])
            assert still > 0
        with capsys.disabled():
            print("\n%d slow clients on port %d over %d processes: %.1f KiB each, a message takes %.3f s at most" % (
                count, port, len(pids), each, max(times)))
    assert max(times) < 1.0 * float(os.environ.get("TEST_TIME_FACTOR", "1"))
    assert each < goal or os.environ.get("FLAVOUR") == "asan"
