"""Retention: after a prune, what is asked about the floor or later has the answer that it had.

One book has lived through corrections, holes, closings and retries. Copies of it are pruned at
several floors; every answer for every moment since is compared with the answer before.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import polars as pl
import pytest

from revalue.engine.book import Book
from revalue.engine.correct.authors import local_author
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.confirmations.confirmations import (
    Against,
    Confirmable,
    confirm,
    unconfirm,
)
from revalue.engine.correct.corrections import corrections
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import NoLongerKnownError, UsageError, WriteConflictError
from revalue.engine.operate.prune import (
    FENCED,
    PUBLICATIONS,
    SNAPSHOTS,
    TABLES,
    TRIGGERS,
    Pruned,
    PruneProgress,
    prune,
)
from revalue.engine.operate.status import retry_jobs
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from revalue.engine.read.frames import valuations
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.queries import sql as read_sql
from tests.conftest import drop_database, fresh_database, named, new_database
from tests.integration.test_cli import code, run
from tests.integration.test_valuation import check
from tests.support import (
    DAYS,
    SETTINGS,
    Engine,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
)
from tests.web.test_api import client

pytestmark = pytest.mark.slow

LATE = [date(2024, 1, 29), date(2024, 1, 30), date(2024, 1, 31), date(2024, 2, 1)]
POSITIONS = [(portfolio, security) for portfolio in ("P1", "P2") for security in "AB"]
COUNTS = {table: f"SELECT count(*) FROM {table}" for table in TABLES}
LOOK = """
    SELECT position_id, published_epoch, open_dates, hidden, reprocessing_status,
           CASE WHEN reprocessing_status = 'IN_PROGRESS'
                THEN reprocessing_since(position_id, $1) END
    FROM positions_at($1) ORDER BY 1"""

Answers = dict[str, Any]


async def live(database: Database, running: Engine) -> None:
    """Let a book of two portfolios live: what is superseded, missing, closed and tried again."""

    async def half_way() -> None:
        """Corrections that wait, and positions that are in progress, have moments too."""
        await running.loop.run_once()

    await load_small_book(database, portfolios=2)
    await running.settle()
    for new in ("31.5", "32.5", "33.5"):
        await corrections.price(database, "A", DAYS[7], Decimal(new))
        await half_way()
    await running.settle()
    await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal("1.5"))
    await open_days(database, LATE[:2])  # by stale prices
    await running.settle()
    limit = "UPDATE instruments SET max_price_age_sessions = 1 WHERE security_id = 'A'"
    await execute(database, limit)  # holes
    await running.settle()
    waiting = await fetch(database, "SELECT DISTINCT job_id FROM current_holes")
    assert len(await retry_jobs(database, [job for (job,) in waiting])) == len(waiting) > 0
    await running.settle()
    await load(database, Kind.PRICES, prices("A", dict.fromkeys(LATE[:2], "77")))  # no holes
    await half_way()
    await running.settle()
    await corrections.position(database, "P1", "A", DAYS[5], Decimal(0), Decimal(0), Decimal(0))
    await half_way()
    await running.settle()
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[10]: "3"}))
    await running.settle()
    await open_days(database, LATE)  # holes again, of A on the last one
    await running.settle()
    await open_calendars(database, LATE[2], ["CAL"], back=True)
    await half_way()
    await running.settle()
    await execute(
        database,
        "DELETE FROM business_dates WHERE calendar_id = 'CAL' AND business_date = $1",
        DAYS[12],
    )
    await running.settle()
    await open_calendars(database, LATE[3], ["CAL"])
    await load(database, Kind.PORTFOLIOS, pl.DataFrame({
        "portfolio_id": ["P3"], "base_currency": ["USD"], "calendar_id": ["CAL"]
    }))  # fmt: skip
    await load(database, Kind.POSITIONS, facts("P3", "B", {DAYS[2]: "4"}))
    await running.settle()
    confirmed = (Confirmable.PRICE, "B", DAYS[2])
    before = frozenset({Decimal(50)})
    await confirm(database, *confirmed, Decimal("52.25"), Against(before, before), local_author())
    await unconfirm(database, *confirmed, local_author())
    for new in ("1.6", "1.7"):
        await corrections.rate(database, "EUR", "USD", DAYS[3], Decimal(new))
        await half_way()
    await running.settle()
    await corrections.price(database, "B", DAYS[1], Decimal("44"))  # is queued at the end
    await execute(
        database,
        """INSERT INTO dead_letters
               (job_id, position_id, attempt_count, failure_reason, traceback, requeued_at)
           SELECT min(job_id), 1, 1, 'x', 'x', now() FROM portfolio_valuation_jobs""",
    )
    await execute(
        database,
        """WITH failed AS (
               INSERT INTO portfolio_valuation_jobs
                   (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date,
                    last_date, attempt_count, lane, status, term, task_id, is_open, finished_at,
                    failure_reason)
               SELECT nextval('valuation_job_ids'), ARRAY[position_id], ARRAY[epoch], ARRAY[day],
                      ARRAY[day], '{NULL}', day, day, 3, 'HISTORY', 'FAILED', 1, 0, false, now(),
                      'x'
               FROM (SELECT position_id, epoch, DATE '2024-01-10' FROM position_state
                     WHERE position_id = 1) AS d (position_id, epoch, day)
               RETURNING job_id)
           INSERT INTO dead_letters
               (job_id, position_id, attempt_count, failure_reason, traceback)
           SELECT job_id, 1, 3, 'x', 'is not resolved' FROM failed""",
    )
    await execute(
        database,
        "INSERT INTO fenced_attempts (task_id, jobs_abandoned, jobs_superseded) VALUES (1, 1, 1)",
    )


@pytest.fixture(scope="module")
def lived(server_url: str, template: str) -> Iterator[str]:
    """The name of the database of the book that has lived."""

    async def make() -> str:
        address = await fresh_database(server_url, template)
        settings = SETTINGS.model_copy(update={"task_rows": 30})
        async with (
            await Database.open(address) as database,
            engine(address, settings=settings) as running,
        ):
            await live(database, running)
            await running.term.release()
        return address

    address = asyncio.run(make())
    yield address.partition("@/")[2].partition("?")[0]
    asyncio.run(drop_database(server_url, address))


@pytest.fixture
async def url(server_url: str, lived: str) -> AsyncIterator[str]:
    async with new_database(server_url, lived) as address:
        assert named(server_url, lived) != address
        yield address


async def moments(database: Database) -> list[datetime]:
    return [at for (at,) in await fetch(database, "SELECT at FROM moments ORDER BY at")]


async def answers(database: Database, known_at: datetime | None) -> Answers:
    """Return what readers are told of a time (None: now), by everything that takes one."""
    queries = ReaderQueries(database)
    told: Answers = {"look": await fetch(database, LOOK, known_at)}
    told["valuations"] = (await valuations(database, known_at=known_at)).rows()
    for portfolio in ("P1", "P2", "P3"):
        for day in (DAYS[7], DAYS[12], *LATE[1:]):
            told[f"positions {portfolio} {day}"] = await queries.positions(
                portfolio, day, known_at=known_at
            )
        told[f"totals {portfolio}"] = await queries.totals(
            portfolio, DAYS[0], LATE[-1], known_at=known_at
        )
    told["history"] = await queries.history("P1", "A", DAYS[0], LATE[-1], known_at=known_at)
    for answer in told.values():
        if isinstance(answer, tuple):
            answer[0].pop("known_at")  # the last commit: a prune is one, too
    return told


async def everything(database: Database, times: list[datetime]) -> dict[datetime | None, Answers]:
    """Return all answers about some of the times and about now, and two of all times."""
    some = (*times[:: max(1, len(times) // 3)], None)
    told = {known_at: await answers(database, known_at) for known_at in some}
    planned_once = {"plan_cache_mode": "force_generic_plan"}
    connection = await asyncpg.connect(database.url, server_settings=planned_once)
    statement = read_sql("valuations").positional
    for known_at in times:
        told.setdefault(known_at, {})["numbers"] = [
            await connection.fetch(LOOK, known_at),
            await connection.fetch(statement, known_at, None, None, None, None),
        ]
    await connection.close()
    return told


def differences(
    before: dict[datetime | None, Answers], after: dict[datetime | None, Answers]
) -> list[tuple[datetime | None, str]]:
    """Return the times and the questions to which the answers differ."""
    assert before.keys() == after.keys()
    return [
        (known_at, question)
        for known_at, told in before.items()
        for question in told.keys() | after[known_at].keys()
        if told.get(question) != after[known_at].get(question)
    ]


async def changes(database: Database) -> list[dict[str, Any]]:
    """Return every number that was shown of some dates, by what tells it from the others."""
    queries = ReaderQueries(database)
    names = ("date", "epoch", "market_value", "is_shown", "superseded_at", "published_at")
    return [
        {name: (row | {"date": day})[name] for name in names}
        for position in (("P1", "A"), ("P2", "B"))
        for day in (DAYS[3], DAYS[7], *LATE[:2])
        for row in (await queries.changes(*position, day))[1]
    ]


def told_since(floor: datetime, listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those that were shown at the floor or later; a time before it is not told."""

    def since(moment: datetime | None) -> datetime | None:
        return None if moment is None or moment <= floor else moment

    return [
        row | {"published_at": since(row["published_at"])}
        for row in listed
        if row["superseded_at"] is None or row["superseded_at"] > floor
    ]


