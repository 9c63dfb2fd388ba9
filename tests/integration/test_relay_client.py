"""The SMTP client: chunks (RFC 3030), the address that it comes from, a host's addresses side by side (RFC 8305), XFORWARD."""
import contextlib
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import threading
import uuid

import pytest

from instance import LoopbackAddress, wait_until

PORT = 2525
POOL = ("127.88.0.1", "127.88.0.2", "127.88.0.3")
MAIN_CF = ("smtp_tcp_port = %d\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"
           "smtp_connection_cache_time_limit = 0\nsmtp_tls_security_level = none\nsmtp_connect_timeout = 20s\n" % PORT)


class ChunkSink:
    """Offers CHUNKING.  messages: their contents; sizes: of the chunks of each; peers: who came; refuse_at: the chunk that is
    refused, with what is on its way behind it."""

    def __init__(self, capabilities=("PIPELINING", "CHUNKING", "8BITMIME")):
        self.address = LoopbackAddress()
        self.ip, self.capabilities = self.address.ip, capabilities
        self.messages, self.sizes, self.peers, self.commands, self.refuse_at = [], [], [], [], None
        self.listener = socket.create_server((self.ip, PORT))
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.address.release()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                c, peer = self.listener.accept()
                self.peers.append(peer[0])
                threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        with c, c.makefile("rb") as lines, contextlib.suppress(OSError):
            c.sendall(b"220 sink ESMTP\r\n")
            content, sizes = b"", []
            while line := lines.readline():
                verb, answer = line[:4].upper().strip(), b"250 2.0.0 Ok\r\n"
                self.commands.append(line.decode().strip())
                if verb == b"EHLO":
                    answer = b"250-sink\r\n%s250 HELP\r\n" % b"".join(
                        b"250-%s\r\n" % x.encode() for x in self.capabilities)
                elif verb == b"MAIL":
                    content, sizes = b"", []
                elif verb == b"BDAT":
                    words = line.split()
                    content += lines.read(int(words[1]))
                    sizes.append(int(words[1]))
                    if self.refuse_at is not None and len(sizes) > self.refuse_at:
                        answer = b"552 5.3.4 too much\r\n" if len(sizes) == self.refuse_at + 1 else b"503 5.5.1 no\r\n"
                    elif words[-1] == b"LAST":
                        self.messages.append(content)
                        self.sizes.append(sizes)
                elif verb == b"DATA":
                    c.sendall(b"354 go on\r\n")
                    while (line := lines.readline()) not in (b".\r\n", b""):
                        content += line
                    self.messages.append(content)
                    self.sizes.append(None)
                elif verb == b"QUIT":
                    answer = b"221 2.0.0 Bye\r\n"
                c.sendall(answer)


@pytest.fixture
def sink():
    s = ChunkSink()
    yield s
    s.close()


@pytest.fixture
def sender(make_instance, name_server, sink):
    def make(main_cf="", records="@ IN MX 10 mx\nmx IN A %s\n" % sink.ip):
        i = make_instance(hostname="mail.a.test", domain="a.test", main_cf=MAIN_CF + main_cf)
        dns = name_server({"a.test": "mail IN A %s" % i.ip, "b.test": records})
        i.estafeta("config", "-e", "dns_forwarders=" + dns.forwarder)
        i.add_users("alice@a.test", "carol@a.test")
        return i.start()

    return make


def send(instance, rcpts="bob@b.test", sender="alice@a.test", body="text\r\n"):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(instance.ip, 2587) as s:
        s.starttls(context=instance.tls())
        s.login("alice@a.test", "secret")
        s.sendmail(sender, rcpts, ("From: %s\r\nSubject: %s\r\n\r\n%s" % (sender, ident, body)).encode())
    return ident


def test_chunks(sender, sink):
    i = sender()
    send(i, body=".a line with a dot\r\n..\r\n")
    body = ("%060d\r\n" % 7) * 20000
    send(i, body=body)
    wait_until(lambda: len(sink.messages) == 2)
    by_size = sorted(zip(map(len, sink.messages), sink.sizes, sink.messages))
    assert len(by_size[0][1]) == 1
    assert by_size[0][2].endswith(b"\r\n\r\n.a line with a dot\r\n..\r\n")
    assert len(by_size[1][1]) > 1 and sum(by_size[1][1]) == by_size[1][0]
    assert by_size[1][2].endswith(b"\r\n\r\n" + body.encode())
    assert not [c for c in sink.commands if c.startswith("DATA")]
    wait_until(lambda: i.log_text().count("status=sent (250 2.0.0 Ok)") == 2)


def test_a_chunk_is_refused(sender, sink):
    i = sender("smtp_connection_cache_time_limit = 2s\n")
    sink.refuse_at = 1
    send(i, body=("%060d\r\n" % 7) * 300000)
    i.wait_log("status=bounced (host mx.b.test[%s] said: 552 5.3.4 too much (in reply to BDAT command))" % sink.ip)
    sink.refuse_at = None
    assert sink.messages == []
    send(i)
    wait_until(lambda: len(sink.messages) == 1)


