"""Circus's protocol, against a circusd of six lines."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aurora_circus import control
from aurora_circus.control import Control
from aurora_circus.errors import CircusBusyError, CircusError

Answer = dict[str, Any]


class Circusd:
    """Answers each command by what a test says, at once, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, Answer], Answer | None], alive: tuple[int, ...] = ()) -> None:
        """``answer`` returns None for no answer at all."""
        self.asked: list[tuple[str, Answer]] = []
        self._answer = answer
        self.control = Control(self._take, lambda pid: pid in alive)

    def _take(self, frame: bytes) -> None:
        said = json.loads(frame)
        self.asked.append((said["command"], said["properties"]))
        answer = self._answer(said["command"], said["properties"])
        if answer is not None:
            asyncio.get_running_loop().call_soon(
                self.control.receive, json.dumps({"status": "ok", **answer, "id": said["id"]}).encode()
            )


def nothing() -> None:
    """Take no note of being in somebody's way."""


BUSY = {"status": "error", "errno": 5, "reason": "arbiter is already running watcher_stop command"}


def test_a_stopped_system_is_started_and_its_pid_is_in_the_answer() -> None:
    """Start, waiting, by its exact name."""
    circusd = Circusd(lambda *_: {"info": {"started": [7], "kept": []}})
    assert asyncio.run(circusd.control.spawn("web", dead=False, busy=nothing)) == 7
    assert circusd.asked == [("start", {"name": "web", "match": "simple", "waiting": True})]


def test_a_dead_unreaped_process_is_not_taken_for_a_started_one() -> None:
    """Start says ok and keeps the dead one: restart starts anew."""
    info = {"start": {"started": [], "kept": [6]}, "restart": {"started": [7], "stopped": [6]}}
    circusd = Circusd(lambda command, _: {"info": info[command]})
    assert asyncio.run(circusd.control.spawn("web", dead=False, busy=nothing)) == 7
    assert [command for command, _ in circusd.asked] == ["start", "restart"]


def test_a_living_process_is_kept() -> None:
    """Somebody else had it started: it is never ended by our start."""
    circusd = Circusd(lambda *_: {"info": {"started": [], "kept": [6]}}, alive=(6,))
    assert asyncio.run(circusd.control.spawn("web", dead=False, busy=nothing)) == 6
    assert [command for command, _ in circusd.asked] == ["start"]


def test_what_is_known_to_be_dead_is_started_anew_in_one_command() -> None:
    """Restart on the dead reaps and starts at once."""
    circusd = Circusd(lambda *_: {"info": {"started": [7], "kept": []}})
    assert asyncio.run(circusd.control.spawn("web", dead=True, busy=nothing)) == 7
    assert [command for command, _ in circusd.asked] == ["restart"]


def test_a_start_that_starts_nothing_is_an_error() -> None:
    """Circus says ok of a command that cannot be run; why that is, our hooks have kept, where they know."""
    info: Answer = {"info": {"started": [], "kept": []}}
    unknown = {"status": "error", "reason": "'aurora_error' option not found"}
    circusd = Circusd(lambda command, _: unknown if command == "get" else info)
    with pytest.raises(CircusError, match="started no process for web"):
        asyncio.run(circusd.control.spawn("web", dead=False, busy=nothing))
    known = {"options": {"aurora_error": "[Errno 11] Resource temporarily unavailable"}}
    circusd = Circusd(lambda command, _: known if command == "get" else info)
    with pytest.raises(CircusError, match=r"^circusd could not start web: \[Errno 11\] Resource temporarily"):
        asyncio.run(circusd.control.spawn("web", dead=True, busy=nothing))


def test_the_lock_is_waited_for_and_its_holder_is_told_of() -> None:
    """errno 5 is asked again until it is free."""
    answers: Iterator[Answer] = iter([BUSY, BUSY, {"info": {"started": [7]}}])
    told: list[int] = []
    circusd = Circusd(lambda *_: next(answers))
    assert asyncio.run(circusd.control.spawn("web", dead=True, busy=lambda: told.append(1))) == 7
    assert len(told) == 2


