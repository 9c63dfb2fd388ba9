"""`estafeta check`, which start and reload run first, finds whatever would keep mail from flowing."""
import os
import re
import signal
import smtplib
import subprocess

import pytest

from instance import ROOT, Instance, wait_until
from sample import make_certificate

EX_CONFIG = 78
LONG = ".".join(["a" * 63] * 4)


def check(mail):
    r = mail.estafeta("check", check=False)
    assert "panic" not in r.stderr and "killed by" not in r.stderr, r.stderr
    return r


def write_conf(mail, *lines):
    if not hasattr(mail, "good"):
        mail.good = (mail.conf / "main.cf").read_text()
    (mail.conf / "main.cf").write_text(mail.good + "".join(line + "\n" for line in lines))


@pytest.fixture(scope="module")
def mail():
    """Never started: check needs no running suite."""
    with Instance(virtual="postmaster bob@example.test\n") as i:
        r = check(i)
        assert r.returncode == 0
        assert r.stderr.endswith(": warning: %s/main.cf:7: user_database: %s/data/users.db does not exist: "
                                 "there are no accounts yet\n" % (i.conf, i.dir)) and r.stderr.count("\n") == 1
        i.add_users("bob@example.test")
        r = check(i)
        assert (r.returncode, r.stderr) == (0, "")
        yield i


