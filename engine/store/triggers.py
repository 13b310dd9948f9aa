"""Move 2, fan out: what a queued trigger can have made wrong is put into its keys' pending dates, under a new epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.store.statement import sql
from engine.store.terms import Term


@dataclass(frozen=True)
class FannedOut:
    """One step: how many triggers it took, whether they are done, keys they reach and keys whose epoch was raised."""

    triggers: int
    finished: bool
    keys_reached: int
    keys_raised: int
    jobs_superseded: int
    trigger_ids: tuple[int, ...]


async def fan_out(
    term: Term, *, most_triggers: int = 5_000, most_keys: int = 50_000, only: Sequence[int] | None = None
) -> FannedOut | None:
    """One transaction: the triggers that wait together raise each key once. None when nothing is queued.

    `only`: no others than these triggers are taken.

    A key whose frontier is before the dates, or which is not open on any of them, is left as it is. A crash resumes at
    the cursor, which moves in the same transaction as the keys.
    """
    async with term.transaction("fan_out") as connection:
        queue = await sql("fan_out_queue").fetch(connection, most=most_triggers, only=only)
        if not queue:
            return None
        triggers = [row["trigger_id"] for row in queue]
        step = await sql("fan_out_keys").row(
            connection, triggers=triggers, cursor=queue[0]["cursor_position_id"], most=most_keys
        )
        assert step is not None
        finished = step["reached"] < most_keys
        await sql("fan_out_progress").execute(
            connection, triggers=triggers, cursor=step["last_position_id"], raised=step["raised"], finished=finished
        )
        superseded = await sql("supersede_deferred").execute(connection) if step["raised"] else 0
    return FannedOut(len(triggers), finished, step["reached"], step["raised"], superseded, tuple(triggers))
