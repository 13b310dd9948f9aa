"""How an answer is written: decimals and dates as text, as JSON, CSV, Arrow or Parquet by Accept, with an ETag."""

import csv
import hashlib
import io
import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import HTTPException, Request, Response

JSON, CSV = "application/json", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
OTHER_KINDS = (CSV, ARROW, PARQUET)
_KINDS = (JSON, *OTHER_KINDS)


def plain(value: Any) -> Any:
    """The value as JSON has it; decimals are exact text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "lower_inc"):
        return [plain(value.lower), plain(value.upper)]
    return value


def answer(request: Request, head: dict[str, Any], rows: list[dict[str, Any]], after: Any = None) -> Response:
    """`head` beside `items`; `next` is what the call for the next page gives as its cursor, or null. Other kinds than JSON
    have the items, and the head in headers: Revalue-Next and Revalue-Reprocessing. The head's known_at is a header always:
    an answer that did not change keeps its ETag."""
    kind = _kind(request.headers.get("accept", "*/*"))
    known_at = head.pop("known_at", None)
    items = [plain(row) for row in rows]
    if kind == JSON:
        body = json.dumps({**plain(head), "items": items, "next": plain(after)}).encode()
    elif kind == CSV:
        body = _csv(items)
    else:
        body = _table(items, parquet=kind == PARQUET)
    headers = {"ETag": f'"{hashlib.sha256(kind.encode() + body).hexdigest()[:32]}"', "Vary": "Accept, Authorization"}
    headers["Cache-Control"] = "private, no-cache"
    if known_at is not None:
        headers["Revalue-Known-At"] = known_at.isoformat()
    if after is not None:
        headers["Revalue-Next"] = str(plain(after))
    if head.get("reprocessing_status") is not None:
        headers["Revalue-Reprocessing"] = head["reprocessing_status"]
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


def bare(body: dict[str, Any]) -> Response:
    """An answer that is one JSON object, to a call that is not to be asked again."""
    return Response(json.dumps(plain(body)), media_type=JSON, headers={"Cache-Control": "no-store"})


def _kind(accept: str) -> str:
    """The first kind that is named; a quality of 0 refuses a kind."""
    for part in accept.split(","):
        name, *parameters = (each.strip().lower() for each in part.split(";"))
        if any(each.replace(" ", "") in ("q=0", "q=0.0") for each in parameters):
            continue
        if name in ("*/*", "application/*", ""):
            return JSON
        if name == "text/*":
            return CSV
        if name in _KINDS:
            return name
    raise HTTPException(406, f"answers are {', '.join(_KINDS)}")


def _csv(items: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(items[0]) if items else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: json.dumps(v) if isinstance(v, dict | list) else v for name, v in item.items()} for item in items)
    return text.getvalue().encode()


def _table(items: list[dict[str, Any]], *, parquet: bool) -> bytes:
    flat = [{n: json.dumps(v) if isinstance(v, dict | list) else v for n, v in item.items()} for item in items]
    table = pa.Table.from_pylist(flat)
    sink = io.BytesIO()
    if parquet:
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()
