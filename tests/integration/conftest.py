"""A plain driver connection to the test's own database, for what the engine's pool would hide."""

from collections.abc import AsyncIterator

import asyncpg
import pytest


@pytest.fixture
def database_url(url: str) -> str:
    """The address of the test's own database."""
    return url


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()
