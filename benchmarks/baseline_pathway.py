"""The baseline `pathway`: an incremental engine that a user might pick for one corrected price.

It is installed for this alone, apart from Revalue, by `make pathway`: it takes 1.6 GB with what it
needs, and nothing of Revalue uses it.
"""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from revalue.benchmarks.baselines import Timed
from revalue.benchmarks.dataset import VISIBLE
from revalue.engine.errors import RevalueError, UsageError
from revalue.engine.postgres.database import Database

PYTHON = Path(__file__).resolve().parents[1] / "build" / "pathway" / "bin" / "python"
"""The Python that has Pathway, unless REVALUE_BENCH_PATHWAY names another one."""

_PROGRAM = Path(__file__).with_name("pathway_program.py")
_CORRECTIONS = 5
_SECONDS = 1_800
_TOLERANCE = 1e-9

# The corrected price is the first one: that of the security and date that the workload corrects.
_INPUTS = {
    "positions": """SELECT p.position_id, p.security_id, f.base_currency, h.quantity::float8,
                        h.cost_basis_local::float8, h.cost_basis::float8
                    FROM position_state p JOIN portfolios f USING (portfolio_id)
                    JOIN position_history h ON h.position_id = p.position_id
                        AND h.valid_to_epoch IS NULL""",
    "prices": """SELECT security_id, price_date, price::float8 FROM market_prices
                  ORDER BY security_id, price_date <> (
                      SELECT business_date FROM business_dates ORDER BY 1
                      OFFSET (SELECT count(*) / 2 FROM business_dates) LIMIT 1)""",
    "rates": """SELECT 'EUR' AS base_currency, rate_date,
                    round(1::numeric(60, 40) / rate, 18)::float8 AS rate FROM fx_rates
                UNION ALL SELECT 'USD', rate_date, 1 FROM fx_rates""",
}

# What all rows are worth, and by how much one correction, which adds 1 to the price, raises it.
_EXPECTED = f"""
    SELECT count(*) AS rows, sum(market_value) AS market_value,
        count(*) FILTER (WHERE is_corrected) AS restated,
        sum(quantity * fx_rate) FILTER (WHERE is_corrected) AS each
    FROM (
        SELECT visible.*, p.security_id = 'S000001' AND date = (
            SELECT business_date FROM business_dates ORDER BY 1
            OFFSET (SELECT count(*) / 2 FROM business_dates) LIMIT 1) AS is_corrected
        FROM {VISIBLE} JOIN position_state p USING (position_id)) v"""


class PathwayFailedError(RevalueError):
    """Pathway has ended with an error, or computes other numbers."""


def is_installed() -> bool:
    """Whether there is a Python that has Pathway."""
    return _found().exists()


def _found() -> Path:
    return Path(os.environ.get("REVALUE_BENCH_PATHWAY") or PYTHON)


def python() -> Path:
    """Return the Python that has Pathway.

    Raises:
        UsageError: it is not installed.
    """
    found = _found()
    if not found.exists():
        raise UsageError(
            f"the baseline pathway needs {found}, a Python that has Pathway: `make pathway` "
            "installs it there. Of another one give the path as REVALUE_BENCH_PATHWAY"
        )
    return found


async def pathway(database: Database) -> tuple[Timed, dict[str, Any]]:
    """Time the correction of one price of one date that all positions hold.

    Returns:
        The position-days that are restated and the median seconds of five corrections; and what
        benchmarks/pathway_program.py says.

    Raises:
        PathwayFailedError: it fails, or the sum of all values is not that of the database.
    """
    program = python()
    with tempfile.TemporaryDirectory(prefix="revalue-pathway-") as name:
        folder = Path(name)
        async with database.connection() as connection:
            for file, query in _INPUTS.items():
                await connection.copy_from_query(
                    query, output=folder / f"{file}.csv", format="csv", header=True
                )
            expected: Any = await connection.fetchrow(_EXPECTED)
        process = await asyncio.create_subprocess_exec(
            program,
            _PROGRAM,
            folder,
            "--corrections",
            str(_CORRECTIONS),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complaints = await asyncio.wait_for(process.communicate(), _SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise PathwayFailedError(f"Pathway has failed: {complaints.decode()[-1000:]}")
    found = json.loads(said)
    wanted = float(expected["market_value"]) + _CORRECTIONS * float(expected["each"])
    if found["rows"] != expected["rows"] or abs(found["market_value"] / wanted - 1) > _TOLERANCE:
        raise PathwayFailedError(
            f"Pathway has {found['rows']} rows that are worth {found['market_value']}, not "
            f"{expected['rows']} that are worth {wanted}"
        )
    return Timed(expected["restated"], found["seconds"]), found
