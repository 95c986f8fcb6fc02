"""The journal on its worst days: full and broken disks, crashes in the middle of a line, writes that never return."""

import json
import logging
import os
import threading
from pathlib import Path

import pytest

from aurora_circus import chain, journal_archive, settings
from aurora_circus.clock import Clock
from aurora_circus.errors import MachineError
from aurora_circus.journal import Journal
from aurora_circus.journal_backlog import Limits
from tests.journals import SOON, FakeDisk, files, lines, missing, numbers, records
from tests.platforms import links

AT = 1_767_323_045.678
ROOMY = settings.Journal()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies."""
    return tmp_path / "events.jsonl"


@pytest.fixture
def disk() -> FakeDisk:
    """A disk in good order, so far."""
    return FakeDisk()


def journal(path: Path, disk: FakeDisk | None = None, rotation: settings.Journal = ROOMY, **limits: int) -> Journal:
    """A journal without a thread: it writes when it is told to."""
    return Journal(path, "aurora", rotation, limits=Limits(**limits), disk=disk)


def record(log: Journal, count: int = 1) -> None:
    """Record so many events."""
    for _ in range(count):
        log.record("e", "a", {"n": log.last_seq + 1}, AT)


# --- A disk that is full


def test_a_full_disk_stops_nothing(path: Path, disk: FakeDisk) -> None:
    """Records get their numbers and can be read; when there is room again, all are written."""
    log = journal(path, disk)
    record(log, 2)
    assert log.write_pending()
    disk.free = 0
    record(log, 3)
    assert not log.write_pending()
    assert (log.writable, log.pending) == (False, 3)
    assert "No space left" in (log.last_error or "")
    assert [event["seq"] for event in log.read(0, 10).events] == [1, 2, 3, 4, 5]
    assert numbers(path) == [1, 2]
    disk.free = None
    assert log.write_pending()
    assert (log.writable, log.last_error, log.pending) == (True, None, 0)
    assert numbers(path) == [1, 2, 3, 4, 5]


def test_a_line_is_written_whole_or_not_at_all(path: Path, disk: FakeDisk) -> None:
    """Wherever the disk fills up, the file ends with a whole line, and nothing is written twice later."""
    size = len(record_line(path))
    for room in range(3 * size):
        log = journal(path, disk)
        record(log, 3)
        disk.free = room
        assert not log.write_pending()
        assert numbers(path) == [*range(1, room // size + 1)]
        disk.free = None
        assert log.write_pending()
        assert numbers(path) == [1, 2, 3]
        assert log.close(SOON)
        path.unlink()


def record_line(path: Path) -> bytes:
    """The line of one record, as long as that of any of the first nine."""
    log = journal(path)
    record(log)
    log.close(SOON)
    line = path.read_bytes()
    path.unlink()
    return line


def test_what_cannot_be_cut_off_at_once_is_cut_off_later(path: Path, disk: FakeDisk) -> None:
    """A broken disk may leave a piece of a line: no later line is glued to it, and none is there twice."""
    size = len(record_line(path))
    for room in range(1, 2 * size):
        log = journal(path, disk)
        record(log, 2)
        disk.free, disk.truncates = room, False
        assert not log.write_pending()
        disk.free, disk.truncates = None, True
        assert log.write_pending()
        assert numbers(path) == [1, 2]
        log.close(SOON)
        path.unlink()


def test_an_error_is_logged_once(path: Path, disk: FakeDisk, caplog: pytest.LogCaptureFixture) -> None:
    """When it comes, when it is another one, and when it is over; not each time that it is met."""
    caplog.set_level(logging.INFO)
    log = journal(path, disk)
    record(log)
    disk.free = 0
    for _ in range(3):
        assert not log.write_pending()
    disk.free, disk.truncates = 10, False
    assert not log.write_pending()
    disk.free = None
    assert not log.write_pending()
    disk.truncates = True
    assert log.write_pending()
    assert [entry.levelname for entry in caplog.records] == ["ERROR", "ERROR", "INFO"]


def test_what_cannot_wait_is_lost_and_said_to_be(path: Path, disk: FakeDisk) -> None:
    """The oldest go; where they would stand, a gap with the last of their numbers names the first and the last."""
    log = journal(path, disk, ring=3, backlog=5)
    record(log, 2)
    assert log.write_pending()
    disk.free = 0
    record(log, 8)
    assert not log.write_pending()
    record(log, 1)
    disk.free = None
    record(log, 1)
    assert log.write_pending()
    assert numbers(path) == [1, 2, 7, 8, 9, 10, 11, 12]
    gap = records(path)[2]
    assert gap["event"] == "journal_gap"
    assert gap["server"] is None
    assert gap["details"]["first"] == 3
    assert gap["details"]["last"] == 7
    assert "No space left" in gap["details"]["error"]
    assert missing(records(path)) == {3, 4, 5, 6, 7}


def test_bytes_count_as_well_as_records(path: Path, disk: FakeDisk) -> None:
    """A few large records may not fill the memory either."""
    log = journal(path, disk, backlog_bytes=10_000)
    disk.free = 0
    for _ in range(10):
        log.record("e", None, {"large": "x" * 2000}, AT)
    assert log.pending == 4
    disk.free = None
    assert log.write_pending()
    assert missing(records(path)) == {1, 2, 3, 4, 5, 6}


def test_the_room_in_memory_is_given_back(path: Path, disk: FakeDisk) -> None:
    """What was written, or waits again, counts once: as many bytes wait as may, however long it has gone on."""
    log = journal(path, disk, backlog_bytes=2000, batch_bytes=300)
    for _ in range(50):
        record(log)
        assert log.write_pending()
    size = len(chain.split(lines(path)[-1])[0]) + 1
    disk.free = 0
    for _ in range(40):
        record(log)
        assert not log.write_pending()
        assert log.pending * size <= 2000 + size
    assert log.pending >= 2000 // size - 2, "a gap is a little longer than these records"
    disk.free = None
    assert log.write_pending()
    assert len(missing(records(path))) == 90 - len(numbers(path)) + 1


@pytest.mark.parametrize("ring", [100, 5, 1])
def test_readers_see_the_gap_at_once(path: Path, disk: FakeDisk, ring: int) -> None:
    """They are told the same during the outage, after it and after a restart."""
    log = journal(path, disk, ring=ring, backlog=5)
    record(log, 2)
    assert log.write_pending()
    disk.free = 0
    record(log, 10)
    during = [log.read(since, 3).events for since in range(13)]
    assert missing(log.read(0, 100).events) == {3, 4, 5, 6, 7}
    assert missing(log.read(None, 100).events) == {3, 4, 5, 6, 7}
    disk.free = None
    assert log.write_pending()
    later = [log.read(since, 3).events for since in range(13)]
    again = [journal(path).read(since, 3).events for since in range(13)]
    for page in during:
        for event in page:
            event["details"].pop("error", None)
    for pages in (later, again):
        for page in pages:
            for event in page:
                event["details"].pop("error", None)
        assert pages == during


def test_an_outage_that_goes_on_makes_one_gap(path: Path, disk: FakeDisk) -> None:
    """However often the writing is tried meanwhile."""
    log = journal(path, disk, backlog=3)
    disk.free = 0
    for _ in range(20):
        record(log)
        assert not log.write_pending()
    disk.free = None
    assert log.write_pending()
    assert [entry["event"] for entry in records(path)] == ["journal_gap", "e", "e", "e"]
    assert missing(records(path)) == {*range(1, 18)}


def test_what_is_lost_during_a_write_that_fails_leaves_the_order_right(path: Path) -> None:
    """A gap may come behind records that are tried again, and be lost with them later."""

    class Busy(FakeDisk):
        during = 0

        def write(self, fd: int, data: bytes | memoryview) -> int:
            count, self.during = self.during, 0
            record(log, count)
            return super().write(fd, data)

    disk = Busy()
    log = journal(path, disk, ring=2, backlog=4, batch_bytes=300)
    disk.free = 0
    record(log, 4)
    for during in (3, 6, 0, 9):
        disk.during = during
        assert not log.write_pending()
        assert missing(log.read(0, 100).events) == {*range(1, log.last_seq - 3)}
    disk.free, disk.during = None, 5
    assert log.write_pending()
    missing(records(path))
    assert numbers(path)[-4:] == [24, 25, 26, 27]


# --- A file that cannot be rotated


def test_a_file_that_cannot_be_rotated_goes_on_growing(path: Path, disk: FakeDisk) -> None:
    """A long journal is better than none, but it is not as it should be, and says so."""
    log = journal(path, disk, settings.Journal(max_bytes=1000, backups=3))
    disk.renames = False
    for _ in range(20):
        record(log)
        assert log.write_pending()
    assert files(path) == [path]
    assert numbers(path) == [*range(1, 21)]
    assert "Permission denied" in (log.last_error or "")
    disk.renames = True
    record(log)
    assert log.write_pending()
    assert log.last_error is None
    assert [len(file.read_bytes().splitlines()) for file in files(path)] == [20, 1]


def test_a_rotation_that_fails_costs_no_backup(path: Path) -> None:
    """Tried again and again, it does not push one backup after the other over the edge."""

    class Stubborn(FakeDisk):
        def replace(self, source: Path, target: Path) -> None:
            if source == path and not self.renames:
                raise PermissionError(13, "somebody reads it")
            source.replace(target)

    disk = Stubborn()
    log = journal(path, disk, settings.Journal(max_bytes=1000, backups=3))
    record(log, 25)
    assert log.write_pending()
    before = numbers(path)
    disk.renames = False
    for _ in range(20):
        record(log)
        assert log.write_pending()
    kept = numbers(path)
    assert kept == [*range(kept[0], 46)]
    assert len(files(path)) >= 3
    assert kept[0] <= before[len(before) // 3]


# --- Crashes


def test_a_torn_last_line_is_mended_on_start(path: Path) -> None:
    """Wherever it is torn: whole lines stay, numbers have no hole, and a gap keeps what stood of the torn one."""
    log = journal(path)
    record(log, 3)
    log.close(SOON)
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kept = sum(end <= size for end in ends)
        torn = whole[max((end for end in ends if end <= size), default=0) : size]
        only_the_newline_is_missing = size + 1 in ends
        log = journal(path)
        assert log.last_seq == kept + bool(torn)
        record(log)
        log.close(SOON)
        assert numbers(path) == [*range(1, kept + bool(torn) + 2)]
        if torn and not only_the_newline_is_missing:
            gap = records(path)[kept]
            assert gap["event"] == "journal_gap"
            assert gap["details"] == {"first": kept + 1, "last": kept + 1, "torn": torn.decode()}
        else:
            assert all(entry["event"] == "e" for entry in records(path))


def test_zeros_after_a_power_cut_are_cut_off(path: Path) -> None:
    """Some file systems leave them where the last writes should be."""
    log = journal(path)
    record(log, 3)
    log.close(SOON)
    with path.open("ab") as file:
        file.write(b"\0" * 5000)
    log = journal(path)
    assert log.last_seq == 4
    assert log.close(SOON)
    assert missing(records(path)) == {4}


def test_what_was_never_a_line_of_ours_is_not_cut_off(path: Path) -> None:
    """A megabyte without a newline is somebody's mistake; it is ended, and left."""
    path.write_bytes(b"x" * 1_500_000)
    log = journal(path)
    record(log)
    assert log.close(SOON)
    first, *others = path.read_bytes().splitlines()
    assert first == b"x" * 1_500_000
    assert [json.loads(line)["seq"] for line in others] == [1, 2]


