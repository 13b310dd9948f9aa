"""The columns of an answer's rows: from their description, not from the rows, so that every page has the same ones."""

from datetime import date, datetime
from functools import cache
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pyarrow as pa
from pydantic import BaseModel

from revalue.console.web.schemas import Places

_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
}


@cache
def columns(answer: type[BaseModel]) -> pa.Schema:
    """Of the `items` of an answer: decimals with their places, dates, times in UTC; what has columns of its own is text."""
    [row] = get_args(answer.model_fields["items"].annotation)
    hints = get_type_hints(row, include_extras=True)
    return pa.schema([(name, _type(hints[name])) for name in row.model_fields])


def _type(hint: Any) -> pa.DataType:
    kinds = get_args(hint)
    if NoneType in kinds:
        [hint] = (kind for kind in kinds if kind is not NoneType)
        return _type(hint)
    if get_origin(hint) is Annotated:
        places = [each.places for each in hint.__metadata__ if isinstance(each, Places)]
        return pa.decimal128(38, places[0]) if places else _type(kinds[0])
    if get_origin(hint) is list:
        return pa.list_(_type(kinds[0]))
    return _TYPES.get(hint, pa.string())
