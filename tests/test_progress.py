"""Who has settled while a fleet comes up, and what is shown of it."""

from typing import Any

import click
import pytest

from aurora_circus.clock import parse_rfc3339
from aurora_circus.progress import Progress, troubled, unsettled
from aurora_circus.settings import System
from tests.fake_fleet import record
from tests.fake_fleet import system as status_of

BEGAN = parse_rfc3339("2026-01-02T03:04:00Z")


def systems(**more: Any) -> list[System]:
    """Return ``brain`` and ``router``, which depends on it; ``more`` is the router's."""
    return [System(key="brain", title="brain", port=1, critical=True), System(**{**ROUTER, **more})]


ROUTER: dict[str, Any] = {"key": "router", "title": "router", "port": 2, "depends_on": ("brain",)}


@pytest.mark.parametrize(
    ("brain", "router", "more", "settled", "trouble"),
    [
        ("healthy", "healthy", {}, True, []),
        ("healthy", "stopped", {}, True, []),
        ("healthy", "failed", {}, True, ["router"]),
        ("healthy", "starting", {}, False, ["router"]),
        ("healthy", "backoff", {}, False, ["router"]),
        ("healthy", "unhealthy", {}, False, ["router"]),
        ("healthy", "unhealthy", {"autonomous": False}, True, ["router"]),
        ("failed", "waiting", {}, False, ["brain", "router"]),
        ("failed", "waiting", {"gate": "strict"}, True, ["brain", "router"]),
        ("stopped", "waiting", {"gate": "strict"}, True, ["router"]),
        ("starting", "waiting", {"gate": "strict"}, False, ["brain", "router"]),
        ("healthy", "waiting", {"gate": "strict"}, False, ["router"]),
        ("healthy", None, {}, True, ["router"]),
    ],
)
def test_everybody_settles_who_becomes_nothing_else_by_itself(
    brain: str, router: str | None, more: dict[str, Any], settled: bool, trouble: list[str]
) -> None:
    """Also who hangs and is left to hang, who waits for what never comes, and whom circusd does not have."""
    found = systems(**more)
    status = {"brain": status_of(brain)} | ({} if router is None else {"router": status_of(router)})
    assert (not unsettled(found, status)) is settled
    assert troubled(found, status) == trouble


def test_a_line_says_after_how_long_who_did_what() -> None:
    """Counted from circusd's start by the records' own times."""
    lines = Progress(systems(), BEGAN).lines([record(1, "server_started", "brain", pid=7, took=0.5)])
    assert [click.unstyle(each) for each in lines] == ["  1.50 s  brain   healthy after 0.50 s (pid 7)"]


@pytest.mark.parametrize(
    "each",
    [
        record(1, "health_check", "brain", state="healthy"),
        record(1, "server_starting", "brain", cause="start"),
        record(1, "config_loaded"),
        record(1, "controller_started"),
        record(1, "port_conflict", None, port=5025),
        record(1, "restart_failed", "brain"),
    ],
)
def test_what_was_to_be_expected_is_no_line(each: dict[str, Any]) -> None:
    """A line is for what somebody waits for, or would not have expected."""
    assert Progress(systems(), BEGAN).lines([each]) == []


@pytest.mark.parametrize(
    "each",
    [
        record(1, "server_starting", "router", cause="start", missing=["brain"]),
        record(1, "port_conflict", "brain", port=5, pid=1, command="x"),
        record(1, "server_failed", "brain"),
        {**record(1, "journal_gap", first=1, last=2), "timestamp": "?"},
    ],
)
def test_what_was_not_is_one(each: dict[str, Any]) -> None:
    """Such as a start without its dependencies."""
    assert len(Progress(systems(), BEGAN).lines([each])) == 1


def test_the_table_shows_everybody_from_the_start() -> None:
    """Before anything is known they wait; each is shown with the time it took, or that it has taken so far."""
    progress = Progress(systems(), BEGAN)
    first = click.unstyle(progress.table({}, BEGAN, None)).split("\n")
    assert [each.split()[:3] for each in first[1:]] == [["brain", "*", "waiting"], ["router", "waiting", "–"]]
    progress.lines([record(1, "server_started", "brain", pid=7, took=0.5)])
    status = {"brain": status_of(pid=7, port=1), "router": status_of("starting", pid=8, port=2, error="refused")}
    later = click.unstyle(progress.table(status, BEGAN + 3, None)).split("\n")
    assert [each.split() for each in later[1:]] == [
        ["brain", "*", "healthy", "1.50", "s", "1", "7"],
        ["router", "starting", "3.00", "s", "2", "8", "refused"],
    ]
