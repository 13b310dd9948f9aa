"""The lake in a folder: what survives a loss of power and a killed writer; what a disk refuses."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from revalue.engine.errors import RevalueError, StorageSetupError, StorageUnavailableError
from revalue.engine.errors import StorageAccessError as Denied
from revalue.engine.lake.storage import LakeStorage, open_storage

DATA = bytes(range(256)) * 4_000
NAME = "2024-01/x.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "disk" / "lake"


@pytest.fixture
def storage(folder: Path) -> LakeStorage:
    return open_storage(str(folder), creates=True)


def all_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Disk:
    """What the disk is told to do, in order: `sync PATH` and `link PATH`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        fsync, link = os.fsync, os.link

        def told_sync(descriptor: int) -> None:
            self.told.append(f"sync {os.readlink(f'/proc/self/fd/{descriptor}')}")
            fsync(descriptor)

        def told_link(source: Any, target: Any) -> None:
            self.told.append(f"link {target}")
            link(source, target)

        monkeypatch.setattr(os, "fsync", told_sync)
        monkeypatch.setattr(os, "link", told_link)


def test_a_file_and_its_folders_are_on_the_disk_before_it_has_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    storage = open_storage(str(folder), creates=True)
    assert disk.told == [f"sync {folder.parent.parent}", f"sync {folder.parent}"]
    disk.told.clear()
    storage.put("a/b/x.parquet", DATA)
    written = disk.told[2]
    assert written.startswith(f"sync {folder}/.incoming/")
    assert disk.told == [
        f"sync {folder}",
        f"sync {folder}/a",
        written,
        f"link {folder}/a/b/x.parquet",
        f"sync {folder}/a/b",
    ]
    disk.told.clear()
    storage.put("a/b/y.parquet", DATA)
    assert [line.partition(" ")[0] for line in disk.told] == ["sync", "link", "sync"]
    disk.told.clear()
    # Another process may have created the folder, and died before it was on the disk.
    open_storage(str(folder), creates=True).put("a/b/z.parquet", DATA)
    assert [line.partition(" ")[0] for line in disk.told] == [
        "sync",
        "sync",
        "sync",
        "link",
        "sync",
    ]


WRITER = """
import os, stat, sys, time
from revalue.engine.lake.storage import open_storage
storage, step, fsync = open_storage(sys.argv[1], creates=True), sys.argv[2], os.fsync
def stop(*arguments):
    if step == "fsync":
        if stat.S_ISDIR(os.fstat(*arguments).st_mode):
            return fsync(*arguments)
        os.ftruncate(*arguments, 500_000)  # half of it is written
    print("written", flush=True)
    time.sleep(600)
setattr(os, step, stop)
storage.put("2024-01/x.parquet", bytes(range(256)) * 4_000)
"""


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_killed_writer_leaves_no_part_of_a_file(
    storage: LakeStorage, folder: Path, step: str
) -> None:
    storage.put("2024-01/first.parquet", DATA)  # all folders are there
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), step], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    writer.kill()
    assert writer.wait(30) == -signal.SIGKILL
    writer.stdout.close()
    [left] = [path for path in all_below(folder) if path.startswith(".incoming/")]
    assert [file.path for file in storage.list()] == ["2024-01/first.parquet"]
    storage.put(NAME, DATA)  # the next attempt
    assert storage.get(NAME) == DATA
    storage.delete([])
    assert left in all_below(folder)  # it might be that of a writer at work
    a_day_ago = os.stat(folder / left).st_mtime - 25 * 3600
    os.utime(folder / left, (a_day_ago, a_day_ago))
    storage.delete([])
    assert all_below(folder) == ["2024-01/first.parquet", NAME]


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_a_part_of_a_file_leaves_none(storage: LakeStorage, folder: Path) -> None:
    with at_most(len(DATA) // 2), pytest.raises(StorageSetupError, match="Make space") as told:
        storage.put(NAME, DATA)
    assert f"cannot store the file {folder}/{NAME}: File too large" in str(told.value)
    assert all_below(folder) == []
    storage.put(NAME, DATA)
    assert storage.get(NAME) == DATA


KINDS: dict[int, tuple[type[RevalueError], str]] = {
    errno.ENOSPC: (StorageSetupError, "No space left on device. Make space"),
    errno.EDQUOT: (StorageSetupError, "Make space, or raise the limit"),
    errno.EROFS: (StorageSetupError, "Mount the file system for writing"),
    errno.EIO: (StorageSetupError, "Check the folder"),
    errno.EACCES: (Denied, "Let the user of the engine read and write"),
    errno.EPERM: (Denied, "Let the user of the engine read and write"),
    errno.ESTALE: (StorageUnavailableError, "Look at the file system if this lasts"),
    errno.ETIMEDOUT: (StorageUnavailableError, "Look at the file system if this lasts"),
    errno.EMFILE: (StorageUnavailableError, "Too many open files"),
}


@pytest.mark.parametrize(("number", "expected"), KINDS.items(), ids=errno.errorcode.get)
def test_what_the_disk_refuses(
    storage: LakeStorage,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: tuple[type[RevalueError], str],
) -> None:
    kind, match = expected

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(RevalueError, match=match) as told:
            storage.put("x.parquet", DATA)
    assert type(told.value) is kind
    assert all_below(folder) == []


@contextmanager
def as_another_user() -> Iterator[None]:
    """As a user without any right, if this one is root, whom no right stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_of_somebody_else(storage: LakeStorage, folder: Path) -> None:
    storage.put(NAME, DATA)
    folder.chmod(0o500 if os.geteuid() else 0o700)
    try:
        with as_another_user():
            with pytest.raises(Denied, match=f"{folder}.*Permission denied"):
                storage.put("new/x.parquet", DATA)
            with pytest.raises(Denied, match="create the folder"):
                open_storage(str(folder / "b"), creates=True)
    finally:
        folder.chmod(0o700)
    assert all_below(folder) == [NAME]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()
    for address in (tmp_path / "lake", tmp_path / "lake" / "below"):
        with pytest.raises(StorageSetupError, match="cannot create the folder"):
            open_storage(str(address), creates=True)


def test_a_folder_that_is_gone_is_not_made_again(storage: LakeStorage, folder: Path) -> None:
    """Its disk is not mounted, and the files would be written to another one."""
    folder.rmdir()
    with pytest.raises(StorageSetupError, match=f"the folder {folder} is gone"):
        storage.put(NAME, DATA)
    assert not folder.exists()


def test_a_folder_below_that_is_gone_is_made_again(storage: LakeStorage, folder: Path) -> None:
    storage.put(NAME, DATA)
    storage.delete([NAME])
    (folder / NAME).parent.rmdir()
    (folder / ".incoming").rmdir()
    storage.put(NAME, DATA)
    assert storage.get(NAME) == DATA


def test_a_file_system_without_links_replaces_no_file_either(
    storage: LakeStorage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "link", refuse)
    storage.put(NAME, DATA)
    storage.put(NAME, DATA)
    with pytest.raises(StorageSetupError, match="it exists with other contents"):
        storage.put(NAME, DATA[::-1])
    assert storage.get(NAME) == DATA
    assert all_below(folder) == [NAME]
