"""The circus plugin: one process under circusd that watches the fleet. It holds the loop, the threads and the driver.

circusd runs it by circus's own plugin runner and starts it again whenever it ends. It reads what it must know from
circusd (``options``), takes over what runs, and serves the API. It ends when circusd does, and by itself when its loop
hangs for :data:`HANG` seconds: then it leaves the stacks of all its threads in its log.
"""

import asyncio
import contextlib
import faulthandler
import logging
import os
import random
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from circus.plugins import CircusPlugin
from zmq.eventloop.zmqstream import ZMQStream

from aurora_circus import chain, ports, processes, settings
from aurora_circus.access import Tokens
from aurora_circus.api import Api
from aurora_circus.backend import Backend
from aurora_circus.clock import Clock
from aurora_circus.control import BUSY_PAUSE, Control
from aurora_circus.driver import LOOK_EVERY, Driver
from aurora_circus.endpoints import guard
from aurora_circus.errors import AuroraError, CircusError, CircusRefusedError, MachineError
from aurora_circus.facts import Process
from aurora_circus.fleet import Fleet
from aurora_circus.journal import Journal
from aurora_circus.marks import PLUGIN
from aurora_circus.server import ApiServer, PortTakenError
from aurora_circus.standing import Standing
from aurora_circus.statefile import StateFile
from aurora_circus.stops import Stops
from aurora_circus.tether import GONE, Tether

HANG = 10.0
"""Seconds without a turn of the event loop after which this process gives itself up, at most :data:`ARM` less."""
ARM = 2.5
"""Seconds for which that is not put off again: it takes a thread each time, which is half of what a turn costs."""
ASK = 2
"""Turns between two questions to circusd: each wakes it, too, and what happens there is told as an event besides."""
DRIFT = 0.05
"""Seconds by which a turn comes earlier while probes are due at other times, until it comes when they do."""
OURS = "aurora-plugin-"
"""Begins the name that our commands come to circusd by; ``hooks`` knows it."""
THREADS = 4
"""Threads for looks at files and sockets that might take long."""
STOP_PATIENCE = 2.0
"""Seconds for the last facts of an orderly shutdown to come in."""
END_PATIENCE = 5.0
"""Seconds for an earlier plugin that is on its way out."""
WRITE_PATIENCE = 1.0
"""Seconds for the journal to reach the disk at the end; who waits longer for a full one is away for as long."""
SWITCH = 0.001
"""Seconds that one thread has the interpreter to itself while others wait. With Python's own 0.005, the loop and who
asks how things are would wait too long beside a few clients who ask for much."""

log = logging.getLogger(__name__)


