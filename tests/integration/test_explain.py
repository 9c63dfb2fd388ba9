"""estafeta explain -j against the log of the same message sent for real; and that it leaves no trace itself."""
import json
import os
import re
import signal
import smtplib
import socket
import subprocess
import time

import pytest

import dns_server
import frames
from instance import BUILD, DEADLINE, Instance, wait_until
from smtp_wire import Sink

STRANGER = "127.0.0.9"
ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
MAIN = """\
mydestination = $myhostname
recipient_delimiter = +
relayhost = {relay}
relay_domains = relay.test
relay_recipient_maps = inline:{{ {{known@relay.test=x}} }}
virtual_mailbox_domains = example.test, second.test
message_size_limit = 1000000
smtp_connect_timeout = 5s
smtp_mta_sts = no
alias_maps = hash:$config_directory/aliases
alias_database = hash:$config_directory/aliases
smtpd_sender_restrictions = check_sender_access hash:$config_directory/senders
smtpd_recipient_restrictions = check_recipient_access hash:$config_directory/recipients
smtpd_data_restrictions = check_sender_access inline:{{ {{data@f.test=REJECT no data from you}} }}, reject_multi_recipient_bounce
smtpd_end_of_data_restrictions = check_sender_access inline:{{ {{eod@f.test=DEFER not now}}, {{eodhold@f.test=HOLD}} }}
smtpd_restriction_classes = strict
strict = reject_non_fqdn_sender, check_client_access inline:{{ {{127.0.0.8=OK}} }}, reject
smtpd_sender_login_maps = inline:{{ {{alice@example.test=alice@example.test}}, {{owned@f.test=somebody@example.test}} }}
smtpd_reject_unlisted_sender = no
header_checks = regexp:$config_directory/header_checks
canonical_maps = inline:{{ {{old@example.test=alice@example.test}}, {{first@f.test=second@f.test}}, {{second@f.test=third@f.test}} }}
sender_canonical_maps = inline:{{ {{canon@f.test=named@f.test}} }}
recipient_canonical_maps = inline:{{ {{moved@example.test=away@elsewhere.test}} }}
masquerade_domains = mask.test
sender_bcc_maps = inline:{{ {{copied@f.test=carol@example.test}} }}
recipient_bcc_maps = inline:{{ {{bob+watched@example.test=carol+bob@example.test}} }}
transport_maps = hash:$config_directory/transport
sender_dependent_relayhost_maps = inline:{{ {{anna@s.test={other}}} }}
sender_dependent_default_transport_maps = inline:{{ {{spam@s.test=error:5.7.1 not from you}}, {{tina@s.test=smtp:{other}}} }}
smtp_tls_policy_maps = inline:{{ {{{strict}=encrypt}}, {{{bare}=none}}, {{{wrong}=secure tafile=/x}}, {{dane.test=dane}} }}
destination_limit_maps = inline:{{ {{{bare}=concurrency=3 rate=10/1h recipients=7}} }}
tenant_limit_maps = inline:{{ {{@tenant.test=concurrency=4 rate=500/1h}} }}
"""
VIRTUAL = """\
postmaster alice@example.test
list@example.test alice@example.test, inner@example.test, far@elsewhere.test
inner@example.test bob@example.test, carol@example.test
loop@example.test pool@example.test
pool@example.test loop@example.test
ghost@example.test nobody@example.test
@second.test bob@example.test
"""
ALIASES = """\
team: bob, far@team.test
owner-team: alice@example.test
bob: bob@example.test
program: |/usr/bin/procmail
files: :include:{conf}/members
"""
SENDERS = """\
reject@f.test    REJECT not you
code@f.test      550 5.7.9 nobody of f.test
defer@f.test     DEFER come again
deferif@f.test   DEFER_IF_PERMIT maybe later
deferrej@f.test  defer_if_reject, reject
ok@f.test        OK
hold@f.test      HOLD for a look
gone@f.test      DISCARD
redirect@f.test  REDIRECT carol@example.test
bcc@f.test       BCC carol@example.test
filter@f.test    FILTER smtp:{other}
prepend@f.test   PREPEND X-Seen: by restrictions
warn@f.test      WARN look at this
info@f.test      INFO look at that
strict@f.test    strict
plain@f.test     reject_plaintext_session
client@f.test    reject_unknown_client_hostname
reverse@f.test   reject_unknown_reverse_client_hostname
helo@f.test      reject_unknown_helo_hostname
fqhelo@f.test    reject_non_fqdn_helo_hostname
badhelo@f.test   reject_invalid_helo_hostname
heloacc@f.test   check_helo_access inline:{{{{evil.test=REJECT your name}}}}
revacc@f.test    check_reverse_client_hostname_access inline:{{{{fake.client.test=REJECT your name}}}}
domain@none.test reject_unknown_sender_domain
domain@null.test reject_unknown_sender_domain
domain@good.test reject_unknown_sender_domain
mx@good.test     check_sender_mx_access inline:{{{{mx.good.test=REJECT your mail server}}}}
rcptdom@f.test   reject_unknown_recipient_domain
fqrcpt@f.test    reject_non_fqdn_recipient
bare@short       reject_non_fqdn_sender
rbl@f.test       reject_rbl_client bl.test=127.0.0.2
dnswl@f.test     permit_dnswl_client wl.test, reject
rhs@listed.test  reject_rhsbl_sender rhs.test
warnif@f.test    warn_if_reject reject
owned@f.test     reject_sender_login_mismatch
alice@example.test reject_sender_login_mismatch
relays@f.test    permit_auth_destination, reject
sasl@f.test      check_sasl_access inline:{{{{alice@example.test=REJECT no more}}}}
"""
RECIPIENTS = """\
closed@example.test 451 4.2.0 closed for today
taken@example.test  REJECT gone away
"""
TRANSPORT = """\
other.test   smtp:{other}
strict.test  smtp:{strict}
bare.test    smtp:{bare}
wrong.test   smtp:{wrong}
lmtp.test    lmtp:inet:{other}
err.test     error:5.1.2 nobody lives here
wait.test    retry:4.2.1 closed for today
bin.test     discard:into the bin
odd.test     nonsense:x
.below.test  smtp:{other}
dane.test    smtp:dane.test
user@u.test  smtp:{other}
"""
LISTENERS = """\
{ip}:2530 inet n - y - 1 smtpd -o smtpd_delay_reject=no -o smtpd_client_restrictions=check_client_access,inline:{{127.0.0.7=REJECT}} -o smtpd_sender_restrictions=
{ip}:2531 inet n - y - 1 smtpd -o smtpd_reject_unlisted_recipient=no -o smtpd_recipient_restrictions=
{ip}:2532 inet n - y - 1 smtpd -o soft_bounce=yes
{ip}:2533 inet n - y - 1 smtpd -o smtpd_tls_security_level=encrypt
{ip}:2534 inet n - y - 1 smtpd -o smtpd_recipient_limit=2
{ip}:2535 inet n - y - 1 smtpd -o content_filter=smtp:{other}
{ip}:2536 inet n - y - 1 smtpd -o smtpd_end_of_data_restrictions=check_policy_service,inet:127.0.0.1:9
{ip}:2537 inet n - y - 1 smtpd -o smtpd_milters=inet:127.0.0.1:9 -o milter_default_action=accept -o smtpd_recipient_restrictions=check_greylist,sleep,1
"""
ZONES = {
    "0.0.127.in-addr.arpa": "21 IN PTR good.client.test.\n22 IN PTR fake.client.test.\n",
    "client.test": "good IN A 127.0.0.21\nfake IN A 127.0.0.99\n",
    "good.test": "@ IN MX 10 mx\nmx IN A 127.0.0.200\n",
    "null.test": "@ IN MX 0 .\n",
    "none.test": "other IN A 127.0.0.1\n",
    "bl.test": "31.0.0.127 IN A 127.0.0.2\n31.0.0.127 IN TXT \"sends spam\"\n33.0.0.127 IN A 127.0.0.9\n",
    "wl.test": "32.0.0.127 IN A 127.0.0.2\n",
    "rhs.test": "listed.test IN A 127.0.0.2\n",
    "f.test": "@ IN A 127.0.0.1\n",
}


