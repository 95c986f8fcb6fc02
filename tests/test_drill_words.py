"""What is said of a drill, before and after."""

import pytest

from aurora_circus import drill_words
from aurora_circus.drill_names import CONTROLLER, Fault
from aurora_circus.drill_words import Outcome, Subject
from aurora_circus.promises import NOTICED, STRUCK, Promise, Verdict

PROMISE = Promise("noticed", STRUCK, NOTICED, 10.0, "interval 5 s + …")
KILL = Subject(Fault.KILL, "web")


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_says_what_it_does_and_to_whom(fault: Fault) -> None:
    """The plugin has no key of its own; who is critical is said to be."""
    subject = Subject(fault, CONTROLLER if fault is Fault.PLUGIN_KILL else "web")
    first, *promised, last = drill_words.plan(subject, [PROMISE], 3, critical=True)
    assert first.startswith(f"drill {fault}: the plugin" if subject.key == CONTROLLER else f"drill {fault} of web: ")
    assert ("3 in all" in first) is (fault is Fault.CRASH_LOOP)
    assert promised[0] == "  promised: noticed within 10 s (interval 5 s + …)"
    assert last.startswith(f"{subject.key} is critical")
    assert "critical" not in "\n".join(drill_words.plan(subject, [PROMISE], 3, critical=False))


def test_a_drill_that_went_well_says_so() -> None:
    """Every promise with its time, and who runs now."""
    outcome = Outcome([Verdict(PROMISE, 3.0, kept=True)], None, 7, 8)
    assert list(drill_words.report(KILL, outcome)) == [
        "kept: noticed after 3.00 s (promised: within 10 s)",
        "kept: no other system got a new process",
        "kept: everything is as before",
        "drill kill of web: all is well; pid 7 is 8 now",
    ]
    assert drill_words.as_json(KILL, outcome)["kept"] is True


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome([Verdict(PROMISE, 13.0, kept=False)]), "BROKEN: noticed after 13 s (promised: within 10 s)"),
        (Outcome([Verdict(PROMISE, None, kept=False)]), "BROKEN: noticed never (promised: within 10 s)"),
        (Outcome(spoilt="it was given up:\tboom"), "BROKEN: it was given up: boom"),
        (Outcome(touched=["b: pid 1 → 2"]), "BROKEN: others got a new process: b: pid 1 → 2"),
        (Outcome(findings=["state: b: is failed"]), "BROKEN: state: b: is failed"),
    ],
)
def test_whatever_is_broken_breaks_it_all(outcome: Outcome, line: str) -> None:
    """One thing is enough, and it is named."""
    said = list(drill_words.report(KILL, outcome))
    assert line in said
    assert said[-1] == "drill kill of web: a promise was broken"
    found = drill_words.as_json(KILL, outcome)
    assert (found["kept"], found["fault"], found["server"]) == (False, "kill", "web")


def test_of_the_plugin_no_system_is_named() -> None:
    """Its key is one of ours, not of the fleet's."""
    assert drill_words.as_json(Subject(Fault.PLUGIN_KILL, CONTROLLER), Outcome())["server"] is None
