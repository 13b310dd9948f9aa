"""What readers ask of portfolios and positions: the numbers of published epochs, with the state of the positions they are of.

Every answer is read as of one moment, and every list has a bound. The moment is that of the call, or an earlier one: with
known_at an answer is what the same call gave at that time. The head's known_at is the time to ask with for the very same
answer again: of the last commit that changed what readers see.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import polars as pl

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.errors import NotFoundError, NotYetKnownError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.postgres.transaction_reader import read_frame

sql = statements(__package__)
operate_sql = statements("revalue.engine.operate")

MOST = 1_000
"""Rows of one page, at most."""

Rows = list[dict[str, Any]]
LAST_ID = 2**63 - 1

_AMOUNTS = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "market_value_local",
    "market_value",
    "unrealized_gain_local",
    "unrealized_gain",
)


class ReaderQueries:
    """Asks one database, over connections whose statements are ended when they take too long."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    async def open(cls, url: str, *, timeout_seconds: float, connections: int) -> "ReaderQueries":
        """Connects; every statement has `timeout_seconds`, its wait for locks included. Raises DatabaseUnavailableError."""
        return cls(
            await open_limited(
                url,
                timeout_seconds=timeout_seconds,
                connections=connections,
                application="revalue serve",
            )
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self.database.close()

    @asynccontextmanager
    async def _moment(self) -> AsyncIterator[Connection]:
        async with self.database.transaction(
            isolation="repeatable_read", readonly=True
        ) as connection:
            yield connection

    async def positions(
        self,
        portfolio: str,
        as_of: date,
        *,
        after: str = "",
        most: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """The portfolio and its lines after security `after`. Raises NotFoundError, NotYetKnownError."""
        async with self._moment() as connection:
            head = await _portfolio(connection, portfolio, known_at)
            rows = await _at(
                connection,
                "positions",
                known_at,
                portfolio=portfolio,
                as_of=as_of,
                after=after,
                most=most,
            )
            await _add_since(connection, rows, known_at)
        return head, rows

    async def totals(
        self,
        portfolio: str,
        first: date,
        last: date,
        *,
        most: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """The portfolio and its totals, one a business date. Raises NotFoundError, NotYetKnownError."""
        async with self._moment() as connection:
            head = await _portfolio(connection, portfolio, known_at)
            given = {"portfolio": portfolio, "first_date": first, "last_date": last, "most": most}
            rows = await _at(connection, "totals", known_at, **given)
        return head, rows

    async def history(
        self,
        portfolio: str,
        security: str,
        first: date,
        last: date,
        *,
        after: date = date.min,
        most: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """The position's state and its valued dates after `after`. Raises NotFoundError, NotYetKnownError."""
        async with self._moment() as connection:
            head = await _key(connection, portfolio, security, known_at)
            given = {
                "portfolio": portfolio,
                "security": security,
                "first_date": first,
                "last_date": last,
            }
            rows = await _at(connection, "history", known_at, **given, after=after, most=most)
        return head, rows

    async def changes(
        self, portfolio: str, security: str, day: date
    ) -> tuple[dict[str, Any], Rows]:
        """The position's state and every number it had on a date, with its cause; `changed` names the inputs that differ from
        the number before, as (old, new). Raises NotFoundError."""
        async with self._moment() as connection:
            head = await _key(connection, portfolio, security)
            found = await sql("changes").fetch(
                connection, portfolio=portfolio, security=security, date=day, most=MOST
            )
        rows = [dict(row) for row in found]
        for number, row in enumerate(rows):
            before = rows[number - 1] if number else row
            row["changed"] = {
                name: [before[name], row[name]] for name in _INPUTS if before[name] != row[name]
            }
        return head, rows

    async def jobs(
        self,
        *,
        status: str | None = None,
        before: int = LAST_ID,
        most: int = 200,
        portfolios: list[str] | None = None,
    ) -> Rows:
        """Jobs older than `before`, newest first; with `portfolios` only theirs. Raises UsageError for a status that does
        not exist."""
        if status is not None and status not in set(JobStatus):
            raise UsageError(f"no job status {status!r}: one of {', '.join(JobStatus)}")
        given = {"status": status, "before": before, "most": most, "portfolios": portfolios}
        async with self._moment() as connection:
            return [dict(row) for row in await operate_sql("read_jobs").fetch(connection, **given)]

    async def dead_letters(
        self, *, before: int = LAST_ID, most: int = 200, portfolios: list[str] | None = None
    ) -> Rows:
        """Dead letters older than `before`, newest first, those requeued too; with `portfolios` only theirs."""
        given = {"before": before, "most": most, "portfolios": portfolios}
        async with self._moment() as connection:
            return [
                dict(row) for row in await operate_sql("read_letters").fetch(connection, **given)
            ]

    async def corrections(self, *, most: int = 200) -> Rows:
        """Corrections that are queued or have positions that are not published yet, oldest first."""
        async with self._moment() as connection:
            return [
                dict(row) for row in await operate_sql("corrections").fetch(connection, most=most)
            ]

    async def stuck_positions(
        self, *, after: int = 0, most: int = 200, portfolios: list[str] | None = None
    ) -> Rows:
        """Positions that wait, failed or are being corrected, by position_id; with `portfolios` only theirs."""
        given = {"after": after, "most": most, "portfolios": portfolios}
        async with self._moment() as connection:
            rows = [
                dict(row) for row in await operate_sql("stuck_positions").fetch(connection, **given)
            ]
            began = await reprocessing_since(connection, rows)
        return [{**row, "since": row["since"] or began.get(row["position_id"])} for row in rows]


async def open_limited(
    url: str, *, timeout_seconds: float, connections: int, application: str
) -> Database:
    """A database whose statements are ended after `timeout_seconds`. Raises DatabaseUnavailableError."""
    limit = quote(f"-c statement_timeout={max(1, round(timeout_seconds * 1000))}")
    limited = f"{url}{'&' if '?' in url else '?'}options={limit}"
    return await Database.open(limited, connections=connections, application=application)


_INPUTS = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "price",
    "price_date",
    "fx_rate",
    "fx_date",
)


async def _portfolio(
    connection: Connection, portfolio: str, known_at: datetime | None
) -> dict[str, Any]:
    known = await require_known(connection, known_at)
    rows = await _at(connection, "portfolio", known_at, portfolio=portfolio)
    if not rows:
        raise NotFoundError(f"there is no portfolio {portfolio!r}")
    return {**rows[0], "known_at": known}


async def _key(
    connection: Connection, portfolio: str, security: str, known_at: datetime | None = None
) -> dict[str, Any]:
    known = await require_known(connection, known_at)
    rows = await _at(connection, "position", known_at, portfolio=portfolio, security=security)
    if not rows:
        raise NotFoundError(f"portfolio {portfolio!r} has never held security {security!r}")
    await _add_since(connection, rows, known_at)
    return {**rows[0], "known_at": known}


async def _add_since(connection: Connection, positions: Rows, known_at: datetime | None) -> None:
    """reprocessing_since in the place of position_id: null for a position that is not in correction."""
    began = await reprocessing_since(connection, positions, known_at)
    for position in positions:
        position["reprocessing_since"] = began.get(position.pop("position_id"))


async def _at(connection: Connection, name: str, known_at: datetime | None, **values: Any) -> Rows:
    """Runs the statement, or, where known_at is given, that of the same columns which looks back."""
    if known_at is None:
        found = await sql(name).fetch(connection, **values)
    else:
        found = await sql(f"{name}_at").fetch(connection, **values, known_at=known_at)
    return [dict(row) for row in found]


async def require_known(connection: Connection, known_at: datetime | None) -> datetime | None:
    """The last moment at or before `known_at` (None: now), or None before the first. Raises NotYetKnownError."""
    if known_at is not None and await connection.fetchval(
        "SELECT $1 > clock_timestamp()", known_at
    ):
        raise NotYetKnownError(
            f"known_at {known_at.isoformat()} is in the future of the database's clock"
        )
    last: datetime | None = await connection.fetchval(
        "SELECT max(at) FROM moments WHERE $1::timestamptz IS NULL OR at <= $1", known_at
    )
    return last


async def reprocessing_since(
    connection: Connection, positions: Iterable[Any], known_at: datetime | None = None
) -> dict[int, datetime]:
    """Since when positions have been in correction, by position_id.

    `positions` have position_id and reprocessing_status; those that are not IN_PROGRESS are left out, and so is what is not
    recorded because it was before an upgrade. As of `known_at`, or now.
    """
    ids: Sequence[int] = [
        each["position_id"] for each in positions if each["reprocessing_status"] == "IN_PROGRESS"
    ]
    if not ids:
        return {}
    rows = await sql("reprocessing_since").fetch(connection, positions=ids, known_at=known_at)
    return {row["position_id"]: row["since"] for row in rows}


async def totals_by_currency(database: Database) -> pl.DataFrame:
    """The totals that readers see, of all portfolios: base_currency, date, market_value, unrealized_gain (AMOUNT)."""
    async with database.connection() as connection:
        rows = await read_frame(connection, sql("totals_by_currency").text)
    return rows.with_columns(pl.col("market_value", "unrealized_gain").cast(AMOUNT))


async def valuations(
    database: Database,
    *,
    portfolio: str | None = None,
    security: str | None = None,
    first_date: date | None = None,
    last_date: date | None = None,
    known_at: datetime | None = None,
) -> pl.DataFrame:
    """The valued position-days that readers see: see engine.book.Book.valuations. Raises UsageError, NotYetKnownError."""
    if known_at is not None and known_at.tzinfo is None:
        raise UsageError(f"known_at {known_at} has no time zone")
    given = {
        "portfolio": portfolio,
        "security": security,
        "first_date": first_date,
        "last_date": last_date,
        "known_at": known_at,
    }
    statement = sql("valuations" if known_at is None else "valuations_at")
    async with database.transaction(readonly=True) as connection:
        await require_known(connection, known_at)
        rows = await read_frame(
            connection, statement.positional, *(given[name] for name in statement.parameters)
        )
    return rows.with_columns(pl.col(_AMOUNTS).cast(AMOUNT), pl.col("price", "fx_rate").cast(RATE))