# what main.cf says, and what check must say; {line} is the number of the last line
FAULTS = [
    (["virtual_alias_maps = hash:{conf}/missing"], "main.cf:{line}: virtual_alias_maps: there is no {conf}/missing; write it, then run: estafeta map build hash:{conf}/missing"),
    (["virtual_alias_maps = texthash:{conf}/missing"], "main.cf:{line}: virtual_alias_maps: open {conf}/missing: No such file"),
    (["virtual_alias_maps = hash:{conf}/master.cf"], "main.cf:{line}: virtual_alias_maps: not built; run: estafeta map build hash:{conf}/master.cf"),
    (["virtual_alias_maps = hsah:{conf}/virtual"], "main.cf:{line}: virtual_alias_maps: unsupported table type: \"hsah\"; known are hash, btree, lmdb, cdb, texthash, cidr, pcre, regexp, inline, static, unionmap, pipemap, randmap, fail"),
    (["virtual_alias_maps = btree:{conf}/virtual"], "virtual_alias_maps: damaged, or of another type; run: estafeta map build btree:{conf}/virtual"),
    (["virtual_alias_maps = inline:{{ {{a=1}}, {{a=2}} }}"], "main.cf:{line}: virtual_alias_maps: "),
    (["user_database = hash:/x"], "main.cf:{line}: user_database: expected btree:/absolute/path"),
    (["mynetworks = 127.0.0.0/33"], "main.cf:{line}: mynetworks: "),
    (["mynetworks = 127.0.0.1/8"], "main.cf:{line}: mynetworks: "),
    (["mynetworks = hash:/etc/networks"], "main.cf:{line}: mynetworks: "),
    (["smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destinatoin"],
     "main.cf:{line}: smtpd_relay_restrictions: unknown restriction \"reject_unauth_destinatoin\"; did you mean \"reject_unauth_destination\"?"),
    (["unverified_sender_tempfail_action = dunno"], "main.cf:{line}: unverified_sender_tempfail_action: "),
    (["content_filter = amavis"], "content_filter: \"amavis\" is not TRANSPORT:NEXTHOP"),
    (["smtpd_recipient_restrictions = reject_rbl_cleint zen.example"], "smtpd_recipient_restrictions: unknown restriction \"reject_rbl_cleint\"; did you mean \"reject_rbl_client\"?"),
    (["smtpd_relay_restrictions = permit_mynetworks"], "main.cf:{line}: smtpd_relay_restrictions: here or in smtpd_recipient_restrictions one of"),
    (["myhostname ="], "main.cf:{line}: myhostname: must not be empty"),
    (["myhostname = bad_host"], "main.cf:{line}: myhostname: \"bad_host\" is not a host name (RFC 1123 2.1)"),
    (["myhostname = -a.test"], "myhostname: \"-a.test\" is not a host name"),
    (["myhostname = a..test"], "myhostname: \"a..test\" is not a host name"),
    (["myhostname = 127.0.0.1"], "myhostname: \"127.0.0.1\" is not a host name"),
    (["myhostname = " + LONG + ".test"], "myhostname: longer than 255 bytes"),
    (["myorigin = /nonexistent"], "main.cf:{line}: myorigin: open /nonexistent: No such file"),
    (["myorigin = {conf}/empty"], "main.cf:{line}: myorigin: must not be empty"),
    (["tls_key_file ="], "main.cf:{line}: tls_key_file: must not be empty when tls_cert_file is set"),
    (["tls_cert_file =", "tls_key_file = {conf}/key.pem"], "tls_cert_file: must not be empty when tls_key_file is set"),
    (["tls_cert_file =", "tls_key_file ="], "smtpd_tls_wrappermode: needs a certificate"),
    (["tls_cert_file =", "tls_key_file ="], "tls_wrappermode: needs a certificate, but imap_tls_cert_file is empty"),
    (["tls_cert_file = {conf}/nothing.pem"], "main.cf:{line}: tls_cert_file: cannot read {conf}/nothing.pem: No such file"),
    (["tls_key_file = {conf}/nothing.pem"], "main.cf:{line}: tls_key_file: cannot read {conf}/nothing.pem: No such file"),
    (["tls_key_file = {conf}"], "main.cf:{line}: tls_key_file: {conf}: "),
    (["tls_cert_file = {conf}/empty"], "main.cf:{line}: tls_cert_file: {conf}/empty: empty, or larger"),
    (["tls_cert_file = {conf}/master.cf"], "tls_cert_file: {conf}/master.cf: no certificate in PEM"),
    (["tls_key_file = {conf}/cert.pem"], "tls_key_file: {conf}/cert.pem: no private key in PEM"),
    (["tls_key_file = {conf}/other/key.pem"], "main.cf:{line}: tls_key_file: the key in {conf}/other/key.pem does not belong to the certificate in {conf}/cert.pem"),
    (["imap_tls_key_file = {conf}/other/key.pem"], "main.cf:{line}: imap_tls_key_file: the key in {conf}/other/key.pem does not belong"),
    (["tls_high_cipherlist = nothing-such"], "main.cf:{line}: tls_high_cipherlist: "),
    (["tls_eecdh_auto_curves = X25519 nothing-such"],
     "main.cf:{line}: tls_eecdh_auto_curves: unknown curve \"nothing-such\""),
    (["dns_forwarders = not-an-address"], "main.cf:{line}: dns_forwarders: not-an-address: "),
    (["dns_trust_anchor_file = /nonexistent"], "main.cf:{line}: dns_trust_anchor_file: /nonexistent: "),
    (["smtp_bind_address = ::1"], "main.cf:{line}: smtp_bind_address: "),
    (["mailbox_owner = nobody-here"], "mailbox_owner: system user \"nobody-here\" does not exist"),
    (["virtual_minimum_uid = 60000"], "main.cf:{line}: virtual_minimum_uid: 60000: the uid of mailbox_owner, vmail, is "),
    (["mailbox_owner = root"], "main.cf:{line}: mailbox_owner: mail is never root's"),
    (["password_cost = 99"], "main.cf:{line}: password_cost: 99 is not between 1 and 11, as yescrypt counts it"),
    (["password_scheme = bcrypt", "password_cost = 3"], "main.cf:{line}: password_cost: 3 is not between 4 and 31"),
    (["password_scheme = sha512-crypt", "password_cost = 10"], "password_cost: 10 is not between 1000 and 999999999"),
    (["password_scheme = bcrypt", "password_cost = 31"], "main.cf:{line}: password_cost: one hash takes more than 10 seconds"),
    (["smtpd_sasl_mechanisms = GSSAPI FOO"],
     "main.cf:{line}: smtpd_sasl_mechanisms: \"GSSAPI\" is not one of PLAIN|LOGIN|SCRAM-SHA-256"),
    (["smtpd_sasl_mechanisms ="], "main.cf:{line}: smtpd_sasl_mechanisms: "),
    (["inet_protocols = ipv4, ipv5"], "main.cf:{line}: inet_protocols: \"ipv5\" is not one of all|ipv4|ipv6"),
    (["virtual_mailbox_domains = example.test, -bad"], "main.cf:{line}: virtual_mailbox_domains: \"-bad\" is not a domain name"),
    (["mydestination = hash:{conf}/domains"],
     "main.cf:{line}: mydestination: \"hash:{conf}/domains\": lookup tables are not supported here yet; list the domains"),
    (["virtual_mailbox_domains = /etc/domains"], "\"/etc/domains\": lookup tables are not supported here yet"),
    (["relayhost = [127.66.9.9"], "main.cf:{line}: relayhost: \"[127.66.9.9\": "),
    (["relayhost = [h.test]:abc"], "main.cf:{line}: relayhost: \"[h.test]:abc\": bad port"),
    (["relayhost = [h.test]:99999"], "main.cf:{line}: relayhost: \"[h.test]:99999\": bad port"),
    (["relayhost = foo bar"], "main.cf:{line}: relayhost: \"foo bar\": not a host or domain name"),
    (["relayhost = a, b"], "main.cf:{line}: relayhost: \"a, b\": not a host or domain name"),
    (["relayhost = smtp:[h.test]"], "main.cf:{line}: relayhost: \"smtp:[h.test]\": bad port"),
    (["minimal_backoff_time = 2h"], "main.cf:{line}: minimal_backoff_time: 2h is more than maximal_backoff_time, which is 4000s"),
    (["maximal_backoff_time = 1m"], "main.cf:{line}: maximal_backoff_time: 1m is less than minimal_backoff_time, which is 300s"),
    (["log_file = {conf}/nothing/log"], "main.cf:{line}: log_file: open {conf}/nothing/log: No such file"),
    (["log_file = {conf}"], "main.cf:{line}: log_file: {conf} is not a file"),
    (["queue_directory = {conf}/main.cf"], "main.cf:{line}: queue_directory: {conf}/main.cf is not a directory"),
    (["data_directory = /proc/foo"], "main.cf:{line}: data_directory: cannot make /proc/foo: "),
    (["virtual_mailbox_base = {conf}/main.cf/mail"], "main.cf:{line}: virtual_mailbox_base: {conf}/main.cf"),
    (["hopcount_limit = many"], "main.cf:{line}: hopcount_limit: \"many\" is not a number"),
]


