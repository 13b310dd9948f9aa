"""`revalue serve` over real sockets: what clients do, or do not do, harms nobody else."""

import asyncio
import gzip
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import asyncpg
import httpx
import polars as pl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from revalue.console.web import connections, turns
from revalue.console.web.app import create_app
from revalue.console.web.responses import rows_response
from revalue.console.web.schemas.jobs import Jobs
from revalue.console.web.server import Server, listen
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.errors import DatabaseUnavailableError, UsageError
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.conftest import book_template, drop_database, fresh_database
from tests.support import DAYS, facts, load_small_book, until
from tests.web.served import connect, exchange, get, read_all, served, status_of

MOST = 40
OTHER = "127.0.0.2"
LIVE = get("/health/live")
JOBS = get("/jobs")


@pytest.fixture(scope="module")
def book(server_url: str, template: str) -> Iterator[str]:
    name = asyncio.run(book_template(server_url, template, 2))
    url = asyncio.run(fresh_database(server_url, name))
    yield url
    asyncio.run(drop_database(server_url, url))


@pytest.fixture(scope="module")
def server(book: str) -> Iterator[Server]:
    """A server whose connections are few and may be silent for long."""
    settings = Settings(http_connections=MOST, http_idle_seconds=60)
    with served(book, settings) as running:
        yield running


@pytest.fixture(scope="module")
def strict(book: str) -> Iterator[Server]:
    """A server that waits for its clients for a short time only."""
    with served(book, Settings(http_idle_seconds=0.5)) as running:
        yield running


def silent(opened: ExitStack, server: Server, number: int, head: str) -> None:
    """Connections on which half a head is sent, or nothing."""
    sockets = [opened.enter_context(connect(server)) for _ in range(number)]
    for each in sockets:
        with suppress(ConnectionError):  # there are too many, and it was ended
            each.sendall(head.encode())