async def counts(database: Database) -> dict[str, int]:
    return {table: (await fetch(database, query))[0][0] for table, query in COUNTS.items()}


class Stop(Exception):
    """Ends a prune."""


def stop_after(steps: int) -> Any:
    left = iter(range(steps))

    def on_progress(_: PruneProgress) -> None:
        if next(left, None) is None:
            raise Stop

    return on_progress


async def interrupted(database: Database, floor: datetime) -> AsyncIterator[None]:
    """Prune, and be stopped after each step, until there is no further step.

    Yields: after each time that it is stopped.
    """
    for steps in range(100):
        try:
            await prune(database, before=floor, on_progress=stop_after(steps))
        except Stop:
            yield
            continue
        return
    raise AssertionError("it never ends")


FLOORS = {
    "early": "SELECT at FROM moments ORDER BY at LIMIT 1 OFFSET 6",
    "late": "SELECT max(at) FROM moments",
    "between two commits": """
        SELECT at - interval '1 microsecond' FROM moments
        ORDER BY at LIMIT 1 OFFSET (SELECT count(*) / 2 FROM moments)""",
    "valued and not published": """
        SELECT m.at
        FROM portfolio_valuation_jobs j JOIN moments m USING (moment_id)
        JOIN moments u ON u.moment_id = j.published_moment
        WHERE u.at > m.at AND 0 < ANY (j.epochs)
        ORDER BY m.at DESC LIMIT 1""",
    "while a correction is fanned out": """
        SELECT t.fanned_out_at
        FROM reprocessing_triggers t JOIN moments m ON m.moment_id = t.fanned_out_moment
        WHERE t.fanned_out_at < m.at AND t.positions_invalidated > 0 AND t.kind = 'FX'
        ORDER BY t.trigger_id LIMIT 1""",
}


