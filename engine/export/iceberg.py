"""A table of Apache Iceberg, by the package `pyiceberg`, without a catalogue.

Its metadata are files metadata/vNUMBER.metadata.json beside version-hint.text, as Hadoop tables of
Iceberg have them: the folder alone is the table. Every file is written by the storage of the
target, so that metadata are as durable as data.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import ValidationError
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as Loaded
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import update_table_metadata
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.transforms import MonthTransform
from pyiceberg.types import DateType, DecimalType, IntegerType, NestedField, StringType

from revalue.engine.errors import ExportFaultError
from revalue.engine.export.columns import COLUMNS
from revalue.engine.export.table import DataFile, Version, Versions
from revalue.engine.lake.storage import LakeStorage

_HINT = "metadata/version-hint.text"
_MOMENT, _DATABASE = "revalue.moment", "revalue.database"


class IcebergTable:
    """A `Table` in the metadata of Iceberg, partitioned by the month of the date."""

    def __init__(self, storage: LakeStorage, target: str, database: str) -> None:
        self._storage, self._target, self._database = storage, target, database
        self._versions = Versions(storage, "metadata", "v{}.metadata.json", _HINT)
        self._io = _StorageIO(storage, target)
        self._files: dict[date, list[IcebergFile]] = {}
        self._table: Loaded | None = None

    def newest(self) -> Version | None:
        """Return the newest commit, as `Table.newest`."""
        number = self._versions.newest()
        if number is None:
            return None
        try:
            location = self._location(number)
            metadata = FromInputFile.table_metadata(self._io.new_input(location))
            self._table = self._loaded(metadata, location, number)
            version = self._version()
        except (
            ValidationError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            EOFError,
            MemoryError,
        ) as error:
            raise ExportFaultError(
                f"the Iceberg table at {self._target} cannot be read: {error!r}. Export to an "
                "empty target"
            ) from error
        self._versions.point(str(number).encode())  # who wrote it may have died before it did this
        return version

    def commit(
        self, moment: datetime, months: Collection[date], files: Sequence[DataFile]
    ) -> Version:
        """Replace the files of months, as `Table.commit`."""
        table = self._table or self._loaded(_new_metadata(self._target), "", 0)
        transaction = table.transaction()
        says = {_MOMENT: moment.isoformat(), _DATABASE: self._database}
        transaction.set_properties(says)
        with _Replacement(
            operation=Operation.APPEND if self._table is None else Operation.OVERWRITE,
            transaction=transaction,
            io=self._io,
            snapshot_properties=says,
        ) as replacement:
            for month in months:
                for listed in self._files.get(month, ()):
                    replacement.delete_data_file(listed)
            for file in files:
                replacement.append_data_file(self._listed(table, file))
        transaction.commit_transaction()
        version = self.newest()
        assert version is not None
        return version

    def _location(self, number: int) -> str:
        return f"{self._target}/{self._versions.path(number)}"

    def _loaded(self, metadata: Any, location: str, number: int) -> Loaded:
        return Loaded(
            identifier=("revalue", "position_valuations"),
            metadata=metadata,
            metadata_location=location,
            io=self._io,
            catalog=_Catalog(self._versions, number, self._target),
        )

    def _version(self) -> Version:
        assert self._table is not None
        snapshot = self._table.metadata.current_snapshot()
        self._files = {}
        for manifest in snapshot.manifests(self._io):
            for entry in manifest.fetch_manifest_entry(self._io, discard_deleted=True):
                self._files.setdefault(_month(entry.data_file), []).append(entry.data_file)
        return Version(
            str(snapshot.snapshot_id),
            datetime.fromisoformat(_moment(self._table.metadata)),
            frozenset(self._files),
        )

    def _listed(self, table: Loaded, file: DataFile) -> IcebergFile:
        schema = table.schema()
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=file.footer,
            stats_columns=compute_statistics_plan(schema, table.metadata.properties),
            parquet_column_mapping=parquet_path_to_id_mapping(schema),
        )
        return IcebergFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"{self._target}/{file.path}",
            file_format=FileFormat.PARQUET,
            partition=statistics.partition(table.spec(), schema),
            file_size_in_bytes=file.byte_count,
            sort_order_id=None,
            spec_id=table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


class _Replacement(_OverwriteFiles):
    """Some data files in place of others, in one snapshot."""

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Leave out manifests that only say what an earlier snapshot deleted: they add up."""
        return [
            each
            for each in manifests
            if each.has_added_files()
            or each.has_existing_files()
            or each.added_snapshot_id == self.snapshot_id
        ]