@pytest.fixture(scope="module")
def files(mail):
    (mail.conf / "empty").write_text("")
    (mail.conf / "other").mkdir()
    make_certificate(mail.conf / "other", "other.test", mail.ip)


@pytest.mark.parametrize("lines,expected", FAULTS, ids=[lines[0][:60] for lines, _ in FAULTS])
def test_fault_is_found(mail, files, lines, expected):
    write_conf(mail, *[line.format(conf=mail.conf) for line in lines])
    r = check(mail)
    last = len((mail.conf / "main.cf").read_text().splitlines())
    assert r.returncode == EX_CONFIG
    assert expected.replace("{line}", str(last)).replace("{conf}", str(mail.conf)) in r.stderr, r.stderr
    # once, however many services it is about
    said = r.stderr.splitlines()
    assert len(said) == len(set(said))


def test_the_option_of_a_service_is_named_by_its_line(mail):
    write_conf(mail)
    good = (mail.conf / "master.cf").read_text()
    lines = [line + " -o mynetworks=10.0.0.0/40" if ":2587" in line else line for line in good.splitlines()]
    number = next(i for i, line in enumerate(lines) if "/40" in line) + 1
    (mail.conf / "master.cf").write_text("\n".join(lines) + "\n")
    try:
        r = check(mail)
        assert r.returncode == EX_CONFIG and "master.cf:%d: mynetworks: " % number in r.stderr, r.stderr
    finally:
        (mail.conf / "master.cf").write_text(good)


def check_services(mail, change):
    good = mail.good_services = (mail.conf / "master.cf").read_text()
    (mail.conf / "master.cf").write_text(change(good))
    try:
        return check(mail)
    finally:
        (mail.conf / "master.cf").write_text(good)


