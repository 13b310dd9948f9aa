"""Values as the command line and the API write them in JSON."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import asyncpg

from revalue.console.json_values import to_json_value


@dataclass(frozen=True)
class _Line:
    price: Decimal
    dates: asyncpg.Range


def test_decimals_keep_their_digits_and_dates_are_iso_8601() -> None:
    line = _Line(Decimal("1.50E+3"), asyncpg.Range(date(2016, 3, 15), None))
    at = datetime(2016, 3, 15, 9, tzinfo=UTC)
    value = {"lines": (line,), "price": Decimal("0.10"), "at": at, "count": 2, "none": None}
    assert json.loads(json.dumps(to_json_value(value))) == {
        "lines": [{"price": "1500", "dates": ["2016-03-15", None]}],
        "price": "0.10",
        "at": "2016-03-15T09:00:00+00:00",
        "count": 2,
        "none": None,
    }