def fixture(name, sender="x@f.test", *rcpts, **more):
    return pytest.param(dict(sender=sender, rcpts=rcpts or (ALICE,), **more), id=name)


LOCAL = {"client": "127.0.0.1"}
FIXTURES = [
    # restrictions: access tables
    fixture("accepted"),
    fixture("access-reject", "reject@f.test"),
    fixture("access-code", "code@f.test"),
    fixture("access-parent-domain", "x@sub.code.test", "x@foreign.test"),
    fixture("access-defer", "defer@f.test"),
    fixture("access-defer-if-permit", "deferif@f.test"),
    fixture("access-defer-if-reject", "deferrej@f.test"),
    fixture("access-ok-relays-nothing", "ok@f.test", "x@foreign.test"),
    fixture("access-hold", "hold@f.test"),
    fixture("access-discard", "gone@f.test"),
    fixture("access-redirect", "redirect@f.test", ALICE, BOB),
    fixture("access-bcc", "bcc@f.test"),
    fixture("access-filter", "filter@f.test"),
    fixture("access-prepend", "prepend@f.test"),
    fixture("access-warn", "warn@f.test"),
    fixture("access-info", "info@f.test"),
    fixture("access-class", "strict@f.test"),
    fixture("access-class-permits", "strict@f.test", client="127.0.0.8"),
    fixture("access-recipient", "x@f.test", "closed@example.test", "taken@example.test", ALICE),
    fixture("access-helo", "heloacc@f.test", helo="evil.test"),
    fixture("access-reverse-name", "revacc@f.test", client="127.0.0.22"),
    fixture("access-sender-mx", "mx@good.test"),
    fixture("access-sasl", "sasl@f.test", port=2587, login=ALICE),
    # restrictions: clients, names, addresses
    fixture("no-client-name", "client@f.test"),
    fixture("client-name", "client@f.test", client="127.0.0.21"),
    fixture("client-name-unverified", "client@f.test", client="127.0.0.22"),
    fixture("no-reverse-name", "reverse@f.test"),
    fixture("reverse-name", "reverse@f.test", client="127.0.0.22"),
    fixture("no-helo-host", "helo@f.test", helo="none.test"),
    fixture("helo-host", "helo@f.test", helo="good.test"),
    fixture("helo-not-qualified", "fqhelo@f.test", helo="short"),
    fixture("helo-invalid", "badhelo@f.test", helo="a..b"),
    fixture("no-sender-domain", "domain@none.test"),
    fixture("null-mx-sender", "domain@null.test"),
    fixture("sender-domain", "domain@good.test"),
    fixture("no-recipient-domain", "rcptdom@f.test", "x@none.test", **LOCAL),
    fixture("recipient-not-qualified", "fqrcpt@f.test", "x@short", **LOCAL),
    fixture("sender-not-qualified", "bare@short"),
    fixture("plaintext", "plain@f.test"),
    fixture("tls", "plain@f.test", port=2525, tls=True),
    fixture("warn-if-reject", "warnif@f.test"),
    fixture("dns-list", "rbl@f.test", client="127.0.0.31"),
    fixture("dns-list-other-answer", "rbl@f.test", client="127.0.0.33"),
    fixture("dns-list-not-listed", "rbl@f.test"),
    fixture("dns-allow-list", "dnswl@f.test", client="127.0.0.32"),
    fixture("dns-allow-list-not-listed", "dnswl@f.test"),
    fixture("domain-list", "rhs@listed.test"),
    # who may send where
    fixture("relay-denied", "x@f.test", "x@foreign.test"),
    fixture("mynetworks", "x@f.test", "x@foreign.test", **LOCAL),
    fixture("permit-auth-destination", "relays@f.test", ALICE, "known@relay.test", "x@foreign.test", **LOCAL),
    fixture("login", ALICE, "x@foreign.test", port=2587, login=ALICE),
    fixture("submission-without-login", ALICE, "x@foreign.test", port=2587, tls=True),
    fixture("submission-without-tls", ALICE, "x@foreign.test", port=2587),
    fixture("wrapped-submission", ALICE, BOB, port=2465, login=ALICE),
    fixture("login-of-another", "owned@f.test", port=2587, login=ALICE),
    fixture("owner-not-logged-in", ALICE),
    fixture("relay-recipient", "x@f.test", "known@relay.test", "nobody@relay.test"),
    # addresses
    fixture("unknown-user", "x@f.test", "nobody@example.test", BOB),
    fixture("extension", "x@f.test", "alice+some@example.test"),
    fixture("null-sender", ""),
    fixture("null-sender-two-recipients", "", ALICE, BOB),
    fixture("bad-sender", "a b@@f.test"),
    fixture("bad-recipient", "x@f.test", "a@b@c d", ALICE),
    fixture("sender-without-domain", "root"),
    fixture("utf8", "j\u00f6rg@f.test", "\u00fcser@other.test", **LOCAL),
    fixture("postmaster", "x@f.test", "postmaster"),
    fixture("size-announced", "x@f.test", size=2000000),
    fixture("size-fits", "x@f.test", size=20000),
    # what they become
    fixture("virtual-alias", "x@f.test", "list@example.test"),
    fixture("virtual-alias-loop", "x@f.test", "loop@example.test"),
    fixture("virtual-alias-to-nobody", "x@f.test", "ghost@example.test"),
    fixture("catch-all", "x@f.test", "whoever@second.test"),
    fixture("same-mailbox-twice", "x@f.test", "whoever@second.test", BOB),
    fixture("alias-with-owner", "x@f.test", "team@mail.example.test"),
    fixture("alias-to-program", "x@f.test", "program@mail.example.test"),
    fixture("alias-to-file-of-names", "x@f.test", "files@mail.example.test"),
    fixture("canonical-recipient", "x@f.test", "old@example.test"),
    fixture("canonical-leads-away", "x@f.test", "moved@example.test"),
    fixture("canonical-sender", "canon@f.test"),
    fixture("canonical-sender-recursive", "first@f.test"),
    fixture("masquerade", "x@host.mask.test", "x@foreign.test", **LOCAL),
    fixture("sender-bcc", "copied@f.test"),
    fixture("recipient-bcc", "x@f.test", "bob+watched@example.test"),
    # routes
    fixture("relayhost", "x@f.test", "r@foreign.test", **LOCAL),
    fixture("transport", "x@f.test", "x@other.test", "x@deep.below.test", "user@u.test", "other@u.test", **LOCAL),
    fixture("transport-lmtp", "x@f.test", "x@lmtp.test", **LOCAL),
    fixture("transport-error", "x@f.test", "x@err.test", **LOCAL),
    fixture("transport-error-queued", "x@f.test", "x@err.test", port=2531, **LOCAL),
    fixture("transport-retry", "x@f.test", "x@wait.test", **LOCAL),
    fixture("transport-retry-queued", "x@f.test", "x@wait.test", port=2531, **LOCAL),
    fixture("transport-discard", "x@f.test", "x@bin.test", **LOCAL),
    fixture("transport-unknown", "x@f.test", "x@odd.test", **LOCAL),
    fixture("relayhost-of-sender", "anna@s.test", "x@foreign.test", **LOCAL),
    fixture("transport-of-sender", "tina@s.test", "x@foreign.test", **LOCAL),
    fixture("error-of-sender", "spam@s.test", "x@foreign.test", **LOCAL),
    fixture("unknown-user-queued", "x@f.test", "nobody@example.test", port=2531),
    fixture("content-filter", "x@f.test", ALICE, port=2535),
    # TLS policies, limits
    fixture("tls-required", "x@f.test", "x@strict.test", wants={"tls.level": "encrypt", "tls.policy": "encrypt"}, **LOCAL),
    fixture("tls-none", "x@f.test", "x@bare.test", wants={
        "tls.level": "none", "destination_limits.concurrency": 3, "destination_limits.rate": "10/3600s",
        "destination_limits.recipients": 7, "limits.concurrency": 20}, **LOCAL),
    fixture("tls-dane", "x@f.test", "x@dane.test", wants={"tls.level": "dane", "host": "dane.test", "mx": "yes"}, **LOCAL),
    fixture("tls-policy-broken", "x@f.test", "x@wrong.test", **LOCAL),
    fixture("tenant-limit", "x@tenant.test", BOB),
    # the content, and what comes before and after it
    fixture("data-restriction", "data@f.test"),
    fixture("end-of-data-restriction", "eod@f.test"),
    fixture("end-of-data-hold", "eodhold@f.test"),
    fixture("header-check-reject", "x@f.test", subject="buy this"),
    fixture("header-check-hold", "x@f.test", subject="look at this"),
    fixture("header-check-redirect", "x@f.test", subject="for carol"),
    # other services
    fixture("refused-at-helo", "x@f.test", port=2530, client="127.0.0.7"),
    fixture("not-delayed", "x@f.test", port=2530),
    fixture("soft-bounce", "reject@f.test", port=2532),
    fixture("tls-demanded", "x@f.test", port=2533),
    fixture("tls-demanded-and-there", "x@f.test", port=2533, tls=True),
    fixture("too-many-recipients", "x@f.test", ALICE, BOB, CAROL, port=2534),
]


