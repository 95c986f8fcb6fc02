"""The chain: whatever is lost, changed, added or moved in a journal is found and named; what is whole is whole."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_circus import chain, journal_files, settings, verdict
from aurora_circus.chain import Head, Past
from aurora_circus.files import open_regular, shift
from aurora_circus.journal import Journal
from aurora_circus.journal_backlog import Limits
from aurora_circus.journal_files import row
from aurora_circus.journal_lines import lines as taken
from aurora_circus.verify import Chain, Finding, Known, Report
from tests.journals import SOON, FakeDisk, files, followed, lines, missing, records

AT = 1_767_323_045.0
Lines = list[bytes]


def body(seq: int, event: str = "e", **details: object) -> bytes:
    """A record's line as it was before there were links."""
    record = {"timestamp": "t", "seq": seq, "event": event, "server": "a", "details": details, "system": "s"}
    return json.dumps(record).encode() + b"\n"


def journal(count: int = 9) -> Lines:
    """The lines of a journal."""
    return chain.bind(chain.BEGIN, [body(seq) for seq in range(1, count + 1)])[0]


def report(*parts: Sequence[bytes], known: Sequence[Known] = ()) -> Report:
    """What is found in files with these lines, oldest first."""
    found = Chain()
    for number, part in enumerate(parts):
        found.file(f"file{number}")
        for each in taken(io.BytesIO(b"".join(part)), ""):
            found.take(each)
    return found.report(known)


def said(found: Sequence[Finding]) -> list[tuple[str, int | None, int | None, int | None]]:
    """Each finding's kind, line and numbers."""
    return [(each.what, each.line, each.seq, each.last) for each in found]


def head(of: Lines) -> Head:
    """What somebody knows who has seen the last line."""
    return Head(json.loads(of[-1])["seq"], json.loads(of[-1])["chain"])


# --- Links


def test_a_link_is_made_of_the_one_before_and_the_line_without_it() -> None:
    """Anybody can compute it: sha256sum and cut are enough."""
    first, second = journal(2)
    bare = body(1).rstrip(b"\n")
    link = hashlib.sha256(bare).hexdigest()[:32]
    assert chain.split(first) == (bare, link)
    assert json.loads(first) == {**json.loads(bare), "chain": link}
    assert chain.split(second)[1] == hashlib.sha256(link.encode() + body(2).rstrip(b"\n")).hexdigest()[:32]


def test_a_line_without_a_link_is_taken_as_it_is() -> None:
    """So is one whose last field only looks like one."""
    assert chain.split(body(1)) == (body(1).rstrip(b"\n"), None)
    odd = b'{"a": "x", "chain": "0123"}'
    assert chain.split(odd) == (odd, None)


@pytest.mark.parametrize("rubbish", [None, 7, [], {}, {"seq": 0, "chain": ""}, {"seq": True, "chain": ""}, {"seq": 1}])
def test_what_was_saved_of_a_journal_may_be_rubbish(rubbish: object) -> None:
    """Then nothing is known."""
    assert chain.read(rubbish) == Past()


# --- What is whole


def test_a_journal_is_whole_over_many_files() -> None:
    """Where one begins, the chain goes on; who knows its end agrees."""
    whole = journal()
    found = report(whole[:4], whole[4:4], whole[4:], known=[Known("me", head(whole)), Known("you", head(whole[:6]))])
    assert (found.whole, found.notes, found.records, found.head) == (True, [], 9, head(whole))
    assert found.compared == ["me", "you"]
    assert "whole: 9 records, linked from 1 to 9" in verdict.words(found)
    assert "as me and you know it" in verdict.words(found)


def test_what_was_rotated_away_is_no_finding() -> None:
    """A journal that starts later is whole from there on; what is known of before cannot be compared."""
    whole = journal()
    found = report(whole[5:], known=[Known("me", head(whole[:3]))])
    assert (found.whole, said(found.notes), found.compared) == (True, [("starts", 1, 6, None)], [])


def test_an_old_journal_has_no_links_and_the_chain_begins_behind_it() -> None:
    """It is said where."""
    old = [body(seq) for seq in range(1, 4)]
    new = chain.bind(chain.BEGIN, [body(seq) for seq in range(4, 7)])[0]
    found = report(old, new)
    assert (found.whole, found.begins) == (True, 4)
    assert said(found.notes) == [("begins", 1, 4, None)]
    found = report(old)
    assert (found.whole, found.begins) == (True, None)
    assert "older than the chain" in verdict.words(found)
    assert report([]).whole
    assert "empty" in verdict.words(report([]))


def test_a_copy_with_other_line_ends_and_a_mark_is_the_same() -> None:
    """What an editor or a transfer does to a whole file changes no record."""
    assert report([b"\xef\xbb\xbf", *(line.replace(b"\n", b"\r\n") for line in journal())]).whole


