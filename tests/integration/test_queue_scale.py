"""A queue of twenty thousand that wait: small in memory, listed as it is read, handled by conditions, in nobody's way.
`make queue-scale` measures a million."""
import json
import re
import threading

import pytest

import big_queue
from instance import BUILD

COUNT = 20000
MESSAGE_BYTES = 300


@pytest.fixture
def big(make_instance):
    if not big_queue.FILL.exists():
        pytest.skip("%s is not built" % big_queue.FILL)
    mail = make_instance(main_cf=big_queue.MAIN_CF)
    mail.add_user(big_queue.USER)
    mail.start()
    mail.empty = big_queue.memory(mail)
    mail.stop()
    big_queue.fill(mail, COUNT)
    return mail.start()


def ask(mail, *args):
    return mail.estafeta("queue", *args).stdout


def check_memory(big):
    grown = big_queue.memory(big) - big.empty
    assert grown / COUNT < MESSAGE_BYTES or BUILD.name != "release", grown  # sanitizers have memory of their own


def check_list(big):
    with big_queue.lister(big) as slow:
        first = json.loads(slow.stdout.readline())
        # it has its first line; what the pipe does not hold it has not even asked for: nobody reads
        others = [big_queue.lister(big) for _ in range(3)]
        counts = []
        readers = [threading.Thread(target=lambda o=o: counts.append(sum(1 for _ in o.stdout))) for o in others]
        for reader in readers:
            reader.start()
        assert big_queue.deliver(big, "beside the list") < 2
        assert slow.poll() is None
        for reader, other in zip(readers, others):
            reader.join()
            assert other.wait() == 0
        rest = [json.loads(line) for line in slow.stdout]
    assert slow.returncode == 0
    listed = [first] + rest
    assert len({e["queue_id"] for e in listed}) == len(listed) == COUNT
    assert [e["queue_id"] for e in listed] == sorted(e["queue_id"] for e in listed)
    assert all(COUNT <= n <= COUNT + 1 for n in counts)


def check_conditions(big):
    lines = ask(big, "list", "-j", "--domain", "d7.test", "--reason", "timed out", "--sender=s7@sender.test").splitlines()
    assert len(lines) == COUNT / 1000
    assert {json.loads(line)["sender"] for line in lines} == {"s7@sender.test"}
    assert ask(big, "list", "-j", "--older", "1h") == ask(big, "list", "-j", "--larger=1k") == ""
    assert "Mail queue is empty" in ask(big, "list", "--recipient", "nobody@d7.test")
    assert ask(big, "hold", "--sender", "s8@sender.test") == "Placed on hold: 20 messages\n"
    assert ask(big, "delete", "--queue", "hold", "--domain", "d9.test") == ""
    assert ask(big, "delete", "--queue", "hold", "--domain", "d8.test") == "Deleted: 20 messages\n"
    assert len(ask(big, "list", "-j").splitlines()) == COUNT - 20


def check_histogram(big):
    head, total, *rows = ask(big, "histogram").splitlines()
    assert head.split() == "T 5 10 20 40 80 160 320 640 1280 1280+".split()
    assert re.match(r" +TOTAL %d " % (COUNT - 20), total)
    assert len(rows) == 100 and rows[-1].split()[:2] == ["d8.test", "180"]
    assert len(ask(big, "histogram", "--sender").splitlines()) == 3
    assert ask(big, "histogram", "--sender=s1@sender.test").splitlines()[1].split()[1] == "20"


def check_expire_returns(big):
    big.add_user("s1@example.test")
    assert ask(big, "expire", "--recipient", "r5@d5.test") == "Force-expired: 1 message\n"
    big.wait_log("status=force-expired, returned to sender")


def check_all_are_due_at_once(big):
    ask(big, "flush")
    assert big_queue.deliver(big, "in the storm") < 2
    with big_queue.lister(big) as one:
        assert one.stdout.readline()
        one.kill()


def test_a_large_queue(big):
    for check in (check_memory, check_list, check_conditions, check_histogram, check_expire_returns,
                  check_all_are_due_at_once):
        check(big)
