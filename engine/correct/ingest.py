"""Load files and frames: validate all rows, then write all of them in one transaction.

An input of any size takes little memory here: it is read and parsed in batches, and sorted by its
key. There are two ways from there into the tables:

* New prices and new positions go straight into their tables (`new_prices`, `new_positions`).
* All else goes into the temporary table `incoming`. What concerns all rows, and what is stored, is
  checked and written by the database. So are prices and positions too if anything is in the way of
  the first one, such as a row that breaks a rule: every problem is said at once.
"""

import asyncio
from collections.abc import Iterator, Set
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from revalue.engine.correct import authors, loads, new_positions, new_prices, snapshots, upserts
from revalue.engine.correct.incoming import Incoming, InTheWayError
from revalue.engine.correct.load_progress import OnProgress, Progress
from revalue.engine.correct.parsing import Column, parse_columns
from revalue.engine.correct.position_records import PositionRecord
from revalue.engine.correct.problems import (
    SHOWN_ROWS,
    InputProblem,
    ProblemKind,
    Problems,
    RejectedInputError,
    find,
)
from revalue.engine.correct.sorted_rows import SortedRows
from revalue.engine.correct.sources import Input, Source, read
from revalue.engine.errors import (
    CorrectionRefusedError,
    DataFaultError,
    InvalidInputError,
    UsageError,
)
from revalue.engine.postgres.ahead import ahead
from revalue.engine.postgres.database import Connections, OpenTransaction
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


class Kind(StrEnum):
    """What can be loaded. Load in this order: each kind refers to those before it."""

    BUSINESS_DATES = "business_dates"
    PORTFOLIOS = "portfolios"
    INSTRUMENTS = "instruments"
    FX_RATES = "fx_rates"
    PRICES = "prices"
    POSITIONS = "positions"


@dataclass(frozen=True)
class LoadResult:
    """What a load has done.

    Attributes:
        kind: what was loaded.
        rows: rows of the input.
        inserted: rows that were new.
        changed: rows that replaced another value.
        unchanged: rows that are stored as they are given.
        removed: position records that the load removed; none unless it was asked to replace.
        positions_corrected: positions for which another record is in force now on a date at or
            before their frontier, the last scheduled date: they are invalidated.
        positions_extended: positions for which this is so after their frontier only. A record that
            repeats the one in force is stored, and its position is neither.
        trigger_id: the trigger that records the corrections of positions; None: there are none.
        removed_records: the removed records, by portfolio, security and date.
        closed: positions that a snapshot leaves out, and that the load closed. Their closing
            records are in no other number of records.
        closed_records: what was held of these, by portfolio and security: the records that were in
            force on the date of the snapshot.
        closed_on: the date of the snapshot; None: the load was none.
        load_id: under which number the load is recorded (loads.py); None: it is not.
    """

    kind: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    removed: int = 0
    positions_corrected: int = 0
    positions_extended: int = 0
    trigger_id: int | None = None
    removed_records: tuple[PositionRecord, ...] = ()
    closed: int = 0
    closed_records: tuple[PositionRecord, ...] = ()
    closed_on: date | None = None
    load_id: int | None = None


_CURRENCY = Column("currency", "text")
COLUMNS: dict[Kind, tuple[Column, ...]] = {
    Kind.BUSINESS_DATES: (
        Column("calendar_id", "text", is_defined=True),
        Column("business_date", "date"),
    ),
    Kind.PORTFOLIOS: (
        Column("portfolio_id", "text", is_defined=True),
        Column("base_currency", "text"),
        Column("calendar_id", "text"),
    ),
    Kind.INSTRUMENTS: (
        Column("security_id", "text", is_defined=True),
        _CURRENCY,
        Column("contract_multiplier", "decimal", digits=12, places=6, required=False),
        Column("max_price_age_sessions", "integer"),
        Column("move_limit_percent", "decimal", digits=6, places=4, required=False),
    ),
    Kind.FX_RATES: (
        Column("base_currency", "text"),
        Column("quote_currency", "text"),
        Column("rate_date", "date"),
        Column("rate", "decimal", digits=10, places=18),
    ),
    Kind.PRICES: (
        Column("security_id", "text"),
        Column("price_date", "date"),
        Column("price", "decimal"),
        _CURRENCY,
        Column("quote_basis", "text"),
    ),
    Kind.POSITIONS: (
        Column("portfolio_id", "text"),
        Column("security_id", "text"),
        Column("position_date", "date"),
        Column("quantity", "decimal"),
        Column("cost_basis_local", "decimal"),
        Column("cost_basis", "decimal"),
    ),
}
"""The columns of each kind. Decimals may be given as decimals, whole numbers, text, or floats. A
float is taken as the shortest decimal that reads back as the same float."""

_KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.BUSINESS_DATES: ("calendar_id", "business_date"),
    Kind.PORTFOLIOS: ("portfolio_id",),
    Kind.INSTRUMENTS: ("security_id",),
    Kind.FX_RATES: ("base_currency", "quote_currency", "rate_date"),
    Kind.PRICES: ("security_id", "price_date"),
    Kind.POSITIONS: ("portfolio_id", "security_id", "position_date"),
}
_ORDER: dict[Kind, tuple[str, ...]] = {
    Kind.POSITIONS: ("security_id", "portfolio_id", "position_date"),
}
"""In which order rows are written, if it is not that of the key. The holders of a security are
neighbours, on disk and in a task."""

_POSITIVE = {Kind.FX_RATES: "rate", Kind.PRICES: "price", Kind.INSTRUMENTS: "contract_multiplier"}
_KEPT = {"contract_multiplier": "keep_multipliers", "move_limit_percent": "keep_move_limits"}
"""The columns of instruments that a file may leave out, and what then keeps what is stored."""

_QUOTE_BASES = ("PER_UNIT", "PERCENT_OF_PAR", "PER_CONTRACT")


async def load(
    database: Connections,
    kind: Kind | str,
    source: Input,
    *,
    replace: bool = False,
    snapshot: bool = False,
    may_close: Set[tuple[str, str]] | None = None,
    must_exist: bool = False,
    allow_empty: bool = False,
    is_recorded: bool = True,
    on_progress: OnProgress | None = None,
) -> LoadResult:
    """Validate and load an input with the columns of COLUMNS[kind].

    Position records are absolute and dated: a record replaces one of the same date, and all others
    of the position stay. Loading the same input again changes nothing. A column that the input
    does not have, and need not have, stays as it is stored.

    Args:
        database: where to load.
        kind: what the input is.
        source: a file name, a polars frame, an Arrow table, or what `read` returned.
        replace: of positions: replace the history of each position from the earliest date that the
            input gives for it: later records that it does not give are removed.
        snapshot: of positions: the input is all that its portfolios hold on its one date. What they
            hold besides is closed on it, by a record with quantity 0.
        may_close: the portfolios and securities that a snapshot may close; None: any.
        must_exist: a price or rate that is not stored yet is a problem.
        allow_empty: a file without rows is no error. A frame or table may always have none.
        is_recorded: record who has loaded what; a correction of one position is no load.
        on_progress: called with the progress, also from another thread.

    Raises:
        UsageError: there is no such kind, or `replace` or `snapshot` does not go with it.
        InvalidInputError: the input cannot be read, a file has no rows, rows break a rule
            (RejectedInputError, with .problems), or it is no snapshot.
        CorrectionRefusedError: the database refuses the change, or `may_close` does.
        TransientError: the database is unavailable or busy.
        In each case nothing is written.
    """
    kind = known_kind(kind)
    require_mode(kind, replace=replace, snapshot=snapshot)
    given = read(source)
    progress = Progress(on_progress)
    batches = _Batches(kind, given, progress)
    with SortedRows(_ORDER.get(kind) or _KEYS[kind]) as rows:
        async with aclosing(ahead(iter(batches))) as frames:
            async for frame in frames:
                await asyncio.to_thread(rows.add, frame)
        if not (batches.rows or allow_empty or snapshot or batches.problems.listed(0)):
            _require_rows(given, is_correction=must_exist)
        counts: dict[str, Any] | None = None
        # What is in the way is seen after rows were written, so that they have to be rolled back.
        is_compared = must_exist or snapshot or isinstance(database, OpenTransaction)
        if not is_compared and not batches.problems.listed(0):
            counts = await _write_straight(database, kind, given, rows, replace, progress)
        if counts is None:
            async with (
                database.transaction() as connection,
                Incoming(connection, COLUMNS[kind]) as incoming,
            ):
                if is_recorded:
                    await loads.keep_replaced(connection)
                    await authors.sign(connection, authors.local_author())
                await incoming.copy(_with_repeated_keys(kind, rows))
                await incoming.analyze()
                if kind is Kind.INSTRUMENTS:
                    for column, statement in _KEPT.items():
                        if column not in given.columns:
                            await sql(statement).execute(connection)
                await _check(connection, kind, given, batches, must_exist, progress)
                progress.next("writing", batches.rows)
                if kind is Kind.POSITIONS:
                    counts = await _write_positions(
                        connection,
                        given.place,
                        replace=replace,
                        snapshot=snapshot,
                        may_close=may_close,
                    )
                else:
                    counts = await upserts.upsert(
                        connection, kind.value, batches.rows, lambda done: progress.at(done, done)
                    )
                if is_recorded:
                    load_id = await loads.record(
                        connection, kind, given.place, batches.rows, counts
                    )
                    counts = {**counts, "load_id": load_id}
                progress.next("committing", 0)
    done: dict[str, Any] = dict(counts)
    done["removed_records"] = tuple(
        PositionRecord(**record) for record in done.get("removed_records", ())
    )
    return LoadResult(kind.value, batches.rows, **done)