def test_chunking_is_discarded(sender, sink):
    i = sender("smtp_discard_ehlo_keywords = chunking\n")
    send(i)
    wait_until(lambda: len(sink.messages) == 1)
    assert sink.sizes == [None]


def test_source_addresses(sender, sink):
    i = sender("smtp_bind_address = 127.88.0.9\nsmtp_bind_address_enforce = yes\n"
               "smtp_bind_address_maps = inline:{{carol@a.test = %s}, {@pool.test = %s, %s}, {alice@a.test = 127.88.0.8},"
               " {@bad.test = 192.0.2.1}}\n" % POOL)

    def came_from(sender, rcpts="bob@b.test"):
        n = len(sink.messages)
        send(i, rcpts, sender)
        wait_until(lambda: len(sink.messages) == n + 1)
        return sink.peers[-1]

    assert came_from("carol@a.test") == POOL[0]
    assert came_from("alice@a.test") == "127.88.0.8"
    assert came_from("someone@else.test") == "127.88.0.8"  # by the login
    assert {came_from("x@pool.test") for _ in range(12)} == set(POOL[1:])
    send(i, sender="x@bad.test")
    i.wait_log("connect to mx.b.test[%s]:%d: server configuration error" % (sink.ip, PORT))
    assert re.search(r"warning: smtp_bind_address: .*bind 192\.0\.2\.1: Cannot assign requested address", i.log_text())


def test_an_address_that_answers_nothing(sender, sink):
    with socket.socket(socket.AF_INET6) as hole, socket.socket(socket.AF_INET6) as filler:
        try:
            hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            hole.bind(("::1", PORT))
        except OSError:
            pytest.skip("no IPv6 here, or its port is taken")
        hole.listen(0)
        filler.connect(("::1", PORT))
        # by its name: as the MX of a domain ::1 would be ourselves
        i = sender("smtp_address_preference = ipv6\ninet_protocols = all\nrelayhost = [mx.b.test]:%d\n" % PORT,
                   "@ IN MX 10 mx\nmx IN A %s\nmx IN AAAA ::1\n" % sink.ip)
        send(i)
        wait_until(lambda: len(sink.messages) == 1)
        i.wait_log("connect to mx.b.test[::1]:%d: no answer yet, mx.b.test[%s]:%d was faster" % (PORT, sink.ip, PORT))
        found = re.search(r"relay=mx\.b\.test\[127\..*delays=[\d.]+/[\d.]+/([\d.]+)/", i.log_text())
        assert 0.2 < float(found[1]) < 10


def test_xforward(make_instance, sink):
    """To our own smtpd, as to a content filter."""
    receiver = make_instance(hostname="mail.f.test", domain="f.test",
                             main_cf="smtpd_authorized_xforward_hosts = 127.0.0.0/8\n")
    receiver.add_user("bob@f.test")
    receiver.start()
    i = make_instance(hostname="mail.a.test", domain="a.test",
                      main_cf=MAIN_CF + "smtp_send_xforward_command = yes\nrelayhost = [%s]:%d\n" % (receiver.ip, PORT))
    i.add_user("alice@a.test")
    i.start()
    ident = send(i, "bob@f.test")
    wait_until(lambda: any(ident.encode() in m for m in receiver.messages("bob@f.test")))
    queue_id = re.search(r" (\w+): client=", i.log_text())[1]
    assert re.search(r"client=\S+, orig_queue_id=%s, orig_client=\S*\[127\.\d+\.\d+\.\d+\]" % queue_id, receiver.log_text())
    i.estafeta("config", "-e", "smtp_send_xforward_command=no")
    i.estafeta("reload")
    ident = send(i, "bob@f.test")
    wait_until(lambda: any(ident.encode() in m for m in receiver.messages("bob@f.test")))
    assert receiver.log_text().count("orig_queue_id=") == 1


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_chunks_cost_no_more_calls(sender, sink, tmp_path):
    """Of relay, for ten messages, small and large; the odd wake-up is nobody's."""
    i = sender("smtp_connection_cache_time_limit = 60s\n")

    def count(capabilities, lines):
        sink.capabilities, n = capabilities, len(sink.messages)
        out = tmp_path / "calls"
        tracer = subprocess.Popen(["strace", "-c", "-o", out] + ["-p%d" % pid for _, pid in i.processes("relay")],
                                  stderr=subprocess.PIPE)
        tracer.stderr.readline()  # attached
        for k in range(10):
            send(i, body=("%060d\r\n" % 7) * lines)
            wait_until(lambda: i.log_text().count("status=sent") == n + k + 1)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        i.estafeta("stop")
        i.estafeta("start")
        return int(out.read_text().splitlines()[-1].split()[3])

    for lines in (1, 20000):
        data = count(("PIPELINING", "8BITMIME"), lines)
        chunks = count(("PIPELINING", "8BITMIME", "CHUNKING"), lines)
        print(data, chunks)
        assert chunks <= data * 1.03
