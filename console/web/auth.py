"""Who asks, and what they may: a bearer token's scopes and portfolios; without tokens, whoever is on this machine."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from revalue.engine.operate import tokens
from revalue.engine.read.queries import ReaderQueries

_BEARER = HTTPBearer(auto_error=False, description="A token of `revalue tokens create`.")
_Given = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


@dataclass(frozen=True)
class Caller:
    """name: of the token. scopes: what it may do. portfolios: the only ones it may know of; None: all of them."""

    name: str
    scopes: frozenset[str]
    portfolios: tuple[str, ...] | None = None

    @property
    def limit(self) -> list[str] | None:
        """The portfolios as a statement takes them."""
        return None if self.portfolios is None else list(self.portfolios)

    def named(self, portfolio: str) -> str:
        """The portfolio, if this caller may know of it; else 403, whether it exists or not."""
        if self.portfolios is not None and portfolio not in self.portfolios:
            raise HTTPException(403, f"the token {self.name!r} is not for portfolio {portfolio!r}")
        return portfolio

    def whole(self) -> None:
        """403 when the caller is limited: for answers that speak of every portfolio."""
        if self.portfolios is not None:
            raise HTTPException(
                403,
                f"the token {self.name!r} is for some portfolios only, and this speaks of all of them",
            )


LOCAL = Caller("local", frozenset(tokens.SCOPES))
"""The caller where no tokens are asked for."""


def requires(scope: str) -> Any:
    """A dependency that lets callers of this scope pass and gives the Caller: 401 without a valid token, 403 without the
    scope. `operate` does not include `read`. For an endpoint, or for a whole router's `dependencies`."""

    async def check(request: Request, given: _Given) -> Caller:
        caller = await _caller(request, given)
        if scope not in caller.scopes:
            raise HTTPException(403, f"the token {caller.name!r} lacks the scope {scope!r}")
        if scope == "operate":
            _same_origin(request)
        return caller

    return Depends(check)


async def _caller(request: Request, given: HTTPAuthorizationCredentials | None) -> Caller:
    if not request.app.state.require_token:
        return LOCAL
    if given is None:
        raise HTTPException(
            401,
            "a bearer token is needed: see `revalue tokens create`",
            {"WWW-Authenticate": "Bearer"},
        )
    answers: ReaderQueries = request.app.state.answers
    token = await tokens.bearer(answers.database, given.credentials)
    if token is None:
        raise HTTPException(
            401,
            "the token is not known, has expired or was revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return Caller(token.name, frozenset(token.scopes), token.portfolios)


def _same_origin(request: Request) -> None:
    """Another site's page can post to this machine, though it cannot read the answer: it is told by its Origin."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"a page of {origin} cannot operate this server")


Reading = Annotated[Caller, requires("read")]
Operating = Annotated[Caller, requires("operate")]
