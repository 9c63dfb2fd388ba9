"""Postfix, Exim and OpenSMTPD as Debian has them, each a private instance on a loopback address.

conf/install-deps.sh unpacks the packages below build/peers; nothing of them is installed.  A server runs in mount and process
namespaces of its own, where its package lies over /usr and /etc, the test's files and users over /etc, and /var is a directory
of the test: it finds everything at the places it was built for, and dies as a whole."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

import procs
from instance import ROOT, LoopbackAddress, wait_until

PORT = 2525
SIZE_LIMIT = 25 * 1024 * 1024
UIDS = {"postfix": 64901, "postdrop": 64902, "Debian-exim": 64903, "opensmtpd": 64904, "opensmtpq": 64905, "box": 64906}
WALLS = """\
set -e
mount -t overlay none -o lowerdir="$PACKAGE/usr":/usr /usr
mount -t overlay none -o lowerdir="$OWN/etc":"$PACKAGE/etc":/etc /etc
mount --bind "$OWN/var" /var
exec "$@"
"""


class Peer:
    """mx.b.test: has mailboxes b.test, sends a.test on to mail.a.test at port 2525, whose certificate ca has to have signed.

    grey@b.test is put off with 4xx until open_greylist(); full@b.test is accepted and then bounces.  Who comes from loopback may
    send anywhere."""
    package = ""
    command = ()
    utf8 = True
    tls = True          # as a server
    envid, orcpt = "out+1", "rfc822;first+out@x.test"  # as its notices tell ENVID=out+2B1 ORCPT=rfc822;first+2Bout@x.test

    def __init__(self, users, cert, ca):
        self.address = LoopbackAddress()
        self.ip, self.users, self.process = self.address.ip, users, None
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="estafeta-peer-"))
        os.chmod(self.dir, 0o755)
        for d in ("spool", "lib", "log", "mail", "run", "tmp"):
            (self.dir / "var" / d).mkdir(parents=True)
        os.chmod(self.dir / "var" / "tmp", 0o1777)
        os.chown(self.dir / "var" / "mail", UIDS["box"], UIDS["box"])
        for name, number in (("passwd", "%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"), ("group", "%s:x:%d:\n")):
            lines = [x for x in pathlib.Path("/etc", name).read_text().splitlines(True) if x.split(":")[0] not in UIDS]
            self.etc(name, "".join(lines) + "".join(
                number % ((u, n, n) if name == "passwd" else (u, n)) for u, n in UIDS.items()))
        self.etc("ca.pem", ca.pem().decode())
        self.etc("ssl/certs/ca-certificates.crt", ca.pem().decode())
        self.etc("peer.pem", cert.pem().decode())
        self.etc("peer.key", cert.key_pem().decode(), "Debian-exim")

    def etc(self, name, text, owner="root"):
        path = self.dir / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if owner != "root":
            os.chmod(path, 0o400)
            os.chown(path, UIDS[owner], UIDS[owner])

    def start(self, mail_ip):
        self.etc("hosts", "127.0.0.1 localhost\n%s mx.b.test\n%s mail.a.test\n" % (self.ip, mail_ip))
        self.configure()
        package = ROOT / "build" / "peers" / self.package
        assert (package / "usr").is_dir(), "not unpacked: conf/install-deps.sh test"
        (package / "etc").mkdir(exist_ok=True)
        with open(self.dir / "said", "w") as said:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", WALLS, "sh", *self.command],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PACKAGE": str(package), "OWN": str(self.dir)},
                stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        wait_until(self.answers, what=self.package)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("%s ended: %s" % (self.package, self.log_text()))
        with socket.socket() as s:
            return s.connect_ex((self.ip, PORT)) == 0

    def run(self, *command):
        """A command behind the walls."""
        inside = procs.children(self.process.pid)[1]
        return subprocess.run(["nsenter", "-t", str(inside), "-m", "-p", *command], capture_output=True, text=True)

    def close(self):
        if self.process is not None:
            for pid in procs.children(self.process.pid)[1:2]:  # the namespace's first: all others die with it
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.address.release()
        if not os.environ.get("KEEP_TEST_DIRS"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def log_text(self):
        found = ""
        for path in [self.dir / "said", *sorted((self.dir / "var" / "log").glob("*"))]:
            with contextlib.suppress(FileNotFoundError):
                found += path.read_text(errors="replace")
        return found

    def messages(self, user):
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in (self.dir / "var" / "mail" / user / "new").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found.append(path.read_bytes())
        return found

    def open_greylist(self):
        (self.dir / "var" / "mail" / "open").touch()

    def retry(self):
        """Makes what waits go on; servers that come again by themselves within a second have nothing to do."""


class Postfix(Peer):
    package = "postfix"
    command = ("/usr/sbin/postfix", "start-fg")
    verified = "Verified TLS connection established to mail.a.test"
    MAIN_CF = """\
