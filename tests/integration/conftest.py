import os
import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "harness"))

import instance  # noqa: E402


# smtplib asks for the machine's name for each EHLO: that may take a name server's five seconds
socket.getfqdn = lambda name="": "client.test"


def pytest_configure(config):
    if os.geteuid() == 0:
        subprocess.run(["sh", ROOT / "conf" / "users.sh"], check=True)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="starts real instances: must be root"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        values = list(item.funcargs.values())
        for value in values + [i for v in values for i in getattr(v, "made", [])]:
            if isinstance(value, instance.Instance):
                report.sections.append(("log of " + value.hostname, value.log_text()[-8000:]))


@pytest.fixture
def make_instance():
    made = []

    def make(**kwargs):
        i = instance.Instance(**kwargs)
        made.append(i)
        return i

    make.made = made
    yield make
    for i in made:
        i.close()


@pytest.fixture(scope="module")
def mail():
    """One instance for a whole module: alice, bob and carol at example.test."""
    with instance.Instance() as i:
        i.add_users("alice@example.test", "bob@example.test", "carol@example.test")
        i.start()
        yield i


@pytest.fixture
def name_server():
    import dns_server
    made = []

    def make(zones):
        made.append(dns_server.NameServer(zones).start())
        return made[-1]

    yield make
    for s in made:
        s.close()
