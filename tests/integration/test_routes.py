"""Where mail goes: transport_maps, the classes' transports, relayhost by sender, relay_domains; and what needs no server."""
import contextlib
import os
import smtplib
import time
import uuid

import pytest

from instance import DEADLINE, Instance, wait_until
from smtp_wire import Sink

FAST = "smtpd_peername_lookup = no\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\nsmtp_connect_timeout = 5s\n"
STRANGER = "127.0.0.9"
LISTENER = "%s:2526 inet n - y - 1 smtpd -o smtpd_reject_unlisted_recipient=no\n"
TABLES = {
    "transport": """\
user+ext@t.test smtp:{a}
user@t.test     smtp:{b}
t.test          relay:{c}
.t.test         :{d}
err.test        error:5.1.2 nobody lives here
plain.test      error
wait.test       retry:4.2.1 closed for today
bin.test        discard:5.0.0 straight into the bin
bin2.test       discard:
nop.test        :
away@example.test smtp:{a}
inner.relay.test smtp:{d}
""",
    "relay_domains": "tabled.test x\n",
    "relay_recipients": "known@relay.test x\n@sub.relay.test x\n@tabled.test x\n@inner.relay.test x\n",
    "relayhosts": "anna+x@s.test {a}\nanna@s.test {b}\n@s.test {c}\n<> {d}\n",
    "transports": "tina@s.test smtp:{a}\nspam@s.test error:5.7.1 not from you\ndunno@s.test DUNNO\n",
}
MAIN = FAST + """\
recipient_delimiter = +
relayhost = {gw}
relay_domains = relay.test, hash:$config_directory/relay_domains
relay_recipient_maps = hash:$config_directory/relay_recipients
transport_maps = hash:$config_directory/transport
sender_dependent_relayhost_maps = hash:$config_directory/relayhosts
sender_dependent_default_transport_maps = hash:$config_directory/transports
"""


class Sinks:
    def __init__(self, names):
        self.by_name = {name: Sink() for name in names}
        self.where = {name: "[%s]:%d" % s.where[:2] for name, s in self.by_name.items()}

    def close(self):
        for s in self.by_name.values():
            s.close()

    def of(self, ident):
        """Names of those who got it."""
        return [name for name, s in self.by_name.items() if any(ident.encode() in m[2] for m in list(s.messages))]


def write_table(mail, name, text):
    (mail.conf / name).write_text(text)
    mail.estafeta("map", "build", "hash:%s/%s" % (mail.conf, name))


def send(mail, rcpt, sender="x@elsewhere.test", port=2525, source="127.0.0.1"):
    ident = uuid.uuid4().hex
    with smtplib.SMTP(mail.ip, port, source_address=(source, 0), timeout=DEADLINE) as s:
        s.sendmail(sender, rcpt, "Subject: %s\r\n\r\n.\r\n" % ident)
    return ident


def rcpt(mail, address, sender="x@elsewhere.test", port=2525, source="127.0.0.1"):
    with smtplib.SMTP(mail.ip, port, source_address=(source, 0), timeout=DEADLINE) as s:
        s.ehlo()
        s.mail(sender)
        code, text = s.rcpt(address)
    return "%d %s" % (code, text.decode())


def reload(mail, *settings):
    for s in settings:
        mail.estafeta("config", "-e", s)
    mail.estafeta("reload")


@contextlib.contextmanager
def instance(names, main_cf, **kwargs):
    sinks = Sinks(names)
    try:
        with Instance(main_cf=main_cf.format(**sinks.where), **kwargs) as mail:
            mail.sinks = sinks
            with open(mail.conf / "master.cf", "a") as f:
                f.write(LISTENER % mail.ip)
            mail.add_users("alice@example.test", "away@example.test")
            yield mail
    finally:
        sinks.close()


@pytest.fixture(scope="module")
def mail():
    with instance(["gw", "a", "b", "c", "d"], MAIN) as m:
        for name, text in TABLES.items():
            write_table(m, name, text.format(**m.sinks.where))
        yield m.start()