@pytest.fixture(scope="module")
def mail():
    dns = dns_server.NameServer(ZONES).start()
    sinks = {name: Sink() for name in ("relay", "other", "strict", "bare", "wrong")}
    where = {name: "[%s]:%d" % s.where[:2] for name, s in sinks.items()}
    with Instance(main_cf=MAIN.format(**where), dns=dns.forwarder, virtual=VIRTUAL) as m:
        for name, text in (("senders", SENDERS + "code.test REJECT of code.test\n.code.test REJECT below code.test\n"),
                           ("recipients", RECIPIENTS), ("transport", TRANSPORT), ("aliases", ALIASES)):
            (m.conf / name).write_text(text.format(conf=m.conf, **where))
            m.estafeta("map", "build", "hash:%s/%s" % (m.conf, name))
        (m.conf / "members").write_text("carol@example.test, m1@team.test\n")
        (m.conf / "header_checks").write_text("/^Subject: buy/ REJECT no adverts\n/^Subject: look/ HOLD\n"
                                              "/^Subject: for carol/ REDIRECT carol@example.test\n")
        with open(m.conf / "master.cf", "a") as f:
            f.write(LISTENERS.format(ip=m.ip, **where))
        m.add_users(ALICE, BOB, CAROL, "closed@example.test", "taken@example.test")
        m.sinks = sinks
        yield m.start()
    for s in sinks.values():
        s.close()
    dns.close()


