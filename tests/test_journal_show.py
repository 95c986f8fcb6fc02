"""``events --file`` and ``events --verify``: any journal is read, whatever stands in it, and judged."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aurora_circus import settings
from aurora_circus.cli import cli
from aurora_circus.feed import journal_path
from aurora_circus.journal import Journal
from tests.fake_fleet import FakeApi, context, fleet, record, toml, write_journal
from tests.platforms import WINDOWS

AT = 1_767_323_045.0
OLD = {"timestamp": "2025-11-02T03:04:05.123456", "server": "brain", "details": {"pid": 7}, "system": "AURORA"}
"""A record of the old log, but for its event: five fields, no number."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of one's own, with no fleet in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, given: bytes | None = None) -> Result:
    """Run the command line."""
    return CliRunner().invoke(cli, ["events", *words], input=given, catch_exceptions=False)


def old(event: str = "started", **more: Any) -> bytes:
    """A line of an old log."""
    return json.dumps({"event": event, **OLD, **more}).encode() + b"\n"


def write(data: bytes, name: str = "old.jsonl") -> str:
    """A file, and its name."""
    Path(name).write_bytes(data)
    return name


def shown(result: Result) -> list[str]:
    """The events that were shown, by ``--json``."""
    return [json.loads(line)["event"] for line in result.stdout.splitlines()]


# --- Any file


