"""Tokens: no data without one where they are required, and none beyond scopes and portfolios."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import httpx
import pytest
from typer.testing import CliRunner

from revalue.console.cli.main import app
from revalue.console.web.opaque_ids import KINDS, OpaqueIds
from revalue.console.web.server import application, is_loopback
from revalue.engine.correct.corrections import corrections
from revalue.engine.errors import (
    DatabaseUnavailableError,
    NotFoundError,
    RevalueError,
    StorageSetupError,
    UsageError,
)
from revalue.engine.operate import job_list, tokens
from revalue.engine.operate import status as engine_status
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries
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
    "/portfolios",
    "/reports/positions",
    "/reports/totals",
    "/exceptions?portfolio=P1",
    "/loads",
)
LISTS = ("/jobs", "/dead-letters", "/positions/stuck")
OPERATES = (
    "/jobs/1:retry",
    "/corrections:preview",
    "/corrections:preview-file",
    "/calendars:open",
    "/exceptions:confirm",
    "/exceptions:unconfirm",
    "/corrections",
    "/splits:preview",
    "/splits",
    "/loads/1:preview-revert",
    "/loads/1:revert",
)
BODY = {"kind": "price", "security_id": "A", "date": DAYS[3].isoformat(), "price": "12"}
OPEN = {"date": DAYS[-1].isoformat()}


SPLIT = {"security_id": "A", "date": DAYS[3].isoformat(), "ratio": "4:1"}
LINE = {"kind": "price", "security_id": "A", "date": DAYS[3].isoformat()}
BODIES = {
    "/corrections": {"corrections": [BODY], "why": "a test"},
    "/calendars:open": OPEN,
    "/exceptions:confirm": {**LINE, "value": "12"},
    "/exceptions:unconfirm": LINE,
    "/splits:preview": SPLIT,
    "/splits": {**SPLIT, "why": "a test"},
    "/loads/1:preview-revert": {},
    "/loads/1:revert": {"why": "a test"},
}


def body_of(path: str) -> dict[str, object]:
    return BODIES.get(path, BODY)


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
    await make_failures(database)
    _, mine = await tokens.create(database, "mine", ["read", "operate"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read", "operate"])
    for path in ("/portfolios", *LISTS):
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
    for path in ("/reprocessing", "/loads"):
        assert (await guarded.get(path, headers=bearing(mine))).status_code == 403
    for path in OPERATES[1:]:
        assert (
            await guarded.post(path, headers=bearing(mine), json=body_of(path))
        ).status_code == 403
    for method in ("GET", "DELETE"):
        answer = await guarded.request(method, "/previews/x", headers=bearing(mine))
        assert answer.status_code == 403
    [theirs] = await fetch(
        database,
        "SELECT max(job_id) FROM job_spans JOIN position_state USING (position_id) "
        "WHERE portfolio_id = 'P2'",
    )
    seen = (await guarded.get("/jobs", headers=bearing(mine))).json()["items"]
    answers = [
        await guarded.post(f"/jobs/{job}:retry", headers=bearing(mine))
        for job in (seen[0]["job_id"], OpaqueIds(mine).hide("job_id", theirs[0]), 99)
    ]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [200, 404, 404]
    told = [re.sub("job [0-9]+", "job", answer.text) for answer in answers[1:]]
    assert told[0] == told[1]
    answer = await guarded.post(f"/jobs/{seen[-1]['job_id']}:retry", headers=bearing(mine))
    assert (answer.status_code, "covers other portfolios too" in answer.json()["detail"]) == (
        403,
        True,
    )


async def make_failures(database: Database) -> None:
    """Let a job of each position have failed, with a dead letter, and every position wait.

    The jobs that cover all positions stay.
    """
    await execute(
        database,
        """INSERT INTO portfolio_valuation_jobs
               (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date,
                last_date, attempt_count, lane, status, term, task_id, failure_reason, is_open)
           SELECT nextval('valuation_job_ids'), ARRAY[position_id], ARRAY[epoch],
                  ARRAY[first_date], ARRAY[last_date], ARRAY[trigger_id], first_date, last_date, 3,
                  lane, 'FAILED', term, task_id, 'X', false
           FROM job_spans""",
    )
    await execute(
        database,
        """INSERT INTO dead_letters (job_id, position_id, attempt_count, failure_reason, traceback)
           SELECT job_id, positions[1], 3, 'X', 'x' FROM portfolio_valuation_jobs
           WHERE status = 'FAILED'""",
    )
    await execute(database, "UPDATE position_state SET pending = '{[2024-01-01,2024-01-02)}'")


async def listed(
    web: httpx.AsyncClient, path: str, secret: str, limit: int
) -> list[list[dict[str, object]]]:
    """The pages of a list."""
    cursor = "after" if path == "/positions/stuck" else "before"
    query: dict[str, object] = {"limit": limit}
    pages = []
    while True:
        answer = await web.get(path, params=query, headers=bearing(secret))  # type: ignore[arg-type]
        pages.append(answer.json()["items"])
        if answer.json()["next"] is None:
            return pages
        query[cursor] = answer.json()["next"]


IDS = ("job_id", "task_id", "trigger_id", "dead_letter_id", "position_id")


async def test_ids_tell_a_limited_token_nothing_of_other_portfolios(
    guarded: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither their gaps, nor where a page ends; the same token sees the same ids."""
    await corrections.price(database, "A", DAYS[3], Decimal("12"))
    await make_failures(database)
    _, mine = await tokens.create(database, "mine", ["read", "operate"], portfolios=["P1"])
    _, like = await tokens.create(database, "like", ["read"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read"])
    for name, value in {"JOBS": 1, "SPANS": 1, "_FEW_POSITIONS": 0}.items():
        monkeypatch.setattr(job_list, name, value)
    monkeypatch.setattr(engine_status, "_WINDOW_POSITIONS", 1)
    for path in LISTS:
        everyones = await listed(guarded, path, every, 1_000)
        real = [row for page in everyones for row in page if row["portfolio_id"] == "P1"]
        [shown] = await listed(guarded, path, mine, 1_000)
        [other] = await listed(guarded, path, like, 1_000)
        assert len(shown) == len(real) > 1, path
        for number, row in enumerate(real):
            for name in row:
                same = (shown[number][name] == row[name], other[number][name] == row[name])
                is_id = name in IDS and row[name] not in (None, 0)
                assert same == ((False, False) if is_id else (True, True)), (path, name)
                assert not is_id or shown[number][name] != other[number][name]
                assert not is_id or 0 <= shown[number][name] < 2**53  # type: ignore[operator]
        assert [row for page in await listed(guarded, path, mine, 1) for row in page] == shown
        pages = await listed(guarded, path, mine, 1)
        assert all(len(page) == 1 for page in pages[: len(shown)]), path


async def test_no_part_of_a_response_has_ids_for_a_limited_token(
    guarded: httpx.AsyncClient, database: Database, valued: Engine
) -> None:
    await corrections.price(database, "A", DAYS[3], Decimal("12"))
    await valued.settle()
    _, mine = await tokens.create(database, "mine", ["read"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read"])
    seen = set()
    for path in (*READS[:5], *LISTS):
        parts = [
            list(ids_in((await guarded.get(path, headers=bearing(secret))).json()))
            for secret in (mine, every)
        ]
        if path in READS[:5]:
            assert [name for name, _ in parts[0]] == [name for name, _ in parts[1]], path
        assert not set(parts[0]) & set(parts[1]), path
        seen |= {name for name, _ in parts[0]}
    assert seen == {"job_id", "task_id", "trigger_id", "position_id"}


def ids_in(value: object) -> Iterator[tuple[str, int]]:
    """Every id in a response: the name of its field, and its value."""
    for name, each in value.items() if isinstance(value, dict) else enumerate(cast(list, value)):  # type: ignore[type-arg]
        if name in IDS and each:
            yield str(name), each
        elif isinstance(each, dict | list):
            yield from ids_in(each)


@pytest.mark.parametrize("field", KINDS)
def test_each_id_has_a_number_of_its_own(field: str) -> None:
    ids = OpaqueIds("secret")
    numbers = [*range(1, 2_000), 2**26, 2**51, 2**52 - 1]
    shown = [ids.hide(field, number) for number in numbers]
    assert len(set(shown)) == len(numbers)
    assert all(0 <= each < 2**52 for each in shown)
    assert [ids.find(field, each) for each in shown] == numbers
    assert [ids.hide(field, each) for each in (0, 2**52, 2**63 - 1)] == [0, 2**52, 2**63 - 1]


async def test_times_tell_a_limited_token_nothing_of_other_portfolios(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    """The last commit of all portfolios is no answer to it, whether anything changed or not."""
    _, mine = await tokens.create(database, "mine", ["read"], portfolios=["P1"])
    _, every = await tokens.create(database, "every", ["read"])
    for path in READS[:5]:
        answer = await guarded.get(path, headers=bearing(mine))
        for known in ({}, {"if-none-match": answer.headers["etag"]}):
            again = await guarded.get(path, headers={**bearing(mine), **known})
            assert again.status_code == (304 if known else 200)
            assert "revalue-known-at" not in again.headers, path
    for path in READS[:4]:
        assert "revalue-known-at" in (await guarded.get(path, headers=bearing(every))).headers, path


@pytest.mark.parametrize(
    ("kind", "status"), [(DatabaseUnavailableError, 503), (StorageSetupError, 500)]
)
async def test_what_is_wrong_with_the_database_is_told_to_those_who_may_operate_it(
    guarded: httpx.AsyncClient,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[RevalueError],
    status: int,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise kind("no route to 10.1.2.3")

    monkeypatch.setattr(ReaderQueries, "history", fail)
    for name, scopes, portfolios, is_told in (
        ("a", ["read"], None, False),
        ("b", ["read", "operate"], ["P1"], False),
        ("c", ["read", "operate"], None, True),
    ):
        _, secret = await tokens.create(database, name, scopes, portfolios=portfolios)
        answer = await guarded.get("/positions/P1/A/history", headers=bearing(secret))
        assert answer.status_code == status
        assert ("10.1.2.3" in answer.text) is is_told, name
        if not (is_told and status == 503):
            assert answer.headers["x-correlation-id"] in answer.text


async def test_a_reason_names_no_address_and_no_process(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    reason = "TaskLostError: the actor of task 3 died: ip 10.0.0.7, pid 4242, node 5f3a"
    _, read = await tokens.create(database, "read", ["read"])
    seen = []
    for stored in (reason, "UNEXPECTED_ERROR A:B 2024-01-01"):
        await execute(database, f"UPDATE portfolio_valuation_jobs SET failure_reason = '{stored}'")
        [first, *_] = (await guarded.get("/jobs", headers=bearing(read))).json()["items"]
        seen.append(first["failure_reason"])
    assert seen == ["TaskLostError", "UNEXPECTED_ERROR A:B 2024-01-01"]


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


async def test_a_token_may_operate_from_any_page(
    guarded: httpx.AsyncClient, database: Database
) -> None:
    """Such as one behind a proxy that gives the server another host: no page sends it by itself."""
    _, secret = await tokens.create(database, "desk", ["operate"])
    foreign = {"origin": "https://desk.example", **bearing(secret)}
    assert (await guarded.post("/jobs/1:retry", headers=foreign)).status_code == 409


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


async def test_a_server_says_where_it_listens_and_ends_its_streams_without_an_error(
    url: str, valued: Engine
) -> None:
    """A page that listens neither keeps the server alive nor causes a traceback. Its output goes to
    a pipe, as under systemd or in a container."""
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
                    await asyncio.sleep(0.05)
            async with web.stream("GET", "/events") as stream:
                lines = stream.aiter_lines()
                while not (await anext(lines)).startswith("event: state"):
                    pass
                server.send_signal(signal.SIGINT)
                async for _ in lines:
                    pass
            assert await server.wait() == 0
        assert server.stderr is not None
        assert (await server.stderr.read()).decode() == (
            f"serving the API and the console on http://127.0.0.1:{port}; Ctrl-C ends it\n"
        )
    finally:
        if server.returncode is None:
            server.kill()
