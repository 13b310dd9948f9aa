"""Keep a table of the published numbers up to date with the database.

A run writes data files for the months in which numbers changed, and then replaces the old files by
them, in one commit that records the moment that the table stands for. The next run continues from
that moment. So a run that dies leaves only files that nothing lists, and no file is ever listed
twice.
"""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from uuid import uuid4

import polars as pl
import pyarrow.parquet as pq

from revalue.engine.core.date_ranges import months
from revalue.engine.errors import (
    ExportFaultError,
    NotFoundError,
    StorageFileMissingError,
    UsageError,
    WriteConflictError,
)
from revalue.engine.export.columns import COLUMNS, MONTH, SCHEMA, month_name
from revalue.engine.export.parquet import ParquetTable
from revalue.engine.export.table import DataFile, Table, Version
from revalue.engine.fault_injection import fault_point
from revalue.engine.lake.lake import Lake
from revalue.engine.lake.ownership import place
from revalue.engine.lake.parquet import encode
from revalue.engine.lake.storage import LakeStorage, open_storage
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements
from revalue.engine.read.both_stores import read_all_spans
from revalue.engine.read.published import months_of_snapshots, published_numbers

sql = statements(__package__)

Format: TypeAlias = Literal["iceberg", "delta", "parquet"]

MARK = "_revalue_export.json"
"""The file at the root of a target that says whose it is. Other programs overlook such a name."""

_PATTERNS = "%*?[]#"

_LAYOUT = 1
"""Of the columns and of the paths: raise it when they change."""

_LONGEST_SECONDS = 24 * 3600.0

Month: TypeAlias = tuple[date, date]


@dataclass(frozen=True)
class ExportProgress:
    """How far an export is.

    Attributes:
        months_done: months that are written; months: all that will be.
        rows: rows that are written.
    """

    months_done: int
    months: int
    rows: int


OnProgress: TypeAlias = Callable[[ExportProgress], None]


@dataclass(frozen=True)
class Exported:
    """What an export has done.

    Attributes:
        target: the folder, or s3://bucket/prefix.
        format: of the table.
        moment: the table has the numbers that readers saw at this time.
        version: what the format calls the commit of that moment.
        is_new: whether this export committed it; False: no number has changed since.
        is_rewritten: every month was written again, because what happened since the last export is
            pruned.
        months: the months that were written or taken away, such as 2024-03.
        rows, files, bytes: what was written.
    """

    target: str
    format: Format
    moment: datetime
    version: str
    is_new: bool
    is_rewritten: bool
    months: tuple[str, ...]
    rows: int
    files: int
    bytes: int


async def export(
    database: Database,
    target: str,
    *,
    format: Format,
    on_progress: OnProgress = lambda _: None,
) -> Exported:
    """Update a table to what readers see now: see Book.export.

    Args:
        on_progress: called after each month. What it raises ends the export, before its commit.

    Raises:
        UsageError: there is no such format, a package is missing, or the target is another table
            or something else.
        NotFoundError: nothing is valued yet.
        ExportFaultError: the table at the target is damaged.
        StorageSetupError: the target is no folder, or does not let this user write.
        WriteConflictError: another export to the target is at work, or another program has
            committed meanwhile.
        TransientError: the target or the database cannot be reached now.
    """
    if format not in get_args(Format):
        raise UsageError(f"there is no format {format!r}: {', '.join(get_args(Format))}")
    table_of = _table_of(format)
    address = _address(target)
    _require_readable(address)
    storage = await asyncio.to_thread(open_storage, address, creates=True)
    async with database.connection(seconds=_LONGEST_SECONDS) as holding:
        if not await sql("lock_target").value(holding, target=address):
            raise WriteConflictError(f"another export to {address} is at work: wait for its end")
        # It begins after the lock is taken: it sees what the export before has seen.
        async with database.transaction(
            isolation="repeatable_read", readonly=True, seconds=_LONGEST_SECONDS
        ) as connection:
            found = await sql("state").one(connection, since=None)
            if found["moment"] is None:
                raise NotFoundError("nothing is valued yet: `revalue value` does it")
            known = await place(connection)
            _require_outside_lake(address, None if known is None else known.address)
            await asyncio.to_thread(_claim, storage, address, format, found["owner"])
            table = table_of(storage, address, found["owner"])
            newest = await asyncio.to_thread(table.newest)
            wanted, is_rewritten = await _months_to_write(connection, address, newest)
            files = await _written(connection, storage, wanted, on_progress)
        listed = frozenset() if newest is None else newest.months
        replaced = [month for month, _ in wanted if month in listed]
        is_new = bool(replaced or files)
        if is_new:
            fault_point("export.stored")
            newest = await asyncio.to_thread(table.commit, found["moment"], replaced, files)
        if newest is None:
            raise NotFoundError("no position-day is valued yet: `revalue value` does it")
    return Exported(
        target=address,
        format=format,
        moment=newest.moment,
        version=newest.name,
        is_new=is_new,
        is_rewritten=is_rewritten,
        months=tuple(
            month_name(month) for month in sorted({*replaced, *(file.month for file in files)})
        ),
        rows=sum(file.row_count for file in files),
        files=len(files),
        bytes=sum(file.byte_count for file in files),
    )


