"""Tokens: no data without one where they are required, and none beyond scopes and portfolios."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from revalue.console.cli.main import app
from revalue.console.web.server import application, is_loopback
from revalue.engine.errors import NotFoundError, UsageError
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import DAYS, Engine, execute, fetch
from tests.web.test_api import client

READS = (
    f"/portfolios/P1/positions?as_of={DAYS[3]}",
    f"/portfolios/P1/valuation?from={DAYS[0]}&to={DAYS[3]}",
    "/positions/P1/A/history",
    f"/positions/P1/A/changes?date={DAYS[3]}",
    f"/positions/P1/A/explain?date={DAYS[3]}",
    "/jobs",
    "/dead-letters",
    "/positions/stuck",
    "/reprocessing",
)
LISTS = ("/jobs", "/dead-letters", "/positions/stuck")
OPERATES = (
    "/jobs/1:retry",
    "/corrections:preview",
    "/corrections:preview-file",
    "/calendars:open",
)
BODY = {"kind": "price", "security_id": "A", "date": DAYS[3].isoformat(), "price": "12"}
OPEN = {"date": DAYS[-1].isoformat()}


def body_of(path: str) -> dict[str, str]:
    return OPEN if path == "/calendars:open" else BODY


@pytest.fixture
async def guarded(url: str, valued: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, require_token=True) as opened:
        yield opened


def bearing(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


async def test_nobody_is_served_without_a_valid_token(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    _, good = await tokens.create(database, "good", ["read", "operate"])
    _, gone = await tokens.create(database, "gone", ["read", "operate"])
    _, late = await tokens.create(database, "late", ["read", "operate"], expires=timedelta(days=1))
    assert (await guarded.get(READS[0], headers=bearing(late))).status_code == 200
    await tokens.revoke(database, "gone")
    await execute(
        database,
        "UPDATE api_tokens "
        "SET created_at = created_at - interval '2 days', expires_at = created_at "
        "WHERE name = 'late'",
    )
    wrong = (
        {},
        bearing(""),
        bearing("x"),
        bearing(gone),
        bearing(late),
        bearing(good[:-1]),
        {"authorization": f"Basic {good}"},
    )
    for headers in wrong:
        for path in READS:
            answer = await guarded.get(path, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (
                401,
                "application/problem+json",
            ), (path, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in OPERATES:
            assert (
                await guarded.post(path, headers=headers, json=body_of(path))
            ).status_code == 401
    for path in READS:
        assert (await guarded.get(path, headers=bearing(good))).status_code == 200, path
    assert (await guarded.get("/health/ready")).status_code == 200


async def test_a_scope_does_not_include_the_other(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    _, read = await tokens.create(database, "read", ["read"])
    _, operate = await tokens.create(database, "operate", ["operate"])
    for path in OPERATES:
        answer = await guarded.post(path, headers=bearing(read), json=body_of(path))
        assert (answer.status_code, "lacks the scope 'operate'" in answer.json()["detail"]) == (
            403,
            True,
        )
    for path in READS:
        assert (await guarded.get(path, headers=bearing(operate))).status_code == 403
    for method in ("GET", "DELETE"):
        for token, status in ((read, 403), (operate, 404)):
            answer = await guarded.request(method, "/previews/x", headers=bearing(token))
            assert answer.status_code == status
    assert (await guarded.post(OPERATES[1], headers=bearing(operate), json=BODY)).status_code == 200


async def test_a_limited_token_knows_of_its_portfolios_only(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    await execute(
        database,
        "UPDATE portfolio_valuation_jobs "
        "SET status = 'FAILED', failure_reason = 'X', valued_through = NULL",
    )
    await execute(
        database,
        """INSERT INTO dead_letters
               (job_id, position_id, attempt_count, failure_reason, traceback)
           SELECT job_id, position_id, 3, 'X', 'x' FROM portfolio_valuation_jobs""",
    )
    await execute(database, "UPDATE position_state SET pending = '{[2024-01-01,2024-01-02)}'")
    _, mine = await tokens.create(database, "mine", ["read", "operate"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read", "operate"])
    for path in LISTS:
        seen = {}
        for name, secret in (("mine", mine), ("every", every)):
            answer = await guarded.get(path, headers=bearing(secret))
            seen[name] = [item["portfolio_id"] for item in answer.json()["items"]]
        assert set(seen["mine"]) == {"P1"}, path
        assert len(seen["every"]) == 2 * len(seen["mine"]), path
    for path in READS[:5]:
        assert (await guarded.get(path, headers=bearing(mine))).status_code == 200
        for other in ("P2", "P9"):  # it cannot tell one that exists from one that does not
            answer = await guarded.get(path.replace("P1", other), headers=bearing(mine))
            assert (
                answer.status_code,
                f"no access to portfolio '{other}'" in answer.json()["detail"],
            ) == (403, True), path
    assert (await guarded.get("/reprocessing", headers=bearing(mine))).status_code == 403
    for path in OPERATES[1:]:
        assert (
            await guarded.post(path, headers=bearing(mine), json=body_of(path))
        ).status_code == 403
    for method in ("GET", "DELETE"):
        answer = await guarded.request(method, "/previews/x", headers=bearing(mine))
        assert answer.status_code == 403
    jobs = await fetch(
        database,
        "SELECT portfolio_id, max(job_id) "
        "FROM portfolio_valuation_jobs JOIN position_state USING (position_id) "
        "GROUP BY 1 ORDER BY 1",
    )
    statuses = [
        (await guarded.post(f"/jobs/{job}:retry", headers=bearing(mine))).status_code
        for job in (jobs[0][1], jobs[1][1], 99)
    ]
    assert statuses == [200, 404, 404]


async def test_an_etag_of_one_token_opens_nothing_to_another(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    _, mine = await tokens.create(database, "mine", ["read"], portfolios=["P1"])
    _, other = await tokens.create(database, "other", ["read"], portfolios=["P2"])
    answer = await guarded.get(READS[0], headers=bearing(mine))
    assert {each.strip() for each in answer.headers["vary"].split(",")} == {
        "Accept",
        "Accept-Encoding",
        "Authorization",
    }
    assert "private" in answer.headers["cache-control"]
    known = {"if-none-match": answer.headers["etag"]}
    assert (await guarded.get(READS[0], headers={**bearing(mine), **known})).status_code == 304
    assert (await guarded.get(READS[0], headers={**bearing(other), **known})).status_code == 403
    assert (await guarded.get(READS[0], headers=known)).status_code == 401


async def test_a_secret_is_stored_nowhere_and_names_are_used_once(database: Database) -> None:
    token, secret = await tokens.create(database, "one", ["read"])
    assert len(secret) > 43
    [row] = await fetch(database, "SELECT t::text FROM api_tokens t")
    assert secret not in row[0]
    assert await tokens.bearer(database, secret) == token
    with pytest.raises(UsageError, match="already"):
        await tokens.create(database, "one", ["read"])
    await tokens.revoke(database, "one")
    with pytest.raises(NotFoundError):
        await tokens.revoke(database, "one")
    await tokens.create(database, "one", ["read"])
    assert [each.name for each in await tokens.listed(database)] == ["one", "one"]
    for scopes, portfolios, error in (
        ([], None, UsageError),
        (["write"], None, UsageError),
        (["read"], ["P9"], NotFoundError),
    ):
        with pytest.raises(error):
            await tokens.create(database, "two", scopes, portfolios=portfolios)


async def test_only_this_machine_is_served_without_tokens(url: str, valued: Engine) -> None:
    settings = Settings.model_construct()
    for host, require, status in (
        ("127.0.0.1", False, 200),
        ("::1", False, 200),
        ("127.0.0.1", True, 401),
        ("0.0.0.0", False, 401),
    ):
        opened = application(url, settings, host=host, require_token=require)
        async with (
            opened.router.lifespan_context(opened),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(opened), base_url="http://127.0.0.1"
            ) as web,
        ):
            assert (await web.get("/jobs")).status_code == status, host
    async with client(url) as web:
        for name in ("localhost:8460", "127.0.0.1:8460"):
            assert (await web.get("/jobs", headers={"host": name})).status_code == 200
    assert all(is_loopback(host) for host in ("127.0.0.5", "localhost", "::1"))
    assert not any(is_loopback(host) for host in ("::", "10.0.0.1", "example.org"))


async def test_a_page_of_another_site_cannot_operate(url: str, valued: Engine) -> None:
    """A browser sends a POST to 127.0.0.1 for any page, with the page's Origin."""
    async with client(url) as web:
        for origin, status in (
            ("http://attacker.example", 403),
            ("null", 403),
            ("http://localhost", 409),
        ):
            assert (
                await web.post("/jobs/1:retry", headers={"origin": origin})
            ).status_code == status


