"""`estafeta check`, which start and reload run first, finds whatever would keep mail from flowing."""
import os
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
    with Instance() as i:
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
    (["smtpd_recipient_restrictions = reject_unverified_recipient"], "smtpd_recipient_restrictions: reject_unverified_recipient: not honoured: address verification is not there yet; to run without it, name it in allow_ignored_parameters"),
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


def check_services(mail, change, *args):
    good = (mail.conf / "master.cf").read_text()
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
    assert "estafeta: %s/master.cf:2: " % mail.conf in r.stderr and expected in r.stderr, r.stderr


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
