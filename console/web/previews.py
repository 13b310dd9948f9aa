"""Previews over HTTP: queued, waited for a while, then polled. Nothing is written.

A preview that is not finished after a while goes on in the background (preview_queue).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Path as PathParameter

from revalue.console.web.auth import OperateCaller, TokenFirst
from revalue.console.web.preview_queue import PreviewQueue, PreviewTask, Work
from revalue.console.web.problems import responses, status_of
from revalue.console.web.responses import json_response, json_text
from revalue.console.web.schemas.previews import PreviewProgress
from revalue.console.web.turns import give_turn
from revalue.engine.errors import PreviewTooLargeError, RevalueError
from revalue.engine.postgres.database import Connections, Database
from revalue.engine.preview.preview import OnProgress, preview

router = APIRouter(route_class=TokenFirst, tags=["corrections"])

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

ACCEPTED: dict[int | str, dict[str, Any]] = {
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
"""The response of a call whose preview goes on in the background."""


async def make_preview(
    request: Request,
    previews: Previews,
    correct: Callable[[Connections], Awaitable[Any]],
    on_progress: OnProgress,
) -> str:
    """Preview what `correct` makes, and return it as JSON text.

    Args:
        request: for the settings of its application.
        previews: the previews of this server.
        correct: makes corrections; returns what the client is to be told of them.
        on_progress: called with the number of position-days that are valued, and of all.

    Raises:
        RevalueError: what `correct` raises; PreviewTooLargeError.
    """

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


async def run_preview(request: Request, previews: Previews, work: Work) -> Response:
    """Queue a preview, and wait for it a while.

    Returns:
        The preview; if it is not finished by then, 202 and its progress.

    Raises:
        HTTPException: 429 if too many wait.
        RevalueError: why it failed.
    """
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


async def preview_of(
    request: Request, previews: Previews, correct: Callable[[Connections], Awaitable[Any]]
) -> Response:
    """Return the preview of what `correct` makes, see `make_preview` and `run_preview`."""

    async def work(on_progress: OnProgress) -> str:
        return await make_preview(request, previews, correct, on_progress)

    return await run_preview(request, previews, work)


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
