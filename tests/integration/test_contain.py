"""A login whose mail suddenly changes: its mail goes on hold, it hands in no more, the admin is told, until he releases it."""
import json
import smtplib

import pytest

from instance import DEADLINE, wait_until
from smtp_wire import Sink

EVE, BOB, ADMIN, CAROL = ("%s@example.test" % n for n in ("eve", "bob", "admin", "carol"))
MAIN_CF = """\
contain_notice_recipient = admin@example.test
smtp_tls_security_level = none
minimal_backoff_time = 600s
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
transport_maps = inline:{{ {{far.test=smtp:[{ip}]:{port}}}, {{dead.test=smtp:[{ip}]:1}} }}
"""


@pytest.fixture
def sink():
    s = Sink()
    yield s
    s.close()


@pytest.fixture
def start(make_instance, sink):
    def make(more=""):
        mail = make_instance(main_cf=MAIN_CF.format(ip=sink.where[0], port=sink.where[1]) + more)
        return mail.add_users(EVE, BOB, ADMIN, CAROL).start()
    return make


def session(mail, login):
    s = smtplib.SMTP(mail.ip, mail.port("submission"), timeout=DEADLINE)
    s.starttls(context=mail.tls())
    s.login(login, "secret")
    return s


def send(s, sender, *rcpts):
    """The reply that decided, and the queue id if it was taken."""
    s.mail(sender)
    codes = [s.rcpt(r) for r in rcpts]
    if not any(code == 250 for code, _ in codes):
        s.rset()
        return codes[0] + (None,)
    code, text = s.docmd("DATA")
    if code == 354:
        s.send(b"Subject: hi\r\n\r\nhi\r\n.\r\n")
        code, text = s.getreply()
    if code != 250:
        s.rset()
    return code, text, text.decode().split()[-1] if code == 250 else None


def spree(mail, rcpt_of, count=500):
    """What became of each message; a session of eve's sends a hundred."""
    replies = []
    for begin in range(0, count, 100):
        with session(mail, EVE) as s:
            replies += [send(s, EVE, rcpt_of(i)) for i in range(begin, begin + 100)]
    return replies


def contained(mail):
    return [json.loads(line) for line in mail.estafeta("contain", "list", "-j").stdout.splitlines()]


def queue(mail, sender=EVE):
    lines = mail.estafeta("queue", "list", "-j", "--sender", sender).stdout.splitlines()
    return {e["queue_id"]: e["queue_name"] for e in map(json.loads, lines)}


def is_untouched(mail, login=BOB):
    with session(mail, login) as s:
        code, _, ident = send(s, login, CAROL, "x@far.test")
    assert code == 250
    mail.wait_log(ident + ": removed")


def test_unknown_recipients(start):
    """500 messages, 40 % to unknown recipients, from one login."""
    mail = start()
    with session(mail, EVE) as s:
        mine = send(s, EVE, "x@dead.test")[2]
    mail.estafeta("queue", "hold", mine)
    replies = spree(mail, lambda i: "nobody%d@example.test" % i if i % 5 < 2 else "x%d@dead.test" % i)
    wait_until(lambda: set(queue(mail).values()) == {"hold"}, what="all on hold")
    # refused for a while, then locked
    assert replies[0][0] == 550 and b"5.1.1" in replies[0][1] and replies[2][0] == 250
    assert all(code == 550 for code, _, _ in replies[-100:])
    assert any(b"5.7.1" in text and b"on hold" in text for _, text, _ in replies[-100:])
    assert len(queue(mail)) - 1 == sum(code == 250 for code, _, _ in replies) < 300
    (lock,) = contained(mail)
    assert lock["login"] == EVE and lock["state"] == "held" and lock["reason"].endswith("recipients failed")
    assert EVE in mail.estafeta("contain", "show", EVE).stdout
    is_untouched(mail)
    # the admin is told once
    notice = wait_until(lambda: mail.messages(ADMIN))
    assert len(notice) == 1 and lock["reason"].encode() in notice[0] and b"estafeta contain release '%s'" % EVE.encode() in notice[0]
    # it outlives the processes
    mail.estafeta("stop")
    mail.start()
    assert contained(mail)[0]["reason"] == lock["reason"]
    with session(mail, EVE) as s:
        assert send(s, EVE, CAROL)[:1] == (550,)
    assert set(queue(mail).values()) == {"hold"}
    mail.estafeta("contain", "release", EVE)
    wait_until(lambda: not contained(mail), what="its release")
    # what the admin had on hold is still his
    held = [ident for ident, name in queue(mail).items() if name == "hold"]
    assert held == [mine]
    with session(mail, EVE) as s:
        assert send(s, EVE, CAROL)[0] == 250
    assert mail.estafeta("contain", "release", EVE, check=False).returncode == 1


def test_bounces(start):
    """The recipients are unknown elsewhere."""
    mail = start()
    spree(mail, lambda i: "nobody@far.test" if i % 5 < 2 else "x@dead.test")
    wait_until(lambda: contained(mail) and contained(mail)[0]["state"] == "held")
    wait_until(lambda: set(queue(mail).values()) == {"hold"}, what="all on hold")
    with session(mail, EVE) as s:
        assert send(s, EVE, CAROL)[0] == 550
    is_untouched(mail)
    assert "contain: login=<%s>: " % EVE in mail.log_text()


def test_honest_bulk(start):
    """A mailing with the usual 3 % that do not exist any more."""
    mail = start()
    replies = spree(mail, lambda i: "nobody%d@example.test" % i if i % 33 == 0 else "x%d@far.test" % i)
    assert sum(code == 250 for code, _, _ in replies) == 484
    assert contained(mail) == []
    wait_until(lambda: not queue(mail), what="an empty queue")


def test_by_hand(start):
    mail = start("contain_action = none\n")
    spree(mail, lambda i: "nobody@example.test" if i % 5 else CAROL, 100)
    assert contained(mail) == []
    mail.estafeta("contain", "hold", EVE, "paid no bill")
    assert contained(mail)[0]["reason"] == "paid no bill"
    assert mail.estafeta("contain", "hold", EVE, check=False).returncode == 1
    with session(mail, EVE) as s:
        assert send(s, EVE, CAROL)[0] == 550
    is_untouched(mail)
    wait_until(lambda: contained(mail)[0]["state"] == "held")
    mail.estafeta("contain", "release", "-k", EVE)
    assert contained(mail) == []
    with session(mail, EVE) as s:
        assert send(s, EVE, CAROL)[0] == 250
    for args in ([], ["hold"], ["show"], ["nonsense"], ["list", "x"], ["release", "-j", EVE]):
        assert mail.estafeta("contain", *args, check=False).returncode == 64
    assert mail.estafeta("contain", "show", EVE, check=False).returncode == 1


def test_warning(start):
    mail = start("contain_action = warn\ncontain_exceptions = %s\n" % BOB)
    spree(mail, lambda i: "nobody@example.test" if i % 5 < 2 else CAROL, 200)
    assert contained(mail) == []
    assert mail.log_text().count("warning: contain: login=<%s>" % EVE) == 1
