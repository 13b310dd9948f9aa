"""What tests share: a small book, an engine without Ray, and short database helpers."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import psutil

from revalue.actors.loop import SchedulerLoop
from revalue.actors.steps import DatabaseSteps
from revalue.engine.core.lifecycle import Lane
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.lake.ownership import adopt, make_lake, place
from revalue.engine.leadership.term import Term
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from revalue.engine.value.valuer import Valuer, ValuerOptions
from tests.lake_rows import rows_in_tables

IN_LAKE = bool(os.environ.get("TEST_IN_LAKE"))
"""Whether every result of `engine` is a file of a lake: the tests of readers run in both ways."""


def examples(usual: int) -> int:
    """How many examples a property test makes: PROPERTY_EXAMPLES, or its own usual number."""
    return int(os.environ.get("PROPERTY_EXAMPLES", usual))


SETTINGS = Settings(task_starts_per_second=1_000, poll_seconds=0.2, retry_seconds=0.05)


class LocalPool:
    """A pool with workers in this process: the real valuer and database, without Ray."""

    def __init__(self, valuers: list[Valuer], capacity: int) -> None:
        self._free: asyncio.Queue[Valuer] = asyncio.Queue()
        for valuer in valuers:
            self._free.put_nowait(valuer)
        self._capacity = capacity
        self.ran: list[Task] = []
        self.most_at_once = 0
        self._at_once = 0

    def capacity(self, lane: Lane) -> int:
        return self._capacity

    async def run(self, task: Task, taken: Callable[[], None] = lambda: None) -> TaskResult:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            valuer = await self._free.get()
            taken()
            try:
                self.ran.append(task)
                return await valuer.run(task)
            finally:
                self._free.put_nowait(valuer)
        finally:
            self._at_once -= 1

    async def close(self) -> None:
        while not self._free.empty():
            await self._free.get_nowait().close()


class Engine:
    """A scheduler's loop over a LocalPool, run turn by turn."""

    def __init__(
        self,
        loop: SchedulerLoop,
        pool: LocalPool,
        term: Term,
        reader: ArrowReader,
        database: Database,
    ) -> None:
        self.loop = loop
        self.pool = pool
        self.term = term
        self.reader = reader
        self.database = database

    async def settle(self) -> None:
        """Run the loop until nothing is left to do now, as `revalue value` does.

        No notification wakes it.
        """
        self.loop.wake()
        async with asyncio.timeout(600):  # the sample book takes a minute
            while True:
                worked = await self.loop.run_once()
                if self.loop.progress.idle and not worked:
                    return
                if not worked:
                    await asyncio.wait_for(self.loop.woken(), 30)


@asynccontextmanager
async def engine(
    url: str, *, settings: Settings = SETTINGS, workers: int = 2, holder: str = "test"
) -> AsyncIterator[Engine]:
    """An engine that leads on the database."""
    async with await Database.open(
        url,
        connections=8,
        application=application_name("scheduler", holder),
        lock_seconds=settings.lock_seconds,
        tells_of_locks=False,
        answer_seconds=settings.step_seconds,
    ) as database:
        if IN_LAKE and settings.lake is None:
            lake = await own_lake(database)
            settings = settings.model_copy(update={"lake": lake, "lake_task_rows": 1})
        if settings.lake is not None:
            await make_lake(database, settings.lake)
        valuers = [await Valuer.open(url, ValuerOptions.of(settings)) for _ in range(workers)]
        pool = LocalPool(valuers, capacity=workers * settings.tasks_per_actor)
        reader, live = (
            ArrowReader(
                url, lock_seconds=settings.lock_seconds, answer_seconds=settings.step_seconds
            )
            for _ in range(2)
        )
        term = await Term.acquire(
            database, holder, lease_seconds=settings.lease_seconds, take_over=True
        )
        readers = {Lane.HISTORY: reader, Lane.LIVE: live}
        loop = SchedulerLoop(DatabaseSteps(database, readers, term, settings), pool, settings)
        try:
            await loop.recover()
            yield Engine(loop, pool, term, reader, database)
        finally:
            reader.close()
            live.close()
            await pool.close()


async def own_lake(database: Database) -> str:
    """Return the lake of a database. A copy of another one, which may only read that one's, gets a
    copy of the files, as its own."""
    server = Path(parse_qs(urlsplit(database.url).query)["host"][0])  # the folder goes with it
    new = str(server.parent / "lakes" / uuid.uuid4().hex)
    async with database.connection() as connection:
        known = await place(connection)
    if known is None:
        return new
    if known.is_own:
        return known.address
    await asyncio.to_thread(shutil.copytree, known.address, new)
    await execute(database, "UPDATE lake SET address = $1", new)
    await adopt(database)
    return new


def weekdays(first: date, count: int) -> list[date]:
    days = []
    day = first
    while len(days) < count:
        if day.isoweekday() < 6:
            days.append(day)
        day += timedelta(days=1)
    return days


DAYS = weekdays(date(2024, 1, 1), 20)
"""Four weeks, Monday 2024-01-01 to Friday 2024-01-26."""


