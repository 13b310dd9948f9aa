"""Runs a workload on the real engine and its peers in turn, verifies every row, and says how long it took.

A run is timed from the committed input (dates opened, prices written) to the moment at which every position is published and
valued to its horizon, as the database says it.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import asyncpg
import ray

from revalue.actors import cluster
from revalue.benchmarks import baselines
from revalue.benchmarks.baseline_duckdb import duckdb
from revalue.benchmarks.cost import Cost, Meter
from revalue.benchmarks.dataset import CHECKSUM, HOLDERS, VISIBLE, make_book
from revalue.engine.errors import RevalueError, UsageError
from revalue.engine.postgres import schema
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

WORKLOADS = {
    "backfill": "",
    "roll": """INSERT INTO business_dates SELECT 'BENCH', max(business_date) + 3 FROM business_dates""",
    "correction-day": """UPDATE market_prices SET price = price + 1 WHERE security_id = 'S000001' AND price_date = (
                             SELECT business_date FROM business_dates ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "correction-history": """UPDATE market_prices SET price = price + 1 WHERE security_id = 'S000001' AND price_date IN (
                                 SELECT business_date FROM business_dates ORDER BY 1 DESC LIMIT 250)""",
    "fx": """UPDATE fx_rates SET rate = rate + 0.01 WHERE rate_date = (
                 SELECT business_date FROM business_dates ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "storm": """UPDATE market_prices SET price = price + 1 WHERE security_id <= 'S001000' AND price_date = (
                    SELECT business_date FROM business_dates ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "late": """INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
               SELECT security_id, (SELECT max(business_date) FROM business_dates), 50.25, 'USD', 'PER_UNIT'
               FROM instruments""",
}
"""The committed input that a run is timed from; before it, all but `backfill` value the whole book."""

_PREPARED = {
    "late": "DELETE FROM market_prices WHERE price_date = (SELECT max(business_date) FROM business_dates)"
}
"""What is different from the book of the others before anything is valued: the last date is opened without its prices."""

PEERS = ("ceiling", "sql", "per-job", "duckdb")
_PER_JOB_SAMPLE = 2_000
_SAY_SECONDS = 3
_DROP = "DROP DATABASE IF EXISTS revalue_bench WITH (FORCE)"


@dataclass
class Outcome:
    """One workload: the engine's rows, seconds of each run, and of the last one its cost, jobs and SQL statements; peers'
    rows/s, median of their runs. phases: seconds of the actors together and of the scheduler (actors.progress.Progress)."""

    workload: str
    positions: int
    dates: int
    actors: int
    rows: int
    seconds: list[float] = field(default_factory=list)
    rows_per_second: float = 0.0
    spread: float = 0.0
    peers: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    jobs: int = 0
    statements: int = 0
    verified: str = ""
    interrupted: bool = False


class BenchmarkFailedError(RevalueError):
    """The engine and the SQL peer do not hold the same rows: the times mean nothing."""


async def run(
    server_url: str,
    workload: str,
    *,
    positions: int,
    dates: int,
    runs: int,
    wanted: tuple[str, ...],
    settings: Settings,
    say: Callable[[str], None],
    warm_up: bool = True,
) -> Outcome:
    """Runs one workload `runs` times, after one run that is dropped. Each run has a database of its own.

    Cancelled, it returns what was measured until then, as `interrupted`, if any run was.
    Raises UsageError for an unknown workload or peer, BenchmarkFailedError when a row is wrong.
    """
    if workload not in WORKLOADS:
        raise UsageError(f"no workload {workload!r}: one of {', '.join(WORKLOADS)}")
    if unknown := set(wanted) - set(PEERS):
        raise UsageError(f"no peer {unknown}: {', '.join(PEERS)}")
    outcome = Outcome(workload, positions, dates, settings.actors or 0, 0)
    rates: dict[str, list[float]] = {}
    try:
        for number in range(0 if warm_up else 1, runs + 1):
            async with fresh_database(server_url) as database:
                holders = (
                    positions if workload.startswith("correction") else min(HOLDERS, positions)
                )
                await make_book(database, positions=positions, dates=dates, holders=holders)
                if workload in _PREPARED:
                    async with database.connection() as connection:
                        await connection.execute(_PREPARED[workload])
                measured = await _engine(database, workload, settings, dates, say)
                outcome.actors = measured.actors
                if not measured.rows:
                    raise BenchmarkFailedError(
                        f"{workload}: nothing was revalued: it measures nothing"
                    )
                await _verify(database, outcome)
                name = "warm-up" if number == 0 else f"run {number}"
                rate = measured.rows / measured.seconds
                say(
                    f"{workload} {name}: {measured.rows:,} rows in {measured.seconds:.2f} s, {rate:,.0f}/s"
                )
                if number == 0:
                    continue
                outcome.rows = measured.rows
                outcome.seconds.append(round(measured.seconds, 3))
                outcome.cost, outcome.phases = asdict(measured.cost), measured.phases
                outcome.jobs, outcome.statements = measured.jobs, measured.statements
                for name, timed in [
                    found async for found in _peers(database, wanted, measured.actors)
                ]:
                    rates.setdefault(name, []).append(timed.rows / timed.seconds)
                    say(
                        f"  {name}: {timed.rows:,} rows in {timed.seconds:.2f} s, {timed.rows / timed.seconds:,.0f}/s"
                    )
    except asyncio.CancelledError:
        if not outcome.seconds:
            raise
        outcome.interrupted = True
    speeds = [outcome.rows / seconds for seconds in outcome.seconds]
    outcome.rows_per_second = round(statistics.median(speeds))
    outcome.spread = round((max(speeds) - min(speeds)) / statistics.median(speeds), 3)
    outcome.peers = {name: round(statistics.median(found)) for name, found in rates.items()}
    outcome.ratios = {
        name: round(outcome.rows_per_second / rate, 2)
        for name, rate in outcome.peers.items()
        if rate
    }
    return outcome


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[Database]:
    """A migrated database for one run, dropped after it, also when the run ends before it was made."""
    path, _, query = server_url.partition("?")
    url = f"{path.rpartition('/')[0]}/revalue_bench" + (f"?{query}" if query else "")
    try:
        await _on_server(server_url, _DROP, "CREATE DATABASE revalue_bench")
        await schema.migrate(url)
        async with await Database.open(url) as database:
            yield database
    finally:
        dropped = asyncio.create_task(_on_server(server_url, _DROP))
        try:
            await asyncio.shield(dropped)
        except (
            asyncio.CancelledError
        ):  # an interruption in the middle of dropping does not leave it half done
            await dropped
            raise


async def _on_server(server_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@dataclass
class _Measured:
    rows: int
    seconds: float
    actors: int
    cost: Cost
    phases: dict[str, float]
    jobs: int
    statements: int


async def _engine(
    database: Database, workload: str, settings: Settings, dates: int, say: Callable[[str], None]
) -> _Measured:
    """Starts a scheduler; times from the committed input until the database says that every position is current."""
    statement = WORKLOADS[workload].format(middle=dates // 2)
    async with database.connection() as connection:
        opened = [
            row[0] for row in await connection.fetch("SELECT business_date FROM business_dates")
        ]
        if workload == "backfill":
            # The scheduler is up and idle before the dates are opened, as it is in service.
            await connection.execute("ALTER TABLE business_dates DISABLE TRIGGER USER")
            await connection.execute("DELETE FROM business_dates")
            await connection.execute("ALTER TABLE business_dates ENABLE TRIGGER USER")
    scheduler = cluster.start_scheduler(database.url, settings)
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        before = await quiet_again(scheduler)
        await all_connected(database, actors)
        async with database.connection() as connection:
            await connection.execute("CHECKPOINT")
            meter = Meter()
            await meter.start(database)
            begun = perf_counter()
            if workload == "backfill":
                await connection.execute(
                    "INSERT INTO business_dates SELECT 'BENCH', unnest($1::date[])", opened
                )
            else:
                await connection.execute(statement)
            progress = await quiet_again(scheduler, meter, say)
            seconds = perf_counter() - begun
            cost = await meter.stop(database)
            left = await connection.fetchval(
                "SELECT count(*) FROM position_status WHERE state <> 'CURRENT'"
            )
        if left:
            raise BenchmarkFailedError(f"{left} positions are not current after {workload}")
        phases = {
            name: round(spent - before["seconds"].get(name, 0.0), 2)
            for name, spent in progress["seconds"].items()
        }
        done = {
            name: progress[name] - before[name]
            for name in ("rows_written", "jobs_created", "statements")
        }
        return _Measured(
            done["rows_written"],
            seconds,
            actors,
            cost,
            phases,
            done["jobs_created"],
            done["statements"],
        )
    finally:
        cluster.stop_scheduler(scheduler)


async def all_connected(database: Database, actors: int) -> None:
    """Waits until the actors are connected, and the one of the live lane: their starting is not measured."""
    query = (
        "SELECT count(DISTINCT application_name) FROM pg_stat_activity "
        "WHERE datname = current_database() AND starts_with(application_name, $1)"
    )
    async with database.connection() as connection:
        while await connection.fetchval(query, application_name("valuer", "")) < actors + 1:
            await asyncio.sleep(0.05)


async def quiet_again(
    scheduler: Any, meter: Meter | None = None, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Waits until nothing is left to do; returns the scheduler's progress. Samples memory meanwhile, and says every few seconds
    how far it is."""
    looked = told = perf_counter()
    while True:
        progress: dict[str, Any] = await asyncio.to_thread(
            lambda: ray.get(scheduler.progress.remote(), timeout=60)
        )
        if progress["quiet"]:
            return progress
        if meter is not None and perf_counter() - looked > 0.5:
            meter.sample()
            looked = perf_counter()
        if perf_counter() - told > _SAY_SECONDS:
            told = perf_counter()
            say(
                f"  … {progress.get('rows_written', 0):,} rows, {progress.get('in_flight', 0)} tasks in flight"
            )
        await asyncio.sleep(0.02)


async def _verify(database: Database, outcome: Outcome) -> None:
    """The rows that readers see are those that one SQL statement computes from the data as they are now."""
    timed = await baselines.sql(database)
    async with database.connection() as connection:
        ours: Any = await connection.fetchrow(CHECKSUM.format(relation=VISIBLE))
        theirs: Any = await connection.fetchrow(CHECKSUM.format(relation="peer_sql"))
    if tuple(ours) != tuple(theirs):
        raise BenchmarkFailedError(
            f"{outcome.workload}: readers see {tuple(ours)} (rows, digest), SQL computes {tuple(theirs)}"
        )
    outcome.verified = f"{timed.rows} rows, digest {ours['digest']}"


async def _peers(database: Database, wanted: tuple[str, ...], actors: int) -> Any:
    if "sql" in wanted:
        yield "sql", await baselines.sql(database)
    if "ceiling" in wanted:
        yield "ceiling, 1 connection", await baselines.ceiling(database, 1)
        if actors > 1:
            yield f"ceiling, {actors} connections", await baselines.ceiling(database, actors)
    if "duckdb" in wanted:
        for name, timed in (await duckdb(database)).items():
            yield name, timed
        async with database.connection() as connection:
            theirs: Any = await connection.fetchrow(CHECKSUM.format(relation="peer_duckdb"))
            ours: Any = await connection.fetchrow(CHECKSUM.format(relation=VISIBLE))
        if tuple(ours) != tuple(theirs):
            raise BenchmarkFailedError(
                f"readers see {tuple(ours)} (rows, digest), DuckDB computes {tuple(theirs)}"
            )
    if "per-job" in wanted:
        yield "per-job", await baselines.per_job(database, _PER_JOB_SAMPLE)