GONE = {"status": "error", "errno": 3, "reason": "program web not found"}


def test_a_watcher_that_reloadconfig_has_taken_out_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is put in again when others have stopped; unless whoever asks knows that it is gone for good."""
    monkeypatch.setattr(control, "TURN_PAUSE", 0.001)
    answers: Iterator[Answer] = iter([GONE, BUSY, {"info": {"started": [7]}}])
    assert asyncio.run(Circusd(lambda *_: next(answers)).control.spawn("web", dead=True, busy=nothing)) == 7

    def gone() -> None:
        raise CircusError("web is no system of this fleet any more")

    with pytest.raises(CircusError, match="no system of this fleet"):
        asyncio.run(Circusd(lambda *_: GONE).control.spawn("web", dead=True, busy=gone))


def test_a_lock_that_is_never_free_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patience has a bound."""
    monkeypatch.setattr(control, "BUSY_PATIENCE", 0.0)
    circusd = Circusd(lambda *_: BUSY)
    with pytest.raises((CircusBusyError, CircusError)):
        asyncio.run(circusd.control.spawn("web", dead=True, busy=nothing))


def test_a_silent_circusd_is_an_error_within_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command waits for ever."""
    monkeypatch.setattr(control, "ANSWER_TIMEOUT", 0.01)
    circusd = Circusd(lambda *_: None)
    with pytest.raises(CircusError, match="no answer within"):
        asyncio.run(circusd.control.statuses())


def test_commands_that_take_the_lock_take_turns() -> None:
    """Two starts at once are two commands, one after the other's answer."""
    order: list[str] = []

    async def play() -> list[int]:
        waiting: list[str] = []

        def send(frame: bytes) -> None:
            said = json.loads(frame)
            assert not waiting, "a second command before the answer to the first"
            waiting.append(said["id"])
            order.append(said["properties"]["name"])

            def answer() -> None:
                waiting.clear()
                kept = {"id": said["id"], "status": "ok", "info": {"started": [len(order)]}}
                each.receive(json.dumps(kept).encode())

            asyncio.get_running_loop().call_soon(answer)

        each = Control(send, lambda _: False)
        return await asyncio.gather(*(each.spawn(name, dead=True, busy=nothing) for name in ("a", "b", "c")))

    assert asyncio.run(play()) == [1, 2, 3]
    assert order == ["a", "b", "c"]


def test_all_who_wait_long_for_their_turn_say_so_by_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, until the one before them has its answer; one who is told off for it disturbs nobody else."""
    monkeypatch.setattr(control, "TURN_PAUSE", 0.001)
    told: dict[str, int] = {"a": 0, "b": 0, "c": 0}

    async def play() -> list[int]:
        loop = asyncio.get_running_loop()
        first: list[bytes] = []

        def send(frame: bytes) -> None:
            said = json.loads(frame)
            answer = json.dumps({"id": said["id"], "status": "ok", "info": {"started": [7]}}).encode()
            if said["properties"]["name"] == "a":
                first.append(answer)
            else:
                loop.call_soon(each.receive, answer)

        def busy(name: str) -> None:
            told[name] += 1
            if name == "b":
                raise CircusError("b is no system of this fleet any more")
            if told["c"] == 3:
                each.receive(first.pop())

        each = Control(send, lambda _: False)
        spawns = (each.spawn(name, dead=True, busy=lambda name=name: busy(name)) for name in told)  # type: ignore[misc]
        return await asyncio.gather(*spawns)

    assert asyncio.run(play()) == [7, 7, 7]
    assert told["a"] == 0
    assert min(told["b"], told["c"]) >= 3


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """Its asker was told of the timeout."""

    async def play() -> None:
        Control(lambda _: None, lambda _: False).receive(b'{"id": "gone", "status": "ok"}')

    asyncio.run(play())
