"""Take a load back: what it has replaced is restored, and what it has added is deleted.

The database keeps what a load replaces (the functions keep_replaced_*), in the transaction of the
load. To take it back is a correction like any other, and a load of its own, so that it can be taken
back, too.
"""

from dataclasses import dataclass
from typing import Any

from revalue.engine import logs
from revalue.engine.correct import authors
from revalue.engine.correct.authors import Author
from revalue.engine.correct.inputs.kinds import COLUMNS, Kind
from revalue.engine.correct.loads import recorded
from revalue.engine.correct.loads.load_progress import OnProgress, Progress
from revalue.engine.correct.reach import reach
from revalue.engine.correct.writes import upserts
from revalue.engine.correct.writes.incoming import Incoming
from revalue.engine.errors import (
    CorrectionRefusedError,
    NotFoundError,
    UsageError,
    WriteConflictError,
)
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import rolled_back
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_log = logs.logger("reverts")

_SHOWN_ROWS = 5

KINDS = (Kind.PRICES, Kind.FX_RATES, Kind.POSITIONS)
"""Loads of these kinds can be taken back. To the others later data refers: positions to portfolios
and instruments, numbers to the business dates on which they were valued."""


@dataclass(frozen=True)
class Revert:
    """What was done to take a load back.

    Attributes:
        reverts: the load that was taken back.
        kind: what it had loaded.
        source: where from.
        rows: rows that it had added, replaced or removed; records that it had closed are such rows.
        deleted: those that it had added, and that are deleted.
        restored: those that it had replaced or removed, and that are as they were before it.
        kept: those that were changed since, and stay as they are.
        trigger_ids: the triggers that record the correction.
        positions: how many positions it affects at most; of positions: how many are corrected.
        load_id: under which number it is recorded.
    """

    reverts: int
    kind: str
    source: str
    rows: int
    deleted: int
    restored: int
    kept: int
    trigger_ids: tuple[int, ...]
    positions: int
    load_id: int | None


async def revert(
    database: Connections,
    load_id: int,
    *,
    keep_later: bool = False,
    on_progress: OnProgress | None = None,
) -> Revert:
    """Take a load back, all of it or nothing.

    A row that is not any more as the load left it was changed by something later: another load, a
    correction, another tool. What a later load found as it gave it is not recorded of that load, so
    it is restored, too.

    Args:
        database: the database.
        load_id: the number of the load, as `list_loads` gives it.
        keep_later: leave rows that were changed since as they are, and take the others back.
        on_progress: called with the steps "checking", "writing" and "committing".

    Raises:
        NotFoundError: no such load is recorded.
        UsageError: it cannot be taken back: it is of another kind, has changed nothing, or is older
            than what the database keeps.
        CorrectionRefusedError: rows were changed since, and `keep_later` is not set, or all were;
            or a price would be restored that a load would refuse.
        TransientError: the database is unavailable or busy.
    """
    progress = Progress(on_progress)
    async with database.transaction() as connection:
        found = await _to_revert(connection, load_id)
        kind = Kind(found["kind"])
        await authors.sign(connection, authors.local_author())
        await recorded.keep_replaced(connection)
        progress.next("checking", 0)
        count = await _compare(connection, load_id, found, keep_later=keep_later)
        progress.next("writing", 0)
        if kind is Kind.POSITIONS:
            done = await _restore_positions(connection)
        else:
            done = await _restore_market_data(connection, kind, load_id, count["inserted"])
        await connection.execute("DROP TABLE reverted")
        progress.next("committing", 0)
        as_load = await recorded.record(
            connection,
            kind.value,
            f"revert of load {load_id}",
            count["rows"],
            {**done, "unchanged": count["later"]},
            reverts=load_id,
        )
    return Revert(
        reverts=load_id,
        kind=kind.value,
        source=found["source"],
        rows=count["rows"],
        deleted=done["removed"],
        restored=done["inserted"] + done["changed"],
        kept=count["later"],
        trigger_ids=done["trigger_ids"],
        positions=done["positions"],
        load_id=as_load,
    )


async def look(
    database: Connections,
    load_id: int,
    *,
    keep_later: bool = False,
    on_progress: OnProgress | None = None,
) -> Revert:
    """Find out how many rows `revert` would restore and delete. It restores none.

    Args and errors are those of `revert`. What is affected is not known: there are no triggers, and
    `positions` is 0.
    """
    progress = Progress(on_progress)
    async with rolled_back(database) as inside, inside.connection() as connection:
        progress.next("checking", 0)
        found = await _to_revert(connection, load_id)
        count = await _compare(connection, load_id, found, keep_later=keep_later)
    return Revert(
        reverts=load_id,
        kind=found["kind"],
        source=found["source"],
        rows=count["rows"],
        deleted=count["deleted"],
        restored=count["restored"],
        kept=count["later"],
        trigger_ids=(),
        positions=0,
        load_id=None,
    )


async def _to_revert(connection: Connection, load_id: int) -> Any:
    found = await sql("load_to_revert").row(connection, load=load_id)
    if found is None:
        raise _not_recorded(load_id)
    _require_revertible(load_id, found)
    return found


async def _compare(connection: Connection, load_id: int, found: Any, *, keep_later: bool) -> Any:
    """Make the table `reverted` of the rows of a load, which are locked; return how many there are.

    Raises:
        CorrectionRefusedError: they cannot be restored.
    """
    kind = Kind(found["kind"])
    if kind is Kind.POSITIONS:
        await sql("lock_reverted_positions").value(connection, load=load_id)
    await sql(f"reverted_{kind.value}").execute(connection, load=load_id)
    await connection.execute("ANALYZE reverted")
    count = await sql("count_reverted").one(connection)
    if not count["rows"]:
        raise _not_recorded(load_id)
    if count["later"] == count["rows"] or (count["later"] and not keep_later):
        raise await _refusal(connection, load_id, kind, count)
    if kind is Kind.PRICES:
        await _require_multipliers(connection, load_id)
    return count