# --- transport_maps, and by sender
@pytest.mark.parametrize("rcpt, sender, sink", [
    ("user+ext@t.test", "x@elsewhere.test", "a"),
    ("User+Other@T.test", "x@elsewhere.test", "b"),
    ("other+ext@t.test", "x@elsewhere.test", "c"),
    ("x@deep.below.t.test", "x@elsewhere.test", "d"),
    ("x@nop.test", "x@elsewhere.test", "gw"),
    ("x@none.test", "x@elsewhere.test", "gw"),
    ("away@example.test", "x@elsewhere.test", "a"),  # a mailbox here
    ("x@none.test", "anna+x@s.test", "a"),
    ("x@none.test", "anna+y@s.test", "b"),
    ("x@none.test", "any@s.test", "c"),
    ("x@none.test", "", "d"),
    ("x@none.test", "tina@s.test", "a"),
    ("x@none.test", "dunno@s.test", "c"),
    ("user@t.test", "anna+x@s.test", "b"),  # before those of the sender
    ("known@relay.test", "x@elsewhere.test", "gw"),
    ("known@relay.test", "tina@s.test", "c"),  # default_transport is not for relay_domains, relayhosts are
    ("x@inner.relay.test", "x@elsewhere.test", "d"),
])
def test_the_way_of_one_recipient(mail, rcpt, sender, sink):
    ident = send(mail, rcpt, sender)
    wait_until(lambda: mail.sinks.of(ident))
    mail.wait_queue_empty()
    assert mail.sinks.of(ident) == [sink]


def test_each_recipient_of_a_message_has_its_own_way(mail):
    ident = send(mail, ["user+ext@t.test", "user@t.test", "x@none.test", "alice@example.test"])
    wait_until(lambda: sorted(mail.sinks.of(ident)) == ["a", "b", "gw"])
    wait_until(lambda: any(ident.encode() in m for m in mail.messages("alice@example.test")))


def test_a_thousand_recipients(mail):
    started = time.monotonic()
    ident = send(mail, ["u%d@%s" % (i, "t.test" if i % 2 else "none.test") for i in range(1000)])
    wait_until(lambda: sum(len(m[1]) for s in mail.sinks.by_name.values() for m in list(s.messages) if ident.encode() in m[2]) == 1000)
    assert time.monotonic() - started < 10
    assert sorted(mail.sinks.of(ident)) == ["c", "gw"]
    mail.wait_queue_empty()


# --- what needs no server
@pytest.mark.parametrize("rcpt_to, reply", [
    ("x@err.test", "550 5.1.2 <x@err.test>: Recipient address rejected: nobody lives here"),
    ("x@plain.test", "550 5.1.1 <x@plain.test>: Recipient address rejected: Address is undeliverable"),
    ("x@wait.test", "450 4.2.1 <x@wait.test>: Recipient address rejected: closed for today"),
    ("x@bin.test", "250 2.1.5 Ok"),
])
def test_the_answer_at_rcpt(mail, rcpt_to, reply):
    assert rcpt(mail, rcpt_to) == reply


def log_of(mail, address):
    return [line for line in mail.log_text().splitlines() if "to=<%s>" % address in line]


@pytest.mark.parametrize("sender, rcpt_to, agent, outcome", [
    ("alice@example.test", "1@err.test", "error", "dsn=5.1.2, status=bounced (nobody lives here)"),
    ("alice@example.test", "1@plain.test", "error", "dsn=5.0.0, status=bounced (Address is undeliverable)"),
    ("alice@example.test", "1@wait.test", "error", "dsn=4.2.1, status=deferred (closed for today)"),
    ("alice@example.test", "1@bin.test", "discard", "dsn=2.0.0, status=sent (straight into the bin)"),
    ("alice@example.test", "1@bin2.test", "discard", "dsn=2.0.0, status=sent (bin2.test)"),
    ("spam@s.test", "1@none.test", "error", "dsn=5.7.1, status=bounced (not from you)"),
])
def test_the_answer_in_the_queue(mail, sender, rcpt_to, agent, outcome):
    ident = send(mail, rcpt_to, sender, port=2526)
    line = wait_until(lambda: log_of(mail, rcpt_to))[0]
    assert "postfix/%s[" % agent in line and ", relay=none, " in line and line.endswith(outcome), line
    if "bounced" in outcome and sender == "alice@example.test":
        report = wait_until(lambda: [m for m in mail.messages(sender) if ident.encode() in m])[0]
        assert outcome.split("(")[1].rstrip(")").encode() in report and rcpt_to.encode() in report
    if "deferred" in outcome:
        assert [q["recipients"][0]["delay_reason"] for q in mail.queue()] == ["closed for today"]
        mail.estafeta("queue", "delete", "ALL")
    mail.wait_queue_empty()


