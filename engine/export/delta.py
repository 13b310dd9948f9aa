"""A table of Delta Lake, by the package `deltalake`."""

import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, create_table_with_add_actions

from revalue.engine.errors import ExportFaultError, WriteConflictError
from revalue.engine.export.columns import COLUMNS, MONTH, month_name, month_of
from revalue.engine.export.table import DataFile, Version, microseconds, of_microseconds
from revalue.engine.lake.storage import LakeStorage
from revalue.engine.lake.storage_errors import error_of_folder, error_of_s3

_APPLICATION = "revalue"
"""The moment of a commit is its version of this application: Delta keeps it through checkpoints."""


class DeltaLakeTable:
    """A `Table` in the log of Delta Lake, partitioned by a column `month`."""

    def __init__(self, storage: LakeStorage, target: str, database: str) -> None:
        self._target, self._database = target, database
        options = storage.storage_options
        self._is_folder = options is None
        # A commit is a file that must not exist.
        self._options = None if options is None else {**options, "aws_conditional_put": "etag"}
        self._table: DeltaTable | None = None

    def newest(self) -> Version | None:
        """Return the newest commit, as `Table.newest`."""
        with self._translated("read"):
            try:
                self._table = DeltaTable(self._target, storage_options=self._options)
            except TableNotFoundError:
                return None
            moment = self._table.transaction_version(_APPLICATION)
            if moment is None:
                raise ExportFaultError(
                    f"the Delta table at {self._target} does not say which moment it stands for: "
                    "export to an empty target"
                )
            months = {each[MONTH] for each in self._table.partitions()}
        return Version(
            name=str(self._table.version()),
            moment=of_microseconds(moment),
            months=frozenset(map(month_of, months)),
        )

    def commit(
        self, moment: datetime, months: Collection[date], files: Sequence[DataFile]
    ) -> Version:
        """Replace the files of months, as `Table.commit`."""
        actions = [_add(file) for file in files]
        properties = CommitProperties(
            custom_metadata={
                "revalue.moment": moment.isoformat(),
                "revalue.database": self._database,
            },
            max_commit_retries=0,  # what another program committed meanwhile is not known here
            app_transactions=[Transaction(_APPLICATION, microseconds(moment))],
        )
        with self._translated("commit to"):
            if self._table is None:
                create_table_with_add_actions(
                    self._target,
                    _schema(),
                    actions,
                    partition_by=[MONTH],
                    # Or a checkpoint would delete the log of versions that are a month old.
                    configuration={"delta.enableExpiredLogCleanup": "false"},
                    name="position_valuations",
                    description="The published valuations of Revalue",
                    storage_options=self._options,
                    commit_properties=properties,
                )
            else:
                replaced = sorted(map(month_name, months))
                self._table.create_write_transaction(
                    actions,
                    "overwrite" if replaced else "append",
                    self._table.schema(),
                    partition_by=[MONTH],
                    partition_filters=[(MONTH, "in", replaced)] if replaced else None,
                    commit_properties=properties,
                )
        version = self.newest()
        assert version is not None
        return version

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Raise the engine's errors instead of those of the package."""
        try:
            yield
        except CommitFailedError as error:
            raise WriteConflictError(
                f"another program has committed to {self._target} at the same time, or it cannot "
                f"be written now: run it again ({error})"
            ) from error
        except DeltaError as error:
            raise ExportFaultError(
                f"cannot {doing} the Delta table at {self._target}: {error}. If it is damaged, "
                "export to an empty target"
            ) from error
        except OSError as error:
            told = f"{doing} the Delta table at {self._target}"
            if self._is_folder:
                raise error_of_folder(error, told) from error
            raise error_of_s3(error, told) from error


def _schema() -> Schema:
    return Schema(
        [
            *(
                Field(name, PrimitiveType(_kind(kind)), nullable=True, metadata={"comment": doc})
                for name, (kind, doc) in COLUMNS.items()
            ),
            Field(
                MONTH,
                PrimitiveType("string"),
                nullable=True,
                metadata={"comment": "the month of the date, as 2024-03: the partition"},
            ),
        ]
    )


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return {pa.string(): "string", pa.date32(): "date", pa.int32(): "integer"}[kind]


def _add(file: DataFile) -> AddAction:
    return AddAction(
        path=file.path,
        size=file.byte_count,
        partition_values={MONTH: month_name(file.month)},
        modification_time=int(time.time() * 1000),
        data_change=True,
        # No bounds of columns: where only some have them, deltalake takes the others for null in
        # all rows, and leaves out the file. Readers have those of Parquet, and `month`.
        stats=json.dumps({"numRecords": file.row_count}),
    )
