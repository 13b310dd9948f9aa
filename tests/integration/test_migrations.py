"""Migrations upgrade from nothing and from every revision with its data, and downgrade again."""

import asyncio
import logging
import random
import re
import secrets

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from revalue.engine.errors import CorrectionRefusedError, SchemaVersionError
from revalue.engine.fan_out import fan_out
from revalue.engine.postgres import schema
from revalue.engine.postgres.database import Database
from tests.conftest import new_database
from tests.faults.checks import broken_invariants
from tests.support import DAYS, engine, execute, fetch, load_small_book, until

pytestmark = pytest.mark.slow

OBJECTS = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relname NOT LIKE 'alembic%'
"""
LEFT_OVER = """
    SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)
         + (SELECT count(*) FROM pg_type
            WHERE typnamespace = 'public'::regnamespace AND typtype = 'e')
"""


@pytest.fixture
async def empty_url(server_url: str):  # type: ignore[no-untyped-def]
    async with new_database(server_url, None) as url:
        yield url


SCRIPTS = ScriptDirectory.from_config(schema.alembic_config())


@pytest.fixture(autouse=True)
def scripts_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of migrations run here, and for each one Alembic would read the files of all."""
    monkeypatch.setattr(ScriptDirectory, "from_config", lambda config: SCRIPTS)


def revisions() -> list[str]:
    return [revision.revision for revision in reversed(list(SCRIPTS.walk_revisions()))]


async def test_every_revision_goes_up_and_down_and_leaves_nothing(empty_url: str) -> None:
    for revision in revisions():
        assert await schema.migrate(empty_url, revision) == revision
    connection = await asyncpg.connect(empty_url)
    full = await connection.fetchval(OBJECTS)
    assert full > 20
    assert schema.head() == revisions()[-1]
    for revision in [*reversed(revisions()[:-1]), "base"]:
        assert await schema.migrate(empty_url, revision) == revision
    assert await connection.fetchval(OBJECTS) == 0
    assert await connection.fetchval(LEFT_OVER) == 0
    assert await schema.migrate(empty_url) == schema.head()
    assert await connection.fetchval(OBJECTS) == full
    await connection.close()


