"""Checks of docs/protocol.md's invariants while an engine works, and of every row at the end."""

from typing import Any

import asyncpg

from revalue.console.reference.reference import compare, read_book
from revalue.engine.postgres.database import Database
from tests.lake_rows import rows_in_tables

# Each query returns the rows that break its invariant.
VIOLATIONS = {
    "watermark <= frontier <= horizon": """
        SELECT p.position_id FROM position_state p JOIN portfolios f USING (portfolio_id)
        JOIN calendars c USING (calendar_id)
        WHERE p.watermark_date > p.frontier_date
           OR (p.frontier_date > c.opened_through AND NOT EXISTS (
               SELECT FROM reprocessing_triggers
               WHERE fanned_out_at IS NULL AND NOT isempty(withdrawn)))""",
    "published <= epoch": "SELECT position_id FROM position_state WHERE published_epoch > epoch",
    "no hole below the watermark": """
        SELECT p.position_id, b.business_date
        FROM position_state p JOIN portfolios f USING (portfolio_id)
        JOIN business_dates b USING (calendar_id)
        WHERE p.published_epoch = p.epoch AND b.business_date <= p.watermark_date
            AND p.open_dates @> b.business_date
          AND NOT EXISTS (SELECT FROM daily_position_snapshots s
                          WHERE s.position_id = p.position_id AND s.date = b.business_date
                              AND s.epoch <= p.published_epoch)""",
    "nothing twice": """
        SELECT position_id FROM daily_position_snapshots GROUP BY position_id, date, epoch
        HAVING count(*) > 1""",
    "no epoch ahead of its position": """
        SELECT s.position_id FROM daily_position_snapshots s
        JOIN position_state p USING (position_id)
        WHERE s.epoch > p.epoch""",
    "one record of a date is valid in an epoch": """
        SELECT a.position_id, a.position_date
        FROM position_history a JOIN position_history b USING (position_id, position_date)
        WHERE b.valid_from_epoch > a.valid_from_epoch
          AND (a.valid_to_epoch IS NULL OR a.valid_to_epoch > b.valid_from_epoch)""",
    "no record of a later epoch than its position's": """
        SELECT h.position_id, h.position_date
        FROM position_history h JOIN position_state p USING (position_id)
        WHERE GREATEST(h.valid_from_epoch, h.valid_to_epoch) > p.epoch""",
    "what is not staged is noted": """
        SELECT p.position_id FROM position_state p
        WHERE (p.staged_epoch <> p.epoch OR p.frontier_date IS NULL)
          AND EXISTS (SELECT FROM calendars c
                      WHERE c.calendar_no = p.calendar_no AND c.opened_through IS NOT NULL)
          AND NOT EXISTS (SELECT FROM unstaged_positions n
                          WHERE p.position_id >= n.first_position_id
                            AND p.position_id <= n.last_position_id)""",
    "two spans never finish the same date of an epoch": """
        SELECT a.job_id FROM job_spans a
        JOIN job_spans b ON b.position_id = a.position_id AND b.epoch = a.epoch
            AND (b.job_id, b.number) > (a.job_id, a.number)
        WHERE a.valued_through >= b.first_date AND b.valued_through >= a.first_date
            AND a.last_date >= b.first_date AND b.last_date >= a.first_date""",
    "a row has a job, unless it is pruned, and the job has its position and date": """
        SELECT s.position_id FROM daily_position_snapshots s
        WHERE (EXISTS (SELECT FROM portfolio_valuation_jobs j WHERE j.job_id = s.job_id)
               OR NOT EXISTS (SELECT FROM retention))
          AND NOT EXISTS (SELECT FROM job_spans j
                          WHERE j.job_id = s.job_id AND j.position_id = s.position_id
                            AND j.epoch = s.epoch AND s.date BETWEEN j.first_date AND j.last_date
                            AND j.valued_through IS NOT NULL)""",
    "a job that nothing is left to do for is not open": """
        SELECT job_id FROM portfolio_valuation_jobs
        WHERE is_open <> (status IN ('PENDING', 'PROCESSING') OR valued_through IS NOT NULL)
          AND (is_open OR status IN ('PENDING', 'PROCESSING'))""",
}


async def broken_invariants(connection: Any) -> list[str]:
    """Return a description of each invariant that does not hold, with up to three examples."""
    found = []
    for name, query in VIOLATIONS.items():
        async with rows_in_tables(connection, query):
            rows = await connection.fetch(query)
        if rows:
            found.append(f"{name}: {[tuple(row) for row in rows[:3]]}")
    return found


async def wrong_current_rows(connection: Any) -> tuple[int, list[str]]:
    """Compare the rows of all CURRENT positions with the reference valuation.

    Args:
        connection: is in a repeatable-read transaction, so that rows and input are of one snapshot.

    Returns:
        The number of rows compared, and a description of each row that differs.
    """
    positions = await connection.fetch(
        "SELECT portfolio_id, security_id FROM position_status WHERE state = 'CURRENT'"
    )
    found = await compare(
        connection, await read_book(connection), positions=[tuple(row) for row in positions]
    )
    return found.rows_compared, [f"CURRENT and wrong: {example}" for example in found.examples]


async def check_now(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[int, list[str]]:
    """Check everything in one snapshot; return the number of rows compared, and the violations."""
    async with connection.transaction(isolation="repeatable_read"):
        violations = await broken_invariants(connection)
        rows, wrong = await wrong_current_rows(connection)
    return rows, violations + wrong


async def assert_all_correct(database: Database) -> int:
    """Assert that every position is current and every row equals the reference valuation's.

    Returns:
        The number of rows.
    """
    async with database.connection() as connection:
        states = await connection.fetch("SELECT state, count(*) FROM position_status GROUP BY 1")
        assert {row["state"] for row in states} <= {"CURRENT"}, [tuple(row) for row in states]
        assert await broken_invariants(connection) == []
        found = await compare(connection, await read_book(connection))
        assert found.agrees, "\n".join(found.examples)
        unfinished = await connection.fetch(
            """SELECT job_id, status::text FROM portfolio_valuation_jobs
               WHERE status IN ('PROCESSING', 'PENDING', 'WAITING_FOR_DATA')"""
        )
        assert unfinished == [], [tuple(row) for row in unfinished]
    return found.rows_compared
