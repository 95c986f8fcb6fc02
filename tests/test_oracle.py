"""What must hold: each rule sees what it is there to see, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from aurora_circus.oracle import Resources, Sight, judge
from aurora_circus.story import Story, replay
from tests.test_story import UP, exited, told

Json = dict[str, Any]


def story(*events: tuple[str, str | None, Json]) -> Story:
    """Return what such a journal says."""
    return replay(told(*events))


WEB: Json = {
    "state": "healthy",
    "pid": 10,
    "port": 8080,
    "error": None,
    "next_attempt_at": None,
    "autonomous": True,
    "depends_on": [],
}
FAILED = {
    **WEB,
    "state": "failed",
    "pid": None,
    "error": "exited with code 1",
    "next_attempt_at": "2026-01-01T00:00:00Z",
}
GAVE_UP: tuple[tuple[str, str | None, Json], ...] = (*UP, exited(10), ("server_failed", "web", {}))
WELL = Sight(
    status={"web": WEB},
    health=None,
    told=story(*UP),
    leaders={"web": [10]},
    alive=frozenset({10}),
    listeners={"web": True},
    own={"plugin": Resources(30, 8)},
)
GIVEN_UP = replace(WELL, status={"web": FAILED}, told=story(*GAVE_UP), leaders={}, alive=frozenset(), listeners={})


def test_a_fleet_that_is_well_has_no_findings() -> None:
    """Nor has one that has failed and says why and when it goes on."""
    assert judge(WELL, WELL.own) == []
    assert judge(GIVEN_UP, WELL.own) == []


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        pytest.param(replace(WELL, status=None), "api", id="no API"),
        pytest.param(replace(WELL, health="circusd does not answer"), "health", id="controller"),
        pytest.param(replace(WELL, zombies=[7]), "zombie", id="zombie"),
        pytest.param(replace(WELL, leaders={"web": [10, 11]}), "twice", id="two of one"),
        pytest.param(replace(WELL, alive=frozenset()), "state", id="dead but healthy"),
        pytest.param(replace(WELL, listeners={"web": False}), "port", id="an impostor"),
        pytest.param(replace(WELL, status={"web": {**WEB, "state": "starting"}}), "state", id="not settled"),
        pytest.param(replace(WELL, status={"web": {**WEB, "pid": 11}}, alive=frozenset({11})), "replay", id="pid"),
        pytest.param(replace(WELL, told=story(*GAVE_UP)), "replay", id="state"),
        pytest.param(replace(WELL, told=replay([told(*UP)[0], *told(*UP)[2:]])), "seq", id="a number is missing"),
        pytest.param(replace(GIVEN_UP, leaders={"web": [12]}), "leftover", id="failed and running"),
        pytest.param(replace(GIVEN_UP, status={"web": {**FAILED, "error": None}}), "reason", id="no reason"),
        pytest.param(replace(GIVEN_UP, status={"web": {**FAILED, "next_attempt_at": None}}), "next", id="no time"),
        pytest.param(replace(WELL, own={"plugin": Resources(500, 8)}), "descriptors", id="descriptors"),
        pytest.param(replace(WELL, own={"plugin": Resources(30, 80)}), "threads", id="threads"),
    ],
)
def test_each_rule(seen: Sight, rule: str) -> None:
    """It alone is broken."""
    [found] = judge(seen, WELL.own)
    assert found.rule == rule
    assert str(found).startswith(f"{rule}: ")
