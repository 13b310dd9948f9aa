"""Check arguments of the Python API, of which a wrong one would be told far away."""

from datetime import date, datetime
from decimal import Decimal

from revalue.engine.errors import UsageError


def require_day(name: str, value: object) -> None:
    """Refuse what is no date. A datetime is none: its time of day would be dropped in silence.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, date) or isinstance(value, datetime):
        raise UsageError(f"{name}: {value!r} is no datetime.date")


def require_day_or_none(name: str, value: object) -> None:
    """Refuse what is neither a date nor None.

    Raises:
        UsageError: it is neither.
    """
    if value is not None:
        require_day(name, value)


def require_decimal(name: str, value: object) -> None:
    """Refuse what is no decimal number.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Decimal):
        raise UsageError(
            f"{name}: {value!r} is no decimal.Decimal: write Decimal('51.35'), with the number as "
            "text, so that it is exact"
        )


def require_limit(name: str, value: object, most: int) -> None:
    """Refuse what is no number of rows from 1 to `most`.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, int) or not 1 <= value <= most:
        raise UsageError(f"{name}: {value!r} is no number from 1 to {most:,}")
