"""How an answer is written: by Accept, JSON and CSV with exact text, Arrow and Parquet with decimals; with an ETag."""

import csv
import hashlib
import io
import json
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import HTTPException, Request, Response
from pydantic import BaseModel

from revalue.console.json_values import to_json_value
from revalue.console.web.arrow_schema import columns
from revalue.console.web.content_negotiation import chosen

JSON, CSV = "application/json", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
OTHER_KINDS = (CSV, ARROW, PARQUET)
KINDS = (JSON, *OTHER_KINDS)


def answer(
    request: Request,
    described: type[BaseModel],
    head: dict[str, Any],
    rows: list[dict[str, Any]],
    after: Any = None,
) -> Response:
    """`head` beside `items`; `next` is what the call for the next page gives as its cursor, or null. Other kinds than JSON
    have the items in the columns that `described` has, and the head in headers: Revalue-Next and Revalue-Reprocessing. The
    head's known_at is a header always: an answer that did not change keeps its ETag. Raises HTTPException (406)."""
    kind = chosen(request.headers.get("accept", "*/*"), KINDS)
    if kind is None:
        raise HTTPException(406, f"answers are {', '.join(KINDS)}")
    known_at = head.pop("known_at", None)
    if kind == JSON:
        body = json.dumps(
            {**to_json_value(head), "items": to_json_value(rows), "next": to_json_value(after)}
        ).encode()
    elif kind == CSV:
        body = _csv(columns(described).names, rows)
    else:
        body = _table(columns(described), rows, parquet=kind == PARQUET)
    headers = {
        "ETag": f'"{hashlib.sha256(kind.encode() + body).hexdigest()[:32]}"',
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
    return Response(body, media_type=kind, headers=headers)


def json_response(body: dict[str, Any]) -> Response:
    """An answer that is one JSON object, to a call that is not to be asked again."""
    return Response(
        json.dumps(to_json_value(body)), media_type=JSON, headers={"Cache-Control": "no-store"}
    )


def _csv(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """As JSON has it, but text without quotes and null as nothing."""
    value = to_json_value(value)
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _table(schema: pa.Schema, rows: list[dict[str, Any]], *, parquet: bool) -> bytes:
    """Values that have columns of their own are JSON text."""
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
