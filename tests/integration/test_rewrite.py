"""Incomplete addresses in headers: completed for local clients and sendmail, left alone for all others."""
import smtplib
import subprocess

import pytest

import milters
import sample
from instance import BUILD, auth_plain, wait_until

LISTENERS = """\
{ip}:2526 inet n - y - 1 smtpd -o local_header_rewrite_clients=permit_mynetworks -o append_dot_mydomain=yes
{ip}:2527 inet n - y - 1 smtpd -o local_header_rewrite_clients= -o remote_header_rewrite_domain=domain.invalid
    -o append_dot_mydomain=yes
{ip}:2528 inet n - y - 1 smtpd -o {{ local_header_rewrite_clients = check_address_map inline:{{127.0.0.3=x}},
    check_address_map hash:{conf}/local }}
{ip}:2529 inet n - y - 1 smtpd -o local_header_rewrite_clients=permit_sasl_authenticated -o smtpd_sasl_auth_enable=yes
    -o always_add_missing_headers=yes
"""
HEADER = ("From: Alic\u00e9 (at home) <alice>\r\nTo: bob,\r\n\t\"Carol, C.\" <carol@host> ,\r\n dave@x.test\r\n"
          "Cc: friends: eve;\r\nX-Cc: bob\r\nReply-To: \"unfinished, bob\r\nSubject: %s, bob\r\n")
WITH_ORIGIN = HEADER.replace("<alice>", "<alice@origin.test>").replace("To: bob,", "To: bob@origin.test,").replace(
    ": eve;", ": eve@origin.test;")
WITH_BOTH = WITH_ORIGIN.replace("carol@host", "carol@host.example.test")
REMOTE = WITH_BOTH.replace("origin.test", "domain.invalid").replace("host.example.test", "host.domain.invalid")


@pytest.fixture(scope="module")
def mail(tmp_path_factory):
    from instance import Instance
    with Instance(main_cf="myorigin = origin.test\nmynetworks = 127.0.0.2/32\n") as i:
        (i.conf / "local").write_text("127.0.0.4 yes\n")
        i.estafeta("map", "build", "hash:%s/local" % i.conf)
        with open(i.conf / "master.cf", "a") as f:
            f.write(LISTENERS.format(ip=i.ip, conf=i.conf))
        i.add_users("bob@example.test")
        yield i.start()


def header_of(mail, marker):
    raw = wait_until(lambda: [m for m in mail.messages("bob@example.test") if marker.encode() in m] or None)[0]
    return raw.split(b"\n\n", 1)[0].decode()


def offer(mail, header, port=2525, source="127.0.0.1", login=None):
    with smtplib.SMTP(mail.ip, port, source_address=(source, 0)) as s:
        s.ehlo()
        if login:
            s.starttls(context=mail.tls())
            s.ehlo()
            s.docmd("AUTH PLAIN", auth_plain(login, "secret"))
        s.sendmail("x@elsewhere.test", "bob@example.test", (header + "\r\nTo: bob\r\n").encode(), ["BODY=8BITMIME"])


CASES = {  # and whether what is missing is added
    "this machine": (2525, "127.0.0.1", None, WITH_ORIGIN, True),
    "a client of mynetworks is none of inet_interfaces": (2525, "127.0.0.2", None, HEADER, True),
    "mynetworks": (2526, "127.0.0.2", None, WITH_BOTH, True),
    "not mynetworks": (2526, "127.0.0.1", None, HEADER, False),
    "remote_header_rewrite_domain": (2527, "127.0.0.1", None, REMOTE, False),
    "a table in memory": (2528, "127.0.0.3", None, WITH_ORIGIN, True),
    "a table that authd reads": (2528, "127.0.0.4", None, WITH_ORIGIN, True),
    "no table": (2528, "127.0.0.5", None, HEADER, False),
    "a login": (2529, "127.0.0.5", "bob@example.test", WITH_ORIGIN, True),
    "no login": (2529, "127.0.0.5", None, HEADER, True),
}