def problem_of(answer: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    """The status, the headers and the body of an error."""
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-correlation-id"]
    assert headers["x-content-type-options"] == "nosniff"
    return status_of(answer), headers, json.loads(body)


@pytest.mark.parametrize("head", ["", "GET /jobs HTTP/1.1\r\nHost: loc"])
def test_many_silent_connections_of_a_client_leave_the_others_served(
    server: Server, head: str
) -> None:
    with ExitStack() as opened:
        mine = opened.enter_context(connect(server, OTHER))
        silent(opened, server, 8 * MOST, head)
        assert len(server.connections) <= MOST + connections.SPARE
        assert status_of(exchange(server, JOBS, OTHER)) == 200
        end = time.monotonic() + 30
        while status_of(exchange(server, JOBS)) != 200:  # it, too, when they have been silent
            assert time.monotonic() < end
        mine.sendall(LIVE.encode())  # those of the others were not ended for them
        assert status_of(read_all(mine)) == 200


def test_if_every_connection_is_at_work_the_next_one_is_told_so(server: Server) -> None:
    head = "POST /corrections:preview HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    with ExitStack() as opened:
        for number in range(2 * MOST):  # of many clients, else they would wait for their turns
            each = opened.enter_context(connect(server, f"127.0.1.{number + 1}"))
            each.sendall(head.encode())
        answer = b""
        end = time.monotonic() + 30
        while b" 503 " not in answer:  # until all of them have begun
            assert time.monotonic() < end
            answer = exchange(server, LIVE)
        status, headers, body = problem_of(answer)
    assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
    assert body["detail"] == "too many connections are open; try again"


@pytest.mark.parametrize("sent", ["", "GET /jobs HTTP/1.1\r\nHost: loc"])
def test_a_client_that_sends_no_whole_head_is_disconnected(strict: Server, sent: str) -> None:
    with connect(strict) as opened:
        opened.sendall(sent.encode())
        began = time.monotonic()
        assert read_all(opened) == b""
        assert time.monotonic() - began < 5


def test_a_head_that_comes_byte_by_byte_does_not_last_longer(strict: Server) -> None:
    with connect(strict) as opened:
        opened.settimeout(0.1)
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012
            while time.monotonic() - began < 10:
                opened.sendall(b"G")
                try:
                    if not opened.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    pass


@pytest.mark.parametrize("part", ["", "{"])
def test_a_body_that_does_not_come_is_408(strict: Server, part: str) -> None:
    head = get("/corrections:preview", "Content-Length: 9", method="POST")
    status, headers, body = problem_of(exchange(strict, head + part))
    assert (status, headers["connection"]) == (408, "close")
    assert "a part every 0.5 s, and 32,000 bytes per second" in body["detail"]


def test_a_client_that_does_not_read_is_disconnected(
    strict: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BYTES_PER_SECOND", 10**9)
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(30)
        opened.connect(("127.0.0.1", strict.port))
        request = get("/openapi.json").replace("Connection: close\r\n", "").encode()
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012
            while time.monotonic() - began < 30:
                opened.sendall(request)  # until it waits, and then until it is disconnected


def test_what_is_no_http_is_answered_as_every_other_error(server: Server) -> None:
    for request in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000):
        assert problem_of(exchange(server, request))[0] == 400


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, today, today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certificate.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


def test_connections_that_begin_no_handshake_are_counted_and_end(
    book: str, certificate: tuple[Path, Path]
) -> None:
    file, key = certificate
    settings = Settings(http_connections=MOST, http_idle_seconds=2)
    with served(book, settings, certificate=file, key=key) as running, ExitStack() as opened:
        first = opened.enter_context(connect(running))
        silent(opened, running, 5 * MOST, "")
        plain = connect(running, OTHER)
        tls = ssl.create_default_context(cafile=str(file))
        with tls.wrap_socket(plain, server_hostname="localhost") as other:
            other.sendall(LIVE.encode())
            answer = read_all(other)
        assert status_of(answer) == 200
        assert b"strict-transport-security: max-age=31536000\r\n" in answer
        assert read_all(first) == b""


def test_pages_that_listen_leave_the_others_served(server: Server) -> None:
    """Event streams have no turn, and neither one client nor all together have too many."""
    with ExitStack() as opened:
        statuses = []
        for client in range(5):
            for _ in range(9):
                each = opened.enter_context(connect(server, f"127.0.2.{client}"))
                each.sendall(get("/events").encode())
                statuses.append(status_of(each.recv(4096)))
        assert statuses == [*[200] * 8, 429] * 4 + [503] * 9
        assert status_of(exchange(server, JOBS, "127.0.2.0")) == 200


class Endpoint:
    """An application that works at each request until it is told to end."""

    def __init__(self) -> None:
        self.working: list[str] = []
        self.end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.working.append(scope["client"][0])
        await asyncio.wait_for(self.end.wait(), 60)
        await PlainTextResponse("done")(scope, receive, send)


def calls(app: ASGIApp, client: str, number: int) -> list[asyncio.Task[httpx.Response]]:
    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as web:
            return await web.get("/")

    return [asyncio.create_task(call()) for _ in range(number)]


async def statuses(tasks: list[asyncio.Task[httpx.Response]]) -> list[int]:
    return [response.status_code for response in await asyncio.gather(*tasks)]


async def test_the_requests_of_one_client_leave_turns_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "WAITING_PER_CLIENT", 64)
    endpoint = Endpoint()
    app = turns.TakeTurns(endpoint, wait_seconds=30)
    many = calls(app, "10.0.0.1", turns.AT_ONCE_PER_CLIENT + 64)
    await until(lambda: len(endpoint.working) == turns.AT_ONCE_PER_CLIENT)
    other = calls(app, "10.0.0.2", 1)
    await until(lambda: "10.0.0.2" in endpoint.working)
    refused = await asyncio.gather(*calls(app, "10.0.0.1", 3))
    assert {
        (each.status_code, each.headers["content-type"], each.headers["retry-after"])
        for each in refused
    } == {(429, "application/problem+json", "1")}
    endpoint.end.set()
    assert {each.status_code for each in await asyncio.gather(*many, *other)} == {200}


async def test_clients_that_wait_take_turns() -> None:
    """A client with one request does not wait for all those of another one."""
    endpoint = Endpoint()
    app = turns.TakeTurns(endpoint, wait_seconds=30)
    clients = turns.AT_ONCE // turns.AT_ONCE_PER_CLIENT
    busy = [
        call
        for client in range(clients)
        for call in calls(app, f"10.0.1.{client}", turns.AT_ONCE_PER_CLIENT)
    ]
    await until(lambda: len(endpoint.working) == turns.AT_ONCE)
    waiting = calls(app, "10.0.0.1", 8)
    await asyncio.sleep(0)
    waiting += calls(app, "10.0.0.2", 1)
    await asyncio.sleep(0.05)
    endpoint.end.set()
    assert set(await statuses(busy + waiting)) == {200}
    assert endpoint.working[turns.AT_ONCE :].index("10.0.0.2") == 1


