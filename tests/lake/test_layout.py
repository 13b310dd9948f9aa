"""How rows lie in a merged file: readers of a position and of a date both skip most of it."""

from datetime import date, timedelta
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from revalue.engine.lake.lake import Lake
from revalue.engine.lake.ownership import make_lake
from revalue.engine.lake.parquet import EMPTY, MERGED_SCHEMA, VALUED_AT, encode, in_blocks
from revalue.engine.postgres.database import Database

DAYS = [date(2024, 1, 1) + timedelta(day) for day in range(5)]


def rows(positions: list[int], days: list[date], epochs: tuple[int, ...] = (0,)) -> pl.DataFrame:
    """Snapshots whose values do not matter, in the order in which nobody wants them."""
    keys = [
        {"position_id": position, "date": day, "epoch": epoch}
        for epoch in epochs
        for day in reversed(days)
        for position in reversed(positions)
    ]
    known = {name: EMPTY.schema[name] for name in ("position_id", "date", "epoch")}
    frame = pl.DataFrame(keys, schema=known)
    others = [
        pl.lit(0).cast(kind).alias(name) for name, kind in EMPTY.schema.items() if name not in known
    ]
    never = pl.lit(None, pl.Datetime("us", "UTC")).alias(VALUED_AT)
    return frame.with_columns(*others, never)


def test_a_group_has_neighbouring_positions_by_date() -> None:
    given = rows([1, 5, 2_047, 2_048, 4_500], DAYS, epochs=(0, 3))
    groups = in_blocks(given)
    assert [group["position_id"].unique().sort().to_list() for group in groups] == [
        [1, 5, 2_047],
        [2_048],
        [4_500],
    ]
    for group in groups:
        places = list(group.select("date", "position_id", "epoch").iter_rows())
        assert all(one < next_one for one, next_one in pairwise(places))
    assert pl.concat(groups).sort(pl.all()).equals(given.sort(pl.all()))


def test_a_file_says_of_each_group_which_positions_it_has() -> None:
    data = encode(in_blocks(rows([3, 9, 2_050, 2_051], DAYS)), MERGED_SCHEMA)
    found = pq.ParquetFile(BytesIO(data))
    column = found.schema_arrow.get_field_index("position_id")
    statistics = [
        found.metadata.row_group(number).column(column).statistics
        for number in range(found.metadata.num_row_groups)
    ]
    assert [(each.min, each.max) for each in statistics] == [(3, 9), (2_050, 2_051)]


async def test_no_row_is_stored_twice(database: Database, tmp_path: Path) -> None:
    await make_lake(database, str(tmp_path / "lake"))
    async with database.connection() as connection:
        lake = await Lake.writable(connection)
    for twice in (
        pl.concat([rows([1, 2], DAYS), rows([2], DAYS[2:3])]),
        rows([2], [DAYS[0], DAYS[0]]),
    ):
        with pytest.raises(AssertionError, match=r"stored twice: .*'position_id': 2"):
            lake.store([twice], "test", MERGED_SCHEMA)
    assert list(lake.files()) == []
