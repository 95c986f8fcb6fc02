"""Start, stop and restart: what is asked of the API, what is said, and with which exit code it ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aurora_circus import client, operate, reach
from aurora_circus.client import Client
from aurora_circus.context import Context
from aurora_circus.errors import UnknownServerError
from aurora_circus.operate import Command
from tests.fake_fleet import FakeApi, context, fleet, system


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """An API of two healthy systems, whose journal says nothing."""
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as found:
        found.on("GET /status", {"brain": system(), "router": system()})
        found.on("GET /events", {"events": [], "next": 5})
        yield found


class Steps:
    """Answers of one route, one after the other; the last one again and again."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def __call__(self, _: object) -> Any:  # an answer of whatever kind
        """Give the next one."""
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def operation(state: str = "succeeded", pending: tuple[str, ...] = (), error: str | None = None) -> dict[str, Any]:
    """Return what is said of an operation."""
    return {"id": "1", "state": state, "pending": list(pending), "error": error}


def run(api: FakeApi, tmp_path: Path, command: Command) -> int:
    """Carry out a command."""
    return operate.run(Client("127.0.0.1", api.port), command, around(api, tmp_path))


def around(api: FakeApi, tmp_path: Path) -> Context:
    """Return a command's surroundings."""
    return context(fleet(tmp_path, api.port))


