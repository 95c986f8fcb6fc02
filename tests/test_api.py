"""The REST API over real sockets, in front of a backend that does what the test says."""

import http.client
import logging
from collections.abc import Iterator

import pytest

from aurora_circus import query
from aurora_circus.errors import MachineError, UnknownServerError
from tests.fake_backend import PATIENCE, ROOT, Aside, FakeOperation, Served, serve, system

VERBS = ("start", "stop", "restart")


@pytest.fixture
def served() -> Iterator[Served]:
    """The API of two healthy systems."""
    with serve() as it:
        yield it


# --- Looking ---------------------------------------------------------------------------------------------


def test_status_is_one_object_a_system(served: Served) -> None:
    """Status has every system by its key, as the backend gives it."""
    answer = served.client.get(f"{ROOT}/status")
    assert answer.status == 200
    assert answer.json == {"brain": system(5020), "router": system(5021)}


def test_status_of_one(served: Served) -> None:
    """A key at the end of the path asks for that system alone."""
    assert served.client.get(f"{ROOT}/status/router").json == system(5021)


def test_one_system_survives_what_json_cannot_hold(served: Served) -> None:
    """A system that counts in NaN and infinities gets nulls."""
    served.backend.systems["brain"] |= {"uptime": float("nan"), "reported": [float("inf"), "uptime"]}
    answer = served.client.get(f"{ROOT}/status/brain").json
    assert (answer["uptime"], answer["reported"]) == (None, [None, "uptime"])


def test_explain_and_logs(served: Served) -> None:
    """``explain`` is the backend's word; ``logs`` are the last 100 lines, or as many as ``tail`` says."""
    assert served.client.get(f"{ROOT}/explain/brain").json["next"]["action"] == "the next probe"
    assert len(served.client.get(f"{ROOT}/logs/brain").json["lines"]) == 100
    answer = served.client.get(f"{ROOT}/logs/brain?tail=2").json
    assert answer == {"server": "brain", "lines": ["brain 0", "brain 1"]}


@pytest.mark.parametrize(
    ("asked", "means"),
    [
        ("", (None, 100, None, None, 0.0)),
        ("?since=7&limit=3&server=brain&event=server_started", (7, 3, "brain", "server_started", 0.0)),
        ("?limit=1000&since=0&wait=0", (0, 1000, None, None, 0.0)),
    ],
)
def test_events_are_asked_for_as_the_query_says(served: Served, asked: str, means: tuple[object, ...]) -> None:
    """Each parameter reaches the backend, and what is not given has its default."""
    assert served.client.get(f"{ROOT}/events{asked}").status == 200
    assert served.backend.asked == [means]


def test_events_that_are_there_keep_nobody_waiting(served: Served) -> None:
    """A long-poll is answered at once when there is something to tell."""
    served.backend.record()
    answer = served.client.get(f"{ROOT}/events?since=0&wait=60").json
    assert [each["seq"] for each in answer["events"]] == [1]
    assert answer["next"] == 1


def test_a_long_poll_ends_with_the_next_event(served: Served) -> None:
    """A long-poll without events to tell is answered as soon as there is one, and misses none."""
    poll = served.aside("GET", f"{ROOT}/events?wait=60")
    served.backend.record()
    assert [each["seq"] for each in poll.reply().json["events"]] == [1]


def test_a_long_poll_may_end_with_nothing(served: Served) -> None:
    """When no event came in time, the page is empty and says where to go on."""
    answer = served.client.get(f"{ROOT}/events?wait=0.001").json
    assert (answer["events"], answer["next"]) == ([], 0)
    assert [asked[0] for asked in served.backend.asked] == [None, 0], "it waits from where it has looked"


@pytest.mark.parametrize(("well", "status", "word"), [(True, 200, "healthy"), (False, 503, "unhealthy")])
def test_health_is_the_controllers_own(served: Served, well: bool, status: int, word: str) -> None:
    """``/health`` is 200 or 503, and says why in its details."""
    served.backend.well = well
    answer = served.client.get("/health")
    assert (answer.status, answer.json["status"], answer.json["success"]) == (status, word, well)
    assert answer.json["details"] == {"journal": {"ok": well}}


