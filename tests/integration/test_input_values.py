"""Every form in which a value can be given is read exactly."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from tests.integration.loading import GOOD, changed
from tests.support import fetch


async def test_numbers_are_taken_as_they_are_printed(book: Database, tmp_path: Path) -> None:
    path = tmp_path / "prices.parquet"
    floats = [0.1, 1e-05, 123456.789, 2e-10]
    pl.DataFrame(
        {"price_date": [date(2025, 1, n) for n in range(1, 5)], "price": floats}
    ).with_columns(
        security_id=pl.lit("A"), currency=pl.lit("USD"), quote_basis=pl.lit("PER_UNIT")
    ).write_parquet(path)
    await load(book, "prices", path)
    stored = [
        row[0]
        for row in await fetch(
            book,
            "SELECT price FROM market_prices WHERE price_date >= '2025-01-01' ORDER BY price_date",
        )
    ]
    assert stored == [
        Decimal("0.1"),
        Decimal("0.00001"),
        Decimal("123456.789"),
        Decimal("0.0000000002"),
    ]


@pytest.mark.parametrize(
    "frame",
    [
        lambda: changed("prices", price=1.5, price_date=datetime(2024, 2, 1)).cast(
            {"security_id": pl.Categorical}
        ),
        lambda: changed("prices", price=Decimal("1.500"), price_date=date(2024, 2, 1)),
        lambda: pa.table(
            {**GOOD["prices"], "price": pa.array([Decimal("1.5")], pa.decimal256(50, 12))}
        ),
        lambda: pa.table(
            {
                **GOOD["prices"],
                "security_id": pa.array(["A"]).dictionary_encode(),
                "price": ["+01.50"],
            }
        ),
        lambda: changed("prices", price="15e-1"),
        lambda: changed("prices", price="+.15E+01"),
        lambda: changed("prices", price=".15e1"),
    ],
)
async def test_every_type_that_can_hold_the_value_is_read_exactly(
    book: Database, frame: Callable[[], pl.DataFrame | pa.Table]
) -> None:
    assert (await load(book, "prices", frame())).inserted == 1
    assert await fetch(book, "SELECT price FROM market_prices WHERE price_date = '2024-02-01'") == [
        (Decimal("1.5"),)
    ]


async def test_an_optional_column_may_be_empty_and_an_input_may_have_no_rows(
    book: Database,
) -> None:
    assert (
        await load(book, "instruments", changed("instruments", contract_multiplier=None))
    ).inserted == 1
    for kind in Kind:
        assert (await load(book, kind, pl.DataFrame(GOOD[kind]).clear())).rows == 0


async def test_an_id_of_200_characters_is_loaded(book: Database) -> None:
    for kind, column in (("business_dates", "calendar_id"), ("instruments", "security_id")):
        await load(book, kind, changed(kind, **{column: "Ä" * 200}))
    names = {"portfolio_id": "Ä" * 200, "calendar_id": "Ä" * 200}
    await load(book, "portfolios", changed("portfolios", **names))
    held_names = {"portfolio_id": "Ä" * 200, "security_id": "Ä" * 200}
    loaded = await load(book, "positions", changed("positions", **held_names))
    assert loaded.inserted == 1
