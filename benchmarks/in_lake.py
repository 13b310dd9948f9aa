"""Measure with a lake: a lake for each database, and its rows brought back to be verified."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.lake.check import summary
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.lake.storage import LakeStorage, open_storage
from revalue.engine.postgres.database import Database
from revalue.engine.settings import Settings
from revalue.engine.value.stores import POSTGRESQL

_FILES_AT_ONCE = 20


def with_own_lake(settings: Settings, database: Database) -> Settings:
    """Return the settings with a lake for this database alone, below the one of the settings."""
    if settings.lake is None:
        return settings
    name = urlsplit(database.url).path.strip("/")
    return settings.model_copy(update={"lake": f"{settings.lake.rstrip('/')}/{name}"})


async def bring_back(database: Database, settings: Settings) -> dict[str, int] | None:
    """Copy the rows of the files into their table, so that SQL can compare them; delete the files.

    The primary key of the table then refuses a row that is stored twice.

    Returns:
        How many files, rows and bytes they were; None: the run had no lake.
    """
    if settings.lake is None:
        return None
    found = await summary(database)
    storage = open_storage(settings.lake)
    async with database.transaction() as connection:
        files = await connection.fetch("DELETE FROM lake_files RETURNING path")
        paths = [path for (path,) in files]
        for first in range(0, len(paths), _FILES_AT_ONCE):
            some = paths[first : first + _FILES_AT_ONCE]
            rows = await asyncio.to_thread(_read, storage, some)
            await (await POSTGRESQL.prepare(rows, 0)).write(connection)
        await connection.execute("DELETE FROM lake")
    await asyncio.to_thread(_remove, storage, settings.lake)
    return {"files": found.files, "rows": found.rows, "bytes": found.bytes}


def _read(storage: LakeStorage, paths: list[str]) -> pl.DataFrame:
    rows = pl.scan_parquet(
        [storage.source(path) for path in paths],
        glob=False,
        storage_options=storage.storage_options,
    )
    return in_core_types(rows.select(SNAPSHOT_COLUMNS).sort("date", "position_id").collect())


def _remove(storage: LakeStorage, address: str) -> None:
    storage.delete([file.path for file in storage.list()])
    if not address.startswith("s3://"):
        shutil.rmtree(Path(address).expanduser(), ignore_errors=True)
