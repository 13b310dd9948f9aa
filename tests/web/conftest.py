"""Fixtures: the small book in its own database, valued, with its engine running."""

from collections.abc import AsyncIterator

import pytest

from revalue.engine.postgres.database import Database
from tests.conftest import book_template, drop_database, fresh_database
from tests.support import Engine, engine


@pytest.fixture
async def url(server_url: str, template: str) -> AsyncIterator[str]:
    address = await fresh_database(server_url, await book_template(server_url, template, 2))
    yield address
    await drop_database(server_url, address)


@pytest.fixture
async def valued(url: str, database: Database) -> AsyncIterator[Engine]:
    async with engine(url) as running:
        yield running
