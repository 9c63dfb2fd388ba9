"""TLS reports (RFC 8460): what is counted, what a report looks like, where it goes, and that the sums are right."""
import collections
import datetime
import email
import email.policy
import gzip
import json
import re

import pytest

from instance import wait_until
from test_mta_sts import World, full

MAIN_CF = ("tlsrpt_enable = yes\ntlsrpt_period = 20s\ntlsrpt_organization = Example Org\n"
           "tlsrpt_report_from = tls@reports.example.test\ntlsrpt_contact_info = abuse@example.test\n"
           "smtp_connection_cache_time_limit = 0\n")
REMOTE = "rep@clear.p.test"  # a domain whose policy no server of it can satisfy
STS, NONE, TLSA = "sts", "no-policy-found", "tlsa"
# domain -> how many mails, policy-type, result-type (None: as the policy has it)
EXPECTED = {
    "enforce": (3, STS, None), "testing": (1, STS, None), "mismatch": (1, STS, "certificate-host-mismatch"),
    "no-authority": (1, STS, "certificate-not-trusted"), "expired": (1, STS, "certificate-expired"),
    "clear": (1, STS, "starttls-not-supported"), "unnamed": (1, STS, "validation-failure"),
    "testing-clear": (2, STS, "starttls-not-supported"), "testing-unnamed": (1, STS, "validation-failure"),
    "testing-mismatch": (1, STS, "certificate-host-mismatch"), "no-record": (1, NONE, "starttls-not-supported"),
    "http-404": (1, STS, "sts-policy-fetch-error"), "not-a-policy": (1, STS, "sts-policy-invalid"),
    "self-signed": (1, STS, "sts-webpki-invalid"),
}
DANE = {"tlsa-good": (1, TLSA, None), "tlsa-bad": (1, TLSA, "certificate-not-trusted"),
        "tlsa-none": (1, STS, "certificate-not-trusted")}
RESULT_TYPES = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
                "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
                "sts-policy-invalid", "sts-webpki-invalid"}


def rua(name):
    if name == "wildcard":
        return None  # wants none
    if name == "testing-clear":
        return "mailto:bob@example.test,mailto:rep%40clear.p.test"
    return "https://127.0.0.1/reports,mailto:bob@example.test"


def check_schema(report):
    """RFC 8460 4.4."""
    assert set(report) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}
    assert report["organization-name"] == "Example Org" and report["contact-info"] == "abuse@example.test"
    assert set(report["date-range"]) == {"start-datetime", "end-datetime"}
    start, end = (datetime.datetime.strptime(report["date-range"][n], "%Y-%m-%dT%H:%M:%SZ")
                  for n in ("start-datetime", "end-datetime"))
    assert (end - start).total_seconds() == 19
    assert re.fullmatch(r"[^@<>\s]+@[^@<>\s]+", report["report-id"])
    assert report["policies"]
    for p in report["policies"]:
        assert set(p) == {"policy", "summary", "failure-details"}
        check_policy(p["policy"])
        counts = p["summary"]
        assert set(counts) == {"total-successful-session-count", "total-failure-session-count"}
        assert all(isinstance(n, int) and n >= 0 for n in counts.values())
        for d in p["failure-details"]:
            check_detail(d)
        assert sum(d["failed-session-count"] for d in p["failure-details"]) == counts["total-failure-session-count"]


def check_policy(p):
    assert {"policy-type", "policy-domain"} <= set(p) <= {"policy-type", "policy-domain", "policy-string", "mx-host"}
    assert p["policy-type"] in (STS, TLSA, NONE)
    assert all(isinstance(line, str) for name in ("policy-string", "mx-host") for line in p.get(name, []))
    if p["policy-type"] == TLSA:
        assert all(re.fullmatch(r"[0-3] [01] [012] [0-9a-fA-F]+", line) for line in p["policy-string"])
    elif p["policy-type"] == STS and "policy-string" in p:
        assert p["policy-string"][0] == "version: STSv1" and p["policy-string"][-1] == "max_age: 604800"
        assert ["mx: " + m for m in p["mx-host"]] == p["policy-string"][2:-1]
    else:
        assert "policy-string" not in p and "mx-host" not in p


