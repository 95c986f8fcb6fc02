"""Random faults in short: what ``make soak`` does for an hour. The seed is fixed, so that a failure comes again."""

import pytest

from tests.faults.arena import MakeArena
from tests.faults.storm import CHAIN, POLICY, Storm

ROUNDS = 15


@pytest.mark.quick
@pytest.mark.fault("systems", "random faults: the same seed draws the same")
def test_a_seed_draws_the_same_faults_again(arena: MakeArena) -> None:
    """What is drawn depends on nothing else, and every fault of the list is drawn in the long run."""
    fleet = arena(CHAIN, start=False)
    one, two, other = Storm(fleet, 7), Storm(fleet, 7), Storm(fleet, 8)
    drawn = [one.draw() for _ in range(500)]
    assert [two.draw() for _ in range(500)] == drawn
    assert [other.draw() for _ in range(500)] != drawn
    assert {name for faults in drawn for name, _, _ in faults} == set(one._faults)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=pytest.mark.fault("systems", f"random faults, {ROUNDS} rounds, seed {seed}"))
        for seed in (1, 2)
    ],
)
def test_after_each_round_of_random_faults_everything_holds(arena: MakeArena, seed: int) -> None:
    """Whatever came together: nobody is stuck, nobody twice, no number is missing, and the story is true."""
    fleet = arena(CHAIN, **POLICY)
    storm = Storm(fleet, seed)
    for number in range(ROUNDS):
        told = storm.round()
        try:
            fleet.holds()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, round {number}: {', '.join(told)}\n{error}") from error
    fleet.figure("faults", sum(storm.done.values()), "in all")
