"""The life of the suite: start says why not, crashes are restarted, reload keeps what is under way."""
import os
import signal
import smtplib
import socket

from instance import wait_until


def pids(mail, program):
    return {p for _, p in mail.processes(program)}


def test_start_fails_with_the_reason(make_instance):
    mail = make_instance()
    cases = [
        ("hopcount_limit = many", "hopcount_limit: \"many\" is not a number"),
        ("mydestinaton = x", "did you mean \"mydestination\"?"),
        ("tls_key_file = /nonexistent", "/nonexistent"),
        ("mail_owner = nobody-here", "nobody-here"),
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
        assert r.returncode != 0 and "Address already in use" in r.stderr
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
    for p in all_pids:
        assert not os.path.exists("/proc/%d" % p) or open("/proc/%d/stat" % p).read().split()[2] == "Z"
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
