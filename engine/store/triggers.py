"""Move 2, fan out: what a queued trigger can have made wrong is put into its keys' pending dates, under a new epoch."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.core.batching import fitting
from engine.core.calendar import numbered
from engine.core.eligibility import cut_to_sessions
from engine.core.lifecycle import Lane
from engine.store.arrow import ArrowReader
from engine.store.staging import PROPOSED_KEY, RAISED_BY, propose
from engine.store.statement import sql
from engine.store.tasks import Task
from engine.store.terms import Term

_NO_END = 2**63 - 1


@dataclass(frozen=True)
class Room:
    """Room for jobs: up to `rows` rows, in tasks of about `task_rows`. `reader` reads what they would be for."""

    reader: ArrowReader
    rows: int
    task_rows: int


@dataclass(frozen=True)
class FannedOut:
    """One step: how many triggers it took, whether they are done, keys whose epoch was raised, those of them that were staged
    with it, and their jobs and tasks."""

    triggers: int
    finished: bool
    keys_raised: int
    keys_staged: int
    jobs: int
    jobs_superseded: int
    trigger_ids: tuple[int, ...]
    tasks: tuple[Task, ...] = ()


async def fan_out(
    term: Term,
    *,
    most_triggers: int = 5_000,
    most_keys: int = 50_000,
    only: Sequence[int] | None = None,
    room: Room | None = None,
) -> FannedOut | None:
    """One transaction: the triggers that wait together raise each key once. None when nothing is queued.

    `only`: no others than these triggers are taken. `room`: as many of the keys that owe nothing else as it holds are staged
    with their raise; without it, and beyond it, what is owed waits in `pending`.

    A key whose frontier is before the dates, or which is not open on any of them, is left as it is. A crash resumes at
    the cursor, which moves in the same transaction as the keys.
    """
    async with term.transaction("fan_out") as connection:
        queue = await sql("fan_out_queue").fetch(connection, most=most_triggers, only=only)
        if not queue:
            return None
        triggers, cursor = [row["trigger_id"] for row in queue], queue[0]["cursor_position_id"]
        firsts = sorted({row["first_trigger_id"] for row in queue})
        end = await sql("fan_out_page").value(connection, firsts=firsts, cursor=cursor, most=most_keys)
        finished = end is None
        page = {"triggers": triggers, "firsts": firsts, "cursor": cursor, "last": _NO_END if finished else end}
        keys, ranges, task_rows = _NO_KEYS, _NO_RANGES, 1
        if room is not None and room.rows > 0:
            keys, ranges = await asyncio.to_thread(_foreseen, room, page)
            task_rows = room.task_rows
        tasks = await propose(term, connection, keys, ranges, Lane.HISTORY, task_rows=task_rows)
        step = await sql("fan_out_keys").row(connection, **page, term=term.number)
        assert step is not None
        raised = step["staged"] + step["raised"]
        await sql("fan_out_progress").execute(connection, triggers=triggers, cursor=end, raised=raised, finished=finished)
        superseded = await sql("supersede_deferred").execute(connection) if raised else 0
    return FannedOut(
        triggers=len(triggers),
        finished=finished,
        keys_raised=raised,
        keys_staged=step["staged"],
        jobs=step["jobs"],
        jobs_superseded=superseded,
        trigger_ids=tuple(triggers),
        tasks=tuple(tasks) if step["jobs"] else (),
    )


_NO_KEYS = pl.DataFrame(schema={"position_id": pl.Int64})
_NO_RANGES = pl.DataFrame(schema={"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date, "rows": pl.Int32})


def _foreseen(room: Room, page: dict[str, int | list[int]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a page's keys will owe, as far as there is room: keys and ranges as engine.store.staging.propose takes them.

    Read as of a moment before the raise; a key that changes in between has another revision then, and is only raised.
    """
    with room.reader.snapshot() as snapshot:
        reached = snapshot.read(sql("scan_reached"), **page)
        if reached.is_empty():
            return _NO_KEYS, _NO_RANGES
        sessions = numbered(snapshot.read(sql("scan_sessions")))
    ranges = fitting(cut_to_sessions(reached, sessions), room.rows)
    keys = reached.select(*PROPOSED_KEY, *RAISED_BY).unique("position_id", maintain_order=True)
    return keys.join(ranges, on="position_id", how="semi"), ranges
