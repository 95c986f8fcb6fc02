"""Ours: `aurora-circus render`, then `circusd circus.ini`, as its users do it; installed as its wheel is."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.client import HOST, Api, HttpApi, request
from benchmarks.peer import PEERS, Peer, Plan, version_of

BIN = PEERS / "aurora" / "bin"


def toml(tables: dict[str, Any], prefix: str = "") -> str:
    """Return nested tables as TOML, whose values are written like JSON's."""
    plain = "".join(f"{name} = {json.dumps(each)}\n" for name, each in tables.items() if not isinstance(each, dict))
    inner = "".join(toml(each, f"{prefix}{name}.") for name, each in tables.items() if isinstance(each, dict))
    return (f"[{prefix[:-1]}]\n" if prefix and plain else "") + plain + inner


class Aurora(Peer):
    """A fleet of the measured services with default settings but for the probes'."""

    name = "aurora"
    notes = "probe: interval 1 s, timeout 1 s, failure_threshold 1; all else as it comes"
    probes = True
    gates = True
    sigterm = True

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return version_of(BIN / "python", "aurora-circus", "circus", "tornado", "pyzmq", "waitress")

    def tables(self, plan: Plan) -> dict[str, Any]:
        """Return the fleet file's tables."""
        names = [each.name for each in self.services]
        systems: dict[str, Any] = {}
        for index, service in enumerate(self.services):
            before = names[min(index, 2) - 1 : min(index, 2)] if plan.levels else []
            systems[service.name] = {"command": service.command, "port": service.port, "depends_on": before}
        tables = {
            "fleet": {"name": "bench", "builtin": False},
            "api": {"port": self.ports[0]},
            "probe": {"interval": plan.interval, "timeout": 1.0, "failure_threshold": 1},
            **plan.settings,
        }
        return {**tables, "system": systems}

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write fleet.toml, and have circus.ini rendered."""
        (self.folder / "fleet.toml").write_text(toml(self.tables(plan)), encoding="utf-8")
        done = self.run([str(BIN / "aurora-circus"), "render", "-o", "circus.ini"])
        if done.returncode:
            raise RuntimeError(f"rendering the fleet: exit {done.returncode}, {done.stderr.decode()}")
        return [str(BIN / "circusd"), "circus.ini"]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return [str(BIN / "aurora-circus"), "down"]

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return [str(BIN / "aurora-circus"), "status"]

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        return {"http": HttpApi((HOST, self.ports[0]), request("/api/autonomous/status"))}


class AuroraUp(Aurora):
    """Brought up by `aurora-circus up`, which stays and watches circusd."""

    name = "aurora+up"
    notes = "the same, by `aurora-circus up` instead of plain circusd"
    revives = True

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write fleet.toml; `up` renders the rest."""
        super().configure(plan)
        return [str(BIN / "aurora-circus"), "up"]

    def main_pid(self) -> int:
        """Return circusd."""
        return int((self.folder / ".aurora" / "run" / "circusd.pid").read_text(encoding="utf-8"))
