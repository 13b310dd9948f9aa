"""Make several corrections in one transaction."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.reach import reach_together
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction


@dataclass(frozen=True)
class Together:
    """Corrections that were made in one transaction.

    Attributes:
        made: what was corrected, in the order in which it was asked for. The `trigger_id`,
            `positions` and `dates` of each also cover the corrections made before it.
        trigger_ids: the triggers that record them; empty: no value that exists can have changed.
        positions: how many positions they affect at most. Each counts once.
    """

    made: tuple[Correction, ...]
    trigger_ids: tuple[int, ...]
    positions: int


@dataclass(frozen=True)
class Change:
    """One correction that is to be made together with others.

    Attributes:
        row: the kind and the key of what it locks.
        make: makes it.
    """

    row: tuple[str, ...]
    make: Callable[[Connections], Awaitable[Correction]]


async def together(inside: OpenTransaction, changes: Sequence[Change]) -> Together:
    """Make corrections one after the other in an open transaction.

    They are made in the order of their rows, so that two transactions which correct the same rows
    wait for each other and do not deadlock. Those of one row are made as they are asked for.

    Args:
        inside: the transaction; it has corrected nothing yet.
        changes: the corrections.

    Raises:
        RevalueError: what a change raises. The transaction is then to be rolled back.
    """
    in_order = sorted(range(len(changes)), key=lambda place: changes[place].row)
    at_place = {place: await changes[place].make(inside) for place in in_order}
    made = tuple(at_place[place] for place in range(len(changes)))
    # A correction of a position has invalidated it: its trigger is not among those that reach.
    of_positions = [each for each in made if each.portfolio is not None and each.trigger_id]
    async with inside.connection() as connection:
        reached, positions = await reach_together(
            connection,
            [
                (each.portfolio, each.security)
                for each in of_positions
                if each.portfolio is not None and each.security is not None
            ],
        )
    triggers = {each.trigger_id for each in of_positions if each.trigger_id is not None}
    return Together(made, tuple(sorted(triggers.union(reached))), positions)