# --- relay_domains
@pytest.mark.parametrize("address, reply", [
    ("known@relay.test", "250 2.1.5 Ok"),
    ("Known+Ext@Relay.test", "250 2.1.5 Ok"),
    ("nobody@relay.test", "550 5.1.1 <nobody@relay.test>: Recipient address rejected: User unknown in relay recipient table"),
    ("x@sub.relay.test", "250 2.1.5 Ok"),
    ("x@other.relay.test", "550 5.1.1 <x@other.relay.test>: Recipient address rejected: User unknown in relay recipient table"),
    ("x@tabled.test", "250 2.1.5 Ok"),
    ("x@foreign.test", "554 5.7.1 <x@foreign.test>: Relay access denied"),
    ("x@notrelay.test", "554 5.7.1 <x@notrelay.test>: Relay access denied"),
    ("nobody@example.test", "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in virtual mailbox table"),
])
def test_mail_of_strangers(mail, address, reply):
    assert rcpt(mail, address, source=STRANGER) == reply


def test_a_stranger_s_mail_is_relayed(mail):
    ident = send(mail, "known@relay.test", source=STRANGER)
    wait_until(lambda: mail.sinks.of(ident) == ["gw"])
    mail.wait_queue_empty()


# --- the admin changes something
@pytest.fixture
def own():
    """An instance to be changed: everything foreign goes to gw."""
    with instance(["gw", "a", "b"], FAST + "relayhost = {gw}\n") as m:
        write_table(m, "transport", "never.test :\n")
        yield m


def test_subdomains_of_relay_domains(own):
    own.estafeta("config", "-e", "relay_domains=relay.test, .dotted.test")
    own.start()
    assert rcpt(own, "any@sub.relay.test", source=STRANGER).startswith("250")
    assert rcpt(own, "any@sub.dotted.test", source=STRANGER).startswith("554")
    reload(own, "parent_domain_matches_subdomains=smtpd_access_maps")
    wait_until(lambda: rcpt(own, "any@sub.relay.test", source=STRANGER).startswith("554"))
    assert rcpt(own, "any@relay.test", source=STRANGER).startswith("250")
    assert rcpt(own, "any@sub.dotted.test", source=STRANGER).startswith("250")
    assert rcpt(own, "any@dotted.test", source=STRANGER).startswith("554")


def test_the_transport_of_each_class(own):
    where = own.sinks.where
    for setting in ("relay_domains=relay.test", "virtual_transport=smtp:" + where["a"], "relay_transport=relay:" + where["b"]):
        own.estafeta("config", "-e", setting)
    own.start()
    for address, sink in (("alice@example.test", "a"), ("x@relay.test", "b"), ("x@foreign.test", "gw")):
        ident = send(own, address)
        wait_until(lambda i=ident: own.sinks.of(i))
        assert own.sinks.of(ident) == [sink]
    assert own.messages("alice@example.test") == []
    assert rcpt(own, "nobody@example.test").startswith("550 5.1.1")
    reload(own, "default_transport=error:5.4.4 no way out", "relay_transport=retry:the link is down", "virtual_transport=discard:gone")
    wait_until(lambda: rcpt(own, "x@foreign.test") == "550 5.4.4 <x@foreign.test>: Recipient address rejected: no way out")
    assert rcpt(own, "x@relay.test", source=STRANGER) == "450 4.1.1 <x@relay.test>: Recipient address rejected: the link is down"
    send(own, ["1@relay.test", "alice@example.test"], "", port=2526)
    line = wait_until(lambda: log_of(own, "1@relay.test"))[0]
    assert "postfix/error[" in line and line.endswith("dsn=4.0.0, status=deferred (the link is down)")
    line = wait_until(lambda: [x for x in log_of(own, "alice@example.test") if "discard" in x])[0]
    assert "postfix/discard[" in line and line.endswith("status=sent (gone)")
    # what has waited goes the new way
    reload(own, "relay_transport=relay:" + where["b"])
    wait_until(lambda: any(b"1@relay.test" in m[1][0] for m in list(own.sinks.by_name["b"].messages)))
    own.wait_queue_empty()


