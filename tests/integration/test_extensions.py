"""SMTP's extensions and LMTP from the wire to the mailbox, through every daemon."""
import socket

import sample
from instance import wait_until

SERVICES = sample.MASTER_CF + """
lmtp            unix n - y - - smtpd -o smtpd_lmtp=yes
{ip}:2526       inet n - y - 1 smtpd -o smtpd_upstream_proxy_protocol=haproxy
"""
UMLAUT_DOMAIN = "b\u00fccher.example"


class Talk:
    """A client that knows nothing of the protocol but where a reply ends."""

    def __init__(self, sock):
        sock.settimeout(20)
        self.sock, self.file = sock, sock.makefile("rb")

    def reply(self):
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines).decode()

    def say(self, line, expect):
        self.sock.sendall(line if isinstance(line, bytes) else line.encode() + b"\r\n")
        reply = self.reply()
        assert reply.splitlines()[-1].startswith(expect), (line, reply)
        return reply


def test_utf8_address_in_one_mailbox_by_every_spelling(make_instance):
    mail = make_instance(main_cf="virtual_mailbox_domains = example.test, %s\n" % UMLAUT_DOMAIN)
    mail.add_user("j\u00f6rg@" + UMLAUT_DOMAIN)
    mail.start()
    for address in ["j\u00f6rg@" + UMLAUT_DOMAIN, "jo\u0308rg@xn--bcher-kva.example"]:
        c = Talk(mail.connect())
        assert c.reply().startswith("220")
        for keyword in ["SMTPUTF8", "CHUNKING", "DSN", "8BITMIME"]:
            assert keyword in c.say("EHLO c.example", "250")
        c.say("MAIL FROM:<\u00e4@sender.example> SMTPUTF8 BODY=8BITMIME", "250")
        c.say("RCPT TO:<%s>" % address, "250")
        content = "Subject: gr\u00fc\u00df dich\r\n\r\nhello\r\n..\r\n".encode()
        c.say(b"BDAT %d LAST\r\n" % len(content) + content, "250")
        c.say("QUIT", "221")
    boxes = wait_until(lambda: (m := mail.messages("j\u00f6rg@xn--bcher-kva.example")) and len(m) == 2 and m)
    for text in boxes:
        assert "with UTF8SMTP id".encode() in text
        assert "Subject: gr\u00fc\u00df dich".encode() in text
        assert text.endswith(b"hello\n..\n") or text.endswith(b"hello\r\n..\r\n")


def test_lmtp_over_a_unix_socket(make_instance):
    mail = make_instance(master_cf=SERVICES).add_users("alice@example.test", "bob@example.test").start()
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(mail.dir / "queue" / "public" / "lmtp"))
    c = Talk(s)
    assert c.reply().startswith("220")
    c.say("EHLO c.example", "500")
    c.say("LHLO c.example", "250")
    c.say("MAIL FROM:<a@sender.example>", "250")
    c.say("RCPT TO:<alice@example.test>", "250")
    c.say("RCPT TO:<nobody@example.test>", "550")
    c.say("RCPT TO:<bob@example.test>", "250")
    c.say("DATA", "354")
    c.say("Subject: by lmtp\r\n\r\nhello\r\n.", "250")
    assert c.reply().startswith("250")
    c.say("QUIT", "221")
    for who in ["alice@example.test", "bob@example.test"]:
        [text] = wait_until(lambda: mail.messages(who))
        assert b"with LMTP id" in text and b"Subject: by lmtp" in text
    mail.estafeta("reload")
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(mail.dir / "queue" / "public" / "lmtp"))
    assert Talk(s).reply().startswith("220")


def test_the_proxy_names_the_client(make_instance):
    mail = make_instance(master_cf=SERVICES).add_users("alice@example.test").start()
    c = Talk(socket.create_connection((mail.ip, 2526), timeout=20))
    c.say("PROXY TCP4 192.0.2.77 198.51.100.1 4711 25", "220")
    c.say("EHLO c.example", "250")
    c.say("MAIL FROM:<a@sender.example>", "250")
    c.say("RCPT TO:<x@elsewhere.example>", "554")
    mail.wait_log("from unknown[192.0.2.77]: 554")


def test_every_domain_has_a_postmaster(make_instance):
    """RFC 5321 4.5.1: one alias is enough."""
    mail = make_instance(main_cf="virtual_mailbox_domains = example.test, second.test\n", virtual="postmaster bob@example.test\n")
    mail.add_users("bob@example.test", "postmaster@second.test")
    mail.start()
    c = Talk(socket.create_connection((mail.ip, mail.port("smtp")), source_address=("127.0.0.2", 0)))
    assert c.reply().startswith("220")
    c.say("EHLO c.example", "250")
    for rcpt in ["postmaster", "PostMaster", "POSTMASTER@example.test", "postmaster@mail.example.test", "postmaster@second.test"]:
        c.say("MAIL FROM:<a@sender.example>", "250")
        # $myhostname alone is no domain of this instance
        if rcpt.endswith("@mail.example.test"):
            c.say("RCPT TO:<%s>" % rcpt, "554")
            c.say("RSET", "250")
            continue
        c.say("RCPT TO:<%s>" % rcpt, "250")
        c.say("DATA", "354")
        c.say("Subject: to %s\r\n\r\nhello\r\n." % rcpt, "250")
    c.say("MAIL FROM:<a@sender.example>", "250")
    c.say("RCPT TO:<postmaster@elsewhere.example>", "554")
    c.say("RCPT TO:<hostmaster@example.test>", "550")
    wait_until(lambda: len(mail.messages("bob@example.test")) == 3 and len(mail.messages("postmaster@second.test")) == 1)


def test_lmtp_client_and_server(make_instance):
    """RFC 2033 4.2, from both sides: a filter that speaks LMTP gets the message, and each recipient has an answer of its own."""
    mail = make_instance(
        master_cf=sample.MASTER_CF + "{ip}:2424 inet n - y - 1 smtpd -o smtpd_lmtp=yes -o content_filter=\n",
        main_cf="virtual_alias_maps = inline:{ {list@example.test = bob@example.test ghost@example.test} }\n")
    mail.estafeta("config", "-e", "content_filter=lmtp:inet:[%s]:2424" % mail.ip)
    mail.add_users("bob@example.test").start()
    c = Talk(mail.connect())
    assert c.reply().startswith("220")
    c.say("EHLO c.example", "250")
    c.say("MAIL FROM:<>", "250")
    c.say("RCPT TO:<list@example.test>", "250")
    c.say("DATA", "354")
    c.say("Subject: filtered\r\n\r\nhello\r\n.", "250")
    c.say("QUIT", "221")
    [text] = wait_until(lambda: mail.messages("bob@example.test"))
    assert b"with LMTP id" in text and b"Subject: filtered" in text
    mail.wait_queue_empty()
    lines = [x for x in mail.log_text().splitlines() if "postfix/lmtp[" in x]
    assert any("to=<bob@example.test>" in x and ":2424, " in x and "status=sent" in x for x in lines), lines
    assert any("to=<ghost@example.test>" in x and "status=bounced" in x for x in lines), lines
