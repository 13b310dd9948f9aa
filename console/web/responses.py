"""Successful responses: rows as JSON, CSV, Arrow or Parquet, with an ETag; or one JSON object.

JSON and CSV have exact text for decimals, Arrow and Parquet decimal columns.
"""

import asyncio
import csv
import hashlib
import io
import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from importlib.metadata import version as version_of
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi import HTTPException, Request, Response
from pydantic import BaseModel

from revalue.console.json_values import to_json_value
from revalue.console.web.arrow_schema import columns
from revalue.console.web.auth import Caller
from revalue.console.web.content_negotiation import choose_media_type

JSON, CSV = "application/json", "text/csv"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
OTHER_MEDIA_TYPES = (CSV, ARROW, PARQUET)
MEDIA_TYPES = (JSON, *OTHER_MEDIA_TYPES)
RELEASE = version_of("revalue")

_FEW_ROWS = 50  # are encoded in less time than it takes a thread to begin


async def rows_response(
    request: Request,
    model: type[BaseModel],
    head: dict[str, Any],
    rows: list[dict[str, Any]],
    after: Any = None,
    *,
    version: str | None = None,
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
        version: the version of what the rows are of, see unchanged_response; None: the ETag is that
            of the content.

    Raises:
        HTTPException: 406 if no media type fits.
    """
    media_type = media_type_of(request)
    known_at = head.pop("known_at", None)
    caller = _caller(request)
    if caller is not None and caller.ids is not None:
        head, rows = caller.shown(head), caller.shown(rows)
    encode = partial(_encoded, media_type, model, head, rows, after)
    body = await asyncio.to_thread(encode) if len(rows) > _FEW_ROWS else encode()
    if version is None:
        etag = f'W/"{hashlib.sha256(media_type.encode() + body).hexdigest()[:32]}"'
    else:
        etag = _version_etag(request, media_type, version)
    headers = response_headers(request, etag, known_at)
    if after is not None:
        headers["Revalue-Next"] = quote(str(to_json_value(after)))
    if head.get("reprocessing_status") is not None:
        headers["Revalue-Reprocessing"] = head["reprocessing_status"]
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def _encoded(
    media_type: str,
    model: type[BaseModel],
    head: dict[str, Any],
    rows: list[dict[str, Any]],
    after: Any,
) -> bytes:
    if media_type == JSON:
        return json.dumps(to_json_value({**head, "items": rows, "next": after})).encode()
    if media_type == CSV:
        return _csv(columns(model).names, rows)
    return _table(columns(model), rows, parquet=media_type == PARQUET)


def unchanged_response(
    request: Request, version: str | None, known_at: datetime | None
) -> Response | None:
    """Return 304 if the client has the response already; None: it has to be read.

    An ETag that begins with `v-` is made of the version, so it can be checked without the content.

    Raises:
        HTTPException: 406 if no media type fits.
    """
    if version is None:
        return None
    etag = _version_etag(request, media_type_of(request), version)
    if not is_known(request, etag):
        return None
    return Response(status_code=304, headers=response_headers(request, etag, known_at))


def media_type_of(request: Request) -> str:
    """Return the media type of rows that the request accepts.

    Raises:
        HTTPException: 406 if none fits.
    """
    found = choose_media_type(request.headers.get("accept", "*/*"), MEDIA_TYPES)
    if found is None:
        raise HTTPException(406, f"available media types: {', '.join(MEDIA_TYPES)}")
    return found


def _version_etag(request: Request, media_type: str, version: str) -> str:
    """The release is part of it: another release may write another response."""
    of = "\n".join((RELEASE, media_type, request.url.path, request.url.query, version))
    return f'W/"v-{hashlib.sha256(of.encode()).hexdigest()[:32]}"'


def _caller(request: Request) -> Caller | None:
    """Return who asks; None: nobody was asked for a token."""
    found: Caller | None = getattr(request.state, "caller", None)
    return found


def response_headers(
    request: Request, etag: str, known_at: datetime | None = None
) -> dict[str, str]:
    """Return headers. ETags are weak: one is that of a response whether it is compressed or not.

    `known_at` is the last commit of all portfolios. A caller that is limited to some is not told.
    """
    headers = {
        "ETag": etag,
        "Vary": "Accept, Authorization",
        "Cache-Control": "private, no-cache",
    }
    caller = _caller(request)
    if known_at is not None and (caller is None or caller.portfolios is None):
        headers["Revalue-Known-At"] = known_at.isoformat()
    return headers


def is_known(request: Request, etag: str) -> bool:
    """Return whether the client has the response with this ETag."""
    known = {
        each.strip().removeprefix("W/")
        for each in request.headers.get("if-none-match", "").split(",")
    }
    return etag.removeprefix("W/") in known or "*" in known


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
