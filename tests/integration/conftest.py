"""Fixtures that several modules of this folder share."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

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