def _require_rows(given: Source, *, is_correction: bool) -> None:
    """Refuse a file without rows.

    Raises:
        InvalidInputError: it is one.
    """
    if given.is_file:
        advice = ""
        if not is_correction:
            advice = (
                ". A feed that has failed leaves such a file. If there is nothing to load, say so "
                "by --allow-empty (in Python allow_empty=True)"
            )
        raise InvalidInputError(f"{given.place} names its columns and has no rows{advice}")


def known_kind(kind: Kind | str) -> Kind:
    """Return the kind of this name.

    Raises:
        UsageError: there is none.
    """
    if kind not in list(Kind):
        raise UsageError(f"{kind!r} cannot be loaded: give one of {', '.join(Kind)}")
    return Kind(kind)


def require_mode(kind: Kind, *, replace: bool, snapshot: bool) -> None:
    """Refuse what does not go together, before anything is read.

    Raises:
        UsageError: `replace` or `snapshot` does not go with the kind, or with the other.
    """
    if replace and kind is not Kind.POSITIONS:
        raise UsageError(f"{kind.value} have no histories to replace: only positions have")
    if snapshot and kind is not Kind.POSITIONS:
        raise UsageError(f"{kind.value} are not held: only positions can be a snapshot")
    if snapshot and replace:
        raise UsageError("a snapshot is of one date, so it replaces no histories: choose one")


async def _write_straight(
    database: Connections,
    kind: Kind,
    given: Source,
    rows: SortedRows,
    replace: bool,
    progress: Progress,
) -> dict[str, Any] | None:
    """Write what is new straight into the tables; None: something was in the way, and nothing is
    written."""
    if kind not in (Kind.PRICES, Kind.POSITIONS):
        return None
    progress.next("checking", rows.rows)

    def on_rows(done: int) -> None:
        progress.at(done, done)

    try:
        async with database.transaction() as connection:
            await authors.sign(connection, authors.local_author())
            incoming = Incoming(connection, COLUMNS[kind])
            await loads.keep_replaced(connection)
            progress.next("writing", rows.rows)
            if kind is Kind.PRICES:
                counts = await new_prices.write(connection, rows, incoming, on_rows)
            else:
                counts = await new_positions.write(
                    connection, rows, incoming, on_rows, replace=replace
                )
            load_id = await loads.record(connection, kind, given.place, rows.rows, counts)
            progress.next("committing", 0)
    except (InTheWayError, DataFaultError, CorrectionRefusedError):
        return None
    return {**counts, "load_id": load_id}


async def _check(
    connection: Connection,
    kind: Kind,
    given: Source,
    batches: "_Batches",
    must_exist: bool,
    progress: Progress,
) -> None:
    """Check the rows of `incoming`.

    Raises:
        RejectedInputError: rows break rules.
    """
    progress.next("checking", batches.rows)
    batches.problems.add(await _repeated_keys(connection, kind))
    first_line, unit = given.numbering()
    problems = batches.problems.listed(first_line)
    problems += await _stored_data_problems(connection, kind, first_line, must_exist)
    if problems:
        raise RejectedInputError(given.place, batches.rows, unit, problems)


async def _write_positions(
    connection: Connection,
    place: str,
    *,
    replace: bool,
    snapshot: bool,
    may_close: Set[tuple[str, str]] | None,
) -> dict[str, Any]:
    day: date | None = None
    closed: tuple[PositionRecord, ...] = ()
    if snapshot:
        day, closed = await snapshots.close_left_out(connection, place, may_close)
    counts = await upserts.write_histories(connection, replace=replace)
    # The other counts are of the rows that were given.
    ended = sum(record.position_date == day for record in closed)
    counts["changed"] -= ended
    counts["inserted"] -= len(closed) - ended
    return {
        **counts,
        "closed": len(closed),
        "closed_records": closed,
        "closed_on": day,
    }


