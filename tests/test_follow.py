"""Events and logs, as they are and as they grow. Time is played: a pause is where a test has something happen."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aurora_circus import follow, reach
from aurora_circus.client import ApiError
from aurora_circus.config import Config
from aurora_circus.errors import NotRunningError
from aurora_circus.follow import Events, Logs
from tests.fake_fleet import FakeApi, context, fleet, record, write_journal


class EndError(Exception):
    """The test has seen enough."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """The API of the fleet in ``tmp_path``."""
    with FakeApi(f"{tmp_path}/.aurora/run").serving() as found:
        yield found


def events(around: Config, *, server: str | None = None, event: str | None = None, as_json: bool = False) -> Events:
    """Return what shows events."""
    return Events(context(around), server=server, event=event, as_json=as_json)


def play(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Have one step happen in each pause, and the end come after the last."""
    left = list(steps)

    def pause(_: float) -> None:
        if not left:
            raise EndError
        left.pop(0)()

    monkeypatch.setattr(follow, "pause", pause)


def test_the_last_events_are_those_that_tell_a_change(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as are wanted, heartbeats not counted."""
    beats = [record(each, "health_check", "a", failures=0) for each in range(10, 20)]
    found = [
        record(1, "server_stopped", "a"),
        record(2, "server_stopped", "b"),
        *beats,
        record(20, "server_stopped", "c"),
    ]
    api.on("GET /events", {"events": found, "next": 20})
    events(fleet(tmp_path, api.port)).show(2, follow=False)
    assert [each.split()[-2] for each in capsys.readouterr().out.splitlines()] == ["b", "c"]


def test_json_leaves_nothing_out(tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Each record is a line as it stands in the journal."""
    found = [record(1, "health_check", "ä", failures=0), record(2, "x")]
    api.on("GET /events", {"events": found, "next": 2})
    events(fleet(tmp_path, api.port), as_json=True).show(5, follow=False)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(each) for each in lines] == found
    assert "ä" in lines[0]


