"""Every worker is caged: seen in /proc, and proved by making each one try what it must not (DESIGN 3, 9)."""
import imaplib
import os
import pathlib
import poplib
import pwd
import re
import signal
import smtplib
import subprocess

import pytest

from instance import wait_until
from procs import children

USERS = {"log": "es-log", "dnsd": "es-dns", "keyd": "es-key", "authd": "es-auth", "qmgr": "es-queue",
         "relay": "es-relay", "dialer": "es-dial", "fetchd": "es-fetch", "delivery": "vmail", "smtpd": "es-smtpd", "imapd-login": "es-login",
         "imapd": "vmail", "pop3d-login": "es-login", "pop3d": "vmail", "anvil": "es-anvil"}


@pytest.fixture(scope="module")
def busy(mail):
    """An instance in which every role has a process: a delivery has happened, sessions are open."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.sendmail("x@elsewhere.test", "bob@example.test", "Subject: cage\r\n\r\nbody\r\n")
    wait_until(lambda: mail.messages("bob@example.test"))
    imap = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    imap.login("bob@example.test", "secret")
    imap.select("INBOX")
    pop = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    pop.user("bob@example.test")
    pop.pass_("secret")
    yield mail
    imap.logout()
    pop.quit()


def status(pid):
    return dict(line.split(":\t", 1) for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
                if ":\t" in line)


def is_database_worker(pid):
    return pathlib.Path("/proc/%d/comm" % pid).read_text().strip() == "authd-db"


def test_the_database_worker_reads_its_files_only(busy):
    workers = [p for _, pid in busy.processes("authd") for p in children(pid) if is_database_worker(p)]
    assert workers
    for what in ("/etc/passwd", "/etc/shadow"):
        out = gdb(workers[-1], SYSCALL % ('2, "%s", 0, 0, 0, 0' % what))
        assert "$1 = -1" in out, out


def roots(mail):
    data = mail.dir / "data"
    edges = {r: data / "edges" / r for r in ("log", "dnsd", "keyd", "relay", "dialer", "smtpd", "imapd-login",
                                             "pop3d-login")}
    home = mail.dir / "mail" / "example.test" / "bob"
    return {**edges, "authd": data / "auth", "qmgr": mail.dir / "queue", "delivery": mail.dir / "mail", "imapd": home,
            "pop3d": home, "anvil": data / "anvil", "fetchd": data / "fetchd"}


def test_proc_shows_the_cage_of_every_worker(busy):
    seen = set()
    expected_roots = roots(busy)
    for program, pid in busy.processes():
        for p in children(pid):
            s = status(p)
            user = pwd.getpwnam(USERS[program])
            assert s["Uid"].split() == [str(user.pw_uid)] * 4, program
            assert s["Gid"].split() == [str(user.pw_gid)] * 4, program
            assert s.get("Groups", "").split() == [], program
            for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(s[cap], 16) == 0, (program, cap)
            assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", program
            root = pathlib.Path(os.readlink("/proc/%d/root" % p))
            # authd's database workers reach the admin's paths: Landlock, not chroot, is their wall
            if not is_database_worker(p):
                assert root == expected_roots[program], program
            assert "Max core file size        0                    0" in pathlib.Path(
                "/proc/%d/limits" % p).read_text()
            # what nobody waits for does not push aside what somebody waits for
            policy = os.SCHED_BATCH if program in ("delivery", "log") else os.SCHED_OTHER
            assert {os.sched_getscheduler(int(t)) for t in os.listdir("/proc/%d/task" % p)} == {policy}, program
            seen.add(program)
    assert seen == set(USERS)
    # roles that face strangers are alone with their uid: only the two login fronts share one
    uids = [u for r, u in USERS.items() if u != "vmail" and "login" not in r]
    assert len(uids) == len(set(uids))
    assert status(busy.master_pid())["Uid"].split()[0] == "0"


def test_roots_hold_only_edges(busy):
    for role, path in roots(busy).items():
        if path.parent.name != "edges":
            continue
        st = path.stat()
        assert st.st_uid == 0 and st.st_mode & 0o022 == 0
        for entry in path.iterdir():
            assert entry.is_socket(), entry
            assert entry.stat().st_mode & 0o777 == 0o600
            assert entry.stat().st_uid == pwd.getpwnam(USERS[role]).pw_uid


def gdb(pid, *expressions):
    """Makes a process call functions; the value of each, or the signal that ended it."""
    args = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "set sysroot /", "-ex", "set confirm off",
            "-ex", "set print thread-events off"]
    for e in expressions:
        args += ["-ex", "print %s" % e]
    r = subprocess.run(args + ["-ex", "detach"], capture_output=True, text=True, timeout=60)
    return r.stdout + r.stderr


SYSCALL = "((long(*)(long,long,long,long,long,long))syscall)(%s)"
# what, system call number and arguments (x86_64); "%rsp"-free: strings are put on the stack by gdb's malloc
FORBIDDEN = [
    ("open /etc/passwd", 'open', 2, '"/etc/passwd", 0, 0, 0, 0'),
    ("openat ../../../etc/shadow", 'openat', 257, '-100, "../../../../../../etc/shadow", 0, 0, 0'),
    ("socket AF_INET", 'socket', 41, '2, 1, 0, 0, 0'),
    ("kill master", 'kill', 62, '{master}, 0, 0, 0, 0'),
    ("mount", 'mount', 165, '0, 0, 0, 0, 0'),
    ("execve", 'execve', 59, '"/bin/true", 0, 0, 0, 0'),
]
NETWORK = {"dnsd", "relay", "dialer", "fetchd"}


@pytest.mark.skipif(os.environ.get("FLAVOUR") == "asan", reason="a core of a sanitizer build is terabytes of shadow")
def test_no_core_of_a_network_facing_process_holds_the_tls_key(busy, tmp_path):
    """The private scalar of the P-256 key is nowhere in the memory of those who speak TLS; it is in keyd."""
    text = subprocess.run(["openssl", "ec", "-in", busy.conf / "key.pem", "-noout", "-text"], capture_output=True,
                          text=True, check=True).stdout
    hexa = re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", text).group(1)
    key = bytes.fromhex(re.sub(r"[\s:]", "", hexa))[-32:]
    pem = (busy.conf / "key.pem").read_bytes().split(b"\n")[2]
    found = {}
    for program, pid in busy.processes():
        if program not in ("smtpd", "imapd-login", "pop3d-login", "relay", "keyd"):
            continue
        subprocess.run(["gcore", "-o", tmp_path / "core", str(pid)], capture_output=True, check=True)
        core = (tmp_path / ("core.%d" % pid)).read_bytes()
        (tmp_path / ("core.%d" % pid)).unlink()
        # OpenSSL keeps big numbers as little-endian words
        found[program] = found.get(program, False) or key in core or key[::-1] in core or pem in core
    assert found == {"smtpd": False, "imapd-login": False, "pop3d-login": False, "relay": False, "keyd": True}


@pytest.mark.parametrize("program", sorted(USERS))
def test_a_taken_over_worker_is_stopped(make_instance, program):
    """What a broken-in worker would try first, tried in a real one."""
    mail = make_instance().add_users("bob@example.test")
    mail.start()
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.sendmail("x@elsewhere.test", "bob@example.test", "Subject: cage\r\n\r\nbody\r\n")
    wait_until(lambda: mail.messages("bob@example.test"))
    if program == "imapd":
        session = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
        session.login("bob@example.test", "secret")
    if program == "pop3d":
        session = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
        session.user("bob@example.test")
        session.pass_("secret")
    for what, name, number, arguments in FORBIDDEN:
        if name == "socket" and program in NETWORK:
            continue
        pid = wait_until(lambda: [p for r, p in mail.processes(program)] or None, what=program)[0]
        call = SYSCALL % ("%d, " % number + arguments.format(master=mail.master_pid()))
        out = gdb(pid, call)
        if name in ("mount", "execve"):
            mail.wait_log("libexec/%s pid %d killed by signal 31" % (program, pid))
            if program in ("imapd", "pop3d", "delivery"):
                break  # started on demand: there is none to try the next on
            continue
        value = re.search(r"\$1 = (-?\d+)", out)
        assert value and int(value.group(1)) == -1, (program, what, out)


def test_a_worker_cannot_take_all_connections_of_a_server(busy):
    """Whoever connects as smtpd gets a few connections of qmgr; its descriptors are for the others too."""
    script = """
