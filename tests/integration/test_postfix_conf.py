"""A main.cf and master.cf of Postfix load as they are; `estafeta check` names each line that is not honoured, and mail flows as
the others say.

The configurations are those below postfix/.  A test puts only what is of this instance in front of them (directories, name
server), and its own addresses and files in the place of ports, relayhost and paths."""
import pathlib
import re
import smtplib
import uuid

import pytest

from instance import DEADLINE, wait_until

DATA = pathlib.Path(__file__).parent / "postfix"
EX_CONFIG = 78

# --- what check says: {level: names of parameters and services}
NOTHING = {"error: ": [], "warning: ": [], "note: ": []}
PIPES = ["maildrop", "uucp"]
NAMED = {
    "debian": {
        "error: ": [],
        "warning: ": PIPES + ["ifmail", "bsmtp", "scalemail-backend", "mailman"],
        "note: ": ["biff", "readme_directory", "smtp_tls_CApath", "smtp_tls_session_cache_database"],
    },
    "company": {
        "error: ": [],
        "warning: ": PIPES + [
            "local_recipient_maps", "mailbox_command", "broken_sasl_auth_clients"],
        "note: ": [
            "command_directory", "daemon_directory", "mail_owner", "setgid_group", "sendmail_path", "newaliases_path",
            "mailq_path", "html_directory", "manpage_directory", "debug_peer_level", "debugger_command",
            "smtpd_tls_session_cache_database", "smtp_tls_session_cache_database",
            "tls_random_source", "smtpd_sasl_type", "smtpd_sasl_path", "biff", "readme_directory"],
    },
    "hosting": {
        "error: ": ["virtual_mailbox_domains", "virtual_alias_domains", "virtual_transport", "relay_domains",
             "relay_recipient_maps", "transport_maps", "smtp_tls_policy_maps", "virtual_minimum_uid"],
        "warning: ": PIPES + [
            "virtual_mailbox_maps", "virtual_uid_maps", "virtual_gid_maps", "dovecot_destination_recipient_limit",
            "tls_ssl_options", "policyd-spf_time_limit",
            "smtp-amavis_destination_concurrency_limit",
            "receive_override_options", "bounce_template_file",
            "smtp: maxproc", "submission-cleanup", "postmaster",
            # their sockets' directory is not there
            "smtpd_recipient_restrictions", "greylisted", "smtp-amavis", "policyd-spf", "dovecot",
            "127.0.0.1:10025: local_recipient_maps", "127.0.0.1:10025: relay_recipient_maps", "127.0.0.1:10025: receive_override_options"],
        "note: ": [
            "biff", "readme_directory", "enable_long_queue_ids", "default_process_limit", "in_flow_delay",
            "proxy_read_maps", "smtpd_sasl_type", "smtpd_sasl_path", "smtpd_tls_dh1024_param_file",
            "smtpd_tls_eecdh_grade", "smtpd_tls_session_cache_database", "smtp_tls_note_starttls_offer",
            "submission: cleanup_service_name"],
    },
    "outbound": {
        "error: ": ["local_transport", "transport_maps", "smtp_tls_policy_maps", "non_smtpd_milters"],
        "warning: ": [
            "local_recipient_maps", "maillog_file",
            "slow_destination_concurrency_limit", "slow_destination_rate_delay", "slow_destination_recipient_limit",
            "smtp_tls_loglevel", "smtp_header_checks", "slow"],
        "note: ": [
            "mail_spool_directory", "smtpd_sasl_type", "smtpd_sasl_path", "cyrus_sasl_config_path",
            "smtp_extra_recipient_limit", "smtp_connection_cache_destinations"],
    },
}