def test_health_says_in_a_line_what_is_wrong(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part that is not well, in its own words; what is well is not named."""
    details = {
        "journal": {"ok": False, "error": "no room"},
        "state": {"ok": True, "error": None},
        "probes": {"ok": False, "late": ["brain", "router"]},
        "fleet": "aurora",
    }
    monkeypatch.setattr(served.backend, "health", lambda: (False, details))
    answer = served.client.get("/health")
    assert answer.json["error"] == "the controller is unhealthy: journal: no room; probes: brain, router"


@pytest.mark.parametrize("target", ["stop/brain", "stop-all"])
def test_what_cannot_be_saved_is_accepted_with_a_warning(served: Served, target: str) -> None:
    """Whoever asked must not believe that his wish lasts."""
    assert "warning" not in served.client.post(f"{ROOT}/{target}").json
    served.backend.on_command = lambda operation: setattr(operation, "warning", "no room")
    answer = served.client.post(f"{ROOT}/{target}")
    assert (answer.status, answer.json["success"], answer.json["warning"]) == (202, True, "no room")


def test_the_root_says_where_to_find_what(served: Served) -> None:
    """``/`` names the description and every route."""
    answer = served.client.get("/").json
    assert answer["openapi"] == "/openapi.json"
    assert f"POST {ROOT}/start/<key>" in answer["routes"]


# --- Commanding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_is_accepted(served: Served, verb: str) -> None:
    """A command without ``wait`` is a 202 that names its operation, which can be asked after."""
    answer = served.client.post(f"{ROOT}/{verb}/brain")
    assert (answer.status, answer.json) == (202, {"success": True, "server": "brain", "operation": "op-1"})
    operation = served.client.get(f"{ROOT}/operations/op-1").json
    assert (operation["command"], operation["servers"], operation["state"]) == (verb, ["brain"], "running")


@pytest.mark.parametrize("verb", VERBS)
def test_a_command_to_all_is_accepted(served: Served, verb: str) -> None:
    """A command to all is answered likewise, with a message and the systems it is for."""
    answer = served.client.post(f"{ROOT}/{verb}-all")
    assert answer.status == 202
    assert answer.json == {
        "success": True,
        "operation": "op-1",
        "message": f"{verb} of all: accepted",
        "servers": ["brain", "router"],
    }


@pytest.mark.parametrize("target", ["start/brain", "start-all"])
@pytest.mark.parametrize("wait", ["", "?wait=60"])
def test_a_command_with_nothing_to_do_is_done(served: Served, target: str, wait: str) -> None:
    """Start of what is healthy is a 200, be it waited for or not."""
    served.backend.idle = True
    answer = served.client.post(f"{ROOT}/{target}{wait}")
    assert (answer.status, answer.json["success"]) == (200, True)


@pytest.mark.parametrize("target", ["restart/brain", "restart-all"])
def test_a_wait_ends_when_the_command_has_settled(served: Served, target: str) -> None:
    """With ``wait``, the answer comes when the command has settled, and is 200."""
    request = served.aside("POST", f"{ROOT}/{target}?wait=60")
    served.backend.operations["op-1"].settle()
    answer = request.reply()
    assert (answer.status, answer.json["success"], answer.json["operation"]) == (200, True, "op-1")


@pytest.mark.parametrize("target", ["start/brain", "start-all"])
@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        ("failed", "brain: exited with code 1", "brain: exited with code 1"),
        ("superseded", "superseded by op-2 (stop)", "superseded by op-2 (stop)"),
        ("failed", None, "failed"),
    ],
)
def test_a_wait_tells_what_went_wrong(served: Served, target: str, state: str, error: str | None, told: str) -> None:
    """A command that failed, or gave way to another, is a 500 that says why, and which command it was."""
    served.backend.on_command = lambda operation: operation.settle(state, error)
    answer = served.client.post(f"{ROOT}/{target}?wait=60")
    assert (answer.status, answer.error, answer.json["operation"]) == (500, told, "op-1")
    assert answer.json.get("server") == ("brain" if target == "start/brain" else None)


def test_a_wait_that_is_too_short_is_the_202(served: Served) -> None:
    """When ``wait`` runs out first, the answer is that of a command not waited for."""

    def be_slow(operation: FakeOperation) -> None:
        operation.patient = False

    served.backend.on_command = be_slow
    answer = served.client.post(f"{ROOT}/stop/brain?wait=60")
    assert (answer.status, answer.json) == (202, {"success": True, "server": "brain", "operation": "op-1"})


@pytest.mark.parametrize(
    ("headers", "by"), [({}, "api"), ({"X_Aurora_Client": "cli"}, "cli"), ({"X_Aurora_Client": "root"}, "api")]
)
def test_who_commanded(served: Served, headers: dict[str, str], by: str) -> None:
    """A command is the API's, or the command line's if it says so; nobody else's word is taken."""
    served.client.post(f"{ROOT}/stop/brain", **headers)
    assert served.backend.operations["op-1"].by == by


# --- Waiting is rationed ---------------------------------------------------------------------------------


def test_no_request_waits_behind_one_that_waits(served: Served) -> None:
    """Four may wait, of whatever kind; status is answered meanwhile; a fifth is sent away having changed nothing."""
    waiting = [served.aside("POST", f"{ROOT}/start/{key}?wait=60") for key in ("brain", "router", "brain")]
    waiting.append(served.aside("GET", f"{ROOT}/events?wait=60"))

    for _ in range(3):
        assert served.client.get(f"{ROOT}/status").status == 200
    for method, path in (("POST", "start/brain?wait=1"), ("POST", "stop-all?wait=1"), ("GET", "events?wait=1")):
        answer = served.client.ask(method, f"{ROOT}/{path}")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert "4" in answer.error
    assert len(served.backend.operations) == 3
    assert served.client.post(f"{ROOT}/stop/brain").status == 202, "what does not wait is let in"

    served.backend.record()
    for operation in served.backend.operations.values():
        operation.settle()
    assert [each.reply().status for each in waiting] == [200] * 4


def test_whoever_has_waited_makes_room(served: Served) -> None:
    """A place is free again after every way to leave it: done, failed, or the time up."""
    outcomes = iter(["succeeded", "failed", "superseded"] * 4)
    served.backend.on_command = lambda operation: operation.settle(next(outcomes))
    for _ in range(12):
        assert served.client.post(f"{ROOT}/stop/brain?wait=60").status in {200, 500}
        assert served.client.get(f"{ROOT}/events?wait=0.001").status == 200


@pytest.mark.parametrize(("method", "path"), [("POST", "start/brain?wait=3600"), ("GET", "events?wait=60")])
def test_a_client_that_leaves_makes_room(method: str, path: str) -> None:
    """The place of a client that hangs up in the midst of its wait is free soon after, not when the wait ends."""
    with serve(waits=1) as served:
        with served.client.connect() as connection:
            connection.sendall(f"{method} {ROOT}/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert served.backend.waiting.acquire(timeout=PATIENCE)
            assert served.client.post(f"{ROOT}/stop/brain?wait=1").status == 503
        assert served.api._slots.acquire(timeout=PATIENCE)


def test_a_server_that_stops_keeps_nobody_waiting(served: Served) -> None:
    """Whoever waits is answered when the server stops: what was accepted is, and of events there were none."""
    command = served.aside("POST", f"{ROOT}/start/brain?wait=3600")
    poll = served.aside("GET", f"{ROOT}/events?wait=60")
    assert served.server.stop(PATIENCE)
    assert command.reply().status == 202
    assert (poll.reply().status, poll.reply().json["events"]) == (200, [])


# --- Errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "status/nobody"),
        ("GET", "explain/nobody"),
        ("GET", "logs/nobody"),
        ("POST", "start/nobody"),
        ("POST", "stop/nobody?wait=1"),
        ("POST", "restart/nobody"),
        ("GET", "operations/op-1"),
        ("GET", "status/BRAIN"),
        ("GET", "status/%2e%2e%2fhealth"),
        ("GET", "status/%c3%bf%00"),
        ("GET", "status/"),
        ("GET", "nothing"),
    ],
)
def test_what_is_not_there_is_a_404(served: Served, method: str, path: str) -> None:
    """An unknown system, operation or path is a 404, in JSON; no command comes of it."""
    answer = served.client.ask(method, f"{ROOT}/{path}")
    assert answer.status == 404
    assert answer.error
    assert not served.backend.operations


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", f"{ROOT}/status", "GET, HEAD"),
        ("GET", f"{ROOT}/start/brain", "POST"),
        ("HEAD", f"{ROOT}/stop-all", "POST"),
        ("PUT", f"{ROOT}/restart/brain", "POST"),
        ("OPTIONS", f"{ROOT}/logs/brain", "GET, HEAD"),
        ("PROXY", "/", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405(served: Served, method: str, path: str, allow: str) -> None:
    """A path that is there, with a method that is not, is a 405 that says which are."""
    answer = served.client.ask(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert method == "HEAD" or answer.error


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "events?limit=0", "limit"),
        ("GET", "events?limit=1001", "limit"),
        ("GET", "events?limit=", "limit"),
        ("GET", "events?limit", "limit"),
        ("GET", "events?limit=1&limit=2", "limit"),
        ("GET", "events?since=-1", "since"),
        ("GET", "events?since=1e3", "since"),
        ("GET", "events?wait=60.1", "wait"),
        ("GET", "events?wait=nan", "wait"),
        ("GET", "events?server=../etc", "server"),
        ("GET", "events?event=%ff", "event"),
        ("GET", "events?limti=1", "limti"),
        ("GET", "events?" + "&".join(f"x{n}=1" for n in range(50)), "parameters"),
        ("GET", "logs/brain?tail=10001", "tail"),
        ("GET", "logs/brain?tail=1_0", "tail"),
        ("GET", "logs/brain?tail=" + "9" * 5000, "tail"),
        ("GET", "status?verbose=1", "verbose"),
        ("POST", "start/brain?wait=-1", "wait"),
        ("POST", "stop-all?wait=1e999", "wait"),
        ("POST", "restart-all?since=1", "since"),
    ],
)
def test_a_query_out_of_its_limits_is_a_400(served: Served, method: str, path: str, named: str) -> None:
    """A value out of its limits, a parameter nobody knows or one given twice is named, and nothing is done."""
    answer = served.client.ask(method, f"{ROOT}/{path}")
    assert answer.status == 400
    assert named in answer.error
    assert not served.backend.operations