def explain(mail, *args, check=True):
    r = mail.estafeta("explain", "-j", *args, check=False)
    assert not check or r.returncode == 0, r.stderr
    return json.loads(r.stdout) if r.returncode == 0 else r


def explain_case(mail, case, path):
    args = ["-s", str(case.get("port", 2525)), "--client", case.get("client", STRANGER), "--helo",
            case.get("helo", "client.test"), "-f", case["sender"] or "<>"]
    if case.get("tls") or case.get("login"):
        args += ["--tls"]
    if case.get("login"):
        args += ["--sasl", case["login"]]
    if case.get("size"):
        args += ["--size", str(case["size"])]
    path.write_text(message(case))
    return explain(mail, *args, "--message", str(path), *case["rcpts"])


def message(case):
    return "From: <a@f.test>\nTo: <b@f.test>\nSubject: %s\n\n.\ntext\n" % case.get("subject", "hi")


def reply(answer):
    code, text = answer
    return "%d %s" % (code, text.decode(errors="replace"))


class Real:
    """What a real client is told: (verb, reply) in turn."""

    def __init__(self, mail, case):
        self.told, self.ident, self.case = [], None, case
        port, helo = case.get("port", 2525), case.get("helo", "client.test")
        cls = smtplib.SMTP_SSL if port == 2465 else smtplib.SMTP
        more = {"context": mail.tls()} if port == 2465 else {}
        self.s = cls(mail.ip, port, local_hostname=helo, source_address=(case.get("client", STRANGER), 0),
                     timeout=DEADLINE, **more)
        with self.s:
            self.talk(mail, case, helo)

    def tell(self, verb, answer):
        self.told.append((verb, reply(answer)))
        return answer[0]

    def talk(self, mail, case, helo):
        s, utf8 = self.s, "" if (case["sender"] + "".join(case["rcpts"])).isascii() else " SMTPUTF8"
        if case.get("tls") or (case.get("login") and case.get("port") != 2465):
            s.ehlo(helo)
            s.starttls(context=mail.tls())
        if self.tell("EHLO", self.first_line(s.ehlo(helo))) != 250:
            return
        if case.get("login"):
            s.login(case["login"], "secret")
        s.command_encoding = "utf-8"
        size = " SIZE=%d" % case["size"] if case.get("size") else ""
        if self.tell("MAIL", s.docmd("MAIL FROM:<%s>%s%s" % (case["sender"], size, utf8))) != 250:
            return
        codes = [self.tell("RCPT", s.docmd("RCPT TO:<%s>" % r)) for r in case["rcpts"]]
        if 250 not in codes or self.tell("DATA", s.docmd("DATA")) != 354:
            return
        s.send(message(case).replace("\n.\n", "\n..\n").replace("\n", "\r\n").encode() + b".\r\n")
        code, text = s.getreply()
        self.told.append(("END-OF-MESSAGE", "%d %s" % (code, text.decode())))
        if code == 250:
            self.ident = text.decode().split()[-1]

    @staticmethod
    def first_line(answer):
        return answer[0], answer[1].split(b"\n")[0]