@pytest.mark.parametrize("limit", [1, 100])
def test_a_disk_that_cannot_be_read_is_an_error_for_readers_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """The journal starts, records and writes; whoever asks for what is in the files is told."""
    log = journal(path, ring=1)
    record(log, 3)
    assert log.write_pending()
    with monkeypatch.context() as broken:
        # a descriptor that is open for writing only fails when it is read, as a broken disk does
        broken.setattr(journal_archive, "open_regular", lambda path, *_, **__: os.open(path, os.O_WRONLY))
        with pytest.raises(MachineError, match=r"events\.jsonl: cannot be read"):
            log.read(0, limit)
        assert journal(path).last_seq == 0
        path.rename(f"{path}.1")
        record(log)
        assert log.write_pending()
        assert [event["seq"] for event in log.read(3, limit).events] == [4]
    assert [event["seq"] for event in log.read(0, 100).events] == [1, 2, 3, 4]


def test_somebody_elses_line_may_hold_anything(path: Path) -> None:
    """A server that is no name fits no filter, and breaks none."""
    path.write_bytes(b'{"seq": 1, "event": "e", "details": {}, "server": [1]}\n')
    log = journal(path)
    assert [event["server"] for event in log.read(0, 10).events] == [[1]]
    assert log.read(0, 10, server="a").events == []


