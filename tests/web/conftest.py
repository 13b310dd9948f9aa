"""Fixtures: the small book in its own database, valued, with its engine running."""

from collections.abc import AsyncIterator

import pytest

from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.support import Engine, engine


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    async with small_book(server_url, template, 2) as address:
        yield address


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        yield running
