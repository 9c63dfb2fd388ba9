"""Delivery status notices as senders and the postmaster get them: taken apart with Python's email package, and compared with
RFC 3464's grammar; in two languages; beyond ASCII; copies and double bounces."""
import email
import email.policy
import pathlib
import re
import smtplib
import socket
import threading
import uuid

import pytest

from instance import wait_until

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "conf" / "bounce.cf.example"
FAST = "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n"
LANGUAGES = ("bounce_template_file = %s\nbounce_language = de\n"
             "bounce_language_maps = inline:{ {bob@example.test=ru} {carol@example.test=xx} }\n" % EXAMPLE)
# nobody listens there
SINK = "relayhost = [127.0.0.1]:9\n"

# RFC 3464 2.2, 2.3: these fields, in this order
MESSAGE_FIELDS = ["Original-Envelope-Id", "Reporting-MTA", "DSN-Gateway", "Received-From-MTA", "Arrival-Date"]
RCPT_FIELDS = ["Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
               "Last-Attempt-Date", "Final-Log-ID", "Will-Retry-Until"]
RCPT_NEEDED = ["Final-Recipient", "Action", "Status"]


def in_order(names, order):
    known = [n for n in names if not n.startswith("X-")]
    places = [order.index(n) for n in known]
    assert places == sorted(places) and len(set(known)) == len(known), names
    assert names[:len(known)] == known, names  # extension fields come last


class Notice:
    """A multipart/report of RFC 6522 and 3464: everything that every notice has to have is checked here."""

    def __init__(self, raw):
        self.raw = raw
        # Python knows the fields' form by the older type only; RFC 6533 4.1 changes what may stand in them
        known = raw.replace(b"message/global-delivery-status", b"message/delivery-status")
        self.message = m = email.message_from_bytes(known, policy=email.policy.default)
        assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "delivery-status"
        assert not m.defects and all(not p.defects for p in m.walk())
        assert m["Message-Id"] and m["Date"] and m["MIME-Version"] == "1.0"
        assert "MAILER-DAEMON@" in m["From"]
        self.human, self.machine, self.original = m.get_payload()
        assert self.human.get_content_type() == "text/plain"
        self.text = self.human.get_content()
        blocks = self.machine.get_payload()
        self.fields, self.rcpts = blocks[0], [b for b in blocks[1:] if len(b)]
        assert "Reporting-MTA" in self.fields and self.rcpts
        in_order(self.fields.keys(), MESSAGE_FIELDS)
        for r in self.rcpts:
            in_order(r.keys(), RCPT_FIELDS)
            assert all(n in r for n in RCPT_NEEDED)
            assert r["Action"] in ("failed", "delayed", "delivered", "relayed", "expanded")
            assert re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", r["Status"])


def notices(instance, address):
    found = []
    for raw in instance.messages(address):
        if b"multipart/report" in raw:
            found.append(Notice(raw))
    return found


def wait_notice(instance, address, ident):
    return wait_until(lambda: [n for n in notices(instance, address) if ident.encode() in n.raw])[0]


def send(instance, sender, rcpt, mail=(), rcpt_options=(), content=None, login="alice@example.test"):
    ident = uuid.uuid4().hex
    content = content or "From: %s\r\nSubject: x\r\nX-Id: IDENT\r\n\r\nbody IDENT\r\n" % login
    with smtplib.SMTP(instance.ip, 2587) as s:
        s.starttls(context=instance.tls())
        s.login(login, "secret")
        if any("SMTPUTF8" in o for o in mail):
            s.command_encoding = "utf-8"
        assert s.mail(sender, list(mail))[0] == 250
        assert s.rcpt(rcpt, list(rcpt_options))[0] == 250
        assert s.data(content.replace("IDENT", ident).encode())[0] == 250
    return ident


@pytest.fixture
def make_mail(make_instance):
    def make(main_cf="", **kwargs):
        mail = make_instance(main_cf=FAST + main_cf, **kwargs)
        mail.add_users("alice@example.test", "bob@example.test", "carol@example.test", "postmaster@example.test")
        return mail

    return make


