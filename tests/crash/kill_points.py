"""Daemons killed at every system call, and system calls that fail, while mail of every kind is on its way.

usage: kill_points.py [POINTS] [SEED] [WORKERS]     at most POINTS points, spread over all of them
"""
import concurrent.futures
import errno
import itertools
import random
import signal
import subprocess
import sys

from work import TRACER, Work, account, wait_until

# whose mail of which kinds makes them do something
VICTIMS = {
    "qmgr": ("local", "list", "large", "relay", "refused", "deferred"),
    "delivery": ("local", "list", "large", "refused"),
    "relay": ("relay", "refused", "deferred"),
}
BURSTS = (1, 5)      # messages of one kind sent at once
CALLS_MAX = 150      # of one victim for one message
PATIENCE = 120       # seconds: a notice that cannot be made is tried again after 30
A_LIFE = 6           # points that one instance sees: master restarts what dies too often later and later
DISK, FULL, FILES, MEMORY = errno.EIO, errno.ENOSPC, errno.EMFILE, errno.ENOMEM
FAULTS = {  # victim -> call -> how it fails
    "qmgr": {
        "pwrite64": (FULL, DISK), "write": (FULL, DISK), "fdatasync": (DISK, FULL), "fsync": (DISK, FULL),
        "openat": (FILES, DISK, FULL), "rename": (DISK, FULL), "renameat": (DISK, FULL), "renameat2": (DISK, FULL),
        "unlinkat": (DISK,), "fallocate": (FULL,), "ftruncate": (DISK, FULL), "pread64": (DISK,), "fstat": (DISK,),
        "memfd_create": (FILES, MEMORY), "mmap": (MEMORY,), "clone3": (errno.EAGAIN,), "accept4": (FILES,),
    },
    "delivery": {
        "openat": (FILES, DISK, FULL), "openat2": (FILES, DISK, FULL), "write": (FULL, DISK), "fsync": (DISK, FULL),
        "renameat2": (DISK, FULL), "unlinkat": (DISK,), "newfstatat": (DISK,), "fstat": (DISK,), "pread64": (DISK,),
        "getdents64": (DISK,), "mmap": (MEMORY,),
    },
    "relay": {
        "socket": (FILES,), "connect": (errno.ENETUNREACH, errno.EMFILE), "pread64": (DISK,), "mmap": (MEMORY,),
        "recvfrom": (errno.ECONNRESET,), "sendto": (errno.EPIPE,),
    },
}


def kills():
    """(victim, kind, burst, tracer's arguments)"""
    for victim, kinds in VICTIMS.items():
        for kind, burst in itertools.product(kinds, BURSTS):
            for n in range(1, CALLS_MAX * burst + 1):
                yield victim, kind, burst, ("kill", str(n))


def faults():
    for victim, kinds in VICTIMS.items():
        for kind, (call, codes), n in itertools.product(kinds, FAULTS[victim].items(), range(1, 21)):
            for code in codes:
                yield victim, kind, 1, ("fault", call, str(n), str(code))


class Tracer:
    def __init__(self, arguments, pids):
        self.process = subprocess.Popen([TRACER, *arguments, *map(str, pids)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def is_over(self):
        return self.process.poll() is not None

    def end(self):
        """The name of the call where it happened, or None: there were not so many."""
        if not self.is_over():
            self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate()[0].split()
        return None if said[:1] == ["none"] else said[0]


def warm_up(work):
    """All processes are there and know each other."""
    for kind in ("local", "relay"):
        wait_until(lambda: work.send(kind), what="a message is taken")
    wait_until(work.queue_is_empty, what="empty queue")


def one_point(work, victim, kind, burst, arguments):
    # delivery is started for the first message only
    pids = wait_until(lambda: work.pids(victim) or (work.send("local") and None), what=victim)
    tracer = Tracer(arguments, pids)
    with concurrent.futures.ThreadPoolExecutor(burst) as senders:
        list(senders.map(lambda _: work.send(kind), range(burst)))
    wait_until(lambda: tracer.is_over() or work.queue_is_empty(), PATIENCE, "the end of the mail's way")
    return tracer.end()


class Reach:
    """How far it is worth counting: the least number that was never come to, for each kind of point."""

    def __init__(self):
        self.limits = {}

    def key(self, point):
        victim, kind, burst, arguments = point
        return victim, kind, burst, arguments[0], arguments[1] if arguments[0] == "fault" else ""

    def number(self, point):
        arguments = point[3]
        return int(arguments[2] if arguments[0] == "fault" else arguments[1])

    def is_worth(self, point):
        return self.number(point) < self.limits.get(self.key(point), 1 << 30)

    def was_not_reached(self, point):
        key = self.key(point)
        self.limits[key] = min(self.number(point), self.limits.get(key, 1 << 30))


def one_life(points, reach):
    """(points reached, calls, faults found): as many points as one instance sees, then the account."""
    reached, names = 0, set()
    with Work() as work:
        work.mail.start()
        warm_up(work)
        try:
            for point in points:
                name = one_point(work, *point)
                if name is None:
                    reach.was_not_reached(point)
                    continue
                reached += 1
                names.add(name)
            wait_until(work.queue_is_empty, PATIENCE, "empty queue")
        except AssertionError as e:
            return reached, names, ["%s: stuck: %s\n%s" % (points, e, work.mail.log_text()[-6000:])]
        found = account(work.promises, work.boxes(), {}, work.taken(), 1 + reached)
        found += work.audit(any(p[3][0] == "fault" for p in points))
    return reached, names, ["%s: %s" % (points, f) for f in found]


def lives(points, reach):
    """Points in groups, one for each instance; what is known to lie too far is left out when its turn comes."""
    points = filter(reach.is_worth, points)
    while group := list(itertools.islice(points, A_LIFE)):
        yield group


def run(budget, seed, workers):
    """(points reached, calls they were at, faults found)"""
    points = list(kills()) + list(faults())
    rng, reach = random.Random(seed), Reach()
    points.sort(key=lambda p: reach.number(p) * rng.random())  # early ones first: whether there are later ones shows
    reached, names, found, running, todo = 0, set(), [], set(), lives(points, reach)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while reached < budget and not found:
            running |= {pool.submit(one_life, group, reach) for group in itertools.islice(todo, workers - len(running))}
            if not running:
                break
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for n, calls, faults_of_life in (life.result() for life in done):
                reached, names, found = reached + n, names | calls, found + faults_of_life
    return reached, names, found


def main(budget=10000, seed=1, workers=4):
    reached, names, found = run(budget, seed, workers)
    print("%d points reached (seed %d), at calls: %s: %d faults" % (reached, seed, " ".join(sorted(names)), len(found)))
    for f in found[:20]:
        print(f)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
