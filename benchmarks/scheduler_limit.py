"""The scheduler's own limit: one new day of a large book, on valuation actors that only wait.

The scheduler is the real one, with its steps, its pool and its PostgreSQL. Its actors are not: one
of them waits as long as a valuation takes, and then finishes its jobs in the database as a valuer
does, behind the same fences and with the same statements, but without reading inputs and without
writing rows. So what is timed is the scheduler, with any number of actors on one machine.

Everything of the scheduler and of the actors is in this process. PostgreSQL's CPU is told apart by
its sessions: the scheduler's reads, its other steps, and the actors' commits.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

import psutil

from revalue.actors.protocols import Worker
from revalue.actors.scheduler import Scheduler
from revalue.benchmarks.cost import Meter, anonymous_mib
from revalue.benchmarks.dataset import OPEN
from revalue.benchmarks.harness import WORKLOADS, BenchmarkFailedError
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.core.tasks import Task, TaskResult
from revalue.engine.postgres.backends import application_name
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.postgres.planner import avoid_nested_loops
from revalue.engine.settings import Settings
from revalue.engine.value.commit import sql
from revalue.engine.value.valuer import ValuerOptions

POSITIONS = 1_000_000
SIZES = (100_000, 1_000_000, 10_000_000)
ACTORS = 400
ROW_US = 1.4
"""CPU of an actor per row, by default: what `backfill` of docs/performance.md costs."""
TASK_MS = 50.0
"""What a task takes besides, by default."""

STEPS = ("scan", "stage", "apply")

_PORTFOLIOS = 1_000
_BATCH = 500_000
_COMMITTERS = 4
_LOOK_SECONDS = 0.02
_SAMPLE_SECONDS = 1.0
_SAYS_SECONDS = 5.0

# More than the live lane goes back: positions without so many days behind are in the other one.
_DATES = 20

# The database triggers of new positions check each one and note it as not staged: these are right,
# and staged, as they are made.
_UNCHECKED = ("position_numbers_checked", "positions_noted")
_BOOK = (
    "INSERT INTO calendars (calendar_id) VALUES ('BENCH')",
    f"""INSERT INTO business_dates
        SELECT 'BENCH', DATE '2015-01-01' + n FROM generate_series(1, {_DATES}) n""",
    """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
       SELECT 'P' || lpad(n::text, 7, '0'), 'USD', 'BENCH'
       FROM generate_series(1, {portfolios}) n""",
    """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
       SELECT 'S' || lpad(n::text, 7, '0'), 'USD', 5 FROM generate_series(1, {securities}) n""",
    OPEN,
    "UPDATE reprocessing_triggers SET fanned_out_at = clock_timestamp()",
)
# Positions as they are when the first day is valued, applied and published.
_POSITIONS = """
    INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no,
        open_dates, published_open_dates, frontier_date, revision)
    SELECT 'P' || lpad((n % {portfolios} + 1)::text, 7, '0'),
        'S' || lpad((n / {portfolios} + 1)::text, 7, '0'), c.calendar_no, b.currency_no,
        c.span, c.span, c.opened_through, 1
    FROM generate_series($1::bigint, $2::bigint) n
    CROSS JOIN (SELECT calendar_no, opened_through,
                       datemultirange(daterange('2015-01-01', NULL)) AS span
                FROM calendars) c
    CROSS JOIN (SELECT currency_no FROM currencies WHERE currency = 'USD') b
"""
_SESSIONS = """
    SELECT pid, backend_start, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type = 'client backend'
"""
_LEFT = """
    SELECT count(*) FROM position_state p
    JOIN calendars c USING (calendar_no)
    WHERE (p.watermark_date, p.frontier_date, p.published_epoch, p.staged_epoch)
              IS DISTINCT FROM ROW (c.opened_through, c.opened_through, p.epoch, p.epoch)
"""
_UNFINISHED = "SELECT count(*) FROM portfolio_valuation_jobs WHERE is_open OR status <> 'COMPLETE'"
_VALUED = """
    SELECT (SELECT count(*) FROM portfolio_valuation_jobs) AS jobs,
           count(*) AS spans,
           count(DISTINCT position_id) AS positions,
           COALESCE(bool_and(first_date = last_date AND first_date = (
               SELECT opened_through FROM calendars)), false) AS is_the_day,
           COALESCE(bool_and(lane = 'LIVE'), false) AS is_live
    FROM (SELECT unnest(positions) AS position_id, unnest(first_dates) AS first_date,
                 unnest(last_dates) AS last_date, lane
          FROM portfolio_valuation_jobs) spans