def test_three_languages_and_one_grammar(make_mail):
    mail = make_mail(LANGUAGES + SINK + "maximal_queue_lifetime = 0\n").start()
    ids = {who: send(mail, who + "@example.test", "far@remote.test", ["RET=HDRS", "ENVID=a+2Bb"],
                     ["ORCPT=rfc822;far+2Baway@remote.test"], login=who + "@example.test")
           for who in ("alice", "bob", "carol")}
    german, russian, english = (wait_notice(mail, who + "@example.test", ids[who]) for who in ids)
    assert german.message["Subject"] == "Ihre Nachricht konnte nicht zugestellt werden"
    assert german.human["Content-Language"] == "de" and "für" not in german.raw.decode("ascii")
    assert "Empfänger" in german.text and "auf mail.example.test." in german.text
    assert russian.message["Subject"] == "Ваше сообщение не доставлено" and "К сожалению" in russian.text
    assert russian.human.get_content_charset() == "utf-8" and "Почтовая система" in russian.message["From"]
    assert english.message["Subject"] == "Undelivered Mail Returned to Sender"
    assert english.human.get_content_charset() == "us-ascii"
    for n in (german, russian, english):
        assert n.message["Auto-Submitted"] == "auto-replied" and n.message["Return-Path"] == "<>"
        assert "<far@remote.test>: " in n.text
        assert n.fields["Original-Envelope-Id"] == "a+b"
        assert n.fields["Reporting-MTA"] == "dns; mail.example.test"
        assert n.rcpts[0]["Original-Recipient"] == "rfc822;far+away@remote.test"
        assert n.rcpts[0]["Final-Recipient"] == "rfc822; far@remote.test"
        assert n.rcpts[0]["Action"] == "failed"
        assert n.original.get_content_type() == "text/rfc822-headers"
        assert b"body " not in n.raw
    mail.wait_queue_empty()


def test_check_names_faults_of_a_template_file(make_mail, tmp_path):
    file = tmp_path / "bounce.cf"
    file.write_text("failure_template = <<EOF\nSubject: x\n\n$nothing\nEOF\nwhat = <<EOF\nEOF\n")
    mail = make_mail("bounce_template_file = %s\nnotify_classes = bounce, policy, bonce\n" % file)
    said = mail.estafeta("check", check=False)
    said = said.stdout + said.stderr
    assert '%s:4: unknown parameter: "nothing"' % file in said
    assert '%s:6: there is no such template: "what"' % file in said
    assert "nothing is sent of class policy" in said and "there is no class bonce" in said


def test_what_the_postmaster_gets(make_mail):
    mail = make_mail(SINK + "maximal_queue_lifetime = 0\nbounce_queue_lifetime = 0\nnotify_classes = bounce\n"
                     "bounce_notice_recipient = bob\nmyorigin = example.test\n").start()
    ident = send(mail, "alice@example.test", "far@remote.test")
    mine = wait_notice(mail, "alice@example.test", ident)
    assert mine.original.get_content_type() == "message/rfc822" and b"body " + ident.encode() in mine.raw
    assert mine.original.get_payload()[0]["X-Id"] == ident
    copy = wait_notice(mail, "bob@example.test", ident)
    assert copy.message["Return-Path"] == "<double-bounce@example.test>"
    assert copy.message["Auto-Submitted"] == "auto-generated"
    assert copy.message["Subject"] == "Postmaster Copy: Undelivered Mail"
    assert "sorry" not in copy.text and "<far@remote.test>: " in copy.text
    assert copy.original.get_content_type() == "text/rfc822-headers" and b"body " not in copy.raw
    assert copy.fields["X-Estafeta-Sender"] == "rfc822; alice@example.test"
    # a failure with nobody to hear of it: the envelope's sender is of ours, and does not exist
    ident = send(mail, "ghost@example.test", "far@remote.test")
    double = wait_notice(mail, "postmaster@example.test", ident)
    assert double.message["Return-Path"] == "<double-bounce@example.test>"
    assert double.fields["X-Estafeta-Sender"] == "rfc822; ghost@example.test"
    assert b"body " + ident.encode() in double.raw
    # and a notice that cannot be delivered
    ident = send(mail, "", "far@remote.test")
    assert "X-Estafeta-Sender" not in wait_notice(mail, "postmaster@example.test", ident).fields
    mail.wait_queue_empty()
    assert "postmaster non-delivery notification: " in mail.log_text()


def test_no_classes_no_copies(make_mail):
    mail = make_mail(SINK + "maximal_queue_lifetime = 0\nbounce_queue_lifetime = 0\n").start()
    for sender in ("alice@example.test", "ghost@example.test", ""):
        send(mail, sender, "far@remote.test")
    mail.wait_queue_empty()
    assert wait_until(lambda: len(mail.messages("alice@example.test")) == 1)
    assert not mail.messages("postmaster@example.test")


