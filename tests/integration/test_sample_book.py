"""The sample book: of its three million rows 250,000 are compared with the reference.

Each day they are others. `revalue verify --all` compares all of them.
"""

from datetime import date

import pytest

from revalue.console import sample
from revalue.console.cli.verify import verify_rows
from revalue.engine.correct.calendars.openings import open_calendars
from revalue.engine.correct.inputs.kinds import Kind
from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from tests.support import engine, fetch

pytestmark = pytest.mark.slow

COMPARED = 250_000


async def test_the_rows_of_the_sample_book_are_those_of_the_reference(
    url: str, database: Database
) -> None:
    for kind, frame in sample.frames().items():
        await load(database, Kind(kind), frame)
    await open_calendars(database, sample.LAST_DAY)
    async with engine(url) as running:
        await running.settle()
    assert set(await fetch(database, "SELECT state FROM position_status")) == {("CURRENT",)}
    [(stored,)] = await fetch(database, "SELECT count(*) FROM position_valuations")
    assert 2_000_000 <= stored <= 4_000_000
    seed = date.today().toordinal()
    verified = await verify_rows(database, rows=COMPARED, seed=seed)
    assert verified.rows >= COMPARED
    assert verified.disagreements == 0, "\n".join([f"seed {seed}", *verified.examples])
