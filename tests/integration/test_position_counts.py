"""Positions are counted as position_status has them; a count that is kept is never called current
when something has changed since."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from typer.testing import CliRunner

from revalue.console.cli.main import app
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.fan_out import fan_out
from revalue.engine.operate import database_metrics, kept_counts
from revalue.engine.operate.console_feed import read_console_state
from revalue.engine.operate.count_keeper import CountKeeper
from revalue.engine.operate.job_list import list_jobs
from revalue.engine.operate.position_counts import PositionCounts, count_positions
from revalue.engine.operate.status import list_corrections, read_status, retry_jobs
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.value import computation
from tests.conftest import small_book
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    open_days,
    settle_until,
    until,
)


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 3) as address:
        yield address


@pytest.fixture
async def valued(url: str) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        yield running


async def compare(database: Database) -> PositionCounts:
    """Compare a count with plain SQL over the views."""
    counts = await count_positions(database)
    assert counts.positions == dict(
        await fetch(database, "SELECT state, count(*) FROM position_status GROUP BY 1")
    )
    [dates] = await fetch(
        database,
        "SELECT CASE WHEN bool_and(watermark_date IS NOT NULL) THEN min(watermark_date) END, "
        "max(watermark_date), max(horizon), min(lower(holes)), max(upper(holes) - 1), "
        "min(frontier_date) FILTER (WHERE NOT isempty(holes)) FROM position_status",
    )
    assert dates == (
        *(counts.first_watermark, counts.last_watermark, counts.horizon),
        *(counts.first_hole, counts.last_hole, counts.frontier_of_holes),
    )
    assert counts.reasons == await fetch(
        database,
        "SELECT split_part(failure_reason, ' ', 1), count(*), min(failure_reason) "
        "FROM position_status WHERE state IN ('WAITING_FOR_DATA', 'FAILED') "
        "GROUP BY 1 ORDER BY 2 DESC, 1",
    )
    assert [tuple(each.values()) for each in counts.portfolios] == await fetch(
        database,
        "SELECT portfolio_id, f.base_currency, count(s.position_id), "
        "count(*) FILTER (WHERE state = 'BEHIND'), "
        "count(*) FILTER (WHERE reprocessing_status = 'IN_PROGRESS'), "
        "count(*) FILTER (WHERE state = 'WAITING_FOR_DATA'), "
        "count(*) FILTER (WHERE state = 'FAILED') "
        "FROM portfolios f LEFT JOIN position_status s USING (portfolio_id) GROUP BY 1, 2 "
        "ORDER BY count(*) FILTER (WHERE state <> 'CURRENT') DESC, 1",
    )
    assert sorted(counts.lags.items()) == await fetch(
        database,
        "SELECT GREATEST(h.horizon - COALESCE(watermark_date, lower(open_dates) - 1, h.horizon), "
        "0), count(*) FROM position_state JOIN portfolios USING (portfolio_id) "
        "JOIN calendar_horizons h USING (calendar_id) GROUP BY 1 ORDER BY 1",
    )
    assert {
        trigger: (each.positions, each.example) for trigger, each in counts.unpublished.items()
    } == {
        trigger: (positions, example)
        for trigger, positions, example in await fetch(
            database,
            "SELECT trigger_id, count(*), min(position_id) FROM position_state "
            "WHERE published_epoch < epoch GROUP BY 1",
        )
    }
    return counts


async def test_every_count_is_that_of_the_views(
    database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    async def settled() -> None:
        seen.update((await compare(database)).positions)
        await fan_out.fan_out(valued.term)
        seen.update((await compare(database)).positions)
        await valued.settle()
        seen.update((await compare(database)).positions)

    await settled()
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await settled()
    await execute(
        database, "DELETE FROM market_prices WHERE security_id = 'B' AND price_date > $1", DAYS[3]
    )
    await settled()
    await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
    await execute(database, "UPDATE valuation_policy SET fx_max_age_sessions = 2")
    await settled()
    amounts = (Decimal(99999999999999999), Decimal(1), Decimal(1))
    await corrections.position(database, "P1", "A", DAYS[4], *amounts)
    await settled()
    await load(database, Kind.POSITIONS, facts("P2", "B", {DAYS[-1]: "0"}))
    with monkeypatch.context() as patched:

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError

        patched.setattr(computation, "value", broken)
        await open_days(database, [DAYS[-1].replace(day=29)])
        seen.update((await compare(database)).positions)

        async def have_failed() -> bool:
            return bool(await list_jobs(database, status="FAILED", portfolio="P3"))

        await settle_until(valued, have_failed)
    await settled()
    assert seen == {"CURRENT", "BEHIND", "REPROCESSING", "WAITING_FOR_DATA", "FAILED"}


async def test_a_kept_count_is_not_called_current_once_something_has_changed(
    database: Database, valued: Engine
) -> None:
    counts = await count_positions(database)

    async def is_current() -> bool:
        return (await read_status(database, counts)).is_current

    assert await is_current()
    changes = (
        lambda: corrections.price(database, "A", DAYS[7], Decimal("31.5")),
        lambda: corrections.position(database, "P1", "A", DAYS[4], *[Decimal(5)] * 3),
        lambda: load(database, Kind.POSITIONS, facts("P2", "B", {DAYS[2]: "3"})),
        lambda: execute(database, "UPDATE valuation_policy SET fx_max_age_sessions = 4"),
        lambda: execute(
            database,
            "DELETE FROM market_prices WHERE security_id = 'B' AND price_date > '2024-1-9'",
        ),
    )
    for change in changes:
        counts = await count_positions(database)
        await change()
        assert not await is_current()
        await fan_out.fan_out(valued.term)
        [in_progress, *_] = await list_corrections(database, counts)
        assert in_progress["progress"] is None, "it was not counted"
        assert not await is_current()
        await valued.settle()
    jobs = [job["job_id"] for job in await list_jobs(database, status="WAITING_FOR_DATA")]
    counts = await count_positions(database)
    assert await retry_jobs(database, jobs) == sorted(jobs)
    assert (await read_status(database, counts)).changed_since_count
    await valued.settle()
    counts = await count_positions(database)
    await open_calendars(database, DAYS[-2], back=True)
    assert (await read_status(database, counts)).changed_since_count


async def test_many_positions_are_counted_seldom_and_by_one_question(
    database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = 0
    go_on = asyncio.Event()
    real = count_positions

    async def slow(*given: Any) -> PositionCounts:
        nonlocal began
        began += 1
        await go_on.wait()
        return await real(*given)

    monkeypatch.setattr("revalue.engine.operate.kept_counts.count_positions", slow)
    few, many = CountKeeper(SETTINGS), CountKeeper(SETTINGS, few_positions=2, share=1e-6)
    asking = [asyncio.create_task(many.counts(database)) for _ in range(5)]
    await asyncio.sleep(0)
    go_on.set()
    assert len({id(each) for each in await asyncio.gather(*asking)}) == 1
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    kept = await many.counts(database)
    assert began == 1
    frame = await read_console_state(database, kept, SETTINGS)
    assert frame.state["positions"] == {"CURRENT": 6}
    assert frame.state["counted_at"] < frame.state["read_at"]
    assert (frame.state["is_current"], frame.state["triggers_queued"]) == (False, 1)
    assert [each["kind"] for each in frame.state["corrections"]] == ["PRICE"]
    for _ in range(3):
        await few.counts(database)
    assert began == 4
    assert (await few.counts(database)).positions == {"CURRENT": 3, "REPROCESSING": 3}


@pytest.mark.parametrize("who", ["the console", "the metrics"])
async def test_many_positions_are_not_counted_again_while_nothing_can_have_changed(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    await valued.settle()
    counted = 0

    async def count(*given: Any) -> PositionCounts:
        nonlocal counted
        counted += 1
        return await count_positions(*given)

    monkeypatch.setattr(kept_counts, "count_positions", count)
    monkeypatch.setattr(kept_counts, "FEW_POSITIONS", 0)
    monkeypatch.setattr(kept_counts, "SHARE", 1.0)
    keeper = CountKeeper(few_positions=0, share=1.0)
    collector = database_metrics.DatabaseCollector(url)

    async def ask() -> PositionCounts:
        if who == "the console":
            return await keeper.counts(database)
        known = await kept_counts.known_counts(database, last=collector._counts)
        return known or await asyncio.to_thread(collector._count)

    async def counted_after(time: datetime) -> bool:
        return (await ask()).counted_at > time

    first = await ask()
    await until(lambda: counted_after(first.counted_at))
    assert counted == 1
    assert replace(await ask(), counted_at=first.counted_at) == first
    await execute(database, "UPDATE market_prices SET price = price + 1")

    async def is_reprocessing() -> bool:
        return "REPROCESSING" in (await ask()).positions

    await until(is_reprocessing)
    assert counted == 2
    await valued.settle()

    async def is_current() -> bool:
        return (await ask()).positions.keys() == {"CURRENT"}

    await until(is_current)
    await keeper.close()


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three positions are many, and a count is kept for long while there is work."""
    monkeypatch.setattr(kept_counts, "FEW_POSITIONS", 0)
    monkeypatch.setattr(kept_counts, "SHARE", 1e-6)


