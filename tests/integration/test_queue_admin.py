"""What an admin does to a queue: corrects where mail goes, shares a directory by mistake, fills the disk."""
import os
import re
import smtplib
import time

import pytest

from instance import wait_until

FAST = "minimal_backoff_time = 1s\nmaximal_backoff_time = 4000s\nqueue_run_delay = 1s\nsmtp_connect_timeout = 5s\n"


def config(instance, **values):
    for name, value in values.items():
        instance.estafeta("config", "-e", "%s=%s" % (name, value))


def submit(instance, rcpt, subject="hi", body="", sender="alice@example.test"):
    with smtplib.SMTP(instance.ip, 2525, source_address=("127.0.0.1", 0)) as s:
        s.sendmail(sender, rcpt, "From: %s\r\nSubject: %s\r\n\r\n%s\r\n" % (sender, subject, body))


def reason(instance):
    return [r.get("delay_reason", "") for q in instance.queue() for r in q["recipients"]]


def has(instance, address, subject):
    return any(b"Subject: " + subject.encode() in m for m in instance.messages(address))


@pytest.fixture
def smart(make_instance):
    """Takes mail for far.test from everybody."""
    i = make_instance(hostname="smart.far.test", domain="far.test").add_users("bob@far.test")
    return i.start()


@pytest.mark.parametrize("bad", ["[mx.gone.test]", "[127.0.0.1]:2998"])
def test_a_corrected_relayhost_is_for_queued_mail_too(make_instance, smart, bad):
    mail = make_instance(main_cf=FAST + "relayhost = %s\n" % bad).start()
    submit(mail, "bob@far.test", "first")
    wait_until(lambda: any(reason(mail)), what="deferral")
    config(mail, relayhost="[%s]:2525" % smart.ip)
    mail.estafeta("reload")
    mail.estafeta("queue", "flush")
    wait_until(lambda: has(smart, "bob@far.test", "first"))
    mail.wait_queue_empty()


def test_a_corrected_relayhost_after_requeue_and_restart(make_instance, smart):
    mail = make_instance(main_cf=FAST + "relayhost = [127.0.0.1]:2998\n").start()
    submit(mail, "bob@far.test", "held")
    wait_until(lambda: any(reason(mail)), what="deferral")
    mail.estafeta("queue", "hold", "ALL")
    mail.stop()
    config(mail, relayhost="[%s]:2525" % smart.ip)
    mail.start()
    mail.estafeta("queue", "requeue", "ALL")
    wait_until(lambda: has(smart, "bob@far.test", "held"))
    mail.wait_queue_empty()


def test_a_domain_that_has_come_here_and_one_that_has_gone(make_instance, smart):
    mail = make_instance(domain="example.test near.test", main_cf=FAST + "relayhost = [127.0.0.1]:2998\n")
    mail.add_users("alice@example.test", "carol@new.test").start()
    submit(mail, ["carol@new.test", "nobody@new.test"], "come")
    wait_until(lambda: sum("refused" in r for r in reason(mail)) == 2, what="deferral")
    config(mail, virtual_mailbox_domains="example.test new.test")
    mail.estafeta("reload")
    mail.estafeta("queue", "flush")
    wait_until(lambda: has(mail, "carol@new.test", "come"))
    wait_until(lambda: any(b'unknown user: "nobody@new.test"' in m for m in mail.messages("alice@example.test")))
    mail.wait_queue_empty()


def test_a_reload_in_the_middle_of_messages(make_instance):
    """Clients that are in DATA, and others that come meanwhile, notice nothing; and no one waits for them."""
    mail = make_instance(main_cf=FAST).add_users("alice@example.test", "bob@example.test").start()
    qmgr = [pid for name, pid in mail.processes() if name == "qmgr"]
    talks = []
    for n in range(4):
        s = smtplib.SMTP(mail.ip, mail.port("smtp"), timeout=60)
        s.ehlo()
        assert s.mail("a@far.test")[0] == 250 and s.rcpt("bob@example.test")[0] == 250
        if n % 2:
            assert s.docmd("DATA")[0] == 354
        talks.append(s)
    begin = time.monotonic()
    mail.estafeta("reload")
    wait_until(lambda: [pid for name, pid in mail.processes() if name == "qmgr" and pid not in qmgr])
    assert time.monotonic() - begin < 8 * float(os.environ.get("TEST_TIME_FACTOR", "1"))
    submit(mail, "alice@example.test", "meanwhile")
    for n, s in enumerate(talks):
        if n % 2 == 0:
            assert s.docmd("DATA")[0] == 354
        s.send("Subject: through %d\r\n\r\nbody\r\n.\r\n" % n)
        assert s.getreply()[0] == 250
        s.quit()
    mail.wait_queue_empty()
    assert has(mail, "alice@example.test", "meanwhile")
    for n in range(4):
        assert has(mail, "bob@example.test", "through %d" % n)


