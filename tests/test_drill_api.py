"""The route that drills are ordered by: who may, what is taken, and what is handed on."""

from collections.abc import Iterator

import pytest

from aurora_circus.access import Tokens
from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.drills import Order
from aurora_circus.errors import MachineError
from tests.fake_backend import ROOT, Served, serve


@pytest.fixture
def served() -> Iterator[Served]:
    """The API of two healthy systems."""
    with serve() as it:
        yield it


def test_an_order_is_handed_on_with_who_gave_it(served: Served) -> None:
    """And what is done is the answer."""
    path = f"{ROOT}/drill/brain?fault=http-500&port=45000&seconds=2.5&force=true"
    answer = served.client.post(path, X_Aurora_Client="cli")
    assert (answer.status, answer.json["success"], answer.json["server"]) == (200, True, "brain")
    assert answer.json["fault"] == "http-500"
    served.client.post(f"{ROOT}/drill/brain?fault=kill")
    served.client.post(f"{ROOT}/drill/{CONTROLLER}?fault=plugin-kill")
    assert served.backend.drills == [
        ("brain", Order(Fault.HTTP_500, 2.5, 45000, force=True), "cli"),
        ("brain", Order(Fault.KILL, 60.0), "api"),
        (CONTROLLER, Order(Fault.PLUGIN_KILL, 60.0), "api"),
    ]


def test_none_ends_a_drill(served: Served) -> None:
    """Of that system."""
    answer = served.client.post(f"{ROOT}/drill/router?fault=none")
    assert answer.json == {"success": True, "server": "router", "ended": True}
    assert served.backend.drills == [("router", None, "api")]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "fault: found none"),
        ("fault=KILL", "fault: found 'KILL', expected one of kill, hang"),
        ("fault=kill&port=45000", "port: found 45000, expected none for kill"),
        ("fault=slow-health", "port: found None, expected the stand-in's"),
        ("fault=http-500&port=0", "port: found '0'"),
        ("fault=http-500&port=65536", "port: found '65536'"),
        ("fault=http-500&port=10.0.0.1", "port: found '10.0.0.1'"),
        ("fault=http-500&port=10.0.0.1:80", "port: found '10.0.0.1:80'"),
        ("fault=http-500&host=10.0.0.1", "found parameter 'host'"),
        ("fault=kill&seconds=0.5", "seconds: found '0.5'"),
        ("fault=kill&seconds=3601", "seconds: found '3601'"),
        ("fault=kill&force=yes", "force: found 'yes'"),
        ("fault=plugin-kill", "expected plugin-kill of aurora alone"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_done(served: Served, query: str, words: str) -> None:
    """400, with what was found and what was expected; there is no way to name another host."""
    answer = served.client.post(f"{ROOT}/drill/brain?{query}")
    assert answer.status == 400
    assert words in answer.error
    assert served.backend.drills == []


def test_whom_there_is_not_nobody_drills(served: Served) -> None:
    """The controller is no system, and takes its own fault alone."""
    assert served.client.post(f"{ROOT}/drill/nobody?fault=kill").status == 404
    assert served.client.post(f"{ROOT}/drill/{CONTROLLER}?fault=kill").status == 400
    assert served.client.get(f"{ROOT}/drill/brain?fault=kill").status == 405
    assert served.backend.drills == []


def test_a_drill_that_may_not_be_begun_is_a_conflict(served: Served) -> None:
    """With the reason; what the machine refuses is our failure."""
    served.backend.refuses_drills = "a drill runs already: hang of router"
    answer = served.client.post(f"{ROOT}/drill/brain?fault=kill")
    assert (answer.status, answer.error) == (409, "a drill runs already: hang of router")
    served.backend.trouble = MachineError("SIGKILL to process group 7: Operation not permitted")
    answer = served.client.post(f"{ROOT}/drill/brain?fault=kill")
    assert (answer.status, answer.error) == (500, "SIGKILL to process group 7: Operation not permitted")


def test_only_the_full_token_drills() -> None:
    """Not without one, and not with that which may only look."""
    path = f"{ROOT}/drill/brain?fault=kill"
    with serve(tokens=Tokens(full="open-sesame", read="peek")) as served:
        assert served.client.post(path).status == 401
        assert served.client.post(path, Authorization="Bearer peek").status == 403
        assert served.backend.drills == []
        assert served.client.post(path, Authorization="Bearer open-sesame").status == 200


def test_no_web_page_from_elsewhere_drills(served: Served) -> None:
    """Its browser gives it away."""
    path = f"{ROOT}/drill/brain?fault=kill"
    assert served.client.post(path, Origin="http://evil.example").status == 403
    assert served.client.post(path, Sec_Fetch_Site="cross-site").status == 403
    assert served.backend.drills == []