@pytest.mark.parametrize("named", FLOORS)
async def test_what_is_asked_since_the_floor_has_the_answer_that_it_had(
    database: Database, named: str
) -> None:
    times = await moments(database)
    [[floor]] = await fetch(database, FLOORS[named])
    later = [floor, *(at for at in times if at > floor)]
    before, listed, rows = await everything(database, later), await changes(database), {}
    rows = await counts(database)
    would = await prune(database, before=floor, dry_run=True)
    assert await counts(database) == rows
    if named == "between two commits":
        await execute(database, "INSERT INTO retention (floor) VALUES ($1)", floor)
        assert await changes(database) == told_since(floor, listed)  # nothing is deleted yet
        async for _ in interrupted(database, floor):
            assert await changes(database) == told_since(floor, listed)
            assert await fetch(database, LOOK, floor) == before[floor]["look"]
    else:
        assert await prune(database, before=floor) == Pruned(floor, False, would.tables)
    left = await counts(database)
    assert {name: rows[name] - left[name] for name in rows} == {
        name: table.rows for name, table in would.tables.items()
    }
    assert not differences(before, await everything(database, later))
    assert await changes(database) == told_since(floor, listed)
    assert (await prune(database, before=floor)).rows == 0


async def test_a_prune_of_everything_leaves_what_is_shown_now(database: Database) -> None:
    rows = await counts(database)
    async with engine(database.url) as running:
        await running.settle()
    now = await answers(database, None)
    pruned = await prune(database, keep=timedelta(0))
    left = await counts(database)
    assert left[PUBLICATIONS] == 5  # one for each position
    assert left[TRIGGERS] < rows[TRIGGERS] / 2
    assert left[FENCED] == 0
    letters = await fetch(database, "SELECT traceback FROM dead_letters")
    assert letters == [("is not resolved",)]
    assert all(pruned.tables[name].rows and pruned.tables[name].bytes for name in COUNTS)
    superseded = await fetch(
        database,
        """SELECT s.* FROM daily_position_snapshots s JOIN daily_position_snapshots n
           USING (position_id, date) JOIN position_state p USING (position_id)
           WHERE n.epoch > s.epoch AND n.epoch <= p.published_epoch""",
    )
    assert superseded == []
    assert await answers(database, None) == now
    await check(database)


