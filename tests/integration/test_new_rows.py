"""New rows go straight into the tables, with the same result as by way of `incoming`.

Inside of an open transaction, where nothing could be rolled back, all rows go by way of `incoming`:
so that is what the former is compared with.
"""

from dataclasses import asdict
from datetime import timedelta
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads import load as load_module
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.writes import new_positions, new_prices
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection
from tests.integration.loading import GONE, HELD, MORE, TABLES, changed, frame_of
from tests.support import DAYS, execute, fetch

WRITTEN = {
    "prices": """
        SELECT security_id, price_date, price, currency, quote_basis FROM market_prices""",
    "quotation currencies": "SELECT security_id, currency FROM security_quote_currencies",
    "triggers": """
        SELECT kind, security_id, range_agg(dates)::text FROM reprocessing_triggers
        WHERE fanned_out_at IS NULL OR kind = 'POSITION' GROUP BY kind, security_id""",
    "positions": """
        SELECT to_jsonb(p) - '{position_id,trigger_id,stale_moment,invalidated_moment}'::text[]
        FROM position_state p""",
    "the order of positions": """
        SELECT portfolio_id, security_id, row_number() OVER (ORDER BY position_id)
        FROM position_state""",
    "records": """
        SELECT portfolio_id, security_id, to_jsonb(h) - 'position_id'
        FROM position_history h JOIN position_state USING (position_id)""",
    "publications": """
        SELECT portfolio_id, security_id, to_jsonb(w) - '{position_id,moment_id}'::text[]
        FROM publications w JOIN position_state USING (position_id)""",
    "noted": """
        SELECT portfolio_id, security_id FROM position_state
        WHERE EXISTS (SELECT FROM unstaged_positions
                      WHERE position_id BETWEEN first_position_id AND last_position_id)""",
}


async def both_ways(
    book: Database,
    kind: Kind,
    frame: pl.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_replaced: bool = False,
) -> None:
    """Load twice from the same state; compare all that was written."""

    async def written(connection: Connection) -> dict[str, list[str]]:
        return {
            name: sorted(str(tuple(row)) for row in await connection.fetch(query))
            for name, query in WRITTEN.items()
        }

    async with book.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        compared = await load(OpenTransaction(connection), kind, frame, replace=is_replaced)
        expected = await written(connection)
        await transaction.rollback()
        monkeypatch.delattr(load_module, "check")
        straight = await load(book, kind, frame, replace=is_replaced)
        assert await written(connection) == expected
    own = {"trigger_id": None, "load_id": None}
    assert asdict(straight) | own == asdict(compared) | own


@pytest.mark.usefixtures("small_batches")
async def test_new_prices_are_written_as_if_all_were_compared(
    book: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(book, "instruments", changed("instruments"))
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    rows = [("C", day, "5") for day in DAYS]  # a security without a price
    rows += [("B", DAYS[-1] + timedelta(n), "6") for n in range(1, 40)]  # after all prices
    rows += [("A", DAYS[0] - timedelta(40), "7"), ("A", DAYS[3], "8"), ("A", DAYS[4], "100.5")]
    frame = pl.DataFrame(rows, schema=["security_id", "price_date", "price"], orient="row")
    frame = frame.with_columns(currency=pl.lit("GBX"), quote_basis=pl.lit("PER_UNIT"))
    await both_ways(book, Kind.PRICES, frame.sample(fraction=1, shuffle=True, seed=1), monkeypatch)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("is_replaced", [False, True])
async def test_new_positions_are_written_as_if_all_were_compared(
    book: Database, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    await load(book, "instruments", changed("instruments"))
    others = [f"P{number}" for number in range(2, 12)]
    portfolios = pl.DataFrame({"portfolio_id": others, "base_currency": "EUR"})
    await load(book, "portfolios", portfolios.with_columns(calendar_id=pl.lit("CAL")))
    await load(book, "positions", frame_of("A", {9: HELD}))
    closed_and_open_again = {1: HELD, 4: GONE, 5: MORE, 8: GONE, 9: GONE, 11: HELD}
    histories = [
        *((portfolio, "C", closed_and_open_again) for portfolio in others),
        ("P2", "B", {3: HELD}),
        ("P3", "B", {3: GONE}),
        ("P4", "B", {3: GONE, 5: HELD, 6: GONE}),
        ("P1", "A", {2: MORE, 6: GONE}),  # these two exist, one with a later record
        ("P1", "B", {0: HELD}),
    ]
    given = pl.concat(
        frame_of(security, model).with_columns(portfolio_id=pl.lit(portfolio))
        for portfolio, security, model in histories
    )
    given = given.sample(fraction=1, shuffle=True, seed=1)
    await both_ways(book, Kind.POSITIONS, given, monkeypatch, is_replaced=is_replaced)


@pytest.mark.parametrize(
    ("kind", "module", "looked"),
    [
        (Kind.PRICES, new_prices, "_has_stored_prices"),
        (Kind.POSITIONS, new_positions, "_divided"),
    ],
)
async def test_what_another_session_writes_meanwhile_is_found(
    book: Database, monkeypatch: pytest.MonkeyPatch, kind: Kind, module: ModuleType, looked: str
) -> None:
    """Between the look for stored rows and the COPY."""
    await load(book, "instruments", changed("instruments"))
    cell = "price" if kind is Kind.PRICES else "cost_basis"
    look = getattr(module, looked)

    async def late(*given: Any) -> Any:
        found = await look(*given)
        monkeypatch.setattr(module, looked, look)
        await load(book, kind, changed(kind, security_id="C", **{cell: "77"}))
        return found

    monkeypatch.setattr(module, looked, late)
    loaded = await load(book, kind, changed(kind, security_id="C", **{cell: "78"}))
    assert (loaded.inserted, loaded.changed) == (0, 1)
    table = TABLES[kind]
    assert await fetch(book, f"SELECT count(*) FROM {table} WHERE {cell} = 78") == [(1,)]
