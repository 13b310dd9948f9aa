"""Plan a correction: make it, and find what would be due, in a transaction that is rolled back.

The correction, its triggers and their reach are real; due dates are found and inputs are read by
the code that stages and values them. Only what follows from them is not written: epochs, jobs and
rows. So a plan locks only what the correction itself writes, until its inputs are read, and for
`preview_seconds` at most; the inputs are valued after that. If another transaction holds one of
those rows for longer than a second, the plan is abandoned.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import polars as pl

from revalue.engine.core.eligibility import due_ranges
from revalue.engine.errors import PlanTooLongError, PreviewTooLargeError
from revalue.engine.operate.eta import throughput
from revalue.engine.postgres.arrow import Snapshot
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection, Literal, Statement, statements
from revalue.engine.postgres.transaction_reader import TransactionReader
from revalue.engine.settings import Settings
from revalue.engine.value.inputs import TaskInputs, numbered, read_business_days, read_inputs_of

sql = statements(__package__)

Correct = Callable[[Connections], Awaitable[Any]]

MAX_POSITIONS = 2_000_000
MAX_RANGES = 5_000_000
MAX_INPUT_ROWS = 10_000_000
"""The largest plan: it is held in memory, about 50 bytes a row."""

_OPEN = ("open_first", "open_last", "is_split")
_NAMES = ("position_id", "portfolio_id", "security_id", "base_currency")


@dataclass(frozen=True)
class Estimate:
    """How long a plan would take, by the speed of recorded jobs.

    Attributes:
        seconds: rows of the plan, at rows_per_second.
        bound: "about" if the recorded jobs are of like size. "at least" if they are larger and "at
            most" if they are smaller, because a row of a small job costs more. "at most" also if
            they are of like size and have fewer rows than the plan, because each run has fixed
            costs.
        rows_per_second: the speed of the recorded jobs.
        jobs: how many jobs were recorded.
    """

    seconds: float
    bound: str
    rows_per_second: float
    jobs: int


@dataclass(frozen=True)
class Plan:
    """What the engine would do after a correction.

    Attributes:
        correction: what the correction returned.
        positions: position_id, portfolio_id, security_id, base_currency.
        ranges: position_id, first_date, last_date (both included) and rows: what would be valued.
        leaving: position_id, first_date, last_date (both included): dates that readers see now and
            that leave the history.
        inputs: what `ranges` are valued from; None: nothing would be valued.
        estimate: how long it would take; None: no finished job is recorded.
    """

    correction: Any
    positions: pl.DataFrame
    ranges: pl.DataFrame
    leaving: pl.DataFrame
    inputs: TaskInputs | None
    estimate: Estimate | None


class Hold:
    """The time limit of the plan's locks. The plan checks it before each statement."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = monotonic() + seconds
        self._is_abandoned = False

    async def begin(self, connection: Connection) -> None:
        """Limit each statement to the time of the hold, unless the connection has a lower limit."""
        self._until = monotonic() + self._seconds
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await sql("limits").execute(connection, max_ms=max(1, round(self._seconds * 1000)))

    def abandon(self) -> None:
        """Make the plan end before its next statement."""
        self._is_abandoned = True

    def check(self, step: str) -> None:
        """Raise PlanTooLongError if the time is over, or the plan was abandoned."""
        if self._is_abandoned:
            raise PlanTooLongError("the preview was cancelled")
        if monotonic() > self._until:
            raise PlanTooLongError(
                f"the plan would lock what it corrects for longer than {self._seconds:g} s; "
                f"it was at: {step}. "
                "Preview fewer corrections at once, or raise REVALUE_PREVIEW_SECONDS"
            )


async def plan_correction(
    database: Database, readers: Connection, correct: Correct, hold: Hold, settings: Settings
) -> Plan:
    """Return what the engine would do after a correction.

    Args:
        database: needs a connection.
        readers: a repeatable-read transaction, in which nothing was read yet. It sees what readers
            see when the plan is made.
        correct: makes the correction on the database that it is given.
        hold: the time limit of the locks.
        settings: for the estimate.

    Raises:
        WriteConflictError: another transaction holds what is corrected.
        PlanTooLongError: the plan would take longer than the time limit.
        PreviewTooLargeError: the plan would take too much memory.
        StatementCancelledError: a statement took too long.
        RevalueError: what `correct` raises.
    """
    async with database.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await hold.begin(connection)
            last = await sql("last_trigger").value(connection)
            correction = await correct(OpenTransaction(connection))
            hold.check("finding the positions")
            own = await sql("own_triggers").one(connection, after=last)
            await sql("reached_positions").execute(connection, **own)
            await connection.execute("ANALYZE reached_positions")
            reader = TransactionReader(connection)
            plan = await asyncio.to_thread(_planned, reader, correction, hold)
            return replace(plan, estimate=await _estimate(readers, plan.ranges["rows"], settings))
        finally:
            await transaction.rollback()


