"""The exceptions of a date: what has no value, is old, or moved far, and needs attention.

A line of the list is one thing to look at, such as a price, and not each position that it concerns.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.correct.confirmations.confirmations import Confirmable
from revalue.engine.correct.corrections.large_moves import MOVE_PERCENT
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.read import report
from revalue.engine.read.last_before import NOTHING_BEFORE, LastBefore, last_before
from revalue.engine.read.moves import MOVES, with_moves
from revalue.engine.read.report import Wanted

sql = statements(__package__)

MOVERS = 10
"""So many positions whose value moved most are listed, per base currency."""

EXCEPTION_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,
    "subject": pl.String,
    "date": pl.Date,
    "detail": pl.String,
    "move_percent": pl.Float64,
    "positions": pl.UInt32,
    "base_currency": pl.String,
    "market_value": AMOUNT,
    "change": AMOUNT,
    "value": RATE,
    "value_before": RATE,
    "confirmed_by": pl.String,
    "why": pl.String,
}


class ExceptionKind(StrEnum):
    """What a line is about, in the order of the list."""

    FAILED = "FAILED"
    NO_VALUE = "NO_VALUE"
    NOT_VALUED = "NOT_VALUED"
    REPROCESSING = "REPROCESSING"
    OLD_PRICE = "OLD_PRICE"
    OLD_RATE = "OLD_RATE"
    PRICE_MOVE = "PRICE_MOVE"
    RATE_MOVE = "RATE_MOVE"
    VALUE_MOVE = "VALUE_MOVE"


@dataclass(frozen=True)
class Limits:
    """The limits beyond which something is listed.

    Attributes:
        move_percent: a rate that moved by more than this, and a price whose instrument has no
            move_limit_percent.
        movers: how many positions whose value moved most, per base currency.
        confirmed: also list the prices and rates that are confirmed.
    """

    move_percent: float = MOVE_PERCENT
    movers: int = MOVERS
    confirmed: bool = False


@dataclass(frozen=True)
class Stored:
    """What is stored for the list.

    Attributes:
        limits: security_id (text) and move_limit (Float64), of the instruments that have one.
        confirmed: kind, subject (text), date, value (RATE), values_before, confirmed_by and why
            (text): the confirmations of the dates of the list. values_before: a list of texts, each
            with all of its decimal places, null for one that cannot be compared; a null list: the
            move from any value is confirmed.
        last: what was stored before the prices and rates that have no number of the business date
            before.
    """

    limits: pl.DataFrame
    confirmed: pl.DataFrame
    last: LastBefore = NOTHING_BEFORE


_LIMITS = {"security_id": pl.String, "move_limit": pl.Float64}
_CONFIRMED: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,
    "subject": pl.String,
    "date": pl.Date,
    "value": pl.String,
    "values_before": pl.List(pl.String),
    "confirmed_by": pl.String,
    "why": pl.String,
}
NOTHING_STORED = Stored(
    pl.DataFrame(schema=_LIMITS), pl.DataFrame(schema=_CONFIRMED).cast({"value": RATE})
)
"""No instrument has a limit, and nothing is confirmed."""


async def exceptions(
    database: Database, wanted: Wanted, limits: Limits | None = None
) -> pl.DataFrame:
    """Return what is to be looked at on one date of each portfolio, see `exceptions_of`.

    Args:
        wanted: a report of one date (without first_date).

    Raises:
        RevalueError: as report.positions.
    """
    return (await find_exceptions(database, wanted, limits)).lines


@dataclass(frozen=True)
class FoundExceptions:
    """The exceptions found, and the state of the database that they are of.

    Attributes:
        lines: see `exceptions_of`.
        dates: the business dates that were looked at; empty: no position is open on them.
        last_commit: the last commit that changed what readers see; None: there was none.
    """

    lines: pl.DataFrame
    dates: list[date]
    last_commit: datetime | None


async def find_exceptions(
    database: Database, wanted: Wanted, limits: Limits | None = None, *, most: int | None = None
) -> FoundExceptions:
    """Return what is to be looked at, of how many positions it may be, and as of when it is.

    Args:
        wanted: a report of one date (without first_date).
        limits: from when on something is listed.
        most: refuse portfolios with more positions than this. None: any number.

    Raises:
        ReportTooLargeError: the portfolios have more positions than `most`.
        RevalueError: as report.positions.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        read = await report.positions_and_before(connection, wanted, most=most)
        dates = read.rows["date"].unique().sort().to_list()
        stored = await _stored(connection, read, dates, wanted.known_at)
    lines = await asyncio.to_thread(
        exceptions_of, read.rows, read.before, limits or Limits(), stored, read.first_dates
    )
    return FoundExceptions(lines, dates, read.last_commit)