def test_a_copy_of_a_file_beside_it_is_no_finding() -> None:
    """As ``copy`` of logrotate leaves it; it is said."""
    whole = journal()
    found = report(whole[:5], whole)
    assert (found.whole, found.records) == (True, 9)
    assert said(found.notes) == [("copy", 1, 1, 5)]


def test_a_gap_is_said_and_is_no_finding() -> None:
    """A full disk is nobody's tampering."""
    bodies = [body(1), body(5, "journal_gap", first=2, last=5, error="No space left"), body(6)]
    found = report(chain.bind(chain.BEGIN, bodies)[0])
    assert (found.whole, said(found.notes)) == (True, [("gap", 2, 2, 5)])
    assert "records 2 to 5 are lost: No space left" in verdict.words(found)


def test_a_torn_last_line_is_said() -> None:
    """The next start mends it; then a gap says so."""
    found = report([*journal(3), b'{"timestamp": "2'])
    assert (found.whole, said(found.notes)) == (True, [("torn", 4, None, None)])


# --- What is not


def test_a_changed_line_is_named() -> None:
    """It alone, whatever of it was changed."""
    for old, new in ((b'"e"', b'"f"'), (b'"a"', b'"b"'), (b'"details": {}', b'"details": {"x": 1}')):
        whole = journal()
        whole[4] = whole[4].replace(old, new)
        assert said(report(whole).findings) == [("changed", 5, 5, None)]


def test_a_changed_link_is_named_once() -> None:
    """The line behind it does not fit it either; that is no second finding."""
    whole = journal()
    bare, _ = chain.split(whole[4])
    whole[4] = bare[:-1] + b', "chain": "' + b"0" * 32 + b'"}\n'
    assert said(report(whole).findings) == [("changed", 5, 5, None)]


def test_a_changed_number_is_named() -> None:
    """A higher one takes no other lines with it."""
    whole = journal()
    whole[4] = whole[4].replace(b'"seq": 5', b'"seq": 777')
    assert said(report(whole).findings) == [("changed", 5, 777, None)]


def test_a_line_made_anew_with_its_link_breaks_the_next() -> None:
    """Who wants to deceive has to make all that follow anew, and then the end is another."""
    whole = journal()
    changed = chain.bind(head(whole[:4]).link, [body(5, "forged"), *(body(seq) for seq in range(6, 10))])[0]
    assert said(report([*whole[:4], changed[0], *whole[5:]]).findings) == [("changed", 6, 6, None)]
    forged = [*whole[:4], *changed]
    assert report(forged).whole, "nobody can tell from the journal alone"
    assert said(report(forged, known=[Known("me", head(whole))]).findings) == [("other", 9, 9, None)]


def test_lost_lines_are_named() -> None:
    """One, several, and a whole file."""
    whole = journal()
    assert said(report(whole[:3], whole[4:]).findings) == [("missing", 1, 4, None)]
    assert said(report([*whole[:3], *whole[6:]]).findings) == [("missing", 4, 4, 6)]
    assert said(report([whole[0], *whole[2:4], *whole[5:]]).findings) == [
        ("missing", 2, 2, None),
        ("missing", 4, 5, None),
    ]


def test_a_lost_end_is_named_by_who_knows_of_it() -> None:
    """The journal itself cannot tell."""
    whole = journal()
    assert report(whole[:6]).whole
    found = report(whole[:6], known=[Known("state.json", head(whole))])
    assert said(found.findings) == [("gone", None, 7, 9)]
    assert "records 7 to 9 are gone from the end: state.json knows record 9" in verdict.words(found)
    assert said(report([], known=[Known("state.json", head(whole))]).findings) == [("gone", None, 1, 9)]


def test_lines_in_disorder_are_named() -> None:
    """Those that come too late; the rest is in its place."""
    whole = journal()
    assert said(report([*whole[:3], whole[4], whole[3], *whole[5:]]).findings) == [("moved", 5, 4, None)]
    assert said(report([*whole[:3], *whole[4:], whole[3]]).findings) == [("moved", 9, 4, None)]


def test_a_line_that_was_added_is_named() -> None:
    """A second one, one of nobody's, one without a link."""
    whole = journal()
    assert said(report([*whole[:5], whole[2], *whole[5:]]).findings) == [("twice", 6, 3, None)]
    assert said(report([*whole[:5], b"rubbish\n", b"\n", *whole[5:]]).findings) == [
        ("irregular", 6, None, None),
        ("irregular", 7, None, None),
    ]
    assert said(report([*whole, body(10)]).findings) == [("unlinked", 10, 10, None)]
    forged = chain.bind("0" * 32, [body(5, "forged")])[0]
    assert [each.line for each in report([*whole[:4], *forged, *whole[4:]]).findings] == [5, 6]