compatibility_level = 3.6
maillog_file = /var/log/maillog
inet_interfaces = loopback-only
inet_protocols = ipv4
smtp_bind_address = {ip}
myhostname = mx.b.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
disable_dns_lookups = yes
smtp_host_lookup = native
virtual_mailbox_domains = b.test
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = inline:{{ {boxes} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_mailbox_limit = 0
message_size_limit = {size}
transport_maps = inline:{{ {{a.test=smtp:[mail.a.test]:2525}} {{full@b.test=full:}} }}
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{grey@b.test=grey}} }}
smtpd_restriction_classes = grey
grey = check_policy_service unix:private/grey
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/peer.pem
smtpd_tls_key_file = /etc/peer.key
smtpd_tls_received_header = yes
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = hostname
smtp_tls_CAfile = /etc/ca.pem
smtp_tls_loglevel = 1
smtp_tls_connection_reuse = yes
smtp_connection_cache_destinations = a.test
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtpd_peername_lookup = no
"""
    GREY = """\
import os, sys
for line in iter(sys.stdin.readline, ""):
    if line == "\\n":
        print("action=%s\\n" % ("dunno" if os.path.exists("/var/mail/open") else "defer 4.7.1 come again"), flush=True)
"""
    MASTER_CF = """\
{ip}:2525 inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsproxy unix - - n - 0 tlsproxy
scache unix - - n - 1 scache
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
full unix - n n - - pipe user=nobody argv=/bin/sh -c {{exit 69}}
grey unix - n n - 0 spawn user=nobody argv=/usr/bin/python3 /etc/grey.py
"""

    def configure(self):
        boxes = " ".join("{%s@b.test=%s/}" % (u, u) for u in [*self.users, "grey", "full"])
        self.etc("postfix/main.cf", self.MAIN_CF.format(ip=self.ip, boxes=boxes, uid=UIDS["box"], size=SIZE_LIMIT))
        self.etc("postfix/master.cf", self.MASTER_CF.format(ip=self.ip))
        self.etc("grey.py", self.GREY)
        for d in ("spool", "lib"):
            (self.dir / "var" / d / "postfix").mkdir()
        os.chown(self.dir / "var" / "lib" / "postfix", UIDS["postfix"], UIDS["postfix"])


class Exim(Peer):
    package = "exim4-daemon-light"
    command = ("/usr/sbin/exim4", "-bdf", "-q1s")
    verified = "CV=yes"
    envid, orcpt = "out+2B1", "rfc822;first+2Bout@x.test"  # not decoded, against RFC 3464 2.2.1
    CONF = """\
primary_hostname = mx.b.test
local_interfaces = {ip}
daemon_smtp_ports = 2525
pid_file_path = /var/spool/exim4/pid
log_file_path = /var/log/%slog
keep_environment =
tls_advertise_hosts = *
tls_certificate = /etc/peer.pem
tls_privatekey = /etc/peer.key
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
message_size_limit = {size}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  defer
    recipients = grey@b.test
    condition = ${{if exists{{/var/mail/open}}{{no}}{{yes}}}}
    message = come again
  accept
    recipients = full@b.test
  accept
    domains = b.test
    verify = recipient
  accept
    domains = a.test
