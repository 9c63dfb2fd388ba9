"""Limits that all smtpd processes share, greylisting, tests before the greeting, with the real daemons."""
import contextlib
import os
import pwd
import signal
import smtplib
import socket
import time

import pytest

import frames
from instance import Instance, wait_until

FLOODER, GOOD = "127.66.1.1", "127.66.1.2"
BODY = "Subject: x\r\n\r\nbody\r\n"


def client(mail, source, service="smtp"):
    return smtplib.SMTP(mail.ip, mail.port(service), timeout=30, source_address=(source, 0))


def greeting(mail, source):
    """The open socket and the first reply of the server, up to its last line."""
    s = socket.create_connection((mail.ip, mail.port("smtp")), timeout=30, source_address=(source, 0))
    f = s.makefile("rb")
    line = f.readline()
    while line[3:4] == b"-":
        line = f.readline()
    return s, line.decode()


@pytest.fixture(scope="module")
def limited():
    with Instance(main_cf="smtpd_client_connection_count_limit = 6\n"
                          "smtpd_client_message_rate_limit = 5\n"
                          "smtpd_login_message_rate_limit = 2\n"
                          "anvil_status_update_time = 1s\n"
                          "smtpd_peername_lookup = no\n") as i:
        i.add_users("bob@example.test", "alice@example.test")
        yield i.start()


def test_two_processes_share_the_count_of_connections(limited):
    """Master shares the listener among two processes: neither alone sees more than the limit allows."""
    assert len(limited.processes("smtpd")) >= 2
    with contextlib.ExitStack() as stack:
        answers = []
        for _ in range(20):
            s, line = greeting(limited, FLOODER)
            stack.callback(s.close)
            answers.append(line[:3])
        assert answers.count("220") == 6 and answers.count("421") == 14, answers
        s = client(limited, GOOD)
        s.sendmail("x@elsewhere.test", "bob@example.test", BODY)
        s.quit()
    limited.wait_log("Connection concurrency limit exceeded: 7 from unknown[%s]" % FLOODER)
    limited.wait_log("anvil")
    limited.wait_log("statistics: max connection count")

    def is_free_again():
        s, line = greeting(limited, FLOODER)
        s.close()
        return line.startswith("220")
    wait_until(is_free_again)


def test_a_flood_of_messages_costs_the_others_nothing(limited):
    refused = 0
    for _ in range(10):
        with client(limited, FLOODER) as s:
            s.ehlo()
            refused += s.mail("x@elsewhere.test")[0] == 450
    assert refused == 5
    limited.wait_log("Message delivery request rate limit exceeded: 6 from unknown[%s]" % FLOODER)
    begin = time.monotonic()
    with client(limited, "127.66.1.3") as s:
        s.sendmail("x@elsewhere.test", "bob@example.test", BODY)
    assert time.monotonic() - begin < 5


def test_a_login_may_send_so_much_and_no_more(limited):
    for n in range(3):
        with client(limited, "127.66.2.%d" % (n + 1), "submission") as s:
            s.starttls(context=limited.tls())
            s.login("alice@example.test", "secret")
            s.ehlo_or_helo_if_needed()
            code, text = s.mail("alice@example.test")
            if n < 2:
                assert code == 250
            else:
                assert code == 450 and b"4.7.1 Error: alice@example.test has sent too much: at most 2 messages" in text
    limited.wait_log("for login <alice@example.test>")
    # an hour is an hour: a reload begins nothing anew
    limited.estafeta("reload")
    with client(limited, "127.66.2.9", "submission") as s:
        s.starttls(context=limited.tls())
        s.login("alice@example.test", "secret")
        s.ehlo_or_helo_if_needed()
        assert s.mail("alice@example.test")[0] == 450


def test_anvil_dies_and_comes_back(limited):
    """Nobody is refused for its absence, and a new one takes over."""
    [(_, pid)] = limited.processes("anvil")
    os.kill(pid, signal.SIGKILL)
    with client(limited, "127.66.3.1") as s:
        s.sendmail("x@elsewhere.test", "bob@example.test", BODY)
    wait_until(lambda: [p for _, p in limited.processes("anvil") if p != pid])

    def is_limited():
        with client(limited, "127.66.3.2") as s:
            s.ehlo()
            return s.mail("x@elsewhere.test")[0] == 450
    wait_until(is_limited)


