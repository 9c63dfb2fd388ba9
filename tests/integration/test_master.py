"""The life of the suite: start says why not, crashes are restarted, reload keeps what is under way."""
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time

import procs
import pytest
from instance import BUILD, wait_until
from sample import make_certificate


def pids(mail, program):
    return {p for _, p in mail.processes(program)}


def test_start_fails_with_the_reason(make_instance):
    mail = make_instance()
    cases = [
        ("hopcount_limit = many", "hopcount_limit: \"many\" is not a number"),
        ("mydestinaton = x", "did you mean \"mydestination\"?"),
        ("tls_key_file = /nonexistent", "/nonexistent"),
        ("mailbox_owner = nobody-here", "nobody-here"),
    ]
    good = (mail.conf / "main.cf").read_text()
    for line, reason in cases:
        (mail.conf / "main.cf").write_text(good + line + "\n")
        r = mail.estafeta("start", check=False)
        assert r.returncode != 0 and reason in r.stderr, (line, r.stderr)
    (mail.conf / "main.cf").write_text(good)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((mail.ip, 2525))
        taken.listen()
        r = mail.estafeta("start", check=False)
        assert r.returncode != 0
        said = "%s/master.cf:2: %s:2525: Address already in use" % (mail.conf, mail.ip)
        assert "estafeta: start: " + said in r.stderr, r.stderr
        # in the log as every line there: time, host, program
        assert re.search(r"^[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} mail postfix/master\[[0-9]+\]: fatal: " + re.escape(said),
                         mail.log_text(), re.M), mail.log_text()
    mail.start()
    r = mail.estafeta("start", check=False)
    assert r.returncode != 0 and "already running" in r.stderr


def test_a_crashed_worker_is_started_again(make_instance):
    mail = make_instance().start()
    for program in ("smtpd", "authd", "qmgr", "keyd", "dnsd", "log", "relay"):
        before = pids(mail, program)
        victim = sorted(before)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in pids(mail, program) and len(pids(mail, program)) == len(before),
                   what="new " + program)
        mail.wait_log("libexec/%s pid %d killed by signal 9" % (program, victim))


def test_stop_ends_every_process(make_instance):
    mail = make_instance().start()
    all_pids = {p for _, p in mail.processes()} | {mail.master_pid()}
    mail.stop()
    # the answer to stop is among the last things that master does
    wait_until(lambda: not any(procs.is_alive(p) for p in all_pids), what="the end of every process")
    assert mail.estafeta("status", check=False).returncode == 1


def test_reload_keeps_busy_workers_and_their_sessions(make_instance):
    mail = make_instance().add_users("bob@example.test")
    mail.start()
    old = pids(mail, "smtpd")
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.ehlo()
        mail.estafeta("config", "-e", "smtpd_banner=$myhostname ESMTP after reload")
        mail.estafeta("reload")

        def banner():
            with socket.create_connection((mail.ip, mail.port("smtp"))) as c:
                return c.recv(1000)

        wait_until(lambda: b"after reload" in banner())
        # the worker that has our session is still there, under the same pid, and finishes it
        assert old & pids(mail, "smtpd")
        s.sendmail("x@elsewhere.test", "bob@example.test", "Subject: over the reload\r\n\r\nbody\r\n")
    wait_until(lambda: any(b"over the reload" in m for m in mail.messages("bob@example.test")))
    wait_until(lambda: not (old & pids(mail, "smtpd")))


def test_reload_with_a_fault_changes_nothing(make_instance):
    mail = make_instance().start()
    before = set(mail.processes())
    good = (mail.conf / "main.cf").read_text()
    (mail.conf / "main.cf").write_text(good + "smtpd_timeout = soon\n")
    r = mail.estafeta("reload", check=False)
    assert r.returncode != 0 and "smtpd_timeout" in r.stderr
    os.kill(mail.master_pid(), signal.SIGHUP)
    mail.wait_log("the old configuration stays in force")
    assert set(mail.processes()) == before
    with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
        assert s.ehlo()[0] == 250


def own_programs(mail):
    """The instance runs from a directory of its own, where a program can be exchanged."""
    bin_dir = mail.dir / "bin"
    (bin_dir / "libexec").mkdir(parents=True)
    shutil.copy2(BUILD / "estafeta", bin_dir)
    for program in (BUILD / "libexec").iterdir():
        if program.name == "master":
            shutil.copy2(program, bin_dir / "libexec")  # it looks for the others beside itself
        elif program.is_file() and os.access(program, os.X_OK):
            (bin_dir / "libexec" / program.name).symlink_to(program)

    def estafeta(*args):
        return subprocess.run([bin_dir / "estafeta", "-c", mail.conf, *args], capture_output=True, text=True,
                              timeout=120)

    return bin_dir / "libexec", estafeta


