"""``check --live`` on real processes: started alone, looked at, and ended with all that belongs to them."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aurora_circus import processes, trial
from aurora_circus.clock import Clock
from aurora_circus.config import Command, Config
from aurora_circus.interrupts import Interrupted, Interrupts
from aurora_circus.settings import Probe, Restart, System
from aurora_circus.trial import Trial
from tests.e2e.harness import WINDOWS, needs_owners, unix_only
from tests.fake_fleet import fleet
from tests.free_ports import free_port

SERVICE = """
import http.server, os, signal, sys
{before}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        {request}
        self.send_response({status}); self.end_headers(); self.wfile.write({body}.encode())
    def log_message(self, *_): pass
print("up as", os.environ["AURORA_SYSTEM"], os.environ["OWN"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def service(before: str = "", request: str = "", status: int = 200, body: str = "'{\"uptime\": 3}'") -> str:
    """Return a program that serves as it is told to."""
    return SERVICE.format(before=before, request=request or "pass", status=status, body=body)


def attempt(folder: Path, program: str, *, port: int | None = None, **more: object) -> Trial:
    """Try a system that runs ``program``."""
    (folder / "program.py").write_text(program)
    base = fleet(folder)
    config: Config = replace(
        base,
        commands={"web": Command(argv=(sys.executable, "program.py"), working_dir=str(folder), circus={})},
    )
    values: dict[str, object] = {
        "key": "web",
        "title": "web",
        "port": port or free_port(),
        "graceful_timeout": 0.3,
        "env": {"OWN": "value"},
        "probe": Probe(timeout=1.0),
        "restart": Restart(start_timeout=10.0),
        **more,
    }
    with Interrupts() as interrupts:
        return trial.attempt(config, System(**values), interrupts, Clock())  # type: ignore[arg-type] # by name, as above


def gone(pid_file: Path) -> bool:
    """Say whether the process that wrote its pid runs no more; whoever has to may take his time to reap it."""
    found = processes.identify(int(pid_file.read_text()))
    return found is None or not processes.alive(found)


def test_a_healthy_system_is_ended_again(tmp_path: Path) -> None:
    """It gets the environment that circusd's hook would give it, and says what it gives."""
    before = "open('pid', 'w').write(str(os.getpid()))"
    found = attempt(tmp_path, service(before))
    assert (found.healthy, found.reason, found.given, found.left) == (True, None, frozenset({"uptime"}), False)
    assert found.latency is not None
    assert gone(tmp_path / "pid")


@unix_only
def test_one_that_ignores_sigterm_is_ended_by_force_with_its_children(tmp_path: Path) -> None:
    """The whole group goes."""
    before = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if not child:
    signal.pause()
open('pid', 'w').write(str(child))
"""
    found = attempt(tmp_path, service(before))
    assert (found.healthy, found.left) == (True, False)
    assert gone(tmp_path / "pid")


def test_one_that_dies_is_told_at_once_with_its_last_words(tmp_path: Path) -> None:
    """Nobody waits for ``start_timeout``."""
    found = attempt(tmp_path, "import nothing_like_that")
    assert not found.healthy
    assert (
        found.reason
        == "it ended by itself (exited with code 1): ModuleNotFoundError: No module named 'nothing_like_that'"
    )
    assert found.output[-1] == "ModuleNotFoundError: No module named 'nothing_like_that'"
    assert found.took < 10.0


def test_one_that_is_never_healthy_is_given_up_and_ended(tmp_path: Path) -> None:
    """After ``start_timeout``, with what the last look saw."""
    before = "open('pid', 'w').write(str(os.getpid()))"
    patience = 10.0 if WINDOWS else 1.0  # a Python starts in one second under Wine, and in more beside others
    found = attempt(tmp_path, service(before, status=500), restart=Restart(start_timeout=patience))
    assert found.reason == f"not healthy within {patience:g} s: GET /health answered 500"
    assert found.output[0] == "up as web value"
    assert gone(tmp_path / "pid")


def test_one_whose_port_is_taken_is_not_started(tmp_path: Path) -> None:
    """Its holder is named."""
    import socket  # noqa: PLC0415 - beside its only use

    needs_owners()

    with socket.create_server(("127.0.0.1", 0)) as holder:
        found = attempt(tmp_path, "open('ran', 'w')", port=holder.getsockname()[1])
    assert found.reason is not None
    assert f"is held by pid {os.getpid()}" in found.reason
    assert not (tmp_path / "ran").exists()


def test_one_that_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no such program."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    found = attempt(tmp_path, "")
    assert found.reason is not None
    assert " cannot be " in found.reason


@unix_only
def test_a_signal_leaves_nothing_running(tmp_path: Path) -> None:
    """Whenever it comes: here while it is being looked at, and again while it is being ended."""
    before = f"""
signal.signal(signal.SIGTERM, lambda *_: os.kill({os.getpid()}, signal.SIGTERM))
open('pid', 'w').write(str(os.getpid()))
"""
    request = f"os.kill({os.getpid()}, {int(signal.SIGINT)})"
    with pytest.raises(Interrupted):
        attempt(tmp_path, service(before, request, status=500))
    assert gone(tmp_path / "pid")
