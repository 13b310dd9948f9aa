"""Load files and frames: validate all rows, then write all of them in one transaction.

An input of any size takes little memory here: it is read and parsed in batches, and sorted by its
key. There are two ways from there into the tables:

* New prices and new positions go straight into their tables (`new_prices`, `new_positions`).
* All else goes into the temporary table `incoming`. The database then checks the rows against each
  other and against stored data, and writes them. Prices and positions also go this way when
  something prevents the first way, such as a row that breaks a rule, so that all problems are
  reported together.
"""

import asyncio
from collections.abc import Set
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from typing import Any

from revalue.engine.correct import authors
from revalue.engine.correct.inputs.kinds import COLUMNS, KEYS, ORDER, Kind, known_kind
from revalue.engine.correct.inputs.sorted_rows import SortedRows
from revalue.engine.correct.inputs.sources import Input, Source, read
from revalue.engine.correct.loads import recorded, snapshots
from revalue.engine.correct.loads.batches import Batches
from revalue.engine.correct.loads.checks import check, with_repeated_keys
from revalue.engine.correct.loads.load_progress import OnProgress, Progress
from revalue.engine.correct.loads.position_records import PositionRecord
from revalue.engine.correct.writes import new_positions, new_prices, upserts
from revalue.engine.correct.writes.incoming import Incoming, InTheWayError
from revalue.engine.errors import (
    CorrectionRefusedError,
    DataFaultError,
    InvalidInputError,
    UsageError,
)
from revalue.engine.postgres.ahead import ahead
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.open_transaction import OpenTransaction
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


@dataclass(frozen=True)
class LoadResult:
    """What a load has done.

    Attributes:
        kind: what was loaded.
        rows: rows of the input.
        inserted: rows that were new.
        changed: rows that replaced another value.
        unchanged: rows that are stored as they are given.
        removed: position records that the load removed; none unless it was asked to replace.
        positions_corrected: positions for which another record is in force now on a date at or
            before their frontier, the last scheduled date: they are invalidated.
        positions_extended: positions for which this is so after their frontier only. A record that
            repeats the one in force is stored, and its position is neither.
        trigger_id: the trigger that records the corrections of positions; None: there are none.
        removed_records: the removed records, by portfolio, security and date.
        closed: positions that a snapshot leaves out, and that the load closed. Their closing
            records are in no other number of records.
        closed_records: what was held of these, by portfolio and security: the records that were in
            force on the date of the snapshot.
        closed_on: the date of the snapshot; None: the load was none.
        load_id: the number under which the load is recorded (recorded.py); None: it is not
            recorded.
        warnings: what looks wrong in the input and was loaded all the same, in words: dates in the
            future.
    """

    kind: str
    rows: int
    inserted: int
    changed: int
    unchanged: int
    removed: int = 0
    positions_corrected: int = 0
    positions_extended: int = 0
    trigger_id: int | None = None
    removed_records: tuple[PositionRecord, ...] = ()
    closed: int = 0
    closed_records: tuple[PositionRecord, ...] = ()
    closed_on: date | None = None
    load_id: int | None = None
    warnings: tuple[str, ...] = ()


_KEPT = {"contract_multiplier": "keep_multipliers", "move_limit_percent": "keep_move_limits"}
"""The columns of instruments that a file may leave out, and what then keeps what is stored."""


