"""Successful responses: rows as JSON, CSV, Arrow or Parquet, with an ETag; or one JSON object.

JSON and CSV have exact text for decimals, Arrow and Parquet decimal columns.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import HTTPException, Request, Response
from pydantic import BaseModel

from revalue.console.json_values import to_json_value
from revalue.console.web.arrow_schema import columns
from revalue.console.web.content_negotiation import choose_media_type

JSON, CSV = "application/json", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
OTHER_MEDIA_TYPES = (CSV, ARROW, PARQUET)
MEDIA_TYPES = (JSON, *OTHER_MEDIA_TYPES)


def rows_response(
    request: Request,
    model: type[BaseModel],
    head: dict[str, Any],
    rows: list[dict[str, Any]],
    after: Any = None,
) -> Response:
    """Return rows in the media type that the request accepts.

    JSON has the head, `items` and `next`. The other media types have the rows only; the head is in
    the headers Revalue-Next and Revalue-Reprocessing. The head's `known_at` is a header in all of
    them, and not in the body: a response that did not change keeps its ETag.

    Args:
        request: for its headers Accept and If-None-Match.
        model: what OpenAPI says of the response; its `items` give the columns.
        head: what the response says once.
        rows: one dict per row.
        after: the cursor of the next page; None: this is the last page.

    Raises:
        HTTPException: 406 if no media type fits.
    """
    media_type = choose_media_type(request.headers.get("accept", "*/*"), MEDIA_TYPES)
    if media_type is None:
        raise HTTPException(406, f"available media types: {', '.join(MEDIA_TYPES)}")
    known_at = head.pop("known_at", None)
    if media_type == JSON:
        content = {**head, "items": rows, "next": after}
        body = json.dumps(to_json_value(content)).encode()
    elif media_type == CSV:
        body = _csv(columns(model).names, rows)
    else:
        body = _table(columns(model), rows, parquet=media_type == PARQUET)
    headers = {
        "ETag": f'"{hashlib.sha256(media_type.encode() + body).hexdigest()[:32]}"',
        "Vary": "Accept, Authorization",
    }
    headers["Cache-Control"] = "private, no-cache"
    if known_at is not None:
        headers["Revalue-Known-At"] = known_at.isoformat()
    if after is not None:
        headers["Revalue-Next"] = quote(str(to_json_value(after)))
    if head.get("reprocessing_status") is not None:
        headers["Revalue-Reprocessing"] = head["reprocessing_status"]
    known = {
        each.strip().removeprefix("W/")
        for each in request.headers.get("if-none-match", "").split(",")
    }
    if headers["ETag"] in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def json_text(body: dict[str, Any]) -> str:
    """Return a JSON object as text."""
    return json.dumps(to_json_value(body))


def json_response(
    body: dict[str, Any] | str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return one JSON object, or its text, that is not to be cached."""
    return Response(
        body if isinstance(body, str) else json_text(body),
        status_code=status,
        media_type=JSON,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _csv(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """Format a value as in JSON, but text without quotes and null as an empty cell."""
    value = to_json_value(value)
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _table(schema: pa.Schema, rows: list[dict[str, Any]], *, parquet: bool) -> bytes:
    """Write rows as Parquet or as an Arrow stream. A nested object becomes JSON text."""
    flat = [
        {
            name: json.dumps(to_json_value(value)) if isinstance(value, dict) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    table = pa.Table.from_pylist(flat, schema)
    sink = io.BytesIO()
    if parquet:
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()