@pytest.mark.parametrize("name", CASES)
def test_clients(mail, name):
    port, source, login, want, is_completed = CASES[name]
    offer(mail, HEADER % name, port, source, login)
    header = header_of(mail, "Subject: %s," % name)
    assert header.endswith((want % name).replace("\r\n", "\n").rstrip("\n")), header
    assert ("\nMessage-Id: " in header) == is_completed, header


def test_sendmail(mail):
    subprocess.run([BUILD / "sendmail", "-C", mail.conf, "-f", "root@origin.test", "bob@example.test"], check=True,
                   input=(HEADER % "by sendmail" + "\r\nTo: bob\r\n").replace("\r\n", "\n").encode())
    header = header_of(mail, "by sendmail")
    assert (WITH_ORIGIN % "by sendmail").replace("\r\n", "\n") in header


def test_a_milter_sees_completed_addresses(make_instance):
    mail = make_instance(main_cf="myorigin = origin.test\n")
    script = milters.Script(mail.ip)
    try:
        with open(mail.conf / "main.cf", "a") as f:
            f.write("smtpd_milters = %s\n" % script.endpoint)
        mail.add_users("bob@example.test").start()
        offer(mail, "To: bob\r\nSubject: seen\r\n")
        assert b"To\0bob@origin.test\0" in [data for data, _ in script.seen("L")]
        assert "\nTo: bob@origin.test\n" in header_of(mail, "Subject: seen")
    finally:
        script.close()


def test_clients_with_certificates(make_instance, tmp_path):
    """By fingerprint in relay_clientcerts, then by a table; or by nothing."""
    mail = make_instance(main_cf="myorigin = origin.test\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_security_level = may\n"
                                 "smtpd_tls_fingerprint_digest = sha256\nrelay_clientcerts = hash:$config_directory/certs\n"
                                 "local_header_rewrite_clients = permit_tls_clientcerts, inline:{127.0.0.3=x}\n")
    for name in ("known", "stranger"):
        (tmp_path / name).mkdir()
        sample.make_certificate(tmp_path / name, name + ".test", "127.0.0.1")
    said = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", tmp_path / "known" / "cert.pem"],
                          check=True, capture_output=True, text=True).stdout
    (mail.conf / "certs").write_text(said.split("=")[1].strip() + " known\n")
    mail.estafeta("map", "build", "hash:%s/certs" % mail.conf)
    mail.add_users("bob@example.test").start()
    for name, source, is_local in (("known", 1, True), ("stranger", 1, False), ("stranger", 3, True)):
        tls = mail.tls()
        tls.load_cert_chain(tmp_path / name / "cert.pem", tmp_path / name / "key.pem")
        with smtplib.SMTP(mail.ip, 2525, source_address=("127.0.0.%d" % source, 0)) as s:
            s.starttls(context=tls)
            s.sendmail("x@elsewhere.test", "bob@example.test", "To: bob\r\nSubject: %s %d.\r\n\r\nhello\r\n" % (name, source))
        header = header_of(mail, "Subject: %s %d." % (name, source))
        assert ("\nTo: bob@origin.test\n" in header) == is_local and ("\nTo: bob\n" in header) != is_local, header


def test_a_header_that_grows_beyond_measure(mail):
    """A megabyte of domains is added at most, and the message is taken all the same."""
    lines = "".join("To: %s\r\n" % ",".join(["a"] * 45000) for _ in range(4))
    offer(mail, lines + "Subject: many\r\n")
    header = header_of(mail, "Subject: many")
    assert 45000 <= header.count("@origin.test") < 4 * 45000
    assert max(map(len, header.splitlines())) > 998  # those that stayed as they were
    mail.wait_log("addresses in the header are left as they are: too many addresses to rewrite")


def test_a_word_that_is_none(make_instance):
    mail = make_instance(main_cf="local_header_rewrite_clients = permit_everybody\n")
    r = mail.estafeta("check", check=False)
    assert r.returncode != 0 and 'local_header_rewrite_clients: unknown word "permit_everybody"' in r.stdout + r.stderr
