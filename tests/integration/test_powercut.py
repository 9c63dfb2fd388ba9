"""A power cut under a real file system: ext4 or xfs on a loop device, shut down without flushing its log."""
import contextlib
import fcntl
import os
import struct
import subprocess
import tempfile
import uuid

import pytest

from instance import wait_until
from ledger import Ledger, make_message

FS_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32); xfs has the same
NOLOGFLUSH = 2
MESSAGES = 20


class Disk:
    """A file system in a file, whose power can be cut."""

    def __init__(self, directory, name, kind):
        self.image, self.path = directory / (name + ".img"), directory / name
        self.path.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(320 << 20)  # the least that xfs takes
        subprocess.run(["mkfs." + kind, "-q", {"ext4": "-F", "xfs": "-f"}[kind], self.image], check=True)
        self.mounted = False
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.path], check=True)
        self.mounted = True

    def cut(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)

    def umount(self):
        if self.mounted:
            wait_until(lambda: subprocess.run(["umount", self.path], capture_output=True).returncode == 0,
                       what="umount")
            self.mounted = False


@pytest.fixture
def disks(tmp_path_factory):
    made = []
    base = tmp_path_factory.mktemp("disks")
    os.chmod(base, 0o755)
    parent = base.parent
    while str(parent).startswith(tempfile.gettempdir() + "/"):
        os.chmod(parent, 0o755)
        parent = parent.parent

    def make(name, kind):
        made.append(Disk(base, name, kind))
        return made[-1]

    yield make
    for d in made:
        with contextlib.suppress(AssertionError):
            d.umount()


def send_all(mail, ledger):
    import smtplib
    with smtplib.SMTP(mail.ip, mail.port("smtp"), timeout=30, source_address=("127.0.0.1", 0)) as s:
        for n in range(MESSAGES):
            ident = uuid.uuid4().hex
            # the third is a large one, whose body is a file of its own
            s.sendmail("sender@elsewhere.test", "bob@example.test",
                       make_message(ident, 600000 if n == 2 else 3000))
            ledger.note(ident)
        yield  # right after the last 250
        s.close()


@pytest.mark.parametrize("moment", ["after the 250", "after delivery"])
@pytest.mark.parametrize("file_systems", [1, 2])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_loses_nothing(make_instance, disks, moment, file_systems, kind):
    queue_disk = disks("queue", kind)
    mail_disk = disks("mail", kind) if file_systems == 2 else queue_disk
    mail = make_instance(main_cf="minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"
                         "queue_directory = %s/q\nvirtual_mailbox_base = %s/m\nqueue_minfree = 1m\n" % (
        queue_disk.path, mail_disk.path))
    mail.maildir = lambda address: mail_disk.path / "m" / "example.test" / address.split("@")[0] / "Maildir"
    mail.add_user("bob@example.test")
    mail.start()
    ledger = Ledger()
    for _ in send_all(mail, ledger):
        if moment == "after delivery":
            wait_until(lambda: mail.log_text().count("status=sent") >= MESSAGES)
        for d in {queue_disk, mail_disk}:
            d.cut()
        mail.kill()
    for d in {queue_disk, mail_disk}:
        d.umount()
        d.mount()
    mail.start()
    mail.wait_queue_empty(60)
    lost, torn, duplicates = ledger.account(mail.messages("bob@example.test"))
    assert len(ledger.acknowledged) == MESSAGES
    assert lost == [] and torn == []
    assert duplicates == 0
    mail.kill()