async def load(
    database: Connections,
    kind: Kind | str,
    source: Input,
    *,
    replace: bool = False,
    snapshot: bool = False,
    may_close: Set[tuple[str, str]] | None = None,
    must_exist: bool = False,
    allow_empty: bool = False,
    is_recorded: bool = True,
    on_progress: OnProgress | None = None,
) -> LoadResult:
    """Validate and load an input with the columns of COLUMNS[kind].

    Position records are absolute and dated: a record replaces one of the same date, and all others
    of the position stay. Loading the same input again changes nothing. A column that the input
    does not have, and need not have, stays as it is stored.

    Args:
        database: where to load.
        kind: what the input is.
        source: a file name, a polars frame, an Arrow table, or what `read` returned.
        replace: of positions: replace the history of each position from the earliest date that the
            input gives for it: later records that it does not give are removed.
        snapshot: of positions: the input is all that its portfolios hold on its one date. What they
            hold besides is closed on it, by a record with quantity 0.
        may_close: the portfolios and securities that a snapshot may close; None: any.
        must_exist: a price or rate that is not stored yet is a problem.
        allow_empty: a file without rows is no error. A frame or table may always have none.
        is_recorded: record who has loaded what; a correction of one position is no load.
        on_progress: called with the progress, also from another thread.

    Raises:
        UsageError: there is no such kind, or `replace` or `snapshot` does not go with it.
        InvalidInputError: the input cannot be read, a file has no rows, rows break a rule
            (RejectedInputError, with .problems), or it is no snapshot.
        CorrectionRefusedError: the database refuses the change, or `may_close` does.
        TransientError: the database is unavailable or busy.
        In each case nothing is written.
    """
    kind = known_kind(kind)
    require_mode(kind, replace=replace, snapshot=snapshot)
    given = read(source)
    progress = Progress(on_progress)
    batches = Batches(kind, given, progress)
    with SortedRows(ORDER.get(kind) or KEYS[kind]) as rows:
        async with aclosing(ahead(iter(batches))) as frames:
            async for frame in frames:
                await asyncio.to_thread(rows.add, frame)
        if not (batches.rows or allow_empty or snapshot or batches.problems.listed(0)):
            _require_rows(given, is_correction=must_exist)
        counts: dict[str, Any] | None = None
        # What is in the way is seen after rows were written, so that they have to be rolled back.
        is_compared = must_exist or snapshot or isinstance(database, OpenTransaction)
        if not is_compared and not batches.problems.listed(0):
            counts = await _write_straight(database, kind, given, rows, replace, progress)
        if counts is None:
            async with (
                database.transaction() as connection,
                Incoming(connection, COLUMNS[kind]) as incoming,
            ):
                if is_recorded:
                    await recorded.keep_replaced(connection)
                    await authors.sign(connection, authors.local_author())
                await incoming.copy(with_repeated_keys(kind, rows))
                await incoming.analyze()
                if kind is Kind.INSTRUMENTS:
                    for column, statement in _KEPT.items():
                        if column not in given.columns:
                            await sql(statement).execute(connection)
                await check(connection, kind, given, batches, must_exist, progress)
                progress.next("writing", batches.rows)
                if kind is Kind.POSITIONS:
                    counts = await _write_positions(
                        connection,
                        given.place,
                        replace=replace,
                        snapshot=snapshot,
                        may_close=may_close,
                    )
                else:
                    counts = await upserts.upsert(
                        connection, kind.value, batches.rows, lambda done: progress.at(done, done)
                    )
                if is_recorded:
                    load_id = await recorded.record(
                        connection, kind, given.place, batches.rows, counts
                    )
                    counts = {**counts, "load_id": load_id}
                progress.next("committing", 0)
    done: dict[str, Any] = dict(counts)
    done["removed_records"] = tuple(
        PositionRecord(**record) for record in done.get("removed_records", ())
    )
    return LoadResult(
        kind.value, batches.rows, **done, warnings=batches.future_dates.warnings(given)
    )


def _require_rows(given: Source, *, is_correction: bool) -> None:
    """Refuse a file without rows.

    Raises:
        InvalidInputError: the file has no rows.
    """
    if given.is_file:
        advice = ""
        if not is_correction:
            advice = (
                ". A feed that has failed leaves such a file. If there is nothing to load, say so "
                "by --allow-empty (in Python allow_empty=True)"
            )
        raise InvalidInputError(f"{given.place} names its columns and has no rows{advice}")


def require_mode(kind: Kind, *, replace: bool, snapshot: bool) -> None:
    """Refuse options that do not go together, before anything is read.

    Raises:
        UsageError: `replace` or `snapshot` does not go with the kind, or with the other.
    """
    if replace and kind is not Kind.POSITIONS:
        raise UsageError(f"{kind.value} have no histories to replace: only positions have")
    if snapshot and kind is not Kind.POSITIONS:
        raise UsageError(f"{kind.value} are not held: only positions can be a snapshot")
    if snapshot and replace:
        raise UsageError("a snapshot is of one date, so it replaces no histories: choose one")


async def _write_straight(
    database: Connections,
    kind: Kind,
    given: Source,
    rows: SortedRows,
    replace: bool,
    progress: Progress,
) -> dict[str, Any] | None:
    """Write new rows directly into the tables; return None, with nothing written, if that fails."""
    if kind not in (Kind.PRICES, Kind.POSITIONS):
        return None
    progress.next("checking", rows.rows)

    def on_rows(done: int) -> None:
        progress.at(done, done)

    try:
        async with database.transaction() as connection:
            await authors.sign(connection, authors.local_author())
            incoming = Incoming(connection, COLUMNS[kind])
            await recorded.keep_replaced(connection)
            progress.next("writing", rows.rows)
            if kind is Kind.PRICES:
                counts = await new_prices.write(connection, rows, incoming, on_rows)
            else:
                counts = await new_positions.write(
                    connection, rows, incoming, on_rows, replace=replace
                )
            load_id = await recorded.record(connection, kind, given.place, rows.rows, counts)
            progress.next("committing", 0)
    except (InTheWayError, DataFaultError, CorrectionRefusedError):
        return None
    return {**counts, "load_id": load_id}


async def _write_positions(
    connection: Connection,
    place: str,
    *,
    replace: bool,
    snapshot: bool,
    may_close: Set[tuple[str, str]] | None,
) -> dict[str, Any]:
    day: date | None = None
    closed: tuple[PositionRecord, ...] = ()
    if snapshot:
        day, closed = await snapshots.close_left_out(connection, place, may_close)
    counts = await upserts.write_histories(connection, replace=replace)
    # The other counts are of the rows that were given.
    ended = sum(record.position_date == day for record in closed)
    counts["changed"] -= ended
    counts["inserted"] -= len(closed) - ended
    return {
        **counts,
        "closed": len(closed),
        "closed_records": closed,
        "closed_on": day,
    }
