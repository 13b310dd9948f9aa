"""The sample book: real prices, FX rates and business days, and 60 invented portfolios.

20 large US stocks, rates of the ECB, trading sessions of the NYSE. data/README.md has the sources.
"""

from datetime import date
from importlib.resources import as_file, files
from pathlib import Path
from shutil import copyfile

import polars as pl

KINDS = ("business_dates", "portfolios", "instruments", "fx_rates", "prices", "positions")
"""In the order in which they must be loaded."""

CALENDAR, LAST_DAY = "XNYS", date(2022, 12, 28)
"""The calendar of all portfolios, and its last business day."""


def frames() -> dict[str, pl.DataFrame]:
    """Return the book by kind, in loading order; the columns are those of `kinds.COLUMNS`."""
    found = {}
    for kind in KINDS:
        with as_file(files(__package__) / "data" / f"{kind}.parquet") as path:
            found[kind] = pl.read_parquet(path)
    return found


def export(folder: Path) -> list[Path]:
    """Copy the Parquet files to `folder`, which is created if missing; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        with as_file(files(__package__) / "data" / f"{kind}.parquet") as path:
            written.append(Path(copyfile(path, folder / f"{kind}.parquet")))
    return written