BOOK = {
    "0001": (
        "INSERT INTO calendars (calendar_id) VALUES ('OTHER'), ('KEPT')",
        """INSERT INTO business_dates (calendar_id, business_date)
           VALUES ('KEPT', '2024-01-02'), ('KEPT', '2024-01-03')""",
        """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
           VALUES ('P', 'CHF', 'KEPT'), ('Q', 'EUR', 'KEPT')""",
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 1)""",
        "INSERT INTO market_prices VALUES ('A', '2024-01-02', 10, 'USD', 'PER_UNIT')",
        "INSERT INTO fx_rates VALUES ('EUR', 'USD', '2024-01-02', 1.1)",
    ),
    "0002": (
        """INSERT INTO position_state (portfolio_id, security_id, open_dates,
                                       published_open_dates, frontier_date, epoch, history_epoch,
                                       staged_epoch, pending {number_columns})
           SELECT 'P', 'A', '{{[2024-01-02,)}}', '{{[2024-01-02,)}}', '2024-01-02', 1, 1, 1,
                  '{{[2024-01-02,2024-01-03)}}' {numbers}
           FROM calendars, currencies WHERE calendar_id = 'KEPT' AND currency = 'CHF'""",
        "SET revalue.loading_positions = on",
        """INSERT INTO position_history (position_id, {history_epoch}, position_date, quantity,
                                         cost_basis_local, cost_basis)
           VALUES (1, 1, '2024-01-02', 5, 40, 36)""",
        """INSERT INTO reprocessing_triggers (kind, security_id, dates, {invalidated},
                                              fanned_out_at)
           VALUES ('PRICE', 'A', '{{[2024-01-02,)}}', 3, '2024-02-01')""",
        """INSERT INTO reprocessing_triggers (kind, dates, {invalidated})
           VALUES ('POLICY', '{{(,)}}', 5)""",
        """INSERT INTO portfolio_valuation_jobs (job_id, {spans}, first_date, last_date,
                                                 attempt_count, lane, status, term, task_id)
           VALUES (7, {span}, '2024-01-02', '2024-01-02', 1, 'LIVE', 'PENDING', 1, 9)""",
        "{partition}",
        """INSERT INTO daily_position_snapshots
           VALUES (1, 7, '2024-01-02', 0, '2024-01-02', NULL, NULL, 0, 5, 40, 36, 10, 0.9,
                   50, 45, 10, 9)""",
    ),
    "0004": (
        """INSERT INTO fenced_attempts (task_id, {abandoned}, jobs_superseded)
           VALUES (9, 2, 4)""",
    ),
    "0012": ("UPDATE calendars SET opened_through = '2024-01-03' WHERE calendar_id = 'KEPT'",),
}
"""A small book: the statements by the revision that creates their tables."""


def book_of(revision: str) -> list[str]:
    """Return the statements that write the book into a database of a revision."""
    words = {
        "number_columns": ", calendar_no, base_currency_no" if revision >= "0007" else "",
        "numbers": ", calendar_no, currency_no" if revision >= "0007" else "",
        "history_epoch": "valid_from_epoch" if revision >= "0014" else "epoch",
        "invalidated": "positions_invalidated" if revision >= "0008" else "keys_raised",
        "abandoned": "jobs_abandoned" if revision >= "0008" else "jobs_given_up",
        "partition": "SELECT make_snapshot_partition('2024-01-02')"
        if revision >= "0023"
        else "SELECT 1",
        "spans": "positions, epochs, first_dates, last_dates, trigger_ids"
        if revision >= "0024"
        else "position_id, epoch",
        "span": "'{1}', '{1}', '{2024-01-02}', '{2024-01-02}', '{NULL}'"
        if revision >= "0024"
        else "1, 1",
    }
    return [
        statement.format(**words)
        for since, statements in BOOK.items()
        for statement in statements
        if since <= revision
    ]


async def stored(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, list[object]]:
    """Return the values of each "table.column" that has any, by the present names of columns."""
    renamed = {
        "keys_raised": "positions_invalidated",
        "jobs_given_up": "jobs_abandoned",
        "positions": "position_id",
        "epochs": "epoch",
        "trigger_ids": "trigger_id",
    }
    tables = await connection.fetch(
        """SELECT relname::text FROM pg_class
           WHERE relkind IN ('r', 'p') AND NOT relispartition
             AND relnamespace = 'public'::regnamespace
             AND relname <> 'alembic_version'"""
    )
    values: dict[str, list[object]] = {}
    for (table,) in tables:
        for row in await connection.fetch(f"SELECT * FROM {table} ORDER BY 1, ctid"):
            for name, value in row.items():
                is_array = name in ("positions", "epochs", "trigger_ids")  # the job has one span
                values.setdefault(f"{table}.{renamed.get(name, name)}", []).append(
                    value[0] if is_array else value
                )
    return values


@pytest.mark.parametrize("start", revisions()[:-1])
async def test_data_of_every_revision_is_kept_upward_and_downward(
    empty_url: str, start: str
) -> None:
    await schema.migrate(empty_url, start)
    connection = await asyncpg.connect(empty_url)
    for statement in book_of(start):
        await connection.execute(statement)
    before = await stored(connection)
    assert len(before["portfolios.portfolio_id"]) == 2
    above = revisions()[revisions().index(start) + 1 :]
    for revision in [*above, *reversed(above[:-1]), start, schema.head()]:
        assert await schema.migrate(empty_url, revision) == revision
        now = await stored(connection)
        dropped = {"portfolios.portfolio_no"} if revision >= "0008" else set()
        if revision >= "0014":
            dropped |= {"position_history.epoch"}
        assert {name: now[name] for name in now if name in before} == {
            name: before[name] for name in before if name not in dropped
        }
        if revision == start:
            assert set(now) == set(before)
    if start >= "0002":
        numbers = """SELECT p.portfolio_id, c.calendar_id, b.currency FROM position_state p
                     JOIN calendars c USING (calendar_no)
                     JOIN currencies b ON b.currency_no = p.base_currency_no"""
        assert [tuple(row) for row in await connection.fetch(numbers)] == [("P", "KEPT", "CHF")]
        assert now["reprocessing_triggers.positions_invalidated"][-2:] == [3, 5]
        assert await connection.fetchval(
            "SELECT array_agg(DISTINCT position_id) FROM queued_positions"
        ) == [1]
    if start >= "0004":
        assert now["fenced_attempts.jobs_abandoned"] == [2]
    assert await schema.migrate(empty_url, "base") == "base"
    assert await connection.fetchval(OBJECTS) == 0
    assert await connection.fetchval(LEFT_OVER) == 0
    await connection.close()


async def test_a_position_has_the_numbers_of_its_portfolio_and_keeps_them(empty_url: str) -> None:
    await schema.migrate(empty_url)
    connection, other = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url)
    for statement in (
        "INSERT INTO calendars (calendar_id) VALUES ('OTHER'), ('CAL')",
        """INSERT INTO portfolios (portfolio_id, base_currency, calendar_id)
           VALUES ('P', 'CHF', 'CAL'), ('Q', 'CHF', 'CAL')""",
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           VALUES ('A', 'USD', 1)""",
    ):
        await connection.execute(statement)
    insert = """INSERT INTO position_state
                    (portfolio_id, security_id, calendar_no, base_currency_no)
                SELECT '{}', 'A', calendar_no, currency_no FROM calendars, currencies
                WHERE calendar_id = '{}' AND currency = '{}'"""
    for calendar, currency in (("OTHER", "CHF"), ("CAL", "EUR")):
        with pytest.raises(
            asyncpg.RestrictViolationError, match="position P / A is not that of its portfolio"
        ):
            await connection.execute(insert.format("P", calendar, currency))
    await connection.execute(insert.format("P", "CAL", "CHF"))
    for column in ("portfolio_id = 'Q'", "base_currency_no = 1", "calendar_no = 1"):
        with pytest.raises(asyncpg.RestrictViolationError, match="of a position cannot change"):
            await connection.execute(f"UPDATE position_state SET {column}")
    # A transaction that changes a portfolio while another inserts its first position waits for
    # that one, and is refused.
    writing = connection.transaction()
    await writing.start()
    await connection.execute(insert.format("Q", "CAL", "CHF"))
    changing = asyncio.create_task(
        other.execute("UPDATE portfolios SET base_currency = 'EUR' WHERE portfolio_id = 'Q'")
    )
    third = await asyncpg.connect(empty_url)
    blocked = "SELECT cardinality(pg_blocking_pids($1)) > 0"
    await until(lambda: third.fetchval(blocked, other.get_server_pid()), work=changing)
    await writing.commit()
    with pytest.raises(
        asyncpg.RestrictViolationError,
        match="base currency and calendar of portfolio Q cannot change",
    ):
        await changing
    for each in (connection, other, third):
        await each.close()


