"""The OpenAPI document is complete, and every response matches it.

Schemathesis sends requests that the document allows, and requests that it does not allow.
"""

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import positive_data_acceptance

from revalue.console.web.app import create_app
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.conftest import drop_database, fresh_database
from tests.support import DAYS, engine, examples, load_small_book

DESCRIBED = create_app("postgresql://nowhere").openapi()
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)
SCHEMA.config.generation.update(modes=list(GenerationMode))


@schemathesis.serializer("application/vnd.apache.parquet")
def parquet(ctx: Any, value: Any) -> bytes:
    """Return the bytes of what the document calls a string; seldom a valid Parquet file."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


REAL = {
    "portfolio": ("P1", "P2"),
    "security": ("A", "B"),
    "as_of": tuple(day.isoformat() for day in DAYS),
    "date": tuple(day.isoformat() for day in DAYS),
    "from": (DAYS[0].isoformat(),),
    "to": (DAYS[-1].isoformat(),),
    "known_at": ("2024-01-01T00:00:00Z", "2026-01-01T00:00:00+01:00"),
    "job_id": ("1", "2", "3"),
    "load_id": ("4", "5", "6"),
    "security_id": ("A", "B"),
    "portfolio_id": ("P1", "P2"),
    "base_currency": ("EUR",),
    "quote_currency": ("USD",),
}

OPERATIONS = (
    *("list_portfolios", "list_positions", "list_totals"),
    *("get_history", "list_changes", "explain_value"),
    *("report_positions", "report_totals"),
    *("list_exceptions", "confirm_exception", "unconfirm_exception"),
    *("make_corrections", "preview_corrections", "preview_file", "get_preview", "cancel_preview"),
    *("make_split", "preview_split", "list_loads", "revert_load", "preview_revert"),
    *("get_reprocessing", "list_jobs", "retry_job", "list_dead_letters", "list_stuck_positions"),
    *("open_days", "check_liveness", "check_readiness"),
)


@pytest.fixture(scope="module")
def served(server_url: str, template: str) -> Iterator[str]:
    """Serve the application with the small book, valued; give its address and a token."""
    url = asyncio.run(fresh_database(server_url, template))

    async def prepare() -> str:
        async with await Database.open(url) as database:
            await load_small_book(database, portfolios=2)
            async with engine(url) as running:
                await running.settle()
            return (await tokens.create(database, "schemathesis", ["read", "operate"]))[1]

    secret = asyncio.run(prepare())
    app = create_app(url, hosts=["*"], require_token=True, settings=Settings.model_construct())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port} {secret}"
    server.should_exit = True
    thread.join()
    asyncio.run(drop_database(server_url, url))


def real(values: Any) -> None:
    """Replace most names and dates by stored ones, so that responses have rows.

    Which ones are replaced follows from the case, so that a failure can be repeated.
    """
    if isinstance(values, list):
        for each in values:
            real(each)
    if not isinstance(values, dict):
        return
    for name, value in values.items():
        chosen = hashlib.sha256(f"{name}{value}".encode("utf-8", "surrogatepass")).digest()[0]
        if name in REAL and chosen % 4:
            values[name] = REAL[name][chosen % len(REAL[name])]


@SCHEMA.parametrize()
@settings(
    max_examples=examples(30),
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_response_is_as_described(case: Case, served: str) -> None:
    base, secret = served.split(" ")
    is_positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if is_positive:
        for values in (case.path_parameters, case.query, case.body):
            real(values)
    given = None if case.meta is None else case.meta.components.get(ParameterLocation.HEADER)
    is_bare = (
        given is not None and given.mode is GenerationMode.NEGATIVE
    )  # without the token, or with another
    answer = case.call(
        base_url=base, headers={} if is_bare else {"Authorization": f"Bearer {secret}"}
    )
    case.validate_response(answer, excluded_checks=[positive_data_acceptance])
    if is_positive and answer.status_code in (
        400,
        422,
    ):  # what the description allows is refused for what it means only
        assert answer.json()["type"].startswith("urn:revalue:"), answer.text


def test_every_operation_describes_its_responses(served: str) -> None:
    """Each describes success and errors. Without a token, all but /health respond 401."""
    base, _ = served.split(" ")
    operations = [
        (path, method, each)
        for path, methods in DESCRIBED["paths"].items()
        for method, each in methods.items()
    ]
    assert len(operations) == len(OPERATIONS)
    for path, method, each in operations:
        assert each["responses"]["200"]["content"]["application/json"]["schema"]["$ref"], path
        assert each["summary"], path
        assert each["description"], path
        for status, response in each["responses"].items():
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (path, status)
        is_open = path.startswith("/health")
        assert ("401" in each["responses"], bool(each.get("security"))) == (
            not is_open,
            not is_open,
        ), path
        answer = requests.request(
            method,
            base + path.format(portfolio="P1", security="A", job_id=1, load_id=1, preview_id="x"),
            timeout=10,
        )
        assert answer.status_code == (200 if is_open else 401), path


def test_every_operation_has_an_id_that_a_generated_client_can_name_a_function_by() -> None:
    """verb_noun, each once. Programs call operations by these names, so none changes unnoticed."""
    ids = {
        each["operationId"]: (method, path)
        for path, methods in DESCRIBED["paths"].items()
        for method, each in methods.items()
    }
    assert len(ids) == sum(len(methods) for methods in DESCRIBED["paths"].values())
    assert sorted(ids) == sorted(OPERATIONS)
    changing = ("confirm", "unconfirm", "preview", "cancel", "make", "retry", "open", "revert")
    for name, (method, path) in ids.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+){1,2}", name), name
        verb = name.partition("_")[0]
        assert (verb in changing) == (method != "get"), (name, method, path)


def test_every_parameter_and_field_has_a_description() -> None:
    missing = [
        (path, method, each["name"])
        for path, methods in DESCRIBED["paths"].items()
        for method, operation in methods.items()
        for each in operation.get("parameters", [])
        if not each.get("description")
    ]
    for name, schema in DESCRIBED["components"]["schemas"].items():
        fields = schema.get("properties", {}).items()
        missing += [(name, field) for field, each in fields if not each.get("description")]
        if not schema.get("description"):
            missing.append(name)
    assert missing == []
