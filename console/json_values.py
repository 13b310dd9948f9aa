"""How the command line and the API write values in JSON: exact decimals and ISO 8601 dates."""

from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def to_json_value(value: Any) -> Any:
    """Convert a value, with everything in it, to types that `json.dumps` accepts.

    A decimal becomes text with all of its decimal places, because a JSON number is read as a float
    by most programs. A date or time becomes ISO 8601 text, a range of PostgreSQL [lower, upper], a
    dataclass an object of its fields. A value of any other type is returned unchanged.
    """
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: to_json_value(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(each) for each in value]
    if hasattr(value, "lower_inc"):
        return [to_json_value(value.lower), to_json_value(value.upper)]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json_value(getattr(value, each.name)) for each in fields(value)}
    return value