def test_what_is_asked_for_is_asked_of_the_api(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who asks for health checks gets them; none at all can be asked for too."""
    api.on("GET /events", {"events": [record(1, "health_check", "brain", failures=0, state="healthy")], "next": 1})
    found = events(fleet(tmp_path, api.port), server="brain", event="health_check")
    found.show(0, follow=False)
    assert capsys.readouterr().out == ""
    found.show(1, follow=False)
    assert "healthy" in capsys.readouterr().out
    assert api.asked[-1][1] == {"limit": "1000", "server": "brain", "event": "health_check"}


def test_a_restart_of_the_plugin_loses_and_repeats_nothing(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that the connection was lost, and reading goes on after the last record."""
    pages = iter(
        [
            {"events": [record(1, "server_stopped", "a")], "next": 1},
            {"events": [record(2, "server_stopped", "b")], "next": 2},
            None,
            {"events": [record(3, "server_stopped", "c")], "next": 3, "truncated": True},
        ]
    )

    api.on("GET /events", lambda _: next(pages, (500, {"error": "enough"})))
    play(monkeypatch)
    with pytest.raises(ApiError, match="enough"):
        events(fleet(tmp_path, api.port)).show(5, follow=True)
    said = capsys.readouterr()
    assert [each.split()[-2] for each in said.out.splitlines()] == ["a", "b", "c"]
    assert "connection lost" in said.err
    assert "connected again" in said.err
    assert "some records were gone" in said.err
    asked = [query.get("since") for call, query in api.asked if call.endswith("/events")]
    assert asked == [None, "1", "2", "2", "3"]


def test_a_fleet_that_does_not_come_back_is_given_up(
    tmp_path: Path, api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while of silence the fleet counts as not running, whatever the reason."""
    monkeypatch.setattr(follow, "SILENCE", 0.0)
    api.on("GET /events", lambda query: None if "since" in query else {"events": [], "next": 1})
    real, calls = reach.connect, []

    def connect(around: object, **more: float) -> object:
        calls.append(more)
        if len(calls) > 1:
            raise reach.Unreachable("it does not answer")
        return real(around, **more)  # type: ignore[arg-type] # whatever came

    monkeypatch.setattr(reach, "connect", connect)
    with pytest.raises(NotRunningError, match="it does not answer"):
        events(fleet(tmp_path, api.port)).show(5, follow=True)
    assert "connection lost" in capsys.readouterr().err


def test_the_journal_can_be_read_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which is when it is wanted most; that nothing runs is said all the same."""
    around = fleet(tmp_path)
    write_journal(around, *(record(each, "server_stopped", f"s{each}") for each in range(1, 5)))
    with pytest.raises(NotRunningError):
        events(around).show(2, follow=True)
    said = capsys.readouterr()
    assert [each.split()[-2] for each in said.out.splitlines()] == ["s3", "s4"]
    assert "events.jsonl" in said.err


def test_a_log_can_be_read_when_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Likewise; with a fleet, nothing is said beyond the lines."""
    around = fleet(tmp_path)
    log = Path(around.systems[0].log)
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\nthree\n")
    with pytest.raises(NotRunningError):
        Logs(context(around), "brain").show(2, follow=False)
    said = capsys.readouterr()
    assert said.out == "two\nthree\n"
    assert str(log) in said.err
    with FakeApi(around.fleet.run_dir).serving() as api:
        Logs(context(fleet(tmp_path, api.port)), "brain").show(1, follow=False)
    assert capsys.readouterr() == ("three\n", "")


def test_a_followed_log_gives_whole_lines_and_survives_its_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in it after it has become shorter is new."""
    log, lines = tmp_path / "x.log", list[str]()
    log.write_bytes(b"old\none\n")

    def add(data: bytes) -> Callable[[], object]:
        def step() -> None:
            with log.open("ab") as file:
                file.write(data)

        return step

    play(
        monkeypatch,
        add(b"two\nthr"),
        add(b"ee\r\n\xff\n"),
        lambda: log.write_bytes(b"new\n"),
        log.unlink,
        add(b"again\n"),
    )
    with pytest.raises(EndError):
        follow.follow_log(log, 1, lines.append)
    assert lines == ["one", "two", "three", "\N{REPLACEMENT CHARACTER}", "new", "again"]


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that was never started has none."""
    log, lines = tmp_path / "x.log", list[str]()
    play(monkeypatch, lambda: log.write_text("hello\n"))
    with pytest.raises(EndError):
        follow.follow_log(log, 5, lines.append)
    assert lines == ["hello"]


def test_a_log_that_cannot_be_read_does_not_spin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again after the usual pause."""
    log = tmp_path / "x.log"
    log.write_text("")
    monkeypatch.setattr(follow, "_read", lambda *_: b"")
    play(monkeypatch, lambda: log.write_text("hello\n"), lambda: None)
    with pytest.raises(EndError):
        follow.follow_log(log, 5, lambda _: None)


@pytest.mark.parametrize("growing", [False, True])
def test_a_log_is_shown_without_what_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, growing: bool
) -> None:
    """A system that writes escapes into its log neither clears nor renames the terminal of who reads it."""
    around = fleet(tmp_path)
    log = Path(around.systems[0].log)
    log.parent.mkdir(parents=True)
    log.write_bytes(b"\x1b[2J\x1b]0;evil\x07a\tb\x9b\xc2\x9b31m\xe2\x80\xae<b>\n")
    play(monkeypatch)
    with pytest.raises(EndError if growing else NotRunningError):
        Logs(context(around), "brain").show(2, follow=growing)
    assert capsys.readouterr().out == "a       b\N{REPLACEMENT CHARACTER}?<b>\n"


def test_a_line_without_end_is_shown_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not kept until the memory is full."""
    log, lines = tmp_path / "x.log", list[str]()
    log.write_text("")

    def more() -> None:
        with log.open("ab") as file:
            file.write(b"x" * follow.LONGEST_LINE)

    play(monkeypatch, more, more, more, more)
    with pytest.raises(EndError):
        follow.follow_log(log, 5, lines.append)
    assert [len(each) for each in lines] == [2 * follow.LONGEST_LINE] * 2
