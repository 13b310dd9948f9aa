"""Bearer tokens of the API: shown once when they are made, stored and found by their hash."""

import hashlib
import hmac
import re
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
_BYTES = 32
_SECRET = re.compile(rf"{_PREFIX}[\w-]{{43}}", re.ASCII)


@dataclass(frozen=True)
class Token:
    """What is stored of a token: never its secret.

    Attributes:
        token_id: its number.
        name: its name; only one valid token has it.
        scopes: what it allows, of SCOPES.
        portfolios: the portfolios that it is limited to; None: no limit.
        created_at: when it was made.
        expires_at: when it expires; None: never.
        revoked_at: when it was revoked; None: it was not.
    """

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
    """Make a token.

    Args:
        database: where to store it.
        name: a name that no valid token has.
        scopes: what it allows, of SCOPES; at least one.
        portfolios: the portfolios that it is limited to; None: no limit.
        expires: how long it is valid; None: until it is revoked.

    Returns:
        The token, and its secret, which is stored nowhere.

    Raises:
        UsageError: an argument is wrong, or a valid token has this name.
        NotFoundError: there is no such portfolio.
    """
    wrong = sorted(set(scopes) - set(SCOPES))
    if wrong or not scopes:
        raise UsageError(
            f"there is no scope {', '.join(map(repr, wrong))}: give read, operate or both"
            if wrong
            else "no scope is given: give read, operate or both"
        )
    if not name.strip() or (portfolios is not None and not portfolios):
        raise UsageError(
            "the name of the token is empty"
            if not name.strip()
            else "the limit to portfolios names no portfolio"
        )
    if expires is not None and expires <= timedelta(0):
        raise UsageError("a token expires later than now")
    secret = _PREFIX + secrets.token_urlsafe(_BYTES)
    async with database.transaction() as connection:
        known = await sql("known_portfolios").fetch(connection, portfolios=portfolios or [])
        unknown = sorted(set(portfolios or ()) - {row["portfolio_id"] for row in known})
        if unknown:
            raise NotFoundError(f"there is no portfolio {', '.join(map(repr, unknown))}")
        try:
            row = await sql("token_create").one(
                connection,
                name=name,
                hash=_hash(secret),
                scopes=sorted(set(scopes)),
                portfolios=None if portfolios is None else sorted(set(portfolios)),
                expires=expires,
            )
        except asyncpg.UniqueViolationError as error:
            raise UsageError(
                f"there is already a valid token {name!r}: revoke it first, or take another name"
            ) from error
    return _token(row), secret


async def listed(database: Database) -> list[Token]:
    """Return all tokens, valid or not, the newest first."""
    async with database.connection() as connection:
        return [_token(row) for row in await sql("token_list").fetch(connection)]


async def revoke(database: Database, name: str) -> Token:
    """Revoke a token. It is refused from now on.

    Raises:
        NotFoundError: no token of that name is valid.
    """
    async with database.connection() as connection:
        row = await sql("token_revoke").row(connection, name=name)
    if row is None:
        raise NotFoundError(f"there is no valid token {name!r}")
    return _token(row)


async def bearer(database: Database, secret: str) -> Token | None:
    """Return the token with this secret, or None if no valid token has it."""
    if not _SECRET.fullmatch(secret):
        return None  # without a statement
    wanted = _hash(secret)
    async with database.connection() as connection:
        row = await sql("token_bearer").row(connection, hash=wanted)
    if row is None or not hmac.compare_digest(row["token_hash"], wanted):
        return None
    return _token(row)


def _hash(secret: str) -> bytes:
    """A secret of 256 random bits cannot be guessed, so a fast hash without salt is enough."""
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