begin routers
full:
  driver = redirect
  local_parts = full
  domains = b.test
  allow_fail
  data = :fail: 5.2.2 mailbox full
here:
  driver = accept
  domains = b.test
  local_parts = grey : {boxes}
  transport = box
  cannot_route_message = unknown user
there:
  driver = manualroute
  domains = a.test
  route_list = a.test mail.a.test byname
  self = send
  transport = smtp
begin transports
box:
  driver = appendfile
  directory = /var/mail/$local_part_data
  maildir_format
  user = box
smtp:
  driver = smtp
  port = 2525
  interface = {ip}
  allow_localhost
  hosts_require_tls = *
  tls_verify_hosts = *
  tls_verify_certificates = /etc/ca.pem
  tls_verify_cert_hostnames = *
begin retry
* * F,1h,1s
"""

    def configure(self):
        self.etc("exim4/exim4.conf", self.CONF.format(ip=self.ip, boxes=" : ".join(self.users), size=SIZE_LIMIT))
        for d in ("log", "spool/exim4"):
            (self.dir / "var" / d).mkdir(exist_ok=True)
            os.chown(self.dir / "var" / d, UIDS["Debian-exim"], UIDS["Debian-exim"])


class OpenSmtpd(Peer):
    """Its notices are multipart/mixed, tell neither ENVID nor ORCPT, and have the body whatever RET says.
    The build of Debian 12 offers STARTTLS, but its process for keys is not reached by OpenSSL 3: each handshake fails."""
    package = "opensmtpd"
    command = ("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")
    verified = "server-cert-check result=\"success\""
    utf8 = tls = False
    envid = orcpt = None
    CONF = """\
pki mx.b.test cert "/etc/peer.pem"
pki mx.b.test key "/etc/opensmtpd.key"
smtp max-message-size "{size}"
table users file:/etc/users
filter "grey" proc-exec "/usr/bin/python3 /etc/grey.py" user nobody group nogroup
listen on {ip} port 2525 tls pki mx.b.test hostname mx.b.test filter "grey"
action "full" mda "exit 67" userbase <users>
action "box" maildir "/var/mail/%{{dest.user}}" userbase <users>
action "there" relay host "smtp+tls://mail.a.test:2525" src {ip} helo mx.b.test
match from any for rcpt-to "full@b.test" action "full"
match from any for domain "b.test" action "box"
match from any for domain "a.test" action "there"
"""
    GREY = """\
import os, sys
for line in iter(sys.stdin.readline, ""):
    if line.startswith("config|ready"):
        print("register|filter|smtp-in|rcpt-to\\nregister|ready", flush=True)
    elif line.startswith("filter|"):
        part = line.rstrip("\\n").split("|")
        stays = part[7].startswith("grey@b.test") and not os.path.exists("/var/mail/open")
        print("filter-result|%s|%s|%s" % (part[5], part[6], "reject|451 4.7.1 come again" if stays else "proceed"), flush=True)
"""

    def configure(self):
        self.etc("smtpd.conf", self.CONF.format(ip=self.ip, size=SIZE_LIMIT))
        self.etc("users", "".join("%s %d:%d:/var/mail\n" % (u, UIDS["box"], UIDS["box"]) for u in [*self.users, "grey", "full"]))
        self.etc("grey.py", self.GREY)
        shutil.copy(self.dir / "etc" / "peer.key", self.dir / "etc" / "opensmtpd.key")
        os.chmod(self.dir / "etc" / "opensmtpd.key", 0o600)
        self.etc("mailname", "mx.b.test\n")
        (self.dir / "var" / "spool" / "smtpd").mkdir(mode=0o711)
        (self.dir / "var" / "lib" / "opensmtpd" / "empty").mkdir(parents=True, mode=0o711)

    def retry(self):
        self.run("setpriv", "--regid", str(UIDS["opensmtpq"]), "--clear-groups", "smtpctl", "schedule", "all")
