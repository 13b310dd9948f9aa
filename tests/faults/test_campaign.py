"""A short campaign: 15 random faults while the workload corrects, reads and checks.

docs/guarantees.md has the record of a long one.
"""

import shutil
import tempfile
from pathlib import Path

from revalue.engine.postgres import embedded
from tests.faults.campaign import campaign


async def test_a_short_campaign_violates_nothing() -> None:
    folder = Path(tempfile.mkdtemp(prefix="revalue-"))  # short: it holds a socket
    try:
        seen, happened, rows, report = await campaign(7, 15, folder, say=False)
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    assert seen.violations == [], report
    assert happened.total() == 15
    assert seen.corrections > 15, report
    assert seen.reads > 100, report
    assert seen.rows_checked > 1000, report
    assert rows > 400, report
