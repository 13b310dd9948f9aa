"""Reads of a book whose rows are in a lake: files as the tasks wrote them, and merged by month.

Each question is asked of the engine's own readers, of `revalue lake sql`, and of the files alone:
the rows of known position ids, without what the others read from PostgreSQL. A time is the shortest
of five, after one that is dropped: the operating system then has the files in its memory.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from time import perf_counter, process_time

import polars as pl

from revalue.actors import local
from revalue.benchmarks.dataset import make_book
from revalue.benchmarks.in_lake import with_own_lake
from revalue.engine.core.valuation import VALUE_COLUMNS
from revalue.engine.lake.check import summary
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.maintain import maintain
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.transaction_reader import read_frame
from revalue.engine.read import report
from revalue.engine.read.frames import totals_by_currency
from revalue.engine.read.lake_sql import LakeSql
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.report import Wanted
from revalue.engine.settings import Settings

POSITIONS, DATES = 40_000, 250
_CALLS = 5
_HISTORY = 250
_TASK_ROWS = 1_000
_ANY_EPOCH = 2**31 - 1

Read = Callable[[], Awaitable[int]]


@dataclass
class LakeReadsOutcome:
    """What was measured.

    Attributes:
        positions, dates: of the book. rows: position-days.
        files: number of files, by their state: `as written` and `merged`.
        bytes: size of the merged files.
        milliseconds: of each question, by its name, its reader and the state of the files.
        cpu_milliseconds: of this process, of the same call.
    """

    positions: int
    dates: int
    rows: int = 0
    files: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    milliseconds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    cpu_milliseconds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


async def measure(
    database: Database,
    settings: Settings,
    folder: Path,
    *,
    positions: int = POSITIONS,
    dates: int = DATES,
    say: Callable[[str], None] = lambda _: None,
) -> LakeReadsOutcome:
    """Backfill an empty database into a lake below the folder; read it, maintain it, read it again.

    Raises:
        AssertionError: a reader returns another number of rows than asked for.
    """
    given = {"lake": str(folder), "lake_task_rows": _TASK_ROWS}
    own = with_own_lake(settings.model_copy(update=given), database)
    outcome = LakeReadsOutcome(positions, dates)
    try:
        await make_book(database, positions=positions, dates=dates)
        run = await asyncio.to_thread(local.run_until_quiet, database.url, own)
        outcome.rows = run.rows_written
        await _read_all(database, outcome, "as written", say)
        await maintain(database)
        await _read_all(database, outcome, "merged", say)
    finally:
        await asyncio.to_thread(shutil.rmtree, str(own.lake), ignore_errors=True)
    return outcome


async def _read_all(
    database: Database, outcome: LakeReadsOutcome, state: str, say: Callable[[str], None]
) -> None:
    found = await summary(database)
    outcome.files[state], outcome.bytes = found.files, found.bytes
    async with database.connection() as connection:
        days: list[date] = [
            day
            for (day,) in await connection.fetch(
                "SELECT business_date FROM business_dates ORDER BY 1"
            )
        ]
        [(portfolio, security, held)] = await connection.fetch(
            "SELECT portfolio_id, security_id, count(*) OVER (PARTITION BY portfolio_id) "
            "FROM position_state ORDER BY position_id = $1 DESC LIMIT 1",
            outcome.positions // 2,
        )
        positions = await read_frame(
            connection, "SELECT position_id, portfolio_id, security_id FROM position_state"
        )
    names = (portfolio, security)
    day, some = days[len(days) // 2], days[-_HISTORY:]
    expected = {
        "total": 2 * len(days),
        "day": outcome.positions,
        "history": len(some),
        "page": held,
    }
    opened = await LakeSql.opened(database)
    readers = {
        "engine": _of_engine(database, names, day, some),
        "SQL": _of_sql(opened, names, day, some),
        "files alone": _of_files(database, positions, names, day, some),
    }
    try:
        for who, reads in readers.items():
            for name, read in reads.items():
                best = min([await _timed(read, expected[name]) for _ in range(1 + _CALLS)][1:])
                for into, seconds in zip(
                    (outcome.milliseconds, outcome.cpu_milliseconds), best, strict=True
                ):
                    times = into.setdefault(name, {}).setdefault(who, {})
                    times[state] = round(seconds * 1000, 1)
                say(f"{state}, {who}, {name}: {best[0] * 1000:,.1f} ms")
    finally:
        opened.close()


async def _timed(read: Read, expected: int) -> tuple[float, float]:
    """Return the seconds of a call, and those of CPU of this process."""
    begun, cpu = perf_counter(), process_time()
    rows = await read()
    took = perf_counter() - begun, process_time() - cpu
    if rows != expected:
        raise AssertionError(f"{rows} rows were read, not {expected}")
    return took


def _of_engine(
    database: Database, names: tuple[str, str], day: date, some: list[date]
) -> dict[str, Read]:
    reader = ReaderQueries(database)

    async def total() -> int:
        return len(await totals_by_currency(database))

    async def of_day() -> int:
        return sum([len(rows) async for rows in report.positions(database, Wanted(last_date=day))])

    async def history() -> int:
        _, rows = await reader.history(*names, some[0], some[-1], limit=len(some))
        return len(rows)

    async def page() -> int:
        _, rows = await reader.positions(names[0], day, limit=1_000)
        return len(rows)

    return {"total": total, "day": of_day, "history": history, "page": page}


def _of_files(
    database: Database,
    positions: pl.DataFrame,
    names: tuple[str, str],
    day: date,
    some: list[date],
) -> dict[str, Read]:
    of_portfolio = positions.filter(pl.col("portfolio_id") == names[0])
    position = of_portfolio.filter(pl.col("security_id") == names[1])

    def reading(some_positions: pl.DataFrame, first_date: date, last_date: date) -> Read:
        wanted = some_positions.select("position_id").with_columns(
            first_date=pl.lit(first_date), last_date=pl.lit(last_date), epoch=pl.lit(_ANY_EPOCH)
        )

        async def read() -> int:
            async with database.transaction(readonly=True) as connection:
                lake = await Lake.existing(connection)
                return len(await lake.newest(connection, wanted, VALUE_COLUMNS))

        return read

    return {
        "day": reading(positions, day, day),
        "history": reading(position, some[0], some[-1]),
        "page": reading(of_portfolio, day, day),
    }


def _of_sql(
    opened: LakeSql, names: tuple[str, str], day: date, some: list[date]
) -> dict[str, Read]:
    portfolio = f"portfolio_id = '{names[0]}'"
    queries = {
        "total": "SELECT base_currency, date, sum(market_value), sum(unrealized_gain) "
        "FROM position_valuations GROUP BY ALL",
        "day": f"FROM position_valuations WHERE date = '{day}'",
        "history": f"FROM position_valuations WHERE {portfolio} "
        f"AND security_id = '{names[1]}' "
        f"AND date BETWEEN '{some[0]}' AND '{some[-1]}' ORDER BY date",
        "page": f"FROM position_valuations WHERE {portfolio} AND date = '{day}'",
    }

    def asking(query: str) -> Read:
        async def ask() -> int:
            found = opened.query(query)
            return 0 if found is None else sum(len(rows) for rows in found.frames)

        return ask

    return {name: asking(query) for name, query in queries.items()}
