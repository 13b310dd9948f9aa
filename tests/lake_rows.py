"""The rows of a lake in the tables, for the SQL of tests that asks about every snapshot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import polars as pl

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.lake.storage import open_storage
from revalue.engine.postgres.bulk_copy import copy_frame

_OF_SNAPSHOTS = (
    "daily_position_snapshots",
    "position_valuations",
    "dated_snapshots",
    "snapshots_at",
)

_COPY_SECONDS = 30


async def every_row(connection: Any) -> pl.DataFrame:
    """Every row of the files that are recorded, in SNAPSHOT_COLUMNS."""
    if await connection.fetchval("SELECT to_regclass('lake_files') IS NULL"):  # an older schema
        return pl.DataFrame()
    address = await connection.fetchval("SELECT address FROM lake")
    paths = await connection.fetch("SELECT path FROM lake_files ORDER BY file_id")
    if not paths:
        return pl.DataFrame()
    storage = open_storage(address)
    frames = [
        pl.scan_parquet(storage.source(path), storage_options=storage.storage_options, glob=False)
        .select(SNAPSHOT_COLUMNS)
        .collect()
        for (path,) in paths
    ]
    return in_core_types(pl.concat(frames))


@asynccontextmanager
async def rows_in_tables(connection: Any, query: str) -> AsyncIterator[None]:
    """While a query about snapshots runs, have the rows of the lake in their table.

    The primary key of the table then shows that none is stored twice. It is all rolled back.
    """
    if not any(name in query for name in _OF_SNAPSHOTS):
        yield
        return
    # What is recorded and what is published have to be of one moment.
    isolation = None if connection.is_in_transaction() else "repeatable_read"
    transaction = connection.transaction(isolation=isolation)
    await transaction.start()
    try:
        rows = await every_row(connection)
        if len(rows):
            # The driver does not notice that a connection is lost in the middle of a COPY.
            async with asyncio.timeout(_COPY_SECONDS):
                await copy_frame(connection, "daily_position_snapshots", rows)
            await connection.execute("DELETE FROM lake_files")
        yield
    finally:
        await transaction.rollback()
