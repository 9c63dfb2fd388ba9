"""Sessions from their login to their end: stop, limits, homes that their users have broken, the log."""
import contextlib
import imaplib
import json
import os
import poplib
import re
import shutil
import signal
import socket
import subprocess

import pytest

from instance import wait_until
from procs import is_alive

USER = "bob@example.test"


def login_imap(mail, user=USER):
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    m.login(user, "secret")
    return m


def login_pop3(mail, user=USER):
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    p.user(user)
    p.pass_("secret")
    return p


def rest(f):
    """All that still comes, up to a clean end."""
    return f.read()


def refused_imap(mail):
    with pytest.raises(imaplib.IMAP4.error) as e:
        login_imap(mail)
    assert "[UNAVAILABLE] Mailbox is not available" in str(e.value)


def refused_pop3(mail):
    with pytest.raises(poplib.error_proto) as e:
        login_pop3(mail)
    assert "-ERR [SYS/TEMP] Mailbox is not available" in str(e.value)


def pids(mail, program, user=USER):
    """The account's processes."""
    services = map(json.loads, mail.estafeta("status", "-j").stdout.splitlines())
    return [p["pid"] for s in services if s["program"] == program for p in s["processes"] if p.get("account") == user]


def ends(mail, program):
    return [l for l in mail.log_text().splitlines() if "Disconnected" in l and re.search(r"\b%s\b" % program, l)]


def test_stop_is_told_to_every_session(make_instance):
    mail = make_instance().add_users(USER, "alice@example.test")
    mail.start()
    plain, idle, selected = login_imap(mail), login_imap(mail, "alice@example.test"), login_imap(mail)
    selected.select("INBOX")
    idle.select("INBOX")
    idle.send(b"i IDLE\r\n")
    assert idle.readline() == b"+ idling\r\n"
    pop3 = login_pop3(mail)
    assert pop3.stat() == (0, 0)
    before = socket.create_connection((mail.ip, mail.port("imap")))
    greeting = before.makefile("rb")
    assert greeting.readline().startswith(b"* OK")
    mail.stop()
    bye = b"* BYE Server shutting down.\r\n"
    assert [rest(m.file) for m in (plain, idle, selected)] == [bye] * 3
    assert rest(pop3.file) == b""
    assert rest(greeting) == bye
    log = mail.log_text()
    assert log.count("Disconnected: Server shutting down. in=") == 3
    assert log.count("Disconnected: Server shutting down top=") == 1
    assert "panic" not in log and "killed by signal" not in log


def test_stop_waits_for_nobody_who_does_not_listen(make_instance):
    mail = make_instance().add_users(USER)
    mail.start()
    m = login_imap(mail)
    m.append("INBOX", None, None, b"Subject: big\r\n\r\n" + b"x" * 76 * 60000)
    m.select("INBOX")
    m.send(b"a FETCH 1 BODY[]\r\n" * 20)  # and nothing is read
    (pid,) = pids(mail, "imapd")
    os.kill(pid, signal.SIGSTOP)  # nor does this one say goodbye
    try:
        mail.estafeta("stop", timeout=30)
        mail.running = False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not is_alive(pid))


def test_too_many_connections_are_told_so(make_instance):
    mail = make_instance(main_cf="mail_max_userip_connections = 3\n").add_users(USER)
    mail.start()

    def greetings(service, count):
        """What `count` connections hear first; several workers share the listener, each counts by itself."""
        sockets = [mail.connect(service) for _ in range(count)]
        lines = [s.makefile("rb").readline() for s in sockets]
        for s in sockets:
            s.close()
        return lines

    imap = greetings("imap", 12)
    assert b"* BYE [LIMIT] Too many connections from your address.\r\n" in imap
    assert sum(line.startswith(b"* OK") for line in imap) in range(3, 7)
    pop3 = greetings("pop3", 12)
    assert b"-ERR [IN-USE] Too many connections from your address.\r\n" in pop3
    # without a handshake nothing can be said
    sockets = [mail.connect("imaps") for _ in range(12)]
    wait_until(lambda: mail.log_text().count("Maximum number of connections from user+IP exceeded") >= 18)
    for s in sockets:
        s.close()
    wait_until(lambda: works(mail))


def works(mail):
    with contextlib.suppress(OSError, imaplib.IMAP4.error):
        login_imap(mail).logout()
        return True


def file_for_maildir(maildir):
    shutil.rmtree(maildir)
    maildir.write_text("")


def link_for_maildir(maildir):
    shutil.rmtree(maildir)
    maildir.symlink_to("/etc")


def loop_for_maildir(maildir):
    shutil.rmtree(maildir)
    maildir.symlink_to(maildir)


def unreadable_index(maildir):
    index = maildir / "estafeta.index"
    index.chmod(0)


def unreadable_maildir(maildir):
    maildir.chmod(0)


def unreadable_home(maildir):
    maildir.parent.chmod(0)


@pytest.mark.parametrize("breakage", [file_for_maildir, link_for_maildir, loop_for_maildir, unreadable_index,
                                      unreadable_maildir, unreadable_home])
