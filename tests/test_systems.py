"""The five reference systems, each driven as a real process over real HTTP."""

import ast
import http.client
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aurora_circus import systems
from tests.platforms import breaks

FOLDER = Path(systems.__file__).parent
PORTS = {
    "auto_improver": 5016,
    "automation_hub": 5018,
    "autonomous_router": 5015,
    "enhancement_orchestrator": 5017,
    "master_controller": 5020,
}
METRICS = {
    "autonomous_mode": bool,
    "tasks_processed": int,
    "decisions_made": int,
    "systems_healed": int,
    "uptime": float,
    "last_activity": str,
}
JOBS = {
    "clock_step",
    "cpu_share",
    "garbage",
    "open_files",
    "parent_watch",
    "schedule_lag",
    "self_probe",
    "source_checksum",
    "threads",
}
DEADLINE = 60  # seconds until a test gives up; none depends on how long anything takes
if sys.platform == "win32":
    CREATION_FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP  # or the signal would reach the tests as well
    ENDINGS = [signal.CTRL_BREAK_EVENT]
else:
    CREATION_FLAGS = 0
    ENDINGS = [signal.SIGTERM, signal.SIGINT]


def spawn(script: Path, cwd: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """Start a system the way a fleet does: as a plain script, told its port by ``PORT``."""
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=cwd,
        env=os.environ | {"AURORA_HUB_INTERVAL": "86400", "PORT": "0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=CREATION_FLAGS,
    )


class Running:
    """A system that has said where it listens."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.first_line = self.until("listening on ")
        self.port = int(self.first_line.rpartition(":")[2])

    def until(self, text: str) -> str:
        """Read its output up to the line that holds ``text``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line.rstrip("\n")
        pytest.fail(f"it ended with {self.process.wait(DEADLINE)} before it said {text!r}")

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection to it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """Make one request; give the status and the JSON of the answer."""
        connection = self.connect()
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection.request(method, path, content)
        with connection.getresponse() as response:
            answer = json.loads(response.read())
        connection.close()
        assert isinstance(answer, dict)
        assert answer.get("success", response.status == 200) == (response.status < 400)
        return response.status, answer

    def get(self, path: str) -> dict[str, Any]:
        """Give the answer to a GET that must succeed."""
        status, answer = self.ask("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, **body: object) -> dict[str, Any]:
        """Give the answer to a POST that must succeed."""
        status, answer = self.ask("POST", path, body)
        assert status in {200, 201, 202}, answer
        return answer

    def refusal(self, path: str, **body: object) -> tuple[int, str]:
        """Give the status and the error of a POST that must not succeed."""
        status, answer = self.ask("POST", path, body)
        assert set(answer) == {"success", "error"}
        return status, str(answer["error"])

    def say(self, request: bytes) -> bytes:
        """Send bytes as they are; give all that comes back until the other side closes."""
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                return stream.read()

    def counts(self) -> tuple[int, int, int]:
        """Give tasks processed, decisions made and systems healed."""
        health = self.get("/health")
        return health["tasks_processed"], health["decisions_made"], health["systems_healed"]


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start systems by their key; whatever still runs after the test is killed."""
    with ExitStack() as stack:

        def begin(key: str, folder: Path = FOLDER, **environment: str) -> Running:
            process = stack.enter_context(spawn(folder / f"aurora_{key}.py", tmp_path, environment))
            stack.callback(process.kill)
            return Running(process)

        yield begin


every_system = pytest.mark.parametrize("key", PORTS)


@every_system
def test_a_system_is_what_the_fleet_table_says(key: str) -> None:
    """Each can be imported as a part of the package, and has the key and port of the fleet's table."""
    module = importlib.import_module(f"aurora_circus.systems.aurora_{key}")
    (found,) = [value for value in vars(module).values() if getattr(value, "key", "")]
    assert (found.key, found.port) == (key, PORTS[key])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_system_needs_the_standard_library_alone(path: Path) -> None:
    """No file of theirs imports anything but the standard library and their one shared module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    assert names <= sys.stdlib_module_names | {"_service"}


@every_system
def test_the_first_line_says_who_listens_where(start: Start, key: str) -> None:
    """A system run from any directory says its name and its real address, and is then there."""
    system = start(key)
    assert system.first_line == f"aurora_{key}: listening on 127.0.0.1:{system.port}"
    assert system.get("/health")["status"] == "healthy"


@every_system
def test_health_gives_the_six_metrics_of_a_system_that_did_nothing(start: Start, key: str) -> None:
    """A fresh system's counts are 0, its last activity is "none yet", and each metric has its type."""
    health = start(key).get("/health")
    assert {name: type(health.pop(name)) for name in METRICS} == METRICS
    assert health == {"service": key, "status": "healthy"}
    system = start(key)
    assert system.counts() == (0, 0, 0)
    assert system.get("/health")["last_activity"] == "none yet"


@every_system
def test_status_gives_the_metrics_and_more(start: Start, key: str) -> None:
    """/status has all that /health has, and more."""
    system = start(key)
    assert set(system.get("/health")) < set(system.get("/status"))


@breaks
@pytest.mark.parametrize("ending", ENDINGS)
@every_system
def test_a_system_ends_with_0_when_it_is_told_to(start: Start, key: str, ending: signal.Signals) -> None:
    """SIGTERM, SIGINT or CTRL_BREAK end a system with 0, also while somebody holds a connection open."""
    system = start(key)
    with socket.create_connection(("127.0.0.1", system.port), DEADLINE):
        system.process.send_signal(ending)
        assert system.process.wait(DEADLINE) == 0
    assert system.process.stderr is not None
    assert system.process.stderr.read() == ""


@every_system
def test_a_taken_port_ends_a_system_with_1_and_its_number(tmp_path: Path, key: str) -> None:
    """On a port that somebody else has, a system says so in one line that names the port, and exits 1."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with spawn(FOLDER / f"aurora_{key}.py", tmp_path, {"PORT": str(port)}) as process:
            output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert output == ""
    assert errors.startswith(f"aurora_{key}: cannot listen on 127.0.0.1:{port}: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("port", ["http", "5020.5", "65536", "-1"])
def test_a_port_that_is_none_ends_a_system_with_2(tmp_path: Path, port: str) -> None:
    """A PORT that is no port number is refused in one line, and never silently replaced."""
    with spawn(FOLDER / "aurora_master_controller.py", tmp_path, {"PORT": port}) as process:
        errors = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 2
    assert errors == f"PORT: found '{port}', expected an integer from 0 to 65535\n"


def test_a_connection_serves_one_request_after_another(start: Start) -> None:
    """A kept-alive connection goes on after an answer, and after an error as well."""
    connection = start("master_controller").connect()
    statuses = []
    kept = []
    for method, path in [("HEAD", "/health"), ("GET", "/nothing"), ("PUT", "/task"), ("GET", "/health")]:
        connection.request(method, path)
        kept.append(connection.sock)
        with connection.getresponse() as response:
            statuses.append(response.status)
            assert (response.read() == b"") == (method == "HEAD")
    connection.close()
    assert statuses == [200, 404, 405, 200]
    assert all(each is kept[0] for each in kept)


def test_head_is_answered_without_a_body(start: Start) -> None:
    """HEAD tells how long the answer to GET would be, and sends none of it."""
    answer = start("master_controller").say(b"HEAD /status HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 0\r\n" not in answer
    assert answer.endswith(b"\r\n\r\n")


def test_what_is_not_there_is_refused_in_json(start: Start) -> None:
    """An unknown path is a 404 that names the known ones, a wrong method a 405 with Allow."""
    system = start("master_controller")
    status, answer = system.ask("GET", "/tasks")
    assert (status, "/task/next" in answer["error"]) == (404, True)
    assert system.ask("GET", "/task/one")[0] == 404
    assert system.ask("GET", "")[0] == 404
    assert system.ask("DELETE", "/task/1")[0] == 405
    assert b"\r\nAllow: POST\r\n" in system.say(b"GET /task HTTP/1.1\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"task": {"n": NaN}}', b'{"task": {"n": 1e999}}', b"\xff", b"[" * 60_000]
)
def test_a_body_that_is_no_json_object_is_a_400(start: Start, body: bytes) -> None:
    """Broken JSON, another value than an object, and what only Python calls JSON are refused."""
    assert start("master_controller").ask("POST", "/task", body)[0] == 400


def test_a_body_has_a_bound(start: Start) -> None:
    """A body above 64 KiB is a 413, which also a caller who sends it all gets to read."""
    system = start("master_controller")
    assert system.ask("POST", "/task", b" " * 3_000_000)[0] == 413
    assert system.ask("POST", "/task", b'{"task": {}}' + b" " * 60_000)[0] == 201


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\r\nGET /health?now HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET /health HTTP/2.0\r\n\r\n", b"400 Bad Request"),
        (b"POST /task HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400 Bad Request"),
        (b"POST /task HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", b"413 Content Too Large"),
        (b"POST /task HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411 Length Required"),
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
    ],
)
def test_a_request_out_of_order_is_answered_and_ends_the_connection(
    start: Start, request_: bytes, status: bytes
) -> None:
    """What cannot be told apart from the next request is answered in JSON, and then the connection closes."""
    head, _, body = start("master_controller").say(request_).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nConnection: close" in head
    assert json.loads(body)


def test_a_caller_who_waits_for_100_continue_gets_it(start: Start) -> None:
    """A caller that asks before it sends a body is told to go on."""
    request = b"POST /task HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n"
    answer = start("master_controller").say(request + b'{"task": {}}')
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")


def test_the_master_hands_out_the_most_urgent_task_first(start: Start) -> None:
    """Tasks leave by priority and then by age, an empty queue gives null, and each hand-out counts."""
    master = start("master_controller")
    for priority in (5, 9, 1, 5):
        master.post("/task", task={"type": "fix", "of": priority}, priority=priority)
    handed = [master.post("/task/next", worker="w")["task"] for _ in range(5)]
    assert [task and task["id"] for task in handed] == [3, 1, 4, 2, None]
    assert handed[0]["task"] == {"type": "fix", "of": 1}
    assert (handed[0]["state"], handed[0]["worker"]) == ("running", "w")
    assert master.counts() == (0, 4, 0)


def test_the_master_keeps_a_result_and_counts_what_is_done(start: Start) -> None:
    """A task that is done is processed, shows its result, and cannot be handed in twice."""
    master = start("master_controller")
    before = datetime.now(UTC).replace(microsecond=0)
    answer = master.post("/task", task={})
    assert answer == {"success": True, "id": 1, "queue_size": 1}
    master.post("/task/next")
    master.post("/task/done", id=1, result=[42])
    task = master.get("/task/1")["task"]
    assert (task["state"], task["result"], task["task"]) == ("done", [42], {"type": "general"})
    assert master.refusal("/task/done", id=1) == (409, "task 1 is done, not running")
    assert master.counts() == (1, 1, 0)
    assert before <= datetime.fromisoformat(master.get("/health")["last_activity"]) <= datetime.now(UTC)


def test_the_master_heals_a_task_that_a_worker_gave_back(start: Start) -> None:
    """A failed task is queued again, which is a decision; done at a later attempt it is healed."""
    master = start("master_controller")
    master.post("/task", task={})
    master.post("/task/next")
    assert master.post("/task/done", id=1, ok=False, error="tired")["task"]["state"] == "queued"
    assert master.get("/task/1")["task"]["error"] == "tired"
    assert master.counts() == (0, 2, 0)
    assert master.post("/task/next")["task"]["attempts"] == 2
    assert master.post("/task/done", id=1)["task"]["state"] == "done"
    assert master.counts() == (1, 3, 1)


def test_the_master_gives_a_task_up_after_three_attempts(start: Start) -> None:
    """The third failure is the last: the task has failed, is processed, and is not healed."""
    master = start("master_controller")
    master.post("/task", task={})
    states = []
    for _ in range(3):
        master.post("/task/next")
        states.append(master.post("/task/done", id=1, ok=False)["task"]["state"])
    assert states == ["queued", "queued", "failed"]
    assert master.post("/task/next")["task"] is None
    assert master.counts() == (1, 6, 0)
    assert master.get("/status")["tasks"] == {"queued": 0, "running": 0, "done": 0, "failed": 1}


def test_the_master_refuses_what_is_no_task(start: Start) -> None:
    """A wrong field is a 400 that says what was found and expected; an unknown task a 404. Neither counts."""
    master = start("master_controller")
    assert master.refusal("/task") == (400, "task: found nothing, expected an object")
    assert master.refusal("/task", task=[]) == (400, "task: found [], expected an object")
    assert master.refusal("/task", task={"type": 1}) == (400, "type: found 1, expected a string")
    assert master.refusal("/task", task={}, priority=True)[0] == 400
    assert master.refusal("/task", task={}, priority=11) == (
        400,
        "priority: found 11, expected an integer from 1 to 10",
    )
    assert master.refusal("/task/done", id=7) == (404, "there is no task 7")
    assert master.ask("GET", "/task/7")[0] == 404
    assert master.counts() == (0, 0, 0)


def test_the_master_s_queue_has_a_bound(start: Start) -> None:
    """With a thousand tasks open the next is a 503, until one has ended."""
    master = start("master_controller")
    reading = threading.Thread(target=master.until, args=("task 1000 queued",))  # a pipe of Windows' holds 4 KiB
    reading.start()
    connection = master.connect()
    for _ in range(1000):
        connection.request("POST", "/task", b'{"task": {}}')
        with connection.getresponse() as response:
            response.read()
    connection.close()
    reading.join(DEADLINE)
    assert master.refusal("/task", task={})[0] == 503
    master.post("/task/done", id=master.post("/task/next")["task"]["id"])
    assert master.post("/task", task={})["queue_size"] == 1000


def test_what_a_caller_sends_cannot_forge_a_line_of_the_log(start: Start) -> None:
    """One line per work item, in ASCII, whatever the names in it."""
    master = start("master_controller")
    master.post("/task", task={"type": "é\nforged \ud800"})
    assert master.until("task 1").endswith(r"task 1 queued: '\xe9\nforged \ud800', priority 5")


def test_the_router_spreads_a_type_over_its_agents(start: Start) -> None:
    """A route goes to the agent with the least load for its capacity; one that ends frees its place."""
    router = start("autonomous_router")
    router.post("/agent", name="large", types=["paint"], capacity=6)
    router.post("/agent", name="small", types=["paint", "draw"], capacity=2)
    chosen = [router.post("/route", type="paint")["agent"] for _ in range(8)]
    assert chosen == ["large", "small", "large", "large", "small", "large", "large", "large"]
    assert router.refusal("/route", type="paint") == (503, "every agent that takes 'paint' is full")
    router.post("/route/done", route=2)
    assert router.post("/route", type="draw") == {"success": True, "route": 9, "agent": "small", "load": 2}
    assert router.counts() == (1, 9, 0)


def test_the_router_knows_the_fleet_s_own_agents(start: Start) -> None:
    """Without being told anything it routes the types that the other systems stand for."""
    router = start("autonomous_router")
    assert router.post("/route", type="fix")["agent"] == "auto_improver"
    assert router.post("/route", type="automate")["agent"] == "automation_hub"
    assert router.post("/route")["agent"] == "enhancement_orchestrator"


def test_the_router_heals_a_route_through_another_agent(start: Start) -> None:
    """A route that failed goes to an agent that has not tried it; done there it counts as healed."""
    router = start("autonomous_router")
    for name in ("one", "two"):
        router.post("/agent", name=name, types=["paint"])
    route = router.post("/route", type="paint")
    assert route["agent"] == "one"
    assert router.post("/route/done", route=1, ok=False)["agent"] == "two"
    assert router.get("/status")["agents"]["one"]["load"] == 0
    assert router.post("/route/done", route=1)["agent"] is None
    assert router.counts() == (1, 2, 1)


def test_a_route_has_failed_when_every_agent_has_tried_it(start: Start) -> None:
    """Where no agent is left, the route has ended without having been healed."""
    router = start("autonomous_router")
    router.post("/agent", name="one", types=["paint"])
    router.post("/route", type="paint")
    assert router.post("/route/done", route=1, ok=False)["agent"] is None
    assert router.refusal("/route/done", route=1) == (404, "no route 1 is under way")
    assert router.counts() == (1, 1, 0)


def test_the_router_refuses_what_nobody_takes(start: Start) -> None:
    """An unknown type is a 404, a wrong field a 400, and neither is a decision."""
    router = start("autonomous_router")
    assert router.refusal("/route", type="paint") == (404, "no agent takes 'paint'")
    assert router.refusal("/route", type=1)[0] == 400
    assert router.refusal("/agent", name="one", types=[1])[0] == 400
    assert router.counts() == (0, 0, 0)


def test_the_improver_reads_a_file_and_says_what_it_found(start: Start, tmp_path: Path) -> None:
    """Each rule finds its fault in the line where it is; the file counts once, each finding as a decision."""
    lines = [
        "def shared(a, b, c, d, e, f, g, h, i=[]):",
        "    try:",
        "        assert (a, 'always true')",
        "    except:",
        "        return eval(b) == None",
        "    try:",
        "        return c",
        "    except ValueError:",
        "        pass",
        "class _Hidden: ...",
        "async def long():",
        '    """Do nothing for long."""',
        *["    a = 1"] * 60,
    ]
    (tmp_path / "sample.py").write_text("\n".join(lines))
    improver = start("auto_improver")
    answer = improver.post("/improve", file="sample.py")
    assert [(finding["line"], finding["rule"]) for finding in answer["findings"]] == [
        (1, "many-arguments"),
        (1, "missing-docstring"),
        (1, "missing-docstring"),
        (1, "mutable-default"),
        (3, "assert-tuple"),
        (4, "bare-except"),
        (5, "compare-to-none"),
        (5, "eval"),
        (8, "swallowed-error"),
        (11, "long-function"),
    ]
    assert answer["lines"] == 72
    assert improver.counts() == (1, 10, 0)
    assert improver.get("/status")["findings"]["missing-docstring"] == 2


def test_the_improver_finds_nothing_where_nothing_is_wrong(start: Start, tmp_path: Path) -> None:
    """A good file has no findings, and is read all the same."""
    (tmp_path / "good.py").write_text('"""A constant."""\n\nANSWER = 42\n')
    improver = start("auto_improver")
    assert improver.post("/improve", file=str(tmp_path / "good.py"))["findings"] == []
    assert improver.counts() == (1, 0, 0)


@pytest.mark.parametrize("source", [b"def f(:\n", b"\0", b"# coding: nonsense\n", b"(" * 5000, b"-" * 100_000])
def test_the_improver_survives_what_does_not_parse(start: Start, tmp_path: Path, source: bytes) -> None:
    """A file that is no Python has that one finding, and the improver lives on."""
    (tmp_path / "broken.py").write_bytes(source)
    improver = start("auto_improver")
    (finding,) = improver.post("/improve", file="broken.py")["findings"]
    assert finding["rule"] == "syntax-error"
    assert improver.counts() == (1, 1, 0)


def test_the_improver_refuses_what_lies_outside_its_root(start: Start, tmp_path: Path) -> None:
    """No way of naming a file leads out of the root, whether the file exists or not."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.py").write_text("SECRET = 1\n")
    names = ["../secret.py", str(tmp_path / "secret.py"), "../nothing.py", "x/../../secret.py", ".."]
    if sys.platform != "win32":  # where making a link needs a privilege
        (root / "link.py").symlink_to(tmp_path / "secret.py")
        names.append("link.py")
    improver = start("auto_improver", AURORA_IMPROVER_ROOT=str(root))
    assert [improver.refusal("/improve", file=name)[0] for name in names] == [403] * len(names)
    assert improver.counts() == (0, 0, 0)


def test_the_improver_refuses_what_is_no_file_to_read(start: Start, tmp_path: Path) -> None:
    """A missing file or a directory is a 404, a name that can be none a 400, one above 256 KiB a 413."""
    (tmp_path / "large.py").write_bytes(b"#" * (256 * 1024 + 1))
    improver = start("auto_improver")
    assert improver.refusal("/improve", file="nothing.py")[0] == 404
    assert improver.refusal("/improve", file=".")[0] == 404
    assert improver.refusal("/improve", file="a\0b")[0] == 400
    assert improver.refusal("/improve", file="large.py")[0] == 413
    assert improver.refusal("/improve", file=None)[0] == 400
    assert improver.counts() == (0, 0, 0)


def test_the_orchestrator_runs_a_job_step_by_step(start: Start) -> None:
    """A job's steps follow one another, each keeps its result, and each is a decision to go on."""
    orchestrator = start("enhancement_orchestrator")
    steps = [{"action": "words", "text": "five words in a row"}, {"action": "checksum", "text": "123456789"}]
    assert orchestrator.ask("POST", "/job", {"name": "two", "steps": steps}) == (
        202,
        {"success": True, "id": 1},
    )
    orchestrator.until("job 1 'two' done")
    job = orchestrator.get("/job/1")["job"]
    assert job["state"] == "done"
    assert [(step["state"], step["result"]) for step in job["steps"]] == [("done", 5), ("done", "cbf43926")]
    assert orchestrator.counts() == (1, 2, 0)


def test_the_orchestrator_answers_while_a_job_waits(start: Start) -> None:
    """A job that waits for its signal holds nobody up; with the signal it goes on."""
    orchestrator = start("enhancement_orchestrator")
    steps = [{"action": "wait_for", "signal": "go", "seconds": 3600}, {"action": "words", "text": ""}]
    orchestrator.post("/job", name="patient", steps=steps)
    orchestrator.until("begins with step 1 of 2")
    assert orchestrator.get("/status")["jobs"] == {"running": 1, "done": 0, "failed": 0}
    assert orchestrator.counts() == (0, 0, 0)
    orchestrator.post("/signal", name="go")
    orchestrator.until("job 1 'patient' done")
    assert orchestrator.counts() == (1, 2, 0)
    assert orchestrator.get("/status")["signals"] == []


def test_the_orchestrator_heals_a_job_that_is_taken_up_again(start: Start) -> None:
    """A failed job is taken up at the step that failed; done at last it counts as healed."""
    orchestrator = start("enhancement_orchestrator")
    steps = [{"action": "words", "text": "a"}, {"action": "wait_for", "signal": "go", "seconds": 0}]
    orchestrator.post("/job", name="late", steps=[*steps, {"action": "words", "text": "a b"}])
    orchestrator.until("job 1 'late' failed")
    states = [step["state"] for step in orchestrator.get("/job/1")["job"]["steps"]]
    assert states == ["done", "failed", "waiting"]
    assert orchestrator.counts() == (1, 2, 0)
    orchestrator.post("/signal", name="go")
    orchestrator.post("/job/retry", id=1)
    orchestrator.until("job 1 'late' begins with step 2 of 3")
    orchestrator.until("job 1 'late' done")
    assert orchestrator.counts() == (2, 4, 1)
    assert orchestrator.refusal("/job/retry", id=1) == (409, "job 1 is done, not failed")


def test_the_orchestrator_refuses_a_job_it_could_not_do(start: Start) -> None:
    """A job with a fault in any step is refused as a whole; an unknown job is a 404."""
    orchestrator = start("enhancement_orchestrator")
    good = {"action": "words", "text": ""}
    for steps in (None, [], [good] * 101, ["words"], [good, {"action": "shell"}], [{"action": "words"}]):
        assert orchestrator.refusal("/job", steps=steps)[0] == 400
    assert orchestrator.refusal("/job", steps=[{"action": "wait_for", "signal": "x", "seconds": -1}])[0] == 400
    assert orchestrator.refusal("/job/retry", id=1) == (404, "there is no job 1")
    assert orchestrator.counts() == (0, 0, 0)


@breaks
def test_the_orchestrator_bounds_what_runs_and_ends_with_it(start: Start) -> None:
    """Beside 32 running jobs the next is a 503; told to end, the orchestrator waits for none of them."""
    orchestrator = start("enhancement_orchestrator")
    steps = [{"action": "wait_for", "signal": "never", "seconds": 3600}]
    for _ in range(32):
        orchestrator.post("/job", steps=steps)
    assert orchestrator.refusal("/job", steps=steps) == (503, "32 jobs are running")
    orchestrator.process.send_signal(ENDINGS[0])
    assert orchestrator.process.wait(DEADLINE) == 0


def test_the_hub_runs_nine_jobs_by_itself_again_and_again(start: Start) -> None:
    """Each of the nine runs at its interval; every run is the hub's own decision, and its result is kept."""
    hub = start("automation_hub", AURORA_HUB_INTERVAL="0.05")
    for _ in range(2):
        for name in sorted(JOBS):
            hub.until(f" automation {name}: ")
    status = hub.get("/status")
    assert set(status["automations"]) == JOBS
    assert all(job["runs"] >= 2 for job in status["automations"].values())
    assert all(job["result"] and job["error"] is None for job in status["automations"].values())
    assert status["tasks_processed"] >= 18
    assert status["decisions_made"] >= 18
    assert status["systems_healed"] == 0


def test_the_hub_runs_a_job_when_asked(start: Start) -> None:
    """A run on request gives its result at once; it is processed, but no decision of the hub's."""
    hub = start("automation_hub")
    results = {name: hub.post("/run", automation=name)["result"] for name in sorted(JOBS)}
    assert results["parent_watch"] == {"parent": os.getpid(), "changed": False}
    assert results["source_checksum"]["changed"] is False
    assert results["open_files"]["open_files"] >= 3
    assert hub.counts() == (9, 0, 0)
    assert hub.refusal("/run", automation="nothing")[0] == 404


def test_the_hub_is_autonomous_while_a_job_is_switched_on(start: Start) -> None:
    """With all nine switched off nothing runs by itself, and autonomous_mode says so."""
    hub = start("automation_hub")
    modes = []
    for name in sorted(JOBS):
        hub.post("/toggle", automation=name, enabled=False)
        modes.append(hub.get("/health")["autonomous_mode"])
    assert modes == [True] * 8 + [False]
    hub.post("/toggle", automation="garbage")
    assert hub.get("/health")["autonomous_mode"] is True


def test_the_hub_leaves_alone_what_is_switched_off(start: Start) -> None:
    """A job that is switched off is not run at its time, while the others are."""
    hub = start("automation_hub", AURORA_HUB_INTERVAL="0.05")
    hub.post("/toggle", automation="garbage", enabled=False)
    runs = []
    for line in ("garbage switched off", "threads: "):
        hub.until(f" automation {line}")
    for _ in range(2):
        runs.append(hub.get("/status")["automations"]["garbage"]["runs"])
        hub.until(" automation cpu_share: ")
        hub.until(" automation threads: ")
    assert runs[0] == runs[1]


def test_the_hub_counts_a_job_that_works_again_as_healed(start: Start, tmp_path: Path) -> None:
    """A job that fails is a 500 and not processed; the first run after that which works is healed."""
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    hub = start("automation_hub", folder)
    script = folder / "aurora_automation_hub.py"
    script.rename(script.with_suffix(".away"))
    assert hub.refusal("/run", automation="source_checksum")[0] == 500
    assert hub.get("/status")["automations"]["source_checksum"]["failures"] == 1
    assert hub.counts() == (0, 0, 0)
    script.with_suffix(".away").rename(script)
    for _ in range(2):
        assert hub.post("/run", automation="source_checksum")["result"]["changed"] is False
    assert hub.counts() == (2, 0, 1)


def test_a_hub_interval_that_is_none_ends_the_hub_with_2(tmp_path: Path) -> None:
    """An interval that is no number of seconds is refused in one line."""
    script = FOLDER / "aurora_automation_hub.py"
    with spawn(script, tmp_path, {"AURORA_HUB_INTERVAL": "nan"}) as process:
        errors = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 2
    assert errors == "AURORA_HUB_INTERVAL: found 'nan', expected a number from 0.0 to 86400.0\n"
