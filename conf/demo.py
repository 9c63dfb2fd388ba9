#!/usr/bin/env python3
"""A throw-away mail system on loopback, from nothing to a message read back.

Run by `make demo` as root.  Everything lies in ./demo; DEMO_ONCE=1 ends it after the check.
"""
import base64
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import sample

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
ESTAFETA = ROOT / "build" / "release" / "estafeta"
IP = "127.0.0.1"
LISTENERS = {"smtp": "SMTP", "submission": "Submission (STARTTLS)", "submissions": "Submission (TLS)",
             "imap": "IMAP (STARTTLS)", "imaps": "IMAP (TLS)", "pop3": "POP3 (STARTTLS)", "pop3s": "POP3 (TLS)"}
USERS = {"alice@example.test": "wonderland", "bob@example.test": "builder"}

MESSAGE = (b"From: Alice <alice@example.test>\r\n"
           b"To: Bob <bob@example.test>\r\n"
           b"Subject: Hello\r\n"
           b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
           b"Message-ID: <demo-%d@example.test>\r\n"
           b"MIME-Version: 1.0\r\n"
           b"Content-Type: text/plain; charset=utf-8\r\n"
           b"Content-Transfer-Encoding: 8bit\r\n"
           b"\r\n"
           b"Dear Bob,\r\n"
           b".a line that starts with a dot, and a caf\xc3\xa9.\r\n"
           b"Yours, Alice\r\n")


def estafeta(*args, **kwargs):
    subprocess.run([ESTAFETA, "-c", DEMO / "conf", *args], check=True, text=True, **kwargs)


class Dialogue:
    """A line protocol over TLS, printed as it goes."""

    def __init__(self, name, port, starttls=None):
        print("\n--- %s, port %d" % (name, port))
        self.sock = socket.create_connection((IP, port), timeout=30)
        self.file = self.sock.makefile("rb")
        if starttls is not None:
            starttls(self)
        context = ssl.create_default_context(cafile=DEMO / "conf" / "cert.pem")
        self.sock = context.wrap_socket(self.sock, server_hostname="mail.example.test")
        self.file = self.sock.makefile("rb")
        print("    (%s, %s)" % (self.sock.version(), self.sock.cipher()[0]))

    def send(self, line, shown=None):
        print("C: " + (shown or line))
        self.sock.sendall(line.encode() + b"\r\n")

    def line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise RuntimeError("connection lost")
        return line

    def show(self):
        line = self.line()
        print("S: " + line.decode(errors="replace").rstrip())
        return line

    def smtp_reply(self, expected):
        while True:
            line = self.show()
            if line[3:4] != b"-":
                break
        if not line.startswith(expected):
            raise RuntimeError("unexpected answer")

    def smtp(self, command, expected, shown=None):
        self.send(command, shown)
        self.smtp_reply(expected)


def starttls(d):
    d.smtp_reply(b"220")
    d.smtp("EHLO client.example.test", b"250")
    d.smtp("STARTTLS", b"220")


def submit(message):
    d = Dialogue("submission with STARTTLS and AUTH", sample.PORTS["submission"], starttls)
    secret = base64.b64encode(b"\0alice@example.test\0" + USERS["alice@example.test"].encode()).decode()
    d.smtp("EHLO client.example.test", b"250")
    d.smtp("AUTH PLAIN " + secret, b"235", "AUTH PLAIN ********")
    d.smtp("MAIL FROM:<alice@example.test> BODY=8BITMIME", b"250")
    d.smtp("RCPT TO:<bob@example.test>", b"250")
    d.smtp("DATA", b"354")
    d.sock.sendall(message.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    print("C: (%d bytes of message)\nC: ." % len(message))
    d.smtp_reply(b"250")
    d.smtp("QUIT", b"221")


def read_imap():
    d = Dialogue("IMAP over TLS", sample.PORTS["imaps"])
    d.show()
    d.send("a LOGIN bob@example.test " + USERS["bob@example.test"], "a LOGIN bob@example.test ********")
    while not d.show().startswith(b"a OK"):
        pass
    deadline = time.monotonic() + 30
    exists = 0
    while exists == 0:
        if time.monotonic() > deadline:
            raise RuntimeError("the message does not arrive")
        d.send("b SELECT INBOX")
        while True:
            line = d.show()
            if line.endswith(b" EXISTS\r\n"):
                exists = int(line.split()[1])
            if line.startswith(b"b "):
                break
    d.send("c FETCH %d (BODY.PEEK[])" % exists)
    line = d.show()
    size = int(line.rstrip()[:-1].rsplit(b"{", 1)[1])
    content = d.file.read(size)
    print("S: (%d bytes of message)" % size)
    while not d.show().startswith(b"c OK"):
        pass
    d.send("d LOGOUT")
    while not d.show().startswith(b"d OK"):
        pass
    return content


def read_pop3():
    d = Dialogue("POP3 over TLS", sample.PORTS["pop3s"])
    d.show()
    for command, shown in (("USER bob@example.test", None),
                           ("PASS " + USERS["bob@example.test"], "PASS ********")):
        d.send(command, shown)
        if not d.show().startswith(b"+OK"):
            raise RuntimeError("login refused")
    d.send("STAT")
    count = int(d.show().split()[1])
    d.send("RETR %d" % count)
    d.show()
    lines = []
    while True:
        line = d.line()
        if line == b".\r\n":
            break
        lines.append(line[1:] if line.startswith(b".") else line)
    content = b"".join(lines)
    print("S: (%d bytes of message)\nS: ." % len(content))
    d.send("QUIT")
    d.show()
    return content


def set_up():
    if DEMO.exists():
        subprocess.run([ESTAFETA, "-c", DEMO / "conf", "stop"], stderr=subprocess.DEVNULL)
        shutil.rmtree(DEMO)
    subprocess.run(["sh", ROOT / "conf" / "users.sh"], check=True)
    DEMO.mkdir()
    conf = sample.write(DEMO, IP, virtual="postmaster alice@example.test\n")
    estafeta("map", "build", "hash:%s/virtual" % conf)
    for address, password in USERS.items():
        estafeta("user", "add", address, input=password + "\n")
    estafeta("start")


def settings():
    print("\nThe demo is up.  Settings for a mail client (certificate: %s):" % (DEMO / "conf" / "cert.pem"))
    for address, password in USERS.items():
        print("    user %s, password %s" % (address, password))
    for service, name in LISTENERS.items():
        print("    %-22s %s port %d" % (name, IP, sample.PORTS[service]))
    print("Log: %s\nLook around: %s -c %s status | queue list | config -n" % (
        DEMO / "log", ESTAFETA, DEMO / "conf"))


def main():
    if os.geteuid() != 0:
        sys.exit("make demo: run as root (sudo make demo): master starts each worker as its own user")
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    message = MESSAGE % int(time.time())
    set_up()
    try:
        submit(message)
        for how, content in (("IMAP", read_imap()), ("POP3", read_pop3())):
            if not content.endswith(message):
                raise RuntimeError("%s gives other bytes than were submitted" % how)
        print("\nThe same %d bytes came back over IMAP and POP3, behind the headers that delivery adds."
              % len(message))
        if not os.environ.get("DEMO_ONCE"):
            settings()
            print("Interrupt (Ctrl-C) to end it.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("\nending")
    finally:
        estafeta("stop")


if __name__ == "__main__":
    main()
