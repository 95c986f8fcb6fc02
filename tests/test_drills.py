"""When a drill is refused, and how many attempts it costs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus import drills
from aurora_circus.drill_names import CONTROLLER, Fault
from tests.fake_fleet import system

SYSTEMS = [each for each in Fault if each is not Fault.PLUGIN_KILL]


def status(**changes: Any) -> dict[str, dict[str, Any]]:
    """Return two healthy systems; ``changes`` are the router's."""
    return {"brain": system(), "router": system(**changes)}


@pytest.mark.parametrize("fault", Fault)
def test_on_a_fleet_that_is_well_every_fault_may_be(fault: Fault) -> None:
    """Of a system, or of the controller."""
    assert drills.refusal(fault, CONTROLLER if fault is Fault.PLUGIN_KILL else "router", status()) is None


@pytest.mark.parametrize("fault", SYSTEMS)
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "stopped"}, "router is stopped, and a drill needs a healthy system"),
        ({"state": "starting"}, "router is starting"),
        ({"state": "failed"}, "router is failed"),
        ({"autonomous": False}, "router is not autonomous: nobody would bring it back"),
        ({"attempts": 0}, "router has 0 of 0 attempts left"),
        ({"attempt": 3}, "router has 0 of 3 attempts left"),
        ({"drill": "hang"}, "a drill runs already: hang of router"),
    ],
)
def test_what_nobody_would_bring_back_is_not_struck(
    fault: Fault, force: bool, changes: dict[str, Any], words: str
) -> None:
    """Whether forced or not."""
    reason = drills.refusal(fault, "router", status(**changes), force=force)
    assert reason is not None
    assert reason.startswith(words)


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("state", ["failed", "backoff", "unhealthy", "starting", "waiting", "stopping"])
def test_a_fleet_that_is_not_all_well_is_left_alone(fault: Fault, state: str) -> None:
    """Unless forced; the one that is not well is named with its reason."""
    key = CONTROLLER if fault is Fault.PLUGIN_KILL else "brain"
    reason = drills.refusal(fault, key, status(state=state, error="boom"))
    assert reason == f"the fleet is not all well already (router is {state}: boom)"
    assert drills.refusal(fault, key, status(state=state, error="boom"), force=True) is None


def test_one_that_is_wanted_down_makes_no_fleet_ill() -> None:
    """Stopped is a wish."""
    assert drills.refusal(Fault.KILL, "brain", status(state="stopped")) is None


def test_the_drill_of_one_keeps_all_others_waiting() -> None:
    """One at a time, in the whole fleet, the controller included."""
    running = status(drill="http-500")
    for fault, key in ((Fault.KILL, "brain"), (Fault.PLUGIN_KILL, CONTROLLER)):
        assert drills.refusal(fault, key, running, force=True) == "a drill runs already: http-500 of router"


@given(fault=st.sampled_from(Fault), left=st.integers(0, 50))
def test_a_drill_that_is_begun_leaves_a_way_back(fault: Fault, left: int) -> None:
    """It costs no more attempts than there are, and leaves one in reserve where more than two are there."""
    key = CONTROLLER if fault is Fault.PLUGIN_KILL else "router"
    cost = drills.strikes(fault, left)
    begun = drills.refusal(fault, key, status(attempt=50 - left, attempts=50)) is None
    assert begun == (cost <= left)
    assert cost <= drills.MOST_STRIKES
    if fault is Fault.CRASH_LOOP:
        assert cost >= 2
        assert left < 3 or cost < left
