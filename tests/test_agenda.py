"""Who is called when, against the plainest agenda there is."""

from hypothesis import given
from hypothesis import strategies as st

from aurora_circus.agenda import Agenda

TIMES = st.integers(0, 9).map(float)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abc"), st.none() | TIMES),
            st.tuples(st.just("take"), st.just(""), TIMES),
        )
    )
)
def test_it_is_what_a_plain_list_of_times_would_be(steps: list[tuple[str, str, float | None]]) -> None:
    """Whatever is put, changed, taken back and taken."""
    agenda, times = Agenda(), dict[str, float]()
    for what, key, at in steps:
        if what == "take":
            assert at is not None
            due = {each for each, time in times.items() if time <= at}
            assert agenda.take(at) == due
            times = {each: time for each, time in times.items() if each not in due}
        else:
            agenda.put(key, at)
            times.pop(key, None)
            if at is not None:
                times[key] = at
        assert agenda.next() == min(times.values(), default=None)


def test_times_that_are_put_off_again_and_again_take_no_room() -> None:
    """A healthy system's next probe is put off at each one."""
    agenda = Agenda()
    for number in range(1000):
        agenda.put("a", 5000.0 - number)
        agenda.put("b", 5000.0 + number)
    assert len(agenda._heap) < 20
    assert agenda.next() == 4001.0
