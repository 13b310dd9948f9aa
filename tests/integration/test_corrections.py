"""What a correction touches, counted: those position-days, and nobody else's a bit."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from revalue.engine.core.date_ranges import DateRange, date_ranges
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import InvalidInputError, NotFoundError
from revalue.engine.fan_out import fan_out
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import rolled_back
from revalue.engine.postgres.statement import Connection
from revalue.engine.preview.plan import sql as preview_sql
from tests.faults.checks import assert_all_correct
from tests.support import (
    DAYS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    state_of,
)

ROWS = "SELECT position_id, date, epoch, md5(s::text) FROM daily_position_snapshots s"


async def rows(database: Database) -> set[tuple]:  # type: ignore[type-arg]
    return set(await fetch(database, ROWS))


class Interrupted:
    """A database on which something happens after each transaction that commits."""

    def __init__(self, database: Database, between: Callable[[], Awaitable[None]]) -> None:
        self.connection = database.connection
        self._database = database
        self._between = between

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Connection]:
        async with self._database.transaction(**options) as connection:
            yield connection
        await self._between()


@pytest.fixture
async def valued(url: str, database: Database):  # type: ignore[no-untyped-def]
    await load_small_book(database, portfolios=4)
    async with engine(url) as running:
        await running.settle()
        assert await assert_all_correct(database) == 4 * 2 * len(DAYS)
        yield running


async def test_a_price_or_rate_far_from_the_one_before_it_is_told(database: Database) -> None:
    """A wrong one that is put right is not: it is compared with its neighbour, not with itself."""
    await load_small_book(database, portfolios=1)
    day, before = DAYS[7], DAYS[6]
    await load(database, Kind.PRICES, prices("A", {before: "75", day: "75.5"}))
    await load(database, Kind.PRICES, prices("B", {before: "10", day: "10"}))
    await execute(database, "UPDATE instruments SET move_limit_percent=50 WHERE security_id = 'B'")

    async def told(security: str, price: str) -> tuple[str, ...]:
        return (await corrections.price(database, security, day, Decimal(price))).warnings

    [warning] = await told("A", "0.755")
    assert warning.startswith(
        f"0.755 is -98.99 % from the price of {before}, 75: more than the limit of 20 %"
    )
    assert await told("A", "75.5") == ()
    assert await told("A", "90") == (), "that is 20 %, and not more"
    assert await told("A", "60") == ()
    assert len(await told("A", "59.99")) == 1
    assert await told("B", "15") == (), "its own limit is 50 %"
    [warning] = await told("B", "15.01")
    assert "is +50.10 % from" in warning
    assert "more than the limit of 50 %" in warning
    await execute(
        database, "UPDATE market_prices SET currency = 'EUR' WHERE price_date = $1", before
    )
    assert await told("A", "0.8") == (), "in another currency"

    async def of_rate(rate: str) -> tuple[str, ...]:
        return (await corrections.rate(database, "EUR", "USD", day, Decimal(rate))).warnings

    [[stored]] = await fetch(
        database, "SELECT rate FROM fx_rates WHERE rate_date = $1 AND base_currency = 'EUR'", before
    )
    assert await of_rate(f"{stored * Decimal('1.2'):.18f}") == ()
    [warning] = await of_rate(f"{stored * 2:.18f}")
    assert f" is +100.00 % from the rate of {before}, {stored.normalize():f}" in warning


async def test_a_price_of_one_day_touches_one_row_of_each_holder(
    valued: Engine, database: Database
) -> None:
    before = await rows(database)
    made = await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    assert (made.positions, made.dates) == (4, (DateRange(DAYS[7], DAYS[7]),))
    await valued.settle()
    after = await rows(database)
    assert before <= after, "a row of before was changed or is gone"
    holders = {
        row[0]
        for row in await fetch(
            database, "SELECT position_id FROM position_state WHERE security_id = 'A'"
        )
    }
    assert {(position, day, epoch) for position, day, epoch, _ in after - before} == {
        (p, DAYS[7], 1) for p in holders
    }
    assert await assert_all_correct(database) == 4 * 2 * len(DAYS)


async def test_a_price_that_was_missing_reaches_as_far_as_it_is_carried(
    valued: Engine, database: Database
) -> None:
    await execute(
        database,
        "DELETE FROM market_prices WHERE security_id = 'A' AND price_date IN ($1, $2)",
        DAYS[6],
        DAYS[7],
    )
    await valued.settle()
    before = await rows(database)
    await assert_all_correct(database)
    await load(database, Kind.PRICES, prices("A", {DAYS[6]: "44"}))
    await valued.settle()
    touched = {day for _, day, _, _ in await rows(database) - before}
    assert touched == {DAYS[6], DAYS[7]}
    await assert_all_correct(database)


async def test_two_position_corrections_in_a_row_are_epochs_0_1_2(
    valued: Engine, database: Database
) -> None:
    epochs = []
    for quantity, from_day in (("3", DAYS[2]), ("4", DAYS[6])):
        await load(database, Kind.POSITIONS, facts("P1", "A", {from_day: quantity}), replace=True)
        await valued.settle()
        state = await state_of(database, "P1", "A")
        epochs.append((state["epoch"], state["published_epoch"], state["history_epoch"]))
        await assert_all_correct(database)
    assert epochs == [(1, 1, 1), (2, 2, 2)]
    shown = await fetch(
        database,
        """SELECT DISTINCT quantity, epoch FROM position_valuations
           WHERE portfolio_id = 'P1' AND security_id = 'A' ORDER BY epoch""",
    )
    assert shown == [(Decimal("10.5"), 0), (Decimal("3"), 1), (Decimal("4"), 2)]
    audit = await fetch(
        database,
        """SELECT valid_from_epoch, valid_to_epoch, position_date, quantity
           FROM position_history JOIN position_state USING (position_id)
           WHERE portfolio_id = 'P1' AND security_id = 'A' ORDER BY 1, 3""",
    )
    assert audit == [
        (0, None, DAYS[0], Decimal("10.5")),
        (0, 1, DAYS[4], Decimal(7)),
        (1, None, DAYS[2], Decimal(3)),
        (2, None, DAYS[6], Decimal(4)),
    ]


async def test_corrections_on_top_of_each_other_before_anything_is_valued(
    valued: Engine, database: Database
) -> None:
    """Price, rate and position at once, twice: only the last state of the data is published."""
    for turn in range(3):
        await corrections.price(database, "A", DAYS[5], Decimal(40 + turn))
        await corrections.rate(database, "EUR", "USD", DAYS[6], Decimal("1.2") + turn)
        await load(database, Kind.POSITIONS, facts("P2", "A", {DAYS[3]: str(5 + turn)}))
        await valued.loop.run_once()
    await valued.settle()
    await assert_all_correct(database)


@pytest.mark.parametrize("first", ["price", "rate"])
async def test_corrections_of_a_price_and_a_rate_that_reach_a_position_are_one(
    valued: Engine, database: Database, first: str
) -> None:
    """It is outdated since the commit of the first one; the dates of both are valued again."""
    made = {}
    for what in (first, "rate" if first == "price" else "price"):
        made[what] = (
            await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
            if what == "price"
            else await corrections.rate(database, "EUR", "USD", DAYS[5], Decimal("1.5"))
        )
    triggers = await fetch(
        database,
        "SELECT trigger_id, moment_id FROM reprocessing_triggers "
        "WHERE fanned_out_at IS NULL ORDER BY trigger_id",
    )
    assert len(triggers) == 2
    capacity = fan_out.Capacity(valued.reader, rows=1_000, task_rows=100)
    page = await fan_out.fan_out(valued.term, capacity=capacity)
    assert page is not None
    assert page.positions_staged == page.positions_invalidated
    # A in the EUR portfolios P2 and P4 is reached by both.
    states = await fetch(
        database,
        "SELECT stale_moment, trigger_id, pending FROM position_state "
        "WHERE portfolio_id IN ('P2', 'P4') AND security_id = 'A'",
    )
    assert len(states) == 2
    for moment, trigger, pending in states:
        assert (moment, trigger) == (triggers[0][1], triggers[1][0])
        assert date_ranges(pending) == (
            DateRange(DAYS[5], DAYS[5]),
            DateRange(DAYS[7], DAYS[7]),
        )
    await valued.loop.recover()
    await valued.settle()
    assert await assert_all_correct(database) == 4 * 2 * len(DAYS)


async def test_a_position_correction_names_its_own_trigger(
    valued: Engine, database: Database
) -> None:
    """A price of the position was corrected before, and is fanned out right after."""
    await corrections.price(database, "A", DAYS[2], Decimal("31.5"))

    async def between() -> None:
        assert await fan_out.fan_out(valued.term)

    made = await corrections.position(
        Interrupted(database, between), "P1", "A", DAYS[14], Decimal(3), Decimal(30), Decimal(27)
    )
    assert (made.positions, made.dates) == (1, (DateRange(DAYS[14], None),))
    assert await fetch(
        database, "SELECT kind FROM reprocessing_triggers WHERE trigger_id = $1", made.trigger_id
    ) == [("POSITION",)]
    state = await state_of(database, "P1", "A")
    assert state["trigger_id"] != made.trigger_id, "the price was fanned out last"
    await valued.settle()
    await assert_all_correct(database)


async def test_a_position_correction_that_changes_no_number_has_no_trigger(
    valued: Engine, database: Database
) -> None:
    before = await state_of(database, "P1", "A")
    values = (Decimal(7), Decimal(1000), Decimal(1000))
    for _ in range(2):
        made = await corrections.position(database, "P1", "A", DAYS[14], *values)
        assert (made.trigger_id, made.positions, made.dates) == (None, 0, ())
    assert await state_of(database, "P1", "A") == before
    await assert_all_correct(database)


async def test_a_position_closed_in_the_past_disappears_from_then_on(
    valued: Engine, database: Database
) -> None:
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[10]: "0"}))
    await valued.settle()
    assert await assert_all_correct(database) == 4 * 2 * len(DAYS) - (len(DAYS) - 11)
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[15]: "2"}))
    await valued.settle()
    assert await assert_all_correct(database) == 4 * 2 * len(DAYS) - 4


async def test_a_new_day_is_valued_in_the_live_lane_and_raises_no_epoch(
    valued: Engine, database: Database
) -> None:
    day = DAYS[-1] + timedelta(days=3)
    for security in ("A", "B"):
        await load(database, Kind.PRICES, prices(security, {day: "60"}))
    before = await rows(database)
    await open_days(database, [day])
    await valued.settle()
    assert {(at, epoch) for _, at, epoch, _ in await rows(database) - before} == {(day, 0)}
    lanes = await fetch(
        database, "SELECT lane::text, count(*) FROM job_spans GROUP BY 1 ORDER BY 1"
    )
    assert lanes == [("HISTORY", 8), ("LIVE", 8)]
    await assert_all_correct(database)


async def test_a_late_price_heals_the_positions_that_wait_for_it_and_holds_up_nobody(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=2)
    await execute(
        database,
        "DELETE FROM market_prices WHERE security_id = 'A' AND price_date BETWEEN $1 AND $2",
        DAYS[5],
        DAYS[12],
    )
    async with engine(url) as running:
        await running.settle()
        waiting = await fetch(
            database,
            """SELECT state, watermark_date, failure_reason
               FROM position_status WHERE security_id = 'A'""",
        )
        assert waiting == [("WAITING_FOR_DATA", DAYS[7], f"PRICE_TOO_OLD A {DAYS[8]}")] * 2
        assert await fetch(
            database, "SELECT DISTINCT state FROM position_status WHERE security_id = 'B'"
        ) == [("CURRENT",)]
        holes = """SELECT DISTINCT lower(holes), upper(holes) - 1 FROM position_status
                   WHERE security_id = 'A'"""
        assert await fetch(database, holes) == [(DAYS[8], DAYS[12])]
        valued = "SELECT count(*) FROM position_valuations WHERE security_id = 'A'"
        assert await fetch(database, valued) == [(2 * (len(DAYS) - 5),)]  # later dates too
        await load(database, Kind.PRICES, prices("A", {DAYS[8]: "70"}))
        await running.settle()
        assert await fetch(database, holes) == [(DAYS[12], DAYS[12])]
        await load(database, Kind.PRICES, prices("A", {DAYS[11]: "71"}))
        await running.settle()
        assert await fetch(database, holes) == [(None, None)]
    await assert_all_correct(database)
    assert await fetch(database, "SELECT 1 FROM dead_letters") == []


async def test_a_correction_that_cannot_be_made_says_why(
    valued: Engine, database: Database
) -> None:
    with pytest.raises(NotFoundError, match="no price dated 2030-01-01"):
        await corrections.price(database, "A", DAYS[0].replace(year=2030), Decimal(1))
    with pytest.raises(NotFoundError, match="EUR/CHF"):
        await corrections.rate(database, "EUR", "CHF", DAYS[0], Decimal(1))
    for refused in (
        corrections.rate(database, "USD", "EUR", DAYS[0], Decimal(1)),
        corrections.delete_rate(database, "USD", "EUR", DAYS[0]),
    ):
        with pytest.raises(NotFoundError, match=r"inverse has: EUR/USD [0-9.]+\. Name") as told:
            await refused
        assert "revalue load" not in str(told.value)
    for wrong in (Decimal(0), Decimal(-1), Decimal("0.12345678901"), Decimal(10) ** 18):
        with pytest.raises(InvalidInputError):
            await corrections.price(database, "A", DAYS[0], wrong)
    for names, values, wrong_value in (
        (("P1", "A"), ("5", "10", "0.12345678901"), "cost_basis 0.12345678901: more than 10"),
        (("P1", "A"), ("1e18", "10", "9"), f"quantity 1{18 * '0'}: more than 18 digits"),
        (("P1", "A"), ("0", "10", "9"), "quantity 0: a cost basis without a quantity"),
        (("P9", "A"), ("5", "10", "9"), "portfolio_id P9: unknown portfolio"),
    ):
        what = f"position {names[0]} / {names[1]} from {DAYS[3]}"
        with pytest.raises(InvalidInputError, match=rf"^{what}: {re.escape(wrong_value)}"):
            await corrections.position(database, *names, DAYS[3], *map(Decimal, values))
    same = await corrections.price(database, "A", DAYS[0], Decimal("100.25"))
    assert same.trigger_id is None
    assert (
        await fetch(database, "SELECT 1 FROM reprocessing_triggers WHERE fanned_out_at IS NULL")
        == []
    )


async def test_a_correction_does_not_read_the_triggers_of_the_past(
    valued: Engine, database: Database
) -> None:
    """Every price that was ever loaded has left one: a correction would cost more each day."""
    await execute(
        database,
        """INSERT INTO reprocessing_triggers (kind, security_id, dates, fanned_out_at)
           SELECT 'PRICE', CASE n % 2 WHEN 0 THEN 'A' ELSE 'B' END,
                  '{[2024-01-01,2024-01-02)}', now()
           FROM generate_series(1, 5000) n""",
    )
    await execute(database, "ANALYZE reprocessing_triggers")
    read = """SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
              WHERE relname = 'reprocessing_triggers'"""
    async with rolled_back(database) as inside, inside.connection() as connection:
        made = await corrections.price(inside, "A", DAYS[3], Decimal("77"))
        assert made.positions == 4
        assert await connection.fetchval(read) < 100
    [[last]] = await fetch(database, "SELECT max(trigger_id) FROM reprocessing_triggers")
    async with rolled_back(database) as inside, inside.connection() as connection:
        await corrections.price(inside, "A", DAYS[3], Decimal("77"))
        before = await connection.fetchval(read)
        own = await preview_sql("own_triggers").one(connection, after=last)
        assert len(own["triggers"]) == 1
        assert await connection.fetchval(read) - before < 100