def dates(days: list[date], calendar: str = "CAL") -> pl.DataFrame:
    return pl.DataFrame({"calendar_id": [calendar] * len(days), "business_date": days})


def prices(
    security: str, rows: dict[date, str], currency: str = "USD", basis: str = "PER_UNIT"
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "security_id": [security] * len(rows),
            "price_date": list(rows),
            "price": list(rows.values()),
        },
        schema={"security_id": pl.String, "price_date": pl.Date, "price": pl.String},
    ).with_columns(currency=pl.lit(currency), quote_basis=pl.lit(basis))


def facts(portfolio: str, security: str, rows: dict[date, str], cost: str = "1000") -> pl.DataFrame:
    """Position records by date and quantity; a quantity of 0 has no cost."""
    return pl.DataFrame(
        {"position_date": list(rows), "quantity": list(rows.values())},
        schema={"position_date": pl.Date, "quantity": pl.String},
    ).select(
        portfolio_id=pl.lit(portfolio),
        security_id=pl.lit(security),
        position_date="position_date",
        quantity="quantity",
        cost_basis_local=pl.when(pl.col("quantity") == "0")
        .then(pl.lit("0"))
        .otherwise(pl.lit(cost)),
        cost_basis=pl.when(pl.col("quantity") == "0").then(pl.lit("0")).otherwise(pl.lit(cost)),
    )


async def open_days(database: Database, days: list[date], calendar: str = "CAL") -> None:
    """Load business days, and open the calendar through the last of them."""
    await load(database, Kind.BUSINESS_DATES, dates(days, calendar))
    await open_calendars(database, max(days), [calendar])


async def load_small_book(
    database: Database, *, portfolios: int = 3, days: list[date] = DAYS
) -> None:
    """Load securities A and B in USD, daily prices, EUR/USD rates, and portfolios that hold both.

    The portfolios P1, P2, P3... have the base currencies USD, EUR, USD...
    """
    bases = ["USD" if n % 2 else "EUR" for n in range(1, portfolios + 1)]
    names = [f"P{n}" for n in range(1, portfolios + 1)]
    await open_days(database, days)
    await load(
        database,
        Kind.PORTFOLIOS,
        pl.DataFrame(
            {"portfolio_id": names, "base_currency": bases, "calendar_id": ["CAL"] * portfolios}
        ),
    )
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame(
            {
                "security_id": ["A", "B"],
                "currency": ["USD", "USD"],
                "max_price_age_sessions": [3, 3],
            }
        ),
    )
    rates = {
        "base_currency": ["EUR"] * len(days),
        "quote_currency": ["USD"] * len(days),
        "rate_date": days,
    }
    await load(
        database,
        Kind.FX_RATES,
        pl.DataFrame({**rates, "rate": [f"1.{1000 + n * 7}" for n in range(len(days))]}),
    )
    for security, start in (("A", 100), ("B", 50)):
        await load(
            database,
            Kind.PRICES,
            prices(security, {day: f"{start + n}.25" for n, day in enumerate(days)}),
        )
    held = [
        facts(name, security, {days[0]: "10.5", days[4]: "7"})
        for name in names
        for security in ("A", "B")
    ]
    await load(database, Kind.POSITIONS, pl.concat(held))


async def until(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    seconds: float = 30,
    pause: float = 0.01,
    work: "asyncio.Task[Any] | None" = None,
) -> None:
    """Wait, at most `seconds`, until the condition is true.

    Args:
        pause: between two looks; 0 for what is true only for a moment.
        work: a task without whose work it never would be: when the task ends, so does the wait.
    """
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            assert work is None or not work.done(), work
            await asyncio.sleep(pause)


async def until_current(
    running: Engine, database: Database, work: "asyncio.Task[None]", *, seconds: float = 60
) -> None:
    """Wait until the loop, which runs as `work`, has nothing to do and every position is current.

    One may be so without the other: the loop before it knows of a correction.
    """

    async def is_so() -> bool:
        return await running.loop.is_quiet() and (await read_status(database)).is_current

    await until(is_so, seconds=seconds, work=work)


async def settle_until(running: Engine, condition: Callable[[], Awaitable[bool]]) -> None:
    """Settle again and again, at most a minute, until what waits for its time has come about."""
    async with asyncio.timeout(60):
        await running.settle()
        while not await condition():
            await asyncio.sleep(0.01)
            await running.settle()


async def is_current(database: Database) -> bool:
    return (await read_status(database)).is_current


async def has_dead_letters(database: Database) -> bool:
    return (await read_status(database)).dead_letters > 0


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended, though its parent may not have asked for its exit code."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def fetch(database: Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
    async with database.connection() as connection, rows_in_tables(connection, query):
        return [tuple(row) for row in await connection.fetch(query, *values)]


async def execute(database: Database, statement: str, *values: Any) -> None:
    async with database.connection() as connection:
        await connection.execute(statement, *values)


async def state_of(database: Database, portfolio: str, security: str) -> dict[str, Any]:
    async with database.connection() as connection:
        row = await connection.fetchrow(
            "SELECT * FROM position_state WHERE portfolio_id = $1 AND security_id = $2",
            portfolio,
            security,
        )
    assert row is not None
    return dict(row)