@pytest.mark.parametrize("old,new,expected", [
    (":2525 ", ":99999 ", "bad port \"99999\": 1 to 65535"),
    (":2525 ", ":no-such-service ", "port \"no-such-service\": "),
    ("{ip}:2525 ", "no-such-host.invalid:2525 ", "smtpd: host \"no-such-host.invalid\": "),
    ("2       smtpd\n", "2       smtpx\n", "unknown command \"smtpx\"; known are log, dnsd, keyd, authd, qmgr, "),
])
def test_a_fault_in_master_cf(mail, old, new, expected):
    write_conf(mail)
    r = check_services(mail, lambda text: text.replace(old.format(ip=mail.ip), new, 1))
    # one line of comment stands before it
    assert r.returncode == EX_CONFIG
    assert "estafeta: error: %s/master.cf:2: " % mail.conf in r.stderr and expected in r.stderr, r.stderr


def numbers_and_texts(mail, r, name):
    """[(level, line, text)] of what is said of that file, in the order of the output."""
    start = "estafeta: (error|warning|note): %s:([0-9]+): (.*)" % re.escape(str(mail.conf / name))
    return [(m[1], int(m[2]), m[3]) for m in (re.fullmatch(start, line) for line in r.stderr.splitlines()) if m]


def test_all_faults_are_named_at_once(mail):
    """Of several daemons, of one daemon, and of both files: each once, by file and line."""
    write_conf(mail, "no equal sign here", "hopcount_limit = many", "smtpd_reciepient_limit = 5",
               "smtpd_client_restrictions = reject_unknwon_client_hostname", "smtpd_helo_restrictions = reject_nothing",
               "mynetworks = 127.0.0.0/33, 10.0.0.0/40", "header_checks = pcre:{conf}/missing".format(conf=mail.conf),
               "smtpd_milters = inet:127.0.0.1", "virtual_alias_maps = hash:{conf}/missing".format(conf=mail.conf),
               "smtp_bind_address = ::1", "maximal_backoff_time = 1m", "allow_ignored_parameters = no_such_name")
    first = len(mail.good.splitlines()) + 1
    r = check_services(mail, lambda text: text.replace("smtpd_submission=yes\n", (
        "smtpd_submission=yes -o smtpd_sender_restrictions=reject_nobody -o smtpd_milters=unix:/ -o mynetworks=1.2.3.4/33\n"), 1) + (
            "x inet n - y - - smtpx\ny inet n - y - - smtpd -o smtpd_banner=a, b -o mydomain=x\n"
            "25 inet n - y - - smtpd -o no_such_name=1 -o no_such_thing=2\n"))
    said = numbers_and_texts(mail, r, "main.cf")
    assert r.returncode == EX_CONFIG and all(level == "error" for level, _, _ in said), r.stderr
    expected = [
        (0, "missing '=' after \"no equal sign here\""),
        (1, "hopcount_limit: \"many\" is not a number"),
        (2, "unknown parameter \"smtpd_reciepient_limit\""),
        (3, "smtpd_client_restrictions: unknown restriction \"reject_unknwon_client_hostname\""),
        (4, "smtpd_helo_restrictions: unknown restriction \"reject_nothing\""),
        (5, "mynetworks: bad prefix length: 10.0.0.0/40"),
        (5, "mynetworks: bad prefix length: 127.0.0.0/33"),
        (6, "header_checks: open "),
        (7, "smtpd_milters: \"127.0.0.1\": inet:HOST:PORT expected"),
        (8, "virtual_alias_maps: there is no "),
        (9, "smtp_bind_address: "),
        (10, "maximal_backoff_time: 1m is less than minimal_backoff_time"),
        (11, "allow_ignored_parameters: \"no_such_name\" is no parameter"),
    ]
    assert [line - first for _, line, _ in said] == [offset for offset, _ in expected], r.stderr
    for (_, _, text), (_, start) in zip(said, expected):
        assert text.startswith(start), r.stderr
    services = numbers_and_texts(mail, r, "master.cf")
    end = len(mail.good_services.splitlines())
    expected = [(3, "mynetworks: "), (3, 'smtpd_milters: "/": not a socket'), (3, "smtpd_sender_restrictions: unknown"),
                (end + 1, 'unknown command "smtpx"'), (end + 2, 'unknown argument "b"'),
                (end + 3, 'unknown parameter "no_such_name"'), (end + 3, 'unknown parameter "no_such_thing"')]
    assert [line for _, line, _ in services] == [line for line, _ in expected], r.stderr
    for (_, _, text), (_, start) in zip(services, expected):
        assert text.startswith(start), r.stderr
    assert 'unknown argument "b": white space ends a value; write -o { smtpd_banner = a, b ... }' in r.stderr
    assert len(r.stderr.splitlines()) == len(said) + len(services)


