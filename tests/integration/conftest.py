"""Fixtures that several modules of this folder share."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from revalue.engine.correct.inputs import sorted_rows, sources
from revalue.engine.correct.writes import upserts
from revalue.engine.postgres.database import Database
from tests.conftest import small_book


@pytest.fixture
def database_url(url: str) -> str:
    """The address of the test's own database."""
    return url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection of the driver, for what the engine's pool would hide."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def book_url(server_url: str, template: str) -> AsyncIterator[str]:
    """The address of a valued book: P1 in USD and P2 in EUR hold 10.5 of A and of B, and 7 from the
    fifth day on.
    """
    async with small_book(server_url, template, 2) as address:
        yield address


@pytest.fixture
async def book(server_url: str, template: str) -> AsyncIterator[Database]:
    """The small book of one portfolio, loaded and not valued."""
    async with (
        small_book(server_url, template, 1, valued=False) as url,
        await Database.open(url) as opened,
    ):
        yield opened


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few rows, runs in files, and ranges of one page."""
    monkeypatch.setattr(sorted_rows, "RUN_ROWS", 30)
    monkeypatch.setattr(sorted_rows, "FRAME_ROWS", 20)
    monkeypatch.setattr(sorted_rows, "_BATCH_ROWS", 4)
    monkeypatch.setattr(sources, "BATCH_ROWS", 7)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 200)
    monkeypatch.setattr(upserts, "_RANGE_ROWS", 1)
