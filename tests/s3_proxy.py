"""A proxy before an object store, by which requests go wrong: refused, torn, slow or unanswered."""

import asyncio
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Exchange:
    """A request that the proxy has read the head of."""

    method: str
    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    real_port: int

    async def body(self) -> bytes:
        length = _LENGTH.search(self.head)
        return await self.reader.readexactly(int(length[1])) if length else b""

    async def forwarded(self, body: bytes) -> bytes:
        """Send it to the store; return the whole response, or what came until it broke off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.real_port)
        try:
            writer.write(self.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            writer.write(body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()

    async def respond(self, response: bytes) -> None:
        self.writer.write(response)
        await self.writer.drain()


Fault = Callable[[Exchange], Awaitable[None]]


async def passed(exchange: Exchange) -> None:
    """No fault."""
    await exchange.respond(await exchange.forwarded(await exchange.body()))


def answered(status: int, code: str = "") -> Fault:
    """The proxy answers in place of the store."""

    async def fault(exchange: Exchange) -> None:
        await exchange.body()
        text = f"<Error><Code>{code}</Code><Message>made up</Message></Error>" if code else ""
        head = f"HTTP/1.1 {status} Made Up\r\nContent-Length: {len(text)}\r\nConnection: close"
        await exchange.respond(f"{head}\r\n\r\n{text}".encode())

    return fault


def late(seconds: float) -> Fault:
    """The request reaches the store after this time."""

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await passed(exchange)

    return fault


async def lost_response(exchange: Exchange) -> None:
    """The store does what is asked, and its response gets lost."""
    await exchange.forwarded(await exchange.body())


async def torn_upload(exchange: Exchange) -> None:
    """Both connections break when half of the body is through."""
    body = await exchange.body()
    _, writer = await asyncio.open_connection("127.0.0.1", exchange.real_port)
    writer.write(exchange.head + body[: len(body) // 2])
    await writer.drain()
    writer.close()


async def torn_download(exchange: Exchange) -> None:
    """The connection to the client breaks in the middle of the response."""
    response = await exchange.forwarded(await exchange.body())
    await exchange.respond(response[: len(response) // 2])


async def silence(exchange: Exchange) -> None:
    """The request is read and nothing follows, until the client hangs up."""
    await exchange.body()
    await exchange.reader.read()


class S3Proxy:
    """A proxy in a thread of its own."""

    def __init__(self, real_port: int) -> None:
        self._real_port = real_port
        self._planned: deque[tuple[str, Fault]] = deque()
        self._always: dict[str, Fault] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[str] = []
        """The methods, in order."""

    def __enter__(self) -> "S3Proxy":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        started = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(started, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def plan(self, method: str, *faults: Fault) -> None:
        """Let the next requests of this method meet these faults, one each."""
        self._planned.extend((method, fault) for fault in faults)

    def plan_always(self, method: str, fault: Fault) -> None:
        """Let every request of this method meet a fault."""
        self._always[method] = fault

    def heal(self) -> None:
        """Let all requests through again."""
        self._planned.clear()
        self._always.clear()

    async def _stop(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _fault_of(self, method: str) -> Fault:
        if self._planned and self._planned[0][0] == method:
            return self._planned.popleft()[1]
        return self._always.get(method, passed)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                method = head.partition(b" ")[0].decode()
                self.requests.append(method)
                fault = self._fault_of(method)
                await fault(Exchange(method, head, reader, writer, self._real_port))
        finally:
            writer.close()
            self._connections.discard(task)