def test_what_tables_say_is_looked_at(mail):
    """A rule that is skipped and a value that is no action are faults of the file, by line; mail flows without them."""
    (mail.conf / "rules").write_text("# comment\n/^Subject: (/ REJECT\n/^X:/ REJCT\n/^Y:(.)/ $1\n/^Z:/ PREPEND nothing\n/^A:/\n  DISCARD\n")
    (mail.conf / "nets").write_text("192.0.2.0/24 REJECT\n192.0.2.0/33 OK\n192.0.3.0/24 permit_mynetworks, rejct\n")
    (mail.conf / "access").write_text("a.test OK\nb.test NOPE you\nc.test 550 5.7.1 no\nd.test strict\n")
    (mail.conf / "screen").write_text("192.0.2.0/24 REJECT\n192.0.3.0/24 OK\n")
    write_conf(mail)
    mail.estafeta("map", "build", "hash:%s/access" % mail.conf)
    write_conf(mail, "header_checks = pcre:$config_directory/rules", "body_checks = pcre:{{/x/ FORGET}}",
               "smtpd_restriction_classes = strict", "strict = reject_unknown_sender_domain",
               "smtpd_client_restrictions = check_client_access cidr:$config_directory/nets",
               "smtpd_sender_restrictions = check_sender_access hash:$config_directory/access",
               "postscreen_access_list = cidr:$config_directory/screen")
    r = check(mail)
    first = len(mail.good.splitlines()) + 1
    assert r.returncode == EX_CONFIG
    assert [(level, line) for level, line, _ in numbers_and_texts(mail, r, "rules")] == [
        ("error", 2), ("error", 3), ("error", 5)], r.stderr
    assert [line for _, line, _ in numbers_and_texts(mail, r, "nets")] == [2, 3], r.stderr
    assert numbers_and_texts(mail, r, "access") == [
        ("error", 2, 'no action of access(5): unknown restriction "NOPE"')], r.stderr
    assert numbers_and_texts(mail, r, "screen") == [("error", 2, '"OK": permit, reject or dunno expected')], r.stderr
    assert numbers_and_texts(mail, r, "main.cf") == [
        ("error", first + 1, 'body_checks: pcre map in braces, line 1: no action of header_checks(5): "FORGET"')], r.stderr
    assert len(r.stderr.splitlines()) == 8, r.stderr


def test_a_table_with_a_bad_rule_does_not_keep_the_suite_from_starting(make_instance):
    mail = make_instance(main_cf="header_checks = pcre:$config_directory/rules\n").add_users("bob@example.test")
    (mail.conf / "rules").write_text("/^Subject: (/ REJECT\n")
    assert check(mail).returncode == EX_CONFIG
    r = mail.estafeta("start")
    mail.running = True
    assert "estafeta: warning: %s/rules:1: " % mail.conf in r.stderr, r.stderr


