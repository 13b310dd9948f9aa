"""Arrow schemas of responses, from their models: every page has the same columns."""

from datetime import date, datetime
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pyarrow as pa
from pydantic import BaseModel

from revalue.console.web.schemas.fields import DecimalPlaces

_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


@cache
def columns(model: type[BaseModel]) -> pa.Schema:
    """Return the columns of the `items` of a response.

    Decimals have their decimal places, times are in UTC, and a nested object is text.
    """
    [row] = get_args(model.model_fields["items"].annotation)
    hints = get_type_hints(row, include_extras=True)
    return pa.schema([(name, _type(hints[name])) for name in row.model_fields])


def _type(hint: Any) -> pa.DataType:
    arguments = get_args(hint)
    if NoneType in arguments:
        [hint] = (each for each in arguments if each is not NoneType)
        return _type(hint)
    if get_origin(hint) is Annotated:
        places = [each.places for each in hint.__metadata__ if isinstance(each, DecimalPlaces)]
        return pa.decimal128(38, places[0]) if places else _type(arguments[0])
    if get_origin(hint) is list:
        return pa.list_(_type(arguments[0]))
    return _TYPES.get(hint, pa.string())
