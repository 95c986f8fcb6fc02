"""The systems' own logs: rotated while somebody writes, and read from the end."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aurora_circus import logs
from aurora_circus.errors import MachineError
from aurora_circus.logs import Rotated, last_line, last_line_since, prepare, rotate, tail
from tests.platforms import appending, fifos, gone_while_open, links

KIB = 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a system's log lies."""
    return tmp_path / "automation_hub.log"


@pytest.fixture
def write(path: Path) -> Iterator[Callable[[bytes], int]]:
    """What a running system does: append through a descriptor that it never lets go of."""
    fd = appending(path)
    yield lambda data: os.write(fd, data)
    os.close(fd)


def first(path: Path) -> Path:
    """The first backup."""
    return Path(f"{path}.1")


def numbered(begin: int, end: int) -> bytes:
    """Lines of ten bytes each."""
    return b"".join(b"line %04d\n" % number for number in range(begin, end))


# --- Rotation


def test_a_log_within_its_size_is_left_alone(path: Path) -> None:
    """And so is one that is not there."""
    assert rotate(path, 100, 3) is None
    path.write_bytes(b"x" * 100)
    assert rotate(path, 100, 3) is None
    assert path.stat().st_size == 100


def test_a_long_log_becomes_a_backup_and_the_system_writes_on(path: Path, write: Callable[[bytes], int]) -> None:
    """It goes on at the beginning of the same file; nothing is lost or there twice."""
    write(numbered(0, 11))
    assert rotate(path, 100, 3) == Rotated(110, 0)
    write(numbered(11, 13))
    assert first(path).read_bytes() == numbered(0, 11)
    assert path.read_bytes() == numbered(11, 13)
    assert first(path).stat().st_mode == path.stat().st_mode


def test_so_many_backups_are_kept(path: Path, write: Callable[[bytes], int]) -> None:
    """The oldest goes."""
    for round_ in range(5):
        write(numbered(round_ * 11, round_ * 11 + 11))
        assert rotate(path, 100, 2) == Rotated(110, 0)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name, f"{path.name}.1", f"{path.name}.2"]
    assert first(path).read_bytes() == numbered(44, 55)
    assert Path(f"{path}.2").read_bytes() == numbered(33, 44)


def test_without_backups_the_log_is_emptied(path: Path, write: Callable[[bytes], int]) -> None:
    """What is gone is said."""
    write(numbered(0, 11))
    assert rotate(path, 100, 0) == Rotated(0, 110)
    assert [*path.parent.iterdir()] == [path]
    assert path.stat().st_size == 0


def test_of_a_log_that_is_far_too_long_the_end_is_kept(path: Path, write: Callable[[bytes], int]) -> None:
    """The disk stays bounded whatever a program writes; the backup begins with a whole line."""
    write(numbered(0, 1000))
    assert rotate(path, 105, 3) == Rotated(100, 9900)
    assert first(path).read_bytes() == numbered(990, 1000)