async def _require_multipliers(connection: Connection, load_id: int) -> None:
    """Require what a load requires of prices that would be restored."""
    rows = await sql("reverted_without_multiplier").fetch(connection, most=_SHOWN_ROWS)
    if not rows:
        return
    more = rows[0]["count"] - len(rows)
    raise CorrectionRefusedError(
        f"load {load_id} has replaced prices that are quoted PER_CONTRACT, and these instruments "
        "have no contract_multiplier any more, nothing is taken back: "
        + ", ".join(row["security_id"] for row in rows)
        + (f" and {more:,} more" if more else "")
        + ". Load instruments with it first"
    )


def log_revert(done: Revert, author: Author | None = None) -> None:
    """Log a committed revert, and who has asked for it. Later log lines share its trigger ids."""
    _log.info(
        "load reverted",
        load=done.reverts,
        kind=done.kind,
        source=done.source,
        deleted=done.deleted,
        restored=done.restored,
        kept=done.kept,
        trigger=logs.ranges((trigger, trigger) for trigger in done.trigger_ids),
        **authors.as_logged(author),
    )


def _not_recorded(load_id: int) -> NotFoundError:
    return NotFoundError(
        f"no load {load_id} is recorded: `revalue loads` lists them, and `revalue prune` deletes "
        "the records of old ones"
    )


def _require_revertible(load_id: int, found: Any) -> None:
    if found["kind"] not in KINDS:
        raise UsageError(
            f"load {load_id} is of {found['kind']}, and only loads of {', '.join(KINDS)} can be "
            "taken back: other data refer to the rest. Load a corrected file; a business date that "
            "is not opened can be deleted"
        )
    if found["is_revertible"]:
        return
    if not found["has_written"]:
        raise UsageError(f"load {load_id} has changed nothing, so there is nothing to take back")
    raise UsageError(
        f"load {load_id} cannot be taken back: when it was loaded, this database did not keep yet "
        "what a load replaces"
    )


async def _refusal(
    connection: Connection, load_id: int, kind: Kind, count: Any
) -> CorrectionRefusedError:
    """Say which rows are not any more as the load left them."""
    taken_back = await _taken_back(connection, load_id)
    later = await sql(f"later_{kind.value}").fetch(connection, most=_SHOWN_ROWS)
    lines = [
        f"load {load_id}: {count['later']:,} of the {count['rows']:,} rows that it has changed "
        f"were changed since, nothing is taken back{taken_back}"
    ]
    lines += [
        f"  {row['subject']}: the load left {row['left_by_load'] or 'nothing'}, now it is "
        f"{row['now'] or 'deleted'}"
        for row in later
    ]
    if count["later"] > len(later):
        lines.append(f"  and {count['later'] - len(later):,} more")
    lines.append(
        "Take the later load back first"
        if count["later"] == count["rows"]
        else "Take the later load back first, or pass --keep-later (in Python keep_later=True, "
        "over HTTP `keep_later`): these rows then stay as they are"
    )
    return CorrectionRefusedError("\n".join(lines))


async def _taken_back(connection: Connection, load_id: int) -> str:
    """Say which load has taken this one back, perhaps while its rows were waited for."""
    now = await sql("load_to_revert").row(connection, load=load_id)
    if now is None or now["reverted_by"] is None:
        return ""
    return f" (load {now['reverted_by']} has taken it back already)"


async def _restore_market_data(
    connection: Connection, kind: Kind, load_id: int, missing: int
) -> dict[str, Any]:
    """Restore prices or rates; return what became of them, by the names of LoadResult.

    Args:
        connection: in the transaction that has compared them.
        kind: what they are.
        load_id: the load that is taken back.
        missing: how many of them are to be inserted.

    Raises:
        CorrectionRefusedError: another session has taken the load back meanwhile.
        WriteConflictError: another session has stored some of these meanwhile.
    """
    removed = await sql(f"delete_reverted_{kind.value}").execute(connection)
    changed = await sql(f"update_reverted_{kind.value}").execute(connection)
    inserted = await sql(f"insert_reverted_{kind.value}").execute(connection)
    if inserted < missing:
        if taken_back := await _taken_back(connection, load_id):
            raise CorrectionRefusedError(
                f"load {load_id}: another session has stored what would be restored, nothing is "
                f"taken back{taken_back}"
            )
        raise WriteConflictError(
            f"another session has stored {missing - inserted:,} of the {kind.value} meanwhile that "
            "would be restored, nothing is taken back. Try again: the rows are then named"
        )
    reached = await reach(connection)
    return {
        "inserted": inserted,
        "changed": changed,
        "removed": removed,
        "trigger_ids": reached.trigger_ids,
        "positions": reached.positions,
    }


async def _restore_positions(connection: Connection) -> dict[str, Any]:
    """Restore position records; return what became of them, by the names of LoadResult."""
    async with Incoming(connection, COLUMNS[Kind.POSITIONS]) as incoming:
        await sql("incoming_of_reverted").execute(connection)
        await incoming.analyze()
        counts = await upserts.write_histories(connection, replace=False)
    trigger = counts["trigger_id"]
    return {
        **counts,
        "trigger_ids": () if trigger is None else (trigger,),
        "positions": counts["positions_corrected"],
    }
