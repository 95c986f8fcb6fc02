"""What survives the crash of everything: one small JSON file, replaced as a whole or not at all. An adapter.

It holds what the operator wished and what was tried so far. It must never hold up the event loop: a thread
writes it, only the latest state counts, and a state that comes while another is being written simply takes
its place. Unlike the journal it is synced to the disk, since it is rarely written and must outlive a power
cut.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aurora_circus import means
from aurora_circus.background import Background
from aurora_circus.files import open_regular, remove, replace

_log = logging.getLogger(__name__)

RATE = 1 << 20
"""Bytes of it that are written in a second at most, while nobody waits for that. Of five systems that means at once,
and that of hundreds changes hundreds of times a second while they start."""
_MAX_BYTES = 16 << 20
"""What is larger was never ours."""


class StateFile:
    """The file at ``path``, mode 0600. Its directory, if missing, is made with mode 0700."""

    def __init__(self, path: str | Path, retry: float = 1.0) -> None:
        """``retry`` is in seconds: how long after a failed write the next one is tried."""
        self._path = Path(path)
        self._background = Background("state", self._write, retry, self._rest)
        self._wanted: Callable[[], Mapping[str, Any]] | None = None
        """Returns what shall be in the file; None: there shall be no file."""
        self._made: tuple[object, bytes | None] = (None, None)
        """What was last made for the file, and of what."""
        self._written: tuple[bytes | None] | None = None
        """What was last put there by us."""
        self.fault: str | None = None
        """Why :meth:`load` returned nothing although there was a file."""
        self.last_error: str | None = None
        """Why the latest state is not in the file yet."""

    def load(self) -> dict[str, Any]:
        """Return what was saved last; ``{}`` if there is nothing that can be read, see :attr:`fault`.

        A file that makes no sense is kept beside this one as ``….corrupt``.
        """
        self.fault = None
        try:
            with os.fdopen(open_regular(self._path, os.O_RDONLY), "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self.fault = f"{self._path}: cannot be read: {error}"
            return {}
        try:
            state = json.loads(data)
        except (ValueError, RecursionError) as error:
            return self._set_aside(str(error))
        return state if isinstance(state, dict) else self._set_aside("found no JSON object")

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Have what ``state`` returns written in place of all before it; returns at once.

        It is called in the thread that writes, and not at all where a later one comes first.
        """
        self._wanted = state
        self._wake()

    def look(self) -> None:
        """Have what was saved written again where somebody has removed the file; from any thread."""
        if self._written is not None and self._path.exists() != (self._written[0] is not None):
            self._wake()

    def clear(self) -> None:
        """Have the file removed; returns at once."""
        self._wanted = None
        self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait until the latest state is on the disk, ``timeout`` seconds at most; return whether it is."""
        return self._background.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Wait like :meth:`flush`, and end the thread."""
        return self._background.close(timeout)

    def _wake(self) -> None:
        self._background.start()
        self._background.wake()

    def _set_aside(self, reason: str) -> dict[str, Any]:
        aside = self._path.with_name(f"{self._path.name}.corrupt")
        self.fault = f"{self._path}: {reason}; kept as {aside.name}"
        try:
            replace(self._path, aside)
        except OSError as error:
            self.fault = f"{self._path}: {reason}; cannot be kept as {aside.name}: {error}"
        return {}

    def _write(self) -> bool:
        wanted = self._make()
        if self._written == (wanted,) and self._path.exists() == (wanted is not None):
            return True
        try:
            if wanted is None:
                with suppress(FileNotFoundError):
                    remove(self._path)
            else:
                self._replace(wanted)
        except OSError as error:
            self._report(f"{self._path}: cannot be written: {means.told(error)}")
            return False
        self._written = (wanted,)
        self._report(None)
        return True

    def _rest(self) -> float:
        return len((self._written and self._written[0]) or b"") / RATE

    def _make(self) -> bytes | None:
        state = self._wanted
        if self._made[0] is not state:
            self._made = state, None if state is None else json.dumps(state()).encode() + b"\n"
        return self._made[1]

    def _replace(self, data: bytes) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # named after the process: a plugin that is being replaced may write while the next one begins
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            with os.fdopen(open_regular(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            replace(draft, self._path)
        except OSError:
            with suppress(OSError):
                draft.unlink()
            raise
        with suppress(OSError):  # the name is on the disk only when the directory is; Windows cannot open one
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _report(self, error: str | None) -> None:
        if error == self.last_error:
            return
        self.last_error = error
        if error is None:
            _log.info("%s: is written again", self._path)
        else:
            _log.error("%s", error)