class Postfix:
    """An instance whose configuration is the one of postfix/NAME."""

    def __init__(self, instance, name, hosts=None):
        self.instance, self.conf = instance, instance.conf
        front = "".join(line + "\n" for line in (self.conf / "main.cf").read_text().splitlines() if line.split(" =")[0] in (
            "queue_directory", "data_directory", "virtual_mailbox_base", "log_file", "dns_forwarders", "dns_trust_anchor_file"))
        for path in (DATA / name).iterdir():
            text = self.placed(path.read_text(), hosts or {})
            (self.conf / path.name).write_text(front + text if path.name == "main.cf" else text)
        (self.conf / "mailname").write_text("site.example\n")
        for table in ("virtual", "roleaccounts", "recipients", "local_domains", "sender_login", "sasl_passwd",
                      "sender_canonical", "aliases", "generic"):
            if (self.conf / table).exists():
                instance.estafeta("map", "build", "hash:%s/%s" % (self.conf, table))

    def placed(self, text, hosts):
        for port, ours in (("smtp", 2525), ("submission", 2587), ("submissions", 2465), ("smtps", 2465)):
            text = re.sub(r"^%s(?= +inet )" % port, "%s:%d" % (self.instance.ip, ours), text, flags=re.M)
        text = re.sub(r"(cert_file *= *)\S+", r"\g<1>%s/cert.pem" % self.conf, text)
        text = re.sub(r"(key_file *= *)\S+", r"\g<1>%s/key.pem" % self.conf, text)
        for path in ("/etc/postfix", "/etc(?=/mailname)", "/etc(?=/aliases)"):
            text = re.sub(path, str(self.conf), text)
        for host, ours in hosts.items():
            text = text.replace(host, ours)
        return text

    def add(self, *lines):
        """As the admin does who reads what check says."""
        with open(self.conf / "main.cf", "a") as f:
            f.write("".join(line + "\n" for line in lines))

    def line_of(self, file, number):
        """Whose line it is: a parameter or, by its name in the data, a service."""
        lines = (self.conf / file).read_text().splitlines()
        name = re.split(r"[ \t=]", lines[number - 1])[0]
        for service, port in (("smtp", 2525), ("submission", 2587), ("submissions", 2465)):
            name = name.replace("%s:%d" % (self.instance.ip, port), service)
        return name

    def check(self):
        """Exit status and {level: names} of all that check says; "service: parameter" of an option in master.cf."""
        r = self.instance.estafeta("check", check=False)
        said = {level: [] for level in NOTHING}
        for line in r.stderr.splitlines():
            if "virtual_alias_maps: no alias for postmaster" in line:  # who was one in alias_maps
                said["warning: "].append("postmaster")
                continue
            m = re.fullmatch(r"estafeta: (error: |warning: |note: )%s/(main|master).cf:(\d+): (\S+): .*" % self.conf, line)
            assert m, line
            level, file, number, subject = m.groups()
            where = self.line_of(file + ".cf", int(number))
            if file == "main":
                assert subject == where, line
            is_option = file == "master" and re.fullmatch("[a-z_]+", subject) and subject != where
            said[level].append("%s: %s" % (where, subject) if is_option else where)
        return r.returncode, said


def sorted_sets(named):
    return {level: sorted(set(names)) for level, names in named.items()}


@pytest.fixture
def make_postfix(make_instance):
    def make(name, hosts=None, **kwargs):
        return Postfix(make_instance(**kwargs), name, hosts)
    return make


@pytest.mark.parametrize("name", sorted(NAMED))
def test_each_line_that_is_not_honoured_is_named(make_postfix, name):
    p = make_postfix(name)
    p.instance.add_user("anna@site.example")
    status, said = p.check()
    assert sorted_sets(said) == sorted_sets(NAMED[name])
    assert status == (EX_CONFIG if NAMED[name]["error: "] else 0)


# --- and mail flows
def send(p, sender, rcpt, service="smtp", login=None):
    """Returns the text by which the message is known."""
    ident = uuid.uuid4().hex
    port = p.instance.port(service)
    with (smtplib.SMTP_SSL(p.instance.ip, port, context=p.instance.tls(), timeout=DEADLINE) if service == "submissions"
          else smtplib.SMTP(p.instance.ip, port, timeout=DEADLINE)) as s:
        if service == "submission":
            s.starttls(context=p.instance.tls())
        if login is not None:
            s.login(login, "secret")
        s.sendmail(sender, rcpt, "From: %s\r\nSubject: %s\r\n\r\n.\r\n" % (sender, ident))
    return ident


def refusal(p, sender, rcpt, service="smtp", login=None):
    with pytest.raises((smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused)) as e:
        send(p, sender, rcpt, service, login)
    return next(iter(e.value.recipients.values()))[0] if hasattr(e.value, "recipients") else e.value.smtp_code