def test_each_system_gets_its_line_when_it_is_through(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the state it has come to and the time that took; all well is exit 0."""
    api.on("POST /stop-all", (202, {"success": True, "operation": "1", "servers": ["brain", "router"]}))
    api.on(
        "GET /operations/1",
        Steps(operation("running", ("brain", "router")), operation("running", ("brain",)), operation()),
    )
    api.on("GET /status", {"brain": system("stopped"), "router": system("stopped")})
    assert run(api, tmp_path, Command("stop", None)) == 0
    lines = [each.split()[2:] for each in capsys.readouterr().out.splitlines()]
    assert lines == [["router", "stopped"], ["brain", "stopped"]]


def test_while_nothing_happens_the_api_does_the_waiting(tmp_path: Path, api: FakeApi) -> None:
    """Between two looks at an operation stands a long poll that any record ends."""
    api.on("POST /start/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /operations/1", Steps(operation("running", ("brain",)), operation()))
    run(api, tmp_path, Command("start", ["brain"]))
    assert [query for call, query in api.asked if call.endswith("/events")][1] == {
        "since": "5",
        "limit": "1000",
        "wait": str(min(operate.SLICE, client.LONGEST_POLL)),
    }


def test_a_warning_is_told(tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """What was accepted and may not last, on standard error; it is carried out all the same."""
    api.on(
        "POST /stop/brain", (202, {"success": True, "operation": "1", "server": "brain", "warning": "no\x1b[1m room"})
    )
    api.on("GET /operations/1", operation())
    api.on("GET /status", {"brain": system("stopped")})
    assert run(api, tmp_path, Command("stop", ["brain"])) == 0
    assert capsys.readouterr().err == "warning: no room\n"


def test_what_is_healthy_already_is_not_waited_for(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 200 means that there was nothing to do."""
    api.on("POST /start/brain", {"success": True, "operation": "1", "server": "brain"})
    assert run(api, tmp_path, Command("start", ["brain"])) == 0
    assert capsys.readouterr().out == "brain is healthy already\n"
    assert "GET /operations/1" not in api.calls()


def test_without_waiting_it_is_over_when_it_is_accepted(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operation can be asked after."""
    api.on("POST /restart/brain", (202, {"success": True, "operation": "abc", "server": "brain"}))
    assert run(api, tmp_path, Command("restart", ["brain"], wait=False)) == 0
    assert capsys.readouterr().out == "restart of brain is accepted (operation abc)\n"


def test_a_key_named_twice_is_meant_once(tmp_path: Path, api: FakeApi) -> None:
    """The second command would supersede the first."""
    api.on("POST /start/brain", {"success": True, "operation": "1", "server": "brain"})
    run(api, tmp_path, Command("start", ["brain", "brain"]))
    assert api.calls().count("POST /start/brain") == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (operation("failed", error="brain: exited with code 1: boom"), "start failed: brain: exited with code 1: boom"),
        (operation("superseded", error="superseded by operation 2"), "start was superseded: superseded by operation 2"),
    ],
)
def test_what_fails_is_exit_1_and_says_why(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], answer: dict[str, Any], words: str
) -> None:
    """And where to ask on, where it is known of whom."""
    api.on("POST /start/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /operations/1", answer)
    api.on("GET /status", {"brain": system("failed", error="boom")})
    assert run(api, tmp_path, Command("start", ["brain"])) == 1
    said = capsys.readouterr()
    assert words in said.err
    assert ("aurora-circus explain brain" in said.err) is ("brain:" in words)
    assert "failed  boom" in said.out


def test_an_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path, api: FakeApi) -> None:
    """All of them at once, and nothing is asked for."""
    with pytest.raises(UnknownServerError) as caught:
        run(api, tmp_path, Command("start", ["brian", "brain", "xyz"]))
    assert str(caught.value).split("\n") == [
        "there is no system 'brian'; did you mean brain?",
        "there is no system 'xyz'",
        "this fleet has: brain, router",
    ]
    assert not [call for call in api.calls() if call.startswith("POST")]


@pytest.mark.parametrize(("state", "code"), [("healthy", 0), ("failed", 1), ("stopped", 1)])
def test_a_restarted_controller_has_forgotten_the_operation(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], state: str, code: int
) -> None:
    """Then the states have to tell, once they have settled."""
    api.on("POST /start/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /status", Steps({"brain": system("stopped")}, {"brain": system("starting")}, {"brain": system(state)}))
    assert run(api, tmp_path, Command("start", ["brain"])) == code
    said = capsys.readouterr()
    assert state in said.out
    assert ("start failed: brain: it is so" in said.err) is bool(code)


def test_a_lost_connection_is_made_anew(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """circusd restarts the plugin in a second."""
    monkeypatch.setattr(operate, "pause", lambda _: None)
    api.on("POST /stop/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /operations/1", Steps(None, operation()))
    api.on("GET /status", {"brain": system("stopped")})
    assert run(api, tmp_path, Command("stop", ["brain"])) == 0
    assert "stopped" in capsys.readouterr().out


def test_a_long_wait_says_what_it_waits_for(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence would look like a hang."""
    monkeypatch.setattr(operate, "HINT_AFTER", 0.0)
    api.on("POST /start/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /operations/1", Steps(operation("running", ("brain",)), operation()))
    api.on("GET /status", {"brain": system("waiting", error="waiting for router")})
    run(api, tmp_path, Command("start", ["brain"]))
    assert "… still waiting: brain is waiting: waiting for router" in capsys.readouterr().err


def test_ctrl_c_ends_the_waiting_and_not_the_command(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    api.on("POST /restart/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    monkeypatch.setattr(operate._Waiting, "until_settled", interrupted)
    assert run(api, tmp_path, Command("restart", ["brain"])) == 1
    assert "no longer waiting; the restart itself goes on: aurora-circus status" in capsys.readouterr().err


def test_a_fleet_that_ends_meanwhile_is_not_waited_for(
    tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot be reached any more says why."""

    def gone(*_: object) -> None:
        raise reach.Unreachable("gone")

    monkeypatch.setattr(operate, "pause", lambda _: None)
    monkeypatch.setattr(reach, "connect", gone)
    api.on("POST /stop/brain", (202, {"success": True, "operation": "1", "server": "brain"}))
    api.on("GET /operations/1", lambda _: None)
    with pytest.raises(reach.Unreachable):
        run(api, tmp_path, Command("stop", ["brain"]))
