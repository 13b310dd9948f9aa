"""A load that is taken back leaves the book in which it never happened."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
import polars as pl
import pytest

import revalue
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.loads.load_progress import LoadProgress
from revalue.engine.correct.loads.recorded import list_loads
from revalue.engine.correct.reverts.reverts import look, revert
from revalue.engine.correct.splits.splits import split
from revalue.engine.errors import (
    CorrectionRefusedError,
    NotFoundError,
    UsageError,
    WriteConflictError,
)
from revalue.engine.operate.prune import REPLACED_PRICES, REPLACED_RECORDS, prune
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction, rolled_back
from revalue.engine.read.frames import valuations
from tests.conftest import book_template, drop_database, fresh_database
from tests.integration.test_cli import code, run
from tests.support import DAYS, engine, execute, facts, fetch, prices, until

AFTER = DAYS[-1] + timedelta(days=3)
"""A day that is not opened."""


def rates(rows: dict[date, str]) -> pl.DataFrame:
    return pl.DataFrame({"rate_date": list(rows), "rate": list(rows.values())}).select(
        pl.lit("EUR").alias("base_currency"), pl.lit("USD").alias("quote_currency"), pl.all()
    )


class Wrong(NamedTuple):
    """A load that should not have been."""

    kind: Kind
    frame: pl.DataFrame
    option: str | None = None


CASES = {
    "prices that are changed, new and as they were": [
        Wrong(
            Kind.PRICES,
            pl.concat(
                [
                    prices("A", {DAYS[3]: "999", DAYS[10]: "77.125"}),
                    prices("A", {DAYS[12]: "5", DAYS[13]: "500"}, currency="EUR"),
                    prices("B", {DAYS[5]: "55.25", DAYS[6]: "1"}),
                ]
            ),
        )
    ],
    "a history of prices, partly new": [
        Wrong(
            Kind.PRICES,
            pl.concat(
                [
                    prices(
                        "A", {DAYS[0] + timedelta(days=n): f"{n + 1}.5" for n in range(-20, 26)}
                    ),
                    prices("B", {DAYS[2]: "7"}),
                    prices("C", {DAYS[0] + timedelta(days=n): f"{n}" for n in range(1, 26)}, "EUR"),
                ]
            ).filter(pl.col("price") > "0"),
        )
    ],
    "rates that are changed and new": [
        Wrong(Kind.FX_RATES, rates({DAYS[3]: "2.5", DAYS[4]: "1.1028", DAYS[11]: "3"}))
    ],
    "records that are changed and new, of positions that are so too": [
        Wrong(
            Kind.POSITIONS,
            pl.concat(
                [
                    facts("P1", "A", {DAYS[0]: "3", DAYS[2]: "10.5", DAYS[7]: "0"}),
                    facts("P2", "B", {DAYS[9]: "-4"}),
                    facts("P2", "C", {DAYS[1]: "6", DAYS[6]: "0", DAYS[8]: "2"}),
                ]
            ),
        )
    ],
    "a history that was replaced": [
        Wrong(Kind.POSITIONS, facts("P1", "A", {DAYS[1]: "12"}), "replace")
    ],
    "a snapshot that has left something out": [
        Wrong(Kind.POSITIONS, facts("P1", "A", {DAYS[6]: "7.5"}), "snapshot")
    ],
    "records after the opened days, of which the second load replaces one": [
        Wrong(Kind.POSITIONS, facts("P1", "A", {AFTER: "8"})),
        Wrong(Kind.POSITIONS, facts("P1", "A", {AFTER: "9", AFTER + timedelta(days=1): "0"})),
    ],
    "two loads of the same rows": [
        Wrong(Kind.PRICES, prices("A", {DAYS[3]: "999", DAYS[10]: "1"})),
        Wrong(Kind.PRICES, prices("A", {DAYS[3]: "998", DAYS[10]: "2", DAYS[11]: "4"})),
        Wrong(Kind.POSITIONS, facts("P1", "B", {DAYS[5]: "1"})),
        Wrong(Kind.POSITIONS, facts("P1", "B", {DAYS[5]: "0", DAYS[6]: "2"})),
    ],
}


@pytest.fixture
async def books(server_url: str, template: str) -> AsyncIterator[Callable[[], Any]]:
    """Makes databases with the small book, valued: P1 in USD and P2 in EUR hold A and B.

    A has no price on the eleventh day, EUR/USD no rate on the twelfth, and nobody holds C.
    """
    name = "revertible"
    if not await _exists(server_url, name):
        address = await fresh_database(server_url, await book_template(server_url, template, 2))
        async with await Database.open(address) as database:
            await corrections.delete_price(database, "A", DAYS[10])
            await corrections.delete_rate(database, "EUR", "USD", DAYS[11])
            instrument = {"security_id": ["C"], "currency": ["USD"], "max_price_age_sessions": [30]}
            await load(database, Kind.INSTRUMENTS, pl.DataFrame(instrument))
            await load(database, Kind.PRICES, prices("C", {DAYS[0]: "20"}))
        await valued(address)
        async with await Database.open(server_url) as server, server.connection() as connection:
            made = address.partition("@/")[2].partition("?")[0]
            await connection.execute(f"ALTER DATABASE {made} RENAME TO {name}")
    made_here: list[str] = []

    async def book() -> str:
        made_here.append(await fresh_database(server_url, name))
        return made_here[-1]

    yield book
    for address in made_here:
        await drop_database(server_url, address)


async def _exists(server_url: str, name: str) -> bool:
    async with await Database.open(server_url) as server:
        found = await fetch(server, "SELECT 1 FROM pg_database WHERE datname = $1", name)
    return bool(found)


async def valued(url: str) -> None:
    async with engine(url) as running:
        await running.settle()
        await running.term.release()


async def loaded(database: Database, wrong: Sequence[Wrong]) -> list[int]:
    """Make the loads; return their numbers."""
    numbers = []
    for each in wrong:
        options = {each.option: True} if each.option else {}
        done = await load(database, each.kind, each.frame, **options)
        assert done.load_id is not None
        numbers.append(done.load_id)
    return numbers


async def published(database: Database, known_at: datetime | None = None) -> pl.DataFrame:
    return (await valuations(database, known_at=known_at)).drop("epoch")


INPUTS = (
    "SELECT security_id, price_date, price, currency, quote_basis FROM market_prices",
    "SELECT base_currency, quote_currency, rate_date, rate FROM fx_rates",
    """SELECT portfolio_id, security_id, position_date, quantity, cost_basis_local, cost_basis
       FROM position_history JOIN position_state USING (position_id)
       WHERE valid_to_epoch IS NULL""",
    """SELECT portfolio_id, security_id, open_dates::text, published_open_dates::text
       FROM position_state WHERE NOT isempty(open_dates)""",
)


async def inputs(database: Database) -> list[list[tuple[Any, ...]]]:
    return [sorted(await fetch(database, query)) for query in INPUTS]


async def same(database: Database, other: Database) -> None:
    """Both books have the same data and numbers, and are current."""
    assert (await published(database)).equals(await published(other), null_equal=True)
    assert await inputs(database) == await inputs(other)
    for each in (database, other):
        assert (await read_status(each, exact=True)).is_current


@pytest.mark.parametrize("wrong", CASES.values(), ids=CASES)
async def test_what_is_left_is_the_book_without_the_load(
    books: Callable[[], Any], wrong: list[Wrong]
) -> None:
    url, never = await books(), await books()
    async with await Database.open(url) as database, await Database.open(never) as other:
        numbers = await loaded(database, wrong)
        await valued(url)
        before, when = await published(database), datetime.now(UTC)
        changed = await inputs(database)
        assert changed != await inputs(other)
        for number in reversed(numbers):
            steps: list[LoadProgress] = []
            told = await look(database, number, on_progress=steps.append)
            assert [each.step for each in steps] == ["checking"]
            done = await revert(database, number, on_progress=steps.append)
            assert [each.step for each in steps[1:]] == ["checking", "writing", "committing"]
            assert (told.rows, told.deleted, told.restored) == (
                *(done.rows, done.deleted, done.restored),
            )
            assert (done.reverts, done.kept) == (number, 0)
            assert done.rows == done.deleted + done.restored > 0
        await valued(url)
        await same(database, other)
        assert (await published(database, when)).equals(before, null_equal=True)

        # What was taken back is taken back itself: the loads are there again.
        reverts = [each.load_id for each in await list_loads(database, most=len(numbers))]
        assert [each.reverts for each in await list_loads(database, most=len(numbers))] == numbers
        for number in reverts:
            await revert(database, number)
        await valued(url)
        assert await inputs(database) == changed
        assert (await published(database)).equals(before, null_equal=True)


async def test_rows_that_were_changed_since_are_refused_or_kept(books: Callable[[], Any]) -> None:
    url, never = await books(), await books()
    async with await Database.open(url) as database, await Database.open(never) as other:
        days = {DAYS[3]: "1", DAYS[4]: "2", DAYS[5]: "3", DAYS[10]: "4"}
        [number] = await loaded(database, [Wrong(Kind.PRICES, prices("A", days))])
        later = await load(database, Kind.PRICES, prices("A", {DAYS[4]: "2.5"}))
        await corrections.delete_price(database, "A", DAYS[10])
        before = await inputs(database)
        with pytest.raises(CorrectionRefusedError) as told:
            await revert(database, number)
        assert str(told.value).splitlines()[:3] == [
            f"load {number}: 2 of the 4 rows that it has changed were changed since, nothing is "
            "taken back",
            f"  A {DAYS[4]}: the load left 2.0000000000 USD PER_UNIT, now it is 2.5000000000 USD "
            "PER_UNIT",
            f"  A {DAYS[10]}: the load left 4.0000000000 USD PER_UNIT, now it is deleted",
        ]
        assert await inputs(database) == before
        done = await revert(database, number, keep_later=True)
        assert (done.rows, done.restored, done.deleted, done.kept) == (4, 2, 0, 2)
        await valued(url)
        await load(other, Kind.PRICES, prices("A", {DAYS[4]: "2.5"}))
        await valued(never)
        await same(database, other)
        with pytest.raises(CorrectionRefusedError, match="has taken it back already"):
            await revert(database, number)
        assert later.load_id is not None

        held = await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[2]: "5", DAYS[3]: "6"}))
        amounts = (Decimal(4), Decimal(1), Decimal(1))
        await corrections.position(database, "P1", "A", DAYS[3], *amounts)
        assert held.load_id is not None
        with pytest.raises(CorrectionRefusedError, match=f"P1 / A from {DAYS[3]}: the load left 6"):
            await revert(database, held.load_id)
        done = await revert(database, held.load_id, keep_later=True)
        assert (done.deleted, done.kept) == (1, 1)
        await corrections.position(other, "P1", "A", DAYS[3], *amounts)
        await valued(url)
        await valued(never)
        await same(database, other)


@pytest.mark.parametrize("kind", [Kind.PRICES, Kind.POSITIONS])
async def test_a_change_that_is_not_committed_yet_is_waited_for(
    books: Callable[[], Any], kind: Kind
) -> None:
    frames = {
        Kind.PRICES: [prices("A", {DAYS[3]: price}) for price in ("7", "8")],
        Kind.POSITIONS: [facts("P1", "A", {DAYS[3]: quantity}) for quantity in ("7", "8")],
    }
    waits = """SELECT 1 FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with await Database.open(await books()) as database:
        [number] = await loaded(database, [Wrong(kind, frames[kind][0])])
        async with database.transaction() as connection:
            await load(OpenTransaction(connection), kind, frames[kind][1])
            reverting = asyncio.create_task(revert(database, number))

            async def is_waiting() -> bool:
                return bool(await fetch(database, waits))

            await until(is_waiting, work=reverting)
        with pytest.raises(CorrectionRefusedError, match="1 of the 1 rows"):
            await reverting


