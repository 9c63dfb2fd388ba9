"""The instance of the crash tests, its mail, and what was promised for it."""
import collections
import contextlib
import json
import os
import pathlib
import smtplib
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "harness"))

import instance  # noqa: E402
import ledger  # noqa: E402
from instance import wait_until  # noqa: E402, F401

TRACER, LOOK = (instance.BUILD / "tests" / "crash" / name for name in ("tracer", "look"))
MAIN_CF = """\
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
queue_segment_size = 1m
queue_minfree = 1m
virtual_alias_maps = inline:{{ {{list@example.test = bob@example.test, carol@example.test}} }}
smtp_tls_security_level = none
transport_maps = inline:{{ {{sink.test = smtp:[{ip}]:{port}}} }}
"""
BOB, CAROL, ALICE = "bob@example.test", "carol@example.test", "alice@example.test"


class Promise:
    """One message that was taken with 250."""

    def __init__(self, ident, queue_id, kind, recipients):
        self.ident, self.queue_id, self.kind, self.recipients = ident, queue_id, kind, recipients


class Work:
    """An instance with mailboxes and a sink; sends messages whose ways are known."""

    WAYS = {  # kind -> recipient given, final recipients
        "local": (BOB, [BOB]),
        "list": ("list@example.test", [BOB, CAROL]),
        "large": (BOB, [BOB]),
        "relay": ("ok@sink.test", ["ok@sink.test"]),
        "refused": ("bad@sink.test", ["bad@sink.test"]),
        "deferred": ("later-%s@sink.test", ["later-%s@sink.test"]),
    }

    def __init__(self, directory=None, main_cf=""):
        self.mail = instance.Instance(directory=directory)
        self.taken_file = self.mail.dir / "taken"
        self.taken_file.touch()
        self.sink = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("sink.py"), self.mail.ip,
                                      self.taken_file], stdout=subprocess.PIPE, text=True)
        port = int(self.sink.stdout.readline())
        with open(self.mail.conf / "main.cf", "a") as f:
            f.write(MAIN_CF.format(ip=self.mail.ip, port=port) + main_cf)
        self.mail.add_users(ALICE, BOB, CAROL)
        self.promises = []

    def close(self):
        self.mail.close()
        self.sink.terminate()
        self.sink.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def pids(self, *programs):
        return [pid for name, pid in self.mail.processes() if name in programs]

    def send(self, kind):
        """True: taken, and promised.  Whatever else happens, nothing is."""
        ident = uuid.uuid4().hex
        given, finals = self.WAYS[kind]
        given, finals = given.replace("%s", ident), [f.replace("%s", ident) for f in finals]
        text = ledger.make_message(ident, 600000 if kind == "large" else 1500)
        with contextlib.suppress(smtplib.SMTPException, OSError):
            with smtplib.SMTP(self.mail.ip, self.mail.port("smtp"), timeout=20,
                              source_address=("127.0.0.1", 0)) as s:
                if s.mail(ALICE)[0] == 250 and s.rcpt(given)[0] == 250:
                    code, reply = s.data(text)
                    if code == 250:
                        self.promises.append(Promise(ident, reply.decode().split()[-1], kind, finals))
                        return True
        return False

    def queue_is_empty(self):
        """False, too, while there is no qmgr to say so."""
        r = self.mail.estafeta("queue", "list", "-j", check=False)
        return r.returncode == 0 and not r.stdout

    def audit(self, has_faults):
        """Where qmgr's own record disagrees, the queue being empty.  With calls that failed it may lack what could not be
        written, and must have said so."""
        rows = [json.loads(line) for line in self.mail.estafeta("audit", "-j", check=False).stdout.splitlines()]
        totals, said = rows[-1], self.mail.log_text().count("not on record")
        faults = ["audit: %s" % r for r in rows[:-1] if r["finding"] == "double" or not has_faults]
        if totals["missing"] + totals["holes"] > said and totals["holes"] == 0:
            faults.append("audit: missing without a word: %s" % rows)
        if totals["queued"]:
            faults.append("audit: still queued: %s" % totals)
        if totals["holes"] == 0 and totals["recipients"] < sum(len(p.recipients) for p in self.promises):
            faults.append("audit: recipients nobody knows: %s" % totals)
        copies = sum(n - 1 for n in self.copies().values())
        if totals["holes"] == 0 and copies > totals["possible_duplicates"]:
            faults.append("audit: %d copies it does not know of: %s" % (copies, totals))
        return faults

    def copies(self):
        """(address, id) -> how many of it"""
        return collections.Counter((a, ledger.read_message(c)[0]) for a, contents in self.boxes().items() for c in contents
                                   if b"multipart/report" not in c)

    def taken(self):
        return set(self.taken_file.read_text().split())

    def boxes(self):
        """address -> contents of its messages."""
        return {a: self.mail.messages(a) for a in (ALICE, BOB, CAROL)}


def account(promises, boxes, queue, taken, most_copies=2):
    """What is wrong, as texts.  boxes: address -> contents; queue: queue id -> (sender, pending recipients, content);
    taken: ids that the other system has.  queue is empty when all deliveries have ended; a crash makes one copy at most."""
    faults, copies = [], {}
    for address, contents in boxes.items():
        for content in contents:
            if b"multipart/report" in content:
                continue
            ident, whole = ledger.read_message(content)
            copies[address, ident] = copies.get((address, ident), 0) + 1
            if not whole:
                faults.append("torn: %s of %s" % (ident, address))
    notices = b"".join([c for _, _, c in queue.values() if b"multipart/report" in c] +
                       [c for c in boxes[ALICE] if b"multipart/report" in c])
    for p in promises:
        pending, content = queue.get(p.queue_id, ("", (), b""))[1:]
        if pending and not ledger.read_message(content)[1]:
            faults.append("torn in the queue: %s" % p.queue_id)
        for r in p.recipients:
            safe = (r in pending or (r, p.ident) in copies or (p.kind in ("relay", "deferred") and p.ident in taken) or
                    (p.kind == "refused" and p.ident.encode() in notices))
            if not safe:
                faults.append("lost: %s %s for %s" % (p.kind, p.queue_id, r))
    faults += ["%d copies: %s of %s" % (n, ident, address) for (address, ident), n in copies.items()
               if n > most_copies]
    return faults


def in_memory():
    """Where directories are made by the thousand; None: anywhere."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None
