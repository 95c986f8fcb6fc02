"""Debian's monit, whose services are daemons with a pidfile."""

from collections.abc import Sequence

from benchmarks.client import HOST, Api, HttpApi, request
from benchmarks.peer import Peer, Plan
from benchmarks.peers.debian import debian_version

SCRIPT = """\
#!/bin/sh
case "$1" in
start)
    setsid {command} </dev/null >/dev/null 2>&1 &
    echo $! >{pidfile} ;;
stop)
    pid=$(cat {pidfile})
    kill "$pid"
    for turn in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done
    kill -9 "$pid" ;;
esac
"""
"""A stop that takes a second at most: what ignores SIGTERM is killed."""
STOP = """\
monit -c {rc} stop all
for file in svc*.pid; do while kill -0 "$(cat "$file")" 2>/dev/null; do sleep 0.02; done; done
monit -c {rc} quit
"""
"""monit alone would leave its services running."""


class Monit(Peer):
    """Checking as often as it can."""

    name = "monit"
    notes = "set daemon 1 (the least it takes), start and stop scripts, http check with timeout 1 s, 1 cycle → restart"
    probes = True

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the versions of all that this is."""
        return debian_version("monit")

    def configure(self, plan: Plan) -> Sequence[str]:
        """Write monitrc, and a script for each service."""
        lines = [f"set daemon {plan.interval:g}", f"set logfile {self.folder}/monit.log"]
        lines += [f"set {what}file {self.folder}/monit.{what}" for what in ("pid", "id", "state")]
        lines += [f"set httpd port {self.ports[0]} and use address {HOST}", "  allow localhost"]
        for service in self.services:
            pidfile, script = self.folder / f"{service.name}.pid", self.folder / f"{service.name}.sh"
            script.write_text(SCRIPT.format(command=service.command, pidfile=pidfile), encoding="utf-8")
            script.chmod(0o755)
            lines += [f"check process {service.name} with pidfile {pidfile}"]
            lines += [f'  {verb} program = "{script} {verb}" with timeout 10 seconds' for verb in ("start", "stop")]
            lines += [f'  if failed host {HOST} port {service.port} protocol http request "/health"']
            lines += ["  with timeout 1 seconds for 1 cycles then restart"]
        file = self.folder / "monitrc"
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        file.chmod(0o600)
        return ["monit", "-I", "-c", str(file)]

    def stop_command(self) -> Sequence[str]:
        """Return what stops everything, and it."""
        return ["sh", "-c", STOP.format(rc=self.folder / "monitrc")]

    def status_command(self) -> Sequence[str]:
        """Return what shows the state of every service."""
        return ["monit", "-c", str(self.folder / "monitrc"), "summary"]

    def apis(self) -> dict[str, Api]:
        """Return its status calls by their names."""
        return {"http": HttpApi((HOST, self.ports[0]), request("/_status?format=xml"))}