async def test_a_request_whose_turn_does_not_come_is_told_so() -> None:
    endpoint = Endpoint()
    app = turns.TakeTurns(endpoint, wait_seconds=0.1)
    busy = calls(app, "10.0.0.1", turns.AT_ONCE_PER_CLIENT)
    await until(lambda: len(endpoint.working) == turns.AT_ONCE_PER_CLIENT)
    assert await statuses(calls(app, "10.0.0.1", 1)) == [503]
    endpoint.end.set()
    assert set(await statuses(busy + calls(app, "10.0.0.1", 1))) == {200}


async def test_a_turn_that_comes_as_its_request_is_cancelled_goes_on() -> None:
    queue = turns.Turns(wait_seconds=30)
    for _ in range(turns.AT_ONCE_PER_CLIENT):
        await queue.take("a")
    first, second = (asyncio.create_task(queue.take("a")) for _ in range(2))
    await asyncio.sleep(0)
    queue.give("a")  # the turn of `first`, which is cancelled before it knows
    first.cancel()
    await asyncio.wait_for(second, 10)


async def test_a_turn_that_is_free_as_a_request_gives_up_goes_to_the_next_one() -> None:
    queue = turns.Turns(wait_seconds=30)
    for _ in range(turns.AT_ONCE_PER_CLIENT):
        await queue.take("a")
    waiting = [asyncio.create_task(queue.take("a")) for _ in range(3)]
    await asyncio.sleep(0)
    for each in waiting[:2]:
        each.cancel()
    queue.give("a")
    await asyncio.wait_for(waiting[2], 10)
    assert [each.cancelled() for each in waiting] == [True, True, False]
    for _ in range(turns.AT_ONCE_PER_CLIENT):
        queue.give("a")
    for _ in range(turns.AT_ONCE_PER_CLIENT):  # none is lost
        await asyncio.wait_for(queue.take("a"), 10)


def test_a_network_of_ipv6_is_one_client() -> None:
    assert turns.client_of("2001:db8::1") == turns.client_of("2001:db8::ffff:1")
    assert turns.client_of("2001:db8::1") != turns.client_of("2001:db8:0:1::1")
    assert turns.client_of("::ffff:10.0.0.1") == turns.client_of("10.0.0.1")


IDS = (
    *("BRK/B", "50%", "50%25", "%2F", "a#b", "a?b=c", "a+b", "a&b", "A B", "...", "[x]", "\\", "'"),
    *("株/ü", "ø" * 200),
)
"""Ids that mean something else in a URL, as they are or when they are decoded twice."""


@pytest.fixture(scope="module")
def named(server_url: str, template: str) -> Iterator[Server]:
    """A server of a book whose portfolios and securities have such ids."""
    url = asyncio.run(fresh_database(server_url, template))

    async def prepare() -> None:
        async with await Database.open(url) as database:
            await load_small_book(database, portfolios=1)
            portfolios = {"portfolio_id": IDS, "base_currency": "USD", "calendar_id": "CAL"}
            await load(database, Kind.PORTFOLIOS, pl.DataFrame(portfolios))
            instruments = {"security_id": IDS, "currency": "USD", "max_price_age_sessions": 3}
            await load(database, Kind.INSTRUMENTS, pl.DataFrame(instruments))
            for each in IDS:
                await load(database, Kind.POSITIONS, facts(each, each, {DAYS[0]: "5"}))

    asyncio.run(prepare())
    with served(url, Settings()) as running:
        yield running
    asyncio.run(drop_database(server_url, url))


@pytest.mark.parametrize("name", IDS)
def test_every_id_can_be_asked_for(named: Server, name: str) -> None:
    sent = quote(name, safe="")
    for path in (
        f"/portfolios/{sent}/positions?as_of={DAYS[3]}",
        f"/portfolios/{sent}/valuation?from={DAYS[0]}&to={DAYS[3]}",
        f"/positions/{sent}/{sent}/history",
        f"/positions/{sent}/{sent}/changes?date={DAYS[3]}",
        f"/positions/{sent}/{sent}/explain?date={DAYS[3]}",
    ):
        answer = exchange(named, get(path))
        assert status_of(answer) == 200, (path, answer)
        body = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert body["portfolio_id"] == name
        assert body.get("security_id", name) == name
    lines = exchange(named, get(f"/portfolios/{sent}/positions?as_of={DAYS[3]}&after={sent}"))
    assert json.loads(lines.partition(b"\r\n\r\n")[2])["items"] == []


