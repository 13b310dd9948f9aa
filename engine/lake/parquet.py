"""Snapshots as the bytes of a Parquet file.

Every reader of Parquet has the encodings that are used here: DuckDB and polars do not read decimals
that are split into streams of bytes, which would be a tenth smaller.
"""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from revalue.engine.core.valuation import SNAPSHOT_COLUMNS

_AMOUNT, _RATE = pa.decimal128(28, 10), pa.decimal128(38, 18)
_TYPES: dict[str, pa.DataType] = {
    "position_id": pa.int64(),
    "job_id": pa.int64(),
    "date": pa.date32(),
    "epoch": pa.int32(),
    "price_date": pa.date32(),
    "fx_date": pa.date32(),
    "fx_path": pa.int16(),
    "status": pa.int16(),
    "quantity": _AMOUNT,
    "cost_basis_local": _AMOUNT,
    "cost_basis": _AMOUNT,
    "price": _RATE,
    "fx_rate": _RATE,
    "market_value_local": _AMOUNT,
    "market_value": _AMOUNT,
    "unrealized_gain_local": _AMOUNT,
    "unrealized_gain": _AMOUNT,
}
# Nearly every row has another value: a dictionary of them costs time and saves nothing.
_DISTINCT = ("market_value_local", "market_value", "unrealized_gain_local", "unrealized_gain")

_PAGE_BYTES = 65_536
"""Of a column in a group: a reader skips pages that have no row of a date."""

_BLOCK_POSITIONS = 2_048

# A field id names a column for good, whatever it is called later: Iceberg and DuckLake ask for it.
SCHEMA = pa.schema(
    [
        pa.field(name, _TYPES[name], metadata={"PARQUET:field_id": str(number)})
        for number, name in enumerate(SNAPSHOT_COLUMNS, 1)
    ]
)
"""The columns of a file: those of daily_position_snapshots, with the types that they have there."""

EMPTY = pl.DataFrame(pl.from_arrow(SCHEMA.empty_table()))
"""No rows, in the types in which polars reads a file."""

VALUED_AT = "valued_at"

MERGED_SCHEMA = SCHEMA.append(
    pa.field(
        VALUED_AT,
        pa.timestamp("us", "UTC"),
        metadata={"PARQUET:field_id": str(len(SCHEMA) + 1)},
    )
)
"""The columns of a merged file: also when each row was committed; null: it was always known."""


def in_blocks(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return rows in groups, in an order in which a position and a date are both found quickly.

    A group has all rows of 2,048 neighbouring positions, by date: a reader of a position takes one
    group, and of a date a part of each. By position alone, a date takes several times as long.
    """
    blocks = rows.with_columns(block=pl.col("position_id") // _BLOCK_POSITIONS)
    return blocks.sort("block", "date", "position_id", "epoch").partition_by(
        "block", maintain_order=True, include_key=False
    )


def encode(groups: Sequence[pl.DataFrame], schema: pa.Schema = SCHEMA) -> bytes:
    """Encode snapshots as a Parquet file.

    Args:
        groups: the columns of the schema. Each frame is one group of rows.
        schema: SCHEMA or MERGED_SCHEMA.
    """
    file = pa.BufferOutputStream()
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=1,
        data_page_size=_PAGE_BYTES,
        use_dictionary=[name for name in schema.names if name not in _DISTINCT],
        store_schema=False,
    ) as writer:
        for rows in groups:
            writer.write_table(_table(rows, schema), row_group_size=len(rows))
    data: bytes = file.getvalue().to_pybytes()
    return data


def _table(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    table = rows.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [
        _relabelled(table.column(field.name), field.type)
        if pa.types.is_decimal(field.type)
        else table.column(field.name).cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _relabelled(column: pa.ChunkedArray, decimal: pa.DataType) -> pa.ChunkedArray:
    """Return the same integers as a decimal of fewer digits, without a copy.

    They have no more digits than that: the valuation makes a hole of any other number.
    """
    assert column.type.scale == decimal.scale, f"{column.type} is not {decimal}"
    return pa.chunked_array(
        [
            pa.Array.from_buffers(decimal, len(chunk), chunk.buffers(), offset=chunk.offset)
            for chunk in column.chunks
        ],
        decimal,
    )
