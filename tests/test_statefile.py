"""The state that survives the crash of everything."""

import json
import logging
import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from aurora_circus.statefile import RATE, StateFile
from tests.journals import SOON
from tests.platforms import WINDOWS, fifos, owned


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state lies; neither it nor its directory is there yet."""
    return tmp_path / "run" / "state.json"


def test_what_was_saved_is_loaded(path: Path) -> None:
    """By another process, and whatever JSON can hold."""
    state = {"wishes": {"automation_hub": "stopped"}, "attempts": 3, "grün": [None, 1.5, "\ud800"]}
    file = StateFile(path)
    file.save(lambda: state)
    assert file.close(SOON)
    assert StateFile(path).load() == state


@owned
def test_nobody_else_may_read_it(path: Path) -> None:
    """Neither the file nor a directory that had to be made for it."""
    file = StateFile(path)
    file.save(dict)
    assert file.close(SOON)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [*path.parent.iterdir()] == [path]


def test_without_a_file_the_state_is_empty(path: Path) -> None:
    """That is no fault, and reading leaves nothing behind."""
    file = StateFile(path)
    assert file.load() == {}
    assert file.fault is None
    assert file.close(SOON)
    assert not path.parent.exists()


def test_reading_and_closing_changes_nothing(path: Path) -> None:
    """Who only looks does not remove what is there."""
    file = StateFile(path)
    file.save(lambda: {"a": 1})
    assert file.close(SOON)
    other = StateFile(path)
    assert other.load() == {"a": 1}
    assert other.close(SOON)
    assert path.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"a": 1}\0'])
def test_a_corrupt_file_is_kept_aside(path: Path, data: bytes) -> None:
    """The state is empty then, it is said why, and the next load finds no file."""
    path.parent.mkdir()
    path.write_bytes(data)
    file = StateFile(path)
    assert file.load() == {}
    assert str(path) in (file.fault or "")
    assert (path.parent / "state.json.corrupt").read_bytes() == data
    assert file.load() == {}
    assert file.fault is None


@pytest.mark.parametrize("kind", [pytest.param("fifo", marks=fifos), "directory"])
def test_what_is_no_file_is_said_to_be_none(path: Path, kind: str) -> None:
    """A FIFO makes nobody wait."""
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    file = StateFile(path)
    assert file.load() == {}
    assert ("cannot be read" if WINDOWS else "not a regular file") in (file.fault or "")


def test_the_latest_state_wins(path: Path) -> None:
    """However many come while one is being written."""
    file = StateFile(path)
    for number in range(500):
        file.save(partial(dict, number=number))
    assert file.flush(SOON)
    assert json.loads(path.read_bytes()) == {"number": 499}
    assert file.close(SOON)


def test_saving_does_not_wait_and_skips_what_is_outdated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write hangs, states come and go; only the last of them is written after it."""
    entered, go, written = threading.Event(), threading.Event(), []
    replace = StateFile._replace

    def slowly(self: StateFile, data: bytes) -> None:
        entered.set()
        assert go.wait(SOON)
        written.append(json.loads(data)["number"])
        replace(self, data)

    monkeypatch.setattr(StateFile, "_replace", slowly)
    file = StateFile(path)
    file.save(lambda: {"number": 0})
    assert entered.wait(SOON)
    for number in range(1, 10):
        file.save(partial(dict, number=number))
    go.set()
    assert file.close(SOON)
    assert written == [0, 9]


def test_a_large_state_is_written_less_often(path: Path) -> None:
    """Of five systems it is some kilobytes, written as soon as it changes: a plugin may be killed a moment later."""
    state = StateFile(path)
    state.save(lambda: {"systems": "x" * 1000})
    assert state.flush(SOON)
    assert state._rest() < 0.002
    state.save(lambda: {"systems": "x" * RATE})
    assert state.flush(SOON)
    assert 1.0 < state._rest() < 1.001
    state.clear()
    assert state.close(SOON)
    assert state._rest() == 0.0


def test_the_same_state_is_not_written_twice(path: Path) -> None:
    """Unless somebody removed it."""
    file = StateFile(path)
    file.save(lambda: {"a": 1})
    assert file.flush(SOON)
    before = path.stat().st_ino, path.stat().st_mtime_ns
    file.save(lambda: {"a": 1})
    assert file.flush(SOON)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    path.unlink()
    file.save(lambda: {"a": 1})
    assert file.close(SOON)
    assert path.exists()


def test_what_is_cleared_is_gone(path: Path) -> None:
    """Also when a save came just before, and until the next one."""
    file = StateFile(path)
    file.save(lambda: {"a": 1})
    file.clear()
    assert file.flush(SOON)
    assert not path.exists()
    file.clear()
    assert file.flush(SOON)
    file.save(lambda: {"a": 2})
    assert file.close(SOON)
    assert StateFile(path).load() == {"a": 2}


def test_a_write_that_fails_is_tried_until_it_succeeds(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error can be seen meanwhile, is logged once, and so is its end."""
    caplog.set_level(logging.INFO)
    path.parent.touch()  # a file where the directory should be
    tries, failed = 0, threading.Event()
    replace = StateFile._replace

    def counted(self: StateFile, data: bytes) -> None:
        nonlocal tries
        tries += 1
        if tries > 3:
            failed.set()
        replace(self, data)

    monkeypatch.setattr(StateFile, "_replace", counted)
    file = StateFile(path, retry=0.001)
    file.save(lambda: {"a": 1})
    assert failed.wait(SOON)
    assert "cannot be written" in (file.last_error or "")
    path.parent.unlink()
    assert file.flush(SOON)
    assert file.last_error is None
    assert StateFile(path).load() == {"a": 1}
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert file.close(SOON)


def test_a_write_that_fails_half_way_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old state is whole, and no draft lies beside it."""
    file = StateFile(path, retry=3600)
    file.save(lambda: {"a": 1})
    assert file.flush(SOON)
    failed = threading.Event()

    def full(_: int) -> None:
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file.save(lambda: {"a": 2})
    assert failed.wait(SOON)
    assert not file.close(0.05)
    assert StateFile(path).load() == {"a": 1}
    assert [*path.parent.iterdir()] == [path]


def test_what_json_cannot_hold_ends_the_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is our own mistake, is not hidden, and what was saved before stays."""
    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    file = StateFile(path)
    file.save(lambda: {"a": 1})
    assert file.flush(SOON)
    file.save(lambda: {"a": object()})
    assert not file.close(SOON)
    assert told == [TypeError]
    assert StateFile(path).load() == {"a": 1}
