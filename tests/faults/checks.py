"""The invariants of docs/protocol.md, asked of a database while an engine works on it; and the
whole of it at the end."""

from typing import Any

import asyncpg

from revalue.console.reference.reference import compare, read_book
from revalue.engine.postgres.database import Database

# Each finds rows only where an invariant is broken.
BROKEN = {
    "watermark <= frontier <= horizon": """
        SELECT p.position_id FROM position_state p JOIN portfolios f USING (portfolio_id)
        WHERE p.watermark_date > p.frontier_date
           OR p.frontier_date > (SELECT max(business_date) FROM business_dates b
           WHERE b.calendar_id = f.calendar_id)""",
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
    "two jobs never finish the same date of an epoch": """
        SELECT a.job_id FROM portfolio_valuation_jobs a
        JOIN portfolio_valuation_jobs b ON b.position_id = a.position_id AND b.epoch = a.epoch
            AND b.job_id > a.job_id
        WHERE a.valued_through >= b.first_date AND b.valued_through >= a.first_date""",
}


async def broken_invariants(connection: Any) -> list[str]:
    """The invariants that do not hold as of one moment, in words."""
    found = []
    for name, query in BROKEN.items():
        rows = await connection.fetch(query)
        if rows:
            found.append(f"{name}: {[tuple(row) for row in rows[:3]]}")
    return found


async def wrong_current_rows(connection: Any) -> tuple[int, list[str]]:
    """Rows of positions that are called CURRENT as of one moment, and those that differ from the
    reference valuation's for the data of the same moment. The connection is in a repeatable-read
    transaction."""
    positions = await connection.fetch(
        "SELECT portfolio_id, security_id FROM position_status WHERE state = 'CURRENT'"
    )
    found = await compare(
        connection, await read_book(connection), positions=[tuple(row) for row in positions]
    )
    return found.rows_compared, [f"CURRENT and wrong: {example}" for example in found.examples]


async def check_now(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[int, list[str]]:
    """One look at everything, as of one moment: rows compared, violations."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        violations = await broken_invariants(connection)
        rows, wrong = await wrong_current_rows(connection)
    return rows, violations + wrong


async def all_is_right(database: Database) -> int:
    """Every position is current and every row is the reference valuation's; returns how many rows
    there are."""
    async with database.connection() as connection:
        states = await connection.fetch("SELECT state, count(*) FROM position_status GROUP BY 1")
        assert {row["state"] for row in states} <= {"CURRENT"}, [tuple(row) for row in states]
        assert await broken_invariants(connection) == []
        found = await compare(connection, await read_book(connection))
        assert found.agrees, "\n".join(found.examples)
        stray = await connection.fetch(
            """SELECT job_id, status::text FROM portfolio_valuation_jobs
               WHERE status IN ('PROCESSING', 'PENDING', 'WAITING_FOR_DATA')"""
        )
        assert stray == [], [tuple(row) for row in stray]
    return found.rows_compared