def wait_for(instance, address, ident):
    wait_until(lambda: any(ident.encode() in m for m in instance.messages(address)), what="mail to " + address)


def start(p, *lines):
    """As it is, the suite does not start; with what the admin adds it does, and says in the log what it ignores."""
    r = p.instance.estafeta("start", check=False)
    assert r.returncode == EX_CONFIG and "allow_ignored_parameters" in r.stderr
    p.add(*lines)
    p.instance.start()
    log = p.instance.log_text()
    for name in (p.conf / "main.cf").read_text().split("allow_ignored_parameters =")[1].splitlines()[0].split():
        assert len(re.findall(r"warning: \S+/main.cf:\d+: %s: not honoured" % name, log)) == 1
    return p


def test_debian(make_postfix):
    p = make_postfix("debian")
    p.instance.add_user("anna@site.example")
    p.instance.start()
    wait_for(p.instance, "anna@site.example", send(p, "x@elsewhere.example", "postmaster@site.example"))
    assert p.instance.estafeta("config", "myorigin").stdout == "myorigin = site.example\n"
    wait_for(p.instance, "anna@site.example", send(p, "x@elsewhere.example", "anna@site.example"))
    # recipient_delimiter
    wait_for(p.instance, "anna@site.example", send(p, "x@elsewhere.example", "anna+list@site.example"))
    assert refusal(p, "x@elsewhere.example", "nobody@site.example") == 550


def test_company(make_postfix, make_instance):
    """This provider wants a login; aliases are in virtual_alias_maps."""
    provider = make_instance(hostname="smtp.provider.example", domain="elsewhere.example")
    provider.add_users("dora@elsewhere.example", "kontor@elsewhere.example")
    provider.start()
    p = make_postfix("company", {"[smtp.provider.example]:587": "[%s]:2587" % provider.ip})
    p.instance.add_users("anna@kontor.example", "bert@kontor.example")
    p.instance.start()
    ident = send(p, "dora@elsewhere.example", "abuse@kontor.example")
    wait_for(p.instance, "anna@kontor.example", ident)
    wait_for(p.instance, "bert@kontor.example", ident)
    assert refusal(p, "dora@elsewhere.example", "nobody@kontor.example") == 550
    assert refusal(p, "anna@kontor.example", "dora@elsewhere.example", "submission") // 100 == 5
    for service in ("submission", "submissions"):
        ident = send(p, "anna@kontor.example", "dora@elsewhere.example", service, "anna@kontor.example")
        wait_for(provider, "dora@elsewhere.example", ident)
    assert "from=<kontor@elsewhere.example>" in provider.log_text()  # smtp_generic_maps
    assert "relay=" + provider.ip in p.instance.log_text()
    assert "sasl_username=kontor@elsewhere.example" in provider.log_text()
    assert "postfix/submission/smtpd[" in p.instance.log_text() and "postfix/smtps/smtpd[" in p.instance.log_text()


def test_hosting(make_postfix):
    """Customers' domains are listed, since they stand in a database; mailboxes are here and no longer behind Dovecot's LMTP; no
    domain is relayed; the filters are not there."""
    p = make_postfix("hosting")
    p.instance.add_users("bob@kunde-eins.example", "carol@kunde-zwei.example")
    # virtual_minimum_uid: the owner of mailboxes is not the one of before
    lines = ["virtual_minimum_uid = 100", "virtual_mailbox_domains = kunde-eins.example, kunde-zwei.example"]
    lines += ["content_filter =", "virtual_transport = virtual", "relay_domains =", "relay_recipient_maps =", "transport_maps =",
              "smtp_tls_policy_maps ="]
    mended = [line.split(" =")[0] for line in lines]
    start(p, "allow_ignored_parameters = " + " ".join(n for n in NAMED["hosting"]["error: "] if n not in mended), *lines)
    ident = send(p, "x@elsewhere.example", "info@kunde-eins.example")
    wait_for(p.instance, "bob@kunde-eins.example", ident)
    wait_for(p.instance, "carol@kunde-zwei.example", ident)
    wait_for(p.instance, "carol@kunde-zwei.example", send(p, "x@elsewhere.example", "anybody@kunde-zwei.example"))
    assert refusal(p, "x@elsewhere.example", "nobody@kunde-eins.example") == 550
    for service in ("submission", "submissions"):
        ident = send(p, "bob@kunde-eins.example", "carol@kunde-zwei.example", service, "bob@kunde-eins.example")
        wait_for(p.instance, "carol@kunde-zwei.example", ident)
        assert refusal(p, "bob@kunde-eins.example", "carol@kunde-zwei.example", service) // 100 == 5
        # submission_sender_restrictions, a name that only master.cf mentions
        assert refusal(p, "bob@host", "carol@kunde-zwei.example", service, "bob@kunde-eins.example") // 100 == 5


