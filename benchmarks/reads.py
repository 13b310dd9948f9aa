"""What operators and open pages read, in a database of years of jobs: the time of each answer."""

from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.operate.console_feed import read_console_state
from revalue.engine.operate.database_metrics import DatabaseCollector
from revalue.engine.operate.job_filter import JobFilter
from revalue.engine.operate.job_list import page_of_jobs
from revalue.engine.operate.kept_counts import shared_counts
from revalue.engine.operate.position_counts import count_positions
from revalue.engine.operate.status import (
    list_dead_letters,
    page_of_stuck_positions,
    read_status,
)
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.settings import Settings

DAY = "2026-11-20"
_CALLS = 10

# 500 positions per portfolio. 2,000 jobs failed, as many are to be retried, and as many wait for
# data, with one position each. The others are complete: {runs} jobs of {run} positions, and behind
# each of them 99 jobs of one position.
_FILL = (
    "INSERT INTO calendars (calendar_id) VALUES ('CAL')",
    f"INSERT INTO business_dates (calendar_id, business_date) VALUES ('CAL', '{DAY}')",
    f"UPDATE calendars SET opened_through = '{DAY}'",
    """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
       SELECT 'P' || n, 'USD', 'CAL' FROM generate_series(1, {positions} / 500) n""",
    """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
       SELECT 'S' || n, 'USD', 3 FROM generate_series(1, 500) n""",
    """INSERT INTO position_state
           (portfolio_id, security_id, frontier_date, open_dates, published_open_dates,
            calendar_no, base_currency_no)
       SELECT 'P' || p, 'S' || s, '{day}', '{{[{day},)}}', '{{[{day},)}}', calendar_no,
              (SELECT currency_no FROM currencies WHERE currency = 'USD')
       FROM calendars, generate_series(1, {positions} / 500) p, generate_series(1, 500) s""",
    """INSERT INTO portfolio_valuation_jobs
           (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
            valued_through, attempt_count, rows_written, lane, status, term, task_id,
            failure_reason, finished_at, is_open)
       SELECT n, ARRAY[1 + n * 7919::bigint % {positions}], '{{0}}', '{{{day}}}', '{{{day}}}',
              '{{NULL}}', '{day}', '{day}',
              CASE WHEN s IN ('COMPLETE', 'WAITING_FOR_DATA') THEN DATE '{day}' END, 1, 1, 'LIVE',
              s::valuation_job_status, 1, n, CASE WHEN s <> 'COMPLETE' THEN 'X' END, now(),
              s = 'PENDING'
       FROM generate_series(1, 6000 + {runs} * 100) n
       CROSS JOIN LATERAL (
           SELECT CASE WHEN n <= 2000 THEN 'FAILED' WHEN n <= 4000 THEN 'PENDING'
                       WHEN n <= 6000 THEN 'WAITING_FOR_DATA' ELSE 'COMPLETE' END AS s) k
       WHERE n <= 6000 OR n % 100 > 0""",
    """INSERT INTO portfolio_valuation_jobs
           (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
            valued_through, attempt_count, rows_written, lane, status, term, task_id, finished_at,
            is_open)
       SELECT 6000 + n * 100, k.positions, array_fill(0, ARRAY[{run}]),
              array_fill(DATE '{day}', ARRAY[{run}]), array_fill(DATE '{day}', ARRAY[{run}]),
              array_fill(NULL::bigint, ARRAY[{run}]), '{day}', '{day}', '{day}', 1, {run}, 'LIVE',
              'COMPLETE', 1, n, now(), false
       FROM generate_series(1, {runs}) n
       CROSS JOIN LATERAL (
           SELECT array_agg(p ORDER BY p) AS positions
           FROM generate_series(1 + n::bigint % ({positions} / {run}) * {run},
                                (1 + n::bigint % ({positions} / {run})) * {run}) p) k""",
    """INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
       SELECT job_id, positions[1], 3, 'X', 'x'
       FROM portfolio_valuation_jobs WHERE job_id <= 2000""",
    """INSERT INTO deferred_jobs
       SELECT job_id, now() FROM portfolio_valuation_jobs WHERE job_id BETWEEN 2001 AND 4000""",
    """INSERT INTO position_holes
       SELECT positions[1], 0, job_id, '{day}', '{day}', 'PRICE_MISSING', 'S1'
       FROM portfolio_valuation_jobs WHERE job_id BETWEEN 4001 AND 6000""",
    """UPDATE position_state SET holes = datemultirange(daterange('{day}', '{day}', '[]'))
       WHERE position_id IN (SELECT position_id FROM position_holes)""",
    """UPDATE position_state SET pending = datemultirange(daterange('{day}', '{day}', '[]'))
       WHERE position_id IN (SELECT position_id FROM dead_letters) AND isempty(holes)""",
    "VACUUM ANALYZE",
)


async def measure(
    database: Database, settings: Settings, positions: int, runs: int, run: int
) -> dict[str, Any]:
    """Return positions, jobs, their spans, and milliseconds by what was read: the fastest of ten
    calls.

    Args:
        database: an empty database.
        settings: settings of the engine.
        positions: how many positions.
        runs: how many jobs cover a run of positions.
        run: how many positions each of them covers.
    """
    async with database.connection() as connection:
        for statement in _FILL:
            await connection.execute(
                statement.format(positions=positions, runs=runs, run=run, day=DAY)
            )
        [[jobs, spans]] = await connection.fetch(
            "SELECT count(*), sum(span_count) FROM portfolio_valuation_jobs"
        )
    found: dict[str, float] = {}

    async def take(name: str, read: Callable[[], Awaitable[Any]], calls: int = _CALLS) -> None:
        times = []
        for _ in range(calls):
            begun = perf_counter()
            await read()
            times.append(perf_counter() - begun)
        found[name] = round(min(times) * 1000, 1)

    async def jobs_page(*, is_full: bool = False, **wanted: Any) -> None:
        await page_of_jobs(database, JobFilter(**wanted), limit=200, is_full=is_full)

    reader = ReaderQueries(database)
    counts = await shared_counts(database, settings)
    await take("jobs, newest", jobs_page)
    for status in JobStatus:
        await take(f"jobs, {status}", partial(jobs_page, status=status))
    await take("jobs of one portfolio", lambda: jobs_page(portfolios=["P1"]))
    await take("jobs of one position", lambda: jobs_page(portfolio="P1", security="S1"))
    # Their positions are the last ones of each job that has them. So a token is answered.
    forty = [f"P{positions // 500 - n}" for n in range(40)]
    await take(
        "jobs of 40 portfolios, a full page", lambda: jobs_page(portfolios=forty, is_full=True)
    )
    await take("stuck positions", lambda: page_of_stuck_positions(database, after=positions // 2))
    await take("dead letters", lambda: list_dead_letters(database, still_failed=False, limit=200))
    await take("console frame", lambda: read_console_state(database, counts, settings))
    await take("status", lambda: read_status(database))
    await take("scrape of metrics", DatabaseCollector(database.url).read)
    await take("unchanged portfolio", lambda: reader.portfolio_version("P1"))
    await take("count of all positions", lambda: count_positions(database, settings), 3)
    return {"positions": positions, "jobs": jobs, "spans": spans, "milliseconds": found}