# --- Writes that do not come back


class Stopwatch(Clock):
    """A clock that moves when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


class Hanging(FakeDisk):
    """A disk whose writes wait."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.go = threading.Event()

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Wait for ``go``."""
        self.entered.set()
        assert self.go.wait(SOON)
        return super().write(fd, data)


def test_a_write_that_hangs_holds_nobody_up_and_is_noticed(path: Path) -> None:
    """Recording and reading go on; the journal does not count as writable."""
    disk, clock = Hanging(), Stopwatch()
    log = Journal(path, "aurora", ROOMY, disk=disk, clock=clock)
    log.start()
    record(log)
    assert disk.entered.wait(SOON)
    assert log.writable
    clock.now += 60
    record(log)
    assert not log.writable
    assert "hanging" in (log.last_error or "")
    assert len(log.read(0, 10).events) == 2
    assert not log.flush(0.01)
    disk.go.set()
    assert log.flush(SOON)
    assert log.writable
    assert numbers(path) == [1, 2]
    assert log.close(SOON)


def test_a_full_disk_does_not_keep_the_process_from_ending(path: Path, disk: FakeDisk) -> None:
    """close says that not everything was written, and returns."""
    disk.free = 0
    log = Journal(path, "aurora", ROOMY, limits=Limits(retry=0.001), disk=disk)
    log.start()
    record(log)
    assert not log.close(0.05)


def test_the_thread_writes_again_when_there_is_room(path: Path, disk: FakeDisk) -> None:
    """Nobody has to tell it."""
    failed = threading.Event()

    class Watched(FakeDisk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            try:
                return super().write(fd, data)
            except OSError:
                failed.set()
                raise

    disk = Watched()
    disk.free = 0
    log = Journal(path, "aurora", ROOMY, limits=Limits(retry=0.001), disk=disk)
    log.start()
    record(log, 3)
    assert failed.wait(SOON)
    disk.free = None
    assert log.flush(SOON)
    assert numbers(path) == [1, 2, 3]
    assert log.close(SOON)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_died_is_noticed(path: Path) -> None:
    """A fault of our own in it is not hidden: the journal does not count as writable."""
    died = threading.Event()

    class Broken(FakeDisk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            died.set()
            raise ZeroDivisionError

    log = Journal(path, "aurora", ROOMY, disk=Broken())
    log.start()
    assert log.writable
    record(log)
    assert died.wait(SOON)
    log._background._thread.join(SOON)  # type: ignore[union-attr]  # it was started
    assert "died" in (log.last_error or "")
    record(log)
    assert len(log.read(0, 10).events) == 2


@links
def test_the_journal_follows_a_link_that_the_operator_made(path: Path, tmp_path: Path) -> None:
    """Unlike the systems' logs, it is ours to write: where it really lies is for the operator to say."""
    (tmp_path / "elsewhere").mkdir()
    path.symlink_to(tmp_path / "elsewhere" / "audit.jsonl")
    log = journal(path)
    record(log)
    assert log.close(SOON)
    assert [json.loads(line)["seq"] for line in lines(tmp_path / "elsewhere" / "audit.jsonl")] == [1]
    assert path.is_symlink()
