"""Tells the service manager, where there is one, how this fleet is: what the plugin knows, once a look.

It is called from the plugin's own loop and from nowhere else. A thread or a timer would go on saying that all is well
when that loop is stuck, which is just what a watchdog is there to find.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aurora_circus import liveness, notify
from aurora_circus.errors import MachineError
from aurora_circus.liveness import Liveness, View

if TYPE_CHECKING:
    from aurora_circus.driver import Driver

log = logging.getLogger(__name__)


class Standing:
    """Where this fleet stands with its service manager."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Take from the environment who that is, and how often it wants to hear of us."""
        self._notifier = notify.Notifier.of(environ)
        self._liveness = Liveness(notify.watchdog(environ))
        self._trouble: str | None = None

    def look(self, driver: "Driver") -> None:
        """Say what is new, and that we are well where we are."""
        if self._notifier is None:
            return
        if driver.draining:
            self.end(driver, "")
        else:
            self._say(self._liveness.look(driver.clock.monotonic(), view(driver)))

    def end(self, driver: "Driver | None", why: str) -> None:
        """Say that the plugin ends."""
        if driver is None or not driver.draining:
            self._say(self._liveness.gone(f"nobody watches the systems until the next plugin is there: {why}"))
        elif driver.orderly:
            self._say(self._liveness.over(whole=True, why="the fleet is being taken down"))
        else:
            self._say(
                self._liveness.over(whole=False, why="all is stopped, by circusctl; circusctl start brings it up")
            )

    def _say(self, text: str | None) -> None:
        if text is None or self._notifier is None:
            return
        try:
            self._notifier.send(text)
        except MachineError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                log.error("%s", error)
        else:
            self._trouble = None


def view(driver: "Driver") -> View:
    """Return what the plugin sees now."""
    now = driver.clock.monotonic()
    with driver.lock:
        late = liveness.late(driver.fleet, now)
        states = {each.system.key: each.state for each in driver.fleet}
    journal = driver.journal
    return View(
        states=states,
        circusd=liveness.answers(now, driver.looked_at, driver.trouble),
        late=late,
        trouble=driver.trouble,
        unwritten=driver.state_error if journal.writable else journal.last_error or "the journal",
    )