"""


@dataclass
class SchedulerLimitOutcome:
    """What was measured. It is one run.

    Attributes:
        actors: how many wait, besides the one of the live lane.
        row_us, task_ms: how long one of them takes: microseconds per row, milliseconds per task.
        tasks: how many there were.
        seconds: from the opening of the day until nothing is left to do.
        step_seconds: of these, in each step of the scheduler; they run beside one another.
        scheduler_cpu_seconds: of this process, in which the actors wait.
        postgresql_cpu_seconds: of the sessions of the scheduler that scan, of its other ones
            (steps), of the actors' (commit), and of the rest of the server (log, checkpoints,
            autovacuum).
        valuing, committing: how many actors did so on average; all others waited for work.
        most_at_work: the most actors that had a task at once.
        peak_anonymous_mib: of this process.
        preparation_seconds: of making the book.
        verified: positions and jobs that were checked at the end.
    """

    workload: str
    positions: int
    actors: int
    row_us: float
    task_ms: float
    tasks: int = 0
    seconds: float = 0.0
    step_seconds: dict[str, float] = field(default_factory=dict)
    scheduler_cpu_seconds: float = 0.0
    postgresql_cpu_seconds: dict[str, float] = field(default_factory=dict)
    wal_bytes: int = 0
    valuing: float = 0.0
    committing: float = 0.0
    most_at_work: int = 0
    peak_anonymous_mib: int = 0
    preparation_seconds: float = 0.0
    verified: str = ""


async def measure(
    database: Database,
    settings: Settings,
    *,
    positions: int,
    say: Callable[[str], None],
    actors: int = ACTORS,
    row_us: float = ROW_US,
    task_ms: float = TASK_MS,
) -> SchedulerLimitOutcome:
    """Make a book that is valued through its first day, open the next one, and wait for the end.

    Args:
        database: an empty one, on this machine.
        positions: number of positions.
        say: is called with each line of progress.
        actors: how many wait.
        row_us: how long one takes per row, in microseconds.
        task_ms: how long one takes per task besides, in milliseconds.

    Raises:
        BenchmarkFailedError: a position or a job is not as it has to be at the end.
    """
    outcome = SchedulerLimitOutcome("scheduler-limit", positions, actors, row_us, task_ms)
    begun = perf_counter()
    await make_book(database, positions)
    outcome.preparation_seconds = round(perf_counter() - begun, 1)
    say(f"  … {positions:,} positions are made, in {outcome.preparation_seconds:.0f} s")
    async with (
        _Crew.opened(database.url, row_us=row_us, task_ms=task_ms) as crew,
        _leading(database.url, settings, actors, crew) as scheduler,
        database.connection() as connection,
    ):
        before = await _quiet_again(scheduler)
        await connection.execute("CHECKPOINT")
        meter, sessions = Meter(), _Sessions(connection)
        await sessions.begin()
        await meter.start(database)
        crew.begin()
        cpu, begun = process_time(), perf_counter()
        await connection.execute(WORKLOADS["roll"])
        progress = await _quiet_again(scheduler, sessions, say)
        outcome.seconds = round(perf_counter() - begun, 2)
        outcome.scheduler_cpu_seconds = round(process_time() - cpu, 2)
        await sessions.sample()
        cost = await meter.stop(database)
    outcome.tasks = progress["tasks_finished"] - before["tasks_finished"]
    outcome.step_seconds = {
        step: round(progress["seconds"].get(step, 0.0) - before["seconds"].get(step, 0.0), 2)
        for step in STEPS
    }
    spent = sessions.spent()
    rest = cost.cpu_seconds.get("postgresql", 0.0) - sum(spent.values())
    outcome.postgresql_cpu_seconds = {
        **{kind: round(seconds, 2) for kind, seconds in spent.items()},
        "rest": round(max(rest, 0.0), 2),
    }
    outcome.wal_bytes = cost.wal_bytes
    outcome.valuing = round(crew.spent["valuing"] / outcome.seconds, 2)
    outcome.committing = round(crew.spent["committing"] / outcome.seconds, 2)
    outcome.most_at_work = crew.most_at_work
    outcome.peak_anonymous_mib = sessions.peak_mib
    outcome.verified = await require_valued(database, positions)
    return outcome


async def make_book(database: Database, positions: int) -> None:
    """Fill an empty migrated database with positions that are valued through the only opened day.

    They have no records, no prices and no snapshots: the scheduler reads none of these.
    """
    portfolios = min(_PORTFOLIOS, positions)
    sizes = {"portfolios": portfolios, "securities": -(-positions // portfolios)}
    async with database.transaction() as connection:
        for statement in _BOOK:
            await connection.execute(statement.format(**sizes))
    async with database.connection() as connection:
        for trigger in _UNCHECKED:
            await connection.execute(f"ALTER TABLE position_state DISABLE TRIGGER {trigger}")
        insert = _POSITIONS.format(**sizes)
        for first in range(0, positions, _BATCH):
            await connection.execute(insert, first, min(first + _BATCH, positions) - 1)
        for trigger in _UNCHECKED:
            await connection.execute(f"ALTER TABLE position_state ENABLE TRIGGER {trigger}")
        await connection.execute("VACUUM ANALYZE")


async def require_valued(database: Connections, positions: int) -> str:
    """Require that each position is valued on the newest day, by exactly one job.

    Returns:
        What was checked.

    Raises:
        BenchmarkFailedError: it is not so.
    """
    async with database.connection() as connection:
        if left := await connection.fetchval(_LEFT):
            raise BenchmarkFailedError(f"{left} positions are not valued on the newest day")
        if unfinished := await connection.fetchval(_UNFINISHED):
            raise BenchmarkFailedError(f"{unfinished} jobs are not complete, or not applied")
        found: Any = await connection.fetchrow(_VALUED)
    if not found["is_the_day"] or (found["spans"], found["positions"]) != (positions, positions):
        raise BenchmarkFailedError(
            f"{found['jobs']} jobs have {found['spans']} spans of {found['positions']} positions, "
            f"not one of the newest day of each of {positions}"
        )
    if not found["is_live"]:
        raise BenchmarkFailedError("jobs of the newest day are not in the live lane")
    return f"{positions:,} positions, each in one of {found['jobs']:,} jobs"


class _Crew:
    """What the waiting actors share: sessions for their commits, and a record of what they did.

    Attributes:
        spent: actor-seconds of valuing (waiting in place of it) and of committing.
        most_at_work: the most of them that had a task at once.
    """

    def __init__(self, database: Database, *, row_us: float, task_ms: float) -> None:
        self._database = database
        self._row_seconds, self._task_seconds = row_us / 1e6, task_ms / 1e3
        self._at_work = 0
        self.begin()

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str, *, row_us: float, task_ms: float) -> "AsyncIterator[_Crew]":
        """Connect to the database for the block."""
        async with await Database.open(
            url, connections=_COMMITTERS, application=application_name("valuer", "waiting")
        ) as database:
            yield cls(database, row_us=row_us, task_ms=task_ms)

    def begin(self) -> None:
        """Record from now on."""
        self.spent = {"valuing": 0.0, "committing": 0.0}
        self.most_at_work = 0

    def hire(self, url: str, options: ValuerOptions, *, name: str, is_reserved: bool) -> Worker:
        """Give the pool an actor: see actors.scheduler.StartValuer."""
        return _WaitingWorker(self, name)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count an actor as at work for the duration of the block."""
        self._at_work += 1
        self.most_at_work = max(self.most_at_work, self._at_work)
        try:
            yield
        finally:
            self._at_work -= 1

    async def value(self, task: Task) -> TaskResult:
        """Wait as long as the valuation takes, and finish the task's jobs."""
        begun = perf_counter()
        with self._counted():
            await asyncio.sleep(self._task_seconds + self._row_seconds * task.rows)
            valued = perf_counter()
            spans = await self._commit(task)
        self.spent["valuing"] += valued - begun
        self.spent["committing"] += perf_counter() - valued
        return TaskResult(
            task, spans=spans, rows=spans, fenced=0, statuses={JobStatus.COMPLETE.value: spans}
        )

    async def _commit(self, task: Task) -> int:
        """Finish the jobs as engine.value.commit does, without rows; return the number of spans.

        Raises:
            BenchmarkFailedError: a fence holds something back, which nothing here can cause.
        """
        async with self._database.transaction() as connection:
            own = await sql("lock_jobs").fetch(connection, task=task.task_id)
            await avoid_nested_loops(connection, task)
            superseded = await sql("superseded_spans").fetch(connection, **task.parameters)
            spans = [job["span_count"] for job in own]
            if superseded or sum(spans) != task.spans:
                raise BenchmarkFailedError(
                    f"task {task.task_id} has {sum(spans)} spans, {len(superseded)} of them of "
                    f"older epochs, where {task.spans} were staged"
                )
            # A span of one day is one row.
            await sql("complete_jobs").execute(
                connection, jobs=[job["job_id"] for job in own], rows_written=spans
            )
        return sum(spans)


