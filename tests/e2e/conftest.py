"""Fleets that are ended with their test, whatever becomes of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Fleet, Json

Make = Callable[..., Fleet]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Make]:
    """Make fleets: ``fleet({"web": {…}}, restart={…})``."""
    made: list[Fleet] = []

    def make(systems: dict[str, Json], folder: str = "", **tables: Json) -> Fleet:
        place = tmp_path / folder if folder else tmp_path
        place.mkdir(exist_ok=True)
        made.append(Fleet(place, systems, **tables))
        return made[-1]

    yield make
    for each in made:
        try:
            print(each.told())  # noqa: T201 - pytest shows it where the test has failed
        finally:
            each.end()
