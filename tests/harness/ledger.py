"""The accounting of acknowledged messages: every id whose 250 was read must be somewhere afterwards."""
import hashlib
import random
import re
import smtplib
import threading
import uuid


def make_message(ident, size=2000, rng=random):
    """A message whose body holds its id and a hash over its own content."""
    filler = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz \n") for _ in range(size)).replace("\n", "\r\n")
    filler = "\r\n".join(line[:900] for line in filler.split("\r\n"))
    digest = hashlib.sha256(filler.encode()).hexdigest()
    return ("From: <sender@example.test>\r\nTo: <rcpt@example.test>\r\nSubject: %s\r\n\r\n"
            "ID: %s\r\nHASH: %s\r\n%s\r\n" % (ident, ident, digest, filler))


def read_message(content):
    """(id, whole) of a delivered message; whole is False when its bytes are not those that were sent."""
    text = content.decode(errors="replace").replace("\r\n", "\n")
    m = re.search(r"^ID: (\S+)\nHASH: (\S+)\n(.*)\n\Z", text, re.S | re.M)
    if not m:
        return None, False
    filler = m.group(3).replace("\n", "\r\n")
    return m.group(1), hashlib.sha256(filler.encode()).hexdigest() == m.group(2)


class Ledger:
    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = []

    def note(self, ident):
        with self.lock:
            self.acknowledged.append(ident)

    def account(self, contents):
        """(lost ids, torn ids, number of duplicates) against the delivered messages."""
        seen, torn = {}, []
        for content in contents:
            ident, whole = read_message(content)
            if ident is not None:
                seen[ident] = seen.get(ident, 0) + 1
            if not whole:
                torn.append(ident or content[:300])
        lost = [i for i in self.acknowledged if i not in seen]
        return lost, torn, sum(n - 1 for n in seen.values())


def submit(mail, ledger, count, rcpt="bob@example.test", size=2000):
    """Sends until count messages were acknowledged over one connection at a time; reconnects as often as needed."""
    done, s = 0, None
    while done < count:
        ident = uuid.uuid4().hex
        try:
            if s is None:
                s = smtplib.SMTP(mail.ip, mail.port("smtp"), timeout=20, source_address=("127.0.0.1", 0))
            s.sendmail("sender@elsewhere.test", rcpt, make_message(ident, size))
            ledger.note(ident)
            done += 1
        except (smtplib.SMTPException, OSError):
            if s is not None:
                s.close()
            s = None
