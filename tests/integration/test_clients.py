"""Real clients against a real instance."""
import imaplib
import os
import subprocess

import pytest

from instance import wait_until

MESSAGE = "From: alice@example.test\r\nTo: bob@example.test\r\nSubject: %s\r\n\r\nHello.\r\n.dot\r\n"


def run(*args, input=None, env=None, timeout=60):
    r = subprocess.run([str(a) for a in args], input=input, capture_output=True, text=True, timeout=timeout,
                       env={**os.environ, **(env or {})})
    assert r.returncode == 0, (args, r.stdout, r.stderr)
    return r.stdout


def arrived(mail, subject, address="bob@example.test"):
    return [m for m in mail.messages(address) if b"Subject: %s\n" % subject.encode() in m]


@pytest.mark.parametrize("options", [
    ["--port", "2587", "-tls", "--auth", "PLAIN"],
    ["--port", "2587", "-tls", "--auth", "LOGIN"],
    ["--port", "2465", "-tlsc", "--auth", "PLAIN"],
    ["--port", "2525", "--pipeline"],
])
def test_swaks(mail, options):
    subject = "swaks " + " ".join(options)
    auth = ["--auth-user", "alice@example.test", "--auth-password", "secret"] if "--auth" in options else []
    run("swaks", "--server", mail.ip, *options, *auth, "--from", "alice@example.test", "--to", "bob@example.test",
        "--h-Subject", subject, "--body", "hello", "--local-interface", "127.0.0.1")
    wait_until(lambda: arrived(mail, subject))


@pytest.mark.parametrize("scheme, port", [("smtp", 2587), ("smtps", 2465)])
def test_curl_sends_and_reads(mail, tmp_path, scheme, port):
    subject = "curl-" + scheme
    (tmp_path / "m").write_text(MESSAGE % subject)
    ca = mail.conf / "cert.pem"
    name = "mail.example.test"
    resolve = ["--resolve", "%s:%d:%s" % (name, port, mail.ip), "--cacert", ca, "--ssl-reqd", "-sS"]
    run("curl", *resolve, "%s://%s:%d/client" % (scheme, name, port), "--mail-from", "alice@example.test", "--mail-rcpt",
        "bob@example.test", "--user", "alice@example.test:secret", "-T", tmp_path / "m")
    wait_until(lambda: arrived(mail, subject))
    for url in ("imaps://%s:2993/INBOX?SUBJECT%%20%s" % (name, subject),
                "imap://%s:2143/INBOX?SUBJECT%%20%s" % (name, subject),
                "pop3s://%s:2995/1" % name, "pop3://%s:2110/1" % name):
        p = url.split(":")[2].split("/")[0]
        out = run("curl", "--resolve", "%s:%s:%s" % (name, p, mail.ip), "--cacert", ca, "--ssl-reqd", "-sS", "--user",
                  "bob@example.test:secret", url)
        assert out.strip()


def test_msmtp(mail, tmp_path):
    (tmp_path / "rc").write_text(
        "account default\nhost %s\nport 2587\ntls on\ntls_starttls on\ntls_certcheck off\nauth plain\n"
        "user alice@example.test\npassword secret\nfrom alice@example.test\n" % mail.ip)
    os.chmod(tmp_path / "rc", 0o600)
    run("msmtp", "-C", tmp_path / "rc", "bob@example.test", input=MESSAGE % "msmtp")
    wait_until(lambda: arrived(mail, "msmtp"))


def mbsync_config(mail, directory, user):
    (directory / "rc").write_text("""\
IMAPAccount a
Host %s
Port 2993
User %s
Pass secret
SSLType IMAPS
CertificateFile %s
SystemCertificates no

IMAPStore far
Account a

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
SyncState *
""" % (mail.ip, user, mail.conf / "cert.pem", directory / "mail", directory / "mail"))
    (directory / "mail").mkdir()


