"""Plain Parquet files, with a list of those that are the table now."""

import json
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

from revalue.engine.errors import ExportFaultError
from revalue.engine.export.columns import MONTH, month_name, month_of
from revalue.engine.export.table import DataFile, Version, Versions
from revalue.engine.lake.storage import LakeStorage

POINTER = "current.json"
"""The list of the newest version."""


class ParquetTable:
    """A `Table` as lists of files, versions/NUMBER.json; current.json is the newest of them."""

    def __init__(self, storage: LakeStorage, _target: str, database: str) -> None:
        self._storage, self._database = storage, database
        self._versions = Versions(storage, "versions", "{}.json", POINTER)
        self._newest: dict[str, Any] | None = None

    def newest(self) -> Version | None:
        """Return the newest commit, as `Table.newest`."""
        number = self._versions.newest()
        if number is None:
            return None
        path = self._versions.path(number)
        data = self._storage.get(path)
        try:
            self._newest = json.loads(data)
            version = _version(self._newest)
        except (ValueError, KeyError, TypeError) as error:
            raise ExportFaultError(
                f"the list of files {self._storage.source(path)} is damaged: {error!r}. Export to "
                "an empty target"
            ) from error
        self._versions.point(data)  # the export that wrote it may have died before it did this
        return version

    def commit(
        self, moment: datetime, months: Collection[date], files: Sequence[DataFile]
    ) -> Version:
        """Replace the files of months, as `Table.commit`."""
        before = self._newest or {"version": 0, "files": []}
        replaced = {month_name(month) for month in months}
        listed = [file for file in before["files"] if file[MONTH] not in replaced]
        listed += [
            {
                "path": file.path,
                MONTH: month_name(file.month),
                "rows": file.row_count,
                "bytes": file.byte_count,
            }
            for file in files
        ]
        self._newest = {
            "version": before["version"] + 1,
            "moment": moment.isoformat(),
            "database": self._database,
            "rows": sum(file["rows"] for file in listed),
            "files": sorted(listed, key=lambda file: (file[MONTH], file["path"])),
        }
        data = json.dumps(self._newest, indent=1).encode()
        self._versions.add(self._newest["version"], data, data)
        return _version(self._newest)


def _version(found: dict[str, Any]) -> Version:
    return Version(
        name=str(found["version"]),
        moment=datetime.fromisoformat(found["moment"]),
        months=frozenset(month_of(file[MONTH]) for file in found["files"]),
    )