def test_outbound(make_postfix, make_instance, name_server):
    """Nothing is local anyhow; the rest, and the table that sends them slowly, is for
    single destinations."""
    there = make_instance(hostname="mx.there.example", domain="there.example")
    there.add_user("dora@there.example")
    there.start()
    dns = name_server({"there.example": "@ IN MX 10 mx\nmx IN A " + there.ip})
    p = make_postfix("outbound", dns=dns.forwarder)
    # the ports of this instance and of its peer, and nobody's idea of who may be asked
    (p.conf / "tls_policy").write_text("there.example encrypt\n")
    p.instance.estafeta("map", "build", "hash:%s/tls_policy" % p.conf)
    mended = ("transport_maps", "smtp_tls_policy_maps")
    start(p, "allow_ignored_parameters = " + " ".join(n for n in NAMED["outbound"]["error: "] if n not in mended),
          "smtp_tcp_port = 2525", "transport_maps =")
    wait_for(there, "dora@there.example", send(p, "app@relay.example", "dora@there.example"))
    wait_for(there, "dora@there.example", send(p, "www-data@web1.relay.example", "dora@there.example"))
    wait_for(there, "dora@there.example", send(p, "cron@web2.relay.example", "dora@there.example"))
    assert "from=<shop@relay.example>" in there.log_text() and "from=<cron@relay.example>" in there.log_text()
    assert "Untrusted TLS connection established to mx.there.example[" in p.instance.log_text()
    assert refusal(p, "app@relay.example", "dora@nowhere.there.example") == 450
    assert refusal(p, "app@host", "dora@there.example") == 504


def test_config_prints_what_stands_there(make_postfix):
    p = make_postfix("hosting")
    shown = p.instance.estafeta("config", "-n").stdout.splitlines()
    assert shown == sorted(shown, key=lambda line: line.split(" = ")[0])
    assert "transport_maps = hash:%s/transport" % p.conf in shown
    assert "mua_client_restrictions = permit_sasl_authenticated, reject" in shown
    r = p.instance.estafeta("config", "-e", "mailbox_transport_maps=hash:/x", check=False)
    assert r.returncode == 65 and "mailbox_transport_maps: a parameter of Postfix that does not exist here" in r.stderr
    p.instance.estafeta("config", "-e", "allow_ignored_parameters=mailbox_transport_maps")


def test_a_name_that_nobody_knows_stays_a_fault(make_postfix):
    p = make_postfix("debian")
    p.add("allow_ignored_parameters = luser_relay, alias_mapz", "transprt_maps = hash:/x", "nobodys_destination_rate_delay = 1s")
    r = p.instance.estafeta("check", check=False)
    assert r.returncode == EX_CONFIG
    for fault in ('unknown parameter "transprt_maps"', 'unknown parameter "nobodys_destination_rate_delay"'):
        assert fault in r.stderr, r.stderr
    text = (p.conf / "main.cf").read_text()
    (p.conf / "main.cf").write_text(text[:text.index("transprt_maps")])
    assert 'allow_ignored_parameters: "alias_mapz" is no parameter' in p.instance.estafeta("check", check=False).stderr


@pytest.mark.parametrize("param,names", [("queue_directory", ["incoming", "maildrop"]),
                                         ("data_directory", ["master.lock", "prng_exch"])])
def test_the_directories_of_postfix_are_left_alone(make_postfix, param, names):
    p = make_postfix("debian")
    directory = p.instance.dir / param.split("_")[0]
    for name in names:
        (directory / name).mkdir(parents=True)
    r = p.instance.estafeta("check", check=False)
    assert "%s: %s is Postfix's" % (param, directory) in r.stderr and r.returncode == EX_CONFIG
