"""Whatever happens to a journal, in whatever order: nothing that was written is lost, and what is lost is said."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aurora_circus import settings
from aurora_circus.files import shift
from aurora_circus.journal import Journal
from aurora_circus.journal_backlog import Limits
from aurora_circus.records import decode
from tests.journals import SOON, FakeDisk, files, followed, lines, missing

GARBAGE = (
    b"rubbish\n",
    b"\n",
    b"{}\n",
    b"\0\0\0\n",
    b'{"seq": 3}\n',
    b'{"seq": 0, "event": "e", "details": {}, "server": []}\n',
    b'{"timestamp": "2026-01-02T03:04:05.67\n',
)
AT = 1_767_323_045.0


class JournalMachine(RuleBasedStateMachine):
    """Records, failing writes, rotations by us and by others, crashes in the middle of a write, restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-"))
        self.path = self.directory / "events.jsonl"
        self.disk = FakeDisk()
        self.given: dict[int, dict[str, Any]] = {}
        """What was recorded and not taken back by a crash."""
        self.rubbish = {*GARBAGE}
        """Lines that are no records, and not ours to mend."""

    @initialize(
        max_bytes=st.sampled_from([1, 600, 2000, 10**6]),
        limits=st.builds(
            Limits,
            ring=st.sampled_from([1, 4, 1000]),
            backlog=st.integers(2, 12),
            batch_bytes=st.sampled_from([1, 400, 10**6]),
            scan_bytes=st.sampled_from([1, 1000, 10**6]),
        ),
    )
    def begin(self, max_bytes: int, limits: Limits) -> None:
        """The journal's first start."""
        self.rotation = settings.Journal(max_bytes=max_bytes, backups=60)
        self.limits = limits
        self.open()

    def open(self) -> None:
        """Go on with what the last journal left."""
        self.log = Journal(self.path, "aurora", self.rotation, limits=self.limits, disk=self.disk)
        last = self.log.last_seq
        self.given = {seq: record for seq, record in self.given.items() if seq <= last}
        if self.log.pending:  # it found a torn line
            self.given[last] = self.log.read(last - 1, 1).events[0]

    def teardown(self) -> None:
        """Leave nothing behind, and nothing open, which Windows would keep."""
        if hasattr(self, "log"):
            self.log._appender._release()
        shutil.rmtree(self.directory)

    @rule(count=st.integers(1, 6), length=st.sampled_from([0, 3, 300]), server=st.sampled_from(["a", "b", None]))
    def record(self, count: int, length: int, server: str | None) -> None:
        """Something happens."""
        for _ in range(count):
            record = self.log.record("event", server, {"text": "é" * length}, AT)
            assert record["seq"] == max(self.given, default=0) + 1
            self.given[record["seq"]] = record

    @rule()
    def write(self) -> None:
        """The writer takes its turn."""
        room = self.disk.free
        if self.log.write_pending():
            self.settled()
        else:
            assert room is not None or not self.disk.truncates or not self.disk.renames

    @rule(free=st.integers(0, 1500), truncates=st.booleans())
    def fill_disk(self, free: int, truncates: bool) -> None:
        """The disk has so much room left, and may be broken besides."""
        self.disk.free, self.disk.truncates = free, truncates

    @rule()
    def free_disk(self) -> None:
        """All is well again."""
        self.disk.free, self.disk.truncates, self.disk.renames = None, True, True

    @rule()
    def lock_directory(self) -> None:
        """Nothing can be renamed."""
        self.disk.renames = False

    @precondition(lambda self: self.path.exists() and self.path.stat().st_size)
    @rule()
    def rotated_by_another(self) -> None:
        """Another program takes the file away under us, maybe before we could cut off half a line."""
        self.rubbish.add(self.path.read_bytes().rpartition(b"\n")[2])
        shift(self.path, self.rotation.backups)
        self.path.rename(f"{self.path}.1")
        self.disk.last = 0

    @precondition(lambda self: self.path.exists() and self.path.read_bytes().endswith(b"\n"))
    @rule(rubbish=st.sampled_from(GARBAGE))
    def rubbish_appended(self, rubbish: bytes) -> None:
        """Somebody else writes into the file."""
        with self.path.open("ab") as file:
            file.write(rubbish)
        self.disk.last = 0

    @rule(back=st.integers(0, 2000))
    def crash(self, back: int) -> None:
        """Everything dies, the machine too: the last write was not, or not wholly, on the disk."""
        if self.path.exists():
            size = self.path.stat().st_size
            with self.path.open("r+b") as file:
                file.truncate(max(0, size - min(back, self.disk.last)))
        self.disk.last = 0
        before = [line for line in lines(self.path) if line.endswith(b"\n") and decode(line)]
        self.log._appender._release()
        self.open()
        self.free_disk()
        assert self.log.write_pending()
        after = [line for line in lines(self.path) if decode(line)]
        assert after[: len(before)] == before, "a whole line was lost"
        self.settled()

    @rule()
    def restart(self) -> None:
        """The journal is closed and opened again."""
        self.free_disk()
        assert self.log.close(SOON)
        self.open()
        assert self.log.last_seq == max(self.given, default=0)

    def settled(self) -> None:
        """After a turn of the writer that succeeded, the files tell all."""
        for line in lines(self.path):
            assert line in self.rubbish or (decode(line) and line.endswith(b"\n")), "half a line"
        found = [record for line in lines(self.path) if (record := decode(line))]
        self.check(found)
        assert {each.what for each in followed(files(self.path)).report().findings} <= {"irregular"}, "a link is wrong"

    @invariant()
    def readable(self) -> None:
        """At any moment a reader finds everything, page by page."""
        if not hasattr(self, "log"):
            return
        found: list[dict[str, Any]] = []
        since, more = 0, True
        while more:
            page = self.log.read(since, 3)
            assert page.next > since or not page.more
            assert not page.truncated
            assert page.next == self.log.last_seq or page.more
            found += page.events
            since, more = page.next, page.more
        self.check(found)
        if self.limits.scan_bytes == 10**6:
            of_a = [record for record in found if record["server"] == "a"]
            assert self.log.read(None, 5).events == found[-5:]
            assert self.log.read(None, 10**6).events == found
            assert self.log.read(0, 10**6, server="a").events == of_a
            assert self.log.read(None, 2, server="a").events == of_a[-2:]

    def check(self, found: list[dict[str, Any]]) -> None:
        """What was found is all that was recorded, in order, but for what a gap names."""
        gone = missing(found)
        assert {record["seq"] for record in found} | gone == set(self.given)
        for record in found:
            if record["seq"] not in gone:
                assert record == self.given[record["seq"]]


JournalMachine.TestCase.settings = hypothesis_settings(
    max_examples=60, stateful_step_count=40, deadline=None, report_multiple_bugs=False
)
test_journal_machine = JournalMachine.TestCase
test_journal_machine.__doc__ = JournalMachine.__doc__