class AuroraPlugin(CircusPlugin):  # type: ignore[misc] # circus has no types
    """Watches one fleet. Its configuration names the watcher that holds the fleet's settings (``watcher:aurora``).

    In a stock ``[plugin:NAME]`` section that is the section itself. circus hands its options on by an unquoted command
    line: there the JSON of ``fleet`` is percent-encoded.
    """

    name = "aurora"

    def __init__(self, *arguments: Any, **config: Any) -> None:  # noqa: ANN401 - circus decides what it hands over
        """Keep what circus hands over; nothing happens before :meth:`handle_init`."""
        super().__init__(*arguments, **config)
        self._id: bytes = OURS.encode() + uuid.uuid4().hex.encode()
        self._watcher = config.get("watcher") or config.get("name") or PLUGIN
        self._clock = Clock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="look")
        self._driver: Driver | None = None
        self._api: ApiServer | None = None
        self._api_trouble: str | None = None
        self._ending: str | None = None
        self._stale = False
        """Whether circusd's watchers may have changed since they were read."""
        self._configuring = False
        self._standing = Standing(os.environ)
        self._turns = 0
        self._armed = -ARM
        """When the end of this process was put off last, by the loop's clock."""
        self._turn = asyncio.Event()
        """Set once a second: what is done so often is done at once, since to wake up costs more than most of it."""

    # --- circus's side ---------------------------------------------------------------------------------------------

    def initialize(self) -> None:
        """Connect to circusd, and begin as soon as the loop runs."""
        super().initialize()
        self._aio: asyncio.AbstractEventLoop = self.loop.asyncio_loop
        self._stream = ZMQStream(self.client, self.loop)
        self._control = Control(self._stream.send, self._runs)
        self._tether = Tether(self._aio, self._clock, self._stream.send, self._end)
        self._stream.on_recv(self._heard)
        sys.setswitchinterval(SWITCH)
        self._stops = Stops(self._aio, self._end, lambda: log.info("SIGHUP: nothing is bounced for that"))
        self._fall_with_a_thread()
        self._alive()
        self.loop.add_callback(self._main)

    def _heard(self, frames: Sequence[bytes]) -> None:
        self._tether.answered()
        self._control.receive(frames[-1])

    def handle_recv(self, data: Sequence[bytes]) -> None:
        """Take an event of circusd's: a hint that makes things faster, never the truth."""
        if self._driver is None:
            return
        name, event, message = self.split_data(data)
        said: Mapping[str, Any] = self.load_message(message)
        if event == "command":
            if int(said["seq"]) != self._driver.heard + 1:  # an event was lost: all are read
                self._driver.start(self._catch_up(self._driver), "reading circusd's commands")
            elif self._driver.hear([said]):
                self._changed(self._driver)
        elif event == "reap":
            self._driver.reaper.word(int(said["process_pid"]), int(said["exit_code"] or 0))
        elif event == "spawn":
            self._driver.hinted(name, int(said["process_pid"]))

    # --- our side --------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        try:
            self._driver = await self._begin()
            while self._ending is None:
                await self._turn.wait()
                self._turn.clear()
                await self._driver.run(self._round(self._driver), "look at circusd")
                self._standing.look(self._driver)
        except Exception:
            log.exception("cannot go on; circusd starts me again")
            self._leave(1)

    async def _begin(self) -> Driver:
        guard(self.endpoint)
        held = set(await self._control.pids(self._watcher))
        me = next((each for each in processes.lineage() if each.pid in held), None)
        if me is None:
            # the circusd that started us died while we did: its successor, on the same sockets, has another plugin
            message = f"circusd does not hold this process for its watcher {self._watcher}"
            raise CircusError(message)
        self._stops.answer_for(me)
        self._tether.follow(await self._control.circusd())
        circusd = self._tether.process
        options = await self._control.options(self._watcher)
        text = options["fleet"]
        common = settings.loads(settings.Fleet, text if text.startswith("{") else unquote(text))
        systems, pids, faults = await self._systems(common)
        state = StateFile(Path(common.run_dir) / "state.json")
        saved = state.load()
        await self._end_earlier(saved)
        journal = Journal(
            Path(common.log_dir) / "events.jsonl", common.name, common.journal, past=chain.read(saved.get("journal"))
        )
        journal.start()
        now = self._clock.monotonic()
        spread = random.SystemRandom()
        fleet = Fleet(systems, now, heartbeat=common.journal.heartbeat, spread=lambda: spread.uniform(-1.0, 1.0))
        driver = Driver(
            fleet,
            clock=self._clock,
            control=self._control,
            journal=journal,
            state=state,
            threads=self._threads,
            common=common,
            circusd=circusd,
            catch_up=lambda: self._catch_up(driver),
        )
        if state.fault is not None:
            log.error("%s", state.fault)
        memories = driver.recall(saved)
        driver.record("controller_started", None, {"pid": os.getpid(), "circusd": circusd and circusd.pid})
        replaced = self._tether.replaces
        if replaced is not None and saved.get("circusd") != [*(circusd or ())]:  # no earlier plugin has told it
            driver.record("circusd_replaced", None, replaced)
        absent = sorted(set(common.systems) - {each.key for each in systems})
        driver.record(
            "config_loaded", None, {"systems": [each.key for each in systems], "missing": absent, "faults": faults}
        )
        adopted = driver.adopt(memories, pids, await driver.leftovers(memories))
        if adopted:
            log.info("taken over: %s", ", ".join(adopted))
        self._driver = driver
        await self._catch_up(driver)
        self._serve(driver)
        driver.begin()
        return driver

    async def _end_earlier(self, saved: Mapping[str, Any]) -> None:
        """End an earlier plugin of this fleet where one is left, such as one that was stopped when its circusd died.

        It holds the API's port, and once continued it would write on in the journal: there is one brain. One that is
        just ending has the time for that.
        """
        match saved.get("controller"):
            case [int(pid), int(started) | float(started)] if saved.get("boot") == processes.boot():
                earlier = Process(pid, float(started))
            case _:
                return
        if earlier in processes.lineage() or not processes.alive(earlier):
            return
        if not processes.stopped(earlier):
            await self._aio.run_in_executor(self._threads, processes.await_end, earlier, END_PATIENCE)
        if processes.end(earlier):
            log.warning("an earlier plugin of this fleet (pid %s) was still there: it is ended by force", earlier.pid)
            await self._aio.run_in_executor(self._threads, processes.await_end, earlier, END_PATIENCE)

    async def _systems(self, common: settings.Fleet) -> tuple[list[settings.System], dict[str, list[int]], list[str]]:
        """Read every system's settings from circusd, with the processes it holds; what cannot be read is said."""
        systems, pids, faults = [], {}, []
        order = {key: number for number, key in enumerate(common.systems)}
        told = (await self._told("aurora_systems")).get("aurora_systems")
        for name, each in (await self._watchers() if told is None else told).items():
            try:
                system = settings.loads(settings.System, each["aurora"])
                place = (-int(each["priority"]), order.get(name, len(order)))
                systems.append((place, system))
            except ValueError as error:
                faults.append(f"{name}: {error}")
                log.error("watcher %s: its aurora option is not understood: %s", name, error)
                continue
            pids[name] = each["pids"]
        systems.sort(key=lambda each: each[0])
        return [each for _, each in systems], pids, faults

    async def _watchers(self) -> dict[str, Mapping[str, Any]]:
        """Ask for the same one by one, where our hooks have nothing to say."""
        found: dict[str, Mapping[str, Any]] = {}
        statuses = await self._control.statuses()
        for name in await self._control.watchers():
            options = await self._control.options(name)
            if name == self._watcher or "aurora" not in options:
                continue  # circusctl add: it is not managed by us
            running = statuses.get(name) != "stopped"
            found[name] = {**options, "pids": await self._control.pids(name) if running else []}
        return found

    def _changed(self, driver: Driver) -> None:
        """Have the watchers looked at again, beside everything else: circusd may take its time with them."""
        self._stale = True
        if not self._configuring:
            driver.start(self._configure(driver), "looking at changed watchers")

    async def _configure(self, driver: Driver) -> None:
        """Take changed, new and removed watchers up, once circusd is done with its ``reloadconfig``."""
        self._configuring = True
        try:
            while self._stale:
                while (await self._told("aurora_busy")).get("aurora_busy") == "arbiter_reload_config":  # noqa: ASYNC110 - nobody says when
                    await asyncio.sleep(BUSY_PAUSE)
                self._stale = False
                try:
                    systems, _, faults = await self._systems(driver.common)
                except BaseException:
                    self._stale = True  # they are looked at again with the next round
                    raise
                driver.configure(systems, faults)
        finally:
            self._configuring = False

    async def _round(self, driver: Driver) -> None:
        """Look at the truth once, and do what has to be done once a second."""
        driver.look()
        if not self._turns % ASK:
            try:
                if await driver.ask(await self._news(driver)) or self._stale:
                    self._changed(driver)
                driver.trouble = None
            except CircusError as error:
                if driver.trouble is None:
                    log.error("%s", error)
                driver.trouble = str(error)
        driver.look_after_files()
        if self._api is None:
            self._serve(driver)

    async def _catch_up(self, driver: Driver) -> None:
        """Take note of what circusd was told and we did not hear."""
        await self._news(driver)

    async def _news(self, driver: Driver) -> object:
        """Do so; return what stands for how circusd's watchers are."""
        told = await self._told("aurora_heard", "aurora_watchers")
        if told.get("aurora_heard") not in {None, driver.heard} and driver.hear(
            (await self._told("aurora_commands")).get("aurora_commands") or []
        ):
            self._changed(driver)
        return told.get("aurora_watchers")

    async def _told(self, *keys: str) -> Mapping[str, Any]:
        """Return what our hooks in circusd say; nothing where they have nothing to say."""
        try:
            return await self._control.get(self._watcher, *keys)
        except CircusRefusedError:
            return {}

    def _serve(self, driver: Driver) -> None:
        """Open the API; a taken port costs the API and nothing else, and is tried again each second."""
        api = driver.common.api
        try:
            tokens = Tokens(full=_token(api.token_file), read=_token(api.read_token_file))
            app = Api(Backend(driver, self._aio), host=api.host, tokens=tokens)
            server = ApiServer(app, api.host, api.port)
            server.start()
        except (AuroraError, OSError) as error:
            if self._api_trouble != str(error):
                self._api_trouble = str(error)
                log.error("the API cannot be opened, the fleet is supervised all the same: %s", error)
                if isinstance(error, PortTakenError):
                    holder = ports.holder(api.port)
                    who = {"pid": holder and holder.pid, "command": holder and holder.command}
                    driver.record("port_conflict", None, {"port": api.port, **who, "error": str(error)})
                else:
                    driver.record("controller_error", None, {"step": "opening the API", "error": str(error)})
            return
        self._api, self._api_trouble = server, None

    # --- ends ------------------------------------------------------------------------------------------------------

    def _end(self, why: str) -> None:
        """Come to an orderly end."""
        if self._ending is None:
            self._ending = why
            self._aio.create_task(self._finish(why))

    async def _finish(self, why: str) -> None:
        driver = self._driver
        self._standing.end(driver, why)
        if driver is not None:
            if driver.draining:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(driver.stopped.wait(), STOP_PATIENCE)
            driver.drilling.close()
            orderly = driver.draining and (why != GONE or driver.stopped.is_set())  # else it died over it
            driver.record("controller_stopped", None, {"pid": os.getpid(), "why": why, "orderly": orderly})
            driver.close(orderly=orderly)
        if self._api is not None:
            self._api.stop(1.0)
        if driver is not None:
            driver.journal.close(WRITE_PATIENCE)
        if why == GONE and self._tether.keeps(draining=self._leaves(), keeper_works=False):  # its keeper may be ending
            try:
                self._tether.replace()
            except OSError:
                log.exception("the next circusd cannot be started")
        self._leave(0)

    def _leave(self, code: int) -> None:
        """End this process at once: circus's own way out waits for threads that may hang."""
        try:
            logging.shutdown()
        finally:
            os._exit(code)

    def _alive(self) -> None:
        """Do what is done once a second, come what may.

        The moment at which the C-level watchdog dumps all stacks and ends this process is put off with it.
        """
        try:
            now = self._aio.time()
            if now >= self._armed + ARM:
                faulthandler.dump_traceback_later(HANG, exit=True)
                self._armed = now
            self._turns += 1
            self._tether.beat(keeps=self._keeps)
        except Exception:  # such as no memory for the watchdog's thread
            log.exception("cannot go on; circusd starts me again")
            self._leave(1)
        self._turn.set()
        apart = False
        try:
            apart = self._driver is not None and self._driver.beat()
        finally:
            self._aio.call_later(LOOK_EVERY - (DRIFT if apart else 0.0), self._alive)

    def _keeps(self) -> bool:
        return self._tether.keeps(draining=self._driver is not None and self._driver.draining)

    def _leaves(self) -> bool:
        """Say whether circusd was told to end for good; a restart of everything is no such wish."""
        return self._driver is not None and self._driver.orderly

    def _fall_with_a_thread(self) -> None:
        """End this process when memory is out, or when a thread ends by an error: nothing brings it back but circusd.

        Whatever goes on without the one that writes the journal, or forgets what it was about to do, only looks alive.
        """

        def thread(told: threading.ExceptHookArgs) -> None:
            try:
                name = told.thread and told.thread.name
                log.critical("thread %s ended; circusd starts me again", name, exc_info=told.exc_value)
            finally:
                self._leave(1)

        def loop(aio: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
            if isinstance(told.get("exception"), MemoryError):
                try:
                    log.critical("out of memory; circusd starts me again")
                finally:
                    self._leave(1)
            aio.default_exception_handler(told)

        threading.excepthook = thread
        self._aio.set_exception_handler(loop)

    @staticmethod
    def _runs(pid: int) -> bool:
        try:
            process = processes.identify(pid)
        except MachineError:
            return True  # who is there may live, and is not to be ended for that it cannot be seen
        return process is not None and processes.alive(process)


def _token(path: str | None) -> str | None:
    return None if path is None else Path(path).read_text(encoding="utf-8").strip()
