"""The model of the protocol, exhaustively; and that the check finds every way of breaking it that
we could think of."""

import pytest

from tests.property.model import MUTATIONS, RACES, REDUNDANT, SMALL, Bounds, Checked, check


@pytest.mark.parametrize("bounds", SMALL, ids=["late data", "corrections"])
def test_no_order_of_moves_and_crashes_breaks_an_invariant(bounds: Bounds) -> None:
    found = check(bounds)
    print(
        f"{found.states:,} states, {found.transitions:,} transitions, "
        f"{found.attempts_at_once} attempts at once"
    )
    assert found.violation is None
    assert found.states > 9_000, "a model that cannot move is right by accident"
    assert found.quiescent > 500


def first_violation(*mutations: str) -> Checked:
    for bounds in SMALL:
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
    """A price is corrected and called current before it is fanned out: nothing shorter can be
    wrong."""
    found = check(Bounds(), frozenset(["status ignores triggers"]))
    assert found.violation == (
        "1 what is called current is what the data says",
        ("price 0 is corrected",),
    )


@pytest.mark.parametrize("mutation", REDUNDANT)
def test_what_is_redundant_is_known_to_be(mutation: str) -> None:
    """The epoch in finish_jobs.sql saves rows that nobody will see. It is no fence: it is read
    without a lock."""
    for bounds in RACES:
        assert check(bounds, frozenset([mutation])).violation is None
    assert first_violation(mutation, "apply any epoch").violation