def test_a_chain_that_begins_anew_is_named() -> None:
    """Whoever cuts it cannot go on as if nothing had been."""
    found = report([*journal(4), *chain.bind(chain.BEGIN, [body(5), body(6)])[0]])
    assert said(found.findings) == [("changed", 5, 5, None)]
    assert "begins anew" in found.findings[0].text


def test_a_record_that_a_gap_says_is_lost_cannot_be_there() -> None:
    """A gap names numbers that nothing bears."""
    whole = chain.bind(chain.BEGIN, [body(1), body(4, "journal_gap", first=2, last=4), body(5)])[0]
    assert said(report([*whole, journal()[2]]).findings) == [("twice", 4, 3, None)]


@given(st.data())
def test_no_edit_goes_unnoticed_by_who_knows_the_end(data: st.DataObject) -> None:
    """Whatever is taken out, put in or moved; only an old beginning may go, as rotation takes it."""
    whole = journal(8)
    edited = [*whole]
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(edited)))
        how = data.draw(st.sampled_from(["remove", "repeat", "move", "change", "add"]))
        if how == "add" or where >= len(edited):
            edited.insert(where, data.draw(st.sampled_from([b"x\n", body(3), body(99), *whole])))
        elif how == "remove":
            del edited[where]
        elif how == "repeat":
            edited.insert(data.draw(st.integers(0, len(edited))), edited[where])
        elif how == "move":
            edited.insert(data.draw(st.integers(0, len(edited) - 1)), edited.pop(where))
        else:
            at = data.draw(st.integers(0, len(edited[where]) - 2))
            edited[where] = edited[where][:at] + b"~" + edited[where][at + 1 :]
    found = report(edited, known=[Known("me", head(whole))])
    kept = any(edited == whole[start:] for start in range(len(whole)))
    assert found.whole == kept, verdict.words(found)
    assert json.dumps(verdict.values(found))


# --- What the journal itself writes


def test_the_chain_goes_on_over_restarts_rotations_and_gaps(tmp_path: Path) -> None:
    """Whatever happens to the disk."""
    path, disk = tmp_path / "events.jsonl", FakeDisk()
    rotation = settings.Journal(max_bytes=1500, backups=60)
    for turn in range(4):
        log = Journal(path, "aurora", rotation, limits=Limits(backlog=5), disk=disk)
        for _ in range(9):
            log.record("e", None, {"turn": turn}, AT)
            assert log.write_pending()
        disk.free = 100
        for _ in range(9):
            log.record("lost", None, {}, AT)
            assert not log.write_pending()
        disk.free = None
        assert log.write_pending()
        assert log.close(SOON)
        path.write_bytes(path.read_bytes() + b'{"timestamp": "2026-')
    log = Journal(path, "aurora", rotation)
    assert log.close(SOON)
    found = followed(files(path)).report([Known("the journal", log.head)])
    assert (found.whole, found.compared, found.records) == (True, ["the journal"], len(lines(path)))
    assert {each.what for each in found.notes} == {"gap"}
    assert sum(1 + (each.last or each.seq or 0) - (each.seq or 0) for each in found.notes) == len(
        missing(records(path))
    )


def test_the_chain_begins_in_an_old_journal_and_goes_on(tmp_path: Path) -> None:
    """An update breaks nothing."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(body(seq) for seq in range(1, 4)))
    for _ in range(2):
        log = Journal(path, "aurora", settings.Journal())
        log.record("e", None, {}, AT)
        assert log.close(SOON)
    found = followed([path]).report()
    assert (found.whole, found.begins, found.head.seq) == (True, 4, 5)


@pytest.mark.parametrize("what", ["a piece", "the file"])
def test_what_is_gone_from_the_end_is_said_at_the_next_start(tmp_path: Path, what: str) -> None:
    """A gap names it, its number is not given again, and verifying finds it for as long as it is there."""
    path = tmp_path / "events.jsonl"
    log = Journal(path, "aurora", settings.Journal())
    for _ in range(6):
        log.record("e", None, {}, AT)
    assert log.close(SOON)
    known, left = log.head, lines(path)[:4] if what == "a piece" else []
    path.write_bytes(b"".join(left)) if left else path.unlink()
    log = Journal(path, "aurora", settings.Journal(), past=Past(known))
    assert log.record("e", None, {}, AT)["seq"] == 7
    first = len(left) + 1
    assert [each["seq"] for each in log.read(0, 10).events] == [*range(1, first), 6, 7]
    assert log.close(SOON)
    assert missing(records(path)) == {*range(first, 7)}
    found = followed([path]).report([Known("me", known)])
    assert ("gone", first, first, 6) in said(found.findings)
    log = Journal(path, "aurora", settings.Journal(), past=Past(log.head, log.last_seq))
    assert (log.last_seq, log.pending) == (7, 0)


def test_a_torn_line_and_what_is_gone_behind_it_make_one_gap(tmp_path: Path) -> None:
    """It keeps what stood of the torn one."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(journal(3)) + b'{"timest')
    log = Journal(path, "aurora", settings.Journal(), past=Past(Head(6, "0" * 32)))
    assert log.close(SOON)
    gap = records(path)[-1]
    assert (gap["seq"], gap["details"]["first"], gap["details"]["torn"]) == (6, 4, '{"timest')
    assert gap["details"]["gone"] is True


