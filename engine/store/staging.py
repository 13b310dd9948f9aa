"""Move 3, stage: owed dates are scanned into Arrow, decided on by the core, and written as jobs with the frontier."""

from dataclasses import dataclass

import polars as pl
import polars.selectors as cs

from engine.core.batching import fitting, packed
from engine.core.calendar import numbered
from engine.core.eligibility import owed_ranges
from engine.core.lifecycle import Lane
from engine.store.arrow import ArrowReader, copy_frame
from engine.store.statement import Connection, sql
from engine.store.tasks import Task
from engine.store.terms import Term

PROPOSED_KEY = ("position_id", "calendar_no", "calendar_revision", "revision", "horizon")
RAISED_BY = ("trigger_id", "first_trigger_id")
"""And of a fan-out's key the last and the first trigger that reach it."""

_TEMP_TABLES = (
    """CREATE TEMP TABLE IF NOT EXISTS staged_keys
       (position_id bigint, calendar_no smallint, calendar_revision integer, revision integer, horizon date,
        first_date date, last_date date, trigger_id bigint, first_trigger_id bigint)
       ON COMMIT DELETE ROWS""",
    """CREATE TEMP TABLE IF NOT EXISTS staged_jobs
       (job_id bigint, task_id bigint, position_id bigint, first_date date, last_date date) ON COMMIT DELETE ROWS""",
)

_OPEN = ("open_first", "open_last", "is_split")
_NO_SPANS = pl.DataFrame(schema={"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date})


@dataclass(frozen=True)
class Scan:
    """One page of keys with something to stage, and what each of them owes (see engine.core.eligibility).

    keys    position_id, calendar_no, calendar_revision, revision, staged, frontier_date, horizon
    ranges  position_id, first_date, last_date, rows
    next_cursor  where the next page begins, or None when this one was the last
    """

    keys: pl.DataFrame
    ranges: pl.DataFrame
    next_cursor: int | None


@dataclass(frozen=True)
class Staged:
    """tasks: what to run; keys and jobs written; rest: the part of the scan there was no room for, or None."""

    tasks: list[Task]
    keys: int
    jobs: int
    rest: Scan | None


def scan(reader: ArrowReader, lane: Lane, cursor: int, *, page_keys: int, live_sessions: int) -> Scan:
    """Reads the next page of keys after `cursor` and decides what they owe. Blocking."""
    with reader.snapshot() as snapshot:
        is_live = int(lane is Lane.LIVE)
        keys = snapshot.read(sql("scan_keys"), live=is_live, cursor=cursor, most=page_keys, sessions=live_sessions)
        if keys.is_empty():
            return Scan(keys.drop(_OPEN), _no_ranges(), None)
        page = {"first_position": int(keys["position_id"][0]), "last_position": int(keys["position_id"][-1])}
        pending = _NO_SPANS if keys["staged"].all() else snapshot.read(sql("scan_pending"), **page)
        open_spans = keys.filter(~pl.col("is_split") & pl.col("open_first").is_not_null()).select(
            "position_id", first_date="open_first", last_date="open_last"
        )
        if keys["is_split"].any():
            open_spans = pl.concat([open_spans, snapshot.read(sql("scan_open"), **page)])
        sessions = numbered(snapshot.read(sql("scan_sessions")))
    keys = keys.drop(_OPEN)
    ranges = owed_ranges(keys, pending, open_spans, sessions)
    return Scan(keys, ranges, page["last_position"] if len(keys) == page_keys else None)


def _no_ranges() -> pl.DataFrame:
    return pl.DataFrame(schema={"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date, "rows": pl.Int32})


async def stage(term: Term, scanned: Scan, lane: Lane, *, task_rows: int, room_rows: int) -> Staged:
    """One transaction: jobs for the first keys of the scan that fit in `room_rows`, and their frontiers moved.

    Keys that owe nothing move their frontier without a job. A key that was changed since the scan is left alone, and one whose
    calendar was.
    """
    if scanned.keys.is_empty():
        return Staged([], 0, 0, None)
    ranges = fitting(scanned.ranges, room_rows)
    keys, rest = scanned.keys, None
    if len(ranges) < len(scanned.ranges):
        behind = pl.col("position_id") > int(ranges["position_id"][-1])
        rest = Scan(keys.filter(behind), scanned.ranges.filter(behind), scanned.next_cursor)
        keys = keys.filter(~behind)
    async with term.transaction("stage") as connection:
        tasks = await propose(term, connection, keys, ranges, lane, task_rows=task_rows)
        await sql("stage_calendars").execute(connection)
        bounds = {"first_position": keys["position_id"].min(), "last_position": keys["position_id"].max()}
        written = await sql("stage_jobs").execute(connection, lane=lane.value, term=term.number, **bounds)
    return Staged(tasks if written else [], len(keys), written, rest)


async def propose(
    term: Term, connection: Connection, keys: pl.DataFrame, ranges: pl.DataFrame, lane: Lane, *, task_rows: int
) -> list[Task]:
    """Writes keys and their ranges, as numbered jobs, where the statement that makes them finds them (staged_keys,
    staged_jobs: temporary, until the end of the transaction). Returns the tasks that they would be.

    keys    PROPOSED_KEY, and for a fan-out RAISED_BY
    ranges  position_id, first_date, last_date, rows, sorted by position_id
    """
    for table in _TEMP_TABLES:
        await connection.execute(table)
    if keys.is_empty():
        return []
    first_job = await term.take_ids(connection, "valuation_job_ids", len(ranges))
    first_task = await term.take_ids(connection, "valuation_task_ids", len(ranges))
    jobs = packed(ranges, task_rows, first_job_id=first_job, first_task_id=first_task)
    # A key with one range carries it: to aggregate it from its jobs takes longer than the rest of the key.
    single = ranges.filter(pl.len().over("position_id") == 1).select("position_id", "first_date", "last_date")
    proposed = keys.select(pl.col(PROPOSED_KEY), cs.by_name(RAISED_BY, require_all=False))
    await copy_frame(connection, "staged_keys", proposed.join(single, on="position_id", how="left", maintain_order="left"))
    await copy_frame(connection, "staged_jobs", jobs.select("job_id", "task_id", "position_id", "first_date", "last_date"))
    for table in ("staged_keys", "staged_jobs"):
        await connection.execute(f"ANALYZE {table}")
    tasks = jobs.group_by("task_id", maintain_order=True).agg(
        pl.col("job_id").first().alias("first_job_id"),
        pl.col("job_id").last().alias("last_job_id"),
        pl.col("position_id").first().alias("first_position_id"),
        pl.col("position_id").last().alias("last_position_id"),
        pl.col("rows").sum(),
    )
    return [Task(lane=lane, **numbers) for numbers in tasks.iter_rows(named=True)]
