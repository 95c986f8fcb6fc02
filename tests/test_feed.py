"""Records and states, from the API and from the files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aurora_circus import feed
from aurora_circus.client import Client
from aurora_circus.feed import ApiFeed, FileFeed
from tests.fake_fleet import FakeApi, fleet, record, write_journal, write_state


def seqs(records: Any) -> list[int]:
    """Return the numbers of records."""
    return [each["seq"] for each in records]


def test_the_api_is_asked_from_where_the_last_answer_ended(tmp_path: Path) -> None:
    """Its ``next``, not the last record's number: what did not match is not looked at again."""
    with FakeApi(str(tmp_path)).serving() as api:
        api.on("GET /events", {"events": [record(6, "x")], "next": 9, "truncated": True})
        found = ApiFeed(Client("127.0.0.1", api.port), 5, server="web")
        assert seqs(found.read(0.5)) == [6]
        assert found.truncated
        found.read(0)
        assert [query for _, query in api.asked] == [
            {"server": "web", "since": "5", "limit": "1000", "wait": "0.5"},
            {"server": "web", "since": "9", "limit": "1000", "wait": "0"},
        ]


def test_an_api_that_is_busy_has_nothing_new(tmp_path: Path) -> None:
    """The state can be asked for all the same."""
    with FakeApi(str(tmp_path)).serving() as api:
        api.on("GET /events", (503, {"error": "busy"}, {"Retry-After": "9"}))
        api.on("GET /status", {"web": {}})
        found = ApiFeed(Client("127.0.0.1", api.port), 5)
        assert found.read(0.01) == []
        assert found.since == 5
        assert found.status() == {"web": {}}


def test_the_file_gives_each_record_once_and_in_order(tmp_path: Path) -> None:
    """From a number on, across a rotation, and without what is half written."""
    around = fleet(tmp_path)
    found = FileFeed(around, 1)
    assert found.read(0) == []
    path = write_journal(around, *(record(each, "x") for each in range(1, 4)))
    assert seqs(found.read(0)) == [2, 3]
    assert found.read(0) == []
    line = json.dumps(record(4, "x"))
    for part in (line[:20], line[20:] + "\n"):
        assert found.read(0) == []
        with path.open("a") as file:
            file.write(part)
    path.rename(path.with_name("events.jsonl.1"))
    write_journal(around, record(5, "x"))
    assert seqs(found.read(0)) == [4, 5]
    assert found.since == 5


def test_waiting_for_a_file_looks_again_and_again(tmp_path: Path) -> None:
    """Until there is something, or nothing more can come."""
    around = fleet(tmp_path)
    slept: list[float] = []

    def sleep(seconds: float) -> bool:
        slept.append(seconds)
        if len(slept) == 3:
            write_journal(around, record(1, "x"))
        return False

    assert seqs(FileFeed(around, 0, sleep=sleep).read(60)) == [1]
    assert slept == [feed.LOOK] * 3
    ended: Callable[[float], bool] = lambda _: True  # noqa: E731 - it is what sleeps
    assert FileFeed(around, 1, sleep=ended).read(60) == []


def test_the_saved_state_counts_for_its_own_circusd_alone(tmp_path: Path) -> None:
    """What an earlier one left says nothing of now."""
    around = fleet(tmp_path)
    found = FileFeed(around, 0, circusd=12)
    assert found.status() is None
    memory = {
        "state": "backoff",
        "error": "boom",
        "port": 7,
        "process": [9, 1.0],
        "attempt": 2,
        "due": 0.5,
        "restarts": 1,
    }
    write_state(around, {"brain": memory}, circusd=11)
    assert found.status() is None
    write_state(around, {"brain": memory}, circusd=12)
    assert found.status() == {
        "brain": {
            "state": "backoff",
            "error": "boom",
            "port": 7,
            "pid": 9,
            "restarts": 1,
            "attempt": 2,
            "attempts": 6,
            "critical": True,
            "autonomous": True,
            "next_attempt_at": "1970-01-01T00:00:00.500Z",
        },
        "router": {"state": "stopped", "port": 2, "critical": False},
    }
    assert feed.saved_status(around, 12) == found.status()


def test_rubbish_for_a_saved_state_is_none(tmp_path: Path) -> None:
    """A crash may have left anything."""
    around = fleet(tmp_path)
    path = write_state(around, {})
    for text in ("", "[1]", "{", '{"circusd": [12, 1], "systems": 3}'):
        path.write_text(text)
        assert FileFeed(around, 0, circusd=12).status() is None


def test_the_newest_records_are_found_without_anybody(tmp_path: Path) -> None:
    """As many as are wanted, of whom and of what is wanted."""
    around = fleet(tmp_path)
    assert feed.newest(around.fleet, 5) == []
    assert feed.last_number(around.fleet) == 0
    kinds = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    write_journal(around, *(record(number, event, server) for number, (server, event) in enumerate(kinds, 1)))
    assert seqs(feed.newest(around.fleet, 3)) == [2, 3, 4]
    assert seqs(feed.newest(around.fleet, 3, server="a")) == [1, 3]
    assert seqs(feed.newest(around.fleet, 1, event="x")) == [2]
    assert feed.last_number(around.fleet) == 4
