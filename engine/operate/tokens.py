"""Bearer tokens of the read API: made once, kept as a hash, found by it."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

SCOPES = ("read", "operate")
_PREFIX = "revalue_"  # so that a token which got into a log or a repository is recognised


@dataclass(frozen=True)
class Token:
    """What is stored of a token. portfolios: those it is limited to; None: not limited. A time that is None never comes."""

    token_id: int
    name: str
    scopes: tuple[str, ...]
    portfolios: tuple[str, ...] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def create(
    database: Database,
    name: str,
    scopes: Sequence[str],
    *,
    portfolios: Sequence[str] | None = None,
    expires: timedelta | None = None,
) -> tuple[Token, str]:
    """A new token and its secret, which is stored nowhere. Raises UsageError, NotFoundError for an unknown portfolio."""
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        raise UsageError(
            f"scopes are {', '.join(SCOPES)}"
            + (f", not {', '.join(wrong)}" if wrong else ": give one at least")
        )
    if not name.strip() or (portfolios is not None and not portfolios):
        raise UsageError("a token has a name, and a limit names portfolios")
    if expires is not None and expires <= timedelta(0):
        raise UsageError("a token expires later than now")
    secret = _PREFIX + secrets.token_urlsafe(32)
    async with database.transaction() as connection:
        known = await connection.fetch(
            "SELECT portfolio_id FROM portfolios WHERE portfolio_id = ANY ($1)", portfolios or []
        )
        unknown = sorted(set(portfolios or ()) - {row["portfolio_id"] for row in known})
        if unknown:
            raise NotFoundError(f"there is no portfolio {', '.join(map(repr, unknown))}")
        try:
            row = await sql("token_create").row(
                connection,
                name=name,
                hash=_hash(secret),
                scopes=sorted(set(scopes)),
                portfolios=None if portfolios is None else sorted(set(portfolios)),
                expires=expires,
            )
        except asyncpg.UniqueViolationError as error:
            raise UsageError(
                f"there is a token {name!r} already: revoke it first, or take another name"
            ) from error
    assert row is not None
    return _token(row), secret


async def listed(database: Database) -> list[Token]:
    """Every token there has been, the newest first."""
    async with database.connection() as connection:
        return [_token(row) for row in await sql("token_list").fetch(connection)]


async def revoke(database: Database, name: str) -> Token:
    """Ends a token at once. Raises NotFoundError when none of that name is valid."""
    async with database.connection() as connection:
        row = await sql("token_revoke").row(connection, name=name)
    if row is None:
        raise NotFoundError(f"no token {name!r} is in use")
    return _token(row)


async def bearer(database: Database, secret: str) -> Token | None:
    """The token of this secret, while it is valid."""
    wanted = _hash(secret)
    async with database.connection() as connection:
        row = await sql("token_bearer").row(connection, hash=wanted)
    if row is None or not hmac.compare_digest(row["token_hash"], wanted):
        return None
    return _token(row)


def _hash(secret: str) -> bytes:
    """A secret of 256 random bits cannot be guessed, so a plain fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _token(row: asyncpg.Record) -> Token:
    portfolios = row["portfolios"]
    return Token(
        row["token_id"],
        row["name"],
        tuple(row["scopes"]),
        None if portfolios is None else tuple(portfolios),
        row["created_at"],
        row["expires_at"],
        row["revoked_at"],
    )
