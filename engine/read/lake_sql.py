"""The published numbers of both stores as a view of DuckDB, as of one moment.

The files of the lake are read where they are, by the columns and the groups of rows that a query
needs. What PostgreSQL has is read once, when the view is opened.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from revalue.engine.core.valuation import AMOUNT_COLUMNS
from revalue.engine.errors import (
    LakeFaultError,
    NotFoundError,
    StorageFileMissingError,
    UsageError,
)
from revalue.engine.lake.files import ListedFile
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.parquet import MERGED_SCHEMA, SCHEMA, VALUED_AT
from revalue.engine.lake.snapshot_rows import in_core_types
from revalue.engine.lake.storage_errors import error_of_s3
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import statements
from revalue.engine.read.both_stores import read_all_spans, read_parameters
from revalue.engine.read.refusals import require_known

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

sql = statements(__package__)

EFFECTS = ("duckdb_half_even", "duckdb_product", "duckdb_gain_by_price")
"""The statements that define gain_by_price, in their order."""

_DEFINITIONS = (*EFFECTS, "duckdb_valuations")
_FRAME_ROWS = 200_000
_STORED_AMOUNT = pl.Decimal(28, 10)
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class SqlResult:
    """The rows of a query.

    Attributes:
        columns: their names and types; a name that comes again has a number added.
        frames: the rows.
        close: ends it; before the next query, if not all rows were read.
    """

    columns: dict[str, pl.DataType]
    frames: Iterator[pl.DataFrame]
    close: Callable[[], None]


class LakeSql:
    """A DuckDB in memory, with the view position_valuations.

    One thread at a time may use it; `interrupt` may be called by any.

    Attributes:
        rows_from_postgresql: so many rows are in memory, because they are not in files.
    """

    def __init__(self, connection: "DuckDBPyConnection", lake: Lake, paths: Sequence[str]) -> None:
        self._connection = connection
        self._lake = lake
        self._paths = paths
        self.rows_from_postgresql = 0

    @classmethod
    async def opened(cls, database: Database, *, known_at: datetime | None = None) -> "LakeSql":
        """Open the view as of now, or of a past time. It stays what it is when numbers change.

        Raises:
            NotFoundError: the database has no lake.
            UsageError: DuckDB is not installed, or `known_at` has no time zone.
            NotYetKnownError: `known_at` is in the future.
            NoLongerKnownError: `known_at` is before the retention floor.
            StorageFileMissingError: a file is missing.
        """
        connection = _duckdb()
        if known_at is not None and known_at.tzinfo is None:
            raise UsageError(f"known_at {known_at} has no time zone: give one, for example UTC")
        async with database.transaction(isolation="repeatable_read", readonly=True) as reading:
            await require_known(reading, known_at)
            lake = await Lake.of(reading)
            if lake is None:
                raise NotFoundError(
                    "this database has no lake: all numbers are in the view position_valuations of "
                    "PostgreSQL, for psql and every other client"
                )
            spans = await read_all_spans(reading, known_at)
            files = await lake.files_with(reading, spans, known_at)
            rows = await read_parameters(reading, "stored_in_postgresql", known_at=known_at)
        opened = cls(connection, lake, [file.path for file in files])
        opened.rows_from_postgresql = len(rows)
        await asyncio.to_thread(opened._define, spans, files, rows, known_at)
        return opened

    def query(self, text: str) -> SqlResult | None:
        """Run statements of DuckDB.

        Returns:
            The rows of the last one; None: it has none.

        Raises:
            UsageError: DuckDB refuses a statement, or has a column of a type that only it has.
            LakeFaultError: a file of the lake is damaged; StorageFileMissingError: it is missing.
            TransientError: the lake cannot be reached now.
        """
        with self._translated():
            found = self._connection.sql(text)
            if found is None:
                return None
            reader = found.to_arrow_reader(_FRAME_ROWS)
        if strange := [field for field in reader.schema if _is_of_duckdb_only(field.type)]:
            reader.close()
            raise UsageError(
                f"the column {strange[0].name!r} has a type that only DuckDB has "
                f"({strange[0].type}): cast it, for example to VARCHAR"
            )
        names = _distinct(reader.schema.names)
        columns = dict(_frame(reader.schema.empty_table(), names).schema)
        return SqlResult(columns, self._frames(reader, names), reader.close)

    def interrupt(self) -> None:
        """End what runs now: it raises a UsageError."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close it, with all that was made in it."""
        self._connection.close()

    def _frames(self, reader: Any, names: list[str]) -> Iterator[pl.DataFrame]:
        while True:
            with self._translated():
                batch = next(reader, None)
            if batch is None:
                reader.close()
                return
            yield _frame(pa.Table.from_batches([batch]), names)

    def _define(
        self,
        spans: pl.DataFrame,
        files: Sequence[ListedFile],
        rows: pl.DataFrame,
        known_at: datetime | None,
    ) -> None:
        positions = spans.drop("place").rename({"epoch": "readable_epoch"})
        stored = in_core_types(rows).with_columns(pl.col(AMOUNT_COLUMNS).cast(_STORED_AMOUNT))
        with self._translated():
            self._connection.from_arrow(positions.to_arrow()).create("readable_positions")
            self._connection.from_arrow(stored.to_arrow()).create("rows_of_postgresql")
            for name, schema, is_merged in (
                ("files", SCHEMA, False),
                ("merged_files", MERGED_SCHEMA, True),
            ):
                self._read(
                    name,
                    [file.path for file in files if file.is_merged is is_merged],
                    schema,
                    known_at if is_merged else None,
                )
            for name in _DEFINITIONS:
                self._connection.execute(sql(name).text)

    def _read(
        self, name: str, paths: list[str], schema: pa.Schema, known_at: datetime | None
    ) -> None:
        """Define the rows of files, without those that were committed after `known_at`."""
        import duckdb

        if not paths:
            self._connection.from_arrow(schema.empty_table()).create(name)
        elif self._lake.storage_options is None:
            rows = self._connection.read_parquet(
                [_as_pattern(self._lake.source(path)) for path in paths]
            )
            if known_at is not None:
                valued_at = duckdb.ColumnExpression(VALUED_AT)
                is_known = valued_at <= duckdb.ConstantExpression(known_at)
                rows = rows.filter(valued_at.isnull() | is_known)
            rows.create_view(name)
        else:
            from pyarrow import dataset

            # DuckDB's own client of S3 is an extension, which it would have to download.
            found = dataset.dataset(
                [self._lake.source(path).removeprefix("s3://") for path in paths],
                schema=schema,
                filesystem=_s3(self._lake.storage_options),
                format="parquet",
            )
            if known_at is not None:
                valued = dataset.field(VALUED_AT)
                found = found.filter(valued.is_null() | (valued <= known_at))
            self._connection.register(name, found)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the engine's errors instead of DuckDB's."""
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            said, options = str(error), self._lake.storage_options
            if not any(path in said for path in self._paths):
                raise UsageError(f"DuckDB: {said}") from error
            if "No files found" in said or "does not exist" in said:
                raise StorageFileMissingError(
                    f"a file of the lake is missing: {said}. If the lake is a folder, mount it on "
                    "this machine; else restore the file from a backup"
                ) from error
            if options is not None and "Parquet" not in said:
                raise error_of_s3(error, "read the lake") from error
            raise LakeFaultError(
                f"a file of the lake cannot be read: {said}. Restore it from a backup"
            ) from error


def _duckdb() -> "DuckDBPyConnection":
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError(
            "SQL over the lake needs the package 'duckdb', which is not installed: "
            "pip install 'revalue[lake]'"
        ) from error
    # What does not fit into memory goes there, and not into the folder of the caller.
    connection = duckdb.connect(config={"temp_directory": tempfile.gettempdir()})
    connection.execute("SET parquet_metadata_cache = true")  # files are never changed
    return connection


def _s3(options: dict[str, str]) -> Any:
    """Return the client of pyarrow for the store of the lake."""
    from pyarrow import fs

    scheme, _, host = options.get("aws_endpoint_url", "").rpartition("://")
    return fs.S3FileSystem(
        access_key=options.get("aws_access_key_id"),
        secret_key=options.get("aws_secret_access_key"),
        session_token=options.get("aws_session_token"),
        region=options["aws_region"],
        endpoint_override=host or None,
        scheme=scheme or "https",
    )


def _is_of_duckdb_only(kind: pa.DataType) -> bool:
    return (
        pa.types.is_interval(kind)
        or pa.types.is_union(kind)
        or any(_is_of_duckdb_only(kind.field(number).type) for number in range(kind.num_fields))
    )


def _as_pattern(path: str) -> str:
    """Return the pattern of file names that this name alone matches."""
    return "".join(f"[{each}]" if each in _PATTERN else each for each in path)


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names of columns, where one that comes again has a number added."""
    found: list[str] = []
    for name in names:
        number, wanted = 0, name
        while wanted in found:
            number += 1
            wanted = f"{name}_{number}"
        found.append(wanted)
    return found


def _frame(table: pa.Table, names: list[str]) -> pl.DataFrame:
    frame = pl.from_arrow(table.rename_columns(names))
    assert isinstance(frame, pl.DataFrame)
    return frame
