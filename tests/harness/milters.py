"""Real milters from Debian, each started in a directory of its own on a loopback address, and one that follows a script."""
import contextlib
import socket
import socketserver
import struct
import subprocess
import threading

from instance import wait_until

RSPAMD_CONF = """\
options {{
  pidfile = "{dir}/rspamd.pid"; temp_dir = "{dir}"; cache_file = "{dir}/symbols.cache"; hs_cache_dir = "{dir}";
  filters = "regexp"; control_socket = "{dir}/control.sock"; dns {{ nameserver = ["127.0.0.1:1"]; }}
  local_addrs = ["192.0.2.0/24"]; history_rows = 10; url_tld = "{dir}/tlds";
}}
logging {{ type = "file"; filename = "{dir}/rspamd.log"; level = "info"; }}
actions {{ reject = 15; add_header = 6; greylist = 4; }}
modules {{ path = "/usr/share/rspamd/plugins/force_actions.lua"; path = "/usr/share/rspamd/plugins/milter_headers.lua"; }}
milter_headers {{ use = ["x-spam-status", "x-spamd-result"]; skip_local = false; skip_authenticated = false; }}
force_actions {{ rules {{ LATER {{
  action = "soft reject"; expression = "TEST_GREY"; message = "Greylisted, please try again later"; }} }} }}
lua = "{dir}/rules.lua";
worker "rspamd_proxy" {{
  bind_socket = "{address}"; milter = yes; count = 1; timeout = 20s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
"""

RSPAMD_RULES = """\
rspamd_config:register_symbol({ name = 'TEST_GREY', score = 0.0, callback = function(task)
  return task:get_header('X-Test') == 'grey' end })
rspamd_config:register_symbol({ name = 'TEST_HAM', score = 1.5, callback = function(task)
  return task:get_header('X-Test') == 'ham' end })
"""


def accepts(ip, port):
    with socket.socket() as s:
        return s.connect_ex((ip, port)) == 0


class Milter:
    """ARGS in the foreground until close(); ready once is_ready()."""

    def __init__(self, directory, args, is_ready):
        with open(directory / "output", "wb") as out:
            self.process = subprocess.Popen(args, stdout=out, stderr=out, cwd=directory)
        try:
            wait_until(lambda: is_ready() or self.process.poll() is not None, what="%s to listen" % args[0])
            assert self.process.poll() is None, (directory / "output").read_text(errors="replace")
        except AssertionError:
            self.close()
            raise

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)


def rspamd(directory, ip, port):
    (directory / "rules.lua").write_text(RSPAMD_RULES)
    (directory / "tlds").write_text("test\n")  # compiling all of the world's takes many seconds
    (directory / "rspamd.conf").write_text(RSPAMD_CONF.format(dir=directory, address="%s:%d" % (ip, port)))
    return Milter(directory, ["rspamd", "-f", "-i", "-c", directory / "rspamd.conf"], lambda: accepts(ip, port))


def opendkim(directory, *options):
    """At DIRECTORY/socket, for everybody.  options: lines of opendkim.conf."""
    path = directory / "socket"
    conf = ["Socket local:%s" % path, "UMask 0000", "Background no", "Syslog no", "RequireSafeKeys no", *options]
    (directory / "opendkim.conf").write_text("\n".join(conf) + "\n")
    return Milter(directory, ["opendkim", "-f", "-x", directory / "opendkim.conf"], path.is_socket)


EICAR = r"X5O!P%@AP[4\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"  # apart: no scanner shall find it here


def options_file(path, options):
    path.write_text("".join("%s %s\n" % o for o in options.items()))
    return path


def clamd(directory):
    """At DIRECTORY/clamd; all it knows is the test virus."""
    path = directory / "clamd"
    (directory / "db").mkdir()
    (directory / "db" / "test.ndb").write_text("Test.Eicar:0:*:%s\n" % EICAR.encode().hex())
    conf = options_file(directory / "clamd.conf", {
        "LocalSocket": path, "DatabaseDirectory": directory / "db", "TemporaryDirectory": directory, "Foreground": "yes",
        "MaxThreads": 2, "SelfCheck": 0, "Bytecode": "no", "PhishingSignatures": "no"})
    return Milter(directory, ["clamd", "-c", conf], path.is_socket)


def clamav_milter(directory, scanner, **options):
    """At DIRECTORY/socket, for everybody; scanner: clamd's socket."""
    path = directory / "socket"
    conf = options_file(directory / "clamav-milter.conf", {
        "MilterSocket": "unix:%s" % path, "MilterSocketMode": "666", "ClamdSocket": "unix:%s" % scanner,
        "TemporaryDirectory": directory, "Foreground": "yes", "OnFail": "Defer", **options})
    return Milter(directory, ["clamav-milter", "-c", conf], path.is_socket)


def packet(data):
    return struct.pack(">I", len(data)) + data


class Script(socketserver.ThreadingTCPServer):
    """A milter that keeps what it is told, [(command, data, macros)], and says `answers` (whole packets' contents) at the
    end of a message before it accepts.  options: (actions, protocol) that it negotiates."""
    allow_reuse_address = daemon_threads = True

    def __init__(self, ip, port=0, answers=(), options=(0x1ff, 0)):
        super().__init__((ip, port), Script.Conversation)
        self.answers, self.options, self.told = answers, options, []
        self.endpoint = "inet:%s:%d" % self.server_address
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def seen(self, command):
        """[(data, macros)] of all such commands."""
        return [(data, macros) for c, data, macros in self.told if c == command]

    class Conversation(socketserver.BaseRequestHandler):
        def handle(self):
            f = self.request.makefile("rb")
            macros = {}
            with contextlib.suppress(OSError, struct.error):
                while True:
                    (size,) = struct.unpack(">I", f.read(4))
                    data = f.read(size)
                    command, data = data[:1].decode(), data[1:]
                    if command == "D":
                        words = data[1:].split(b"\0")[:-1]
                        macros = {k.decode().strip("{}"): v.decode() for k, v in zip(words[::2], words[1::2])}
                        continue
                    self.server.told.append((command, data, macros))
                    macros = {}
                    if command == "O":
                        self.request.sendall(packet(b"O" + struct.pack(">III", 6, *self.server.options)))
                    elif command == "E":
                        self.request.sendall(b"".join(map(packet, self.server.answers)) + packet(b"c"))
                    elif command not in "AQ":
                        self.request.sendall(packet(b"c"))
