"""What must survive the death of everything, as JSON values and back. Pure.

Deadlines are monotonic inside and times of day on the disk: ``shift`` is what has to be added to get the latter.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from aurora_circus.facts import Process, State
from aurora_circus.fleet import Memory
from aurora_circus.lifecycle import Lifecycle

HELD = frozenset({State.BACKOFF, State.FAILED})
"""The states that are taken up again as they were."""
_FIELDS = tuple(each.name for each in dataclasses.fields(Memory))
_TIMES = ("due", "down_since", "failed_at")


def _check(memory: Memory) -> None:
    """Refuse a memory with a value that is not of its field's type.

    Raises:
        TypeError: one is not.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "wanted": (bool,),
        "attempt": (int,),
        "restarts": (int,),
        "due": (int, float, type(None)),
        "down_since": (int, float, type(None)),
        "error": (str, type(None)),
        "failed_at": (int, float, type(None)),
        "failure": (str, type(None)),
        "port": (int, type(None)),
    }
    for name, kind in kinds.items():
        value = getattr(memory, name)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
            message = f"{name} is {value!r}"
            raise TypeError(message)


def remember(life: Lifecycle) -> Memory:
    """Return what has to be known of a system."""
    held = life.state in HELD
    return Memory(
        wanted=life.wanted,
        state=life.state,
        attempt=life.attempt,
        restarts=life.restarts,
        due=life.due if held else None,
        down_since=life.down_since,
        error=life.error if held else None,
        failed_at=life.failure and life.failure[0],
        failure=life.failure and life.failure[1],
        process=life.process,
        port=life.system.port,
    )


def at_rest(memory: Memory) -> Memory:
    """Return the memory of a system that is being taken down in good order: wanted or not, it no longer runs."""
    if memory.state in HELD:
        return memory
    return dataclasses.replace(memory, state=State.WAITING if memory.wanted else State.STOPPED)


def freeze(memories: Mapping[str, Memory], shift: float) -> dict[str, dict[str, Any]]:
    """Return ``memories`` as JSON values."""
    frozen = {}
    for key, memory in memories.items():
        values = {name: getattr(memory, name) for name in _FIELDS}  # asdict would copy each value
        for name in _TIMES:
            values[name] = None if values[name] is None else values[name] + shift
        frozen[key] = values
    return frozen


def thaw(frozen: object, shift: float) -> tuple[dict[str, Memory], list[str]]:
    """Read what :func:`freeze` returned; what makes no sense is left out and named."""
    memories: dict[str, Memory] = {}
    faults: list[str] = []
    for key, values in frozen.items() if isinstance(frozen, Mapping) else ():
        try:
            memory = Memory(**values)
            _check(memory)
            process = None if memory.process is None else Process(int(memory.process[0]), float(memory.process[1]))
            times: dict[str, Any] = {
                name: None if (at := getattr(memory, name)) is None else at - shift for name in _TIMES
            }
            memories[key] = dataclasses.replace(memory, state=State(memory.state), process=process, **times)
        except (TypeError, ValueError, OverflowError, KeyError, IndexError) as error:
            faults.append(f"what was saved of {key} is not understood and left out: {error}")
    return memories, faults
