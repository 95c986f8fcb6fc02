"""The API as its own description has it: every route, driven by schemathesis against a fleet that runs."""

import contextlib
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi import checks as rules

from tests.e2e.harness import DEADLINE
from tests.faults.arena import Arena, MakeArena

EXAMPLES = 20
"""Requests a route, each of those that fit the description and those that do not."""
LONGEST_WAIT = 0.2
"""Seconds that a request may wait here; the description allows an hour."""
RULES = [
    rules.status_code_conformance,
    rules.content_type_conformance,
    rules.response_headers_conformance,
    rules.response_schema_conformance,
    rules.negative_data_rejection,
]
FITTING, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
LIMITLESS = {"operation"}
"""What takes any text: there is nothing wrong to be sent."""
APART = "/drill/"
"""Routes that do harm, which are tried in a group of their own."""


def shorten(case: Any) -> None:
    """Have nobody wait for long."""
    with contextlib.suppress(ValueError):
        if float(str(case.query.get("wait"))) > LONGEST_WAIT:
            case.query["wait"] = LONGEST_WAIT


def drive(fleet: Arena, operation: Any, mode: schemathesis.GenerationMode) -> list[str]:
    """Send a route whatever fits its description, or what does not; return what was accepted as operations."""
    accepted: list[str] = []

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        shorten(case)
        response = case.call(base_url=fleet.url, session=fleet.session, timeout=DEADLINE)
        case.validate_response(response, checks=RULES)
        told = response.json()
        if response.status_code >= 500 and "Retry-After" not in response.headers:
            assert "operation" in told, "only a command that was waited for may have failed"
        accepted.extend([told["operation"]] if "operation" in told else [])

    ask()
    return accepted


@pytest.mark.fault("api", "whatever its own description allows, and what it does not (schemathesis)")
@pytest.mark.timeout(400)  # hundreds of requests, on a machine that may be busy
def test_every_route_keeps_to_its_description(arena: MakeArena) -> None:
    """Every answer is one that the description names, in its form; and what does not fit is refused.

    No 5xx comes but for a command that was waited for and failed, or where as many wait as may.
    """
    fleet = arena({"one": {}, "two": {"depends_on": ["one"]}})
    schema = schemathesis.openapi.from_dict(fleet.get("/openapi.json"))
    found: list[Any] = [*schema.get_all_operations()]
    operations = [each.ok() for each in found]
    accepted = []
    for each in operations:
        if APART in each.path:
            continue
        accepted += drive(fleet, each, FITTING)
        if each.definition.raw["parameters"] and each.definition.raw["operationId"] not in LIMITLESS:
            accepted += drive(fleet, each, WRONG)
    assert accepted
    ask = schema["/api/autonomous/operations/{ident}"]["GET"]
    for ident in accepted[-20:]:
        ask.Case(path_parameters={"ident": ident}).call_and_validate(base_url=fleet.url, checks=RULES)
    fleet.figure("routes", len(operations), "")
    assert fleet.post(f"/api/autonomous/start-all?wait={DEADLINE}").status_code == 200
    fleet.holds()
