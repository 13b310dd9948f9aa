"""What readers ask: the published numbers of portfolios and positions, and their states.

Every answer is read in one snapshot, and every list has a limit. `known_at` (bitemporal: the
transaction time) gives the answer that the same call gave at that time; None is now. `known_at` in
the head of an answer is the last commit that changed what readers see: pass it back to reproduce
the answer.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from revalue.engine.core.valuation import VALUE_COLUMNS
from revalue.engine.errors import NotFoundError
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.overlay import READABLE, overlay_dicts, stored_twice
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, Rows, statements
from revalue.engine.read import both_stores
from revalue.engine.read.refusals import never_held, require_known

sql = statements(__package__)

MAX_LIMIT = 1_000
"""The greatest `limit`: rows of one page."""

# So many of its longest statements may be sent in one use of a limited connection.
_STATEMENTS = 60

_INPUTS = (
    "quantity",
    "cost_basis_local",
    "cost_basis",
    "price",
    "price_date",
    "fx_rate",
    "fx_date",
)


class ReaderQueries:
    """The queries of readers against one database.

    The methods return (head, rows): the portfolio or position, and one dict per row with the
    columns of the statement of the same name. All of them raise NotFoundError for a portfolio or
    position that does not exist, NotYetKnownError for a `known_at` in the future, and
    NoLongerKnownError for one before the retention floor.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    async def open(cls, url: str, *, timeout_seconds: float, connections: int) -> "ReaderQueries":
        """Connect to a database with a limit on the time of each statement.

        Args:
            url: the postgresql:// address.
            timeout_seconds: PostgreSQL cancels a statement after this time, waiting included.
            connections: the size of the pool.

        Raises:
            DatabaseUnavailableError: PostgreSQL cannot be reached.
        """
        return cls(
            await open_limited(
                url,
                timeout_seconds=timeout_seconds,
                connections=connections,
                application="revalue serve",
            )
        )

    async def close(self) -> None:
        """Close the connections."""
        await self.database.close()

    async def portfolios(
        self, search: str = "", *, among: list[str] | None = None, after: str = "", limit: int = 200
    ) -> Rows:
        """Return portfolios by portfolio_id: those whose id contains `search`, whatever the case.

        Args:
            search: part of the id; empty: every portfolio.
            among: only these portfolios; None: all.
            after: only portfolios behind this id: the cursor of a page.
            limit: at most this many.
        """
        async with self.database.connection() as connection:
            return await _rows(
                connection, "portfolios", search=search, among=among, after=after, limit=limit
            )

    async def portfolio_version(self, portfolio: str) -> tuple[str | None, datetime | None]:
        """Return the version of a portfolio, and the last commit that changed what readers see.

        While the version is the same, so is every answer about the present of the portfolio. It is
        None if there is no such portfolio, or while something of it is being reprocessed or valued.
        """
        async with self._snapshot() as connection:
            row = await sql("portfolio_version").row(connection, portfolio=portfolio)
        return (None, None) if row is None else (row["version"], row["known_at"])

    async def positions(
        self,
        portfolio: str,
        as_of: date,
        *,
        after: str = "",
        limit: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """Return a portfolio and its open positions on the last business day <= `as_of`.

        The rows are ordered by security_id and begin behind `after`. A position without a value is
        a row too: its valuation_status says why.
        """
        async with self._snapshot() as connection:
            head = await _portfolio(connection, portfolio, known_at)
            day = await sql("business_date").value(
                connection, portfolio=portfolio, as_of=as_of, known_at=known_at
            )
            rows = await _rows(
                connection,
                "positions",
                portfolio=portfolio,
                date=day,
                after=after,
                limit=limit,
                known_at=known_at,
            )
            await overlay_dicts(connection, rows, VALUE_COLUMNS, known_at=known_at)
        for row in rows:
            del row["position_id"], row[READABLE]
        return head, rows

    async def totals(
        self,
        portfolio: str,
        first: date,
        last: date,
        *,
        limit: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """Return a portfolio and its totals per business day, both ends included."""
        async with self._snapshot() as connection:
            head = await _portfolio(connection, portfolio, known_at)
            given = {
                "portfolio": portfolio,
                "first_date": first,
                "last_date": last,
                "limit": limit,
                "known_at": known_at,
            }
            if await Lake.of(connection) is None:
                rows = await _rows(connection, "totals", **given)
            else:
                rows = await both_stores.totals(connection, **given)
        return head, rows

    async def history(
        self,
        portfolio: str,
        security: str,
        first: date,
        last: date,
        *,
        after: date = date.min,
        limit: int = 200,
        known_at: datetime | None = None,
    ) -> tuple[dict[str, Any], Rows]:
        """Return a position and its valued dates > `after`, from `first` to `last` (included)."""
        async with self._snapshot() as connection:
            head = await _position(connection, portfolio, security, known_at)
            given: dict[str, Any] = {
                "portfolio": portfolio,
                "security": security,
                "first_date": first,
                "last_date": last,
                "after": after,
                "limit": limit,
                "known_at": known_at,
            }
            rows = await _rows(connection, "history", **given)
            lake = await Lake.of(connection)
            if lake is not None:
                rows = await both_stores.history(connection, lake, rows, **given)
        return head, rows

    async def changes(
        self, portfolio: str, security: str, day: date
    ) -> tuple[dict[str, Any], Rows]:
        """Return a position and every number that readers have seen of it on a date.

        The rows are ordered from the oldest to the newest. `changed` maps each input that differs
        from the row before to [old, new].
        """
        async with self._snapshot() as connection:
            head = await _position(connection, portfolio, security, None)
            lake = await Lake.of(connection)
            rows = await _rows(
                connection,
                "changes",
                portfolio=portfolio,
                security=security,
                date=day,
                limit=MAX_LIMIT,
                in_lake=None
                if lake is None
                else await both_stores.numbers_in_lake(connection, lake, portfolio, security, day),
            )
        for number, row in enumerate(rows):
            if number and rows[number - 1]["epoch"] == row["epoch"]:
                raise stored_twice({**row, "date": day, "position_id": f"{portfolio}/{security}"})
            before = rows[number - 1] if number else row
            row["changed"] = {
                name: [before[name], row[name]] for name in _INPUTS if before[name] != row[name]
            }
        return head, rows

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Connection]:
        async with self.database.transaction(
            isolation="repeatable_read", readonly=True
        ) as connection:
            yield connection


async def open_limited(
    url: str, *, timeout_seconds: float, connections: int, application: str
) -> Database:
    """Open a database whose statements PostgreSQL cancels after `timeout_seconds`.

    Raises:
        DatabaseUnavailableError: PostgreSQL cannot be reached.
    """
    return await Database.open(
        url,
        connections=connections,
        application=application,
        statement_seconds=timeout_seconds,
        answer_seconds=_STATEMENTS * timeout_seconds,
    )


async def read_price(database: Database, security: str, day: date) -> Decimal:
    """Return the stored price of a security that is dated `day`, as quoted.

    Raises:
        NotFoundError: no price is stored for that date.
    """
    async with database.connection() as connection:
        price: Decimal | None = await sql("price").value(connection, security=security, date=day)
    if price is None:
        raise NotFoundError(f"security {security!r} has no price dated {day}")
    return price


async def _rows(connection: Connection, name: str, **values: Any) -> Rows:
    return [dict(row) for row in await sql(name).fetch(connection, **values)]


async def _portfolio(
    connection: Connection, portfolio: str, known_at: datetime | None
) -> dict[str, Any]:
    last_commit = await require_known(connection, known_at)
    row = await sql("portfolio").row(connection, portfolio=portfolio, known_at=known_at)
    if row is None:
        raise NotFoundError(f"there is no portfolio {portfolio!r}")
    return {**row, "known_at": last_commit}


async def _position(
    connection: Connection, portfolio: str, security: str, known_at: datetime | None
) -> dict[str, Any]:
    last_commit = await require_known(connection, known_at)
    row = await sql("position").row(
        connection, portfolio=portfolio, security=security, known_at=known_at
    )
    if row is None:
        raise await never_held(connection, portfolio, security)
    return {**row, "known_at": last_commit}
