"""A running Estafeta in a directory of its own, on a loopback address of its own."""
import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import procs

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "conf"))

import sample  # noqa: E402

BUILD = ROOT / "build" / os.environ.get("FLAVOUR", "release")
# the leak checker needs ptrace, which no cage allows; everything else of a sanitizer build works inside
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
DEADLINE = 30.0 * float(os.environ.get("TEST_TIME_FACTOR", "1"))

DNS_CF = """\
dns_forwarders = {dns}
dns_trust_anchor_file =
relayhost =
"""


def wait_until(condition, timeout=None, what=""):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + (timeout or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("timed out waiting for " + (what or str(condition)))
        time.sleep(0.02)


class LoopbackAddress:
    """127.77.x.y, reserved by a lock file for as long as it is in use."""

    def __init__(self):
        self.lock = None
        for n in range(1, 250 * 250):
            ip = "127.77.%d.%d" % (n // 250, n % 250 + 1)
            path = pathlib.Path(tempfile.gettempdir()) / ("estafeta-test-" + ip)
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                continue
            self.lock, self.ip, self.path = fd, ip, path
            return
        raise RuntimeError("no loopback address left")

    def release(self):
        if self.lock is not None:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self.lock)
            self.lock = None


class Instance:
    def __init__(self, hostname="mail.example.test", domain="example.test", main_cf="", master_cf=None,
                 dns="127.0.0.1@5353", virtual="", key_type="ec", directory=None):
        self.address = LoopbackAddress()
        self.ip = self.address.ip
        self.hostname, self.domain = hostname, domain
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="estafeta-test-"))
        os.chmod(self.dir, 0o755)
        self.running = False
        self.conf = sample.write(self.dir, self.ip, hostname, domain, DNS_CF.format(dns=dns) + main_cf, master_cf,
                                 virtual, key_type)
        self.estafeta("map", "build", "hash:%s/virtual" % self.conf)

    # --- commands
    def estafeta(self, *args, check=True, input=None, timeout=120, prefix=()):
        r = subprocess.run([*prefix, BUILD / "estafeta", "-c", self.conf, *args], capture_output=True, text=True,
                           input=input, timeout=timeout)
        if check and r.returncode != 0:
            raise AssertionError("estafeta %s: exit %d\n%s%s\n%s" % (
                " ".join(map(str, args)), r.returncode, r.stdout, r.stderr, self.log_text()[-4000:]))
        return r

    def start(self, prefix=()):
        self.estafeta("start", prefix=prefix)
        self.running = True
        return self

    def stop(self):
        if self.running:
            self.estafeta("stop", check=False)
            self.running = False

    def add_user(self, address, password="secret", *args):
        self.estafeta("user", "add", address, *args, input=password + "\n")

    def add_users(self, *addresses):
        for a in addresses:
            self.add_user(a)
        return self

    # --- looking inside
    def log_text(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.dir / "log").read_text(errors="replace")
        return ""

    def wait_log(self, text, timeout=None):
        wait_until(lambda: text in self.log_text(), timeout, "log line with " + repr(text))

    def master_pid(self):
        return int((self.dir / "data" / "master.pid").read_text())

    def processes(self, program=None):
        """[(program, pid)] of the workers."""
        out = self.estafeta("status", "-j").stdout
        found = []
        for line in out.splitlines():
            s = json.loads(line)
            for p in s["processes"]:
                if program in (None, s["program"]):
                    found.append((s["program"], p["pid"]))
        return found

    def maildir(self, address):
        local, domain = address.rsplit("@", 1)
        return self.dir / "mail" / domain / local / "Maildir"

    def messages(self, address):
        """Contents of all messages in INBOX, as bytes on disk."""
        found = []
        for sub in ("new", "cur"):
            d = self.maildir(address) / sub
            with contextlib.suppress(FileNotFoundError):
                for name in os.listdir(d):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((d / name).read_bytes())
        return found

    def queue(self):
        out = self.estafeta("queue", "list", "-j").stdout
        return [json.loads(line) for line in out.splitlines()]

    def wait_queue_empty(self, timeout=None):
        wait_until(lambda: not self.queue(), timeout, "empty queue")

    def port(self, service):
        return sample.PORTS[service]

    def tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.conf / "cert.pem")
        return context

    def connect(self, service="smtp"):
        return socket.create_connection((self.ip, self.port(service)), timeout=DEADLINE)

    # --- the end
    def kill(self):
        """Ends everything at once, as a crash of the machine would."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            master = self.master_pid()
            os.kill(master, signal.SIGSTOP)  # so that it starts nobody anew meanwhile
            family = procs.children(master)
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not any(procs.is_alive(pid) for pid in family), what="the killed to be gone")
        self.running = False

    def close(self):
        with contextlib.suppress(Exception):
            self.stop()
        if self.running:
            self.kill()
        self.address.release()
        if not os.environ.get("KEEP_TEST_DIRS"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def auth_plain(user, password):
    return base64.b64encode(b"\0" + user.encode() + b"\0" + password.encode()).decode()
