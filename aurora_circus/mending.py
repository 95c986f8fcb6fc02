"""What circus 0.19 leaves broken for everybody, mended in the circusd that imports it.

Part of what runs inside circusd, below ``hooks``, which call this. It decides nothing and must never block.

- circusd's timers go by a clock that nobody sets. By the machine's own, one set back an hour would be an hour without a
  look at who has died, the plugin included (tornado's ``PeriodicCallback``).
- Why a process could not be started is kept, for the plugin to say. circus itself only logs it.
- A command that is waited for is answered also when it fails within circus: there, nobody would ever hear of it. And
  the answer says how it failed.
- A look at all watchers that meets somebody's command is left out, and made again a second later. circus fails there,
  with a traceback in its log each time, of which nobody learns anything.
- Whether a process lives is asked of the kernel, by one call. circus reads files of /proc for it at each look, which
  with 200 systems was most of what an idle circusd did.
- It is known whether circus refused a command that it was just given.
- A process is started without a copy of circusd, where nothing is to be done in one: to make that took 5 ms, and this
  takes 0.5.
"""

# ruff: noqa: ANN401, SLF001 - circus has no types, and what is mended here is private

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from circus import logger
from circus.arbiter import Arbiter
from circus.commands import errors
from circus.controller import Controller
from circus.process import DEAD_OR_ZOMBIE, RUNNING, UNEXISTING, Process
from circus.util import TransformableFuture
from circus.watcher import Watcher
from psutil import Popen
from tornado.ioloop import IOLoop


def install() -> None:
    """Mend this process. Once."""
    Watcher._process_class = property(_starter)
    TransformableFuture._internal_callback = _passed_on
    Controller._dispatch_callback_future = _answered
    Arbiter.manage_watchers = _looked
    if sys.platform == "linux":
        Process.status = property(_status)
    if sys.platform != "win32":
        Process.spawn = _spawned
    IOLoop.time = _time  # type: ignore[method-assign] # tornado says that it may be another clock than time.time()


def _looked(self: Any) -> Any:
    """Look after all watchers, unless a command is under way, with which circus does nothing else."""
    busy = self._restarting or self._exclusive_running_command is not None
    return None if busy else _look_after(self)


_look_after = Arbiter.manage_watchers


if sys.platform == "linux":  # elsewhere there is no such call, or not in every Python

    def _status(self: Any) -> int:
        """Return circus's word for how a child of ours is; one that has ended is left for circus to collect."""
        try:
            ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return int(UNEXISTING)
        return int(RUNNING if ended is None else DEAD_OR_ZOMBIE)


def _spawned(self: Any) -> None:
    """Start a process as circus does, which has Python run in a copy of circusd first: here that is seldom needed."""
    streams = self.close_child_stdout or self.close_child_stderr or self.pipe_stdout or self.pipe_stderr
    if streams or self.uid or self.gid or self.rlimits or self.use_fds or self._get_stdin_socket_fd() is not None:
        _spawn(self)
        return
    self.started = time.time()
    self._worker = Popen(
        self.format_args(sockets_fds=self._get_sockets_fds()),
        cwd=self.working_dir,
        shell=self.shell,
        env=self.env,
        executable=self.executable,
        stdin=subprocess.DEVNULL if self.close_child_stdin else None,
        start_new_session=True,
    )


_spawn = Process.spawn


def _passed_on(self: Any, future: Any) -> None:
    """Hand the end of what a command waits for on, be it a failure."""
    self._exception = future.exception()
    if self._exception is None:
        self._result = future.result()
    if self._upstream_callback is not None:
        self._upstream_callback(self)


def _answered(self: Any, *given: Any) -> None:
    """Answer a command that has ended, and say how it failed where circus would say "server error" alone."""
    message, client, ident, cast, _, wanted, future = given
    error = future.exception()
    if error is None or not wanted:
        _original(self, *given)
        return
    logger.error("aurora: %s failed: %s", message, error)
    reason = f"{type(error).__name__}: {error}"
    self.send_error(ident, client, message, reason, cast=cast, errno=errors.BAD_MSG_DATA_ERROR)


_original = Controller._dispatch_callback_future


def carried_out(controller: Any, dispatch: Callable[[Any, Any], Any], job: tuple[bytes | None, bytes]) -> bool:
    """Have circus carry out a command and answer it; return False when the answer is that it refuses."""
    refused: list[bool] = []
    send = controller.send_error

    def send_error(*given: Any, **named: Any) -> Any:
        refused.append(True)
        return send(*given, **named)

    controller.send_error = send_error
    try:
        dispatch(controller, job)
    finally:
        del controller.send_error
    return not refused


def _time(self: Any) -> float:
    """Return the monotonic time, which asyncio's own timers go by too."""
    return float(self.asyncio_loop.time())


def _starter(watcher: Any) -> Any:
    """Return what starts a process as circus does, and keeps why that failed."""

    def start(*given: Any, **named: Any) -> Any:
        try:
            return Process(*given, **named)
        except Exception as error:
            if "aurora_error" not in watcher.optnames:
                watcher.optnames += ("aurora_error",)
            watcher.aurora_error = str(error) or type(error).__name__
            raise

    return start
