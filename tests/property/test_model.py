"""The exhaustive check of the protocol's model; and that it finds every mutation."""

import pytest

from tests.property.model import MUTATIONS, RACES, REDUNDANT, SMALL, Bounds, Checked, check

STATES = (10_618, 9_263, 32_979, 39_153, 52_939, 3_046, 9_204, 1_492, 11_340, 6_829, 3_678)
"""Of each of SMALL, as docs/protocol-check.md has them: a model with fewer would be right by
accident."""

BACKED_BY = {
    "finish any epoch": "apply any epoch",
    "no fence of attempts": "job ids fence attempts",
    "later rows replace": "what is not published replaces",
}


@pytest.mark.parametrize(
    ("bounds", "states"),
    list(zip(SMALL, STATES, strict=True)),
    ids=[
        "first valuation",
        "an opening moved back",
        "a business day out and in",
        "late data and a closed position",
        "late and deleted data",
        "where to look after a correction and an opening",
        "where to look after an opening moved back",
        "where to look after a corrected record",
        "a lake, a correction and an opening",
        "a lake, a business day out and in",
        "a lake, a deleted price that comes again",
    ],
)
def test_no_order_of_steps_and_crashes_breaks_an_invariant(bounds: Bounds, states: int) -> None:
    found = check(bounds)
    print(
        f"{found.states:,} states, {found.transitions:,} transitions, "
        f"{found.attempts_at_once} attempts at once"
    )
    assert found.violation is None
    assert found.states == states
    assert found.quiescent > (100 if bounds.noting or bounds.lake else 150)


WITH_LAKE = tuple(bounds for bounds in SMALL if bounds.lake)
FAULTLESS = (
    Bounds(faults=0),
    Bounds(prices=(0b010, 0b010), late=(0b010, 0), gone=(0, 0b010), positions=(), faults=0),
)


ABOUT_NOTES = {
    "fan out notes nothing",
    "a correction notes nothing",
    "noted is forgotten unseen",
    "what is noted is ignored",
    "a pass is never over",
}


ABOUT_THE_LAKE = {
    "a file is recorded by itself",
    "the table is read alone",
    "moved rows stay",
    "rows of meanwhile are deleted",
    "files are replaced in two steps",
    "files of meanwhile are replaced",
    "what is not published replaces",
    "the floor is not asked",
    "young files are swept",
}


def first_violation(*mutations: str) -> Checked:
    """Try those bounds first in which it is found soon: most are without a fault."""
    kind = (not ABOUT_NOTES.isdisjoint(mutations), not ABOUT_THE_LAKE.isdisjoint(mutations))
    for bounds in sorted((*FAULTLESS, *SMALL), key=lambda each: (each.noting, each.lake) != kind):
        found = check(bounds, frozenset(mutations))
        if found.violation:
            break
    return found


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_mutation_is_found(mutation: str) -> None:
    found = first_violation(mutation)
    assert found.violation, (
        f"{mutation} ({MUTATIONS[mutation]}) breaks nothing in {found.states:,} states"
    )
    print(found.violation.invariant, *found.violation.trace, sep="\n")


def test_a_trace_is_the_shortest_one() -> None:
    """A position is called current right after a correction: no error has fewer steps."""
    found = check(Bounds(), frozenset(["status ignores triggers"]))
    assert found.violation == (
        "1 what is called finished is what the data says",
        ("price 0 is corrected",),
    )


@pytest.mark.parametrize("mutation", REDUNDANT)
def test_a_redundant_check_may_be_missing_as_long_as_another_stands(mutation: str) -> None:
    """The epoch check of finish_jobs.sql saves rows that nobody would see. It is not a fence, since
    it reads the epoch without a lock. Whose attempt a job is matters to the count of attempts: a
    job commits once, with all of its dates, and then its status fences every other attempt. And
    that a row was committed before the retention floor follows from its epoch: an epoch that is
    published gets rows of new dates only."""
    bounds_of = {"finish any epoch": RACES, "later rows replace": WITH_LAKE}
    for bounds in bounds_of.get(mutation, SMALL[:2]):
        assert check(bounds, frozenset([mutation])).violation is None
    assert first_violation(mutation, BACKED_BY[mutation]).violation