def _planned(reader: TransactionReader, correction: Any, hold: Hold) -> Plan:
    with reader.snapshot() as opened:
        snapshot = _LimitedSnapshot(opened, hold)
        with snapshot.limited(MAX_POSITIONS, "positions"):
            positions = snapshot.read(sql("positions"), limit=MAX_POSITIONS + 1)
        with snapshot.limited(MAX_RANGES, "ranges of dates"):
            most = {"limit": MAX_RANGES + 1}
            leaving = snapshot.read(sql("leaving_dates"), **most)
            ranges = _due(snapshot, positions, most)
        with snapshot.limited(MAX_INPUT_ROWS, "prices, rates and position records"):
            inputs = read_inputs_of(snapshot, _spans(ranges, positions)) if len(ranges) else None
    return Plan(correction, positions.select(_NAMES), ranges, leaving, inputs, None)


def _due(
    snapshot: "_LimitedSnapshot", positions: pl.DataFrame, most: dict[str, int]
) -> pl.DataFrame:
    """Return the ranges of dates that would be due, as stage.scan.scan_page finds them."""
    open_spans = positions.filter(~pl.col("is_split") & pl.col("open_first").is_not_null()).select(
        "position_id", first_date="open_first", last_date="open_last"
    )
    if positions["is_split"].any():
        open_spans = pl.concat([open_spans, snapshot.read(sql("open_dates"), **most)])
    pending = snapshot.read(sql("pending"), **most)
    return due_ranges(positions, pending, open_spans, read_business_days(snapshot))


def _spans(ranges: pl.DataFrame, positions: pl.DataFrame) -> pl.DataFrame:
    """Return the ranges as spans, with span_no and what value/inputs.py reads of spans."""
    return numbered(
        ranges.drop("rows").join(
            positions.drop(*_OPEN, "staged", "frontier_date", "horizon", *_NAMES[1:]),
            on="position_id",
            maintain_order="left",
        )
    ).with_columns(job_id=pl.lit(0, dtype=pl.Int64), attempt_count=pl.lit(1, dtype=pl.Int16))


class _LimitedSnapshot:
    """A snapshot that checks the hold before each read, and limits how many rows are read."""

    def __init__(self, snapshot: Snapshot, hold: Hold) -> None:
        self._snapshot = snapshot
        self._hold = hold
        self._left = 0
        self._what = ""

    @contextmanager
    def limited(self, rows: int, what: str) -> Iterator[None]:
        """Read at most `rows` in the block; `what` they are, for the error and the step."""
        self._left, self._what = rows, what
        yield
        self._hold.check(f"reading {what}")

    def read(self, statement: Statement, **values: Literal) -> pl.DataFrame:
        """Return the rows of a SELECT.

        Raises:
            PreviewTooLargeError: they are too many.
        """
        self._hold.check(f"reading {self._what}")
        rows = self._snapshot.read(statement, **values)
        self._left -= len(rows)
        if self._left < 0:
            raise PreviewTooLargeError(
                f"the preview would read too many {self._what} at once. "
                "Preview fewer corrections, or corrections of fewer dates"
            )
        return rows


async def _estimate(readers: Connection, rows: pl.Series, settings: Settings) -> Estimate | None:
    """Estimate the time of a plan from `rows`, the rows of each of its spans."""
    mean = float(rows.sum() / max(1, len(rows)))
    found = await throughput(readers, mean, settings)
    if found is None or rows.is_empty():
        return None
    if found["only_like"]:
        bound = "about" if found["rows_written"] >= rows.sum() else "at most"
    else:
        bound = "at least" if found["rows_per_span"] > mean else "at most"
    speed = float(found["rows_per_second"])
    return Estimate(int(rows.sum()) / speed, bound, speed, found["jobs"])
