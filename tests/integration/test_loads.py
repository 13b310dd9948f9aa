"""Each load is recorded with who, when and what, by its own transaction."""

import getpass
import json
import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

import revalue
from revalue.engine.correct import authors
from revalue.engine.correct.corrections.files import correct_file
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads import recorded
from revalue.engine.correct.loads.load import load
from revalue.engine.correct.loads.recorded import list_loads
from revalue.engine.errors import AccessDeniedError, InvalidInputError, UsageError
from revalue.engine.operate.prune import LOADS, prune
from revalue.engine.postgres.database import Database
from tests.integration.test_cli import run
from tests.support import DAYS, execute, facts, fetch, load_small_book, prices

CLIENT = f"{getpass.getuser()}@{socket.gethostname()}"


async def test_loads_are_listed_with_who_when_and_what(
    url: str, database: Database, tmp_path: Path
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(
        database,
        """UPDATE position_state SET frontier_date = $1::date,
               pending = pending * datemultirange(daterange(NULL, $1, '(]'))""",
        DAYS[5],
    )
    begun = datetime.now(UTC)
    first = await load(database, Kind.PRICES, prices("A", {DAYS[3]: "55.5", DAYS[4]: "1"}))
    path = tmp_path / "prices.csv"
    prices("A", {DAYS[3]: "55.5", DAYS[4]: "56.5"}).write_csv(path)
    second = json.loads(run(url, "load", "prices", str(path), "--json").stdout)
    third = await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[2]: "7"}))
    listed = await list_loads(database, most=3)
    assert [each.load_id for each in listed] == [third.load_id, second["load_id"], first.load_id]
    assert [(each.rows, each.inserted, each.changed, each.unchanged) for each in listed] == [
        (1, 1, 0, 0),
        (2, 0, 1, 1),
        (2, 0, 2, 0),
    ]
    assert [(each.kind, each.source) for each in listed] == [
        ("positions", "the frame"),
        ("prices", str(path)),
        ("prices", "the frame"),
    ]
    assert {(each.database_user, each.client) for each in listed} == {("postgres", CLIENT)}
    assert begun < listed[2].loaded_at < listed[1].loaded_at < listed[0].loaded_at
    triggers = await fetch(
        database, "SELECT trigger_id, kind, dates::text FROM reprocessing_triggers"
    )
    named = {id: (kind, dates) for id, kind, dates in triggers}
    assert third.trigger_id is not None
    assert listed[0].trigger_ids == (third.trigger_id,)
    assert [named[id] for id in listed[1].trigger_ids] == [("PRICE", f"{{[{DAYS[4]},{DAYS[5]})}}")]
    assert len(listed[2].trigger_ids) == 1
    assert listed[2].trigger_ids != listed[1].trigger_ids
    of_kind = json.loads(run(url, "loads", "--kind", "prices", "--limit", "1", "--json").stdout)
    assert [(each["load_id"], each["trigger_ids"]) for each in of_kind] == [
        (second["load_id"], list(listed[1].trigger_ids))
    ]
    with revalue.connect(url) as book:
        assert book.loads.list(limit=3) == listed
        assert [each.load_id for each in book.loads.list("prices", limit=1)] == [second["load_id"]]
        with pytest.raises(UsageError, match="'bonds' cannot be loaded"):
            book.loads.list("bonds")
    line = run(url, "loads", "--limit", "2").output.splitlines()[4]
    assert all(word in line for word in (str(second["load_id"]), CLIENT, "prices", str(path)))


async def test_what_is_not_written_is_no_load(url: str, database: Database, tmp_path: Path) -> None:
    assert run(url, "loads").output == "no load is recorded\n"
    await load_small_book(database, portfolios=1)
    [[before]] = await fetch(database, "SELECT count(*) FROM loads")
    frame = prices("A", {DAYS[3]: "55.5"})
    with pytest.raises(InvalidInputError):
        await load(database, Kind.PRICES, prices("Z", {DAYS[3]: "55.5"}))
    frame.write_csv(tmp_path / "prices.csv")
    told = run(url, "load", "prices", str(tmp_path / "prices.csv"), "--dry-run", "--json").stdout
    assert json.loads(told)["load_id"] is None
    with revalue.connect(url) as book:
        assert book.load("prices", frame, dry_run=True).load_id is None
        book.preview(revalue.FileOf(tmp_path / "prices.csv"))
        book.correct(revalue.Position("P1", "A", DAYS[3], Decimal(1), Decimal(1), Decimal(1)))
    assert await fetch(database, "SELECT count(*) FROM loads") == [(before,)]
    await correct_file(database, tmp_path / "prices.csv")
    [listed] = await list_loads(database, most=1)
    assert (listed.source, listed.changed) == (str(tmp_path / "prices.csv"), 1)


async def test_a_name_that_is_no_text_is_recorded_as_it_can_be(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes of a file name that are not UTF-8; a container whose user has no name."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(authors.getpass, "getuser", nameless)
    async with database.transaction() as connection:
        await recorded.record(connection, "prices", "f\udcfc.csv" + "x" * 5_000, 0, {})
    [listed] = await list_loads(database, most=1)
    assert listed.source.startswith("f\\udcfc.csvx")
    assert len(listed.source) == 4096
    assert listed.client == f"0@{socket.gethostname()}"


async def test_a_prune_deletes_what_is_recorded_of_loads_before_its_floor(
    database: Database,
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE loads SET loaded_at = loaded_at - interval '3 days'")
    [[old]] = await fetch(database, "SELECT count(*) FROM loads")
    kept = await load(database, Kind.PRICES, prices("A", {DAYS[3]: "55.5"}))
    would = await prune(database, keep=timedelta(days=1), dry_run=True)
    done = await prune(database, keep=timedelta(days=1))
    assert would.tables[LOADS].rows == done.tables[LOADS].rows == old
    assert [each.load_id for each in await list_loads(database, most=100)] == [kept.load_id]


async def test_a_feed_records_its_loads_and_can_change_no_record(
    url: str, database: Database
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "CREATE ROLE test_feed LOGIN IN ROLE revalue_writer")
    try:
        feed = url.replace("//postgres:", "//test_feed:")
        async with await Database.open(feed) as opened:
            await load(opened, Kind.PRICES, prices("A", {DAYS[3]: "55.5"}))
            with pytest.raises(AccessDeniedError):
                await list_loads(opened, most=1)
        [listed] = await list_loads(database, most=1)
        assert (listed.database_user, listed.changed, len(listed.trigger_ids)) == (
            "test_feed",
            1,
            1,
        )
        connection = await asyncpg.connect(feed)
        for statement in (
            "INSERT INTO loads (kind) VALUES ('prices')",
            "UPDATE loads SET client = 'me'",
            "DELETE FROM loads",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()
    finally:
        await execute(database, "DROP ROLE test_feed")