COPIES_OF_0013 = """
    SELECT position_id, epoch, position_date - DATE '2024-01-01', quantity::integer
    FROM position_history ORDER BY 1, 2, 3
"""
RECORDS_OF_0014 = """
    SELECT position_id, position_date - DATE '2024-01-01', valid_from_epoch, valid_to_epoch,
           quantity::integer
    FROM position_history ORDER BY 1, 2, 3
"""


def random_copies(choices: random.Random, positions: int) -> list[tuple[int, int, int, int]]:
    """Return position, epoch, day and quantity: each history is the last one with some changes."""
    copies = []
    for position in range(1, positions + 1):
        history: dict[int, int] = {}
        for epoch in sorted(choices.sample(range(8), choices.randint(1, 6))):
            for _ in range(choices.randint(0, 3)):
                history[choices.randrange(5)] = choices.randint(1, 2)
            if len(history) > 1 and choices.random() < 0.5:
                del history[choices.choice(list(history))]
            copies += [(position, epoch, d, q) for d, q in sorted(history.items())]
    return copies


def histories_of(copies: list[tuple[int, int, int, int]]) -> dict[int, dict[int, dict[int, int]]]:
    """Return the histories of each position by epoch."""
    found: dict[int, dict[int, dict[int, int]]] = {}
    for position, epoch, d, q in copies:
        found.setdefault(position, {}).setdefault(epoch, {})[d] = q
    return found