def test_reload_whose_new_workers_die_keeps_the_old_ones(make_instance):
    mail = make_instance()
    libexec, estafeta = own_programs(mail)
    assert estafeta("start").returncode == 0
    mail.running = True
    old = pids(mail, "smtpd")
    # another program in smtpd's place, that is fine when tested and dies of a fault when it is to serve
    (libexec / "smtpd").unlink()
    (libexec / "smtpd").write_text("#!/bin/sh\n[ \"$1\" = -t ] || exec %s/libexec/relay\n" % BUILD)
    (libexec / "smtpd").chmod(0o755)
    master_cf = (mail.conf / "master.cf").read_text()
    (mail.conf / "master.cf").write_text(master_cf.replace("2       smtpd", "2 smtpd -o smtp_bind_address=::1"))
    r = estafeta("reload")
    assert r.returncode == os.EX_UNAVAILABLE
    assert "smtpd pid" in r.stderr and "exit status 1: smtp_bind_address: \"::1\" is no such address" in r.stderr
    mail.wait_log("the workers of before the reload go on")
    assert old <= pids(mail, "smtpd")
    for _ in range(3):
        with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
            assert s.ehlo()[0] == 250
    (libexec / "smtpd").unlink()
    (libexec / "smtpd").symlink_to(BUILD / "libexec" / "smtpd")
    r = estafeta("reload")
    assert r.returncode == 0, r.stderr
    wait_until(lambda: not old & pids(mail, "smtpd"))
    with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
        assert s.ehlo()[0] == 250


def test_reload_whose_new_authd_dies_starts_it_as_before(make_instance):
    mail = make_instance().add_users("bob@example.test")
    libexec, estafeta = own_programs(mail)
    assert estafeta("start").returncode == 0
    mail.running = True
    # one that finds nothing when it is tested, and the fault when it is to serve
    (libexec / "authd").unlink()
    (libexec / "authd").write_text("#!/bin/sh\n[ \"$1\" = -t ] || exec %s/libexec/authd\n" % BUILD)
    (libexec / "authd").chmod(0o755)
    good = (mail.conf / "main.cf").read_text()

    def rcpt():
        with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
            s.ehlo()
            s.mail("x@elsewhere.test")
            return s.rcpt("bob@example.test")[0]

    for _ in range(2):
        (mail.conf / "main.cf").write_text(good + "password_cost = 99\nsmtpd_banner = $myhostname ESMTP new\n")
        r = estafeta("reload")
        assert r.returncode == os.EX_UNAVAILABLE
        assert "password_cost: 99 is not between 1 and 11" in r.stderr, r.stderr
        assert "authd: started again with the configuration of before the reload" in r.stderr, r.stderr
        wait_until(lambda: rcpt() == 250)
        # a crash does not bring the fault back
        [pid] = pids(mail, "authd")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda p=pid: pids(mail, "authd") not in ({p}, set()) and rcpt() == 250)
    (mail.conf / "main.cf").write_text(good)
    assert estafeta("reload").returncode == 0
    assert rcpt() == 250


@pytest.mark.parametrize("how", ["reload", "rotate", "SIGHUP"])
def test_a_rotated_log_is_written_anew(make_instance, how):
    mail = make_instance().start()
    old = mail.dir / "log.1"
    (mail.dir / "log").rename(old)
    if how == "SIGHUP":
        os.kill(mail.master_pid(), signal.SIGHUP)
    else:
        mail.estafeta(how)

    def disconnects():
        with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
            s.ehlo()
        return mail.log_text().count("disconnect from")

    wait_until(disconnects)
    before = old.read_text()
    # a new log process has the new file too
    os.kill(sorted(pids(mail, "log"))[0], signal.SIGKILL)
    mail.wait_log("killed by signal 9")
    n = disconnects()
    wait_until(lambda: disconnects() > n + 2)
    assert old.read_text() == before


