"""A message travels from submission to mailbox through every daemon."""
import imaplib
import poplib
import smtplib

import pytest

from instance import wait_until

BODY = ("From: alice@example.test\r\nTo: bob@example.test\r\nSubject: %s\r\n\r\n"
        "Hello, Bob.\r\n.a dot line\r\n..two\r\nbye\r\n")


def submit(mail, subject, rcpt="bob@example.test", service="submission"):
    if service == "submissions":
        s = smtplib.SMTP_SSL(mail.ip, mail.port(service), context=mail.tls())
    else:
        s = smtplib.SMTP(mail.ip, mail.port(service))
        s.starttls(context=mail.tls())
    with s:
        s.login("alice@example.test", "secret")
        s.sendmail("alice@example.test", rcpt, BODY % subject)


def imap(mail, user="bob@example.test", service="imaps"):
    if service == "imaps":
        m = imaplib.IMAP4_SSL(mail.ip, mail.port(service), ssl_context=mail.tls())
    else:
        m = imaplib.IMAP4(mail.ip, mail.port(service))
        m.starttls(mail.tls())
    m.login(user, "secret")
    return m


def find(m, subject):
    m.select("INBOX")
    return m.search(None, "SUBJECT", '"%s"' % subject)[1][0].split()


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_submission_to_imap_and_pop3(mail, service):
    subject = "to the mailbox by " + service
    submit(mail, subject, service=service)
    m = imap(mail)
    number = wait_until(lambda: find(m, subject))[0]
    content = m.fetch(number, "(BODY.PEEK[])")[1][0][1]
    assert content.endswith((BODY % subject).encode())
    assert b"Return-Path: <alice@example.test>\r\n" in content
    assert b"Delivered-To: bob@example.test\r\n" in content
    m.logout()
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    p.user("bob@example.test")
    p.pass_("secret")
    found = [p.retr(n + 1)[1] for n in range(p.stat()[0])]
    assert any(b"\r\n".join(lines) + b"\r\n" == content for lines in found)
    p.quit()


def test_mx_port_takes_mail_for_us_only(mail):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.ehlo()
        assert s.mail("x@elsewhere.test")[0] == 250
        assert s.rcpt("someone@foreign.test")[0] == 554
        assert s.rcpt("nobody@example.test")[0] == 550
        assert s.rcpt("bob@example.test")[0] == 250
        assert s.data(BODY % "from outside")[0] == 250
    m = imap(mail, service="imap")
    wait_until(lambda: find(m, "from outside"))
    m.logout()


def test_wrong_password_is_refused_everywhere(mail):
    with smtplib.SMTP(mail.ip, mail.port("submission")) as s:
        s.starttls(context=mail.tls())
        with pytest.raises(smtplib.SMTPAuthenticationError):
            s.login("alice@example.test", "wrong")
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls())
    with pytest.raises(imaplib.IMAP4.error):
        m.login("bob@example.test", "wrong")
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls())
    p.user("bob@example.test")
    with pytest.raises(poplib.error_proto):
        p.pass_("wrong")


def test_submission_gets_what_is_missing_and_hides_the_client(make_instance):
    """RFC 6409 8: Message-ID, Date, and From as Postfix adds it; smtpd_sasl_hide_client."""
    i = make_instance(main_cf="smtpd_sasl_hide_client = yes\n")
    i.add_users("alice@example.test", "bob@example.test")
    i.start()
    with smtplib.SMTP(i.ip, i.port("submission"), local_hostname="secret.place") as s:
        s.starttls(context=i.tls())
        s.login("alice@example.test", "secret")
        s.sendmail("alice@example.test", "bob@example.test", "Subject: bare\r\n\r\ntext\r\n")
    (m,) = wait_until(lambda: i.messages("bob@example.test"))
    text = m.decode()
    assert "\nFrom: alice@example.test\n" in text and "\nDate: " in text and "\nMessage-Id: <" in text
    received = text[text.index("Received: "):text.index("\nMessage-Id")]
    assert "secret.place" not in received and "from mail.example.test (localhost [127.0.0.1])" in received
