"""Stock circus: one watcher a service, its own respawning, its own plugins where they help."""

import shlex
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.client import HOST, Api, ZmqApi
from benchmarks.peer import HERE, PEERS, Peer, Plan, version_of

BIN = PEERS / "circus" / "bin"


class Circus(Peer):
    """As it comes: it looks for dead children every 5 s."""

    name = "circus"
    notes = "one watcher a service, all else as it comes (check_delay 5)"
    sigterm = True
    period = 5.0
    options: ClassVar[tuple[str, ...]] = ()
    """More for its own section."""
    watcher: ClassVar[tuple[str, ...]] = ()
    """More for each watcher's."""
    flapping: ClassVar[bool] = False

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return version_of(BIN / "python", "circus", "tornado", "pyzmq")

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write circus.ini."""
        endpoints = [f"tcp://{HOST}:{port}" for port in self.ports]
        lines = ["[circus]", f"endpoint = {endpoints[0]}", f"pubsub_endpoint = {endpoints[1]}", "statsd = False"]
        lines += self.options
        for index, service in enumerate(self.services):
            lines += [f"[watcher:{service.name}]", f"cmd = {service.argv[0]}"]
            lines += [f"args = {shlex.join(service.argv[1:])}", "copy_env = True"]
            lines += [f"priority = {len(self.services) - index}", *self.watcher]
            if self.probes:
                lines += [f"[plugin:http-{service.name}]", "use = http_observer.HttpObserver"]
                lines += [f"loop_rate = {plan.interval:g}", "timeout = 1", f"restart_on_error = {service.name}"]
                lines += [f"check_url = http://{HOST}:{service.port}/health"]
        if self.flapping:
            lines += ["[plugin:flapping]", "use = circus.plugins.flapping.Flapping"]
        (self.folder / "circus.ini").write_text("\n".join([*lines, ""]), encoding="utf-8")
        return [str(BIN / "circusd"), "circus.ini"]

    def environment(self) -> dict[str, str]:
        """Return what it is started with: the repaired plugin is found."""
        return {**super().environment(), "PYTHONPATH": str(HERE / "callers")}

    def control(self, *words: str) -> Sequence[str]:
        """Return a command for circusctl."""
        return [str(BIN / "circusctl"), "--endpoint", f"tcp://{HOST}:{self.ports[0]}", *words]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return self.control("quit")

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return self.control("status")

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        return {"zmq": ZmqApi(f"tcp://{HOST}:{self.ports[0]}")}


class CircusFast(Circus):
    """Looking for dead children ten times a second."""

    name = "circus-0.1"
    notes = "check_delay 0.1"
    options = ("check_delay = 0.1",)
    period = 1.0


class CircusHttp(CircusFast):
    """With the one plugin of its own that asks for health; it had to be repaired to run at all."""

    name = "circus-0.1+http"
    notes = "check_delay 0.1; circus's http_observer, one for each service, every 1 s, timeout 1 s: repaired, not stock"
    probes = True


class CircusFlapping(Circus):
    """With its plugin against crash loops."""

    name = "circus+flapping"
    notes = "check_delay 1; circus's flapping plugin as it comes"
    options = ("check_delay = 1",)
    flapping = True


class CircusChildren(Circus):
    """Told to stop children too."""

    name = "circus+children"
    notes = "check_delay 1, stop_children"
    options = ("check_delay = 1",)
    watcher = ("stop_children = True",)