async def test_0014_makes_one_row_of_equal_copies_and_the_copies_of_it_again(
    empty_url: str,
) -> None:
    await schema.migrate(empty_url, "0013")
    connection = await asyncpg.connect(empty_url)
    copies = random_copies(random.Random(12), 60)
    histories = histories_of(copies)
    for statement in book_of("0001"):
        await connection.execute(statement)
    await connection.execute("SET revalue.loading_positions = on")
    await connection.execute(
        """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
           SELECT 'S' || n, 'USD', 1 FROM generate_series(1, 60) n"""
    )
    await connection.execute(
        """INSERT INTO position_state
               (portfolio_id, security_id, calendar_no, base_currency_no, epoch, history_epoch)
           SELECT 'P', 'S' || n, calendar_no, currency_no, 9, 0
           FROM generate_series(1, 60) n, calendars, currencies
           WHERE calendar_id = 'KEPT' AND currency = 'CHF' ORDER BY n"""
    )
    await connection.executemany(
        "INSERT INTO position_history VALUES ($1, $2, DATE '2024-01-01' + $3::int, $4, 1, 1)",
        copies,
    )
    await connection.execute(
        """UPDATE position_state p SET history_epoch = (
               SELECT COALESCE(max(epoch), 0) FROM position_history h
               WHERE h.position_id = p.position_id)"""
    )
    state = "SELECT position_id, epoch, history_epoch FROM position_state ORDER BY 1"
    before = [tuple(row) for row in await connection.fetch(state)]

    assert await schema.migrate(empty_url, "0014") == "0014"
    records = [tuple(row) for row in await connection.fetch(RECORDS_OF_0014)]
    for position, by_epoch in histories.items():
        mine = [record[1:] for record in records if record[0] == position]
        for epoch in range(10):
            past = [e for e in by_epoch if e <= epoch]
            assert {
                d: q for d, first, end, q in mine if first <= epoch and (end is None or epoch < end)
            } == (by_epoch[max(past)] if past else {}), (position, epoch)
        # A record that goes on is one row.
        ends = {(d, q, end) for d, _, end, q in mine}
        assert not ends & {(d, q, first) for d, first, _, q in mine}
    assert len(records) < len(copies) * 0.7

    assert await schema.migrate(empty_url, "0013") == "0013"
    # Equal copies of consecutive epochs are one history.
    distinct = [
        (position, epoch, d, q)
        for position, by_epoch in histories.items()
        for last, epoch in zip([None, *by_epoch], by_epoch, strict=False)
        if last is None or by_epoch[last] != by_epoch[epoch] or epoch == max(by_epoch)
        for d, q in sorted(by_epoch[epoch].items())
    ]
    assert [tuple(row) for row in await connection.fetch(COPIES_OF_0013)] == distinct
    assert [tuple(row) for row in await connection.fetch(state)] == before
    await connection.close()


async def test_0014_takes_back_records_that_began_under_a_later_epoch_than_the_history(
    empty_url: str,
) -> None:
    """An extension begins records under the present epoch, which a price may have raised."""
    await schema.migrate(empty_url, "0014")
    connection = await asyncpg.connect(empty_url)
    for statement in (
        *book_of("0001"),
        """INSERT INTO position_state (portfolio_id, security_id, calendar_no, base_currency_no,
                                       epoch, history_epoch)
           SELECT 'P', 'A', calendar_no, currency_no, 5, 1 FROM calendars, currencies
           WHERE calendar_id = 'KEPT' AND currency = 'CHF'""",
        "SET revalue.loading_positions = on",
        """INSERT INTO position_history VALUES
               (1, '2024-01-02', 0, 1, 5, 1, 1), (1, '2024-01-02', 1, NULL, 6, 1, 1),
               (1, '2024-01-09', 0, 3, 7, 1, 1), (1, '2024-01-08', 3, NULL, 8, 1, 1)""",
    ):
        await connection.execute(statement)
    records = [tuple(row) for row in await connection.fetch(RECORDS_OF_0014)]
    assert await schema.migrate(empty_url, "0013") == "0013"
    assert [tuple(row) for row in await connection.fetch(COPIES_OF_0013)] == [
        (1, 0, 1, 5), (1, 0, 8, 7), (1, 1, 1, 6), (1, 1, 8, 7), (1, 3, 1, 6), (1, 3, 7, 8),
    ]  # fmt: skip
    assert await connection.fetchval("SELECT history_epoch FROM position_state") == 3
    assert await schema.migrate(empty_url, "0014") == "0014"
    assert [tuple(row) for row in await connection.fetch(RECORDS_OF_0014)] == records
    await connection.close()