def test_mbsync_both_ways_with_flags_and_deletions(mail, tmp_path):
    user = "carol@example.test"
    mbsync_config(mail, tmp_path, user)
    for n in range(5):
        run("swaks", "--server", mail.ip, "--port", "2525", "--local-interface", "127.0.0.1", "--from", "x@y.test",
            "--to", user, "--h-Subject", "mbsync %d" % n)
    wait_until(lambda: len(mail.messages(user)) == 5)
    sync = lambda: run("mbsync", "-c", tmp_path / "rc", "-a", env={"HOME": str(tmp_path)})
    sync()
    inbox = tmp_path / "mail" / "INBOX"
    names = lambda: {n for d in ("new", "cur") for n in os.listdir(inbox / d)}
    assert len(names()) == 5
    # near to far: a flag, a deletion, a new message, a new folder
    by_subject = {}
    for d in ("new", "cur"):
        for n in os.listdir(inbox / d):
            text = (inbox / d / n).read_bytes()
            by_subject[text.split(b"Subject: ")[1].split(b"\n")[0].strip().decode()] = inbox / d / n
    flagged = by_subject["mbsync 1"]
    base = flagged.name.split(":2,")[0]
    flagged.rename(inbox / "cur" / (base + ":2,FS"))
    by_subject["mbsync 2"].unlink()
    (inbox / "cur" / "123.near:2,S").write_bytes(b"Subject: from near\n\nnear body\n")
    sub = tmp_path / "mail" / "Archive"
    for d in ("cur", "new", "tmp"):
        (sub / d).mkdir(parents=True)
    (sub / "cur" / "124.near:2,S").write_bytes(b"Subject: archived\n\nbody\n")
    sync()
    m = imaplib.IMAP4_SSL(mail.ip, 2993, ssl_context=mail.tls())
    m.login(user, "secret")
    m.select("INBOX")
    assert m.search(None, "SUBJECT", '"mbsync 2"')[1] == [b""]
    assert m.search(None, "FLAGGED", "SEEN", "SUBJECT", '"mbsync 1"')[1][0].split()
    assert m.search(None, "SUBJECT", '"from near"')[1][0].split()
    assert m.select("Archive")[1] == [b"1"]
    # far to near: a deletion and a flag
    m.select("INBOX")
    n = m.search(None, "SUBJECT", '"mbsync 3"')[1][0].split()[0]
    m.store(n, "+FLAGS", "(\\Deleted)")
    m.expunge()
    n = m.search(None, "SUBJECT", '"mbsync 4"')[1][0].split()[0]
    m.store(n, "+FLAGS", "(\\Answered)")
    m.logout()
    sync()
    texts = {n: (inbox / d / n).read_bytes() for d in ("new", "cur") for n in os.listdir(inbox / d)}
    assert not any(b"mbsync 3" in t for t in texts.values())
    assert any(b"mbsync 4" in t and "R" in n.split(":2,")[1] for n, t in texts.items() if ":2," in n)
    sync()


def test_fetchmail_keeps_and_fetches_once(mail, tmp_path):
    run("swaks", "--server", mail.ip, "--port", "2525", "--local-interface", "127.0.0.1", "--from", "x@y.test", "--to",
        "alice@example.test", "--h-Subject", "fetchmail 1")
    wait_until(lambda: arrived(mail, "fetchmail 1", "alice@example.test"))
    (tmp_path / "rc").write_text(
        "poll %s protocol POP3 port 2995 uidl user alice@example.test password secret ssl sslproto TLS1.2+ "
        "no sslcertck keep mda \"cat >>%s/got\"\n" % (mail.ip, tmp_path))
    os.chmod(tmp_path / "rc", 0o600)
    fetch = lambda: subprocess.run(["fetchmail", "-f", tmp_path / "rc", "-i", tmp_path / "ids", "--pidfile",
                                    tmp_path / "pid", "--nosyslog"], capture_output=True, text=True, timeout=60,
                                   env={**os.environ, "HOME": str(tmp_path)})
    r = fetch()
    assert r.returncode == 0, r.stderr + r.stdout
    assert (tmp_path / "got").read_text().count("Subject: fetchmail 1") == 1
    r = fetch()
    assert r.returncode == 1, r.stderr + r.stdout  # no new mail: the UIDLs are the same
    run("swaks", "--server", mail.ip, "--port", "2525", "--local-interface", "127.0.0.1", "--from", "x@y.test", "--to",
        "alice@example.test", "--h-Subject", "fetchmail 2")
    wait_until(lambda: arrived(mail, "fetchmail 2", "alice@example.test"))
    r = fetch()
    assert r.returncode == 0, r.stderr + r.stdout
    got = (tmp_path / "got").read_text()
    assert got.count("Subject: fetchmail 1") == 1 and got.count("Subject: fetchmail 2") == 1
