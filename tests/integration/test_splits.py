"""A split gives every holder another quantity at the same cost, exactly, and shows it before."""

import json
import os
import pty
from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

import revalue
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.sources import CsvSource
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.loads.recorded import list_loads
from revalue.engine.correct.reverts.reverts import revert
from revalue.engine.correct.splits.splits import SplitCorrection, split
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import rolled_back
from tests.integration.test_cli import code, run
from tests.integration.test_cli_conventions import revalue as revalue_command
from tests.support import DAYS, facts, fetch, prices


@pytest.fixture
async def database(book_url: str) -> AsyncIterator[Database]:
    async with await Database.open(book_url) as opened:
        yield opened


HELD = """SELECT portfolio_id, position_date, quantity, cost_basis_local, cost_basis
          FROM position_history JOIN position_state USING (position_id)
          WHERE security_id = $1 AND valid_to_epoch IS NULL ORDER BY 1, 2"""


QUANTITIES = ("1", "-3", "0.0000000003", "999999999999999999", "-0.5", "123456789.0000000007")


@pytest.mark.parametrize("ratio", ["4:1", "1:10", "3:7", "2:3", "1000:999", "1:1000000"])
async def test_a_quantity_is_the_exact_fraction_or_the_split_is_refused(
    database: Database, ratio: str
) -> None:
    names = [f"P{n}" for n in range(10, 10 + len(QUANTITIES))]
    portfolios = {"portfolio_id": names, "base_currency": "USD", "calendar_id": "CAL"}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolios))
    instruments = {"security_id": names, "currency": "USD", "max_price_age_sessions": 3}
    await load(database, Kind.INSTRUMENTS, pl.DataFrame(instruments))
    new, old = map(int, ratio.split(":"))
    # One security per quantity: those that come out are made, the others refused.
    for name, quantity in zip(names, QUANTITIES, strict=True):
        await load(database, Kind.POSITIONS, facts(name, name, {DAYS[2]: quantity}))
        exact = Fraction(quantity) * new / old
        fits = (exact * 10**10).denominator == 1 and abs(exact) < 10**18
        if fits:
            made = await split(database, name, DAYS[3], ratio)
            assert (made.holders, made.records) == (1, 1)
            [(_, _, before, *cost), (_, day, after, *same_cost)] = await fetch(database, HELD, name)
            assert (day, Fraction(after), Fraction(before)) == (DAYS[3], exact, Fraction(quantity))
            assert cost == same_cost == [1000, 1000]
        else:
            with pytest.raises(
                InvalidInputError, match=f"in 1 records, nothing is changed: {name}"
            ):
                await split(database, name, DAYS[3], ratio)
            assert len(await fetch(database, HELD, name)) == 1


async def test_the_command_shows_the_quantities_and_wants_consent(
    book_url: str, database: Database
) -> None:
    split_of_a = ("correct", "split", "A", str(DAYS[3]), "3:2")
    before = await fetch(database, HELD, "A")
    lines = run(book_url, *split_of_a, "--dry-run").output.splitlines()
    assert lines[0] == f"split 3:2 of A on {DAYS[3]}: 4 records of 2 positions (not written)"
    shown = [line.replace("│", " ").split() for line in lines if "P1" in line][:2]
    assert shown == [["P1", str(DAYS[3]), "10.5", "15.75"], ["P1", str(DAYS[4]), "7", "10.5"]]
    assert any(line.startswith("would restate 2 positions") for line in lines)
    assert any(line.startswith("warning: the prices of A do not show") for line in lines)
    told = json.loads(run(book_url, *split_of_a, "--dry-run", "--json").stdout)
    assert (told["correction"]["load_id"], told["correction"]["holders"]) == (None, 2)
    got, message = code(book_url, *split_of_a)
    assert (got, "pass --yes to confirm" in message) == (2, True)
    assert await fetch(database, HELD, "A") == before

    told = json.loads(run(book_url, *split_of_a, "--yes", "--json").stdout)
    assert [listed.source for listed in await list_loads(database, most=1)] == [
        f"split of A on {DAYS[3]} 3:2"
    ]
    after = await fetch(database, HELD, "A")
    assert [(day, quantity) for portfolio, day, quantity, *_ in after if portfolio == "P2"] == [
        (DAYS[0], Decimal("10.5")),
        (DAYS[3], Decimal("15.75")),
        (DAYS[4], Decimal("10.5")),
    ]
    with revalue.connect(book_url) as book:
        again = revalue.Split("A", DAYS[3], "2:1")
        with pytest.raises(CorrectionRefusedError, match=f"as load {told['load_id']}"):
            book.correct(again)
        twice = book.correct(revalue.Split("A", DAYS[3], "2:1", again=True))
        assert isinstance(twice, revalue.SplitCorrection)
        book.loads.revert(twice.load_id)
        with pytest.raises(CorrectionRefusedError, match=f"as load {told['load_id']}"):
            book.correct(again)
        book.loads.revert(told["load_id"])
        assert book.preview(again).positions == 2
    assert await fetch(database, HELD, "A") == before


async def tried(
    database: Database, security: str, day: date, ratio: str = "2:1", *, all_records: bool = False
) -> SplitCorrection:
    """What a split would do, without --again."""
    async with rolled_back(database) as inside:
        return await split(inside, security, day, ratio, all_records=all_records)