def test_what_was_never_written_is_a_gap_and_not_gone(tmp_path: Path) -> None:
    """A controller that ends while the disk is full takes records with it: their numbers are not given again."""
    path, disk = tmp_path / "events.jsonl", FakeDisk()
    log = Journal(path, "aurora", settings.Journal(), disk=disk)
    log.record("e", None, {}, AT)
    assert log.write_pending()
    disk.free = 0
    log.record("e", None, {}, AT)
    log.record("e", None, {}, AT)
    assert not log.write_pending()
    past = chain.read(json.loads(json.dumps(chain.save(Past(log.head, log.last_seq)))))
    assert past == Past(log.head, 3)
    log = Journal(path, "aurora", settings.Journal(), past=past)
    assert log.record("e", None, {}, AT)["seq"] == 4
    assert log.close(SOON)
    assert missing(records(path)) == {2, 3}
    found = followed([path]).report()
    assert (found.whole, said(found.notes)) == (True, [("gap", 2, 2, 3)])
    assert "the controller ended before it could write them" in verdict.words(found)


# --- Files


def rotated(name: str) -> Callable[[Path], Path]:
    """A backup's place."""
    return lambda path: path.with_name(path.name + name)


def test_all_files_of_a_journal_are_found_in_order(tmp_path: Path) -> None:
    """Ours, logrotate's, packed ones; no editor's copy, and none twice."""
    whole = journal(12)
    path = tmp_path / "events.jsonl"
    parts = {".10": 0, ".2.gz": 3, "-20260101": 6, ".1": 9, "": 12}
    for number, (name, _) in enumerate(parts.items()):
        data = b"".join(whole[number * 3 : number * 3 + 3])
        if name.endswith(".gz"):
            import gzip  # noqa: PLC0415 - beside its only use

            data = gzip.compress(data)
        rotated(name)(path).write_bytes(data)
    rotated(".bak")(path).write_bytes(b"".join(whole))
    rotated("~")(path).write_bytes(b"".join(whole))
    found = Chain()
    with row(path) as (opened, faults):
        for each, file in opened:
            found.file(each.name)
            for line in taken(file, each.name):
                found.take(line)
    assert faults == []
    assert [each.name.removeprefix("events.jsonl") for each, _ in opened] == [".10", ".2.gz", "-20260101", ".1", ""]
    assert found.report([Known("me", head(whole))]).whole


def test_a_rotation_while_files_are_opened_hides_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each moves up by one, the oldest to a name that was not there when the names were looked for."""
    whole = journal(12)
    path = tmp_path / "events.jsonl"
    for number, name in enumerate(["", ".1", ".2", ".3"]):
        rotated(name)(path).write_bytes(b"".join(whole[9 - number * 3 : 12 - number * 3]))
    turns = 0

    def rotates(each: Path, *arguments: int, **options: bool) -> int:
        nonlocal turns
        if each == rotated(".2")(path) and turns < 2:  # the second time it looks, too
            turns += 1
            shift(path, 9)
            path.rename(rotated(".1")(path))
            path.write_bytes(b"")
        return open_regular(each, *arguments, **options)

    monkeypatch.setattr(journal_files, "open_regular", rotates)
    found = Chain()
    with row(path) as (opened, faults):
        for each, file in opened:
            found.file(each.name)
            for line in taken(file, each.name):
                found.take(line)
    assert (faults, turns) == ([], 2)
    looked = found.report([Known("me", head(whole))])
    assert (looked.whole, looked.records, looked.notes) == (True, 12, [])


def test_what_lies_in_a_files_place_is_said(tmp_path: Path) -> None:
    """A directory in a backup's place makes nobody wait or fail."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(journal()))
    rotated(".1")(path).mkdir()
    with row(path) as (opened, faults):
        assert [each for each, _ in opened] == [path]
    assert len(faults) == 1
    with row(tmp_path / "nowhere" / "events.jsonl") as nothing:
        assert nothing == ([], [])
