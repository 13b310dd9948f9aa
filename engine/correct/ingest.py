"""Load files and frames: validate all rows, then write all of them in one transaction."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import itemgetter

import polars as pl

from revalue.engine.correct import upserts
from revalue.engine.correct.parsing import (
    Column,
    Input,
    InputProblem,
    ProblemKind,
    Source,
    parse_columns,
    read,
)
from revalue.engine.errors import InvalidInputError, UsageError
from revalue.engine.postgres.arrow import copy_frame
from revalue.engine.postgres.database import Connections
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
        removed: position records that the load removed.
        positions_corrected: positions for which another record is in force now on a date at or
            before their frontier, the last scheduled date: they are invalidated.
        positions_extended: positions for which this is so after their frontier only. A record that
            repeats the one in force is stored, and its position is neither.
        trigger_id: the trigger that records the corrections of positions; None: there are none.
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


class RejectedInputError(InvalidInputError):
    """The input breaks rules, so nothing of it was written. `problems` lists the broken rules."""

    def __init__(self, source: Source, problems: list[InputProblem]) -> None:
        self.problems = problems
        lines = [f"{source.place}: {len(source.frame):,} rows, nothing loaded"]
        for problem in problems:
            rows = ", ".join(
                f"{source.unit} {number}: {_shown(value)}" for number, value in problem.rows
            )
            lines.append(
                f"  {problem.column}: {problem.hint}: {problem.count:,} rows"
                + (f" ({rows})" if rows else "")
            )
        super().__init__("\n".join(lines))


def _shown(value: str) -> str:
    """Return a value as a message shows it: shortened, and quoted where it could be misread."""
    text = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
    return text if text and text.isprintable() and text == text.strip() else repr(text)


_SHOWN_CHARACTERS = 60
_CURRENCY = Column("currency", "text")
COLUMNS: dict[Kind, tuple[Column, ...]] = {
    Kind.BUSINESS_DATES: (Column("calendar_id", "text"), Column("business_date", "date")),
    Kind.PORTFOLIOS: (
        Column("portfolio_id", "text"),
        Column("base_currency", "text"),
        Column("calendar_id", "text"),
    ),
    Kind.INSTRUMENTS: (
        Column("security_id", "text"),
        _CURRENCY,
        Column("contract_multiplier", "decimal", digits=12, places=6, required=False),
        Column("max_price_age_sessions", "integer"),
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
_POSITIVE = {Kind.FX_RATES: "rate", Kind.PRICES: "price", Kind.INSTRUMENTS: "contract_multiplier"}
_QUOTE_BASES = ("PER_UNIT", "PERCENT_OF_PAR", "PER_CONTRACT")


async def load(
    database: Connections,
    kind: Kind | str,
    source: Input,
    *,
    merge: bool = False,
    replacing: bool = False,
) -> LoadResult:
    """Validate and load an input with the columns of COLUMNS[kind].

    Position records are absolute and dated: a load replaces the history of each position from the
    earliest date that the input gives for it. Loading the same input again changes nothing.

    Args:
        database: where to load.
        kind: what the input is.
        source: a file name, a polars frame, an Arrow table, or what `read` returned.
        merge: keep later position records that the input does not mention.
        replacing: a price or rate that is not stored yet is a problem.

    Raises:
        UsageError: there is no such kind.
        InvalidInputError: the input cannot be read, or rows break a rule (RejectedInputError, with
            .problems).
        CorrectionRefusedError: the database refuses the change.
        TransientError: the database is unavailable or busy.
        In each case nothing is written.
    """
    if kind not in list(Kind):
        raise UsageError(f"{kind!r} cannot be loaded: give one of {', '.join(Kind)}")
    kind = Kind(kind)
    given = read(source)
    frame, problems = await asyncio.to_thread(_checked, kind, given)
    async with database.transaction() as connection:
        await _copy_in(connection, kind, frame)
        problems += await _stored_data_problems(connection, kind, given, replacing)
        if problems:
            raise RejectedInputError(given, problems)
        if kind is Kind.POSITIONS:
            counts = await upserts.replace_histories(connection, merge=merge)
        else:
            counts = await upserts.upsert(connection, kind.value)
        # The transaction may go on, and load more.
        await connection.execute("DROP TABLE incoming")
    return LoadResult(kind.value, len(frame), **counts)


def _checked(kind: Kind, given: Source) -> tuple[pl.DataFrame, list[InputProblem]]:
    """Return the typed columns, and the rules that need no stored data and are broken."""
    frame, problems = parse_columns(given, COLUMNS[kind])
    return frame, problems + _rule_problems(kind, given, frame)


def _rule_problems(kind: Kind, given: Source, frame: pl.DataFrame) -> list[InputProblem]:
    """Return the rules that the input breaks, of those that need no stored data."""
    key = _KEYS[kind]
    complete = frame.select(pl.all_horizontal(pl.col(key).is_not_null())).to_series()
    repeated = complete & frame.select(pl.struct(key).is_first_distinct().not_()).to_series()
    shown = frame.select(
        pl.concat_str(pl.col(key).cast(pl.String), separator=" ", ignore_nulls=True)
    ).to_series()
    found = [
        given.problem(
            ProblemKind.DUPLICATE_KEY,
            f"the same {', '.join(key)} as a row before",
            key[0],
            repeated,
            shown,
        )
    ]
    if kind in _POSITIVE:
        column = _POSITIVE[kind]
        found.append(
            given.problem(ProblemKind.NOT_POSITIVE, "not positive", column, frame[column] <= 0)
        )
    if kind is Kind.INSTRUMENTS:
        ages = frame["max_price_age_sessions"]
        found.append(
            given.problem(
                ProblemKind.OUT_OF_RANGE,
                "not between 0 and 100000",
                "max_price_age_sessions",
                ~ages.is_between(0, 100_000),
                ages,
            )
        )
    if kind is Kind.PRICES:
        basis = frame["quote_basis"]
        found.append(
            given.problem(
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
            given.problem(
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
        found.append(
            given.problem(
                ProblemKind.COST_WITHOUT_QUANTITY,
                "a cost basis without a quantity",
                "quantity",
                costly,
                shown,
            )
        )
    return [problem for problem in found if problem is not None]


async def _copy_in(connection: Connection, kind: Kind, frame: pl.DataFrame) -> None:
    columns = ", ".join(f"{column.name} {column.sql_type}" for column in COLUMNS[kind])
    await connection.execute(
        f"CREATE TEMP TABLE incoming (row_no bigint, {columns}) ON COMMIT DROP"
    )
    await copy_frame(
        connection,
        "incoming",
        frame.with_row_index("row_no").with_columns(pl.col("row_no").cast(pl.Int64)),
    )
    await connection.execute("ANALYZE incoming")


async def _stored_data_problems(
    connection: Connection, kind: Kind, given: Source, replacing: bool
) -> list[InputProblem]:
    """Return the rules about stored data that the input breaks, seen by the loading transaction."""
    if kind is Kind.BUSINESS_DATES:
        return []
    replaces = {"replacing": replacing} if kind in (Kind.PRICES, Kind.FX_RATES) else {}
    rows = await sql(f"check_{kind.value}").fetch(connection, **replaces)
    return [
        InputProblem(
            kind=ProblemKind(found[0]["kind"]),
            column=column,
            count=found[0]["count"],
            hint=found[0]["hint"],
            rows=tuple((row["row_no"] + given.first_line, row["value"]) for row in found),
        )
        for (_, column), found in (
            (rule, list(rows_of_rule))
            for rule, rows_of_rule in groupby(rows, key=itemgetter("rule", "column_name"))
        )
    ]