ATTEMPT = re.compile(r"postfix/(\w+)\[\d+\]: (\w+): to=<([^>]*)>,(?: orig_to=<([^>]*)>,)? relay=(\S+), .*"
                     r"dsn=([\d.]+), status=(\w+) \((.*)\)$")
FROM = re.compile(r"postfix/qmgr\[\d+\]: (\w+): from=<([^>]*)>, size=")


def log_quoted(text):
    return "".join(c if c.isascii() else "".join("\\%03o" % b for b in c.encode()) for c in text)


def attempts(mail, start):
    """{recipient: (tag, id, orig_to, relay, dsn, status, text)}, {id: sender} since then."""
    lines = mail.log_text()[start:].splitlines()
    found = [m for m in map(ATTEMPT.search, lines) if m]
    return ({m[3]: (m[1], m[2], m[4], m[5], m[6], m[7], m[8]) for m in found},
            {m[1]: m[2] for m in map(FROM.search, lines) if m})


def at(o, path):
    for name in path.split("."):
        o = o.get(name, {}) if isinstance(o, dict) else {}
    return o


def compare_recipient(r, out, got, senders):
    tag, ident, orig, relay, dsn, status, text = got
    assert senders[ident] == log_quoted(r.get("sender", out["sender"]))
    assert tag == r["transport"], r
    if "original" in r:
        assert (orig or log_quoted(r["address"])).lower() == log_quoted(r["original"]).lower()
    if "status" in r:
        assert (status, dsn) == (r["status"], r["dsn"]) and text == log_quoted(r["text"])
        return
    if tag == "virtual":
        assert (relay, status, dsn) == ("virtual", "sent", "2.0.0")
    elif tag == "lmtp":  # the sink does not speak it
        assert relay == "%s[%s]:%d" % (r["host"], r["host"], r["port"]) and status == "deferred"
    elif at(r, "tls.level") == "encrypt":
        assert status == "deferred" and "TLS is required, but was not offered" in text
    elif at(r, "tls.error"):
        assert status == "deferred" and text == "client TLS configuration problem"
    elif r["mx"] == "yes":  # whose hosts are nobody's
        assert tag == "smtp" and status == "deferred"
    else:
        assert status == "sent" and relay == "%s[%s]:%d" % (r["host"], r["host"], r["port"])