def test_an_id_that_is_too_long_or_decoded_twice_is_none(named: Server) -> None:
    day = f"?date={DAYS[3]}"
    for path, status in (
        (f"/positions/{'x' * 201}/A/changes{day}", 422),
        (f"/positions/{'%2F' * 201}/A/changes{day}", 422),
        (f"/positions/%252F/%252F/changes{day}", 200),
        (f"/positions/%25252F/%252F/changes{day}", 404),
        (f"/positions/BRK/B/BRK/B/changes{day}", 404),
        (f"/positions/%00/A/changes{day}", 422),
    ):
        assert status_of(exchange(named, get(path))) == status, path


@pytest.fixture(scope="module")
def guarded(book: str) -> Iterator[Server]:
    """A server that requires tokens."""
    with served(book, Settings(), require_token=True) as running:
        yield running


UNKNOWN = f"Authorization: Bearer revalue_{'x' * 43}"


@pytest.mark.parametrize("token", [(), (UNKNOWN,), ("Authorization: Bearer nonsense",)])
def test_without_a_token_no_body_is_waited_for(guarded: Server, token: tuple[str, ...]) -> None:
    paths = create_app("postgresql://nowhere").openapi()["paths"]
    for path, methods in paths.items():
        if path.startswith("/health"):
            continue
        for method in methods:
            with_ids = path.replace("{job_id}", "1").replace("{", "").replace("}", "")
            headers = (
                *token,
                "Content-Type: application/json",
                "Content-Length: 9",
                "Expect: 100-continue",
            )
            answer = exchange(guarded, get(with_ids, *headers, method=method.upper()))
            assert problem_of(answer)[0] == 401, (method, path)


def test_a_port_that_is_taken_is_told_in_one_sentence(server: Server) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on port {server.port} of 127.0.0.1"):
        listen("127.0.0.1", server.port)


def test_all_addresses_of_a_name_are_listened_on_at_one_port() -> None:
    listeners = listen("localhost", 0)
    found = {each[4][0] for each in socket.getaddrinfo("localhost", None)}
    assert {each.getsockname()[0] for each in listeners} <= found
    assert len({each.getsockname()[1] for each in listeners}) == 1
    for each in listeners:
        each.close()
    with pytest.raises(UsageError, match=r"cannot listen on port 80 of 192\.0\.2\.99"):
        listen("192.0.2.99", 80)


async def test_a_server_for_other_machines_says_that_tokens_travel_in_clear(
    book: str, certificate: tuple[Path, Path]
) -> None:
    async def lines_of(*options: str) -> list[str]:
        serve = ("serve", "--host", "0.0.0.0", "--port", "0", *options)
        command = [sys.executable, "-m", "revalue", "--database-url", book, *serve]
        server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert server.stderr is not None
        lines = [""]
        try:
            async with asyncio.timeout(120):
                while not lines[-1].startswith("serving"):
                    assert server.returncode is None
                    lines.append((await server.stderr.readline()).decode())
        finally:
            server.terminate()
            await server.wait()
        return lines[1:]

    file, key = certificate
    in_clear, over_tls = await asyncio.gather(
        lines_of(), lines_of("--certificate", str(file), "--key", str(key))
    )
    assert [line.partition(":")[0] for line in in_clear] == [
        "without a certificate tokens and numbers travel in clear",
        "serving the API and the console on http",
    ]
    assert [line.partition(":")[0] for line in over_tls] == [
        "serving the API and the console on https"
    ]


async def test_unknown_tokens_take_few_database_sessions(guarded: Server, book: str) -> None:
    connection = await asyncpg.connect(book)
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(guarded, f"127.0.3.{n}")) for n in range(60)]
        for each in clients:
            each.sendall(get("/jobs", UNKNOWN).encode())
        sessions = await connection.fetch(
            "SELECT FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'revalue serve'"
        )
        answers = [await asyncio.to_thread(read_all, each) for each in clients]
    await connection.close()
    assert {status_of(each) for each in answers} == {401}
    assert len(sessions) <= 3 * 4  # three servers of this file


