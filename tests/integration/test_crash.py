"""A share of make crash: what was acknowledged is there after every crash (DESIGN 5)."""
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "crash"))

import crash_states  # noqa: E402
import kill_points  # noqa: E402

STATES, POINTS = 400, 12


def test_what_a_crash_leaves_holds_every_promise():
    states, _, faults = crash_states.run(STATES, seed=1)
    assert faults == []
    assert states == STATES


def test_a_missing_flush_is_found():
    """The test above sees it when nothing is flushed, so that it could fail."""
    states, _, faults = crash_states.run(STATES, seed=1, keep_line=lambda line: not line.startswith("flushed"))
    assert any("lost" in f for f in faults)


def test_daemons_that_die_and_calls_that_fail_lose_nothing():
    reached, _, faults = kill_points.run(POINTS, seed=None, workers=2)
    assert faults == []
    assert reached >= POINTS
