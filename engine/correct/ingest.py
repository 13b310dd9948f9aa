"""What comes in: a whole file is validated, then loaded in one transaction, or nothing of it is."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from revalue.engine.correct import upserts
from revalue.engine.correct.parsing import (
    Column,
    Input,
    Problem,
    ProblemKind,
    Source,
    parse_columns,
    read,
)
from revalue.engine.errors import InvalidInputError, UsageError
from revalue.engine.postgres.arrow import copy_frame
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import Connection


class Kind(StrEnum):
    """What can be loaded. Load in this order: each refers to those before it."""

    BUSINESS_DATES = "business_dates"
    PORTFOLIOS = "portfolios"
    INSTRUMENTS = "instruments"
    FX_RATES = "fx_rates"
    PRICES = "prices"
    POSITIONS = "positions"


@dataclass(frozen=True)
class LoadResult:
    """rows of the input; how many were new, replaced another value, or were as stored. For positions also the positions
    whose history was corrected (at or before their frontier) or extended, and the facts that the load removed."""

    kind: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    removed: int = 0
    positions_corrected: int = 0
    positions_extended: int = 0


class RejectedInputError(InvalidInputError):
    """The input breaks rules; nothing of it was written. `problems` has them one by one."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
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
    """A value as a message shows it: quoted where it could be misread, and not more of it than helps."""
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
"""The columns of each kind. Decimals may come as decimals, whole numbers, text, or floats (by their shortest print)."""

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
    """Validates and loads an input of COLUMNS[kind].

    Positions are dated absolute facts: for each position the load replaces its history from the earliest date it gives;
    `merge` keeps the later facts that it does not mention. With `replacing`, a price or rate that is not stored yet is a
    problem. Loading the same again changes and triggers nothing.

    Raises UsageError for an unknown kind, InvalidInputError (with .problems when rows are at fault),
    CorrectionRefusedError, TransientError; each with nothing written.
    """
    if kind not in list(Kind):
        raise UsageError(f"nothing called {kind!r} can be loaded: {', '.join(Kind)} can")
    kind = Kind(kind)
    given = read(source)
    frame, problems = parse_columns(given, COLUMNS[kind])
    problems += _rule_problems(kind, given, frame)
    async with database.transaction() as connection:
        await _copy_in(connection, kind, frame)
        problems += await _reference_problems(connection, kind, given, replacing)
        if problems:
            raise RejectedInputError(given, problems)
        if kind is Kind.POSITIONS:
            counts = await upserts.replace_histories(connection, merge=merge)
        else:
            counts = await upserts.upsert(connection, kind.value)
    return LoadResult(kind.value, len(frame), **counts)


def _rule_problems(kind: Kind, given: Source, frame: pl.DataFrame) -> list[Problem]:
    """What can be seen in the input alone."""
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
            given.problem(
                ProblemKind.NOT_POSITIVE, "not positive", column, frame[column] <= 0, frame[column]
            )
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


async def _reference_problems(
    connection: Connection, kind: Kind, given: Source, replacing: bool
) -> list[Problem]:
    """What can only be seen against the stored data, in the transaction that loads."""
    problems = []
    for rule in (
        *upserts.REFERENCES[kind.value],
        *(upserts.STORED.get(kind.value, ()) if replacing else ()),
    ):
        rows = await connection.fetch(rule.query)
        if rows:
            shown = tuple((row["row_no"] + given.first_line, row["value"]) for row in rows)
            problems.append(
                Problem(ProblemKind(rule.kind), rule.column, rows[0]["count"], rule.hint, shown)
            )
    return problems
