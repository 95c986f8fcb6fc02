"""Whose the directory is in which one speaks to circusd."""

import os
from pathlib import Path

import pytest

from aurora_circus.endpoints import guard
from aurora_circus.errors import MachineError
from tests.platforms import owned, sockets


@sockets
def test_a_directory_of_ours_and_one_that_is_not_there_will_do(tmp_path: Path) -> None:
    """Also where a link of ours leads to it; and others may look into it."""
    (tmp_path / "run").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("run")
    for name in ("run", "link", "nowhere"):
        guard(f"ipc://{tmp_path / name}/circusd.sock")


@sockets
@pytest.mark.parametrize("mode", [0o722, 0o777, 0o1777, 0o770])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """They could put another socket there."""
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(MachineError, match="run, which others may write to"):
        guard(f"ipc://{folder}/circusd.sock")


@owned
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it owns what listens in it."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(MachineError, match=r"which belongs to user \d+"):
        guard(f"ipc://{tmp_path}/circusd.sock")


@owned
def test_a_link_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """He could have it lead elsewhere at any time."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a link that is somebody else's")
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    os.chown(tmp_path / "link", 54321, -1, follow_symlinks=False)
    with pytest.raises(MachineError, match="link, which belongs to user 54321"):
        guard(f"ipc://{tmp_path / 'link'}/circusd.sock")
