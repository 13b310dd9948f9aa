"""Files of holdings as people send them, again and whole, by the command line and by Python."""

import json
import os
import pty
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

import revalue
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import CorrectionRefusedError, InvalidInputError, UsageError
from revalue.engine.postgres.database import Database
from tests.integration.test_cli import code, run
from tests.integration.test_cli_conventions import revalue as revalue_command
from tests.support import DAYS, facts, fetch


@pytest.fixture
async def database(book_url: str) -> AsyncIterator[Database]:
    async with await Database.open(book_url) as opened:
        yield opened


def csv(path: Path, frame: pl.DataFrame) -> str:
    frame.write_csv(path)
    return str(path)


async def held(database: Database, portfolio: str, security: str) -> list[tuple[date, str]]:
    """The records of a position that are valid now."""
    return await fetch(
        database,
        """SELECT position_date, trim_scale(quantity)::text
           FROM position_history JOIN position_state USING (position_id)
           WHERE portfolio_id = $1 AND security_id = $2 AND valid_to_epoch IS NULL
           ORDER BY position_date""",
        portfolio,
        security,
    )


async def test_an_earlier_file_that_is_sent_again_removes_later_records_only_if_asked_to(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    later = {DAYS[4 + n]: str(20 + n) for n in range(12)}
    first = csv(tmp_path / "first.csv", facts("P1", "A", {DAYS[0]: "9"}))
    with revalue.connect(book_url) as book:
        book.load("positions", facts("P1", "A", later))
        loaded = book.load("positions", facts("P1", "A", {DAYS[0]: "8"}))
        assert (loaded.changed, loaded.removed, loaded.removed_records) == (1, 0, ())
    assert run(book_url, "load", "positions", first).output == (
        "positions: 1 row: 0 new, 1 changed, 0 unchanged; 1 position corrected, 0 extended\n"
        "what has changed is a correction: `revalue value` restates what it affects\n"
    )
    assert await held(database, "P1", "A") == [(DAYS[0], "9"), *later.items()]
    assert await held(database, "P2", "A") == [(DAYS[0], "10.5"), (DAYS[4], "7")]

    lines = run(book_url, "load", "positions", first, "--replace").output.splitlines()
    assert lines[:2] == [
        "positions: 1 row: 0 new, 0 changed, 1 unchanged, 12 removed; 1 position corrected, "
        "0 extended",
        "Removed position records, the first 10 of 12 (all: --json)",
    ]
    shown = [line.replace("│", " ").split() for line in lines if "P1" in line]
    assert shown == [["P1", "A", str(day), number] for day, number in list(later.items())[:10]]
    assert await held(database, "P1", "A") == [(DAYS[0], "9")]


async def test_what_a_load_has_removed_can_be_loaded_again(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    first = csv(tmp_path / "first.csv", facts("P2", "B", {DAYS[0]: "10.5"}))
    told = json.loads(run(book_url, "load", "positions", first, "--replace", "--json").stdout)
    assert told["removed"] == 1
    assert [(r["portfolio_id"], r["position_date"]) for r in told["removed_records"]] == [
        ("P2", str(DAYS[4]))
    ]
    assert await held(database, "P2", "B") == [(DAYS[0], "10.5")]
    with revalue.connect(book_url) as book:
        removed = book.load(
            "positions", facts("P2", "A", {DAYS[0]: "10.5"}), replace=True
        ).removed_records
        book.load("positions", pl.DataFrame([vars(record) for record in removed]))
    csv(tmp_path / "removed.csv", pl.DataFrame(told["removed_records"]))
    assert run(book_url, "load", "positions", str(tmp_path / "removed.csv")).exit_code == 0
    for security in "AB":
        assert await held(database, "P2", security) == [(DAYS[0], "10.5"), (DAYS[4], "7")]
    costs = await fetch(database, "SELECT DISTINCT cost_basis::int FROM position_history")
    assert costs == [(1000,)]


async def test_only_positions_have_histories_to_replace(book_url: str, tmp_path: Path) -> None:
    price = {"security_id": ["A"], "price_date": [DAYS[0]], "price": ["9"], "currency": ["USD"]}
    frame = pl.DataFrame({**price, "quote_basis": ["PER_UNIT"]})
    got, output = code(book_url, "load", "prices", csv(tmp_path / "prices.csv", frame), "--replace")
    assert (got, "only positions have" in output) == (2, True)
    got, output = code(book_url, "load", "prices", str(tmp_path / "prices.csv"), "--snapshot")
    assert (got, "only positions can be a snapshot" in output) == (2, True)
    with revalue.connect(book_url) as book, pytest.raises(UsageError, match="only positions have"):
        book.load("prices", frame, replace=True)


def snapshot(portfolio: str, day: date, held: dict[str, str]) -> pl.DataFrame:
    return pl.concat(
        [facts(portfolio, security, {day: number}) for security, number in held.items()]
    )


async def test_a_dry_run_shows_what_a_snapshot_would_close_and_closes_nothing(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    path = csv(tmp_path / "held.csv", snapshot("P1", DAYS[6], {"A": "7.5"}))
    lines = run(book_url, "load", "positions", path, "--snapshot", "--dry-run").output.splitlines()
    assert lines[:2] == [
        "positions: 1 row: 1 new, 0 changed, 0 unchanged, 1 left out and closed; "
        "2 positions corrected, 0 extended (not written)",
        f"Left out, would be closed on {DAYS[6]}",
    ]
    shown = [line.replace("│", " ").split() for line in lines if "P1" in line]
    assert shown == [["P1", "B", str(DAYS[4]), "7"]]
    told = json.loads(
        run(book_url, "load", "positions", path, "--snapshot", "--dry-run", "--json").stdout
    )
    assert (told["is_dry_run"], told["closed"], told["closed_on"]) == (True, 1, str(DAYS[6]))
    with revalue.connect(book_url) as book:
        loaded = book.load("positions", path, snapshot=True, dry_run=True)
    assert [(r.security_id, int(r.quantity)) for r in loaded.closed_records] == [("B", 7)]
    for security in "AB":
        assert await held(database, "P1", security) == [(DAYS[0], "10.5"), (DAYS[4], "7")]
    assert (
        await fetch(database, "SELECT 1 FROM reprocessing_triggers WHERE kind = 'POSITION'") == []
    )


async def test_a_snapshot_closes_what_it_leaves_out_of_the_portfolios_that_it_names(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    path = csv(tmp_path / "held.csv", snapshot("P1", DAYS[6], {"A": "7"}))
    got, output = code(book_url, "load", "positions", path, "--snapshot")
    assert (got, "pass --yes to confirm" in output) == (2, True)
    assert await held(database, "P1", "B") == [(DAYS[0], "10.5"), (DAYS[4], "7")]
    done = json.loads(
        run(book_url, "load", "positions", path, "--snapshot", "--yes", "--json").stdout
    )
    assert (done["inserted"], done["closed"], done["positions_corrected"]) == (1, 1, 1)
    assert await held(database, "P1", "B") == [(DAYS[0], "10.5"), (DAYS[4], "7"), (DAYS[6], "0")]
    with revalue.connect(book_url) as book:
        loaded = book.load(
            "positions", snapshot("P2", DAYS[4], {"B": "7", "A": "0"}), snapshot=True
        )
    assert (loaded.changed, loaded.unchanged, loaded.closed) == (1, 1, 0)
    assert await held(database, "P2", "B") == [(DAYS[0], "10.5"), (DAYS[4], "7")]


async def test_a_snapshot_closes_nothing_that_was_not_shown(database: Database) -> None:
    held_on_that_day = snapshot("P1", DAYS[6], {"A": "7"})
    with pytest.raises(CorrectionRefusedError, match="would also close 1: P1 / B"):
        await load(database, "positions", held_on_that_day, snapshot=True, may_close={("P1", "A")})
    assert await held(database, "P1", "B") == [(DAYS[0], "10.5"), (DAYS[4], "7")]
    done = await load(
        database, "positions", held_on_that_day, snapshot=True, may_close={("P1", "B")}
    )
    assert done.closed == 1


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "exit_code"), [("n", 1), ("y", 0)])
async def test_on_a_terminal_one_is_asked_before_a_snapshot_closes_anything(
    book_url: str, database: Database, tmp_path: Path, answer: str, exit_code: int
) -> None:
    path = csv(tmp_path / "held.csv", snapshot("P1", DAYS[6], {"A": "7"}))
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = revalue_command(
        "load", "positions", path, "--snapshot", stdin=theirs, REVALUE_DATABASE_URL=book_url
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == exit_code, done.stderr
    assert f"1 position would be closed on {DAYS[6]}. Go on? [y/N]" in done.stderr
    assert ["P1", "B", str(DAYS[4]), "7"] in [
        line.replace("│", " ").split() for line in done.stderr.splitlines()
    ]
    closing = [(DAYS[6], "0")] if answer == "y" else []
    assert await held(database, "P1", "B") == [(DAYS[0], "10.5"), (DAYS[4], "7"), *closing]


async def test_a_column_that_a_file_does_not_have_stays_as_it_is(
    book_url: str, database: Database, tmp_path: Path
) -> None:
    def instruments(age: int, *multipliers: str) -> pl.DataFrame:
        frame = pl.DataFrame(
            {
                "security_id": ["F", "G"],
                "currency": ["USD"] * 2,
                "max_price_age_sessions": [age] * 2,
            }
        )
        return (
            frame.with_columns(contract_multiplier=pl.Series(multipliers)) if multipliers else frame
        )

    async def stored() -> list[tuple[str, int | None, int]]:
        return await fetch(
            database,
            """SELECT security_id, contract_multiplier::int, max_price_age_sessions
               FROM instruments WHERE security_id IN ('F', 'G') ORDER BY 1""",
        )

    with revalue.connect(book_url) as book:
        book.load("instruments", instruments(3, "50", ""))
        assert book.load("instruments", instruments(7)).changed == 2
        assert await stored() == [("F", 50, 7), ("G", None, 7)]
        assert book.load("instruments", instruments(7)).unchanged == 2
    path = csv(tmp_path / "instruments.csv", instruments(4))
    assert "2 changed, 0 unchanged" in run(book_url, "load", "instruments", path).output
    assert await stored() == [("F", 50, 4), ("G", None, 4)]
    path = csv(tmp_path / "instruments.csv", instruments(4, "", "10"))
    assert "2 changed, 0 unchanged" in run(book_url, "load", "instruments", path).output
    assert await stored() == [("F", None, 4), ("G", 10, 4)]
    limits = "SELECT move_limit_percent FROM instruments WHERE security_id IN ('F', 'G') ORDER BY 1"
    limited = instruments(4).with_columns(move_limit_percent=pl.Series(["7.5", None]))
    triggers = await fetch(database, "SELECT count(*) FROM reprocessing_triggers")
    with revalue.connect(book_url) as book:
        assert book.load("instruments", limited).changed == 1
        assert await fetch(database, "SELECT count(*) FROM reprocessing_triggers") == triggers, (
            "no value depends on a limit"
        )
        assert await stored() == [("F", None, 4), ("G", 10, 4)]
        assert book.load("instruments", instruments(5, "", "10")).changed == 2
        assert await fetch(database, limits) == [(Decimal("7.5"),), (None,)]
        wrong = limited.with_columns(move_limit_percent=pl.lit("-1"))
        with pytest.raises(InvalidInputError, match="move_limit_percent: negative"):
            book.load("instruments", wrong)
