"""Endpoints that preview corrections: what they would do. Nothing is written."""

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.correction_bodies import AnyCorrection, Corrections, correction_body
from revalue.console.web.previews import (
    ACCEPTED,
    UsePreviews,
    make_preview,
    preview_of,
    run_preview,
)
from revalue.console.web.problems import responses
from revalue.console.web.responses import CSV, PARQUET
from revalue.console.web.schemas.previews import Preview, PreviewFile
from revalue.engine.correct.corrections.files import correct_file
from revalue.engine.correct.inputs.limits import Limits
from revalue.engine.correct.inputs.sources import Source, from_csv, from_parquet
from revalue.engine.postgres.database import Connections
from revalue.engine.preview.preview import OnProgress

router = APIRouter(route_class=TokenFirst, tags=["corrections"])

BODY_LIMITS = Limits(rows=1_000_000, columns=100, cells=10_000_000, uncompressed_bytes=200_000_000)


@router.post(
    "/corrections:preview",
    response_model=Preview,
    responses=ACCEPTED | responses(400, 403, 404, 409, 413, 422, 429, 503),
    summary="Preview corrections",
)
async def preview_corrections(
    request: Request,
    body: AnyCorrection | Corrections,
    caller: OperateCaller,
    previews: UsePreviews,
) -> Response:
    """What one correction, or up to 100 corrections together, would do.

    The corrections are made in a transaction that is rolled back: nothing is written. A preview
    that takes longer than a few seconds goes on in the background (202). One preview runs at a time
    and a few wait for it (else 429). It gives way to other writers (503). Refused for tokens that
    are limited to portfolios.
    """
    caller.require_unlimited()
    wanted = body if isinstance(body, list) else [body]

    async def correct(database: Connections) -> list[dict[str, Any]]:
        return [correction_body(await each.apply(database)) for each in wanted]

    return await preview_of(request, previews, correct)


@router.post(
    "/corrections:preview-file",
    response_model=PreviewFile,
    responses=ACCEPTED | responses(403, 409, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                each: {"schema": {"type": "string", "format": "binary"}} for each in (CSV, PARQUET)
            },
        }
    },
    summary="Preview a file of corrections",
)
async def preview_file(request: Request, caller: OperateCaller, previews: UsePreviews) -> Response:
    """What a file of prices, fx_rates or positions would do, as `revalue correct file` takes it.

    The file is CSV or Parquet, by Content-Type, of at most 1,000,000 rows. If a row is invalid, the
    response is 422 and names it. Otherwise as `/corrections:preview`.
    """
    caller.require_unlimited()
    read = _reader(request.headers.get("content-type", ""))
    content = await request.body()

    async def work(on_progress: OnProgress) -> str:
        # Read when it is its turn: the rows of one file at a time are in memory.
        given = await asyncio.to_thread(read, content)

        async def correct(database: Connections) -> dict[str, Any]:
            made = vars(await correct_file(database, given))
            # The triggers are rolled back, so their ids mean nothing to the client.
            return {name: value for name, value in made.items() if name != "trigger_ids"}

        return await make_preview(request, previews, correct, on_progress)

    return await run_preview(request, previews, work)


def _reader(content_type: str) -> Callable[[bytes], Source]:
    """Return what reads a file of this type.

    Raises:
        HTTPException: 415 if there is none.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == CSV:
        return lambda content: from_csv(content, "the body", limits=BODY_LIMITS)
    if media_type == PARQUET:
        return lambda content: from_parquet(BytesIO(content), "the body", limits=BODY_LIMITS)
    raise HTTPException(
        415,
        f"a file of {CSV} or {PARQUET} is required, "
        f"not {media_type or 'a body without a Content-Type'}",
    )
