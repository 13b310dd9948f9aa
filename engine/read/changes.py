"""Every number that readers have seen of a position on a date, as a frame."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl

from revalue.engine.core.valuation import VALUE_COLUMNS
from revalue.engine.postgres.database import Database
from revalue.engine.read.queries import ReaderQueries
from revalue.engine.read.report import REPORT_COLUMNS

CHANGE_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "published_at": pl.Datetime("us", "UTC"),
    "superseded_at": pl.Datetime("us", "UTC"),
    "is_shown": pl.Boolean,
    "valuation_status": pl.String,
    **{name: REPORT_COLUMNS[name] for name in (*VALUE_COLUMNS, "epoch")},
    "cause": pl.String,
    "corrected_at": pl.Datetime("us", "UTC"),
    "changed": pl.String,
    "corrected_by": pl.String,
    "why": pl.String,
}


async def changes(database: Database, portfolio: str, security: str, day: date) -> pl.DataFrame:
    """Return every number that readers have seen of a position on a date, the oldest first.

    Returns:
        CHANGE_COLUMNS: from when to when a number was shown (null: not known, or still shown), its
        inputs and values, the kind of the correction that caused it (null: none), when that was
        committed, which inputs it changed (text), who has made it and why.

    Raises:
        NotFoundError: the portfolio has never held the security.
    """
    _, rows = await ReaderQueries(database).changes(portfolio, security, day)
    return pl.DataFrame(
        [{**row, "changed": _changed(row["changed"])} for row in rows], schema=CHANGE_COLUMNS
    )


def _changed(inputs: dict[str, list[Any]]) -> str | None:
    """Return the inputs that differ from those of the number before: `price 51.25 -> 51.35`."""
    return (
        ", ".join(
            f"{name} {_tidy(was)} -> {_tidy(is_now)}" for name, (was, is_now) in inputs.items()
        )
        or None
    )


def _tidy(value: Any) -> str:
    """Return a value as text, a number without the zeros at its end."""
    if not isinstance(value, Decimal):
        return str(value)
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
