"""TLS of the servers: key types, names (SNI), client certificates, tickets, protocols, hostile peers."""
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess

import pytest

from instance import DEADLINE, wait_until
from sample import MASTER_CF, make_certificate


def openssl(directory, *args):
    subprocess.run(["openssl", *map(str, args)], cwd=directory, check=True, capture_output=True)


def make_pem(directory, name, key_type="ec"):
    """NAME.pem with a key and its self-signed certificate; returns the path."""
    scratch = directory / ("made-%s-%s" % (name.strip("."), key_type))
    scratch.mkdir()
    make_certificate(scratch, name.strip("."), "127.0.0.1", key_type)
    path = directory / ("%s-%s.pem" % (name.strip("."), key_type))
    path.write_bytes((scratch / "key.pem").read_bytes() + (scratch / "cert.pem").read_bytes())
    path.chmod(0o600)
    return path


def make_ca(directory, days=30):
    openssl(directory, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", days,
            "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")


def make_client(directory, name, subject="/CN=client.test"):
    """NAME.pem: certificate by the CA and key."""
    openssl(directory, "req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", subject,
            "-keyout", name + ".key", "-out", name + ".req")
    openssl(directory, "x509", "-req", "-in", name + ".req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", 30, "-out", name + ".crt")
    pem = directory / (name + ".pem")
    pem.write_bytes((directory / (name + ".crt")).read_bytes() + (directory / (name + ".key")).read_bytes())
    return pem


