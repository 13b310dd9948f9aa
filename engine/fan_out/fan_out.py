"""Move 2, fan out: what a queued trigger can have made wrong is put into its positions' pending dates, under a new epoch."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from revalue.engine.core.batching import take_within
from revalue.engine.core.eligibility import cut_to_business_days
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Leadership
from revalue.engine.postgres.arrow import Reader
from revalue.engine.postgres.statement import statements
from revalue.engine.stage.stage import INVALIDATED_BY, PROPOSED_POSITION, propose
from revalue.engine.value.inputs import read_business_days

sql = statements(__package__)

_NO_END = 2**63 - 1


@dataclass(frozen=True)
class Capacity:
    """Room for jobs: up to `rows` rows, in tasks of about `task_rows`. `reader` reads what they would be for."""

    reader: Reader
    rows: int
    task_rows: int


@dataclass(frozen=True)
class FannedOut:
    """One step: how many triggers it took, whether they are done, positions whose epoch was raised, those of them that were staged
    with it, and their jobs and tasks."""

    triggers: int
    finished: bool
    positions_invalidated: int
    positions_staged: int
    jobs: int
    jobs_superseded: int
    trigger_ids: tuple[int, ...]
    tasks: tuple[Task, ...] = ()


async def fan_out(
    term: Leadership,
    *,
    most_triggers: int = 5_000,
    max_positions: int = 50_000,
    only: Sequence[int] | None = None,
    capacity: Capacity | None = None,
) -> FannedOut | None:
    """One transaction: the triggers that wait together raise each position once. None when nothing is queued.

    `only`: no others than these triggers are taken. `capacity`: as many of the positions that owe nothing else as it holds are staged
    with their raise; without it, and beyond it, what is owed waits in `pending`.

    A position whose frontier is before the dates, or which is not open on any of them, is left as it is. A crash resumes at
    the cursor, which moves in the same transaction as the positions.
    """
    async with term.transaction("fan_out") as connection:
        queue = await sql("queue").fetch(connection, most=most_triggers, only=only)
        if not queue:
            return None
        triggers, cursor = [row["trigger_id"] for row in queue], queue[0]["cursor_position_id"]
        firsts = sorted({row["first_trigger_id"] for row in queue})
        end = await sql("page").value(connection, firsts=firsts, cursor=cursor, most=max_positions)
        finished = end is None
        page = {
            "triggers": triggers,
            "firsts": firsts,
            "cursor": cursor,
            "last": _NO_END if finished else end,
        }
        positions, ranges, task_rows = _NO_POSITIONS, _NO_RANGES, 1
        if capacity is not None and capacity.rows > 0:
            positions, ranges = await asyncio.to_thread(_foreseen, capacity, page)
            task_rows = capacity.task_rows
        tasks = await propose(
            term, connection, positions, ranges, Lane.HISTORY, task_rows=task_rows
        )
        step = await sql("invalidate_positions").row(connection, **page, term=term.number)
        assert step is not None
        raised = step["staged"] + step["raised"]
        await sql("progress").execute(
            connection, triggers=triggers, cursor=end, raised=raised, finished=finished
        )
        superseded = await sql("supersede_deferred").execute(connection) if raised else 0
    return FannedOut(
        triggers=len(triggers),
        finished=finished,
        positions_invalidated=raised,
        positions_staged=step["staged"],
        jobs=step["jobs"],
        jobs_superseded=superseded,
        trigger_ids=tuple(triggers),
        tasks=tuple(tasks) if step["jobs"] else (),
    )


_NO_POSITIONS = pl.DataFrame(schema={"position_id": pl.Int64})
_NO_RANGES = pl.DataFrame(
    schema={"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date, "rows": pl.Int32}
)


def _foreseen(
    capacity: Capacity, page: dict[str, int | list[int]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a page's positions will owe, as far as there is capacity: positions and ranges as engine.store.staging.propose takes them.

    Read as of a moment before the raise; a position that changes in between has another revision then, and is only raised.
    """
    with capacity.reader.snapshot() as snapshot:
        reached = snapshot.read(sql("scan_affected"), **page)
        if reached.is_empty():
            return _NO_POSITIONS, _NO_RANGES
        business_days = read_business_days(snapshot)
    ranges = take_within(cut_to_business_days(reached, business_days), capacity.rows)
    positions = reached.select(*PROPOSED_POSITION, *INVALIDATED_BY).unique(
        "position_id", maintain_order=True
    )
    return positions.join(ranges, on="position_id", how="semi"), ranges