def test_tools_say_that_authd_is_down(make_instance):
    mail = make_instance().add_users("bob@example.test").start()
    [pid] = pids(mail, "authd")
    os.kill(pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        r = mail.estafeta("user", "add", "new@example.test", input="secret\n", check=False)
        assert r.returncode == os.EX_UNAVAILABLE
        assert "authd is not running, or does not answer" in r.stderr and str(mail.dir / "log") in r.stderr
        assert time.monotonic() - begun < 20
    finally:
        os.kill(pid, signal.SIGCONT)
    # what was refused is not done later
    assert mail.estafeta("user", "list").stdout == "bob@example.test\n"


def test_usage(make_instance):
    mail = make_instance()
    for args, text in ((["config", "-d", "myhostname"], "usage: estafeta config "), (["config", "-x"], "usage: estafeta config "),
                       (["reload", "extra"], "usage: estafeta reload\n"), (["start", "extra"], "usage: estafeta start\n"),
                       (["status", "-x"], "usage: estafeta status "), (["queue"], "usage: estafeta queue "),
                       (["map"], "usage: estafeta map "), (["user", "add"], "usage: estafeta user add [-u UID]"),
                       (["strat"], "unknown verb \"strat\"; did you mean \"start\"?"), ([], "usage: estafeta [-c")):
        r = mail.estafeta(*args, check=False)
        assert (r.returncode, r.stdout) == (os.EX_USAGE, "") and text in r.stderr, (args, r)
    for args in (["--help"], ["help"]):
        r = subprocess.run([BUILD / "estafeta", *args], capture_output=True, text=True)
        assert (r.returncode, r.stderr) == (0, "") and "reload" in r.stdout
    assert "reload" in mail.estafeta("help").stdout


def test_config_checks_what_it_writes(make_instance):
    mail = make_instance()
    before = (mail.conf / "main.cf").read_text()
    for setting, why in (("hopcount_limit=many", "hopcount_limit: \"many\" is not a number"),
                         ("hopcount_limit=0", "hopcount_limit: 0 is not between 1 and 1000"),
                         ("smtpd_sasl_mechanisms=FOO", "is not one of"), ("myorigin=$nothing", "unknown parameter $nothing"),
                         ("hopcout_limit=1", "unknown parameter; did you mean hopcount_limit?"), ("x", "NAME=VALUE expected")):
        r = mail.estafeta("config", "-e", "queue_run_delay=5m", setting, check=False)
        assert r.returncode == os.EX_DATAERR and why in r.stderr, r.stderr
    assert (mail.conf / "main.cf").read_text() == before


def test_reload_to_another_directory_is_refused(make_instance):
    mail = make_instance().start()
    good = (mail.conf / "main.cf").read_text()
    (mail.conf / "main.cf").write_text(good + "queue_directory = %s/other\n" % mail.dir)
    r = mail.estafeta("reload", check=False)
    assert r.returncode == 78
    assert "queue_directory cannot change from %s/queue while the suite runs: stop, then start" % mail.dir in r.stderr
    (mail.conf / "main.cf").write_text(good + "data_directory = %s/other\n" % mail.dir)
    os.kill(mail.master_pid(), signal.SIGHUP)
    mail.wait_log("data_directory cannot change from %s/data while the suite runs: stop, then start" % mail.dir)
    assert not (mail.dir / "other").exists()
    # the tools look where main.cf says, and say where that is
    r = mail.estafeta("status", check=False)
    assert r.returncode == 1
    assert "the mail system is not running (looked in data_directory %s/other)" % mail.dir in r.stderr
    (mail.conf / "main.cf").write_text(good)


def test_no_handshake_fails_while_certificates_are_renewed(make_instance):
    mail = make_instance().start()
    stop, made, failed = threading.Event(), [], []

    def handshakes(service):
        while not stop.is_set():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                with mail.connect(service) as s, context.wrap_socket(s) as tls:
                    made.append(tls.getpeercert(True))
            except OSError as e:
                failed.append((service, e))

    threads = [threading.Thread(target=handshakes, args=(s,)) for s in ("submissions", "imaps", "pop3s")]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            wait_until(lambda n=len(made): len(made) > n + 20)
            make_certificate(mail.conf, mail.hostname, mail.ip)
            mail.estafeta("reload")
            wait_until(lambda n=len(made): len(made) > n + 20)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed
    assert len(set(made)) == 4
    # who had its certificate from one of the old keyds has ended, and with it that keyd
    wait_until(lambda: len(pids(mail, "keyd")) == 1)


def test_user_add_and_del_say_what_they_leave(make_instance):
    mail = make_instance(main_cf="mydestination = local.test\n")
    for is_up in (False, True):
        if is_up:
            mail.start()
        for address, is_ours in (("bob@example.test", True), ("bob@Local.test", True), ("bob@foreign.test", False)):
            r = mail.estafeta("user", "add", address, input="secret\n")
            assert ("no mail comes here for foreign.test: it is not in virtual_mailbox_domains" in r.stderr) != is_ours
            r = mail.estafeta("user", "del", address)
            home = mail.maildir(address.lower()).parent
            assert "its mail is still in %s\n" % home in r.stderr, r.stderr
        assert mail.estafeta("user", "del", "bob@example.test", check=False).returncode == 1


def test_config_edits_main_cf_in_place(make_instance):
    mail = make_instance()
    (mail.conf / "main.cf").write_text("# kept\nmyhostname = a.test\n  \n# too\nhopcount_limit = 10\n")
    mail.estafeta("config", "-e", "hopcount_limit=20", "queue_run_delay=5m")
    assert (mail.conf / "main.cf").read_text() == (
        "# kept\nmyhostname = a.test\n  \n# too\nhopcount_limit = 20\nqueue_run_delay = 5m\n")
    assert mail.estafeta("config", "hopcount_limit").stdout == "hopcount_limit = 20\n"
    assert mail.estafeta("config", "-n").stdout == (
        "hopcount_limit = 20\nmyhostname = a.test\nqueue_run_delay = 5m\n")
    assert mail.estafeta("config", "nothing_such", check=False).returncode == 1
