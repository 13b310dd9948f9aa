"""Whose lake it is: one database writes to a lake, and recognises it by a mark at its root.

The mark has the id of the lake and the name of the database that owns it (`owner`: the server's
system identifier and the database's oid, which a restored dump does not have). The mark is read
before each write and each deletion. So a folder that is no longer mounted, another lake at the same
address, or an owner that another database has replaced is noticed before anything is written.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

from revalue.engine.errors import (
    DatabaseSetupError,
    NotFoundError,
    StorageFileMissingError,
    StorageSetupError,
)
from revalue.engine.lake.storage import LakeStorage, open_storage
from revalue.engine.postgres.database import Database
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

MARK = "revalue-lake.json"
SNAPSHOTS = "snapshots/"


@dataclass(frozen=True)
class Place:
    """Where the lake of a database is.

    Attributes:
        address: as it is recorded.
        lake_id: which the mark at its root has to have.
        is_own: whether this database owns it, and is not a copy of the one that does.
        storage: of the address.
    """

    address: str
    lake_id: str
    is_own: bool
    storage: LakeStorage

    def require_writable(self) -> None:
        """Require that the mark at the address is that of this lake. Blocks.

        Raises:
            DatabaseSetupError: this database does not own the lake, or it is not there.
            StorageUnavailableError: it cannot be reached now.
        """
        if not self.is_own:
            raise DatabaseSetupError(
                "this database is a copy of the one that made the lake, and only one may write to "
                "it: `revalue lake adopt` if the other is gone; else run without REVALUE_LAKE"
            )
        try:
            marked, _ = _read_mark(self.storage)
        except StorageFileMissingError:
            raise DatabaseSetupError(
                f"{self.address} is not the lake of this database: the file {MARK} is missing "
                "there. A folder has to be the same on every machine: mount it, or use s3://"
            ) from None
        if marked != self.lake_id:
            raise DatabaseSetupError(
                f"{self.address} is the lake of another database ({marked}), not of this one "
                f"({self.lake_id}): another database has adopted it, or another lake lies there"
            )


async def place(connection: Connection) -> Place | None:
    """Return where the lake of a database is; None: it has none."""
    row = await sql("known_lake").row(connection)
    if row is None:
        return None
    return Place(row["address"], row["lake_id"], row["is_own"], _storage(row["address"]))


async def own_address(connection: Connection) -> str | None:
    """Return the address of the lake that a database owns; None: it owns none."""
    row = await sql("known_lake").row(connection)
    return row["address"] if row is not None and row["is_own"] else None


async def make_lake(database: Database, address: str) -> None:
    """Make the lake of a database at an address, unless it has that one already.

    Raises:
        DatabaseSetupError: the database has another lake, or what lies there is another database's.
        UsageError: the address is impossible.
        TransientError: it cannot be reached now.
    """
    address = normalised(address)
    async with database.connection() as connection:
        known = await place(connection)
        if known is None:
            owner = await sql("owner").value(connection)
            storage = await asyncio.to_thread(open_storage, address, creates=True)
            lake_id = await asyncio.to_thread(_mark_new, storage, address, owner)
            await sql("record_lake").execute(
                connection, address=address, lake_id=lake_id, owner=owner
            )
            known = await place(connection)
            assert known is not None, "it was inserted, by this process or by another one"
    if normalised(known.address) != address:
        raise DatabaseSetupError(
            f"REVALUE_LAKE is {address}, and the lake of this database is {known.address}: "
            "give that address, or none"
        )
    await asyncio.to_thread(known.require_writable)


async def adopt(database: Database) -> None:
    """Make the lake this database's own, and give it a new mark: other databases that have it, as
    copies of this one do, can no longer write to it.

    Raises:
        NotFoundError: the database has no lake.
        DatabaseSetupError: what lies at its address is not it.
        AccessDeniedError: the user is not the owner of the tables.
        TransientError: it cannot be reached now.
    """
    async with database.transaction() as connection:
        known = await place(connection)
        if known is None:
            raise NotFoundError("this database has no lake")
        owner = await sql("owner").value(connection)
        lake_id = str(uuid4())
        await sql("adopt_lake").execute(connection, lake_id=lake_id, owner=owner)
        await asyncio.to_thread(_mark_anew, known, lake_id, owner)


def normalised(address: str) -> str:
    """Return the address under which a lake is recorded, in one spelling of several."""
    if address.startswith("s3://"):
        return address.rstrip("/")
    try:
        return str(Path(address).expanduser())
    except RuntimeError:  # of a user who does not exist: open_storage says so
        return address


@cache
def _storage(address: str) -> LakeStorage:
    return open_storage(address)


def _mark_new(storage: LakeStorage, address: str, owner: str) -> str:
    """Mark the root of a new lake; return its id. This database may have marked it already."""
    lake_id = str(uuid4())
    try:
        marked, marked_by = _read_mark(storage)
    except StorageFileMissingError:
        if any(True for _ in storage.list(SNAPSHOTS)):
            raise DatabaseSetupError(
                f"{address} has files of a lake and no mark of whose it is: give an empty folder "
                "or prefix"
            ) from None
        try:
            _write_mark(storage, lake_id, owner)
        except StorageSetupError:  # another process has done it just now, or cannot either
            marked, marked_by = _read_mark(storage)
        else:
            return lake_id
    if marked_by != owner:
        raise DatabaseSetupError(
            f"{address} is the lake of another database: give an empty folder or prefix"
        )
    return marked


def _mark_anew(known: Place, lake_id: str, owner: str) -> None:
    """Replace the mark; an earlier attempt of this database may have been cut off half way."""
    try:
        marked = _read_mark(known.storage)
    except StorageFileMissingError:
        marked = ("", "")
    if known.lake_id != marked[0] and owner != marked[1]:
        raise DatabaseSetupError(
            f"{known.address} is not the lake of this database, or another one has adopted it "
            "since: look at its address, and whether its disk is mounted"
        )
    known.storage.delete([MARK])
    _write_mark(known.storage, lake_id, owner)


def _read_mark(storage: LakeStorage) -> tuple[str, str]:
    mark = json.loads(storage.get(MARK))
    return str(mark["lake_id"]), str(mark["owner"])


def _write_mark(storage: LakeStorage, lake_id: str, owner: str) -> None:
    storage.put(MARK, json.dumps({"lake_id": lake_id, "owner": owner}).encode())
