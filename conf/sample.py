"""A configuration on one loopback address with a certificate of its own: of the demo and of every test."""
import os
import subprocess

PORTS = {"smtp": 2525, "submission": 2587, "submissions": 2465, "imap": 2143, "imaps": 2993, "pop3": 2110,
         "pop3s": 2995}

MAIN_CF = """\
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.1/32
virtual_mailbox_domains = {domain}
virtual_alias_maps = hash:$config_directory/virtual
virtual_mailbox_base = {dir}/mail
user_database = btree:$data_directory/users
queue_directory = {dir}/queue
data_directory = {dir}/data
log_file = {dir}/log
tls_cert_file = $config_directory/cert.pem
tls_key_file = $config_directory/key.pem
"""

MASTER_CF = """\
# service         type private unpriv chroot wakeup maxproc command + args
{ip}:2525   inet n       -      y      -      2       smtpd
{ip}:2587   inet n       -      y      -      2       smtpd -o smtpd_submission=yes
{ip}:2465   inet n       -      y      -      2       smtpd -o smtpd_submission=yes -o smtpd_tls_wrappermode=yes
{ip}:2143   inet n       -      y      -      2       imapd-login
{ip}:2993   inet n       -      y      -      2       imapd-login -o tls_wrappermode=yes
{ip}:2110   inet n       -      y      -      2       pop3d-login
{ip}:2995   inet n       -      y      -      2       pop3d-login -o tls_wrappermode=yes
imapd             unix y       -      y      -      -       imapd
pop3d             unix y       -      y      -      -       pop3d
authd             unix y       -      y      -      -       authd
qmgr              unix y       -      y      -      1       qmgr
relay             unix y       -      y      -      2       relay
delivery          unix y       -      y      -      -       delivery
keyd              unix y       -      y      -      1       keyd
dnsd              unix y       -      y      -      1       dnsd
log               unix y       -      y      -      1       log
"""


def make_certificate(directory, name, ip, key_type="ec"):
    """Self-signed certificate and key as cert.pem and key.pem; the address stands as a name too, for clients
    (mbsync) that compare nothing but names."""
    newkey = ["-newkey", "rsa:2048"] if key_type == "rsa" else [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=" + name,
         "-addext", "subjectAltName=DNS:%s,DNS:localhost,IP:%s,DNS:%s" % (name, ip, ip),
         "-keyout", directory / "key.pem", "-out", directory / "cert.pem", *newkey],
        check=True, capture_output=True)
    os.chmod(directory / "key.pem", 0o600)


def write(directory, ip, hostname="mail.example.test", domain="example.test", main_cf="", master_cf=None, virtual="",
          key_type="ec"):
    """Makes DIRECTORY/conf; everything else of the instance will lie in DIRECTORY too.  main_cf is added at the end;
    the aliases are still to be built.  Returns the configuration's directory."""
    conf = directory / "conf"
    conf.mkdir()
    values = dict(dir=directory, ip=ip, hostname=hostname, domain=domain)
    (conf / "main.cf").write_text(MAIN_CF.format(**values) + main_cf)
    (conf / "master.cf").write_text((master_cf or MASTER_CF).format(**values))
    (conf / "virtual").write_text(virtual)
    make_certificate(conf, hostname, ip, key_type)
    return conf