@pytest.mark.parametrize("case", FIXTURES)
def test_agrees_with_the_log(mail, case, tmp_path):
    out = explain_case(mail, case, tmp_path / "message")
    start = len(mail.log_text())
    real = Real(mail, case)
    commands = [(c["command"], " ".join(filter(None, (str(c["code"]), c["dsn"], c["text"]))))
                for c in out["commands"] if c["command"] not in ("CONNECT", "QUIT")]
    if real.told[-1][0] == "END-OF-MESSAGE" and real.ident:
        assert commands[-1][0] == "END-OF-MESSAGE"
        commands[-1] = real.told[-1] = ("END-OF-MESSAGE", "250")
    assert commands == real.told
    assert out["accepted"] == (real.ident is not None)
    if not out["accepted"]:
        assert out["recipients"] == []
        return
    for path, value in case.get("wants", {}).items():
        assert at(out["recipients"][0], path) == value
    if "discard" in out:
        assert real.ident not in {q["queue_id"] for q in mail.queue()}
        return
    if "hold" in out:
        row, = [q for q in mail.queue() if q["queue_id"] == real.ident]
        assert row["queue_name"] == "hold" and row["sender"] == out["sender"]
        assert sorted(r["address"] for r in row["recipients"]) == sorted(r["address"] for r in out["recipients"])
        return
    expected = {log_quoted(r["address"]): r for r in out["recipients"]}
    got, senders = wait_until(lambda: (lambda a: a if set(expected) <= set(a[0]) else None)(attempts(mail, start)),
                              what="attempts for %s" % sorted(expected))
    mine = {i for i, s in senders.items() if i == real.ident or any(g[1] == i for a, g in got.items() if a in expected)}
    assert {a for a, g in got.items() if g[1] in mine} == set(expected)
    for address, r in expected.items():
        compare_recipient(r, out, got[address], senders)
    for header in out["prepended"]:
        assert any(header.encode() in m for m in mail.messages(case["rcpts"][0]))


