"""A short campaign: a few random faults while the workload corrects, reads and checks.

docs/guarantees.md has the record of a long one.
"""

import shutil
import tempfile
from pathlib import Path

import pytest

from revalue.engine.postgres import embedded
from tests.conftest import in_memory
from tests.faults.campaign import campaign


@pytest.mark.parametrize(("faults", "in_lake"), [(12, False), (5, True)])
async def test_a_short_campaign_violates_nothing(faults: int, in_lake: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="revalue-", dir=in_memory()))  # short: it holds a socket
    lake = str(folder / "lake") if in_lake else None
    try:
        seen, happened, rows, report = await campaign(7, faults, folder, lake=lake, say=False)
    finally:
        embedded.stop(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
    assert seen.violations == [], report
    assert happened.total() == faults
    assert seen.corrections > faults, report
    assert seen.reads > 100, report
    assert seen.rows_checked > (100 if in_lake else 1000), report
    assert rows > 400, report