@pytest.mark.parametrize("kind", [Kind.PRICES, Kind.FX_RATES])
async def test_a_row_that_is_stored_again_meanwhile_is_a_conflict(
    books: Callable[[], Any], kind: Kind
) -> None:
    frame = {Kind.PRICES: prices("A", {DAYS[10]: "7"}), Kind.FX_RATES: rates({DAYS[11]: "7"})}[kind]
    waits = """SELECT 1 FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with await Database.open(await books()) as database:
        [number] = await loaded(database, [Wrong(kind, frame)])
        again = (await revert(database, number)).load_id
        assert again is not None
        async with database.transaction() as connection:
            await load(OpenTransaction(connection), kind, frame)
            reverting = asyncio.create_task(revert(database, again))

            async def is_waiting() -> bool:
                return bool(await fetch(database, waits))

            await until(is_waiting, work=reverting)
        with pytest.raises(WriteConflictError, match=f"stored 1 of the {kind.value} meanwhile"):
            await reverting
        with pytest.raises(CorrectionRefusedError, match="the load left nothing, now it is 7"):
            await revert(database, again)


@pytest.mark.parametrize(
    ("wrong", "is_of_a_revert"),
    [
        (Wrong(Kind.PRICES, prices("A", {DAYS[3]: "999"})), False),
        (Wrong(Kind.PRICES, prices("A", {DAYS[10]: "7"})), False),
        (Wrong(Kind.PRICES, prices("A", {DAYS[10]: "7"})), True),
        (Wrong(Kind.FX_RATES, rates({DAYS[11]: "7"})), True),
        (Wrong(Kind.POSITIONS, facts("P1", "A", {DAYS[3]: "7"})), False),
    ],
)
async def test_of_two_reverts_at_once_the_later_one_says_that_it_is_done(
    books: Callable[[], Any], wrong: Wrong, is_of_a_revert: bool
) -> None:
    waits = """SELECT 1 FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with await Database.open(await books()) as database:
        [number] = await loaded(database, [wrong])
        if is_of_a_revert:
            number = (await revert(database, number)).load_id or 0
        async with database.transaction() as connection:
            first = await revert(OpenTransaction(connection), number)
            later = asyncio.create_task(revert(database, number))

            async def is_waiting() -> bool:
                return bool(await fetch(database, waits))

            await until(is_waiting, work=later)
        said = rf"load {number}: .*\(load {first.load_id} has taken it back already\)"
        with pytest.raises(CorrectionRefusedError, match=said):
            await later


