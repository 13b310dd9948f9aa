"""A preview says what the correction then does, digit for digit, and changes nothing itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import polars as pl
import pytest

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.corrections.files import correct_file
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.inputs.problems import ProblemKind, RejectedInputError
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import (
    InvalidInputError,
    NotFoundError,
    PlanTooLongError,
    PreviewTooLargeError,
    StatementCancelledError,
    WriteConflictError,
)
from revalue.engine.postgres.database import Database
from revalue.engine.preview import changes, plan
from revalue.engine.preview import preview as preview_module
from revalue.engine.preview.preview import Estimate, Preview, compute, preview
from tests.conftest import small_book
from tests.support import DAYS, SETTINGS, Engine, engine, execute, facts, fetch, prices

WRITTEN = [name for name in SNAPSHOT_COLUMNS if name not in ("job_id", "epoch")]
TABLES = (
    "position_state, position_history, reprocessing_triggers, portfolio_valuation_jobs, "
    "deferred_jobs, dead_letters, "
    "daily_position_snapshots, market_prices, fx_rates, business_dates, instruments, scheduler_term"
).split(", ")
SEEN = """SELECT portfolio_id, date, sum(market_value) FROM position_valuations
          WHERE (portfolio_id, security_id, date)
                IN (SELECT * FROM unnest($1::text[], $2::text[], $3::date[]))
          GROUP BY 1, 2 ORDER BY 1, 2"""


def price_file(rows: dict[Any, str], security: str = "A") -> pl.DataFrame:
    return prices(security, rows)


async def several(database: Database) -> Any:
    await corrections.price(database, "A", DAYS[7], Decimal("31.5"))
    await corrections.position(database, "P1", "A", DAYS[5], Decimal(4), Decimal(40), Decimal(40))
    await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.2345"))
    await corrections.position(database, "P2", "B", DAYS[6], Decimal(0), Decimal(0), Decimal(0))
    await corrections.price(database, "B", DAYS[12], Decimal("61.25"))
    return await corrections.position(
        database, "P1", "A", DAYS[9], Decimal(-2), Decimal(20), Decimal(20)
    )


Act = Callable[[Database], Awaitable[Any]]
ACTS: dict[str, Act] = {
    "a price": lambda d: corrections.price(d, "A", DAYS[7], Decimal("31.5")),
    "a rate": lambda d: corrections.rate(d, "EUR", "USD", DAYS[3], Decimal("1.2345")),
    "a position": lambda d: corrections.position(
        d, "P2", "A", DAYS[2], Decimal(3), Decimal(30), Decimal(30)
    ),
    "a file of prices": lambda d: correct_file(
        d, price_file({DAYS[2]: "7", DAYS[3]: "8.125", DAYS[11]: "9"})
    ),
    "a file of rates": lambda d: correct_file(
        d,
        pl.DataFrame(
            {
                "base_currency": ["EUR"] * 2,
                "quote_currency": ["USD"] * 2,
                "rate_date": DAYS[5:7],
                "rate": ["1.5", "1.6"],
            }
        ),
    ),
    "a file of positions": lambda d: correct_file(
        d, facts("P1", "B", {DAYS[4]: "0", DAYS[9]: "5"})
    ),
    "three positions, two prices and a rate": several,
}


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    """The small book, valued."""
    async with small_book(server_url, template, 4) as address:
        yield address


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        yield running


async def stored(database: Database) -> dict[str, Any]:
    """Everything in every table, and where the sequences of jobs and tasks stand."""
    held = {
        table: sorted(await fetch(database, f"SELECT t::text FROM {table} t")) for table in TABLES
    }
    for sequence in ("valuation_job_ids", "valuation_task_ids"):
        held[sequence] = await fetch(database, f"SELECT last_value FROM {sequence}")
    return held


@asynccontextmanager
async def held_while_reading(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Stop previews that read their inputs until the block ends; the event: one has stopped."""
    loop = asyncio.get_running_loop()
    reading, go_on = asyncio.Event(), asyncio.Event()
    real = plan.read_inputs_of

    def held(*given: Any) -> Any:
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
        return real(*given)

    monkeypatch.setattr(plan, "read_inputs_of", held)
    try:
        yield reading
    finally:
        go_on.set()


