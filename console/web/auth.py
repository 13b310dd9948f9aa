"""Authentication and authorisation: bearer tokens, their scopes, and the portfolios they may name.

Where tokens are not required, every client on this machine may read and operate.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from revalue.console.web.opaque_ids import KINDS, OpaqueIds
from revalue.engine import logs
from revalue.engine.errors import RevalueError
from revalue.engine.operate import tokens
from revalue.engine.read.queries import ReaderQueries

_log = logs.logger("web")
_BEARER = HTTPBearer(auto_error=False, description="A token created by `revalue tokens create`.")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]


@dataclass(frozen=True)
class Caller:
    """The client that sent a request.

    Attributes:
        name: name of its token.
        identity: what no other client has: a revoked token leaves its name to another one.
        scopes: what it may do: read, operate.
        portfolios: the only portfolios that it may see; None: all of them.
        ids: the numbers that it sees in place of ids; None: the ids.
    """

    name: str
    identity: str
    scopes: frozenset[str]
    portfolios: tuple[str, ...] | None = None
    ids: OpaqueIds | None = None

    @property
    def limit(self) -> list[str] | None:
        """The portfolios as a parameter of a statement; None: all of them."""
        return None if self.portfolios is None else list(self.portfolios)

    def sees(self, portfolio: str) -> bool:
        """Whether it may see a portfolio."""
        return self.portfolios is None or portfolio in self.portfolios

    def shown(self, value: Any) -> Any:
        """Return rows, or any other part of a response, with the ids that this caller may see."""
        if isinstance(value, list):
            return [self.shown(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            name: self.shown_id(name, each) if name in KINDS else self.shown(each)
            for name, each in value.items()
        }

    def shown_id(self, field: str, number: int | None) -> int | None:
        """Return what this caller sees of an id, or of a cursor that is one."""
        return None if number is None else self.shown_number(field, number)

    def shown_number(self, field: str, number: int) -> int:
        """Return what this caller sees of an id that there is."""
        return number if self.ids is None else self.ids.hide(field, number)

    def meant_id(self, field: str, number: int) -> int:
        """Return the id that this caller means by a number."""
        return number if self.ids is None else self.ids.find(field, number)

    def without_author(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row without who made its correction and why, if this caller is limited.

        Both are about others: a correction of a price is made for all portfolios, and names may be
        those of users and machines.
        """
        if self.portfolios is None:
            return row
        return {**row, "corrected_by": None, "why": None}

    def require_portfolio(self, portfolio: str) -> str:
        """Return the portfolio if this caller may see it.

        Raises:
            HTTPException: 403 if not, whether the portfolio exists or not.
        """
        if not self.sees(portfolio):
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


LOCAL = Caller("local", "local", frozenset(tokens.SCOPES))
"""The caller of every request where tokens are not required."""


class RequireScope:
    """A FastAPI dependency that admits callers with a scope and gives their Caller.

    Neither scope includes the other: a token for `operate` cannot read.
    """

    def __init__(self, scope: str) -> None:
        self._scope = scope

    async def __call__(self, request: Request, credentials: _Credentials) -> Caller:
        """Return the caller, who may have been admitted before the body was read (TokenFirst).

        Raises:
            HTTPException: 401 without a valid token, 403 without the scope.
        """
        admitted: Caller | None = getattr(request.state, "caller", None)
        return await self.admit(request, credentials) if admitted is None else admitted

    async def admit(
        self, request: Request, credentials: HTTPAuthorizationCredentials | None
    ) -> Caller:
        """Return the caller, and remember it for the request."""
        caller = await _authenticate(request, credentials)
        if self._scope not in caller.scopes:
            raise HTTPException(403, f"the token {caller.name!r} lacks the scope {self._scope!r}")
        if self._scope == "operate" and caller is LOCAL:
            _require_same_origin(request)  # a page of another site has no token to send
        request.state.caller = caller
        return caller


class TokenFirst(APIRoute):
    """A route that looks at the token before it reads the body: FastAPI reads the body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what handles a request."""
        handle = super().get_route_handler()
        scopes = [
            each.call for each in self.dependant.dependencies if isinstance(each.call, RequireScope)
        ]

        async def handle_admitted(request: Request) -> Response:
            for scope in scopes:
                await scope.admit(request, await _BEARER(request))
            return await handle(request)

        return handle_admitted


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
    try:
        token = await tokens.bearer(answers.database, credentials.credentials)
    except RevalueError as error:
        # Whoever has no token is not told about the database.
        _log.error("no token can be checked", reason=str(error))
        raise HTTPException(
            503,
            "the token cannot be checked: the database is unavailable or busy",
            {"Retry-After": "1"},
        ) from error
    if token is None:
        raise HTTPException(
            401,
            "the token is unknown, expired or revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    ids = None if token.portfolios is None else OpaqueIds(credentials.credentials)
    identity = f"token {token.token_id}"
    return Caller(token.name, identity, frozenset(token.scopes), token.portfolios, ids)


def _require_same_origin(request: Request) -> None:
    """Refuse a POST from a page of another site.

    A browser sends such a request to this machine, although the page cannot read the response. It
    also sends the page's origin.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"a page of {origin} cannot operate this server")


ReadCaller = Annotated[Caller, Depends(RequireScope("read"))]
OperateCaller = Annotated[Caller, Depends(RequireScope("operate"))]