def check_detail(d):
    assert {"result-type", "receiving-mx-hostname", "receiving-ip", "failed-session-count"} <= set(d)
    assert set(d) <= {"result-type", "sending-mta-ip", "receiving-mx-hostname", "receiving-ip", "failed-session-count",
                      "failure-reason-code"}
    assert d["result-type"] in RESULT_TYPES and d["failed-session-count"] > 0
    for name in ("sending-mta-ip", "receiving-ip"):
        assert re.fullmatch(r"127(\.\d+){3}", d.get(name, "127.0.0.1"))
    if d["result-type"].startswith("certificate"):
        assert d["failure-reason-code"]


def check_message(m):
    """RFC 8460 5.1, 5.3; returns the report."""
    domain = m["TLS-Report-Domain"]
    assert m["TLS-Report-Submitter"] == "example.test" and m["From"] == "tls@reports.example.test"
    assert m["TLS-Required"] == "No"
    assert m["Date"] and m["Message-ID"]
    assert m.get_content_type() == "multipart/report" and m.get_param("report-type") == "tlsrpt"
    text, packed = m.get_payload()
    assert text.get_content_type() == "text/plain"
    assert packed.get_content_type() == "application/tlsrpt+gzip"
    report = json.loads(gzip.decompress(packed.get_payload(decode=True)))
    check_schema(report)
    assert re.fullmatch(r"Report Domain: %s\s+Submitter: example\.test\s+Report-ID: <%s>" % (
        re.escape(domain), re.escape(report["report-id"])), m["Subject"])
    assert re.fullmatch(r"example\.test!%s!\d+!\d+\.json\.gz" % re.escape(domain), packed.get_filename())
    assert all(p["policy"]["policy-domain"] == domain for p in report["policies"])
    return domain, report


def reports(mail):
    found = [email.message_from_bytes(m, policy=email.policy.default)
             for m in mail.messages("bob@example.test")]
    return [check_message(m) for m in found]


def totals(mail):
    """(domain, policy-type, result-type or None) -> sessions."""
    sums = collections.Counter()
    for domain, report in reports(mail):
        for p in report["policies"]:
            kind = p["policy"]["policy-type"]
            sums[domain, kind, None] += p["summary"]["total-successful-session-count"]
            for d in p["failure-details"]:
                sums[domain, kind, d["result-type"]] += d["failed-session-count"]
    return {k: n for k, n in sums.items() if n}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = World(tmp_path_factory.mktemp("certs"), MAIN_CF, rua)
    w.mail.add_user("bob@example.test")
    yield w
    w.close()


def test_sums(world):
    for name, (count, _, _) in EXPECTED.items():
        for _ in range(count):
            world.outcome(full(name))
    world.outcome(full("wildcard"))
    # the counts outlive the processes
    world.mail.estafeta("stop")
    world.mail.start()
    world.mail.estafeta("config", "-e", "smtp_tls_security_level=dane")
    world.mail.estafeta("reload")
    for name in DANE:
        world.outcome(name + ".s.test")
    want = {(full(n), kind, result): count for n, (count, kind, result) in EXPECTED.items()}
    want.update({(n + ".s.test", kind, result): count for n, (count, kind, result) in DANE.items()})
    wait_until(lambda: sum(totals(world.mail).values()) >= sum(want.values()), 120, "all reports")
    assert totals(world.mail) == want
    goes_without_policies(world)


def goes_without_policies(world):
    """RFC 8460 5.3: reports do not need the TLS that they are about; and they are not counted."""
    wait_until(lambda: arrived_to(world.clear, REMOTE))
    assert arrived_to(world.clear, REMOTE)[0][1] is None
    assert totals(world.mail)[full("clear"), STS, "starttls-not-supported"] == 1


def arrived_to(sink, address):
    return [m for m in sink.messages if m[0] == address]