class _Catalog(NoopCatalog):
    """Commits by the next metadata file."""

    def __init__(self, versions: Versions, number: int, target: str) -> None:
        super().__init__("revalue")
        self._versions, self._number, self._target = versions, number, target

    def commit_table(self, table: Loaded, requirements: Any, updates: Any) -> CommitTableResponse:
        """Write the metadata of a table with updates."""
        for requirement in requirements:
            requirement.validate(table.metadata)
        metadata = update_table_metadata(
            table.metadata, updates, metadata_location=table.metadata_location or None
        )
        number = self._number + 1
        data = metadata.model_dump_json().encode()
        self._versions.add(number, data, str(number).encode())
        location = f"{self._target}/{self._versions.path(number)}"
        return CommitTableResponse(**{"metadata": metadata, "metadata-location": location})


class _StorageIO(FileIO):
    """The files of the target, for pyiceberg."""

    def __init__(self, storage: LakeStorage, target: str) -> None:
        super().__init__({})
        self._storage, self._target = storage, target

    def new_input(self, location: str) -> InputFile:
        """Return a file to read."""
        return _Input(location, self._storage, self._path(location))

    def new_output(self, location: str) -> OutputFile:
        """Return a file to write."""
        return _Output(location, self._storage, self._path(location))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file of a commit that failed."""
        named = location if isinstance(location, str) else location.location
        self._storage.delete([self._path(named)])

    def _path(self, location: str) -> str:
        if not location.startswith(f"{self._target}/"):
            raise ValueError(f"{location} is not below {self._target}: the table was moved")
        return location.removeprefix(f"{self._target}/")


class _Input(InputFile):
    def __init__(self, location: str, storage: LakeStorage, path: str) -> None:
        super().__init__(location)
        self._storage, self._path = storage, path

    def __len__(self) -> int:
        return len(self._storage.get(self._path))

    def exists(self) -> bool:
        return any(file.path == self._path for file in self._storage.list(self._path))

    def open(self, seekable: bool = True) -> Any:
        return BytesIO(self._storage.get(self._path))


class _Output(OutputFile):
    """A new file; pyiceberg puts a uuid into each of their names."""

    def __init__(self, location: str, storage: LakeStorage, path: str) -> None:
        super().__init__(location)
        self._storage, self._path = storage, path
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def exists(self) -> bool:
        return _Input(self.location, self._storage, self._path).exists()

    def to_input_file(self) -> InputFile:
        return _Input(self.location, self._storage, self._path)

    def create(self, overwrite: bool = False) -> Any:
        return _Upload(self)

    def store(self, data: bytes) -> None:
        self._storage.put(self._path, data)
        self._size = len(data)


class _Upload(BytesIO):
    """Stores what was written when it is closed."""

    def __init__(self, output: _Output) -> None:
        super().__init__()
        self._output = output

    def close(self) -> None:
        if not self.closed:
            self._output.store(self.getvalue())
        super().close()


def _new_metadata(target: str) -> Any:
    schema = Schema(*_fields())
    by_month = PartitionField(
        source_id=schema.find_field("date").field_id,
        field_id=1000,
        transform=MonthTransform(),
        name="date_month",
    )
    return new_table_metadata(
        schema, PartitionSpec(by_month), UNSORTED_SORT_ORDER, target, {"format-version": "2"}
    )


def _fields() -> Iterator[NestedField]:
    """Yield the columns, with the ids that they have in the data files."""
    for number, (name, (kind, doc)) in enumerate(COLUMNS.items(), 1):
        if pa.types.is_decimal(kind):
            iceberg_type: Any = DecimalType(kind.precision, kind.scale)
        else:
            iceberg_type = {
                pa.string(): StringType(),
                pa.date32(): DateType(),
                pa.int32(): IntegerType(),
            }[kind]
        yield NestedField(number, name, iceberg_type, required=False, doc=doc)


def _moment(metadata: Any) -> str:
    """Return which moment a table stands for.

    Another program may have merged files since the last export: then an earlier snapshot says it.
    When that has expired, the table's own properties do. They come last: a program that goes back
    to an older snapshot leaves them as they are.
    """
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        if moment := snapshot.summary.additional_properties.get(_MOMENT):
            return str(moment)
        snapshot = metadata.snapshot_by_id(snapshot.parent_snapshot_id)
    if moment := metadata.properties.get(_MOMENT):
        return str(moment)
    raise ValueError("no snapshot says which moment it stands for")


def _month(file: IcebergFile) -> date:
    """Return the first day of the month of a file; its partition counts months from 1970 on."""
    years, months = divmod(file.partition[0], 12)
    return date(1970 + years, months + 1, 1)
