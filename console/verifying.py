"""`revalue verify`: what readers see of keys drawn at random, or of all, held against the oracle."""

import random
from dataclasses import dataclass

from console.oracle import Key, compare, read_book
from engine.errors import NotFoundError
from engine.store.database import Database

_KEYS_AT_ONCE = 20


@dataclass(frozen=True)
class Verified:
    """keys and rows compared; disagreements: rows that differ, are missing or are not owed, with the first in words."""

    keys: int
    rows: int
    disagreements: int
    examples: tuple[str, ...]


async def verify_rows(database: Database, *, rows: int | None, seed: int) -> Verified:
    """Compares all keys, or keys drawn at random until at least `rows` rows are compared. Reads as of one moment."""
    keys_done = rows_done = disagreements = 0
    examples: list[str] = []
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        book = await read_book(connection)
        keys: list[Key] = sorted(book.facts)
        if not keys:
            raise NotFoundError("there is nothing to verify: no positions are loaded")
        random.Random(seed).shuffle(keys)
        while keys and (rows is None or rows_done < rows):
            batch, keys = keys[:_KEYS_AT_ONCE], keys[_KEYS_AT_ONCE:]
            found = await compare(connection, book, keys=batch)
            keys_done += len(batch)
            rows_done += found.rows_compared
            disagreements += found.disagreements + found.missing + found.extra
            examples += found.examples
    return Verified(keys_done, rows_done, disagreements, tuple(examples[:20]))