def test_two_instances_never_share_a_queue(make_instance, smart):
    first = make_instance(main_cf=FAST + "relayhost = [127.0.0.1]:2998\n").add_users("alice@example.test").start()
    submit(first, "bob@far.test", "waiting")
    wait_until(lambda: any(reason(first)), what="deferral")
    qmgr = dict(first.processes())["qmgr"]
    second = make_instance(main_cf=FAST)
    config(second, queue_directory=first.dir / "queue")
    r = second.estafeta("start", check=False)
    assert r.returncode != 0
    assert "queue_directory %s/queue: in use by another qmgr (pid %d)" % (first.dir, qmgr) in r.stderr
    # the first goes on as if nothing had happened: deliveries, relay, new connections of its own
    submit(first, "alice@example.test", "near")
    wait_until(lambda: has(first, "alice@example.test", "near"))
    for program in ("relay", "authd"):
        for pid in [p for name, p in first.processes() if name == program]:
            os.kill(pid, 9)
    config(first, relayhost="[%s]:2525" % smart.ip)
    first.estafeta("reload")
    first.estafeta("queue", "flush")
    wait_until(lambda: has(smart, "bob@far.test", "waiting"))
    first.wait_queue_empty()
    # free again, it may be taken over: by configuration, not by accident
    first.stop()
    second.start()


def test_the_lock_outlives_reloads_and_ends_with_its_qmgr(make_instance):
    mail = make_instance(main_cf=FAST).add_users("alice@example.test").start()
    for _ in range(3):
        mail.estafeta("reload")
    os.kill(dict(mail.processes())["qmgr"], 9)
    submit(mail, "alice@example.test", "after")
    wait_until(lambda: has(mail, "alice@example.test", "after"))
    assert "in use by another" not in mail.log_text()


def test_a_dead_name_server_is_told_and_warn_if_reject_only_warns(make_instance):
    mail = make_instance(dns="127.0.0.1@9", main_cf="dns_timeout = 1s\nsmtpd_peername_lookup = no\n"
                         "smtpd_sender_restrictions = warn_if_reject reject_unknown_sender_domain\n")
    mail.add_users("alice@example.test").start()
    submit(mail, "alice@example.test", "warned", sender="x@dead.test")
    wait_until(lambda: has(mail, "alice@example.test", "warned"))
    mail.wait_log("reject_warning: RCPT from localhost[127.0.0.1]: 450 4.1.8 <x@dead.test>: "
                  "Sender address rejected: Domain not found")
    mail.wait_log("warning: dead.test: dns lookup failed: ")
    config(mail, smtpd_sender_restrictions="reject_unknown_sender_domain")
    mail.estafeta("reload")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        submit(mail, "alice@example.test", "refused", sender="x@dead.test")
    assert refused.value.recipients["alice@example.test"][0] == 450


def test_a_full_disk_is_told_with_its_figures(make_instance):
    mail = make_instance(main_cf=FAST).add_users("alice@example.test").start()
    submit(mail, "alice@example.test", "one")
    wait_until(lambda: has(mail, "alice@example.test", "one"))
    config(mail, queue_minfree="900g")
    mail.estafeta("reload")
    # a spare segment is left for small mail; a large one, of which nobody knew, needs a file
    with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.1", 0)) as s:
        s.ehlo()
        s.docmd("MAIL FROM:<x@example.test>")
        s.docmd("RCPT TO:<alice@example.test>")
        code, text = s.data(("y" * 70 + "\r\n") * 20000)
    assert code == 452 and text.startswith(b"4.3.1")
    mail.wait_log("no file for the message: insufficient queue space: No space left on device")
    figures = r"insufficient queue space: \d+ bytes free, \d{12,} bytes needed"
    wait_until(lambda: re.search(r"qmgr\[\d+\]: warning: \w+: " + figures, mail.log_text()))
    with pytest.raises(smtplib.SMTPDataError) as refused:
        submit(mail, "alice@example.test", "announced", body=("y" * 70 + "\r\n") * 20000)
    assert refused.value.smtp_code == 452
    wait_until(lambda: re.search("queue manager takes no mail: " + figures, mail.log_text()))


def test_an_alias_loop_is_told(make_instance):
    mail = make_instance(virtual="a@example.test b@example.test\nb@example.test a@example.test\n").start()
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        submit(mail, "a@example.test")
    assert refused.value.recipients["a@example.test"][:1] == (451,)
    mail.wait_log("warning: unreasonable virtual_alias_maps map nesting for a@example.test: alias loop at a@example.test")


def test_reloads_under_load_make_no_noise(make_instance):
    mail = make_instance(main_cf=FAST).add_users("alice@example.test").start()
    for n in range(12):
        submit(mail, "alice@example.test", "load %d." % n)
        mail.estafeta("reload")
    wait_until(lambda: all(has(mail, "alice@example.test", "load %d." % n) for n in range(12)))
    assert "gives no edge" not in mail.log_text()
