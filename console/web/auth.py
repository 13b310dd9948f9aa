"""Authentication and authorisation: bearer tokens, their scopes, and the portfolios they may name.

Where tokens are not required, every client on this machine may read and operate.
"""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from revalue.engine.operate import tokens
from revalue.engine.read.queries import ReaderQueries

_BEARER = HTTPBearer(auto_error=False, description="A token created by `revalue tokens create`.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


@dataclass(frozen=True)
class Caller:
    """The client that sent a request.

    Attributes:
        name: name of its token.
        scopes: what it may do: read, operate.
        portfolios: the only portfolios that it may see; None: all of them.
    """

    name: str
    scopes: frozenset[str]
    portfolios: tuple[str, ...] | None = None

    @property
    def limit(self) -> list[str] | None:
        """The portfolios as a parameter of a statement; None: all of them."""
        return None if self.portfolios is None else list(self.portfolios)

    def require_portfolio(self, portfolio: str) -> str:
        """Return the portfolio if this caller may see it.

        Raises:
            HTTPException: 403 if not, whether the portfolio exists or not.
        """
        if self.portfolios is not None and portfolio not in self.portfolios:
            raise HTTPException(
                403, f"the token {self.name!r} has no access to portfolio {portfolio!r}"
            )
        return portfolio

    def require_unlimited(self) -> None:
        """Refuse a caller that is limited to portfolios: the response concerns all of them.

        Raises:
            HTTPException: 403 if the caller is limited.
        """
        if self.portfolios is not None:
            raise HTTPException(
                403,
                f"the token {self.name!r} is limited to some portfolios; this call concerns all",
            )


LOCAL = Caller("local", frozenset(tokens.SCOPES))
"""The caller of every request where tokens are not required."""


def require_scope(scope: str) -> Any:
    """Return a FastAPI dependency that admits callers with a scope and gives their Caller.

    Neither scope includes the other: a token for `operate` cannot read. The dependency raises
    HTTPException: 401 without a valid token, 403 without the scope.
    """

    async def check(request: Request, credentials: _Credentials) -> Caller:
        caller = await _authenticate(request, credentials)
        if scope not in caller.scopes:
            raise HTTPException(403, f"the token {caller.name!r} lacks the scope {scope!r}")
        if scope == "operate":
            _require_same_origin(request)
        return caller

    return Depends(check)


async def _authenticate(
    request: Request, credentials: HTTPAuthorizationCredentials | None
) -> Caller:
    if not request.app.state.require_token:
        return LOCAL
    if credentials is None:
        raise HTTPException(
            401,
            "a bearer token is required: see `revalue tokens create`",
            {"WWW-Authenticate": "Bearer"},
        )
    answers: ReaderQueries = request.app.state.answers
    token = await tokens.bearer(answers.database, credentials.credentials)
    if token is None:
        raise HTTPException(
            401,
            "the token is unknown, expired or revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return Caller(token.name, frozenset(token.scopes), token.portfolios)


def _require_same_origin(request: Request) -> None:
    """Refuse a POST from a page of another site.

    A browser sends such a request to this machine, although the page cannot read the response. It
    also sends the page's origin.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"a page of {origin} cannot operate this server")


ReadCaller = Annotated[Caller, require_scope("read")]
OperateCaller = Annotated[Caller, require_scope("operate")]