def test_what_was_not_meant_is_warned_of(mail):
    write_conf(mail, "mydestination = Example.test, localhost",
               "smtpd_milters = unix:/nowhere/at/all/socket", "virtual_alias_domains = example.test",
               "allow_ignored_parameters = virtual_alias_domains")
    r = check_services(mail, lambda text: text.replace("smtpd_submission=yes\n", (
        "smtpd_submission=yes -o hopcount_limit=3 -o smtp_helo_timeout=5s -o inet_interfaces=127.0.0.1 "
        "-o mydomain=$myhostname -o smtpd_banner=x -o virtual_alias_maps= -o tls_key_file=$config_directory/key.pem\n"), 1))
    first = len(mail.good.splitlines()) + 1
    assert r.returncode == 0, r.stderr
    both = "do not list domain example.test in BOTH "
    assert [(line, text) for _, line, text in numbers_and_texts(mail, r, "main.cf") if "not honoured" not in text] == [
        (4, "virtual_mailbox_domains: " + both + "mydestination and virtual_mailbox_domains"),
        (first + 1, "smtpd_milters: unix:/nowhere/at/all/socket: cannot open directory /nowhere/at/all: No such file or directory"),
        (first + 2, "virtual_alias_domains: " + both + "mydestination and virtual_alias_domains"),
        (first + 2, "virtual_alias_domains: " + both + "virtual_mailbox_domains and virtual_alias_domains"),
    ], r.stderr
    assert numbers_and_texts(mail, r, "master.cf") == [
        ("warning", 3, "smtp_helo_timeout: -o has no effect: smtpd does not read it, but relay"),
        ("warning", 3, "virtual_alias_maps: -o has no effect: smtpd does not read it, but authd"),
    ], r.stderr


def test_the_port_of_a_service_is_named_by_its_line(mail):
    write_conf(mail, "inet_interfaces = 127.0.0.1")
    r = check_services(mail, lambda text: text.replace(mail.ip + ":2525", "smtpp", 1))
    assert numbers_and_texts(mail, r, "master.cf") == [
        ("error", 2, 'smtpd: port "smtpp": Servname not supported for ai_socktype')], r.stderr
    assert len(r.stderr.splitlines()) == 1


def test_interfaces_are_resolved(mail):
    write_conf(mail, "inet_interfaces = no-such-host.invalid")
    r = check_services(mail, lambda text: text.replace(mail.ip + ":2525", "2525", 1))
    last = len((mail.conf / "main.cf").read_text().splitlines())
    assert r.returncode == EX_CONFIG
    assert "main.cf:%d: inet_interfaces: host \"no-such-host.invalid\": " % last in r.stderr, r.stderr


def test_each_bad_network_is_named_and_a_fault_once(mail):
    write_conf(mail, "mynetworks = 127.0.0.0/33, 10.0.0.0/8 hash:/etc/x")
    r = check(mail)
    assert "\"127.0.0.0/33\"" in r.stderr or "127.0.0.0/33" in r.stderr
    assert "hash:/etc/x" in r.stderr and "10.0.0.0" not in r.stderr, r.stderr
    assert len(r.stderr.splitlines()) == 2
    for line in ("mailbox_owner = nobody-here", "myhostname = a..b"):
        write_conf(mail, line)
        r = check(mail)
        assert len(r.stderr.splitlines()) == 1 and "main.cf:0" not in r.stderr, r.stderr


def test_nobody_is_postmaster(mail):
    """RFC 5321 4.5.1: an account may be; an alias is what check can see."""
    write_conf(mail, "virtual_alias_maps =")
    try:
        r = check(mail)
        assert r.returncode == 0 and r.stderr.count("\n") == 1
        assert "virtual_alias_maps: no alias for postmaster: without a mailbox postmaster@mail.example.test" in r.stderr
        write_conf(mail, "virtual_alias_maps =", "virtual_mailbox_domains =")
        assert check(mail).stderr == ""  # it takes mail for no domain
    finally:
        write_conf(mail)


def test_unknown_users_are_a_warning(mail):
    write_conf(mail, "authorized_mailq_users = nobody-here root")
    r = check(mail)
    last = len((mail.conf / "main.cf").read_text().splitlines())
    assert r.returncode == 0
    assert "warning: %s/main.cf:%d: authorized_mailq_users: unknown user nobody-here" % (mail.conf, last) in r.stderr


def test_a_table_that_its_reader_may_not_read(mail):
    write_conf(mail)
    db = mail.conf / "virtual.db"
    mode = db.stat().st_mode
    db.chmod(0o600)
    try:
        r = check(mail)
        assert r.returncode == EX_CONFIG and "virtual_alias_maps: " in r.stderr
        assert "Permission denied" in r.stderr, r.stderr
    finally:
        db.chmod(mode)


