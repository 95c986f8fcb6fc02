"""The journal: what is recorded, how it is written, and how it is read. Its worst days are in test_journal_faults."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from aurora_circus import chain, settings
from aurora_circus.journal import Journal
from aurora_circus.journal_backlog import Limits
from tests.journals import SOON, FakeDisk, files, lines, missing, numbers, records
from tests.platforms import fifos, gone_while_open

AT = 1_767_323_045.678
ROOMY = settings.Journal()
SMALL = settings.Journal(max_bytes=1000, backups=3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal lies; neither it nor its directory is there yet."""
    return tmp_path / "logs" / "events.jsonl"


def journal(path: Path, rotation: settings.Journal = ROOMY, **limits: int) -> Journal:
    """A journal without a thread: it writes when it is told to."""
    return Journal(path, "aurora", rotation, limits=Limits(**limits))


def filled(path: Path, count: int, rotation: settings.Journal = ROOMY, **limits: int) -> Journal:
    """A journal with so many records written, of servers a and b in turn, every tenth a failure."""
    result = journal(path, rotation, **limits)
    for number in range(1, count + 1):
        server = "ab"[number % 2]
        result.record("server_failed" if number % 10 == 0 else "health_check", server, {"n": number}, AT)
        assert result.write_pending()
    return result


# --- Recording


def test_a_record_is_one_line_with_six_fields_and_its_link(path: Path) -> None:
    """The six are those that the old log's readers know, in their order; a reader of ours is told these alone."""
    log = journal(path)
    record = log.record("server_started", "automation_hub", {"pid": 7}, AT)
    log.record("controller_stopped", None, {}, AT)
    assert log.write_pending()
    first, second = lines(path)
    bare = (
        b'{"timestamp": "2026-01-02T03:04:05.678Z", "seq": 1, "event": "server_started", '
        b'"server": "automation_hub", "details": {"pid": 7}, "system": "aurora"}'
    )
    link = hashlib.sha256(bare).hexdigest()[:32]
    assert first == bare[:-1] + f', "chain": "{link}"}}\n'.encode()
    assert json.loads(second)["chain"] == hashlib.sha256(link.encode() + chain.split(second)[0]).hexdigest()[:32]
    assert json.loads(bare) == record == log.read(0, 1).events[0]
    assert json.loads(second)["server"] is None


@pytest.mark.parametrize("at", [float("nan"), float("inf"), 1e300])
def test_no_record_fails_for_its_time(path: Path, at: float) -> None:
    """A moment that cannot be written is written as 1970."""
    assert journal(path).record("e", None, {}, at)["timestamp"].startswith("1970-")


def test_a_record_can_be_read_before_it_is_written(path: Path) -> None:
    """Readers do not wait for the disk either."""
    log = journal(path)
    record = log.record("e", None, {"a": [1]}, AT)
    assert log.read(0, 10).events == [record]
    assert not path.exists()


def test_what_a_reader_does_to_a_record_changes_no_other_copy(path: Path) -> None:
    """Every reader gets its own."""
    log = journal(path)
    log.record("e", None, {"a": 1}, AT)["details"].clear()
    log.read(0, 10).events[0]["details"].clear()
    assert log.read(0, 10).events[0]["details"] == {"a": 1}


def test_what_waits_is_written_in_one_go(path: Path) -> None:
    """A burst costs one write, not one for each record."""

    class Counting(FakeDisk):
        writes = 0

        def write(self, fd: int, data: bytes | memoryview) -> int:
            self.writes += 1
            return super().write(fd, data)

    disk = Counting()
    log = Journal(path, "aurora", ROOMY, disk=disk)
    for _ in range(100):
        log.record("e", None, {}, AT)
    assert log.write_pending()
    assert disk.writes == 1
    assert numbers(path) == [*range(1, 101)]


# --- The writer's thread


