"""A pidfile on a disk without room: circusd begins all the same, and nothing is left over."""

import errno
import os
from pathlib import Path

import pytest
from circus.pidfile import Pidfile

from aurora_circus import presence
from tests.platforms import pidfiles

pytestmark = pidfiles


def full(_: int, data: bytes) -> int:
    """Have no room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def descriptors() -> int:
    """How many are open."""
    return len([*Path("/dev/fd").iterdir()])


def test_a_pidfile_holds_the_pid(tmp_path: Path) -> None:
    """Written anew over one that names nobody who lives."""
    path = tmp_path / "circusd.pid"
    path.write_text("0\n")
    presence.write_pidfile(str(path), 4_000_000)
    assert path.read_text() == "4000000\n"
    presence.write_pidfile(str(path), os.getpid())
    presence.write_pidfile(str(path), os.getpid())
    with pytest.raises(RuntimeError, match="names process"):
        presence.write_pidfile(str(path), os.getpid() + 1)
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_full_disk_leaves_no_pidfile_and_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is tried: an empty one would say that it is there."""
    path = tmp_path / "circusd.pid"
    before = descriptors()
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                presence.write_pidfile(str(path), os.getpid())
            assert not path.exists()
    assert descriptors() == before
    presence.write_pidfile(str(path), os.getpid())
    assert path.read_text() == f"{os.getpid()}\n"


def test_circus_itself_bears_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would end with a traceback; a pidfile that names somebody else who lives still ends it."""
    path = tmp_path / "circusd.pid"
    pidfile = Pidfile(str(path))
    monkeypatch.setattr(Pidfile, "create", Pidfile.create)  # put back afterwards
    presence.install()
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        pidfile.create(os.getpid())
    assert not path.exists()
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(RuntimeError, match="names process"):
        pidfile.create(os.getpid())
