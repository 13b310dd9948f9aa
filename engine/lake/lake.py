"""The lake of a database: its address, which files it has, and the rows in them.

The address is recorded in the database, so that every reader finds the rows that are not in
PostgreSQL, whatever its own settings are.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from hashlib import sha256
from io import BytesIO
from uuid import uuid4

import polars as pl
import pyarrow as pa

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS
from revalue.engine.errors import (
    LakeFaultError,
    NotFoundError,
    StorageFileMissingError,
)
from revalue.engine.lake.files import ListedFile, StoredFile, since_start
from revalue.engine.lake.ownership import SNAPSHOTS, Place, place
from revalue.engine.lake.parquet import EMPTY, SCHEMA, VALUED_AT, encode
from revalue.engine.lake.snapshot_rows import (
    KEY,
    doubled_row,
    in_core_types,
    newest_of_any,
    newest_of_once,
)
from revalue.engine.lake.storage import LakeFile, LakeStorage
from revalue.engine.lake.storage_errors import error_of_folder, error_of_s3
from revalue.engine.postgres.statement import Connection, Rows, statements

sql = statements(__package__)

_SUFFIX = ".parquet"
_LISTED = 2_000
"""So many positions are looked for one by one in the ranges of the files; more by their range."""


class Lake:
    """The lake of one database."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._storage = place.storage

    @classmethod
    async def of(cls, connection: Connection) -> "Lake | None":
        """Return the lake of a database, or None if it has none."""
        found = await place(connection)
        return None if found is None else cls(found)

    @classmethod
    async def existing(cls, connection: Connection) -> "Lake":
        """Return the lake of a database.

        Raises:
            NotFoundError: it has none.
        """
        lake = await cls.of(connection)
        if lake is None:
            raise NotFoundError(
                "this database has no lake: `revalue value` makes one when REVALUE_LAKE is set"
            )
        return lake

    @classmethod
    async def writable(cls, connection: Connection) -> "Lake":
        """Return the lake of a database, and require that it may be written to from here.

        Raises:
            NotFoundError: the database has no lake.
            DatabaseSetupError: it is not this database's own, or not at its address.
            TransientError: it cannot be reached now.
        """
        lake = await cls.existing(connection)
        await asyncio.to_thread(lake.require_writable)
        return lake

    def require_writable(self) -> None:
        """Require that the lake is this database's own, and at its address. Blocks."""
        self._place.require_writable()

    def store(
        self, groups: Sequence[pl.DataFrame], name: str, schema: pa.Schema = SCHEMA
    ) -> StoredFile:
        """Store snapshots as a new file. It blocks until they would survive a loss of power.

        Args:
            groups: the rows, with the columns of the schema; at least one. All rows of a position
                are in one group. Readers leave a group out by its least and greatest values.
            name: the beginning of the name of the file: who has made it.
            schema: SCHEMA or MERGED_SCHEMA.

        Raises:
            DatabaseSetupError: the lake is not this database's own, or not at its address.
            TransientError: the lake cannot be reached now.
        """
        self.require_writable()
        for group in groups:
            if twice := doubled_row(group):
                raise AssertionError(f"a row would be stored twice: {twice}")
        data = encode(groups, schema)
        rows = pl.concat(groups)
        bounds = rows.select(
            first_position=pl.col("position_id").min(),
            last_position=pl.col("position_id").max(),
            first_date=pl.col("date").min(),
            last_date=pl.col("date").max(),
            max_epoch=pl.col("epoch").max(),
        ).row(0, named=True)
        path = f"{SNAPSHOTS}{bounds['first_date']:%Y-%m}/{name}-{uuid4().hex}{_SUFFIX}"
        self._storage.put(path, data)
        return StoredFile(
            path=path,
            row_count=len(rows),
            byte_count=len(data),
            digest=sha256(data).digest(),
            stored_at=since_start(),
            **bounds,
        )

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
        kept: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return of each position and date the row in the lake of the greatest epoch that may be
        read.

        Args:
            connection: in the transaction that reads the rows of PostgreSQL: one snapshot for both.
            wanted: position_id, first_date, last_date (both included) and epoch: the greatest one
                that may be read. Ranges of a position do not overlap.
            columns: of SNAPSHOT_COLUMNS, besides KEY.
            known_at: only what was committed by then; None: all.
            kept: columns of `wanted` that its rows get.

        Returns:
            KEY, the columns and those that are kept, in the types of the core (AMOUNT, RATE), in no
            order.

        Raises:
            LakeFaultError: a file is missing or unreadable, or a row is stored twice.
            TransientError: the lake cannot be reached now.
        """
        files = await self.files_with(connection, wanted, known_at)
        return await asyncio.to_thread(self._newest, files, wanted, columns, known_at, kept)

    async def files_with(
        self, connection: Connection, wanted: pl.DataFrame, known_at: datetime | None
    ) -> list[ListedFile]:
        """Return the files that may have wanted rows: see `newest`."""
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
        return [ListedFile(*row) for row in found]

    @property
    def storage_options(self) -> dict[str, str] | None:
        """Return what a reader of files in S3 has to know; None: they are in a folder."""
        return self._storage.storage_options

    def source(self, path: str) -> str:
        """Return where a file is: an absolute path, or an s3:// URL."""
        return self._storage.source(path)

    def _newest(
        self,
        files: list[ListedFile],
        wanted: pl.DataFrame,
        columns: Sequence[str],
        known_at: datetime | None,
        kept: Sequence[str],
    ) -> pl.DataFrame:
        names = list(dict.fromkeys((*KEY, *columns)))
        ranges = wanted.select(
            "position_id", "first_date", "last_date", *kept, readable_epoch="epoch"
        )
        alone, others = (
            self._in_ranges(some, ranges, names, known_at).select(*names, *kept)
            for some in (
                [file for file in files if file.is_alone],
                [file for file in files if not file.is_alone],
            )
        )
        return in_core_types(pl.concat([newest_of_once(alone), newest_of_any(others)]))

    def _in_ranges(
        self,
        files: list[ListedFile],
        ranges: pl.DataFrame,
        columns: list[str],
        known_at: datetime | None,
    ) -> pl.DataFrame:
        """Return the rows of files that may be read, with the columns of their ranges."""
        rows = EMPTY.select(columns)
        if files:
            position, day, ids = pl.col("position_id"), pl.col("date"), ranges["position_id"]
            # Compared with what a file says of its groups of rows, before they are read.
            scanned = self._known(files, known_at).filter(
                position.is_between(ids.min(), ids.max()),
                day.is_between(ranges["first_date"].min(), ranges["last_date"].max()),
            )
            if len(ids) <= _LISTED:
                scanned = scanned.filter(position.is_in(ids.unique().implode()))
            rows = self.read(scanned.select(columns))
        # Joined when they are read: in the same plan it takes twice as long.
        return rows.join(ranges, on="position_id").filter(
            pl.col("date").is_between("first_date", "last_date"),
            pl.col("epoch") <= pl.col("readable_epoch"),
        )

    async def all_epochs(self, connection: Connection, position_id: int, day: date) -> Rows:
        """Return every row of a position and date, whether or not it is published.

        Returns:
            SNAPSHOT_COLUMNS, and valued_at: the time at which the row was committed.
        """
        files = await sql("dated_files").fetch(connection, position=position_id, date=day)
        found = []
        for path, valued_at in files:
            rows = await asyncio.to_thread(self._rows_of, path, position_id, day)
            found += [
                {**row, VALUED_AT: valued_at or row.get(VALUED_AT) or "-infinity"}
                for row in rows.iter_rows(named=True)
            ]
        return found

    def _known(self, files: Sequence[ListedFile], known_at: datetime | None) -> pl.LazyFrame:
        """Scan files, without the rows of merged ones that were committed after `known_at`."""
        parts = []
        for is_merged in (False, True):
            paths = [file.path for file in files if file.is_merged is is_merged]
            if paths:
                rows = self.scan(paths)
                if is_merged and known_at is not None:
                    valued_at = pl.col(VALUED_AT)
                    rows = rows.filter(valued_at.is_null() | (valued_at <= known_at))
                parts.append(rows.select(SNAPSHOT_COLUMNS))
        return pl.concat(parts)

    def files(self) -> Iterator[LakeFile]:
        """List the files of snapshots that are there, recorded or not."""
        return (file for file in self._storage.list(SNAPSHOTS) if file.path.endswith(_SUFFIX))

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files that nothing refers to."""
        self.require_writable()
        self._storage.delete(paths)

    def whole(self, path: str, digest: bytes) -> pl.DataFrame:
        """Return all rows of a file that has the bytes with which it was recorded.

        Raises:
            LakeFaultError: it has others.
            StorageFileMissingError: it is missing.
        """
        data = self._storage.get(path)
        if sha256(data).digest() != digest:
            raise LakeFaultError(
                f"the file {path} of the lake is damaged: it has other bytes than when it was "
                "stored. Restore it from a backup"
            )
        with _translated_reads(self._storage):
            return pl.read_parquet(BytesIO(data))

    def keys(self, files: list[ListedFile], first_date: date, last_date: date) -> pl.DataFrame:
        """Return KEY of every row of files from one date to another (both included)."""
        if not files:
            return EMPTY.select(KEY)
        rows = self._known(files, None).filter(pl.col("date").is_between(first_date, last_date))
        return self.read(rows.select(KEY))

    def _rows_of(self, path: str, position_id: int, day: date) -> pl.DataFrame:
        rows = self.scan([path]).filter(pl.col("position_id") == position_id, pl.col("date") == day)
        return self.read(rows)

    def scan(self, paths: list[str]) -> pl.LazyFrame:
        """Scan files that are all merged, or all not. Collect by `read`."""
        return pl.scan_parquet(
            [self._storage.source(path) for path in paths],
            glob=False,
            storage_options=self._storage.storage_options,
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
    except BaseException as error:
        # A panic of polars is no Exception, and its class has no public name.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        is_of_network = storage.storage_options is not None and "parquet" not in str(error)
        if not isinstance(error, OSError) and not is_of_network:
            raise LakeFaultError(
                f"a file of the lake cannot be read: {error}. `revalue lake check` names it: "
                "restore it from a backup"
            ) from error
        if storage.storage_options is None and isinstance(error, OSError):
            raise error_of_folder(error, "read the lake") from error
        if not isinstance(error, Exception):
            raise LakeFaultError(f"a file of the lake cannot be read: {error}") from error
        raise error_of_s3(error, "read the lake") from error