async def test_a_price_per_contract_is_not_restored_without_a_multiplier(
    books: Callable[[], Any],
) -> None:
    def multiplier(value: str | None) -> pl.DataFrame:
        return pl.DataFrame(
            {"security_id": ["C"], "currency": ["USD"], "max_price_age_sessions": [30]}
        ).with_columns(contract_multiplier=pl.lit(value, pl.String))

    async with await Database.open(await books()) as database:
        await load(database, Kind.INSTRUMENTS, multiplier("10"))
        await load(database, Kind.PRICES, prices("C", {DAYS[1]: "5"}, basis="PER_CONTRACT"))
        [number] = await loaded(database, [Wrong(Kind.PRICES, prices("C", {DAYS[1]: "50"}))])
        await load(database, Kind.INSTRUMENTS, multiplier(None))
        for take in (look, revert):
            with pytest.raises(
                CorrectionRefusedError, match=r"no contract_multiplier .*back: C\. "
            ):
                await take(database, number)
        await load(database, Kind.INSTRUMENTS, multiplier("10"))
        assert (await revert(database, number)).restored == 1


async def test_a_load_is_recorded_only_of_what_its_transaction_has_written(
    books: Callable[[], Any],
) -> None:
    """Users of revalue_writer may call record_load themselves."""
    record = "SELECT record_load($1, $2, 'me', 1, 1, 0, 0, 0, 0, NULL, $3)"
    price = """INSERT INTO market_prices (security_id, price_date, price, currency, quote_basis)
               VALUES ('C', '2024-01-02', 5, 'USD', 'PER_UNIT')"""
    async with await Database.open(await books()) as database:
        name = f"split of A on {DAYS[3]} 2:1"
        await fetch(database, record, "positions", name, None)
        made = await split(database, "A", DAYS[3], "2:1")
        for written, kind in ((None, "positions"), (price, "positions"), (price, "prices")):
            async with rolled_back(database) as inside, inside.connection() as connection:
                await connection.execute("SET LOCAL revalue.keeps_replaced = on")
                if written is not None:
                    await connection.execute(written)
                with pytest.raises(asyncpg.RestrictViolationError, match="has not taken back load"):
                    await connection.fetch(record, kind, "a revert", made.load_id)
        async with database.transaction() as connection:
            await connection.execute("SET LOCAL revalue.keeps_replaced = on")
            await connection.execute(price)
            await connection.fetch(record, "prices", "a file", None)
            with pytest.raises(asyncpg.RestrictViolationError, match="recorded a load already"):
                async with connection.transaction():
                    await connection.fetch(record, "prices", "another one", None)
        with pytest.raises(CorrectionRefusedError, match=f"as load {made.load_id}"):
            await split(database, "A", DAYS[3], "2:1")