def context(version=None, cert=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if version is not None:
        c.minimum_version = c.maximum_version = version
    if cert is not None:
        c.load_cert_chain(cert)
    return c


def s_client(mail, *args, service="submissions", commands="QUIT\n", timeout=DEADLINE):
    where = "%s:%d" % (mail.ip, mail.port(service))
    extra = ["-starttls", "smtp"] if service in ("smtp", "submission") else []
    return subprocess.run(["openssl", "s_client", "-connect", where, "-quiet", "-crlf", *extra, *args], input=commands, text=True,
                          capture_output=True, timeout=timeout)


def common_name(mail, host, service="submissions", sigalgs=None):
    """CN and key type of the certificate that a client sees."""
    where = "%s:%d" % (mail.ip, mail.port(service))
    args = ["-servername", host] if host else ["-noservername"]
    args += ["-sigalgs", sigalgs] if sigalgs else []
    args += ["-starttls", "smtp"] if service == "smtp" else []
    shown = subprocess.run(["openssl", "s_client", "-connect", where, *args], input="", text=True, capture_output=True,
                           timeout=DEADLINE).stdout
    pem = shown[shown.index("-----BEGIN"):shown.index("-----END CERT") + 30]
    text = subprocess.run(["openssl", "x509", "-noout", "-subject", "-text"], input=pem, text=True, capture_output=True,
                          check=True).stdout
    return re.search(r"subject=.*CN ?= ?(\S+)", text)[1], "RSA" if "rsaEncryption" in text else "EC"


def test_one_listener_shows_two_key_types(make_instance):
    mail = make_instance()
    rsa, ec = make_pem(mail.conf, "two.test", "rsa"), make_pem(mail.conf, "two.test", "ec")
    with open(mail.conf / "main.cf", "a") as f:
        f.write("smtpd_tls_chain_files = %s, %s\n" % (rsa, ec))
        # Debian's and other people's lines
        f.write("smtpd_use_tls = yes\nsmtpd_tls_session_cache_database = btree:${data_directory}/smtpd_scache\n")
        f.write("smtpd_tls_dh1024_param_file = /none\nsmtpd_tls_protocols = !SSLv2, !SSLv3\n")
    assert mail.estafeta("check").returncode == 0
    mail.start()
    for service in ("smtp", "submissions"):
        assert common_name(mail, None, service, "RSA-PSS+SHA256:RSA+SHA256") == ("two.test", "RSA")
        assert common_name(mail, None, service, "ECDSA+SHA256") == ("two.test", "EC")
    assert common_name(mail, None, "imaps")[0] == "mail.example.test"


def test_a_second_pair_of_files(make_instance):
    mail = make_instance(key_type="rsa", main_cf="smtpd_tls_eccert_file = $config_directory/pair.test-ec.pem\n")
    make_pem(mail.conf, "pair.test")
    mail.start()
    assert common_name(mail, None, "smtp", "RSA-PSS+SHA256:RSA+SHA256") == ("mail.example.test", "RSA")
    assert common_name(mail, None, "smtp", "ECDSA+SHA256") == ("pair.test", "EC")


def test_hundreds_of_names(make_instance):
    mail = make_instance(main_cf="tls_server_sni_maps = hash:$config_directory/names, inline:{ {in.test = "
                                 "$config_directory/in.test-ec.pem} }\n")
    for name in ("one.test", ".sub.test", "in.test"):
        make_pem(mail.conf, name)
    make_pem(mail.conf, "one.test", "rsa")
    lines = ["one.test %s/one.test-ec.pem %s/one.test-rsa.pem" % (mail.conf, mail.conf),
             ".sub.test %s/sub.test-ec.pem" % mail.conf, "lost.test %s/lost.pem" % mail.conf]
    lines += ["n%d.test %s/one.test-ec.pem" % (i, mail.conf) for i in range(400)]
    (mail.conf / "names").write_text("\n".join(lines) + "\n")
    r = mail.estafeta("check")
    assert "tls_server_sni_maps: lost.test: cannot read %s/lost.pem" % mail.conf in r.stderr + r.stdout
    mail.start()
    mail.wait_log("tls_server_sni_maps: lost.test: cannot read")
    for service in ("smtp", "submissions", "imaps", "pop3s"):
        assert common_name(mail, "ONE.test", service)[0] == "one.test"
        assert common_name(mail, "a.b.sub.test", service)[0] == "sub.test"
        for unknown in (None, "sub.test", "lost.test", "unknown.test"):
            assert common_name(mail, unknown, service)[0] == "mail.example.test"
    assert common_name(mail, "n399.test")[0] == "one.test"
    assert common_name(mail, "in.test")[0] == "in.test"
    assert common_name(mail, "one.test", sigalgs="RSA-PSS+SHA256") == ("one.test", "RSA")
    # a reload brings what is new
    make_pem(mail.conf, "new.test")
    with open(mail.conf / "names", "a") as f:
        f.write("new.test %s/new.test-ec.pem\n" % mail.conf)
    mail.estafeta("reload")
    assert common_name(mail, "new.test")[0] == "new.test"


@pytest.mark.parametrize("extra, text", [
    ("smtpd_tls_chain_files = {conf}/key.pem", "smtpd_tls_chain_files: no certificate"),
    ("smtpd_tls_chain_files = {conf}/cert.pem", "smtpd_tls_chain_files: no key belongs to certificate 1"),
    ("tls_server_sni_maps = pcre:/x", "tls_server_sni_maps: tables of type pcre cannot hold certificates"),
    ("tls_server_sni_maps = texthash:{conf}/none", "tls_server_sni_maps: cannot read {conf}/none: No such file"),
    ("smtpd_tls_eccert_file = {conf}/none", "smtpd_tls_eccert_file: cannot read {conf}/none"),
    ("smtpd_tls_protocols = TLSv1", "smtpd_tls_protocols: leaves neither TLSv1.2 nor TLSv1.3"),
    ("smtpd_tls_mandatory_protocols = >=TLS9", "smtpd_tls_mandatory_protocols: unknown protocol"),
    ("smtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = {conf}/none", "smtpd_tls_CAfile: {conf}/none"),
])
def test_check_names_what_is_wrong(make_instance, extra, text):
    mail = make_instance(main_cf="")
    with open(mail.conf / "main.cf", "a") as f:
        f.write(extra.format(conf=mail.conf) + "\n")
    r = mail.estafeta("check", check=False)
    assert r.returncode == 78
    assert text.format(conf=mail.conf) in r.stdout + r.stderr


@pytest.fixture
def with_ca(make_instance):
    mail = make_instance(main_cf="smtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = $config_directory/ca.pem\n",
                         master_cf=MASTER_CF.replace("smtpd_tls_wrappermode=yes",
                                                     "smtpd_tls_wrappermode=yes -o smtpd_tls_req_ccert=yes"))
    make_ca(mail.conf)
    mail.add_users("alice@example.test")
    return mail.start()


def send(mail, subject, **kwargs):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), timeout=DEADLINE) as c:
        c.starttls(context=context(**kwargs))
        c.sendmail("x@client.test", ["alice@example.test"], "Subject: %s\r\n\r\nx\r\n" % subject)

    def message():
        return [m for m in mail.messages("alice@example.test") if subject.encode() in m]
    return wait_until(message, what="the message")[0].decode().replace("\r\n", "\n")


