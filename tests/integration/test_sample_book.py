"""The whole sample book: all three million rows, digit for digit, against the reference."""

import pytest

from revalue.console import sample
from revalue.console.cli.verify import verify_rows
from revalue.engine.correct.ingest import Kind, load
from revalue.engine.correct.openings import open_calendars
from revalue.engine.postgres.database import Database
from tests.support import engine, fetch

pytestmark = pytest.mark.slow


async def test_every_row_of_the_sample_book_is_the_oracles(url: str, database: Database) -> None:
    for kind, frame in sample.frames().items():
        await load(database, Kind(kind), frame)
    await open_calendars(database, sample.LAST_DAY)
    async with engine(url) as running:
        await running.settle()
    assert set(await fetch(database, "SELECT state FROM position_status")) == {("CURRENT",)}
    [(stored,)] = await fetch(database, "SELECT count(*) FROM position_valuations")
    assert 2_000_000 <= stored <= 4_000_000
    verified = await verify_rows(database, rows=None, seed=1)
    assert (verified.rows, verified.disagreements) == (stored, 0), "\n".join(verified.examples)