async def test_0023_keeps_the_snapshots_of_every_month_and_of_days_that_were_closed(
    empty_url: str,
) -> None:
    await schema.migrate(empty_url, "0022")
    connection = await asyncpg.connect(empty_url)
    for statement in book_of("0022"):
        await connection.execute(statement)
    await connection.execute(
        """INSERT INTO daily_position_snapshots
           SELECT n % 3 + 2, 7, DATE '2024-01-02' + 20 * n, n % 2, NULL, NULL, NULL, 0, 5, 40, 36,
                  10, 0.9, 50, 45, 10, n
           FROM generate_series(1, 12) n"""
    )
    rows = "SELECT * FROM daily_position_snapshots ORDER BY date, position_id, epoch"
    before = await connection.fetch(rows)
    assert len(before) == 13
    for revision in ("0023", "0022", "0023"):
        assert await schema.migrate(empty_url, revision) == revision
        assert await connection.fetch(rows) == before
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(
                "INSERT INTO daily_position_snapshots SELECT * FROM daily_position_snapshots"
            )
        assert await connection.fetchval("SELECT to_regclass('former_snapshots')") is None
    months = "SELECT count(*), min(first_date)::text, max(end_date)::text FROM snapshot_partitions"
    assert tuple(await connection.fetchrow(months)) == (8, "2024-01-01", "2024-09-01")
    await connection.close()


OUT_OF_BOUNDS = (
    (
        "INSERT INTO market_prices VALUES ('A', '20000-01-01', 1, 'USD', 'PER_UNIT')",
        "market_prices: price of A on 20000-01-01",
        "DELETE FROM market_prices WHERE price_date > '2200-12-31'",
    ),
    (
        "INSERT INTO fx_rates SELECT 'EUR', 'CHF', date '1800-01-01' + n, 1 "
        "FROM generate_series(0, 6) n",
        "fx_rates: rate EUR/CHF on 1800-01-01, rate EUR/CHF on 1800-01-02, "
        "rate EUR/CHF on 1800-01-03, rate EUR/CHF on 1800-01-04, rate EUR/CHF on 1800-01-05 "
        "and 2 more",
        "DELETE FROM fx_rates WHERE rate_date < '1900-01-01'",
    ),
    (
        "INSERT INTO position_history VALUES (1, 1, '0024-01-02', 1, 1, 1)",
        "position_history: record of P / A on 0024-01-02",
        "DELETE FROM position_history WHERE position_date < '1900-01-01'",
    ),
    (
        "UPDATE instruments SET contract_multiplier = 'NaN'",
        "instruments: multiplier NaN of A",
        "UPDATE instruments SET contract_multiplier = NULL",
    ),
    (
        """INSERT INTO daily_position_snapshots
           VALUES (1, 7, '2262-01-02', 0, '2024-01-02', NULL, NULL, 0, 5, 40, 36, 10, 0.9,
                   50, 45, 10, 9);
           INSERT INTO business_dates (calendar_id, business_date) VALUES ('KEPT', '2262-01-02')""",
        "business_dates: 2262-01-02 of calendar KEPT, on which positions are valued",
        "DELETE FROM daily_position_snapshots WHERE date > '2200-12-31'",
    ),
)
"""Statements that the schema of 0008 accepts, how 0009 names their rows, and what removes them."""


async def test_0009_names_the_rows_that_are_out_of_bounds_and_changes_nothing(
    empty_url: str,
) -> None:
    await schema.migrate(empty_url, "0008")
    connection = await asyncpg.connect(empty_url)
    for statement in book_of("0008"):
        await connection.execute(statement)
    for insert, named, remove in OUT_OF_BOUNDS:
        await connection.execute(insert)
        with pytest.raises(CorrectionRefusedError, match=re.escape(named)) as refused:
            await schema.migrate(empty_url)
        assert "1900-01-01 to 2200-12-31" in str(refused.value)
        assert await schema.current_revision(empty_url) == "0008"
        await connection.execute(remove)
    assert await schema.migrate(empty_url, "0009") == "0009"
    await connection.close()


