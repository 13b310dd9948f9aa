"""`revalue verify`: what readers see of positions drawn at random, or of all, held against the oracle."""

import random
from dataclasses import dataclass

from revalue.console.reference.reference import PositionKey, compare, read_book
from revalue.engine.errors import NotFoundError
from revalue.engine.postgres.database import Database

_KEYS_AT_ONCE = 20


@dataclass(frozen=True)
class Verified:
    """positions and rows compared; disagreements: rows that differ, are missing or are not owed, with the first in words."""

    positions: int
    rows: int
    disagreements: int
    examples: tuple[str, ...]


async def verify_rows(database: Database, *, rows: int | None, seed: int) -> Verified:
    """Compares all positions, or positions drawn at random until at least `rows` rows are compared. Reads as of one moment."""
    positions_done = rows_done = disagreements = 0
    examples: list[str] = []
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        book = await read_book(connection)
        positions: list[PositionKey] = sorted(book.records)
        if not positions:
            raise NotFoundError("there is nothing to verify: no positions are loaded")
        random.Random(seed).shuffle(positions)
        while positions and (rows is None or rows_done < rows):
            batch, positions = positions[:_KEYS_AT_ONCE], positions[_KEYS_AT_ONCE:]
            found = await compare(connection, book, positions=batch)
            positions_done += len(batch)
            rows_done += found.rows_compared
            disagreements += found.disagreements + found.missing + found.extra
            examples += found.examples
    return Verified(positions_done, rows_done, disagreements, tuple(examples[:20]))
