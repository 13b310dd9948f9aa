"""A short campaign: 15 faults of every kind while somebody corrects, reads and checks.
docs/guarantees.md has a long one."""

import shutil
import tempfile
from pathlib import Path

from revalue.engine.postgres import embedded
from tests.faults.campaign import campaign


async def test_a_short_campaign_violates_nothing() -> None:
    folder = Path(tempfile.mkdtemp(prefix="revalue-"))  # short: it holds a socket
    try:
        seen, happened, rows, words = await campaign(7, 15, folder, say=False)
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    assert seen.violations == [], words
    assert happened.total() == 15
    assert seen.corrections > 15, words
    assert seen.reads > 100, words
    assert seen.rows_checked > 1000, words
    assert rows > 400, words
