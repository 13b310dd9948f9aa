"""The sample book: 20 large US stocks, ECB rates, NYSE sessions (all real), and 60 invented portfolios. See data/README.md."""

from importlib.resources import as_file, files
from pathlib import Path
from shutil import copyfile

import polars as pl

KINDS = ("business_dates", "portfolios", "instruments", "fx_rates", "prices", "positions")
"""In the order in which they are to be loaded."""


def frames() -> dict[str, pl.DataFrame]:
    """The book by kind, in loading order; the columns are those of engine.ingest.COLUMNS."""
    found = {}
    for kind in KINDS:
        with as_file(files(__package__) / "data" / f"{kind}.parquet") as path:
            found[kind] = pl.read_parquet(path)
    return found


def export(folder: Path) -> list[Path]:
    """Copies the Parquet files into `folder` (made if it is missing); returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in KINDS:
        with as_file(files(__package__) / "data" / f"{kind}.parquet") as path:
            written.append(Path(copyfile(path, folder / f"{kind}.parquet")))
    return written
