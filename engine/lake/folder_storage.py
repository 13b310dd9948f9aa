"""The lake in a folder, of a local disk or of a file system that all nodes have mounted."""

import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from revalue.engine.errors import StorageFileMissingError, StorageSetupError
from revalue.engine.lake.storage import LakeFile, require_path
from revalue.engine.lake.storage_errors import error_of_folder

_INCOMING = ".incoming"
"""The folder of files that are being written. Its name is none that `require_path` lets through."""

_LEFT_BEHIND_SECONDS = 24 * 3600
# Of a file system without hard links, for example a share of Windows.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class FolderStorage:
    """A `LakeStorage` in a folder."""

    storage_options: dict[str, str] | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._durable: set[Path] = set()

    @classmethod
    def created(cls, folder: Path) -> "FolderStorage":
        """Return the storage in a folder, which is created if it does not exist."""
        with _of_folder(f"create the folder {folder}"):
            _make_durably(folder)
        return cls(folder)

    def put(self, path: str, data: bytes) -> None:
        """Store a new file, as `LakeStorage.put`."""
        final = self._folder / require_path(path)
        with self._written(final, data) as written:
            try:
                _give_name(written, final)
            except FileExistsError:
                if final.read_bytes() != data:
                    raise StorageSetupError(
                        f"cannot store the file {final}: it exists with other contents. Names of "
                        "files contain a uuid, so somebody has put it there"
                    ) from None

    def replace(self, path: str, data: bytes) -> None:
        """Store a file in place of another, as `LakeStorage.replace`."""
        final = self._folder / require_path(path)
        with self._written(final, data) as written:
            os.replace(written, final)

    def get(self, path: str) -> bytes:
        """Return the contents of a file, as `LakeStorage.get`."""
        file = self._folder / require_path(path)
        with _of_folder(f"read the file {file}"):
            try:
                return file.read_bytes()
            except FileNotFoundError:
                raise StorageFileMissingError(
                    f"cannot read the file {file}: it does not exist"
                ) from None

    def source(self, path: str) -> str:
        """Return the absolute path of a file."""
        return str(self._folder / require_path(path))

    def list(self, prefix: str = "") -> Iterator[LakeFile]:
        """List all files, as `LakeStorage.list`."""
        top = self._folder / require_path(prefix.rstrip("/")) if prefix else self._folder
        with _of_folder(f"list the files of {top}"):
            yield from self._below(top)

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files, as `LakeStorage.delete`."""
        for path in paths:
            file = self._folder / require_path(path)
            with _of_folder(f"delete the file {file}"), suppress(FileNotFoundError):
                file.unlink()
        with _of_folder(f"delete what killed writers have left in {self._folder / _INCOMING}"):
            self._delete_left_behind()

    @contextmanager
    def _written(self, final: Path, data: bytes) -> Iterator[Path]:
        """Give a file that is on the disk, to get its final name in this block."""
        with _of_folder(f"store the file {final}"):
            incoming = self._folder / _INCOMING
            self._make_folders(final.parent)
            incoming.mkdir(exist_ok=True)
            written = incoming / uuid.uuid4().hex
            try:
                with open(written, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield written
            finally:
                with suppress(OSError):  # what is left behind is deleted after a day
                    written.unlink(missing_ok=True)
            _sync_folder(final.parent)

    def _make_folders(self, folder: Path) -> None:
        """Create the folders down to this one, and make sure that they survive a loss of power.

        Another process may have created one just now and may not be done with it: what this one has
        not made durable itself is made so, once.
        """
        if folder in self._durable and folder.is_dir():
            return
        if not self._folder.is_dir():  # a disk that is not mounted: never a new lake in its place
            raise StorageSetupError(
                f"the folder {self._folder} is gone. Mount its disk, or create it"
            )
        for below in reversed([folder, *folder.parents]):
            if below.is_relative_to(self._folder) and below != self._folder:
                below.mkdir(exist_ok=True)
                _sync_folder(below.parent)
        self._durable.add(folder)

    def _below(self, top: Path) -> Iterator[LakeFile]:
        try:
            entries = list(os.scandir(top))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != _INCOMING:
                    yield from self._below(Path(entry.path))
                continue
            with suppress(FileNotFoundError):  # deleted meanwhile
                found = entry.stat()
                path = Path(entry.path).relative_to(self._folder).as_posix()
                yield LakeFile(path, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _delete_left_behind(self) -> None:
        with suppress(FileNotFoundError):
            for left in list(os.scandir(self._folder / _INCOMING)):
                with suppress(FileNotFoundError):
                    if time.time() - left.stat().st_mtime > _LEFT_BEHIND_SECONDS:
                        os.unlink(left.path)


@contextmanager
def _of_folder(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise error_of_folder(error, doing) from error


def _give_name(written: Path, final: Path) -> None:
    """Give a file that is on the disk its name, unless another one has it.

    A rename would replace that one.
    """
    try:
        os.link(written, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        os.rename(written, final)


def _make_durably(folder: Path) -> None:
    if not folder.is_dir():
        _make_durably(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that has nothing to do for a folder
            raise
    finally:
        os.close(opened)
