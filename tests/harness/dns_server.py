"""A real name server (NSD) on a loopback address, serving zones of a test."""
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from instance import LoopbackAddress, wait_until

PORT = 5353


class NameServer:
    """zones: name -> text of records (without SOA and NS)."""

    def __init__(self, zones):
        self.address = LoopbackAddress()
        self.ip = self.address.ip
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="estafeta-nsd-"))
        self.process = None
        conf = ["server:", "  ip-address: %s@%d" % (self.ip, PORT), "  username: \"\"", "  chroot: \"\"",
                "  zonesdir: \"%s\"" % self.dir, "  pidfile: \"\"", "  logfile: \"%s/log\"" % self.dir,
                "  xfrdfile: \"\"", "  zonelistfile: \"%s/zonelist\"" % self.dir, "  xfrdir: \"%s\"" % self.dir,
                "  database: \"\"", "  server-count: 1", "remote-control:", "  control-enable: no"]
        for name, records in zones.items():
            self.write_zone(name, records)
            conf += ["zone:", "  name: \"%s\"" % name, "  zonefile: \"%s.zone\"" % name]
        (self.dir / "nsd.conf").write_text("\n".join(conf) + "\n")

    @property
    def forwarder(self):
        return "%s@%d" % (self.ip, PORT)

    def write_zone(self, name, records, serial=1):
        (self.dir / (name + ".zone")).write_text(
            "$ORIGIN %s.\n$TTL 60\n@ IN SOA ns hostmaster %d 3600 600 86400 5\n@ IN NS ns\nns IN A %s\n%s\n" % (
                name, serial, self.ip, records))

    def sign(self, zone, change=lambda text: text):
        """Signs a zone that was written; change: of the signed text.  Returns the trust anchor."""
        def run(*args):
            return subprocess.run(args, cwd=self.dir, check=True, capture_output=True, text=True).stdout.strip()

        key = run("ldns-keygen", "-r", "/dev/urandom", "-a", "ECDSAP256SHA256", "-k", zone)
        file = zone + ".zone"
        run("ldns-signzone", "-f", file + ".signed", file, key)
        (self.dir / file).write_text(change((self.dir / (file + ".signed")).read_text()))
        return (self.dir / (key + ".key")).read_text()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def start(self):
        self.process = subprocess.Popen(["nsd", "-d", "-c", self.dir / "nsd.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, what="nsd")
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("nsd ended: " + (self.dir / "log").read_text())
        with socket.socket() as s:
            return s.connect_ex((self.ip, PORT)) == 0

    def close(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.address.release()
        shutil.rmtree(self.dir, ignore_errors=True)