async def test_floors_only_rise(database: Database) -> None:
    times = await moments(database)
    low, high = times[len(times) // 3], times[len(times) // 2]
    for floor in (low, high, low):
        await prune(database, before=floor)
    assert await fetch(database, "SELECT floor FROM retention") == [(high,)]
    [[now]] = await fetch(database, "SELECT clock_timestamp()")
    for wrong in ({"before": now + timedelta(hours=1)}, {}, {"before": datetime(2024, 1, 1)}):
        with pytest.raises(UsageError):
            await prune(database, **wrong)
    assert await fetch(database, "SELECT floor FROM retention") == [(high,)]


async def test_every_door_refuses_a_time_before_the_floor(
    url: str, database: Database, connection: asyncpg.Connection
) -> None:
    times = await moments(database)
    floor = times[len(times) // 2]
    await prune(database, before=floor)
    early = floor - timedelta(microseconds=1)
    for query in (
        "SELECT * FROM positions_at($1)",
        "SELECT * FROM positions_at($1, 'P1', 'A')",
        "SELECT count(*) FROM publications_at($1)",
        "SELECT count(*) FROM snapshots_at($1)",
        "SELECT count(*) FROM snapshots_at($1) WHERE date = '2024-01-10'",
        "SELECT * FROM queued_triggers_at($1)",
        "SELECT queued_since(1, $1)",
        "SELECT reprocessing_since(1, $1)",
    ):
        with pytest.raises(asyncpg.PostgresError, match="is before the retention floor") as raised:
            await connection.fetch(query, early)
        assert raised.value.sqlstate == "RV410", query
        await fetch(database, query, floor)
    with pytest.raises(NoLongerKnownError, match="retention floor"):
        await answers(database, early)
    with pytest.raises(NoLongerKnownError, match="retention floor"):
        await fetch(database, "SELECT * FROM positions_at($1)", early)
    async with client(url) as web:
        for path in (
            f"/portfolios/P1/positions?as_of={DAYS[7]}",
            f"/portfolios/P1/valuation?from={DAYS[0]}&to={DAYS[9]}",
            "/positions/P1/A/history",
        ):
            for known_at, status in ((early, 410), (floor, 200)):
                answer = await web.get(f"{path}{'&' if '?' in path else '?'}known_at="
                                       f"{known_at.isoformat().replace('+', '%2B')}")  # fmt: skip
                assert answer.status_code == status, answer.text
            assert answer.headers["revalue-known-at"] == floor.isoformat()
    with pytest.raises(Exception, match="is pruned"):
        await schema.migrate(url, "0025")


async def test_the_time_of_an_answer_can_be_asked_for_after_a_quiet_year(
    url: str, database: Database
) -> None:
    """The last commit before the floor is older than the floor: the answer has the floor's time."""
    times = await moments(database)
    floor = times[-1] + (datetime.now(UTC) - times[-1]) / 2
    before = await answers(database, floor)
    await prune(database, before=floor)
    async with client(url) as web:
        path = f"/portfolios/P1/positions?as_of={DAYS[7]}&known_at="
        answer = await web.get(path + floor.isoformat().replace("+", "%2B"))
        again = await web.get(path + answer.headers["revalue-known-at"].replace("+", "%2B"))
    assert (again.status_code, again.json()) == (200, answer.json())
    assert await answers(database, floor) == before


async def test_a_prune_beside_a_running_engine_and_readers(database: Database) -> None:
    """Neither waits for the other, and no reader is told anything else meanwhile."""
    times = await moments(database)
    floor = times[len(times) * 2 // 3]
    before = await answers(database, floor)
    told: list[Answers] = []
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            told.append(await answers(database, floor))

    async def prune_again_and_again() -> None:
        for place in range(len(times) // 3, len(times) * 2 // 3 + 1, 3):
            await prune(database, before=times[place])
        await prune(database, before=floor)

    async with engine(database.url) as running:
        reading = asyncio.create_task(read())
        pruning = asyncio.create_task(prune_again_and_again())
        number = 0
        while not pruning.done():
            number += 1
            await corrections.price(database, "A", DAYS[7], Decimal(40 + number))
            await running.settle()
        await pruning
        done.set()
        await reading
        [[now]] = await fetch(database, "SELECT max(at) FROM moments")
        seen = await answers(database, now)
        await prune(database, keep=timedelta(0))
        await corrections.rate(database, "EUR", "USD", DAYS[4], Decimal("1.9"))
        await running.settle()
    assert told
    assert all(each == before for each in told)
    with pytest.raises(NoLongerKnownError):
        await answers(database, now)
    assert seen["look"]
    await check(database)


async def test_two_prunes_at_once_delete_what_one_would(url: str, database: Database) -> None:
    """Of two floors: what is asked since the later one has the answer that it had."""
    times = await moments(database)
    low, high = times[len(times) // 3], times[len(times) // 2]
    later = [at for at in times if at >= high]
    before, rows = await everything(database, later), await counts(database)
    would = await prune(database, before=high, dry_run=True)
    async with await Database.open(url, connections=1) as other:
        one, two = await asyncio.gather(prune(database, before=high), prune(other, before=low))
    left = await counts(database)
    gone = {name: rows[name] - left[name] for name in rows}
    assert gone == {name: one.tables[name].rows + two.tables[name].rows for name in rows}
    assert gone == {name: table.rows for name, table in would.tables.items()}
    assert await fetch(database, "SELECT floor FROM retention") == [(high,)]
    assert not differences(before, await everything(database, later))


async def test_a_prune_goes_on_when_another_raises_the_floor(url: str, database: Database) -> None:
    """It is raised when the one of the lower floor is about to read what was published then."""
    times = await moments(database)
    low, high = times[len(times) // 3], times[len(times) // 2]
    waits = """
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE NOT granted AND d.datname = current_database()"""
    blocker = await asyncpg.connect(url)
    async with await Database.open(url, connections=1) as other:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE publications")
            lower = asyncio.create_task(prune(other, before=low))
            async with asyncio.timeout(30):
                while not await fetch(database, waits):
                    await asyncio.sleep(0.01)
            await blocker.execute("UPDATE retention SET floor = $1", high)
        assert (await lower).floor in (low, high)
    await blocker.close()
    assert await fetch(database, "SELECT floor FROM retention") == [(high,)]


async def test_a_book_is_pruned_by_python_as_by_the_command(url: str, database: Database) -> None:
    floor = (await moments(database))[-1]
    would = await prune(database, before=floor, dry_run=True)
    seen: list[PruneProgress] = []

    def by_python() -> tuple[Pruned, Pruned]:
        with Book(url, SETTINGS) as book:
            return (
                book.prune(before=floor, dry_run=True),
                book.prune(before=floor, on_progress=seen.append),
            )

    dry, pruned = await asyncio.to_thread(by_python)
    assert dry == would
    assert pruned == Pruned(floor, False, would.tables)
    assert seen[-1].rows == pruned.rows > 0


async def test_a_prune_does_not_wait_long_for_a_lock(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revalue.engine.operate.prune._LOCK_MS", "50")
    floor = (await moments(database))[-1]
    other = await asyncpg.connect(url)
    async with other.transaction():
        await other.execute("LOCK TABLE daily_position_snapshots IN SHARE MODE")
        with pytest.raises(WriteConflictError):
            await prune(database, before=floor)
    await other.close()
    assert (await prune(database, before=floor)).tables[SNAPSHOTS].rows


async def test_the_command(url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = await counts(database)
    day = datetime.now(UTC).date() + timedelta(days=1)
    for arguments, words in (
        ((), "REVALUE_KEEP_DAYS"),
        (("--keep", "0d", "--before", "2024-01-01"), "not both"),
        (("--keep", "0d"), "--yes"),
        (("--keep", "0"), "400d"),
        (("--before", day.isoformat(), "--yes"), "in the future"),
    ):
        status, message = code(url, "prune", *arguments)
        assert (status, words in message) == (2, True), message
    would = run(url, "prune", "--keep", "0d", "--dry-run")
    assert (would.exit_code, "would be deleted" in would.stdout) == (0, True), would.output
    assert run(url, "prune", "--before", "2024-01-01", "--yes").exit_code == 0
    assert await counts(database) == rows
    monkeypatch.setenv("REVALUE_KEEP_DAYS", "0")
    pruned = run(url, "prune", "--yes", "--json")
    assert pruned.exit_code == 0, pruned.output
    assert (await counts(database))[SNAPSHOTS] < rows[SNAPSHOTS]
    explained = run(url, "explain", "P2", "B", DAYS[15].isoformat())
    assert (explained.exit_code, "(pruned)" in explained.stdout) == (0, True), explained.output
