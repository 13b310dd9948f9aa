"""The numbers, digit for digit, against the reference valuation.

Generated books exercise every rule, before and after corrections.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revalue.console.reference.reference import Book, compare, read_book
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from revalue.engine.read.explain import explain
from tests.books import DAYS, ORDINARY_COSTS, ORDINARY_QUANTITIES, book_frames, books, histories
from tests.conftest import new_database
from tests.support import SETTINGS, engine, examples, execute, fetch

pytestmark = pytest.mark.slow

DAY = st.sampled_from(DAYS)
NUMBER = st.integers(1, 10**14).map(lambda n: Decimal(n).scaleb(-10))
CORRECTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.integers(0, 3), DAY, NUMBER),
        st.tuples(st.just("no price"), st.integers(0, 3), DAY),
        st.tuples(st.just("rate"), st.integers(0, 9), DAY, NUMBER),
        st.tuples(st.just("no rate"), st.integers(0, 9), DAY),
        st.tuples(st.just("age"), st.integers(0, 3), st.integers(0, 6)),
        st.tuples(st.just("policy"), st.sampled_from(["EUR", "USD"]), st.integers(0, 6)),
        st.tuples(st.just("date"), DAY, st.booleans()),
        st.tuples(
            st.just("facts"),
            st.integers(0, 9),
            histories(ORDINARY_QUANTITIES, ORDINARY_COSTS),
            st.booleans(),
        ),
    ),
    min_size=1,
    max_size=5,
)


async def load_book(database: Database, book: Book) -> None:
    await execute(
        database,
        "UPDATE valuation_policy SET fx_pivot_currency = $1, fx_max_age_sessions = $2",
        book.fx_pivot,
        book.fx_max_age,
    )
    frames = book_frames(book)
    # A price PER_CONTRACT needs a multiplier when it is loaded; the multiplier is removed later.
    lost = (
        frames["instruments"]
        .filter(pl.col("contract_multiplier").is_null())["security_id"]
        .to_list()
    )
    frames["instruments"] = frames["instruments"].with_columns(
        pl.col("contract_multiplier").fill_null(1)
    )
    for kind, frame in frames.items():
        await load(database, kind, frame)
    for calendar, days in book.calendars.items():
        await open_calendars(database, days[-1], [calendar])
    await execute(
        database,
        "UPDATE instruments SET contract_multiplier = NULL WHERE security_id = ANY ($1)",
        lost,
    )


async def correct(database: Database, book: Book, correction: Sequence[Any]) -> None:
    match correction:
        case ("price", number, day, price):
            await execute(
                database,
                """INSERT INTO market_prices
                   SELECT security_id, $2, $3, currency, 'PER_UNIT' FROM instruments
                   WHERE security_id = $1
                   ON CONFLICT (security_id, price_date) DO UPDATE SET price = excluded.price""",
                f"S{number}",
                day,
                price,
            )
        case ("no price", number, day):
            await execute(
                database,
                "DELETE FROM market_prices WHERE security_id = $1 AND price_date = $2",
                f"S{number}",
                day,
            )
        case ("rate", number, day, rate) if book.rates:
            await execute(
                database,
                """INSERT INTO fx_rates VALUES ($1, $2, $3, $4)
                   ON CONFLICT (base_currency, quote_currency, rate_date)
                   DO UPDATE SET rate = excluded.rate""",
                *sorted(book.rates)[number % len(book.rates)],
                day,
                rate,
            )
        case ("no rate", number, day) if book.rates:
            pair = sorted(book.rates)[number % len(book.rates)]
            await execute(
                database,
                """DELETE FROM fx_rates
                   WHERE base_currency = $1 AND quote_currency = $2 AND rate_date = $3""",
                *pair,
                day,
            )
        case ("age", number, age):
            await execute(
                database,
                "UPDATE instruments SET max_price_age_sessions = $2 WHERE security_id = $1",
                f"S{number}",
                age,
            )
        case ("policy", pivot, age):
            await execute(
                database,
                "UPDATE valuation_policy SET fx_pivot_currency = $1, fx_max_age_sessions = $2",
                pivot,
                age,
            )
        case ("date", day, opens):
            await execute(
                database,
                """INSERT INTO business_dates SELECT calendar_id, $1 FROM calendars
                   ON CONFLICT DO NOTHING""",
                day,
            )
            if opens:
                await execute(
                    database,
                    "UPDATE calendars SET opened_through = $1 WHERE opened_through < $1",
                    day,
                )
        case ("facts", number, facts, replace) if book.records:
            position = sorted(book.records)[number % len(book.records)]
            changed = Book(**{**vars(book), "records": {position: facts}})
            await load(database, Kind.POSITIONS, book_frames(changed)["positions"], replace=replace)


async def check(database: Database) -> None:
    """Every row is the reference's, every hole has its reason, and a position is CURRENT exactly if
    nothing of it is missing. Holes keep no other date from being valued and shown."""
    async with database.connection() as connection:
        found = await compare(connection, await read_book(connection))
    assert found.agrees, "\n".join(found.examples)
    states = {
        (portfolio, security): (state, reason)
        for portfolio, security, state, reason in await fetch(
            database,
            "SELECT portfolio_id, security_id, state, failure_reason FROM position_status",
        )
    }
    for position, (state, reason) in states.items():
        hole = found.holes.get(position)
        if hole is None:
            wanted = ("CURRENT", None)
        else:
            failed = hole.reason.startswith("OVERFLOW")
            wanted = ("FAILED" if failed else "WAITING_FOR_DATA", hole.reason)
        assert (state, reason) == wanted, position
    behind = await fetch(
        database,
        """SELECT portfolio_id, security_id FROM position_status
           WHERE (state = 'CURRENT') <> (watermark_date = horizon)
              OR published_epoch <> epoch OR watermark_date > frontier_date
              OR frontier_date <> horizon""",
    )
    assert behind == []


@settings(max_examples=examples(30))
@given(book=books(), corrections=CORRECTIONS, task_rows=st.sampled_from([1, 7, 1000]))
async def test_every_row_is_that_of_the_reference_before_and_after_corrections(
    server_url: str, template: str, book: Book, corrections: list[Sequence[Any]], task_rows: int
) -> None:
    async with new_database(server_url, template) as url, await Database.open(url) as database:
        await load_book(database, book)
        async with engine(
            url, settings=SETTINGS.model_copy(update={"task_rows": task_rows})
        ) as running:
            await running.settle()
            await check(database)
            for correction in corrections:
                await correct(database, book, correction)
            await running.settle()
            await check(database)
        await check_explanations(database)


async def check_explanations(database: Database) -> None:
    """`explain` computes by itself: it agrees with the stored rows and gives the jobs' reasons."""
    rows = await fetch(
        database,
        "SELECT portfolio_id, security_id, date FROM position_valuations ORDER BY random() LIMIT 5",
    )
    for portfolio, security, day in rows:
        found = await explain(database, portfolio, security, day)
        assert (
            found.verdict == "AGREES" or found.position["reprocessing_status"] == "IN_PROGRESS"
        ), found.differences
    waiting = await fetch(
        database,
        """SELECT portfolio_id, security_id, failure_reason FROM position_status
           WHERE state IN ('WAITING_FOR_DATA', 'FAILED') ORDER BY random()""",
    )
    for portfolio, security, reason in waiting[:3]:
        found = await explain(database, portfolio, security, date.fromisoformat(reason[-10:]))
        assert (found.verdict, found.missing) == (
            "MISSING",
            reason,
        )
