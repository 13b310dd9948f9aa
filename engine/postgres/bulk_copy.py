"""Write frames into PostgreSQL by COPY: pgpq encodes them, asyncpg sends them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from io import BytesIO

import polars as pl
from pgpq import ArrowToPostgresBinaryEncoder

from revalue.engine.postgres.statement import Connection, Statement

_CHUNK_ROWS = 10_000


def encode_binary_copy(frame: pl.DataFrame) -> list[bytes]:
    """Encode the frame as PostgreSQL's binary COPY stream, in chunks. Decimals stay exact."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    encoder = ArrowToPostgresBinaryEncoder(table.schema)
    chunks = [encoder.write_header()]
    chunks += [encoder.write_batch(batch) for batch in table.to_batches(max_chunksize=_CHUNK_ROWS)]
    chunks.append(encoder.finish())
    return chunks


async def copy_frame(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """Append the frame to the table; columns are matched by name."""
    await copy_encoded(connection, table, frame.columns, encode_binary_copy(frame))


async def copy_csv(connection: Connection, table: str, frame: pl.DataFrame) -> None:
    """Append the frame to the table as text, which PostgreSQL reads into types that Arrow lacks.

    Columns are matched by name. NULL and an empty text are the same.
    """
    Statement.sent += 1
    await connection.copy_to_table(
        table,
        columns=frame.columns,
        source=BytesIO(frame.write_csv(include_header=False).encode()),
        format="csv",
    )


async def copy_frames(
    connection: Connection, table: str, columns: list[str], frames: Iterator[pl.DataFrame]
) -> None:
    """Append frames of the same columns to the table, in one COPY.

    One frame at a time is in memory, besides the next one: it is made and encoded in a thread while
    the server reads the one before.

    Args:
        columns: the names of the columns of each frame, in their order.
        frames: an error that it raises ends the COPY.
    """
    Statement.sent += 1
    encoder: ArrowToPostgresBinaryEncoder | None = None

    def encode_next() -> list[bytes]:
        nonlocal encoder
        frame = next(frames, None)
        if frame is None:
            return []
        batches = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        chunks = []
        if encoder is None:
            encoder = ArrowToPostgresBinaryEncoder(batches.schema)
            chunks.append(encoder.write_header())
        chunks += [encoder.write_batch(each) for each in batches.to_batches(_CHUNK_ROWS)]
        return chunks

    ahead = asyncio.create_task(asyncio.to_thread(encode_next))

    async def stream() -> AsyncIterator[bytes]:
        nonlocal ahead
        while chunks := await ahead:
            ahead = asyncio.create_task(asyncio.to_thread(encode_next))
            for chunk in chunks:
                yield chunk
        if encoder is not None:
            yield encoder.finish()

    try:
        await connection.copy_to_table(table, columns=columns, source=stream(), format="binary")
    finally:
        # A thread cannot be ended, and the frames may read a file that is closed next.
        await asyncio.wait([ahead])
        ahead.cancelled() or ahead.exception()  # if it has failed too, its error was noticed


async def copy_encoded(
    connection: Connection, table: str, columns: list[str], chunks: list[bytes]
) -> None:
    """Append rows that were encoded before, so that the transaction is short.

    Args:
        columns: the names of the encoded columns, in their order.
        chunks: the result of `encode_binary_copy`.
    """
    Statement.sent += 1

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    await connection.copy_to_table(table, columns=columns, source=stream(), format="binary")
