"""Previews over made-up books that try every rule say which rows, positions and holes will come."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from revalue.console.reference.reference import Book
from revalue.engine.postgres.database import Database
from tests.books import books
from tests.conftest import new_database
from tests.integration.test_preview import new_rows, stored, with_rows
from tests.integration.test_valuation import CORRECTIONS, correct, load_book
from tests.support import engine, fetch

pytestmark = pytest.mark.slow

EPOCHS = "SELECT position_id, epoch FROM position_state ORDER BY 1"
SEEN = """SELECT position_id, portfolio_id, base_currency, date, market_value
          FROM position_valuations"""
HORIZONS = "SELECT portfolio_id, opened_through FROM portfolios JOIN calendars USING (calendar_id)"
HOLES = """SELECT h.position_id, b.business_date, h.reason,
                  h.reason || ' ' || h.subject || ' ' || h.first_date
           FROM position_holes h
           JOIN unnest($1::bigint[], $2::int[]) AS k (position_id, was) USING (position_id)
           JOIN position_state p USING (position_id)
           JOIN calendars c USING (calendar_no)
           JOIN business_dates b ON b.calendar_id = c.calendar_id
            AND b.business_date BETWEEN h.first_date AND h.last_date
            AND b.business_date <= c.opened_through
           WHERE h.epoch > k.was
           ORDER BY 1, h.reason <> 'OVERFLOW', 2"""


@settings(max_examples=25)
@given(book=books(), corrections=CORRECTIONS)
async def test_a_preview_is_what_then_comes(
    server_url: str, template: str, book: Book, corrections: list[Sequence[Any]]
) -> None:
    async with (
        new_database(server_url, template) as url,
        await Database.open(url) as database,
        engine(url) as running,
    ):
        await load_book(database, book)
        await running.settle()
        for correction in corrections:
            await held_against_the_act(database, book, correction, running)


async def held_against_the_act(
    database: Database, book: Book, correction: Sequence[Any], running: Any
) -> None:
    before, epochs = await stored(database), await fetch(database, EPOCHS)
    horizons = dict(await fetch(database, HORIZONS))
    seen = {row[:4]: row[4] for row in await fetch(database, SEEN)}
    told, rows = await with_rows(database, lambda inside: correct(inside, book, correction))
    assert await stored(database) == before
    await correct(database, book, correction)
    await running.settle()
    raised = {
        position
        for (position, was), (_, now) in zip(epochs, await fetch(database, EPOCHS), strict=True)
        if now > was
    }
    assert len(raised) == told.positions
    assert rows == await new_rows(database, epochs)
    found = await fetch(database, HOLES, [each[0] for each in epochs], [each[1] for each in epochs])
    first: dict[int, str] = {}
    for position, _, _, reason in found:
        first.setdefault(position, reason)
    assert told.waiting == dict(Counter(first.values()))
    assert told.without_value == len(found)
    holes = {(position, day) for position, day, *_ in found}
    now = {row[:4]: row[4] for row in await fetch(database, SEEN)}
    changed: dict[tuple[Any, ...], Any] = {}
    for key in now.keys() | seen.keys():
        position, portfolio, currency, day = key
        # On a date that was not opened before, what comes corrects nothing.
        if (position, day) not in holes and day <= horizons[portfolio]:
            change = now.get(key, 0) - seen.get(key, 0)
            changed[portfolio, currency, day] = changed.get((portfolio, currency, day), 0) + change
    said = told.values.select(
        "portfolio_id",
        "base_currency",
        "date",
        pl.col("market_value_after") - pl.col("market_value_before"),
    )
    opened = {row[:3]: row[3] for row in said.rows() if row[3] and row[2] <= horizons[row[0]]}
    assert opened == {where: change for where, change in changed.items() if change}