def test_client_certificates(with_ca):
    mail = with_ca
    good = make_client(mail.conf, "good")
    odd = make_client(mail.conf, "odd", '/CN=a "b) \\(c')
    other = make_pem(mail.conf, "self.test")
    text = send(mail, "none")
    assert "\n\t(using TLSv1.3 with cipher " in text and "\n\t(Client did not present a certificate)\n" in text
    mail.wait_log("Anonymous TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher")
    assert '\n\t(Client CN "client.test", Issuer "Test CA" (verified OK))\n' in send(mail, "good", cert=good)
    mail.wait_log("Trusted TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher")
    assert '\n\t(Client CN "self.test", Issuer "self.test" (not verified))\n' in send(mail, "self", cert=other)
    mail.wait_log("Untrusted TLS connection established from localhost[127.0.0.1]: TLSv1.3 with cipher")
    assert '(Client CN "a ?b? ?c", Issuer "Test CA" (verified OK))' in send(mail, "odd", cert=odd)
    # where one is required
    good_answer = s_client(mail, "-cert", good, "-key", good)
    assert "220 mail.example.test" in good_answer.stdout
    for args in ([], ["-cert", other, "-key", other]):
        assert "220" not in s_client(mail, *args).stdout
    wait_until(lambda: mail.log_text().count("SSL_accept error from") >= 2)


def test_a_directory_of_cas(make_instance):
    mail = make_instance(main_cf="smtpd_tls_ask_ccert = yes\nsmtpd_tls_CApath = $config_directory/cas\n"
                                 "smtpd_tls_fingerprint_digest = sha1\n")
    (mail.conf / "cas").mkdir()
    make_ca(mail.conf)
    good = make_client(mail.conf, "good")
    (mail.conf / "cas" / "ca.pem").write_bytes((mail.conf / "ca.pem").read_bytes())
    openssl(mail.conf, "rehash", mail.conf / "cas")
    mail.start()
    assert "221 " in s_client(mail, "-cert", good, "-key", good, service="smtp").stdout
    mail.wait_log(": Trusted TLS connection established from localhost[127.0.0.1]: TLSv1.3")


def test_a_huge_client_chain_is_refused(with_ca):
    mail = with_ca
    good = make_client(mail.conf, "good")
    chain = mail.conf / "huge.pem"
    chain.write_bytes((mail.conf / "ca.pem").read_bytes() * 150)
    assert "220" not in s_client(mail, "-cert", good, "-key", good, "-cert_chain", chain).stdout
    mail.wait_log("SSL_accept error from")
    assert "220 mail.example.test" in s_client(mail, "-cert", good, "-key", good).stdout