@pytest.mark.usefixtures("many")
async def test_a_count_is_kept_for_all_processes_and_says_when_it_was_made(
    url: str, database: Database, valued: Engine
) -> None:
    await valued.settle()
    made = (await kept_counts.shared_counts(database)).made_at
    async with await Database.open(url, connections=1) as other:
        same = await kept_counts.shared_counts(other, SETTINGS)
        status = await read_status(other)
    assert same.made_at == made < same.counted_at
    assert same.left is not None
    assert same.left.remaining_position_days == 0
    assert (status.is_current, status.changed_since_count) == (True, False)
    assert status.counted_seconds_ago < 1

    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    status = await read_status(database)
    assert (status.positions, status.counted_at) == ({"CURRENT": 6}, made)
    assert (status.is_current, status.changed_since_count) == (False, True)
    exact = await read_status(database, exact=True)
    assert exact.positions == {"CURRENT": 3, "REPROCESSING": 3}
    assert not exact.changed_since_count
    assert (await read_status(database)).counted_at == exact.counted_at, "it is kept too"
    await valued.settle()
    status = await read_status(database)
    assert status.positions == {"CURRENT": 6}, "all work has ended since: it is counted anew"
    assert status.counted_seconds_ago < 1


@pytest.mark.usefixtures("many")
async def test_what_failed_for_good_is_not_counted_again_until_it_is_retried(
    database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_counts, "SHARE", 1e9)  # a count of what changes is never kept
    amounts = (Decimal(99999999999999999), Decimal(1), Decimal(1))
    await corrections.position(database, "P1", "A", DAYS[4], *amounts)
    await valued.settle()
    failed = await kept_counts.shared_counts(database)
    assert failed.positions == {"CURRENT": 5, "FAILED": 1}
    assert (await kept_counts.shared_counts(database)).made_at == failed.made_at
    [job] = await list_jobs(database, status="FAILED") or await list_jobs(
        database, status="WAITING_FOR_DATA"
    )
    assert await retry_jobs(database, [job["job_id"]]) == [job["job_id"]]
    assert (await read_status(database, failed)).changed_since_count
    await valued.settle()
    assert (await kept_counts.shared_counts(database)).made_at > failed.made_at