def test_anvil_falls_silent(limited):
    """Not dead, but without an answer: clients wait ANVIL_TIMEOUT_MS at most, once a pause, and are served."""
    [(_, pid)] = limited.processes("anvil")
    os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(3):
            begin = time.monotonic()
            with client(limited, "127.66.4.%d" % (n + 1)) as s:
                s.sendmail("x@elsewhere.test", "bob@example.test", BODY)
            assert time.monotonic() - begin < 10 * float(os.environ.get("TEST_TIME_FACTOR", "1"))
        limited.wait_log("clients are not limited")
    finally:
        os.kill(pid, signal.SIGCONT)

    def is_limited():
        with client(limited, "127.66.4.9") as s:
            s.ehlo()
            return s.mail("x@elsewhere.test")[0] == 450
    wait_until(is_limited)


def test_pregreet(make_instance):
    """Who speaks first is dropped; who waits passes, and does not wait a second time, after a restart either."""
    mail = make_instance(main_cf="postscreen_greet_wait = 2s\npostscreen_greet_action = drop\nsmtpd_peername_lookup = no\n")
    text = (mail.conf / "master.cf").read_text()
    (mail.conf / "master.cf").write_text(text.replace("2       smtpd\n", "2       postscreen\n", 1)
                                         + "smtpd pass - - y - - smtpd\n")
    assert "master.cf" not in mail.estafeta("check").stderr  # what postscreen takes beside itself is no fault
    mail.add_users("bob@example.test")
    mail.start()
    with socket.create_connection((mail.ip, mail.port("smtp")), timeout=30, source_address=(FLOODER, 0)) as s:
        s.sendall(b"EHLO early\r\n")
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := s.recv(1000):
                got += chunk
        assert got.startswith(b"220-") and b"\r\n521 5.5.1 Protocol error" in got
    mail.wait_log("PREGREET 12 after ")
    for wanted in ("PASS NEW", "PASS OLD"):
        begin = time.monotonic()
        with client(mail, GOOD) as s:
            s.sendmail("x@elsewhere.test", "bob@example.test", BODY)
        assert (time.monotonic() - begin > 1.9) == (wanted == "PASS NEW")
        mail.wait_log(wanted + " [%s]" % GOOD)
        if wanted == "PASS NEW":
            mail.stop()
            mail.start()
    assert "postscreen[" in mail.log_text()


ANVIL_GREYLIST, PASS, WAIT = 4, 0, 1


def ask_greylist(mail, sender):
    """As smtpd does, over its own edge."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(30)
        os.seteuid(pwd.getpwnam("es-smtpd").pw_uid)
        try:
            s.connect(str(mail.dir / "data/edges/smtpd/anvil"))
        finally:
            os.seteuid(0)
        frames.send(s, ANVIL_GREYLIST, 1, ("s", "192.0.2.0/24"), ("s", sender), ("s", "bob@example.test"), ("s", ""))
        return frames.parse(s.recv(65536))[2][0]


def test_the_greylist_outlives_its_daemon(make_instance):
    mail = make_instance(main_cf="smtpd_greylist_delay = 1s\n")
    mail.start()
    assert ask_greylist(mail, "a@elsewhere.test") == WAIT
    mail.wait_log("action=greylist, reason=new, client_name=unknown, client_address=192.0.2.0/24, "
                  "sender=a@elsewhere.test, recipient=bob@example.test")
    [(_, pid)] = mail.processes("anvil")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: [p for _, p in mail.processes("anvil") if p != pid])
    wait_until(lambda: ask_greylist(mail, "a@elsewhere.test") == PASS)
    assert mail.log_text().count("reason=new") == 1
    mail.wait_log("action=pass, reason=triplet found, delay=")
    mail.stop()
    mail.start()
    assert ask_greylist(mail, "a@elsewhere.test") == PASS
    # damaged while nobody looks: moved aside, and greylisting goes on
    mail.stop()
    (mail.dir / "data/anvil/greylist.db").write_bytes(b"no database" * 1000)
    mail.start()
    mail.wait_log('the damaged files are in the directory "damaged" now')
    assert (mail.dir / "data/anvil/damaged/greylist.db").exists()
    wait_until(lambda: ask_greylist(mail, "a@elsewhere.test") == WAIT)


def test_stress_reaches_the_workers(make_instance):
    mail = make_instance(main_cf="smtpd_client_limit = 10\nsmtpd_client_connection_count_limit = 0\n"
                                 "smtpd_timeout = ${stress?{2}:{300}}s\n")
    text = (mail.conf / "master.cf").read_text()
    (mail.conf / "master.cf").write_text(text.replace("2       smtpd\n", "1       smtpd\n", 1))
    mail.start()
    with contextlib.ExitStack() as stack:
        for _ in range(9):
            stack.callback(greeting(mail, FLOODER)[0].close)
        s, _ = greeting(mail, GOOD)
        stack.callback(s.close)
        s.sendall(b"NOOP\r\n")
        assert s.recv(100).startswith(b"250")
        assert s.recv(100).startswith(b"421 4.4.2")
        mail.wait_log("stress-dependent settings are in effect")