class _Batches:
    """Reads and parses an input in batches.

    Attributes:
        rows: how many rows were read.
        problems: the rules that they break, of those that need no other rows.
    """

    def __init__(self, kind: Kind, source: Source, progress: Progress) -> None:
        self._kind = kind
        self._source = source
        self._progress = progress
        self.rows = 0
        self.problems = Problems()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield the typed columns, with the number of each row in the input."""
        self._progress.next("reading", self._source.size)
        for given, read_so_far in self._source.batches():
            frame, problems = parse_columns(given, COLUMNS[self._kind])
            self.problems.add(problems, self.rows)
            self.problems.add(_rule_problems(self._kind, given, frame), self.rows)
            yield frame.select(
                pl.int_range(self.rows, self.rows + len(frame), dtype=pl.Int64).alias("row_no"),
                pl.all(),
            )
            self.rows += len(frame)
            self._progress.at(read_so_far, self.rows)


def _rule_problems(kind: Kind, given: pl.DataFrame, frame: pl.DataFrame) -> list[InputProblem]:
    """Return the rules that need no stored data, with the rows of a batch that break them.

    Args:
        given: the rows as they were read.
        frame: their typed columns.
    """

    def broken(
        rule: ProblemKind,
        hint: str,
        column: str,
        bad: pl.Series,
        values: pl.Series | None = None,
    ) -> InputProblem:
        if values is None:
            values = given[column] if column in given.columns else frame[column]
        return find(rule, hint, column, bad, values)

    # Rows of other batches count too, so the database finds these (_repeated_keys). Stated here,
    # as every rule is in its place.
    found = [InputProblem(ProblemKind.DUPLICATE_KEY, _KEYS[kind][0], 0, _repeated(kind))]
    if kind in _POSITIVE:
        column = _POSITIVE[kind]
        found.append(broken(ProblemKind.NOT_POSITIVE, "not positive", column, frame[column] <= 0))
    if kind is Kind.INSTRUMENTS:
        ages = frame["max_price_age_sessions"]
        found.append(
            broken(
                ProblemKind.OUT_OF_RANGE,
                "not between 0 and 100000",
                "max_price_age_sessions",
                ~ages.is_between(0, 100_000),
                ages,
            )
        )
        limits = frame["move_limit_percent"]
        found.append(
            broken(ProblemKind.OUT_OF_RANGE, "negative", "move_limit_percent", limits < 0, limits)
        )
    if kind is Kind.PRICES:
        basis = frame["quote_basis"]
        found.append(
            broken(
                ProblemKind.UNKNOWN_QUOTE_BASIS,
                f"none of {', '.join(_QUOTE_BASES)}",
                "quote_basis",
                ~basis.is_in(_QUOTE_BASES),
                basis,
            )
        )
    if kind is Kind.FX_RATES:
        same = frame["base_currency"] == frame["quote_currency"]
        found.append(
            broken(
                ProblemKind.SAME_CURRENCY,
                "a rate of a currency to itself",
                "quote_currency",
                same,
                frame["quote_currency"],
            )
        )
    if kind is Kind.POSITIONS:
        costly = (frame["quantity"] == 0) & (
            (frame["cost_basis"] != 0) | (frame["cost_basis_local"] != 0)
        )
        shown = frame.select(
            pl.concat_str(pl.col(_KEYS[kind]).cast(pl.String), separator=" ", ignore_nulls=True)
        ).to_series()
        found.append(
            broken(
                ProblemKind.COST_WITHOUT_QUANTITY,
                "a cost basis without a quantity",
                "quantity",
                costly,
                shown,
            )
        )
    return found


def _repeated(kind: Kind) -> str:
    return f"the same {', '.join(_KEYS[kind])} as a row before"


def _with_repeated_keys(kind: Kind, rows: SortedRows) -> Iterator[pl.DataFrame]:
    """Yield rows with the column repeated_key: the key of a row that has one before."""
    key = pl.concat_str(pl.col(_KEYS[kind]).cast(pl.String), separator=" ")
    repeated_key = pl.when("is_repeated").then(key).cast(pl.String).alias("repeated_key")
    for frame in rows.frames():
        yield frame.select(pl.exclude("is_repeated"), repeated_key)


async def _repeated_keys(connection: Connection, kind: Kind) -> list[InputProblem]:
    """Return the rule that no key is given twice, with the rows whose key has a row before."""
    rows = await sql("repeated_keys").fetch(connection, most=SHOWN_ROWS)
    count = rows[0]["count"] if rows else 0
    shown = tuple((row["row_no"], row["repeated_key"]) for row in rows)
    return [InputProblem(ProblemKind.DUPLICATE_KEY, _KEYS[kind][0], count, _repeated(kind), shown)]


async def _stored_data_problems(
    connection: Connection, kind: Kind, first_line: int, must_exist: bool
) -> list[InputProblem]:
    """Return the rules about stored data that the input breaks, seen by the loading transaction."""
    if kind is Kind.BUSINESS_DATES:
        return []
    existing = {"must_exist": must_exist} if kind in (Kind.PRICES, Kind.FX_RATES) else {}
    rows = await sql(f"check_{kind.value}").fetch(connection, **existing)
    return [
        InputProblem(
            kind=ProblemKind(found[0]["kind"]),
            column=column,
            count=found[0]["count"],
            hint=found[0]["hint"],
            rows=tuple((row["row_no"] + first_line, row["value"]) for row in found),
        )
        for (_, column), found in (
            (rule, list(rows_of_rule))
            for rule, rows_of_rule in groupby(rows, key=itemgetter("rule", "column_name"))
        )
    ]