@pytest.mark.usefixtures("many")
async def test_a_reader_is_given_what_others_keep_and_keeps_nothing(
    url: str, database: Database, valued: Engine
) -> None:
    await execute(database, "CREATE ROLE test_counts_reader IN ROLE revalue_reader")
    try:
        async with await Database.open(
            f"{url}&options=-crole%3Dtest_counts_reader", connections=1
        ) as reader:
            await kept_counts.shared_counts(reader)
            assert await fetch(database, "SELECT count(*) FROM kept_counts") == [(0,)]
            kept = await kept_counts.shared_counts(database)
            assert (await kept_counts.shared_counts(reader)).made_at == kept.made_at
            async with reader.transaction(readonly=True) as connection:
                inside = OpenTransaction(connection)
                assert (await read_status(inside, exact=True)).positions == {"CURRENT": 6}
    finally:
        await execute(database, "DROP ROLE test_counts_reader")


@pytest.mark.usefixtures("many")
async def test_the_command_says_how_old_its_counts_are(
    url: str, database: Database, valued: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVALUE_DATABASE_URL", url)
    await kept_counts.shared_counts(database)
    await execute(
        database,
        "UPDATE kept_counts SET counts = jsonb_set(counts::jsonb, '{counted_at}', "
        "to_jsonb(now() - interval '90 s'))",
    )
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))

    async def told(*options: str) -> str:
        run = await asyncio.to_thread(CliRunner().invoke, app, ["status", *options])
        return " ".join(run.stdout.split())

    shown = await told()
    assert "counted 90 s ago, at " in shown
    assert "something was corrected, opened, added or retried since" in shown
    assert "`revalue status --exact` counts now" in shown
    assert "s ago" not in (await told("--exact")).replace("days ago", "")
