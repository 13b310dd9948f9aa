"""A proxy before the server, by which connections can be made to go silent."""

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """A TCP proxy in front of the server's Unix socket, whose connections can be made silent."""

    def __init__(self, real_url: str, user: str = "postgres") -> None:
        self._user = user
        parts = urlsplit(real_url)
        (folder,) = parse_qs(parts.query)["host"]
        self._socket = f"{folder}/.s.PGSQL.5432"
        self._path = parts.path
        self._heard: list[asyncio.Event] = []  # of each connection: set while it is forwarded
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://{self._user}@127.0.0.1:{port}{self._path}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        return len(self._heard)

    def silence(self) -> int:
        """Forward nothing more of the present connections; return how many there are."""
        for forwards in self._heard:
            forwards.clear()
        return len(self._heard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        except OSError:  # the server is stopped at present
            writer.close()
            return
        forwards = asyncio.Event()
        forwards.set()
        self._heard.append(forwards)
        for source, target in ((reader, server_writer), (server_reader, writer)):
            task = asyncio.create_task(self._pump(source, target, forwards))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, forwards: asyncio.Event
    ) -> None:
        try:
            with suppress(OSError):
                while data := await source.read(65536):
                    await forwards.wait()
                    target.write(data)
                    await target.drain()
                await forwards.wait()  # the end of a silent connection is not heard either
        finally:
            target.close()
