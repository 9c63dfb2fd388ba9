"""Processes as /proc shows them."""
import contextlib
import pathlib


def children(pid):
    """pid and all its descendants."""
    found = [pid]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
            for child in (task / "children").read_text().split():
                found += children(int(child))
    return found


def is_alive(pid):
    """Running, and not a zombie that nobody has waited for yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False
