"""The application in a replica of Ray Serve."""

import socket
from itertools import count

import httpx
import pytest
from ray import serve

from revalue.actors import cluster
from revalue.console.web.ray_serve import build
from revalue.engine.errors import UsageError
from revalue.engine.operate import tokens
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from tests.support import DAYS, Engine


def free_port() -> int:
    """Return a port that nothing listens on, and that nobody gets who asks for any: Ray starts many
    such listeners before Serve listens."""
    for port in count(20_000):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError


@pytest.fixture
def proxy():  # type: ignore[no-untyped-def]
    port = free_port()
    with cluster.connected(Settings(actors=2)):  # a Ray of its own, whatever runs here
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()


async def test_a_replica_answers_with_tokens(
    url: str, database: Database, valued: Engine, proxy: str
) -> None:
    _, secret = await tokens.create(database, "analyst", ["read"])
    serve.run(build({"database_url": url}), name="revalue", route_prefix="/revalue")
    path = f"{proxy}/revalue/portfolios/P1/positions?as_of={DAYS[3]}"
    async with httpx.AsyncClient(timeout=30) as web:
        assert (await web.get(path)).status_code == 401
        answer = await web.get(path, headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code, [line["security_id"] for line in answer.json()["items"]]) == (
        200,
        ["A", "B"],
    )


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="url"):
        build({"url": "postgresql://"})
