"""A price or rate that moved far is confirmed by the command and in Python, for one value."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest

import revalue
from revalue.engine.correct.authors import Author
from revalue.engine.correct.confirmations import confirmations
from revalue.engine.correct.confirmations.confirmations import Against, Confirmable
from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import (
    CorrectionRefusedError,
    InvalidInputError,
    NotFoundError,
    UsageError,
)
from revalue.engine.operate.prune import CONFIRMATIONS, prune
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.read.exceptions import Limits, exceptions
from revalue.engine.read.report import Wanted
from tests.conftest import small_book
from tests.integration.test_cli import code, run
from tests.support import DAYS, Engine, engine, execute, fetch, until

DAY, BEFORE = DAYS[7], DAYS[6]
OF_ONE = Against(frozenset({Decimal(1)}), frozenset({Decimal(1)}))


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 2) as address:
        yield address


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    """Two portfolios, in USD and EUR; on DAY the price of A is 150.5 and a euro costs 2.2 USD."""
    await execute(
        database,
        "UPDATE market_prices SET price = 150.5 WHERE security_id = 'A' AND price_date = $1",
        DAY,
    )
    await execute(database, "UPDATE fx_rates SET rate = 2.2 WHERE rate_date = $1", DAY)
    async with engine(url) as running:
        await running.settle()
        yield running


def moves(url: str, *options: str) -> list[tuple[str, str]]:
    """The prices and rates that are listed, in no order."""
    done = run(url, "exceptions", "--date", str(DAY), "--json", "--movers", "0", *options)
    assert done.exit_code == 0, done.output
    listed = {(each["kind"], each["subject"]) for each in json.loads(done.stdout)}
    return sorted(each for each in listed if each[0].endswith("_MOVE"))


BOTH = [("PRICE_MOVE", "A"), ("RATE_MOVE", "USD/EUR")]


async def test_what_is_confirmed_is_listed_only_when_it_is_asked_for(
    url: str, valued: Engine
) -> None:
    assert moves(url) == BOTH
    done = run(url, "exceptions", "confirm", "price", "A", str(DAY), "--why", "a takeover")
    assert done.output == f"price of A on {DAY}, 150.5: confirmed\n"
    assert moves(url) == BOTH[1:]
    done = run(url, "exceptions", "confirm", "rate", "USD", "EUR", str(DAY), "--json")
    told = json.loads(done.stdout)
    assert (told["subject"], told["outcome"]) == ("USD/EUR", "confirmed")
    assert round(Decimal(told["value"]) * Decimal("2.2"), 15) == 1
    assert moves(url) == []
    assert moves(url, "--confirmed") == BOTH
    again = run(url, "exceptions", "confirm", "price", "A", str(DAY))
    assert again.output.endswith("confirmed already\n")
    with revalue.connect(url) as book:
        listed = book.exceptions(DAY, movers=0, confirmed=True)
        reasons = listed.filter(kind="PRICE_MOVE")["why"].unique().to_list()
        assert reasons == ["a takeover"]
        assert book.unconfirm_price("A", DAY) == Decimal("150.5")
        assert moves(url) == BOTH[:1]
        assert book.confirm_price("A", DAY, why="seen") == Decimal("150.5")
        with pytest.raises(CorrectionRefusedError, match=r"now, and not 0\.4"):
            book.confirm_rate("USD", "EUR", DAY, Decimal("0.4"))
        assert moves(url) == [], "the one that is shown stays confirmed"
        book.unconfirm_rate("USD", "EUR", DAY)
        assert moves(url) == BOTH[1:]
        with pytest.raises(NotFoundError, match=f"no rate of USD/EUR on {DAY} is confirmed"):
            book.unconfirm_rate("USD", "EUR", DAY)
        with pytest.raises(InvalidInputError, match="the reason is empty"):
            book.confirm_price("A", DAY, why=" ")


async def test_a_corrected_value_is_told_again(
    url: str, database: Database, valued: Engine
) -> None:
    assert run(url, "exceptions", "confirm", "price", "A", str(DAY)).exit_code == 0
    await corrections.price(database, "A", DAY, Decimal("150.51"))
    assert moves(url) == BOTH[1:], "it is not shown yet"
    done = run(url, "exceptions", "confirm", "price", "A", str(DAY), "--value", "150.51")
    assert done.exit_code == 0
    assert moves(url) == BOTH, "what is shown is not confirmed"
    await valued.settle()
    assert moves(url) == BOTH[1:]
    await corrections.price(database, "A", DAY, Decimal("150.5"))
    await valued.settle()
    assert moves(url) == BOTH, "the first confirmation was withdrawn by the second"


async def test_a_move_to_the_same_value_from_another_one_is_told_again(
    url: str, database: Database, valued: Engine
) -> None:
    async def correct(price: str) -> None:
        await corrections.price(database, "A", BEFORE, Decimal(price))
        await valued.settle()

    with revalue.connect(url) as book:
        [seen] = book.exceptions(DAY, movers=0).filter(kind="PRICE_MOVE")["value_before"].unique()
        book.confirm_price("A", DAY, value_before=seen, why="a takeover")
        book.confirm_rate("USD", "EUR", DAY)
        assert moves(url) == []
        await correct("15")
        assert moves(url) == BOTH[:1], "it is another move"
        with pytest.raises(CorrectionRefusedError, match=f"with 15 now, .* with {seen:.2f}"):
            book.confirm_price("A", DAY, value_before=seen)
        confirm = ("exceptions", "confirm", "price", "A", str(DAY), "--value-before")
        status, said = code(url, *confirm, f"{seen:f}")
        assert (status, "is compared with 15 now" in said) == (65, True)
        assert moves(url) == BOTH[:1], "what was refused confirms nothing"
        done = run(url, *confirm, "15.0")
        assert done.output.endswith("150.5: confirmed\n"), "who has confirmed the other move stays"
        assert moves(url) == []
        await correct(f"{seen:f}")
        assert moves(url) == BOTH[:1], "the first move was confirmed before the second"


async def test_a_second_move_to_the_same_value_is_confirmed_beside_the_first(
    url: str, database: Database, valued: Engine
) -> None:
    """P1 shows another price of the date before than P2, as if its correction were in progress."""
    await execute(
        database,
        "UPDATE daily_position_snapshots SET price = 7 WHERE date = $1 AND position_id = "
        "(SELECT position_id FROM position_state WHERE (portfolio_id, security_id) = ('P1', 'A'))",
        BEFORE,
    )

    def told(book: revalue.Book) -> list[Decimal]:
        lines = book.exceptions(DAY, movers=0).filter(kind="PRICE_MOVE")
        return sorted(lines["value_before"])

    with revalue.connect(url) as book:
        seven, other = told(book)
        assert seven == 7
        for meant, left in ((seven, [other]), (other, [])):
            book.confirm_price("A", DAY, value_before=meant)
            assert told(book) == left
        book.unconfirm_price("A", DAY)
        book.confirm_price("A", DAY)
        assert told(book) == [], "without a value before, all are meant"
        book.unconfirm_price("A", DAY)
        # As confirmations were before migration 0036.
        await execute(
            database,
            "INSERT INTO confirmations (kind, subject, date, value, confirmed_by) "
            "VALUES ('PRICE', 'A', $1, 150.5, 'ada')",
            DAY,
        )
        assert told(book) == []
        book.confirm_price("A", DAY, value_before=seven)
        listed = book.exceptions(DAY, movers=0, confirmed=True).filter(kind="PRICE_MOVE")
        assert set(listed["confirmed_by"]) == {"ada"}, "it is confirmed already"


async def test_two_who_confirm_a_price_at_once_confirm_both_moves(
    url: str, database: Database, valued: Engine
) -> None:
    before = [frozenset({Decimal(each)}) for each in (10, 11)]
    of = (Confirmable.PRICE, "A", DAY, Decimal("150.5"))
    made = await asyncio.gather(
        *(
            confirmations.confirm(
                database, *of, Against(each, before[0] | before[1]), Author("ada")
            )
            for each in before
        )
    )
    assert made == [True, True]
    in_force = "SELECT values_before FROM confirmations WHERE withdrawn_moment IS NULL"
    assert await fetch(database, in_force) == [([Decimal(10), Decimal(11)],)]


async def test_a_confirmation_of_a_value_that_is_not_shown_ends_none(
    url: str, database: Database, valued: Engine
) -> None:
    with revalue.connect(url) as book:
        book.confirm_price("A", DAY, why="a takeover")
        with pytest.raises(CorrectionRefusedError, match=r"is 150\.5 now, and not 140"):
            book.confirm_price("A", DAY, Decimal(140))
        status, said = code(
            url, "exceptions", "confirm", "rate", "USD", "EUR", str(DAY), "--value", "7"
        )
        assert (status, "now, and not 7" in said) == (65, True)
        assert moves(url) == BOTH[1:], "the price is confirmed still, and no rate"


async def test_what_is_confirmed_again_meanwhile_is_withdrawn(
    url: str, database: Database, valued: Engine
) -> None:
    of = (Confirmable.PRICE, "A", DAY)
    await confirmations.confirm(database, *of, Decimal(140), OF_ONE, Author("ada"))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    async with database.transaction() as connection:
        await confirmations.confirm(
            OpenTransaction(connection), *of, Decimal(150), OF_ONE, Author("ben")
        )
        withdrawal = asyncio.create_task(confirmations.unconfirm(database, *of, Author("eve")))

        async def is_waiting() -> bool:
            return await fetch(database, f"{waiting} current_database()") == [(1,)]

        await until(is_waiting)
    assert await withdrawal == 150
    in_force = "SELECT count(*) FROM confirmations WHERE withdrawn_moment IS NULL"
    assert await fetch(database, in_force) == [(0,)]


async def test_a_list_as_of_an_earlier_time_has_the_confirmations_of_that_time(
    url: str, database: Database, valued: Engine
) -> None:
    async def now() -> str:
        [[at]] = await fetch(database, "SELECT clock_timestamp()")
        return str(at.isoformat())

    times = [await now()]
    lists = [moves(url)]
    for command in ("confirm", "unconfirm", "confirm"):
        done = run(url, "exceptions", command, "price", "A", str(DAY))
        assert done.exit_code == 0, done.output
        times.append(await now())
        lists.append(moves(url))
    assert lists == [BOTH, BOTH[1:], BOTH, BOTH[1:]]
    assert [moves(url, "--known-at", at) for at in times] == lists

    would = await prune(database, keep=timedelta(0), dry_run=True)
    done = await prune(database, keep=timedelta(0))
    assert would.tables[CONFIRMATIONS].rows == done.tables[CONFIRMATIONS].rows == 1
    assert moves(url) == BOTH[1:], "what is in force stays, however old"


async def test_what_cannot_be_confirmed_is_refused(
    url: str, database: Database, valued: Engine
) -> None:
    def refused(*arguments: str) -> str:
        status, said = code(url, "exceptions", "confirm", *arguments)
        assert status == NotFoundError.exit_code
        return said

    with pytest.raises(NotFoundError, match="no security 'X'"):
        await confirmations.confirm(
            database, Confirmable.PRICE, "X", DAY, Decimal(1), OF_ONE, Author("ada")
        )
    with pytest.raises(NotFoundError, match="no currency 'XXX'"):
        await confirmations.confirm(
            database, Confirmable.RATE, "XXX/EUR", DAY, Decimal(1), OF_ONE, Author("ada")
        )
    for wrong in ("NaN", "Infinity", "1e-19", "1e20"):
        with pytest.raises(InvalidInputError, match="at most 20 digits before and 18 after"):
            await confirmations.confirm(
                database, Confirmable.PRICE, "A", DAY, Decimal(wrong), OF_ONE, Author("ada")
            )
    assert "no position shows a price of A on 2024-01-06" in refused("price", "A", "2024-01-06")
    assert "no position shows a rate of" in refused("rate", "GBP", "EUR", str(DAY))
    assert "nothing is stored before the price" in refused("price", "A", str(DAYS[0]))
    assert await fetch(database, "SELECT count(*) FROM confirmations") == [(0,)]
    # One of two positions shows the price of before a correction.
    await execute(
        database,
        "UPDATE daily_position_snapshots SET price = 7 WHERE date = $1 AND position_id = "
        "(SELECT position_id FROM position_state WHERE (portfolio_id, security_id) = ('P1', 'A'))",
        DAY,
    )
    with revalue.connect(url) as book, pytest.raises(UsageError, match="the same price of A"):
        book.confirm_price("A", DAY)
    confirm = ("confirm", "price", "A", str(DAY))
    status, said = code(url, "exceptions", "--date", str(DAY), *confirm)
    assert status == UsageError.exit_code
    assert "options of the list do not go with `confirm`" in said


async def test_an_instrument_with_a_limit_of_its_own_is_listed_by_it(
    database: Database, valued: Engine
) -> None:
    async def listed(percent: float) -> set[str]:
        found = await exceptions(database, Wanted(DAY), Limits(percent, movers=0))
        return set(found.filter(kind="PRICE_MOVE")["subject"])

    assert await listed(20) == {"A"}
    await execute(
        database, "UPDATE instruments SET move_limit_percent = 50 WHERE security_id = 'A'"
    )
    assert await listed(20) == set()
    await execute(database, "UPDATE instruments SET move_limit_percent = 1 WHERE security_id = 'B'")
    assert await listed(99) == {"B"}
