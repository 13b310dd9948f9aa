"""Endpoints that preview corrections: what they would do. Nothing is written.

A preview that is not finished after a while goes on in the background (preview_queue)."""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Path as PathParameter

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.correction_bodies import AnyCorrection, Corrections
from revalue.console.web.preview_queue import PreviewQueue, PreviewTask, Work
from revalue.console.web.problems import responses, status_of
from revalue.console.web.responses import CSV, PARQUET, json_response, json_text
from revalue.console.web.schemas.previews import Preview, PreviewFile, PreviewProgress
from revalue.console.web.turns import give_turn
from revalue.engine.correct import corrections
from revalue.engine.correct.limits import Limits
from revalue.engine.correct.sources import Source, from_csv, from_parquet
from revalue.engine.errors import PreviewTooLargeError, RevalueError
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import OnProgress, preview

router = APIRouter(route_class=TokenFirst, tags=["corrections"])

BODY_LIMITS = Limits(rows=1_000_000, columns=100, cells=10_000_000, uncompressed_bytes=200_000_000)
MAX_POSITION_DAYS = 100_000_000
"""The largest preview over HTTP: there is one at a time, and the others wait for it."""


class Previews:
    """What previews need: database connections, and the queue.

    Attributes:
        database: a pool of two connections: a preview needs both.
        queue: the previews of this server.
        wait_seconds: how long a call waits for its preview; None: as long as it takes.
    """

    def __init__(self, database: Database, queue: PreviewQueue, wait_seconds: float | None) -> None:
        self.database = database
        self.queue = queue
        self.wait_seconds = wait_seconds


def _previews(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


UsePreviews = Annotated[Previews, Depends(_previews)]
PreviewId = Annotated[str, PathParameter(min_length=1, max_length=100, description="Preview id.")]

_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": PreviewProgress,
        "description": "The preview takes longer: poll the URL in Location",
        "headers": {
            "Location": {
                "description": "The URL of the preview.",
                "schema": {"type": "string"},
            }
        },
    }
}


@router.post(
    "/corrections:preview",
    response_model=Preview,
    responses=_ACCEPTED | responses(400, 403, 404, 409, 413, 422, 429, 503),
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

    async def correct(database: Connections) -> list[dict[str, str | None]]:
        made = [await each.apply(database) for each in wanted]
        return [{"what": each.what, "old": each.old, "new": each.new} for each in made]

    async def work(on_progress: OnProgress) -> str:
        return await _preview(request, previews, correct, on_progress)

    return await _run_preview(request, previews, work)


@router.post(
    "/corrections:preview-file",
    response_model=PreviewFile,
    responses=_ACCEPTED | responses(403, 409, 413, 415, 422, 429, 503),
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
            made = vars(await corrections.file(database, given))
            # The triggers are rolled back, so their ids mean nothing to the client.
            return {name: value for name, value in made.items() if name != "trigger_ids"}

        return await _preview(request, previews, correct, on_progress)

    return await _run_preview(request, previews, work)


@router.get(
    "/previews/{preview_id}",
    response_model=PreviewProgress,
    responses=responses(403, 404, 422),
    summary="Read a preview",
)
async def get_preview(
    preview_id: PreviewId, caller: OperateCaller, previews: UsePreviews
) -> Response:
    """The progress of a preview in the background, then its result.

    A result is kept for ten minutes. A preview lives in the server that was asked for it.
    """
    caller.require_unlimited()
    return json_response(_progress(_known(previews, preview_id)))


@router.delete(
    "/previews/{preview_id}",
    response_model=PreviewProgress,
    responses=responses(403, 404, 422),
    summary="Cancel a preview",
)
async def cancel_preview(
    preview_id: PreviewId, caller: OperateCaller, previews: UsePreviews
) -> Response:
    """Cancel a preview that waits or runs, and forget it. The response is its last state."""
    caller.require_unlimited()
    task = _known(previews, preview_id)
    await previews.queue.drop(task)
    return json_response(_progress(task))


def _known(previews: Previews, preview_id: str) -> PreviewTask:
    task = previews.queue.get(preview_id)
    if task is None:
        raise HTTPException(
            404, f"this server has no preview {preview_id!r}: it has expired or never existed"
        )
    return task


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


async def _preview(
    request: Request,
    previews: Previews,
    correct: Callable[[Connections], Awaitable[Any]],
    on_progress: OnProgress,
) -> str:
    def check(valued: int, of_all: int) -> None:
        if of_all > MAX_POSITION_DAYS:
            raise PreviewTooLargeError(
                f"the preview would value {of_all:,} position-days, of {MAX_POSITION_DAYS:,} at "
                "most. Preview fewer corrections, or use `revalue correct --dry-run`"
            )
        on_progress(valued, of_all)

    settings = request.app.state.settings
    found = await preview(previews.database, correct, settings, on_progress=check)
    return await asyncio.to_thread(lambda: json_text(found.as_dict()))


async def _run_preview(request: Request, previews: Previews, work: Work) -> Response:
    """Queue a preview, and wait for it a while."""
    queue = previews.queue
    if queue.is_full:
        raise HTTPException(
            429,
            f"a preview is running, and {queue.max_waiting} others wait for it",
            {"Retry-After": "1"},
        )
    task = queue.submit(work)
    give_turn(request)  # previews have a queue of their own
    await queue.wait(task, previews.wait_seconds)
    if not task.is_over:
        location = f"{request.scope.get('root_path', '')}/previews/{task.preview_id}"
        return json_response(_progress(task), 202, {"Location": location, "Retry-After": "1"})
    await queue.drop(task)
    if task.error is not None:
        raise task.error
    return json_response(task.result or "")


def _progress(task: PreviewTask) -> str:
    """Return a preview as JSON text. Its result is such a text already."""
    told = json_text(
        {
            "preview_id": task.preview_id,
            "state": task.state,
            "created_at": task.created_at,
            "position_days_valued": task.position_days_valued,
            "position_days": task.position_days,
            "expires_at": task.expires_at,
            "problem": None if task.error is None else _problem(task.error),
        }
    )
    return f'{told[:-1]}, "result": {task.result or "null"}}}'


def _problem(error: BaseException) -> dict[str, Any]:
    """Return what an error would be as a response."""
    name = type(error).__name__
    if isinstance(error, RevalueError):
        return {
            "type": f"urn:revalue:{name}",
            "title": name,
            "status": status_of(error),
            "detail": str(error),
        }
    return {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "unexpected error; see the log of the server",
    }
