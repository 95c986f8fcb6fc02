"""The journal read as a story: which state it leaves each system in, and where it contradicts itself. Pure.

It is the other half of the audit trail: if the records, replayed in their order, do not give the states that the API
shows, then one of the two is wrong. It must never look at anything but the records it is given.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aurora_circus.facts import State

UNTOLD = frozenset({State.WAITING, State.BACKOFF, State.STARTING})
"""States that are entered without a record of their own; who is in one of them is not judged by the journal."""
_HEALTHY = frozenset({"server_started", "server_recovered"})
_ENTERS = {
    "server_starting": State.STARTING,
    "server_unhealthy": State.UNHEALTHY,
    "server_failed": State.FAILED,
    "server_stopping": State.STOPPING,
    "server_stopped": State.STOPPED,
    **dict.fromkeys(_HEALTHY, State.HEALTHY),
}


@dataclass(slots=True)
class Chapter:
    """What the records say of one system."""

    state: State = State.STOPPED
    pid: int | None = None
    """The process that was last said to be healthy and of which no end was told."""
    attempt: int = 0


@dataclass(slots=True)
class Story:
    """What came of all records: ``last`` is the number of the newest; the rest says what is wrong, in words."""

    last: int = 0
    chapters: dict[str, Chapter] = field(default_factory=dict)
    holes: list[str] = field(default_factory=list)
    """Numbers that are missing and in no ``journal_gap``, or that come twice."""
    faults: list[str] = field(default_factory=list)
    """Contradictions."""
    taken_over: set[str] = field(default_factory=set)
    """Systems of which nothing is known but what a plugin that died had told."""


def replay(records: Iterable[Mapping[str, Any]], so_far: Story | None = None) -> Story:
    """Go through ``records``, oldest first, from the first that there is; or go on with the story ``so_far``.

    A contradiction is: a system that is healthy in a second process although no end of the first was told; a health
    that no start came before; an attempt that is neither the first nor the one after the last; more attempts than
    there are; a state in ``health_check`` that the records before it do not give.
    """
    story = so_far or Story()
    for record in records:
        _number(story, record)
        event, details = record["event"], record["details"]
        if event == "controller_started":
            story.taken_over = set(story.chapters)
            for each in story.chapters.values():  # it may have been replaced while nobody looked
                each.pid = None
            continue
        if event == "journal_gap":  # what is lost may have been about anybody
            story.chapters.clear()
            continue
        key = record["server"]
        if key is None:
            continue
        trusted = key in story.chapters and key not in story.taken_over
        chapter = story.chapters.setdefault(key, Chapter())
        where = f"seq {record['seq']}: {key}: {event}"
        if event == "server_exited":
            _exited(chapter, details)
        elif event == "restart_scheduled":
            _attempt(story, chapter, details, where, anew=not trusted)
        elif event in _HEALTHY:
            _healthy(story, chapter, details, where, known=trusted)
        elif event == "health_check":
            _check(story, chapter, details, where, known=trusted)
        if event in _ENTERS:
            chapter.state = _ENTERS[event]
        if event in {"server_starting", "server_stopped", "server_failed"} | _HEALTHY:
            story.taken_over.discard(key)
    return story


def _number(story: Story, record: Mapping[str, Any]) -> None:
    seq = int(record["seq"])
    first = int(record["details"]["first"]) if record["event"] == "journal_gap" else seq
    if story.last and first != story.last + 1:
        story.holes.append(f"number {first} follows {story.last}")
    story.last = max(story.last, seq)


def _exited(chapter: Chapter, details: Mapping[str, Any]) -> None:
    if chapter.pid in {None, details["pid"]}:
        chapter.pid = None
    if chapter.state in {State.STARTING, State.HEALTHY}:
        chapter.state = State.UNHEALTHY


def _attempt(story: Story, chapter: Chapter, details: Mapping[str, Any], where: str, *, anew: bool) -> None:
    attempt, of = int(details["attempt"]), int(details["of"])
    if not anew and attempt not in {1, chapter.attempt + 1}:
        story.faults.append(f"{where}: attempt {attempt} follows attempt {chapter.attempt}")
    if attempt > of:
        story.faults.append(f"{where}: attempt {attempt} of {of}")
    chapter.attempt = attempt
    chapter.state = State.BACKOFF


def _healthy(story: Story, chapter: Chapter, details: Mapping[str, Any], where: str, *, known: bool) -> None:
    pid = details["pid"]
    if known and chapter.pid is not None and pid != chapter.pid:
        story.faults.append(f"{where}: healthy as process {pid}, and process {chapter.pid} has not ended")
    if known and chapter.state not in {State.STARTING, State.UNHEALTHY, State.HEALTHY}:
        story.faults.append(f"{where}: healthy, and before that {chapter.state}")
    chapter.pid = pid


def _check(story: Story, chapter: Chapter, details: Mapping[str, Any], where: str, *, known: bool) -> None:
    said = State(details["state"])
    if said is State.HEALTHY:  # said on the change itself: the word of the start comes next
        if known and chapter.state in {State.STOPPED, State.FAILED}:
            story.faults.append(f"{where}: healthy, and before that {chapter.state}")
        chapter.state = State.HEALTHY
        return
    silent = UNTOLD | {State.UNHEALTHY, State.STOPPING}
    if known and said is not chapter.state and not (said in silent or chapter.state in silent):
        story.faults.append(f"{where}: {said}, but the records before say {chapter.state}")
    chapter.state = said
