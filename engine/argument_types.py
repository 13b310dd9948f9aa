"""Check the types of arguments of the Python API, so that the error names the argument.

Without a check, a wrong type would raise much later, and in words of polars or of the database.
"""

from datetime import date, datetime
from decimal import Decimal

from revalue.engine.errors import UsageError


def require_day(name: str, value: object) -> None:
    """Require a date. A datetime is refused: its time of day would be dropped silently.

    Raises:
        UsageError: the value is not a date.
    """
    if not isinstance(value, date) or isinstance(value, datetime):
        raise UsageError(f"{name}: {value!r} is no datetime.date")


def require_day_or_none(name: str, value: object) -> None:
    """Require a date or None.

    Raises:
        UsageError: the value is neither.
    """
    if value is not None:
        require_day(name, value)


def require_decimal(name: str, value: object) -> None:
    """Require a Decimal. A float is refused, because it is not exact.

    Raises:
        UsageError: the value is not a Decimal.
    """
    if not isinstance(value, Decimal):
        raise UsageError(
            f"{name}: {value!r} is no decimal.Decimal: write Decimal('51.35'), with the number as "
            "text, so that it is exact"
        )


def require_limit(name: str, value: object, most: int) -> None:
    """Require a number of rows from 1 to `most`.

    Raises:
        UsageError: the value is not such a number.
    """
    if not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{name}: {value!r} is no number from 1 to {most:,}")