def hello(mail, c, session=None, service="submissions"):
    """One session; returns (was it resumed, session, pid-independent greeting)."""
    with socket.create_connection((mail.ip, mail.port(service)), timeout=DEADLINE) as s:
        with c.wrap_socket(s, session=session) as t:
            assert t.recv(200).startswith(b"220 ") or service != "submissions"
            t.sendall(b"QUIT\r\n")
            while t.recv(1000):
                pass
            return t.session_reused, t.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_are_good_at_all_processes_and_after_a_restart(make_instance, version):
    mail = make_instance().start()
    pids = [pid for _, pid in mail.processes("smtpd")]
    assert len(pids) == 6
    c = context(version)
    was_resumed, session = hello(mail, c)
    assert not was_resumed
    # which of the two processes accepts is the kernel's choice
    assert all(hello(mail, c, session)[0] for _ in range(20))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len({p for _, p in mail.processes("smtpd")} - set(pids)) == 6, what="new workers")
    assert all(hello(mail, c, session)[0] for _ in range(20))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_is_no_good_at_another_service(make_instance, version):
    mail = make_instance(master_cf=MASTER_CF.replace(
        "{ip}:2587", "{ip}:2588   inet n  -  y  -  2  smtpd -o smtpd_tls_wrappermode=yes\n{ip}:2587")).start()
    c = context(version)
    session = hello(mail, c)[1]
    assert hello(mail, c, session)[0]
    with socket.create_connection((mail.ip, 2588), timeout=DEADLINE) as s, c.wrap_socket(s, session=session) as t:
        assert t.recv(200).startswith(b"220 ") and not t.session_reused
    with socket.create_connection((mail.ip, mail.port("imaps")), timeout=DEADLINE) as s, \
            c.wrap_socket(s, session=session) as t:
        assert t.recv(200).startswith(b"* OK") and not t.session_reused


def test_no_tickets_where_sessions_are_not_to_be_resumed(make_instance):
    mail = make_instance(main_cf="smtpd_tls_session_cache_timeout = 0\n").start()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        session = hello(mail, context(version))[1]
        assert session is None or not session.has_ticket


def test_renegotiation_is_refused(make_instance):
    mail = make_instance().start()
    where = "%s:%d" % (mail.ip, mail.port("submissions"))
    r = subprocess.run(["openssl", "s_client", "-connect", where, "-tls1_2"], input="R\n", text=True,
                       capture_output=True, timeout=DEADLINE)
    assert "no renegotiation" in r.stdout + r.stderr


def test_protocols_and_ciphers(make_instance):
    mail = make_instance(main_cf="smtpd_tls_mandatory_protocols = TLSv1.2\n"
                                 "smtpd_tls_exclude_ciphers = AES128-GCM-SHA256, ECDHE-ECDSA-CHACHA20-POLY1305\n"
                                 "smtpd_tls_loglevel = 0\nsmtpd_tls_received_header = no\n")
    mail.add_users("alice@example.test")
    mail.start()

    def talk(*args, service="submissions"):
        return s_client(mail, *args, service=service).stdout

    assert "220 " in talk("-tls1_2")
    assert "220 " not in talk("-tls1_3")
    assert "QUIT" not in talk("-tls1_1", "-cipher", "ALL:@SECLEVEL=0") and "220 " not in talk(
        "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "220 " not in talk("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert "220 " in talk("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert "using TLS" not in send(mail, "quiet")  # TLS 1.3 where TLS is not mandatory
    assert "TLS connection established" not in mail.log_text()


def test_handshakes_in_bits_and_handshakes_that_never_end(make_instance):
    """hostile.md case 35: one byte a segment, nothing but a ClientHello, half a record; others do not notice."""
    mail = make_instance(main_cf="smtpd_starttls_timeout = 5s\n").start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing)
    idle = []
    for _ in range(100):
        idle.append(mail.connect("submissions"))
        idle[-1].sendall(b"\x16\x03\x01\x02")
    with mail.connect("submissions") as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for b in outgoing.read():
                    s.sendall(bytes([b]))
                incoming.write(s.recv(10000))
        for b in outgoing.read():
            s.sendall(bytes([b]))
        # and each byte of a command in a record of its own
        for b in b"QUIT\r\n":
            tls.write(bytes([b]))
        s.sendall(outgoing.read())
        got = b""
        while b"221 " not in got:
            incoming.write(s.recv(10000))
            try:
                got += tls.read(10000)
            except ssl.SSLWantReadError:
                continue
    for s in idle:
        s.settimeout(DEADLINE)
        while s.recv(100):
            pass
        s.close()
    wait_until(lambda: mail.log_text().count("SSL_accept error from") >= 100)
