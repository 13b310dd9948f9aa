"""Step 2, fan out: invalidate the positions that queued triggers affect.

Each affected position gets a new epoch, and the affected dates become pending under it.
"""

from dataclasses import dataclass

import polars as pl

from revalue.engine.core.batching import take_within
from revalue.engine.core.eligibility import cut_to_business_days, unite_ranges
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task
from revalue.engine.leadership.term import Term
from revalue.engine.postgres.arrow import ArrowReader, Reader
from revalue.engine.postgres.statement import statements
from revalue.engine.stage.scan import NO_RANGES
from revalue.engine.stage.stage import INVALIDATED_BY, PROPOSED_POSITION, propose_jobs
from revalue.engine.value.inputs import read_business_days

sql = statements(__package__)

_NO_END = 2**63 - 1
_NO_POSITIONS = pl.DataFrame(schema={"position_id": pl.Int64})


@dataclass(frozen=True)
class Capacity:
    """How much a fan-out may stage.

    reader: reads what would be due.
    rows: position-days that may be scheduled.
    task_rows: target position-days per job.
    """

    reader: ArrowReader
    rows: int
    task_rows: int


@dataclass(frozen=True)
class FannedOut:
    """The result of one page of a fan-out.

    triggers: number of triggers that the page belongs to, and of those that could reach nothing.
    finished: whether these triggers are done.
    positions_invalidated: number of positions whose epoch was raised.
    positions_staged: how many of them were staged at the same time.
    spans: number of spans of the jobs created for those.
    jobs_superseded: number of unfinished jobs, deferred, waiting or failed, that were ended.
    trigger_ids: the triggers, ascending.
    tasks: the tasks of these jobs.
    """

    triggers: int
    finished: bool
    positions_invalidated: int
    positions_staged: int
    spans: int
    jobs_superseded: int
    trigger_ids: tuple[int, ...]
    tasks: tuple[Task, ...] = ()


async def fan_out(
    term: Term,
    *,
    max_triggers: int = 5_000,
    max_positions: int = 50_000,
    capacity: Capacity | None = None,
) -> FannedOut | None:
    """Invalidate one page of affected positions, in one transaction.

    Triggers that can invalidate none are all ended at once, before a page of the others. Triggers
    that are queued together invalidate each position once. A position that is not
    scheduled up to the affected dates, or not open on any of them, is left unchanged. After a crash
    the next call resumes at the cursor, which is committed together with the positions.

    Args:
        max_triggers: largest number of triggers to take together.
        max_positions: largest size of the page.
        capacity: stage invalidated positions in the same transaction, as many as fit, if nothing
            else is due on them. The others wait for the scan.

    Returns:
        What was done, or None when no trigger is queued.
    """
    async with term.transaction("fan_out") as connection:
        queue = await sql("queue").fetch(connection, limit=max_triggers)
        if not queue:
            return None
        ended: list[int] = []
        if queue[0]["cursor_position_id"] == 0:
            ended = [row["trigger_id"] for row in await sql("end_unreached").fetch(connection)]
        if ended:
            queue = await sql("queue").fetch(connection, limit=max_triggers)
            if not queue:
                return FannedOut(len(ended), True, 0, 0, 0, 0, tuple(sorted(ended)))
        triggers, cursor = [row["trigger_id"] for row in queue], queue[0]["cursor_position_id"]
        firsts = sorted({row["first_trigger_id"] for row in queue})
        end = await sql("page").value(connection, firsts=firsts, cursor=cursor, limit=max_positions)
        finished = end is None
        page = {
            "triggers": triggers,
            "firsts": firsts,
            "cursor": cursor,
            "last": _NO_END if finished else end,
        }
        positions, ranges, task_rows = _NO_POSITIONS, NO_RANGES, 1
        # Positions with withdrawn dates are left to the scan: their frontiers may go back.
        withdraws = any(row["withdraws"] for row in queue)
        if capacity is not None and capacity.rows > 0 and not withdraws:
            positions, ranges = await capacity.reader.run(_plan_jobs, capacity, page)
            task_rows = capacity.task_rows
        tasks = await propose_jobs(connection, positions, ranges, Lane.HISTORY, task_rows=task_rows)
        done = await sql("invalidate_positions").one(connection, **page, term=term.number)
        invalidated = done["staged"] + done["invalidated_only"]
        await sql("progress").execute(
            connection, triggers=triggers, cursor=end, invalidated=invalidated, finished=finished
        )
        superseded = 0
        if invalidated:
            superseded += await sql("supersede_unfinished").execute(connection)
            superseded += await sql("supersede_waiting").execute(
                connection, firsts=firsts, cursor=cursor, last=page["last"]
            )
    return FannedOut(
        triggers=len(ended) + len(triggers),
        finished=finished,
        positions_invalidated=invalidated,
        positions_staged=done["staged"],
        spans=done["spans"],
        jobs_superseded=superseded,
        trigger_ids=tuple(sorted((*ended, *triggers))),
        tasks=tuple(tasks) if done["spans"] else (),
    )


def _plan_jobs(
    reader: Reader, capacity: Capacity, page: dict[str, int | list[int]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the positions of a page that fit in the capacity, and what becomes due of them.

    Both are arguments of `propose_jobs`. They are read before the positions are invalidated: one
    that changes in between has another revision then, and is invalidated without being staged.
    """
    with reader.snapshot() as snapshot:
        affected = snapshot.read(sql("scan_affected"), **page)
        if affected.is_empty():
            return _NO_POSITIONS, NO_RANGES
        business_days = read_business_days(snapshot)
    due = unite_ranges(affected.sort("position_id", "first_date"))
    ranges = take_within(cut_to_business_days(due, business_days), capacity.rows)
    positions = (
        affected.with_columns(pl.col("trigger_id").max().over("position_id"))
        .select(*PROPOSED_POSITION, *INVALIDATED_BY)
        .unique("position_id", keep="first", maintain_order=True)
    )
    return positions.join(ranges, on="position_id", how="semi"), ranges
