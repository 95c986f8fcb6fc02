"""Fleets that are looked at when their test is over, and the report that the table in ``docs/faults.md`` is made of.

``AURORA_FAULTS=FILE`` has the outcome of each line written there as JSON.
"""

import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Fleet, Json
from tests.faults.arena import Arena, MakeArena
from tests.faults.catalog import GROUPS

REPORT = "AURORA_FAULTS"
_FIGURES = pytest.StashKey[dict[str, Any]]()
_lines: dict[str, Json] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test that says nothing for the table, and two that say the same."""
    seen: dict[tuple[str, str], str] = {}
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        mark = item.get_closest_marker("fault")
        if mark is None or len(mark.args) != 2 or mark.args[0] not in GROUPS:
            raise pytest.UsageError(f"{item.nodeid}: needs @pytest.mark.fault(GROUP, WHAT), GROUP one of {[*GROUPS]}")
        other = seen.setdefault(mark.args, item.nodeid)
        if other != item.nodeid:
            raise pytest.UsageError(f"{item.nodeid} says the same as {other}: {mark.args}")


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what the table says of this test besides its outcome: a label, and a number with its unit."""
    return request.node.stash.setdefault(_FIGURES, {})  # type: ignore[no-any-return] # the node has no type


@pytest.fixture
def arena(tmp_path: Path, figures: dict[str, Any]) -> Iterator[MakeArena]:
    """Make fleets: ``arena({"web": {…}}, restart={…})``, up and healthy unless ``start=False``."""
    made: list[Arena] = []

    def make(systems: dict[str, Json], folder: str = "", *, start: bool = True, **tables: Json) -> Arena:
        place = tmp_path / folder if folder else tmp_path
        place.mkdir(exist_ok=True)
        made.append(Arena(place, systems, figures, **tables))
        return made[-1].begin() if start else made[-1]

    try:
        yield make
        for each in made:
            if each.running():
                each.holds()
    finally:
        for each in made:
            try:
                print(Fleet.told(each))  # noqa: T201 - pytest shows it where the test has failed
                each.quiet()
            finally:
                each.finish()
    for each in made:
        each.nothing_left()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the outcome of each line."""
    report = yield
    mark = item.get_closest_marker("fault")
    if mark is not None and (report.when == "call" or report.outcome != "passed"):
        line = _lines.setdefault(item.nodeid, {"group": mark.args[0], "what": mark.args[1], "outcome": report.outcome})
        if report.outcome != "passed":
            line["outcome"] = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            line["reason"] = report.longrepr[2].removeprefix("Skipped: ")
    if mark is not None and report.when == "teardown" and item.nodeid in _lines:
        _lines[item.nodeid]["figures"] = item.stash.get(_FIGURES, {})
    return report


def pytest_sessionfinish() -> None:
    """Write the report, where somebody wants one."""
    path = os.environ.get(REPORT)
    if path and _lines:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        said = {"python": sys.version.split()[0], "platform": sys.platform, "lines": [*_lines.values()]}
        Path(path).write_text(json.dumps(said, indent=1), encoding="utf-8")
