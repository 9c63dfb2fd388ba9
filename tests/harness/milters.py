"""Real milters from Debian, each started in a directory of its own on a loopback address."""
import socket
import subprocess

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
