"""Position records are stored once, valid from an epoch to an epoch; equal ones change nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revalue.console.reference.reference import compare, read_book
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import LoadResult, load
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.open_transaction import OpenTransaction
from tests.support import (
    DAYS,
    engine,
    execute,
    facts,
    fetch,
    load_small_book,
    open_days,
    prices,
    state_of,
    weekdays,
)

Record = tuple[int, int, int]
"""Quantity, local cost basis and cost basis."""

History = dict[int, Record]
"""The records of a position by day number."""

NOTHING = (0, 0, 0)
FIRST = date(2024, 1, 1)
DAYS_OF_RECORDS, END = 12, 15  # the last day stands for all days after it


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


async def test_a_daily_file_adds_a_row_per_position_and_restates_only_what_it_changes(
    url: str, database: Database
) -> None:
    """In the order of docs/own-data.md: the day is opened and valued, then its file is loaded."""
    await load_small_book(database, portfolios=1)
    new_days = weekdays(DAYS[-1] + timedelta(days=3), 15)
    async with engine(url) as running:
        for number, today in enumerate(new_days, start=1):
            for security in ("A", "B"):
                await load(database, Kind.PRICES, prices(security, {today: f"{60 + number}"}))
            await open_days(database, [today])
            await running.settle()
            # A changes every day, B never does.
            held = {"A": f"{10 + number}", "B": "7"}
            file = pl.concat([facts("P1", s, {today: held[s]}) for s in held])
            loaded = await load(database, Kind.POSITIONS, file)
            assert (loaded.inserted, loaded.positions_corrected, loaded.positions_extended) == (
                (2, 1, 0)
            )
            assert (await load(database, Kind.POSITIONS, file)).unchanged == 2
            await running.settle()
    assert await fetch(
        database,
        """SELECT security_id, epoch, published_epoch, count(*)
           FROM position_state JOIN position_history USING (position_id)
           GROUP BY position_id ORDER BY 1""",
    ) == [("A", 15, 15, 17), ("B", 0, 0, 17)]
    assert await fetch(
        database,
        """SELECT security_id, count(*)
           FROM position_state JOIN daily_position_snapshots USING (position_id)
           GROUP BY security_id ORDER BY 1""",
    ) == [("A", len(DAYS) + 15 + 15), ("B", len(DAYS) + 15)]
    async with database.connection() as connection:
        found = await compare(connection, await read_book(connection))
    assert found.agrees, "\n".join(found.examples)
    assert found.rows_compared == 2 * (len(DAYS) + 15)


async def test_a_record_that_repeats_the_one_in_force_keeps_what_was_stated_for_its_day(
    database: Database,
) -> None:
    await load_small_book(database, portfolios=1)
    await execute(database, "UPDATE position_state SET frontier_date = $1", DAYS[-1])
    await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[0]: "5"}), replace=True)
    before = await state_of(database, "P1", "A")
    repeated = await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[10]: "5"}))
    assert (repeated.inserted, repeated.positions_corrected, repeated.trigger_id) == (1, 0, None)
    assert await state_of(database, "P1", "A") == before
    corrected = await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[2]: "8"}))
    assert await fetch(
        database,
        "SELECT kind, dates::text FROM reprocessing_triggers WHERE trigger_id = $1",
        corrected.trigger_id,
    ) == [("POSITION", f"{{[{DAYS[2]},{DAYS[10]})}}")]
    # Without the record of the tenth day, the correction reaches it too.
    removed = await load(database, Kind.POSITIONS, facts("P1", "A", {DAYS[2]: "8"}), replace=True)
    assert (removed.removed, removed.positions_corrected) == (1, 1)


async def records_read_by_a_load(database: Database, records: int) -> int:
    """Load a record of a new day for each of 20 positions with a long history."""
    held = {f"S{n}": {day(d): f"{1 + d % 7}" for d in range(records)} for n in range(20)}
    ids = list(held)
    await load(
        database,
        Kind.INSTRUMENTS,
        pl.DataFrame(
            {"security_id": ids, "currency": ["USD"] * 20, "max_price_age_sessions": [3] * 20}
        ),
    )
    await load(
        database, Kind.POSITIONS, pl.concat([facts("P1", s, rows) for s, rows in held.items()])
    )
    await execute(database, "UPDATE position_state SET frontier_date = $1", day(records + 5))
    await execute(database, "ANALYZE")
    file = pl.concat([facts("P1", s, {day(records): "99"}) for s in ids])
    async with database.transaction() as connection:
        loaded = await load(OpenTransaction(connection), Kind.POSITIONS, file)
        read: int = await connection.fetchval(
            """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
               WHERE relname = 'position_history'"""
        )
    assert loaded.positions_corrected == 20
    return read


@pytest.mark.parametrize("records", [100, 400])
async def test_a_load_reads_no_more_of_a_long_history(database: Database, records: int) -> None:
    await load_small_book(database, portfolios=1)
    assert await records_read_by_a_load(database, records) <= 2 * 20


# Random loads against a plain history per epoch


@dataclass
class Reference:
    """A position by the rules of docs/own-data.md: a whole history for every epoch."""

    histories: dict[int, History] = field(default_factory=lambda: {0: {}})
    epoch: int = 0
    frontier: int = -1

    @property
    def present(self) -> History:
        return self.histories[self.epoch]

    def raise_epoch(self) -> None:
        self.histories[self.epoch + 1] = self.present
        self.epoch += 1

    def load(self, records: Mapping[int, Record], replace: bool) -> None:
        first = min(records)
        kept = {d: r for d, r in self.present.items() if d < first or not replace}
        new = {**kept, **records}
        changed = [d for d in range(END) if in_force(self.present, d) != in_force(new, d)]
        if changed and changed[0] <= self.frontier:
            self.epoch += 1
        self.histories[self.epoch] = new


def in_force(history: History, at: int) -> Record:
    known = [d for d in history if d <= at]
    return history[max(known)] if known else NOTHING


def days_open(history: History) -> set[int]:
    """The days with a quantity, and those on which it becomes 0."""
    quantities = [0, *(in_force(history, d)[0] for d in range(END))]
    return {d for d in range(END) if quantities[d + 1] or quantities[d]}


loaded_records = st.dictionaries(
    st.integers(0, DAYS_OF_RECORDS - 1),
    st.sampled_from([(5, 50, 45), (5, 51, 45), (8, 80, 70), NOTHING, NOTHING]),
    min_size=1,
    max_size=4,
)
frontiers = st.integers(-1, END - 2)
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("load"),
            st.dictionaries(st.sampled_from("AB"), loaded_records, min_size=1),
            st.booleans(),
        ),
        st.tuples(st.just("load"), st.dictionaries(st.just("A"), loaded_records, min_size=1)),
        st.tuples(st.just("move the frontier"), frontiers),
        st.tuples(st.just("raise the epoch")),
    ),
    min_size=1,
    max_size=12,
)
portfolios = count(1)


async def move_frontier(database: Database, portfolio: str, frontier: int) -> None:
    at = day(frontier) if frontier >= 0 else None
    await execute(
        database,
        """UPDATE position_state
           SET frontier_date = $1::date, staged_epoch = epoch,
               pending = pending
                   * datemultirange(daterange(NULL, COALESCE($1::date, '-infinity'), '(]'))
           WHERE portfolio_id = $2""",
        at,
        portfolio,
    )


async def raise_epoch(database: Database, portfolio: str) -> None:
    """As the fan-out of a price does."""
    await execute(
        database,
        """UPDATE position_state SET epoch = epoch + 1, revision = revision + 1
           WHERE portfolio_id = $1""",
        portfolio,
    )


async def load_records(
    database: Database, portfolio: str, given_records: dict[str, History], replace: bool
) -> LoadResult:
    rows = [
        (portfolio, security, day(d), *(str(value) for value in record))
        for security, records in given_records.items()
        for d, record in records.items()
    ]
    columns = "portfolio_id security_id position_date quantity cost_basis_local cost_basis".split()
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    loaded = await load(database, Kind.POSITIONS, frame, replace=replace)
    again = await load(database, Kind.POSITIONS, frame, replace=replace)
    assert (again.inserted, again.changed, again.removed, again.trigger_id) == (0, 0, 0, None)
    return loaded


async def check(database: Database, portfolio: str, security: str, wanted: Reference) -> int:
    """Compare the histories under all epochs, and the open dates; return the rows stored."""
    state = await state_of(database, portfolio, security)
    assert state["epoch"] == wanted.epoch
    rows = await fetch(
        database,
        """SELECT position_date - $2::date, valid_from_epoch, valid_to_epoch,
                  quantity::integer, cost_basis_local::integer, cost_basis::integer
           FROM position_history WHERE position_id = $1""",
        state["position_id"],
        FIRST,
    )
    for epoch in range(wanted.epoch + 1):
        valid = [
            (d, record)
            for d, first, end, *record in rows
            if first <= epoch and (end is None or epoch < end)
        ]
        assert len(valid) == len(dict(valid)), f"two records of one date under epoch {epoch}"
        assert {d: tuple(record) for d, record in valid} == wanted.histories[epoch], epoch
    opens = {
        d
        for d in range(END)
        for span in state["open_dates"]
        if span.lower <= day(d) and (span.upper is None or day(d) < span.upper)
    }
    assert opens == days_open(wanted.present)
    return len(rows)


@pytest.mark.slow
@settings(max_examples=25)
@given(steps)
async def test_histories_under_all_epochs_follow_any_loads(
    database: Database,
    sequence: list[tuple],  # type: ignore[type-arg]
) -> None:
    portfolio = f"R{next(portfolios)}"
    if portfolio == "R1":
        await load_small_book(database, portfolios=1)
    new = {"portfolio_id": [portfolio], "base_currency": ["USD"], "calendar_id": ["CAL"]}
    await load(database, Kind.PORTFOLIOS, pl.DataFrame(new))
    both = {"A": Reference(), "B": Reference()}
    begun = 0
    first: History = {4: (8, 80, 70)}
    for name, *arguments in (("load", {"A": first, "B": first}, False), *sequence):
        match name, arguments:
            case "load", [given_records, *rest]:
                replace = any(rest)  # the loads of A alone never do
                before = {s: (r.epoch, r.present) for s, r in both.items()}
                for security, records in given_records.items():
                    both[security].load(records, replace)
                loaded = await load_records(database, portfolio, given_records, replace)
                begun += loaded.inserted + loaded.changed
                raised = [s for s, r in both.items() if r.epoch != before[s][0]]
                assert loaded.positions_corrected == len(raised)
                assert (loaded.trigger_id is not None) == bool(raised)
            case "move the frontier", [frontier]:
                await move_frontier(database, portfolio, frontier)
                if frontier < both["A"].frontier:  # a day that was opened is closed again
                    await raise_epoch(database, portfolio)
                    for reference in both.values():
                        reference.raise_epoch()
                for reference in both.values():
                    reference.frontier = frontier
            case _:
                await raise_epoch(database, portfolio)
                for reference in both.values():
                    reference.raise_epoch()
        stored = [await check(database, portfolio, s, reference) for s, reference in both.items()]
        assert sum(stored) <= begun, "rows were copied"
