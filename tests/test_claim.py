"""One circusd a fleet, and one that is found whatever is removed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aurora_circus import claim
from aurora_circus.presence import Presence
from tests.platforms import owned, sockets, unless

linux = unless(not sys.platform.startswith("linux"), "only Linux has names that lie in no directory")


@linux
def test_a_claim_is_one_processs_until_it_ends(tmp_path: Path) -> None:
    """Whatever becomes of the directory; who holds it is seen."""
    place = tmp_path / "run"
    place.mkdir()
    assert claim.holder(str(place)) is None
    code = f"from aurora_circus import claim\nprint(claim.take({str(place)!r}), flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        place.rmdir()
        assert claim.holder(str(place)) == other.pid
        assert not claim.take(str(place))
        other.kill()
    try:
        assert claim.take(str(place))
        assert claim.take(str(place))
        assert claim.holder(str(place)) == os.getpid()
        claim.answer()
    finally:
        claim.release(str(place))
    assert claim.holder(str(place)) is None


class Wire:
    """A socket of circusd's."""

    def bind(self, endpoint: str) -> None:
        """Make the file."""
        Path(endpoint.removeprefix("ipc://")).touch()


def arbiter(place: Path) -> Any:
    """Return as much of circusd as is looked at."""
    return SimpleNamespace(
        _stopping=False,
        pidfile=str(place / "circusd.pid"),
        endpoint=f"ipc://{place}/circusd.sock",
        pubsub_endpoint=f"ipc://{place}/events.sock",
        ctrl=SimpleNamespace(ctrl_socket=Wire()),
        evpub_socket=Wire(),
    )


@sockets
def test_what_was_removed_is_made_again_for_its_owner_alone(tmp_path: Path) -> None:
    """All of it, or a part; not while circusd goes down."""
    place = tmp_path / "a" / "run"
    found = arbiter(place)
    Presence(found).look()
    assert {each.name for each in place.iterdir()} == {"circusd.pid", "circusd.sock", "events.sock"}
    assert place.stat().st_mode & 0o777 == 0o700
    assert int((place / "circusd.pid").read_text()) == os.getpid()
    (place / "events.sock").unlink()
    found._stopping = True
    Presence(found).look()
    assert not (place / "events.sock").exists()
    found._stopping = False
    Presence(found).look()
    assert (place / "events.sock").exists()


@owned
def test_nothing_is_put_where_somebody_else_may_look(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that others may enter and that holds other things is left alone, which is said once."""
    place = tmp_path / "run"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    (place / "other").touch()
    presence = Presence(arbiter(place))
    with caplog.at_level("ERROR", logger="circus"):
        presence.look()
        presence.look()
    assert [each.name for each in place.iterdir()] == ["other"]
    assert len([each for each in caplog.records if "cannot be made again" in each.getMessage()]) == 1
    (place / "other").unlink()
    presence.look()
    assert (place / "circusd.sock").exists()
    assert place.stat().st_mode & 0o777 == 0o700
