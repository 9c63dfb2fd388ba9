"""What is easy to fake, shown (DESIGN 9)."""
import base64
import hashlib
import hmac
import imaplib
import itertools
import os
import pathlib
import re
import signal
import smtplib
import subprocess
import threading

import pytest

from instance import wait_until
from ledger import Ledger, make_message, submit
from procs import children


def strace(pid, *args):
    p = subprocess.Popen(["strace", "-f", "-p", str(pid), *args], stderr=subprocess.PIPE, text=True)
    line = p.stderr.readline()
    assert "attached" in line, line
    return p


def test_commits_share_their_flushes(make_instance):
    """1,000 commits over 20 connections cost far fewer than 1,000 fdatasync calls, and at least one.

    Each call is made to take 10 ms, as on a disk: how many commits wait for the next one is then not a matter of how
    fast this machine's storage is, or how busy its processors are."""
    mail = make_instance(main_cf="smtpd_client_connection_count_limit = 0\n").add_users("bob@example.test")
    mail.start()
    qmgr = mail.processes("qmgr")[0][1]
    tracer = strace(qmgr, "-c", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync:delay_enter=10000")
    ledger = Ledger()
    threads = [threading.Thread(target=submit, args=(mail, ledger, 50)) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    tracer.send_signal(signal.SIGINT)
    table = tracer.communicate(timeout=30)[1]
    # "% time  seconds  usecs/call  calls  [errors]  syscall"
    calls = sum(int(m.group(1)) for m in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*sync$", table, re.M))
    assert len(ledger.acknowledged) == 1000
    assert 0 < calls < 400, table
    print("%d syncs for 1000 commits" % calls)


def test_five_sessions_one_process(mail):
    sessions = []
    for _ in range(5):
        m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
        m.login("alice@example.test", "secret")
        m.select("INBOX")
        sessions.append(m)
    other = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    other.login("carol@example.test", "secret")
    pids = {p for _, p in mail.processes("imapd")}
    accounts = [l for l in mail.estafeta("status", "-j").stdout.splitlines() if '"program":"imapd"' in l][0]
    assert accounts.count('"account":"alice@example.test"') == 1
    assert accounts.count('"account":"carol@example.test"') == 1
    assert len(pids) >= 2
    for m in sessions + [other]:
        m.logout()


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_a_failed_sync_is_never_acknowledged(make_instance, call):
    """EIO at the first, second, ... sync of qmgr: no 250 without a durable message, and it goes on afterwards."""
    mail = make_instance().add_users("bob@example.test")
    mail.start()
    ledger, refused = Ledger(), 0
    for n in range(1, 6):
        qmgr = wait_until(lambda: mail.processes("qmgr"))[0][1]
        tracer = strace(qmgr, "-o", "/dev/null", "-e", "trace=%s" % call, "-e",
                        "inject=%s:error=EIO:when=%d" % (call, n))
        for k in range(3):
            ident = "%s-%d-%d" % (call, n, k)
            try:
                with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0)) as s:
                    s.sendmail("a@elsewhere.test", "bob@example.test", make_message(ident))
                ledger.note(ident)
            except smtplib.SMTPException as e:
                assert str(e.smtp_code if hasattr(e, "smtp_code") else e).startswith(("4", "(4")), e
                refused += 1
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    # whatever was acknowledged survives the loss of everything that was only in memory
    mail.kill()
    mail.start()
    mail.wait_queue_empty()
    lost, torn, duplicates = ledger.account(mail.messages("bob@example.test"))
    assert lost == [] and torn == [] and duplicates == 0
    assert len(ledger.acknowledged) >= 10
    assert mail.messages("bob@example.test")


def scram_login(mail, user, password):
    """RFC 5802 over IMAP; True when the server proves that it knows the keys."""
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    state = {}

    def step(data):
        if not data:
            state["first"] = "n=%s,r=clientnonce" % user
            return ("n,," + state["first"]).encode()
        text = data.decode()
        fields = dict(f.split("=", 1) for f in text.split(","))
        if "v" in fields:
            state["verified"] = base64.b64decode(fields["v"]) == state["server"]
            return b""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        sign = lambda key, what: hmac.new(key, what, hashlib.sha256).digest()
        client_key = sign(salted, b"Client Key")
        final = "c=biws,r=" + fields["r"]
        message = ",".join((state["first"], text, final)).encode()
        proof = bytes(a ^ b for a, b in zip(client_key, sign(hashlib.sha256(client_key).digest(), message)))
        state["server"] = sign(sign(salted, b"Server Key"), message)
        return (final + ",p=" + base64.b64encode(proof).decode()).encode()

    try:
        m.authenticate("SCRAM-SHA-256", step)
        m.logout()
    except imaplib.IMAP4.error:
        return False
    return state.get("verified", True)


def test_scram_keys_are_stored_when_the_password_is_set(make_instance):
    mail = make_instance()
    mail.add_user("bob@example.test", "first word")
    mail.start()
    assert scram_login(mail, "bob@example.test", "first word")
    assert not scram_login(mail, "bob@example.test", "other")
    mail.estafeta("user", "passwd", "bob@example.test", input="second word\n")
    assert scram_login(mail, "bob@example.test", "second word")
    assert not scram_login(mail, "bob@example.test", "first word")
    for f in (mail.dir / "data").rglob("*"):
        if f.is_file():
            content = f.read_bytes()
            assert b"first word" not in content and b"second word" not in content, f


def cpu_ms(pids):
    ticks = 0
    for p in pids:
        fields = pathlib.Path("/proc/%d/stat" % p).read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


# each from an address of its own: failures delay the next logins of their address
strangers = ("127.66.%d.%d" % divmod(n, 250) for n in itertools.count(1))


def failed_login(mail, user, mechanism):
    with smtplib.SMTP(mail.ip, mail.port("submission"), source_address=(next(strangers), 0)) as s:
        s.starttls(context=mail.tls())
        s.ehlo()
        if mechanism == "PLAIN":
            token = base64.b64encode(b"\0" + user.encode() + b"\0wrong").decode()
            return s.docmd("AUTH PLAIN " + token)
        first = base64.b64encode(("n,,n=%s,r=abc" % user).encode()).decode()
        code, text = s.docmd("AUTH SCRAM-SHA-256 " + first)
        assert code == 334
        fields = dict(f.split("=", 1) for f in base64.b64decode(text).decode().split(","))
        assert len(base64.b64decode(fields["s"])) >= 12 and int(fields["i"]) >= 4096
        final = "c=biws,r=%s,p=%s" % (fields["r"], base64.b64encode(b"x" * 32).decode())
        return s.docmd(base64.b64encode(final.encode()).decode()), fields["s"], fields["i"]


def test_an_unknown_user_costs_the_work_of_a_known_one(make_instance):
    mail = make_instance(main_cf="smtpd_error_sleep_time = 0s\n").add_users("bob@example.test")
    mail.start()
    pids = [c for c in children(mail.processes("authd")[0][1])]
    cost = {}
    answers = {}
    for user in ("bob@example.test", "nobody@example.test") * 2:
        before = cpu_ms(pids)
        for _ in range(15):
            answers.setdefault(user, set()).add(failed_login(mail, user, "PLAIN"))
        cost.setdefault(user, []).append(cpu_ms(pids) - before)
    known, unknown = (sum(cost[u]) for u in ("bob@example.test", "nobody@example.test"))
    assert known > 0 and 0.6 < unknown / known < 1.6, cost
    assert answers["bob@example.test"] == answers["nobody@example.test"]


def test_scram_does_not_tell_unknown_users(make_instance):
    mail = make_instance(main_cf="smtpd_error_sleep_time = 0s\n").add_users("bob@example.test")
    mail.start()
    known = [failed_login(mail, "bob@example.test", "SCRAM") for _ in range(2)]
    unknown = [failed_login(mail, "nobody@example.test", "SCRAM") for _ in range(2)]
    # the same answers; a salt that stays the same for the same name, known or not
    assert known[0] == known[1] and unknown[0] == unknown[1]
    assert known[0][0] == unknown[0][0] and known[0][2] == unknown[0][2]
    assert len(known[0][1]) == len(unknown[0][1]) and known[0][1] != unknown[0][1]
