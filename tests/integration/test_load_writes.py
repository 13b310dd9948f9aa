"""A load writes all or nothing, and changes nothing when it is repeated."""

from datetime import date, timedelta
from itertools import groupby
from pathlib import Path

import asyncpg
import polars as pl
import pytest

from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.loads.load_progress import LoadProgress
from revalue.engine.errors import CorrectionRefusedError
from revalue.engine.postgres.database import Database
from tests.integration.loading import GOOD, HEADER, TABLES, rows_of_prices
from tests.support import DAYS, execute, fetch, prices


@pytest.mark.parametrize("kind", list(Kind))
async def test_the_same_file_twice_changes_and_triggers_nothing(
    book: Database, kind: Kind, tmp_path: Path
) -> None:
    path = tmp_path / "input.csv"
    pl.DataFrame(GOOD[kind]).write_csv(path)
    first = await load(book, kind, path)
    assert (first.rows, first.inserted + first.changed) == (1, 1)
    seen = """SELECT (SELECT count(*) FROM reprocessing_triggers),
                     (SELECT sum(revision + epoch) FROM position_state)"""
    before = (
        await fetch(
            book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"
        ),
        await fetch(book, seen),
    )
    second = await load(book, kind, path)
    assert (second.unchanged, second.inserted, second.changed, second.removed) == (1, 0, 0, 0)
    assert before == (
        await fetch(
            book, f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {TABLES[kind]} t"
        ),
        await fetch(book, seen),
    )


async def test_loads_of_the_same_rows_use_up_no_numbers(book: Database) -> None:
    """calendars.calendar_no is a smallint: 32,767 loads would use it up."""
    frames = {kind: pl.DataFrame(GOOD[kind]) for kind in GOOD}
    for kind, frame in frames.items():
        await load(book, kind, frame)
    frames["instruments"] = frames["instruments"].with_columns(currency=pl.lit("USD"))
    changed = await load(book, "instruments", frames["instruments"])
    assert (changed.inserted, changed.changed, changed.unchanged) == (0, 1, 0)
    numbers = """SELECT sequencename, last_value FROM pg_sequences
                 WHERE data_type <> 'bigint'::regtype"""
    taken = dict(await fetch(book, numbers))
    assert taken["calendars_calendar_no_seq"] == 1
    assert taken["instruments_instrument_no_seq"] == 3
    for _ in range(20):
        for kind, frame in frames.items():
            await load(book, kind, frame)
    assert dict(await fetch(book, numbers)) == taken


@pytest.mark.usefixtures("small_batches")
async def test_a_file_of_several_batches_is_written_in_ranges_and_counted(
    book: Database, tmp_path: Path
) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("\n".join([HEADER, *rows_of_prices(500, "5.5")]))
    seen: list[LoadProgress] = []
    first = await load(book, "prices", path, on_progress=seen.append)
    assert (first.rows, first.inserted, first.changed, first.unchanged) == (500, 500, 0, 0)
    assert [step for step, _ in groupby(each.step for each in seen)] == [
        "reading",
        "checking",
        "writing",
        "committing",
    ]
    reach = """SELECT security_id, range_agg(dates)::text FROM reprocessing_triggers
               WHERE fanned_out_at IS NULL GROUP BY security_id ORDER BY 1"""
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    changed = [*rows_of_prices(500, "5.5")[:-60], *rows_of_prices(520, "6")[-80:]]
    path.write_text("\n".join([HEADER, *changed]))
    second = await load(book, "prices", path)
    assert (second.inserted, second.changed, second.unchanged) == (20, 60, 440)
    begin = date(2025, 1, 1) + timedelta(220)
    assert await fetch(book, reach) == [(name, f"{{[{begin},)}}") for name in "AB"]
    third = await load(book, "prices", path)
    assert (third.inserted, third.changed, third.unchanged) == (0, 0, 520)


async def test_a_changed_price_leaves_a_trigger_of_exactly_its_reach(book: Database) -> None:
    await execute(book, "UPDATE reprocessing_triggers SET fanned_out_at = now()")
    await load(
        book, "prices", prices("A", {DAYS[0]: "100.25", DAYS[3]: "9", DAYS[4]: "9", DAYS[9]: "9"})
    )
    assert await fetch(
        book,
        """SELECT kind, security_id, dates::text FROM reprocessing_triggers
           WHERE fanned_out_at IS NULL""",
    ) == [("PRICE", "A", f"{{[{DAYS[3]},{DAYS[5]}),[{DAYS[9]},{DAYS[10]})}}")]


async def test_a_change_that_the_database_refuses_rolls_everything_back(
    book: Database, connection: asyncpg.Connection
) -> None:
    both = pl.DataFrame(
        {
            "portfolio_id": ["P0", "P1"],
            "base_currency": ["CHF", "CHF"],
            "calendar_id": ["CAL", "CAL"],
        }
    )
    with pytest.raises(CorrectionRefusedError, match="P1 cannot change"):
        await load(book, "portfolios", both)
    assert (
        await connection.fetchval("SELECT count(*) FROM portfolios WHERE base_currency = 'CHF'")
        == 0
    )