@pytest.mark.parametrize("kernel", ["copies", "has no such call", "cannot here", "copies nothing"])
def test_a_log_is_copied_whatever_the_kernel_can_do(
    path: Path, write: Callable[[bytes], int], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system need not know how to copy, nor the system how to ask it."""

    def refuse(*_: int) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    if kernel == "has no such call":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif kernel == "cannot here":
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    elif kernel == "copies nothing":
        monkeypatch.setattr(os, "copy_file_range", lambda *_: 0, raising=False)
    data = os.urandom(1_000_000)
    write(data)
    assert rotate(path, 900_000, 3) == Rotated(len(data), 0)
    assert first(path).read_bytes() == data


def during_copies(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], object]) -> None:
    """Have something happen after each piece that is copied."""
    copy = logs._copy

    def copy_and(source: int, target: int, offset: int, count: int) -> int:
        copied = copy(source, target, offset, count)
        happen()
        return copied

    monkeypatch.setattr(logs, "_copy", copy_and)


def test_what_is_written_during_the_copy_is_copied_too(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is emptied only when the copy has caught up."""
    more = [numbered(11, 13), numbered(13, 14)]
    during_copies(monkeypatch, lambda: more and write(more.pop(0)))
    write(numbered(0, 11))
    assert rotate(path, 100, 3) == Rotated(140, 0)
    assert first(path).read_bytes() == numbered(0, 14)


def test_a_program_that_writes_faster_than_we_copy_is_cut_short(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup does not grow for ever; the rest is counted as dropped."""
    during_copies(monkeypatch, lambda: write(numbered(0, 10)))
    write(numbered(0, 11))
    rotated = rotate(path, 100, 3)
    assert rotated is not None
    assert rotated.kept == first(path).stat().st_size == 150
    assert rotated.dropped > 0
    assert path.stat().st_size == 0


@pytest.mark.parametrize("how", [pytest.param("removed", marks=gone_while_open), "emptied"])
def test_a_log_that_vanishes_during_the_copy_harms_nobody(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Somebody removed it, or emptied it: what was copied is kept."""
    during_copies(monkeypatch, lambda: path.unlink(missing_ok=True) if how == "removed" else os.truncate(path, 0))
    write(numbered(0, 11))
    assert rotate(path, 100, 3) == Rotated(110, 0)
    assert first(path).read_bytes() == numbered(0, 11)


def full_after(monkeypatch: pytest.MonkeyPatch, room: int, code: int = errno.ENOSPC) -> None:
    """Let the disk take so many bytes, then no more."""
    copy = logs._copy

    def copy_some(source: int, target: int, offset: int, count: int) -> int:
        nonlocal room
        if not room:
            raise OSError(code, os.strerror(code))
        copied = copy(source, target, offset, min(count, room))
        room -= copied
        return copied

    monkeypatch.setattr(logs, "_copy", copy_some)


def test_a_full_disk_does_not_keep_a_log_from_being_emptied(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may well be what fills the disk; its last lines are saved, and it is said how much is gone."""
    write(numbered(10_000, 50_000))
    full_after(monkeypatch, 30)
    rotated = rotate(path, 430_000, 3)
    assert rotated is not None
    assert rotated.kept == first(path).stat().st_size == 30 + logs._BLOCK
    assert rotated.dropped == 440_000 - rotated.kept
    assert "No space left" in (rotated.error or "")
    assert path.stat().st_size == 0
    assert tail(path, 2) == ["line 49998", "line 49999"]


def test_other_trouble_leaves_the_log_as_it_was(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And, however often it is tried again, the backups too."""
    first(path).write_bytes(b"before")
    write(numbered(0, 12))
    full_after(monkeypatch, 0, errno.EIO)
    for _ in range(5):
        with pytest.raises(MachineError, match=r"automation_hub\.log: cannot be rotated.*Input/output error"):
            rotate(path, 100, 3)
    assert path.read_bytes() == numbered(0, 12)
    assert Path(f"{path}.2").read_bytes() == b"before"


def test_other_trouble_does_not_let_a_log_grow_for_ever(
    path: Path, write: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At several times its size it is emptied all the same."""
    write(numbered(0, 50))
    full_after(monkeypatch, 0, errno.EIO)
    rotated = rotate(path, 100, 3)
    assert rotated is not None
    assert rotated.kept == first(path).stat().st_size == 90
    assert "Input/output" in (rotated.error or "")
    assert path.stat().st_size == 0


@pytest.mark.parametrize("kind", [pytest.param("link", marks=links), pytest.param("fifo", marks=fifos), "directory"])
def test_only_a_regular_file_is_rotated_or_read(path: Path, tmp_path: Path, kind: str) -> None:
    """Whatever else lies there is an error that names it; what a link points to is untouched."""
    target = tmp_path / "precious"
    target.write_bytes(numbered(0, 100))
    if kind == "link":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(MachineError, match=r"automation_hub\.log"):
        rotate(path, 100, 3)
    with pytest.raises(MachineError, match=r"automation_hub\.log"):
        tail(path, 10)
    assert last_line(path) is None
    told = {"link": "a symbolic link, which is not followed", "fifo": "not a regular file", "directory": ""}[kind]
    with pytest.raises(MachineError, match=rf"automation_hub\.log: cannot be used: .*{told}"):
        prepare(path)
    assert target.read_bytes() == numbered(0, 100)


@links
def test_a_link_in_a_backups_place_is_not_followed(path: Path, write: Callable[[bytes], int], tmp_path: Path) -> None:
    """It is moved or removed like any other name."""
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    first(path).symlink_to(target)
    write(numbered(0, 11))
    assert rotate(path, 100, 1) == Rotated(110, 0)
    assert target.read_bytes() == b"precious"
    assert first(path).read_bytes() == numbered(0, 11)


# --- The end of a log


def test_a_tail_is_the_last_lines(path: Path) -> None:
    """Oldest first; all of them if there are fewer; none of a log that is not there."""
    assert tail(path, 10) == []
    path.write_bytes(b"")
    assert tail(path, 10) == []
    path.write_bytes(b"one\ntwo\r\n\nfour")
    assert tail(path, 10) == ["one", "two", "", "four"]
    assert tail(path, 2) == ["", "four"]
    assert tail(path, 0) == []
    assert tail(path, -1) == []


def test_a_short_log_is_continued_in_its_backup(path: Path) -> None:
    """Right after a rotation the lines before it are still there, one that was cut in two among them."""
    first(path).write_bytes(b"one\ntwo\nthr")
    path.write_bytes(b"ee\nfour\n")
    assert tail(path, 10) == ["one", "two", "three", "four"]
    assert tail(path, 3) == ["two", "three", "four"]
    assert tail(path, 2) == ["three", "four"]
    assert tail(path, 10, 14) == ["…wo", "three", "four"]
    path.unlink()
    assert tail(path, 2) == ["two", "thr"]


def test_a_tail_is_bounded(path: Path) -> None:
    """By bytes, and so the first line may be the end of one; lines are cut."""
    path.write_bytes(numbered(0, 10_000))
    assert tail(path, 10_000, 25) == ["…9997", "line 9998", "line 9999"]
    path.write_bytes(b"x" * 3_000_000 + b"\nlast\n" + b"y" * 20_000)
    lines = tail(path, 10)
    assert [len(line) for line in lines] == [logs.MAX_LINE, 4, logs.MAX_LINE]
    assert lines[0] == "…" + "x" * (logs.MAX_LINE - 1)
    assert lines[2] == "y" * (logs.MAX_LINE - 1) + "…"


def test_binary_rubbish_is_shown_as_text(path: Path) -> None:
    """What is no UTF-8, and zeros, become replacement characters."""
    path.write_bytes(b"caf\xc3\xa9 \xff\x00 \xf0\x9f\n")
    assert tail(path, 10) == ["café \ufffd\ufffd \ufffd"]


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 12), st.integers(0, 100))
def test_a_tail_never_fails(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, now: bytes, count: int, most: int
) -> None:
    """Any bytes, any bounds: at most so many lines, and with room for all of them exactly the last ones."""
    path = tmp_path_factory.mktemp("logs") / "any.log"
    path.write_bytes(now)
    first(path).write_bytes(before)
    assert len(tail(path, count, most)) <= count
    whole = (before + now).removesuffix(b"\n").split(b"\n") if before + now else []
    expected = [line.decode(errors="replace").rstrip("\r").replace("\0", "\ufffd") for line in whole]
    assert tail(path, count, KIB) == expected[len(expected) - count if count < len(expected) else 0 :]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", None),
        (b"\n \n\t\r\n", None),
        (b"one\ntwo\n\n", "two"),
        (b"one\ntwo", "two"),
        (b"\x1b[31mError:\x1b[0m \x1b]0;title\x07port\t5020 \x1b(Btaken\x00\n", "Error: port 5020 taken"),
        (b"\xc2\x9b31mred\x1b[m\n", "red"),
        (b"10%\r50%\r100%\r\n", "100%"),
        (b"caf\xc3\xa9 \xff \xe2\x80\xae\n", "café \ufffd"),
        (b"said\n\x1b[0m\n\x1b[?25h", "said"),
        (b"x" * 600, "x" * (logs.MAX_REASON - 1) + "…"),
        (b"x" * 100_000, "…" + "x" * (logs.MAX_REASON - 1)),
    ],
)
def test_the_last_line_is_the_last_that_says_anything(path: Path, data: bytes, line: str | None) -> None:
    """As a terminal would show it in the end: without escapes, without what was written over, and not too long."""
    path.write_bytes(data)
    assert last_line(path) == line


def test_the_last_line_may_lie_in_the_backup(path: Path) -> None:
    """When the log has just been rotated."""
    assert last_line(path) is None
    first(path).write_bytes(b"before\n")
    path.write_bytes(b"\n")
    assert last_line(path) == "before"


def test_a_process_that_died_in_silence_has_no_last_line(path: Path, write: Callable[[bytes], int]) -> None:
    """Least of all that of the one before it, even if that left its line unfinished."""
    write(b"predecessor's last wor")
    offset = prepare(path)
    assert last_line_since(path, offset) is None
    write(b"mine\n")
    assert last_line_since(path, offset) == "mine"


def test_after_a_rotation_all_of_the_log_is_the_process_own(path: Path, write: Callable[[bytes], int]) -> None:
    """A log that is shorter than it was has been emptied meanwhile."""
    write(numbered(0, 12))
    offset = prepare(path)
    assert rotate(path, 100, 3)
    assert last_line_since(path, offset) is None
    write(b"mine\n")
    assert last_line_since(path, offset) == "mine"


def test_preparing_makes_the_directory_and_tells_the_size(tmp_path: Path) -> None:
    """The log itself is the system's to make."""
    path = tmp_path / "a" / "b" / "x.log"
    assert prepare(path) == 0
    assert not path.exists()
    path.write_bytes(b"12345")
    assert prepare(str(path)) == 5
    with pytest.raises(MachineError, match="cannot be made"):
        prepare(path / "below" / "x.log")
