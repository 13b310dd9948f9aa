"""Lists of jobs and of stuck positions: complete page by page, and bounded in what a page reads.

The database is filled by SQL: 60 positions of 6 portfolios, with 1,700 jobs each. Of the older
jobs, 1 in 100 is neither COMPLETE nor SUPERSEDED. Besides, some jobs cover a run of positions, with
one or two spans each, and some of their positions have newer epochs.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from revalue.benchmarks import reads
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.operate import job_list, status
from revalue.engine.operate.job_filter import MAX_ID, JobCursor, JobFilter
from revalue.engine.operate.job_list import list_jobs, page_of_jobs
from revalue.engine.operate.status import list_dead_letters, page_of_stuck_positions
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Statement
from tests.conftest import drop_database, fresh_database
from tests.support import SETTINGS, fetch

FILL = (
    "INSERT INTO calendars (calendar_id) VALUES ('CAL')",
    "INSERT INTO business_dates (calendar_id, business_date) VALUES ('CAL', '2024-01-01')",
    "UPDATE calendars SET opened_through = '2024-01-01'",
    """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
       SELECT 'P' || n, 'USD', 'CAL' FROM generate_series(1, 6) n""",
    """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
       SELECT 'S' || n, 'USD', 3 FROM generate_series(1, 10) n""",
    """INSERT INTO position_state
           (portfolio_id, security_id, frontier_date, calendar_no, base_currency_no)
       SELECT 'P' || p, 'S' || s, '2024-01-01', calendar_no,
              (SELECT currency_no FROM currencies WHERE currency = 'USD')
       FROM calendars, generate_series(1, 6) p, generate_series(1, 10) s""",
    # The ids have gaps, and the jobs of a position are not evenly spread.
    """INSERT INTO portfolio_valuation_jobs
           (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
            valued_through, attempt_count, rows_written, lane, status, term, task_id,
            failure_reason, finished_at, is_open)
       SELECT n * 3, ARRAY[CASE WHEN n < 50000 THEN 1 + n % 60 ELSE 1 + n % 37 END], '{0}',
              '{2024-01-01}', '{2024-01-01}', '{NULL}', '2024-01-01', '2024-01-01',
              CASE WHEN s IN ('COMPLETE', 'SUPERSEDED') THEN '2024-01-01'::date END,
              1, 1, 'LIVE', s::valuation_job_status, 1, 1, 'X', now(),
              s IN ('PENDING', 'PROCESSING')
       FROM generate_series(1, 100000) n
       CROSS JOIN LATERAL (
           SELECT CASE WHEN n = 99999 THEN 'PENDING' WHEN n > 40000 OR n % 100 <> 0 THEN
                       CASE WHEN n % 5 = 0 THEN 'SUPERSEDED' ELSE 'COMPLETE' END
                       ELSE (ARRAY['FAILED', 'PENDING', 'WAITING_FOR_DATA', 'PROCESSING'])
                            [1 + n / 100 % 4] END AS s) k""",
    # A job of 25 positions; each third has two spans.
    """INSERT INTO portfolio_valuation_jobs
           (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
            valued_through, attempt_count, rows_written, lane, status, term, task_id, finished_at,
            is_open)
       SELECT n * 999 + 1, k.positions, k.epochs, k.dates, k.dates, k.triggers, '2024-01-01',
              '2024-01-03', CASE WHEN s = 'COMPLETE' THEN '2024-01-03'::date END, 1, 33, 'LIVE',
              s::valuation_job_status, 1, 1, now(), s IN ('PENDING', 'PROCESSING')
       FROM generate_series(1, 299) n
       CROSS JOIN LATERAL (
           SELECT (ARRAY['COMPLETE', 'COMPLETE', 'SUPERSEDED', 'PENDING', 'PROCESSING'])
                  [1 + n % 5] AS s) status
       CROSS JOIN LATERAL (
           SELECT array_agg(p::bigint ORDER BY p, d) AS positions,
                  array_agg(p % 2 ORDER BY p, d) AS epochs,
                  array_agg(DATE '2024-01-01' + d ORDER BY p, d) AS dates,
                  array_agg(p::bigint ORDER BY p, d) AS triggers
           FROM generate_series(1 + n % 36, 25 + n % 36) p, generate_series(0, 2, 2) d
           WHERE d = 0 OR p % 3 = 0) k""",
    """INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
       SELECT job_id, positions[1], 3, 'X', 'x'
       FROM portfolio_valuation_jobs, generate_series(1, 2)
       WHERE status = 'FAILED' OR job_id % 3000 = 0""",
    """INSERT INTO deferred_jobs
       SELECT job_id, now() FROM portfolio_valuation_jobs
       WHERE status = 'PENDING' AND job_id < 299000""",
    """INSERT INTO position_holes
       SELECT positions[1], job_id, job_id, '2024-01-01', '2024-01-01', 'PRICE_MISSING', 'S1'
       FROM portfolio_valuation_jobs
       WHERE status = 'WAITING_FOR_DATA' OR job_id % 2700 = 0""",
    """UPDATE position_state SET holes = '{[2024-01-01,2024-01-02)}'
       WHERE position_id % 4 = 1
          OR position_id IN (SELECT positions[1] FROM portfolio_valuation_jobs
                             WHERE status = 'WAITING_FOR_DATA')""",
    """UPDATE position_state SET pending = '{[2024-01-01,2024-01-02)}'
       WHERE isempty(holes) AND position_id % 3 = 0""",
    "UPDATE position_state SET epoch = 1 WHERE position_id BETWEEN 20 AND 30",
    "VACUUM ANALYZE",
)


@pytest.fixture(scope="module")
async def database(server_url: str, template: str) -> AsyncIterator[Database]:
    url = await fresh_database(server_url, template)
    connection = await asyncpg.connect(url)
    for statement in FILL:
        await connection.execute(statement)
    await connection.close()
    async with await Database.open(url) as opened:
        yield opened
    await drop_database(server_url, url)


FILTERS = [
    JobFilter(status=each, portfolio=portfolio, portfolios=portfolios, security=security)
    for each in (None, *JobStatus)
    for portfolio, portfolios, security in (
        (None, None, None),
        ("P2", None, None),
        (None, ["P1", "P3", "nothing"], None),
        (None, [], None),
        ("P4", None, "S9"),
    )
]


LIST = """
SELECT s.job_id, p.portfolio_id, p.security_id, s.epoch, s.first_date, s.trigger_id,
       CASE WHEN s.status IN ('PENDING', 'PROCESSING') AND s.epoch < p.epoch THEN 'SUPERSEDED'
            ELSE s.status::text END AS status
