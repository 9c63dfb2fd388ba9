"""The log as pflogsumm reads it, against our own counters (estafeta counters -j)."""
import json
import re
import shutil
import smtplib
import subprocess

import pytest

from instance import BUILD, DEADLINE, wait_until
from smtp_wire import Sink

pytestmark = pytest.mark.skipif(shutil.which("pflogsumm") is None, reason="pflogsumm is not installed")
MAIN_CF = """\
mynetworks = 127.0.0.2/32
smtpd_peername_lookup = no
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
virtual_alias_maps = inline:{{ {{both@example.test=bob@example.test carol@example.test}} }}
header_checks = pcre:$config_directory/header_checks
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{held@example.test=HOLD for a look}}, {{gone@example.test=DISCARD}}, {{no@example.test=REJECT}} }}
    warn_if_reject reject_non_fqdn_helo_hostname
    permit_mynetworks reject_unauth_destination
transport_maps = inline:{{ {{far.test=smtp:[{ip}]:{port}}}, {{dead.test=smtp:[{ip}]:1}} }}
"""
HEADER_CHECKS = "/^Subject: virus/ REJECT not here\n/^Subject: odd/ WARN odd\n/^Subject: wait/ HOLD\n"
# their words -> ours
TOTALS = {"received": "received", "delivered": "delivered", "deferred": "deferred", "bounced": "bounced", "rejected": "rejected",
          "reject warnings": "reject_warnings", "held": "held", "discarded": "discarded", "bytes received": "accepted_bytes",
          "bytes delivered": "delivered_bytes"}


def counters(mail):
    return json.loads(mail.estafeta("counters", "-j").stdout)


def pflogsumm(mail):
    text = subprocess.run(["pflogsumm", mail.dir / "log"], check=True, capture_output=True, text=True).stdout
    found = {name: int(n) for n, name in re.findall(r"^ +(\d+)   ([a-z ]+?)(?: +\(.*\))?$", text, flags=re.M) if name in TOTALS}
    deferrals = re.search(r"deferred +\((\d+) +deferrals\)", text)
    return {**{TOTALS[name]: n for name, n in found.items()}, "deferrals": int(deferrals.group(1)) if deferrals else 0}


def send(mail, rcpts, subject="hello", sender="x@elsewhere.test", source="127.0.0.2", helo="client.test"):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), local_hostname=helo, source_address=(source, 0), timeout=DEADLINE) as s:
        try:
            s.sendmail(sender, rcpts, "Subject: %s\r\n\r\n%s\r\n" % (subject, subject * 7))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
            pass


def traffic(mail):
    send(mail, ["bob@example.test"])
    send(mail, ["both@example.test", "y@far.test"])
    send(mail, ["y@far.test", "no@example.test"])
    send(mail, ["nobody@example.test"])
    send(mail, ["y@far.test"], source="127.0.0.9")
    send(mail, ["bob@example.test"], helo="short")
    send(mail, ["nobody@far.test"], sender="bob@example.test")  # and its bounce
    send(mail, ["held@example.test"], sender="")
    send(mail, ["gone@example.test"])
    for subject in ("virus", "odd", "wait"):
        send(mail, ["bob@example.test"], subject)
    send(mail, ["a@dead.test", "b@dead.test"])
    subprocess.run([BUILD / "sendmail", "-C", mail.conf, "-f", "bob@example.test", "carol@example.test"], check=True, input=b"hi\n")


def test_same_totals(make_instance):
    sink = Sink()
    try:
        mail = make_instance(main_cf=MAIN_CF.format(ip=sink.where[0], port=sink.where[1]))
        (mail.conf / "header_checks").write_text(HEADER_CHECKS)
        mail.add_users("bob@example.test", "carol@example.test", "held@example.test", "gone@example.test").start()
        traffic(mail)
        wait_until(lambda: counters(mail)["deferrals"] >= 4, what="second attempts")
        # what was counted outlives the processes
        mail.estafeta("reload")
        traffic(mail)
        wait_until(lambda: counters(mail)["deferred"] == 2, what="the second to the dead one")
        mail.estafeta("queue", "delete", "--domain", "dead.test")
        mail.estafeta("queue", "release", "ALL")
        wait_until(lambda: mail.estafeta("queue", "list").stdout.startswith("Mail queue is empty"), what="an empty queue")
        ours, theirs = counters(mail), pflogsumm(mail)
    finally:
        sink.close()
    assert {name: ours[name] for name in theirs} == theirs
    assert all(n > 0 for n in ours.values())