def test_a_broken_home_is_its_users_trouble_only(make_instance, breakage):
    mail = make_instance(main_cf="mailbox_process_linger = 3s\n").add_users(USER, "alice@example.test")
    mail.start()
    login_imap(mail).logout()
    home = mail.maildir(USER).parent
    wait_until(lambda: not pids(mail, "imapd"))
    shutil.copytree(home, mail.dir / "kept", symlinks=True)
    breakage(mail.maildir(USER))
    for _ in range(5):
        refused_imap(mail)
        refused_pop3(mail)
    processes = pids(mail, "imapd") + pids(mail, "pop3d")
    assert len(processes) == 2  # each has stayed
    login_imap(mail, "alice@example.test").logout()
    login_pop3(mail, "alice@example.test").quit()
    for service in ("imap", "pop3"):
        refusals = service + r"\(bob@example\.test\)<\d+><[^>]*>: (?:\w+: )?login refused: "
        wait_until(lambda: len(re.findall(refusals, mail.log_text())) == 5)
    wait_until(lambda: not any(map(is_alive, processes)))
    # mended, it is at hand again
    with contextlib.suppress(OSError):
        home.chmod(0o700)
    shutil.rmtree(home)
    shutil.move(mail.dir / "kept", home)
    subprocess.run(["chown", "-R", "vmail:vmail", home], check=True)
    login_imap(mail).logout()
    login_pop3(mail).quit()
    log = mail.log_text()
    assert "throttling" not in log and "exit status" not in log and "killed by" not in log


@pytest.mark.parametrize("breakage", [
    lambda index: (shutil.rmtree(index), index.symlink_to("/etc")),
    lambda index: (shutil.rmtree(index), index.write_text("no directory")),
    lambda index: ((index / "data.mdb").unlink(), (index / "data.mdb").mkdir()),
    lambda index: ((index / "data.mdb").unlink(), (index / "data.mdb").symlink_to("/etc/passwd")),
    lambda index: (index / "lock.mdb").write_bytes(b"\xff" * 8192),
])
def test_a_broken_index_ends_no_process(make_instance, breakage):
    """The store mends what it can; what it cannot, it refuses."""
    mail = make_instance(main_cf="mailbox_process_linger = 1s\n").add_users(USER)
    mail.start()
    login_imap(mail).logout()
    wait_until(lambda: not pids(mail, "imapd"))
    breakage(mail.maildir(USER) / "estafeta.index")
    for _ in range(3):
        try:
            login_imap(mail).logout()
        except imaplib.IMAP4.error as e:
            assert "[UNAVAILABLE] Mailbox is not available" in str(e)
    log = mail.log_text()
    assert "throttling" not in log and "exit status" not in log and "killed by" not in log


def remove(home):
    shutil.rmtree(home)


def rename(home):
    home.rename(home.with_name("bob.old"))


def remove_and_make_anew(home):
    shutil.rmtree(home)
    home.mkdir(0o700)
    shutil.chown(home, "vmail", "vmail")


def rename_and_make_anew(home):
    rename(home)
    home.mkdir(0o700)
    shutil.chown(home, "vmail", "vmail")


@pytest.mark.parametrize("change", [remove, rename, remove_and_make_anew, rename_and_make_anew])
def test_a_session_process_does_not_outlive_its_home(make_instance, change):
    mail = make_instance().add_users(USER)
    mail.start()
    old = login_imap(mail)
    old.append("INBOX", None, None, b"Subject: old\r\n\r\nold\r\n")
    (before,) = pids(mail, "imapd")
    change(mail.maildir(USER).parent)
    refused_imap(mail)
    mail.wait_log("login refused: the home was removed, or has another name now")
    # the next one gets a process of the new home, though the old one's session is still there
    new = login_imap(mail)
    assert new.select("INBOX")[1] == [b"0"]
    assert set(pids(mail, "imapd")) > {before} or before not in pids(mail, "imapd")
    assert is_alive(before)
    with contextlib.suppress(imaplib.IMAP4.error):
        old.logout()
    wait_until(lambda: not is_alive(before))
    assert (mail.maildir(USER) / "new").is_dir()
    new.logout()
    assert "killed by" not in mail.log_text()


def test_one_line_a_session_end(make_instance):
    mail = make_instance().add_users(USER)
    mail.start()
    login_imap(mail).logout()
    login_pop3(mail).quit()
    lost = login_imap(mail)
    lost.shutdown()
    wait_until(lambda: len(ends(mail, "imap")) == 2 and len(ends(mail, "pop3")) == 1)
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    with pytest.raises(imaplib.IMAP4.error):
        m.login(USER, "wrong")
    m.logout()
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    p.user(USER)
    with pytest.raises(poplib.error_proto):
        p.pass_("wrong")
    p.quit()
    wait_until(lambda: mail.log_text().count("auth failed, 1 attempts in ") == 2)
    log = mail.log_text()
    session = r"imap\(bob@example\.test\)<(\d+)><([^>]+)>: Disconnected: Logged out in=\d+ out=\d+ deleted=0 "
    pid, ident = re.search(session, log).groups()
    login = r"imap-login(?:\[\d+\])?: Login: user=<bob@example\.test>, method=PLAIN, rip=\S+, lip=\S+, mpid=(\d+), TLS, " \
            r"session=<([^>]+)>"
    assert (pid, ident) in re.findall(login, log)
    assert re.search(r"pop3\(bob@example\.test\)<\d+><[^>]+>: Disconnected: Logged out top=0/0, retr=0/0, del=0/0, size=0", log)
    assert len(re.findall(r"Disconnected", log)) == 5
    # as fail2ban's filter.d/dovecot.conf reads them
    failregex = r"(?:imap|pop3)-login(?:\[\d+\])?: (?:Info: )?(?:Aborted login|Disconnected|Remote login failed)(?::(?: [^ \(]+)+)? " \
                r"\((?:auth failed, \d+ attempts(?: in \d+ secs)?|tried to use (?:disabled|disallowed) \S+ auth|proxy dest auth failed)\):" \
                r"(?: user=<[^>]*>,)?(?: method=\S+,)? rip=\S+(?:[^>]*(?:, session=<\S+>)?)\s*$"
    assert len(re.findall(failregex, log, re.M)) == 2
