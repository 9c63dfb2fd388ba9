"""A queue of many deferred messages: made, and looked at from outside."""
import os
import smtplib
import subprocess
import time

from instance import BUILD, wait_until

# nothing of it can be delivered, and each attempt fails at once
MAIN_CF = "relayhost = [127.0.0.1]:2998\nminimal_backoff_time = 4000s\nmaximal_backoff_time = 4000s\n"
FILL = BUILD / "tests" / "bench" / "queue_fill"
USER = "alice@example.test"


def fill(mail, count, due_s=3600):
    """COUNT valid files by the project's own encoders.  The instance has been up once and is stopped."""
    queue = mail.dir / "queue"
    owner = os.stat(queue / "deferred")
    subprocess.run([FILL, queue, str(count), str(due_s), str(owner.st_uid),
                    str(owner.st_gid)], check=True)


def qmgr_pid(mail):
    (_, pid), = mail.processes("qmgr")
    return pid


def memory(mail):
    """Bytes of its own that qmgr has resident."""
    with open("/proc/%d/status" % qmgr_pid(mail)) as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


def cpu_seconds(mail):
    """User's and system's time of qmgr since it began."""
    with open("/proc/%d/stat" % qmgr_pid(mail)) as stat:
        user, system = stat.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def deliver(mail, subject, to=USER):
    """Seconds from the end of DATA until a new message is in its mailbox."""
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.1", 0), timeout=60) as s:
        began = time.monotonic()
        s.sendmail("x@sender.test", to, "Subject: %s\r\n\r\nhello\r\n" % subject)
    wanted = b"Subject: " + subject.encode() + b"\r\n"
    wait_until(lambda: any(wanted in m.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for m in mail.messages(to)),
               60, subject)
    return time.monotonic() - began


def lister(mail, *args):
    return subprocess.Popen([BUILD / "estafeta", "-c", mail.conf, "queue", "list", "-j", *args], stdout=subprocess.PIPE)