def test_a_fault_in_a_query_says_what_was_expected() -> None:
    """A value out of its limits is told them, however absurd it is; it is not told back at length."""
    with pytest.raises(query.QueryError, match=r"^tail: found '9{100}', expected a whole number from 1 to 10000$"):
        query.TAIL.of({"tail": "9" * 5000})


@pytest.mark.parametrize("text", ["0", "-0", "60", "1e-5", "0.5", "5.", "6E1"])
def test_seconds_may_be_spelled_as_numbers_are(text: str) -> None:
    """Every spelling of a number from 0 to 60 is one of seconds."""
    assert query.POLL.of({"wait": text}) == float(text)


@pytest.mark.parametrize("path", ["/health%ff", f"{ROOT}/stop/br%ffain", f"{ROOT}/stop/%c3brain", f"{ROOT}/%ed%a0%80"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_no_utf_8_is_a_400(served: Served, method: str, path: str) -> None:
    """It is not taken for what is left of it without the wrong bytes."""
    answer = served.client.ask(method, path)
    assert (answer.status, answer.error) == (400, "the path is no UTF-8")
    assert not served.backend.operations


@pytest.mark.parametrize(
    "key", ["%c3%a9", "br%00ain", "%20brain", "brain%0a", "BRAIN", "brain%e2%80%ae", "%f0%9f%9a%80"]
)
def test_a_path_is_taken_as_it_is(served: Served, key: str) -> None:
    """What is UTF-8 and no system's key is no system."""
    answer = served.client.post(f"{ROOT}/stop/{key}")
    assert (answer.status, answer.body.isascii()) == (404, True)
    assert not served.backend.operations


@pytest.mark.parametrize(
    "trouble", [ValueError("secret"), OSError("secret"), TimeoutError("secret"), KeyError("secret")]
)
def test_an_exception_is_logged_and_told_to_nobody(
    served: Served, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    """What goes wrong inside is a 500 in JSON; the traceback is the log's alone, and the next call is served."""
    served.backend.trouble = trouble
    with caplog.at_level(logging.ERROR):
        answer = served.client.get(f"{ROOT}/status")
    assert answer.status == 500
    assert "secret" not in answer.error
    assert "Traceback" in caplog.text
    assert "secret" in caplog.text
    served.backend.trouble = None
    assert served.client.get(f"{ROOT}/status").status == 200


def test_an_error_that_is_meant_to_be_read_is_told(served: Served) -> None:
    """An error of our own says what was attempted and what came back, so the client is told."""
    served.backend.trouble = MachineError("reading brain.log: Permission denied")
    answer = served.client.get(f"{ROOT}/logs/brain")
    assert (answer.status, answer.error) == (500, "reading brain.log: Permission denied")


def test_a_system_that_has_just_gone_is_a_404(served: Served) -> None:
    """A system that leaves the fleet between our look and the backend's is as unknown as any."""
    served.backend.trouble = UnknownServerError("unknown server 'brain'")
    assert served.client.post(f"{ROOT}/start/brain").status == 404


# --- All answers alike -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health",
        "/openapi.json",
        "/nothing",
        f"{ROOT}/status",
        f"{ROOT}/status/brain",
        f"{ROOT}/status/nobody",
        f"{ROOT}/explain/brain",
        f"{ROOT}/events",
        f"{ROOT}/events?limit=0",
        f"{ROOT}/logs/brain",
    ],
)
def test_head_is_get_without_the_body(served: Served, path: str) -> None:
    """HEAD gives the status and the headers of GET, Content-Length included, and no body."""
    get, head = served.client.get(path), served.client.ask("HEAD", path)
    assert head.body == b""
    assert head.status == get.status
    assert {**dict(head.headers), "Date": ""} == {**dict(get.headers), "Date": ""}
    assert int(head.headers["Content-Length"]) == len(get.body)


@pytest.mark.parametrize("path", ["/", f"{ROOT}/status", "/nothing", f"{ROOT}/start/brain", f"{ROOT}/events?x=1"])
def test_no_answer_is_kept_or_guessed_at(served: Served, path: str) -> None:
    """No answer may be stored, nor taken for anything but JSON, nor does any name the server software."""
    headers = served.client.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "application/json"
    assert "Server" not in headers


def test_a_connection_is_kept_alive_past_errors(served: Served) -> None:
    """One connection serves call after call, a 404, a 405, a 400 and a 500 among them."""
    connection = http.client.HTTPConnection("127.0.0.1", served.server.port, timeout=PATIENCE)
    connection.connect()
    kept = connection.sock
    for method, path in (("GET", "status"), ("GET", "x"), ("PUT", "status"), ("GET", "events?x"), ("GET", "status")):
        connection.request(method, f"{ROOT}/{path}")
        connection.getresponse().read()
        assert connection.sock is kept
    connection.close()


def test_requests_at_once_are_all_answered(served: Served) -> None:
    """More clients at once than there are threads: every one gets its own answer."""
    requests = [Aside(lambda tail=tail: served.client.get(f"{ROOT}/logs/brain?tail={tail}")) for tail in range(1, 41)]  # type: ignore[misc]  # a default binds it
    assert [len(each.reply().json["lines"]) for each in requests] == list(range(1, 41))
