"""Processes as /proc shows them."""
import pathlib


def children(pid):
    """pid and all its descendants."""
    found = [pid]
    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
        for child in (task / "children").read_text().split():
            found += children(int(child))
    return found