def steps(out, command):
    return [s for c in out["commands"] if c["command"] == command for s in c["steps"]]


def test_names_what_decided(mail):
    out = explain(mail, "--client", STRANGER, "-f", "reject@f.test", ALICE)
    table = "hash:%s/senders" % mail.conf
    assert {"step": "table", "table": table, "key": "reject@f.test", "result": "found", "value": "REJECT not you"} in steps(out, "RCPT")
    last = steps(out, "RCPT")[-1]
    assert (last["list"], last["name"], last["argument"], last["verdict"], last["code"], last["dsn"]) == (
        "smtpd_sender_restrictions", "check_sender_access", table, "REJECT", "554", "5.7.1")
    out = explain(mail, "-f", "x@tenant.test", "list@example.test")
    rcpt, = [c for c in out["commands"] if c["command"] == "RCPT"]
    found = [(x["table"], x["key"], x.get("value")) for x in rcpt["lookups"] if x["result"] == "found"]
    assert ("virtual_alias_maps", "inner@example.test", "bob@example.test, carol@example.test") in found
    assert ("user_database", ALICE, None) in found
    assert out["tenant_limits"] == {"tenant": "@tenant.test", "concurrency": 4, "rate": "500/3600s"}
    assert out["message_size_limit"] == 1000000
    out = explain(mail, "-f", "canon@f.test", "x@other.test")
    mail_from, = [c for c in out["commands"] if c["command"] == "MAIL"]
    assert mail_from["rewritten"] == out["sender"] == "named@f.test"
    assert [x["key"] for x in out["recipients"][0]["lookups"] if x["result"] == "found"] == ["other.test"]
    text = mail.estafeta("explain", "--client", STRANGER, "-f", "reject@f.test", ALICE).stdout
    assert "  table: %s <reject@f.test> found \"REJECT not you\"\n" % table in text
    assert "  -> 554 5.7.1 <reject@f.test>: Sender address rejected: not you\n" in text and text.endswith("not accepted\n")


def test_copies_are_expanded_too(mail):
    out = explain(mail, "-f", "copied@f.test", "bob+watched@example.test")
    copy, = [r for r in out["recipients"] if r["address"] == CAROL]
    assert ("user_database", CAROL, "found") in [(x["table"], x["key"], x["result"]) for x in copy["expansion"]]
    assert [(s["key"], s["value"]) for s in steps(out, "END-OF-MESSAGE") if s.get("result") == "found"] == [
        ("copied@f.test", CAROL), ("bob+watched@example.test", "carol+bob@example.test")]


def test_the_present_configuration(mail):
    assert explain(mail, "--client", STRANGER, "x@f.test")["commands"][-2]["code"] == 554
    for value, codes in (("127.0.0.0/8", {250}), ("127.0.0.1/32", {554})):
        mail.estafeta("config", "-e", "mynetworks=" + value)
        mail.estafeta("reload")
        out = explain(mail, "--client", STRANGER, "x@foreign.test")
        assert {c["code"] for c in out["commands"] if c["command"] == "RCPT"} == codes


