"""make queue-scale: what a queue of SCALE deferred messages costs, each figure beside its goal."""
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "harness"))

import big_queue  # noqa: E402
import instance  # noqa: E402

SCALE = int(os.environ.get("SCALE", "1000000"))
missed = []


def report(what, value, goal, unit):
    print("%-52s %10.2f %-6s goal < %g" % (what, value, unit, goal), flush=True)
    if value >= goal:
        missed.append(what)


def timed_start(mail):
    """Seconds until a message can be handed in."""
    began = time.monotonic()
    mail.start()
    with mail.connect() as s:
        assert s.recv(4) == b"220 "
    return time.monotonic() - began


def timed_list(mail):
    began = time.monotonic()
    with big_queue.lister(mail) as one:
        one.stdout.readline()
        first = time.monotonic() - began
        lines = 1 + sum(1 for _ in one.stdout)
    return first, time.monotonic() - began, lines


def timed_first(mail):
    began = time.monotonic()
    with big_queue.lister(mail) as one:
        one.stdout.readline()
        first = time.monotonic() - began
        one.kill()
    return first


def main():
    with instance.Instance(main_cf=big_queue.MAIN_CF) as mail:
        mail.add_user(big_queue.USER)
        print("%-52s %10.2f s" % ("start with an empty queue", timed_start(mail)))
        empty = big_queue.memory(mail)
        mail.stop()
        began = time.monotonic()
        big_queue.fill(mail, SCALE, due_s=4 * 3600)
        print("%-52s %10.2f s" % ("writing %d deferred files" % SCALE, time.monotonic() - began), flush=True)
        report("restart to serving", timed_start(mail), 20, "s")
        print("%-52s %10.2f s" % ("CPU time that it took qmgr", big_queue.cpu_seconds(mail)))
        report("memory of a deferred message", (big_queue.memory(mail) - empty) / SCALE, 300, "bytes")
        report("a new message is delivered", big_queue.deliver(mail, "quiet"), 2, "s")
        first, whole, lines = timed_list(mail)
        report("queue list: first line", first, 1, "s")
        print("%-52s %10.2f s" % ("queue list: all %d lines" % lines, whole))
        with big_queue.lister(mail) as one:
            one.stdout.readline()
            report("a new message while somebody lists", big_queue.deliver(mail, "beside a list"), 2, "s")
            one.kill()
        began = time.monotonic()
        mail.estafeta("queue", "flush", timeout=600)
        print("%-52s %10.2f s" % ("queue flush: all are due at once", time.monotonic() - began))
        for n in range(5):
            report("a new message while all are tried", big_queue.deliver(mail, "storm %d" % n), 2, "s")
            time.sleep(1)
        report("queue list in the storm: first line", timed_first(mail), 1, "s")
        report("memory, with the active ones", big_queue.memory(mail) / SCALE, 1000, "bytes")
        mail.kill()
    return 1 if missed else 0


sys.exit(main())