FROM (SELECT j.job_id, j.status, unnest(positions) AS position_id, unnest(epochs) AS epoch,
             unnest(first_dates) AS first_date, unnest(trigger_ids) AS trigger_id
      FROM portfolio_valuation_jobs j) s
JOIN position_state p USING (position_id)
ORDER BY s.job_id DESC, s.position_id, s.first_date
"""


@pytest.mark.parametrize(
    ("limit", "by_index", "is_full"),
    [(7, True, False), (7, False, False), (500, False, False), (60, False, True)],
)
async def test_the_pages_of_jobs_are_the_whole_list(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    by_index: bool,
    is_full: bool,
) -> None:
    """Of every filter; where its jobs are found by its positions, and where they are not."""
    small = {"JOBS": 4000, "SPANS": 90, "_READ_SPANS": 300, "_SOME_POSITIONS": 40}
    if not by_index:
        small |= {"_FEW_POSITIONS": 10, "_FEW_RANGES": 3}
    for name, value in small.items():
        monkeypatch.setattr(job_list, name, value)
    names = ("job_id", "portfolio_id", "security_id", "epoch", "first_date", "trigger_id", "status")
    every = await fetch(database, LIST)
    for wanted in FILTERS:
        want = [
            row
            for row in every
            if wanted.status in (None, row[-1])
            and wanted.portfolio in (None, row[1])
            and (wanted.portfolios is None or row[1] in wanted.portfolios)
            and wanted.security in (None, row[2])
        ]
        found: list[tuple[Any, ...]] = []
        before: JobCursor | None = JobCursor(MAX_ID)
        while before is not None and len(found) < min(15 * limit, 1500):
            rows, after = await page_of_jobs(
                database, wanted, before=before, limit=limit, is_full=is_full
            )
            assert len(rows) <= limit
            assert not is_full or after is None or len(rows) == limit
            assert after is None or after != before
            before = None if after is None else JobCursor.parse(str(after))
            found += [tuple(row[name] for name in names) for row in rows]
        assert found == want[: len(found)], wanted
        assert before is not None or len(found) == len(want), wanted


async def test_a_page_goes_on_in_a_job_that_was_split_since(database: Database) -> None:
    """Behind the same span, whatever has become of those before it."""
    [job] = (await fetch(database, "SELECT max(job_id) FROM job_spans WHERE span_count > 1"))[0]
    first, after = await page_of_jobs(database, JobFilter(), before=JobCursor(job + 1), limit=10)
    second, _ = await page_of_jobs(database, JobFilter(), before=after, limit=10)
    assert (first[-1]["job_id"], second[0]["job_id"]) == (job, job)
    columns = ("positions", "epochs", "first_dates", "last_dates", "trigger_ids")
    async with database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute(
            "UPDATE portfolio_valuation_jobs SET "
            + ", ".join(f"{name} = {name}[9:]" for name in columns)
            + f" WHERE job_id = {job}"
        )
        split, _ = await page_of_jobs(
            OpenTransaction(connection), JobFilter(), before=after, limit=10
        )
        await connection.execute("ROLLBACK")
    assert split == second


async def test_rows_written_is_that_of_a_job_with_one_span(database: Database) -> None:
    rows = await list_jobs(database, portfolio="P3", limit=200)
    spans = dict(await fetch(database, "SELECT DISTINCT job_id, span_count FROM job_spans"))
    assert {spans[row["job_id"]] for row in rows} >= {1, 34}
    for row in rows:
        assert row["rows_written"] == (1 if spans[row["job_id"]] == 1 else None)
        done = row["last_date"] if row["status"] in ("COMPLETE", "SUPERSEDED") else None
        assert row["valued_through"] in (done, None)


async def test_a_command_lists_as_many_jobs_as_it_is_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_list, "JOBS", 500)
    assert len(await list_jobs(database, status="PROCESSING", limit=60)) == 60
    assert len(await list_jobs(database, status="SKIPPED_NO_POSITION", limit=60)) == 0


async def test_the_pages_of_stuck_positions_are_the_whole_list(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for portfolios in (None, ["P2", "P5"]):
        want = await fetch(
            database,
            "SELECT position_id, state FROM position_status "
            "WHERE state IN ('REPROCESSING', 'WAITING_FOR_DATA', 'FAILED') "
            "AND ($1::text[] IS NULL OR portfolio_id = ANY ($1)) ORDER BY 1",
            portfolios,
        )
        assert len(want) > 3
        for positions, candidates, limit in ((100, 100, 100), (4, 100, 100), (9, 2, 3), (60, 7, 1)):
            monkeypatch.setattr(status, "_WINDOW_POSITIONS", positions)
            monkeypatch.setattr(status, "_CANDIDATES", candidates)
            found: list[tuple[Any, ...]] = []
            after: int | None = 0
            while after is not None:
                rows, after = await page_of_stuck_positions(
                    database, portfolios=portfolios, after=after, limit=limit
                )
                found += [(row["position_id"], row["state"]) for row in rows]
            assert found == want


async def test_no_page_reads_all_jobs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages of the database, of which the jobs alone are more than 3,000."""
    monkeypatch.setattr(job_list, "JOBS", 500)
    monkeypatch.setattr(job_list, "SPANS", 100)
    [[whole]] = await fetch(database, "SELECT pg_relation_size('portfolio_valuation_jobs') / 8192")
    assert whole > 3_000
    read: list[int] = []
    for name in ("fetch", "row", "value"):
        monkeypatch.setattr(Statement, name, _counting(getattr(Statement, name), read))
    for wanted in FILTERS:
        read.clear()
        await page_of_jobs(database, wanted, limit=5)
        assert sum(read) < 0.3 * whole, f"{wanted}: {read}"
    for portfolios in (None, ["P2"]):
        read.clear()
        await page_of_stuck_positions(database, portfolios=portfolios, limit=5)
        await list_dead_letters(database, still_failed=True, portfolios=portfolios, limit=5)
        assert 0 < max(read) < 0.4 * whole, read