def test_the_thread_writes_what_is_recorded(path: Path) -> None:
    """flush returns when it has."""
    log = journal(path)
    log.start()
    for _ in range(500):
        log.record("e", None, {}, AT)
    assert log.flush(SOON)
    assert numbers(path) == [*range(1, 501)]
    assert log.close(SOON)


def test_threads_that_record_at_the_same_time_get_numbers_in_order(path: Path) -> None:
    """None twice, none left out, and the file has them in their order."""
    log = journal(path, SMALL.__class__(max_bytes=5000, backups=100))
    log.start()
    threads = [threading.Thread(target=lambda: [log.record("e", None, {}, AT) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert log.close(SOON)
    assert numbers(path) == [*range(1, 801)]


def test_closing_writes_what_waits_and_syncs_it_once(path: Path) -> None:
    """No record is synced by itself; what was recorded is on the disk when close returns."""
    disk = FakeDisk()
    log = Journal(path, "aurora", ROOMY, disk=disk)
    log.start()
    for _ in range(50):
        log.record("e", None, {}, AT)
    assert log.close(SOON)
    assert disk.syncs == 1
    assert numbers(path) == [*range(1, 51)]
    assert log.close(SOON), "a second time changes nothing"


def test_recording_after_the_end_does_no_harm(path: Path) -> None:
    """It is kept in memory; nobody fails."""
    log = filled(path, 1)
    assert log.close(SOON)
    log.record("late", None, {}, AT)
    assert log.read(0, 10).events[-1]["event"] == "late"


def test_waiting_ends_when_a_record_comes(path: Path) -> None:
    """A thread that waits for more wakes up; one that asks for what is there does not wait."""
    log = journal(path)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(log.wait_for(0, SOON)))
    thread.start()
    log.record("e", None, {}, AT)
    thread.join(SOON)
    assert results == [True]
    assert log.wait_for(0, 0.0)
    assert not log.wait_for(1, 0.0)


def test_waiting_ends_when_the_journal_is_closed(path: Path) -> None:
    """Nobody waits for what will not come."""
    log = journal(path)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(log.wait_for(0, 3600)))
    thread.start()
    log.close(SOON)
    thread.join(SOON)
    assert results == [False]


# --- Numbers and files


def test_numbers_go_on_after_a_restart(path: Path) -> None:
    """From the last record of the file."""
    filled(path, 5).close(SOON)
    assert journal(path).record("e", None, {}, AT)["seq"] == 6


def test_numbers_go_on_when_the_newest_file_is_empty(path: Path) -> None:
    """They then are in the backup: the crash came in the middle of a rotation."""
    filled(path, 5).close(SOON)
    path.rename(f"{path}.1")
    assert journal(path).last_seq == 5
    path.touch()
    assert journal(path).last_seq == 5


def test_numbers_go_on_when_another_program_rotated(path: Path) -> None:
    """Whatever it calls what it puts beside the journal."""
    filled(path, 5).close(SOON)
    path.rename(f"{path}-20260102")
    Path(f"{path}-20260101.gz").write_bytes(b"\x1f\x8b\n{\0\xff")
    assert journal(path).last_seq == 5


def test_a_full_file_becomes_a_backup(path: Path) -> None:
    """None is longer than it may be, no more backups are kept than wanted, and no line is cut in two."""
    log = filled(path, 50, SMALL, ring=1)
    assert [file.name for file in files(path)] == [
        "events.jsonl.3",
        "events.jsonl.2",
        "events.jsonl.1",
        "events.jsonl",
    ]
    assert all(0 < file.stat().st_size <= SMALL.max_bytes for file in files(path))
    kept = numbers(path)
    assert kept == [*range(kept[0], 51)]
    assert log.read(kept[0] - 1, 100).oldest == kept[0]


def test_a_burst_is_spread_over_the_files(path: Path) -> None:
    """A batch larger than a file makes none too long."""
    log = journal(path, settings.Journal(max_bytes=1000, backups=100))
    for _ in range(100):
        log.record("e", None, {}, AT)
    assert log.write_pending()
    assert numbers(path) == [*range(1, 101)]
    assert max(file.stat().st_size for file in files(path)) <= 1000


def test_a_record_longer_than_a_file_has_one_for_itself(path: Path) -> None:
    """It is written all the same."""
    log = filled(path, 1, SMALL)
    log.record("e", None, {"long": "x" * 2000}, AT)
    log.record("e", None, {}, AT)
    assert log.write_pending()
    assert [len(file.read_bytes().splitlines()) for file in files(path)] == [1, 1, 1]


def test_without_backups_the_journal_is_one_file(path: Path) -> None:
    """And the last number survives, whenever the crash comes."""
    log = filled(path, 50, settings.Journal(max_bytes=1000, backups=0), ring=1)
    assert files(path) == [path]
    assert numbers(path)[-1] == 50
    assert log.read(0, 1).truncated
    assert journal(path, settings.Journal(max_bytes=1000, backups=0)).last_seq == 50


def test_backups_of_a_larger_setting_go_with_the_next_rotation(path: Path) -> None:
    """Who lowers ``backups`` wants the room."""
    filled(path, 50, SMALL).close(SOON)
    log = journal(path, settings.Journal(max_bytes=1000, backups=1))
    log.record("e", None, {"x": "y" * 900}, AT)
    assert log.write_pending()
    assert [file.name for file in files(path)] == ["events.jsonl.1", "events.jsonl"]


@pytest.mark.parametrize(
    "how",
    ["renamed", *(pytest.param(each, marks=gone_while_open) for each in ("removed", "directory removed", "replaced"))],
)
def test_a_file_that_was_taken_away_is_made_anew(path: Path, how: str) -> None:
    """Rotated, removed, even with its directory: the next record is in the file of that name again."""
    log = filled(path, 5, ring=1)
    if how == "renamed":
        path.rename(f"{path}.1")
    else:
        path.unlink()
    if how == "directory removed":
        path.parent.rmdir()
    elif how == "replaced":
        path.touch()
    log.record("e", None, {}, AT)
    assert log.write_pending()
    assert json.loads(path.read_bytes())["seq"] == 6
    assert log.read(5, 10).oldest == (1 if how == "renamed" else 6)


# --- Reading


@pytest.mark.parametrize("ring", [1000, 10, 1])
@pytest.mark.parametrize("rotation", [ROOMY, settings.Journal(max_bytes=1000, backups=100)])
class TestPages:
    """The same whether a page comes from memory, from the files or from both, of one file or many."""

    def test_everything_beyond_a_number_is_found(self, path: Path, rotation: settings.Journal, ring: int) -> None:
        """Oldest first, ``limit`` of them; ``next`` goes on where the page ends."""
        log = filled(path, 60, rotation, ring=ring)
        for since in (0, 1, 30, 48, 49, 50, 58, 59, 60):
            page = log.read(since, 7)
            assert [event["seq"] for event in page.events] == [*range(since + 1, 61)][:7]
            assert (page.next, page.more) == (min(since + 7, 60), since + 7 < 60)
            assert (page.oldest, page.truncated) == (1, False)

    def test_the_last_ones_are_found(self, path: Path, rotation: settings.Journal, ring: int) -> None:
        """Without a number to begin at, those at the end, oldest first."""
        log = filled(path, 60, rotation, ring=ring)
        for limit in (1, 7, 60, 100):
            page = log.read(None, limit)
            assert [event["seq"] for event in page.events] == [*range(1, 61)][-limit:]
            assert (page.next, page.more, page.truncated) == (60, False, False)

    def test_a_filter_leaves_only_what_fits(self, path: Path, rotation: settings.Journal, ring: int) -> None:
        """By server, by event, by both; ``next`` then stands behind all that was looked at."""
        log = filled(path, 60, rotation, ring=ring)

        def found(since: int | None, limit: int, server: str | None = None, event: str | None = None) -> list[int]:
            return [record["seq"] for record in log.read(since, limit, server, event).events]

        assert found(0, 100, "a") == [*range(2, 61, 2)]
        assert found(5, 3, "b") == [7, 9, 11]
        assert found(0, 100, None, "server_failed") == [10, 20, 30, 40, 50, 60]
        assert found(None, 2, "a", "server_failed") == [50, 60]
        assert found(None, 2, "b", "server_failed") == []
        assert found(0, 2, "c") == []
        assert log.read(0, 2, "c").next == 60

    def test_following_next_shows_everything_once(self, path: Path, rotation: settings.Journal, ring: int) -> None:
        """However small the pages, and however little one of them looks through."""
        log = filled(path, 60, rotation, ring=ring, scan_bytes=500)
        seen, since, more = [], 0, True
        while more:
            page = log.read(since, 4, "a")
            seen += [event["seq"] for event in page.events]
            assert page.next > since
            since, more = page.next, page.more
        assert seen == [*range(2, 61, 2)]

    def test_a_new_journal_reads_what_the_old_one_wrote(
        self, path: Path, rotation: settings.Journal, ring: int
    ) -> None:
        """A restart hides nothing."""
        filled(path, 60, rotation, ring=ring).close(SOON)
        log = journal(path, rotation, ring=ring)
        assert [event["seq"] for event in log.read(0, 100).events] == [*range(1, 61)]
        assert [event["seq"] for event in log.read(None, 3).events] == [58, 59, 60]


def test_a_number_older_than_the_oldest_record_says_so(path: Path) -> None:
    """And the page begins with the oldest there is."""
    log = filled(path, 50, SMALL, ring=5)
    oldest = numbers(path)[0]
    assert oldest > 1
    page = log.read(oldest - 2, 1)
    assert (page.truncated, page.oldest, page.events[0]["seq"]) == (True, oldest, oldest)
    assert not log.read(oldest - 1, 1).truncated


def test_an_empty_journal_is_no_gap(path: Path) -> None:
    """Nothing is there, nothing is missing, and the first record will be number 1."""
    page = journal(path).read(0, 10)
    assert (page.events, page.oldest, page.next, page.more, page.truncated) == ([], 1, 0, False, False)
    assert journal(path).read(None, 10).events == []


def test_a_number_from_the_future_leads_back(path: Path) -> None:
    """Who read another journal of that name before goes on with this one."""
    page = filled(path, 5).read(500, 10)
    assert (page.events, page.next, page.more) == ([], 5, False)


def test_rubbish_in_a_file_stands_in_nobodys_way(path: Path) -> None:
    """Torn lines, zeros after a power cut and endless lines in the middle: the records around them are found."""
    filled(path, 300).close(SOON)
    written = path.read_bytes().splitlines(keepends=True)
    for where, rubbish in ((250, b"\0" * 70_000), (150, b'{"timestamp": "20'), (50, b"x" * 3_000_000), (0, b"[" * 9)):
        written.insert(where, rubbish + b"\n")
    path.write_bytes(b"".join(written))
    log = journal(path)
    assert log.last_seq == 300
    for since in (0, 49, 50, 51, 149, 150, 200, 249, 250, 251, 299):
        assert [event["seq"] for event in log.read(since, 5).events] == [*range(since + 1, 301)][:5]
    assert [event["seq"] for event in log.read(None, 300).events] == [*range(1, 301)]


@pytest.mark.parametrize("kind", [pytest.param("fifo", marks=fifos), "directory"])
def test_only_regular_files_are_read_or_written(path: Path, kind: str) -> None:
    """A FIFO in the journal's place makes nobody wait: it is an error like any other. So is a directory."""
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    log = journal(path)
    log.record("e", None, {}, AT)
    assert not log.write_pending()
    assert ("not a regular file" if kind == "fifo" else path.name) in (log.last_error or "")
    assert len(log.read(0, 10).events) == 1
    if kind == "fifo":
        path.unlink()
    else:
        path.rmdir()
    assert log.write_pending()
    assert missing(records(path)) == set()