async def _stored(
    connection: Connection, read: report.TwoDates, dates: list[date], known_at: datetime | None
) -> Stored:
    limits = await sql("move_limits").fetch(connection)
    confirmed = await sql("confirmed").fetch(connection, dates=dates, known_at=known_at)
    return Stored(
        pl.DataFrame([dict(row) for row in limits], schema=_LIMITS),
        pl.DataFrame([dict(row) for row in confirmed], schema=_CONFIRMED).cast({"value": RATE}),
        await last_before(connection, read.rows, read.before),
    )


def exceptions_of(
    rows: pl.DataFrame,
    before: pl.DataFrame,
    limits: Limits,
    stored: Stored = NOTHING_STORED,
    first_dates: Sequence[date] = (),
) -> pl.DataFrame:
    """Return the exceptions among the positions of a date.

    Args:
        rows, before, first_dates: as for `with_moves`.
        limits: from when on something is listed.
        stored: the limits of instruments, what is confirmed, and what was stored before.

    Returns:
        EXCEPTION_COLUMNS, one row per kind, subject and base currency, sorted by kind, base
        currency and then by the market value that is concerned, of VALUE_MOVE by its change, the
        largest first. (Amounts of two currencies cannot be compared.)

        * subject: a security, or a pair of currencies LOCAL/BASE; of VALUE_MOVE and NOT_VALUED a
          portfolio and a security;
        * detail: the reason and the date of what is missing (FAILED, NO_VALUE); else in words, with
          the values before and now. A price of the date that was quoted in another currency and
          converted at an older rate is an OLD_PRICE too: no other line would say why it is stale;
        * move_percent: by how much a price, rate or value moved, in percent, to four decimals;
          null: not of a move, or of one that has no percentage: from 0, or from a price that cannot
          be compared, as it is quoted in another currency;
        * positions: how many are concerned;
        * market_value: of these positions, in base_currency; of one without a value that of the
          business date before; null: none of them has one on either date;
        * change: of market_value since the business date before;
        * value: the price or rate that moved, which a confirmation names; null: not of one;
        * value_before: from which it moved; null: not of one, or from one that cannot be compared;
        * confirmed_by, why: who has confirmed it, and the reason; null: it is not confirmed.
    """
    both = with_moves(rows, before, stored.last, first_dates).join(
        stored.limits, on="security_id", how="left"
    )
    status = pl.col("valuation_status")
    is_stale = status == "VALUED_STALE"
    is_old_price = pl.col("price_date") < pl.col("date")
    is_old_rate = pl.col("fx_date").is_not_null() & (pl.col("fx_date") < pl.col("date"))
    parts = [
        _lines(both.filter(status == "FAILED"), ExceptionKind.FAILED, *_of_reason()),
        _lines(both.filter(status == "WAITING_FOR_DATA"), ExceptionKind.NO_VALUE, *_of_reason()),
        _lines(
            both.filter(status == "NOT_VALUED"),
            ExceptionKind.NOT_VALUED,
            pl.col("position"),
            pl.lit("not valued yet"),
        ),
        _lines(
            both.filter(
                pl.col("market_value").is_not_null()
                & (pl.col("reprocessing_status") == "IN_PROGRESS")
            ),
            ExceptionKind.REPROCESSING,
            pl.col("security_id"),
            pl.lit("corrected, and not valued again yet: numbers are those of before"),
        ),
        _lines(
            both.filter(is_stale & (is_old_price | ~is_old_rate)),
            ExceptionKind.OLD_PRICE,
            pl.col("security_id"),
            pl.when(is_old_price)
            .then(pl.format("price of {}", "price_date"))
            .otherwise(pl.format("price of {}, converted at an older rate", "price_date")),
        ),
        _lines(
            both.filter(is_stale & is_old_rate),
            ExceptionKind.OLD_RATE,
            pl.col("pair"),
            pl.format("rate of {}", "fx_date"),
        ),
        _moves(
            both.filter(
                (
                    pl.col("price_move").abs()
                    > pl.coalesce("move_limit", pl.lit(limits.move_percent))
                )
                | pl.col("is_incomparable")
            ),
            Confirmable.PRICE,
            limits,
            stored,
        ),
        _moves(
            both.filter(pl.col("rate_move").abs() > limits.move_percent),
            Confirmable.RATE,
            limits,
            stored,
        ),
        _lines(
            both.filter(
                (pl.col("change") != 0)
                & (
                    pl.col("change").abs().rank("ordinal", descending=True).over("base_currency")
                    <= limits.movers
                )
            ),
            ExceptionKind.VALUE_MOVE,
            pl.col("position"),
            _from_to("value_before", "market_value"),
            pl.col("value_move"),
        ),
    ]
    return pl.concat(parts)


