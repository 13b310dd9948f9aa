"""Previews over made-up books that try every rule say which rows, positions and holes will come."""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings

from revalue.console.reference.reference import Book
from revalue.engine.postgres.database import Database
from tests.books import books
from tests.conftest import drop_database, fresh_database
from tests.integration.test_preview import new_rows, stored, with_rows
from tests.integration.test_valuation import CORRECTIONS, correct, load_book
from tests.support import engine, fetch

pytestmark = pytest.mark.slow

EPOCHS = "SELECT position_id, epoch FROM position_state ORDER BY 1"
SEEN = """SELECT portfolio_id, base_currency, date, sum(market_value)
          FROM position_valuations GROUP BY 1, 2, 3"""
HORIZONS = "SELECT portfolio_id, opened_through FROM portfolios JOIN calendars USING (calendar_id)"
STUCK = """SELECT position_id, failure_reason FROM position_status
           WHERE state IN ('WAITING_FOR_DATA', 'FAILED') AND published_epoch < epoch"""


@settings(max_examples=25)
@given(book=books(), corrections=CORRECTIONS)
async def test_a_preview_is_what_then_comes(
    server_url: str, template: str, book: Book, corrections: list[Sequence[Any]]
) -> None:
    url = await fresh_database(server_url, template)
    try:
        async with await Database.open(url) as database, engine(url) as running:
            await load_book(database, book)
            await running.settle()
            for correction in corrections:
                await held_against_the_act(database, book, correction, running)
    finally:
        await drop_database(server_url, url)


async def held_against_the_act(
    database: Database, book: Book, correction: Sequence[Any], running: Any
) -> None:
    before, epochs = await stored(database), await fetch(database, EPOCHS)
    horizons = dict(await fetch(database, HORIZONS))
    seen = {row[:3]: row[3] for row in await fetch(database, SEEN)}
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
    holes: dict[str, int] = {}
    for position, reason in await fetch(database, STUCK):
        if position in raised:
            holes[reason] = holes.get(reason, 0) + 1
    assert told.waiting == holes
    now = {row[:3]: row[3] for row in await fetch(database, SEEN)}
    changed = {
        position: now.get(position, 0) - seen.get(position, 0)
        for position in now.keys() | seen.keys()
    }
    said = told.values.select(
        "portfolio_id",
        "base_currency",
        "date",
        pl.col("market_value_after") - pl.col("market_value_before"),
    )
    # On a date that was not opened before, what comes corrects nothing.
    corrected = {
        position: change
        for position, change in changed.items()
        if change and position[2] <= horizons[position[0]]
    }
    assert {row[:3]: row[3] for row in said.rows() if row[3]} == corrected
