"""Many clients that send a byte every few seconds, in a process of their own: slow_clients.py IP PORT COUNT [tls].

Prints "ready" when each has its greeting, then a line "open N" a second; ends with its standard input.
Sources are 127.1.0.1 and on, so that neither ports nor limits on one address run out."""
import resource
import select
import socket
import ssl
import sys
import time

PERIOD = 4.0  # seconds between two bytes of one client
PER_SOURCE = 20
SCRIPT = b"EHLO slow.example.test\r\nMAIL FROM:<slow@example.test>\r\nRCPT TO:<nobody@example.org>\r\nRSET\r\n" * 4


class Client:
    def __init__(self, number, address, context):
        source = number // PER_SOURCE
        s = socket.socket()
        s.bind(("127.%d.%d.%d" % (1 + source // 65536, source // 256 % 256, 1 + source % 255), 0))
        s.setblocking(False)
        s.connect_ex(address)
        self.socket, self.sent, self.greeted = s, 0, False
        self.context, self.tls, self.shaken = context, None, False

    def step(self):
        """Reads what is there; False: it is closed."""
        try:
            if self.context and not self.tls:
                self.tls = self.context.wrap_socket(self.socket, do_handshake_on_connect=False)
            if self.tls and not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            data = (self.tls or self.socket).recv(4096)
            self.greeted = self.greeted or bool(data)
            return bool(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False

    def drip(self):
        try:
            (self.tls or self.socket).send(SCRIPT[self.sent % len(SCRIPT):][:1])
            self.sent += 1
        except OSError:
            pass

    def fileno(self):
        return self.socket.fileno() if not self.tls else self.tls.fileno()

    def close(self):
        (self.tls or self.socket).close()


def main():
    ip, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    context = None
    if "tls" in sys.argv:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    clients, started, is_ready = {}, 0, False
    next_drip, next_line, drips = time.monotonic(), time.monotonic() + 1, []
    while True:
        ungreeted = sum(1 for c in clients.values() if not c.greeted) if started < count else 0
        for _ in range(min(count - started, 256 - ungreeted)):
            c = Client(started, (ip, port), context)
            clients[c.fileno()] = c
            # who speaks TLS speaks first
            poll.register(c.fileno(), select.EPOLLIN | (select.EPOLLOUT if context else 0))
            started += 1
        for fd, _ in poll.poll(0.02):
            if fd == 0:
                return
            if fd not in clients:
                continue
            was_shaken = clients[fd].shaken
            if not clients[fd].step():
                poll.unregister(fd)
                clients.pop(fd).close()
            elif clients[fd].shaken and not was_shaken:
                poll.modify(fd, select.EPOLLIN)
        if not is_ready and started == count and all(c.greeted for c in clients.values()):
            is_ready = True
            print("ready", flush=True)
        now = time.monotonic()
        if is_ready and now >= next_drip:
            if not drips:
                drips = list(clients.values())
                share = max(1, int(len(drips) * 0.05 / PERIOD))
            for c in drips[:share]:
                c.drip()
            drips = drips[share:]
            next_drip = now + 0.05
        if is_ready and now >= next_line:
            print("open %d" % len(clients), flush=True)
            next_line = now + 1


main()