IRREGULAR = [
    (b"\n", "blank"),
    (b"  \t \r\n", "blank"),
    (b'{"timestamp": "2025-11-02T03:04:0\n', "not JSON: Unterminated string"),
    (b"Traceback (most recent call last):\n", "not JSON: Expecting value at character 1"),
    (b"[1, 2]\n", "no JSON object"),
    (b"7\n", "no JSON object"),
    (b"[" * 100_000 + b"\n", "nested too deeply"),
    (b'{"event": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "nested too deeply"),
    (b'{"event": "x", "n": ' + b"9" * 5000 + b"}\n", "not JSON: Exceeds the limit"),
    (b"x" * 10_000_000 + b"\n", "10000000 bytes long"),
    (b'{"event": "x", "text": "' + b"y" * 10_000_000 + b'"}\n', "bytes long"),
    (b"\x00" * 5000 + b"\n", "not JSON"),
]


@pytest.mark.parametrize(("line", "why"), IRREGULAR)
def test_an_irregular_line_is_named_and_the_others_are_shown(line: bytes, why: str) -> None:
    """On standard error, by its number."""
    result = run("--json", "--file", write(old("one") + line + old("two")))
    assert result.exit_code == 0
    assert shown(result) == ["one", "two"]
    assert result.stderr.startswith("line 2: ")
    assert why in result.stderr
    assert len(result.stderr) < 200


READABLE = [
    (b'{"event": "caf\xe9"}\n', "not UTF-8; read as Latin-1"),
    (b'{"event": "x", "n": NaN, "m": -Infinity}\n', "holds NaN, which JSON has not; read as null"),
    (b'{"what": "x"}\n', "an object without an event"),
    (b'{"event": 7}\n', "an object without an event"),
    (old("x").replace(b"\n", b"\r\n"), None),
    (b'  {"event": "x"}  \n', None),
]


@pytest.mark.parametrize(("line", "why"), READABLE)
def test_what_can_be_read_is_shown_all_the_same(line: bytes, why: str | None) -> None:
    """And named, where it is not as it should be."""
    name = write(old("one") + line + old("two"))
    result = run("--json", "--file", name)
    assert len(result.stdout.splitlines()) == 3
    assert (f"line 2: {why}\n" if why else "") == result.stderr
    assert "NaN" not in result.stdout
    assert len(run("--file", name).stdout.splitlines()) == 3


def test_a_byte_order_mark_hides_no_line() -> None:
    """It is named."""
    result = run("--json", "--file", write(b"\xef\xbb\xbf" + old("one") + old("two")))
    assert shown(result) == ["one", "two"]
    assert result.stderr == "line 1: begins with a byte order mark\n"


def test_a_last_line_without_an_end_is_shown_if_it_is_whole() -> None:
    """Else it is torn, and said to be."""
    assert shown(run("--json", "--file", write(old("one") + old("two").rstrip()))) == ["one", "two"]
    result = run("--json", "--file", write(old("one") + old("two")[:20]))
    assert (shown(result), "line 2: torn, it has no end" in result.stderr) == (["one"], True)


def test_lines_with_the_same_trouble_are_named_together() -> None:
    """A page of blanks is one line on standard error."""
    result = run("--file", write(old() + b"\n" * 500 + old() + b"[]\n"))
    assert result.stderr == "lines 2 to 501: blank\nline 503: no JSON object\n"


def test_old_records_are_told_in_words() -> None:
    """As they say it themselves, with their date."""
    result = run("--file", write(old("server_started_ok")))
    assert result.stdout == "2025-11-02T03:04:05.123456  brain                     server_started_ok pid=7\n"


def test_nothing_of_a_file_reaches_a_terminal_raw() -> None:
    """No escape of its records, of its irregular lines or of its name is obeyed, in words and as JSON."""
    evil = "\x1b[31m\x9b2J\x07\x7f\u202e"
    lines = old(evil, server=evil, timestamp=evil, system=evil, details={evil: [evil]})
    raw = json.dumps({"event": evil, "details": {evil: evil}}, ensure_ascii=False).encode()
    for words in (["--file"], ["--json", "--file"], ["--verify", "--file"], ["--verify", "--json", "--file"]):
        result = run(*words, write(lines + raw + b"\n" + evil.encode() + b"\n"))
        assert not {each for each in evil if not each.isprintable()} & {*result.stdout, *result.stderr}
    result = run("--json", "--file", write(raw))
    assert json.loads(result.stdout) == json.loads(raw)
    name = write(old(), "bad.jsonl" if WINDOWS else "bad\x1b[31m.jsonl")  # where a name may hold such a thing
    assert "\x1b" not in run("--server", "x\x1b[0m", "--file", name).output


def test_filters_leave_what_fits() -> None:
    """By system, by event, by number or, where there is none, by line; and so many."""
    name = write(b"".join(old(f"e{n}", server="ab"[n % 2]) for n in range(1, 9)))
    assert shown(run("--json", "--file", name, "--server", "a")) == ["e2", "e4", "e6", "e8"]
    assert shown(run("--json", "--file", name, "--event", "e3")) == ["e3"]
    assert shown(run("--json", "--file", name, "--event", "e99")) == []
    assert shown(run("--json", "--file", name, "-n", "2")) == ["e7", "e8"]
    assert shown(run("--json", "--file", name, "-n", "0")) == []
    assert shown(run("--json", "--file", name, "--since", "6")) == ["e7", "e8"]
    assert shown(run("--json", "--file", name, "--since", "2", "-n", "2", "--server", "b")) == ["e3", "e5"]
    numbered = write(b"".join(old("x", seq=n) for n in (40, 41, 42)))
    assert len(shown(run("--json", "--file", numbered, "--since", "40"))) == 2


def test_a_system_that_a_file_does_not_name_is_wrong_use() -> None:
    """Silence would say that nothing has happened to it."""
    result = run("--file", write(old()), "--server", "nosuch")
    assert result.exit_code == 2
    assert result.stderr == "there is no system 'nosuch' in old.jsonl; it names: brain\n"


def test_nothing_is_left_out_of_a_file() -> None:
    """Health checks that tell no change neither."""
    lines = b"".join(
        json.dumps(record(n, "health_check", "a", failures=0, state="healthy")).encode() + b"\n" for n in (1, 2)
    )
    assert len(run("--file", write(lines)).stdout.splitlines()) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_standard_input_is_a_file_too(packed: bool) -> None:
    """And a packed one is unpacked."""
    data = old("one") + old("two")
    given = gzip.compress(data) if packed else data
    assert shown(run("--json", "--file", "-", given=given)) == ["one", "two"]
    assert shown(run("--json", "--file", write(given))) == ["one", "two"]


def test_a_packed_file_that_is_cut_off_is_shown_as_far_as_it_goes() -> None:
    """And then it is an error."""
    data = gzip.compress(b"".join(old(f"e{n}") for n in range(20_000)))
    result = run("--json", "--file", write(data[: len(data) // 2]))
    assert result.exit_code == 1
    assert shown(result)[:2] == ["e0", "e1"]
    assert "old.jsonl: cannot be read beyond line" in result.stderr


def test_a_file_that_is_not_there_is_no_journal() -> None:
    """Exit 3, and in whose place a directory is, 1."""
    for words in ([], ["--verify"]):
        result = run(*words, "--file", "nowhere")
        assert (result.exit_code, result.stderr) == (3, "nowhere: there is no such file\n")
        assert run(*words, "--file", ".").exit_code == 1


def test_no_fleet_is_needed_for_a_file(here: Path) -> None:
    """A fleet.toml that is wrong is in nobody's way."""
    (here / "fleet.toml").write_text("this is wrong")
    assert run("--file", write(old())).exit_code == 0
    assert run("--verify").exit_code == 2


# --- Verifying


@pytest.fixture
def api(here: Path) -> Iterator[FakeApi]:
    """The API of the fleet that lies here."""
    with FakeApi(f"{here}/.aurora/run").serving() as found:
        (here / "fleet.toml").write_text(toml(found.port))
        yield found


def recorded(folder: Path, count: int = 5) -> Journal:
    """A fleet's journal with so many records, written and closed."""
    log = Journal(journal_path(fleet(folder).fleet), "aurora", settings.Journal(max_bytes=1000))
    for _ in range(count):
        log.record("e", "brain", {}, AT)
    assert log.close(5)
    return log


def test_a_whole_journal_is_whole(here: Path) -> None:
    """Exit 0, whether or not the fleet runs."""
    log = recorded(here, 20)
    result = run("--verify")
    assert result.exit_code == 0
    assert f"the journal is whole: 20 records, linked from 1 to 20, the last by {log.head.link}" in result.stdout
    found = json.loads(run("--verify", "--json").stdout)
    assert (found["whole"], found["last"], found["findings"]) == (True, {"seq": 20, "chain": log.head.link}, [])
    assert len(found["files"]) > 2


def test_a_broken_journal_is_told_line_by_line(here: Path) -> None:
    """Exit 1."""
    recorded(here)
    path = Path(".aurora/logs/events.jsonl")
    first, _, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first.replace(b"brain", b"drain") + b"".join(others))
    result = run("--verify")
    assert result.exit_code == 1
    assert "events.jsonl, line 1, seq 1: changed: it does not fit its link" in result.stdout
    assert "events.jsonl, line 2, seq 2: record 2 is missing before this line" in result.stdout
    assert "the journal is broken: 2 findings" in result.stdout
    found = json.loads(run("--verify", "--json").stdout)
    assert [(each["what"], each["line"], each["seq"]) for each in found["findings"]] == [
        ("changed", 1, 1),
        ("missing", 2, 2),
    ]
    assert run("--verify", "--file", str(path)).exit_code == 1


def test_without_a_journal_there_is_nothing_to_verify(here: Path) -> None:
    """Exit 3."""
    fleet(here)
    result = run("--verify")
    assert (result.exit_code, "there is no journal at" in result.stderr) == (3, True)


def test_the_saved_state_tells_that_the_end_is_gone(here: Path) -> None:
    """It knows the last record as of when it was saved."""
    log = recorded(here)
    state = Path(".aurora/run/state.json")
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"journal": {"seq": log.head.seq, "chain": log.head.link}}))
    assert "as state.json knows it" in run("--verify").stdout
    path = Path(".aurora/logs/events.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    result = run("--verify")
    assert result.exit_code == 1
    assert "record 5 is gone from the end: state.json knows record 5" in result.stdout
    for each in path.parent.iterdir():
        each.unlink()
    result = run("--verify")
    assert (result.exit_code, "state.json knows 5 records" in result.stderr) == (3, True)


def test_the_running_api_tells_that_the_end_is_gone(here: Path, api: FakeApi) -> None:
    """It knows the last record of all."""
    log = recorded(here)
    api.details["journal"] = {"seq": log.head.seq, "chain": log.head.link}
    (here / "fleet.toml").write_text(toml(api.port))
    assert "as the API knows it" in run("--verify").stdout
    api.details["journal"] = {"seq": 5, "chain": "0" * 32}
    result = run("--verify")
    assert (result.exit_code, "another record 5 than the one that the API knows" in result.stdout) == (1, True)


def test_what_is_shown_as_json_can_be_verified(here: Path) -> None:
    """A journal may be carried through a pipe."""
    log = Journal("events.jsonl", "aurora", settings.Journal())
    log.record("e", "brain", {"text": "\x1b\x9b\x7f\u202e\U000e0001é", "n": 0.1 + 0.2, "big": 2**1000}, AT)
    log.record("e", None, {}, AT)
    assert log.close(5)
    piped = run("--json", "--file", "events.jsonl").stdout_bytes
    assert piped.replace(b"\r\n", b"\n") == Path("events.jsonl").read_bytes()
    assert run("--verify", "--file", "-", given=piped).exit_code == 0


@pytest.mark.parametrize("words", [["-f"], ["-n", "3"], ["--server", "a"], ["--event", "e"], ["--since", "3"]])
def test_verifying_looks_at_all_of_it(words: list[str]) -> None:
    """Half a journal cannot be whole."""
    assert run("--verify", *words).exit_code == 2


def test_a_file_does_not_grow() -> None:
    """-f is for the fleet's own."""
    assert run("--file", write(old()), "-f").exit_code == 2


# --- The fleet's own


def test_a_system_that_nobody_knows_is_wrong_use(here: Path, api: FakeApi) -> None:
    """Neither the fleet's file nor the journal: exit 2, running or not. One that was removed is known."""
    write_journal(fleet(here, api.port), record(1, "server_stopped", "removed"))
    api.on("GET /events", {"events": [], "next": 1})
    result = run("--server", "brian")
    assert result.exit_code == 2
    assert "there is no system 'brian'; did you mean brain?" in result.stderr
    assert run("--server", "brain").exit_code == 0
    assert run("--server", "removed").exit_code == 0
    fleet(here)
    assert run("--server", "brian").exit_code == 2
    assert run("--server", "removed").exit_code == 3


def test_records_beyond_a_number_are_asked_for_page_by_page(here: Path, api: FakeApi) -> None:
    """All of them, or the first so many."""
    pages = {
        "3": {"events": [record(4, "a"), record(5, "b")], "next": 5},
        "5": {"events": [record(6, "c")], "next": 6},
        "6": {"events": [], "next": 6},
    }
    api.on("GET /events", lambda query: pages[query["since"]])
    assert shown(run("--json", "--since", "3")) == ["a", "b", "c"]
    assert shown(run("--json", "--since", "3", "-n", "1")) == ["a"]


def test_records_beyond_a_number_are_read_when_nothing_runs(here: Path) -> None:
    """From the files."""
    write_journal(fleet(here), *(record(n, f"e{n}", "ab"[n % 2]) for n in range(1, 9)))
    assert shown(run("--json", "--since", "5")) == ["e6", "e7", "e8"]
    assert shown(run("--json", "--since", "2", "-n", "2", "--server", "b")) == ["e3", "e5"]
    assert run("--since", "2", "-n", "0").stdout == ""


def test_a_record_of_another_day_has_its_date(here: Path) -> None:
    """Also where nobody follows: the last twenty may be a month old."""
    write_journal(fleet(here), record(1, "server_stopped", "brain"))
    assert run().stdout.startswith("2026-01-02 ")
    assert context(fleet(here)).clock.wall() > 0
