"""Logins that are begun and abandoned cost their own address, not everybody else's login."""
import contextlib
import imaplib
import os
import socket
import threading
import time

import pytest

from instance import Instance, auth_plain

FACTOR = float(os.environ.get("TEST_TIME_FACTOR", "1"))
ATTACKER, GOOD = "127.66.0.1", "127.66.0.2"


@pytest.fixture(scope="module")
def crowded():
    with Instance(main_cf="mail_max_userip_connections = 0\nsmtpd_client_connection_count_limit = 0\n") as i:
        i.add_users("bob@example.test")
        yield i.start()


class From(imaplib.IMAP4):
    """A connection that comes from the good address."""

    def _create_socket(self, timeout):
        return socket.create_connection((self.host, self.port), timeout, (GOOD, 0))


def login(mail):
    """Seconds that a good login takes."""
    begin = time.monotonic()
    m = From(mail.ip, mail.port("imap"), timeout=60)
    m.starttls(mail.tls())
    m.login("bob@example.test", "secret")
    took = time.monotonic() - begin
    m.logout()
    return took


def begin_imap(s):
    s.sendall(b"a LOGIN x@example.test y\r\n")


def begin_smtp(s):
    s.recv(4096)
    s.sendall(b"EHLO x\r\n")
    s.recv(4096)
    s.sendall(b"AUTH PLAIN %s\r\n" % auth_plain("x@example.test", "y").encode())


class Flood:
    """Threads that begin logins; each connection is closed when the next `kept` are there."""

    def __init__(self, mail, service, begin, kept, threads=3):
        self.mail, self.service, self.begin, self.kept = mail, service, begin, kept
        self.count, self.stop = 0, threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        tls, open_ones = self.mail.tls(), []
        while not self.stop.is_set():
            with contextlib.suppress(OSError):
                raw = socket.create_connection((self.mail.ip, self.mail.port(self.service)), 10, (ATTACKER, 0))
                s = tls.wrap_socket(raw)
                open_ones.append(s)
                self.begin(s)
                self.count += 1
            while len(open_ones) > self.kept:
                open_ones.pop(0).close()
        for s in open_ones:
            s.close()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stop.set()
        for t in self.threads:
            t.join()


@pytest.mark.parametrize("service, begin, kept", [
    ("imaps", begin_imap, 0),
    ("imaps", begin_imap, 100),
    ("submissions", begin_smtp, 0),
])
def test_a_flood_of_logins_delays_nobody_else(crowded, service, begin, kept):
    login(crowded)
    with Flood(crowded, service, begin, kept) as flood:
        end = time.monotonic() + float(os.environ.get("FLOOD_SECONDS", "3"))
        took = []
        while time.monotonic() < end:
            took.append(login(crowded))
    after = login(crowded)
    print("%d begun; good logins: %s, then %.2f" % (flood.count, " ".join("%.2f" % t for t in took), after))
    assert flood.count > 30 / FACTOR
    assert max(took) < 3 * FACTOR
    assert after < 1 * FACTOR
