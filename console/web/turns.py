"""Turns: a limited number of requests is worked on at once; the others wait, in a line per client.

The statements of all requests share a few database connections. A client that sends hundreds of
requests at once delays the others by a few of them, not by all.
"""

import asyncio
import ipaddress
from collections import Counter, deque
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from revalue.console.web.problems import problem

AT_ONCE = 12
AT_ONCE_PER_CLIENT = 3
"""Fewer than the database connections of a server (4): one client cannot take them all."""

WAITING = 1_000
WAITING_PER_CLIENT = 500

_GIVE = "revalue.give_turn"
_ALWAYS = ("/health/live", "/health/ready")  # probes; what they need is bounded elsewhere


def client_of(host: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 network of an IPv6 address.

    A host has a whole /64 for itself, so it can use any address of it.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def give_turn(request: Request) -> None:
    """End the turn of a request before its response begins: it waits for something else now."""
    give: Callable[[], None] | None = request.scope.get(_GIVE)
    if give is not None:
        give()


class NoTurnError(Exception):
    """A request gets no turn: its client or all clients have too many, or it has waited too long.

    Attributes:
        status: 429 if the client has too many requests, else 503.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Turns:
    """Who may work now, and who waits."""

    def __init__(self, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._working: Counter[str] = Counter()
        # The lines of the clients that wait, in the order of their next turns.
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, client: str) -> None:
        """Wait for a turn of a client; `give` ends it.

        Raises:
            NoTurnError: there is none, in time.
        """
        if self._may_work(client) and client not in self._lines:
            self._working[client] += 1
            return
        line = self._lines.get(client, deque())
        if len(line) >= WAITING_PER_CLIENT:
            raise NoTurnError(429, f"{len(line)} requests of this client wait already, the maximum")
        if sum(map(len, self._lines.values())) >= WAITING:
            raise NoTurnError(503, f"{WAITING} requests wait already, the maximum")
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._lines[client] = line
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except TimeoutError:
            self._leave(client, turn)
            raise NoTurnError(
                503, f"the server is busy: there was no turn within {self._wait_seconds:g} s"
            ) from None
        except asyncio.CancelledError:
            self._leave(client, turn)
            raise

    def give(self, client: str) -> None:
        """End a turn of a client, and let the next ones work."""
        self._working[client] -= 1
        if not self._working[client]:
            del self._working[client]
        self._let_work()

    def _may_work(self, client: str) -> bool:
        return self._working.total() < AT_ONCE and self._working[client] < AT_ONCE_PER_CLIENT

    def _let_work(self) -> None:
        while (client := next(filter(self._may_work, self._lines), None)) is not None:
            line = self._lines.pop(client)
            turn = line.popleft()
            if line:
                self._lines[client] = line  # behind those of the other clients
            if not turn.done():  # cancelled: its request leaves just now
                self._working[client] += 1
                turn.set_result(None)

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.give(client)  # its turn came at the same moment
            return
        line = self._lines.get(client, deque())
        if turn in line:
            line.remove(turn)
            if not line:
                del self._lines[client]


class TakeTurns:
    """Let requests wait for their turns. A turn ends when the response begins to be sent.

    So neither an event stream has one, nor a client that reads slowly.
    """

    def __init__(self, app: ASGIApp, wait_seconds: float) -> None:
        self._app = app
        self._turns = Turns(wait_seconds=wait_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        client = client_of(scope["client"][0]) if scope.get("client") else ""
        try:
            await self._turns.take(client)
        except NoTurnError as error:
            response = problem(error.status, HTTPStatus(error.status).phrase, str(error))
            response.headers["Retry-After"] = "1"
            await response(scope, receive, send)
            return
        has_turn = True

        def give() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._turns.give(client)

        async def send_giving(message: Message) -> None:
            if message["type"] == "http.response.start":
                give()
            await send(message)

        try:
            await self._app({**scope, _GIVE: give}, receive, send_giving)
        finally:
            give()
