"""Where the files of the lake are stored: a folder, or a bucket of S3 or of a compatible store.

A file is written once, under a name that no other file ever has (it contains a uuid), and never
changed. A reader that knows the name sees the whole file or none, whatever happens to the writer.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from revalue.engine.errors import UsageError

_ALLOWED = (
    "give the absolute path of a folder, or s3://BUCKET/PREFIX with the usual variables "
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


class LakeFile(NamedTuple):
    """A file of the lake, as `LakeStorage.list` tells of it.

    Attributes:
        path: relative to the lake's address, with `/`.
        size: in bytes.
        modified: when it was stored, by the clock of the storage, in UTC.
    """

    path: str
    size: int
    modified: datetime


class LakeStorage(Protocol):
    """Stores files durably. All waits are bounded. Safe to use by several threads at once."""

    def put(self, path: str, data: bytes) -> None:
        """Store a new file: when this returns, it survives a loss of power.

        A file is never replaced, and no reader ever sees a part of it. If a file of this name with
        these contents exists, this call or an earlier one has stored it, and that is a success.

        Args:
            path: relative, with `/`, new for each file.

        Raises:
            StorageUnavailableError: the storage cannot be reached or is overloaded. The file may be
                there or not; never only a part of it.
            StorageSetupError: no bucket, no access, no space, or a file of this name with other
                contents.
            UsageError: the path is not one of a file below the lake's address.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Store a file in place of one of the same name, if there is one.

        A reader sees one or the other. Data files of a lake are never replaced: this is for a file
        that points to others.

        Raises:
            StorageUnavailableError, StorageSetupError, UsageError: as `put`.
        """

    def get(self, path: str) -> bytes:
        """Return the contents of a file.

        Raises:
            StorageFileMissingError: there is none of that name.
            StorageUnavailableError, StorageSetupError: as `put`.
        """

    def source(self, path: str) -> str:
        """Return what `polars.scan_parquet` reads a file by: an absolute path or an s3:// URL.

        Pass glob=False: a name is not a pattern.
        """

    @property
    def storage_options(self) -> dict[str, str] | None:
        """Return what `polars.scan_parquet` needs beside it; None for a folder."""

    def list(self, prefix: str = "") -> Iterator[LakeFile]:
        """List all files, in no particular order, and none that is being written.

        Files that others have put there are listed too.

        Args:
            prefix: only the files below this folder.

        Raises:
            StorageUnavailableError, StorageSetupError: as `put`.
        """

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files. One that does not exist is no error.

        Remains of killed writers are deleted too, when they are a day old.

        Raises:
            StorageUnavailableError, StorageSetupError: as `put`. Some may have been deleted.
        """


def open_storage(
    address: str, environment: Mapping[str, str] = os.environ, *, creates: bool = False
) -> LakeStorage:
    """Return the storage at an address, the value of REVALUE_LAKE.

    Nothing is asked of S3 yet.

    Args:
        address: an absolute path, where `~` is the home folder, or s3://BUCKET/PREFIX.
        environment: the AWS_ variables of S3.
        creates: create a folder that does not exist. Only for making a lake: a folder that is
            missing later is a disk that is not mounted.

    Raises:
        UsageError: the address is neither, a variable is wrong, or a package is not installed.
        StorageSetupError: the folder cannot be created, or is a file.
        StorageUnavailableError: the file system of the folder cannot be reached.
    """
    if address.startswith("s3://"):
        from revalue.engine.lake.s3_storage import S3Options, S3Storage

        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(f"{address!r} names no bucket: {_ALLOWED}")
        prefix = prefix.rstrip("/")
        return S3Storage(
            bucket, prefix and require_path(prefix), S3Options.of_environment(environment)
        )
    if not address or _SCHEME.match(address):
        raise UsageError(f"{address!r} is not an address of a lake: {_ALLOWED}")
    from revalue.engine.lake.folder_storage import FolderStorage

    try:
        folder = Path(address).expanduser()
    except RuntimeError as error:  # of a user who does not exist
        raise UsageError(f"{address!r} is not the path of a folder: {error}") from None
    if not folder.is_absolute():
        # Actors on other nodes, and later commands, run in other folders.
        raise UsageError(f"{address!r} is a relative path: write {str(folder.absolute())!r}")
    return FolderStorage.created(folder) if creates else FolderStorage(folder)


def require_path(path: str) -> str:
    """Return the path of a file below the lake's address.

    Raises:
        UsageError: it is absolute, leads elsewhere, or has a part that is empty or hidden.
    """
    if any(part.startswith(".") or not part.isprintable() for part in path.split("/")) or any(
        not part for part in path.split("/")
    ):
        raise UsageError(
            f"{path!r} is not the path of a file in the lake: relative, parts separated by one '/' "
            "and none that begins with '.'"
        )
    return path
