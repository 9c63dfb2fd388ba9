"""States that a crash can leave, from a record of what qmgr, smtpd and delivery did to files.

A crash leaves what was flushed, and of the rest any part: each unflushed write may have reached the disk whole, in part,
as zeros (the file is longer, its new blocks are not written) or not at all; each change of a directory may have reached it
or not, independently of all others (a rename is one change), but for what a flush of that directory made certain.  That is
less than any file system keeps, so that it holds for queue and mail on one and on two of them.

usage: crash_states.py [STATES] [SEED]
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

from work import ALICE, BOB, CAROL, LOOK, TRACER, Work, account, in_memory

SECTOR = 512


class File:
    """Bytes on disk, and changes that may be."""

    def __init__(self, data=b""):
        self.data, self.changes = bytes(data), []  # changes: (number, kind, position or size, bytes)

    def image(self, applied, torn):
        data = bytearray(self.data)
        for number, kind, at, new in self.changes:
            if number not in applied:
                continue
            if kind == "size":
                data = data[:at] + bytes(max(0, at - len(data)))
                continue
            if kind == "room":
                data += bytes(max(0, at - len(data)))
                continue
            first, last = torn.get(number, (0, len(new)))
            data += bytes(max(0, at + len(new) - len(data)))
            data[at + first:at + last] = new[first:last]
        return bytes(data)

    def flush(self, before):
        done = {c[0] for c in self.changes if c[0] < before}
        self.data = self.image(done, {})
        self.changes = [c for c in self.changes if c[0] not in done]


class Directory:
    """Entries on disk (name -> File or Directory), and changes that may be: (number, name, File, Directory or None)."""

    def __init__(self):
        self.entries, self.changes = {}, []

    def image(self, applied):
        entries = dict(self.entries)
        for number, name, what in self.changes:
            if number in applied:
                entries[name] = what
        return {n: w for n, w in entries.items() if w is not None}

    def flush(self, before):
        done = {c[0] for c in self.changes if c[0] < before}
        self.entries = self.image(done)
        self.changes = [c for c in self.changes if c[0] not in done]

    def now(self):
        return self.image({c[0] for c in self.changes})


class Disk:
    """Trees of directories as they are now and as a crash may leave them."""

    def __init__(self, roots):
        self.by_inode, self.number, self.begun, self.flushed = {}, 0, {}, 0
        self.roots = {str(r): self.read(pathlib.Path(r)) for r in roots}

    def read(self, path):
        node = Directory() if path.is_dir() else File(path.read_bytes())
        self.by_inode[path.stat().st_ino] = node
        if path.is_dir():
            for p in path.iterdir():
                if p.is_dir() or p.is_file():  # no sockets
                    node.entries[p.name] = self.read(p)
        return node

    def find(self, path):
        """(the directory that a path's last part stands in, that part), or (None, "") elsewhere than below the roots."""
        for root, node in self.roots.items():
            if path.startswith(root + "/"):
                *above, name = path[len(root) + 1:].split("/")
                for part in above:
                    node = node.now().get(part)
                    if node is None:
                        return None, ""
                return node, name
        return None, ""

    def change_name(self, path, what):
        directory, name = self.find(path)
        if directory is not None:
            directory.changes.append((self.number, name, what))

    def lookup(self, path):
        directory, name = self.find(path)
        return None if directory is None else directory.now().get(name)

    def change_file(self, inode, kind, at, data=b""):
        f = self.by_inode.get(inode)
        if f is not None:
            f.changes.append((self.number, kind, at, data))

    # --- one method for each kind of line of a record
    def on_open(self, path, inode, how):
        directory, name = self.find(path)
        if directory is None:
            return
        f = directory.now().get(name)
        if how == "directory":
            self.by_inode[int(inode)] = f
        elif f is None:
            f = self.by_inode[int(inode)] = File()
            self.change_name(path, f)
        elif how == "truncate":
            self.change_file(int(inode), "size", 0)

    def on_write(self, inode, at, data):
        self.change_file(int(inode), "write", int(at), data)

    def on_truncate(self, inode, size):
        self.change_file(int(inode), "size", int(size))

    def on_allocate(self, inode, size):
        self.change_file(int(inode), "room", int(size))

    def on_rename(self, old, new):
        what = self.lookup(old)
        self.change_name(old, None)
        self.change_name(new, what)

    def on_link(self, old, new):
        self.change_name(new, self.lookup(old))

    def on_unlink(self, path):
        self.change_name(path, None)

    def on_mkdir(self, path):
        self.change_name(path, Directory())

    def on_flush(self, flush, inode, _how):
        self.begun[flush] = (self.number, self.by_inode.get(int(inode)))

    def on_flushed(self, flush):
        number, node = self.begun.pop(flush)
        if node is not None:
            node.flush(number)
            self.flushed = self.number

    # --- what a crash may leave
    def nodes(self):
        found, todo = [], list(self.roots.values())
        seen = set()
        while todo:
            node = todo.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            found.append(node)
            if isinstance(node, Directory):
                todo += [w for w in list(node.entries.values()) + [c[2] for c in node.changes] if w is not None]
        return found

    def pending(self):
        """number -> length of the write, 0 for any other change."""
        found = {}
        for node in self.nodes():
            for c in node.changes:
                found[c[0]] = len(c[3]) if isinstance(node, File) and c[1] == "write" else 0
        return found

    def tree(self, root, applied, torn):
        """path -> bytes of all files below a root, and the set of directories."""
        files, directories = {}, set()

        def walk(prefix, directory):
            for name, what in directory.image(applied).items():
                if isinstance(what, Directory):
                    directories.add(prefix + name)
                    walk(prefix + name + "/", what)
                else:
                    files[prefix + name] = what.image(applied, torn)

        walk("", self.roots[str(root)])
        return files, directories


def torn_parts(length, rng):
    """Parts of a write that may be there alone."""
    sectors = (length + SECTOR - 1) // SECTOR
    cuts = {1, sectors // 2, sectors - 1, rng.randrange(sectors + 1)} - {0, sectors}
    return [(0, 0)] + [(0, c * SECTOR) for c in cuts] + [(c * SECTOR, length) for c in cuts]


def choices(pending, rng, randoms):
    """(applied numbers, torn writes) of the states looked at for one moment."""
    everything = frozenset(pending)
    yield everything, {}
    yield frozenset(), {}
    for n in sorted(pending):
        yield everything - {n}, {}
        yield frozenset({n}), {}
        if pending[n] > 0:
            for part in torn_parts(pending[n], rng):
                yield everything, {n: part}
                yield frozenset({n}), {n: part}
    for _ in range(randoms if len(pending) > 1 else 0):
        applied = frozenset(n for n in pending if rng.random() < 0.5)
        torn = {n: rng.choice(torn_parts(pending[n], rng)) for n in applied if pending[n] > 0 and rng.random() < 0.3}
        yield applied, torn


class Looker:
    """Asks qmgr's code what it finds in a queue; the same queue is looked at once."""

    def __init__(self):
        self.dir, self.known = tempfile.mkdtemp(prefix="crash-states-", dir=in_memory()), {}
        self.process = subprocess.Popen([LOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(self.dir)

    def write(self, files, directories):
        top = os.path.join(self.dir, "queue")
        shutil.rmtree(top, ignore_errors=True)
        os.mkdir(top)
        for d in sorted(directories):
            os.mkdir(os.path.join(top, d))
        for name, data in files.items():
            with open(os.path.join(top, name), "wb") as f:
                f.write(data.rstrip(b"\0"))
                f.truncate(len(data))
        return top

    def look(self, files, directories):
        """(queue id -> (sender, pending recipients, content), what audit finds), or a text: qmgr would not start."""
        key = hash((tuple(sorted(files.items())), frozenset(directories)))
        if key not in self.known:
            self.process.stdin.write(self.write(files, directories).encode() + b"\n")
            self.process.stdin.flush()
            self.known[key] = self.answer()
        return self.known[key]

    def answer(self):
        found, audited = {}, []
        for line in self.process.stdout:
            words = line.decode().split()
            if words[0] == "end":
                return found, audited
            if words[0] == "audit":
                audited.append(line.decode().strip())
                continue
            if words[0] == "failed":
                return line.decode()
            queue_id, length, sender, *recipients = words
            content = self.process.stdout.read(max(0, int(length)))
            found[queue_id] = (sender.strip("<>"), recipients, content)
        return "look ended"


class Check:
    """Walks through a record and looks at what a crash at each of its moments may have left."""

    def __init__(self, work, disk, rng, randoms):
        self.work, self.disk, self.rng, self.randoms = work, disk, rng, randoms
        self.promises = {p.queue_id: p for p in work.promises}
        self.promised, self.taken = [], set()
        self.looker, self.seen, self.states, self.faults = Looker(), set(), 0, []

    def on_ack(self, name):
        if name.startswith("sink."):
            self.taken.add(name[5:])
        elif name in self.promises:
            self.promised.append(self.promises[name])

    def boxes(self, applied, torn):
        files, _ = self.disk.tree(self.work.mail.dir / "mail", applied, torn)
        found = {ALICE: [], BOB: [], CAROL: []}
        for name, data in files.items():
            domain, user, *rest = name.split("/")
            if len(rest) == 3 and rest[0] == "Maildir" and rest[1] in ("new", "cur"):
                found[user + "@" + domain].append(data)
        return found

    def check(self, applied, torn, moment):
        queue = self.looker.look(*self.disk.tree(self.work.mail.dir / "queue", applied, torn))
        if isinstance(queue, str):
            faults = ["qmgr: " + queue]
        else:
            queue, audited = queue
            faults = audited + account(self.promised, self.boxes(applied, torn), queue, self.taken)
        self.faults += ["after line %d, of %s only %s, torn %s: %s" % (
            moment, sorted(self.disk.pending()), sorted(applied), torn, f) for f in faults]

    def moment(self, number, promises_changed, budget):
        pending = self.disk.pending()
        for applied, torn in choices(pending, self.rng, self.randoms):
            key = (self.disk.flushed, applied, tuple(sorted(torn.items())))
            is_new = key not in self.seen
            self.seen.add(key)
            if is_new:
                self.states += 1
            if is_new or promises_changed:
                self.check(applied, torn, number)
            if self.states >= budget:
                return

    def run(self, record, budget):
        data = pathlib.Path(str(record) + ".data").read_bytes()
        for number, line in enumerate(record.read_text().splitlines()):
            kind, *words = line.split("\t")
            self.disk.number = number
            if kind == "ack":
                self.on_ack(*words)
            elif kind == "write":
                inode, at, length, where = words
                self.disk.on_write(inode, at, data[int(where):int(where) + int(length)])
            else:
                getattr(self.disk, "on_" + kind)(*words)
            if kind not in ("flush", "open") or words[-1] != "directory":
                self.moment(number, kind == "ack", budget)
            if self.states >= budget:
                break
        self.looker.close()


def record_work(work, rounds):
    """Runs mail of every kind under the tracer; returns the record and the disk as it was before."""
    mail = work.mail
    mail.start()
    for kind in work.WAYS:  # so that all processes and mailboxes are there
        work.send(kind)
    mail.wait_queue_empty()
    work.promises.clear()
    disk = Disk([mail.dir / "queue", mail.dir / "mail"])
    record = mail.dir / "record"
    pids = work.pids("smtpd", "qmgr", "delivery") + [work.sink.pid]
    tracer = subprocess.Popen([TRACER, "record", record, *map(str, pids)], stdout=subprocess.PIPE, text=True)
    assert tracer.stdout.readline() == "ready\n"
    for _ in range(rounds):
        for kind in work.WAYS:
            assert work.send(kind)
    mail.wait_queue_empty()
    tracer.send_signal(signal.SIGTERM)
    assert tracer.communicate()[0].startswith("none")
    mail.kill()
    return record, disk


def run(budget, seed, keep_line=lambda line: True):
    """(states, records, faults) of as many records as it takes; keep_line leaves lines out of them."""
    rng, states, faults, records = random.Random(seed), 0, [], 0
    while states < budget and not faults:
        with Work() as work:
            record, disk = record_work(work, 1 + records % 3)
            record.write_text("".join(line for line in record.read_text().splitlines(True) if keep_line(line)))
            check = Check(work, disk, rng, 10)
            check.run(record, budget - states)
            states, faults, records = states + check.states, check.faults, records + 1
    return states, records, faults


def main(budget=20000, seed=1):
    states, records, faults = run(budget, seed)
    print("%d crash states of %d records (seed %d): %d faults" % (states, records, seed, len(faults)))
    for f in faults[:20]:
        print(f)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
