"""Readers by ADBC: what those of one process have in common."""

from typing import Any

import pytest

from revalue.engine.postgres import arrow
from revalue.engine.postgres.arrow import ArrowReader
from revalue.engine.postgres.statement import Statement

ONE = Statement.parse("SELECT 1 AS n")


def read(reader: ArrowReader) -> Any:
    with reader.snapshot() as snapshot:
        return snapshot.read(ONE).item()


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of which the driver has read the types."""
    addresses: list[str] = []
    connect = arrow.adbc.connect

    def noted(address: str) -> Any:
        addresses.append(address)
        return connect(address)

    monkeypatch.setattr(arrow.adbc, "connect", noted)
    return addresses


def test_readers_of_one_database_read_its_types_once(url: str, connected: list[str]) -> None:
    first, second, third = (ArrowReader(url) for _ in range(3))
    assert (read(first), read(second)) == (1, 1)
    first.close()
    assert (read(second), read(third)) == (1, 1)
    assert len(connected) == 1
    second.close()
    third.close()


def test_a_reader_is_not_made_of_one_that_is_closed(url: str, connected: list[str]) -> None:
    first, second = ArrowReader(url), ArrowReader(url)
    read(first)
    closed = arrow._connections[next(iter(connected))]
    first.close()
    assert read(second) == 1
    assert arrow._connections[connected[0]] is not closed
    assert len(connected) == 2
    second.close()


def test_readers_of_two_databases_have_nothing_in_common(
    url: str, server_url: str, connected: list[str]
) -> None:
    name = Statement.parse("SELECT current_database()::text AS name")
    found = []
    readers = ArrowReader(url), ArrowReader(server_url)
    for reader in readers:
        with reader.snapshot() as snapshot:
            found.append(snapshot.read(name).item())
    assert found[0] in url
    assert found[1] == "postgres"
    assert len(connected) == 2
    for reader in readers:
        reader.close()