import os, socket, sys
os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]))
held = []
for i in range(40):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("qmgr")
    held.append(s)
closed = 0
for s in held[16:]:
    s.settimeout(20)
    closed += s.recv(10) == b""
for s in held[:16]:
    s.setblocking(False)
    try:
        assert s.recv(10) != b""
    except BlockingIOError:
        pass
print(closed)
"""
    user = pwd.getpwnam("es-smtpd")
    out = subprocess.run(["/usr/bin/python3", "-c", script, busy.dir / "data/edges/smtpd", str(user.pw_uid),
                          str(user.pw_gid)], capture_output=True, text=True, timeout=60)
    assert out.stdout.strip() == "24", out.stderr


def test_a_fifo_as_certificate_does_not_hold_up_master(make_instance):
    mail = make_instance()
    mail.start()
    (mail.conf / "cert.pem").rename(mail.conf / "cert.saved")
    os.mkfifo(mail.conf / "cert.pem")
    [(_, keyd)] = mail.processes("keyd")
    os.kill(keyd, signal.SIGKILL)
    mail.wait_log("is not a regular file")
    assert mail.estafeta("status").returncode == 0
    (mail.conf / "cert.saved").rename(mail.conf / "cert.pem")
    wait_until(lambda: mail.processes("keyd"))
