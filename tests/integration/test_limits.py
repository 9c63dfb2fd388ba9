"""Limits of destinations, of the mail exchangers that several domains share, and of tenants; and what a provider's
"slow down" does."""
import smtplib
import threading
import time
import uuid

import pytest

from instance import wait_until
from smtp_wire import Sink

MAIN = """\
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
"""


class Counting(list):
    """Of a sink's messages: when each came, and how many were being taken at once."""

    def __init__(self, pause=0.0):
        self.pause, self.times, self.lock = pause, [], threading.Lock()
        self.now = self.most = 0

    def append(self, message):
        with self.lock:
            self.times.append(time.monotonic())
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.pause)
        with self.lock:
            self.now -= 1
        super().append(message)


@pytest.fixture
def sink():
    s = Sink()
    s.messages = Counting()
    yield s
    s.close()


def send(mail, sender, to, count):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        for _ in range(count):
            s.sendmail(sender, [to], "Subject: %s\r\n\r\nhello\r\n" % uuid.uuid4().hex)


def spans(times, count):
    """How long each run of count + 1 took."""
    return [b - a for a, b in zip(times, times[count:])]


def start(make_instance, sink, more):
    routes = "transport_maps = inline:{ %s }\n" % ", ".join(
        "{ %s = smtp:[%s]:%d }" % (d, *sink.where) for d in ("one.test", "two.test"))
    mail = make_instance(main_cf=MAIN + routes + more.replace("SINK", "[%s]:%d" % sink.where))
    mail.start()
    return mail


def test_rate_of_destination(make_instance, sink):
    mail = start(make_instance, sink, "destination_limit_maps = inline:{ { SINK = rate=3/2s } }\n")
    send(mail, "a@here.test", "x@one.test", 7)
    wait_until(lambda: len(sink.messages) == 7, 30)
    assert min(spans(sink.messages.times, 3)) > 1.9
    wait_until(lambda: not mail.queue())


def test_concurrency_of_destination(make_instance, sink):
    sink.messages.pause = 0.05
    mail = start(make_instance, sink, "destination_limit_maps = inline:{ { SINK = concurrency=2 } }\n")
    send(mail, "a@here.test", "x@one.test", 12)
    wait_until(lambda: len(sink.messages) == 12, 30)
    assert sink.messages.most <= 2


def test_recipients_of_destination(make_instance, sink):
    mail = start(make_instance, sink, "destination_limit_maps = inline:{ { SINK = recipients=2 } }\n")
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        s.sendmail("a@here.test", ["r%d@one.test" % i for i in range(5)], "Subject: x\r\n\r\nhello\r\n")
    wait_until(lambda: len(sink.messages) == 3, 30)
    assert sorted(len(m[1]) for m in sink.messages) == [1, 2, 2]


def test_rate_of_tenant(make_instance, sink):
    mail = start(make_instance, sink, "tenant_limit_maps = inline:{ { @many.test = rate=3/2s } }\n")
    send(mail, "a@many.test", "x@one.test", 7)
    send(mail, "a@few.test", "x@two.test", 5)
    wait_until(lambda: sum(b"few.test" in m[0] for m in sink.messages) == 5, 30)
    assert len(sink.messages) < 5 + 7, "those of the other were not to be held up"
    wait_until(lambda: len(sink.messages) == 12, 30)
    of_many = [t for m, t in zip(sink.messages, sink.messages.times) if b"many.test" in m[0]]
    assert min(spans(of_many, 3)) > 1.9


def test_table_that_fails(make_instance, sink):
    """More than the admin allows is not made good: mail waits until he can be asked."""
    mail = start(make_instance, sink, "destination_limit_maps = fail:closed\n")
    send(mail, "a@here.test", "x@one.test", 1)
    wait_until(lambda: "destination_limit_maps: table lookup error" in mail.log_text(), 30)
    assert not sink.messages
    assert len(mail.queue()) == 1


def test_value_that_is_wrong(make_instance, sink):
    mail = start(make_instance, sink, "destination_limit_maps = static:{speed=5}\n")
    send(mail, "a@here.test", "x@one.test", 1)
    wait_until(lambda: len(sink.messages) == 1, 30)
    assert '"speed=5" is none of' in mail.log_text()


@pytest.fixture
def hosted(make_instance, name_server, sink):
    """Six domains whose mail one host takes."""
    names = ["d%d.test" % i for i in range(6)]
    zones = {n: "@ IN MX 10 mx.hoster.test." for n in names}
    zones["hoster.test"] = "mx IN A %s" % sink.where[0]
    mail = make_instance(main_cf=MAIN + "smtp_tcp_port = %d\nsmtp_mx_concurrency_limit = 2\ndns_forwarders = %s\n" % (
        sink.where[1], name_server(zones).forwarder))
    mail.start()
    mail.names = names
    return mail


def test_domains_of_one_host(hosted, sink):
    for n in hosted.names:  # whose hosts are known after the first
        send(hosted, "a@here.test", "x@" + n, 1)
    wait_until(lambda: len(sink.messages) == 6, 30)
    sink.messages.pause, sink.messages.most = 0.05, 0
    for n in hosted.names:
        send(hosted, "a@here.test", "x@" + n, 4)
    wait_until(lambda: len(sink.messages) == 30, 30)
    assert 1 <= sink.messages.most <= 2