def test_claims_about_the_client(mail):
    out = explain(mail, "--client", "[2001:db8::7]:1234", "--name", "mx.far.test", "-f", "client@f.test", ALICE)
    assert out["accepted"] and {"address": "2001:db8::7", "port": 1234, "name": "mx.far.test", "login": "", "tls": False} == out["client"]
    out = explain(mail, "--client", "192.0.2.1", "--name", "unknown", "-f", "client@f.test", ALICE)
    assert [c["text"] for c in out["commands"] if c["command"] == "RCPT"] == [
        "Client host rejected: cannot find your hostname, [192.0.2.1]"]


def test_who_remembers_is_not_asked(mail):
    out = explain(mail, "-s", "2537", "--client", STRANGER, ALICE)
    assert [s["name"] for c in out["commands"] for s in c["steps"] if s["step"] == "not_asked"] == [
        "rates", "milters", "greylist", "sleep"]
    out = explain(mail, "-s", "2536", "--client", STRANGER, ALICE)
    assert out["accepted"] and {"step": "not_asked", "name": "policy_service"} in steps(out, "END-OF-MESSAGE")
    out = explain(mail, "-s", "2536", "--policy", "--client", STRANGER, ALICE)
    assert not out["accepted"] and [s for s in steps(out, "END-OF-MESSAGE") if s["step"] == "policy_service"]


def test_leaves_no_trace(mail):
    mail.wait_log("postfix/qmgr")
    queue, before = mail.queue(), mail.log_text()
    for sender in ("x@f.test", "reject@f.test", "warn@f.test", "hold@f.test", "gone@f.test"):
        explain(mail, "--client", STRANGER, "-f", sender, ALICE, "nobody@example.test")
    explain(mail, "--client", STRANGER, "-f", "x@f.test", "--message", str(mail.conf / "main.cf"), ALICE)
    s = smtplib.SMTP(mail.ip, 2525, source_address=(STRANGER, 0), timeout=DEADLINE)
    s.noop()
    s.quit()
    wait_until(lambda: "disconnect from" in mail.log_text()[len(before):])
    assert [re.sub(r"^.*?\]: ", "", x) for x in mail.log_text()[len(before):].splitlines()] == [
        "connect from unknown[%s]" % STRANGER, "disconnect from unknown[%s] noop=1 quit=1 commands=2" % STRANGER]
    assert mail.queue() == queue


def test_bad_questions(mail):
    for args in ([], ["-f", "x@f.test"], ["--client", "nobody", ALICE], ["--size", "x", ALICE], [ALICE + "\r\nQUIT"], ["-q", ALICE]):
        assert mail.estafeta("explain", *args, check=False).returncode == 64, args
    r = mail.estafeta("explain", "-s", "nosuch", ALICE, check=False)
    assert r.returncode == 69 and "no process" in r.stderr
    r = mail.estafeta("explain", "--name", "not a name", ALICE, check=False)
    assert r.returncode == 75 and "client name" in r.stderr
    r = subprocess.run([BUILD / "estafeta", "-c", mail.conf, "explain", ALICE], capture_output=True, text=True, user=65534)
    assert r.returncode == 77 and "root" in r.stderr


def tool_connection(mail, service="2525"):
    """What the tool does first, by hand: the connection to a smtpd process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.connect(str(mail.dir / "data" / "control" / "master"))
        frames.send(s, 45, 1, ("s", service))
        packet, fds, _, _ = socket.recv_fds(s, 65536, 4)
    status, _, fd = frames.parse(packet, fds)[2]
    assert status == 0
    return socket.socket(fileno=fd)


def test_a_tool_that_goes_or_stays_too_long_frees_the_session(mail):
    held = [tool_connection(mail) for _ in range(12)]  # both processes are full
    r = explain(mail, ALICE, check=False)
    assert r.returncode == 75 and "enough" in r.stderr
    for c in held:
        c.close()
    wait_until(lambda: explain(mail, ALICE, check=False) and not hasattr(explain(mail, ALICE, check=False), "returncode"),
               what="room again")


def test_a_smtpd_that_dies(mail):
    pids = [pid for program, pid in mail.processes() if program == "smtpd"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        p = subprocess.Popen([BUILD / "estafeta", "-c", mail.conf, "explain", ALICE], stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    assert p.wait(DEADLINE) in (69, 75) and "the smtpd process" in p.stderr.read()
    wait_until(lambda: mail.estafeta("explain", ALICE, check=False).returncode == 0, what="smtpd again")
