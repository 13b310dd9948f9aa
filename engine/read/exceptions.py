"""What of a date is not right yet, or wants a look: what has no value, is old, or moved far.

A line of the list is one thing to look at, such as a price, and not each position that it concerns.
"""

import asyncio
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

import polars as pl

from revalue.engine.core.decimals import AMOUNT
from revalue.engine.postgres.database import Database
from revalue.engine.read import report
from revalue.engine.read.report import Wanted

MOVE_PERCENT = 20.0
"""A price or rate that moved more than this since the business date before is listed."""

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
    """From when on something is listed.

    Attributes:
        move_percent: a price or rate that moved by more than this.
        movers: how many positions whose value moved most, per base currency.
    """

    move_percent: float = MOVE_PERCENT
    movers: int = MOVERS


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
    """What is to be looked at, and of which state of the database.

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
    read = await report.positions_and_before(database, wanted, most=most)
    lines = await asyncio.to_thread(exceptions_of, read.rows, read.before, limits or Limits())
    return FoundExceptions(lines, read.rows["date"].unique().sort().to_list(), read.last_commit)


def exceptions_of(rows: pl.DataFrame, before: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Return the exceptions among the positions of a date.

    Args:
        rows: of report.positions: the date.
        before: the same of the business date before, of each calendar.

    Returns:
        EXCEPTION_COLUMNS, one row per kind, subject and base currency, sorted by kind and then by
        the market value that is concerned, the largest first:

        * subject: a security, or a pair of currencies LOCAL/BASE; of VALUE_MOVE and NOT_VALUED a
          portfolio and a security;
        * detail: the reason and the date of what is missing (FAILED, NO_VALUE); else in words, with
          the values before and now;
        * move_percent: by how much a price, rate or value moved, in percent, to four decimals;
          null: not of a move;
        * positions: how many are concerned;
        * market_value: of these positions, in base_currency; of one without a value that of the
          business date before; null: none of them has one on either date;
        * change: of market_value since the business date before.
    """
    both = rows.join(
        before.select(
            "portfolio_id",
            "security_id",
            price_before="price",
            rate_before="fx_rate",
            value_before="market_value",
            quantity_before="quantity",
        ),
        on=["portfolio_id", "security_id"],
        how="left",
    ).with_columns(
        change=pl.col("market_value") - pl.col("value_before"),
        known_value=pl.coalesce("market_value", "value_before"),
        pair=pl.format("{}/{}", "local_currency", "base_currency"),
        position=pl.format("{} / {}", "portfolio_id", "security_id"),
        price_move=_percent("price", "price_before"),
        rate_move=_percent("fx_rate", "rate_before"),
        value_move=_percent("market_value", "value_before"),
    )
    status, limit = pl.col("valuation_status"), pl.lit(limits.move_percent)
    is_stale = status == "VALUED_STALE"
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
            both.filter(is_stale & (pl.col("price_date") < pl.col("date"))),
            ExceptionKind.OLD_PRICE,
            pl.col("security_id"),
            pl.format("price of {}", "price_date"),
        ),
        _lines(
            both.filter(is_stale & (pl.col("fx_date") < pl.col("date"))),
            ExceptionKind.OLD_RATE,
            pl.col("pair"),
            pl.format("rate of {}", "fx_date"),
        ),
        _lines(
            both.filter(pl.col("price_move").abs() > limit),
            ExceptionKind.PRICE_MOVE,
            pl.col("security_id"),
            _from_to("price_before", "price"),
            pl.col("price_move"),
        ),
        _lines(
            both.filter(pl.col("rate_move").abs() > limit),
            ExceptionKind.RATE_MOVE,
            pl.col("pair"),
            _from_to("rate_before", "fx_rate"),
            pl.col("rate_move"),
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


def _lines(
    rows: pl.DataFrame,
    kind: ExceptionKind,
    subject: pl.Expr,
    detail: pl.Expr,
    move: pl.Expr | None = None,
) -> pl.DataFrame:
    """Return one row per subject, with what it concerns."""
    keys = ["subject", "date", "detail", "base_currency"]
    has_value, has_change = (pl.col(name).is_not_null().any() for name in ("known_value", "change"))
    return (
        rows.with_columns(
            subject=subject,
            detail=detail,
            move=pl.lit(None, dtype=pl.Float64) if move is None else move,
        )
        .group_by(keys)
        .agg(
            kind=pl.lit(kind.value),
            move_percent=pl.col("move").first(),
            positions=pl.len(),
            market_value=pl.when(has_value).then(pl.col("known_value").sum()),
            change=pl.when(has_change).then(pl.col("change").sum()),
        )
        .select(pl.col(name).cast(of) for name, of in EXCEPTION_COLUMNS.items())
        .sort(
            pl.col("market_value").abs(),
            "subject",
            "base_currency",
            descending=[True, False, False],
            nulls_last=True,
        )
    )


def _of_reason() -> tuple[pl.Expr, pl.Expr]:
    """Return what is missing, and why, of a failure reason: REASON, security or pair, date."""
    parts = pl.col("failure_reason").str.extract_groups(r"^(\S+) (.*) (\S+)$").struct
    reason = pl.format("{} {}", parts.field("1"), parts.field("3"))
    whole = pl.col("failure_reason")
    return pl.coalesce(parts.field("2"), "security_id"), pl.coalesce(reason, whole)


def _percent(now: str, before: str) -> pl.Expr:
    """Return by how much a number moved: a measure to look at, so floats are exact enough."""
    was = pl.col(before).cast(pl.Float64)
    moved = (pl.col(now).cast(pl.Float64) / was.abs() - was.sign()) * 100
    return pl.when(was != 0).then(moved.round(4))


def _from_to(before: str, now: str) -> pl.Expr:
    return pl.format("{} -> {}", _tidy(before), _tidy(now))


def _tidy(name: str) -> pl.Expr:
    """Return the number as text, without the zeros at its end."""
    text = pl.col(name).cast(pl.String)
    return text.str.strip_chars_end("0").str.strip_chars_end(".")
