"""Run a workload on the real engine and on its baselines, verify every row, return the times.

A run is timed from the committed input (dates opened, prices written) until the scheduler, asked
fifty times a second, says that nothing is left to do; then the database has to say that every
position is current.
"""

import asyncio
import secrets
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, TypeVar

import asyncpg
import ray

from revalue.actors import cluster
from revalue.benchmarks import baseline_pathway
from revalue.benchmarks.baseline_duckdb import duckdb
from revalue.benchmarks.baselines import Timed, per_job, sql, upper_bound
from revalue.benchmarks.cost import Cost, Meter
from revalue.benchmarks.dataset import CHECKSUM, HOLDERS, OPEN, VISIBLE, make_book
from revalue.benchmarks.in_lake import bring_back, with_own_lake
from revalue.benchmarks.sent_statements import SentStatements
from revalue.benchmarks.sizes import Size, kept, table_sizes
from revalue.engine.errors import AccessDeniedError, RevalueError, UsageError
from revalue.engine.postgres import schema
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings

T = TypeVar("T")

WORKLOADS = {
    "backfill": OPEN,
    "roll": f"""INSERT INTO business_dates SELECT 'BENCH', max(business_date) + 3
                FROM business_dates;
                {OPEN}""",
    "correction-day": """UPDATE market_prices SET price = price + 1
                         WHERE security_id = 'S000001' AND price_date = (
                             SELECT business_date FROM business_dates
                             ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "correction-history": """UPDATE market_prices SET price = price + 1
                             WHERE security_id = 'S000001' AND price_date IN (
                                 SELECT business_date FROM business_dates
                                 ORDER BY 1 DESC LIMIT 250)""",
    "fx": """UPDATE fx_rates SET rate = rate + 0.01 WHERE rate_date = (
                 SELECT business_date FROM business_dates ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "storm": """UPDATE market_prices SET price = price + 1 WHERE security_id <= 'S001000'
                AND price_date = (
                    SELECT business_date FROM business_dates ORDER BY 1 OFFSET {middle} LIMIT 1)""",
    "late": """INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
               SELECT security_id, (SELECT max(business_date) FROM business_dates), 50.25, 'USD',
                   'PER_UNIT'
               FROM instruments""",
}
"""The committed input from which a run is timed.

Every workload but `backfill` values the whole book before that.
"""

_PREPARED = {
    "late": "DELETE FROM market_prices WHERE price_date = (SELECT max(business_date) "
    "FROM business_dates)"
}
"""What a workload changes before anything is valued: `late` opens the last date without prices."""

BASELINES = ("upper-bound", "sql", "per-job", "duckdb", "pathway")
_PATHWAY_WORKLOAD = "correction-day"
_KEPT = ("correction-day",)
_PER_JOB_SAMPLE = 2_000
_PROGRESS_SECONDS = 3
_SAMPLE_SECONDS = 1


@dataclass
class Outcome:
    """What was measured of one workload.

    Attributes:
        rows: rows that the engine wrote per run.
        seconds: of each run.
        median_seconds: of one run: of an even number, the slower of the two in the middle.
        rows_per_second, cost, phases, jobs, statements: of that same run; jobs and phases as in
            actors.progress.Progress.
        statements: those of the engine's .sql files, and COPYs. It sends others: for transactions,
            locks, temporary tables and its session.
        server_statements: all of them, as benchmarks.sent_statements counts; of the run that is
            dropped or, if the server has pg_stat_statements, of the last one. None: not counted.
        spread: (largest - smallest) / median of rows/s. Of a single run it says nothing.
        baselines: rows/s by name, median over the runs; ratios: the engine's against each.
        baseline_notes: by baseline, what else is known of it.
        kept: bytes that one more run of the same input added for ever, by table: all rows of it,
            with all indexes; kept_rows: how many rows it wrote.
        lake: files, rows and bytes that the run has put into its lake; None: it had none.
        verified: number of rows compared, and their digest.
        interrupted: whether runs are missing.
    """

    workload: str
    positions: int
    dates: int
    actors: int
    rows: int
    seconds: list[float] = field(default_factory=list)
    median_seconds: float = 0.0
    rows_per_second: float = 0.0
    spread: float = 0.0
    baselines: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    baseline_notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    jobs: int = 0
    statements: int = 0
    server_statements: int | None = None
    kept: dict[str, int] = field(default_factory=dict)
    kept_rows: int = 0
    lake: dict[str, int] | None = None
    verified: str = ""
    interrupted: bool = False


class BenchmarkFailedError(RevalueError):
    """The engine and the SQL baseline do not hold the same rows: the times are worthless."""


async def run(
    server_url: str,
    workload: str,
    *,
    positions: int,
    dates: int,
    runs: int,
    baselines: tuple[str, ...],
    settings: Settings,
    say: Callable[[str], None],
    warm_up: bool = True,
) -> Outcome:
    """Run one workload `runs` times, after one run that is dropped.

    Each run has a database of its own. When cancelled, it returns what has been measured, as
    `interrupted`, if there is anything.

    Args:
        baselines: names of baselines to measure as well (BASELINES).
        say: is called with each line of progress.
        warm_up: whether to make the run that is dropped.

    Raises:
        UsageError: the workload or a baseline does not exist.
        BenchmarkFailedError: a row is wrong.
    """
    if workload not in WORKLOADS:
        raise UsageError(f"no workload {workload!r}: one of {', '.join(WORKLOADS)}")
    if unknown := set(baselines) - set(BASELINES):
        raise UsageError(
            f"no baseline {', '.join(map(repr, sorted(unknown)))}: one or more of "
            f"{', '.join(BASELINES)}"
        )
    if "pathway" in baselines:
        if workload != _PATHWAY_WORKLOAD:
            raise UsageError(f"the baseline pathway is one of {_PATHWAY_WORKLOAD} only")
        baseline_pathway.python()
    outcome = Outcome(workload, positions, dates, settings.actors or 0, 0)
    rates: dict[str, list[float]] = {}
    done: list[_Measured] = []
    try:
        for number in range(0 if warm_up else 1, runs + 1):
            async with fresh_database(server_url) as database:
                holders = (
                    positions if workload.startswith("correction") else min(HOLDERS, positions)
                )
                await make_book(
                    database,
                    positions=positions,
                    dates=dates,
                    holders=holders,
                    # The scheduler is up and idle before the dates are opened, as it is in service.
                    is_opened=workload != "backfill",
                )
                if workload in _PREPARED:
                    async with database.connection() as connection:
                        await connection.execute(_PREPARED[workload])
                of_run = with_own_lake(settings, database)
                measured = await _engine(
                    database,
                    workload,
                    of_run,
                    dates,
                    say,
                    is_dropped=number == 0,
                    is_kept_measured=workload in _KEPT and number == runs,
                )
                outcome.actors = measured.actors
                if not measured.rows:
                    raise BenchmarkFailedError(
                        f"{workload}: nothing was valued, so there is nothing to measure"
                    )
                outcome.lake = await bring_back(database, of_run)
                outcome.verified = await verify(database)
                name = "warm-up" if number == 0 else f"run {number}"
                rate = measured.rows / measured.seconds
                say(
                    f"{workload} {name}: {measured.rows:,} rows in {measured.seconds:.2f} s, "
                    f"{rate:,.0f}/s"
                )
                if measured.server_statements is not None:
                    outcome.server_statements = measured.server_statements
                if number == 0:
                    continue
                outcome.rows = measured.rows
                outcome.seconds.append(round(measured.seconds, 3))
                done.append(measured)
                outcome.kept, outcome.kept_rows = measured.kept, measured.kept_rows
                timings = _time_baselines(
                    database, baselines, measured.actors, outcome.baseline_notes
                )
                for name, timed in [each async for each in timings]:
                    rates.setdefault(name, []).append(timed.rows / timed.seconds)
                    say(
                        f"  {name}: {timed.rows:,} rows in {timed.seconds:.2f} s, "
                        f"{timed.rows / timed.seconds:,.0f}/s"
                    )
    except asyncio.CancelledError:
        if not outcome.seconds:
            raise
        outcome.interrupted = True
    _summarise(outcome, done, rates)
    return outcome


def _summarise(outcome: Outcome, done: "list[_Measured]", rates: Mapping[str, list[float]]) -> None:
    """Fill in what is of the run in the middle, and the medians of the baselines."""
    middle = sorted(done, key=lambda each: each.seconds)[len(done) // 2]
    outcome.median_seconds = round(middle.seconds, 3)
    outcome.rows_per_second = round(middle.rows / middle.seconds)
    outcome.cost, outcome.phases = asdict(middle.cost), middle.phases
    outcome.jobs, outcome.statements = middle.jobs, middle.statements
    speeds = [each.rows / each.seconds for each in done]
    outcome.spread = round((max(speeds) - min(speeds)) / statistics.median(speeds), 3)
    outcome.baselines = {name: round(statistics.median(found)) for name, found in rates.items()}
    outcome.ratios = {
        name: round(outcome.rows_per_second / rate, 2)
        for name, rate in outcome.baselines.items()
        if rate
    }


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[Database]:
    """A migrated database of a new name for one run, dropped afterwards in any case."""
    name = f"revalue_bench_{secrets.token_hex(6)}"
    path, _, query = server_url.partition("?")
    scheme, _, rest = path.partition("://")
    url = f"{scheme}://{rest.partition('/')[0]}/{name}" + (f"?{query}" if query else "")
    try:
        await _on_server(server_url, f"CREATE DATABASE {name}")
        await schema.migrate(url)
        async with await Database.open(url) as database:
            yield database
    finally:
        drop = f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"
        dropped = asyncio.create_task(_on_server(server_url, drop))
        try:
            await asyncio.shield(dropped)
        except asyncio.CancelledError:  # finish dropping, then be cancelled
            await dropped
            raise


async def on_fresh_database(server_url: str, measure: Callable[[Database], Awaitable[T]]) -> T:
    """Measure on a database of its own."""
    async with fresh_database(server_url) as database:
        return await measure(database)


async def _on_server(server_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError as error:
        raise AccessDeniedError(
            f"a benchmark makes a database of its own on the server: {error}. Give the address of "
            "a user with CREATEDB, or no address: then it is the embedded server"
        ) from error
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
    server_statements: int | None
    kept: dict[str, int]
    kept_rows: int


async def _engine(
    database: Database,
    workload: str,
    settings: Settings,
    dates: int,
    say: Callable[[str], None],
    *,
    is_dropped: bool,
    is_kept_measured: bool,
) -> _Measured:
    """Start a scheduler; time from the committed input until every position is current.

    Args:
        is_dropped: whether nobody asks for its time, so that its statements may be logged.
        is_kept_measured: whether to give the same input once more, untimed, and to measure what
            that adds to the tables.
    """
    statement = WORKLOADS[workload].format(middle=dates // 2)
    sent = SentStatements()
    async with database.connection() as connection:
        await sent.prepare(connection, may_log=is_dropped)
    scheduler = cluster.start_scheduler(database.url, settings)
    actors = settings.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        before = await quiet_again(scheduler)
        await all_connected(database, actors)
        async with database.connection() as connection:
            await connection.execute("CHECKPOINT")
            meter = Meter()
            await sent.begin(connection)
            await meter.start(database)
            begun = perf_counter()
            await connection.execute(statement)
            progress = await quiet_again(scheduler, meter, say)
            seconds = perf_counter() - begun
            cost = await meter.stop(database)
            statements = await sent.end(connection)
            left = await connection.fetchval(
                "SELECT count(*) FROM position_status WHERE state <> 'CURRENT'"
            )
        if left:
            raise BenchmarkFailedError(f"{left} positions are not current after {workload}")
        grown: dict[str, int] = {}
        grown_rows = 0
        if is_kept_measured:
            grown, grown_rows = await _kept(database, scheduler, statement)
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
            statements,
            grown,
            grown_rows,
        )
    finally:
        cluster.stop_scheduler(scheduler)


async def _kept(database: Database, scheduler: Any, statement: str) -> tuple[dict[str, int], int]:
    """Give the input once more; return by how many bytes tables grew for ever, and the rows."""

    async def state() -> tuple[dict[str, Size], int]:
        rows = (await quiet_again(scheduler))["rows_written"]
        await connection.execute("VACUUM")
        return await table_sizes(connection, counted=True), rows

    async with database.connection() as connection:
        before, rows_before = await state()
        await connection.execute(statement)
        after, rows_after = await state()
    return kept(before, after), rows_after - rows_before


async def all_connected(database: Database, actors: int) -> None:
    """Wait until all actors are connected, the one of the live lane included: not measured."""
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
    """Wait until nothing is left to do; return the scheduler's progress.

    Meanwhile sample memory, and report every few seconds how many rows are written.
    """
    sampled = reported = perf_counter()
    while True:
        progress: dict[str, Any] = await asyncio.to_thread(
            lambda: ray.get(scheduler.progress.remote(), timeout=60)
        )
        if progress["quiet"]:
            return progress
        if meter is not None and perf_counter() - sampled > _SAMPLE_SECONDS:
            meter.sample()
            sampled = perf_counter()
        if perf_counter() - reported > _PROGRESS_SECONDS:
            reported = perf_counter()
            say(
                f"  … {progress.get('rows_written', 0):,} rows, "
                f"{progress.get('in_flight', 0)} tasks in flight"
            )
        await asyncio.sleep(0.02)


async def verify(database: Database) -> str:
    """Require that readers see what one SQL statement computes; return rows and digest."""
    timed = await sql(database)
    await _require_equal(database, "baseline_sql", VISIBLE)
    async with database.connection() as connection:
        ours: Any = await connection.fetchrow(CHECKSUM.format(relation="baseline_sql"))
    return f"{timed.rows} rows, digest {ours['digest']}"


async def _time_baselines(
    database: Database,
    baselines: tuple[str, ...],
    actors: int,
    notes: dict[str, dict[str, Any]],
) -> AsyncIterator[tuple[str, Timed]]:
    """Yield the name and the time of each baseline. One baseline can have several times.

    Args:
        notes: is given what else is known of a baseline, by its name.
    """
    if "sql" in baselines:
        yield "sql, 1 connection", await sql(database)
        if actors > 1:
            yield f"sql, {actors} connections", await sql(database, actors)
    if "upper-bound" in baselines:
        yield "upper-bound, 1 connection", await upper_bound(database, 1)
        if actors > 1:
            yield (
                f"upper-bound, {actors} connections",
                await upper_bound(database, actors),
            )
        await _require_equal(database, "baseline_upper_bound", "daily_position_snapshots")
    if "duckdb" in baselines:
        for name, timed in (await duckdb(database)).items():
            yield name, timed
        await _require_equal(database, "baseline_duckdb", VISIBLE)
    if "pathway" in baselines:
        timed, notes["pathway"] = await baseline_pathway.pathway(database)
        yield "pathway", timed
    if "per-job" in baselines:
        yield "per-job", await per_job(database, _PER_JOB_SAMPLE)
        sample = f"(SELECT visible.* FROM {VISIBLE} JOIN baseline_job USING (position_id, date)) s"
        await _require_equal(database, "baseline_job", sample)


async def _require_equal(database: Database, theirs: str, ours: str) -> None:
    """Require that a baseline has the rows of the engine."""
    async with database.connection() as connection:
        found: list[Any] = [
            await connection.fetchrow(CHECKSUM.format(relation=relation))
            for relation in (ours, theirs)
        ]
    if tuple(found[0]) != tuple(found[1]):
        raise BenchmarkFailedError(
            f"the engine has {tuple(found[0])} (rows, digest), {theirs} has {tuple(found[1])}"
        )