async def test_0009_removes_business_dates_out_of_bounds_on_which_nothing_is_valued(
    empty_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At 0008 such a date ends every scheduler, and cannot be deleted once it is scheduled."""
    await schema.migrate(empty_url, "0008")
    connection = await asyncpg.connect(empty_url)
    for statement in (
        *book_of("0008"),
        """INSERT INTO business_dates (calendar_id, business_date)
           VALUES ('KEPT', '20240-03-01'), ('KEPT', '0024-03-01'), ('OTHER', 'infinity')""",
        """UPDATE position_state SET frontier_date = '20240-03-01', published_epoch = 1,
               pending = '{[2024-01-03,2024-01-04),[20240-03-01,20240-03-02)}'""",
    ):
        await connection.execute(statement)
    revisions = "SELECT sum(revision) FROM calendars"
    before = await connection.fetchval(revisions)
    logging.getLogger("revalue").propagate = True
    assert await schema.migrate(empty_url, "0009") == "0009"
    assert "20240-03-01 of calendar KEPT" in caplog.text
    assert await connection.fetchval(revisions) == before + 2
    assert await connection.fetchval("SELECT count(*) FROM business_dates") == 2
    state = await connection.fetchrow(
        """SELECT epoch, published_epoch, frontier_date::text, pending::text, at IS NOT NULL
           FROM position_state JOIN moments ON moment_id = stale_moment"""
    )
    assert tuple(state) == (2, 1, "2024-01-03", "{[2024-01-03,2024-01-04)}", True)
    await connection.close()


async def test_0011_names_the_quotation_units_that_are_no_power_of_ten(empty_url: str) -> None:
    await schema.migrate(empty_url, "0010")
    connection = await asyncpg.connect(empty_url)
    await connection.execute(
        """INSERT INTO currencies (currency, major_currency, units_per_major)
           VALUES ('MRk', 'MRU', 5), ('KWf', 'KWD', 1000)"""
    )
    with pytest.raises(CorrectionRefusedError, match=r"units are in the way.*: MRk is 1/5 MRU"):
        await schema.migrate(empty_url)
    assert await schema.current_revision(empty_url) == "0010"
    await connection.execute("DELETE FROM currencies WHERE currency = 'MRk'")
    assert await schema.migrate(empty_url, "0011") == "0011"
    await connection.close()


async def test_0015_names_ids_of_more_than_200_characters_and_refuses_new_ones(
    empty_url: str,
) -> None:
    await schema.migrate(empty_url, "0014")
    connection = await asyncpg.connect(empty_url)
    insert = """INSERT INTO instruments (security_id, currency, max_price_age_sessions)
                VALUES (repeat($1, $2), 'USD', 3)"""
    await connection.execute(insert, "Ä", 200)
    await connection.execute(insert, "L", 201)
    with pytest.raises(CorrectionRefusedError, match=r"security of 201 characters \(L{20}\.\.\."):
        await schema.migrate(empty_url)
    assert await schema.current_revision(empty_url) == "0014"
    await connection.execute("DELETE FROM instruments WHERE security_id LIKE 'L%'")
    await schema.migrate(empty_url)
    with pytest.raises(asyncpg.CheckViolationError, match="security_id_of_at_most_200_characters"):
        await connection.execute(insert, "L", 201)
    await connection.close()


async def test_another_schema_is_refused_with_what_to_do(empty_url: str) -> None:
    with pytest.raises(SchemaVersionError, match="revalue migrate"):
        await schema.require_head(empty_url)
    await schema.migrate(empty_url, "0001")
    with pytest.raises(SchemaVersionError, match="0001"):
        await schema.require_head(empty_url)


SEEN_AT = """
    SELECT k.portfolio_id, k.security_id, k.published_epoch, k.reprocessing_status, s.date, s.epoch,
           s.price, s.market_value
    FROM positions_at($1) k
    JOIN snapshots_at($1) s USING (position_id)
    WHERE s.epoch <= k.published_epoch AND s.date <@ k.open_dates AND NOT s.date <@ k.hidden
    ORDER BY 1, 2, 5, 6
"""
JOBS_OF_ROWS = """
    SELECT s.position_id, s.date, s.epoch, j.status::text, j.first_date, j.last_date, j.{epoch}
    FROM daily_position_snapshots s JOIN {jobs} j
      ON j.job_id = s.job_id AND j.position_id = s.position_id
     AND s.date BETWEEN j.first_date AND j.last_date
    ORDER BY 1, 2, 3
"""


async def test_0024_gives_each_position_its_job_again_and_the_past_stays(
    url: str, database: Database
) -> None:
    """Corrections that whole jobs published, one that is not valued yet, and jobs with holes."""
    await load_small_book(database, portfolios=3)
    async with engine(url) as running:
        await running.settle()
        for day, price in ((DAYS[2], 7), (DAYS[6], 8)):
            await execute(
                database, "UPDATE market_prices SET price = $1 WHERE price_date = $2", price, day
            )
            await running.settle()
        await execute(database, "DELETE FROM market_prices WHERE price_date >= $1", DAYS[3])
        await running.settle()
        await execute(database, "UPDATE market_prices SET price = 9 WHERE price_date = $1", DAYS[0])
        while await fan_out.fan_out(running.term):
            pass
    assert await fetch(
        database, "SELECT count(*) FROM portfolio_valuation_jobs WHERE published_moment > 0"
    ) >= [(2,)]
    moments = [at for (at,) in await fetch(database, "SELECT at FROM moments ORDER BY 1")]

    async def seen() -> list[object]:
        return [await fetch(database, SEEN_AT, at) for at in moments]

    before = await seen()
    assert before[0] != before[-1]
    rows = await fetch(database, JOBS_OF_ROWS.format(jobs="job_spans", epoch="epoch"))
    assert len(rows) == await stored_rows(database)
    await schema.migrate(url, "0023")
    assert await seen() == before
    assert (
        await fetch(database, JOBS_OF_ROWS.format(jobs="portfolio_valuation_jobs", epoch="epoch"))
        == rows
    )
    written = """SELECT j.job_id FROM portfolio_valuation_jobs j
                 LEFT JOIN daily_position_snapshots s USING (job_id)
                 GROUP BY 1 HAVING count(s) <> COALESCE(min(j.rows_written), 0)"""
    assert await fetch(database, written) == []
    await schema.migrate(url)
    assert await seen() == before
    assert await fetch(database, JOBS_OF_ROWS.format(jobs="job_spans", epoch="epoch")) == rows
    async with engine(url, holder="next") as running:
        await running.settle()
    async with database.connection() as connection:
        assert await broken_invariants(connection) == []


async def stored_rows(database: Database) -> int:
    ((count,),) = await fetch(database, "SELECT count(*) FROM daily_position_snapshots")
    return int(count)


async def test_0028_keeps_rights_and_owner_and_names_views_of_others(empty_url: str) -> None:
    """The table is made anew: what somebody has granted by hand would be gone without a word."""
    await schema.migrate(empty_url, "0027")
    connection = await asyncpg.connect(empty_url)
    roles = [f"report_{secrets.token_hex(4)}", f"owner_{secrets.token_hex(4)}"]
    reader, owner = roles
    try:
        for role in roles:
            await connection.execute(f'CREATE ROLE "{role}"')
        await connection.execute(f'ALTER TABLE position_state OWNER TO "{owner}"')
        await connection.execute(
            f'GRANT SELECT ON position_state TO "{reader}" WITH GRANT OPTION; '
            "GRANT SELECT ON position_state TO PUBLIC"
        )
        await connection.execute("CREATE VIEW my_report AS SELECT epoch FROM position_state")
        with pytest.raises(CorrectionRefusedError, match="other views read it: my_report") as told:
            await schema.migrate(empty_url, "0028")
        assert "Drop them" in str(told.value)
        await connection.execute("DROP VIEW my_report")
        rights = """SELECT a.grantee::regrole::text, a.privilege_type, a.is_grantable
                    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
                    WHERE c.relname = 'position_state' ORDER BY 1, 2, 3"""
        before = await connection.fetch(rights)
        for revision in ("0028", "0027"):
            await schema.migrate(empty_url, revision)
            assert await connection.fetch(rights) == before
            assert (
                await connection.fetchval(
                    "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'position_state'"
                )
                == owner
            )
    finally:
        await connection.execute(
            f"DROP VIEW IF EXISTS my_report; ALTER TABLE position_state OWNER TO CURRENT_USER; "
            f'DROP OWNED BY "{reader}", "{owner}"'
        )
        for role in roles:
            await connection.execute(f'DROP ROLE IF EXISTS "{role}"')
        await connection.close()
