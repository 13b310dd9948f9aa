"""Refuse a question about what does not exist, or about a time that cannot be answered for.

The checks run in the transaction of the answer.
"""

from datetime import datetime

from revalue.engine.errors import NoLongerKnownError, NotFoundError, NotYetKnownError
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


async def require_known(connection: Connection, known_at: datetime | None) -> datetime | None:
    """Return the last visible commit at or before `known_at` (None: now).

    Returns:
        The time of the commit, or None before the first one.

    Raises:
        NotYetKnownError: `known_at` is in the future of the database's clock.
        NoLongerKnownError: `known_at` is before the retention floor.
    """
    found = await sql("known_at").one(connection, known_at=known_at)
    if known_at is not None and found["is_future"]:
        raise NotYetKnownError(
            f"known_at {known_at.isoformat()} is in the future of the database's clock: "
            "give a time that has passed"
        )
    if known_at is not None and found["passed_floor"] is not None:
        raise NoLongerKnownError(
            f"known_at {known_at.isoformat()} is before the retention floor "
            f"{found['passed_floor'].isoformat()}: what was shown then is pruned. "
            "Ask for the floor or a later time"
        )
    last_commit: datetime | None = found["last_commit"]
    return last_commit


async def require_existing(
    connection: Connection, *, portfolios: list[str] | None, securities: list[str] | None
) -> None:
    """Refuse portfolios and securities that do not exist: an empty answer would look right.

    Raises:
        NotFoundError: one does not exist.
    """
    row = await sql("unknown_ids").one(connection, portfolios=portfolios, securities=securities)
    if row["portfolio"] is not None:
        raise NotFoundError(f"there is no portfolio {row['portfolio']!r}")
    if row["security"] is not None:
        raise NotFoundError(f"there is no security {row['security']!r}")


async def never_held(connection: Connection, portfolio: str, security: str) -> NotFoundError:
    """Return the error for a position that does not exist.

    Whether the security exists elsewhere is not said: tokens may be limited to portfolios.

    Raises:
        NotFoundError: the portfolio itself does not exist.
    """
    await require_existing(connection, portfolios=[portfolio], securities=None)
    return NotFoundError(f"portfolio {portfolio!r} has never held security {security!r}")
