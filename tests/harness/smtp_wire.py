"""Both ends of SMTP by the letter: a client that is told every byte, and a sink that takes nothing for granted.

Neither uses a library's idea of a line: RFC 5321 2.3.8 knows CRLF and nothing else."""
import re
import socket
import threading

from instance import DEADLINE, LoopbackAddress

CLOSED = object()  # in a script: the server has closed, and said no more
TLS = object()     # in a script: the handshake
DSN = re.compile(r"([245])\.\d{1,3}\.\d{1,3}$")
HELLOS = ("EHLO", "HELO", "LHLO")


def bare_bytes(data):
    """What a strict reader finds wrong: "bare CR", "bare LF", "NUL"."""
    rest = data.replace(b"\r\n", b"")
    return [what for byte, what in ((b"\r", "bare CR"), (b"\n", "bare LF"), (b"\0", "NUL")) if byte in rest]


class Wire:
    """A client.  Replies are checked for form wherever they stand (RFC 5321 4.2.1, 4.5.3.1.5, RFC 2034 4)."""

    def __init__(self, address, source=None, tls=None):
        self.sock = socket.create_connection(address, timeout=DEADLINE, source_address=source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context, self.pending, self.said, self.has_utf8 = tls, b"", "", False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def handshake(self):
        assert self.pending == b"", "bytes in the clear behind 220"
        self.sock = self.context.wrap_socket(self.sock, suppress_ragged_eofs=False)

    def send(self, data):
        self.said = data[:80].decode("latin-1").upper()
        self.has_utf8 |= b" SMTPUTF8" in data
        self.sock.sendall(data)

    def line(self):
        while b"\n" not in self.pending:
            more = self.sock.recv(65536)
            assert more, "closed behind %r, with %r" % (self.said, self.pending)
            self.pending += more
        line, _, self.pending = self.pending.partition(b"\n")
        assert line.endswith(b"\r") and not bare_bytes(line + b"\n"), line
        assert len(line) <= 511, "reply line of %d bytes" % len(line)
        return line[:-1].decode("utf-8" if self.has_utf8 else "ascii")  # RFC 6531 3.7.4.2

    def reply(self):
        """(code, enhanced code or "", [text of each line])"""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        code = lines[0][:3]
        assert re.match("[2345][0-5][0-9]$", code) and {x[:3] for x in lines} == {code}, lines
        assert all(x[3:4] in (" ", "-") for x in lines), lines
        texts = [x[4:] for x in lines]
        dsn = texts[0].split(" ")[0]
        dsn = dsn if DSN.match(dsn) else ""
        assert dsn[:1] in ("", code[0]), lines
        return code, dsn, texts

    def expect(self, wanted):
        """wanted: "250", "250 2.1.0", "550 5.1.1 piece of text", "250 =LINE,LINE" (all lines but the first)."""
        code, dsn, texts = self.reply()
        words = wanted.split(" ", 1)
        assert code == words[0], (self.said, wanted, texts)
        rest = words[1] if len(words) > 1 else ""
        if DSN.match(rest.split(" ")[0]):
            wanted_dsn, _, rest = rest.partition(" ")
            assert dsn == wanted_dsn, (self.said, wanted, texts)
        if rest.startswith("="):
            assert sorted(texts[1:]) == sorted(filter(None, rest[1:].split(","))), texts
        else:
            assert rest in "\n".join(texts), (self.said, wanted, texts)
        # RFC 2034 3: all but the replies to the greeting and to EHLO and HELO
        is_greeting = code == "220" and " ESMTP " in texts[0]
        if code[0] != "3" and not is_greeting and not self.said.startswith(HELLOS):
            assert dsn != "", (self.said, code, texts)

    def expect_closed(self):
        assert self.pending == b"", self.pending
        try:
            more = self.sock.recv(65536)  # TLS: with close_notify, else it raises (RFC 8446 6.1)
        except ConnectionResetError:  # what stood behind the last command was not read
            more = b""
        assert more == b"", more

    def play(self, script):
        """A line starting with "> " is sent with CRLF, bytes as they are, a list of bytes in so many writes; "< " is
        what has to come."""
        for step in script:
            if step is CLOSED:
                self.expect_closed()
            elif step is TLS:
                self.handshake()
            elif isinstance(step, list):
                for piece in step:
                    self.send(piece)
            elif isinstance(step, bytes):
                self.send(step)
            elif step.startswith("> "):
                self.send(step[2:].encode() + b"\r\n")
            else:
                assert step.startswith("< "), step
                self.expect(step[2:])


class Sink:
    """An SMTP server that takes everything but mail for `refuses`, splits at CRLF only, and keeps what came as it came.

    messages: (sender, [recipients], content with its stuffing); raw: all bytes of each connection."""

    def __init__(self, capabilities=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 0"), refuses=b"nobody@"):
        self.address = LoopbackAddress()
        self.refuses = refuses
        self.capabilities = capabilities
        self.messages, self.raw, self.faults = [], [], []
        self.listener = socket.create_server((self.address.ip, 0))
        self.where = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()
        self.address.release()

    def accept(self):
        while True:
            try:
                c = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        raw = bytearray()
        self.raw.append(raw)

        def until(mark, start):
            while (at := raw.find(mark, start)) < 0:
                more = c.recv(65536)
                if not more:
                    raise EOFError
                raw.extend(more)
                self.faults += bare_bytes(bytes(raw[:-1] if raw.endswith(b"\r") else raw))
            return at

        with c:
            try:
                self.converse(c, raw, until)
            except (EOFError, OSError):
                pass

    def converse(self, c, raw, until):
        at, sender, rcpts = 0, None, []
        c.sendall(b"220 sink ESMTP\r\n")
        while True:
            end = until(b"\r\n", at)
            line, at, answer = bytes(raw[at:end]), end + 2, b"250 2.0.0 Ok\r\n"
            verb = line[:4].upper()
            if verb == b"EHLO":
                answer = b"250-sink\r\n" + b"".join(
                    b"250%s%s\r\n" % (b" " if x is self.capabilities[-1] else b"-", x.encode())
                    for x in self.capabilities)
            elif verb == b"MAIL":
                sender, rcpts = line[10:], []
            elif verb == b"RCPT" and self.refuses in line:
                answer = b"550 5.1.1 User unknown\r\n"
            elif verb == b"RCPT":
                rcpts.append(line[8:])
            elif verb == b"DATA":
                c.sendall(b"354 go on\r\n")
                end = until(b"\r\n.\r\n", at - 2)
                self.messages.append((sender, rcpts, bytes(raw[at:end + 2])))
                at = end + 5
            elif verb == b"QUIT":
                answer = b"221 2.0.0 Bye\r\n"
            elif verb != b"RSET":
                self.faults.append("unknown command %r" % line)
                answer = b"500 5.5.2 what?\r\n"
            c.sendall(answer)
            if verb == b"QUIT":
                return