def _moves(rows: pl.DataFrame, kind: Confirmable, limits: Limits, stored: Stored) -> pl.DataFrame:
    """Return the lines of prices or rates that moved far, without those that are confirmed."""
    of = MOVES[kind]
    confirmed = stored.confirmed.filter(pl.col("kind") == kind.value).select(
        pl.col("subject").alias(of.subject),
        "date",
        _as_text("value"),
        "values_before",
        "confirmed_by",
        "why",
    )
    # A corrected price of the date before makes another move of it.
    is_of_move = pl.col("values_before").is_null() | _as_text(of.before).is_in(
        pl.col("values_before"), nulls_equal=True
    )
    told = (
        rows.with_columns(_as_text(of.now).alias("as_text"))
        .join(
            confirmed,
            left_on=[of.subject, "date", "as_text"],
            right_on=[of.subject, "date", "value"],
            how="left",
        )
        .with_columns(pl.when(is_of_move).then(pl.col("confirmed_by", "why")))
    )
    if not limits.confirmed:
        told = told.filter(pl.col("confirmed_by").is_null())
    return _lines(
        told,
        ExceptionKind[f"{kind.value}_MOVE"],
        pl.col(of.subject),
        pl.coalesce(
            _from_to(of.before, of.now),
            pl.format("{}, after a price in another currency", _tidy(of.now)),
        ),
        pl.col(of.percent),
        pl.col(of.now),
        pl.col(of.before),
    )


def _lines(
    rows: pl.DataFrame,
    kind: ExceptionKind,
    subject: pl.Expr,
    detail: pl.Expr,
    move: pl.Expr | None = None,
    value: pl.Expr | None = None,
    value_before: pl.Expr | None = None,
) -> pl.DataFrame:
    """Return one row per subject, with what it concerns."""
    nobody = [
        pl.lit(None, dtype=pl.String).alias(name)
        for name in ("confirmed_by", "why")
        if name not in rows.columns
    ]
    keys = ["subject", "date", "detail", "base_currency"]
    has_value, has_change = (pl.col(name).is_not_null().any() for name in ("known_value", "change"))
    return (
        rows.with_columns(
            *nobody,
            subject=subject,
            detail=detail,
            move=pl.lit(None, dtype=pl.Float64) if move is None else move,
            value=pl.lit(None, dtype=RATE) if value is None else value,
            from_value=pl.lit(None, dtype=RATE) if value_before is None else value_before,
        )
        .group_by(keys)
        .agg(
            kind=pl.lit(kind.value),
            move_percent=pl.col("move").first(),
            positions=pl.len(),
            market_value=pl.when(has_value).then(pl.col("known_value").sum()),
            change=pl.when(has_change).then(pl.col("change").sum()),
            value=pl.col("value").first(),
            value_before=pl.col("from_value").first(),
            confirmed_by=pl.col("confirmed_by").first(),
            why=pl.col("why").first(),
        )
        .select(pl.col(name).cast(of) for name, of in EXCEPTION_COLUMNS.items())
        .sort(
            "base_currency",
            pl.col("change" if kind is ExceptionKind.VALUE_MOVE else "market_value").abs(),
            "subject",
            descending=[False, True, False],
            nulls_last=True,
        )
    )


def _of_reason() -> tuple[pl.Expr, pl.Expr]:
    """Return what is missing, and why, of a failure reason: REASON, security or pair, date."""
    parts = pl.col("failure_reason").str.extract_groups(r"^(\S+) (.*) (\S+)$").struct
    reason = pl.format("{} {}", parts.field("1"), parts.field("3"))
    whole = pl.col("failure_reason")
    return pl.coalesce(parts.field("2"), "security_id"), pl.coalesce(reason, whole)


def _as_text(name: str) -> pl.Expr:
    """Return a price or rate with all of its decimal places: equal texts are equal numbers."""
    return pl.col(name).cast(RATE).cast(pl.String)


def _from_to(before: str, now: str) -> pl.Expr:
    return pl.format("{} -> {}", _tidy(before), _tidy(now))


def _tidy(name: str) -> pl.Expr:
    """Return the number as text, without the zeros at its end."""
    text = pl.col(name).cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_chars_end(".")