def test_tokens_on_the_command_line(url: str, valued: Engine, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(
            app, ["--database-url", url, "tokens", *words], catch_exceptions=False
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    made = json.loads(
        run(
            "create",
            "desk",
            "--scope",
            "read",
            "--scope",
            "operate",
            "--portfolio",
            "P1",
            "--expires-days",
            "30",
            "--json",
        )
    )
    assert (made["scopes"], made["portfolios"]) == (["operate", "read"], ["P1"])
    assert run("create", "plain", "--scope", "read").strip().startswith("revalue_")
    listed = json.loads(run("list", "--json"))
    assert [(each["name"], each["revoked_at"]) for each in listed] == [
        ("plain", None),
        ("desk", None),
    ]
    assert made["token"] not in json.dumps(listed)
    assert "revoked" in run("revoke", "desk")
    assert json.loads(run("list", "--json"))[1]["revoked_at"] is not None
    assert "desk" in run("list")


async def test_a_server_that_stops_ends_its_streams_without_an_error(
    url: str, valued: Engine
) -> None:
    """A page that listens neither keeps the server alive nor causes a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "revalue", "--database-url", url, "serve", "--port", str(port)]
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as web,
            asyncio.timeout(60),
        ):
            while True:
                try:
                    await web.get("/health/live")
                    break
                except httpx.ConnectError:
                    assert server.returncode is None
            async with web.stream("GET", "/events") as stream:
                lines = stream.aiter_lines()
                while not (await anext(lines)).startswith("event: state"):
                    pass
                server.send_signal(signal.SIGINT)
                async for _ in lines:
                    pass
            assert await server.wait() == 0
        assert server.stderr is not None
        assert await server.stderr.read() == b""
    finally:
        if server.returncode is None:
            server.kill()