class _WaitingWorker:
    """One actor: it has one task at a time, in the order in which they were given to it."""

    def __init__(self, crew: _Crew, name: str) -> None:
        self.name = name
        self._crew = crew
        self._turn = asyncio.Lock()

    async def connect(self) -> str:
        return socket.gethostname()

    async def run(self, task: Task) -> TaskResult:
        async with self._turn:
            return await self._crew.value(task)

    def kill(self) -> None:
        """Do nothing: it has neither a process nor sessions of its own."""


class _Scheduler(Scheduler):
    """The scheduler as it is, whose actors need no database sessions of their own."""

    async def _fit_sessions(self, database: Database) -> None:
        return None


@asynccontextmanager
async def _leading(
    url: str, settings: Settings, actors: int, crew: _Crew
) -> AsyncIterator[Scheduler]:
    scheduler = _Scheduler(
        url,
        settings,
        actors=actors,
        holder=f"{socket.gethostname()}/{secrets.token_hex(4)}",
        take_over=False,
        start_valuer=crew.hire,
    )
    try:
        yield scheduler
    finally:
        await scheduler.drain()


async def _quiet_again(
    scheduler: Scheduler,
    sessions: "_Sessions | None" = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Wait until nothing is left to do; return the scheduler's progress."""
    sampled = said = perf_counter()
    while True:
        progress = await scheduler.progress()
        if progress["quiet"]:
            return progress
        if sessions is not None and perf_counter() - sampled > _SAMPLE_SECONDS:
            await sessions.sample()
            sampled = perf_counter()
        if perf_counter() - said > _SAYS_SECONDS:
            said = perf_counter()
            say(
                f"  … {progress.get('rows_written', 0):,} positions, "
                f"{progress.get('in_flight', 0)} tasks in flight"
            )
        await asyncio.sleep(_LOOK_SECONDS)


_Session = tuple[int, Any]
"""A database session: the server's process, and when it began."""


class _Sessions:
    """CPU of the sessions of one database, by who has opened them; this process's peak of memory.

    A session that ends between two samples is counted up to the first of them.

    Attributes:
        peak_mib: the most anonymous memory of this process.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._before: dict[_Session, float] = {}
        self._now: dict[_Session, tuple[str, float]] = {}
        self.peak_mib = 0

    async def begin(self) -> None:
        """Count from now on."""
        await self.sample()
        self._before = {session: seconds for session, (_, seconds) in self._now.items()}

    async def sample(self) -> None:
        """Read what each session has spent."""
        for row in await self._connection.fetch(_SESSIONS):
            kind = _kind(row["application_name"])
            try:
                times = psutil.Process(row["pid"]).cpu_times()
            except psutil.Error:
                continue
            if kind is not None:
                session = row["pid"], row["backend_start"]
                self._now[session] = kind, times.user + times.system
        self.peak_mib = max(self.peak_mib, anonymous_mib(os.getpid()))

    def spent(self) -> dict[str, float]:
        """Return the CPU seconds by kind of session."""
        spent = dict.fromkeys(("scan", "steps", "commit"), 0.0)
        for session, (kind, seconds) in self._now.items():
            spent[kind] += seconds - self._before.get(session, 0.0)
        return spent


def _kind(application: str) -> str | None:
    """Return what a session is for; None: it is the benchmark's own."""
    if not application:  # ArrowReader gives none
        return "scan"
    if application.startswith(application_name("valuer", "")):
        return "commit"
    if application.startswith(application_name("scheduler", "")) or application in (
        "revalue listener",
        "revalue witness",
    ):
        return "steps"
    return None