@pytest.mark.parametrize("damage", ["empty", "garbage", "half"])
def test_a_damaged_table(mail, damage):
    lines = "".join("user%d@example.test bob@example.test\n" % i for i in range(2000))
    (mail.conf / "big").write_text(lines)
    for kind in ("hash", "btree"):
        mail.estafeta("map", "build", "%s:%s/big" % (kind, mail.conf))
        write_conf(mail, "virtual_alias_maps = %s:$config_directory/big" % kind)
        assert check(mail).returncode == 0
        db = mail.conf / "big.db"
        whole = db.read_bytes()
        db.write_bytes({"empty": b"", "garbage": os.urandom(8192), "half": whole[:len(whole) // 2]}[damage])
        r = check(mail)
        assert r.returncode == EX_CONFIG
        assert "virtual_alias_maps: damaged, or of another type; run: estafeta map build %s:%s/big" % (
            kind, mail.conf) in r.stderr, r.stderr


def test_warnings_do_not_count(mail):
    """A map older than its source, an expired certificate, a key that everybody can read."""
    write_conf(mail)
    key, cert = (mail.conf / "key.pem").read_bytes(), (mail.conf / "cert.pem").read_bytes()
    virtual = mail.conf / "virtual"
    db = os.stat(mail.conf / "virtual.db").st_mtime
    try:
        for step in (["req", "-new", "-key", "key.pem", "-subj", "/CN=x", "-out", "request.pem"],
                     ["x509", "-req", "-in", "request.pem", "-signkey", "key.pem", "-days", "-1", "-out", "cert.pem"]):
            subprocess.run(["openssl", *step], check=True, capture_output=True, cwd=mail.conf)
        (mail.conf / "key.pem").chmod(0o644)
        os.utime(virtual, (db + 10, db + 10))
        r = check(mail)
        assert r.returncode == 0, r.stderr
        assert "warning: " in r.stderr and "the certificate has expired" in r.stderr
        assert "everybody can read the private key" in r.stderr
        assert ("warning: {c}/main.cf:5: virtual_alias_maps: database {c}/virtual.db is older than source file "
                "{c}/virtual; run: estafeta map build hash:{c}/virtual\n").format(c=mail.conf) in r.stderr, r.stderr
    finally:
        (mail.conf / "key.pem").write_bytes(key)
        (mail.conf / "key.pem").chmod(0o600)
        (mail.conf / "cert.pem").write_bytes(cert)
        os.utime(virtual, (db - 10, db - 10))


def test_a_table_that_is_damaged_under_a_running_suite(make_instance):
    """The old version stays in use; an authd that starts with it says why it does not, and comes back with the table."""
    mail = make_instance(virtual="info@example.test bob@example.test\n").add_users("bob@example.test").start()
    db = mail.conf / "virtual.db"
    whole = db.read_bytes()

    def replace(content):
        (mail.conf / "fresh.db").write_bytes(content)
        os.rename(mail.conf / "fresh.db", db)

    def rcpt(address):
        with smtplib.SMTP(mail.ip, mail.port("smtp")) as s:
            s.ehlo()
            s.mail("x@elsewhere.test")
            return s.rcpt(address)[0]

    assert rcpt("info@example.test") == 250 and rcpt("nobody@example.test") == 550
    db.write_bytes(b"garbage")  # in place: nobody is told that an address does not exist
    assert rcpt("nobody@example.test") == 451
    replace(whole)
    wait_until(lambda: rcpt("nobody@example.test") == 550)
    assert rcpt("info@example.test") == 250
    replace(whole[:len(whole) // 2])
    # each question may be the one that has the file looked at
    wait_until(lambda: rcpt("info@example.test") == 250 and "stays in use" in mail.log_text())
    [(_, authd)] = mail.processes("authd")
    os.kill(authd, signal.SIGKILL)
    mail.wait_log("fatal: virtual_alias_maps: damaged, or of another type; run: estafeta map build hash:")
    replace(whole)
    wait_until(lambda: rcpt("info@example.test") == 250)


def test_the_reference_is_up_to_date(mail):
    assert mail.estafeta("config", "-m").stdout == (ROOT / "docs" / "parameters.md").read_text()


def test_check_opens_no_state(mail):
    write_conf(mail)
    assert check(mail).returncode == 0
    # data is where user add put the database
    assert sorted(p.name for p in mail.dir.iterdir()) == ["conf", "data", "mail"]
    assert sorted(p.name for p in (mail.dir / "data").iterdir()) == ["users.db", "users.env"]


def test_start_and_reload_say_the_same(make_instance):
    mail = make_instance().add_users("bob@example.test")
    write_conf(mail, "mynetworks = 10.0.0.0/40")
    said = check(mail).stderr
    r = mail.estafeta("start", check=False)
    assert (r.returncode, r.stderr) == (EX_CONFIG, said)
    write_conf(mail)
    mail.start()
    write_conf(mail, "mynetworks = 10.0.0.0/40")
    before = mail.processes()
    r = mail.estafeta("reload", check=False)
    assert (r.returncode, r.stderr) == (EX_CONFIG, said)
    assert mail.processes() == before


def test_wrapper_mode_without_a_certificate(mail):
    write_conf(mail, "tls_cert_file =", "tls_key_file =")
    r = check(mail)
    assert r.returncode == EX_CONFIG
    # submissions, imaps, pop3s
    assert len([line for line in r.stderr.splitlines() if "wrappermode" in line]) == 3, r.stderr


def test_the_example_of_a_provider_passes(make_instance):
    """docs/port25.md: check has nothing to say of it, and it starts."""
    mail = make_instance(hostname="mx1.provider.example", domain="customer-one.example")
    front = [line for line in (mail.conf / "main.cf").read_text().splitlines() if line.split(" =")[0] in (
        "virtual_mailbox_base", "queue_directory", "data_directory", "log_file", "dns_forwarders", "dns_trust_anchor_file")]
    text = (ROOT / "docs" / "port25.md").read_text()
    files = dict(re.findall(r"^`/etc/estafeta/(\S+)`:\n\n```\n(.*?)^```$", text, flags=re.M | re.S))
    assert len(files) == 10
    for name, content in files.items():
        for service, port in (("smtp", 2525), ("submission", 2587), ("submissions", 2465), ("imap2", 2143), ("imaps", 2993)):
            content = re.sub(r"^%s(?= +inet )" % service, "%s:%d" % (mail.ip, port), content, flags=re.M)
        content = content.replace("/etc/ssl/mail/fullchain", "%s/cert" % mail.conf).replace(
            "/etc/ssl/mail/privkey", "%s/key" % mail.conf)
        (mail.conf / name).write_text(content + ("\n".join(front) + "\n" if name == "main.cf" else ""))
    for table in ("virtual", "senders", "recipients", "sender_logins"):
        mail.estafeta("map", "build", "hash:%s/%s" % (mail.conf, table))
    mail.add_users("anna@customer-one.example", "bert@customer-one.example")
    r = check(mail)
    assert (r.returncode, r.stderr) == (0, "")
    mail.start()
    with smtplib.SMTP(mail.ip, mail.port("submission")) as s:
        s.starttls(context=mail.tls())
        s.login("bert@customer-one.example", "secret")
        s.sendmail("bert@customer-one.example", "anna@customer-one.example", "Subject: x\r\n\r\n.\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            s.sendmail("anna@customer-one.example", "anna@customer-one.example", "Subject: x\r\n\r\n.\r\n")
    wait_until(lambda: mail.messages("anna@customer-one.example"))


def test_tables_do_not_speak_to_the_terminal(mail):
    (mail.conf / "screen").write_text("192.0.2.1 \x1b]0;owned\x07 %n%s\n")
    write_conf(mail, "postscreen_access_list = texthash:%s/screen" % mail.conf)
    r = check(mail)
    assert "\x1b" not in r.stderr and "\x07" not in r.stderr
    assert '"?]0;owned? %n%s": permit, reject or dunno expected' in r.stderr