async def new_rows(database: Database, epochs: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows of epochs that are newer than those."""
    return await fetch(
        database,
        f"""SELECT {", ".join(WRITTEN)} FROM daily_position_snapshots
            WHERE epoch > (SELECT e FROM unnest($1::bigint[], $2::int[]) AS k (p, e)
                           WHERE p = position_id)
            ORDER BY position_id, date""",
        [position for position, _ in epochs],
        [epoch for _, epoch in epochs],
    )


async def with_rows(database: Database, act: Act) -> tuple[Preview, list[tuple[Any, ...]]]:
    """The preview, and the rows that would be written, by position and date."""
    pages: list[pl.DataFrame] = []
    told = await preview(database, act, SETTINGS, on_rows=pages.append)
    return told, [row for page in pages for row in page.select(WRITTEN).iter_rows()]


@pytest.mark.parametrize("name", ACTS)
async def test_what_it_says_is_what_the_correction_then_does(
    name: str, valued: Engine, database: Database
) -> None:
    before = await stored(database)
    told, rows = await with_rows(database, ACTS[name])
    assert await stored(database) == before, "the preview left something behind"
    assert told.positions > 0
    assert told.position_days == len(rows)

    epochs = await fetch(database, "SELECT position_id, epoch FROM position_state ORDER BY 1")
    visible = "SELECT portfolio_id, security_id, date, market_value FROM position_valuations"
    seen = {row[:3]: row[3] for row in await fetch(database, visible)}
    made = await ACTS[name](database)
    await valued.settle()

    assert rows == await new_rows(database, epochs), "the rows differ"
    raised = await fetch(
        database,
        """SELECT count(*) FROM position_state p
           JOIN unnest($1::bigint[], $2::int[]) AS k (position_id, e) USING (position_id)
           WHERE p.epoch > e""",
        [position for position, _ in epochs],
        [epoch for _, epoch in epochs],
    )
    assert raised == [(told.positions,)]
    assert (made.positions, type(made)) == (told.correction.positions, type(told.correction))

    now = {row[:3]: row[3] for row in await fetch(database, visible)}
    moved = {
        position: now.get(position, Decimal(0)) - seen.get(position, Decimal(0))
        for position in now.keys() | seen.keys()
    }
    moved = {position: change for position, change in moved.items() if change}
    assert moved, "the case changes no value"
    sums: dict[tuple[Any, ...], Decimal] = {}
    for (portfolio, _, day), change in moved.items():
        sums[portfolio, day] = sums.get((portfolio, day), Decimal(0)) + change
    said = {(row[0], row[2]): row[4] - row[3] for row in told.values.iter_rows()}
    assert {position: change for position, change in said.items() if change} == {
        position: change for position, change in sums.items() if change
    }
    widest = {max(moved, key=lambda position: abs(moved[position]))}
    assert widest & {(mover.portfolio_id, mover.security_id, mover.date) for mover in told.movers}
    for mover in told.movers:
        position = (mover.portfolio_id, mover.security_id, mover.date)
        assert (mover.market_value_before, mover.market_value_after) == (
            seen.get(position, 0),
            now.get(position, 0),
        )
    for line in told.portfolios:
        day = [change for (portfolio, _), change in sums.items() if portfolio == line.portfolio_id]
        assert abs(line.change) == max(map(abs, day), default=Decimal(0))


async def test_nobody_is_woken_and_the_next_preview_is_the_same(
    valued: Engine, database: Database, url: str
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(url)
    await listener.add_listener("revalue_wake", lambda *got: heard.append(str(got[-1])))
    try:
        first, rows = await with_rows(database, ACTS["a price"])
        second, same_rows = await with_rows(database, ACTS["a price"])
        both = await asyncio.gather(
            with_rows(database, ACTS["a price"]), with_rows(database, ACTS["a rate"])
        )
        assert heard == []
        await ACTS["a price"](database)
        await listener.execute("SELECT 1")
        assert heard == [""]
    finally:
        await listener.close()
    assert rows == same_rows == both[0][1] != both[1][1]
    assert first.as_dict() == {**second.as_dict(), "correction": first.correction}


@pytest.mark.parametrize(
    ("rows_written", "bound", "speed"),
    [(1, "about", 80), (500, "at least", 40_000), (4, "about", 320)],
)
async def test_the_time_is_that_of_recorded_work(
    rows_written: int, bound: str, speed: float, valued: Engine, database: Database
) -> None:
    """Eight jobs, half of which took ten seconds and the others the first five of those. Jobs are
    alike by their rows per span.
    """
    await execute(database, "DELETE FROM portfolio_valuation_jobs")
    await execute(
        database,
        """INSERT INTO portfolio_valuation_jobs
               (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date,
                last_date, attempt_count, lane, status, term, task_id, is_open, rows_written,
                created_at, finished_at)
           SELECT n, array_agg(p), array_agg(0), array_agg($2::date), array_agg($2::date),
                  array_agg(NULL::bigint), $2, $2, 1, 'LIVE', 'COMPLETE', 1, n, false,
                  $1::integer * 100, '2024-01-01 10:00',
                  '2024-01-01 10:00:05'::timestamptz + n % 2 * interval '5 s'
           FROM generate_series(1, 8) n, generate_series(1, 100) p
           GROUP BY n""",
        rows_written,
        DAYS[0],
    )
    told = await preview(database, ACTS["a price"], SETTINGS)
    assert told.estimate == Estimate(told.position_days / speed, bound, speed, 8)
    every_day = price_file({day: f"{n + 1}" for n, day in enumerate(DAYS)})
    long = await preview(database, lambda d: correct_file(d, every_day), SETTINGS)
    assert long.position_days == 4 * len(DAYS)
    assert long.estimate is not None
    assert long.estimate.bound == {1: "at most", 4: "at most", 500: "at least"}[rows_written]


async def test_the_time_of_a_plan_larger_than_all_that_is_recorded_is_a_bound(
    valued: Engine, database: Database
) -> None:
    """What few rows took holds costs that more rows share."""
    await execute(
        database,
        """UPDATE portfolio_valuation_jobs SET finished_at = created_at + interval '1 second',
           rows_written = CASE WHEN job_id = (SELECT min(job_id) FROM portfolio_valuation_jobs)
                               THEN 1 ELSE 0 END""",
    )
    told = await preview(database, ACTS["a price"], SETTINGS)
    assert told.estimate == Estimate(4.0, "at most", 1.0, 1)


async def test_the_time_is_unknown_where_nothing_is_recorded(
    valued: Engine, database: Database
) -> None:
    assert (await preview(database, ACTS["a price"], SETTINGS)).estimate is not None
    await execute(
        database, "UPDATE portfolio_valuation_jobs SET finished_at = created_at + interval '1 day'"
    )
    told = await preview(database, ACTS["a price"], SETTINGS)
    assert told.estimate is None
    assert told.as_dict()["estimated_seconds"] is None


async def test_a_correction_that_reaches_nothing_is_said_to(
    valued: Engine, database: Database
) -> None:
    same: Preview = await preview(
        database, lambda d: corrections.price(d, "A", DAYS[0], Decimal("100.25")), SETTINGS
    )
    assert (same.positions, same.position_days, same.portfolios, same.movers) == (0, 0, [], [])
    with pytest.raises(NotFoundError):
        await preview(database, lambda d: corrections.price(d, "Z", DAYS[0], Decimal(1)), SETTINGS)
    with pytest.raises(InvalidInputError):
        await preview(database, lambda d: corrections.price(d, "A", DAYS[0], Decimal(-1)), SETTINGS)


async def test_a_record_after_the_horizon_and_a_price_of_a_weekend_go_together(
    valued: Engine, database: Database
) -> None:
    """Both publish the position, for the first time in one transaction."""

    async def both(inside: Database) -> Any:
        await corrections.position(
            inside, "P1", "A", DAYS[-1] + timedelta(days=3), Decimal(0), Decimal(0), Decimal(0)
        )
        await execute(
            inside,
            "INSERT INTO market_prices VALUES ('A', $1, 5, 'USD', 'PER_UNIT')",
            DAYS[4] + timedelta(days=1),
        )

    told = await preview(database, both, SETTINGS)
    assert (told.positions, told.position_days, told.portfolios) == (4, 0, [])
    await both(database)
    await valued.settle()
    assert await fetch(database, "SELECT count(*) FROM position_state WHERE epoch > 0") == [(4,)]


async def test_other_corrections_that_are_queued_are_not_in_it(
    valued: Engine, database: Database
) -> None:
    _, alone = await with_rows(database, ACTS["a price"])
    await corrections.price(database, "B", DAYS[1], Decimal(77))
    _, beside = await with_rows(database, ACTS["a price"])
    assert beside == alone
    assert await fetch(
        database, "SELECT count(*) FROM reprocessing_triggers WHERE fanned_out_at IS NULL"
    ) == [(1,)]


async def test_what_would_have_no_value_is_named_and_not_in_the_sums(
    valued: Engine, database: Database
) -> None:
    """Without newer prices the last dates will have no value; those before them change."""

    async def forget(inside: Database) -> None:
        async with inside.connection() as connection:
            await connection.execute(
                "DELETE FROM market_prices WHERE security_id = 'A' AND price_date > $1", DAYS[4]
            )

    told = await preview(database, forget, SETTINGS)
    assert told.waiting == {f"PRICE_TOO_OLD A {DAYS[8]}": 4}
    assert told.without_value == 4 * len(DAYS[8:])
    assert told.position_days == 4 * len(DAYS[5:])
    assert set(told.values["date"]) == set(DAYS[5:8])
    assert [line.position_days for line in told.portfolios] == [3] * 4
    seen = """SELECT portfolio_id, date, sum(market_value) FROM position_valuations
              WHERE security_id = 'A' AND date > $1 GROUP BY 1, 2 ORDER BY 1, 2"""
    before = await fetch(database, seen, DAYS[4])
    assert told.values.select("portfolio_id", "date", "market_value_before").rows() == [
        row for row in before if row[1] < DAYS[8]
    ]
    await forget(database)
    await valued.settle()
    states = """SELECT failure_reason, count(*) FROM position_status
                WHERE state = 'WAITING_FOR_DATA' GROUP BY 1"""
    assert dict(await fetch(database, states)) == told.waiting
    assert told.values.select("portfolio_id", "date", "market_value_after").rows() == await fetch(
        database, seen, DAYS[4]
    )


async def test_it_gives_way_to_a_writer_that_holds_what_it_corrects(
    valued: Engine, database: Database
) -> None:
    async with database.transaction() as writer:
        await writer.execute("SELECT 1 FROM position_state WHERE security_id = 'A' FOR UPDATE")
        with pytest.raises(WriteConflictError):
            await preview(database, ACTS["a position"], SETTINGS)
        # A price changes no position: it does not wait.
        assert (await preview(database, ACTS["a price"], SETTINGS)).positions == 4
    assert (await preview(database, ACTS["a position"], SETTINGS)).positions == 1


@pytest.mark.parametrize("name", ["a price", "a rate", "a file of prices"])
async def test_the_positions_that_it_reaches_are_not_locked(
    name: str, valued: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_while_reading(monkeypatch) as reading:
        running = asyncio.create_task(preview(database, ACTS[name], SETTINGS))
        await asyncio.wait_for(reading.wait(), 30)
        async with database.transaction() as scheduler:
            await scheduler.execute("SET LOCAL lock_timeout = '1s'")
            changed = await scheduler.execute("UPDATE position_state SET revision = revision + 1")
            assert changed == "UPDATE 8"
    assert (await running).positions > 0


async def test_the_engine_is_not_held_up_while_a_preview_values(
    valued: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine applies the correction itself while its preview is still computing."""
    loop = asyncio.get_running_loop()
    computing, go_on = asyncio.Event(), asyncio.Event()
    real = compute

    def held(*given: Any, **named: Any) -> Any:
        loop.call_soon_threadsafe(computing.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
        return real(*given, **named)

    monkeypatch.setattr(preview_module, "compute", held)
    running = asyncio.create_task(preview(database, ACTS["a price"], SETTINGS))
    await asyncio.wait_for(computing.wait(), 30)
    monkeypatch.setattr(preview_module, "compute", real)
    await ACTS["a price"](database)
    await asyncio.wait_for(valued.settle(), 30)
    go_on.set()
    assert (await running).positions == 4
    assert await fetch(database, "SELECT DISTINCT state FROM position_status") == [("CURRENT",)]


async def test_a_plan_that_takes_too_long_lets_go_of_the_positions(
    valued: Engine, database: Database
) -> None:
    short = SETTINGS.model_copy(update={"preview_seconds": 0.2})

    async def many_small_steps(inside: Database) -> Any:
        until = monotonic() + 0.2
        while monotonic() < until:
            await fetch(inside, "SELECT 1")
        return await ACTS["a price"](inside)

    before = await stored(database)
    with pytest.raises(
        PlanTooLongError, match=r"longer than 0.2 s; it was at: finding the positions"
    ):
        await preview(database, many_small_steps, short)
    assert await stored(database) == before
    async with database.transaction() as blocking:
        await blocking.execute("LOCK TABLE position_state IN ACCESS EXCLUSIVE MODE")
        # Sooner than the second for which it waits for locks.
        with pytest.raises(StatementCancelledError):
            await preview(database, ACTS["a price"], short)
    assert (await preview(database, ACTS["a price"], SETTINGS)).positions == 4


async def test_one_that_is_cancelled_lets_go_of_what_it_corrects(
    valued: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = """SELECT price FROM market_prices WHERE security_id = 'A' AND price_date = $1
              FOR UPDATE SKIP LOCKED"""
    async with held_while_reading(monkeypatch) as reading:
        running = asyncio.create_task(preview(database, ACTS["a price"], SETTINGS))
        await asyncio.wait_for(reading.wait(), 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await fetch(database, free, DAYS[7]) == []
    await ACTS["a price"](database)
    await asyncio.wait_for(valued.settle(), 30)
    assert await fetch(database, "SELECT DISTINCT state FROM position_status") == [("CURRENT",)]
    idle = """SELECT count(*) FROM pg_stat_activity
              WHERE state LIKE 'idle in transaction%' AND datname = current_database()"""
    assert await fetch(database, idle) == [(0,)]


async def test_a_preview_in_pages_is_the_same(
    valued: Engine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of one position each, and positions that leave in pages of their own."""
    gone = facts("P2", "A", {DAYS[0]: "0"})

    async def act(inside: Database) -> Any:
        await correct_file(inside, price_file(dict.fromkeys(DAYS[2:7], "3.5")))
        await corrections.rate(inside, "EUR", "USD", DAYS[3], Decimal("1.2345"))
        return await load(inside, Kind.POSITIONS, gone, replace=True, is_recorded=False)

    whole, rows = await with_rows(database, act)
    monkeypatch.setattr(preview_module, "PAGE_ROWS", 1)
    monkeypatch.setattr(changes, "_ADDED_PAGES", 2)
    seen: list[tuple[int, int]] = []
    in_pages = await preview(database, act, SETTINGS, on_progress=lambda *told: seen.append(told))
    assert in_pages.as_dict() == {**whole.as_dict(), "correction": in_pages.correction}
    assert in_pages.values.equals(whole.values)
    assert (await with_rows(database, act))[1] == rows
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == ((0, len(rows)), (len(rows), len(rows)))
    assert len(whole.portfolios) == 4
    assert len({mover.portfolio_id for mover in whole.movers}) == 4


@pytest.mark.parametrize(
    ("module", "limit"),
    [
        (plan, "MAX_POSITIONS"),
        (plan, "MAX_RANGES"),
        (plan, "MAX_INPUT_ROWS"),
        (changes, "MAX_PORTFOLIO_DAYS"),
    ],
)
async def test_a_preview_that_would_take_too_much_memory_is_refused(
    module: Any,
    limit: str,
    valued: Engine,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = await stored(database)
    monkeypatch.setattr(preview_module, "PAGE_ROWS", 1)
    monkeypatch.setattr(module, limit, 2)
    with pytest.raises(PreviewTooLargeError, match="Preview"):
        await preview(database, ACTS["a file of prices"], SETTINGS)
    assert await stored(database) == before
    monkeypatch.undo()
    assert (await preview(database, ACTS["a file of prices"], SETTINGS)).positions == 4


async def test_a_file_of_corrections_replaces_and_does_not_add(
    valued: Engine, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "corrections.csv"
    prices("A", {DAYS[0]: "1", DAYS[0].replace(year=2030): "2"}).write_csv(path)
    with pytest.raises(
        RejectedInputError, match=r"no price is stored for that date.*line 3"
    ) as refused:
        await correct_file(database, path)
    assert [problem.kind for problem in refused.value.problems] == [ProblemKind.NOT_STORED]
    for pair, hint in (
        (("USD", "EUR"), r"only the inverse pair has a rate for that date.*row 1"),
        (("USD", "CHF"), r"no rate is stored for that date: load it.*row 1"),
    ):
        rate = dict(zip(("base_currency", "quote_currency"), pair, strict=True))
        frame = pl.DataFrame([{**rate, "rate_date": DAYS[0], "rate": Decimal("0.9")}])
        with pytest.raises(RejectedInputError, match=hint) as refused:
            await correct_file(database, frame)
        assert [problem.kind for problem in refused.value.problems] == [ProblemKind.NOT_STORED]
    with pytest.raises(InvalidInputError, match="a file of corrections has the columns"):
        await correct_file(database, pl.DataFrame({"security_id": ["A"]}))
    prices("A", {DAYS[0]: "1", DAYS[1]: "101.25"}).write_csv(path)
    made = await correct_file(database, path)
    assert (
        made.kind,
        made.rows,
        made.changed,
        made.unchanged,
        made.positions,
        len(made.trigger_ids),
    ) == (
        "prices",
        2,
        1,
        1,
        4,
        1,
    )
    assert (await load(database, Kind.PRICES, path)).unchanged == 2
