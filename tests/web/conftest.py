"""The small book, valued, with its engine still running."""

from collections.abc import AsyncIterator

import pytest

from engine.store.database import Database
from tests.support import Engine, engine, load_small_book


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    await load_small_book(database, portfolios=2)
    async with engine(url) as running:
        await running.settle()
        yield running