async def test_what_cannot_be_taken_back_says_why(books: Callable[[], Any]) -> None:
    async with await Database.open(await books()) as database:
        portfolio = {"portfolio_id": ["P9"], "base_currency": ["USD"], "calendar_id": ["CAL"]}
        other = await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolio))
        same_again = await load(database, Kind.PRICES, prices("C", {DAYS[0]: "20"}))
        old = await load(database, Kind.PRICES, prices("C", {DAYS[1]: "21"}))
        await execute(database, "UPDATE loads SET moment_id = NULL WHERE load_id = $1", old.load_id)
        for number, message in (
            (other.load_id, "is of portfolios, and only loads of prices, fx_rates, positions can"),
            (same_again.load_id, "has changed nothing, so there is nothing to take back"),
            (old.load_id, "this database did not keep yet what a load replaces"),
        ):
            assert number is not None
            with pytest.raises(UsageError, match=message):
                await revert(database, number)
        with pytest.raises(NotFoundError, match="no load 4711 is recorded"):
            await revert(database, 4711)


async def test_the_command_shows_what_it_would_do_and_wants_consent(
    books: Callable[[], Any],
) -> None:
    url = await books()
    async with await Database.open(url) as database:
        frame = prices("A", {DAYS[3]: "999", DAYS[10]: "77"})
        [number] = await loaded(database, [Wrong(Kind.PRICES, frame)])
        await valued(url)
        before = await inputs(database)
        dry = run(url, "loads", "revert", str(number), "--dry-run").output.splitlines()
        assert dry[0] == (
            f"load {number} (prices, the frame) is taken back: 1 restored, 1 deleted (not written)"
        )
        assert dry[1].startswith("would restate 2 positions, 4 position-days")
        told = json.loads(run(url, "loads", "revert", str(number), "--dry-run", "--json").stdout)
        assert (told["correction"]["load_id"], told["positions"]) == (None, 2)
        got, message = code(url, "loads", "revert", str(number))
        assert (got, "pass --yes to confirm" in message) == (2, True)
        for confirmed in (("--yes",), ()):
            got, message = code(url, "loads", "revert", "4711", *confirmed)
            assert (got, "4711" in message) == (4, True)
        with revalue.connect(url) as book:
            assert book.loads.revert(number, dry_run=True).load_id is None
        assert await inputs(database) == before
        done = run(url, "loads", "revert", str(number), "--yes").output.splitlines()
        assert done[0] == f"load {number} (prices, the frame) is taken back: 1 restored, 1 deleted"
        assert done[1].startswith("trigger")
        [listed] = json.loads(run(url, "loads", "--limit", "1", "--json").stdout)
        assert (listed["source"], listed["reverts"], listed["is_revertible"]) == (
            f"revert of load {number}",
            number,
            True,
        )
        assert (listed["rows"], listed["changed"], listed["removed"]) == (2, 1, 1)
        with revalue.connect(url) as book:
            again = book.loads.revert(listed["load_id"])
        assert (again.restored, again.deleted) == (2, 0)
        assert await inputs(database) == before


async def test_a_prune_deletes_what_is_kept_of_old_loads(books: Callable[[], Any]) -> None:
    async with await Database.open(await books()) as database:
        wrong = [
            Wrong(Kind.PRICES, prices("A", {DAYS[3]: "999"})),
            Wrong(Kind.POSITIONS, facts("P1", "A", {DAYS[3]: "9"})),
        ]
        old = await loaded(database, wrong)
        await execute(database, "UPDATE loads SET loaded_at = loaded_at - interval '3 days'")
        [kept] = await loaded(database, [Wrong(Kind.PRICES, prices("A", {DAYS[5]: "998"}))])
        would = await prune(database, keep=timedelta(days=1), dry_run=True)
        done = await prune(database, keep=timedelta(days=1))
        for name in (REPLACED_PRICES, REPLACED_RECORDS):
            assert done.tables[name].rows == would.tables[name].rows > 0
        with pytest.raises(NotFoundError):
            await revert(database, old[0])
        assert (await revert(database, kept)).restored == 1
        left = "SELECT count(*) FROM replaced_records"
        assert await fetch(database, left) == [(0,)]
