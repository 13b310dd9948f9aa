"""The lake of a database: its address, which files it has, and the rows in them.

The address is recorded in the database, so that every reader finds the rows that are not in
PostgreSQL, whatever its own settings are. A file at the root of the lake says to which database it
belongs: a folder that is missing on this machine, or another one, is noticed before it is used.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pyarrow as pa

from revalue.engine.core.decimals import AMOUNT, RATE
from revalue.engine.core.valuation import AMOUNT_COLUMNS, SNAPSHOT_COLUMNS
from revalue.engine.errors import (
    DatabaseSetupError,
    LakeFaultError,
    StorageFileMissingError,
)
from revalue.engine.lake.parquet import EMPTY, SCHEMA, VALUED_AT, encode
from revalue.engine.lake.storage import LakeFile, LakeStorage, open_storage
from revalue.engine.lake.storage_errors import error_of_folder, error_of_s3
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_MARKER = "revalue-lake.json"
_FOLDER, _SUFFIX = "snapshots/", ".parquet"
_LISTED = 2_000
"""So many positions are looked for one by one in the ranges of the files; more by their range."""

_RATES = ("price", "fx_rate")
KEY = ("position_id", "date", "epoch")


@dataclass(frozen=True)
class StoredFile:
    """A file that is stored and not recorded yet.

    Attributes:
        path: below the root of the lake.
        row_count: number of rows.
        byte_count: size of the file.
        first_position: the smallest position_id in it; last_position: the greatest.
        first_date: the first date in it; last_date: the last one.
        max_epoch: the greatest epoch in it.
    """

    path: str
    row_count: int
    byte_count: int
    first_position: int
    last_position: int
    first_date: date
    last_date: date
    max_epoch: int


class Lake:
    """The lake of one database."""

    def __init__(self, storage: LakeStorage) -> None:
        self._storage = storage

    @classmethod
    async def of(cls, connection: Connection) -> "Lake | None":
        """Return the lake of a database, or None if it has none."""
        row = await sql("known_lake").row(connection)
        return None if row is None else cls(_storage(row["address"]))

    @classmethod
    async def opened(cls, database: Database) -> "Lake":
        """Return the lake of a database, after a look whether it can be reached from here.

        Raises:
            DatabaseSetupError: the database has no lake, or what lies at its address is not it.
            TransientError: it cannot be reached now.
        """
        async with database.connection() as connection:
            row = await sql("known_lake").row(connection)
        if row is None:
            raise DatabaseSetupError(
                "this database has no lake: a scheduler with REVALUE_LAKE makes it"
            )
        _require_no_copy(row["is_own"])
        storage = _storage(row["address"])
        await asyncio.to_thread(_require_marked, storage, row["address"], row["lake_id"])
        return cls(storage)

    def store(self, rows: pl.DataFrame, name: str, schema: pa.Schema = SCHEMA) -> StoredFile:
        """Store snapshots as a new file. It blocks until they would survive a loss of power.

        Args:
            rows: the columns of the schema; at least one row.
            name: the beginning of the name of the file: who has made it.
            schema: SCHEMA or MERGED_SCHEMA.

        Raises:
            TransientError: the lake cannot be reached now.
        """
        data = encode(rows, schema)
        bounds = rows.select(
            first_position=pl.col("position_id").min(),
            last_position=pl.col("position_id").max(),
            first_date=pl.col("date").min(),
            last_date=pl.col("date").max(),
            max_epoch=pl.col("epoch").max(),
        ).row(0, named=True)
        path = f"{_FOLDER}{bounds['first_date']:%Y-%m}/{name}-{uuid4().hex}{_SUFFIX}"
        self._storage.put(path, data)
        return StoredFile(path=path, row_count=len(rows), byte_count=len(data), **bounds)

    def read(self, rows: pl.LazyFrame) -> pl.DataFrame:
        """Collect a scan.

        Raises:
            LakeFaultError: a file is unreadable.
            StorageFileMissingError: a file is missing.
            TransientError: the lake cannot be reached now.
        """
        with _translated_reads(self._storage):
            return rows.collect()

    async def newest(
        self,
        connection: Connection,
        wanted: pl.DataFrame,
        columns: Sequence[str],
        *,
        known_at: datetime | None = None,
    ) -> pl.DataFrame:
        """Return of each position and date the row in the lake of the greatest epoch that may be
        read.

        Args:
            connection: in the transaction that reads the rows of PostgreSQL: one snapshot for both.
            wanted: position_id, first_date, last_date (both included) and epoch: the greatest one
                that may be read. Ranges of a position do not overlap.
            columns: of SNAPSHOT_COLUMNS, besides KEY.
            known_at: only what was committed by then; None: all.

        Returns:
            KEY and the columns, in the types of the core (AMOUNT, RATE), by position_id and date.

        Raises:
            LakeFaultError: a file is missing or unreadable, or a row is stored twice.
            TransientError: the lake cannot be reached now.
        """
        files = await self.files_with(connection, wanted, known_at)
        return await asyncio.to_thread(self._newest, files, wanted, columns, known_at)

    async def files_with(
        self, connection: Connection, wanted: pl.DataFrame, known_at: datetime | None
    ) -> list[tuple[str, bool]]:
        """Return the files that may have wanted rows: see `newest`.

        Returns:
            The path of each, and whether it is merged: its rows have times of their own then.
        """
        if wanted.is_empty():
            return []
        bounds = wanted.select(
            first_position=pl.col("position_id").min(),
            last_position=pl.col("position_id").max(),
            first_date=pl.col("first_date").min(),
            last_date=pl.col("last_date").max(),
        ).row(0, named=True)
        ids = wanted["position_id"].unique()
        found = await sql("files_between").fetch(
            connection,
            **bounds,
            positions=ids.to_list() if len(ids) <= _LISTED else None,
            known_at=known_at,
        )
        return [(path, is_merged) for path, is_merged in found]

    @property
    def storage_options(self) -> dict[str, str] | None:
        """Return what a reader of files in S3 has to know; None: they are in a folder."""
        return self._storage.storage_options

    def source(self, path: str) -> str:
        """Return where a file is: an absolute path, or an s3:// URL."""
        return self._storage.source(path)

    def _newest(
        self,
        files: list[tuple[str, bool]],
        wanted: pl.DataFrame,
        columns: Sequence[str],
        known_at: datetime | None,
    ) -> pl.DataFrame:
        names = list(dict.fromkeys((*KEY, *columns)))
        if not files:
            return in_core_types(EMPTY.select(names))
        position, day, epoch = pl.col("position_id"), pl.col("date"), pl.col("epoch")
        ids = wanted["position_id"]
        ranges = wanted.lazy().select(
            "position_id", "first_date", "last_date", readable_epoch="epoch"
        )
        rows = (
            self._known(files, known_at)
            .filter(
                position.is_between(ids.min(), ids.max()),
                day.is_between(wanted["first_date"].min(), wanted["last_date"].max()),
            )
            .select(names)
            .join(ranges, on="position_id")
            .filter(day.is_between("first_date", "last_date"), epoch <= pl.col("readable_epoch"))
            .select(names)
            .filter(epoch == epoch.max().over("position_id", "date"))
            .sort("position_id", "date")
        )
        found = self.read(rows)
        require_once(found)
        return in_core_types(found)

    async def all_epochs(
        self, connection: Connection, position_id: int, day: date
    ) -> list[dict[str, Any]]:
        """Return every row of a position and date, whether or not it is published.

        Returns:
            SNAPSHOT_COLUMNS, and valued_at: the time at which the row was committed.
        """
        files = await sql("dated_files").fetch(connection, position=position_id, date=day)
        found = []
        for path, valued_at in files:
            rows = await asyncio.to_thread(self._rows_of, path, position_id, day)
            found += [
                {**row, VALUED_AT: valued_at or row[VALUED_AT] or "-infinity"}
                for row in rows.iter_rows(named=True)
            ]
        return found

    def _known(self, files: list[tuple[str, bool]], known_at: datetime | None) -> pl.LazyFrame:
        """Scan files, without the rows of merged ones that were committed after `known_at`."""
        parts = []
        for is_merged in (False, True):
            paths = [path for path, merged in files if merged is is_merged]
            if paths:
                rows = self.scan(paths)
                if is_merged and known_at is not None:
                    valued_at = pl.col(VALUED_AT)
                    rows = rows.filter(valued_at.is_null() | (valued_at <= known_at))
                parts.append(rows.select(SNAPSHOT_COLUMNS))
        return pl.concat(parts)

    def files(self) -> Iterator[LakeFile]:
        """List the files of snapshots that are there, recorded or not."""
        return (file for file in self._storage.list(_FOLDER) if file.path.endswith(_SUFFIX))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files that nothing refers to."""
        self._storage.delete(paths)

    def count(self, path: str) -> int:
        """Return the number of rows of a file."""
        return int(self.read(self.scan([path]).select(pl.len())).item())

    def keys(self, paths: list[str], first_date: date, last_date: date) -> pl.DataFrame:
        """Return KEY of every row of files from one date to another (both included)."""
        if not paths:
            return EMPTY.select(KEY)
        rows = self.scan(paths).filter(pl.col("date").is_between(first_date, last_date))
        return self.read(rows.select(KEY))

    def _rows_of(self, path: str, position_id: int, day: date) -> pl.DataFrame:
        rows = self.scan([path]).filter(pl.col("position_id") == position_id, pl.col("date") == day)
        return self.read(rows)

    def scan(self, paths: list[str]) -> pl.LazyFrame:
        """Scan files. The columns are those of the first one: a merged file has one more."""
        return pl.scan_parquet(
            [self._storage.source(path) for path in paths],
            glob=False,
            extra_columns="ignore",
            missing_columns="insert",
            storage_options=self._storage.storage_options,
        )


async def record(connection: Connection, file: StoredFile) -> None:
    """Record a stored file in the transaction that finishes the jobs of its rows."""
    await sql("register_file").execute(connection, **vars(file))


async def found(database: Database, address: str) -> None:
    """Make the lake of a database at an address, unless it has that one already.

    Raises:
        DatabaseSetupError: the database has another lake, or what lies there is another database's.
        UsageError: the address is impossible.
        TransientError: it cannot be reached now.
    """
    address = normalised(address)
    storage = _storage(address)
    async with database.connection() as connection:
        row = await sql("known_lake").row(connection)
        if row is None:
            lake_id = await asyncio.to_thread(_found, storage, address)
            await sql("found_lake").execute(connection, address=address, lake_id=lake_id)
            row = await sql("known_lake").one(connection)
    if row["address"] != address:
        raise DatabaseSetupError(
            f"REVALUE_LAKE is {address}, and the lake of this database is {row['address']}: "
            "give that address, or none"
        )
    _require_no_copy(row["is_own"])
    await asyncio.to_thread(_require_marked, storage, address, row["lake_id"])


async def require_own(connection: Connection) -> None:
    """Require that this database made its lake, and is not a copy of the one that did.

    Raises:
        DatabaseSetupError: it is a copy.
    """
    row = await sql("known_lake").row(connection)
    _require_no_copy(row is None or row["is_own"])


def _require_no_copy(is_own: bool) -> None:
    if not is_own:
        raise DatabaseSetupError(
            "this database is a copy of the one that made the lake, and only one may write to it: "
            "`revalue lake adopt` if the other is gone; else run without REVALUE_LAKE"
        )


def normalised(address: str) -> str:
    """Return the address under which a lake is recorded, in one spelling of several."""
    return address.rstrip("/") if address.startswith("s3://") else str(Path(address).expanduser())


@cache
def _storage(address: str) -> LakeStorage:
    return open_storage(address)


def _found(storage: LakeStorage, address: str) -> str:
    """Mark the root of a new lake; return its id. A mark without a database is taken over."""
    try:
        lake_id = _marked(storage)
    except StorageFileMissingError:
        lake_id = str(uuid4())
        storage.put(_MARKER, json.dumps({"lake_id": lake_id}).encode())
        return lake_id
    if any(True for _ in storage.list(_FOLDER)):
        raise DatabaseSetupError(
            f"{address} is the lake of another database: give an empty folder or prefix"
        )
    return lake_id


def _marked(storage: LakeStorage) -> str:
    return str(json.loads(storage.get(_MARKER))["lake_id"])


def _require_marked(storage: LakeStorage, address: str, lake_id: str) -> None:
    try:
        marked = _marked(storage)
    except StorageFileMissingError:
        raise DatabaseSetupError(
            f"{address} is not the lake of this database: the file {_MARKER} is missing there. "
            "A folder has to be the same on every machine: mount it, or use s3://"
        ) from None
    if marked != lake_id:
        raise DatabaseSetupError(
            f"{address} is the lake of another database ({marked}), not of this one ({lake_id})"
        )


@contextmanager
def _translated_reads(storage: LakeStorage) -> Iterator[None]:
    """Raise the engine's errors instead of those of polars and its client of S3."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageFileMissingError(
            f"a file of the lake is missing: {error}. If the lake is a folder, mount it on this "
            "machine; else restore the file from a backup"
        ) from error
    except (OSError, pl.exceptions.ComputeError) as error:
        if isinstance(error, pl.exceptions.ComputeError) and "parquet" in str(error):
            raise LakeFaultError(
                f"a file of the lake cannot be read: {error}. Restore it from a backup"
            ) from error
        if storage.storage_options is None and isinstance(error, OSError):
            raise error_of_folder(error, "read the lake") from error
        raise error_of_s3(error, "read the lake") from error


def require_once(rows: pl.DataFrame) -> None:
    """Require that no position, date and epoch is there twice: which one is right is not known.

    Raises:
        LakeFaultError: one is.
    """
    twice = rows.filter(pl.struct(KEY).is_duplicated()) if len(rows) else rows
    if len(twice):
        first = twice.row(0, named=True)
        raise LakeFaultError(
            f"position {first['position_id']} has two rows of {first['date']} under epoch "
            f"{first['epoch']}: the lake is damaged. Run `revalue lake check`, and restore the "
            "lake and the database from the same time"
        )


def in_core_types(rows: pl.DataFrame) -> pl.DataFrame:
    """Return snapshots with the decimals of the core, which have more digits than the stored."""
    return rows.with_columns(
        pl.col([name for name in AMOUNT_COLUMNS if name in rows.columns]).cast(AMOUNT),
        pl.col([name for name in _RATES if name in rows.columns]).cast(RATE),
    )
