"""Whether it is this fleet that answers, and what is said when it is not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aurora_circus import processes, reach
from aurora_circus.config import Config
from aurora_circus.errors import MachineError, NotRunningError
from aurora_circus.reach import Unreachable
from tests.fake_fleet import FakeApi, context, fleet
from tests.free_ports import free_port
from tests.platforms import OURSELVES, WINDOWS


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """The API of the fleet in ``tmp_path``."""
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as found:
        yield found


@pytest.fixture
def circusd(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """What is seen of our circusd: its pid, or None."""
    seen: list[int | None] = [None]
    monkeypatch.setattr(reach, "circusd_pid", lambda _: seen[0])
    monkeypatch.setattr(reach, "pause", lambda _: None)
    return seen


def with_tokens(found: Config, **files: str) -> Config:
    """Return the fleet with files of tokens."""
    return replace(found, fleet=replace(found.fleet, api=replace(found.fleet.api, **files)))  # type: ignore[arg-type] # files are strings


@pytest.mark.usefixtures("circusd")
def test_our_own_fleet_is_known_by_its_name_and_its_run_dir(tmp_path: Path, api: FakeApi) -> None:
    """And its health is told along, 503 or not."""
    api.routes["GET /health"] = lambda _: (503, {"success": False, "details": api.details})
    _, health = reach.connect(context(fleet(tmp_path, api.port)))
    assert health == {**api.details, "healthy": False}


def test_nobody_and_no_circusd_is_a_fleet_that_does_not_run(tmp_path: Path, circusd: list[int | None]) -> None:
    """And it is said how to start it."""
    with pytest.raises(NotRunningError, match=r"is not running(?s:.*)start it: aurora-circus up$"):
        reach.connect(context(fleet(tmp_path)))
    assert circusd == [None]


def test_systems_that_a_dead_circusd_left_running_are_named(tmp_path: Path, circusd: list[int | None]) -> None:
    """Whoever is paged sees at once that they serve on, and that nobody watches them."""
    assert circusd == [None]
    alone = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        known = processes.identify(alone.pid)
        assert known is not None
        config = fleet(tmp_path)
        state = Path(config.fleet.run_dir) / "state.json"
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps({"systems": {"web": {"process": list(known)}}}), encoding="utf-8")
        with pytest.raises(NotRunningError, match=rf"watched by nobody: web \(pid {alone.pid}\)"):
            reach.connect(context(config))
    finally:
        alone.kill()
        alone.wait()


def test_the_advice_names_the_fleet_file(tmp_path: Path) -> None:
    """A command that is copied from the screen is for the same fleet."""
    assert context(fleet(tmp_path, source="my fleet.toml")).advice("start", "x") == (
        "aurora-circus start x --fleet {0}my fleet.toml{0}".format('"' if WINDOWS else "'")
    )


def test_a_plugin_that_is_being_restarted_gets_its_time(
    tmp_path: Path, circusd: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused once or twice while circusd lives is no reason to say that nothing runs."""
    circusd[0] = 12
    port = free_port()
    attempts: list[object] = []
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as api:
        real = reach.health

        def health(client: Any) -> Any:
            attempts.append(client.port)
            client.port = port if len(attempts) < 3 else api.port
            return real(client)

        monkeypatch.setattr(reach, "health", health)
        reach.connect(context(fleet(tmp_path, port)))
    assert len(attempts) == 3


def test_a_living_circusd_without_an_api_is_no_fleet_that_does_not_run(
    tmp_path: Path, circusd: list[int | None]
) -> None:
    """It is said where to look."""
    circusd[0] = 12
    with pytest.raises(Unreachable, match=r"circusd runs \(pid 12\)(?s:.*)aurora\.log"):
        reach.connect(context(fleet(tmp_path)), patience=0.0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"hello", "no JSON object"),
        ({"something": "else"}, "is no aurora-circus"),
        ({"success": True, "status": "healthy"}, "does not take our token"),
        ({"success": True, "details": {"fleet": "other", "run_dir": "/elsewhere"}}, "'other' of /elsewhere"),
        ({"success": True, "details": {"fleet": "aurora", "run_dir": "/elsewhere"}}, "'aurora' of /elsewhere"),
    ],
)
def test_somebody_else_on_the_port_is_named(
    tmp_path: Path, api: FakeApi, circusd: list[int | None], answer: object, words: str
) -> None:
    """Another program or another fleet: who it is, and what to do."""
    api.routes["GET /health"] = lambda _: answer
    with pytest.raises(NotRunningError, match=words) as caught:
        reach.connect(context(fleet(tmp_path, api.port)))
    assert f"port {api.port} is held by {OURSELVES}" in str(caught.value)
    circusd[0] = 12
    if "token" in words:
        with pytest.raises(Unreachable, match="was it changed"):
            reach.connect(context(fleet(tmp_path, api.port)))
    else:
        with pytest.raises(NotRunningError, match=r"is supervised \(circusd, pid 12\), but without its API"):
            reach.connect(context(fleet(tmp_path, api.port)))


def test_a_controller_that_hangs_is_not_taken_for_a_stranger(
    tmp_path: Path, api: FakeApi, circusd: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is circusd's own child that holds the port."""
    circusd[0] = 12
    api.routes["GET /health"] = lambda _: None
    monkeypatch.setattr(reach, "_is_plugin", lambda port, circusd: (port, circusd) == (api.port, 12))
    with pytest.raises(Unreachable, match="the controller of the fleet aurora does not answer"):
        reach.connect(context(fleet(tmp_path, api.port)), patience=0.0)


@pytest.mark.parametrize(("files", "token"), [({"full": "all\n", "read": "look"}, "all"), ({"read": "look"}, "look")])
def test_a_token_is_read_from_its_file(tmp_path: Path, files: dict[str, str], token: str) -> None:
    """The full one where we may read it, else the one that may look."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = with_tokens(fleet(tmp_path), token_file=f"{tmp_path}/full", read_token_file=f"{tmp_path}/read")
    assert reach.client_of(context(found))._token == token


def test_tokens_that_nobody_may_read_are_an_error(tmp_path: Path) -> None:
    """Asking without one would only be refused."""
    found = with_tokens(fleet(tmp_path), token_file=f"{tmp_path}/none")
    with pytest.raises(MachineError, match="reading the API's token"):
        reach.client_of(context(found))
