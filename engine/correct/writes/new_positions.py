"""Write position records: positions that are new, with their records, straight into the tables.

The client knows the whole history of a new position, so it computes on which dates the position is
open. The row is then written once, and not inserted, compared with its records, and updated.
"""

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import polars as pl

from revalue.engine.correct.inputs.sorted_rows import FRAME_ROWS, SortedRows, in_frames
from revalue.engine.correct.writes import upserts
from revalue.engine.correct.writes.incoming import Incoming, InTheWayError
from revalue.engine.postgres.ahead import ahead
from revalue.engine.postgres.bulk_copy import copy_csv, copy_frame
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_POSITION = ("security_id", "portfolio_id")
_VALUES = ("quantity", "cost_basis_local", "cost_basis")


async def write(
    connection: Connection,
    rows: SortedRows,
    incoming: Incoming,
    on_rows: Callable[[int], None],
    *,
    replace: bool,
) -> dict[str, Any]:
    """Write position records, range by range of whole positions.

    Args:
        connection: in the transaction of the load.
        rows: records that break no rule by themselves, by security, portfolio and date.
        incoming: used for records of positions that exist.
        on_rows: called with the number of rows that are done.
        replace: of positions that exist, remove later records that the input does not give.

    Returns:
        What upserts.write_histories returns.

    Raises:
        InTheWayError: a row has no portfolio, or the key of another row.
        DataFaultError: the same of a security; or another session has inserted a position
            meanwhile.
    """
    await upserts.allow_records(connection)
    writer = _Writer(connection)
    if not await sql("has_positions").value(connection):
        await _write_new(connection, rows, None, writer, on_rows)
        return await _written(connection, writer)
    async with incoming:
        left = await _write_new(connection, rows, incoming, writer, on_rows)
        counts = await _written(connection, writer)
        if left:
            await incoming.analyze()
            found = await upserts.write_histories(connection, replace=replace)
            counts = {**found, **{name: found[name] + count for name, count in counts.items()}}
    return counts


async def _write_new(
    connection: Connection,
    rows: SortedRows,
    incoming: Incoming | None,
    writer: "_Writer",
    on_rows: Callable[[int], None],
) -> int:
    """Write the positions that are new; put the records of others into `incoming`.

    Args:
        incoming: None: no position exists.

    Returns:
        How many records were put there.
    """
    done = left = 0
    async with aclosing(ahead(in_frames(rows.frames(), FRAME_ROWS, _POSITION))) as frames:
        async for frame in frames:
            if frame["is_repeated"].any():
                raise InTheWayError
            new = frame
            if incoming is not None:
                new, stored = await _divided(connection, frame)
                if len(stored):
                    await incoming.copy(iter([stored]))
                left += len(stored)
            if len(new):
                await writer.write(new)
            done += len(frame)
            on_rows(done)
    return left


async def _written(connection: Connection, writer: "_Writer") -> dict[str, Any]:
    """Make known to planner and scheduler what was written; return what was."""
    await upserts.analyze_positions(connection, writer.positions)
    if writer.opened:
        await connection.execute("NOTIFY revalue_wake")
    none = ("changed", "unchanged", "removed", "positions_corrected")
    return {
        **dict.fromkeys(none, 0),
        "inserted": writer.records,
        "positions_extended": writer.opened,
    }


