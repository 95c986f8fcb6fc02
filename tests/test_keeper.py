"""When a circusd is replaced, how often, and what is known of one that is kept."""

import os
from pathlib import Path

import pytest

from aurora_circus import keeper, kept, settings
from aurora_circus.facts import Process
from aurora_circus.kept import Kept


def test_a_row_of_replacements_has_an_end_and_its_waits_grow() -> None:
    """The first two are at once; after the last there is no other."""
    attempt: int | None = None
    waits = []
    while True:
        attempt = keeper.following(attempt, 1.0)
        wait = keeper.delay(attempt)
        if wait is None:
            break
        waits.append(wait)
    assert waits == list(keeper.DELAYS)
    assert waits == sorted(waits)
    assert len(waits) > 5


def test_one_that_has_lived_long_begins_a_new_row() -> None:
    """However many came before it."""
    assert keeper.following(7, keeper.STABLE) == 0
    assert keeper.following(7, keeper.STABLE - 1) == 8
    assert keeper.following(None, 0.0) == 0


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("works", [False, True])
def test_the_plugin_replaces_only_what_nobody_ended_and_nobody_else_keeps(
    marked: bool, draining: bool, works: bool
) -> None:
    """Any of the three is enough to leave it."""
    found = keeper.replaces(marked=marked, draining=draining, keeper_works=works)
    assert found is not (marked or draining or works)


def test_what_is_known_goes_through_the_environment_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is no longer there afterwards: nobody inherits it."""
    fleet = settings.Fleet(run_dir="/somewhere/run")
    known = Kept(
        keeper=Process(5, 1.5),
        attempt=2,
        old=7,
        why="gone",
        circusd=Process(8, 2.5),
        argv=("python", "-m", "circus.circusd"),
        folder="/somewhere",
        pythonpath=None,
        fleet=settings.dumps(fleet),
    )
    monkeypatch.setenv(kept.VARIABLE, known.dumps())
    assert kept.take(os.environ) == known
    assert kept.VARIABLE not in os.environ
    assert kept.take(os.environ) is None
    assert known.run_dir == "/somewhere/run"


@pytest.mark.parametrize("text", ["", "[]", "5", "{", '{"colour": 1}', '{"keeper": 5}', '{"keeper": ["x", 1]}'])
def test_what_makes_no_sense_is_as_if_it_were_not_there(text: str) -> None:
    """A circusd of another version is nobody's to replace."""
    assert kept.loads(text) is None


@pytest.mark.parametrize("path", [None, "/own"])
def test_the_next_circusd_gets_the_environment_of_the_last(path: str | None) -> None:
    """That of its plugin, but for the module path that circus gives one."""
    known = Kept(pythonpath=path)
    own = {"HOME": "/h", "PYTHONPATH": "/all/of/sys.path", kept.VARIABLE: "old"}
    expected = {"HOME": "/h", kept.VARIABLE: known.dumps(), **({} if path is None else {"PYTHONPATH": path})}
    assert known.environment(own) == expected


def test_the_mark_is_made_once_and_removed(tmp_path: Path) -> None:
    """As often as somebody says so."""
    place = str(tmp_path)
    assert not kept.marked(place)
    kept.unmark(place)
    kept.mark(place)
    kept.mark(place)
    assert kept.marked(place)
    kept.unmark(place)
    assert not kept.marked(place)
    with pytest.raises(FileNotFoundError):
        kept.mark(str(tmp_path / "nowhere"))
