"""Positions counted by state, by portfolio and by correction, and when that was.

To count a million positions takes a second or more. Few positions are counted for every question.
Of many, the last count is shared by all who ask in this process, it is
made again so seldom that it takes a twentieth of the time, and everything made of it says when it
was counted. Whether every position is current is answered for now all the same: what makes one
stop being current leaves a mark that costs nothing to look up (last_change.sql).
"""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from time import monotonic
from typing import Any

from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.operate import eta
from revalue.engine.postgres.database import Connections, OpenTransaction
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.settings import Settings

sql = statements(__package__)

_PORTFOLIOS = 50
UNCHANGED_SECONDS = 600.0
"""For so long a count is kept that nothing can have changed. What leaves no mark is seen then, such
as a portfolio without positions."""

_SECONDS = 120  # a count may take longer than other statements of a server

_log = logs.logger("counts")


@dataclass(frozen=True)
class LastChange:
    """What tells whether a position can have stopped being current; see last_change.sql."""

    read_at: datetime = field(compare=False)
    last_moment: datetime | None
    calendars: str
    is_queued: bool


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
        counted_at: when, by the database's clock.
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
    def is_settled(self) -> bool:
        """Whether nothing changed them further by itself: all is valued, or lacks data."""
        return (
            self.positions.keys() <= {"CURRENT", "WAITING_FOR_DATA"}
            and not self.jobs_deferred
            and not self.change.is_queued
        )


async def recounted_if_unchanged(
    database: Connections, counts: PositionCounts | None
) -> PositionCounts | None:
    """Return the counts as of now, without counting, if nothing can have changed them; else None.

    Only if they are settled. Then every change of them begins with a mark: see last_change.sql.
    """
    if counts is None or not counts.is_settled:
        return None
    async with database.connection() as connection:
        change = await read_last_change(connection)
    return replace(counts, counted_at=change.read_at) if change == counts.change else None


async def read_last_change(connection: Connection) -> LastChange:
    """Return the last change that can have made a position not current."""
    return LastChange(**await sql("last_change").one(connection))


async def count_positions(
    database: Connections, settings: Settings | None = None
) -> PositionCounts:
    """Count all positions in one snapshot; with settings, the work that is left too."""
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


class CountKeeper:
    """The last count, for all who ask in this process.

    Args:
        settings: count the work that is left with these; None: do not count it.
        few_positions: so many positions are counted for every question.
        share: more are counted so seldom that it takes this share of the time.
    """

    def __init__(
        self, settings: Settings | None = None, *, few_positions: int = 20_000, share: float = 0.05
    ) -> None:
        self._settings, self._few_positions, self._share = settings, few_positions, share
        self._last: PositionCounts | None = None
        self._began = self._took = self._counted_at = 0.0
        self._counting: asyncio.Task[PositionCounts] | None = None

    async def counts(self, database: Connections) -> PositionCounts:
        """Return the last count.

        One that is due is made in the background. It is waited for if it is the first or of few
        positions, or if nobody has asked for long. All who ask meanwhile share it.

        Raises:
            RevalueError: nothing was counted yet, and it fails.
        """
        last, age, pause = self._last, monotonic() - self._began, self._pause()
        if last is not None and age < pause:
            return last
        if self._counting is None:
            self._counting = asyncio.create_task(self._count(database))
            self._counting.add_done_callback(self._counted)
        if last is None or not pause or age > 3 * pause + 1:
            return await asyncio.shield(self._counting)
        return last

    async def close(self) -> None:
        """End a count that is being made."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait([self._counting])

    def _pause(self) -> float:
        """The time from the beginning of one count to that of the next."""
        positions = sum(self._last.positions.values()) if self._last else 0
        return 0.0 if positions <= self._few_positions else self._took / self._share

    async def _count(self, database: Connections) -> PositionCounts:
        if self._pause():
            is_young = monotonic() - self._counted_at < UNCHANGED_SECONDS
            same = await recounted_if_unchanged(database, self._last if is_young else None)
            if same is not None:
                self._last, self._began = same, monotonic()
                return same
        began = self._counted_at = monotonic()
        try:
            self._last = await count_positions(database, self._settings)
        finally:
            self._began, self._took = began, monotonic() - began
        return self._last

    def _counted(self, task: "asyncio.Task[PositionCounts]") -> None:
        self._counting = None
        if not task.cancelled() and isinstance(error := task.exception(), RevalueError):
            _log.warning("positions cannot be counted", reason=str(error))