async def _divided(
    connection: Connection, frame: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the records of positions that are new, and of those that exist."""
    positions = frame.select(_POSITION).unique(maintain_order=True)
    found = await sql("stored_positions").fetch(
        connection,
        portfolios=positions["portfolio_id"].to_list(),
        securities=positions["security_id"].to_list(),
    )
    stored = pl.DataFrame(
        [tuple(row) for row in found], schema=dict.fromkeys(_POSITION, pl.String), orient="row"
    )
    return (
        frame.join(stored, on=_POSITION, how="anti", maintain_order="left"),
        frame.join(stored, on=_POSITION, how="semi", maintain_order="left"),
    )


class _Writer:
    """Writes new positions, with their records and publications.

    Attributes:
        positions: how many were written.
        opened: how many of them are open on any date.
        records: how many records were written.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._portfolios = pl.DataFrame(
            schema={
                "portfolio_id": pl.String,
                "calendar_no": pl.Int16,
                "base_currency_no": pl.Int16,
            }
        )
        self._moment: int | None = None
        self.positions = self.opened = self.records = 0

    async def write(self, records: pl.DataFrame) -> None:
        """Write whole positions.

        Args:
            records: all records of each, by position and date.
        """
        records = records.with_columns(place=pl.struct(_POSITION).rle_id())
        positions = records.select("place", *_POSITION).unique("place", maintain_order=True)
        positions = positions.with_columns(open_dates=_open_dates(records, len(positions)))
        numbers = await self._numbers(positions["portfolio_id"])
        positions = positions.join(numbers, on="portfolio_id", how="left", maintain_order="left")
        if positions["calendar_no"].null_count():
            raise InTheWayError
        ids = await sql("take_position_ids").value(self._connection, size=len(positions))
        positions = positions.with_columns(
            position_id=pl.Series(ids, dtype=pl.Int64),
            revision=(pl.col("open_dates") != "{}").cast(pl.Int32),
            published_open_dates="open_dates",
        )
        await copy_csv(
            self._connection,
            "position_state",
            positions.select(
                "position_id",
                "portfolio_id",
                "security_id",
                "calendar_no",
                "base_currency_no",
                "revision",
                "open_dates",
                "published_open_dates",
            ),
        )
        await copy_frame(
            self._connection,
            "position_history",
            records.select(
                positions["position_id"].gather(records["place"]).alias("position_id"),
                "position_date",
                pl.lit(0, pl.Int32).alias("valid_from_epoch"),
                *_VALUES,
            ),
        )
        # Without a publication, readers of the past would not find the position.
        await copy_csv(
            self._connection,
            "publications",
            positions.select(
                "position_id",
                pl.lit(await self._current_moment()).alias("moment_id"),
                pl.lit(0).alias("epoch"),
                "open_dates",
            ),
        )
        self.positions += len(positions)
        self.opened += int(positions["revision"].sum())
        self.records += len(records)

    async def _current_moment(self) -> int:
        if self._moment is None:
            self._moment = int(await sql("take_moment").value(self._connection))
        return self._moment

    async def _numbers(self, portfolios: pl.Series) -> pl.DataFrame:
        """Return the calendar and the currency of portfolios; those that do not exist are absent.

        Each is read once.
        """
        wanted = portfolios.unique()
        missing = wanted.filter(~wanted.is_in(self._portfolios["portfolio_id"].implode()))
        if len(missing):
            rows = await sql("portfolio_numbers").fetch(
                self._connection, portfolios=missing.to_list()
            )
            found = pl.DataFrame(
                [tuple(row) for row in rows], schema=self._portfolios.schema, orient="row"
            )
            self._portfolios = pl.concat([self._portfolios, found])
        return self._portfolios


def _open_dates(records: pl.DataFrame, positions: int) -> pl.Series:
    """Return the dates on which each position is open, as PostgreSQL writes a datemultirange.

    A position is open from a record with a quantity until that of a quantity of 0, the closing
    date, which is included.

    Args:
        records: sorted by place, the number of the position, and date.
        positions: how many positions there are.
    """
    turns = (
        records.select(
            "place",
            "position_date",
            holds=pl.col("quantity") != 0,
            held=((pl.col("quantity") != 0) & (pl.col("place") == pl.col("place").shift(-1)))
            .shift(1)
            .fill_null(False),
        )
        .filter(pl.col("holds") != pl.col("held"))
        .with_columns(
            until=pl.when(pl.col("place") == pl.col("place").shift(-1)).then(
                pl.col("position_date").shift(-1).dt.offset_by("1d")
            )
        )
    )
    spans = (
        turns.filter("holds")
        .select(
            "place",
            span=pl.format(
                "[{},{})",
                pl.col("position_date").cast(pl.String),
                pl.col("until").cast(pl.String).fill_null(""),
            ),
        )
        .group_by("place", maintain_order=True)
        .agg(pl.col("span").str.join(","))
    )
    places = pl.DataFrame({"place": pl.int_range(positions, eager=True, dtype=pl.UInt32)})
    return (
        places.join(spans, on="place", how="left", maintain_order="left")
        .select(pl.concat_str(pl.lit("{"), pl.col("span").fill_null(""), pl.lit("}")))
        .to_series()
    )