async def test_who_has_no_token_is_told_nothing_about_the_database(
    guarded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise DatabaseUnavailableError("no route to 10.1.2.3, user secret")

    monkeypatch.setattr(tokens, "bearer", fail)
    status, _, body = problem_of(exchange(guarded, get("/jobs", UNKNOWN)))
    assert (status, body["detail"]) == (
        503,
        "the token cannot be checked: the database is unavailable or busy",
    )


def test_a_slash_at_the_end_redirects_nobody(guarded: Server) -> None:
    request = get("/jobs/").replace("Host: localhost", "Host: attacker.example")
    assert problem_of(exchange(guarded, request))[0] == 404


def head_of(answer: bytes) -> dict[str, str]:
    """The headers of a response, without the time."""
    lines = answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines)
    return {
        name: value for name, value in headers.items() if name not in ("date", "x-correlation-id")
    }


PATHS = ("/", "/console/console.js", "/openapi.json", "/jobs", "/health/live", "/nothing")


def test_every_response_tells_browsers_what_they_may_do(server: Server) -> None:
    for path in PATHS:
        headers = head_of(exchange(server, get(path)))
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] in ("no-store", "no-cache", "private, no-cache"), path
        assert "strict-transport-security" not in headers


def test_head_is_get_without_the_content(server: Server) -> None:
    for path in (*PATHS, "/events"):
        got = exchange(server, get(path, method="HEAD"))
        assert got.partition(b"\r\n\r\n")[2] == b"", path
        if path != "/events":
            want = exchange(server, get(path))
            assert (status_of(got), head_of(got)) == (status_of(want), head_of(want)), path


def test_a_method_that_is_not_allowed_is_told_which_are(server: Server) -> None:
    for path, allowed in (
        ("/jobs", "get, head"),
        ("/previews/x", "delete, get, head"),
        ("/", "get, head"),
        ("/jobs/1:retry", "post"),
    ):
        answer = exchange(server, get(path, "Content-Length: 0", method="PUT"))
        assert (status_of(answer), head_of(answer)["allow"]) == (405, allowed)


def test_long_responses_are_compressed(server: Server) -> None:
    gzip_too = "Accept-Encoding: br, gzip"
    history = "/positions/P1/A/history"
    plain, packed = exchange(server, get(history)), exchange(server, get(history, gzip_too))
    assert "content-encoding" not in head_of(plain)
    assert head_of(packed)["content-encoding"] == "gzip"
    assert gzip.decompress(packed.partition(b"\r\n\r\n")[2]) == plain.partition(b"\r\n\r\n")[2]
    assert len(packed) < len(plain) / 3
    for answer in (plain, packed):
        assert "accept-encoding" in head_of(answer)["vary"]
        known = f"If-None-Match: {head_of(answer)['etag']}".replace("w/", "W/")
        assert status_of(exchange(server, get(history, gzip_too, known))) == 304
    for path, header in (
        ("/health/live", gzip_too),
        ("/nothing" + "x" * 2_000, gzip_too),
        (history, f"{gzip_too}\r\nAccept: application/vnd.apache.parquet"),
    ):
        assert "content-encoding" not in head_of(exchange(server, get(path, header))), path
    with connect(server) as opened:
        opened.sendall(get("/events", gzip_too).encode())
        assert "content-encoding" not in head_of(opened.recv(4096))


class _Watched(str):
    """A cell that knows which thread wrote it."""

    threads: ClassVar[set[int]] = set()

    @property
    def lower_inc(self) -> bool:
        self.threads.add(threading.get_ident())
        return True

    lower = upper = None


@pytest.mark.parametrize(("rows", "is_own"), [(10, False), (1_000, True)])
async def test_long_responses_are_written_in_a_thread_of_their_own(rows: int, is_own: bool) -> None:
    request = Request({"type": "http", "headers": [], "method": "GET", "path": "/"})
    _Watched.threads.clear()
    await rows_response(request, Jobs, {}, [{"status": _Watched()}] * rows)
    assert (threading.get_ident() not in _Watched.threads) is is_own
    assert len(_Watched.threads) == 1