def test_late_and_on_its_way_again(make_mail):
    mail = make_mail("delay_warning_time = 1s\nconfirm_delay_cleared = yes\nnotify_classes = delay\n"
                     "delay_notice_recipient = bob@example.test\nsoft_bounce = yes\n")
    listener = socket.create_server((mail.ip, 2599))
    mail.estafeta("config", "-e", "relayhost=[%s]:2599" % mail.ip)
    refuses = threading.Event()
    refuses.set()

    def serve(c):
        f = c.makefile("rb")
        c.sendall(b"220 sink ESMTP\r\n")
        while (line := f.readline()):
            verb = line[:4].upper()
            if verb == b"DATA":
                c.sendall(b"354 go\r\n")
                while f.readline() != b".\r\n":
                    pass
            refuse = refuses.is_set() and verb == b"RCPT"
            c.sendall(b"550 5.1.1 no such user\r\n" if refuse else b"503 no\r\n" if refuses.is_set() and verb == b"DATA"
                      else b"250 ok\r\n")
        c.close()

    def accept():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(c,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        mail.start()
        ident = send(mail, "alice@example.test", "far@remote.test")
        late = wait_notice(mail, "alice@example.test", ident)
        assert late.message["Subject"] == "Delayed Mail (still being retried)"
        assert late.rcpts[0]["Action"] == "delayed" and late.rcpts[0]["Status"] == "4.1.1"
        assert late.rcpts[0]["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user" and "Will-Retry-Until" in late.rcpts[0]
        copy = wait_notice(mail, "bob@example.test", ident)
        assert copy.message["Subject"] == "Postmaster Warning: Delayed Mail"
        assert copy.original.get_content_type() == "text/rfc822-headers"
        refuses.clear()
        done = wait_until(lambda: [n for n in notices(mail, "alice@example.test") if n.rcpts[0]["Action"] == "relayed"])[0]
        assert ident.encode() in done.raw and done.message["Subject"] == "Successful Mail Delivery Report"
        mail.wait_queue_empty()
        assert len(notices(mail, "alice@example.test")) == 2 and len(notices(mail, "bob@example.test")) == 1
    finally:
        listener.close()


def test_beyond_ascii(make_instance):
    """RFC 6533: a sender beyond ASCII gets UTF-8; one of ASCII gets a notice that any server takes."""
    mail = make_instance(main_cf=FAST + SINK + "maximal_queue_lifetime = 0\n")
    mail.add_users("alice@example.test", "j\u00f6rg@example.test").start()
    content = "From: alice@example.test\r\nSubject: gr\u00fc\u00df dich\r\nX-Id: IDENT\r\n\r\n8 bits: \u00fc\r\n"
    utf8 = ["SMTPUTF8", "BODY=8BITMIME"]
    ident = send(mail, "j\u00f6rg@example.test", "b\u00fc@remote.test", utf8, content=content)
    n = wait_notice(mail, "j\u00f6rg@example.test", ident)
    text = n.raw.decode()
    assert "Content-Type: message/global-delivery-status" in text and "Content-Type: message/global\n" in text.replace("\r", "")
    assert "Final-Recipient: utf-8; b\u00fc@remote.test" in text and "Subject: gr\u00fc\u00df dich" in text
    ident = send(mail, "alice@example.test", "b\u00fc@remote.test", utf8, content=content)
    n = wait_notice(mail, "alice@example.test", ident)
    n.raw.decode("ascii")
    assert n.rcpts[0]["Final-Recipient"] == "utf-8; b\\x{FC}@remote.test"
    assert n.original.get_content_type() == "message/global" and n.original["Content-Transfer-Encoding"] == "quoted-printable"
    assert "<b\u00fc@remote.test>" in n.text
    # 8BITMIME without SMTPUTF8: the original as it is, and the notice says so
    ident = send(mail, "alice@example.test", "far@remote.test", ["BODY=8BITMIME"],
                 content="From: alice@example.test\r\nX-Id: IDENT\r\n\r\n8 bits: \u00fc\r\n")
    n = wait_notice(mail, "alice@example.test", ident)
    assert n.message["Content-Transfer-Encoding"] == "8bit" and n.original.get_content_type() == "message/rfc822"
    assert "8 bits: \u00fc".encode() in n.raw
    mail.wait_queue_empty()