def test_a_corrected_table_reaches_queued_mail(own):
    """Neither a transport that there is not, nor a table that cannot be read, loses a message or sends it elsewhere."""
    own.estafeta("config", "-e", "transport_maps=hash:$config_directory/transport")
    write_table(own, "transport", "slow.test slow:\n")
    own.start()
    ident = send(own, "x@slow.test")
    reason = wait_until(lambda: [q["recipients"][0]["delay_reason"] for q in own.queue() if "delay_reason" in q["recipients"][0]])
    assert reason == ["mail transport unavailable"]
    assert "dsn=4.3.0, status=deferred (mail transport unavailable)" in log_of(own, "x@slow.test")[0]
    assert 'transport_maps: "slow:": there is no transport "slow"' in own.log_text()
    db = own.conf / "transport.db"
    db.write_bytes(b"garbage")  # in place
    own.estafeta("queue", "flush")
    wait_until(lambda: any("address lookup failed" in x for x in log_of(own, "x@slow.test")))
    assert rcpt(own, "x@foreign.test").startswith("451 4.3.0")
    assert own.sinks.of(ident) == []
    os.unlink(db)
    write_table(own, "transport", "slow.test smtp:%s\n" % own.sinks.where["a"])
    wait_until(lambda: own.sinks.of(ident) == ["a"])
    own.wait_queue_empty()


@pytest.mark.parametrize("setting, fault", [
    ("default_transport = slow:", 'default_transport: there is no transport "slow"'),
    ("relay_transport =", 'relay_transport: there is no transport ""'),
    ("virtual_transport = lmtp:unix:private/dovecot-lmtp", "virtual_transport: lmtp:unix: is not there"),
    ("transport_maps = hash:$config_directory/missing", "transport_maps: there is no "),
    ("sender_dependent_relayhost_maps = hsah:x", 'sender_dependent_relayhost_maps: unsupported table type: "hsah"'),
    ("relay_domains = hash:$config_directory/missing", "relay_domains: there is no "),
    ("relay_domains = a.test, !b.test", 'relay_domains: "!b.test" is neither a domain nor a table'),
    ("relay_domains = /etc/domains", 'relay_domains: "/etc/domains" is neither a domain nor a table'),
    ("relay_recipient_maps = texthash:$config_directory/missing", "relay_recipient_maps: open "),
])
def test_check_names_what_is_wrong(mail, setting, fault):
    text = (mail.conf / "main.cf").read_text()
    try:
        (mail.conf / "main.cf").write_text(text + setting + "\n")
        r = mail.estafeta("check", check=False)
        assert r.returncode == 78
        assert "error: %s/main.cf:%d: %s" % (mail.conf, len(text.splitlines()) + 1, fault) in r.stderr, r.stderr
    finally:
        (mail.conf / "main.cf").write_text(text)


def test_check_looks_at_the_values_of_tables(mail):
    text = (mail.conf / "main.cf").read_text()
    try:
        (mail.conf / "odd").write_text("a.test smtp:x\nb.test slow:\nc.test :\n* lmtp:unix:/x\n")
        mail.estafeta("map", "build", "hash:%s/odd" % mail.conf)
        (mail.conf / "main.cf").write_text(text + "transport_maps = hash:$config_directory/odd\n")
        r = mail.estafeta("check", check=False)
        assert "%s/odd:2: there is no transport \"slow\"" % mail.conf in r.stderr, r.stderr
        assert "%s/odd:4: lmtp:unix: is not there" % mail.conf in r.stderr
        assert "odd:1" not in r.stderr and "odd:3" not in r.stderr
    finally:
        (mail.conf / "main.cf").write_text(text)