async def _months_to_write(
    connection: Connection, target: str, newest: Version | None
) -> tuple[Sequence[Month], bool]:
    """Return the months in which numbers may differ from the table, and whether it is rewritten.

    A table that stands for a time before the retention floor is written again as a whole, because
    what happened since then is no longer known.
    """
    every = await months_of_snapshots(connection)
    if newest is None:
        return every, False
    state = await sql("state").one(connection, since=newest.moment)
    if not state["is_known"]:
        raise UsageError(
            f"{target} stands for {newest.moment.isoformat()}, and this database had no commit at "
            "that time: it was restored to an earlier one. Export to an empty target"
        )
    if not state["is_retained"] or not every:
        known = {month for month, _ in every}
        gone = [next(months(month, month)) for month in newest.months - known]
        return sorted([*every, *gone]), True
    changed = await sql("changed_months").fetch(
        connection,
        since=newest.moment,
        reaches_back=state["reaches_back"],
        first_date=every[0][0],
        last_date=every[-1][1],
    )
    return [next(months(month, month)) for (month,) in changed], False


async def _written(
    connection: Connection,
    storage: LakeStorage,
    wanted: Sequence[Month],
    on_progress: OnProgress,
) -> list[DataFile]:
    """Store the numbers of months as data files, each of some positions of one month."""
    files: list[DataFile] = []
    if not wanted:
        return files
    lake = await Lake.of(connection)
    spans = await read_all_spans(connection, None)
    for done, (first, last) in enumerate(wanted, 1):
        async for rows in published_numbers(connection, lake, spans, first, last):
            files.append(await asyncio.to_thread(_stored, storage, first, rows))
        on_progress(ExportProgress(done, len(wanted), sum(file.row_count for file in files)))
    return files


def _stored(storage: LakeStorage, month: date, rows: pl.DataFrame) -> DataFile:
    data = encode([rows], SCHEMA)
    path = f"data/{MONTH}={month_name(month)}/{uuid4().hex}.parquet"
    storage.put(path, data)
    return DataFile(path, month, len(rows), len(data), pq.read_metadata(BytesIO(data)))


def _claim(storage: LakeStorage, target: str, format: Format, owner: str) -> None:
    """Require that a target is a table of this database and format, or make it so if it is empty.

    Raises:
        UsageError: it is another table, or something else.
    """
    try:
        data = storage.get(MARK)
    except StorageFileMissingError:
        if any(True for _ in storage.list()):
            raise UsageError(
                f"{target} holds something else than an export: give an empty folder or prefix"
            ) from None
        mark = {"format": format, "database": owner, "layout": _LAYOUT}
        storage.put(MARK, json.dumps(mark).encode())
        return
    try:
        mark = json.loads(data)
        marked = mark["format"], mark["database"], mark["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise ExportFaultError(
            f"{storage.source(MARK)} is damaged: {error!r}. Export to an empty target"
        ) from error
    if marked[0] != format:
        raise UsageError(
            f"{target} is a table of the format {marked[0]}: give this format, or another target"
        )
    if marked[1] != owner:
        raise UsageError(
            f"{target} is the table of another database ({marked[1]}, and this one is {owner}): "
            "export to an empty target"
        )
    if marked[2] != _LAYOUT:
        raise UsageError(
            f"{target} was made by a version of Revalue with other columns: export to an empty "
            "target"
        )


def _address(target: str) -> str:
    """Return one spelling of a target."""
    if target.startswith("s3://"):
        return target.rstrip("/")
    if "://" in target:
        raise UsageError(f"{target!r} is no target: give a folder, or s3://BUCKET/PREFIX")
    try:
        return os.path.abspath(Path(target).expanduser())
    except RuntimeError as error:  # of a user who does not exist
        raise UsageError(f"{target!r} is not the path of a folder: {error}") from None


def _require_readable(address: str) -> None:
    """Refuse a target whose path engines would not take for what it is.

    Raises:
        UsageError: it has a part that is a pattern, an escape, or a column with its value.
    """
    if found := set(_PATTERNS).intersection(address):
        raise UsageError(
            f"{address} has {' '.join(sorted(found))}, which engines take for a pattern or an "
            "escape: give another target"
        )
    for part in address.split("/"):
        name, is_column, _ = part.partition("=")
        if is_column and name in (*COLUMNS, MONTH):
            raise UsageError(
                f"{address} has the part {part}: engines would take {name} for the value of this "
                "column in every row: give another target"
            )


def _require_outside_lake(address: str, lake: str | None) -> None:
    """Refuse a target inside the lake: its files would be swept as orphans.

    Raises:
        UsageError: it is there.
    """
    if lake is not None and f"{address}/".startswith(f"{lake.rstrip('/')}/"):
        raise UsageError(f"{address} is inside the lake at {lake}: give another target")


def _table_of(format: Format) -> Callable[[LakeStorage, str, str], Table]:
    """Return what makes a table of its storage, its target and the name of the database.

    Raises:
        UsageError: the package of the format is not installed.
    """
    try:
        match format:
            case "delta":
                from revalue.engine.export.delta import DeltaLakeTable

                return DeltaLakeTable
            case "iceberg":
                from revalue.engine.export.iceberg import IcebergTable

                return IcebergTable
            case "parquet":
                return ParquetTable
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise UsageError(
            f"the format {format} needs the package {package!r}, which is not installed: "
            "pip install 'revalue[export]'"
        ) from error