def _counting(real: Any, read: list[int]) -> Any:
    async def counted(self: Statement, connection: Any, **values: Any) -> Any:
        given = [values[name] for name in self.parameters]
        [[plan]] = await connection.fetch(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {self.positional}", *given
        )
        found = json.loads(plan)[0]["Plan"]
        read.append(found["Shared Hit Blocks"] + found["Shared Read Blocks"])
        return await real(self, connection, **values)

    return counted


async def test_the_states_of_positions_with_much_due_read_few_jobs(database: Database) -> None:
    """Each has 1,700 jobs, and its state depends on those that failed."""
    [[positions]] = await fetch(
        database, "SELECT count(*) FROM position_state WHERE NOT isempty(pending)"
    )
    assert positions > 10
    [[plan]] = await fetch(
        database,
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT state, failure_reason "
        "FROM position_status WHERE NOT isempty(pending)",
    )
    found = json.loads(plan)[0]["Plan"]
    assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 60 * positions


async def test_the_reads_of_the_benchmark_find_something(server_url: str, template: str) -> None:
    url = await fresh_database(server_url, template)
    async with await Database.open(url) as filled:
        record = await reads.measure(filled, SETTINGS, positions=2_000, runs=20, run=500)
        assert len(record["milliseconds"]) == len(JobStatus) + 11
        for each in ("FAILED", "PENDING", "WAITING_FOR_DATA", "COMPLETE"):
            assert len(await list_jobs(filled, status=each, limit=100)) == 100
        assert len(await list_dead_letters(filled, still_failed=True, limit=100)) == 100
    await drop_database(server_url, url)
