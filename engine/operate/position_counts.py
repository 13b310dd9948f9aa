"""Counts of positions by state, by portfolio and by correction, and what can have changed them.

To count a million positions takes most of a second. A count is up to date as long as nothing can
have changed it, which one look-up tells: what makes a position stop being current leaves a mark
(last_change.sql).
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from time import monotonic
from typing import Any

from revalue.engine.operate import eta
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.settings import Settings

sql = statements(__package__)

_PORTFOLIOS = 50
UNCHANGED_SECONDS = 600.0
"""For so long a count is kept that nothing can have changed. What leaves no mark is seen then, such
as a portfolio without positions."""

_SECONDS = 120  # a count may take longer than other statements of a server


@dataclass(frozen=True)
class LastChange:
    """What shows whether a position can have stopped being current; see last_change.sql.

    Two are equal if no position can have stopped being current between them.
    """

    read_at: datetime = field(compare=False)
    last_moment: datetime | None
    calendars: str
    is_queued: bool
    last_job: int | None = field(compare=False)
    is_at_work: bool = field(compare=False)


@dataclass(frozen=True)
class Unpublished:
    """Positions that do not publish a correction yet.

    Attributes:
        positions: how many.
        example: the id of one of them.
        reprocessing: how many of them are REPROCESSING, and not FAILED.
    """

    positions: int
    example: int
    reprocessing: int


@dataclass(frozen=True)
class PositionCounts:
    """All positions, counted in one snapshot.

    Attributes:
        counted_at: the time that they are of, by the database's clock.
        made_at: when they were counted; before counted_at if nothing has changed them in between.
        seconds: how long the count took.
        change: the last change that was counted.
        positions: number of positions by state; states without positions are left out.
        first_watermark: see Status, as the following ones.
        last_watermark: see Status.
        horizon: see Status.
        first_hole: see Status.
        last_hole: see Status.
        frontier_of_holes: see Status.
        reasons: see Status.
        jobs_deferred: see Status.
        dead_letters: see Status.
        zombie_jobs_fenced: see Status.
        lags: calendar days from watermark to horizon, and the number of positions with them.
        unpublished: by the last correction of positions that do not publish it yet: how many.
        portfolios: the first 50 portfolios with their positions by state, those with the most
            positions that are not current first.
        oldest_waiting_job: the oldest job of a position that waits for data.
        left: the work that is left; None: it was not counted.
    """

    counted_at: datetime
    made_at: datetime
    seconds: float
    change: LastChange
    positions: dict[str, int]
    first_watermark: date | None
    last_watermark: date | None
    horizon: date | None
    first_hole: date | None
    last_hole: date | None
    frontier_of_holes: date | None
    reasons: list[tuple[str, int, str]]
    jobs_deferred: int
    dead_letters: int
    zombie_jobs_fenced: int
    lags: dict[int, int]
    unpublished: dict[int, Unpublished]
    portfolios: list[dict[str, Any]]
    oldest_waiting_job: int | None
    left: eta.Remaining | None

    @property
    def total(self) -> int:
        """The number of all positions."""
        return sum(self.positions.values())

    @property
    def is_settled(self) -> bool:
        """Whether nothing changes them by itself: all is valued, lacks data or failed."""
        return (
            self.positions.keys() <= {"CURRENT", "WAITING_FOR_DATA", "FAILED"}
            and not self.jobs_deferred
            and not self.change.is_queued
            and not self.change.is_at_work
        )

    def is_unchanged(self, change: LastChange) -> bool:
        """Whether a count would give the same, judging by the last change now."""
        return (
            self.is_settled
            and (change, change.last_job) == (self.change, self.change.last_job)
            and not change.is_at_work
            and 0 <= self.age(change) < UNCHANGED_SECONDS
        )

    def is_young(self, change: LastChange, share: float) -> bool:
        """Whether it is too early to count again. Once all work has ended, it never is."""
        same = (change, change.last_job) == (self.change, self.change.last_job)
        goes_on = change.is_at_work or change.is_queued or (same and not self.change.is_at_work)
        return goes_on and 0 <= self.age(change) < self.seconds / share

    def age(self, change: LastChange) -> float:
        """Seconds since they were counted. After the clock was set back it is negative."""
        return (change.read_at - self.made_at).total_seconds()


async def read_last_change(connection: Connection) -> LastChange:
    """Return the last change that can have made a position not current."""
    return LastChange(**await sql("last_change").one(connection))


async def count_positions(
    database: Connections, settings: Settings | None = None
) -> PositionCounts:
    """Count all positions in one snapshot; with settings, the work that is left too.

    Most want kept_counts.shared_counts: of many positions this takes seconds.
    """
    began = monotonic()
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        await sql("allow_long_count").one(connection, seconds=str(_SECONDS))
        change = await read_last_change(connection)
        rows = await sql("position_counts").fetch(connection, limit=_PORTFOLIOS)
        counts = await sql("status_counts").one(connection)
        left = await eta.remaining(OpenTransaction(connection), settings) if settings else None
    of: dict[str, list[Any]] = {}
    for row in rows:
        of.setdefault(row["what"], []).append(row)
    states = sorted(of.get("STATE", ()), key=lambda row: str(row["name"]))

    def known(column: str) -> list[Any]:
        return [row[column] for row in states if row[column] is not None]

    firsts = [row["first_date"] for row in states if not row["is_unscheduled"]]
    return PositionCounts(
        counted_at=change.read_at,
        made_at=change.read_at,
        seconds=monotonic() - began,
        change=change,
        positions={row["name"]: row["positions"] for row in states},
        first_watermark=min(firsts) if len(firsts) == len(states) and firsts else None,
        last_watermark=max(known("last_date"), default=None),
        horizon=max(known("horizon"), default=None),
        first_hole=min(known("first_hole"), default=None),
        last_hole=max(known("last_hole"), default=None),
        frontier_of_holes=min(known("frontier_of_holes"), default=None),
        reasons=[
            (row["name"], row["positions"], row["example"])
            for row in sorted(
                of.get("REASON", ()), key=lambda row: (-row["positions"], row["name"])
            )
        ],
        lags={row["id"]: row["positions"] for row in of.get("LAG", ())},
        unpublished={
            row["id"]: Unpublished(row["positions"], *row["counts"])
            for row in of.get("CORRECTION", ())
        },
        portfolios=[
            {
                "portfolio_id": row["name"],
                "base_currency": row["example"],
                "positions": row["positions"],
                "positions_behind": row["counts"][0],
                "positions_reprocessing": row["counts"][1],
                "positions_waiting": row["counts"][2],
                "positions_failed": row["counts"][3],
            }
            for row in of.get("PORTFOLIO", ())
        ],
        oldest_waiting_job=min(known("id"), default=None),
        left=left,
        **counts,
    )
