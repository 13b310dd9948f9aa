"""Reports: the open positions of many portfolios, a business date at a time, and their totals.

A position without a value is a row too: its valuation_status and failure_reason say why. So a sum
never leaves anything out without a word.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

import asyncpg
import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.valuation import VALUATION_STATUS, VALUE_COLUMNS
from revalue.engine.errors import DataFaultError, NotFoundError, ReportTooLargeError, UsageError
from revalue.engine.lake.overlay import READABLE, overlay, price_effect
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame
from revalue.engine.read.refusals import require_existing, require_known

sql = statements(__package__)

REPORT_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "portfolio_id": pl.String,
    "security_id": pl.String,
    "date": pl.Date,
    "base_currency": pl.String,
    "local_currency": pl.String,
    "valuation_status": pl.String,
    "reprocessing_status": pl.String,
    "quantity": AMOUNT,
    "cost_basis_local": AMOUNT,
    "cost_basis": AMOUNT,
    "price": RATE,
    "price_date": pl.Date,
    "fx_rate": RATE,
    "fx_date": pl.Date,
    "market_value_local": AMOUNT,
    "market_value": AMOUNT,
    "unrealized_gain_local": AMOUNT,
    "unrealized_gain": AMOUNT,
    "price_effect": AMOUNT,
    "fx_effect": AMOUNT,
    "epoch": pl.Int32,
    "failure_reason": pl.String,
}

_SUMS = ("market_value", "cost_basis", "unrealized_gain", "price_effect", "fx_effect")
_COUNTS = (
    "lines",
    "lines_valued",
    "lines_stale",
    "lines_waiting",
    "lines_missing",
    "lines_reprocessing",
)

By: TypeAlias = Literal["portfolio", "currency"]


def total_columns(by: By) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Return the columns of totals, with their types."""
    return {
        **({"portfolio_id": pl.String} if by == "portfolio" else {}),
        "base_currency": pl.String,
        "date": pl.Date,
        **dict.fromkeys(_SUMS, AMOUNT),
        **dict.fromkeys(_COUNTS, pl.UInt32),
    }


@dataclass(frozen=True)
class Wanted:
    """What a report is of.

    Attributes:
        last_date: the last date of the report; None: the last one that is opened.
        first_date: the first one: the report has every opened business date between them (both
            included). None: it has one date, of each portfolio the last opened business date at or
            before last_date.
        portfolios: only these; None: all.
        securities: only these; None: all.
        known_at: a time with a zone: what the same report gave at that time. None: now.
        hides_unknown: a security that does not exist is like one that nobody holds, for those who
            may not learn which there are.
    """

    last_date: date | None = None
    first_date: date | None = None
    portfolios: tuple[str, ...] | None = None
    securities: tuple[str, ...] | None = None
    known_at: datetime | None = None
    hides_unknown: bool = False

    def __post_init__(self) -> None:
        if self.known_at is not None and self.known_at.tzinfo is None:
            raise UsageError(
                f"known_at {self.known_at} has no time zone: give one, for example UTC"
            )
        if self.first_date and self.last_date and self.first_date > self.last_date:
            raise UsageError(f"the first date {self.first_date} is after the last {self.last_date}")


