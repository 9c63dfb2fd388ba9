"""estafeta trace: a message's way, joined from the log."""
import gzip
import json
import shutil
import smtplib
import time

import pytest

from instance import wait_until

MAIN_CF = """\
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtp_tls_security_level = none
smtp_connect_timeout = 5s
smtpd_tls_loglevel = 1
transport_maps = inline:{ { gone.test = smtp:[127.0.0.1]:2998 } }
"""
ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture
def mail(make_instance):
    return make_instance(main_cf=MAIN_CF).add_users(ALICE, BOB).start()


def submit(mail, *rcpts, ident="", login=False, close=True):
    s = smtplib.SMTP(mail.ip, mail.port("submission" if login else "smtp"), source_address=("127.0.0.1", 0))
    if login:
        s.starttls(context=mail.tls())
        s.login(ALICE, "secret")
    s.mail(ALICE)
    for r in rcpts:
        assert s.rcpt(r)[0] == 250
    header = "Message-ID: <%s>\r\n" % ident if ident else ""
    code, reply = s.data("From: %s\r\n%sSubject: hi\r\n\r\nhi\r\n" % (ALICE, header))
    assert code == 250
    if close:
        s.quit()
    return reply.decode().split()[-1] if close else (reply.decode().split()[-1], s)


def trace(mail, query):
    r = mail.estafeta("trace", "-j", query, check=False)
    return [json.loads(line) for line in r.stdout.splitlines()]


def wait_trace(mail, query, event, count=1):
    return wait_until(lambda: (lambda rows: rows if len([r for r in rows if r["event"] == event]) >= count else None)(
        trace(mail, query)), what="%s of %s" % (event, query))


def test_the_whole_way_of_a_message(mail):
    other = submit(mail, BOB)
    ident = submit(mail, BOB, ident="one@x.test", login=True)
    rows = wait_trace(mail, ident, "removed")
    rows = wait_trace(mail, ident, "disconnect")
    assert {r["queue_id"] for r in rows} == {ident} != {other}
    events = [r["event"] for r in rows]
    assert [e for e in events if e != "disconnect"] == ["connect", "tls", "client", "message-id", "queue", "attempt", "removed"]
    by = {r["event"]: r for r in rows}
    assert by["client"]["fields"]["sasl_username"] == ALICE
    assert by["attempt"]["fields"]["to"] == BOB and by["attempt"]["fields"]["status"] == "sent"
    assert by["attempt"]["fields"]["dsn"] == "2.0.0"
    assert not any(r["unsure"] for r in rows)
    for query in ("one@x.test", "<one@x.test>"):
        assert trace(mail, query) == rows
    text = mail.estafeta("trace", ident).stdout
    assert text.startswith(ident + "\n  ") and "status=sent (delivered to maildir)" in text


def test_notices_and_several_messages_of_an_address(mail):
    first, second = submit(mail, "x@gone.test"), submit(mail, BOB)
    wait_trace(mail, first, "attempt")
    mail.estafeta("queue", "expire", first)
    rows = wait_trace(mail, first, "removed", 2)
    notice, = {r["queue_id"] for r in rows} - {first}
    assert all(r.get("notice_of") == (first if r["queue_id"] == notice else None) for r in rows)
    assert any(r["event"] == "notice" and r["text"].endswith(notice) for r in rows)
    ids = [r["queue_id"] for r in trace(mail, ALICE)]
    assert sorted(set(ids), key=ids.index) == [first, second, notice]
    ids = {r["queue_id"] for r in trace(mail, "X@gone.TEST")}
    assert ids == {first, notice}


def test_connections_that_the_log_does_not_tell_apart_are_marked(mail):
    opened = [submit(mail, BOB, close=False) for _ in range(9)]  # two processes at least have several
    for _, s in opened:
        s.quit()
    last = [ident for ident, _ in opened][-1]
    rows = wait_trace(mail, last, "disconnect")
    assert all(r["unsure"] for r in rows if r["event"] in ("connect", "disconnect"))
    assert "(this connection or another one of this client)" in mail.estafeta("trace", last).stdout


def test_rotated_logs_and_foreign_bytes(mail):
    ident = submit(mail, BOB, ident="old@x.test")
    wait_trace(mail, ident, "removed")
    log = mail.dir / "log"
    with open(log, "ab") as f:
        f.write(b"Nov 24 00:00:00 mail postfix/qmgr[1]: %s: \x1b[31mred\x07\nno line of ours\n\n" % ident.encode())
    before = trace(mail, ident)
    with open(log, "rb") as f, gzip.open(mail.dir / "log.2.gz", "wb") as g:
        shutil.copyfileobj(f, g)
    log.unlink()
    mail.estafeta("rotate")
    wait_until(log.exists, what="the log anew")
    assert trace(mail, ident) == before
    text = mail.estafeta("trace", ident).stdout
    assert "\\033[31mred\\007" in text and "\x1b" not in text
    r = mail.estafeta("trace", "4jYNYt50jbz1zz", check=False)
    assert r.returncode == 1 and r.stdout == "" and "nothing of" in r.stderr
    assert mail.estafeta("trace", check=False).returncode == 64


def test_a_large_log_is_read_fast(mail):
    ident = submit(mail, BOB)
    wait_trace(mail, ident, "removed")
    with open(mail.dir / "log.1", "w") as f:
        for n in range(200000):
            f.write("Nov 24 00:00:00 mail postfix/smtpd[%d]: connect from a[192.0.2.%d]\n" % (n % 500 + 2000, n % 200))
    begin = time.monotonic()
    assert trace(mail, ident)
    assert time.monotonic() - begin < 20