async def test_a_split_counts_until_all_of_it_is_taken_back(database: Database) -> None:
    made = await split(database, "A", DAYS[3], "2:1")
    refused = f"2:1 on {DAYS[3]}, as load {made.load_id}"
    assert made.load_id is not None
    doubled = {DAYS[3]: "21", DAYS[4]: "14"}
    await load(database, Kind.POSITIONS, facts("P1", "A", doubled, "1200"))
    done = await revert(database, made.load_id, keep_later=True)
    assert (done.restored, done.deleted, done.kept) == (1, 1, 2)
    with pytest.raises(CorrectionRefusedError, match=refused):
        await tried(database, "A", DAYS[3])
    await load(database, Kind.POSITIONS, facts("P2", "A", doubled, "1200"))
    loads = len(await list_loads(database, most=100))
    with pytest.raises(CorrectionRefusedError, match="4 of the 4 rows") as told:
        await revert(database, made.load_id, keep_later=True)
    assert "--keep-later" not in str(told.value)
    assert len(await list_loads(database, most=100)) == loads
    with pytest.raises(CorrectionRefusedError, match=refused):
        await tried(database, "A", DAYS[3])

    made = await split(database, "B", DAYS[3], "2:1")
    undone = made.load_id
    for is_made in (False, True, False, True, False):
        assert undone is not None
        undone = (await revert(database, undone)).load_id
        if is_made:
            with pytest.raises(CorrectionRefusedError, match=f"as load {made.load_id}"):
                await tried(database, "B", DAYS[3])
        else:
            assert (await tried(database, "B", DAYS[3])).holders == 2


async def test_a_split_on_a_near_date_may_be_the_same_one(database: Database) -> None:
    made = await split(database, "A", DAYS[3], "2:1")
    for days in (-30, -1, 1, 30):
        with pytest.raises(CorrectionRefusedError) as told:
            await tried(database, "A", DAYS[3] + timedelta(days=days), "3:1")
        assert f"2:1 on {DAYS[3]}, as load {made.load_id}" in str(told.value)
        assert f"`revalue loads revert {made.load_id}`" in str(told.value)
    for days in (-31, 31):
        assert (await tried(database, "A", DAYS[3] + timedelta(days=days), "3:1")).holders == 2
    assert (await tried(database, "B", DAYS[3])).holders == 2
    assert (await split(database, "A", DAYS[4], "3:1", again=True)).holders == 2


async def test_a_date_that_no_record_can_have_is_refused(database: Database) -> None:
    for day in (date(1899, 12, 31), date(2201, 1, 1), date.max, date.min):
        with pytest.raises(InvalidInputError, match=r"out of range \(1900-01-01 to 2200-12-31\)"):
            await split(database, "A", day, "2:1")
    for day in (date(1900, 1, 1), date(2200, 12, 31)):
        assert (await tried(database, "A", day)).holders == 2


async def test_a_file_with_the_name_of_a_split_that_cannot_be_does_not_end_splits(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "positions.csv"
    facts("P1", "A", {DAYS[1]: "3"}).write_csv(file)
    await load(database, Kind.POSITIONS, CsvSource(file, "split of A on 2024-13-45 2:1"))
    assert (await tried(database, "A", DAYS[3])).holders == 2


async def test_records_and_prices_of_new_shares_are_told(database: Database) -> None:
    portfolio = {"portfolio_id": ["P8"], "base_currency": ["USD"], "calendar_id": ["CAL"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolio))
    await load(database, Kind.POSITIONS, facts("P8", "A", {DAYS[9]: "100"}))
    made = await tried(database, "A", DAYS[3], "4:1")
    assert (made.holders, made.begin_later, made.records) == (3, 1, 5)
    assert made.price_warning == (
        f"the prices of A do not show a split 4:1: 102.25 USD PER_UNIT on {DAYS[2]}, 103.25 USD "
        f"PER_UNIT on {DAYS[3]}"
    )
    last = DAYS[-1] + timedelta(days=1)
    assert (await tried(database, "A", last, "4:1")).price_warning == (
        f"no price of A is stored from {last}: the split cannot be seen in prices"
    )
    for ratio, price, is_told in (
        *(("4:1", "30", False), ("4:1", "20", False), ("4:1", "40", True), ("4:1", "10", True)),
        *(
            ("11:10", "97", False),
            ("11:10", "99", True),
            ("1:2", "200", False),
            ("1:2", "99", True),
        ),
    ):
        await load(database, Kind.PRICES, prices("A", {DAYS[3]: price}))
        told = (await tried(database, "A", DAYS[3], ratio)).price_warning
        assert (told is not None) is is_told, (ratio, price)

    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[6]: "28"}))
    await load(database, Kind.POSITIONS, facts("P2", "A", {DAYS[3]: "42", DAYS[4]: "7"}))
    with pytest.raises(CorrectionRefusedError) as refused:
        await tried(database, "A", DAYS[3], "4:1")
    assert f": P1 on {DAYS[6]} (28), P2 on {DAYS[3]} (42). To multiply these" in str(refused.value)
    assert (await tried(database, "A", DAYS[3], "4:1", all_records=True)).records == 6


@pytest.mark.slow
async def test_on_a_terminal_one_sees_what_would_be_done_and_is_asked(
    book_url: str, database: Database
) -> None:
    def answered(answer: str, *command: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = revalue_command(*command, stdin=theirs, REVALUE_DATABASE_URL=book_url)
        os.close(ours)
        os.close(theirs)
        return done.returncode, done.stderr

    before = await fetch(database, HELD, "A")
    got, asked = answered("y", "correct", "split", "A", str(DAYS[3]), "3:2")
    assert (got, "15.75" in asked, "Go on? [y/N]" in asked) == (0, True, True)
    after = await fetch(database, HELD, "A")
    assert len(after) == len(before) + 2
    [made] = await list_loads(database, most=1)
    got, asked = answered("n", "loads", "revert", str(made.load_id))
    assert (got, "would be taken back: 2 restored, 2 deleted" in asked) == (1, True)
    assert await fetch(database, HELD, "A") == after