async def positions(
    database: Database, wanted: Wanted, *, on_frames: Callable[[int], None] | None = None
) -> AsyncGenerator[pl.DataFrame, None]:
    """Yield the open positions of a report, all of one snapshot of the database.

    Args:
        database: the database to read.
        wanted: what the report is of.
        on_frames: called with the number of frames, before the first one.

    Yields:
        REPORT_COLUMNS: of one business date after another (in a report without a first date all of
        them at once), a row per open position, sorted by portfolio_id and security_id.

    Raises:
        NotFoundError: there is no such portfolio or security.
        UsageError: nothing is opened on these dates; NotYetKnownError, NoLongerKnownError.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        await require_known(connection, wanted.known_at)
        await require_existing(
            connection, portfolios=_list(wanted.portfolios), securities=_checked(wanted)
        )
        days = await _days(connection, wanted)
        if on_frames is not None:
            on_frames(len(days))
        for calendars, dates in days:
            yield await _read(connection, wanted, calendars, dates)


@dataclass(frozen=True)
class TwoDates:
    """The open positions of a date and of the business date before, read in one snapshot.

    Attributes:
        rows: REPORT_COLUMNS: of each portfolio the last opened business date at or before the one
            that was asked for.
        before: the same of the business date before, of each calendar.
        first_dates: dates that have no business date before, in any of the calendars.
        last_commit: the last commit that changed what readers see; None: there was none.
    """

    rows: pl.DataFrame
    before: pl.DataFrame
    first_dates: tuple[date, ...]
    last_commit: datetime | None


async def positions_and_before(
    connection: Connection, wanted: Wanted, *, most: int | None = None
) -> TwoDates:
    """Return the open positions of a date, and those of the business date before.

    Args:
        connection: in a transaction that reads one snapshot.
        wanted: without a first date.
        most: refuse portfolios with more positions than this, open or not. None: any number.

    Raises:
        ReportTooLargeError: the portfolios have more positions than `most`.
        RevalueError: as `positions`.
    """
    assert wanted.first_date is None
    last_commit = await require_known(connection, wanted.known_at)
    await require_existing(
        connection, portfolios=_list(wanted.portfolios), securities=_checked(wanted)
    )
    if most is not None:
        await _require_at_most(connection, wanted, most)
    [(calendars, dates)] = await _days(connection, wanted)
    rows = await _read(connection, wanted, calendars, dates)
    day_of = dict(zip(calendars, dates, strict=True))
    earlier = {
        row["calendar_id"]: row["date"]
        for day in set(dates)
        for row in await _rows_of_days(connection, wanted, day - timedelta(days=1))
        if day_of[row["calendar_id"]] == day
    }
    before = (
        await _read(connection, wanted, list(earlier), list(earlier.values()))
        if earlier
        else rows.clear()
    )
    first_dates = set(dates) - {day_of[calendar] for calendar in earlier}
    return TwoDates(rows, before, tuple(sorted(first_dates)), last_commit)


async def _require_at_most(connection: Connection, wanted: Wanted, most: int) -> None:
    """Refuse a report of more positions than `most`.

    Raises:
        ReportTooLargeError: it is one.
    """
    found = await sql("count_positions").value(
        connection, portfolios=_list(wanted.portfolios), most_rows=most + 1
    )
    if found > most:
        raise ReportTooLargeError(
            f"the report would be of more than {most:,} positions: ask for fewer portfolios at "
            "once, or let `revalue exceptions` or Book.exceptions make it"
        )


async def totals(
    database: Database, wanted: Wanted, *, by: By = "portfolio"
) -> AsyncGenerator[pl.DataFrame, None]:
    """Yield the totals of a report, per portfolio or base currency and date.

    Yields:
        `total_columns`: sums in base_currency (null: no line is valued), and how many open
        positions (lines) there are, valued, of them at a price or rate older than the date (stale),
        without a value because data are missing or wrong (waiting) or not yet valued (missing), and
        being reprocessed.

    Raises:
        RevalueError: as `positions`.
    """
    async for rows in positions(database, wanted):
        yield totals_of(rows, by)


def totals_of(rows: pl.DataFrame, by: By) -> pl.DataFrame:
    """Return the totals of the rows of `positions`, see there."""
    columns = total_columns(by)
    keys = [name for name in columns if name not in (*_SUMS, *_COUNTS)]
    status = pl.col("valuation_status")
    is_valued = status.is_in(["VALUED_CURRENT", "VALUED_STALE"])
    return (
        rows.group_by(keys)
        .agg(
            *(pl.when(is_valued.any()).then(pl.col(name).sum()).alias(name) for name in _SUMS),
            lines=pl.len(),
            lines_valued=is_valued.sum(),
            lines_stale=(status == "VALUED_STALE").sum(),
            lines_waiting=status.is_in(["WAITING_FOR_DATA", "FAILED"]).sum(),
            lines_missing=(status == "NOT_VALUED").sum(),
            lines_reprocessing=(pl.col("reprocessing_status") == "IN_PROGRESS").sum(),
        )
        .select(pl.col(name).cast(kind) for name, kind in columns.items())
        .sort(keys)
    )


async def _days(
    connection: Connection, wanted: Wanted
) -> list[tuple[Sequence[str], Sequence[date]]]:
    """Return the dates of each frame of the report: calendars, and of each one its date."""
    rows = await _rows_of_days(connection, wanted, wanted.last_date)
    if not rows:
        since = f" from {wanted.first_date}" if wanted.first_date else ""
        until = f" to {wanted.last_date}" if wanted.last_date else ""
        raise NotFoundError(
            f"no business date{since}{until} is opened: `revalue open` opens them"
            if wanted.known_at is None
            else f"no business date{since}{until} was opened at {wanted.known_at.isoformat()}"
        )
    if wanted.first_date is None:
        return [([row["calendar_id"] for row in rows], [row["date"] for row in rows])]
    calendars: dict[date, list[str]] = {}
    for row in rows:
        calendars.setdefault(row["date"], []).append(row["calendar_id"])
    return [(of, [day] * len(of)) for day, of in calendars.items()]


async def _rows_of_days(
    connection: Connection, wanted: Wanted, last_date: date | None
) -> list[asyncpg.Record]:
    return await sql("report_days").fetch(
        connection,
        known_at=wanted.known_at,
        first_date=wanted.first_date,
        last_date=last_date,
        portfolios=_list(wanted.portfolios),
    )


async def _read(
    connection: Connection, wanted: Wanted, calendars: Sequence[str], dates: Sequence[date]
) -> pl.DataFrame:
    statement = sql("report")
    given = {
        "known_at": wanted.known_at,
        "of_portfolio": _only(wanted.portfolios),
        "of_security": _only(wanted.securities),
        "portfolios": _list(wanted.portfolios),
        "securities": _list(wanted.securities),
        "calendars": list(calendars),
        "dates": list(dates),
        "first_date": min(dates),
        "last_date": max(dates),
    }
    rows = await read_frame(
        connection, statement.positional, *(given[name] for name in statement.parameters)
    )
    try:
        typed = rows.select(
            "position_id",
            READABLE,
            *(pl.col(name).cast(kind) for name, kind in REPORT_COLUMNS.items()),
            status=pl.lit(None, dtype=pl.Int16),
        )
    except pl.exceptions.InvalidOperationError as error:
        raise DataFaultError(
            "a price effect or FX effect has more than 28 digits before the point: correct the "
            f"rate, the cost or the quantity ({error})"
        ) from error
    both = await overlay(connection, typed, ("status", *VALUE_COLUMNS), known_at=wanted.known_at)
    return _with_lake(both).select(*REPORT_COLUMNS)


def _with_lake(rows: pl.DataFrame) -> pl.DataFrame:
    """Give the rows of the lake what the statement derives of those of PostgreSQL."""
    if not rows["is_from_lake"].any():
        return rows
    of_lake = pl.col("is_from_lake")
    effect = price_effect(rows["unrealized_gain_local"], rows["fx_rate"])
    return rows.with_columns(
        valuation_status=pl.when(of_lake)
        .then(pl.col("status").replace_strict(VALUATION_STATUS, return_dtype=pl.String))
        .otherwise("valuation_status"),
        price_effect=pl.when(of_lake).then(effect).otherwise("price_effect"),
        fx_effect=pl.when(of_lake)
        .then(pl.col("unrealized_gain") - effect)
        .otherwise("fx_effect")
        .cast(AMOUNT),
        failure_reason=pl.when(~of_lake).then("failure_reason"),
    )


def _checked(wanted: Wanted) -> list[str] | None:
    return None if wanted.hides_unknown else _list(wanted.securities)


def _list(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)


def _only(values: tuple[str, ...] | None) -> str | None:
    return values[0] if values is not None and len(values) == 1 else None
