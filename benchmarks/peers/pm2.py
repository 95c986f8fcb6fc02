"""pm2 of Node.js, in fork mode."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from benchmarks.client import Api
from benchmarks.peer import HERE, PEERS, Peer, Plan, environment

MODULE = PEERS / "pm2" / "node_modules" / "pm2"


class Pm2Api:
    """pm2's own call of its daemon, by its own library."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._env = env
        self._folder = folder

    def series(self, calls: int, *, clients: int = 1, fresh: bool = False, seconds: float = 20.0) -> list[float]:
        """Call so often, or for so long, and return the seconds that each call took."""
        words = [str(MODULE), str(calls), str(clients), "fresh" if fresh else "kept", str(seconds)]
        done = subprocess.run(
            ["node", str(HERE / "callers" / "pm2_calls.js"), *words],  # noqa: S607 - the PATH's, as pm2's user has it
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=True,
        )
        return [float(each) for each in json.loads(done.stdout.strip().splitlines()[-1])]


class Pm2(Peer):
    """As it comes."""

    name = "pm2"
    notes = "fork mode, interpreter none, vizion off, all else as it comes"
    app: ClassVar[dict[str, int]] = {}
    """More for each app."""

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        said = json.loads((MODULE / "package.json").read_text(encoding="utf-8"))
        node = subprocess.run(
            [shutil.which("node") or "node", "--version"],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return {"pm2": said["version"], "node": node.stdout.strip().removeprefix("v")}

    def environment(self) -> dict[str, str]:
        """Return what it is started and commanded with: a home of its own."""
        return {**super().environment(), "PM2_HOME": str(self.folder / "pm2"), "PM2_DISABLE_VERSION_CHECK": "true"}

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write its list of apps."""
        del plan  # it asks for no health
        apps = [
            {"name": each.name, "script": each.argv[0], "args": each.argv[1:], "interpreter": "none", "vizion": False}
            | self.app
            for each in self.services
        ]
        (self.folder / "apps.json").write_text(json.dumps({"apps": apps}), encoding="utf-8")
        return self.command("start", "apps.json")

    @staticmethod
    def command(*words: str) -> Sequence[str]:
        """Return a command of pm2's."""
        return ["node", str(MODULE / "bin" / "pm2"), *words]

    def main_pid(self) -> int:
        """Return its daemon."""
        file = self.folder / "pm2" / "pm2.pid"
        return int(file.read_text(encoding="utf-8")) if file.exists() else 0

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return self.command("kill")

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return self.command("list")

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        return {"rpc": Pm2Api(self.environment(), self.folder)}


class Pm2Backoff(Pm2):
    """With its growing delay between restarts."""

    name = "pm2+backoff"
    notes = "exp_backoff_restart_delay 100"
    app: ClassVar[dict[str, int]] = {"exp_backoff_restart_delay": 100}
